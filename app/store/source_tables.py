"""Tables of what can tell us something: sources, what came in from them, and secrets of our own."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel

from app.store.tables import instant, words


def _count(kind: type[Integer] = Integer) -> Any:  # Any: SQLModel's Field returns Any
    return Field(default=0, sa_column=Column(kind, nullable=False, server_default="0"))


class Source(SQLModel, table=True):
    """Somebody who sends us events by calling: an e-mail provider's webhook, a tracking SDK, CloudEvents."""

    id: UUID = Field(primary_key=True)
    """Random, for a webhook's URL ends with it: whoever knows it may call."""
    kind: str = words()
    name: str = words(unique=True)
    """Never changed: events carry it as their source, and their ids derive from it."""
    verify: bool
    enabled: bool = Field(default=True, sa_column_kwargs={"server_default": text("true")})
    secrets: list[bytes] = Field(sa_column=Column(ARRAY(LargeBinary), nullable=False, server_default="{}"))
    """Sealed, the newest first; the one it replaced holds until it is dropped."""
    key_hint: str | None = words(nullable=True)
    key_digest: bytes | None = Field(default=None, sa_column=Column(LargeBinary, nullable=True, unique=True))
    """Of the write key, for kinds that have one."""
    old_key_digest: bytes | None = Field(default=None, sa_column=Column(LargeBinary, nullable=True, unique=True))
    received: int = _count(BigInteger)
    """Calls that were read. Those still unread are counted where somebody asks."""
    accepted: int = _count(BigInteger)
    duplicates: int = _count(BigInteger)
    rejected: int = _count(BigInteger)
    refused: int = _count(BigInteger)
    """Calls turned away, of which nothing was kept: forged, or while it was switched off."""
    refused_at: datetime | None = instant(nullable=True)
    refused_because: str | None = words(nullable=True)
    last_seen_at: datetime | None = instant(nullable=True)
    """When the last call that was read came in."""
    created_at: datetime = instant()


class Delivery(SQLModel, table=True):
    """One call of a source, raw. Kept for some days, so that it can be read again.

    No foreign key: each insert would lock the one row of a busy source.
    """

    id: UUID = Field(primary_key=True)
    """By time of arrival (RFC 9562, version 7)."""
    source_id: UUID
    received_at: datetime = instant()
    method: str = words()
    url: str = words()
    headers: dict[str, str] = Field(sa_column=Column(JSONB, nullable=False))
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    """Un-gzipped."""
    read_at: datetime | None = instant(nullable=True)
    accepted: int = _count()
    duplicates: int = _count()
    rejected: int = _count()
    faults: list[dict[str, str]] = Field(sa_column=Column(JSONB, nullable=False, server_default="[]"))
    """What was rejected: pointer and detail; the first ones, if there are many."""

    __table_args__ = (
        Index("delivery_source", "source_id", "id"),
        Index("delivery_unread", "id", postgresql_where=text("read_at IS NULL")),
    )


class OwnSecret(SQLModel, table=True):
    """Random bytes made once, sealed: `store/vault.py`."""

    __tablename__ = "own_secret"

    name: str = words(primary_key=True)
    sealed: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
