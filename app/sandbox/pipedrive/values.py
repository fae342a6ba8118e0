"""Values of custom fields: what a type takes, and how REST, the first version, webhooks and logs show it."""

import re
from collections.abc import Callable
from datetime import date, time
from typing import Any

from app.sandbox.pipedrive.records import Field
from app.sandbox.pipedrive.wire import Json, invalid

Value = Any  # Any: JSON, as the type of its field has it
Faulty = str | None
"""What is wrong with a value; None: nothing."""

TYPES = ("varchar", "varchar_auto", "text", "double", "monetary", "date", "set", "enum", "user", "org", "people",
         "phone", "time", "timerange", "daterange", "address")  # fmt: skip
SEARCHABLE = frozenset(("address", "varchar", "text", "varchar_auto", "double", "monetary", "phone"))
_TIME = re.compile(r"\d\d:\d\d(:\d\d)?", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_ADDRESS = frozenset(
    ("value", "country", "admin_area_level_1", "admin_area_level_2", "locality", "sublocality", "route",
     "street_number", "subpremise", "postal_code", "formatted_address")
)  # fmt: skip


def check(field: Field, value: Value, path: str) -> None:
    """Raises Refused (400), naming the field, if its type does not take the value. null clears any field."""
    fault = None if value is None else _fault(field, value)
    if fault is not None:
        raise invalid(path, fault)


def is_date(value: object) -> bool:
    return isinstance(value, str) and _reads(date.fromisoformat, _DATE, value)


def is_time(value: object) -> bool:
    return isinstance(value, str) and _reads(time.fromisoformat, _TIME, value)


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def is_option(field: Field, value: object) -> bool:
    """Of a custom field: the number of one of its options. Text is none, even if it reads as such a number."""
    return is_id(value) and value in (field.options or {})


def _reads(read: Callable[[str], object], form: re.Pattern[str], value: str) -> bool:
    try:
        return form.fullmatch(value) is not None and read(value) is not None
    except ValueError:
        return False


def _fault(field: Field, value: Value) -> Faulty:
    match field.type:
        case "varchar" | "varchar_auto" | "phone":
            return None if isinstance(value, str) and len(value) <= 255 else "should be a string of at most 255"
        case "text":
            return None if isinstance(value, str) and len(value) <= 65_000 else "should be a string of at most 65000"
        case "double":
            return None if is_number(value) else "should be a number"
        case "date":
            return None if is_date(value) else "should be a date"
        case "enum":
            return None if is_option(field, value) else "should be the id of an option"
        case "set":
            is_set = isinstance(value, list) and value and all(is_option(field, one) for one in value)
            return None if is_set and len(set(value)) == len(value) else "should be a list of ids of options, not empty"
        case "user" | "org" | "people":
            return None if is_id(value) else "should be an integer"
    return _object_fault(field.type, value)


def _object_fault(kind: str, value: Value) -> Faulty:
    if not isinstance(value, dict):
        return "should be an object"
    match kind:
        case "monetary":
            currency = value.get("currency")
            is_right = is_number(value.get("value")) and isinstance(currency, str) and len(currency) == 3
            known = {"value", "currency"}
        case "daterange":
            is_right, known = is_date(value.get("value")) and is_date(value.get("until")), {"value", "until"}
        case "time":
            is_right, known = is_time(value.get("value")), {"value", "timezone_name"}
        case "timerange":
            is_right = is_time(value.get("value")) and is_time(value.get("until"))
            known = {"value", "until", "timezone_name"}
        case _:
            is_right, known = all(one is None or isinstance(one, str) for one in value.values()), set(_ADDRESS)
            is_right = is_right and isinstance(value.get("value"), str)
    return None if is_right and value.keys() <= known else f"should be an object of a {kind}"


def labelled(field: Field, value: Value) -> Value:
    """As `include_option_labels` shows it."""
    options = field.options or {}
    if field.type == "enum" and value is not None:
        return {"id": value, "label": options.get(value)}
    if field.type == "set" and value is not None:
        return [{"id": one, "label": options.get(one)} for one in value]
    return value


def flat(field: Field, value: Value) -> Json:
    """As the first version shows it: at the root, with keys beside it for the parts."""
    if field.type == "set" and value is not None:
        return {field.code: ",".join(map(str, value))}
    if field.type == "enum" and value is not None:
        return {field.code: str(value)}
    parts = {"monetary": ("currency",), "daterange": ("until",), "timerange": ("until",)}.get(field.type, ())
    if field.type in ("monetary", "daterange", "timerange", "time", "address"):
        value = value or {}
        return {field.code: value.get("value"), **{f"{field.code}_{part}": value.get(part) for part in parts}}
    return {field.code: value}


def typed(field: Field, value: Value) -> Json | None:
    """As webhooks show it."""
    if value is None:
        return None
    match field.type:
        case "enum" | "user" | "org" | "people":
            return {"type": field.type, "id": value}
        case "set":
            return {"type": "set", "values": [{"id": one} for one in value]}
        case "daterange" | "timerange":
            rest = {key: part for key, part in value.items() if key != "value"}
            return {"type": field.type, "from": value["value"], **rest}
        case "monetary" | "time" | "address":
            return {"type": field.type, **value}
    return {"type": field.type, "value": value}


def logged(value: Value) -> str | None:
    """As a change log shows it: text."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, dict):
        return logged(value.get("value"))
    if isinstance(value, list | tuple):
        return ",".join(str(one) for one in value)
    return str(value)
