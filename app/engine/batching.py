"""Group commit: requests that come while a transaction runs share the next one. A lone request never waits.

A few lanes each take whatever is pending and commit it as one batch. There is no timer: while a lane is free a request
starts at once, and under load the batches grow by themselves.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self
from uuid import UUID

import asyncpg
import structlog

from app import clock
from app.engine import ingest
from app.engine.hygiene import SoftPolicy
from app.engine.ingest import NewEvent
from app.engine.plan import Plans
from app.engine.transactions import committed
from app.errors import TooBusy, Unavailable
from app.store.db import Database

MAX_BATCH = 5_000
"""Events of one transaction. A request is never split, and never has more."""
MAX_PENDING = 50_000
"""Events that may wait; beyond, senders are told to come back."""

_log = structlog.get_logger()


@dataclass(frozen=True)
class Outcome:
    """What became of one request's events. `refused` are those that the database would not hold, and why."""

    accepted: int
    duplicates: int
    refused: dict[UUID, str]


class _Request:
    __slots__ = ("done", "events")

    def __init__(self, events: Sequence[NewEvent], done: "asyncio.Future[Outcome]") -> None:
        self.events = events
        self.done = done


class Batcher:
    """Takes events from many requests at once. Use as an async context manager."""

    def __init__(self, database: Database, plans: Plans, policy: SoftPolicy, lanes: int = 2) -> None:
        self._database = database
        self._plans = plans
        self._policy = policy
        self._waiting: deque[_Request] = deque()
        self._pending = 0
        self._arrived = asyncio.Event()
        self._lanes = lanes
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._lane(), name=f"ingest lane {n}") for n in range(self._lanes)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        _leave(self._waiting)

    async def submit(self, events: Sequence[NewEvent]) -> Outcome:
        """Returns once the events are stored and scored.

        Raises TooBusy if too many wait already, Unavailable if the database stays out of reach.
        """
        if not events:
            return Outcome(0, 0, {})
        if self._pending + len(events) > MAX_PENDING:
            raise TooBusy("more events wait than can be stored just now; send these again in a second")
        request = _Request(events, asyncio.get_running_loop().create_future())
        self._waiting.append(request)
        self._pending += len(events)
        self._arrived.set()
        return await request.done

    async def _lane(self) -> None:
        while True:
            await self._arrived.wait()
            group = self._take()
            if not group:
                self._arrived.clear()
                continue
            try:
                await self._commit(group)
            except Exception as fault:  # the lane must live; the senders are told
                _log.exception("ingest failed", events=sum(len(one.events) for one in group))
                for request in group:
                    if not request.done.done():
                        request.done.set_exception(fault)
            finally:
                _leave(group)

    def _take(self) -> list[_Request]:
        group: list[_Request] = []
        size = 0
        while self._waiting and (not group or size + len(self._waiting[0].events) <= MAX_BATCH):
            request = self._waiting.popleft()
            size += len(request.events)
            self._pending -= len(request.events)
            if not request.done.cancelled():
                group.append(request)
        return group

    async def _commit(self, group: list[_Request]) -> None:
        distinct: dict[UUID, NewEvent] = {}
        for request in group:
            for event in request.events:
                distinct.setdefault(event.id, event)
        refused: dict[UUID, str] = {}
        try:
            stored = await self._store(list(distinct.values()), refused)
        except Unavailable as unavailable:
            for request in group:
                if not request.done.done():
                    request.done.set_exception(unavailable)
            return
        for request in group:
            accepted = 0
            for event in request.events:
                if event.id in stored:
                    stored.discard(event.id)
                    accepted += 1
            mine = {event.id: refused[event.id] for event in request.events if event.id in refused}
            lost = sum(event.id in mine for event in request.events)
            if not request.done.done():
                request.done.set_result(Outcome(accepted, len(request.events) - accepted - lost, mine))

    async def _store(self, events: list[NewEvent], refused: dict[UUID, str]) -> set[UUID]:
        """One transaction; if some event is more than the database can hold, halves of it until that one is alone."""
        try:
            return await committed(
                self._database, lambda db: ingest.accept(db, self._plans, events, clock.now(), self._policy)
            )
        except asyncpg.DataError as fault:
            if len(events) == 1:
                refused[events[0].id] = f"the database cannot hold it: {type(fault).__name__}"
                return set()
        middle = len(events) // 2
        return await self._store(events[:middle], refused) | await self._store(events[middle:], refused)


def _leave(requests: Iterable[_Request]) -> None:
    """Tell whoever still waits, because this process ends, to come back."""
    for request in requests:
        if not request.done.done():
            request.done.set_exception(Unavailable("this process is stopping"))
