"""Who an event or a change is about: identities to contacts, new contacts, and the one lock on them.

Order of strength: a CRM's record, user_id, email, anonymous_id. A stronger identity decides; weaker ones that nobody
holds yet are attached to the contact found. Whoever is known by anonymous_ids alone becomes part of the person that a
stronger identity names beside one of these. An anonymous_id that already belongs to an identified person never pulls
another identified person in: they get a contact of their own.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple, TypeAlias
from uuid import UUID

import uuid_utils.compat as uuids
from email_validator import EmailNotValidError, validate_email

from app import quality
from app.store.db import Connection

ANONYMOUS, EMAIL, USER = "anonymous_id", "email", "user_id"

_NOBODY = UUID(int=0)

Key: TypeAlias = tuple[str, str]
"""Kind and value of an identity."""


class Ref(NamedTuple):
    """What a caller knows of a person: an identity at least; addresses are normalised."""

    email: str | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    new_email: str | None = None
    """The address that took the place of `email`, or came beside it."""
    previous_id: str | None = None
    """An older user_id or anonymous_id of the same person: whoever has it becomes part of the one named."""
    record: Key | None = None
    """A record in a CRM, by `record_kind` and its id."""
    other_emails: tuple[str, ...] = ()
    """More addresses of the same person, the likelier first."""

    def named(self) -> list[Key]:
        """What is given and may decide, strongest first."""
        given = ((USER, self.user_id), (EMAIL, self.email), (EMAIL, self.new_email), (ANONYMOUS, self.anonymous_id))
        keys = [(kind, value) for kind, value in given if value is not None]
        if self.record is not None:
            keys.insert(0, self.record)
        if self.other_emails:
            at = len(keys) - (self.anonymous_id is not None)
            keys[at:at] = [(EMAIL, address) for address in self.other_emails]
        return keys

    def before(self) -> list[Key]:
        """What the previous id may be."""
        return [] if self.previous_id is None else [(USER, self.previous_id), (ANONYMOUS, self.previous_id)]


def record_kind(connection: UUID, object_: str) -> str:
    """The kind of the identities that records of this object in this connection are."""
    return f"crm:{connection}:{object_}"


class ContactGone(Exception):
    """A contact was erased or merged between finding it and locking it: begin the transaction again."""


class Tie(StrEnum):
    """Why two contacts became one."""

    MANUAL = "manual"
    """Somebody merged them."""
    AUTOMATIC = "automatic"
    """One was known by anonymous_ids alone, and one of these was named beside an identity of the other."""
    ALIAS = "alias"
    """A `contact.aliased` named a user_id of the one as an older name of the other."""


class Join(NamedTuple):
    """That `gone` is to become part of `survivor`; `ref` names both, unless somebody merges them by hand."""

    gone: UUID
    survivor: UUID
    tie: Tie
    ref: Ref = Ref()


class Resolved(NamedTuple):
    """The contact of each reference, which of them were made just now, and who holds each identity named."""

    contacts: dict[Ref, UUID]
    created: set[UUID]
    holders: dict[Key, UUID]
    attached: set[UUID]
    """Contacts that have an identity more than before, the new ones among them."""
    origins: dict[Ref, UUID]
    """Of the references that name a part of a merged contact: which part."""
    joins: list[Join]
    """What the caller must carry out (`joining.join`): all else here is as if it had."""


async def resolve(db: Connection, refs: Iterable[Ref], now: datetime) -> Resolved:
    """Find or make the contact of each reference, attach what is new, and lock them all until the transaction ends.

    Identities are claimed in their order before contacts are locked in theirs; every writer does both in this order,
    so they wait for each other and never in a circle. The transaction holds the plan, so that nobody takes a merged
    contact apart meanwhile. Raises ContactGone.
    """
    wanted = list(refs)
    while True:
        found = await _look_up(db, wanted)
        assigned = await _assigned(db, wanted, found)
        if not assigned.claims or await _claim(db, assigned, now):
            break
    gone = [join.gone for join in assigned.joins]
    await lock(db, {*assigned.contacts.values(), *gone, *(join.survivor for join in assigned.joins)} - assigned.created)
    await _stay_anonymous(db, [join.gone for join in assigned.joins if join.tie is Tie.AUTOMATIC])
    await _create(db, assigned, now)
    holders = found.contacts | assigned.claims
    if gone:
        holders = {key: assigned.final(contact) for key, contact in holders.items()}
    attached = {*assigned.claims.values()} | {assigned.final(contact) for contact in gone}
    return Resolved(assigned.contacts, assigned.created, holders, attached, assigned.origins, assigned.joins)


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


async def find(db: Connection, key: Key) -> UUID | None:
    """Whom an identity points at."""
    contact: UUID | None = await db.fetchval(
        "SELECT contact_id FROM identity WHERE kind = $1 AND value = $2", key[0], key[1]
    )
    return contact


class _Found(NamedTuple):
    contacts: dict[Key, UUID]
    origins: dict[Key, UUID]
    identified: set[UUID]
    """Contacts found by an anonymous_id that have an identity of another kind, too."""


async def _look_up(db: Connection, refs: list[Ref]) -> _Found:
    keys = list({key for ref in refs for key in (*ref.named(), *ref.before())})
    rows = await db.fetch(
        """
        SELECT i.kind, i.value, i.contact_id,
               i.kind = 'anonymous_id' AND EXISTS (
                   SELECT FROM identity k WHERE k.contact_id = i.contact_id AND k.kind <> 'anonymous_id' OFFSET 0
               ) AS is_identified,
               i.origin
        FROM unnest($1::text[], $2::text[]) AS wanted(kind, value)
        CROSS JOIN LATERAL (
            SELECT * FROM identity WHERE kind = wanted.kind AND value = wanted.value OFFSET 0
        ) i
        """,
        [kind for kind, _ in keys],
        [value for _, value in keys],
    )
    contacts = {(row[0], row[1]): row[2] for row in rows}
    origins = {(row[0], row[1]): row[4] for row in rows if row[4] is not None}
    return _Found(contacts, origins, {row[2] for row in rows if row[3]})


async def _assigned(db: Connection, refs: list[Ref], found: _Found) -> "_Assigned":
    apart: set[UUID] = set()
    while True:
        assigned = _Assigned(found, apart)
        for ref in refs:
            assigned.assign(ref)
        assigned.finish()
        if not assigned.joins:
            return assigned
        # Who was taken out of another by hand is never made part of anybody by an event again.
        rows = await db.fetch(
            "SELECT gone FROM merge WHERE gone = ANY($1) AND undone_at IS NOT NULL",
            [join.gone for join in assigned.joins],
        )
        if not rows:
            return assigned
        apart |= {row["gone"] for row in rows}


@dataclass
class _Assigned:
    """Each reference's contact, by what is found and by what earlier references of the batch claim."""

    found: _Found
    apart: Collection[UUID]
    """Whom to leave as they are."""
    contacts: dict[Ref, UUID] = field(default_factory=dict)
    claims: dict[Key, UUID] = field(default_factory=dict)
    origins: dict[Ref, UUID] = field(default_factory=dict)
    claim_origins: dict[Key, UUID] = field(default_factory=dict)
    created: set[UUID] = field(default_factory=set)
    joins: list[Join] = field(default_factory=list)
    _into: dict[UUID, UUID] = field(default_factory=dict)
    """Who became part of whom."""
    _deciders: dict[Ref, Key | None] = field(default_factory=dict)
    """The identity that decided; None for somebody new."""
    _claimers: dict[Key, Ref] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._known = dict(self.found.contacts)
        self._identified = {one for (kind, _), one in self._known.items() if kind != ANONYMOUS} | self.found.identified

    def final(self, contact: UUID) -> UUID:
        """The contact that this one is, or has become part of."""
        while contact in self._into:
            contact = self._into[contact]
        return contact

    def assign(self, ref: Ref) -> None:
        keys, before = ref.named(), ref.before()
        decider, contact = self._decide(keys)
        if decider is None:
            contact = uuids.uuid7()
            self.created.add(contact)
        if keys[0][0] != ANONYMOUS:
            self._identified.add(contact)
        # A previous id that nobody knows as a user_id was an anonymous_id.
        for key in keys if not before or before[0] in self._known else [*keys, before[1]]:
            if key not in self._known:
                self._known[key] = self.claims[key] = contact
                self._claimers[key] = ref
        for key in (*keys, *before):
            held = self._known.get(key)
            if held not in (None, contact):
                contact = self._tie(contact, self.final(held), key, ref)
        self._deciders[ref], self.contacts[ref] = decider, contact

    def _decide(self, keys: list[Key]) -> tuple[Key | None, UUID]:
        """The strongest identity that may decide, and whose it is; None and nobody's if there is none."""
        for key in keys:
            if (held := self._known.get(key)) is not None:
                contact = self.final(held)
                if not (key[0] == ANONYMOUS and len(keys) > 1 and contact in self._identified):
                    return key, contact
        return None, _NOBODY

    def _tie(self, contact: UUID, other: UUID, key: Key, ref: Ref) -> UUID:
        """Let `other` be part of `contact`, or the reverse, if `ref` says that they are one; returns who has both."""
        is_known = other in self._identified
        if other == contact or (is_known and key != (USER, ref.previous_id)):
            return contact
        if is_known and contact not in self._identified:
            contact, other = other, contact
        if other in self.created:
            self._become(other, contact)
        elif contact in self.created:
            self._become(contact, other)
            return other
        elif other not in self.apart:
            self._become(other, contact)
            self.joins.append(Join(other, contact, Tie.ALIAS if is_known else Tie.AUTOMATIC, ref))
        return contact

    def _become(self, gone: UUID, contact: UUID) -> None:
        self._into[gone] = contact
        self.created.discard(gone)
        if gone in self._identified:
            self._identified.add(contact)

    def finish(self) -> None:
        """Say all of those that are there once the joins are made."""
        if not self._into and not self.found.origins:
            return
        joined = {join.gone for join in self.joins}
        origins: dict[Key, UUID | None] = {}
        for key, contact in self.found.contacts.items():
            origins[key] = self.found.origins.get(key, contact if contact in joined else None)
        for key, ref in self._claimers.items():
            decider = self._deciders[ref]
            origins[key] = None if decider is None else origins[decider]
        self.claim_origins = {key: origin for key in self.claims if (origin := origins[key]) is not None}
        for ref, contact in self.contacts.items():
            decider = self._deciders[ref]
            origin = None if decider is None else origins[decider]
            if origin is not None:
                self.origins[ref] = origin
            self.contacts[ref] = self.final(contact)
        self.claims = {key: self.final(contact) for key, contact in self.claims.items()}


async def _claim(db: Connection, assigned: _Assigned, now: datetime) -> bool:
    """Attach the new identities; False if another transaction was faster with one, and all must be looked up again."""
    claims = sorted(assigned.claims.items())
    won = await db.fetch(
        """
        INSERT INTO identity (kind, value, contact_id, origin, since)
        SELECT claim.*, $5 FROM unnest($1::text[], $2::text[], $3::uuid[], $4::uuid[])
            AS claim(kind, value, contact_id, origin)
        ORDER BY kind, value
        ON CONFLICT DO NOTHING
        RETURNING kind, value
        """,
        [kind for (kind, _), _ in claims],
        [value for (_, value), _ in claims],
        [contact for _, contact in claims],
        [assigned.claim_origins.get(key) for key, _ in claims],
        now,
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


async def _stay_anonymous(db: Connection, contacts: list[UUID]) -> None:
    """Raises ContactGone if somebody said who one of these is, between finding and locking them."""
    if contacts and await db.fetchval(
        "SELECT EXISTS (SELECT FROM identity WHERE contact_id = ANY($1) AND kind <> 'anonymous_id')", contacts
    ):
        raise ContactGone


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
            INSERT INTO contact (id, email, email_quality, created_at, updated_at)
            SELECT id, email, string_to_array(quality, ','), $4, $4
            FROM unnest($1::uuid[], $2::text[], $3::text[]) AS made(id, email, quality)
            """,
            created,
            [emails.get(contact) for contact in created],
            [",".join(quality.of(emails.get(contact))) for contact in created],
            now,
        )
        await db.execute("INSERT INTO activity (contact_id) SELECT unnest($1::uuid[])", created)
    known = sorted(set(emails) - assigned.created)
    if known:
        await db.execute(
            """
            UPDATE contact c SET email = got.email, email_quality = string_to_array(got.quality, ','), updated_at = $4
            FROM unnest($1::uuid[], $2::text[], $3::text[]) AS got(id, email, quality)
            WHERE c.id = ANY($1) AND c.id = got.id AND c.email IS NULL
            """,
            known,
            [emails[contact] for contact in known],
            [",".join(quality.of(emails[contact])) for contact in known],
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
