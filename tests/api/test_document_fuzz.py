"""Every endpoint of the OpenAPI document, called with what the document allows and with what it does not: no answer is
a 5xx, and each is of a kind that the document names."""

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

from app import clock
from app.main import build
from app.settings import Settings
from app.store import keys
from app.store.db import Database, plain_url
from tests.api.conftest import ENCRYPTION_KEY

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance]
KEY = "lt_key_of_this_test_alone"


@schemathesis.serializer("message/rfc822", "application/mbox")
def _as_it_is(_: schemathesis.SerializationContext, value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")


@pytest.fixture(scope="module")
def document(migrated: Database) -> Iterator[schemathesis.schemas.BaseSchema]:
    """The document of a server that runs beside the test, in a thread: the caller's loop is its own."""
    url = plain_url(migrated.url)
    app = build(Settings(pool_size=6, encryption_key=ENCRYPTION_KEY), url, with_worker=False)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False))

    async def serve() -> None:
        async with Database(url, 1) as database, database.batch() as db:
            await keys.ensure(db, KEY, clock.now())
        await server.serve()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/openapi.json")
    server.should_exit = True
    thread.join()


def test_no_call_is_answered_with_a_fault_of_ours(document: schemathesis.schemas.BaseSchema) -> None:
    # Readiness says 503 where no worker runs, as is meant; GraphQL has a document of its own.
    rest = document.exclude(path="/readyz").exclude(path_regex="^/graphql")
    operations = [found.ok() for found in rest.get_all_operations() if isinstance(found, Ok)]
    assert len(operations) > 70
    for operation in operations:

        @settings(max_examples=5, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy() | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))
        def call(case: Any) -> None:  # Any: schemathesis.Case of this operation
            case.call_and_validate(headers={"Authorization": f"Bearer {KEY}"}, checks=CHECKS)

        call()
