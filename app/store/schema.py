"""Bringing the database to the schema this code was written for, and asking whether it is there."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

import migrations
from app.errors import NotFound
from app.store.db import Database

_MIGRATION_LOCK = 7_300_001  # any number that nobody else uses: two starting processes must not migrate at once


def config() -> Config:
    """Alembic's configuration, without a file: only where the scripts are."""
    made = Config()
    made.set_main_option("script_location", str(Path(migrations.__path__[0])))
    made.set_main_option("path_separator", "os")
    return made


async def migrate(engine: AsyncEngine, target: str = "head") -> None:
    """Run what is missing up to `target`, or back down to it. Safe to call from several processes at once.

    Raises NotFound if this code does not know `target`, or the revision that the database is at.
    """

    def run(connection: Connection) -> None:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
        settings = config()
        settings.attributes["connection"] = connection
        current = MigrationContext.configure(connection).get_current_revision()
        downwards = target == "base" or (current is not None and target != "head" and _is_below(target, current))
        try:
            (command.downgrade if downwards else command.upgrade)(settings, target)
        except CommandError as fault:
            raise NotFound(f"there is no such revision of the schema: {fault}") from fault

    async with engine.begin() as connection:
        await connection.run_sync(run)


async def is_current(database: Database) -> bool:
    """Whether the database has every migration that this code knows. Raises what asyncpg raises if it is away."""
    head = ScriptDirectory.from_config(config()).get_current_head()
    async with database.hot.acquire() as db:
        known = await db.fetchval("SELECT to_regclass('alembic_version') IS NOT NULL")
        return bool(known) and head == await db.fetchval("SELECT version_num FROM alembic_version")


def _is_below(target: str, current: str) -> bool:
    walked = ScriptDirectory.from_config(config()).walk_revisions("base", current)
    return target in {script.revision for script in walked}
