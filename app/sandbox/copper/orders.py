"""Ids kept in the order of a value, so that a change and a page cost little wherever they are."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from itertools import islice
from typing import Any

Row = tuple[Any, int]
"""A value and an id. Any: a number or a text, one kind per order."""

_LONGEST = 2_000
_NO_ID = -1
_EVERY_ID = 1 << 62


class Order:
    """Rows in short runs: a change moves the rest of one run, and a place is found by counting runs."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._runs: list[list[Row]] = []
        self._lasts: list[Row] = []
        for row in rows:
            self.add(row)

    def add(self, row: Row) -> None:
        if not self._runs:
            self._runs.append([row])
            self._lasts.append(row)
            return
        at = min(bisect_left(self._lasts, row), len(self._runs) - 1)
        run = self._runs[at]
        insort(run, row)
        self._lasts[at] = run[-1]
        if len(run) > _LONGEST:
            half = len(run) // 2
            self._runs[at : at + 1] = run[:half], run[half:]
            self._lasts[at : at + 1] = run[half - 1], run[-1]

    def remove(self, row: Row) -> None:
        at = bisect_left(self._lasts, row)
        run = self._runs[at]
        place = bisect_left(run, row)
        assert run[place] == row
        del run[place]
        if run:
            self._lasts[at] = run[-1]
        else:
            del self._runs[at], self._lasts[at]

    def between(self, low: Any = None, high: Any = None) -> tuple[int, int]:  # Any: values of this order
        """The first place of a value that is not below `low`, and the one behind the last that is not above `high`."""
        start = 0 if low is None else self._place((low, _NO_ID))
        stop = sum(map(len, self._runs)) if high is None else self._place((high, _EVERY_ID))
        return start, max(start, stop)

    def ids(self, start: int, stop: int) -> list[int]:
        """The ids from place `start` to before `stop`."""
        found: list[int] = []
        for run in self._runs:
            if start < len(run):
                found += [row[1] for row in islice(run, max(start, 0), max(stop, 0))]
            start, stop = start - len(run), stop - len(run)
            if stop <= 0:
                break
        return found

    def _place(self, row: Row) -> int:
        """How many rows come before this one, which is none of them."""
        at = bisect_right(self._lasts, row)
        return sum(map(len, self._runs[:at])) + (bisect_left(self._runs[at], row) if at < len(self._runs) else 0)
