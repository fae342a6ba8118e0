"""The filters of a search: whether a record meets them, and where to look for those that do.

Source: the documentation of CRM search. Text is compared without case, but the values of IN and NOT_IN as they are
given: they must be in lower case to be found. Whether NEQ, NOT_IN and NOT_CONTAINS_TOKEN find records without a value
is not documented: here they do not.
"""

import math
import re
from collections.abc import Callable, Iterable
from operator import eq, ge, gt, le, lt, ne
from typing import Any, NamedTuple

from app.sandbox.hubspot.records import Property, Record
from app.sandbox.hubspot.showing import text
from app.sandbox.hubspot.table import Index
from app.sandbox.hubspot.wire import Json, as_object, invalid, millis_of, not_json, texts_of

Comparable = Any  # Any: a number or a text; those of one property are of one kind
Getter = Callable[[Record], Comparable | None]
Test = Callable[[Record], bool]
_FARTHEST = 10**18
_KEYS = ("propertyName", "operator", "value", "highValue", "values")
_OPERATORS = ("EQ", "NEQ", "LT", "LTE", "GT", "GTE", "BETWEEN", "IN", "NOT_IN", "HAS_PROPERTY", "NOT_HAS_PROPERTY",
              "CONTAINS_TOKEN", "NOT_CONTAINS_TOKEN")  # fmt: skip
_WORDS = re.compile(r"[\s;,]+")
_PARTS = re.compile(r"[^\w*]+")


class Span(NamedTuple):
    """Records whose value of an order is from `low` to `high`, both included."""

    order: str
    low: int
    high: int


class Condition(NamedTuple):
    is_met: Test
    span: Span | None = None
    """Exactly the records that meet it, where search keeps an order of the property."""
    numbers: frozenset[int] | None = None
    """Their ids, where it has them at hand."""


def getter(index: Index, of: Property) -> Getter:
    """By what a property is compared and sorted; None where a record has no value."""
    known = index.values.get(of.name)
    if known is not None:
        return known
    if of.type == "number":
        return lambda record: _float(text(record, of.name))
    if of.type in ("date", "datetime"):
        return lambda record: millis_of(text(record, of.name) or "")
    return lambda record: _lower(text(record, of.name))


def condition(index: Index, known: dict[str, Property], given: object) -> Condition:
    """One filter. Raises Refused (400)."""
    asked = as_object(given, _KEYS)
    name, operator = asked.get("propertyName"), asked.get("operator")
    of = known.get(name) if isinstance(name, str) else None
    if of is None or of.is_archived:
        raise invalid(f'Property "{str(name)[:60]}" does not exist', context={"propertyName": [str(name)[:60]]})
    if operator not in _OPERATORS:
        raise not_json(f"Cannot deserialize value of operator from '{str(operator)[:60]}'")
    get = getter(index, of)
    match operator:
        case "HAS_PROPERTY":
            return Condition(lambda record: text(record, of.name) is not None)
        case "NOT_HAS_PROPERTY":
            return Condition(lambda record: text(record, of.name) is None)
        case "IN" | "NOT_IN":
            return _among(index, of, get, asked, negated=operator == "NOT_IN")
        case "CONTAINS_TOKEN" | "NOT_CONTAINS_TOKEN":
            return _token(index, of, asked, negated=operator == "NOT_CONTAINS_TOKEN")
    return _compared(index, of, get, asked)


def _compared(index: Index, of: Property, get: Getter, asked: Json) -> Condition:
    operator, value = asked["operator"], _operand(of, asked.get("value"), "value")
    span = _span(of.name, operator, value, asked) if of.name in index.values and isinstance(value, float) else None
    if operator == "BETWEEN":
        high = _operand(of, asked.get("highValue"), "highValue")
        return Condition(lambda record: _holds(get(record), lambda it: value <= it <= high), span)
    found = _by_address(index, of, [str(value)]) if operator == "EQ" else None
    if operator in ("EQ", "NEQ") and of.type == "enumeration":
        negated = operator == "NEQ"
        return Condition(
            lambda record: _holds(get(record), lambda it: (value in str(it).split(";")) != negated), numbers=found
        )
    compare = _COMPARISONS[operator]
    return Condition(lambda record: _holds(get(record), lambda it: compare(it, value)), span, found)


_COMPARISONS: dict[str, Callable[[Comparable, Comparable], bool]] = {
    "EQ": eq, "NEQ": ne, "LT": lt, "LTE": le, "GT": gt, "GTE": ge,
}  # fmt: skip


def _holds(value: Comparable | None, test: Callable[[Comparable], bool]) -> bool:
    return value is not None and test(value)


def _span(name: str, operator: str, value: float, asked: Json) -> Span | None:
    match operator:
        case "EQ":
            return Span(name, math.ceil(value), math.floor(value))
        case "GT":
            return Span(name, math.floor(value) + 1, _FARTHEST)
        case "GTE":
            return Span(name, math.ceil(value), _FARTHEST)
        case "LT":
            return Span(name, 0, math.ceil(value) - 1)
        case "LTE":
            return Span(name, 0, math.floor(value))
        case "BETWEEN":
            high = _number(str(asked.get("highValue")))
            return None if high is None else Span(name, math.ceil(value), math.floor(high))
    return None


def _among(index: Index, of: Property, get: Getter, asked: Json, *, negated: bool) -> Condition:
    given = texts_of(asked, "values")
    if not given:
        raise invalid("The values of the filter are not set", context={"propertyName": [of.name]})
    # Text as it is: in upper case it is never found.
    wanted = set(given) if of.type == "string" else {_operand(of, one, "values") for one in given}
    if of.name == "hs_object_id" and not negated:
        numbers = frozenset(int(one) for one in wanted if isinstance(one, float))
        return Condition(lambda record: record.id in numbers, numbers=numbers)
    found = None if negated else _by_address(index, of, (str(one) for one in wanted))
    if of.type == "enumeration":
        return Condition(
            lambda record: _holds(get(record), lambda it: wanted.isdisjoint(str(it).split(";")) == negated),
            numbers=found,
        )
    return Condition(lambda record: _holds(get(record), lambda it: (it in wanted) != negated), numbers=found)


def _token(index: Index, of: Property, asked: Json, *, negated: bool) -> Condition:
    value = _operand(of, asked.get("value"), "value")
    if not isinstance(value, str):
        raise invalid(f"{asked['operator']} is not supported for {of.type} properties")

    pattern = re.compile(".*".join(re.escape(part) for part in value.split("*")), re.DOTALL)

    def is_met(record: Record) -> bool:
        has = _lower(text(record, of.name))
        if has is None:
            return False
        words = [word for word in _WORDS.split(has) if word]
        parts = [part for word in words for part in _PARTS.split(word) if part]
        return any(pattern.fullmatch(one) for one in (*words, *parts)) != negated

    is_address = "@" in value and "*" not in value
    return Condition(is_met, numbers=_by_address(index, of, [value]) if is_address and not negated else None)


def _by_address(index: Index, of: Property, wanted: Iterable[str]) -> frozenset[int] | None:
    known = {"email": index.primary, "hs_additional_emails": index.additional}.get(of.name)
    return None if known is None else frozenset(one for address in wanted for one in known.get(address, ()))


def _operand(of: Property, given: object, key: str) -> Comparable:
    value = str(given) if isinstance(given, int) and not isinstance(given, bool) else given
    if not isinstance(value, str) or not value:
        raise invalid(f"The {key} of the filter is not set", context={"propertyName": [of.name]})
    number = _number(value) if of.type == "number" else None
    if of.type in ("date", "datetime"):
        at = millis_of(value)
        number = None if at is None else float(at)
    if number is None and of.type in ("number", "date", "datetime"):
        raise invalid(f"{value[:50]} is no valid value of {of.name}", context={"propertyName": [of.name]})
    return value.lower() if number is None else number


def _number(value: str) -> float | None:
    try:
        found = float(value)
    except ValueError:
        at = millis_of(value)
        return None if at is None else float(at)
    return found if math.isfinite(found) else None


def _float(value: str | None) -> float | None:
    return None if value is None else float(value)


def _lower(value: str | None) -> str | None:
    return None if value is None else value.lower()
