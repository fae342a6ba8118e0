"""Background work: which job runs what, and when. `serve` runs it inside, `worker` apart; any number may run."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from uuid import UUID

import asyncpg
import structlog
import uuid_utils.compat as uuids
from pgqueuer import PgQueuer
from pgqueuer.errors import RetryRequested
from pgqueuer.models import Job, Schedule

from app import clock
from app.connectors.http import Http
from app.engine import declared, marking, measures, preview, publish, rollout
from app.engine.hygiene import SoftPolicy
from app.engine.plan import Plans
from app.engine.sweep import sweep
from app.outbound import Outbound
from app.settings import Settings
from app.sources import inbox, replays
from app.sources.draining import Reader
from app.store import idempotency, jobs, workers
from app.store.db import Database
from app.store.vault import Vault
from app.sync import forecast, opening, removing, runs
from app.sync.driving import Driver

JOBS: dict[str, Callable[[Database, UUID], Awaitable[None]]] = {
    preview.PREVIEW: partial(preview.run, foresee=forecast.of_preview),
    publish.PUBLISH: rollout.run_publish,
    publish.RESCORE: rollout.run_rescore,
    publish.TIDY: rollout.run_tidy,
    declared.RETYPE: declared.run_retype,
    measures.FILL: measures.run_fill,
    replays.REPLAY: replays.run,
}
"""Topic → what runs. Each takes its job's id, begins where it stopped, and may be run again harmlessly."""

_RETRY = timedelta(seconds=2)
_PREVIEWS_KEPT = timedelta(days=1)
_STALE = timedelta(seconds=10)
_log = structlog.get_logger()


async def run(database: Database, stop: asyncio.Event, settings: Settings, vault: Vault | None = None) -> None:
    """Work until `stop` is set; what runs then is finished or left for the next worker to go on with.

    When the database goes away, waits and begins again. Without a `vault` nothing sealed is read, and no CRM is
    kept in step.
    """
    me = uuids.uuid7()
    while not stop.is_set():
        try:
            async with Http(private=settings.private_crms) as http:
                await _work(database, stop, me, settings, vault, http)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ExceptionGroup) as fault:
            _log.warning("the worker lost the database and begins again", fault=type(fault).__name__)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 1)


async def _work(
    database: Database, stop: asyncio.Event, me: UUID, settings: Settings, vault: Vault | None, http: Http
) -> None:
    async with database.batch() as db:
        await marking.note_everybody(db)
    policy = SoftPolicy(settings.soft_bounce_limit, settings.soft_bounce_days)
    queue = PgQueuer.from_asyncpg_pool(database.hot)
    plans = Plans(vault)
    # One at a time, over all workers: each job goes through all contacts, and versions become live in their order.
    works = dict(JOBS)
    works[replays.REPLAY] = partial(replays.run, plans=plans)
    if vault is not None:
        price = forecast.by_connector(partial(opening.opened, database, vault, http, plans, policy))
        works[preview.PREVIEW] = partial(preview.run, foresee=partial(forecast.of_preview, plan=price))
    for topic, work in works.items():
        queue.entrypoint(topic, concurrency_limit=1)(_job(database, work))

    @queue.schedule("score.sweep", "* * * * *")
    async def _sweep(_: Schedule) -> None:
        swept = await sweep(database, plans)
        await marking.remark(database, plans)
        async with database.batch() as db:
            await preview.forget_old(db, clock.now() - _PREVIEWS_KEPT)
            await idempotency.forget_old(db, clock.now())
        if swept:
            _log.info("scores rolled over", contacts=swept)

    @queue.schedule("inbox.tidy", "* * * * *")
    async def _tidy(_: Schedule) -> None:
        await inbox.forget(database, clock.now() - timedelta(days=settings.raw_days))

    @queue.schedule("sync.tidy", "* * * * *")
    async def _tidy_sync(_: Schedule) -> None:
        await runs.forget(database, clock.now() - runs.KEPT)
        await removing.forget(database)

    async def beat() -> None:
        while not stop.is_set():
            await workers.beat(database, me, clock.now())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), workers.BEAT_S)
        queue.shutdown.set()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(beat())
        tasks.create_task(Reader(database, plans, policy, Outbound().fetch).drain(stop))
        if vault is not None:
            tasks.create_task(Driver(database, plans, policy, vault, http).run(stop))
        tasks.create_task(queue.run(heartbeat_timeout=_STALE, dequeue_timeout=timedelta(seconds=5)))


def _job(database: Database, work: Callable[[Database, UUID], Awaitable[None]]) -> Callable[[Job], Awaitable[None]]:
    async def run_job(job: Job) -> None:
        job_id = UUID((job.payload or b"").decode())
        try:
            await work(database, job_id)
        except (
            OSError,
            asyncpg.PostgresConnectionError,
            asyncpg.InterfaceError,
            asyncpg.InternalClientError,
            asyncpg.OperatorInterventionError,
        ) as fault:
            raise RetryRequested(_RETRY, type(fault).__name__) from fault
        except Exception as fault:
            _log.exception("a job failed", job=str(job_id))
            async with database.batch() as db:
                await jobs.finish(db, job_id, clock.now(), f"{type(fault).__name__}: {fault}"[:500])

    return run_job
