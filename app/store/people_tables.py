"""Whose identities and events are whose, once contacts were merged."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Column
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from app.store.tables import instant, words


class Merge(SQLModel, table=True):
    """That one contact became part of another: while it holds, a branch of the tree that the contact is now.

    `contact_id` is whoever has it all now; `survivor` and `gone` are the two that were merged.
    """

    contact_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    survivor: UUID
    gone: UUID = Field(index=True)
    kind: str = words()
    """One of `engine/identity.py`'s Tie."""
    at: datetime = instant()
    by: str = words()
    """An API key's name, or the source of the event that tied the two."""
    undone_at: datetime | None = instant(nullable=True)
    undone_by: str | None = words(nullable=True)


class MergePart(SQLModel, table=True):
    """What one of those that a merged contact is made of was by itself, when its first merge began."""

    __tablename__ = "merge_part"

    contact_id: UUID = Field(primary_key=True)
    origin: UUID = Field(primary_key=True)
    since: datetime = instant()
    said: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    """Its row, as JSON. What came in for it since is in events, edits and identities of this origin."""


class MergeEdit(SQLModel, table=True):
    """What somebody said of a merged contact by hand, to be said again of the part that it was about."""

    __tablename__ = "merge_edit"

    contact_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    origin: UUID | None = Field(default=None)
    """The part that was named; None: the contact itself."""
    at: datetime = instant()
    by: str = words()
    address: str | None = words(nullable=True)
    """The contact's address then, which is what a bounce is about."""
    said: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    """`engine/contacts.py`'s Change."""
