"""Signing in with a browser: out to the CRM with a state that nobody else can make, and back with a code (RFC 6749,
PKCE by RFC 7636).

A state is sealed, holds for ten minutes and once, and a later one of the same connection takes its place.
"""

import base64
import hashlib
import hmac
import secrets
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import orjson

from app import clock
from app.connectors.http import Http
from app.errors import Fault, InvalidInput
from app.store.db import Connection, Database
from app.store.vault import Sealed, Vault
from app.sync import connections, given, opening
from app.sync.connections import Providers

HOLDS_FOR = timedelta(minutes=10)
_LONGEST = 4_000


class StateRefused(Exception):
    """The state is none of ours, too old, or was used. In words for whoever came back with it."""


class Asked(NamedTuple):
    """What a state holds."""

    connection: UUID
    verifier: str
    redirect_uri: str
    until: datetime


async def begin(database: Database, vault: Vault, connection: UUID, redirect_uri: str, providers: Providers) -> str:
    """Where somebody has to sign in. Raises NotFound, SignInRefused; InvalidInput if this flow needs no browser."""
    ready = await opening.prepare(database, vault, connection, providers)
    flow = given.flow_of(ready.provider, ready.connection.flow)
    if flow is None or not flow.is_interactive:
        with_browser = ", ".join(one.name for one in ready.provider.flows if one.is_interactive) or "none"
        raise InvalidInput(
            Fault("", f"the flow {ready.connection.flow!r} needs no browser; those that do: {with_browser}")
        )
    verifier = secrets.token_urlsafe(48)
    state = _state(vault, Asked(connection, verifier, redirect_uri, clock.now() + HOLDS_FOR))
    async with database.batch() as db:
        await db.execute(
            """
            INSERT INTO own_secret (name, sealed) VALUES ($1, $2)
            ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed
            """,
            name_of(connection),
            vault.seal(_digest(state)),
        )
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    return ready.provider.authorize_url(ready.setup, redirect_uri, state, challenge)


async def use(database: Database, vault: Vault, state: str) -> Asked:
    """What a state holds, which it does not any more from now on. Raises StateRefused."""
    asked = _read(vault, state)
    if asked is None:
        raise StateRefused("This link is not complete, or was changed on the way.")
    async with database.batch() as db:
        is_known = await _take(db, vault, asked.connection, state)
    if not is_known or asked.until < clock.now():
        raise StateRefused("This link was used already, or is older than ten minutes.")
    return asked


async def finish(database: Database, vault: Vault, http: Http, asked: Asked, code: str, providers: Providers) -> str:
    """Exchange the code that came back, keep what was granted, and let the connection go on; returns its name.

    Raises NotFound and what connectors raise.
    """
    ready = await opening.prepare(database, vault, asked.connection, providers)
    grant = await ready.provider.exchange(ready.setup, http, code, asked.redirect_uri, asked.verifier)
    await ready.keeper.keep(grant)
    async with database.batch() as db:
        await connections.signed_in(db, asked.connection, clock.now())
    return ready.connection.name


async def _take(db: Connection, vault: Vault, connection: UUID, state: str) -> bool:
    sealed = await db.fetchval("SELECT sealed FROM own_secret WHERE name = $1 FOR UPDATE", name_of(connection))
    try:
        if sealed is None or not hmac.compare_digest(vault.open(sealed), _digest(state)):
            return False
    except Sealed:
        return False
    await db.execute("DELETE FROM own_secret WHERE name = $1", name_of(connection))
    return True


def _state(vault: Vault, asked: Asked) -> str:
    said = ["sign in", str(asked.connection), asked.verifier, asked.redirect_uri, asked.until]
    return vault.seal(orjson.dumps(said)).decode()


def _read(vault: Vault, state: str) -> Asked | None:
    try:
        said = orjson.loads(vault.open(state.encode())) if len(state) <= _LONGEST else None
    except (Sealed, ValueError):
        return None
    if not isinstance(said, list) or said[:1] != ["sign in"]:
        return None
    _, connection, verifier, redirect_uri, until = said
    return Asked(UUID(connection), verifier, redirect_uri, datetime.fromisoformat(until))


def name_of(connection: UUID) -> str:
    """Under which its latest state is remembered among our own secrets."""
    return f"sign-in:{connection}"


def _digest(state: str) -> bytes:
    return hashlib.sha256(state.encode()).digest()
