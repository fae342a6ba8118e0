"""Two contacts that are one person become one: what happened to either happened to whoever stays."""

from datetime import datetime
from uuid import UUID

from app.engine import identity, ingest, tally
from app.engine.contacts import distinct, merged
from app.engine.hygiene import SoftPolicy
from app.engine.plan import Plans
from app.engine.scoring import Cause
from app.errors import Fault, InvalidInput, NotFound
from app.store import contacts
from app.store.db import Connection
from app.store.tables import Contact

_OF_ADDRESS = (
    "email", "email_since", "bounced", "bounced_at", "bounced_reason", "bounced_by", "bounce_status", "soft_bounces",
    "bounces_since",
)  # fmt: skip
_OF_CONSENT = ("opted_out", "opted_out_at", "opted_out_reason", "opted_out_by")
_MOVED = ("identity", "adjustment")


async def merge(
    db: Connection, plans: Plans, survivor: UUID, other: UUID, now: datetime, policy: SoftPolicy
) -> Contact:
    """Make `other` part of `survivor`, and remove it. Runs in the caller's transaction.

    Events, identities and adjustments move; tallies are counted anew from all events, so that nothing counts twice. The
    survivor's words stay, and its gaps are filled; tags are joined; an opt-out of either stays. Its address stays with
    its bounce state, judged by all mail; without one it takes the other's. The other's history of scores goes with it.
    Raises NotFound, or InvalidInput if the two are the same.
    """
    if survivor == other:
        raise InvalidInput(Fault("/other", "expected another contact than this one"))
    await tally.hold_still(db)
    plan = await plans.hold(db)
    try:
        await identity.lock(db, [survivor, other])
    except identity.ContactGone:
        raise NotFound("there is no such contact") from None
    people = await contacts.load(db, [survivor, other])
    kept, gone = people[survivor], people[other]
    _join(kept, gone)
    # All events of both are counted below: whatever is being filled just now must pass them over.
    await db.execute(
        "UPDATE event SET contact_id = $1, epoch = $3 WHERE contact_id IN ($1, $2)", survivor, other, plan.epoch
    )
    await db.execute("DELETE FROM staged_tally WHERE contact_id IN ($1, $2)", survivor, other)
    for table in _MOVED:
        await db.execute(f"UPDATE {table} SET contact_id = $1 WHERE contact_id = $2", survivor, other)
    await _end_overrides(db, survivor)
    await db.execute(
        """
        UPDATE activity a SET last_event_at = greatest(a.last_event_at, o.last_event_at)
        FROM activity o WHERE a.contact_id = $1 AND o.contact_id = $2
        """,
        survivor,
        other,
    )
    await contacts.erase(db, other)
    await tally.Fill(plan.counters).set(db, [survivor])
    await ingest.judge(db, [kept], policy)
    await ingest.save(db, [kept], now)
    await plan.scorer.score(db, [survivor], now, Cause.MERGE)
    return kept


async def _end_overrides(db: Connection, contact: UUID) -> None:
    """Let each override end the one before, as if one contact had had them all."""
    await db.execute(
        """
        UPDATE adjustment a SET revoked_at = next.created_at, revoked_by = next.made_by
        FROM (
            SELECT id, lead(created_at) OVER turn AS created_at, lead(made_by) OVER turn AS made_by
            FROM adjustment WHERE contact_id = $1 AND kind = 'override'
            WINDOW turn AS (PARTITION BY model_id ORDER BY created_at, id)
        ) next
        WHERE a.contact_id = $1 AND a.id = next.id AND coalesce(a.revoked_at, 'infinity') > next.created_at
        """,
        contact,
    )


def _join(kept: Contact, gone: Contact) -> None:
    """What the survivor becomes."""
    kept.name = kept.name or gone.name
    kept.stage = kept.stage or gone.stage
    kept.tags = distinct([*kept.tags, *gone.tags])
    kept.properties = merged(gone.properties, kept.properties)
    kept.created_at = min(kept.created_at, gone.created_at)
    if gone.opted_out and not kept.opted_out:
        for name in _OF_CONSENT:
            setattr(kept, name, getattr(gone, name))
    if kept.email is None:
        for name in _OF_ADDRESS:
            setattr(kept, name, getattr(gone, name))
