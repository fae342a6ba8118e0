"""The rows of one table, with the orders and indexes by which they are found without looking at all of them."""

from bisect import bisect_left
from typing import Any

from app.sandbox.dynamics.columns import Table
from app.sandbox.dynamics.orders import Order
from app.sandbox.dynamics.wire import Row


class Rows:
    """Rows are replaced, never changed in place. Of deleted ones the id is kept, and the version of its deletion."""

    def __init__(self, of: Table, pointers: "Rows | None" = None) -> None:
        self.of = of
        self.by_id: dict[str, Row] = {}
        self.orders = {
            "id": Order(self.by_id, lambda _: ""),
            "createdon": Order(self.by_id, lambda row: row["createdon"]),
            "modifiedon": Order(self.by_id, lambda row: row["modifiedon"]),
            "versionnumber": Order(self.by_id, lambda row: row["versionnumber"]),
        }
        self.deletions: list[tuple[int, str]] = []
        self._indexes: dict[str, dict[Any, set[str]]] = {
            column.name: {} for column in of.columns.values() if column.indexed
        }
        self._pointers = pointers
        """Of a table of activities: where all activities are."""

    def index(self, column: str) -> None:
        """Find rows by this column's values from now on."""
        made: dict[Any, set[str]] = {}
        for id_, row in self.by_id.items():
            if column in row:
                made.setdefault(folded(row[column]), set()).add(id_)
        self._indexes[column] = made

    def put(self, id_: str, row: Row) -> None:
        """Add a row, or replace it."""
        old = self.by_id.get(id_)
        self.by_id[id_] = row
        self._reindex(id_, old or {}, row)
        for name, order in self.orders.items():
            # Of what never changes there is nothing to do but once.
            if old is None or name not in ("id", "createdon"):
                order.put(id_)
        if self._pointers is not None:
            self._pointers.put(id_, row)

    def remove(self, id_: str, version: int | None) -> None:
        """Delete a row; without a version it was never there."""
        self._reindex(id_, self.by_id.pop(id_), {})
        if version is not None:
            self.deletions.append((version, id_))
        if self._pointers is not None:
            self._pointers.remove(id_, version)

    def restore(self, id_: str, row: Row) -> None:
        """Make a row what it was before it was written or deleted."""
        if id_ not in self.by_id:
            self._forget_deletion(id_)
        self.put(id_, row)

    def is_indexed(self, column: str) -> bool:
        return column in self._indexes

    def having(self, column: str, value: object) -> list[str]:
        """The ids of the rows with this value of an indexed column, in order; text without regard to case."""
        return sorted(self._indexes[column].get(folded(value), ()))

    def deleted_since(self, version: int, until: int) -> list[str]:
        """Ids of rows that were deleted after a version, up to another, and are not there again; in that order."""
        at = bisect_left(self.deletions, (version + 1, ""))
        found = dict.fromkeys(id_ for own, id_ in self.deletions[at:] if own <= until)
        return [id_ for id_ in found if id_ not in self.by_id]

    def _forget_deletion(self, id_: str) -> None:
        at = next(at for at in range(len(self.deletions) - 1, -1, -1) if self.deletions[at][1] == id_)
        del self.deletions[at]
        if self._pointers is not None:
            self._pointers._forget_deletion(id_)

    def _reindex(self, id_: str, old: Row, new: Row) -> None:
        for column, index in self._indexes.items():
            before, after = old.get(column), new.get(column)
            if before == after:
                continue
            if before is not None:
                ids = index[folded(before)]
                ids.discard(id_)
                if not ids:
                    del index[folded(before)]
            if after is not None:
                index.setdefault(folded(after), set()).add(id_)


def folded(value: object) -> object:
    return value.lower() if isinstance(value, str) else value
