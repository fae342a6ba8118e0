"""Measures: named counts and sums of a contact's events, which conditions may name."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Request, status
from pydantic import BaseModel, Field, JsonValue
from starlette.responses import Response

from app import clock
from app.api.guard import Reader, Writer
from app.api.jobs import JobOut, settled
from app.api.jobs import shown as shown_job
from app.api.json import JsonResponse
from app.api.models import Key
from app.api.services import Kit
from app.api.shapes import Cursor, Limit, Line, Page, Shape
from app.engine import measures
from app.engine.conditions import is_clean
from app.engine.fields import Aggregate
from app.errors import InvalidInput
from app.store import jobs, pages
from app.store.tables import Measure

router = APIRouter(prefix="/v1/measures", tags=["Measures"])

_BOUGHT: dict[str, JsonValue] = {
    "combinator": "and",
    "rules": [{"field": "event.type", "operator": "=", "value": "order.placed"}],
}
OnEvents = Annotated[
    dict[str, JsonValue],
    Field(description="A condition on events: which of a contact's events are measured", examples=[_BOUGHT]),
]


class MeasureIn(Shape):
    """What a contact spent in ninety days: the sum of `amount` over the orders of the window."""

    key: Key = Field(
        description="For ever; conditions name it as `contact.measures.<key>`. A small letter, then small letters, "
        "digits and _",
        examples=["spent_90d"],
    )
    name: Line = Field(examples=["Spent in 90 days"])
    condition: OnEvents
    aggregate: Aggregate = Field(
        description="`count`: of the matching events. `sum`: of the numbers in `of`; what else is there adds nothing. "
        "`distinct`: of the different values in `of`; text compares without case",
        examples=["sum"],
    )
    of: Line | None = Field(
        default=None,
        description="A field of the event: `event.properties.<name>` for a sum; that, `event.type` or `event.source` "
        "for distinct; none for a count",
        examples=["event.properties.amount"],
    )
    window_days: Annotated[int, Field(strict=True)] | None = Field(
        default=None, description="UTC days back that count, today the first; null: all of time", examples=[90]
    )


class MeasureOut(BaseModel):
    key: str = Field(examples=["spent_90d"])
    name: str = Field(examples=["Spent in 90 days"])
    condition: dict[str, JsonValue] = Field(examples=[_BOUGHT])
    aggregate: Aggregate
    of: str | None
    window_days: int | None
    ready: bool = Field(
        description="Whether all history is counted. Until then drafts and segments may name it, but no model that "
        "does can be published, and no such segment be read"
    )
    created_at: datetime


class MeasureMade(MeasureOut):
    job_id: UUID | None = Field(description="What counts the history; null if that is counted already")
    job: JobOut | None


@router.post(
    "",
    status_code=status.HTTP_202_ACCEPTED,
    response_model=MeasureMade,
    responses={201: {"model": MeasureMade, "description": "Ready at once: something else counts the same already"}},
    summary="Make a measure",
    description="It counts new events from now on, and the history in the background, while ingest goes on. Follow "
    "`GET /v1/jobs/{job_id}`. Where that is done within a second, as it is on a small base, the answer already says "
    "so; with `Prefer: respond-async` (RFC 7240) it does not wait. A measure never changes, so that whatever names it "
    "means the same for ever: for another, make another, and delete this one once nothing names it.",
)
async def post_measure(given: MeasureIn, request: Request, kit: Kit, _: Writer) -> JsonResponse:
    async with kit.database.batch() as db:
        made = await measures.create(db, measures.Wanted(**dict(given)), clock.now())
    if made.job is None:
        at = {"Location": f"/v1/measures/{given.key}"}
        return JsonResponse({**_shown(made.measure), "job_id": None, "job": None}, status_code=201, headers=at)
    patience = 0.0 if "respond-async" in request.headers.get("prefer", "") else 1.0
    job = await settled(kit.database, made.job, patience)
    return JsonResponse(
        {**_shown(made.measure), "ready": job.status == jobs.DONE, "job_id": made.job, "job": shown_job(job)},
        status_code=202,
        headers={"Location": f"/v1/jobs/{made.job}"},
    )


@router.get("", response_model=Page[MeasureOut], summary="List measures by their keys")
async def list_measures(kit: Kit, _: Reader, limit: Limit = 100, cursor: Cursor = None) -> JsonResponse:
    after = _after(cursor) if cursor else None
    async with kit.database.hot.acquire() as db:
        found = await measures.page(db, limit=limit + 1, after=after)
    more = pages.encode(found[limit - 1].key) if len(found) > limit else None
    return JsonResponse({"items": [_shown(one) for one in found[:limit]], "next_cursor": more})


@router.get("/{key}", response_model=MeasureOut, summary="Read a measure")
async def get_measure(key: Line, kit: Kit, _: Reader) -> JsonResponse:
    async with kit.database.hot.acquire() as db:
        return JsonResponse(_shown(await measures.get(db, key)))


@router.delete(
    "/{key}",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Delete a measure",
    description="What it counted is removed in the background, unless something else counts the same. Refused (409) "
    "while a draft, a model that counts or a segment names it; the answer says which.",
)
async def delete_measure(key: Line, kit: Kit, _: Writer) -> Response:
    async with kit.database.batch() as db:
        await measures.delete(db, key, clock.now())
    return Response(status_code=status.HTTP_204_NO_CONTENT)


def _after(cursor: str) -> str:
    [key] = pages.decode(cursor, 1)
    if not isinstance(key, str) or not is_clean(key):
        raise InvalidInput(pages.bad_cursor())
    return key


def _shown(one: Measure) -> dict[str, Any]:  # Any: JSON
    return {name: getattr(one, name) for name in MeasureOut.model_fields}
