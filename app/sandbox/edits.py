"""How `POST /_sandbox/edit` is read: the body's parts, and which act of the stand-in's own it asks for."""

from collections.abc import Callable, Mapping
from typing import Any

from app.sandbox.controls import Json, Refused

Act = Callable[[Any, Json], Json]
"""From the id, as it came, and the values to the reply. Any: JSON."""


def carry_out(acts: Mapping[tuple[str, str], Act], body: Json, refusal: type[Exception]) -> Json:
    """`{"do": ..., "object": ..., "id": ..., "values": {...}}`; the reply holds what was made or changed.

    `acts` are by what is done and to what. `refusal` is how the CRM's own code refuses. Raises Refused.
    """
    do, entity, values = body.get("do"), body.get("object"), body.get("values", {})
    act = acts.get((do, entity)) if isinstance(do, str) and isinstance(entity, str) else None
    if act is None or not isinstance(values, dict):
        known = ", ".join(f"{do} {entity}" for do, entity in acts)
        raise Refused(f"an edit has do, object, id and values; there are: {known}")
    try:
        return act(body.get("id"), values)
    except refusal as fault:
        raise Refused(str(fault)) from None


def number_of(value: object) -> int:
    """Raises Refused."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise Refused("the id of this is a number")
    return value


def text_of(body: Json, name: str) -> str:
    """Raises Refused."""
    value = body.get(name)
    if not isinstance(value, str):
        raise Refused(f"{name} is a text")
    return value


def fields_of(body: Json) -> Json:
    """Raises Refused."""
    given = body.get("fields", {})
    if not isinstance(given, dict):
        raise Refused("fields is an object")
    return given


def user_of(body: Json, users: Mapping[str, str]) -> str:
    """Who does it: `by` is one of these names, `sales` where it is left out. Raises Refused."""
    by = body.get("by", "sales")
    if not isinstance(by, str) or by not in users:
        raise Refused(f"by is one of {', '.join(users)}")
    return users[by]
