"""Who rose and who fell in a window of time: by what a score was when it began, and is when it ends."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import strawberry

from app import clock
from app.engine.rules import Band as EngineBand
from app.errors import Fault, InvalidInput
from app.graphql.catalog import Model
from app.graphql.context import Info
from app.graphql.explaining import ModelKey
from app.graphql.fields import choices, resolved
from app.graphql.nodes import uuid
from app.graphql.relay import After, Connection, FirstOf, connection, forwards
from app.graphql.scoring import Band, ModelRef, floated
from app.graphql.types import Contact
from app.store import pages, score_changes
from app.store.graph import Person
from app.store.score_changes import Mover, MoverPage, Moves

MAX_DAYS = 92


@choices("Which way a score went.", ROSE="Upwards, the furthest first.", FELL="Downwards, the furthest first.")
class MoveDirection(StrEnum):
    ROSE = "rose"
    FELL = "fell"


@strawberry.type(description="Contacts that went from one band to another.")
class BandMove:
    was: Band | None = strawberry.field(description="The band before. Null: below the lowest, or no score.")
    now: Band | None = strawberry.field(description="The band since. Null: below the lowest, or no score.")
    contacts: int = strawberry.field(description="How many contacts.")


@strawberry.type(description="What changed on one UTC day. A contact whose score changed twice is counted twice.")
class DayMoves:
    day: date = strawberry.field(description="The day, in UTC.")
    rose: int = strawberry.field(description="Changes upwards.")
    fell: int = strawberry.field(description="Changes downwards.")
    to_higher_band: int = strawberry.field(description="Changes to a higher band.")
    to_lower_band: int = strawberry.field(description="Changes to a lower band.")


@strawberry.type(description="A contact whose score moved in the window.")
class ScoreMove:
    contact: Contact = strawberry.field(description="The contact.")
    was: float | None = strawberry.field(description="The score when the window began.")
    value: float | None = strawberry.field(description="The score when it ended.")
    by: float = strawberry.field(description="How far it went; below nought: down.")
    band_was: Band | None = strawberry.field(description="The band when the window began. Null: below the lowest.")
    band: Band | None = strawberry.field(description="The band when it ended. Null: below the lowest.")
    changes: int = strawberry.field(description="How often it changed.")


@strawberry.type(
    description="What became of the scores of one model in a window of time. Bands are those that count now. What is "
    "read is the window's changes alone: a million of them take seconds."
)
class ScoreMoves:
    wanted: strawberry.Private[Moves]
    held: strawberry.Private[Model]

    model: ModelRef = strawberry.field(description="The scoring model.")
    since: datetime = strawberry.field(description="The beginning of the window, inclusive.")
    until: datetime = strawberry.field(description="Its end, exclusive.")
    rose: int = strawberry.field(description="Contacts whose score is higher than it was.")
    fell: int = strawberry.field(description="Contacts whose score is lower than it was.")
    unchanged: int = strawberry.field(description="Contacts whose score changed, and is what it was.")
    entered: int = strawberry.field(description="Contacts that have a score, and had none.")
    left: int = strawberry.field(description="Contacts that had a score, and have none: not in the audience any more.")
    band_moves: list[BandMove] = strawberry.field(
        description="Contacts that went from one band to another, the most first."
    )

    @resolved("The window day by day; days without a change are left out.")
    async def days(self, info: Info) -> list[DayMoves]:
        async with info.context.load.reading() as db:
            rows = await score_changes.day_moves(db, self.wanted)
        info.context.budget.spend(len(rows))
        return [
            DayMoves(day=row.day, rose=row.rose, fell=row.fell, to_higher_band=row.up, to_lower_band=row.down)
            for row in rows
        ]

    @resolved("Who moved, the furthest first; of those who had a score and have one.")
    async def contacts(
        self,
        info: Info,
        direction: Annotated[MoveDirection, strawberry.argument(description="Which way.")] = MoveDirection.ROSE,
        band_was: Annotated[
            str | None, strawberry.argument(description='Only out of this band: `"Warm"`. Null: out of any.')
        ] = None,
        band: Annotated[
            str | None, strawberry.argument(description='Only into this band: `"Hot"`. Null: into any.')
        ] = None,
        first: FirstOf = 20,
        after: After = None,
    ) -> Connection[ScoreMove]:
        window = forwards(first, after)
        page = MoverPage(
            window.limit + 1,
            direction is MoveDirection.ROSE,
            None if after is None else _place(after),
            None if band_was is None else self._number(band_was, "/bandWas"),
            None if band is None else self._number(band, "/band"),
        )
        async with info.context.load.reading() as db:
            found = await score_changes.movers(db, self.wanted, page)
        info.context.budget.spend(len(found))
        people = await info.context.load.people.load_many([one.contact_id for one in found])
        there = [(one, person) for one, person in zip(found, people, strict=True) if person is not None]
        return connection(there, window, lambda pair: _cursor(pair[0]), self._shown)

    def _shown(self, pair: tuple[Mover, Person]) -> ScoreMove:
        one, person = pair
        return ScoreMove(
            contact=Contact.of(person),
            was=floated(one.was),
            value=floated(one.value),
            by=float(one.moved),
            band_was=_band(_number_of(one.was, self.wanted), self.held),
            band=_band(_number_of(one.value, self.wanted), self.held),
            changes=one.changes,
        )

    def _number(self, name: str, at: str) -> int:
        """Which of the model's bands it is, as the store counts them. Raises InvalidInput."""
        for number in range(len(self.wanted.mins) + 1):
            found = _held(number, self.held)
            if found is not None and found.name == name:
                return number
        there = ", ".join(repr(band.name) for band in self.held.bands) or "none"
        raise InvalidInput(Fault(at, f"{self.held.key!r} has no band {name!r:.80}; it has {there}"))


async def score_moves(
    info: Info,
    model: ModelKey,
    since: Annotated[datetime, strawberry.argument(description='The beginning: `"2026-11-01T00:00:00Z"`.')],
    until: Annotated[
        datetime | None,
        strawberry.argument(
            description=f'The end, at most {MAX_DAYS} days later: `"2026-11-08T00:00:00Z"`. Null: now.'
        ),
    ] = None,
) -> ScoreMoves:
    """Raises InvalidInput for an unknown model, or a window that is empty or too long."""
    named = (await info.context.load.catalog()).named(model, "/model")
    mins = tuple(band.min for band in named.bands if band.min is not None)
    wanted = Moves(named.id, *window_of(since, until, MAX_DAYS), mins)
    async with info.context.load.reading() as db:
        rows = await score_changes.band_moves(db, wanted)
    both = [row for row in rows if row.was is not None and row.now is not None]
    moved = sorted((row for row in rows if row.was != row.now), key=lambda row: -row.contacts)
    return ScoreMoves(
        wanted=wanted,
        held=named,
        model=ModelRef(key=named.key, name=named.name),
        since=wanted.since,
        until=wanted.until,
        rose=sum(row.rose for row in both),
        fell=sum(row.fell for row in both),
        unchanged=sum(row.contacts - row.rose - row.fell for row in both),
        entered=sum(row.contacts for row in rows if row.was is None and row.now is not None),
        left=sum(row.contacts for row in rows if row.was is not None and row.now is None),
        band_moves=[
            BandMove(was=_band(row.was, named), now=_band(row.now, named), contacts=row.contacts) for row in moved
        ],
    )


def window_of(since: datetime, until: datetime | None, most_days: int, at: str = "/since") -> tuple[datetime, datetime]:
    """Both in UTC. Raises InvalidInput for a window that is empty or too long."""
    try:
        begins, ends = (
            (one if one.tzinfo else one.replace(tzinfo=UTC)).astimezone(UTC) for one in (since, until or clock.now())
        )
        latest = begins + timedelta(days=most_days)
    except OverflowError:
        raise InvalidInput(Fault(at, "expected moments between the years 1 and 9999")) from None
    if not begins < ends <= latest:
        raise InvalidInput(Fault(at, f"expected a moment before 'until', and at most {most_days} days before it"))
    return begins, ends


def _held(number: int | None, model: Model) -> EngineBand | None:
    """A band by its number: how many of the bounds are reached. The lowest has the number 0 if it has no bound."""
    if number is None:
        return None
    at = number if model.bands and model.bands[0].min is None else number - 1
    return model.bands[at] if 0 <= at < len(model.bands) else None


def _band(number: int | None, model: Model) -> Band | None:
    found = _held(number, model)
    return None if found is None else Band.of(found)


def _number_of(value: Decimal | None, wanted: Moves) -> int | None:
    return None if value is None else sum(value >= least for least in wanted.mins)


def _cursor(one: Mover) -> str:
    return pages.encode(f"{one.moved:f}", str(one.contact_id))


def _place(cursor: str) -> tuple[Decimal, UUID]:
    malformed = Fault("/after", "not a cursor; take one from 'pageInfo' or 'edges', unchanged")
    try:
        moved, contact = pages.decode(cursor, 2)
        number = Decimal(str(moved)[:100])
    except (InvalidInput, ArithmeticError):
        raise InvalidInput(malformed) from None
    if not number.is_finite() or abs(number.adjusted()) > 100:
        raise InvalidInput(malformed)
    return number, uuid(str(contact), malformed)
