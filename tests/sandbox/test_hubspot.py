"""Signing in to the stand-in HubSpot, what an app may do, its account, properties, and the limits of calls."""

from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

from app.sandbox.hubspot import Hubspot
from app.sandbox.people import people
from tests.sandbox.hubspot_account import CONTACTS, URL, Account, Json, ids, where


@pytest.fixture
async def acme() -> AsyncIterator[Account]:
    account = Account()
    yield account
    await account.http.aclose()


async def code(acme: Account, **query: str) -> str:
    asked = {
        "client_id": acme.keys["client_id"], "redirect_uri": "http://here.test/back", "state": "s",
        "scope": "oauth crm.objects.contacts.read", **query,
    }  # fmt: skip
    reply = await acme.http.get(f"/oauth/authorize?{urlencode(asked)}")
    assert reply.status_code == 302, reply.text
    back = urlsplit(reply.headers["location"])
    assert ("here.test", ["s"]) == (back.netloc, parse_qs(back.query)["state"])
    return parse_qs(back.query)["code"][0]


# --- Signing in -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", "pat-na1-nobody", "é"])
async def test_who_is_not_known_is_not_let_in(acme: Account, token: str) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(acme.crm.app), base_url=URL) as http:
        reply = await http.get(CONTACTS, headers=[(b"Authorization", f"Bearer {token}".encode("latin-1"))])

    assert (401, "INVALID_AUTHENTICATION") == (reply.status_code, reply.json()["category"])


async def test_a_code_gives_tokens_once_and_access_tokens_end_after_half_an_hour(acme: Account) -> None:
    form = {"grant_type": "authorization_code", "redirect_uri": "http://here.test/back", "code": await code(acme)}

    wrong = await acme.token(**{**form, "redirect_uri": "http://there.test/"})
    form["code"] = await code(acme)
    given = (await acme.token(**form)).json()

    assert (400, "BAD_REDIRECT_URI") == (wrong.status_code, wrong.json()["status"])
    assert {"id_token": None, "token_type": "bearer", "expires_in": 1800} == {
        key: value for key, value in given.items() if key not in ("access_token", "refresh_token")
    }
    assert 400 == (await acme.token(**form)).status_code
    assert 200 == (await acme.as_app(given["access_token"], CONTACTS)).status_code
    acme.later(1_807)
    late = await acme.as_app(given["access_token"])
    assert (401, "EXPIRED_AUTHENTICATION") == (late.status_code, late.json()["category"])
    assert "expired 7 second(s) ago" in late.json()["message"]
    again = await acme.token(grant_type="refresh_token", refresh_token=given["refresh_token"])
    assert given["refresh_token"] == again.json()["refresh_token"]
    assert 200 == (await acme.as_app(again.json()["access_token"])).status_code


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"client_id": "x"}, "BAD_CLIENT_ID"), ({"client_secret": "é"}, "BAD_CLIENT_SECRET"),
        ({"grant_type": "password"}, "BAD_GRANT_TYPE"), ({"refresh_token": "x"}, "BAD_REFRESH_TOKEN"),
        ({"grant_type": "authorization_code", "code": "x"}, "BAD_AUTH_CODE"),
    ],
)  # fmt: skip
async def test_the_token_endpoint_says_what_is_wrong(acme: Account, form: dict[str, str], status: str) -> None:
    reply = await acme.token(**{"grant_type": "refresh_token", "refresh_token": acme.keys["refresh_token"], **form})

    assert (400, status) == (reply.status_code, reply.json()["status"])


async def test_refresh_tokens_can_rotate_and_an_app_can_be_uninstalled(acme: Account) -> None:
    acme.crm.faults.rotate_refresh_tokens = True
    given = await acme.refresh()

    assert given["refresh_token"] != acme.keys["refresh_token"]
    assert "BAD_REFRESH_TOKEN" == (await acme.refresh())["status"]
    about = (await acme.http.get(f"/oauth/v1/refresh-tokens/{given['refresh_token']}")).json()
    assert (acme.keys["client_id"], "refresh") == (about["client_id"], about["token_type"])
    await acme.data("DELETE", f"/oauth/v1/refresh-tokens/{given['refresh_token']}", status=204)
    assert 401 == (await acme.as_app(given["access_token"])).status_code
    assert 404 == (await acme.http.get(f"/oauth/v1/refresh-tokens/{given['refresh_token']}")).status_code


async def test_tokens_can_end_between_two_calls(acme: Account) -> None:
    acme.crm.faults.token_calls = 2
    access = (await acme.refresh())["access_token"]

    assert [200, 200, 401] == [(await acme.as_app(access)).status_code for _ in range(3)]
    acme.crm.faults.token_calls = 0
    access = (await acme.refresh())["access_token"]
    await acme.edit("expire", "tokens")
    assert 401 == (await acme.as_app(access)).status_code
    assert 200 == (await acme.call("GET", CONTACTS)).status_code
    acme.crm.faults.unauthorized_next = 1
    assert [401, 200] == [(await acme.call("GET", CONTACTS)).status_code for _ in range(2)]


async def test_a_token_tells_whose_it_is_and_what_it_may(acme: Account) -> None:
    access = (await acme.refresh())["access_token"]

    public = (await acme.http.get(f"/oauth/v1/access-tokens/{access}")).json()
    private = await acme.data(
        "POST", "/oauth/v2/private-apps/get/access-token-info", {"tokenKey": acme.keys["access_token"]}
    )

    assert (62_515, acme.keys["oauth_app_id"], 9, "access", 1_800) == tuple(
        public[name] for name in ("hub_id", "app_id", "user_id", "token_type", "expires_in")
    )
    assert (62_515, acme.keys["app_id"], 9) == (private["hubId"], private["appId"], private["userId"])
    assert public["scopes"] == private["scopes"]
    assert 404 == (await acme.http.get(f"/oauth/v1/access-tokens/{acme.keys['access_token']}")).status_code
    details = await acme.data("GET", "/account-info/v3/details")
    assert (62_515, "-05:00", "STANDARD") == (details["portalId"], details["utcOffset"], details["accountType"])


async def test_a_scope_that_an_app_lacks_is_named(acme: Account) -> None:
    acme.crm.faults.withheld_scopes = ["crm.objects.contacts.write"]
    scoped = await acme.token(
        grant_type="authorization_code", redirect_uri="http://here.test/back", code=await code(acme)
    )

    fault = await acme.fault("POST", CONTACTS, {"properties": {"email": "ann@example.com"}}, 403)

    assert "MISSING_SCOPES" == fault["category"]
    assert [{"requiredGranularScopes": ["crm.objects.contacts.write"]}] == [one["context"] for one in fault["errors"]]
    assert 200 == (await acme.call("GET", CONTACTS)).status_code
    owners = await acme.as_app(scoped.json()["access_token"], "/crm/v3/owners/")
    assert 403 == owners.status_code


async def test_owners_are_found_by_address_and_by_either_id(acme: Account) -> None:
    known = (await acme.data("GET", "/crm/v3/owners/?limit=1"))["results"]
    rest = (await acme.data("GET", f"/crm/v3/owners?after={known[0]['id']}"))["results"]

    assert [("407", 7), ("409", 9)] == [(one["id"], one["userId"]) for one in (*known, *rest)]
    assert known == (await acme.data("GET", "/crm/v3/owners/?email=jane.doe@example.com"))["results"]
    assert known[0] == await acme.data("GET", "/crm/v3/owners/407")
    assert known[0] == await acme.data("GET", "/crm/v3/owners/7?idProperty=userId")
    await acme.fault("GET", "/crm/v3/owners/7", status=404)


# --- Properties -------------------------------------------------------------------------------------------------------


async def test_a_property_is_made_by_a_name_of_ours_and_only_once(acme: Account) -> None:
    made = await acme.field("lead_score_fit", description="By the scoring")
    body = {key: made[key] for key in ("name", "label", "type", "fieldType", "groupName")}

    again = await acme.fault("POST", "/crm/v3/properties/contacts", body, 409)

    assert ("lead_score_fit", "number", False, False) == (
        made["name"], made["type"], made["hubspotDefined"], made["modificationMetadata"]["readOnlyValue"]
    )  # fmt: skip
    assert "OBJECT_ALREADY_EXISTS" == again["category"]
    known = {one["name"]: one for one in (await acme.data("GET", "/crm/v3/properties/contacts"))["results"]}
    assert made == known["lead_score_fit"]
    assert known["hs_email_optout"]["modificationMetadata"]["readOnlyValue"]
    assert {"hs_email_optout_1", "hs_email_optout_2", "hs_email_hard_bounce_reason", "email"} <= known.keys()
    changed = await acme.data("PATCH", "/crm/v3/properties/contacts/lead_score_fit", {"label": "Fit"})
    assert "Fit" == changed["label"]
    id_ = await acme.contact(lead_score_fit="73")
    await acme.data("DELETE", "/crm/v3/properties/contacts/lead_score_fit", status=204)
    await acme.fault("GET", "/crm/v3/properties/contacts/lead_score_fit", status=404)
    assert ["lead_score_fit"] == [
        one["name"] for one in (await acme.data("GET", "/crm/v3/properties/contacts?archived=true"))["results"]
    ]
    assert "lead_score_fit" not in await acme.properties(id_, "lead_score_fit")
    await acme.field("lead_score_fit")
    assert (await acme.properties(id_, "lead_score_fit"))["lead_score_fit"] is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "Lead Score"}, "name"), ({"type": "money"}, "type"), ({"fieldType": "text"}, "fieldType"),
        ({"groupName": "nowhere"}, "group"), ({"label": None}, "label"), ({"colour": "red"}, "colour"),
        ({"type": "bool", "fieldType": "booleancheckbox", "options": [{"label": "A", "value": "a"}]}, "Boolean"),
        ({"options": [{"label": "A", "value": "a"}, {"label": "B", "value": "a"}]}, "unique"),
    ],
)  # fmt: skip
async def test_a_property_that_cannot_be_is_refused(acme: Account, change: Json, words: str) -> None:
    body = {"name": "x", "label": "X", "type": "number", "fieldType": "number", "groupName": "contactinformation"}

    fault = await acme.fault("POST", "/crm/v3/properties/contacts", {**body, **change})

    assert words in fault["message"]
    assert "VALIDATION_ERROR" == fault["category"]


async def test_properties_are_made_in_batches_and_in_groups_of_ours(acme: Account) -> None:
    group = {"name": "scoring", "label": "Scoring"}
    assert "scoring" == (await acme.data("POST", "/crm/v3/properties/contacts/groups", group, 201))["name"]
    await acme.fault("POST", "/crm/v3/properties/contacts/groups", group, 409)
    one, two = (
        {"name": name, "label": name, "type": "bool", "fieldType": "booleancheckbox", "groupName": "scoring"}
        for name in ("one", "two")
    )
    path = "/crm/v3/properties/contacts/batch/create"

    first = await acme.data("POST", path, {"inputs": [one]}, 201)
    second = await acme.data("POST", path, {"inputs": [one, two]}, 207)

    assert [["true", "false"]] == [[option["value"] for option in made["options"]] for made in first["results"]]
    assert ([["two"]], 1) == ([[made["name"] for made in second["results"]]], second["numErrors"])
    assert {"name": ["one"]} == second["errors"][0]["context"]
    names = {"inputs": [{"name": "one"}, {"name": "three"}], "archived": False}
    assert 207 == (await acme.call("POST", "/crm/v3/properties/contacts/batch/read", names)).status_code
    await acme.fault("DELETE", "/crm/v3/properties/contacts/groups/scoring")
    await acme.data("POST", "/crm/v3/properties/contacts/batch/archive", {"inputs": [{"name": "one"}]}, 204)


async def test_the_plan_has_room_for_so_many_properties_and_new_ones_may_be_late(acme: Account) -> None:
    acme.crm.faults.property_cap, acme.crm.faults.property_lag_calls = 1, 1
    await acme.field("one")
    body = {"name": "two", "label": "Two", "type": "number", "fieldType": "number", "groupName": "contactinformation"}

    fault = await acme.fault("POST", "/crm/v3/properties/contacts", body)

    assert "PROPERTY_LIMIT_REACHED" == fault["errors"][0]["code"]
    assert "PROPERTY_DOESNT_EXIST" in (await acme.fault("POST", CONTACTS, {"properties": {"one": "1"}}))["message"]
    await acme.contact(one="1")
    await acme.edit("delete", "property", "one")
    await acme.edit("create", "property", name="two", label="Two", type="number", fieldType="number")
    await acme.edit("create", "group", name="ours", label="Ours")


# --- Limits and faults ------------------------------------------------------------------------------------------------


async def test_calls_tell_what_is_left_but_searches_do_not(acme: Account) -> None:
    acme.crm.faults.burst_limit, acme.crm.faults.daily_limit = 2, 4
    access = (await acme.refresh())["access_token"]

    told = (await acme.call("GET", CONTACTS)).headers
    search = await acme.call("POST", f"{CONTACTS}/search", {})
    over = await acme.call("GET", CONTACTS)
    other = await acme.as_app(access)

    assert ("2", "1", "10000", "4", "3") == tuple(
        told[f"x-hubspot-ratelimit-{name}"]
        for name in ("max", "remaining", "interval-milliseconds", "daily", "daily-remaining")
    )
    assert (200, False) == (search.status_code, any("ratelimit" in name for name in search.headers))
    assert (429, "TEN_SECONDLY_ROLLING", "10") == (
        over.status_code, over.json()["policyName"], over.headers["retry-after"]
    )  # fmt: skip
    assert {"status", "message", "errorType", "correlationId", "policyName", "requestId"} == over.json().keys()
    assert (200, False) == (other.status_code, "x-hubspot-ratelimit-daily" in other.headers)
    acme.later(10)
    assert 200 == (await acme.call("GET", CONTACTS)).status_code


async def test_the_account_searches_five_times_a_second_whoever_asks(acme: Account) -> None:
    acme.crm.faults.search_limit = 5
    access = (await acme.refresh())["access_token"]
    assert [200] * 4 == [(await acme.call("POST", f"{CONTACTS}/search", {})).status_code for _ in range(4)]

    async with acme.client(access) as http:
        fifth = await http.post(f"{CONTACTS}/search", json={})
        sixth = await http.post(f"{CONTACTS}/search", json={})

    assert (200, 429) == (fifth.status_code, sixth.status_code)
    assert ("SECONDLY", "1") == (sixth.json()["policyName"], sixth.headers["retry-after"])
    assert 200 == (await acme.call("GET", CONTACTS)).status_code
    acme.later(1)
    assert 200 == (await acme.call("POST", f"{CONTACTS}/search", {})).status_code


async def test_the_day_ends_at_midnight_of_the_account(acme: Account) -> None:
    acme.crm.faults.daily_limit = 2
    usage = (await acme.data("GET", "/account-info/v3/api-usage/daily/private-apps"))["results"][0]
    await acme.data("GET", CONTACTS)

    over = await acme.call("GET", CONTACTS)

    assert (2, 1, "2026-10-02T05:00:00.000Z") == (usage["usageLimit"], usage["currentUsage"], usage["resetsAt"])
    assert (429, "DAILY", None) == (over.status_code, over.json()["policyName"], over.headers.get("retry-after"))
    assert 200 == (await acme.as_app((await acme.refresh())["access_token"])).status_code
    acme.later(19.75 * 3_600)
    assert 200 == (await acme.call("GET", CONTACTS)).status_code
    acme.crm.faults.daily_exhausted = True
    assert 429 == (await acme.call("GET", CONTACTS)).status_code


async def test_calls_fail_as_they_are_told_to(acme: Account) -> None:
    faults = acme.crm.faults
    faults.busy_next, faults.busy_policy, faults.no_retry_after = 1, "SECONDLY", True
    busy = await acme.call("GET", CONTACTS)
    faults.fail_next = ["html_502", "timeout", "unavailable", "locked", "migrating", "pass", "lost_reply"]

    replies = [await acme.call("GET", CONTACTS) for _ in range(6)]
    lost = await acme.call("POST", CONTACTS, {"properties": {"email": "ann@example.com"}})

    assert ("SECONDLY", None) == (busy.json()["policyName"], busy.headers.get("retry-after"))
    assert [502, 504, 503, 423, 477, 200] == [reply.status_code for reply in replies]
    assert (b"<html>", "60") == (replies[0].content[:6], replies[4].headers["retry-after"])
    assert 502 == lost.status_code
    assert 1 == (await acme.search(where("email", "EQ", "ann@example.com")))["total"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/crm/v3/objects/butterflies", 400), ("GET", "/nowhere", 404), ("PUT", CONTACTS, 405)],
)
async def test_what_is_not_there_is_refused_as_json(acme: Account, method: str, path: str, status: int) -> None:
    fault = await acme.fault(method, path, status=status)

    assert fault["message"]
    assert "butterflies" not in path or "Unable to infer object type from: butterflies" == fault["message"]


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b'{"properties": []}', b'{"properties": {}, "id": 1}', b""])
async def test_a_body_that_is_not_as_it_should_be_is_refused(acme: Account, body: bytes) -> None:
    reply = await acme.http.post(CONTACTS, content=body)

    assert (400, "VALIDATION_ERROR") == (reply.status_code, reply.json()["category"])
    assert reply.json()["message"].startswith("Invalid input JSON")


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "after=-1", "archived=maybe"])
async def test_a_list_refuses_what_it_does_not_understand(acme: Account, query: str) -> None:
    await acme.fault("GET", f"{CONTACTS}?{query}")


# --- The controls -----------------------------------------------------------------------------------------------------


async def test_people_are_filled_in_as_an_import_left_them() -> None:
    crm = Hubspot()
    crm.fill(people(300))

    state = crm.state()
    first = next(iter(crm.portal.tables["contacts"].live.values()))

    assert 300 == state["records"]["contacts"]
    assert (101, "IMPORT", "lead") == (first.id, first.creator.source, first.values["lifecyclestage"])
    opted_out = [
        one for one in crm.portal.tables["contacts"].live.values() if one.values.get("hs_email_optout") == "true"
    ]
    assert len(crm.portal.consents) == len(opted_out) > 0


async def test_the_state_counts_calls_rows_and_writes(acme: Account) -> None:
    id_ = await acme.contact("ann@example.com")
    await acme.data("PATCH", f"{CONTACTS}/{id_}", {"properties": {"city": "Tartu"}})
    await acme.data("GET", CONTACTS)

    state = (await acme.http.get("/_sandbox/state")).json()

    assert 1 == state["calls"]["GET /crm/v3/objects/{type}"] == state["rows"]["GET /crm/v3/objects/{type}"]
    assert {id_: 2} == state["writes"]["contacts"]
    assert (3, {"waiting": 0, "delivered": 0, "failed": 0}) == (state["calls_today"], state["webhooks"])


@pytest.mark.parametrize(
    "body",
    [
        {}, {"do": "create", "object": "company"}, {"do": "change", "object": "contact", "id": 1},
        {"do": "create", "object": "contact", "values": {"nothing": "1"}}, {"do": [], "object": {}},
        {"do": "opt_out", "object": "contact", "id": "x"}, {"do": "bounce", "object": "contact", "id": 1},
        {"do": "create", "object": "call", "values": {"contacts": 1}},
        {"do": "delete", "object": "subscription", "id": 1}, {"do": "delete", "object": "property", "id": "email"},
        {"do": "restore", "object": "contact", "id": 1}, {"do": "change", "object": "webhooks", "values": {}},
        {"do": "change", "object": "webhooks", "values": {"app": 5, "targetUrl": "http://x.test/"}},
    ],
)  # fmt: skip
async def test_an_edit_that_cannot_be_is_refused(acme: Account, body: Json) -> None:
    reply = await acme.call("POST", "/_sandbox/edit", body)

    assert 400 == reply.status_code
    assert reply.json()["error"]


async def test_lists_are_the_same_by_their_new_names(acme: Account) -> None:
    id_ = await acme.contact("ann@example.com")

    assert [id_] == ids(await acme.data("GET", "/crm/objects/2026-03/contacts"))
    assert [id_] == ids(await acme.data("GET", "/crm/v3/objects/0-1"))
    assert id_ == (await acme.data("GET", f"/crm/objects/2026-03/contact/{id_}"))["id"]
    assert 62_515 == (await acme.data("GET", "/account-info/2026-03/details"))["portalId"]
