"""A server of subscriptions at a real port in this process, and clients that listen to it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Self

import httpx
import orjson
from fastapi import FastAPI, Request
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from app.api.problems import answer_to, problem
from app.engine.plan import Plans
from app.errors import NotAllowed, NotAuthenticated
from app.graphql import serving
from app.graphql.live import Bounds
from app.server import Server
from app.store.db import Database
from tests.processes import free_port

Json = Any  # Any: whatever JSON can say
PATIENCE_S = 10.0
PROTOCOL = Subprotocol("graphql-transport-ws")
GOOD = {"authorization": "Bearer good"}


@dataclass
class Listened:
    """A server. `keys` are those that are good; taking one away revokes it."""

    port: int
    endpoint: serving.Endpoint
    server: Server
    keys: set[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/graphql"

    @asynccontextmanager
    async def socket(self, payload: Json = GOOD, **options: Any) -> AsyncIterator["Client"]:
        """A client that was let in."""
        # It takes whatever comes, unless told otherwise: else it would not hear a farewell behind what is unread.
        options = {"max_queue": None, **options}
        async with connect(self.url.replace("http", "ws", 1), subprotocols=[PROTOCOL], **options) as made:
            client = Client(self, made)
            await client.say("connection_init", payload=payload)
            assert {"type": "connection_ack"} == await client.hear()
            yield client

    @asynccontextmanager
    async def events(self, query: str, last: str | None = None, **variables: Json) -> AsyncIterator["Events"]:
        """A stream of server-sent events that has begun."""
        headers = {**GOOD, "accept": "text/event-stream", **({} if last is None else {"last-event-id": last})}
        body = {"query": query, "variables": variables}
        async with (
            httpx.AsyncClient(timeout=PATIENCE_S) as client,
            client.stream("POST", self.url, json=body, headers=headers) as reply,
        ):
            assert 200 == reply.status_code, await reply.aread()
            assert "text/event-stream; charset=utf-8" == reply.headers["content-type"]
            lines = reply.aiter_lines()
            assert ":" == await anext(lines)
            yield Events(lines)


@asynccontextmanager
async def listened(
    database: Database, plans: Plans, bounds: Bounds | None = None, **options: Any
) -> AsyncIterator[Listened]:
    keys = {"good", "other"}

    async def authenticate(request: Request) -> object:
        said = request.headers.get("authorization", "").removeprefix("Bearer ")
        if said == "weak":
            raise NotAllowed("this needs a key with the scope 'read'")
        if said not in keys:
            raise NotAuthenticated("this API key is unknown or was revoked")
        return SimpleNamespace(id=said)

    app = FastAPI()
    endpoint = serving.Endpoint(database, plans, authenticate, answer_to, problem, bounds=bounds, **options)
    app.add_middleware(serving.Mounted, path="/graphql", endpoint=endpoint)
    app.state.hang_up = endpoint.live.hang_up
    port = free_port()
    server = Server(app, host="127.0.0.1", port=port, lifespan="off")
    task = asyncio.create_task(server.serve())
    try:
        await eventually(lambda: server.started)
        yield Listened(port, endpoint, server, keys)
    finally:
        server.should_exit = True
        await task
        await endpoint.live.close()


async def eventually(is_so: Callable[[], bool] | Callable[[], Awaitable[bool]]) -> None:
    """Waits until it is."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = is_so()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.01)


@dataclass
class Client:
    """One end of a socket, which speaks JSON."""

    at: Listened
    raw: ClientConnection
    _heard: dict[str, list[Json]] = field(default_factory=dict)

    async def say(self, kind: str, **said: Json) -> None:
        await self.raw.send(orjson.dumps({"type": kind, **said}).decode())

    async def hear(self) -> Json:
        async with asyncio.timeout(PATIENCE_S):
            return orjson.loads(await self.raw.recv())

    async def subscribe(self, query: str, name: str = "1", **variables: Json) -> Self:
        """Returns when the server has begun to follow for it, or has said something."""
        live = self.at.endpoint.live
        following = live.following
        await self.say("subscribe", id=name, payload={"query": query, "variables": variables})
        while live.following == following and not self._heard.get(name):
            with suppress(TimeoutError):
                async with asyncio.timeout(0.005):
                    said = orjson.loads(await self.raw.recv())
                    self._heard.setdefault(said["id"], []).append(said)
        return self

    async def next(self, name: str = "1") -> Json:
        """The data of the next answer to a subscription."""
        said = await self.message(name)
        assert "next" == said["type"], said
        assert "errors" not in said["payload"], said
        [data] = said["payload"]["data"].values()
        return data

    async def message(self, name: str = "1") -> Json:
        waiting = self._heard.setdefault(name, [])
        while not waiting:
            said = await self.hear()
            self._heard.setdefault(said["id"], []).append(said)
        return waiting.pop(0)

    async def is_silent(self, for_s: float = 0.4) -> bool:
        try:
            async with asyncio.timeout(for_s):
                return not await self.message()
        except TimeoutError:
            return True


@dataclass
class Event:
    event: str
    data: Json
    id: str | None


@dataclass
class Events:
    lines: AsyncIterator[str]

    async def event(self) -> Event:
        found: dict[str, str] = {}
        async with asyncio.timeout(PATIENCE_S):
            async for line in self.lines:
                if not line and found:
                    data = found["data"]
                    return Event(found["event"], orjson.loads(data) if data else None, found.get("id"))
                if line and not line.startswith(":"):
                    name, _, value = line.partition(":")
                    found[name] = value.removeprefix(" ")
        raise ConnectionError

    async def next(self) -> Json:
        found = await self.event()
        assert "next" == found.event
        [data] = found.data["data"].values()
        return data


def deaf(port: int) -> socket.socket:
    """A TCP connection whose other side may send 4 kB until somebody reads."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    made.connect(("127.0.0.1", port))
    made.setblocking(False)
    return made
