"""SOQL: its text, and how many values one query can hold. Source: the SOQL and SOSL Reference."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from urllib.parse import quote

# Addresses of some 16,000 characters fail; proxies on the way may hold fewer.
_LONGEST = 8_000
_MOST_VALUES = 200
_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"})


def text(value: str) -> str:
    """A literal."""
    return f"'{value.translate(_ESCAPES)}'"


def among(field: str, values: Iterable[str]) -> str:
    """The condition that a field has one of these values."""
    return f"{field} IN ({','.join(map(text, values))})"


def select(columns: Iterable[str], object_: str, where: Iterable[str | None], order: str, limit: int) -> str:
    """All of the conditions hold; None is no condition."""
    conditions = " AND ".join(one for one in where if one is not None)
    return (
        f"SELECT {','.join(columns)} FROM {object_}{' WHERE ' if conditions else ''}{conditions} "
        f"ORDER BY {order} LIMIT {limit}"
    )


def pieces(values: Sequence[str], soql: Callable[[Sequence[str]], str]) -> Iterator[Sequence[str]]:
    """The values in as many pieces as are needed so that each query fits into an address."""
    begin = 0
    while begin < len(values):
        end = min(begin + _MOST_VALUES, len(values))
        while end > begin + 1 and len(quote(soql(values[begin:end]), safe="")) > _LONGEST:
            end = begin + (end - begin + 1) // 2
        yield values[begin:end]
        begin = end
