"""How the two flags of a contact came to be what they are: every change, with who said so and when."""

from datetime import datetime
from itertools import pairwise
from typing import NamedTuple
from uuid import UUID

from app.errors import NotFound
from app.store import contacts
from app.store.db import Connection

NEW_ADDRESS, DELIVERED = "new_address", "delivered"
"""What ended a bounce that nobody cleared: another address, or mail that arrived."""


class FlagChange(NamedTuple):
    """A flag as it was from `changed_at` on."""

    flag: str
    """opted_out or bounced."""
    value: bool
    at: datetime | None
    """When what it says happened; None where a bounce ended by itself."""
    reason: str | None
    by: str | None
    changed_at: datetime
    """When it was known here."""


class _State(NamedTuple):
    email: str | None
    opted_out: "_Flag"
    bounced: "_Flag"


class _Flag(NamedTuple):
    value: bool
    at: datetime | None
    reason: str | None
    by: str | None


async def history(db: Connection, contact: UUID) -> list[FlagChange]:
    """Every change of a contact's flags that is kept, the earliest first. Raises NotFound."""
    person = (await contacts.load(db, [contact])).get(contact)
    if person is None:
        raise NotFound("there is no such contact")
    rows = await db.fetch(
        """
        SELECT until, said ->> 'email',
               (said -> 'opted_out')::boolean, (said ->> 'opted_out_at')::timestamptz,
               said ->> 'opted_out_reason', said ->> 'opted_out_by',
               (said -> 'bounced')::boolean, (said ->> 'bounced_at')::timestamptz,
               said ->> 'bounced_reason', said ->> 'bounced_by'
        FROM contact_past WHERE contact_id = $1 ORDER BY id
        """,
        contact,
    )
    never = _Flag(value=False, at=None, reason=None, by=None)
    states = [(person.created_at, _State(None, never, never))]
    since = person.created_at
    for row in rows:
        states.append((since, _State(row[1], _Flag(*tuple(row[2:6])), _Flag(*tuple(row[6:10])))))
        since = row[0]
    opted_out = _Flag(person.opted_out, person.opted_out_at, person.opted_out_reason, person.opted_out_by)
    bounced = _Flag(person.bounced, person.bounced_at, person.bounced_reason, person.bounced_by)
    states.append((since, _State(person.email, opted_out, bounced)))
    return [change for (_, before), (at, after) in pairwise(states) for change in _changes(before, after, at)]


def _changes(before: _State, after: _State, at: datetime) -> list[FlagChange]:
    found = []
    if before.opted_out != after.opted_out:
        found.append(FlagChange("opted_out", *after.opted_out, at))
    if before.bounced != after.bounced:
        flag = after.bounced
        if not flag.value and flag.reason is None:
            flag = flag._replace(reason=NEW_ADDRESS if before.email != after.email else DELIVERED)
        found.append(FlagChange("bounced", *flag, at))
    return found
