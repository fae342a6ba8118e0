"""The proof: everything computed again from the events alone, and compared with what is stored.

A chunk at a time, each in one snapshot, beside whatever goes on. A difference is a fault of ours.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Integer,
    SmallInteger,
    Text,
    and_,
    any_,
    case,
    cast,
    false,
    func,
    literal,
    literal_column,
    or_,
    select,
)

from app import clock
from app.engine import plan as plans
from app.engine import sources, tally
from app.engine.formula import formula
from app.engine.sheets import LiveModel
from app.engine.sources import AS_OF, CONTACTS
from app.engine.tally import Counter
from app.store.db import Connection, Database, Statement
from app.store.tables import Score, Tally, core

_CHUNK = 500
_KEPT = 1_000
_NOBODY = UUID(int=0)
_score, _tally = core(Score), core(Tally)


class Difference(NamedTuple):
    """What is stored of a contact, and what its events say. `what` names a tally or a score."""

    contact_id: UUID
    what: str
    stored: str
    recomputed: str


@dataclass
class Report:
    contacts: int = 0
    """How many were passed, so far."""
    total: int = 0
    looked_at: int = 0
    """How many of those passed are in the sample."""
    due: int = 0
    """Scores that changed by themselves today and wait for the sweep: as of their day they are right."""
    busy: list[str] = field(default_factory=list)
    """Models that are being published or scored anew just now, and so are left out."""
    count: int = 0
    differences: list[Difference] = field(default_factory=list)
    """The first thousand; `count` counts all."""


async def verify(database: Database, sample: float = 1.0) -> AsyncIterator[Report]:
    """Yields the report as it grows. `sample`: the share of contacts looked at, more than 0 and at most 1.

    Contacts are chosen by their ids, so that the same share looks at the same ones.
    """
    report = Report()
    comparison = _Comparison(report)
    async with database.hot.acquire() as db:
        report.total = await db.fetchval("SELECT count(*) FROM activity")
    low = _NOBODY
    yield report
    while True:
        async with database.hot.acquire() as db, db.transaction(isolation="repeatable_read"):
            rows = await db.fetch(
                """
                SELECT contact_id, hashtext(contact_id::text) & 65535 < $3 AS chosen
                FROM activity WHERE contact_id > $1 ORDER BY contact_id LIMIT $2
                """,
                low,
                _CHUNK,
                int(sample * 65536),
            )
            if not rows:
                break
            low = rows[-1]["contact_id"]
            chosen = [row["contact_id"] for row in rows if row["chosen"]]
            report.contacts += len(rows)
            report.looked_at += len(chosen)
            if chosen:
                await comparison.run(db, chosen)
        yield report


class _Comparison:
    """Compares chunk after chunk, each by what counts in its snapshot."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._key: object = None
        self._statements: list[Statement] = []
        self._recount = tally.Recount({})

    async def run(self, db: Connection, contacts: Sequence[UUID]) -> None:
        await self._prepare(db)
        now = clock.now()
        await self._recount.set(db, contacts)
        for statement in self._statements:
            arguments = statement.arguments(contacts=list(contacts), as_of=now.date(), at=now)
            for row in await db.fetch(statement.sql, *arguments):
                self._note(row)

    def _note(self, row: Any) -> None:  # Any: a record
        if row["is_due"]:
            self._report.due += 1
            return
        self._report.count += 1
        if len(self._report.differences) < _KEPT:
            difference = Difference(row["contact_id"], row["what"], row["stored"], row["recomputed"])
            self._report.differences.append(difference)

    async def _prepare(self, db: Connection) -> None:
        """Compile what this snapshot asks for, if it is not what the one before did."""
        epoch = await db.fetchval("SELECT epoch FROM plan_epoch")
        working = await db.fetch(
            """
            SELECT DISTINCT m.key FROM job j JOIN scoring_model m
              ON m.id = (j.payload ->> 'model')::int OR j.payload -> 'keys' ? m.key
            WHERE (j.status = 'running' OR j.status = 'queued' AND coalesce(j.starts_at, '-infinity') <= $1)
              AND j.kind IN ('model.publish', 'model.rescore')
            """,
            clock.now(),
        )
        retyped = await db.fetch(
            """
            SELECT DISTINCT payload ->> 'name' AS name FROM job
            WHERE status IN ('queued', 'running') AND kind = 'property.retype'
            """
        )
        filled = {row["id"] for row in await db.fetch("SELECT id FROM counter WHERE filled AND retired_by IS NULL")}
        keys, names = {row["key"] for row in working}, {f"contact.properties.{row['name']}" for row in retyped}
        key = (epoch, frozenset(keys), frozenset(names), frozenset(filled))
        if key == self._key:
            return
        plan = await plans.load(db)
        keys |= {model.key for model in plan.models if model.names & names}
        busy = {model.key for model in plan.dependent_on(keys)}
        self._report.busy = sorted(busy | set(self._report.busy))
        counters = {number: counter for number, counter in plan.counters.items() if number in filled}
        models = [model for model in plan.models if model.key not in busy]
        self._key = key
        self._recount = tally.Recount(counters)
        self._statements = [Statement(_tallies(counters))] if counters else []
        if models:
            total = formula(models, plan.contacts, sources.RECOUNTED).total
            self._statements.append(Statement(_scores(total, models)))


def _tallies(counters: dict[int, Counter]) -> Any:
    """Tallies that are not what the events say."""
    kept = (
        select(_tally)
        .where(
            _tally.c.contact_id == any_(CONTACTS), _tally.c.counter_id == any_(literal(list(counters), ARRAY(Integer)))
        )
        .subquery("kept")
    )
    counted = tally.RECOUNT.alias("counted")
    on = and_(*(kept.c[name] == counted.c[name] for name in ("contact_id", "counter_id", "day", "key")))
    either = {name: func.coalesce(kept.c[name], counted.c[name]) for name in ("contact_id", "counter_id", "day", "key")}
    what = func.format(
        literal_column("'tally of counter %s on %s %s'"), either["counter_id"], either["day"], either["key"]
    )
    return (
        select(
            either["contact_id"].label("contact_id"),
            what.label("what"),
            cast(kept.c.n, Text).label("stored"),
            cast(counted.c.n, Text).label("recomputed"),
            false().label("is_due"),
        )
        .select_from(kept.join(counted, on, full=True))
        .where(kept.c.n.is_distinct_from(counted.c.n))
    )


def _scores(total: Any, models: Sequence[LiveModel]) -> Any:
    """Scores that are not what the events, the contact and the adjustments say."""
    found = total.subquery("found")
    kept = (
        select(_score)
        .where(_score.c.contact_id == found.c.contact_id, _score.c.model_id == found.c.model_id)
        .offset(literal_column("0"))
        .lateral("kept")
    )
    value = func.coalesce(found.c.override, found.c.computed)
    computed = case((found.c.override.is_not(None), found.c.computed))
    differs = or_(
        kept.c.contact_id.is_(None),
        kept.c.value.is_distinct_from(value),
        kept.c.computed.is_distinct_from(computed),
        kept.c.next_change_on.is_distinct_from(found.c.next_change_on),
    )
    names = case(
        *(
            (found.c.model_id == literal(model.id, SmallInteger), literal(f"score in {model.key}", Text))
            for model in models
        )
    )
    said: Any = literal_column("'%s (rules: %s, until %s)'")
    return (
        select(
            found.c.contact_id,
            names.label("what"),
            func.format(said, kept.c.value, kept.c.computed, kept.c.next_change_on).label("stored"),
            func.format(said, value, computed, found.c.next_change_on).label("recomputed"),
            func.coalesce(kept.c.next_change_on <= AS_OF, false()).label("is_due"),
        )
        .select_from(found.outerjoin(kept, literal_column("true")))
        .where(differs)
    )
