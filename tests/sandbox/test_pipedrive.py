"""How the stand-in Pipedrive lets callers in and holds them back. The facts are those of its documentation."""

import asyncio
import base64
from collections.abc import AsyncIterator

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.sandbox.people import people
from tests.sandbox.pipedrive_company import URL, Company, Json


@pytest.fixture
async def acme() -> AsyncIterator[Company]:
    company = Company()
    yield company
    await company.http.aclose()


# --- Signing in -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-api-token": "wrong"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic YTpi"},
        {"x-api-token": ""},
    ],
)
async def test_a_call_without_a_known_token_is_refused_by_the_gateway(acme: Company, headers: dict[str, str]) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(acme.crm.app), base_url=URL) as http:
        reply = await http.get("/api/v2/persons", headers=headers)

    assert 401 == reply.status_code
    assert "true" == reply.headers["x-401-by-gw"]
    assert {
        "success": False, "error": "unauthorized access", "errorCode": 401,
        "error_info": "Please check developers.pipedrive.com",
    } == reply.json()  # fmt: skip


async def test_an_api_token_may_come_in_the_query_and_on_the_short_prefix(acme: Company) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(acme.crm.app), base_url=URL) as http:
        for path in ("/v1/users/me", "/api/v1/users/me", "/api/v2/persons"):
            assert 200 == (await http.get(path, params={"api_token": acme.keys["api_token"]})).status_code
        assert 404 == (await http.get("/v2/persons", params={"api_token": acme.keys["api_token"]})).status_code


async def test_a_code_is_exchanged_once_within_five_minutes_for_the_same_redirect_uri(acme: Company) -> None:
    here = "http://localhost:9/back?a=1"

    async def code() -> str:
        asked = {"client_id": acme.keys["client_id"], "redirect_uri": here, "state": "s&1"}
        sent_to = httpx.URL((await acme.http.get("/oauth/authorize", params=asked)).headers["location"])
        assert ("localhost", "1", "s&1") == (sent_to.host, sent_to.params["a"], sent_to.params["state"])
        return str(sent_to.params["code"])

    first, late, elsewhere = await code(), await code(), await code()
    grant = {"grant_type": "authorization_code"}
    tokens = (await acme.token(**grant, code=first, redirect_uri=here)).json()

    assert ("Bearer", 3_599, URL) == (tokens["token_type"], tokens["expires_in"], tokens["api_domain"])
    assert 200 == (await acme.as_app(tokens["access_token"])).status_code
    assert 400 == (await acme.token(**grant, code=first, redirect_uri=here)).status_code
    assert 400 == (await acme.token(**grant, code=elsewhere, redirect_uri="http://localhost:9/")).status_code
    acme.later(300)
    assert 400 == (await acme.token(**grant, code=late, redirect_uri=here)).status_code


@pytest.mark.parametrize(
    "form",
    [
        {}, {"grant_type": "client_credentials"}, {"grant_type": "refresh_token"},
        {"grant_type": "refresh_token", "refresh_token": "1:1:x"}, {"grant_type": "authorization_code", "code": "x"},
    ],
)  # fmt: skip
async def test_a_grant_that_is_not_good_is_refused(acme: Company, form: dict[str, str]) -> None:
    reply = await acme.token(**form)

    assert (400, False) == (reply.status_code, reply.json()["success"])


@pytest.mark.parametrize("basic", ["", "Basic !", "Basic eDp5", "Basic " + base64.b64encode(b"\xff:\xc3\xa9").decode()])
async def test_an_app_must_know_its_secret(acme: Company, basic: str) -> None:
    form = {"grant_type": "refresh_token", "refresh_token": acme.keys["refresh_token"]}

    reply = await acme.http.post("/oauth/token", data=form, headers={"Authorization": basic})

    assert (400, "invalid_client") == (reply.status_code, reply.json()["error"])


async def test_an_access_token_ends_after_an_hour_and_the_refresh_token_is_kept(acme: Company) -> None:
    tokens = await acme.refresh()
    acme.later(3_598)
    assert 200 == (await acme.as_app(tokens["access_token"])).status_code
    acme.later(1)
    assert 401 == (await acme.as_app(tokens["access_token"])).status_code

    again = await acme.refresh(tokens["refresh_token"])

    assert tokens["refresh_token"] == again["refresh_token"]
    assert 200 == (await acme.as_app(again["access_token"])).status_code
    acme.later(61 * 86_400)
    assert "invalid_grant" == (await acme.refresh(tokens["refresh_token"]))["error"]


async def test_with_rotation_only_the_first_of_two_concurrent_refreshes_succeeds(acme: Company) -> None:
    acme.crm.faults.rotate_refresh_tokens = True

    first, second = await asyncio.gather(acme.refresh(), acme.refresh())

    assert acme.keys["refresh_token"] != first["refresh_token"]
    assert "refresh_token is already exchanged" in second["message"]
    assert "access_token" in await acme.refresh(first["refresh_token"])


async def test_revoking_the_refresh_token_uninstalls_the_app(acme: Company) -> None:
    tokens = await acme.refresh()
    auth = httpx.BasicAuth(acme.keys["client_id"], acme.keys["client_secret"])

    reply = await acme.http.post("/oauth/revoke", data={"token": tokens["refresh_token"]}, auth=auth)

    assert 200 == reply.status_code
    assert 401 == (await acme.as_app(tokens["access_token"])).status_code


async def test_a_scope_that_an_app_has_not_is_named_a_mismatch(acme: Company) -> None:
    tokens = await acme.refresh()
    acme.crm.faults.withheld_scopes = ["users:read"]

    reply = await acme.as_app(tokens["access_token"], "/v1/users")

    assert (403, "Scope and URL mismatch") == (reply.status_code, reply.json()["error"])
    assert 200 == (await acme.as_app(tokens["access_token"])).status_code


# --- Limits -----------------------------------------------------------------------------------------------------------
async def test_a_burst_is_counted_over_two_seconds_by_token_and_plan(acme: Company) -> None:
    acme.crm.faults.plan = "lite"
    access = (await acme.refresh())["access_token"]

    replies = [await acme.call("GET", "/v1/users/me") for _ in range(21)]

    assert ["20", "19", "2"] == [replies[0].headers[f"x-ratelimit-{name}"] for name in ("limit", "remaining", "reset")]
    assert [200] * 20 + [429] == [reply.status_code for reply in replies]
    assert {"success": False, "error": "request over limit", "errorCode": 429} == replies[-1].json()
    assert "0" == replies[-1].headers["x-ratelimit-remaining"]
    assert "80" == (await acme.as_app(access)).headers["x-ratelimit-limit"]
    acme.later(2)
    assert 200 == (await acme.call("GET", "/v1/users/me")).status_code
    searches = [await acme.call("GET", "/api/v2/persons/search?term=ann") for _ in range(11)]
    assert [200] * 10 + [429] == [reply.status_code for reply in searches]


async def test_the_daily_budget_is_the_companys_and_ends_at_midnight(acme: Company) -> None:
    acme.crm.faults.daily_tokens = 45

    listed = await acme.call("GET", "/api/v2/persons")
    merged = await acme.call("PUT", "/api/v1/persons/1/merge", {})
    again = await acme.call("POST", "/api/v2/persons", {"name": "A"})

    assert ("45", "35") == tuple(listed.headers[f"x-daily-ratelimit-token-{name}"] for name in ("limit", "remaining"))
    assert {"success": False, "error": "daily request budget exceeded", "errorCode": 429} == merged.json()
    assert ("0", "3939") == (merged.headers["x-daily-ratelimit-token-remaining"], merged.headers["retry-after"])
    assert (200, "30") == (again.status_code, again.headers["x-daily-requests-left"])
    acme.crm.faults.daily_exhausted = True
    assert 429 == (await acme.call("GET", "/v1/users/me")).status_code
    acme.crm.faults.daily_exhausted = False
    acme.later(15 * 3_600)
    assert "43" == (await acme.call("GET", "/v1/users/me")).headers["x-daily-ratelimit-token-remaining"]


async def test_who_does_not_heed_429s_is_answered_with_a_page(acme: Company) -> None:
    acme.crm.faults.busy_reset_s, acme.crm.faults.block_after = 2, 2

    acme.crm.faults.busy_next = 1
    assert [429, 200] == [(await acme.call("GET", "/v1/users/me")).status_code for _ in range(2)]
    acme.crm.faults.busy_next = 5
    replies = [await acme.call("GET", "/v1/users/me") for _ in range(4)]

    assert [429, 429, 403, 403] == [reply.status_code for reply in replies]
    assert "2" == replies[0].headers["x-ratelimit-reset"]
    assert "text/html; charset=utf-8" == replies[3].headers["content-type"]
    assert "<html>" in replies[3].text


@pytest.mark.parametrize(
    ("patch", "statuses"),
    [
        ({"unauthorized_next": 1}, [401, 200]), ({"unavailable_next": 2}, [503, 503, 200]),
        ({"busy_next": 1}, [429, 200]), ({"closed": True}, [402, 402]), ({"blocked": True}, [403]),
        ({"delay_s": 0.01}, [200]),
    ],
)  # fmt: skip
async def test_faults_are_switched_over_http(acme: Company, patch: Json, statuses: list[int]) -> None:
    assert 200 == (await acme.call("PUT", "/_sandbox/faults", patch)).status_code

    assert statuses == [(await acme.call("GET", "/v1/users/me")).status_code for _ in statuses]


# --- All else ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v2/nonsense", 404), ("GET", "/v1/persons", 410), ("PUT", "/v1/persons/1", 410),
        ("DELETE", "/api/v2/persons", 405), ("PUT", "/api/v2/persons/1", 405), ("GET", "/api/v2/persons/x", 400),
        ("GET", "/api/v2/persons/99", 404), ("GET", "/api/v1/persons/99/changelog", 404), ("GET", "/v1/users/99", 404),
        ("GET", "/api/v2/organizations/99", 404), ("GET", "/api/v2/activities/99", 404), ("HEAD", "/v1/users/me", 200),
        ("POST", "/api/v2/leads/x/convert/deal", 404), ("GET", "/api/v2/leads/x/convert/status/y", 404),
    ],
)  # fmt: skip
async def test_a_call_that_leads_nowhere_is_answered_in_the_envelope(
    acme: Company, method: str, path: str, status: int
) -> None:
    reply = await acme.call(method, path)

    assert status == reply.status_code
    if status != 200:
        assert {"success", "error", "error_info", "data", "additional_data"} <= reply.json().keys()


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000, b'"' + b"a" * 1_000_000 + b'"', b'{"name":"\\ud800"}'])
async def test_a_body_that_is_not_json_is_refused(acme: Company, body: bytes) -> None:
    reply = await acme.http.post("/api/v2/persons", content=body)

    assert reply.status_code in (400, 413)


@settings(max_examples=60, deadline=None)
@given(
    path=st.sampled_from(
        ["POST /api/v2/persons", "PATCH /api/v2/persons/1", "POST /api/v2/personFields", "POST /api/v2/activities",
         "POST /v1/leads", "POST /v1/webhooks", "PUT /v1/persons/1/merge", "POST /v1/activityTypes",
         "POST /_sandbox/edit", "PATCH /api/v2/activities/1", "POST /v1/personFields"]
    ),
    body=st.dictionaries(
        st.sampled_from(
            ["name", "emails", "custom_fields", "field_name", "field_type", "options", "type", "participants", "title",
             "person_id", "value", "subscription_url", "event_action", "event_object", "merge_with_id", "icon_key",
             "do", "object", "id", "values", "owner_id", "add_time", "version", "http_auth_user", "user_id",
             "attendees", "location", "marketing_status", "visible_to", "org_id"]
        ),
        st.recursive(
            st.none() | st.booleans() | st.integers(-5, 1 << 60) | st.floats() | st.text(max_size=5)
            | st.sampled_from(["enum", "create", "person", "http://[x", "http://x:y/", "call", "2026-10-01T09:15:00Z"]),
            lambda inner: st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["value", "label", "id", "person_id", "amount"]), inner, max_size=3),
            max_leaves=6,
        ),
        max_size=5,
    ),
)  # fmt: skip
def test_no_body_is_answered_with_an_exception(path: str, body: Json) -> None:
    async def send() -> int:
        acme = Company()
        await acme.person("Ann", "ann@example.com")
        method, _, where = path.partition(" ")
        reply = await acme.call(method, where, body)
        await acme.http.aclose()
        return reply.status_code

    assert asyncio.run(send()) in (200, 201, 400, 403, 404)


async def test_it_is_filled_with_people_and_tells_what_it_was_asked(acme: Company) -> None:
    acme.crm.fill(people(200))
    await acme.data("GET", "/api/v2/persons?limit=150")

    state = (await acme.call("GET", "/_sandbox/state")).json()

    assert 200 == state["records"]["persons"]
    assert ({"GET /api/v2/persons": 1}, {"GET /api/v2/persons": 150}, 10) == (
        state["calls"], state["rows"], state["tokens"]
    )  # fmt: skip
    rows = await acme.data("GET", "/api/v2/persons?limit=500&include_fields=marketing_status")
    opted_out = {one.email for one in people(200) if one.opted_out}
    assert opted_out == {row["emails"][0]["value"] for row in rows if row["marketing_status"] == "unsubscribed"}
    for body in ({}, {"do": "delete", "object": "person", "id": 999}, {"do": "change", "object": "person", "id": "1"}):
        assert 400 == (await acme.call("POST", "/_sandbox/edit", body)).status_code
