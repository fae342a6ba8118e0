"""Everything as NDJSON, streamed: contacts, events, scores."""

from collections.abc import AsyncIterator, Sequence

import asyncpg
from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from app.api.guard import Reader
from app.api.json import to_json
from app.api.services import Kit
from app.api.shapes import Instant, Line
from app.store import exports

router = APIRouter(prefix="/v1/exports", tags=["Exports"])

_NDJSON = "application/x-ndjson"
_HOW = (
    "A JSON object a line, each as it was when it was read. Where the database is lost on the way, the transfer breaks "
    "off with an error, so that no part is taken for the whole."
)


def _shown(example: dict[str, object]) -> dict[int | str, dict[str, object]]:
    line = to_json(example).decode() + "\n"
    return {
        200: {
            "description": "Streamed; of any length",
            "content": {_NDJSON: {"schema": {"type": "string"}, "example": line}},
        }
    }


@router.get(
    "/contacts",
    response_class=StreamingResponse,
    responses=_shown({"id": "0190a7c6-…", "email": "ada@example.com", "opted_out": False, "identities": []}),
    summary="Export all contacts",
    description=f"With their flags and identities, in the order of their ids. {_HOW}",
)
async def export_contacts(kit: Kit, _: Reader) -> StreamingResponse:
    return await _streamed("contacts", exports.contacts(kit.database))


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses=_shown({"id": "5f0c…", "type": "email.opened", "occurred_at": "2026-11-20T09:30:00Z", "human": None}),
    summary="Export events",
    description=f"The earliest to occur first. {_HOW}",
)
async def export_events(
    kit: Kit,
    _: Reader,
    since: Instant | None = None,
    until: Instant | None = None,
    type: Line | None = None,  # noqa: A002 - its name in the API
    source: Line | None = None,
) -> StreamingResponse:
    """`since` is inclusive, `until` is not: what one export ends with the next begins with."""
    found = exports.events(kit.database, since=since, until=until, type_=type, source=source)
    return await _streamed("events", found)


@router.get(
    "/scores",
    response_class=StreamingResponse,
    responses=_shown({"contact_id": "0190a7c6-…", "model": "engagement", "value": 42, "version": 3}),
    summary="Export all scores",
    description="In all models, or in one; `computed` is what the rules say while an override stands in for it. "
    f"In the order of the contacts' ids. {_HOW}",
)
async def export_scores(kit: Kit, _: Reader, model: Line | None = None) -> StreamingResponse:
    return await _streamed("scores", exports.scores(kit.database, model))


async def _streamed(name: str, chunks: AsyncIterator[Sequence[asyncpg.Record]]) -> StreamingResponse:
    # Read before the answer begins, so that what goes wrong at once is still told as a problem.
    first: Sequence[asyncpg.Record] = await anext(chunks, [])

    async def lines() -> AsyncIterator[bytes]:
        yield _written(first)
        async for chunk in chunks:
            yield _written(chunk)

    disposition = {"Content-Disposition": f'attachment; filename="{name}.ndjson"'}
    return StreamingResponse(lines(), media_type=_NDJSON, headers=disposition)


def _written(chunk: Sequence[asyncpg.Record]) -> bytes:
    rows = ({name: value for name, value in row.items() if name != "model_id"} for row in chunk)
    return b"".join(to_json(row) + b"\n" for row in rows)
