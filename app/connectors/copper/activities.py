"""Activities: notes, calls, meetings and whatever else an account has types for; not what Copper logs by itself.

A search filters by when something happened, and by nothing that moves when it is edited. So what happened lately is
read again and again: the last hours at each look, the last day several times an hour, the last month once a day. An
activity that was deleted is a stub, if a list shows it at all. One is about a lead or a person; those about companies,
opportunities, projects and tasks are about nobody. Source: "Activities" of Copper's Postman collection, August 2026.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from app import clock
from app.connectors.copper import windows
from app.connectors.copper.calls import REACH, Api, Endpoint, Json, is_id
from app.connectors.copper.listed import LEAD, PERSON
from app.connectors.copper.walking import instant
from app.connectors.faults import Unreachable
from app.connectors.shapes import Activity, ActivityPage, Key

SEARCH = Endpoint("POST", "/activities/search")
TYPES = Endpoint("GET", "/activity_types")

USER = "user"
_HOUR, _DAY = 3_600, 86_400
_AGAIN = ((30 * _DAY, _DAY), (_DAY, _HOUR // 4), (2 * _HOUR, 0))
"""How far back is read again, and how often at most, in seconds; the farthest first."""
_KNOWN_FOR = timedelta(minutes=5)
_WORDS = re.compile(r"[^\w]+")


@dataclass(frozen=True)
class Place:
    """Where the feed stands, in Unix seconds."""

    month: int | None = None
    """By our clock, when a walk over the last month began; `day` and `hours` are its likes."""
    day: int | None = None
    hours: int | None = None
    began: int | None = None
    """When the present walk did; None: none is under way."""
    reach: int = 0
    """Which of these it is: 0 for the month, or for all there is."""
    since: int | None = None
    """Where the present search begins, and ends; None: nowhere."""
    until: int | None = None
    page: int = 1
    size: int = 0
    """Rows on a page, by which pages are counted; 0 before the first."""
    total: int = 0
    """How many there were when the page before was read."""


class Activities:
    """Of one account."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._types: Mapping[int, str] = {}
        self._typed_at: datetime | None = None

    async def read(self, cursor: str | None) -> ActivityPage:
        """A page. Raises CursorLost if the cursor is none of ours, Refused, SignInRefused, Later."""
        place = Place() if cursor is None else windows.parsed(Place, windows.loaded(cursor))
        now = int(clock.now().timestamp())
        if place.began is None:
            place = _begun(place, now)
        types = await self._known_types()
        if not types:
            return ActivityPage([], windows.written(_ended(place)), is_last=True)
        rows: list[Json] = []
        while not rows and place.began is not None:
            rows, place = await self._page(place, types, now)
        found = [one for row in rows if (one := _activity(row, types)) is not None]
        return ActivityPage(found, windows.written(place), place.began is None)

    async def _page(self, place: Place, types: Mapping[int, str], now: int) -> tuple[list[Json], Place]:
        size = self._api.page_size
        if size != place.size:
            place = replace(place, page=1, size=size, total=0)
        asked: Json = {
            "activity_types": [{"id": id_, "category": USER} for id_ in types],
            "page_number": place.page,
            "page_size": size,
        }
        # Whether the bounds are inclusive is not documented.
        if place.since is not None:
            asked["minimum_activity_date"] = max(place.since - 1, 0)
        if place.until is not None:
            asked["maximum_activity_date"] = place.until + 1
        rows, total = await self._api.search(SEARCH, asked)
        if place.page == 1 and total > REACH and len(rows) == size:
            middle = ((place.since or 0) + (place.until or now)) // 2
            if middle > (place.since or 0):
                return [], replace(place, until=middle)
        if place.page > 1 and total < place.total:
            # What was deleted before this page moved others onto pages that were read.
            back = -(-(place.total - total) // size)
            return rows, replace(place, page=max(place.page - back, 1), total=total)
        if len(rows) == size and place.page * size < REACH:
            return rows, replace(place, page=place.page + 1, total=total)
        if place.until is not None:
            return rows, replace(place, since=place.until, until=None, page=1, total=0)
        return rows, _ended(place)

    async def _known_types(self) -> Mapping[int, str]:
        """The name of each type that people use, by its id. Those that are no more are among them."""
        if self._typed_at is None or clock.now() - self._typed_at > _KNOWN_FOR:
            began = clock.now()
            said = await self._api.one(TYPES)
            rows = said.get(USER)
            if not isinstance(rows, list):
                raise Unreachable("an answer held no types of activities")
            typed = [row for row in rows if isinstance(row, dict) and is_id(row.get("id"))]
            self._types = {row["id"]: _slug(str(row.get("name"))) for row in typed}
            self._typed_at = began
        return self._types


def _begun(place: Place, now: int) -> Place:
    if place.month is None or place.day is None or place.hours is None:
        return Place(began=now)
    last = (place.month, place.day, place.hours)
    due = [not 0 <= now - at < every for at, (_, every) in zip(last, _AGAIN, strict=True)]
    reach = due.index(True) if True in due else len(_AGAIN) - 1
    # However long ago the last look was, nothing between the two is passed over.
    since = min(now - _AGAIN[reach][0], max(last) - _AGAIN[-1][0])
    return Place(*last, began=now, reach=reach, since=max(since, 0))


def _ended(place: Place) -> Place:
    """A walk that reaches farther has done what the others would."""
    month, day, hours = (
        place.began if number >= place.reach else at for number, at in enumerate((place.month, place.day, place.hours))
    )
    return Place(month, day, hours)


def _activity(row: Json, types: Mapping[int, str]) -> Activity | None:
    """None if it is not one that people logged."""
    id_ = row.get("id")
    if not is_id(id_):
        return None
    kind = row.get("type")
    type_ = kind if isinstance(kind, dict) else {}
    at = instant(row, "activity_date") or instant(row, "date_created")
    if row.get("is_deleted") is True:
        name = types.get(type_.get("id", -1), "unknown")
        return Activity(str(id_), name, (), at or datetime.fromtimestamp(0, UTC))
    if type_.get("category") != USER or at is None:
        return None
    details = row.get("details")
    properties: dict[str, Any] = {"details": details} if isinstance(details, str) and details else {}  # Any: JSON
    return Activity(str(id_), types.get(type_.get("id", -1), "unknown"), _people(row), at, properties)


def _people(row: Json) -> tuple[Key, ...]:
    parent = row.get("parent")
    if not isinstance(parent, dict) or parent.get("type") not in (PERSON, LEAD) or not is_id(parent.get("id")):
        return ()
    return (Key(str(parent["type"]), str(parent["id"])),)


def _slug(name: str) -> str:
    """`Phone Call` as `phone_call`."""
    return _WORDS.sub("_", name.lower()).strip("_") or "unknown"
