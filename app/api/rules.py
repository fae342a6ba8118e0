"""Rules of a model's draft."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, status
from pydantic import BaseModel, Field, JsonValue
from starlette.responses import Response

from app.api.guard import Reader, Writer
from app.api.json import JsonResponse
from app.api.services import Kit
from app.api.shapes import Cursor, Limit, Line, Page, Points, Shape
from app.engine import drafts
from app.engine.rules import RuleKind
from app.errors import Fault, InvalidInput
from app.store import models, pages
from app.store.tables import Rule

router = APIRouter(tags=["Rules"])

_OPENED = {"combinator": "and", "rules": [{"field": "event.type", "operator": "=", "value": "email.opened"}]}
Condition = Annotated[
    dict[str, JsonValue],
    Field(description="react-querybuilder's RuleGroupType; see the README's *Conditions*", examples=[_OPENED]),
]
Days = Annotated[int, Field(strict=True, description="UTC days back that count, today the first", examples=[30])]
PerDay = Annotated[int, Field(strict=True, description="Events of one UTC day that count at most", examples=[3])]
Most = Annotated[Points, Field(description="The sum stays within plus and minus this", examples=[50])]


class RuleIn(Shape):
    """An event rule gives `points` for each matching event; a profile rule while its condition on the contact holds."""

    name: Line = Field(examples=["Opened an e-mail"])
    kind: RuleKind
    condition: Condition
    points: Points = Field(description="Signed, two decimals at most", examples=[10])
    window_days: Days | None = None
    max_per_day: PerDay | None = None
    max_points: Most | None = None


class RulePatch(Shape):
    name: Line | None = None
    kind: RuleKind | None = None
    condition: Condition | None = None
    points: Points | None = None
    window_days: Days | None = None
    max_per_day: PerDay | None = None
    max_points: Most | None = None


class RuleOut(BaseModel):
    id: UUID
    model: str = Field(description="The model's key")
    name: str
    kind: RuleKind
    condition: dict[str, JsonValue]
    points: Points
    window_days: int | None
    max_per_day: int | None
    max_points: Points | None
    created_at: datetime
    updated_at: datetime


@router.post(
    "/v1/models/{key}/rules",
    status_code=status.HTTP_201_CREATED,
    response_model=RuleOut,
    summary="Add a rule to a model's draft",
)
async def post_rule(key: Line, given: RuleIn, kit: Kit, _: Writer) -> JsonResponse:
    rule, model = await drafts.create_rule(kit.database, key, given.model_dump())
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
    changes = {name: getattr(given, name) for name in given.model_fields_set}
    missing = [name for name in ("name", "kind", "condition", "points") if name in changes and changes[name] is None]
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


def _shown(rule: Rule, model: str) -> dict[str, Any]:
    names = [name for name in RuleOut.model_fields if name != "model"]
    return {**{name: getattr(rule, name) for name in names}, "model": model}
