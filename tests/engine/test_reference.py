"""The judge is held to docs/scoring.md by examples whose answers were worked out by hand."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.engine import reference
from tests.engine.reference import Adjustment, Case, Event, Measure, Rule, Sheet

Json = Any  # Any: JSON
NOON = datetime(2026, 5, 15, 12, tzinfo=UTC)
TODAY = NOON.date()
DAY = timedelta(days=1)
ADA = {"email": "ada@example.com", "created_at": "2026-01-01T00:00:00Z", "properties": {}}


def a_test(field: str, operator: str, value: Json = None) -> dict[str, Json]:
    return {"field": field, "operator": operator, "value": value}


IS_A = a_test("event.type", "=", "a")
IS_VIP = a_test("contact.tags", "contains", "vip")
INACTIVE = {"field": "contact.days_inactive"}


def event(days_ago: int = 0, type_: str = "a", *, told: datetime | None = None, **properties: Json) -> Event:
    when = NOON - days_ago * DAY
    return Event(type_, "web", when, told or when, properties)


def moment(said: str) -> datetime:
    return datetime.fromisoformat(said).replace(tzinfo=UTC)


def per_event(points: str | int = 1, **said: Json) -> Rule:
    return Rule("event", IS_A, Decimal(points), **said)


def flat(points: str | int, **said: Json) -> Rule:
    """A rule that always gives its points."""
    return Rule("profile", None, Decimal(points), **said)


def silence(points: str | int = -1, **said: Json) -> Rule:
    return Rule("absence", IS_A, Decimal(points), **said)


def given(rule: Rule, *events: Event, **contact: Json) -> Decimal:
    return reference.given(rule, events, {**ADA, **contact}, TODAY)


def worth(sheet: Sheet, *adjustments: Adjustment, events: Sequence[Event] = (), **contact: Json) -> Decimal | None:
    return reference.value(Case({**ADA, **contact}, events, adjustments, {"m": sheet}), "m", TODAY)


def deployment(models: Mapping[str, Sheet], **said: Json) -> Case:
    return Case(said.pop("contact", ADA), models=models, **said)


def adjustment(kind: str, points: int | None = None, **said: Json) -> Adjustment:
    """Made at noon, for all models, unless said."""
    usual: dict[str, Json] = {"model": None, "from_day": None, "created_at": NOON}
    return Adjustment(kind=kind, points=None if points is None else Decimal(points), **(usual | said))


# --- windows ----------------------------------------------------------------------------------------------------------


def test_events_of_an_age_below_the_window_count() -> None:
    assert 2 == given(per_event(window_days=7), event(0), event(6), event(7))


def test_a_day_is_a_utc_day_to_its_last_moment() -> None:
    last = Event("a", "web", moment("2026-05-08 23:59:59.999999"), NOON, {})
    first = Event("a", "web", datetime.fromisoformat("2026-05-09T02:00:00+02:00"), NOON, {})

    assert 0 == given(per_event(window_days=7), last)
    assert 1 == given(per_event(window_days=7), first)


def test_what_happens_on_a_later_day_counts_on_that_day() -> None:
    to_come = event(-1, told=NOON)

    assert 0 == given(per_event(), to_come)
    assert 1 == reference.given(per_event(), [to_come], ADA, TODAY + DAY)


def test_an_event_told_late_is_of_the_day_on_which_it_occurred() -> None:
    assert 0 == given(per_event(window_days=7), event(7, told=NOON))


@pytest.mark.parametrize(
    ("window", "of_the_model", "count"), [(None, 3, 1), ("unlimited", 3, 3), (5, 3, 2), (None, None, 3)]
)
def test_a_rule_without_a_window_has_the_models_and_a_rule_may_have_none(
    window: Json, of_the_model: int | None, count: int
) -> None:
    sheet = Sheet([per_event(window_days=window)], window_days=of_the_model)

    assert count == worth(sheet, events=[event(0), event(4), event(100)])


# --- limits -----------------------------------------------------------------------------------------------------------


def test_each_distinct_value_counts_once() -> None:
    pages = [event(0, path="/a"), event(1, path="/A"), event(1, path="/b"), event(2, path="/a")]

    assert 2 == given(per_event(distinct_by="event.properties.path"), *pages)


def test_a_value_counts_on_its_newest_day_within_the_window() -> None:
    rule = per_event(distinct_by="event.properties.x", decay={"steps": [{"after_days": 2, "percent": 10}]})

    assert 1 == given(rule, event(5, x=1), event(1, x=1), event(3, x=1))
    assert Decimal("0.1") == given(rule, event(5, x=1), event(3, x=1))


def test_numbers_booleans_and_text_are_the_same_value_if_they_are_written_the_same() -> None:
    rule = per_event(distinct_by="event.properties.x")

    assert 1 == given(rule, event(x=1), event(x="1"))
    assert 1 == given(rule, event(x=True), event(x="TRUE"))
    assert 2 == given(rule, event(x=1), event(x=True))


def test_an_event_without_a_scalar_there_does_not_count_as_a_value() -> None:
    rule = per_event(distinct_by="event.properties.x")

    assert 0 == given(rule, event(), event(x=None), event(x=[1]), event(x={"y": 1}))
    assert 1 == given(rule, event(x=""))


def test_source_and_type_are_told_apart_too() -> None:
    condition = a_test("event.type", "in", ["a", "b"])
    events = [event(type_="a"), event(type_="A"), event(type_="b")]

    assert 2 == given(Rule("event", condition, Decimal(1), distinct_by="event.type"), *events)
    assert 1 == given(Rule("event", condition, Decimal(1), distinct_by="event.source"), *events)


def test_so_many_events_of_a_day_count() -> None:
    assert 3 == given(per_event(max_per_day=2), event(0), event(0), event(0), event(1))


def test_so_many_events_count_and_the_newest_days_come_first() -> None:
    rule = per_event(max_count=2, decay={"steps": [{"after_days": 1, "percent": 50}, {"after_days": 2, "percent": 1}]})

    assert Decimal("1.5") == given(rule, event(2), event(0), event(1))


def test_distinct_values_are_found_before_a_day_is_limited() -> None:
    """x = 1 is of today alone, so that yesterday has one value, and today two of which one counts."""
    rule = per_event(distinct_by="event.properties.x", max_per_day=1)

    assert 2 == given(rule, event(0, x=1), event(0, x=2), event(1, x=1), event(1, x=3))
    assert 1 == given(rule, event(0, x=1), event(0, x=2), event(1, x=1), event(1, x=2))


def test_a_day_is_limited_before_all_are() -> None:
    """Today gives one of three; the other of the two is yesterday's."""
    rule = per_event(max_per_day=1, max_count=2, decay={"steps": [{"after_days": 1, "percent": 10}]})

    assert Decimal("1.1") == given(rule, event(0), event(0), event(0), event(1), event(2))


def test_the_points_of_a_rule_stop_at_max_points_on_either_side() -> None:
    assert 10 == given(per_event(4, max_points=Decimal(10)), *[event()] * 3)
    assert -10 == given(per_event(-4, max_points=Decimal(10)), *[event()] * 3)


def test_enough_events_give_the_points_once() -> None:
    assert [0, 5, 5] == [given(per_event(5, at_least=2), *[event()] * n) for n in (1, 2, 3)]
    assert [0, 5, 5] == [given(per_event(5, at_least=1), *[event()] * n) for n in (0, 1, 2)]


def test_enough_are_those_that_the_limits_leave() -> None:
    assert 0 == given(per_event(5, at_least=2, max_per_day=1), event(0), event(0))
    assert 5 == given(per_event(5, at_least=2, max_per_day=1), event(0), event(1))
    assert 0 == given(per_event(5, at_least=2, distinct_by="event.properties.x"), event(0, x=1), event(1, x=1))
    assert 0 == given(per_event(5, at_least=3, max_count=2), *[event()] * 3)


def test_the_points_given_once_are_worth_what_the_newest_event_is() -> None:
    decay = {"steps": [{"after_days": 2, "percent": 50}, {"after_days": 4, "percent": 0}]}

    assert 5 == given(per_event(5, at_least=2, decay=decay), event(0), event(9))
    assert Decimal("2.5") == given(per_event(5, at_least=2, decay=decay), event(3), event(9))
    assert 0 == given(per_event(5, at_least=2, decay=decay), event(4), event(9))


def test_a_rule_for_an_audience_gives_nothing_to_others() -> None:
    for rule in (per_event(audience=IS_VIP), silence(1, after_days=1, audience=IS_VIP)):
        assert 1 == given(rule, event(1), tags=["VIP"])
        assert 0 == given(rule, event(1))


# --- decay ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "expected"), [(0, "10"), (29, "10"), (30, "5"), (59, "5"), (60, "0"), (89, "0"), (90, "1.23")]
)
def test_a_step_holds_from_its_age_on_and_may_rise(age: int, expected: str) -> None:
    steps = [(30, 50), (60, 0), (90, 12.34)]
    decay = {"steps": [{"after_days": after, "percent": percent} for after, percent in steps]}

    assert Decimal(expected) == given(per_event(10, decay=decay), event(age))


@pytest.mark.parametrize(
    ("age", "factor"),
    [
        (0, "1"),
        (6, "1"),
        (7, "0.8507"),  # 2^(-7/30) = 0.85066…
        (13, "0.8507"),
        (14, "0.7236"),  # 2^(-14/30) = 0.72363…
        (28, "0.5236"),  # 2^(-28/30) = 0.52364…
        (196, "0.0108"),  # 2^(-196/30) = 0.01079…
        (203, "0"),  # 2^(-203/30) = 0.00918…
    ],
)
def test_a_half_life_is_taken_by_its_steps(age: int, factor: str) -> None:
    decay = {"half_life_days": 30, "every_days": 7}

    assert Decimal(factor) * 10_000 == given(per_event(10_000, decay=decay), event(age))


@pytest.mark.parametrize(
    ("age", "factor"),
    [(10, "0.5"), (20, "0.25"), (30, "0.125"), (40, "0.0625"), (50, "0.0313"), (60, "0.0156"), (70, "0")],
)
def test_a_factor_is_rounded_half_away_from_zero_and_is_nothing_below_a_hundredth(age: int, factor: str) -> None:
    """½⁵ = 0.03125, ½⁶ = 0.015625, ½⁷ = 0.0078125."""
    decay = {"half_life_days": 10, "every_days": 10}

    assert Decimal(factor) * 10_000 == given(per_event(10_000, decay=decay), event(age))


def test_a_factor_that_rounds_to_a_hundredth_is_not_below_it() -> None:
    """2^(-6648/1000) = 0.00997…, which is 0.0100; 2^(-6652/1000) = 0.00994…, which is 0.0099."""
    decay = {"half_life_days": 1000, "every_days": 1}

    assert 100 == given(per_event(10_000, decay=decay), event(6648))
    assert 0 == given(per_event(10_000, decay=decay), event(6652))


@pytest.mark.parametrize(("points", "expected"), [("0.01", "0.01"), ("-0.01", "-0.01"), ("0.03", "0.02")])
def test_the_sum_of_a_rule_is_rounded_half_away_from_zero(points: str, expected: str) -> None:
    """Half of a cent is a cent; half of three cents is two."""
    decay = {"steps": [{"after_days": 1, "percent": 50}]}

    assert Decimal(expected) == given(per_event(points, decay=decay), event(1))


def test_the_sum_is_rounded_and_not_its_parts() -> None:
    """Three quarters of a cent are one; each quarter alone is none."""
    rule = per_event("0.01", decay={"steps": [{"after_days": 1, "percent": 25}]})

    assert Decimal("0.01") == given(rule, event(1), event(1), event(1))


# --- absence ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("age", "times"), [(0, 0), (6, 0), (7, 1), (13, 1), (14, 2), (21, 2)])
def test_a_silence_counts_each_time_it_has_grown_by_so_many_days(age: int, times: int) -> None:
    assert -times == given(silence(after_days=7, max_times=2), event(age), event(30))


def test_a_silence_counts_once_unless_more_is_said() -> None:
    assert -1 == given(silence(after_days=7), event(30))
    assert -4 == given(silence(after_days=7, max_times=None), event(30))


def test_a_silence_without_an_event_begins_when_the_contact_was_created() -> None:
    others = [event(0, "b"), event(-1)]

    assert -3 == given(silence(after_days=1, max_times=None), *others, created_at="2026-05-12T23:59:00Z")
    assert 0 == given(silence(after_days=1), created_at="2026-05-15T00:00:00Z")


def test_a_silence_knows_no_window() -> None:
    sheet = Sheet([silence(after_days=10, max_times=None)], window_days=7)

    assert -2 == worth(sheet, events=[event(25)])


@pytest.mark.parametrize(("from_day", "times"), [(-5, -5), (-2, -2), (0, 0), (1, 0)])
def test_a_silence_begins_never_before_the_day_of_a_reset(from_day: int, times: int) -> None:
    """The event is five days old; a reset on its own day lets it count."""
    reset = adjustment("reset", from_day=TODAY + from_day * DAY)

    assert times == worth(Sheet([silence(after_days=1, max_times=None)]), reset, events=[event(5)])


def test_an_event_before_a_reset_does_not_end_a_silence() -> None:
    reset = adjustment("reset", from_day=TODAY - 3 * DAY)

    assert -3 == worth(Sheet([silence(after_days=1, max_times=None)]), reset, events=[event(4)])
    assert -1 == worth(Sheet([silence(after_days=1, max_times=None)]), reset, events=[event(4), event(1)])


# --- profile ----------------------------------------------------------------------------------------------------------


def test_a_profile_rule_gives_its_points_while_its_condition_holds() -> None:
    rule = Rule("profile", IS_VIP, Decimal("2.5"))

    assert Decimal("2.5") == given(rule, tags=["vip"])
    assert 0 == given(rule, tags=["other"])
    assert Decimal(7) == given(flat(7))


def per_employee(points: str | int, least: Json = None, most: Json = None, **said: Json) -> Rule:
    return flat(points, per_unit_of={"field": "contact.properties.employees", "min": least, "max": most}, **said)


@pytest.mark.parametrize(
    ("employees", "expected"), [(-5, "2"), (1, "2"), (20, "10"), (20.5, "10.25"), (999, "50"), ("20", "0"), (True, "0")]
)
def test_points_per_unit_are_for_the_value_within_its_bounds(employees: Json, expected: str) -> None:
    assert Decimal(expected) == given(per_employee("0.5", 4, 100), properties={"employees": employees})


def test_points_per_unit_of_nothing_are_none_whatever_the_bounds() -> None:
    assert 0 == given(per_employee(1, 4, 100))
    assert 0 == given(flat(1, per_unit_of={"field": "contact.email"}))


def test_points_per_unit_may_have_four_decimals_and_are_rounded_before_they_are_clamped() -> None:
    assert Decimal("0.02") == given(per_employee("0.0005"), properties={"employees": 30})
    assert Decimal("-0.02") == given(per_employee("0.0005"), properties={"employees": -30})
    assert Decimal("0.01") == given(per_employee("0.0005", max_points=Decimal("0.01")), properties={"employees": 30})
    assert -3 == given(per_employee(-1, max_points=Decimal(3)), properties={"employees": 10**30})


def test_points_per_unit_want_the_condition_too() -> None:
    rule = Rule("profile", IS_VIP, Decimal(1), per_unit_of={"field": "contact.properties.employees"})

    assert 0 == given(rule, properties={"employees": 3})
    assert 3 == given(rule, properties={"employees": 3}, tags=["vip"])


def test_a_contact_was_last_seen_at_its_newest_event_and_never_in_the_future() -> None:
    rule = flat(1, per_unit_of=INACTIVE)

    assert 2 == given(rule, event(3), event(2, "other"))
    assert 1 == given(rule, event(-3, told=NOON - DAY))
    assert 0 == given(Rule("profile", a_test("contact.days_inactive", ">=", 0), Decimal(1)))


def test_a_declared_property_is_compared_as_what_it_was_declared() -> None:
    is_12 = Rule("profile", a_test("contact.properties.n", "=", "12.0"), Decimal(1))
    case = deployment({"m": Sheet([is_12])}, contact={**ADA, "properties": {"n": 12}})

    assert 0 == reference.value(case, "m", TODAY)
    declared = Case(case.contact, models=case.models, types={"contact.properties.n": "number"})
    assert 1 == reference.value(declared, "m", TODAY)


# --- a model ----------------------------------------------------------------------------------------------------------


def test_a_group_stays_within_its_points_on_either_side() -> None:
    groups: list[Json] = [{"name": "g", "max_points": 10}, {"name": "h", "max_points": "2.5"}]

    assert 11 == worth(Sheet([flat(8, group="g"), flat(7, group="g"), flat(1)], groups=groups))
    assert -10 == worth(Sheet([flat(-8, group="g"), flat(-7, group="g")], groups=groups))
    assert Decimal("7.5") == worth(Sheet([flat(-9, group="h"), flat(30, group="g")], groups=groups))
    assert 9 == worth(Sheet([flat(12, group="g"), flat(-3, group="g")], groups=groups))


def test_a_rule_is_limited_before_its_group_and_the_group_before_the_total() -> None:
    rules = [per_event(10, max_points=Decimal(15), group="g"), flat(-12, group="g"), flat(100)]
    sheet = Sheet(rules, groups=[{"name": "g", "max_points": 2}], max=Decimal(50))

    assert 50 == worth(sheet, events=[event(), event()])
    assert 2 == worth(Sheet(rules[:2], groups=sheet.groups), events=[event(), event()])


def test_contributions_are_after_the_limits_of_rules_and_before_those_of_groups() -> None:
    rules = (per_event(10, max_points=Decimal(15), group="g"), flat(-12))
    sheet = Sheet(rules, groups=[{"name": "g", "max_points": 2}], min=Decimal(0))
    case = Case(ADA, [event(), event()], models={"m": sheet})

    assert [(rules[0], Decimal(15)), (rules[1], Decimal(-12))] == reference.contributions(case, "m", TODAY)
    assert 0 == reference.value(case, "m", TODAY)


@pytest.mark.parametrize(("points", "expected"), [(-11, -10), (-10, -10), (0, 0), (20, 20), (21, 20)])
def test_the_total_is_clamped(points: int, expected: int) -> None:
    assert expected == worth(Sheet([flat(points)], min=Decimal(-10), max=Decimal(20)))


def test_a_bound_may_be_missing() -> None:
    assert -99 == worth(Sheet([flat(-99)], max=Decimal(20)))
    assert 99 == worth(Sheet([flat(99)], min=Decimal(20)))


def test_who_is_not_in_the_audience_has_no_score() -> None:
    sheet = Sheet([flat(1)], audience=IS_VIP, min=Decimal(0))

    assert worth(sheet) is None
    assert worth(sheet, adjustment("points", 5)) is None
    assert 1 == worth(sheet, tags=["vip"])


def test_a_model_without_rules_gives_nought() -> None:
    assert 0 == worth(Sheet())


# --- adjustments ------------------------------------------------------------------------------------------------------


def test_points_are_added_before_the_total_is_clamped() -> None:
    sheet = Sheet([flat(8)], max=Decimal(10))

    assert 10 == worth(sheet, adjustment("points", 5))
    assert 9 == worth(sheet, adjustment("points", 5), adjustment("points", -4, model="m"))


def test_an_adjustment_of_another_model_is_none_of_this() -> None:
    others = [adjustment("points", 1, model="n"), adjustment("override", 2, model="n")]

    assert 8 == worth(Sheet([flat(8)]), *others)
    assert 8 == worth(Sheet([flat(4), per_event(4)]), adjustment("reset", model="n"), events=[event()])


@pytest.mark.parametrize("kind", ["points", "override"])
@pytest.mark.parametrize(
    ("said", "is_held"),
    [
        ({"created_at": NOON}, True),
        ({"created_at": NOON + timedelta(seconds=1)}, False),
        ({"ends_on": TODAY + DAY}, True),
        ({"ends_on": TODAY}, False),
        ({"created_at": NOON - DAY, "revoked_at": NOON + timedelta(seconds=1)}, True),
        ({"created_at": NOON - DAY, "revoked_at": NOON}, False),
    ],
)
def test_an_adjustment_holds_from_when_it_was_made_until_its_end(kind: str, said: Json, is_held: bool) -> None:
    case = Case(ADA, adjustments=[adjustment(kind, 5, **said)], models={"m": Sheet()})

    assert (5 if is_held else 0) == reference.value(case, "m", TODAY, NOON)


def test_an_override_stands_in_for_the_computed_value_which_is_kept() -> None:
    sheet = Sheet([flat(8)], max=Decimal(10))
    case = Case(ADA, adjustments=[adjustment("override", 99), adjustment("points", 1)], models={"m": sheet})

    assert 99 == reference.value(case, "m", TODAY)
    assert 9 == reference.computed(case, "m", TODAY)


def test_an_override_stands_in_for_no_value_too() -> None:
    case = Case(ADA, adjustments=[adjustment("override", 99)], models={"m": Sheet(audience=IS_VIP)})

    assert 99 == reference.value(case, "m", TODAY)
    assert reference.computed(case, "m", TODAY) is None


@pytest.mark.parametrize(
    ("end", "expected"), [({}, 2), ({"ends_on": TODAY}, 0), ({"revoked_at": NOON}, 0), ({"ends_on": TODAY + DAY}, 2)]
)
def test_a_new_override_ends_the_one_before_for_good(end: Json, expected: int) -> None:
    new = adjustment("override", 2, created_at=NOON - DAY, **end)
    old = adjustment("override", 1, created_at=NOON - 2 * DAY)
    case = Case(ADA, adjustments=[new, old], models={"m": Sheet()})

    assert expected == reference.value(case, "m", TODAY)
    assert 1 == reference.value(case, "m", TODAY - 2 * DAY)


def test_events_of_days_before_a_reset_do_not_count() -> None:
    reset = adjustment("reset", from_day=TODAY - DAY)

    assert 2 == worth(Sheet([per_event()]), reset, events=[event(0), event(1), event(2)])


def test_a_reset_counts_from_tomorrow_unless_it_says_when() -> None:
    case = Case(ADA, [event(0), event(1), event(-1)], [adjustment("reset")], {"m": Sheet([per_event()])})

    assert 1 == reference.value(case, "m", TODAY, NOON - timedelta(seconds=1))
    assert 0 == reference.value(case, "m", TODAY)
    assert 1 == reference.value(case, "m", TODAY + DAY)


def test_points_given_before_the_day_of_a_reset_do_not_count_any_more() -> None:
    points = [adjustment("points", 2**n, created_at=NOON - n * DAY) for n in range(4)]

    assert 1 + 2 == worth(Sheet(), *points, adjustment("reset", from_day=TODAY - DAY))
    assert 0 == worth(Sheet(), *points, adjustment("reset"))


def test_the_latest_day_of_the_resets_in_force_decides() -> None:
    late = adjustment("reset", from_day=TODAY, created_at=NOON - 9 * DAY)
    early = adjustment("reset", from_day=TODAY - 2 * DAY)
    ended = adjustment("reset", from_day=TODAY + DAY, ends_on=TODAY)
    revoked = adjustment("reset", from_day=TODAY + DAY, revoked_at=NOON)
    events = [event(n) for n in range(5)]

    assert 1 == worth(Sheet([per_event()]), late, early, ended, revoked, events=events)
    assert 3 == worth(Sheet([per_event()]), early, ended, revoked, events=events)


def test_a_reset_of_one_model_leaves_the_others() -> None:
    models = {"m": Sheet([per_event()]), "n": Sheet([per_event()])}
    case = Case(ADA, [event()], [adjustment("reset", model="n")], models)

    assert [1, 0] == [reference.value(case, key, TODAY) for key in "mn"]
    everywhere = Case(ADA, [event()], [adjustment("reset")], models)
    assert [0, 0] == [reference.value(everywhere, key, TODAY) for key in "mn"]


def test_a_reset_touches_no_measure_no_profile_rule_and_no_override() -> None:
    rules = [flat(1, per_unit_of={"field": "contact.measures.n"}), flat(10), flat(100, per_unit_of=INACTIVE)]
    case = Case(ADA, [event(2)], [adjustment("reset")], {"m": Sheet(rules)}, measures={"n": Measure(IS_A, "count")})

    assert 1 + 10 + 200 == reference.value(case, "m", TODAY)
    assert 5 == worth(Sheet(), adjustment("override", 5, created_at=NOON - DAY), adjustment("reset"))


# --- measures ---------------------------------------------------------------------------------------------------------


def measured(aggregate: str, *events: Event, of: str | None = "event.properties.x", window: int | None = None) -> Json:
    measure = Measure(IS_A, aggregate, of, window)
    return reference.measured(Case(ADA, events, measures={"k": measure}), "k", TODAY)


def test_a_count_is_of_the_matching_events_of_the_window() -> None:
    events = [event(0), event(6), event(7), event(0, "b"), event(-1)]

    assert 2 == measured("count", *events, of=None, window=7)
    assert 3 == measured("count", *events, of=None)
    assert 0 == measured("count", of=None)


def test_a_sum_is_of_numbers_only_and_exact() -> None:
    events = [event(x=value) for value in (0.1, 0.2, -5, "7", True, None, [1])]

    assert Decimal("-4.7") == measured("sum", *events, event())
    assert 0 == measured("sum", event(x="7"))
    assert Decimal("1" + "0" * 59 + ".1") == measured("sum", event(x=10**59), event(x=0.1))


def test_a_sum_leaves_out_numbers_written_with_more_than_sixty_characters() -> None:
    assert 10**59 == measured("sum", event(x=10**59), event(x=10**60), event(x=1e-300))
    assert 1 - 10**58 == measured("sum", event(x=-(10**58)), event(x=-(10**59)), event(x=1))


def test_distinct_values_are_as_in_rules_however_long() -> None:
    events = [event(x=value) for value in (1, "1", "a", "A", True, None, [1], 10**60, 10**61)]

    assert 5 == measured("distinct", *events, event())
    assert 1 == measured("distinct", *events, of="event.source")


def test_a_condition_may_ask_for_a_measure_which_is_never_missing() -> None:
    rule = Rule("profile", a_test("contact.measures.n", "<", 1), Decimal(1))
    case = deployment({"m": Sheet([rule])}, measures={"n": Measure(IS_A, "sum", "event.properties.x")})

    assert 1 == reference.value(case, "m", TODAY)


# --- other models, bands, segments ------------------------------------------------------------------------------------

BANDS: list[Json] = [{"name": "Cold", "color": "blue", "min": None}, {"name": "Hot", "color": "red", "min": 50}]


@pytest.mark.parametrize(("points", "name"), [(-5, "Cold"), (49, "Cold"), ("49.99", "Cold"), (50, "Hot"), (999, "Hot")])
def test_a_score_lies_in_the_highest_band_that_it_reaches(points: int | str, name: str) -> None:
    assert name == reference.band(deployment({"m": Sheet([flat(points)], bands=BANDS)}), "m", TODAY)


def test_who_has_no_score_or_one_below_all_bands_has_no_band() -> None:
    assert reference.band(deployment({"m": Sheet([flat(49)], bands=BANDS[1:])}), "m", TODAY) is None
    assert reference.band(deployment({"m": Sheet([flat(60)], bands=BANDS, audience=IS_VIP)}), "m", TODAY) is None


def asking(field: str, operator: str, value: Json, other: Sheet, **said: Json) -> Decimal | None:
    """What a rule that asks this, and gives 1, makes of the contact beside another model."""
    rule = Rule("profile", a_test(field, operator, value), Decimal(1))
    return reference.value(deployment({"m": Sheet([rule]), "other": other}, **said), "m", TODAY)


def test_a_condition_may_ask_for_the_value_in_another_model() -> None:
    override = adjustment("override", 99, model="other")

    assert 1 == asking("contact.score.other", ">=", 8, Sheet([flat(8)]))
    assert 0 == asking("contact.score.other", ">", 8, Sheet([flat(8)]))
    assert 1 == asking("contact.score.other", "=", "99", Sheet([flat(8)]), adjustments=[override])


def test_a_condition_may_ask_for_the_band_in_another_model() -> None:
    assert 1 == asking("contact.band.other", "=", "hot", Sheet([flat(50)], bands=BANDS))
    assert 0 == asking("contact.band.other", "=", "hot", Sheet([flat(49)], bands=BANDS))


@pytest.mark.parametrize("field", ["contact.score.other", "contact.band.other", "contact.score.nobody"])
def test_a_score_or_band_that_is_not_there_is_missing(field: str) -> None:
    nobodys = Sheet([flat(50)], bands=BANDS, audience=IS_VIP)

    assert 1 == asking(field, "null", None, nobodys)
    assert 0 == asking(field, "=", "1", nobodys)
    assert 1 == asking(field, "!=", "1", nobodys)


def test_points_may_be_given_per_unit_of_a_score() -> None:
    models = {"m": Sheet([flat("0.5", per_unit_of={"field": "contact.score.other"})]), "other": Sheet([flat("0.05")])}

    assert Decimal("0.03") == reference.value(deployment(models), "m", TODAY)


@pytest.mark.parametrize(
    ("operator", "value", "expected"),
    [
        ("=", "vips", 1),
        ("contains", "VIPs", 1),
        ("in", "nobody, vips", 1),
        ("=", "nobody", 0),
        ("in", ["nobody", "unknown"], 0),
        ("!=", "vips", 0),
        ("doesNotContain", "nobody", 1),
        ("notIn", ["vips"], 0),
    ],
)
def test_a_condition_may_ask_for_segments(operator: str, value: Json, expected: int) -> None:
    segments = {"VIPs": IS_VIP, "nobody": a_test("contact.email", "null")}
    contact = {**ADA, "tags": ["vip"]}

    assert expected == asking("contact.segments", operator, value, Sheet(), segments=segments, contact=contact)


def test_segments_may_name_segments_scores_bands_and_measures() -> None:
    segments = {
        "a": a_test("contact.segments", "=", "b"),
        "b": a_test("contact.segments", "notIn", ["c", "d"]),
        "c": a_test("contact.score.m", ">", 60),
        "d": a_test("contact.band.m", "!=", "Hot"),
        "e": a_test("contact.measures.n", "=", 0),
    }
    measures = {"n": Measure(IS_A, "count")}

    def members(points: int) -> set[str]:
        case = deployment({"m": Sheet([flat(points)], bands=BANDS)}, segments=segments, measures=measures)
        return reference.segments(case, TODAY)

    assert {"a", "b", "e"} == members(60)
    assert {"c", "e"} == members(61)
    assert {"d", "e"} == members(49)


def test_a_plain_record_of_a_contact_says_what_it_has() -> None:
    record = {"scores": {"m": 7.5}, "bands": {"m": "Hot"}, "segments": ["vips"], "measures": {"n": 3}}

    def holds(field: str, operator: str, value: Json = None) -> bool:
        return reference.matches(a_test(field, operator, value), "contact", record, TODAY)

    assert holds("contact.score.m", "<", "8")
    assert not holds("contact.score.other", "<", 8)
    assert holds("contact.band.m", "beginsWith", "h")
    assert holds("contact.segments", "=", "VIPs")
    assert holds("contact.segments", "notIn", ["others"])
    assert holds("contact.measures.n", "between", [3, 4])
    assert not reference.matches(a_test("contact.segments", "=", "vips"), "contact", {}, TODAY)


# --- combined models --------------------------------------------------------------------------------------------------


def parts(*said: tuple[str, float]) -> dict[str, Json]:
    return {"sum": [{"model": model, "weight": weight} for model, weight in said]}


def test_a_sum_is_of_weighted_values_each_rounded() -> None:
    """0.5 × 0.05 = 0.025 → 0.03, twice; the sum of both unrounded would be 0.05."""
    models = {"a": Sheet([flat("0.05")]), "b": Sheet([flat(10)]), "m": Sheet(combine=parts(("a", 0.5), ("a", 0.5)))}

    assert Decimal("0.06") == reference.value(deployment(models), "m", TODAY)
    weighed = models | {"m": Sheet(combine=parts(("a", 0.4), ("b", -0.6)))}
    assert Decimal("-5.98") == reference.value(deployment(weighed), "m", TODAY)


def test_a_part_without_a_value_adds_nothing() -> None:
    models = {"a": Sheet([flat(5)], audience=IS_VIP), "b": Sheet([flat(10)])}

    assert 10 == reference.value(deployment(models | {"m": Sheet(combine=parts(("a", 1), ("b", 1)))}), "m", TODAY)
    assert 0 == reference.value(deployment(models | {"m": Sheet(combine=parts(("a", 1)))}), "m", TODAY)


def test_a_sum_is_of_what_everybody_reads_and_has_bounds_audience_and_adjustments_of_its_own() -> None:
    adjustments = [adjustment("override", 30, model="a"), adjustment("points", 5, model="m")]
    part = {"a": Sheet([flat(1)])}

    def total(**said: Json) -> Decimal | None:
        models = part | {"m": Sheet(combine=parts(("a", 2)), **said)}
        return reference.value(deployment(models, adjustments=adjustments), "m", TODAY)

    assert 65 == total()
    assert 50 == total(max=Decimal(50))
    assert total(audience=IS_VIP) is None


def grid(rows: int | str, columns: int | str, *adjustments: Adjustment) -> Case:
    """Two rows: below 10, and from 10 on. Three columns: below 10, from 10 on, from 20 on."""

    def bands(*least: int | None) -> list[Json]:
        return [{"name": f"from {one}", "color": "red", "min": one} for one in least]

    models = {
        "fit": Sheet([flat(rows)], bands=bands(None, 10)),
        "engagement": Sheet([flat(columns)], bands=bands(20, 0, 10)),
        "m": Sheet(combine={"grid": {"rows": "fit", "columns": "engagement"}}),
    }
    return deployment(models, adjustments=adjustments)


@pytest.mark.parametrize(
    ("rows", "columns", "cell", "value"),
    [
        (10, 20, "A1", 6),
        (99, 19, "A2", 5),
        (10, 0, "A3", 4),
        (9, 20, "B1", 3),
        ("-1", 10, "B2", 2),
        (0, "9.99", "B3", 1),
    ],
)
def test_a_grid_has_a_cell_for_each_pair_of_bands(rows: Json, columns: Json, cell: str, value: int) -> None:
    assert cell == reference.band(grid(rows, columns), "m", TODAY)
    assert value == reference.value(grid(rows, columns), "m", TODAY)


def test_who_has_no_band_in_a_part_has_no_score_in_the_grid() -> None:
    assert reference.value(grid(10, -1), "m", TODAY) is None
    assert reference.band(grid(10, -1), "m", TODAY) is None


def test_an_override_of_a_grid_moves_to_another_cell_and_one_of_a_part_does_too() -> None:
    assert "B1" == reference.band(grid(10, 20, adjustment("override", 3, model="m")), "m", TODAY)
    assert "A2" == reference.band(grid(10, 20, adjustment("override", 15, model="engagement")), "m", TODAY)


def test_a_grid_may_be_made_of_grids_and_conditions_may_name_its_cells() -> None:
    """Rows A1 … B3 are lettered A … F; both parts are in cell A2, the second of six."""
    models = {
        **grid(10, 10).models,
        "square": Sheet(combine={"grid": {"rows": "m", "columns": "m"}}),
        "asks": Sheet([Rule("profile", a_test("contact.band.square", "=", "B2"), Decimal(1))]),
    }

    assert "B2" == reference.band(deployment(models), "square", TODAY)
    assert 29 == reference.value(deployment(models), "square", TODAY)
    assert 1 == reference.value(deployment(models), "asks", TODAY)


# --- as of a past moment ----------------------------------------------------------------------------------------------


def at_nine(*events: Event, rule: Rule | None = None) -> Decimal | None:
    case = Case(ADA, events, models={"m": Sheet([rule or per_event()])})
    return reference.value(case, "m", TODAY, moment("2026-05-15 09:00"))


def test_what_had_occurred_or_had_been_told_by_then_counts() -> None:
    early, late = moment("2026-05-15 08:00"), moment("2026-05-15 10:00")

    assert 1 == at_nine(Event("a", "web", early, early, {}))
    assert 1 == at_nine(Event("a", "web", early, late, {}))
    assert 1 == at_nine(Event("a", "web", late, early, {}))
    assert 0 == at_nine(Event("a", "web", late, late, {}))
    assert 0 == at_nine(Event("a", "web", late + DAY, early, {}))


def test_nobody_was_seen_after_that_moment() -> None:
    rule = flat(1, per_unit_of=INACTIVE)

    assert 4 == at_nine(event(4), event(0), rule=rule)


def test_without_a_moment_a_day_is_judged_at_its_end() -> None:
    late = adjustment("points", 5, created_at=moment("2026-05-15 23:59:59.999999"))

    assert 5 == worth(Sheet(), late)
    assert 0 == worth(Sheet(), adjustment("points", 5, created_at=moment("2026-05-16 00:00")))


# --- what is told to the product --------------------------------------------------------------------------------------


def test_a_rule_is_said_with_every_field() -> None:
    bounds = {"field": "contact.properties.employees", "max": 10}
    rule = Rule("profile", None, Decimal("0.0005"), max_points=Decimal("1E+1"), per_unit_of=bounds)

    expected = {
        "id": "1",
        "name": "size",
        "kind": "profile",
        "condition": None,
        "points": "0.0005",
        "window_days": None,
        "distinct_by": None,
        "max_per_day": None,
        "max_count": None,
        "at_least": None,
        "decay": None,
        "max_points": "10",
        "audience": None,
        "group": None,
        "after_days": None,
        "max_times": None,
        "per_unit_of": {"field": "contact.properties.employees", "min": None, "max": 10},
    }
    assert expected == rule.said("1", "size")


def test_a_sheet_is_said_without_rules_and_bands() -> None:
    sheet = Sheet([flat(1)], min=Decimal(-5), window_days=9, groups=[{"name": "g", "max_points": Decimal(40)}])

    expected = {
        "audience": None,
        "min": "-5",
        "max": None,
        "window_days": 9,
        "groups": [{"name": "g", "max_points": "40"}],
        "combine": None,
        "objective": None,
        "owner": None,
    }
    assert expected == sheet.spec()
