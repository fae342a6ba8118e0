"""What a contact is worth: scores, explained, as of any moment, with what they were and will be; and adjustments."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, status
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, Field
from starlette.responses import Response

from app import clock
from app.api.guard import Reader, Writer
from app.api.json import JsonResponse
from app.api.rules import VersionRule
from app.api.rules import shown as shown_rule
from app.api.services import Kit
from app.api.shapes import Cursor, Limit, Line, Page, Points, Prose, Shape, sensible
from app.engine import adjustments, replay
from app.engine.adjustments import AdjustmentKind, Wanted
from app.engine.explain import Contribution, Explanation
from app.engine.rules import band_of, read_bands
from app.engine.scoring import Cause
from app.engine.transactions import committed
from app.errors import Fault, InvalidInput, NotFound
from app.store import pages, scores

router = APIRouter(prefix="/v1/contacts/{contact_id}", tags=["Scores"])


def _moment(said: object) -> object:
    """A day or an instant, read here: where something may be of two types, Pydantic reports what is wrong twice."""
    if not isinstance(said, str):
        return said
    try:
        moment = date.fromisoformat(said) if len(said) == 10 else datetime.fromisoformat(said.upper())
    except ValueError:
        moment = None
    if moment is None or (isinstance(moment, datetime) and moment.tzinfo is None):
        raise ValueError("expected a UTC day, or an instant with its offset (RFC 3339; in a query + is written %2B)")
    return sensible(moment)


AsOf = Annotated[
    AwareDatetime | date | None,
    BeforeValidator(_moment),
    Query(description="A past instant (RFC 3339), or a UTC day: its end", examples=["2026-05-01T09:00:00Z"]),
]


class ScoreOut(BaseModel):
    model: str = Field(description="The model's key")
    value: Points | None = Field(description="Null: not in the model's audience")
    band: str | None = Field(description="The model's band that the value lies in")
    computed: Points | None = Field(description="What the rules say, while an override stands in for it; else null")
    version: int = Field(description="The version by which it last changed")
    next_change_on: date | None = Field(description="The UTC day on which it may next change by itself")
    computed_at: datetime


class CutOut(BaseModel):
    by: str = Field(description="group <name>, min or max", examples=["group E-mail"])
    points: Points = Field(description="What the limit takes away, or a minimum adds", examples=[-10])


class DayOut(BaseModel):
    day: date
    events: int = Field(description="Matching events; with `distinct_by`, values that are on no newer day")
    counted: int = Field(description="Those that count, after the rule's limits")
    worth: Points = Field(description="The factor of `decay` at the day's age; 1 without decay", examples=[0.5])
    leaves_on: date | None = Field(description="When the day leaves the rule's window; null: never")


class DetailsOut(BaseModel):
    """How it came about. What the rule's kind does not have is null."""

    days: list[DayOut] | None = Field(description="Event rules: days with matching events in the window, newest first")
    in_audience: bool | None = Field(description="Event rules: whether the rule's `audience` holds")
    silent_since: date | None = Field(description="Absence rules: the day on which the silence began")
    units: Points | None = Field(description="Profile rules with `per_unit_of`: the number, within its bounds")


class ContributionOut(BaseModel):
    rule: VersionRule | None = Field(description="Null for an adjustment")
    adjustment_id: UUID | None = Field(description="Of points by hand")
    count: int = Field(description="Events that count; times of an absence; 1 for a profile rule that holds")
    points: Points = Field(description="After the rule's own limits")
    raw: Points | None = Field(description="Before the rule's `max_points`, where that can cut")
    next_change_on: date | None = Field(description="When this may next change by itself")
    details: DetailsOut


class AdjustmentIn(Shape):
    """`points` are added to the total, an `override` stands in for it, a `reset` forgets the events so far."""

    kind: AdjustmentKind
    model: Line | None = Field(default=None, description="Null: a reset in all models", examples=["engagement"])
    points: Points | None = Field(
        default=None, description="Of points and override: signed, two decimals at most", examples=[25]
    )
    reason: Annotated[Prose, Field(min_length=1, examples=["met at the fair"])]
    from_day: Annotated[date, AfterValidator(sensible)] | None = Field(
        default=None,
        description="Of a reset: the first UTC day that counts; tomorrow unless said, so that today's do not",
    )
    ends_on: Annotated[date, AfterValidator(sensible)] | None = Field(
        default=None, description="The UTC day from which it no longer holds; null: it has no end"
    )


class AdjustmentOut(BaseModel):
    id: UUID
    kind: AdjustmentKind
    model: str | None = Field(description="Null: a reset in all models")
    points: Points | None
    reason: str
    from_day: date | None
    ends_on: date | None
    made_by: str = Field(description="The name of the API key")
    created_at: datetime
    revoked_at: datetime | None = Field(description="When it was revoked, or another override took its place")
    revoked_by: str | None


class ExplanationOut(BaseModel):
    model: str
    version: int | None = Field(description="Null: the draft")
    as_of: datetime
    value: Points | None = Field(description="Null: not in the model's audience")
    computed: Points | None = Field(
        description="Contributions and cuts add up to this, exactly. Null outside of the audience, whatever they are"
    )
    override: Points | None = Field(description="What stands in for `computed`")
    override_id: UUID | None
    band: str | None
    contributions: list[ContributionOut]
    cuts: list[CutOut]
    adjustments: list[AdjustmentOut] = Field(
        description="Those in force, with reasons and authors: points, the override, resets, the newest first. What a "
        "reset forgets is among the contributions no more"
    )
    next_change_on: date | None = Field(description="The UTC day on which it may next change by itself")


class ChangeOut(BaseModel):
    on: date
    value: Points | None


class ForecastOut(BaseModel):
    model: str
    value: Points | None = Field(description="What it is now")
    changes: list[ChangeOut] = Field(description="What the value becomes by itself, and on which UTC day")


class PastOut(BaseModel):
    at: datetime
    was: Points | None = Field(description="Null: there was none yet, or not in the audience")
    value: Points | None
    version: int
    cause: Cause


class RulesOf(StrEnum):
    THEN = "then"
    NOW = "now"


@router.get("/scores", response_model=list[ScoreOut], summary="List a contact's scores")
async def list_scores(contact_id: UUID, kit: Kit, _: Reader) -> JsonResponse:
    async with kit.database.hot.acquire() as db:
        await _must_be_there(db, contact_id)
        return JsonResponse([_score(one) for one in await scores.of(db, contact_id)])


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
        in_force = await adjustments.in_force(db, contact_id, found.model.id, at)
    return JsonResponse({**shown(found, at), "adjustments": [_adjustment(one) for one in in_force]})


@router.get(
    "/scores/{model}/forecast",
    response_model=ForecastOut,
    summary="Forecast a score: the next dates on which it changes by itself, and to what",
    description="With nothing coming in. It looks at the next 60 days on which anything may change, so there may be "
    "fewer changes than `limit`.",
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
    "/scores/{model}/history", response_model=Page[PastOut], summary="List every change of a score, the newest first"
)
async def history(
    contact_id: UUID, model: Line, kit: Kit, _: Reader, limit: Limit = 100, cursor: Cursor = None
) -> JsonResponse:
    before = _before(cursor) if cursor else None
    async with kit.database.hot.acquire() as db:
        await _must_be_there(db, contact_id)
        found = await scores.history(db, contact_id, model, limit=limit + 1, before=before)
    more = pages.encode(found[limit - 1]["id"]) if len(found) > limit else None
    items = [{name: one[name] for name in PastOut.model_fields} for one in found[:limit]]
    return JsonResponse({"items": items, "next_cursor": more})


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
        _adjustment(made),
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
    return JsonResponse({"items": [_adjustment(one) for one in found[:limit]], "next_cursor": more})


@router.get("/adjustments/{adjustment_id}", response_model=AdjustmentOut, summary="Read an adjustment")
async def get_adjustment(contact_id: UUID, adjustment_id: UUID, kit: Kit, _: Reader) -> JsonResponse:
    async with kit.database.hot.acquire() as db:
        return JsonResponse(_adjustment(await adjustments.get(db, contact_id, adjustment_id)))


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
    """An explanation as the API shows it, with no adjustments."""
    band = None if found.value is None else band_of(found.value, found.model.bands)
    return {
        "model": found.model.key,
        "version": found.model.version or None,
        "as_of": at,
        "value": found.value,
        "computed": found.computed,
        "override": found.override,
        "override_id": found.override_id,
        "band": band and band.name,
        "contributions": [_contribution(one) for one in found.contributions],
        "cuts": [{"by": cut.by, "points": cut.points} for cut in found.cuts],
        "adjustments": [],
        "next_change_on": found.next_change_on,
    }


def _contribution(one: Contribution) -> dict[str, Any]:  # Any: JSON
    details, days = one.details, None
    if "days" in details:
        days = [{**day, "worth": _number(day["worth"])} for day in details["days"] or ()]
    return {
        "rule": one.rule and shown_rule(one.rule),
        "adjustment_id": one.adjustment_id,
        "count": one.count,
        "points": one.points,
        "raw": _number(details.get("raw")),
        "next_change_on": one.next_change_on,
        "details": {
            "days": days,
            "in_audience": details.get("in_audience"),
            "silent_since": details.get("silent_since"),
            "units": _number(details.get("units")),
        },
    }


def _number(said: str | None) -> Decimal | None:
    """A number that is text in the engine's details, so that no float came between."""
    return None if said is None else Decimal(said)


def _score(row: Mapping[str, Any]) -> dict[str, Any]:  # Any: columns; JSON
    value = row["value"]
    band = None if value is None else band_of(value, read_bands(row["bands"]))
    return {name: band and band.name if name == "band" else row[name] for name in ScoreOut.model_fields}


def _adjustment(row: Mapping[str, Any]) -> dict[str, Any]:  # Any: columns; JSON
    return {name: row[name] for name in AdjustmentOut.model_fields}


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
