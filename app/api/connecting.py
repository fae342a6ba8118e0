"""Whether a connection works: tested, signed in with a browser, paused, and let go on."""

from functools import partial
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from app import clock
from app.api.connections import AccountOut, Address, Admin, ConnectionOut, account_shown, shown
from app.api.guard import Writer
from app.api.json import JsonResponse
from app.api.raw import base_url
from app.api.services import Kit, Services
from app.api.shapes import Shape
from app.connectors.shapes import Level
from app.sync import checking, connections, signing_in
from app.sync.checking import Hook

router = APIRouter(prefix="/v1/connections/{connection_id}", tags=["Connections"])

CALLBACK = "/v1/oauth/callback"


class AuthorizeIn(Shape):
    redirect_uri: Address | None = Field(
        default=None,
        description=f"Where the CRM sends the browser back to, as the app there knows it; null: `{CALLBACK}` here",
        examples=[f"https://leads.example.com{CALLBACK}"],
    )


class FindingOut(BaseModel):
    level: Level = Field(description="`error`: it cannot work; `warning`: a part of it does not; `note`")
    code: str = Field(description="Stable, for programs", examples=["field_missing"])
    what: str = Field(examples=["Contact, stage: Contact has no field 'Stage__c', or it is hidden from our user"])
    mend: str = Field(description="What to do about it; empty for a note", examples=["let our user see it"])


class TestedOut(BaseModel):
    ok: bool = Field(description="Whether it can work: there is no `error`")
    findings: list[FindingOut]
    account: AccountOut | None = Field(description="Null if nobody could sign in")


class SignInOut(BaseModel):
    url: str = Field(
        description="For somebody's browser: to be opened once, within ten minutes",
        examples=["https://login.salesforce.com/services/oauth2/authorize?response_type=code&…"],
    )


@router.post(
    "/pause",
    response_model=ConnectionOut,
    summary="Let nothing go on",
    description="What changes meanwhile, on both sides, is told when it goes on.",
)
async def pause_connection(connection_id: UUID, request: Request, kit: Kit, key: Writer) -> JsonResponse:
    async with kit.database.batch() as db:
        changed = await connections.pause(db, connection_id, clock.now())
    return JsonResponse(shown(changed, request, kit, key))


@router.post(
    "/resume",
    response_model=ConnectionOut,
    summary="Let it go on, and forget its problem",
    description="One that is new, or has nothing mapped, is tested first: it goes on if that goes well.",
)
async def resume_connection(connection_id: UUID, request: Request, kit: Kit, key: Writer) -> JsonResponse:
    resumed = await checking.resume(
        kit.database,
        partial(kit.opened, connection_id),
        connection_id,
        private=kit.settings.private_crms,
        hook=await _hook(connection_id, kit),
    )
    return JsonResponse(shown(resumed, request, kit, key))


@router.post(
    "/test",
    response_model=TestedOut,
    summary="See whether a connection can work",
    description="Signs in, and looks at what we may do there and at all that is mapped. If it goes well the "
    "connection's problem is over, and what the CRM suggests is mapped if nothing is.",
)
async def try_connection(connection_id: UUID, kit: Kit, _: Writer) -> JsonResponse:
    tested = await checking.test(
        kit.database,
        partial(kit.opened, connection_id),
        connection_id,
        private=kit.settings.private_crms,
        hook=await _hook(connection_id, kit),
    )
    account = tested.account
    return JsonResponse(
        {
            "ok": tested.is_ok,
            "findings": [one._asdict() for one in tested.findings],
            "account": None if account is None else account_shown(account._asdict()),
        }
    )


@router.post(
    "/authorize",
    response_model=SignInOut,
    summary="Sign in with a browser",
    description=f"For flows that are interactive. Whoever opens the address signs in at the CRM, which sends the "
    f"browser back to `{CALLBACK}`: register that address with the app there.",
)
async def authorize_connection(
    connection_id: UUID, request: Request, kit: Kit, _: Admin, given: AuthorizeIn | None = None
) -> JsonResponse:
    redirect_uri = (given.redirect_uri if given else None) or base_url(request, kit) + CALLBACK
    url = await signing_in.begin(kit.database, kit.vault, connection_id, redirect_uri, kit.providers)
    return JsonResponse({"url": url})


async def _hook(connection_id: UUID, kit: Services) -> Hook | None:
    """For the CRM, which knows us by our public address alone. Raises NotFound."""
    async with kit.database.hot.acquire() as db:
        held = await connections.get(db, connection_id)
    return checking.hook_of(held, kit.vault, kit.settings.public_url)
