"""The stand-in over HTTP: its addresses, tokens, limits, and the faults of the line."""

import asyncio
import gzip
import zlib
from collections.abc import Awaitable, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from app.sandbox import controls, web
from app.sandbox.salesforce import login as oauth
from app.sandbox.salesforce.api import Api
from app.sandbox.salesforce.edits import edit
from app.sandbox.salesforce.login import Login, NotGiven
from app.sandbox.salesforce.org import INTEGRATION, Org
from app.sandbox.salesforce.outbound import Outbound
from app.sandbox.salesforce.wire import Call, Json, Refusal, Reply

_JSON = "application/json;charset=UTF-8"
_LARGEST = 160_000_000
_DAY = timedelta(hours=24)
_RELEASES = ((62, "Winter '25"), (63, "Spring '25"), (64, "Summer '25"), (65, "Winter '26"), (66, "Spring '26"), (67, "Summer '26"))  # fmt: skip  # noqa: E501
_HTML_502 = Reply(502, b"<html><head><title>502 Bad Gateway</title></head></html>", {"Content-Type": "text/html"})
_FAILURES = {
    "html_502": _HTML_502,
    "unavailable": Refusal("SERVER_UNAVAILABLE", "The server is busy, try again later", status=503).as_call(),
    "query_timeout": Refusal("QUERY_TIMEOUT", "Your query request was running for too long.").as_call(),
    "busy": Refusal("REQUEST_LIMIT_EXCEEDED", "ConcurrentPerOrgLongTxn Limit exceeded.", status=403).as_call(),
    "no_rest": Refusal(
        "INVALID_SESSION_ID", "This session is not valid for use with the REST API", status=401
    ).as_call(),
}  # fmt: skip
_EXPIRED = Refusal("INVALID_SESSION_ID", "Session expired or invalid", status=401)
_NOTHING_LEFT = Refusal("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", status=403)


class Site:
    def __init__(self, org: Org, login: Login) -> None:
        self.api = Api(org)
        self.outbound = Outbound(org)
        self._org = org
        self._login = login
        self._day_began: datetime = org.now()
        self._tasks: set[asyncio.Task[None]] = set()
        any_method = ["GET", "POST", "PATCH", "PUT", "DELETE"]
        routes = [
            *controls.routes(org.faults, org.clock, self.state, self._edit),
            Route("/services/oauth2/token", self._token, methods=["POST"]),
            Route("/services/oauth2/authorize", self._authorize, methods=["GET"]),
            Route("/services/oauth2/revoke", self._revoke, methods=["GET", "POST"]),
            Route("/services/oauth2/introspect", self._introspect, methods=["POST"]),
            Route("/services/oauth2/userinfo", self._userinfo, methods=["GET", "POST"]),
            Route("/id/{org_id}/{user_id}", self._userinfo, methods=["GET"]),
            Route("/services/data", self._versions, methods=["GET"]),
            Route("/services/data/", self._versions, methods=["GET"]),
            Route("/services/data/{rest:path}", self._data, methods=any_method),
        ]
        self._app = Starlette(routes=routes)
        self._app.router.redirect_slashes = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """The ASGI application. Any: ASGI's own types."""
        await self._app(scope, receive, send)
        self.outbound.wake()

    def state(self) -> Json:
        return {
            **self._org.state(),
            "calls": dict(self.api.calls),
            "rows": {
                name: {"total": total, "most": self.api.most_rows[name]}
                for name, total in self.api.rows.items()
                if total
            },
            "api_usage": self.api.used,
            "outbound": {
                "sent": self.outbound.sent,
                "acknowledged": self.outbound.acknowledged,
                "waiting": self.outbound.waiting,
            },
        }

    def _edit(self, body: Json) -> Json:
        if body.get("do") == "expire_tokens":
            self._login.expire()
            return {}
        return edit(self._org, body)

    # --- OAuth --------------------------------------------------------------------------------------------------------

    async def _token(self, request: Request) -> Response:
        try:
            form = await _form(request)
            return _json(self._login.token(form, request.headers.get("authorization", ""), web.base_url(request)))
        except NotGiven as fault:
            return _not_given(fault)

    async def _authorize(self, request: Request) -> Response:
        try:
            return RedirectResponse(self._login.authorize(request.query_params), 302)
        except NotGiven as fault:
            return _not_given(fault)

    async def _revoke(self, request: Request) -> Response:
        said = request.query_params if request.method == "GET" else await _form(request)
        if self._login.revoke(said.get("token", "")):
            return Response()
        return _not_given(NotGiven("unsupported_token_type", "this token is unknown"))

    async def _introspect(self, request: Request) -> Response:
        return _json(self._login.introspect((await _form(request)).get("token", "")))

    async def _userinfo(self, request: Request) -> Response:
        if not self._login.check(_bearer(request.headers)):
            return Response("Bad_OAuth_Token", 403)
        return _json(oauth.userinfo(self._org, web.base_url(request)))

    # --- REST ---------------------------------------------------------------------------------------------------------

    async def _versions(self, request: Request) -> Response:  # noqa: ARG002 - as all the others
        return _json([{"label": label, "url": f"/services/data/v{n}.0", "version": f"{n}.0"} for n, label in _RELEASES])

    async def _data(self, request: Request) -> Response:
        body = await _body(request)
        faults = self._org.faults
        if faults.delay_s > 0:
            await asyncio.sleep(min(faults.delay_s, 60.0))
        failure = faults.fail_next.pop(0) if faults.fail_next else ""
        reply = _FAILURES.get(failure) or self._answer(request, body)
        if reply.afterwards is not None:
            self._start(reply.afterwards())
        if failure == "lost_reply":
            reply = _HTML_502
        return self._response(reply)

    def _answer(self, request: Request, body: bytes | None) -> Reply:
        if not self._login.check(_bearer(request.headers)):
            return _EXPIRED.as_call()
        now = self._org.now()
        if now - self._day_began >= _DAY:
            self._day_began, self.api.used = now, 0
        if self.api.used >= self._org.faults.daily_limit:
            return _NOTHING_LEFT.as_call()
        self.api.used += 1
        if body is None:
            return Refusal("EXCEEDED_MAX_SIZE", "the body is too large, or not gzip as it says", status=413).as_call()
        # Below a prefix the path still has it; and an id may hold an escaped slash.
        raw = request.scope.get("raw_path") or request.url.path.encode()
        version, *parts = raw.decode("latin-1").split("/services/data/", 1)[-1].strip("/").split("/")
        number = version.removeprefix("v").removesuffix(".0")
        if not version.startswith("v") or not version.endswith(".0") or not number.isdecimal() or len(number) > 3:
            return Refusal("NOT_FOUND", "The requested resource does not exist", status=404).as_call()
        query = dict(request.query_params)
        method = query.pop("_HttpMethod", request.method).upper() if request.method == "POST" else request.method
        headers = {name.lower(): value for name, value in request.headers.items()}
        return self.api.handle(
            Call(method, tuple(map(unquote, parts)), f"{number}.0", query, headers, body, INTEGRATION)
        )

    def _response(self, reply: Reply) -> Response:
        headers = dict(reply.headers)
        is_bytes = isinstance(reply.body, bytes)
        if not self._org.faults.hide_limit_info and not is_bytes:
            headers["Sforce-Limit-Info"] = f"api-usage={self.api.used}/{self._org.faults.daily_limit}"
        if reply.body is None:
            return Response(None, reply.status, headers)
        if is_bytes:
            return Response(reply.body, reply.status, headers)
        return Response(orjson.dumps(reply.body), reply.status, {**headers, "Content-Type": _JSON})

    def _start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        assert isinstance(task, asyncio.Task)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _bearer(headers: Mapping[str, str]) -> str:
    kind, _, token = headers.get("authorization", "").partition(" ")
    # The name that the platform used before it had OAuth is still taken.
    return token.strip() if kind.lower() in ("bearer", "oauth") else ""


async def _form(request: Request) -> Mapping[str, str]:
    """The fields of the form; what came as a file is left out."""
    async with request.form() as form:
        return {name: value for name, value in form.items() if isinstance(value, str)}


async def _body(request: Request) -> bytes | None:
    """The body, unzipped; None if it is too large, or not what it says."""
    raw = await web.read(request, _LARGEST)
    if raw is None or request.headers.get("content-encoding", "").lower() != "gzip":
        return raw
    try:
        return gzip.decompress(raw)
    except (OSError, EOFError, zlib.error):
        return None


def _json(body: Any, status: int = 200) -> Response:  # Any: JSON
    return Response(orjson.dumps(body), status, {"Content-Type": _JSON, "Cache-Control": "no-cache, no-store"})


def _not_given(fault: NotGiven) -> Response:
    return _json({"error": fault.error, "error_description": fault.description}, 400)
