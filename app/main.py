"""Root of the web app: builds everything, decides nothing."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from app import connectors, worker
from app.api import (
    bounces,
    cloudevents,
    conditions,
    connecting,
    connections,
    contacts,
    crm_hooks,
    events,
    exports,
    health,
    hygiene,
    jobs,
    mapping,
    measures,
    merging,
    models,
    properties,
    rules,
    scores,
    segments,
    snippet,
    sources,
    suppressions,
    syncing,
    tracking,
    unsubscribe,
    webhooks,
    whatif,
)
from app.api.edge import Edge
from app.api.guard import SCHEMES, needs
from app.api.idempotency import Idempotent
from app.api.json import JsonResponse
from app.api.problems import Problem, answer_to, install, problem
from app.api.services import Services
from app.connectors.http import Http
from app.engine.batching import Batcher
from app.engine.hygiene import SoftPolicy
from app.engine.plan import Plans
from app.graphql import documented, documents, serving
from app.settings import Settings
from app.store.db import Database
from app.store.keys import Scope
from app.store.vault import vault

_PROBLEM = {
    "description": "A problem (RFC 9457)",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_ABOUT = """
Events in, scores out. Send what contacts do to `POST /v1/events`, say what it is worth in `/v1/models`, and read
scores by GraphQL at [`/graphql`](/graphql).

Every call carries an API key: `Authorization: Bearer lt_…`, or the key as the user name of HTTP Basic. Errors are
`application/problem+json` (RFC 9457) with a JSON pointer to each fault.
"""


def build(settings: Settings, url: str, *, with_worker: bool) -> FastAPI:
    """The app on the migrated database at `url`. Connections open when it starts and close when it ends."""
    database = Database(url, settings.pool_size)
    keys = settings.encryption_key
    sealer = vault(None if keys is None else keys.get_secret_value(), settings.data_dir)
    plans = Plans(sealer)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        stop = asyncio.Event()
        policy = SoftPolicy(settings.soft_bounce_limit, settings.soft_bounce_days)
        async with (
            database,
            Batcher(database, plans, policy, settings.ingest_lanes) as batcher,
            Http(private=settings.private_crms) as http,
        ):
            # What was imported lives as long as the process: kept out of the collector's rounds, which else stop
            # everything for a tenth of a second now and then under load.
            gc.collect()
            gc.freeze()
            app.state.services = Services(settings, database, plans, batcher, sealer, http, connectors.providers())
            working = asyncio.create_task(worker.run(database, stop, settings, sealer)) if with_worker else None
            yield
            stop.set()
            await endpoint.live.close()
            if working is not None:
                await working

    app = FastAPI(
        title="Leadtally",
        version="0.1.0",
        description=_ABOUT,
        lifespan=lifespan,
        default_response_class=JsonResponse,
        responses={"default": _PROBLEM},
    )
    for resource in (
        events,
        exports,
        merging,
        contacts,
        hygiene,
        suppressions,
        unsubscribe,
        properties,
        models,
        rules,
        whatif,
        scores,
        segments,
        measures,
        conditions,
        jobs,
        sources,
        webhooks,
        bounces,
        tracking,
        cloudevents,
        snippet,
        connections,
        connecting,
        mapping,
        syncing,
        crm_hooks,
        health,
    ):
        app.include_router(resource.router)
    install(app)
    listed = settings.graphql_operations
    endpoint = serving.Endpoint(
        database,
        plans,
        needs(Scope.READ),
        answer_to,
        problem,
        introspection=settings.graphql_introspection,
        allowed=None if listed is None else documents.manifest(listed),
    )
    app.state.hang_up = endpoint.live.hang_up
    # Innermost: what passes FastAPI's routes costs as much again as a query by id.
    app.add_middleware(serving.Mounted, path="/graphql", endpoint=endpoint)
    app.add_middleware(Idempotent)
    app.add_middleware(Edge)
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]  # FastAPI's own way to extend the document
    return app


def _document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with the shapes that FastAPI does not see: a body read by its endpoint, and problems."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        template = "#/components/schemas/{model}"
        unseen: Any = [(events.EventsIn, "validation"), (Problem, "serialization")]
        _, extra = models_json_schema(unseen, ref_template=template)
        document["components"]["schemas"].update(extra["$defs"])
        document["paths"]["/graphql"] = documented.PATH
        document["components"]["securitySchemes"] = SCHEMES
        document["security"] = [{name: []} for name in SCHEMES]
        app.openapi_schema = document
    return app.openapi_schema
