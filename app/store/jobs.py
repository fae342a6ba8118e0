"""Background jobs: the row that people watch, and PgQueuer's entry that makes a worker run it.

Both are written in the caller's transaction: a job exists exactly if what asked for it was committed.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import uuid_utils.compat as uuids
from pgqueuer.db import AsyncpgDriver
from pgqueuer.queries import Queries
from sqlmodel import col, select

from app.store.db import Connection, Database
from app.store.service_tables import Job

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
