import asyncio
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from app import clock
from app.connectors.faults import Busy, Refused, SignInRefused, Unreachable
from app.connectors.shapes import Hint, Key
from app.store.db import Database, plain_url
from app.sync import hints, leases
from app.sync.turns import Patience
from tests.engine.worlds import event, per_event
from tests.sync.drivers import WiredToy, connected, driving, until
from tests.sync.toy import PERSON, Person, Toy
from tests.sync.worlds import World


@pytest.fixture
def wired(toy: Toy) -> WiredToy:
    return WiredToy(toy)


class Seen:
    """What a test waits for."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def row(self, connection: UUID) -> dict[str, Any]:  # Any: of the columns
        [row] = await self._world.rows("SELECT * FROM connection WHERE id = $1", connection)
        return row

    async def is_pulled(self, connection: UUID) -> bool:
        at = (await self.row(connection))["pull_at"]
        return at is not None and at > clock.now()

    async def is_quiet(self, connection: UUID) -> bool:
        """Everything was pulled and told."""
        waits = await self._world.value("SELECT EXISTS (SELECT FROM outbox WHERE connection_id = $1)", connection)
        return not waits and await self.is_pulled(connection)

    async def problem(self, connection: UUID) -> str | None:
        problem = (await self.row(connection))["problem"]
        return None if problem is None else problem["code"]


@pytest.fixture
def seen(world: World) -> Seen:
    return Seen(world)


@pytest.fixture
async def toys(world: World, toy: Toy) -> UUID:
    """A connection to a CRM that knows two people."""
    toy.add("ada@example.com", full_name="Ada")
    toy.add("bob@example.com", full_name="Bob")
    return await connected(world, toy)


# --- the loop ---------------------------------------------------------------------------------------------------------


async def test_a_new_connection_is_found_by_itself_and_its_people_come_in(
    world: World, wired: WiredToy, toys: UUID, seen: Seen
) -> None:
    async with driving(world, wired):
        await until(lambda: seen.is_quiet(toys))

    assert {"Ada", "Bob"} == {row["name"] for row in await world.rows("SELECT name FROM contact")}
    row = await seen.row(toys)
    assert clock.now() - row["pull_at"] < timedelta()
    assert timedelta(hours=23) < row["reconcile_at"] - clock.now() < timedelta(hours=25)


async def test_what_changes_here_is_told_and_what_changes_there_is_heard_when_a_look_is_due(
    world: World, toy: Toy, wired: WiredToy, toys: UUID, seen: Seen
) -> None:
    async with driving(world, wired):
        await until(lambda: seen.is_quiet(toys))
        await world.send(event("email.unsubscribed", "ada@example.com", clock.now()))
        await until(lambda: _is(toy.people["1"].values["out"] is True))
        toy.edit("2", out=True)
        await world.execute("UPDATE connection SET pull_at = NULL")
        await until(lambda: _is_out(world, "bob@example.com"))


async def test_a_hint_is_followed_at_once(world: World, toy: Toy, wired: WiredToy, toys: UUID, seen: Seen) -> None:
    async with driving(world, wired):
        await until(lambda: seen.is_quiet(toys))
        toy.edit("2", out=True)
        await hints.note(world.database, toys, [Hint(Key(PERSON, "2"))], clock.now())
        await until(lambda: _is_out(world, "bob@example.com"))


async def test_a_comparison_of_everybody_finds_what_no_feed_has_said(
    world: World, toy: Toy, wired: WiredToy, toys: UUID, seen: Seen
) -> None:
    async with driving(world, wired):
        await until(lambda: seen.is_quiet(toys))
        toy.people["2"].values["out"] = True  # no change that the CRM would tell of
        before = (await seen.row(toys))["reconcile_at"]
        await world.execute("UPDATE connection SET reconcile_at = $1", clock.now())
        await until(lambda: _is_out(world, "bob@example.com"))
        await until(lambda: _later(seen, toys, before))


async def test_who_asks_for_a_look_while_one_goes_on_gets_another(
    world: World, wired: WiredToy, toys: UUID, seen: Seen
) -> None:
    wired.gate.clear()
    async with driving(world, wired):
        await until(lambda: _is("changes" in wired.called))
        await world.execute("UPDATE connection SET pull_at = $1", clock.now())
        wired.called.clear()
        wired.gate.set()
        await until(lambda: seen.is_quiet(toys))
        assert wired.called.count("changes") >= 1


async def test_nothing_is_done_for_a_connection_that_is_paused_while_it_works(
    world: World, toy: Toy, wired: WiredToy, toys: UUID, seen: Seen
) -> None:
    async with driving(world, wired):
        await until(lambda: seen.is_quiet(toys))
        await world.execute("UPDATE connection SET paused_at = $1, updated_at = $1", clock.now() + timedelta(seconds=1))
        await asyncio.sleep(0.1)
        await world.send(event("email.unsubscribed", "ada@example.com", clock.now()))
        await asyncio.sleep(0.2)
        assert toy.people["1"].values["out"] is False
        await world.execute("UPDATE connection SET paused_at = NULL, updated_at = updated_at + interval '1 second'")
        await until(lambda: _is(toy.people["1"].values["out"] is True))


async def test_other_options_count_at_once(world: World, toy: Toy, wired: WiredToy, toys: UUID, seen: Seen) -> None:
    async with driving(world, wired):
        await until(lambda: seen.is_quiet(toys))
        before = wired.connected
        await world.execute("UPDATE connection SET updated_at = updated_at + interval '1 second'")
        await world.send(event("email.unsubscribed", "ada@example.com", clock.now()))
        await until(lambda: _is(toy.people["1"].values["out"] is True and wired.connected > before))


async def test_all_work_ends_promptly_even_where_a_crm_does_not_answer(
    world: World, wired: WiredToy, toys: UUID
) -> None:
    wired.gate.clear()
    async with driving(world, wired) as drive:
        await until(lambda: _is(bool(wired.called)))
        began = asyncio.get_running_loop().time()
        await drive.end()

    assert asyncio.get_running_loop().time() - began < 1


# --- turns ------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def crowd(world: World, toy: Toy, wired: WiredToy, seen: Seen) -> UUID:
    """A connection to a CRM of 60 people, all read, which takes some time for each call from now on."""
    for number in range(60):
        toy.add(f"p{number}@example.com")
    made = await connected(world, toy)
    async with driving(world, wired):
        await until(lambda: seen.is_quiet(made))
    wired.slow_s = 0.02
    wired.called.clear()
    return made


async def test_a_comparison_of_everybody_gives_way_to_a_flag_and_goes_on_where_it_stood(
    world: World, toy: Toy, wired: WiredToy, crowd: UUID, seen: Seen
) -> None:
    before = (await seen.row(crowd))["reconcile_at"]
    await world.execute("UPDATE connection SET reconcile_at = $1", clock.now())
    async with driving(world, wired):
        await until(lambda: _is("everybody" in wired.called))
        await world.send(event("email.unsubscribed", "p50@example.com", clock.now()))
        await until(partial(_says_out, toy.people["51"]))
        assert (await seen.row(crowd))["reconcile_at"] <= clock.now()
        await until(lambda: _later(seen, crowd, before))

    assert 20 == wired.called.count("everybody")
    assert "write" in wired.called


async def test_a_look_for_changes_gives_way_to_a_flag(
    world: World, toy: Toy, wired: WiredToy, crowd: UUID, seen: Seen
) -> None:
    for number in range(1, 61):
        toy.edit(str(number), full_name=f"P {number}")
    await world.execute("UPDATE connection SET pull_at = NULL")
    async with driving(world, wired):
        await until(lambda: _is("changes" in wired.called))
        await world.send(event("email.unsubscribed", "p50@example.com", clock.now()))
        await until(partial(_says_out, toy.people["51"]))
        assert not await seen.is_pulled(crowd)
        await until(lambda: seen.is_quiet(crowd))

    assert "P 60" == (await world.row("p59@example.com"))["name"]


async def test_what_is_to_be_told_gives_way_to_a_look_that_is_due(
    world: World, toy: Toy, wired: WiredToy, crowd: UUID, seen: Seen
) -> None:
    for number in range(60):
        await world.send(event("email.unsubscribed", f"p{number}@example.com", clock.now()))
    async with driving(world, wired):
        await until(lambda: _is(len(toy.written) > 2))
        toy.edit("60", stage="customer")
        await world.execute("UPDATE connection SET pull_at = NULL")
        await until(lambda: _is("changes" in wired.called))
        assert len(toy.written) < 60
        await until(lambda: seen.is_quiet(crowd))

    assert 60 == len(toy.written)


# --- one at a time ----------------------------------------------------------------------------------------------------


async def test_two_drivers_never_work_on_one_connection_at_once(
    world: World, toy: Toy, wired: WiredToy, toys: UUID, seen: Seen
) -> None:
    wired.slow_s = 0.01
    async with driving(world, wired), driving(world, wired):
        for number in range(20):
            toy.add(f"p{number}@example.com")
            await world.send(event("email.unsubscribed", f"p{number}@example.com", clock.now()))
            await world.execute("UPDATE connection SET pull_at = NULL")
            await asyncio.sleep(0.02)
        await until(lambda: seen.is_quiet(toys))

    assert 1 == wired.most_at_once


async def test_another_driver_takes_over_from_one_that_dies_in_the_middle(
    world: World, toy: Toy, wired: WiredToy, toys: UUID, seen: Seen
) -> None:
    wired.gate.clear()
    async with driving(world, wired) as one:
        await until(lambda: _is(bool(wired.called)))
        async with driving(world, wired):
            await asyncio.sleep(0.1)
            assert 1 == len(wired.called)
            await one.kill()
            wired.gate.set()
            await until(lambda: seen.is_quiet(toys))

    assert 2 == await world.value("SELECT count(*) FROM contact")


async def test_a_driver_that_loses_its_leases_stops_at_once_and_begins_again(
    world: World, wired: WiredToy, toys: UUID, seen: Seen
) -> None:
    wired.gate.clear()
    async with driving(world, wired):
        await until(lambda: _is(bool(wired.called)))
        await end_sessions(world, "leadtally leases")
        await until(lambda: _is(wired.at_once == 0 or len(wired.called) > 1))
        wired.gate.set()
        await until(lambda: seen.is_quiet(toys))


async def test_a_lease_is_free_as_soon_as_its_session_ends(world: World, toys: UUID) -> None:
    async with leases.held(world.database) as one, leases.held(world.database) as other:
        assert await one.take(toys)
        assert not await other.take(toys)
        await one.give_back(toys)
        assert await other.take(toys)
    async with leases.held(world.database) as one:
        assert await one.take(toys)


@pytest.mark.parametrize("seed", range(3))
async def test_killed_anywhere_it_loses_nothing_and_tells_nothing_twice_for_long(
    world: World, toy: Toy, wired: WiredToy, toys: UUID, seen: Seen, seed: int
) -> None:
    for number in range(10):
        toy.add(f"p{number}@example.com")
    for round_ in range(6):
        async with driving(world, wired) as drive:
            await world.send(event("email.unsubscribed", f"p{round_}@example.com", clock.now()))
            await asyncio.sleep(0.01 + 0.013 * ((round_ * 7 + seed * 5) % 11))
            await drive.kill()
    async with driving(world, wired):
        await until(lambda: seen.is_quiet(toys))
        await asyncio.sleep(0.1)
        told = len(toy.written)
        await world.execute("UPDATE connection SET pull_at = NULL")
        await until(lambda: seen.is_quiet(toys))

    assert told == len(toy.written)
    assert all(toy.people[str(number + 3)].values["out"] for number in range(6))
    assert 12 == await world.value("SELECT count(*) FROM contact")


# --- faults -----------------------------------------------------------------------------------------------------------


async def test_one_that_is_down_does_not_delay_another(
    world: World, toy: Toy, wired: WiredToy, toys: UUID, seen: Seen
) -> None:
    down = WiredToy(Toy(), kind="down")
    down.gate.clear()
    await connected(world, down.toy, name="down", kind="down")
    broken = WiredToy(Toy(), kind="broken", fault=Unreachable("no answer"))
    await connected(world, broken.toy, name="broken", kind="broken")
    bug = WiredToy(Toy(), kind="bug", fault=RuntimeError("a bug"))
    await connected(world, bug.toy, name="bug", kind="bug")

    with capture_logs() as logs:
        async with driving(world, wired, down, broken, bug) as drive:
            await until(lambda: seen.is_quiet(toys))
            await until(lambda: _is(bool(down.called and broken.called and len(bug.called) > 1)))
            down.gate.set()
            await drive.end()

    assert {"the sync of a connection failed"} == {one["event"] for one in logs}


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (SignInRefused("revoked", "the token was revoked", "sign in again"), "revoked"),
        (Refused("INVALID_FIELD", "no such column"), "INVALID_FIELD"),
    ],
)
async def test_what_somebody_must_mend_stops_the_connection_until_it_is_resumed(
    world: World, wired: WiredToy, toys: UUID, seen: Seen, fault: Exception, code: str
) -> None:
    wired.fault = fault
    async with driving(world, wired):
        await until(lambda: _has_problem(seen, toys, code))
        await asyncio.sleep(0.1)
        calls = len(wired.called)
        await asyncio.sleep(0.1)
        assert calls == len(wired.called)
        wired.fault = None
        await world.execute("UPDATE connection SET problem = NULL, updated_at = updated_at + interval '1 second'")
        await until(lambda: seen.is_quiet(toys))


async def test_credentials_that_no_key_opens_are_a_problem_of_the_connection(
    world: World, wired: WiredToy, toys: UUID, seen: Seen
) -> None:
    await world.execute("UPDATE connection SET credentials = '\\x00'")
    async with driving(world, wired):
        await until(lambda: _has_problem(seen, toys, "encryption_key"))


async def test_a_crm_that_wants_silence_gets_it_in_all_processes(
    world: World, toy: Toy, wired: WiredToy, toys: UUID, seen: Seen
) -> None:
    async with driving(world, wired):
        await until(lambda: seen.is_quiet(toys))
        wired.faults = [Busy(clock.now() + timedelta(minutes=5), "the CRM answered 429")]
        await world.send(event("email.unsubscribed", "ada@example.com", clock.now()))
        await until(lambda: _is(not wired.faults))
        await asyncio.sleep(0.1)
        wired.called.clear()
    async with driving(world, wired):
        await asyncio.sleep(0.2)
        assert [] == wired.called
        world.go_to(clock.now() + timedelta(minutes=6))
        await until(lambda: _is(toy.people["1"].values["out"] is True))


async def test_a_crm_that_is_unreachable_for_long_is_shown_and_tried_all_the_same(
    world: World, wired: WiredToy, toys: UUID, seen: Seen
) -> None:
    wired.fault = Unreachable("no answer: ConnectError")
    async with driving(world, wired):
        await until(lambda: _is(len(wired.called) > 1))
        assert await seen.problem(toys) is None
        world.go_to(clock.now() + timedelta(hours=2))
        await until(lambda: _has_problem(seen, toys, "unreachable"))
        wired.fault = None
        await until(lambda: seen.is_quiet(toys))
        await until(lambda: _has_problem(seen, toys, None))


async def test_flags_go_out_of_the_reserve_when_the_budget_is_spent_and_all_else_waits(
    world: World, toy: Toy, wired: WiredToy, seen: Seen
) -> None:
    await world.publish("m", per_event("page.viewed", 5))
    toy.add("ada@example.com")
    toy.add("bob@example.com")
    toy.add("eve@example.com")
    toys = await connected(world, toy, budget=100, reserve_percent=50)
    async with driving(world, wired):
        await until(lambda: seen.is_quiet(toys))
    await spend(world, toys, 50)
    await world.send(event("page.viewed", "eve@example.com", clock.now()))
    async with driving(world, wired):
        await until(lambda: _is_silent(seen, toys))
        assert not (await seen.row(toys))["silent_to_flags"]
        toy.written.clear()
        for who, person in (("ada", toy.people["1"]), ("bob", toy.people["2"])):
            await world.send(event("email.unsubscribed", f"{who}@example.com", clock.now()))
            await until(partial(_says_out, person))
        assert toy.people["3"].values.get("score_m") != 5
        world.go_to(clock.now() + timedelta(hours=26))
        await until(lambda: _is(toy.people["3"].values.get("score_m") == 5))


async def test_flags_do_not_wait_for_the_field_of_a_score_that_the_budget_does_not_allow(
    world: World, toy: Toy, wired: WiredToy, seen: Seen
) -> None:
    toy.add("ada@example.com")
    toy.add("eve@example.com")
    toys = await connected(world, toy, budget=100, reserve_percent=50)
    async with driving(world, wired):
        await until(lambda: seen.is_quiet(toys))
    await spend(world, toys, 50)
    await world.publish("m", per_event("page.viewed", 5))
    await world.send(event("page.viewed", "eve@example.com", clock.now()))
    async with driving(world, wired):
        await world.send(event("email.unsubscribed", "ada@example.com", clock.now()))
        await until(partial(_says_out, toy.people["1"]))
        assert "score_m" not in toy.fields
        await until(lambda: _is_silent(seen, toys))
        world.go_to(clock.now() + timedelta(hours=26))
        await until(lambda: _is(toy.people["2"].values.get("score_m") == 5))


async def test_waits_grow_to_minutes() -> None:
    patience, waits = Patience(), []
    for _ in range(12):
        patience.fail()
        waits.append(patience.left_s)

    assert 1 - 0.1 <= waits[0] <= 2
    assert 150 - 0.1 <= waits[-1] <= 300
    patience.succeed()
    assert 0 == patience.left_s


async def test_the_database_may_go_away_and_come_back(
    world: World, toy: Toy, wired: WiredToy, toys: UUID, seen: Seen
) -> None:
    async with (
        Database(plain_url(world.database.url), name="leadtally away") as own,
        driving(world, wired, database=own),
    ):
        await until(lambda: seen.is_quiet(toys))
        await end_sessions(world, "leadtally away")
        await end_sessions(world, "leadtally leases")
        await world.send(event("email.unsubscribed", "ada@example.com", clock.now()))
        await until(partial(_says_out, toy.people["1"]))


async def end_sessions(world: World, name: str) -> None:
    """As the database does when it goes away."""
    await world.execute(
        """
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE application_name = $1 AND datname = current_database()
        """,
        name,
    )


async def spend(world: World, connection: UUID, calls: int) -> None:
    """As if so much had been spent in the last 24 hours."""
    await world.execute(
        """
        INSERT INTO sync_spend VALUES ($1, date_trunc('hour', $2::timestamptz), $3)
        ON CONFLICT (connection_id, hour) DO UPDATE SET spent = excluded.spent
        """,
        connection,
        clock.now(),
        calls,
    )


async def _is(so: bool) -> bool:
    return so


async def _says_out(person: Person) -> bool:
    return person.values["out"] is True


async def _is_out(world: World, address: str) -> bool:
    return bool((await world.row(address))["opted_out"])


async def _later(seen: Seen, connection: UUID, than: Any) -> bool:
    return bool((await seen.row(connection))["reconcile_at"] >= than)


async def _has_problem(seen: Seen, connection: UUID, code: str | None) -> bool:
    return await seen.problem(connection) == code


async def _is_silent(seen: Seen, connection: UUID) -> bool:
    until_ = (await seen.row(connection))["silent_until"]
    return until_ is not None and until_ > clock.now()
