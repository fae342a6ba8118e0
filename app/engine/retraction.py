"""Events taken back, with all that they counted for: everything is as if they had never come.

For events that do nothing but count. What a bounce, an opt-out or a word about a contact did stands.
"""

from collections.abc import Collection, Iterable
from uuid import UUID

from app.engine import identity, tally
from app.engine.identity import ContactGone
from app.engine.plan import Plan
from app.store.db import Connection


async def retract(db: Connection, plan: Plan, events: Collection[UUID], beside: Iterable[UUID] = ()) -> list[UUID]:
    """Remove these events; those that are not there, or not any more, are left out.

    Locks whose they are, in one go with the contacts `beside` them. The transaction holds the plan, and has locked
    nobody yet. Returns whose they were, in the order of their ids: still to be scored. Raises ContactGone.
    """
    rows = await db.fetch("SELECT DISTINCT contact_id FROM event WHERE id = ANY($1)", list(events))
    owners = {row["contact_id"] for row in rows}
    await identity.lock(db, owners | {*beside})
    if not owners:
        return []
    rows = await db.fetch("DELETE FROM event WHERE id = ANY($1) RETURNING contact_id", list(events))
    if not {row["contact_id"] for row in rows} <= owners:
        raise ContactGone  # merged meanwhile: the events are another contact's, who is not locked
    people = sorted(owners)
    await db.execute(
        """
        UPDATE activity a SET last_event_at = coalesce(
            (SELECT max(least(occurred_at, received_at)) FROM event WHERE contact_id = a.contact_id), '-infinity'
        ) WHERE a.contact_id = ANY($1)
        """,
        people,
    )
    await tally.count_anew(db, plan.epoch, plan.counters, people)
    return people
