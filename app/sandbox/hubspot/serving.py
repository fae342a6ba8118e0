"""The web app: signing in, limits and faults around each call, and the errors as they are told."""

import asyncio
from collections.abc import Iterable
from urllib.parse import parse_qsl

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from app.sandbox import controls, oauth, web
from app.sandbox.hubspot import accounts
from app.sandbox.hubspot.access import Access, out_of_scope, unauthorized
from app.sandbox.hubspot.calls import ENDPOINTS, Endpoint
from app.sandbox.hubspot.delivery import Delivery
from app.sandbox.hubspot.edits import Edits
from app.sandbox.hubspot.faults import Faults
from app.sandbox.hubspot.limits import Limits
from app.sandbox.hubspot.portal import ADMIN, PORTAL_ID, PRIVATE_APP, PUBLIC_APP, Portal
from app.sandbox.hubspot.wire import Call, Caller, Json, Query, Refused, Reply, not_json
from app.sandbox.shapes import Clock, Person

_MOST_BYTES = 5_000_000
_HTML_502 = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


class Hubspot:
    """A stand-in HubSpot: one account, a private app, an app that is installed. See docs/sandbox-hubspot.md."""

    name = "hubspot"

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = Clock() if clock is None else clock
        self.portal = Portal(self.clock)
        self.access = Access(self.portal)
        self._limits = Limits(self.portal)
        self._delivery = Delivery(self.portal)
        self.portal.listener = self._delivery.offer
        self.app = Starlette(routes=self._routes(), exception_handlers={HTTPException: self._no_such_call})

    @property
    def faults(self) -> Faults:
        return self.portal.faults

    def fill(self, people: Iterable[Person]) -> None:
        self.portal.fill(people)

    def credentials(self, base_url: str) -> Json:
        private, public = self.portal.apps[PRIVATE_APP], self.portal.apps[PUBLIC_APP]
        return {
            "base_url": base_url,
            "access_token": self.access.private_token,
            "app_id": private.id,
            "app_client_secret": private.client_secret,
            "client_id": public.client_id,
            "client_secret": public.client_secret,
            "refresh_token": self.access.refresh_token,
            "oauth_app_id": public.id,
            "developer_key": self.portal.developer_key,
            "authorize_url": f"{base_url}/oauth/authorize",
            "token_url": f"{base_url}/oauth/v1/token",
            "portal_id": PORTAL_ID,
            "user_id": ADMIN,
        }

    def state(self) -> Json:
        portal, custom = self.portal, self.portal.properties["contacts"].values()
        return {
            "records": {
                **{name: len(table.live) for name, table in portal.tables.items()},
                "archived_contacts": sum(one.survivor is None for one in portal.tables["contacts"].archived.values()),
                "custom_properties": sum(one.is_custom and not one.is_archived for one in custom),
                "subscriptions": sum(len(app.subscriptions) for app in portal.apps.values()),
            },
            "calls": dict(portal.calls),
            "rows": dict(portal.rows),
            "writes": {
                name: {str(number): times for number, times in counted.items()}
                for name, counted in portal.writes.items()
            },
            "calls_today": self._limits.spent,
            "webhooks": {
                "waiting": self._delivery.waiting,
                "delivered": self._delivery.delivered,
                "failed": self._delivery.failed,
            },
        }

    def _routes(self) -> list[Route]:
        edits = Edits(self.portal, self.access)
        usage = Endpoint(
            "GET", "/account-info/v3/api-usage/daily/private-apps", ("oauth",),
            lambda portal, _: Reply(accounts.usage(self._limits, portal)),
        )  # fmt: skip
        return [
            *web.routes((one.method, one.path, self._handled(one)) for one in (*ENDPOINTS, usage)),
            Route("/oauth/authorize", self._authorize, methods=["GET"]),
            Route("/oauth/v1/token", self._token, methods=["POST"]),
            Route("/oauth/v1/access-tokens/{token}", self._access_info, methods=["GET"]),
            Route("/oauth/v1/refresh-tokens/{token}", self._refresh_token, methods=["GET", "DELETE"]),
            Route("/oauth/v2/private-apps/get/access-token-info", self._private_info, methods=["POST"]),
            *controls.routes(self.faults, self.clock, self.state, edits.carry_out),
        ]

    # --- The API ------------------------------------------------------------------------------------------------------

    def _handled(self, endpoint: Endpoint) -> web.Handler:
        name = f"{endpoint.method} {endpoint.path}"

        async def handle(request: Request) -> Response:
            self.portal.calls[name] += 1
            faults = self.faults
            if faults.delay_s > 0:
                await asyncio.sleep(faults.delay_s)
            failure = faults.fail_next.pop(0) if faults.fail_next else ""
            if failure in ("html_502", "timeout"):
                return HTMLResponse(_HTML_502, 502 if failure == "html_502" else 504)
            headers: dict[str, str] = {}
            try:
                _fail(failure)
                caller = self._caller(request, endpoint)
                if not endpoint.is_developers:
                    headers = self._limits.charge(caller, is_search=endpoint.is_search)
                    if caller.scopes.isdisjoint(endpoint.scopes):
                        raise out_of_scope(endpoint.scopes)
                reply = endpoint.handler(self.portal, await _call(request, caller))
            except Refused as fault:
                return self._refusal(fault, headers)
            self.portal.rows[name] += reply.rows
            if failure == "lost_reply":
                return HTMLResponse(_HTML_502, 502)
            return Response(status_code=204, headers=headers) if reply.body is None else _json(reply, headers)

        return handle

    def _caller(self, request: Request, endpoint: Endpoint) -> Caller:
        """Who calls. Raises Refused (401)."""
        if self.faults.unauthorized_next > 0:
            self.faults.unauthorized_next -= 1
            raise unauthorized()
        if not endpoint.is_developers:
            return self.access.caller(request.headers)
        given = request.query_params.get("hapikey", "")
        if not oauth.is_same_secret(given, self.portal.developer_key):
            raise unauthorized()
        return Caller(PUBLIC_APP, given, frozenset(), False)

    def _refusal(self, fault: Refused, headers: dict[str, str] | None = None) -> Response:
        correlation = self.portal.uuid(f"call {self.portal.next_id('correlation')}")
        told = {**(headers or {}), **fault.headers, "X-HubSpot-Correlation-Id": correlation}
        return _json(Reply(fault.body(correlation), fault.status), told)

    async def _no_such_call(self, _: Request, fault: Exception) -> Response:
        assert isinstance(fault, HTTPException)
        return self._refusal(Refused(fault.status_code, fault.detail, None), dict(fault.headers or {}))

    # --- OAuth 2 ------------------------------------------------------------------------------------------------------

    async def _authorize(self, request: Request) -> Response:
        try:
            return RedirectResponse(self.access.authorize(request.query_params), 302)
        except Refused as fault:
            return self._refusal(fault)

    async def _token(self, request: Request) -> Response:
        self.portal.calls["POST /oauth/v1/token"] += 1
        try:
            form = dict(parse_qsl((await _body(request)).decode(errors="replace")))
            return _json(Reply(self.access.token(form)))
        except Refused as fault:
            return self._refusal(fault)

    async def _access_info(self, request: Request) -> Response:
        try:
            return _json(Reply(self.access.access_info(request.path_params["token"])))
        except Refused as fault:
            return self._refusal(fault)

    async def _refresh_token(self, request: Request) -> Response:
        token = request.path_params["token"]
        if request.method == "DELETE":
            self.access.uninstall(token)
            return Response(status_code=204)
        try:
            return _json(Reply(self.access.refresh_info(token)))
        except Refused as fault:
            return self._refusal(fault)

    async def _private_info(self, request: Request) -> Response:
        try:
            body = (await _call(request, Caller(PRIVATE_APP, "", frozenset(), True))).object(("tokenKey",))
            return _json(Reply(self.access.private_info(str(body.get("tokenKey")))))
        except Refused as fault:
            return self._refusal(fault)


def _fail(failure: str) -> None:
    match failure:
        case "unavailable":
            raise Refused(503, "The service is temporarily unavailable.", "SERVICE_UNAVAILABLE")
        case "locked":
            raise Refused(423, "The resource is locked. Wait at least two seconds before trying again.", "LOCKED")
        case "migrating":
            fault = Refused(477, "The account is being moved to another data centre.", "MIGRATION_IN_PROGRESS")
            fault.headers["Retry-After"] = "60"
            raise fault


async def _call(request: Request, caller: Caller) -> Call:
    raw = await _body(request)
    try:
        body = orjson.loads(raw) if raw else None
    except orjson.JSONDecodeError:
        raise not_json("the body is not JSON") from None
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    query = Query(request.query_params)
    return Call(caller, query, request.path_params, body, _length(raw), web.base_url(request), path)


def _length(raw: bytes) -> int:
    """In characters, not bytes."""
    return len(raw) if raw.isascii() else len(raw.decode(errors="replace"))


async def _body(request: Request) -> bytes:
    raw = await web.read(request, _MOST_BYTES)
    if raw is None:
        raise Refused(413, "The request body is too large")
    return raw


def _json(reply: Reply, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(reply.body), reply.status, headers, media_type="application/json")
