"""Queries run: which records, in which order, page by page. Source: Salesforce's REST pages on Query."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from operator import itemgetter
from typing import Any

from app.sandbox.salesforce import conditions, soql
from app.sandbox.salesforce.fields import Object
from app.sandbox.salesforce.org import Org
from app.sandbox.salesforce.paths import Path, Tree, reader, render, resolve
from app.sandbox.salesforce.table import Table
from app.sandbox.salesforce.wire import Call, Json, Refusal, Reply, Row, long_id

_SMALLEST_PAGE, _LARGEST_PAGE = 200, 2_000
_FURTHEST_OFFSET = 2_000
_CURSORS_LIVE = timedelta(days=2)
_MOST_CURSORS = 1_000
_BATCH = re.compile(r"\bbatchSize\s*=\s*(\d{1,6})", re.IGNORECASE)
_CURSOR = re.compile(r"([0-9A-Za-z]{18})-(\d{1,9})")


@dataclass(frozen=True)
class Found:
    """What a query found, as it was at that moment."""

    of: Object
    rows: list[Row]
    paths: list[Path]
    aggregates: Json | None = None
    """The one row of a query for aggregates."""


@dataclass(frozen=True)
class _Cursor:
    found: Found
    tree: Tree
    size: int
    made_at: datetime


def run(org: Org, text: str, *, tooling: bool = False, with_deleted: bool = False) -> Found:
    """Raises Refusal as the API does."""
    query = soql.parse(text)
    of = org.tooling if tooling and query.object.path.lower() == "customfield" else org.object(query.object.path)
    if of is None or (tooling and of is not org.tooling):
        what = f"sObject type '{query.object.path}' is not supported."
        raise soql.fault(text, query.object.at, "INVALID_TYPE", what)
    paths = [resolve(org, of, column, text) for column in query.columns]
    rows = _rows(org, of, query, with_deleted=with_deleted or query.all_rows)
    if query.aggregates:
        return Found(of, rows, paths, _aggregated(org, of, query, rows))
    return Found(of, rows, paths)


class Queries:
    """The calls `query` and `queryAll`, and the cursors that they leave behind."""

    def __init__(self, org: Org) -> None:
        self._org = org
        self._cursors: dict[str, _Cursor] = {}

    def query(self, call: Call, *, tooling: bool = False) -> Reply:
        name, *cursor = call.parts[1:] if tooling else call.parts
        if cursor:
            return self._next(call, cursor[0])
        text = call.query.get("q")
        if text is None:
            raise Refusal("MALFORMED_QUERY", "A query string has to be specified")
        found = run(self._org, text, tooling=tooling, with_deleted=name == "queryAll")
        if found.aggregates is not None:
            record = {"attributes": {"type": "AggregateResult"}, **found.aggregates}
            return Reply(body={"totalSize": 1, "done": True, "records": [record]}, rows=1)
        if not found.paths:
            return Reply(body={"totalSize": len(found.rows), "done": True, "records": []})
        tree = Tree()
        for path in found.paths:
            tree.add(path.links, path.field)
        reply = self._page(call, _Cursor(found, tree, self._size(call, found), self._org.now()), None, 0)
        if tooling:
            more = {"size": len(reply.body["records"]), "queryLocator": None, "entityTypeName": found.of.name}
            return Reply(body={**reply.body, **more}, rows=reply.rows)
        return reply

    def _size(self, call: Call, found: Found) -> int:
        said = _BATCH.search(call.headers.get("sforce-query-options", ""))
        size = min(max(int(said[1]), _SMALLEST_PAGE), _LARGEST_PAGE) if said else _LARGEST_PAGE
        if sum(path.field.is_long for path in found.paths) > 1:
            size = _SMALLEST_PAGE
        return size

    def _next(self, call: Call, locator: str) -> Reply:
        match = _CURSOR.fullmatch(locator)
        cursor = self._cursors.get(long_id(match[1]) or "") if match else None
        at = int(match[2]) if match else 0
        is_over = cursor is None or self._org.now() - cursor.made_at > _CURSORS_LIVE
        if cursor is None or is_over or self._org.faults.lose_cursors or at > len(cursor.found.rows):
            raise Refusal("INVALID_QUERY_LOCATOR", "invalid query locator")
        return self._page(call, cursor, locator.partition("-")[0], at)

    def _page(self, call: Call, cursor: _Cursor, id_: str | None, at: int) -> Reply:
        size = cursor.size
        if self._org.faults.page_rows > 0:
            size = min(size, self._org.faults.page_rows)
        rows = cursor.found.rows[at : at + size]
        base = call.url()
        body: Json = {"totalSize": len(cursor.found.rows), "done": at + size >= len(cursor.found.rows)}
        if not body["done"]:
            if id_ is None:
                id_ = self._keep(cursor)
            body["nextRecordsUrl"] = call.url("query", f"{id_}-{at + size}")
        body["records"] = [render(self._org, cursor.tree, row, base) for row in rows]
        return Reply(body=body, rows=len(rows))

    def _keep(self, cursor: _Cursor) -> str:
        if len(self._cursors) >= _MOST_CURSORS:
            del self._cursors[next(iter(self._cursors))]
        id_ = self._org.new_id("01g")
        self._cursors[id_] = cursor
        return id_


def _rows(org: Org, of: Object, query: soql.Query, *, with_deleted: bool) -> list[Row]:
    table = org.table(of.name)
    if query.offset > _FURTHEST_OFFSET:
        message = f"Maximum SOQL offset allowed is {_FURTHEST_OFFSET}"
        raise Refusal("NUMBER_OUTSIDE_VALID_RANGE", message)
    order = [(resolve(org, of, one.column, query.text), one) for one in query.order]
    for path, one in order:
        if path.field.is_long:
            what = f"field '{path.field.name}' can not be sorted in a query call"
            raise soql.fault(query.text, one.column.at, "MALFORMED_QUERY", what)
    by_change = _is_by_change(of, query)
    candidates, sorted_already = _candidates(org, table, query, by_change=by_change)
    found = candidates if with_deleted else (row for row in candidates if "IsDeleted" not in row)
    if query.where is not None:
        holds = conditions.compiled(org, of, query.where, query.text)
        found = (row for row in found if holds(row))
    end = None if query.limit is None else query.offset + query.limit
    if sorted_already or not order:
        return list(islice(found, query.offset, end))
    rows = list(found)
    for path, one in reversed(order):
        read = reader(org, path)
        # Reversed, what comes last comes first.
        nulls_last = one.nulls_last != one.descending
        # Ids differ by case, and are compared by it: what follows the last id of a page is asked for by value.
        folds = path.field.type not in ("id", "reference")
        keyed = [(_sort_key(read(row), nulls_last=nulls_last, folds=folds), row) for row in rows]
        keyed.sort(key=itemgetter(0), reverse=one.descending)
        rows = [row for _, row in keyed]
    return rows[query.offset : end]


def _candidates(org: Org, table: Table, query: soql.Query, *, by_change: bool) -> tuple[Iterable[Row], bool]:
    """Records among which all are that are wanted, and whether they come in the order of their change, as asked."""
    for one in conditions.conjuncts(query.where):
        field = table.of.fields.get(one.column.path.lower())
        texts = [value.text for value in one.values if value.kind == "text"]
        if field is None or one.sign not in ("=", "in") or len(texts) < len(one.values):
            continue
        if field.type in ("id", "reference"):
            texts = [long_id(text) or "" for text in texts]
        if field.type == "id":
            return [table.rows[id_] for id_ in sorted(set(texts)) if id_ in table.rows], False
        if table.is_indexed(field.name):
            ids = {id_ for text in texts for id_ in table.having(field.name, text)}
            return [table.rows[id_] for id_ in sorted(ids)], False
    low, high = conditions.moments(table.of, query.where, org.now())
    if by_change or (low, high) != conditions.ALL:
        return table.changed(low, high), by_change
    return iter(list(table.rows.values())), False


def _is_by_change(of: Object, query: soql.Query) -> bool:
    names = [one.column.path.lower() for one in query.order]
    wanted = [conditions.changes_by(of).lower(), "id"]
    return bool(names) and names == wanted[: len(names)] and not any(one.descending for one in query.order)


def _sort_key(value: Any, *, nulls_last: bool, folds: bool) -> tuple[bool, Any]:  # Any: JSON
    if value is None:
        return nulls_last, ""
    return not nulls_last, value.lower() if folds and isinstance(value, str) and "@" not in value else value


def _aggregated(org: Org, of: Object, query: soql.Query, rows: list[Row]) -> Json:
    made: Json = {}
    for one in query.aggregates:
        read = reader(org, resolve(org, of, one.column, query.text))
        made[one.name] = _aggregate(one.function, [value for row in rows if (value := read(row)) is not None])
    return made


def _aggregate(function: str, values: list[Any]) -> Any:  # Any: JSON
    match function:
        case "count":
            return len(values)
        case "count_distinct":
            return len(set(values))
        case "min":
            return min(values, default=None)
    return max(values, default=None)
