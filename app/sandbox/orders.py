"""Records kept in the order of a value, so that a page costs what it holds, not what the table holds."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

Id = TypeVar("Id")
Record = TypeVar("Record")
Place = tuple[Any, Id]
"""A value, and an id. Any: a number or a text, one kind per order."""

_SLACK = 1_000
_LONGEST = 2_000
_NO_ID, _EVERY_ID = -1, 1 << 62


class Order(Generic[Id, Record]):
    """`records` by (value, id). `put` each that is new or changed; removed ones fall out by themselves.

    A change adds a place and leaves the old one, which no longer agrees with its record and is passed over. So a write
    at the present time costs nothing, and the places are swept when too many are stale. Of ids that are texts, `""`
    stands before all of its value, and `"~"` after them.
    """

    def __init__(self, records: Mapping[Id, Record], value: Callable[[Record], Any]) -> None:
        self._records = records
        self._value = value
        self._places: list[Place[Id]] = []

    def put(self, id_: Id) -> None:
        place = (self._value(self._records[id_]), id_)
        if not self._places or place > self._places[-1]:
            self._places.append(place)
        elif self._places[bisect_left(self._places, place)] != place:
            insort(self._places, place)
        if len(self._places) > 2 * len(self._records) + _SLACK:
            self._places = [one for one in self._places if self._is_live(one)]

    def ascending(
        self, low: Place[Id] | None = None, high: Place[Id] | None = None, *, after: bool = False
    ) -> Iterator[Record]:
        """From one place to another, both included; with `after` the first is left out."""
        places = self._places
        find = bisect_right if after else bisect_left
        start = 0 if low is None else find(places, low)
        stop = len(places) if high is None else bisect_right(places, high)
        return self._alive(places, range(start, stop))

    def descending(self, before: Place[Id] | None = None) -> Iterator[Record]:
        """From the last place, or the last before this one, to the first."""
        places = self._places
        stop = len(places) if before is None else bisect_left(places, before)
        return self._alive(places, range(stop - 1, -1, -1))

    def _alive(self, places: list[Place[Id]], chosen: range) -> Iterator[Record]:
        # By index, as a copy would cost as much as reading them all; a sweep replaces the list, and this one stays.
        for index in chosen:
            value, id_ = places[index]
            record = self._records.get(id_)
            if record is not None and self._value(record) == value:
                yield record

    def _is_live(self, place: Place[Id]) -> bool:
        record = self._records.get(place[1])
        return record is not None and bool(self._value(record) == place[0])


class CountedOrder:
    """Ids by (value, id), of which any stretch is found, counted and read without looking at the others.

    Places stand in short runs: to add or remove one moves no more than its run, and where it stands is found by
    counting runs.
    """

    def __init__(self) -> None:
        self._runs: list[list[Place[int]]] = []
        self._lasts: list[Place[int]] = []
        """Of each run."""

    def __len__(self) -> int:
        return sum(map(len, self._runs))

    def add(self, place: Place[int]) -> None:
        if not self._runs:
            self._runs.append([place])
            self._lasts.append(place)
            return
        at = min(bisect_left(self._lasts, place), len(self._runs) - 1)
        run = self._runs[at]
        if place > run[-1]:
            run.append(place)
        else:
            insort(run, place)
        self._lasts[at] = run[-1]
        if len(run) > _LONGEST:
            half = len(run) // 2
            self._runs[at : at + 1] = run[:half], run[half:]
            self._lasts[at : at + 1] = run[half - 1], run[-1]

    def remove(self, place: Place[int]) -> None:
        """It must be there."""
        at = bisect_left(self._lasts, place)
        run = self._runs[at]
        index = bisect_left(run, place)
        assert run[index] == place
        del run[index]
        if run:
            self._lasts[at] = run[-1]
        else:
            del self._runs[at], self._lasts[at]

    def between(self, low: Any = None, high: Any = None) -> tuple[int, int]:  # Any: values of this order
        """How many are below `low`, and how many are not above `high`: the stretch of these values, both included."""
        start = 0 if low is None else self._below((low, _NO_ID))
        stop = len(self) if high is None else self._below((high, _EVERY_ID))
        return start, max(start, stop)

    def ids(self, start: int, stop: int) -> Iterator[int]:
        """From one place to before another, counted from 0."""
        for run in self._runs:
            if stop <= 0:
                return
            if start < len(run):
                yield from [id_ for _, id_ in run[max(start, 0) : stop]]
            start, stop = start - len(run), stop - len(run)

    def _below(self, place: Place[int]) -> int:
        """How many stand before this place, where none is."""
        at = bisect_left(self._lasts, place)
        return sum(map(len, self._runs[:at])) + (bisect_left(self._runs[at], place) if at < len(self._runs) else 0)
