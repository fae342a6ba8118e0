"""What a model and its rules may say, as docs/scoring.md has it: kept as it was said, scored as the page says."""

import json

import pytest

from tests.api.client import Api, Json, event_rule, pointers, said, when
from tests.api.world import (
    ADA,
    ALWAYS,
    CLICK,
    COLD_HOT,
    IS_CUSTOMER,
    SILENCE,
    ada,
    again,
    explained,
    go_to,
    happened,
    publish,
    unit,
    value,
)
from tests.engine.worlds import NOON, set_clock


@pytest.fixture(autouse=True)
def at_noon(api: Api) -> None:
    set_clock(NOON)


# --- kept as it was said ----------------------------------------------------------------------------------------------

KINDS: dict[str, Json] = {"event": event_rule("email.clicked", 5), "absence": SILENCE, "profile": ALWAYS}
OF_RULES: list[tuple[str, str, Json, Json]] = [
    ("event", "window_days", 30, "unlimited"),
    ("event", "distinct_by", "event.properties.email_id", "event.source"),
    ("event", "max_per_day", 1, 5),
    ("event", "max_count", 1, 5),
    ("event", "at_least", 1, 5),
    ("event", "decay", {"steps": [{"after_days": 30, "percent": 12.5}]}, {"half_life_days": 30, "every_days": 7}),
    ("event", "max_points", 0.5, 50),
    ("event", "audience", IS_CUSTOMER, when("contact.tags", "contains", "vip")),
    ("event", "group", "E-mail", "Web"),
    ("absence", "after_days", 7, 30),
    ("absence", "max_times", 3, None),
    ("absence", "audience", IS_CUSTOMER, None),
    ("profile", "condition", IS_CUSTOMER, when("contact.bounced", "=", True)),
    ("profile", "points", -1000, 0.25),
    ("profile", "per_unit_of", {"field": "contact.properties.x", "min": -0.5, "max": 10}, None),
    ("profile", "group", "Web", None),
]


@pytest.mark.parametrize(("kind", "field", "first", "second"), OF_RULES)
async def test_what_a_rule_says_is_kept_changed_and_published_as_it_was_said(
    api: Api, kind: str, field: str, first: Json, second: Json
) -> None:
    groups = [{"name": name, "max_points": 9} for name in ("E-mail", "Web")]
    await api.post("/v1/models", {"key": "m", "name": "M", "groups": groups}, 201)

    made = await api.post("/v1/models/m/rules", {**KINDS[kind], field: first}, 201)
    assert first == made[field]
    assert made == await api.get(f"/v1/rules/{made['id']}")
    changed = await api.patch(f"/v1/rules/{made['id']}", {field: second})
    assert {**made, field: second} == {**changed, "updated_at": made["updated_at"]}
    assert [changed] == (await api.get("/v1/models/m/rules"))["items"]

    await api.publish("m")
    [version] = (await api.get("/v1/models/m/versions"))["items"]
    assert [changed] == [{**rule, **{name: changed[name] for name in NOT_OF_A_VERSION}} for rule in version["rules"]]


NOT_OF_A_VERSION = ("model", "created_at", "updated_at")
OF_MODELS: list[tuple[str, Json, Json]] = [
    ("objective", "whom to call", None),
    ("owner", "Sales", "Marketing"),
    ("audience", IS_CUSTOMER, None),
    ("min", -1000, 0.5),
    ("max", 100, None),
    ("window_days", 90, None),
    ("groups", [{"name": "E-mail", "max_points": 40}, {"name": "Web", "max_points": 0.5}], []),
    ("bands", COLD_HOT, [{"name": "all", "color": "#AbCdEf", "min": None}]),
    ("combine", {"sum": [{"model": "a", "weight": 0.4}, {"model": "b", "weight": -1.5}]}, None),
    ("combine", {"grid": {"rows": "a", "columns": "b"}}, {"sum": [{"model": "b", "weight": 1}]}),
]


@pytest.mark.parametrize(("field", "first", "second"), OF_MODELS)
async def test_what_a_model_says_is_kept_changed_and_published_as_it_was_said(
    api: Api, field: str, first: Json, second: Json
) -> None:
    for part in "ab":
        await publish(api, part, bands=COLD_HOT)

    made = await api.post("/v1/models", {"key": "m", "name": "M", field: first}, 201)
    assert first == made[field]
    assert made == await api.get("/v1/models/m")
    await again(api, "m")
    assert not (await api.get("/v1/models/m"))["has_changes"]

    changed = await api.patch("/v1/models/m", {field: second})
    assert second == changed[field]
    assert changed["has_changes"]
    await again(api, "m")
    [after, before] = (await api.get("/v1/models/m/versions"))["items"]
    assert (second, first) == tuple({**version["spec"], **version}[field] for version in (after, before))


# --- event rules ------------------------------------------------------------------------------------------------------


async def test_clicks_in_two_emails_count_twice_and_two_clicks_in_one_count_once(api: Api) -> None:
    await publish(api, "m", {**CLICK, "distinct_by": "event.properties.email_id"}, event_rule("webinar.attended", 20))

    await api.send(
        happened("email.clicked", 2, email_id="spring"),
        happened("email.clicked", 1, email_id="spring"),
        happened("email.clicked", 1, email_id="Summer"),
        happened("email.clicked", 1),
        happened("webinar.attended"),
    )

    found = await explained(api, "m")
    assert 30 == found["value"]
    clicks, webinar = found["contributions"]
    assert (2, 10, 1, 20) == (clicks["count"], clicks["points"], webinar["count"], webinar["points"])
    day = {"day": "2026-05-14", "events": 2, "counted": 2, "worth": 1, "leaves_on": None}
    assert [day] == clicks["details"]["days"]


async def test_who_ever_bounced_hard_has_the_penalty_once(api: Api) -> None:
    hard = {"combinator": "and", "rules": [when("event.type", "=", "email.bounced"), when(BOUNCE, "=", "hard")]}
    ever = {"name": "Bounced", "kind": "event", "condition": hard, "points": -100, "at_least": 1}
    await publish(api, "m", {**ever, "window_days": "unlimited"}, window_days=30)

    await api.send(happened("email.bounced", 2, bounce="soft"))
    assert 0 == await value(api)
    await api.send(happened("email.bounced", 2_000, bounce="hard"))
    assert -100 == await value(api)
    await api.send(happened("email.bounced", 1, bounce="hard"))
    assert -100 == await value(api)


BOUNCE = "event.properties.bounce"


async def test_points_are_given_once_when_so_many_events_came(api: Api) -> None:
    await publish(api, "m", {**CLICK, "at_least": 3, "decay": {"steps": [{"after_days": 1, "percent": 40}]}})

    await api.send(happened("email.clicked", 5), happened("email.clicked", 3))
    assert 0 == await value(api)
    await api.send(happened("email.clicked", 2))
    assert 2 == await value(api)
    await api.send(happened("email.clicked"))
    assert 5 == await value(api)


async def test_only_the_newest_events_count_and_each_as_its_age_says(api: Api) -> None:
    steps = {"steps": [{"after_days": 30, "percent": 50}, {"after_days": 45, "percent": 12.5}]}
    await publish(api, "m", {**CLICK, "points": 10, "max_count": 4, "decay": steps})

    await api.send(*(happened("email.clicked", age) for age in (0, 29, 30, 45, 46)))

    [clicks] = (await explained(api, "m"))["contributions"]
    assert (26.25, 4) == (clicks["points"], clicks["count"])
    assert [1, 1, 0.5, 0.125, 0.125] == [day["worth"] for day in clicks["details"]["days"]]
    assert [1, 1, 1, 1, 0] == [day["counted"] for day in clicks["details"]["days"]]
    assert "2026-05-16" == clicks["next_change_on"]


async def test_an_event_is_worth_half_after_each_half_life_and_nothing_in_the_end(api: Api) -> None:
    await publish(api, "m", {**CLICK, "points": 100, "decay": {"half_life_days": 7, "every_days": 7}})

    await api.send(*(happened("email.clicked", age) for age in (6, 7, 14, 48, 49)))

    # 100 + 50 + 25 + 100 × 2^-6, which is 0.0156 + 100 × 2^-7, which is below 0.01
    assert 176.56 == await value(api)


async def test_events_count_in_the_rules_window_else_in_the_models(api: Api) -> None:
    of_rules: list[Json] = [{}, {"window_days": 10}, {"window_days": "unlimited"}]
    await publish(api, "m", *({**CLICK, "name": str(one), **one} for one in of_rules), window_days=20)

    await api.send(*(happened("email.clicked", age) for age in (0, 9, 10, 19, 20, 500)))

    found = (await explained(api, "m"))["contributions"]
    assert [4, 2, 6] == [one["count"] for one in found]
    assert ["2026-05-16", "2026-05-16", None] == [one["next_change_on"] for one in found]


async def test_a_rules_points_stay_within_its_limit(api: Api) -> None:
    await publish(api, "m", {**CLICK, "max_points": 12, "max_per_day": 2}, {**CLICK, "points": -5, "max_points": 7})

    await api.send(*(happened("email.clicked", age) for age in (0, 0, 0, 1)))

    up, down = (await explained(api, "m"))["contributions"]
    assert (3, 15, 12) == (up["count"], up["raw"], up["points"])
    assert (4, -20, -7) == (down["count"], down["raw"], down["points"])


async def test_a_rule_gives_nothing_to_who_is_not_in_its_audience(api: Api) -> None:
    await publish(api, "m", {**CLICK, "audience": IS_CUSTOMER})
    await api.send(happened("email.clicked"))

    [outside] = (await explained(api, "m"))["contributions"]
    assert (0, 5, False) == (outside["points"], outside["raw"], outside["details"]["in_audience"])
    await ada(api, stage="customer")
    [inside] = (await explained(api, "m"))["contributions"]
    assert (5, 5, True) == (inside["points"], inside["raw"], inside["details"]["in_audience"])


# --- absence rules ----------------------------------------------------------------------------------------------------


async def test_thirty_days_without_engagement_cost_ten_points_once(api: Api) -> None:
    await publish(api, "m", SILENCE)
    await ada(api)
    await api.send(happened("email.opened"), happened("page.viewed"))

    await go_to(api, 29)
    found = await explained(api, "m")
    assert (0, "2026-06-14", "2026-05-15") == (found["value"], found["next_change_on"], since(found))
    await go_to(api, 30)
    assert -10 == await value(api)
    await go_to(api, 90)
    assert -10 == await value(api)
    await api.send({"type": "email.opened", "contact": ADA})
    found = await explained(api, "m")
    assert (0, "2026-08-13") == (found["value"], since(found))


def since(found: Json) -> str:
    return str(found["contributions"][0]["details"]["silent_since"])


async def test_each_further_silence_costs_again_as_often_as_it_may(api: Api) -> None:
    await publish(api, "m", {**SILENCE, "max_times": 2}, {**SILENCE, "points": -1, "max_times": None})
    await ada(api)

    await go_to(api, 60)
    assert -22 == await value(api)
    await go_to(api, 300)
    assert [-20, -10] == [one["points"] for one in (await explained(api, "m"))["contributions"]]


async def test_an_absence_rule_counts_once_unless_it_is_said_how_often(api: Api) -> None:
    await api.post("/v1/models", {"key": "m", "name": "M"}, 201)

    silent = await api.post("/v1/models/m/rules", SILENCE, 201)
    endless = await api.post("/v1/models/m/rules", {**SILENCE, "max_times": None}, 201)
    click = await api.post("/v1/models/m/rules", CLICK, 201)
    changed = await api.patch(f"/v1/rules/{click['id']}", {"kind": "absence", "after_days": 30})
    kept = await api.patch(f"/v1/rules/{endless['id']}", {"kind": "absence", "after_days": 7})

    assert [1, None, 1, None] == [one["max_times"] for one in (silent, endless, changed, kept)]


# --- profile rules ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("employees", "points"),
    [(80, 10), (400, 50), (401, 50), (-8, 0), (7, 0.88), ("80", 0), (None, 0), (0.04, 0.01)],
)
async def test_points_are_given_for_each_unit_within_its_bounds(api: Api, employees: Json, points: float) -> None:
    await publish(api, "m", unit("contact.properties.employees", 0.125, min=0, max=400))

    await ada(api, properties={"employees": employees})

    assert points == await value(api)


async def test_points_by_the_unit_stay_within_the_rules_limit_while_its_condition_holds(api: Api) -> None:
    await publish(api, "m", {**unit("contact.properties.employees", -0.5), "max_points": 20, "condition": IS_CUSTOMER})
    await ada(api, properties={"employees": 100})
    assert 0 == await value(api)

    await ada(api, stage="customer")

    [found] = (await explained(api, "m"))["contributions"]
    assert (-20, -50, 100) == (found["points"], found["raw"], found["details"]["units"])


async def test_a_penalty_of_a_thousand_leaves_the_total_negative(api: Api) -> None:
    bounced = {"name": "b", "kind": "profile", "points": -1000, "condition": when("contact.bounced", "=", True)}
    await publish(api, "m", bounced, event_rule("email.bounced", 5))
    await publish(api, "floored", bounced, event_rule("email.bounced", 5), min=-500, max=3)

    await api.send(happened("email.bounced", bounce="hard"))
    assert -995 == await value(api)
    assert [{"by": "min", "points": 495}] == (await explained(api, "floored"))["cuts"]
    assert -500 == await value(api, "floored")
    await ada(api, bounced=False)
    assert 5 == await value(api)
    assert [{"by": "max", "points": -2}] == (await explained(api, "floored"))["cuts"]


async def test_a_groups_rules_stay_together_within_its_limit(api: Api) -> None:
    rules = [{**ALWAYS, "points": points, "group": group} for points, group in ((30, "a"), (25, "a"), (-9, "b"))]
    groups = [{"name": "a", "max_points": 40}, {"name": "b", "max_points": 5.5}]
    await publish(api, "m", *rules, {**ALWAYS, "points": 3}, groups=groups)

    await ada(api)

    found = await explained(api, "m")
    assert 37.5 == found["value"]
    assert [{"by": "group a", "points": -15}, {"by": "group b", "points": 3.5}] == found["cuts"]


async def test_who_is_not_in_a_models_audience_has_no_score(api: Api) -> None:
    await publish(api, "m", ALWAYS, audience=IS_CUSTOMER, bands=COLD_HOT)
    contact = await ada(api)

    found = await explained(api, "m")
    assert [None, None, None] == [found[name] for name in ("value", "computed", "band")]
    [listed] = await api.get(f"/v1/contacts/{contact}/scores")
    assert (None, None) == (listed["value"], listed["band"])
    await ada(api, stage="customer")
    assert 1 == await value(api)
    [listed] = await api.get(f"/v1/contacts/{contact}/scores")
    assert (1, "cold") == (listed["value"], listed["band"])


async def test_a_condition_may_look_at_the_score_and_the_band_in_another_model(api: Api) -> None:
    await publish(api, "fit", unit("contact.properties.x", 1), bands=COLD_HOT)
    of_score = {**ALWAYS, "condition": when("contact.score.fit", "between", [10, 60])}
    of_band = {**ALWAYS, "points": 10, "condition": when("contact.band.fit", "=", "HOT")}
    await publish(api, "m", of_score, of_band)

    for x, points in ((5, 0), (10, 1), (50, 11), (61, 10)):
        await ada(api, properties={"x": x})
        assert points == await value(api), x
    await ada(api, properties={"x": None})
    assert 0 == await value(api)


# --- combined models --------------------------------------------------------------------------------------------------


async def test_a_weighted_sum_adds_up_what_its_parts_have_and_nothing_for_those_without(api: Api) -> None:
    await publish(api, "fit", unit("contact.properties.x", 1))
    await publish(api, "engagement", CLICK, audience=IS_CUSTOMER)
    parts = [{"model": "fit", "weight": 0.4}, {"model": "engagement", "weight": -0.6125}]
    await publish(api, "both", {**ALWAYS, "points": 100}, combine={"sum": parts}, max=110)

    await ada(api, properties={"x": 33.33})
    await api.send(happened("email.clicked"), happened("email.clicked"))
    assert 110 == await value(api, "both")  # 100 + 13.33, no more than 110
    await ada(api, stage="customer")
    assert 107.2 == await value(api, "both")  # 100 + 13.33 - 6.125, rounded away from zero


BANDS = [{"name": name, "color": f"#00000{at}", "min": at * 10} for at, name in enumerate(("low", "mid", "top"))]
CELLS = {
    (25, 25): ("A1", 9), (25, 15): ("A2", 8), (25, 5): ("A3", 7),
    (15, 25): ("B1", 6), (15, 15): ("B2", 5), (15, 5): ("B3", 4),
    (5, 25): ("C1", 3), (5, 15): ("C2", 2), (5, 5): ("C3", 1),
    (-1, 25): (None, None), (25, -1): (None, None),
}  # fmt: skip


async def grid(api: Api, **sheet: Json) -> None:
    """Two models of three bands, and the grid of them."""
    for key, field in (("fit", "f"), ("engagement", "e")):
        await publish(api, key, unit(f"contact.properties.{field}", 1), bands=BANDS)
    await publish(api, "cell", combine={"grid": {"rows": "fit", "columns": "engagement"}}, **sheet)


async def cell(api: Api, fit: int, engagement: int) -> tuple[str | None, float | None]:
    await ada(api, properties={"f": fit, "e": engagement})
    found = await explained(api, "cell")
    return found["band"], found["value"]


async def test_a_grid_has_a_cell_for_each_pair_of_bands_from_c3_up_to_a1(api: Api) -> None:
    await grid(api)

    assert CELLS == {place: await cell(api, *place) for place in CELLS}
    [version] = (await api.get("/v1/models/cell/versions"))["items"]
    names = ["C3", "C2", "C1", "B3", "B2", "B1", "A3", "A2", "A1"]
    assert names == [band["name"] for band in version["bands"]]
    assert list(range(1, 10)) == [band["min"] for band in version["bands"]]
    assert [f"#00000{row}" for row in (0, 0, 0, 1, 1, 1, 2, 2, 2)] == [band["color"] for band in version["bands"]]


async def test_a_grid_follows_the_bands_of_its_sides(api: Api) -> None:
    await grid(api, audience=when("contact.bounced", "=", False))
    assert ("A1", 9) == await cell(api, 15 + 10, 25)
    await api.patch("/v1/models/cell", {"name": "Not yet", "combine": {"sum": [{"model": "fit", "weight": 1}]}})

    await api.patch("/v1/models/fit", {"bands": [*BANDS, {"name": "peak", "color": "#ffffff", "min": 30}]})
    await again(api, "fit")

    assert ("B1", 9) == await cell(api, 25, 25)
    assert ("A3", 10) == await cell(api, 30, 5)
    [after, before] = (await api.get("/v1/models/cell/versions"))["items"]
    assert (12, 9) == (len(after["bands"]), len(before["bands"]))
    assert ("cell", before["spec"]) == (after["name"], after["spec"])
    await ada(api, bounced=True)
    assert (None, None) == await cell(api, 30, 5)
    draft = await api.get("/v1/models/cell")
    assert ("Not yet", True, 2) == (draft["name"], draft["has_changes"], draft["version"])


async def test_a_grid_follows_a_bands_new_name_and_colour_and_no_change_of_anything_else(api: Api) -> None:
    await grid(api)

    await api.patch("/v1/models/fit", {"name": "Fitness", "bands": [*BANDS[:2], {**BANDS[2], "min": 24}]})
    await again(api, "fit")
    assert 1 == len((await api.get("/v1/models/cell/versions"))["items"])
    assert ("B1", 6) == await cell(api, 23, 25)

    await api.patch("/v1/models/fit", {"bands": [*BANDS[:2], {"name": "tip", "color": "#abcdef", "min": 24}]})
    await again(api, "fit")
    versions = (await api.get("/v1/models/cell/versions"))["items"]
    assert [2, 1] == [version["version"] for version in versions]
    assert "#abcdef" == versions[0]["bands"][-1]["color"]
    assert ("A1", 9) == await cell(api, 24, 25)


async def test_a_grid_that_counts_no_more_does_not_follow(api: Api) -> None:
    await grid(api)
    await api.post("/v1/models/cell/archive")
    await again_after(api, "archived")
    await api.post("/v1/models/cell/unarchive")
    await again_after(api, "a draft")

    assert 1 == len((await api.get("/v1/models/cell/versions"))["items"])


async def again_after(api: Api, name: str) -> None:
    await api.patch("/v1/models/fit", {"bands": [*BANDS[:2], {**BANDS[2], "name": name}]})
    await again(api, "fit")


async def test_a_grid_that_is_about_to_count_follows_too(api: Api) -> None:
    await grid(api)
    await api.patch("/v1/models/cell", {"combine": {"grid": {"rows": "engagement", "columns": "fit"}}})
    waiting = await api.post("/v1/models/cell/publish", {"settle_seconds": 600}, 202)

    await again_after(api, "another")

    [newest, asked, _] = (await api.get("/v1/models/cell/versions"))["items"]
    assert (3, waiting["version"]) == (newest["version"], asked["version"])
    assert asked["spec"] == newest["spec"]
    assert ("A3", 7) == await cell(api, 5, 25)


async def test_an_old_grid_published_again_has_the_cells_that_the_bands_make_now(api: Api) -> None:
    await grid(api)
    await api.patch("/v1/models/fit", {"bands": BANDS[:2]})
    await again(api, "fit")

    job = (await api.post("/v1/models/cell/versions/1/publish", status=202))["job_id"]
    await api.work(job)

    assert ("A1", 6) == await cell(api, 10, 25)
    assert ("B3", 1) == await cell(api, 5, 5)


@pytest.mark.parametrize("count", [0, 27])
async def test_a_model_keeps_bands_that_its_grid_can_have(api: Api, count: int) -> None:
    await grid(api)
    bands = [{"name": str(at), "color": "#000000", "min": at} for at in range(count)]
    await api.patch("/v1/models/fit", {"bands": bands})

    problem = await api.post("/v1/models/fit/publish", status=409)

    assert f"'fit' is a side of a grid, so it has 1 to 26 bands, not {count}" == problem["detail"]
    assert 1 == len((await api.get("/v1/models/fit/versions"))["items"])


# --- refused, with each fault -----------------------------------------------------------------------------------------


async def refused(api: Api, path: str, body: Json) -> list[str]:
    reply = await api.http.post(path, content=json.dumps(body), headers={"content-type": "application/json"})
    found = pointers(said(reply, 422))
    assert len(found) == len(set(found))
    return found


WRONG_MODELS: list[tuple[Json, list[str]]] = [
    ({"colour": 1, "Min": 1}, ["/Min", "/colour"]),
    ({"min": 5, "max": 4.99}, ["/min"]),
    ({"min": 0.005, "max": 1_000_000_000.01}, ["/max", "/min"]),
    ({"min": "many", "max": True, "window_days": "90"}, ["/max", "/min", "/window_days"]),
    ({"window_days": 0}, ["/window_days"]),
    ({"window_days": 36_501}, ["/window_days"]),
    (
        {"groups": [{"name": "a", "max_points": 0}, {"name": "b", "max_points": -1}]},
        [f"/groups/{n}/max_points" for n in (0, 1)],
    ),
    ({"groups": [{"name": "a", "max_points": 1}, {"name": "a", "max_points": 2}]}, ["/groups/1/name"]),
    ({"groups": [{"name": ""}]}, ["/groups/0/max_points", "/groups/0/name"]),
    ({"audience": when("event.type", "=", "x")}, ["/audience/rules/0/field"]),
    ({"audience": when("contact.stage", ">>", "x")}, ["/audience/rules/0/operator"]),
    ({"audience": when("contact.score.nobody", ">", 1)}, ["/audience/rules/0/field"]),
    ({"audience": {**IS_CUSTOMER, "note": "a\0b"}}, ["/audience"]),
    ({"audience": "customers"}, ["/audience"]),
    ({"combine": {}}, ["/combine/sum"]),
    ({"combine": {"product": []}}, ["/combine/product", "/combine/sum"]),
    ({"combine": {"sum": []}}, ["/combine/sum"]),
    ({"combine": {"sum": [{"model": "nobody", "weight": 1}]}}, ["/combine/sum/0/model"]),
    ({"combine": {"sum": [{"model": "fit"}, {"weight": 1}]}}, ["/combine/sum/0/weight", "/combine/sum/1/model"]),
    (
        {"combine": {"sum": [{"model": "fit", "weight": 0.00001}, {"model": "fit", "weight": 1e12}]}},
        ["/combine/sum/0/weight", "/combine/sum/1/model", "/combine/sum/1/weight"],
    ),
    (
        {"combine": {"sum": [{"model": "fit", "weight": 1}], "grid": {"rows": "fit"}}},
        ["/combine/grid/columns", "/combine/sum"],
    ),
    ({"combine": {"grid": {"rows": "fit", "columns": "fit"}}}, ["/combine/grid/columns"]),
    ({"combine": {"grid": {"rows": "fit", "columns": "bandless"}}}, ["/combine/grid/columns"]),
    (
        {
            "combine": {"grid": {"rows": "fit", "columns": "nobody"}},
            "min": 0,
            "max": 1,
            "bands": COLD_HOT,
            "groups": [{"name": "a", "max_points": 1}],
        },
        ["/bands", "/combine/grid/columns", "/groups", "/max", "/min"],
    ),
    (
        {
            "bands": [*COLD_HOT, {"name": "HOT", "color": "#000000", "min": 50}],
            "audience": when("contact.nothing", "=", 1),
            "window_days": -1,
            "min": 2e9,
        },
        ["/audience/rules/0/field", "/bands/2/min", "/bands/2/name", "/min", "/window_days"],
    ),
]


@pytest.mark.parametrize(("fields", "found"), WRONG_MODELS)
async def test_each_fault_of_a_model_is_pointed_at_and_none_of_it_is_kept(
    api: Api, fields: Json, found: list[str]
) -> None:
    await api.post("/v1/models", {"key": "fit", "name": "Fit", "bands": COLD_HOT}, 201)
    bandless = await api.post("/v1/models", {"key": "bandless", "name": "Bandless"}, 201)

    assert found == sorted(await refused(api, "/v1/models", {"key": "m", "name": "M", **fields}))
    assert ["bandless", "fit"] == [one["key"] for one in (await api.get("/v1/models"))["items"]]
    if not {"grid", "columns"} & set("/".join(found).split("/")):  # else its bands are in the way, too
        assert found == sorted(pointers(await api.patch("/v1/models/bandless", fields, 422)))
    assert bandless == await api.get("/v1/models/bandless")


DECAY_STEP = [f"/decay/steps/0/{name}" for name in ("after_days", "percent")]
WRONG_RULES: list[tuple[Json, list[str]]] = [
    ({**CLICK, "colour": 1, "maxPoints": 2}, ["/colour", "/maxPoints"]),
    ({**CLICK, "kind": "habit"}, ["/kind"]),
    ({**CLICK, "window_days": "forever"}, ["/window_days"]),
    (
        {**CLICK, "window_days": 0, "max_count": 0, "max_per_day": -1, "at_least": 2**31},
        ["/at_least", "/max_count", "/max_per_day", "/window_days"],
    ),
    ({**CLICK, "max_count": 1.5, "at_least": "1"}, ["/at_least", "/max_count"]),
    (
        {**CLICK, "after_days": 3, "max_times": 1, "per_unit_of": {"field": "contact.properties.x"}},
        ["/after_days", "/max_times", "/per_unit_of"],
    ),
    ({**CLICK, "group": "nobody", "distinct_by": "campaign"}, ["/distinct_by", "/group"]),
    ({**CLICK, "distinct_by": "event.occurred_at"}, ["/distinct_by"]),
    ({**CLICK, "distinct_by": "contact.email"}, ["/distinct_by"]),
    ({**CLICK, "distinct_by": "event.properties.a\0"}, ["/distinct_by"]),
    ({**CLICK, "max_points": 0.001}, ["/max_points"]),
    ({**CLICK, "points": 1.005, "max_points": -1}, ["/max_points", "/points"]),
    (
        {**CLICK, "audience": when("event.type", "=", "x"), "condition": when("contact.email", "=", "x")},
        ["/audience/rules/0/field", "/condition/rules/0/field"],
    ),
    ({**CLICK, "condition": {**CLICK["condition"], "note": "\0"}}, ["/condition"]),
    ({**CLICK, "condition": {**CLICK["condition"], "note": [{"\ud800": 1}]}}, ["/condition"]),
    ({**CLICK, "condition": {**CLICK["condition"], "note": 2**64}}, ["/condition"]),
    ({**CLICK, "audience": when("contact.properties.x", "=", 2**64)}, ["/audience"]),
    ({**CLICK, "decay": 50}, ["/decay"]),
    ({**CLICK, "decay": {}}, ["/decay/half_life_days"]),
    ({**CLICK, "decay": {"steps": []}}, ["/decay/steps"]),
    ({**CLICK, "decay": {"steps": [{"after_days": 30}]}}, ["/decay/steps/0/percent"]),
    ({**CLICK, "decay": {"steps": [{"after_days": 0, "percent": 101}]}}, DECAY_STEP),
    (
        {**CLICK, "decay": {"steps": [{"after_days": 9, "percent": 50}, {"after_days": 9, "percent": 0}]}},
        ["/decay/steps/1/after_days"],
    ),
    (
        {**CLICK, "decay": {"steps": [{"after_days": n, "percent": p} for n, p in ((1, -1), (2, 100.01), (3, 0.001))]}},
        [f"/decay/steps/{n}/percent" for n in range(3)],
    ),
    ({**CLICK, "decay": {"steps": [{"after_days": n, "percent": 1} for n in range(1, 402)]}}, ["/decay/steps"]),
    ({**CLICK, "decay": {"half_life_days": 0}}, ["/decay/half_life_days"]),
    ({**CLICK, "decay": {"half_life_days": 36_501, "every_days": 0}}, ["/decay/every_days", "/decay/half_life_days"]),
    ({**CLICK, "decay": {"half_life_days": 36_500}}, ["/decay/every_days"]),
    ({**CLICK, "decay": {"half_life_days": 30, "steps": [{"after_days": 1, "percent": 1}]}}, ["/decay/half_life_days"]),
    ({**SILENCE, "after_days": None}, ["/after_days"]),
    ({**SILENCE, "after_days": 36_501, "max_times": 0}, ["/after_days", "/max_times"]),
    (
        {
            **SILENCE,
            "window_days": 3,
            "distinct_by": "event.type",
            "max_per_day": 1,
            "max_count": 1,
            "at_least": 1,
            "decay": {"half_life_days": 3},
            "max_points": 3,
        },
        ["/at_least", "/decay", "/distinct_by", "/max_count", "/max_per_day", "/max_points", "/window_days"],
    ),
    ({**SILENCE, "condition": None}, ["/condition"]),
    ({**ALWAYS, "max_points": 5}, ["/max_points"]),
    (
        {**ALWAYS, "window_days": 3, "audience": IS_CUSTOMER, "after_days": 3},
        ["/after_days", "/audience", "/window_days"],
    ),
    ({**ALWAYS, "points": 0.125}, ["/points"]),
    (
        {**ALWAYS, "points": 0.12345, "per_unit_of": {"field": "contact.email", "min": 2, "max": 1}},
        ["/per_unit_of/field", "/per_unit_of/min", "/points"],
    ),
    ({**ALWAYS, "per_unit_of": {"field": "contact.score.nobody"}}, ["/per_unit_of/field"]),
    ({**ALWAYS, "per_unit_of": {"field": "contact.score.m"}}, ["/per_unit_of/field"]),
    ({**ALWAYS, "per_unit_of": {}}, ["/per_unit_of/field"]),
    ({**ALWAYS, "condition": when("contact.score.m", ">", 1)}, ["/condition"]),
    ({**ALWAYS, "condition": when("contact.segments", "contains", "nobody")}, ["/condition/rules/0/value"]),
    ({**ALWAYS, "condition": when("contact.measures.nothing", ">", 1)}, ["/condition/rules/0/field"]),
    ({**ALWAYS, "condition": when("contact.score.m", "=", "many")}, ["/condition/rules/0/value"]),
]


@pytest.mark.parametrize(("rule", "found"), WRONG_RULES)
async def test_each_fault_of_a_rule_is_pointed_at_and_none_of_it_is_kept(
    api: Api, rule: Json, found: list[str]
) -> None:
    await api.post("/v1/models", {"key": "m", "name": "M", "groups": [{"name": "g", "max_points": 1}]}, 201)

    assert found == sorted(await refused(api, "/v1/models/m/rules", rule))
    assert [] == (await api.get("/v1/models/m/rules"))["items"]


NUMBERS = ["1e400", "-1e400", '"1e99999999"', '"-1e99999999"', '"1e-99999999"', '"NaN"', "1" * 400, "[1]", "{}", '""']


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("/v1/models", {"key": "q", "name": "Q", "min": "?"}, "/min"),
        ("/v1/models", {"key": "q", "name": "Q", "groups": [{"name": "a", "max_points": "?"}]}, "/groups/0/max_points"),
        ("/v1/models", {"key": "q", "name": "Q", "bands": [{**COLD_HOT[0], "min": "?"}]}, "/bands/0/min"),
        (
            "/v1/models",
            {"key": "q", "name": "Q", "combine": {"sum": [{"model": "m", "weight": "?"}]}},
            "/combine/sum/0/weight",
        ),
        ("/v1/models/m/rules", {**CLICK, "points": "?"}, "/points"),
        ("/v1/models/m/rules", {**CLICK, "max_points": "?"}, "/max_points"),
        (
            "/v1/models/m/rules",
            {**CLICK, "decay": {"steps": [{"after_days": 1, "percent": "?"}]}},
            "/decay/steps/0/percent",
        ),
        ("/v1/models/m/rules", unit("contact.properties.x", 1, min="?"), "/per_unit_of/min"),
    ],
)
async def test_absurd_numbers_are_pointed_at(api: Api, path: str, body: Json, pointer: str, number: str) -> None:
    await api.post("/v1/models", {"key": "m", "name": "M"}, 201)
    content = str(body).replace("'?'", number).replace("'", '"').replace("True", "true")

    reply = await api.http.post(path, content=content, headers={"content-type": "application/json"})

    assert [pointer] == pointers(said(reply, 422)), content


# --- circles ----------------------------------------------------------------------------------------------------------


async def test_no_model_may_depend_on_itself_by_whatever_way(api: Api) -> None:
    """a ← b by a sum ← c by a condition on a score ← d by an audience ← e by a unit ← f by a grid."""
    await publish(api, "a", bands=COLD_HOT)
    await publish(api, "b", combine={"sum": [{"model": "a", "weight": 1}]}, bands=COLD_HOT)
    await publish(api, "c", {**ALWAYS, "condition": when("contact.score.b", ">", 1)})
    await publish(api, "d", audience=when("contact.band.c", "=", "hot"))
    await publish(api, "e", unit("contact.score.d", 1), bands=COLD_HOT)
    await publish(api, "f", combine={"grid": {"rows": "e", "columns": "b"}})

    for key in "abcdef":
        sum_ = {"combine": {"sum": [{"model": key, "weight": 1}]}}
        assert ["/combine/sum/0/model"] == pointers(await api.patch("/v1/models/a", sum_, 422)), key
        looking = {"audience": when(f"contact.score.{key}", ">", 1)}
        assert ["/audience"] == pointers(await api.patch("/v1/models/a", looking, 422)), key
        of_band = {**ALWAYS, "condition": when(f"contact.band.{key}", "=", "hot")}
        assert ["/condition"] == await refused(api, "/v1/models/a/rules", of_band), key
        gate = {**CLICK, "audience": when(f"contact.score.{key}", ">", 1)}
        assert ["/audience"] == await refused(api, "/v1/models/a/rules", gate), key
        of_unit = unit(f"contact.score.{key}", 1)
        assert ["/per_unit_of/field"] == await refused(api, "/v1/models/a/rules", of_unit), key
    grid_ = {"combine": {"grid": {"rows": "e", "columns": "b"}}, "bands": []}
    found = pointers(await api.patch("/v1/models/a", grid_, 422))
    assert ["/combine/grid/rows", "/combine/grid/columns"] == found
    assert not (await api.get("/v1/models/a"))["has_changes"]


async def test_a_group_that_rules_are_in_stays_until_they_are_out(api: Api) -> None:
    await api.post("/v1/models", {"key": "m", "name": "M", "groups": [{"name": "g", "max_points": 1}]}, 201)
    rule = await api.post("/v1/models/m/rules", {**ALWAYS, "group": "g"}, 201)

    for groups in (None, [], [{"name": "h", "max_points": 1}]):
        assert ["/groups"] == pointers(await api.patch("/v1/models/m", {"groups": groups}, 422))
    await api.patch(f"/v1/rules/{rule['id']}", {"group": None})
    assert [] == (await api.patch("/v1/models/m", {"groups": None}))["groups"]


async def test_a_model_that_looks_at_scores_which_nobody_computes_is_not_published(api: Api) -> None:
    await api.post("/v1/models", {"key": "fit", "name": "Fit", "bands": COLD_HOT}, 201)
    await api.post("/v1/models", {"key": "m", "name": "M", "audience": when("contact.score.fit", ">", 1)}, 201)
    await api.post("/v1/models/m/rules", unit("contact.score.fit", 1), 201)

    problem = await api.post("/v1/models/m/publish", status=409)
    assert "it depends on scores that nobody computes; publish fit first" == problem["detail"]
    await publish_again_and_archive(api, "fit")
    assert problem == await api.post("/v1/models/m/publish", status=409)
    assert [] == (await api.get("/v1/models/m/versions"))["items"]


async def publish_again_and_archive(api: Api, key: str) -> None:
    await again(api, key)
    await api.post(f"/v1/models/{key}/archive")


async def test_a_combination_of_a_model_that_counts_no_more_is_not_published(api: Api) -> None:
    await grid(api)
    await api.post("/v1/models/cell/archive")
    await api.post("/v1/models/fit/archive")
    await api.post("/v1/models/cell/unarchive")

    for path in ("publish", "preview", "versions/1/publish"):
        problem = await api.post(f"/v1/models/cell/{path}", status=409)
        assert "it combines 'fit', which is not published; publish that first" == problem["detail"]


async def test_a_grid_has_no_rules_of_its_own(api: Api) -> None:
    await grid(api)
    await api.post("/v1/models/cell/rules", ALWAYS, 201)

    assert ["/combine"] == pointers(await api.post("/v1/models/cell/publish", status=422))


async def test_what_others_need_is_neither_archived_nor_deleted(api: Api) -> None:
    await grid(api)

    for problem in (await api.post("/v1/models/fit/archive", status=409), await api.delete("/v1/models/fit", 409)):
        assert "conflict" == problem["code"]
        assert "cell" in problem["detail"]
    await api.post("/v1/models/cell/archive")
    await api.post("/v1/models/fit/archive")
