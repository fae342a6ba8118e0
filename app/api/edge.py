"""What every request passes first: an id for the logs, a bound on its body, a word for a database out of reach."""

import math
import secrets

import structlog
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import problem, told
from app.errors import TooLarge, Unavailable
from app.store.db import FAULTS, is_away

MAX_BODY = 5_000_000
_UNBOUNDED = {"/v1/contacts/import", "/v1/suppressions/import"}
"""Streamed to disk, so of any length."""


_TOO_LARGE = problem(413, TooLarge.code, f"the body is over {MAX_BODY // 1_000_000} MB; send smaller batches")


_AWAY = problem(
    503, Unavailable.code, "the database cannot be reached just now; try again", headers={"Retry-After": "1"}
)
_log = structlog.get_logger()


class _OverLimit(Exception):
    pass


class Edge:
    """ASGI middleware. Answers 413 for a body over 5 MB, whether its length is announced or not, and 503 when the
    database is away."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        passing = _Passing(scope, receive, send)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=passing.request_id)
        if _announced(scope) > passing.limit:
            await _TOO_LARGE(scope, receive, passing.send)
            return
        instead: Response | None = None
        try:
            await self._app(scope, passing.receive, passing.send)
        except _OverLimit:
            pass
        except FAULTS as fault:
            if passing.has_started or not is_away(fault):
                raise
            _log.warning("the database is out of reach", fault=type(fault).__name__, path=told(scope["path"]))
            instead = _AWAY
        if passing.is_over and not passing.has_started:
            instead = _TOO_LARGE
        if instead is not None:
            passing.is_over = False
            await instead(scope, receive, passing.send)


class _Passing:
    """One request on its way through."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.request_id = _given_id(scope) or secrets.token_hex(8)
        self.limit = math.inf if scope["path"] in _UNBOUNDED else MAX_BODY
        self.is_over = self.has_started = False
        self._receive, self._send = receive, send
        self._read = 0

    async def receive(self) -> Message:
        message = await self._receive()
        self._read += len(message.get("body", b""))
        if self._read > self.limit:
            self.is_over = True
            raise _OverLimit
        return message

    async def send(self, message: Message) -> None:
        if self.is_over and not self.has_started:
            return  # FastAPI answers 400 to whatever ends its reading of a body
        if message["type"] == "http.response.start":
            self.has_started = True
            MutableHeaders(scope=message)["X-Request-Id"] = self.request_id
        await self._send(message)


def _announced(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0


def _given_id(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and len(value) <= 64 and value.isalnum():
            return str(value.decode())
    return None
