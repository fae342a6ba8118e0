"""A contact's timeline: events, changes of scores and flags, and notes of the sync, in one order."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import strawberry

from app.engine.flags import DELIVERED, NEW_ADDRESS
from app.errors import Fault, InvalidInput
from app.graphql.catalog import Catalog
from app.graphql.changes import ScoreChange
from app.graphql.context import Info
from app.graphql.events import Event
from app.graphql.fields import choices
from app.graphql.loaders import Loaders
from app.graphql.nodes import OfContact
from app.graphql.relay import After, Before, Connection, First, Last, connection, window
from app.store import pages, timelines
from app.store.graph import EventRow
from app.store.score_changes import ChangeRow
from app.store.timelines import Item, Kind, Place, Stretch


@choices(
    "What a timeline holds.",
    EVENT="What the contact did, or what happened to them.",
    SCORE="A score changed.",
    FLAG="`optedOut` or `bounced` changed, or why it is what it is.",
    SYNC="A record in a CRM came to be this contact, or does not take a field as we say it.",
)
class TimelineKind(StrEnum):
    EVENT = "event"
    SCORE = "score"
    FLAG = "flag"
    SYNC = "sync"


@choices("One of the two flags.", OPTED_OUT="The person does not want mail.", BOUNCED="The address takes no mail.")
class Flag(StrEnum):
    OPTED_OUT = "opted_out"
    BOUNCED = "bounced"


@strawberry.interface(description="Something that happened to a contact.")
class TimelineItem:
    at: datetime = strawberry.field(description="When: of an event, when it occurred; else, when it was known here.")
    kind: TimelineKind = strawberry.field(description="What it is.")


@strawberry.type(description="An event in a timeline.")
class TimelineEvent(TimelineItem):
    event: Event = strawberry.field(description="The event.")


@strawberry.type(description="A change of a score in a timeline.")
class TimelineScore(TimelineItem):
    change: ScoreChange = strawberry.field(description="The change.")


@strawberry.type(description="A change of a flag in a timeline.")
class TimelineFlag(TimelineItem):
    flag: Flag = strawberry.field(description="Which flag.")
    value: bool = strawberry.field(description="Whether it is set since then.")
    happened_at: datetime | None = strawberry.field(
        description="When what it says happened. Null: a bounce ended by itself."
    )
    reason: str | None = strawberry.field(
        description="Of `OPTED_OUT`: `unsubscribed`, `complained`, `resubscribed`, `manual`. Of `BOUNCED`: "
        "`hard_bounce`, `soft_bounces`, `suppressed`, `manual`; where it ended by itself, `new_address` or `delivered`."
    )
    by: str | None = strawberry.field(description="The source of the event, or the API key, that said so.")


@strawberry.type(description="A note of the sync in a timeline.")
class TimelineSync(TimelineItem):
    connection: str = strawberry.field(description="The connection's name.")
    connection_id: strawberry.ID = strawberry.field(description="The connection's id, a UUID.")
    object: str = strawberry.field(description="As the CRM calls it: `Contact`, `Lead`, `person`.")
    record: str = strawberry.field(description="The record's id in the CRM.")
    field: str | None = strawberry.field(
        description="The field that the CRM does not take, by its name there. Null: the record came to be known."
    )
    code: str | None = strawberry.field(description="The CRM's own code, `kept_otherwise` or `changed_back`.")
    reason: str | None = strawberry.field(description="Why the CRM does not take the field, in words.")


Kinds = Annotated[
    list[TimelineKind] | None,
    strawberry.argument(description="Only of these kinds: `[EVENT, FLAG]`. Null: of all."),
]


async def timeline(
    info: Info,
    contact: strawberry.Parent[OfContact],
    kinds: Kinds = None,
    first: First = None,
    after: After = None,
    last: Last = None,
    before: Before = None,
) -> Connection[TimelineItem]:
    """Raises InvalidInput for sizes and cursors that make no sense."""
    size = window(first, after, last, before)
    stretch = Stretch(
        size.limit + 1,
        tuple(Kind) if kinds is None else tuple(kind for kind in Kind if kind.value in {one.value for one in kinds}),
        _place(after, "/after"),
        _place(before, "/before"),
        size.from_end,
    )
    catalog = await info.context.load.catalog()
    found = await info.context.load.by(load_timelines).load(_Wanted(contact.key, stretch))
    info.context.budget.spend(len(found))
    return connection(found, size, _cursor, lambda item: _shown(item, catalog))


class _Wanted(NamedTuple):
    contact: UUID
    stretch: Stretch


async def load_timelines(load: Loaders, wanted: Sequence[_Wanted]) -> list[list[Item]]:
    """One statement for each stretch."""
    groups: dict[Stretch, list[UUID]] = defaultdict(list)
    for one in wanted:
        groups[one.stretch].append(one.contact)
    found: dict[_Wanted, list[Item]] = {}
    for stretch, contacts in groups.items():
        async with load.reading() as db:
            grouped = await timelines.timelines(db, contacts, stretch)
        found |= {_Wanted(contact, stretch): items for contact, items in grouped.items()}
    return [found.get(one, []) for one in wanted]


_RANKS = tuple(TimelineKind)
"""As the store orders what is of one instant."""


def _shown(item: Item, catalog: Catalog) -> TimelineItem:
    said, at, kind = item.said, item.place.at, _RANKS[item.place.rank]
    match kind:
        case TimelineKind.EVENT:
            values = {name: said[name] for name in EventRow._fields}
            moments = {name: _instant(said[name]) for name in ("occurred_at", "received_at")}
            return TimelineEvent(at=at, kind=kind, event=Event.of(EventRow(**{**values, **moments})))
        case TimelineKind.SCORE:
            change = ChangeRow(
                said["id"], at, _number(said["was"]), _number(said["value"]), said["version"], said["cause"]
            )
            return TimelineScore(at=at, kind=kind, change=ScoreChange.of(change, catalog.by_id[said["model_id"]]))
        case TimelineKind.FLAG:
            return flag_of(said, at)
        case TimelineKind.SYNC:
            return TimelineSync(
                at=at,
                kind=kind,
                connection=said["connection"],
                connection_id=strawberry.ID(said["connection_id"]),
                object=said["object"],
                record=said["record"],
                field=said["field"],
                code=said["code"],
                reason=said["reason"],
            )


def flag_of(said: dict[str, Any], at: datetime) -> TimelineFlag:  # Any: JSON
    """What `timelines.FLAG_SAID` gave, known since that instant."""
    reason, flag = said["reason"], Flag(said["flag"])
    if flag is Flag.BOUNCED and not said["value"] and reason is None:
        reason = NEW_ADDRESS if said["is_new_address"] else DELIVERED
    return TimelineFlag(
        at=at,
        kind=TimelineKind.FLAG,
        flag=flag,
        value=said["value"],
        happened_at=_instant(said["at"]),
        reason=reason,
        by=said["by"],
    )


def _instant(said: str | None) -> datetime | None:
    return None if said is None else datetime.fromisoformat(said).astimezone(UTC)


def _number(said: float | None) -> Decimal | None:
    return None if said is None else Decimal(str(said))


def _cursor(item: Item) -> str:
    at, rank, key = item.place
    return pages.encode(at.astimezone(UTC).isoformat(), rank, key)


def _place(cursor: str | None, pointer: str) -> Place | None:
    if cursor is None:
        return None
    malformed = InvalidInput(Fault(pointer, "not a cursor; take one from 'pageInfo' or 'edges', unchanged"))
    try:
        at, rank, key = pages.decode(cursor[:2_000], 3)
        moment = datetime.fromisoformat(at).astimezone(UTC)
    except (InvalidInput, ValueError, TypeError, OverflowError):
        raise malformed from None
    if type(rank) is not int or not 0 <= rank < len(_RANKS) or not isinstance(key, str) or "\0" in key:
        raise malformed
    return Place(moment, rank, key)
