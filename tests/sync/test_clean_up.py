"""The clean-up that a sales team asks for: whoever has a dead address shows it in Dynamics, and can be found there.

The CRM is the stand-in over real sockets; what sales does and sees goes by its Web API and by the edits of humans.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from decimal import Decimal

import httpx
import pytest

from app import clock, connectors
from app.connectors.http import Http
from app.sandbox.dynamics import Dynamics
from app.sandbox.people import people
from app.sandbox.shapes import Clock
from app.store.db import Database
from app.sync import checking, connections, differences, opening, pull, push
from app.sync.given import New
from app.sync.options import Options
from app.sync.shapes import Counts, Opened
from tests.engine.worlds import POLICY, event, per_event, profile
from tests.sandbox.loopback import served
from tests.sync.worlds import VAULT, World

PEOPLE, DEAD = 1_200, 600
BOUNCED, SCORE = "new_leadtally_email_bounced", "new_leadtally_score_engagement"


class Sales:
    """One deployment with a Dynamics 365, and who sells there."""

    def __init__(self, world: World, crm: Dynamics, url: str, http: Http) -> None:
        self.world = world
        self.crm = crm
        self.url = url
        self.known = crm.credentials(url)
        self._http = http

    async def connect(self) -> None:
        given = {name: self.known[name] for name in ("tenant_id", "client_id", "client_secret", "authority")}
        new = New("dynamics", "Sales", "client_credentials", given, self.url, Options())
        async with self.world.database.batch() as db:
            made = await connections.create(db, VAULT, new, connectors.providers(), clock.now(), private=True)
        self.connection = made.id
        tested = await checking.test(self.world.database, self.opened, made.id, private=True, hook=None)
        assert tested.is_ok, tested.findings

    def opened(self) -> AbstractAsyncContextManager[Opened]:
        return opening.opened(self.world.database, VAULT, self._http, self.world.plans, POLICY, self.connection)

    async def sync(self) -> Counts:
        counts = Counts()
        self.world.go_to(clock.now() + timedelta(minutes=10))
        async with self.opened() as opened:
            await pull.pull(opened, counts, asyncio.Event())
            await push.drain(opened, counts, asyncio.Event())
        return counts

    async def filtered(self, chosen: str) -> dict[str, str]:
        """The contacts that a filter of a view shows: their ids by their addresses."""
        form = {"grant_type": "client_credentials", "scope": f"{self.url}/.default"}
        form |= {name: self.known[name] for name in ("client_id", "client_secret")}
        async with httpx.AsyncClient(timeout=30) as http:
            token = (await http.post(self.known["token_url"], data=form)).json()["access_token"]
            asked = {"$select": "emailaddress1", "$filter": chosen}
            reply = await http.get(
                f"{self.url}/api/data/v9.2/contacts", params=asked, headers={"Authorization": f"Bearer {token}"}
            )
        assert 200 == reply.status_code, reply.text
        return {row["emailaddress1"]: row["contactid"] for row in reply.json()["value"]}

    async def edit(self, **body: object) -> None:
        async with httpx.AsyncClient(base_url=self.url) as http:
            reply = await http.post("/_sandbox/edit", json=body)
        assert 200 == reply.status_code, reply.text

    async def agrees(self) -> bool:
        async with self.opened() as opened:
            return not [one async for one in differences.all_of(opened) if one.differing]


@pytest.fixture
async def sales(database: Database) -> AsyncIterator[Sales]:
    world = World(database)
    await world.clear()
    crm = Dynamics(Clock(clock.now))
    crm.fill(people(PEOPLE))
    with served(crm.app) as url:
        async with Http(private=True) as http:
            yield Sales(world, crm, url, http)


async def test_the_dead_addresses_are_flagged_and_found_and_one_recovers(sales: Sales) -> None:
    world = sales.world
    await world.publish("engagement", per_event("page.viewed", 5), profile("contact.bounced", "=", True, -1000))
    await sales.connect()
    await sales.sync()
    contacts = await sales.filtered("emailaddress1 ne null")
    dead = sorted(contacts)[:DEAD]
    await world.send(*(event("page.viewed", one, clock.now()) for one in dead[:10]))
    await world.send(*(event("email.bounced", one, clock.now(), bounce="hard") for one in dead))

    told = await sales.sync()

    assert DEAD == told.written
    assert set(dead) == (await sales.filtered(f"{BOUNCED} eq true")).keys()
    assert set(dead) == (await sales.filtered(f"{SCORE} lt -900")).keys()
    assert set(dead[:10]) == (await sales.filtered(f"{SCORE} eq -995")).keys()
    assert await sales.agrees()

    ada = contacts[dead[0]]
    await sales.edit(do="change", id=ada, fields={"emailaddress1": "ada.new@example.com"})
    await sales.sync()

    row = await world.row("ada.new@example.com")
    assert not row["bounced"]
    assert Decimal(5) == await world.score("ada.new@example.com", "engagement")
    assert {"ada.new@example.com": ada} == await sales.filtered(f"contactid eq {ada} and {BOUNCED} eq false")
    assert {"ada.new@example.com": ada} == await sales.filtered(f"{SCORE} eq 5")
    assert DEAD - 1 == len(await sales.filtered(f"{SCORE} lt -900"))
    assert await sales.agrees()
