"""What Salesforce's API is like on the wire, and what goes wrong with it, told by its stand-in."""

import base64
import hashlib
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest

from app.sandbox.salesforce.wire import long_id
from tests.sandbox.salesforce_world import NOW, URL, Json, V, World, field, world

STAMP = "2026-10-20T10:00:00.000+0000"
EXTERNAL: dict[str, object] = {"type": "Text", "length": 20, "externalId": True}
UNKNOWN = "003S7000000zzzzIAA"


@pytest.fixture
async def org() -> AsyncIterator[World]:
    async with world() as made:
        yield made


# --- signing in -------------------------------------------------------------------------------------------------------


async def test_client_credentials_by_form_or_basic_give_a_token_that_says_who_we_are(org: World) -> None:
    by_form = await org.token(grant_type="client_credentials", client_id="key", client_secret="secret")
    basic = await org.http.post(
        "/services/oauth2/token", data={"grant_type": "client_credentials"}, auth=("key", "secret")
    )

    assert {
        "access_token", "signature", "scope", "token_format", "instance_url", "id", "token_type", "issued_at",
    } == by_form.keys() == basic.json().keys()  # fmt: skip
    assert (URL, "Bearer", "1792490400000") == (by_form["instance_url"], by_form["token_type"], by_form["issued_at"])
    assert by_form["id"].endswith(org.crm.credentials(URL)["user_id"])
    about = await org.http.get(by_form["id"], headers={"Authorization": f"Bearer {by_form['access_token']}"})
    assert "integration@example.com" == about.json()["preferred_username"]


@pytest.mark.parametrize(
    ("form", "error", "description"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type", "grant type not supported"),
        ({}, "unsupported_grant_type", "grant type not supported"),
        ({"grant_type": "client_credentials", "client_id": "x"}, "invalid_client_id", "client identifier invalid"),
        (
            {"grant_type": "client_credentials", "client_id": "key", "client_secret": "x"},
            "invalid_client",
            "invalid client credentials",
        ),
        ({"grant_type": "client_credentials", "client_id": "key"}, "invalid_client", "invalid client credentials"),
        (
            {"grant_type": "refresh_token", "client_id": "key", "refresh_token": "x"},
            "invalid_grant",
            "expired access/refresh token",
        ),
        (
            {"grant_type": "authorization_code", "client_id": "key", "client_secret": "secret", "code": "x"},
            "invalid_grant",
            "expired authorization code",
        ),
        (
            {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer"},
            "invalid_client_id",
            "client identifier invalid",
        ),
    ],
)
async def test_the_token_endpoint_refuses_with_an_object(
    org: World, form: dict[str, str], error: str, description: str
) -> None:
    assert {"error": error, "error_description": description} == await org.token(400, **form)


async def test_the_token_endpoint_refuses_for_what_an_admin_has_to_mend(org: World) -> None:
    for description, error in [
        ("no client credentials user enabled", "invalid_grant"),
        ("request not supported on this domain", "invalid_grant"),
        ("user is not admin approved to access this app", "invalid_app_access"),
    ]:
        org.crm.faults.login = description
        said = await org.token(400, grant_type="client_credentials", client_id="key", client_secret="secret")
        assert {"error": error, "error_description": description} == said


ASSERTIONS: list[tuple[dict[str, Any], int]] = [
    ({}, 200),
    ({"exp": str(int(NOW.timestamp()) + 180)}, 200),
    ({"aud": "https://test.salesforce.com"}, 200),
    ({"exp": int(NOW.timestamp()) - 1}, 400),
    ({"exp": int(NOW.timestamp()) + 3600}, 400),
    ({"exp": [1]}, 400),
    ({"aud": "https://elsewhere.example"}, 400),
    ({"sub": "somebody@example.com"}, 400),
    ({"iss": "another"}, 400),
]


async def test_an_assertion_is_taken_by_the_apps_key_for_the_approved_user(org: World) -> None:
    key = org.crm.credentials(URL)["private_key"]
    standard = {"iss": "key", "sub": "integration@example.com", "aud": "https://login.salesforce.com"}
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer"}
    for claims, status in ASSERTIONS:
        said = standard | {"exp": int(NOW.timestamp()) + 180} | claims
        # What a JWT library would refuse to make is made by hand.
        assertion = jwt.api_jws.encode(json.dumps(said).encode(), key, algorithm="RS256")
        await org.token(status, **form, assertion=assertion)
        await org.token(400, **form, assertion=f"{assertion[:-8]}AAAAAAAA")


async def authorized(org: World, **more: str) -> dict[str, str]:
    """The reply to a code, by way of the browser."""
    verifier = "v" * 60
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    query = {
        "response_type": "code", "client_id": "key", "redirect_uri": "http://localhost/back", "state": "s 1",
        "code_challenge": challenge, "code_challenge_method": "S256",
    }  # fmt: skip
    sent_to = (await org.http.get("/services/oauth2/authorize", params=query)).headers["location"]
    back = parse_qs(urlsplit(sent_to).query)
    assert ["s 1"] == back["state"]
    form = {
        "grant_type": "authorization_code", "code": back["code"][0], "client_id": "key", "client_secret": "secret",
        "redirect_uri": "http://localhost/back", "code_verifier": verifier,
    }  # fmt: skip
    reply = await org.http.post("/services/oauth2/token", data=form | more)
    return dict(reply.json())


async def refreshed(org: World, token: str, status: int = 200) -> Json:
    return await org.token(status, grant_type="refresh_token", client_id="key", refresh_token=token)


async def test_a_code_needs_its_verifier_and_its_address(org: World) -> None:
    assert "refresh_token" in await authorized(org)
    assert "invalid_grant" == (await authorized(org, code_verifier="w" * 60))["error"]
    assert "redirect_uri_mismatch" == (await authorized(org, redirect_uri="http://localhost/other"))["error"]


async def test_a_refresh_token_comes_again_only_where_it_rotates_and_a_dead_one_ends_all(org: World) -> None:
    first = await authorized(org)
    assert "refresh_token" not in await refreshed(org, first["refresh_token"])
    org.crm.faults.rotate_refresh_tokens = True
    second = await refreshed(org, first["refresh_token"])

    assert second["refresh_token"] != first["refresh_token"]
    await refreshed(org, first["refresh_token"], 400)
    await refreshed(org, second["refresh_token"], 400)
    org.http.headers["Authorization"] = f"Bearer {second['access_token']}"
    await org.get("limits", 401)


async def test_a_users_sixth_authorization_ends_the_first(org: World) -> None:
    tokens = [(await authorized(org))["refresh_token"] for _ in range(6)]

    await refreshed(org, tokens[0], 400)
    await refreshed(org, tokens[1])


async def test_revoking_a_refresh_token_ends_what_it_gave(org: World) -> None:
    given = await authorized(org)
    revoked = await org.http.post("/services/oauth2/revoke", data={"token": given["refresh_token"]})

    assert (200, b"") == (revoked.status_code, revoked.content)
    await refreshed(org, given["refresh_token"], 400)


async def test_a_token_ends_after_two_hours_without_use_or_after_so_many_calls(org: World) -> None:
    ended = [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]
    await org.later(7_000)
    await org.get("limits")
    await org.later(7_000)
    await org.get("limits")
    await org.later(7_201)
    assert ended == await org.get("limits", 401)

    await org.sign_in()
    org.crm.faults.token_calls = 2
    await org.get("limits")
    await org.get("limits")
    assert ended == await org.get("limits", 401)


async def test_versions_need_no_token_and_calls_do(org: World) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(org.crm.app), base_url=URL) as http:
        assert "62.0" in {one["version"] for one in (await http.get("/services/data/")).json()}
        assert 401 == (await http.get(f"{V}/limits")).status_code
        assert 401 == (await http.get(f"{V}/limits", headers={"Authorization": "Basic a2V5OnNlY3JldA=="})).status_code


# --- limits and failures ----------------------------------------------------------------------------------------------


async def test_the_limit_counts_down_to_a_refusal_and_begins_anew_after_a_day(org: World) -> None:
    org.crm.faults.daily_limit = 2

    reply = await org.http.get(f"{V}/limits")
    assert "api-usage=1/2" == reply.headers["sforce-limit-info"]
    assert {"Max": 2, "Remaining": 1} == reply.json()["DailyApiRequests"]
    await org.get("limits")
    refused = [{"message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}]
    assert refused == await org.get("limits", 403)
    assert "retry-after" not in (await org.http.get(f"{V}/limits")).headers
    org.crm.clock.move(timedelta(hours=1))
    await org.get("limits", 403)
    org.crm.clock.move(timedelta(minutes=50))
    org.crm.clock.move(timedelta(hours=23))
    await org.sign_in()
    await org.get("limits")


async def test_failures_come_in_their_order_and_a_lost_reply_did_its_work(org: World) -> None:
    id_ = await org.create()
    org.crm.faults.fail_next = ["html_502", "unavailable", "query_timeout", "busy", "no_rest", "lost_reply"]

    replies = [await org.http.patch(f"{V}/sobjects/Contact/{id_}", json={"Title": "Done"}) for _ in range(6)]

    assert [502, 503, 400, 403, 401, 502] == [reply.status_code for reply in replies]
    assert ["text/html", "SERVER_UNAVAILABLE", "QUERY_TIMEOUT", "REQUEST_LIMIT_EXCEEDED", "INVALID_SESSION_ID"] == [
        reply.headers["content-type"] if "html" in reply.headers["content-type"] else reply.json()[0]["errorCode"]
        for reply in replies[:5]
    ]
    assert "Done" == (await org.get(f"sobjects/Contact/{id_}"))["Title"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "nothing", 404, "NOT_FOUND"),
        ("GET", "sobjects/Nothing/describe", 404, "NOT_FOUND"),
        ("PUT", "sobjects/Contact", 405, "METHOD_NOT_ALLOWED"),
        ("GET", f"sobjects/Contact/{UNKNOWN}", 404, "NOT_FOUND"),
        ("GET", "sobjects/Contact/not-an-id", 404, "NOT_FOUND"),
        ("PATCH", f"sobjects/Contact/{UNKNOWN}", 404, "NOT_FOUND"),
        ("GET", "sobjects/Contact/Phone/1", 404, "NOT_FOUND"),
        ("GET", "query", 400, "MALFORMED_QUERY"),
        ("GET", "query/01gS70000000001IAA-2000", 400, "INVALID_QUERY_LOCATOR"),
        ("GET", "jobs/ingest/750S70000000001IAA", 404, "NOT_FOUND"),
    ],
)
async def test_what_there_is_not(org: World, method: str, path: str, status: int, code: str) -> None:
    assert code == (await org.call(method, path, {}, status))[0]["errorCode"]


# --- describe and access ----------------------------------------------------------------------------------------------


async def test_describe_tells_types_and_rights_and_is_cheap_when_nothing_changed(org: World) -> None:
    reply = await org.http.get(f"{V}/sobjects/Contact/describe")
    fields = {one["name"]: one for one in reply.json()["fields"]}

    assert ("003", True) == (reply.json()["keyPrefix"], reply.json()["updateable"])
    assert ("Email Opt Out", "boolean", True) == tuple(
        fields["HasOptedOutOfEmail"][name] for name in ("label", "type", "updateable")
    )
    assert [False, False, False] == [fields[one]["updateable"] for one in ("IsEmailBounced", "SystemModstamp", "Name")]
    assert (80, False) == (fields["LastName"]["length"], fields["LastName"]["nillable"])
    assert ["Account"] == fields["AccountId"]["referenceTo"]
    since = {"If-Modified-Since": reply.headers["last-modified"]}
    assert 304 == (await org.http.get(f"{V}/sobjects/Contact/describe", headers=since)).status_code
    await org.later(1)
    await org.edit(**field("Fit__c"))
    assert 200 == (await org.http.get(f"{V}/sobjects/Contact/describe", headers=since)).status_code


async def test_a_hidden_field_is_absent_and_refused(org: World) -> None:
    id_ = await org.create()
    org.crm.faults.hidden_fields = ["Contact.HasOptedOutOfEmail"]

    names = {one["name"] for one in (await org.get("sobjects/Contact/describe"))["fields"]}
    assert "HasOptedOutOfEmail" not in names
    [unread] = await org.get("query", 400, q="SELECT Id, HasOptedOutOfEmail FROM Contact")
    assert "INVALID_FIELD" == unread["errorCode"]
    assert unread["message"].startswith(
        "\nSELECT Id, HasOptedOutOfEmail FROM Contact\n           ^\nERROR at Row:1:Column:12\n"
        "No such column 'HasOptedOutOfEmail' on entity 'Contact'."
    )
    [unwritten] = await org.update({"id": id_, "HasOptedOutOfEmail": True})
    assert ("INVALID_FIELD_FOR_INSERT_UPDATE", ["HasOptedOutOfEmail"]) == (
        unwritten["errors"][0]["statusCode"],
        unwritten["errors"][0]["fields"],
    )


async def test_a_field_made_by_tooling_is_seen_by_nobody_until_it_is_granted(org: World) -> None:
    metadata = {"label": "Lead Score: Fit", "type": "Number", "precision": 6, "scale": 0, "required": False}
    body = {"FullName": "Contact.Lead_Score_Fit__c", "Metadata": metadata}
    asked = (
        "SELECT Id, DeveloperName FROM CustomField WHERE TableEnumOrId = 'Contact' AND DeveloperName = 'Lead_Score_Fit'"
    )

    async def is_described() -> bool:
        return "Lead_Score_Fit__c" in {one["name"] for one in (await org.get("sobjects/Contact/describe"))["fields"]}

    none = await org.get("tooling/query/", q=asked)
    assert {
        "size": 0, "totalSize": 0, "done": True, "queryLocator": None, "entityTypeName": "CustomField", "records": [],
    } == none  # fmt: skip
    org.crm.faults.no_customize = True
    assert "INSUFFICIENT_ACCESS" == (await org.call("POST", "tooling/sobjects/CustomField/", body, 403))[0]["errorCode"]
    org.crm.faults.no_customize = False
    made = await org.call("POST", "tooling/sobjects/CustomField/", body, 201)
    [again] = await org.call("POST", "tooling/sobjects/CustomField/", body, 400)

    assert "DUPLICATE_DEVELOPER_NAME" == again["errorCode"]
    assert made["id"] == (await org.get("tooling/query", q=asked))["records"][0]["Id"]
    assert not await is_described()
    parent = (await org.call("POST", "sobjects/PermissionSet", {"Name": "Scores", "Label": "Scores"}, 201))["id"]
    access = {"ParentId": parent, "SobjectType": "Contact", "Field": body["FullName"], "PermissionsRead": True}
    await org.call("POST", "sobjects/FieldPermissions", access | {"PermissionsEdit": True}, 201)
    assert not await is_described()
    us = org.crm.credentials(URL)["user_id"]
    await org.call("POST", "sobjects/PermissionSetAssignment", {"AssigneeId": us, "PermissionSetId": parent}, 201)
    assert await is_described()
    id_ = await org.create(Lead_Score_Fit__c=-999.6)
    assert -1000.0 == (await org.get(f"sobjects/Contact/{id_}"))["Lead_Score_Fit__c"]


@pytest.mark.parametrize(
    ("name", "metadata"),
    [
        ("Contact.Two__Lines__c", {}),
        ("Contact.9th__c", {}),
        ("Contact.Fit", {}),
        (f"Contact.{'x' * 41}__c", {}),
        ("Nothing.Fit__c", {}),
        ("Contact.Fit__c", {"type": "Score"}),
        ("Contact.Fit__c", {"precision": 19}),
        ("Contact.Fit__c", {"label": ""}),
        ("Contact.Fit__c", {"type": "Text"}),
        ("Contact.Fit__c", {"type": "Checkbox", "externalId": True}),
    ],
)
async def test_a_field_with_a_bad_name_or_type_is_refused(org: World, name: str, metadata: dict[str, Json]) -> None:
    kind = {"label": "Fit", "type": "Number", "precision": 6, "scale": 0} | metadata
    await org.call("POST", "tooling/sobjects/CustomField", {"FullName": name, "Metadata": kind}, 400)


async def test_a_new_field_may_be_late_in_describe(org: World) -> None:
    org.crm.faults.describe_lag = 2
    await org.edit(**field("Fit__c"))

    described = [(await org.get("sobjects/Contact/describe"))["fields"] for _ in range(3)]

    assert [False, False, True] == [any(one["name"] == "Fit__c" for one in fields) for fields in described]


# --- one record -------------------------------------------------------------------------------------------------------


async def test_a_record_is_made_read_changed_and_deleted(org: World) -> None:
    id_ = await org.create(FirstName="Ada", Email="ada@example.com", HasOptedOutOfEmail=True)
    await org.later(61)
    await org.call("PATCH", f"sobjects/Contact/{id_[:15]}", {"FirstName": None}, 204)
    read = await org.get(f"sobjects/Contact/{id_}", fields="Id,Name,HasOptedOutOfEmail,SystemModstamp,CreatedDate")

    assert {
        "attributes": {"type": "Contact", "url": f"{V}/sobjects/Contact/{id_}"}, "Id": id_, "Name": "Doe",
        "HasOptedOutOfEmail": True, "SystemModstamp": "2026-10-20T10:01:01.000+0000", "CreatedDate": STAMP,
    } == read  # fmt: skip
    assert id_ == long_id(id_[:15])
    await org.call("DELETE", f"sobjects/Contact/{id_}", None, 204)
    gone = [{"message": "The requested resource does not exist", "errorCode": "NOT_FOUND"}]
    assert gone == await org.get(f"sobjects/Contact/{id_}", 404)
    [dead] = await org.call("PATCH", f"sobjects/Contact/{id_}", {"FirstName": "A"}, 404)
    assert ("ENTITY_IS_DELETED", "entity is deleted") == (dead["errorCode"], dead["message"])


@pytest.mark.parametrize(
    ("values", "code", "fields"),
    [
        ({"LastName": None}, "REQUIRED_FIELD_MISSING", ["LastName"]),
        ({"Email": "nobody"}, "INVALID_EMAIL_ADDRESS", ["Email"]),
        ({"Title": "x" * 129}, "STRING_TOO_LONG", ["Title"]),
        ({"Fit__c": 1_000_000}, "NUMBER_OUTSIDE_VALID_RANGE", ["Fit__c"]),
        ({"Kind__c": "other"}, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", ["Kind__c"]),
        ({"IsEmailBounced": True}, "INVALID_FIELD_FOR_INSERT_UPDATE", ["IsEmailBounced"]),
        ({"SystemModstamp": STAMP}, "INVALID_FIELD_FOR_INSERT_UPDATE", ["SystemModstamp"]),
        ({"AccountId": "x"}, "MALFORMED_ID", ["AccountId"]),
        ({"AccountId": UNKNOWN}, "FIELD_INTEGRITY_EXCEPTION", ["AccountId"]),
        ({"AccountId": "001S7000000zzzzIAA"}, "INVALID_CROSS_REFERENCE_KEY", ["AccountId"]),
        ({"HasOptedOutOfEmail": None}, "INVALID_TYPE_ON_FIELD_IN_RECORD", ["HasOptedOutOfEmail"]),
        ({"Nonsense__c": 1}, "INVALID_FIELD", None),
        ({"HasOptedOutOfEmail": "yes"}, "JSON_PARSER_ERROR", None),
        ({"Fit__c": "72"}, "JSON_PARSER_ERROR", None),
        ({"EmailBouncedDate": "yesterday"}, "JSON_PARSER_ERROR", None),
        ({"Birthdate": "2026-02-30"}, "JSON_PARSER_ERROR", None),
        ({"Title": {"a": 1}}, "JSON_PARSER_ERROR", None),
    ],
)
async def test_a_value_that_does_not_fit_is_refused_with_its_code(
    org: World, values: dict[str, Json], code: str, fields: list[str] | None
) -> None:
    await org.edit(**field("Fit__c"))
    listed = {"restricted": True, "valueSetDefinition": {"value": [{"fullName": "one"}]}}
    await org.edit(**field("Kind__c", type="Picklist", valueSet=listed))
    id_ = await org.create(FirstName="Ada")

    [fault] = await org.call("PATCH", f"sobjects/Contact/{id_}", {"FirstName": "Bob"} | values, 400)

    assert (code, fields) == (fault["errorCode"], fault.get("fields"))
    assert "Ada" == (await org.get(f"sobjects/Contact/{id_}"))["FirstName"]


async def test_what_a_new_record_lacks_is_named(org: World) -> None:
    assert [
        {
            "message": "Required fields are missing: [LastName, Company]", "errorCode": "REQUIRED_FIELD_MISSING",
            "fields": ["LastName", "Company"],
        }
    ] == await org.call("POST", "sobjects/Lead", {"Email": "a@example.com"}, 400)  # fmt: skip


async def test_bounce_fields_drive_the_derived_flag(org: World) -> None:
    id_ = await org.create(Email="a@example.com")
    bounced = {"EmailBouncedDate": "2026-10-19T08:00:00.000+02:00", "EmailBouncedReason": "550 no such user"}
    await org.update({"id": id_} | bounced)
    read = await org.get(f"sobjects/Contact/{id_}")
    assert (True, "2026-10-19T06:00:00.000+0000") == (read["IsEmailBounced"], read["EmailBouncedDate"])

    await org.update({"id": id_, "Email": "b@example.com"})
    assert (await org.get(f"sobjects/Contact/{id_}"))["IsEmailBounced"]
    org.crm.faults.email_change_clears_bounce = True
    await org.update({"id": id_, "Email": "c@example.com"})
    assert not (await org.get(f"sobjects/Contact/{id_}"))["IsEmailBounced"]


async def test_an_upsert_makes_or_changes_and_tells_several(org: World) -> None:
    await org.edit(**field("Ext_Id__c", **EXTERNAL))
    path = "sobjects/Contact/Ext_Id__c/a%2F1"
    made = await org.call("PATCH", path, {"LastName": "Doe"}, 201)
    again = await org.call("PATCH", path, {"FirstName": "Jo"})

    assert {"id": made["id"], "success": True, "errors": [], "created": True} == made
    assert made | {"created": False} == again
    read = await org.get(path)
    assert ("Jo", "a/1") == (read["FirstName"], read["Ext_Id__c"])
    other = await org.create(Ext_Id__c="a/1")
    expected = [f"{V}/sobjects/Contact/{id_}" for id_ in (made["id"], other)]
    assert expected == await org.call("PATCH", path, {"FirstName": "Bo"}, 300)
    assert expected == await org.get(path, 300)
    await org.call("PATCH", "sobjects/Contact/Ext_Id__c/b?updateOnly=true", {"LastName": "Doe"}, 404)
    await org.update({"id": made["id"], "Ext_Id__c": "b"})
    assert [other, made["id"]] == [(await org.get(f"sobjects/Contact/Ext_Id__c/{one}"))["Id"] for one in ("a%2F1", "b")]


async def test_a_duplicate_rule_stops_a_second_person_unless_told_to_save(org: World) -> None:
    await org.create(Email="a@example.com")
    org.crm.faults.duplicate_rule = True
    lead = {"LastName": "Doe", "Company": "Acme", "Email": "A@example.com"}

    assert "DUPLICATES_DETECTED" == (await org.call("POST", "sobjects/Lead", lead, 400))[0]["errorCode"]
    await org.call("POST", "sobjects/Lead", lead, 201, headers={"Sforce-Duplicate-Rule-Header": "allowSave=true"})


async def test_a_converted_lead_is_read_only_and_names_its_contact(org: World) -> None:
    await org.edit(**field("Fit__c") | {"object": "Lead"})
    await org.edit(**field("Fit__c"))
    id_ = (await org.call("POST", "sobjects/Lead", {"LastName": "Doe", "Company": "Acme", "Fit__c": 5}, 201))["id"]
    task = (await org.edit(do="log", id=id_))["id"]
    contact = (await org.edit(do="convert", id=id_))["id"]

    [fault] = await org.call("PATCH", f"sobjects/Lead/{id_}", {"Title": "T"}, 400)
    assert {
        "message": "cannot reference converted lead", "errorCode": "CANNOT_UPDATE_CONVERTED_LEAD", "fields": [],
    } == fault  # fmt: skip
    lead = await org.get(f"sobjects/Lead/{id_}")
    assert (True, contact, "2026-10-20") == tuple(
        lead[name] for name in ("IsConverted", "ConvertedContactId", "ConvertedDate")
    )
    read = await org.get(f"sobjects/Contact/{contact}")
    assert ("Doe", None) == (read["Name"], read["Fit__c"])
    assert contact == (await org.get(f"sobjects/Task/{task}"))["WhoId"]


async def test_merged_contacts_point_at_the_winner_in_query_all_alone(org: World) -> None:
    winner, loser, plain = [await org.create() for _ in range(3)]
    task = (await org.edit(do="log", id=loser, fields={"Subject": "Call"}))["id"]
    await org.later(60)
    await org.edit(do="merge", id=winner, losers=[loser])
    await org.edit(do="delete", id=plain)

    soql = f"SELECT Id, IsDeleted, MasterRecordId FROM Contact WHERE SystemModstamp > {STAMP.replace('+0000', 'Z')}"
    assert {(loser, True, winner), (plain, True, None), (winner, False, None)} == {
        (one["Id"], one["IsDeleted"], one["MasterRecordId"]) for one in await org.query(soql, "queryAll")
    }
    assert [winner] == [one["Id"] for one in await org.query(soql)]
    assert winner == (await org.get(f"sobjects/Task/{task}"))["WhoId"]
    [fault] = await org.update({"id": loser, "Title": "T"})
    assert "ENTITY_IS_DELETED" == fault["errors"][0]["statusCode"]
    await org.edit(do="undelete", id=plain)
    assert plain in {one["Id"] for one in await org.query("SELECT Id FROM Contact")}
    await org.edit(do="purge", id=plain)
    assert plain not in {one["Id"] for one in await org.query("SELECT Id FROM Contact", "queryAll")}


async def test_history_says_who_changed_an_opt_out_if_it_is_tracked(org: World) -> None:
    id_ = await org.create()
    await org.edit(do="change", id=id_, by="sales", fields={"HasOptedOutOfEmail": True})
    soql = (
        f"SELECT Field, OldValue, NewValue, CreatedById, CreatedBy.Name FROM ContactHistory WHERE ContactId = '{id_}'"
    )

    [row] = await org.query(soql)
    assert ("HasOptedOutOfEmail", False, True, "Sam Sales") == (
        row["Field"], row["OldValue"], row["NewValue"], row["CreatedBy"]["Name"],
    )  # fmt: skip
    org.crm.faults.no_history = True
    assert "INVALID_TYPE" == (await org.get("query", 400, q=soql))[0]["errorCode"]
    assert "INVALID_TYPE" == (await org.get("query", 400, q="SELECT Id FROM TaskRelation"))[0]["errorCode"]


async def test_an_activity_moves_its_date_and_nothing_else_of_the_person(org: World) -> None:
    id_ = await org.create()
    await org.later(3600)
    task = {"WhoId": id_, "Subject": "Lead became hot", "Status": "Completed", "ActivityDate": "2026-10-21"}
    made = (await org.call("POST", "sobjects/Task", task, 201))["id"]
    await org.edit(do="log", id=id_, object="Event", fields={"StartDateTime": "2026-10-18T09:00:00Z"})

    person = await org.get(f"sobjects/Contact/{id_}")
    assert ("2026-10-21", STAMP) == (person["LastActivityDate"], person["SystemModstamp"])
    [read] = await org.query(
        f"SELECT Id, IsClosed, CompletedDateTime, Who.Name, Who.Type FROM Task WHERE WhoId = '{id_}'"
    )
    assert (made, True, "2026-10-20T11:00:00.000+0000") == (read["Id"], read["IsClosed"], read["CompletedDateTime"])
    assert ("Doe", "Contact") == (read["Who"]["Name"], read["Who"]["Type"])
    [event] = await org.query("SELECT ActivityDate FROM Event")
    assert "2026-10-18" == event["ActivityDate"]


async def test_flows_and_other_tools_answer_our_writes(org: World) -> None:
    id_ = await org.create()
    us = org.crm.credentials(URL)["user_id"]
    org.crm.faults.flow_sets = {"Department": "Checked", "Nonsense__c": 1, "Birthdate": "x"}
    await org.later(60)
    await org.update({"id": id_, "Title": "T"})
    read = await org.get(f"sobjects/Contact/{id_}")
    assert ("T", "Checked", us) == tuple(read[one] for one in ("Title", "Department", "LastModifiedById"))

    org.crm.faults.opt_out_flips_back = True
    await org.update({"id": id_, "HasOptedOutOfEmail": True})
    read = await org.get(f"sobjects/Contact/{id_}")
    assert not read["HasOptedOutOfEmail"]
    assert us != read["LastModifiedById"]
    await org.edit(do="change", id=id_, fields={"HasOptedOutOfEmail": True})
    assert (await org.get(f"sobjects/Contact/{id_}"))["HasOptedOutOfEmail"]
