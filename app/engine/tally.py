"""From events to tallies: the conditions of all counters, compiled into the statement that stores events.

The same expressions run over events just inserted (`Intake`), over all history when a counter is new (`stage`), and
over whatever else has an event's columns (`matched`): events up to a past moment, events that a caller made up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
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
    literal,
    literal_column,
    null,
    select,
    table,
    union_all,
)
from sqlalchemy.dialects.postgresql import JSONB, array, insert

from app.engine.compile import Row, event_row, number_text, scalar_text, to_sql, utc_day
from app.engine.conditions import Condition, parse
from app.engine.fields import Field, FieldType, Scope, Vocabulary
from app.store.db import Connection, Statement
from app.store.tables import Activity, Event, StagedTally, Tally, core

_event = core(Event)
_tally = core(Tally)
_activity = core(Activity)


@dataclass(frozen=True)
class Counter:
    """What is counted: events whose condition holds; each value of `keyed_by` apart, where that is given.

    A key is the field's scalar value as text in lower case, or (`keyed_as` number) a JSON number as it is written; an
    event whose field holds no such thing does not count.
    """

    condition: Condition
    keyed_by: Field | None = None
    keyed_as: FieldType = FieldType.TEXT

    @classmethod
    def asked(cls, condition: Condition, distinct_by: str | None) -> "Counter":
        """What a rule counts by."""
        return cls(condition, None if distinct_by is None else Vocabulary.of(Scope.EVENT).find(distinct_by))

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Counter":  # Any: the table's columns
        events = Vocabulary.of(Scope.EVENT)
        by = None if row["keyed_by"] is None else events.find(row["keyed_by"])
        return cls(parse(row["condition"], events), by, FieldType(row["keyed_as"] or FieldType.TEXT))


Columns = Mapping[str, Sequence[object]]
"""A batch of events, column by column: id, contact_id, type, source, client_id, occurred_at, address, properties,
human, human_by, origin."""


_COUNTED_BY = ("contact_id", "type", "source", "occurred_at", "properties", "human")
"""The columns of an event that counters may look at."""


class Intake:
    """Store a batch of events, count what matched into the tallies, and note when each contact was last seen."""

    def __init__(self, counters: Mapping[int, Counter]) -> None:
        self._statement = Statement(_store(counters))

    async def store(self, db: Connection, events: Columns, epoch: int, now: Any) -> set[UUID]:
        """Returns the ids that are new; the others were stored before and count for nothing.

        The transaction holds the plan of this `epoch`, and the locks of all contacts named. `properties` are JSON
        texts.
        """
        rows = await db.fetch(self._statement.sql, *self._statement.arguments(**events, epoch=epoch, now=now))
        return {row["id"] for row in rows}


class Fill:
    """Set tallies from all events of some contacts, whatever was counted of them before."""

    def __init__(self, counters: Mapping[int, Counter]) -> None:
        self._counters = list(counters)
        matches = matched(history(), counters)
        names = ["contact_id", "counter_id", "day", "key", "n"]
        self._count = Statement(insert(_tally).from_select(names, matches)) if counters else None

    async def set(self, db: Connection, contacts: Sequence[UUID]) -> None:
        """Count anew for `contacts`, which the transaction has locked."""
        if self._count is not None:
            await drop(db, contacts, self._counters)
            await db.execute(self._count.sql, *self._count.arguments(contacts=list(contacts)))


class Recount:
    """Tallies of some contacts counted anew, beside those that are stored: in a table of this connection alone.

    The table has the tallies' key, so that a batch meets it by key as it meets them. It is empty again with the end of
    the transaction.
    """

    def __init__(self, counters: Mapping[int, Counter]) -> None:
        names = ["contact_id", "counter_id", "day", "key", "n"]
        self._count = Statement(insert(RECOUNT).from_select(names, matched(history(), counters))) if counters else None

    async def set(self, db: Connection, contacts: Sequence[UUID]) -> None:
        await db.execute("CREATE TEMP TABLE IF NOT EXISTS recount (LIKE tally INCLUDING INDEXES) ON COMMIT DELETE ROWS")
        if self._count is not None:
            await db.execute(self._count.sql, *self._count.arguments(contacts=list(contacts)))


RECOUNT = table("recount", *(column(one.name, one.type) for one in _tally.c))


_STAGING = 7_300_004  # any number that nobody else uses


async def take_turn(db: Connection) -> None:
    """Wait until nobody else stages events, so that nobody counts the same a second time."""
    await db.execute(f"SELECT pg_advisory_xact_lock({_STAGING})")


async def stage(db: Connection, rows: Sequence[Mapping[str, Any]]) -> None:  # Any: the table's columns
    """Count all events from before each of these counters began, in one pass over the table, beside the tallies.

    Without a lock on anybody: what ingest counts itself is of later epochs. Nor on the counters, before all is counted:
    whoever asks for one, or retires it, meanwhile keeps the plan from everybody.
    """
    await db.execute(
        """
        SET LOCAL statement_timeout = 0; SET LOCAL enable_seqscan = on; SET LOCAL work_mem = '128MB';
        SET LOCAL plan_cache_mode = force_custom_plan;
        """
    )
    names = ["contact_id", "counter_id", "day", "key", "n"]
    for since in sorted({row["since"] for row in rows}):
        counters = {row["id"]: Counter.of(row) for row in rows if row["since"] == since}
        before = select(_event).where(_event.c.epoch < literal(since, BigInteger)).subquery("before")
        counted = matched(before, counters).order_by(literal_column("contact_id"))
        statement = Statement(insert(core(StagedTally)).from_select(names, counted))
        await db.execute(statement.sql, *statement.arguments(), timeout=None)
    ids = [row["id"] for row in rows]
    wanted = await db.fetch(
        "UPDATE counter SET staged = true WHERE id = ANY($1) AND retired_by IS NULL RETURNING id", ids
    )
    retired = set(ids) - {row["id"] for row in wanted}
    if retired:
        await db.execute("DELETE FROM staged_tally WHERE counter_id = ANY($1)", list(retired))


async def add_staged(db: Connection, contacts: Sequence[UUID], counters: Sequence[int]) -> None:
    """Add what is staged to the tallies of `contacts`, which the transaction has locked; each count once.

    A contact that was counted anew since the counter began has it all already.
    """
    await db.execute(
        """
        WITH moved AS (
            DELETE FROM staged_tally s USING unnest($1::uuid[]) AS who(contact_id), unnest($2::int[]) AS c(counter_id)
            WHERE s.contact_id = who.contact_id AND s.counter_id = c.counter_id
            RETURNING s.contact_id, s.counter_id, s.day, s.key, s.n
        )
        INSERT INTO tally (contact_id, counter_id, day, key, n)
        SELECT moved.* FROM moved JOIN counter ON counter.id = moved.counter_id AND counter.retired_by IS NULL
        LEFT JOIN (
            SELECT contact_id, recounted FROM activity WHERE contact_id = ANY($1) AND recounted > 0
        ) a ON a.contact_id = moved.contact_id
        WHERE coalesce(a.recounted, 0) < counter.since
        ON CONFLICT (contact_id, counter_id, day, key) DO UPDATE SET n = tally.n + excluded.n
        """,
        list(contacts),
        list(counters),
    )


async def count_anew(db: Connection, epoch: int, counters: Mapping[int, Counter], contacts: Sequence[UUID]) -> None:
    """Set the tallies of `contacts` from all their events, which have changed, or have come from another contact.

    The transaction holds the plan of this `epoch`, in which these counters are, and has locked the contacts. A pass
    that counts history just now, or has done so, may have seen their events as they were: what it staged of them for
    counters of this plan is void, and the epoch kept here says so (`add_staged`).
    """
    await db.execute("UPDATE activity SET recounted = $2 WHERE contact_id = ANY($1)", contacts, epoch)
    await Fill(counters).set(db, contacts)


async def give(db: Connection, gone: Sequence[UUID], to: Sequence[UUID], counters: Sequence[int]) -> None:
    """Add the tallies of each contact of `gone` to the one beside it in `to`; all are locked.

    These counters have all history: of one that is being filled, `count_anew` is right for both.
    """
    await db.execute(
        """
        INSERT INTO tally (contact_id, counter_id, day, key, n)
        SELECT pair.taker, t.counter_id, t.day, t.key, sum(t.n)::int
        FROM unnest($1::uuid[], $2::uuid[]) AS pair(gone, taker) CROSS JOIN LATERAL (
            SELECT * FROM tally WHERE contact_id = pair.gone AND counter_id = ANY($3) OFFSET 0
        ) t
        GROUP BY 1, 2, 3, 4
        ON CONFLICT (contact_id, counter_id, day, key) DO UPDATE SET n = tally.n + excluded.n
        """,
        gone,
        to,
        counters,
    )


async def drop(db: Connection, contacts: Sequence[UUID], counters: Sequence[int]) -> None:
    """Remove the tallies of `counters` for `contacts`."""
    await db.execute(_DROP.sql, *_DROP.arguments(contacts=list(contacts), counters=list(counters)))


_DROP = Statement(
    delete(_tally).where(
        _tally.c.contact_id == any_(bindparam("contacts", type_=ARRAY(Uuid))),
        _tally.c.counter_id == any_(bindparam("counters", type_=ARRAY(Integer))),
    )
)


def _store(counters: Mapping[int, Counter]) -> Any:
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
            bindparam("human", type_=ARRAY(Boolean)),
            bindparam("human_by", type_=ARRAY(Text)),
            bindparam("origin", type_=ARRAY(Uuid)),
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
            column("human", Boolean),
            column("human_by", Text),
            column("origin", Uuid),
        )
        .render_derived("incoming")
    )
    now = bindparam("now", type_=DateTime(timezone=True))
    names = ["id", "contact_id", "type", "source", "client_id", "occurred_at", "received_at", "address", "properties"]
    names += ["human", "human_by", "origin"]
    epoch = bindparam("epoch", type_=BigInteger)
    # In the order of ids: two transactions that bring the same events wait for each other, and never in a circle.
    rows = select(
        *(incoming.c[name] for name in names[:6]),
        now,
        incoming.c.address,
        cast(incoming.c.properties, JSONB),
        incoming.c.human,
        incoming.c.human_by,
        incoming.c.origin,
        epoch,
    ).order_by(incoming.c.id)
    stored = (
        insert(_event)
        .from_select([*names, "epoch"], rows)
        .on_conflict_do_nothing(index_elements=["id"])
        .returning(_event.c.id, *(_event.c[name] for name in _COUNTED_BY))
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
        counted = matched(stored, counters).subquery("counted")
        added = insert(_tally).from_select(["contact_id", "counter_id", "day", "key", "n"], select(counted))
        added = added.on_conflict_do_update(
            index_elements=["contact_id", "counter_id", "day", "key"], set_={"n": _tally.c.n + added.excluded.n}
        )
        statement = statement.add_cte(added.returning(_tally.c.contact_id).cte("added"))
    return statement


def history(*where: Any) -> Any:
    """All events of the contacts that the parameter `contacts` names, those for which `where` holds."""
    contacts = func.unnest(bindparam("contacts", type_=ARRAY(Uuid))).column_valued("contact_id")
    who = select(contacts.label("contact_id")).subquery("who")
    past = (
        select(_event)
        .where(_event.c.contact_id == who.c.contact_id, *where)
        .offset(literal_column("0"))
        .lateral("past")
    )
    return select(past).select_from(who.join(past, literal_column("true"))).subquery("history")


def matched(events: Any, counters: Mapping[int, Counter]) -> Any:
    """(contact_id, counter_id, day, key, n): how often each counter matched, over something with an event's columns."""
    plain = {number: counter for number, counter in counters.items() if counter.keyed_by is None}
    keyed = {number: counter for number, counter in counters.items() if counter.keyed_by is not None}
    # The type folded once for all counters: nearly every one asks for it.
    rest = (events.c[name] for name in _COUNTED_BY if name != "type")
    read = select(func.lower(events.c.type, type_=Text).label("type"), *rest).offset(literal_column("0"))
    folded: Any = read.cte("folded") if plain and keyed else read.subquery("folded")
    row = event_row(folded, frozenset({"event.type"}))
    day = utc_day(folded.c.occurred_at).label("day")
    parts = []
    if plain or not keyed:
        # unnest() in the list of columns, not as a table: a function scan per event costs more than all conditions.
        hits: Any = array([case((to_sql(one.condition, row), number)) for number, one in plain.items()], type_=Integer)
        counter = func.unnest(func.array_remove(hits, null())).label("counter_id")
        parts.append(select(folded.c.contact_id, counter, day, literal_column("''").label("key")))
    if keyed:
        # Two of a row side by side: what has no key is left out below.
        numbers = func.unnest(literal(list(keyed), ARRAY(Integer))).label("counter_id")
        keys = func.unnest(array([_key(one, row) for one in keyed.values()], type_=Text)).label("key")
        told = select(folded.c.contact_id, numbers, day, keys).subquery("told")
        parts.append(select(told).where(told.c.key.is_not(None)))
    hit = (parts[0] if len(parts) == 1 else union_all(*parts)).subquery("hit")
    by = [hit.c.contact_id, hit.c.counter_id, hit.c.day, hit.c.key]
    return select(*by, cast(func.count(), Integer).label("n")).group_by(*by)


_LONGEST_KEY = 200
_LONGEST_NUMBER = 60


def _key(counter: Counter, row: Row) -> Any:
    """The key of an event that the counter counts, else NULL. A long one by its digest: an index holds no page."""
    assert counter.keyed_by is not None
    if counter.keyed_as is FieldType.NUMBER:
        text = number_text(counter.keyed_by, row)
        key = case((func.length(text) <= _LONGEST_NUMBER, text))
    else:
        text = scalar_text(counter.keyed_by, row)
        key = case((func.length(text) <= _LONGEST_KEY, text), else_=func.md5(text))
    return case((to_sql(counter.condition, row), key))
