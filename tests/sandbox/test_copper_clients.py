"""Clients of Copper as their makers publish them, with nothing set but where it is, against a live stand-in."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dc_copper_cli
import pytest
from click.testing import CliRunner

from app.sandbox.copper import Copper, definitions
from app.sandbox.people import people
from app.sandbox.server import build
from tests.sandbox.copper_account import custom
from tests.sandbox.installed import python_package
from tests.sandbox.loopback import served

Json = Any  # Any: whatever JSON can say

PEOPLE = 230


@dataclass
class Live:
    url: str
    crm: Copper
    keys: dict[str, Any]  # Any: JSON


@pytest.fixture(scope="module")
def acme() -> Iterator[Live]:
    """Below a prefix, as it is served beside others."""
    crm = Copper()
    crm.fill(people(PEOPLE))
    definitions.make(crm.account, {"name": "Score", "data_type": "Float", "available_on": ["person", "lead"]})
    with served(build([crm])) as address:
        url = f"{address}/copper"
        yield Live(url, crm, crm.credentials(url))


@pytest.fixture
def cli(acme: Live, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setattr(dc_copper_cli, "API_BASE_URL", acme.keys["api_url"])
    return CliRunner(env={"COPPER_API_KEY": acme.keys["api_key"], "COPPER_EMAIL": acme.keys["user_email"]})


def test_the_command_line_client_reads_and_writes_people_leads_and_fields(cli: CliRunner) -> None:
    def run(*arguments: str) -> Json:
        ended = cli.invoke(dc_copper_cli.cli, ["--json", "--quiet", *arguments])
        assert 0 == ended.exit_code, ended.output
        return json.loads(ended.output)

    made = run("person", "create", "--name", "Ann Lee", "--email", "ann.cli@example.com", "--phone", "+37255555")

    assert {"authenticated": True, "account": "Acme", "email": "integration@example.com"} == run("auth")
    assert PEOPLE + 1 == len(run("person", "list", "--all", "--limit", "100"))
    assert [made] == run("person", "list", "--filter", "name=Ann Lee", "--sort", "date_modified")
    score = next(one["id"] for one in run("field", "list") if one["name"] == "Score")
    assert "Float" == run("field", "get", str(score))["data_type"]
    # It sends the id as a text.
    changed = run("person", "update", str(made["id"]), "--owner", "137658", "--field", f"{score}=7.5")
    assert (137658, 7.5) == (changed["assignee_id"], custom(changed, score))
    assert changed == run("person", "get", str(made["id"]))
    lead = run("lead", "create", "--name", "Bob Roe", "--email", "bob.cli@example.com")
    assert [lead["id"]] == [one["id"] for one in run("lead", "list")]
    assert 25 == len(run("company", "list"))
    assert [] == run("opportunity", "list")


# --- The Singer tap ---------------------------------------------------------------------------------------------------

TAP = "tap-copper==0.1.2"
RUN_TAP = """
import sys
sys.path.insert(0, sys.argv.pop(1))
import tap_copper, tap_copper.client
url, made = sys.argv.pop(1), tap_copper.client.Client.__init__
def init(self, config):
    made(self, config)
    self.base_url = url
tap_copper.client.Client.__init__ = init
tap_copper.main()
"""


@pytest.fixture
def tap(request: pytest.FixtureRequest) -> Path:
    return python_package(request, "tap-copper", TAP)


def test_the_singer_tap_discovers_and_reads_people_leads_and_activities(acme: Live, tap: Path, tmp_path: Path) -> None:
    config = {
        "api_key": acme.keys["api_key"], "user_email": acme.keys["user_email"], "start_date": "2020-01-01T00:00:00Z",
        "base_url": acme.keys["api_url"],
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")

    def run(*arguments: str) -> str:
        command = [sys.executable, "-I", "-c", RUN_TAP, str(tap), acme.keys["api_url"], "--config", "config.json"]
        ended = subprocess.run(
            [*command, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    catalog = json.loads(run("--discover"))
    chosen = ("people", "leads", "activities_search", "custom_field_definitions", "users", "contact_types", "tags",
              "account", "lead_statuses", "customer_sources")  # fmt: skip
    for stream in catalog["streams"]:
        [root] = [one for one in stream["metadata"] if not one["breadcrumb"]]
        root["metadata"]["selected"] = stream["tap_stream_id"] in chosen
    (tmp_path / "catalog.json").write_text(json.dumps(catalog), encoding="utf-8")
    messages = [json.loads(line) for line in run("--catalog", "catalog.json").splitlines()]

    read = {
        name: [one["record"] for one in messages if one.get("stream") == name and "record" in one] for name in chosen
    }
    assert sorted(acme.crm.account.people.rows) == sorted(record["id"] for record in read["people"])
    assert len(acme.crm.account.leads.rows) == len(read["leads"])
    assert [1, 3, 4, 4, 3, 2] == [
        len(read[name]) for name in ("account", "users", "contact_types", "lead_statuses", "customer_sources",
                                     "custom_field_definitions")
    ]  # fmt: skip
