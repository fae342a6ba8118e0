"""Subscriptions by server-sent events, and queries that ask for them: GraphQL over SSE, its distinct connections mode.

By its document (https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md, read 2026-11-22). Each `next` has the
cursor of its change as the event's id, so that a client that comes again with `Last-Event-ID` misses nothing. Comments
keep the connection alive.
"""

import asyncio
from contextlib import aclosing, suppress
from typing import Any

import orjson
from graphql import GraphQLError
from starlette.types import Receive, Scope, Send

from app.errors import NotAllowed, NotAuthenticated, Unavailable
from app.graphql.errors import Refused, report, shown
from app.graphql.live import Ended, Subscriber
from app.graphql.sockets import Serving

_COMPLETE = b"event: complete\ndata:\n\n"
_ALIVE = b":\n\n"
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"vary", b"accept"),
    (b"x-accel-buffering", b"no"),  # nginx would else collect what is to be told
]


def resuming(scope: Scope) -> str | None:
    """The cursor with which a client comes again."""
    for name, value in scope["headers"]:
        if name == b"last-event-id" and value:
            return str(value.decode("latin-1"))
    return None


class Stream:
    """The answer to one request, whose body has been read."""

    def __init__(self, serving: Serving, scope: Scope, receive: Receive, send: Send) -> None:
        self._serving = serving
        self._bounds = serving.bounds
        self._scope = scope
        self._receive = receive
        self._send = send
        self._authorization = next(
            (value.decode("latin-1") for name, value in scope["headers"] if name == b"authorization"), ""
        )

    async def serve(self, asked: Any, key: object) -> None:  # Any: what `serving` has made of the request
        """Until it is complete, or the client has gone."""
        opened: Subscriber | bytes | list[GraphQLError]
        try:
            opened = await self._serving.open(asked, key)
        except Refused as fault:
            opened = list(fault.errors)
        await self._send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        if isinstance(opened, Subscriber):
            try:
                await self._follow(opened)
            finally:
                opened.leave()
        else:
            payload = opened if isinstance(opened, bytes) else _failure(*opened)
            await self._write(_event(payload, None) + _COMPLETE, ends=True)

    async def _follow(self, subscriber: Subscriber) -> None:
        """Telling and listening end each other."""
        telling, leaving = asyncio.create_task(self._tell(subscriber)), asyncio.create_task(self._gone())
        try:
            await asyncio.wait((telling, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (telling, leaving):
                task.cancel()
            for task in (telling, leaving):
                with suppress(asyncio.CancelledError, TimeoutError, OSError):
                    await task

    async def _gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _tell(self, subscriber: Subscriber) -> None:
        await self._write(_ALIVE)  # a client waits for the first bytes to know that it is heard
        clock = asyncio.get_running_loop().time
        checked = clock()
        async with aclosing(subscriber.told()) as told:
            coming: asyncio.Task[Any] | None = None  # Any: what is told
            try:
                while True:
                    coming = coming or asyncio.ensure_future(anext(told))
                    await asyncio.wait((coming,), timeout=min(self._bounds.alive_s, self._bounds.key_s))
                    if clock() > checked + self._bounds.key_s:
                        checked = clock()
                        await self._check()
                    if not coming.done():
                        await self._write(_ALIVE)
                        continue
                    one, coming = coming.result(), None
                    await self._write(_event(one.payload, one.cursor))
            except StopAsyncIteration:
                await self._write(_COMPLETE, ends=True)
            except Ended as fault:
                # Without an error it is not complete: the client is to come again.
                final = b"" if fault.error is None else _event(_failure(fault.error), subscriber.cursor) + _COMPLETE
                await self._write(final, ends=True)
            finally:
                if coming is not None:
                    coming.cancel()
                    with suppress(asyncio.CancelledError, StopAsyncIteration, Ended):
                        await coming

    async def _check(self) -> None:
        """Raises Ended for a key that is good no more."""
        try:
            await self._serving.enter(self._scope, self._authorization)
        except (NotAuthenticated, NotAllowed) as fault:
            raise Ended(GraphQLError(str(fault), original_error=fault)) from None
        except Unavailable:
            pass

    async def _write(self, chunk: bytes, *, ends: bool = False) -> None:
        async with asyncio.timeout(self._bounds.send_s):
            await self._send({"type": "http.response.body", "body": chunk, "more_body": not ends})


def _event(payload: bytes, cursor: str | None) -> bytes:
    """JSON has no line breaks but escaped ones."""
    place = b"" if cursor is None else b"id: %b\n" % cursor.encode()
    return b"event: next\n%bdata: %b\n\n" % (place, payload)


def _failure(*errors: GraphQLError) -> bytes:
    report(errors)
    return orjson.dumps({"errors": [shown(one) for one in errors]})
