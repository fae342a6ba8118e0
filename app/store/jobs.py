"""Background jobs: the row that people watch, and PgQueuer's entry that makes a worker run it.

Both are written in the caller's transaction: a job exists exactly if what asked for it was committed.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import uuid_utils.compat as uuids
from pgqueuer.db import AsyncpgDriver
from pgqueuer.queries import Queries
from sqlalchemy import ARRAY, Uuid, any_, literal
from sqlalchemy import select as select_core
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import col, select

from app.store.db import Connection, Database
from app.store.service_tables import Job
from app.store.tables import core

QUEUED, RUNNING, DONE, FAILED = "queued", "running", "done", "failed"


async def enqueue(
    db: Connection,
    kind: str,
    payload: dict[str, Any],  # Any: JSON
    now: datetime,
    *,
    starts_at: datetime | None = None,
) -> UUID:
    """Ask for background work, not to begin before `starts_at`; returns its job."""
    job: UUID = uuids.uuid7()
    await db.execute(
        "INSERT INTO job (id, kind, payload, status, created_at, starts_at) VALUES ($1, $2, $3, 'queued', $4, $5)",
        job,
        kind,
        payload,
        now,
        starts_at,
    )
    delay = None if starts_at is None else max(starts_at - now, timedelta())
    await Queries(AsyncpgDriver(db)).enqueue(kind, str(job).encode(), execute_after=delay)  # type: ignore[arg-type]  # a pool's proxy serves
    return job


async def start(db: Connection, job: UUID, now: datetime) -> dict[str, Any] | None:  # Any: as the table has it
    """Mark as running and return the row; None if it has ended, or is not there."""
    row = await db.fetchrow(
        """
        UPDATE job SET status = 'running', started_at = coalesce(started_at, $2)
        WHERE id = $1 AND status IN ('queued', 'running') RETURNING *
        """,
        job,
        now,
    )
    return dict(row) if row else None


async def enter(db: Connection, job: UUID, phase: str, total: int) -> None:
    """Begin a phase of `total` steps."""
    await db.execute("UPDATE job SET phase = $2, total = $3, done = 0, cursor = NULL WHERE id = $1", job, phase, total)


async def advance(db: Connection, job: UUID, phase: str, steps: int, cursor: str) -> None:
    """Note progress in the transaction that made it, so that work resumed after a crash begins where it ended.

    The cursor never goes back, whichever of several chunks commits last. Nor is it moved in any other phase than that
    in which the work was begun: a worker that was taken for dead, and lives, may be behind the one that took over.
    """
    await db.execute(
        "UPDATE job SET done = done + $3, cursor = greatest(cursor, $4) WHERE id = $1 AND phase = $2",
        job,
        phase,
        steps,
        cursor,
    )


async def finish(
    db: Connection,
    job: UUID,
    now: datetime,
    error: str | None = None,
    result: dict[str, Any] | None = None,  # Any: JSON
) -> None:
    await db.execute(
        """
        UPDATE job SET status = CASE WHEN $3::text IS NULL THEN 'done' ELSE 'failed' END, error = $3, finished_at = $2,
               result = $4, phase = NULL, cursor = NULL
        WHERE id = $1
        """,
        job,
        now,
        error,
        result,
    )


async def get(database: Database, job: UUID) -> Job | None:
    async with database.session() as session:
        return await session.get(Job, job)


async def page(database: Database, *, limit: int, after: UUID | None) -> Sequence[Job]:
    """Jobs, the newest first: their ids are in the order of their making."""
    query = select(Job).order_by(col(Job.id).desc()).limit(limit)
    if after is not None:
        query = query.where(Job.id < after)
    async with database.session() as session:
        return (await session.exec(query)).all()


class JobRow(NamedTuple):
    id: UUID
    kind: str
    status: str
    phase: str | None
    done: int
    total: int
    error: str | None
    result: dict[str, Any] | None  # Any: JSON
    created_at: datetime
    starts_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None


_job = core(Job)
_rows = select_core(*(_job.c[name] for name in JobRow._fields))


async def newest(db: AsyncConnection, most: int, before: UUID | None, kinds: Sequence[str] | None) -> list[JobRow]:
    """The newest first, those older than one of them; of any of these kinds, where given."""
    wanted = _rows.order_by(_job.c.id.desc()).limit(most)
    if before is not None:
        wanted = wanted.where(_job.c.id < before)
    if kinds is not None:
        wanted = wanted.where(_job.c.kind.in_(list(kinds)))
    return [JobRow(*row) for row in await db.execute(wanted)]


async def by_id(db: AsyncConnection, ids: Sequence[UUID]) -> dict[UUID, JobRow]:
    """Those that are not there are left out."""
    rows = await db.execute(_rows.where(_job.c.id == any_(literal(list(ids), ARRAY(Uuid)))))
    return {row.id: JobRow(*row) for row in rows}
