"""What the resolvers of one request share."""

from typing import TypeAlias

from strawberry.types import Info as StrawberryInfo

from app.engine.plan import Plans
from app.graphql.limits import Budget
from app.graphql.loaders import Loaders
from app.store.db import Database


class Context:
    def __init__(self, database: Database, plans: Plans) -> None:
        self.budget = Budget()
        self.load = Loaders(database, plans, self.budget)


Info: TypeAlias = StrawberryInfo[Context, None]
