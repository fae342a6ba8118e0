"""What a connection has to do just now, and when it looks again: read every second, so by key and in one statement."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from app.store.db import Connection
from app.sync import outbox
from app.sync.options import Options

UNREACHABLE = "unreachable"
"""The one problem in spite of which a connection goes on: it is tried again and again."""

DUE = f"""
    SELECT c.id, c.updated_at, c.pull_at, c.reconcile_at,
           c.paused_at IS NULL AND coalesce(c.problem ->> 'code', '{UNREACHABLE}') = '{UNREACHABLE}' AS is_open,
           NOT c.silent_to_flags OR coalesce(c.silent_until <= $1, true) AS may_flags,
           coalesce(c.silent_until <= $1, true) AS may_all,
           EXISTS (SELECT FROM outbox WHERE connection_id = c.id AND priority = 0 AND not_before IS NULL)
               OR EXISTS (SELECT FROM outbox WHERE connection_id = c.id AND priority = 0 AND not_before <= $1)
               AS has_flags,
           EXISTS (SELECT FROM outbox WHERE connection_id = c.id AND not_before IS NULL)
               OR EXISTS (SELECT FROM outbox WHERE connection_id = c.id AND priority = 1 AND not_before <= $1)
               OR EXISTS (SELECT FROM outbox WHERE connection_id = c.id AND priority = 2 AND not_before <= $1)
               AS has_others,
           EXISTS (SELECT FROM crm_hint h WHERE h.connection_id = c.id) AS has_hints
    FROM connection c WHERE $2::uuid IS NULL OR c.id = $2
"""
"""Of all connections, or of one. $1: the present."""


class Due(NamedTuple):
    """What one connection has to do. All of it False where the CRM wants silence, or the budget is spent."""

    id: UUID
    updated_at: datetime
    """What is at work by an older state of the connection begins again."""
    is_open: bool
    """Neither paused nor failing."""
    flags: bool
    """Somebody whose flag is to be told."""
    backlog: bool
    """Anybody who is to be told anything, flags among them."""
    hints: bool
    pull: bool
    reconcile: bool
    pull_at: datetime | None
    reconcile_at: datetime | None

    @property
    def is_anything(self) -> bool:
        return self.is_open and (self.flags or self.waits or self.reconcile)

    @property
    def waits(self) -> bool:
        """Whether there is what a comparison of everybody gives way to."""
        return self.backlog or self.hints or self.pull


def read(row: Any, now: datetime) -> Due:  # Any: asyncpg's record of DUE
    may_all = row["may_all"]
    flags = row["may_flags"] and row["has_flags"]
    return Due(
        row["id"],
        row["updated_at"],
        row["is_open"],
        flags,
        flags or (may_all and row["has_others"]),
        may_all and row["has_hints"],
        may_all and (row["pull_at"] is None or row["pull_at"] <= now),
        may_all and row["reconcile_at"] is not None and row["reconcile_at"] <= now,
        row["pull_at"],
        row["reconcile_at"],
    )


async def of(db: Connection, connection: UUID, now: datetime) -> Due | None:
    """Of one connection; None if it is gone."""
    await outbox.by_index(db)
    row = await db.fetchrow(DUE, now, connection)
    return None if row is None else read(row, now)


async def ask_for_pull(db: Connection, connection: UUID, now: datetime) -> None:
    await db.execute("UPDATE connection SET pull_at = $2 WHERE id = $1", connection, now)


async def ask_for_reconcile(db: Connection, connection: UUID, now: datetime) -> None:
    await db.execute("UPDATE connection SET reconcile_at = $2 WHERE id = $1", connection, now)


async def pulled(db: Connection, begun: Due, options: Options, now: datetime) -> None:
    """A look for changes ended. Who asked for another while it ran gets it. The first one has read everybody."""
    await db.execute(
        """
        UPDATE connection SET pull_at = CASE WHEN pull_at IS NOT DISTINCT FROM $2 THEN $3 ELSE pull_at END,
            reconcile_at = coalesce(reconcile_at, $4)
        WHERE id = $1
        """,
        begun.id,
        begun.pull_at,
        now + options.pull_every,
        now + options.reconcile_every,
    )


async def reconciled(db: Connection, begun: Due, options: Options, now: datetime) -> None:
    """A comparison of everybody ended, which may have taken several turns."""
    await db.execute(
        "UPDATE connection SET reconcile_at = $3 WHERE id = $1 AND reconcile_at IS NOT DISTINCT FROM $2",
        begun.id,
        begun.reconcile_at,
        now + options.reconcile_every,
    )


async def be_silent(db: Connection, connection: UUID, until: datetime, *, to_flags: bool) -> None:
    await db.execute(
        "UPDATE connection SET silent_until = $2, silent_to_flags = $3 WHERE id = $1", connection, until, to_flags
    )


async def be_reached(db: Connection, connection: UUID) -> None:
    """The CRM answers again."""
    await db.execute(
        "UPDATE connection SET problem = NULL WHERE id = $1 AND problem ->> 'code' = $2", connection, UNREACHABLE
    )
