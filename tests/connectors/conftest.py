"""What the connectors' tests share: for each CRM's tests a stand-in behind a real port."""

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest
import stamina

from app import clock
from app.connectors.http import Http
from tests.connectors import copper_account, dynamics_world, hubspot_account, pipedrive_world
from tests.connectors.copper_account import Account
from tests.connectors.dynamics_world import World
from tests.connectors.pipedrive_world import Company
from tests.connectors.salesforce_org import Front, Org, fronted, opened


@pytest.fixture(scope="module")
def front() -> Iterator[Front]:
    with fronted() as made:
        yield made


@pytest.fixture
async def org(front: Front) -> AsyncIterator[Org]:
    async with opened(front) as made:
        yield made


@pytest.fixture(scope="module")
def before() -> Iterator[pipedrive_world.Front]:
    with pipedrive_world.front() as made:
        yield made


@pytest.fixture
async def acme(before: pipedrive_world.Front) -> AsyncIterator[Company]:
    async with Http(private=True) as http:
        yield Company(before, http)
    clock.shift(timedelta())


@pytest.fixture(scope="module")
def copper_front() -> Iterator[copper_account.Front]:
    with copper_account.front() as made:
        yield made


@pytest.fixture
async def copper(copper_front: copper_account.Front) -> AsyncIterator[Account]:
    with stamina.set_testing(True, attempts=3, cap=True):
        async with Http(private=True) as http:
            yield Account(copper_front, http)
    clock.shift(timedelta())


@pytest.fixture(scope="module")
def dynamics_front() -> Iterator[dynamics_world.Front]:
    with dynamics_world.fronted() as made:
        yield made


@pytest.fixture
async def dynamics(dynamics_front: dynamics_world.Front) -> AsyncIterator[World]:
    with stamina.set_testing(True, attempts=3, cap=True):
        async with dynamics_world.opened(dynamics_front) as made:
            yield made


@pytest.fixture(scope="module")
def hubspot_front() -> Iterator[hubspot_account.Front]:
    with hubspot_account.front() as made:
        yield made


@pytest.fixture
async def hubspot(hubspot_front: hubspot_account.Front) -> AsyncIterator[hubspot_account.Account]:
    with stamina.set_testing(True, attempts=3, cap=True):
        async with Http(private=True) as http:
            yield hubspot_account.Account(hubspot_front, http)
    clock.shift(timedelta())
