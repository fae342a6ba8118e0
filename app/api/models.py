"""Scoring models: draft, publish, archive."""

from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, status
from pydantic import BaseModel, Discriminator, Field, StringConstraints, Tag
from starlette.responses import Response

from app import clock
from app.api.guard import Reader, Writer
from app.api.jobs import JobOut, settled
from app.api.jobs import shown as shown_job
from app.api.json import JsonResponse
from app.api.rules import Days, OnContact, VersionRule
from app.api.rules import shown as shown_rule
from app.api.services import Kit, Services
from app.api.shapes import Cursor, Limit, Line, Page, Points, Prose, Shape
from app.engine import drafts, publish
from app.engine.conditions import is_clean
from app.engine.drafts import Drafted
from app.engine.rules import Rule, read_bands
from app.engine.sheets import Sheet
from app.errors import Fault, InvalidInput, NotFound
from app.store import models, pages
from app.store.tables import ModelVersion, ScoringModel

router = APIRouter(prefix="/v1/models", tags=["Models"])

Key = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]


class Band(Shape):
    """From `min` (inclusive) up to the next band's; `min` null: from below everything."""

    name: Line = Field(examples=["hot"])
    color: Annotated[str, StringConstraints(pattern=r"^#[0-9A-Fa-f]{6}$")] = Field(examples=["#d64545"])
    min: Points | None = Field(examples=[50])


Bands = Annotated[
    list[Band],
    Field(
        max_length=50,
        # No example with a null: FastAPI leaves it out of the document, and `min` cannot be left out.
        examples=[[{"name": "cold", "color": "#5b8def", "min": 0}, {"name": "hot", "color": "#d64545", "min": 50}]],
    ),
]


class Group(Shape):
    """Rules whose points together stay within plus and minus `max_points`."""

    name: Line = Field(examples=["E-mail"])
    max_points: Points = Field(examples=[40])


class Part(Shape):
    model: Key = Field(examples=["fit"])
    weight: Points = Field(description="Signed, four decimals at most", examples=[0.4])


class WeightedSum(Shape):
    """A weighted sum of other models' scores; a part without a score adds nothing."""

    sum: Annotated[list[Part], Field(min_length=1, max_length=20)]


class Cells(Shape):
    rows: Key = Field(description="Its bands are the rows, lettered from the highest", examples=["fit"])
    columns: Key = Field(description="Its bands are the columns, numbered from the highest", examples=["engagement"])


class Grid(Shape):
    """A cell for each pair of two models' bands: A1 is the highest of both."""

    grid: Cells


def _kind_of_combination(said: Any) -> str:  # Any: JSON, or one of the shapes
    has_grid = "grid" in said if isinstance(said, dict) else isinstance(said, Grid)
    return "a grid" if has_grid else "a sum"


Combine = Annotated[
    Annotated[WeightedSum, Tag("a sum")] | Annotated[Grid, Tag("a grid")], Discriminator(_kind_of_combination)
]


class SheetOut(Shape):
    """What a version says of all its rules together. The audience of a grid asks for both bands, too."""

    objective: Prose | None = Field(default=None, description="What it is for, as sales and marketing agreed")
    owner: Line | None = Field(default=None, description="Who answers for it")
    audience: OnContact | None = Field(default=None, description="Who does not match has no score")
    min: Points | None = Field(default=None, description="The score is never below this", examples=[-1000])
    max: Points | None = Field(default=None, description="The score is never above this", examples=[100])
    window_days: Days | None = Field(
        default=None, description="Window of event rules that name none of their own; null: unlimited", examples=[90]
    )
    groups: Annotated[list[Group], Field(max_length=50)] = []
    combine: Combine | None = Field(
        default=None,
        description="Made of other models",
        examples=[{"sum": [{"model": "fit", "weight": 0.4}]}, {"grid": {"rows": "fit", "columns": "engagement"}}],
    )


class SheetIn(SheetOut):
    """What a model says of all its rules together; docs/scoring.md has every clause."""

    description: Prose | None = None
    bands: Bands = []

    def fields(self, names: set[str]) -> dict[str, Any]:  # Any: JSON
        """Those named, as the engine reads them. Raises InvalidInput for two groups of one name."""
        said = self.model_dump(mode="json", include=names)
        for name in {"groups", "bands"} & said.keys():
            said[name] = said[name] or []
        seen = [group.name for group in self.groups or ()]
        if twice := [at for at, name in enumerate(seen) if name in seen[:at]]:
            raise InvalidInput(*(Fault(f"/groups/{at}/name", "two groups have this name") for at in twice))
        return said


class Named(Shape):
    key: Key = Field(description="For ever; a small letter, then small letters, digits and _", examples=["engagement"])
    name: Line = Field(examples=["Engagement"])


class ModelIn(SheetIn, Named):
    """A new model's draft."""


class ModelPatch(SheetIn):
    name: Line | None = None
    groups: Annotated[list[Group], Field(max_length=50)] | None = None  # type: ignore[assignment]  # null: none
    bands: Bands | None = None  # type: ignore[assignment]  # null: none


class ModelOut(SheetIn):
    key: str
    name: str
    bands: list[Band]
    status: str = Field(description="draft (never published), published or archived")
    version: int | None = Field(description="The version that counts")
    has_changes: bool = Field(description="Whether the draft differs from the version that counts")
    created_at: datetime
    updated_at: datetime
    archived_at: datetime | None


class PublishIn(Shape):
    side_effects: bool = Field(
        default=True, description="Whether the scores that change are told to CRMs and other subscribers"
    )
    settle_seconds: Annotated[int, Field(strict=True, ge=0, le=86_400)] | None = Field(
        default=None,
        description="Wait so long before scoring anew; a version published meanwhile takes this one's place. "
        "Null: as `LEADTALLY_SETTLE_SECONDS` says",
        examples=[600],
    )


class PublishOut(BaseModel):
    model: str
    version: int
    side_effects: bool = Field(description="Whether CRM writes and other side effects follow")
    job_id: UUID
    job: JobOut


class VersionOut(BaseModel):
    version: int
    name: str
    is_live: bool
    side_effects: bool = Field(description="Whether the scores that it changed were told to CRMs and other subscribers")
    published_at: datetime
    published_by: str
    live_from: datetime | None = Field(description="Since when it counted; null: it never did")
    spec: SheetOut
    bands: list[Band] = Field(description="Of a grid: its cells")
    rules: list[VersionRule] = Field(description="Of a combined model: what its parts come to")


@router.post("", status_code=status.HTTP_201_CREATED, response_model=ModelOut, summary="Create a model, as a draft")
async def post_model(given: ModelIn, kit: Kit, _: Writer) -> JsonResponse:
    made = await drafts.create_model(kit.database, given.key, given.fields(set(ModelIn.model_fields) - {"key"}))
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
    if "name" in given.model_fields_set and given.name is None:
        raise InvalidInput(Fault("/name", "a model has a name"))
    return JsonResponse(_shown(await drafts.change_model(kit.database, key, given.fields(given.model_fields_set))))


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
async def publish_model(
    key: Line, request: Request, kit: Kit, caller: Writer, given: PublishIn | None = None
) -> JsonResponse:
    return await _publish(key, None, request, kit, caller.name, given or PublishIn())


@router.get("/{key}/versions", response_model=Page[VersionOut], summary="List a model's versions, the newest first")
async def list_versions(key: Line, kit: Kit, _: Reader, limit: Limit = 100, cursor: Cursor = None) -> JsonResponse:
    before = _before(cursor) if cursor else None
    async with kit.database.session() as session:
        model = await models.get(session, key)
        found = await models.history(session, model, limit=limit + 1, before=before)
    more = pages.encode(found[limit - 1].version) if len(found) > limit else None
    return JsonResponse({"items": [_version(one, model) for one in found[:limit]], "next_cursor": more})


@router.post(
    "/{key}/versions/{version}/publish",
    status_code=status.HTTP_202_ACCEPTED,
    response_model=PublishOut,
    summary="Make an old version count again",
    description="As a new version that says the same. The draft stays as it is.",
)
async def publish_version(
    key: Line, version: int, request: Request, kit: Kit, caller: Writer, given: PublishIn | None = None
) -> JsonResponse:
    if not 0 < version < 2**31:
        raise NotFound(f"scoring model {key!r} has no such version")
    return await _publish(key, version, request, kit, caller.name, given or PublishIn())


async def _publish(
    key: str, version: int | None, request: Request, kit: Services, by: str, given: PublishIn
) -> JsonResponse:
    now = clock.now()
    settle = kit.settings.settle_seconds if given.settle_seconds is None else given.settle_seconds
    starts_at = now + timedelta(seconds=settle) if settle else None
    async with kit.database.batch() as db:
        made = await publish.publish(
            db, key, by, now, version=version, side_effects=given.side_effects, starts_at=starts_at
        )
    waits = starts_at is not None or "respond-async" in request.headers.get("prefer", "")
    job = await settled(kit.database, made.job, 0.0 if waits else 1.0)
    return JsonResponse(
        {
            "model": key,
            "version": made.version,
            "side_effects": given.side_effects,
            "job_id": made.job,
            "job": shown_job(job),
        },
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


def _before(cursor: str) -> int:
    [version] = pages.decode(cursor, 1)
    if not isinstance(version, int) or not 0 < version < 2**31:
        raise InvalidInput(pages.bad_cursor())
    return version


def _version(one: ModelVersion, model: ScoringModel) -> dict[str, Any]:  # Any: JSON
    shown = {name: getattr(one, name) for name in VersionOut.model_fields if name != "is_live"}
    return {
        **shown,
        "is_live": model.live_version == one.version and model.archived_at is None,
        "spec": _sheet(Sheet.from_json(one.spec)),
        "bands": [{"name": band.name, "color": band.color, "min": band.min} for band in read_bands(one.bands)],
        "rules": [shown_rule(Rule.from_json(said)) for said in one.rules],
    }


def _shown(drafted: Drafted) -> dict[str, Any]:
    model = drafted.model
    state = "archived" if model.archived_at else "published" if model.live_version else "draft"
    return {
        "key": model.key,
        "name": model.name,
        "description": model.description,
        "bands": model.bands,
        **_sheet(drafted.sheet),
        "status": state,
        "version": model.live_version,
        "has_changes": drafted.is_changed,
        "created_at": model.created_at,
        "updated_at": model.updated_at,
        "archived_at": model.archived_at,
    }


def _sheet(sheet: Sheet) -> dict[str, Any]:  # Any: JSON
    groups = [{"name": name, "max_points": most} for name, most in sheet.groups.items()]
    return {**sheet.to_json(), "min": sheet.min, "max": sheet.max, "groups": groups}
