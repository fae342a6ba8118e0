"""How far a reader is in a table whose ids are given before they are committed.

An id may become visible after larger ones have, for its transaction took longer. So a position is the largest id that
was read, and the gaps below it: ids that were not there when it passed them. A gap is closed when no transaction is
left that could fill it: whoever was given one of its ids had a transaction id by then, below the one that the reader
takes for itself when it finds the gap still there; once the oldest transaction that runs is not below that, all have
ended. (A snapshot's own upper end will not do: it is behind the last that has ended, and may lie below some that run.)
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple, Self

MAX_ID = 2**63 - 1
_MOST_SAID = 8
"""Gaps that a cursor tells apart. Of more it says one wide one, in which some ids may then be read twice."""


class Gap(NamedTuple):
    """Ids that were not there, both ends inclusive."""

    low: int
    high: int
    before: int = MAX_ID
    """Whoever may still fill it has a transaction id below this, if that is known."""


class Position:
    def __init__(self, high: int, gaps: Sequence[Gap] = ()) -> None:
        """`gaps` ascend, and are not above `high`."""
        self.high = high
        self._gaps = list(gaps)

    def copy(self) -> "Position":
        return Position(self.high, self._gaps)

    @property
    def gaps(self) -> Sequence[Gap]:
        return self._gaps

    def has(self, id_: int) -> bool:
        """Whether it was read, or never will be."""
        return id_ <= self.high and not self._is_missing(self._at(id_), id_)

    def take(self, id_: int) -> None:
        """Note that it is read now."""
        if id_ > self.high:
            if id_ > self.high + 1:
                self._gaps.append(Gap(self.high + 1, id_ - 1))
            self.high = id_
            return
        at = self._at(id_)
        if self._is_missing(at, id_):
            low, high, bound = self._gaps[at]
            parts = [Gap(low, id_ - 1, bound), Gap(id_ + 1, high, bound)]
            self._gaps[at : at + 1] = [part for part in parts if part.low <= part.high]

    @property
    def is_bounded(self) -> bool:
        """Whether it is known of every gap who may still fill it."""
        return all(gap.before < MAX_ID for gap in self._gaps)

    def bound(self, before: int) -> None:
        """Whoever may fill the gaps of which it is not known has a transaction id below this."""
        self._gaps = [gap if gap.before < MAX_ID else gap._replace(before=before) for gap in self._gaps]

    def settle(self, oldest: int, through: int = MAX_ID) -> None:
        """Close the gaps that nobody can fill, now that the oldest transaction that runs is this one. What is above
        `through` stays as it is: there may be rows in it that did not fit on the page that was read."""
        kept = []
        for gap in self._gaps:
            if gap.before > oldest or gap.low > through:
                kept.append(gap)
            elif gap.high > through:
                kept.append(gap._replace(low=through + 1))
        self._gaps = kept

    def said(self) -> list[int]:
        """The position as numbers: the largest id, then both ends of each gap."""
        shown = [end for gap in self._gaps[:_MOST_SAID] for end in (gap.low, gap.high)]
        if len(self._gaps) > _MOST_SAID:
            shown[-1] = self._gaps[-1].high
        return [self.high, *shown]

    @classmethod
    def of(cls, said: Sequence[object]) -> Self:
        """What `said` gave. Raises ValueError for anything else."""
        numbers = [one for one in said if type(one) is int and 0 <= one <= MAX_ID]
        high, *ends = numbers or [-1]
        rising = all(low < high for low, high in zip(ends[1::2], ends[2::2], strict=False))
        pairs = list(zip(ends[::2], ends[1::2], strict=False))
        if len(numbers) != len(said) or len(ends) % 2 or len(pairs) > _MOST_SAID or high < 0:
            raise ValueError("not a position")
        if not rising or any(low > top for low, top in pairs) or any(end > high for end in ends):
            raise ValueError("not a position")
        return cls(high, [Gap(low, top) for low, top in pairs])

    @property
    def floor(self) -> int:
        """Everything up to here was read."""
        return self._gaps[0].low - 1 if self._gaps else self.high

    def _at(self, id_: int) -> int:
        """Where among the gaps the one stands that begins at it, or last before it; -1 for none."""
        return bisect_right(self._gaps, (id_, MAX_ID, MAX_ID)) - 1

    def _is_missing(self, at: int, id_: int) -> bool:
        return at >= 0 and id_ <= self._gaps[at].high
