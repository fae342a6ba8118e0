"""Records kept in the order of a value that changes, so that a page costs what it holds, not what the table holds."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

Record = TypeVar("Record")
Row = tuple[Any, int]  # Any: a number or a text, one kind per order

_SLACK = 1_000


class Order(Generic[Record]):
    """Ids of `table` by (value, id). `put` each record that is new or changed; removed ones fall out by themselves.

    A change appends a row and leaves the old one, which no longer agrees with its record and is passed over. So a
    write at the present time costs nothing, and the rows are swept when an eighth of them are stale.
    """

    def __init__(self, table: Mapping[int, Record], value: Callable[[Record], Any]) -> None:
        self._table = table
        self._value = value
        self._rows: list[Row] = []

    def put(self, number: int) -> None:
        row = (self._value(self._table[number]), number)
        if not self._rows or row > self._rows[-1]:
            self._rows.append(row)
        else:
            at = bisect_left(self._rows, row)
            if at == len(self._rows) or self._rows[at] != row:
                self._rows.insert(at, row)
        if len(self._rows) > len(self._table) * 9 // 8 + _SLACK:
            self._rows = [row for row in self._rows if self._is_live(row)]

    def ascending(self, after: Row | None = None, since: Any = None) -> Iterator[int]:  # Any: a value of this order
        """Ids after a row, and of a value that is not below `since`."""
        at = 0 if after is None else bisect_right(self._rows, after)
        if since is not None:
            at = max(at, bisect_left(self._rows, (since, 0)))
        # By index, as a copy of the rows would cost as much as reading them all.
        for index in range(at, len(self._rows)):
            if self._is_live(self._rows[index]):
                yield self._rows[index][1]

    def descending(self, before: Row | None = None, until: Any = None) -> Iterator[int]:  # Any: as above
        """Ids before a row, and of a value below `until`; the greatest value first, and in it the greatest id."""
        at = len(self._rows) if before is None else bisect_left(self._rows, before)
        if until is not None:
            at = min(at, bisect_left(self._rows, (until, 0)))
        for index in range(at - 1, -1, -1):
            if self._is_live(self._rows[index]):
                yield self._rows[index][1]

    def _is_live(self, row: Row) -> bool:
        record = self._table.get(row[1])
        return record is not None and bool(self._value(record) == row[0])
