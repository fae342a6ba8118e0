"""Conditions, tried out by the very SQL that scores."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field, JsonValue

from app import clock
from app.api.guard import Reader
from app.api.rules import Condition
from app.api.services import Kit
from app.api.shapes import Line, Shape
from app.engine import trial
from app.engine.conditions import parse
from app.engine.fields import FieldType, Scope, Vocabulary
from app.errors import Fault, InvalidInput

router = APIRouter(prefix="/v1/conditions", tags=["Conditions"])

_RECORDS = [{"country": "DE", "employees": 40}, {"country": "FR"}]


class TrialIn(Shape):
    scope: Scope = Field(description="What a record is: an event, a contact, or a flat record of your own")
    condition: Condition
    records: Annotated[list[dict[str, JsonValue]], Field(max_length=5_000, examples=[_RECORDS])]
    fields: dict[Line, FieldType] | None = Field(
        default=None,
        description="Types of the fields: all of a record's, or of properties under their dotted names",
        examples=[{"country": "text", "employees": "number"}],
    )


class TrialOut(BaseModel):
    matches: list[bool]


@router.post("/test", summary="Say which records a condition matches")
async def try_condition(given: TrialIn, kit: Kit, _: Reader) -> TrialOut:
    declared = given.fields or {}
    if FieldType.TAGS in declared.values():
        raise InvalidInput(Fault("/fields", "a declared field is text, number, boolean or datetime"))
    tree = parse(given.condition, Vocabulary.of(given.scope, declared), "/condition")
    async with kit.database.hot.acquire() as db:
        matches = await trial.matches(db, tree, given.scope, given.records, clock.now().date())
    return TrialOut(matches=matches)
