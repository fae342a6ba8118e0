"""The records of one object, with the orders and indexes by which they are found without looking at all of them."""

from collections.abc import Iterator

from app.sandbox.indexes import Indexed
from app.sandbox.orders import Order
from app.sandbox.salesforce.fields import Object
from app.sandbox.salesforce.wire import Row

Moment = tuple[str, str]
"""SystemModstamp and Id: the order of changes."""


class Table(Indexed):
    """Deleted records stay, marked as such, until they are purged. Rows are replaced, never changed in place."""

    def __init__(self, of: Object) -> None:
        self.of = of
        self.rows: dict[str, Row] = {}
        super().__init__(self.rows, (field.name for field in of.fields.values() if field.indexed))
        self._changes: Order[str, Row] = Order(self.rows, changed_at)

    def put(self, row: Row) -> None:
        """Add a record, or replace it; by its `Id`."""
        id_ = row["Id"]
        old = self.rows.get(id_)
        self.rows[id_] = row
        self.reindex(id_, old or {}, row)
        self._changes.put(id_)

    def remove(self, id_: str) -> None:
        """Purge a record, without trace."""
        self.reindex(id_, self.rows.pop(id_), {})

    def changed(self, low: Moment, high: Moment) -> Iterator[Row]:
        """What was changed last within these moments, both included, in that order.

        An id of `""` in `low` stands for all of its instant, `"~"` for none; in `high` the other way round.
        """
        return self._changes.ascending(low, high)


def changed_at(row: Row) -> str:
    """When the record was changed last; history is never changed."""
    at: str = row.get("SystemModstamp") or row["CreatedDate"]
    return at
