"""What was done with people in a CRM becomes events: a call, a meeting, the answer to a campaign.

An activity that was edited says all anew: its events are replaced, and what they counted for with them. One that was
deleted or undone has no people any more, and so no events.
"""

import hashlib
import json
from asyncio import Event
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from app import clock
from app.connectors.faults import CursorLost
from app.connectors.shapes import Activity, Key
from app.engine import ingest, retraction
from app.engine.ingest import NewEvent
from app.engine.properties import to_text
from app.engine.scoring import Cause
from app.engine.transactions import committed
from app.store.db import Connection
from app.sync import cursors, links, reading, strangers, succession, taking
from app.sync.cursors import ACTIVITIES, Kept
from app.sync.links import State
from app.sync.shapes import Counts, Opened

TYPE = "crm.activity"


async def pull(opened: Opened, counts: Counts, stop: Event) -> None:
    """Take all activities that are new or were edited; returns early if `stop` is set. Raises Fault."""
    async with opened.database.batch() as db:
        kept = await cursors.find(db, opened.id, ACTIVITIES)
    while not stop.is_set():
        try:
            page = await opened.connector.activities(kept.cursor if kept else None)
        except CursorLost:
            if kept is None:
                raise
            kept = None
            continue
        kept = Kept(page.cursor, kept.began_at if kept else clock.now())
        await take(opened, page.activities, counts, kept)
        if page.is_last:
            return


async def take(opened: Opened, activities: Sequence[Activity], counts: Counts, kept: Kept) -> None:
    """Let these be events, and keep the cursor behind them, in one transaction. Safe to repeat.

    Raises Fault if the CRM must be asked who somebody is, and does not answer.
    """
    latest = {activity.id: activity for activity in activities}
    async with opened.database.batch() as db:
        new = await _otherwise(db, opened.id, latest)
    await _meet(opened, {key for activity in new for key in activity.people}, counts)

    async def work(db: Connection) -> int:
        changed = await _take(db, opened, latest)
        await cursors.keep(db, opened.id, ACTIVITIES, kept, clock.now())
        return changed

    counts.activities += await committed(opened.database, work)


async def _meet(opened: Opened, people: Collection[Key], counts: Counts) -> None:
    """Take the records of whom nobody has met yet."""
    async with opened.database.batch() as db:
        known = await links.of_records(db, opened.id, people)
        unknown = {*people} - known.keys()
        unknown -= await strangers.among(db, opened.id, unknown)
    if unknown:
        await taking.take(opened, await reading.fetch(opened, unknown), counts)


async def _take(db: Connection, opened: Opened, latest: Mapping[str, Activity]) -> int:
    """Returns how many became events, or ceased to be."""
    now, plan = clock.now(), await opened.plans.hold(db)
    changed = await _otherwise(db, opened.id, latest)
    if not changed:
        return 0
    before = await _events_of(db, opened.id, [activity.id for activity in changed])
    known = await links.of_records(db, opened.id, {key for activity in changed for key in activity.people})
    whose = {
        key: link.contact for key, link in known.items() if link.contact is not None and link.state is not State.ERASED
    }
    events = {activity.id: _events(opened, activity, whose, now) for activity in changed}
    stale = [event for events in before.values() for event in events]
    people = await retraction.retract(db, plan, stale, beside=whose.values())
    new = [event for one in events.values() for event in one]
    if new:
        await ingest.accept(db, opened.plans, new, now, opened.policy)
    await plan.scorer.score(db, people, now, Cause.EVENT)
    await _keep(db, opened.id, changed, {id_: [event.id for event in one] for id_, one in events.items()})
    return sum(bool(before.get(activity.id) or events[activity.id]) for activity in changed)


def _events(opened: Opened, activity: Activity, whose: Mapping[Key, UUID], now: datetime) -> list[NewEvent]:
    """One for each contact that the activity was about, by its first record."""
    firsts: dict[UUID, Key] = {}
    for key in activity.people:
        if key in whose:
            firsts.setdefault(whose[key], key)
    said = {"type": reading.clean(activity.type), "activity_id": activity.id, "crm": opened.kind}
    more = {name: reading.clean(one) if isinstance(one, str) else one for name, one in activity.properties.items()}
    properties = _as_text({**more, **said}, said)
    found: dict[str, NewEvent] = {}
    for key in firsts.values():
        client_id = f"{activity.id}:{key.id}"
        if client_id in found:  # records of two objects may have the same id
            client_id = f"{activity.id}:{key.object}:{key.id}"
        ref, at = succession.ref(opened.id, key), min(activity.at, now)
        id_ = ingest.event_id(opened.source, client_id, at, ref, TYPE, properties)
        found[client_id] = NewEvent(id_, ref, TYPE, opened.source, client_id, at, properties)
    return list(found.values())


def _as_text(properties: dict[str, Any], least: dict[str, Any]) -> str:  # Any: JSON
    """As JSON text; where Postgres cannot hold all of it, the least."""
    try:
        return to_text(properties)
    except ValueError:
        return to_text(least)


# --- what was taken before --------------------------------------------------------------------------------------------


async def _otherwise(db: Connection, connection: UUID, latest: Mapping[str, Activity]) -> list[Activity]:
    """Those that say something else than when they were taken last, or say it for the first time."""
    rows = await db.fetch(
        """
        SELECT a.id, a.digest FROM unnest($2::text[]) AS wanted(id) CROSS JOIN LATERAL (
            SELECT id, digest FROM crm_activity WHERE connection_id = $1 AND id = wanted.id OFFSET 0
        ) a
        """,
        connection,
        list(latest),
    )
    digests = {row["id"]: row["digest"] for row in rows}
    return [
        activity
        for id_, activity in latest.items()
        if digests.get(id_) != _digest(activity) and (activity.people or id_ in digests)
    ]


async def _events_of(db: Connection, connection: UUID, ids: Iterable[str]) -> dict[str, list[UUID]]:
    rows = await db.fetch(
        """
        SELECT a.id, a.events FROM unnest($2::text[]) AS wanted(id) CROSS JOIN LATERAL (
            SELECT id, events FROM crm_activity WHERE connection_id = $1 AND id = wanted.id OFFSET 0
        ) a
        """,
        connection,
        list(ids),
    )
    return {row["id"]: row["events"] for row in rows}


async def _keep(
    db: Connection, connection: UUID, activities: Sequence[Activity], events: Mapping[str, Sequence[UUID]]
) -> None:
    await db.execute(
        """
        INSERT INTO crm_activity (connection_id, id, digest, events)
        SELECT $1, new.id, new.digest, string_to_array(new.events, ',')::uuid[]
        FROM unnest($2::text[], $3::bytea[], $4::text[]) AS new(id, digest, events) ORDER BY new.id
        ON CONFLICT (connection_id, id) DO UPDATE SET digest = excluded.digest, events = excluded.events
        """,
        connection,
        [activity.id for activity in activities],
        [_digest(activity) for activity in activities],
        [",".join(map(str, events[activity.id])) for activity in activities],
    )


def _digest(activity: Activity) -> bytes:
    said = [activity.type, activity.at.timestamp(), sorted(activity.people), activity.properties]
    # The standard library's, for half of a surrogate pair is no reason to stop.
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).digest()
