"""Where a walk through what changed is, so that it may stop anywhere and passes nothing over.

Search sorts by the time of the last change, in milliseconds; it pages by counting rows, so that an edit between two
pages moves others over the border, and no page begins beyond 10,000 rows. So there is never a second page: each search
begins at the last time that was read, and asks for the first rows from there. Where one time has more records than a
page, as after an import, these are walked by their ids.

What was changed shows in search some time later, after seconds as is said, nowhere how many. So what appears from some
instant on has no time older than five minutes before that; the walk keeps this bound as `unsure_from`. A look that
begins five minutes or more after the last one that looked back begins at that bound again, and moves the bound to five
minutes before its own beginning. Between the two,

    whatever was not handed out yet is after the walk's place, or has a time of `unsure_from` or later

holds at any time. Only a walk that has come to its end looks back: one that is behind would else never get on. What the
time is in HubSpot is taken from our clock, or from the latest time that was read, if that is later. Source of what is
said of search: models of HubSpot's clients, and comparisons that quote its documents, October 2026.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import orjson

from app import clock
from app.connectors.faults import CursorLost
from app.connectors.hubspot.api import Api, Json
from app.connectors.hubspot.values import instant_of, millis_of

PAGE = 200
_LATE_MS = 5 * 60_000
"""So old may a time be when it is first seen."""
_EVERY_MS = 5 * 60_000
_HARDLY_OVER_MS = 5_000
_ID = "hs_object_id"


@dataclass(frozen=True)
class Place:
    """Instants are milliseconds since 1970."""

    at: int
    """What was changed before it was handed out."""
    id: int | None
    """Of what was changed at it, whoever has no greater id was, too; None: it is not walked by ids."""
    unsure_from: int
    looked_at: int
    """By our clock, when the last look that went back began."""
    is_at_end: bool
    """Nothing followed when it was last asked for."""

    @classmethod
    def beginning(cls) -> "Place":
        """Before all records."""
        now = millis_of(clock.now())
        return cls(0, None, now - _LATE_MS, now, False)

    @classmethod
    def since(cls, began: int) -> "Place":
        """After all that was changed until then, by our clock."""
        return cls(began - _LATE_MS, None, began - _LATE_MS, began, False)

    @classmethod
    def read(cls, said: object) -> "Place":
        """Raises CursorLost for what `to_json` did not give."""
        place: Place | None
        try:
            place = cls(**said)  # type: ignore[arg-type] # what it is not, it says by raising
        except TypeError:
            place = None
        if place is None or not all(map(_is_time, (place.at, place.unsure_from, place.looked_at, place.id or 0))):
            raise CursorLost("the cursor is not one of HubSpot's walks")
        return place

    def to_json(self) -> dict[str, int | bool | None]:
        return asdict(self)

    def at_next_look(self) -> "Place":
        """The place to ask on from: further back, if that is due."""
        now = millis_of(clock.now())
        # A clock that was put back is no reason to wait.
        if not self.is_at_end or 0 <= now - self.looked_at < _EVERY_MS:
            return self
        unsure_from = max(now, self.at) - _LATE_MS
        return Place(min(self.at, self.unsure_from), None, unsure_from, now, False)

    def asked(self, modified: str) -> Json:
        """Filters and order of a search for the records that follow."""
        if self.id is None:
            filters, order = [_filter(modified, "GTE", self.at)], modified
        else:
            filters, order = [_filter(modified, "EQ", self.at), _filter(_ID, "GT", self.id)], _ID
        return {
            "filterGroups": [{"filters": filters}],
            "sorts": [{"propertyName": order, "direction": "ASCENDING"}],
            "limit": PAGE,
        }

    def after(self, rows: Sequence[Json], modified: str, *, is_all: bool) -> tuple[Sequence[Json], "Place"]:
        """Which of the rows that were found are to be handed out, and the place after these."""
        if self.id is not None:
            if is_all:
                return rows, replace(self, at=self.at + 1, id=None, is_at_end=False)
            return rows, replace(self, id=max((int(row["id"]) for row in rows), default=self.id), is_at_end=False)
        times = [_time(row, modified) for row in rows]
        first, last = min(times, default=self.at), max(times, default=self.at)
        if is_all:
            is_over = millis_of(clock.now()) - last >= _HARDLY_OVER_MS
            return rows, replace(self, at=last + 1 if rows and is_over else last, is_at_end=True)
        if first == last:
            return (), replace(self, at=last, id=0, is_at_end=False)
        return rows, replace(self, at=last, is_at_end=False)


def _is_time(said: object) -> bool:
    return type(said) is int and -_LATE_MS <= said < 10**15


def _filter(name: str, operator: str, value: int) -> Json:
    return {"propertyName": name, "operator": operator, "value": str(value)}


def _time(row: Json, modified: str) -> int:
    at = instant_of(row["properties"].get(modified)) or instant_of(row.get("updatedAt"))
    return 0 if at is None else millis_of(at)


async def next_page(
    api: Api, type_: str, modified: str, names: Sequence[str], place: Place
) -> tuple[Sequence[Json], Place]:
    """Records of a type that changed after the place, and the place after these. `modified`: the property that tells
    when. Raises Refused, SignInRefused, Later."""
    place = place.at_next_look()
    asked = {**place.asked(modified), "properties": [*names, modified]}
    rows, is_more = await api.search(type_, asked)
    return place.after(rows, modified, is_all=not is_more or not rows)


def from_text(cursor: str) -> Any:  # Any: JSON
    """Raises CursorLost."""
    try:
        return orjson.loads(cursor)
    except orjson.JSONDecodeError:
        raise CursorLost("the cursor is not JSON") from None


def to_text(said: object) -> str:
    return orjson.dumps(said).decode()
