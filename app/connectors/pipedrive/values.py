"""Values of a person's fields, to and from the wire, by the type of the field. Pure.

Custom fields are named by their keys of 40 hexadecimal digits; the others by names of ours in `BUILT_IN`. A choice is
the id of an option on the wire and its label here. Source: OpenAPI document of the second version, August 2026.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from app.connectors.pipedrive.calls import Json
from app.connectors.pipedrive.walking import text_of, time_of
from app.connectors.shapes import Kind, Value, Values

EMAIL, PHONE, NAME, LABELS, MARKETING_STATUS = "email", "phone", "name", "label_ids", "marketing_status"
ADDED = "add_time"

BUILT_IN: Mapping[str, tuple[str, str, Kind, bool]] = {
    NAME: (NAME, "Name", Kind.TEXT, True),
    "first_name": ("first_name", "First name", Kind.TEXT, False),
    "last_name": ("last_name", "Last name", Kind.TEXT, False),
    EMAIL: ("emails", "Email", Kind.TEXT, False),
    PHONE: ("phones", "Phone", Kind.TEXT, False),
    LABELS: (LABELS, "Labels", Kind.CHOICES, True),
    MARKETING_STATUS: (MARKETING_STATUS, "Marketing status", Kind.CHOICE, True),
    ADDED: (ADDED, "Person created", Kind.INSTANT, False),
}
"""By our name: Pipedrive's, a label, what it holds, whether it can be written. Of addresses and phones the primary."""

STATUSES = ("no_consent", "subscribed", "unsubscribed", "archived")
"""What the API takes as marketing status. People in Pipedrive also see others, such as `bounced`."""

_KINDS = {
    "varchar": Kind.TEXT,
    "varchar_auto": Kind.TEXT,
    "phone": Kind.TEXT,
    "text": Kind.TEXT,
    "double": Kind.NUMBER,
    "monetary": Kind.NUMBER,
    "date": Kind.DAY,
    "enum": Kind.CHOICE,
    "set": Kind.CHOICES,
}
_LONGEST = {"varchar": 255, "varchar_auto": 255, "phone": 255, "text": 65_000}


class Listed(NamedTuple):
    """A field as Pipedrive lists it."""

    code: str
    label: str
    type: str
    is_custom: bool
    options: Mapping[str, str] = {}
    """The label of each option by its id as text: the ids of custom fields are numbers."""

    @property
    def kind(self) -> Kind:
        return _KINDS.get(self.type, Kind.OTHER)

    @property
    def is_writable(self) -> bool:
        """An amount of money would need its currency."""
        return self.kind is not Kind.OTHER and self.type != "monetary"

    @property
    def max_length(self) -> int | None:
        return _LONGEST.get(self.type)

    @classmethod
    def of(cls, row: Json) -> "Listed":
        options = {
            str(one["id"]): str(one["label"])
            for one in row.get("options") or ()
            if isinstance(one, dict) and one.get("id") is not None and one.get("label") is not None
        }
        return cls(
            str(row.get("field_code")),
            str(row.get("field_name")),
            str(row.get("field_type")),
            row.get("is_custom_field") is True,
            options,
        )


Listing = Mapping[str, Listed]
"""By code."""


class Unfit(Exception):
    """A value that the field cannot hold, told by its code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def custom(names: Iterable[str]) -> list[str]:
    """Those that are no built-in ones."""
    return [name for name in names if name not in BUILT_IN]


# --- from the wire ----------------------------------------------------------------------------------------------------


def addresses(row: Json) -> tuple[str, ...]:
    """All of a person's, the primary one first."""
    return _points(row.get("emails"))


def read(row: Json, names: Iterable[str], listing: Listing, shown: Iterable[str]) -> dict[str, Value]:
    """These fields of a person. `shown`: the custom ones that there are, though a person may have no value in them;
    what is neither there nor shown is left out."""
    given = row.get("custom_fields")
    given = given if isinstance(given, dict) else {}
    there = set(shown)
    found: dict[str, Value] = {}
    for name in names:
        if name in BUILT_IN:
            if BUILT_IN[name][0] in row:
                found[name] = _built_in(row, name, listing)
        elif given.get(name) is not None:
            if name in listing:
                found[name] = _custom(listing[name], given[name])
        elif name in given or name in there:
            found[name] = None
    return found


def is_unknown(row: Json, names: Iterable[str], listing: Listing) -> bool:
    """Whether a person holds a value among these fields that this listing cannot tell."""
    given = row.get("custom_fields")
    values = dict(given) if isinstance(given, dict) else {}
    values[LABELS] = row.get(LABELS)
    for name in names:
        value, field = values.get(name), listing.get(name)
        if value in (None, []):
            continue
        if field is None:
            return True
        if field.kind in (Kind.CHOICE, Kind.CHOICES):
            ids = value if isinstance(value, list) else [value]
            if any(str(one) not in field.options for one in ids):
                return True
    return False


def _built_in(row: Json, name: str, listing: Listing) -> Value:
    value = row[BUILT_IN[name][0]]
    match name:
        case "email" | "phone":
            return next(iter(_points(value)), None)
        case "label_ids":
            options = listing[LABELS].options if LABELS in listing else {}
            return _labels(options, value)
        case "add_time":
            at = time_of(row, ADDED)
            return None if at is None else text_of(at)
    return None if value is None else str(value)


def _custom(field: Listed, value: object) -> Value:
    """A choice whose option is no more is told by its id."""
    if field.type == "monetary":
        value = value.get("value") if isinstance(value, dict) else value
    match field.kind:
        case Kind.NUMBER:
            return value if isinstance(value, int | float) else None
        case Kind.CHOICE:
            return field.options.get(str(value), str(value))
        case Kind.CHOICES:
            return _labels(field.options, value)
        case Kind.DAY:
            return str(value)[:10]
        case Kind.TEXT:
            return str(value)
    return None


def _labels(options: Mapping[str, str], ids: object) -> list[str] | None:
    if not isinstance(ids, list) or not ids:
        return None
    return sorted(options.get(str(one), str(one)) for one in ids)


def _points(given: object) -> tuple[str, ...]:
    points = [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
    points.sort(key=lambda one: one.get("primary") is not True)
    texts = (one.get("value") for one in points)
    return tuple(dict.fromkeys(text for text in texts if isinstance(text, str) and text))


# --- to the wire ------------------------------------------------------------------------------------------------------


def body(values: Values, listing: Listing) -> Json:
    """What a call says to set these fields. Raises Unfit, of the first that cannot be."""
    built_in = {name: _told_built_in(name, value, listing) for name, value in values.items() if name in BUILT_IN}
    told = {name: _told(name, value, listing) for name, value in values.items() if name not in BUILT_IN}
    return {**built_in, **({"custom_fields": told} if told else {})}


def _told_built_in(name: str, value: Value, listing: Listing) -> object:
    if not BUILT_IN[name][3] or (name == NAME and not value):
        raise Unfit(name)
    if name == LABELS:
        # Unlike a custom field, it is cleared by an empty list.
        options = listing[LABELS].options if LABELS in listing else {}
        return _ids(name, options, value)
    # Nobody has none: without one, no consent was given.
    return STATUSES[0] if name == MARKETING_STATUS and value is None else value


def _told(name: str, value: Value, listing: Listing) -> object:
    if name not in listing or not listing[name].is_writable:
        raise Unfit(name)
    field = listing[name]
    if value is None:
        return None
    match field.kind:
        case Kind.CHOICE:
            return _ids(name, field.options, [str(value)])[0]
        case Kind.CHOICES:
            return _ids(name, field.options, value) or None
        case Kind.NUMBER:
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise Unfit(name)
            return value
    if isinstance(value, list):
        raise Unfit(name)
    return str(value)


def _ids(name: str, options: Mapping[str, str], value: Value) -> list[int | str]:
    """The ids of labels, whose case may be another. Of two options with one label the first is meant."""
    exact = {label: id_ for id_, label in reversed(list(options.items()))}
    folded = {label.casefold(): id_ for id_, label in reversed(list(options.items()))}
    labels = value if isinstance(value, list) else [] if value is None else [str(value)]
    ids: dict[int | str, None] = {}
    for label in labels:
        id_ = exact.get(label) or folded.get(label.casefold())
        if id_ is None:
            raise Unfit(name)
        ids[int(id_) if id_.isdigit() else id_] = None
    return list(ids)
