import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import asyncpg
import psutil
import pytest

from app.errors import Unavailable
from app.store.embedded import EmbeddedPostgres
from tests.processes import postgres_of, short_folder


def ask(url: str, statement: str) -> object:
    async def fetch() -> object:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(fetch())


def test_it_is_made_with_a_locale_that_knows_letters_beyond_ascii_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("LC_ALL", "LANG", "LC_CTYPE"):
        monkeypatch.setenv(name, "C")
    with short_folder() as folder:
        embedded = EmbeddedPostgres(folder / "pg")
        url = embedded.start()
        try:
            assert "äßπж" == ask(url, "SELECT lower('ÄßΠЖ')")
            assert "UTF8" == ask(url, "SHOW server_encoding")
            assert "C.UTF-8" == ask(url, "SELECT datcollate FROM pg_database WHERE datname = current_database()")
            for durable in ("fsync", "synchronous_commit", "full_page_writes"):
                assert "on" == ask(url, f"SHOW {durable}")
            assert "512MB" == ask(url, "SHOW shared_buffers")
            assert "" == ask(url, "SHOW listen_addresses")
        finally:
            embedded.stop()
        assert [] == postgres_of(folder / "pg")


def test_data_stay_over_a_stop_and_a_start() -> None:
    with short_folder() as folder:
        for attempt in range(2):
            embedded = EmbeddedPostgres(folder / "pg")
            url = embedded.start()
            if attempt == 0:
                ask(url, "CREATE TABLE kept AS SELECT 7 AS n")
            assert 7 == ask(url, "SELECT n FROM kept")
            embedded.stop()
        assert [] == postgres_of(folder / "pg")


def test_a_path_too_long_for_a_socket_is_no_obstacle() -> None:
    with short_folder() as folder:
        embedded = EmbeddedPostgres(folder / ("long" * 30) / "pg")
        try:
            assert 1 == ask(embedded.start(), "SELECT 1")
        finally:
            embedded.stop()


def test_a_folder_with_a_space_and_letters_beyond_ascii_is_no_obstacle() -> None:
    with short_folder() as folder:
        strange = folder / "mein Büro & c++ 100% 'x'" / "pg"
        for _ in range(2):
            embedded = EmbeddedPostgres(strange)
            try:
                assert 1 == ask(embedded.start(), "SELECT 1")
            finally:
                embedded.stop()
            assert [] == postgres_of(strange)


_USER = """
import sys
from pathlib import Path
from app.store.embedded import EmbeddedPostgres

embedded = EmbeddedPostgres(Path(sys.argv[1]))
embedded.start()
print("started", flush=True)
sys.stdin.readline()
embedded.stop()
"""


def test_the_last_of_several_users_stops_it_and_the_dead_do_not_count(tmp_path: Path) -> None:
    def user(folder: Path) -> subprocess.Popen[str]:
        made = subprocess.Popen(
            [sys.executable, "-c", _USER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert made.stdout is not None
        assert "started\n" == made.stdout.readline()
        return made

    def leave(one: subprocess.Popen[str]) -> None:
        one.communicate("\n", timeout=30)

    with short_folder() as folder:
        first, second, killed = user(folder / "pg"), user(folder / "pg"), user(folder / "pg")
        killed.kill()
        killed.communicate()
        leave(first)
        assert [] != postgres_of(folder / "pg")
        leave(second)
        assert [] == postgres_of(folder / "pg")


def test_a_cluster_whose_making_was_cut_off_is_made_anew() -> None:
    with short_folder() as folder:
        half = folder / "pg"
        (half / "base").mkdir(parents=True)
        (half / "pg_wal").mkdir()
        for is_versioned in (False, True):
            if is_versioned:
                half.mkdir(exist_ok=True)
                (half / "PG_VERSION").write_text("18\n")
                (half / "postgresql.conf").write_text("# begun\n")
            embedded = EmbeddedPostgres(half)
            try:
                assert 1 == ask(embedded.start(), "SELECT 1")
            finally:
                embedded.stop()
            subprocess.run(["rm", "-r", str(half)], check=True)


@pytest.mark.parametrize("entries", [["thesis.txt"], ["base", "thesis.txt"], ["pg_notes", "a"]])
def test_a_folder_that_holds_something_else_is_refused_and_kept(entries: list[str]) -> None:
    with short_folder() as folder:
        for name in entries:
            (folder / name).write_text("kept")

        with pytest.raises(Unavailable, match="neither empty nor a folder of Postgres"):
            EmbeddedPostgres(folder).start()

        assert set(entries) == {entry.name for entry in folder.iterdir()}


def test_a_cluster_of_another_version_is_refused_with_a_sentence() -> None:
    with short_folder() as folder:
        (folder / "PG_VERSION").write_text("12\n")
        (folder / "postmaster.opts").write_text("postgres\n")

        with pytest.raises(Unavailable, match="12"):
            EmbeddedPostgres(folder).start()


def test_a_number_of_a_dead_process_is_struck_from_the_users() -> None:
    with short_folder() as folder:
        dead = subprocess.Popen([sys.executable, "-c", ""])
        dead.wait()
        embedded = EmbeddedPostgres(folder / "pg")
        embedded.start()
        users = folder / "pg" / ".handle_pids.json"
        users.write_text(json.dumps([dead.pid, *json.loads(users.read_text())]))
        assert psutil.pid_exists(os.getpid())

        embedded.stop()

        assert [] == postgres_of(folder / "pg")
