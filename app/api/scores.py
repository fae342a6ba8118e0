"""What a contact is worth: scores, explained, as of any moment, with what they were and will be; and adjustments."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, status
from pydantic import AwareDatetime, BaseModel, Field
from starlette.responses import Response

from app import clock
from app.api.guard import Reader, Writer
from app.api.json import JsonResponse
from app.api.rules import shown as shown_rule
from app.api.services import Kit
from app.api.shapes import Cursor, Limit, Line, Page, Points, Prose, Shape
from app.engine import adjustments, replay
from app.engine.adjustments import Kind, Wanted
from app.engine.explain import Contribution, Explanation
from app.engine.rules import band_of
from app.engine.transactions import committed
from app.errors import Fault, InvalidInput, NotFound
from app.store import pages, scores

router = APIRouter(prefix="/v1/contacts/{contact_id}", tags=["Scores"])


class ScoreOut(BaseModel):
    model: str = Field(description="The model's key")
    value: Points | None = Field(description="Null: not in the model's audience")
    computed: Points | None = Field(description="What the rules say, while an override stands in for it")
    version: int = Field(description="The version by which it last changed")
    next_change_on: date | None = Field(description="The UTC day on which it next changes by itself")
    computed_at: datetime


class CutOut(BaseModel):
    by: str = Field(description="group <name>, min or max", examples=["group E-mail"])
    points: Points


class ContributionOut(BaseModel):
    rule: dict[str, Any] | None = Field(description="The rule, as the version has it; null for an adjustment")
    adjustment_id: UUID | None
    count: int = Field(description="Events that count; times of an absence; 1 for a profile rule that holds")
    points: Points = Field(description="After the rule's own limits")
    raw: Points | None = Field(description="Before `max_points`, where a limit can cut")
    next_change_on: date | None = Field(description="When this may next change by itself")
    details: dict[str, Any] = Field(
        description="Event rules: `days` (events of each, those that count, what one is worth, when it leaves the "
        "window) and `in_audience`; absence rules: `silent_since`; profile rules: `units`"
    )


class ExplanationOut(BaseModel):
    model: str
    version: int
    as_of: datetime
    value: Points | None
    computed: Points | None = Field(description="Contributions and cuts add up to this")
    override: Points | None
    override_id: UUID | None
    band: str | None
    contributions: list[ContributionOut]
    cuts: list[CutOut]
    next_change_on: date | None


class ChangeOut(BaseModel):
    on: date
    value: Points | None


class ForecastOut(BaseModel):
    model: str
    value: Points | None
    changes: list[ChangeOut] = Field(description="What the value becomes by itself, and on which UTC day")


class PastOut(BaseModel):
    at: datetime
    was: Points | None
    value: Points | None
    version: int
    cause: str = Field(description="event, contact, rollover, publish, adjustment, definition or merge")


class RulesOf(StrEnum):
    THEN = "then"
    NOW = "now"


class AdjustmentIn(Shape):
    """`points` are added to the total, an `override` stands in for it, a `reset` forgets the events so far."""

    kind: Kind
    model: Line | None = Field(default=None, description="Null: a reset in all models", examples=["engagement"])
    points: Points | None = Field(default=None, description="Of points and override", examples=[25])
    reason: Annotated[Prose, Field(min_length=1, examples=["met at the fair"])]
    from_day: date | None = Field(
        default=None,
        description="Of a reset: the first UTC day that counts; tomorrow unless said, so that today's do not",
    )
    ends_on: date | None = Field(default=None, description="The UTC day from which it no longer holds")


class AdjustmentOut(BaseModel):
    id: UUID
    kind: Kind
    model: str | None
    points: Points | None
    reason: str
    from_day: date | None
    ends_on: date | None
    made_by: str
    created_at: datetime
    revoked_at: datetime | None
    revoked_by: str | None


AsOf = Annotated[
    AwareDatetime | date | None,
    Query(description="A past instant (RFC 3339), or a UTC day: its end", examples=["2026-05-01T09:00:00Z"]),
]


@router.get("/scores", response_model=list[ScoreOut], summary="List a contact's scores")
async def list_scores(contact_id: UUID, kit: Kit, _: Reader) -> JsonResponse:
    async with kit.database.hot.acquire() as db:
        await _must_be_there(db, contact_id)
        return JsonResponse(await scores.of(db, contact_id))


@router.get(
    "/scores/{model}/explanation",
    response_model=ExplanationOut,
    summary="Explain a score, now or as of a past moment",
    description="Contributions and cuts add up to `computed`, exactly. With `as_of`, `rules=then` takes the version "
    "that counted at that moment, `rules=now` the one that counts now; events that were told later of that time count.",
)
async def explain(
    contact_id: UUID,
    model: Line,
    kit: Kit,
    _: Reader,
    as_of: AsOf = None,
    rules: Annotated[RulesOf, Query(description="Whose rules, with `as_of`")] = RulesOf.THEN,
) -> JsonResponse:
    now = clock.now()
    at = _instant(as_of, now)
    async with kit.database.batch() as db:
        await _must_be_there(db, contact_id)
        plan = await kit.plans.hold(db)
        if as_of is None:
            found = await replay.now(db, plan, contact_id, model, at)
        else:
            found = await replay.as_of(db, plan, contact_id, model, at, rules_of_then=rules is RulesOf.THEN)
    return JsonResponse(shown(found, at))


@router.get(
    "/scores/{model}/forecast",
    response_model=ForecastOut,
    summary="The next dates on which a score changes by itself, and to what",
)
async def forecast(
    contact_id: UUID,
    model: Line,
    kit: Kit,
    _: Reader,
    limit: Annotated[int, Query(ge=1, le=50, description="Changes at most")] = 10,
) -> JsonResponse:
    async with kit.database.batch() as db:
        await _must_be_there(db, contact_id)
        plan = await kit.plans.hold(db)
        first, changes = await replay.forecast(db, plan, contact_id, model, clock.now(), limit)
    return JsonResponse({"model": model, "value": first.value, "changes": [one._asdict() for one in changes]})


@router.get(
    "/scores/{model}/history", response_model=Page[PastOut], summary="Every change of a score, the newest first"
)
async def history(
    contact_id: UUID, model: Line, kit: Kit, _: Reader, limit: Limit = 100, cursor: Cursor = None
) -> JsonResponse:
    before = _before(cursor) if cursor else None
    async with kit.database.hot.acquire() as db:
        await _must_be_there(db, contact_id)
        found = await scores.history(db, contact_id, model, limit=limit + 1, before=before)
    more = pages.encode(found[limit - 1]["id"]) if len(found) > limit else None
    return JsonResponse({"items": found[:limit], "next_cursor": more})


@router.post(
    "/adjustments",
    status_code=status.HTTP_201_CREATED,
    response_model=AdjustmentOut,
    summary="Add points by hand, override a score, or reset it",
)
async def adjust(contact_id: UUID, given: AdjustmentIn, kit: Kit, key: Writer) -> JsonResponse:
    wanted = Wanted(**given.model_dump())
    made = await committed(
        kit.database,
        lambda db: adjustments.make(db, kit.plans, contact_id, wanted, key.name, clock.now()),
    )
    return JsonResponse(
        {name: made[name] for name in AdjustmentOut.model_fields},
        status_code=201,
        headers={"Location": f"/v1/contacts/{contact_id}/adjustments/{made['id']}"},
    )


@router.get(
    "/adjustments", response_model=Page[AdjustmentOut], summary="List adjustments, ended ones too, newest first"
)
async def list_adjustments(
    contact_id: UUID, kit: Kit, _: Reader, limit: Limit = 100, cursor: Cursor = None
) -> JsonResponse:
    before = _before_id(cursor) if cursor else None
    async with kit.database.hot.acquire() as db:
        await _must_be_there(db, contact_id)
        found = await adjustments.page(db, contact_id, limit=limit + 1, before=before)
    more = pages.encode(str(found[limit - 1]["id"])) if len(found) > limit else None
    items = [{name: one[name] for name in AdjustmentOut.model_fields} for one in found[:limit]]
    return JsonResponse({"items": items, "next_cursor": more})


@router.delete(
    "/adjustments/{adjustment_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Revoke an adjustment",
    description="The score is from now on as if it had never been; it stays in the list, and in explanations of then.",
)
async def revoke(contact_id: UUID, adjustment_id: UUID, kit: Kit, key: Writer) -> Response:
    await committed(
        kit.database,
        lambda db: adjustments.revoke(db, kit.plans, contact_id, adjustment_id, key.name, clock.now()),
    )
    return Response(status_code=status.HTTP_204_NO_CONTENT)


def shown(found: Explanation, at: datetime) -> dict[str, Any]:  # Any: JSON
    """An explanation as the API shows it."""
    band = None if found.value is None else band_of(found.value, found.model.bands)
    return {
        "model": found.model.key,
        "version": found.model.version,
        "as_of": at,
        "value": found.value,
        "computed": found.computed,
        "override": found.override,
        "override_id": found.override_id,
        "band": band and band.name,
        "contributions": [_contribution(one) for one in found.contributions],
        "cuts": [{"by": cut.by, "points": cut.points} for cut in found.cuts],
        "next_change_on": found.next_change_on,
    }


def _contribution(one: Contribution) -> dict[str, Any]:  # Any: JSON
    raw = one.details.get("raw")
    return {
        "rule": one.rule and shown_rule(one.rule),
        "adjustment_id": one.adjustment_id,
        "count": one.count,
        "points": one.points,
        "raw": None if raw is None else Decimal(raw),
        "next_change_on": one.next_change_on,
        "details": {name: value for name, value in one.details.items() if name not in ("raw", "adjustment")},
    }


def _instant(as_of: datetime | date | None, now: datetime) -> datetime:
    """The end of a day, or the instant itself; never later than now. Raises InvalidInput for what is to come."""
    if as_of is None:
        return now
    if isinstance(as_of, datetime):
        at = as_of.astimezone(UTC)
    else:
        end = datetime(as_of.year, as_of.month, as_of.day, tzinfo=UTC) + timedelta(days=1, microseconds=-1)
        at = min(end, now) if as_of <= now.date() else end
    if at > now:
        raise InvalidInput(Fault("/as_of", "that is to come; ask for the forecast"))
    return at


def _before(cursor: str) -> int:
    [place] = pages.decode(cursor, 1)
    if not isinstance(place, int) or not 0 < place < 2**63:
        raise InvalidInput(pages.bad_cursor())
    return place


def _before_id(cursor: str) -> UUID:
    try:
        return UUID(str(pages.decode(cursor, 1)[0]))
    except ValueError:
        raise InvalidInput(pages.bad_cursor()) from None


async def _must_be_there(db: Any, contact_id: UUID) -> None:  # Any: a connection, whose name stays below the edge
    if not await scores.has_contact(db, contact_id):
        raise NotFound("there is no such contact")
