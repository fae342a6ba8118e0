"""The stand-in over HTTP: the tenant's sign-in, the Web API, its limits, and the faults of the line."""

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from app.sandbox import controls, web
from app.sandbox.dynamics.api import Api
from app.sandbox.dynamics.delivery import Delivery
from app.sandbox.dynamics.edits import edit
from app.sandbox.dynamics.limits import Limits
from app.sandbox.dynamics.login import Login, NotGiven
from app.sandbox.dynamics.org import INTEGRATION, Org
from app.sandbox.dynamics.wire import Call, Json, Refusal, Reply, query_fault

_JSON = "application/json; odata.metadata=minimal"
_LARGEST = 120_000_000
_HTML_502 = Reply(502, b"<html><head><title>502 Bad Gateway</title></head></html>", {"Content-Type": "text/html"})
_FAILURES = {
    "html_502": _HTML_502,
    "unavailable": Refusal("0x80060009", "The service is unavailable.", 503).reply(),
    "sql_timeout": Refusal("0x80044151", "SQL timeout expired.", 500).reply(),
}
_NOT_A_MEMBER = Refusal("0x80072560", "The user is not a member of the organization.", 403)
_WRITES = ("POST", "PATCH", "PUT")


class Site:
    def __init__(self, org: Org, login: Login) -> None:
        self.limits = Limits(org)
        self.api = Api(org, self.limits)
        self.delivery = Delivery(org)
        self.requests = 0
        """Calls of the Web API, whatever became of them."""
        self._org = org
        self._login = login
        any_method = ["GET", "POST", "PATCH", "PUT", "DELETE"]
        routes = [
            *controls.routes(org.faults, org.clock, self.state, self._edit),
            Route("/api/data/{rest:path}", self._data, methods=any_method),
            Route("/{tenant}/v2.0/.well-known/openid-configuration", self._configuration, methods=["GET"]),
            Route("/{tenant}/oauth2/v2.0/token", self._token, methods=["POST"]),
            Route("/{tenant}/oauth2/token", self._token, methods=["POST"]),
            Route("/{tenant}/oauth2/v2.0/authorize", self._authorize, methods=["GET"]),
        ]
        self._app = Starlette(routes=routes)
        self._app.router.redirect_slashes = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """The ASGI application. Any: ASGI's own types."""
        await self._app(scope, receive, send)
        self.delivery.wake()

    def state(self) -> Json:
        return {
            **self._org.state(),
            "calls": dict(self.api.calls),
            "rows": {name: rows for name, rows in self.api.rows.items() if rows},
            "requests": self.requests,
            "throttled": self.limits.refused,
            "webhooks": {
                "delivered": self.delivery.delivered,
                "failed": self.delivery.failed,
                "waiting": self.delivery.waiting,
            },
        }

    def _edit(self, body: Json) -> Json:
        if body.get("do") == "expire_tokens":
            self._login.expire()
            return {}
        return edit(self._org, body)

    # --- signing in ---------------------------------------------------------------------------------------------------

    async def _configuration(self, request: Request) -> Response:
        try:
            return _json(self._login.configuration(request.path_params["tenant"], web.base_url(request)))
        except NotGiven as fault:
            return _json(fault.body, fault.status)

    async def _token(self, request: Request) -> Response:
        is_v1 = "/v2.0/" not in request.url.path
        try:
            async with request.form() as form:
                said = {name: value for name, value in form.items() if isinstance(value, str)}
            given = self._login.token(request.path_params["tenant"], said, web.base_url(request), is_v1=is_v1)
        except NotGiven as fault:
            return _json(fault.body, fault.status)
        return _json(given)

    async def _authorize(self, request: Request) -> Response:
        try:
            back = self._login.authorize(request.path_params["tenant"], request.query_params, web.base_url(request))
        except NotGiven as fault:
            return _json(fault.body, fault.status)
        return RedirectResponse(back, 302)

    # --- the Web API --------------------------------------------------------------------------------------------------

    async def _data(self, request: Request) -> Response:
        body = await web.read(request, _LARGEST)
        faults = self._org.faults
        self.requests += 1
        self.limits.running += 1
        try:
            if faults.delay_s > 0:
                await asyncio.sleep(min(faults.delay_s, 60.0))
            failure = faults.fail_next.pop(0) if faults.fail_next else ""
            if failure == "throttled":
                reply = self.limits.throttled().reply()
            elif failure in _FAILURES:
                reply = _FAILURES[failure]
            else:
                reply = self._answer(request, body)
            return self._response(_HTML_502 if failure == "lost_reply" else reply)
        finally:
            self.limits.running -= 1

    def _answer(self, request: Request, body: bytes | None) -> Reply:
        base_url = web.base_url(request)
        if not self._login.check(_bearer(request.headers), base_url):
            where = f"https://login.microsoftonline.com/{self._login.tenant_id}/oauth2/authorize"
            said = f"Bearer authorization_uri={where}, resource_id={base_url}/"
            return Reply(401, b"", {"WWW-Authenticate": said})
        if self._org.faults.not_a_member:
            return _NOT_A_MEMBER.reply()
        try:
            self.limits.check()
        except Refusal as fault:
            return fault.reply()
        if body is None:
            return Refusal("0x80060010", "The request is too large.", 413).reply()
        reply = self._called(request, body, base_url)
        self.limits.spend(reply.rows)
        return reply

    def _called(self, request: Request, body: bytes, base_url: str) -> Reply:
        # Below a prefix the path still has it; and a key may hold an escaped bracket.
        raw = request.scope.get("raw_path") or request.url.path.encode()
        version, _, path = raw.decode("latin-1").split("/api/data/", 1)[-1].partition("/")
        if not version.startswith("v9."):
            return query_fault("The requested version of the Web API does not exist.", 404).reply()
        headers = {name.lower(): value for name, value in request.headers.items()}
        said = headers.get("content-type", "").partition(";")[0].strip().lower()
        if request.method in _WRITES and not path.startswith("$batch") and body and said != "application/json":
            return query_fault(f"The content type '{said}' is not supported.", 415).reply()
        root = f"{base_url}/api/data/{version}/"
        query = request.scope["query_string"].decode("latin-1")
        return self.api.handle(Call(request.method, path, query, headers, body, root, INTEGRATION))

    def _response(self, reply: Reply) -> Response:
        headers = {
            "OData-Version": "4.0",
            "x-ms-service-request-id": f"{self.requests:08x}-0000-0000-0000-000000000000",
            "REQ_ID": f"{self.requests:08x}-0000-0000-0000-000000000000",
            "x-ms-ratelimit-burst-remaining-xrm-requests": str(max(0, 6_000 - self.limits.calls)),
            "x-ms-ratelimit-time-remaining-xrm-requests": f"{self.limits.time_left_ms:,}.00",
            **reply.headers,
        }
        if reply.body is None or isinstance(reply.body, bytes):
            return Response(reply.body, reply.status, headers)
        return Response(orjson.dumps(reply.body), reply.status, {"Content-Type": _JSON, **headers})


def _bearer(headers: Mapping[str, str]) -> str:
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def _json(body: Json, status: int = 200) -> Response:
    headers = {"Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-store, no-cache"}
    return Response(orjson.dumps(body), status, headers)
