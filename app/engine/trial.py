"""Trying a condition on records that are not in the database: the very SQL that rules run, over rows of a parameter.

A record may hold anything that JSON can say. What the database cannot hold, or is of another type than its field, is
missing; nothing in a record raises.
"""

import json
from collections.abc import Callable, Sequence
from datetime import date
from math import isfinite
from typing import Any

from sqlalchemy import Date, Text, bindparam, case, cast, column, func, literal_column, select
from sqlalchemy.dialects.postgresql import JSONB

from app.engine.compile import Row, contact_row, event_row, to_sql, typed
from app.engine.conditions import Condition
from app.engine.facts import made
from app.engine.fields import FIXED, FieldType, Scope, Vocabulary
from app.engine.rules import named
from app.store.db import Connection, Statement

_DEEPEST = 100
"""Levels of lists and objects that are looked into; whatever lies deeper is missing."""
_LARGEST = 10_000
"""Bits of a whole number; a larger one is missing. A condition names none beyond 1,000 bits."""

_DERIVED = {"email_domain", "days_inactive", "segments"}
"""Fields of a contact that follow from its others."""


async def matches(
    db: Connection, condition: Condition, fields: Vocabulary, records: Sequence[dict[str, Any]], as_of: date
) -> list[bool]:
    """Whether the condition, read by the vocabulary `fields`, holds for each record, in their order.

    A record of scope `record` is flat, its keys the declared fields. One of scope `event` is an event as posted:
    type, source, occurred_at, human, properties. One of scope `contact` is a contact as the API shows it: email, name,
    stage, tags, opted_out, bounced, bounce_status, created_at, last_event_at, properties; with `scores` by the keys
    of models and `measures` by their keys. Bands and segments follow from these. `as_of` is the day of
    `contact.days_inactive`.
    """
    statement = Statement(_over_records(condition, fields))
    said = json.dumps([_held(record) for record in records])
    rows = await db.fetch(statement.sql, *statement.arguments(records=said, as_of=as_of))
    return [row["matched"] for row in rows]


def _over_records(condition: Condition, known: Vocabulary) -> Any:  # Any: a select
    scope = known.scope
    record = (
        func.jsonb_array_elements(cast(bindparam("records", type_=Text), JSONB))
        .table_valued(column("said", JSONB), with_ordinality="place")
        .render_derived("record")
    )
    if scope is Scope.RECORD:
        matched = to_sql(condition, Row({}, record.c.said))
        return select(matched.label("matched")).select_from(record).order_by(record.c.place)
    names = {field.removeprefix(f"{scope}."): kind for field, kind in FIXED[scope].items()}
    fixed = [typed(record.c.said[name], kind).label(name) for name, kind in names.items() if name not in _DERIVED]
    properties = record.c.said["properties"]
    is_object = func.jsonb_typeof(properties) == literal_column("'object'")
    document = case((is_object, properties)).label("properties")
    fields = select(record.c.place, record.c.said, *fixed, document).subquery("fields")
    if scope is Scope.CONTACT:

        def given(place: str) -> Callable[[str], Any]:  # Any: a column
            return lambda key: typed(fields.c.said[place][key], FieldType.NUMBER)

        columns = made(named(condition), known, given("scores"), given("measures"))
        row = contact_row(fields, fields.c.last_event_at, bindparam("as_of", type_=Date), columns)
    else:
        row = event_row(fields)
    return select(to_sql(condition, row).label("matched")).select_from(fields).order_by(fields.c.place)


def _held(value: Any, depth: int = 0) -> Any:  # Any: JSON, in and out
    """The value as the database can hold it: None in place of what it cannot."""
    if isinstance(value, str):
        return value if _is_text(value) else None
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, int):
        return value if value.bit_length() <= _LARGEST else None
    if depth > _DEEPEST:
        return None
    if isinstance(value, dict):
        return {key: _held(part, depth + 1) for key, part in value.items() if _is_text(key)}
    if isinstance(value, list):
        return [_held(part, depth + 1) for part in value]
    return None


def _is_text(value: str) -> bool:
    """Whether Postgres can hold it: no NUL, no half of a surrogate pair."""
    return "\x00" not in value and not any("\ud800" <= char <= "\udfff" for char in value)
