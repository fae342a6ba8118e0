"""The rows of one table, with the orders and indexes by which they are found without looking at all of them."""

from bisect import bisect_left

from app.sandbox.dynamics.columns import Table
from app.sandbox.dynamics.wire import Row
from app.sandbox.indexes import Indexed
from app.sandbox.orders import Order


class Rows(Indexed):
    """Rows are replaced, never changed in place. Of deleted ones the id is kept, and the version of its deletion."""

    def __init__(self, of: Table, pointers: "Rows | None" = None) -> None:
        self.of = of
        self.by_id: dict[str, Row] = {}
        super().__init__(self.by_id, (column.name for column in of.columns.values() if column.indexed))
        self.orders: dict[str, Order[str, Row]] = {
            "id": Order(self.by_id, lambda _: ""),
            "createdon": Order(self.by_id, lambda row: row["createdon"]),
            "modifiedon": Order(self.by_id, lambda row: row["modifiedon"]),
            "versionnumber": Order(self.by_id, lambda row: row["versionnumber"]),
        }
        self.deletions: list[tuple[int, str]] = []
        self._pointers = pointers
        """Of a table of activities: where all activities are."""

    def put(self, id_: str, row: Row) -> None:
        """Add a row, or replace it."""
        old = self.by_id.get(id_)
        self.by_id[id_] = row
        self.reindex(id_, old or {}, row)
        for name, order in self.orders.items():
            # Of what never changes there is nothing to do but once.
            if old is None or name not in ("id", "createdon"):
                order.put(id_)
        if self._pointers is not None:
            self._pointers.put(id_, row)

    def remove(self, id_: str, version: int | None) -> None:
        """Delete a row; without a version it was never there."""
        self.reindex(id_, self.by_id.pop(id_), {})
        if version is not None:
            self.deletions.append((version, id_))
        if self._pointers is not None:
            self._pointers.remove(id_, version)

    def restore(self, id_: str, row: Row) -> None:
        """Make a row what it was before it was written or deleted."""
        if id_ not in self.by_id:
            self._forget_deletion(id_)
        self.put(id_, row)

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
