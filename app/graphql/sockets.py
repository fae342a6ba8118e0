"""Subscriptions by WebSocket, and queries beside them: the graphql-transport-ws protocol.

By its document (https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md, read 2026-11-22). The key comes in the
payload of `connection_init`, as `{"authorization": "Bearer lt_…"}`, or as a bearer token in the header. It is looked up
again now and then: a socket whose key was revoked is closed.
"""

import asyncio
from contextlib import aclosing
from typing import Any, Protocol

import orjson
from starlette.types import Receive, Scope, Send

from app.errors import NotAllowed, NotAuthenticated, TooBusy, Unavailable
from app.graphql.errors import Refused, refused, report, shown
from app.graphql.live import Bounds, Ended, Subscriber

PROTOCOL = "graphql-transport-ws"
MAX_CHARACTERS = 200_000
"""Of a message."""
_MAX_ID = 200


class Close(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Serving(Protocol):
    """What carries out requests, whatever they came by."""

    @property
    def bounds(self) -> Bounds: ...

    async def enter(self, scope: Scope, authorization: str) -> object:
        """By an `Authorization` that came with or after the scope; what to count a key's subscriptions by.

        Raises NotAuthenticated, NotAllowed, Unavailable.
        """

    async def open(self, asked: Any, key: object) -> Subscriber | bytes:  # Any: JSON, or what it has made of that
        """A subscription, or the body of an answer to anything else. Raises Refused."""


class Socket:
    """One client's connection, as an ASGI scope `websocket`."""

    def __init__(self, serving: Serving, scope: Scope, receive: Receive, send: Send) -> None:
        self._serving = serving
        self._bounds = serving.bounds
        self._scope = scope
        self._receive = receive
        self._send = send
        self._authorization = _bearer(scope)
        self._key: object = None
        self._is_known = False
        self._operations: dict[str, asyncio.Task[None]] = {}

    async def serve(self) -> None:
        """Until it is closed, by either side."""
        await self._receive()
        subprotocols = self._scope.get("subprotocols", ())
        await self._send({"type": "websocket.accept", "subprotocol": PROTOCOL if PROTOCOL in subprotocols else None})
        if PROTOCOL not in subprotocols:
            await self._close(Close(4406, "Subprotocol not acceptable"))
            return
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._watch_key())
                tasks.create_task(self._listen(tasks))
        except* Close as group:
            await self._close(_first(group))
        except* (TimeoutError, OSError):
            pass  # it takes nothing, or is gone

    async def _listen(self, tasks: asyncio.TaskGroup) -> None:
        """Raises Close."""
        while True:
            try:
                async with asyncio.timeout(None if self._is_known else self._bounds.init_s):
                    event = await self._receive()
            except TimeoutError:
                raise Close(4408, "Connection initialisation timeout") from None
            if event["type"] == "websocket.disconnect":
                raise ConnectionError
            await self._heard(_message(event), tasks)

    async def _heard(self, said: dict[str, Any], tasks: asyncio.TaskGroup) -> None:  # Any: JSON
        match said:
            case {"type": "connection_init"}:
                await self._init(said.get("payload"))
            case {"type": "ping"}:
                await self._say({"type": "pong"})
            case {"type": "pong"}:
                pass
            case {"type": "subscribe", "id": str(name), "payload": dict(payload)} if 0 < len(name) <= _MAX_ID:
                if not self._is_known:
                    raise Close(4401, "Unauthorized")
                if name in self._operations:
                    raise Close(4409, f"Subscriber for {name} already exists"[:120])
                self._operations[name] = tasks.create_task(self._operate(name, payload))
            case {"type": "complete", "id": str(name)}:
                if (task := self._operations.pop(name, None)) is not None:
                    task.cancel()
            case _:
                raise Close(4400, "Invalid message")

    async def _init(self, payload: object) -> None:
        if self._is_known:
            raise Close(4429, "Too many initialisation requests")
        if payload is not None and not isinstance(payload, dict):
            raise Close(4400, "Invalid message")
        for name, value in (payload or {}).items():
            if name.lower() == "authorization" and isinstance(value, str):
                self._authorization = value
        await self._enter()
        self._is_known = True
        await self._say({"type": "connection_ack"})

    async def _enter(self) -> None:
        try:
            self._key = await self._serving.enter(self._scope, self._authorization)
        except (NotAuthenticated, NotAllowed) as fault:
            raise Close(4403, f"Forbidden: {fault}"[:120]) from None
        except Unavailable as fault:
            if not self._is_known:
                raise Close(1013, str(fault)) from None

    async def _watch_key(self) -> None:
        while True:
            await asyncio.sleep(self._bounds.key_s)
            if self._is_known:
                await self._enter()

    async def _operate(self, name: str, payload: dict[str, Any]) -> None:  # Any: JSON
        try:
            if len(self._operations) > self._bounds.operations:
                raise refused(f"a socket has at most {self._bounds.operations} operations at a time", TooBusy.code)
            opened = await self._serving.open(payload, self._key)
            if isinstance(opened, bytes):
                await self._next(name, opened)
            else:
                await self._follow(name, opened)
        except Refused as fault:
            await self._end(name, {"type": "error", "payload": [shown(one) for one in fault.errors]})
        except Ended as fault:
            if fault.error is not None:
                report([fault.error])
                await self._end(name, {"type": "error", "payload": [shown(fault.error)]})
        else:
            await self._end(name, {"type": "complete"})

    async def _follow(self, name: str, subscriber: Subscriber) -> None:
        try:
            async with aclosing(subscriber.told()) as told:
                async for one in told:
                    await self._next(name, one.payload)
        finally:
            subscriber.leave()

    async def _next(self, name: str, payload: bytes) -> None:
        await self._say({"id": name, "type": "next", "payload": orjson.Fragment(payload)})

    async def _end(self, name: str, said: dict[str, Any]) -> None:  # Any: JSON
        # Forgotten first: once it is told, the client may use the id again.
        self._operations.pop(name, None)
        await self._say({"id": name, **said})

    async def _say(self, said: dict[str, Any]) -> None:  # Any: JSON
        async with asyncio.timeout(self._bounds.send_s):
            await self._send({"type": "websocket.send", "text": orjson.dumps(said).decode()})

    async def _close(self, fault: Close) -> None:
        try:
            async with asyncio.timeout(self._bounds.send_s):
                await self._send({"type": "websocket.close", "code": fault.code, "reason": fault.reason})
        except (TimeoutError, OSError):
            pass


def _message(event: Any) -> dict[str, Any]:  # Any: of ASGI; JSON
    """Raises Close."""
    text = event.get("text")
    if text is None or len(text) > MAX_CHARACTERS:
        raise Close(4400, "Messages are text, of at most 200,000 characters")
    try:
        said = orjson.loads(text)
    except orjson.JSONDecodeError:
        said = None
    if not isinstance(said, dict):
        raise Close(4400, "Messages are JSON objects")
    return said


def _bearer(scope: Scope) -> str:
    """What the header says, if no browser can have said it by itself for another site's page."""
    for name, value in scope["headers"]:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return str(value.decode("latin-1"))
    return ""


def _first(group: BaseExceptionGroup[Close]) -> Close:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, Close)
    return found
