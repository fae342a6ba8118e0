"""RudderStack's SDKs: the calls are Segment's, the limits and the refusals are RudderStack's server's.

Source: the source of rudder-server's gateway and of its SDKs, read 2026-11-22.
"""

from typing import Any

from app.esp import wire
from app.sources import tracking
from app.sources.shapes import Reading, Request

MAX_BODY = 4_000 * 1024
_MAX_BATCH = 5_000


def read(request: Request) -> list[Reading]:
    """The events of a request. No call is too large here by itself; what its event may hold is bounded elsewhere."""
    return tracking.read_within(request, max_call=MAX_BODY, max_batch=_MAX_BATCH)


def wrong_with(said: Any, name: str | None) -> str | None:  # Any: JSON
    """Why a whole request is refused, None if it is not. `name` is its call, None for a batch.

    Their server refuses a batch for one call that names nobody, and their SDKs show that to the developer.
    """
    if not isinstance(said, dict):
        return "the body is not an object"
    calls = [said] if name is not None else said.get("batch")
    if not isinstance(calls, list) or not calls:
        return "the batch is empty"
    for call in map(wire.part, calls):
        is_named = any(wire.text(call.get(key)) for key in ("anonymousId", "userId"))
        if not is_named and "mergeProperties" not in call:
            return "a call has neither anonymousId nor userId"
    return None
