"""Everything of one kind, a chunk at a time, each as it is when its chunk is read; walked by key, so of any length.

No connection is held between two chunks, however slowly they are taken.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from uuid import UUID

import asyncpg

from app.store.db import Database

_CHUNK = 1_000
_FIRST = UUID(int=0)
_LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)

_CONTACTS = f"""
    SELECT c.id, c.email, c.email_quality, c.name, c.stage, c.tags, c.properties,
           c.opted_out, c.opted_out_at, c.opted_out_reason, c.opted_out_by,
           c.bounced, c.bounced_at, c.bounced_reason, c.bounced_by, c.bounce_status,
           nullif(a.last_event_at, '-infinity') AS last_event_at, c.created_at, c.updated_at, i.identities
    FROM contact c
    JOIN activity a ON a.contact_id = c.id
    CROSS JOIN LATERAL (
        SELECT coalesce(jsonb_agg(jsonb_build_object('kind', kind, 'value', value) ORDER BY kind, value), '[]')
            AS identities
        FROM identity WHERE contact_id = c.id
    ) i
    WHERE c.id > $1 ORDER BY c.id LIMIT {_CHUNK}
"""
_SCORES = f"""
    SELECT s.contact_id, c.email, s.model_id, m.key AS model, s.value, s.computed, s.version, s.next_change_on,
           s.computed_at
    FROM score s
    JOIN contact c ON c.id = s.contact_id
    JOIN scoring_model m ON m.id = s.model_id
    WHERE (s.contact_id, s.model_id) > ($1, $2) AND ($3::text IS NULL OR m.key = $3)
    ORDER BY s.contact_id, s.model_id LIMIT {_CHUNK}
"""


async def contacts(database: Database) -> AsyncIterator[Sequence[asyncpg.Record]]:
    """All contacts with their identities, in the order of their ids."""
    last = _FIRST
    while rows := await _rows(database, _CONTACTS, last):
        yield rows
        last = rows[-1]["id"]


async def scores(database: Database, model: str | None) -> AsyncIterator[Sequence[asyncpg.Record]]:
    """All scores, or those in the model of this key, in the order of their contacts' ids."""
    last: tuple[UUID, int] = (_FIRST, 0)
    while rows := await _rows(database, _SCORES, *last, model):
        yield rows
        last = rows[-1]["contact_id"], rows[-1]["model_id"]


async def events(
    database: Database, *, since: datetime | None, until: datetime | None, type_: str | None, source: str | None
) -> AsyncIterator[Sequence[asyncpg.Record]]:
    """All events that occurred at `since` or later and before `until`, of this type and source, the earliest first."""
    given = {"type =": type_, "source =": source, "occurred_at <": until}
    asked = [(test, value) for test, value in given.items() if value is not None]
    where = [f"AND e.{test} ${place}" for place, (test, _) in enumerate(asked, 3)]
    query = f"""
        SELECT e.id, e.client_id, e.type, e.source, e.contact_id, e.address, e.occurred_at, e.received_at,
               e.properties, e.human, e.human_by
        FROM event e WHERE (e.occurred_at, e.id) > ($1, $2) {" ".join(where)}
        ORDER BY e.occurred_at, e.id LIMIT {_CHUNK}
    """
    # Where to begin is said once: of two lower bounds an index may be walked from the wrong one.
    last: tuple[datetime, UUID] = (since or _LONG_AGO, _FIRST)
    while rows := await _rows(database, query, *last, *(value for _, value in asked)):
        yield rows
        last = rows[-1]["occurred_at"], rows[-1]["id"]


async def _rows(database: Database, query: str, *values: object) -> list[asyncpg.Record]:
    async with database.hot.acquire() as db:
        return await db.fetch(query, *values)
