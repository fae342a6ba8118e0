"""The stand-in CRMs side by side, each below its name."""

from collections.abc import Sequence

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from app.sandbox.copper import Copper
from app.sandbox.dynamics import Dynamics
from app.sandbox.hubspot import Hubspot
from app.sandbox.pipedrive import Pipedrive
from app.sandbox.salesforce import Salesforce
from app.sandbox.shapes import StandIn


def stand_ins() -> list[StandIn]:
    """A new one of each kind."""
    return [Salesforce(), Pipedrive(), Copper(), Hubspot(), Dynamics()]


def build(served: Sequence[StandIn]) -> Starlette:
    """`GET /` lists their names."""

    async def names(request: Request) -> Response:  # noqa: ARG001 - Starlette's signature
        return Response(orjson.dumps({"crms": [one.name for one in served]}), media_type="application/json")

    return Starlette(routes=[Route("/", names), *(Mount(f"/{one.name}", app=one.app) for one in served)])
