"""What the read API loads of connections to CRMs: one statement for any number of connections or contacts."""

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection

MOST = 10_001
"""So far anything is counted: this many mean more than 10,000."""

_DAY = timedelta(hours=24 + 1)
"""The last 24 hours and what came before in the first of them: only whole hours are known."""


class RunRow(NamedTuple):
    id: UUID
    kind: str
    began_at: datetime
    ended_at: datetime | None
    counts: dict[str, int]
    error: str | None


class BacklogRow(NamedTuple):
    waiting: int
    flags: int
    oldest: datetime | None
    parked: int


class LinkRow(NamedTuple):
    connection_id: UUID
    connection: str
    object: str
    record: str
    state: str
    synced_at: datetime
    held: dict[str, Any]  # Any: JSON, `sync/holding.py`'s


_LAST_RUNS = text(
    """
    SELECT c.id, r.id, r.kind, r.began_at, r.ended_at, r.counts, r.error FROM unnest(:connections) AS c(id)
    CROSS JOIN LATERAL (SELECT * FROM sync_run WHERE connection_id = c.id ORDER BY id DESC LIMIT 1) r
    """
).bindparams(bindparam("connections", type_=ARRAY(Uuid)))

_RUNS = text(
    """
    SELECT id, kind, began_at, ended_at, counts, error FROM sync_run
    WHERE connection_id = :connection AND (CAST(:before AS uuid) IS NULL OR id < :before) ORDER BY id DESC LIMIT :most
    """
).bindparams(bindparam("connection", type_=Uuid), bindparam("before", type_=Uuid))

_BACKLOGS = text(
    """
    SELECT c.id, waits.waiting, flags.waiting, waits.oldest, parked.records FROM unnest(:connections) AS c(id)
    CROSS JOIN LATERAL (
        SELECT count(*) AS waiting, min(since) AS oldest
        FROM (SELECT since FROM outbox WHERE connection_id = c.id LIMIT :most) counted
    ) waits
    CROSS JOIN LATERAL (
        SELECT count(*) AS waiting FROM (
            SELECT FROM outbox WHERE connection_id = c.id AND priority = 0 AND not_before IS NULL
            UNION ALL SELECT FROM outbox WHERE connection_id = c.id AND priority = 0 AND not_before IS NOT NULL
            LIMIT :most
        ) counted
    ) flags
    CROSS JOIN LATERAL (
        SELECT count(*) AS records FROM (
            SELECT FROM link WHERE connection_id = c.id AND held @? '$.*.until ? (@ == null)' LIMIT :most
        ) counted
    ) parked
    """
).bindparams(bindparam("connections", type_=ARRAY(Uuid)))

_SPENT = text(
    """
    SELECT connection_id, sum(spent)::bigint FROM sync_spend
    WHERE connection_id = ANY(:connections) AND hour > :since GROUP BY 1
    """
).bindparams(bindparam("connections", type_=ARRAY(Uuid)))

_LINKS = text(
    """
    SELECT who.id, c.id, c.name, l.object, l.record, l.state, l.seen_at, l.held
    FROM unnest(:contacts) AS who(id)
    CROSS JOIN LATERAL (
        SELECT split_part(kind, ':', 2)::uuid AS connection_id, split_part(kind, ':', 3) AS object, value AS record
        FROM identity WHERE contact_id = who.id AND kind LIKE 'crm:%' OFFSET 0
    ) i
    CROSS JOIN LATERAL (
        SELECT * FROM link WHERE connection_id = i.connection_id AND object = i.object AND record = i.record OFFSET 0
    ) l
    JOIN connection c ON c.id = l.connection_id
    ORDER BY c.name, l.object, l.record
    """
).bindparams(bindparam("contacts", type_=ARRAY(Uuid)))


async def last_runs(db: AsyncConnection, connections: Collection[UUID]) -> dict[UUID, RunRow]:
    """The run that began last; those that never ran are left out."""
    rows = await db.execute(_LAST_RUNS, {"connections": list(connections)})
    return {row[0]: RunRow(*row[1:]) for row in rows}


async def runs(db: AsyncConnection, connection: UUID, most: int, before: UUID | None) -> list[RunRow]:
    """The newest first, those older than one of them."""
    rows = await db.execute(_RUNS, {"connection": connection, "before": before, "most": most})
    return [RunRow(*row) for row in rows]


async def backlogs(db: AsyncConnection, connections: Collection[UUID]) -> dict[UUID, BacklogRow]:
    """What each has yet to be told; nothing is counted beyond `MOST`."""
    rows = await db.execute(_BACKLOGS, {"connections": list(connections), "most": MOST})
    return {row[0]: BacklogRow(*row[1:]) for row in rows}


async def spent(db: AsyncConnection, connections: Collection[UUID], now: datetime) -> dict[UUID, int]:
    """What each spent of its budget in the 24 hours before `now`; those that spent nothing are left out."""
    rows = await db.execute(_SPENT, {"connections": list(connections), "since": now - _DAY})
    return {row[0]: row[1] for row in rows}


async def links(db: AsyncConnection, contacts: Collection[UUID]) -> dict[UUID, list[LinkRow]]:
    """The records of each contact, by connection, object and id."""
    grouped: dict[UUID, list[LinkRow]] = defaultdict(list)
    for row in await db.execute(_LINKS, {"contacts": list(contacts)}):
        grouped[row[0]].append(LinkRow(*row[1:]))
    return grouped
