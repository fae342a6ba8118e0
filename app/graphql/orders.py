"""In what order contacts come, and the cursors that say how far one has read in it."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import strawberry

from app.errors import Fault, InvalidInput
from app.graphql.catalog import Catalog
from app.graphql.fields import choices
from app.store import pages
from app.store.contact_pages import MAYBE_NEVER, TEXTS, By, Key, Place, Value

_MAX_KEYS = 5
_LONGEST = 8_000
"""Characters of a cursor: five texts of 200, as JSON and that in Base64, are fewer."""
_NUMBER = re.compile(r"-?[0-9]{1,60}(\.[0-9]{1,30})?", re.ASCII)


@choices(
    "Which end comes first.",
    ASC="The lowest or oldest first; contacts that have no value before all.",
    DESC="The highest or newest first; contacts that have no value after all.",
)
class Direction(StrEnum):
    ASC = "asc"
    DESC = "desc"


@strawberry.input(description='By the score in one model: `{model: "engagement", direction: DESC}`.')
class ScoreOrder:
    model: str = strawberry.field(description='The key of a scoring model: `"engagement"`.')
    direction: Direction = strawberry.field(default=Direction.DESC, description="Which end comes first.")


_SCAN = "Has no index: reads all that match the filter."


@strawberry.input(
    one_of=True,
    description='One key to order by: `{score: {model: "engagement"}}`, `{lastEventAt: DESC}` or `{createdAt: ASC}`. '
    "These three, as the first key, are read along an index, so that a page costs the same however deep it lies. Any "
    "other first key reads all contacts that match the filter: seconds for a million, and refused as `unavailable` if "
    "it takes too long.",
)
class ContactOrder:
    score: ScoreOrder | None = strawberry.field(
        default=strawberry.UNSET, description="By a score. No score lies below all scores."
    )
    last_event_at: Direction | None = strawberry.field(
        default=strawberry.UNSET, description="By the newest event. No event yet lies before all events."
    )
    created_at: Direction | None = strawberry.field(
        default=strawberry.UNSET, description="By when the contact was made here."
    )
    updated_at: Direction | None = strawberry.field(
        default=strawberry.UNSET, description=f"By when something of the contact, not its events, last changed. {_SCAN}"
    )
    bounced_at: Direction | None = strawberry.field(
        default=strawberry.UNSET,
        description="By when the bounce that counts happened. Not bounced lies before all bounces. Has no index: reads "
        "all that match the filter, and with `bounced: true` those that bounced.",
    )
    opted_out_at: Direction | None = strawberry.field(
        default=strawberry.UNSET,
        description=f"By when consent was last given or withdrawn. Never lies before all. {_SCAN}",
    )
    email: Direction | None = strawberry.field(
        default=strawberry.UNSET, description=f"By the address; none is as the empty text. {_SCAN}"
    )
    name: Direction | None = strawberry.field(
        default=strawberry.UNSET,
        description=f"By the name in small letters, by code points; none is as the empty text. {_SCAN}",
    )
    stage: Direction | None = strawberry.field(
        default=strawberry.UNSET,
        description=f"By the stage in small letters, by code points; none is as the empty text. {_SCAN}",
    )


_COLUMNS = {
    "last_event_at": (By.LAST_EVENT, "lastEventAt"),
    "created_at": (By.CREATED, "createdAt"),
    "updated_at": (By.UPDATED, "updatedAt"),
    "bounced_at": (By.BOUNCED, "bouncedAt"),
    "opted_out_at": (By.OPTED_OUT, "optedOutAt"),
    "email": (By.EMAIL, "email"),
    "name": (By.NAME, "name"),
    "stage": (By.STAGE, "stage"),
}
"""What each is in the store, and in cursors."""

OrderArgument = Annotated[
    list[ContactOrder] | None,
    strawberry.argument(
        description=(
            "The first key that tells two contacts apart decides; the id, if none does. "
            f"At most {_MAX_KEYS}. Null or empty: `[{{createdAt: DESC}}]`."
        )
    ),
]


@dataclass(frozen=True)
class Order:
    """The keys, and what they are called in cursors."""

    keys: tuple[Key, ...]
    name: str


def read(said: list[ContactOrder] | None, catalog: Catalog) -> Order:
    """Raises InvalidInput for an unknown model, too many keys, or an element that has not exactly one."""
    if not said:
        return Order((Key(By.CREATED, descending=True),), "createdAt:desc")
    if len(said) > _MAX_KEYS:
        raise InvalidInput(Fault("/orderBy", f"at most {_MAX_KEYS} keys"))
    keys: list[Key] = []
    names: list[str] = []
    for number, one in enumerate(said):
        if one.score:
            model = catalog.named(one.score.model, f"/orderBy/{number}/score/model")
            keys.append(Key(By.SCORE, one.score.direction is Direction.DESC, model.id))
            names.append(f"score.{model.key}:{one.score.direction.value}")
            continue
        said_columns = [(name, direction) for name in _COLUMNS if (direction := getattr(one, name))]
        if not said_columns:
            raise InvalidInput(Fault(f"/orderBy/{number}", "give exactly one key"))
        [(name, direction)] = said_columns
        by, shown = _COLUMNS[name]
        keys.append(Key(by, direction is Direction.DESC))
        names.append(f"{shown}:{direction.value}")
    return Order(tuple(keys), ",".join(names))


def cursor(place: Place, order: Order) -> str:
    """Opaque to clients: the order, the value of each key as exact text, and the id."""
    return pages.encode(order.name, [_said(value) for value in place.values], str(place.id))


def place_of(said: str | None, order: Order, pointer: str) -> Place | None:
    """Where a cursor points. Raises InvalidInput if it is not one of ours, or of another order."""
    if said is None:
        return None
    malformed = InvalidInput(Fault(pointer, "not a cursor; take one from 'pageInfo' or 'edges', unchanged"))
    try:
        name, values, contact = pages.decode(said[:_LONGEST], 3)
    except InvalidInput:
        raise malformed from None
    if not isinstance(name, str) or not isinstance(values, list) or not isinstance(contact, str):
        raise malformed
    if name != order.name:
        raise InvalidInput(Fault(pointer, f"this cursor is of the order {name!r:.200}, not {order.name!r}"))
    try:
        pairs = zip(values, order.keys, strict=True)
        return Place(tuple(_value(value, key.by) for value, key in pairs), UUID(contact))
    except (ValueError, OverflowError):
        raise malformed from None


def _said(value: Value) -> str | None:
    if isinstance(value, Decimal):
        return f"{value:f}"
    return value if value is None or isinstance(value, str) else value.astimezone(UTC).isoformat()


def _value(said: object, by: By) -> Value:
    """Raises ValueError or OverflowError."""
    if said is None and (by is By.SCORE or by in MAYBE_NEVER):
        return None
    if not isinstance(said, str) or "\0" in said:
        raise ValueError
    if by in TEXTS:
        return said
    if by is not By.SCORE:
        instant = datetime.fromisoformat(said)
        if instant.tzinfo is None:
            raise ValueError
        return instant.astimezone(UTC)
    if not _NUMBER.fullmatch(said):
        raise ValueError
    return Decimal(said)
