"""The GraphQL endpoint in an app of its own, over the real database."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import pytest
from fastapi import FastAPI, Request
from httpx import ASGITransport, AsyncClient

from app.api.problems import answer_to, problem
from app.engine.plan import Plans
from app.errors import NotAllowed, NotAuthenticated
from app.graphql import serving
from app.store.db import Database

Ask: TypeAlias = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture(scope="session")
def plans() -> Plans:
    """One for all tests, as a process has: each test's empty workspace is a change that it notices."""
    return Plans()


@pytest.fixture(scope="session")
def app(migrated: Database, plans: Plans) -> FastAPI:
    """Built once: to build the schema takes longer than most tests do."""

    async def authenticate(request: Request) -> None:
        match request.headers.get("authorization"):
            case "Bearer good":
                return
            case "Bearer weak":
                raise NotAllowed("this needs a key with the scope 'read'")
        raise NotAuthenticated("send an API key")

    app = FastAPI()
    # By the resolvers: that compiled statements give the same answers is shown in test_compiling.py.
    endpoint = serving.Endpoint(migrated, plans, authenticate, answer_to, problem, compiled=False)
    app.add_middleware(serving.Mounted, path="/graphql", endpoint=endpoint)
    return app


@pytest.fixture
async def client(app: FastAPI, database: Database) -> AsyncIterator[AsyncClient]:
    """Sends the key `good`. The app answers 500 for any exception that nobody handles."""
    transport = ASGITransport(app, raise_app_exceptions=False)
    async with AsyncClient(
        transport=transport, base_url="http://test", headers={"authorization": "Bearer good"}
    ) as made:
        yield made


@pytest.fixture
def ask(client: AsyncClient) -> Ask:
    """The answer to a query with variables: `data` and `errors`."""

    async def send(query: str, **variables: Any) -> dict[str, Any]:
        reply = await client.post("/graphql", json={"query": query, "variables": variables})
        assert reply.status_code == 200, reply.text
        answer: dict[str, Any] = reply.json()
        return answer

    return send


@pytest.fixture
def data(ask: Ask) -> Ask:
    """The data of an answer that has no errors."""

    async def send(query: str, **variables: Any) -> dict[str, Any]:
        answer = await ask(query, **variables)
        assert "errors" not in answer, answer["errors"]
        found: dict[str, Any] = answer["data"]
        return found

    return send


@pytest.fixture
def fault(ask: Ask) -> Ask:
    """The one error of an answer."""

    async def send(query: str, **variables: Any) -> dict[str, Any]:
        errors = (await ask(query, **variables))["errors"]
        assert len(errors) == 1, errors
        found: dict[str, Any] = errors[0]
        return found

    return send
