"""A load client that costs little: prepared requests over kept-alive connections, and only the HTTP they need."""

import asyncio
import base64
import time
from collections.abc import Sequence
from dataclasses import dataclass

import orjson


@dataclass(frozen=True)
class Load:
    """What a run of requests took. Latencies in seconds, sorted."""

    requests: int
    seconds: float
    latencies: list[float]

    @property
    def rate(self) -> float:
        return self.requests / self.seconds

    def percentile(self, share: float) -> float:
        return self.latencies[min(int(share * len(self.latencies)), len(self.latencies) - 1)]


def request(path: str, body: object, key: str) -> bytes:
    """A whole POST as it goes over the wire."""
    payload = body if isinstance(body, bytes) else orjson.dumps(body)
    user = base64.b64encode(f"{key}:".encode()).decode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Basic {user}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n"
    )
    return head.encode() + payload


async def send(port: int, requests: Sequence[bytes], connections: int) -> Load:
    """Send all requests over `connections` connections, each with one request under way at a time.

    Raises RuntimeError at the first answer that is not 200.
    """
    waiting = iter(requests)
    latencies: list[float] = []

    async def lane() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            for one in waiting:
                began = time.perf_counter()
                writer.write(one)
                await _answer(reader)
                latencies.append(time.perf_counter() - began)
        finally:
            writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(connections)))
    return Load(len(latencies), time.perf_counter() - began, sorted(latencies))


async def fetch(port: int, one: bytes) -> bytes:
    """The body of a single answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(one)
    body = await _answer(reader)
    writer.close()
    return body


async def _answer(reader: asyncio.StreamReader) -> bytes:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    at = head.index(b"content-length:") + 15
    body = await reader.readexactly(int(head[at : head.index(b"\r", at)]))
    if not head.startswith(b"http/1.1 200"):
        raise RuntimeError(f"{head.splitlines()[0].decode()}: {body[:500].decode(errors='replace')}")
    return body
