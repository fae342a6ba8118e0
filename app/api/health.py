"""Is it alive, is it ready: for whoever restarts processes and routes traffic."""

import structlog
from fastapi import APIRouter
from pydantic import BaseModel, Field

from app import clock
from app.api.json import JsonResponse
from app.api.services import Kit
from app.store import schema, workers
from app.store.db import FAULTS

router = APIRouter(tags=["Health"])
_log = structlog.get_logger()


class Health(BaseModel):
    status: str = Field(examples=["ok"])


class Readiness(BaseModel):
    status: str = Field(description="ready or not_ready")
    database: bool = Field(description="It can be reached")
    migrated: bool = Field(description="It has every migration this code knows")
    worker: bool = Field(description="Some worker was alive within the last seconds")


@router.get("/healthz", response_model=Health, summary="The process lives", openapi_extra={"security": []})
async def healthz() -> Health:
    return Health(status="ok")


@router.get(
    "/readyz",
    response_model=Readiness,
    summary="Database reachable and migrated, worker alive",
    responses={503: {"model": Readiness}},
    openapi_extra={"security": []},
)
async def readyz(kit: Kit) -> JsonResponse:
    reachable = migrated = worker = False
    try:
        migrated = await schema.is_current(kit.database)
        reachable = True
        worker = migrated and await workers.any_alive(kit.database, clock.now())
    except FAULTS as fault:
        _log.warning("not ready", fault=type(fault).__name__)
    ready = reachable and migrated and worker
    return JsonResponse(
        {
            "status": "ready" if ready else "not_ready",
            "database": reachable,
            "migrated": migrated,
            "worker": worker,
        },
        status_code=200 if ready else 503,
    )
