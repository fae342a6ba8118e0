"""Values as Salesforce has them and as the sync has them; and its messages, without anybody's data.

A choice is exchanged by its value in the API, which stays when somebody renames or translates its label.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from app.connectors.shapes import CrmField, Kind, Value

_ID = re.compile(r"[0-9A-Za-z]{15}(?:[A-Z0-5]{3})?")
_CASES = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_LONGEST_REASON = 300
# Messages that go on with the value that was refused.
_ECHOING = {
    "INVALID_EMAIL_ADDRESS", "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "INVALID_TYPE_ON_FIELD_IN_RECORD",
    "JSON_PARSER_ERROR", "MALFORMED_QUERY", "NUMBER_OUTSIDE_VALID_RANGE", "STRING_TOO_LONG",
}  # fmt: skip
_BEFORE_THE_VALUE = re.compile(
    r"^.*?(invalid email address|restricted picklist field|of required type|on numeric field|value too large"
    r"|unexpected token|instance of \w+)",
    re.DOTALL,
)
_MOST_CHARACTERS = re.compile(r"\(max length=\d+\)")
_ADDRESS = re.compile(r"[^\s:,;<>()'\"]+@[^\s:,;<>()'\"]+")
_TELLING = 4
"""Texts shorter than this are too likely to be part of a message for another reason."""


def instant(text: str) -> datetime:
    """`2026-10-20T10:00:00.000+0000` → aware, in UTC. Raises ValueError."""
    return datetime.fromisoformat(text).astimezone(UTC)


def stamp(at: datetime) -> str:
    """As SOQL takes instants, to the millisecond: `2026-10-20T10:00:00.000Z`. These sort as text."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def read(field: CrmField, raw: Any) -> Value:  # Any: JSON
    """What the API says a field holds, as `connectors/shapes.py` has values."""
    if raw is None or raw == "" or isinstance(raw, dict | list):
        return None
    match field.kind:
        case Kind.INSTANT:
            return stamp(instant(str(raw)))[:19] + "Z"
        case Kind.CHOICES:
            return sorted(str(raw).split(";"))
        case Kind.NUMBER if isinstance(raw, float) and raw.is_integer():
            return int(raw)
    value: Value = raw
    return value


def told(value: Value) -> Value:
    """A value as the API takes it."""
    if isinstance(value, list):
        return ";".join(value) or None
    return None if value == "" else value


def is_id(text: object) -> bool:
    """Whether a text is an id, in 15 characters, or in 18 of which three say which of the others are capitals.

    One that is not would spoil the whole query that it is in.
    """
    if not isinstance(text, str) or _ID.fullmatch(text) is None:
        return False
    return not text[15:] or text[15:] == "".join(_cases(text[begin : begin + 5]) for begin in (0, 5, 10))


def _cases(five: str) -> str:
    return _CASES[sum(1 << place for place, letter in enumerate(five) if letter.isupper())]


def same_id(one: object, other: object) -> bool:
    """Ids of 18 characters are those of 15, and three that check their case."""
    return isinstance(one, str) and isinstance(other, str) and one[:15] == other[:15]


def without_data(code: str, message: str, values: Iterable[object] = ()) -> str:
    """A message of the API as it may be shown and logged: without what was written, and without addresses."""
    # A fault in a query is told below the part of the query that it is in.
    text = message.rpartition("\n")[2] if "\nERROR at Row:" in message else " ".join(message.split())
    if code in _ECHOING:
        before, most = _BEFORE_THE_VALUE.search(text), _MOST_CHARACTERS.search(text)
        text = " ".join(found[0] for found in (before, most) if found)
    for value in values:
        if isinstance(value, str) and len(value) >= _TELLING:
            text = text.replace(value, "…")
    return _ADDRESS.sub("…", text)[:_LONGEST_REASON]
