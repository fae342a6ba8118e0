"""What comes from a CRM without a key of ours: its calls that something changed, and browsers that signed in there."""

import hmac
from collections.abc import Sequence
from uuid import UUID

import structlog
from fastapi import APIRouter, Request
from starlette.responses import Response

from app import clock
from app.api.browser import page
from app.api.connecting import CALLBACK
from app.api.json import JsonResponse
from app.api.problems import problem
from app.api.raw import raw
from app.api.services import Kit, Services
from app.connectors.faults import Fault as CrmFault
from app.connectors.faults import Later, SignInRefused
from app.connectors.shapes import Call, Key, Notice
from app.engine.conditions import is_clean
from app.errors import Fault, InvalidInput, NotFound
from app.store.vault import Sealed
from app.sync import connections, due, hints, signing_in
from app.sync.shapes import Opened
from app.sync.signing_in import StateRefused

router = APIRouter(tags=["Connections"])

_LONGEST_CODE = 10_000
_log = structlog.get_logger()
_LATER = problem(503, "busy", "this cannot be read just now; send it again later", headers={"Retry-After": "60"})


@router.post(
    "/v1/crm/{connection_id}/{secret}",
    summary="Take in that something changed in a CRM",
    description="The `hook_url` of a connection, for the CRM to call. Nothing of what it says is believed: the records "
    "that it names are read, and as soon as the connection may work. What is answered is what this CRM expects.",
    openapi_extra={"security": []},
)
async def post_notice(connection_id: str, secret: str, request: Request, kit: Kit) -> Response:
    try:
        id_ = await _called(connection_id, secret, kit)
        said = await raw(request, kit)
        async with kit.opened(id_) as opened:
            notice = _read(opened, Call(said.url, said.headers, said.body))
    except (Sealed, SignInRefused) as fault:
        _log.warning("a CRM is told to come again", connection=connection_id, fault=type(fault).__name__)
        return _LATER
    now = clock.now()
    await hints.note(kit.database, id_, notice.hints, now)
    if notice.is_activity:
        async with kit.database.batch() as db:
            await due.ask_for_pull(db, id_, now)
    return Response(notice.reply, media_type=notice.media_type)


@router.get(
    "/v1/crm/{connection_id}/{secret}",
    summary="Say that this address is there",
    description="CRMs may ask so before they take an address.",
    openapi_extra={"security": []},
)
async def probe(connection_id: str, secret: str, kit: Kit) -> Response:
    try:
        await _called(connection_id, secret, kit)
    except Sealed:
        return _LATER
    return JsonResponse({"status": "ok"})


async def _called(connection_id: str, secret: str, kit: Services) -> UUID:
    """Which connection this is the address of. Raises NotFound, and Sealed if that cannot be told."""
    unknown = NotFound("there is no connection at this address")
    try:
        id_ = UUID(connection_id)
    except ValueError:
        raise unknown from None
    async with kit.database.hot.acquire() as db:
        try:
            held = await connections.get(db, id_)
        except NotFound:
            raise unknown from None
    known = connections.hook_secret(kit.vault, held)
    if not hmac.compare_digest(known.encode(), secret.encode(errors="replace")):
        raise unknown
    return id_


def _read(opened: Opened, call: Call) -> Notice:
    """What the CRM says of what can be a person's record. Raises InvalidInput if it is nothing that it would say."""
    try:
        notice = opened.connector.read_notice(call)
    except ValueError:
        raise InvalidInput(Fault("", f"this is no call of {opened.kind} that can be read")) from None
    objects = opened.connector.objects
    people = [
        hint if hint.successor is None or _may_be(hint.successor, objects) else hint._replace(successor=None)
        for hint in notice.hints
        if _may_be(hint.key, objects)
    ]
    return notice._replace(hints=people)


def _may_be(key: Key, objects: Sequence[str]) -> bool:
    return key.object in objects and is_clean(key.id)


# --- browsers ---------------------------------------------------------------------------------------------------------
# Not in the API's documentation, for it is people whom a CRM sends here. The state is what proves who they are.


@router.get(CALLBACK, include_in_schema=False)
async def come_back(kit: Kit, state: str = "", code: str = "", error: str = "") -> Response:
    try:
        asked = await signing_in.use(kit.database, kit.vault, state)
        if error or not 0 < len(code) <= _LONGEST_CODE:
            return _failed(f"The CRM says: {error[:100]}." if error else "The CRM sent no code along.", 400)
        name = await signing_in.finish(kit.database, kit.vault, kit.http, asked, code, kit.providers)
    except StateRefused as refused:
        return _failed(str(refused), 400)
    except NotFound:
        return _failed("This connection was removed.", 404)
    except SignInRefused as fault:
        return _failed(f"{fault.what}: {fault.mend}.", 400)
    except CrmFault as fault:
        return _failed(f"{fault}.", 503 if isinstance(fault, Later) else 502)
    return page("You are signed in", f"“{name}” can work now: test it, or let it go on. You may close this window.")


def _failed(words: str, status: int) -> Response:
    return page("You are not signed in", f"{words} Ask for another link to try again.", status=status)
