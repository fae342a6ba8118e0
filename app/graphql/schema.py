"""The schema: what can be asked, and how it is executed."""

from typing import Annotated
from uuid import UUID

import strawberry
from graphql import GraphQLError
from strawberry.extensions import ParserCache, ValidationCache
from strawberry.types import ExecutionContext

from app.engine.identity import normal_email
from app.errors import Fault, InvalidInput
from app.graphql.connections import Connection, SyncRunPage, connections, sync_runs
from app.graphql.contacts import ContactConnection, contacts
from app.graphql.context import Info
from app.graphql.fields import resolved
from app.graphql.limits import Limits, plain_text
from app.graphql.scoring import Rule, ScoringModel, rules_of
from app.graphql.types import Contact

_DOCUMENTS = 100
"""Parsed and validated documents that are kept: a front end sends the same few."""


@strawberry.type(description="Contacts, scores, and what they are made of.")
class Query:
    contacts: ContactConnection = strawberry.field(
        resolver=contacts,
        description=(
            "Contacts by page. The hard-bounced with an engagement between 50 and 100, the highest first: "
            '`contacts(first: 50, filter: {score: {model: "engagement", gte: 50, lte: 100}, bounceStatus: HARD}, '
            'orderBy: [{score: {model: "engagement", direction: DESC}}]) { totalCount nodes { email } }`.'
        ),
    )

    @resolved("One contact, by id or by any address that points at them. Null: there is none.")
    async def contact(
        self,
        info: Info,
        id: Annotated[strawberry.ID | None, strawberry.argument(description="A UUID.")] = None,  # noqa: A002
        email: Annotated[
            str | None, strawberry.argument(description='In any case, also a former address: `"ada@example.com"`.')
        ] = None,
    ) -> Contact | None:
        if (id is None) == (email is None):
            raise InvalidInput(Fault("", "give 'id' or 'email', one of them"))
        if id is not None:
            person = await info.context.load.people.load(_uuid(id))
        else:
            person = await info.context.load.holders.load(_address(email or ""))
        return None if person is None else Contact.of(person)

    @resolved("The scoring models, by their keys.")
    async def scoring_models(
        self,
        info: Info,
        include_archived: Annotated[bool, strawberry.argument(description="Archived models, too.")] = False,
    ) -> list[ScoringModel]:
        models = (await info.context.load.catalog()).models
        return [ScoringModel.of(model) for model in models if include_archived or not model.archived]

    @resolved("One scoring model, archived or not. Null: there is none of that key.")
    async def scoring_model(
        self, info: Info, key: Annotated[str, strawberry.argument(description='For example `"engagement"`.')]
    ) -> ScoringModel | None:
        model = (await info.context.load.catalog()).find(key)
        return None if model is None else ScoringModel.of(model)

    @resolved(
        "The rules that count: of one model, archived or not, or of all that are not archived. While a model was "
        "never published, its draft's."
    )
    async def rules(
        self,
        info: Info,
        model: Annotated[
            str | None, strawberry.argument(description='The key of a scoring model: `"engagement"`. Null: of all.')
        ] = None,
    ) -> list[Rule]:
        catalog = await info.context.load.catalog()
        if model is not None:
            return await rules_of(catalog.named(model, "/model"), info)
        active = [one for one in catalog.models if not one.archived]
        await info.context.load.rules.load_many([one.id for one in active])
        return [rule for one in active for rule in await rules_of(one, info)]

    connections: list[Connection] = strawberry.field(
        resolver=connections, description="The connections to CRMs, by their names."
    )
    sync_runs: SyncRunPage = strawberry.field(
        resolver=sync_runs, description="What was done for a connection in the last 30 days, the newest first."
    )


def _uuid(said: str) -> UUID:
    try:
        return UUID(said)
    except ValueError:
        raise InvalidInput(Fault("/id", "not a UUID")) from None


def _address(said: str) -> str:
    try:
        return normal_email(plain_text(said, "/email"))
    except ValueError as fault:
        raise InvalidInput(Fault("/email", str(fault))) from None


class _Schema(strawberry.Schema):
    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Nothing: Strawberry would log every mistake of a client. The router logs what is ours."""


def build() -> strawberry.Schema:
    return _Schema(
        Query,
        extensions=[Limits, lambda: ParserCache(_DOCUMENTS), lambda: ValidationCache(_DOCUMENTS)],
    )
