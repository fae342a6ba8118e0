"""What a contact is worth: listed, explained, as it was, as it will be, adjusted by hand, and after a merge."""

from datetime import timedelta
from uuid import uuid4

import pytest

from app import clock
from app.store.keys import Scope
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

WEBINAR = event_rule("webinar.attended", 20)


@pytest.fixture(autouse=True)
def at_noon(api: Api) -> None:
    set_clock(NOON)


async def of_ada(api: Api, path: str, status: int = 200, **query: Json) -> Json:
    return await api.get(f"/v1/contacts/{await api.id_of('ada@example.com')}/{path}", status, **query)


async def adjust(api: Api, kind: str, status: int = 201, **said: Json) -> Json:
    contact = await api.id_of("ada@example.com")
    return await api.post(f"/v1/contacts/{contact}/adjustments", {"kind": kind, "reason": "why", **said}, status)


async def revoke(api: Api, adjustment: Json) -> None:
    await api.delete(f"/v1/contacts/{await api.id_of('ada@example.com')}/adjustments/{adjustment['id']}")


def day(number: int) -> str:
    return (NOON + timedelta(days=number)).date().isoformat()


# --- listed -----------------------------------------------------------------------------------------------------------


async def test_scores_are_listed_by_model_with_their_bands(api: Api) -> None:
    await publish(api, "fit", unit("contact.properties.x", 1), bands=COLD_HOT)
    await publish(api, "engagement", {**CLICK, "window_days": 10}, bands=COLD_HOT)
    await publish(api, "customers", ALWAYS, audience=IS_CUSTOMER)
    await ada(api, properties={"x": 70.5})
    await api.send(happened("email.clicked", 3))
    await adjust(api, "override", model="fit", points=-1)

    now = clock.now().isoformat()[:16]
    listed = await of_ada(api, "scores")

    assert all(one.pop("computed_at").startswith(now) for one in listed)
    rest = {"computed": None, "version": 1, "next_change_on": None}
    assert [
        {**rest, "model": "customers", "value": None, "band": None},
        {**rest, "model": "engagement", "value": 5, "band": "cold", "next_change_on": day(7)},
        {**rest, "model": "fit", "value": -1, "band": None, "computed": 70.5},
    ] == listed


async def test_a_score_in_an_archived_model_stays_in_the_list_and_is_explained_as_it_was(api: Api) -> None:
    await publish(api, "m", CLICK, bands=COLD_HOT)
    await api.send(happened("email.clicked"))
    before = await of_ada(api, "scores")

    set_clock(NOON + timedelta(hours=1))
    await api.post("/v1/models/m/archive")
    await api.send({"type": "email.clicked", "contact": ADA})

    assert before == await of_ada(api, "scores")
    problem = await of_ada(api, "scores/m/explanation", 404)
    assert "no scoring model 'm' counts at that moment; as_of may name one at which it did" == problem["detail"]
    assert 5 == (await explained(api, "m", as_of=(NOON + timedelta(minutes=30)).isoformat()))["value"]
    assert ["/model"] == pointers(await adjust(api, "points", 422, model="m", points=1))


async def test_who_or_what_is_not_there_is_not_found(api: Api) -> None:
    await publish(api, "m", CLICK)
    await api.post("/v1/models", {"key": "draft", "name": "Draft"}, 201)
    contact = await ada(api)

    for path in ("scores", "scores/m/explanation", "scores/m/forecast", "scores/m/history", "adjustments"):
        assert "there is no such contact" == (await api.get(f"/v1/contacts/{uuid4()}/{path}", 404))["detail"]
        assert ["/contact_id"] == pointers(await api.get(f"/v1/contacts/ada/{path}", 422))
    for path in ("explanation", "forecast", "history"):
        await api.get(f"/v1/contacts/{contact}/scores/nobody/{path}", 404)
    await api.get(f"/v1/contacts/{contact}/scores/draft/explanation", 404)
    assert [] == (await api.get(f"/v1/contacts/{contact}/scores/draft/history"))["items"]
    assert 1 == len(await api.get(f"/v1/contacts/{contact}/scores"))


# --- explained --------------------------------------------------------------------------------------------------------


async def test_an_explanation_says_what_each_rule_gives_and_adds_up_exactly(api: Api) -> None:
    await publish(
        api,
        "m",
        {**CLICK, "points": 0.1, "distinct_by": "event.properties.id", "group": "g", "max_points": 0.3},
        {**WEBINAR, "group": "g", "window_days": 30, "decay": {"half_life_days": 30, "every_days": 7}},
        SILENCE,
        {**unit("contact.properties.x", 0.3333, max=10), "max_points": 3},
        groups=[{"name": "g", "max_points": 17.01}],
        max=10,
        bands=COLD_HOT,
    )
    await ada(api, properties={"x": 12})
    clicks = [happened("email.clicked", age, id=name) for age, name in ((0, "a"), (1, "b"), (1, "c"), (2, "a"))]
    await api.send(*clicks, happened("email.clicked", id="d"), happened("webinar.attended", 7))
    hand = await adjust(api, "points", model="m", points=-7.5, reason="asked for it", ends_on=day(3))

    found = await explained(api, "m")

    clicked, webinar, silent, units, by_hand = found["contributions"]
    assert (4, 0.3, 0.4) == (clicked["count"], clicked["points"], clicked["raw"])
    assert [
        {"day": day(0), "events": 2, "counted": 2, "worth": 1, "leaves_on": None},
        {"day": day(-1), "events": 2, "counted": 2, "worth": 1, "leaves_on": None},
    ] == clicked["details"]["days"]
    assert (1, 17.01, day(7)) == (webinar["count"], webinar["points"], webinar["next_change_on"])
    week = {"day": day(-7), "events": 1, "counted": 1, "worth": 0.8507, "leaves_on": day(23)}
    assert [week] == webinar["details"]["days"]
    assert (0, 0, day(30)) == (silent["count"], silent["points"], silent["next_change_on"])
    assert day(0) == silent["details"]["silent_since"]
    assert (1, 3, 3.33, 10) == (units["count"], units["points"], units["raw"], units["details"]["units"])
    assert (None, hand["id"], -7.5, day(3)) == tuple(
        by_hand[name] for name in ("rule", "adjustment_id", "points", "next_change_on")
    )
    assert [{"by": "group g", "points": -0.3}, {"by": "max", "points": -2.51}] == found["cuts"]
    assert (10, 10, "cold", 1, day(3)) == tuple(
        found[name] for name in ("value", "computed", "band", "version", "next_change_on")
    )
    assert [hand] == found["adjustments"]
    rules = (await api.get("/v1/models/m/rules"))["items"]
    kept = [{name: rule[name] for name in clicked["rule"]} for rule in rules]
    assert kept == [one["rule"] for one in found["contributions"][:4]]


@pytest.mark.parametrize("given", [CLICK, SILENCE, ALWAYS, unit("contact.properties.x", 1)])
async def test_what_an_explanation_returns_is_what_is_documented(api: Api, given: Json) -> None:
    await publish(api, "m", given)
    await api.send(happened("email.clicked"))
    await adjust(api, "points", model="m", points=1)

    found = await explained(api, "m")

    [schemas] = [(await api.get("/openapi.json"))["components"]["schemas"]]
    assert schemas["ExplanationOut"]["properties"].keys() == found.keys()
    for one in found["contributions"]:
        assert schemas["ContributionOut"]["properties"].keys() == one.keys()
        assert schemas["DetailsOut"]["properties"].keys() == one["details"].keys()
        assert one["rule"] is None or schemas["VersionRule"]["properties"].keys() == one["rule"].keys()
        for each in one["details"]["days"] or ():
            assert schemas["DayOut"]["properties"].keys() == each.keys()
    assert schemas["AdjustmentOut"]["properties"].keys() == found["adjustments"][0].keys()


# --- as it was --------------------------------------------------------------------------------------------------------


async def test_a_score_is_explained_as_of_any_past_moment_by_the_rules_of_then_or_of_now(api: Api) -> None:
    await publish(api, "m", CLICK, bands=COLD_HOT)
    [rule] = (await api.get("/v1/models/m/rules"))["items"]
    await api.send(happened("email.clicked"))
    set_clock(NOON + timedelta(days=1))
    await api.send(happened("email.clicked", -1))
    set_clock(NOON + timedelta(days=2))
    await api.patch(f"/v1/rules/{rule['id']}", {"points": 30})
    await again(api, "m")
    set_clock(NOON + timedelta(days=3))

    moments = {
        "2026-05-15": (5, 30),
        "2026-05-15T12:00:01Z": (5, 30),
        "2026-05-16T13:59:59+02:00": (5, 30),
        "2026-05-16": (10, 60),
        "2026-05-17T11:59:59Z": (10, 60),
        "2026-05-17": (60, 60),
        "2026-05-18": (60, 60),
    }
    for moment, (then, now) in moments.items():
        by_then = await explained(api, "m", as_of=moment)
        assert by_then["value"] == (await explained(api, "m", as_of=moment, rules="then"))["value"]
        by_now = await explained(api, "m", as_of=moment, rules="now")
        assert (then, now) == (by_then["value"], by_now["value"]), moment
        assert (1 if then < 60 else 2, 2) == (by_then["version"], by_now["version"])
        assert ("hot" if then == 60 else "cold") == by_then["band"]
    assert ["2026-05-15T23:59:59.999999Z", "2026-05-16T11:59:59Z"] == [
        (await explained(api, "m", as_of=moment))["as_of"] for moment in ("2026-05-15", "2026-05-16T13:59:59+02:00")
    ]


async def test_what_was_told_later_of_a_moment_counts_then(api: Api) -> None:
    await publish(api, "m", CLICK)
    await ada(api)
    set_clock(NOON + timedelta(days=2))
    await api.send(happened("email.clicked", 1), happened("email.clicked", -1))

    as_of = {day: (await explained(api, "m", as_of=day))["value"] for day in ("2026-05-15", "2026-05-16")}

    assert {"2026-05-15": 5, "2026-05-16": 10} == as_of


async def test_the_past_knows_what_the_contact_was_and_which_adjustments_held(api: Api) -> None:
    await publish(api, "m", {**ALWAYS, "condition": IS_CUSTOMER, "points": 3}, CLICK)
    await ada(api, stage="customer")
    override = await adjust(api, "override", model="m", points=99)
    set_clock(NOON + timedelta(hours=1))
    await revoke(api, override)
    await ada(api, stage="lost")
    set_clock(NOON + timedelta(hours=2))

    then = await explained(api, "m", as_of=(NOON + timedelta(minutes=30)).isoformat())
    now = await explained(api, "m")

    assert (99, 3, override["id"]) == (then["value"], then["computed"], then["override_id"])
    assert ["why"] == [one["reason"] for one in then["adjustments"]]
    assert (0, None, []) == (now["value"], now["override"], now["adjustments"])


async def test_before_there_was_a_contact_or_a_model_there_was_no_score(api: Api) -> None:
    set_clock(NOON - timedelta(days=2))
    await ada(api)
    set_clock(NOON)
    await publish(api, "m", CLICK)

    contact = await of_ada(api, "scores/m/explanation", 404, as_of="2026-05-12")
    model = await of_ada(api, "scores/m/explanation", 404, as_of="2026-05-14")

    assert "there was no such contact at that moment" == contact["detail"]
    assert model["detail"].startswith("no scoring model 'm' counts at that moment")
    assert 0 == (await explained(api, "m", as_of="2026-05-14", rules="now"))["value"]


@pytest.mark.parametrize(
    "moment",
    [
        "2026-05-16", "2026-05-15T12:00:10Z", "9999-12-31", "0001-01-01", "0001-01-01T00:00:00+10:00", "soon", "",
        "2026-05-14T09:00:00", "2026-02-30", "1715000000", "2026-05-14T09:00:00 02:00", "2999-12-31T23:59:59-23:00",
    ],
)  # fmt: skip
async def test_a_moment_that_is_to_come_or_is_none_is_pointed_at(api: Api, moment: str) -> None:
    await publish(api, "m", CLICK)
    await ada(api)

    assert ["/as_of"] == pointers(await of_ada(api, "scores/m/explanation", 422, as_of=moment))
    problem = await of_ada(api, "scores/m/explanation", 422, as_of="soon", rules="never")
    assert ["/as_of", "/rules"] == pointers(problem)


async def test_what_a_version_named_that_is_gone_is_in_the_way_of_its_own_past_alone(api: Api) -> None:
    await publish(api, "gone", ALWAYS)
    await publish(api, "m", CLICK, {**ALWAYS, "condition": when("contact.score.gone", ">", 0)})
    await publish(api, "other", ALWAYS)
    await ada(api)
    set_clock(NOON + timedelta(days=1))
    [_, rule] = (await api.get("/v1/models/m/rules"))["items"]
    await api.delete(f"/v1/rules/{rule['id']}")
    await again(api, "m")
    await api.delete("/v1/models/gone")

    assert 1 == (await explained(api, "other", as_of="2026-05-15"))["value"]
    assert 0 == (await explained(api, "m", as_of="2026-05-15", rules="now"))["value"]
    problem = await of_ada(api, "scores/m/explanation", 409, as_of="2026-05-15")
    assert problem["detail"].startswith("version 1 of 'm' cannot be read any more")
    problem = await api.post("/v1/models/m/versions/1/publish", status=409)
    assert problem["detail"].startswith("version 1 of 'm' names what is gone, or has changed: ")
    assert 2 == len((await api.get("/v1/models/m/versions"))["items"])


# --- as it will be ----------------------------------------------------------------------------------------------------


async def test_what_is_forecast_comes_true(api: Api) -> None:
    await publish(
        api, "m", {**CLICK, "window_days": 10, "decay": {"steps": [{"after_days": 5, "percent": 50}]}}, SILENCE
    )
    await ada(api)
    await api.send(happened("email.clicked"), happened("email.clicked", 3), happened("email.clicked", -2))
    await adjust(api, "points", model="m", points=100, ends_on=day(4))

    told = await of_ada(api, "scores/m/forecast")

    assert ("m", 110) == (told["model"], told["value"])
    changes = [(2, 112.5), (4, 12.5), (5, 10), (7, 5), (10, 2.5), (12, 0), (32, -10)]
    assert [{"on": day(number), "value": points} for number, points in changes] == told["changes"]
    assert told["changes"][:2] == (await of_ada(api, "scores/m/forecast", limit=2))["changes"]
    foretold = dict(changes)
    expected = 110.0
    for number in range(1, 40):
        await go_to(api, number)
        expected = foretold.get(number, expected)
        assert expected == await value(api), number
    assert ["/limit"] == pointers(await of_ada(api, "scores/m/forecast", 422, limit=51))


async def test_a_combined_score_is_forecast_with_its_parts(api: Api) -> None:
    await publish(api, "engagement", {**CLICK, "points": 60, "window_days": 3}, bands=COLD_HOT)
    await publish(api, "fit", ALWAYS, bands=COLD_HOT)
    await publish(api, "cell", combine={"grid": {"rows": "fit", "columns": "engagement"}})
    await api.send(happened("email.clicked"))

    told = await of_ada(api, "scores/cell/forecast")

    assert {"model": "cell", "value": 2, "changes": [{"on": day(3), "value": 1}]} == told
    await go_to(api, 3)
    assert 1 == await value(api, "cell")


# --- what it was ------------------------------------------------------------------------------------------------------


async def test_every_change_of_a_score_is_kept_with_its_cause(api: Api) -> None:
    await publish(api, "m", {**CLICK, "window_days": 3}, {**ALWAYS, "condition": IS_CUSTOMER, "points": 2})
    await ada(api)
    await api.send(happened("email.clicked"))
    await api.send(happened("page.viewed"))
    await ada(api, stage="customer")
    adjustment = await adjust(api, "points", model="m", points=10)
    await revoke(api, adjustment)
    await go_to(api, 3)
    [click, _] = (await api.get("/v1/models/m/rules"))["items"]
    await api.patch(f"/v1/rules/{click['id']}", {"window_days": 30})
    await again(api, "m")

    page = await of_ada(api, "scores/m/history")

    assert page["next_cursor"] is None
    assert [
        ("publish", 2, 7, 2),
        ("rollover", 7, 2, 1),
        ("adjustment", 17, 7, 1),
        ("adjustment", 7, 17, 1),
        ("contact", 5, 7, 1),
        ("event", 0, 5, 1),
        ("contact", None, 0, 1),
    ] == [(one["cause"], one["was"], one["value"], one["version"]) for one in page["items"]]
    assert all({"at", "was", "value", "version", "cause"} == one.keys() for one in page["items"])
    assert sorted((one["at"] for one in page["items"]), reverse=True) == [one["at"] for one in page["items"]]
    assert page["items"] == await paged(api, "scores/m/history")


async def paged(api: Api, path: str) -> Json:
    """All items of a list, two a page."""
    found: list[Json] = []
    page: Json = {"next_cursor": ""}
    while page["next_cursor"] is not None:
        page = await of_ada(api, path, limit=2, **({"cursor": page["next_cursor"]} if found else {}))
        assert len(page["items"]) <= 2
        found += page["items"]
    return found


async def test_a_cursor_of_another_list_is_pointed_at(api: Api) -> None:
    await publish(api, "m", CLICK)
    await ada(api)
    for points in range(3):
        await adjust(api, "points", model="m", points=points + 1)
    cursors = [(await of_ada(api, path, limit=1))["next_cursor"] for path in ("scores/m/history", "adjustments")]

    for path, cursor in [("scores/m/history", cursors[1]), ("adjustments", cursors[0]), ("adjustments", "x")]:
        assert ["/cursor"] == pointers(await of_ada(api, path, 422, cursor=cursor))


# --- adjusted by hand -------------------------------------------------------------------------------------------------


async def test_points_by_hand_are_added_until_they_end(api: Api) -> None:
    await publish(api, "m", CLICK, max=20)
    await api.send(happened("email.clicked"))

    reply = await api.http.post(
        f"/v1/contacts/{await api.id_of('ada@example.com')}/adjustments",
        json={"kind": "points", "model": "m", "points": 12.25, "reason": "met at the fair", "ends_on": day(2)},
    )
    made = said(reply, 201)
    assert made == await api.get(reply.headers["location"])
    assert {
        "id": made["id"],
        "kind": "points",
        "model": "m",
        "points": 12.25,
        "reason": "met at the fair",
        "from_day": None,
        "ends_on": day(2),
        "made_by": "tests",
        "created_at": made["created_at"],
        "revoked_at": None,
        "revoked_by": None,
    } == made
    await adjust(api, "points", model="m", points=-1)

    found = await explained(api, "m")
    assert (16.25, day(2)) == (found["value"], found["next_change_on"])
    assert [(None, 5), (made["id"], 12.25)] == [
        (one["adjustment_id"], one["points"]) for one in found["contributions"] if one["points"] > 0
    ]
    await go_to(api, 2)
    assert 4 == await value(api)
    assert [-1] == [one["points"] for one in (await explained(api, "m"))["adjustments"]]


async def test_an_override_stands_in_for_what_the_rules_say_and_a_new_one_ends_it(api: Api) -> None:
    await publish(api, "m", CLICK, bands=COLD_HOT, max=60)
    await publish(api, "twice", combine={"sum": [{"model": "m", "weight": 2}]})
    await api.send(happened("email.clicked"))

    first = await adjust(api, "override", model="m", points=-70)
    assert (-70, -140) == (await value(api), await value(api, "twice"))
    second = await adjust(api, "override", model="m", points=70, ends_on=day(1), reason="customer")
    await api.send(happened("email.clicked"))

    found = await explained(api, "m")
    assert (70, 10, 70, second["id"], "hot") == tuple(
        found[name] for name in ("value", "computed", "override", "override_id", "band")
    )
    [listed, _] = await of_ada(api, "scores")
    assert (70, 10) == (listed["value"], listed["computed"])
    assert [5 + 5] == [one["points"] for one in found["contributions"]]
    assert [second] == found["adjustments"]
    [_, ended] = (await of_ada(api, "adjustments"))["items"]
    assert (first["id"], "tests") == (ended["id"], ended["revoked_by"])
    assert ended["revoked_at"] == second["created_at"]
    await go_to(api, 1)
    assert (10, 20) == (await value(api), await value(api, "twice"))


async def test_an_override_gives_a_score_to_who_is_not_in_the_audience(api: Api) -> None:
    await publish(api, "m", ALWAYS, audience=IS_CUSTOMER)
    await ada(api)
    override = await adjust(api, "override", model="m", points=7)

    found = await explained(api, "m")
    assert (7, None) == (found["value"], found["computed"])
    await revoke(api, override)
    assert await value(api) is None


async def test_a_reset_forgets_the_events_so_far_in_one_model_and_its_revocation_brings_them_back(api: Api) -> None:
    for key in ("m", "other"):
        await publish(api, key, CLICK, {**SILENCE, "points": -3}, ALWAYS)
    await api.send(happened("email.clicked", 40), happened("email.clicked"))
    await adjust(api, "points", model="m", points=100)
    assert (111, 11) == (await value(api), await value(api, "other"))

    reset = await adjust(api, "reset", model="m")
    assert (day(1), None) == (reset["from_day"], reset["points"])
    found = await explained(api, "m")
    assert (1, [reset["id"]]) == (found["value"], [found["adjustments"][0]["id"]])
    assert day(1) == found["contributions"][0]["details"]["silent_since"]
    assert 11 == await value(api, "other")
    await api.send(happened("email.clicked"))
    assert (1, 16) == (await value(api), await value(api, "other"))
    set_clock(NOON + timedelta(days=1))
    await api.send(happened("email.clicked", -1))
    assert (6, 21) == (await value(api), await value(api, "other"))

    await revoke(api, reset)
    assert (121, 21) == (await value(api), await value(api, "other"))
    assert 1 == (await explained(api, "m", as_of="2026-05-15"))["value"]


async def test_a_reset_may_be_of_all_models_from_a_day_and_until_a_day(api: Api) -> None:
    for key in ("m", "other"):
        await publish(api, key, CLICK)
    await api.send(*(happened("email.clicked", age) for age in range(4)))

    await adjust(api, "reset", from_day=day(-2), ends_on=day(5))
    assert (15, 15) == (await value(api), await value(api, "other"))
    found = await explained(api, "other")
    assert (None, day(-2), day(5)) == tuple(found["adjustments"][0][name] for name in ("model", "from_day", "ends_on"))
    await adjust(api, "reset", model="other", from_day=day(-1))
    assert (15, 10) == (await value(api), await value(api, "other"))
    await go_to(api, 5)
    assert (20, 10) == (await value(api), await value(api, "other"))


WRONG: list[tuple[Json, list[str]]] = [
    ({}, ["/kind"]),
    ({"kind": "gift"}, ["/kind"]),
    ({"kind": "points", "reason": None}, ["/reason"]),
    ({"kind": "points", "reason": ""}, ["/reason"]),
    ({"kind": "points", "by": "me"}, ["/by"]),
    ({"kind": "points"}, ["/model", "/points"]),
    ({"kind": "override", "model": "nobody"}, ["/model", "/points"]),
    ({"kind": "points", "model": "m", "points": 0.001}, ["/points"]),
    ({"kind": "points", "model": "m", "points": 1_000_000_000.01}, ["/points"]),
    ({"kind": "points", "model": "m", "points": "1e99999999"}, ["/points"]),
    ({"kind": "points", "model": "m", "points": "NaN"}, ["/points"]),
    ({"kind": "override", "model": "m", "points": 1, "from_day": "2026-05-01"}, ["/from_day"]),
    ({"kind": "override", "model": "m", "points": 1, "ends_on": "2026-05-15"}, ["/ends_on"]),
    ({"kind": "reset", "points": 1, "model": "nobody", "ends_on": "2026-01-01"}, ["/ends_on", "/model", "/points"]),
    ({"kind": "reset", "from_day": "9999-12-31", "ends_on": "0001-01-01"}, ["/ends_on", "/from_day"]),
    ({"kind": "reset", "from_day": "soon"}, ["/from_day"]),
]


@pytest.mark.parametrize(("wrong", "found"), WRONG)
async def test_each_fault_of_an_adjustment_is_pointed_at_and_nothing_is_adjusted(
    api: Api, wrong: Json, found: list[str]
) -> None:
    await publish(api, "m", SILENCE)
    contact = await ada(api)

    problem = await api.post(f"/v1/contacts/{contact}/adjustments", {"reason": "why", **wrong}, 422)

    assert found == sorted(pointers(problem))
    assert [] == (await of_ada(api, "adjustments"))["items"]


async def test_adjustments_are_listed_newest_first_revoked_once_and_of_one_contact(api: Api) -> None:
    await publish(api, "m", CLICK)
    contact = await ada(api)
    other = (await api.post("/v1/contacts", {"email": "bob@example.com"}, 201))["id"]
    made = [await adjust(api, "points", model="m", points=number) for number in range(1, 6)]

    assert made[::-1] == (await of_ada(api, "adjustments"))["items"] == await paged(api, "adjustments")
    path = f"adjustments/{made[0]['id']}"
    await api.get(f"/v1/contacts/{other}/{path}", 404)
    await api.delete(f"/v1/contacts/{other}/{path}", 404)
    assert 15 == await value(api)
    await api.delete(f"/v1/contacts/{contact}/{path}")
    await api.delete(f"/v1/contacts/{contact}/{path}", 404)
    assert 14 == await value(api)
    assert "tests" == (await of_ada(api, path))["revoked_by"]
    for nobody in (f"/v1/contacts/{uuid4()}/adjustments", f"/v1/contacts/{contact}/adjustments/{uuid4()}"):
        if nobody.endswith("adjustments"):
            await api.post(nobody, {"kind": "reset", "reason": "why"}, 404)
        else:
            await api.delete(nobody, 404)
    assert [] == (await api.get(f"/v1/contacts/{other}/adjustments"))["items"]


async def test_an_adjustment_of_a_draft_counts_once_it_is_published(api: Api) -> None:
    await api.post("/v1/models", {"key": "m", "name": "M"}, 201)
    await ada(api)
    await adjust(api, "points", model="m", points=4)

    await again(api, "m")

    assert 4 == await value(api)


# --- merged -----------------------------------------------------------------------------------------------------------

BOB = {"email": "bob@example.com", "user_id": "b-1"}
EVE = {"email": "eve@example.com"}


async def merge(api: Api, status: int = 200) -> Json:
    """Bob becomes part of Ada."""
    survivor, other = await api.id_of("ada@example.com"), str(await api.id_of("b-1", "user_id"))
    return await api.post(f"/v1/contacts/{survivor}/merge", {"other": other}, status)


def of(person: Json, event: Json) -> Json:
    return {**event, "contact": person}


async def test_a_merged_contact_scores_as_if_it_had_always_been_one(api: Api) -> None:
    await publish(
        api,
        "m",
        {**CLICK, "distinct_by": "event.properties.id", "max_per_day": 2},
        {**WEBINAR, "at_least": 2},
        event_rule("page.viewed", 1, max_per_day=3, window_days=10),
        {**SILENCE, "after_days": 1},
        {**unit("contact.properties.x", 1)},
        bands=COLD_HOT,
    )
    await publish(api, "squared", unit("contact.score.m", 2))
    hers = [happened("email.clicked", 1, id="a"), happened("webinar.attended", 2), happened("page.viewed")]
    his = [happened("email.clicked", 1, id="a"), happened("email.clicked", 3, id="b"), happened("webinar.attended", 4)]
    his += [happened("page.viewed") for _ in range(3)]
    await api.send(*hers, *(of(BOB, one) for one in his))
    await api.send(*(of(EVE, {**one, "id": str(uuid4())}) for one in [*hers, *his]))
    await api.post("/v1/contacts", {**BOB, "properties": {"x": 7}}, 200)
    await api.post("/v1/contacts", {**EVE, "properties": {"x": 7}}, 200)

    merged = await merge(api)

    assert ("ada@example.com", {"x": 7}) == (merged["email"], merged["properties"])
    # two campaigns, two webinars, three page views of four, a day without e-mail, seven units
    assert 10 + 20 + 3 - 10 + 7 == await value(api) == await value(api, "m", "eve@example.com")
    assert await value(api, "squared", "eve@example.com") == await value(api, "squared")
    as_one, always_one = await explained(api, "m"), await explained(api, "m", "eve@example.com")
    assert always_one["contributions"] == as_one["contributions"]
    assert merged["id"] == str(await api.id_of("bob@example.com")) == str(await api.id_of("b-1", "user_id"))
    assert 9 == len((await api.get("/v1/events", contact_id=merged["id"]))["items"])
    assert "merge" == (await of_ada(api, "scores/m/history"))["items"][0]["cause"]


async def test_who_was_merged_is_gone_and_what_comes_for_them_comes_to_who_stayed(api: Api) -> None:
    await publish(api, "m", CLICK)
    await ada(api)
    other = (await api.post("/v1/contacts", BOB, 201))["id"]
    await merge(api)

    for path in ("", "/scores", "/scores/m/explanation", "/adjustments"):
        await api.get(f"/v1/contacts/{other}{path}", 404)
    await api.send(of({"user_id": "b-1"}, happened("email.clicked")))

    assert 5 == await value(api)
    for table in ("event", "tally", "score", "score_change", "adjustment", "identity", "activity", "contact_past"):
        assert 0 == await api.fetchval(f"SELECT count(*) FROM {table} WHERE contact_id = $1::uuid", other), table


async def test_adjustments_move_with_a_merge(api: Api) -> None:
    await publish(api, "m", CLICK)
    await ada(api)
    other = (await api.post("/v1/contacts", BOB, 201))["id"]
    await adjust(api, "points", model="m", points=1)
    body = {"kind": "points", "model": "m", "points": 10, "reason": "his"}
    his = await api.post(f"/v1/contacts/{other}/adjustments", body, 201)

    await merge(api)

    assert 11 == await value(api)
    assert his in (await of_ada(api, "adjustments"))["items"]


async def test_of_the_overrides_of_two_that_are_merged_the_later_one_holds(api: Api) -> None:
    await publish(api, "m", CLICK)
    await ada(api)
    other = (await api.post("/v1/contacts", BOB, 201))["id"]
    await adjust(api, "override", model="m", points=50)
    body = {"kind": "override", "model": "m", "points": 10, "reason": "his"}
    his = await api.post(f"/v1/contacts/{other}/adjustments", body, 201)

    await merge(api)

    found = await explained(api, "m")
    assert (10, his["id"], [his]) == (found["value"], found["override_id"], found["adjustments"])


async def test_an_opt_out_of_either_stays_and_the_bounce_of_the_address_that_stays(api: Api) -> None:
    await api.send(
        happened("page.viewed"),
        of(BOB, happened("email.unsubscribed")),
        of(BOB, happened("email.bounced", bounce="hard")),
    )

    merged = await merge(api)

    assert (True, False, "ada@example.com") == (merged["opted_out"], merged["bounced"], merged["email"])


async def test_what_cannot_be_merged_is_refused(api: Api) -> None:
    contact = await ada(api)
    path = f"/v1/contacts/{contact}/merge"

    assert ["/other"] == pointers(await api.post(path, {"other": contact}, 422))
    assert ["/other"] == pointers(await api.post(path, {"other": "bob"}, 422))
    assert ["/other"] == pointers(await api.post(path, {}, 422))
    assert ["/into"] == pointers(await api.post(path, {"other": contact, "into": contact}, 422))
    assert "there is no such contact" == (await api.post(path, {"other": str(uuid4())}, 404))["detail"]
    await api.post(f"/v1/contacts/{uuid4()}/merge", {"other": contact}, 404)
    assert contact == (await api.contact("ada@example.com"))["id"]


# --- who may ----------------------------------------------------------------------------------------------------------


async def test_a_read_key_may_read_and_try_and_change_nothing(api: Api) -> None:
    await publish(api, "m", CLICK)
    contact, other = await ada(api), (await api.post("/v1/contacts", BOB, 201))["id"]
    made = await adjust(api, "points", model="m", points=1)
    preview = (await api.post("/v1/models/m/preview", status=202))["job_id"]
    await api.work(preview)
    adjustments, model = f"/v1/contacts/{contact}/adjustments", "/v1/models/m"
    reads = [
        *(f"/v1/contacts/{contact}/scores{path}" for path in ("", "/m/explanation", "/m/forecast", "/m/history")),
        adjustments,
        f"{adjustments}/{made['id']}",
        *(f"{model}{path}" for path in ("", "/rules", "/versions", f"/preview/{preview}/contacts")),
    ]
    writes: list[tuple[str, str, Json]] = [
        ("POST", adjustments, {"kind": "points", "model": "m", "points": 1, "reason": "why"}),
        ("DELETE", f"{adjustments}/{made['id']}", None),
        ("POST", f"/v1/contacts/{contact}/merge", {"other": other}),
        ("POST", f"{model}/publish", {}),
        ("POST", f"{model}/versions/1/publish", {}),
        ("POST", f"{model}/preview", None),
        ("POST", f"{model}/archive", None),
        ("PATCH", model, {"name": "X"}),
        ("POST", f"{model}/rules", CLICK),
    ]
    as_key = {scope: {"Authorization": f"Bearer {await api.key(scope, scope)}"} for scope in (Scope.READ, Scope.INGEST)}

    for path in reads:
        assert 200 == (await api.http.get(path, headers=as_key[Scope.READ])).status_code, path
        assert 403 == (await api.http.get(path, headers=as_key[Scope.INGEST])).status_code, path
    for scope, status in ((Scope.READ, 200), (Scope.INGEST, 403)):
        assert status == (await api.http.post(f"{model}/try", json={}, headers=as_key[scope])).status_code
        for method, path, body in writes:
            reply = await api.http.request(method, path, json=body, headers=as_key[scope])
            assert "not_allowed" == said(reply, 403)["code"], path
    assert [made] == (await api.get(adjustments))["items"]
    assert ADA["email"] == (await api.get(f"/v1/contacts/{contact}"))["email"]


async def test_an_adjustment_names_the_key_that_made_and_the_one_that_revoked_it(api: Api) -> None:
    await publish(api, "m", CLICK)
    contact = await ada(api)
    path = f"/v1/contacts/{contact}/adjustments"
    crm, desk = [{"Authorization": f"Bearer {await api.key(name, Scope.WRITE)}"} for name in ("the crm", "the desk")]

    reply = await api.http.post(path, json={"kind": "reset", "reason": "new owner"}, headers=crm)
    await api.http.delete(reply.headers["location"], headers=desk)

    [listed] = (await api.get(path))["items"]
    assert ("the crm", "the desk") == (listed["made_by"], listed["revoked_by"])
