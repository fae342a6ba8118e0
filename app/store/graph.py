"""What the read API loads in batches: one statement for any number of contacts or models.

Every function takes keys and returns what belongs to them, so that a page of two hundred contacts costs what a page
of one does.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ARRAY, Integer, Text, Uuid, and_, any_, column, func, literal, literal_column, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import Unavailable
from app.store.db import FAULTS, Connection, Database, is_away, sqlstate
from app.store.tables import (
    Activity,
    Contact,
    Event,
    Identity,
    ModelVersion,
    Property,
    Rule,
    Score,
    ScoringModel,
    Segment,
    core,
)

_contact = core(Contact)
activity = core(Activity)
_identity = core(Identity)
_event = core(Event)
_score = core(Score)
_model = core(ScoringModel)
_version = core(ModelVersion)
_rule = core(Rule)
_segment = core(Segment)
_property = core(Property)


class Person(NamedTuple):
    """A contact as it is read: its row, and when it was last seen (None: never)."""

    id: UUID
    email: str | None
    email_quality: list[str]
    name: str | None
    stage: str | None
    tags: list[str]
    properties: dict[str, Any]  # Any: JSON
    opted_out: bool
    opted_out_at: datetime | None
    opted_out_reason: str | None
    opted_out_by: str | None
    bounced: bool
    bounced_at: datetime | None
    bounced_reason: str | None
    bounced_by: str | None
    bounce_status: str
    soft_bounces: int
    created_at: datetime
    updated_at: datetime
    last_event_at: datetime | None


# A scalar subquery, not a join: it is asked for the rows of the page alone, and leaves the planner's choice of the
# driving index as it is.
_seen = (
    select(func.nullif(activity.c.last_event_at, literal_column("'-infinity'::timestamptz")))
    .where(activity.c.contact_id == _contact.c.id)
    .correlate(_contact)
    .scalar_subquery()
)
PERSON: list[Any] = [*(_contact.c[name] for name in Person._fields[:-1]), _seen.label("last_event_at")]
"""The columns of a Person, of a statement that reads from `contact`."""


class ScoreRow(NamedTuple):
    contact_id: UUID
    model_id: int
    value: Decimal | None
    version: int
    next_change_on: date | None
    computed_at: datetime


class EventRow(NamedTuple):
    id: UUID
    contact_id: UUID
    client_id: str | None
    type: str
    occurred_at: datetime
    received_at: datetime
    source: str
    address: str | None
    properties: dict[str, Any]  # Any: JSON
    human: bool | None
    human_by: str | None


@dataclass(frozen=True)
class ModelRow:
    """A scoring model as it counts: name and bands of its live version, of its draft while it has none."""

    id: int
    key: str
    name: str
    description: str | None
    bands: list[dict[str, Any]]  # Any: JSON
    version: int | None
    published_at: datetime | None
    archived: bool


class VersionRow(NamedTuple):
    model_id: int
    version: int
    name: str
    bands: list[dict[str, Any]]  # Any: JSON
    rules: list[dict[str, Any]]  # Any: JSON
    side_effects: bool
    published_at: datetime
    published_by: str
    live_from: datetime | None


class SegmentRow(NamedTuple):
    key: str
    name: str
    description: str | None
    condition: dict[str, Any]  # Any: JSON
    created_at: datetime
    updated_at: datetime


@asynccontextmanager
async def reading(database: Database) -> AsyncIterator[AsyncConnection]:
    """A connection to read by. Raises Unavailable if the database cannot be reached, or takes too long."""
    with _telling():
        async with database.read() as db:
            yield db


@asynccontextmanager
async def explaining(database: Database) -> AsyncIterator[Connection]:
    """A transaction on the hot pool, for the engine. Raises Unavailable as `reading` does."""
    with _telling():
        async with database.batch() as db:
            yield db


@contextmanager
def _telling() -> Iterator[None]:
    try:
        yield
    except FAULTS as fault:
        if sqlstate(fault) == "57014":  # query_canceled, by statement_timeout
            raise Unavailable("this takes too long to read; narrow the filter, or leave totalCount out") from fault
        if is_away(fault):
            raise Unavailable("the database cannot be reached just now") from fault
        raise


async def people(db: AsyncConnection, contacts: Collection[UUID]) -> dict[UUID, Person]:
    rows = await db.execute(select(*PERSON).where(_contact.c.id == any_(_ids(contacts))))
    return {row.id: Person(*row) for row in rows}


async def holders(db: AsyncConnection, emails: Collection[str]) -> dict[str, Person]:
    """Whom each address points at, whether or not it is the one they use now."""
    held = and_(_identity.c.kind == "email", _identity.c.value == any_(literal(list(emails), ARRAY(Text))))
    joined = _contact.join(_identity, _identity.c.contact_id == _contact.c.id)
    rows = await db.execute(select(_identity.c.value, *PERSON).select_from(joined).where(held))
    return {row[0]: Person(*row[1:]) for row in rows}


async def scores(db: AsyncConnection, contacts: Collection[UUID]) -> dict[UUID, list[ScoreRow]]:
    """In every model, archived ones too."""
    statement = select(*(_score.c[name] for name in ScoreRow._fields)).where(
        _score.c.contact_id == any_(_ids(contacts))
    )
    grouped: dict[UUID, list[ScoreRow]] = defaultdict(list)
    for row in await db.execute(statement.order_by(_score.c.model_id)):
        grouped[row.contact_id].append(ScoreRow(*row))
    return grouped


async def identities(db: AsyncConnection, contacts: Collection[UUID]) -> dict[UUID, list[tuple[str, str]]]:
    """(kind, value) of each contact, in that order."""
    statement = select(_identity.c.contact_id, _identity.c.kind, _identity.c.value)
    statement = statement.where(_identity.c.contact_id == any_(_ids(contacts)))
    grouped: dict[UUID, list[tuple[str, str]]] = defaultdict(list)
    for row in await db.execute(statement.order_by(_identity.c.kind, _identity.c.value)):
        grouped[row.contact_id].append((row.kind, row.value))
    return grouped


async def events(
    db: AsyncConnection, contacts: Collection[UUID], first: int, types: Sequence[str] | None
) -> dict[UUID, list[EventRow]]:
    """The newest `first` of each contact, the newest first; of any of `types` in any case, where given."""
    ids = func.unnest(_ids(contacts)).table_valued(column("contact_id", Uuid)).render_derived("who")
    newest = select(*(_event.c[name] for name in EventRow._fields)).where(_event.c.contact_id == ids.c.contact_id)
    if types is not None:
        newest = newest.where(or_(*(func.lower(_event.c.type) == func.lower(literal(one, Text)) for one in types)))
    each = newest.order_by(_event.c.occurred_at.desc(), _event.c.id.desc()).limit(first).lateral("newest")
    rows = await db.execute(select(*each.c).select_from(ids.join(each, literal_column("true"))))
    grouped: dict[UUID, list[EventRow]] = defaultdict(list)
    for row in rows:
        grouped[row.contact_id].append(EventRow(*row))
    return grouped


async def models(db: AsyncConnection) -> list[ModelRow]:
    """Every scoring model, archived ones too, in the order of their keys."""
    live = and_(_version.c.model_id == _model.c.id, _version.c.version == _model.c.live_version)
    rows = await db.execute(
        select(
            _model.c.id,
            _model.c.key,
            func.coalesce(_version.c.name, _model.c.name),
            _model.c.description,
            func.coalesce(_version.c.bands, _model.c.bands),
            _version.c.version,
            _version.c.published_at,
            _model.c.archived_at.is_not(None),
        )
        .select_from(_model.outerjoin(_version, live))
        .order_by(_model.c.key)
    )
    return [ModelRow(*row) for row in rows]


async def rules(db: AsyncConnection, model_ids: Collection[int]) -> dict[int, list[dict[str, Any]]]:  # Any: JSON
    """The rules of each model's live version, as the engine wrote them; of its draft while it has none."""
    live = and_(_version.c.model_id == _model.c.id, _version.c.version == _model.c.live_version)
    published = await db.execute(
        select(_model.c.id, _version.c.rules)
        .select_from(_model.outerjoin(_version, live))
        .where(_model.c.id.in_(list(model_ids)))
    )
    found = {row.id: row.rules for row in published}
    drafts = [model for model, said in found.items() if said is None]
    if drafts:
        found |= {model: [] for model in drafts}
        drafted = select(_rule).where(_rule.c.model_id.in_(drafts)).order_by(_rule.c.created_at, _rule.c.id)
        for row in await db.execute(drafted):
            found[row.model_id].append(row.said)
    return found


async def versions(db: AsyncConnection, model_ids: Collection[int], first: int) -> dict[int, list[VersionRow]]:
    """The newest `first` versions of each model, the newest first."""
    ids = func.unnest(literal(list(model_ids), ARRAY(Integer))).table_valued(column("id", Integer))
    which = ids.render_derived("which")
    newest = select(*(_version.c[name] for name in VersionRow._fields)).where(_version.c.model_id == which.c.id)
    each = newest.order_by(_version.c.version.desc()).limit(first).lateral("newest")
    grouped: dict[int, list[VersionRow]] = defaultdict(list)
    for row in await db.execute(select(*each.c).select_from(which.join(each, literal_column("true")))):
        grouped[row.model_id].append(VersionRow(*row))
    return grouped


async def segments(db: AsyncConnection, most: int, after: str | None) -> list[SegmentRow]:
    """In the order of their keys."""
    wanted = select(*(_segment.c[name] for name in SegmentRow._fields)).order_by(_segment.c.key).limit(most)
    wanted = wanted if after is None else wanted.where(_segment.c.key > after)
    return [SegmentRow(*row) for row in await db.execute(wanted)]


async def segments_by_key(db: AsyncConnection, keys: Collection[str]) -> dict[str, SegmentRow]:
    columns = [_segment.c[name] for name in SegmentRow._fields]
    rows = await db.execute(select(*columns).where(_segment.c.key == any_(literal(list(keys), ARRAY(Text)))))
    return {row.key: SegmentRow(*row) for row in rows}


async def declared(db: AsyncConnection) -> dict[str, str]:
    """The type that was declared for each property; a handful."""
    return {row.name: row.type for row in await db.execute(select(_property.c.name, _property.c.type))}


def _ids(contacts: Collection[UUID]) -> Any:
    return literal(list(contacts), ARRAY(Uuid))
