"""The records of one type: as they are, and as search knows them, which is later."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from app.sandbox.hubspot.catalog import ObjectType
from app.sandbox.hubspot.records import Record
from app.sandbox.hubspot.wire import millis_of
from app.sandbox.orders import CountedOrder


def addresses(record: Record) -> list[str]:
    """Of a contact, the primary one first."""
    more = record.values.get("hs_additional_emails", "")
    return [one for one in (record.values.get("email", ""), *more.split(";")) if one]


class _Change(NamedTuple):
    at: int
    number: int
    record: Record | None
    """None: the record went."""


class Index:
    """What search knows. `orders` are the properties by which it finds and sorts without looking at all records."""

    def __init__(self, of: ObjectType) -> None:
        self.values: dict[str, Callable[[Record], int | None]] = {
            "hs_object_id": lambda record: record.id,
            of.created: lambda record: record.created,
            of.modified: lambda record: record.updated,
        }
        if not of.is_contact:
            self.values["hs_timestamp"] = lambda record: millis_of(record.values.get("hs_timestamp", ""))
        self.seen: dict[int, Record] = {}
        self.orders = {name: CountedOrder() for name in self.values}
        self.primary: dict[str, set[int]] = {}
        """Contacts by primary address; more than one for as long as the index lags."""
        self.additional: dict[str, set[int]] = {}
        self._waiting: deque[_Change] = deque()

    def tell(self, change: _Change) -> None:
        self._waiting.append(change)

    def settle(self, until: int) -> None:
        """Take in what was changed up to an instant."""
        while self._waiting and self._waiting[0].at <= until:
            change = self._waiting.popleft()
            self._put(change.number, change.record)

    def _put(self, number: int, record: Record | None) -> None:
        old = self.seen.pop(number, None)
        for name, value in self.values.items():
            before = None if old is None else value(old)
            after = None if record is None else value(record)
            if before != after:
                if before is not None:
                    self.orders[name].remove((before, number))
                if after is not None:
                    self.orders[name].add((after, number))
        if record is not None:
            self.seen[number] = record
        for name, known in (("email", self.primary), ("hs_additional_emails", self.additional)):
            was = "" if old is None else old.values.get(name, "")
            has = "" if record is None else record.values.get(name, "")
            if was != has:
                _move(known, was, has, number)


def _move(known: dict[str, set[int]], was: str, has: str, number: int) -> None:
    for address in filter(None, was.split(";")):
        known[address].discard(number)
        if not known[address]:
            del known[address]
    for address in filter(None, has.split(";")):
        known.setdefault(address, set()).add(number)


class Table:
    """Records by id. A contact's addresses are its own: `holders` knows whose each is."""

    def __init__(self, of: ObjectType, lag_ms: Callable[[], int], now: Callable[[], int]) -> None:
        self.of = of
        self.live: dict[int, Record] = {}
        self.archived: dict[int, Record] = {}
        self.merged: dict[int, int] = {}
        """Who was merged into whom."""
        self.holders: dict[str, int] = {}
        self._ids = CountedOrder()
        self._archived_ids = CountedOrder()
        self._index = Index(of)
        self._lag_ms = lag_ms
        self._now = now

    def find(self, number: int) -> Record | None:
        """A record that is there; of a contact that was merged, the one into which it was."""
        return self.live.get(self.survivor(number))

    def survivor(self, number: int) -> int:
        while number in self.merged:
            number = self.merged[number]
        return number

    def put(self, record: Record) -> None:
        """Keep a record that is new, or was changed, or restored."""
        old = self.live.get(record.id)
        if old is None:
            self._ids.add((record.id, record.id))
            if self.archived.pop(record.id, None) is not None:
                self._archived_ids.remove((record.id, record.id))
        self.live[record.id] = record
        self._hold(old, record)
        self._tell(record.id, record)

    def archive(self, record: Record) -> None:
        """`record` is as it is to be shown among archived ones."""
        self.drop(record.id)
        self.archived[record.id] = record
        self._archived_ids.add((record.id, record.id))

    def drop(self, number: int) -> None:
        """Forget a record that is there, without trace."""
        old = self.live.pop(number)
        self._ids.remove((number, number))
        self._hold(old, None)
        self._tell(number, None)

    def drop_archived(self, number: int) -> None:
        if self.archived.pop(number, None) is not None:
            self._archived_ids.remove((number, number))

    def after(self, number: int, *, archived: bool) -> Iterator[Record]:
        """The records with a greater id, in order."""
        order, records = (self._archived_ids, self.archived) if archived else (self._ids, self.live)
        for one in order.ids(*order.between(number + 1)):
            yield records[one]

    def index(self) -> Index:
        """What search knows at this instant."""
        self._index.settle(self._now() - self._lag_ms())
        return self._index

    def _tell(self, number: int, record: Record | None) -> None:
        self._index.tell(_Change(self._now(), number, record))
        self._index.settle(self._now() - self._lag_ms())

    def _hold(self, old: Record | None, new: Record | None) -> None:
        if not self.of.is_contact or _same_addresses(old, new):
            return
        for address in [] if old is None else addresses(old):
            del self.holders[address]
        if new is not None:
            self.holders.update(dict.fromkeys(addresses(new), new.id))


def _same_addresses(old: Record | None, new: Record | None) -> bool:
    return (
        old is not None
        and new is not None
        and all(old.values.get(name) == new.values.get(name) for name in ("email", "hs_additional_emails"))
    )
