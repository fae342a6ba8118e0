"""Shapes that several resources share."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)

from app.api.json import number
from app.engine.identity import normal_email
from app.engine.properties import check_properties, to_text

T = TypeVar("T")
Moment = TypeVar("Moment", bound=date)


class Shape(BaseModel):
    """Input: a name that we do not know is refused rather than lost."""

    model_config = ConfigDict(extra="forbid")


class Page(BaseModel, Generic[T]):
    items: list[T]
    next_cursor: str | None = Field(
        default=None, description="Give it back as `cursor` for the page after; null at the end."
    )


def _properties(properties: dict[str, Any]) -> dict[str, Any]:
    check_properties(properties)
    to_text(properties)
    return properties


def sensible(moment: Moment) -> Moment:
    """A day or an instant that calendars agree on, with room for windows on both sides."""
    if not 1900 <= moment.year < 3000:
        raise ValueError("expected a moment between the years 1900 and 2999")
    return moment


Instant = Annotated[AwareDatetime, AfterValidator(sensible)]
# No NUL, which Postgres cannot hold; checked by Pydantic's own compiled code, for these are read by the thousand.
Line = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
Prose = Annotated[str, StringConstraints(max_length=2_000, pattern=r"^[^\x00]*$")]
Email = Annotated[
    str,
    AfterValidator(normal_email),
    WithJsonSchema({"type": "string", "format": "email", "examples": ["ada@example.com"]}),
]
Properties = Annotated[dict[str, JsonValue], AfterValidator(_properties)]
# Bounded here, before anything counts with it: a number such as 1e99999999 has no end of digits.
Points = Annotated[
    Decimal,
    PlainSerializer(number, return_type=int | float, when_used="json"),
    Field(allow_inf_nan=False, ge=-(10**15), le=10**15, decimal_places=20),
    WithJsonSchema({"type": "number"}),
]
Limit = Annotated[int, Query(ge=1, le=1_000, description="Items of a page at most")]
Cursor = Annotated[Line | None, Query(description="`next_cursor` of the page before")]
