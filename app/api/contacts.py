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
from app.engine import contacts, importing, merging
from app.engine.contacts import Change, Refused
from app.engine.transactions import committed
from app.errors import Conflict, Fault, InvalidInput, NotFound
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


@router.post(
    "",
    summary="Create a contact, or change the one that these identities point at",
    responses={200: {"model": ContactOut}, 201: {"model": ContactOut}},
)
async def post_contact(given: ContactUpsert, kit: Kit, key: Writer) -> JsonResponse:
    async def work(db: Connection) -> tuple[Contact, bool]:
        [result] = await contacts.upsert(
            db, kit.plans, [(given.ref(), given.change())], key.name, clock.now(), kit.policy
        )
        if isinstance(result, Refused):
            raise result.fault()
        if result.is_conflict:
            raise Conflict("another contact has this address", "/email")
        return (await rows.load(db, [result.contact]))[result.contact], result.is_new

    row, is_new = await committed(kit.database, work)
    return JsonResponse(_shown(row), status_code=201 if is_new else 200)


@router.get("/{contact_id}", response_model=ContactOut, summary="Read a contact")
async def get_contact(contact_id: UUID, kit: Kit, _: Reader) -> JsonResponse:
    async with kit.database.hot.acquire() as db:
        found = await rows.load(db, [contact_id])
    if contact_id not in found:
        raise NotFound("there is no such contact")
    return JsonResponse(_shown(found[contact_id]))


@router.patch(
    "/{contact_id}",
    response_model=ContactOut,
    summary="Change a contact",
    description="A new `email` starts clean: a bounce of the old one is gone, an opt-out stays.",
)
async def patch_contact(contact_id: UUID, given: ContactPatch, kit: Kit, key: Writer) -> JsonResponse:
    row = await committed(
        kit.database,
        lambda db: contacts.change(db, kit.plans, contact_id, given.change(), key.name, clock.now(), kit.policy),
    )
    return JsonResponse(_shown(row))


@router.delete("/{contact_id}", status_code=status.HTTP_204_NO_CONTENT, summary="Erase a contact and all that is of it")
async def delete_contact(contact_id: UUID, kit: Kit, _: Writer) -> Response:
    await committed(kit.database, lambda db: contacts.erase(db, kit.plans, contact_id))
    return Response(status_code=status.HTTP_204_NO_CONTENT)


class MergeIn(Shape):
    other: UUID = Field(description="The contact that becomes part of this one, and is gone")


@router.post(
    "/{contact_id}/merge",
    response_model=ContactOut,
    summary="Make another contact part of this one",
    description="Events, identities and adjustments move here, and everything is counted and scored anew, so that "
    "nothing counts twice. This one's words and address stay, its gaps are filled; an opt-out of either stays.",
)
async def merge_contact(contact_id: UUID, given: MergeIn, kit: Kit, _: Writer) -> JsonResponse:
    row = await committed(
        kit.database,
        lambda db: merging.merge(db, kit.plans, contact_id, given.other, clock.now(), kit.policy),
    )
    return JsonResponse(_shown(row))


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


def _shown(contact: Contact) -> dict[str, Any]:
    return {name: getattr(contact, name) for name in ContactOut.model_fields}
