"""Queries of a table's rows, and their pages. Source: "Query data using the Web API", "Page results using OData"."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from typing import Any, NamedTuple

from app.sandbox.dynamics import conditions, expanding
from app.sandbox.dynamics.columns import Column, Table
from app.sandbox.dynamics.cookies import Cookies
from app.sandbox.dynamics.odata import By, Condition, parse_filter, parse_order
from app.sandbox.dynamics.org import Org
from app.sandbox.dynamics.showing import shower
from app.sandbox.dynamics.wire import Call, Json, Reply, Row, query_fault
from app.sandbox.indexes import folded

MOST_ROWS = 5_000
_MOST_COUNTED = 5_000
_KNOWN = ("$select", "$filter", "$orderby", "$top", "$count", "$expand", "$skiptoken", "$deltatoken")
_SORTED = ("createdon", "modifiedon")


@dataclass(frozen=True)
class Query:
    """What is asked of one table."""

    of: Table
    columns: list[Column] | None
    condition: Condition | None
    order: list[By]
    top: int | None
    is_counted: bool


class _Sorting(NamedTuple):
    column: str
    read: conditions.Read
    is_descending: bool


def check_options(call: Call) -> dict[str, str]:
    """The options of a query. Raises Refusal for those that there are not."""
    options = call.query
    for name in options:
        if name == "$skip":
            raise query_fault("Skip Clause is not supported in CRM")
        if name.startswith("$") and name not in _KNOWN:
            raise query_fault(f"The query parameter '{name}' is not supported.")
        if name in ("fetchXml", "savedQuery", "userQuery", "sql"):
            raise query_fault(f"The query parameter '{name}' is not supported by this stand-in.", 501)
    return options


def parsed(of: Table, options: dict[str, str]) -> Query:
    """Raises Refusal."""
    aliases = {name: value for name, value in options.items() if name.startswith("@")}
    condition = parse_filter(options["$filter"], aliases) if options.get("$filter", "").strip() else None
    order = parse_order(options["$orderby"]) if options.get("$orderby", "").strip() else []
    top = options.get("$top")
    if top is not None and not (top.isdecimal() and 0 < int(top) <= MOST_ROWS):
        raise query_fault(f"Invalid value '{top}' for $top query option found.")
    is_counted = options.get("$count", "false").strip().lower() == "true"
    return Query(of, conditions.selected(of, options), condition, order, None if top is None else int(top), is_counted)


class Queries:
    def __init__(self, org: Org, cookies: Cookies) -> None:
        self._org = org
        self._cookies = cookies

    def rows(self, call: Call, of: Table) -> Reply:
        """A page."""
        options = check_options(call)
        query = parsed(of, options)
        annotations = call.prefers("odata.include-annotations")
        branches = expanding.parsed(self._org, of, options, annotations)
        show = shower(self._org, of, query.columns, annotations)
        place = self._cookies.read(call, is_tracking=False)
        size = page_size(self._org, call) if query.top is None else query.top
        sortings = self._sortings(query)
        order = [f"{one.path} {one.is_descending}" for one in query.order]
        if place is not None and place["order"] != order:
            raise query_fault("The paging cookie is of another query.")
        found = self._found(query, sortings, None if place is None else place["last"])
        page = list(islice(found, size + 1))
        body: Json = {"@odata.context": f"{call.root}$metadata#{of.set_name}{_columns(query)}"}
        if query.is_counted:
            body["@odata.count"] = min(self.count(query), _MOST_COUNTED)
        body["value"] = [expanding.expanded(show(row), row, branches) for row in page[:size]]
        if len(page) > size and query.top is None:
            last = [one.read(page[size - 1]) for one in sortings]
            number = 2 if place is None else place["page"] + 1
            body["@odata.nextLink"] = self._cookies.link(call, of, {"page": number, "order": order, "last": last})
        return Reply(body=body, rows=len(body["value"]))

    def count(self, query: Query) -> int:
        if query.condition is None:
            return len(self._org.rows(query.of.name).by_id)
        return sum(1 for _ in self._holding(query, self._candidates(query)))

    # --- parts --------------------------------------------------------------------------------------------------------

    def _sortings(self, query: Query) -> list[_Sorting]:
        asked = query.order or [By(query.of.primary_id, is_descending=False)]
        found = []
        for one in asked:
            column, read = conditions.path_of(self._org, query.of, one.path)
            found.append(_Sorting(one.path if "/" not in one.path else "", read, one.is_descending))
            if column.type == "Memo":
                raise query_fault(f"'{one.path}' cannot be sorted by.")
        return found

    def _candidates(self, query: Query) -> Iterable[Row]:
        narrow = conditions.candidates(self._org, query.of, query.condition)
        if narrow is not None:
            return narrow
        rows = self._org.rows(query.of.name)
        for column in _SORTED:
            low = conditions.since(query.condition, column)
            if low:
                return rows.orders[column].ascending((low, ""))
        return rows.orders["id"].ascending()

    def _holding(self, query: Query, rows: Iterable[Row]) -> Iterator[Row]:
        if query.condition is None:
            return iter(rows)
        return filter(conditions.compiled(self._org, query.of, query.condition), rows)

    def _found(self, query: Query, sortings: list[_Sorting], last: list[Any] | None) -> Iterator[Row]:  # Any: JSON
        """In the order asked for, from behind the values of the last page's last row."""
        narrow = conditions.candidates(self._org, query.of, query.condition)
        kept = self._kept_order(query, sortings)
        if narrow is None and kept is not None:
            order = self._org.rows(query.of.name).orders[kept]
            low = conditions.since(query.condition, kept) if kept in _SORTED else ""
            if last is None:
                return self._holding(query, order.ascending((low, "")))
            # What shares the last row's values, where these end in no id, is passed over: as it is with a real one.
            place = ("", str(last[0])) if kept == "id" else (last[0], str(last[1]) if len(last) > 1 else "~")
            return self._holding(query, order.ascending(place, after=True))
        rows = list(self._holding(query, self._candidates(query)))
        for one in reversed(sortings):
            keyed = [(_key(one.read(row)), row) for row in rows]
            keyed.sort(key=itemgetter(0), reverse=one.is_descending)
            rows = [row for _, row in keyed]
        return iter(rows) if last is None else (row for row in rows if _is_behind(row, sortings, last))

    def _kept_order(self, query: Query, sortings: list[_Sorting]) -> str | None:
        """The order of the table that is the one asked for."""
        names = [one.column for one in sortings]
        if any(one.is_descending for one in sortings):
            return None
        if names == [query.of.primary_id]:
            return "id"
        return names[0] if names[0] in _SORTED and names[1:] in ([], [query.of.primary_id]) else None


def page_size(org: Org, call: Call) -> int:
    said = call.prefers("odata.maxpagesize")
    asked = int(said) if said is not None and said.isdecimal() and int(said) > 0 else MOST_ROWS
    size = min(asked, MOST_ROWS)
    return min(size, org.faults.page_rows) if org.faults.page_rows > 0 else size


def _columns(query: Query) -> str:
    return "" if query.columns is None else f"({','.join(column.property for column in query.columns)})"


def _key(value: Any) -> tuple[bool, Any]:  # Any: JSON
    """What is null comes first."""
    return value is not None, folded(value)


def _is_behind(row: Row, sortings: list[_Sorting], last: list[Any]) -> bool:  # Any: JSON
    for one, before in zip(sortings, last, strict=True):
        own, other = _key(one.read(row)), _key(before)
        if own != other:
            return (own < other) if one.is_descending else (own > other)
    return False
