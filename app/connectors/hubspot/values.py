"""Values of contacts' properties, to and from the wire, by the type of the property. Pure.

On the wire every value is text, and unset is null; empty text clears. A choice is the value of an option there and its
label here. Source: the documentation of properties, October 2026; that an instant may come as milliseconds since 1970
is of older documents.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from app.connectors.hubspot.api import Json
from app.connectors.shapes import Kind, Value

LONGEST_TEXT = 65_536
_KINDS = {
    "string": Kind.TEXT,
    "phone_number": Kind.TEXT,
    "number": Kind.NUMBER,
    "bool": Kind.BOOLEAN,
    "date": Kind.DAY,
    "datetime": Kind.INSTANT,
    "enumeration": Kind.CHOICE,
}
_MILLIS = re.compile(r"-?[0-9]{1,15}", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YES, _NO = "true", "false"
_BITS = 2**63


class Unfit(Exception):
    """A value that the property cannot hold, told by its name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Property(NamedTuple):
    """A property as HubSpot lists it."""

    name: str
    label: str
    type: str
    field_type: str
    is_custom: bool
    is_read_only: bool
    options: Mapping[str, str] = {}
    """The label of each option by its value."""
    has_options_elsewhere: bool = False
    """Such as the users of the account: they are not listed with it."""

    @property
    def kind(self) -> Kind:
        if self.has_options_elsewhere:
            return Kind.OTHER
        if self.type == "enumeration" and self.field_type == "checkbox":
            return Kind.CHOICES
        # Single checkboxes of old are choices of true and false.
        if self.type == "enumeration" and self.options.keys() == {_YES, _NO}:
            return Kind.BOOLEAN
        return _KINDS.get(self.type, Kind.OTHER)

    @property
    def max_length(self) -> int | None:
        return LONGEST_TEXT if self.kind is Kind.TEXT else None

    @classmethod
    def of(cls, row: Json) -> "Property":
        given, metadata = row.get("options"), row.get("modificationMetadata")
        options = {
            str(one["value"]): str(one["label"])
            for one in (given if isinstance(given, list) else ())
            if isinstance(one, dict) and one.get("value") is not None and one.get("label") is not None
        }
        is_fixed = isinstance(metadata, dict) and metadata.get("readOnlyValue") is True
        return cls(
            str(row.get("name")),
            str(row.get("label") or row.get("name")),
            str(row.get("type")),
            str(row.get("fieldType")),
            row.get("hubspotDefined") is not True,
            is_fixed or row.get("calculated") is True,
            options,
            row.get("externalOptions") is True,
        )


# --- from the wire ----------------------------------------------------------------------------------------------------


def read(of: Property, raw: object) -> Value:
    """A choice whose option is no more is told by its value; what makes no sense is as if it were not set."""
    if raw is None or raw == "":
        return None
    text = str(raw)
    match of.kind:
        case Kind.NUMBER:
            return _number(text)
        case Kind.BOOLEAN:
            return text.lower() == _YES
        case Kind.DAY:
            at = instant_of(text)
            return None if at is None else at.date().isoformat()
        case Kind.INSTANT:
            at = instant_of(text)
            return None if at is None else at.replace(microsecond=0, tzinfo=None).isoformat() + "Z"
        case Kind.CHOICE:
            return of.options.get(text, text)
        case Kind.CHOICES:
            return sorted(of.options.get(one, one) for one in text.split(";") if one) or None
    return text


def instant_of(text: object) -> datetime | None:
    """Of ISO 8601, or of milliseconds since 1970; a day is its midnight in UTC."""
    if not isinstance(text, str):
        return None
    try:
        if _MILLIS.fullmatch(text):
            return _EPOCH + timedelta(milliseconds=int(text))
        at = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)


def millis_of(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(milliseconds=1)


def _number(text: str) -> int | float | None:
    try:
        exact = Decimal(text)
    except InvalidOperation:
        return None
    if not exact.is_finite():
        return None
    return int(exact) if exact == exact.to_integral_value() and abs(exact) < _BITS else float(exact)


# --- to the wire ------------------------------------------------------------------------------------------------------


def told(of: Property, value: Value) -> str:
    """As a call says it. Raises Unfit."""
    if value is None or value == []:
        return ""
    match of.kind:
        case Kind.NUMBER if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            # The digits of a large float are not all its own.
            return str(int(value)) if value == int(value) else f"{Decimal(repr(value)):f}"
        case Kind.BOOLEAN if isinstance(value, bool):
            return _YES if value else _NO
        case Kind.DAY if isinstance(value, str) and _is_day(value):
            return value
        case Kind.INSTANT if isinstance(value, str) and (at := instant_of(value)) is not None:
            return str(millis_of(at))
        case Kind.CHOICE if isinstance(value, str):
            return _value(of, value)
        case Kind.CHOICES if isinstance(value, list):
            return ";".join(dict.fromkeys(_value(of, one) for one in value))
        case Kind.TEXT if isinstance(value, str) and len(value) <= LONGEST_TEXT:
            return value
    raise Unfit(of.name)


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _value(of: Property, label: str) -> str:
    """The value of a label, whose case may be another. Of two options with one label the first is meant."""
    exact = {known: value for value, known in reversed(list(of.options.items()))}
    folded = {known.casefold(): value for value, known in reversed(list(of.options.items()))}
    found = exact.get(label, folded.get(label.casefold()))
    if found is None:
        raise Unfit(of.name)
    return found
