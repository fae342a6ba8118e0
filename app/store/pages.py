"""Keyset pages: a cursor names the last row seen, so that a page costs the same however deep, and none is lost."""

import base64
import binascii
from typing import Any

import orjson

from app.errors import Fault, InvalidInput


def encode(*place: Any) -> str:  # Any: whatever orders the list, as JSON can say it
    return base64.urlsafe_b64encode(orjson.dumps(place)).decode().rstrip("=")


def decode(cursor: str, length: int) -> list[Any]:  # Any: as in encode
    """The place a cursor names. Raises InvalidInput if it is not one of ours."""
    try:
        place = orjson.loads(base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError, UnicodeEncodeError):
        place = None
    if not isinstance(place, list) or len(place) != length:
        raise InvalidInput(bad_cursor())
    return place


def bad_cursor() -> Fault:
    return Fault("/cursor", "not a cursor of this list; take 'next_cursor' of the page before, unchanged")
