"""Records that a CRM told us may have changed. Nothing of that is believed: they are read."""

from asyncio import Event
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from app import clock
from app.connectors.shapes import Hint, Key, Record
from app.store.db import Connection, Database
from app.sync import reading, taking
from app.sync.shapes import Counts, Opened

_BATCH = 200


async def note(database: Database, connection_id: UUID, hints: Sequence[Hint], now: datetime) -> None:
    """Have these records read soon. One that is noted again while it is read is read again."""
    latest: dict[Key, Hint] = {}
    for hint in hints:
        # What it became is not forgotten where it is only said again that it changed.
        before = latest.get(hint.key)
        latest[hint.key] = hint if hint.successor or before is None else before
    if not latest:
        return
    successors = [hint.successor for hint in latest.values()]
    async with database.batch() as db:
        await db.execute(
            """
            INSERT INTO crm_hint (connection_id, object, record, successor_object, successor, at)
            SELECT $1, new.*, $6 FROM unnest($2::text[], $3::text[], $4::text[], $5::text[])
                AS new(object, record, successor_object, successor)
            ORDER BY 2, 3
            ON CONFLICT (connection_id, object, record) DO UPDATE SET version = crm_hint.version + 1, at = excluded.at,
                successor_object = coalesce(excluded.successor_object, crm_hint.successor_object),
                successor = coalesce(excluded.successor, crm_hint.successor)
            """,
            connection_id,
            [key.object for key in latest],
            [key.id for key in latest],
            [None if key is None else key.object for key in successors],
            [None if key is None else key.id for key in successors],
            now,
        )


async def waiting(db: Connection, connection: UUID) -> int:
    """How many records wait to be read."""
    found: int = await db.fetchval("SELECT count(*) FROM crm_hint WHERE connection_id = $1", connection)
    return found


async def follow(opened: Opened, counts: Counts, stop: Event) -> None:
    """Read the records that were noted by now, and take what is found. Raises Fault; what was taken stays so."""
    until = clock.now()
    while not stop.is_set():
        async with opened.database.batch() as db:
            noted = await _noted(db, opened.id, until)
        if not noted:
            return
        records = await _read(opened, noted)

        async def done(db: Connection, noted: Sequence[_Noted] = noted) -> None:
            await _remove(db, opened.id, noted)

        await taking.take(opened, records, counts, done)


class _Noted(NamedTuple):
    key: Key
    successor: Key | None
    version: int


async def _noted(db: Connection, connection: UUID, until: datetime) -> list[_Noted]:
    """Some of the hints from before an instant: what keeps being noted waits for the next time."""
    rows = await db.fetch(
        """
        SELECT object, record, successor_object, successor, version FROM crm_hint
        WHERE connection_id = $1 AND at <= $2 ORDER BY at, object, record LIMIT $3
        """,
        connection,
        until,
        _BATCH,
    )
    return [_Noted(Key(row[0], row[1]), None if row[3] is None else Key(row[2], row[3]), row[4]) for row in rows]


async def _remove(db: Connection, connection: UUID, noted: Collection[_Noted]) -> None:
    await db.execute(
        """
        DELETE FROM crm_hint h USING unnest($2::text[], $3::text[], $4::bigint[]) AS read(object, record, version)
        WHERE h.connection_id = $1 AND h.object = read.object AND h.record = read.record AND h.version = read.version
        """,
        connection,
        [one.key.object for one in noted],
        [one.key.id for one in noted],
        [one.version for one in noted],
    )


async def _read(opened: Opened, noted: Sequence[_Noted]) -> list[Record]:
    """The records as they are, with what they became. That is believed if the record is gone and the other is there,
    or itself became something."""
    records = await reading.fetch(opened, [one.key for one in noted])
    said = {one.key: one.successor for one in noted if one.successor is not None}
    doubtful = {record.key for record in records if record.is_gone and record.successor is None} & said.keys()
    heirs = await reading.fetch(opened, [said[key] for key in doubtful])
    true = {heir.key for heir in heirs if not heir.is_gone or heir.successor is not None}
    return [
        *heirs,
        *(
            record._replace(successor=said[record.key])
            if record.key in doubtful and said[record.key] in true
            else record
            for record in records
        ),
    ]
