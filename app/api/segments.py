"""Segments: saved conditions on contacts, and who matches them now."""

import csv
import io
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Query, status
from pydantic import BaseModel, Field, JsonValue
from starlette.responses import Response, StreamingResponse

from app import clock
from app.api.contacts import ContactOut
from app.api.guard import Reader, Writer
from app.api.json import JsonResponse
from app.api.models import Key
from app.api.services import Kit, Services
from app.api.shapes import Cursor, Limit, Line, Page, Prose, Shape
from app.engine import members, segments
from app.engine.conditions import is_clean
from app.engine.members import Exported, Members
from app.engine.transactions import committed
from app.errors import Fault, InvalidInput
from app.store import contacts as rows
from app.store import pages
from app.store.tables import Segment

router = APIRouter(prefix="/v1/segments", tags=["Segments"])

_HOT_AND_REACHABLE: dict[str, JsonValue] = {
    "combinator": "and",
    "rules": [
        {"field": "contact.score.engagement", "operator": ">=", "value": 50},
        {"field": "contact.segments", "operator": "!=", "value": "customers"},
        {"field": "contact.opted_out", "operator": "=", "value": False},
    ],
}
OnContacts = Annotated[
    dict[str, JsonValue],
    Field(
        description="A condition on contacts, as in rules: react-querybuilder's RuleGroupType, or a single test. It "
        "may name scores (`contact.score.<model>`), bands (`contact.band.<model>`), measures "
        "(`contact.measures.<key>`) and other segments (`contact.segments`)",
        examples=[_HOT_AND_REACHABLE],
    ),
]


class SegmentIn(Shape):
    key: Key = Field(description="For ever; a small letter, then small letters, digits and _", examples=["hot_leads"])
    name: Line = Field(examples=["Hot leads"])
    description: Prose | None = Field(default=None, examples=["Whom sales calls first"])
    condition: OnContacts


class SegmentPatch(Shape):
    """What to change; what is left out stays."""

    name: Line | None = None
    description: Prose | None = None
    condition: OnContacts | None = None


class SegmentOut(BaseModel):
    key: str = Field(examples=["hot_leads"])
    name: str = Field(examples=["Hot leads"])
    description: str | None
    condition: dict[str, JsonValue] = Field(examples=[_HOT_AND_REACHABLE])
    created_at: datetime
    updated_at: datetime


class SegmentChanged(SegmentOut):
    job_id: UUID | None = Field(
        description="What scores everybody anew in the models that count by the segment; null if none does"
    )


class CountOut(BaseModel):
    count: int = Field(examples=[1204])


class Format(StrEnum):
    CSV = "csv"
    NDJSON = "ndjson"


@router.post(
    "", status_code=status.HTTP_201_CREATED, response_model=SegmentOut, summary="Save a condition as a segment"
)
async def post_segment(given: SegmentIn, kit: Kit, _: Writer) -> JsonResponse:
    wanted = segments.Wanted(given.key, given.name, given.description, given.condition)
    async with kit.database.batch() as db:
        made = await segments.create(db, wanted, clock.now())
    return JsonResponse(_shown(made), status_code=201, headers={"Location": f"/v1/segments/{given.key}"})


@router.get("", response_model=Page[SegmentOut], summary="List segments by their keys")
async def list_segments(kit: Kit, _: Reader, limit: Limit = 100, cursor: Cursor = None) -> JsonResponse:
    after = _key_after(cursor) if cursor else None
    async with kit.database.hot.acquire() as db:
        found = await segments.page(db, limit=limit + 1, after=after)
    more = pages.encode(found[limit - 1].key) if len(found) > limit else None
    return JsonResponse({"items": [_shown(one) for one in found[:limit]], "next_cursor": more})


@router.get("/{key}", response_model=SegmentOut, summary="Read a segment")
async def get_segment(key: Line, kit: Kit, _: Reader) -> JsonResponse:
    async with kit.database.hot.acquire() as db:
        return JsonResponse(_shown(await segments.get(db, key)))


@router.patch(
    "/{key}",
    response_model=SegmentChanged,
    summary="Change a segment",
    description="From the answer on, everybody asks the new condition. Where models that count name the segment, "
    "directly or through others, everybody is scored anew in the background: follow `GET /v1/jobs/{job_id}`.",
)
async def patch_segment(key: Line, given: SegmentPatch, kit: Kit, _: Writer) -> JsonResponse:
    changes = {name: getattr(given, name) for name in given.model_fields_set}
    missing = [name for name in ("name", "condition") if name in changes and changes[name] is None]
    if missing:
        raise InvalidInput(*(Fault(f"/{name}", "a segment has one; null is none") for name in missing))
    changed = await committed(kit.database, lambda db: segments.change(db, key, changes, clock.now()))
    return JsonResponse({**_shown(changed.segment), "job_id": changed.job})


@router.delete(
    "/{key}",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Delete a segment",
    description="Refused (409) while a draft, a model that counts or another segment names it; the answer says which.",
)
async def delete_segment(key: Line, kit: Kit, _: Writer) -> Response:
    async with kit.database.batch() as db:
        await segments.delete(db, key)
    return Response(status_code=status.HTTP_204_NO_CONTENT)


@router.get(
    "/{key}/count",
    response_model=CountOut,
    summary="Count the members of a segment",
    description="Exactly, as of now and today's UTC day. Refused (409) while a measure that it names is not `ready`, "
    "as are the members and the export.",
)
async def count_members(key: Line, kit: Kit, _: Reader) -> CountOut:
    return CountOut(count=await (await _members(kit, key)).count(kit.database))


@router.get(
    "/{key}/members",
    response_model=Page[ContactOut],
    summary="List the members of a segment by their ids",
    description="Each page is of who is a member when it is read: whoever comes or goes meanwhile moves nobody else.",
)
async def list_members(key: Line, kit: Kit, _: Reader, limit: Limit = 100, cursor: Cursor = None) -> JsonResponse:
    after = _id_after(cursor) if cursor else None
    found = await (await _members(kit, key)).page(kit.database, limit=limit + 1, after=after)
    async with kit.database.hot.acquire() as db:
        people = await rows.load(db, found[:limit])
    shown = [{name: getattr(people[one], name) for name in ContactOut.model_fields} for one in found if one in people]
    more = pages.encode(str(found[limit - 1])) if len(found) > limit else None
    return JsonResponse({"items": shown, "next_cursor": more})


_CSV = "id,email,name,stage,tags,opted_out,bounced,bounce_status,properties\r\n"
_CSV += '0190a7c6-…,ada@example.com,Ada,lead,"webinar,partner",false,false,none,"{""visits"":7}"\r\n'
_NDJSON = {
    "id": "0190a7c6-…",
    "email": "ada@example.com",
    "name": "Ada",
    "stage": "lead",
    "tags": ["webinar", "partner"],
    "opted_out": False,
    "bounced": False,
    "bounce_status": "none",
    "properties": {"visits": 7},
}


@router.get(
    "/{key}/export",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Streamed, in the order of ids; of any length",
            "content": {
                "text/csv": {"schema": {"type": "string"}, "example": _CSV},
                "application/x-ndjson": {
                    "schema": {"type": "string"},
                    "example": orjson.dumps(_NDJSON).decode() + "\n",
                },
            },
        }
    },
    summary="Export the members of a segment",
    description="`ndjson`: a JSON object a line. `csv` (RFC 4180): tags separated by commas, as the import takes them, "
    "properties as JSON. Each contact is as it was when its line was read. Where the database is lost on the way, the "
    "transfer breaks off with an error, so that no part is taken for the whole.",
)
async def export_members(
    key: Line,
    kit: Kit,
    _: Reader,
    format: Annotated[Format, Query(description="csv or ndjson")] = Format.CSV,  # noqa: A002 - its name in the API
) -> StreamingResponse:
    chunks = (await _members(kit, key)).export(kit.database)
    # Read before the answer begins, so that what goes wrong at once is still told as a problem.
    first: list[Exported] = await anext(chunks, [])
    written, media = _FORMATS[format]

    async def lines() -> AsyncIterator[bytes]:
        yield written(first, is_first=True)
        async for chunk in chunks:
            yield written(chunk, is_first=False)

    disposition = {"Content-Disposition": f'attachment; filename="{key}.{format}"'}
    return StreamingResponse(lines(), media_type=media, headers=disposition)


async def _members(kit: Services, key: str) -> Members:
    async with kit.database.batch() as db:
        return (await members.definitions(db, clock.now().date())).members(key)


def _as_csv(chunk: list[Exported], *, is_first: bool) -> bytes:
    text = io.StringIO()
    table = csv.writer(text)
    if is_first:
        table.writerow(Exported._fields)
    for one in chunk:
        said = one._replace(
            tags=",".join(one.tags),  # type: ignore[arg-type]  # as text from here on
            properties=orjson.dumps(one.properties).decode(),  # type: ignore[arg-type]  # as above
        )
        table.writerow(str(cell).lower() if isinstance(cell, bool) else cell for cell in said)
    return text.getvalue().encode()


def _as_ndjson(chunk: list[Exported], *, is_first: bool) -> bytes:  # noqa: ARG001 - it has no heading
    return b"".join(orjson.dumps({**one._asdict(), "id": str(one.id)}) + b"\n" for one in chunk)


_FORMATS: dict[Format, tuple[Callable[..., bytes], str]] = {
    Format.CSV: (_as_csv, "text/csv; charset=utf-8"),
    Format.NDJSON: (_as_ndjson, "application/x-ndjson"),
}


def _key_after(cursor: str) -> str:
    [key] = pages.decode(cursor, 1)
    if not isinstance(key, str) or not is_clean(key):
        raise InvalidInput(pages.bad_cursor())
    return key


def _id_after(cursor: str) -> UUID:
    try:
        return UUID(str(pages.decode(cursor, 1)[0]))
    except ValueError:
        raise InvalidInput(pages.bad_cursor()) from None


def _shown(one: Segment) -> dict[str, Any]:  # Any: JSON
    return {name: getattr(one, name) for name in SegmentOut.model_fields}
