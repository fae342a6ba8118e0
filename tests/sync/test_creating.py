"""Contacts without a record: found before any is made, made once whatever happens, and linked at once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from app.connectors.faults import Unreachable
from app.connectors.shapes import End, NewPerson, Outcome, Page
from app.sync import outbox, parked, pull, push
from app.sync.shapes import Counts, Opened
from tests.engine.worlds import NOON, event, per_event
from tests.sync.toy import Toy
from tests.sync.worlds import World, opened

ADA, BOB, COUNTESS = "ada@example.com", "bob@example.com", "countess@example.com"


@dataclass
class Choosy(Toy):
    """A CRM that does not make everybody, and during whose calls something happens."""

    refused: set[str] = field(default_factory=set)
    """Addresses of whom it makes no record, or fields with which it makes none."""
    busy: set[str] = field(default_factory=set)
    unseen: set[str] = field(default_factory=set)
    """Records that its feed of changes does not show yet."""
    attempts: list[NewPerson] = field(default_factory=list)
    meanwhile: Callable[[], Awaitable[None]] | None = None
    """After records were made and before the answer arrives, once."""

    async def changes(self, object_: str, cursor: str | None, fields: Sequence[str]) -> Page:
        page = await super().changes(object_, cursor, fields)
        return page._replace(records=[one for one in page.records if one.key.id not in self.unseen])

    async def create(self, people: Sequence[NewPerson]) -> Sequence[Outcome]:
        self.attempts += people
        ends = [self._end(one) for one in people]
        made = iter(await super().create([one for one, end in zip(people, ends, strict=True) if end is End.DONE]))
        if (meanwhile := self.meanwhile) is not None:
            self.meanwhile = None
            await meanwhile()
        return [next(made) if end is End.DONE else Outcome(end, code="RULE", reason="an admin's rule") for end in ends]

    def _end(self, one: NewPerson) -> End:
        if one.email in self.busy:
            return End.AGAIN
        return End.REFUSED if self.refused & {one.email, *one.values} else End.DONE


@pytest.fixture
def toy() -> Choosy:
    return Choosy()


async def listen(at_work: Opened) -> None:
    await pull.pull(at_work, Counts(), asyncio.Event())


async def tell(at_work: Opened) -> Counts:
    counts = Counts()
    await push.drain(at_work, counts, asyncio.Event())
    return counts


async def creating(world: World, toy: Toy) -> Opened:
    return await opened(world, toy, creates=True)


async def test_a_contact_whom_the_crm_does_not_know_is_made_there_with_all_that_goes_out(
    world: World, toy: Choosy
) -> None:
    await world.publish("m", per_event("a", 5))
    at_work = await creating(world, toy)
    await world.send(event("a", ADA))
    await world.change(await world.contact(ADA), name="Ada", stage="customer", properties={"industry": "mining"})

    counts = await tell(at_work)

    assert (1, 0) == (counts.created, counts.refused)
    [made] = toy.people.values()
    values = {"mail": ADA, "full_name": "Ada", "stage": "customer", "industry": "mining"}
    assert values == {name: made.values[name] for name in values}
    assert await world.contact(ADA) == await world.of_record(at_work, "1")
    assert {} == await world.outbox()


async def test_what_was_made_is_told_from_then_on_and_is_no_news_when_it_is_pulled(world: World, toy: Choosy) -> None:
    await world.publish("m", per_event("a", 5))
    at_work = await creating(world, toy)
    await world.send(event("a", ADA))
    await tell(at_work)
    await listen(at_work)
    await tell(at_work)
    assert [{"score_m": 5}] == [one.values for one in toy.written]

    await world.send(event("a", ADA), event("email.unsubscribed", ADA))
    await tell(at_work)

    assert {"score_m": 10, "out": True} == toy.written[-1].values
    assert 1 == len(toy.people)


async def test_who_may_not_be_mailed_is_made_with_the_flags_that_say_so(world: World, toy: Choosy) -> None:
    at_work = await creating(world, toy)
    await world.send(event("email.unsubscribed", ADA), event("email.bounced", ADA, bounce="hard"))

    await tell(at_work)

    [new] = toy.attempts
    assert {"out": True, "bad_since": "2026-05-15T12:00:00Z"} == new.values


async def test_whoever_is_there_already_is_found_and_not_made(world: World, toy: Choosy) -> None:
    at_work = await creating(world, toy)
    await listen(at_work)
    record = toy.add(COUNTESS, "ADA@example.com")
    await world.send(event("a", ADA))

    await tell(at_work)

    assert ([], [record]) == (toy.attempts, [*toy.people])
    assert await world.contact(ADA) == await world.of_record(at_work, record)


async def test_whoever_the_feed_does_not_show_yet_is_found_by_any_address(world: World, toy: Choosy) -> None:
    at_work = await creating(world, toy)
    await world.send(event("a", ADA))
    await world.change(await world.contact(ADA), email=COUNTESS)
    toy.unseen = {toy.add(ADA)}

    await tell(at_work)

    assert ([], await world.contact(COUNTESS)) == (toy.attempts, await world.of_record(at_work, "1"))


async def test_somebody_elses_record_that_has_the_address_too_is_not_made_twice(world: World, toy: Choosy) -> None:
    at_work = await creating(world, toy)
    await world.send(event("a", BOB))
    toy.add(BOB)
    await listen(at_work)
    await world.send(event("a", ADA))
    toy.people["1"].addresses = (BOB, ADA)

    await tell(at_work)

    assert ([], {}) == (toy.attempts, await world.outbox())
    assert await world.contact(BOB) == await world.of_record(at_work, "1")


async def test_who_has_no_address_or_was_deleted_there_is_not_made(world: World, toy: Choosy) -> None:
    at_work = await creating(world, toy)
    toy.add(ADA)
    await listen(at_work)
    await tell(at_work)
    toy.delete("1")
    await listen(at_work)
    contact = await world.contact(ADA)
    await world.send(event("contact.updated", ADA, traits={"x": 1}), event("a", BOB))
    bob = await world.contact(BOB)
    await world.change(bob, email=None)
    await world.execute(
        "INSERT INTO outbox SELECT $1, id, 1, 2, 0, $2 FROM contact ON CONFLICT DO NOTHING", at_work.id, NOON
    )
    await world.change(contact, name="Ada", opted_out=True)

    await tell(at_work)

    assert ([], {}) == (toy.attempts, await world.outbox())


async def test_nobody_is_made_where_that_is_not_wanted(world: World, toy: Choosy) -> None:
    at_work = await opened(world, toy, imports=False)
    await world.send(event("a", ADA))
    assert 1 == len(await world.outbox())

    await tell(at_work)

    assert ([], {}) == (toy.attempts, await world.outbox())


async def test_a_stranger_who_becomes_a_contact_is_taken(world: World, toy: Choosy) -> None:
    at_work = await opened(world, toy, imports=False)
    record = toy.add(ADA, stage="customer")
    await listen(at_work)
    assert 0 == await world.value("SELECT count(*) FROM contact")
    await world.send(event("email.unsubscribed", ADA))

    await tell(at_work)

    assert await world.contact(ADA) == await world.of_record(at_work, record)
    assert ("customer", [{"out": True}]) == ((await world.row(ADA))["stage"], [one.values for one in toy.written])
    assert {} == await world.outbox()


# --- what is lost -----------------------------------------------------------------------------------------------------


async def test_after_a_lost_answer_nobody_is_made_twice(world: World, toy: Choosy) -> None:
    at_work = await creating(world, toy)
    await world.send(event("a", ADA), event("a", BOB))
    toy.lose_next = 1

    with pytest.raises(Unreachable):
        await tell(at_work)
    assert (2, 2) == (len(toy.people), len(await world.outbox()))
    await tell(at_work)

    assert (2, {}) == (len(toy.people), await world.outbox())
    for email in (ADA, BOB):
        [record] = [id_ for id_, one in toy.people.items() if email in one.addresses]
        assert await world.contact(email) == await world.of_record(at_work, record)


async def test_a_process_that_dies_before_it_linked_what_it_made_makes_nobody_twice(world: World, toy: Choosy) -> None:
    at_work = await creating(world, toy)
    await world.send(event("a", ADA))

    async def die() -> None:
        raise asyncio.CancelledError

    toy.meanwhile = die
    with pytest.raises(asyncio.CancelledError):
        await tell(at_work)
    await tell(at_work)

    assert ["1"] == [*toy.people]
    assert await world.contact(ADA) == await world.of_record(at_work, "1")


async def test_who_is_merged_while_a_record_is_made_has_it_as_another_and_gives_it_back(
    world: World, toy: Choosy
) -> None:
    at_work = await creating(world, toy)
    await world.send(event("a", ADA), event("a", BOB))
    ada, bob = await world.contact(ADA), await world.contact(BOB)
    toy.meanwhile = lambda: world.merge(ada, bob)

    await tell(at_work)
    records = {one.addresses[0]: id_ for id_, one in toy.people.items()}
    assert {ada} == {await world.of_record(at_work, one) for one in records.values()}
    await world.unmerge(ada, bob)

    assert (ada, bob) == tuple([await world.of_record(at_work, records[email]) for email in (ADA, BOB)])


async def test_who_is_erased_while_a_record_is_made_does_not_come_back(world: World, toy: Choosy) -> None:
    at_work = await creating(world, toy)
    await world.send(event("a", ADA))
    contact = await world.contact(ADA)
    toy.meanwhile = lambda: world.erase(contact)

    await tell(at_work)
    await listen(at_work)

    assert ("erased", 0) == ((await world.link("1"))["state"], await world.value("SELECT count(*) FROM contact"))


# --- what is refused --------------------------------------------------------------------------------------------------


async def test_who_is_refused_with_all_is_made_with_the_flags_and_told_the_rest(world: World, toy: Choosy) -> None:
    at_work = await creating(world, toy)
    toy.refused = {"stage"}
    await world.send(event("email.unsubscribed", ADA))
    await world.change(await world.contact(ADA), stage="customer")

    counts = await tell(at_work)

    assert [{"stage": "customer", "out": True}, {"out": True}] == [one.values for one in toy.attempts]
    assert (1, 0) == (counts.created, counts.refused)
    await listen(at_work)
    await tell(at_work)
    assert [{"stage": "customer"}] == [one.values for one in toy.written]


async def test_who_is_not_wanted_is_tried_a_few_times_until_somebody_asks(world: World, toy: Choosy) -> None:
    at_work = await creating(world, toy)
    toy.refused = {ADA}
    await world.send(event("a", ADA), event("a", BOB))
    for hours in range(100):
        world.go_to(NOON + timedelta(hours=hours / 4))
        await tell(at_work)

    assert 5 == len([one for one in toy.attempts if one.email == ADA])
    assert [BOB] == [one.addresses[0] for one in toy.people.values()]
    async with world.database.batch() as db:
        assert (1, 1) == (await outbox.backlog(db, at_work.id))[0:3:2]
        toy.refused.clear()
        await parked.retry(db, at_work.id, None, world.now)
    await tell(at_work)
    assert ({BOB, ADA}, {}) == ({one.addresses[0] for one in toy.people.values()}, await world.outbox())


async def test_who_cannot_be_made_just_now_is_made_soon(world: World, toy: Choosy) -> None:
    at_work = await creating(world, toy)
    toy.busy = {ADA}
    await world.send(event("a", ADA))
    await tell(at_work)
    toy.busy.clear()
    await tell(at_work)
    assert {} == toy.people

    world.go_to(NOON + timedelta(seconds=4))
    await tell(at_work)

    assert ["1"] == [*toy.people]
