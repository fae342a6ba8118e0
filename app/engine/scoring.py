"""From tallies and contact to scores: one SQL statement for a list of contacts, whatever asks for it.

Ingest, the recompute after publishing, the daily sweep and the explanation all run `contributions`: what each rule
gives each contact on a UTC day. A score is their sum.

Tables are read in LATERAL subqueries with OFFSET 0, here and wherever a batch meets a table: that keeps it one index
lookup per contact. In a plain join the planner may read the whole table for each batch, above all with a plan that
was prepared while the table was small.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    CTE,
    BigInteger,
    Date,
    DateTime,
    Integer,
    Numeric,
    SmallInteger,
    Uuid,
    and_,
    bindparam,
    case,
    cast,
    column,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import array, insert

from app.engine.compile import contact_row, next_flip, to_sql
from app.engine.rules import LiveModel, LiveRule, RuleKind
from app.store.db import Connection, Statement
from app.store.tables import Activity, Contact, Score, Tally

_tally: Any = Tally.__table__  # type: ignore[attr-defined]  # SQLModel hides the table it makes
_contact: Any = Contact.__table__  # type: ignore[attr-defined]
_activity: Any = Activity.__table__  # type: ignore[attr-defined]
_score: Any = Score.__table__  # type: ignore[attr-defined]

_AS_OF = bindparam("as_of", type_=Date)
_ZERO: Any = literal_column("0")


class Scorer:
    """The compiled statements of some models. Build once, use for any number of batches."""

    def __init__(self, models: Sequence[LiveModel]) -> None:
        self.models = tuple(models)
        self._store = Statement(_store(self.models)) if self.models else None
        self._explain = Statement(select(_contributions(self.models))) if self.models else None

    async def score(self, db: Connection, contacts: Sequence[UUID], now: datetime) -> None:
        """Recompute and store the scores of `contacts`, which the transaction has locked, as of `now`'s UTC day.

        Only rows that change are written. Safe to repeat: equal input gives equal rows.
        """
        if self._store is not None and contacts:
            await db.execute(
                self._store.sql, *self._store.arguments(contacts=list(contacts), as_of=now.date(), now=now)
            )

    async def explain(self, db: Connection, contacts: Sequence[UUID], as_of: date) -> list["Contribution"]:
        """What every rule gives each of `contacts` on `as_of`; rules that give nothing are left out."""
        if self._explain is None or not contacts:
            return []
        rows = await db.fetch(self._explain.sql, *self._explain.arguments(contacts=list(contacts), as_of=as_of))
        by_number = {live.number: (model, live) for model in self.models for live in model.rules}
        return [
            Contribution(row["contact_id"], *by_number[row["number"]], row["count"], row["points"])
            for row in rows
            if row["count"]
        ]


class Contribution:
    """How often one rule counted for one contact, and the points it gives, after its limits."""

    __slots__ = ("contact_id", "count", "model", "points", "rule")

    def __init__(self, contact_id: UUID, model: LiveModel, live: LiveRule, count: int, points: Any) -> None:
        self.contact_id = contact_id
        self.model = model
        self.rule = live.rule
        self.count = count
        self.points = points


def _store(models: Sequence[LiveModel]) -> Any:
    """Insert or update the sum of each model's contributions, where it is not what is stored."""
    given = _contributions(models)
    who = _who()
    sheet = (
        func.unnest(
            literal([model.id for model in models], ARRAY(SmallInteger)),
            literal([model.version for model in models], ARRAY(Integer)),
        )
        .table_valued(column("model_id", SmallInteger), column("version", Integer))
        .render_derived("sheet")
    )
    scored = (
        select(
            who.c.contact_id,
            sheet.c.model_id,
            func.coalesce(func.sum(given.c.points), _ZERO).label("value"),
            sheet.c.version,
            func.min(given.c.next_change_on).label("next_change_on"),
            bindparam("now", type_=DateTime(timezone=True)).label("computed_at"),
        )
        .select_from(who.join(sheet, literal_column("true")))
        .outerjoin(given, and_(given.c.contact_id == who.c.contact_id, given.c.model_id == sheet.c.model_id))
        .group_by(who.c.contact_id, sheet.c.model_id, sheet.c.version)
    )
    names = ["contact_id", "model_id", "value", "version", "next_change_on", "computed_at"]
    # What is as stored is left out before the insert, for a conflict locks, and so writes, even a row it leaves alone.
    fresh = scored.subquery("fresh")
    kept = (
        select(_score)
        .where(_score.c.contact_id == fresh.c.contact_id, _score.c.model_id == fresh.c.model_id)
        .offset(literal_column("0"))
        .lateral("kept")
    )
    changed = (
        select(fresh)
        .select_from(fresh.outerjoin(kept, literal_column("true")))
        .where(or_(*(kept.c[name].is_distinct_from(fresh.c[name]) for name in names[2:5])))
    )
    statement = insert(_score).from_select(names, changed)
    return statement.on_conflict_do_update(
        index_elements=["contact_id", "model_id"], set_={name: statement.excluded[name] for name in names[2:]}
    )


def _contributions(models: Sequence[LiveModel]) -> CTE:
    """(contact_id, model_id, number, count, points, next_change_on) for each rule that gives, or may come to give."""
    event = [(model, live) for model in models for live in model.rules if live.rule.kind is RuleKind.EVENT]
    profile = [(model, live) for model in models for live in model.rules if live.rule.kind is RuleKind.PROFILE]
    parts = [_nothing()]
    if event:
        parts.append(_from_tallies(event))
    if profile:
        parts.append(_from_profile(profile))
    return union_all(*parts).cte("contribution")


def _who() -> Any:
    contacts = func.unnest(bindparam("contacts", type_=ARRAY(Uuid))).column_valued("contact_id")
    return select(contacts.label("contact_id")).subquery("who")


def _nothing() -> Any:
    """No row, with the columns' types: a model without rules scores nought."""
    return select(
        cast(null(), Uuid).label("contact_id"),
        cast(null(), SmallInteger).label("model_id"),
        cast(null(), Integer).label("number"),
        cast(null(), BigInteger).label("count"),
        cast(null(), Numeric).label("points"),
        cast(null(), Date).label("next_change_on"),
    ).where(literal_column("false"))


def _from_tallies(rules: Sequence[tuple[LiveModel, LiveRule]]) -> Any:
    """Event rules: points × counted events inside the window, within the limits a day and in all."""
    who = _who()
    sheet = (
        func.unnest(
            literal([live.number for _, live in rules], ARRAY(Integer)),
            literal([model.id for model, _ in rules], ARRAY(SmallInteger)),
            literal([live.counter_id for _, live in rules], ARRAY(Integer)),
            literal([live.rule.points for _, live in rules], ARRAY(Numeric)),
            literal([live.rule.window_days for _, live in rules], ARRAY(Integer)),
            literal([live.rule.max_per_day for _, live in rules], ARRAY(Integer)),
            literal([live.rule.max_points for _, live in rules], ARRAY(Numeric)),
        )
        .table_valued(
            column("number", Integer),
            column("model_id", SmallInteger),
            column("counter_id", Integer),
            column("points", Numeric),
            column("window_days", Integer),
            column("max_per_day", Integer),
            column("max_points", Numeric),
        )
        .render_derived("rule")
    )
    days = (
        select(_tally.c.counter_id, _tally.c.day, _tally.c.n)
        .where(_tally.c.contact_id == who.c.contact_id)
        .offset(literal_column("0"))
        .lateral("days")
    )
    begins = _AS_OF - sheet.c.window_days
    is_inside = and_(days.c.day <= _AS_OF, or_(sheet.c.window_days.is_(None), days.c.day > begins))
    counted = func.sum(case((is_inside, func.least(days.c.n, sheet.c.max_per_day)), else_=_ZERO))
    # A day to come counts when it comes; a counted day leaves the window after window_days days (NULL: never).
    moves = case((days.c.day > _AS_OF, days.c.day), (is_inside, days.c.day + sheet.c.window_days))
    summed = (
        select(
            who.c.contact_id,
            sheet.c.model_id,
            sheet.c.number,
            cast(counted, BigInteger).label("count"),
            sheet.c.points,
            sheet.c.max_points,
            func.min(moves).label("next_change_on"),
        )
        .select_from(who.join(days, literal_column("true")))
        .join(sheet, sheet.c.counter_id == days.c.counter_id)
        .group_by(who.c.contact_id, sheet.c.model_id, sheet.c.number, sheet.c.points, sheet.c.max_points)
        .subquery("summed")
    )
    raw = summed.c.count * summed.c.points
    limited = func.greatest(func.least(raw, summed.c.max_points), -summed.c.max_points)
    return select(
        summed.c.contact_id,
        summed.c.model_id,
        summed.c.number,
        summed.c.count,
        cast(limited, Numeric).label("points"),
        summed.c.next_change_on,
    )


def _from_profile(rules: Sequence[tuple[LiveModel, LiveRule]]) -> Any:
    """Profile rules: points while the condition on the contact holds."""
    who = _who()
    person = (
        select(_contact, _activity.c.last_event_at)
        .where(_contact.c.id == who.c.contact_id, _activity.c.contact_id == who.c.contact_id)
        .offset(literal_column("0"))
        .lateral("person")
    )
    row = contact_row(person, person.c.last_event_at, _AS_OF)
    sheet = (
        func.unnest(
            literal([live.number for _, live in rules], ARRAY(Integer)),
            literal([model.id for model, _ in rules], ARRAY(SmallInteger)),
            literal([live.rule.points for _, live in rules], ARRAY(Numeric)),
            array([to_sql(live.tree, row) for _, live in rules]),
            array([next_flip(live.tree, person.c.last_event_at, _AS_OF) for _, live in rules]),
        )
        .table_valued(
            column("number", Integer),
            column("model_id", SmallInteger),
            column("points", Numeric),
            column("holds"),
            column("next_change_on", Date),
        )
        .render_derived("rule")
    )
    return select(
        who.c.contact_id,
        sheet.c.model_id,
        sheet.c.number,
        case((sheet.c.holds, literal_column("1")), else_=_ZERO).label("count"),
        cast(case((sheet.c.holds, sheet.c.points), else_=_ZERO), Numeric).label("points"),
        sheet.c.next_change_on,
    ).select_from(
        who.join(person, literal_column("true")).join(sheet, or_(sheet.c.holds, sheet.c.next_change_on.is_not(None)))
    )
