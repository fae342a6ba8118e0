"""Which connections this process works on: never one that another works on.

A lease is an advisory lock of a session of Postgres, which lasts as long as that session. So it is free again as soon
as its process ends, however that ends; and whoever loses the session has lost all leases and must stop at once.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

import asyncpg

from app.store.db import Connection, Database, plain_url
from app.sync import due
from app.sync.due import Due

_TIMEOUT_S = 10
_SETTINGS = {
    "application_name": "leadtally leases",
    "timezone": "UTC",
    "jit": "off",
    # A planner who has seen the outbox empty, as it mostly is, would else fetch all of it to see whether it is.
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    # A host that vanished without a word keeps its leases for about this long: 10 s, and three times 5 s.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}


class Leases:
    """What this process holds, by a session of its own. `held` makes one."""

    def __init__(self, session: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._session = session
        self._one_at_a_time = asyncio.Lock()
        self.lost = asyncio.Event()
        """Set when the session ended, and with it all leases."""
        session.add_termination_listener(self._note_end)

    async def look(self, now: datetime) -> list[Due]:
        """What all connections have to do. Shows at the same time that the session lives; raises what asyncpg raises,
        or TimeoutError, if not."""
        async with self._one_at_a_time:
            rows = await self._session.fetch(due.DUE, now, None, timeout=_TIMEOUT_S)
        return [due.read(row, now) for row in rows]

    async def take(self, connection: UUID) -> bool:
        """Whether it is ours from now on. Not to be asked for one that is ours: a session may have a lock twice."""
        async with self._one_at_a_time:
            taken: bool = await self._session.fetchval(
                "SELECT pg_try_advisory_lock($1)", _lock(connection), timeout=_TIMEOUT_S
            )
        return taken

    async def give_back(self, connection: UUID) -> None:
        async with self._one_at_a_time:
            await self._session.execute("SELECT pg_advisory_unlock($1)", _lock(connection), timeout=_TIMEOUT_S)

    def _note_end(self, _: Connection) -> None:
        self.lost.set()


@asynccontextmanager
async def held(database: Database) -> AsyncIterator[Leases]:
    """A session for leases; all are given back when the block ends, in whatever way."""
    session = await asyncpg.connect(plain_url(database.url), server_settings=_SETTINGS, timeout=_TIMEOUT_S)
    try:
        yield Leases(session)
    finally:
        session.terminate()  # at once: whoever was cancelled has no time for farewells


def _lock(connection: UUID) -> int:
    """A number of 64 bits that no other use of advisory locks has but by chance."""
    digest = hashlib.blake2b(connection.bytes, digest_size=8, person=b"leadtally lease").digest()
    return int.from_bytes(digest, signed=True)
