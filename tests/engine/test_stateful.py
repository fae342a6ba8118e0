"""Whatever is done, in whatever order, by however many at once, wherever a worker dies: the judge agrees in the end.

The machine makes sense of everything from seeds, as the strategies do. It runs on an event loop and a database of its
own, since Hypothesis calls its steps one by one.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from functools import partial
from random import Random
from typing import Any, TypeVar
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from app import clock
from app.engine import adjustments, contacts, declared, ingest, measures, merging, publish, segments
from app.engine.contacts import Change, upsert
from app.engine.fields import FieldType
from app.engine.identity import Ref
from app.engine.ingest import NewEvent
from app.engine.plan import Plans
from app.engine.sweep import sweep
from app.engine.transactions import committed
from app.errors import Conflict, InvalidInput, NotFound
from app.store import schema
from app.store.db import Connection, Database
from tests.engine.reference import Sheet
from tests.engine.strategies import (
    CONTACT_PROPERTIES,
    Adjust,
    Teller,
    contact_condition,
    happened,
    measure,
    seeds,
    sheet,
    step,
    unshrunk,
)
from tests.engine.worlds import NOON, POLICY, Deployment, World, at, event, per_event

DAY = timedelta(days=1)
T = TypeVar("T")
NAMES = ["ada", "bob", "cyd", "dan"]
MODELS = ["m0", "m1", "m2", "m3"]
SEGMENTS = ["s0", "s1", "s2"]
MEASURES = ["n0", "n1"]
REFUSALS = (Conflict, InvalidInput, NotFound)
"""What the product may say to a definition that does not fit what else there is."""


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


class WorkerDied(Exception):
    pass


class DyingDatabase:
    """A database whose user dies: at the end of one of its transactions, before or after the commit."""

    def __init__(self, database: Database, after: int, *, is_committed: bool) -> None:
        self.hot = database.hot
        self._database = database
        self._left = after
        self._is_committed = is_committed

    @asynccontextmanager
    async def batch(self) -> AsyncIterator[Connection]:
        self._left -= 1
        if self._left < 0:
            raise WorkerDied
        async with self._database.batch() as db:
            yield db
            if self._left == 0 and not self._is_committed:
                raise WorkerDied
        if self._left == 0:
            raise WorkerDied


# --- one after another ------------------------------------------------------------------------------------------------


class Machine(RuleBasedStateMachine):
    """Everything that can be done to a deployment. Jobs wait until somebody works; then all must be right."""

    runner: asyncio.Runner
    world: World

    def __init__(self) -> None:
        super().__init__()
        self.run(self.world.clear())
        self.teller = Teller(self.world)
        self.said = self.teller.deployment
        """What counts, once all jobs have run."""
        self.versions: dict[tuple[str, int], Sheet] = {}
        self.present: dict[UUID, NewEvent] = {}
        """Events of contacts that have not been erased, by their ids."""
        self.is_settled = True

    def run(self, work: Coroutine[Any, Any, T]) -> T:  # Any: as asyncio has it
        return self.runner.run(work)

    # What comes in

    @rule(seed=seeds)
    def send(self, seed: int) -> None:
        self.run(self._send(Random(seed)))

    @initialize(seed=seeds)
    def begin(self, seed: int) -> None:
        random = Random(seed)
        self.run(self._send(random, 25))
        for key in MODELS[:2]:
            self.run(self._publish(key, random))
            self.run(self.world.work())
        self.is_settled = True

    async def _send(self, random: Random, most: int = 8) -> None:
        batch = {one.id: one for one in (self._new(random) for _ in range(random.randint(1, most)))}
        if self.present and random.random() < 0.5:
            again = random.choice(list(self.present.values()))
            batch[again.id] = again
        fresh = await self.world.send(*batch.values())
        assert batch.keys() - self.present.keys() == fresh
        self.present |= batch

    def _new(self, random: Random) -> NewEvent:
        one, name = happened(random), random.choice(NAMES)
        named = [Ref(email=f"{name}@example.com"), Ref(user_id=f"user-{name}")]
        if not one.type.startswith("email."):  # which says whose address it was about
            named.append(Ref(email=f"{name}@example.com", user_id=f"user-{random.choice(NAMES)}"))
            visit = f"visit-{random.choice(NAMES)}"
            named += [Ref(anonymous_id=visit), Ref(user_id=f"user-{name}", anonymous_id=visit)]
        when = at(f"{self.world.now.date() + one.days * DAY} {one.time}")
        return event(one.type, random.choice(named), when, source=one.source, **one.properties)

    # What is done to contacts

    @rule(seed=seeds)
    def say(self, seed: int) -> None:
        self.run(self._say(Random(seed)))

    async def _say(self, random: Random) -> None:
        contact = await self._somebody(random)
        if contact is not None:
            said: list[dict[str, Any]] = [  # Any: as in Change
                {"stage": random.choice([None, "MQL"])},
                {"tags": random.choice([(), ("vip",)])},
                {"properties": random.choice(CONTACT_PROPERTIES)},
                {"properties": random.choice(CONTACT_PROPERTIES)},
                {"email": random.choice([None, f"{random.choice(NAMES)}@example.{random.choice(['com', 'org'])}"])},
                {"bounced": random.choice([True, False])},
            ]
            with suppress(*REFUSALS):  # another has this address, or a value is not of its declared type
                await self.world.change(contact, **random.choice(said))

    @rule(seed=seeds)
    def erase(self, seed: int) -> None:
        self.run(self._erase(Random(seed)))

    async def _erase(self, random: Random) -> None:
        contact = await self._somebody(random)
        if contact is None:
            return
        identities = await self.world.rows("SELECT value FROM identity WHERE contact_id = $1", contact)
        for row in await self.world.rows("SELECT id FROM event WHERE contact_id = $1", contact):
            del self.present[row["id"]]
        await self.world.erase(contact)
        await leaves_no_trace(self.world, contact, [row["value"] for row in identities])

    @rule(seed=seeds)
    def merge(self, seed: int) -> None:
        self.run(self._merge(Random(seed)))

    async def _merge(self, random: Random) -> None:
        known = await self._everybody()
        if len(known) > 1:
            survivor, other = random.sample(known, 2)
            await self.world.merge(survivor, other)
            await leaves_no_trace(self.world, other, [])

    @rule(seed=seeds)
    def unmerge(self, seed: int) -> None:
        self.run(self._unmerge(Random(seed)))

    async def _unmerge(self, random: Random) -> None:
        held = await self.world.rows("SELECT contact_id, gone FROM merge WHERE undone_at IS NULL ORDER BY id")
        if held:
            one = random.choice(held)
            await self.world.unmerge(one["contact_id"], one["gone"])

    @rule(seed=seeds)
    def adjust(self, seed: int) -> None:
        self.run(self._adjust(Random(seed)))

    async def _adjust(self, random: Random) -> None:
        one = step(random)
        while not isinstance(one, Adjust):
            one = step(random)
        with suppress(*REFUSALS):  # its model may not count yet
            await self.teller.happen(replace(one, who=f"{random.choice(NAMES)}@example.com"))

    @rule(seed=seeds)
    def revoke(self, seed: int) -> None:
        self.run(self._revoke(Random(seed)))

    async def _revoke(self, random: Random) -> None:
        rows = await self.world.rows("SELECT contact_id, id FROM adjustment WHERE revoked_at IS NULL ORDER BY id")
        if rows:
            row = random.choice(rows)
            await self.world.revoke(row["contact_id"], row["id"])

    # What is defined

    @rule(key=st.sampled_from(MODELS), seed=seeds)
    def publish(self, key: str, seed: int) -> None:
        self.run(self._publish(key, Random(seed)))

    @rule(key=st.sampled_from(MODELS), seed=seeds)
    def publish_and_die(self, key: str, seed: int) -> None:
        """The worker, not whoever publishes."""
        random = Random(seed)
        self.run(self._publish(key, random))
        self.run(self._die(random))

    async def _publish(self, key: str, random: Random) -> None:
        said = sheet(random, self._known(key))
        with suppress(*REFUSALS):
            await self.world.begin_publish(key, said)
            self._waits()
            await self._note_versions(key, said)

    @rule(seed=seeds)
    def publish_again(self, seed: int) -> None:
        self.run(self._publish_again(Random(seed)))

    async def _publish_again(self, random: Random) -> None:
        if self.versions:
            key, version = random.choice(list(self.versions))
            with suppress(*REFUSALS):
                await self.world.begin_publish(key, version=version)
                self._waits()
                await self._note_versions(key, self.versions[key, version])

    async def _note_versions(self, key: str, said: Sheet) -> None:
        """The newest version of a model says this, and that of a grid that follows it what the one before said."""
        rows = await self.world.rows(
            "SELECT m.key, v.version FROM scoring_model m JOIN model_version v ON v.model_id = m.id ORDER BY 1, 2"
        )
        for row in rows:
            if (row["key"], row["version"]) not in self.versions:
                is_it = row["key"] == key
                newest = said if is_it else self.versions[row["key"], row["version"] - 1]
                self.versions[row["key"], row["version"]] = self.said.models[row["key"]] = newest

    @precondition(lambda self: self.said.models)
    @rule(seed=seeds)
    def end(self, seed: int) -> None:
        self.run(self._end(Random(seed)))

    async def _end(self, random: Random) -> None:
        key = max(random.choices(list(self.said.models), k=2))  # rather one that nobody needs
        do = random.choice([publish.archive, publish.archive, publish.delete])
        with suppress(*REFUSALS):
            async with self.world.database.batch() as db:
                await do(db, key, self.world.now)
            self._waits()
            del self.said.models[key]
            if do is publish.delete:
                self.versions = {pair: said for pair, said in self.versions.items() if pair[0] != key}

    @precondition(lambda self: {key for key, _ in self.versions} - self.said.models.keys())
    @rule()
    def unarchive(self) -> None:
        self.run(self._unarchive())

    async def _unarchive(self) -> None:
        for key in {key for key, _ in self.versions} - self.said.models.keys():
            async with self.world.database.batch() as db:
                await publish.unarchive(db, key)

    @rule(key=st.sampled_from(SEGMENTS), seed=seeds)
    def define_segment(self, key: str, seed: int) -> None:
        self.run(self._define_segment(key, Random(seed)))

    async def _define_segment(self, key: str, random: Random) -> None:
        condition = contact_condition(random, self._known(key.replace("s", "m")))
        with suppress(*REFUSALS):
            async with self.world.database.batch() as db:
                if key in self.said.segments:
                    await segments.change(db, key, {"condition": condition}, self.world.now)
                else:
                    await segments.create(db, segments.Wanted(key, key, None, condition), self.world.now)
            self._waits()
            self.said.segments[key] = condition

    @precondition(lambda self: self.said.segments)
    @rule(seed=seeds)
    def drop_segment(self, seed: int) -> None:
        self.run(self._drop_segment(Random(seed).choice(list(self.said.segments))))

    async def _drop_segment(self, key: str) -> None:
        with suppress(*REFUSALS):
            async with self.world.database.batch() as db:
                await segments.delete(db, key)
            del self.said.segments[key]

    @precondition(lambda self: len(self.said.measures) < len(MEASURES))
    @rule(seed=seeds)
    def make_measure(self, seed: int) -> None:
        self.run(self._make_measure(Random(seed)))

    async def _make_measure(self, random: Random) -> None:
        key, said = random.choice([one for one in MEASURES if one not in self.said.measures]), measure(random)
        await self.world.begin_measure(key, said)
        self._waits()
        self.said.measures[key] = said
        if random.random() < 0.3:
            await self._die(random)

    @precondition(lambda self: self.said.measures)
    @rule(seed=seeds)
    def drop_measure(self, seed: int) -> None:
        self.run(self._drop_measure(Random(seed).choice(list(self.said.measures))))

    async def _drop_measure(self, key: str) -> None:
        with suppress(*REFUSALS):
            async with self.world.database.batch() as db:
                await measures.delete(db, key, self.world.now)
            self._waits()
            del self.said.measures[key]

    @rule(name=st.sampled_from(["employees", "country", "patience"]), kind=st.sampled_from(["text", "number"]))
    def declare(self, name: str, kind: str) -> None:
        self.run(self._declare(name, kind))

    async def _declare(self, name: str, kind: str) -> None:
        with suppress(*REFUSALS):
            async with self.world.database.batch() as db:
                await declared.declare(db, name, FieldType(kind), self.world.now)
            self._waits()
            self.said.types[f"contact.properties.{name}"] = kind

    @precondition(lambda self: self.said.types)
    @rule()
    def withdraw(self) -> None:
        self.run(self._withdraw())

    async def _withdraw(self) -> None:
        name = next(iter(self.said.types))
        with suppress(*REFUSALS):
            async with self.world.database.batch() as db:
                await declared.withdraw(db, name.removeprefix("contact.properties."), self.world.now)
            self._waits()
            del self.said.types[name]

    def _known(self, key: str) -> Deployment:
        """What a model may name: measures, and the models and segments before it, so that no circle comes of it."""
        place = int(key[1:])
        return Deployment(
            models={one: said for one, said in self.said.models.items() if int(one[1:]) < place},
            segments={one: said for one, said in self.said.segments.items() if int(one[1:]) < place},
            measures=dict(self.said.measures),
        )

    # What passes

    @rule(hours=st.sampled_from([1, 12, 24, 7 * 24]))
    def pass_time(self, hours: int) -> None:
        """Asleep: nobody sweeps before the next check."""
        self.world.go_to(self.world.now + timedelta(hours=hours))

    async def _die(self, random: Random) -> None:
        """A worker begins all jobs, the oldest first, and dies somewhere."""
        waiting = await self.world.rows("SELECT id FROM job WHERE status IN ('queued', 'running') ORDER BY id")
        dying = DyingDatabase(self.world.database, random.randint(1, 9), is_committed=random.random() < 0.5)
        with suppress(WorkerDied):
            for row in waiting:
                await self.world.run(row["id"], dying)

    @precondition(lambda self: not self.is_settled)
    @rule()
    def work(self) -> None:
        self.run(self.world.work())
        self.is_settled = True

    @invariant()
    def everything_agrees(self) -> None:
        if self.is_settled:
            self.run(self._agree())

    async def _agree(self) -> None:
        await self.world.sweep()
        await self.world.agree(self.said)
        report = await self.world.verified()
        assert (0, 0, [], []) == (report.count, report.due, report.busy, report.differences)
        await nothing_is_left_over(self.world)
        stored = {row["id"] for row in await self.world.rows("SELECT id FROM event")}
        assert self.present.keys() == stored

    def teardown(self) -> None:
        self.run(self.world.work())
        self.run(self._agree())
        self.run(self._is_made_from_nothing())

    async def _is_made_from_nothing(self) -> None:
        kept = await self.world.kept()
        assert kept == await self.world.from_nothing()

    def _waits(self) -> None:
        self.is_settled = False

    async def _everybody(self) -> list[UUID]:
        return [row["id"] for row in await self.world.rows("SELECT id FROM contact ORDER BY id")]

    async def _somebody(self, random: Random) -> UUID | None:
        known = await self._everybody()
        return random.choice(known) if known else None


async def leaves_no_trace(world: World, contact: UUID, names: list[str]) -> None:
    """No row of the contact in any table that has one, and its names nowhere at all."""
    tables = await world.rows(
        """
        SELECT t.table_name AS name, EXISTS (
            SELECT FROM information_schema.columns c
            WHERE c.table_schema = 'public' AND c.table_name = t.table_name AND c.column_name = 'contact_id'
        ) AS is_of_contacts
        FROM information_schema.tables t WHERE t.table_schema = 'public' AND t.table_type = 'BASE TABLE'
        """
    )
    for table in tables:
        name = table["name"]
        if table["is_of_contacts"]:
            assert 0 == await world.value(f"SELECT count(*) FROM {name} WHERE contact_id = $1", contact), name
        for said in names:
            found = await world.rows(f"SELECT t::text AS row FROM {name} t WHERE strpos(t::text, $1) > 0", said)
            assert [] == found, name


async def nothing_is_left_over(world: World) -> None:
    """No row of a contact, counter or model that is not there, and nothing that waits to be added."""
    for table in ("event", "tally", "score", "identity", "activity", "adjustment", "score_change", "contact_past"):
        query = f"SELECT count(*) FROM {table} WHERE contact_id NOT IN (SELECT id FROM contact)"
        assert 0 == await world.value(query), table
    assert 0 == await world.value("SELECT count(*) FROM tally WHERE counter_id NOT IN (SELECT id FROM counter)")
    assert 0 == await world.value("SELECT count(*) FROM score WHERE model_id NOT IN (SELECT id FROM scoring_model)")
    assert 0 == await world.value("SELECT count(*) FROM staged_tally")
    assert [] == await world.broken_histories()
    assert 0 == await world.value("SELECT count(*) FROM counter WHERE retired_by IS NOT NULL OR NOT filled")
    assert 0 == await world.value("SELECT count(*) FROM job WHERE status IN ('queued', 'running')")


def test_whatever_is_done_in_whatever_order_ends_in_what_the_judge_says(blank: str) -> None:
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        database = Database(blank)
        runner.run(database.__aenter__())
        try:
            runner.run(schema.migrate(database.engine))
            Machine.runner, Machine.world = runner, World(database)
            run_state_machine_as_test(
                Machine,
                settings=settings(
                    max_examples=int(os.environ.get("N", "6")),
                    stateful_step_count=int(os.environ.get("STEPS", "16")),
                    deadline=None,
                    phases=unshrunk,
                    suppress_health_check=[HealthCheck.too_slow],
                ),
            )
        finally:
            runner.run(database.__aexit__())
            clock.shift(timedelta())


# --- a worker that dies between two chunks ----------------------------------------------------------------------------


PLAIN = [per_event("a", 1), replace(per_event("b", 10), distinct_by="event.source")]


async def counted_plainly(world: World) -> dict[UUID, int]:
    """What these rules give, by no machinery at all."""
    rows = await world.rows(
        """
        SELECT contact_id, count(*) FILTER (WHERE type = 'a') + 10 * count(DISTINCT source) FILTER (WHERE type = 'b')
            AS value
        FROM event GROUP BY 1
        """
    )
    return {row["contact_id"]: row["value"] for row in rows}


@pytest.mark.parametrize("after", [4, 5, 9, 10])
async def test_a_worker_that_dies_between_two_chunks_is_followed_by_one_that_counts_nothing_twice(
    world: World, after: int
) -> None:
    await many_contacts(world, 4_500)
    job = await world.begin_publish("m", PLAIN)
    with suppress(WorkerDied):
        await world.run(job, DyingDatabase(world.database, after, is_committed=True))
    first, *_, last = await world.rows("SELECT contact_id AS id FROM activity ORDER BY 1")
    await world.merge(first["id"], last["id"])
    for email in ("1@example.com", "2000@example.com", "4499@example.com", "new@example.com"):
        await world.send(event("a", email), event("b", email))

    await world.run(job)

    expected = await counted_plainly(world)
    assert 4_500 == len(expected)
    assert expected == await world.scores()
    assert 0 == (await world.verified()).count
    await nothing_is_left_over(world)


class GatedDatabase:
    """A database whose user stands still at gates, before or after its transactions of these numbers, until let on."""

    def __init__(self, database: Database, *gates: tuple[str, int]) -> None:
        self.hot = database.hot
        self._database = database
        self._begun = 0
        self._reached = {gate: asyncio.Event() for gate in gates}
        self._opened = {gate: asyncio.Event() for gate in gates}

    @asynccontextmanager
    async def batch(self) -> AsyncIterator[Connection]:
        self._begun += 1
        number = self._begun
        await self._stand("before", number)
        async with self._database.batch() as db:
            yield db
        await self._stand("after", number)

    async def _stand(self, side: str, number: int) -> None:
        if (side, number) in self._reached:
            self._reached[side, number].set()
            await self._opened[side, number].wait()

    async def reached(self, side: str, number: int) -> None:
        async with asyncio.timeout(5):
            await self._reached[side, number].wait()

    def let_on(self, side: str, number: int) -> None:
        self._opened[side, number].set()


async def test_a_worker_that_was_taken_for_dead_and_lives_leaves_nobody_out(world: World) -> None:
    await world.send(event("a"))
    job = await world.begin_publish("m", PLAIN)
    with suppress(WorkerDied):
        await world.run(job, DyingDatabase(world.database, 4, is_committed=True))
    # Each begins the job, reads the version, asks for its phase, fills the only chunk, lets the version count, scores.
    slow = GatedDatabase(world.database, ("before", 4), ("after", 4))
    quick = GatedDatabase(world.database, ("after", 5))

    async with asyncio.TaskGroup() as workers:
        workers.create_task(world.run(job, slow))
        await slow.reached("before", 4)
        quickly = workers.create_task(world.run(job, quick))
        await quick.reached("after", 5)
        slow.let_on("before", 4)
        await slow.reached("after", 4)
        quick.let_on("after", 5)
        await quickly
        slow.let_on("after", 4)

    assert 1 == await world.score()
    assert "done" == await world.value("SELECT status FROM job WHERE id = $1", job)


async def test_two_workers_at_one_job_since_one_took_the_other_for_dead_count_nothing_twice(world: World) -> None:
    await many_contacts(world, 4_500)
    job = await world.begin_publish("m", PLAIN)

    sending = (world.send(event("a", f"{n}@example.com")) for n in range(4_450, 4_550))
    await asyncio.gather(world.run(job), world.run(job), *sending)

    assert await counted_plainly(world) == await world.scores()
    assert "done" == await world.value("SELECT status FROM job WHERE id = $1", job)
    await nothing_is_left_over(world)


async def many_contacts(world: World, count: int) -> None:
    """Each with one event of type a and two of type b, as if they had been there for long."""
    await world.execute(
        """
        WITH made AS (
            INSERT INTO contact (id, email, created_at, updated_at)
            SELECT gen_random_uuid(), n || '@example.com', $2, $2 FROM generate_series(1, $1::int) AS n
            RETURNING id, email
        ), active AS (
            INSERT INTO activity (contact_id, last_event_at) SELECT id, $2 FROM made
        ), named AS (
            INSERT INTO identity (kind, value, contact_id) SELECT 'email', email, id FROM made
        )
        INSERT INTO event (id, contact_id, type, source, occurred_at, received_at, properties)
        SELECT gen_random_uuid(), id, type, 'test', $2, $2, '{}' FROM made, unnest('{a,b,b}'::text[]) AS type
        """,
        count,
        NOON,
    )


# --- beside a count of all history, which may take minutes ------------------------------------------------------------


@asynccontextmanager
async def counting(world: World) -> AsyncIterator[None]:
    """A model is being published, and the count of its events does not come to an end inside."""
    await world.send(event("a"), event("a", "bob@example.com"))
    job = await world.begin_publish("m", [per_event("a", 1)])
    async with world.database.batch() as db:
        await db.execute("LOCK TABLE staged_tally IN SHARE MODE")
        count = asyncio.create_task(world.run(job))
        await are_waiting(world, 1)
        yield
    await count


async def are_waiting(world: World, count: int) -> None:
    """Until so many transactions wait for a lock."""
    waiters = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(5):
        while await world.value(waiters) < count:  # noqa: ASYNC110 - what is waited for happens in Postgres
            await asyncio.sleep(0.01)


async def test_a_model_that_is_archived_while_its_history_is_counted_holds_nobody_up(world: World) -> None:
    async with counting(world), asyncio.timeout(5):
        async with world.database.batch() as db:
            await publish.archive(db, "m", world.now)
        await world.send(event("a"))

    await world.work()
    await nothing_is_left_over(world)
    assert 0 == await world.value("SELECT count(*) FROM counter")


@pytest.mark.parametrize("apart", [False, True])
async def test_contacts_merged_and_taken_apart_while_history_is_counted_wait_for_nobody_and_count_once(
    world: World, apart: bool
) -> None:
    visit, visitor = Ref(anonymous_id="visit"), Ref("ada@example.com", None, "visit")
    await world.send(event("a"), event("a", "bob@example.com"), event("a", visit))
    ada, bob = await world.contact(), await world.contact("bob@example.com")
    job = await world.begin_publish("m", [per_event("a", 1)])
    async with world.database.batch() as db:
        await db.execute("SELECT FROM counter FOR UPDATE")  # what the count writes last
        count = asyncio.create_task(world.run(job))
        await are_waiting(world, 1)
        async with asyncio.timeout(5):
            await world.merge(ada, bob)
            await world.send(event("a", visitor), event("a", visit))
            if apart:
                await world.unmerge(ada, bob)
            await world.begin_publish("n", [per_event("a", 10)])
            await world.send(event("a"))
    await count

    await world.work()
    points = {ada: 5, bob: 1} if apart else {ada: 6}
    assert {one: Decimal(n) for one, n in points.items()} == await world.scores()
    assert {one: Decimal(10 * n) for one, n in points.items()} == await world.scores("n")
    await nothing_is_left_over(world)


# --- all at once ------------------------------------------------------------------------------------------------------


class Crowd:
    """Everybody who writes at once, each again and again until the senders of events have sent all."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.plans = [Plans(), Plans()]
        """As two processes have them."""
        self.told: set[UUID] = set()
        self.erased: set[UUID] = set()
        self.is_over = asyncio.Event()
        self.said = Deployment()

    async def send(self, random: Random, batches: int) -> None:
        plans = random.choice(self.plans)
        for _ in range(batches):
            batch = [self._new(random) for _ in range(random.randint(1, 5))]
            work = partial(ingest.accept, plans=plans, events=batch, now=self.world.now, policy=POLICY)
            new = await committed(self.world.database, work)
            assert {one.id for one in batch} == new
            self.told |= new

    def _new(self, random: Random) -> NewEvent:
        one, name = happened(random), random.choice(NAMES)
        refs = [Ref(email=f"{name}@example.com"), Ref(user_id=f"user-{name}"), Ref(anonymous_id=f"visit-{name}")]
        ref = random.choice([*refs, Ref(user_id=f"user-{name}", anonymous_id=f"visit-{random.choice(NAMES)}")])
        when = at(f"{self.world.now.date() + one.days * DAY} {one.time}")
        return event(one.type, ref, when, id=str(uuid4()), source=one.source, **one.properties)

    async def repeat(self, work: Any, seed: str) -> None:  # Any: a method of this class
        random = Random(seed)
        plans = random.choice(self.plans)
        while not self.is_over.is_set():
            known = [row["id"] for row in await self.world.rows("SELECT id FROM contact")]
            if len(known) > 1:
                with suppress(NotFound):  # somebody was faster
                    await work(random, plans, random.sample(known, 2))
            await asyncio.sleep(random.random() / 20)

    async def change(self, random: Random, plans: Plans, _: list[UUID]) -> None:
        ref = Ref(email=f"{random.choice(NAMES)}@example.com")
        said = Change(frozenset({"stage", "properties"}), stage="mql", properties=random.choice(CONTACT_PROPERTIES))
        now = self.world.now
        await committed(self.world.database, lambda db: upsert(db, plans, [(ref, said)], "test", now, POLICY))

    async def merge(self, _: Random, plans: Plans, pair: list[UUID]) -> None:
        now, (survivor, other) = self.world.now, pair
        await committed(self.world.database, lambda db: merging.merge(db, plans, survivor, other, now, POLICY))

    async def unmerge(self, random: Random, plans: Plans, _: list[UUID]) -> None:
        held = await self.world.rows("SELECT contact_id, gone FROM merge WHERE undone_at IS NULL")
        if held:
            now, one = self.world.now, random.choice(held)
            contact, part = one["contact_id"], one["gone"]
            with suppress(InvalidInput):  # somebody was faster
                await committed(self.world.database, lambda db: merging.unmerge(db, plans, contact, part, now, POLICY))

    async def erase(self, _: Random, plans: Plans, pair: list[UUID]) -> None:
        async def erase(db: Connection) -> set[UUID]:
            await plans.hold(db)
            await contacts.lock_existing(db, pair[0])
            rows = await db.fetch("SELECT id FROM event WHERE contact_id = $1", pair[0])
            await contacts.erase(db, plans, pair[0])
            return {row["id"] for row in rows}

        self.erased |= await committed(self.world.database, erase)

    async def adjust(self, random: Random, plans: Plans, pair: list[UUID]) -> None:
        kind = random.choice(list(adjustments.AdjustmentKind))
        points = None if kind is adjustments.AdjustmentKind.RESET else Decimal(random.randint(-9, 9))
        wanted = adjustments.Wanted(kind, "m0", points, "a test")
        now = self.world.now
        await committed(self.world.database, lambda db: adjustments.make(db, plans, pair[0], wanted, "test", now))

    async def sweep(self, _: Random, plans: Plans, __: list[UUID]) -> None:
        await sweep(self.world.database, plans)

    async def prove(self, *_: Any) -> None:  # Any: nothing of it is needed
        report = await self.world.verified()
        assert [] == report.differences

    async def define(self, random: Random) -> None:
        """One after another, with a worker that runs the jobs."""
        for number in range(6):
            key = f"m{number % 2}"
            place = int(key[1:])
            known = Deployment(
                {one: said for one, said in self.said.models.items() if int(one[1:]) < place},
                self.said.segments,
                self.said.measures,
            )
            said = sheet(random, known)
            await self.world.begin_publish(key, said)
            await self.world.work()
            self.said.models[key] = said
            if number in (1, 4):
                self.said.segments["s0"] = contact_condition(random, Deployment(measures=self.said.measures))
                await self.world.segment("s0", self.said.segments["s0"])
            if number == 2:
                self.said.measures["n0"] = measure(random)
                await self.world.measure("n0", self.said.measures["n0"])

    async def make_and_end(self, random: Random) -> None:
        """A model and a measure that stay for a short time only, with a worker that takes the other's jobs as well."""
        for number in range(3):
            await self.world.begin_publish("m2", sheet(random, Deployment()))
            await self.world.begin_measure("n2", measure(random))
            if random.random() < 0.7:
                await self.world.work()
            async with self.world.database.batch() as db:
                await measures.delete(db, "n2", self.world.now)
            async with self.world.database.batch() as db:
                await (publish.delete if number == 1 else publish.archive)(db, "m2", self.world.now)
            await self.world.work()
            with suppress(NotFound):
                async with self.world.database.batch() as db:
                    await publish.unarchive(db, "m2")


@pytest.mark.parametrize("seed", range(int(os.environ.get("M", "3"))))
async def test_whatever_is_done_at_once_ends_in_what_the_judge_says(world: World, seed: int) -> None:
    crowd, random = Crowd(world), Random(seed)
    crowd.said.models["m0"] = sheet(random, crowd.said)
    await world.publish_sheet("m0", crowd.said.models["m0"])

    async with asyncio.TaskGroup() as all_along:
        for work in (crowd.change, crowd.merge, crowd.unmerge, crowd.erase, crowd.adjust, crowd.sweep, crowd.prove):
            all_along.create_task(crowd.repeat(work, f"{seed} {work.__name__}"))
        async with asyncio.TaskGroup() as senders:
            senders.create_task(crowd.define(random))
            senders.create_task(crowd.make_and_end(Random(f"{seed} brief")))
            for number in range(3):
                senders.create_task(crowd.send(Random(f"{seed} {number}"), batches=20))
        crowd.is_over.set()

    await world.work()
    await world.sweep()
    await world.agree(crowd.said)
    assert crowd.told - crowd.erased == {row["id"] for row in await world.rows("SELECT id FROM event")}
    assert [] == (await world.verified()).differences
    await nothing_is_left_over(world)
    kept = await world.kept()
    assert kept == await world.from_nothing()
