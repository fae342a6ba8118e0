import asyncio

from app import clock
from app.store import keys
from app.store.db import Database
from app.store.keys import Scope


async def names(database: Database) -> list[str]:
    async with database.batch() as db:
        return [key.name for key in await keys.listed(db)]


async def test_a_given_key_is_made_once_and_another_is_one_more(database: Database) -> None:
    for secret in ("first-given-secret", "first-given-secret", "second-given-secret", "first-given-secret"):
        async with database.batch() as db:
            await keys.ensure(db, secret, clock.now())

    assert ["admin", "admin 2"] == await names(database)


async def test_a_given_key_that_was_revoked_stays_revoked(database: Database) -> None:
    async with database.batch() as db:
        await keys.ensure(db, "first-given-secret", clock.now())
        await keys.revoke(db, "admin", clock.now())
        await keys.ensure(db, "first-given-secret", clock.now())

        assert await keys.find(db, "first-given-secret") is None
    assert ["admin"] == await names(database)


async def test_several_processes_may_start_with_the_same_given_key_at_once(database: Database) -> None:
    together = asyncio.Barrier(6)

    async def start() -> None:
        async with database.batch() as db:
            await together.wait()
            await keys.ensure(db, "first-given-secret", clock.now())

    await asyncio.gather(*(start() for _ in range(6)))

    assert ["admin"] == await names(database)


async def test_a_revoked_key_keeps_the_moment_of_its_end(database: Database) -> None:
    async with database.batch() as db:
        await keys.create(db, "a", [Scope.READ], "some-secret", clock.now())
        first = await keys.revoke(db, "a", clock.now())
        second = await keys.revoke(db, "a", clock.now())

    assert first.revoked_at == second.revoked_at is not None
