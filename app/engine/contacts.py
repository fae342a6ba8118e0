"""What somebody says about contacts: created, changed, imported, erased. Flags, address and score follow."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import uuid_utils.compat as uuids

from app.engine import declared, hygiene, identity, ingest, profiles, suppressions
from app.engine.hygiene import SoftPolicy
from app.engine.identity import EMAIL, Ref, Resolved
from app.engine.plan import Plan, Plans
from app.engine.profiles import distinct, merged
from app.engine.scoring import Cause
from app.errors import Conflict, Fault, InvalidInput, NotFound
from app.store import contacts
from app.store.db import Connection
from app.store.tables import Contact


@dataclass(frozen=True)
class Change:
    """What to change of one contact. Fields that are not named in `said` stay as they are.

    `said` holds the names of the fields given: email, name, stage, tags, properties, opted_out, bounced.
    `properties` are merged by RFC 7396: a null removes that property. Those whose type is declared are read as it.
    """

    said: frozenset[str]
    email: str | None = None
    name: str | None = None
    stage: str | None = None
    tags: tuple[str, ...] = ()
    add_tags: tuple[str, ...] = ()
    properties: dict[str, Any] = field(default_factory=dict)  # Any: JSON
    opted_out: bool = False
    bounced: bool = False


class Upserted(NamedTuple):
    contact: UUID
    is_new: bool
    is_conflict: bool
    """Its address belongs to another contact than its stronger identity; nothing of it was kept."""


class Refused(NamedTuple):
    """A change of which nothing was kept: each property that cannot be read as its declared type, and why."""

    wrong: dict[str, str]

    def fault(self) -> InvalidInput:
        """With a pointer to each of them, into a document that has the properties under `properties`."""
        places = {name: name.replace("~", "~0").replace("/", "~1") for name in self.wrong}
        return InvalidInput(*(Fault(f"/properties/{places[name]}", why) for name, why in self.wrong.items()))


async def upsert(
    db: Connection,
    plans: Plans,
    changes: Sequence[tuple[Ref, Change]],
    by: str,
    now: datetime,
    policy: SoftPolicy,
) -> list[Upserted | Refused]:
    """Find or make each contact and change it, in order; then score all of them. Runs in the caller's transaction.

    A change whose address is another contact's, or whose properties are not of their declared types, is left out
    whole, and says so; the latter makes no contact either.
    """
    plan = await plans.hold(db)
    read = [(ref, _typed(wanted, plan)) for ref, wanted in changes]
    met = await meet(db, plan, [ref for ref, wanted in read if isinstance(wanted, Change)], by, now, policy)
    who, edits = met.who, Edits(met)
    results: list[Upserted | Refused] = []
    for ref, wanted in read:
        if isinstance(wanted, Refused):
            results.append(wanted)
            continue
        is_conflict = wanted.email is not None and who.holders.get((EMAIL, wanted.email)) not in (
            None,
            who.contacts[ref],
        )
        results.append(Upserted(who.contacts[ref], who.contacts[ref] in who.created, is_conflict))
        if not is_conflict:
            edits.add(ref, wanted, by, now)
    await edits.keep(db, plans, by, now, policy)
    return results


class Met(NamedTuple):
    """Contacts found or made, and locked, with their rows as they are."""

    plan: Plan
    who: Resolved
    people: dict[UUID, Contact]


async def meet(db: Connection, plan: Plan, refs: Iterable[Ref], by: str, now: datetime, policy: SoftPolicy) -> Met:
    """Find or make whom these name, join those whom they say are one, and lock them all.

    The transaction holds the plan. Whoever is met is still to be scored: `Edits.keep` does, with what is said of them.
    """
    wanted = dict.fromkeys(refs)
    who = await identity.resolve(db, wanted, now)
    if who.joins:
        await ingest.join(db, plan, who, dict.fromkeys(wanted, by), now, policy)
    return Met(plan, who, await contacts.load(db, set(who.contacts.values())))


class Edits:
    """What is said of contacts that were met, in order; applied at once to their rows, and kept together."""

    def __init__(self, met: Met) -> None:
        self._met = met
        self._edits: list[_Edit] = []
        self._judged: set[UUID] = set()
        self._came: dict[str, UUID] = {}

    def add(self, ref: Ref, wanted: Change, by: str, at: datetime) -> None:
        """Say this of whom `ref` names, as said at `at`. Its address, if any, is theirs or nobody's."""
        who = self._met.who
        owner = who.contacts[ref]
        if apply(self._met.people[owner], wanted, by, at):
            self._judged.add(owner)
        self._edits.append(_Edit(self._met.people[owner], who.origins.get(ref), wanted, at))
        for address in (wanted.email, ref.email, *ref.other_emails):
            if address is not None and (owner in who.attached or owner in self._judged):
                self._came[address] = owner

    async def keep(self, db: Connection, plans: Plans, by: str, now: datetime, policy: SoftPolicy) -> None:
        """Write and score all that were met."""
        await _note(db, self._edits, by)
        await _come_back(db, plans, self._met.people, self._came)
        await _keep(db, self._met.plan, self._met.people.values(), self._judged, now, policy)


async def change(
    db: Connection, plans: Plans, contact: UUID, wanted: Change, by: str, now: datetime, policy: SoftPolicy
) -> Contact:
    """Change one contact that is there, and score it.

    Raises NotFound; Conflict if its new address is another contact's, or if somebody who complained is to be opted in;
    InvalidInput with a pointer to each property that cannot be read as its declared type.
    """
    plan = await plans.hold(db)
    read = _typed(wanted, plan)
    if isinstance(read, Refused):
        raise read.fault()
    if "email" in wanted.said and wanted.email is not None:
        await _claim_address(db, contact, wanted.email, now)
    await lock_existing(db, contact)
    people = await contacts.load(db, [contact])
    judged = {contact} if apply(people[contact], read, by, now) else set()
    await _note(db, [_Edit(people[contact], None, read, now)], by)
    if judged and wanted.email is not None:
        await _come_back(db, plans, people, {wanted.email: contact})
    if "opted_out" in wanted.said and not wanted.opted_out and hygiene.has_complained(people[contact]):
        raise Conflict(hygiene.COMPLAINT_STANDS, "/opted_out")
    await _keep(db, plan, people.values(), judged, now, policy)
    return people[contact]


async def erase(db: Connection, plans: Plans, contact: UUID) -> None:
    """Remove a contact with its events, tallies and scores; a flag stays, by keyed hashes of its addresses.

    Raises NotFound.
    """
    await plans.hold(db)
    await lock_existing(db, contact)
    await suppressions.leave_hash(db, plans.vault, contact)
    await contacts.erase(db, contact)
    await db.execute("DELETE FROM merge WHERE gone = $1", contact)  # it was part of another, and is no more


async def lock_existing(db: Connection, contact: UUID) -> None:
    try:
        await identity.lock(db, [contact])
    except identity.ContactGone:
        raise NotFound("there is no such contact") from None


async def _claim_address(db: Connection, contact: UUID, email: str, now: datetime) -> None:
    """Point the address at the contact; the address it had goes on pointing there, for mail about it may still come."""
    if await db.fetchval("SELECT 1 FROM activity WHERE contact_id = $1", contact) is None:
        raise NotFound("there is no such contact")
    await db.execute(
        "INSERT INTO identity (kind, value, contact_id, since) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        EMAIL,
        email,
        contact,
        now,
    )
    if await identity.find(db, (EMAIL, email)) != contact:
        raise Conflict("another contact has this address", "/email")


def _typed(wanted: Change, plan: Plan) -> Change | Refused:
    """The change with its properties of the types that are declared as the transaction sees them."""
    if not wanted.properties or not plan.contacts.declared:
        return wanted
    properties, wrong = declared.read_all(wanted.properties, plan.contacts)
    return Refused(wrong) if wrong else replace(wanted, properties=properties)


def apply(contact: Contact, change: Change, by: str, now: datetime) -> bool:
    """Change the row; says whether its bounce state must be judged again, because its address or its past changed."""
    judge, words = False, _words(contact, change)
    if "email" in change.said and change.email != contact.email:
        hygiene.change_address(contact, change.email, now)
        judge = True
    if "name" in change.said:
        contact.name = change.name
    if "stage" in change.said:
        contact.stage = change.stage
    if "tags" in change.said:
        contact.tags = distinct(change.tags)
    if change.add_tags:
        contact.tags = distinct([*contact.tags, *change.add_tags])
    if "properties" in change.said:
        contact.properties = merged(contact.properties, change.properties)
    if "opted_out" in change.said and change.opted_out != contact.opted_out:
        hygiene.decide_consent(contact, out=change.opted_out, at=now, reason=hygiene.MANUAL, by=by)
    if "bounced" in change.said and change.bounced != contact.bounced:
        hygiene.decide_bounce(contact, bounced=change.bounced, at=now, by=by)
    profiles.say_now(contact, words, now)
    return judge


def _words(contact: Contact, change: Change) -> list[str]:
    """The words about the contact that a change says, as `profiles` names them."""
    words = sorted(change.said & {"email", "name", "stage"})
    if "properties" in change.said:
        words += [f"properties.{name}" for name in change.properties]
    tags = [*change.add_tags, *((*change.tags, *contact.tags) if "tags" in change.said else ())]
    return [*words, *(f"tags.{tag.lower()}" for tag in tags)]


class _Edit(NamedTuple):
    """A change that was made. `contact` is the row as it became; `origin` its part that was named, if any."""

    contact: Contact
    origin: UUID | None
    change: Change
    at: datetime
    """When it was said."""


async def _note(db: Connection, edits: Sequence[_Edit], by: str) -> None:
    """Keep the changes of merged contacts, so that who is taken out of one again has what was said of them."""
    people = {one.contact.id for one in edits}
    rows = await db.fetch("SELECT contact_id FROM merge_part WHERE contact_id = ANY($1)", people)
    merged_ones = {row["contact_id"] for row in rows}
    noted = [one for one in edits if one.contact.id in merged_ones]
    if noted:
        await db.execute(
            """
            INSERT INTO merge_edit (contact_id, id, origin, at, by, address, said)
            SELECT one.contact, one.id, one.origin, one.at, $7, one.address, one.said
            FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::jsonb[], $6::timestamptz[])
                AS one(contact, id, origin, address, said, at)
            """,
            [one.contact.id for one in noted],
            [uuids.uuid7() for _ in noted],
            [one.origin for one in noted],
            [one.contact.email for one in noted],
            [{**asdict(one.change), "said": sorted(one.change.said)} for one in noted],
            [one.at for one in noted],
            by,
        )


async def _come_back(
    db: Connection, plans: Plans, people: Mapping[UUID, Contact], addresses: Mapping[str, UUID]
) -> None:
    """Raise the flags that erased contacts had, of whom these addresses are now."""
    left = await suppressions.returned(db, plans.vault, addresses) if addresses else {}
    if left:
        await suppressions.revive(db, people, addresses, left)


async def _keep(
    db: Connection, plan: Plan, people: Iterable[Contact], judged: set[UUID], now: datetime, policy: SoftPolicy
) -> None:
    rows = list(people)
    if judged:
        await ingest.judge(db, [person for person in rows if person.id in judged], policy)
    await ingest.save(db, rows, now)
    await plan.scorer.score(db, sorted(person.id for person in rows), now, Cause.CONTACT)
