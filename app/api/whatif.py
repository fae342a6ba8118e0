"""What a draft would do: tried on a contact given in the request, or previewed on everybody; nothing is changed."""

from datetime import UTC
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request, status
from pydantic import BaseModel, Field

from app import clock
from app.api.guard import Reader, Writer
from app.api.jobs import JobOut, settled
from app.api.jobs import shown as shown_job
from app.api.json import JsonResponse
from app.api.models import Key
from app.api.scores import ExplanationOut, shown
from app.api.services import Kit
from app.api.shapes import Cursor, Instant, Limit, Line, Page, Points, Properties, Shape
from app.engine import preview, publish, replay
from app.engine.replay import MadeUp
from app.errors import Fault, InvalidInput, NotFound
from app.store import pages

router = APIRouter(prefix="/v1/models/{key}", tags=["Models"])

_MAX_EXPONENT = 400


class TriedEvent(Shape):
    type: Line = Field(examples=["email.opened"])
    source: Line = "api"
    occurred_at: Instant | None = Field(default=None, description="At the moment tried, unless said")
    human: bool | None = Field(default=None, description="Whether a human did it; null: unknown")
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
    bounce_status: Literal["none", "soft", "hard"] = "none"
    created_at: Instant | None = Field(default=None, description="At the moment tried, unless said")
    last_event_at: Instant | None = Field(default=None, description="Beside that of the events given")


class TryIn(Shape):
    contact: TriedContact = Field(
        default_factory=TriedContact, examples=[{"stage": "lead", "properties": {"employees": 80}}]
    )
    events: Annotated[list[TriedEvent], Field(max_length=5_000)] = Field(
        default=[], examples=[[{"type": "email.opened", "occurred_at": "2026-11-20T09:30:00Z"}]]
    )
    scores: dict[Key, Points] = Field(
        default={},
        description="Its scores in other models, for rules that look at them and for combined models; it has none in "
        "those left out",
        examples=[{"fit": 30}],
    )
    at: Instant | None = Field(default=None, description="When; now unless said")
    live: bool = Field(default=False, description="By the version that counts, instead of the draft")


class MovesOut(BaseModel):
    from_: str | None = Field(alias="from", description="As in `bands_before`; null: no score")
    to: str | None
    contacts: int


class RangeOut(BaseModel):
    from_: float = Field(alias="from")
    to: float
    before: int
    after: int


class CrossingsOut(BaseModel):
    band: str
    threshold: float = Field(description="Where the band begins")
    up: int = Field(description="Contacts that would reach it, or come into the audience above it")
    down: int = Field(description="Contacts that would fall below it, or leave the audience from above it")


class CrmWritesOut(BaseModel):
    connection: UUID
    name: str
    contacts: int = Field(description="Contacts whose score, as a whole number, or band would change")
    records: int = Field(description="Their records there, each of which would be written")
    unit: str | None = Field(description="What the connection's budget counts")
    cost: int | None = Field(description="Of the budget, at best; null: nobody can say")
    takes_s: int | None = Field(description="How long the budget takes for it, in whole days; null also for ever")


class PreviewResult(BaseModel):
    contacts: int
    changed: int = Field(description="Contacts whose score would change")
    bands_before: dict[str, int] = Field(
        description="Contacts of each band; `(none)` lie below the lowest, `(no score)` are not in the audience"
    )
    bands_after: dict[str, int]
    moves: list[MovesOut] = Field(description="Contacts that would change their band, most first")
    distribution: list[RangeOut] = Field(description="Contacts in 20 equal ranges of scores, empty ones left out")
    thresholds: list[CrossingsOut]
    crm_writes: list[CrmWritesOut] = Field(description="What each connection would be told that is told this model")


class PreviewJob(JobOut):
    result: PreviewResult | None = Field(description="Null until it is done")  # type: ignore[assignment]  # narrower


class PreviewOut(BaseModel):
    job_id: UUID
    job: PreviewJob


class MoverOut(BaseModel):
    contact_id: UUID
    email: str | None
    was: Points | None = Field(description="Null: not in the audience, or never scored")
    becomes: Points | None


class Direction(StrEnum):
    UP = "up"
    DOWN = "down"


@router.post(
    "/try",
    response_model=ExplanationOut,
    summary="Score a contact and events given here, and explain",
    description="By the draft, or by the version that counts (`live`), with the very SQL that scores. Touches nothing, "
    "and looks at no stored contact.",
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
        if unknown := [one for one in given.scores if one not in plan.contacts.models]:
            raise InvalidInput(*(Fault(f"/scores/{one}", "there is no scoring model of this key") for one in unknown))
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
    description="On the real base, with no side effect, in the background: the job's `result` has the distribution "
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
    description="Who enters or leaves the audience comes first. With `threshold`, only who crosses it; with "
    "`direction`, only who moves upwards or downwards.",
)
async def list_movers(
    key: Line,
    job_id: UUID,
    kit: Kit,
    _: Reader,
    threshold: Annotated[Points | None, Query(description="Only who crosses this score", examples=[50])] = None,
    direction: Annotated[Direction | None, Query(description="Only who moves this way")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> JsonResponse:
    after = _after(cursor) if cursor else None
    is_up = None if direction is None else direction is Direction.UP
    async with kit.database.hot.acquire() as db:
        found = await preview.movers(db, job_id, key, threshold=threshold, is_up=is_up, limit=limit + 1, after=after)
    last = found[limit - 1] if len(found) > limit else None
    more = None if last is None else pages.encode(str(last.moved), str(last.contact_id))
    items = [{name: getattr(one, name) for name in MoverOut.model_fields} for one in found[:limit]]
    return JsonResponse({"items": items, "next_cursor": more})


def _after(cursor: str) -> tuple[Decimal, UUID]:
    said, contact = pages.decode(cursor, 2)
    try:
        moved, last = Decimal(str(said)), UUID(str(contact))
    except (ValueError, ArithmeticError):
        raise InvalidInput(pages.bad_cursor()) from None
    # Infinity is who enters or leaves the audience. Exponents beyond any score's are more than Postgres can read.
    if moved.is_nan() or (moved.is_finite() and abs(moved.adjusted()) > _MAX_EXPONENT):
        raise InvalidInput(pages.bad_cursor())
    return moved, last
