import itertools
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.engine import profiles
from app.engine.fields import Scope, Vocabulary
from app.engine.identity import Ref
from app.store.db import Database
from app.store.tables import Contact
from tests.engine.worlds import NOON, World, event, per_event, profile

A, B = "ada@example.com", "ada@example.org"
ADA = Ref(A, "u1")
HOUR = timedelta(hours=1)
CONTACTS = Vocabulary(Scope.CONTACT)


@pytest.fixture
async def world(database: Database) -> World:
    """One in which Ada is known."""
    world = World(database)
    await world.send(event("a", ADA))
    return world


async def ada(world: World) -> dict[str, Any]:  # Any: of the columns
    [row] = await world.rows("SELECT c.* FROM contact c JOIN identity i ON i.contact_id = c.id WHERE i.value = 'u1'")
    return row


async def says(world: World, type_: str, hours_ago: float = 0, ref: Ref = ADA, **properties: Any) -> None:
    await world.send(event(f"contact.{type_}", ref, NOON - hours_ago * HOUR, **properties))


async def traits(world: World, hours_ago: float = 0, ref: Ref = ADA, **traits: Any) -> None:
    await says(world, "updated", hours_ago, ref, traits=traits)


# --- the later word wins ----------------------------------------------------------------------------------------------

texts = st.sampled_from(["x", "y", None])
words = st.one_of(
    st.builds(lambda name: ("contact.updated", {"traits": {"name": name}}), st.sampled_from(["Ada", "Bob"])),
    st.builds(lambda one, two: ("contact.updated", {"traits": {"p": one, "q": two}}), texts, texts),
    st.builds(lambda email: ("contact.updated", {"traits": {"email": email}}), st.sampled_from([A, B])),
    st.builds(lambda email: ("contact.email_changed", {"new_email": email}), st.sampled_from([A, B])),
    st.builds(lambda way, tag: (f"contact.tag_{way}", {"tag": tag}), st.sampled_from(["added", "removed"]), texts),
)


def somebody(**fields: Any) -> Contact:  # Any: of the columns
    return Contact(**{"id": uuid4(), "tags": [], "properties": {}, "soft_bounces": 0, **fields})


def heard(facts: list[tuple[tuple[str, dict[str, Any]], int]]) -> dict[str, Any]:
    contact = somebody(tags=["x"], properties={"p": "old"}, email=A)
    for (type_, properties), hour in facts:
        profiles.apply(contact, type_, properties, NOON + hour * HOUR, CONTACTS, {A, B})
    return {
        **{name: getattr(contact, name) for name in ("name", "properties", "said_at")},
        "email": contact.email if "email" in contact.said_at else None,
        "tags": {tag.lower() for tag in contact.tags},
    }


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(words, st.integers(0, 3)), max_size=6), st.randoms(use_true_random=False))
def test_what_is_heard_in_any_order_and_twice_is_the_same(facts: list[Any], random: Random) -> None:
    shuffled = facts + facts[:2]
    random.shuffle(shuffled)

    assert heard(facts) == heard(shuffled)


@settings(max_examples=100, deadline=None)
@given(*[st.lists(st.tuples(words, st.integers(0, 9)), max_size=5) for _ in range(2)])
def test_two_contacts_joined_are_what_one_would_be_that_had_heard_all(one: list[Any], other: list[Any]) -> None:
    """But for words of one instant, where nobody knows which was the later; and the address, which stays."""
    mine = [(word, 2 * hour) for word, hour in one]
    others = [(word, 2 * hour + 1) for word, hour in other]

    def person(facts: list[Any]) -> Contact:
        contact = somebody()
        for (type_, properties), hour in facts:
            profiles.apply(contact, type_, properties, NOON + hour * HOUR, CONTACTS, ())
        return contact

    kept = person(mine)
    profiles.join(kept, person(others))
    whole = person(mine + others)

    for name in ("name", "properties", "said_at"):
        assert getattr(whole, name) == getattr(kept, name)
    assert set(whole.tags) == set(kept.tags)


async def test_a_contact_is_what_the_latest_event_said_and_scored_by_it(world: World) -> None:
    await world.publish("m", profile("contact.properties.plan", "=", "pro", 10), per_event("contact.updated", 1))

    await traits(world, 1, plan="pro", name="Ada")
    await traits(world, 5, plan="free", name="Late", city="Rome")

    row = await ada(world)
    assert ("Ada", {"plan": "pro", "city": "Rome"}) == (row["name"], row["properties"])
    assert Decimal(12) == await world.score()


async def test_a_change_by_hand_is_said_now_and_later_events_go_over_it(world: World) -> None:
    contact = (await ada(world))["id"]
    await world.change(contact, name="By hand", properties={"plan": "pro"}, tags=("vip",))

    await traits(world, 1, plan="free", name="Late")
    await says(world, "tag_removed", 1, tag="vip")
    row = await ada(world)
    assert ("By hand", {"plan": "pro"}, ["vip"]) == (row["name"], row["properties"], row["tags"])

    world.go_to(NOON + HOUR)
    await traits(world, -1, plan=None, name="Later")
    row = await ada(world)
    assert ("Later", {}) == (row["name"], row["properties"])


async def test_an_event_of_the_future_is_said_when_it_came(world: World) -> None:
    await traits(world, -9, name="Future")
    world.go_to(NOON + HOUR)

    await world.change((await ada(world))["id"], name="By hand")
    await traits(world, -9, name="Future", ref=Ref(user_id="u2"))

    assert "By hand" == (await ada(world))["name"]


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ({"firstName": "Ada", "lastName": "Lovelace"}, "Ada Lovelace"),
        ({"first_name": "Ada"}, "Ada"),
        ({"LASTNAME": " Lovelace "}, "Lovelace"),
        ({"name": "Countess", "firstName": "Ada"}, "Countess"),
        ({"Name": ""}, None),
        ({"name": ["Ada"]}, None),
        ({"name": "x" * 201}, None),
    ],
)
async def test_a_name_is_read_from_the_traits_that_are_usual(
    world: World, said: dict[str, Any], name: str | None
) -> None:
    await traits(world, **said)

    row = await ada(world)
    assert (name, {}) == (row["name"], row["properties"])


async def test_properties_are_read_as_their_declared_types_and_what_cannot_be_is_left_out_alone(world: World) -> None:
    await world.declare("seats", "number")
    await world.declare("trial", "boolean")

    await traits(world, seats="12", trial="perhaps", plan="pro")

    assert {"seats": 12, "plan": "pro"} == (await ada(world))["properties"]


@pytest.mark.parametrize(
    ("type_", "properties"),
    [
        ("updated", {}),
        ("updated", {"traits": ["a"]}),
        ("updated", {"traits": {"email": 7}}),
        ("updated", {"traits": {"email": "nobody"}}),
        ("email_changed", {"new_email": None}),
        ("email_changed", {"old_email": {}, "new_email": "nobody"}),
        ("tag_added", {"tag": " "}),
        ("tag_added", {"tag": "x" * 201}),
        ("tag_removed", {}),
    ],
)
async def test_what_an_event_says_wrongly_changes_nothing(world: World, type_: str, properties: dict[str, Any]) -> None:
    before = await ada(world)

    await says(world, type_, **properties)

    assert before == await ada(world)


async def test_what_is_said_again_leaves_no_trace_in_the_past_of_the_contact(world: World) -> None:
    await traits(world, 3, plan="pro")
    kept = await world.value("SELECT count(*) FROM contact_past")

    await traits(world, 2, plan="pro")

    assert kept == await world.value("SELECT count(*) FROM contact_past")
    await traits(world, 2.5, plan="free")
    assert {"plan": "pro"} == (await ada(world))["properties"]


async def test_traits_beyond_what_a_contact_may_have_are_left_out_and_what_was_removed_is_forgotten_in_time(
    world: World,
) -> None:
    await traits(world, 3, big="x" * 40_000)
    await traits(world, 2, bigger="x" * 40_000)
    assert ["big"] == list((await ada(world))["properties"])

    await says(world, "updated", 1, traits={f"p{n}": None for n in range(1_000)})
    await world.send(*(event("contact.tag_added", ADA, tag=f"t{n}") for n in range(250)))

    row = await ada(world)
    assert 200 + 1 == len(row["said_at"]["properties"])
    assert 200 == len(row["tags"]) == len(row["said_at"]["tags"])


async def test_tags_come_and_go_whatever_their_case(world: World) -> None:
    await says(world, "tag_added", 3, tag="VIP")
    await says(world, "tag_added", 3, tag="web")
    await says(world, "tag_removed", 2, tag="vip")
    await says(world, "tag_added", 2.5, tag="Vip")

    assert ["web"] == (await ada(world))["tags"]


# --- the address ------------------------------------------------------------------------------------------------------


async def test_an_address_in_the_traits_ties_a_visitor_to_the_person_who_has_it(world: World) -> None:
    await world.publish("m", per_event("a", 1))
    visit = Ref(anonymous_id="c1")
    await world.send(event("a", visit))

    await traits(world, ref=visit, email=A.upper(), plan="pro")

    assert {(await ada(world))["id"]: Decimal(2)} == await world.scores()
    assert {"plan": "pro"} == (await ada(world))["properties"]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_the_address_is_that_of_the_latest_change_in_whatever_order_they_arrive(
    world: World, order: tuple[int, ...]
) -> None:
    changes = [
        event("contact.email_changed", Ref(A), NOON - 3 * HOUR, old_email=A, new_email=B),
        event("contact.email_changed", Ref(user_id="u1"), NOON - 2 * HOUR, new_email="ada@example.net"),
        event("contact.updated", Ref(user_id="u1"), NOON - 4 * HOUR, traits={"email": "old@example.net"}),
    ]
    for place in order:
        await world.send(changes[place])

    assert "ada@example.net" == (await ada(world))["email"]
    everything = {row["value"] for row in await world.rows("SELECT value FROM identity WHERE kind = 'email'")}
    assert {A, B, "ada@example.net", "old@example.net"} == everything
    assert 1 == await world.value("SELECT count(*) FROM contact")


async def test_a_new_address_starts_clean_and_an_opt_out_stays(world: World) -> None:
    await world.send(event("email.bounced", ADA, NOON - 5 * HOUR, bounce="hard"), event("email.unsubscribed", ADA))

    await says(world, "email_changed", 1, Ref(A), old_email=A, new_email=B)
    await world.send(event("email.bounced", Ref(A), NOON, bounce="hard"))

    row = await ada(world)
    assert (B, False, True) == (row["email"], row["bounced"], row["opted_out"])


@pytest.mark.parametrize("ref", [Ref(A), Ref(B), Ref(user_id="u1")])
async def test_a_change_of_address_finds_the_person_by_either(world: World, ref: Ref) -> None:
    await says(world, "email_changed", 0, ref, old_email=A, new_email=B)

    assert B == (await ada(world))["email"]
    assert 1 == await world.value("SELECT count(*) FROM contact")


async def test_an_address_of_somebody_else_is_not_taken(world: World) -> None:
    await world.send(event("a", B))

    await says(world, "email_changed", 0, Ref(A), old_email=A, new_email=B)
    await traits(world, email=B)

    assert A == (await ada(world))["email"]
    assert [A, B] == [row["email"] for row in await world.rows("SELECT email FROM contact ORDER BY email")]


def at_instants() -> list[datetime]:
    return [NOON, NOON.replace(year=1900), NOON.replace(year=2999, microsecond=999_999)]


@pytest.mark.parametrize("moment", at_instants())
def test_an_instant_is_kept_to_the_microsecond(moment: datetime) -> None:
    assert moment == profiles.instant(profiles.micros(moment))


async def test_each_of_many_words_said_by_hand_stands_against_older_events(world: World) -> None:
    many = {f"p{n}": "by hand" for n in range(500)}
    await world.change((await ada(world))["id"], properties=many)

    await says(world, "updated", 1, traits=dict.fromkeys(many, "late"))

    assert many == (await ada(world))["properties"]
