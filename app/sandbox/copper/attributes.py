"""What a body says of a person or a lead: each attribute read by its own rule."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from app.sandbox.copper import changing, values
from app.sandbox.copper.account import CONTACT_TYPES, CUSTOMER_SOURCES, LEAD_STATUSES, Account
from app.sandbox.copper.records import Lead, Person, Point
from app.sandbox.copper.wire import Json, Problem, Wrong, integer, is_number, optional_text, read, text, texts, title

Record = TypeVar("Record", Person, Lead)
Reader = Callable[[Any], Any]  # Any: JSON; as the record has it

_ADDRESS = ("street", "city", "state", "postal_code", "country")
_EMAILS = ("work", "personal", "other")
_PHONES = ("mobile", "work", "home", "other")
_SOCIALS = ("linkedin", "twitter", "googleplus", "facebook", "youtube", "quora", "foursquare", "klout", "gravatar",
            "other")  # fmt: skip
_PARTS = ("prefix", "first_name", "middle_name", "last_name", "suffix")
_READ_ONLY = {
    "person": ("id", "company_name", "date_created", "date_modified", "date_last_contacted", "interaction_count",
               "leads_converted_from", "date_lead_created"),
    "lead": ("id", "date_created", "date_modified", "date_last_contacted", "interaction_count",
             "converted_opportunity_id", "converted_contact_id", "converted_at"),
}  # fmt: skip
"""What a record shows and no body changes: such keys are passed over in silence."""


def new(account: Account, kind: str, body: Json) -> Json:
    """The attributes of a record that is to be made. Raises Invalid."""
    named = isinstance(body.get("name"), str) and body["name"].strip()
    missing = [] if named else [Problem("name", "can't be blank", "blank")]
    body = body if named else {name: value for name, value in body.items() if name != "name"}
    return _read(account, kind, body, missing)


def changed(account: Account, record: Record, body: Json) -> Record:
    """The record with what a body says. What it does not name stays, custom fields too. Raises Invalid."""
    wanted = _read(account, changing.kind(record), body, [])
    # A person goes to another company by way of relations only.
    wanted.pop("company_id", None)
    if "name" not in wanted and any(part in wanted for part in _PARTS):
        parts = [wanted.get(part, getattr(record, part)) for part in _PARTS]
        wanted["name"] = " ".join(part for part in parts if part) or record.name
    return replace(record, **{**wanted, "custom": kept(record.custom, wanted.get("custom", {}))})


def kept(custom: dict[int, Any], change: dict[int, Any]) -> dict[int, Any]:  # Any: as the type of the field has it
    return {number: value for number, value in {**custom, **change}.items() if value is not None}


def _read(account: Account, kind: str, body: Json, more: list[Problem]) -> Json:
    readers = {**_COMMON, **dict.fromkeys(_PARTS, optional_text), "assignee_id": _one_of("assignee_id", account.users)}
    readers["custom_fields"] = lambda value: _custom(account, kind, value)
    if kind == "person":
        readers |= {
            "emails": _emails,
            "contact_type_id": _one_of("contact_type_id", CONTACT_TYPES),
            "company_id": _one_of("company_id", account.companies),
        }
    else:
        readers |= _LEADS
    readers |= {name: lambda value: value for name in _READ_ONLY[kind] if name not in readers}
    wanted = read(body, readers, more)
    for name in _READ_ONLY[kind]:
        wanted.pop(name, None)
    if "name" in wanted:
        wanted |= _split(wanted["name"]) | {name: wanted[name] for name in _PARTS if name in wanted}
    if "custom_fields" in wanted:
        wanted["custom"] = wanted.pop("custom_fields")
    if wanted.get("status") is not None:
        wanted.setdefault("status_id", wanted["status"])
    wanted.pop("status", None)
    return wanted


def _split(name: str) -> Json:
    first, _, rest = name.strip().partition(" ")
    middle, _, last = rest.strip().rpartition(" ")
    return {"first_name": first, "middle_name": middle or None, "last_name": last or None}


def _name(value: object) -> str:
    if value is None or not text(value).strip():
        raise Wrong("can't be blank")
    return text(value).strip()


def _one_of(name: str, known: Any) -> Reader:  # Any: whatever is known by its ids
    def check(value: object) -> int | None:
        if value is None:
            return None
        try:
            number = integer(value)
        except Wrong:
            raise Wrong(f"Invalid value for {title(name)}: IDs must be positive integers: {value}") from None
        if number not in known:
            raise Wrong(f"Invalid value for {title(name)}: there is no {number}")
        return number

    return check


def _points(key: str, categories: tuple[str, ...]) -> Callable[[Any], tuple[Point, ...]]:  # Any: JSON
    def check(value: object) -> tuple[Point, ...]:
        if not isinstance(value, list):
            raise Wrong("must be an array of objects")
        return tuple(_point(one, key, categories) for one in value)

    return check


def _point(one: object, key: str, categories: tuple[str, ...]) -> Point:
    if not isinstance(one, dict) or one.keys() - {key, "category"} or not isinstance(one.get(key), str):
        raise Wrong(f"must be an object with {key} and category")
    category = one.get("category", categories[0])
    if category not in categories:
        raise Wrong(f"category must be one of {', '.join(categories)}")
    return Point(one[key].strip(), category)


def _email(value: object) -> Point | None:
    if value is None:
        return None
    point = _point(value, "email", _EMAILS)
    if "@" not in point.value.strip("@") or " " in point.value:
        raise Wrong("is not a valid e-mail address")
    return point


def _emails(value: object) -> tuple[Point, ...]:
    """The first is the primary one: nothing else says which is."""
    points = _points("email", _EMAILS)([] if value is None else value)
    for point in points:
        _email({"email": point.value})
    return points


def _address(value: object) -> dict[str, str | None] | None:
    if value is None:
        return None
    if not isinstance(value, dict) or value.keys() - set(_ADDRESS):
        raise Wrong(f"must be an object with {', '.join(_ADDRESS)}")
    return {name: optional_text(value.get(name)) for name in _ADDRESS}


def _custom(account: Account, kind: str, given: object) -> dict[int, Any]:  # Any: as the type of the field has it
    if not isinstance(given, list):
        raise Wrong("must be an array of objects")
    known = {one.id: one for one in account.definitions_of(kind)}
    wanted: dict[int, Any] = {}
    for one in given:
        if not isinstance(one, dict) or one.keys() - {"custom_field_definition_id", "value"}:
            raise Wrong("must be an array of objects with custom_field_definition_id and value")
        number = integer(one.get("custom_field_definition_id"))
        if number not in known:
            raise Wrong(f"there is no custom field {number} on a {kind}")
        try:
            wanted[number] = values.kept(known[number], one.get("value"), account.faults)
        except Wrong as fault:
            raise Wrong(f"{number}: {fault}") from None
    return wanted


def _amount(value: object) -> float | None:
    if value is not None and not is_number(value):
        raise Wrong("must be a number")
    return value  # type: ignore[return-value]  # narrowed by is_number


def _status(value: object) -> int | None:
    for number, name in LEAD_STATUSES.items():
        if name == value:
            return number
    if value is None:
        return None
    raise Wrong("is not included in the list")


def _status_id(value: object) -> int:
    number = _one_of("status_id", LEAD_STATUSES)(value)
    if number is None:
        raise Wrong("can't be blank")
    assert isinstance(number, int)
    return number


_COMMON: dict[str, Reader] = {
    "name": _name,
    "address": _address,
    "details": optional_text,
    "phone_numbers": _points("number", _PHONES),
    "socials": _points("url", _SOCIALS),
    "websites": _points("url", _EMAILS),
    "tags": texts,
    "title": optional_text,
}
_LEADS: dict[str, Reader] = {
    "company_name": optional_text,
    "customer_source_id": _one_of("customer_source_id", CUSTOMER_SOURCES),
    "email": _email,
    "monetary_unit": optional_text,
    "monetary_value": _amount,
    "status": _status,
    "status_id": _status_id,
}
