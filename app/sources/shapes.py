"""What a kind of source gives back for a call: the events that it makes of the raw body.

E-mail providers speak `app.esp.shapes`; tracking calls and CloudEvents, which know more of a person, speak `Item`.
Both are read by the inbox from the raw call as it was kept, and may be read again after a fix.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from app.esp.shapes import Request, Unread, Visit


@dataclass(frozen=True)
class Item:
    """One event of one person, in our vocabulary. At least one of `email`, `user_id` and `anonymous_id` is given.

    What is not fit to be stored (a type that is no dotted name, an address that is none, properties beyond bounds)
    may be given all the same: `reading` rejects this item alone, with a fault at `pointer`.
    """

    type: str
    id: str | None
    """The same for a redelivery, and for nothing else of this source. None: the event is known by its content, which
    holds if `occurred_at` is given; without both by its place in the raw body."""
    occurred_at: datetime | None
    """With a zone; None: when the call came in. Later than that by more than a little, it is set to that."""
    properties: dict[str, Any] = field(default_factory=dict)  # Any: JSON
    email: str | None = None
    """As sent; it is normalised by whoever stores it."""
    user_id: str | None = None
    anonymous_id: str | None = None
    pointer: str = ""
    """Where in the body it stands, as a JSON pointer."""


Reading: TypeAlias = Item | Unread | Visit

Read: TypeAlias = Callable[[Request], Sequence[Reading]]
"""A kind's reader: pure, and never raises, whatever the request holds."""

__all__ = ["Item", "Read", "Reading", "Request", "Unread", "Visit"]
