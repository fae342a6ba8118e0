"""A server that webhooks are told to, and waiting for what they do."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson

PATIENCE_S = 10.0


@dataclass
class Receiver:
    """Answers each delivery with the next of `statuses`, then 200."""

    url: str
    statuses: list[int] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    heads: list[httpx.Headers] = field(default_factory=list)

    @property
    def got(self) -> list[Any]:  # Any: JSON
        """The body of each delivery."""
        return [orjson.loads(body) for body in self.bodies]

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:-2]
        head = httpx.Headers([(name, value) for name, _, value in (line.partition(": ") for line in lines)])
        body = await reader.readexactly(int(head["content-length"]))
        self.heads.append(head)
        self.bodies.append(body)
        status = self.statuses.pop(0) if self.statuses else 200
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        writer.close()


@asynccontextmanager
async def receiving(path: str = "/hook") -> AsyncIterator[Receiver]:
    made = Receiver("")
    server = await asyncio.start_server(made.answer, "127.0.0.1", 0)
    async with server:
        made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{path}"
        yield made


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.005)
