"""One migrated database per test process: on an embedded Postgres of its own, or beside `DATABASE_URL`. Real commits.

The whole suite is spread over as many processes as there are cores, any test to any of them; so no test may lean on
another, and parameters must have the same names in every process. A part of the suite, named on the command line, runs
in one process, which begins sooner.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy.engine.url import make_url

from app import clock
from app.store import schema
from app.store.db import Database, plain_url
from app.store.embedded import EmbeddedPostgres


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """None of them for a part of the suite; else as many as there are cores, which pytest-xdist knows."""
    asked = [(config.invocation_params.dir / one).resolve() for one in config.args]
    return None if asked == [Path(__file__).parent] else 0


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests have measured and noted: a process that is not the first has no terminal to print it to."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """A Postgres server's URL."""
    given = os.environ.get("DATABASE_URL")
    if given:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="leadtally-test-", ignore_cleanup_errors=True) as folder:
        embedded = EmbeddedPostgres(Path(folder) / "pg")
        url = embedded.start()
        for durable in ("fsync", "synchronous_commit", "full_page_writes"):  # nothing here outlives the machine
            asyncio.run(_on(url, f"ALTER SYSTEM SET {durable} = off"))
        asyncio.run(_on(url, "SELECT pg_reload_conf()"))
        yield url
        embedded.stop()


@pytest.fixture
def blank(server: str) -> Iterator[str]:
    """The URL of an empty database of this test's own."""
    name = f"leadtally_test_{uuid4().hex[:12]}"
    asyncio.run(_on(server, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8'"))
    yield plain_url(make_url(server).set(database=name))
    asyncio.run(_on(server, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="session")
async def shared(server: str) -> AsyncIterator[tuple[Database, str]]:
    """A migrated database that all tests of this process share, one after another, and the statements that empty it.

    Those are of every table but the few into which migrations have put a row. Deleting from tables this small takes
    2 ms; truncating them makes new files and takes 70.
    """
    name = f"leadtally_test_{uuid4().hex[:12]}"
    await _on(server, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8'")
    async with Database(plain_url(make_url(server).set(database=name)), name="leadtally test") as database:
        await schema.migrate(database.engine)
        async with database.hot.acquire() as db:
            tables = [row[0] for row in await db.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
            empty = [table for table in tables if not await db.fetchval(f"SELECT EXISTS (SELECT FROM {table})")]
        statements = [f"DELETE FROM {table}" for table in empty]
        yield database, ";".join([*statements, "UPDATE plan_epoch SET epoch = epoch + 1"])
    await _on(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def migrated(shared: tuple[Database, str]) -> Database:
    return shared[0]


@pytest.fixture
async def database(shared: tuple[Database, str]) -> AsyncIterator[Database]:
    """The migrated database, empty before the test."""
    migrated, emptying = shared
    async with migrated.hot.acquire() as connection:
        await connection.execute(emptying)
    yield migrated
    clock.shift(timedelta())


async def _on(server: str, statement: str) -> None:
    connection = await asyncpg.connect(plain_url(make_url(server)))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
