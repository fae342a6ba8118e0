"""The work on one connection, turn by turn: what the CRM hinted at, what it is to be told, a look for changes, a
comparison of everybody. Each step may be cut off anywhere and is begun again; none keeps the others waiting for long.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

import structlog

from app import clock
from app.connectors.faults import BudgetSpent, Busy, Refused, SignInRefused, Unreachable
from app.errors import NotFound, Unavailable
from app.store.db import FAULTS, Connection, Database, is_away
from app.sync import connections, everybody, hints, pull, push
from app.sync import due as dues
from app.sync.due import Due
from app.sync.runs import Kind, Running, Runs
from app.sync.shapes import Opened

Opening: TypeAlias = Callable[[], AbstractAsyncContextManager[Opened]]
Step: TypeAlias = Callable[[Opened, Running, Due], Awaitable[bool]]
"""Returns whether there is more of it to do at once."""

_WATCH_S = 0.5
_LONG_AWAY = timedelta(hours=1)
_REFRESH_S = 60.0
_OPENED_S = 3_600.0
_MEND = "compare the mapping with the CRM's fields and with what our user may do there; then resume the connection"
_TRYING = "it is tried again by itself; see whether the CRM is down, or what lies between it and here"
_log = structlog.get_logger()


@dataclass(frozen=True)
class Pace:
    """How long is waited for what, in seconds."""

    look: float = 1.0
    """From one look at what is due to the next."""
    slice: float = 5.0
    """After so long a comparison of everybody gives way to whatever waits, and a look for changes to flags."""
    share: float = 30.0
    """After so long a look for changes and what is to be told give way to each other."""
    first_wait: float = 2.0
    longest_wait: float = 300.0
    """Waits between attempts that fail grow from the first to this."""
    grace: float = 5.0
    """So long may what is at work go on to a good point when all is to end. Cut off after that, it is done again."""


@dataclass
class Patience:
    """Waits between attempts that fail: each time twice as long, and shorter by up to half at random."""

    pace: Pace = Pace()
    failures: int = 0
    until: float = 0.0
    """By the event loop's time."""

    @property
    def left_s(self) -> float:
        return max(self.until - asyncio.get_running_loop().time(), 0)

    def fail(self) -> None:
        longest = min(self.pace.first_wait * 2**self.failures, self.pace.longest_wait)
        self.failures = min(self.failures + 1, 20)
        self.until = asyncio.get_running_loop().time() + longest * random.uniform(0.5, 1)  # noqa: S311 - no secret

    def succeed(self) -> None:
        self.failures, self.until = 0, 0.0


class Work:
    """One connection at work, in the one process that holds its lease."""

    def __init__(self, database: Database, opening: Opening, due: Due, pace: Pace) -> None:
        self.stop = asyncio.Event()
        self._database = database
        self._opening = opening
        self._due = due
        self._pace = pace
        self._news = asyncio.Event()
        self._patience = {kind: Patience(pace) for kind in Kind}
        self._unreachable_since: datetime | None = None

    def note(self, due: Due | None) -> None:
        """What it has to do just now. One that is gone, paused or changed is left, and begun again if need be."""
        if due is None or not due.is_open or due.updated_at != self._due.updated_at:
            self.stop.set()
        else:
            self._due = due
            if due.is_anything:
                self._news.set()

    async def run(self) -> None:
        """Work until told to stop, or for an hour and until there is nothing to do. Bears every fault."""
        patience = Patience(self._pace)
        while not self.stop.is_set():
            try:
                async with self._opening() as opened:
                    await self._turns(opened)
                    return
            except Exception as fault:  # whatever it is, it must not touch other connections
                await self._bear(fault, patience, None)
                await first(self.stop, timeout=patience.left_s)

    async def _turns(self, opened: Opened) -> None:
        loop = asyncio.get_running_loop()
        begun = refreshed = loop.time()
        runs = Runs(opened)
        await runs.begin()
        try:
            while not self.stop.is_set():
                self._news.clear()
                if await self._turn(opened, runs):
                    continue
                await opened.budget.save(self._database)
                if loop.time() - refreshed > _REFRESH_S:
                    # Others spend, too: whoever compares both sides by hand.
                    async with self._database.batch() as db:
                        await opened.budget.load(db)
                    refreshed = loop.time()
                await first(self.stop, self._news, timeout=_REFRESH_S)
                if loop.time() - begun > _OPENED_S and not self._news.is_set():
                    return
        finally:
            await runs.end()

    async def _turn(self, opened: Opened, runs: Runs) -> bool:
        """Do what is due; returns whether there is more to do at once."""
        is_more = False
        steps: tuple[tuple[Kind, Callable[[Due], bool], Step], ...] = (
            (Kind.PULL, lambda due: due.hints, self._follow),
            (Kind.PUSH, lambda due: due.backlog, self._drain),
            (Kind.PULL, lambda due: due.pull, self._pull),
            (Kind.PUSH, lambda due: due.backlog, self._drain),
            (Kind.RECONCILE, lambda due: due.reconcile, self._reconcile),
        )
        for kind, is_due, step in steps:
            async with self._database.batch() as db:
                due = await dues.of(db, opened.id, clock.now())
            self.note(due)
            if due is None or self.stop.is_set():
                return False
            if is_due(due) and not self._patience[kind].left_s:
                is_more |= await self._do(opened, runs, kind, step, due)
        return is_more

    async def _do(self, opened: Opened, runs: Runs, kind: Kind, step: Step, due: Due) -> bool:
        patience, spent, written = self._patience[kind], opened.budget.spent, 0
        try:
            async with runs.run(kind) as run:
                written = run.counts.written
                is_more = await step(opened, run, due)
        except Exception as fault:  # as in `run`
            await self._bear(fault, patience, opened)
            if isinstance(fault, Busy) or (isinstance(fault, BudgetSpent) and run.counts.written > written):
                # What is silent until an instant waits for that; flags may go out of what is reserved for them.
                patience.succeed()
            return False
        patience.succeed()
        if self._unreachable_since is not None and opened.budget.spent > spent:
            self._unreachable_since = None
            async with self._database.batch() as db:
                await dues.be_reached(db, opened.id)
        return is_more

    # --- steps --------------------------------------------------------------------------------------------------------

    async def _follow(self, opened: Opened, run: Running, _: Due) -> bool:
        await hints.follow(opened, run.counts, self.stop)
        return False

    async def _drain(self, opened: Opened, run: Running, _: Due) -> bool:
        pace = self._pace
        async with self._share(lambda now, s: s > pace.share and (now.pull or now.hints)) as stop:
            return await push.drain(opened, run.counts, stop)

    async def _pull(self, opened: Opened, run: Running, due: Due) -> bool:
        pace = self._pace
        async with self._share(lambda now, s: s > (pace.slice if now.flags else pace.share) and now.backlog) as stop:
            await pull.pull(opened, run.counts, stop)
        if stop.is_set():
            run.is_through = False
            return True
        async with self._database.batch() as db:
            await dues.pulled(db, due, opened.options, clock.now())
        return False

    async def _reconcile(self, opened: Opened, run: Running, due: Due) -> bool:
        async with self._share(lambda now, s: s > self._pace.slice and now.waits) as stop:
            run.is_through = await everybody.reconcile(opened, run.counts, stop)
        if not run.is_through:
            return True
        async with self._database.batch() as db:
            await dues.reconciled(db, due, opened.options, clock.now())
        return False

    @asynccontextmanager
    async def _share(self, gives_way: Callable[[Due, float], bool]) -> AsyncIterator[asyncio.Event]:
        """An event for whoever works in the block to stop at: set with our own, or once it gives way to what is due,
        by that and by how many seconds it has had."""
        stop = asyncio.Event()
        watching = asyncio.create_task(self._watch(stop, gives_way))
        try:
            yield stop
        finally:
            watching.cancel()
            await asyncio.wait([watching])

    async def _watch(self, stop: asyncio.Event, gives_way: Callable[[Due, float], bool]) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while not self.stop.is_set() and not gives_way(self._due, loop.time() - begun):
            await first(self.stop, timeout=min(_WATCH_S, self._pace.slice))
        stop.set()

    # --- faults -------------------------------------------------------------------------------------------------------

    async def _bear(self, fault: Exception, patience: Patience, opened: Opened | None) -> None:
        """Do what a fault asks for: stop until somebody mends it, be silent, or wait and try again."""
        patience.fail()
        with suppress(*FAULTS):
            async with self._database.batch() as db:
                await self._note(db, fault, opened)

    async def _note(self, db: Connection, fault: Exception, opened: Opened | None) -> None:
        id_, now = self._due.id, clock.now()
        match fault:
            case NotFound():
                self.stop.set()
            case SignInRefused():
                await self._fail(db, fault.code, fault.what, fault.mend)
            case Refused():
                await self._fail(db, fault.code, fault.reason, _MEND)
            case Busy():
                await dues.be_silent(db, id_, fault.until, to_flags=True)
            case BudgetSpent():
                await dues.be_silent(db, id_, fault.until, to_flags=opened is None or not _has_reserve(opened))
            case Unreachable():
                self._unreachable_since = since = self._unreachable_since or now
                if now - since > _LONG_AWAY:
                    await connections.note_problem(db, id_, dues.UNREACHABLE, str(fault), _TRYING, since)
            case Unavailable():
                pass
            case _ if not is_away(fault):
                _log.exception("the sync of a connection failed", connection=str(id_), exc_info=fault)

    async def _fail(self, db: Connection, code: str, what: str, mend: str) -> None:
        self.stop.set()
        await connections.note_problem(db, self._due.id, code, what, mend, clock.now())


def _has_reserve(opened: Opened) -> bool:
    """Whether the budget has enough left for a flag, which may have what is reserved."""
    budget = opened.budget
    budget.is_urgent = True
    try:
        budget.allow(opened.connector.cost(1))
    except BudgetSpent:
        return False
    finally:
        budget.is_urgent = False
    return True


async def first(*events: asyncio.Event, timeout: float) -> None:  # noqa: ASYNC109 - to wait so long is what it does
    """Wait until one of these is set, or so many seconds have passed."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waits:
            one.cancel()
