"""What a `$filter` means: whether it holds for a row, and among which rows those are for which it holds."""

import re
from collections.abc import Callable, Iterable
from operator import ge, gt, le, lt
from typing import Any

from app.sandbox.dynamics.columns import CHOICES, LOOKUPS, NUMBERS, Column, Table
from app.sandbox.dynamics.odata import Among, Both, Compare, Condition, Either, Literal, Match, Not
from app.sandbox.dynamics.org import Org
from app.sandbox.dynamics.rows import Rows
from app.sandbox.dynamics.values import edm
from app.sandbox.dynamics.wire import Ref, Refusal, Row, day, guid, instant, no_property, query_fault
from app.sandbox.indexes import folded

Holds = Callable[[Row], bool]
Read = Callable[[Row], Any]
"""A column's value, of this row or of one that it points at. Any: JSON."""
_NUMBER = re.compile(r"-?\d{1,15}(\.\d{1,10})?", re.ASCII)
_ORDERS = {"gt": gt, "ge": ge, "lt": lt, "le": le}


def property_of(of: Table, name: str) -> Column:
    """A column by the name that a query has for it. Raises Refusal."""
    column = of.by_property.get(name)
    if column is None or not column.may_read:
        raise no_property(name, of.name)
    return column


def selected(of: Table, options: dict[str, str]) -> list[Column] | None:
    """The columns that `$select` names; None: all. Raises Refusal."""
    text = options.get("$select", "").strip()
    if not text or text == "*":
        return None
    return [property_of(of, name) for name in dict.fromkeys(one.strip() for one in text.split(","))]


def path_of(org: Org, of: Table, path: str) -> tuple[Column, Read]:
    """The column that a path leads to, across lookups of one target, and how to read it. Raises Refusal."""
    first, _, rest = path.partition("/")
    if not rest:
        column = property_of(of, first)
        if column.targets:
            return column, lambda row: _id(org.read(of, column, row))
        return column, lambda row: org.read(of, column, row)
    if first not in of.bindings:
        raise no_property(first, of.name)
    across, target = of.bindings[first]
    inner, read = path_of(org, org.tables[target], rest)

    def read_across(row: Row) -> Any:  # Any: JSON
        ref = across.read(row)
        found = None if ref is None or ref.table != target else org.row(ref)
        return None if found is None else read(found)

    return inner, read_across


def compiled(org: Org, of: Table, condition: Condition) -> Holds:
    """Raises Refusal if it names what there is not, or compares with a value of another type."""
    match condition:
        case Both(parts):
            all_of = [compiled(org, of, part) for part in parts]
            return lambda row: all(holds(row) for holds in all_of)
        case Either(parts):
            any_of = [compiled(org, of, part) for part in parts]
            return lambda row: any(holds(row) for holds in any_of)
        case Not(part):
            inner = compiled(org, of, part)
            return lambda row: not inner(row)
        case Among(path, values):
            column, read = path_of(org, of, path if path in of.by_property else f"_{path}_value")
            among = {_from_text(column, one) for one in values}
            return lambda row: folded(read(row)) in among
        case Match(function, path, text):
            return _match(org, of, function, path, text.lower())
        case Compare():
            return _comparison(org, of, condition)


def candidates(org: Org, of: Table, condition: Condition | None) -> list[Row] | None:
    """Rows among which all are that the condition holds for, found by id or by an indexed column; None: all may be."""
    found = None if condition is None else _ids(org, of, condition)
    if found is None:
        return None
    rows = org.rows(of.name).by_id
    return [rows[id_] for id_ in sorted(found) if id_ in rows]


def since(condition: Condition | None, column: str) -> str:
    """The earliest instant in a column of rows that the condition holds for; `""` if there is none."""
    match condition:
        case Compare(path, "ge" | "gt" | "eq", value) if path == column and value.kind == "instant":
            return instant(value.text) or ""
        case Both(parts):
            return max(since(part, column) for part in parts)
        case Either(parts):
            return min(since(part, column) for part in parts)
    return ""


def _ids(org: Org, of: Table, condition: Condition) -> set[str] | None:
    match condition:
        case Compare(path, "eq", value) if value.kind in ("text", "guid"):
            return _having(org, of, path, (value.text,))
        case Among(path, values):
            return _having(org, of, path, values)
        case Both(parts):
            narrow = [one for part in parts if (one := _ids(org, of, part)) is not None]
            return min(narrow, key=len, default=None)
        case Either(parts):
            each = [_ids(org, of, part) for part in parts]
            return None if None in each else set().union(*(one for one in each if one is not None))
    return None


def _having(org: Org, of: Table, path: str, values: Iterable[str]) -> set[str] | None:
    if path == of.primary_id:
        return {value.lower() for value in values}
    column = of.by_property.get(path) or of.columns.get(path)
    rows: Rows = org.rows(of.name)
    if column is None or not rows.is_indexed(column.name) or org.is_hidden(of, column):
        return None
    if not column.targets:
        return {id_ for value in values for id_ in rows.having(column.name, value)}
    refs = [Ref(target, value.lower()) for target in column.targets for value in values]
    return {id_ for ref in refs for id_ in rows.having(column.name, ref)}


def _match(org: Org, of: Table, function: str, path: str, text: str) -> Holds:
    column, read = path_of(org, of, path)
    if edm(column) != "Edm.String" or column.targets:
        raise query_fault(f"No function signature for the function with name '{function}' matches the arguments.")
    does: Callable[[str], bool] = {
        "contains": lambda value: text in value,
        "startswith": lambda value: value.startswith(text),
        "endswith": lambda value: value.endswith(text),
    }[function]
    return lambda row: (value := read(row)) is not None and does(value.lower())


def _comparison(org: Org, of: Table, one: Compare) -> Holds:
    column, plain = path_of(org, of, one.path)
    wanted = _operand(column, one)
    # Text is compared without regard to case; instants are text only here.
    read: Read = plain if column.type == "DateTime" else lambda row: folded(plain(row))
    if one.sign == "eq":
        return lambda row: bool(read(row) == wanted)
    if one.sign == "ne":
        return lambda row: bool(read(row) != wanted)
    # Ids have an order only inside of the database.
    if column.type in ("Boolean", "Uniqueidentifier", *LOOKUPS):
        raise _incompatible(column, one)
    compare = _ORDERS[one.sign]
    return lambda row: wanted is not None and (value := read(row)) is not None and bool(compare(value, wanted))


def _operand(column: Column, one: Compare) -> Any:  # Any: JSON
    """The literal as the column's values are compared."""
    kind, text = one.value
    if kind == "null":
        return None
    if column.type == "Boolean":
        if kind == "boolean":
            return text == "true"
    elif column.type in NUMBERS or column.type in CHOICES:
        if kind == "number" and not ("." in text and edm(column) == "Edm.Int32"):
            return float(text)
    elif column.type == "DateTime":
        found = _moment(column, one.value)
        if found is not None:
            return found
    elif column.type == "Uniqueidentifier" or column.targets:
        if kind == "guid":
            return text.lower()
    elif kind == "text":
        return text.lower()
    raise _incompatible(column, one)


def _moment(column: Column, value: Literal) -> str | None:
    if column.format == "DateOnly":
        return day(value.text) if value.kind == "date" else None
    if value.kind == "date":
        return None if day(value.text) is None else f"{value.text}T00:00:00Z"
    return instant(value.text) if value.kind == "instant" else None


def _from_text(column: Column, text: str) -> Any:  # Any: JSON
    """A value of `In`, which takes texts alone."""
    found: Any = text.lower()  # Any: JSON
    if column.type in NUMBERS or column.type in CHOICES:
        found = float(text) if _NUMBER.fullmatch(text) else None
    elif column.type == "Boolean":
        found = {"true": True, "1": True, "false": False, "0": False}.get(text.lower())
    elif column.type == "Uniqueidentifier" or column.targets:
        found = guid(text)
    if found is None:
        raise query_fault(f"'{text}' is not a value of '{column.name}'.")
    return found


def _incompatible(column: Column, one: Compare) -> Refusal:
    operator = {"eq": "Equal", "ne": "NotEqual", "gt": "GreaterThan", "ge": "GreaterThanOrEqual", "lt": "LessThan"}
    return query_fault(
        "A binary operator with incompatible types was detected. Found operand types "
        f"'{edm(column)}' and '{_LITERALS[one.value.kind]}' for operator kind "
        f"'{operator.get(one.sign, 'LessThanOrEqual')}'."
    )


def _id(ref: Ref | None) -> str | None:
    return None if ref is None else ref.id


_LITERALS = {
    "text": "Edm.String", "instant": "Edm.DateTimeOffset", "guid": "Edm.Guid", "date": "Edm.Date",
    "number": "Edm.Int32", "boolean": "Edm.Boolean", "null": "null", "word": "null", "sign": "null",
}  # fmt: skip
