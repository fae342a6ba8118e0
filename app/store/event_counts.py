"""How many events there were in a window of time, by type, source or UTC day.

By type alone, or by source alone: each one's events in the window are counted along the index that begins with it, and
so by day along the index on the instant; nothing but an index is read. Any other question reads the window's events.
"""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ARRAY, Date, Text, any_, cast, func, literal, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.tables import Event, core

MOST = 5_000
"""Groups of one answer."""
_event = core(Event)


class Dimension(StrEnum):
    TYPE = "type"
    SOURCE = "source"
    DAY = "day"


@dataclass(frozen=True)
class EventFilter:
    """Events that occurred from `since` up to `until`, exclusive; None: whatever."""

    since: datetime
    until: datetime
    types: tuple[str, ...] | None = None
    sources: tuple[str, ...] | None = None
    contact: UUID | None = None
    human: bool | None = None


class EventCount(NamedTuple):
    """What is not asked for is None."""

    type: str | None
    source: str | None
    day: date | None
    number: int


async def counts(db: AsyncConnection, wanted: EventFilter, by: tuple[Dimension, ...]) -> list[EventCount]:
    """By day, then the most first; one more than `MOST` if there are more."""
    alone = len(by) == 1 and wanted == EventFilter(wanted.since, wanted.until)
    statement = _each(by[0], wanted) if alone and by[0] is not Dimension.DAY else _grouped(wanted, by)
    rows = [row._mapping for row in await db.execute(statement.limit(MOST + 1))]
    found = [EventCount(row.get("type"), row.get("source"), row.get("day"), row["number"]) for row in rows]
    return sorted(found, key=lambda one: (one.day or date.min, -one.number, one.type or "", one.source or ""))


def _grouped(wanted: EventFilter, by: tuple[Dimension, ...]) -> Any:  # Any: a select
    of = {
        Dimension.TYPE: _event.c.type,
        Dimension.SOURCE: _event.c.source,
        Dimension.DAY: cast(func.timezone(literal_column("'UTC'"), _event.c.occurred_at), Date),
    }
    groups = [of[one].label(one.value) for one in by]
    statement = select(*groups, func.count().label("number")).where(*_tests(wanted)).group_by(*groups)
    # Where nobody asks for groups, there is one; where nothing happened, none.
    return statement.having(func.count() > 0)


def _tests(wanted: EventFilter) -> list[Any]:  # Any: expressions
    tests = [_event.c.occurred_at >= wanted.since, _event.c.occurred_at < wanted.until]
    for said, names in ((_event.c.type, wanted.types), (_event.c.source, wanted.sources)):
        if names is not None:
            tests.append(said == any_(literal(list(names), ARRAY(Text))))
    if wanted.contact is not None:
        tests.append(_event.c.contact_id == wanted.contact)
    if wanted.human is not None:
        tests.append(_event.c.human.is_(wanted.human))
    return tests


def _each(by: Dimension, wanted: EventFilter) -> Any:  # Any: a select
    """The names that there are, each found by its index after the one before; and the events of each in the window."""
    said = _event.c[by.value]
    first = select(said.label("name")).order_by(said).limit(1)
    names = select(first.subquery().c.name).cte("names", recursive=True)
    later = select(said).where(said > names.c.name).order_by(said).limit(1).correlate(names).scalar_subquery()
    names = names.union_all(select(later).where(names.c.name.is_not(None)))
    counted = (
        select(func.count().label("number"))
        .where(said == names.c.name, *_tests(wanted))
        .offset(literal_column("0"))
        .correlate(names)
        .lateral("counted")
    )
    joined = names.join(counted, literal_column("true"))
    return (
        select(names.c.name.label(by.value), counted.c.number)
        .select_from(joined)
        .where(names.c.name.is_not(None), counted.c.number > 0)
    )
