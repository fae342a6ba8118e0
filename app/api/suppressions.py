"""Suppression: the list of who must not be mailed, and the question that is asked before every send."""

import tempfile
from collections.abc import AsyncIterator
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, BinaryIO
from uuid import UUID

from fastapi import APIRouter, Query, Request, status
from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    JsonValue,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from starlette.datastructures import UploadFile
from starlette.responses import Response, StreamingResponse

from app import clock
from app.api.contacts import LineErrorOut
from app.api.guard import Reader, Writer
from app.api.json import JsonResponse, to_json
from app.api.problems import faults_of
from app.api.services import Kit
from app.api.shapes import Cursor, Email, Limit, Line, Page, Prose, Shape
from app.engine import suppression_files, suppressions
from app.engine.conditions import is_clean
from app.engine.suppressions import MAX_ADDRESSES, Kind, Reason
from app.engine.transactions import committed
from app.errors import Fault, InvalidInput
from app.quality import Quality
from app.store import pages
from app.store import suppressions as rows
from app.store.db import Database
from app.store.suppressions import Entry, Listed, Place, Wanted

router = APIRouter(prefix="/v1/suppressions", tags=["Suppression"])

Domain = Annotated[
    str,
    AfterValidator(suppressions.normal_domain),
    WithJsonSchema({"type": "string", "format": "hostname", "examples": ["example.com"]}),
]
Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Format(StrEnum):
    JSON = "json"
    CSV = "csv"
    NDJSON = "ndjson"


class EntryIn(Shape):
    """One address, or one domain with all below it."""

    address: Email | None = None
    domain: Domain | None = None
    reason: Reason | None = Field(default=None, description="Left out: manual for an address, domain for a domain")
    note: Prose | None = Field(default=None, examples=["Asked by phone"])

    @model_validator(mode="after")
    def _one(self) -> "EntryIn":
        if (self.address is None) == (self.domain is None):
            raise ValueError("expected an address or a domain, and one of them")
        return self

    def entry(self, by: str, now: datetime) -> Entry:
        if self.domain is not None:
            return Entry(Kind.DOMAIN, self.domain, self.reason or Reason.DOMAIN, now, by, self.note)
        assert self.address is not None
        return Entry(Kind.ADDRESS, self.address, self.reason or Reason.MANUAL, now, by, self.note)


class EntriesIn(Shape):
    entries: Annotated[
        list[JsonValue],
        WithJsonSchema({"type": "array", "items": {"$ref": "#/components/schemas/EntryIn"}, "maxItems": MAX_ADDRESSES}),
        Field(max_length=MAX_ADDRESSES),
    ]


class RejectedEntry(BaseModel):
    index: int = Field(description="Place in the list, from 0")
    pointer: str = Field(description="JSON pointer into that entry", examples=["/address"])
    detail: str


class AddedOut(BaseModel):
    added: int
    known: int = Field(description="There already, for that reason")
    rejected: list[RejectedEntry]


class SuppressionOut(BaseModel):
    kind: Kind
    value: str = Field(examples=["ada@example.com"])
    reason: Reason
    since: datetime | None
    by: str | None = Field(description="The source of the event, or the API key, that said so")
    note: str | None
    contact_id: UUID | None = Field(description="The contact whose flag it is; null for an entry of the list")


class CheckIn(Shape):
    addresses: Annotated[
        list[JsonValue],
        WithJsonSchema({"type": "array", "items": {"type": "string"}, "maxItems": MAX_ADDRESSES}),
        Field(max_length=MAX_ADDRESSES, examples=[["ada@example.com", "info@example.com"]]),
    ]


class WhyOut(BaseModel):
    reason: str = Field(description=f"{', '.join(Reason)}, or `invalid`: it is no address", examples=["opt_out"])
    since: datetime | None
    by: str | None


class CheckedOut(BaseModel):
    address: str | None = Field(description="As given; null if it was no text")
    mailable: bool
    reasons: list[WhyOut] = Field(description="Why not: all that holds")
    quality: list[Quality] = Field(description="What the address shows by itself; no reason not to mail it")


class CheckOut(BaseModel):
    results: list[CheckedOut] = Field(description="In the order of the addresses")


class SuppressionImportOut(BaseModel):
    added: int
    known: int
    failed: int
    errors: list[LineErrorOut] = Field(description="The first 1,000")


@router.post(
    "/check",
    response_model=CheckOut,
    summary="Ask who may be mailed",
    description=f"Up to {MAX_ADDRESSES:,} addresses, to be asked at every send. An address may be mailed unless its "
    "contact has opted out, it has bounced (also before the contact left it), or the list names it, its domain or a "
    "domain above. What is no address may not, and never spoils the others.",
)
async def check(given: CheckIn, kit: Kit, _: Reader) -> JsonResponse:
    async with kit.database.hot.acquire() as db:
        answers = await suppressions.check(db, kit.vault, given.addresses)
    return JsonResponse(
        {
            "results": [
                {
                    "address": address if isinstance(address, str) and is_clean(address) else None,
                    "mailable": not answer.reasons,
                    "reasons": [why._asdict() for why in answer.reasons],
                    "quality": answer.quality,
                }
                for address, answer in zip(given.addresses, answers, strict=True)
            ]
        }
    )


_CSV = (
    "kind,value,reason,since,by,note,contact_id\r\naddress,ada@example.com,opt_out,2026-11-20T09:30:00Z,shop,,0190…\r\n"
)
_NDJSON = {"kind": "domain", "value": "example.com", "reason": "domain", "since": "2026-11-20T09:30:00Z", "by": "ops"}


@router.get(
    "",
    response_model=Page[SuppressionOut],
    responses={
        200: {
            "content": {
                "text/csv": {"schema": {"type": "string"}, "example": _CSV},
                "application/x-ndjson": {"schema": {"type": "string"}, "example": to_json(_NDJSON).decode() + "\n"},
            }
        }
    },
    summary="List who must not be mailed, and why",
    description="First the entries of the list by kind, value and reason, then the contacts with a flag by their ids: "
    "a line for each reason, an opt-out for every address of its person. Addresses of erased contacts are shown by "
    "their hashes. A page of JSON; or all of it as CSV or NDJSON, streamed, by `format` or by the header `Accept`.",
)
async def list_suppressions(
    request: Request,
    kit: Kit,
    _: Reader,
    reason: Reason | None = None,
    kind: Kind | None = None,
    q: Annotated[Line | None, Query(description="Part of the address, domain or hash")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
    format: Annotated[Format | None, Query(description="Left out: as `Accept` says, else json")] = None,  # noqa: A002 - its name in the API
) -> Response:
    wanted = Wanted(kind, reason, None if q is None else q.lower())
    after = _place(cursor) if cursor else None
    asked = format or _accepted(request.headers.get("accept", ""))
    if asked is not Format.JSON:
        return await _streamed(kit.database, wanted, after, asked)
    async with kit.database.hot.acquire() as db:
        found = await rows.page(db, wanted, limit=limit + 1, after=after)
    more = pages.encode(*rows.place(found[limit - 1])) if len(found) > limit else None
    return JsonResponse({"items": [one._asdict() for one in found[:limit]], "next_cursor": more})


def _accepted(header: str) -> Format:
    for part in header.split(","):
        match part.partition(";")[0].strip().lower():
            case "text/csv":
                return Format.CSV
            case "application/x-ndjson" | "application/ndjson":
                return Format.NDJSON
    return Format.JSON


async def _streamed(database: Database, wanted: Wanted, after: Place | None, format_: Format) -> StreamingResponse:
    chunks = suppression_files.lines(database, wanted, after)
    # Read before the answer begins, so that what goes wrong at once is still told as a problem.
    first: list[Listed] = await anext(chunks, [])
    written = suppression_files.as_csv if format_ is Format.CSV else suppression_files.as_ndjson

    async def body() -> AsyncIterator[bytes]:
        yield written(first, is_first=True)
        async for chunk in chunks:
            yield written(chunk, is_first=False)

    media = "text/csv; charset=utf-8" if format_ is Format.CSV else "application/x-ndjson"
    disposition = {"Content-Disposition": f'attachment; filename="suppressions.{format_}"'}
    return StreamingResponse(body(), media_type=media, headers=disposition)


@router.post(
    "",
    response_model=AddedOut,
    summary="Add addresses or domains",
    description=f'One entry, or `{{"entries": [...]}}` with up to {MAX_ADDRESSES:,}. What is there already stays as '
    "it is. A domain stands for all below it, too. A wrong entry of a list is rejected alone.",
)
async def post_suppressions(given: EntryIn | EntriesIn, kit: Kit, key: Writer) -> JsonResponse:
    now = clock.now()
    entries, rejected = [], []
    for index, said in enumerate(given.entries if isinstance(given, EntriesIn) else [given]):
        try:
            entries.append(_ENTRY.validate_python(said).entry(key.name, now))
        except ValidationError as fault:
            first = faults_of(fault.errors(include_url=False, include_context=False))[0]
            rejected.append({"index": index, "pointer": first.pointer, "detail": first.detail})
    added = await committed(kit.database, lambda db: rows.add(db, entries))
    return JsonResponse({"added": added, "known": len(entries) - added, "rejected": rejected})


_ENTRY = TypeAdapter(EntryIn)


@router.delete(
    "",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Remove an entry",
    description="By its address (also where only the hash is kept), domain or hash; for one reason, or for all. "
    "Refused (409) for what ends otherwise: a contact's flag, or a complaint.",
)
async def delete_suppression(
    kit: Kit,
    _: Writer,
    address: Annotated[Email | None, Query()] = None,
    domain: Annotated[Domain | None, Query()] = None,
    hash: Annotated[Hash | None, Query()] = None,  # noqa: A002 - its name in the API
    reason: Reason | None = None,
) -> Response:
    said = {Kind.ADDRESS: address, Kind.DOMAIN: domain, Kind.HASH: hash}
    given = [(kind, value) for kind, value in said.items() if value is not None]
    if len(given) != 1:
        raise InvalidInput(Fault("", "expected 'address', 'domain' or 'hash', and one of them"))
    [(kind, value)] = given
    await committed(kit.database, lambda db: suppressions.remove(db, kit.vault, kind, value, reason))
    return Response(status_code=status.HTTP_204_NO_CONTENT)


@router.post(
    "/import",
    response_model=SuppressionImportOut,
    summary="Import addresses and domains from CSV",
    description="UTF-8 CSV with a heading line, as the body (`text/csv`) or as a form with the field `file`: a column "
    "`address` or `email`, or `domain`, or `kind` and `value` as the export writes them; and `reason` (`import` where "
    "there is none), `at` or `since`, `note`. Other columns are left out. A line that is wrong is listed and left out, "
    "the others are imported. Importing the same file again changes nothing.",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "text/csv": {"schema": {"type": "string"}, "example": "email,reason\nada@example.com,opt_out\n"},
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "properties": {"file": {"type": "string", "format": "binary"}},
                        "required": ["file"],
                    }
                },
            },
        }
    },
)
async def post_import(request: Request, kit: Kit, key: Writer) -> JsonResponse:
    with tempfile.SpooledTemporaryFile(max_size=1_000_000) as spool:
        if request.headers.get("content-type", "").startswith("multipart/form-data"):
            async with request.form(max_files=1) as form:
                upload = form.get("file")
                if not isinstance(upload, UploadFile):
                    raise InvalidInput(Fault("/file", "expected a CSV file in the field 'file'"))
                return await _import(kit.database, upload.file, key.name)
        async for part in request.stream():
            spool.write(part)
        spool.seek(0)
        return await _import(kit.database, spool, key.name)  # type: ignore[arg-type]  # a binary file in all but name


async def _import(database: Database, file: BinaryIO, by: str) -> JsonResponse:
    report = await suppression_files.run(database, file, by)
    return JsonResponse(
        {
            "added": report.added,
            "known": report.known,
            "failed": report.failed,
            "errors": [error._asdict() for error in report.errors],
        }
    )


def _place(cursor: str) -> Place:
    parts: list[Any] = pages.decode(cursor, 4)
    if not all(isinstance(part, str) and is_clean(part) for part in parts) or parts[0] not in ("entry", "contact"):
        raise InvalidInput(pages.bad_cursor())
    if parts[0] == "contact":
        try:
            UUID(parts[1])
        except ValueError:
            raise InvalidInput(pages.bad_cursor()) from None
    return parts[0], parts[1], parts[2], parts[3]
