"""What a contact's score was, with the cause of every change; and what it will be, with nothing coming in."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import strawberry

from app.engine import replay
from app.engine.replay import Change
from app.engine.rules import band_of
from app.errors import Fault, InvalidInput, NotFound
from app.graphql.catalog import Model
from app.graphql.context import Info
from app.graphql.explaining import ModelKey
from app.graphql.fields import choices
from app.graphql.limits import bounded
from app.graphql.loaders import Loaders
from app.graphql.nodes import OfContact
from app.graphql.relay import After, Before, Connection, First, Last, connection, window
from app.graphql.scoring import Band, ModelRef, floated
from app.store import pages, score_changes
from app.store.score_changes import ChangeRow, Stretch

_MAX_CHANGES = 50
FORECAST = 100
"""Objects that a forecast counts as."""


@choices(
    "Why a score changed.",
    EVENT="Events came in.",
    CONTACT="The contact was made or changed, or a flag of it.",
    ROLLOVER="A day passed.",
    PUBLISH="A version of the model, or of one it depends on, began to count.",
    ADJUSTMENT="Points by hand, an override or a reset was made or revoked.",
    DEFINITION="A segment, measure or property that the model names was defined otherwise.",
    MARK="An event turned out to be a machine's, or a human's.",
    MERGE="Another contact became this one, or was taken apart from it again.",
)
class ChangeCause(StrEnum):
    EVENT = "event"
    CONTACT = "contact"
    ROLLOVER = "rollover"
    PUBLISH = "publish"
    ADJUSTMENT = "adjustment"
    DEFINITION = "definition"
    MARK = "mark"
    MERGE = "merge"


@strawberry.type(description="That a score changed.")
class ScoreChange:
    at: datetime = strawberry.field(description="When.")
    model: ModelRef = strawberry.field(description="In which scoring model.")
    was: float | None = strawberry.field(description="Before. Null: there was none, or not in the audience.")
    value: float | None = strawberry.field(description="Since then. Null: no longer in the audience.")
    band_was: Band | None = strawberry.field(description="The band before, by those that count now.")
    band: Band | None = strawberry.field(description="The band since then, by those that count now.")
    version: int = strawberry.field(description="The version of the model that said so.")
    cause: ChangeCause = strawberry.field(description="Why.")

    @classmethod
    def of(cls, row: ChangeRow, model: Model) -> "ScoreChange":
        before = None if row.was is None else band_of(row.was, model.bands)
        after = None if row.value is None else band_of(row.value, model.bands)
        return cls(
            at=row.at,
            model=ModelRef(key=model.key, name=model.name),
            was=floated(row.was),
            value=floated(row.value),
            band_was=None if before is None else Band.of(before),
            band=None if after is None else Band.of(after),
            version=row.version,
            cause=ChangeCause(row.cause),
        )


@strawberry.type(description="That a score will change by itself.")
class ForecastChange:
    on: date = strawberry.field(description="On which UTC day.")
    value: float | None = strawberry.field(description="To what. Null: no longer in the audience.")


@strawberry.type(description="What a score will be, with nothing coming in.")
class Forecast:
    model: ModelRef = strawberry.field(description="In which scoring model.")
    value: float | None = strawberry.field(description="What it is now.")
    changes: list[ForecastChange] = strawberry.field(
        description="The next days on which it changes. Looked for are those on which anything may change, 60 at most "
        "of all contacts that a query asks about together."
    )


async def history(
    info: Info,
    contact: strawberry.Parent[OfContact],
    model: ModelKey,
    first: First = None,
    after: After = None,
    last: Last = None,
    before: Before = None,
) -> Connection[ScoreChange]:
    """Raises InvalidInput for an unknown model, and for sizes and cursors that make no sense."""
    named = (await info.context.load.catalog()).named(model, "/model")
    size = window(first, after, last, before)
    stretch = Stretch(size.limit + 1, _place(after, "/after"), _place(before, "/before"), size.from_end)
    found = await info.context.load.by(load_history).load(_Wanted(contact.key, named.id, stretch))
    info.context.budget.spend(len(found))
    return connection(found, size, lambda row: pages.encode(row.id), lambda row: ScoreChange.of(row, named))


async def forecast(
    info: Info,
    contact: strawberry.Parent[OfContact],
    model: ModelKey,
    first: Annotated[int, strawberry.argument(description=f"Changes, at most {_MAX_CHANGES}.")] = 10,
) -> Forecast | None:
    """Raises InvalidInput for an unknown model; TooLarge for the forecasts of too many contacts."""
    named = (await info.context.load.catalog()).named(model, "/model")
    limit = bounded(first, _MAX_CHANGES, "first")
    info.context.budget.spend(FORECAST)
    found = await info.context.load.by(load_forecasts).load((contact.key, named.key, limit))
    if found is None:
        return None
    explained, changes = found
    return Forecast(
        model=ModelRef(key=named.key, name=named.name),
        value=floated(explained.value),
        changes=[ForecastChange(on=one.on, value=floated(one.value)) for one in changes],
    )


class _Wanted(NamedTuple):
    contact: UUID
    model: int
    stretch: Stretch


async def load_history(load: Loaders, wanted: Sequence[_Wanted]) -> list[list[ChangeRow]]:
    """One statement for each model and stretch."""
    groups: dict[tuple[int, Stretch], list[UUID]] = defaultdict(list)
    for one in wanted:
        groups[one.model, one.stretch].append(one.contact)
    found: dict[_Wanted, list[ChangeRow]] = {}
    for (model, stretch), contacts in groups.items():
        async with load.reading() as db:
            grouped = await score_changes.history(db, contacts, model, stretch)
        found |= {_Wanted(contact, model, stretch): rows for contact, rows in grouped.items()}
    return [found.get(one, []) for one in wanted]


async def load_forecasts(
    load: Loaders, wanted: Sequence[tuple[UUID, str, int]]
) -> list[tuple[Any, list[Change]] | None]:  # Any: the engine's explanation
    """The contacts of one model together. None: the model does not count."""
    groups: dict[tuple[str, int], list[UUID]] = defaultdict(list)
    for contact, model, most in wanted:
        groups[model, most].append(contact)
    found: dict[tuple[UUID, str, int], tuple[Any, list[Change]]] = {}
    for (model, most), contacts in groups.items():
        try:
            async with load.explaining() as (db, plans):
                plan = await plans.hold(db)
                told = await replay.forecast_each(db, plan, contacts, model, load.now, most)
        except NotFound:
            continue
        found |= {(contact, model, most): one for contact, one in told.items()}
    return [found.get(one) for one in wanted]


def _place(cursor: str | None, at: str) -> int | None:
    if cursor is None:
        return None
    try:
        [said] = pages.decode(cursor, 1)
    except InvalidInput:
        said = None
    if type(said) is not int or not 0 < said < 2**63:
        raise InvalidInput(Fault(at, "not a cursor; take one from 'pageInfo' or 'edges', unchanged"))
    return said
