"""Positions in a table whose ids are given before they are committed: nothing is read twice, nothing passed over."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.store.positions import MAX_ID, Position

ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 4)),
        st.tuples(st.just("commit"), st.integers(0, 4)),
        st.tuples(st.just("roll back"), st.integers(0, 4)),
        st.tuples(st.just("read"), st.integers(1, 4)),
        st.tuples(st.just("resume"), st.integers(0, 30)),
    ),
    max_size=60,
)


class Table:
    """Rows by their ids, as transactions write them: five at a time, each with a transaction id."""

    def __init__(self) -> None:
        self.given = 0
        self.visible: set[int] = set()
        self.next_xid = 1
        self.last_ended = 0
        self.open: dict[int, tuple[int, list[int]]] = {}

    def write(self, who: int) -> None:
        if who not in self.open:
            self.open[who] = (self.next_xid, [])
            self.next_xid += 1
        self.given += 1
        self.open[who][1].append(self.given)

    def end(self, who: int, *, commits: bool) -> None:
        xid, ids = self.open.pop(who, (0, []))
        self.last_ended = max(self.last_ended, xid)
        self.visible |= set(ids) if commits else set()

    @property
    def oldest(self) -> int:
        """As a snapshot says: what runs behind the last that has ended is not looked at."""
        behind = self.last_ended + 1
        return min((xid for xid, _ in self.open.values() if xid < behind), default=behind)

    def read(self, position: Position, most: int) -> list[int]:
        """As `changes.read`: what fills a gap, and what lies beyond."""
        if not position.is_bounded:
            position.bound(self.next_xid)
            self.last_ended = self.next_xid
            self.next_xid += 1
        oldest = self.oldest
        lost = [id_ for gap in position.gaps for id_ in range(gap.low, gap.high + 1) if id_ in self.visible]
        new = sorted(id_ for id_ in self.visible if id_ > position.high)
        found = sorted(lost + new)[:most]
        for id_ in found:
            position.take(id_)
        position.settle(oldest, found[-1] if len(found) == most else MAX_ID)
        return found


@settings(deadline=None, max_examples=150)
@given(ACTS)
@example([("write", 0)] * 4 + [("write", 1), ("commit", 1), ("read", 4), ("commit", 0), ("read", 3)])
def test_every_row_is_read_once_whatever_commits_when_and_a_cursor_misses_none(acts: list[tuple[str, int]]) -> None:
    table, position = Table(), Position(0)
    read: list[int] = []
    said: list[tuple[list[int], set[int]]] = [([0], set())]
    for act, number in acts:
        match act:
            case "write":
                table.write(number)
            case "commit":
                table.end(number, commits=True)
            case "roll back":
                table.end(number, commits=False)
            case "read":
                read += table.read(position, number)
                said.append((position.said(), set(read)))
            case "resume":
                numbers, known = said[number % len(said)]
                again = Position.of(numbers)
                missed = set()
                while found := table.read(again, 3):
                    missed |= set(found)
                assert table.visible - known <= missed
    for who in list(table.open):
        table.end(who, commits=True)
    while found := table.read(position, 3):
        read += found
    table.read(position, 1)

    assert sorted(table.visible) == sorted(read)
    assert not position.gaps
    assert all(position.has(id_) for id_ in read)


def test_a_cursor_names_a_few_gaps_and_widens_the_last() -> None:
    position = Position(0)
    for id_ in range(2, 41, 2):
        position.take(id_)

    high, *ends = position.said()

    assert 40 == high
    assert [1, 1, 3, 3, 5, 5, 7, 7, 9, 9, 11, 11, 13, 13, 15, 39] == ends
    assert 0 == position.floor
    assert not Position.of([high, *ends]).has(20)
    assert position.has(20)


@pytest.mark.parametrize(
    "said",
    [[], [-1], ["1"], [True], [2**63], [10, 3], [10, 5, 3], [10, 3, 4, 4, 5], [10, 3, 11], [10, 3, 12], [1.5], [None]],
)
def test_what_no_position_says_is_refused(said: list[object]) -> None:
    with pytest.raises(ValueError, match="not a position"):
        Position.of(said)
