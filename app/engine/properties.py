"""Properties of events and contacts: any JSON that Postgres can hold, within bounds."""

from math import isfinite
from typing import Any

import orjson

from app.engine.conditions import is_clean

MAX_BYTES = 64_000
MAX_DEPTH = 20
_MAX_INT = 2**63


def check_properties(properties: dict[str, Any], depth: int = 1) -> None:
    """Raises ValueError with a sentence that names the place."""
    for key, value in properties.items():
        if not is_clean(key):
            raise ValueError("a property's name holds a NUL, or is too long")
        _check(value, key, depth)


def to_text(properties: dict[str, Any]) -> str:
    """Properties as JSON text that Postgres can hold. Raises ValueError with a sentence that names the place."""
    try:
        text = orjson.dumps(properties)
    except TypeError:  # a number beyond 64 bits, half of a surrogate pair, or too deep: find out which
        check_properties(properties)
        raise ValueError("the properties are more than JSON can say here") from None
    if len(text) > MAX_BYTES:
        raise ValueError(f"the properties take {len(text)} bytes; {MAX_BYTES} are the most")
    # Looking at each value costs more than writing them all; what could be wrong shows in the text first. A number
    # that is not finite is written as null.
    if b"null" in text or b"\\u" in text or text.count(b"{") + text.count(b"[") > MAX_DEPTH:
        check_properties(properties)
    return text.decode()


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check(value: Any, place: str, depth: int) -> None:
    if isinstance(value, str):
        if "\x00" in value or not _is_encodable(value):
            raise ValueError(f"the text of {place!r} holds a NUL, or half of a surrogate pair")
    elif isinstance(value, float):
        if not isfinite(value):
            raise ValueError(f"the number of {place!r} is not finite")
    elif isinstance(value, int):
        if not -_MAX_INT <= value < _MAX_INT:
            raise ValueError(f"the number of {place!r} is beyond 64 bits")
    elif isinstance(value, list | dict):
        if depth == MAX_DEPTH:
            raise ValueError(f"{place!r} is nested deeper than {MAX_DEPTH}")
        if isinstance(value, dict):
            check_properties(value, depth + 1)
        else:
            for one in value:
                _check(one, place, depth + 1)
