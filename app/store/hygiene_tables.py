"""Suppression beyond the contacts' own flags."""

from datetime import datetime

from sqlmodel import SQLModel

from app.store.tables import instant, words


class Suppression(SQLModel, table=True):
    """That an address or a domain must not be mailed, for one reason; it may be here for several.

    `kind` is address, domain or hash: the keyed hash of an address whose contact was erased, or that asked not to be
    mailed and was nobody's.
    """

    kind: str = words(primary_key=True)
    value: str = words(primary_key=True)
    reason: str = words(primary_key=True)
    at: datetime = instant()
    by: str = words()
    """An API key's name, or the source of the event that said so."""
    note: str | None = words(nullable=True)
