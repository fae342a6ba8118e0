"""What changed since a cursor: by the CRM's own tracking of changes, or where that is off by a walk.

Tracking begins with everybody, in pages; the last of them has a link to whatever changes after the first was asked for,
deletions among it, and that list ends with the next such link. A link is good for some days, and for the columns that
it was made with. When it is not good any more everybody is read anew: nobody who is there is missed, and who was
deleted meanwhile is found by the slow comparison.

Source: Microsoft Learn, "Use change tracking to synchronize data with external systems".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson

from app import clock
from app.connectors.dynamics import values
from app.connectors.dynamics.api import Api, Row, address
from app.connectors.dynamics.columns import IDS, SETS, Described, Table
from app.connectors.dynamics.people import People
from app.connectors.dynamics.walking import SIZE, Walk, is_path
from app.connectors.faults import CursorLost, Refused
from app.connectors.shapes import Page

TRACK = "odata.track-changes"
_ASKED_AGAIN = timedelta(days=1)
"""So often it is tried whether the CRM tracks changes by now."""


@dataclass(frozen=True)
class Tracked:
    """A link, and the columns that it was made with."""

    link: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Untracked:
    """A walk, and when it was found that changes are not tracked."""

    walk: Walk
    found_at: datetime


class Changes:
    def __init__(self, api: Api, described: Described, people: People) -> None:
        self._api = api
        self._described = described
        self._people = people

    async def page(self, object_: str, cursor: str | None, fields: Sequence[str]) -> Page:
        """Raises CursorLost where the cursor is none of ours, or the CRM knows its link no more."""
        place = None if cursor is None else _read(cursor)
        if await self._described.table(object_) is None:
            return Page([], cursor or _text(Untracked(Walk(), clock.now())), True)

        async def look(table: Table) -> Page:
            return await self._look(table, place, fields)

        return await self._people.seen(object_, fields, look)

    async def _look(self, table: Table, place: Tracked | Untracked | None, fields: Sequence[str]) -> Page:
        columns = self._people.columns(table, fields)
        if isinstance(place, Tracked) and set(columns) <= {*place.columns}:
            return await self._tracked(table, place, fields)
        if isinstance(place, Untracked) and (place.walk.is_under_way or not _is_stale(place)):
            return await self._walked(table, place, fields)
        try:
            begin = address(SETS[table.object], select=",".join(columns))
            return await self._page(table, begin, columns, fields, TRACK, SIZE)
        except Refused:
            # The CRM tracks no changes of the table, or not for those who may not read all of its rows. If it is for
            # another reason, the walk is refused too.
            walk = place.walk if isinstance(place, Untracked) else Walk()
            return await self._walked(table, Untracked(walk, clock.now()), fields)

    async def _tracked(self, table: Table, place: Tracked, fields: Sequence[str]) -> Page:
        try:
            return await self._page(table, place.link, place.columns, fields, SIZE)
        except Refused as fault:
            raise CursorLost(f"the CRM knows its link no more ({fault.code})") from None

    async def _page(self, table: Table, path: str, columns: Sequence[str], fields: Sequence[str], *prefer: str) -> Page:
        found = await self._api.page(path, *prefer)
        link = found.following or found.changes
        if link is None:
            raise Refused("no_link", "the CRM gave no link to what follows")
        records = await self._people.records(table, found.rows, fields)
        return Page(records, _text(Tracked(link, tuple(columns))), found.following is None)

    async def _walked(self, table: Table, place: Untracked, fields: Sequence[str]) -> Page:
        columns = ",".join(self._people.columns(table, fields))
        rows: list[Row]
        rows, walk = await place.walk.page(self._api, SETS[table.object], IDS[table.object], columns)
        records = await self._people.records(table, rows, fields)
        return Page(records, _text(Untracked(walk, place.found_at)), not walk.is_under_way)


def _is_stale(place: Untracked) -> bool:
    return not timedelta() <= clock.now() - place.found_at < _ASKED_AGAIN


def _text(place: Tracked | Untracked) -> str:
    said: dict[str, Any]  # Any: JSON
    if isinstance(place, Tracked):
        said = {"link": place.link, "columns": place.columns}
    else:
        said = {"walk": place.walk.to_json(), "found_at": values.stamp(place.found_at)}
    return orjson.dumps(said).decode()


def _read(cursor: str) -> Tracked | Untracked:
    """Raises CursorLost for what `_text` did not give."""
    try:
        said = orjson.loads(cursor)
    except orjson.JSONDecodeError:
        raise CursorLost("the cursor is not JSON") from None
    match said:
        case {"link": str(link), "columns": [*columns]} if is_path(link):
            return Tracked(link, tuple(map(str, columns)))
        case {"walk": {**walk}, "found_at": str(text)} if (found_at := values.instant(text)) is not None:
            return Untracked(Walk.read(walk), found_at)
    raise CursorLost("the cursor is not one of Dynamics'")
