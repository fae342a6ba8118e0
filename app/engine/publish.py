"""Making a draft count: freeze it, fill its new counters, switch to it, score everybody again.

Ingest goes on all the while. Each step works contact by contact, in chunks that commit with their own progress, so
that a worker that dies is followed by one that goes on where it stopped.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from app import clock
from app.engine import identity, rules, tally
from app.engine import plan as plans
from app.engine.conditions import parse, tests
from app.engine.fields import Scope, Vocabulary
from app.engine.identity import ContactGone
from app.engine.rules import Rule, RuleKind
from app.engine.scoring import Scorer
from app.errors import Conflict, NotFound
from app.store import jobs
from app.store.db import Connection, Database

PUBLISH = "model.publish"
TIDY = "model.tidy"
MAX_TESTS_LIVE = 3_000
"""Each becomes a few parameters of the statements that tally and score; Postgres takes 65,535, asyncpg 32,767."""
_CHUNK = 2_000
_NOBODY = UUID(int=0)


class Published(NamedTuple):
    version: int
    job: UUID


async def publish(db: Connection, key: str, by: str, now: datetime) -> Published:
    """Freeze the draft of model `key` as its next version and enqueue the work that makes it count.

    Raises NotFound, or Conflict for an archived model.
    """
    model = await db.fetchrow("SELECT * FROM scoring_model WHERE key = $1 FOR UPDATE", key)
    if model is None:
        raise NotFound(f"there is no scoring model {key!r}")
    if model["archived_at"] is not None:
        raise Conflict(f"scoring model {key!r} is archived; make it active again before publishing")
    drafted = await db.fetch("SELECT * FROM rule WHERE model_id = $1 ORDER BY id", model["id"])
    frozen = [Rule.of(dict(row)) for row in drafted]
    counters = await _counters(db, [rule for rule in frozen if rule.kind is RuleKind.EVENT])
    await _refuse_too_much(db, model["id"], frozen)
    version: int = await db.fetchval(
        "SELECT coalesce(max(version), 0) + 1 FROM model_version WHERE model_id = $1", model["id"]
    )
    await db.execute(
        """
        INSERT INTO model_version (model_id, version, name, bands, rules, published_at, published_by)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        """,
        model["id"],
        version,
        model["name"],
        model["bands"],
        [{**rule.to_json(), "counter_id": counters.get(rule.id)} for rule in frozen],
        now,
        by,
    )
    return Published(version, await jobs.enqueue(db, PUBLISH, {"model": model["id"], "version": version}, now))


async def archive(db: Connection, key: str, now: datetime) -> UUID:
    """Score this model no more; its scores stay as they are. Returns the job that removes what only it counted."""
    model = await _existing(db, key)
    await plans.change(db)
    await db.execute("UPDATE scoring_model SET archived_at = $2 WHERE id = $1", model, now)
    return await _tidy(db, {"freeze": model}, now)


async def unarchive(db: Connection, key: str) -> None:
    """Make an archived model a draft again; it counts once it is published, since its tallies are gone."""
    model = await _existing(db, key)
    await plans.change(db)
    await db.execute(
        "UPDATE scoring_model SET archived_at = NULL, live_version = NULL WHERE id = $1 AND archived_at IS NOT NULL",
        model,
    )


async def delete(db: Connection, key: str, now: datetime) -> UUID:
    """Remove a model with its rules and versions. Returns the job that removes its scores and what only it counted."""
    model = await _existing(db, key)
    await plans.change(db)
    await db.execute("DELETE FROM scoring_model WHERE id = $1", model)
    return await _tidy(db, {"forget": model}, now)


async def _existing(db: Connection, key: str) -> int:
    model: int | None = await db.fetchval("SELECT id FROM scoring_model WHERE key = $1 FOR UPDATE", key)
    if model is None:
        raise NotFound(f"there is no scoring model {key!r}")
    return model


async def _tidy(db: Connection, payload: dict[str, Any], now: datetime) -> UUID:  # Any: JSON
    job = await jobs.enqueue(db, TIDY, payload, now)
    await _retire(db, job)
    return job


async def _counters(db: Connection, event_rules: Sequence[Rule]) -> dict[UUID, int]:
    """The counter of each event rule; those that are new begin to count with the next batch, and are filled later."""
    if not event_rules:
        return {}
    # First of all: else a counter found here could be set aside before this version, which needs it, is committed.
    await plans.change(db)
    digests = {rule.id: rules.digest(rule.tree()) for rule in event_rules}
    conditions = {digests[rule.id]: rule.condition for rule in event_rules}
    await db.execute(
        """
        INSERT INTO counter (digest, condition)
        SELECT digest, condition FROM unnest($1::bytea[], $2::jsonb[]) AS new(digest, condition) ORDER BY digest
        ON CONFLICT (digest) DO UPDATE SET retired_by = NULL, filled = false WHERE counter.retired_by IS NOT NULL
        """,
        list(conditions),
        list(conditions.values()),
    )
    rows = await db.fetch("SELECT id, digest FROM counter WHERE digest = ANY($1)", list(conditions))
    by_digest = {row["digest"]: row["id"] for row in rows}
    return {rule: by_digest[digest] for rule, digest in digests.items()}


async def _refuse_too_much(db: Connection, model_id: int, frozen: Sequence[Rule]) -> None:
    """Raises Conflict if what then counts is more than one statement can ask of a batch."""
    plan = await plans.load(db, epoch=0)
    trees = list(plan.counters.values())
    trees += [rule.tree() for rule in frozen if rule.kind is RuleKind.PROFILE]
    trees += [
        live.tree
        for other in plan.models
        for live in other.rules
        if other.id != model_id and live.rule.kind is RuleKind.PROFILE
    ]
    asked = sum(len(tests(tree)) for tree in trees)
    if asked > MAX_TESTS_LIVE:
        raise Conflict(f"the conditions of all live models together hold {asked} tests; {MAX_TESTS_LIVE} are the most")


async def run_publish(database: Database, job_id: UUID) -> None:
    """Carry out one publishing job, from wherever it stands."""
    async with database.batch() as db:
        job = await jobs.start(db, job_id, clock.now())
        if job is None:
            return
        model_id, version = job["payload"]["model"], job["payload"]["version"]
        known = await db.fetchrow(
            """
            SELECT m.key, v.rules FROM scoring_model m JOIN model_version v ON v.model_id = m.id
            WHERE m.id = $1 AND v.version = $2 AND m.archived_at IS NULL
            """,
            model_id,
            version,
        )
    if known is None:
        await _end(database, job_id, "the model was deleted or archived meanwhile")
        return
    live = plans.live_model(model_id, known["key"], version, known["rules"])
    if job["phase"] in (None, "filling"):
        await _fill(database, job_id, [rule.counter_id for rule in live.rules if rule.counter_id is not None])
        await _switch(database, job_id, model_id, version)
    scorer = Scorer([live])

    async def rescore(db: Connection, contacts: list[UUID]) -> None:
        now_live = await db.fetchval(
            "SELECT live_version FROM scoring_model WHERE id = $1 AND archived_at IS NULL", model_id
        )
        if now_live == version:
            await scorer.score(db, contacts, clock.now())
        await tally.drop(db, contacts, await _retired(db, job_id))

    await _each_chunk(database, job_id, rescore)
    await _end(database, job_id)


async def run_tidy(database: Database, job_id: UUID) -> None:
    """Carry out what is left to do after a model was archived or deleted."""
    async with database.batch() as db:
        job = await jobs.start(db, job_id, clock.now())
        if job is None:
            return
        if job["phase"] is None:
            await jobs.enter(db, job_id, "tidying", await _count_contacts(db))
    frozen, forgotten = job["payload"].get("freeze"), job["payload"].get("forget")

    async def tidy(db: Connection, contacts: list[UUID]) -> None:
        await tally.drop(db, contacts, await _retired(db, job_id))
        await db.execute("DELETE FROM score WHERE contact_id = ANY($1) AND model_id = $2", contacts, forgotten)
        # Not if it was made active again meanwhile.
        await db.execute(
            """
            UPDATE score SET next_change_on = NULL WHERE contact_id = ANY($1) AND model_id = (
                SELECT id FROM scoring_model WHERE id = $2 AND archived_at IS NOT NULL
            )
            """,
            contacts,
            frozen,
        )

    await _each_chunk(database, job_id, tidy)
    await _end(database, job_id)


async def _end(database: Database, job_id: UUID, error: str | None = None) -> None:
    async with database.batch() as db:
        await db.execute("DELETE FROM counter WHERE retired_by = $1", job_id)
        await jobs.finish(db, job_id, clock.now(), error)


async def _fill(database: Database, job_id: UUID, counter_ids: list[int]) -> None:
    """Count the new counters' whole history."""
    async with database.batch() as db:
        rows = await db.fetch("SELECT id, condition FROM counter WHERE id = ANY($1) AND NOT filled", counter_ids)
        if await db.fetchval("SELECT phase FROM job WHERE id = $1", job_id) is None:
            await jobs.enter(db, job_id, "filling", await _count_contacts(db) if rows else 0)
    if rows:
        events = Vocabulary.of(Scope.EVENT)
        fill = tally.Fill({row["id"]: parse(row["condition"], events) for row in rows})
        await _each_chunk(database, job_id, fill.set)


async def _switch(database: Database, job_id: UUID, model_id: int, version: int) -> None:
    """From here on ingest scores by the new version, and counts no longer what only the old one asked."""
    async with database.batch() as db:
        # The model before the plan, as whoever publishes or archives it does: else they wait in a circle.
        await db.execute("SELECT FROM scoring_model WHERE id = $1 FOR UPDATE", model_id)
        await plans.change(db)
        await db.execute(
            """
            UPDATE counter SET filled = true WHERE id IN (
                SELECT (r ->> 'counter_id')::int FROM model_version v, jsonb_array_elements(v.rules) r
                WHERE v.model_id = $1 AND v.version = $2
            )
            """,
            model_id,
            version,
        )
        await db.execute(
            "UPDATE scoring_model SET live_version = $2 WHERE id = $1 AND coalesce(live_version, 0) < $2",
            model_id,
            version,
        )
        await _retire(db, job_id)
        await jobs.enter(db, job_id, "scoring", await _count_contacts(db))


async def _retire(db: Connection, job_id: UUID) -> None:
    """Set aside the counters that neither a live version nor one about to be live needs; this job drops their tallies.

    The caller has changed the plan in this transaction.
    """
    await db.execute(
        """
        UPDATE counter c SET retired_by = $1 WHERE retired_by IS NULL AND NOT EXISTS (
            SELECT FROM scoring_model m
            JOIN model_version v ON v.model_id = m.id AND v.version >= coalesce(m.live_version, 0)
            CROSS JOIN jsonb_array_elements(v.rules) r
            WHERE m.archived_at IS NULL AND (r ->> 'counter_id')::int = c.id
        )
        """,
        job_id,
    )


async def _retired(db: Connection, job_id: UUID) -> list[int]:
    return [row["id"] for row in await db.fetch("SELECT id FROM counter WHERE retired_by = $1", job_id)]


async def _count_contacts(db: Connection) -> int:
    """How many there are, for a progress bar: exact while they are few, then the planner's estimate."""
    estimate: int = await db.fetchval("SELECT reltuples::bigint FROM pg_class WHERE oid = 'activity'::regclass")
    if estimate > 50_000:
        return estimate
    count: int = await db.fetchval("SELECT count(*) FROM activity")
    return count


async def _each_chunk(
    database: Database, job_id: UUID, work: Callable[[Connection, list[UUID]], Awaitable[None]]
) -> None:
    """Do `work` on all contacts in the order of their ids: a chunk at a time, locked, in one transaction with its
    progress."""
    while True:
        try:
            async with database.batch() as db:
                await plans.share(db)
                cursor = await db.fetchval("SELECT cursor FROM job WHERE id = $1", job_id)
                rows = await db.fetch(
                    "SELECT contact_id FROM activity WHERE contact_id > $1 ORDER BY contact_id LIMIT $2",
                    UUID(cursor) if cursor else _NOBODY,
                    _CHUNK,
                )
                contacts = [row["contact_id"] for row in rows]
                if not contacts:
                    return
                await identity.lock(db, contacts)
                await work(db, contacts)
                await jobs.advance(db, job_id, len(contacts), str(contacts[-1]))
        except ContactGone:
            continue
