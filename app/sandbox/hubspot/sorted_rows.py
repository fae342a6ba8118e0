"""Rows kept in order, of which any stretch is found, counted and read without looking at the others."""

from bisect import bisect_left, insort
from collections.abc import Iterator

Row = tuple[int, int]
"""A value and the id of its record."""
_MOST = 2_000


class SortedRows:
    """Chunks of at most 2,000 rows: to add or remove one moves no more than its chunk."""

    def __init__(self) -> None:
        self._chunks: list[list[Row]] = []
        self._ends: list[Row] = []
        """The last row of each chunk."""

    def __len__(self) -> int:
        return sum(len(chunk) for chunk in self._chunks)

    def add(self, row: Row) -> None:
        if not self._chunks:
            self._chunks.append([row])
            self._ends.append(row)
            return
        at = min(bisect_left(self._ends, row), len(self._ends) - 1)
        chunk = self._chunks[at]
        if row > chunk[-1]:
            chunk.append(row)
        else:
            insort(chunk, row)
        if len(chunk) > _MOST:
            self._chunks[at : at + 1] = [chunk[: _MOST // 2], chunk[_MOST // 2 :]]
            self._ends[at : at + 1] = [chunk[_MOST // 2 - 1], chunk[-1]]
        else:
            self._ends[at] = chunk[-1]

    def remove(self, row: Row) -> None:
        """It must be there."""
        at = bisect_left(self._ends, row)
        chunk = self._chunks[at]
        del chunk[bisect_left(chunk, row)]
        if chunk:
            self._ends[at] = chunk[-1]
        else:
            del self._chunks[at], self._ends[at]

    def below(self, row: Row) -> int:
        """How many rows come before this one, which need not be there."""
        at = bisect_left(self._ends, row)
        if at == len(self._chunks):
            return len(self)
        return sum(len(chunk) for chunk in self._chunks[:at]) + bisect_left(self._chunks[at], row)

    def ids(self, start: int, stop: int) -> Iterator[int]:
        """Of the records of the rows from one place to another."""
        for chunk in self._chunks:
            if stop <= 0:
                return
            if start < len(chunk):
                for _, number in chunk[max(start, 0) : stop]:
                    yield number
            start -= len(chunk)
            stop -= len(chunk)
