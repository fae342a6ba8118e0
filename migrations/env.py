"""Runs the migrations on the connection that `app.store.schema` hands over."""

from alembic import context
from sqlalchemy import Connection
from sqlmodel import SQLModel

from app.store import (  # noqa: F401 - registers the tables
    hygiene_tables,
    marking_tables,
    people_tables,
    service_tables,
    source_tables,
    sync_tables,
    tables,
)


def is_ours(name: str | None, kind: str, _parents: object) -> bool:
    """PgQueuer's tables belong to PgQueuer."""
    return not (kind == "table" and name is not None and name.startswith("pgqueuer"))


connection: Connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=SQLModel.metadata, include_name=is_ours, compare_type=True)
with context.begin_transaction():
    context.run_migrations()
