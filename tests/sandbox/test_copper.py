"""Signing in, limits, metadata, custom fields, activities and controls of the stand-in Copper, as on the wire."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.sandbox.copper.calls import ENDPOINTS, Endpoint
from app.sandbox.people import people
from tests.sandbox.copper_account import SECOND, URL, Json, World, custom, key_headers, value


@pytest.fixture
async def acme() -> AsyncIterator[World]:
    world = World()
    yield world
    await world.http.aclose()


# --- Signing in -------------------------------------------------------------------------------------------------------
async def test_a_key_needs_its_three_headers(acme: World) -> None:
    assert {"id": 159258, "name": "Integration", "email": "integration@example.com"} == await acme.done(
        "GET", "/users/me"
    )
    for name, wrong in (
        ("X-PW-AccessToken", "x"), ("X-PW-Application", "leadtally"), ("X-PW-UserEmail", "jane.smith@example.com"),
    ):  # fmt: skip
        others = {key: given for key, given in acme.ours.items() if key != name}
        for headers in (others, {**others, name: wrong}):
            assert (401, "Invalid credentials") == await acme.refused("GET", "/users/me", headers=headers)
    assert 401 == (await acme.call("GET", "/users/me", headers={"Authorization": "Bearer x"})).status_code


async def test_a_token_of_oauth_never_ends_and_needs_no_other_header(acme: World) -> None:
    keys = acme.keys
    asked = {
        "response_type": "code", "client_id": keys["client_id"], "redirect_uri": "https://score.test/back?to=1",
        "scope": "developer/v1/all", "state": "s&t",
    }  # fmt: skip
    back = await acme.http.get("/oauth/authorize", params=asked)
    brought = httpx.URL(back.headers["location"])
    form = {
        "grant_type": "authorization_code", "code": brought.params["code"], "redirect_uri": asked["redirect_uri"],
        "client_id": keys["client_id"], "client_secret": keys["client_secret"],
    }  # fmt: skip

    told = (await acme.http.post("/oauth/token", data=form)).json()

    assert ("score.test", "1", "s&t") == (brought.host, brought.params["to"], brought.params["state"])
    assert {"token_type": "Bearer", "scope": "developer/v1/all"} == {
        name: told[name] for name in told if name != "access_token"
    }
    acme.later(9 * 365 * 86_400)
    bearer = {"Authorization": f"Bearer {told['access_token']}"}
    assert 159258 == (await acme.done("GET", "/users/me", headers=bearer))["id"]
    for wrong, status in (
        ({"code": form["code"]}, 400), ({"client_secret": "x"}, 401), ({"grant_type": "refresh_token"}, 400),
    ):  # fmt: skip
        refused = await acme.http.post("/oauth/token", data={**form, **wrong})
        assert (status, True) == (refused.status_code, "error" in refused.json())
    basic = httpx.BasicAuth(keys["client_id"], keys["client_secret"])
    assert 401 == (await acme.http.post("/oauth/token", data={"grant_type": "x"}, auth=basic)).status_code
    for wrong in ({"client_id": "x"}, {"scope": "all"}, {"redirect_uri": "javascript:1"}):
        assert 400 == (await acme.http.get("/oauth/authorize", params={**asked, **wrong})).status_code


async def test_a_code_ends_after_five_minutes(acme: World) -> None:
    asked = {
        "response_type": "code", "client_id": acme.keys["client_id"], "redirect_uri": "https://score.test/back",
        "scope": "developer/v1/all",
    }  # fmt: skip
    back = await acme.http.get("/oauth/authorize", params=asked)
    acme.later(301)

    form = {
        "grant_type": "authorization_code", "code": httpx.URL(back.headers["location"]).params["code"],
        "redirect_uri": asked["redirect_uri"], "client_id": acme.keys["client_id"],
        "client_secret": acme.keys["client_secret"],
    }  # fmt: skip
    assert "invalid_grant" == (await acme.http.post("/oauth/token", data=form)).json()["error"]


async def test_a_key_that_is_removed_is_refused_and_its_webhooks_end(acme: World) -> None:
    body = {"target": "https://score.test/hook", "type": "person", "event": "new"}
    await acme.done("POST", "/webhooks", body)
    await acme.done("POST", "/webhooks", body, headers=acme.restricted)

    await acme.edit("revoke", "key", acme.keys["api_key"])

    assert 401 == (await acme.call("GET", "/users/me")).status_code
    assert 1 == acme.crm.state()["records"]["webhooks"]


# --- Limits and faults ------------------------------------------------------------------------------------------------
async def test_a_minute_and_a_second_have_room_for_so_many_calls_and_no_header_says_so(acme: World) -> None:
    acme.crm.faults.limit_per_minute, acme.crm.faults.bulk_per_second = 5, 3

    statuses = [(await acme.call("POST", "/people/bulk_update", {"people": []})).status_code for _ in range(4)]
    acme.later(1)
    statuses += [(await acme.call("POST", "/people/bulk_update", {"people": []})).status_code for _ in range(3)]
    busy = await acme.call("GET", "/account")

    assert [200, 200, 200, 429, 200, 200, 429] == statuses
    assert {"success": False, "status": 429, "message": "Rate limit exceeded"} == busy.json()
    assert {"content-length", "content-type"} == set(busy.headers)
    acme.later(59.5)
    assert 200 == (await acme.call("GET", "/account")).status_code
    acme.crm.faults.busy_next, acme.crm.faults.retry_after_s = 1, 7
    assert "7" == (await acme.call("GET", "/account")).headers["retry-after"]
    assert 10 == acme.crm.state()["requests"]


async def test_calls_fail_as_often_as_a_switch_says(acme: World) -> None:
    for switch, status in (("unauthorized_next", 401), ("forbidden_next", 403), ("failing_next", 500)):
        await acme.http.put("/_sandbox/faults", json={switch: 1})
        assert [status, 200] == [(await acme.call("GET", "/account")).status_code for _ in range(2)]


async def test_an_unknown_call_is_404(acme: World) -> None:
    for method, path in (("GET", "/persons"), ("PATCH", "/people/1"), ("GET", "/people")):
        reply = await acme.call(method, path)
        assert (404, {"error": "not_found"}) == (reply.status_code, reply.json())
    assert (404, "Resource not found") == await acme.refused("GET", "/people/x")


# --- Metadata ---------------------------------------------------------------------------------------------------------
async def test_an_account_says_who_it_is_and_what_there_is(acme: World) -> None:
    about = await acme.done("GET", "/account")
    assert (1, "Acme", "Etc/UTC") == (about["id"], about["name"], about["primary_timezone"])
    acme.crm.faults.zone_offset_h = -7
    assert "Etc/GMT+7" == (await acme.done("GET", "/account"))["primary_timezone"]
    acme.crm.faults.bare_account = True
    assert {"id": 1, "name": "Acme"} == await acme.done("GET", "/account")
    users = await acme.done("POST", "/users/search", {"page_size": 2, "page_number": 2})
    assert ["Ravi Patel"] == [one["name"] for one in users]
    assert "Jane Smith" == (await acme.done("GET", "/users/137658"))["name"]
    assert 404 == (await acme.call("GET", "/users/1")).status_code
    assert 422 == (await acme.call("POST", "/users/search", {"name": "x"})).status_code
    for path, names in (
        ("contact_types", ["Potential Customer", "Current Customer", "Uncategorized", "Other"]),
        ("lead_statuses", ["New", "Unqualified", "Contacted", "Qualified"]), ("pipelines", ["Sales"]),
        ("customer_sources", ["Email", "Cold Call", "Advertising"]),
        ("loss_reasons", ["Price", "Features", "Competitor", "Other"]),
        ("pipeline_stages", ["Qualified", "Follow-up", "Presentation"]),
    ):  # fmt: skip
        assert names == [one["name"] for one in await acme.done("GET", f"/{path}")]


async def test_tags_are_counted_over_people_and_leads(acme: World) -> None:
    number = await acme.person(tags=["a", "b"])
    await acme.lead(tags=["b"])

    assert [{"name": "b", "count": 2}, {"name": "a", "count": 1}] == await acme.done("GET", "/tags?sort_by=count")
    await acme.done("PUT", f"/people/{number}", {"tags": ["c"]})
    assert ["b", "c"] == await acme.done("GET", "/tags?tag_names_only=true")


async def test_companies_are_listed(acme: World) -> None:
    acme.crm.fill(people(10))
    rows = await acme.done("POST", "/companies/search", {"page_size": 2})

    assert (2, [1]) == (len(rows), await acme.found("companies", ids=[1]))
    assert rows[0] == await acme.done("GET", "/companies/1")
    assert [404, 404] == [
        (await acme.call("GET", f"/{kind}/99")).status_code for kind in ("companies", "opportunities")
    ]
    assert ([], 422) == (
        await acme.found("opportunities"), (await acme.call("POST", "/companies/search", {"x": 1})).status_code
    )  # fmt: skip


# --- Custom fields ----------------------------------------------------------------------------------------------------
async def test_a_custom_field_is_made_changed_and_deleted_with_its_values(acme: World) -> None:
    made = await acme.field("Email status", "Dropdown", "OK", "Hard bounce")
    number, (ok, hard) = made["id"], [one["id"] for one in made["options"]]
    person = await acme.person(custom_fields=value(number, hard))

    assert {
        "id": number, "name": "Email status", "canonical_name": None, "data_type": "Dropdown",
        "available_on": ["person", "lead"], "is_filterable": True,
        "options": [{"id": ok, "name": "OK", "rank": 0}, {"id": hard, "name": "Hard bounce", "rank": 1}],
    } == made == await acme.done("GET", f"/custom_field_definitions/{number}")  # fmt: skip
    renamed = await acme.done("PUT", f"/custom_field_definitions/{number}", {"name": "Status"})
    assert ("Status", made["options"]) == (renamed["name"], renamed["options"])
    again = await acme.done(
        "PUT", f"/custom_field_definitions/{number}", {"options": [{"name": "OK"}, {"name": "Hard bounce"}]}
    )
    assert {ok, hard}.isdisjoint(one["id"] for one in again["options"])
    assert None is custom(await acme.done("GET", f"/people/{person}"), number)
    assert {"id": number, "is_deleted": True} == await acme.done("DELETE", f"/custom_field_definitions/{number}")
    assert ([], []) == (
        await acme.done("GET", "/custom_field_definitions"),
        (await acme.done("GET", f"/people/{person}"))["custom_fields"],
    )
    assert 404 == (await acme.call("GET", f"/custom_field_definitions/{number}")).status_code


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "Name: can't be blank\nData Type: can't be blank\nAvailable On: can't be blank"),
        ({"name": "A", "data_type": "Number", "available_on": ["person"]}, "Data Type: is not included in the list"),
        ({"name": "A", "data_type": "Connect", "available_on": ["person"]}, "Data Type: is not included in the list"),
        ({"name": "A", "data_type": "Float", "available_on": ["people"]}, "Available On: is not included in the list"),
        ({"name": "A", "data_type": "Dropdown", "available_on": ["lead"]}, "Options: must be at least 1"),
        (
            {"name": "A", "data_type": "MultiSelect", "available_on": ["lead"], "options": [{"name": "B"}]},
            "Options: must be at least 2",
        ),
        ({"name": "A", "data_type": "Float", "available_on": ["lead"], "label": "B"}, "Base: Unrecognized attributes"),
    ],
)
async def test_a_field_that_is_not_right_is_refused(acme: World, body: Json, said: str) -> None:
    status, message = await acme.refused("POST", "/custom_field_definitions", body)

    assert (422, said) == (status, message[: len(said)])


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("Checkbox", [(True, True), (False, False), (None, None)], ["true", 1, []]),
        ("Float", [(42, 42.0), (-0.5, -0.5)], ["42", True, {}]),
        ("Currency", [(42, 42.0)], ["EUR 42"]),
        ("Percentage", [(95, 95)], [95.5, "95%"]),
        ("String", [("a", "a"), ("", None)], [1, True]),
        ("Text", [("a\nb", "a\nb")], [["a"]]),
        ("URL", [("https://example.com", "https://example.com")], [1]),
        ("Date", [("10/01/2026", 1790812800), (1790846100, 1790812800)], ["2026-10-01", "13/01/2026", True]),
        ("Dropdown", [(2082341, 2082341), ("2082340", 2082340)], ["OK", 9, [2082341]]),
        ("MultiSelect", [([2082341, 2082340], [2082340, 2082341]), ([], None)], [2082341, [9], ["OK"]]),
    ],
)
async def test_a_custom_field_takes_values_of_its_type_only(acme: World, kind: str, good: Json, bad: Json) -> None:
    number = (await acme.field("F", kind, *(("OK", "Hard") if kind in ("Dropdown", "MultiSelect") else ())))["id"]
    person = await acme.person()

    for right, kept in good:
        changed = await acme.done("PUT", f"/people/{person}", {"custom_fields": value(number, right)})
        assert (kept, type(kept)) == (custom(changed, number), type(custom(changed, number)))
    for wrong in bad:
        assert (
            422 == (await acme.call("PUT", f"/people/{person}", {"custom_fields": value(number, wrong)})).status_code
        ), wrong


async def test_a_date_begins_at_the_accounts_midnight(acme: World) -> None:
    acme.crm.faults.zone_offset_h = -7
    number = (await acme.field("Since", "Date"))["id"]

    person = await acme.done("POST", "/people", {"name": "Ann", "custom_fields": value(number, "10/01/2026")})

    assert 1790812800 + 7 * 3_600 == custom(person, number)


async def test_what_the_documentation_leaves_open_of_fields_is_for_switches_to_say(acme: World) -> None:
    faults, path = acme.crm.faults, "/custom_field_definitions"
    body = {"name": "Many", "data_type": "MultiSelect", "available_on": ["person"],
            "options": [{"name": "A"}, {"name": "B"}]}  # fmt: skip
    many = (await acme.done("POST", path, body))["id"]
    person = await acme.person()

    assert None is custom(await acme.done("GET", f"/people/{person}"), many)
    faults.empty_lists = True
    assert [] == custom(await acme.done("GET", f"/people/{person}"), many)
    faults.unique_field_names = True
    assert (422, "Name: has already been taken") == await acme.refused("POST", path, body)
    faults.unfilterable_fields = True
    assert False is (await acme.done("POST", path, {**body, "name": "More"}))["is_filterable"]
    assert 403 == (await acme.call("POST", path, {**body, "name": "Not"}, headers=acme.restricted)).status_code
    for status in (403, 422):
        faults.field_refusal = status
        assert status == (await acme.refused("POST", path, {**body, "name": "Not"}))[0]
    assert 2 == acme.crm.state()["records"]["custom_fields"]


# --- Activities -------------------------------------------------------------------------------------------------------
async def test_an_activity_may_be_of_any_day_and_leaves_a_stub(acme: World) -> None:
    person = await acme.person()
    old = await acme.note("person", person, activity_date=SECOND - 86_400, details="Demo held")
    new = await acme.note("person", person)
    acme.later(60)

    shown = await acme.done("PUT", f"/activities/{old}", {"details": "Demo was held"})

    assert {
        "id": old, "parent": {"id": person, "type": "person"}, "type": {"id": 0, "category": "user"},
        "user_id": 159258, "details": "Demo was held", "activity_date": SECOND - 86_400, "old_value": None,
        "new_value": None, "date_created": SECOND, "date_modified": SECOND - 86_400,
    } == shown  # fmt: skip
    assert [new, old] == await acme.found("activities")
    assert [old] == await acme.found("activities", maximum_activity_date=SECOND - 1)
    assert {"id": old, "is_deleted": True} == await acme.done("DELETE", f"/activities/{old}")
    assert {"id": old, "is_deleted": True} == await acme.done("GET", f"/activities/{old}")
    assert 404 == (await acme.call("PUT", f"/activities/{old}", {"details": "x"})).status_code
    assert [new] == await acme.found("activities")
    acme.crm.faults.list_deleted_activities = True
    assert [new, old] == await acme.found("activities")
    acme.crm.faults.activity_dates_are_true = True
    assert SECOND + 60 == (await acme.done("PUT", f"/activities/{new}", {"details": "x"}))["date_modified"]


async def test_activities_are_found_by_parent_type_user_and_time(acme: World) -> None:
    company = acme.crm.account.company("Acme")
    person, lead = await acme.person(company_id=company), await acme.lead()
    call = {"category": "user", "id": 190711}
    one = await acme.note("person", person, type=call, activity_date=SECOND - 20)
    two = await acme.note("lead", lead, user_id=137658, activity_date=SECOND - 10)
    three = await acme.note("company", company)

    cases: list[tuple[Json, list[int]]] = [
        ({"parent": {"type": "person", "id": person}}, [one]), ({"parent": {"type": "lead", "id": lead}}, [two]),
        ({"parent": {"type": "company", "id": company}}, [three, one]), ({"activity_types": [call]}, [one]),
        ({"activity_types": [{**call, "category": "system"}]}, []), ({"user_ids": [137658]}, [two]),
        ({"minimum_activity_date": SECOND - 10, "maximum_activity_date": SECOND - 1}, [two]),
        ({"full_result": True}, [three, two, one, one]), ({"page_size": 1, "page_number": 2}, [two]),
    ]  # fmt: skip
    for body, expected in cases:
        assert expected == await acme.found("activities", **body), body
    assert [two] == [row["id"] for row in await acme.done("POST", f"/leads/{lead}/activities", {"page_size": 5})]
    assert 404 == (await acme.call("POST", "/people/99/activities")).status_code
    assert (
        403
        == (await acme.call("POST", "/activities/search", {"full_result": True}, headers=acme.restricted)).status_code
    )
    for wrong in ({"minimum_modified_date": 1}, {"activity_types": [190711]}, {"parent": person}, {"user_ids": "x"}):
        assert 422 == (await acme.call("POST", "/activities/search", wrong)).status_code


async def test_a_call_is_an_interaction_but_moves_the_persons_date_only_by_a_switch(acme: World) -> None:
    person = await acme.person()
    acme.later(60)
    await acme.note("person", person, type={"category": "user", "id": 190711})

    row = await acme.done("GET", f"/people/{person}")
    assert (1, SECOND + 60, SECOND) == (row["interaction_count"], row["date_last_contacted"], row["date_modified"])
    acme.crm.faults.activities_move_date = True
    await acme.note("person", person)
    row = await acme.done("GET", f"/people/{person}")
    assert (1, SECOND + 60) == (row["interaction_count"], row["date_modified"])


async def test_a_type_means_something_only_with_its_category(acme: World) -> None:
    person = await acme.person()
    made = await acme.done("POST", "/custom_activity_types", {"name": "SMS", "icon_type": "Message"})
    types = await acme.done("GET", "/activity_types")

    assert {
        "id": made["id"], "company_id": 1, "icon_type": "Message", "is_disabled": False, "is_interaction": False,
        "name": "SMS", "is_default_task_type": None,
    } == made == await acme.done("GET", f"/custom_activity_types/{made['id']}")  # fmt: skip
    assert ["Note", "Phone Call", "Meeting", "SMS"] == [one["name"] for one in types["user"]]
    assert ["Property Changed", "Pipeline Stage Changed"] == [one["name"] for one in types["system"]]
    sms = {"category": "user", "id": made["id"]}
    number = await acme.note("person", person, type=sms)
    await acme.edit("disable", "activity_type", made["id"])
    for kind in (sms, {"category": "system", "id": 1}, {"category": "user", "id": 7}, 0):
        body = {"parent": {"type": "person", "id": person}, "type": kind}
        assert 422 == (await acme.call("POST", "/activities", body)).status_code
    assert [number] == await acme.found("activities", activity_types=[sms])
    acme.crm.faults.other_type_ids = True
    other = await acme.done("POST", "/custom_activity_types", {"name": "Demo"})
    assert other["id"] not in {one["id"] for one in (await acme.done("GET", "/activity_types"))["user"]}
    assert 2 == len(await acme.done("GET", "/custom_activity_types"))
    assert [404, 422] == [
        (await acme.call("GET", "/custom_activity_types/99")).status_code,
        (await acme.call("POST", "/custom_activity_types", {"name": " "})).status_code,
    ]


async def test_a_changed_property_is_logged_with_who_did_it_by_a_switch(acme: World) -> None:
    acme.crm.faults.property_activities = True
    person = await acme.person(title="CTO")
    await acme.edit("change", "person", person, title="CEO")

    [row] = await acme.done("POST", "/activities/search", {"activity_types": [{"category": "system", "id": 1}]})

    assert (137658, "title", "CTO", "CEO") == (row["user_id"], row["details"], row["old_value"], row["new_value"])


# --- Controls ---------------------------------------------------------------------------------------------------------
async def test_people_there_do_what_the_api_cannot(acme: World) -> None:
    ann = (await acme.edit("create", "person", name="Ann"))["id"]
    lead = (await acme.edit("create", "lead", name="Bob"))["id"]
    field = (await acme.edit("create", "field", name="F", data_type="Float", available_on=["person"]))["id"]
    kind = (await acme.edit("create", "activity_type", name="Demo"))["id"]
    parent = {"type": "person", "id": ann}
    call = (await acme.edit("create", "activity", parent=parent, type={"category": "user", "id": kind}))["id"]

    assert "Anna" == (await acme.edit("change", "person", ann, name="Anna"))["name"]
    assert "Bo" == (await acme.edit("change", "lead", lead, name="Bo"))["name"]
    assert "G" == (await acme.edit("change", "field", field, name="G"))["name"]
    assert "x" == (await acme.edit("change", "activity", call, details="x"))["details"]
    assert 137658 == (await acme.done("GET", f"/activities/{call}"))["user_id"]
    for what, number in (("activity", call), ("field", field), ("lead", lead), ("person", ann)):
        assert {"id": number, "is_deleted": True} == await acme.edit("delete", what, number)
    hook = (await acme.done("POST", "/webhooks", {"target": "http://127.0.0.1:9/", "type": "lead", "event": "new"}))[
        "id"
    ]
    assert {"id": hook} == await acme.edit("delete", "webhook", hook)
    state = acme.crm.state()
    assert {"person": {}, "lead": {}, "activity": {}} == state["writes"]
    assert 0 == sum(state["records"].values())


@pytest.mark.parametrize(
    "body",
    [
        {}, {"do": "merge", "object": "lead", "id": 1}, {"do": "change", "object": "person", "id": "1"},
        {"do": "change", "object": "person", "id": 9, "values": {"title": "X"}}, {"do": "delete", "object": "field"},
        {"do": "delete", "object": "field", "id": 1}, {"do": "delete", "object": "webhook", "id": 1},
        {"do": "create", "object": "person", "values": []}, {"do": "create", "object": "person"},
        {"do": "create", "object": "opportunity", "values": {"primary_contact_id": 4}},
        {"do": "merge", "object": "person", "id": 1, "values": {"into": 1}},
        {"do": "disable", "object": "activity_type", "id": 0},
    ],
)  # fmt: skip
async def test_an_edit_that_cannot_be_carried_out_is_refused(acme: World, body: Json) -> None:
    await acme.person() if body.get("do") == "merge" else None

    reply = await acme.http.post("/_sandbox/edit", json=body)

    assert (400, True) == (reply.status_code, bool(reply.json()["error"]))


async def test_people_are_filled_in_with_a_box_for_whoever_opted_out(acme: World) -> None:
    crowd = list(people(200))
    acme.crm.fill(crowd)
    acme.crm.fill([*crowd[:5], *people(20, seed=1)])

    [box] = await acme.done("GET", "/custom_field_definitions")
    asked = {"custom_fields": [{"custom_field_definition_id": box["id"], "value": [True]}], "page_size": 200}
    opted_out = await acme.done("POST", "/people/search", {**asked, "maximum_created_date": SECOND - 86_400})

    assert ("Email opted out", "Checkbox") == (box["name"], box["data_type"])
    assert {one.email for one in crowd if one.opted_out} <= {one["emails"][0]["email"] for one in opted_out}
    assert 220 == acme.crm.state()["records"]["people"]
    mine = await acme.call("POST", "/people/search", headers=acme.restricted)
    assert (20, "220") == (len(mine.json()), mine.headers["x-pw-total"])


async def test_credentials_are_the_same_in_every_run(acme: World) -> None:
    other = World()

    assert acme.keys == other.keys
    assert URL == acme.keys["base_url"]
    assert acme.ours == key_headers(acme.keys["api_key"], "integration@example.com")
    await other.http.aclose()


# --- Whatever comes ---------------------------------------------------------------------------------------------------
WORDS = [
    "id", "ids", "name", "email", "emails", "category", "custom_fields", "custom_field_definition_id", "value", "tags",
    "page_size", "page_number", "sort_by", "people", "leads", "activities", "properties", "match", "field_name",
    "field_value", "details", "person", "company", "opportunity", "parent", "type", "user", "activity_types",
    "user_ids", "options", "data_type", "available_on", "Dropdown", "Float", "target", "event", "secret", "address",
    "phone_number", "minimum_value", "minimum_modified_date", "assignee_ids", "company_id", "status", "new",
]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | st.floats(-9, 9) | st.sampled_from(WORDS) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(ENDPOINTS), JSON, st.sampled_from(["1", "2", "705303", "190711", "x"]))
def test_whatever_comes_is_answered_in_the_words_of_copper(endpoint: Endpoint, body: Json, number: str) -> None:
    async def answer() -> httpx.Response:
        acme = World()
        await acme.field("Status", "Dropdown", "OK")
        await acme.lead("Bob", "bob@example.com")
        await acme.note("person", await acme.person("Ann", "ann@example.com"))
        path = endpoint.path.format(id=number, entity="people", other="companies")
        reply = await acme.call(endpoint.method, path, body)
        await acme.http.aclose()
        return reply

    assert asyncio.run(answer()).status_code in (200, 400, 404, 422)
