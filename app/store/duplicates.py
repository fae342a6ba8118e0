"""Contacts that look like one person, found by two small indexes: of addresses that are not in their plainest form, and
of changes of address."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from app.errors import InvalidInput
from app.store import pages
from app.store.db import Connection

MOST_ALIKE = 20
"""Contacts told of each group."""
_LOOKED_AT = 1_000
"""Places that a page looks at, at least: most are of nobody's double."""


class Reason(StrEnum):
    SAME_ADDRESS = "same_address"
    """Equal by fold_email()."""
    EMAIL_CHANGED = "email_changed"
    """A `contact.email_changed` said that one has a new address, which is the other's."""


class Alike(NamedTuple):
    id: UUID
    email: str | None
    name: str | None


class Group(NamedTuple):
    reason: Reason
    address: str
    contacts: list[Alike]


class _Place(NamedTuple):
    """A place that was looked at: where it is in its index, and whom it made one of."""

    key: str
    group: Group | None


async def page(db: Connection, *, limit: int, cursor: str | None) -> tuple[list[Group], str | None]:
    """Groups of a page, and the cursor of the next; None at the end. Raises InvalidInput for a cursor of another list.

    Each page looks at no more than a bounded number of places, so that it may hold few or none and yet not be the last.
    """
    reason, after = _read(cursor)
    most = max(limit, _LOOKED_AT)
    places = await (_same_address if reason is Reason.SAME_ADDRESS else _email_changed)(db, after, most)
    found: list[Group] = []
    for place in places:
        if place.group is not None:
            found.append(place.group)
        if len(found) == limit:
            return found, pages.encode(reason, place.key)
    if len(places) == most:
        return found, pages.encode(reason, places[-1].key)
    return found, pages.encode(Reason.EMAIL_CHANGED, "") if reason is Reason.SAME_ADDRESS else None


def _read(cursor: str | None) -> tuple[Reason, str]:
    if cursor is None:
        return Reason.SAME_ADDRESS, ""
    reason, after = pages.decode(cursor, 2)
    try:
        place = Reason(reason), str(after)
        if place[0] is Reason.EMAIL_CHANGED and after != "":
            UUID(place[1])
        place[1].encode()
    except (ValueError, TypeError):
        raise InvalidInput(pages.bad_cursor()) from None
    if "\0" in place[1]:
        raise InvalidInput(pages.bad_cursor())
    return place


async def _same_address(db: Connection, after: str, most: int) -> list[_Place]:
    # From one plain form to the next, for a thousand addresses may have the same one.
    rows = await db.fetch(
        """
        WITH RECURSIVE plain(email) AS (
            (SELECT fold_email(email) FROM contact WHERE email <> fold_email(email) AND fold_email(email) > $1
             ORDER BY 1 LIMIT 1)
            UNION ALL
            SELECT next.email FROM plain CROSS JOIN LATERAL (
                SELECT fold_email(c.email) AS email FROM contact c
                WHERE c.email <> fold_email(c.email) AND fold_email(c.email) > plain.email ORDER BY 1 LIMIT 1
            ) next
        ), looked_at AS (SELECT email FROM plain LIMIT $2)
        SELECT l.email AS place, c.id, c.email, c.name FROM looked_at l CROSS JOIN LATERAL (
            (SELECT id, email, name FROM contact WHERE email = l.email LIMIT $3)
            UNION ALL
            (SELECT id, email, name FROM contact
             WHERE email <> fold_email(email) AND fold_email(email) = l.email ORDER BY id LIMIT $3)
        ) c
        """,
        after,
        most,
        MOST_ALIKE,
    )
    alike: dict[str, list[Alike]] = {}
    for place, *person in rows:
        alike.setdefault(place, []).append(Alike(*person))
    return [
        _Place(place, Group(Reason.SAME_ADDRESS, place, people[:MOST_ALIKE]) if len(people) > 1 else None)
        for place, people in alike.items()
    ]


async def _email_changed(db: Connection, after: str, most: int) -> list[_Place]:
    rows = await db.fetch(
        """
        SELECT e.id, i.value, c.id, c.email, c.name, o.id, o.email, o.name FROM (
            SELECT id, contact_id, lower(btrim(properties ->> 'new_email')) AS email FROM event
            WHERE type = 'contact.email_changed' AND ($1::uuid IS NULL OR id > $1) ORDER BY id LIMIT $2
        ) e
        LEFT JOIN LATERAL (
            SELECT value, contact_id FROM identity WHERE kind = 'email' AND value = e.email OFFSET 0
        ) i ON i.contact_id <> e.contact_id
        LEFT JOIN LATERAL (SELECT id, email, name FROM contact WHERE id = e.contact_id OFFSET 0) c ON true
        LEFT JOIN LATERAL (SELECT id, email, name FROM contact WHERE id = i.contact_id OFFSET 0) o ON true
        ORDER BY e.id
        """,
        UUID(after) if after else None,
        most,
    )
    return [_Place(str(row[0]), _pair(row)) for row in rows]


def _pair(row: Sequence[Any] | asyncpg.Record) -> Group | None:  # Any: columns
    if row[1] is None:
        return None
    return Group(Reason.EMAIL_CHANGED, row[1], [Alike(row[2], row[3], row[4]), Alike(row[5], row[6], row[7])])
