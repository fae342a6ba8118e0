"""Tables of the sync: connections to CRMs, which record is whose, and what each side has yet to be told.

Which contact a record is, an identity says: kind `crm:<connection>:<object>`, value the record's id. So whatever joins
contacts, or takes them apart, moves their records with them.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Column, DateTime, Index, Integer, LargeBinary, Numeric, SmallInteger, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel

from app.store.tables import instant, words


class Connection(SQLModel, table=True):
    """One account of one CRM."""

    id: UUID = Field(primary_key=True)
    kind: str = words()
    name: str = words(unique=True)
    """Never changed: what came from it says so by this name."""
    flow: str = words()
    base_url: str | None = words(nullable=True)
    """In place of where this CRM is by default."""
    credentials: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    """Sealed JSON: what the flow needs."""
    hook_secret: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    """Sealed; the CRM's calls to us carry it in their path."""
    options: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    """`sync/mapping.py`'s Options: pairs, whom to import and to create, schedules, budget."""
    recipes: list[dict[str, Any]] = Field(default=[], sa_column=Column(JSONB, nullable=False, server_default="[]"))
    """Fields that somebody must make or mend in the CRM by hand, and how: `sync/fields.py`."""
    seeks: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    """Whether contacts without a record in it concern it, because it may create them or knows people we did not
    import."""
    paused_at: datetime | None = instant(nullable=True)
    problem: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB, nullable=True))
    """Why nothing goes on, if so: code, what, mend, since."""
    account: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB, nullable=True))
    """`connectors/shapes.py`'s Account, once somebody signed in."""
    allowance: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB, nullable=True))
    """What the CRM last said of its own budget: limit, remaining, at."""
    silent_until: datetime | None = instant(nullable=True)
    """The CRM asked for silence, or the budget is spent, until then."""
    silent_to_flags: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    """Whether flags, too, wait until then: not where only what is reserved to them is left of a budget."""
    pull_at: datetime | None = instant(nullable=True)
    """When to look for changes next; None: at once."""
    reconcile_at: datetime | None = instant(nullable=True)
    """When to compare everybody next; None: after the first pull has ended."""
    created_at: datetime = instant()
    updated_at: datetime = instant()


class ConnectionGrant(SQLModel, table=True):
    """What signing in gave a connection. Apart, for renewing it locks its row while a call goes out."""

    __tablename__ = "connection_grant"

    connection_id: UUID = Field(primary_key=True)
    sealed: bytes | None = Field(default=None, sa_column=Column(LargeBinary, nullable=True))
    """`connectors/shapes.py`'s Grant, as JSON."""
    kept_at: datetime | None = instant(nullable=True)


_PARKED = text("held @? '$.*.until ? (@ == null)'")


class Link(SQLModel, table=True):
    """A record in a CRM that we know, and what it held when both sides last agreed on it."""

    connection_id: UUID = Field(primary_key=True)
    object: str = words(primary_key=True)
    record: str = words(primary_key=True)
    state: str = words(server_default="live")
    """live; gone: deleted, merged or converted there; erased: its contact was erased here, and is not to come back."""
    shadow: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False, server_default="{}"))
    """The mapped fields, by the CRM's names, as it last held them to our knowledge."""
    held: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False, server_default="{}"))
    """Fields that the CRM refused or keeps changing back: `sync/holding.py`."""
    modified_at: datetime | None = instant(nullable=True)
    """By the CRM's clock, of the newest state that we have seen: an older one is a late answer."""
    flags_at: datetime | None = instant(nullable=True)
    """Until when, at least, the CRM is known to have held the flags that the shadow has: by its clock where they were
    read, by ours where they were written. What it says against them it says since."""
    seen_at: datetime = instant()
    """When a pull or a reconcile last met it."""
    created_at: datetime = instant()

    __table_args__ = (
        Index("link_held", "connection_id", "object", "record", postgresql_where=text("held <> '{}'")),
        Index("link_parked", "connection_id", "object", "record", postgresql_where=_PARKED),
        Index("link_seen", "connection_id", "object", "seen_at", postgresql_where=text("state = 'live'")),
    )


class Outbox(SQLModel, table=True):
    """A contact of which a connection may not know all. Written by triggers, in whatever transaction changed it."""

    connection_id: UUID = Field(primary_key=True)
    contact_id: UUID = Field(primary_key=True)
    version: int = Field(sa_column=Column(BigInteger, nullable=False, server_default="1"))
    """Counts up with each change: a drain removes the row only if it has not moved."""
    priority: int = Field(sa_column=Column(SmallInteger, nullable=False))
    """0: a flag; 1: anything else; 2: nothing new, such as a record that came to be known."""
    moved: Decimal = Field(default=Decimal(0), sa_column=Column(Numeric, nullable=False, server_default="0"))
    """How far its furthest score moved."""
    since: datetime = instant()
    tries: int = Field(default=0, sa_column=Column(Integer, nullable=False, server_default="0"))
    not_before: datetime | None = instant(nullable=True)
    """Tried in vain, and to be tried again then."""

    __table_args__ = (
        Index("outbox_contact", "contact_id"),
        Index(
            "outbox_turn",
            "connection_id",
            "priority",
            text("moved DESC"),
            "since",
            postgresql_where=text("not_before IS NULL"),
        ),
        Index(
            "outbox_later",
            "connection_id",
            "priority",
            "not_before",
            postgresql_where=text("not_before IS NOT NULL"),
        ),
    )


class SyncCursor(SQLModel, table=True):
    """Where a feed of a connection goes on."""

    __tablename__ = "sync_cursor"

    connection_id: UUID = Field(primary_key=True)
    feed: str = words(primary_key=True)
    """`changes:Contact`, `everybody:Contact`, `activities`"""
    cursor: str = words()
    began_at: datetime = instant()
    """Of this walk through the feed."""
    at: datetime = instant()


class SyncRun(SQLModel, table=True):
    """One pull, push or reconcile that did something."""

    __tablename__ = "sync_run"

    connection_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    """By time (RFC 9562, version 7)."""
    kind: str = words()
    """pull, push, reconcile"""
    began_at: datetime = instant()
    ended_at: datetime | None = instant(nullable=True)
    counts: dict[str, int] = Field(sa_column=Column(JSONB, nullable=False, server_default="{}"))
    """`sync/runs.py`'s Counts."""
    error: str | None = words(nullable=True)


class SyncSpend(SQLModel, table=True):
    """What a connection spent of its budget in one hour."""

    __tablename__ = "sync_spend"

    connection_id: UUID = Field(primary_key=True)
    hour: datetime = Field(sa_column=Column(DateTime(timezone=True), primary_key=True))
    spent: int = Field(sa_column=Column(BigInteger, nullable=False))


class CrmActivity(SQLModel, table=True):
    """An activity in a CRM, and the events that it is here."""

    __tablename__ = "crm_activity"

    connection_id: UUID = Field(primary_key=True)
    id: str = words(primary_key=True)
    digest: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    """Of what it last said: the same again changes nothing."""
    events: list[UUID] = Field(sa_column=Column(ARRAY(Uuid), nullable=False))


class CrmHint(SQLModel, table=True):
    """A record that a CRM told us may have changed."""

    __tablename__ = "crm_hint"

    connection_id: UUID = Field(primary_key=True)
    object: str = words(primary_key=True)
    record: str = words(primary_key=True)
    successor_object: str | None = words(nullable=True)
    successor: str | None = words(nullable=True)
    version: int = Field(sa_column=Column(BigInteger, nullable=False, server_default="1"))
    at: datetime = instant()


class Stranger(SQLModel, table=True):
    """A record of somebody who is no contact, by choice: known again by a keyed hash of an address, should one be."""

    connection_id: UUID = Field(primary_key=True)
    digest: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    object: str = words(primary_key=True)
    record: str = words(primary_key=True)

    __table_args__ = (Index("stranger_record", "connection_id", "object", "record"),)
