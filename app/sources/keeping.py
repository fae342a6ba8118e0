"""Raw calls stored as they come, by many at once: what comes while a transaction runs shares the next one."""

import asyncio
import re
from collections import deque
from typing import NamedTuple
from uuid import UUID
from weakref import WeakKeyDictionary

import orjson
import uuid_utils.compat as uuids

from app.engine.transactions import committed
from app.errors import TooBusy, Unavailable
from app.sources.registry import Source
from app.sources.shapes import Request
from app.store.db import Connection, Database

RETRY_AFTER_S = 10
"""What whoever meets a full inbox is told to wait."""
_MEAN_BYTES = 10_000
"""The inbox is full at its limit of calls, or at as many bytes as that many calls of this size."""
_LOOK_AGAIN_S = 1.0
_LOOK_AT_LEAST_S = 0.1
"""Nobody is turned away by a count that is older."""
_MOST_CALLS = 500
_MOST_BYTES = 8_000_000
"""What one transaction stores, but for a single larger one."""

_KEPT = re.compile(r"ce-.*|x-amz-sns-.*|(svix|webhook)-id|content-type|user-agent|x-messagesystems-batch-id")
"""Headers that say something of what is in the body. What proves who calls was looked at before, and is not kept."""

_INSERT = """
    INSERT INTO delivery (id, source_id, received_at, method, url, headers, body)
    SELECT id, source_id, received_at, method, url, headers::jsonb, body
    FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::bytea[])
      AS new(id, source_id, received_at, method, url, headers, body)
    ON CONFLICT DO NOTHING
"""


class _Waiting(NamedTuple):
    delivery: UUID
    source: UUID
    request: Request
    done: "asyncio.Future[None]"


class _Keeper:
    """One process' way into the inbox of one database."""

    def __init__(self) -> None:
        self.calls = self.bytes = 0
        """What is unread, about: counted now and then, and what was kept here since is added."""
        self.looked_at = float("-inf")
        self.waiting: deque[_Waiting] = deque()
        self.storing: asyncio.Task[None] | None = None

    async def room_for(self, database: Database, size: int, limit: int) -> None:
        """Raises TooBusy."""
        age = asyncio.get_running_loop().time() - self.looked_at
        if age > _LOOK_AGAIN_S or (age > _LOOK_AT_LEAST_S and not self._holds(size, limit)):
            self.looked_at = asyncio.get_running_loop().time()  # before, so that of many callers one looks
            self.calls, self.bytes = await committed(database, lambda db: _unread(db, limit))
        if not self._holds(size, limit):
            raise TooBusy("more calls wait to be read than may; come again later")
        self.calls += 1
        self.bytes += size

    def _holds(self, size: int, limit: int) -> bool:
        return self.calls < limit and self.bytes + size <= limit * _MEAN_BYTES

    async def store(self, database: Database) -> None:
        """Store all that waits, and what comes meanwhile."""
        while self.waiting:
            group, size = [self.waiting.popleft()], 0
            while self.waiting and len(group) < _MOST_CALLS and size < _MOST_BYTES:
                group.append(self.waiting.popleft())
                size += len(group[-1].request.body)
            await _store(database, group)


_keepers: WeakKeyDictionary[Database, _Keeper] = WeakKeyDictionary()


async def keep(database: Database, source: Source, request: Request, *, limit: int) -> UUID:
    """Store a call as it came; returns its delivery's id once that is safe. `request.body` is un-gzipped.

    Raises TooBusy if `limit` calls are unread; Unavailable if the database stays away, after about five seconds.
    """
    keeper = _keepers.setdefault(database, _Keeper())
    await keeper.room_for(database, len(request.body), limit)
    one = _Waiting(uuids.uuid7(), source.id, request, asyncio.get_running_loop().create_future())
    keeper.waiting.append(one)
    if keeper.storing is None or keeper.storing.done():
        # A task of its own: whoever began it may go away, the others wait for it too.
        keeper.storing = asyncio.create_task(keeper.store(database))
    await one.done
    return one.delivery


async def _store(database: Database, group: list[_Waiting]) -> None:
    """One transaction; if something in it cannot be stored, one for each, so that it harms no other."""
    try:
        await committed(database, lambda db: _insert(db, group))
    except Exception as fault:  # whoever waits is told, and what comes next is stored
        if len(group) > 1 and not isinstance(fault, Unavailable):
            for one in group:
                await _store(database, [one])
            return
        for one in group:
            if not one.done.done():
                one.done.set_exception(fault)
        return
    for one in group:
        if not one.done.done():
            one.done.set_result(None)


async def _insert(db: Connection, group: list[_Waiting]) -> None:
    requests = [one.request for one in group]
    await db.execute(
        _INSERT,
        [one.delivery for one in group],
        [one.source for one in group],
        [request.received_at for request in requests],
        [_text(request.method) for request in requests],
        [_text(request.url) for request in requests],
        [_headers(request) for request in requests],
        [request.body for request in requests],
    )


async def _unread(db: Connection, limit: int) -> tuple[int, int]:
    row = await db.fetchrow(
        """
        SELECT count(*), coalesce(sum(octet_length(body)), 0) FROM (
            SELECT body FROM delivery WHERE read_at IS NULL LIMIT $1
        ) unread
        """,
        limit,
    )
    assert row is not None
    return row[0], int(row[1])


def _headers(request: Request) -> str:
    kept = {name: _text(value) for name, value in request.headers.items() if _KEPT.fullmatch(name)}
    return orjson.dumps(kept).decode()


def _text(said: str) -> str:
    """Fit for Postgres."""
    return said.replace("\0", "").encode(errors="replace").decode()
