"""The addresses that tracking SDKs call: what they are answered, and what arrives."""

import base64
import gzip
import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app import clock
from app.outbound import Outbound
from app.sources import registry
from app.sources.draining import Reader
from tests.api.client import BASE, Api, Json, be_a_problem, event_rule, said

BATCH = {
    "sentAt": "2024-05-06T07:08:10.100Z",
    "batch": [
        {
            "type": "identify",
            "messageId": "m-1",
            "anonymousId": "a-9",
            "userId": "u-7",
            "traits": {"email": "ana@example.com"},
        },
        {"type": "track", "messageId": "m-2", "userId": "u-7", "event": "Form Submitted"},
        {"type": "page", "messageId": "m-3", "anonymousId": "a-9", "properties": {"path": "/pricing"}},
    ],
}
TRACK = {"type": "track", "userId": "u", "event": "A b", "messageId": "m"}


async def source(api: Api, kind: str, name: str = "site") -> str:
    """A new source's write key."""
    async with api.database.batch() as db:
        _, key = await registry.create(
            db, api.app.state.services.vault, kind, name, verify=False, secret=None, now=clock.now()
        )
    assert key is not None
    return key


async def switch_off(api: Api, name: str = "site") -> None:
    async with api.database.batch() as db:
        await registry.switch(db, (await registry.named(db, name)).id, enabled=False)


async def read(api: Api) -> list[Json]:
    """Does the worker's part; returns all events, the newest first."""
    kit = api.app.state.services
    reader = Reader(api.database, kit.plans, kit.policy, Outbound().fetch)
    while await reader.step():
        pass
    return list((await api.get("/v1/events"))["items"])


async def counts(api: Api, name: str = "site") -> tuple[int, int, int, int]:
    async with api.database.batch() as db:
        found = await registry.named(db, name)
    return found.accepted, found.duplicates, found.rejected, found.refused


@pytest.fixture
async def sdk(api: Api) -> httpx.AsyncClient:
    """A caller without an API key, as SDKs are."""
    transport = httpx.ASGITransport(api.app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=BASE, event_hooks={"response": [be_a_problem]})


@pytest.fixture
async def rudder_key(api: Api) -> str:
    return await source(api, "rudderstack")


def basic(key: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{key}:".encode()).decode()}


# --- what arrives -----------------------------------------------------------------------------------------------------


async def test_a_batch_arrives_scored_and_on_one_person_and_counts_once(api: Api, sdk: httpx.AsyncClient) -> None:
    key = await source(api, "segment")
    await api.model("m", event_rule("form.submitted", 5), event_rule("page.viewed", 1))

    for _ in range(2):
        reply = await sdk.post("/v1/batch", json=BATCH, headers=basic(key))
        assert {"success": True} == said(reply, 200)

    events = await read(api)
    assert {"contact.updated", "form.submitted", "page.viewed"} == {event["type"] for event in events}
    assert {"ana@example.com"} == {event["contact"]["email"] for event in events}
    assert {"site"} == {event["source"] for event in events}
    assert 6 == await api.score("ana@example.com", "m")
    assert (3, 3, 0, 0) == await counts(api)


async def test_visits_groups_and_earlier_ids_become_the_persons(api: Api, sdk: httpx.AsyncClient) -> None:
    key = await source(api, "segment")
    calls: list[Json] = [
        {"type": "page", "anonymousId": "a-1", "properties": {"path": "/pricing"}},
        {"type": "track", "userId": "old", "event": "Trial Started"},
        {
            "type": "identify",
            "anonymousId": "a-1",
            "userId": "new",
            "traits": {"email": "ana@example.com", "name": "Ana"},
        },
        {"type": "group", "userId": "new", "groupId": "g", "traits": {"name": "Acme", "employees": 40}},
        {"type": "alias", "userId": "new", "previousId": "old"},
    ]

    for call in calls:  # each in a transaction of its own
        said(await sdk.post("/v1/batch", json={"batch": [call], "writeKey": key}), 200)
        await read(api)

    events = await read(api)
    assert {"page.viewed", "trial.started", "contact.updated", "group.joined", "contact.aliased"} == {
        event["type"] for event in events
    }
    assert {"ana@example.com"} == {event["contact"]["email"] for event in events}
    contact = await api.contact("ana@example.com")
    assert ("Ana", {"id": "g", "name": "Acme", "employees": 40}) == (
        contact["name"],
        contact["properties"]["company"],
    )


@pytest.mark.parametrize(
    ("path", "type_"),
    [
        ("/v1/identify", "contact.updated"),
        ("/v1/track", "a.b"),
        ("/v1/page", "page.viewed"),
        ("/v1/screen", "screen.viewed"),
        ("/v1/group", "contact.updated"),
        ("/v1/alias", "contact.aliased"),
        ("/v1/i", "contact.updated"),
        ("/v1/t", "a.b"),
        ("/v1/p", "page.viewed"),
        ("/v1/s", "screen.viewed"),
        ("/v1/g", "contact.updated"),
        ("/v1/a", "contact.aliased"),
    ],
)
async def test_every_path_is_its_call(api: Api, sdk: httpx.AsyncClient, path: str, type_: str) -> None:
    key = await source(api, "segment")
    body = {"userId": "u", "event": "A b", "groupId": "g", "previousId": "p", "writeKey": key}

    said(await sdk.post(path, json=body), 200)

    assert type_ in {event["type"] for event in await read(api)}


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/b", "/v1/import", "/beacon/v1/batch"])
@pytest.mark.parametrize("place", ["body", "basic", "basic without colon", "query", "bearer"])
async def test_the_key_is_taken_wherever_sdks_put_it_and_is_not_kept(
    api: Api, sdk: httpx.AsyncClient, path: str, place: str
) -> None:
    key = await source(api, "segment")
    body: Json = {"batch": [TRACK], **({"writeKey": key} if place in ("body", "bearer") else {})}
    plain = "Basic " + base64.b64encode(key.encode()).decode()
    header = {"basic": basic(key)["Authorization"], "basic without colon": plain, "bearer": "Bearer oauth-token"}

    reply = await sdk.post(
        path,
        content=json.dumps(body),
        params={"writeKey": key} if place == "query" else {},
        headers={"Content-Type": "text/plain"} | ({"Authorization": header[place]} if place in header else {}),
    )

    said(reply, 200)
    assert 1 == len(await read(api))
    assert not await api.fetchval(
        "SELECT count(*) FROM delivery d WHERE strpos(to_jsonb(d)::text || convert_from(body, 'UTF8'), $1) > 0", key
    )


async def test_gzip_is_read_whatever_the_content_type(api: Api, sdk: httpx.AsyncClient) -> None:
    key = await source(api, "rudderstack")
    body = gzip.compress(json.dumps({"batch": [TRACK]}).encode())

    reply = await sdk.post("/v1/batch", content=body, headers={"Content-Encoding": "gzip", **basic(key)})

    assert (200, "ok") == (reply.status_code, reply.text)
    assert 1 == len(await read(api))


async def test_a_pixel_is_a_call(api: Api, sdk: httpx.AsyncClient) -> None:
    key = await source(api, "rudderstack")
    query = {"writeKey": key, "anonymousId": "a", "properties.path": "/amp", "context.page.title": "Amp", "a.b": "1"}
    query |= {"properties.path.deeper": "x", ".".join("x" * 50): "1"}

    page = await sdk.get("/pixel/v1/page", params=query, headers={"User-Agent": "Mozilla/5.0 (Amp)"})
    track = await sdk.get("/pixel/v1/track", params={**query, "event": "Ad Seen"})

    assert [(200, "image/gif", b"GIF89a")] * 2 == [
        (one.status_code, one.headers["content-type"], one.content[:6]) for one in (page, track)
    ]
    events = {event["type"]: event["properties"] for event in await read(api)}
    assert {"page.viewed", "ad.seen"} == events.keys()
    assert {"path": "/amp", "title": "Amp", "context": {"user_agent": "Mozilla/5.0 (Amp)"}} == events["page.viewed"]


# --- what is refused --------------------------------------------------------------------------------------------------


LARGE = {**TRACK, "properties": {"x": "y" * 40_000}}


@pytest.mark.parametrize(
    ("kind", "path", "body", "status", "code"),
    [
        ("segment", "/v1/batch", b"{", 400, "invalid_input"),
        ("segment", "/v1/batch", {"batch": [LARGE] * 13}, 400, "invalid_input"),
        ("segment", "/v1/track", LARGE, 400, "invalid_input"),
        ("rudderstack", "/v1/batch", b"", 400, "invalid_input"),
        ("rudderstack", "/v1/batch", {"batch": []}, 400, "invalid_input"),
        ("rudderstack", "/v1/batch", {"batch": [TRACK, {"type": "track", "event": "A b"}]}, 400, "invalid_input"),
        ("rudderstack", "/v1/track", {"event": "A b"}, 400, "invalid_input"),
        ("rudderstack", "/v1/track", [], 400, "invalid_input"),
        ("rudderstack", "/v1/batch", {"batch": [LARGE] * 110}, 413, "too_large"),
        ("cloudevents", "/v1/track", TRACK, 401, "not_authenticated"),
    ],
)
async def test_a_request_is_refused_as_a_whole_in_words_that_sdks_read(
    api: Api, sdk: httpx.AsyncClient, kind: str, path: str, body: Json, status: int, code: str
) -> None:
    key = await source(api, kind)
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    problem = said(await sdk.post(path, content=content, headers=basic(key)), status)

    assert code == problem["code"]
    assert problem["message"] == problem["detail"] != ""
    assert [] == await read(api)


@pytest.mark.parametrize("kind", ["segment", "snippet"])
async def test_what_segment_takes_is_taken_and_its_faults_are_told_at_the_source(
    api: Api, sdk: httpx.AsyncClient, kind: str
) -> None:
    key = await source(api, kind)
    wrong = [{"type": "track", "event": "A b"}, {"type": "track", "userId": "u"}, 5, LARGE]

    said(await sdk.post("/v1/batch", json={"batch": [*wrong, TRACK]}, headers=basic(key)), 200)
    said(await sdk.post("/v1/batch", json={"batch": []}, headers=basic(key)), 200)
    said(await sdk.post("/v1/batch", json=[], headers=basic(key)), 200)

    assert 1 == len(await read(api))
    assert (1, 0, 5, 0) == await counts(api)


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic !!!"}, basic("wk_nothing")])
async def test_no_key_or_a_wrong_one_is_401_without_asking_the_visitor(
    sdk: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    reply = await sdk.post("/v1/batch", json={"batch": [TRACK]}, headers={**headers, "Origin": "https://example.com"})

    problem = said(reply, 401)
    assert ("not_authenticated", problem["detail"]) == (problem["code"], problem["message"])
    assert "www-authenticate" not in reply.headers
    assert "https://example.com" == reply.headers["access-control-allow-origin"]


@pytest.mark.parametrize("kind", ["segment", "rudderstack"])
async def test_a_source_that_is_switched_off_is_404_and_counts_who_called(
    api: Api, sdk: httpx.AsyncClient, kind: str
) -> None:
    key = await source(api, kind)
    await switch_off(api)

    assert "not_found" == said(await sdk.post("/v1/batch", json={"batch": [TRACK]}, headers=basic(key)), 404)["code"]

    assert (0, 0, 0, 1) == await counts(api)


async def test_a_full_inbox_asks_to_come_again(api: Api, sdk: httpx.AsyncClient) -> None:
    key = await source(api, "segment")
    api.app.state.services.settings.inbox_limit = 1
    try:
        replies = [await sdk.post("/v1/batch", json={"batch": [TRACK]}, headers=basic(key)) for _ in range(3)]
    finally:
        api.app.state.services.settings.inbox_limit = 100_000

    assert 429 == replies[-1].status_code
    assert int(replies[-1].headers["retry-after"]) > 0
    assert replies[-1].json()["message"]


# --- browsers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/t", "/v1/p", "/beacon/v1/batch", "/sourceConfig/", "/v1/import"])
async def test_a_browser_may_call_from_anywhere(sdk: httpx.AsyncClient, path: str) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "anonymousid,authorization"}

    reply = await sdk.options(path, headers={"Origin": "https://shop.example", **asked})

    assert (204, "https://shop.example", "true", "anonymousid,authorization") == (
        reply.status_code,
        reply.headers["access-control-allow-origin"],
        reply.headers["access-control-allow-credentials"],
        reply.headers["access-control-allow-headers"],
    )
    assert int(reply.headers["access-control-max-age"]) >= 900


async def test_no_other_address_lets_browsers_in(api: Api) -> None:
    reply = await api.http.get("/v1/models", headers={"Origin": "https://shop.example"})

    assert "access-control-allow-origin" not in reply.headers
    assert 405 == (await api.http.options("/v1/models", headers={"Origin": "https://shop.example"})).status_code


async def test_segments_browser_sdk_is_told_that_there_is_nobody_but_us(api: Api, sdk: httpx.AsyncClient) -> None:
    key = await source(api, "segment")

    settings_ = said(await sdk.get(f"/v1/projects/{key}/settings"), 200)

    assert ["Segment.io"] == list(settings_["integrations"])
    ours = settings_["integrations"]["Segment.io"]
    assert (key, "leadtally.test/v1", "http") == (ours["apiKey"], ours["apiHost"], ours["protocol"])
    assert 401 == (await sdk.get("/v1/projects/nothing/settings")).status_code


@pytest.mark.parametrize("path", ["/sourceConfig", "/sourceConfig/"])
async def test_rudderstacks_browser_sdk_is_told_that_it_is_on(api: Api, sdk: httpx.AsyncClient, path: str) -> None:
    key = await source(api, "rudderstack")

    by_header = said(await sdk.get(path, params={"p": "web"}, headers=basic(key)), 200)
    by_query = said(await sdk.get(path, params={"writeKey": key}), 200)

    assert by_header == by_query
    assert (True, []) == (by_query["source"]["enabled"], by_query["source"]["destinations"])
    assert {"id", "name", "config", "workspaceId"} <= by_query["source"].keys()


async def test_the_snippet_is_small_and_is_asked_for_again_only_when_it_changed(api: Api) -> None:
    plain = await api.http.get("/t.js", headers={"Accept-Encoding": "identity"})
    packed = await api.http.get("/t.js", headers={"Accept-Encoding": "gzip, br"})

    assert len(plain.content) < 3_000
    assert plain.content == packed.content  # httpx has unpacked it
    assert int(packed.headers["content-length"]) < 1_500
    for reply in (plain, packed):
        assert "text/javascript; charset=utf-8" == reply.headers["content-type"]
        assert "max-age=3600" in reply.headers["cache-control"]
        again = {"If-None-Match": reply.headers["etag"], "Accept-Encoding": reply.request.headers["accept-encoding"]}
        unchanged = await api.http.get("/t.js", headers=again)
        assert (304, b"") == (unchanged.status_code, unchanged.content)
    assert plain.headers["etag"] != packed.headers["etag"]


# --- whatever comes ---------------------------------------------------------------------------------------------------


_ANY = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"[" * 100_000, b'{"a":' * 5_000, b'"\\ud800"', b"1e400", b"\xff\xfe{\x00}\x00", b"null", b"{}"]),
    st.dictionaries(st.sampled_from(["batch", "writeKey", "userId"]), st.none() | st.text() | st.lists(st.none())).map(
        lambda one: json.dumps(one).encode()
    ),
)


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    path=st.sampled_from(
        ["/v1/batch", "/v1/t", "/v1/merge", "/pixel/v1/track", "/sourceConfig", "/v1/projects/x/settings"]
    ),
    body=_ANY,
    encoding=st.sampled_from(["", "gzip", "br", "deflate"]),
    has_key=st.booleans(),
    query=st.dictionaries(st.sampled_from(["writeKey", "a.b", "a", "a.b.c"]), st.text(max_size=3)),
)
async def test_nothing_brings_a_path_down(
    api: Api,
    sdk: httpx.AsyncClient,
    rudder_key: str,
    path: str,
    body: bytes,
    encoding: str,
    has_key: bool,
    query: dict[str, Any],
) -> None:
    headers = ({"Content-Encoding": encoding} if encoding else {}) | (basic(rudder_key) if has_key else {})

    for method in ("POST", "GET", "OPTIONS"):
        reply = await sdk.request(method, path, content=body, headers=headers, params=query)
        assert reply.status_code < 500, reply.text
    await read(api)
