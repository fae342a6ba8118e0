"""What a connection may spend in any 24 hours, and what of it is for flags alone."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app import clock
from app.connectors.faults import BudgetSpent
from app.store.db import Database
from app.sync.budget import Budget, forecast
from tests.engine.worlds import NOON, set_clock
from tests.sync.toy import Toy
from tests.sync.worlds import World, opened

ID = UUID(int=1)


@pytest.fixture(autouse=True)
def noon() -> Iterator[None]:
    set_clock(NOON)
    yield
    clock.shift(timedelta())


def spend(meter: Budget, cost: int, at: datetime) -> bool:
    """Whether so much may be spent then; if so, it is."""
    set_clock(at)
    try:
        meter.allow(cost)
    except BudgetSpent:
        return False
    meter.spend(cost)
    return True


def test_what_is_no_flag_leaves_the_reserve_and_a_flag_may_spend_it() -> None:
    meter = Budget(ID, 100, 20, "calls")

    assert 80 == meter.for_all
    assert spend(meter, 80, NOON)
    assert not spend(meter, 1, NOON)
    meter.is_urgent = True
    assert spend(meter, 20, NOON)
    assert not spend(meter, 1, NOON)
    assert (100, 100) == (meter.spent, meter.spent_today)


def test_a_budget_that_is_spent_says_when_there_is_room_again() -> None:
    meter = Budget(ID, 100, 0, "calls")
    assert spend(meter, 30, NOON)
    assert spend(meter, 70, NOON + timedelta(hours=3))

    for cost, free in ((10, NOON), (30, NOON), (31, NOON + timedelta(hours=3))):
        with pytest.raises(BudgetSpent, match="100 calls a day") as fault:
            meter.allow(cost)
        assert free + timedelta(hours=25) == fault.value.until
        assert not spend(meter, cost, fault.value.until - timedelta(seconds=1))
    assert spend(meter, 30, NOON + timedelta(hours=25))


def test_what_costs_more_than_the_whole_budget_waits_a_day_at_a_time() -> None:
    with pytest.raises(BudgetSpent) as fault:
        Budget(ID, 100, 0, "calls").allow(101)

    assert timedelta(hours=23, minutes=59) < fault.value.until - NOON <= timedelta(hours=24, minutes=1)


@given(st.lists(st.tuples(st.integers(0, 5_000), st.integers(1, 40)), max_size=60))
@settings(deadline=None, max_examples=100)
def test_in_no_24_hours_more_is_spent_than_the_budget(asked: list[tuple[int, int]]) -> None:
    meter, spent = Budget(ID, 100, 20, "calls"), list[tuple[datetime, int]]()
    for minutes, cost in sorted(asked):
        at = NOON + timedelta(minutes=minutes)
        if spend(meter, cost, at):
            spent.append((at, cost))
    for at, _ in spent:
        assert sum(cost for when, cost in spent if at - timedelta(hours=24) < when <= at) <= 80


def test_what_others_spend_of_the_crms_own_budget_counts_for_an_hour_after_the_crm_said_so() -> None:
    meter = Budget(ID, 1_000, 20, "calls")
    meter.report(500, 100)
    assert spend(meter, 1, NOON)
    meter.report(500, 99)

    assert not spend(meter, 1, NOON)
    meter.is_urgent = True
    assert spend(meter, 1, NOON)
    meter.is_urgent = False
    assert spend(meter, 1, NOON + timedelta(hours=1, seconds=1))


async def test_what_was_spent_before_is_known_to_whoever_comes_next(world: World, toy: Toy) -> None:
    at_work = await opened(world, toy)
    first = Budget(at_work.id, 100, 0, "calls")
    assert spend(first, 30, NOON)
    assert spend(first, 10, NOON + timedelta(hours=2))
    first.report(500, 400)
    await first.save(world.database)
    assert spend(first, 5, NOON + timedelta(hours=2))
    await first.save(world.database)
    await first.save(world.database)

    then = Budget(at_work.id, 100, 0, "calls")
    async with world.database.batch() as db:
        await then.load(db)
    assert (45, 0) == (then.spent_today, then.spent)
    set_clock(NOON + timedelta(hours=26))
    assert 15 == then.spent_today
    said = await world.value("SELECT allowance FROM connection WHERE id = $1", at_work.id)
    assert (500, 400) == (said["limit"], said["remaining"])


async def test_what_cannot_be_saved_is_saved_the_next_time(world: World, toy: Toy) -> None:
    at_work = await opened(world, toy)
    meter = Budget(at_work.id, 100, 0, "calls")
    assert spend(meter, 7, NOON)
    meter.report(500, 3)
    async with Database(world.database.url.render_as_string(hide_password=False)) as closed:
        pass

    with pytest.raises(Exception, match="pool is closed"):
        await meter.save(closed)
    assert 7 == meter.spent_today
    await meter.save(world.database)

    assert [7] == [row["spent"] for row in await world.rows("SELECT spent FROM sync_spend")]
    assert 3 == (await world.value("SELECT allowance FROM connection"))["remaining"]


@pytest.mark.parametrize(
    ("per_day", "spent", "cost", "days"),
    [
        (100, 0, 0, 0),
        (100, 0, 100, 0),
        (100, 60, 40, 0),
        (100, 60, 41, 1),
        (100, 100, 100, 1),
        (100, 150, 101, 2),
        (100, 0, 1_000_000, 9_999),
        (0, 0, 1, None),
        (0, 0, 0, 0),
    ],
)
def test_how_long_a_budget_takes(per_day: int, spent: int, cost: int, days: int | None) -> None:
    assert (None if days is None else timedelta(days=days)) == forecast(per_day, spent, cost)
