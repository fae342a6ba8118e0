"""What a CRM is told: what differs, once, most important first, whatever it refuses and whenever we die."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.connectors.faults import BudgetSpent, Unreachable
from app.connectors.shapes import CrmField, End, Key, Kind, Outcome, Values, Write
from app.engine import contacts, ingest
from app.engine.ingest import NewEvent
from app.engine.transactions import committed
from app.store.db import Connection
from app.sync import outbox, parked, pull, push
from app.sync.budget import Budget
from app.sync.mapping import Policy
from app.sync.shapes import Counts, Opened
from tests.engine.worlds import NOON, POLICY, event, per_event
from tests.sync.toy import PERSON, Toy
from tests.sync.worlds import PAIRS, World, opened, pair

ADA, BOB, CY = "ada@example.com", "bob@example.com", "cy@example.com"
HOUR = timedelta(hours=1)
SCORE = pair("score.m", "score_m", "out", kind=Kind.NUMBER, places=0, policy=Policy.HERE)


@dataclass
class Meddled(Toy):
    """A CRM during whose calls something happens."""

    meanwhile: Callable[[], Awaitable[None]] | None = None
    """After a write was done and before its answer arrives, once."""
    fault: Exception | None = None
    """Instead of a write, once."""
    sizes: list[int] = field(default_factory=list)
    is_gone_by_words_alone: bool = False
    """It answers to each write that the record is gone, and shows it all the same."""
    names_no_field: bool = False
    """It does not say which fields it refuses."""

    async def write(self, writes: Sequence[Write]) -> Sequence[Outcome]:
        self.sizes.append(len(writes))
        if (fault := self.fault) is not None:
            self.fault = None
            raise fault
        if self.is_gone_by_words_alone:
            self.calls += 1
            return [Outcome(End.GONE, one.key.id, code="GONE", reason="no such record") for one in writes]
        outcomes = await super().write(writes)
        if (meanwhile := self.meanwhile) is not None:
            self.meanwhile = None
            await meanwhile()
        return [one._replace(fields=()) for one in outcomes] if self.names_no_field else outcomes


@pytest.fixture
def toy() -> Meddled:
    return Meddled()


async def listen(at_work: Opened) -> Counts:
    counts = Counts()
    await pull.pull(at_work, counts, asyncio.Event())
    return counts


async def tell(at_work: Opened, most: int | None = None) -> Counts:
    counts = Counts()
    await push.drain(at_work, counts, asyncio.Event(), most)
    return counts


async def scored(world: World, toy: Meddled, *emails: str, **options: Any) -> Opened:  # Any: as in Options
    """A connection that knows these people, and has been told all of them; a model that gives 5 for an `a`."""
    toy.fields["score_m"] = CrmField("score_m", "Lead Score: m", Kind.NUMBER, True, True, places=0)
    await world.publish("m", per_event("a", 5), per_event("b", 50))
    for email in emails:
        toy.add(email)
    at_work = await opened(world, toy, **{"pairs": (*PAIRS, SCORE), "bands": False, **options})
    await listen(at_work)
    await tell(at_work)
    toy.written.clear()
    toy.sizes.clear()
    return at_work


def written(toy: Meddled) -> list[tuple[str, Values]]:
    return [(one.key.id, one.values) for one in toy.written]


# --- what is told -----------------------------------------------------------------------------------------------------


async def test_only_what_differs_is_told_and_only_once(world: World, toy: Meddled) -> None:
    at_work = await scored(world, toy, ADA, BOB)
    calls = toy.calls

    await world.send(event("a", ADA))
    assert 1 == (await tell(at_work)).written
    assert [("1", {"score_m": 5})] == written(toy)
    assert {} == await world.outbox()
    link = await world.link("1")
    assert (5, toy.people["1"].modified_at) == (link["shadow"]["score_m"], link["modified_at"])

    await tell(at_work)
    assert calls + 1 == toy.calls


async def test_a_score_told_since_makes_no_opt_in_there_newer_than_an_opt_out_here(world: World, toy: Meddled) -> None:
    at_work = await scored(world, toy, ADA)
    await world.send(event("email.unsubscribed", ADA, NOON - HOUR))
    await tell(at_work)
    world.go_to(NOON + HOUR)
    toy.edit("1", out=False)  # somebody there, and then she herself here
    await world.send(event("email.unsubscribed", ADA, NOON + HOUR), event("a", ADA))
    world.go_to(NOON + 2 * HOUR)
    toy.now = NOON + 2 * HOUR
    assert 1 == (await tell(at_work)).written
    toy.people["1"].by_us = False  # as of a CRM that does not say whose the last change was

    await listen(at_work)

    assert (await world.row())["opted_out"]
    world.go_to(NOON + 3 * HOUR)
    await tell(at_work)
    assert toy.people["1"].values["out"]


async def test_many_changes_are_told_in_one_write(world: World, toy: Meddled) -> None:
    at_work = await scored(world, toy, ADA)
    contact = await world.contact(ADA)

    for _ in range(3):
        await world.send(event("a", ADA))
    await world.change(contact, stage="customer")
    await world.change(contact, opted_out=True, properties={"industry": "mining"})
    await tell(at_work)

    assert [("1", {"score_m": 15, "stage": "customer", "out": True, "industry": "mining"})] == written(toy)


async def test_what_was_written_is_no_change_when_it_is_pulled(world: World, toy: Meddled) -> None:
    at_work = await scored(world, toy, ADA)
    await world.send(event("a", ADA), event("email.unsubscribed", ADA), event("email.bounced", ADA, bounce="hard"))
    await tell(at_work)

    counts = await listen(at_work)

    assert (1, 1, 0) == (counts.seen, counts.echoes, counts.changed)
    assert {} == await world.outbox()


async def test_a_change_that_was_taken_back_costs_no_call(world: World, toy: Meddled) -> None:
    at_work = await scored(world, toy, ADA)
    contact, calls = await world.contact(ADA), toy.calls
    await world.change(contact, stage="customer")
    await world.change(contact, stage=None)

    await tell(at_work)

    assert ({}, calls) == (await world.outbox(), toy.calls)


async def test_all_records_of_a_contact_are_told(world: World, toy: Meddled) -> None:
    at_work = await scored(world, toy, ADA, ADA, ADA)
    await world.send(event("a", ADA))

    assert 3 == (await tell(at_work)).written
    assert [(n, {"score_m": 5}) for n in ("1", "2", "3")] == sorted(written(toy))
    assert {} == await world.outbox()


async def test_a_record_that_comes_to_be_a_contacts_is_told_what_the_contact_is(world: World, toy: Meddled) -> None:
    at_work = await scored(world, toy, ADA, BOB)
    ada, bob = await world.contact(ADA), await world.contact(BOB)
    await world.send(event("a", ADA), event("a", BOB), event("email.unsubscribed", ADA))
    await tell(at_work)
    toy.written.clear()

    await world.merge(ada, bob)
    await tell(at_work)

    assert {"1": {"score_m": 10}, "2": {"score_m": 10, "out": True}} == dict(written(toy))


async def test_whoever_was_erased_is_told_no_more(world: World, toy: Meddled) -> None:
    at_work = await scored(world, toy, ADA)
    await world.send(event("a", ADA))

    contact = await world.contact(ADA)

    toy.meanwhile = lambda: world.erase(contact)
    await tell(at_work)

    link = await world.link("1")
    assert ("erased", {}) == (link["state"], link["shadow"])
    assert {} == await world.outbox()


# --- in which order ---------------------------------------------------------------------------------------------------


async def test_flags_come_first_then_who_moved_furthest(world: World, toy: Meddled) -> None:
    at_work = await scored(world, toy, ADA, BOB, CY)
    await world.send(event("a", ADA), event("b", BOB))
    await world.change(await world.contact(CY), opted_out=True)

    await tell(at_work)

    assert ["3", "2", "1"] == [one.key.id for one in toy.written]


async def test_a_drain_ends_after_as_many_contacts_as_it_is_told_and_says_that_more_wait(
    world: World, toy: Meddled
) -> None:
    at_work = await scored(world, toy, ADA, BOB, CY)
    await world.send(event("a", ADA), event("a", BOB), event("a", CY))

    assert await push.drain(at_work, Counts(), asyncio.Event(), 1)
    assert 1 == len(toy.written)
    assert not await push.drain(at_work, Counts(), asyncio.Event())
    assert 3 == len(toy.written)


async def test_a_drain_that_is_told_to_stop_does_nothing(world: World, toy: Meddled) -> None:
    at_work = await scored(world, toy, ADA)
    await world.send(event("a", ADA))
    stop = asyncio.Event()
    stop.set()

    assert await push.drain(at_work, Counts(), stop)
    assert [] == toy.written


async def test_where_very_many_wait_they_are_told_in_bulk(world: World, toy: Meddled) -> None:
    emails = [f"{n}@example.com" for n in range(12)]
    at_work = await scored(world, toy, *emails)
    await world.send(*(event("a", email) for email in emails))

    await tell(at_work)

    assert [5, 5, 2] == toy.sizes
    assert {} == await world.outbox()


# --- the budget -------------------------------------------------------------------------------------------------------


class Metered(Meddled):
    """Each write costs what it is said to."""

    budget: Budget

    async def write(self, writes: Sequence[Write]) -> Sequence[Outcome]:
        self.budget.allow(self.cost(len(writes)))
        self.budget.spend(self.cost(len(writes)))
        return await super().write(writes)


async def metered(world: World, *emails: str, per_day: int) -> tuple[Metered, Opened]:
    toy = Metered()
    toy.budget = Budget(UUID(int=0), 1_000, 20, "calls")
    at_work = await scored(world, toy, *emails)
    toy.budget = Budget(at_work.id, per_day, 20, "calls")
    return toy, at_work._replace(budget=toy.budget)


async def test_the_reserve_of_the_budget_is_kept_for_flags(world: World) -> None:
    emails = [f"{n}@example.com" for n in range(8)]
    toy, at_work = await metered(world, *emails, per_day=5)
    await world.send(*(event("b", email) for email in emails))
    with pytest.raises(BudgetSpent) as spent:
        await tell(at_work)
    assert 4 == toy.budget.spent_today
    assert 25 == (spent.value.until - NOON) / timedelta(hours=1)
    left = len(await world.outbox())

    await world.change(await world.contact(emails[0]), opted_out=True)
    with pytest.raises(BudgetSpent):
        await tell(at_work)

    assert ("1", {"out": True}) == (toy.written[-1].key.id, toy.written[-1].values)
    assert (5, left) == (toy.budget.spent_today, len(await world.outbox()))
    assert not toy.budget.is_urgent


async def test_a_flag_behind_many_who_need_none_told_is_told_though_the_budget_is_spent(world: World) -> None:
    emails = [f"{n}@example.com" for n in range(9)]
    toy, at_work = await metered(world, *emails, per_day=5)
    toy.budget.spend(4)
    await world.send(*(event("a", email) for email in emails[1:]))
    await world.execute("UPDATE outbox SET priority = 0, moved = 99")
    await world.change(await world.contact(emails[0]), opted_out=True)

    with pytest.raises(BudgetSpent):
        await tell(at_work)

    assert [("1", {"out": True})] == written(toy)
    assert {outbox.NEWS} == set((await world.outbox()).values())


async def test_what_is_spent_is_kept(world: World) -> None:
    toy, at_work = await metered(world, ADA, per_day=100)
    await world.send(event("a", ADA))

    await tell(at_work)

    again = Budget(at_work.id, 100, 20, "calls")
    async with world.database.batch() as db:
        await again.load(db)
    assert toy.budget.spent_today == again.spent_today == 1


# --- what is lost -----------------------------------------------------------------------------------------------------


async def test_who_changes_during_the_write_is_told_that_too(world: World, toy: Meddled) -> None:
    at_work = await scored(world, toy, ADA)
    await world.send(event("a", ADA))

    async def more() -> None:
        await world.send(event("a", ADA))

    toy.meanwhile = more
    await tell(at_work)

    assert [("1", {"score_m": 5}), ("1", {"score_m": 10})] == written(toy)
    assert {} == await world.outbox()


async def test_what_came_of_a_call_without_an_answer_is_told_again(world: World, toy: Meddled) -> None:
    at_work = await scored(world, toy, ADA, BOB)
    await world.send(event("a", ADA), event("email.unsubscribed", BOB))
    toy.lose_next = 1

    with pytest.raises(Unreachable):
        await tell(at_work)
    assert 2 == len(await world.outbox())
    await tell(at_work)

    assert [("2", {"out": True}), ("2", {"out": True}), ("1", {"score_m": 5})] == written(toy)
    assert (0, {}) == ((await listen(at_work)).changed, await world.outbox())


async def test_what_was_learnt_before_a_fault_is_kept(world: World, toy: Meddled) -> None:
    at_work = await scored(world, toy, ADA, BOB)
    await world.send(event("a", ADA), event("email.unsubscribed", BOB))

    async def then_fail() -> None:
        toy.fault = Unreachable("no answer")

    toy.meanwhile = then_fail
    with pytest.raises(Unreachable):
        await tell(at_work)

    assert [("2", {"out": True})] == written(toy)
    assert [await world.contact(ADA)] == [*await world.outbox()]


async def test_a_process_that_dies_between_a_write_and_its_bookkeeping_writes_it_again(
    world: World, toy: Meddled
) -> None:
    at_work = await scored(world, toy, ADA)
    await world.send(event("a", ADA))

    async def die() -> None:
        raise asyncio.CancelledError

    toy.meanwhile = die
    with pytest.raises(asyncio.CancelledError):
        await tell(at_work)
    await tell(at_work)

    assert [("1", {"score_m": 5})] * 2 == written(toy)
    assert {} == await world.outbox()


# --- what is refused --------------------------------------------------------------------------------------------------


async def pass_time(world: World, at_work: Opened, hours: float, *, listens: bool = True) -> None:
    """Pull and push every ten minutes, as a connection at work does; every hour, when it has been so for long."""
    begin, end = world.now, world.now + timedelta(hours=hours)
    while world.now < end:
        step = timedelta(minutes=10 if world.now - begin < timedelta(hours=2) else 60)
        world.go_to(min(world.now + step, end))
        if listens:
            await listen(at_work)
        await tell(at_work)


@pytest.mark.parametrize("names_no_field", [False, True])
async def test_a_refused_field_keeps_no_flag_and_no_other_contact_from_being_told(
    world: World, toy: Meddled, names_no_field: bool
) -> None:
    at_work = await scored(world, toy, ADA, BOB)
    toy.refuses["1"], toy.names_no_field = ("score_m",), names_no_field
    await world.send(event("b", ADA), event("email.unsubscribed", ADA), event("a", BOB))

    counts = await tell(at_work)

    assert {"1": {"out": True}, "2": {"score_m": 5}} == dict(written(toy))
    assert (2, 1) == (counts.written, counts.refused)
    held = (await world.link("1"))["held"]
    assert {"score_m": ("RULE", 1)} == {name: (one["code"], one["tries"]) for name, one in held.items()}
    [waits] = await world.rows("SELECT contact_id, not_before - $1::timestamptz AS wait FROM outbox", NOON)
    assert await world.contact(ADA) == waits["contact_id"]
    assert timedelta(minutes=1) <= waits["wait"] < timedelta(minutes=2)


async def test_of_fields_that_were_refused_together_those_are_told_that_are_not_to_blame(
    world: World, toy: Meddled
) -> None:
    at_work = await scored(world, toy, ADA)
    toy.refuses["1"], toy.names_no_field = ("stage",), True
    await world.send(event("a", ADA))
    await world.change(await world.contact(ADA), stage="customer", properties={"industry": "mining"})

    await tell(at_work)
    assert [] == toy.written
    world.go_to(NOON + timedelta(minutes=2))
    await tell(at_work)

    assert [("1", {"industry": "mining"}), ("1", {"score_m": 5})] == written(toy)
    assert ["stage"] == [*(await world.link("1"))["held"]]


async def test_an_opt_out_is_told_though_another_flag_is_refused(world: World, toy: Meddled) -> None:
    at_work = await scored(world, toy, ADA)
    toy.refuses["1"], toy.names_no_field = ("bad_since",), True
    await world.send(event("email.unsubscribed", ADA), event("email.bounced", ADA, bounce="hard"))

    await tell(at_work)

    assert [("1", {"out": True})] == written(toy)


async def test_a_score_that_moves_does_not_wait_for_a_field_that_was_refused(world: World, toy: Meddled) -> None:
    at_work = await scored(world, toy, ADA)
    toy.refuses["1"] = ("stage",)
    await world.change(await world.contact(ADA), stage="customer")
    await tell(at_work)

    await world.send(event("a", ADA))
    await tell(at_work)

    assert [("1", {"score_m": 5})] == written(toy)


async def test_a_locked_record_is_told_as_soon_as_it_may_be(world: World, toy: Meddled) -> None:
    at_work = await scored(world, toy, ADA)
    toy.locked.add("1")
    await world.send(event("a", ADA))
    await tell(at_work)
    for seconds in (2, 10, 60):
        world.go_to(world.now + timedelta(seconds=seconds + 1))
        await tell(at_work)
    assert [] == toy.written

    toy.locked.clear()
    await tell(at_work)
    assert [] == toy.written
    world.go_to(world.now + timedelta(seconds=302))
    await tell(at_work)

    assert ([("1", {"score_m": 5})], {}) == (written(toy), (await world.link("1"))["held"])
    assert {} == await world.outbox()


async def test_what_is_refused_for_long_is_parked_until_somebody_asks_for_it(world: World, toy: Meddled) -> None:
    at_work = await scored(world, toy, ADA)
    toy.refuses["1"] = ()
    await world.send(event("a", ADA))
    await pass_time(world, at_work, 48, listens=False)
    assert 5 == len(toy.sizes)
    assert {} == await world.outbox()
    async with world.database.batch() as db:
        [one] = await parked.page(db, at_work.id, 10, None)
    assert ("1", await world.contact(ADA), ["score_m"]) == (one.key.id, one.contact, [each.name for each in one.fields])

    # What moves here is no reason to try again; only that somebody asks for it.
    await world.send(event("a", ADA))
    await tell(at_work)
    assert 5 == len(toy.sizes)
    toy.refuses.clear()
    async with world.database.batch() as db:
        await parked.retry(db, at_work.id, None, world.now)
    await tell(at_work)

    assert [("1", {"score_m": 10})] == written(toy)


async def test_a_field_that_stays_as_it_is_in_silence_is_written_four_times_and_no_more(
    world: World, toy: Meddled
) -> None:
    at_work = await scored(world, toy, ADA)
    toy.stubborn.add("score_m")
    await world.send(event("a", ADA))

    await pass_time(world, at_work, 48)

    assert [("1", {"score_m": 5})] * 4 == written(toy)
    held = (await world.link("1"))["held"]["score_m"]
    assert ("kept_otherwise", None) == (held["code"], held["until"])


@pytest.mark.parametrize("is_prompt", [True, False])
async def test_a_field_that_a_flow_there_changes_back_is_written_a_few_times_and_no_more(
    world: World, toy: Meddled, is_prompt: bool
) -> None:
    at_work = await scored(world, toy, ADA)
    if is_prompt:
        toy.flow = {"score_m": 0}
    await world.send(event("a", ADA))
    for _ in range(24):
        await pass_time(world, at_work, 0.5)
        if not is_prompt and toy.people["1"].values["score_m"] == 5:
            toy.edit("1", by_us=True, score_m=0)

    assert 4 == len(toy.written)
    assert ["score_m"] == [one.name for one in await _parked(world, at_work)]
    calls = toy.calls
    await tell(at_work)
    assert calls == toy.calls


async def _parked(world: World, at_work: Opened) -> Sequence[parked.ParkedField]:
    async with world.database.batch() as db:
        [one] = await parked.page(db, at_work.id, 10, None)
    return one.fields


async def test_what_somebody_frees_during_a_write_is_told_too(world: World, toy: Meddled) -> None:
    at_work = await scored(world, toy, ADA)
    toy.refuses["1"] = ("stage",)
    await world.change(await world.contact(ADA), stage="customer")
    await pass_time(world, at_work, 24, listens=False)
    assert ["stage"] == [one.name for one in await _parked(world, at_work)]
    toy.refuses.clear()
    await world.send(event("a", ADA))

    async def retry() -> None:
        async with world.database.batch() as db:
            await parked.retry(db, at_work.id, Key(PERSON, "1"), world.now)

    toy.meanwhile = retry
    await tell(at_work)

    assert [("1", {"score_m": 5}), ("1", {"stage": "customer"})] == written(toy)
    assert ({}, {}) == ((await world.link("1"))["held"], await world.outbox())


async def test_what_is_parked_is_tried_again_when_it_moves_there(world: World, toy: Meddled) -> None:
    at_work = await scored(world, toy, ADA)
    toy.refuses["1"] = ("score_m",)
    await world.send(event("a", ADA))
    await pass_time(world, at_work, 24)
    toy.refuses.clear()
    toy.edit("1", industry="mining")
    await pass_time(world, at_work, 1)
    assert [] == toy.written

    toy.edit("1", score_m=99)
    await pass_time(world, at_work, 1)

    assert [("1", {"score_m": 5})] == written(toy)


# --- what is gone -----------------------------------------------------------------------------------------------------


async def test_a_record_that_was_deleted_is_told_no_more(world: World, toy: Meddled) -> None:
    at_work = await scored(world, toy, ADA)
    await world.send(event("a", ADA))
    toy.delete("1")

    counts = await tell(at_work)

    assert (0, 1) == (counts.written, counts.gone)
    assert "gone" == (await world.link("1"))["state"]
    assert {} == await world.outbox()


async def test_what_a_record_became_is_told_in_its_place(world: World, toy: Meddled) -> None:
    at_work = await scored(world, toy, ADA)
    await world.send(event("a", ADA))
    toy.delete("1", successor=toy.add("countess@example.com"))

    await tell(at_work)

    assert [("2", {"score_m": 5})] == written(toy)
    assert await world.contact(ADA) == await world.of_record(at_work, "2")


async def test_a_record_that_is_there_though_it_is_said_to_be_gone_is_not_written_for_ever(
    world: World, toy: Meddled
) -> None:
    at_work = await scored(world, toy, ADA)
    await world.send(event("a", ADA))
    toy.is_gone_by_words_alone = True

    await pass_time(world, at_work, 24, listens=False)

    assert "live" == (await world.link("1"))["state"]
    assert 5 == len(toy.sizes)


# --- a rehearsal ------------------------------------------------------------------------------------------------------


async def test_a_rehearsal_says_what_would_be_written_and_calls_nobody(world: World, toy: Meddled) -> None:
    at_work = await scored(world, toy, ADA, BOB, CY)
    await world.send(event("a", ADA), event("b", BOB), event("email.unsubscribed", CY))
    before, calls = await world.rows("SELECT * FROM outbox ORDER BY contact_id"), toy.calls

    found = await push.rehearse(at_work, 2)

    assert [
        ("3", await world.contact(CY), [("out", False, True)]),
        ("2", await world.contact(BOB), [("score_m", 0, 50)]),
    ] == [(one.key.id, one.contact, [tuple(each) for each in one.fields]) for one in found.writes]
    assert (3, 0, 2, timedelta()) == (found.waiting, found.unknown, found.cost, found.lasts)
    assert (before, calls, []) == (
        await world.rows("SELECT * FROM outbox ORDER BY contact_id"),
        toy.calls,
        toy.written,
    )


async def test_a_rehearsal_of_nothing_costs_nothing(world: World, toy: Meddled) -> None:
    found = await push.rehearse(await scored(world, toy, ADA), 10)

    assert ([], 0, 0, 0, timedelta()) == tuple(found)


# --- what it costs here -----------------------------------------------------------------------------------------------


async def test_the_statements_of_a_batch_do_not_grow_with_it_and_read_by_key(world: World, toy: Meddled) -> None:
    toy.batch = toy.bulk = 50
    emails = [f"{n}@example.com" for n in range(50)]
    at_work = await scored(world, toy, *emails)

    async def statements(people: Sequence[str], **said: Any) -> list[tuple[str, Sequence[Any]]]:  # Any: as in Change
        """What a drain asks the database for these, who changed."""
        sent = list[tuple[str, Sequence[Any]]]()
        await world.send(*(event("a", email) for email in people))
        for email in people:
            await world.change(await world.contact(email), name=email, **said)
        await world.database.hot.expire_connections()
        async with AsyncExitStack() as stack:
            for _ in range(world.database.hot.get_max_size()):
                db = await stack.enter_async_context(world.database.hot.acquire())
                db.add_query_logger(lambda record: sent.append((record.query, record.args)))
        sent.clear()
        await tell(at_work)
        return [(query, arguments) for query, arguments in sent if "pg_advisory_unlock_all" not in query]

    one, many = await statements(emails[:1]), await statements(emails)
    assert [query for query, _ in one] == [query for query, _ in many]
    toy.refuses = {str(n): ("stage",) for n in range(1, 51, 3)}
    many += await statements(emails, stage="customer")

    assert [1, 50, 50, 17] == toy.sizes
    async with world.database.hot.acquire() as db:
        for query, arguments in many:
            if query.lstrip().startswith(("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")):
                plan = orjson.loads(await db.fetchval(f"EXPLAIN (FORMAT JSON) {query}", *arguments))
                met = [node for node in _nodes(plan[0]["Plan"]) if node.get("Relation Name") in _GROWING]
                assert [] == [node for node in met if node["Node Type"] != "ModifyTable" and not _is_by_key(node)], (
                    query
                )


_GROWING = {"outbox", "link", "identity", "contact", "score"}


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:  # Any: JSON
    return [plan, *(node for below in plan.get("Plans", []) for node in _nodes(below))]


def _is_by_key(node: dict[str, Any]) -> bool:  # Any: JSON
    return "Index Cond" in node or node["Node Type"] == "Bitmap Heap Scan"


# --- all of it --------------------------------------------------------------------------------------------------------


async def test_drains_stand_in_nobodys_way_who_changes_merges_or_erases(world: World, toy: Meddled) -> None:
    emails = [f"{n}@example.com" for n in range(12)]
    at_work = await scored(world, toy, *emails)
    people = [await world.contact(email) for email in emails]

    async def send(n: int) -> None:
        for _ in range(8):
            await committed(world.database, lambda db: _accept(world, db, *(event("a", one) for one in emails[n:9])))

    async def erase() -> None:
        for one in people[9:]:
            await committed(world.database, partial(contacts.erase, plans=world.plans, contact=one))

    async def retry() -> None:
        for _ in range(10):
            await committed(world.database, lambda db: parked.retry(db, at_work.id, None, world.now))

    async def drain() -> None:
        for _ in range(10):
            await tell(at_work)

    async with asyncio.timeout(60):
        await asyncio.gather(send(0), send(4), erase(), retry(), drain())
    await tell(at_work)

    assert {} == await world.outbox()
    scores = [toy.people[str(n)].values["score_m"] for n in range(1, 10)]
    assert [40] * 4 + [80] * 5 == scores


async def _accept(world: World, db: Connection, *events: NewEvent) -> None:
    await ingest.accept(db, world.plans, events, world.now, POLICY)


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["event", "stage", "out", "in", "bounce", "refuse", "lock", "lose", "clear", "tell", "listen"]),
        st.integers(0, 2),
    ),
    max_size=14,
)


@given(_STEPS)
@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_whatever_happens_the_crm_holds_in_the_end_what_we_say(
    world: World, steps: list[tuple[str, int]]
) -> None:
    await world.clear()
    toy, emails = Meddled(), [ADA, BOB, CY]
    at_work = await scored(world, toy, *emails)
    for what, who in steps:
        world.go_to(world.now + timedelta(minutes=7))
        await _happen(world, toy, at_work, what, emails[who], str(who + 1))
    toy.refuses, toy.lose_next = {}, 0
    toy.locked.clear()
    async with world.database.batch() as db:
        await parked.retry(db, at_work.id, None, world.now)
    await listen(at_work)
    world.go_to(world.now + timedelta(hours=1))  # what the CRM had taken, unknown to us, is changed after a wait
    await tell(at_work)

    assert {} == await world.outbox()
    for email, one in zip(emails, toy.people.values(), strict=True):
        row = await world.row(email)
        held = one.values
        said = (row["stage"], row["opted_out"], row["bounced"], await world.score(email))
        assert said == (held["stage"], held["out"], held["bad_since"] is not None, held["score_m"])


async def _happen(world: World, toy: Meddled, at_work: Opened, what: str, email: str, record: str) -> None:
    contact = await world.contact(email)
    match what:
        case "event":
            await world.send(event("a", email, world.now))
        case "stage":
            await world.change(contact, stage="customer")
        case "out" | "in":
            await world.change(contact, opted_out=what == "out")
        case "bounce":
            await world.send(event("email.bounced", email, world.now, bounce="hard"))
        case "refuse":
            toy.refuses[record] = ("stage", "out")
        case "lock":
            toy.locked.add(record)
        case "lose":
            toy.lose_next = 1
        case "clear":
            toy.refuses.clear()
            toy.locked.clear()
        case "tell":
            with contextlib.suppress(Unreachable):
                await tell(at_work)
        case "listen":
            await listen(at_work)
