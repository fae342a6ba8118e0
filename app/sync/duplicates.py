"""Contacts with several records in one CRM: duplicates there, or a lead and a contact. All of them are kept in step."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from app.connectors.shapes import Key
from app.store.db import Connection
from app.sync import links
from app.sync.links import State

_LOOKED_AT = 1_000
"""Records that a page looks at."""


class Several(NamedTuple):
    """A contact, and its live records by object and id."""

    contact: UUID
    records: Sequence[Key]


class Found(NamedTuple):
    """A page. `next` None: there are no more records to look at."""

    contacts: Sequence[Several]
    next: Key | None


async def page(db: Connection, connection: UUID, *, limit: int, after: Key | None) -> Found:
    """At most so many, in the order of the first record of each, of those whose first record comes after one.

    Looks at a bounded number of records, so it may find few or none and yet not be the last.
    """
    rows = await db.fetch(
        """
        SELECT l.object, l.record, i.contact_id FROM (
            SELECT object, record FROM link
            WHERE connection_id = $1 AND state = 'live' AND (object, record) > ($2, $3)
            ORDER BY object, record LIMIT $4
        ) l
        LEFT JOIN LATERAL (
            SELECT contact_id FROM identity WHERE kind = 'crm:' || $1 || ':' || l.object AND value = l.record OFFSET 0
        ) i ON true
        ORDER BY 1, 2
        """,
        connection,
        *(after or ("", "")),
        _LOOKED_AT,
    )
    looked_at = {Key(row[0], row[1]): row[2] for row in rows}
    theirs = await links.of_contacts(db, connection, {one for one in looked_at.values() if one is not None})
    found, last = list[Several](), None
    for key, contact in looked_at.items():
        last = key
        records = sorted(link.key for link in theirs.get(contact, ()) if link.state is State.LIVE)
        if len(records) > 1 and records[0] == key:
            found.append(Several(contact, records))
            if len(found) == limit:
                break
    is_last = len(rows) < _LOOKED_AT and len(found) < limit
    return Found(found, None if is_last else last)
