"""What a CRM does not take: held, tried again after growing waits, parked."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.connectors.shapes import End, Outcome
from app.sync import holding
from app.sync.holding import Held, Why
from tests.engine.worlds import NOON

LOCKED = Outcome(End.AGAIN, code="UNABLE_TO_LOCK_ROW", reason="somebody else writes")
REFUSED = Outcome(End.REFUSED, code="FIELD_CUSTOM_VALIDATION_EXCEPTION", reason="an admin's rule")


def refuse(held: Held, outcome: Outcome, now: datetime = NOON) -> dict[str, Any]:
    return holding.refuse(held, ["score"], outcome, {"score": 5, "out": True}, now)


def waits(outcome: Outcome | None, tries: int) -> list[timedelta | None]:
    """How long each of so many refusals waits, each tried as soon as it may be."""
    held: dict[str, Any] = {}
    found, now = list[timedelta | None](), NOON
    for _ in range(tries):
        held = holding.reversed_(held, "score", 5, now) if outcome is None else refuse(held, outcome, now)
        at = holding.next_try(held, ["score"])
        found.append(None if at is None else at - now)
        now = at or now
    return found


def test_a_refused_field_says_what_was_refused_why_and_since_when() -> None:
    held = refuse({}, REFUSED)

    assert {
        "score": {
            "why": "refused",
            "code": "FIELD_CUSTOM_VALIDATION_EXCEPTION",
            "reason": "an admin's rule",
            "tries": 1,
            "value": 5,
            "since": "2026-05-15T12:00:00+00:00",
            "until": "2026-05-15T12:01:00+00:00",
        }
    } == held


def test_a_lock_is_waited_for_longer_and_longer_and_never_given_up() -> None:
    seconds = [2, 10, 60, 300, 1_800, 3_600, 3_600, 3_600]
    assert [timedelta(seconds=one) for one in seconds] == waits(LOCKED, 8)


def test_what_is_refused_again_and_again_is_parked() -> None:
    assert [*(timedelta(minutes=one) for one in (1, 10, 60, 360)), None] == waits(REFUSED, 5)


def test_what_is_changed_back_again_and_again_is_parked_and_says_what_to_look_for() -> None:
    assert [*(timedelta(minutes=one) for one in (1, 10, 60)), None] == waits(None, 4)

    held = holding.reversed_({}, "score", 5, NOON)
    assert "changed_back" == held["score"]["code"]
    assert "sets this field" in held["score"]["reason"]


def test_a_field_is_free_again_when_its_wait_is_over_and_never_once_it_is_parked() -> None:
    held = refuse({}, REFUSED)
    assert not holding.is_free(held, "score", NOON + timedelta(seconds=59))
    assert holding.is_free(held, "score", NOON + timedelta(seconds=60))
    assert holding.is_free(held, "out", NOON)

    for _ in range(4):
        held = refuse(held, REFUSED)
    assert ["score"] == holding.parked(held)
    assert not holding.is_free(held, "score", NOON + timedelta(days=365))
    assert holding.next_try(held, ["score", "out"]) is None
    assert {} == holding.free(held, ["score"])


def test_only_what_was_refused_might_take_others_with_it() -> None:
    assert holding.is_in_doubt(refuse({}, REFUSED), "score")
    assert not holding.is_in_doubt(refuse({}, LOCKED), "score")
    assert not holding.is_in_doubt({}, "score")


def test_whatever_is_taken_at_last_is_as_if_nothing_had_been() -> None:
    for held in (refuse({}, REFUSED), refuse({}, LOCKED), holding.otherwise({}, {"score": 5}, NOON)):
        assert {} == holding.settle(held, ["score"], NOON)
        assert held == holding.settle(held, ["out"], NOON)


def test_a_reversal_is_remembered_for_a_day_though_the_field_is_taken_between() -> None:
    held = holding.reversed_({}, "score", 5, NOON)

    soon = holding.settle(held, ["score"], NOON + timedelta(hours=23))
    assert 2 == holding.reversed_(soon, "score", 5, NOON + timedelta(hours=23))["score"]["tries"]
    assert {} == holding.settle(held, ["score"], NOON + timedelta(hours=25))
    assert 1 == holding.reversed_(held, "score", 5, NOON + timedelta(hours=25))["score"]["tries"]


def test_a_lock_counts_neither_for_nor_against_what_was_refused_before() -> None:
    held = refuse(refuse({}, REFUSED), REFUSED)
    between = refuse(held, LOCKED, NOON + timedelta(minutes=10))

    assert (2, "refused") == (between["score"]["tries"], between["score"]["why"])
    assert NOON + timedelta(minutes=20) == holding.next_try(between, ["score"])
    assert 1 == refuse(refuse({}, LOCKED), REFUSED)["score"]["tries"]


def test_each_function_leaves_what_it_was_given() -> None:
    held = refuse({}, REFUSED)
    before = {name: dict(entry) for name, entry in held.items()}

    refuse(held, REFUSED)
    holding.otherwise(held, {"score": 5}, NOON)
    holding.settle(held, ["score"], NOON)
    holding.free(held, ["score"])

    assert before == held


@given(st.lists(st.sampled_from([LOCKED, REFUSED, "otherwise", "reversed"]), max_size=60))
@settings(deadline=None, max_examples=150)
def test_whatever_happens_in_whatever_order_there_are_few_tries(happened: list[Any]) -> None:
    """Tried as soon as it may be: at most five times but for locks, and these at most once an hour after the sixth."""
    held, now, tries, locks = dict[str, Any](), NOON, 0, 0
    for one in happened:
        if not holding.is_free(held, "score", now):
            at = holding.next_try(held, ["score"])
            if at is None:
                break
            now = at
        locks += one is LOCKED
        tries += one is not LOCKED
        match one:
            case "otherwise":
                held = holding.otherwise(held, {"score": 5}, now)
            case "reversed":
                held = holding.reversed_(held, "score", 5, now)
            case _:
                held = refuse(held, one, now)
    assert tries <= 5
    assert locks <= 6 + 5 + (now - NOON) / timedelta(minutes=1)


@pytest.mark.parametrize("why", list(Why))
def test_waits_never_shrink(why: Why) -> None:
    found = [holding.wait(why, tries) for tries in range(1, 12)]
    known = [one for one in found if one is not None]

    assert sorted(known) == known
    assert (None in found) is (why is not Why.BUSY)
