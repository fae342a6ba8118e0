"""Marks of humans and machines, kept: put on events as they come in, and put right when later facts say otherwise.

An event is judged beside what happened near it (`humans`). What comes in is marked at once; where it speaks for another
mark on what is stored already, the contact is noted, and marked anew by the worker a little later, tallies and scores
with it. A new edition of `humans` notes everybody.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from app import clock
from app.engine import humans, identity, tally
from app.engine.humans import NEAR, UNKNOWN, Mark, Seen
from app.engine.hygiene import CLICKED
from app.engine.identity import ContactGone
from app.engine.plan import Plans
from app.engine.scoring import Cause
from app.store.db import Connection, Database

_CHUNK = 200
_NOTE = "INSERT INTO remark (contact_id) SELECT unnest($1::uuid[]) ON CONFLICT DO NOTHING"


class Incoming(NamedTuple):
    """An event that is about to be stored."""

    owner: UUID
    seen: Seen


async def mark(db: Connection, incoming: Sequence[Incoming]) -> dict[UUID, Mark]:
    """The marks of incoming events of `humans.BESIDE`, by id, each beside what is stored and what comes with it.

    Notes the contacts whose stored events are to be marked anew. The transaction has locked them all.
    """
    by_owner: dict[UUID, list[Seen]] = defaultdict(list)
    for owner, one in incoming:
        by_owner[owner].append(one)
    stored = await _near(db, by_owner)
    marks: dict[UUID, Mark] = {}
    stale = set()
    for owner, fresh in by_owner.items():
        ids = {one.id for one in fresh}
        beside = {one.id: one for one, _ in stored[owner] if one.id not in ids}
        judged = humans.judge([*fresh, *beside.values()])
        marks |= {id_: mark for id_, mark in judged.items() if id_ in ids}
        if any(judged.get(one.id, UNKNOWN) != was for one, was in stored[owner] if one.type == CLICKED):
            stale.add(owner)
    if stale:
        await db.execute(_NOTE, sorted(stale))
    return marks


async def _near(db: Connection, fresh: dict[UUID, list[Seen]]) -> dict[UUID, list[tuple[Seen, Mark]]]:
    """What is stored near each of these events, with its mark: each stretch of time read once."""
    owners: list[UUID] = []
    since: list[datetime] = []
    until: list[datetime] = []
    for owner, events in fresh.items():
        for at in sorted(one.occurred_at for one in events):
            if owners and owners[-1] == owner and at - NEAR <= until[-1]:
                until[-1] = at + NEAR
            else:
                owners.append(owner)
                since.append(at - NEAR)
                until.append(at + NEAR)
    found: dict[UUID, list[tuple[Seen, Mark]]] = defaultdict(list)
    if owners:
        rows = await db.fetch(
            """
            SELECT e.* FROM unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[]) AS stretch(owner, since, until)
            CROSS JOIN LATERAL (
                SELECT contact_id, id, type, occurred_at, properties, human, human_by FROM event
                WHERE contact_id = stretch.owner AND occurred_at BETWEEN stretch.since AND stretch.until
                AND type = ANY($4) OFFSET 0
            ) e
            """,
            owners,
            since,
            until,
            list(humans.BESIDE),
        )
        for row in rows:
            found[row[0]].append((humans.seen(*tuple(row.values())[1:5]), Mark(row[5], row[6])))
    return found


async def note_everybody(db: Connection) -> bool:
    """Have everybody's events marked anew, if they were marked by another edition of `humans`; says whether."""
    known = await db.fetchval("SELECT edition FROM marking FOR UPDATE")
    if known == humans.EDITION:
        return False
    await db.execute("INSERT INTO remark (contact_id) SELECT contact_id FROM activity ON CONFLICT DO NOTHING")
    await db.execute("UPDATE marking SET edition = $1", humans.EDITION)
    return True


async def remark(database: Database, plans: Plans) -> int:
    """Mark the events of whoever is noted, count and score them by the new marks; returns of how many contacts.

    Safe to run at any time and by several workers. Each chunk is one transaction.
    """
    done = 0
    while True:
        async with database.hot.acquire() as db:
            rows = await db.fetch("SELECT contact_id FROM remark ORDER BY contact_id LIMIT $1", _CHUNK)
        if not rows:
            return done
        noted = [row["contact_id"] for row in rows]
        try:
            async with database.batch() as db:
                await _remark(db, plans, noted)
        except ContactGone:
            continue
        done += len(noted)


async def _remark(db: Connection, plans: Plans, noted: Sequence[UUID]) -> None:
    plan = await plans.hold(db)
    rows = await db.fetch("SELECT contact_id FROM activity WHERE contact_id = ANY($1)", noted)
    contacts = [row["contact_id"] for row in rows]
    await identity.lock(db, contacts)
    await db.execute("DELETE FROM remark WHERE contact_id = ANY($1)", noted)
    events = await db.fetch(
        """
        SELECT e.* FROM unnest($1::uuid[]) AS who(id) CROSS JOIN LATERAL (
            SELECT contact_id, id, type, occurred_at, properties, human, human_by FROM event
            WHERE contact_id = who.id AND type = ANY($2) OFFSET 0
        ) e
        """,
        contacts,
        list(humans.BESIDE),
    )
    by_owner: dict[UUID, list[Seen]] = defaultdict(list)
    marked: dict[UUID, tuple[UUID, Mark]] = {}
    for row in events:
        by_owner[row[0]].append(humans.seen(*tuple(row.values())[1:5]))
        marked[row[1]] = row[0], Mark(row[5], row[6])
    judged = {id_: mark for mail in by_owner.values() for id_, mark in humans.judge(mail).items()}
    changed = {id_: mark for id_, mark in judged.items() if mark != marked[id_][1]}
    if not changed:
        return
    await db.execute(
        """
        UPDATE event e SET human = m.human, human_by = m.by
        FROM unnest($1::uuid[], $2::boolean[], $3::text[]) AS m(id, human, by) WHERE e.id = m.id
        """,
        list(changed),
        [mark.human for mark in changed.values()],
        [mark.by for mark in changed.values()],
    )
    if plan.asks_for_humans:
        moved = sorted({marked[id_][0] for id_ in changed})
        await tally.count_anew(db, plan.epoch, plan.counters, moved)
        await plan.scorer.score(db, moved, clock.now(), Cause.MARK)
