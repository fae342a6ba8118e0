"""The evidence of bounces: what mail told of a contact, and which of it counts against its address as it is."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from app.engine import hygiene
from app.engine.hygiene import Aside, MailEvent, SoftPolicy
from app.errors import NotFound
from app.store import contacts
from app.store.db import Connection

SAID = ("bounce", "status", "code", "reason", "diagnostic", "message_id", "campaign")
"""The properties of a bounce that are its evidence."""


class Evidence(NamedTuple):
    """One bounce. `aside` says why it does not count; None: it does."""

    id: UUID
    occurred_at: datetime
    received_at: datetime
    source: str
    address: str | None
    aside: Aside | None
    said: dict[str, Any]  # Any: JSON, as the sender said it


async def mail(db: Connection, people: Iterable[UUID]) -> dict[UUID, list[MailEvent]]:
    """All mail events of each contact."""
    found: dict[UUID, list[MailEvent]] = {person: [] for person in people}
    rows = await db.fetch(
        """
        SELECT m.* FROM unnest($1::uuid[]) AS who(contact_id) CROSS JOIN LATERAL (
            SELECT e.contact_id, e.id, e.type, e.occurred_at, e.address, e.properties ->> 'bounce' AS bounce, e.source,
                   nullif(e.properties ->> 'message_id', '') AS message,
                   coalesce(e.properties -> 'suppressed' = 'true', false) AS is_suppressed
            FROM event e WHERE e.contact_id = who.contact_id AND e.type = ANY($2) OFFSET 0
        ) m
        """,
        list(found),
        hygiene.MAIL,
    )
    for row in rows:
        found[row[0]].append(MailEvent(*tuple(row.values())[1:]))
    return found


async def evidence(
    db: Connection, contact: UUID, policy: SoftPolicy, *, limit: int, before: tuple[datetime, UUID] | None = None
) -> list[Evidence]:
    """Bounces of a contact, the latest first: at most `limit`, those that lie before (occurred_at, id).

    Raises NotFound.
    """
    person = (await contacts.load(db, [contact])).get(contact)
    if person is None:
        raise NotFound("there is no such contact")
    aside = hygiene.weigh(person, (await mail(db, [contact]))[contact], policy).aside
    rows = await db.fetch(
        """
        SELECT id, occurred_at, received_at, source, address, properties FROM event
        WHERE contact_id = $1 AND type = $2 AND ($3::timestamptz IS NULL OR (occurred_at, id) < ($3, $4::uuid))
        ORDER BY occurred_at DESC, id DESC LIMIT $5
        """,
        contact,
        hygiene.BOUNCED,
        *(before or (None, None)),
        limit,
    )
    return [_evidence(row, aside) for row in rows if row["id"] in aside]  # else it has just come


async def evidence_each(
    db: Connection, people: Sequence[UUID], policy: SoftPolicy, *, limit: int
) -> dict[UUID, list[Evidence]]:
    """The latest `limit` bounces of each contact, the latest first; contacts that are not there are left out."""
    there = await contacts.load(db, people)
    told = await mail(db, there)
    aside = {person: hygiene.weigh(row, told[person], policy).aside for person, row in there.items()}
    rows = await db.fetch(
        """
        SELECT e.* FROM unnest($1::uuid[]) AS who(contact_id) CROSS JOIN LATERAL (
            SELECT contact_id, id, occurred_at, received_at, source, address, properties FROM event e
            WHERE e.contact_id = who.contact_id AND e.type = $2 ORDER BY occurred_at DESC, id DESC LIMIT $3
        ) e
        """,
        list(there),
        hygiene.BOUNCED,
        limit,
    )
    found: dict[UUID, list[Evidence]] = {person: [] for person in there}
    for row in rows:
        if row["id"] in aside[row["contact_id"]]:
            found[row["contact_id"]].append(_evidence(row, aside[row["contact_id"]]))
    return found


def _evidence(row: Any, aside: Mapping[UUID, Aside | None]) -> Evidence:  # Any: a record
    said = {name: row["properties"][name] for name in SAID if name in row["properties"]}
    return Evidence(
        row["id"],
        row["occurred_at"],
        row["received_at"],
        row["source"],
        row["address"],
        aside[row["id"]],
        said,
    )
