"""One migrated database per test process: on the embedded Postgres, or beside `DATABASE_URL`. Real commits."""

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
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            asyncio.run(_on(url, f"ALTER SYSTEM SET {setting} = off"))
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
async def migrated(server: str) -> AsyncIterator[Database]:
    """A migrated database that all tests of this process share, one after another."""
    name = f"leadtally_test_{uuid4().hex[:12]}"
    await _on(server, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8'")
    async with Database(plain_url(make_url(server).set(database=name)), name="leadtally test") as database:
        await schema.migrate(database.engine)
        yield database
    await _on(server, f"DROP DATABASE {name} WITH (FORCE)")


# Deleting from tables this small takes 5 ms; truncating them makes new files and takes 70.
_CLEAN = "".join(
    f"DELETE FROM {table};"
    for table in (
        "identity", "contact", "activity", "event", "tally", "staged_tally", "score", "counter", "rule",
        "model_version", "scoring_model", "score_change", "contact_past", "adjustment", "segment", "measure",
        "property", "remark", "merge", "merge_part", "merge_edit", "idempotent_call", "source", "delivery", "suppression", "own_secret",
        "preview_score", "job", "api_key", "worker", "pgqueuer", "pgqueuer_log", "pgqueuer_schedules",
    )
) + "UPDATE plan_epoch SET epoch = epoch + 1;"  # fmt: skip


@pytest.fixture
async def database(migrated: Database) -> AsyncIterator[Database]:
    """The migrated database, empty before the test."""
    async with migrated.hot.acquire() as connection:
        await connection.execute(_CLEAN)
    yield migrated
    clock.shift(timedelta())


async def _on(server: str, statement: str) -> None:
    connection = await asyncpg.connect(plain_url(make_url(server)))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
