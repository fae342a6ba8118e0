"""Values of properties: what a type takes, and in which form it is kept.

Source: the documentation of properties; the codes are those that people met in answers of the real API.
"""

import math
import re
from datetime import UTC, date, datetime

import orjson

from app.sandbox.hubspot.catalog import OPEN
from app.sandbox.hubspot.records import Property
from app.sandbox.hubspot.wire import Json, Refused, iso, millis_of

_ADDRESS = re.compile(r"[^@\s,;<>()\"]+@[^@\s,;<>()\"]+\.[A-Za-z0-9-]{2,}")
_DAY_MS = 86_400_000
_MOST_CHARACTERS = 65_536


class Unfit(Exception):
    """A value that cannot be: a code, and what is wrong."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def is_address(text: str) -> bool:
    return _ADDRESS.fullmatch(text) is not None


def taken(of: Property, value: object) -> str:
    """How a value is kept; empty text clears. Raises Unfit."""
    if isinstance(value, bool):
        value = "true" if value else "false"
    elif isinstance(value, int | float):
        value = str(value)
    if not isinstance(value, str):
        raise Unfit("INVALID_VALUE", f"{of.name} is not a text")
    text = value.strip()
    if not text:
        return ""
    match of.type:
        case "number":
            return _number(text)
        case "date":
            return _day(text)
        case "datetime":
            return _instant(text)
        case "bool":
            if text.lower() not in ("true", "false"):
                raise _no_option(of, text)
            return text.lower()
        case "enumeration":
            return _options(of, text)
    return _text(of, text)


def refusal(faults: list[tuple[str, Unfit]]) -> Refused:
    """400 for properties whose values cannot be: (name, what is wrong with it)."""
    said = [{"isValid": False, "message": str(fault), "error": fault.code, "name": name} for name, fault in faults]
    errors: list[Json] = [
        {"message": str(fault), "code": fault.code, "context": {"propertyName": [name]}} for name, fault in faults
    ]
    return Refused(400, f"Property values were not valid: {orjson.dumps(said).decode()}", errors=errors)


def _number(text: str) -> str:
    try:
        is_number = math.isfinite(float(text)) and "_" not in text
    except ValueError:
        is_number = False
    if not is_number:
        raise Unfit("INVALID_INTEGER", f"{text[:50]} was not a valid number.")
    return text


def _day(text: str) -> str:
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
        try:
            return date.fromisoformat(text).isoformat()
        except ValueError:
            raise Unfit("INVALID_DATE", f"{text} is not a valid date.") from None
    at = millis_of(text)
    if at is None or not 0 <= at < 253_402_300_800_000:
        raise Unfit("INVALID_DATE", f"{text[:50]} is not a valid date.")
    if at % _DAY_MS:
        raise Unfit("INVALID_DATE", f"{text[:50]} is not midnight in UTC!")
    return datetime.fromtimestamp(at // 1_000, UTC).date().isoformat()


def _instant(text: str) -> str:
    at = millis_of(text)
    if at is None or not 0 <= at < 253_402_300_800_000:
        raise Unfit("INVALID_LONG", f"{text[:50]} was not a valid long.")
    return iso(at)


def _options(of: Property, text: str) -> str:
    if of.name in OPEN:
        return text.lower() if of.name == "hs_additional_emails" else text
    known = {option.value for option in of.options}
    parts = text.split(";") if of.field_type == "checkbox" else [text]
    if not set(parts) <= known:
        raise _no_option(of, text)
    return text


def _no_option(of: Property, text: str) -> Unfit:
    known = ", ".join(option.value for option in of.options)
    return Unfit("INVALID_OPTION", f"{text[:50]} was not one of the allowed options: [{known}]")


def _text(of: Property, text: str) -> str:
    if len(text) > _MOST_CHARACTERS:
        raise Unfit("PROPERTY_VALUE_TOO_LONG", f"{of.name} is longer than {_MOST_CHARACTERS} characters")
    if of.name == "email":
        if not is_address(text):
            raise Unfit("INVALID_EMAIL", f"Email address {text[:100]} is invalid")
        return text.lower()
    return text
