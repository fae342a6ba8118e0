"""Publishing what was applied, and waiting until it counts: by a worker that lives, else in this process."""

import asyncio
from collections.abc import Callable
from graphlib import TopologicalSorter
from typing import TypeAlias
from uuid import UUID

from app import clock
from app.engine import drafts, publish
from app.errors import Conflict
from app.files.drafting import Against
from app.store import jobs, workers
from app.store.db import Database
from app.store.service_tables import Job
from app.worker import JOBS

_BY = "leadtally models apply"
_LOOK_S = 0.2
_OF = 1_000
Step: TypeAlias = Callable[[int, int, str], None]
"""How many steps of how many are done, and what is being done."""


async def pending(database: Database, against: Against) -> list[str]:
    """The models of the files whose drafts will say something else than what counts, each after those it needs."""
    keys = against.wanted.keys()
    ordered = TopologicalSorter({key: sorted(against.needs[key] & keys) for key in sorted(keys)}).static_order()
    changed = {change.key for change in against.changes}
    return [key for key in ordered if key in changed or (await drafts.read_model(database, key)).is_changed]


async def run(database: Database, key: str, on_step: Step) -> None:
    """Publish a model and wait until it counts, as well as the grids that follow it.

    Raises what publishing raises, and Conflict if the work behind it failed.
    """
    now = clock.now()
    async with database.batch() as db:
        made = await publish.publish(db, key, _BY, now)
    found = await jobs.page(database, limit=100, after=None)
    following = sorted(job.id for job in found if job.kind == publish.PUBLISH and job.created_at == now)
    for job in dict.fromkeys([made.job, *following]):
        await _finish(database, job, on_step)


async def _finish(database: Database, job_id: UUID, on_step: Step) -> None:
    work: asyncio.Future[None] | None = None
    while (job := await jobs.get(database, job_id)) is not None and job.status not in (jobs.DONE, jobs.FAILED):
        on_step(*_progress(job))
        if work is None and not await workers.any_alive(database, clock.now()):
            work = asyncio.ensure_future(JOBS[job.kind](database, job_id))
        if work is None:
            await asyncio.sleep(_LOOK_S)
        else:
            await asyncio.wait([work], timeout=_LOOK_S)
            if work.done():
                work.result()
    if work is not None:
        await work
    if job is not None and job.error is not None:
        raise Conflict(f"the job {job_id} failed: {job.error}")
    on_step(_OF, _OF, "")


def _progress(job: Job) -> tuple[int, int, str]:
    """Filling is the first half of the work, scoring the second."""
    part = job.done * _OF // (2 * job.total) if job.total else 0
    return min(part, _OF // 2) + (_OF // 2 if job.phase == "scoring" else 0), _OF, job.phase or ""
