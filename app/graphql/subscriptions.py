"""What can be subscribed to. The resolvers say what is waited for; `live.py` waits."""

from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import strawberry

from app.errors import Fault
from app.graphql import filters, watching
from app.graphql.changes import ScoreChange
from app.graphql.context import Info
from app.graphql.fields import choices, resolved
from app.graphql.filter_inputs import ContactFilter, FilterArgument
from app.graphql.jobs import Job
from app.graphql.nodes import uuid
from app.graphql.timeline import Flag, TimelineFlag, flag_of
from app.graphql.types import Contact
from app.graphql.watching import Happened, Kind, Watch
from app.store import changes
from app.store.changes import Stream
from app.store.score_changes import ChangeRow

_CURSOR = "Opaque: give it as `after` to go on behind this change."


@choices("Which way a score went through the bands.", UP="Into a higher band.", DOWN="Into a lower band.")
class BandDirection(StrEnum):
    UP = "up"
    DOWN = "down"


@strawberry.interface(description="A change of a contact, told when it has been committed.")
class ContactChanged:
    key: strawberry.Private[UUID]

    cursor: str = strawberry.field(description=_CURSOR)
    contact_id: strawberry.ID = strawberry.field(description="Whose: a UUID.")

    @resolved("The contact as it is when this is told, by now perhaps changed again. Null: it is gone.")
    async def contact(self, info: Info) -> Contact | None:
        person = await info.context.load.people.load(self.key)
        return None if person is None else Contact.of(person)


@strawberry.type(description="That a contact's score changed.")
class ScoreChanged(ContactChanged):
    change: ScoreChange = strawberry.field(description="What it was, and is; and why.")


@strawberry.type(description="That a contact's score went into another band.")
class BandCrossed(ContactChanged):
    direction: BandDirection = strawberry.field(description="Which way.")
    change: ScoreChange = strawberry.field(description="What the score was, and is, with both bands; and why.")


@strawberry.type(description="That a flag of a contact changed.")
class FlagChanged(ContactChanged):
    change: TimelineFlag = strawberry.field(description="Which flag, since when, and why.")


After = Annotated[
    str | None,
    strawberry.argument(
        description="The `cursor` of the last change that was seen: what came since then is told first. None is left "
        "out; some may be told twice. Null: what comes from now on."
    ),
]
Model = Annotated[
    str | None, strawberry.argument(description='Only in this scoring model: `"engagement"`. Null: in any.')
]


async def score_changed(
    info: Info,
    filter: FilterArgument = None,  # noqa: A002 - its name in the schema
    model: Model = None,
    after: After = None,
) -> AsyncIterator[ScoreChanged]:
    """Raises InvalidInput for an unknown model, or a filter that makes no sense."""
    await _check(info, filter)
    number = None if model is None else (await info.context.load.catalog()).named(model, "/model").id
    return Watch(Kind.SCORE, filter, model=number, after=after)


async def band_crossed(
    info: Info,
    model: Annotated[str, strawberry.argument(description='The key of a scoring model: `"engagement"`.')],
    direction: Annotated[
        BandDirection | None, strawberry.argument(description="Only this way. Null: either way.")
    ] = None,
    filter: FilterArgument = None,  # noqa: A002 - as above
    after: After = None,
) -> AsyncIterator[BandCrossed]:
    """Raises InvalidInput for an unknown model, or a filter that makes no sense."""
    await _check(info, filter)
    number = (await info.context.load.catalog()).named(model, "/model").id
    is_up = None if direction is None else direction is BandDirection.UP
    return Watch(Kind.BAND, filter, model=number, is_up=is_up, after=after)


async def flag_changed(
    info: Info,
    flag: Annotated[Flag | None, strawberry.argument(description="Only this flag. Null: either.")] = None,
    filter: FilterArgument = None,  # noqa: A002 - as above
    after: After = None,
) -> AsyncIterator[FlagChanged]:
    """Raises InvalidInput for a filter that makes no sense."""
    await _check(info, filter)
    return Watch(Kind.FLAG, filter, flag=None if flag is None else flag.value, after=after)


async def job_progress(
    id: Annotated[strawberry.ID, strawberry.argument(description="The job's id, a UUID.")],  # noqa: A002 - its name
) -> AsyncIterator[Job]:
    """Raises InvalidInput for what is no UUID."""
    return Watch(Kind.JOB, job=uuid(id, Fault("/id", "not a UUID")))


async def _check(info: Info, said: ContactFilter | None) -> None:
    """Raises InvalidInput, Conflict: now, rather than at the first change."""
    definitions = await info.context.load.segments() if filters.needs_definitions(said) else None
    filters.read(said, await info.context.load.catalog(), definitions)


@strawberry.type(
    description="Where the changes stand. Ask for this, then for what you show, then subscribe `after` it: nothing is "
    "missed between the two."
)
class ChangeCursors:
    scores: str = strawberry.field(description="For `scoreChanged` and `bandCrossed`: `after` this cursor.")
    flags: str = strawberry.field(description="For `flagChanged`: `after` this cursor.")


async def change_cursors(info: Info) -> ChangeCursors:
    async with info.context.load.explaining() as (db, _):
        scores, flags = [
            watching.cursor(stream, await changes.end(db, stream)) for stream in (Stream.SCORES, Stream.FLAGS)
        ]
    return ChangeCursors(scores=scores, flags=flags)


@strawberry.type(
    description="What is told as it happens, by WebSocket (graphql-transport-ws) or server-sent events; docs/live.md."
)
class Subscription:
    score_changed: AsyncIterator[ScoreChanged] = strawberry.subscription(
        resolver=score_changed,
        description="Each change of a score, of contacts that match the filter when it is told: "
        '`subscription { scoreChanged(filter: {tag: "vip"}) { cursor contact { email } change { was value } } }`.',
    )
    band_crossed: AsyncIterator[BandCrossed] = strawberry.subscription(
        resolver=band_crossed,
        description="Each change of a score that led into another band, by the bands that count now. No score is as "
        'low as the lowest band: `subscription { bandCrossed(model: "engagement", direction: UP) { contact { email } '
        "change { band { name } } } }`.",
    )
    flag_changed: AsyncIterator[FlagChanged] = strawberry.subscription(
        resolver=flag_changed,
        description="Each change of `optedOut` or `bounced`, or of why it is what it is: "
        "`subscription { flagChanged { contact { email } change { flag value reason } } }`.",
    )
    job_progress: AsyncIterator[Job] = strawberry.subscription(
        resolver=job_progress,
        description="A job as it is, and again whenever it has got on, at most ten times a second; completes when the "
        "job has ended, or is gone.",
    )


def shown(one: Happened, kind: Kind) -> object:
    """A change as the type that a subscription of this kind gives."""
    if kind not in one.shown:
        one.shown[kind] = _made(one, kind)
    return one.shown[kind]


def _made(one: Happened, kind: Kind) -> object:
    id_ = strawberry.ID(str(one.contact))
    if one.flag is not None:
        return FlagChanged(key=one.contact, cursor=one.cursor, contact_id=id_, change=flag_of(one.flag, one.at))
    assert one.row is not None
    assert one.model is not None
    row = one.row
    change = ScoreChange.of(ChangeRow(row.id, row.at, row.was, row.value, row.version, row.cause), one.model)
    if kind is Kind.SCORE:
        return ScoreChanged(key=one.contact, cursor=one.cursor, contact_id=id_, change=change)
    way = BandDirection.UP if one.rise > 0 else BandDirection.DOWN
    return BandCrossed(key=one.contact, cursor=one.cursor, contact_id=id_, direction=way, change=change)
