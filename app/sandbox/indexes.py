"""Rows found by the value of a column, without looking at all of them."""

from collections.abc import Iterable, Mapping
from typing import Any

Row = Mapping[str, Any]
"""Column → value. Any: whatever the CRM keeps; what is null is left out."""


class Indexed:
    """A table's rows by id, and the ids by the values of some columns; text without regard to case."""

    def __init__(self, rows: Mapping[str, Row], columns: Iterable[str]) -> None:
        self._indexed_rows = rows
        self._indexes: dict[str, dict[Any, set[str]]] = {column: {} for column in columns}

    def index(self, column: str) -> None:
        """Find rows by this column's values from now on."""
        made: dict[Any, set[str]] = {}
        for id_, row in self._indexed_rows.items():
            if column in row:
                made.setdefault(folded(row[column]), set()).add(id_)
        self._indexes[column] = made

    def is_indexed(self, column: str) -> bool:
        return column in self._indexes

    def having(self, column: str, value: object) -> list[str]:
        """The ids of the rows with this value of an indexed column, in order."""
        return sorted(self._indexes[column].get(folded(value), ()))

    def reindex(self, id_: str, old: Row, new: Row) -> None:
        """A row was replaced; an empty one stands for none."""
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


def folded(value: Any) -> Any:  # Any: JSON
    return value.lower() if isinstance(value, str) else value
