"""The server under measurement: the product's own app, and beside it the bare endpoint that is its floor.

Run as `python -m bench.serving URL PORT KEY`.
"""

import asyncio
import sys

import uvicorn
from fastapi import Request
from pydantic_core import from_json

from app import clock, logs
from app.api.json import JsonResponse
from app.main import build
from app.settings import Settings
from app.store import keys
from app.store.db import Database


async def parse_only(request: Request) -> JsonResponse:
    """What no server of JSON can do without: read the body, parse it, answer."""
    from_json(await request.body())
    return JsonResponse({"accepted": 1, "duplicates": 0, "rejected": []})


async def _admit(url: str, key: str) -> None:
    async with Database(url, 4) as database, database.batch() as db:
        await keys.ensure(db, key, clock.now())


def main(url: str, port: str, key: str) -> None:
    logs.configure("WARNING", as_json=False)
    asyncio.run(_admit(url, key))
    app = build(Settings(), url, with_worker=True)
    app.post("/bench/parse")(parse_only)
    uvicorn.Server(uvicorn.Config(app, port=int(port), log_config=None, access_log=False)).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
