"""What the connectors' tests share: for each CRM's tests a stand-in behind a real port."""

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest

from app import clock
from app.connectors.http import Http
from tests.connectors import pipedrive_world
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
