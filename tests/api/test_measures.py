from datetime import timedelta
from uuid import UUID

import pytest

from app import clock
from app.engine import tally, usage
from app.store import jobs
from tests.api.client import Api, Json, event_rule, pointers, profile_rule, said, when

ORDERS = when("event.type", "=", "order.placed")
SPENT: Json = {
    "key": "spent",
    "name": "Spent in 90 days",
    "condition": ORDERS,
    "aggregate": "sum",
    "of": "event.properties.amount",
    "window_days": 90,
}
COUNT: Json = {"key": "orders", "name": "Orders", "condition": ORDERS, "aggregate": "count"}


async def begin(api: Api, **said_: Json) -> Json:
    """A measure as it is answered while its history has yet to be counted."""
    reply = await api.http.post("/v1/measures", json={**COUNT, **said_}, headers={"Prefer": "respond-async"})
    return said(reply, 202)


async def measure(api: Api, **said_: Json) -> None:
    """A measure that is ready, at once or by its job."""
    reply = await api.http.post("/v1/measures", json={**COUNT, **said_}, headers={"Prefer": "respond-async"})
    made = said(reply, reply.status_code)
    assert made["ready"] or "done" == (await api.work(made["job_id"]))["status"]


def order(email: str = "ada@example.com", **properties: Json) -> Json:
    return {"type": "order.placed", "contact": {"email": email}, "properties": properties}


async def is_(api: Api, key: str, value: Json) -> bool:
    """Whether the one contact there is has this value in a measure, as a segment sees it."""
    await api.http.delete("/v1/segments/asked")
    await api.post(
        "/v1/segments", {"key": "asked", "name": "A", "condition": when(f"contact.measures.{key}", "=", value)}, 201
    )
    return bool((await api.get("/v1/segments/asked/count"))["count"])


async def tallies(api: Api) -> int:
    return int(await api.fetchval("SELECT count(*) FROM tally"))


# --- what is kept -----------------------------------------------------------------------------------------------------


async def test_a_measure_is_made_filled_read_listed_and_deleted(api: Api) -> None:
    reply = await api.http.post("/v1/measures", json=SPENT, headers={"Prefer": "respond-async"})
    made = said(reply, 202)
    assert SPENT == {name: made[name] for name in SPENT}
    assert f"/v1/jobs/{made['job_id']}" == reply.headers["location"]
    assert (False, "measure.fill", "queued") == (made["ready"], made["job"]["kind"], made["job"]["status"])

    assert "done" == (await api.work(made["job_id"]))["status"]
    read = await api.get("/v1/measures/spent")
    assert {**SPENT, "ready": True, "created_at": made["created_at"]} == read
    assert {"items": [read], "next_cursor": None} == await api.get("/v1/measures")

    await api.delete("/v1/measures/spent")
    await api.get("/v1/measures/spent", 404)
    await api.delete("/v1/measures/spent", 404)
    assert {"items": [], "next_cursor": None} == await api.get("/v1/measures")


async def test_the_pages_of_measures_give_each_once(api: Api) -> None:
    for key in "dacbe":
        await api.http.post("/v1/measures", json={**COUNT, "key": key}, headers={"Prefer": "respond-async"})
    found, cursor = [], None
    while True:
        page = await api.get("/v1/measures", limit=2, **({"cursor": cursor} if cursor else {}))
        found += [one["key"] for one in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert list("abcde") == found
    assert ["/cursor"] == pointers(await api.get("/v1/measures", 422, cursor="x"))


async def test_beside_a_worker_a_small_history_is_counted_before_the_answer(working: Api) -> None:
    made = await working.post("/v1/measures", SPENT, 202)

    assert (True, "done") == (made["ready"], made["job"]["status"])


async def test_a_measure_never_changes_and_its_key_is_taken_once(api: Api) -> None:
    await begin(api)

    problem = await api.post("/v1/measures", {**COUNT, "name": "Others"}, 409)

    assert ("conflict", "/key") == (problem["code"], problem["pointer"])
    await api.patch("/v1/measures/orders", {"name": "Others"}, 405)


@pytest.mark.parametrize(
    ("said_", "found"),
    [
        ({"key": "Spent"}, ["/key"]),
        ({"aggregate": "average"}, ["/aggregate"]),
        ({"more": 1}, ["/more"]),
        ({"condition": when("contact.email", "=", "a")}, ["/condition/rules/0/field"]),
        ({"condition": {"combinator": "and", "rules": []}}, ["/condition/rules"]),
        ({"condition": {**ORDERS, "id": "\0"}}, ["/condition"]),
        ({"condition": {}, "of": None}, ["/condition/field", "/condition/operator", "/of"]),
        ({"window_days": 0}, ["/window_days"]),
        ({"window_days": 36_501}, ["/window_days"]),
        ({"window_days": "30"}, ["/window_days"]),
        ({"of": None}, ["/of"]),
        ({"of": "event.properties."}, ["/of"]),
        ({"of": "event.type"}, ["/of"]),
        ({"of": "contact.properties.x"}, ["/of"]),
        ({"aggregate": "count"}, ["/of"]),
        ({"aggregate": "distinct", "of": None}, ["/of"]),
        ({"aggregate": "distinct", "of": "event.occurred_at"}, ["/of"]),
        ({"aggregate": "distinct", "of": "contact.email"}, ["/of"]),
        (
            {"of": None, "window_days": -1, "condition": {"field": "x"}},
            ["/condition/field", "/condition/operator", "/window_days", "/of"],
        ),
    ],
)
async def test_a_wrong_measure_is_refused_whole_with_a_pointer_to_each_fault(
    api: Api, said_: Json, found: list[str]
) -> None:
    assert found == pointers(await api.post("/v1/measures", {**SPENT, **said_}, 422))

    assert [] == (await api.get("/v1/measures"))["items"]
    assert 0 == await api.fetchval("SELECT count(*) FROM counter")


# --- what it counts ---------------------------------------------------------------------------------------------------


async def test_what_was_and_what_comes_is_counted_while_the_history_is_and_after(api: Api) -> None:
    await api.send(order(), order())
    made = await begin(api)
    await api.send(order())

    assert "done" == (await api.work(made["job_id"]))["status"]
    await api.send(order())

    assert await is_(api, "orders", 4)


@pytest.mark.parametrize(
    ("said_", "expected"),
    [
        ({"aggregate": "count"}, 5),
        ({"aggregate": "sum", "of": "event.properties.amount"}, "10.75"),
        ({"aggregate": "distinct", "of": "event.properties.item"}, 2),
        ({"aggregate": "distinct", "of": "event.type"}, 1),
        ({"aggregate": "count", "condition": when("event.properties.amount", ">", 1)}, 1),
    ],
)
async def test_an_aggregate_is_over_the_matching_events(api: Api, said_: Json, expected: Json) -> None:
    given = [(10.5, "Pen"), (0.25, "pen"), ("7", "Ink"), (None, None), (-0.0, ["pen"])]
    events = [order(amount=amount, item=item) for amount, item in given]
    await api.send(*events[:2], {"type": "page.viewed", "contact": {"email": "ada@example.com"}})
    await measure(api, **said_)
    await api.send(*events[2:])

    assert await is_(api, "orders", expected)


async def test_a_window_holds_todays_utc_day_and_those_before_it(api: Api) -> None:
    await measure(api, window_days=2)
    await measure(api, key="ever")
    await api.send(order())

    for days, expected in ((0, 1), (1, 1), (2, 0)):
        clock.shift(timedelta(days=days))
        assert await is_(api, "orders", expected)
        assert await is_(api, "ever", 1)


async def test_a_measure_of_what_a_rule_counts_already_is_ready_at_once(api: Api) -> None:
    await api.send(order())
    await api.model("m", event_rule("order.placed", 1))

    reply = await api.http.post("/v1/measures", json=COUNT)

    made = said(reply, 201)
    assert (True, None, None) == (made["ready"], made["job_id"], made["job"])
    assert "/v1/measures/orders" == reply.headers["location"]
    assert await is_(api, "orders", 1)
    assert 1 == await api.fetchval("SELECT count(*) FROM counter")


async def test_a_job_that_stopped_on_its_way_goes_on_from_there(api: Api) -> None:
    """A worker had looked at all events, and added what it found of two contacts, when it died."""
    await api.send(*(order(f"{n}@example.com") for n in range(5)))
    made = await begin(api)
    async with api.database.batch() as db:
        counters = [dict(row) for row in await db.fetch("UPDATE counter SET staged = true RETURNING *")]
        await tally.stage(db, counters)
        people = [row["contact_id"] for row in await db.fetch("SELECT contact_id FROM activity ORDER BY 1 LIMIT 2")]
        await tally.add_staged(db, people, [counters[0]["id"]])
        job_id = UUID(made["job_id"])
        await jobs.start(db, job_id, clock.now())
        await jobs.enter(db, job_id, "filling", 5)
        await jobs.advance(db, job_id, "filling", 2, str(people[-1]))

    job = await api.work(made["job_id"])

    assert ("done", 5) == (job["status"], job["done"])
    assert 5 == await tallies(api) == await api.fetchval("SELECT sum(n) FROM tally")
    assert (await api.get("/v1/measures/orders"))["ready"]


# --- what uses it -----------------------------------------------------------------------------------------------------


async def test_a_measure_is_not_deleted_while_something_uses_it_and_the_answer_says_what(api: Api) -> None:
    await measure(api)
    per_order = {"name": "orders", "kind": "profile", "points": 1, "per_unit_of": {"field": "contact.measures.orders"}}
    await api.model("m", per_order)
    asks = when("contact.days_inactive", ">", "contact.measures.orders", valueSource="field", muted=True)
    await api.post("/v1/segments", {"key": "s", "name": "S", "condition": asks}, 201)

    problem = await api.delete("/v1/measures/orders", 409)

    users = ["model 'm'", "the draft of model 'm'", "segment 's'"]
    assert f"measure 'orders' is used by {', '.join(users)}; change that first" == problem["detail"]
    await api.delete("/v1/segments/s")
    await api.post("/v1/models/m/archive")
    await api.delete("/v1/measures/orders")


async def test_what_a_deleted_measure_counted_is_removed_unless_something_else_counts_it(api: Api) -> None:
    await api.send(order(amount=1, item="a"))
    await measure(api)
    await measure(api, key="same")
    await measure(api, key="spent", aggregate="sum", of="event.properties.amount")
    await api.model("m", event_rule("order.placed", 1))
    assert 2 == await tallies(api)

    for key, left in (("orders", 2), ("same", 2), ("spent", 1)):
        await api.delete(f"/v1/measures/{key}")
        tidy = (await api.get("/v1/jobs"))["items"][0]
        assert ("model.tidy", "done") == (tidy["kind"], (await api.work(tidy["id"]))["status"])
        assert left == await tallies(api)
    await api.delete("/v1/models/m")
    await api.work((await api.get("/v1/jobs"))["items"][0]["id"])
    assert 0 == await tallies(api)
    assert 0 == await api.fetchval("SELECT count(*) FROM counter")


async def test_a_measure_deleted_while_it_is_counted_leaves_nothing_behind(api: Api) -> None:
    await api.send(order())
    made = await begin(api)
    await api.delete("/v1/measures/orders")
    tidy = (await api.get("/v1/jobs"))["items"][0]["id"]

    await api.work(tidy)
    job = await api.work(made["job_id"])

    assert ("failed", "the measure was deleted meanwhile") == (job["status"], job["error"])
    assert 0 == await tallies(api)


async def test_a_measure_made_again_counts_from_nothing_whatever_the_other_left(api: Api) -> None:
    await api.send(order())
    await measure(api)
    await api.delete("/v1/measures/orders")
    tidy = (await api.get("/v1/jobs"))["items"][0]["id"]
    again = await begin(api)
    await api.send(order())

    for job in (again["job_id"], tidy):
        assert "done" == (await api.work(job))["status"]

    assert await is_(api, "orders", 2)


async def test_what_is_not_ready_is_told_to_whoever_publishes(api: Api) -> None:
    await measure(api)
    made = await begin(api, key="spent", aggregate="sum", of="event.properties.amount")
    fields = {"contact.measures.orders", "contact.measures.spent", "contact.email", "contact.measures.nobody"}

    async with api.database.hot.acquire() as db:
        assert ["spent"] == await usage.not_ready(db, fields)
        assert [] == await usage.not_ready(db, {"contact.email"})
        await api.work(made["job_id"])
        assert [] == await usage.not_ready(db, fields)


async def test_drafts_and_segments_may_name_a_measure_that_is_not_ready(api: Api) -> None:
    await begin(api)

    await api.post("/v1/models", {"key": "m", "name": "M"}, 201)
    await api.post("/v1/models/m/rules", profile_rule("contact.measures.orders", ">", 0, 5), 201)
    condition = when("contact.measures.orders", ">", 0)
    await api.post("/v1/segments", {"key": "s", "name": "S", "condition": condition}, 201)


async def test_conditions_that_are_too_many_to_ask_of_every_event_are_refused(api: Api) -> None:
    def tests(word: str) -> Json:
        return {"combinator": "or", "rules": when("event.type", "=", word)["rules"] * 500}

    for n in range(6):
        await begin(api, key=f"k{n}", condition=tests(f"a{n}"))

    problem = await api.post("/v1/measures", {**COUNT, "condition": tests("b")}, 409)

    assert "3000 are the most" in problem["detail"]
    assert 6 == await api.fetchval("SELECT count(*) FROM counter")
