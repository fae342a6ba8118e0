"""What changed, in the order in which it became known: rows since a position, and which of their contacts are meant."""

from collections.abc import Collection
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from sqlalchemy import ARRAY, Uuid, any_, literal, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.columns import contact
from app.store.contact_filter import Filter, to_sql
from app.store.db import Connection
from app.store.positions import MAX_ID, Gap, Position
from app.store.timelines import FLAG_CHANGED, FLAG_SAID

PAGE = 250
"""Rows that are read at once."""
_LOOKED_BACK = 20_000
"""Ids below the newest among which a reader that begins looks for those that are yet to be committed."""


class Stream(StrEnum):
    """What is read. Its value is in cursors."""

    SCORES = "s"
    FLAGS = "f"


class ScoreRow(NamedTuple):
    id: int
    contact_id: UUID
    model_id: int
    at: datetime
    was: Decimal | None
    value: Decimal | None
    version: int
    cause: str


class FlagsRow(NamedTuple):
    """That a contact's row changed, and which flags did: as `timelines.FLAG_SAID` has them, in an order that holds."""

    id: int
    contact_id: UUID
    at: datetime
    flags: list[dict[str, Any]]  # Any: JSON


class Read(NamedTuple):
    oldest: int
    """All transactions below this one had ended."""
    epoch: int
    """The plan's: what models, segments and bands mean."""
    rows: list[ScoreRow] | list[FlagsRow]

    @property
    def through(self) -> int:
        """Up to here nothing was left out for want of room."""
        return self.rows[-1].id if len(self.rows) == PAGE else MAX_ID


_TABLES = {Stream.SCORES: "score_change", Stream.FLAGS: "contact_past"}
_COLUMNS = {
    Stream.SCORES: "c.id, c.contact_id, c.model_id, c.at, c.was, c.value, c.version, c.cause",
    # What a contact was is followed by what it was next, or is now.
    Stream.FLAGS: f"""
        c.id, c.contact_id, c.until,
        (SELECT jsonb_agg({FLAG_SAID} ORDER BY f.flag)::text
         FROM (SELECT c.said AS was, coalesce(
                   (SELECT n.said FROM contact_past n WHERE n.contact_id = c.contact_id AND n.id > c.id
                    ORDER BY n.id LIMIT 1),
                   (SELECT to_jsonb(p) FROM contact p WHERE p.id = c.contact_id)) AS now) s
         CROSS JOIN (VALUES ('opted_out'), ('bounced')) f(flag)
         WHERE s.now IS NOT NULL AND {FLAG_CHANGED})
    """,
}
_SNAPSHOT = """
    SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest, (SELECT epoch FROM plan_epoch) AS epoch
"""
# Gaps first: what they are filled with is older. Both by the index on the id, each with a limit of its own.
_READ = {
    stream: f"""
    WITH s AS ({_SNAPSHOT}), c AS (
        SELECT * FROM (
            (SELECT late.* FROM unnest($2::bigint[], $3::bigint[]) AS gap(low, high) CROSS JOIN LATERAL (
                 SELECT * FROM {table} WHERE id BETWEEN gap.low AND gap.high ORDER BY id LIMIT $4
             ) late ORDER BY late.id LIMIT $4)
            UNION ALL
            (SELECT * FROM {table} WHERE id > $1 ORDER BY id LIMIT $4)
        ) c ORDER BY id LIMIT $4
    )
    SELECT s.oldest, s.epoch, found.* FROM s LEFT JOIN LATERAL (SELECT {_COLUMNS[stream]} FROM c) found
    ON true ORDER BY found.id
    """
    for stream, table in _TABLES.items()
}
_GIVEN = {
    stream: f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {table}_id_seq"
    for stream, table in _TABLES.items()
}
_GAPS = {
    stream: f"""
    SELECT one.id + 1, one.next - 1 FROM (
        SELECT id, lead(id, 1, $2 + 1) OVER (ORDER BY id) AS next FROM (
            SELECT $1::bigint AS id UNION ALL SELECT id FROM {table} WHERE id > $1 AND id <= $2
        ) known
    ) one WHERE one.next > one.id + 1 ORDER BY 1
    """
    for stream, table in _TABLES.items()
}


async def read(db: Connection, stream: Stream, since: Position) -> Read:
    """At most `PAGE` rows that are not in `since`, by their ids; its gaps are bounded."""
    if not since.is_bounded:
        since.bound(await own_transaction(db))
    lows, highs = [gap.low for gap in since.gaps], [gap.high for gap in since.gaps]
    found = await db.fetch(_READ[stream], since.high, lows, highs, PAGE)
    rows: Any = [_row(stream, row[2:]) for row in found if row[2] is not None]  # Any: of the stream's kind
    return Read(found[0][0], found[0][1], rows)


async def own_transaction(db: Connection) -> int:
    """A transaction id that is larger than all that others were given before."""
    return int(await db.fetchval("SELECT pg_current_xact_id()::text::bigint"))


async def oldest_transaction(db: Connection) -> int:
    """All below this one have ended."""
    return int(await db.fetchval("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"))


async def end(db: Connection, stream: Stream) -> Position:
    """Where a reader begins that wants what is committed from now on. Its `high` is the largest id that was ever given.

    A transaction that was given its ids before 20,000 of others, and commits after this, is passed over.
    """
    high = await db.fetchval(_GIVEN[stream])
    # After that: whoever was given one of them has a transaction id below this.
    before = await own_transaction(db)
    if await oldest_transaction(db) >= before:
        return Position(high)
    found = await db.fetch(_GAPS[stream], max(high - _LOOKED_BACK, 0), high)
    return Position(high, [Gap(low, top, before) for low, top in found])


async def matching(db: AsyncConnection, wanted: Filter, contacts: Collection[UUID]) -> set[UUID]:
    """Which of these contacts match as they are now. A filter may take two seconds of all the others' time."""
    await db.execute(text("SET LOCAL statement_timeout = '2s'"))
    among = contact.c.id == any_(literal(list(contacts), ARRAY(Uuid)))
    return set((await db.execute(select(contact.c.id).where(among, to_sql(wanted, {})))).scalars())


def _row(stream: Stream, row: Any) -> ScoreRow | FlagsRow:  # Any: of a record
    if stream is Stream.SCORES:
        return ScoreRow(*row)
    id_, contact_id, at, flags = row
    return FlagsRow(id_, contact_id, at, [] if flags is None else orjson.loads(flags))
