"""Events: in by POST, listed by GET."""

import json
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import (
    BaseModel,
    Field,
    JsonValue,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticSerializationError, from_json, to_json

from app import clock
from app.api import idempotency
from app.api.guard import Ingester, Reader
from app.api.json import JsonResponse
from app.api.problems import faults_of
from app.api.services import Kit
from app.api.shapes import Cursor, Email, Instant, Limit, Line, Page, Shape
from app.api.vocabulary import VOCABULARY
from app.engine import ingest, properties
from app.engine.batching import MAX_BATCH
from app.engine.hygiene import BOUNCED
from app.engine.identity import Ref
from app.engine.ingest import NewEvent
from app.errors import Fault, InvalidInput, TooLarge
from app.store import events

router = APIRouter(prefix="/v1/events", tags=["Events"])

DEFAULT_SOURCE = "api"


class ContactIn(Shape):
    """Who it is about: at least one of the three. `user_id` decides over `email`, `email` over `anonymous_id`."""

    email: Email | None = None
    user_id: Line | None = Field(default=None, examples=["u-1815"])
    anonymous_id: Line | None = Field(default=None, examples=["5f2c9a"])

    @model_validator(mode="after")
    def _somebody(self) -> "ContactIn":
        if self.email is None and self.user_id is None and self.anonymous_id is None:
            raise ValueError("expected email, user_id or anonymous_id")
        return self

    def ref(self) -> Ref:
        return Ref(self.email, self.user_id, self.anonymous_id)


class EventIn(Shape):
    id: Line | None = Field(
        default=None,
        description="The sender's own id. The same id from the same source counts once, for ever.",
        examples=["msg-42-open-1"],
    )
    type: Annotated[str, StringConstraints(max_length=100, pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+$")] = Field(
        description="A dotted name; see the table above.", examples=["email.opened"]
    )
    occurred_at: Annotated[Instant, Field(strict=True)] | None = Field(
        default=None, description="RFC 3339 with a zone; left out: now.", examples=["2026-11-20T09:30:00Z"]
    )
    source: Line = Field(default=DEFAULT_SOURCE, description="The system that saw it.", examples=["newsletter"])
    contact: ContactIn
    properties: dict[str, JsonValue] = Field(default={}, examples=[{"subject": "Spring offer"}])


class EventsIn(Shape):
    events: list[EventIn] = Field(max_length=MAX_BATCH)


class Rejected(BaseModel):
    index: int = Field(description="Place in the batch, from 0", examples=[3])
    pointer: str = Field(description="JSON pointer into that event", examples=["/contact/email"])
    detail: str


class Receipt(BaseModel):
    accepted: int
    duplicates: int
    rejected: list[Rejected]


class EventContact(BaseModel):
    id: UUID
    email: str | None


class EventOut(BaseModel):
    id: UUID
    client_id: str | None = Field(description="The sender's id")
    type: str
    occurred_at: datetime
    received_at: datetime
    source: str
    contact: EventContact
    properties: dict[str, Any]
    human: bool | None = Field(description="Of an opening or a click: whether a human did it; null: unknown")
    human_by: str | None = Field(description="The signal that said so", examples=["burst"])


_ONE = TypeAdapter(EventIn)
_MANY = TypeAdapter(EventsIn)


@router.post(
    "",
    response_model=Receipt,
    summary="Take in one event or a batch",
    description='One event, or `{"events": [...]}` with up to 5,000 of them and 5 MB. Answers once all that is '
    "accepted is stored *and scored*, in one transaction. A bad event is rejected with a pointer to the fault and "
    "never spoils the others.\n\n" + VOCABULARY,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "oneOf": [{"$ref": "#/components/schemas/EventIn"}, {"$ref": "#/components/schemas/EventsIn"}]
                    },
                    "examples": {
                        "one": {
                            "value": {
                                "type": "email.opened",
                                "contact": {"email": "ada@example.com"},
                                "properties": {"subject": "Spring offer"},
                            }
                        },
                        "batch": {
                            "value": {
                                "events": [
                                    {
                                        "id": "b-1",
                                        "type": "email.bounced",
                                        "occurred_at": "2026-11-20T09:30:00Z",
                                        "contact": {"email": "ada@example.com"},
                                        "properties": {"bounce": "hard"},
                                    },
                                    {"type": "page.viewed", "contact": {"anonymous_id": "5f2c9a"}},
                                ]
                            }
                        },
                    },
                }
            },
        }
    },
)
async def post_events(request: Request, kit: Kit, _: Ingester) -> JsonResponse:
    given, rejected = read(await request.body())
    now = clock.now()
    batch: list[NewEvent] = []
    places: dict[UUID, int] = {}
    for index, event in given:
        try:
            new = _new(event, now, idempotency.event_name(request.scope, index))
        except InvalidInput as wrong:
            rejected.append({"index": index, "pointer": wrong.faults[0].pointer, "detail": wrong.faults[0].detail})
            continue
        batch.append(new)
        places[new.id] = index
    outcome = await kit.batcher.submit(batch)
    rejected += [{"index": places[id_], "pointer": "", "detail": why} for id_, why in outcome.refused.items()]
    rejected.sort(key=lambda one: one["index"])
    return JsonResponse({"accepted": outcome.accepted, "duplicates": outcome.duplicates, "rejected": rejected})


def read(body: bytes) -> tuple[list[tuple[int, EventIn]], list[dict[str, Any]]]:
    """The events of a body with their places, and those that are wrong with what is wrong.

    Raises InvalidInput if the body is neither an event nor a batch, TooLarge if it has too many.
    """
    try:
        return list(enumerate(_MANY.validate_json(body).events)), []
    except ValidationError:
        pass  # one event, or something wrong with some of them: look at each
    said = _said(body)
    if not isinstance(said, dict):
        raise InvalidInput(Fault("", "expected an event, or an object with 'events'"))
    if "events" not in said:
        items: Any = [said]
    else:
        items = said["events"]
        others = [Fault(f"/{name}", "a batch holds 'events' and nothing else") for name in said if name != "events"]
        if others:
            raise InvalidInput(*others)
    if not isinstance(items, list):
        raise InvalidInput(Fault("/events", "expected a list of events"))
    if len(items) > MAX_BATCH:
        raise TooLarge(f"{len(items)} events in one request; {MAX_BATCH} are the most")
    good: list[tuple[int, EventIn]] = []
    bad: list[dict[str, Any]] = []
    for index, item in enumerate(items):
        try:
            good.append((index, _ONE.validate_json(to_json(item, inf_nan_mode="constants"))))
        except ValidationError as fault:
            first = faults_of(fault.errors(include_url=False))[0]
            bad.append({"index": index, "pointer": first.pointer, "detail": first.detail})
        except PydanticSerializationError:
            bad.append({"index": index, "pointer": "", "detail": "some text in it holds half of a surrogate pair"})
    return good, bad


def _said(body: bytes) -> Any:  # Any: JSON
    """The body as values, with whatever one of its events may get wrong. Raises InvalidInput if it is not JSON."""
    try:
        return from_json(body, allow_inf_nan=True)
    except ValueError as fault:
        why = str(fault)
    try:
        # Reads halves of surrogate pairs, which JavaScript writes for an emoji that was cut in two.
        return json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidInput(Fault("", f"the body is not JSON: {why}")) from None


def _new(event: EventIn, now: datetime, name: str | None = None) -> NewEvent:
    """`name` stands in for the sender's id where there is none."""
    bounce = event.properties.get("bounce") if event.type == BOUNCED else None
    if event.type == BOUNCED and bounce not in ("hard", "soft"):
        raise InvalidInput(Fault("/properties/bounce", "an email.bounced says 'hard' or 'soft' here"))
    try:
        text = properties.to_text(event.properties)
    except ValueError as fault:
        raise InvalidInput(Fault("/properties", str(fault))) from None
    ref = event.contact.ref()
    known_by = name if event.id is None else event.id
    return NewEvent(
        ingest.event_id(event.source, known_by, event.occurred_at, ref, event.type, event.properties),
        ref,
        event.type,
        event.source,
        event.id,
        event.occurred_at or now,
        text,
        None if bounce is None else str(bounce),
    )


@router.get("", response_model=Page[EventOut], summary="List events, the latest to occur first")
async def list_events(
    kit: Kit,
    _: Reader,
    contact_id: UUID | None = None,
    type_: Annotated[Line | None, Query(alias="type", examples=["email.clicked"])] = None,
    source: Line | None = None,
    since: Annotated[Instant | None, Query(description="Occurred then or later")] = None,
    until: Annotated[Instant | None, Query(description="Occurred before then")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> JsonResponse:
    rows, after = await events.page(
        kit.database,
        contact_id=contact_id,
        type_=type_,
        source=source,
        since=since,
        until=until,
        limit=limit,
        cursor=cursor,
    )
    return JsonResponse({"items": [_shown(row) for row in rows], "next_cursor": after})


def _shown(row: events.Listed) -> dict[str, Any]:
    shown = row._asdict()
    contact = {"id": shown.pop("contact_id"), "email": shown.pop("email")}
    return {**shown, "contact": contact}
