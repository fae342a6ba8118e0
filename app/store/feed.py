"""One connection of a process that follows what changes, for all who listen there.

A notification only wakes; what there is to read is read by position. While something comes in the reader reads ten
times a second and asks not to be woken, so that those who write need not queue to tell it. After a second of quiet it
says that it waits (a row in `waiting_reader`), and goes on until every transaction has ended that may have looked
there before. If the connection is lost, the next one goes on from the same positions.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple, Protocol
from uuid import UUID, uuid4

import asyncpg
import structlog

from app.errors import Unavailable
from app.store import changes
from app.store.changes import PAGE, Read, Stream
from app.store.db import FAULTS, Connection, Database, plain_url
from app.store.positions import Position

CHANNEL = "leadtally_live"
_EVERY_S = 0.1
_QUIET_S = 1.0
_RENEW_S = 10.0
_EXPIRES_S = 30.0
"""A reader that has not said so for this long does not wait any more."""
_ANSWER_S = 15.0
"""Until the database is taken for gone."""
_LINGER_S = 5.0
"""The connection stays open after the last one has left: they often come again."""
_RETRY_S = (0.1, 2.0)
_SETTINGS = {
    "application_name": "leadtally live",
    "enable_seqscan": "off",  # by index, whatever the tables' sizes were when the plan was made
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "plan_cache_mode": "force_generic_plan",
    "timezone": "UTC",
}
_log = structlog.get_logger()


class Consumer(Protocol):
    def wanted(self) -> set[Stream]:
        """What is to be read."""

    def is_wanted(self) -> bool:
        """Whether anybody listens at all."""

    async def take(self, stream: Stream, read: Read, position: Position) -> None:
        """Hand over what was read, and note it in `position`. What raises is read again."""

    async def look(self) -> None:
        """Called at each reading, for what is looked up and not followed."""

    def fail(self, fault: Exception) -> None:
        """Something is wrong that reading again will not mend."""


class _Round(NamedTuple):
    has_news: bool
    goes_on: bool


class Feed:
    def __init__(self, database: Database, consumer: Consumer) -> None:
        self._database = database
        self._consumer = consumer
        self._me: UUID = uuid4()
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_stopping = False
        self._positions: dict[Stream, Position] = {}
        self.lock = asyncio.Lock()
        """Held while positions move. Whoever holds it sees all who listen to a stream at its position."""

    def start(self) -> None:
        """Follow from now on, if that is not done already, and read at once."""
        self._woken.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """For good."""
        self._is_stopping = True
        self._woken.set()
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=_RETRY_S[1])
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def position(self, stream: Stream, db: Connection) -> Position:
        """As far as the stream was read; what is not followed yet begins now. With the lock held."""
        if stream not in self._positions:
            self._positions[stream] = await changes.end(db, stream)
        return self._positions[stream]

    async def _run(self) -> None:
        wait, longest = _RETRY_S
        while self._consumer.is_wanted() and not self._is_stopping:
            try:
                async with self._connection() as db:
                    wait = _RETRY_S[0]
                    await self._follow(db)
            except (*FAULTS, TimeoutError, Unavailable) as fault:
                _log.warning("the reader of changes lost the database, and tries again", fault=type(fault).__name__)
                await asyncio.sleep(wait)
                wait = min(wait * 2, longest)
            except Exception as fault:
                _log.exception("the reader of changes failed")
                self._positions.clear()
                self._consumer.fail(fault)
        self._positions.clear()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        db = await asyncpg.connect(
            plain_url(self._database.url), timeout=_ANSWER_S, command_timeout=_ANSWER_S, server_settings=_SETTINGS
        )
        try:
            db.add_termination_listener(lambda *_: self._woken.set())
            await db.add_listener(CHANNEL, lambda *_: self._woken.set())
            yield db
            await db.execute("DELETE FROM waiting_reader WHERE id = $1", self._me)
            await db.close(timeout=_RETRY_S[1])
        finally:
            db.terminate()

    async def _follow(self, db: "asyncpg.Connection[asyncpg.Record]") -> None:
        """Until nobody has listened for a while. Raises what the driver does when the connection is lost."""
        clock = asyncio.get_running_loop().time
        waiting_since: float | None = None
        before, is_safe = 0, False
        busy_until = left_at = clock()
        while not self._is_stopping and (self._consumer.is_wanted() or clock() < left_at + _LINGER_S):
            if self._consumer.is_wanted():
                left_at = clock()
            is_woken = self._woken.is_set()
            self._woken.clear()
            began = clock()
            seen = await self._round(db)
            if is_woken or seen.has_news:
                busy_until = clock() + _QUIET_S
                if waiting_since is not None:
                    await db.execute("DELETE FROM waiting_reader WHERE id = $1", self._me)
                    waiting_since = None
            if seen.goes_on:
                await asyncio.sleep((clock() - began) / 2)  # others want the processor, too
            elif clock() < busy_until:
                await asyncio.sleep(max(began + _EVERY_S - clock(), 0))
            elif waiting_since is None or clock() > waiting_since + _RENEW_S:
                await self._wait(db)
                # Whoever has looked before that, and not seen it, has a transaction id below this.
                waiting_since, before, is_safe = clock(), await changes.own_transaction(db), False
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_RENEW_S / 2 if is_safe else _EVERY_S):
                        await self._woken.wait()
                # What they have left is read once more before this sleeps long.
                is_safe = is_safe or await changes.oldest_transaction(db) >= before

    async def _wait(self, db: "asyncpg.Connection[asyncpg.Record]") -> None:
        """Say that this reader waits; those who are gone do not."""
        await db.execute(
            """
            WITH gone AS (DELETE FROM waiting_reader WHERE until < clock_timestamp() AND id <> $1)
            INSERT INTO waiting_reader VALUES ($1, clock_timestamp() + make_interval(secs => $2))
            ON CONFLICT (id) DO UPDATE SET until = excluded.until
            """,
            self._me,
            _EXPIRES_S,
        )

    async def _round(self, db: "asyncpg.Connection[asyncpg.Record]") -> _Round:
        """Read each stream once, and hand over what came."""
        has_news = goes_on = False
        for stream in Stream:
            async with self.lock:
                if stream not in self._consumer.wanted():
                    self._positions.pop(stream, None)
                    continue
                position = (await self.position(stream, db)).copy()
                read = await changes.read(db, stream, position)
                await self._consumer.take(stream, read, position)
                position.settle(read.oldest, read.through)
                self._positions[stream] = position
            has_news, goes_on = has_news or bool(read.rows), goes_on or len(read.rows) == PAGE
        await self._consumer.look()
        return _Round(has_news, goes_on)
