"""Tables of the service itself: its plan's epoch, jobs, keys, workers, readers."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Column, Index, LargeBinary, SmallInteger, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel

from app.store.tables import instant, words


class PlanEpoch(SQLModel, table=True):
    """One row: counts up whenever what ingest must count or score changes, so that every process reloads its plan."""

    __tablename__ = "plan_epoch"

    id: int = Field(primary_key=True, sa_type=SmallInteger)
    epoch: int = Field(sa_column=Column(BigInteger, nullable=False))


class Job(SQLModel, table=True):
    """Background work that somebody may want to watch. PgQueuer holds the queue; this holds progress and end."""

    id: UUID = Field(primary_key=True)
    kind: str = words()
    payload: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    status: str = words()
    phase: str | None = words(nullable=True)
    done: int = Field(sa_column=Column(BigInteger, nullable=False, server_default="0"))
    total: int = Field(sa_column=Column(BigInteger, nullable=False, server_default="0"))
    cursor: str | None = words(nullable=True)
    error: str | None = words(nullable=True)
    result: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB, nullable=True))
    created_at: datetime = instant()
    starts_at: datetime | None = instant(nullable=True)
    """Not before; None: at once."""
    started_at: datetime | None = instant(nullable=True)
    finished_at: datetime | None = instant(nullable=True)

    __table_args__ = (
        Index("job_created", "created_at", "id"),
        Index("job_preview", "id", postgresql_where=text("kind = 'model.preview'")),
    )


class ApiKey(SQLModel, table=True):
    """A key's hash, name and scopes. The key itself is shown once and kept nowhere."""

    __tablename__ = "api_key"

    id: UUID = Field(primary_key=True)
    name: str = words()
    hint: str = words()
    """The first characters of the key, to tell keys apart in a list."""
    digest: bytes = Field(sa_column=Column(LargeBinary, nullable=False, unique=True))
    scopes: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    created_at: datetime = instant()
    revoked_at: datetime | None = instant(nullable=True)

    __table_args__ = (UniqueConstraint("name", name="api_key_name"),)


class IdempotentCall(SQLModel, table=True):
    """A call that carried an Idempotency-Key, and what was answered: `store/idempotency.py`."""

    __tablename__ = "idempotent_call"

    caller: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    """The hash of the API key: keys of two callers have nothing to do with each other."""
    key: str = words(primary_key=True)
    fingerprint: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    """The hash of what was asked."""
    began_at: datetime = instant()
    took_effect: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    status: int | None = Field(default=None, sa_type=SmallInteger)
    """None while the answer is not known."""
    headers: dict[str, str] | None = Field(default=None, sa_column=Column(JSONB, nullable=True))
    body: bytes | None = Field(default=None, sa_column=Column(LargeBinary, nullable=True))

    __table_args__ = (Index("idempotent_call_began", "began_at"),)


class Worker(SQLModel, table=True):
    """A worker that lives says so here every few seconds; readiness asks."""

    id: UUID = Field(primary_key=True)
    beat_at: datetime = instant()


class WaitingReader(SQLModel, table=True):
    """A process that wants to be woken when something has changed: `store/feed.py`. Unlogged: it says so again."""

    __tablename__ = "waiting_reader"

    id: UUID = Field(primary_key=True)
    until: datetime = instant()
    """By the database's clock. Later the process is taken for dead."""

    __table_args__ = ({"prefixes": ["UNLOGGED"]},)
