"""Where each feed of a connection goes on. Kept in the transaction that keeps what the feed brought."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from app.store.db import Connection

ACTIVITIES = "activities"


class Kept(NamedTuple):
    cursor: str
    began_at: datetime
    """Of this walk through the feed."""


def changes(object_: str) -> str:
    return f"changes:{object_}"


def everybody(object_: str) -> str:
    return f"everybody:{object_}"


async def find(db: Connection, connection: UUID, feed: str) -> Kept | None:
    row = await db.fetchrow(
        "SELECT cursor, began_at FROM sync_cursor WHERE connection_id = $1 AND feed = $2", connection, feed
    )
    return None if row is None else Kept(*row)


async def keep(db: Connection, connection: UUID, feed: str, kept: Kept, now: datetime) -> None:
    await db.execute(
        """
        INSERT INTO sync_cursor (connection_id, feed, cursor, began_at, at) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (connection_id, feed) DO UPDATE SET cursor = excluded.cursor, began_at = excluded.began_at,
            at = excluded.at
        """,
        connection,
        feed,
        kept.cursor,
        kept.began_at,
        now,
    )


async def drop(db: Connection, connection: UUID, feed: str) -> None:
    """Let the feed begin again."""
    await db.execute("DELETE FROM sync_cursor WHERE connection_id = $1 AND feed = $2", connection, feed)
