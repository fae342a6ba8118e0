"""A draft tried on a contact of the caller's making, and previewed on everybody; neither changes a thing."""

from datetime import timedelta
from uuid import uuid4

import pytest

from app import clock
from app.engine import preview
from tests.api.client import Api, Json, event_rule, pointers, said, when
from tests.api.world import (
    ALWAYS,
    CLICK,
    COLD_HOT,
    SILENCE,
    ada,
    explained,
    happened,
    publish,
    unit,
)
from tests.engine.worlds import NOON, set_clock

OF_A_PREVIEW = {"job", "preview_score", "pgqueuer", "pgqueuer_log"}


@pytest.fixture(autouse=True)
def at_noon(api: Api) -> None:
    set_clock(NOON)


async def contents(api: Api) -> dict[str, str]:
    """A fingerprint of each table."""
    async with api.database.hot.acquire() as db:
        tables = [row[0] for row in await db.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        return {
            table: await db.fetchval(
                f"SELECT count(*) || md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {table} t"
            )
            for table in tables
        }


# --- tried ------------------------------------------------------------------------------------------------------------


async def draft(api: Api, *rules: Json, **sheet: Json) -> None:
    await api.post("/v1/models", {"key": "m", "name": "M", **sheet}, 201)
    for rule in rules:
        await api.post("/v1/models/m/rules", rule, 201)


async def tried(api: Api, model: str = "m", **said: Json) -> Json:
    """An explanation that adds up."""
    found = await api.post(f"/v1/models/{model}/try", said)
    if found["computed"] is not None:
        parts = [one["points"] for one in found["contributions"]] + [one["points"] for one in found["cuts"]]
        assert round(sum(parts), 2) == found["computed"]
    return found


def told(type_: str, days_ago: int = 0, **properties: Json) -> Json:
    event = happened(type_, days_ago, **properties)
    return {name: event[name] for name in ("type", "occurred_at", "properties")}


async def test_a_draft_is_tried_on_a_contact_and_events_given_and_touches_nothing(api: Api) -> None:
    await publish(api, "other", CLICK)
    of_b = when("contact.email_domain", "=", "b.example")
    await draft(
        api,
        {**CLICK, "distinct_by": "event.properties.id", "group": "g"},
        event_rule("webinar.attended", 20, window_days=30),
        {**unit("contact.properties.employees", 0.125, max=80), "condition": of_b},
        {**ALWAYS, "points": -1000, "condition": when("contact.bounce_status", "=", "hard")},
        groups=[{"name": "g", "max_points": 7}],
        min=-900,
        bands=COLD_HOT,
    )
    await ada(api)
    before = await contents(api)

    events = [told("email.clicked", age, id=name) for age, name in ((0, "a"), (1, "a"), (9, "b"))]
    contact = {"email": "ada@b.example", "properties": {"employees": 100}}
    found = await tried(api, contact=contact, events=[*events, told("webinar.attended", 30)])
    bounced = await tried(api, contact={**contact, "bounce_status": "hard"}, events=[told("webinar.attended", 29)])

    assert (17, "cold", None, None) == tuple(found[name] for name in ("value", "band", "version", "override"))
    assert [{"by": "group g", "points": -3}] == found["cuts"]
    assert [(2, 10), (1, 10)] == [(one["count"], one["points"]) for one in found["contributions"]]
    assert ("2026-05-16", -900) == (bounced["next_change_on"], bounced["value"])
    assert [20, 10, -1000] == [one["points"] for one in bounced["contributions"]]
    assert before == await contents(api)


async def test_a_try_gives_what_the_same_contact_has_when_it_is_stored(api: Api) -> None:
    rules = [
        {**CLICK, "decay": {"half_life_days": 30, "every_days": 7}, "window_days": 60},
        SILENCE,
        {**ALWAYS, "condition": when("contact.days_inactive", "<", 3)},
        {**ALWAYS, "condition": when("contact.tags", "contains", "VIP"), "points": 2},
    ]
    await publish(api, "m", *rules, bands=COLD_HOT)
    contact = {"tags": ["vip"], "stage": "lead", "properties": {"x": 1}}
    events = [("email.clicked", 1), ("email.clicked", 8), ("page.viewed", 0)]
    await ada(api, **contact)
    await api.send(*(happened(*event) for event in events))

    stored = await explained(api, "m")
    for live in (False, True):
        found = await tried(api, contact=contact, events=[told(*event) for event in events], live=live)
        assert (1 if live else None) == found["version"]
        for name in ("value", "computed", "band", "contributions", "cuts", "next_change_on"):
            assert stored[name] == found[name]


async def test_what_counts_is_tried_only_if_it_is_asked_for(api: Api) -> None:
    await publish(api, "m", CLICK)
    [rule] = (await api.get("/v1/models/m/rules"))["items"]
    await api.patch(f"/v1/rules/{rule['id']}", {"points": 7})
    events = [{"type": "email.clicked"}]

    assert (7, 5) == tuple([(await tried(api, events=events, live=live))["value"] for live in (False, True)])
    await api.post("/v1/models/m/archive")
    assert 7 == (await tried(api, events=events))["value"]
    problem = await api.post("/v1/models/m/try", {"live": True}, 404)
    assert "no scoring model 'm' counts; try its draft" == problem["detail"]
    await api.post("/v1/models/nobody/try", {}, 404)


async def test_a_try_may_be_at_another_moment(api: Api) -> None:
    await draft(api, {**CLICK, "window_days": 10}, SILENCE)
    events = [told("email.clicked", age) for age in (12, 9, -1)]
    contact = {"created_at": (NOON - timedelta(days=100)).isoformat()}

    moments = {-20: -10, -12: 5, -9: 10, 0: 5, 1: 5, 11: 0, 31: -10}
    for days, points in moments.items():
        at = (NOON + timedelta(days=days)).isoformat()
        assert points == (await tried(api, contact=contact, events=events, at=at))["value"], days


async def test_a_try_is_told_the_scores_in_other_models(api: Api) -> None:
    await publish(api, "fit", bands=COLD_HOT)
    await publish(api, "engagement", bands=COLD_HOT)
    await publish(api, "both", combine={"sum": [{"model": "fit", "weight": 0.4}, {"model": "engagement", "weight": 2}]})
    await publish(api, "cell", combine={"grid": {"rows": "fit", "columns": "engagement"}})
    await draft(api, {**ALWAYS, "condition": when("contact.band.fit", "=", "hot")})
    await ada(api)

    assert 61.32 == (await tried(api, "both", scores={"fit": 50.8, "engagement": 20.5}))["value"]
    assert 0 == (await tried(api, "both"))["value"]
    found = await tried(api, "cell", scores={"fit": 50.8, "engagement": 20.5})
    assert ("A2", 3) == (found["band"], found["value"])
    assert (await tried(api, "cell", scores={"fit": 1}))["value"] is None
    assert [1, 0] == [(await tried(api, scores={"fit": fit}))["value"] for fit in (50, 49.99)]


async def test_a_contact_that_is_tried_is_as_one_just_made_where_nothing_is_said(api: Api) -> None:
    fresh = [
        when("contact.email", "null"), when("contact.stage", "null"), when("contact.opted_out", "=", False),
        when("contact.bounced", "=", False), when("contact.bounce_status", "=", "none"),
        when("contact.created_at", ">=", "2026-05-15T12:00:00Z"), when("contact.last_event_at", "null"),
        when("contact.properties.x", "null"), when("contact.tags", "!=", "vip"), when("contact.score.m2", "null"),
    ]  # fmt: skip
    await publish(api, "m2")
    await draft(api, *({**ALWAYS, "condition": condition} for condition in fresh), audience=fresh[0])

    assert len(fresh) == (await tried(api))["value"]
    outside = await tried(api, contact={"email": "ada@example.com"})
    assert [None, None, None] == [outside[name] for name in ("value", "computed", "band")]


WRONG: list[tuple[Json, list[str]]] = [
    ({"contakt": {}}, ["/contakt"]),
    ({"contact": {"emial": "x", "bounce_status": "firm"}}, ["/contact/bounce_status", "/contact/emial"]),
    ({"contact": {"properties": {"x": "\0"}, "tags": "vip"}}, ["/contact/properties", "/contact/tags"]),
    ({"contact": {"created_at": "9999-12-31T00:00:00Z"}}, ["/contact/created_at"]),
    ({"events": [{"type": "a.b"}, {}, {"type": ""}]}, ["/events/1/type", "/events/2/type"]),
    ({"events": [{"type": "a.b", "occurred_at": "2026-05-15T12:00:00"}]}, ["/events/0/occurred_at"]),
    ({"events": [{"type": "a.b", "occurred_at": "0001-01-01T00:00:00+23:59"}]}, ["/events/0/occurred_at"]),
    ({"events": [{"type": "a.b"}] * 5_001}, ["/events"]),
    ({"scores": {"nobody": 1, "m": 2, "nothing": 3}}, ["/scores/nobody", "/scores/nothing"]),
    ({"scores": {"A b": 1}}, ["/scores/A b"]),
    ({"scores": {"m": "many"}}, ["/scores/m"]),
    ({"scores": {"m": "1e99999999"}}, ["/scores/m"]),
    ({"at": "9999-12-31T23:59:59Z"}, ["/at"]),
    ({"at": "0001-01-01T00:00:00+23:59"}, ["/at"]),
    ({"at": "soon", "live": "perhaps"}, ["/at", "/live"]),
]


@pytest.mark.parametrize(("wrong", "found"), WRONG)
async def test_each_fault_of_a_try_is_pointed_at(api: Api, wrong: Json, found: list[str]) -> None:
    await draft(api, SILENCE)

    assert found == sorted(pointers(await api.post("/v1/models/m/try", wrong, 422)))


# --- previewed --------------------------------------------------------------------------------------------------------

BANDS = [*COLD_HOT, {"name": "warm", "color": "#ffff00", "min": 40}]


async def previewed(api: Api, key: str = "m", status: str = "done") -> Json:
    """The job of a preview, as it ended."""
    reply = await api.http.post(f"/v1/models/{key}/preview", headers={"Prefer": "respond-async"})
    asked = said(reply, 202)
    assert reply.headers["location"] == f"/v1/jobs/{asked['job_id']}"
    assert ("model.preview", "queued", None) == tuple(asked["job"][name] for name in ("kind", "status", "result"))
    job = await api.work(asked["job_id"])
    assert status == job["status"]
    return job


async def people(api: Api, **scores: float | None) -> dict[str, str]:
    """Contacts with this property `x`; name → id."""
    made = {}
    for name, x in scores.items():
        contact = {"user_id": name, "email": f"{name}@example.com", "properties": {"x": x}}
        made[name] = (await api.post("/v1/contacts", contact, 201))["id"]
    return made


async def movers(api: Api, job: Json, key: str = "m", **query: Json) -> list[tuple[str, float | None, float | None]]:
    page = await api.get(f"/v1/models/{key}/preview/{job['id']}/contacts", **query)
    return [(one["email"].split("@")[0], one["was"], one["becomes"]) for one in page["items"]]


async def doubled(api: Api) -> Json:
    """A preview of points by x becoming twice as many, and of one band more."""
    await publish(api, "m", unit("contact.properties.x", 1), bands=COLD_HOT)
    await people(api, ada=-5, bob=10, cleo=30, dan=55, eve=None)
    [rule] = (await api.get("/v1/models/m/rules"))["items"]
    await api.patch(f"/v1/rules/{rule['id']}", {"points": 2})
    await api.patch("/v1/models/m", {"bands": BANDS})
    return await previewed(api)


async def test_a_preview_says_who_would_be_where(api: Api) -> None:
    result = (await doubled(api))["result"]

    distribution = result.pop("distribution")
    assert {
        "contacts": 5,
        "changed": 4,
        "bands_before": {"(none)": 1, "cold": 3, "hot": 1},
        "bands_after": {"(none)": 1, "cold": 2, "hot": 2},
        "moves": [{"from": "cold", "to": "hot", "contacts": 1}],
        "thresholds": [
            {"band": "cold", "threshold": 0, "up": 0, "down": 0},
            {"band": "warm", "threshold": 40, "up": 1, "down": 0},
            {"band": "hot", "threshold": 50, "up": 1, "down": 0},
        ],
        "crm_writes": [],
    } == result
    assert [(-10, -4, 1, 1), (-4, 2, 1, 1), (8, 14, 1, 0), (20, 26, 0, 1), (26, 32, 1, 0), (50, 56, 1, 0)] == [
        tuple(one[name] for name in ("from", "to", "before", "after")) for one in distribution[:6]
    ]
    assert (110, 5, 5) == (distribution[-1]["to"], *(sum(one[n] for one in distribution) for n in ("before", "after")))


async def test_a_preview_returns_what_is_documented(api: Api) -> None:
    job = await doubled(api)

    schemas = (await api.get("/openapi.json"))["components"]["schemas"]
    result = job["result"]
    assert schemas["PreviewJob"]["properties"].keys() == job.keys()
    assert schemas["PreviewResult"]["properties"].keys() == result.keys()
    for shape, listed in (("MovesOut", "moves"), ("RangeOut", "distribution"), ("CrossingsOut", "thresholds")):
        assert schemas[shape]["properties"].keys() == result[listed][0].keys()
    page = await api.get(f"/v1/models/m/preview/{job['id']}/contacts")
    assert schemas["MoverOut"]["properties"].keys() == page["items"][0].keys()


async def test_who_would_move_is_listed_the_furthest_first_by_threshold_and_direction(api: Api) -> None:
    job = await doubled(api)
    ada_, bob, cleo, dan = ("ada", -5, -10), ("bob", 10, 20), ("cleo", 30, 60), ("dan", 55, 110)

    assert [dan, cleo, bob, ada_] == await movers(api, job)
    assert [dan, cleo, bob] == await movers(api, job, direction="up")
    assert [ada_] == await movers(api, job, direction="down")
    assert [cleo] == await movers(api, job, threshold=40)
    assert [cleo] == await movers(api, job, threshold="55.00", direction="up")
    assert [dan, cleo] == await movers(api, job, threshold=60)
    assert [] == await movers(api, job, threshold=40, direction="down")
    assert [ada_] == await movers(api, job, threshold=-7.5)
    assert [] == await movers(api, job, threshold=-5, direction="up")
    found, cursor = [], dict[str, Json]()
    while True:
        page = await api.get(f"/v1/models/m/preview/{job['id']}/contacts", limit=1, **cursor)
        found += [one["was"] for one in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert [55, 30, 10, -5] == found


async def test_a_preview_changes_nothing_and_comes_true_when_the_draft_is_published(api: Api) -> None:
    await publish(api, "m", unit("contact.properties.x", 1), CLICK)
    await people(api, ada=1, bob=2)
    await api.send(happened("email.clicked"), happened("webinar.attended"))
    await api.post("/v1/models/m/rules", event_rule("webinar.attended", 20), 201)
    await api.post("/v1/models/m/rules", {**event_rule("email.clicked", 3), "distinct_by": "event.source"}, 201)
    before = await contents(api)

    job = await previewed(api)

    after = await contents(api)
    assert OF_A_PREVIEW >= {table for table in before if before[table] != after[table]}
    assert [("ada", 6, 29)] == await movers(api, job)
    assert 6 == await api.score("ada@example.com", "m")
    await api.publish("m")
    assert 29 == await api.score("ada@example.com", "m")
    assert [] == await movers(api, await previewed(api))


async def test_who_would_enter_or_leave_the_audience_moves_the_furthest(api: Api) -> None:
    await publish(
        api, "m", unit("contact.properties.x", 1), audience=when("contact.properties.x", "<", 50), bands=BANDS
    )
    await people(api, ada=45, bob=60, cleo=10)
    await api.patch("/v1/models/m", {"audience": when("contact.properties.x", ">", 20), "max": 59})

    job = await previewed(api)

    result = job["result"]
    assert {"cold": 1, "warm": 1, "(no score)": 1} == result["bands_before"]
    assert {"warm": 1, "hot": 1, "(no score)": 1} == result["bands_after"]
    moves = sorted(result["moves"], key=lambda move: str(move["from"]), reverse=True)
    assert [{"from": "cold", "to": None, "contacts": 1}, {"from": None, "to": "hot", "contacts": 1}] == moves
    crossings = [(one["up"], one["down"]) for one in result["thresholds"]]
    assert [(1, 1), (1, 0), (1, 0)] == crossings
    listed = await movers(api, job)
    assert [("bob", None, 59), ("cleo", 10, None)] == sorted(listed)
    first = await api.get(f"/v1/models/m/preview/{job['id']}/contacts", limit=1)
    second = await api.get(f"/v1/models/m/preview/{job['id']}/contacts", limit=1, cursor=first["next_cursor"])
    assert [[one["was"] for one in page["items"]] for page in (first, second)] == [[was] for _, was, _ in listed]
    assert [("cleo", 10, None)] == await movers(api, job, threshold=5, direction="down")
    assert [("bob", None, 59)] == await movers(api, job, direction="up")


async def test_a_preview_is_of_the_draft_as_it_was_when_it_was_asked_for(api: Api) -> None:
    await draft(api, ALWAYS)
    await people(api, ada=1)
    job_id = (await api.post("/v1/models/m/preview", status=202))["job_id"]
    await api.post("/v1/models/m/rules", {**ALWAYS, "points": 10}, 201)

    job = await api.work(job_id)

    assert [("ada", None, 1)] == await movers(api, job)
    assert {"(no score)": 1} == job["result"]["bands_before"]


async def test_a_preview_of_an_empty_base_says_so(api: Api) -> None:
    await draft(api, ALWAYS, bands=COLD_HOT)

    result = (await previewed(api))["result"]

    assert (0, 0, {}, [], []) == tuple(
        result[name] for name in ("contacts", "changed", "bands_after", "moves", "distribution")
    )


async def test_a_preview_is_kept_for_a_day(api: Api) -> None:
    job = await doubled(api)
    path = f"/v1/models/m/preview/{job['id']}/contacts"

    await forget(api, NOON + timedelta(hours=23))
    assert 4 == len((await api.get(path))["items"])
    await forget(api, NOON + timedelta(hours=25))

    problem = await api.get(path, 404)
    assert "there is no such preview, or it is not ready yet; they are kept for a day" == problem["detail"]
    await api.get(f"/v1/jobs/{job['id']}", 404)
    assert 0 == await api.fetchval("SELECT count(*) FROM preview_score")


async def forget(api: Api, now: Json) -> None:
    """What the worker does every minute."""
    set_clock(now)
    async with api.database.batch() as db:
        await preview.forget_old(db, clock.now() - timedelta(days=1))


async def test_a_preview_is_of_one_model_and_there_once_it_is_done(api: Api) -> None:
    job = await doubled(api)
    await publish(api, "other", ALWAYS)
    published = (await api.get("/v1/jobs", limit=1))["items"][0]
    waiting = (await api.post("/v1/models/m/preview", status=202))["job_id"]

    for key, job_id in (("other", job["id"]), ("nobody", job["id"]), ("other", published["id"]), ("m", waiting)):
        await api.get(f"/v1/models/{key}/preview/{job_id}/contacts", 404)
    await api.get(f"/v1/models/m/preview/{uuid4()}/contacts", 404)
    await api.post("/v1/models/nobody/preview", status=404)
    await api.delete("/v1/models/m")
    failed = await api.work(waiting)
    assert ("failed", "the model was deleted meanwhile") == (failed["status"], failed["error"])


async def test_a_contact_that_was_erased_since_is_in_no_list(api: Api) -> None:
    job = await doubled(api)

    await api.delete(f"/v1/contacts/{await api.id_of('dan@example.com')}")

    assert ["cleo", "bob", "ada"] == [name for name, _, _ in await movers(api, job)]


async def test_what_is_wrong_with_a_question_about_movers_is_pointed_at(api: Api) -> None:
    job = await doubled(api)
    path = f"/v1/models/m/preview/{job['id']}/contacts"

    wrong = await api.get(path, 422, threshold="many", direction="sideways", limit=0)
    assert ["/direction", "/limit", "/threshold"] == sorted(pointers(wrong))
    for threshold in ("nan", "inf", "1e99999999"):
        assert ["/threshold"] == pointers(await api.get(path, 422, threshold=threshold))
    assert ["/cursor"] == pointers(await api.get(path, 422, cursor="x"))
    assert ["/job_id"] == pointers(await api.get("/v1/models/m/preview/x/contacts", 422))
