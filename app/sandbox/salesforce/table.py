"""The records of one object, with the orders and indexes by which they are found without looking at all of them."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from typing import Any

from app.sandbox.salesforce.fields import Object
from app.sandbox.salesforce.wire import Row

Moment = tuple[str, str]
"""SystemModstamp and Id: the order of changes."""
_SLACK = 1_000


class Table:
    """Deleted records stay, marked as such, until they are purged. Rows are replaced, never changed in place."""

    def __init__(self, of: Object) -> None:
        self.of = of
        self.rows: dict[str, Row] = {}
        self._changes: list[Moment] = []
        self._indexes: dict[str, dict[Any, set[str]]] = {}
        for field in of.fields.values():
            if field.indexed:
                self._indexes[field.name] = {}

    def index(self, field: str) -> None:
        """Find records by this field's values from now on."""
        made: dict[Any, set[str]] = {}
        for id_, row in self.rows.items():
            if field in row:
                made.setdefault(key(row[field]), set()).add(id_)
        self._indexes[field] = made

    def put(self, row: Row) -> None:
        """Add a record, or replace it; by its `Id`."""
        id_ = row["Id"]
        old = self.rows.get(id_)
        self.rows[id_] = row
        self._reindex(id_, old or {}, row)
        moment = (changed_at(row), id_)
        if not self._changes or moment > self._changes[-1]:
            self._changes.append(moment)
        elif self._changes[bisect_left(self._changes, moment)] != moment:
            insort(self._changes, moment)
        if len(self._changes) > 2 * len(self.rows) + _SLACK:
            self._changes = [one for one in self._changes if self._is_last(one)]

    def remove(self, id_: str) -> None:
        """Purge a record, without trace."""
        self._reindex(id_, self.rows.pop(id_), {})

    def is_indexed(self, field: str) -> bool:
        return field in self._indexes

    def having(self, field: str, value: object) -> list[str]:
        """The ids of the records with this value of an indexed field, in order; text without regard to case."""
        return sorted(self._indexes[field].get(key(value), ()))

    def changed(self, low: Moment, high: Moment) -> Iterator[Row]:
        """What was changed last within these moments, both included, in that order.

        An id of `""` in `low` stands for all of its instant, `"~"` for none; in `high` the other way round.
        """
        at, end = bisect_left(self._changes, low), bisect_right(self._changes, high)
        # The list may be replaced while this runs; what is cut off here stays as it was.
        for moment in self._changes[at:end] if end - at < len(self._changes) else self._changes:
            if self._is_last(moment):
                yield self.rows[moment[1]]

    def _is_last(self, moment: Moment) -> bool:
        row = self.rows.get(moment[1])
        return row is not None and changed_at(row) == moment[0]

    def _reindex(self, id_: str, old: Row, new: Row) -> None:
        for field, index in self._indexes.items():
            before, after = old.get(field), new.get(field)
            if before == after:
                continue
            if before is not None:
                ids = index[key(before)]
                ids.discard(id_)
                if not ids:
                    del index[key(before)]
            if after is not None:
                index.setdefault(key(after), set()).add(id_)


def changed_at(row: Row) -> str:
    """When the record was changed last; history is never changed."""
    at: str = row.get("SystemModstamp") or row["CreatedDate"]
    return at


def key(value: object) -> object:
    return value.lower() if isinstance(value, str) else value
