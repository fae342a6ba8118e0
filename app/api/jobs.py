"""Background jobs: progress and end."""

import asyncio
from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, Field

from app.api.guard import Reader
from app.api.json import JsonResponse
from app.api.services import Kit
from app.api.shapes import Cursor, Limit, Page
from app.errors import InvalidInput, NotFound
from app.store import jobs, pages
from app.store.db import Database
from app.store.service_tables import Job

router = APIRouter(prefix="/v1/jobs", tags=["Jobs"])

_POLL_S = 0.02


class JobOut(BaseModel):
    id: UUID
    kind: str = Field(examples=["model.publish"])
    status: str = Field(description="queued, running, done or failed")
    phase: str | None = Field(description="What it does just now: counting, filling, scoring, converting, tidying")
    done: int = Field(description="Contacts done in this phase")
    total: int = Field(description="Contacts of this phase; about, on a large base")
    error: str | None
    result: dict[str, Any] | None = Field(description="What came of it, where there is more to say than that it ended")
    created_at: datetime
    starts_at: datetime | None = Field(description="Not before; null: at once")
    started_at: datetime | None
    finished_at: datetime | None


@router.get("/{job_id}", response_model=JobOut, summary="Read a job")
async def get_job(job_id: UUID, kit: Kit, _: Reader) -> JsonResponse:
    return JsonResponse(shown(await settled(kit.database, job_id, 0)))


@router.get("", response_model=Page[JobOut], summary="List jobs, the newest first")
async def list_jobs(kit: Kit, _: Reader, limit: Limit = 100, cursor: Cursor = None) -> JsonResponse:
    found = await jobs.page(kit.database, limit=limit + 1, after=_after(cursor) if cursor else None)
    more = pages.encode(str(found[limit - 1].id)) if len(found) > limit else None
    return JsonResponse({"items": [shown(job) for job in found[:limit]], "next_cursor": more})


async def settled(database: Database, job_id: UUID, patience_s: float) -> Job:
    """The job as soon as it has ended, or as it stands after `patience_s`. Raises NotFound."""
    loop = asyncio.get_running_loop()
    until = loop.time() + patience_s
    while True:
        job = await jobs.get(database, job_id)
        if job is None:
            raise NotFound("there is no such job")
        if job.status in (jobs.DONE, jobs.FAILED) or loop.time() >= until:
            return job
        await asyncio.sleep(_POLL_S)


def shown(job: Job) -> dict[str, Any]:
    return {name: getattr(job, name) for name in JobOut.model_fields}


def _after(cursor: str) -> UUID:
    try:
        return UUID(str(pages.decode(cursor, 1)[0]))
    except ValueError:
        raise InvalidInput(pages.bad_cursor()) from None
