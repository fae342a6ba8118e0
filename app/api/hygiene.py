"""Why a contact may or may not be mailed: the evidence of its bounces, and the history of its flags."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, Field

from app.api.guard import Reader
from app.api.json import JsonResponse
from app.api.services import Kit
from app.api.shapes import Cursor, Limit, Page
from app.engine import bounces, flags
from app.engine.bounces import Evidence
from app.engine.hygiene import Aside
from app.errors import InvalidInput
from app.store import pages

router = APIRouter(prefix="/v1/contacts", tags=["Hygiene"])


class BounceOut(BaseModel):
    id: UUID = Field(description="Of the event")
    occurred_at: datetime
    received_at: datetime
    source: str = Field(description="Who told of it", examples=["sendgrid"])
    address: str | None = Field(description="The address that bounced, if the source said")
    bounce: Any = Field(description="hard or soft")
    status: Any = Field(description="The enhanced status code (RFC 3463), as the source said it", examples=["5.1.1"])
    code: Any = Field(description="The SMTP reply code", examples=[550])
    reason: Any = Field(description="The class, in the source's words", examples=["invalid recipient"])
    diagnostic: Any = Field(description="The text of the mail server", examples=["550 5.1.1 user unknown"])
    message_id: Any = Field(description="The message that bounced")
    campaign: Any
    counts: bool = Field(description="Whether it counts against the contact's address as it is")
    aside: Aside | None = Field(description="Why it does not count; null if it does")


class FlagOut(BaseModel):
    flag: str = Field(description="opted_out or bounced")
    value: bool
    at: datetime | None = Field(description="When what it says happened; null where a bounce ended by itself")
    reason: str | None = Field(
        description="Of opted_out: unsubscribed, complained, resubscribed, manual. Of bounced: hard_bounce, "
        "soft_bounces, suppressed, manual; where it ended by itself, new_address or delivered"
    )
    by: str | None = Field(description="The source of the event, or the API key, that said so")
    changed_at: datetime = Field(description="When it was known here")


@router.get(
    "/{contact_id}/bounces",
    response_model=Page[BounceOut],
    summary="List a contact's bounces, the latest first",
    description="Every bounce that was told, with its evidence, and whether it counts: not what a provider "
    "`suppressed` without trying, nor of `another_address` or `before_this_address`, nor what was `forgiven` by hand, "
    "`delivered_since`, is of the `same_message` as another, `too_old` beside the next ones, or came "
    "`after_hard_bounce`.",
)
async def list_bounces(
    contact_id: UUID, kit: Kit, _: Reader, limit: Limit = 100, cursor: Cursor = None
) -> JsonResponse:
    before = _place(cursor) if cursor else None
    async with kit.database.hot.acquire() as db:
        found = await bounces.evidence(db, contact_id, kit.policy, limit=limit + 1, before=before)
    last = found[limit - 1] if len(found) > limit else None
    more = None if last is None else pages.encode(last.occurred_at.isoformat(), str(last.id))
    return JsonResponse({"items": [_shown(one) for one in found[:limit]], "next_cursor": more})


@router.get(
    "/{contact_id}/flags",
    response_model=Page[FlagOut],
    summary="List the changes of a contact's flags, the latest first",
    description="`opted_out` and `bounced`, each as it became, with when, why and who: a source, or an API key's name.",
)
async def list_flags(contact_id: UUID, kit: Kit, _: Reader, limit: Limit = 100, cursor: Cursor = None) -> JsonResponse:
    async with kit.database.hot.acquire() as db:
        found = await flags.history(db, contact_id)
    # Counted from the beginning, which stays as it is.
    end = min(_position(cursor), len(found)) if cursor else len(found)
    start = max(end - limit, 0)
    shown = [one._asdict() for one in reversed(found[start:end])]
    return JsonResponse({"items": shown, "next_cursor": pages.encode(start) if start else None})


def _shown(one: Evidence) -> dict[str, Any]:  # Any: JSON
    said = {name: one.said.get(name) for name in BounceOut.model_fields if name in bounces.SAID}
    known = {name: getattr(one, name) for name in ("id", "occurred_at", "received_at", "source", "address", "aside")}
    return {**known, **said, "counts": one.aside is None}


def _place(cursor: str) -> tuple[datetime, UUID]:
    occurred_at, event = pages.decode(cursor, 2)
    try:
        return datetime.fromisoformat(occurred_at).astimezone(UTC), UUID(event)
    except (ValueError, TypeError, AttributeError, OverflowError):
        raise InvalidInput(pages.bad_cursor()) from None


def _position(cursor: str) -> int:
    [position] = pages.decode(cursor, 1)
    if type(position) is not int or position < 0:
        raise InvalidInput(pages.bad_cursor())
    return position
