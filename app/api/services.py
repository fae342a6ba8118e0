"""What the endpoints work with, built once by the root and handed to each request."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from app.engine.batching import Batcher
from app.engine.hygiene import SoftPolicy
from app.engine.plan import Plans
from app.settings import Settings
from app.store.db import Database
from app.store.vault import Vault


@dataclass(frozen=True)
class Services:
    settings: Settings
    database: Database
    plans: Plans
    batcher: Batcher
    vault: Vault

    @property
    def policy(self) -> SoftPolicy:
        return SoftPolicy(self.settings.soft_bounce_limit, self.settings.soft_bounce_days)


async def services(request: Request) -> Services:
    """Async though it awaits nothing: FastAPI sends a plain function to a thread, at more than it costs here."""
    found: Services = request.app.state.services
    return found


Kit = Annotated[Services, Depends(services)]
