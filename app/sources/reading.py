"""From what a kind of source gives back for a raw call to events that can be stored. Pure.

The same call gives the same events with the same ids whenever it is read, so that reading it again changes nothing.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from app.engine import ingest, properties
from app.engine.conditions import is_clean
from app.engine.hygiene import BOUNCED
from app.engine.identity import Ref, normal_email
from app.engine.ingest import NewEvent
from app.errors import Fault
from app.esp.shapes import Notice, Provider, Request, Unread, Visit
from app.sources.shapes import Item, Read, Reading

MOST_FAULTS = 50
"""Faults that are kept of one call; all are counted."""
_TYPE = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+")
_LONGEST_TYPE = 100
_LONGEST_NAME = 200
_AHEAD = timedelta(minutes=5)
"""What another system's clock may be ahead of ours."""
_TELLING = ("message_id", "url", "campaign", "list", "tag", "traits", "old_email", "new_email")
"""What tells apart two things that a provider says without an id, of one person, type and time. Nothing else does:
with what only says more (a text, a location) in it, each mending of a parser would make new events of old ones."""

_log = structlog.get_logger()


@dataclass
class Found:
    """What one call says: events with distinct ids, how many it named, and what could not be read."""

    events: dict[UUID, NewEvent] = field(default_factory=dict)
    pointers: dict[UUID, str] = field(default_factory=dict)
    named: int = 0
    """Readable events, those that say the same again among them."""
    faults: list[Fault] = field(default_factory=list)
    visits: list[Visit] = field(default_factory=list)


def notices(provider: Provider) -> Read:
    """An e-mail provider's reader, in the words of `shapes.py`."""

    def read(request: Request) -> list[Reading]:
        return [_item(said) if isinstance(said, Notice) else said for said in provider.read(request)]

    return read


def _item(said: Notice) -> Item:
    id_ = said.id
    if id_ is None and said.occurred_at is not None:
        telling = [said.properties.get(name) for name in _TELLING]
        person = said.user_id if said.email is None else said.email.lower()
        content = json.dumps([said.type, person, said.occurred_at.timestamp(), telling], sort_keys=True)
        id_ = hashlib.sha256(content.encode()).hexdigest()
    return Item(said.type, id_, said.occurred_at, said.properties, said.email, said.user_id)


def found(read: Read, name: str, request: Request) -> Found:
    """What a call to the source of this name says. Never raises: whatever is wrong becomes a fault."""
    out = Found()
    try:
        said = read(request)
    except Exception as fault:  # a reader's bug: the call is kept, and read again once it is mended
        _log.exception("a call could not be read", source=name)
        return Found(faults=[Fault("", f"reading it failed: {type(fault).__name__}")])
    for place, one in enumerate(said):
        match one:
            case Unread():
                out.faults.append(Fault(one.pointer[:_LONGEST_NAME], one.detail[:_LONGEST_NAME]))
            case Visit():
                out.visits.append(one)
            case Item():
                _add(out, one, name, request, place)
    return out


def _add(out: Found, item: Item, name: str, request: Request, place: int) -> None:
    try:
        event = _event(item, name, request, place)
    except Exception as fault:
        if not isinstance(fault, ValueError):
            _log.exception("an event could not be read", source=name)
        detail = str(fault) if isinstance(fault, ValueError) else f"reading it failed: {type(fault).__name__}"
        out.faults.append(Fault(item.pointer[:_LONGEST_NAME], detail[:_LONGEST_NAME]))
        return
    out.named += 1
    if event.id not in out.events:
        out.events[event.id] = event
        out.pointers[event.id] = item.pointer


def _event(item: Item, name: str, request: Request, place: int) -> NewEvent:
    """Raises ValueError with a sentence that says what is wrong."""
    if not _TYPE.fullmatch(item.type) or len(item.type) > _LONGEST_TYPE:
        raise ValueError("its type is no dotted name")
    ref = _ref(item)
    at = item.occurred_at if item.occurred_at is not None and 1900 <= item.occurred_at.year < 3000 else None
    bounce = item.properties.get("bounce") if item.type == BOUNCED else None
    if item.type == BOUNCED and bounce not in ("hard", "soft"):
        raise ValueError("an email.bounced says 'hard' or 'soft' as its 'bounce'")
    text = properties.to_text(item.properties)
    client_id = None if item.id is None else _short(item.id)
    known_by = client_id
    if client_id is None and at is None:
        known_by = f"{hashlib.sha256(request.body).hexdigest()}:{place}"
    return NewEvent(
        ingest.event_id(name, known_by, at, ref, item.type, item.properties),
        ref,
        item.type,
        name,
        client_id,
        _not_ahead(at, request.received_at),
        text,
        None if bounce is None else str(bounce),
    )


def _ref(item: Item) -> Ref:
    email = None if item.email is None else normal_email(item.email)
    for value in (item.user_id, item.anonymous_id):
        if value is not None and (not value or len(value) > _LONGEST_NAME or not is_clean(value)):
            raise ValueError(f"the id of its person is empty, has a NUL in it, or more than {_LONGEST_NAME} characters")
    ref = Ref(email, item.user_id, item.anonymous_id)
    if not ref.named():
        raise ValueError("it does not say whom it is about")
    return ref


def _short(id_: str) -> str:
    """An id that can be stored; a long one, or one that Postgres cannot hold, by its hash."""
    if 0 < len(id_) <= _LONGEST_NAME and is_clean(id_):
        return id_
    return hashlib.sha256(id_.encode(errors="surrogatepass")).hexdigest()


def _not_ahead(at: datetime | None, received_at: datetime) -> datetime:
    """When it happened: nothing has happened after it was told."""
    return received_at if at is None or at > received_at + _AHEAD else at


def shown(faults: Sequence[Fault]) -> list[dict[str, Any]]:  # Any: JSON
    """The first faults of a call, as they are stored."""
    return [{"pointer": _storable(one.pointer), "detail": _storable(one.detail)} for one in faults[:MOST_FAULTS]]


def _storable(text: str) -> str:
    return text.replace("\0", "").encode(errors="replace").decode()
