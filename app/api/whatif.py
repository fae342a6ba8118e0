"""What a draft would do: tried on a contact given in the request, or previewed on everybody; nothing is changed."""

from datetime import UTC
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, status
from pydantic import AwareDatetime, BaseModel, Field

from app import clock
from app.api.guard import Reader, Writer
from app.api.jobs import JobOut, settled
from app.api.jobs import shown as shown_job
from app.api.json import JsonResponse
from app.api.models import Key
from app.api.scores import ExplanationOut, shown
from app.api.services import Kit
from app.api.shapes import Cursor, Limit, Line, Page, Points, Properties, Shape
from app.engine import preview, publish, replay
from app.engine.replay import MadeUp
from app.errors import InvalidInput, NotFound
from app.store import pages

router = APIRouter(prefix="/v1/models/{key}", tags=["Models"])


class TriedEvent(Shape):
    type: Line = Field(examples=["email.opened"])
    source: Line = "api"
    occurred_at: AwareDatetime | None = Field(default=None, description="At the moment tried, unless said")
    properties: Properties = {}


class TriedContact(Shape):
    """A contact as the API shows one; what is left out is as in a contact that has just been made."""

    email: Line | None = None
    name: Line | None = None
    stage: Line | None = None
    tags: Annotated[list[Line], Field(max_length=200)] = []
    properties: Properties = {}
    opted_out: bool = False
    bounced: bool = False
    bounce_status: Line = "none"
    created_at: AwareDatetime | None = None
    last_event_at: AwareDatetime | None = Field(default=None, description="Beside that of the events given")


class TryIn(Shape):
    contact: TriedContact = Field(
        default_factory=TriedContact, examples=[{"stage": "lead", "properties": {"employees": 80}}]
    )
    events: Annotated[list[TriedEvent], Field(max_length=5_000)] = Field(
        default=[], examples=[[{"type": "email.opened", "occurred_at": "2026-11-20T09:30:00Z"}]]
    )
    scores: dict[Key, Points] = Field(default={}, description="Its scores in other models", examples=[{"fit": 30}])
    at: AwareDatetime | None = Field(default=None, description="When; now unless said")
    live: bool = Field(default=False, description="By the version that counts, instead of the draft")


class PreviewOut(BaseModel):
    job_id: UUID
    job: JobOut


class MoverOut(BaseModel):
    contact_id: UUID
    email: str | None
    was: Points | None
    becomes: Points | None


@router.post(
    "/try",
    response_model=ExplanationOut,
    summary="Score a contact and events given here, and explain",
    description="By the draft, with the very SQL that scores. Touches nothing, and looks at no stored contact.",
)
async def attempt(key: Line, given: TryIn, kit: Kit, _: Reader) -> JsonResponse:
    at = clock.now() if given.at is None else given.at.astimezone(UTC)
    made_up = MadeUp(
        contact=given.contact.model_dump(mode="json"),
        events=[event.model_dump(mode="json") for event in given.events],
        scores=given.scores,
    )
    async with kit.database.batch() as db:
        plan = await kit.plans.hold(db)
        if given.live:
            live = [model for model in plan.models if model.key == key]
            if not live:
                raise NotFound(f"no scoring model {key!r} counts; try its draft")
            model = live[0]
        else:
            model, _said = await publish.drafted(db, key)
        found = await replay.attempt(db, plan, model, made_up, at)
    return JsonResponse(shown(found, at))


@router.post(
    "/preview",
    status_code=status.HTTP_202_ACCEPTED,
    response_model=PreviewOut,
    summary="Work out what publishing the draft would change",
    description="On the real base, with no side effect, in the background: the job\'s `result` has the distribution "
    "before and after, the moves between bands, how many contacts cross each threshold, and how many CRM writes would "
    "follow on each connection. Who would move is in `GET /v1/models/{key}/preview/{job_id}/contacts`. Kept for a day.",
)
async def post_preview(key: Line, request: Request, kit: Kit, _: Writer) -> JsonResponse:
    async with kit.database.batch() as db:
        job_id = await preview.ask(db, key, clock.now())
    patience = 0.0 if "respond-async" in request.headers.get("prefer", "") else 1.0
    job = await settled(kit.database, job_id, patience)
    body = {"job_id": job_id, "job": shown_job(job)}
    return JsonResponse(body, status_code=202, headers={"Location": f"/v1/jobs/{job_id}"})


@router.get(
    "/preview/{job_id}/contacts",
    response_model=Page[MoverOut],
    summary="List who would move, the furthest first",
    description="With `threshold`, only who crosses it; `direction` says which way.",
)
async def list_movers(
    key: Line,
    job_id: UUID,
    kit: Kit,
    _: Reader,
    threshold: Annotated[Decimal | None, Query(allow_inf_nan=False, examples=[50])] = None,
    direction: Annotated[str | None, Query(pattern="^(up|down)$")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> JsonResponse:
    after = _after(cursor) if cursor else None
    is_up = None if direction is None else direction == "up"
    async with kit.database.hot.acquire() as db:
        found = await preview.movers(
            db, job_id, key, threshold=threshold, is_up=is_up, limit=limit + 1, after=after
        )
    last = found[limit - 1] if len(found) > limit else None
    more = None if last is None else pages.encode(str(last.moved), str(last.contact_id))
    items = [{name: getattr(one, name) for name in MoverOut.model_fields} for one in found[:limit]]
    return JsonResponse({"items": items, "next_cursor": more})


def _after(cursor: str) -> tuple[Decimal, UUID]:
    moved, contact = pages.decode(cursor, 2)
    try:
        return Decimal(str(moved)), UUID(str(contact))
    except (ValueError, ArithmeticError):
        raise InvalidInput(pages.bad_cursor()) from None
