"""Which workers live."""

from datetime import datetime, timedelta
from uuid import UUID

from app.store.db import Database

BEAT_S = 3.0
_ALIVE = timedelta(seconds=12)


async def beat(database: Database, worker: UUID, now: datetime) -> None:
    """Say that `worker` lives, and forget those long silent."""
    async with database.batch() as db:
        await db.execute(
            "INSERT INTO worker (id, beat_at) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET beat_at = $2", worker, now
        )
        await db.execute("DELETE FROM worker WHERE beat_at < $1", now - 20 * _ALIVE)


async def any_alive(database: Database, now: datetime) -> bool:
    async with database.hot.acquire() as db:
        alive: bool = await db.fetchval("SELECT EXISTS (SELECT FROM worker WHERE beat_at > $1)", now - _ALIVE)
    return alive
