"""Connections that are removed, and all that was known for their sake. Contacts and their events stay."""

from uuid import UUID

from app.engine.transactions import committed
from app.errors import NotFound
from app.store.db import Connection, Database
from app.sync import signing_in

_STEP = 1_000
_KEYS = {
    "link": ("object", "record"),
    "sync_cursor": ("feed",),
    "sync_run": ("id",),
    "sync_spend": ("hour",),
    "crm_activity": ("id",),
    "crm_hint": ("object", "record"),
    "stranger": ("digest", "object", "record"),
    "connection_grant": ("connection_id",),
    # Last: whoever changes a contact adds to it for as long as one of the identities is there.
    "outbox": ("contact_id",),
}
"""Where a connection has rows, and what tells these from each other."""


async def remove(database: Database, connection: UUID) -> None:
    """Raises NotFound. What is left by a process that ends before it is through, `forget` removes."""
    async with database.batch() as db:
        if await db.fetchval("DELETE FROM connection WHERE id = $1 RETURNING id", connection) is None:
            raise NotFound("there is no such connection")
        await db.execute("DELETE FROM own_secret WHERE name = $1", signing_in.name_of(connection))
    await _sweep(database, connection)


async def forget(database: Database) -> None:
    """Remove what is left of connections that are gone."""
    async with database.hot.acquire() as db:
        gone = await _gone(db)
    for connection in gone:
        await _sweep(database, connection)


async def _sweep(database: Database, connection: UUID) -> None:
    """In small steps, each in a transaction of its own, so that nobody waits for it."""
    async with database.hot.acquire() as db:
        kinds = [kind for kind in await _kinds(db) if kind.startswith(f"crm:{connection}:")]
    for kind in kinds:
        await _remove(database, "identity", "kind", kind, ("value",))
    for table, keys in _KEYS.items():
        await _remove(database, table, "connection_id", connection, keys)


async def _remove(database: Database, table: str, of: str, value: UUID | str, keys: tuple[str, ...]) -> None:
    listed = ", ".join(keys)
    places = ", ".join(f"${place}" for place in range(2, 2 + len(keys)))

    async def work(db: Connection) -> bool:
        # By the index up to a key, whatever the planner believes of the table.
        last = await db.fetchrow(
            f"SELECT {listed} FROM {table} WHERE {of} = $1 ORDER BY {listed} OFFSET {_STEP - 1} LIMIT 1", value
        )
        up_to = "" if last is None else f"AND ({listed}) <= ({places})"
        await db.execute(f"DELETE FROM {table} WHERE {of} = $1 {up_to}", value, *(last or ()))
        return last is not None

    while await committed(database, work):
        pass


async def _gone(db: Connection) -> set[UUID]:
    found = {UUID(kind.split(":")[1]) for kind in await _kinds(db) if kind.startswith("crm:")}
    for table in _KEYS:
        found |= {UUID(str(one)) for one in await _distinct(db, table, "connection_id")}
    there = await db.fetch("SELECT id FROM connection WHERE id = ANY($1)", list(found))
    return found - {row[0] for row in there}


async def _kinds(db: Connection) -> list[str]:
    """The kinds of all identities, of which there are few."""
    return [str(kind) for kind in await _distinct(db, "identity", "kind")]


async def _distinct(db: Connection, table: str, column: str) -> list[object]:
    """The values of a key's first column, from one to the next by its index, however many rows each has."""
    rows = await db.fetch(
        f"""
        WITH RECURSIVE seen(value) AS (
            (SELECT {column} FROM {table} ORDER BY {column} LIMIT 1)
            UNION ALL
            SELECT (SELECT t.{column} FROM {table} t WHERE t.{column} > seen.value ORDER BY 1 LIMIT 1)
            FROM seen WHERE seen.value IS NOT NULL
        )
        SELECT value FROM seen WHERE value IS NOT NULL
        """
    )
    return [row[0] for row in rows]
