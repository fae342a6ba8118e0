"""Connections that stand ready for single statements, none of which leaves anything behind.

asyncpg's own pool wraps each use in a proxy, a task and a reset: half of what a read by key costs here.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

import asyncpg

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class Standing:
    """At most so many connections, each opened when the others are busy. Opening raises what `connect` raises."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]], most: int) -> None:
        self._connect = connect
        self._left = most
        self._idle: list[Connection] = []
        self._waiting: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        """A connection for one statement at a time, outside of a transaction."""
        connection = await self._next()
        try:
            yield connection
        except asyncpg.PostgresError:
            self._release(connection)  # it has said what is wrong, and is ready for the next
            raise
        except BaseException:
            # Given up halfway: nobody knows what it would answer next.
            connection.terminate()
            self._release(connection)
            raise
        self._release(connection)

    async def close(self) -> None:
        while self._idle:
            await self._idle.pop().close()

    async def _next(self) -> Connection:
        while True:
            while self._idle:
                connection = self._idle.pop()
                if not connection.is_closed():
                    return connection
                self._left += 1
            if self._left:
                return await self._opened()
            await self._turn()

    async def _turn(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._wake()  # it was this one's turn already: the next one's, then
            raise

    async def _opened(self) -> Connection:
        self._left -= 1
        try:
            return await self._connect()
        except BaseException:
            self._left += 1
            self._wake()
            raise

    def _release(self, connection: Connection) -> None:
        if connection.is_closed():
            self._left += 1
        else:
            self._idle.append(connection)
        self._wake()

    def _wake(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
