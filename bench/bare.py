"""The floor under `bench.graphql`: FastAPI routes that read the same rows by asyncpg, and know nothing of GraphQL.

Run as `python -m bench.bare URL PORT`.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
import uvicorn
from fastapi import FastAPI

from app.api.json import JsonResponse

CONTACT = "SELECT id, email, name, stage, bounced, opted_out FROM contact WHERE id = $1"
EVENTS = """
    SELECT id, type, occurred_at, source FROM event WHERE contact_id = $1 ORDER BY occurred_at DESC, id DESC LIMIT 5
"""
PAGE = """
    SELECT c.id, c.email, c.name, c.bounced, c.opted_out, c.bounce_status, s.value AS engagement, f.value AS fit
    FROM score s JOIN contact c ON c.id = s.contact_id LEFT JOIN score f ON f.contact_id = c.id AND f.model_id = 2
    WHERE s.model_id = 1 AND s.value BETWEEN $1 AND $2 ORDER BY s.value DESC, s.contact_id DESC LIMIT 51
"""
BANDS = """
    SELECT b.name, (
        SELECT count(*) FROM score s WHERE s.model_id = 1 AND s.value >= b.low AND s.value < b.high
    ) FROM bench_level b WHERE b.model_id = 1
"""
SETTINGS = {"jit": "off", "enable_seqscan": "off", "plan_cache_mode": "force_generic_plan", "timezone": "UTC"}
POOL = 10


def build(url: str) -> FastAPI:
    pool: Any = None  # Any: asyncpg's, opened in the loop of the server

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        nonlocal pool
        pool = await asyncpg.create_pool(url, min_size=POOL, max_size=POOL, server_settings=SETTINGS)
        yield
        await pool.close()

    app = FastAPI(lifespan=lifespan, default_response_class=JsonResponse)

    @app.get("/contact/{contact}")
    async def by_id(contact: UUID) -> JsonResponse:
        return JsonResponse(dict(await pool.fetchrow(CONTACT, contact)))

    @app.get("/events/{contact}")
    async def with_events(contact: UUID) -> JsonResponse:
        async with pool.acquire() as db:
            row = await db.fetchrow(CONTACT, contact)
            events = await db.fetch(EVENTS, contact)
        return JsonResponse({**row, "events": [dict(one) for one in events]})

    @app.get("/page/{least}/{most}")
    async def page(least: int, most: int) -> JsonResponse:
        return JsonResponse([dict(one) for one in await pool.fetch(PAGE, least, most)])

    @app.get("/bands")
    async def bands() -> JsonResponse:
        return JsonResponse([dict(one) for one in await pool.fetch(BANDS)])

    return app


def main(url: str, port: str) -> None:
    uvicorn.Server(uvicorn.Config(build(url), port=int(port), log_config=None, access_log=False)).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
