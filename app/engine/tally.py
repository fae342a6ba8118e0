"""From events to tallies: the conditions of all counters, compiled into the statement that stores events.

The same expressions run over events just inserted (`Intake`) and over all history when a counter is new (`fill`).
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    DateTime,
    Integer,
    Text,
    Uuid,
    any_,
    bindparam,
    case,
    cast,
    column,
    delete,
    func,
    literal_column,
    null,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB, array, insert

from app.engine.compile import event_row, to_sql, utc_day
from app.engine.conditions import Condition
from app.store.db import Connection, Statement
from app.store.tables import Activity, Event, Tally

_event: Any = Event.__table__  # type: ignore[attr-defined]  # SQLModel hides the table it makes
_tally: Any = Tally.__table__  # type: ignore[attr-defined]
_activity: Any = Activity.__table__  # type: ignore[attr-defined]

Columns = Mapping[str, Sequence[object]]
"""A batch of events, column by column: id, contact_id, type, source, client_id, occurred_at, address, properties."""


class Intake:
    """Store a batch of events, count what matched into the tallies, and note when each contact was last seen."""

    def __init__(self, counters: Mapping[int, Condition]) -> None:
        self._statement = Statement(_store(counters))

    async def store(self, db: Connection, events: Columns, now: Any) -> set[UUID]:
        """Returns the ids that are new; the others were stored before and count for nothing.

        The transaction holds the locks of all contacts named. `properties` are JSON texts.
        """
        rows = await db.fetch(self._statement.sql, *self._statement.arguments(**events, now=now))
        return {row["id"] for row in rows}


class Fill:
    """Set the tallies of new counters from all events of some contacts, and drop those of retired counters."""

    def __init__(self, counters: Mapping[int, Condition]) -> None:
        self._counters = list(counters)
        self._count = Statement(_count_history(counters)) if counters else None

    async def set(self, db: Connection, contacts: Sequence[UUID]) -> None:
        """Count anew for `contacts`, which the transaction has locked: what ingest added meanwhile is replaced."""
        if self._count is not None:
            await drop(db, contacts, self._counters)
            await db.execute(self._count.sql, *self._count.arguments(contacts=list(contacts)))


async def drop(db: Connection, contacts: Sequence[UUID], counters: Sequence[int]) -> None:
    """Remove the tallies of `counters` for `contacts`."""
    await db.execute(_DROP.sql, *_DROP.arguments(contacts=list(contacts), counters=list(counters)))


_DROP = Statement(
    delete(_tally).where(
        _tally.c.contact_id == any_(bindparam("contacts", type_=ARRAY(Uuid))),
        _tally.c.counter_id == any_(bindparam("counters", type_=ARRAY(Integer))),
    )
)


def _store(counters: Mapping[int, Condition]) -> Any:
    incoming = (
        func.unnest(
            bindparam("id", type_=ARRAY(Uuid)),
            bindparam("contact_id", type_=ARRAY(Uuid)),
            bindparam("type", type_=ARRAY(Text)),
            bindparam("source", type_=ARRAY(Text)),
            bindparam("client_id", type_=ARRAY(Text)),
            bindparam("occurred_at", type_=ARRAY(DateTime(timezone=True))),
            bindparam("address", type_=ARRAY(Text)),
            bindparam("properties", type_=ARRAY(Text)),
        )
        .table_valued(
            column("id", Uuid),
            column("contact_id", Uuid),
            column("type", Text),
            column("source", Text),
            column("client_id", Text),
            column("occurred_at", DateTime(timezone=True)),
            column("address", Text),
            column("properties", Text),
        )
        .render_derived("incoming")
    )
    now = bindparam("now", type_=DateTime(timezone=True))
    names = ["id", "contact_id", "type", "source", "client_id", "occurred_at", "received_at", "address", "properties"]
    # In the order of ids: two transactions that bring the same events wait for each other, and never in a circle.
    rows = select(
        *(incoming.c[name] for name in names[:6]), now, incoming.c.address, cast(incoming.c.properties, JSONB)
    ).order_by(incoming.c.id)
    stored = (
        insert(_event)
        .from_select(names, rows)
        .on_conflict_do_nothing(index_elements=["id"])
        .returning(
            _event.c.id, _event.c.contact_id, _event.c.type, _event.c.source, _event.c.occurred_at, _event.c.properties
        )
        .cte("stored")
    )
    last = (
        select(stored.c.contact_id, func.max(func.least(stored.c.occurred_at, now)).label("seen"))
        .group_by(stored.c.contact_id)
        .subquery("last")
    )
    # Never an insert, for the rows are there and locked: a conflict is found by the key, whatever the planner thinks,
    # where an UPDATE's join may read the whole table.
    found = insert(_activity).from_select(["contact_id", "last_event_at"], select(last))
    seen = (
        found.on_conflict_do_update(
            index_elements=["contact_id"],
            set_={"last_event_at": found.excluded.last_event_at},
            where=_activity.c.last_event_at < found.excluded.last_event_at,
        )
        .returning(_activity.c.contact_id)
        .cte("seen")
    )
    statement = select(stored.c.id).add_cte(seen)
    if counters:
        counted = _matches(stored, counters).subquery("counted")
        added = insert(_tally).from_select(["contact_id", "counter_id", "day", "key", "n"], select(counted))
        added = added.on_conflict_do_update(
            index_elements=["contact_id", "counter_id", "day", "key"], set_={"n": _tally.c.n + added.excluded.n}
        )
        statement = statement.add_cte(added.returning(_tally.c.contact_id).cte("added"))
    return statement


def _count_history(counters: Mapping[int, Condition]) -> Any:
    contacts = func.unnest(bindparam("contacts", type_=ARRAY(Uuid))).column_valued("contact_id")
    who = select(contacts.label("contact_id")).subquery("who")
    past = (
        select(_event.c.contact_id, _event.c.type, _event.c.source, _event.c.occurred_at, _event.c.properties)
        .where(_event.c.contact_id == who.c.contact_id)
        .offset(literal_column("0"))
        .lateral("past")
    )
    matches = _matches(past, counters, who.join(past, literal_column("true")))
    return insert(_tally).from_select(["contact_id", "counter_id", "day", "key", "n"], matches)


def _matches(events: Any, counters: Mapping[int, Condition], source: Any = None) -> Any:
    """How often each counter matched, per contact and UTC day, over something with an event's columns."""
    # Folded once for all counters: nearly every one asks for the type.
    folded = (
        select(
            events.c.contact_id,
            func.lower(events.c.type, type_=Text).label("type"),
            events.c.source,
            events.c.occurred_at,
            events.c.properties,
        )
        .select_from(events if source is None else source)
        .offset(literal_column("0"))
        .subquery("folded")
    )
    row = event_row(folded, frozenset({"event.type"}))
    # unnest() in the list of columns, not as a table: a function scan per event costs more than all its conditions.
    hits = array([case((to_sql(condition, row), number)) for number, condition in counters.items()])
    hit = select(
        folded.c.contact_id,
        func.unnest(func.array_remove(hits, null())).label("counter_id"),
        utc_day(folded.c.occurred_at).label("day"),
    ).subquery("hit")
    return select(
        hit.c.contact_id, hit.c.counter_id, hit.c.day, literal_column("''").label("key"), func.count().label("n")
    ).group_by(hit.c.contact_id, hit.c.counter_id, hit.c.day)
