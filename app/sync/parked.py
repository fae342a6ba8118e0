"""Records that a CRM does not take as we say them: shown to people, and tried again when they ask for it."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from app.connectors.shapes import Key
from app.engine.identity import record_kind
from app.store.db import Connection
from app.sync import holding, outbox


class ParkedField(NamedTuple):
    """A field that is tried no more. `code` and `reason` are the CRM's own words, or `sync/holding.py`'s."""

    name: str
    code: str
    reason: str
    tries: int
    since: datetime


class Parked(NamedTuple):
    """A record with such fields."""

    key: Key
    contact: UUID | None
    fields: Sequence[ParkedField]


PAGE = """
    SELECT l.object, l.record, l.held, i.contact_id FROM (
        SELECT object, record, held FROM link
        WHERE connection_id = $1 AND held @? '$.*.until ? (@ == null)' AND (object, record) > ($2, $3)
        ORDER BY object, record LIMIT $4
    ) l
    LEFT JOIN LATERAL (
        SELECT contact_id FROM identity WHERE kind = 'crm:' || $1 || ':' || l.object AND value = l.record OFFSET 0
    ) i ON true
    ORDER BY 1, 2
"""


async def page(db: Connection, connection: UUID, limit: int, after: Key | None) -> list[Parked]:
    """At most so many after a record, by object and id. In a transaction of its own."""
    await outbox.by_index(db)
    rows = await db.fetch(PAGE, connection, *(after or ("", "")), limit)
    return [
        Parked(
            Key(object_, record),
            contact,
            [
                ParkedField(
                    name,
                    held[name]["code"],
                    held[name]["reason"],
                    held[name]["tries"],
                    datetime.fromisoformat(held[name]["since"]),
                )
                for name in holding.parked(held)
            ],
        )
        for object_, record, held, contact in rows
    ]


async def retry(db: Connection, connection: UUID, key: Key | None, now: datetime) -> int:
    """Try again what waits or is parked, of one record or of all, and whom the CRM did not want as new records.

    Returns of how many records.
    """
    rows = await db.fetch(
        """
        SELECT object, record FROM link
        WHERE connection_id = $1 AND held <> '{}' AND ($2::text IS NULL OR (object = $2 AND record = $3))
        ORDER BY object, record
        """,
        connection,
        *(key or (None, None)),
    )
    records: dict[str, list[str]] = {}
    for object_, record in rows:
        records.setdefault(object_, []).append(record)
    contacts: list[UUID] = []
    for object_, ids in records.items():
        owners = await db.fetch(
            "SELECT contact_id FROM identity WHERE kind = $1 AND value = ANY($2)", record_kind(connection, object_), ids
        )
        contacts += [row["contact_id"] for row in owners]
    await outbox.note(db, connection, contacts, outbox.NEWS, now)
    if key is None:
        await db.execute(
            """
            UPDATE outbox SET not_before = NULL, tries = 0
            WHERE connection_id = $1 AND priority = ANY('{0,1,2}'::smallint[]) AND not_before IS NOT NULL
            """,
            connection,
        )
    for object_, ids in records.items():
        await db.execute(
            "UPDATE link SET held = '{}' WHERE connection_id = $1 AND object = $2 AND record = ANY($3)",
            connection,
            object_,
            ids,
        )
    return len(rows)
