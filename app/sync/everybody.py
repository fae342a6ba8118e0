"""The slow comparison: everybody in a CRM is read, whatever its feeds of changes said, and who is missing is sought.

A walk may take days, with any number of pauses: it goes on where it stood.
"""

from asyncio import Event
from datetime import datetime

from app import clock
from app.connectors.faults import CursorLost
from app.connectors.shapes import Key
from app.store.db import Connection
from app.sync import cursors, links, reading, taking
from app.sync.cursors import Kept
from app.sync.shapes import Counts, Opened

_BATCH = 200


async def reconcile(opened: Opened, counts: Counts, stop: Event) -> bool:
    """Compare everybody; returns whether it is through, which it is not if `stop` was set before.

    Raises Fault; what was taken before stays so.
    """
    for object_ in opened.connector.objects:
        began_at = await _walk(opened, object_, counts, stop)
        if began_at is None or not await _look_for_missing(opened, object_, began_at, counts, stop):
            return False
    # Only now, so that an object that is through is not walked again before the others are.
    async with opened.database.batch() as db:
        for object_ in opened.connector.objects:
            await cursors.drop(db, opened.id, cursors.everybody(object_))
    return True


async def _walk(opened: Opened, object_: str, counts: Counts, stop: Event) -> datetime | None:
    """Take everybody who is there; returns when the walk began, None if it was stopped."""
    feed, fields = cursors.everybody(object_), reading.fields(opened.options, object_)
    async with opened.database.batch() as db:
        kept = await cursors.find(db, opened.id, feed)
    began_at = kept.began_at if kept else clock.now()
    while not stop.is_set():
        try:
            page = await opened.connector.everybody(object_, kept.cursor if kept else None, fields)
        except CursorLost:
            if kept is None:
                raise
            kept, began_at = None, clock.now()
            continue
        kept = Kept(page.cursor, began_at)

        async def keep(db: Connection, kept: Kept = kept) -> None:
            await cursors.keep(db, opened.id, feed, kept, clock.now())

        await taking.take(opened, page.records, counts, keep)
        if page.is_last:
            return began_at
    return None


async def _look_for_missing(opened: Opened, object_: str, began_at: datetime, counts: Counts, stop: Event) -> bool:
    """Read the records that the walk has not met: they are gone, or came to be passed over. False if it was stopped."""
    while not stop.is_set():
        async with opened.database.batch() as db:
            missing = await links.unseen(db, opened.id, object_, began_at, _BATCH)
        if not missing:
            return True

        async def met(db: Connection, missing: list[Key] = missing) -> None:
            await links.touch(db, opened.id, missing, clock.now())

        await taking.take(opened, await reading.fetch(opened, missing), counts, met)
    return False
