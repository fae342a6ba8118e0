"""Who waits to be told, in the order in which they are: flags first, then who moved furthest, then who waits longest.

Triggers fill it, in whatever transaction changes a contact (migration 0008); a drain empties it (`sync/push.py`).
Whoever changes rows here and links changes the links last; but a drain, which waits for no row, locks its links first.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from app import clock
from app.engine.identity import record_kind
from app.store.db import Connection

FLAGS, NEWS, NOTHING_NEW = 0, 1, 2
"""Priorities, as the triggers give them."""
COUNTED = 10_001
"""So far a backlog is counted: this many mean more than 10,000."""
PARKED = datetime.max.replace(tzinfo=UTC)
"""`not_before` of whom the CRM does not want as a new record; kept as infinity."""


class Row(NamedTuple):
    """A contact that waits, as it was read."""

    contact: UUID
    version: int
    priority: int
    tries: int


class Backlog(NamedTuple):
    """What a connection has yet to be told. Counts end at `COUNTED`."""

    waiting: int
    """Contacts, those delayed among them."""
    flags: int
    """Those of whom a flag waits."""
    delayed: int
    """Those who were tried in vain and are tried again later, or not before somebody asks for it."""
    oldest: datetime | None
    """Since when the first of those counted has waited."""


NEXT = """
    SELECT contact_id, version, priority, tries FROM (
        (
            SELECT contact_id, version, priority, tries, moved, since FROM outbox
            WHERE connection_id = $1 AND not_before IS NULL ORDER BY priority, moved DESC, since LIMIT $2
        )
        UNION ALL
        SELECT later.* FROM unnest('{0,1,2}'::smallint[]) AS level(priority) CROSS JOIN LATERAL (
            SELECT contact_id, version, priority, tries, moved, since FROM outbox
            WHERE connection_id = $1 AND priority = level.priority AND not_before <= $3 ORDER BY not_before LIMIT $2
        ) later
    ) due
    ORDER BY priority, moved DESC, since LIMIT $2
"""
"""Those whose turn it is. Who was tried in vain is met by when they are tried again, and not before."""

BACKLOG = """
    SELECT least(count(*), $2), least(count(*) FILTER (WHERE priority = 0), $2),
           least(count(*) FILTER (WHERE not_before > $3), $2), min(since)
    FROM (
        (
            SELECT priority, since, not_before FROM outbox
            WHERE connection_id = $1 AND not_before IS NULL ORDER BY priority, moved DESC, since LIMIT $2
        )
        UNION ALL
        SELECT later.* FROM unnest('{0,1,2}'::smallint[]) AS level(priority) CROSS JOIN LATERAL (
            SELECT priority, since, not_before FROM outbox
            WHERE connection_id = $1 AND priority = level.priority AND not_before IS NOT NULL
            ORDER BY not_before DESC LIMIT $2
        ) later
    ) counted
"""

_AGAIN = """
    ON CONFLICT (connection_id, contact_id) DO UPDATE SET version = outbox.version + 1,
        priority = least(outbox.priority, excluded.priority), not_before = NULL
"""


async def due(db: Connection, connection: UUID, most: int, now: datetime) -> list[Row]:
    """At most so many, the most important first."""
    await by_index(db)
    return [Row(*row) for row in await db.fetch(NEXT, connection, most, now)]


async def is_longer(db: Connection, connection: UUID, than: int) -> bool:
    """Whether more contacts wait that were not tried in vain."""
    await by_index(db)
    return bool(
        await db.fetchval(
            "SELECT EXISTS (SELECT FROM outbox WHERE connection_id = $1 AND not_before IS NULL OFFSET $2)",
            connection,
            than,
        )
    )


async def by_index(db: Connection) -> None:
    """Let this transaction walk indexes in their order. A planner who has seen the outbox empty, as it mostly is, would
    fetch and sort all of it."""
    await db.execute("SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off")


async def backlog(db: Connection, connection: UUID) -> Backlog:
    """In a transaction of its own. Of more than 10,000 it counts no further, which takes some milliseconds."""
    await by_index(db)
    row = await db.fetchrow(BACKLOG, connection, COUNTED, clock.now())
    assert row is not None
    return Backlog(*row)


async def note(db: Connection, connection: UUID, contacts: Iterable[UUID], priority: int, now: datetime) -> None:
    """Have the connection told of these."""
    people = sorted(set(contacts))
    if people:
        await db.execute(
            f"""
            INSERT INTO outbox (connection_id, contact_id, priority, since)
            SELECT $1, one, $3, $4 FROM unnest($2::uuid[]) AS one ORDER BY 2 {_AGAIN}
            """,
            connection,
            people,
            priority,
            now,
        )


async def note_scored(db: Connection, connection: UUID, object_: str, models: Collection[int], now: datetime) -> None:
    """Have the connection told of all whose records of this object it holds and who have a score in these models."""
    await db.execute(
        f"""
        INSERT INTO outbox (connection_id, contact_id, priority, since)
        SELECT DISTINCT $1::uuid, i.contact_id, $4::smallint, $5::timestamptz
        FROM identity i CROSS JOIN LATERAL (
            SELECT FROM score WHERE contact_id = i.contact_id AND model_id = ANY($3) AND value IS NOT NULL
            LIMIT 1 OFFSET 0
        ) s
        WHERE i.kind = $2 ORDER BY 2 {_AGAIN}
        """,
        connection,
        record_kind(connection, object_),
        list(models),
        NOTHING_NEW,
        now,
    )


async def settle(
    db: Connection, connection: UUID, told: Sequence[Row], later: Mapping[Row, datetime] | None = None
) -> int:
    """Remove who was told all there is, and put off who is to be tried later; returns of how many.

    Whoever changed since they were read stays, and whoever is changing just now: they have not been told that.
    """
    later = later or {}
    as_read = await _locked(db, connection, [*told, *later])
    if not as_read:
        return 0
    await db.execute(
        "DELETE FROM outbox WHERE connection_id = $1 AND contact_id = ANY($2)",
        connection,
        [row.contact for row in told if row.contact in as_read],
    )
    put_off = [(row.contact, at) for row, at in later.items() if row.contact in as_read]
    if put_off:
        await db.execute(
            """
            UPDATE outbox o SET not_before = put.off, tries = tries + 1
            FROM unnest($2::uuid[], $3::timestamptz[]) AS put(contact_id, off)
            WHERE o.connection_id = $1 AND o.contact_id = put.contact_id AND o.contact_id = ANY($2)
            """,
            connection,
            [contact for contact, _ in put_off],
            [at for _, at in put_off],
        )
    return len(as_read)


async def demote(db: Connection, connection: UUID, rows: Sequence[Row]) -> int:
    """Let those who stand among flags, and have none to be told, wait with all others; returns how many that were."""
    as_read = await _locked(db, connection, [row for row in rows if row.priority == FLAGS])
    if as_read:
        await db.execute(
            "UPDATE outbox SET priority = $3 WHERE connection_id = $1 AND contact_id = ANY($2)",
            connection,
            list(as_read),
            NEWS,
        )
    return len(as_read)


async def _locked(db: Connection, connection: UUID, rows: Sequence[Row]) -> set[UUID]:
    """Those who are as they were read, locked until the transaction ends.

    Never waits: whoever changes a contact just now may hold its row here, and wait for another of these.
    """
    versions = {row.contact: row.version for row in rows}
    if not versions:
        return set()
    locked = await db.fetch(
        """
        SELECT contact_id, version FROM outbox WHERE connection_id = $1 AND contact_id = ANY($2)
        ORDER BY contact_id FOR NO KEY UPDATE SKIP LOCKED
        """,
        connection,
        list(versions),
    )
    return {contact for contact, version in locked if versions[contact] == version}
