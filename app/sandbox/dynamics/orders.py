"""Rows kept in the order of a value that changes, so that a page costs what it holds, not what the table holds."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from app.sandbox.dynamics.wire import Row

Place = tuple[Any, str]
"""A value, and an id. Any: a text or a number, one kind per order."""
_SLACK = 1_000
_LAST = "~"


class Order:
    """Ids of `rows` by (value, id). `put` each row that is new or changed; removed ones fall out by themselves.

    A change adds a place and leaves the old one, which no longer agrees with its row and is passed over. So a write at
    the present time costs nothing, and the places are swept when too many are stale.
    """

    def __init__(self, rows: Mapping[str, Row], value: Callable[[Row], Any]) -> None:
        self._rows = rows
        self._value = value
        self._places: list[Place] = []

    def put(self, id_: str) -> None:
        place = (self._value(self._rows[id_]), id_)
        if not self._places or place > self._places[-1]:
            self._places.append(place)
        elif self._places[bisect_left(self._places, place)] != place:
            insort(self._places, place)
        if len(self._places) > 2 * len(self._rows) + _SLACK:
            self._places = [one for one in self._places if self._is_live(one)]

    def between(self, low: Place | None, high: Place | None = None, *, after: bool = False) -> Iterator[Row]:
        """Rows from one place to another, both included; with `after` the first is left out.

        An id of `""` stands before all of its value, `"~"` after them.
        """
        places = self._places
        find = bisect_right if after else bisect_left
        at = 0 if low is None else find(places, low)
        end = len(places) if high is None else bisect_right(places, high)
        # By index, as a copy would cost as much as reading them all; a sweep replaces the list, and this one stays.
        for index in range(at, end):
            if self._is_live(places[index]):
                yield self._rows[places[index][1]]

    def _is_live(self, place: Place) -> bool:
        row = self._rows.get(place[1])
        return row is not None and bool(self._value(row) == place[0])


def at_once(value: Any) -> Place:  # Any: as above
    """Before all rows of this value."""
    return value, ""


def past(value: Any) -> Place:  # Any: as above
    """After all rows of this value."""
    return value, _LAST
