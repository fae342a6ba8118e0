"""What the fields of many objects need, gathered into one statement each. One set of loaders lives for one request.

Fields resolve concurrently, so each loader takes a connection of its own for as long as its statement runs, and no
loader asks another while it has one. A request never has more than `_CONNECTIONS` of the pool.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple, TypeAlias, TypeVar
from uuid import UUID

from strawberry.dataloader import DataLoader as Gathering

from app import clock
from app.engine.explain import Contribution
from app.engine.hygiene import SoftPolicy
from app.engine.members import Definitions, definitions
from app.engine.plan import Plans
from app.engine.rules import Rule
from app.graphql.catalog import Catalog
from app.graphql.limits import Budget
from app.store import connections as connected
from app.store import graph
from app.store.connections import BacklogRow, LinkRow, RunRow
from app.store.db import Connection, Database
from app.store.graph import EventRow, Person, ScoreRow
from app.sync import connections
from app.sync.connections import CrmConnection

_CONNECTIONS = 4
_MOST_CONNECTIONS = 1_000
"""To CRMs, which are a handful."""

Wanted = TypeVar("Wanted", bound=Hashable)
Loaded = TypeVar("Loaded")

Reading: TypeAlias = Any  # Any: SQLAlchemy's connection, whose name stays below the edge


class DataLoader(Gathering[Wanted, Loaded]):
    """A field that fails cancels those beside it; what others wait for, too, goes on."""

    def load(self, key: Wanted) -> Awaitable[Loaded]:
        return asyncio.shield(super().load(key))


class Newest(NamedTuple):
    """The newest `first` events of a contact, of some types or of all."""

    contact: UUID
    first: int
    types: tuple[str, ...] | None


class Explaining(NamedTuple):
    db: Connection
    plans: Plans


class Loaders:
    def __init__(self, database: Database, plans: Plans, budget: Budget, policy: SoftPolicy | None = None) -> None:
        """`policy` says when soft bounces count as one; None: as it is if nobody sets it."""
        self.policy = SoftPolicy() if policy is None else policy
        self._database = database
        self._plans = plans
        self._budget = budget
        self.now = clock.now()
        """One for the whole request, so that what is asked of many things is asked of one moment."""
        self._slots = asyncio.Semaphore(_CONNECTIONS)
        self._catalog: DataLoader[None, Catalog] = DataLoader(self._read_catalog)
        self._segments: DataLoader[None, Definitions] = DataLoader(self._read_segments)
        self.people: DataLoader[UUID, Person | None] = DataLoader(self._read_people)
        self.holders: DataLoader[str, Person | None] = DataLoader(self._read_holders)
        self.scores: DataLoader[UUID, list[ScoreRow]] = DataLoader(self._read_scores)
        self.contributions: DataLoader[UUID, list[Contribution]] = DataLoader(self._read_contributions)
        self.events: DataLoader[Newest, list[EventRow]] = DataLoader(self._read_events)
        self.identities: DataLoader[UUID, list[tuple[str, str]]] = DataLoader(self._read_identities)
        self.rules: DataLoader[int, list[Rule]] = DataLoader(self._read_rules)
        self._connections: DataLoader[None, Sequence[CrmConnection]] = DataLoader(self._read_connections)
        self.last_runs: DataLoader[UUID, RunRow | None] = DataLoader(self._read_last_runs)
        self.backlogs: DataLoader[UUID, BacklogRow] = DataLoader(self._read_backlogs)
        self.spent: DataLoader[UUID, int] = DataLoader(self._read_spent)
        self.crm_links: DataLoader[UUID, list[LinkRow]] = DataLoader(self._read_crm_links)
        self._gathering: dict[Any, DataLoader[Any, Any]] = {}  # Any: of any keys and values

    def by(
        self, read: Callable[["Loaders", Sequence[Wanted]], Awaitable[Sequence[Loaded]]]
    ) -> DataLoader[Wanted, Loaded]:
        """This request's loader that gathers keys for `read`: as many values as keys, in their order."""
        if read not in self._gathering:
            self._gathering[read] = DataLoader(partial(read, self))
        return self._gathering[read]

    @property
    def budget(self) -> Budget:
        return self._budget

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Reading]:
        """A connection to read by, once this request has fewer than its share. Raises Unavailable."""
        async with self._slots, graph.reading(self._database) as db:
            yield db

    @asynccontextmanager
    async def explaining(self) -> AsyncIterator[Explaining]:
        """A transaction of the engine's, and what counts now; under the same share. Raises Unavailable."""
        async with self._slots, graph.explaining(self._database) as db:
            await db.execute("SET LOCAL statement_timeout = '30s'")  # as whatever is read otherwise
            yield Explaining(db, self._plans)

    async def catalog(self) -> Catalog:
        return await self._catalog.load(None)

    async def _read_catalog(self, keys: Sequence[None]) -> list[Catalog]:
        async with self.reading() as db:
            catalog = Catalog(await graph.models(db))
        return [catalog for _ in keys]

    async def segments(self) -> Definitions:
        return await self._segments.load(None)

    async def _read_segments(self, keys: Sequence[None]) -> list[Definitions]:
        async with self._slots, graph.explaining(self._database) as db:
            found = await definitions(db, clock.now().date())
        return [found for _ in keys]

    async def _read_people(self, contacts: Sequence[UUID]) -> list[Person | None]:
        async with self.reading() as db:
            found = await graph.people(db, contacts)
        return [found.get(contact) for contact in contacts]

    async def _read_holders(self, emails: Sequence[str]) -> list[Person | None]:
        async with self.reading() as db:
            found = await graph.holders(db, emails)
        return [found.get(email) for email in emails]

    async def _read_scores(self, contacts: Sequence[UUID]) -> list[list[ScoreRow]]:
        async with self.reading() as db:
            found = await graph.scores(db, contacts)
        return [found.get(contact, []) for contact in contacts]

    async def _read_contributions(self, contacts: Sequence[UUID]) -> list[list[Contribution]]:
        grouped: dict[UUID, list[Contribution]] = defaultdict(list)
        async with self._slots, graph.explaining(self._database) as db:
            plan = await self._plans.hold(db)
            now = clock.now()
            for one in await plan.explainer.explain(db, contacts, now.date(), now):
                grouped[one.contact_id] += [part for part in one.contributions if part.rule and part.count]
        return [grouped.get(contact, []) for contact in contacts]

    async def _read_events(self, wanted: Sequence[Newest]) -> list[list[EventRow]]:
        """One statement for each set of arguments: as many as the query has, whatever the number of contacts."""
        asked: dict[tuple[int, tuple[str, ...] | None], list[UUID]] = defaultdict(list)
        for one in wanted:
            asked[one.first, one.types].append(one.contact)
        found: dict[Newest, list[EventRow]] = {}
        for (first, types), contacts in asked.items():
            async with self.reading() as db:
                grouped = await graph.events(db, contacts, first, types)
            # Before the next statement: one that has asked for too much stops here.
            self._budget.spend(sum(len(rows) for rows in grouped.values()))
            found |= {Newest(contact, first, types): rows for contact, rows in grouped.items()}
        return [found.get(one, []) for one in wanted]

    async def _read_identities(self, contacts: Sequence[UUID]) -> list[list[tuple[str, str]]]:
        async with self.reading() as db:
            found = await graph.identities(db, contacts)
        return [found.get(contact, []) for contact in contacts]

    async def _read_rules(self, models: Sequence[int]) -> list[list[Rule]]:
        async with self.reading() as db:
            found = await graph.rules(db, models)
        return [[Rule.from_json(said) for said in found.get(model, [])] for model in models]

    async def connections(self) -> Sequence[CrmConnection]:
        return await self._connections.load(None)

    async def _read_connections(self, keys: Sequence[None]) -> list[Sequence[CrmConnection]]:
        async with self._slots, graph.explaining(self._database) as db:
            found = await connections.page(db, limit=_MOST_CONNECTIONS, after=None)
        return [found for _ in keys]

    async def runs(self, connection: UUID, most: int, before: UUID | None) -> list[RunRow]:
        async with self.reading() as db:
            return await connected.runs(db, connection, most, before)

    async def _read_last_runs(self, wanted: Sequence[UUID]) -> list[RunRow | None]:
        async with self.reading() as db:
            found = await connected.last_runs(db, wanted)
        return [found.get(one) for one in wanted]

    async def _read_backlogs(self, wanted: Sequence[UUID]) -> list[BacklogRow]:
        async with self.reading() as db:
            found = await connected.backlogs(db, wanted)
        return [found[one] for one in wanted]

    async def _read_spent(self, wanted: Sequence[UUID]) -> list[int]:
        async with self.reading() as db:
            found = await connected.spent(db, wanted, clock.now())
        return [found.get(one, 0) for one in wanted]

    async def _read_crm_links(self, contacts: Sequence[UUID]) -> list[list[LinkRow]]:
        async with self.reading() as db:
            found = await connected.links(db, contacts)
        return [found.get(contact, []) for contact in contacts]
