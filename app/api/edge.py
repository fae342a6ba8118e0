"""What every request passes first: an id for the logs, and a bound on its body."""

import secrets

import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import problem
from app.errors import TooLarge

MAX_BODY = 5_000_000
_UNBOUNDED = "/v1/contacts/import"
"""Streamed to disk, so of any length."""


_TOO_LARGE = problem(413, TooLarge.code, f"the body is over {MAX_BODY // 1_000_000} MB; send smaller batches")


class _OverLimit(Exception):
    pass


class Edge:
    """ASGI middleware. Answers 413 for a body over 5 MB, whether its length is announced or not."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _given_id(scope) or secrets.token_hex(8)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started = is_over = False
        read = 0

        async def bounded() -> Message:
            nonlocal read, is_over
            message = await receive()
            read += len(message.get("body", b""))
            if read > MAX_BODY:
                is_over = True
                raise _OverLimit
            return message

        async def named(message: Message) -> None:
            nonlocal started
            if is_over and not started:
                return  # FastAPI answers 400 to whatever ends its reading of a body
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        is_bounded = scope["path"] != _UNBOUNDED
        if is_bounded and _announced(scope) > MAX_BODY:
            await _TOO_LARGE(scope, receive, named)
            return
        try:
            await self._app(scope, bounded if is_bounded else receive, named)
        except _OverLimit:
            if started:
                raise
        if is_over and not started:
            is_over = False
            await _TOO_LARGE(scope, receive, named)


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
