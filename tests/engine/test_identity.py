import asyncio
from datetime import timedelta
from decimal import Decimal
from functools import partial
from random import Random
from typing import Any
from uuid import UUID

import orjson
import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.engine import identity, ingest
from app.engine.contacts import Change, upsert
from app.engine.identity import ContactGone, Ref, normal_email
from app.engine.ingest import NewEvent, event_id
from app.engine.transactions import committed
from app.errors import Conflict, NotFound
from app.store.db import Database
from tests.engine.worlds import NOON, POLICY, World, at, event, per_event

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


# --- visits that join a person ----------------------------------------------------------------------------------------

VISIT, OTHER_VISIT = Ref(anonymous_id="c1"), Ref(anonymous_id="c2")
USER = Ref(user_id="u1")


async def merges(world: World) -> list[tuple[str, str]]:
    rows = await world.rows("SELECT kind, by FROM merge WHERE undone_at IS NULL ORDER BY id")
    return [(row["kind"], row["by"]) for row in rows]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("at_once", [True, False])
async def test_visits_join_the_person_whatever_the_order_in_which_things_arrive(
    world: World, seed: int, at_once: bool
) -> None:
    await world.publish("m", per_event("a", 1), per_event("b", 10))
    happened = [
        event("a", VISIT),
        event("a", VISIT),
        event("a", OTHER_VISIT),
        event("a", USER),
        event("b", Ref(A, "u1", "c1")),
        event("b", Ref(user_id="u1", anonymous_id="c2")),
        event("a", Ref(A, "u1")),
    ]
    Random(seed).shuffle(happened)

    for batch in [happened] if at_once else [[one] for one in happened]:
        await world.send(*batch)

    contact = await world.contact(A)
    assert {contact: Decimal(25)} == await world.scores()
    assert {A: contact, "u1": contact, "c1": contact, "c2": contact} == await holders(world)
    assert (0, []) == ((report := await world.verified()).count, report.differences)


async def test_a_visitor_who_joins_brings_what_is_known_of_them(world: World) -> None:
    await world.publish("m", per_event("a", 1))
    world.go_to(NOON - timedelta(days=2))
    await world.send(event("a", VISIT, world.now), event("contact.updated", VISIT, traits={"plan": "pro"}))
    world.go_to(NOON)
    await world.send(event("a", USER))

    await world.send(event("a", Ref(user_id="u1", anonymous_id="c1"), source="web"))
    await world.send(event("a", VISIT))

    [row] = await world.rows("SELECT * FROM contact")
    assert ({"plan": "pro"}, NOON - timedelta(days=2)) == (row["properties"], row["created_at"])
    assert [("automatic", "web")] == await merges(world)
    assert {row["id"]: Decimal(4)} == await world.scores()


async def test_a_visitor_taken_out_again_has_their_visits_and_is_never_joined_by_itself(world: World) -> None:
    await world.publish("m", per_event("a", 1))
    await world.send(event("a", VISIT), event("a", USER))
    visitor, user = await resolved(world, VISIT, USER)
    tie = Ref(user_id="u1", anonymous_id="c1")
    await world.send(event("a", tie), event("a", VISIT))
    assert {user: Decimal(4)} == await world.scores()

    await world.unmerge(user, visitor)
    await world.send(event("a", tie), event("a", VISIT))

    assert {user: Decimal(3), visitor: Decimal(3)} == await world.scores()
    assert {"u1": user, "c1": visitor} == await holders(world)


async def test_an_identity_that_a_merged_visitor_comes_to_have_goes_along_when_they_are_taken_out(world: World) -> None:
    [visitor, user] = await resolved(world, VISIT, USER)
    await world.merge(user, visitor)
    await world.send(event("contact.aliased", VISIT, previous_id="c0"))

    await world.unmerge(user, visitor)

    assert {"u1": user, "c1": visitor, "c0": visitor} == await holders(world)


async def test_an_upsert_joins_visits_too(world: World) -> None:
    await world.publish("m", per_event("a", 1))
    await world.send(event("a", VISIT), event("a", USER))

    async with world.database.batch() as db:
        change = Change(frozenset({"name"}), name="Ada")
        await upsert(db, world.plans, [(Ref(None, "u1", "c1"), change)], "test", world.now, POLICY)

    [row] = await world.rows("SELECT * FROM contact")
    assert ("Ada", {row["id"]: Decimal(2)}) == (row["name"], await world.scores())
    assert [("automatic", "test")] == await merges(world)


@pytest.mark.parametrize(
    ("known", "ref", "previous", "left"),
    [
        ([VISIT, USER], USER, "c1", [("automatic", "test")]),
        ([USER], USER, "c1", []),
        ([VISIT], USER, "c1", []),
        ([Ref(user_id="old"), USER], USER, "old", [("alias", "test")]),
        ([Ref(user_id="old")], USER, "old", []),
        ([Ref(user_id="old", email=B), Ref(A, "u1")], USER, "old", [("alias", "test")]),
        ([VISIT, OTHER_VISIT], VISIT, "c2", [("automatic", "test")]),
        ([VISIT, Ref(user_id="old")], VISIT, "old", [("alias", "test")]),
    ],
)
async def test_an_alias_makes_one_of_an_older_name_and_a_newer(
    world: World, known: list[Ref], ref: Ref, previous: str, left: list[tuple[str, str]]
) -> None:
    await world.publish("m", per_event("a", 1))
    await world.send(*(event("a", one) for one in known))

    await world.send(event("contact.aliased", ref, previous_id=previous))
    await world.send(event("a", Ref(anonymous_id=previous)) if previous != "old" else event("a", Ref(user_id="old")))

    assert [Decimal(len(known) + 1)] == list((await world.scores()).values())
    assert left == await merges(world)


async def test_an_alias_of_a_cookie_that_is_another_persons_changes_nothing(world: World) -> None:
    [first, second] = await resolved(world, Ref(A, None, "kiosk"), Ref(user_id="u2"))

    await world.send(event("contact.aliased", Ref(user_id="u2"), previous_id="kiosk"))

    assert {A: first, "kiosk": first, "u2": second} == await holders(world)


@pytest.mark.parametrize("properties", [{}, {"previous_id": None}, {"previous_id": ["c1"]}, {"previous_id": "x" * 300}])
async def test_an_alias_that_says_nothing_usable_changes_nothing(world: World, properties: dict[str, Any]) -> None:
    await world.send(event("contact.aliased", USER, **properties))

    assert ["u1"] == list(await holders(world))


async def test_aliases_in_a_circle_end_in_one_contact(world: World) -> None:
    users = [Ref(user_id=f"u{n}") for n in range(3)]
    await resolved(world, *users)

    await world.send(*(event("contact.aliased", users[n], previous_id=f"u{(n + 1) % 3}") for n in range(3)))

    assert 1 == len(set((await holders(world)).values())) == await world.value("SELECT count(*) FROM contact")
    assert 2 == await world.value("SELECT count(*) FROM merge")


async def test_visits_join_many_people_at_once_beside_more_visits_and_a_model_being_published(world: World) -> None:
    await world.publish("m", per_event("a", 1))
    people = range(12)
    visits = [event("a", Ref(anonymous_id=f"c{n % 12}")) for n in range(60)]
    users = [event("a", Ref(user_id=f"u{n % 12}")) for n in range(36)]
    ties = [event("a", Ref(user_id=f"u{n}", anonymous_id=f"c{n}")) for n in people] * 2
    batches = [part for kind in (visits, users, ties) for part in (kind[::2], kind[1::2])]
    Random(0).shuffle(batches)

    async def send(part: list[NewEvent]) -> None:
        for begin in range(0, len(part), 4):
            batch = list({one.id: one for one in part[begin : begin + 4]}.values())
            work = partial(ingest.accept, plans=world.plans, events=batch, now=world.now, policy=POLICY)
            await committed(world.database, work)

    async def publish() -> None:
        for points in (2, 3):
            from_test = {"field": "event.source", "operator": "=", "value": "test"}
            await world.publish("n", per_event("a", points), per_event(from_test, points))

    await asyncio.gather(*(send(part) for part in batches), publish())

    scores = await world.scores()
    assert 12 == len(scores)
    assert {Decimal(5 + 3 + 1)} == set(scores.values())
    assert {Decimal(9 * 6)} == set((await world.scores("n")).values())
    assert (0, []) == ((report := await world.verified()).count, report.differences)


async def test_the_statements_of_a_batch_do_not_grow_with_its_joins(world: World) -> None:
    async def statements(count: int, prefix: str) -> list[tuple[str, Any]]:
        names = [f"{prefix}{n}" for n in range(count)]
        await world.send(*(event("a", ref) for n in names for ref in (Ref(user_id=n), Ref(anonymous_id=n))))
        sent: list[tuple[str, Any]] = []
        async with world.database.hot.acquire() as db:
            with db.query_logger(lambda record: sent.append((record.query, record.args))):
                async with db.transaction():
                    batch = [event("a", Ref(user_id=n, anonymous_id=n)) for n in names]
                    await ingest.accept(db, world.plans, batch, world.now, POLICY)
        return sent

    await world.publish("m", per_event("a", 1))

    one, many = await statements(1, "x"), await statements(20, "y")
    assert len(one) == len(many)
    assert 21 == await world.value("SELECT count(*) FROM merge")
    async with world.database.hot.acquire() as db:
        for query, arguments in many:
            if query.lstrip().startswith(("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")):
                plan = orjson.loads(await db.fetchval(f"EXPLAIN (FORMAT JSON) {query}", *arguments))
                read = [node for node in nodes(plan[0]["Plan"]) if "Scan" in node["Node Type"]]
                assert [] == [node for node in read if is_whole(node)], query


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for below in plan.get("Plans", []) for node in nodes(below))]


def is_whole(node: dict[str, Any]) -> bool:
    """Whether a node reads a whole table; not a parameter, a function, or a table that has one row or none."""
    if node.get("Relation Name") in (None, "plan_epoch", "job", "preview_score"):
        return False
    return "Index Cond" not in node and node["Node Type"] != "Bitmap Heap Scan"


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
