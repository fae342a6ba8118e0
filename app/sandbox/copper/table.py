"""The records of one kind: as they are, and as search shows them, which may be some time behind."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, Protocol, TypeVar

from app.sandbox.orders import CountedOrder

_REMEMBERED = 4


class _Numbered(Protocol):
    id: int


Record = TypeVar("Record", bound=_Numbered)
Sorting = Callable[[Record], Any]
"""The value that records are sorted by. Any: a number or a text."""


class Index(Generic[Record]):
    """Records in several orders and by address. What is not `shown` is known, but in no order."""

    def __init__(
        self,
        sortings: Mapping[str, Sorting[Record]],
        addresses: Callable[[Record], Iterable[str]],
        shown: Callable[[Record], bool],
    ) -> None:
        self.rows: dict[int, Record] = {}
        self.orders = {name: CountedOrder() for name in sortings}
        self._sortings = sortings
        self._addresses = addresses
        self._shown = shown
        self._holders: dict[str, tuple[int, ...]] = {}
        self._found: dict[object, tuple[list[int], int]] = {}

    def put(self, record: Record) -> None:
        old = self.rows.get(record.id)
        self._reindex(old, record)
        self.rows[record.id] = record

    def drop(self, number: int) -> None:
        self._reindex(self.rows.pop(number, None), None)

    def holders(self, address: str) -> tuple[int, ...]:
        """Who has an address, in whatever case; the oldest first."""
        return self._holders.get(address.lower(), ())

    def found(self, asked: object, look: Callable[[], tuple[list[int], int]]) -> tuple[list[int], int]:
        """What `look` finds; remembered until a record changes, so that the pages of a search cost one look."""
        if asked not in self._found:
            if len(self._found) >= _REMEMBERED:
                self._found.clear()
            self._found[asked] = look()
        return self._found[asked]

    def _reindex(self, old: Record | None, new: Record | None) -> None:
        self._found.clear()
        was, is_ = (None if one is None or not self._shown(one) else one for one in (old, new))
        for name, sorting in self._sortings.items():
            before = None if was is None else (sorting(was), was.id)
            after = None if is_ is None else (sorting(is_), is_.id)
            if before != after:
                if before is not None:
                    self.orders[name].remove(before)
                if after is not None:
                    self.orders[name].add(after)
        left = set() if old is None else {address.lower() for address in self._addresses(old)}
        held = set() if new is None else {address.lower() for address in self._addresses(new)}
        for address in left - held:
            assert old is not None
            kept = tuple(number for number in self._holders[address] if number != old.id)
            if kept:
                self._holders[address] = kept
            else:
                del self._holders[address]
        for address in held - left:
            assert new is not None
            self._holders[address] = tuple(sorted((*self._holders.get(address, ()), new.id)))


class Table(Generic[Record]):
    """`rows` are the records as they are; `seen` is what search knows of them."""

    def __init__(
        self,
        sortings: Mapping[str, Sorting[Record]],
        addresses: Callable[[Record], Iterable[str]] = lambda _: (),
        shown: Callable[[Record], bool] = lambda _: True,
    ) -> None:
        self.seen: Index[Record] = Index(sortings, addresses, shown)
        self._fresh: Index[Record] = Index({}, addresses, shown)
        self.rows = self._fresh.rows
        self._late: deque[tuple[int, int, Record | None]] = deque()

    def put(self, record: Record, at_ms: int, lag_ms: int) -> None:
        """Add a record, or replace it."""
        self._fresh.put(record)
        self._tell(at_ms, lag_ms, record.id, record)

    def drop(self, number: int, at_ms: int, lag_ms: int) -> None:
        self._fresh.drop(number)
        self._tell(at_ms, lag_ms, number, None)

    def holders(self, address: str) -> tuple[int, ...]:
        """Who has an address now, in whatever case; the oldest first."""
        return self._fresh.holders(address)

    def catch_up(self, now_ms: int, lag_ms: int) -> None:
        """Let search see what was written so long ago."""
        while self._late and self._late[0][0] + lag_ms <= now_ms:
            _, number, record = self._late.popleft()
            if record is None:
                self.seen.drop(number)
            else:
                self.seen.put(record)

    def _tell(self, at_ms: int, lag_ms: int, number: int, record: Record | None) -> None:
        self._late.append((at_ms, number, record))
        self.catch_up(at_ms, lag_ms)
