"""Calls that may come twice and must count once, by their Idempotency-Key (draft-ietf-httpapi-idempotency-key-header).

A call is put down before it is done. Every transaction it commits says so on the same row, so that after a crash it is
known whether it took effect; the answer is put down when it is given. A call that was put down, took no effect and got
no answer is taken over by the next with its key after a minute; should the first still live, it can commit no more.
"""

import contextlib
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import NamedTuple

from app.errors import Conflict, Fault, InvalidInput
from app.store.db import Connection, Database, Execute, on_commit

KEPT = timedelta(hours=24)
"""For how long an answer is kept; the key may be used for something else afterwards."""
_LEASE = timedelta(minutes=1)


class Call(NamedTuple):
    """Who calls (a hash of the API key), by which key, and a hash of all that was asked."""

    caller: bytes
    key: str
    fingerprint: bytes


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


async def begin(database: Database, call: Call, now: datetime) -> Answer | None:
    """The answer to the first such call; None if this is the first, which is thereby put down.

    Raises Conflict while the first is on its way, or if its answer was lost; InvalidInput if it asked something else.
    """
    async with database.hot.acquire() as db:
        began = await db.fetchval(
            """
            INSERT INTO idempotent_call AS known (caller, key, fingerprint, began_at) VALUES ($1, $2, $3, $4)
            ON CONFLICT (caller, key) DO UPDATE
                SET began_at = $4, fingerprint = $3, status = NULL, headers = NULL, body = NULL, took_effect = false
                WHERE known.began_at < $6
                OR (known.began_at < $5 AND known.status IS NULL AND NOT known.took_effect AND known.fingerprint = $3)
            RETURNING began_at
            """,
            *call,
            now,
            now - _LEASE,
            now - KEPT,
        )
        if began is not None:
            return None
        known = await db.fetchrow(
            """
            SELECT fingerprint, took_effect, status, headers, body FROM idempotent_call
            WHERE caller = $1 AND key = $2
            """,
            call.caller,
            call.key,
        )
    if known is None:
        raise Conflict("the first call with this Idempotency-Key has just failed; send it again")
    if known["fingerprint"] != call.fingerprint:
        raise InvalidInput(Fault("", "this Idempotency-Key came with another request before; take a new key"))
    if known["status"] is not None:
        return Answer(known["status"], known["headers"], known["body"])
    if known["took_effect"]:
        raise Conflict(
            "the first call with this Idempotency-Key took effect, but its answer was lost: read what is there"
        )
    raise Conflict("the first call with this Idempotency-Key is still on its way; try again in a minute")


@contextlib.asynccontextmanager
async def noting(call: Call, began: datetime) -> AsyncIterator[None]:
    """Let each transaction that this call commits say so. Raises Conflict in one if the call was taken over."""

    async def note(execute: Execute) -> None:
        done = await execute(
            "UPDATE idempotent_call SET took_effect = true WHERE caller = $1 AND key = $2 AND began_at = $3",
            call.caller,
            call.key,
            began,
        )
        if done != 1:
            raise Conflict("another call with this Idempotency-Key took over, for this one took too long")

    token = on_commit.set(note)
    try:
        yield
    finally:
        on_commit.reset(token)


async def finish(database: Database, call: Call, began: datetime, answer: Answer) -> None:
    """Put down the answer."""
    async with database.hot.acquire() as db:
        await db.execute(
            """
            UPDATE idempotent_call SET status = $4, headers = $5, body = $6
            WHERE caller = $1 AND key = $2 AND began_at = $3
            """,
            call.caller,
            call.key,
            began,
            answer.status,
            answer.headers,
            answer.body,
        )


async def abandon(database: Database, call: Call, began: datetime) -> None:
    """Let the key be used again, if the call took no effect."""
    async with database.hot.acquire() as db:
        await db.execute(
            "DELETE FROM idempotent_call WHERE caller = $1 AND key = $2 AND began_at = $3 AND NOT took_effect",
            call.caller,
            call.key,
            began,
        )


async def forget_old(db: Connection, now: datetime) -> None:
    await db.execute("DELETE FROM idempotent_call WHERE began_at < $1", now - KEPT)
