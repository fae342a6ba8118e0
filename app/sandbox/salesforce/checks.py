"""Whether a value fits its field, with the API's own words where it does not. Gives the value as it is kept."""

import math
import re
from typing import Any

from app.sandbox.salesforce.fields import NUMBERS, TEXTS, Field
from app.sandbox.salesforce.wire import Refusal, day, instant, long_id, stamp

_EMAIL = re.compile(r"[^\s@,;:<>()\[\]\"]+@(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]*")
_KINDS = {str: "VALUE_STRING", bool: "VALUE_BOOLEAN", int: "VALUE_NUMBER", float: "VALUE_NUMBER"}
_LARGEST_INT = 2**31


def from_json(field: Field, value: Any) -> Any:  # Any: JSON
    """Raises Refusal: JSON_PARSER_ERROR for what is of another type, which spoils the call; else for the record."""
    if value is None:
        _check_empty(field)
        return None
    if field.type == "boolean":
        if not isinstance(value, bool):
            raise _wrong(field, value)
        return value
    if field.type in NUMBERS:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise _wrong(field, value)
        return _number(field, value)
    if not isinstance(value, str):
        # A text is made of a number or a boolean.
        if field.type not in TEXTS or isinstance(value, dict | list):
            raise _wrong(field, value)
        value = str(value).lower() if isinstance(value, bool) else str(value)
    return _text(field, value)


def from_cell(field: Field, cell: str) -> Any:  # Any: JSON
    """A cell of a CSV file, neither empty nor `#N/A`. Raises Refusal for the record."""
    if field.type == "boolean":
        if cell.lower() not in ("true", "false", "1", "0"):
            raise _mistyped(field, cell)
        return cell.lower() in ("true", "1")
    if field.type in NUMBERS:
        try:
            return _number(field, float(cell))
        except ValueError:
            raise _mistyped(field, cell) from None
    try:
        return _text(field, cell)
    except Refusal as fault:
        raise _mistyped(field, cell) if fault.code == "JSON_PARSER_ERROR" else fault from None


def _check_empty(field: Field) -> None:
    """Raises Refusal where the field has to have a value."""
    if field.type == "boolean":
        raise _mistyped(field, "null")
    if field.required:
        raise missing([field.name])


def missing(names: list[str]) -> Refusal:
    return Refusal("REQUIRED_FIELD_MISSING", f"Required fields are missing: [{', '.join(names)}]", fields=names)


def _number(field: Field, value: float) -> float:
    if not math.isfinite(value) or abs(value) >= _most(field):
        raise Refusal(
            "NUMBER_OUTSIDE_VALID_RANGE",
            f"{field.label}: value outside of valid range on numeric field: {value}",
            fields=[field.name],
        )
    if field.type == "int":
        if value != int(value):
            raise _wrong(field, value)
        return int(value)
    return float(round(value, field.scale))


def _most(field: Field) -> float:
    if field.type == "int":
        return _LARGEST_INT
    return float(10 ** (field.precision - field.scale)) if field.precision else math.inf


def _text(field: Field, value: str) -> str | None:
    if field.type == "datetime":
        at = instant(value)
        # A date alone is midnight.
        at = instant(f"{value}T00:00:00Z") if at is None and day(value) else at
        if at is None:
            raise _wrong(field, value)
        return stamp(at)
    if field.type == "date":
        if day(value) is None and instant(value) is None:
            raise _wrong(field, value)
        return value[:10]
    if field.type in ("reference", "id"):
        return _reference(field, value)
    value = value.strip()
    if not value:
        _check_empty(field)
        return None
    if field.length and len(value) > field.length:
        raise Refusal(
            "STRING_TOO_LONG",
            f"{field.label}: data value too large: {value} (max length={field.length})",
            fields=[field.name],
        )
    if field.type == "email" and not _EMAIL.fullmatch(value):
        raise Refusal("INVALID_EMAIL_ADDRESS", f"{field.label}: invalid email address: {value}", fields=[field.name])
    if field.restricted and value not in field.values:
        raise Refusal(
            "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
            f"{field.label}: bad value for restricted picklist field: {value}",
            fields=[field.name],
        )
    return value


def _reference(field: Field, value: str) -> str | None:
    if not value:
        _check_empty(field)
        return None
    id_ = long_id(value)
    if id_ is None:
        raise Refusal("MALFORMED_ID", f"{field.label}: id value of incorrect type: {value}", fields=[field.name])
    return id_


def _wrong(field: Field, value: object) -> Refusal:
    kind = _KINDS.get(type(value), "START_OBJECT" if isinstance(value, dict) else "START_ARRAY")
    name = "reference" if field.type == "id" else field.type if field.type not in TEXTS else "string"
    said = value if kind.startswith("VALUE") else ""
    return Refusal(
        "JSON_PARSER_ERROR",
        f"Cannot deserialize instance of {name} from {kind} value {said} or request may be missing a required field",
    )


def _mistyped(field: Field, value: str) -> Refusal:
    return Refusal(
        "INVALID_TYPE_ON_FIELD_IN_RECORD",
        f"{field.label}: value not of required type: {value}",
        fields=[field.name],
    )
