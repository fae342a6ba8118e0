"""Connections: accounts of CRMs that are kept in step with us."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request, status
from pydantic import BaseModel, Field, StringConstraints
from starlette.responses import Response

from app import clock
from app.api.guard import Reader, needs
from app.api.json import JsonResponse
from app.api.models import Key as ModelKey
from app.api.raw import base_url
from app.api.services import Kit, Services
from app.api.shapes import Cursor, Limit, Line, Page, Properties, Shape
from app.engine.conditions import is_clean
from app.errors import InvalidInput
from app.store import pages
from app.store.keys import Key, Scope
from app.sync import checking, connections, removing
from app.sync.connections import CrmConnection, Status
from app.sync.given import Edit, New
from app.sync.options import Options

router = APIRouter(prefix="/v1/connections", tags=["Connections"])

Admin = Annotated[Key, Depends(needs(Scope.ADMIN))]
Credential = Annotated[str, StringConstraints(min_length=1, max_length=20_000, pattern=r"^[^\x00]*$")]
Address = Annotated[str, StringConstraints(max_length=500, pattern=r"^https?://[^\s\x00]+$")]
_DEFAULTS = Options()
_CREDENTIALS = "What `/v1/connections/kinds` says this flow needs; sealed, and never shown again"
_ORG = "https://acme.my.salesforce.com"


class FlowOut(BaseModel):
    name: str = Field(examples=["client_credentials"])
    needs: list[str] = Field(description="Credentials that must be given", examples=[["client_id", "client_secret"]])
    may: list[str] = Field(description="Credentials that can be given")
    is_interactive: bool = Field(description="Whether somebody must sign in with a browser: see `…/authorize`")


class KindOut(BaseModel):
    kind: str = Field(examples=["salesforce"])
    title: str = Field(examples=["Salesforce"])
    flows: list[FlowOut] = Field(description="The ways to sign in, the best first")
    unit: str = Field(description="What its budget counts", examples=["requests"])
    budget: int = Field(description="What a connection may spend a day if nobody says otherwise", examples=[20_000])


class OptionsIn(Shape):
    """What is left out stays, or is what most want."""

    imports: bool = Field(
        default=_DEFAULTS.imports, description="Whether people whom only the CRM knows become contacts"
    )
    creates: bool = Field(
        default=_DEFAULTS.creates, description="Whether contacts whom the CRM does not know are created there"
    )
    create_object: Line | None = Field(
        default=None, description="As which object; null: as the CRM's first", examples=["Lead"]
    )
    activities: bool = Field(
        default=_DEFAULTS.activities, description="Whether calls, meetings and the like become events `crm.activity`"
    )
    scores: Annotated[list[ModelKey], Field(max_length=100)] | None = Field(
        default=None, description="The models whose scores are told; null: all that count", examples=[["engagement"]]
    )
    bands: bool = Field(default=_DEFAULTS.bands, description="Whether the bands of these scores are told, too")
    pull_every_s: int = Field(
        default=_DEFAULTS.pull_every_s, ge=10, le=604_800, description="Seconds between two looks for changes"
    )
    reconcile_every_s: int = Field(
        default=_DEFAULTS.reconcile_every_s,
        ge=600,
        le=31_536_000,
        description="Seconds between two comparisons of everybody",
    )
    budget: int | None = Field(
        default=None, ge=1, le=10**12, description="What may be spent in 24 hours; null: the kind's default"
    )
    reserve_percent: int = Field(
        default=_DEFAULTS.reserve_percent, ge=0, le=100, description="The part of the budget that only flags may spend"
    )
    choices: Properties = Field(default={}, description="What this kind of CRM can be told beside")


class ConnectionIn(Shape):
    kind: Line = Field(description="One of `/v1/connections/kinds`", examples=["salesforce"])
    name: Line = Field(description="For ever: what comes from it says so by this name", examples=["Sales org"])
    flow: Line | None = Field(
        default=None, description="How to sign in; null: the best way there is", examples=["client_credentials"]
    )
    base_url: Address | None = Field(
        default=None, description="In place of where this CRM is by default: its own domain", examples=[_ORG]
    )
    credentials: dict[Line, Credential] = Field(
        description=_CREDENTIALS, max_length=20, examples=[{"client_id": "3MVG9…", "client_secret": "…"}]
    )
    options: OptionsIn = Field(default=OptionsIn(), examples=[{"creates": True, "pull_every_s": 60}])


class ConnectionPatch(Shape):
    """What to change; what is left out stays."""

    flow: Line | None = Field(default=None, description="Needs the credentials anew")
    base_url: Address | None = Field(
        default=None, description="Needs the credentials anew; null: where this CRM is by default", examples=[_ORG]
    )
    credentials: dict[Line, Credential] | None = Field(
        default=None, description=_CREDENTIALS + ". All of them; whoever was signed in is so no more", max_length=20
    )
    options: OptionsIn | None = Field(default=None, examples=[{"pull_every_s": 60}])


class ProblemOut(BaseModel):
    code: str = Field(description="Stable, for programs", examples=["invalid_client"])
    what: str = Field(examples=["the client_secret is wrong"])
    mend: str = Field(description="What to do about it")
    since: datetime


class AccountOut(BaseModel):
    organisation: str = Field(examples=["Acme Ltd"])
    user_name: str = Field(description="Who we are there", examples=["Integration User"])


class ConnectionOut(BaseModel):
    id: UUID
    kind: str = Field(examples=["salesforce"])
    name: str = Field(examples=["Sales org"])
    flow: str = Field(examples=["client_credentials"])
    base_url: str | None = Field(examples=[_ORG])
    status: Status = Field(
        description="`new`: a test lets it begin; `failing`: see `problem`; `silent`: the CRM wants to be left alone, "
        "or the budget is spent, until `silent_until`"
    )
    problem: ProblemOut | None = Field(description="Why it does not go on")
    silent_until: datetime | None
    account: AccountOut | None = Field(description="Whose account it is, as the last good test found")
    hook_url: str | None = Field(
        description="Where the CRM may call us, for it to be read at once; shown to keys that may write",
        examples=["https://leads.example.com/v1/crm/018f…/kq3…"],
    )
    options: OptionsIn
    paused_at: datetime | None
    pull_at: datetime | None = Field(description="When it is looked for changes next; null: at once")
    reconcile_at: datetime | None = Field(description="When everybody is compared next; null: after the first look")
    created_at: datetime
    updated_at: datetime


@router.get("/kinds", response_model=list[KindOut], summary="List the CRMs that can be connected, and what each needs")
async def list_kinds(kit: Kit, _: Reader) -> JsonResponse:
    return JsonResponse(
        [
            {
                "kind": one.kind,
                "title": one.title,
                "flows": [flow._asdict() for flow in one.flows],
                "unit": one.unit,
                "budget": one.budget,
            }
            for one in kit.providers.values()
        ]
    )


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    response_model=ConnectionOut,
    summary="Make a connection",
    description="Nothing is called yet: `…/test` tries it, takes what is mapped by default, and lets it begin.",
)
async def post_connection(given: ConnectionIn, request: Request, kit: Kit, key: Admin) -> JsonResponse:
    options = Options(**options_in(given.options))
    new = New(given.kind, given.name, given.flow, given.credentials, given.base_url, options)
    async with kit.database.batch() as db:
        made = await connections.create(
            db, kit.vault, new, kit.providers, clock.now(), private=kit.settings.private_crms
        )
    at = {"Location": f"/v1/connections/{made.id}"}
    return JsonResponse(shown(made, request, kit, key), status_code=201, headers=at)


@router.get("", response_model=Page[ConnectionOut], summary="List connections by their names")
async def list_connections(
    request: Request, kit: Kit, key: Reader, limit: Limit = 100, cursor: Cursor = None
) -> JsonResponse:
    after = _name_after(cursor) if cursor else None
    async with kit.database.hot.acquire() as db:
        found = await connections.page(db, limit=limit + 1, after=after)
    more = pages.encode(found[limit - 1].name) if len(found) > limit else None
    return JsonResponse({"items": [shown(one, request, kit, key) for one in found[:limit]], "next_cursor": more})


@router.get("/{connection_id}", response_model=ConnectionOut, summary="Read a connection")
async def get_connection(connection_id: UUID, request: Request, kit: Kit, key: Reader) -> JsonResponse:
    async with kit.database.hot.acquire() as db:
        found = await connections.get(db, connection_id)
    return JsonResponse(shown(found, request, kit, key))


@router.patch(
    "/{connection_id}",
    response_model=ConnectionOut,
    summary="Change a connection's options, or how it signs in",
    description="Of the options those that are given. What it is called and which CRM it is stays as it is.",
)
async def patch_connection(
    connection_id: UUID, given: ConnectionPatch, request: Request, kit: Kit, key: Admin
) -> JsonResponse:
    edit = Edit(
        None if given.options is None else options_in(given.options),
        given.credentials,
        given.base_url,
        clears_base_url="base_url" in given.model_fields_set and given.base_url is None,
        flow=given.flow,
    )
    async with kit.database.batch() as db:
        changed = await connections.change(
            db, kit.vault, connection_id, edit, kit.providers, clock.now(), private=kit.settings.private_crms
        )
    return JsonResponse(shown(changed, request, kit, key))


@router.delete(
    "/{connection_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Remove a connection",
    description="With all that was known for its sake: which record is whose, what each side had yet to be told. "
    "Contacts and their events stay, and so does everything in the CRM.",
)
async def delete_connection(connection_id: UUID, kit: Kit, _: Admin) -> Response:
    await removing.remove(kit.database, connection_id)
    return Response(status_code=status.HTTP_204_NO_CONTENT)


def options_in(given: OptionsIn) -> dict[str, Any]:  # Any: of each option
    """Those that are given, by the names of Options."""
    said = {name: getattr(given, name) for name in given.model_fields_set}
    if said.get("scores") is not None:
        said["scores"] = tuple(said["scores"])
    return said


def shown(one: CrmConnection, request: Request, kit: Services, key: Key) -> dict[str, Any]:  # Any: JSON
    hook = checking.hook_of(one, kit.vault, base_url(request, kit)) if key.may(Scope.WRITE) else None
    options = one.options.to_json()
    return {
        **{name: getattr(one, name) for name in ConnectionOut.model_fields if hasattr(one, name)},
        "status": one.status(clock.now()),
        "account": None if one.account is None else account_shown(one.account),
        "hook_url": None if hook is None else hook.url,
        "options": {name: options[name] for name in OptionsIn.model_fields},
    }


def account_shown(said: Any) -> dict[str, str]:  # Any: a mapping with more in it
    return {name: said[name] for name in AccountOut.model_fields}


def _name_after(cursor: str) -> str:
    [name] = pages.decode(cursor, 1)
    if not isinstance(name, str) or not is_clean(name):
        raise InvalidInput(pages.bad_cursor())
    return name
