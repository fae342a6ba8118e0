"""Sources: who may send us events by calling, how they are doing, and what they sent."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, status
from pydantic import BaseModel, Field, StringConstraints
from starlette.responses import Response

from app import clock
from app.api.guard import Reader, Writer, needs
from app.api.json import JsonResponse
from app.api.raw import base_url
from app.api.services import Kit, Services
from app.api.shapes import Cursor, Instant, Limit, Line, Page, Shape
from app.engine.conditions import is_clean
from app.errors import InvalidInput
from app.sources import inbox, registry, replays
from app.sources.inbox import Choice, Unread
from app.sources.kinds import Entry, kind, kinds
from app.sources.registry import Source
from app.store import pages
from app.store.db import Connection
from app.store.keys import Key, Scope

router = APIRouter(prefix="/v1", tags=["Sources"])

Secret = Annotated[str, StringConstraints(min_length=1, max_length=10_000, pattern=r"^[^\x00]*$")]
Admin = Annotated[Key, Depends(needs(Scope.ADMIN))]
_SECRET = "What `/v1/source-kinds` says this kind needs; sealed, and never shown again"  # noqa: S105 - about it
_REVEALING = "Needs a key that may write, for the address of a webhook is all that some providers are known by."


class KindOut(BaseModel):
    kind: str = Field(examples=["sendgrid"])
    title: str = Field(examples=["SendGrid"])
    entry: Entry = Field(description="How it gets in: by a `url` of its own, or with a `write_key`")
    secret: str | None = Field(description="What to give as the secret; null: there is none")
    needs_secret: bool = Field(description="Whether it is refused without, unless `verify` is false")


class SourceIn(Shape):
    kind: Line = Field(description="One of `/v1/source-kinds`", examples=["sendgrid"])
    name: Line = Field(description="For ever: events carry it as their source", examples=["SendGrid, marketing"])
    verify: bool = Field(default=True, description="Whether to turn away what its signature does not vouch for")
    secret: Secret | None = Field(default=None, description=_SECRET)


class SourcePatch(Shape):
    enabled: bool | None = Field(default=None, description="False: calls are turned away")
    verify: bool | None = None


class RotationIn(Shape):
    secret: Secret | None = Field(default=None, description=_SECRET + ". Leave it out where there is a write key")
    keep_old: bool = Field(default=True, description="Whether the present one holds too, until the next rotation")


class ReplayIn(Shape):
    since: Instant | None = Field(default=None, description="Only what came since then")
    only_faulty: bool = Field(default=False, description="Only what something of was rejected")


class SourceOut(BaseModel):
    id: UUID
    kind: str
    name: str
    verify: bool
    enabled: bool
    url: str | None = Field(description="What to paste into the provider's settings; null where there is a write key")
    key_hint: str | None = Field(description="How the write key begins")
    secrets: int = Field(description="How many hold: two after a rotation")
    received: int = Field(description="Calls whose body was kept")
    unread: int = Field(description="Of these, calls that wait to be read")
    accepted: int = Field(description="Events that were stored")
    duplicates: int = Field(description="Events that were known already")
    rejected: int = Field(description="Events, or whole calls, that could not be read; the deliveries say why")
    refused: int = Field(description="Calls turned away, of which nothing was kept: forged, or while switched off")
    refused_at: datetime | None
    refused_because: str | None = Field(description="Of the last one")
    last_seen_at: datetime | None = Field(description="When the last call came that was kept")
    created_at: datetime


class SourceMade(SourceOut):
    write_key: str | None = Field(description="For the SDK's settings, shown this once; null for webhooks")


class FaultOut(BaseModel):
    pointer: str = Field(description="JSON pointer into the body", examples=["/3"])
    detail: str


class DeliveryOut(BaseModel):
    id: UUID
    received_at: datetime
    read_at: datetime | None = Field(description="Null: it waits to be read")
    method: str
    bytes: int = Field(description="Of the body, un-gzipped")
    accepted: int
    duplicates: int
    rejected: int
    faults: list[FaultOut] = Field(description="What was rejected, the first 50")


class DeliveryWhole(DeliveryOut):
    url: str
    headers: dict[str, str] = Field(description="Those that say what is in the body")
    body: str = Field(description="As it came; what is not UTF-8 in it is replaced")


class ReplayAsked(BaseModel):
    job_id: UUID = Field(description="Follow `GET /v1/jobs/{job_id}`; its result says `calls`, `accepted`, `rejected`")


@router.get("/source-kinds", response_model=list[KindOut], summary="List what a source can be")
async def list_kinds(_: Reader) -> JsonResponse:
    return JsonResponse(
        [
            {
                "kind": one.key,
                "title": one.title,
                "entry": one.entry,
                "secret": one.secret,
                "needs_secret": one.needs_secret,
            }
            for one in kinds().values()
        ]
    )


@router.post(
    "/sources",
    status_code=status.HTTP_201_CREATED,
    response_model=SourceMade,
    summary="Make a source",
    description="An e-mail provider's webhook gets a `url` to paste into the provider's settings, an SDK a "
    "`write_key`, which is shown this once.",
)
async def post_source(given: SourceIn, request: Request, kit: Kit, _: Writer) -> JsonResponse:
    async with kit.database.batch() as db:
        made, key = await registry.create(
            db, kit.vault, given.kind, given.name, verify=given.verify, secret=given.secret, now=clock.now()
        )
        [shown] = await _shown(db, [made], request, kit)
    at = {"Location": f"/v1/sources/{made.id}"}
    return JsonResponse({**shown, "write_key": key}, status_code=201, headers=at)


@router.get("/sources", response_model=Page[SourceOut], summary="List sources by their names", description=_REVEALING)
async def list_sources(
    request: Request, kit: Kit, _: Writer, limit: Limit = 100, cursor: Cursor = None
) -> JsonResponse:
    after = _name_after(cursor) if cursor else None
    async with kit.database.hot.acquire() as db:
        found = await registry.page(db, limit=limit + 1, after=after)
        shown = await _shown(db, found[:limit], request, kit)
    more = pages.encode(found[limit - 1].name) if len(found) > limit else None
    return JsonResponse({"items": shown, "next_cursor": more})


@router.get("/sources/{source_id}", response_model=SourceOut, summary="Read a source", description=_REVEALING)
async def get_source(source_id: UUID, request: Request, kit: Kit, _: Writer) -> JsonResponse:
    async with kit.database.batch() as db:
        [shown] = await _shown(db, [await registry.get(db, source_id)], request, kit)
    return JsonResponse(shown)


@router.patch(
    "/sources/{source_id}",
    response_model=SourceOut,
    summary="Switch a source, or its verifying, on or off",
    description="Within a second everywhere. While it is off its calls are answered 404: some providers come again "
    "later, others drop them (Brevo, Amazon SNS, ActiveCampaign). What was kept before is still read.",
)
async def patch_source(source_id: UUID, given: SourcePatch, request: Request, kit: Kit, _: Writer) -> JsonResponse:
    async with kit.database.batch() as db:
        changed = await registry.switch(db, source_id, enabled=given.enabled, verify=given.verify)
        [shown] = await _shown(db, [changed], request, kit)
    return JsonResponse(shown)


@router.delete(
    "/sources/{source_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Delete a source",
    description="Its events stay. What it sent and is still kept raw is removed within a minute or so, read or not.",
)
async def delete_source(source_id: UUID, kit: Kit, _: Writer) -> Response:
    async with kit.database.batch() as db:
        await registry.delete(db, source_id)
    return Response(status_code=status.HTTP_204_NO_CONTENT)


@router.post(
    "/sources/{source_id}/rotate",
    response_model=SourceMade,
    summary="Give a source another secret or write key",
    description="What it had until now holds beside the new one until the next rotation, unless `keep_old` is false.",
)
async def rotate_source(source_id: UUID, given: RotationIn, request: Request, kit: Kit, _: Writer) -> JsonResponse:
    async with kit.database.batch() as db:
        changed, key = await registry.rotate(db, kit.vault, source_id, given.secret, keep_old=given.keep_old)
        [shown] = await _shown(db, [changed], request, kit)
    return JsonResponse({**shown, "write_key": key})


@router.post(
    "/sources/{source_id}/replay",
    status_code=status.HTTP_202_ACCEPTED,
    response_model=ReplayAsked,
    summary="Read again what is kept",
    description="As after an update that reads more. Events that are known stay as they are; what could not be read "
    "before is added. Calls are kept for LEADTALLY_RAW_DAYS.",
)
async def replay_source(source_id: UUID, given: ReplayIn, kit: Kit, _: Writer) -> JsonResponse:
    async with kit.database.batch() as db:
        await registry.get(db, source_id)
        job = await replays.ask(db, Choice(source_id, given.since, given.only_faulty), kit.policy, clock.now())
    return JsonResponse({"job_id": job}, status_code=202, headers={"Location": f"/v1/jobs/{job}"})


@router.get(
    "/sources/{source_id}/deliveries",
    response_model=Page[DeliveryOut],
    summary="List what a source sent, the newest first",
)
async def list_deliveries(
    source_id: UUID,
    kit: Kit,
    _: Writer,
    only_faulty: Annotated[bool, Query(description="Only what something of was rejected")] = False,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> JsonResponse:
    before = _id_before(cursor) if cursor else None
    async with kit.database.batch() as db:
        await registry.get(db, source_id)
        found = await inbox.page(db, source_id, limit=limit + 1, before=before, only_faulty=only_faulty)
    more = pages.encode(str(found[limit - 1]["id"])) if len(found) > limit else None
    return JsonResponse({"items": found[:limit], "next_cursor": more})


@router.get(
    "/sources/{source_id}/deliveries/{delivery_id}",
    response_model=DeliveryWhole,
    summary="Read a delivery with its body",
    description="Needs an admin key: a body may hold what only the provider and this service should know.",
)
async def get_delivery(source_id: UUID, delivery_id: UUID, kit: Kit, _: Admin) -> JsonResponse:
    async with kit.database.hot.acquire() as db:
        found = await inbox.get(db, source_id, delivery_id)
    return JsonResponse({**found, "body": found["body"].decode(errors="replace")})


async def _shown(db: Connection, sources: Sequence[Source], request: Request, kit: Services) -> list[dict[str, Any]]:
    waiting = await inbox.unread(db, [one.id for one in sources])
    base = base_url(request, kit)
    return [_one_shown(one, waiting[one.id], base) for one in sources]


def _one_shown(one: Source, waiting: Unread, base: str) -> dict[str, Any]:
    seen = [at for at in (one.last_seen_at, waiting.last_at) if at is not None]
    return {
        **{name: getattr(one, name) for name in SourceOut.model_fields if hasattr(one, name)},
        "url": f"{base}/v1/webhooks/{one.id}" if kind(one.kind).entry is Entry.URL else None,
        "secrets": len(one.secrets),
        "received": one.received + waiting.calls,
        "unread": waiting.calls,
        "last_seen_at": max(seen, default=None),
    }


def _name_after(cursor: str) -> str:
    [name] = pages.decode(cursor, 1)
    if not isinstance(name, str) or not is_clean(name):
        raise InvalidInput(pages.bad_cursor())
    return name


def _id_before(cursor: str) -> UUID:
    try:
        return UUID(str(pages.decode(cursor, 1)[0]))
    except ValueError:
        raise InvalidInput(pages.bad_cursor()) from None
