"""The app in this process, on the shared test database, run through its lifespan."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from app import clock
from app.main import build
from app.settings import Settings
from app.store import keys
from app.store.db import Database, plain_url
from app.store.keys import Scope
from tests.api.client import BASE, Api, be_a_problem

ENCRYPTION_KEY = SecretStr("dGVzdHMgc2VhbCB3aXRoIHRoaXMgYW5kIG5vdGhpbmc=")


@pytest.fixture(scope="session")
async def app(migrated: Database) -> AsyncIterator[FastAPI]:
    """Without a worker: a test that needs a job done does it itself."""
    async with running(plain_url(migrated.url), with_worker=False) as made:
        yield made


@pytest.fixture
async def api(app: FastAPI, database: Database) -> AsyncIterator[Api]:
    """A caller with an admin key, of an empty workspace."""
    async with calling(app, database) as made:
        yield made


@pytest.fixture
async def working(database: Database) -> AsyncIterator[Api]:
    """The same beside a worker, as `serve` has by default."""
    async with running(plain_url(database.url), with_worker=True) as app, calling(app, database) as made:
        yield made


@asynccontextmanager
async def running(url: str, *, with_worker: bool) -> AsyncIterator[FastAPI]:
    app = build(Settings(pool_size=6, encryption_key=ENCRYPTION_KEY), url, with_worker=with_worker)
    async with app.router.lifespan_context(app):
        yield app


@asynccontextmanager
async def calling(app: FastAPI, database: Database) -> AsyncIterator[Api]:
    secret = keys.make_secret()
    async with database.batch() as db:
        await keys.create(db, "tests", [Scope.ADMIN], secret, clock.now())
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app, raise_app_exceptions=False),
        base_url=BASE,
        headers={"Authorization": f"Bearer {secret}"},
        event_hooks={"response": [be_a_problem]},
    ) as http:
        yield Api(app, database, http)
