"""The schema, defined once. Alembic's migrations are compared with this module in the tests.

Hot tables (`event`, `tally`, `score`, `activity`) carry no foreign keys: a key costs one lookup and one lock per row
in the path that matters most, and the contact's row in `activity`, locked by every writer, already says what a key
would.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    SmallInteger,
    Text,
    text,
)
from sqlalchemy import (
    Identity as Generated,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel

POINTS = Numeric(14, 2)
NEVER = text("'-infinity'")
SUMMARIES = {"pages_per_range": 32, "autosummarize": True}
"""Of a table that is written in the order of an instant: a few bytes for 32 pages say which instants they hold."""


def core(model: type[SQLModel]) -> Any:  # Any: SQLAlchemy's table, whose columns no type checker knows
    """The Core table that SQLModel makes and hides."""
    return model.__table__  # type: ignore[attr-defined]  # it is there, unannounced


def instant(*, nullable: bool = False, default: Any = None) -> Any:  # Any: SQLModel's Field returns Any
    return Field(sa_column=Column(DateTime(timezone=True), nullable=nullable, server_default=default))


def words(*, nullable: bool = False, **options: Any) -> Any:  # Any: as above
    return Field(sa_column=Column(Text, nullable=nullable, **options))


class Contact(SQLModel, table=True):
    """A person. Wide and seldom written; what changes with every event is in `activity`."""

    id: UUID = Field(primary_key=True)
    email: str | None = words(nullable=True)
    email_quality: list[str] = Field(default=[], sa_column=Column(ARRAY(Text), nullable=False, server_default="{}"))
    """What the address shows by itself: `app/quality.py`."""
    name: str | None = words(nullable=True)
    stage: str | None = words(nullable=True)
    tags: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False, server_default="{}"))
    properties: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False, server_default="{}"))

    opted_out: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    opted_out_at: datetime | None = instant(nullable=True)
    opted_out_reason: str | None = words(nullable=True)
    opted_out_by: str | None = words(nullable=True)
    consent: dict[str, Any] = Field(default={}, sa_column=Column(JSONB, nullable=False, server_default="{}"))
    """When each kind of word on consent was said last, and by whom: `engine/hygiene.py`."""

    bounced: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    bounced_at: datetime | None = instant(nullable=True)
    bounced_reason: str | None = words(nullable=True)
    bounced_by: str | None = words(nullable=True)
    bounce_status: str = words(server_default="none")
    soft_bounces: int = Field(sa_column=Column(Integer, nullable=False, server_default="0"))
    email_since: datetime | None = instant(nullable=True)
    """Since when the address is this one, if it ever changed: an older bounce that names no address was another's."""
    bounces_since: datetime | None = instant(nullable=True)
    """Bounces up to this instant, if any, were forgiven by hand."""
    said_at: dict[str, Any] = Field(default={}, sa_column=Column(JSONB, nullable=False, server_default="{}"))
    """When each word about the contact was said: `engine/profiles.py`."""

    created_at: datetime = instant()
    updated_at: datetime = instant()

    __table_args__ = (
        Index("contact_created", "created_at", "id"),
        Index("contact_email", "email", postgresql_ops={"email": "text_pattern_ops"}),
        Index("contact_stage", text("lower(stage)")),
        Index("contact_tags", text("fold_tags(tags)"), postgresql_using="gin"),
        Index("contact_folded", text("fold_email(email)"), "id", postgresql_where=text("email <> fold_email(email)")),
        Index("contact_soft_bounces", "id", postgresql_where=text("soft_bounces > 0")),
        Index("contact_suppressed", "id", postgresql_where=text("opted_out OR bounced")),
    )


class Activity(SQLModel, table=True):
    """One narrow row per contact: what every writer locks, and what changes with every event."""

    contact_id: UUID = Field(primary_key=True)
    last_event_at: datetime = instant(default=NEVER)
    """-infinity before the first event, so that an index orders everybody."""
    recounted: int = Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default="0"))
    """The plan's epoch by which its tallies were last set from all its events: `engine/tally.py`."""

    __table_args__ = (Index("activity_last_event", "last_event_at", "contact_id"),)


class Identity(SQLModel, table=True):
    """What points at a contact. `kind` is email, user_id, anonymous_id or crm:<connection>:<object>."""

    kind: str = words(primary_key=True)
    value: str = words(primary_key=True)
    contact_id: UUID = Field(
        sa_column=Column(
            ForeignKey("contact.id", ondelete="CASCADE", deferrable=True, initially="DEFERRED"),
            nullable=False,
            index=True,
        )
    )
    origin: UUID | None = Field(default=None)
    """The contact that it came to, if that was merged into this one since."""
    since: datetime | None = instant(nullable=True)
    """When it was attached; None for what is older than this column."""


class Event(SQLModel, table=True):
    """Something a contact did, or that happened to them. `id` derives from source and the sender's id."""

    id: UUID = Field(primary_key=True)
    contact_id: UUID
    type: str = words()
    source: str = words()
    client_id: str | None = words(nullable=True)
    occurred_at: datetime = instant()
    received_at: datetime = instant()
    address: str | None = words(nullable=True)
    """The address that an `email.*` event was about, which need not be the contact's address today."""
    properties: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    human: bool | None = Field(default=None, nullable=True)
    """Whether a human did it, where that is known of an opening or a click."""
    human_by: str | None = words(nullable=True)
    """The signal that said so: `engine/humans.py`."""
    epoch: int = Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default="0"))
    """The epoch of the plan by which it was tallied: what began to count later counts it by its fill."""
    origin: UUID | None = Field(default=None)
    """The contact that it came to, or whose identity it named, if that was merged into this one."""

    __table_args__ = (
        Index("event_contact", "contact_id", "occurred_at", "id"),
        Index("event_email_changed", "id", postgresql_where=text("type = 'contact.email_changed'")),
        Index("event_occurred", "occurred_at", "id"),
        Index("event_type", "type", "occurred_at", "id"),
        Index("event_source", "source", "occurred_at", "id"),
    )


class Counter(SQLModel, table=True):
    """An event condition that rules and measures share, and the field whose distinct values it tells apart, if any.

    Here only while a version that counts, or a measure, needs it.
    """

    id: int | None = Field(default=None, sa_column=Column(Integer, Generated(always=True), primary_key=True))
    digest: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    condition: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    keyed_by: str | None = words(nullable=True)
    """A field of the event: each of its values has a tally of its own."""
    keyed_as: str | None = words(nullable=True)
    """`text` or `number`: what the key is read as; an event whose field is nothing of that kind does not count."""
    filled: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    """Whether all history is tallied."""
    since: int = Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default="0"))
    """The plan's epoch from which on ingest adds to it; events of earlier epochs are for its fill."""
    staged: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    """Whether those have been counted, if not yet added to the tallies."""
    retired_by: UUID | None = Field(default=None)
    """The job that is removing its tallies, once no version that counts needs it; ingest passes it over."""

    __table_args__ = (Index("counter_digest", "digest", unique=True, postgresql_where=text("retired_by IS NULL")),)


class Tally(SQLModel, table=True):
    """How many events of one contact matched one counter on one UTC day; `key` is empty where nothing is told apart."""

    contact_id: UUID = Field(primary_key=True)
    counter_id: int = Field(primary_key=True, sa_type=Integer)
    day: date = Field(primary_key=True, sa_type=Date)
    key: str = words(primary_key=True, server_default="")
    n: int = Field(sa_column=Column(Integer, nullable=False))


class StagedTally(SQLModel, table=True):
    """What a fill has counted and not yet added to the tallies."""

    __tablename__ = "staged_tally"

    contact_id: UUID = Field(primary_key=True)
    counter_id: int = Field(primary_key=True, sa_type=Integer)
    day: date = Field(primary_key=True, sa_type=Date)
    key: str = words(primary_key=True, server_default="")
    n: int = Field(sa_column=Column(Integer, nullable=False))


class ScoringModel(SQLModel, table=True):
    """A score sheet. Name, bands, spec and rules here are the draft; `live_version` is what counts."""

    __tablename__ = "scoring_model"

    id: int | None = Field(default=None, sa_column=Column(SmallInteger, Generated(always=True), primary_key=True))
    key: str = words(unique=True)
    name: str = words()
    description: str | None = words(nullable=True)
    bands: list[dict[str, Any]] = Field(sa_column=Column(JSONB, nullable=False, server_default="[]"))
    spec: dict[str, Any] = Field(default={}, sa_column=Column(JSONB, nullable=False, server_default="{}"))
    """What else the sheet says: `engine/sheets.py`."""
    live_version: int | None = Field(default=None, sa_type=Integer)
    archived_at: datetime | None = instant(nullable=True)
    created_at: datetime = instant()
    updated_at: datetime = instant()


class ModelVersion(SQLModel, table=True):
    """What a model said when it was published. Never changed afterwards."""

    __tablename__ = "model_version"

    model_id: int = Field(sa_column=Column(ForeignKey("scoring_model.id", ondelete="CASCADE"), primary_key=True))
    version: int = Field(primary_key=True, sa_type=Integer)
    name: str = words()
    bands: list[dict[str, Any]] = Field(sa_column=Column(JSONB, nullable=False))
    rules: list[dict[str, Any]] = Field(sa_column=Column(JSONB, nullable=False))
    spec: dict[str, Any] = Field(default={}, sa_column=Column(JSONB, nullable=False, server_default="{}"))
    side_effects: bool = Field(default=True, sa_column_kwargs={"server_default": text("true")})
    """Whether the scores that this version changes are told to anybody, such as a CRM."""
    published_at: datetime = instant()
    published_by: str = words()
    live_from: datetime | None = instant(nullable=True)
    """Since when it counted; until the next one did."""


class Rule(SQLModel, table=True):
    """A rule of a model's draft. `said` is what it says: `engine/rules.py` reads and writes it."""

    id: UUID = Field(primary_key=True)
    model_id: int = Field(
        sa_column=Column(ForeignKey("scoring_model.id", ondelete="CASCADE"), nullable=False, index=True)
    )
    said: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    created_at: datetime = instant()
    updated_at: datetime = instant()


class Score(SQLModel, table=True):
    """What a contact is worth in one model today; the version is the one under which the row last changed."""

    contact_id: UUID = Field(primary_key=True)
    model_id: int = Field(primary_key=True, sa_type=SmallInteger)
    value: Decimal | None = Field(sa_column=Column(Numeric, nullable=True))
    """None for who is not in the model's audience."""
    version: int = Field(sa_column=Column(Integer, nullable=False))
    next_change_on: date | None = Field(default=None, sa_type=Date)
    """The day on which the value next changes by itself, if no event comes."""
    computed_at: datetime = instant()
    computed: Decimal | None = Field(default=None, sa_column=Column(Numeric, nullable=True))
    """What the rules say, while an override stands in for it."""

    __table_args__ = (
        Index("score_value", "model_id", "value", "contact_id"),
        Index("score_due", "next_change_on", "contact_id", postgresql_where=text("next_change_on IS NOT NULL")),
    )


class ScoreChange(SQLModel, table=True):
    """That a score changed: when, from what to what, under which version, and why."""

    __tablename__ = "score_change"

    contact_id: UUID = Field(primary_key=True)
    model_id: int = Field(primary_key=True, sa_type=SmallInteger)
    id: int | None = Field(default=None, sa_column=Column(BigInteger, Generated(always=True), primary_key=True))
    at: datetime = instant()
    was: Decimal | None = Field(default=None, sa_column=Column(Numeric, nullable=True))
    value: Decimal | None = Field(default=None, sa_column=Column(Numeric, nullable=True))
    version: int = Field(sa_column=Column(Integer, nullable=False))
    cause: str = words()
    """One of `engine/scoring.py`'s Cause."""

    __table_args__ = (
        Index("score_change_id", "id"),
        Index("score_change_at", "at", postgresql_using="brin", postgresql_with=SUMMARIES),
    )


class ContactPast(SQLModel, table=True):
    """What a contact was until an instant. Written by a trigger whenever its row changes."""

    __tablename__ = "contact_past"

    contact_id: UUID = Field(primary_key=True)
    id: int | None = Field(default=None, sa_column=Column(BigInteger, Generated(always=True), primary_key=True))
    until: datetime = instant()
    said: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    """The row, as JSON."""

    __table_args__ = (Index("contact_past_id", "id"),)


class Adjustment(SQLModel, table=True):
    """Points by hand, an override, or a reset. Kept when it has ended, so that the past can be explained."""

    contact_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    model_id: int | None = Field(default=None, sa_column=Column(SmallInteger, nullable=True))
    """None for a reset of all models."""
    kind: str = words()
    points: Decimal | None = Field(default=None, sa_column=Column(POINTS, nullable=True))
    from_day: date | None = Field(default=None, sa_type=Date)
    """Of a reset: the first UTC day that counts."""
    reason: str = words()
    made_by: str = words()
    created_at: datetime = instant()
    ends_on: date | None = Field(default=None, sa_type=Date)
    """The UTC day from which it no longer holds."""
    revoked_at: datetime | None = instant(nullable=True)
    revoked_by: str | None = words(nullable=True)
    origin: UUID | None = Field(default=None)
    """The contact that it was made for, if that was merged into this one since."""
    own_revoked_at: datetime | None = instant(nullable=True)
    """How an override that another one of the merged contact ended had ended by itself; infinity: not at all."""
    own_revoked_by: str | None = words(nullable=True)


class Segment(SQLModel, table=True):
    """A saved condition over contacts. Its members are whoever matches when somebody asks."""

    id: int | None = Field(default=None, sa_column=Column(Integer, Generated(always=True), primary_key=True))
    key: str = words(unique=True)
    name: str = words()
    description: str | None = words(nullable=True)
    condition: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    created_at: datetime = instant()
    updated_at: datetime = instant()


class Measure(SQLModel, table=True):
    """A named count or sum of a contact's events. Never changed, so that whatever names it means the same for ever."""

    id: int | None = Field(default=None, sa_column=Column(Integer, Generated(always=True), primary_key=True))
    key: str = words(unique=True)
    name: str = words()
    condition: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    aggregate: str = words()
    of: str | None = words(nullable=True)
    window_days: int | None = Field(default=None, sa_type=Integer)
    counter_id: int = Field(sa_column=Column(Integer, nullable=False))
    ready: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    """Whether its counter is filled; until then no rule may name it."""
    created_at: datetime = instant()


class Property(SQLModel, table=True):
    """A contact's property whose type somebody declared; values are read as that type at the border."""

    name: str = words(primary_key=True)
    type: str = words()
    created_at: datetime = instant()


class PreviewScore(SQLModel, table=True):
    """What a draft would make of a contact's score. Unlogged: a preview is made again, not mended."""

    __tablename__ = "preview_score"

    job_id: UUID = Field(primary_key=True)
    contact_id: UUID = Field(primary_key=True)
    was: Decimal | None = Field(default=None, sa_column=Column(Numeric, nullable=True))
    becomes: Decimal | None = Field(default=None, sa_column=Column(Numeric, nullable=True))
    moved: Decimal = Field(sa_column=Column(Numeric, nullable=False))
    """How far, either way; greater than any number for who enters or leaves the audience."""

    __table_args__ = (Index("preview_score_moved", "job_id", "moved", "contact_id"), {"prefixes": ["UNLOGGED"]})
