"""Who listens in this process: subscriptions, and what each is told.

A change is read once, answered once for all who ask the same, and put into the queue of each. No client is waited for:
whose queue is full is let go, with the cursor from which to resume. What was missed is read page by page, as fast as
the client takes it, until it meets what is followed.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from graphql import GraphQLError, GraphQLSchema

from app.engine.plan import Plans
from app.errors import AppError, InvalidInput, NotFound, TooBusy
from app.errors import Fault as Place
from app.graphql import watching
from app.graphql.telling import Question, Teller
from app.graphql.watching import Happened, Kind, Watch, happened
from app.store import changes, graph
from app.store import jobs as stored
from app.store.changes import PAGE, Read, Stream
from app.store.db import Database
from app.store.feed import Feed
from app.store.jobs import DONE, FAILED, JobRow
from app.store.positions import Position

TOO_SLOW, TOO_OLD = "too_slow", "cursor_too_old"
_MOST_MISSED = 1_000_000
"""Ids behind the newest from which may be resumed."""
_AT_ONCE = 16_000
"""Bytes that are put into queues before those who send have their turn, so that no queue is full for want of it."""
_REPLAYS = 2
"""Subscriptions that read what they missed at one time."""


@dataclass(frozen=True)
class Bounds:
    """What one process serves."""

    subscriptions: int = 1_000
    of_key: int = 250
    filters: int = 100
    """Different ones."""
    waiting: int = 1_000
    """Answers in one subscription's queue."""
    waiting_bytes: int = 1_000_000
    operations: int = 100
    """Of one socket at a time."""
    init_s: float = 10.0
    """Until a socket has said who it is."""
    key_s: float = 10.0
    """After which a key is looked up again."""
    alive_s: float = 10.0
    """Between two signs of life in a stream that has nothing to tell."""
    send_s: float = 30.0
    """Until a client that takes nothing is let go."""


class Told(NamedTuple):
    payload: bytes
    cursor: str | None


class Ended(Exception):
    """A subscription that was ended here. Without an error the process ends: the client should come again."""

    def __init__(self, error: GraphQLError | None) -> None:
        super().__init__(error)
        self.error = error


class Subscriber:
    """One subscription of one client. `told` is iterated once; whatever happens, `leave` is called in the end."""

    def __init__(self, live: "Live", question: Question, watch: Watch, key: object) -> None:
        self.question = question
        self.watch = watch
        self.key = key
        self.cursor: str | None = watch.after
        """Behind what was handed over last."""
        self.job: JobRow | None = None
        """As it was told last."""
        self._live = live
        self._queue: deque[Told] = deque()
        self._bytes = 0
        self._stirred = asyncio.Event()
        self._is_over = False
        self._is_slow = False
        self._fault: Ended | None = None

    async def told(self) -> AsyncGenerator[Told, None]:
        """The answers; ends when there will be none any more. Raises Ended."""
        if self.watch.after is not None:
            try:
                async for one in self._live.missed(self):
                    yield one
                    self.cursor = one.cursor
                    self._check()
            except AppError as fault:
                raise Ended(GraphQLError(str(fault), original_error=fault)) from None
        while True:
            while self._queue:
                one = self._queue.popleft()
                self._bytes -= len(one.payload)
                yield one
                self.cursor = one.cursor
            self._check()
            if self._is_over:
                return
            self._stirred.clear()
            await self._stirred.wait()

    def put(self, one: Told) -> None:
        bounds = self._live.bounds
        if self._fault is not None:
            return
        if len(self._queue) >= bounds.waiting or self._bytes + len(one.payload) > bounds.waiting_bytes:
            self._is_slow = True
            self.end(None)
            return
        self._queue.append(one)
        self._bytes += len(one.payload)
        self._stirred.set()

    def end(self, error: GraphQLError | None) -> None:
        """At once: what waits is dropped."""
        self._queue.clear()
        self._bytes = 0
        self._fault = self._fault or Ended(error)
        self._stirred.set()
        self.leave()

    def complete(self) -> None:
        """When what waits has been taken."""
        self._is_over = True
        self._stirred.set()
        self.leave()

    def leave(self) -> None:
        self._live.forget(self)

    def _check(self) -> None:
        """Raises Ended. The cursor is that of what was taken by now."""
        if self._is_slow:
            sentence = "changes come faster than you take them; subscribe again after this cursor, or to fewer"
            raise Ended(GraphQLError(sentence, extensions={"code": TOO_SLOW, "cursor": self.cursor}))
        if self._fault is not None:
            raise self._fault


class Live:
    """All subscriptions of this process. `database` may be opened later, before the first one."""

    def __init__(self, schema: GraphQLSchema, database: Database, plans: Plans, bounds: Bounds) -> None:
        self.bounds = bounds
        self._database = database
        self._teller = Teller(schema, database, plans)
        self._feed = Feed(database, self)
        self._all: set[Subscriber] = set()
        self._joined: set[Subscriber] = set()
        """Those who are told what is read; the others still read what they missed."""
        self._of_key: Counter[object] = Counter()
        self._replaying = asyncio.Semaphore(_REPLAYS)
        self._is_ending = False

    @property
    def following(self) -> int:
        """Subscriptions that are told what comes, having all that they missed."""
        return len(self._joined)

    async def subscribe(self, question: Question, watch: Watch, key: object) -> Subscriber:
        """From now on, or after the watch's cursor. Raises TooBusy, NotFound; InvalidInput for what is no cursor."""
        self._admit(watch, key)
        made = Subscriber(self, question, watch, key)
        self._all.add(made)
        self._of_key[key] += 1
        try:
            await (self._begin_job(made) if watch.stream is None else self._begin(made, watch.stream))
        except BaseException:
            made.leave()
            raise
        self._feed.start()
        return made

    def forget(self, subscriber: Subscriber) -> None:
        if subscriber in self._all:
            self._all.discard(subscriber)
            self._joined.discard(subscriber)
            self._of_key[subscriber.key] -= 1
            if not self._of_key[subscriber.key]:
                del self._of_key[subscriber.key]

    def hang_up(self) -> None:
        """End all, for the process ends."""
        self._is_ending = True
        for one in list(self._all):
            one.end(None)

    async def close(self) -> None:
        self.hang_up()
        await self._feed.stop()

    async def missed(self, subscriber: Subscriber) -> AsyncGenerator[Told, None]:
        """What was committed since the subscription's cursor, until it meets what is followed. Raises Unavailable."""
        stream, after = subscriber.watch.stream, subscriber.watch.after
        assert stream is not None
        assert after is not None
        position: Position | None = None
        has_met = False
        while not has_met and subscriber in self._all:
            async with self._replaying:
                async with self._feed.lock, graph.explaining(self._database) as db:
                    there = await self._feed.position(stream, db)
                    if position is None:
                        position = watching.position(after, stream)
                    read = await changes.read(db, stream, position)
                    # What is not followed yet will be told by the feed.
                    rows = [row for row in read.rows if there.has(row.id)]
                    has_met = len(read.rows) < PAGE or read.rows[-1].id > there.high
                    if has_met and subscriber in self._all:
                        self._joined.add(subscriber)
                found = await self._happened(stream, read, rows, position)
                position.settle(read.oldest, read.through)
                for told in await self._answers(subscriber, read, found):
                    yield told

    # --- What the feed asks -------------------------------------------------------------------------------------------

    def wanted(self) -> set[Stream]:
        return {one.watch.stream for one in self._all if one.watch.stream is not None}

    def is_wanted(self) -> bool:
        return bool(self._all)

    async def take(self, stream: Stream, read: Read, position: Position) -> None:
        found = await self._happened(stream, read, read.rows, position)
        groups = [one for one in self._groups() if one[0].watch.stream is stream]
        if not found or not groups:
            return
        meaning = await self._teller.meaning(read.epoch)
        chosen = await self._teller.chosen([group[0].watch for group in groups], found, meaning)
        asked = [
            (group, one)
            for group, some in zip(groups, chosen, strict=True)
            for one in (() if isinstance(some, AppError) else some)
        ]
        answers = await self._teller.tell([(group[0].question, group[0].watch.kind, one) for group, one in asked])
        for group, some in zip(groups, chosen, strict=True):
            if isinstance(some, AppError):
                for subscriber in group:
                    subscriber.end(GraphQLError(str(some), original_error=some))
        put = 0
        for (group, one), payload in zip(asked, answers, strict=True):
            for subscriber in group:
                subscriber.put(Told(payload, one.cursor))
            put += len(payload)
            if put > _AT_ONCE:
                put = 0
                await asyncio.sleep(0)

    async def look(self) -> None:
        """How far the jobs are that somebody watches."""
        groups = [one for one in self._groups() if one[0].watch.kind is Kind.JOB]
        if not groups:
            return
        ids = {group[0].watch.job for group in groups}
        async with graph.reading(self._database) as db:
            rows = await stored.by_id(db, [one for one in ids if one is not None])
        for group in groups:
            await self._progress(group, None if group[0].watch.job is None else rows.get(group[0].watch.job))

    def fail(self, fault: Exception) -> None:
        for one in list(self._all):
            one.end(GraphQLError("internal error", original_error=fault))

    # --- Beginning ----------------------------------------------------------------------------------------------------

    def _admit(self, watch: Watch, key: object) -> None:
        """Raises TooBusy."""
        if self._is_ending:
            raise TooBusy("this server ends; subscribe again")
        if len(self._all) >= self.bounds.subscriptions:
            raise TooBusy(f"this server has {self.bounds.subscriptions:,} subscriptions, as many as it serves")
        if self._of_key[key] >= self.bounds.of_key:
            raise TooBusy(f"your key has {self.bounds.of_key:,} subscriptions here, as many as a key may")
        filters = {one.watch.filter_key for one in self._all} | {b""}
        if watch.filter_key not in filters and len(filters) > self.bounds.filters:
            raise TooBusy(f"this server's subscriptions have {self.bounds.filters:,} filters, as many as it serves")

    async def _begin(self, subscriber: Subscriber, stream: Stream) -> None:
        async with self._feed.lock, graph.explaining(self._database) as db:
            there = await self._feed.position(stream, db)
            if subscriber.watch.after is None:
                subscriber.cursor = watching.cursor(stream, there)
                self._joined.add(subscriber)
                return
        async with graph.explaining(self._database) as db:
            newest = (await changes.end(db, stream)).high
        position = watching.position(subscriber.watch.after, stream)
        if position.high > newest:
            raise InvalidInput(Place("/after", "this cursor is of another database, or of one that was set back"))
        if newest - position.floor > _MOST_MISSED:
            sentence = f"over {_MOST_MISSED:,} changes came since this cursor; read anew, then subscribe without it"
            raise GraphQLError(sentence, extensions={"code": TOO_OLD})

    async def _begin_job(self, subscriber: Subscriber) -> None:
        assert subscriber.watch.job is not None
        async with graph.reading(self._database) as db:
            row = (await stored.by_id(db, [subscriber.watch.job])).get(subscriber.watch.job)
        if row is None:
            raise NotFound("there is no such job")
        await self._progress([subscriber], row)
        self._joined |= {subscriber} & self._all

    # --- Telling ------------------------------------------------------------------------------------------------------

    def _groups(self) -> list[list[Subscriber]]:
        """Those who ask the same, together."""
        groups: dict[bytes, list[Subscriber]] = {}
        for one in self._joined:
            groups.setdefault(one.question.key, []).append(one)
        return list(groups.values())

    async def _happened(
        self, stream: Stream, read: Read, rows: Sequence[changes.ScoreRow | changes.FlagsRow], position: Position
    ) -> list[Happened]:
        """What the rows say; `position` is moved behind them."""
        found: list[Happened] = []
        if rows:
            catalog = (await self._teller.meaning(read.epoch)).catalog
            before = watching.cursor(stream, position)
            for row in rows:
                position.take(row.id)
                cursor = watching.cursor(stream, position)
                found += happened(row, catalog, cursor, before)
                before = cursor
        return found

    async def _answers(self, subscriber: Subscriber, read: Read, found: list[Happened]) -> list[Told]:
        """Raises Ended if the subscription's filter means nothing any more."""
        meaning = await self._teller.meaning(read.epoch)
        [some] = await self._teller.chosen([subscriber.watch], found, meaning)
        if isinstance(some, AppError):
            raise Ended(GraphQLError(str(some), original_error=some))
        kind, question = subscriber.watch.kind, subscriber.question
        payloads = await self._teller.tell([(question, kind, one) for one in some])
        return [Told(payload, one.cursor) for payload, one in zip(payloads, some, strict=True)]

    async def _progress(self, group: list[Subscriber], row: JobRow | None) -> None:
        behind = [one for one in group if one.job != row]
        if row is not None and behind:
            [payload] = await self._teller.tell([(group[0].question, Kind.JOB, row)])
            for one in behind:
                one.job = row
                one.put(Told(payload, None))
        if row is None or row.status in (DONE, FAILED):
            for one in group:
                one.complete()
