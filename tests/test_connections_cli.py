import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

from app.sandbox.people import people
from app.sandbox.pipedrive import Pipedrive
from app.store.db import Database, plain_url
from tests import test_cli
from tests.api.conftest import ENCRYPTION_KEY
from tests.sandbox.loopback import served
from tests.test_cli import Here, sentence

here = test_cli.here


class Crm(NamedTuple):
    address: str
    token: str


@pytest.fixture(scope="module")
def crm() -> Iterator[Crm]:
    """A stand-in for Pipedrive."""
    stand_in = Pipedrive()
    stand_in.fill(people(5, 0))
    with served(stand_in.app) as address:
        yield Crm(address, stand_in.credentials(address)["api_token"])


class Cli:
    """`leadtally connections …` on the test's database."""

    def __init__(self, here: Here, database: Database) -> None:
        self._here = here
        self._settings = {
            "DATABASE_URL": plain_url(database.url),
            "LEADTALLY_ENCRYPTION_KEY": ENCRYPTION_KEY.get_secret_value(),
            "LEADTALLY_PRIVATE_CRMS": "1",
        }

    def __call__(self, *command: str, **settings: str) -> Any:  # Any: a CompletedProcess of text
        return self._here("connections", *command, **self._settings, **settings)

    def says(self, *command: str, **settings: str) -> str:
        """What a command that goes well prints."""
        ended = self(*command, **settings)
        assert 0 == ended.returncode, ended.stderr
        out: str = ended.stdout
        return " ".join(out.split())


@pytest.fixture
def cli(here: Here, database: Database) -> Cli:
    return Cli(here, database)


def add(cli: Cli, crm: Crm, *more: str) -> str:
    return cli.says(
        "add", "pipedrive", "sales", "--credential", f"api_token={crm.token}", "--base-url", crm.address, *more
    )


def test_the_kinds_are_listed_with_what_they_need(cli: Cli) -> None:
    said = cli.says("kinds")

    for word in ("salesforce", "client_credentials", "client_id, client_secret", "pipedrive", "(with a browser)"):
        assert word in said


def test_a_connection_is_made_tested_paused_resumed_and_removed(cli: Cli, crm: Crm) -> None:
    said = add(cli, crm, "--option", "pull_every_s=60", "--option", "creates=true")
    assert crm.token not in said
    listed = cli.says("list")
    for word in ("sales", "pipedrive", "new", "nobody has tested it yet"):
        assert word in listed

    tested = cli.says("test", "sales")
    assert "Connection 'sales' can work." in tested
    assert "Signed in to" in tested
    assert "active" in cli.says("list")
    assert "opted_out" in cli.says("mapping", "sales")
    assert "goes on" in cli.says("resume", "sales")
    cli.says("pause", "sales")
    assert "paused" in cli.says("list")

    assert 1 == cli("remove", "sales").returncode
    assert "removed" in cli.says("remove", "sales", "--yes")
    assert "sales" not in cli.says("list")


def test_a_credential_is_read_from_a_file_or_the_standard_input(
    cli: Cli, crm: Crm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text(f"{crm.token}\n")
    place = ("--base-url", crm.address)

    cli.says("add", "pipedrive", "by file", "--credential", f"api_token=@{tmp_path / 'token'}", *place)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{crm.token}\n"))
    cli.says("add", "pipedrive", "by input", "--credential", "api_token=-", *place)

    for name in ("by file", "by input"):
        assert "can work" in cli.says("test", name)
    missing = cli("add", "pipedrive", "x", "--credential", f"api_token=@{tmp_path / 'none'}", *place)
    assert "No such file" in sentence(missing, 1)


def test_what_is_wrong_is_said_and_no_secret_with_it(cli: Cli, crm: Crm) -> None:
    secret = "swordfish"
    for command, words in (
        (("add", "pigeon", "x"), "there is no kind 'pigeon'; there is"),
        (("add", "pipedrive", "x", "--credential", secret), "expected NAME=VALUE"),
        (("add", "pipedrive", "x", "--credential", f"token={secret}"), "/credentials/api_token: api_token needs it"),
        (("add", "pipedrive", "x", "--option", "pull_every_s=1"), "/options/pull_every_s: input should be greater"),
        (("test", "nobody"), "there is no connection named 'nobody'"),
        (("fields", "nobody"), "there is no connection named 'nobody'"),
    ):
        assert words in sentence(cli(*command), 1)

    cli.says("add", "pipedrive", "wrong", "--credential", f"api_token={secret}", "--base-url", crm.address)
    tested = cli("test", "wrong")
    assert 1 == tested.returncode
    assert "error" in tested.stdout
    assert secret not in tested.stdout + tested.stderr
    assert "it cannot go on" in sentence(cli("resume", "wrong"), 1)
    assert "failing" in cli.says("list")
    refused = cli("add", "pipedrive", "x", "--credential", "api_token=t", "--base-url", "http://crm.example.com/?a=b")
    assert "/base_url: expected https://host" in sentence(refused, 1)


def test_the_mapping_is_shown_and_said_anew(cli: Cli, crm: Crm, tmp_path: Path) -> None:
    add(cli, crm)
    cli.says("test", "sales")
    before = orjson.loads(cli("mapping", "sales", "--json").stdout)
    fewer = {"pairs": [pair for pair in before["pairs"] if pair["here"] in ("email", "opted_out")]}
    (tmp_path / "fewer.json").write_bytes(orjson.dumps(fewer))
    (tmp_path / "wrong.json").write_bytes(orjson.dumps({"pairs": [{**fewer["pairs"][0], "there": "nowhere"}]}))
    (tmp_path / "none.json").write_text("pairs")

    assert "bounced" not in cli.says("mapping", "sales", "--set", str(tmp_path / "fewer.json"))
    assert fewer == orjson.loads(cli("mapping", "sales", "--json").stdout)
    assert "has no field 'nowhere'" in sentence(cli("mapping", "sales", "--set", str(tmp_path / "wrong.json")), 1)
    assert "dictionary" in sentence(cli("mapping", "sales", "--set", str(tmp_path / "none.json")), 1)
    fields = cli.says("fields", "sales", "--object", "person")
    assert "may be written" in fields
    assert "there is no object 'deal'" in sentence(cli("fields", "sales", "--object", "deal"), 1)


def test_the_address_to_sign_in_at_is_printed(cli: Cli, crm: Crm) -> None:
    add(cli, crm)
    cli.says(
        "add", "pipedrive", "by browser", "--flow", "oauth",
        "--credential", "client_id=us", "--credential", "client_secret=s",
    )  # fmt: skip

    url = cli.says("authorize", "by browser", LEADTALLY_PUBLIC_URL="https://leads.example.com")

    assert url.startswith("https://oauth.pipedrive.com/oauth/authorize?client_id=us")
    assert "redirect_uri=https%3A%2F%2Fleads.example.com%2Fv1%2Foauth%2Fcallback" in url
    assert "needs no browser; those that do: oauth" in sentence(cli("authorize", "sales"), 1)
