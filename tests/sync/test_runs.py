import asyncio
from datetime import timedelta

import pytest

from app import clock
from app.connectors.faults import Unreachable
from app.sync import runs
from app.sync.runs import Kind, Run, Runs
from app.sync.shapes import Opened
from tests.sync.drivers import until
from tests.sync.toy import Toy
from tests.sync.worlds import World, opened


@pytest.fixture
async def toys(world: World, toy: Toy) -> Opened:
    return await opened(world, toy)


async def kept(at_work: Opened) -> list[Run]:
    async with at_work.database.batch() as db:
        return await runs.page(db, at_work.id, limit=100, before=None)


async def test_a_run_that_did_something_is_kept_with_what_it_came_to_and_spent(world: World, toys: Opened) -> None:
    async with Runs(toys).run(Kind.PULL) as run:
        run.counts.seen, run.counts.changed = 5, 2
        toys.budget.spend(3)
        world.go_to(clock.now() + timedelta(seconds=7))

    [one] = await kept(toys)
    assert ("pull", {"seen": 5, "changed": 2, "spent": 3}, None) == (one.kind, one.counts, one.error)
    assert one.ended_at is not None
    assert timedelta(seconds=7) <= one.ended_at - one.began_at < timedelta(seconds=9)


async def test_a_run_that_found_nothing_new_is_not_kept(toys: Opened) -> None:
    async with Runs(toys).run(Kind.PULL) as run:
        run.counts.seen = run.counts.echoes = 5
        toys.budget.spend(3)

    assert [] == await kept(toys)


async def test_what_follows_within_a_minute_goes_on_with_the_run_before_it(world: World, toys: Opened) -> None:
    at_work = Runs(toys)
    for kind in (Kind.PUSH, Kind.PULL, Kind.PUSH):
        async with at_work.run(kind) as run:
            run.counts.written += 1
            toys.budget.spend(2)
        world.go_to(clock.now() + timedelta(seconds=20))
    world.go_to(clock.now() + timedelta(seconds=40))
    async with at_work.run(Kind.PUSH) as run:
        run.counts.written += 1

    found = [(one.kind, one.counts) for one in await kept(toys)]
    assert [
        ("push", {"written": 1}),
        ("pull", {"written": 1, "spent": 2}),
        ("push", {"written": 2, "spent": 4}),
    ] == found


async def test_a_long_run_shows_while_it_goes_on_and_goes_if_it_came_to_nothing(toys: Opened) -> None:
    at_work = Runs(toys, tell_s=0.02)
    async with at_work.run(Kind.RECONCILE) as run:
        run.counts.seen = 7
        await until(lambda: _shows(toys, 7))
        run.counts.seen = 8
        await until(lambda: _shows(toys, 8))

    assert [] == await kept(toys)


async def test_a_reconcile_that_gives_way_and_goes_on_is_one_run(world: World, toys: Opened) -> None:
    at_work = Runs(toys)
    for seen in (1, 2, 3):
        async with at_work.run(Kind.RECONCILE) as run:
            run.counts.changed += seen
            run.is_through = seen == 3
        world.go_to(clock.now() + timedelta(hours=1))
        [one] = await kept(toys)
        assert (one.ended_at is not None) is (seen == 3)

    assert {"changed": 6} == one.counts


async def test_what_is_to_go_on_later_ends_with_whoever_works(toys: Opened) -> None:
    at_work = Runs(toys)
    async with at_work.run(Kind.RECONCILE) as run:
        run.counts.changed = 1
        run.is_through = False
    await at_work.end()

    [one] = await kept(toys)
    assert one.ended_at is not None
    assert one.error is None


async def test_a_fault_is_kept_in_words_once_for_as_long_as_it_lasts(world: World, toys: Opened) -> None:
    at_work = Runs(toys)
    for words in ("no answer", "no answer", "the CRM answered 502"):
        with pytest.raises(Unreachable):
            async with at_work.run(Kind.PULL):
                raise Unreachable(words)
        world.go_to(clock.now() + timedelta(minutes=5))

    assert ["the CRM answered 502", "no answer"] == [one.error for one in await kept(toys)]


async def test_the_words_of_any_other_fault_are_not_kept_for_they_may_hold_data(toys: Opened) -> None:
    with pytest.raises(ValueError, match="ada"):
        async with Runs(toys).run(Kind.PULL):
            raise ValueError("ada@example.com is no number")

    assert ["ValueError; the log says more"] == [one.error for one in await kept(toys)]


async def test_what_a_process_that_died_left_open_is_ended_by_the_next(toys: Opened) -> None:
    async def work() -> None:
        async with Runs(toys, tell_s=0.01).run(Kind.PULL) as run:
            run.counts.changed = 4
            await asyncio.sleep(60)

    dying = asyncio.create_task(work())
    await until(lambda: _is_stored(toys))
    dying.cancel()
    await asyncio.wait([dying])
    [before] = await kept(toys)
    await Runs(toys).begin()

    [one] = await kept(toys)
    assert before.ended_at is None
    assert one.ended_at is not None
    assert ("interrupted", {"changed": 4}) == (one.error, one.counts)


async def test_runs_are_forgotten_in_time(world: World, toys: Opened) -> None:
    for day in range(4):
        async with Runs(toys).run(Kind.PULL) as run:
            run.counts.changed = day
            run.counts.seen = 1
            run.counts.gone = 1
        world.go_to(clock.now() + timedelta(days=1))
    await runs.forget(world.database, clock.now() - timedelta(days=2, hours=1))

    assert [3, 2] == [one.counts["changed"] for one in await kept(toys)]


async def test_runs_are_paged_newest_first(toys: Opened, world: World) -> None:
    for number in range(5):
        async with Runs(toys).run(Kind.PULL) as run:
            run.counts.changed = number + 1
    seen, before = [], None
    while True:
        async with world.database.batch() as db:
            found = await runs.page(db, toys.id, limit=2, before=before)
        seen += [one.counts["changed"] for one in found]
        if len(found) < 2:
            break
        before = found[-1].id

    assert [5, 4, 3, 2, 1] == seen


async def _shows(at_work: Opened, seen: int) -> bool:
    return [(None, {"seen": seen})] == [(one.ended_at, one.counts) for one in await kept(at_work)]


async def _is_stored(at_work: Opened) -> bool:
    return bool(await kept(at_work))
