"""Contacts' rows, read and written in batches under the caller's lock."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import asyncpg
import orjson
from sqlalchemy.orm import class_mapper

from app import quality
from app.store.db import Connection
from app.store.tables import Contact

_MAPPED = class_mapper(Contact).class_manager
_ARRAYS = {
    "id": "uuid", "email": "text", "email_quality": "text", "name": "text", "stage": "text", "tags": "text",
    "properties": "text", "opted_out": "bool", "opted_out_at": "timestamptz", "opted_out_reason": "text",
    "opted_out_by": "text", "consent": "text",
    "bounced": "bool", "bounced_at": "timestamptz", "bounced_reason": "text", "bounced_by": "text",
    "bounce_status": "text", "soft_bounces": "int", "email_since": "timestamptz", "bounces_since": "timestamptz",
    "said_at": "text", "created_at": "timestamptz", "updated_at": "timestamptz",
}  # fmt: skip
"""The columns that are written, and the type of each one's array. Tags and properties travel as JSON text."""

_FROM_JSON = {
    "tags": "ARRAY(SELECT jsonb_array_elements_text(new.tags::jsonb))",
    "properties": "new.properties::jsonb",
    "said_at": "new.said_at::jsonb",
    "consent": "new.consent::jsonb",
    "email_quality": "ARRAY(SELECT jsonb_array_elements_text(new.email_quality::jsonb))",
}
_COLUMNS = list(_ARRAYS)
_SAVE = f"""
    UPDATE contact c SET {", ".join(f"{name} = {_FROM_JSON.get(name, f'new.{name}')}" for name in _COLUMNS[1:])}
    FROM unnest({", ".join(f"${at}::{kind}[]" for at, kind in enumerate(_ARRAYS.values(), 1))})
      AS new({", ".join(_COLUMNS)})
    WHERE c.id = new.id AND c.id = ANY($1)
"""


async def load(db: Connection, contacts: Iterable[UUID]) -> dict[UUID, Contact]:
    """The rows of these contacts, by id; those that are not there are left out."""
    rows = await db.fetch("SELECT * FROM contact WHERE id = ANY($1)", list(contacts))
    return {row["id"]: _contact(row) for row in rows}


def _contact(row: asyncpg.Record) -> Contact:
    """The row as it is: to set each of its fields, as `Contact(**row)` does, took twenty times as long."""
    made: Contact = _MAPPED.new_instance()
    made.__dict__.update(row.items())
    for name, value in (("__pydantic_fields_set__", set(row.keys())), ("__pydantic_extra__", None)):
        object.__setattr__(made, name, value)
    return made


async def save(db: Connection, contacts: Sequence[Contact]) -> None:
    """Write these rows back whole, with what their addresses show. The transaction holds their locks."""
    for contact in contacts:
        contact.email_quality = [*quality.of(contact.email)]
    if contacts:
        await db.execute(_SAVE, *([_sent(contact, name) for contact in contacts] for name in _COLUMNS))


def _sent(contact: Contact, name: str) -> Any:  # Any: whatever the column holds
    value = getattr(contact, name)
    return orjson.dumps(value).decode() if name in _FROM_JSON else value


async def insert(db: Connection, contact: Contact) -> None:
    """Write the row of a contact that is not there."""
    await db.execute(
        "INSERT INTO contact SELECT (jsonb_populate_record(NULL::contact, $1)).*", contact.model_dump(mode="json")
    )


_OF_CONTACTS = (
    "event", "tally", "staged_tally", "score", "score_change", "adjustment", "activity", "merge", "merge_part",
    "merge_edit", "remark", "outbox",
)  # fmt: skip


async def erase(db: Connection, *contacts: UUID) -> None:
    """Remove contacts and everything of them. The transaction holds their locks."""
    records = await db.fetch(
        """
        SELECT split_part(kind, ':', 2)::uuid, split_part(kind, ':', 3), value FROM identity
        WHERE contact_id = ANY($1) AND kind LIKE 'crm:%'
        """,
        contacts,
    )
    if records:
        await db.execute(
            """
            UPDATE link SET state = 'erased', shadow = '{}', held = '{}'
            FROM unnest($1::uuid[], $2::text[], $3::text[]) AS known(connection_id, object, record)
            WHERE link.connection_id = known.connection_id AND link.object = known.object
              AND link.record = known.record
            """,
            *(list(column) for column in zip(*records, strict=True)),
        )
    for table in _OF_CONTACTS:
        await db.execute(f"DELETE FROM {table} WHERE contact_id = ANY($1)", contacts)
    await db.execute(
        """
        DELETE FROM preview_score
        WHERE contact_id = ANY($1) AND job_id = ANY(ARRAY(SELECT id FROM job WHERE kind = 'model.preview'))
        """,
        contacts,
    )
    await db.execute("DELETE FROM contact WHERE id = ANY($1)", contacts)
    # After the row, whose last change a trigger may just have kept.
    await db.execute("DELETE FROM contact_past WHERE contact_id = ANY($1)", contacts)
