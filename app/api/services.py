"""What the endpoints work with, built once by the root and handed to each request."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request

from app.connectors.http import Http
from app.engine.batching import Batcher
from app.engine.hygiene import SoftPolicy
from app.engine.plan import Plans
from app.settings import Settings
from app.store.db import Database
from app.store.vault import Vault
from app.sync import opening
from app.sync.connections import Providers
from app.sync.shapes import Opened


@dataclass(frozen=True)
class Services:
    settings: Settings
    database: Database
    plans: Plans
    batcher: Batcher
    vault: Vault
    http: Http
    """To CRMs."""
    providers: Providers
    """The CRMs that can be connected."""

    @property
    def policy(self) -> SoftPolicy:
        return SoftPolicy(self.settings.soft_bounce_limit, self.settings.soft_bounce_days)

    def opened(self, connection: UUID) -> AbstractAsyncContextManager[Opened]:
        """A connection at work. Raises NotFound, SignInRefused."""
        return opening.opened(self.database, self.vault, self.http, self.plans, self.policy, connection, self.providers)


async def services(request: Request) -> Services:
    """Async though it awaits nothing: FastAPI sends a plain function to a thread, at more than it costs here."""
    found: Services = request.app.state.services
    return found


Kit = Annotated[Services, Depends(services)]
