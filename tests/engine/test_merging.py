import os
from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from functools import partial
from random import Random
from typing import Any
from uuid import UUID

import pytest

from app.engine import contacts
from app.engine.contacts import Change
from app.engine.identity import Ref
from app.engine.ingest import NewEvent
from app.errors import InvalidInput, NotFound
from app.store.db import Database
from tests.engine import reference
from tests.engine.worlds import NOON, POLICY, World, event, is_type, per_event, profile

A, B, C = "ada@example.com", "bob@example.com", "cyd@example.com"
MINUTE = timedelta(minutes=1)
RULES = [
    per_event("a", 1),
    per_event("b", 10, window=4),
    reference.Rule("event", is_type("a"), Decimal(5), distinct_by="event.properties.campaign"),
    profile("contact.bounced", "=", True, -100),
    profile("contact.opted_out", "=", True, -1000),
    profile("contact.tags", "=", "vip", 50),
    profile("contact.properties.plan", "=", "pro", 500),
]


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


async def upsert(ref: Ref, said: dict[str, Any], world: World) -> None:  # Any: as in Change
    change = Change(frozenset(said), **said)
    async with world.database.batch() as db:
        await contacts.upsert(db, world.plans, [(ref, change)], "test", world.now, POLICY)


async def send(sent: NewEvent, world: World) -> None:
    await world.send(sent)


async def people(world: World, *emails: str) -> list[UUID]:
    """Contacts with these addresses, each with one event."""
    await world.send(*(event("a", email, world.now) for email in emails))
    return [await world.contact(email) for email in emails]


async def merged(world: World, contact: UUID) -> list[tuple[UUID, UUID, str]]:
    rows = await world.rows("SELECT * FROM merge WHERE contact_id = $1 AND undone_at IS NULL ORDER BY id", contact)
    return [(row["gone"], row["survivor"], row["kind"]) for row in rows]


# --- as if they had never been merged ---------------------------------------------------------------------------------

NAMES = ["ada", "bob", "cyd"]
ALONE = 10
"""So many steps are done before anybody is merged."""
Step = Callable[[World], Awaitable[object]]


def script(random: Random, length: int) -> list[Step]:
    """What comes in for three people, one thing a minute, each under names of their own."""
    begin = [event("a", Ref(user_id=name), id=name) for name in NAMES]
    steps: list[Step] = [lambda world: world.send(*begin)]
    for number in range(length):
        name = random.choice(NAMES)
        addresses = [f"{name}@example.com", f"{name}@example.org"]
        ref = random.choice([Ref(user_id=name), Ref(random.choice(addresses), name)])
        when = NOON - timedelta(hours=random.randint(0, 200))
        properties: list[tuple[str, dict[str, Any]]] = [
            ("a", {"campaign": random.choice("xyz")}),
            ("b", {}),
            ("email.bounced", {"bounce": random.choice(["soft", "hard"])}),
            ("email.delivered", {}),
            (f"email.{random.choice(['unsubscribed', 'resubscribed', 'complained'])}", {}),
            ("contact.updated", {"traits": {"plan": random.choice(["pro", "free", None]), "name": f"{name} {number}"}}),
            ("contact.updated", {"traits": {"email": random.choice(addresses), "seats": number}}),
            ("contact.email_changed", {"new_email": random.choice(addresses)}),
            (f"contact.tag_{random.choice(['added', 'removed'])}", {"tag": random.choice(["VIP", "Web"])}),
        ]
        edits: list[dict[str, Any]] = [
            {"name": f"edited {number}"},
            {"stage": random.choice(["lead", None])},
            {"tags": random.choice([(), ("vip",), ("web", "new")])},
            {"properties": {"plan": random.choice(["pro", None]), "seats": {"n": number}}},
            {"email": random.choice([*addresses, None])},
        ]
        if number < ALONE:  # once merged, a flag that is set by hand is of all
            edits += [{flag: random.choice([True, False])} for flag in ("opted_out", "bounced")]
        type_, said = random.choice(properties)
        sent = event(type_, ref, when, id=str(number), **said)
        edit = random.choice(edits)
        if edit.get("email"):
            ref = Ref(edit["email"], name)
        said_by_hand = random.random() < 0.3
        steps.append(partial(upsert, ref, edit) if said_by_hand else partial(send, sent))
    return steps


async def told(world: World) -> dict[str, Any]:
    """All about each of the three, under their names."""
    found = {}
    for name in NAMES:
        who = await world.value("SELECT contact_id FROM identity WHERE kind = 'user_id' AND value = $1", name)
        [row] = await world.rows("SELECT * FROM contact WHERE id = $1", who)
        [seen] = await world.rows("SELECT last_event_at FROM activity WHERE contact_id = $1", who)
        found[name] = {
            **{key: value for key, value in row.items() if key not in ("id", "updated_at")},
            **seen,
            "identities": await world.rows(
                "SELECT kind, value, origin FROM identity WHERE contact_id = $1 ORDER BY 1, 2", who
            ),
            "events": await world.rows("SELECT id, origin FROM event WHERE contact_id = $1 ORDER BY id", who),
            "tallies": await world.rows(
                "SELECT c.condition, c.keyed_by, t.day, t.key, t.n FROM tally t JOIN counter c ON c.id = t.counter_id "
                "WHERE contact_id = $1 ORDER BY c.digest, t.day, t.key",
                who,
            ),
            "scores": await world.rows(
                "SELECT value, computed, next_change_on FROM score WHERE contact_id = $1 ORDER BY model_id", who
            ),
        }
    return found


async def merge_or_unmerge(world: World, random: Random) -> None:
    known = [row["id"] for row in await world.rows("SELECT id FROM contact ORDER BY id")]
    parts = await world.rows("SELECT contact_id, gone FROM merge WHERE undone_at IS NULL ORDER BY id")
    if parts and (len(known) == 1 or random.random() < 0.5):
        one = random.choice(parts)
        await world.unmerge(one["contact_id"], one["gone"])
    else:
        await world.merge(*random.sample(known, 2))


@pytest.mark.parametrize("seed", range(int(os.environ.get("M", "6"))))
async def test_who_was_merged_and_taken_apart_is_as_if_they_never_had_been(world: World, seed: int) -> None:
    steps = script(Random(seed), 30)

    async def run(random: Random | None) -> dict[str, Any]:
        await world.clear()
        await world.publish("m", *RULES)
        for number, step in enumerate(steps):
            world.go_to(world.now + MINUTE)
            await step(world)
            if random is not None and number > ALONE and random.random() < 0.3:
                await merge_or_unmerge(world, random)
        while random is not None and (
            parts := await world.rows("SELECT contact_id, gone FROM merge WHERE undone_at IS NULL")
        ):
            one = random.choice(parts)
            await world.unmerge(one["contact_id"], one["gone"])
        assert (0, []) == ((report := await world.verified()).count, report.differences)
        return await told(world)

    never, apart = await run(None), await run(Random(seed))

    for name in NAMES:
        assert never[name] == apart[name]
    for table in ("merge_part", "merge_edit"):
        assert 0 == await world.value(f"SELECT count(*) FROM {table}")


async def test_a_contact_taken_out_of_a_chain_of_merges_brings_what_was_merged_into_it(world: World) -> None:
    await world.publish("m", per_event("a", 1))
    ada, bob, cyd = await people(world, A, B, C)
    await world.merge(bob, cyd)
    await world.merge(ada, bob)
    await world.send(event("a", C, NOON), event("a", B, NOON))
    assert [(cyd, bob, "manual"), (bob, ada, "manual")] == await merged(world, ada)
    assert {ada: Decimal(5)} == await world.scores()

    await world.unmerge(ada, bob)

    assert [(cyd, bob, "manual")] == await merged(world, bob)
    assert {ada: Decimal(1), bob: Decimal(4)} == await world.scores()
    assert [ada, bob, bob] == [await world.contact(one) for one in (A, B, C)]

    await world.unmerge(bob, cyd)

    assert {ada: Decimal(1), bob: Decimal(2), cyd: Decimal(2)} == await world.scores()
    assert [] == await merged(world, ada) + await merged(world, bob)


async def test_the_innermost_of_a_chain_is_taken_out_alone(world: World) -> None:
    await world.publish("m", per_event("a", 1))
    ada, bob, cyd = await people(world, A, B, C)
    await world.merge(bob, cyd)
    await world.merge(ada, bob)

    await world.unmerge(ada, cyd)

    assert [(bob, ada, "manual")] == await merged(world, ada)
    assert {ada: Decimal(2), cyd: Decimal(1)} == await world.scores()


async def test_who_merges_again_after_being_taken_apart_is_one_again(world: World) -> None:
    await world.publish("m", per_event("a", 1))
    ada, bob = await people(world, A, B)
    for _ in range(2):
        await world.merge(ada, bob)
        assert {ada: Decimal(2)} == await world.scores()
        await world.unmerge(ada, bob)
        assert {ada: Decimal(1), bob: Decimal(1)} == await world.scores()

    history = await world.rows("SELECT kind, by, undone_at, undone_by FROM merge WHERE contact_id = $1", ada)
    assert [("manual", "test", NOON, "test")] * 2 == [tuple(row.values()) for row in history]


async def test_of_each_word_the_later_stays_and_gaps_are_filled(world: World) -> None:
    ada, bob = await people(world, A, B)
    await world.change(ada, name="Ada", properties={"plan": "free", "old": 1}, tags=("web",))
    await world.change(
        bob, NOON + MINUTE, name="Bob", stage="lead", properties={"plan": "pro", "new": 2}, tags=("vip",)
    )
    await world.change(bob, NOON + MINUTE, properties={"old": None})

    await world.merge(ada, bob)

    row = await world.row(A)
    assert (A, "Bob", "lead", ["web", "vip"]) == (row["email"], row["name"], row["stage"], row["tags"])
    assert {"plan": "pro", "new": 2} == row["properties"]

    await world.unmerge(ada, bob)

    row = await world.row(A)
    assert ("Ada", None, ["web"], {"plan": "free", "old": 1}) == tuple(
        row[name] for name in ("name", "stage", "tags", "properties")
    )


async def test_the_restrictive_flag_stays_whichever_was_said_later(world: World) -> None:
    ada, bob, cyd = await people(world, A, B, C)
    await world.send(event("email.unsubscribed", B, NOON - 9 * MINUTE), event("email.resubscribed", A, NOON))

    await world.merge(ada, bob)
    await world.merge(cyd, ada)

    row = await world.row(A)
    assert (True, "unsubscribed") == (row["opted_out"], row["opted_out_reason"])


async def test_an_opt_out_by_hand_while_merged_stays_with_both_and_one_by_mail_with_whose_it_was(world: World) -> None:
    ada, bob, cyd = await people(world, A, B, C)
    await world.merge(bob, cyd)
    await world.merge(ada, bob)
    await world.change(ada, opted_out=True)
    world.go_to(NOON + MINUTE)
    await world.send(event("email.resubscribed", B, NOON + MINUTE))
    assert not (await world.row(A))["opted_out"]

    await world.unmerge(ada, bob)
    assert (True, True) == ((await world.row(A))["opted_out"], (await world.row(B))["opted_out"])

    await world.unmerge(bob, cyd)
    assert [True, False, True] == [(await world.row(one))["opted_out"] for one in (A, B, C)]


async def test_adjustments_go_back_to_whom_they_were_made_for_and_overrides_end_as_they_would_have(
    world: World,
) -> None:
    await world.publish("m", per_event("a", 1))
    ada, bob = await people(world, A, B)
    await world.adjust(bob, "points", points=100)
    for moment, (who, points) in enumerate([(ada, 1000), (bob, 2000), (ada, 3000)]):
        world.go_to(NOON + moment * MINUTE)
        await world.adjust(who, "override", points=points)
    await world.merge(ada, bob)
    world.go_to(NOON + 5 * MINUTE)
    assert {ada: Decimal(3000)} == await world.scores()
    made = await world.adjust(ada, "override", points=4000)

    await world.unmerge(ada, bob)
    assert {ada: Decimal(4000), bob: Decimal(2000)} == await world.scores()

    ended = await world.rows("SELECT points, revoked_at FROM adjustment WHERE contact_id = $1 ORDER BY created_at", ada)
    assert [NOON + 2 * MINUTE, NOON + 5 * MINUTE, None] == [row["revoked_at"] for row in ended]
    await world.revoke(ada, made)
    assert {ada: Decimal(1), bob: Decimal(2000)} == await world.scores()


async def test_a_property_declared_while_merged_is_of_its_type_when_taken_apart(world: World) -> None:
    ada, bob = await people(world, A, B)
    await world.change(bob, properties={"seats": "12", "odd": "many"})
    await world.merge(ada, bob)
    for name in ("seats", "odd"):
        await world.declare(name, "number")

    await world.unmerge(ada, bob)

    assert {"seats": 12, "odd": "many"} == (await world.row(B))["properties"]


async def test_what_cannot_be_taken_apart_is_refused(world: World) -> None:
    ada, bob, cyd = await people(world, A, B, C)
    await world.merge(ada, bob)

    for part in (ada, cyd):
        with pytest.raises(InvalidInput):
            await world.unmerge(ada, part)
    with pytest.raises(NotFound):
        await world.unmerge(bob, ada)


async def test_an_erased_contact_takes_along_all_that_it_was_made_of(world: World) -> None:
    ada, bob, cyd = await people(world, A, B, C)
    await world.merge(ada, bob)
    await world.merge(ada, cyd)
    await world.change(ada, name="Ada")
    await world.unmerge(ada, cyd)

    await world.erase(cyd)
    assert [(bob, ada, "manual")] == await merged(world, ada)
    assert 0 == await world.value("SELECT count(*) FROM merge WHERE gone = $1", cyd)
    await world.erase(ada)

    for table in ("merge", "merge_part", "merge_edit"):
        assert 0 == await world.value(f"SELECT count(*) FROM {table}")
