"""A Dynamics that tracks no changes is read no less well: the contract's scenarios of reading, by the walk alone."""

from collections.abc import Iterator

import pytest
import stamina

from app.connectors.dynamics import PROVIDER
from tests.connectors.contract import SCENARIOS, Scenario, at, reading
from tests.connectors.crms.dynamics import Dynamics
from tests.connectors.stage import Stage
from tests.sandbox.loopback import served

READING = {name: one for name, one in SCENARIOS.items() if one.__module__ == reading.__name__}


class Untracked(Dynamics):
    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.turn(untracked=["contact", "lead"])


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    stage = Stage()
    with served(stage) as stage.url:
        yield stage


@pytest.mark.parametrize("scenario", READING.values(), ids=READING.keys())
async def test_that(scenario: Scenario, stage: Stage) -> None:
    with stamina.set_testing(True, attempts=3, cap=True):
        async with at(Untracked(stage), PROVIDER) as place:
            await scenario(place)
