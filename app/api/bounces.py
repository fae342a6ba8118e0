"""Bounce mail in: a raw message, or an mbox of them."""

from datetime import datetime
from io import BytesIO
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from app import clock
from app.api.guard import Ingester
from app.api.json import JsonResponse
from app.api.raw import raw
from app.api.services import Kit
from app.errors import Fault, InvalidInput
from app.esp import bounce_folders
from app.esp.bounce_mail import Class
from app.sources import bounces

router = APIRouter(prefix="/v1/bounces", tags=["Sources"])

_MOST = 1_000
_MESSAGE = {"schema": {"type": "string", "format": "binary"}}


class BouncedOut(BaseModel):
    recipient: str = Field(examples=["ada@example.com"])
    class_: Class = Field(alias="class", description="What it says of the address", examples=["hard"])
    status: str | None = Field(description="RFC 3463", examples=["5.1.1"])
    reason: str = Field(examples=["user_unknown"])
    diagnostic: str = Field(description="The server's words", examples=["550 5.1.1 no such user"])
    message_id: str | None = Field(description="Of the message that came back")
    occurred_at: datetime | None
    stored: bool = Field(description="False for an address that nobody here has, and for what says nothing of one")


@router.post(
    "",
    response_model=list[BouncedOut],
    summary="Read bounce mail",
    description="A raw message (`message/rfc822`) or up to 1,000 of them (`application/mbox`), of 5 MB at most: "
    "delivery reports (RFC 3464), feedback reports (RFC 5965), automatic answers, and notices for people only. Answers "
    "what each says of each address, and stores that as an event of source `bounce-mail` where the address is "
    "somebody's. Sent again, a message changes nothing. With `?store=false` it is read only.",
    openapi_extra={
        "requestBody": {"required": True, "content": {"message/rfc822": _MESSAGE, "application/mbox": _MESSAGE}}
    },
)
async def post_bounces(request: Request, kit: Kit, _: Ingester, store: bool = True) -> JsonResponse:
    body = (await raw(request, kit)).body
    if not body.strip():
        raise InvalidInput(Fault("", "expected a message, with its headers, or an mbox"))
    messages = list(bounce_folders.split(BytesIO(body)))
    if len(messages) > _MOST:
        raise InvalidInput(Fault("", f"{len(messages)} messages in one request; {_MOST} are the most"))

    async def nowhere(_: Any) -> None:  # Any: what is not stored
        pass

    found = await bounces.take(kit.database, kit.batcher.submit if store else nowhere, messages, clock.now())
    return JsonResponse([_shown(one, is_stored=store and one.is_known) for one in found])


def _shown(one: bounces.Read, *, is_stored: bool) -> dict[str, Any]:
    said = one.said._asdict()
    return {"recipient": said.pop("recipient"), "class": said.pop("class_"), **said, "stored": is_stored}
