"""Contacts: one by one, and imported."""

import tempfile
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Query, Request, status
from pydantic import BaseModel, Field
from starlette.datastructures import UploadFile
from starlette.responses import Response

from app import clock
from app.api.events import ContactIn
from app.api.guard import Reader, Writer
from app.api.json import JsonResponse
from app.api.services import Kit
from app.api.shapes import Email, Line, Properties, Shape
from app.engine import contacts, hygiene, importing, merging
from app.engine.contacts import Change, Refused
from app.engine.transactions import committed
from app.errors import Conflict, Fault, InvalidInput, NotFound
from app.quality import Quality
from app.store import contacts as rows
from app.store.db import Connection
from app.store.tables import Contact

router = APIRouter(prefix="/v1/contacts", tags=["Contacts"])

Tags = Annotated[list[Line], Field(max_length=200, examples=[["webinar", "partner"]])]


class ContactPatch(Shape):
    """What to change; what is left out stays. `properties` merge by RFC 7396, so null removes one.

    A property whose type is declared (`/v1/properties`) is read as it: `"Yes"` and `1` are true of a boolean.
    """

    email: Email | None = None
    name: Line | None = None
    stage: Line | None = Field(default=None, description="Lifecycle stage", examples=["lead"])
    tags: Tags = []
    properties: Properties = {}
    opted_out: bool = False
    bounced: bool = False

    def change(self) -> Change:
        return Change(
            said=frozenset(self.model_fields_set),
            email=self.email,
            name=self.name,
            stage=self.stage,
            tags=tuple(self.tags),
            properties=self.properties,
            opted_out=self.opted_out,
            bounced=self.bounced,
        )


class ContactUpsert(ContactIn, ContactPatch):
    """A contact found by `user_id`, else `email`, else `anonymous_id`; made if there is none."""


class ContactOut(BaseModel):
    id: UUID
    email: str | None
    email_quality: list[Quality] = Field(description="What the address shows by itself: role, disposable")
    name: str | None
    stage: str | None
    tags: list[str]
    properties: dict[str, Any]
    opted_out: bool
    opted_out_at: datetime | None
    opted_out_reason: str | None
    opted_out_by: str | None
    bounced: bool
    bounced_at: datetime | None
    bounced_reason: str | None
    bounced_by: str | None
    bounce_status: str = Field(description="none, soft or hard")
    soft_bounces: int
    created_at: datetime
    updated_at: datetime


class MergedOut(BaseModel):
    contact: UUID = Field(description="The contact that became part of another")
    into: UUID = Field(description="This one, or a contact that became part of it since")
    kind: str = Field(description="manual, automatic (an anonymous visitor said who they are) or alias")
    at: datetime
    by: str = Field(description="An API key's name, or the source of the event that tied the two")


class ContactDetail(ContactOut):
    merged: list[MergedOut] = Field(description="The contacts that became part of it, in the order of merging")


@router.post(
    "",
    summary="Create a contact, or change the one that these identities point at",
    responses={200: {"model": ContactDetail}, 201: {"model": ContactDetail}},
)
async def post_contact(given: ContactUpsert, kit: Kit, key: Writer) -> JsonResponse:
    async def work(db: Connection) -> tuple[dict[str, Any], bool]:
        [result] = await contacts.upsert(
            db, kit.plans, [(given.ref(), given.change())], key.name, clock.now(), kit.policy
        )
        if isinstance(result, Refused):
            raise result.fault()
        if result.is_conflict:
            raise Conflict("another contact has this address", "/email")
        row = (await rows.load(db, [result.contact]))[result.contact]
        if "opted_out" in given.model_fields_set and not given.opted_out and hygiene.has_complained(row):
            raise Conflict(hygiene.COMPLAINT_STANDS, "/opted_out")
        return await shown(db, row), result.is_new

    row, is_new = await committed(kit.database, work)
    return JsonResponse(row, status_code=201 if is_new else 200)


@router.get("/{contact_id}", response_model=ContactDetail, summary="Read a contact")
async def get_contact(contact_id: UUID, kit: Kit, _: Reader) -> JsonResponse:
    async with kit.database.hot.acquire() as db:
        found = await rows.load(db, [contact_id])
        if contact_id not in found:
            into = await merging.taker(db, contact_id)
            raise NotFound(
                "there is no such contact" if into is None else f"it is part of {into} since they were merged"
            )
        return JsonResponse(await shown(db, found[contact_id]))


@router.patch(
    "/{contact_id}",
    response_model=ContactDetail,
    summary="Change a contact",
    description="A new `email` starts clean: a bounce of the old one is gone, an opt-out stays.",
)
async def patch_contact(contact_id: UUID, given: ContactPatch, kit: Kit, key: Writer) -> JsonResponse:
    async def work(db: Connection) -> dict[str, Any]:
        row = await contacts.change(db, kit.plans, contact_id, given.change(), key.name, clock.now(), kit.policy)
        return await shown(db, row)

    return JsonResponse(await committed(kit.database, work))


@router.delete("/{contact_id}", status_code=status.HTTP_204_NO_CONTENT, summary="Erase a contact and all that is of it")
async def delete_contact(contact_id: UUID, kit: Kit, _: Writer) -> Response:
    await committed(kit.database, lambda db: contacts.erase(db, kit.plans, contact_id))
    return Response(status_code=status.HTTP_204_NO_CONTENT)


class LineErrorOut(BaseModel):
    line: int = Field(description="Line of the file, the heading being 1")
    column: str | None
    detail: str


class ImportOut(BaseModel):
    created: int
    updated: int
    failed: int
    errors: list[LineErrorOut] = Field(description="The first 1,000")


_MAPPING = """
JSON object: column → where it goes. Targets are `email`, `user_id`, `anonymous_id`, `name`, `stage`, `tags`,
`opted_out`, `bounced`, `properties.<name>`; the latter may say a type, `properties.visits:number` (`text`, `number`,
`boolean`, `datetime`). null leaves a column out. A column that is not named goes by its heading, else to a property
of that name. Where no type is said, a property is read as its declared type (`/v1/properties`), else by its look; a
type that contradicts the declared one is refused.
"""


@router.post(
    "/import",
    response_model=ImportOut,
    summary="Import contacts from CSV",
    description="UTF-8 CSV with a heading line: as the body (`text/csv`, the mapping in the query), or as a form with "
    "the fields `file` and `mapping`. Streamed: any length. A line that is wrong is listed and left out whole; the "
    "others are imported. Importing the same file again changes nothing.",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "text/csv": {"schema": {"type": "string"}, "example": "email,name,visits\nada@example.com,Ada,7\n"},
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "properties": {
                            "file": {"type": "string", "format": "binary"},
                            "mapping": {"type": "string", "description": _MAPPING},
                        },
                        "required": ["file"],
                    }
                },
            },
        }
    },
)
async def post_import(
    request: Request, kit: Kit, key: Writer, mapping: Annotated[str | None, Query(description=_MAPPING)] = None
) -> JsonResponse:
    with tempfile.SpooledTemporaryFile(max_size=1_000_000) as spool:
        if request.headers.get("content-type", "").startswith("multipart/form-data"):
            async with request.form(max_files=1) as form:
                said, upload = form.get("mapping", mapping), form.get("file")
                if not isinstance(upload, UploadFile):
                    raise InvalidInput(Fault("/file", "expected a CSV file in the field 'file'"))
                return await _import(kit, key.name, upload.file, said)
        async for part in request.stream():
            spool.write(part)
        spool.seek(0)
        return await _import(kit, key.name, spool, mapping)


async def _import(kit: Kit, by: str, file: Any, mapping: Any) -> JsonResponse:  # Any: a binary file; a form's field
    try:
        said = orjson.loads(mapping) if mapping else {}
    except (ValueError, TypeError):
        raise InvalidInput(Fault("/mapping", "expected a JSON object")) from None
    report = await importing.run(kit.database, kit.plans, file, importing.read_mapping(said), by, kit.policy)
    return JsonResponse(
        {
            "created": report.created,
            "updated": report.updated,
            "failed": report.failed,
            "errors": [error._asdict() for error in report.errors],
        }
    )


async def shown(db: Connection, contact: Contact) -> dict[str, Any]:
    """A contact with what it is made of."""
    held = [one for one in await merging.merges(db, contact.id) if one.undone_at is None]
    return {
        **{name: getattr(contact, name) for name in ContactOut.model_fields},
        "merged": [
            {"contact": one.gone, "into": one.survivor, "kind": one.kind, "at": one.at, "by": one.by} for one in held
        ],
    }
