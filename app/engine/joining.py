"""Contacts that are one person become one, any number in a transaction: what happened to either happened to who stays.

Everything moves by replay: an event is one contact's alone, so that the tallies of two are added, and whatever is not
tallied yet is counted from the events of both. Each row remembers the contact that it came to first (`origin`), and
what each was by itself is kept (`merge_part`), so that `merging` can take them apart again.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import uuid_utils.compat as uuids

from app.engine import humans, hygiene, profiles, tally
from app.engine.identity import Join, Ref
from app.engine.plan import Plan
from app.store import contacts
from app.store.db import Connection
from app.store.tables import Contact

_OF_ADDRESS = (
    "email", "email_since", "bounced", "bounced_at", "bounced_reason", "bounced_by", "bounce_status", "soft_bounces",
    "bounces_since",
)  # fmt: skip
_OF_CONSENT = ("opted_out", "opted_out_at", "opted_out_reason", "opted_out_by", "consent")
_MOVED = ("identity", "event", "adjustment", "merge_edit")


async def join(
    db: Connection, plan: Plan, joins: Sequence[Join], by: Mapping[Ref, str], now: datetime
) -> list[Contact]:
    """Make each `gone` part of its survivor, in this order, and remove it; `by` names who said so.

    The transaction holds the plan and has locked them all. The survivor's words stay where the other's are not later,
    and its gaps are filled; tags are joined; an opt-out of either stays. Its address stays with its bounce state;
    without one it takes the other's.

    Returns the rows of who stays, as they become: still to be judged by their mail, saved and scored.
    """
    into = {one.gone: one.survivor for one in joins}
    gone = list(into)
    takers = [_last(into, one) for one in gone]
    everybody = [*gone, *sorted(set(takers))]
    people = await contacts.load(db, everybody)
    await note_mail(db, gone, takers)
    await _keep_parts(db, everybody, now)
    for table in _MOVED:
        await db.execute(
            f"""
            UPDATE {table} t SET contact_id = pair.taker, origin = coalesce(t.origin, pair.gone)
            FROM unnest($1::uuid[], $2::uuid[]) AS pair(gone, taker)
            WHERE t.contact_id = pair.gone AND t.contact_id = ANY($1)
            """,
            gone,
            takers,
        )
    await _keep_history(db, joins, gone, takers, by, now)
    await _count(db, plan, gone, takers)
    await contacts.erase(db, *gone)
    await end_overrides(db, takers)
    for one in joins:
        join_rows(people[one.survivor], people[one.gone])
    return [people[one] for one in dict.fromkeys(takers)]


def _last(into: Mapping[UUID, UUID], contact: UUID) -> UUID:
    while contact in into:
        contact = into[contact]
    return contact


async def _keep_parts(db: Connection, everybody: Sequence[UUID], now: datetime) -> None:
    """What each is by itself, unless it is made of several already."""
    await db.execute(
        """
        INSERT INTO merge_part (contact_id, origin, since, said)
        SELECT id, id, $2, to_jsonb(c) FROM contact c WHERE id = ANY($1) ON CONFLICT DO NOTHING
        """,
        everybody,
        now,
    )


async def _keep_history(
    db: Connection,
    joins: Sequence[Join],
    gone: Sequence[UUID],
    takers: Sequence[UUID],
    by: Mapping[Ref, str],
    now: datetime,
) -> None:
    for table in ("merge", "merge_part"):
        await db.execute(
            f"""
            UPDATE {table} t SET contact_id = pair.taker FROM unnest($1::uuid[], $2::uuid[]) AS pair(gone, taker)
            WHERE t.contact_id = pair.gone AND t.contact_id = ANY($1)
            """,
            gone,
            takers,
        )
    await db.execute(
        """
        INSERT INTO merge (contact_id, id, survivor, gone, kind, at, by)
        SELECT taker, id, survivor, gone, kind, $6, by
        FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $7::text[])
            AS made(taker, id, survivor, gone, kind, by)
        """,
        takers,
        [uuids.uuid7() for _ in joins],
        [one.survivor for one in joins],
        [one.gone for one in joins],
        [str(one.tie) for one in joins],
        now,
        [by[one.ref] for one in joins],
    )


async def _count(db: Connection, plan: Plan, gone: Sequence[UUID], takers: Sequence[UUID]) -> None:
    """Give tallies and activity of each contact to its taker, whose events they are by now."""
    await db.execute(
        """
        UPDATE activity a SET last_event_at = o.seen FROM (
            SELECT pair.taker, max(o.last_event_at) AS seen
            FROM unnest($1::uuid[], $2::uuid[]) AS pair(gone, taker)
            JOIN activity o ON o.contact_id = pair.gone AND o.contact_id = ANY($1)
            GROUP BY 1
        ) o WHERE a.contact_id = o.taker AND a.contact_id = ANY($2) AND a.last_event_at < o.seen
        """,
        gone,
        takers,
    )
    await tally.give(db, gone, takers, [one for one in plan.counters if one not in plan.filling])
    if plan.filling:
        filling = {number: plan.counters[number] for number in plan.filling}
        await tally.count_anew(db, plan.epoch, filling, sorted(set(takers)))


async def end_overrides(db: Connection, people: Sequence[UUID]) -> None:
    """Let each override end the one before, as if one contact had had them all."""
    await db.execute(
        """
        UPDATE adjustment a SET revoked_at = next.created_at, revoked_by = next.made_by,
               own_revoked_at = coalesce(a.own_revoked_at, a.revoked_at, 'infinity'),
               own_revoked_by = CASE WHEN a.own_revoked_at IS NULL THEN a.revoked_by ELSE a.own_revoked_by END
        FROM (
            SELECT contact_id, id, lead(created_at) OVER turn AS created_at, lead(made_by) OVER turn AS made_by
            FROM adjustment WHERE contact_id = ANY($1) AND kind = 'override'
            WINDOW turn AS (PARTITION BY contact_id, model_id ORDER BY created_at, id)
        ) next
        WHERE a.contact_id = next.contact_id AND a.contact_id = ANY($1) AND a.id = next.id
          AND coalesce(a.revoked_at, 'infinity') > next.created_at
        """,
        people,
    )


async def note_mail(db: Connection, people: Sequence[UUID], noted: Sequence[UUID]) -> None:
    """Where one of `people` has openings or clicks, have those of the contact beside it in `noted` marked anew: they
    are judged beside each other."""
    await db.execute(
        """
        INSERT INTO remark (contact_id)
        SELECT DISTINCT noted FROM unnest($1::uuid[], $2::uuid[]) AS pair(person, noted)
        WHERE EXISTS (SELECT FROM event WHERE contact_id = pair.person AND type = ANY($3) OFFSET 0)
        ON CONFLICT DO NOTHING
        """,
        people,
        noted,
        list(humans.BESIDE),
    )


def join_rows(kept: Contact, gone: Contact) -> None:
    """What a contact becomes with another. Its bounce state is still to be judged by all mail."""
    profiles.join(kept, gone)
    kept.created_at = min(kept.created_at, gone.created_at)
    _join_consent(kept, gone)
    if kept.email is None:
        for name in _OF_ADDRESS:
            setattr(kept, name, getattr(gone, name))
        said = {word: at for word, at in kept.said_at.items() if word != "email"}
        kept.said_at = said | ({"email": gone.said_at["email"]} if "email" in gone.said_at else {})


def _join_consent(kept: Contact, gone: Contact) -> None:
    """The restrictive one holds, whenever it was said; of two that are alike, all words of both."""
    if gone.opted_out != kept.opted_out:
        if gone.opted_out:
            for name in _OF_CONSENT:
                setattr(kept, name, getattr(gone, name))
        return
    if gone.opted_out_at is not None:
        later = {word: said for word, said in gone.consent.items() if said > kept.consent.get(word, [])}
        kept.consent = kept.consent | later
        hygiene.decide_consent(
            kept,
            out=gone.opted_out,
            at=gone.opted_out_at,
            reason=gone.opted_out_reason or hygiene.MANUAL,
            by=gone.opted_out_by or "",
        )
