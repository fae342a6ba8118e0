"""What the sync's tests share: a deployment that is connected to a CRM in memory."""

from asyncio import Event
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from app.connectors.shapes import Kind
from app.engine.identity import record_kind
from app.engine.plan import Plans
from app.store.db import Database
from app.store.vault import Vault
from app.sync import pull
from app.sync.budget import Budget
from app.sync.mapping import Pair, Way, default_policy
from app.sync.options import Options
from app.sync.shapes import Counts, Opened
from tests.engine import worlds as engine
from tests.engine.worlds import POLICY
from tests.sync.toy import FIELDS, PERSON, Toy

VAULT = Vault(["dGVzdHMgc2VhbCB3aXRoIHRoaXMgYW5kIG5vdGhpbmc="])
_KINDS = {one.name: one.kind for one in FIELDS}


def pair(here: str, there: str, way: str = "both", **more: Any) -> Pair:  # Any: a pair's other fields
    """A pair of the toy's, with the policy that it has if nobody says otherwise."""
    more.setdefault("policy", default_policy(here))
    more.setdefault("kind", _KINDS.get(there, Kind.TEXT))
    return Pair(PERSON, here, there, Way(way), **more)


PAIRS = (
    pair("email", "mail", "in"),
    pair("name", "full_name", "in"),
    pair("opted_out", "out"),
    pair("bounced_at", "bad_since"),
    pair("stage", "stage"),
    pair("properties.industry", "industry", max_length=20),
)


class World(engine.World):
    """One deployment, whose CRMs are rows in `connection`."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.plans = Plans(VAULT)

    async def clear(self) -> None:
        await self.execute(_CLEAR)
        await super().clear()
        self.plans = Plans(VAULT)

    async def of_record(self, opened: Opened, record: str) -> UUID | None:
        """Whose a record is."""
        found: UUID | None = await self.value(
            "SELECT contact_id FROM identity WHERE kind = $1 AND value = $2", record_kind(opened.id, PERSON), record
        )
        return found

    async def link(self, record: str) -> dict[str, Any]:  # Any: of the columns
        """The link of a record, whichever connection's."""
        [row] = await self.rows("SELECT * FROM link WHERE record = $1", record)
        return row

    async def outbox(self) -> dict[UUID, int]:
        """Who is yet to be told, to any connection, and how urgent it is."""
        return {row["contact_id"]: row["priority"] for row in await self.rows("SELECT * FROM outbox")}


async def opened(world: World, toy: Toy, *, name: str = "toys", **options: Any) -> Opened:  # Any: as in Options
    """A connection to the toy, at work. The same name again is the same connection, with other options."""
    chosen = Options(**{"pairs": PAIRS, **options})
    id_ = await world.value(
        """
        INSERT INTO connection (id, kind, name, flow, credentials, hook_secret, options, seeks, created_at, updated_at)
        VALUES ($1, 'toy', $2, 'none', '', '', $3, $4, $5, $5)
        ON CONFLICT (name) DO UPDATE SET options = excluded.options, seeks = excluded.seeks RETURNING id
        """,
        uuid7(),
        name,
        chosen.to_json(),
        chosen.seeks,
        world.now,
    )
    budget = Budget(id_, 1_000_000, chosen.reserve_percent, "calls")
    return Opened(id_, "toy", name, chosen, toy, budget, world.database, world.plans, POLICY)


async def pulled(one: Opened) -> Counts:
    """What a look for changes comes to."""
    counts = Counts()
    await pull.pull(one, counts, Event())
    return counts


@asynccontextmanager
async def statements(database: Database) -> AsyncIterator[list[str]]:
    """The statements that the hot pool runs in the block."""
    seen: list[str] = []

    def note(record: Any) -> None:  # Any: asyncpg's record of a query
        seen.append(record.query)

    async def on_each(act: Callable[[Any], None]) -> None:  # Any: asyncpg's connection
        async with AsyncExitStack() as stack:
            for _ in range(database.hot.get_max_size()):
                act(await stack.enter_async_context(database.hot.acquire()))

    await on_each(lambda connection: connection.add_query_logger(note))
    seen.clear()
    try:
        yield seen
    finally:
        await on_each(lambda connection: connection.remove_query_logger(note))


_CLEAR = """
    DELETE FROM connection; DELETE FROM connection_grant; DELETE FROM link; DELETE FROM outbox; DELETE FROM stranger;
    DELETE FROM sync_cursor; DELETE FROM sync_run; DELETE FROM sync_spend; DELETE FROM crm_activity;
    DELETE FROM crm_hint; DELETE FROM suppression;
"""
