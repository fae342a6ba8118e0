"""Connections for single statements: so many and no more, and none that was left in the middle of something."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from app.store.db import Database, plain_url
from app.store.standing import Standing


@pytest.fixture
async def standing(migrated: Database) -> AsyncIterator[Standing]:
    made = Standing(lambda: asyncpg.connect(plain_url(migrated.url)), 2)
    yield made
    await made.close()


async def backend(standing: Standing, wait: float = 0) -> int:
    """Of the connection that one statement had."""
    async with standing.acquire() as db:
        found: int = await db.fetchval("SELECT pg_backend_pid() FROM pg_sleep($1)", wait)
    return found


async def test_a_connection_is_used_again(standing: Standing) -> None:
    assert await backend(standing) == await backend(standing)


async def test_there_are_no_more_than_so_many_and_everybody_has_a_turn(standing: Standing) -> None:
    found = await asyncio.gather(*(backend(standing, 0.01) for _ in range(9)))

    assert (9, 2) == (len(found), len(set(found)))


async def test_a_statement_that_fails_leaves_its_connection_as_good_as_before(standing: Standing) -> None:
    before = await backend(standing)

    with pytest.raises(asyncpg.DivisionByZeroError):
        async with standing.acquire() as db:
            await db.fetchval("SELECT 1 / 0")

    assert before == await backend(standing)


async def test_a_statement_that_is_given_up_takes_its_connection_with_it(standing: Standing) -> None:
    before = await backend(standing)
    slow = asyncio.create_task(backend(standing, 9))
    await asyncio.sleep(0.05)

    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow

    assert before not in await asyncio.gather(*(backend(standing, 0.01) for _ in range(4)))


async def test_who_gives_up_waiting_lets_the_next_one_have_the_turn(standing: Standing) -> None:
    busy = [asyncio.create_task(backend(standing, 0.05)) for _ in range(2)]
    await asyncio.sleep(0.02)
    waiting = [asyncio.create_task(backend(standing)) for _ in range(2)]
    await asyncio.sleep(0)

    waiting[0].cancel()

    assert await waiting[1] in await asyncio.gather(*busy)


async def test_a_connection_that_the_server_has_ended_is_made_anew(standing: Standing, migrated: Database) -> None:
    before = await backend(standing)
    async with migrated.hot.acquire() as db:
        await db.execute("SELECT pg_terminate_backend($1)", before)
    await asyncio.sleep(0.05)

    assert before != await backend(standing)


async def test_a_server_out_of_reach_does_not_use_up_the_connections() -> None:
    async def fail() -> "asyncpg.Connection[asyncpg.Record]":
        raise OSError

    gone = Standing(fail, 1)

    for _ in range(3):
        with pytest.raises(OSError):  # noqa: PT011 - as it was raised
            await backend(gone)
