"""People and leads of the stand-in Copper, as they are on the wire."""

from collections.abc import AsyncIterator

import pytest

from tests.sandbox.copper_account import SECOND, Json, World, custom, value


@pytest.fixture
async def acme() -> AsyncIterator[World]:
    world = World()
    yield world
    await world.http.aclose()


# --- People -----------------------------------------------------------------------------------------------------------
async def test_a_person_is_shown_whole_with_all_custom_fields_that_there_are(acme: World) -> None:
    score, other = [(await acme.field(name, "Float"))["id"] for name in ("Score", "Other")]
    company = acme.crm.account.company("Acme")
    body = {
        "name": "Ann Maria Lee", "emails": [{"email": "ann@example.com", "category": "work"}], "company_id": company,
        "phone_numbers": [{"number": "+37255555", "category": "mobile"}], "title": "CTO", "tags": ["webinar"],
        "address": {"street": "1 Main St", "city": "Tartu", "country": "EE"}, "contact_type_id": 451490,
        "assignee_id": 137658, "custom_fields": value(score, 42),
    }  # fmt: skip

    made = await acme.done("POST", "/people", body)

    assert {
        "id": 1, "name": "Ann Maria Lee", "prefix": None, "first_name": "Ann", "middle_name": "Maria",
        "last_name": "Lee", "suffix": None, "assignee_id": 137658, "company_id": company, "company_name": "Acme",
        "address": {"street": "1 Main St", "city": "Tartu", "state": None, "postal_code": None, "country": "EE"},
        "contact_type_id": 451490, "details": None, "emails": [{"email": "ann@example.com", "category": "work"}],
        "phone_numbers": [{"number": "+37255555", "category": "mobile"}], "socials": [], "tags": ["webinar"],
        "title": "CTO", "websites": [], "custom_fields": [*value(score, 42.0), *value(other, None)],
        "date_created": SECOND, "date_modified": SECOND, "date_last_contacted": None, "interaction_count": 0,
        "leads_converted_from": [], "date_lead_created": None,
    } == made  # fmt: skip
    assert made == await acme.done("GET", "/people/1")
    assert [made] == await acme.done("POST", "/people/search", {"ids": [1, 2]})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "Name: can't be blank"),
        ({"name": " "}, "Name: can't be blank"),
        ({"name": 5}, "Name: can't be blank"),
        (
            {"name": "A", "company_id": "test"},
            "Company Id: Invalid value for Company Id: IDs must be positive integers: test",
        ),
        ({"emails": "a", "nick": 1}, "Base: Unrecognized attributes specified: nick\nName: can't be blank\nEmails: "),
        ({"name": "A", "emails": [{"email": "a"}]}, "Emails: is not a valid e-mail address"),
        ({"name": "A", "emails": [{"email": "a@b.c", "category": "mine"}]}, "Emails: category must be one of"),
        ({"name": "A", "emails": [{"value": "a@b.c"}]}, "Emails: must be an object"),
        ({"name": "A", "assignee_id": 7}, "Assignee Id: Invalid value"),
        ({"name": "A", "contact_type_id": 7}, "Contact Type Id: Invalid value"),
        ({"name": "A", "tags": "a"}, "Tags: must be an array of strings"),
        ({"name": "A", "address": {"zip": "1"}}, "Address: must be an object"),
        ({"name": "A", "title": 5}, "Title: must be a string"),
        ({"name": "A", "custom_fields": {}}, "Custom Fields: must be an array"),
        ({"name": "A", "custom_fields": value(9, 1)}, "Custom Fields: there is no custom field 9"),
    ],
)
async def test_a_body_that_is_not_right_is_refused_with_all_that_is_wrong(acme: World, body: Json, said: str) -> None:
    status, message = await acme.refused("POST", "/people", body)

    assert (422, said) == (status, message[: len(said)])
    assert 0 == len(acme.crm.account.people.rows)


async def test_a_put_changes_what_it_names_and_null_clears(acme: World) -> None:
    one, other = [(await acme.field(name, "Checkbox"))["id"] for name in ("One", "Other")]
    number = await acme.person("Ann Lee", "ann@example.com", title="CTO", custom_fields=value(one, True))
    await acme.done("PUT", f"/people/{number}", {"custom_fields": value(other, False)})
    acme.later(60)

    changed = await acme.done(
        "PUT", f"/people/{number}", {"title": None, "custom_fields": value(one, None), "company_id": None, "id": 9}
    )

    assert (number, "Ann Lee", None, 1) == (changed["id"], changed["name"], changed["title"], len(changed["emails"]))
    assert [None, False] == [custom(changed, one), custom(changed, other)]
    assert SECOND + 60 == changed["date_modified"]
    emails = [{"email": "new@example.com", "category": "personal"}]
    assert emails == (await acme.done("PUT", f"/people/{number}", {"emails": emails}))["emails"]
    renamed = await acme.done("PUT", f"/people/{number}", {"last_name": "Roe"})
    assert ("Ann Roe", "Ann", "Roe") == (renamed["name"], renamed["first_name"], renamed["last_name"])
    assert (422, "Name: can't be blank") == await acme.refused("PUT", f"/people/{number}", {"name": None})


async def test_a_write_that_changes_nothing_moves_no_date_unless_it_does(acme: World) -> None:
    number = await acme.person(title="CTO")
    acme.later(60)

    assert SECOND == (await acme.done("PUT", f"/people/{number}", {"title": "CTO"}))["date_modified"]
    acme.crm.faults.idle_writes_move_date = True
    assert SECOND + 60 == (await acme.done("PUT", f"/people/{number}", {"title": "CTO"}))["date_modified"]
    assert {str(number): 3} == acme.crm.state()["writes"]["person"]


async def test_an_address_is_one_persons_only_but_any_number_of_leads(acme: World) -> None:
    await acme.person("Ann", "Shared@example.com")
    bob = await acme.person("Bob", "bob@example.com")
    taken = {"emails": [{"email": "shared@EXAMPLE.com", "category": "work"}]}

    assert (422, "Emails: already in use") == await acme.refused("POST", "/people", {"name": "C", **taken})
    assert (422, "Emails: already in use") == await acme.refused("PUT", f"/people/{bob}", taken)
    assert [1, 2] == [await acme.lead("One", "shared@example.com"), await acme.lead("Two", "shared@example.com")]
    assert [1, 2] == await acme.found("leads", emails="shared@example.com")
    acme.crm.faults.case_matters = True
    assert 200 == (await acme.call("PUT", f"/people/{bob}", taken)).status_code


async def test_a_person_is_fetched_by_an_address_or_is_404(acme: World) -> None:
    number = await acme.person("Ann", "Ann@example.com", "second@example.com")

    for address in ("ann@EXAMPLE.com", "second@example.com"):
        assert number == (await acme.done("POST", "/people/fetch_by_email", {"email": address}))["id"]
    assert (404, "Resource not found") == await acme.refused("POST", "/people/fetch_by_email", {"email": "x@y.z"})
    assert 422 == (await acme.call("POST", "/people/fetch_by_email", {})).status_code
    acme.crm.faults.case_matters = True
    assert 404 == (await acme.call("POST", "/people/fetch_by_email", {"email": "ann@example.com"})).status_code


async def test_what_is_deleted_or_merged_is_gone_without_trace(acme: World) -> None:
    ann = await acme.person("Ann", "ann@example.com", tags=["a"])
    bob = await acme.person("Bob", "bob@example.com", tags=["b"], title="CTO")
    call = await acme.note("person", bob)

    merged = await acme.edit("merge", "person", bob, into=ann)

    assert ["ann@example.com", "bob@example.com"] == [one["email"] for one in merged["emails"]]
    assert (["a", "b"], "CTO") == (merged["tags"], merged["title"])
    assert {"id": ann, "type": "person"} == (await acme.done("GET", f"/activities/{call}"))["parent"]
    assert 404 == (await acme.call("GET", f"/people/{bob}")).status_code
    assert {"id": ann, "is_deleted": True} == await acme.done("DELETE", f"/people/{ann}")
    assert (404, "Resource not found") == await acme.refused("DELETE", f"/people/{ann}")
    assert [] == await acme.found()
    assert 200 == (await acme.call("POST", "/people", {"name": "C", "emails": merged["emails"]})).status_code


async def test_a_restricted_key_sees_only_what_is_its_users_or_nobodys(acme: World) -> None:
    hers = await acme.person("Ann", "ann@example.com", assignee_id=137658)
    theirs = await acme.person("Bob", "bob@example.com", assignee_id=160001)
    nobodys = await acme.lead("Cid")

    reply = await acme.call("POST", "/people/search", {"sort_by": "name"}, headers=acme.restricted)

    assert ([theirs], "2") == ([one["id"] for one in reply.json()], reply.headers["x-pw-total"])
    for method, path, body in (
        ("GET", f"/people/{hers}", None), ("PUT", f"/people/{hers}", {"title": "X"}),
        ("POST", "/people/fetch_by_email", {"email": "ann@example.com"}),
    ):  # fmt: skip
        assert 404 == (await acme.call(method, path, body, headers=acme.restricted)).status_code
    assert 200 == (await acme.call("GET", f"/leads/{nobodys}", headers=acme.restricted)).status_code
    taken = {"name": "D", "emails": [{"email": "ann@example.com", "category": "work"}]}
    assert 422 == (await acme.call("POST", "/people", taken, headers=acme.restricted)).status_code


# --- Bulk -------------------------------------------------------------------------------------------------------------
async def test_a_bulk_call_is_200_with_what_became_of_each(acme: World) -> None:
    score = (await acme.field("Score", "Float"))["id"]
    ann, bob = await acme.person("Ann", "ann@example.com"), await acme.person("Bob", "bob@example.com")
    items = [
        {"id": ann, "custom_fields": value(score, 7)}, {"id": bob, "name": ""}, {"id": 99, "title": "X"},
        {"id": bob, "emails": [{"email": "ann@example.com"}]}, {"id": bob, "nick": 1}, {"name": "no id"}, "nothing",
    ]  # fmt: skip

    told = await acme.done("POST", "/people/bulk_update", {"people": items})

    assert (ann, 7.0) == (told[0]["id"], custom(told[0], score))
    assert [
        {"success": False, "message": {"name": [{"error": "invalid"}]}, "id": bob},
        {"success": False, "message": {"id": [{"error": "not_found"}]}, "id": 99},
        {"success": False, "message": {"emails": [{"error": "taken"}]}, "id": bob},
        {"success": False, "message": {"base": [{"error": "invalid"}]}, "id": bob},
        {"success": False, "message": {"id": [{"error": "invalid"}]}},
        {"success": False, "message": {"id": [{"error": "invalid"}]}},
    ] == told[1:]
    acme.crm.faults.vague_bulk_errors = True
    assert [{"success": False, "message": {"base": [{"error": "invalid"}]}, "id": 99}] == await acme.done(
        "POST", "/people/bulk_update", {"people": [{"id": 99}]}
    )


async def test_a_bulk_call_takes_ten_records_at_most(acme: World) -> None:
    made = await acme.done("POST", "/people/bulk_create", {"people": [{"name": str(at)} for at in range(10)]})
    too_many = await acme.call("POST", "/people/bulk_create", {"people": [{"name": "A"}] * 11})

    assert list(range(1, 11)) == [one["id"] for one in made]
    assert (422, {"error": "Request size too large, limit is 10"}) == (too_many.status_code, too_many.json())
    assert 422 == (await acme.call("POST", "/people/bulk_create", {"persons": []})).status_code
    leads = await acme.done("POST", "/leads/bulk_create", {"leads": [{"name": "A"}, {}]})
    assert [True, False] == ["id" in one for one in leads]
    assert [1] == [
        one["id"] for one in await acme.done("POST", "/leads/bulk_update", {"leads": [{"id": 1, "title": "B"}]})
    ]
    body = {"parent": {"type": "lead", "id": 1}, "type": {"category": "user", "id": 0}}
    logged = await acme.done("POST", "/activities/bulk_create", {"activities": [body, {}]})
    assert [1, None] == [one.get("id") for one in logged]


# --- Leads ------------------------------------------------------------------------------------------------------------
async def test_a_lead_has_one_address_and_an_id_that_a_person_may_have_too(acme: World) -> None:
    score = (await acme.field("Score", "Float"))["id"]
    assert 1 == await acme.person()

    made = await acme.done(
        "POST", "/leads",
        {"name": "Bob Roe", "email": {"email": "bob@example.com"}, "company_name": "Initech", "monetary_value": 2500,
         "customer_source_id": 331240, "custom_fields": value(score, 17)},
    )  # fmt: skip

    assert {
        "id": 1, "name": "Bob Roe", "prefix": None, "first_name": "Bob", "last_name": "Roe", "middle_name": None,
        "suffix": None, "address": None, "assignee_id": None, "company_name": "Initech", "customer_source_id": 331240,
        "details": None, "email": {"email": "bob@example.com", "category": "work"}, "interaction_count": 0,
        "monetary_unit": None, "monetary_value": 2500, "socials": [], "status": "New", "status_id": 208231, "tags": [],
        "title": None, "websites": [], "phone_numbers": [], "custom_fields": value(score, 17.0),
        "date_created": SECOND, "date_modified": SECOND, "date_last_contacted": None, "converted_opportunity_id": None,
        "converted_contact_id": None, "converted_at": None,
    } == made  # fmt: skip
    assert "Contacted" == (await acme.done("PUT", "/leads/1", {"status_id": 208233}))["status"]
    assert 208234 == (await acme.done("PUT", "/leads/1", {"status": "Qualified", "email": None}))["status_id"]
    assert (422, "Status Id: can't be blank") == await acme.refused("PUT", "/leads/1", {"status_id": None})
    assert {"id": 1, "is_deleted": True} == await acme.done("DELETE", "/leads/1")
    assert 404 == (await acme.call("GET", "/leads/1")).status_code
    assert "Ann Lee" == (await acme.done("GET", "/people/1"))["name"]


async def test_a_converted_lead_leaves_search_and_becomes_a_person(acme: World) -> None:
    score = (await acme.field("Score", "Float"))["id"]
    ahead = await acme.person()
    lead = await acme.lead("Bob Roe", "bob@example.com", company_name="Initech", custom_fields=value(score, 17))
    call = await acme.note("lead", lead)
    acme.later(60)

    assert 422 == (await acme.call("POST", f"/leads/{lead}/convert", {"details": {"person": {"name": 5}}})).status_code
    told = await acme.done("POST", f"/leads/{lead}/convert", {"details": {"opportunity": {"name": "Big"}}})

    person = told["person"]
    assert (ahead + 1, [lead], "Initech", 17.0) == (
        person["id"], person["leads_converted_from"], person["company_name"], custom(person, score)
    )  # fmt: skip
    assert ("Initech", "Big") == (told["company"]["name"], told["opportunity"]["name"])
    assert ([], [lead]) == (await acme.found("leads"), await acme.found("leads", include_converted_leads=True))
    assert [] == await acme.found("leads", ids=[lead])
    dead = await acme.done("GET", f"/leads/{lead}")
    assert (person["id"], 1, SECOND + 60, SECOND + 60) == (
        dead["converted_contact_id"], dead["converted_opportunity_id"], dead["converted_at"], dead["date_modified"]
    )  # fmt: skip
    assert {"id": person["id"], "type": "person"} == (await acme.done("GET", f"/activities/{call}"))["parent"]
    assert person["id"] == (await acme.done("GET", "/opportunities/1"))["primary_contact_id"]
    assert 422 == (await acme.call("POST", f"/leads/{lead}/convert")).status_code


async def test_what_a_converted_lead_answers_is_for_the_switches_to_say(acme: World) -> None:
    lead = await acme.lead("Bob Roe", "bob@example.com")
    await acme.person("Robert", "BOB@example.com")
    joined = await acme.edit("convert", "lead", lead)

    assert ("Robert", [lead]) == (joined["person"]["name"], joined["person"]["leads_converted_from"])
    assert 200 == (await acme.call("PUT", f"/leads/{lead}", {"title": "X"})).status_code
    acme.crm.faults.converted_leads_locked = True
    assert 422 == (await acme.call("PUT", f"/leads/{lead}", {"title": "X"})).status_code
    acme.crm.faults.converted_leads_gone = True
    for method in ("GET", "PUT", "DELETE"):
        assert 404 == (await acme.call(method, f"/leads/{lead}", {})).status_code


async def test_an_upsert_makes_changes_or_refuses_by_how_many_match(acme: World) -> None:
    score = (await acme.field("Score", "Float"))["id"]

    async def upsert(field: str, match: Json, **properties: Json) -> Json:
        body = {"properties": properties, "match": {"field_name": field, "field_value": match}}
        return (await acme.call("PUT", "/leads/upsert", body)).json()

    made = await upsert("email", "bob@example.com", name="Bob", email={"email": "bob@example.com"})
    changed = await upsert("email", "BOB@example.com", custom_fields=value(score, 7))
    assert (made["id"], 7.0) == (changed["id"], custom(changed, score))
    matched = await upsert("custom", {"custom_field_definition_id": score, "value": 7}, name="Robert")
    assert (made["id"], "Robert") == (matched["id"], matched["name"])

    other = await acme.lead("Robert")
    several = await upsert("name", "robert", title="X")
    assert (422, True) == (several["status"], several["message"].endswith(f": {made['id']}, {other}"))
    for _ in range(29):
        await acme.lead("Robert")
    assert (await upsert("name", "robert", title="X"))["message"].endswith("More than one lead matches")
    assert 422 == (await upsert("company", "x"))["status"]
    assert 422 == (await upsert("custom", {"custom_field_definition_id": 1, "value": 7}, name="A"))["status"]
    acme.crm.faults.unfilterable_fields = True
    dull = (await acme.field("Dull", "Float"))["id"]
    assert 422 == (await upsert("custom", {"custom_field_definition_id": dull, "value": 7}, name="A"))["status"]


async def test_relations_say_who_belongs_to_what(acme: World) -> None:
    company = acme.crm.account.company("Acme")
    person = await acme.person(company_id=company)
    deal = (await acme.edit("create", "opportunity", name="Big", primary_contact_id=person))["id"]

    assert [{"id": company, "type": "company"}, {"id": deal, "type": "opportunity"}] == await acme.done(
        "GET", f"/people/{person}/related"
    )
    assert [{"id": person, "type": "person"}] == await acme.done("GET", f"/companies/{company}/related/people")
    assert [{"id": company, "type": "company"}] == await acme.done("GET", f"/opportunities/{deal}/related/companies")
    assert [person] == await acme.found(opportunity_ids=[deal])
    for path in ("/people/9/related", "/dogs/1/related", f"/people/{person}/related/dogs"):
        assert 404 == (await acme.call("GET", path)).status_code
