"""Bounce mail: raw messages into events about the people whose addresses came back."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from app.engine import ingest, properties
from app.engine.hygiene import BOUNCED
from app.engine.identity import EMAIL, Ref, normal_email
from app.engine.ingest import NewEvent
from app.esp import bounce_mail, shapes
from app.esp.bounce_mail import Bounced
from app.store.db import Database

SOURCE = "bounce-mail"
Store = Callable[[Sequence[NewEvent]], Awaitable[object]]

_TYPES = {
    "hard": shapes.BOUNCED,
    "soft": shapes.BOUNCED,
    "blocked": shapes.BLOCKED,
    "deferred": shapes.DEFERRED,
    "auto_reply": shapes.AUTO_REPLIED,
    "complaint": shapes.COMPLAINED,
    "unsubscribe": shapes.UNSUBSCRIBED,
    "delivered": shapes.DELIVERED,
}
"""By class. What says nothing of an address is stored nowhere."""


class Read(NamedTuple):
    """What a message says of an address, and the event that it makes; None if it makes none."""

    said: Bounced
    event: NewEvent | None
    is_known: bool = False
    """Whether the address is somebody's; of strangers nothing is stored."""


@dataclass
class Tally:
    """What came of many messages."""

    messages: int = 0
    known: int = 0
    """What was said of addresses that somebody has, in words that an event has."""
    strangers: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    """Addresses, by class."""

    def add(self, messages: int, found: Iterable[Read]) -> None:
        """What was found in so many messages."""
        self.messages += messages
        for one in found:
            self.classes[one.said.class_] += 1
            self.known += one.is_known
            self.strangers += one.event is not None and not one.is_known


async def take(database: Database, store: Store, messages: Sequence[bytes], now: datetime) -> list[Read]:
    """Read the messages and store what they say of known addresses. The same message again changes nothing."""
    # Reading takes milliseconds a message: elsewhere than where requests are answered.
    found = await asyncio.to_thread(lambda: [one for raw in messages for one in _read(raw, now)])
    addresses = {one.event.ref.email for one in found if one.event is not None}
    async with database.hot.acquire() as db:
        rows = await db.fetch(
            "SELECT value FROM identity WHERE kind = $1 AND value = ANY($2)", EMAIL, sorted(filter(None, addresses))
        )
    known = {row["value"] for row in rows}
    found = [one._replace(is_known=one.event is not None and one.event.ref.email in known) for one in found]
    events = {one.event.id: one.event for one in found if one.event is not None and one.is_known}
    if events:
        await store(list(events.values()))
    return found


def _read(raw: bytes, now: datetime) -> list[Read]:
    # The same message from a maildir, an mbox and a wire may differ in its line ends.
    digest = hashlib.sha256(raw.replace(b"\r\n", b"\n").strip()).hexdigest()
    return [Read(one, _event(one, digest, now)) for one in bounce_mail.read(raw)]


def _event(said: Bounced, digest: str, now: datetime) -> NewEvent | None:
    type_ = _TYPES.get(said.class_)
    if type_ is None:
        return None
    try:
        ref = Ref(email=normal_email(said.recipient))
    except ValueError:
        return None
    told: dict[str, Any] = {name: getattr(said, name) for name in ("status", "reason", "diagnostic", "message_id")}
    bounce = said.class_ if type_ == BOUNCED else None
    told = {name: value for name, value in {**told, "bounce": bounce}.items() if value}
    client_id = f"{digest}:{ref.email}"[:200]
    at = now if said.occurred_at is None else min(said.occurred_at, now)
    id_ = ingest.event_id(SOURCE, client_id, at, ref, type_, told)
    return NewEvent(id_, ref, type_, SOURCE, client_id, at, properties.to_text(told), bounce)
