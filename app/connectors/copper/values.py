"""Values of a person's or a lead's fields, to and from the wire, by the type of the field. Pure.

A choice is the id of an option on the wire and its label here. Unset custom fields are listed as null. Source:
"People", "Leads" and "Custom Fields" of Copper's Postman collection, and its best practices, August 2026.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from math import isfinite
from typing import Any

from app.connectors.copper.calls import Json, is_id
from app.connectors.copper.listed import BUILT_IN, CUSTOM, EMAIL, NAME, BuiltIn, Listed, Listing
from app.connectors.copper.walking import instant
from app.connectors.shapes import Kind, Value, Values

_WHOLE = 2**53


class Unfit(Exception):
    """A value that the field cannot hold, told by its name."""

    def __init__(self, name: str, *, is_unlisted: bool = False) -> None:
        super().__init__(name)
        self.name = name
        self.is_unlisted = is_unlisted
        """Whether a newer list of the fields may know it."""


# --- from the wire ----------------------------------------------------------------------------------------------------


def addresses(row: Json) -> tuple[str, ...]:
    """All of a person's, in their order, for none is marked as the primary one; or a lead's only one."""
    return tuple(dict.fromkeys(_points([row.get("email")], "email") + _points(row.get("emails"), "email")))


def held(row: Json) -> dict[str, Any]:  # Any: JSON
    """The custom fields that a row shows, by their names."""
    given = row.get("custom_fields")
    fields = [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
    return {f"{CUSTOM}{one.get('custom_field_definition_id')}": one.get("value") for one in fields}


def read(row: Json, object_: str, names: Iterable[str], listing: Listing, shown: Iterable[str]) -> dict[str, Value]:
    """These fields of a record. `shown`: the custom ones that there are, though a record may not show them; what is
    neither there nor shown is left out."""
    given, there = held(row), set(shown)
    found: dict[str, Value] = {}
    for name in names:
        if name in BUILT_IN[object_]:
            found[name] = _built_in(row, BUILT_IN[object_][name], listing.get(name))
        elif given.get(name) not in (None, []):
            if name in listing:
                found[name] = _custom(listing[name], given[name])
        elif name in given or name in there:
            found[name] = None
    return found


def is_unknown(row: Json, object_: str, names: Iterable[str], listing: Listing) -> bool:
    """Whether a record holds a value among these fields that this listing cannot tell."""
    given = held(row)
    for name in names:
        value = row.get(BUILT_IN[object_][name].wire) if name in BUILT_IN[object_] else given.get(name)
        if value in (None, []):
            continue
        if name not in listing:
            return True
        if listing[name].kind in (Kind.CHOICE, Kind.CHOICES):
            ids = value if isinstance(value, list) else [value]
            if any(str(one) not in listing[name].options for one in ids):
                return True
    return False


def _built_in(row: Json, field: BuiltIn, listed: Listed | None) -> Value:
    first, _, part = field.wire.partition(".")
    value = row.get(first)
    if part:
        value = value.get(part) if isinstance(value, dict) else None
    if field.wire == EMAIL:
        return next(iter(addresses(row)), None)
    if field.wire == "phone_numbers":
        return next(iter(_points(value, "number")), None)
    match field.kind:
        case Kind.INSTANT:
            at = instant(row, field.wire)
            return None if at is None else at.strftime("%Y-%m-%dT%H:%M:%SZ")
        case Kind.NUMBER:
            return _number(value)
        case Kind.CHOICES:
            return sorted(str(one) for one in value) or None if isinstance(value, list) else None
        case Kind.CHOICE:
            return None if value is None else (listed.options if listed else {}).get(str(value), str(value))
    return None if value in (None, "") else str(value)


def _custom(field: Listed, value: object) -> Value:
    """A choice whose option is no more is told by its id."""
    match field.kind:
        case Kind.NUMBER:
            return _number(value)
        case Kind.BOOLEAN:
            return value if isinstance(value, bool) else None
        case Kind.CHOICE:
            return field.options.get(str(value), str(value))
        case Kind.CHOICES:
            ids = value if isinstance(value, list) else [value]
            return sorted(field.options.get(str(one), str(one)) for one in ids)
        case Kind.DAY:
            return _day(value)
        case Kind.TEXT:
            return str(value) or None
    return None


def _number(value: object) -> Value:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < _WHOLE else value


def _day(value: object) -> str | None:
    """A day is told as its midnight where the account is, wherever that may be; or as it is written."""
    if isinstance(value, str):
        try:
            return datetime.strptime(value, "%m/%d/%Y").replace(tzinfo=UTC).date().isoformat()
        except ValueError:
            return None
    if not is_id(value):
        return None
    try:
        return (datetime(1970, 1, 1, 12, tzinfo=UTC) + timedelta(seconds=value)).date().isoformat()
    except OverflowError:
        return None


def _points(given: object, part: str) -> list[str]:
    points = given if isinstance(given, list) else []
    texts = (one.get(part) for one in points if isinstance(one, dict))
    return [text for text in texts if isinstance(text, str) and text]


# --- to the wire ------------------------------------------------------------------------------------------------------


def body(values: Values, object_: str, listing: Listing) -> Json:
    """What a call says to set these fields, and no others. Raises Unfit, of the first that cannot be."""
    told: Json = {}
    fields = []
    for name, value in values.items():
        if name in BUILT_IN[object_]:
            told[BUILT_IN[object_][name].wire] = _told_built_in(name, BUILT_IN[object_][name], value, listing)
        else:
            field = listing.get(name)
            if field is None or not field.is_custom or object_ not in field.objects:
                raise Unfit(name, is_unlisted=True)
            fields.append({"custom_field_definition_id": field.id, "value": _told(field, value)})
    return {**told, **({"custom_fields": fields} if fields else {})}


def _told_built_in(name: str, field: BuiltIn, value: Value, listing: Listing) -> object:
    if not field.is_writable or (name == NAME and not value):
        raise Unfit(name)
    if field.kind is Kind.CHOICES:
        return value if isinstance(value, list) else [] if value is None else [str(value)]
    if value is None:
        return None
    if field.kind is Kind.CHOICE:
        return _ids(name, listing[name].options if name in listing else {}, [str(value)])[0]
    if field.kind is Kind.NUMBER:
        return _told_number(name, value)
    return _told_text(name, value, None)


def _told(field: Listed, value: Value) -> object:
    if value is None:
        return None
    match field.kind:
        case Kind.CHOICE:
            return _ids(field.name, field.options, [str(value)])[0]
        case Kind.CHOICES:
            return _ids(field.name, field.options, value if isinstance(value, list) else [str(value)]) or None
        case Kind.NUMBER:
            number = _told_number(field.name, value)
            return round(number) if field.places == 0 else number
        case Kind.BOOLEAN:
            if not isinstance(value, bool):
                raise Unfit(field.name)
            return value
        case Kind.DAY:
            return _told_day(field.name, value)
        case Kind.TEXT:
            return _told_text(field.name, value, field.max_length)
    raise Unfit(field.name)


def _told_number(name: str, value: Value) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise Unfit(name)
    return value


def _told_day(name: str, value: Value) -> str:
    """As Copper's best practices have it; a time would be another day elsewhere."""
    try:
        return date.fromisoformat(str(value)[:10]).strftime("%m/%d/%Y")
    except ValueError:
        raise Unfit(name) from None


def _told_text(name: str, value: Value, most: int | None) -> str:
    if isinstance(value, list) or (most is not None and len(str(value)) > most):
        raise Unfit(name)
    return str(value)


def _ids(name: str, options: Mapping[str, str], labels: Iterable[str]) -> list[int | str]:
    """The ids of labels, whose case may be another. Of two options with one label the first is meant."""
    exact = {label: id_ for id_, label in reversed(list(options.items()))}
    folded = {label.casefold(): id_ for id_, label in reversed(list(options.items()))}
    ids: dict[int | str, None] = {}
    for label in labels:
        id_ = exact.get(label) or folded.get(label.casefold())
        if id_ is None:
            raise Unfit(name, is_unlisted=True)
        ids[int(id_) if id_.isdigit() else id_] = None
    return list(ids)
