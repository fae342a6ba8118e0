"""Connections: made, found, changed, stopped and set going, and why one does not go."""

import secrets as randomness
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, TypedDict
from uuid import UUID

import asyncpg
import orjson
import uuid_utils.compat as uuids

from app.connectors.provider import Provider
from app.errors import Conflict, Fault, InvalidInput, NotFound
from app.store.db import Connection
from app.store.vault import Vault
from app.sync import given
from app.sync.given import Edit, New
from app.sync.options import Options

Providers = Mapping[str, Provider]
"""By their kinds."""

_TOLD_ANEW = ("imports", "creates", "create_object", "scores", "bands")
"""Options that concern people whom nobody may edit for long: they are compared at once."""
_SPENT = ("budget", "reserve_percent")
"""Options that end a silence: if it was ours, it may be over; if it was the CRM's, it says so again."""

UNTRIED = "new"
"""The problem of a connection that is new: nothing is read or told before it is known what is mapped."""


class Status(StrEnum):
    NEW = "new"
    """Nobody has tested it yet. The first test that goes well takes what is mapped by default."""
    ACTIVE = "active"
    PAUSED = "paused"
    FAILING = "failing"
    """Nothing goes on before somebody mends what `problem` says."""
    SILENT = "silent"
    """The CRM asked for silence, or the budget is spent, until an instant."""


class Problem(TypedDict):
    """Why a connection does not go on, as it is stored."""

    code: str
    what: str
    mend: str
    since: str
    """ISO 8601, in UTC."""


@dataclass(frozen=True)
class CrmConnection:
    """A connection as it is stored. Instants are in UTC."""

    id: UUID
    kind: str
    name: str
    flow: str
    base_url: str | None
    credentials: bytes = field(repr=False)
    """Sealed JSON."""
    hook_secret: bytes = field(repr=False)
    """Sealed."""
    options: Options
    paused_at: datetime | None
    problem: Problem | None
    account: Mapping[str, Any] | None  # Any: JSON
    """`connectors/shapes.py`'s Account, and what `sync/checking.py` keeps beside it."""
    silent_until: datetime | None
    pull_at: datetime | None
    reconcile_at: datetime | None
    created_at: datetime
    updated_at: datetime

    def status(self, now: datetime) -> Status:
        if self.paused_at is not None:
            return Status.PAUSED
        if self.problem is not None:
            return Status.NEW if self.problem["code"] == UNTRIED else Status.FAILING
        if self.silent_until is not None and now < self.silent_until:
            return Status.SILENT
        return Status.ACTIVE


_COLUMNS = ", ".join(CrmConnection.__dataclass_fields__)


async def create(
    db: Connection, vault: Vault, new: New, providers: Providers, now: datetime, *, private: bool
) -> CrmConnection:
    """Make a connection; nothing goes over the wire. `private`: whether CRMs may be in this network.

    Raises InvalidInput with a fault for each thing that is wrong; Conflict if the name is taken.
    """
    provider = provider_of(new.kind, providers)
    flow = provider.flows[0].name if new.flow is None else new.flow
    _refuse(
        *given.faults(provider, flow, new.credentials, new.base_url, private=private),
        *given.wrong_options(provider, new.options, await _models(db)),
    )
    try:
        row = await db.fetchrow(
            f"""
            INSERT INTO connection
                (id, kind, name, flow, base_url, credentials, hook_secret, options, seeks, problem, created_at,
                 updated_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11) RETURNING {_COLUMNS}
            """,
            uuids.uuid7(),
            new.kind,
            new.name,
            flow,
            new.base_url,
            _sealed(vault, new.credentials),
            vault.seal(randomness.token_urlsafe(24).encode()),
            new.options.to_json(),
            new.options.seeks,
            _untried(now),
            now,
        )
    except asyncpg.UniqueViolationError:
        raise Conflict(f"there is a connection named {new.name!r} already", "/name") from None
    return _connection(row)


async def change(
    db: Connection, vault: Vault, id_: UUID, edit: Edit, providers: Providers, now: datetime, *, private: bool
) -> CrmConnection:
    """Change a connection. Whoever signs in otherwise than before signs in anew. Raises as `create` does; NotFound."""
    held = await locked(db, id_)
    flow = edit.flow or held.flow
    base_url = None if edit.clears_base_url else edit.base_url or held.base_url
    options = replace(held.options, **(edit.options or {}))
    provider = provider_of(held.kind, providers)
    faults = given.wrong_options(provider, options, await _models(db))
    if edit.moves and edit.credentials is None:
        # Else whoever may change an address could have our credentials sent to it.
        faults.append(Fault("/credentials", "give the credentials anew, for they would be sent elsewhere than before"))
    elif edit.credentials is not None:
        faults += given.faults(provider, flow, edit.credentials, base_url, private=private)
    _refuse(*faults)
    if edit.signs_in_anew:
        await db.execute("DELETE FROM connection_grant WHERE connection_id = $1", id_)
    row = await db.fetchrow(
        f"""
        UPDATE connection SET flow = $2, base_url = $3, credentials = coalesce($4, credentials), options = $5,
            seeks = $6, reconcile_at = CASE WHEN $7 THEN $8 ELSE reconcile_at END, updated_at = $8,
            problem = CASE WHEN $9 THEN $10 ELSE problem END,
            silent_until = CASE WHEN $11 THEN NULL ELSE silent_until END
        WHERE id = $1 RETURNING {_COLUMNS}
        """,
        id_,
        flow,
        base_url,
        None if edit.credentials is None else _sealed(vault, edit.credentials),
        options.to_json(),
        options.seeks,
        _differ(options, held.options, _TOLD_ANEW),
        now,
        edit.signs_in_anew,
        None if options.pairs else _untried(now),
        _differ(options, held.options, _SPENT),
    )
    return _connection(row)


async def get(db: Connection, id_: UUID) -> CrmConnection:
    """Raises NotFound."""
    row = await db.fetchrow(f"SELECT {_COLUMNS} FROM connection WHERE id = $1", id_)
    if row is None:
        raise NotFound("there is no such connection")
    return _connection(row)


async def locked(db: Connection, id_: UUID) -> CrmConnection:
    """As it is now, until the transaction ends. Raises NotFound."""
    row = await db.fetchrow(f"SELECT {_COLUMNS} FROM connection WHERE id = $1 FOR NO KEY UPDATE", id_)
    if row is None:
        raise NotFound("there is no such connection")
    return _connection(row)


async def named(db: Connection, name: str) -> CrmConnection:
    """Raises NotFound."""
    row = await db.fetchrow(f"SELECT {_COLUMNS} FROM connection WHERE name = $1", name)
    if row is None:
        raise NotFound(f"there is no connection named {name!r}")
    return _connection(row)


async def page(db: Connection, *, limit: int, after: str | None) -> Sequence[CrmConnection]:
    """Connections in the order of their names, those after a name."""
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM connection WHERE $2::text IS NULL OR name > $2 ORDER BY name LIMIT $1", limit, after
    )
    return [_connection(row) for row in rows]


async def pause(db: Connection, id_: UUID, now: datetime) -> CrmConnection:
    """Let nothing go on; what the CRM tells us is noted all the same. Raises NotFound."""
    return await _set(db, id_, "paused_at = coalesce(paused_at, $2)", now)


async def resume(db: Connection, id_: UUID, now: datetime, *, forgives: bool = True) -> CrmConnection:
    """Let it go on at once, and forget its problem, unless it may not. Raises NotFound."""
    problem = "NULL" if forgives else "problem"
    return await _set(db, id_, f"paused_at = NULL, problem = {problem}, pull_at = $2", now)


async def signed_in(db: Connection, id_: UUID, now: datetime) -> CrmConnection:
    """It has another grant, so whatever its problem was is over. Raises NotFound."""
    untried = "CASE WHEN options -> 'pairs' = '[]' THEN $3::jsonb END"
    return await _set(db, id_, f"problem = {untried}", now, _untried(now))


async def note_problem(db: Connection, id_: UUID, code: str, what: str, mend: str, now: datetime) -> None:
    """Stop a connection until somebody mends it. One that lasts keeps its beginning."""
    problem = Problem(code=code, what=what, mend=mend, since=now.isoformat())
    await db.execute(
        """
        UPDATE connection SET problem = CASE
            WHEN problem ->> 'code' = $3 THEN $2 || jsonb_build_object('since', problem -> 'since') ELSE $2 END
        WHERE id = $1
        """,
        id_,
        problem,
        code,
    )


def _untried(now: datetime) -> Problem:
    mend = "test the connection; that takes what is mapped by default"
    return Problem(code=UNTRIED, what="nobody has tested it yet", mend=mend, since=now.isoformat())


async def _set(db: Connection, id_: UUID, what: str, now: datetime, *more: object) -> CrmConnection:
    row = await db.fetchrow(
        f"UPDATE connection SET {what}, updated_at = $2 WHERE id = $1 RETURNING {_COLUMNS}", id_, now, *more
    )
    if row is None:
        raise NotFound("there is no such connection")
    return _connection(row)


# --- credentials ------------------------------------------------------------------------------------------------------


def credentials(vault: Vault, connection: CrmConnection) -> dict[str, str]:
    """Raises Sealed."""
    opened: dict[str, str] = orjson.loads(vault.open(connection.credentials))
    return opened


def hook_secret(vault: Vault, connection: CrmConnection) -> str:
    """What the CRM's calls to us carry in their path. Raises Sealed."""
    return vault.open(connection.hook_secret).decode()


def _sealed(vault: Vault, opened: Mapping[str, str]) -> bytes:
    return vault.seal(orjson.dumps(dict(opened)))


def provider_of(kind: str, providers: Providers) -> Provider:
    """Raises InvalidInput, which lists them all, if there is none."""
    found = providers.get(kind)
    if found is None:
        raise InvalidInput(Fault("/kind", f"there is no kind {kind!r}; there is {', '.join(providers) or 'none'}"))
    return found


async def _models(db: Connection) -> list[str]:
    return [row[0] for row in await db.fetch("SELECT key FROM scoring_model")]


def _differ(one: Options, other: Options, names: Sequence[str]) -> bool:
    return any(getattr(one, name) != getattr(other, name) for name in names)


def _refuse(*faults: Fault) -> None:
    if faults:
        raise InvalidInput(*faults)


def _connection(row: Any) -> CrmConnection:  # Any: asyncpg's record
    return CrmConnection(**{**row, "options": Options.from_json(row["options"])})
