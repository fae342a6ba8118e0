"""The work behind a change of what counts: fill new counters, switch, score everybody again, tidy up.

Ingest goes on all the while. Each step works contact by contact, in chunks that commit with their own progress, so
that a worker that dies is followed by one that goes on where it stopped.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from app import clock
from app.engine import identity, publish, tally
from app.engine import plan as plans
from app.engine.identity import ContactGone
from app.engine.plan import Plan
from app.engine.scoring import Cause, Scorer
from app.engine.sheets import live_model
from app.store import jobs
from app.store.db import Connection, Database

Work: TypeAlias = "Callable[[Connection, Chunk], Awaitable[None]]"
"""What is done on a chunk, in the transaction that locks it."""

_CHUNK = 2_000
_LANES = 2
_NOBODY = UUID(int=0)


class Chunk(NamedTuple):
    """Contacts that follow each other by id, locked: those above `low` and up to `high` that were there."""

    low: UUID
    high: UUID
    contacts: list[UUID]


async def run_publish(database: Database, job_id: UUID) -> None:
    """Carry out one publishing job, from wherever it stands."""
    job = await _started(database, job_id)
    if job is None:
        return
    model_id, version = job["payload"]["model"], job["payload"]["version"]
    async with database.batch() as db:
        known = await db.fetchrow(
            """
            SELECT m.key, v.spec, v.rules, v.bands, v.side_effects, (
                -- One that settles gives way to any later one; one that is due, only to one that is due as well.
                SELECT max(n.version) FROM model_version n WHERE n.model_id = m.id AND ($5 OR NOT EXISTS (
                    SELECT FROM job WHERE kind = $3 AND status = 'queued' AND starts_at > $4
                    AND payload @> jsonb_build_object('model', n.model_id, 'version', n.version)
                ))
            ) AS newest, (
                SELECT n.bands FROM model_version n
                WHERE n.model_id = m.id AND n.version < v.version AND n.live_from IS NOT NULL
                ORDER BY n.version DESC LIMIT 1
            ) AS bands_before
            FROM scoring_model m JOIN model_version v ON v.model_id = m.id
            WHERE m.id = $1 AND v.version = $2 AND m.archived_at IS NULL
            """,
            model_id,
            version,
            publish.PUBLISH,
            clock.now(),
            job["starts_at"] is not None,
        )
        contacts = await plans.vocabulary(db)
    if known is None:
        await _end(database, job_id, publish.ARCHIVED)
        return
    if (known["newest"] or 0) > version and job["phase"] is None:
        await _end(database, job_id, result={"superseded_by": known["newest"]})
        return
    live = live_model(model_id, known["key"], version, dict(known), contacts)
    if job["phase"] in (None, "counting", "filling"):
        await fill(database, job_id, [rule.counter_id for rule in live.rules if rule.counter_id is not None])
        if not await _switch(database, job_id, model_id, version):
            return
    is_quiet = not known["side_effects"]
    # A band that reaches elsewhere is another band, of scores that stay as they are.
    is_banded_anew = not is_quiet and known["bands_before"] not in (None, known["bands"])
    await _score_anew(
        database,
        job_id,
        {known["key"]},
        Cause.PUBLISH,
        is_quiet=is_quiet,
        banded_anew=model_id if is_banded_anew else None,
    )
    await _end(database, job_id)


async def run_rescore(database: Database, job_id: UUID) -> None:
    """Score everybody anew in the models that the job names, and in all that depend on them."""
    job = await _started(database, job_id)
    if job is None:
        return
    if job["phase"] is None:
        async with database.batch() as db:
            await jobs.enter(db, job_id, "scoring", await count_contacts(db))
    await _score_anew(database, job_id, set(job["payload"]["keys"]), Cause.DEFINITION)
    await _end(database, job_id)


async def run_tidy(database: Database, job_id: UUID) -> None:
    """Carry out what is left to do after a model was archived or deleted."""
    job = await _started(database, job_id)
    if job is None:
        return
    if job["phase"] is None:
        async with database.batch() as db:
            await jobs.enter(db, job_id, "tidying", await count_contacts(db))
    forget, freeze = job["payload"].get("forget"), job["payload"].get("freeze")

    async def tidy(db: Connection, chunk: Chunk) -> None:
        await tally.drop(db, chunk.contacts, await _retired(db, job_id))
        if forget is not None:
            for table in ("score", "score_change", "adjustment"):
                await db.execute(
                    f"DELETE FROM {table} WHERE contact_id = ANY($1) AND model_id = $2", chunk.contacts, forget
                )
        # An archived model's scores stay, and change by themselves no more; unless it was published again meanwhile.
        await db.execute(
            """
            UPDATE score SET next_change_on = NULL
            WHERE contact_id = ANY($1) AND model_id = $2 AND next_change_on IS NOT NULL
              AND EXISTS (SELECT FROM scoring_model WHERE id = $2 AND archived_at IS NOT NULL)
            """,
            chunk.contacts,
            freeze,
        )

    await each_chunk(database, job_id, "tidying", tidy)
    await _end(database, job_id)


async def fill(database: Database, job_id: UUID, counter_ids: list[int]) -> None:
    """Count the history of those of these counters that are new: all of it in one pass, then added contact by contact.

    A counter that another job fills as well is counted once: whoever comes first stages it, and either adds.
    """
    async with database.batch() as db:
        phase = await db.fetchval("SELECT phase FROM job WHERE id = $1", job_id)
        if phase is None:
            await jobs.enter(db, job_id, "counting", 0)
    if phase in (None, "counting"):
        async with database.batch() as db:
            await tally.take_turn(db)
            fresh = await db.fetch(
                "SELECT * FROM counter WHERE id = ANY($1) AND NOT staged AND NOT filled", counter_ids
            )
            if fresh:
                await tally.stage(db, [dict(row) for row in fresh])
            await jobs.enter(db, job_id, "filling", await count_contacts(db))
    async with database.hot.acquire() as db:
        rows = await db.fetch("SELECT id FROM counter WHERE id = ANY($1) AND NOT filled", counter_ids)
    counters = [row["id"] for row in rows]
    if counters:

        async def add(db: Connection, chunk: Chunk) -> None:
            await tally.add_staged(db, chunk.contacts, counters)

        await each_chunk(database, job_id, "filling", add)
        async with database.hot.acquire() as db:
            # Of contacts that were erased while the events were counted.
            await db.execute("DELETE FROM staged_tally WHERE counter_id = ANY($1)", counters)


async def _switch(database: Database, job_id: UUID, model_id: int, version: int) -> bool:
    """From here on ingest scores by the new version, and counts no longer what only the old one asked.

    False, and nothing of it, if the job has ended meanwhile: because the model was archived, and what it counts by is
    gone; or by another worker, that took this one for dead.
    """
    async with database.batch() as db:
        # The model before the plan, as whoever publishes or archives it does: else they wait in a circle.
        await db.execute("SELECT FROM scoring_model WHERE id = $1 FOR UPDATE", model_id)
        await plans.change(db)
        if await db.fetchval("SELECT status FROM job WHERE id = $1", job_id) != jobs.RUNNING:
            return False
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
        switched = await db.fetchval(
            """
            UPDATE scoring_model SET live_version = $2 WHERE id = $1 AND coalesce(live_version, 0) < $2
            RETURNING live_version
            """,
            model_id,
            version,
        )
        if switched is not None:
            await db.execute(
                "UPDATE model_version SET live_from = $3 WHERE model_id = $1 AND version = $2",
                model_id,
                version,
                clock.now(),
            )
        await publish.retire(db, job_id)
        await jobs.enter(db, job_id, "scoring", await count_contacts(db))
        return True


async def _score_anew(
    database: Database,
    job_id: UUID,
    keys: set[str],
    cause: Cause,
    *,
    is_quiet: bool = False,
    banded_anew: int | None = None,
) -> None:
    """Score everybody by what counts now, in these models and all that depend on them; drop what is retired.

    If it is quiet, nobody is told of what changes by it. Of `banded_anew`, a model's id, all are told.
    """
    held = plans.Plans()
    scorers: dict[int, Scorer] = {}

    async def score(db: Connection, chunk: Chunk) -> None:
        plan: Plan = await held.hold(db)
        if is_quiet:
            await db.execute("SELECT set_config('leadtally.quiet', 'on', true)")  # what `tell_of_scores` asks
        if plan.epoch not in scorers:
            scorers.clear()
            scorers[plan.epoch] = Scorer(plan.dependent_on(keys), plan.contacts)
        await scorers[plan.epoch].score(db, chunk.contacts, clock.now(), cause)
        if banded_anew is not None:
            await db.execute("SELECT tell_of_bands($1, $2, $3)", chunk.contacts, banded_anew, clock.now())
        if retired := await _retired(db, job_id):
            await tally.drop(db, chunk.contacts, retired)

    await each_chunk(database, job_id, "scoring", score)


async def _started(database: Database, job_id: UUID) -> dict[str, Any] | None:  # Any: columns
    async with database.batch() as db:
        return await jobs.start(db, job_id, clock.now())


async def _end(
    database: Database,
    job_id: UUID,
    error: str | None = None,
    result: dict[str, Any] | None = None,  # Any: JSON
) -> None:
    async with database.batch() as db:
        gone = await db.fetch("DELETE FROM counter WHERE retired_by = $1 RETURNING id", job_id)
        await db.execute("DELETE FROM staged_tally WHERE counter_id = ANY($1)", [row["id"] for row in gone])
        await jobs.finish(db, job_id, clock.now(), error, result)


async def _retired(db: Connection, job_id: UUID) -> list[int]:
    return [row["id"] for row in await db.fetch("SELECT id FROM counter WHERE retired_by = $1", job_id)]


async def count_contacts(db: Connection) -> int:
    """How many there are, for a progress bar: exact while they are few, then the planner's estimate."""
    estimate: int = await db.fetchval("SELECT reltuples::bigint FROM pg_class WHERE oid = 'activity'::regclass")
    if estimate > 50_000:
        return estimate
    count: int = await db.fetchval("SELECT count(*) FROM activity")
    return count


async def each_chunk(database: Database, job_id: UUID, phase: str, work: Work) -> None:
    """Do `work` on all contacts in the order of their ids: a chunk at a time, locked, in one transaction with its
    progress. A few chunks at a time, so that Postgres works on them on several cores.

    `work` may be done twice on a chunk when a worker dies, and on none less than once. Nothing is done if the job is no
    longer in this phase: whoever took it over has done it.
    """
    async with database.hot.acquire() as db:
        job = await db.fetchrow("SELECT cursor FROM job WHERE id = $1 AND phase = $2", job_id, phase)
    if job is None:
        return
    walk = _Walk(database, job_id, phase, work, UUID(job["cursor"]) if job["cursor"] else _NOBODY)
    try:
        async with asyncio.TaskGroup() as lanes:
            for _ in range(_LANES):
                lanes.create_task(walk.lane())
    except ExceptionGroup as faults:
        raise faults.exceptions[0] from faults


class _Walk:
    """Several lanes through all contacts. The job's cursor stays behind the first chunk that is not committed."""

    def __init__(self, database: Database, job_id: UUID, phase: str, work: Work, low: UUID) -> None:
        self._database = database
        self._job_id = job_id
        self._phase = phase
        self._work = work
        self._next = low
        self._claiming = asyncio.Lock()
        self._begun: dict[UUID, UUID] = {}
        """The chunks begun and not known to be behind the cursor, in order: from above which id, up to which."""
        self._done: set[UUID] = set()

    async def lane(self) -> None:
        while (chunk := await self._claim()) is not None:
            while not await self._try(*chunk):
                pass

    async def _claim(self) -> tuple[UUID, UUID] | None:
        """The next chunk that nobody works on; None at the end."""
        async with self._claiming, self._database.hot.acquire() as db:
            low = self._next
            high = await db.fetchval(
                """
                SELECT contact_id FROM (
                    SELECT contact_id FROM activity WHERE contact_id > $1 ORDER BY contact_id LIMIT $2
                ) chunk ORDER BY contact_id DESC LIMIT 1
                """,
                low,
                _CHUNK,
            )
            if high is None:
                return None
            self._next = self._begun[low] = high
            return low, high

    async def _try(self, low: UUID, high: UUID) -> bool:
        """One chunk in one transaction; False if a contact was erased meanwhile, and it must be begun again."""
        try:
            async with self._database.batch() as db:
                await plans.share(db)
                rows = await db.fetch(
                    "SELECT contact_id FROM activity WHERE contact_id > $1 AND contact_id <= $2 ORDER BY contact_id",
                    low,
                    high,
                )
                contacts = [row["contact_id"] for row in rows]
                await identity.lock(db, contacts)
                await self._work(db, Chunk(low, high, contacts))
                await jobs.advance(db, self._job_id, self._phase, len(contacts), str(self._cursor(low)))
        except ContactGone:
            return False
        self._done.add(low)
        return True

    def _cursor(self, finished: UUID) -> UUID:
        """Up to where everything is done once the chunk above `finished` is."""
        while self._begun and (first := next(iter(self._begun))) in self._done:
            self._done.discard(first)
            del self._begun[first]
        first, high = next(iter(self._begun.items()))
        return high if first == finished else first
