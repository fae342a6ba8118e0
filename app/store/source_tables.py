"""Tables of what can tell us something: sources, what came in from them, and secrets of our own."""

from sqlalchemy import Column, LargeBinary
from sqlmodel import Field, SQLModel

from app.store.tables import words


class OwnSecret(SQLModel, table=True):
    """Random bytes made once, sealed: `store/vault.py`."""

    __tablename__ = "own_secret"

    name: str = words(primary_key=True)
    sealed: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
