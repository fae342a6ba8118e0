"""Transactions that begin again when what ended them may pass: another writer, or a database that restarts."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg
import stamina
import structlog
from stamina.instrumentation import set_on_retry_hooks
from stamina.typing import RetryDetails

from app.engine.identity import ContactGone
from app.errors import Unavailable
from app.store.db import Connection, Database

T = TypeVar("T")

PASSING = (
    ContactGone,
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what asyncpg raises when the server ends a connection between two statements
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.ForeignKeyViolationError,  # a contact was erased between finding it and claiming an identity for it
    asyncpg.UniqueViolationError,
    asyncpg.OperatorInterventionError,  # shutting down, starting up
    asyncpg.TooManyConnectionsError,
    asyncpg.InvalidCachedStatementError,
)
"""What may go well if tried again: nothing was committed, or replaying it changes nothing."""

_again = stamina.AsyncRetryingCaller(
    attempts=9,
    timeout=60,  # of all attempts: one that ran into its statement_timeout of minutes is the last
    wait_initial=0.02,
    wait_max=5,
    wait_jitter=0.02,  # writers that collided would else collide again
).on(PASSING)
"""With waits that double from 20 ms: about five seconds, longer than a Postgres takes to restart."""

_AT_ONCE = 10
"""Beginnings without a wait between, while contacts are merged or erased under a transaction's hands."""

_log = structlog.get_logger()


async def committed(database: Database, work: Callable[[Connection], Awaitable[T]]) -> T:
    """Run `work` in a transaction on the hot pool, from its beginning as often as a passing fault ends it.

    `work` must be repeatable: a connection that is lost during the commit does not tell whether it was made.

    Returns what `work` returned, once that is committed. Raises what `work` raises; Unavailable, after about five
    seconds of waiting, if there is still a passing fault.
    """

    async def once() -> T:
        async with database.batch() as db:
            return await work(db)

    async def attempt() -> T:
        # Whoever erased or merged the contact has committed: there is nothing to wait for.
        for _ in range(_AT_ONCE):
            try:
                return await once()
            except ContactGone:
                pass
        return await once()

    try:
        return await _again(attempt)
    except PASSING as fault:
        _log.warning("a transaction was given up", fault=type(fault).__name__)
        raise Unavailable("the database is away or too busy just now; try again") from fault


def _tell(details: RetryDetails) -> None:
    _log.info(
        "what failed in passing is tried again", fault=type(details.caused_by).__name__, attempt=details.retry_num
    )


# Stamina's own hook logs the words of a fault, which may quote somebody's data. There is one list for the process.
set_on_retry_hooks([_tell])
