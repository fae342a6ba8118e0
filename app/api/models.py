"""Scoring models: draft, publish, archive."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, status
from pydantic import BaseModel, Field, StringConstraints
from starlette.responses import Response

from app import clock
from app.api.guard import Reader, Writer
from app.api.jobs import JobOut, settled
from app.api.jobs import shown as shown_job
from app.api.json import JsonResponse
from app.api.services import Kit
from app.api.shapes import Cursor, Limit, Line, Page, Points, Prose, Shape
from app.engine import drafts, publish
from app.engine.conditions import is_clean
from app.engine.drafts import Drafted
from app.errors import Fault, InvalidInput
from app.store import pages

router = APIRouter(prefix="/v1/models", tags=["Models"])

Key = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]


class BandIn(Shape):
    """From `min` (inclusive) up to the next band's; `min` null: from below everything."""

    name: Line = Field(examples=["hot"])
    color: Annotated[str, StringConstraints(pattern=r"^#[0-9A-Fa-f]{6}$")] = Field(examples=["#d64545"])
    min: Points | None = Field(examples=[50])


Bands = Annotated[
    list[BandIn],
    Field(
        max_length=50,
        examples=[[{"name": "cold", "color": "#5b8def", "min": None}, {"name": "hot", "color": "#d64545", "min": 50}]],
    ),
]


class ModelIn(Shape):
    key: Key = Field(description="For ever; a small letter, then small letters, digits and _", examples=["engagement"])
    name: Line = Field(examples=["Engagement"])
    description: Prose | None = None
    bands: Bands = []


class ModelPatch(Shape):
    name: Line | None = None
    description: Prose | None = None
    bands: Bands | None = None


class ModelOut(BaseModel):
    key: str
    name: str
    description: str | None
    bands: list[dict[str, Any]]
    status: str = Field(description="draft (never published), published or archived")
    version: int | None = Field(description="The version that counts")
    has_changes: bool = Field(description="Whether the draft differs from the version that counts")
    created_at: datetime
    updated_at: datetime
    archived_at: datetime | None


class PublishOut(BaseModel):
    model: str
    version: int
    job_id: UUID
    job: JobOut


@router.post("", status_code=status.HTTP_201_CREATED, response_model=ModelOut, summary="Create a model, as a draft")
async def post_model(given: ModelIn, kit: Kit, _: Writer) -> JsonResponse:
    made = await drafts.create_model(kit.database, given.key, given.name, given.description, _bands(given.bands))
    return JsonResponse(_shown(made), status_code=201, headers={"Location": f"/v1/models/{given.key}"})


@router.get("", response_model=Page[ModelOut], summary="List models by their keys")
async def list_models(
    kit: Kit,
    _: Reader,
    archived: Annotated[bool, Query(description="Archived ones too")] = False,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> JsonResponse:
    after = _after(cursor) if cursor else None
    found = await drafts.list_models(kit.database, archived=archived, limit=limit + 1, after=after)
    more = pages.encode(found[limit - 1].model.key) if len(found) > limit else None
    return JsonResponse({"items": [_shown(one) for one in found[:limit]], "next_cursor": more})


@router.get("/{key}", response_model=ModelOut, summary="Read a model's draft")
async def get_model(key: Line, kit: Kit, _: Reader) -> JsonResponse:
    return JsonResponse(_shown(await drafts.read_model(kit.database, key)))


@router.patch("/{key}", response_model=ModelOut, summary="Change a model's draft")
async def patch_model(key: Line, given: ModelPatch, kit: Kit, _: Writer) -> JsonResponse:
    changes: dict[str, Any] = {name: getattr(given, name) for name in given.model_fields_set}
    if "name" in changes and given.name is None:
        raise InvalidInput(Fault("/name", "a model has a name"))
    if "bands" in changes:
        changes["bands"] = _bands(given.bands or [])
    return JsonResponse(_shown(await drafts.change_model(kit.database, key, changes)))


@router.delete(
    "/{key}",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Delete a model with its rules, versions and scores",
    description="To keep its scores readable, archive it instead.",
)
async def delete_model(key: Line, kit: Kit, _: Writer) -> Response:
    async with kit.database.batch() as db:
        await publish.delete(db, key, clock.now())
    return Response(status_code=status.HTTP_204_NO_CONTENT)


@router.post(
    "/{key}/publish",
    status_code=status.HTTP_202_ACCEPTED,
    response_model=PublishOut,
    summary="Make the draft count",
    description="Freezes the draft as the next version and scores everybody by it in the background, while ingest "
    "goes on. Follow `GET /v1/jobs/{job_id}`. Where that is done within a second, as it is on a small base, the answer "
    "already says so; with `Prefer: respond-async` (RFC 7240) it does not wait.",
)
async def publish_model(key: Line, request: Request, kit: Kit, caller: Writer) -> JsonResponse:
    async with kit.database.batch() as db:
        made = await publish.publish(db, key, caller.name, clock.now())
    patience = 0.0 if "respond-async" in request.headers.get("prefer", "") else 1.0
    job = await settled(kit.database, made.job, patience)
    return JsonResponse(
        {"model": key, "version": made.version, "job_id": made.job, "job": shown_job(job)},
        status_code=202,
        headers={"Location": f"/v1/jobs/{made.job}"},
    )


@router.post(
    "/{key}/archive",
    response_model=ModelOut,
    summary="Score by this model no more",
    description="Its scores stay readable as they are.",
)
async def archive_model(key: Line, kit: Kit, _: Writer) -> JsonResponse:
    async with kit.database.batch() as db:
        await publish.archive(db, key, clock.now())
    return JsonResponse(_shown(await drafts.read_model(kit.database, key)))


@router.post(
    "/{key}/unarchive",
    response_model=ModelOut,
    summary="Make an archived model a draft again",
    description="It counts again once it is published.",
)
async def unarchive_model(key: Line, kit: Kit, _: Writer) -> JsonResponse:
    async with kit.database.batch() as db:
        await publish.unarchive(db, key)
    return JsonResponse(_shown(await drafts.read_model(kit.database, key)))


def _after(cursor: str) -> str:
    [key] = pages.decode(cursor, 1)
    if not isinstance(key, str) or not is_clean(key):
        raise InvalidInput(pages.bad_cursor())
    return key


def _bands(given: list[BandIn]) -> list[dict[str, Any]]:
    return [band.model_dump(mode="json") for band in given]


def _shown(drafted: Drafted) -> dict[str, Any]:
    model = drafted.model
    state = "archived" if model.archived_at else "published" if model.live_version else "draft"
    return {
        "key": model.key,
        "name": model.name,
        "description": model.description,
        "bands": model.bands,
        "status": state,
        "version": model.live_version,
        "has_changes": drafted.is_changed,
        "created_at": model.created_at,
        "updated_at": model.updated_at,
        "archived_at": model.archived_at,
    }
