"""A worker that is killed while it reads the inbox, and what goes on from there."""

import asyncio
import signal
import time

from app.store import schema
from app.store.db import Database
from tests.processes import PATIENCE_S, Leadtally, short_folder
from tests.sources.senders import counters, keep, read_all, rows, said, source

CALLS, EACH, LONG = 200, 5, 10_000
"""Enough for several transactions."""


async def test_a_worker_that_is_killed_loses_nothing_and_counts_nothing_twice(blank: str) -> None:
    async with Database(blank, 4) as database:
        await schema.migrate(database.engine)
        mail = await source(database)
        bodies = (
            [said("open", f"p{n % 40}@example.com", f"{n}-{k}", url="x" * LONG) for k in range(EACH)]
            for n in range(CALLS)
        )
        await asyncio.gather(*(keep(database, mail, body) for body in bodies))

        with short_folder() as folder, Leadtally(folder, "worker", {"DATABASE_URL": blank}) as worker:
            worker.start()
            began = time.monotonic()
            while not await unread(database) < CALLS:
                assert time.monotonic() < began + PATIENCE_S, worker.output
                await asyncio.sleep(0.005)
            worker.end(signal.SIGKILL)
            assert 0 < await unread(database)
            [(stored,)] = await rows(database, "SELECT count(*) FROM event")
            received, accepted, *_ = await counters(database, mail)
            assert (stored, stored) == (accepted, received * EACH)

        await read_all(database)
        assert (CALLS, CALLS * EACH, 0, 0) == await counters(database, mail)
        assert [(CALLS * EACH,)] == await rows(database, "SELECT count(*) FROM event")


async def unread(database: Database) -> int:
    [(count,)] = await rows(database, "SELECT count(*) FROM delivery WHERE read_at IS NULL")
    return int(count)
