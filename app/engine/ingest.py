"""Events in: stored, tallied, scored in one transaction. Nothing acknowledged is lost, nothing counts twice."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import NAMESPACE_URL, UUID, uuid4

import orjson
from uuid_utils.compat import uuid5

from app.engine import hygiene, identity
from app.engine.hygiene import MailEvent, SoftPolicy
from app.engine.identity import Ref
from app.engine.plan import Plans
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
    content = orjson.dumps([source, type_, list(ref), occurred_at.timestamp(), properties], option=orjson.OPT_SORT_KEYS)
    return uuid5(_SOURCE_IDS, content.decode())


async def accept(
    db: Connection, plans: Plans, events: Sequence[NewEvent], now: datetime, policy: SoftPolicy
) -> set[UUID]:
    """Store, tally and score a batch with distinct ids, and act on its bounces and opt-outs.

    Runs in the caller's transaction; `db` is on the hot pool. Returns the ids that are new.
    """
    plan = await plans.hold(db)
    who = await identity.resolve(db, dict.fromkeys(event.ref for event in events), now)
    owners = [who.contacts[event.ref] for event in events]
    stored = await plan.intake.store(db, _columns(events, owners), plan.epoch, now)
    fresh = [(owner, event) for owner, event in zip(owners, events, strict=True) if event.id in stored]
    changed = await _keep_flags(db, fresh, now, policy) | who.attached
    await plan.scorer.score(db, sorted(changed), now, Cause.EVENT)
    await plan.event_scorer.score(db, sorted({owner for owner, _ in fresh} - changed), now, Cause.EVENT)
    return stored


def _columns(events: Sequence[NewEvent], owners: Sequence[UUID]) -> dict[str, list[object]]:
    return {
        "id": [event.id for event in events],
        "contact_id": list(owners),
        "type": [event.type for event in events],
        "source": [event.source for event in events],
        "client_id": [event.client_id for event in events],
        "occurred_at": [event.occurred_at for event in events],
        "address": [event.address for event in events],
        "properties": [event.properties for event in events],
    }


async def _keep_flags(
    db: Connection, fresh: Sequence[tuple[UUID, NewEvent]], now: datetime, policy: SoftPolicy
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
    await judge(db, [people[owner] for owner in bounced], policy)
    await save(db, list(people.values()), now)
    return set(people)


async def judge(db: Connection, people: Sequence[Contact], policy: SoftPolicy) -> None:
    """Set the bounce state of each contact from all its mail events."""
    rows = await db.fetch(
        """
        SELECT m.* FROM unnest($1::uuid[]) AS who(contact_id) CROSS JOIN LATERAL (
            SELECT e.contact_id, e.id, e.type, e.occurred_at, e.address, e.properties ->> 'bounce' AS bounce, e.source
            FROM event e WHERE e.contact_id = who.contact_id AND e.type = ANY($2) OFFSET 0
        ) m
        """,
        [person.id for person in people],
        hygiene.MAIL,
    )
    mail: dict[UUID, list[MailEvent]] = {person.id: [] for person in people}
    for row in rows:
        mail[row[0]].append(MailEvent(*tuple(row.values())[1:]))
    for person in people:
        hygiene.judge_bounces(person, mail[person.id], policy)


async def save(db: Connection, people: Sequence[Contact], now: datetime) -> None:
    for person in people:
        person.updated_at = now
    await contacts.save(db, people)
