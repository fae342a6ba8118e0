"""How many events there were, by type, source or day."""

from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Annotated

import strawberry

from app.errors import Fault, InvalidInput, TooLarge
from app.graphql.comparisons import words
from app.graphql.context import Info
from app.graphql.fields import choices
from app.graphql.moves import MAX_DAYS, window_of
from app.graphql.nodes import uuid
from app.store import event_counts as stored
from app.store.event_counts import MOST, Dimension, EventFilter

_DAYS = 30


@choices("What events are counted by.", TYPE="Their type.", SOURCE="Who sent them.", DAY="The UTC day they occurred.")
class EventDimension(StrEnum):
    TYPE = "type"
    SOURCE = "source"
    DAY = "day"


@strawberry.input(description='Which events: `{since: "2026-11-01T00:00:00Z", types: ["email.opened"], human: true}`.')
class EventCountFilter:
    since: datetime | None = strawberry.field(
        default=None,
        description=f'They occurred then or later: `"2026-11-01T00:00:00Z"`. Null: {_DAYS} days before `until`.',
    )
    until: datetime | None = strawberry.field(
        default=None, description=f"They occurred earlier; at most {MAX_DAYS} days after `since`. Null: now."
    )
    types: list[str] | None = strawberry.field(
        default=None, description='Of one of these types, as they are written: `["email.opened"]`.'
    )
    sources: list[str] | None = strawberry.field(
        default=None, description='From one of these sources, as they are written: `["sendgrid"]`.'
    )
    contact: strawberry.ID | None = strawberry.field(default=None, description="Of this contact: a UUID.")
    human: bool | None = strawberry.field(
        default=None, description="Openings and clicks by a human (`true`), or by a scanner or a proxy (`false`)."
    )


@strawberry.type(description="How many events are alike in all that they are counted by.")
class EventCount:
    type: str | None = strawberry.field(description="Their type. Null: they are not counted by type.")
    source: str | None = strawberry.field(description="Who sent them. Null: they are not counted by source.")
    day: date | None = strawberry.field(description="The UTC day. Null: they are not counted by day.")
    count: int = strawberry.field(description="How many.")


GroupBy = Annotated[
    list[EventDimension],
    strawberry.argument(description="What to count by: `[DAY, TYPE]`. Empty: all together."),
]
Which = Annotated[
    EventCountFilter | None,
    strawberry.argument(description=f"Which events. Null: those of the last {_DAYS} days."),
]


async def event_counts(info: Info, group_by: GroupBy, filter: Which = None) -> list[EventCount]:  # noqa: A002 - as above
    """Raises InvalidInput for a window that is empty or too long; TooLarge for more than `MOST` groups."""
    said = filter or EventCountFilter()
    until = info.context.load.now if said.until is None else said.until
    try:
        since = until - timedelta(days=_DAYS) if said.since is None else said.since
    except OverflowError:
        raise InvalidInput(Fault("/filter/until", "expected a moment between the years 1 and 9999")) from None
    wanted = EventFilter(
        *window_of(since, until, MAX_DAYS, "/filter/since"),
        types=None if said.types is None else words(said.types, "/filter/types"),
        sources=None if said.sources is None else words(said.sources, "/filter/sources"),
        contact=None if said.contact is None else uuid(said.contact, Fault("/filter/contact", "not a UUID")),
        human=said.human,
    )
    by = tuple(Dimension(one.value) for one in dict.fromkeys(group_by))
    async with info.context.load.reading() as db:
        found = await stored.counts(db, wanted, by)
    if len(found) > MOST:
        raise TooLarge(f"this makes more than {MOST:,} groups; count by less, or of fewer events")
    info.context.budget.spend(len(found))
    return [EventCount(type=one.type, source=one.source, day=one.day, count=one.number) for one in found]
