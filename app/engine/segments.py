"""Segments: saved conditions on contacts. Who is in one is found out when somebody asks, so it is always current.

A segment that rules name becomes part of their conditions: when it is defined otherwise, the models that count by it
are scored anew.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import cached_property
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Date, Uuid, and_, exists, false, func, literal, or_, select
from sqlalchemy.sql.functions import FunctionElement

from app.engine import checks, measures, publish
from app.engine import plan as plans
from app.engine.compile import Row, contact_row, to_sql
from app.engine.conditions import Condition, Group, Operator, Test, parse
from app.engine.facts import made, measured
from app.engine.fields import BAND, MEASURE, SCORE, SEGMENTS, Field, FieldType, ModelTerm, Vocabulary
from app.engine.rules import named
from app.engine.sheets import depends_on, live_model
from app.errors import Conflict, Fault, InvalidInput, NotFound, Unavailable
from app.store.db import FAULTS, Connection, Database, sqlstate
from app.store.tables import Activity, Contact, Score, Segment, Tally, core

_CHUNK = 1_000
_ANYBODY = {"field": "contact.email", "operator": "notNull"}
_contact = core(Contact)


# --- defining ---------------------------------------------------------------------------------------------------------


async def create(db: Connection, wanted: Segment, now: datetime) -> Segment:
    """Raises InvalidInput with a pointer to each fault; Conflict for a key that is taken."""
    check(wanted.key, wanted.condition, await plans.vocabulary(db))
    await plans.change(db)
    row = await db.fetchrow(
        """
        INSERT INTO segment (key, name, description, condition, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $5)
        ON CONFLICT (key) DO NOTHING RETURNING *
        """,
        wanted.key,
        wanted.name,
        wanted.description,
        wanted.condition,
        now,
    )
    if row is None:
        raise Conflict(f"there is a segment {wanted.key!r} already", "/key")
    await _refuse_circles(db, wanted.key, wanted.condition)
    return Segment(**dict(row))
