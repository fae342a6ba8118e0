"""Sources: made, found, switched off, given another secret, counted."""

import hashlib
import secrets as randomness
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4
from weakref import WeakKeyDictionary

import asyncpg
from cachetools import TTLCache

from app.errors import Conflict, Fault, InvalidInput, NotFound
from app.sources.kinds import Entry, kind
from app.store.db import FAULTS, Connection, Database, is_away
from app.store.vault import Vault

KEY_PREFIX = "wk_"
_KNOWN_FOR_S = 1.0
"""A source is looked up again after this long: one that is switched off is turned away within a second."""
_MOST_SECRETS = 2


@dataclass(frozen=True)
class Source:
    """A source as it is stored, but for the hashes of its write keys. Instants are in UTC."""

    id: UUID
    kind: str
    name: str
    verify: bool
    enabled: bool
    secrets: tuple[bytes, ...]
    """Sealed, the newest first."""
    key_hint: str | None
    received: int
    accepted: int
    duplicates: int
    rejected: int
    refused: int
    refused_at: datetime | None
    refused_because: str | None
    last_seen_at: datetime | None
    created_at: datetime


_COLUMNS = ", ".join(Source.__dataclass_fields__)


def _source(row: Any) -> Source:  # Any: asyncpg's record
    return Source(**{**row, "secrets": tuple(row["secrets"])})


class _Known:
    """What one process remembers of one database's sources."""

    def __init__(self) -> None:
        self.fresh: TTLCache[UUID | str, Source] = TTLCache(maxsize=1_024, ttl=_KNOWN_FOR_S)
        self.last: TTLCache[UUID | str, Source] = TTLCache(maxsize=1_024, ttl=3_600)


_known: WeakKeyDictionary[Database, _Known] = WeakKeyDictionary()


async def find(database: Database, source: UUID) -> Source | None:
    """A source by its id, at most a second old; older while the database is away."""
    return await _find(database, source, "id = $1", source)


async def find_by_write_key(database: Database, key: str) -> Source | None:
    """The source that has this write key, or had it until it was rotated once; switched off or not.

    At most a second old, older while the database is away. Looked up by its hash, so timing tells nothing of it.
    """
    return await _find(database, key, "key_digest = $1 OR old_key_digest = $1", _digest(key))


async def _find(database: Database, entry: UUID | str, condition: str, value: object) -> Source | None:
    known = _known.setdefault(database, _Known())
    found = known.fresh.get(entry)
    if found is not None:
        return found
    try:
        async with database.hot.acquire() as db:
            row = await db.fetchrow(f"SELECT {_COLUMNS} FROM source WHERE {condition}", value)
    except FAULTS as fault:
        # Whoever calls is told to come again in the way that this kind understands.
        if is_away(fault) and entry in known.last:
            return known.last[entry]
        raise
    if row is None:
        known.last.pop(entry, None)
        return None
    known.fresh[entry] = known.last[entry] = found = _source(row)
    return found


async def create(
    db: Connection, vault: Vault, kind_key: str, name: str, *, verify: bool, secret: str | None, now: datetime
) -> tuple[Source, str | None]:
    """Make a source; returns it and, for kinds that have one, its write key, which is kept nowhere.

    Raises InvalidInput if there is no such kind, or it must have a secret or may not; Conflict if the name is taken.
    """
    _check_secret(kind_key, secret, verify=verify)
    key = _make_key() if kind(kind_key).entry is Entry.WRITE_KEY else None
    try:
        row = await db.fetchrow(
            f"""
            INSERT INTO source (id, kind, name, verify, secrets, key_hint, key_digest, created_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING {_COLUMNS}
            """,
            uuid4(),
            kind_key,
            name,
            verify,
            [] if secret is None else [vault.seal(secret.encode())],
            None if key is None else _hint(key),
            None if key is None else _digest(key),
            now,
        )
    except asyncpg.UniqueViolationError:
        raise Conflict(f"there is a source named {name!r} already", "/name") from None
    return _source(row), key


async def rotate(
    db: Connection, vault: Vault, source: UUID, secret: str | None, *, keep_old: bool = True
) -> tuple[Source, str | None]:
    """Give a source another secret, or, if it has a write key, another key; returns it and that key.

    What it had until now holds beside the new one until the next rotation, unless `keep_old` is false.
    Raises NotFound, and InvalidInput where there is a secret too many or too few.
    """
    held = await get(db, source)
    if kind(held.kind).entry is Entry.WRITE_KEY:
        _check_secret(held.kind, secret, verify=False)
        key = _make_key()
        row = await db.fetchrow(
            f"""
            UPDATE source SET key_hint = $2, key_digest = $3, old_key_digest = CASE WHEN $4 THEN key_digest END
            WHERE id = $1 RETURNING {_COLUMNS}
            """,
            source,
            _hint(key),
            _digest(key),
            keep_old,
        )
        return _source(row), key
    if secret is None:
        raise InvalidInput(Fault("/secret", "say the new secret"))
    before = held.secrets[: _MOST_SECRETS - 1] if keep_old else ()
    row = await db.fetchrow(
        f"UPDATE source SET secrets = $2 WHERE id = $1 RETURNING {_COLUMNS}",
        source,
        [vault.seal(secret.encode()), *before],
    )
    return _source(row), None


def _check_secret(kind_key: str, secret: str | None, *, verify: bool) -> None:
    found = kind(kind_key)
    if secret is not None and found.entry is Entry.WRITE_KEY:
        raise InvalidInput(Fault("/secret", f"{found.title} have a write key, and no secret"))
    if secret is None and verify and found.needs_secret:
        raise InvalidInput(
            Fault("/secret", f"{found.title} signs what it sends: give {found.secret}, or say verify: false")
        )


async def get(db: Connection, source: UUID) -> Source:
    """As it is now, locked until the transaction ends. Raises NotFound."""
    row = await db.fetchrow(f"SELECT {_COLUMNS} FROM source WHERE id = $1 FOR NO KEY UPDATE", source)
    if row is None:
        raise NotFound("there is no such source")
    return _source(row)


async def named(db: Connection, name: str) -> Source:
    """By its name. Raises NotFound."""
    row = await db.fetchrow(f"SELECT {_COLUMNS} FROM source WHERE name = $1", name)
    if row is None:
        raise NotFound(f"there is no source named {name!r}")
    return _source(row)


async def page(db: Connection, *, limit: int, after: str | None) -> Sequence[Source]:
    """Sources in the order of their names, those after a name."""
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM source WHERE $2::text IS NULL OR name > $2 ORDER BY name LIMIT $1", limit, after
    )
    return [_source(row) for row in rows]


async def switch(db: Connection, source: UUID, *, enabled: bool | None = None, verify: bool | None = None) -> Source:
    """Switch a source, or its verifying, on or off; None leaves it. Raises NotFound and InvalidInput."""
    held = await get(db, source)
    if verify and not held.secrets:
        _check_secret(held.kind, None, verify=True)
    row = await db.fetchrow(
        f"""
        UPDATE source SET enabled = coalesce($2, enabled), verify = coalesce($3, verify)
        WHERE id = $1 RETURNING {_COLUMNS}
        """,
        source,
        enabled,
        verify,
    )
    return _source(row)


async def delete(db: Connection, source: UUID) -> None:
    """Remove a source; its events stay, and what was kept raw is removed by and by. Raises NotFound."""
    if await db.fetchval("DELETE FROM source WHERE id = $1 RETURNING id", source) is None:
        raise NotFound("there is no such source")


async def note_refusal(database: Database, source: UUID, because: str, now: datetime) -> None:
    """Count a call that was turned away, and why, so that whoever set the source up sees it."""
    async with database.hot.acquire() as db:
        await db.execute(
            "UPDATE source SET refused = refused + 1, refused_at = $2, refused_because = $3 WHERE id = $1",
            source,
            now,
            because[:500],
        )


def _make_key() -> str:
    return KEY_PREFIX + randomness.token_urlsafe(24)


def _hint(key: str) -> str:
    return key[:7] + "…"


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="replace")).digest()
