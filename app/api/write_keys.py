"""Who calls with the write key of a source, which SDKs put in various places; and what they call is kept raw."""

from collections.abc import Collection

from fastapi import HTTPException, Request

from app import clock
from app.api.guard import secret_in
from app.api.services import Services
from app.errors import NotAuthenticated, NotFound, TooBusy
from app.esp.shapes import Request as Call
from app.sources import keeping, registry
from app.sources.registry import Source


def in_header(request: Request) -> str | None:
    return secret_in(request.headers.get("authorization", ""))


async def source_of(key: str | None, kit: Services, kinds: Collection[str]) -> Source:
    """The source with this write key. Raises NotAuthenticated if there is none of these kinds; NotFound, after noting
    the call, if it is switched off."""
    if key is None:
        raise NotAuthenticated("the write key of a source is missing")
    found = await registry.find_by_write_key(kit.database, key)
    if found is None or found.kind not in kinds:
        raise NotAuthenticated(f"this write key is unknown, or of no source for {' or '.join(kinds)}")
    if not found.enabled:
        await registry.note_refusal(kit.database, found.id, "it is switched off", clock.now())
        raise NotFound("this source is switched off")
    return found


async def keep(kit: Services, source: Source, call: Call) -> None:
    """Store a call for the worker to read. Raises HTTPException with 429 if too many wait, Unavailable."""
    try:
        await keeping.keep(kit.database, source, call, limit=kit.settings.inbox_limit)
    except TooBusy as full:
        raise HTTPException(429, str(full), {"Retry-After": str(keeping.RETRY_AFTER_S)}) from None
