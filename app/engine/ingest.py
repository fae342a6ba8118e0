"""Events in: stored, tallied, scored in one transaction. Nothing acknowledged is lost, nothing counts twice."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import NAMESPACE_URL, UUID, uuid4

import orjson
from uuid_utils.compat import uuid5

from app.engine import bounces, humans, hygiene, identity, joining, marking, profiles, suppressions
from app.engine.humans import Mark
from app.engine.hygiene import SoftPolicy
from app.engine.identity import EMAIL, Ref, Resolved
from app.engine.marking import Incoming
from app.engine.plan import Plan, Plans
from app.engine.scoring import Cause
from app.store import contacts
from app.store.db import Connection
from app.store.tables import Contact

_SOURCE_IDS = uuid5(NAMESPACE_URL, "leadtally:event")


class NewEvent(NamedTuple):
    """One event as it came in, checked. `properties` is JSON text that Postgres can hold."""

    id: UUID
    ref: Ref
    type: str
    source: str
    client_id: str | None
    occurred_at: datetime
    properties: str
    bounce: str | None = None
    """hard or soft, for `email.bounced`."""

    @property
    def address(self) -> str | None:
        """The address that an e-mail event was about."""
        return self.ref.email if self.type.startswith("email.") else None


def event_id(
    source: str, client_id: str | None, occurred_at: datetime | None, ref: Ref, type_: str, properties: object
) -> UUID:
    """The same for a replay, however often it comes.

    By source and the sender's id; without that by the content, if the sender said when it happened; with neither
    every event is a new one.
    """
    if client_id is not None:
        return uuid5(_SOURCE_IDS, f"{source}\0{client_id}")
    if occurred_at is None:
        return uuid4()
    said = [source, type_, list(ref[:3]), occurred_at.timestamp(), properties]
    return uuid5(_SOURCE_IDS, orjson.dumps(said, option=orjson.OPT_SORT_KEYS).decode())


async def accept(
    db: Connection, plans: Plans, events: Sequence[NewEvent], now: datetime, policy: SoftPolicy
) -> set[UUID]:
    """Store, tally and score a batch with distinct ids, and act on its bounces and opt-outs.

    Runs in the caller's transaction; `db` is on the hot pool. Returns the ids that are new.
    """
    plan = await plans.hold(db)
    events = [_whole(event) if event.type in profiles.NAMING else event for event in events]
    who = await identity.resolve(db, dict.fromkeys(event.ref for event in events), now)
    if who.joins:
        await join(db, plan, who, {event.ref: event.source for event in reversed(events)}, now, policy)
    owners = [who.contacts[event.ref] for event in events]
    mail = [
        Incoming(owner, humans.seen(event.id, event.type, event.occurred_at, orjson.loads(event.properties)))
        for owner, event in zip(owners, events, strict=True)
        if event.type in humans.BESIDE
    ]
    marks = await marking.mark(db, mail) if mail else {}
    stored = await plan.intake.store(db, _columns(events, who, marks), plan.epoch, now)
    fresh = [(owner, event) for owner, event in zip(owners, events, strict=True) if event.id in stored]
    changed = who.attached | await _keep_words(db, plan, who, fresh, now, policy)
    changed |= await _come_back(db, plans, _attached(events, who), now)
    changed |= await _keep_flags(db, plans, fresh, now, policy)
    await plan.scorer.score(db, sorted(changed), now, Cause.EVENT)
    await plan.event_scorer.score(db, sorted({owner for owner, _ in fresh} - changed), now, Cause.EVENT)
    return stored


def _whole(event: NewEvent) -> NewEvent:
    """The event with all that it says of who it is about."""
    return event._replace(ref=profiles.whole_ref(event.ref, event.type, orjson.loads(event.properties)))


async def join(
    db: Connection, plan: Plan, who: Resolved, by: Mapping[Ref, str], now: datetime, policy: SoftPolicy
) -> None:
    """Make those one of whom references say that they are; `by` says who gave each. They are still to be scored."""
    stay = await joining.join(db, plan, who.joins, by, now)
    await judge(db, stay, policy)
    await save(db, stay, now)


def _columns(events: Sequence[NewEvent], who: Resolved, marks: Mapping[UUID, Mark]) -> dict[str, list[object]]:
    marked = [marks.get(event.id, humans.UNKNOWN) for event in events]
    return {
        "id": [event.id for event in events],
        "contact_id": [who.contacts[event.ref] for event in events],
        "type": [event.type for event in events],
        "source": [event.source for event in events],
        "client_id": [event.client_id for event in events],
        "occurred_at": [event.occurred_at for event in events],
        "address": [event.address for event in events],
        "properties": [event.properties for event in events],
        "human": [mark.human for mark in marked],
        "human_by": [mark.by for mark in marked],
        "origin": [who.origins.get(event.ref) for event in events],
    }


def _attached(events: Sequence[NewEvent], who: Resolved) -> dict[str, UUID]:
    """The addresses that may have got their contacts just now."""
    return {
        address: who.holders[EMAIL, address]
        for event in events
        if who.contacts[event.ref] in who.attached
        for address in (event.ref.email, event.ref.new_email)
        if address is not None
    }


async def _come_back(db: Connection, plans: Plans, addresses: Mapping[str, UUID], now: datetime) -> set[UUID]:
    """Raise the flags that erased contacts with these addresses had; returns the contacts that were written."""
    left = await suppressions.returned(db, plans.vault, addresses) if addresses else {}
    if not left:
        return set()
    people = await contacts.load(db, {addresses[address] for address in left})
    await suppressions.revive(db, people, addresses, left)
    await save(db, list(people.values()), now)
    return set(people)


async def _keep_words(
    db: Connection,
    plan: Plan,
    who: Resolved,
    fresh: Sequence[tuple[UUID, NewEvent]],
    now: datetime,
    policy: SoftPolicy,
) -> set[UUID]:
    """Let the new events be heard that say what their contacts are; returns those that are otherwise now."""
    said = [(owner, event) for owner, event in fresh if event.type in profiles.TYPES]
    if not said:
        return set()
    people = await contacts.load(db, {owner for owner, _ in said})
    changed, moved = set(), set()
    for owner, event in said:
        held = {one for one in (event.ref.email, event.ref.new_email) if one and who.holders[EMAIL, one] == owner}
        at, properties = min(event.occurred_at, now), orjson.loads(event.properties)
        effect = profiles.apply(people[owner], event.type, properties, at, plan.contacts, held)
        changed |= {owner} if effect.is_changed else set()
        moved |= {owner} if effect.is_moved else set()
    if moved:
        await judge(db, [people[owner] for owner in moved], policy)
    for owner in changed:
        people[owner].updated_at = now
    await contacts.save(db, list(people.values()))
    return changed


async def _keep_flags(
    db: Connection, plans: Plans, fresh: Sequence[tuple[UUID, NewEvent]], now: datetime, policy: SoftPolicy
) -> set[UUID]:
    """Act on what the new events say of consent and bounces; returns the contacts that were written."""
    consent = [(owner, event) for owner, event in fresh if event.type in hygiene.CONSENT]
    bounced = {owner for owner, event in fresh if event.type == hygiene.BOUNCED}
    arrived = {owner for owner, event in fresh if event.type in hygiene.ARRIVALS} - bounced
    if arrived:  # matters only to who has soft bounces
        rows = await db.fetch("SELECT id FROM contact WHERE id = ANY($1) AND soft_bounces > 0", list(arrived))
        bounced |= {row["id"] for row in rows}
    if not consent and not bounced:
        return set()
    people = await contacts.load(db, bounced | {owner for owner, _ in consent})
    for owner, event in consent:
        hygiene.decide_consent(
            people[owner],
            out=event.type != hygiene.RESUBSCRIBED,
            at=min(event.occurred_at, now),
            reason=hygiene.CONSENT[event.type],
            by=event.source,
        )
    opt_ins = [(event.address, event.occurred_at) for _, event in consent if event.type == hygiene.RESUBSCRIBED]
    if opt_ins:
        said = {address: at for address, at in sorted(opt_ins, key=lambda one: one[1]) if address is not None}
        await suppressions.opt_in(db, plans.vault, said)
    await judge(db, [people[owner] for owner in bounced], policy)
    await save(db, list(people.values()), now)
    return set(people)


async def judge(db: Connection, people: Sequence[Contact], policy: SoftPolicy) -> None:
    """Set the bounce state of each contact from all its mail events."""
    mail = await bounces.mail(db, [person.id for person in people])
    for person in people:
        hygiene.judge_bounces(person, mail[person.id], policy)


async def save(db: Connection, people: Sequence[Contact], now: datetime) -> None:
    for person in people:
        person.updated_at = now
    await contacts.save(db, people)
