"""Sources that have been made, calls as their providers make them, and a reader of the inbox."""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from app import clock
from app.engine.hygiene import SoftPolicy
from app.engine.plan import Plans
from app.esp.shapes import Request
from app.sources import keeping, registry
from app.sources.draining import Reader
from app.sources.registry import Source
from app.store.db import Database
from app.store.vault import Vault

VAULT = Vault(["dGVzdHMgc2VhbCB3aXRoIHRoaXMgYW5kIG5vdGhpbmc="])
T0 = datetime(2026, 5, 15, 12, tzinfo=UTC)
PLENTY = 100_000
SVIX = "whsec_" + base64.b64encode(b"a key of this test alone").decode()


async def source(database: Database, kind: str = "sendgrid", name: str = "mail") -> Source:
    """A new source that verifies nothing."""
    async with database.batch() as db:
        made, _ = await registry.create(db, VAULT, kind, name, verify=False, secret=None, now=clock.now())
    return made


def said(
    event: str, email: str, id_: str | None = None, *, minutes: float = 0, **more: Any
) -> dict[str, Any]:  # Any: JSON
    """One event as SendGrid says it, so many minutes after T0."""
    at = T0 + timedelta(minutes=minutes)
    named = {} if id_ is None else {"sg_event_id": id_}
    return {"event": event, "email": email, "timestamp": int(at.timestamp()), **named, **more}


def request(body: object, received_at: datetime | None = None) -> Request:
    """A call with this body: bytes as they are, anything else as JSON."""
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return Request("https://leads.example.com/v1/webhooks/x", {}, raw, received_at or clock.now())


async def keep(database: Database, to: Source, *bodies: object) -> list[UUID]:
    return [await keeping.keep(database, to, request(body), limit=PLENTY) for body in bodies]


class Visited:
    """Stands in for the network: remembers what is fetched, and may be out of reach."""

    def __init__(self) -> None:
        self.urls: list[str] = []
        self.is_away = False

    async def __call__(self, url: str) -> bytes:
        self.urls.append(url)
        if self.is_away:
            raise ConnectionRefusedError("nobody there")
        return b""


def reader(database: Database, visited: Visited | None = None) -> Reader:
    return Reader(database, Plans(), SoftPolicy(), visited or Visited())


async def read_all(database: Database, visited: Visited | None = None) -> int:
    """Read the inbox until it is empty; returns how many calls."""
    one, total = reader(database, visited), 0
    while step := await one.step():
        total += step
    return total


async def counters(database: Database, of: Source) -> tuple[int, int, int, int]:
    """received, accepted, duplicates, rejected."""
    async with database.hot.acquire() as db:
        row = await db.fetchrow("SELECT received, accepted, duplicates, rejected FROM source WHERE id = $1", of.id)
    assert row is not None
    return tuple(row)


async def rows(database: Database, statement: str, *values: object) -> Sequence[tuple[Any, ...]]:  # Any: of any column
    async with database.hot.acquire() as db:
        return [tuple(row) for row in await db.fetch(statement, *values)]


def svix(body: bytes, secret: str = SVIX, *, id_: str = "msg_1", at: datetime | None = None) -> dict[str, str]:
    """The headers by which Resend signs a body: Standard Webhooks under Svix's names."""
    stamp = str(int((at or clock.now()).timestamp()))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = hmac.new(key, f"{id_}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return {"svix-id": id_, "svix-timestamp": stamp, "svix-signature": f"v1,{base64.b64encode(mac).decode()}"}
