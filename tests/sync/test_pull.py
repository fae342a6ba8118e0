"""Feeds, hints and the comparison of everybody: each goes on where it stood, whatever ended it."""

from asyncio import Event
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import pytest

from app import clock
from app.connectors.faults import CursorLost, Fault, Unreachable
from app.connectors.shapes import Hint, Key, Page, Record
from app.sync import everybody, hints, pull
from app.sync.shapes import Counts, Opened
from tests.engine.worlds import NOON, event
from tests.sync.toy import PERSON, Toy
from tests.sync.worlds import World, opened, pulled

ADA, BOB = "ada@example.com", "bob@example.com"


@dataclass
class Brittle(Toy):
    """A toy that fails at some of its calls for pages."""

    faults: dict[int, Fault] = field(default_factory=dict)
    """By the number of the call, from 1."""
    pages: int = 0
    fetched: list[str] = field(default_factory=list)
    unlisted: set[str] = field(default_factory=set)
    """Who is left out of its lists of everybody."""
    meanwhile: Callable[[], Awaitable[None]] | None = None
    """What happens while its next answer is on its way."""

    async def changes(self, object_: str, cursor: str | None, fields: Sequence[str]) -> Page:
        self._fail()
        page = await super().changes(object_, cursor, fields)
        await self._answer()
        return page

    async def everybody(self, object_: str, cursor: str | None, fields: Sequence[str]) -> Page:
        self._fail()
        page = await super().everybody(object_, cursor, fields)
        return page._replace(records=[one for one in page.records if one.key.id not in self.unlisted])

    async def fetch(self, object_: str, ids: Sequence[str], fields: Sequence[str]) -> Sequence[Record]:
        self.fetched += ids
        found = await super().fetch(object_, ids, fields)
        await self._answer()
        return found

    async def _answer(self) -> None:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()

    def _fail(self) -> None:
        self.pages += 1
        if (fault := self.faults.pop(self.pages, None)) is not None:
            raise fault


@pytest.fixture
def toy() -> Brittle:
    return Brittle()


@pytest.fixture
async def toys(world: World, toy: Brittle) -> Opened:
    return await opened(world, toy)


def people(toy: Toy, count: int = 7) -> list[str]:
    return [toy.add(f"p{n}@example.com") for n in range(count)]


async def cursor(world: World, feed: str = f"changes:{PERSON}") -> str | None:
    found: str | None = await world.value("SELECT cursor FROM sync_cursor WHERE feed = $1", feed)
    return found


# --- changes ----------------------------------------------------------------------------------------------------------


async def test_a_feed_is_followed_to_its_end_and_goes_on_from_there(world: World, toy: Brittle, toys: Opened) -> None:
    ids = people(toy)

    assert Counts(seen=7, created=7) == await pulled(toys)
    toy.edit(ids[3], industry="steel")

    assert Counts(seen=1, changed=1) == await pulled(toys)
    assert 4 == toy.pages


async def test_a_fault_passes_and_what_was_taken_before_stays_with_its_cursor(
    world: World, toy: Brittle, toys: Opened
) -> None:
    people(toy)
    toy.faults = {3: Unreachable("no answer")}
    counts = Counts()

    with pytest.raises(Unreachable):
        await pull.pull(toys, counts, Event())

    assert 6 == counts.created == await world.value("SELECT count(*) FROM contact")
    assert f"{toy.people['6'].modified_at.isoformat()} 6" == await cursor(world)
    assert Counts(seen=1, created=1) == await pulled(toys)


async def test_a_page_whose_cursor_was_lost_in_a_crash_comes_again_without_effect(
    world: World, toy: Brittle, toys: Opened
) -> None:
    people(toy, 3)
    await pulled(toys)
    await world.execute("DELETE FROM sync_cursor")

    assert Counts(seen=3, echoes=3) == await pulled(toys)


async def test_a_cursor_that_the_crm_lost_is_begun_anew_once(world: World, toy: Brittle, toys: Opened) -> None:
    people(toy, 3)
    await pulled(toys)
    toy.faults = {2: CursorLost("too old")}
    assert Counts(seen=3, echoes=3) == await pulled(toys)

    await world.execute("DELETE FROM sync_cursor")
    toy.faults = {toy.pages + 1: CursorLost("there is none")}
    with pytest.raises(CursorLost):
        await pulled(toys)


async def test_whoever_wants_it_to_stop_waits_for_a_page_at_most(world: World, toy: Brittle, toys: Opened) -> None:
    people(toy)
    stop, counts = Event(), Counts()

    async def ask() -> None:
        stop.set()

    toy.meanwhile = ask
    await pull.pull(toys, counts, stop)

    assert 3 == counts.created
    assert Counts(seen=4, created=4) == await pulled(toys)


# --- hints ------------------------------------------------------------------------------------------------------------


async def note(world: World, one: Opened, *keys: str, became: str | None = None) -> None:
    successor = None if became is None else Key(PERSON, became)
    await hints.note(world.database, one.id, [Hint(Key(PERSON, key), successor) for key in keys], clock.now())


async def followed(one: Opened) -> Counts:
    counts = Counts()
    await hints.follow(one, counts, Event())
    return counts


async def waiting(world: World, one: Opened) -> int:
    async with world.database.batch() as db:
        return await hints.waiting(db, one.id)


async def test_a_record_that_we_were_told_of_is_read_and_nothing_else(world: World, toy: Brittle, toys: Opened) -> None:
    ids = people(toy, 3)
    await note(world, toys, ids[1])
    await note(world, toys, ids[1], "4711")
    assert 2 == await waiting(world, toys)

    assert Counts(seen=2, created=1) == await followed(toys)

    assert (["2", "4711"], 0) == (sorted(toy.fetched), await waiting(world, toys))
    await note(world, toys)
    assert 0 == await waiting(world, toys)


async def test_hints_come_before_the_feed(world: World, toy: Brittle, toys: Opened) -> None:
    ids = people(toy, 1)
    await note(world, toys, *ids)
    toy.faults = {1: Unreachable("no answer")}

    with pytest.raises(Unreachable):
        await pulled(toys)

    assert 1 == await world.value("SELECT count(*) FROM contact")


async def test_what_is_noted_again_while_it_is_read_is_read_again(world: World, toy: Brittle, toys: Opened) -> None:
    [id_] = people(toy, 1)
    await note(world, toys, id_)

    async def edit() -> None:
        toy.edit(id_, industry="steel")
        await note(world, toys, id_)

    toy.meanwhile = edit
    await followed(toys)

    assert 1 == await waiting(world, toys)
    assert Counts(seen=1, changed=1) == await followed(toys)


async def test_a_hint_of_something_that_is_no_person_is_dropped(world: World, toys: Opened) -> None:
    await hints.note(world.database, toys.id, [Hint(Key("deal", "1"))], clock.now())

    await followed(toys)

    assert 0 == await waiting(world, toys)


@pytest.mark.parametrize("is_there", [True, False])
@pytest.mark.parametrize("is_gone", [True, False])
async def test_what_a_record_is_said_to_have_become_is_believed_if_it_is_gone_and_the_other_there(
    world: World, toy: Brittle, toys: Opened, is_there: bool, is_gone: bool
) -> None:
    lead = toy.add(ADA)
    await pulled(toys)
    ada = await world.contact()
    new = toy.add(BOB) if is_there else "4711"
    if is_gone:
        del toy.people[lead]  # the CRM itself does not say what became of it
    await note(world, toys, lead, became=new)
    await note(world, toys, lead)  # and again, without that

    await followed(toys)

    assert (ada if is_there and is_gone else None) == await world.of_record(toys, new)
    assert ("gone" if is_gone else "live") == (await world.link(lead))["state"]


async def test_what_is_said_to_have_become_a_record_that_is_gone_too_is_nobodys(
    world: World, toy: Brittle, toys: Opened
) -> None:
    lead, other = toy.add(ADA), toy.add(BOB)
    await pulled(toys)
    del toy.people[lead], toy.people[other]
    await note(world, toys, lead, became=other)

    assert 2 == (await followed(toys)).gone

    assert await world.contact(ADA) != await world.contact(BOB)


# --- everybody --------------------------------------------------------------------------------------------------------


async def compared(one: Opened, stop: Event | None = None) -> Counts:
    counts = Counts()
    await everybody.reconcile(one, counts, stop or Event())
    return counts


async def test_a_comparison_finds_what_no_feed_told(world: World, toy: Brittle, toys: Opened) -> None:
    ids = people(toy)
    await pulled(toys)
    toy.people[ids[0]].values["industry"] = "steel"  # without a trace in the feed
    del toy.people[ids[1]]
    toy.people["99"] = toy.people.pop(ids[2])  # one is gone, another came
    await world.execute("DELETE FROM link WHERE record = $1", ids[3])

    counts = await compared(toys)

    assert Counts(seen=8, changed=1, echoes=3, gone=2) == counts
    assert (["2", "3"], None) == (sorted(toy.fetched), await cursor(world, f"everybody:{PERSON}"))
    assert ["gone", "gone", "live"] == [(await world.link(id_))["state"] for id_ in (*ids[1:3], ids[3])]
    assert await world.contact("p2@example.com") == await world.of_record(toys, "99")


async def test_a_comparison_goes_on_where_it_was_stopped_and_remembers_when_it_began(
    world: World, toy: Brittle, toys: Opened
) -> None:
    ids = people(toy)
    await pulled(toys)
    del toy.people[ids[0]]
    toy.faults = {toy.pages + 2: Unreachable("no answer")}

    with pytest.raises(Unreachable):
        await compared(toys)
    began_at = await world.value("SELECT began_at FROM sync_cursor WHERE feed = $1", f"everybody:{PERSON}")
    world.go_to(NOON.replace(day=16))
    stop = Event()
    stop.set()
    assert Counts() == await compared(toys, stop)
    assert began_at == await world.value("SELECT began_at FROM sync_cursor WHERE feed = $1", f"everybody:{PERSON}")

    assert Counts(seen=4, echoes=3, gone=1) == await compared(toys)


async def test_a_comparison_begins_again_where_the_crm_lost_its_place(world: World, toy: Brittle, toys: Opened) -> None:
    people(toy)
    toy.faults = {2: CursorLost("too old")}

    assert Counts(seen=10, created=7, echoes=3) == await compared(toys)


async def test_who_is_there_though_the_walk_did_not_meet_them_stays(world: World, toy: Brittle, toys: Opened) -> None:
    ids = people(toy, 2)
    await pulled(toys)
    toy.unlisted = {ids[0]}

    assert Counts(seen=2, echoes=2) == await compared(toys)
    assert "live" == (await world.link(ids[0]))["state"]


async def test_contacts_of_other_ways_are_no_business_of_a_comparison(world: World, toys: Opened) -> None:
    await world.send(event("page.viewed", ADA))

    assert Counts() == await compared(toys)
    assert {} == await world.outbox()
