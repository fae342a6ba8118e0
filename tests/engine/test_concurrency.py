import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any

import asyncpg
import pytest

from app.engine import identity, ingest, plan, publish
from app.engine.batching import Batcher, Outcome
from app.engine.contacts import Change, upsert
from app.engine.identity import ContactGone, Ref
from app.engine.ingest import NewEvent
from app.engine.plan import Plans
from app.errors import NotFound, Unavailable
from app.store import contacts
from app.store.db import Database
from tests.engine import reference
from tests.engine.worlds import NOON, POLICY, World, event, per_event, profile

RULES = [
    per_event("a", 1),
    per_event("b", 10, max_per_day=3),
    per_event({"field": "event.properties.n", "operator": ">=", "value": 3}, "0.5", window=4),
    profile("contact.stage", "=", "mql", 1000),
    profile("contact.bounced", "=", True, -1000),
]


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


def refs(people: int) -> list[list[Ref]]:
    """For each person, the ways in which senders name them; any two meet in some identity."""
    return [
        [
            Ref(email=f"{n}@example.com"),
            Ref(email=f"{n}@example.com", user_id=f"u{n}"),
            Ref(email=f"{n}@example.com", anonymous_id=f"cookie{n}"),
        ]
        for n in range(people)
    ]


def traffic(random: Random, people: int, batches: int) -> list[list[NewEvent]]:
    """Batches in which everybody turns up in any order, and every tenth event a second time."""
    named = refs(people)
    sent: list[NewEvent] = []
    made = []
    for _ in range(batches):
        part = {}
        for _ in range(random.randint(1, 6)):
            if sent and random.random() < 0.1:
                again = random.choice(sent)
                part[again.id] = again
                continue
            type_ = random.choice(["a", "b", "c", "email.bounced", "email.delivered", "email.unsubscribed"])
            bounce = {"bounce": "soft"} if type_ == "email.bounced" else {}
            new = event(
                type_,
                random.choice(random.choice(named)),
                NOON - timedelta(days=random.randint(0, 6), seconds=random.randint(0, 10**4)),
                n=random.randint(0, 5),
                **bounce,
            )
            part[new.id] = new
            sent.append(new)
        made.append(list(part.values()))
    return made


async def everything_is_as_the_judge_says(world: World, rules: list[reference.Rule], key: str = "m") -> None:
    assert await world.judged(rules) == await world.scores(key)


async def flags_follow_from_the_events(world: World) -> None:
    for person in await world.rows("SELECT * FROM contact"):
        history = reference.History(person["email"], POLICY.limit, POLICY.days)
        for row in await world.rows("SELECT * FROM event WHERE contact_id = $1", person["id"]):
            history.tell(
                reference.Mail(row["type"], row["occurred_at"], row["address"], row["properties"].get("bounce"))
            )
        assert history.flags() == (person["opted_out"], person["bounced"], person["bounce_status"])


# --- many writers on few contacts -------------------------------------------------------------------------------------


async def test_many_writers_on_few_contacts_lose_nothing_and_count_nothing_twice(world: World) -> None:
    await world.publish("m", *RULES)
    shifts = [traffic(Random(n), people=5, batches=40) for n in range(4)]

    async def write(number: int) -> int:
        """Of two writers each, the same batches, in orders of their own."""
        random, plans, new = Random(number), Plans(), 0
        parts = [random.sample(part, len(part)) for part in shifts[number % 4]]
        for part in random.sample(parts, len(parts)):
            async with world.database.batch() as db:
                new += len(await ingest.accept(db, plans, part, world.now, POLICY))
        return new

    new = await asyncio.gather(*(write(number) for number in range(8)))

    distinct = {one.id for shift in shifts for part in shift for one in part}
    assert len(distinct) == sum(new) == await world.value("SELECT count(*) FROM event")
    assert 5 == await world.value("SELECT count(*) FROM contact")
    await everything_is_as_the_judge_says(world, RULES)
    await flags_follow_from_the_events(world)


async def test_requests_that_share_a_commit_lose_nothing_and_each_learns_what_was_new(world: World) -> None:
    await world.publish("m", *RULES)
    requests = [part for n in range(8) for part in traffic(Random(n), people=5, batches=40)]
    again = requests + requests[::3]
    Random(0).shuffle(again)

    async with Batcher(world.database, world.plans, POLICY, lanes=4) as batcher:
        outcomes: list[Outcome] = await asyncio.gather(*(batcher.submit(part) for part in again))

    distinct = {one.id for part in requests for one in part}
    assert len(distinct) == sum(one.accepted for one in outcomes)
    assert sum(map(len, again)) == sum(one.accepted + one.duplicates for one in outcomes)
    assert not any(one.refused for one in outcomes)
    await everything_is_as_the_judge_says(world, RULES)
    await flags_follow_from_the_events(world)


EDITS = [RULES[:2], RULES[1:4], [], RULES, [per_event("c", 3), *RULES[3:]], RULES[:3]]


async def test_publishing_changes_and_erasures_beside_ingest_end_in_what_the_judge_says(world: World) -> None:
    await world.publish("m", *RULES[:1])
    await world.publish("n", per_event("c", 1), per_event("a", 1))
    shifts = [traffic(Random(n), people=5, batches=40) for n in range(4)]
    finished = asyncio.Event()

    async def write(batcher: Batcher, number: int) -> None:
        for part in shifts[number]:
            assert not (await batcher.submit(part)).refused

    # Two plans, as two processes have them.
    async with (
        Batcher(world.database, Plans(), POLICY, lanes=2) as one,
        Batcher(world.database, Plans(), POLICY, lanes=2) as two,
        asyncio.TaskGroup() as side,
    ):
        side.create_task(change_often(world, finished))
        side.create_task(erase_often(world, finished))
        async with asyncio.TaskGroup() as main:
            main.create_task(publish_often(world))
            main.create_task(archive_and_delete(world))
            for number in range(4):
                main.create_task(write(one if number % 2 else two, number))
        finished.set()

    await everything_is_as_the_judge_says(world, EDITS[-1])
    await everything_is_as_the_judge_says(world, [per_event("c", 1), per_event("a", 1)], "n")
    await flags_follow_from_the_events(world)
    assert 0 == await world.value("SELECT count(*) FROM tally WHERE counter_id NOT IN (SELECT id FROM counter)")
    for table in ("event", "tally", "score", "identity", "activity"):
        orphans = f"SELECT count(*) FROM {table} WHERE contact_id NOT IN (SELECT id FROM contact)"
        assert 0 == await world.value(orphans)


async def publish_often(world: World) -> None:
    for rules in EDITS:
        await world.publish("m", *rules)
        await asyncio.sleep(0.05)


async def archive_and_delete(world: World) -> None:
    for n in range(3):
        key = f"brief{n}"
        await world.publish(key, *RULES[:2], per_event(f"t{n}", 1))
        async with world.database.batch() as db:
            tidy = await (publish.archive if n % 2 else publish.delete)(db, key, world.now)
        await world.run(tidy)


async def change_often(world: World, finished: asyncio.Event) -> None:
    random, plans = Random(99), Plans()
    while not finished.is_set():
        ref = Ref(email=f"{random.randrange(5)}@example.com")
        said = Change(frozenset({"stage"}), stage=random.choice(["mql", None]))
        # Whoever meets an erasure begins again: here, with somebody else.
        with suppress(ContactGone, asyncpg.ForeignKeyViolationError):
            async with world.database.batch() as db:
                await upsert(db, plans, [(ref, said)], "test", world.now, POLICY)
        await asyncio.sleep(0.005)


async def erase_often(world: World, finished: asyncio.Event) -> None:
    random = Random(7)
    while not finished.is_set():
        known = await world.rows("SELECT id FROM contact")
        if known:
            with suppress(NotFound):
                await world.erase(random.choice(known)["id"])
        await asyncio.sleep(0.05)


# --- who waits for whom -----------------------------------------------------------------------------------------------


async def waiting(world: World, count: int) -> None:
    """Until so many transactions wait for a lock."""
    waiters = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(5):
        while await world.value(waiters) < count:  # noqa: ASYNC110 - what is waited for happens in Postgres
            await asyncio.sleep(0.01)


@asynccontextmanager
async def plan_held(database: Database) -> AsyncIterator[None]:
    """As ingest holds it."""
    async with database.batch() as db:
        await plan.share(db)
        yield


async def test_an_address_attached_by_one_batch_and_flags_set_by_another_wait_for_each_other(world: World) -> None:
    await world.send(event("a", Ref(user_id="u1")))
    ada = await world.value("SELECT id FROM contact")

    async with world.database.batch() as db:
        await identity.lock(db, [ada])
        attaching = asyncio.create_task(world.send(event("a", Ref(user_id="u1", email="ada@example.com"))))
        await waiting(world, 1)
        people = await contacts.load(db, [ada])
        people[ada].opted_out = True
        await contacts.save(db, list(people.values()))
    await attaching

    row = await world.row()
    assert (True, "ada@example.com") == (row["opted_out"], row["email"])


async def test_archiving_a_model_waits_for_its_publishing_and_never_in_a_circle(world: World) -> None:
    job = await world.begin_publish("m", [per_event("a", 1)])

    async with plan_held(world.database):
        publishing = asyncio.create_task(world.run(job))
        await waiting(world, 1)
        archiving = asyncio.create_task(in_batch(world, lambda db: publish.archive(db, "m", world.now)))
        await waiting(world, 2)
    await asyncio.gather(publishing, archiving)

    assert "done" == await world.value("SELECT status FROM job WHERE id = $1", job)


async def test_two_models_published_at_once_with_a_counter_in_common_wait_and_never_in_a_circle(world: World) -> None:
    job = await world.begin_publish("m", [per_event("a", 1)])
    await world.draft("n", [per_event("a", 1), per_event("b", 1)])

    async with plan_held(world.database):
        publishing = asyncio.create_task(world.run(job))
        await waiting(world, 1)
        other = asyncio.create_task(in_batch(world, lambda db: publish.publish(db, "n", "test", world.now)))
        await waiting(world, 2)
    await publishing
    await world.run((await other).job)

    await world.send(event("a"))
    assert (Decimal(1), Decimal(1)) == (await world.score(key="m"), await world.score(key="n"))


async def test_a_counter_is_not_dropped_between_being_found_and_being_needed(world: World) -> None:
    await world.publish("m", per_event("a", 1))
    await world.send(event("a"))
    letting_go = await world.begin_publish("m", [per_event("b", 1)])
    await world.draft("n", [per_event("a", 1)])

    async with world.database.batch() as db:
        needing = (await publish.publish(db, "n", "test", world.now)).job
        dropping = asyncio.create_task(world.run(letting_go))
        await waiting(world, 1)
    await dropping
    await world.run(needing)
    await world.send(event("a"))

    assert Decimal(2) == await world.score(key="n")


async def in_batch(world: World, work: Any) -> Any:
    async with world.database.batch() as db:
        return await work(db)


# --- ends -------------------------------------------------------------------------------------------------------------


async def test_whoever_waits_when_the_batcher_closes_is_told_to_come_back(world: World) -> None:
    async with world.database.batch() as db:
        await plan.change(db)  # nobody can ingest now
        async with Batcher(world.database, world.plans, POLICY, lanes=1) as batcher:
            sent = [asyncio.create_task(batcher.submit([event("a")])) for _ in range(2)]
            await waiting(world, 1)
            sent.append(asyncio.create_task(batcher.submit([event("a")])))
            await asyncio.sleep(0.05)
        outcomes = await asyncio.wait_for(asyncio.gather(*sent, return_exceptions=True), 5)

    assert [Unavailable] * 3 == [type(outcome) for outcome in outcomes]
    assert 0 == await world.value("SELECT count(*) FROM event")


async def test_an_event_that_the_database_cannot_hold_is_refused_alone(world: World) -> None:
    good = [event("a", f"{n}@example.com") for n in range(5)]
    bad = event("a")._replace(properties='{"n": "\\u0000"}')

    async with Batcher(world.database, world.plans, POLICY) as batcher:
        outcome = await batcher.submit([*good[:3], bad, *good[3:]])

    assert (5, 0, {bad.id}) == (outcome.accepted, outcome.duplicates, set(outcome.refused))
    assert 5 == await world.value("SELECT count(*) FROM event")
