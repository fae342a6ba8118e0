"""Contacts' rows, read and written in batches under the caller's lock."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import orjson

from app.store.db import Connection
from app.store.tables import Contact

_ARRAYS = {
    "id": "uuid", "email": "text", "name": "text", "stage": "text", "tags": "text", "properties": "text",
    "opted_out": "bool", "opted_out_at": "timestamptz", "opted_out_reason": "text", "opted_out_by": "text",
    "bounced": "bool", "bounced_at": "timestamptz", "bounced_reason": "text", "bounced_by": "text",
    "bounce_status": "text", "soft_bounces": "int", "email_since": "timestamptz", "bounces_since": "timestamptz",
    "created_at": "timestamptz", "updated_at": "timestamptz",
}  # fmt: skip
"""The columns that are written, and the type of each one's array. Tags and properties travel as JSON text."""

_FROM_JSON = {
    "tags": "ARRAY(SELECT jsonb_array_elements_text(new.tags::jsonb))",
    "properties": "new.properties::jsonb",
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
    return {row["id"]: Contact(**dict(row)) for row in rows}


async def save(db: Connection, contacts: Sequence[Contact]) -> None:
    """Write these rows back whole. The transaction holds their locks."""
    if contacts:
        await db.execute(_SAVE, *([_sent(contact, name) for contact in contacts] for name in _COLUMNS))


def _sent(contact: Contact, name: str) -> Any:  # Any: whatever the column holds
    value = getattr(contact, name)
    return orjson.dumps(value).decode() if name in _FROM_JSON else value


async def erase(db: Connection, contact: UUID) -> None:
    """Remove a contact and everything of it. The transaction holds its lock."""
    for table in ("event", "tally", "staged_tally", "score", "score_change", "adjustment", "activity"):
        await db.execute(f"DELETE FROM {table} WHERE contact_id = $1", contact)
    await db.execute(
        """
        DELETE FROM preview_score
        WHERE contact_id = $1 AND job_id = ANY(ARRAY(SELECT id FROM job WHERE kind = 'model.preview'))
        """,
        contact,
    )
    await db.execute("DELETE FROM contact WHERE id = $1", contact)
    # After the row, whose last change a trigger may just have kept.
    await db.execute("DELETE FROM contact_past WHERE contact_id = $1", contact)
