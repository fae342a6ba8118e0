"""The official clients of HubSpot, as they are published, with nothing set but where it is, against a live stand-in."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import hubspot
import pytest
from hubspot.crm.contacts.exceptions import ApiException
from hubspot.utils.signature import Signature

from app.sandbox.hubspot import Hubspot, webhooks
from app.sandbox.people import people
from app.sandbox.server import build
from tests.sandbox.installed import node_packages
from tests.sandbox.loopback import served

PEOPLE = 230
FIT = {
    "name": "lead_score_fit", "label": "Lead score: Fit", "type": "number", "fieldType": "number",
    "groupName": "contactinformation",
}  # fmt: skip


@dataclass
class Live:
    url: str
    crm: Hubspot
    keys: dict[str, Any]  # Any: JSON


@pytest.fixture
def acme() -> Iterator[Live]:
    """Below a prefix, as it is served beside others."""
    crm = Hubspot()
    crm.fill(people(PEOPLE))
    with served(build([crm])) as address:
        url = f"{address}/hubspot"
        yield Live(url, crm, crm.credentials(url))


def test_a_page_below_a_prefix_says_where_the_next_one_is(acme: Live) -> None:
    headers = {"Authorization": f"Bearer {acme.keys['access_token']}"}
    first = httpx.get(f"{acme.url}/crm/v3/objects/contacts?limit=100&properties=email", headers=headers).json()

    link = first["paging"]["next"]["link"]

    assert link.startswith(f"{acme.url}/crm/v3/objects/contacts?limit=100&after=")
    second = httpx.get(link, headers=headers).json()["results"]
    assert (100, 4) == (len(second), len(second[0]["properties"]))


def client(acme: Live, **more: str) -> Any:  # Any: its classes are made at run time
    return hubspot.Client.create(host=acme.url, **({"access_token": acme.keys["access_token"]} | more))


def test_the_python_client_reads_and_writes_contacts(acme: Live) -> None:
    crm = client(acme).crm

    made = crm.properties.core_api.create(object_type="contacts", property_create=FIT)
    ann = crm.contacts.basic_api.create({"properties": {"email": "ann.lee@example.com", "lead_score_fit": "41"}})
    changed = crm.contacts.basic_api.update(ann.id, {"properties": {"lead_score_fit": "73"}})
    told = crm.contacts.basic_api.get_by_id(
        ann.id, properties=["email", "lead_score_fit"], properties_with_history=["lead_score_fit"]
    )
    everybody = crm.contacts.get_all(properties=["email"])
    with pytest.raises(ApiException) as again:
        crm.contacts.basic_api.create({"properties": {"email": "ann.lee@example.com"}})

    assert ("lead_score_fit", True) == (made.name, made.modification_metadata.archivable)
    assert "73" == changed.properties["lead_score_fit"] == told.properties["lead_score_fit"]
    assert ["73", "41"] == [one.value for one in told.properties_with_history["lead_score_fit"]]
    assert PEOPLE + 1 == len(everybody)
    assert (409, "CONFLICT") == (again.value.status, json.loads(again.value.body)["category"])
    assert {"contactinformation"} == {one.name for one in crm.properties.groups_api.get_all("contacts").results}
    assert made.name in {one.name for one in crm.properties.core_api.get_all("contacts").results}


def test_the_python_client_searches_and_writes_in_batches(acme: Live) -> None:
    contacts = client(acme).crm.contacts
    changed = {
        "filterGroups": [{"filters": [{"propertyName": "lastmodifieddate", "operator": "GTE", "value": "1"}]}],
        "properties": ["email"], "sorts": ["lastmodifieddate"], "limit": 200,
    }  # fmt: skip

    first = contacts.search_api.do_search(changed)
    second = contacts.search_api.do_search({**changed, "after": first.paging.next.after})
    rows = [{"id": one.id, "properties": {"city": "Tartu"}} for one in (*second.results[:2], *first.results[:1])]
    written = contacts.batch_api.update({"inputs": rows})
    partly = contacts.batch_api.update({"inputs": [*rows[:1], {"id": "999", "properties": {"city": "Narva"}}]})
    read = contacts.batch_api.read(
        {"inputs": [{"id": rows[0]["id"]}], "properties": ["city"], "propertiesWithHistory": []}
    )
    put = contacts.batch_api.upsert(
        {"inputs": [{"id": "eve@example.com", "idProperty": "email", "properties": {"city": "Valga"}}]}
    )
    merged = contacts.basic_api.merge({"primaryObjectId": rows[0]["id"], "objectIdToMerge": rows[1]["id"]})

    assert (PEOPLE, 200, 30) == (first.total, len(first.results), len(second.results))
    assert [row["id"] for row in rows] == [one.id for one in written.results]
    assert (1, ["999"]) == (partly.num_errors, partly.errors[0].context["ids"])
    assert "Tartu" == read.results[0].properties["city"]
    assert put.results[0].new
    assert merged.id == contacts.basic_api.get_by_id(rows[1]["id"]).id
    contacts.basic_api.archive(merged.id)
    contacts.basic_api.purge({"objectId": put.results[0].id})


def test_the_python_client_reads_activities_consents_and_owners(acme: Live) -> None:
    api = client(acme)
    [ann, *_] = api.crm.contacts.basic_api.get_page(limit=1).results
    address = ann.properties["email"]

    call = api.crm.objects.calls.basic_api.create(
        {
            "properties": {"hs_timestamp": "2026-10-01T08:00:00Z", "hs_call_status": "COMPLETED"},
            "associations": [
                {
                    "to": {"id": ann.id},
                    "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 194}],
                }
            ],
        }
    )
    found = api.crm.objects.calls.search_api.do_search({"properties": ["hs_call_status"], "limit": 1})
    who = api.crm.associations.v4.batch_api.get_page("calls", "contacts", {"inputs": [{"id": call.id}]})
    out = api.communication_preferences.status_api.unsubscribe({"emailAddress": address, "subscriptionId": "1"})
    statuses = api.communication_preferences.status_api.get_email_status(address)
    topics = api.communication_preferences.definition_api.get_page()

    assert "COMPLETED" == found.results[0].properties["hs_call_status"]
    assert [ann.id] == [str(one.to_object_id) for one in who.results[0].to]
    assert "NOT_SUBSCRIBED" == out.status == statuses.subscription_statuses[0].status
    assert 2 == len(topics.subscription_definitions)
    assert [407, 409] == [int(one.id) for one in api.crm.owners.owners_api.get_page().results]


def test_the_python_client_signs_in_and_subscribes(acme: Live) -> None:
    keys = acme.keys
    api = client(acme, access_token="", api_key=keys["developer_key"])
    tokens = api.oauth.tokens_api.create(
        grant_type="refresh_token", client_id=keys["client_id"], client_secret=keys["client_secret"],
        refresh_token=keys["refresh_token"],
    )  # fmt: skip
    signed_in = client(acme, access_token=tokens.access_token)

    settings = api.webhooks.settings_api.configure(
        keys["oauth_app_id"], {"targetUrl": "http://127.0.0.1:9/", "throttling": {"maxConcurrentRequests": 10}}
    )
    made = api.webhooks.subscriptions_api.create(
        keys["oauth_app_id"], {"eventType": "contact.propertyChange", "propertyName": "email", "active": True}
    )

    assert (1_800, 62_515) == (tokens.expires_in, api.oauth.access_tokens_api.get(tokens.access_token).hub_id)
    assert 1 == len(signed_in.crm.contacts.basic_api.get_page(limit=1).results)
    assert ("http://127.0.0.1:9/", True) == (settings.target_url, made.active)
    assert [made.id] == [one.id for one in api.webhooks.subscriptions_api.get_all(keys["oauth_app_id"]).results]
    body = b'[{"eventId":100}]'
    told = webhooks.headers(acme.crm.portal, acme.crm.portal.apps[keys["oauth_app_id"]], body)
    for version, name in (("v1", "X-HubSpot-Signature"), ("v3", "X-HubSpot-Signature-v3")):
        assert Signature.is_valid(
            told[name], keys["client_secret"], body.decode(), settings.target_url, "POST", version,
            told["X-HubSpot-Request-Timestamp"],
        )  # fmt: skip


# --- Node.js ----------------------------------------------------------------------------------------------------------

NODE_CLIENT = "@hubspot/api-client@13.5.0"
SCRIPT = """
const { Client } = require("@hubspot/api-client");
const keys = JSON.parse(process.argv[1]);
const api = new Client({ accessToken: keys.access_token, basePath: keys.base_url });
const told = {};
(async () => {
  const contacts = api.crm.contacts, property = {
    name: "bounced_by_us", label: "Bounced", type: "bool", fieldType: "booleancheckbox",
    groupName: "contactinformation",
  };
  told.property = (await api.crm.properties.coreApi.create("contacts", property)).name;
  const ann = await contacts.basicApi.create({ properties: { email: "ann.node@example.com" }, associations: [] });
  told.updated = (await contacts.basicApi.update(ann.id, { properties: { bounced_by_us: "true" } })).properties;
  told.updated = told.updated.bounced_by_us;
  told.get = (await contacts.basicApi.getById(ann.id, ["email", "bounced_by_us"])).properties.email;
  const found = await contacts.searchApi.doSearch({
    filterGroups: [{ filters: [{ propertyName: "email", operator: "EQ", value: "ann.node@example.com" }] }],
    properties: ["email"], sorts: ["-createdate"], limit: 10, after: "0",
  });
  told.found = found.results.map((one) => one.id === ann.id);
  const rows = { inputs: [{ id: ann.id, properties: { city: "Tartu" } }, { id: "999", properties: { city: "X" } }] };
  const partly = await contacts.batchApi.update(rows);
  told.partly = [partly.results.length, partly.numErrors, partly.errors[0].context.ids[0]];
  told.page = (await contacts.basicApi.getPage(3, undefined, ["email"])).results.length;
  told.request = (await (await api.apiRequest({ path: "/account-info/v3/details" })).json()).portalId;
  const opted = await api.apiRequest({
    method: "POST", path: "/communication-preferences/v4/statuses/ann.node@example.com",
    body: { subscriptionId: 1, statusState: "UNSUBSCRIBED", channel: "EMAIL" },
  });
  told.opted = (await opted.json()).results[0].status;
  told.tokens = (await api.oauth.tokensApi.create(
    "refresh_token", undefined, undefined, keys.client_id, keys.client_secret, keys.refresh_token,
  )).expiresIn;
  const again = contacts.basicApi.create({ properties: { email: "ann.node@example.com" }, associations: [] });
  told.conflict = await again.catch((fault) => fault.code);
  console.log(JSON.stringify(told));
})().catch((fault) => { console.error(fault); process.exitCode = 1; });
"""


@pytest.fixture
def node(request: pytest.FixtureRequest) -> Path:
    return node_packages(request, "node-hubspot", NODE_CLIENT)


def test_the_official_node_client_makes_the_calls_that_a_sync_needs(acme: Live, node: Path) -> None:
    command = ["node", "-e", SCRIPT, json.dumps(acme.keys)]

    ended = subprocess.run(command, cwd=node, capture_output=True, text=True, timeout=30, check=False)

    assert (0, "") == (ended.returncode, ended.stderr)
    assert {
        "property": "bounced_by_us", "updated": "true", "get": "ann.node@example.com", "found": [True],
        "partly": [1, 1, "999"], "page": 3, "request": 62_515, "opted": "UNSUBSCRIBED", "tokens": 1_800,
        "conflict": 409,
    } == json.loads(ended.stdout)  # fmt: skip
