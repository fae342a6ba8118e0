"""The past, what is made up, and what is to come: by the one formula, so what the judge says of them."""

import os
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings

from app.engine import preview, publish, replay
from app.engine.explain import Explanation
from app.engine.replay import MadeUp
from app.errors import Conflict, NotFound
from app.store.db import Database
from tests.engine import reference
from tests.engine.reference import Adjustment, Case, Event, Sheet
from tests.engine.strategies import (
    CONTACT_PROPERTIES,
    Made,
    Teller,
    a_test,
    deployment,
    happened,
    hours,
    seeds,
    sending,
    sheet,
    step,
    unshrunk,
)
from tests.engine.worlds import NOON, TODAY, Deployment, World, at, event, judged, per_event, points_of_rules, shown

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
often = settings(
    max_examples=int(os.environ.get("N", "6")),
    deadline=None,
    phases=unshrunk,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def decimals(*numbers: int) -> tuple[Decimal, ...]:
    return tuple(map(Decimal, numbers))


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


async def then(
    world: World, contact: UUID, moment: datetime, key: str = "m", *, rules_of_then: bool = False
) -> Explanation:
    async with world.database.batch() as db:
        plan = await world.plans.hold(db)
        return await replay.as_of(db, plan, contact, key, moment, rules_of_then=rules_of_then)


# --- the past ---------------------------------------------------------------------------------------------------------


async def test_what_was_told_late_counts_from_when_it_occurred_and_what_was_told_early_on_its_day(world: World) -> None:
    await world.publish("m", per_event("a", 1))
    world.go_to(NOON - 5 * DAY)
    await world.send(event("x"), event("a", when=NOON - 3 * DAY), event("a", when=at("2026-05-10 23:00:00")))
    world.go_to(NOON)
    await world.send(event("a", when=NOON - 4 * DAY))
    contact = await world.contact()

    moments = ["2026-05-10 12:00", "2026-05-11 11:59", "2026-05-11 12:00", "2026-05-12 00:00"]
    found = [(await then(world, contact, at(moment))).value for moment in moments]

    assert [1, 1, 2, 3] == found


async def test_the_contact_is_as_it_was(world: World) -> None:
    world.go_to(NOON - 5 * DAY)
    await world.publish("m", reference.Rule("profile", a_test("contact.stage", "=", "mql"), Decimal(1)))
    await world.send(event("x"))
    contact = await world.contact()
    await world.change(contact, now=NOON - 3 * DAY, stage="mql")
    await world.change(contact, now=NOON - 1 * DAY, stage=None)
    world.go_to(NOON)

    found = [(await then(world, contact, NOON - 5 * DAY + n * DAY)).value for n in range(6)]

    assert [0, 0, 1, 1, 0, 0] == found


async def test_a_contact_was_not_there_before_it_was_made(world: World) -> None:
    await world.publish("m", per_event("a", 1))
    await world.send(event("a"))

    with pytest.raises(NotFound, match="no such contact"):
        await then(world, await world.contact(), NOON - HOUR)


async def test_adjustments_are_those_that_were_in_force(world: World) -> None:
    world.go_to(NOON - 4 * DAY)
    await world.publish("m", per_event("a", 1))
    await world.send(event("a", when=world.now))
    contact = await world.contact()
    made = await world.adjust(contact, "override", points=50)
    world.go_to(NOON - 3 * DAY)
    await world.adjust(contact, "override", points=20, ends_on=TODAY - DAY)
    await world.adjust(contact, "points", points=5)
    world.go_to(NOON - 1 * DAY)
    await world.adjust(contact, "reset", from_day=TODAY - 2 * DAY)
    world.go_to(NOON)

    found = [(await then(world, contact, NOON - 4 * DAY + n * DAY)) for n in range(5)]

    expected = [(50, 1), (20, 6), (20, 6), (0, 0), (0, 0)]
    assert [(Decimal(a), Decimal(b)) for a, b in expected] == [(one.value, one.computed) for one in found]
    assert made == found[0].override_id


async def test_rules_of_then_are_the_versions_that_counted_then_and_their_bands(world: World) -> None:
    world.go_to(NOON - 6 * DAY)
    await world.send(event("x", when=world.now))
    world.go_to(NOON - 4 * DAY)
    await world.publish_sheet("fit", Sheet([per_event("a", 1)], bands=[{"name": "any", "min": 1}]))
    await world.publish("m", reference.Rule("profile", a_test("contact.band.fit", "=", "any"), Decimal(10)))
    await world.send(event("a", when=world.now))
    contact = await world.contact()
    world.go_to(NOON - 2 * DAY)
    await world.publish_sheet("fit", Sheet([per_event("a", 7)], bands=[{"name": "any", "min": 8}]))
    world.go_to(NOON)
    before, after = NOON - 3 * DAY, NOON - 1 * DAY

    async def found(key: str, moment: datetime, *, rules_of_then: bool) -> Decimal | None:
        return (await then(world, contact, moment, key, rules_of_then=rules_of_then)).value

    assert decimals(1, 10) == (
        await found("fit", before, rules_of_then=True),
        await found("m", before, rules_of_then=True),
    )
    assert decimals(7, 0) == (
        await found("fit", before, rules_of_then=False),
        await found("m", before, rules_of_then=False),
    )
    assert decimals(7, 0) == (
        await found("fit", after, rules_of_then=True),
        await found("m", after, rules_of_then=True),
    )
    with pytest.raises(NotFound, match="no scoring model"):
        await found("m", NOON - 5 * DAY, rules_of_then=True)


class Ledger:
    """What contacts and models were, and since when."""

    def __init__(self, teller: Teller) -> None:
        self.teller = teller
        self.people: list[tuple[datetime, dict[UUID, Any]]] = []  # Any: a contact in JSON
        self.models: list[tuple[datetime, dict[str, Sheet]]] = []

    async def note(self) -> None:
        world = self.teller.world
        rows = await world.rows("SELECT * FROM contact")
        self.people.append((world.now, {row["id"]: shown(row) for row in rows}))
        self.models.append((world.now, dict(self.teller.deployment.models)))

    async def case(self, contact: UUID, moment: datetime, *, rules_of_then: bool) -> Case | None:
        """What the judge is told of a moment: nothing that was not so then, and no event that was not known or past."""
        people = [said for since, said in self.people if since <= moment]
        if not people or contact not in people[-1]:
            return None
        deployment, world = self.teller.deployment, self.teller.world
        models = [said for since, said in self.models if since <= moment][-1]
        return Case(
            contact=people[-1][contact],
            events=[one for one in await world.events(contact) if min(one.occurred_at, one.received_at) <= moment],
            adjustments=[one for one in await world.adjustments(contact) if one.created_at <= moment],
            models=models if rules_of_then else deployment.models,
            segments=deployment.segments,
            measures=deployment.measures,
            types=deployment.types,
        )


@often
@given(seed=seeds)
async def test_a_past_moment_is_what_the_judge_says_of_what_was_known_then(world: World, seed: int) -> None:
    random, teller = Random(seed), Teller(world)
    ledger = Ledger(teller)
    await world.clear()
    world.go_to(NOON - 6 * DAY)
    made = deployment(random)
    await teller.send(sending(random, 10, 30))
    for one in made:
        await teller.make(one)
    await ledger.note()
    for _ in range(random.randint(8, 14)):
        world.go_to(world.now + hours(random))
        if random.random() < 0.2:
            await say_otherwise(teller, made, random)
        else:
            await teller.happen(step(random))
        await ledger.note()
    world.go_to(world.now + DAY)

    contacts = [row["id"] for row in await world.rows("SELECT id FROM contact ORDER BY id")]
    # Not on the hour, when all happens: a version counts from when its job has run.
    moments = [since + pause for since, _ in ledger.people for pause in (HOUR / 2, 35 * HOUR / 2)]
    for number in range(16):
        contact, moment = random.choice(contacts), random.choice(moments)
        key = random.choice(list(teller.deployment.models))
        rules_of_then = number % 2 == 0
        case = await ledger.case(contact, moment, rules_of_then=rules_of_then)
        if case is None or key not in case.models:
            with pytest.raises(NotFound):
                await then(world, contact, moment, key, rules_of_then=rules_of_then)
        else:
            found = await then(world, contact, moment, key, rules_of_then=rules_of_then)
            agree(found, case, key, moment)


async def say_otherwise(teller: Teller, made: list[Made], random: Random) -> None:
    """A model that counts is published with other rules, and may still name only what was made before it."""
    known = Deployment()
    place = random.choice([place for place, one in enumerate(made) if one.kind == "model"])
    for one in made[:place]:
        where: dict[str, dict[str, Any]] = {  # Any: what each kind says
            "type": known.types,
            "measure": known.measures,
            "segment": known.segments,
            "model": known.models,
        }
        where[one.kind][one.key] = teller.deployment.models[one.key] if one.kind == "model" else one.said
    try:
        await teller.make(made[place]._replace(said=sheet(random, known)))
    except Conflict as refused:
        # A side of a grid cannot lose its bands.
        assert "grid" in str(refused)  # noqa: PT017 - anything else is a fault of ours


def agree(found: Explanation, case: Case, key: str, moment: datetime) -> None:
    """An explanation is what the judge says of the case at a moment, rule by rule."""
    expected = judged(case, key, moment)
    computed = reference.computed(case, key, moment.date(), moment)
    said = case.models[key]
    each = reference.contributions(case, key, moment.date(), moment)
    told = [
        f"{key} at {moment}: found {found.value} (computed {found.computed}), judged {expected.value} ({computed})",
        *(
            f"  rule {n}: given {points_of_rules(found).get(n, 0)}, judged {one}; {rule}"
            for n, (rule, one) in enumerate(each)
        ),
        *(f"  by hand: {one}" for one in case.adjustments),
        *(f"  happened: {one}" for one in sorted(case.events, key=lambda one: one.occurred_at)),
        f"  contact: {case.contact}",
        f"  sheet: {said}",
    ]
    assert (expected.value, computed) == (found.value, found.computed), "\n".join(told)
    if computed is not None:
        parts = [one.points for one in found.contributions] + [cut.points for cut in found.cuts]
        assert computed == sum(parts, Decimal(0)), "\n".join(told)
    if said.combine is None:
        given = points_of_rules(found)
        assert [] == [n for n, (_, points) in enumerate(each) if given.get(n, 0) != points], "\n".join(told)


# --- what is made up --------------------------------------------------------------------------------------------------

NEVER = a_test("contact.stage", "=", "nobody is in this stage")


async def tried(world: World, key: str, made_up: MadeUp, moment: datetime = NOON) -> Explanation:
    """By the draft."""
    async with world.database.batch() as db:
        plan = await world.plans.hold(db)
        model, _ = await publish.drafted(db, key)
        return await replay.attempt(db, plan, model, made_up, moment)


async def test_a_contact_that_is_made_up_was_made_just_now_and_its_events_happen_now_unless_said(world: World) -> None:
    await world.draft(
        "m",
        [
            per_event("a", 1, window=1),
            reference.Rule("absence", a_test("event.type", "=", "b"), Decimal(-1), after_days=1),
        ],
    )
    said: list[dict[str, Any]] = [
        {"type": "a", "occurred_at": None},
        {"type": "A"},
        {"type": "a", "occurred_at": "2026-05-14T12:00:00Z"},
    ]

    found = await tried(world, "m", MadeUp(contact={}, events=said, scores={}))
    older = await tried(world, "m", MadeUp(contact={"created_at": "2026-05-12T12:00:00Z"}, events=said, scores={}))

    assert decimals(2, 1) == (found.value, older.value)


@often
@given(seed=seeds)
async def test_what_is_tried_is_what_the_judge_says_of_the_same_contact_events_and_scores(
    world: World, seed: int
) -> None:
    random, teller = Random(seed), Teller(world)
    await world.clear()
    made = deployment(random)
    for one in made[:-1]:
        await teller.make(one)
    key, said = made[-1].key, made[-1].said
    await world.draft(key, said)

    for _ in range(6):
        scores = {
            other: Decimal(random.randint(-3000, 3000)).scaleb(-2)
            for other in teller.deployment.models
            if random.random() < 0.7
        }
        contact, events = person(random), [posted(random) for _ in range(random.randint(0, 12))]
        found = await tried(world, key, MadeUp(contact, events, scores))
        agree(found, made_up_case(contact, events, scores, teller.deployment, (key, said)), key, NOON)


def person(random: Random) -> dict[str, Any]:  # Any: JSON
    """A contact as a caller gives one."""
    properties: dict[str, Any] = {}  # Any: JSON
    for one in random.sample(CONTACT_PROPERTIES, 3):
        properties |= one
    return {
        "email": random.choice([None, "ada@example.com", "ada@example.org"]),
        "stage": random.choice([None, "MQL", "x"]),
        "tags": random.choice([[], ["vip"], ["a", "Vip"]]),
        "properties": properties,
        "opted_out": random.choice([True, False]),
        "bounce_status": random.choice(["none", "soft", "hard"]),
        "created_at": random.choice([None, "2026-05-15T00:00:00Z", "2026-05-03T12:00:00+02:00"]),
    }


def posted(random: Random) -> dict[str, Any]:  # Any: JSON
    one = happened(random)
    when = random.choice([None, at(f"{TODAY + one.days * DAY} {one.time}").isoformat()])
    return {"type": one.type, "source": one.source, "occurred_at": when, "properties": one.properties}


def made_up_case(
    contact: dict[str, Any],  # Any: JSON
    events: list[dict[str, Any]],  # Any: JSON
    scores: dict[str, Decimal],
    deployment: Deployment,
    model: tuple[str, Sheet],
) -> Case:
    """To the judge, a score that is given is one by hand, and who has none is in nobody's audience."""
    others = {key: one if key in scores else replace(one, audience=NEVER) for key, one in deployment.models.items()}
    return Case(
        contact={**contact, "created_at": contact["created_at"] or NOON.isoformat()},
        events=[
            Event(
                one["type"],
                one["source"],
                NOON if one["occurred_at"] is None else datetime.fromisoformat(one["occurred_at"]),
                NOON,
                one["properties"],
            )
            for one in events
        ],
        adjustments=[Adjustment("override", key, points, None, NOON) for key, points in scores.items()],
        models={**others, model[0]: model[1]},
        segments=deployment.segments,
        measures=deployment.measures,
        types=deployment.types,
    )


# --- what a draft would change ----------------------------------------------------------------------------------------


@often
@given(seed=seeds)
async def test_a_preview_says_what_publishing_makes_of_everybody_and_changes_nothing(world: World, seed: int) -> None:
    random, teller = Random(seed), Teller(world)
    await world.clear()
    world.go_to(NOON - 2 * DAY)
    made = deployment(random)
    await teller.send(sending(random, 10, 40))
    for one in made:
        await teller.make(one)
    for _ in range(random.randint(2, 8)):
        world.go_to(world.now + hours(random))
        await teller.happen(step(random))
    await world.sweep()
    key = random.choice([made[-1].key, "new"])
    known = replace(teller.deployment, models={n: m for n, m in teller.deployment.models.items() if n != key})
    await world.draft(key, sheet(random, known))

    before = await everything(world)
    async with world.database.batch() as db:
        job = await preview.ask(db, key, world.now)
    await world.run(job)
    assert before == await everything(world)

    foreseen = await world.rows("SELECT contact_id, was, becomes FROM preview_score WHERE job_id = $1", job)
    was = await world.scores(key)
    assert {one["contact_id"]: one["was"] for one in foreseen if one["was"] is not None} == {
        contact: value for contact, value in was.items() if value is not None
    }
    await world.begin_publish(key)
    await world.work()
    assert {one["contact_id"]: one["becomes"] for one in foreseen} == await world.scores(key)


async def everything(world: World) -> dict[str, list[str]]:
    """All rows of all tables, but of those that hold previews and jobs."""
    tables = await world.rows(
        """
        SELECT table_name AS name FROM information_schema.tables
        WHERE table_schema = 'public' AND table_name NOT LIKE 'pgqueuer%'
          AND table_name NOT IN ('job', 'preview_score') ORDER BY 1
        """
    )
    return {
        table["name"]: [
            row["row"] for row in await world.rows(f"SELECT t::text AS row FROM {table['name']} t ORDER BY 1")
        ]
        for table in tables
    }
