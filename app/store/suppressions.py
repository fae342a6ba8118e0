"""The suppression list: entries of its own, and the contacts with a flag, read and written in batches."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from app.store.db import Connection


class Entry(NamedTuple):
    """That something must not be mailed, for one reason. `kind` is address, domain or hash."""

    kind: str
    value: str
    reason: str
    at: datetime
    by: str
    note: str | None = None


class Listed(NamedTuple):
    """A line of the whole list; `contact_id` is that of the contact whose flag it is, None for an entry."""

    kind: str
    value: str
    reason: str
    since: datetime | None
    by: str | None
    note: str | None
    contact_id: UUID | None


class Flagged(NamedTuple):
    """An address that points at a contact with a flag, or at one that has another address now."""

    address: str
    contact_id: UUID
    is_present: bool
    """Whether it is the contact's address now: a bounce is of that one alone."""
    opted_out: bool
    opted_out_at: datetime | None
    opted_out_reason: str | None
    opted_out_by: str | None
    bounced: bool
    bounced_at: datetime | None
    bounced_by: str | None
    is_soft: bool


async def add(db: Connection, entries: Sequence[Entry]) -> int:
    """Add what is not there yet; returns how many were not."""
    return len(
        await db.fetch(
            """
            INSERT INTO suppression (kind, value, reason, at, by, note)
            SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::text[])
              AS new(kind, value, reason, at, by, note)
            ORDER BY kind, value, reason
            ON CONFLICT DO NOTHING
            RETURNING true
            """,
            *([one[at] for one in entries] for at in range(len(Entry._fields))),
        )
    )


async def find(db: Connection, keys: Iterable[tuple[str, str]]) -> list[Entry]:
    """The entries of these kinds and values."""
    wanted = sorted(keys)  # so that neighbours in the index are asked for one after the other
    rows = await db.fetch(
        """
        SELECT s.* FROM unnest($1::text[], $2::text[]) AS wanted(kind, value)
        CROSS JOIN LATERAL (
            SELECT kind, value, reason, at, by, note FROM suppression s
            WHERE s.kind = wanted.kind AND s.value = wanted.value OFFSET 0
        ) s
        """,
        [kind for kind, _ in wanted],
        [value for _, value in wanted],
    )
    return [Entry(*row) for row in rows]


async def remove(db: Connection, entries: Iterable[Entry]) -> None:
    doomed = sorted(entries)
    await db.execute(
        """
        DELETE FROM suppression s USING unnest($1::text[], $2::text[], $3::text[]) AS doomed(kind, value, reason)
        WHERE s.kind = doomed.kind AND s.value = doomed.value AND s.reason = doomed.reason
        """,
        [one.kind for one in doomed],
        [one.value for one in doomed],
        [one.reason for one in doomed],
    )


async def flagged(db: Connection, addresses: Sequence[str]) -> list[Flagged]:
    rows = await db.fetch(
        """
        SELECT w.value, c.* FROM unnest($1::text[]) AS w(value)
        CROSS JOIN LATERAL (
            SELECT contact_id FROM identity WHERE kind = 'email' AND value = w.value OFFSET 0
        ) i
        CROSS JOIN LATERAL (
            SELECT c.id, c.email IS NOT DISTINCT FROM w.value AS is_present, c.opted_out, c.opted_out_at,
                   c.opted_out_reason, c.opted_out_by, c.bounced, c.bounced_at, c.bounced_by, c.bounce_status = 'soft'
            FROM contact c WHERE c.id = i.contact_id OFFSET 0
        ) c
        WHERE c.opted_out OR c.bounced OR NOT c.is_present
        """,
        sorted(addresses),
    )
    return [Flagged(*row) for row in rows]


async def bounces_of_left(db: Connection, left: Sequence[tuple[UUID, str]]) -> dict[str, tuple[datetime, str]]:
    """When, and by whose word, each of these addresses that their contacts have left bounced hard; others lack."""
    rows = await db.fetch(
        """
        SELECT w.address, e.occurred_at, e.source FROM unnest($1::uuid[], $2::text[]) AS w(contact_id, address)
        CROSS JOIN LATERAL (
            SELECT e.occurred_at, e.source FROM event e
            WHERE e.contact_id = w.contact_id AND e.type = 'email.bounced' AND e.address = w.address
              AND e.properties ->> 'bounce' = 'hard'
              AND e.properties -> 'suppressed' IS DISTINCT FROM 'true'
              AND e.occurred_at > coalesce((SELECT bounces_since FROM contact WHERE id = w.contact_id), '-infinity')
            ORDER BY e.occurred_at LIMIT 1
        ) e
        """,
        [contact for contact, _ in left],
        [address for _, address in left],
    )
    return {row[0]: (row[1], row[2]) for row in rows}


# --- the whole list ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wanted:
    """Which lines of the list. `part` is of the address, domain or hash, in lower case."""

    kind: str | None = None
    reason: str | None = None
    part: str | None = None


Place = tuple[str, str, str, str]
"""Where a line stands: `entry` with kind, value, reason, or `contact` with id, value, reason."""

_START: Mapping[str, Place] = {
    "entry": ("entry", "", "", ""),
    "contact": ("contact", "00000000-0000-0000-0000-000000000000", "", ""),
}

_ENTRIES = """
    SELECT kind, value, reason, at, by, note, NULL::uuid FROM suppression
    WHERE (kind, value, reason) > ($1, $2, $3) {conditions}
    ORDER BY kind, value, reason LIMIT $4
"""
# An opt-out is the person's: of every address of theirs. A bounce is of the address in use.
_CONTACTS = """
    SELECT 'address' AS kind, f.value, f.reason, f.since, f.by, NULL::text, c.id
    FROM contact c CROSS JOIN LATERAL (
        SELECT i.value, CASE c.opted_out_reason WHEN 'complained' THEN 'complaint' ELSE 'opt_out' END AS reason,
               c.opted_out_at AS since, c.opted_out_by AS by
        FROM identity i WHERE i.contact_id = c.id AND i.kind = 'email' AND c.opted_out
        UNION ALL
        SELECT c.email, CASE c.bounce_status WHEN 'soft' THEN 'soft_limit' ELSE 'hard_bounce' END, c.bounced_at,
               c.bounced_by
        WHERE c.bounced AND c.email IS NOT NULL
    ) f
    WHERE (c.opted_out OR c.bounced) AND c.id >= $1 AND (c.id, f.value, f.reason) > ($1, $2, $3)
      {conditions}
    ORDER BY c.id, f.value, f.reason LIMIT $4
"""


async def page(db: Connection, wanted: Wanted, *, limit: int, after: Place | None) -> list[Listed]:
    """At most `limit` lines after a place: entries by kind, value and reason, then contacts by id."""
    found: list[Listed] = []
    tests = {"reason": wanted.reason}
    if after is None or after[0] == "entry":
        _, *start = after or _START["entry"]
        found = await _lines(db, _ENTRIES, start, limit, {**tests, "kind": wanted.kind}, wanted.part)
        after = None
    if len(found) < limit and wanted.kind in (None, "address"):
        _, contact, value, reason = after or _START["contact"]
        found += await _lines(db, _CONTACTS, [UUID(contact), value, reason], limit - len(found), tests, wanted.part)
    return found


async def _lines(
    db: Connection,
    query: str,
    start: Sequence[Any],  # Any: a contact's id, or text
    limit: int,
    tests: Mapping[str, str | None],
    part: str | None,
) -> list[Listed]:
    given: list[Any] = [*start, limit]
    conditions = ""
    for column, value in tests.items():
        if value is not None:
            given.append(value)
            conditions += f" AND {column} = ${len(given)}"
    if part is not None:
        given.append(part)
        conditions += f" AND strpos(value, ${len(given)}) > 0"
    return [Listed(*row) for row in await db.fetch(query.format(conditions=conditions), *given)]


def place(line: Listed) -> Place:
    if line.contact_id is None:
        return "entry", line.kind, line.value, line.reason
    return "contact", str(line.contact_id), line.value, line.reason
