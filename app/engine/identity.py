"""Who an event or a change is about: identities to contacts, new contacts, and the one lock on them.

Order of strength: user_id, email, anonymous_id. A stronger identity decides; weaker ones that nobody holds yet are
attached to the contact found. An anonymous_id that already belongs to an identified person never pulls another
identified person in: they get a contact of their own.
"""

import re
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

import uuid_utils.compat as uuids
from email_validator import EmailNotValidError, validate_email

from app.store.db import Connection

ANONYMOUS, EMAIL, USER = "anonymous_id", "email", "user_id"


class Ref(NamedTuple):
    """What a caller knows of a person. At least one is given; `email` is normalised."""

    email: str | None = None
    user_id: str | None = None
    anonymous_id: str | None = None

    def named(self) -> list[tuple[str, str]]:
        """(kind, value) of what is given, strongest first."""
        given = ((USER, self.user_id), (EMAIL, self.email), (ANONYMOUS, self.anonymous_id))
        return [(kind, value) for kind, value in given if value is not None]


class ContactGone(Exception):
    """A contact was erased between finding it and locking it: begin the transaction again."""


class Resolved(NamedTuple):
    """The contact of each reference, which of them were made just now, and who holds each identity named."""

    contacts: dict[Ref, UUID]
    created: set[UUID]
    holders: dict[tuple[str, str], UUID]
    attached: set[UUID]
    """Contacts that have an identity more than before, the new ones among them."""


async def resolve(db: Connection, refs: Iterable[Ref], now: datetime) -> Resolved:
    """Find or make the contact of each reference, attach what is new, and lock them all until the transaction ends.

    Identities are claimed in their order before contacts are locked in theirs; every writer does both in this order,
    so they wait for each other and never in a circle.
    """
    wanted = list(refs)
    while True:
        found = await _look_up(db, wanted)
        assigned = _assign(wanted, found)
        if not assigned.claims or await _claim(db, assigned):
            break
    await lock(db, set(assigned.contacts.values()) - assigned.created)
    await _create(db, assigned, now)
    holders, attached = found.contacts | assigned.claims, set(assigned.claims.values())
    return Resolved(assigned.contacts, assigned.created, holders, attached)


async def lock(db: Connection, contacts: Iterable[UUID]) -> None:
    """Lock contacts, in the order of their ids, until the transaction ends. The only place that takes this lock.

    The lock is on the contact's row in `activity`, which is narrow and written anyway.
    Raises ContactGone if one of them is no longer there.
    """
    ids = list(contacts)
    if ids:
        rows = await db.fetch(
            "SELECT contact_id FROM activity WHERE contact_id = ANY($1) ORDER BY contact_id FOR NO KEY UPDATE", ids
        )
        if len(rows) != len(ids):
            raise ContactGone


async def find(db: Connection, key: tuple[str, str]) -> UUID | None:
    """The contact that an identity points at."""
    contact: UUID | None = await db.fetchval(
        "SELECT contact_id FROM identity WHERE kind = $1 AND value = $2", key[0], key[1]
    )
    return contact


class _Found(NamedTuple):
    contacts: dict[tuple[str, str], UUID]
    identified: set[UUID]
    """Contacts found by an anonymous_id that also have an email or a user_id."""


class _Assigned(NamedTuple):
    contacts: dict[Ref, UUID]
    claims: dict[tuple[str, str], UUID]
    created: set[UUID]


async def _look_up(db: Connection, refs: list[Ref]) -> _Found:
    keys = list({key for ref in refs for key in ref.named()})
    rows = await db.fetch(
        """
        SELECT i.kind, i.value, i.contact_id,
               i.kind = 'anonymous_id' AND EXISTS (
                   SELECT FROM identity k WHERE k.contact_id = i.contact_id AND k.kind IN ('email', 'user_id')
               ) AS is_identified
        FROM unnest($1::text[], $2::text[]) AS wanted(kind, value)
        CROSS JOIN LATERAL (
            SELECT * FROM identity WHERE kind = wanted.kind AND value = wanted.value OFFSET 0
        ) i
        """,
        [kind for kind, _ in keys],
        [value for _, value in keys],
    )
    contacts = {(row[0], row[1]): row[2] for row in rows}
    return _Found(contacts, {row[2] for row in rows if row[3]})


def _assign(refs: list[Ref], found: _Found) -> _Assigned:
    """Each reference's contact, by what is found and by what earlier references of the batch claim."""
    known, identified = dict(found.contacts), set(found.identified)
    assigned = _Assigned({}, {}, set())
    for ref in refs:
        keys = ref.named()
        contact = None
        for key in keys:
            candidate = known.get(key)
            if candidate is not None and not (key[0] == ANONYMOUS and len(keys) > 1 and candidate in identified):
                contact = candidate
                break
        if contact is None:
            contact = uuids.uuid7()
            assigned.created.add(contact)
        assigned.contacts[ref] = contact
        for key in keys:
            if key not in known:
                known[key] = assigned.claims[key] = contact
            if key[0] != ANONYMOUS:
                identified.add(contact)
    return assigned


async def _claim(db: Connection, assigned: _Assigned) -> bool:
    """Attach the new identities; False if another transaction was faster with one, and all must be looked up again."""
    claims = sorted(assigned.claims.items())
    columns = [kind for (kind, _), _ in claims], [value for (_, value), _ in claims], [one for _, one in claims]
    won = await db.fetch(
        """
        INSERT INTO identity (kind, value, contact_id)
        SELECT * FROM unnest($1::text[], $2::text[], $3::uuid[]) AS claim(kind, value, contact_id)
        ORDER BY kind, value
        ON CONFLICT DO NOTHING
        RETURNING kind, value
        """,
        *columns,
    )
    if len(won) == len(claims):
        return True
    await db.execute(
        """
        DELETE FROM identity i USING unnest($1::text[], $2::text[]) AS won(kind, value)
        WHERE i.kind = won.kind AND i.value = won.value
        """,
        [row["kind"] for row in won],
        [row["value"] for row in won],
    )
    return False


async def _create(db: Connection, assigned: _Assigned, now: datetime) -> None:
    """Rows for the new contacts, and the address of those that had none."""
    emails = {contact: value for (kind, value), contact in assigned.claims.items() if kind == EMAIL}
    # Of several new addresses in one batch the first is the contact's; the claims keep their order.
    for (kind, value), contact in reversed(assigned.claims.items()):
        if kind == EMAIL:
            emails[contact] = value
    if assigned.created:
        created = sorted(assigned.created)
        await db.execute(
            """
            INSERT INTO contact (id, email, created_at, updated_at)
            SELECT id, email, $3, $3 FROM unnest($1::uuid[], $2::text[]) AS made(id, email)
            """,
            created,
            [emails.get(contact) for contact in created],
            now,
        )
        await db.execute("INSERT INTO activity (contact_id) SELECT unnest($1::uuid[])", created)
    known = sorted(set(emails) - assigned.created)
    if known:
        await db.execute(
            """
            UPDATE contact c SET email = got.email, updated_at = $3
            FROM unnest($1::uuid[], $2::text[]) AS got(id, email)
            WHERE c.id = ANY($1) AND c.id = got.id AND c.email IS NULL
            """,
            known,
            [emails[contact] for contact in known],
            now,
        )


# Addresses that are plainly valid and already in normal form: most of all mail, at a fiftieth of the library's time.
# A test compares this with the library on generated addresses.
_PLAIN = re.compile(
    r"[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*@(?:[a-z0-9]+(?:-[a-z0-9]+)*\.)+(?!(?:arpa|invalid|local|localhost|onion)$)[a-z]{2,24}"
)


@lru_cache(maxsize=65_536)
def normal_email(address: str) -> str:
    """The address as it is stored and compared: valid by RFC 5321 and 6531, without DNS, in lower case.

    Case in the local part means nothing to any mail system in use, and people write their own address in both.
    Raises ValueError with a sentence that says what is wrong.
    """
    plain = address.strip().lower()
    if len(plain) <= 60 and _PLAIN.fullmatch(plain):
        return plain
    try:
        valid = validate_email(address.strip(), check_deliverability=False, test_environment=True)
    except EmailNotValidError as fault:
        raise ValueError(str(fault)) from None
    return valid.normalized.lower()
