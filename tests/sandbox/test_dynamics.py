"""The stand-in Dynamics 365: signing in, who may do what, rows, metadata, limits."""

import time
from collections.abc import AsyncIterator
from urllib.parse import parse_qsl, urlsplit

import jwt
import pytest

from app.sandbox.dynamics import Dynamics
from app.sandbox.people import people
from tests.sandbox.dynamics_world import API, CRM, NOBODY, NOW, STAMP, URL, Json, World, column, label, world

BACK = "http://us.test/back"
ATTRIBUTES = "EntityDefinitions(LogicalName='contact')/Attributes"


@pytest.fixture
async def org() -> AsyncIterator[World]:
    async with world() as made:
        yield made


# --- signing in -------------------------------------------------------------------------------------------------------


async def test_a_token_lives_an_hour_and_tells_who_we_are(org: World) -> None:
    keys = org.crm.credentials(URL)

    assert {"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599} == {
        name: value for name, value in (await org.token()).items() if name != "access_token"
    }
    assert keys["user_id"] == (await org.get("WhoAmI"))["UserId"]
    await org.later(3_599)
    assert keys["organization_id"] == (await org.get("WhoAmI"))["OrganizationId"]
    await org.later(1)
    reply = await org.call("GET", "WhoAmI", status=401)
    assert b"" == reply.content
    assert f"/{keys['tenant_id']}/oauth2/authorize, resource_id={URL}/" in reply.headers["WWW-Authenticate"]


async def test_a_token_ends_in_the_middle_of_a_walk(org: World) -> None:
    for _ in range(3):
        await org.create()
    org.crm.faults.token_calls = 4

    page = await org.get("contacts?$select=lastname", Prefer="odata.maxpagesize=1")

    await org.call("GET", page["@odata.nextLink"], status=401)
    await org.sign_in()
    assert 1 == len((await org.get(page["@odata.nextLink"], Prefer="odata.maxpagesize=1"))["value"])


@pytest.mark.parametrize(
    ("form", "status", "error", "number"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client", 7000215),
        ({"client_id": NOBODY}, 400, "unauthorized_client", 700016),
        ({"tenant": NOBODY}, 400, "invalid_request", 90002),
        ({"scope": "http://other.test/.default"}, 400, "invalid_resource", 500011),
        ({"scope": f"{URL}//.default"}, 400, "invalid_resource", 500011),
        ({"scope": URL}, 400, "invalid_resource", 500011),
        ({"grant_type": "password"}, 400, "unsupported_grant_type", 70003),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, 400, "invalid_grant", 700082),
    ],
)
async def test_entra_says_what_is_wrong(org: World, form: dict[str, str], status: int, error: str, number: int) -> None:
    said = await org.token(status, **form)

    assert (error, [number]) == (said["error"], said["error_codes"])
    assert said["error_description"].startswith(f"AADSTS{number}: ")
    assert "2026-10-20 10:00:00Z" == said["timestamp"]


async def test_a_secret_expires(org: World) -> None:
    org.crm.faults.secret_expired = True

    assert [7000222] == (await org.token(401))["error_codes"]


async def test_the_old_endpoint_takes_a_resource(org: World) -> None:
    given = await org.token(path="oauth2/token", scope="", resource=f"{URL}/")

    assert 3599 == given["expires_in"]


async def test_a_token_is_good_for_its_own_environment_alone(org: World) -> None:
    reply = await org.http.get("http://other.test/api/data/v9.2/WhoAmI")

    assert 401 == reply.status_code


@pytest.mark.parametrize(
    ("claims", "heading", "status"),
    [
        ({}, {}, 200),
        ({"aud": "http://other.test"}, {}, 401),
        ({"iss": NOBODY}, {}, 401),
        ({"exp": int(NOW.timestamp()) - 400}, {}, 401),
        ({}, {"x5t": "another"}, 401),
    ],
)
async def test_a_certificate_signs_in_place_of_the_secret(
    org: World, claims: dict[str, Json], heading: dict[str, str], status: int
) -> None:
    keys, login = org.crm.credentials(URL), org.crm.login
    said = {"iss": keys["client_id"], "sub": keys["client_id"], "aud": keys["token_url"], "exp": 4_000_000_000} | claims
    assertion = jwt.encode(said, keys["private_key"], "RS256", {"x5t": login.certificate.thumbprint} | heading)
    kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

    await org.token(status, client_secret="", client_assertion_type=kind, client_assertion=assertion)
    await org.token(401, client_secret="", client_assertion_type=kind, client_assertion=assertion[:-4] + "AAAA")


async def test_somebody_signs_in_with_a_browser_and_the_grant_is_renewed(org: World) -> None:
    keys = org.crm.credentials(URL)
    scope = f"{URL}/user_impersonation offline_access"
    query = {
        "client_id": keys["client_id"],
        "response_type": "code",
        "redirect_uri": BACK,
        "state": "s",
        "scope": scope,
    }

    back = await org.http.get(keys["authorize_url"], params=query)
    answer = dict(parse_qsl(urlsplit(back.headers["location"]).query))
    given = await org.token(grant_type="authorization_code", code=answer["code"], redirect_uri=BACK)
    again = await org.token(grant_type="refresh_token", refresh_token=given["refresh_token"], scope=scope)

    assert (302, "s") == (back.status_code, answer["state"])
    await org.token(400, grant_type="authorization_code", code=answer["code"], redirect_uri=BACK)
    assert given["refresh_token"] != again["refresh_token"]
    org.crm.faults.rotate_refresh_tokens = True
    await org.token(grant_type="refresh_token", refresh_token=given["refresh_token"], scope=scope)
    await org.token(400, grant_type="refresh_token", refresh_token=given["refresh_token"], scope=scope)


async def test_clients_find_the_endpoints(org: World) -> None:
    keys = org.crm.credentials(URL)

    found = (await org.http.get(f"{URL}/{keys['tenant_id']}/v2.0/.well-known/openid-configuration")).json()

    assert (keys["token_url"], keys["authorize_url"]) == (found["token_endpoint"], found["authorization_endpoint"])
    assert 400 == (await org.http.get(f"{URL}/{NOBODY}/v2.0/.well-known/openid-configuration")).status_code


async def test_without_an_application_user_every_call_is_forbidden(org: World) -> None:
    org.crm.faults.not_a_member = True

    assert (403, "0x80072560") == await org.refused("GET", "WhoAmI")


@pytest.mark.parametrize(
    ("privilege", "method", "path", "body"),
    [
        ("prvReadContact", "GET", "contacts", None),
        ("prvReadContact", "GET", "contacts/$count", None),
        ("prvWriteContact", "PATCH", f"contacts({NOBODY})", {"jobtitle": "x"}),
        ("prvCreateLead", "POST", "leads", {"lastname": "x"}),
        ("prvReadActivity", "GET", "tasks", None),
        ("prvReadActivity", "GET", "activitypointers", None),
        ("prvCreateAttribute", "POST", ATTRIBUTES, {}),
        ("prvCreateServiceEndpoint", "POST", "serviceendpoints", {}),
    ],
)
async def test_a_role_may_lack_a_privilege(org: World, privilege: str, method: str, path: str, body: Json) -> None:
    org.crm.faults.missing_privileges = [privilege]

    assert (403, "0x80040220") == await org.refused(method, path, body)


# --- rows -------------------------------------------------------------------------------------------------------------


async def test_a_row_is_made_read_changed_and_deleted(org: World) -> None:
    id_ = await org.create(firstname="Ada", lastname="Lovelace", emailaddress1="ada@example.com", jobtitle="")
    me = org.crm.credentials(URL)["user_id"]

    row = await org.get(f"contacts({id_})")
    assert {
        "fullname": "Ada Lovelace", "emailaddress1": "ada@example.com", "jobtitle": None, "donotbulkemail": False,
        "followemail": True, "statecode": 0, "statuscode": 1, "merged": False, "createdon": STAMP, "modifiedon": STAMP,
        "_modifiedby_value": me, "_ownerid_value": me, "contactid": id_, "_masterid_value": None,
    }.items() <= row.items()  # fmt: skip
    await org.later(60)
    await org.call("PATCH", f"contacts({id_})", {"donotbulkemail": True, "emailaddress1": None}, If_Match="*")
    shown = await org.get(f"contacts({id_})?$select=donotbulkemail,emailaddress1,modifiedon")
    assert {"donotbulkemail": True, "emailaddress1": None, "modifiedon": "2026-10-20T10:01:00Z", "contactid": id_} == {
        name: value for name, value in shown.items() if not name.startswith("@")
    }
    assert row["@odata.etag"] != shown["@odata.etag"]
    assert {"value": True}.items() <= (await org.get(f"contacts({id_})/donotbulkemail")).items()
    await org.call("DELETE", f"contacts({id_})")
    assert (404, "0x80040217") == await org.refused("GET", f"contacts({id_})")


async def test_a_patch_without_if_match_makes_what_is_not_there(org: World) -> None:
    assert (404, "") == await org.refused("PATCH", f"contacts({NOBODY})", {"lastname": "x"}, If_Match="*")
    await org.call("PATCH", f"contacts({NOBODY})", {"lastname": "Risen"})

    assert ["Risen"] == await org.names("")
    refused = await org.refused("PATCH", f"contacts({NOBODY})", {"lastname": "x"}, If_None_Match="*")
    assert (412, "0x80060892") == refused


async def test_a_write_may_depend_on_the_version(org: World) -> None:
    id_ = await org.create()
    etag = (await org.get(f"contacts({id_})"))["@odata.etag"]

    await org.call("GET", f"contacts({id_})", status=304, If_None_Match=etag)
    made = await org.call(
        "PATCH", f"contacts({id_})?$select=jobtitle", {"jobtitle": "x"}, 200, If_Match=etag,
        Prefer="return=representation",
    )  # fmt: skip
    assert "return=representation" == made.headers["Preference-Applied"]
    assert (412, "0x80060882") == await org.refused("PATCH", f"contacts({id_})", {"jobtitle": "y"}, If_Match=etag)
    assert (412, "0x80060882") == await org.refused("DELETE", f"contacts({id_})", If_Match=etag)
    await org.call("DELETE", f"contacts({id_})", If_Match=made.json()["@odata.etag"])


async def test_a_change_that_changes_nothing_is_one(org: World) -> None:
    id_ = await org.create(jobtitle="x")
    before = (await org.get(f"contacts({id_})"))["@odata.etag"]
    await org.later(5)

    await org.call("PATCH", f"contacts({id_})", {"jobtitle": "x"})

    after = await org.get(f"contacts({id_})?$select=modifiedon")
    assert ("2026-10-20T10:00:05Z", True) == (after["modifiedon"], before != after["@odata.etag"])


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"nothing": 1}, "0x80048d19"),
        ({"LastName": "x"}, "0x80048d19"),
        ({"lastname": 5}, "0x80048d19"),
        ({"lastname": "x" * 51}, "0x80044331"),
        ({"emailaddress1": f"{'x' * 90}@example.com"}, "0x80044331"),
        ({"donotbulkemail": "true"}, "0x80048d19"),
        ({"donotbulkemail": 1}, "0x80048d19"),
        ({"preferredcontactmethodcode": "Email"}, "0x80048d19"),
        ({"preferredcontactmethodcode": 99}, "0x80044331"),
        ({"numberofchildren": -1}, "0x80044331"),
        ({"numberofchildren": 1.5}, "0x80048d19"),
        ({"birthdate": "2026-10-20T10:00:00Z"}, "0x80048d19"),
        ({"lastusedincampaign": "yesterday"}, "0x80048d19"),
        ({"fullname": "x"}, "0x80048d19"),
        ({"_parentcustomerid_value": NOBODY}, "0x80048d19"),
        ({"parentcustomerid_account@odata.bind": "/contacts(x)"}, "0x80048d19"),
        ({"parentcustomerid_Account@odata.bind": f"/accounts({NOBODY})"}, "0x80048d19"),
        ({"statuscode": 2}, "0x80048408"),
        ({"merged": True}, "0x80048d19"),
    ],
)
async def test_a_value_that_does_not_fit_is_refused(org: World, values: Json, code: str) -> None:
    id_ = await org.create(lastname="Same")

    assert (400, code) == await org.refused("PATCH", f"contacts({id_})", values)
    assert ["Same"] == await org.names("")


async def test_errors_have_details_for_those_who_ask_for_them(org: World) -> None:
    said = await org.get("contacts?$select=x", 400, Prefer='odata.include-annotations="*"')

    assert "@Microsoft.PowerApps.CDS.TraceText" in said["error"]


async def test_a_lookup_is_bound_by_its_navigation_property_and_shown_by_its_id(org: World) -> None:
    account = await org.create("accounts", name="Acme")
    other = await org.create("accounts", name="Other")
    id_ = await org.create(**{"parentcustomerid_account@odata.bind": f"/accounts({account})"})
    everything = 'odata.include-annotations="*"'

    shown = await org.get(
        f"contacts({id_})?$select=_parentcustomerid_value,donotbulkemail,createdon", Prefer=everything
    )
    assert {
        "_parentcustomerid_value": account,
        "_parentcustomerid_value@OData.Community.Display.V1.FormattedValue": "Acme",
        "_parentcustomerid_value@Microsoft.Dynamics.CRM.lookuplogicalname": "account",
        "_parentcustomerid_value@Microsoft.Dynamics.CRM.associatednavigationproperty": "parentcustomerid_account",
        "donotbulkemail@OData.Community.Display.V1.FormattedValue": "Allow",
        "createdon@OData.Community.Display.V1.FormattedValue": "10/20/2026 10:00 AM",
    }.items() <= shown.items()
    found = await org.get(f"contacts({id_})?$select=fullname&$expand=parentcustomerid_account($select=name)")
    assert "Acme" == found["parentcustomerid_account"]["name"]
    whole = f"{API}/accounts({other})"
    await org.call("PATCH", f"contacts({id_})", {"parentcustomerid_account@odata.bind": whole})
    assert [id_] == [one["contactid"] for one in await org.rows(f"contacts?$filter=_parentcustomerid_value eq {other}")]
    await org.call("PATCH", f"contacts({id_})", {"parentcustomerid_account@odata.bind": None})
    await org.call("GET", f"contacts({id_})/_parentcustomerid_value", status=204)


async def test_the_state_is_changed_like_any_column(org: World) -> None:
    id_ = await org.create()

    await org.call("PATCH", f"contacts({id_})", {"statecode": 1})
    assert [(1, 2)] == [(one["statecode"], one["statuscode"]) for one in await org.rows("contacts")]
    await org.call("PATCH", f"contacts({id_})", {"statecode": 0, "statuscode": 1})
    assert [(0, 1)] == [(one["statecode"], one["statuscode"]) for one in await org.rows("contacts")]


async def test_what_is_locked_or_vetoed_or_secured_is_refused(org: World) -> None:
    id_ = await org.create(jobtitle="x", donotbulkemail=True)
    faults, path, body = org.crm.faults, f"contacts({id_})", {"jobtitle": "y"}

    faults.locked_ids = [id_]
    assert (500, "0x80044150") == await org.refused("PATCH", path, body)
    faults.locked_ids, faults.refused_ids = [], [id_]
    assert (400, "0x80040265") == await org.refused("PATCH", path, body)
    faults.refused_ids, faults.read_only_columns = [], ["contact.jobtitle"]
    assert (403, "0x8004f508") == await org.refused("PATCH", path, body)
    faults.secured_columns = ["contact.donotbulkemail"]
    shown = await org.get(f"{path}?$select=donotbulkemail,jobtitle")
    assert (None, "x") == (shown["donotbulkemail"], shown["jobtitle"])
    assert [True] == [
        one["IsSecured"] for one in await org.rows(f"{ATTRIBUTES}?$filter=LogicalName eq 'donotbulkemail'")
    ]


async def test_duplicates_are_found_if_one_asks_for_it(org: World) -> None:
    org.crm.faults.duplicate_rule = True
    await org.create(emailaddress1="ada@example.com")

    body, header = {"lastname": "x", "emailaddress1": "ADA@example.com"}, "MSCRM.SuppressDuplicateDetection"
    assert (412, "0x80040333") == await org.refused("POST", "contacts", body, **{header: "false"})
    await org.call("POST", "contacts", body)


async def test_a_plugin_sets_another_column_right_after_our_write(org: World) -> None:
    me = org.crm.credentials(URL)["user_id"]
    id_ = await org.create()
    org.crm.faults.plugin_sets = {"department": "Checked", "donotbulkemail": False}

    written = await org.call("PATCH", f"contacts({id_})", {"donotbulkemail": True}, 200, Prefer="return=representation")
    row = await org.get(f"contacts({id_})")

    assert (True, None) == (written.json()["donotbulkemail"], written.json()["department"])
    assert (False, "Checked", me) == (row["donotbulkemail"], row["department"], row["_modifiedonbehalfby_value"])
    assert me != row["_modifiedby_value"]
    org.crm.faults.plugin_is_us = True
    await org.call("PATCH", f"contacts({id_})", {"jobtitle": "x"})
    row = await org.get(f"contacts({id_})")
    assert (me, None) == (row["_modifiedby_value"], row["_modifiedonbehalfby_value"])
    bypass = {"MSCRM.BypassCustomPluginExecution": "true"}
    await org.call("PATCH", f"contacts({id_})", {"department": None}, 204, **bypass)
    assert (await org.get(f"contacts({id_})"))["department"] is None


async def test_where_sales_is_not_installed_there_are_no_leads(org: World) -> None:
    org.crm.faults.no_leads = True

    assert (404, "0x80060888") == await org.refused("GET", "leads")
    assert (404, "0x80060888") == await org.refused("GET", "EntityDefinitions(LogicalName='lead')")


async def test_consents_are_kept_by_address_where_journeys_is_installed(org: World) -> None:
    table, path = "msdynmkt_contactpointconsent4", "msdynmkt_contactpointconsent4s"
    assert 404 == (await org.refused("GET", path))[0]
    org.crm.faults.consents = True

    out = {"msdynmkt_contactpointvalue": "ada@example.com", "msdynmkt_value": 534120002}
    await org.edit(do="create", object=table, fields=out)

    found = await org.rows(f"{path}?$filter=msdynmkt_contactpointvalue eq 'ada@example.com'&$select=msdynmkt_value")
    assert [534120002] == [one["msdynmkt_value"] for one in found]


# --- people -----------------------------------------------------------------------------------------------------------


async def test_the_loser_of_a_merge_is_deactivated_and_its_activities_move(org: World) -> None:
    winner, loser = await org.create(lastname="Winner"), await org.create(lastname="Loser")
    task = (await org.edit(do="log", object="task", id=loser))["id"]
    call = (await org.edit(do="log", ids=[winner, loser]))["id"]

    body = {
        "Target": {"@odata.type": f"{CRM}contact", "contactid": winner},
        "Subordinate": {"@odata.type": f"{CRM}contact", "contactid": loser},
        "UpdateContent": {"@odata.type": f"{CRM}contact", "jobtitle": "Kept"},
        "PerformParentingChecks": False,
    }
    await org.call("POST", "Merge", body)

    gone = await org.get(f"contacts({loser})")
    assert (1, True, winner) == (gone["statecode"], gone["merged"], gone["_masterid_value"])
    assert "Kept" == (await org.get(f"contacts({winner})"))["jobtitle"]
    assert winner == (await org.get(f"tasks({task})"))["_regardingobjectid_value"]
    parties = (await org.get(f"phonecalls({call})?$expand=phonecall_activity_parties"))["phonecall_activity_parties"]
    assert loser not in [one["_partyid_value"] for one in parties]
    assert (400, "0x80040203") == await org.refused("POST", "Merge", body)


async def test_a_qualified_lead_becomes_a_contact_and_cannot_be_changed(org: World) -> None:
    id_ = await org.create("leads", firstname="Ada", companyname="Acme", emailaddress1="ada@example.com")

    path = f"leads({id_})/{CRM}QualifyLead"
    made = (await org.call("POST", path, {"CreateContact": True, "CreateAccount": True, "Status": 3}, 200)).json()

    contact = next(one["contactid"] for one in made["value"] if one["@odata.type"].endswith(".contact"))
    shown = await org.get(f"contacts({contact})?$expand=parentcustomerid_account($select=name)")
    assert (id_, "Acme") == (shown["_originatingleadid_value"], shown["parentcustomerid_account"]["name"])
    assert (1, 3) == ((lead := await org.get(f"leads({id_})"))["statecode"], lead["statuscode"])
    assert 400 == (await org.refused("PATCH", f"leads({id_})", {"jobtitle": "x"}))[0]
    org.crm.faults.closed_leads_writable = True
    await org.call("PATCH", f"leads({id_})", {"jobtitle": "x"})


async def test_a_filled_environment_has_contacts_of_accounts_and_leads() -> None:
    crm = Dynamics()
    crm.fill(people(400))

    records = crm.state()["records"]
    assert (300, 100) == (records["contact"], records["lead"])
    assert records["account"] > 100
    assert any(row.get("donotbulkemail") for row in crm.org.rows("contact").by_id.values())


# --- metadata ---------------------------------------------------------------------------------------------------------


async def test_a_column_is_made_and_written(org: World) -> None:
    body = column("new_LeadScoreFit", MinValue=-1000, MaxValue=1000)

    made = await org.call("POST", ATTRIBUTES, body)
    assert made.headers["OData-EntityId"].startswith(f"{API}/{ATTRIBUTES}(")
    shown = await org.get(made.headers["OData-EntityId"])
    assert ("new_leadscorefit", "Integer", True) == (
        shown["LogicalName"], shown["AttributeType"], shown["IsCustomAttribute"],
    )  # fmt: skip
    id_ = await org.create(new_leadscorefit=-1000)
    assert -1000 == (await org.get(f"contacts({id_})"))["new_leadscorefit"]
    assert (400, "0x80044331") == await org.refused("PATCH", f"contacts({id_})", {"new_leadscorefit": -1001})
    assert (400, "0x80047013") == await org.refused("POST", ATTRIBUTES, body)
    await org.call("DELETE", made.headers["OData-EntityId"])
    assert (400, "0x80060888") == await org.refused("GET", "contacts?$select=new_leadscorefit")


YES_NO = {"TrueOption": {"Value": 1, "Label": label("Yes")}, "FalseOption": {"Value": 0, "Label": label("No")}}


async def test_a_new_yes_or_no_is_empty_where_rows_were_there_already(org: World) -> None:
    old = await org.create()
    await org.add_column("new_Bounced", "Boolean", DefaultValue=False, OptionSet=YES_NO)
    new = await org.create()

    shown = [(await org.get(f"contacts({id_})"))["new_bounced"] for id_ in (old, new)]
    assert [None, False] == shown


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (column("score"), "0x8004f026"),
        (column("xyz_Score"), "0x8004f026"),
        (column("new_Score", MinValue=5, MaxValue=1), "0x80044353"),
        (column("new_Score", "Boolean"), "0x80048d19"),
        (column("new_Score", "Lookup"), "0x80048d19"),
        (column("new_Score", "String", MaxLength=5_000), "0x80044353"),
        (column("new_Score") | {"DisplayName": label("Bewertung", 1031)}, "0x80044353"),
        ({}, "0x80048d19"),
    ],
)
async def test_a_column_that_makes_no_sense_is_refused(org: World, body: Json, code: str) -> None:
    assert (400, code) == await org.refused("POST", ATTRIBUTES, body)


async def test_a_column_belongs_to_a_solution_that_is_there(org: World) -> None:
    header = {"MSCRM.SolutionUniqueName": "scoring"}
    assert 404 == (await org.refused("POST", ATTRIBUTES, column("new_A"), **header))[0]
    publisher = await org.create("publishers", uniquename="us", friendlyname="Us", customizationprefix="lty")
    bound = {"publisherid@odata.bind": f"/publishers({publisher})"}
    await org.create("solutions", uniquename="scoring", friendlyname="Scoring", **bound)

    await org.call("POST", ATTRIBUTES, column("lty_A"), 204, **header)

    found = await org.rows("solutions?$filter=uniquename eq 'scoring'&$expand=publisherid($select=customizationprefix)")
    assert ["lty"] == [one["publisherid"]["customizationprefix"] for one in found]


async def test_an_environment_has_a_language_and_a_prefix_of_its_own(org: World) -> None:
    org.crm.faults.language, org.crm.faults.prefix = 1031, "cr1a2"

    assert [1031] == [one["languagecode"] for one in await org.rows("organizations?$select=languagecode")]
    assert ["cr1a2"] == [one["customizationprefix"] for one in await org.rows("publishers")]
    assert 400 == (await org.refused("POST", ATTRIBUTES, column("new_A")))[0]
    await org.call("POST", ATTRIBUTES, column("cr1a2_A") | {"DisplayName": label("A", 1031)})


async def test_metadata_lags_unless_it_is_to_be_strong(org: World) -> None:
    org.crm.faults.metadata_lag_s = 30
    await org.add_column("new_Fit")
    path = f"{ATTRIBUTES}?$filter=LogicalName eq 'new_fit'"

    assert [0, 1] == [len(await org.rows(path)), len(await org.rows(path, Consistency="Strong"))]
    await org.later(30)
    assert 1 == len(await org.rows(path))


async def test_columns_are_described_by_what_they_are(org: World) -> None:
    basics = "LogicalName,AttributeType,AttributeOf,IsValidForUpdate"
    known = {one["LogicalName"]: one for one in await org.rows(f"{ATTRIBUTES}?$select={basics}")}

    assert ("Boolean", None, True) == tuple(
        known["donotbulkemail"][name] for name in ("AttributeType", "AttributeOf", "IsValidForUpdate")
    )
    assert ("Virtual", "donotbulkemail") == (
        known["donotbulkemailname"]["AttributeType"], known["donotbulkemailname"]["AttributeOf"],
    )  # fmt: skip
    assert not known["fullname"]["IsValidForUpdate"]
    assert (400, "0x80060888") == await org.refused("GET", f"{ATTRIBUTES}?$select=MaxLength")
    lengths = await org.rows(f"{ATTRIBUTES}/{CRM}StringAttributeMetadata?$select=LogicalName,MaxLength")
    assert 100 == {one["LogicalName"]: one["MaxLength"] for one in lengths}["emailaddress1"]
    path = "EntityDefinitions(LogicalName='lead')/Attributes(LogicalName='statuscode')"
    options = await org.get(
        f"{path}/{CRM}StatusAttributeMetadata?$select=LogicalName&$expand=OptionSet($select=Options)"
    )
    assert (3, 1) == next(
        (one["Value"], one["State"])
        for one in options["OptionSet"]["Options"]
        if one["Label"]["UserLocalizedLabel"]["Label"] == "Qualified"
    )


async def test_tables_are_found_by_name(org: World) -> None:
    fields = "MetadataId,LogicalName,EntitySetName,PrimaryIdAttribute,ChangeTrackingEnabled"

    [found] = await org.rows(f"EntityDefinitions?$select={fields}&$filter=LogicalName eq 'contact'")
    assert ("contacts", "contactid", True) == (
        found["EntitySetName"], found["PrimaryIdAttribute"], found["ChangeTrackingEnabled"],
    )  # fmt: skip
    assert "contact" == (await org.get(f"EntityDefinitions({found['MetadataId']})?$select=LogicalName"))["LogicalName"]
    assert (404, "0x80060888") == await org.refused("GET", "EntityDefinitions(LogicalName='nothing')")
    assert (404, "0x80060888") == await org.refused("GET", "nothings")


async def test_an_alternate_key_finds_and_makes_a_row(org: World) -> None:
    await org.add_column("new_ExtId", "String", MaxLength=20)
    body = {"SchemaName": "new_ExtIdKey", "KeyAttributes": ["new_extid"], "DisplayName": label("Key")}
    await org.call("POST", "EntityDefinitions(LogicalName='contact')/Keys", body)

    path = "contacts(new_extid='it''s')"
    await org.call("PATCH", path, {"lastname": "Made"})
    await org.call("PATCH", path, {"jobtitle": "Changed"})
    shown = await org.get(path)
    assert ("Made", "Changed", "it's") == (shown["lastname"], shown["jobtitle"], shown["new_extid"])
    assert (404, "0x80040217") == await org.refused("GET", "contacts(new_extid='43')")
    assert (412, "0x80040237") == await org.refused("POST", "contacts", {"new_extid": "it's"})
    assert (400, "0x80060888") == await org.refused("GET", "contacts(emailaddress1='x')")
    await org.many(
        "UpsertMultiple", {"@odata.id": path, "lastname": "Again"}, {"@odata.id": "contacts(new_extid='44')"}
    )
    assert ["Again", None] == [one["lastname"] for one in await org.rows("contacts?$orderby=new_extid desc")]
    org.crm.faults.keys_wait = True
    assert 400 == (await org.refused("GET", path))[0]


# --- limits and the line ----------------------------------------------------------------------------------------------


async def test_who_does_not_wait_is_told_to_wait_longer(org: World) -> None:
    org.crm.faults.throttle_next = 4

    waits = []
    for pause in (0, 5, 0, 48):
        await org.later(pause)
        reply = await org.call("GET", "WhoAmI", status=429)
        waits.append(int(reply.headers["Retry-After"]))

    assert [12, 24, 48, 12] == waits
    assert "0x80072322" == reply.json()["error"]["code"]
    await org.get("WhoAmI")


async def test_calls_and_their_time_are_limited_in_five_minutes(org: World) -> None:
    org.crm.faults.limit_requests = 3
    for _ in range(3):
        await org.get("WhoAmI")
        await org.later(10)

    reply = await org.call("GET", "WhoAmI", status=429)
    assert ("270", "0x80072322") == (reply.headers["Retry-After"], reply.json()["error"]["code"])
    await org.later(270)
    await org.get("WhoAmI")
    org.crm.faults.limit_requests, org.crm.faults.limit_time_s = 0, 1
    await org.many("CreateMultiple", *({"lastname": "x"} for _ in range(300)), status=200)
    assert (429, "0x80072321") == await org.refused("GET", "WhoAmI")


async def test_calls_at_the_same_time_are_limited(org: World) -> None:
    org.crm.faults.limit_concurrent = 1
    org.crm.site.limits.running = 1

    assert (429, "0x80072326") == await org.refused("GET", "WhoAmI")
    org.crm.site.limits.running = 0
    await org.get("WhoAmI")


async def test_calls_fail_as_they_are_told_to(org: World) -> None:
    org.crm.faults.fail_next = ["html_502", "unavailable", "sql_timeout", "throttled", "fine", "lost_reply"]

    found = [(await org.http.get(f"{API}/WhoAmI")).status_code for _ in range(5)]
    assert [502, 503, 500, 429, 200] == found
    await org.call("POST", "contacts", {"lastname": "Done"}, 502)
    assert ["Done"] == await org.names("")


async def test_a_call_may_take_its_time(org: World) -> None:
    org.crm.faults.delay_s = 0.05
    began = time.monotonic()

    await org.get("WhoAmI")

    assert 0.05 <= time.monotonic() - began


async def test_what_is_no_call_of_the_web_api_is_refused(org: World) -> None:
    assert 404 == (await org.http.get(f"{URL}/api/data/v8.0/WhoAmI")).status_code
    assert (405, "0x80060888") == await org.refused("DELETE", "contacts")
    assert (400, "0x80060888") == await org.refused("GET", "contacts(what?)")
    assert (404, "0x80060888") == await org.refused("GET", f"contacts({NOBODY})/nothing")
    reply = await org.http.post(f"{API}/contacts", content=b"{}", headers={"Content-Type": "text/plain"})
    assert 415 == reply.status_code
    reply = await org.http.post(f"{API}/contacts", content=b"[", headers={"Content-Type": "application/json"})
    assert 400 == reply.status_code


async def test_state_counts_calls_rows_and_writes(org: World) -> None:
    id_ = await org.create()
    await org.call("PATCH", f"contacts({id_})", {"jobtitle": "x"})
    await org.get("contacts")

    state = (await org.http.get(f"{URL}/_sandbox/state")).json()

    assert {"records": 1, "total": 2, "most": 2} == state["writes"]
    assert {"POST contacts": 1, "PATCH contacts(*)": 1, "GET contacts": 1} == state["calls"]
    assert 3 == state["requests"]


async def test_edits_refuse_what_they_do_not_understand(org: World) -> None:
    for body in (
        {"do": "nothing"}, {"do": "change", "id": NOBODY}, {"do": "create", "object": "nothing"},
        {"do": "create", "by": "nobody"}, {"do": "create", "fields": {"nothing": 1}}, {"do": "log", "ids": [NOBODY]},
        {"do": "column", "name": "new_A", "type": "Nothing"}, {"do": "late", "id": NOBODY, "seconds": -1},
    ):  # fmt: skip
        reply = await org.http.post(f"{URL}/_sandbox/edit", json=body)
        assert 400 == reply.status_code, body
