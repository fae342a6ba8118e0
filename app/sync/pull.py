"""What changed in a CRM comes in: the records that it told us of, then every feed of changes from where it stood."""

from asyncio import Event

from app import clock
from app.connectors.faults import CursorLost
from app.store.db import Connection
from app.sync import activities, cursors, hints, reading, taking
from app.sync.cursors import Kept
from app.sync.shapes import Counts, Opened


async def pull(opened: Opened, counts: Counts, stop: Event) -> None:
    """Take all changes until now; returns early if `stop` is set, and goes on from there the next time.

    A page and the cursor behind it are kept in one transaction. Raises Fault; what was taken before stays so.
    """
    await hints.follow(opened, counts, stop)
    for object_ in opened.connector.objects:
        await _changes(opened, object_, counts, stop)
    if opened.options.activities:
        await activities.pull(opened, counts, stop)


async def _changes(opened: Opened, object_: str, counts: Counts, stop: Event) -> None:
    feed, fields = cursors.changes(object_), reading.fields(opened.options, object_)
    async with opened.database.batch() as db:
        kept = await cursors.find(db, opened.id, feed)
    while not stop.is_set():
        try:
            page = await opened.connector.changes(object_, kept.cursor if kept else None, fields)
        except CursorLost:
            if kept is None:
                raise
            kept = None
            continue
        kept = Kept(page.cursor, kept.began_at if kept else clock.now())

        async def keep(db: Connection, kept: Kept = kept) -> None:
            await cursors.keep(db, opened.id, feed, kept, clock.now())

        await taking.take(opened, page.records, counts, keep)
        if page.is_last:
            return
