import asyncio
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg

from app.demo import PEOPLE
from tests.processes import Leadtally, free_port, postgres_of, run, short_folder


def fetch(url: str, statement: str) -> list[asyncpg.Record]:
    async def ask() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetch(statement)
        finally:
            await connection.close()

    return asyncio.run(ask())


def sentence(ended: subprocess.CompletedProcess[str], code: int) -> str:
    """What a command that failed said of it: not how it came about inside, and no secret."""
    assert code == ended.returncode, ended.stderr
    for never in ("Traceback", "swordfish", "File "):
        assert never not in ended.stderr
    return " ".join(ended.stderr.replace("│", " ").split())


def test_without_a_command_it_says_what_there_is() -> None:
    ended = run("--help")

    assert 0 == ended.returncode
    for command in ("serve", "worker", "migrate", "keys", "import", "demo"):
        assert command in ended.stdout


def test_keys_are_made_listed_and_revoked(blank: str) -> None:
    made = run("keys", "create", "the site", "--scope", "ingest", "--scope", "read", DATABASE_URL=blank)
    secret = made.stdout.strip()
    assert (0, "lt_") == (made.returncode, secret[:3])
    assert secret not in made.stderr
    assert "ingest, read" in made.stderr

    again = run("keys", "create", "the site", "--scope", "read", DATABASE_URL=blank)
    assert (1, "") == (again.returncode, again.stdout)
    assert "there is a key named 'the site' already" in again.stderr
    assert 2 == run("keys", "create", "other", "--scope", "everything", DATABASE_URL=blank).returncode

    assert 0 == run("keys", "revoke", "the site", DATABASE_URL=blank).returncode
    nobody = run("keys", "revoke", "nobody", DATABASE_URL=blank)
    assert (1, True) == (nobody.returncode, "there is no key named 'nobody'" in nobody.stderr)

    listed = run("keys", "list", DATABASE_URL=blank)
    assert 0 == listed.returncode
    assert "the site" in listed.stdout
    assert secret[:7] in listed.stdout
    assert secret not in listed.stdout
    [key] = fetch(blank, "SELECT name, scopes, revoked_at IS NOT NULL AS is_revoked FROM api_key")
    assert ("the site", ["ingest", "read"], True) == tuple(key)


def test_migrate_goes_up_and_down(blank: str) -> None:
    tables = "SELECT count(*) FROM pg_tables WHERE tablename IN ('contact', 'event', 'pgqueuer')"

    assert 0 == run("migrate", DATABASE_URL=blank).returncode
    assert 3 == fetch(blank, tables)[0][0]
    assert 0 == run("migrate", "base", DATABASE_URL=blank).returncode
    assert 0 == fetch(blank, tables)[0][0]
    assert "no such revision" in sentence(run("migrate", "nowhere", DATABASE_URL=blank), 1)


def test_contacts_are_imported_and_wrong_lines_are_listed(blank: str, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text("Mail,Visits,Notes\nada@example.com,7,x\nnobody,1,\nbob@example.com,many,\n", encoding="utf-8")
    mapping = '{"Mail": "email", "Visits": "properties.visits:number", "Notes": null}'

    ended = run("import", "contacts", str(file), "--map", mapping, "--source", "fair", DATABASE_URL=blank)

    assert 1 == ended.returncode
    assert "Importing: 100 % 3 lines" in ended.stderr
    assert "line 3, column 'Mail': " in ended.stderr
    assert "line 4, column 'Visits': expected number" in ended.stderr
    assert "\x1b" not in ended.stdout + ended.stderr
    assert ["1", "0", "2"] == [word for word in ended.stdout.split() if word.isdigit()]
    assert [("ada@example.com", '{"visits": 7}')] == [
        tuple(row) for row in fetch(blank, "SELECT email, properties::text FROM contact")
    ]

    file.write_text("Mail\nada@example.com\n", encoding="utf-8")
    ended = run("import", "contacts", str(file), "--map", '{"Mail": "email"}', DATABASE_URL=blank)
    assert 0 == ended.returncode


def test_an_import_that_cannot_be_says_why(blank: str, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("Mail\nada@example.com\n", encoding="utf-8")
    (tmp_path / "empty.csv").touch()
    attempts = {
        "--map is not JSON": ["people.csv", "--map", "{"],
        "/mapping/Mail: unknown target": ["people.csv", "--map", '{"Mail": "phone"}'],
        "/mapping/Nothing: the file has no such column": ["people.csv", "--map", '{"Nothing": "email"}'],
        "the file is empty": ["empty.csv"],
    }
    assert 0 == run("migrate", DATABASE_URL=blank).returncode

    def attempt(arguments: list[str]) -> subprocess.CompletedProcess[str]:
        return run("import", "contacts", str(tmp_path / arguments[0]), *arguments[1:], DATABASE_URL=blank)

    with ThreadPoolExecutor(4) as at_once:
        for expected, ended in zip(attempts, at_once.map(attempt, attempts.values()), strict=True):
            assert expected in sentence(ended, 1)
    assert "does not exist" in sentence(attempt(["nowhere.csv"]), 2)


def test_the_demo_fills_an_empty_workspace_and_no_other(blank: str) -> None:
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

    second = run("demo", DATABASE_URL=blank)
    assert (1, True) == (second.returncode, "the workspace is not empty" in second.stderr)
    assert PEOPLE == fetch(blank, "SELECT count(*) FROM contact")[0][0]


def test_a_bad_setting_is_a_sentence() -> None:
    bad = {
        "LEADTALLY_PORT": "web",
        "LEADTALLY_ADMIN_KEY": "swordfish",
        "LEADTALLY_WORKER": "perhaps",
        "DATABASE_URL": "mysql://ada:swordfish@db/x",
    }
    with ThreadPoolExecutor(4) as at_once:
        ends = at_once.map(lambda setting: run("serve", **{setting[0]: setting[1]}), bad.items())
        for name, ended in zip(bad, ends, strict=True):
            assert name.removeprefix("LEADTALLY_").lower() in sentence(ended, 2).lower()


def test_a_database_that_cannot_be_reached_is_a_sentence() -> None:
    url = f"postgresql://ada:swordfish@127.0.0.1:{free_port()}/x"
    commands = [["serve"], ["worker"], ["migrate"], ["keys", "list"]]
    with ThreadPoolExecutor(4) as at_once:
        for ended in at_once.map(
            lambda command: run(*command, DATABASE_URL=url, LEADTALLY_PORT=str(free_port())), commands
        ):
            assert "cannot reach the database" in sentence(ended, 1)


def test_a_database_that_is_not_there_or_refuses_us_is_a_sentence(blank: str) -> None:
    ended = run("keys", "list", DATABASE_URL=blank.replace("leadtally_test_", "leadtally_none_"))

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
