"""JSON out, by orjson."""

from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
from starlette.responses import JSONResponse


class JsonResponse(JSONResponse):
    def render(self, content: Any) -> bytes:  # Any: whatever orjson can say
        return to_json(content)


def to_json(content: Any) -> bytes:  # Any: whatever orjson can say, points, asyncpg's UUIDs
    return orjson.dumps(content, default=_say, option=orjson.OPT_UTC_Z)


def _say(value: object) -> object:
    """What orjson does not know by itself: points, and asyncpg's own kind of UUID."""
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Decimal):
        return number(value)
    raise TypeError


def number(value: Decimal) -> int | float:
    """Points as a JSON number: whole where they are whole, and as near as a float where 64 bits do not hold them."""
    is_whole = abs(value) < 2**63 and value == value.to_integral_value()
    return int(value) if is_whole else float(value)
