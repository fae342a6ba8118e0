"""The job that reads calls again which are still kept, as after a parser was mended."""

from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from app import clock
from app.engine.hygiene import SoftPolicy
from app.engine.plan import Plans
from app.outbound import Outbound
from app.sources import inbox
from app.sources.draining import Gain, Reader
from app.sources.inbox import Choice
from app.store import jobs
from app.store.db import Connection, Database

REPLAY = "source.replay"
_READING = "reading"


async def ask(db: Connection, choice: Choice, policy: SoftPolicy, now: datetime) -> UUID:
    """Ask for chosen calls to be read again; returns the job. Its result says `calls`, `accepted` and `rejected`."""
    payload = {
        "source": None if choice.source is None else str(choice.source),
        "since": None if choice.since is None else choice.since.isoformat(),
        "only_faulty": choice.only_faulty,
        "soft_bounces": asdict(policy),
    }
    return await jobs.enqueue(db, REPLAY, payload, now)


async def run(database: Database, job_id: UUID, plans: Plans | None = None) -> None:
    """Read the chosen calls again, from wherever the job stands."""
    async with database.batch() as db:
        job = await jobs.start(db, job_id, clock.now())
        if job is None:
            return
        choice, policy = _asked(job["payload"])
        if job["phase"] is None:
            await jobs.enter(db, job_id, _READING, await inbox.count(db, choice))
    after = None if job["cursor"] is None else UUID(job["cursor"])
    total = Gain()
    async for last, gain in Reader(database, plans or Plans(), policy, Outbound().fetch).replay(choice, after):
        total.add(gain)
        async with database.batch() as db:
            await jobs.advance(db, job_id, _READING, gain.calls, str(last))
    result = {"calls": total.calls, "accepted": total.accepted, "rejected": total.rejected}
    async with database.batch() as db:
        await jobs.finish(db, job_id, clock.now(), result=result)


def _asked(payload: dict[str, Any]) -> tuple[Choice, SoftPolicy]:  # Any: JSON
    source, since = payload["source"], payload["since"]
    choice = Choice(
        None if source is None else UUID(source),
        None if since is None else datetime.fromisoformat(since),
        payload["only_faulty"],
    )
    return choice, SoftPolicy(**payload["soft_bounces"])
