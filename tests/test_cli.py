import asyncio
import logging
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import asyncpg
import pytest
import structlog

from app import terminal
from app.__main__ import main
from app.demo import PEOPLE
from tests.api.test_bounce_mail import notice
from tests.processes import Leadtally, environment, free_port, postgres_of, run, short_folder


def fetch(url: str, statement: str) -> list[asyncpg.Record]:
    async def ask() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetch(statement)
        finally:
            await connection.close()

    return asyncio.run(ask())


class Here(Protocol):
    """A command in this process, where a process of its own would take a second to start."""

    def __call__(self, *command: str, **settings: str) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Here]:
    root = logging.getLogger()
    before = root.handlers[:], root.level

    def run_here(*command: str, **settings: str) -> subprocess.CompletedProcess[str]:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["leadtally", *command])
            patch.setattr(terminal.out, "width", 200)  # which it has asked for long ago
            for name in set(os.environ) - set(environment()):
                patch.delenv(name)
            for name, value in settings.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                main()
        said = capsys.readouterr()
        return subprocess.CompletedProcess(command, int(ended.value.code or 0), said.out, said.err)

    yield run_here
    root.handlers, root.level = before
    structlog.reset_defaults()


def sentence(ended: subprocess.CompletedProcess[str], code: int) -> str:
    """What a command that failed said of it: not how it came about inside, and no secret."""
    assert code == ended.returncode, ended.stderr
    for never in ("Traceback", "swordfish", "File "):
        assert never not in ended.stderr
    return " ".join(ended.stderr.replace("│", " ").split())


def test_without_a_command_it_says_what_there_is() -> None:
    ended = run("--help")

    assert 0 == ended.returncode
    commands = "serve worker migrate keys import models sources bounces suppressions verify demo"
    for command in commands.split():
        assert command in ended.stdout


def test_the_proof_finds_nothing_until_something_is_wrong(blank: str, here: Here) -> None:
    assert 0 == here("demo", DATABASE_URL=blank).returncode

    proved = here("verify", DATABASE_URL=blank)
    assert (0, f"{PEOPLE} of {PEOPLE} contacts looked at: 0 differences.\n") == (proved.returncode, proved.stdout)
    sampled = here("verify", "--sample", "0.2", DATABASE_URL=blank)
    assert f"of {PEOPLE} contacts looked at" in sampled.stdout
    assert f"{PEOPLE} of" not in sampled.stdout

    fetch(blank, "UPDATE score SET value = value + 1 WHERE ctid = (SELECT min(ctid) FROM score)")
    wrong = here("verify", DATABASE_URL=blank)
    assert 1 == wrong.returncode
    assert "1 difference." in wrong.stdout
    assert "score in" in wrong.stdout


def test_bounce_mail_is_imported_from_a_maildir_and_from_an_mbox(blank: str, here: Here, tmp_path: Path) -> None:
    assert 0 == here("demo", DATABASE_URL=blank).returncode
    [[known]] = fetch(blank, "SELECT email FROM contact WHERE email IS NOT NULL AND NOT bounced LIMIT 1")
    report = notice(known, "5.1.1", "550 5.1.1 user unknown")
    for part in ("cur", "new", "tmp"):
        (tmp_path / "box" / part).mkdir(parents=True)
    (tmp_path / "box" / "new" / "1").write_bytes(report)
    (tmp_path / "box" / "new" / "2").write_bytes(notice("nobody@example.org", "4.4.1", "451 try later"))
    (tmp_path / "mbox").write_bytes(b"From MAILER-DAEMON Mon May  4 10:00:00 2026\n" + report + b"\n\n")
    bounced = f"SELECT count(*) FROM contact WHERE bounced AND email = '{known}'"

    tried = here("bounces", "import", str(tmp_path / "box"), "--dry-run", DATABASE_URL=blank)
    assert (0, "Messages: 2. Reports to be stored: 1; of addresses nobody has: 1.") == (
        tried.returncode,
        tried.stdout.splitlines()[-1],
    )
    assert [0] == [row[0] for row in fetch(blank, bounced)]
    done = here("bounces", "import", str(tmp_path / "box"), DATABASE_URL=blank)
    assert "hard" in done.stdout
    assert [1] == [row[0] for row in fetch(blank, bounced)]
    again = here("bounces", "import", str(tmp_path / "mbox"), DATABASE_URL=blank)
    assert "Messages: 1. Reports stored: 1" in again.stdout
    assert [1] == [row[0] for row in fetch(blank, "SELECT count(*) FROM event WHERE source = 'bounce-mail'")]
    (tmp_path / "none").mkdir()
    assert "no message" in sentence(here("bounces", "import", str(tmp_path / "none"), DATABASE_URL=blank), 1)


def test_keys_are_made_listed_and_revoked(blank: str, here: Here) -> None:
    made = run("keys", "create", "the site", "--scope", "ingest", "--scope", "read", DATABASE_URL=blank)
    secret = made.stdout.strip()
    assert (0, "lt_") == (made.returncode, secret[:3])
    assert secret not in made.stderr
    assert "ingest, read" in made.stderr

    again = here("keys", "create", "the site", "--scope", "read", DATABASE_URL=blank)
    unknown = here("keys", "create", "other", "--scope", "everything", DATABASE_URL=blank)
    nobody = here("keys", "revoke", "nobody", DATABASE_URL=blank)
    assert ("", True) == (again.stdout, "there is a key named 'the site' already" in sentence(again, 1))
    assert "'everything' is not one of" in sentence(unknown, 2)
    assert "there is no key named 'nobody'" in sentence(nobody, 1)

    assert 0 == here("keys", "revoke", "the site", DATABASE_URL=blank).returncode
    listed = here("keys", "list", DATABASE_URL=blank)
    assert 0 == listed.returncode
    assert "the site" in listed.stdout
    assert secret[:7] in listed.stdout
    assert secret not in listed.stdout
    [key] = fetch(blank, "SELECT name, scopes, revoked_at IS NOT NULL AS is_revoked FROM api_key")
    assert ("the site", ["ingest", "read"], True) == tuple(key)


def test_migrate_goes_up_and_down(blank: str, here: Here) -> None:
    tables = "SELECT count(*) FROM pg_tables WHERE tablename IN ('contact', 'event', 'pgqueuer')"

    assert 0 == run("migrate", DATABASE_URL=blank).returncode
    assert 3 == fetch(blank, tables)[0][0]
    assert 0 == here("migrate", "base", DATABASE_URL=blank).returncode
    assert 0 == fetch(blank, tables)[0][0]
    assert "no such revision" in sentence(here("migrate", "nowhere", DATABASE_URL=blank), 1)


def test_contacts_are_imported_and_wrong_lines_are_listed(blank: str, here: Here, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text("Mail,Visits,Notes\nada@example.com,7,x\nnobody,1,\nbob@example.com,many,\n", encoding="utf-8")
    mapping = '{"Mail": "email", "Visits": "properties.visits:number", "Notes": null}'

    ended = run("import", "contacts", str(file), "--map", mapping, "--source", "fair", DATABASE_URL=blank)

    assert 1 == ended.returncode
    assert "Importing: 100 % 3 lines" in ended.stderr
    assert "line 3, column 'Mail': " in ended.stderr
    assert "line 4, column 'Visits': expected number" in ended.stderr
    assert "\x1b" not in ended.stdout + ended.stderr  # plain lines, for there is no terminal
    assert ["1", "0", "2"] == [word for word in ended.stdout.split() if word.isdigit()]
    assert [("ada@example.com", '{"visits": 7}')] == [
        tuple(row) for row in fetch(blank, "SELECT email, properties::text FROM contact")
    ]

    file.write_text("Mail\nada@example.com\n", encoding="utf-8")
    ended = here("import", "contacts", str(file), "--map", '{"Mail": "email"}', DATABASE_URL=blank)
    assert 0 == ended.returncode


def test_an_import_that_cannot_be_says_why(here: Here, blank: str, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("Mail\nada@example.com\n", encoding="utf-8")
    (tmp_path / "empty.csv").touch()
    attempts = {
        "--map is not JSON": ["people.csv", "--map", "{"],
        "/mapping/Mail: unknown target": ["people.csv", "--map", '{"Mail": "phone"}'],
        "/mapping/Nothing: the file has no such column": ["people.csv", "--map", '{"Nothing": "email"}'],
        "the file is empty": ["empty.csv"],
    }
    for expected, (name, *options) in attempts.items():
        ended = here("import", "contacts", str(tmp_path / name), *options, DATABASE_URL=blank)
        assert expected in sentence(ended, 1)
    assert "does not exist" in sentence(here("import", "contacts", "nowhere.csv", DATABASE_URL=blank), 2)


def test_the_demo_fills_an_empty_workspace_and_no_other(blank: str, here: Here) -> None:
    first = run("demo", DATABASE_URL=blank)
    assert (0, True) == (first.returncode, "Filling the demo workspace: 100 %" in first.stderr)
    assert f"{PEOPLE} people" in first.stdout
    assert PEOPLE == fetch(blank, "SELECT count(*) FROM contact")[0][0]
    assert 2 == fetch(blank, "SELECT count(*) FROM scoring_model WHERE live_version = 1")[0][0]
    [hot] = fetch(
        blank, "SELECT count(*) FILTER (WHERE value > 60) AS hot, count(*) FILTER (WHERE value < 0) AS bad FROM score"
    )
    assert hot["hot"] > 20
    assert hot["bad"] > 10

    second = here("demo", DATABASE_URL=blank)
    assert (1, True) == (second.returncode, "the workspace is not empty" in second.stderr)
    assert PEOPLE == fetch(blank, "SELECT count(*) FROM contact")[0][0]


def test_a_bad_setting_is_a_sentence(here: Here) -> None:
    bad = {
        "LEADTALLY_PORT": "web",
        "LEADTALLY_ADMIN_KEY": "",
        "LEADTALLY_WORKER": "perhaps",
        "DATABASE_URL": "mysql://ada:swordfish@db/x",
    }
    for name, value in bad.items():
        assert name.removeprefix("LEADTALLY_").lower() in sentence(here("serve", **{name: value}), 2).lower()


def test_a_database_that_cannot_be_reached_is_a_sentence(here: Here) -> None:
    url = f"postgresql://ada:swordfish@127.0.0.1:{free_port()}/x"
    for command in (["serve"], ["worker"], ["migrate"], ["keys", "list"]):
        ended = here(*command, DATABASE_URL=url, LEADTALLY_PORT=str(free_port()))
        assert "cannot reach the database" in sentence(ended, 1)


def test_a_database_that_is_not_there_or_refuses_us_is_a_sentence(blank: str, here: Here) -> None:
    ended = here("keys", "list", DATABASE_URL=blank.replace("leadtally_test_", "leadtally_none_"))

    assert "does not exist" in sentence(ended, 1)


def test_a_taken_port_is_a_sentence_and_starts_no_database() -> None:
    with short_folder() as folder, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])

        ended = run("serve", LEADTALLY_PORT=port, LEADTALLY_DATA_DIR=str(folder / "pg"))

        said = sentence(ended, 1)
        assert f"cannot listen on 127.0.0.1:{port}" in said
        assert "LEADTALLY_PORT" in said
        assert not (folder / "pg").exists()


def test_a_folder_that_holds_something_else_is_left_alone() -> None:
    with short_folder() as folder:
        (folder / "thesis.txt").write_text("years of work", encoding="utf-8")
        owner = folder.stat().st_uid

        ended = run("keys", "list", LEADTALLY_DATA_DIR=str(folder))

        assert "neither empty nor a folder of Postgres" in sentence(ended, 1)
        assert (["thesis.txt"], owner) == ([one.name for one in folder.iterdir()], folder.stat().st_uid)


def test_a_command_alone_starts_the_embedded_database_and_stops_it() -> None:
    with short_folder() as folder, Leadtally(folder) as server:
        made = run("keys", "create", "a", "--scope", "read", LEADTALLY_DATA_DIR=str(server.data))
        assert (0, []) == (made.returncode, postgres_of(server.data))

        listed = run("keys", "list", LEADTALLY_DATA_DIR=str(server.data))
        assert (0, []) == (listed.returncode, postgres_of(server.data))
        assert made.stdout[:7] in listed.stdout


def test_sources_are_made_shown_rotated_switched_replayed_and_deleted(blank: str, here: Here, tmp_path: Path) -> None:
    settings = {"DATABASE_URL": blank, "LEADTALLY_DATA_DIR": str(tmp_path), "COLUMNS": "200"}

    def sources(*command: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        ended = here("sources", *command, **settings)
        assert code == ended.returncode, ended.stderr
        return ended

    url = sources("create", "brevo", "mail", "--secret", "swordfish").stdout.strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:8000/v1/webhooks/[0-9a-f-]{36}", url)
    assert "sendgrid, mailgun" in sentence(sources("create", "pigeon", "x", code=1), 1)
    assert "the HTTP webhook signing key" in sentence(sources("create", "mailgun", "x", code=1), 1)
    key = sources("create", "segment", "site").stdout.strip()
    other = sources("rotate", "site").stdout.strip()
    assert key != other
    sources("rotate", "mail", "--secret", "swordfish 2", "--drop-old")
    sources("disable", "mail")
    listed = sources("list").stdout
    assert "off" in listed
    assert "swordfish" not in listed
    assert other not in listed
    sources("enable", "mail")

    fetch(
        blank,
        """
        INSERT INTO delivery (id, source_id, received_at, method, url, headers, body, read_at, rejected)
        SELECT '018f0000-0000-7000-8000-000000000000', id, now(), 'POST', '', '{}', convert_to(
            '{"event":"opened","email":"ana@example.com","message-id":"1","ts_event":1714979289}', 'UTF8'
        ), now(), 1 FROM source WHERE name = 'mail'
        """,
    )
    assert "0 calls were read again" in sources("replay", "--since", "2999-01-01").stdout
    replayed = sources("replay", "--source", "mail", "--only-faulty").stdout
    assert "1 calls were read again: 1 new events, 0 rejected" in replayed
    assert ["email.opened"] == [row[0] for row in fetch(blank, "SELECT type FROM event")]
    sources("delete", "mail", "--yes")
    assert "there is no source named 'mail'" in sentence(sources("replay", "--source", "mail", code=1), 1)
    assert ["site"] == [row[0] for row in fetch(blank, "SELECT name FROM source")]
