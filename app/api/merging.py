"""Contacts that are one person: merged, taken apart again, and found."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, Field

from app import clock
from app.api.contacts import ContactDetail, shown
from app.api.guard import Reader, Writer
from app.api.json import JsonResponse
from app.api.services import Kit
from app.api.shapes import Cursor, Limit, Page, Shape
from app.engine import merging
from app.engine.transactions import committed
from app.store import duplicates
from app.store.db import Connection
from app.store.duplicates import Reason

router = APIRouter(prefix="/v1/contacts", tags=["Contacts"])


class DuplicateContact(BaseModel):
    id: UUID
    email: str | None
    name: str | None


class Duplicates(BaseModel):
    reason: Reason = Field(
        description="`same_address`: their addresses differ only in a `+tag`, or for Gmail in dots. `email_changed`: "
        "an event said that the first has a new address, which is the second's."
    )
    address: str = Field(description="The address that they share", examples=["ada@example.com"])
    contacts: Annotated[list[DuplicateContact], Field(description=f"At most {duplicates.MOST_ALIKE}")]


@router.get(
    "/duplicates",
    response_model=Page[Duplicates],
    summary="List contacts that look like one person",
    description="Nobody is merged by itself for any of these reasons: merge whom you find to be one. A page may hold "
    "fewer than `limit`, even none, and yet not be the last: `next_cursor` says.",
)
async def list_duplicates(kit: Kit, _: Reader, limit: Limit = 100, cursor: Cursor = None) -> JsonResponse:
    async with kit.database.hot.acquire() as db:
        found, after = await duplicates.page(db, limit=limit, cursor=cursor)
    items = [{**one._asdict(), "contacts": [person._asdict() for person in one.contacts]} for one in found]
    return JsonResponse({"items": items, "next_cursor": after})


class MergeIn(Shape):
    other: UUID = Field(description="The contact that becomes part of this one, and is gone")


@router.post(
    "/{contact_id}/merge",
    response_model=ContactDetail,
    summary="Make another contact part of this one",
    description="Events, identities and adjustments move here, and what they count moves with them, so that nothing "
    "counts twice. Of name, stage and each property the one said later stays, this one's where nobody knows; tags are "
    "joined; this one's address stays; an opt-out of either stays. `unmerge` takes them apart again.",
)
async def merge_contact(contact_id: UUID, given: MergeIn, kit: Kit, key: Writer) -> JsonResponse:
    async def work(db: Connection) -> dict[str, Any]:
        row = await merging.merge(db, kit.plans, contact_id, given.other, clock.now(), kit.policy, by=key.name)
        return await shown(db, row)

    return JsonResponse(await committed(kit.database, work))


class UnmergeIn(Shape):
    contact: UUID = Field(description="The contact that became part of this one, as `merged` names it")


class Apart(BaseModel):
    contact: ContactDetail
    restored: ContactDetail


@router.post(
    "/{contact_id}/unmerge",
    response_model=Apart,
    summary="Take a contact that was merged into this one out again",
    description="It is there again under its own id, with all that had been merged into it before. Each is what it "
    "would have been had they never been merged: an event that came since is of whom its identity was, a change of "
    "whom it named, this one if it named neither. An opt-out by hand stays with both. No event makes them one again.",
)
async def unmerge_contact(contact_id: UUID, given: UnmergeIn, kit: Kit, key: Writer) -> JsonResponse:
    async def work(db: Connection) -> dict[str, Any]:
        apart = await merging.unmerge(db, kit.plans, contact_id, given.contact, clock.now(), kit.policy, by=key.name)
        return {"contact": await shown(db, apart.contact), "restored": await shown(db, apart.restored)}

    return JsonResponse(await committed(kit.database, work))
