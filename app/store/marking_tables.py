"""Tables of the marks that tell humans from machines."""

from uuid import UUID

from sqlalchemy import Column, Integer, SmallInteger
from sqlmodel import Field, SQLModel


class Remark(SQLModel, table=True):
    """A contact whose events are to be marked anew."""

    contact_id: UUID = Field(primary_key=True)


class Marking(SQLModel, table=True):
    """One row: the edition of `engine/humans.py` by which all events are marked, or noted to be."""

    id: int = Field(primary_key=True, sa_type=SmallInteger)
    edition: int = Field(sa_column=Column(Integer, nullable=False))
