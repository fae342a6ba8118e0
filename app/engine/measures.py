"""Measures: named counts and sums of a contact's events, which conditions ask for as `contact.measures.<key>`.

A measure is a window over the tallies of a counter, which it may share with rules. It counts from the batch after it
was made; a job counts the history before. It never changes, so that whatever names it means the same for ever.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, assert_never
from uuid import UUID

import orjson

from app import clock
from app.engine import checks, publish, rollout
from app.engine import plan as plans
from app.engine.conditions import Json, as_list, tests
from app.engine.fields import MEASURE, SEGMENTS, Aggregate
from app.engine.plan import Plan
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
    refuse_too_much(await plans.load(db))
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
    faults = unholdable(wanted.condition, "/condition")
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
    if used := await users(db, f"{MEASURE}{key}"):
        raise Conflict(f"measure {key!r} is used by {', '.join(used)}; change that first")
    await db.execute("DELETE FROM measure WHERE id = $1", measure.id)
    job = await jobs.enqueue(db, publish.TIDY, {}, now)
    await publish.retire(db, job)
    return job


async def not_ready(db: Connection, names: Iterable[str]) -> list[str]:
    """The keys of those measures, among these fields of a contact, whose history is still being counted."""
    keys = [name.removeprefix(MEASURE) for name in names if name.startswith(MEASURE)]
    if not keys:
        return []
    rows = await db.fetch("SELECT key FROM measure WHERE key = ANY($1) AND NOT ready ORDER BY key", keys)
    return [row["key"] for row in rows]


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


def refuse_too_much(plan: Plan) -> None:
    """Raises Conflict if the conditions that a batch of events has to be asked are too many."""
    asked = [tree for model in plan.models for tree in model.conditions]
    asked += [counter.condition for counter in plan.counters.values()]
    count, most = sum(len(tests(tree)) for tree in asked), publish.MAX_TESTS_LIVE
    if count > most:
        raise Conflict(f"the conditions of all that counts would together hold {count} tests; {most} are the most")


# --- who names what ---------------------------------------------------------------------------------------------------


class Sheet(NamedTuple):
    """What a model says: as a draft, or as a version that counts or is about to."""

    model: str
    is_draft: bool
    spec: dict[str, Any]  # Any: JSON
    rules: list[dict[str, Any]]  # Any: JSON

    @property
    def name(self) -> str:
        return f"the draft of model {self.model!r}" if self.is_draft else f"model {self.model!r}"


async def sheets(db: Connection) -> list[Sheet]:
    """All that models say, by their keys. Archived ones say nothing: they are published anew before they count."""
    rows = await db.fetch(
        """
        WITH pending AS (
            SELECT (payload ->> 'model')::int AS model_id, (payload ->> 'version')::int AS version
            FROM job WHERE kind = $1 AND status IN ('queued', 'running')
        )
        SELECT m.key, true AS is_draft, m.spec,
               coalesce((SELECT jsonb_agg(r.said ORDER BY r.id) FROM rule r WHERE r.model_id = m.id), '[]') AS rules
        FROM scoring_model m WHERE m.archived_at IS NULL
        UNION ALL
        SELECT m.key, false, v.spec, v.rules
        FROM scoring_model m JOIN model_version v ON v.model_id = m.id
        WHERE m.archived_at IS NULL AND (
            v.version = m.live_version OR (v.model_id, v.version) IN (SELECT model_id, version FROM pending)
        )
        ORDER BY 1, 2
        """,
        publish.PUBLISH,
    )
    return [Sheet(*row) for row in rows]


async def users(db: Connection, field: str) -> list[str]:
    """Who names a field of a contact, in words: drafts, versions that count or are about to, segments."""
    found = [sheet.name for sheet in await sheets(db) if field in named([sheet.spec, sheet.rules])]
    segments = await db.fetch("SELECT key, condition FROM segment ORDER BY key")
    found += [f"segment {row['key']!r}" for row in segments if field in named(row["condition"])]
    return list(dict.fromkeys(found))


def named(said: Any) -> set[str]:  # Any: JSON
    """The fields that tests anywhere in it name, as `mentions` has them."""
    return {name for name, _ in mentions(said)}


def mentions(said: Any, pointer: str = "") -> Iterator[tuple[str, str]]:  # Any: JSON
    """(field, JSON pointer) of all that tests anywhere in it name, muted ones too, for those are read as well.

    A segment is named as `contact.segments.<key>`.
    """
    if isinstance(said, list):
        for at, part in enumerate(said):
            yield from mentions(part, f"{pointer}/{at}")
    if not isinstance(said, dict):
        return
    for name, part in said.items():
        yield from mentions(part, f"{pointer}/{name}")
    field, value = said.get("field"), said.get("value")
    if field == SEGMENTS:
        for key in as_list(value) or ():
            yield f"{SEGMENTS}.{key}", f"{pointer}/value"
    elif isinstance(field, str):
        yield field, f"{pointer}/field"
        if said.get("valueSource") == "field" and isinstance(value, str):
            yield value, f"{pointer}/value"


def unholdable(said: Json, pointer: str) -> list[Fault]:
    """The fault of JSON that the database cannot hold. A condition has room for anything beside what is read of it."""
    try:
        orjson.dumps(said)
    except TypeError:
        beyond = "a number beyond 64 bits (write it as text), half of a surrogate pair, or too many levels"
        return [Fault(pointer, f"more than can be kept: {beyond}")]
    has_nul = any("\0" in text for text in _texts(said))
    return [Fault(pointer, "text must not contain the NUL character")] if has_nul else []


def _texts(said: Json) -> Iterator[str]:
    if isinstance(said, str):
        yield said
    elif isinstance(said, list):
        for part in said:
            yield from _texts(part)
    elif isinstance(said, dict):
        for name, part in said.items():
            yield name
            yield from _texts(part)
