"""Clients of Pipedrive as their makers publish them, with nothing set but where it is, against a live stand-in."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pipedrive.client
import pipedrive.exceptions
import pypipedrive.api
import pytest
from pypipedrive.api import V1

from app.sandbox.people import people
from app.sandbox.pipedrive import Pipedrive
from app.sandbox.server import build
from tests.sandbox.installed import node_packages, python_package
from tests.sandbox.loopback import served

Json = Any  # Any: whatever JSON can say

PEOPLE = 230


@dataclass
class Live:
    url: str
    crm: Pipedrive
    keys: dict[str, Any]  # Any: JSON


@pytest.fixture(scope="module")
def acme() -> Iterator[Live]:
    """Below a prefix, as it is served beside others."""
    crm = Pipedrive()
    crm.fill(people(PEOPLE))
    with served(build([crm])) as address:
        url = f"{address}/pipedrive"
        yield Live(url, crm, crm.credentials(url))


def test_pypipedrive_reads_and_writes_persons(acme: Live) -> None:
    api = pypipedrive.api.Api(acme.keys["api_token"])
    api.endpoint_url = f"{acme.url}/api/v2/"

    field = api.post("personFields", json={"field_name": "Score", "field_type": "double"}).data
    made = api.post("persons", json={"name": "Ann Lee", "custom_fields": {field["field_code"]: 41}}).data
    changed = api.patch(f"persons/{made['id']}", json={"custom_fields": {field["field_code"]: 73}}).data
    pages = [len(page.data) for page in api.iterator("persons", {"limit": 100, "sort_by": "update_time"})]

    assert 73 == changed["custom_fields"][field["field_code"]]
    assert PEOPLE < sum(pages)
    assert 3 == len(pages)
    assert {"id": made["id"]} == api.delete(f"persons/{made['id']}").data
    with pytest.raises(Exception, match="Entity was not found"):
        api.get(f"persons/{made['id']}")
    first = pypipedrive.api.Api(acme.keys["api_token"], version=V1)
    first.endpoint_url = f"{acme.url}/v1/"
    assert 9 == first.get("users/me").data["id"]


def test_api_pipedrive_python_refreshes_its_token_and_uses_the_first_version(acme: Live) -> None:
    client = pipedrive.client.Client(acme.keys["client_id"], acme.keys["client_secret"], domain=acme.url)
    client.OAUTH_BASE_URL = f"{acme.url}/oauth/"
    with pytest.raises(pipedrive.exceptions.UnauthorizedError):
        client.users.get_me()

    tokens = client.refresh_token(acme.keys["refresh_token"])
    client.set_access_token(tokens["access_token"])
    lead = client.leads.create_lead({"title": "Ann lead", "person_id": 1})["data"]
    hook = {"subscription_url": "http://127.0.0.1:9/", "event_action": "*", "event_object": "person"}

    assert acme.url == tokens["api_domain"]
    assert 1 == client.leads.get_lead(lead["id"])["data"]["person_id"]
    assert 2 == client.leads.update_lead(lead["id"], {"person_id": 2})["data"]["person_id"]
    assert {"id": lead["id"]} == client.leads.delete_lead(lead["id"])["data"]
    recents = client.recents.get_recent_changes({"since_timestamp": "2020-01-01 00:00:00", "items": "person"})
    assert {"person"} == {row["item"] for row in recents["data"]}
    # It cannot name a webhook, which has become required since.
    with pytest.raises(pipedrive.exceptions.BadRequestError):
        client.webhooks.create_hook_subscription(**hook)
    assert [] == client.webhooks.get_hooks_subscription()["data"]


# --- Node.js ----------------------------------------------------------------------------------------------------------

NODE_CLIENT = "pipedrive@33.7.0"
SCRIPT = """
const { v1, v2 } = require("pipedrive");
const keys = JSON.parse(process.argv[1]);
const second = new v2.Configuration({ apiKey: keys.api_token, basePath: keys.base_url + "/api/v2" });
const first = new v1.Configuration({ apiKey: keys.api_token, basePath: keys.base_url + "/api/v1" });
const oauth = new v2.OAuth2Configuration({
  clientId: keys.client_id, clientSecret: keys.client_secret, redirectUri: "http://127.0.0.1:9/", host: keys.base_url,
});
(async () => {
  const persons = new v2.PersonsApi(second), fields = new v2.PersonFieldsApi(second), told = {};
  const field = (await fields.addPersonField({
    AddPersonFieldRequest: { field_name: "Bounced", field_type: "enum", options: [{ label: "Yes" }, { label: "No" }] },
  })).data;
  const person = (await persons.addPerson({
    AddPersonRequest: { name: "Ann Lee", emails: [{ value: "ann.node@example.com", primary: true, label: "work" }] },
  })).data;
  told.updated = (await persons.updatePerson({
    id: person.id, UpdatePersonRequest: { custom_fields: { [field.field_code]: field.options[0].id } },
  })).data.custom_fields[field.field_code] === field.options[0].id;
  told.found = (await persons.searchPersons({
    term: "ANN.NODE@example.com", fields: "email", exact_match: true,
  })).data.items.map((hit) => hit.item.name);
  told.page = (await persons.getPersons({ limit: 3, sort_by: "update_time" })).data.length;
  told.fields = (await fields.getPersonFields({ limit: 500 })).data.some((one) => one.field_code === field.field_code);
  const activity = (await new v2.ActivitiesApi(second).addActivity({
    AddActivityRequest: {
      subject: "Demo", type: "meeting", done: true, participants: [{ person_id: person.id, primary: true }],
    },
  })).data;
  told.activities = (await new v2.ActivitiesApi(second).getActivities({ person_id: person.id })).data.length;
  told.types = (await new v1.ActivityTypesApi(first).getActivityTypes()).data.length;
  told.me = (await new v1.UsersApi(first).getCurrentUser()).data.id;
  const lead = { AddLeadRequest: { title: "A", person_id: person.id } };
  told.lead = (await new v1.LeadsApi(first).addLead(lead)).data.origin;
  told.leads = (await new v1.LeadsApi(first).getLeads({})).data.length;
  told.recents = (await new v1.RecentsApi(first).getRecents({ since_timestamp: "2020-01-01 00:00:00" })).data.length;
  told.hook = (await new v1.WebhooksApi(first).addWebhook({ AddWebhookRequest: {
    subscription_url: "http://127.0.0.1:9/", event_action: "*", event_object: "lead", name: "A",
  } })).data.version;
  told.merged = (await new v1.PersonsApi(first).mergePersons({
    id: person.id, MergePersonsRequest: { merge_with_id: 1 },
  })).data.merge_what_id === person.id;
  oauth.updateToken({ refresh_token: keys.refresh_token });
  oauth.updateToken(await oauth.tokenRefresh());
  told.asApp = (await new v2.PersonsApi(oauth).getPerson({ id: 1 })).data.id;
  told.deleted = (await persons.deletePerson({ id: 2 })).data.id;
  console.log(JSON.stringify(told));
})().catch((fault) => { console.error(fault); process.exitCode = 1; });
"""


@pytest.fixture
def node(request: pytest.FixtureRequest) -> Path:
    return node_packages(request, "node-pipedrive", NODE_CLIENT)


def test_the_official_node_client_makes_every_call_that_a_sync_needs(acme: Live, node: Path) -> None:
    command = ["node", "-e", SCRIPT, json.dumps(acme.keys)]

    ended = subprocess.run(command, cwd=node, capture_output=True, text=True, timeout=30, check=False)

    assert (0, "") == (ended.returncode, ended.stderr)
    told = json.loads(ended.stdout)
    assert told.pop("recents") == 100
    assert {
        "updated": True, "found": ["Ann Lee"], "page": 3, "fields": True, "activities": 1, "types": 6, "me": 9,
        "lead": "API", "leads": 1, "hook": "2.0", "merged": True, "asApp": 1, "deleted": 2,
    } == told  # fmt: skip


# --- The Singer tap ---------------------------------------------------------------------------------------------------

TAP = "tap-pipedrive==2.1.0"
RUN_TAP = """
import sys
sys.path.insert(0, sys.argv.pop(1))
import tap_pipedrive.config, tap_pipedrive.tap, tap_pipedrive.cli
tap_pipedrive.config.BASE_URL = tap_pipedrive.tap.BASE_URL = sys.argv.pop(1)
tap_pipedrive.cli.main()
"""


@pytest.fixture
def tap(request: pytest.FixtureRequest) -> Path:
    return python_package(request, "tap-pipedrive", TAP)


def test_the_singer_tap_discovers_and_reads_persons_and_activities(acme: Live, tap: Path, tmp_path: Path) -> None:
    config = {"api_token": acme.keys["api_token"], "start_date": "2020-01-01T00:00:00Z"}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")

    def run(*arguments: str) -> str:
        command = [sys.executable, "-I", "-c", RUN_TAP, str(tap), acme.url, "--config", "config.json", *arguments]
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    catalog = json.loads(run("--discover"))
    chosen = ("persons", "activities", "activity_types", "users")
    for stream in catalog["streams"]:
        [root] = [one for one in stream["metadata"] if not one["breadcrumb"]]
        root["metadata"]["selected"] = stream["tap_stream_id"] in chosen
    (tmp_path / "catalog.json").write_text(json.dumps(catalog), encoding="utf-8")
    messages = [json.loads(line) for line in run("--catalog", "catalog.json").splitlines()]

    read = {
        name: [one["record"] for one in messages if one.get("stream") == name and "record" in one] for name in chosen
    }
    alive = [person.id for person in acme.crm.company.persons.values() if not person.is_deleted]
    assert sorted(alive) == sorted(record["id"] for record in read["persons"])
    assert (6, 2) == (len(read["activity_types"]), len(read["users"]))
    assert len(acme.crm.company.activities) == len(read["activities"])
