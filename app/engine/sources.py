"""Where the formula finds its rows: the tables, the past, or what a caller made up. The formula is one and the same.

A source gives whom it is about, and five things with the columns of their tables: tally, contact, activity, adjustment
and score. Tables are read in LATERAL subqueries with OFFSET 0, here and wherever a batch meets a table: that keeps it
one index lookup per contact. In a plain join the planner may read the whole table for each batch, above all with a
plan that was prepared while the table was small.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import (
    ARRAY,
    Date,
    DateTime,
    Numeric,
    SmallInteger,
    Uuid,
    and_,
    bindparam,
    column,
    false,
    func,
    literal_column,
    or_,
    select,
    union_all,
)

from app.engine import tally
from app.engine.compile import utc_day
from app.engine.tally import Counter
from app.store.tables import Activity, Adjustment, Contact, ContactPast, Event, Score, Tally, core

CONTACTS = bindparam("contacts", type_=ARRAY(Uuid))
AS_OF = bindparam("as_of", type_=Date)
"""The UTC day of which the score is."""
AT = bindparam("at", type_=DateTime(timezone=True))
"""The instant of that day up to which adjustments count as made."""
LOW, HIGH = bindparam("low", type_=Uuid), bindparam("high", type_=Uuid)

_contact, _past, _event = core(Contact), core(ContactPast), core(Event)
_OF_TALLY = ("contact_id", "counter_id", "day", "key", "n")


@dataclass(frozen=True)
class Source:
    """`who` has a column contact_id; the others have their tables' columns. Any: tables, CTEs or subqueries."""

    who: Any
    tally: Any
    contact: Any
    activity: Any
    adjustment: Any
    score: Any
    is_span: bool = False
    """Whether it is about all contacts with ids above `low` and up to `high`: then plain joins read less."""

    def of(self, table: Any, owner: Any, *columns: Any) -> Any:
        """A select of what `table` has of the contact `owner`."""
        key = table.c.id if table is self.contact else table.c.contact_id
        found = select(*columns).where(key == owner)
        if self.is_span:
            return found.where(key > LOW, key <= HIGH)
        return found.offset(literal_column("0"))


def _named(**rest: Any) -> Source:
    contacts = func.unnest(CONTACTS).column_valued("contact_id")
    who = select(contacts.label("contact_id")).subquery("who")
    tables: dict[str, Any] = {
        "tally": core(Tally),
        "contact": _contact,
        "activity": core(Activity),
        "adjustment": core(Adjustment),
        "score": core(Score),
    }
    return Source(who=who, **{**tables, **rest})


STORED = _named()
"""What is stored, of the contacts that the parameter `contacts` names."""


def span() -> Source:
    """What is stored, of all contacts with ids above `low` and up to `high`."""
    activity = core(Activity)
    within = select(activity.c.contact_id).where(activity.c.contact_id > LOW, activity.c.contact_id <= HIGH)
    return replace(STORED, who=within.subquery("who"), is_span=True)


def with_counted(source: Source, counters: Mapping[int, Counter]) -> Source:
    """What is stored, and the tallies of `counters`, which are not stored, counted from all events."""
    if not counters:
        return source
    events: Any = tally.history()
    if source.is_span:
        events = select(_event).where(_event.c.contact_id > LOW, _event.c.contact_id <= HIGH).subquery("history")
    counted = tally.matched(events, counters).cte("counted")
    both = union_all(
        select(*(source.tally.c[name] for name in _OF_TALLY)), select(*(counted.c[name] for name in _OF_TALLY))
    )
    return replace(source, tally=both.subquery("tallies"))


def recounted(counters: Mapping[int, Counter]) -> Source:
    """What is stored, but every tally counted anew from the events."""
    return replace(STORED, tally=tally.matched(tally.history(), counters).cte("counted"))


def as_of(counters: Mapping[int, Counter]) -> Source:
    """What was known at the instant `at`, or had happened by then; scores of other models are parameters."""
    had_happened = or_(_event.c.occurred_at <= AT, _event.c.received_at <= AT)
    by_then = tally.history(and_(had_happened, utc_day(_event.c.occurred_at) <= AS_OF))
    counted = tally.matched(by_then, counters).cte("counted")
    events = tally.history(had_happened)
    seen = func.max(func.least(events.c.occurred_at, events.c.received_at)).label("last_event_at")
    who = STORED.who
    last = (
        select(who.c.contact_id, func.coalesce(seen, literal_column("'-infinity'::timestamptz")).label("last_event_at"))
        .select_from(who.outerjoin(events, events.c.contact_id == who.c.contact_id))
        .group_by(who.c.contact_id)
    )
    return replace(STORED, tally=counted, contact=_then(who), activity=last.cte("activity_then"), score=given_scores())


def _then(who: Any) -> Any:
    """Each contact as it was at `at`."""
    was = (
        select(_past.c.said)
        .where(_past.c.contact_id == who.c.contact_id, _past.c.until > AT)
        .order_by(_past.c.id)
        .limit(1)
        .scalar_subquery()
    )
    row = func.coalesce(was, func.to_jsonb(_contact.table_valued()))
    then = func.jsonb_populate_record(literal_column("null::contact"), row).table_valued(
        *(column(one.name, one.type) for one in _contact.c), name="past"
    )
    rows = select(then).select_from(
        who.join(_contact, _contact.c.id == who.c.contact_id).join(then.lateral("past"), literal_column("true"))
    )
    return rows.cte("contact_then")


def given_scores() -> Any:
    """The scores of each contact in other models, from the parameters `models` and `values`."""
    contacts = select(func.unnest(CONTACTS).label("contact_id")).subquery("whose")
    given = (
        func.unnest(bindparam("models", type_=ARRAY(SmallInteger)), bindparam("values", type_=ARRAY(Numeric)))
        .table_valued(column("model_id", SmallInteger), column("value", Numeric))
        .render_derived("given")
    )
    pairs = contacts.join(given, literal_column("true"))
    return select(contacts.c.contact_id, given.c.model_id, given.c.value).select_from(pairs).subquery("given_score")


def nobody(table: Any) -> Any:
    """A table's columns, and no row."""
    return select(table).where(false()).subquery("none")
