"""Activities become events, are edited, undone and given to others; scores are always as if they had only been so."""

from asyncio import Event
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.connectors.shapes import Activity, Key
from app.engine import retraction
from app.engine.identity import ContactGone
from app.store.db import Database
from app.sync import activities
from app.sync.cursors import Kept
from app.sync.shapes import Counts, Opened
from tests.engine import reference
from tests.engine.worlds import NOON, event, per_event, profile
from tests.sync.toy import PERSON, Toy
from tests.sync.worlds import World, opened, pulled, statements

ADA, BOB = "ada@example.com", "bob@example.com"
CALL, MEETING = (
    {"combinator": "and", "rules": [
        {"field": "event.type", "operator": "=", "value": "crm.activity"},
        {"field": "event.properties.type", "operator": "=", "value": kind},
    ]}
    for kind in ("call", "meeting")
)  # fmt: skip
RULES = (
    per_event(CALL, 5, max_per_day=2),
    per_event(MEETING, 30, window=60),
    per_event("page.viewed", 1),
    profile("contact.days_inactive", ">=", 3, -7),
)


@pytest.fixture
async def toys(world: World, toy: Toy) -> Opened:
    await world.publish("m", *RULES)
    return await opened(world, toy)


async def agrees(world: World) -> None:
    """What is stored is what the events say, to the product's own proof and to the judge."""
    assert 0 == (await world.verified()).count
    judged = await world.judged(RULES)
    assert judged == await world.scores()
    assert [] == await world.broken_histories()


async def types(world: World, email: str = ADA) -> list[str]:
    rows = await world.rows(
        "SELECT properties ->> 'type' AS type FROM event WHERE contact_id = $1 AND type = 'crm.activity' ORDER BY 1",
        await world.contact(email),
    )
    return [row["type"] for row in rows]


# --- one activity -----------------------------------------------------------------------------------------------------


async def test_an_activity_is_an_event_of_each_of_its_people(world: World, toy: Toy, toys: Opened) -> None:
    ada, bob = toy.add(ADA), toy.add(BOB)
    toy.do("c1", "call", ada, bob, subject="Prices", outcome="connected")

    assert 1 == (await pulled(toys)).activities

    rows = await world.rows("SELECT * FROM event ORDER BY client_id")
    assert [f"c1:{ada}", f"c1:{bob}"] == [row["client_id"] for row in rows]
    said = {"type": "call", "activity_id": "c1", "crm": "toy", "subject": "Prices", "outcome": "connected"}
    assert ("crm.activity", "crm:toys", said) == (rows[0]["type"], rows[0]["source"], rows[0]["properties"])
    assert toy.done[0].at == rows[0]["occurred_at"]
    assert [Decimal(5), Decimal(5)] == [await world.score(email) for email in (ADA, BOB)]
    await agrees(world)


async def test_an_activity_that_says_the_same_again_costs_one_look(world: World, toy: Toy, toys: Opened) -> None:
    toy.do("c1", "call", toy.add(ADA))
    await pulled(toys)
    before = await world.rows("SELECT * FROM event")
    await world.execute("DELETE FROM sync_cursor WHERE feed = 'activities'")

    async with statements(world.database) as run:
        assert Counts() == await pulled(toys)

    assert before == await world.rows("SELECT * FROM event")
    assert not [one for one in run if "activity " in one.replace("crm_activity", "") or "score" in one]


async def test_an_activity_that_was_edited_says_all_anew(world: World, toy: Toy, toys: Opened) -> None:
    ada = toy.add(ADA)
    toy.do("c1", "call", ada)
    toy.do("c2", "call", ada)
    await pulled(toys)
    toy.do("c1", "meeting", ada, subject="In person")

    assert 1 == (await pulled(toys)).activities

    assert (["call", "meeting"], Decimal(35)) == (await types(world), await world.score())
    await agrees(world)


async def test_an_activity_that_was_undone_has_never_been(world: World, toy: Toy, toys: Opened) -> None:
    ada = toy.add(ADA)
    await world.send(event("page.viewed", ADA, NOON - timedelta(days=10)))
    await pulled(toys)
    before = await world.kept()
    assert Decimal(-6) == await world.score()
    toy.do("c1", "call", ada)
    await pulled(toys)
    assert Decimal(6) == await world.score()
    toy.do("c1", "call")

    assert 1 == (await pulled(toys)).activities

    # The day on which she was last seen is an older one again, and the score says so.
    assert (before, []) == (await world.kept(), await types(world))
    await agrees(world)
    assert Counts() == await pulled(toys)


async def test_an_activity_that_loses_one_of_its_people_leaves_the_others_theirs(
    world: World, toy: Toy, toys: Opened
) -> None:
    ada, bob = toy.add(ADA), toy.add(BOB)
    toy.do("m1", "meeting", ada, bob)
    await pulled(toys)
    toy.do("m1", "meeting", bob)

    await pulled(toys)

    assert (Decimal(0), Decimal(30)) == (await world.score(ADA), await world.score(BOB))
    await agrees(world)


async def test_an_edit_that_changes_no_points_changes_no_score(world: World, toy: Toy, toys: Opened) -> None:
    ada = toy.add(ADA)
    toy.do("m1", "meeting", ada)
    await pulled(toys)
    changes = await world.value("SELECT count(*) FROM score_change")
    await world.execute("DELETE FROM outbox")
    toy.do("m1", "meeting", ada, subject="Renamed")

    await pulled(toys)

    assert changes == await world.value("SELECT count(*) FROM score_change")
    assert {} == await world.outbox()


async def test_what_is_yet_to_be_counts_from_now(world: World, toy: Toy, toys: Opened) -> None:
    ada = toy.add(ADA)
    await pulled(toys)
    planned = Activity("m1", "meeting", (Key(PERSON, ada),), NOON + timedelta(days=3))

    await activities.take(toys, [planned], Counts(), Kept("1", NOON))

    assert abs(await world.value("SELECT occurred_at FROM event") - NOON) < timedelta(minutes=1)
    await agrees(world)


async def test_what_postgres_cannot_hold_of_an_activity_is_left_out(world: World, toy: Toy, toys: Opened) -> None:
    ada = toy.add(ADA)
    await pulled(toys)
    whose = (Key(PERSON, ada),)
    dirty: list[dict[str, Any]] = [{"notes": "x" * 70_000}, {"subject": "\ud800\x00", "of": {"no": "\x00"}}]

    for at, properties in enumerate(dirty):
        meeting = Activity("m1", "meet\x00ing", whose, NOON, properties)
        await activities.take(toys, [meeting], Counts(), Kept(str(at), NOON))

    assert (["meeting"], Decimal(30)) == (await types(world), await world.score())
    await activities.take(toys, [meeting._replace(properties={"subject": "a\x00b"})], Counts(), Kept("3", NOON))
    assert "ab" == await world.value("SELECT properties ->> 'subject' FROM event")


# --- whose it is ------------------------------------------------------------------------------------------------------


async def test_somebody_whom_no_feed_has_told_of_yet_is_read_first(world: World, toy: Toy, toys: Opened) -> None:
    ada = toy.add(ADA, out=True)
    call = Activity("c1", "call", (Key(PERSON, ada),), NOON)
    counts = Counts()

    await activities.take(toys, [call], counts, Kept("1", NOON))

    assert (1, 1, True) == (counts.created, counts.activities, (await world.row())["opted_out"])
    assert Decimal(5) == await world.score()


async def test_strangers_and_whoever_is_gone_or_erased_have_no_events(world: World, toy: Toy) -> None:
    one = await opened(world, toy, imports=False)
    await world.send(event("page.viewed", ADA), event("page.viewed", BOB))
    ids = [toy.add(address) for address in ("stranger@example.com", ADA, BOB)]
    await pulled(one)
    await world.erase(await world.contact(ADA))
    toy.do("c1", "call", *ids, "4711")

    assert 1 == (await pulled(one)).activities

    assert ["call"] == await types(world, BOB)
    assert 1 == await world.value("SELECT count(*) FROM event WHERE type = 'crm.activity'")

    calls = toy.calls
    toy.do("c2", "call", ids[0])
    await pulled(one)

    assert 2 == toy.calls - calls  # the two feeds: a stranger is not asked for again


async def test_two_records_of_one_contact_are_at_an_activity_once(world: World, toy: Toy, toys: Opened) -> None:
    first, second = toy.add(ADA), toy.add(ADA)
    toy.do("c1", "call", first, second)

    await pulled(toys)

    assert ["call"] == await types(world)


async def test_events_of_contacts_that_were_merged_since_are_found_and_replaced(
    world: World, toy: Toy, toys: Opened
) -> None:
    ada, bob = toy.add(ADA), toy.add(BOB)
    toy.do("c1", "call", ada, bob)
    await pulled(toys)
    await world.merge(await world.contact(ADA), await world.contact(BOB))
    toy.do("c1", "meeting", ada, bob)

    await pulled(toys)

    assert ["meeting"] == await types(world)
    await agrees(world)


async def test_activities_are_left_where_nobody_wants_them(world: World, toy: Toy) -> None:
    one = await opened(world, toy, activities=False)
    toy.do("c1", "call", toy.add(ADA))

    await pulled(one)

    assert [] == await world.rows("SELECT * FROM event")


# --- pages ------------------------------------------------------------------------------------------------------------


async def test_activities_and_their_cursor_are_kept_together(world: World, toy: Toy, toys: Opened) -> None:
    ada = toy.add(ADA)
    for number in range(7):
        toy.do(f"c{number}", "call", ada)
    stop = Event()
    stop.set()
    await activities.pull(toys, Counts(), stop)
    assert [] == await world.rows("SELECT * FROM sync_cursor")

    counts = await pulled(toys)

    assert (7, 7) == (counts.activities, len(await types(world)))
    assert "7" == await world.value("SELECT cursor FROM sync_cursor WHERE feed = 'activities'")
    await agrees(world)


async def test_a_page_of_activities_takes_as_many_statements_as_one(world: World, toy: Toy, toys: Opened) -> None:
    ids = [toy.add(f"p{n}@example.com") for n in range(40)]
    await pulled(toys)
    run = []
    for people in (ids[:1], ids):
        for kind in ("call", "meeting", "call"):
            page = [Activity(f"c{one}", kind, (Key(PERSON, one),), NOON) for one in people]
            async with statements(world.database) as seen:
                await activities.take(toys, page, Counts(), Kept("1", NOON))
            run.append(len(seen))
        await world.execute("DELETE FROM crm_activity; DELETE FROM event; DELETE FROM tally")

    assert run[:3] == run[3:]


async def test_an_edit_while_history_is_counted_is_counted_once(world: World, toy: Toy, toys: Opened) -> None:
    ada = toy.add(ADA)
    toy.do("c1", "call", ada)
    toy.do("c2", "call", ada)
    await pulled(toys)
    job = await world.begin_publish("m", [*RULES, per_event("crm.activity", 100)])
    toy.do("c1", "meeting", ada)
    await pulled(toys)
    toy.do("c2", "call")
    await pulled(toys)

    await world.run(job)

    assert Decimal(130) == await world.score()
    assert 0 == (await world.verified()).count


# --- taking back ------------------------------------------------------------------------------------------------------


async def retracted(world: World, *events: UUID) -> list[UUID]:
    async with world.database.batch() as db:
        return await retraction.retract(db, await world.plans.hold(db), events)


async def test_events_that_are_not_there_are_taken_back_without_effect(world: World) -> None:
    sent = event("page.viewed", ADA)
    await world.send(sent)

    assert [] == await retracted(world, event("page.viewed").id)
    assert [await world.contact()] == await retracted(world, sent.id)
    assert [] == await retracted(world, sent.id)


async def test_somebody_who_was_erased_meanwhile_begins_it_again(world: World) -> None:
    await world.send(event("page.viewed", ADA))
    ada = await world.contact()
    await world.erase(ada)

    async with world.database.batch() as db:
        with pytest.raises(ContactGone):
            await retraction.retract(db, await world.plans.hold(db), [], beside=[ada])


# --- laws -------------------------------------------------------------------------------------------------------------


EDITS = st.lists(
    st.tuples(
        st.sampled_from(["a1", "a2", "a3"]),
        st.sampled_from(["call", "meeting", "email"]),
        st.sets(st.sampled_from(["1", "2"])),
        st.integers(0, 70),
    ),
    max_size=8,
)


@settings(max_examples=15, deadline=None)
@given(EDITS, st.integers(1, 3))
async def test_whatever_is_edited_scores_are_those_of_the_last_word(
    migrated: Database, edits: list[tuple[str, str, set[str], int]], size: int
) -> None:
    world, toy = World(migrated), Toy()
    await world.clear()
    await world.publish("m", *RULES)
    one = await opened(world, toy)
    for address in (ADA, BOB):
        toy.add(address)
    await pulled(one)
    said = [
        Activity(id_, kind, tuple(Key(PERSON, who) for who in sorted(people)), NOON - timedelta(days=days))
        for id_, kind, people, days in edits
    ]

    for start in range(0, len(said), size):
        await activities.take(one, said[start : start + size], Counts(), Kept(str(start), NOON))

    await agrees(world)
    last = {activity.id: activity for activity in said}
    expected = sorted((key.id, activity.type) for activity in last.values() for key in activity.people)
    rows = await world.rows("SELECT client_id, properties ->> 'type' AS type FROM event")
    assert expected == sorted((row["client_id"].partition(":")[2], row["type"]) for row in rows)
    only_so = {
        await world.contact(address): reference.score(
            RULES,
            [
                reference.Event("crm.activity", one.source, activity.at, NOON, {"type": activity.type})
                for activity in last.values()
                if Key(PERSON, id_) in activity.people
            ],
            {},
            world.now.date(),
        )
        for address, id_ in ((ADA, "1"), (BOB, "2"))
    }
    assert only_so == await world.scores()
    await world.clear()
