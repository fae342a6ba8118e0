"""What a WHERE clause means: whether it holds for a record, and between which moments of change such records lie."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from operator import ge, gt, le, lt
from typing import Any

from app.sandbox.indexes import folded
from app.sandbox.salesforce.fields import NUMBERS, Field, Object
from app.sandbox.salesforce.org import Org
from app.sandbox.salesforce.paths import reader, resolve
from app.sandbox.salesforce.soql import Both, Column, Compare, Condition, Either, Literal, Not, fault
from app.sandbox.salesforce.table import Moment
from app.sandbox.salesforce.wire import Refusal, Row, instant, long_id, stamp

Holds = Callable[[Row], bool]
ALL: tuple[Moment, Moment] = (("", ""), ("~", "~"))
_ORDERS = {"<": lt, "<=": le, ">": gt, ">=": ge}
_DAY = timedelta(days=1)
_FURTHEST = 3_660
_WANTED = {"boolean": "boolean", "datetime": "dateTime", "date": "date", "int": "int"}


def compiled(org: Org, of: Object, condition: Condition, text: str) -> Holds:
    """Raises Refusal if it names what there is not, or compares with a value of another type."""
    match condition:
        case Both(parts):
            all_of = [compiled(org, of, part, text) for part in parts]
            return lambda row: all(holds(row) for holds in all_of)
        case Either(parts):
            any_of = [compiled(org, of, part, text) for part in parts]
            return lambda row: any(holds(row) for holds in any_of)
        case Not(part):
            inner = compiled(org, of, part, text)
            return lambda row: not inner(row)
        case Compare():
            return _comparison(org, of, condition, text)


def moments(of: Object, condition: Condition | None, now: datetime) -> tuple[Moment, Moment]:
    """The first and the last moment of change at which a record can be for which this holds, both included."""
    match condition:
        case Compare():
            return _moments_of(of, condition, now)
        case Both(parts):
            found = [moments(of, part, now) for part in parts]
            low, high = max(one[0] for one in found), min(one[1] for one in found)
            if low[0] == high[0]:
                # Within one instant the id goes on: what follows the last record of a page.
                ids = [_id_after(part) for part in parts if isinstance(part, Compare)]
                low = max(low, (low[0], max(ids, default="")))
            return low, high
        case Either(parts):
            found = [moments(of, part, now) for part in parts]
            return min(one[0] for one in found), max(one[1] for one in found)
        case _:
            return ALL


def conjuncts(condition: Condition | None) -> list[Compare]:
    """The comparisons all of which have to hold."""
    if isinstance(condition, Compare):
        return [condition]
    if isinstance(condition, Both):
        return [one for part in condition.parts for one in conjuncts(part)]
    return []


def changes_by(of: Object) -> str:
    """The field that says when a record was changed last."""
    return "SystemModstamp" if "systemmodstamp" in of.fields else "CreatedDate"


def _moments_of(of: Object, one: Compare, now: datetime) -> tuple[Moment, Moment]:
    if one.column.path.lower() != changes_by(of).lower():
        return ALL
    spans = [_span(value, now) for value in one.values if value.kind in ("instant", "relative")]
    known = [span for span in spans if span is not None]
    if len(known) < len(one.values):
        return ALL
    low, high = min(span[0] for span in known), max(span[1] for span in known)
    # A relative literal spans days and leaves out its end; an instant is all of its second.
    last = (high, "" if high != low else "~")
    match one.sign:
        case "=" | "in":
            return (low, ""), last
        case ">":
            return ((high, "") if high != low else (low, "~")), ALL[1]
        case ">=":
            return (low, ""), ALL[1]
        case "<":
            return ALL[0], (low, "")
        case "<=":
            return ALL[0], last
    return ALL


def _id_after(one: Compare) -> str:
    is_after = one.column.path.lower() == "id" and one.sign in (">", ">=")
    return (long_id(one.values[0].text) or "") if is_after else ""


def _comparison(org: Org, of: Object, one: Compare, text: str) -> Holds:
    path = resolve(org, of, one.column, text)
    field, read = path.field, reader(org, path)
    if field.is_long:
        raise fault(text, one.column.at, "INVALID_FIELD", f"field '{field.name}' can not be filtered in a query call")
    if any(value.kind == "relative" for value in one.values):
        return _relative(field, one, read, org.now(), text)
    values = [_operand(field, value, one.column, text) for value in one.values]
    folds = _is_text(field) and not field.case_sensitive
    if folds:
        plain = read
        read = lambda row: folded(plain(row))  # noqa: E731 - the same name, seen from here on
        values = [folded(value) for value in values]
    first = values[0]
    match one.sign:
        case "=":
            return lambda row: bool(read(row) == first)
        case "!=":
            return lambda row: bool(read(row) != first)
        case "in":
            among = set(values)
            return lambda row: read(row) in among
        case "not in":
            among = set(values)
            return lambda row: read(row) not in among
        case "like":
            return _like(field, one, read, text)
    order = _ORDERS[one.sign]
    if field.type == "boolean":
        raise _wrong_operator(field, one.column, text)
    return lambda row: first is not None and (value := read(row)) is not None and bool(order(value, first))


def _operand(field: Field, value: Literal, column: Column, text: str) -> Any:  # Any: JSON
    """The literal as the field's values are kept."""
    if value.kind == "null":
        return None
    if field.type == "boolean" and value.kind == "boolean":
        return value.text == "true"
    if field.type in NUMBERS and value.kind == "number":
        return float(value.text)
    if field.type == "datetime" and value.kind == "instant":
        at = instant(value.text)
        if at is not None:
            return stamp(at)
    elif field.type == "date" and value.kind == "date":
        return value.text
    elif field.type in ("id", "reference") and value.kind == "text":
        id_ = long_id(value.text)
        if id_ is None and value.text:
            raise fault(text, column.at, "INVALID_QUERY_FILTER_OPERATOR", f"invalid ID field: {value.text}")
        return id_ or ""
    elif _is_text(field) and value.kind == "text":
        return value.text
    wanted = _WANTED.get(field.type, "double" if field.type in NUMBERS else "string")
    quotes = "should be enclosed in quotes" if wanted == "string" else "should not be enclosed in quotes"
    what = f"value of filter criterion for field '{field.name}' must be of type {wanted} and {quotes}"
    raise fault(text, column.at, "INVALID_FIELD", what)


def _is_text(field: Field) -> bool:
    return field.type not in ("boolean", "datetime", "date", "id", "reference") and field.type not in NUMBERS


def _like(field: Field, one: Compare, read: Callable[[Row], Any], text: str) -> Holds:  # Any: JSON
    value = one.values[0]
    if not _is_text(field) or value.kind != "text":
        raise _wrong_operator(field, one.column, text)
    pieces = re.findall(r"\\[%_]|.", value.text, re.DOTALL)
    pattern = re.compile("".join(_LIKE.get(piece, re.escape(piece[-1])) for piece in pieces), re.DOTALL | re.IGNORECASE)

    def holds(row: Row) -> bool:
        found = read(row)
        return isinstance(found, str) and pattern.fullmatch(found) is not None

    return holds


_LIKE = {"%": ".*?", "_": "."}


def _wrong_operator(field: Field, column: Column, text: str) -> Refusal:
    return fault(text, column.at, "INVALID_FIELD", f"invalid operator on {field.type} field")


def _relative(field: Field, one: Compare, read: Callable[[Row], Any], now: datetime, text: str) -> Holds:  # Any: JSON
    span = _span(one.values[0], now)
    if span is None or field.type not in ("date", "datetime") or one.sign not in ("=", "!=", *_ORDERS):
        what = f"unexpected token: '{one.values[0].text}'"
        raise fault(text, one.column.at, "MALFORMED_QUERY", what)
    low, high = (part[:10] for part in span) if field.type == "date" else span

    def holds(row: Row) -> bool:
        value = read(row)
        if value is None:
            return one.sign == "!="
        holding: dict[str, bool] = {
            "=": low <= value < high, "!=": not low <= value < high, "<": value < low, "<=": value < high,
            ">": value >= high, ">=": value >= low,
        }  # fmt: skip
        return holding[one.sign]

    return holds


def _span(value: Literal, now: datetime) -> tuple[str, str] | None:
    """An instant twice; or the beginning of a relative literal's days, and of the day after them, in UTC."""
    if value.kind == "instant":
        at = instant(value.text)
        return None if at is None else (stamp(at), stamp(at))
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    name, _, number = value.text.partition(":")
    days = min(int(number or 0), _FURTHEST)
    spans = {
        "TODAY": (0, 1), "YESTERDAY": (-1, 0), "TOMORROW": (1, 2), "LAST_90_DAYS": (-90, 1), "LAST_N_DAYS": (-days, 1),
        "NEXT_N_DAYS": (1, days + 1),
    }  # fmt: skip
    if name not in spans or (name.endswith("_N_DAYS") and not number):
        return None
    first, end = spans[name]
    return stamp(midnight + first * _DAY), stamp(midnight + end * _DAY)
