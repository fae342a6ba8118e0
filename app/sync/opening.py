"""A connection made ready to work: its credentials opened, its budget read, what it signed in with kept for all.

A grant is renewed under the lock of its row, and committed before anybody uses it. So processes that find it ended at
the same moment sign in once, and a refresh token that the CRM put in the place of another is never lost.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import NamedTuple
from uuid import UUID
from weakref import WeakValueDictionary

import orjson

from app import clock, connectors
from app.connectors.faults import SignInRefused
from app.connectors.http import Http
from app.connectors.provider import Grant, Provider, Setup
from app.engine.hygiene import SoftPolicy
from app.engine.plan import Plans
from app.engine.transactions import committed
from app.errors import NotFound
from app.store.db import FAULTS, Connection, Database
from app.store.vault import Sealed, Vault
from app.sync import connections
from app.sync.budget import Budget
from app.sync.connections import CrmConnection, Providers
from app.sync.shapes import Opened

SignIn = Callable[[Grant | None], Awaitable[Grant]]

# Whoever waits for a renewal of this process waits here, and not with a connection of the pool in hand.
_turns: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()
_renewals: set[asyncio.Task[Grant]] = set()


class KeptGrant:
    """Holds a connection's grant, sealed, in the database. The `Keeper` of connectors/shapes.py."""

    def __init__(self, database: Database, vault: Vault, connection: UUID) -> None:
        self._database = database
        self._vault = vault
        self._connection = connection

    async def grant(self) -> Grant | None:
        """Raises SignInRefused if our keys do not open it."""
        async with self._database.hot.acquire() as db:
            return self._opened(
                await db.fetchval("SELECT sealed FROM connection_grant WHERE connection_id = $1", self._connection)
            )

    async def renew(self, stale: Grant | None, sign_in: SignIn) -> Grant:
        """Goes on though the caller is cancelled: the CRM may have ended the grant before. Raises what `sign_in` does,
        and NotFound if the connection was removed."""
        turn = _turns.setdefault(self._connection, asyncio.Lock())
        async with turn:
            renewal = asyncio.create_task(self._renew(stale, sign_in))
            _renewals.add(renewal)
            renewal.add_done_callback(_renewals.discard)
            return await asyncio.shield(renewal)

    async def keep(self, grant: Grant) -> None:
        """In place of whatever was kept. Raises NotFound."""
        async with self._database.batch() as db:
            await self._locked(db)
            await self._store(db, grant)

    async def _renew(self, stale: Grant | None, sign_in: SignIn) -> Grant:
        granted: Grant | None = None
        try:
            async with self._database.batch() as db:
                present = self._opened(await self._locked(db))
                # Compared by the token alone: a CRM may grant the same one again with other words around it.
                if present is not None and (stale is None or present.access_token != stale.access_token):
                    return present
                granted = await sign_in(present)
                await self._store(db, granted)
        except FAULTS:
            if granted is None:
                raise
            # The database went away meanwhile, and the lock with it; what was granted is still in our hands.
            await committed(self._database, lambda db: self._store(db, granted))
        return granted

    async def _locked(self, db: Connection) -> bytes | None:
        await db.execute(
            """
            INSERT INTO connection_grant (connection_id) SELECT id FROM connection WHERE id = $1
            ON CONFLICT (connection_id) DO NOTHING
            """,
            self._connection,
        )
        row = await db.fetchrow(
            "SELECT sealed FROM connection_grant WHERE connection_id = $1 FOR UPDATE", self._connection
        )
        if row is None:
            raise NotFound("there is no such connection")
        sealed: bytes | None = row["sealed"]
        return sealed

    async def _store(self, db: Connection, grant: Grant) -> None:
        await db.execute(
            "UPDATE connection_grant SET sealed = $2, kept_at = $3 WHERE connection_id = $1",
            self._connection,
            self._vault.seal(orjson.dumps(asdict(grant))),
            clock.now(),
        )

    def _opened(self, sealed: bytes | None) -> Grant | None:
        try:
            return None if sealed is None else Grant(**orjson.loads(self._vault.open(sealed)))
        except Sealed:
            raise sealed_away() from None


class Ready(NamedTuple):
    """All that a connector is made of."""

    connection: CrmConnection
    provider: Provider
    setup: Setup
    keeper: KeptGrant
    budget: Budget


async def prepare(database: Database, vault: Vault, connection_id: UUID, providers: Providers | None = None) -> Ready:
    """Raises NotFound; SignInRefused, noted as the connection's problem, if our keys do not open its credentials."""
    known = connectors.providers() if providers is None else providers
    async with database.hot.acquire() as db:
        connection = await connections.get(db, connection_id)
        provider = known.get(connection.kind)
        if provider is None:
            raise SignInRefused(
                "unknown_kind", f"this version knows no CRM {connection.kind!r}", "run a version that does"
            )
        options = connection.options
        budget = Budget(connection_id, options.budget or provider.budget, options.reserve_percent, provider.unit)
        await budget.load(db)
        try:
            credentials = connections.credentials(vault, connection)
        except Sealed:
            fault = sealed_away()
            await connections.note_problem(db, connection_id, fault.code, fault.what, fault.mend, clock.now())
            raise fault from None
    keeper = KeptGrant(database, vault, connection_id)
    setup = Setup(connection.flow, credentials, keeper, budget, connection.base_url, options.choices)
    return Ready(connection, provider, setup, keeper, budget)


@asynccontextmanager
async def opened(
    database: Database,
    vault: Vault,
    http: Http,
    plans: Plans,
    policy: SoftPolicy,
    connection_id: UUID,
    providers: Providers | None = None,
) -> AsyncIterator[Opened]:
    """A connection at work, paused or not; at the end what it spent is kept. `providers`: all there are.

    Raises as `prepare` does. That nobody else works on it, the caller sees to.
    """
    ready = await prepare(database, vault, connection_id, providers)
    at_work = ready.connection
    connector = ready.provider.connect(ready.setup, http)
    try:
        yield Opened(
            at_work.id,
            at_work.kind,
            at_work.name,
            at_work.options,
            connector,
            ready.budget,
            database,
            plans,
            policy,
        )
    finally:
        try:
            await connector.aclose()
        finally:
            await ready.budget.save(database)


def sealed_away() -> SignInRefused:
    """What is wrong where none of our keys opens what is kept."""
    return SignInRefused(
        "encryption_key",
        "the encryption key does not open what this connection signs in with",
        "put the key it was sealed under behind the present one in LEADTALLY_ENCRYPTION_KEY, or give the credentials "
        "anew",
    )
