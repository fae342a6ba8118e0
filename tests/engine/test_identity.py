import asyncio
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.engine import identity
from app.engine.identity import ContactGone, Ref, normal_email
from app.engine.ingest import event_id
from app.errors import Conflict, NotFound
from app.store.db import Database
from tests.engine.worlds import NOON, World, at, event, per_event

A, B = "a@example.com", "b@example.com"


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


async def resolved(world: World, *refs: Ref) -> list[UUID]:
    async with world.database.batch() as db:
        found = await identity.resolve(db, dict.fromkeys(refs), world.now)
    return [found.contacts[ref] for ref in refs]


async def holders(world: World) -> dict[str, UUID]:
    return {row["value"]: row["contact_id"] for row in await world.rows("SELECT value, contact_id FROM identity")}


async def addresses(world: World) -> list[str | None]:
    return [row["email"] for row in await world.rows("SELECT email FROM contact ORDER BY email")]


# --- who it is --------------------------------------------------------------------------------------------------------


async def test_somebody_new_becomes_a_contact_that_all_their_identities_point_at(world: World) -> None:
    [contact] = await resolved(world, Ref(A, "u1", "c1"))

    assert {A: contact, "u1": contact, "c1": contact} == await holders(world)
    assert [A] == await addresses(world)


async def test_any_identity_finds_the_contact_again(world: World) -> None:
    [contact] = await resolved(world, Ref(A, "u1", "c1"))

    for ref in (Ref(email=A), Ref(user_id="u1"), Ref(anonymous_id="c1")):
        assert [contact] == await resolved(world, ref)


async def test_a_user_id_decides_over_an_address_and_an_address_over_a_cookie(world: World) -> None:
    [by_user] = await resolved(world, Ref(user_id="u1"))
    [by_email] = await resolved(world, Ref(email=A))
    [by_cookie] = await resolved(world, Ref(anonymous_id="c1"))

    assert [by_user] == await resolved(world, Ref(A, "u1", "c1"))
    assert [by_email] == await resolved(world, Ref(A, None, "c1"))
    assert {"u1": by_user, A: by_email, "c1": by_cookie} == await holders(world)


async def test_weaker_identities_that_nobody_holds_are_attached_to_the_contact_found(world: World) -> None:
    [contact] = await resolved(world, Ref(user_id="u1"))

    assert [contact] == await resolved(world, Ref(A, "u1", "c1"))
    assert {"u1": contact, A: contact, "c1": contact} == await holders(world)
    assert [A] == await addresses(world)


async def test_a_second_address_points_at_the_contact_and_leaves_its_address_alone(world: World) -> None:
    [contact] = await resolved(world, Ref(A, "u1"))

    assert [contact] == await resolved(world, Ref(B, "u1"))
    assert [contact] == await resolved(world, Ref(B))
    assert [A] == await addresses(world)


async def test_a_visitor_who_says_who_they_are_keeps_their_past(world: World) -> None:
    await world.publish("m", per_event("a", 1))
    await world.send(event("a", Ref(anonymous_id="c1")))

    await world.send(event("a", Ref(email=A, anonymous_id="c1")))

    assert Decimal(2) == await world.score(A)


async def test_a_shared_cookie_never_pulls_a_second_person_in(world: World) -> None:
    [first] = await resolved(world, Ref(A, None, "kiosk"))

    [second] = await resolved(world, Ref(B, None, "kiosk"))
    [third] = await resolved(world, Ref(None, "u3", "kiosk"))

    assert 3 == len({first, second, third})
    assert {A: first, B: second, "u3": third, "kiosk": first} == await holders(world)


async def test_a_shared_cookie_never_pulls_a_second_person_in_within_one_batch(world: World) -> None:
    [first, second, alone] = await resolved(
        world, Ref(A, None, "kiosk"), Ref(B, None, "kiosk"), Ref(None, None, "kiosk")
    )

    assert first != second
    assert first == alone
    assert [A, B] == await addresses(world)


async def test_of_two_new_addresses_in_one_batch_the_first_is_the_contacts(world: World) -> None:
    [one, two] = await resolved(world, Ref(B, "u1"), Ref(A, "u1"))

    assert one == two
    assert [B] == await addresses(world)


async def test_who_comes_back_after_being_erased_is_somebody_new(world: World) -> None:
    [before] = await resolved(world, Ref(A, "u1"))
    await world.erase(before)

    [after] = await resolved(world, Ref(A))

    assert before != after
    assert {A: after} == await holders(world)
    with pytest.raises(NotFound):
        await world.erase(before)


async def test_a_lock_on_somebody_who_was_erased_is_refused(world: World) -> None:
    [contact] = await resolved(world, Ref(A))
    await world.erase(contact)

    with pytest.raises(ContactGone):
        async with world.database.batch() as db:
            await identity.lock(db, [contact])


async def test_an_address_of_somebody_else_cannot_be_taken(world: World) -> None:
    await resolved(world, Ref(A))
    [other] = await resolved(world, Ref(B))

    with pytest.raises(Conflict) as refused:
        await world.change(other, email=A)

    assert "/email" == refused.value.pointer
    assert [A, B] == await addresses(world)


async def test_the_first_sight_of_somebody_by_many_at_once_makes_one_contact(world: World) -> None:
    await world.publish("m", per_event("a", 1))
    refs = [Ref(A), Ref(A, "u1"), Ref(None, "u1", "c1"), Ref(A, "u1", "c1")]

    await asyncio.gather(*(world.send(event("a", refs[n % 2])) for n in range(8)))
    await asyncio.gather(*(world.send(event("a", refs[n % 4])) for n in range(8)))

    assert 1 == await world.value("SELECT count(*) FROM contact")
    assert [A, "c1", "u1"] == sorted(await holders(world))
    assert Decimal(16) == await world.score(A)


async def test_many_strangers_met_at_once_in_any_order_are_made_once_each(world: World) -> None:
    people = [Ref(f"{n}@example.com", f"u{n}") for n in range(500)]

    orders = [people, people[::-1], people[250:] + people[:250], people[::2] + people[1::2]] * 2
    found = await asyncio.gather(*(resolved(world, *order) for order in orders))

    by_ref = [dict(zip(order, contacts, strict=True)) for order, contacts in zip(orders, found, strict=True)]
    assert all(by_ref[0] == other for other in by_ref)
    assert 500 == await world.value("SELECT count(*) FROM contact")


# --- which event it is ------------------------------------------------------------------------------------------------


async def test_an_id_counts_once_for_its_source_whomever_it_is_about(world: World) -> None:
    await world.publish("m", per_event("a", 1))

    await world.send(event("a", A, id="1"), event("a", B, id="2"))
    assert set() == await world.send(event("a", B, id="1"), event("b", A, NOON - timedelta(days=1), id="2"))
    assert 1 == len(await world.send(event("a", A, id="1", source="other")))

    assert (Decimal(2), Decimal(1)) == (await world.score(A), await world.score(B))


def test_without_an_id_an_event_is_known_by_its_content() -> None:
    ref, when = Ref(email=A), at("2026-05-01 12:00:00")
    first = event_id("web", None, when, ref, "page.viewed", {"url": "/", "n": 1})

    assert first == event_id("web", None, when, ref, "page.viewed", {"n": 1, "url": "/"})
    others = [
        event_id("app", None, when, ref, "page.viewed", {"url": "/", "n": 1}),
        event_id("web", None, when + timedelta(microseconds=1), ref, "page.viewed", {"url": "/", "n": 1}),
        event_id("web", None, when, Ref(user_id=A), "page.viewed", {"url": "/", "n": 1}),
        event_id("web", None, when, ref, "page.left", {"url": "/", "n": 1}),
        event_id("web", None, when, ref, "page.viewed", {"url": "/", "n": 2}),
    ]
    assert 6 == len({first, *others})


def test_without_an_id_and_a_time_every_event_is_a_new_one() -> None:
    assert event_id("web", None, None, Ref(A), "a", {}) != event_id("web", None, None, Ref(A), "a", {})


def test_with_an_id_nothing_else_matters_but_the_source() -> None:
    first = event_id("web", "1", NOON, Ref(A), "a", {})

    assert first == event_id("web", "1", None, Ref(B), "b", {"n": 1})
    assert first != event_id("app", "1", NOON, Ref(A), "a", {})


# --- which address it is ----------------------------------------------------------------------------------------------

_part = st.text("abzABZ09", min_size=1, max_size=6) | st.text("aZ0-_+'éÉ!. \u212a", max_size=6)
_label = st.text("abzAZ09", min_size=1, max_size=6) | st.text("aZ0-_éß", max_size=6) | st.sampled_from(["xn--p1ai"])
_top = st.sampled_from(
    [
        "com",
        "Example",
        "test",
        "arpa",
        "in-addr.arpa",
        "local",
        "LOCALHOST",
        "onion",
        "invalid",
        "c",
        "c1",
        "1",
        "рф",
        "",
    ]
)
plausible = st.builds(
    lambda local, labels, top, space: f"{space}{'.'.join(local)}@{'.'.join([*labels, top])}{space}",
    st.lists(_part, min_size=1, max_size=3),
    st.lists(_label, max_size=3),
    _top,
    st.sampled_from(["", "", "", " ", "\t"]),
)


@settings(max_examples=200, deadline=None)
@given(plausible | st.emails() | st.text("a@.-", max_size=8))
@example("a@b.arpa")
@example("a@b.invalid")
@example("a@b.local")
@example("a@b.localhost")
@example("a@b.onion")
@example("a@b.test")
@example(f"a@{'b' * 63}.com")
@example(f"{'a' * 65}@b.com")
@example(f"a@{'b.' * 28}com")
@example('"a b"@b.com')
@example("Ada <ada@b.com>")
def test_an_address_is_what_the_library_makes_of_it_in_lower_case(address: str) -> None:
    try:
        valid = validate_email(address.strip(), check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        with pytest.raises(ValueError, match=r"\w"):
            normal_email(address)
    else:
        assert valid.normalized.lower() == normal_email(address)
