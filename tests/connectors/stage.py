"""Where a stand-in is served: counts the calls that reach it, breaks the line, and takes the notices that it sends."""

import asyncio
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.connectors.shapes import Call

HOOK = "/_hook"
RETRY_AFTER_S = 30
_OURS = ("/_sandbox", HOOK)
_PAGE = b"<html><head><title>Gateway</title></head><body>Error</body></html>"


class Line(StrEnum):
    """What becomes of calls on their way."""

    HTML_502 = "a gateway answers in place of the CRM"
    LOST_REPLY = "the work is done, and a gateway answers"
    TORN = "the work is done, and the connection breaks in the middle of the answer"
    SILENT = "the work is done, and the answer comes too late"
    NOT_JSON = "the work is done, and a page of somebody else comes back as a success"
    NONSENSE = "the work is done, and the answer is JSON of another shape"
    EMPTY = "the work is done, and the answer holds nothing"
    SHUT_OUT = "a gateway shuts us out"
    NO_SUCH_PAGE = "a gateway knows no such page"
    BUSY = "the CRM asks for silence"


IN_PLACE = {Line.HTML_502: 502, Line.SHUT_OUT: 403, Line.NO_SUCH_PAGE: 404}
"""Who answers in place of the CRM, and with what."""


class Received(NamedTuple):
    """A call of the stand-in's to us."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    def call(self, base: str) -> Call:
        """As a connector is given it; `base` is where the stage is."""
        return Call(base + self.path, self.headers, self.body)


class Stage:
    """An ASGI app in front of the stand-in of the moment."""

    def __init__(self) -> None:
        self.url = ""
        self.slow_s = 0.0
        """How late an answer is that comes too late."""
        self.curtain()

    def curtain(self, app: ASGIApp | None = None) -> None:
        """Make way for another stand-in."""
        self._app = app
        self.calls: list[str] = []
        """`GET /path`, in the order in which they came."""
        self.line: Line | None = None
        self.lines: Callable[[], Line | None] = lambda: self.line
        """What becomes of the next call; of all, `line`."""
        self.strikes: Callable[[str], bool] = lambda call: "oauth" not in call
        """Which calls the broken line is for: all but signing in."""
        self.query: Callable[[str, str], str] = lambda _path, query: query
        """What becomes of a query, by path: a CRM may give smaller pages than it was asked for."""
        self.received: list[Received] = []
        self.answer: Callable[[Received], tuple[bytes, str]] = lambda _: (b"", "text/plain")
        """What a notice is answered: a body and its media type."""

    @property
    def sign_ins(self) -> int:
        return sum(call.startswith("POST ") and call.endswith("/token") for call in self.calls)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self._app is not None
        path: str = scope["path"]
        if path.startswith(HOOK):
            await self._take(scope, receive, send)
            return
        if path.startswith(_OURS):
            await self._app(scope, receive, send)
            return
        call = f"{scope['method']} {path}"
        self.calls.append(call)
        scope = {**scope, "query_string": self.query(path, scope["query_string"].decode()).encode()}
        line = self.lines() if self.strikes(call) else None
        if line is None:
            await self._app(scope, receive, send)
        else:
            await self._break(line, scope, receive, send)

    async def _break(self, line: Line, scope: Scope, receive: Receive, send: Send) -> None:
        assert self._app is not None
        if line is Line.BUSY:
            await _answer(send, 429, b"{}", ("retry-after", str(RETRY_AFTER_S)))
            return
        if line in IN_PLACE:
            await _answer(send, IN_PLACE[line], _PAGE, ("content-type", "text/html"))
            return
        said: list[Message] = []

        async def keep(message: Message) -> None:
            said.append(message)

        await self._app(scope, receive, keep)
        body = b"".join(one.get("body", b"") for one in said)
        match line:
            case Line.LOST_REPLY:
                await _answer(send, 502, _PAGE, ("content-type", "text/html"))
            case Line.NOT_JSON:
                await _answer(send, 200, _PAGE, ("content-type", "text/html"))
            case Line.NONSENSE:
                await _answer(send, 200, b'{"unexpected": [{}]}', ("content-type", "application/json"))
            case Line.EMPTY:
                await _answer(send, 200, b"", ("content-type", "application/json"))
            case Line.SILENT:
                await asyncio.sleep(self.slow_s)
                for message in said:
                    await send(message)
            case _:
                headers = [(b"content-length", str(len(body) + 10).encode())]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                # The app ends before its answer does: the server closes the connection.
                await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})

    async def _take(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        received = Received(scope["path"], headers, body)
        self.received.append(received)
        reply, media_type = self.answer(received)
        await _answer(send, 200, reply, ("content-type", media_type))


async def _answer(send: Send, status: int, body: bytes, *headers: tuple[str, str]) -> None:
    raw: list[Any] = [(name.encode(), value.encode()) for name, value in headers]  # Any: as ASGI has them
    raw.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
