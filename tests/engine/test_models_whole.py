"""Scores in all that docs/scoring.md lets a model say: what is stored is what the judge says, now and day by day."""

import os
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings

from app.engine import declared, publish, replay
from app.engine.explain import Explanation
from app.engine.fields import FieldType
from app.engine.replay import Change
from app.errors import Conflict
from app.store.db import Database
from tests.engine import reference
from tests.engine.reference import Measure, Sheet
from tests.engine.strategies import Teller, a_test, deployment, hours, seeds, sending, step, unshrunk
from tests.engine.worlds import NOON, TODAY, Deployment, World, event, is_type, judged, points_of_rules

DAY = timedelta(days=1)
DAYS = 9
"""As many days as pass without anything coming in: longer than any window, decay or end that is drawn."""


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


ALWAYS = reference.Rule("profile", None, Decimal(1))
IS_A = is_type("a")


def on_event(points: str | int = 1, type_: str = "a", **said: Any) -> reference.Rule:  # Any: as in Rule
    return reference.Rule("event", is_type(type_), Decimal(points), **said)


def silence(points: str | int, **said: Any) -> reference.Rule:  # Any: as in Rule
    return reference.Rule("absence", IS_A, Decimal(points), **said)


def per_unit(field: str, points: str | int = 1, **said: Any) -> reference.Rule:  # Any: as in Rule and per_unit_of
    bounds = {name: said.pop(name) for name in ("min", "max") if name in said}
    return reference.Rule("profile", None, Decimal(points), per_unit_of={"field": field, **bounds}, **said)


def bands(**least: Any) -> list[dict[str, Any]]:  # Any: JSON
    """Each name and where it begins."""
    return [{"name": name, "min": edge} for name, edge in least.items()]


async def daily(world: World, days: int, key: str = "m") -> list[Decimal | None]:
    """The score of today and of the days to come, by nothing but sweeps."""
    found = [await world.score(key=key)]
    for _ in range(days):
        world.go_to(world.now + DAY)
        await world.sweep()
        found.append(await world.score(key=key))
    return found


# --- events -----------------------------------------------------------------------------------------------------------


async def test_values_are_told_apart_before_a_day_is_limited_and_a_day_before_the_number(world: World) -> None:
    await world.publish("m", on_event(distinct_by="event.properties.path", max_per_day=2, max_count=3))

    yesterday = [event("a", when=NOON - DAY, path=path) for path in ("/a", "/b", "/d", "/e")]
    await world.send(*(event("a", path=path) for path in ("/a", "/A", "/b", "/c")), *yesterday)

    assert 3 == await world.score()
    assert [3, 3, 3] == await daily(world, 2)


async def test_the_newest_of_a_limited_number_count_so_that_decay_takes_least(world: World) -> None:
    steps = {"steps": [{"after_days": 1, "percent": 50}, {"after_days": 3, "percent": 0}]}
    await world.publish("m", on_event(10, max_count=2, decay=steps))

    await world.send(event("a"), event("a", when=NOON - DAY), event("a", when=NOON - DAY))

    assert [15, 10, 5, 0] == await daily(world, 3)


async def test_a_value_counts_on_the_newest_day_on_which_it_came_and_comes_again_when_its_day_is_there(
    world: World,
) -> None:
    await world.publish("m", on_event(4, distinct_by="event.source", window_days=2))

    await world.send(event("a", when=NOON - DAY), event("a", when=NOON + 2 * DAY))

    assert [4, 0, 4, 4, 0] == await daily(world, 4)


@pytest.mark.parametrize("values", [("5", 5, "5"), (True, "TRUE", "true"), ("Ärger", "ärger", "ÄRGER")])
async def test_text_compares_without_case_and_a_number_as_it_is_written_out(world: World, values: Any) -> None:
    await world.publish("m", on_event(distinct_by="event.properties.x"))

    await world.send(*(event("a", x=value) for value in values), event("a", x=[1]), event("a", x=None), event("a"))

    assert 1 == await world.score()


async def test_enough_events_give_their_points_once_at_the_age_of_the_newest(world: World) -> None:
    steps = {"steps": [{"after_days": 2, "percent": 50}, {"after_days": 3, "percent": 80}]}
    await world.publish("m", on_event(10, at_least=2, decay=steps, window_days=5))

    await world.send(event("a", when=NOON - DAY), event("a"))

    assert [10, 10, 5, 8, 0] == await daily(world, 4)


async def test_a_half_life_falls_in_steps_and_ends_below_a_hundredth(world: World) -> None:
    await world.publish("m", on_event(1000, decay={"half_life_days": 1, "every_days": 2}))

    await world.send(event("a"))

    expected = [1000, 1000, 250, 250, Decimal("62.5"), Decimal("62.5"), Decimal("15.6"), Decimal("15.6"), 0]
    assert expected == await daily(world, 8)


async def test_a_rule_may_look_further_back_than_its_model(world: World) -> None:
    rules = [on_event(1), on_event(10, window_days="unlimited"), on_event(100, window_days=3)]
    await world.publish_sheet("m", Sheet(rules, window_days=2))

    await world.send(event("a"))

    assert [111, 111, 110, 10] == await daily(world, 3)


async def test_a_rules_points_are_rounded_half_away_from_nought_before_they_are_limited(world: World) -> None:
    steps = {"steps": [{"after_days": 1, "percent": 50}]}
    await world.publish_sheet("m", Sheet([on_event("-0.01", decay=steps)]))

    await world.send(event("a", when=NOON - DAY))

    assert Decimal("-0.01") == await world.score()


# --- silence ----------------------------------------------------------------------------------------------------------


async def test_a_silence_begins_with_the_contact_and_again_with_each_event(world: World) -> None:
    await world.publish("m", silence(-1, after_days=2, max_times=None))

    await world.send(event("b"), event("a", when=NOON + 5 * DAY))

    assert [0, 0, -1, -1, -2, 0, 0, -1] == await daily(world, 7)


async def test_a_silence_counts_as_often_as_it_may(world: World) -> None:
    await world.publish("m", silence(-1, after_days=1, max_times=2))

    await world.send(event("b"))

    assert [0, -1, -2, -2] == await daily(world, 3)


async def test_a_silence_does_not_begin_before_the_day_of_a_reset(world: World) -> None:
    await world.publish("m", silence(-1, after_days=1, max_times=None))
    await world.send(event("a", when=NOON - 5 * DAY))
    world.go_to(NOON)

    await world.adjust(await world.contact(), "reset", "m")

    assert [0, 0, -1, -2] == await daily(world, 3)


# --- what a contact is ------------------------------------------------------------------------------------------------


async def test_a_model_that_gives_everybody_the_same_is_a_model(world: World) -> None:
    await world.publish("m", ALWAYS)

    await world.send(event("a"))

    assert 1 == await world.score()


@pytest.mark.parametrize(
    ("employees", "expected"),
    [(3, "1.5"), (1, "1"), (500, "5"), (-7, "1"), ("3", "0"), (None, "0"), (2.01, "1.01"), (True, "0")],
)
async def test_a_number_is_held_within_its_bounds_and_what_is_none_gives_nothing(
    world: World, employees: Any, expected: str
) -> None:
    await world.publish("m", per_unit("contact.properties.employees", "0.5", min=2, max=10))
    await world.send(event("a"))

    await world.change(await world.contact(), properties={"employees": employees})

    assert Decimal(expected) == await world.score()


async def test_points_for_each_day_of_silence_grow_daily(world: World) -> None:
    await world.publish("m", per_unit("contact.days_inactive", "-0.3333", max_points=Decimal(1)))

    await world.send(event("a"))

    assert [0, Decimal("-0.33"), Decimal("-0.67"), -1, -1] == await daily(world, 4)


async def test_a_measure_moves_what_looks_at_it_when_an_event_leaves_its_window(world: World) -> None:
    await world.send(event("a", amount=30), event("a", when=NOON - DAY, amount="70"))
    await world.measure("spent", Measure(IS_A, "sum", "event.properties.amount", 3))
    await world.segment("buyers", a_test("contact.measures.spent", ">", 0))
    inside = a_test("contact.segments", "contains", "buyers")
    await world.publish_sheet("m", Sheet([per_unit("contact.measures.spent", "0.1"), ALWAYS], audience=inside))

    await world.send(event("a", when=NOON + DAY, amount=0.5), event("a", when=NOON, amount=True))

    assert [4, Decimal("4.05"), Decimal("4.05"), Decimal("1.05"), None] == await daily(world, 4)


async def test_a_segment_inside_a_segment_moves_with_the_days(world: World) -> None:
    await world.segment("quiet", a_test("contact.days_inactive", ">=", 2))
    await world.segment("loud", a_test("contact.segments", "!=", "quiet"))
    await world.publish_sheet("m", Sheet([on_event(5)], audience=a_test("contact.segments", "=", "loud")))

    await world.send(event("a"))

    assert [5, 5, None] == await daily(world, 2)


async def test_a_segment_that_is_changed_moves_all_who_look_at_it_by_whatever_way(world: World) -> None:
    await world.segment("some", a_test("contact.stage", "=", "mql"))
    await world.publish_sheet("fit", Sheet([ALWAYS], audience=a_test("contact.segments", "=", "some")))
    await world.publish("m", reference.Rule("profile", a_test("contact.score.fit", ">", 0), Decimal(7)))
    await world.send(event("a"))
    assert 0 == await world.score()

    await world.segment("some", a_test("contact.stage", "null"))

    assert 7 == await world.score()


# --- models of models -------------------------------------------------------------------------------------------------


async def test_a_score_that_moves_by_itself_moves_those_that_look_at_it_on_the_same_day(world: World) -> None:
    await world.publish_sheet("fit", Sheet([on_event(10, window_days=2)], bands=bands(cold=None, hot=5)))
    await world.publish("warm", reference.Rule("profile", a_test("contact.band.fit", "=", "HOT"), Decimal(3)))
    await world.publish("m", per_unit("contact.score.warm", 2))

    await world.send(event("a"))

    assert [6, 6, 0] == await daily(world, 2)


async def test_each_part_of_a_sum_is_rounded_and_one_without_a_value_adds_nothing(world: World) -> None:
    nobody = a_test("contact.stage", "=", "nobody")
    await world.publish("fit", reference.Rule("profile", None, Decimal("0.03")))
    await world.publish("fun", reference.Rule("profile", None, Decimal("0.03")))
    await world.publish_sheet("none", Sheet([ALWAYS], audience=nobody))
    parts = [{"model": "fit", "weight": "0.5"}, {"model": "fun", "weight": "0.5"}, {"model": "none", "weight": 9}]
    await world.publish_sheet("m", Sheet(combine={"sum": parts}, max=Decimal(5)))

    await world.send(event("a"))

    assert Decimal("0.04") == await world.score()


@pytest.mark.parametrize(
    ("fit", "fun", "cell"), [(9, 9, 6), (9, 1, 5), (9, -1, 4), (1, 9, 3), (1, 0, 2), (1, -9, 1), (-1, 9, None)]
)
async def test_a_grids_value_is_the_cells_place_from_the_bottom_and_its_first_cell_is_the_greatest(
    world: World, fit: int, fun: int, cell: int | None
) -> None:
    await world.publish_sheet("fit", Sheet([per_unit("contact.properties.fit")], bands=bands(low=0, high=5)))
    await world.publish_sheet("fun", Sheet([per_unit("contact.properties.fun")], bands=bands(a=None, b=0, c=5)))
    await world.publish_sheet("m", Sheet(combine={"grid": {"rows": "fit", "columns": "fun"}}))
    await world.publish("n", reference.Rule("profile", a_test("contact.band.m", "in", "A1, A2"), Decimal(1)))
    await world.send(event("x"))

    await world.change(await world.contact(), properties={"fit": fit, "fun": fun})

    assert cell == await world.score()
    assert int(cell in (5, 6)) == await world.score(key="n")


async def test_a_group_is_held_within_its_limit_before_all_is_added_up_and_that_before_the_models_bounds(
    world: World,
) -> None:
    rules = [on_event(30, group="mail"), on_event(-50, "b", group="mail"), on_event(9, "c"), silence(-1, after_days=1)]
    sheet = Sheet(rules, min=Decimal(-12), max=Decimal(15), groups=[{"name": "mail", "max_points": 20}])
    await world.publish_sheet("m", sheet)

    await world.send(event("a"), event("c"))
    assert 15 == await world.score()
    await world.send(event("b"), event("b"))
    assert -11 == await world.score()
    assert [-11, -12] == await daily(world, 1)


def looks_at(key: str) -> reference.Rule:
    return reference.Rule("profile", a_test(f"contact.score.{key}", ">", 0), Decimal(1))


async def test_a_model_may_not_come_to_depend_on_itself_by_a_version_that_waits(world: World) -> None:
    await world.publish("m", ALWAYS)
    await world.publish("n", ALWAYS)
    await world.begin_publish("m", [looks_at("n")])
    await world.draft("m", [ALWAYS])

    with pytest.raises(Conflict, match="'n' would depend on itself"):
        await world.begin_publish("n", [looks_at("m")])


async def test_a_model_is_needed_by_a_version_that_waits(world: World) -> None:
    await world.publish("fit", ALWAYS)
    await world.begin_publish("m", [looks_at("fit")])

    for end in (publish.archive, publish.delete):
        with pytest.raises(Conflict, match="m depends on its scores"):
            async with world.database.batch() as db:
                await end(db, "fit", world.now)


async def test_a_segment_that_counts_may_name_no_score_that_nobody_computes(world: World) -> None:
    await world.publish("fit", ALWAYS)
    await world.segment("some", a_test("contact.stage", "null"))
    await world.publish_sheet("m", Sheet([ALWAYS], audience=a_test("contact.segments", "=", "some")))
    async with world.database.batch() as db:
        await publish.archive(db, "fit", world.now)

    with pytest.raises(Conflict, match="nobody computes the scores of 'fit'"):
        await world.segment("some", a_test("contact.score.fit", ">", 0))


async def test_measures_with_the_longest_keys_are_told_apart(world: World) -> None:
    rules = []
    for end, points in (("a", 1), ("b", 10)):
        await world.measure("n" * 62 + end, Measure(is_type(end), "count"))
        rules.append(per_unit("contact.measures." + "n" * 62 + end, points))
    await world.publish("m", *rules)

    await world.send(event("a"), event("b"), event("b"))

    assert 21 == await world.score()


# --- when a version counts --------------------------------------------------------------------------------------------


async def test_a_version_counts_though_another_was_published_for_a_later_day(world: World) -> None:
    await world.send(event("a"))
    await world.publish("m", on_event(1))
    now = await world.begin_publish("m", [on_event(5)])
    later = await world.begin_publish("m", [on_event(9)], starts_at=NOON + 7 * DAY)

    await world.run(now)
    assert 5 == await world.score()
    world.go_to(NOON + 7 * DAY)
    await world.run(later)
    assert 9 == await world.score()


async def test_a_version_published_before_one_that_waits_takes_its_place(world: World) -> None:
    await world.send(event("a"))
    later = await world.begin_publish("m", [on_event(9)], starts_at=NOON + 7 * DAY)
    await world.publish("m", on_event(5))

    world.go_to(NOON + 7 * DAY)
    await world.run(later)

    assert 5 == await world.score()


async def test_the_proof_looks_at_a_model_of_which_another_version_waits_for_its_day(world: World) -> None:
    await world.send(event("a"))
    await world.publish("m", on_event(1))
    await world.begin_publish("m", [on_event(9)], starts_at=NOON + 7 * DAY)
    await world.execute("UPDATE score SET value = 2")

    report = await world.verified()

    assert ([], 1) == (report.busy, report.count)


async def test_the_proof_waits_for_a_property_whose_values_are_being_read_as_another_type(world: World) -> None:
    await world.publish("m", reference.Rule("profile", a_test("contact.properties.plan", "=", "7"), Decimal(1)))
    await world.send(event("a"))
    await world.change(await world.contact(), properties={"plan": 7})

    async with world.database.batch() as db:
        await declared.declare(db, "plan", FieldType.TEXT, world.now)
    waiting = await world.verified()
    await world.work()
    done = await world.verified()

    assert (["m"], 0) == (waiting.busy, waiting.count)
    assert ([], 0) == (done.busy, done.count)
    assert 1 == await world.score()


async def test_a_version_that_waited_when_its_model_was_archived_never_counts(world: World) -> None:
    await world.send(event("a"))
    waiting = await world.begin_publish("m", [on_event(1)])
    async with world.database.batch() as db:
        await publish.archive(db, "m", world.now)
    async with world.database.batch() as db:
        await publish.unarchive(db, "m")

    await world.work()

    assert {} == await world.worths()
    assert "failed" == await world.value("SELECT status FROM job WHERE id = $1", waiting)
    await world.publish("m", on_event(1))
    assert 1 == await world.score()


# --- by hand ----------------------------------------------------------------------------------------------------------


async def test_a_reset_holds_until_its_end(world: World) -> None:
    await world.publish("m", on_event(5))
    await world.publish("n", on_event(1))
    await world.send(event("a"))

    await world.adjust(await world.contact(), "reset", None, ends_on=TODAY + 2 * DAY)

    assert [0, 0, 5] == await daily(world, 2)
    assert 1 == await world.score(key="n")


async def test_a_reset_without_a_day_begins_tomorrow_and_takes_todays_events_and_points_along(world: World) -> None:
    await world.publish("m", on_event(5))
    await world.publish("n", on_event(5))
    await world.send(event("a"), event("a", when=NOON + DAY))
    contact = await world.contact()
    await world.adjust(contact, "points", "m", 100)

    reset = await world.adjust(contact, "reset", "m")
    await world.adjust(contact, "points", "m", 30)
    assert (Decimal(0), Decimal(5)) == (await world.score(), await world.score(key="n"))

    world.go_to(NOON + DAY)
    await world.sweep()
    await world.adjust(contact, "points", "m", 2)
    assert 7 == await world.score()
    await world.revoke(contact, reset)
    assert 142 == await world.score()


async def test_of_several_resets_the_latest_day_decides(world: World) -> None:
    await world.publish("m", on_event(1))
    await world.send(*(event("a", when=NOON - days * DAY) for days in range(6)))
    contact = await world.contact()

    await world.adjust(contact, "reset", "m", from_day=TODAY - DAY, ends_on=TODAY + 2 * DAY)
    await world.adjust(contact, "reset", None, from_day=TODAY - 3 * DAY)
    await world.adjust(contact, "reset", "m", from_day=TODAY - 4 * DAY)

    assert [2, 2, 4] == await daily(world, 2)


async def test_an_override_stands_in_for_whoever_looks_and_what_the_rules_say_is_kept_beside_it(world: World) -> None:
    await world.publish("fit", on_event(10, window_days=2))
    await world.publish("m", per_unit("contact.score.fit", 2))
    await world.send(event("a"))

    await world.adjust(await world.contact(), "override", "fit", 7, ends_on=TODAY + 3 * DAY)

    kept = []
    for _ in range(4):
        kept.append(await world.value("SELECT computed FROM score WHERE computed IS NOT NULL"))
        world.go_to(world.now + DAY)
        await world.sweep()
    world.go_to(NOON)
    assert [10, 10, 0, None] == kept
    assert (Decimal(0), Decimal(0)) == (await world.score(key="fit"), await world.score())


async def test_an_override_is_the_score_of_who_has_none(world: World) -> None:
    await world.publish_sheet("m", Sheet([ALWAYS], audience=a_test("contact.stage", "=", "nobody")))
    await world.send(event("a"))
    assert await world.score() is None

    await world.adjust(await world.contact(), "override", "m", 0, ends_on=TODAY + DAY)

    assert [0, None] == await daily(world, 1)


async def test_an_override_ends_the_one_before_even_when_it_has_ended_itself(world: World) -> None:
    await world.publish("m", on_event(1))
    await world.send(event("a"))
    contact = await world.contact()
    await world.adjust(contact, "override", "m", 50)

    world.go_to(NOON + timedelta(hours=1))
    await world.adjust(contact, "override", "m", 20, ends_on=TODAY + DAY)

    assert [20, 1] == await daily(world, 1)


async def test_of_two_overrides_of_merged_contacts_the_later_one_stands(world: World) -> None:
    await world.publish("m", on_event(1))
    await world.send(event("a"), event("a", "bob@example.com"))
    ada, bob = await world.contact(), await world.contact("bob@example.com")
    await world.adjust(ada, "override", "m", 50)
    world.go_to(NOON + timedelta(hours=1))
    later = await world.adjust(bob, "override", "m", 20, ends_on=TODAY + 3 * DAY)

    await world.merge(ada, bob)

    assert [20, 20] == await daily(world, 1)
    await world.revoke(ada, later)
    assert 2 == await world.score()


# --- whatever is said and whatever happens ----------------------------------------------------------------------------


@settings(
    max_examples=int(os.environ.get("N", "10")),
    deadline=None,
    phases=unshrunk,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=seeds)
async def test_scores_are_the_judges_now_and_on_every_day_to_come(world: World, seed: int) -> None:
    random, teller = Random(seed), Teller(world)
    await world.clear()
    world.go_to(NOON - 2 * DAY)
    made = deployment(random)
    await teller.send(sending(random, 10, 40))
    while made:
        meanwhile = sending(random, 1, 8) if random.random() < 0.3 else None
        await teller.make(made.pop(0), meanwhile)
        if random.random() < 0.3:
            await teller.happen(step(random))
    for _ in range(random.randint(4, 12)):
        world.go_to(world.now + hours(random))
        await teller.happen(step(random))
    await world.sweep()

    await world.agree(teller.deployment)
    await explanations_agree(world, teller.deployment)
    await is_proven(world)
    foretold = await forecasts(world, teller.deployment, random)
    for _ in range(DAYS):
        world.go_to(world.now + DAY)
        await world.sweep()
        await world.agree(teller.deployment)
        await came_true(world, foretold)
    await is_proven(world)


async def explanations_agree(world: World, deployment: Deployment) -> None:
    """What each rule is said to have given is what the judge says, and all that is said adds up."""
    for contact, case in (await world.cases(deployment)).items():
        for key, sheet in deployment.models.items():
            found = await world.explained(contact, key)
            wrong = [f"value {found.value}"] if judged(case, key, world.now).value != found.value else []
            if reference.computed(case, key, world.now.date(), world.now) != found.computed:
                wrong.append(f"computed {found.computed}")
            parts = [one.points for one in found.contributions] + [cut.points for cut in found.cuts]
            if found.computed not in (None, sum(parts, Decimal(0))):
                wrong.append(f"parts that add up to {sum(parts, Decimal(0))}")
            if sheet.combine is None:
                each = reference.contributions(case, key, world.now.date(), world.now)
                given, counted = points_of_rules(found), counts_of_rules(found)
                wrong += [f"points of rule {n}" for n, (_, points) in enumerate(each) if given.get(n, 0) != points]
                counts = counts_judged(case, key, world.now)
                wrong += [f"count of rule {n}: {counted}, {counts}" for n in counts if counted.get(n, 0) != counts[n]]
            assert [] == wrong, await world.dispute(case, contact, key)


def counts_of_rules(explanation: Explanation) -> dict[int, int]:
    return {
        int(one.rule.name.removeprefix("rule ")): one.count for one in explanation.contributions if one.rule is not None
    }


def counts_judged(case: reference.Case, key: str, moment: datetime) -> dict[int, Decimal]:
    """How many events count for each rule on events, and how many times each silence does: each at a point apiece."""
    plain: dict[str, Any] = {"decay": None, "at_least": None, "max_points": None, "audience": None}
    sheet = case.models[key]
    rules = [
        replace(one, points=Decimal(1), **(plain if one.kind == "event" else {}))
        for one in sheet.rules
        if one.kind != "profile"
    ]
    numbers = [number for number, one in enumerate(sheet.rules) if one.kind != "profile"]
    apiece = replace(case, models={**case.models, key: replace(sheet, rules=rules)})
    each = reference.contributions(apiece, key, moment.date(), moment)
    return {number: points for number, (_, points) in zip(numbers, each, strict=True)}


async def is_proven(world: World) -> None:
    """The product's own proof finds nothing, and what was kept step by step is what is made from nothing."""
    report = await world.verified()
    assert (0, 0, [], []) == (report.count, report.due, report.busy, report.differences)
    assert [] == await world.broken_histories()
    kept = await world.kept()
    assert kept == await world.from_nothing()


Foretold = dict[tuple[UUID, str], tuple[Decimal | None, list[Change]]]


async def forecasts(world: World, deployment: Deployment, random: Random) -> Foretold:
    """Of somebody, in all models."""
    found: Foretold = {}
    contact = random.choice([row["id"] for row in await world.rows("SELECT id FROM contact ORDER BY id")])
    for key in deployment.models:
        async with world.database.batch() as db:
            plan = await world.plans.hold(db)
            first, changes = await replay.forecast(db, plan, contact, key, world.now, most=DAYS)
        found[contact, key] = (first.value, changes)
    return found


async def came_true(world: World, foretold: Foretold) -> None:
    """The scores of today are what was foretold for today."""
    today, stored = world.now.date(), await world.worths()
    for pair, (first, changes) in foretold.items():
        expected = next((change.value for change in reversed(changes) if change.on <= today), first)
        assert expected == stored[pair].value, (pair, today, first, changes)
