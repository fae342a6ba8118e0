"""Persons, search and the marketing status of the stand-in Pipedrive, as they are on the wire."""

import asyncio
import base64
from collections.abc import AsyncIterator

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.sandbox.people import people
from tests.sandbox.pipedrive_company import Company, Json

UNKNOWN = "0" * 40


@pytest.fixture
async def acme() -> AsyncIterator[Company]:
    company = Company()
    yield company
    await company.http.aclose()


# --- Persons ----------------------------------------------------------------------------------------------------------
async def test_a_person_has_the_second_versions_shape(acme: Company) -> None:
    score = (await acme.field("Lead score", "double"))["field_code"]
    body = {
        "name": "Ann Maria Lee", "emails": [{"value": "ann@example.com"}, {"value": "a@example.org", "primary": True}],
        "phones": [{"value": "+1 202 555 0143", "label": "mobile"}], "label_ids": [1, 2], "custom_fields": {score: 42},
    }  # fmt: skip

    made = await acme.data("POST", "/api/v2/persons", body)

    assert {
        "id": 1, "name": "Ann Maria Lee", "first_name": "Ann Maria", "last_name": "Lee", "owner_id": 9, "org_id": None,
        "add_time": "2026-10-01T09:15:00Z", "update_time": "2026-10-01T09:15:00Z",
        "emails": [
            {"value": "ann@example.com", "primary": False, "label": "work"},
            {"value": "a@example.org", "primary": True, "label": "work"},
        ],
        "phones": [{"value": "+1 202 555 0143", "primary": True, "label": "mobile"}],
        "is_deleted": False, "visible_to": 3, "label_ids": [1, 2], "picture_id": None,
        "custom_fields": {score: 42}, "marketing_status": "no_consent",
    } == made  # fmt: skip
    assert made == {**await acme.data("GET", "/api/v2/persons/1"), "marketing_status": "no_consent"}


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "name"), ({"name": ""}, "name"), ({"name": 5}, "name"), ({"name": "A", "first_name": "A"}, "first_name"),
        ({"name": "A", "emails": "a@example.com"}, "emails"), ({"name": "A", "emails": [{}]}, "emails[0]"),
        ({"name": "A", "emails": [{"value": "a", "work": 1}]}, "emails[0].work"),
        ({"name": "A", "visible_to": "3"}, "visible_to"), ({"name": "A", "owner_id": 8}, "owner_id"),
        ({"name": "A", "org_id": True}, "org_id"), ({"name": "A", "label_ids": ["1"]}, "label_ids"),
        ({"name": "A", "add_time": "2026-10-01T09:15:00.5Z"}, "add_time"), ({"name": "A", "add_time": 5}, "add_time"),
        ({"name": "A", "marketing_status": "bounced"}, "marketing_status"),
        ({"name": "A", "custom_fields": []}, "custom"),
        ({"name": "A", "custom_fields": {UNKNOWN: 1}}, UNKNOWN), ([], "body"), (None, "body"), ("x", "body"),
    ],
)  # fmt: skip
async def test_a_body_that_is_not_as_the_schema_has_it_is_refused(acme: Company, body: Json, named: str) -> None:
    reply = await acme.call("POST", "/api/v2/persons", body)

    assert (400, "ERR_SCHEMA_VALIDATION_FAILED") == (reply.status_code, reply.json()["code"])
    assert named in reply.json()["error"]
    assert [] == await acme.data("GET", "/api/v2/persons")


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("double", [42, 42.5, -1, None], ["42", True, [], {}]),
        ("varchar", ["a", "", None], [1, "a" * 256]),
        ("text", ["a" * 1_000], [1, {}]),
        ("date", ["2026-10-01"], ["2026-13-01", "2026-10-01T00:00:00Z", 5]),
        ("enum", [1, None], ["1", "Yes", 9, True, 1.0]),
        ("set", [[1], [2, 1], None], [[], 1, ["1"], [9], [1, 1], [[]], "1,2"]),
        ("monetary", [{"value": 5, "currency": "EUR"}], [5, {"value": 5}, {"value": "5", "currency": "EUR"}]),
        ("daterange", [{"value": "2026-10-01", "until": "2026-10-02"}], ["2026-10-01", {"value": "2026-10-01"}]),
        ("time", [{"value": "10:00:00", "timezone_name": "Etc/UTC"}], ["10:00", {"value": "25:00"}]),
        ("address", [{"value": "1 Main St", "country": "EE"}], ["1 Main St", {"country": "EE"}, {"value": 1}]),
        ("user", [7], ["7", -1, 7.5]),
    ],
)  # fmt: skip
async def test_a_custom_field_takes_values_of_its_type_only(acme: Company, kind: str, good: Json, bad: Json) -> None:
    labels = ("Yes", "No") if kind in ("enum", "set") else ()
    code = (await acme.field("F", kind, *labels))["field_code"]
    number = await acme.person()

    for value in good:
        changed = await acme.data("PATCH", f"/api/v2/persons/{number}", {"custom_fields": {code: value}})
        assert value == changed["custom_fields"][code]
    for value in bad:
        reply = await acme.call("PATCH", f"/api/v2/persons/{number}", {"custom_fields": {code: value}})
        assert (400, "ERR_SCHEMA_VALIDATION_FAILED") == (reply.status_code, reply.json()["code"]), value
        assert code in reply.json()["error"]


async def test_one_unknown_field_fails_the_whole_write(acme: Company) -> None:
    score = (await acme.field("Score", "double"))["field_code"]
    number = await acme.person()

    reply = await acme.call(
        "PATCH", f"/api/v2/persons/{number}", {"name": "B", "custom_fields": {score: 1, UNKNOWN: 2}}
    )

    assert 400 == reply.status_code
    assert UNKNOWN in reply.json()["error"]
    found = await acme.data("GET", f"/api/v2/persons/{number}")
    assert ("Ann Lee", None) == (found["name"], found["custom_fields"][score])


async def test_a_write_changes_what_it_names_and_one_that_changes_nothing_leaves_no_trace(acme: Company) -> None:
    one, other = [(await acme.field(name, "double"))["field_code"] for name in ("One", "Other")]
    number = await acme.person("Ann Lee", "ann@example.com", custom_fields={one: 1, other: 2})
    acme.later(60)

    same = await acme.data("PATCH", f"/api/v2/persons/{number}", {"name": "Ann Lee", "custom_fields": {one: 1}})
    changed = await acme.data("PATCH", f"/api/v2/persons/{number}", {"custom_fields": {one: None}})

    assert "2026-10-01T09:15:00Z" == same["update_time"]
    assert ("2026-10-01T09:16:00Z", {one: None, other: 2}) == (changed["update_time"], changed["custom_fields"])
    assert "ann@example.com" == changed["emails"][0]["value"]
    assert {"1": 3} == acme.crm.state()["writes"]["person"]


async def test_an_unset_custom_field_is_null_or_absent(acme: Company) -> None:
    code = (await acme.field("Score", "double"))["field_code"]
    number = await acme.person()
    assert {code: None} == (await acme.data("GET", f"/api/v2/persons/{number}"))["custom_fields"]

    acme.crm.faults.omit_unset_fields = True

    assert {} == (await acme.data("GET", f"/api/v2/persons/{number}"))["custom_fields"]


async def test_a_person_who_was_deleted_meanwhile_is_not_found(acme: Company) -> None:
    number = await acme.person("Ann Lee", "ann@example.com")

    assert {"id": number} == await acme.edit("delete", "person", number)

    for method, body in (("GET", None), ("PATCH", {"name": "B"}), ("DELETE", None)):
        reply = await acme.call(method, f"/api/v2/persons/{number}", body)
        assert (404, "Entity was not found") == (reply.status_code, reply.json()["error"])
    assert [] == await acme.data("GET", f"/api/v2/persons?ids={number}")
    assert [] == await acme.data("GET", "/api/v2/persons?sort_by=update_time")
    acme.crm.faults.list_deleted = True
    assert [True] == [one["is_deleted"] for one in await acme.data("GET", "/api/v2/persons")]


async def test_the_oldest_deletions_are_purged_after_thirty_days(acme: Company) -> None:
    acme.crm.faults.list_deleted = True
    ann, bob = await acme.person("Ann"), await acme.person("Bob")
    body = {"participants": [{"person_id": bob}]}
    gone, kept = [(await acme.data("POST", "/api/v2/activities", body))["id"] for _ in range(2)]
    await acme.edit("delete", "activity", gone)
    await acme.edit("delete", "person", ann)
    acme.later(31 * 86_400)

    await acme.edit("delete", "person", bob)

    [left] = await acme.data("GET", "/api/v2/persons?include_fields=activities_count")
    assert (bob, 1) == (left["id"], left["activities_count"])
    assert [kept] == [one["id"] for one in await acme.data("GET", "/api/v2/activities")]


async def test_contact_sync_decides_whether_there_is_a_job_title(acme: Company) -> None:
    number = await acme.person()

    assert 403 == (await acme.call("PATCH", f"/api/v2/persons/{number}", {"job_title": "Buyer"})).status_code
    acme.crm.faults.contact_sync = True
    assert "Buyer" == (await acme.data("PATCH", f"/api/v2/persons/{number}", {"job_title": "Buyer"}))["job_title"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("updated_since=2026-10-01T09:00:00Z", 200), ("updated_since=2026-10-01T12:00:00%2B03:00", 200),
        ("updated_since=2026-10-01T09:00:00.123Z", 400), ("updated_since=2026-10-01", 400), ("updated_since=x", 400),
        ("updated_until=2026-13-01T09:00:00Z", 400), ("updated_since=0001-01-01T00:00:00%2B14:00", 400),
        ("sort_by=name", 400), ("sort_direction=up", 400), ("limit=500", 200), ("limit=501", 400), ("limit=0", 400),
        ("limit=x", 400), ("cursor=x", 400), ("cursor=%C3%A9", 400), ("cursor=bnVsbA", 400),
        ("cursor=eyJmaWVsZCI6WyJpZCJdLCJpZCI6MX0", 400), ("ids=1,x", 400),
        ("ids=" + ",".join(["1"] * 101), 400), ("filter_id=1", 404), ("owner_id=7", 200), ("owner_id=x", 400),
        ("include_fields=marketing_status,doi_status,activities_count", 200), ("include_fields=nonsense", 400),
        ("custom_fields=" + ",".join(["a"] * 15), 200), ("custom_fields=" + ",".join(["a"] * 16), 400),
        ("include_labels=true&include_option_labels=true", 200), ("include_labels=maybe", 400), ("unknown=1", 200),
    ],
)  # fmt: skip
async def test_a_query_is_taken_or_refused(acme: Company, query: str, status: int) -> None:
    assert status == (await acme.call("GET", f"/api/v2/persons?{query}")).status_code


async def test_changes_are_from_a_second_on_and_before_another(acme: Company) -> None:
    for name in ("A", "B", "C"):
        await acme.person(name)
        acme.later(60)

    async def names(query: str) -> str:
        return "".join([one["name"] for one in await acme.data("GET", f"/api/v2/persons?{query}")])

    assert "BC" == await names("updated_since=2026-10-01T09:16:00Z")
    assert "AB" == await names("updated_until=2026-10-01T09:17:00Z&sort_by=update_time")
    assert "CB" == await names("updated_since=2026-10-01T09:16:00Z&sort_by=update_time&sort_direction=desc")
    assert "B" == await names("updated_since=2026-10-01T09:16:00Z&updated_until=2026-10-01T09:17:00Z")
    await acme.edit("change", "person", 1, name="A2")
    assert "BCA2" == await names("sort_by=update_time")
    assert "A2BC" == await names("sort_by=add_time&ids=3,2,1,99")
    assert "C" == await names(f"filter_id={(await acme.edit('create', 'filter', name='C'))['id']}&owner_id=1")


async def test_a_page_border_between_records_of_one_second_loses_none(acme: Company) -> None:
    acme.crm.fill(people(120))

    ids: list[int] = []
    query = {"sort_by": "update_time", "limit": "7"}
    while True:
        reply = (await acme.call("GET", "/api/v2/persons", params=query)).json()
        ids += [one["id"] for one in reply["data"]]
        if reply["additional_data"]["next_cursor"] is None:
            break
        query["cursor"] = reply["additional_data"]["next_cursor"]

    assert list(range(1, 121)) == ids


async def test_a_cursor_is_base64url_json_of_the_last_record(acme: Company) -> None:
    acme.crm.fill(people(3))

    reply = (await acme.call("GET", "/api/v2/persons?limit=2")).json()

    cursor = reply["additional_data"]["next_cursor"]
    assert {"field": "id", "fieldValue": 2, "sortDirection": "asc", "id": 2} == orjson.loads(
        base64.urlsafe_b64decode(cursor + "==")
    )
    acme.crm.faults.cursor_lifetime_s = 60
    cursor = (await acme.call("GET", "/api/v2/persons?limit=2")).json()["additional_data"]["next_cursor"]
    acme.later(61)
    assert 400 == (await acme.call("GET", f"/api/v2/persons?limit=2&cursor={cursor}")).status_code


@settings(max_examples=15, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["page", "edit", "delete", "wait"]), st.integers(1, 30)), min_size=5, max_size=40
    ),
    limit=st.integers(1, 7),
)
def test_a_walk_by_time_of_change_sees_every_record_while_people_edit(steps: list[tuple[str, int]], limit: int) -> None:
    async def walk() -> None:
        acme = Company()
        acme.crm.fill(people(30))
        seen: dict[int, str] = {}

        async def page(cursor: str) -> str | None:
            """The cursor of the next."""
            query = {"sort_by": "update_time", "limit": str(limit), **({"cursor": cursor} if cursor else {})}
            reply = (await acme.call("GET", "/api/v2/persons", params=query)).json()
            seen.update({one["id"]: one["name"] for one in reply["data"]})
            following: str | None = reply["additional_data"]["next_cursor"]
            return following

        following: str | None = ""
        for do, number in steps:
            known = acme.crm.company.person(number)
            if do == "page" and following is not None:
                following = await page(following)
            elif do == "edit" and known is not None:
                await acme.edit("change", "person", number, name=f"{known.name}x")
            elif do == "delete" and known is not None:
                await acme.edit("delete", "person", number)
            else:
                acme.later(1)
        while following is not None:
            following = await page(following)
        names = {person.id for person in acme.crm.company.persons.values() if not person.is_deleted}
        assert names <= seen.keys()
        # What was edited in the second of the last page may be behind the cursor: the next walk finds it.
        following = ""
        while following is not None:
            following = await page(following)
        for number in names:
            assert acme.crm.company.persons[number].name == seen[number]
        await acme.http.aclose()

    asyncio.run(walk())


# --- Search -----------------------------------------------------------------------------------------------------------
async def test_search_finds_all_who_share_an_address_whichever_is_primary(acme: Company) -> None:
    first = await acme.person("Ann", "other@example.com", "Shared@example.com")
    second = await acme.person("Bob", "shared@example.com", org_id=acme.crm.company.org("Acme"))
    await acme.person("Cid", "not-shared@example.com")

    found = await acme.data("GET", "/api/v2/persons/search?term=SHARED@example.com&fields=email&exact_match=true")

    assert [first, second] == [hit["item"]["id"] for hit in found["items"]]
    assert ["other@example.com", "Shared@example.com"] == found["items"][0]["item"]["emails"]
    assert [None, "Acme"] == [(hit["item"]["organization"] or {}).get("name") for hit in found["items"]]
    partly = await acme.data("GET", "/api/v2/persons/search?term=shared&fields=email")
    assert 3 == len(partly["items"])
    await acme.edit("change", "person", second, emails=[])
    again = await acme.data("GET", "/api/v2/persons/search?term=shared@example.com&fields=email&exact_match=true")
    assert [first] == [hit["item"]["id"] for hit in again["items"]]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("term=a", 400), ("term=a&exact_match=true", 200), ("", 400), ("term=ab&fields=email,name", 200),
        ("term=ab&fields=address", 400), ("term=ab&limit=501", 400), ("term=ab&cursor=x", 400),
        ("term=ab&exact_match=no", 400), ("term=ab&organization_id=1", 200), ("term=ab&fields=custom_fields", 200),
    ],
)  # fmt: skip
async def test_a_search_is_taken_or_refused(acme: Company, query: str, status: int) -> None:
    assert status == (await acme.call("GET", f"/api/v2/persons/search?{query}")).status_code


async def test_search_may_lag_behind_what_is_written(acme: Company) -> None:
    acme.crm.faults.search_lag_s = 3
    await acme.person("Ann", "ann@example.com")
    query = "/api/v2/persons/search?term=ann@example.com&fields=email&exact_match=true"

    assert [] == (await acme.data("GET", query))["items"]
    acme.later(3)
    assert 1 == len((await acme.data("GET", query))["items"])


# --- The marketing status ---------------------------------------------------------------------------------------------
async def test_a_change_of_the_marketing_status_that_is_not_allowed_is_passed_over_in_silence(acme: Company) -> None:
    number = await acme.person("Ann", "ann@example.com")

    async def ask(status: str) -> str:
        return str(
            (await acme.data("PATCH", f"/api/v2/persons/{number}", {"marketing_status": status}))["marketing_status"]
        )

    assert "no_consent" == await ask("archived")
    assert ["subscribed", "archived", "subscribed"] == [await ask(s) for s in ("subscribed", "archived", "subscribed")]
    # The same change is allowed once only.
    assert "subscribed" == await ask("archived")
    assert ["unsubscribed", "unsubscribed"] == [await ask(s) for s in ("unsubscribed", "subscribed")]
    # People in Pipedrive may do what the API may not, and see statuses that it does not take.
    assert "bounced" == (await acme.edit("change", "person", number, marketing_status="bounced"))["marketing_status"]


async def test_the_marketing_status_is_the_primary_addresss(acme: Company) -> None:
    ann = await acme.person("Ann", "shared@example.com", marketing_status="unsubscribed")
    bob = await acme.person("Bob", "bob@example.com", "shared@example.com")
    cid = await acme.person("Cid", "no address", marketing_status="unsubscribed")

    async def statuses() -> list[str]:
        ids = f"{ann},{bob},{cid}"
        rows = await acme.data("GET", f"/api/v2/persons?ids={ids}&include_fields=marketing_status")
        return [row["marketing_status"] for row in rows]

    assert ["unsubscribed", "no_consent", "no_consent"] == await statuses()
    await acme.edit("change", "person", bob, emails=[{"value": "shared@example.com"}])
    assert ["unsubscribed", "unsubscribed", "no_consent"] == await statuses()


async def test_a_subscribed_address_that_nobody_has_is_archived(acme: Company) -> None:
    number = await acme.person("Ann", "ann@example.com", marketing_status="subscribed")
    await acme.edit("change", "person", number, emails=[])

    again = await acme.data("PATCH", f"/api/v2/persons/{number}", {"emails": [{"value": "ann@example.com"}]})

    assert "archived" == again["marketing_status"]


async def test_without_the_add_on_there_is_no_marketing_status(acme: Company) -> None:
    acme.crm.faults.without_campaigns = True
    number = await acme.person("Ann", "ann@example.com", marketing_status="unsubscribed")

    shown = await acme.data("GET", f"/api/v2/persons/{number}?include_fields=marketing_status")

    assert "marketing_status" not in shown
    assert "marketing_status" not in [one["field_code"] for one in await acme.data("GET", "/api/v2/personFields")]


async def test_a_changed_status_may_leave_the_time_of_change_as_it_was(acme: Company) -> None:
    acme.crm.faults.quiet_marketing_status = True
    number = await acme.person("Ann", "ann@example.com")
    acme.later(60)

    changed = await acme.data("PATCH", f"/api/v2/persons/{number}", {"marketing_status": "unsubscribed"})

    assert ("unsubscribed", "2026-10-01T09:15:00Z") == (changed["marketing_status"], changed["update_time"])
    [entry] = await acme.data("GET", f"/api/v1/persons/{number}/flow?items=marketing_status_change")
    assert ("no_consent", "unsubscribed") == (entry["data"]["old_value"], entry["data"]["new_value"])
