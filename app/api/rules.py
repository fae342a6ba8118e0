"""Rules of a model's draft."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, status
from pydantic import Discriminator, Field, JsonValue, Tag
from starlette.responses import Response

from app.api.guard import Reader, Writer
from app.api.json import JsonResponse
from app.api.services import Kit
from app.api.shapes import Cursor, Limit, Line, Page, Points, Shape
from app.engine import drafts
from app.engine.rules import MAX_STEPS, RuleKind
from app.engine.rules import Rule as Engine
from app.errors import Fault, InvalidInput
from app.store import models, pages
from app.store.tables import Rule

router = APIRouter(tags=["Rules"])

_OPENED = {"combinator": "and", "rules": [{"field": "event.type", "operator": "=", "value": "email.opened"}]}
_CUSTOMER = {"field": "contact.stage", "operator": "=", "value": "customer"}
Condition = Annotated[
    dict[str, JsonValue],
    Field(description="react-querybuilder's RuleGroupType; see the README's *Conditions*", examples=[_OPENED]),
]
OnContact = Annotated[dict[str, JsonValue], Field(description="A condition on the contact", examples=[_CUSTOMER])]
# Bounded here, before anything computes with it: a number written with an exponent of millions takes Python minutes.
Days = Annotated[int, Field(strict=True, examples=[30])]
Count = Annotated[int, Field(strict=True, examples=[3])]
Window = Annotated[
    Annotated[int, Field(strict=True)] | Literal["unlimited"] | None,
    Field(description="Event rules: UTC days back that count, today the first; null: as the model says", examples=[30]),
]


class DecayStep(Shape):
    after_days: Days = Field(description="From this age on, in days")
    percent: Points = Field(description="An event is worth so much of its points", examples=[50])


class StepDecay(Shape):
    """So much less from so many days on."""

    steps: Annotated[list[DecayStep], Field(min_length=1, max_length=MAX_STEPS)]


class HalfLife(Shape):
    """Half after `half_life_days`, stepping down every `every_days`; nothing once below one hundredth."""

    half_life_days: Days
    every_days: Days = Field(default=1, description="Days from step to step", examples=[7])


# No tag is the name of a field: it is in the location of a fault, and is told from a place of the document by that.
def _kind_of_decay(said: Any) -> str:  # Any: JSON, or one of the shapes
    has_steps = "steps" in said if isinstance(said, dict) else isinstance(said, StepDecay)
    return "in steps" if has_steps else "by half-life"


Decay = Annotated[
    Annotated[StepDecay, Tag("in steps")] | Annotated[HalfLife, Tag("by half-life")], Discriminator(_kind_of_decay)
]


class PerUnit(Shape):
    """Points for each unit of a numeric field of the contact."""

    field: Line = Field(examples=["contact.properties.employees"])
    min: Points | None = Field(default=None, description="A lower value counts as this one", examples=[0])
    max: Points | None = Field(default=None, description="A higher value counts as this one", examples=[1000])


class Said(Shape):
    """What a rule may say beside its kind, condition and points; docs/scoring.md has every clause."""

    window_days: Window = None
    distinct_by: Line | None = Field(
        default=None,
        description="Event rules: each distinct value of this field of the event counts once",
        examples=["event.properties.campaign"],
    )
    max_per_day: Count | None = Field(default=None, description="Event rules: events of one UTC day that count at most")
    max_count: Count | None = Field(default=None, description="Event rules: events that count at most, newest first")
    at_least: Count | None = Field(
        default=None, description="Event rules: points are given once, if so many count; 1 means once", examples=[1]
    )
    decay: Decay | None = Field(
        default=None,
        description="Event rules: what an event is worth at an age",
        examples=[{"steps": [{"after_days": 30, "percent": 50}]}, {"half_life_days": 30, "every_days": 7}],
    )
    max_points: Points | None = Field(
        default=None, description="The rule's points stay within plus and minus this", examples=[50]
    )
    audience: OnContact | None = Field(
        default=None, description="Event and absence rules: who does not match gets nothing"
    )
    group: Line | None = Field(default=None, description="One of the model's groups", examples=["E-mail"])
    after_days: Days | None = Field(
        default=None, description="Absence rules: points for each so many days without a matching event"
    )
    max_times: Count | None = Field(
        default=None, description="Absence rules: so many times at most; 1 unless said, null without end"
    )
    per_unit_of: PerUnit | None = Field(
        default=None, description="Profile rules: the points are for each unit of this number"
    )

    def said(self, names: set[str]) -> dict[str, Any]:  # Any: JSON
        """Those named, as the engine reads them: its decay is JSON, all other numbers are exact."""
        said = self.model_dump(include=names)
        if "decay" in said and self.decay is not None:
            said["decay"] = self.decay.model_dump(mode="json")
        return said


class RuleIn(Said):
    """An event rule gives `points` for matching events, an absence rule for a silence, a profile rule while its
    condition on the contact holds."""

    name: Line = Field(examples=["Opened an e-mail"])
    kind: RuleKind
    condition: Condition | None = Field(default=None, description="Null, for a profile rule: always")
    points: Points = Field(description="Signed, two decimals at most", examples=[10])

    def fields(self) -> dict[str, Any]:  # Any: JSON
        """All of it, as the engine reads it."""
        said = self.said(set(type(self).model_fields))
        if self.kind is RuleKind.ABSENCE and "max_times" not in self.model_fields_set:
            said["max_times"] = 1
        return said


class RulePatch(Said):
    name: Line | None = None
    kind: RuleKind | None = None
    condition: Condition | None = None
    points: Points | None = None


class VersionRule(Said):
    """A rule as a published version has it."""

    id: UUID
    name: str
    kind: RuleKind
    condition: dict[str, JsonValue] | None
    points: Points


class RuleOut(VersionRule):
    """A rule of a model's draft."""

    model: str = Field(description="The model's key")
    created_at: datetime
    updated_at: datetime


@router.post(
    "/v1/models/{key}/rules",
    status_code=status.HTTP_201_CREATED,
    response_model=RuleOut,
    summary="Add a rule to a model's draft",
)
async def post_rule(key: Line, given: RuleIn, kit: Kit, _: Writer) -> JsonResponse:
    rule, model = await drafts.create_rule(kit.database, key, given.fields())
    return JsonResponse(_shown(rule, model), status_code=201, headers={"Location": f"/v1/rules/{rule.id}"})


@router.get("/v1/models/{key}/rules", response_model=Page[RuleOut], summary="List the rules of a model's draft")
async def list_rules(key: Line, kit: Kit, _: Reader, limit: Limit = 100, cursor: Cursor = None) -> JsonResponse:
    async with kit.database.session() as session:
        model = await models.get(session, key)
        after = _after(cursor) if cursor else None
        found = await models.rules(session, model.id or 0, limit=limit + 1, after=after)
    more = pages.encode(str(found[limit - 1].id)) if len(found) > limit else None
    return JsonResponse({"items": [_shown(rule, key) for rule in found[:limit]], "next_cursor": more})


@router.get("/v1/rules/{rule_id}", response_model=RuleOut, summary="Read a draft's rule")
async def get_rule(rule_id: UUID, kit: Kit, _: Reader) -> JsonResponse:
    async with kit.database.session() as session:
        rule, model = await models.rule(session, rule_id)
    return JsonResponse(_shown(rule, model.key))


@router.patch("/v1/rules/{rule_id}", response_model=RuleOut, summary="Change a draft's rule")
async def patch_rule(rule_id: UUID, given: RulePatch, kit: Kit, _: Writer) -> JsonResponse:
    changes = given.said(given.model_fields_set)
    missing = [name for name in ("name", "kind", "points") if name in changes and changes[name] is None]
    if missing:
        raise InvalidInput(*(Fault(f"/{name}", "a rule has one; null is none") for name in missing))
    rule, model = await drafts.change_rule(kit.database, rule_id, changes)
    return JsonResponse(_shown(rule, model))


@router.delete("/v1/rules/{rule_id}", status_code=status.HTTP_204_NO_CONTENT, summary="Take a rule out of the draft")
async def delete_rule(rule_id: UUID, kit: Kit, _: Writer) -> Response:
    await drafts.delete_rule(kit.database, rule_id)
    return Response(status_code=status.HTTP_204_NO_CONTENT)


def _after(cursor: str) -> UUID:
    try:
        return UUID(str(pages.decode(cursor, 1)[0]))
    except ValueError:
        raise InvalidInput(pages.bad_cursor()) from None


def _shown(rule: Rule, model: str) -> dict[str, Any]:  # Any: JSON
    dates = {"created_at": rule.created_at, "updated_at": rule.updated_at}
    return {**shown(Engine.from_json(rule.said)), "model": model, **dates}


def shown(rule: Engine) -> dict[str, Any]:  # Any: JSON
    """A rule as the API shows it: numbers as numbers."""
    per = rule.per_unit_of
    return {
        **rule.to_json(),
        "points": rule.points,
        "max_points": rule.max_points,
        "per_unit_of": per and {"field": per.field, "min": per.min, "max": per.max},
    }
