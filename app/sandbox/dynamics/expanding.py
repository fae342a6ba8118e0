"""`$expand`: what a row points at, and what points at it. Source: "Join tables using OData"."""

from collections.abc import Callable
from typing import NamedTuple

from app.sandbox.dynamics import conditions
from app.sandbox.dynamics.columns import Collection, Column, Table
from app.sandbox.dynamics.odata import parse_expand
from app.sandbox.dynamics.org import Org
from app.sandbox.dynamics.showing import Show, shower
from app.sandbox.dynamics.wire import Json, Ref, Row, no_property, query_fault

_MOST = 15
_KNOWN = ("$select",)


class Expansion(NamedTuple):
    name: str
    find: Callable[[Row], list[Row]]
    is_many: bool
    show: Show


def parsed(org: Org, of: Table, options: dict[str, str], annotations: str | None) -> list[Expansion]:
    """Raises Refusal."""
    branches = parse_expand(options["$expand"]) if options.get("$expand", "").strip() else []
    if len(branches) > _MOST:
        raise query_fault(f"The number of $expand properties exceeds the limit of {_MOST}.")
    found = []
    for one in branches:
        unknown = [option for option in one.options if option not in _KNOWN]
        if unknown:
            raise query_fault(f"The query parameter '{unknown[0]}' is not supported inside of $expand.")
        if one.name in of.collections:
            collection = of.collections[one.name]
            target, find, is_many = org.tables[collection.table], _many(org, of, collection), True
        elif one.name in of.bindings:
            column, name = of.bindings[one.name]
            target, find, is_many = org.tables[name], _one(org, column, name), False
        else:
            raise no_property(one.name, of.name)
        show = shower(org, target, conditions.selected(target, one.options), annotations)
        found.append(Expansion(one.name, find, is_many, show))
    return found


def expanded(shown: Json, row: Row, branches: list[Expansion]) -> Json:
    """A row as it is shown, with what was asked for beside."""
    for one in branches:
        found = [one.show(other) for other in one.find(row)]
        shown[one.name] = found if one.is_many else (found[0] if found else None)
    return shown


def _one(org: Org, column: Column, target: str) -> Callable[[Row], list[Row]]:
    def find(row: Row) -> list[Row]:
        ref = column.read(row)
        found = None if ref is None or ref.table != target else org.row(ref)
        return [] if found is None else [found]

    return find


def _many(org: Org, of: Table, collection: Collection) -> Callable[[Row], list[Row]]:
    rows = org.rows(collection.table)

    def find(row: Row) -> list[Row]:
        return [rows.by_id[id_] for id_ in rows.having(collection.column, Ref(of.name, row[of.primary_id]))]

    return find
