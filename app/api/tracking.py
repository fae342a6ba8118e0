"""Tracking calls in: the addresses that Segment's and RudderStack's SDKs call, and our own snippet.

Answers what those SDKs expect: exactly 200 once the call is stored raw, and refusals with `code` and `message`. Any
origin may call, since it is a write key and no cookie that says who does.

Sources: the SDKs' own source (what they ask before they send, and where), RudderStack's documentation (pixel), read
2026-11-22.
"""

from collections.abc import Callable, Coroutine
from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.routing import APIRoute
from starlette.responses import PlainTextResponse, Response

from app import clock, errors
from app.api.json import JsonResponse
from app.api.raw import base_url, raw
from app.api.services import Kit
from app.api.write_keys import in_header, keep, source_of
from app.errors import AppError, Fault, InvalidInput, TooLarge
from app.esp.shapes import Request as Call
from app.sources import rudderstack, tracking
from app.sources.kinds import RUDDERSTACK, SEGMENT, SNIPPET
from app.sources.registry import Source

_KINDS = (SEGMENT, RUDDERSTACK, SNIPPET)
_PREFLIGHT_S = 7_200
"""For how long a browser need not ask again whether it may call."""
_PIXEL = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")
"""A transparent GIF of one by one."""
_DEEPEST = 8
_STATUS: dict[type[AppError], int] = {
    errors.InvalidInput: 400,
    errors.NotAuthenticated: 401,
    errors.NotFound: 404,
    errors.TooLarge: 413,
    errors.Unavailable: 503,
}

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class _Open(APIRoute):
    """Lets any origin read the answer, and refuses in the words that SDKs look for."""

    def get_route_handler(self) -> Handler:
        inner = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                reply = await inner(request)
            except (AppError, HTTPException) as fault:
                reply = _refusal(fault)
            _allow(request, reply)
            return reply

        return handle


router = APIRouter(tags=["Tracking"], route_class=_Open)


def _allow(request: Request, reply: Response) -> None:
    origin = request.headers.get("origin")
    if origin is not None:
        reply.headers["Access-Control-Allow-Origin"] = origin
        reply.headers["Access-Control-Allow-Credentials"] = "true"
        reply.headers["Access-Control-Expose-Headers"] = "Retry-After, X-Request-Id"
        reply.headers["Vary"] = "Origin"


def _refusal(fault: AppError | HTTPException) -> Response:
    """A problem with `message` beside its members. Without WWW-Authenticate: a browser would ask the visitor."""
    if isinstance(fault, HTTPException):
        status, code, detail = fault.status_code, HTTPStatus(fault.status_code).name.lower(), str(fault.detail)
        headers = dict(fault.headers or {})
    else:
        status, code, detail = _STATUS.get(type(fault), 500), fault.code, str(fault)
        headers = {"Retry-After": "1"} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    said = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "code": code, "detail": detail}
    return JsonResponse({**said, "message": detail}, status, headers, "application/problem+json")


# --- calls ------------------------------------------------------------------------------------------------------------


async def post_calls(request: Request, kit: Kit) -> Response:
    call = await raw(request, kit)
    try:
        said = tracking.parse(call.body)
    except ValueError as fault:
        raise InvalidInput(Fault("", str(fault))) from None
    in_body = said.get("writeKey") if isinstance(said, dict) else None
    key = request.query_params.get("writeKey") or (in_body if isinstance(in_body, str) else None) or in_header(request)
    source = await source_of(key, kit, _KINDS)
    _check(source, call, said, tracking.named(request.url.path))
    # The key has served its purpose: what is kept is without it.
    body = call.body.replace(str(key).encode(), b"")
    await keep(kit, source, replace(call, url=request.url.path, body=body))
    return PlainTextResponse("ok") if source.kind == RUDDERSTACK else JsonResponse({"success": True})


def _check(source: Source, call: Call, said: Any, name: str | None) -> None:  # Any: JSON
    """Raises what the one or the other service answers to a request that it refuses as a whole."""
    size = len(call.body)
    if source.kind == RUDDERSTACK:
        if size > rudderstack.MAX_BODY:
            raise TooLarge(f"the body takes {size} bytes; {rudderstack.MAX_BODY} are the most")
        wrong = rudderstack.wrong_with(said, name)
        if wrong is not None:
            raise InvalidInput(Fault("", wrong))
        return
    most = tracking.MAX_BODY if name is None else tracking.MAX_CALL
    if size > most:
        raise InvalidInput(Fault("", f"the body takes {size} bytes; {most} are the most"))


_DESCRIPTION = (
    "Speaks the HTTP API of Segment's and of RudderStack's SDKs: set an SDK's host to this server, and its write key "
    "to that of a source of the kind `segment` or `rudderstack`. The write key is the user name of HTTP Basic, or "
    "`writeKey` in the body. Answers 200 once the call is stored; it is read, counted and scored a moment later, and "
    "what cannot be read is listed at its source. What becomes of each call is in docs/tracking.md."
)
_EXAMPLES: dict[str, dict[str, Any]] = {
    "identify": {"userId": "u-7", "anonymousId": "a-9", "traits": {"email": "ada@example.com", "plan": "pro"}},
    "track": {"userId": "u-7", "event": "Form Submitted", "properties": {"form": "demo"}},
    "page": {"anonymousId": "a-9", "properties": {"url": "https://example.com/pricing", "path": "/pricing"}},
    "screen": {"anonymousId": "a-9", "name": "Welcome"},
    "group": {"userId": "u-7", "groupId": "g-1", "traits": {"name": "Example Ltd", "employees": 40}},
    "alias": {"userId": "u-7", "previousId": "a-9"},
    "merge": {"mergeProperties": [{"type": "user_id", "value": "u-7"}, {"type": "anonymous_id", "value": "a-9"}]},
    "batch": {"batch": [{"type": "track", "messageId": "m-1", "userId": "u-7", "event": "Form Submitted"}]},
}
_SHORT = ("/v1/i", "/v1/t", "/v1/p", "/v1/s", "/v1/g", "/v1/a", "/v1/b", "/v1/import", "/beacon/v1/batch")
"""What browsers and old SDKs call instead."""

for _name, _example in _EXAMPLES.items():
    router.add_api_route(
        f"/v1/{_name}",
        post_calls,
        methods=["POST"],
        name=f"post_{_name}",
        summary="Take in a batch of tracking calls" if _name == "batch" else f"Take in a tracking call: {_name}",
        description=_DESCRIPTION,
        response_class=JsonResponse,
        openapi_extra={
            "security": [],
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": {"type": "object"}, "example": _example}},
            },
        },
    )
for _path in _SHORT:
    router.add_api_route(_path, post_calls, methods=["POST"], include_in_schema=False)


@router.get("/pixel/v1/track", include_in_schema=False)
@router.get("/pixel/v1/page", include_in_schema=False)
async def get_pixel(request: Request, kit: Kit) -> Response:
    """A call as the address of an image: `properties.path=/pricing` is a member of `properties`."""
    said = _nested(request.query_params.multi_items())
    key = said.pop("writeKey", None)
    source = await source_of(key if isinstance(key, str) else in_header(request), kit, _KINDS)
    headers = {name: value for name, value in request.headers.items() if name == "user-agent"}
    call = Call(request.url.path, headers, orjson.dumps(said), clock.now(), "GET")
    _check(source, call, said, tracking.named(request.url.path))
    await keep(kit, source, call)
    return Response(_PIXEL, media_type="image/gif", headers={"Cache-Control": "no-store"})


def _nested(pairs: list[tuple[str, str]]) -> dict[str, Any]:  # Any: JSON
    said: dict[str, Any] = {}
    for name, value in pairs:
        *parts, last = name.split(".", _DEEPEST)
        into = said
        for part in parts:
            inner = into.setdefault(part, {})
            into = inner if isinstance(inner, dict) else {}  # it is text already: this one is lost
        into.setdefault(last, value)
    return said


# --- what SDKs ask before they send -----------------------------------------------------------------------------------


@router.get("/v1/projects/{key}/settings", include_in_schema=False)
async def get_settings(key: str, request: Request, kit: Kit) -> JsonResponse:
    """What Segment's browser and mobile SDKs load: that there is nothing but us, and where we are."""
    await source_of(key, kit, (SEGMENT, SNIPPET))
    protocol, _, host = base_url(request, kit).partition("://")
    ours = {"apiKey": key, "apiHost": f"{host}/v1", "protocol": protocol, "addBundledMetadata": False}
    return JsonResponse({"integrations": {"Segment.io": ours}, "metrics": {"sampleRate": 0}, "plan": {}})


@router.get("/sourceConfig", include_in_schema=False)
@router.get("/sourceConfig/", include_in_schema=False)
async def get_source_config(
    request: Request, kit: Kit, key: Annotated[str | None, Query(alias="writeKey")] = None
) -> JsonResponse:
    """What RudderStack's browser and mobile SDKs load: that it is switched on, and has no destinations."""
    source = await source_of(key or in_header(request), kit, (RUDDERSTACK,))
    nothing = {"errors": {"enabled": False}, "metrics": {"enabled": False}}
    said = {
        "id": str(source.id),
        "name": source.name,
        "enabled": True,
        "workspaceId": "leadtally",
        "config": {"statsCollection": nothing},
        "destinations": [],
        "updatedAt": source.created_at,
    }
    return JsonResponse({"source": said})


# --- browsers ask first -----------------------------------------------------------------------------------------------


async def preflight(request: Request) -> Response:
    asked = request.headers.get("access-control-request-headers", "Authorization, Content-Type")
    allowed = {
        "Access-Control-Allow-Methods": "GET, POST",
        "Access-Control-Allow-Headers": asked,
        "Access-Control-Max-Age": str(_PREFLIGHT_S),
    }
    return Response(status_code=204, headers=allowed)


for _path in {route.path for route in router.routes if isinstance(route, APIRoute)}:
    router.add_api_route(_path, preflight, methods=["OPTIONS"], include_in_schema=False)
