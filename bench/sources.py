"""Webhooks and SDK batches at once: how fast they are taken, and how fast what they say is stored and scored."""

import asyncio
import base64
import random
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import orjson
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from rich.console import Console

from app import clock
from app.store.db import Database
from bench import client
from bench.tables import table

_REQUESTS = 4_000
_CONNECTIONS = 32
_SENDGRID, _SEGMENT = 10, 25
"""Events of one call."""
_EVENTS = ["delivered", "open", "open", "click"]


async def mixed(database: Database, port: int, key: str, people: int, console: Console) -> None:
    """Of ten calls six are SendGrid's, signed, with 10 events; two Postmark's with one; two Segment's with 25."""
    signer = ec.generate_private_key(ec.SECP256R1())
    public = signer.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {key}"}
    ) as api:
        wanted: list[dict[str, Any]] = [
            {"kind": "sendgrid", "name": "SendGrid", "secret": base64.b64encode(public).decode()},
            {"kind": "postmark", "name": "Postmark"},
            {"kind": "segment", "name": "Site"},
        ]
        made = [(await api.post("/v1/sources", json=one)).raise_for_status().json() for one in wanted]
    paths = [f"/v1/webhooks/{one['id']}" for one in made[:2]]
    rows = []
    for _ in range(3):
        calls, events = [], 0
        dice = random.Random(clock.now().timestamp())
        for number in range(_REQUESTS):
            kind = number % 10
            if kind < 6:
                body = orjson.dumps([_sendgrid(dice, people) for _ in range(_SENDGRID)])
                calls.append(_signed(paths[0], body, signer))
                events += _SENDGRID
            elif kind < 8:
                calls.append(client.request(paths[1], _postmark(dice, people), ""))
                events += 1
            else:
                batch = {"batch": [_track(dice, people) for _ in range(_SEGMENT)]}
                calls.append(client.request("/v1/batch", batch, made[2]["write_key"]))
                events += _SEGMENT
        bare = [b"POST /bench/parse HTTP" + one.partition(b" HTTP")[2] for one in calls]
        floor = await client.send(port, bare, _CONNECTIONS)
        before, _ = await _done(database)
        began = time.perf_counter()
        load = await client.send(port, calls, _CONNECTIONS)
        while (found := await _done(database))[0] < before + events:
            assert not found[1], "some of them could not be read"
            await asyncio.sleep(0.05)
        took = time.perf_counter() - began
        p50, p99 = (load.percentile(share) * 1_000 for share in (0.5, 0.99))
        rows.append((load.rate, floor.rate, load.rate / floor.rate, p50, p99, events / took))
    table(
        console,
        f"{_REQUESTS:,} webhooks and SDK batches over {_CONNECTIONS} connections; floor: an endpoint of the same app "
        "that only parses the same bodies",
        ("requests/s", "floor requests/s", "ratio", "p50 ms", "p99 ms", "events stored and scored/s"),
        *(tuple(f"{value:,.{digits}f}" for value, digits in zip(row, (0, 0, 2, 0, 0, 0), strict=True)) for row in rows),
    )


def _address(dice: random.Random, people: int) -> str:
    return f"p{dice.randrange(people)}@example.com"


def _at(dice: random.Random) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=dice.randrange(86_400 * 30))  # noqa: TID251 - a provider's clock


def _sendgrid(dice: random.Random, people: int) -> dict[str, Any]:
    return {
        "email": _address(dice, people),
        "timestamp": int(_at(dice).timestamp()),
        "event": dice.choice(_EVENTS),
        "sg_event_id": uuid4().hex,
        "sg_message_id": f"{uuid4().hex}.filter",
        "url": "https://example.com/pricing",
        "useragent": "Mozilla/5.0 (X11; Linux x86_64) Chrome/126.0 Safari/537.36",
        "category": ["spring"],
    }


def _postmark(dice: random.Random, people: int) -> dict[str, Any]:
    at = _at(dice).isoformat()
    said = {"RecordType": "Delivery", "MessageID": uuid4().hex, "DeliveredAt": at, "Tag": "spring"}
    return {**said, "Recipient": _address(dice, people)}


def _track(dice: random.Random, people: int) -> dict[str, Any]:
    page = {"path": "/pricing", "url": "https://example.com/pricing"}
    said = {"type": "page", "messageId": uuid4().hex, "anonymousId": f"a{dice.randrange(people)}", "properties": page}
    return {**said, "timestamp": _at(dice).isoformat()}


def _signed(path: str, body: bytes, signer: ec.EllipticCurvePrivateKey) -> bytes:
    at = str(int(time.time())).encode()
    signature = base64.b64encode(signer.sign(at + body, ec.ECDSA(hashes.SHA256()))).decode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        f"X-Twilio-Email-Event-Webhook-Signature: {signature}\r\n"
        f"X-Twilio-Email-Event-Webhook-Timestamp: {at.decode()}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _done(database: Database) -> tuple[int, int]:
    """How many events are stored, or were before; and how many could not be read."""
    async with database.hot.acquire() as db:
        row = await db.fetchrow("SELECT sum(accepted + duplicates)::int, sum(rejected)::int FROM source")
    return (row[0] or 0, row[1] or 0) if row else (0, 0)
