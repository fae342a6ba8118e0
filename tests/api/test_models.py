import asyncio
from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from app import clock
from tests.api.client import Api, Json, event_rule, pointers, profile_rule, said, when

ADA = {"email": "ada@example.com"}
BANDS: list[Json] = [{"name": "cold", "color": "#5b8def", "min": None}, {"name": "hot", "color": "#d64545", "min": 50}]
ENGAGEMENT = {"key": "engagement", "name": "Engagement", "bands": BANDS}
PAGES = event_rule("page.viewed", 10)


async def add(api: Api, rule: Json, model: str = "engagement") -> str:
    return str((await api.post(f"/v1/models/{model}/rules", rule, 201))["id"])


# --- models -----------------------------------------------------------------------------------------------------------


async def test_a_model_is_made_as_a_draft_read_changed_listed_and_deleted(api: Api) -> None:
    reply = await api.http.post("/v1/models", json={**ENGAGEMENT, "description": "What they do."})
    model = said(reply, 201)
    assert "/v1/models/engagement" == reply.headers["location"]
    assert model == await api.get("/v1/models/engagement")
    assert {**ENGAGEMENT, "description": "What they do."} == {
        name: model[name] for name in ("key", "name", "description", "bands")
    }
    assert ("draft", None, True, None) == (
        model["status"],
        model["version"],
        model["has_changes"],
        model["archived_at"],
    )

    changed = await api.patch("/v1/models/engagement", {"name": "Activity", "description": None, "bands": BANDS[1:]})
    assert ("Activity", None, BANDS[1:]) == (changed["name"], changed["description"], changed["bands"])
    assert changed == await api.get("/v1/models/engagement")
    assert {"items": [changed], "next_cursor": None} == await api.get("/v1/models")

    await api.delete("/v1/models/engagement")
    await api.get("/v1/models/engagement", 404)
    assert {"items": [], "next_cursor": None} == await api.get("/v1/models")


async def test_a_key_is_taken_once(api: Api) -> None:
    await api.post("/v1/models", ENGAGEMENT, 201)

    problem = await api.post("/v1/models", {"key": "engagement", "name": "Another"}, 409)

    assert ("conflict", "/key") == (problem["code"], problem["pointer"])


async def test_the_pages_of_models_and_of_rules_give_each_once(api: Api) -> None:
    for key in "dacbe":
        await api.post("/v1/models", {"key": key, "name": key}, 201)
    rules = [await add(api, {**PAGES, "name": str(number)}, "a") for number in range(5)]
    for path, field, expected in [("/v1/models", "key", list("abcde")), ("/v1/models/a/rules", "id", rules)]:
        found, cursor = [], None
        while True:
            page = await api.get(path, limit=2, **({"cursor": cursor} if cursor else {}))
            assert len(page["items"]) <= 2
            found += [one[field] for one in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert expected == found


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"key": "Engagement"}, ["/key"]),
        ({"key": "9"}, ["/key"]),
        ({"key": "a b"}, ["/key"]),
        ({"key": "a\n"}, ["/key"]),
        ({"key": ""}, ["/key"]),
        ({"key": "a" * 64}, ["/key"]),
        ({"name": ""}, ["/name"]),
        ({"name": "\0"}, ["/name"]),
        ({"description": "\0"}, ["/description"]),
        ({"colour": 1}, ["/colour"]),
        ({"bands": "hot"}, ["/bands"]),
        ({"bands": [{"name": "hot", "color": "#d64545"}]}, ["/bands/0/min"]),
        ({"bands": [BANDS[0], {"name": "hot", "color": "red", "min": 1}]}, ["/bands/1/color"]),
        ({"bands": [BANDS[0], {"name": "hot", "color": "#d64545\n", "min": 1}]}, ["/bands/1/color"]),
        ({"bands": [{**BANDS[0], "min": "many"}]}, ["/bands/0/min"]),
        ({"bands": [BANDS[0], {**BANDS[1], "name": "Cold"}]}, ["/bands/1/name"]),
        ({"bands": [BANDS[0], {**BANDS[1], "min": None}]}, ["/bands/1/min"]),
        ({"bands": [{**BANDS[0], "min": 50}, {**BANDS[1], "min": 50.0}]}, ["/bands/1/min"]),
        ({"bands": [{"name": str(n), "color": "#000000", "min": n} for n in range(51)]}, ["/bands"]),
        ({"key": "X", "name": "", "bands": [{}]}, ["/key", "/name", "/bands/0/name", "/bands/0/color", "/bands/0/min"]),
    ],
)
async def test_what_is_wrong_with_a_model_is_pointed_at(api: Api, said: Json, found: list[str]) -> None:
    assert sorted(found) == sorted(pointers(await api.post("/v1/models", {**ENGAGEMENT, **said}, 422)))
    assert [] == (await api.get("/v1/models"))["items"]


@pytest.mark.parametrize("bound", [1e999, "NaN", "Infinity", 1e300, -1e16, 10**30])
async def test_a_band_begins_at_a_number_that_points_can_reach(api: Api, bound: float | str) -> None:
    text = "1e999" if bound == float("inf") else f'"{bound}"' if isinstance(bound, str) else str(bound)
    body = f'{{"key": "a", "name": "A", "bands": [{{"name": "hot", "color": "#d64545", "min": {text}}}]}}'

    reply = await api.http.post("/v1/models", content=body, headers={"content-type": "application/json"})

    assert ["/bands/0/min"] == pointers(said(reply, 422))


async def test_a_change_of_bands_is_checked_like_the_first(api: Api) -> None:
    await api.post("/v1/models", ENGAGEMENT, 201)

    problem = await api.patch("/v1/models/engagement", {"bands": [BANDS[0], {**BANDS[1], "name": "cold"}]}, 422)

    assert ["/bands/1/name"] == pointers(problem)
    assert ["/name"] == pointers(await api.patch("/v1/models/engagement", {"name": None}, 422))
    assert BANDS == (await api.get("/v1/models/engagement"))["bands"]


async def test_a_model_that_is_not_there_is_not_found(api: Api) -> None:
    for method, path in [
        ("GET", "/v1/models/nobody"),
        ("PATCH", "/v1/models/nobody"),
        ("DELETE", "/v1/models/nobody"),
        ("POST", "/v1/models/nobody/publish"),
        ("POST", "/v1/models/nobody/archive"),
        ("POST", "/v1/models/nobody/unarchive"),
        ("GET", "/v1/models/nobody/rules"),
        ("POST", "/v1/models/nobody/rules"),
        ("GET", f"/v1/rules/{uuid4()}"),
        ("PATCH", f"/v1/rules/{uuid4()}"),
        ("DELETE", f"/v1/rules/{uuid4()}"),
    ]:
        body = PAGES if path.endswith("/rules") else {} if path.endswith("/publish") else {"name": "X"}
        reply = await api.http.request(method, path, json=body if method in ("PATCH", "POST") else None)
        assert "not_found" == said(reply, 404)["code"], (method, path)


# --- rules ------------------------------------------------------------------------------------------------------------


async def test_a_rule_is_made_read_changed_listed_and_deleted(api: Api) -> None:
    await api.post("/v1/models", ENGAGEMENT, 201)
    given = {**PAGES, "points": -2.5, "window_days": 30, "max_per_day": 3, "max_points": 50}

    reply = await api.http.post("/v1/models/engagement/rules", json=given)
    rule = said(reply, 201)
    path = f"/v1/rules/{rule['id']}"
    assert path == reply.headers["location"]
    assert rule == await api.get(path)
    assert {**given, "model": "engagement"} == {
        name: value
        for name, value in rule.items()
        if name not in ("id", "created_at", "updated_at") and value is not None
    }

    changed = await api.patch(path, {"points": 4, "max_points": None})
    assert {**rule, "points": 4, "max_points": None} == {**changed, "updated_at": rule["updated_at"]}
    assert {"items": [changed], "next_cursor": None} == await api.get("/v1/models/engagement/rules")

    await api.delete(path)
    await api.get(path, 404)
    assert [] == (await api.get("/v1/models/engagement/rules"))["items"]


async def test_a_profile_rule_may_take_the_place_of_an_event_rule_once_it_fits(api: Api) -> None:
    await api.post("/v1/models", ENGAGEMENT, 201)
    path = f"/v1/rules/{await add(api, {**PAGES, 'window_days': 7})}"

    assert ["/condition/rules/0/field", "/window_days"] == pointers(await api.patch(path, {"kind": "profile"}, 422))
    changed = await api.patch(
        path, {"kind": "profile", "window_days": None, "condition": when("contact.bounced", "=", True)}
    )
    assert ("profile", None) == (changed["kind"], changed["window_days"])


WRONG_RULES: list[tuple[Json, list[str]]] = [
    ({"name": ""}, ["/name"]),
    ({"kind": "both"}, ["/kind"]),
    ({"points": "many"}, ["/points"]),
    ({"points": 1.005}, ["/points"]),
    ({"points": 1_000_000_000.01}, ["/points"]),
    ({"points": 10**40}, ["/points"]),
    ({"points": -(10**300)}, ["/points"]),
    ({"points": None}, ["/points"]),
    ({"window_days": 0}, ["/window_days"]),
    ({"window_days": -1}, ["/window_days"]),
    ({"window_days": 36_501}, ["/window_days"]),
    ({"window_days": 1.5}, ["/window_days"]),
    ({"window_days": "30"}, ["/window_days"]),
    ({"max_per_day": 0}, ["/max_per_day"]),
    ({"max_per_day": True}, ["/max_per_day"]),
    ({"max_per_day": 2**31}, ["/max_per_day"]),
    ({"max_per_day": 10**30}, ["/max_per_day"]),
    ({"max_points": 0}, ["/max_points"]),
    ({"max_points": -1}, ["/max_points"]),
    ({"max_points": 1e300}, ["/max_points"]),
    ({"colour": 1}, ["/colour"]),
    ({"condition": None}, ["/condition"]),
    ({"condition": []}, ["/condition"]),
    ({"condition": {}}, ["/condition/field", "/condition/operator"]),
    ({"condition": {"combinator": "and", "rules": []}}, ["/condition/rules"]),
    ({"condition": {"combinator": "xor", "rules": [1]}}, ["/condition/combinator", "/condition/rules/0"]),
    ({"condition": when("event.colour", "=", 1)}, ["/condition/rules/0/field"]),
    ({"condition": when("contact.email", "=", "x")}, ["/condition/rules/0/field"]),
    ({"condition": when("event.type", "like", "x")}, ["/condition/rules/0/operator"]),
    ({"condition": when("event.occurred_at", "contains", "x")}, ["/condition/rules/0/operator"]),
    ({"condition": when("event.occurred_at", ">", "soon")}, ["/condition/rules/0/value"]),
    ({"condition": when("event.type", "=", 7)}, ["/condition/rules/0/value"]),
    ({"condition": when("event.type", "=", "a\0b")}, ["/condition/rules/0/value"]),
    ({"condition": when("event.properties.a\0", "=", 1)}, ["/condition/rules/0/field"]),
    ({"condition": when("event.type", "between", ["a"])}, ["/condition/rules/0/value"]),
    ({"condition": when("event.type", "in", ["a", 7, True])}, [f"/condition/rules/0/value/{n}" for n in (1, 2)]),
    (
        {
            "condition": {
                "combinator": "and",
                "rules": [
                    {"combinator": "or", "not": 1, "rules": [{"field": "event.type", "operator": "=", "value": "a"}]},
                    {"field": "event.typ", "operator": "=", "value": "a"},
                ],
            }
        },
        ["/condition/rules/0/not", "/condition/rules/1/field"],
    ),
]


@pytest.mark.parametrize(("said", "found"), WRONG_RULES)
async def test_what_is_wrong_with_a_rule_is_pointed_at(api: Api, said: Json, found: list[str]) -> None:
    await api.post("/v1/models", ENGAGEMENT, 201)
    rule = await add(api, PAGES)

    assert found == pointers(await api.post("/v1/models/engagement/rules", {**PAGES, **said}, 422))
    assert 1 == len((await api.get("/v1/models/engagement/rules"))["items"])
    problem = await api.patch(f"/v1/rules/{rule}", said, 422)
    assert found == pointers(problem)


async def test_a_condition_nested_very_deep_or_very_long_is_refused(api: Api) -> None:
    await api.post("/v1/models", ENGAGEMENT, 201)
    test = {"field": "event.type", "operator": "=", "value": "a"}
    deep: Json = test
    for _ in range(60):
        deep = {"combinator": "and", "rules": [deep]}
    long = {"combinator": "and", "rules": [test] * 501}

    for condition in (deep, long):
        problem = await api.post("/v1/models/engagement/rules", {**PAGES, "condition": condition}, 422)
        assert all(pointer.startswith("/condition") for pointer in pointers(problem))


# --- what counts ------------------------------------------------------------------------------------------------------


async def test_a_draft_changes_nothing_until_it_is_published(api: Api) -> None:
    await api.send({"type": "page.viewed", "contact": ADA})
    await api.post("/v1/models", ENGAGEMENT, 201)
    rule = await add(api, PAGES)
    assert await api.score("ada@example.com", "engagement") is None

    job = await api.publish("engagement")
    assert ("model.publish", "done", None, 1, 1) == tuple(
        job[name] for name in ("kind", "status", "error", "done", "total")
    )
    assert 10 == await api.score("ada@example.com", "engagement")
    assert ("published", 1, False) == await state(api)

    await api.patch(f"/v1/rules/{rule}", {"points": 3})
    await api.patch("/v1/models/engagement", {"name": "New"})
    await api.send({"type": "page.viewed", "contact": ADA})
    assert 20 == await api.score("ada@example.com", "engagement")
    assert ("published", 1, True) == await state(api)

    await api.publish("engagement")
    assert 6 == await api.score("ada@example.com", "engagement")
    assert ("published", 2, False) == await state(api)

    await api.delete(f"/v1/rules/{rule}")
    assert ("published", 2, True) == await state(api)
    await api.publish("engagement")
    assert 0 == await api.score("ada@example.com", "engagement")


async def state(api: Api) -> tuple[str, int | None, bool]:
    model = await api.get("/v1/models/engagement")
    return model["status"], model["version"], model["has_changes"]


async def test_publishing_with_a_worker_is_done_when_the_answer_comes(working: Api) -> None:
    await working.send({"type": "page.viewed", "contact": ADA})
    await working.post("/v1/models", ENGAGEMENT, 201)
    await add(working, PAGES)

    reply = await working.http.post("/v1/models/engagement/publish")

    published = said(reply, 202)
    assert f"/v1/jobs/{published['job_id']}" == reply.headers["location"]
    job = await settled(working, published["job_id"])
    assert ("engagement", 1, "done") == (published["model"], published["version"], job["status"])
    assert job["created_at"] <= job["started_at"] <= job["finished_at"]
    assert 10 == await working.score("ada@example.com", "engagement")


async def settled(api: Api, job_id: str) -> Json:
    for _ in range(500):
        job = await api.get(f"/v1/jobs/{job_id}")
        if job["status"] in ("done", "failed"):
            return job
        await asyncio.sleep(0.02)
    raise AssertionError(job)


async def test_the_rules_limits_hold_through_the_api(api: Api) -> None:
    await api.model(
        "engagement",
        event_rule("page.viewed", 10, max_per_day=2),
        event_rule("email.opened", 7, max_points=20),
        event_rule("form.submitted", 100, window_days=30),
        profile_rule("contact.opted_out", "=", True, -1000),
    )
    now = clock.now()
    long_ago = now.replace(year=now.year - 1).isoformat()

    await api.send(
        *[{"type": "page.viewed", "contact": ADA}] * 5,
        *[{"type": "email.opened", "contact": ADA}] * 5,
        {"type": "form.submitted", "contact": ADA, "occurred_at": long_ago},
    )
    assert 40 == await api.score("ada@example.com", "engagement")
    await api.send({"type": "email.unsubscribed", "contact": ADA})
    assert -960 == await api.score("ada@example.com", "engagement")


async def test_an_archived_model_keeps_its_scores_and_counts_no_more(api: Api) -> None:
    await api.model("engagement", PAGES)
    await api.send({"type": "page.viewed", "contact": ADA})

    archived = await api.post("/v1/models/engagement/archive")
    await api.send({"type": "page.viewed", "contact": ADA})

    assert "archived" == archived["status"]
    assert archived["archived_at"]
    assert 10 == await api.score("ada@example.com", "engagement")
    assert [] == (await api.get("/v1/models"))["items"]
    assert ["engagement"] == [one["key"] for one in (await api.get("/v1/models", archived=True))["items"]]
    assert "conflict" == (await api.post("/v1/models/engagement/publish", status=409))["code"]

    assert "draft" == (await api.post("/v1/models/engagement/unarchive"))["status"]
    await api.publish("engagement")
    assert 20 == await api.score("ada@example.com", "engagement")


async def test_tidying_up_after_a_model_leaves_no_tally_and_no_counter(api: Api) -> None:
    await api.model("engagement", PAGES)
    await api.model("other", PAGES, event_rule("email.opened", 1))
    await api.send({"type": "page.viewed", "contact": ADA}, {"type": "email.opened", "contact": ADA})

    await api.delete("/v1/models/other")
    [job, *_] = (await api.get("/v1/jobs"))["items"]
    assert ("model.tidy", "queued") == (job["kind"], job["status"])
    assert "done" == (await api.work(job["id"]))["status"]

    assert 1 == await api.fetchval("SELECT count(*) FROM counter")
    assert 1 == await api.fetchval("SELECT count(*) FROM tally")
    assert 1 == await api.fetchval("SELECT count(*) FROM score")
    assert 10 == await api.score("ada@example.com", "engagement")


async def test_a_deleted_model_may_be_made_again(api: Api) -> None:
    await api.model("engagement", PAGES)
    await api.send({"type": "page.viewed", "contact": ADA})
    await api.delete("/v1/models/engagement")

    await api.model("engagement", {**PAGES, "points": 1})

    assert 1 == await api.score("ada@example.com", "engagement")


# --- publishing, and publishing again ---------------------------------------------------------------------------------


async def test_publishing_may_wait_and_what_is_published_meanwhile_takes_its_place(api: Api) -> None:
    await api.send({"type": "page.viewed", "contact": ADA})
    await api.post("/v1/models", ENGAGEMENT, 201)
    rule = await add(api, PAGES)
    before = clock.now()

    first = await api.post("/v1/models/engagement/publish", {"settle_seconds": 600}, 202)
    await api.patch(f"/v1/rules/{rule}", {"points": 3})
    second = await api.post("/v1/models/engagement/publish", {"settle_seconds": 60, "side_effects": False}, 202)

    assert ("queued", None) == (first["job"]["status"], first["job"]["started_at"])
    starts_at = datetime.fromisoformat(first["job"]["starts_at"])
    assert timedelta(0) <= starts_at - before - timedelta(seconds=600) < timedelta(seconds=60)
    delays = await api.fetchval("SELECT array_agg(execute_after - created ORDER BY id) FROM pgqueuer")
    assert [600, 60] == [round(delay.total_seconds(), -1) for delay in delays]
    assert (await state(api))[:2] == ("draft", None)
    superseded = await api.work(first["job_id"])
    assert ("done", {"superseded_by": 2}) == (superseded["status"], superseded["result"])
    assert await api.score("ada@example.com", "engagement") is None
    done = await api.work(second["job_id"])
    assert ("done", None) == (done["status"], done["result"])
    assert 3 == await api.score("ada@example.com", "engagement")
    assert [(2, True, False), (1, False, True)] == await versions(api)


async def versions(api: Api) -> list[tuple[int, bool, bool]]:
    """Number, whether it counts, whether its changes were told."""
    found = (await api.get("/v1/models/engagement/versions"))["items"]
    return [(one["version"], one["is_live"], one["side_effects"]) for one in found]


async def test_a_version_says_who_published_it_when_and_what_it_was_told_to_do(api: Api) -> None:
    await api.post("/v1/models", {**ENGAGEMENT, "objective": "whom to call", "min": -1000}, 201)
    rule = await add(api, {**PAGES, "max_points": 50})
    published = await api.post("/v1/models/engagement/publish", {"side_effects": False, "settle_seconds": 1}, 202)
    [waiting] = (await api.get("/v1/models/engagement/versions"))["items"]
    await api.work(published["job_id"])
    [version] = (await api.get("/v1/models/engagement/versions"))["items"]

    assert (False, None) == (waiting["is_live"], waiting["live_from"])
    assert version["published_at"] <= version["live_from"]
    assert (1, "Engagement", True, False, "tests") == tuple(
        version[name] for name in ("version", "name", "is_live", "side_effects", "published_by")
    )
    spec = {name: value for name, value in version["spec"].items() if value not in (None, [])}
    assert {"objective": "whom to call", "min": -1000} == spec
    assert (BANDS, rule, 50) == (version["bands"], version["rules"][0]["id"], version["rules"][0]["max_points"])
    schemas = (await api.get("/openapi.json"))["components"]["schemas"]
    for name, part in (("VersionOut", version), ("SheetOut", version["spec"]), ("VersionRule", version["rules"][0])):
        assert schemas[name]["properties"].keys() == part.keys()


async def test_versions_are_listed_newest_first_and_each_once(api: Api) -> None:
    await api.post("/v1/models", ENGAGEMENT, 201)
    for _ in range(5):
        await api.publish("engagement")

    found, cursor = list[int](), None
    while cursor is not None or not found:
        page = await api.get("/v1/models/engagement/versions", limit=2, **({"cursor": cursor} if cursor else {}))
        assert 1 <= len(page["items"]) <= 2
        found += [one["version"] for one in page["items"]]
        cursor = page["next_cursor"]

    assert [5, 4, 3, 2, 1] == found
    for wrong in ("x", "WyJ4Il0", "WzBd"):
        assert ["/cursor"] == pointers(await api.get("/v1/models/engagement/versions", 422, cursor=wrong))
    await api.get("/v1/models/nobody/versions", 404)


async def test_any_version_published_again_scores_as_it_did(api: Api) -> None:
    await api.post("/v1/models", {**ENGAGEMENT, "max": 12}, 201)
    rule = await add(api, PAGES)
    await api.send(*[{"type": "page.viewed", "contact": ADA}] * 2, {"type": "email.opened", "contact": ADA})
    await api.publish("engagement")
    await api.patch("/v1/models/engagement", {"max": None, "name": "Second", "bands": []})
    await api.patch(f"/v1/rules/{rule}", {"condition": when("event.type", "=", "email.opened")})
    await api.publish("engagement")
    await api.delete(f"/v1/rules/{rule}")
    await api.publish("engagement")
    draft = await api.get("/v1/models/engagement")
    assert 0 == await api.score("ada@example.com", "engagement")

    for version, points in ((1, 12), (2, 10), (3, 0), (1, 12)):
        path = f"/v1/models/engagement/versions/{version}/publish"
        reply = await api.http.post(path, json={"settle_seconds": 0}, headers={"Prefer": "respond-async"})
        assert "done" == (await api.work(said(reply, 202)["job_id"]))["status"]
        assert points == await api.score("ada@example.com", "engagement")
        await api.send({"type": "page.viewed", "contact": {"email": "bob@example.com"}})

    assert 12 == await api.score("bob@example.com", "engagement")
    after = await api.get("/v1/models/engagement")
    assert {**draft, "version": 7, "has_changes": True} == after
    newest, *_, first = (await api.get("/v1/models/engagement/versions"))["items"]
    for name in ("name", "spec", "bands", "rules"):
        assert first[name] == newest[name]


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        ({"settle_seconds": -1}, ["/settle_seconds"]),
        ({"settle_seconds": 86_401}, ["/settle_seconds"]),
        ({"settle_seconds": 1.5}, ["/settle_seconds"]),
        ({"settle_seconds": True}, ["/settle_seconds"]),
        ({"side_effects": "perhaps", "settle": 5}, ["/settle", "/side_effects"]),
        ([], [""]),
    ],
)
async def test_what_is_wrong_with_publishing_is_pointed_at_and_nothing_is_published(
    api: Api, wrong: Json, found: list[str]
) -> None:
    await api.model("engagement", PAGES)

    for path in ("publish", "versions/1/publish"):
        assert found == sorted(pointers(await api.post(f"/v1/models/engagement/{path}", wrong, 422)))
    for version in (0, 2, 2**31, -1):
        await api.post(f"/v1/models/engagement/versions/{version}/publish", {}, 404)
    assert ["/version"] == pointers(await api.post("/v1/models/engagement/versions/x/publish", {}, 422))
    assert [(1, True, True)] == await versions(api)
