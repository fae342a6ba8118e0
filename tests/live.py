"""The app behind a real port, in this process, with a worker, on the shared test database."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic

import uvicorn

from app.store.db import Database, plain_url
from tests.api.client import Api, Json
from tests.api.conftest import calling, running
from tests.processes import free_port

PATIENCE_S = 20.0


@dataclass
class Live:
    """`api` calls it in process, with an admin key; anybody else at `url`."""

    api: Api
    url: str

    async def source(self, kind: str) -> str:
        """A new source's write key; the source is named for its kind."""
        made = await self.api.post("/v1/sources", {"kind": kind, "name": kind}, 201)
        return str(made["write_key"])

    async def events(self, are_there: Callable[[list[Json]], bool]) -> list[Json]:
        """All events in the order in which they happened, once the worker has read so many that they are enough."""
        began = monotonic()
        while True:
            found = list(reversed((await self.api.get("/v1/events", limit=1_000))["items"]))
            if are_there(found):
                return found
            assert monotonic() < began + PATIENCE_S, found
            await asyncio.sleep(0.02)


@asynccontextmanager
async def live(database: Database) -> AsyncIterator[Live]:
    async with running(plain_url(database.url), with_worker=True) as app, calling(app, database) as api:
        port = free_port()
        server = uvicorn.Server(uvicorn.Config(app, port=port, lifespan="off", ws="none", log_config=None))
        task = asyncio.create_task(server.serve())
        try:
            await _answers(port)
            yield Live(api, f"http://127.0.0.1:{port}")
        finally:
            server.should_exit = True
            await task


async def _answers(port: int) -> None:
    began = monotonic()
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            assert monotonic() < began + PATIENCE_S
            await asyncio.sleep(0.01)
        else:
            writer.close()
            return
