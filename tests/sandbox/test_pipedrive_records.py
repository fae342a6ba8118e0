"""Fields, activities, leads and the feeds of the stand-in Pipedrive, as they are on the wire."""

from collections.abc import AsyncIterator

import pytest

from tests.sandbox.pipedrive_company import Company, Json


@pytest.fixture
async def acme() -> AsyncIterator[Company]:
    company = Company()
    yield company
    await company.http.aclose()


# --- Fields -----------------------------------------------------------------------------------------------------------
async def test_fields_are_made_renamed_and_removed(acme: Company) -> None:
    made = await acme.field("Email hard bounced", "enum", "Yes", "No")
    twin = await acme.field("Email hard bounced", "enum", "Yes")
    path = f"/api/v2/personFields/{made['field_code']}"

    assert {
        "field_name": "Email hard bounced", "field_code": made["field_code"], "field_type": "enum",
        "options": [{"id": 1, "label": "Yes"}, {"id": 2, "label": "No"}], "subfields": None, "is_custom_field": True,
        "is_optional_response_field": False,
    } == made  # fmt: skip
    assert made["field_code"] != twin["field_code"]
    assert 40 == len(made["field_code"])
    assert [{"id": 4, "label": "Later"}] == await acme.data("POST", f"{path}/options", [{"label": "Later"}])
    assert [{"id": 4, "label": "Soon"}] == await acme.data("PATCH", f"{path}/options", [{"id": 4, "label": "Soon"}])
    number = await acme.person(custom_fields={made["field_code"]: 4})
    shown = await acme.data(
        "GET", f"/api/v2/persons/{number}?include_option_labels=true&custom_fields={made['field_code']}"
    )
    assert {made["field_code"]: {"id": 4, "label": "Soon"}} == shown["custom_fields"]
    assert [{"id": 4, "label": "Soon"}] == await acme.data("DELETE", f"{path}/options", [{"id": 4}])
    assert "Bounced" == (await acme.data("PATCH", path, {"field_name": "Bounced"}))["field_name"]
    assert made["field_code"] == (await acme.data("DELETE", path))["field_code"]
    assert 404 == (await acme.call("GET", path)).status_code
    assert {twin["field_code"]: None} == (await acme.data("GET", f"/api/v2/persons/{number}"))["custom_fields"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "", {"field_name": "A", "field_type": "boolean"}, 400),
        ("POST", "", {"field_name": "A", "field_type": "enum"}, 400),
        ("POST", "", {"field_name": "A", "field_type": "enum", "options": []}, 400),
        ("POST", "", {"field_name": "A", "field_type": "enum", "options": [{"label": 1}]}, 400),
        ("POST", "", {"field_name": "", "field_type": "text"}, 400),
        ("POST", "", {"field_name": "A", "field_type": "text", "description": "B"}, 400),
        ("POST", "", {"field_name": "A", "field_type": ["text"]}, 400),
        ("PATCH", "/name", {"field_name": "A"}, 403), ("DELETE", "/name", None, 403), ("GET", "/none", None, 404),
        ("PATCH", "/CODE", {"field_type": "text"}, 400), ("PATCH", "/CODE", {}, 400),
        ("PATCH", "/CODE", {"ui_visibility": {"add_visible_flag": True}}, 200),
        ("GET", "?include_fields=ui_visibility,required_fields", None, 200),
        ("GET", "?include_fields=color", None, 400),
        ("PATCH", "/CODE/options", [{"id": 99, "label": "A"}], 400), ("POST", "/CODE/options", [], 400),
        ("POST", "/CODE/options", {"label": "A"}, 400), ("DELETE", "/CODE/options", [{"id": True}], 400),
        ("POST", "/name/options", [{"label": "A"}], 403),
    ],
)  # fmt: skip
async def test_what_fields_refuse(acme: Company, method: str, path: str, body: Json, status: int) -> None:
    code = (await acme.field("Bounced", "enum", "Yes"))["field_code"]

    reply = await acme.call(method, f"/api/v2/personFields{path.replace('CODE', code)}", body)

    assert status == reply.status_code, reply.text


async def test_a_plan_caps_the_custom_fields(acme: Company) -> None:
    acme.crm.faults.custom_field_cap = 1
    await acme.field("One", "double")

    reply = await acme.call("POST", "/api/v2/personFields", {"field_name": "Two", "field_type": "double"})

    assert 403 == reply.status_code
    assert reply.json()["code"].startswith("feature_capping_")


async def test_the_first_version_tells_fields_by_key(acme: Company) -> None:
    code = (await acme.field("Score", "double"))["field_code"]

    reply = (await acme.call("GET", "/v1/personFields?start=12&limit=100")).json()
    short = (await acme.call("GET", "/v1/personFields?limit=2")).json()["additional_data"]["pagination"]

    assert ["marketing_status", code] == [field["key"] for field in reply["data"]]
    assert {"start": 12, "limit": 100, "more_items_in_collection": False} == reply["additional_data"]["pagination"]
    assert {"start": 0, "limit": 2, "more_items_in_collection": True, "next_start": 2} == short
    made = await acme.data("POST", "/v1/personFields", {"name": "Old", "field_type": "varchar"})
    assert ("Old", True, 40) == (made["name"], made["edit_flag"], len(made["key"]))


# --- Activities -------------------------------------------------------------------------------------------------------
async def test_an_activity_is_logged_retyped_undone_and_removed(acme: Company) -> None:
    ann, bob = await acme.person("Ann"), await acme.person("Bob")
    webinar = await acme.data("POST", "/api/v1/activityTypes", {"name": "Webinar attended", "icon_key": "presentation"})
    body = {
        "subject": "Pricing", "type": "webinar_attended", "done": True, "due_date": "2026-09-30",
        "due_time": "15:00:00", "participants": [{"person_id": bob}, {"person_id": ann, "primary": True}],
        "attendees": [{"email": "ann@example.com", "name": "Ann"}],
    }  # fmt: skip

    made = await acme.data("POST", "/api/v2/activities", body)
    path = f"/api/v2/activities/{made['id']}"

    assert ("webinar_attended", True, "2026-10-01T09:15:00Z") == (
        made["type"],
        made["done"],
        made["marked_as_done_time"],
    )
    assert (ann, [ann, bob]) == (made["person_id"], [one["person_id"] for one in made["participants"]])
    listed = await acme.data("GET", "/api/v2/activities?done=true&include_fields=attendees&sort_by=due_date")
    assert [body["attendees"]] == [one["attendees"] for one in listed]
    # The primary participant only.
    assert [1, 0] == [len(await acme.data("GET", f"/api/v2/activities?person_id={who}")) for who in (ann, bob)]
    counted = await acme.data("GET", f"/api/v2/persons/{bob}?include_fields=done_activities_count,last_activity_id")
    assert (1, made["id"]) == (counted["done_activities_count"], counted["last_activity_id"])
    acme.later(60)
    undone = await acme.data("PATCH", path, {"done": False, "type": "call"})
    assert ("call", None, "2026-10-01T09:16:00Z") == (
        undone["type"],
        undone["marked_as_done_time"],
        undone["update_time"],
    )
    assert webinar["id"] == (await acme.data("DELETE", f"/api/v1/activityTypes/{webinar['id']}"))["id"]
    assert 400 == (await acme.call("PATCH", path, {"type": "webinar_attended"})).status_code
    await acme.edit("delete", "activity", made["id"])
    assert 404 == (await acme.call("GET", path)).status_code
    assert [] == await acme.data("GET", "/api/v2/activities?updated_since=2026-10-01T09:00:00Z&sort_by=update_time")


@pytest.mark.parametrize(
    "body",
    [
        {"type": "nonsense"}, {"type": 1}, {"done": 1}, {"due_date": "tomorrow"}, {"due_time": "26:00"},
        {"subject": None}, {"person_id": 1}, {"participants": [{"person_id": 99}]},
        {"participants": [{"primary": True}]},
        {"participants": 1}, {"participants": [1]}, {"attendees": ["a"]}, {"owner_id": 99}, {"location": "Here"},
        {"duration": "1h"}, {"unknown": 1},
    ],
)  # fmt: skip
async def test_an_activity_that_is_not_as_the_schema_has_it_is_refused(acme: Company, body: Json) -> None:
    assert 400 == (await acme.call("POST", "/api/v2/activities", body)).status_code


async def test_activity_types_are_listed_with_their_keys(acme: Company) -> None:
    listed = await acme.data("GET", "/api/v1/activityTypes")
    renamed = await acme.data("PUT", f"/api/v1/activityTypes/{listed[0]['id']}", {"name": "Phone call"})

    assert ["call", "meeting", "task", "deadline", "email", "lunch"] == [kind["key_string"] for kind in listed]
    assert ("Phone call", "call") == (renamed["name"], renamed["key_string"])
    for body in ({}, {"name": "A"}, {"name": "A", "icon_key": "smile"}, {"name": 5, "icon_key": "call"}):
        assert 400 == (await acme.call("POST", "/api/v1/activityTypes", body)).status_code
    assert 404 == (await acme.call("PUT", "/api/v1/activityTypes/99", {"name": "A"})).status_code


# --- Leads ------------------------------------------------------------------------------------------------------------
async def test_a_lead_carries_the_custom_fields_of_deals_at_its_root(acme: Company) -> None:
    field = {"field_name": "Lead score", "field_type": "double"}
    score = (await acme.data("POST", "/api/v2/dealFields", field))["field_code"]
    person = await acme.person("Ann", "ann@example.com")

    made = await acme.data("POST", "/api/v1/leads", {"title": "Ann lead", "person_id": person, "origin_id": "x"}, 201)
    path = f"/api/v1/leads/{made['id']}"

    assert score not in made
    assert ("API", "x", "2026-10-01T09:15:00.000Z", "3") == tuple(
        made[name] for name in ("origin", "origin_id", "add_time", "visible_to")
    )
    assert 73 == (await acme.data("PATCH", path, {score: 73}))[score]
    assert score not in await acme.data("PATCH", path, {score: None})
    assert score in [field["key"] for field in await acme.data("GET", "/v1/leadFields")]
    await acme.data("PATCH", path, {"is_archived": True})
    assert [0, 1] == [len(await acme.data("GET", f"/api/v1/leads{end}")) for end in ("", "/archived")]
    found = await acme.data("GET", "/api/v2/leads/search?term=ann")
    assert [["ann@example.com"]] == [hit["item"]["emails"] for hit in found["items"]]


async def test_a_converted_lead_is_gone(acme: Company) -> None:
    person = await acme.person()
    first, second = [await acme.data("POST", "/v1/leads", {"title": t, "person_id": person}, 201) for t in "AB"]

    job = await acme.data("POST", f"/api/v2/leads/{first['id']}/convert/deal")
    status = await acme.data("GET", f"/api/v2/leads/{first['id']}/convert/status/{job['conversion_id']}")

    assert ("completed", 1) == (status["status"], status["deal_id"])
    gone = await acme.call("GET", f"/v1/leads/{first['id']}")
    assert (404, "requested lead not found") == (gone.status_code, gone.json()["error"])
    assert 2 == (await acme.edit("convert", "lead", second["id"]))["deal_id"]
    assert [] == await acme.data("GET", "/v1/leads")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"title": "A"}, 400), ({"person_id": 1}, 400), ({"title": "A", "person_id": 99}, 400),
        ({"title": "A", "person_id": "1"}, 400), ({"title": "A", "person_id": 1, "unknown": 1}, 400),
        ({"title": "A", "person_id": 1, "value": {"amount": 5}}, 400), ({"title": 5, "person_id": 1}, 400),
        ({"title": "A", "person_id": 1, "value": {"amount": 5, "currency": "EUR"}, "visible_to": "5"}, 201),
    ],
)  # fmt: skip
async def test_a_lead_is_taken_or_refused(acme: Company, body: Json, status: int) -> None:
    await acme.person()

    assert status == (await acme.call("POST", "/v1/leads", body)).status_code


async def test_leads_are_paged_by_offset_and_sorted(acme: Company) -> None:
    person = await acme.person()
    for title in "ABC":
        await acme.data("POST", "/v1/leads", {"title": title, "person_id": person}, 201)
        acme.later(60)

    async def titles(query: str) -> str:
        return "".join([lead["title"] for lead in await acme.data("GET", f"/api/v1/leads?{query}")])

    assert "BC" == await titles("updated_since=2026-10-01T09:16:00Z&sort=update_time%20ASC")
    assert "CB" == await titles("sort=title%20DESC&limit=2")
    assert "A" == await titles("sort=title%20DESC&start=2")
    for query in ("sort=x", "sort=title%20UP", "start=-1", "limit=0", "start=x"):
        assert 400 == (await acme.call("GET", f"/api/v1/leads?{query}")).status_code


# --- The first version's feeds, and merging ---------------------------------------------------------------------------
async def test_a_merge_keeps_the_winners_values_and_both_ones_addresses(acme: Company) -> None:
    one, other = [(await acme.field(name, "double"))["field_code"] for name in ("One", "Other")]
    org = acme.crm.company.org("Acme")
    what = await acme.person("Ann", "ann@example.com", custom_fields={one: 1, other: 2}, org_id=org)
    into = await acme.person("Anna", "anna@example.com", custom_fields={one: 10})
    await acme.data("POST", "/api/v2/activities", {"participants": [{"person_id": what}]})
    lead = await acme.data("POST", "/v1/leads", {"title": "A", "person_id": what}, 201)

    merged = await acme.data("PUT", f"/api/v1/persons/{what}/merge", {"merge_with_id": into})

    assert (into, what, "Anna", True) == (merged["id"], merged["merge_what_id"], merged["name"], merged["active_flag"])
    assert (10, 2, "Acme") == (merged[one], merged[other], merged["org_name"])
    assert [("anna@example.com", True), ("ann@example.com", False)] == [
        (one["value"], one["primary"]) for one in merged["email"]
    ]
    assert ("2026-10-01 09:15:00", "3") == (merged["update_time"], merged["visible_to"])
    assert 404 == (await acme.call("GET", f"/api/v2/persons/{what}")).status_code
    assert 1 == len(await acme.data("GET", f"/api/v2/activities?person_id={into}"))
    assert into == (await acme.data("GET", f"/v1/leads/{lead['id']}"))["person_id"]
    for number, body, status in (
        (into, {"merge_with_id": 99}, 403),
        (99, {"merge_with_id": into}, 404),
        (into, {}, 400),
    ):
        assert status == (await acme.call("PUT", f"/api/v1/persons/{number}/merge", body)).status_code


async def test_the_change_log_tells_who_wrote_and_with_what(acme: Company) -> None:
    score = (await acme.field("Score", "double"))["field_code"]
    number = await acme.person()
    acme.http.headers["User-Agent"] = "leadtally/1"
    await acme.data("PATCH", f"/api/v2/persons/{number}", {"custom_fields": {score: 73}})
    await acme.edit("change", "person", number, name="Anna Lee")

    log = await acme.data("GET", f"/api/v1/persons/{number}/changelog?limit=2")

    assert {
        "field_key": "name", "old_value": "Ann Lee", "new_value": "Anna Lee", "actor_user_id": 7,
        "time": "2026-10-01 09:15:00", "change_source": "app", "change_source_user_agent": None,
        "is_bulk_update_flag": False,
    } in log  # fmt: skip
    older = await acme.data("GET", f"/api/v1/persons/{number}/changelog")
    assert ("add_time", "2026-10-01 09:15:00") == (older[-1]["field_key"], older[-1]["new_value"])
    assert (score, None, "73", 9, "api", "leadtally/1") in [
        tuple(entry[name] for name in ("field_key", "old_value", "new_value", "actor_user_id", "change_source",
                                       "change_source_user_agent")) for entry in older
    ]  # fmt: skip


async def test_recents_are_what_changed_in_the_order_of_change(acme: Company) -> None:
    ann = await acme.person("Ann")
    acme.later(60)
    await acme.data("POST", "/api/v2/activities", {"participants": [{"person_id": ann}]})
    acme.later(60)
    await acme.edit("delete", "person", ann)

    reply = (await acme.call("GET", "/api/v1/recents?since_timestamp=2026-10-01%2009:16:00")).json()
    first = (await acme.call("GET", "/api/v1/recents?since_timestamp=2026-10-01%2009:16:00&limit=1")).json()

    assert [("activity", True), ("person", False)] == [
        (row["item"], row["data"]["active_flag"]) for row in reply["data"]
    ]
    assert "2026-10-01 09:17:00" == reply["additional_data"]["last_timestamp_on_page"]
    assert ("2026-10-01 09:16:00", 1) == (
        first["additional_data"]["last_timestamp_on_page"], first["additional_data"]["pagination"]["next_start"]
    )  # fmt: skip
    for query in ("", "since_timestamp=2026-10-01T09:00:00Z", "since_timestamp=2026-10-01%2009:16:00&items=lead"):
        assert 400 == (await acme.call("GET", f"/api/v1/recents?{query}")).status_code


async def test_who_calls_and_which_company(acme: Company) -> None:
    me = await acme.data("GET", "/api/v1/users/me")

    assert (9, True, 22_122, "acme-sales") == (me["id"], me["is_you"], me["company_id"], me["company_domain"])
    assert [7, 9] == [user["id"] for user in await acme.data("GET", "/v1/users")]
    assert "Jane Doe" == (await acme.data("GET", "/v1/users/7"))["name"]
    assert "Acme" == (await acme.data("GET", f"/api/v2/organizations/{acme.crm.company.org('Acme')}"))["name"]
    assert ["Acme"] == [org["name"] for org in await acme.data("GET", "/api/v2/organizations?ids=1,2")]
