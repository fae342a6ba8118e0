from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.engine.identity import Ref
from app.engine.ingest import NewEvent
from app.errors import Conflict
from app.store.db import Database
from tests.engine import reference
from tests.engine.worlds import NOON, POLICY, World, event, per_event, profile

ADA = Ref(email="ada@example.com", user_id="ada")
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
async def world(database: Database) -> World:
    """One in which Ada is known."""
    world = World(database)
    await world.send(event("a", ADA))
    return world


async def ada(world: World) -> dict[str, Any]:  # Any: of the columns
    rows = await world.rows("SELECT c.* FROM contact c JOIN identity i ON i.contact_id = c.id WHERE i.value = 'ada'")
    return rows[0]


async def flags(world: World) -> tuple[bool, bool, str]:
    row = await ada(world)
    return row["opted_out"], row["bounced"], row["bounce_status"]


async def says(world: World, **said: Any) -> None:
    """A person says this of Ada now."""
    await world.change((await ada(world))["id"], **said)


def bounced(bounce: str, hours_ago: float = 0, ref: Ref = ADA, **said: Any) -> NewEvent:
    return event("email.bounced", ref, NOON - hours_ago * HOUR, bounce=bounce, **said)


def delivered(hours_ago: float = 0) -> NewEvent:
    return event("email.delivered", ADA, NOON - hours_ago * HOUR)


def consent(type_: str, hours_ago: float = 0, ref: Ref = ADA) -> NewEvent:
    return event(f"email.{type_}", ref, NOON - hours_ago * HOUR)


# --- bounces ----------------------------------------------------------------------------------------------------------


async def test_a_hard_bounce_sets_bounced_and_nothing_else(world: World) -> None:
    before = await ada(world)

    await world.send(bounced("hard", 1))

    after = await ada(world)
    changed = {name for name in before if before[name] != after[name]}
    assert {"bounced", "bounced_at", "bounced_reason", "bounced_by", "bounce_status"} == changed - {"updated_at"}
    assert (True, "hard", "hard_bounce", "test") == tuple(
        after[name] for name in ("bounced", "bounce_status", "bounced_reason", "bounced_by")
    )
    assert NOON - HOUR == after["bounced_at"]


async def test_a_new_address_clears_a_hard_bounce_and_the_score_recovers(world: World) -> None:
    await world.publish("m", per_event("a", 10), profile("contact.bounced", "=", True, -1000))
    await world.send(bounced("hard"))
    assert Decimal(-990) == await world.score()

    await says(world, email="ada@elsewhere.example")

    assert (False, False, "none") == await flags(world)
    assert Decimal(10) == await world.score("ada@elsewhere.example")


async def test_a_bounce_about_an_old_address_has_no_effect(world: World) -> None:
    world.go_to(NOON + HOUR)
    await says(world, email="ada@elsewhere.example")

    await world.send(bounced("hard", ref=Ref(email="ada@example.com")))
    await world.send(bounced("hard", ref=Ref(user_id="ada")))

    assert (False, False, "none") == await flags(world)


async def test_an_address_that_bounced_has_bounced_when_it_comes_back(world: World) -> None:
    await world.send(bounced("hard"))
    await says(world, email="ada@elsewhere.example")

    await says(world, email="ada@example.com")

    assert (False, True, "hard") == await flags(world)


async def test_a_bounce_of_an_address_is_known_before_the_contact_takes_it(world: World) -> None:
    await world.send(bounced("hard", ref=Ref(email="ada@elsewhere.example", user_id="ada")))
    assert (False, False, "none") == await flags(world)

    await says(world, email="ada@elsewhere.example")

    assert (False, True, "hard") == await flags(world)


async def test_a_hard_bounce_stays_though_something_is_delivered_later(world: World) -> None:
    await world.send(bounced("hard", 2), delivered(1))

    assert (False, True, "hard") == await flags(world)


async def test_soft_bounces_mean_nothing_until_there_are_enough(world: World) -> None:
    await world.send(bounced("soft", 3), bounced("soft", 2))
    assert (False, False, "soft") == await flags(world)
    assert 2 == (await ada(world))["soft_bounces"]

    await world.send(bounced("soft", 1))

    assert (False, True, "soft") == await flags(world)
    row = await ada(world)
    assert ("soft_bounces", NOON - HOUR) == (row["bounced_reason"], row["bounced_at"])


async def test_soft_bounces_too_far_apart_do_not_add_up(world: World) -> None:
    await world.send(bounced("soft", 24 * POLICY.days), bounced("soft", 1), bounced("soft"))
    assert (False, False, "soft") == await flags(world)

    await world.send(bounced("soft", 24 * POLICY.days - 0.01))

    assert (False, True, "soft") == await flags(world)


@pytest.mark.parametrize("proof", ["delivered", "opened", "clicked"])
async def test_a_delivery_forgives_the_soft_bounces_before_it(world: World, proof: str) -> None:
    await world.send(*(bounced("soft", hours) for hours in (4, 3, 2)))
    assert (False, True, "soft") == await flags(world)

    await world.send(consent(proof, 1))

    assert (False, False, "none") == await flags(world)


async def test_several_soft_bounces_of_one_message_are_one(world: World) -> None:
    await world.send(*(bounced("soft", hours, message_id="m1") for hours in (9, 8, 7, 6)))
    await world.send(bounced("soft", 5, message_id="m2"), bounced("soft", 4, message_id=""))
    assert (False, True, "soft") == await flags(world)

    await world.clear()
    await world.send(event("a", ADA), *(bounced("soft", hours, message_id="m1") for hours in (9, 8, 7, 6)))
    await world.send(bounced("soft", 5, message_id="m2"))
    assert (False, False, "soft") == await flags(world)
    assert 2 == (await ada(world))["soft_bounces"]


async def test_a_message_that_goes_on_bouncing_counts_at_its_latest(world: World) -> None:
    day = 24 * POLICY.days
    await world.send(bounced("soft", day, message_id="m1"), bounced("soft", 2, message_id="m1"))

    await world.send(bounced("soft", 1, message_id="m2"), bounced("soft", 0, message_id="m3"))

    assert (False, True, "soft") == await flags(world)


@pytest.mark.parametrize("bounce", ["hard", "soft"])
async def test_what_a_provider_did_not_even_try_is_no_bounce(world: World, bounce: str) -> None:
    await world.send(*(bounced(bounce, hours, suppressed=True) for hours in range(5)))

    assert (False, False, "none") == await flags(world)


@pytest.mark.parametrize("said", [False, None, "true", 1, {"a": True}])
async def test_only_true_says_that_a_provider_did_not_try(world: World, said: Any) -> None:
    await world.send(bounced("hard", suppressed=said, message_id={"odd": [1]}))

    assert (False, True, "hard") == await flags(world)


@pytest.mark.parametrize("type_", ["email.blocked", "email.auto_replied", "email.deferred", "email.failed"])
async def test_what_is_no_bounce_counts_for_nothing(world: World, type_: str) -> None:
    await world.send(*(event(type_, ADA, NOON - hours * HOUR, bounce="hard") for hours in range(5)))

    assert (False, False, "none") == await flags(world)


async def test_of_a_bounce_and_a_delivery_at_one_instant_the_bounce_counts(world: World) -> None:
    await world.send(*(bounced("soft") for _ in range(3)), *(delivered() for _ in range(6)))

    assert (False, True, "soft") == await flags(world)


async def test_a_delivery_between_that_is_told_late_forgives_just_the_bounces_before_it(world: World) -> None:
    await world.send(*(bounced("soft", hours) for hours in (4, 3, 1)))

    await world.send(delivered(2))

    assert (False, False, "soft") == await flags(world)
    assert 1 == (await ada(world))["soft_bounces"]


# --- consent ----------------------------------------------------------------------------------------------------------


async def test_an_opt_out_sets_opted_out_and_nothing_else(world: World) -> None:
    await world.send(consent("unsubscribed"))

    row = await ada(world)
    assert (True, False, "none") == await flags(world)
    assert ("unsubscribed", "test", NOON) == (row["opted_out_reason"], row["opted_out_by"], row["opted_out_at"])


async def test_a_complaint_opts_out(world: World) -> None:
    await world.send(consent("complained"))

    assert (True, False, "none") == await flags(world)
    assert "complained" == (await ada(world))["opted_out_reason"]


async def test_an_opt_out_survives_a_new_address(world: World) -> None:
    await world.send(consent("unsubscribed"))

    await says(world, email="ada@elsewhere.example")

    assert (True, False, "none") == await flags(world)


async def test_an_opt_out_about_an_old_address_is_the_persons(world: World) -> None:
    await says(world, email="ada@elsewhere.example")

    await world.send(consent("unsubscribed", ref=Ref(email="ada@example.com")))

    assert (True, False, "none") == await flags(world)


@pytest.mark.parametrize("first", ["unsubscribed", "resubscribed"])
@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize(("later", "is_out"), [("unsubscribed", True), ("resubscribed", False)])
async def test_the_later_of_two_facts_wins_whichever_comes_first(
    world: World, first: str, later: str, is_out: bool, together: bool
) -> None:
    other = {"unsubscribed": "resubscribed", "resubscribed": "unsubscribed"}[later]
    told = sorted([consent(later, 1), consent(other, 2)], key=lambda one: not one.type.endswith(first))

    for part in [told] if together else [[one] for one in told]:
        await world.send(*part)

    assert (is_out, False, "none") == await flags(world)


@pytest.mark.parametrize("first", ["unsubscribed", "resubscribed"])
async def test_of_two_facts_at_one_instant_the_opt_out_wins(world: World, first: str) -> None:
    for one in sorted([consent("unsubscribed"), consent("resubscribed")], key=lambda one: not one.type.endswith(first)):
        await world.send(one)

    assert (True, False, "none") == await flags(world)


# --- by hand ----------------------------------------------------------------------------------------------------------


async def test_a_person_may_set_and_clear_each_flag_without_touching_the_other(world: World) -> None:
    await says(world, bounced=True)
    assert (False, True, "hard") == await flags(world)
    await says(world, opted_out=True)
    assert (True, True, "hard") == await flags(world)
    world.go_to(NOON + HOUR)
    await says(world, bounced=False)
    assert (True, False, "none") == await flags(world)
    await says(world, opted_out=False)
    assert (False, False, "none") == await flags(world)
    assert ("manual", "test") == ((await ada(world))["opted_out_reason"], (await ada(world))["opted_out_by"])


async def test_a_bounce_set_by_hand_stands_though_mail_is_delivered(world: World) -> None:
    await says(world, bounced=True)

    await world.send(bounced("soft", 2), delivered(1), bounced("soft"))

    assert (False, True, "hard") == await flags(world)


async def test_clearing_a_bounce_forgives_every_bounce_up_to_then_even_one_that_is_told_later(world: World) -> None:
    await world.send(bounced("hard", 3))
    await says(world, bounced=False)

    await world.send(bounced("hard", 2), bounced("hard", 0))
    assert (False, False, "none") == await flags(world)
    await world.send(bounced("hard", -1))
    assert (False, True, "hard") == await flags(world)


async def test_an_opt_out_cleared_by_hand_returns_with_a_later_one_and_not_with_an_older_one(world: World) -> None:
    await world.send(consent("unsubscribed", 3))
    await says(world, opted_out=False)

    await world.send(consent("unsubscribed", 1))
    assert (False, False, "none") == await flags(world)
    world.go_to(NOON + 2 * HOUR)
    await world.send(consent("complained", -1))
    assert (True, False, "none") == await flags(world)


async def test_a_complaint_is_ended_by_the_persons_own_opt_in_alone(world: World) -> None:
    await world.send(consent("complained", 3))

    with pytest.raises(Conflict, match="own opt-in"):
        await says(world, opted_out=False, name="Ada")
    assert (True, None) == ((await flags(world))[0], (await ada(world))["name"])

    await world.send(consent("resubscribed", 2))
    assert (False, False, "none") == await flags(world)


async def test_a_complaint_that_is_told_late_undoes_what_was_decided_without_it(world: World) -> None:
    await says(world, opted_out=True)
    world.go_to(NOON + HOUR)
    await says(world, opted_out=False)

    await world.send(consent("complained", 5), consent("unsubscribed", 4))

    row = await ada(world)
    assert (True, "complained", NOON - 5 * HOUR) == (
        row["opted_out"],
        row["opted_out_reason"],
        row["opted_out_at"],
    )
    await world.send(consent("resubscribed", 4.5))
    row = await ada(world)
    assert ("manual", NOON + HOUR) == (row["opted_out_reason"], row["opted_out_at"])
    assert (False, False, "none") == await flags(world)


async def test_a_flag_that_was_kept_before_its_words_were_is_one_of_them(world: World) -> None:
    await world.send(consent("complained", 3))
    await world.execute("UPDATE contact SET consent = '{}'")

    await world.send(consent("unsubscribed", 1))

    assert "complained" == (await ada(world))["opted_out_reason"]


async def test_a_change_of_flags_is_scored_at_once(world: World) -> None:
    await world.publish("m", profile("contact.opted_out", "=", True, -1), profile("contact.bounced", "=", True, -10))

    await world.send(consent("unsubscribed"))
    assert Decimal(-1) == await world.score()
    await says(world, bounced=True)
    assert Decimal(-11) == await world.score()
    world.go_to(NOON + HOUR)
    await says(world, opted_out=False, bounced=False)
    assert Decimal(0) == await world.score()


# --- flags are a function of the facts --------------------------------------------------------------------------------

KINDS = [
    ("email.bounced", "soft"),
    ("email.bounced", "soft"),
    ("email.bounced", "soft"),
    ("email.bounced", "hard"),
    ("email.bounced", None),
    ("email.delivered", None),
    ("email.opened", None),
    ("email.clicked", None),
    ("email.unsubscribed", None),
    ("email.resubscribed", None),
    ("email.complained", None),
]
# Which address each mail is about: the contact's at first, another of theirs, or one that nobody named.
PLACES = ["first", "first", "first", "second", None]

# Half days within the soft bounces' window and a little more, so that two may fall on one instant.
half_days = st.integers(0, 2 * (POLICY.days + 2)).map(lambda n: 12 * n)
# What of a message, where two may be about the same, and whether the provider did not even try.
messages = st.sampled_from([None, None, None, "m1", "m1", "m2", "suppressed"])
one_mail = st.tuples(st.sampled_from(KINDS), st.sampled_from(PLACES), half_days, messages)
mails = st.lists(one_mail, min_size=1, max_size=9)


class Person:
    """Somebody with two addresses, known by both from the start, and what the judge knows of them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.history = reference.History(self.address("first"), POLICY.limit, POLICY.days)

    def address(self, place: str | None) -> str | None:
        return None if place is None else f"{self.name}@{place}.example"

    def greetings(self) -> list[NewEvent]:
        when = NOON - 90 * DAY
        return [event("a", Ref(email=self.address(place), user_id=self.name), when) for place in ("first", "second")]

    def mail(
        self, kind: tuple[str, str | None], place: str | None, hours_ago: int, message: str | None
    ) -> tuple[NewEvent, reference.Mail]:
        (type_, bounce), when, address = kind, NOON - hours_ago * HOUR, self.address(place)
        is_suppressed = message == "suppressed" and type_ == "email.bounced"
        said: dict[str, Any] = {"bounce": bounce, "message_id": message, "suppressed": is_suppressed}
        ref = Ref(email=address, user_id=self.name)
        return (
            event(type_, ref, when, **{name: value for name, value in said.items() if value is not None}),
            reference.Mail(type_, when, address, bounce, message, is_suppressed),
        )


async def stored_flags(world: World) -> dict[str, reference.Flags]:
    rows = await world.rows(
        """
        SELECT i.value, c.opted_out, c.bounced, c.bounce_status
        FROM contact c JOIN identity i ON i.contact_id = c.id AND i.kind = 'user_id'
        """
    )
    return {row["value"]: reference.Flags(row["opted_out"], row["bounced"], row["bounce_status"]) for row in rows}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mails, st.integers(0, 2**32))
async def test_any_order_of_arrival_gives_the_flags_that_the_judge_gives(
    world: World, facts: list[tuple[tuple[str, str | None], str | None, int, str | None]], seed: int
) -> None:
    await world.clear()
    random = Random(seed)
    people = [Person(f"p{n}") for n in range(5)]
    await world.send(*(greeting for person in people for greeting in person.greetings()))
    # The same facts for everybody, in an order and in batches of their own.
    queues = []
    for person in people:
        told = [person.mail(*fact) for fact in facts]
        for _, mail in sorted(told, key=lambda pair: pair[1].at):
            person.history.tell(mail)
        random.shuffle(told)
        queues.append([one for one, _ in told])
    while any(queues):
        batch = []
        for queue in queues:
            batch += [queue.pop() for _ in range(min(random.randint(0, 3), len(queue)))]
        random.shuffle(batch)
        await world.send(*batch)

    assert {person.name: person.history.flags() for person in people} == await stored_flags(world)


acts = st.one_of(
    st.tuples(st.just("email"), st.sampled_from(["first", "second", None])),
    st.tuples(st.just("bounced"), st.booleans()),
    st.tuples(st.just("opted_out"), st.booleans()),
)
steps = st.lists(one_mail | acts, min_size=2, max_size=14)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(steps, min_size=3, max_size=3))
async def test_what_people_say_and_what_mail_tells_late_end_in_the_flags_that_the_judge_gives(
    world: World, lives: list[list[Any]]
) -> None:
    await world.clear()
    people = [Person(f"p{n}") for n in range(len(lives))]
    await world.send(*(greeting for person in people for greeting in person.greetings()))
    ids = {row["value"]: row["contact_id"] for row in await world.rows("SELECT * FROM identity")}

    for person, life in zip(people, lives, strict=True):
        now = NOON - 13 * DAY
        for step in life:
            now += timedelta(hours=20, minutes=1)
            if len(step) == 2:
                what, to = step
                to = person.address(to) if what == "email" else to
                with suppress(Conflict):  # somebody complained
                    await world.change(ids[person.name], now, **{what: to})
                person.history.tell(reference.Act(what, to, now))
            elif NOON - step[2] * HOUR < now:  # nothing is told before it happens
                new, mail = person.mail(*step)
                await world.send(new)
                person.history.tell(mail)

    assert {person.name: person.history.flags() for person in people} == await stored_flags(world)
