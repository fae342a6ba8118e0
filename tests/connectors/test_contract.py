"""Every connector passes the contract, at its stand-in, over real sockets."""

from collections.abc import Iterator

import pytest
import stamina

from app.connectors import providers
from tests.connectors.contract import SCENARIOS, Scenario, at
from tests.connectors.crms import CRMS
from tests.connectors.stage import Stage
from tests.sandbox.loopback import served


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    stage = Stage()
    with served(stage) as stage.url:
        yield stage


@pytest.fixture(autouse=True)
def _at_once() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3, cap=True):
        yield


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())
@pytest.mark.parametrize("kind", CRMS)
async def test_that(kind: str, scenario: Scenario, stage: Stage) -> None:
    if kind not in providers():
        pytest.skip(f"{kind} cannot be connected yet")
    async with at(CRMS[kind](stage), providers()[kind]) as place:
        await scenario(place)


def test_every_crm_that_can_be_connected_is_held_to_the_contract() -> None:
    assert set() == providers().keys() - CRMS.keys()
