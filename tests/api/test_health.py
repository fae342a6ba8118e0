import asyncio
from datetime import timedelta
from uuid import uuid4

import asyncpg
import httpx
from sqlalchemy.engine.url import make_url

from app import clock
from app.store import schema, workers
from app.store.db import Database, plain_url
from tests.api.client import BASE, Api, Json, said
from tests.api.conftest import running


def readiness(status: str, *, database: bool, migrated: bool, worker: bool) -> Json:
    return {"status": status, "database": database, "migrated": migrated, "worker": worker}


NO_WORKER = readiness("not_ready", database=True, migrated=True, worker=False)
READY = readiness("ready", database=True, migrated=True, worker=True)


async def test_a_process_that_lives_says_so(api: Api) -> None:
    assert {"status": "ok"} == await api.get("/healthz")


async def test_it_is_not_ready_without_a_worker(api: Api) -> None:
    assert NO_WORKER == await api.get("/readyz", 503)


async def test_it_is_ready_once_some_worker_lives(working: Api) -> None:
    for _ in range(200):
        reply = await working.http.get("/readyz")
        if reply.status_code == 200:
            break
        await asyncio.sleep(0.02)

    assert READY == said(reply, 200)


async def test_a_worker_silent_for_long_lives_no_more(api: Api) -> None:
    await workers.beat(api.database, uuid4(), clock.now() - timedelta(seconds=5))
    assert READY == await api.get("/readyz")
    clock.shift(timedelta(seconds=10))
    assert NO_WORKER == await api.get("/readyz", 503)


async def test_it_is_not_ready_before_the_database_is_migrated_and_says_which(server: str, blank: str) -> None:
    async with (
        running(blank, with_worker=False) as app,
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE) as http,
    ):
        assert readiness("not_ready", database=True, migrated=False, worker=False) == said(
            await http.get("/readyz"), 503
        )
        async with Database(blank) as database:
            await schema.migrate(database.engine)
        assert NO_WORKER == said(await http.get("/readyz"), 503)


async def test_it_is_not_ready_while_the_database_is_gone_and_ready_again_after(server: str, blank: str) -> None:
    name = make_url(blank).database
    async with Database(blank) as database:
        await schema.migrate(database.engine)
        await workers.beat(database, uuid4(), clock.now())
    connection = await asyncpg.connect(plain_url(make_url(server)))
    try:
        async with (
            running(blank, with_worker=False) as app,
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE) as http,
        ):
            assert READY == said(await http.get("/readyz"), 200)
            await connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            await connection.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
            gone = await http.get("/readyz")
            alive = await http.get("/healthz")
            await connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
            back = await http.get("/readyz")
    finally:
        await connection.close()

    assert readiness("not_ready", database=False, migrated=False, worker=False) == said(gone, 503)
    assert 200 == alive.status_code
    assert READY == said(back, 200)
