"""Records of people who are no contacts, by choice: known again by keyed hashes of their addresses, should one be."""

import hmac
from collections.abc import Collection, Iterable, Mapping
from uuid import UUID

import structlog

from app.connectors.shapes import Key
from app.store.db import Connection
from app.store.vault import Sealed, Vault

_KEY = "stranger"
_log = structlog.get_logger()


async def keep(db: Connection, vault: Vault | None, connection: UUID, people: Mapping[Key, Collection[str]]) -> None:
    """Remember these records by these addresses, in normal form, and no longer by any others."""
    if not people:
        return
    hashes = await _hashes(db, vault, {address for addresses in people.values() for address in addresses})
    rows = [(key, hashes[one]) for key, addresses in people.items() for one in addresses if one in hashes]
    new = [connection, [digest for _, digest in rows], [key.object for key, _ in rows], [key.id for key, _ in rows]]
    await db.execute(
        """
        DELETE FROM stranger s USING unnest($5::text[], $6::text[]) AS one(object, record)
        WHERE s.connection_id = $1 AND s.object = one.object AND s.record = one.record AND NOT EXISTS (
            SELECT FROM unnest($2::bytea[], $3::text[], $4::text[]) AS new(digest, object, record)
            WHERE new.digest = s.digest AND new.object = s.object AND new.record = s.record
        )
        """,
        *new,
        [key.object for key in people],
        [key.id for key in people],
    )
    await db.execute(
        """
        INSERT INTO stranger (connection_id, digest, object, record)
        SELECT $1, new.* FROM unnest($2::bytea[], $3::text[], $4::text[]) AS new(digest, object, record)
        ORDER BY 2, 3, 4 ON CONFLICT DO NOTHING
        """,
        *new,
    )


async def forget(db: Connection, connection: UUID, keys: Collection[Key]) -> None:
    """These records are somebody's now, or gone."""
    if keys:
        await db.execute(
            """
            DELETE FROM stranger s USING unnest($2::text[], $3::text[]) AS one(object, record)
            WHERE s.connection_id = $1 AND s.object = one.object AND s.record = one.record
            """,
            connection,
            [key.object for key in keys],
            [key.id for key in keys],
        )


async def of(db: Connection, vault: Vault | None, connection: UUID, addresses: Collection[str]) -> dict[str, list[Key]]:
    """The records of strangers that had each of these addresses when last seen; addresses of nobody are left out."""
    hashes = await _hashes(db, vault, addresses) if addresses else {}
    rows = await db.fetch(
        """
        SELECT wanted.address, s.object, s.record
        FROM unnest($2::text[], $3::bytea[]) AS wanted(address, digest)
        CROSS JOIN LATERAL (
            SELECT object, record FROM stranger WHERE connection_id = $1 AND digest = wanted.digest OFFSET 0
        ) s
        ORDER BY 1, 2, 3
        """,
        connection,
        list(hashes),
        list(hashes.values()),
    )
    found: dict[str, list[Key]] = {}
    for address, object_, record in rows:
        found.setdefault(address, []).append(Key(object_, record))
    return found


async def among(db: Connection, connection: UUID, keys: Collection[Key]) -> set[Key]:
    """Those of these records that are strangers'."""
    rows = await db.fetch(
        """
        SELECT DISTINCT s.object, s.record FROM unnest($2::text[], $3::text[]) AS wanted(object, record)
        CROSS JOIN LATERAL (
            SELECT object, record FROM stranger
            WHERE connection_id = $1 AND object = wanted.object AND record = wanted.record OFFSET 0
        ) s
        """,
        connection,
        [key.object for key in keys],
        [key.id for key in keys],
    )
    return {Key(*row) for row in rows}


async def _hashes(db: Connection, vault: Vault | None, addresses: Iterable[str]) -> dict[str, bytes]:
    """Nothing where the secret does not open, which is logged: push then knows nobody again, and asks the CRM."""
    if vault is None:
        return {}
    try:
        key = await vault.own(db, _KEY)
    except Sealed:
        _log.error("the secret by which people of a CRM are known again does not open")
        return {}
    return {one: hmac.digest(key, one.encode(), "sha256") for one in addresses}
