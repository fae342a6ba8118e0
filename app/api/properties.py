"""Declared properties of contacts: what type each is read as, wherever it comes in."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Request, status
from pydantic import BaseModel, Field
from starlette.responses import Response

from app import clock
from app.api.guard import Reader, Writer
from app.api.jobs import JobOut, settled
from app.api.jobs import shown as shown_job
from app.api.json import JsonResponse
from app.api.services import Kit
from app.api.shapes import Cursor, Limit, Line, Page, Shape
from app.engine import declared
from app.engine.conditions import is_clean
from app.engine.fields import FieldType
from app.engine.transactions import committed
from app.errors import InvalidInput
from app.store import pages

router = APIRouter(prefix="/v1/properties", tags=["Properties"])

Name = Annotated[
    Line,
    Path(
        description="As in `contact.properties.<name>`: the key at the top of a contact's `properties`, dots and all",
        examples=["newsletter"],
    ),
]


class PropertyIn(Shape):
    type: FieldType = Field(
        description="How every value is read from now on. `boolean`: true, false, 1, 0, and in any case "
        '`"true"`, `"false"`, `"yes"`, `"no"`, `"1"`, `"0"`. `number`: numbers, and text that is one. `datetime`: '
        "RFC 3339 text or a date, kept as it is. `text`: text; numbers and booleans as they are written out. `tags`: "
        "a list of text, or comma-separated text. null still removes a property.",
        examples=["boolean"],
    )


class PropertyOut(BaseModel):
    name: str = Field(examples=["newsletter"])
    type: FieldType = Field(examples=["boolean"])
    created_at: datetime = Field(description="When it was first declared")


class DeclaredOut(PropertyOut):
    job_id: UUID
    job: JobOut = Field(
        description="The conversion of what is stored. Its `result` counts the values that were `converted`, and the "
        "`unreadable` ones: those stay as they are, and conditions take them as missing."
    )


@router.put(
    "/{name:path}",
    response_model=DeclaredOut,
    responses={status.HTTP_201_CREATED: {"model": DeclaredOut, "description": "Declared, which it was not before"}},
    summary="Declare what type a property is",
    description="From here on its values are read as this type when a contact is written or imported, and refused "
    "where they cannot be; conditions compare it as this type. What is stored already is converted in the background, "
    "and everybody scored anew who may score otherwise. Where that is done within a second, the answer already says "
    "so; with `Prefer: respond-async` (RFC 7240) it does not wait. Declaring the same again changes nothing. Refused "
    "(409) while a model, a draft or a segment compares the property as this type allows not.",
)
async def put_property(name: Name, given: PropertyIn, request: Request, kit: Kit, _: Writer) -> JsonResponse:
    made = await committed(kit.database, lambda db: declared.declare(db, name, given.type, clock.now()))
    patience = 0.0 if "respond-async" in request.headers.get("prefer", "") else 1.0
    job = await settled(kit.database, made.job, patience)
    return JsonResponse(
        {**_shown(made), "job_id": made.job, "job": shown_job(job)}, status_code=201 if made.is_new else 200
    )


@router.get("", response_model=Page[PropertyOut], summary="List declared properties by their names")
async def list_properties(kit: Kit, _: Reader, limit: Limit = 100, cursor: Cursor = None) -> JsonResponse:
    after = _after(cursor) if cursor else None
    async with kit.database.hot.acquire() as db:
        found = await declared.page(db, limit=limit + 1, after=after)
    more = pages.encode(found[limit - 1].name) if len(found) > limit else None
    return JsonResponse({"items": [_shown(one) for one in found[:limit]], "next_cursor": more})


@router.delete(
    "/{name:path}",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Withdraw the declaration of a property",
    description="Its values stay as they are. Conditions read it again as the type of what it is compared with; where "
    "a model that counts looks at it, everybody is scored anew in the background. Refused (409) while a model, a draft "
    "or a segment says what only the declaration allows.",
)
async def delete_property(name: Name, kit: Kit, _: Writer) -> Response:
    await committed(kit.database, lambda db: declared.withdraw(db, name, clock.now()))
    return Response(status_code=status.HTTP_204_NO_CONTENT)


def _after(cursor: str) -> str:
    [name] = pages.decode(cursor, 1)
    if not isinstance(name, str) or not is_clean(name):
        raise InvalidInput(pages.bad_cursor())
    return name


def _shown(one: Any) -> dict[str, Any]:  # Any: something with these attributes; JSON
    return {name: getattr(one, name) for name in PropertyOut.model_fields}
