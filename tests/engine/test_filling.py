"""A new counter's history is counted in one pass and added contact by contact; whatever happens between counts once."""

from decimal import Decimal

import pytest

from app.engine import merging
from app.engine.tally import stage
from app.store.db import Database
from tests.engine.worlds import NOON, POLICY, World, event, per_event


@pytest.fixture
async def world(database: Database) -> World:
    """Ada and Bob with two events each, a model that asks for them, and its job staged: counted, and not yet added."""
    world = World(database)
    await world.send(*(event("a", who) for who in ("ada@example.com", "bob@example.com") for _ in range(2)))
    job = await world.begin_publish("m", [per_event("a", 1)])
    async with database.batch() as db:
        await stage(db, [dict(row) for row in await db.fetch("UPDATE counter SET staged = true RETURNING *")])
        await db.execute("UPDATE job SET status = 'running', phase = 'filling' WHERE id = $1", job)
    return world


async def finish(world: World) -> None:
    for row in await world.rows("SELECT id FROM job ORDER BY id"):
        await world.run(row["id"])
    assert [] == await world.rows("SELECT * FROM staged_tally")


async def test_events_that_come_after_the_pass_are_counted_by_ingest_alone(world: World) -> None:
    await world.send(event("a"), event("a", "cyd@example.com"))

    await finish(world)

    assert Decimal(3) == await world.score()
    assert Decimal(2) == await world.score("bob@example.com")
    assert Decimal(1) == await world.score("cyd@example.com")


async def test_a_contact_erased_after_the_pass_leaves_nothing(world: World) -> None:
    ada = await world.contact()
    await world.erase(ada)

    await finish(world)

    assert [] == await world.rows("SELECT * FROM tally WHERE contact_id = $1", ada)
    assert {Decimal(2)} == set((await world.scores()).values())


async def test_contacts_merged_after_the_pass_count_each_event_once(world: World) -> None:
    ada, bob = await world.contact(), await world.contact("bob@example.com")
    async with world.database.batch() as db:
        await merging.merge(db, world.plans, ada, bob, NOON, POLICY)

    await finish(world)

    assert {ada: Decimal(4)} == await world.scores()


async def test_a_second_model_that_asks_the_same_meanwhile_shares_the_count(world: World) -> None:
    await world.begin_publish("n", [per_event("a", 10)])

    await finish(world)

    assert {Decimal(2)} == set((await world.scores("m")).values())
    assert {Decimal(20)} == set((await world.scores("n")).values())


async def test_a_counter_asked_for_again_while_its_tallies_are_being_dropped_begins_anew(database: Database) -> None:
    world = World(database)
    await world.send(event("a"))
    await world.publish("m", per_event("a", 1))
    tidy = await world.begin_publish("m", [])

    await world.run(tidy)
    again = await world.begin_publish("m", [per_event("a", 1)])
    await world.send(event("a"))
    await world.run(again)

    assert Decimal(2) == await world.score()
