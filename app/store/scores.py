"""A contact's scores and their history, as they are stored."""

from typing import Any
from uuid import UUID

from app.errors import NotFound
from app.store.db import Connection


async def has_contact(db: Connection, contact: UUID) -> bool:
    found: bool = await db.fetchval("SELECT EXISTS (SELECT FROM activity WHERE contact_id = $1)", contact)
    return found


async def of(db: Connection, contact: UUID) -> list[dict[str, Any]]:  # Any: the table's columns
    """In every model, archived ones too; `model` is the model's key, `bands` are those that count, as JSON."""
    rows = await db.fetch(
        """
        SELECT m.key AS model, s.value, s.computed, s.version, s.next_change_on, s.computed_at,
               coalesce(v.bands, m.bands) AS bands
        FROM score s JOIN scoring_model m ON m.id = s.model_id
        LEFT JOIN model_version v ON v.model_id = m.id AND v.version = m.live_version
        WHERE s.contact_id = $1 ORDER BY m.key
        """,
        contact,
    )
    return [dict(row) for row in rows]


async def history(
    db: Connection, contact: UUID, model: str, *, limit: int, before: int | None
) -> list[dict[str, Any]]:  # Any: the table's columns
    """Every change of one score, the newest first. Raises NotFound for a model that is not there."""
    model_id = await db.fetchval("SELECT id FROM scoring_model WHERE key = $1", model)
    if model_id is None:
        raise NotFound(f"there is no scoring model {model!r}")
    rows = await db.fetch(
        """
        SELECT id, at, was, value, version, cause FROM score_change
        WHERE contact_id = $1 AND model_id = $2 AND ($3::bigint IS NULL OR id < $3) ORDER BY id DESC LIMIT $4
        """,
        contact,
        model_id,
        before,
        limit,
    )
    return [dict(row) for row in rows]
