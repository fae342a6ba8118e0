"""What the sync of a connection does: its runs, what waits, what a CRM does not take, where both sides differ."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, status
from pydantic import BaseModel, Field, JsonValue

from app import clock
from app.api.guard import Reader, Writer
from app.api.json import JsonResponse
from app.api.services import Kit
from app.api.shapes import Cursor, Limit, Line, Page, Shape
from app.connectors.shapes import Key
from app.engine.conditions import is_clean
from app.errors import Fault, InvalidInput
from app.store import pages
from app.sync import connections, differences, due, duplicates, forecast, parked, push, runs
from app.sync.differences import Right, Why

router = APIRouter(prefix="/v1/connections/{connection_id}", tags=["Connections"])

_OBJECT = "As the CRM calls it"
_SPENDS = "Reads from the CRM, which costs of the budget; changes nothing on either side."


class RunOut(BaseModel):
    id: UUID
    kind: str = Field(description="`pull`, `push` or `reconcile`; what follows within a minute is one")
    began_at: datetime
    ended_at: datetime | None = Field(description="Null: it goes on, and its counts with it")
    counts: dict[str, int] = Field(
        description="What it came to, without what is nought", examples=[{"seen": 240, "changed": 12, "spent": 3}]
    )
    error: str | None = Field(description="Why it ended before its time; null: it did not")


class BudgetOut(BaseModel):
    unit: str = Field(examples=["requests"])
    per_day: int = Field(description="What may be spent in any 24 hours")
    reserve: int = Field(description="The part of it that only flags may spend")
    spent_today: int = Field(description="In the last 24 hours")
    remaining: int | None = Field(description="What the CRM last said is left of its own; null: it does not say")


class BacklogOut(BaseModel):
    """Nothing is counted beyond 10,001."""

    waiting: int = Field(description="Contacts of whom the CRM may not know all")
    flags: int = Field(description="Of these, contacts whose opt-out or bounce is to be told")
    delayed: int = Field(description="Of these, contacts who were tried in vain and are tried again later")
    oldest: datetime | None = Field(description="Since when the first of them has waited")
    hints: int = Field(description="Records that the CRM told us may have changed, and that are yet to be read")
    parked: int = Field(description="Records with a field that is tried no more: see `…/parked`")
    budget: BudgetOut
    cost: int = Field(description="What telling all that waits costs of the budget, at best")
    drains_in_s: int | None = Field(description="How long the budget takes for it, in whole days; null: for ever")


class ParkedFieldOut(BaseModel):
    field: str = Field(description="By the CRM's name")
    code: str = Field(description="The CRM's own, `kept_otherwise` or `changed_back`")
    reason: str
    tries: int
    since: datetime


class ParkedOut(BaseModel):
    object: str = Field(description=_OBJECT, examples=["Contact"])
    record: str
    contact_id: UUID | None
    fields: list[ParkedFieldOut]


class RetryIn(Shape):
    """One record, or all."""

    object: Line | None = Field(default=None, description=_OBJECT)
    record: Line | None = None


class RetriedOut(BaseModel):
    records: int = Field(description="Records with fields that are tried again")


class AskedOut(BaseModel):
    due_at: datetime


class RehearseIn(Shape):
    limit: int = Field(default=100, ge=1, le=1_000, description="Contacts to look at, the most urgent first")


class WouldWrite(BaseModel):
    field: str = Field(description="By the CRM's name")
    there: JsonValue = Field(description="As the CRM last held it to our knowledge; null also where nobody knows")
    here: JsonValue = Field(description="What would be written")


class PlannedOut(BaseModel):
    object: str
    record: str
    contact_id: UUID
    fields: list[WouldWrite]


class RehearsalOut(BaseModel):
    writes: list[PlannedOut] = Field(description="Of those that were looked at")
    unknown: int = Field(description="How many of them have no record there: they would be looked for, and maybe made")
    waiting: int = Field(description="Contacts that wait in all")
    cost: int = Field(description="Of all of them, if those that were looked at stand for the others")
    unit: str
    takes_s: int | None = Field(description="How long the budget takes for that, in whole days; null: for ever")


class ComparedField(BaseModel):
    here: str = Field(examples=["score.engagement"])
    there: str = Field(description="By the CRM's name")
    value_here: JsonValue = Field(description="As it would be written there")
    value_there: JsonValue
    agreed: bool
    right: Right | None = Field(description="Whose value holds; null: they agree, or nobody can say")
    why: Why | None = Field(description="Why they differ; null: they agree")
    detail: str | None = Field(description="The same in words, with the CRM's reason where there is one")


class ComparedOut(BaseModel):
    object: str = Field(description=_OBJECT)
    record: str
    contact_id: UUID | None
    fields: list[ComparedField]


class TotalsOut(BaseModel):
    records: int
    fields: int
    different_records: int
    different_fields: int
    by_why: dict[str, int] = Field(description="Fields that differ", examples=[{"waits": 3, "held": 1}])


class DiffOut(Page[ComparedOut]):
    totals: TotalsOut = Field(description="Of the records of this page, those that agree among them")


class Only(StrEnum):
    DIFFERENT = "different"


class RecordOut(BaseModel):
    object: str = Field(description=_OBJECT)
    record: str


class SeveralOut(BaseModel):
    contact_id: UUID
    records: list[RecordOut]


@router.get("/runs", response_model=Page[RunOut], summary="List what was done, the newest first")
async def list_runs(
    connection_id: UUID, kit: Kit, _: Reader, limit: Limit = 100, cursor: Cursor = None
) -> JsonResponse:
    before = _id_before(cursor) if cursor else None
    async with kit.database.batch() as db:
        await connections.get(db, connection_id)
        found = await runs.page(db, connection_id, limit=limit + 1, before=before)
    more = pages.encode(str(found[limit - 1].id)) if len(found) > limit else None
    return JsonResponse({"items": [one._asdict() for one in found[:limit]], "next_cursor": more})


@router.get("/backlog", response_model=BacklogOut, summary="See what waits, and what is left of the budget")
async def get_backlog(connection_id: UUID, kit: Kit, _: Reader) -> JsonResponse:
    async with kit.opened(connection_id) as opened:
        return JsonResponse(await forecast.backlog(opened))


@router.get("/parked", response_model=Page[ParkedOut], summary="List what the CRM does not take as we say it")
async def list_parked(
    connection_id: UUID, kit: Kit, _: Reader, limit: Limit = 100, cursor: Cursor = None
) -> JsonResponse:
    after = _key_after(cursor) if cursor else None
    async with kit.database.batch() as db:
        await connections.get(db, connection_id)
        found = await parked.page(db, connection_id, limit + 1, after)
    more = pages.encode(*found[limit - 1].key) if len(found) > limit else None
    items = [
        {
            **_named(one.key),
            "contact_id": one.contact,
            "fields": [{"field": each.name, **_without(each._asdict(), "name")} for each in one.fields],
        }
        for one in found[:limit]
    ]
    return JsonResponse({"items": items, "next_cursor": more})


@router.post(
    "/parked/retry",
    response_model=RetriedOut,
    summary="Try again what the CRM did not take",
    description="Of one record, or of all. What still is not taken is parked again after some tries.",
)
async def retry_parked(connection_id: UUID, kit: Kit, _: Writer, given: RetryIn | None = None) -> JsonResponse:
    key = _key(given) if given is not None else None
    async with kit.database.batch() as db:
        await connections.get(db, connection_id)
        records = await parked.retry(db, connection_id, key, clock.now())
    return JsonResponse({"records": records})


@router.post(
    "/pull", status_code=status.HTTP_202_ACCEPTED, response_model=AskedOut, summary="Look for changes there now"
)
async def ask_for_pull(connection_id: UUID, kit: Kit, _: Writer) -> JsonResponse:
    now = clock.now()
    async with kit.database.batch() as db:
        await connections.get(db, connection_id)
        await due.ask_for_pull(db, connection_id, now)
    return JsonResponse({"due_at": now}, status_code=202)


@router.post(
    "/reconcile",
    status_code=status.HTTP_202_ACCEPTED,
    response_model=AskedOut,
    summary="Compare everybody now",
    description="Reads all records there, and finds what no look for changes has found. One that goes on is gone on "
    "with.",
)
async def ask_for_reconcile(connection_id: UUID, kit: Kit, _: Writer) -> JsonResponse:
    now = clock.now()
    async with kit.database.batch() as db:
        await connections.get(db, connection_id)
        await due.ask_for_reconcile(db, connection_id, now)
    return JsonResponse({"due_at": now}, status_code=202)


@router.post(
    "/rehearse",
    response_model=RehearsalOut,
    summary="See what would be told now, and tell nothing",
    description="By what is known of the CRM; nobody is called.",
)
async def rehearse(connection_id: UUID, kit: Kit, _: Writer, given: RehearseIn | None = None) -> JsonResponse:
    async with kit.opened(connection_id) as opened:
        found = await push.rehearse(opened, (given or RehearseIn()).limit)
        unit = opened.budget.unit
    return JsonResponse(
        {
            "writes": [
                {**_named(one.key), "contact_id": one.contact, "fields": [each._asdict() for each in one.fields]}
                for one in found.writes
            ],
            "unknown": found.unknown,
            "waiting": found.waiting,
            "cost": found.cost,
            "unit": unit,
            "takes_s": None if found.lasts is None else int(found.lasts.total_seconds()),
        }
    )


@router.get(
    "/diff",
    response_model=DiffOut,
    summary="Compare both sides, field by field",
    description=f"{_SPENDS} If no page has a difference, every mapped field of every known record agrees. With "
    "`only=different` a page may hold few or none and yet not be the last: go on while there is a `next_cursor`.",
)
async def get_diff(
    connection_id: UUID,
    kit: Kit,
    _: Reader,
    only: Annotated[Only | None, Query(description="Only records and fields that differ")] = None,
    limit: Annotated[int, Query(ge=1, le=differences.MOST, description="Records to compare")] = 100,
    cursor: Cursor = None,
) -> JsonResponse:
    after = _key_after(cursor) if cursor else None
    async with kit.opened(connection_id) as opened:
        report = await differences.page(opened, limit=limit, after=after, only_different=only is Only.DIFFERENT)
    return JsonResponse(
        {
            "items": [one.to_json() for one in report.records],
            "next_cursor": None if report.next is None else pages.encode(*report.next),
            "totals": report.totals.to_json(),
        }
    )


@router.get(
    "/duplicates",
    response_model=Page[SeveralOut],
    summary="List contacts with several records there",
    description="All of their records are kept in step. A page looks at a bounded number of records, so it may hold "
    "few or none and yet not be the last: go on while there is a `next_cursor`.",
)
async def list_duplicates(
    connection_id: UUID, kit: Kit, _: Reader, limit: Limit = 100, cursor: Cursor = None
) -> JsonResponse:
    after = _key_after(cursor) if cursor else None
    async with kit.database.batch() as db:
        await connections.get(db, connection_id)
        found = await duplicates.page(db, connection_id, limit=limit, after=after)
    items = [{"contact_id": one.contact, "records": [_named(key) for key in one.records]} for one in found.contacts]
    return JsonResponse({"items": items, "next_cursor": None if found.next is None else pages.encode(*found.next)})


def _named(key: Key) -> dict[str, str]:
    return {"object": key.object, "record": key.id}


def _without(said: dict[str, Any], name: str) -> dict[str, Any]:  # Any: JSON
    return {key: value for key, value in said.items() if key != name}


def _key(given: RetryIn) -> Key | None:
    if (given.object is None) != (given.record is None):
        raise InvalidInput(Fault("", "give 'object' and 'record', or neither for all"))
    return None if given.object is None or given.record is None else Key(given.object, given.record)


def _key_after(cursor: str) -> Key:
    object_, record = pages.decode(cursor, 2)
    if not all(isinstance(one, str) and is_clean(one) for one in (object_, record)):
        raise InvalidInput(pages.bad_cursor())
    return Key(object_, record)


def _id_before(cursor: str) -> UUID:
    try:
        return UUID(str(pages.decode(cursor, 1)[0]))
    except ValueError:
        raise InvalidInput(pages.bad_cursor()) from None
