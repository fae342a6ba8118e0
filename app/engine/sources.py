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
    Boolean,
    Date,
    DateTime,
    Numeric,
    SmallInteger,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    cast,
    column,
    false,
    func,
    literal_column,
    null,
    or_,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import JSONB

from app.engine import tally
from app.engine.compile import typed, utc_day
from app.engine.fields import FIXED, FieldType, Scope
from app.engine.tally import Counter
from app.store.tables import Activity, Adjustment, Contact, ContactPast, Event, Score, Tally, core

CONTACTS = bindparam("contacts", type_=ARRAY(Uuid))
AS_OF = bindparam("as_of", type_=Date)
"""The UTC day of which the score is."""
AT = bindparam("at", type_=DateTime(timezone=True))
"""The instant of that day up to which adjustments count as made."""

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

    def of(self, table: Any, owner: Any, *columns: Any) -> Any:
        """A select of what `table` has of the contact `owner`."""
        key = table.c.id if table is self.contact else table.c.contact_id
        return select(*columns).where(key == owner).offset(literal_column("0"))


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


STORED_AND_RECOUNTED = _named(
    tally=union_all(*(select(*(one.c[name] for name in _OF_TALLY)) for one in (core(Tally), tally.RECOUNT))).subquery(
        "tallies"
    )
)
"""What is stored, and beside it the tallies that `tally.Recount` has set."""
RECOUNTED = _named(tally=tally.RECOUNT)
"""What is stored, but no tally other than those that `tally.Recount` has set."""


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
    columns = (column(one.name, one.type) for one in _contact.c)
    then = func.jsonb_populate_record(literal_column("null::contact"), row).table_valued(*columns).lateral("then")
    always: Any = literal_column("true")
    rows = select(then).select_from(who.join(_contact, _contact.c.id == who.c.contact_id).join(then, always))
    return rows.cte("contact_then")


def given_scores() -> Any:
    """The scores of contacts in other models, from the parameters `owners`, `models` and `values`."""
    given = (
        func.unnest(
            bindparam("owners", type_=ARRAY(Uuid)),
            bindparam("models", type_=ARRAY(SmallInteger)),
            bindparam("values", type_=ARRAY(Numeric)),
        )
        .table_valued(column("contact_id", Uuid), column("model_id", SmallInteger), column("value", Numeric))
        .render_derived("given")
    )
    return select(given.c.contact_id, given.c.model_id, given.c.value).select_from(given).subquery("given_score")


def made_up(counters: Mapping[int, Counter]) -> Source:
    """The contact and the events that the parameters `said_contact` and `said_events` hold, as JSON text.

    A contact is as the API shows one, events as they are posted, those without a time being of the instant `at`. What
    is missing, or of another type than its field, is as in a contact that has just been made.
    """
    who = STORED.who
    said = cast(bindparam("said_contact", type_=Text), JSONB)
    given = select(who.c.contact_id, said.label("said")).cte("said_contact")
    contact = select(*(_made_up(one, given) for one in _contact.c)).select_from(given).cte("contact_made_up")
    listed = func.jsonb_array_elements(cast(bindparam("said_events", type_=Text), JSONB))
    each = listed.table_valued(column("said", JSONB)).render_derived("each")
    one = each.c.said
    events = (
        select(
            given.c.contact_id,
            func.coalesce(typed(one["type"], FieldType.TEXT), "").label("type"),
            func.coalesce(typed(one["source"], FieldType.TEXT), "api").label("source"),
            func.coalesce(typed(one["occurred_at"], FieldType.DATETIME), AT).label("occurred_at"),
            func.coalesce(one["properties"], literal_column("'{}'::jsonb")).label("properties"),
            typed(one["human"], FieldType.BOOLEAN).label("human"),
        )
        .select_from(given.join(each, literal_column("true")))
        .cte("event_made_up")
    )
    last = func.max(func.least(events.c.occurred_at, AT))
    seen = func.greatest(select(last).scalar_subquery(), typed(given.c.said["last_event_at"], FieldType.DATETIME))
    never: Any = literal_column("'-infinity'::timestamptz")
    activity = select(given.c.contact_id, func.coalesce(seen, never).label("last_event_at")).cte("activity_made_up")
    counted = tally.matched(events, counters).cte("counted")
    return replace(STORED, tally=counted, contact=contact, activity=activity, adjustment=nobody(core(Adjustment)))


_FRESH = {"tags": "'{}'::text[]", "properties": "'{}'::jsonb", "bounce_status": "'none'", "soft_bounces": "0"}
"""What a new contact has, column by column; no flag is raised, and all else is NULL."""


def _made_up(column_: Any, given: Any) -> Any:
    name = column_.name
    if name == "id":
        return given.c.contact_id.label("id")
    value = given.c.said[name]
    if name == "properties":
        value = case((func.jsonb_typeof(value) == literal_column("'object'"), value))
    else:
        kind = FIXED[Scope.CONTACT].get(f"contact.{name}")
        value = cast(null(), column_.type) if kind is None else typed(value, kind)
    fresh: Any = AT if name == "created_at" else literal_column(_FRESH[name]) if name in _FRESH else None
    if fresh is None and isinstance(column_.type, Boolean):
        fresh = false()
    return (value if fresh is None else func.coalesce(value, fresh, type_=column_.type)).label(name)


def nobody(table: Any) -> Any:
    """A table's columns, and no row."""
    return select(table).where(false()).subquery("none")
