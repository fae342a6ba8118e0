"""The inbox, read: raw calls become events, stored and scored, each call marked in the transaction that stored them.

Any number of workers read at once: each locks the calls it takes, and passes over those that others have. Whatever
ends a transaction leaves its calls unread, for whoever comes next. A call that was read can be read again: ids of
events come from what is in them, so that only what could not be read before is added.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
import structlog

from app import clock
from app.engine import ingest
from app.engine.batching import MAX_BATCH
from app.engine.hygiene import SoftPolicy
from app.engine.ingest import NewEvent
from app.engine.plan import Plans
from app.engine.transactions import PASSING, committed
from app.errors import Fault, Unavailable
from app.esp.shapes import Fetch, Request, Visit
from app.sources import inbox, outcomes, reading
from app.sources.inbox import Choice
from app.sources.kinds import kinds
from app.sources.outcomes import Call, Portion
from app.sources.reading import Found
from app.store.db import Connection, Database, is_away

_MOST_CALLS = 500
_MOST_BYTES = 2_000_000
"""What one transaction takes of raw bodies, but for a single larger one."""
_PAUSE_S = 0.2
_LONG_PAUSE_S = 1.0
_MOST_VISITS = 3
"""Addresses that one call may make us fetch."""

_Choose: TypeAlias = Callable[[Connection], Awaitable[list[UUID]]]
_log = structlog.get_logger()


@dataclass
class Gain:
    """What reading calls came to: how many they were, and of their events how many are new, how many unreadable."""

    calls: int = 0
    accepted: int = 0
    rejected: int = 0

    def add(self, other: "Gain") -> None:
        self.calls += other.calls
        self.accepted += other.accepted
        self.rejected += other.rejected


class Reader:
    """Reads calls out of one database's inbox. `fetch` visits what a provider asks to be visited."""

    def __init__(self, database: Database, plans: Plans, policy: SoftPolicy, fetch: Fetch) -> None:
        self._database = database
        self._plans = plans
        self._policy = policy
        self._fetch = fetch
        self._one_by_one = 0
        """So many calls are to be read one at a time, because one of them kept others from being read."""

    async def drain(self, stop: asyncio.Event) -> None:
        """Read whatever comes until `stop` is set, whatever happens meanwhile."""
        while not stop.is_set():
            pause = _PAUSE_S
            try:
                if await self.step():
                    continue
            except Unavailable as fault:
                if not _is_lost(fault) and await self._give_way():
                    continue
                pause = _LONG_PAUSE_S
            except Exception:  # a bug must not stop what it does not touch
                _log.exception("reading the inbox failed")
                pause = _LONG_PAUSE_S
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)

    async def step(self) -> int:
        """Read some unread calls, the oldest first; returns how many, 0 if there is nothing left to read.

        Raises Unavailable if the database is away, or others were always in the way.
        """
        done, _ = await self._read(lambda db: _oldest(db, 1 if self._one_by_one else _MOST_CALLS))
        self._one_by_one = max(self._one_by_one - len(done), 0)
        return len(done)

    async def replay(self, choice: Choice, after: UUID | None = None) -> AsyncIterator[tuple[UUID, Gain]]:
        """Read chosen calls again, in the order in which they came, those after one of them.

        Gives the last call read, and what came of those read since the last time. Raises as `step` does.
        """
        while True:
            async with self._database.hot.acquire() as db:
                ids = await inbox.chosen(db, choice, after)
            if not ids:
                return
            left, gain = list(ids), Gain()
            while left:
                done, more = await self._read(_these(left))
                gain.add(more)
                left = [one for one in left if one not in done] if done else []
            after = ids[-1]
            yield after, gain

    async def _read(self, choose: _Choose) -> tuple[set[UUID], Gain]:
        """Read the calls that `choose` locks, or the first of them; returns which, and what came of it."""
        alone: list[Call] = []

        async def work(db: Connection) -> tuple[set[UUID], Gain]:
            ids = await choose(db)
            calls = await _look(db, ids)
            gone = set(ids) - {call.id for call in calls}
            if gone:  # their source was deleted
                await db.execute("DELETE FROM delivery WHERE id = ANY($1)", list(gone))
            alone[:] = [call for call in calls if call.found.visits or len(call.found.events) > MAX_BATCH]
            together = _fitting(call for call in calls if call not in alone)
            gain, _ = await self._store(db, [Portion(call, list(call.found.events.values())) for call in together])
            return gone | {call.id for call in together}, gain

        done, gain = await committed(self._database, work)
        for call in alone:
            gain.add(await self._read_alone(call))
            done.add(call.id)
        return done, gain

    async def _read_alone(self, call: Call) -> Gain:
        """Visit what a call asks to be visited, then store its events, in as many transactions as they need.

        A crash on the way leaves it unread: it is visited and read again, which changes nothing.
        """
        # Where nothing was wrong the last time, the visit was made.
        faults = [] if call.was_read and not call.rejected else await self._visit(call.found.visits)
        call = call._replace(found=replace(call.found, faults=[*call.found.faults, *faults], visits=[]))
        events, refused, gain = list(call.found.events.values()), list[Fault](), Gain()
        for start in range(0, max(len(events), 1), MAX_BATCH):
            portion = Portion(call, events[start : start + MAX_BATCH], refused, start + MAX_BATCH >= len(events))
            try:
                more, lost = await committed(self._database, partial(self._store_alone, portion))
            except Unavailable as fault:
                if _is_lost(fault):
                    raise
                async with self._database.batch() as db:
                    await self._put_aside(db, [one for one in [await _again(db, call)] if one is not None])
                break
            gain.add(more)
            refused = [*refused, *lost]
        return gain

    async def _store_alone(self, portion: Portion, db: Connection) -> tuple[Gain, list[Fault]]:
        now = await _again(db, portion.call)
        return (Gain(), []) if now is None else await self._store(db, [portion._replace(call=now)])

    async def _visit(self, visits: Sequence[Visit]) -> list[Fault]:
        faults = []
        for visit in visits[:_MOST_VISITS]:
            try:
                await self._fetch(visit.url)
            except OSError as fault:
                faults.append(Fault("", f"what it asks to be visited cannot be: {fault}"[:200]))
        return faults

    async def _store(self, db: Connection, portions: Sequence[Portion]) -> tuple[Gain, list[Fault]]:
        """Store events of several calls, and note what came of these; returns it, and what the database refused."""
        if not portions:
            return Gain(), []
        events = {event.id: event for portion in reversed(portions) for event in portion.events}
        refused: dict[UUID, str] = {}
        stored = await self._accept(db, list(events.values()), refused)
        came = [outcomes.outcome(portion, stored, refused) for portion in portions]
        await outcomes.note(db, came, clock.now())
        gain = Gain()
        for one in came:
            gain.add(Gain(int(one.is_last), one.fresh, one.rejected if one.is_last else 0))
        return gain, [fault for one in came for fault in one.lost]

    async def _accept(self, db: Connection, events: list[NewEvent], refused: dict[UUID, str]) -> set[UUID]:
        """Store events; if one of them cannot be, halves of them until that one is alone. Returns the new ones."""
        if not events:
            return set()
        try:
            async with db.transaction():
                return await ingest.accept(db, self._plans, events, clock.now(), self._policy)
        except PASSING:
            raise
        except Exception as fault:  # whatever is wrong with an event harms no other
            if len(events) == 1:
                why = type(fault).__name__
                # The words of the database may quote somebody's data; what a bug of ours was is in its traceback.
                is_bug = not isinstance(fault, asyncpg.PostgresError)
                _log.error("an event cannot be stored", event_id=str(events[0].id), fault=why, exc_info=is_bug)
                refused[events[0].id] = f"it cannot be stored: {why}"
                return set()
        middle = len(events) // 2
        first = await self._accept(db, events[:middle], refused)
        return first | await self._accept(db, events[middle:], refused)

    async def _give_way(self) -> bool:
        """Take one call at a time for a while; one that alone never gets through is put aside.

        Returns whether the next step may follow at once.
        """
        if not self._one_by_one:
            self._one_by_one = _MOST_CALLS
            return True
        async with self._database.batch() as db:
            calls = await _look(db, await _oldest(db, 1))
            await self._put_aside(db, calls)
        return bool(calls)

    async def _put_aside(self, db: Connection, calls: Sequence[Call]) -> None:
        """Mark calls that never get through as read, with a fault, for a replay."""
        fault = Fault("", "it could not be stored, for something was always in its way; replay it")
        for call in calls:
            _log.error("a call is put aside", delivery=str(call.id))
            unread = replace(call.found, events={}, named=call.accepted, faults=[*call.found.faults, fault])
            came = outcomes.outcome(Portion(call._replace(found=unread), []), set(), {})
            await outcomes.note(db, [came], clock.now())


_OLDEST = """
    SELECT id, octet_length(body) FROM delivery WHERE read_at IS NULL ORDER BY id LIMIT $1
    FOR NO KEY UPDATE SKIP LOCKED
"""


async def _oldest(db: Connection, most: int) -> list[UUID]:
    """Unread calls that nobody else has, locked, no more than fit into memory."""
    # The planner believes that next to nothing is unread, which is so but when it matters: it would fetch and sort all.
    await db.execute("SET LOCAL enable_bitmapscan = off")
    rows = await db.fetch(_OLDEST, most)
    await db.execute("SET LOCAL enable_bitmapscan = on")
    return _first(rows)


def _these(ids: Sequence[UUID]) -> _Choose:
    async def choose(db: Connection) -> list[UUID]:
        rows = await db.fetch(
            "SELECT id, octet_length(body) FROM delivery WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE", list(ids)
        )
        return _first(rows)

    return choose


def _first(rows: Iterable[Any]) -> list[UUID]:  # Any: asyncpg's records
    chosen, total = list[UUID](), 0
    for id_, size in rows:
        total += size
        if chosen and total > _MOST_BYTES:
            break
        chosen.append(id_)
    return chosen


def _fitting(calls: Iterable[Call]) -> list[Call]:
    """The first calls, whose events are together no more than one transaction takes."""
    chosen, total = list[Call](), 0
    for call in calls:
        total += len(call.found.events)
        if total > MAX_BATCH:
            break
        chosen.append(call)
    return chosen


async def _look(db: Connection, ids: Sequence[UUID]) -> list[Call]:
    """What these calls say, in their order; without those whose source is gone."""
    if not ids:
        return []
    rows = await db.fetch(
        """
        SELECT d.*, s.name, s.kind FROM delivery d JOIN source s ON s.id = d.source_id
        WHERE d.id = ANY($1) ORDER BY d.id
        """,
        ids,
    )
    return await asyncio.to_thread(lambda: [_call(row) for row in rows])


def _call(row: Any) -> Call:  # Any: asyncpg's record
    kind = kinds().get(row["kind"])
    request = Request(row["url"], row["headers"], row["body"], row["received_at"], row["method"])
    if kind is None:
        found = Found(faults=[Fault("", f"there is no kind of source {row['kind']!r} any more")])
    else:
        found = reading.found(kind.read, row["name"], request)
    was_read = row["read_at"] is not None
    counts = (row["accepted"], row["duplicates"], row["rejected"])
    return Call(row["id"], row["source_id"], row["received_at"], was_read, *counts, found)


async def _again(db: Connection, call: Call) -> Call | None:
    """The call with what came of it until now, locked; None if it is gone."""
    row = await db.fetchrow(
        """
        SELECT read_at IS NOT NULL AS was_read, accepted, duplicates, rejected FROM delivery
        WHERE id = $1 FOR NO KEY UPDATE
        """,
        call.id,
    )
    return None if row is None else call._replace(**row)


def _is_lost(fault: Unavailable) -> bool:
    return fault.__cause__ is not None and is_away(fault.__cause__)
