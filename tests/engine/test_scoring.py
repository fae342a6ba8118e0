from collections import Counter
from datetime import date, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.engine import identity, publish
from app.engine.identity import Ref
from app.engine.ingest import NewEvent
from app.engine.scoring import Cause
from app.engine.tally import Fill, add_staged, stage
from app.errors import Conflict, NotFound
from app.store.db import Database
from tests.engine import reference
from tests.engine.worlds import NOON, TODAY, World, at, event, is_type, per_event, profile

DAY = timedelta(days=1)


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


# --- event rules ------------------------------------------------------------------------------------------------------


async def test_every_matching_event_gives_its_points(world: World) -> None:
    await world.publish("m", per_event("email.opened", "2.25"), per_event("page.viewed", -1))

    await world.send(event("email.opened"), event("Email.Opened"), event("page.viewed"), event("other"))

    assert Decimal("3.50") == await world.score()


async def test_an_event_sent_twice_counts_once(world: World) -> None:
    await world.publish("m", per_event("a", 1))

    first = event("a", id="1")
    await world.send(first)
    await world.send(first, event("a", id="2"))
    await world.send(event("a", when=NOON - DAY, id="2"))

    assert Decimal(2) == await world.score()


async def test_a_model_without_rules_scores_nought(world: World) -> None:
    await world.publish("m")

    await world.send(event("a"))

    assert Decimal(0) == await world.score()


async def test_a_window_of_seven_days_begins_at_midnight_utc_six_days_ago(world: World) -> None:
    await world.publish("m", per_event("a", 1, window=7))

    await world.send(event("a", "in@example.com", at("2026-05-09 00:00:00")))
    await world.send(event("a", "out@example.com", at("2026-05-08 23:59:59.999999")))

    assert Decimal(1) == await world.score("in@example.com")
    assert Decimal(0) == await world.score("out@example.com")


async def test_a_window_of_one_day_is_today(world: World) -> None:
    await world.publish("m", per_event("a", 1, window=1))

    await world.send(event("a", when=at("2026-05-15 00:00:00")), event("a", when=at("2026-05-14 23:59:59")))

    assert Decimal(1) == await world.score()


async def test_an_event_leaves_its_window_by_the_sweep_of_that_day_and_not_before(world: World) -> None:
    await world.publish("m", per_event("a", 1, window=3))
    await world.send(event("a"))

    world.go_to(at("2026-05-17 23:59:59"))
    assert 0 == await world.sweep()
    assert Decimal(1) == await world.score()
    world.go_to(at("2026-05-18 00:00:00"))
    assert 1 == await world.sweep()
    assert Decimal(0) == await world.score()


async def test_an_event_to_come_counts_on_its_day(world: World) -> None:
    await world.publish("m", per_event("a", 1))
    await world.send(event("a", when=at("2026-05-16 00:00:00")), event("a", when=at("2026-05-15 23:59:59")))

    assert Decimal(1) == await world.score()
    world.go_to(at("2026-05-16 00:00:00"))
    assert 1 == await world.sweep()
    assert Decimal(2) == await world.score()


async def test_a_late_event_counts_on_the_day_it_happened(world: World) -> None:
    await world.publish("m", per_event("a", 1, window=7, max_per_day=1))
    await world.send(event("a", when=NOON - 3 * DAY))

    await world.send(event("a", when=NOON - 3 * DAY), event("a", when=NOON - 4 * DAY), event("a", when=NOON - 9 * DAY))

    assert Decimal(2) == await world.score()


async def test_at_most_max_per_day_events_of_a_utc_day_count(world: World) -> None:
    await world.publish("m", per_event("a", 5, max_per_day=2))

    today = [event("a", when=NOON + timedelta(minutes=n)) for n in range(5)]
    await world.send(*today[:3], event("a", when=at("2026-05-14 23:59:59")))
    await world.send(*today[3:])

    assert Decimal(15) == await world.score()


@pytest.mark.parametrize(("points", "expected"), [(4, 10), (-4, -10)])
async def test_the_sum_of_a_rule_stops_at_max_points_on_either_side(world: World, points: int, expected: int) -> None:
    await world.publish("m", per_event("a", points, max_points=10), per_event("b", 1))

    await world.send(*(event("a") for _ in range(5)), event("b"))

    assert Decimal(expected + 1) == await world.score()


async def test_a_cap_hides_no_event_that_counts_once_others_have_left_the_window(world: World) -> None:
    await world.publish("m", per_event("a", 4, window=3, max_points=5))
    await world.send(event("a", when=NOON - DAY), event("a"))
    assert Decimal(5) == await world.score()

    world.go_to(NOON + 2 * DAY)
    await world.sweep()

    assert Decimal(4) == await world.score()


# --- profile rules ----------------------------------------------------------------------------------------------------


async def test_a_profile_rule_gives_its_points_while_its_condition_holds(world: World) -> None:
    await world.publish("m", profile("contact.stage", "=", "customer", 50))
    await world.send(event("a"))
    contact = await world.contact()

    assert Decimal(0) == await world.score()
    await world.change(contact, stage="Customer")
    assert Decimal(50) == await world.score()
    await world.change(contact, stage=None)
    assert Decimal(0) == await world.score()


@pytest.mark.parametrize(
    ("operator", "value", "turns_on"), [(">=", 3, 3), (">", 3, 4), (">", "2.5", 3), ("between", [3, 4], 3)]
)
async def test_a_silence_costs_points_from_the_right_day_on(
    world: World, operator: str, value: Any, turns_on: int
) -> None:
    await world.publish("m", profile("contact.days_inactive", operator, value, -10))
    await world.send(event("a", when=at("2026-05-15 00:00:01")))

    for day in range(turns_on):
        world.go_to(at("2026-05-15 23:59:59") + day * DAY)
        await world.sweep()
        assert Decimal(0) == await world.score()
    world.go_to(at("2026-05-15 00:00:00") + turns_on * DAY)
    assert 1 == await world.sweep()
    assert Decimal(-10) == await world.score()


async def test_an_event_ends_a_silence(world: World) -> None:
    await world.publish("m", profile("contact.days_inactive", ">=", 3, -10))
    await world.send(event("a"))
    world.go_to(NOON + 3 * DAY)
    await world.sweep()
    assert Decimal(-10) == await world.score()

    await world.send(event("a", when=world.now))

    assert Decimal(0) == await world.score()


async def test_a_silence_compared_with_another_field_is_asked_anew_each_day(world: World) -> None:
    condition = {
        "field": "contact.days_inactive",
        "operator": ">",
        "value": "contact.properties.patience",
        "valueSource": "field",
    }
    await world.publish("m", reference.Rule("profile", condition, Decimal(-1)))
    await world.send(event("a"))
    await world.change(await world.contact(), properties={"patience": 2})

    for day, expected in enumerate([0, 0, 0, -1, -1]):
        world.go_to(NOON + day * DAY)
        await world.sweep()
        assert Decimal(expected) == await world.score()


async def test_an_address_that_comes_with_a_replayed_event_is_scored(world: World) -> None:
    await world.publish("m", profile("contact.email_domain", "=", "example.com", 5))
    await world.send(event("a", Ref(user_id="u1"), id="1"))

    await world.send(event("a", Ref(user_id="u1", email="ada@example.com"), id="1"))

    assert Decimal(5) == await world.score()


# --- publishing -------------------------------------------------------------------------------------------------------


async def test_a_draft_counts_nothing_before_it_is_published(world: World) -> None:
    await world.publish("m", per_event("a", 1))
    await world.send(event("a"))
    await world.draft("m", [per_event("a", 100)])

    await world.send(event("a"))

    assert Decimal(2) == await world.score()


async def test_a_rule_edited_and_published_scores_the_whole_past_anew(world: World) -> None:
    await world.publish("m", per_event("a", 1), per_event("b", 1))
    await world.send(event("a"), event("a"), event("b"), event("c"))
    assert Decimal(3) == await world.score()

    await world.publish("m", per_event("a", 10), per_event("c", 1))

    assert Decimal(21) == await world.score()
    assert [2] == [row["version"] for row in await world.rows("SELECT version FROM score")]


async def test_events_that_come_while_a_model_is_being_published_count_once(world: World) -> None:
    await world.send(event("a"))
    job = await world.begin_publish("m", [per_event("a", 1)])
    await world.send(event("a"), event("a", "bob@example.com"))

    await world.run(job)

    assert Decimal(2) == await world.score()
    assert Decimal(1) == await world.score("bob@example.com")


async def test_a_publishing_job_may_be_run_again(world: World) -> None:
    await world.send(event("a"))
    job = await world.begin_publish("m", [per_event("a", 1)])
    await world.run(job)

    await world.run(job)

    assert Decimal(1) == await world.score()
    assert "done" == await world.value("SELECT status FROM job WHERE id = $1", job)


async def test_a_publishing_job_goes_on_where_a_worker_died(world: World) -> None:
    """Killed in each phase: the row says how far it came, and the next worker takes it from there."""
    for n in range(3):
        await world.send(event("a", f"{n}@example.com"))
    job = await world.begin_publish("m", [per_event("a", 1)])
    await world.execute(
        """
        UPDATE job SET status = 'running', phase = 'filling', total = 3, done = 1,
               cursor = (SELECT min(contact_id::text) FROM activity)
        """
    )
    first = min((await world.rows("SELECT contact_id FROM activity")), key=lambda row: str(row["contact_id"]))
    async with world.database.batch() as db:
        counters = [dict(row) for row in await db.fetch("UPDATE counter SET staged = true RETURNING *")]
        await stage(db, counters)
        await add_staged(db, [first["contact_id"]], [one["id"] for one in counters])

    await world.run(job)

    assert {Decimal(1)} == set((await world.scores()).values())
    assert 3 == len(await world.scores())


async def test_models_that_ask_the_same_share_a_counter(world: World) -> None:
    await world.publish("m", per_event("a", 1), per_event("a", 2, window=7))
    await world.publish("n", per_event("A", 10))

    await world.send(event("a"))

    assert 1 == await world.value("SELECT count(*) FROM counter")
    assert 1 == await world.value("SELECT sum(n) FROM tally")
    assert (Decimal(3), Decimal(10)) == (await world.score(key="m"), await world.score(key="n"))


async def test_a_counter_that_no_rule_needs_any_more_is_dropped_with_its_tallies(world: World) -> None:
    await world.publish("m", per_event("a", 1), per_event("b", 1))
    await world.publish("n", per_event("a", 1))
    await world.send(event("a"), event("b"))

    await world.publish("m", per_event("c", 1))

    remaining = await world.rows("SELECT condition ->> 'value' AS type FROM counter ORDER BY id")
    assert ["a", "c"] == [row["type"] for row in remaining]
    assert 1 == await world.value("SELECT count(*) FROM tally")
    assert Decimal(1) == await world.score(key="n")


async def test_a_counter_asked_again_while_it_is_being_dropped_is_filled_again(world: World) -> None:
    await world.publish("m", per_event("a", 1))
    await world.send(event("a"))
    async with world.database.batch() as db:
        tidy = await publish.archive(db, "m", world.now)
    job = await world.begin_publish("n", [per_event("a", 1)])
    await world.send(event("a"))

    await world.run(tidy)
    await world.run(job)

    assert Decimal(2) == await world.score(key="n")


async def test_a_published_counter_survives_that_another_model_lets_go_of_it(world: World) -> None:
    await world.publish("m", per_event("a", 1))
    await world.send(event("a"))
    other = await world.begin_publish("m", [per_event("b", 1)])
    job = await world.begin_publish("n", [per_event("a", 1)])

    await world.run(other)
    await world.run(job)
    await world.send(event("a"))

    assert Decimal(2) == await world.score(key="n")


async def test_an_archived_model_keeps_its_scores_and_counts_no_more(world: World) -> None:
    await world.publish("m", per_event("a", 1, window=2))
    await world.send(event("a"))
    async with world.database.batch() as db:
        tidy = await publish.archive(db, "m", world.now)
    await world.run(tidy)

    await world.send(event("a"))
    world.go_to(NOON + 5 * DAY)

    assert 0 == await world.sweep()
    assert Decimal(1) == await world.score()
    assert 0 == await world.value("SELECT count(*) FROM tally")
    assert 0 == await world.value("SELECT count(*) FROM counter")
    with pytest.raises(Conflict):
        await world.begin_publish("m")


async def test_a_model_made_active_again_counts_once_it_is_published(world: World) -> None:
    await world.publish("m", per_event("a", 1))
    await world.send(event("a"))
    async with world.database.batch() as db:
        tidy = await publish.archive(db, "m", world.now)
    await world.run(tidy)
    await world.send(event("a"))
    async with world.database.batch() as db:
        await publish.unarchive(db, "m")

    await world.publish("m", per_event("a", 1))
    await world.send(event("a"))

    assert Decimal(3) == await world.score()


async def test_tidying_that_comes_late_leaves_a_model_alone_that_counts_again(world: World) -> None:
    await world.publish("m", per_event("a", 1, window=2))
    await world.send(event("a"))
    async with world.database.batch() as db:
        tidy = await publish.archive(db, "m", world.now)
    async with world.database.batch() as db:
        await publish.unarchive(db, "m")
    await world.publish("m", per_event("a", 1, window=2))

    await world.run(tidy)
    world.go_to(NOON + 2 * DAY)
    await world.sweep()

    assert Decimal(0) == await world.score()


async def test_a_deleted_model_takes_its_scores_and_counters_along(world: World) -> None:
    await world.publish("m", per_event("a", 1))
    await world.publish("n", per_event("b", 1))
    await world.send(event("a"), event("b"))
    async with world.database.batch() as db:
        tidy = await publish.delete(db, "m", world.now)
    await world.run(tidy)

    assert 1 == await world.value("SELECT count(*) FROM score")
    assert 1 == await world.value("SELECT count(*) FROM tally")
    assert 1 == await world.value("SELECT count(*) FROM counter")
    assert Decimal(1) == await world.score(key="n")
    with pytest.raises(NotFound):
        await world.begin_publish("m")


async def test_a_model_deleted_before_its_job_ran_ends_the_job(world: World) -> None:
    job = await world.begin_publish("m", [per_event("a", 1)])
    async with world.database.batch() as db:
        tidy = await publish.delete(db, "m", world.now)

    await world.run(job)
    await world.run(tidy)

    assert "failed" == await world.value("SELECT status FROM job WHERE id = $1", job)
    assert 0 == await world.value("SELECT count(*) FROM counter")


async def test_more_tests_than_a_statement_can_ask_are_refused_before_they_count(world: World) -> None:
    def asking(count: int) -> dict[str, Any]:
        rules = [{"field": f"event.properties.p{n}", "operator": "=", "value": "x"} for n in range(count)]
        return {"combinator": "or", "rules": rules}

    await world.publish("m", *(per_event(asking(500 - n), 1) for n in range(5)))
    await world.draft("n", [per_event(asking(495 - n), 1) for n in range(2)])

    with pytest.raises(Conflict, match="3000 are the most"):
        await world.begin_publish("n")
    assert 5 == await world.value("SELECT count(*) FROM counter")
    assert 1 == len(await world.send(event("a", p1="x")))


async def test_the_sweep_touches_only_who_is_due(world: World) -> None:
    await world.publish("m", per_event("a", 1, window=3))
    for days in range(5):
        await world.send(event("a", f"{days}@example.com", NOON - days * DAY))
    before = await world.rows("SELECT contact_id, computed_at FROM score ORDER BY contact_id")

    world.go_to(NOON + DAY)
    assert 1 == await world.sweep()

    after = await world.rows("SELECT contact_id, computed_at FROM score ORDER BY contact_id")
    changed = [row["contact_id"] for row, old in zip(after, before, strict=True) if row != old]
    assert [await world.contact("2@example.com")] == changed
    assert 0 == await world.sweep()


async def test_an_explanation_names_what_each_rule_gave_after_its_limits(world: World) -> None:
    await world.publish(
        "m",
        per_event("a", 4, max_points=10),
        per_event("b", 1, max_per_day=2),
        per_event("never", 1),
        profile("contact.stage", "null", None, 7),
        profile("contact.stage", "=", "lost", -7),
    )
    await world.send(*(event("a") for _ in range(3)), *(event("b") for _ in range(3)))

    given = {one.rule.name: (one.count, one.points) for one in await explained(world, [await world.contact()])}

    assert sorted([(3, Decimal(10)), (2, Decimal(2)), (1, Decimal(7))]) == sorted(given.values())


async def explained(world: World, contacts: list[UUID], as_of: date | None = None) -> list[Any]:
    async with world.database.batch() as db:
        plan = await world.plans.hold(db)
        day = as_of or world.now.date()
        found = await plan.explainer.explain(db, contacts, day, world.now)
        return [part for one in found for part in one.contributions if part.count]


# --- the score is a function of the facts -----------------------------------------------------------------------------

event_conditions = st.sampled_from(
    [
        is_type("a"),
        is_type("B"),
        {"field": "event.type", "operator": "in", "value": "a, b"},
        {"field": "event.properties.n", "operator": ">=", "value": 2},
        {"field": "event.properties.n", "operator": "!=", "value": 2},
        {"field": "event.properties.path", "operator": "contains", "value": "/PRICING"},
        {
            "combinator": "or",
            "not": True,
            "rules": [is_type("c"), {"field": "event.properties.n", "operator": "null"}],
        },
        {"field": "event.occurred_at", "operator": "<", "value": "2026-05-12"},
    ]
)
profile_conditions = st.sampled_from(
    [
        {"field": "contact.stage", "operator": "=", "value": "mql"},
        {"field": "contact.stage", "operator": "!=", "value": "mql"},
        {"field": "contact.tags", "operator": "contains", "value": "VIP"},
        {"field": "contact.days_inactive", "operator": ">=", "value": 2},
        {"field": "contact.days_inactive", "operator": "between", "value": [1, 3]},
        {"field": "contact.days_inactive", "operator": "<", "value": "4.5"},
        {"field": "contact.days_inactive", "operator": "notIn", "value": [0, 3]},
        {"field": "contact.bounced", "operator": "=", "value": True},
    ]
)
points = st.decimals(-50, 50, places=2)
sheets = st.lists(
    st.builds(
        reference.Rule,
        kind=st.just("event"),
        condition=event_conditions,
        points=points,
        window_days=st.none() | st.integers(1, 9),
        max_per_day=st.none() | st.integers(1, 3),
        max_points=st.none() | st.decimals(1, 60, places=2),
    )
    | st.builds(reference.Rule, kind=st.just("profile"), condition=profile_conditions, points=points),
    max_size=5,
)
PEOPLE = ["ada@example.com", "bob@example.com", "cyd@example.com"]
SAID: list[dict[str, Any]] = [{}, {"n": 0}, {"n": 2}, {"n": 3}, {"n": "2"}, {"n": None, "path": "/Pricing/50%"}]
EDGES = ["00:00:00", "12:00:00", "23:59:59.999999"]


def happenings(random: Random, count: int, today: date, begin: int = 0) -> list[NewEvent]:
    """Events of the days around `today`, most of them past, in no order."""
    return [
        event(
            random.choice(["a", "A", "b", "c"]),
            random.choice(PEOPLE),
            at(f"{today + timedelta(days=random.randint(-11, 2))} {random.choice(EDGES)}"),
            id=f"{n}",
            **random.choice(SAID),
        )
        for n in range(begin, begin + count)
    ]


def batches(random: Random, events: list[NewEvent]) -> list[list[NewEvent]]:
    """Some events more than once, in any order, in batches of any size."""
    sent = events + random.choices(events, k=len(events) // 3)
    random.shuffle(sent)
    parts = []
    while sent:
        size = random.choice([1, 1, 3, 10])
        part, sent = sent[:size], sent[size:]
        parts.append(list({one.id: one for one in part}.values()))
    return parts


async def from_nothing(world: World) -> tuple[list[Any], list[Any]]:
    """Tallies and scores, made again from the events alone."""
    async with world.database.batch() as db:
        plan = await world.plans.hold(db)
        await db.execute("DELETE FROM tally")
        await db.execute("DELETE FROM score")
        contacts = [row["contact_id"] for row in await db.fetch("SELECT contact_id FROM activity")]
        await identity.lock(db, contacts)
        await Fill(plan.counters).set(db, contacts)
        await plan.scorer.score(db, contacts, world.now, Cause.PUBLISH)
    return await stored(world)


async def stored(world: World) -> tuple[list[Any], list[Any]]:
    tallies = await world.rows("SELECT * FROM tally ORDER BY contact_id, counter_id, day, key")
    scores = await world.rows(
        "SELECT contact_id, model_id, value, next_change_on FROM score ORDER BY contact_id, model_id"
    )
    return tallies, scores


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=sheets, second=sheets, edited=sheets, seed=st.integers(0, 2**32))
async def test_scores_are_the_judges_whatever_the_order_batches_duplicates_and_rule_edits(
    world: World,
    first: list[reference.Rule],
    second: list[reference.Rule],
    edited: list[reference.Rule],
    seed: int,
) -> None:
    await world.clear()
    random = Random(seed)
    parts = batches(random, happenings(random, 30, TODAY))
    edits = sorted(random.choices(range(len(parts) + 1), k=3))
    publications = [("m", first), ("n", second), ("m", edited)]
    for place in range(len(parts) + 1):
        for (key, rules), when in zip(publications, edits, strict=True):
            if when == place:
                job = await world.begin_publish(key, rules)
                if parts[place:] and random.random() < 0.5:
                    await world.send(*parts[place])
                await world.run(job)
        if parts[place:]:
            await world.send(*parts[place])
        if random.random() < 0.2:
            known = await world.rows("SELECT id FROM contact")
            if known:
                stage, tags = random.choice([None, "MQL", "x"]), random.choice([(), ("vip",)])
                await world.change(random.choice(known)["id"], stage=stage, tags=tags)
    models = {"m": edited, "n": second}

    kept = await stored(world)
    for key, rules in models.items():
        assert await world.judged(rules) == await world.scores(key)
    assert kept == await from_nothing(world)
    await contributions_sum_to_the_scores(world)

    for day in sorted(random.sample(range(1, 16), k=4)):
        world.go_to(NOON + day * DAY)
        await only_the_due_are_swept(world)
        for key, rules in models.items():
            assert await world.judged(rules) == await world.scores(key)
        await world.send(*happenings(random, 2, world.now.date(), begin=100 * day))
        for key, rules in models.items():
            assert await world.judged(rules) == await world.scores(key)


async def contributions_sum_to_the_scores(world: World) -> None:
    contacts = [row["id"] for row in await world.rows("SELECT id FROM contact")]
    sums: Counter[tuple[UUID, str]] = Counter()
    for one in await explained(world, contacts):
        sums[one.contact_id, one.model.key] += one.points
    for key in ("m", "n"):
        for contact, value in (await world.scores(key)).items():
            assert value == sums[contact, key]


async def only_the_due_are_swept(world: World) -> None:
    due = {
        row["contact_id"]
        for row in await world.rows("SELECT contact_id FROM score WHERE next_change_on <= $1", world.now.date())
    }
    query = "SELECT * FROM score WHERE NOT contact_id = ANY($1) ORDER BY contact_id, model_id"
    others = await world.rows(query, list(due))

    assert len(due) == await world.sweep()
    assert others == await world.rows(query, list(due))
