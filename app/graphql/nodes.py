"""Global ids: what they are, and what has one.

An id is what REST knows a thing by: a UUID, which names one thing of whatever kind; and of what people name themselves
its kind and key, as in `model:engagement` and `segment:hot_leads`. So an id that came from either API does for both.
"""

from enum import StrEnum
from typing import NamedTuple, Protocol
from uuid import UUID

import strawberry

from app.errors import Fault, InvalidInput

_FORM = "expected a UUID, `model:<key>` or `segment:<key>`"


class Named(StrEnum):
    """What is known by a key."""

    MODEL = "model"
    SEGMENT = "segment"


class OfContact(Protocol):
    """What a resolver of a contact's field is given: the contact."""

    key: UUID


class NodeKey(NamedTuple):
    kind: Named
    key: str


@strawberry.interface(
    description="What has a global id: a UUID as REST knows it, or `model:<key>`, `segment:<key>`; `node` finds it."
)
class Node:
    id: strawberry.ID = strawberry.field(
        description='`"0190a7c6-1f5e-7000-8000-000000000001"` or `"model:engagement"`.'
    )


def id_of(kind: Named, key: str) -> strawberry.ID:
    return strawberry.ID(f"{kind}:{key}")


def read(said: str, at: str) -> UUID | NodeKey:
    """Raises InvalidInput for what is no id."""
    kind, colon, key = said.partition(":")
    if colon and kind in list(Named):
        return NodeKey(Named(kind), key)
    return uuid(said, Fault(at, _FORM))


def uuid(said: str, fault: Fault) -> UUID:
    """Raises InvalidInput with the fault."""
    try:
        return UUID(said)
    except ValueError:
        raise InvalidInput(fault) from None
