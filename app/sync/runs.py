"""What was done for a connection, kept for people to see: a row for each pull, push and reconcile that did something.

What follows within a minute goes on with the run before it: where scores change all day long, a row for each of their
drains would be a row a second.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

import uuid_utils.compat as uuids

from app import clock
from app.connectors.faults import Fault
from app.errors import Unavailable
from app.store.db import FAULTS, Connection, Database
from app.sync.shapes import Counts, Opened

KEPT = timedelta(days=30)
INTERRUPTED = "interrupted"
"""The error of a run whose process died."""

_TELL_S = 3.0
_TOGETHER = timedelta(minutes=1)
_FORGOTTEN_AT_ONCE = 1_000


class Kind(StrEnum):
    PULL = "pull"
    PUSH = "push"
    RECONCILE = "reconcile"


class Run(NamedTuple):
    """A run as it is kept."""

    id: UUID
    kind: str
    began_at: datetime
    ended_at: datetime | None
    """None: it goes on."""
    counts: dict[str, int]
    error: str | None


@dataclass
class Running:
    """A run at work. Whoever works adds to `counts`."""

    kind: Kind
    began_at: datetime
    counts: Counts = field(default_factory=Counts)
    is_through: bool = True
    """Set to False by whoever will go on with it later."""
    error: str | None = None
    id: UUID = field(default_factory=uuids.uuid7)
    is_stored: bool = False

    def goes_on(self, now: datetime) -> bool:
        return self.error is None and (not self.is_through or now - self.began_at < _TOGETHER)


class Runs:
    """The runs of one connection, by the one process that works on it."""

    def __init__(self, opened: Opened, tell_s: float = _TELL_S) -> None:
        self._opened = opened
        self._tell_s = tell_s
        self._last: dict[Kind, Running] = {}

    async def begin(self) -> None:
        """End what a process that died has left open."""
        async with self._opened.database.batch() as db:
            await db.execute(
                "UPDATE sync_run SET ended_at = $2, error = $3 WHERE connection_id = $1 AND ended_at IS NULL",
                self._opened.id,
                clock.now(),
                INTERRUPTED,
            )

    async def end(self) -> None:
        """End what was to be gone on with: whoever comes next begins a run of their own."""
        for one in self._last.values():
            if not one.is_through:
                one.is_through = True
                await self._keep(one, clock.now())

    @asynccontextmanager
    async def run(self, kind: Kind) -> AsyncIterator[Running]:
        """Count what the block does, and keep it: while it works, too. Its fault is kept in words, and raised."""
        last, now = self._last.get(kind), clock.now()
        one = last if last is not None and last.goes_on(now) else Running(kind, now)
        one.is_through = True
        budget, spent = self._opened.budget, one.counts.spent - self._opened.budget.spent

        def count() -> None:
            one.counts.spent = spent + budget.spent

        is_over = asyncio.Event()
        telling = asyncio.create_task(self._tell(one, count, is_over))
        try:
            try:
                yield one
            finally:
                # Told, too: a connection that breaks at that moment may raise in place of being cancelled.
                is_over.set()
                telling.cancel()
                await asyncio.wait([telling])
        except Exception as fault:
            one.error, one.is_through = in_words(fault), True
            count()
            # A fault that lasts is told once.
            is_known = last is not None and one.error == last.error
            await self._note(one, is_worth=not is_known)
            raise
        count()
        await self._note(one, is_worth=False)

    async def _note(self, one: Running, *, is_worth: bool) -> None:
        self._last[one.kind] = one
        if is_worth or one.is_stored or not one.counts.is_nothing:
            await self._keep(one, clock.now() if one.is_through else None)

    async def _tell(self, one: Running, count: Callable[[], None], is_over: asyncio.Event) -> None:
        while not is_over.is_set():
            await asyncio.sleep(self._tell_s)
            count()
            with contextlib.suppress(*FAULTS):
                await self._keep(one, None)

    async def _keep(self, one: Running, ended_at: datetime | None) -> None:
        """Store it as it is; or no longer, where it ended and came to nothing."""
        is_kept = ended_at is None or not one.counts.is_nothing or one.error is not None
        async with self._opened.database.batch() as db:
            if is_kept:
                await db.execute(
                    """
                    INSERT INTO sync_run (connection_id, id, kind, began_at, ended_at, counts, error)
                    VALUES ($1, $2, $3, $4, $5, $6, $7)
                    ON CONFLICT (connection_id, id) DO UPDATE SET ended_at = excluded.ended_at,
                        counts = excluded.counts, error = excluded.error
                    """,
                    self._opened.id,
                    one.id,
                    one.kind.value,
                    one.began_at,
                    ended_at,
                    one.counts.to_json(),
                    one.error,
                )
            else:
                await db.execute("DELETE FROM sync_run WHERE connection_id = $1 AND id = $2", self._opened.id, one.id)
        one.is_stored = is_kept


def in_words(fault: Exception) -> str:
    """What may be shown of a fault: those of connectors hold nobody's data, any other might."""
    if isinstance(fault, Fault):
        return str(fault)[:500]
    if isinstance(fault, (Unavailable, *FAULTS)):
        return "the database is away or too busy"
    return f"{type(fault).__name__}; the log says more"


async def page(db: Connection, connection: UUID, *, limit: int, before: UUID | None) -> list[Run]:
    """The newest first."""
    rows = await db.fetch(
        """
        SELECT id, kind, began_at, ended_at, counts, error FROM sync_run
        WHERE connection_id = $1 AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3
        """,
        connection,
        before,
        limit,
    )
    return [Run(*row) for row in rows]


async def forget(database: Database, before: datetime) -> None:
    """Remove runs that began before an instant, but for a few that the next call removes."""
    async with database.batch() as db:
        await db.execute(
            """
            DELETE FROM sync_run r USING (
                SELECT oldest.* FROM connection c CROSS JOIN LATERAL (
                    SELECT connection_id, id, began_at FROM sync_run WHERE connection_id = c.id ORDER BY id LIMIT $2
                ) oldest WHERE oldest.began_at < $1
            ) old WHERE r.connection_id = old.connection_id AND r.id = old.id
            """,
            before,
            _FORGOTTEN_AT_ONCE,
        )
