"""One-click unsubscribe (RFC 8058): links for mail, and the page behind them."""

import hashlib
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field, JsonValue, WithJsonSchema, model_validator
from starlette.exceptions import HTTPException
from starlette.responses import Response

from app import clock
from app.api.browser import page
from app.api.guard import Ingester
from app.api.json import JsonResponse
from app.api.services import Kit, Services
from app.api.shapes import Email, Line, Shape
from app.engine import identity, ingest, suppressions
from app.engine.conditions import is_clean
from app.engine.hygiene import RESUBSCRIBED, UNSUBSCRIBED
from app.engine.identity import EMAIL, Ref, normal_email
from app.engine.ingest import NewEvent
from app.engine.links import Link, Links
from app.engine.properties import to_text
from app.engine.suppressions import MAX_ADDRESSES
from app.engine.transactions import committed
from app.store import contacts
from app.store.db import Connection
from app.store.tables import Contact

router = APIRouter(tags=["Suppression"])

SOURCE = "one-click"

_POST_HEADER = "List-Unsubscribe=One-Click"


class LinksIn(Shape):
    """One address, or many of one mailing."""

    address: Email | None = None
    addresses: (
        Annotated[
            list[JsonValue],
            WithJsonSchema({"type": "array", "items": {"type": "string"}, "maxItems": MAX_ADDRESSES}),
            Field(max_length=MAX_ADDRESSES),
        ]
        | None
    ) = None
    campaign: Line | None = Field(default=None, description="Said by the opt-out's event", examples=["spring-2026"])
    list: Line | None = Field(default=None, description="As the campaign", examples=["newsletter"])

    @model_validator(mode="after")
    def _one(self) -> "LinksIn":
        if (self.address is None) == (self.addresses is None):
            raise ValueError("expected 'address' or 'addresses', and one of them")
        return self


class HeadersOut(BaseModel):
    list_unsubscribe: str = Field(
        serialization_alias="List-Unsubscribe", examples=["<https://leads.example.com/u/3kqW…>"]
    )
    list_unsubscribe_post: str = Field(serialization_alias="List-Unsubscribe-Post", examples=[_POST_HEADER])


class LinkOut(BaseModel):
    address: str | None = Field(description="As given; null if it was no text")
    url: str | None = Field(examples=["https://leads.example.com/u/3kqW…"])
    headers: HeadersOut | None = Field(description="To be sent with the mail, and signed by DKIM")
    error: str | None = Field(description="Why there is none, for what is no address")


class LinksOut(BaseModel):
    items: list[LinkOut] = Field(description="In the order of the addresses")


@router.post(
    "/v1/unsubscribe-links",
    response_model=LinkOut | LinksOut,
    summary="Make links to opt out by",
    description=f"For one `address`, or up to {MAX_ADDRESSES:,} `addresses` of one mailing. A link works for ever, "
    "also after its contact was merged or erased; the same address and campaign have the same link. Put both headers "
    "into the mail. Mailbox providers want the address to be https: set `LEADTALLY_PUBLIC_URL`.",
)
async def post_links(given: LinksIn, request: Request, kit: Kit, _: Ingester) -> JsonResponse:
    async with kit.database.hot.acquire() as db:
        links = await Links.of(db, kit.vault)
    base = (kit.settings.public_url or str(request.base_url)).rstrip("/")

    def made(address: JsonValue) -> dict[str, Any]:  # Any: JSON
        text = address if isinstance(address, str) and is_clean(address) else None
        try:
            normal = normal_email(text or "")
        except ValueError as fault:
            return {"address": text, "url": None, "headers": None, "error": str(fault)}
        url = f"{base}/u/{links.token(Link(normal, given.campaign, given.list))}"
        headers = {"List-Unsubscribe": f"<{url}>", "List-Unsubscribe-Post": _POST_HEADER}
        return {"address": text, "url": url, "headers": headers, "error": None}

    if given.addresses is None:
        return JsonResponse(made(given.address))
    return JsonResponse({"items": [made(address) for address in given.addresses]})


# --- behind a link ----------------------------------------------------------------------------------------------------
# Without a key and without cookies: all that is needed is in the link. Not in the API's documentation, for it is people
# and mailbox providers who come here.


@router.get("/u/{token}", include_in_schema=False)
@router.head("/u/{token}", include_in_schema=False)
async def show(token: str, kit: Kit) -> Response:
    """The page. Changes nothing: scanners follow every link of a mail."""
    link = await _read(kit, token)
    if link is None:
        return page(*_UNKNOWN, status=404)
    async with kit.database.hot.acquire() as db:
        is_out, _ = await _state(db, kit, link.address)
    return page(*(_out(link) if is_out else _asked(link)))


@router.post("/u/{token}", include_in_schema=False)
async def act(token: str, request: Request, kit: Kit) -> Response:
    """Opt the person out, or in again where the page's own button says so. Answers at once, and never elsewhere."""
    link = await _read(kit, token)
    if link is None:
        return page(*_UNKNOWN, status=404)
    wants_in = await _wants_in(request)
    await _opt(kit, token, link, is_in=wants_in)
    return page(*(_in(link) if wants_in else _out(link)))


async def _read(kit: Services, token: str) -> Link | None:
    async with kit.database.hot.acquire() as db:
        return (await Links.of(db, kit.vault)).read(token)


async def _state(db: Connection, kit: Services, address: str) -> tuple[bool, Contact | None]:
    """Whether an address is opted out, and whose it is."""
    found = await identity.find(db, (EMAIL, address))
    contact = None if found is None else (await contacts.load(db, [found])).get(found)
    is_out = contact is not None and contact.opted_out
    return is_out or await suppressions.has_opted_out(db, kit.vault, address), contact


async def _opt(kit: Services, token: str, link: Link, *, is_in: bool) -> None:
    """As an event, so that it is scored; of an address that is nobody's on the list alone. Once done, nothing more."""
    now = clock.now()

    async def work(db: Connection) -> Contact | None:
        is_out, contact = await _state(db, kit, link.address)
        if is_out is not is_in:
            return None
        if contact is None and is_in:
            await suppressions.opt_in(db, kit.vault, {link.address: now})
        elif contact is None:
            await suppressions.opt_out(db, kit.vault, link.address, now, SOURCE)
        return contact

    contact = await committed(kit.database, work)
    if contact is not None:
        type_, ref = RESUBSCRIBED if is_in else UNSUBSCRIBED, Ref(email=link.address)
        # A button that is pressed twice at once is one opt-out.
        client_id = f"{hashlib.sha256(token.encode()).hexdigest()[:32]} {contact.opted_out_at or 'first'}"
        id_: UUID = ingest.event_id(SOURCE, f"{type_} {client_id}", now, ref, type_, None)
        await kit.batcher.submit([NewEvent(id_, ref, type_, SOURCE, client_id, now, to_text(link.said()))])


async def _wants_in(request: Request) -> bool:
    """What mailbox providers send, and whatever else is not the page's other button, opts out."""
    try:
        async with request.form(max_files=0, max_fields=20) as form:
            return form.get("action") == "resubscribe" and "List-Unsubscribe" not in form
    except HTTPException:  # a form that cannot be read
        return False


_LEAVE = '<button name="action" value="unsubscribe">Unsubscribe</button>'
_RETURN = '<button class="quiet" name="action" value="resubscribe">Subscribe again</button>'
_UNKNOWN = (
    "This link does not work",
    "It is not complete, or was changed on the way. Please open it again from the e-mail.",
    "",
)


def _asked(link: Link) -> tuple[str, str, str]:
    return "Unsubscribe?", f"{_masked(link.address)} will get no more e-mail from us.", _LEAVE


def _out(link: Link) -> tuple[str, str, str]:
    return "You are unsubscribed", f"{_masked(link.address)} gets no more e-mail from us.", _RETURN


def _in(link: Link) -> tuple[str, str, str]:
    return "You are subscribed again", f"{_masked(link.address)} may get e-mail from us.", _LEAVE


def _masked(address: str) -> str:
    """Enough for its owner to know it again, and not for whoever else the mail was passed on to."""
    local, _, domain = address.rpartition("@")
    return f"{local[0]}…@{domain}"
