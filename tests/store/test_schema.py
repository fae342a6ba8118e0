import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor

import asyncpg
import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from app.errors import NotFound
from app.store import schema
from app.store.db import Database
from tests.processes import run

OBJECTS = """
    SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND c.relname NOT LIKE 'alembic_version%'
    UNION ALL SELECT proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'public'
    UNION ALL SELECT typname FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
    WHERE n.nspname = 'public' AND typname NOT LIKE '%alembic_version'
    ORDER BY 1
"""


async def objects(database: Database) -> list[str]:
    """Everything in the schema, by name."""
    async with database.hot.acquire() as db:
        return [str(row[0]) for row in await db.fetch(OBJECTS)]


async def test_migrations_go_up_down_to_nothing_and_up_again(blank: str) -> None:
    async with Database(blank) as database:
        assert not await schema.is_current(database)
        await schema.migrate(database.engine)
        after = await objects(database)
        assert {"contact", "event", "fold_tags", "as_instant", "pgqueuer"} <= set(after)
        assert await schema.is_current(database)

        await schema.migrate(database.engine, "base")
        assert [] == await objects(database)
        assert not await schema.is_current(database)

        await schema.migrate(database.engine)
        assert after == await objects(database)
        assert await schema.is_current(database)


async def test_each_revision_goes_down_and_up_by_itself(blank: str) -> None:
    revisions = [script.revision for script in ScriptDirectory.from_config(schema.config()).walk_revisions()]
    async with Database(blank) as database:
        await schema.migrate(database.engine)
        for below in [*revisions[1:], "base"]:
            await schema.migrate(database.engine, below)
        for revision in reversed(revisions):
            await schema.migrate(database.engine, revision)

        assert await schema.is_current(database)


async def test_the_migrated_database_is_what_the_models_say(migrated: Database) -> None:
    def check(connection: Connection) -> None:
        settings = schema.config()
        settings.attributes["connection"] = connection
        command.check(settings)  # raises if a migration is missing

    async with migrated.engine.connect() as connection:
        await connection.run_sync(check)


async def test_migrating_again_changes_nothing(migrated: Database) -> None:
    before = await objects(migrated)

    await schema.migrate(migrated.engine)

    assert before == await objects(migrated)


async def test_a_revision_that_nobody_knows_is_not_found(blank: str) -> None:
    async with Database(blank) as database:
        with pytest.raises(NotFound):
            await schema.migrate(database.engine, "nowhere")

        assert [] == await objects(database)


async def test_a_migration_that_fails_leaves_nothing_behind(blank: str) -> None:
    async with Database(blank) as database:
        async with database.hot.acquire() as db:
            await db.execute("CREATE TABLE tally (n int)")
        with pytest.raises(Exception, match="tally"):
            await schema.migrate(database.engine)

        assert ["_tally", "tally", "tally"] == await objects(database)


def test_several_processes_may_migrate_at_once(blank: str) -> None:
    with ThreadPoolExecutor(4) as at_once:
        ends = list(at_once.map(lambda _: run("migrate", DATABASE_URL=blank), range(4)))

    assert [0] * 4 == [ended.returncode for ended in ends], [ended.stderr for ended in ends]

    async def revisions() -> list[str]:
        connection = await asyncpg.connect(blank)
        try:
            return [row[0] for row in await connection.fetch("SELECT version_num FROM alembic_version")]
        finally:
            await connection.close()

    assert [ScriptDirectory.from_config(schema.config()).get_current_head()] == asyncio.run(revisions())
    assert sys.version_info >= (3, 11)
