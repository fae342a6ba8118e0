"""Clients as their makers publish them, against the stand-in behind a real port."""

import asyncio
import json
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import aiosalesforce
import httpx
import pytest
import requests
from aiosalesforce.auth import ClientCredentialsFlow
from requests.adapters import HTTPAdapter
from simple_salesforce.api import Salesforce as SimpleSalesforce
from simple_salesforce.exceptions import SalesforceMalformedRequest, SalesforceResourceNotFound

from app import clock
from app.sandbox.people import people
from app.sandbox.salesforce import Salesforce
from tests.sandbox.installed import node_packages
from tests.sandbox.loopback import served
from tests.sandbox.salesforce_world import field

PEOPLE = 2_800
CONTACTS = 2_100
TEXT_ID: dict[str, object] = {"type": "Text", "length": 64, "externalId": True, "unique": True}


@pytest.fixture(scope="module")
def crm() -> Salesforce:
    made = Salesforce()
    made.fill(people(PEOPLE))
    return made


@pytest.fixture(scope="module")
def url(crm: Salesforce) -> Iterator[str]:
    with served(crm.app) as address:
        made = httpx.post(f"{address}/_sandbox/edit", json=field("Ext_Id__c", **TEXT_ID))
        assert 200 == made.status_code
        yield address


class _ToLoopback(HTTPAdapter):
    """Sends what is meant for https and the vendor's hosts to the stand-in."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.scheme, self.netloc, *_ = urlsplit(url)

    def send(self, request: requests.PreparedRequest, *args: Any, **more: Any) -> requests.Response:
        address = urlsplit(str(request.url))
        request.url = urlunsplit((self.scheme, self.netloc, address.path, address.query, ""))
        return super().send(request, *args, **more)


@pytest.fixture
def session(url: str) -> Iterator[requests.Session]:
    with requests.Session() as made:
        made.trust_env = False
        made.mount("https://", _ToLoopback(url))
        yield made


@pytest.fixture
def simple(crm: Salesforce, session: requests.Session) -> Any:  # Any: its annotations know nothing of objects by name
    keys = crm.credentials("")
    return SimpleSalesforce(
        consumer_key=keys["client_id"], consumer_secret=keys["client_secret"], domain="acme.my", session=session,
        version="62.0",
    )  # fmt: skip


def test_simple_salesforce_reads_and_writes_records(simple: Any) -> None:
    found = simple.query_all("SELECT Id, Account.Name FROM Contact WHERE CreatedDate < TODAY ORDER BY Id")
    id_ = found["records"][0]["Id"]
    made = simple.Contact.create({"LastName": "Lovelace", "Email": "ada@example.com"})

    assert CONTACTS == found["totalSize"] == len(found["records"])
    assert all(one["Account"]["Name"] for one in found["records"])
    assert 204 == simple.Contact.update(made["id"], {"Title": "Countess"})
    assert "Countess" == simple.Contact.get(made["id"])["Title"]
    assert 201 == simple.Contact.upsert("Ext_Id__c/42", {"LastName": "Byron"})
    assert 200 == simple.Contact.upsert("Ext_Id__c/42", {"FirstName": "Anne"})
    assert "Anne Byron" == simple.Contact.get_by_custom_id("Ext_Id__c", "42")["Name"]
    assert {"Email", "Ext_Id__c"} <= {one["name"] for one in simple.Contact.describe()["fields"]}
    assert {"Lead", "Contact"} <= {one["name"] for one in simple.describe()["sobjects"]}
    row = {"attributes": {"type": "Contact"}, "id": id_, "Title": "Poet"}
    assert [True] == [
        one["success"] for one in simple.restful("composite/sobjects", method="PATCH", json={"records": [row]})
    ]
    assert 204 == simple.Contact.delete(made["id"])
    assert "DailyApiRequests" in simple.limits()
    assert simple.api_usage["api-usage"].used > 0
    with pytest.raises(SalesforceMalformedRequest, match="No such column 'Foo__c'"):
        simple.query("SELECT Foo__c FROM Contact")
    with pytest.raises(SalesforceResourceNotFound):
        simple.Contact.get(made["id"])


def test_simple_salesforce_sees_what_changed_and_what_went(simple: Any, url: str) -> None:
    made = simple.Contact.create({"LastName": "Passing"})["id"]
    simple.Contact.delete(made)
    # What changed is told up to the last whole minute.
    httpx.post(f"{url}/_sandbox/clock", json={"move_s": 60})
    end = clock.now() + timedelta(seconds=61)

    assert made in {one["id"] for one in simple.Contact.deleted(end - timedelta(hours=1), end)["deletedRecords"]}
    assert CONTACTS <= len(simple.Contact.updated(end - timedelta(days=29), end)["ids"])
    gone = simple.query_all(f"SELECT Id, IsDeleted FROM Contact WHERE Id = '{made}'", include_deleted=True)
    assert [True] == [one["IsDeleted"] for one in gone["records"]]


def test_simple_salesforce_makes_a_field_and_opens_it(simple: Any, crm: Salesforce) -> None:
    metadata = {"label": "Lead Score: Fit", "type": "Number", "precision": 6, "scale": 0}
    made = simple.toolingexecute(
        "sobjects/CustomField/", method="POST", data={"FullName": "Contact.Fit__c", "Metadata": metadata}
    )
    own = simple.PermissionSet.create({"Name": "Scores", "Label": "Scores"})["id"]
    access = {"SobjectType": "Contact", "Field": "Contact.Fit__c", "PermissionsRead": True, "PermissionsEdit": True}
    simple.FieldPermissions.create({"ParentId": own} | access)
    simple.PermissionSetAssignment.create({"AssigneeId": crm.credentials("")["user_id"], "PermissionSetId": own})

    assert made["success"]
    assert "Fit__c" in {one["name"] for one in simple.Contact.describe()["fields"]}


def test_simple_salesforce_moves_thousands_in_bulk(simple: Any) -> None:
    wait: Any = 0.05  # As whole seconds, says its annotation.
    found = simple.query_all("SELECT Id FROM Contact ORDER BY Id LIMIT 2050")["records"]
    rows = [{"Id": one["Id"], "Department": "Sales"} for one in found]
    bad = [{"Id": "003S7000000zzzzIAA", "Department": "Nowhere"}]

    [job] = simple.bulk2.Contact.update(records=rows + bad, wait=wait)
    failed = simple.bulk2.Contact.get_failed_records(job["job_id"])
    pages = list(
        simple.bulk2.Contact.query("SELECT Id FROM Contact WHERE Department = 'Sales'", max_records=1_500, wait=wait)
    )

    assert (2_051, 1) == (job["numberRecordsProcessed"], job["numberRecordsFailed"])
    assert '"INVALID_CROSS_REFERENCE_KEY:invalid cross reference id:--"' in failed
    assert [1_500, 550] == [page.count("\n") - 1 for page in pages]


def test_simple_salesforce_signs_in_by_jwt_and_learns_of_an_expired_session(
    crm: Salesforce, session: requests.Session
) -> None:
    keys = crm.credentials("")
    simple = SimpleSalesforce(
        username=keys["username"], consumer_key=keys["client_id"], privatekey=keys["private_key"], domain="login",
        session=session,
    )  # fmt: skip
    assert simple.query("SELECT COUNT() FROM Contact")["totalSize"] >= CONTACTS
    crm.login.expire()

    # It signs in anew by itself.
    assert simple.query("SELECT COUNT() FROM Contact")["totalSize"] >= CONTACTS


class _AsyncToLoopback(httpx.AsyncHTTPTransport):
    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = httpx.URL(url)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(scheme="http", host=self.url.host, port=self.url.port)
        return await super().handle_async_request(request)


async def test_aiosalesforce_reads_writes_and_composes(crm: Salesforce, url: str) -> None:
    keys = crm.credentials("")
    auth = ClientCredentialsFlow(keys["client_id"], keys["client_secret"])
    async with httpx.AsyncClient(transport=_AsyncToLoopback(url), trust_env=False) as http:
        client = aiosalesforce.Salesforce(http, "https://acme.my.salesforce.com", auth, version="62.0")
        found = [row async for row in client.query("SELECT Id FROM Contact WHERE CreatedDate < TODAY")]
        id_ = await client.sobject.create("Contact", {"LastName": "Turing"})
        await client.sobject.update("Contact", id_, {"FirstName": "Alan"})
        made = await client.sobject.upsert("Contact", "77", "Ext_Id__c", {"LastName": "Hopper"})
        again = await client.sobject.upsert("Contact", "77", "Ext_Id__c", {"LastName": "Hopper"})
        async with client.composite(all_or_none=False) as batch:
            first = batch.sobject.create("Account", {"Name": "Bletchley"})
            second = batch.sobject.update("Contact", id_, {"AccountId": str(first.reference.id)})
        rows = [{"Id": row["Id"], "Title": "Codebreaker"} for row in found]
        # `bulk_v2.update` asks for the state every five seconds.
        results = [
            one
            async for one in client.bulk_v2.ingest.perform_operation("update", "Contact", rows, polling_interval=0.05)
        ]

        assert CONTACTS == len(found)
        assert "Alan Turing" == (await client.sobject.get("Contact", id_))["Name"]
        assert (True, False, made.id) == (made.created, again.created, again.id)
        assert (201, 204) == (first.status_code, second.status_code)
        assert [CONTACTS] == [len(result.successful_results) for result in results]
        assert [[], []] == [results[0].failed_results, results[0].unprocessed_records]


JSFORCE = "jsforce@3.10.16"
SCRIPT = """
const jsforce = require("jsforce");
const told = JSON.parse(process.argv[1]);
const oauth2 = { loginUrl: told.url, clientId: told.client_id, clientSecret: told.client_secret };
(async () => {
  const conn = new jsforce.Connection({ oauth2, version: "62.0" });
  await conn.authorize({ grant_type: "client_credentials" });
  const soql = "SELECT Id FROM Contact WHERE CreatedDate < TODAY";
  const found = (await conn.query(soql).execute({ autoFetch: true, maxFetch: 9999 })).records;
  const ids = found.slice(0, 3).map((one) => one.Id);
  const read = await conn.sobject("Contact").retrieve(ids, { fields: ["Id", "Email"] });
  const rows = found.slice(0, 200).map((one) => ({ Id: one.Id, Title: "Node" }));
  const updated = await conn.sobject("Contact").update(rows, { allOrNone: false });
  const upserted = await conn.sobject("Contact").upsert([{ Ext_Id__c: "js", LastName: "Script" }], "Ext_Id__c");
  const removed = await conn.sobject("Contact").destroy(upserted[0].id);
  const now = new Date(Date.now() + 61000);
  const changed = await conn.sobject("Contact").updated(new Date(now - 29 * 86400000), now);
  const metadata = { label: "From Node", type: "Checkbox", defaultValue: false };
  const field = await conn.tooling.create("CustomField", { FullName: "Contact.From_Node__c", Metadata: metadata });
  const limits = await conn.limits();
  const bulk = await conn.bulk2.loadAndWaitForResults({
    object: "Contact", operation: "update", input: rows, pollInterval: 100, pollTimeout: 20000,
  });
  const lines = await (await conn.bulk2.query("SELECT Id FROM Contact WHERE Title = 'Node'", {
    pollInterval: 100, pollTimeout: 20000,
  })).toArray();
  console.log(JSON.stringify({
    found: found.length, read: read.length, updated: updated.filter((one) => one.success).length,
    created: upserted[0].success, removed: removed.success, changed: changed.ids.length, field: field.success,
    limits: limits.DailyApiRequests.Max, bulk: bulk.successfulResults.length, lines: lines.length,
    used: conn.limitInfo.apiUsage.used > 0,
  }));
})().catch((fault) => { console.error(fault); process.exit(1); });
"""


@pytest.fixture
def node(request: pytest.FixtureRequest) -> Path:
    return node_packages(request, "jsforce", JSFORCE)


async def test_jsforce_works(crm: Salesforce, url: str, node: Path) -> None:
    crm.faults.locators_null = True  # It cannot read a second page of bulk results.
    told = json.dumps({"url": url, **crm.credentials(url)})

    ended = await asyncio.to_thread(
        subprocess.run, ["node", "-e", SCRIPT, told], cwd=node, capture_output=True, text=True, timeout=60
    )

    crm.faults.locators_null = False
    assert 0 == ended.returncode, ended.stderr
    said = json.loads(ended.stdout)
    changed, used = said.pop("changed"), said.pop("used")
    assert changed > 0  # But for what was written in this minute.
    assert used
    assert {
        "found": CONTACTS, "read": 3, "updated": 200, "created": True, "removed": True, "field": True,
        "limits": 5_000_000, "bulk": 200, "lines": 200,
    } == said  # fmt: skip
