"""The Idempotency-Key header: a call that is sent twice is done once, and answered twice with the same.

For every POST and PATCH below /v1 but uploads of files, which may be sent again as they are. The key is a string, in
quotes or bare; it belongs to its caller, and is kept for a day. An answer that asks to try again is not kept.
"""

import hashlib
import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import clock
from app.api.problems import answer_to, problem
from app.errors import AppError
from app.store import idempotency
from app.store.idempotency import Answer, Call

HEADER = "idempotency-key"
_KEY = re.compile(r'"[\x21\x23-\x5b\x5d-\x7e]{1,200}"|[\x21\x23-\x5b\x5d-\x7e]{1,200}')
_METHODS = {"POST", "PATCH"}
_NOT_KEPT = {401, 403, 408, 413, 429}
_SHOWN = ("content-type", "location")
_BAD = problem(400, "malformed_header", "Idempotency-Key: expected 1 to 200 printable characters without spaces")


class Idempotent:
    """ASGI middleware, inside of `Edge`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = Headers(scope=scope).get(HEADER) if _is_meant(scope) else None
        if given is None:
            await self._app(scope, receive, send)
        elif _KEY.fullmatch(given.strip()) is None:
            await _BAD(scope, receive, send)
        else:
            await self._once(given.strip().strip('"'), scope, receive, send)

    async def _once(self, key: str, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _whole(receive)
        call = Call(_caller(scope), key, _fingerprint(scope, body))
        database = scope["app"].state.services.database
        began = clock.now()
        try:
            known = await idempotency.begin(database, call, began)
        except AppError as fault:
            await answer_to(fault)(scope, receive, send)
            return
        if known is not None:
            await _send(known, send)
            return
        scope["idempotency"] = call
        kept = _Kept(send)
        try:
            async with idempotency.noting(call, began):
                await self._app(scope, _replay(body, receive), kept.send)
        finally:
            # Also when the client has gone, or the process is told to: what was not answered may be asked again.
            if kept.is_whole and kept.status < 500 and kept.status not in _NOT_KEPT:
                await idempotency.finish(database, call, began, kept.answer())
            else:
                await idempotency.abandon(database, call, began)


def event_name(scope: Scope, place: int) -> str | None:
    """What an event at this place of the request is known by, if the request has a key and the event has no id."""
    call: Call | None = scope.get("idempotency")
    return None if call is None else f"{call.caller.hex()}\0{call.key}\0{place}"


class _Kept:
    """An answer on its way out."""

    def __init__(self, send: Send) -> None:
        self.status = 0
        self.is_whole = False
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._send = send

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = Headers(raw=message["headers"])
            self._headers = {name: headers[name] for name in _SHOWN if name in headers}
        elif message["type"] == "http.response.body":
            self._body += message.get("body", b"")
            self.is_whole = not message.get("more_body", False)
        await self._send(message)

    def answer(self) -> Answer:
        return Answer(self.status, self._headers, bytes(self._body))


def _is_meant(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] not in _METHODS:
        return False
    path: str = scope["path"]
    return path.startswith("/v1/") and not path.endswith("/import")


async def _whole(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    is_given = False

    async def again() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _caller(scope: Scope) -> bytes:
    return hashlib.sha256(Headers(scope=scope).get("authorization", "").encode(errors="replace")).digest()


def _fingerprint(scope: Scope, body: bytes) -> bytes:
    asked = (scope["method"].encode(), scope["raw_path"], scope["query_string"], body)
    return hashlib.sha256(b"\0".join(asked)).digest()


async def _send(answer: Answer, send: Send) -> None:
    headers = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
    headers.append((b"content-length", str(len(answer.body)).encode()))
    headers.append((b"idempotency-replayed", b"true"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
