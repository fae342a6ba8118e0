"""All CRMs at once, edited there and here, at random, while all that can fail does.

Faults come between calls, a CRM is down for an hour, and our process dies at any moment; in the end there is quiet.
Then all sides say the same of everybody, nothing more is written, and no opt-out was lost or taken back by a machine.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import stamina

from app import clock, connectors
from app.connectors.faults import Later
from app.connectors.http import Http
from app.connectors.provider import Grant
from app.engine import contacts, merging
from app.engine.identity import record_kind
from app.errors import Unavailable
from app.sandbox.shapes import Clock
from app.store.db import Database
from app.sync import checking, connections, differences, everybody, opening, pull, push
from app.sync.given import New
from app.sync.mapping import EMAIL
from app.sync.options import Options
from app.sync.shapes import Counts, Opened
from tests.engine.worlds import POLICY, event, per_event, profile
from tests.sandbox.loopback import served
from tests.sync.humans import everywhere
from tests.sync.humans.shapes import Door, Humans
from tests.sync.worlds import VAULT, World

PEOPLE = 12
_HOLDER = "SELECT contact_id FROM identity WHERE kind = 'email' AND value = $1"
_STATE = "SELECT state FROM link WHERE connection_id = $1 AND object = $2 AND record = $3"
_OF_RECORD = "SELECT contact_id FROM identity WHERE kind = $1 AND value = $2"


class Everything:
    """One deployment, all CRMs, and whoever works in them."""

    def __init__(self, world: World, crms: dict[UUID, Humans], doors: dict[UUID, Door], http: Http, seed: int) -> None:
        self.world = world
        self.crms = crms
        self.doors = doors
        self.http = http
        self.random = random.Random(seed)
        self.fresh = PEOPLE
        self.ops = 0
        self.faults = 0
        self.down: dict[UUID, datetime] = {}
        """The CRMs that are down, and until when."""
        self.must_be_out: set[str] = set()
        """Whoever opted out here by these addresses, and whom nobody has opted in since."""

    # --- what happens -------------------------------------------------------------------------------------------------

    async def step(self) -> None:
        """One thing that somebody does, here or there, or one turn of the sync."""
        self.ops += 1
        self.comes_back()
        chosen = self.random.choices(
            (self.happens_here, self.happens_there, self.fails, self.syncs), weights=(5, 6, 1, 6)
        )[0]
        await chosen()
        self.world.go_to(clock.now() + timedelta(seconds=self.random.choice((1, 1, 2, 30, 90))))

    async def happens_here(self) -> None:
        address = self.address()
        match self.random.randrange(12):
            case 0:
                await self.world.send(event("email.bounced", address, clock.now(), bounce="hard"))
            case 1:
                self.must_be_out.add(address)
                await self.world.send(event("email.unsubscribed", address, clock.now()))
            case 2:
                await self.world.send(event("email.resubscribed", address, clock.now()))
                await self.may_be_in(await self.world.value(_HOLDER, address))
            case 3:
                await self.merge(address, self.address())
            case 4 if not self.random.randrange(4):
                await self.erase(address)
            case _:
                await self.world.send(event("page.viewed", address, clock.now()))

    async def merge(self, address: str, other: str) -> None:
        """Somebody says here that two are one."""
        one, two = [await self.world.value(_HOLDER, each) for each in (address, other)]
        if one is not None and two is not None and one != two:
            async with self.world.database.batch() as db:
                await merging.merge(db, self.world.plans, one, two, clock.now(), POLICY)

    async def erase(self, address: str) -> None:
        """What was said by their addresses is left to their hashes."""
        contact = await self.world.value(_HOLDER, address)
        if contact is not None:
            await self.may_be_in(contact)
            async with self.world.database.batch() as db:
                await contacts.erase(db, self.world.plans, contact)

    async def happens_there(self) -> None:
        humans = self.crms[self.random.choice(list(self.crms))]
        live = humans.live()
        key = self.random.choice(sorted(live)) if live else None
        act = self.random.randrange(12)
        if key is None or act == 0:
            await humans.create(self.random.choice(humans.objects), self.address(), is_out=self.random.random() < 0.3)
            return
        match act:
            case 1 | 2:
                await humans.opt(key, out=True)
            case 3:
                await humans.opt(key, out=False)
                self.must_be_out -= {address.lower() for address in live[key].addresses}
                connection = next(one for one, who in self.crms.items() if who is humans)
                await self.may_be_in(await self.world.value(_OF_RECORD, record_kind(connection, key.object), key.id))
            case 4:
                await humans.forgive(key)
            case 5:
                self.fresh += 1
                await humans.readdress(key, f"moved{self.fresh}@example.com")
            case 6:
                await humans.delete(key)
            case 7:
                others = [other for other in sorted(live) if other.object == key.object and other != key]
                if others:
                    await humans.merge(key, self.random.choice(others))
            case 8:
                if key.object == humans.converts:
                    await humans.convert(key)
            case _:
                await humans.log(key)

    async def fails(self) -> None:
        """The next calls to one of the CRMs go wrong."""
        self.faults += 1
        connection = self.random.choice(list(self.crms))
        if self.random.randrange(6):
            humans = self.crms[connection]
            await humans.fault(**humans.mishap(self.random))
        else:
            self.goes_down(connection, timedelta(minutes=self.random.randrange(5, 60)))

    def goes_down(self, connection: UUID, for_: timedelta) -> None:
        self.doors[connection].is_shut = True
        self.down[connection] = clock.now() + for_

    def comes_back(self) -> None:
        """Those whose time has come."""
        for connection in [one for one, until in self.down.items() if until <= clock.now()]:
            self.doors[connection].is_shut = False
            del self.down[connection]

    async def syncs(self) -> None:
        """A turn of one connection, which may die at any moment."""
        connection = self.random.choice(list(self.crms))
        work = self.random.choice((_pull, _pull, _push, _push, _reconcile))
        dies_after = self.random.choice((None, None, self.random.random() * 0.1))
        await self.turn(connection, work, dies_after)

    async def turn(
        self,
        connection: UUID,
        work: Callable[[Opened, Counts, asyncio.Event], Awaitable[None]],
        dies_after: float | None,
    ) -> bool:
        """Whether it came to its end."""

        async def done() -> None:
            async with opening.opened(
                self.world.database, VAULT, self.http, self.world.plans, POLICY, connection
            ) as opened:
                await work(opened, Counts(), asyncio.Event())

        try:
            await asyncio.wait_for(done(), dies_after)
        except (TimeoutError, Later, Unavailable):
            return False
        return True

    # --- quiet --------------------------------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Nothing fails any more, nobody does anything, and time goes on."""
        self.down = dict.fromkeys(self.down, clock.now())
        self.comes_back()
        for humans in self.crms.values():
            await humans.fault(**humans.calm)
        await self.rounds(6)

    async def rounds(self, count: int) -> None:
        """So many turns of each connection, a quarter of an hour apart. At those that are up they come to their end."""
        for _ in range(count):
            for work in (_pull, _reconcile, _push):
                for connection in self.crms:
                    self.world.go_to(clock.now() + timedelta(minutes=15))
                    assert await self.turn(connection, work, None) or connection in self.down, work

    async def differences(self, but: UUID | None = None) -> list[Any]:  # Any: as the report has them
        found = []
        for connection in self.crms.keys() - {but}:
            async with opening.opened(
                self.world.database, VAULT, self.http, self.world.plans, POLICY, connection
            ) as opened:
                found += [
                    (opened.kind, one.key, each)
                    async for one in differences.all_of(opened)
                    for each in one.differing
                    if not _is_for_people_to_mend(each)
                ]
        return found

    async def may_be_in(self, contact: UUID | None) -> None:
        """Somebody opted this contact in."""
        rows = await self.world.rows("SELECT value FROM identity WHERE kind = 'email' AND contact_id = $1", contact)
        self.must_be_out -= {row["value"] for row in rows}

    def address(self) -> str:
        return f"p{self.random.randrange(self.fresh)}@example.com"

    def writes(self) -> list[int]:
        return [humans.writes() for humans in self.crms.values()]


def _is_for_people_to_mend(field: differences.Field) -> bool:
    """A name and an address flow in only: where two records of one contact differ, they go on to. An address that is
    another contact's stays where it is, until somebody merges the two."""
    is_taken = field.why is differences.Why.HELD and field.here == EMAIL
    return is_taken or field.why in (differences.Why.ONE_WAY, differences.Why.SEVERAL_RECORDS)


async def _pull(opened: Opened, counts: Counts, stop: asyncio.Event) -> None:
    await pull.pull(opened, counts, stop)


async def _reconcile(opened: Opened, counts: Counts, stop: asyncio.Event) -> None:
    assert await everybody.reconcile(opened, counts, stop)


async def _push(opened: Opened, counts: Counts, stop: asyncio.Event) -> None:
    await push.drain(opened, counts, stop)


async def _connected(world: World, http: Http, humans: Humans, url: str) -> UUID:
    known = humans.crm.credentials(url)
    given = {name: known[name] for name in humans.signs_in_with}
    options = Options(creates=humans.creates, choices=humans.choices)
    new = New(humans.kind, humans.kind, humans.flow, given, url, options)
    async with world.database.batch() as db:
        made = await connections.create(db, VAULT, new, connectors.providers(), clock.now(), private=True)
    if humans.refresh_token is not None:
        # As it was when somebody had signed in with a browser, long ago.
        grant = Grant("stale", known[humans.refresh_token], url)
        await opening.KeptGrant(world.database, VAULT, made.id).keep(grant)

    def open_it() -> AbstractAsyncContextManager[Opened]:
        return opening.opened(world.database, VAULT, http, world.plans, POLICY, made.id)

    tested = await checking.test(world.database, open_it, made.id, private=True, hook=None)
    assert tested.is_ok, tested.findings
    return made.id


@pytest.fixture(autouse=True)
def _at_once() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3, cap=True):
        yield


@pytest.fixture
async def everything(database: Database, request: pytest.FixtureRequest) -> AsyncIterator[Everything]:
    world = World(database)
    await world.clear()
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(Http(private=True))
        await world.publish("engagement", per_event("page.viewed", 5), profile("contact.bounced", "=", True, -1000))
        crms, doors = dict[UUID, Humans](), dict[UUID, Door]()
        for humans in everywhere(Clock(clock.now)):
            door = Door(humans.crm.app)
            url = stack.enter_context(served(door))
            humans.at(url)
            stack.push_async_callback(humans.aclose)
            connection = await _connected(world, http, humans, url)
            crms[connection], doors[connection] = humans, door
        yield Everything(world, crms, doors, http, request.param)


@pytest.mark.parametrize("everything", range(3), indirect=True)
async def test_after_quiet_all_crms_and_we_say_the_same(everything: Everything) -> None:
    for _ in range(400):
        await everything.step()
    await everything.settle()

    found = await everything.differences()
    assert [] == found, "\n".join(map(str, found))
    before = everything.writes()
    await everything.settle()
    assert before == everything.writes()
    await _nothing_is_lost(everything)


@pytest.mark.parametrize("everything", [0], indirect=True)
async def test_a_crm_that_is_down_for_hours_catches_up_and_harms_no_other(everything: Everything) -> None:
    for number in range(PEOPLE):
        humans = list(everything.crms.values())[number % len(everything.crms)]
        await humans.create(humans.objects[0], f"p{number}@example.com", is_out=False)
    await everything.settle()

    for connection in everything.crms:
        everything.goes_down(connection, timedelta(days=1))
        for _ in range(20):
            await everything.happens_here()
        for humans in [one for other, one in everything.crms.items() if other != connection]:
            key = everything.random.choice(sorted(humans.live()))
            await humans.opt(key, out=True)
        await everything.rounds(2)
        assert [] == await everything.differences(but=connection)

        await everything.settle()
        assert [] == await everything.differences()
        await _nothing_is_lost(everything)


async def _nothing_is_lost(everything: Everything) -> None:
    world = everything.world
    for address in everything.must_be_out:
        contact = await world.value(_HOLDER, address)
        assert await world.value("SELECT opted_out FROM contact WHERE id = $1", contact), address
    for connection, humans in everything.crms.items():
        live = humans.live()
        for key, seen in live.items():
            contact = await world.value(_OF_RECORD, record_kind(connection, key.object), key.id)
            if contact is None:
                assert "erased" == await world.value(_STATE, connection, *key)
                continue
            row = await world.rows("SELECT opted_out, bounced FROM contact WHERE id = $1", contact)
            assert [{"opted_out": seen.is_out, "bounced": seen.is_bounced}] == row, key
        made = [seen.addresses[0].lower() for seen in live.values() if seen.by_us and seen.addresses]
        assert len(made) == len(set(made))
