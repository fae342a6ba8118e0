"""Which record is whose, and what each side knows of it: read and written in batches, always by key."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from app.connectors.shapes import Key, Value
from app.engine.identity import record_kind
from app.store.db import Connection


class State(StrEnum):
    LIVE = "live"
    GONE = "gone"
    """Deleted, merged or converted there."""
    ERASED = "erased"
    """Its contact was erased here: the record is left alone, and makes no contact again."""


@dataclass
class Link:
    """A record that we know. `contact` is None where none is (any more)."""

    key: Key
    contact: UUID | None
    state: State
    shadow: dict[str, Value] = field(default_factory=dict)
    held: dict[str, Any] = field(default_factory=dict)  # Any: JSON, `sync/holding.py`'s
    modified_at: datetime | None = None
    flags_at: datetime | None = None


_OF_LINK = "l.object, l.record, l.state, l.shadow, l.held, l.modified_at, l.flags_at"


async def of_records(db: Connection, connection: UUID, keys: Iterable[Key]) -> dict[Key, Link]:
    """The links of those records that we know."""
    wanted = list(dict.fromkeys(keys))
    rows = await db.fetch(
        f"""
        SELECT i.contact_id, {_OF_LINK} FROM unnest($2::text[], $3::text[], $4::text[]) AS wanted(object, record, kind)
        CROSS JOIN LATERAL (
            SELECT * FROM link WHERE connection_id = $1 AND object = wanted.object AND record = wanted.record OFFSET 0
        ) l
        LEFT JOIN LATERAL (
            SELECT contact_id FROM identity WHERE kind = wanted.kind AND value = wanted.record OFFSET 0
        ) i ON true
        """,
        connection,
        [key.object for key in wanted],
        [key.id for key in wanted],
        [record_kind(connection, key.object) for key in wanted],
    )
    return {link.key: link for link in map(_link, rows)}


async def of_contacts(db: Connection, connection: UUID, contacts: Collection[UUID]) -> dict[UUID, list[Link]]:
    """The links of these contacts in one connection, gone ones among them; whoever has none is left out."""
    rows = await db.fetch(
        f"""
        SELECT wanted.contact_id, {_OF_LINK} FROM unnest($2::uuid[]) AS wanted(contact_id)
        CROSS JOIN LATERAL (
            SELECT split_part(kind, ':', 3) AS object, value FROM identity
            WHERE contact_id = wanted.contact_id AND kind LIKE 'crm:' || $1 || ':%' OFFSET 0
        ) i
        CROSS JOIN LATERAL (
            SELECT * FROM link WHERE connection_id = $1::text::uuid AND object = i.object AND record = i.value OFFSET 0
        ) l
        """,
        str(connection),
        list(contacts),
    )
    found: dict[UUID, list[Link]] = {}
    for row in rows:
        found.setdefault(row[0], []).append(_link(row))
    return found


async def keep(db: Connection, connection: UUID, links: Sequence[Link], now: datetime) -> None:
    """Write these links as they are, new ones among them, as met at `now`. Whose they are, identities say.

    What was erased stays erased: its contact may have been erased since the link was read.
    """
    await db.execute(
        """
        INSERT INTO link
            (connection_id, object, record, state, shadow, held, modified_at, flags_at, seen_at, created_at)
        SELECT $1, new.*, $9, $9 FROM unnest(
            $2::text[], $3::text[], $4::text[], $5::jsonb[], $6::jsonb[], $7::timestamptz[], $8::timestamptz[]
        ) AS new(object, record, state, shadow, held, modified_at, flags_at)
        ORDER BY 2, 3
        ON CONFLICT (connection_id, object, record) DO UPDATE SET state = excluded.state, shadow = excluded.shadow,
            held = excluded.held, modified_at = excluded.modified_at, flags_at = excluded.flags_at,
            seen_at = excluded.seen_at
        WHERE link.state <> 'erased'
        """,
        connection,
        [link.key.object for link in links],
        [link.key.id for link in links],
        [link.state.value for link in links],
        [link.shadow for link in links],
        [link.held for link in links],
        [link.modified_at for link in links],
        [link.flags_at for link in links],
        now,
    )


async def touch(db: Connection, connection: UUID, keys: Sequence[Key], now: datetime) -> None:
    """Note that these records were met."""
    await db.execute(
        """
        UPDATE link SET seen_at = $4 FROM unnest($2::text[], $3::text[]) AS met(object, record)
        WHERE link.connection_id = $1 AND link.object = met.object AND link.record = met.record
        """,
        connection,
        [key.object for key in keys],
        [key.id for key in keys],
        now,
    )


async def unseen(db: Connection, connection: UUID, object_: str, since: datetime, limit: int) -> list[Key]:
    """Live records that were not met since an instant, the longest unseen first."""
    rows = await db.fetch(
        """
        SELECT object, record FROM link
        WHERE connection_id = $1 AND object = $2 AND state = 'live' AND seen_at < $3 ORDER BY seen_at LIMIT $4
        """,
        connection,
        object_,
        since,
        limit,
    )
    return [Key(*row) for row in rows]


def _link(row: Any) -> Link:  # Any: asyncpg's record
    contact, object_, record, state, shadow, held, modified_at, flags_at = row
    return Link(Key(object_, record), contact, State(state), shadow, held, modified_at, flags_at)
