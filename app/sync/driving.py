"""Drives the sync: looks every second which connections have something to do, and works on each in a task of its own,
so that one that is slow or down never harms another.

Any number of processes do so at once. Each works only on connections whose lease it holds, and stops at once when it
loses them.
"""

import asyncio
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from typing import NamedTuple
from uuid import UUID

import structlog

from app import clock
from app.connectors.http import Http
from app.engine.hygiene import SoftPolicy
from app.engine.plan import Plans
from app.store.db import FAULTS, Database
from app.store.vault import Vault
from app.sync import leases
from app.sync.connections import Providers
from app.sync.due import Due
from app.sync.leases import Leases
from app.sync.opening import opened
from app.sync.shapes import Opened
from app.sync.turns import Pace, Work, first

_PACE = Pace()
_log = structlog.get_logger()


class _Lost(Exception):
    """The session of the leases has ended."""


class _AtWork(NamedTuple):
    work: Work
    task: "asyncio.Task[None]"


class Driver:
    """The sync of one process. `providers`: all there are."""

    def __init__(
        self,
        database: Database,
        plans: Plans,
        policy: SoftPolicy,
        vault: Vault,
        http: Http,
        *,
        providers: Providers | None = None,
        pace: Pace = _PACE,
    ) -> None:
        self._database = database
        self._plans = plans
        self._policy = policy
        self._vault = vault
        self._http = http
        self._providers = providers
        self._pace = pace

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set. When the database goes away, all work ends, and begins again when it is back."""
        while not stop.is_set():
            try:
                async with leases.held(self._database) as held:
                    await self._drive(held, stop)
            except (*FAULTS, TimeoutError, ExceptionGroup) as fault:
                _log.warning("the sync lost the database and begins again", fault=_kinds(fault))
                await first(stop, timeout=self._pace.look)

    async def _drive(self, held: Leases, stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as tasks:
            working: dict[UUID, _AtWork] = {}
            try:
                while not stop.is_set():
                    await self._look(held, working, tasks)
                    await first(stop, held.lost, timeout=self._pace.look)
                    if held.lost.is_set():
                        raise _Lost
            finally:
                # Before all are cancelled, too: a connection that breaks at that moment may raise in place of it.
                for one in working.values():
                    one.work.stop.set()
            if working:
                _, late = await asyncio.wait([one.task for one in working.values()], timeout=self._pace.grace)
                for task in late:
                    task.cancel()

    async def _look(self, held: Leases, working: dict[UUID, _AtWork], tasks: asyncio.TaskGroup) -> None:
        """Tell whoever is at work what has come; begin with what nobody works on."""
        found = {due.id: due for due in await held.look(clock.now())}
        for id_, one in working.items():
            one.work.note(found.get(id_))
        for id_, due in found.items():
            if id_ not in working and due.is_anything and await held.take(id_):
                work = Work(self._database, partial(self._opened, id_), due, self._pace)
                working[id_] = _AtWork(work, tasks.create_task(self._work(held, working, due, work)))

    async def _work(self, held: Leases, working: dict[UUID, _AtWork], due: Due, work: Work) -> None:
        try:
            await work.run()
        except Exception:  # a bug must not stop what it does not touch
            _log.exception("the sync of a connection ended", connection=str(due.id))
        finally:
            with suppress(*FAULTS, TimeoutError):
                await held.give_back(due.id)
            del working[due.id]

    def _opened(self, id_: UUID) -> AbstractAsyncContextManager[Opened]:
        return opened(self._database, self._vault, self._http, self._plans, self._policy, id_, self._providers)


def _kinds(fault: BaseException) -> str:
    """Types alone: the words of the database may quote somebody's data."""
    if isinstance(fault, BaseExceptionGroup):
        return ", ".join(sorted({_kinds(one) for one in fault.exceptions}))
    return type(fault).__name__
