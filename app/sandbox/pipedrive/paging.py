"""Pages of the second version: filters, a sorting, and a cursor that says after which record to go on."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from app.sandbox.orders import Order, Place
from app.sandbox.pipedrive.company import Company
from app.sandbox.pipedrive.wire import Json, Query, cursor_of, invalid, iso, parts_of

_TIMES = ("update_time", "add_time")
_END = 1 << 53
"""After all time."""


class _Listed(Protocol):
    id: int
    added: int
    updated: int
    is_deleted: bool


Record = TypeVar("Record", bound=_Listed)


def page(
    company: Company,
    query: Query,
    table: Mapping[int, Record],
    orders: Mapping[str, Order[int, Record]],
    keep: Callable[[Record], bool],
) -> tuple[list[Record], str | None]:
    """A page of records and the cursor of the next, None on the last.

    Reads `ids`, `updated_since` (inclusive), `updated_until` (exclusive), `sort_by`, `sort_direction`, `limit` and
    `cursor`. Sorted by `update_time`, it costs what the page holds.
    """
    limit = query.limit()
    since, until = query.second("updated_since"), query.second("updated_until")
    sort_by = query.choice("sort_by", orders, "id")
    is_down = query.choice("sort_direction", ("asc", "desc"), "asc") == "desc"
    after: Place[int] | None = None
    cursor = query.text("cursor")
    if cursor is not None:
        sort_by, is_down, after = _place(company, cursor, orders)
    order = _order(query, table, orders, sort_by)
    # In the order of changes the walk begins and ends with the bounds; in another, it passes over what is outside.
    is_timed = sort_by == "update_time"
    if is_down:
        bound = None if until is None or not is_timed else (until, 0)
        walk = order.descending(min(filter(None, (after, bound)), default=None))
    else:
        bound = None if since is None or not is_timed else (since, 0)
        walk = order.ascending(max(filter(None, (after, bound)), default=None), after=True)
    found: list[Record] = []
    for record in walk:
        if not (since or 0) <= record.updated < (until or _END):
            if is_timed:
                break
        elif (company.faults.list_deleted or not record.is_deleted) and keep(record):
            if len(found) == limit:
                return found, _cursor(company, found[-1], sort_by, is_down=is_down)
            found.append(record)
    return found, None


def _order(
    query: Query, table: Mapping[int, Record], orders: Mapping[str, Order[int, Record]], sort_by: str
) -> Order[int, Record]:
    """Of all records, or of those in `ids`; one that is not known is left out in silence."""
    ids = query.ids("ids")
    if ids is None:
        return orders[sort_by]
    chosen = {number: table[number] for number in ids if number in table}
    order: Order[int, Record] = Order(chosen, lambda record: _value(record, sort_by))
    for number in chosen:
        order.put(number)
    return order


def offset_cursor(start: int) -> str:
    """The cursor of a list that is counted, not sorted by a key: fields, search, change logs."""
    return cursor_of({"start": start})


def offset_of(query: Query) -> int:
    cursor = query.text("cursor")
    start = 0 if cursor is None else parts_of(cursor).get("start")
    if not isinstance(start, int) or not 0 <= start < 1 << 53:
        raise invalid("cursor", "is not valid")
    return start


def _value(record: Any, sort_by: str) -> Any:  # Any: a person or an activity; what it is sorted by
    attribute = {"id": "id", "update_time": "updated", "add_time": "added", "due_date": "due_date"}[sort_by]
    return getattr(record, attribute) or ""


def _cursor(company: Company, last: Record, sort_by: str, *, is_down: bool) -> str:
    value = _value(last, sort_by)
    parts: Json = {
        "field": sort_by,
        "fieldValue": iso(value) if sort_by in _TIMES else value,
        "sortDirection": "desc" if is_down else "asc",
        "id": last.id,
    }
    if company.faults.cursor_lifetime_s:
        parts["issued"] = company.now()
    return cursor_of(parts)


def _place(company: Company, cursor: str, orders: Mapping[str, object]) -> tuple[str, bool, Place[int]]:
    """What a cursor is sorted by, whether downwards, and after which row it goes on."""
    parts = parts_of(cursor)
    sort_by, value, number = parts.get("field"), parts.get("fieldValue"), parts.get("id")
    if not isinstance(sort_by, str) or sort_by not in orders or not isinstance(number, int):
        raise invalid("cursor", "is not valid")
    if sort_by in _TIMES:
        value = Query({"cursor": str(value)}).second("cursor")
    if not isinstance(value, str if sort_by == "due_date" else int):
        raise invalid("cursor", "is not valid")
    lifetime, issued = company.faults.cursor_lifetime_s, parts.get("issued")
    if lifetime and isinstance(issued, int) and company.now() - issued > lifetime:
        raise invalid("cursor", "has expired")
    return sort_by, parts.get("sortDirection") == "desc", (value, number)
