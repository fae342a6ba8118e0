"""Raw calls: kept as they came, shown, removed when they are old. Reading them is `draining.py`'s."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from app.errors import NotFound
from app.store.db import Connection, Database

_STEP = 1_000


class Choice(NamedTuple):
    """Calls that were read and are still kept: of one source or all, since an instant, those with faults only."""

    source: UUID | None = None
    since: datetime | None = None
    only_faulty: bool = False


async def chosen(db: Connection, choice: Choice, after: UUID | None, *, limit: int = 200) -> list[UUID]:
    """The first of the chosen calls after one of them, by time of arrival."""
    conditions, values = _conditions(choice, after)
    rows = await db.fetch(f"SELECT id FROM delivery WHERE {conditions} ORDER BY id LIMIT {limit:d}", *values)
    return [row["id"] for row in rows]


async def count(db: Connection, choice: Choice, after: UUID | None = None) -> int:
    """How many calls are chosen."""
    conditions, values = _conditions(choice, after)
    found: int = await db.fetchval(f"SELECT count(*) FROM delivery WHERE {conditions}", *values)
    return found


def _conditions(choice: Choice, after: UUID | None) -> tuple[str, list[object]]:
    first = None if choice.since is None else first_id(choice.since)
    said = [("source_id = ${}", choice.source), ("id >= ${}", first), ("id > ${}", after)]
    given = [(condition, value) for condition, value in said if value is not None]
    parts = ["read_at IS NOT NULL", *(condition.format(at) for at, (condition, _) in enumerate(given, 1))]
    if choice.only_faulty:
        parts.append("rejected > 0")
    return " AND ".join(parts), [value for _, value in given]


class Unread(NamedTuple):
    """What of a source waits to be read."""

    calls: int
    last_at: datetime | None


async def unread(db: Connection, sources: Sequence[UUID]) -> dict[UUID, Unread]:
    """What waits of these sources. Costs what waits of all, which is bounded by the inbox' limit."""
    rows = await db.fetch(
        """
        SELECT source_id, count(*), max(received_at) FROM delivery WHERE read_at IS NULL AND source_id = ANY($1)
        GROUP BY source_id
        """,
        list(sources),
    )
    waiting = {row[0]: Unread(row[1], row[2]) for row in rows}
    return {source: waiting.get(source, Unread(0, None)) for source in sources}


_SHOWN = "id, received_at, read_at, method, octet_length(body) AS bytes, accepted, duplicates, rejected, faults"


async def page(
    db: Connection, source: UUID, *, limit: int, before: UUID | None, only_faulty: bool
) -> list[dict[str, Any]]:  # Any: of any column
    """Calls of a source as they are shown in a list, the newest first, those that came before one of them."""
    rows = await db.fetch(
        f"""
        SELECT {_SHOWN} FROM delivery
        WHERE source_id = $1 AND ($2::uuid IS NULL OR id < $2) AND (NOT $3 OR rejected > 0)
        ORDER BY id DESC LIMIT $4
        """,
        source,
        before,
        only_faulty,
        limit,
    )
    return [dict(row) for row in rows]


async def get(db: Connection, source: UUID, delivery: UUID) -> dict[str, Any]:  # Any: as above
    """One call whole, with `url`, `headers` and `body`. Raises NotFound."""
    row = await db.fetchrow(
        f"SELECT {_SHOWN}, url, headers, body FROM delivery WHERE id = $1 AND source_id = $2", delivery, source
    )
    if row is None:
        raise NotFound("there is no such delivery of this source; they are kept for some days only")
    return dict(row)


async def forget(database: Database, before: datetime) -> int:
    """Remove calls that came before an instant and were read, and all of sources that are gone; returns how many."""
    removed = await _remove(database, "id < $1 AND read_at IS NOT NULL", first_id(before))
    async with database.hot.acquire() as db:
        # From one source to the next by the index, however many calls each has.
        rows = await db.fetch(
            """
            WITH RECURSIVE seen(source_id) AS (
                (SELECT source_id FROM delivery ORDER BY source_id LIMIT 1)
                UNION ALL
                SELECT (SELECT d.source_id FROM delivery d WHERE d.source_id > seen.source_id ORDER BY 1 LIMIT 1)
                FROM seen WHERE seen.source_id IS NOT NULL
            )
            SELECT source_id FROM seen
            WHERE source_id IS NOT NULL AND NOT EXISTS (SELECT FROM source WHERE id = seen.source_id)
            """
        )
    for row in rows:
        removed += await _remove(database, "source_id = $1", row["source_id"])
    return removed


async def _remove(database: Database, condition: str, value: UUID) -> int:
    """In small steps, so that nobody waits for it."""
    removed = 0
    while True:
        async with database.batch() as db:
            rows = await db.fetch(
                f"""
                DELETE FROM delivery WHERE id = ANY(ARRAY(
                    SELECT id FROM delivery WHERE {condition} ORDER BY id LIMIT {_STEP}
                )) RETURNING id
                """,
                value,
            )
        removed += len(rows)
        if len(rows) < _STEP:
            return removed


def first_id(at: datetime) -> UUID:
    """The least id (RFC 9562, version 7) of what came at an instant or later."""
    milliseconds = max(int(at.timestamp() * 1_000), 0) & ((1 << 48) - 1)
    return UUID(int=milliseconds << 80)
