"""Measures: named counts and sums of a contact's events, which conditions ask for as `contact.measures.<key>`.

A measure is a window over the tallies of a counter, which it may share with rules. It counts from the batch after it
was made; a job counts the history before. It never changes, so that whatever names it means the same for ever.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, assert_never
from uuid import UUID

from app import clock
from app.engine import checks, publish, rollout, usage
from app.engine import plan as plans
from app.engine.fields import MEASURE, Aggregate
from app.engine.rules import MAX_DAYS
from app.errors import Conflict, Fault, InvalidInput, NotFound
from app.store import jobs
from app.store.db import Connection, Database
from app.store.tables import Measure

FILL = "measure.fill"
_PROPERTY = "event.properties."


@dataclass(frozen=True)
class Wanted:
    """What a measure is to say. docs/scoring.md says what each field means."""

    key: str
    name: str
    condition: dict[str, Any]  # Any: JSON
    aggregate: Aggregate
    of: str | None = None
    window_days: int | None = None

    @property
    def asked(self) -> publish.Asked:
        """What its counter counts: a sum tells numbers apart, and adds them up when it is read."""
        match self.aggregate:
            case Aggregate.COUNT:
                return publish.Asked(self.condition, None, None)
            case Aggregate.SUM:
                return publish.Asked(self.condition, self.of, "number")
            case Aggregate.DISTINCT:
                return publish.Asked(self.condition, self.of, "text")
            case _:
                assert_never(self.aggregate)


class Made(NamedTuple):
    measure: Measure
    job: UUID | None
    """What counts the history; None if a rule or another measure has had that counted already."""


async def create(db: Connection, wanted: Wanted, now: datetime) -> Made:
    """Count what is `wanted` from the commit on, and enqueue the count of what was before.

    Raises InvalidInput with a pointer to each fault; Conflict for a key that is taken, and for more conditions than
    can be asked at once.
    """
    if faults := _faults(wanted):
        raise InvalidInput(*faults)
    await plans.change(db)
    if await db.fetchval("SELECT EXISTS (SELECT FROM measure WHERE key = $1)", wanted.key):
        raise Conflict(f"there is a measure {wanted.key!r} already", "/key")
    [counter] = await publish.count(db, [wanted.asked])
    usage.refuse_too_much(await plans.load(db))
    row = await db.fetchrow(
        """
        INSERT INTO measure (key, name, condition, aggregate, of, window_days, counter_id, ready, created_at)
        SELECT $1, $2, $3, $4, $5, $6, id, filled, $8 FROM counter WHERE id = $7 RETURNING *
        """,
        wanted.key,
        wanted.name,
        wanted.condition,
        wanted.aggregate,
        wanted.of,
        wanted.window_days,
        counter,
        now,
    )
    assert row is not None
    made = Measure(**dict(row))
    return Made(made, None if made.ready else await jobs.enqueue(db, FILL, {"measure": made.id}, now))


def _faults(wanted: Wanted) -> list[Fault]:
    faults = checks.unholdable(wanted.condition, "/condition")
    if not faults:
        try:
            checks.event_tree(wanted.condition)
        except InvalidInput as fault:
            faults = [one.under("/condition") for one in fault.faults]
    if wanted.window_days is not None and not 0 < wanted.window_days <= MAX_DAYS:
        faults.append(Fault("/window_days", f"expected a positive number up to {MAX_DAYS}"))
    return faults + _faults_of(wanted.aggregate, wanted.of)


def _faults_of(aggregate: Aggregate, of: str | None) -> list[Fault]:
    match aggregate:
        case Aggregate.COUNT:
            return [] if of is None else [Fault("/of", "a count is of events; it has none")]
        case Aggregate.SUM:
            is_property = of is not None and of.startswith(_PROPERTY) and of != _PROPERTY
            return [] if is_property else [Fault("/of", f"a sum needs it: {_PROPERTY}<name>, which holds numbers")]
        case Aggregate.DISTINCT:
            return checks.event_field(of or "", "/of")
        case _:
            assert_never(aggregate)


async def get(db: Connection, key: str) -> Measure:
    """Raises NotFound."""
    row = await db.fetchrow("SELECT * FROM measure WHERE key = $1", key)
    if row is None:
        raise NotFound(f"there is no measure {key!r}")
    return Measure(**dict(row))


async def page(db: Connection, *, limit: int, after: str | None) -> list[Measure]:
    """Measures in the order of their keys."""
    rows = await db.fetch("SELECT * FROM measure WHERE key > $1 ORDER BY key LIMIT $2", after or "", limit)
    return [Measure(**dict(row)) for row in rows]


async def delete(db: Connection, key: str, now: datetime) -> UUID:
    """Forget a measure. Returns the job that removes its tallies, unless something else counts by them.

    Raises NotFound, or Conflict that names who uses it.
    """
    await get(db, key)
    await plans.change(db)
    measure = await get(db, key)
    if used := await usage.users(db, f"{MEASURE}{key}"):
        raise Conflict(f"measure {key!r} is used by {', '.join(used)}; change that first")
    await db.execute("DELETE FROM measure WHERE id = $1", measure.id)
    job = await jobs.enqueue(db, publish.TIDY, {}, now)
    await publish.retire(db, job)
    return job


async def run_fill(database: Database, job_id: UUID) -> None:
    """Count the history of one measure, from wherever the job stands, and let it be ready."""
    async with database.batch() as db:
        job = await jobs.start(db, job_id, clock.now())
        if job is None:
            return
        measure = job["payload"]["measure"]
        counter = await db.fetchval("SELECT counter_id FROM measure WHERE id = $1", measure)
    if counter is not None:
        await rollout.fill(database, job_id, [counter])
    async with database.batch() as db:
        await plans.change(db)
        counter = await db.fetchval("UPDATE measure SET ready = true WHERE id = $1 RETURNING counter_id", measure)
        await db.execute("UPDATE counter SET filled = true WHERE id = $1", counter)
        error = "the measure was deleted meanwhile" if counter is None else None
        await jobs.finish(db, job_id, clock.now(), error)
