"""Values as Dataverse has them and as the sync has them; its ids; and its messages, without anybody's data.

A choice is exchanged by its number, and shown to people by a label; here it goes by its label.
"""

import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from app.connectors.shapes import Kind, Value

_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ADDRESS = re.compile(r"[^\s:,;<>()'\"]+@[^\s:,;<>()'\"]+")
_LONGEST_REASON = 300
_BITS = 2**63
_DAY = len("2026-10-20")
_TELLING = 4
"""Texts shorter than this are too likely to be part of a message for another reason."""
_TYPES: Mapping[Kind, tuple[type, ...]] = {
    Kind.TEXT: (str,), Kind.BOOLEAN: (bool,), Kind.NUMBER: (int, float), Kind.INSTANT: (str,), Kind.DAY: (str,),
    Kind.CHOICE: (str,), Kind.CHOICES: (list,),
}  # fmt: skip


class Unfit(Exception):
    """A value that the column cannot hold, whatever the environment may say of it."""


def guid(text: object) -> str | None:
    """An id in lower case; None if it is none."""
    lower = text.lower() if isinstance(text, str) else ""
    return lower if _GUID.fullmatch(lower) else None


def instant(said: object) -> datetime | None:
    """`2026-10-20T10:00:00Z` → aware, in UTC, to the second; None if it is none."""
    if not isinstance(said, str):
        return None
    try:
        at = datetime.fromisoformat(said)
    except ValueError:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC).replace(microsecond=0)


def stamp(at: datetime) -> str:
    """As filters and bodies take an instant, to the second."""
    return at.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def read(kind: Kind, raw: Any, options: Mapping[int, str]) -> Value:  # Any: JSON
    """What a column holds, as `connectors/shapes.py` has values. A number that is no option is its own digits."""
    if raw is None or raw == "":
        return None
    match kind:
        case Kind.INSTANT | Kind.DAY:
            # What is a day says itself, also where it is not described in full.
            at = instant(raw)
            return str(raw) if at is None or len(str(raw)) == _DAY else stamp(at)
        case Kind.CHOICE:
            return options.get(raw, str(raw))
        case Kind.CHOICES:
            numbers = [int(one) for one in str(raw).split(",") if one.strip().lstrip("-").isdigit()]
            return sorted(options.get(one, str(one)) for one in numbers)
        case Kind.NUMBER if isinstance(raw, float) and raw.is_integer():
            return int(raw)
    value: Value = raw
    return value


def tell(kind: Kind, value: Value, options: Mapping[int, str], *, is_whole: bool = False) -> Any:  # Any: JSON
    """A value as a body has it. `is_whole`: a column for whole numbers alone. Raises Unfit."""
    if value is None or value == "":
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number != (kind is Kind.NUMBER) or not isinstance(value, _TYPES.get(kind, ())):
        raise Unfit
    match kind, value:
        case _, int() if abs(value) >= _BITS:
            raise Unfit
        case _, str() if not value.isascii() and not _is_text(value):
            raise Unfit
        case Kind.NUMBER, float() if not math.isfinite(value) or (is_whole and not value.is_integer()):
            raise Unfit
        case Kind.NUMBER, float() if is_whole:
            return tell(kind, int(value), options)
        case ((Kind.INSTANT | Kind.DAY), str()):
            return _moment(kind, value)
        case Kind.CHOICE, str():
            return _option(options, value)
        case Kind.CHOICES, list():
            return ",".join(str(_option(options, one)) for one in value) or None
    return value


def _is_text(value: str) -> bool:
    """Whether it can be sent at all: halves of a pair cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _moment(kind: Kind, value: str) -> str:
    at = instant(value)
    if at is None or (kind is Kind.DAY and len(value) != _DAY):
        raise Unfit
    return value


def _option(options: Mapping[int, str], label: str) -> int:
    for number, known in options.items():
        if known == label:
            return number
    raise Unfit


def without_data(message: str, values: Iterable[str] = ()) -> str:
    """A message as it may be shown and logged: without what was written, and without addresses."""
    text = " ".join(message.split())
    for value in values:
        if len(value) >= _TELLING:
            text = text.replace(" ".join(value.split()), "…")
    return _ADDRESS.sub("…", text)[:_LONGEST_REASON]
