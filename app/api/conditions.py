"""Conditions, tried out by the very SQL that scores."""

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field, JsonValue

from app import clock
from app.api.guard import Reader
from app.api.rules import Condition
from app.api.services import Kit
from app.api.shapes import Line, Shape
from app.engine import plan, trial
from app.engine.conditions import parse
from app.engine.fields import FieldType, Scope, Vocabulary
from app.errors import Fault, InvalidInput

router = APIRouter(prefix="/v1/conditions", tags=["Conditions"])

_RECORDS = [{"country": "DE", "employees": 40}, {"country": "FR"}]
_PERSON = {"email": "ada@example.com", "tags": ["vip"], "scores": {"engagement": 64}, "measures": {"spent_90d": 250}}


class TrialIn(Shape):
    scope: Scope = Field(description="What a record is: an event, a contact, or a flat record of your own")
    condition: Condition
    records: Annotated[list[dict[str, JsonValue]], Field(max_length=5_000, examples=[_RECORDS, [_PERSON]])] = Field(
        description="Of a contact: as the API shows it, with `scores` by the keys of models and `measures` by theirs; "
        "what is left out is missing. Bands follow from the scores, segments from everything"
    )
    fields: dict[Line, FieldType] | None = Field(
        default=None,
        description="Types of the fields: all of a record's, or of properties under their dotted names; of a contact's "
        "properties beside those declared by `/v1/properties`, or instead",
        examples=[{"country": "text", "employees": "number"}],
    )


class TrialOut(BaseModel):
    matches: list[bool]


@router.post(
    "/test",
    summary="Say which records a condition matches",
    description="By the very SQL that scores. A condition on a contact may name all that there is: models, measures, "
    "segments.",
)
async def try_condition(given: TrialIn, kit: Kit, _: Reader) -> TrialOut:
    declared = given.fields or {}
    if FieldType.TAGS in declared.values():
        raise InvalidInput(Fault("/fields", "a declared field is text, number, boolean or datetime"))
    known = Vocabulary.of(given.scope, declared)
    async with kit.database.hot.acquire() as db:
        if given.scope is Scope.CONTACT:
            there = await plan.vocabulary(db)
            known = replace(there, declared={**there.declared, **declared})
        tree = parse(given.condition, known, "/condition")
        matches = await trial.matches(db, tree, known, given.records, clock.now().date())
    return TrialOut(matches=matches)
