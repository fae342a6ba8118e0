import pytest

from app.store.db import Database
from tests.sync.toy import Toy
from tests.sync.worlds import World


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


@pytest.fixture
def toy() -> Toy:
    return Toy()
