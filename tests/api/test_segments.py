import asyncio
import csv
import io
from datetime import timedelta
from uuid import uuid4

import orjson
import pytest

from app import clock
from app.engine import segments
from app.store.keys import Scope
from tests.api.client import Api, Json, event_rule, pointers, profile_rule, said, when

VIPS = {"key": "vips", "name": "VIPs", "condition": when("contact.tags", "contains", "vip")}
IS_MEMBER = when("contact.segments", "=", "vips")
BANDS = [{"name": "cold", "color": "#5b8def", "min": None}, {"name": "hot", "color": "#d64545", "min": 50}]
COUNTED = {"key": "opens", "name": "Opens", "condition": when("event.type", "=", "email.opened"), "aggregate": "count"}


async def segment(api: Api, key: str, condition: Json) -> Json:
    return await api.post("/v1/segments", {"key": key, "name": key.upper(), "condition": condition}, 201)


async def measure(api: Api, **said: Json) -> str:
    """A measure that is not ready; returns the job that makes it so."""
    reply = await api.http.post("/v1/measures", json={**COUNTED, **said}, headers={"Prefer": "respond-async"})
    return str(reply.json()["job_id"])


async def person(api: Api, email: str, **said: Json) -> str:
    reply = await api.http.post("/v1/contacts", json={"email": email, **said})
    return str(reply.json()["id"])


async def emails(api: Api, key: str) -> set[str]:
    found = await api.get(f"/v1/segments/{key}/members")
    assert len(found["items"]) == (await api.get(f"/v1/segments/{key}/count"))["count"]
    return {one["email"].partition("@")[0] for one in found["items"]}


async def job_of(api: Api, key: str, condition: Json) -> Json:
    return (await api.patch(f"/v1/segments/{key}", {"condition": condition}))["job_id"]


# --- what is kept -----------------------------------------------------------------------------------------------------


async def test_a_segment_is_made_read_changed_listed_and_deleted(api: Api) -> None:
    reply = await api.http.post("/v1/segments", json={**VIPS, "description": "The few"})
    made = said(reply, 201)
    assert "/v1/segments/vips" == reply.headers["location"]
    assert {**VIPS, "description": "The few"} == {name: made[name] for name in (*VIPS, "description")}
    assert made == await api.get("/v1/segments/vips")

    changed = await api.patch("/v1/segments/vips", {"name": "Very few", "description": None})
    assert ("Very few", None, VIPS["condition"]) == (changed["name"], changed["description"], changed["condition"])
    assert changed["job_id"] is None
    assert {name: value for name, value in changed.items() if name != "job_id"} == await api.get("/v1/segments/vips")
    assert ["vips"] == [one["key"] for one in (await api.get("/v1/segments"))["items"]]

    await api.delete("/v1/segments/vips")
    assert {"items": [], "next_cursor": None} == await api.get("/v1/segments")
    for path in ("", "/count", "/members", "/export"):
        assert "not_found" == (await api.get(f"/v1/segments/vips{path}", 404))["code"]
    await api.patch("/v1/segments/vips", {"name": "x"}, 404)
    await api.delete("/v1/segments/vips", 404)


async def test_the_pages_of_segments_give_each_once(api: Api) -> None:
    for key in "dacbe":
        await segment(api, key, VIPS["condition"])
    found, cursor = [], None
    while True:
        page = await api.get("/v1/segments", limit=2, **({"cursor": cursor} if cursor else {}))
        assert len(page["items"]) <= 2
        found += [one["key"] for one in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert list("abcde") == found


async def test_the_key_of_a_segment_is_taken_once(api: Api) -> None:
    await api.post("/v1/segments", VIPS, 201)

    problem = await api.post("/v1/segments", {**VIPS, "name": "Others"}, 409)

    assert ("conflict", "/key") == (problem["code"], problem["pointer"])


async def test_reading_takes_the_scope_read_and_changing_takes_write(api: Api) -> None:
    await api.post("/v1/segments", VIPS, 201)
    reading, ingesting = await api.key("reader", Scope.READ), await api.key("ingester", Scope.INGEST)

    for path in ("", "/vips", "/vips/count", "/vips/members", "/vips/export"):
        for secret, status in ((reading, 200), (ingesting, 403)):
            reply = await api.http.get(f"/v1/segments{path}", headers={"Authorization": f"Bearer {secret}"})
            assert status == reply.status_code
    may_not = {"Authorization": f"Bearer {reading}"}
    assert 403 == (await api.http.post("/v1/segments", json=VIPS, headers=may_not)).status_code
    assert 403 == (await api.http.patch("/v1/segments/vips", json={}, headers=may_not)).status_code
    assert 403 == (await api.http.delete("/v1/segments/vips", headers=may_not)).status_code


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"key": "Vips"}, ["/key"]),
        ({"name": ""}, ["/name"]),
        ({"more": 1}, ["/more"]),
        ({"condition": None}, ["/condition"]),
        ({"condition": {}}, ["/condition/field", "/condition/operator"]),
        ({"condition": when("event.type", "=", "a")}, ["/condition/rules/0/field"]),
        ({"condition": when("contact.score.nobody", ">", 1)}, ["/condition/rules/0/field"]),
        ({"condition": when("contact.band.nobody", "=", "a")}, ["/condition/rules/0/field"]),
        ({"condition": when("contact.measures.none", ">", 1)}, ["/condition/rules/0/field"]),
        ({"condition": when("contact.segments", "=", "nobody")}, ["/condition/rules/0/value"]),
        ({"condition": when("contact.segments", "beginsWith", "vip")}, ["/condition/rules/0/operator"]),
        ({"condition": when("contact.segments", "=", "few")}, ["/condition/rules/0/value"]),
        ({"condition": {**when("contact.tags", "=", "a"), "id": "a\0b"}}, ["/condition"]),
        ({"condition": when("contact.days_inactive", ">", 10**30)}, ["/condition"]),
        (
            {"condition": {"combinator": "or", "rules": [*when("contact.segments", "in", "few, x")["rules"], 5]}},
            ["/condition/rules/0/value", "/condition/rules/0/value", "/condition/rules/1"],
        ),
    ],
)
async def test_a_wrong_segment_is_refused_whole_with_a_pointer_to_each_fault(
    api: Api, said: Json, found: list[str]
) -> None:
    problem = await api.post("/v1/segments", {**VIPS, "key": "few", **said}, 422)

    assert found == pointers(problem)
    assert [] == (await api.get("/v1/segments"))["items"]


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"name": None}, ["/name"]),
        ({"condition": None, "name": None}, ["/name", "/condition"]),
        ({"key": "other"}, ["/key"]),
        ({"condition": when("contact.nothing", "=", 1)}, ["/condition/rules/0/field"]),
    ],
)
async def test_a_wrong_change_of_a_segment_changes_nothing(api: Api, said: Json, found: list[str]) -> None:
    await api.post("/v1/segments", VIPS, 201)

    assert found == pointers(await api.patch("/v1/segments/vips", said, 422))

    assert VIPS["condition"] == (await api.get("/v1/segments/vips"))["condition"]


# --- who is in it -----------------------------------------------------------------------------------------------------


async def test_members_are_whoever_matches_when_somebody_asks(api: Api) -> None:
    await api.post("/v1/segments", VIPS, 201)
    ada = await person(api, "ada@example.com", tags=["VIP"])
    bob = await person(api, "bob@example.com")
    assert {"ada"} == await emails(api, "vips")

    await api.patch(f"/v1/contacts/{bob}", {"tags": ["vip"]})
    await api.patch(f"/v1/contacts/{ada}", {"tags": []})
    assert {"bob"} == await emails(api, "vips")

    await job_of(api, "vips", when("contact.tags", "notNull", None) | {"not": True})
    assert {"ada"} == await emails(api, "vips")
    await api.delete(f"/v1/contacts/{ada}")
    assert set() == await emails(api, "vips")


async def test_a_segment_may_look_at_scores_bands_measures_and_other_segments(api: Api) -> None:
    await api.post("/v1/models", {"key": "m", "name": "M", "bands": BANDS}, 201)
    await api.post("/v1/models/m/rules", event_rule("page.viewed", 30), 201)
    await api.publish("m")
    await api.work(await measure(api))
    for email, type_, times in (("ada", "page.viewed", 2), ("bob", "email.opened", 3), ("cyd", "page.viewed", 1)):
        await api.send(*[{"type": type_, "contact": {"email": f"{email}@example.com"}}] * times)

    await segment(api, "scored", when("contact.score.m", ">=", 30))
    await segment(api, "hot", when("contact.band.m", "=", "Hot"))
    await segment(api, "cold", when("contact.band.m", "in", ["COLD", "frozen"]))
    await segment(api, "openers", when("contact.measures.opens", "=", 3))
    await segment(api, "busy", {"combinator": "or", "rules": [*when("contact.segments", "in", "hot,openers")["rules"]]})

    assert {"ada", "cyd"} == await emails(api, "scored")
    assert {"ada"} == await emails(api, "hot")
    assert {"bob", "cyd"} == await emails(api, "cold")
    assert {"bob"} == await emails(api, "openers")
    assert {"ada", "bob"} == await emails(api, "busy")
    await api.send({"type": "page.viewed", "contact": {"email": "cyd@example.com"}})
    assert {"ada", "bob", "cyd"} == await emails(api, "busy")


async def test_windows_and_silences_are_of_todays_utc_day(api: Api) -> None:
    await api.work(await measure(api, window_days=2))
    await api.send({"type": "email.opened", "contact": {"email": "ada@example.com"}})
    await segment(api, "recent", when("contact.measures.opens", ">", 0))
    await segment(api, "silent", when("contact.days_inactive", ">=", 2))

    for days, recent, silent in ((0, {"ada"}, set()), (1, {"ada"}, set()), (2, set(), {"ada"})):
        clock.shift(timedelta(days=days))
        assert (recent, silent) == (await emails(api, "recent"), await emails(api, "silent"))


async def test_members_are_paged_by_id_each_once_as_the_contact_itself_is_shown(api: Api) -> None:
    await api.post("/v1/segments", VIPS, 201)
    ids = [await person(api, f"{n}@example.com", tags=["vip"], properties={"n": n}) for n in range(7)]
    await person(api, "other@example.com")
    found, cursor = [], None
    while True:
        page = await api.get("/v1/segments/vips/members", limit=3, **({"cursor": cursor} if cursor else {}))
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert sorted(ids) == [one["id"] for one in found]
    alone = [await api.get(f"/v1/contacts/{one}") for one in sorted(ids)]
    assert [{**one, "merged": []} for one in found] == alone
    assert ["/cursor"] == pointers(await api.get("/v1/segments/vips/members", 422, cursor="x"))
    assert ["/cursor"] == pointers(await api.get("/v1/segments", 422, cursor="x"))


async def test_a_segment_cannot_be_asked_while_a_measure_it_looks_at_is_being_counted(api: Api) -> None:
    fill = await measure(api)
    await segment(api, "openers", when("contact.measures.opens", ">", 0))
    await segment(api, "outside", when("contact.segments", "!=", "openers"))

    for path in ("openers/count", "openers/members", "openers/export", "outside/count"):
        assert "'opens'" in (await api.get(f"/v1/segments/{path}", 409))["detail"]
    await api.work(fill)
    assert {"count": 0} == await api.get("/v1/segments/openers/count")


# --- the export -------------------------------------------------------------------------------------------------------

ODD = {
    "name": 'Ada "the first", Countess\nof Lovelace',
    "stage": "=1+1",
    "tags": ["VIP", "été"],
    "properties": {"n": 7, "deep": {"a": [None, "x,y"]}, "text": 'a"b'},
}


async def test_the_export_holds_every_member_as_csv_or_as_lines_of_json(api: Api) -> None:
    await api.post("/v1/segments", VIPS, 201)
    ada = await person(api, "ada@example.com", **ODD, opted_out=True)
    bob = await person(api, "bob@example.com", tags=["vip"], bounced=True)
    await person(api, "other@example.com")

    table = await api.http.get("/v1/segments/vips/export")
    lines = await api.http.get("/v1/segments/vips/export", params={"format": "ndjson"})

    assert "text/csv; charset=utf-8" == table.headers["content-type"]
    assert 'attachment; filename="vips.csv"' == table.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(table.text, newline="")))
    assert sorted([ada, bob]) == [row["id"] for row in rows]
    by_id = {row["id"]: row for row in rows}
    assert ("ada@example.com", ODD["name"], "=1+1", "VIP,été") == tuple(
        by_id[ada][name] for name in ("email", "name", "stage", "tags")
    )
    assert ODD["properties"] == orjson.loads(by_id[ada]["properties"])
    assert ("true", "false", "none") == tuple(by_id[ada][name] for name in ("opted_out", "bounced", "bounce_status"))
    assert ("", "", "false", "true", "hard") == tuple(
        by_id[bob][name] for name in ("name", "stage", "opted_out", "bounced", "bounce_status")
    )

    assert "application/x-ndjson" == lines.headers["content-type"]
    objects = [orjson.loads(line) for line in lines.text.splitlines()]
    assert [row["id"] for row in rows] == [one["id"] for one in objects]
    names = list(objects[0])
    assert list(rows[0]) == names
    for one in objects:
        whole = await api.get(f"/v1/contacts/{one['id']}")
        assert {name: whole[name] for name in names} == one


async def test_an_export_of_nobody_is_a_heading_or_nothing(api: Api) -> None:
    await api.post("/v1/segments", VIPS, 201)

    table = await api.http.get("/v1/segments/vips/export", params={"format": "csv"})
    lines = await api.http.get("/v1/segments/vips/export", params={"format": "ndjson"})

    assert ["id,email,name,stage,tags,opted_out,bounced,bounce_status,properties"] == table.text.splitlines()
    assert "" == lines.text
    assert ["/format"] == pointers(await api.get("/v1/segments/vips/export", 422, format="xlsx"))


async def test_an_export_longer_than_a_chunk_gives_each_member_once(api: Api) -> None:
    await segment(api, "all", when("contact.created_at", "notNull"))
    await api.execute(
        """
        INSERT INTO contact (id, created_at, updated_at) SELECT gen_random_uuid(), now(), now()
        FROM generate_series(1, 2000)
        """
    )

    lines = (await api.http.get("/v1/segments/all/export", params={"format": "ndjson"})).text.splitlines()
    rows = list(csv.DictReader(io.StringIO((await api.http.get("/v1/segments/all/export")).text)))

    assert 2_000 == len({orjson.loads(line)["id"] for line in lines}) == len(lines)
    assert [orjson.loads(line)["id"] for line in lines] == [row["id"] for row in rows]


# --- who uses it ------------------------------------------------------------------------------------------------------


async def test_a_segment_must_not_contain_itself_by_whatever_way(api: Api) -> None:
    await segment(api, "a", VIPS["condition"])
    await segment(api, "b", when("contact.segments", "=", "a"))
    await segment(api, "c", when("contact.segments", "notIn", ["b"]))
    deep = {"combinator": "or", "rules": [VIPS["condition"], when("contact.segments", "in", ["c"], muted=True)]}

    for key, condition, at in (
        ("a", when("contact.segments", "=", "a"), "/condition/rules/0/value"),
        ("a", when("contact.segments", "=", "b"), "/condition/rules/0/value"),
        ("a", deep, "/condition/rules/1/rules/0/value"),
        ("b", when("contact.segments", "=", "c"), "/condition/rules/0/value"),
    ):
        problem = await api.patch(f"/v1/segments/{key}", {"condition": condition}, 422)
        assert [at] == pointers(problem)
        assert "would contain itself" in problem["detail"]
    assert VIPS["condition"] == (await api.get("/v1/segments/a"))["condition"]


async def test_a_change_of_a_segment_scores_everybody_anew_whose_models_count_by_it(api: Api) -> None:
    await api.post("/v1/segments", VIPS, 201)
    await segment(api, "outside", when("contact.segments", "!=", "vips"))
    await api.model("m", profile_rule("contact.segments", "=", "outside", 5))
    await api.model("of_m", profile_rule("contact.score.m", ">", 0, 7))
    await api.model("other", profile_rule("contact.email", "notNull", None, 1))
    await person(api, "ada@example.com", tags=["vip"], stage="lead")
    assert [0, 0, 1] == [await api.score("ada@example.com", key) for key in ("m", "of_m", "other")]

    job = await job_of(api, "vips", when("contact.stage", "=", "customer"))
    await person(api, "bob@example.com", stage="customer")
    assert [0, 0] == [await api.score("bob@example.com", key) for key in ("m", "of_m")]

    assert "done" == (await api.work(job))["status"]
    assert [5, 7, 1] == [await api.score("ada@example.com", key) for key in ("m", "of_m", "other")]
    assert [0, 0, 1] == [await api.score("bob@example.com", key) for key in ("m", "of_m", "other")]
    assert await job_of(api, "vips", when("contact.stage", "=", "customer")) is None


async def test_other_processes_see_a_new_definition_with_their_next_batch(api: Api) -> None:
    """The app's own copy of the plan was loaded by the events before; the segment is changed behind its back."""
    await api.post("/v1/segments", VIPS, 201)
    await api.model("m", profile_rule("contact.segments", "=", "vips", 5))
    await api.send({"type": "page.viewed", "contact": {"email": "ada@example.com"}})

    async with api.database.batch() as db:
        await segments.change(db, "vips", {"condition": when("contact.email", "beginsWith", "ada")}, clock.now())
    await person(api, "ada@example.com", name="Ada")

    assert 5 == await api.score("ada@example.com", "m")


async def test_a_segment_that_nobody_counts_by_is_changed_without_a_job(api: Api) -> None:
    await api.post("/v1/segments", VIPS, 201)
    await api.post("/v1/models", {"key": "m", "name": "M"}, 201)
    await api.post("/v1/models/m/rules", profile_rule("contact.segments", "=", "vips", 5), 201)

    assert await job_of(api, "vips", when("contact.stage", "=", "customer")) is None
    await api.publish("m")
    assert await job_of(api, "vips", VIPS["condition"]) is not None
    await api.post("/v1/models/m/archive")
    assert await job_of(api, "vips", when("contact.stage", "=", "lead")) is None


async def test_a_segment_is_not_deleted_while_something_uses_it_and_the_answer_says_what(api: Api) -> None:
    await api.post("/v1/segments", VIPS, 201)
    await segment(api, "few", when("contact.segments", "in", "vips", muted=True))
    await api.model("m", {**event_rule("page.viewed", 1), "audience": IS_MEMBER})
    await api.post("/v1/models", {"key": "n", "name": "N", "audience": IS_MEMBER}, 201)

    problem = await api.delete("/v1/segments/vips", 409)

    users = ["model 'm'", "the draft of model 'm'", "the draft of model 'n'", "segment 'few'"]
    assert f"segment 'vips' is used by {', '.join(users)}; change that first" == problem["detail"]
    await api.delete("/v1/segments/few")
    await api.patch("/v1/models/n", {"audience": None})
    rule = (await api.get("/v1/models/m/rules"))["items"][0]["id"]
    await api.patch(f"/v1/rules/{rule}", {"audience": None})
    assert "used by model 'm';" in (await api.delete("/v1/segments/vips", 409))["detail"]
    published = said(await api.http.post("/v1/models/m/publish", headers={"Prefer": "respond-async"}), 202)
    assert "used by model 'm';" in (await api.delete("/v1/segments/vips", 409))["detail"]
    await api.work(published["job_id"])
    await api.delete("/v1/segments/vips")


async def test_a_version_that_is_about_to_count_holds_its_segments(api: Api) -> None:
    await api.post("/v1/segments", VIPS, 201)
    await api.model("m")
    rule = await api.post("/v1/models/m/rules", profile_rule("contact.segments", "=", "vips", 5), 201)
    published = said(await api.http.post("/v1/models/m/publish", headers={"Prefer": "respond-async"}), 202)
    await api.delete(f"/v1/rules/{rule['id']}")

    assert "used by model 'm';" in (await api.delete("/v1/segments/vips", 409))["detail"]

    assert "done" == (await api.work(published["job_id"]))["status"]


@pytest.mark.parametrize("is_live", [True, False])
@pytest.mark.parametrize("place", ["rule", "audience", "of a rule"])
async def test_a_circle_through_models_is_refused(api: Api, place: str, is_live: bool) -> None:
    """vips → few → the score of m, and m asks vips; or n, on which m depends, does."""
    await api.post("/v1/segments", VIPS, 201)
    asks = profile_rule("contact.segments", "=", "vips", 5)
    given = {
        "rule": asks,
        "audience": event_rule("page.viewed", 1),
        "of a rule": {**event_rule("page.viewed", 1), "audience": IS_MEMBER},
    }
    await api.post(
        "/v1/models", {"key": "n", "name": "N", **({"audience": IS_MEMBER} if place == "audience" else {})}, 201
    )
    await api.post("/v1/models/n/rules", given[place], 201)
    await api.post("/v1/models", {"key": "m", "name": "M"}, 201)
    await api.post("/v1/models/m/rules", profile_rule("contact.band.n", "notNull", None, 5), 201)
    if is_live:
        await api.publish("n")
        await api.publish("m")
        # The drafts no longer say so; what counts does.
        await api.patch("/v1/models/n", {"audience": None})
        for one in (await api.get("/v1/models/n/rules"))["items"]:
            await api.delete(f"/v1/rules/{one['id']}")

    for key in ("m", "n"):
        problem = await api.patch("/v1/segments/vips", {"condition": when(f"contact.score.{key}", ">", 1)}, 422)
        assert ["/condition"] == pointers(problem)
        assert f"the score of '{key}'" in problem["detail"]
        assert "model 'n' uses the segment" in problem["detail"]
    await segment(api, "few", when("contact.score.m", "null"))
    assert ["/condition"] == pointers(
        await api.patch("/v1/segments/vips", {"condition": when("contact.segments", "=", "few")}, 422)
    )
    assert VIPS["condition"] == (await api.get("/v1/segments/vips"))["condition"]


async def test_a_segment_may_look_at_a_model_that_does_not_look_at_it(api: Api) -> None:
    await api.post("/v1/segments", VIPS, 201)
    await api.model("m", event_rule("page.viewed", 1))
    await api.model("n", profile_rule("contact.segments", "=", "vips", 5))

    job = await job_of(api, "vips", when("contact.score.m", ">=", 1))
    await api.send({"type": "page.viewed", "contact": {"email": "ada@example.com"}})

    assert "done" == (await api.work(job))["status"]
    assert 5 == await api.score("ada@example.com", "n")


async def test_a_change_that_makes_its_users_too_large_is_refused(api: Api) -> None:
    """A live model whose conditions could not be read any more would stop the intake of events."""

    def tests(count: int) -> Json:
        return {"combinator": "or", "rules": when("contact.stage", "=", "x")["rules"] * count}

    await api.post("/v1/segments", VIPS, 201)
    six = {"combinator": "or", "rules": when("contact.segments", "=", "vips")["rules"] * 6}
    await segment(api, "few", six)
    await api.model("m", {"name": "few", "kind": "profile", "points": 1, "condition": six})

    problem = await api.patch("/v1/segments/vips", {"condition": tests(100)}, 422)
    assert ["/condition", "/condition"] == pointers(problem)
    for user in ("segment 'few'", "model 'm'"):
        assert f"{user}, which uses it: segment 'vips': more than 500 tests" in problem["detail"]

    for n in range(7):
        await api.model(f"m{n}", {"name": "few", "kind": "profile", "points": 1, "condition": six})
    await api.work(await job_of(api, "vips", tests(60)))
    assert "3000 are the most" in (await api.patch("/v1/segments/vips", {"condition": tests(80)}, 409))["detail"]
    await api.send({"type": "page.viewed", "contact": {"email": "ada@example.com"}})


async def test_a_model_that_counts_is_not_given_a_measure_that_is_not_ready(api: Api) -> None:
    await api.post("/v1/segments", VIPS, 201)
    await api.model("m", profile_rule("contact.segments", "=", "vips", 5))
    fill = await measure(api)
    asks = when("contact.measures.opens", ">", 0)

    problem = await api.patch("/v1/segments/vips", {"condition": asks}, 409)
    assert "'opens' is not ready" in problem["detail"]

    await api.work(fill)
    assert "done" == (await api.work(await job_of(api, "vips", asks)))["status"]


async def test_two_changes_at_once_leave_one_that_all_agree_on(api: Api) -> None:
    """a may name b, or b may name a; not both."""
    await segment(api, "a", VIPS["condition"])
    await segment(api, "b", VIPS["condition"])

    replies = await asyncio.gather(
        *(
            api.http.patch(f"/v1/segments/{key}", json={"condition": when("contact.segments", "=", other)})
            for key, other in ("ab", "ba")
        )
    )

    assert [200, 422] == sorted(reply.status_code for reply in replies)
    assert {"count": 0} == await api.get("/v1/segments/a/count")


# --- tried on records -------------------------------------------------------------------------------------------------


async def tried(api: Api, condition: Json, *records: Json, **more: Json) -> list[bool]:
    body = {"scope": "contact", "condition": condition, "records": records, **more}
    found: list[bool] = (await api.post("/v1/conditions/test", body))["matches"]
    return found


async def test_a_condition_is_tried_by_all_that_the_workspace_knows(api: Api) -> None:
    await api.post("/v1/models", {"key": "m", "name": "M", "bands": BANDS}, 201)
    await api.publish("m")
    await api.patch("/v1/models/m", {"bands": BANDS[:1]})
    await measure(api)
    await api.post("/v1/segments", VIPS, 201)
    await segment(api, "best", {"combinator": "and", "rules": [IS_MEMBER, when("contact.band.m", "=", "hot")]})
    ada = {"tags": ["VIP"], "scores": {"m": 50, "other": 1}, "measures": {"opens": 3}}
    bob = {"tags": ["vip"], "scores": {"m": 49.99}, "measures": {"opens": "3"}}
    cyd = {"scores": [50], "measures": None, "segments": ["vips"], "bands": {"m": "hot"}}

    assert [True, False, False] == await tried(api, when("contact.score.m", ">=", 50), ada, bob, cyd)
    assert [True, False, False] == await tried(api, when("contact.band.m", "=", "HOT"), ada, bob, cyd)
    assert [False, True, False] == await tried(api, when("contact.band.m", "=", "cold"), ada, bob, cyd)
    assert [True, False, False] == await tried(api, when("contact.measures.opens", "=", 3), ada, bob, cyd)
    assert [False, True, True] == await tried(api, when("contact.measures.opens", "null"), ada, bob, cyd)
    assert [True, True, False] == await tried(api, IS_MEMBER, ada, bob, cyd)
    assert [True, False, False] == await tried(api, when("contact.segments", "in", "best"), ada, bob, cyd)


async def test_a_trial_reads_properties_as_they_are_declared_unless_it_declares_them_itself(api: Api) -> None:
    await api.http.put("/v1/properties/size", json={"type": "number"})
    large, text = {"properties": {"size": 12}}, {"properties": {"size": "12"}}

    assert [True, False] == await tried(api, when("contact.properties.size", "=", "12"), large, text)
    fields = {"contact.properties.size": "text"}
    assert [False, True] == await tried(api, when("contact.properties.size", "=", "12"), large, text, fields=fields)


async def test_a_trial_of_what_the_workspace_does_not_know_is_refused(api: Api) -> None:
    body = {"scope": "contact", "condition": when("contact.score.m", ">", 1), "records": []}

    problem = await api.post("/v1/conditions/test", body, 422)

    assert ["/condition/rules/0/field"] == pointers(problem)


async def test_nobody_is_in_a_segment_of_an_empty_workspace(api: Api) -> None:
    await api.post("/v1/segments", VIPS, 201)

    assert {"count": 0} == await api.get("/v1/segments/vips/count")
    assert {"items": [], "next_cursor": None} == await api.get("/v1/segments/vips/members")
    assert "not_found" == (await api.get(f"/v1/segments/x{uuid4().hex}", 404))["code"]
