"""API keys: made here, shown once, kept as a hash.

A key holds 256 random bits, so a plain SHA-256 is enough: there is nothing to guess that a slow hash would protect.
"""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

import asyncpg
import uuid_utils.compat as uuids

from app.errors import Conflict, NotFound
from app.store.db import Connection

PREFIX = "lt_"


class Scope(StrEnum):
    INGEST = "ingest"
    READ = "read"
    WRITE = "write"
    ADMIN = "admin"
    """Everything."""


class Key(NamedTuple):
    id: UUID
    name: str
    hint: str
    scopes: list[str]
    created_at: datetime
    revoked_at: datetime | None

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes


_COLUMNS = "id, name, hint, scopes, created_at, revoked_at"


def make_secret() -> str:
    return PREFIX + secrets.token_urlsafe(32)


async def create(db: Connection, name: str, scopes: Sequence[Scope], secret: str, now: datetime) -> Key:
    """Store the hash of `secret` under `name`. Raises Conflict if the name, or the key, is taken."""
    try:
        row = await db.fetchrow(
            f"""
            INSERT INTO api_key (id, name, hint, digest, scopes, created_at) VALUES ($1, $2, $3, $4, $5, $6)
            RETURNING {_COLUMNS}
            """,
            uuids.uuid7(),
            name,
            secret[:7] + "…",
            digest(secret),
            [str(scope) for scope in scopes],
            now,
        )
    except asyncpg.UniqueViolationError:
        raise Conflict(f"there is a key named {name!r} already", "/name") from None
    assert row is not None
    return Key(*row.values())


async def listed(db: Connection) -> list[Key]:
    rows = await db.fetch(f"SELECT {_COLUMNS} FROM api_key ORDER BY created_at, id")
    return [Key(*row.values()) for row in rows]


async def revoke(db: Connection, name: str, now: datetime) -> Key:
    """End a key for good. Raises NotFound."""
    row = await db.fetchrow(
        f"UPDATE api_key SET revoked_at = coalesce(revoked_at, $2) WHERE name = $1 RETURNING {_COLUMNS}",
        name,
        now,
    )
    if row is None:
        raise NotFound(f"there is no key named {name!r}")
    return Key(*row.values())


async def find(db: Connection, secret: str) -> Key | None:
    """The key with this secret, unless it was revoked. Looked up by its hash, so timing tells nothing of it."""
    row = await db.fetchrow(
        f"SELECT {_COLUMNS} FROM api_key WHERE digest = $1 AND revoked_at IS NULL",
        digest(secret),
    )
    return Key(*row.values()) if row else None


def digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="replace")).digest()


async def ensure(db: Connection, secret: str, now: datetime) -> None:
    """Make sure that this secret is an admin key, unless it was revoked."""
    # Several servers that start at once are given the same key; readers do not wait for this lock.
    await db.execute("LOCK TABLE api_key IN SHARE ROW EXCLUSIVE MODE")
    if await db.fetchval("SELECT 1 FROM api_key WHERE digest = $1", digest(secret)) is None:
        taken = {key.name for key in await listed(db)}
        name = next(name for name in ("admin", *(f"admin {n}" for n in range(2, len(taken) + 3))) if name not in taken)
        await create(db, name, [Scope.ADMIN], secret, now)
