"""GraphQL over HTTP: who may ask, what a request's body may be, and how errors look."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
import structlog
from cross_web import AsyncHTTPRequestAdapter, HTTPException, StarletteRequestAdapter
from fastapi import APIRouter, Request
from graphql import GraphQLError
from strawberry.fastapi import GraphQLRouter
from strawberry.http import GraphQLHTTPResponse, GraphQLRequestData
from strawberry.types import ExecutionResult

from app.engine.plan import Plans
from app.errors import AppError, Fault, InvalidInput
from app.graphql import schema
from app.graphql.context import Context
from app.store.db import Database

_log = structlog.get_logger()

INVALID_QUERY = "invalid_query"
INTERNAL = "internal_error"


def build(database: Database, plans: Plans, authenticate: Callable[[Request], Awaitable[object]]) -> APIRouter:
    """The router, to be mounted under a prefix. `database` may be opened later, before the first request.

    `authenticate` is awaited before anything else of an operation, and raises NotAuthenticated or NotAllowed. The
    GraphiQL page, which asks for a key itself, is served to anybody.
    """

    async def context(request: Request) -> Context:
        if not router.should_render_graphql_ide(StarletteRequestAdapter(request)):
            await authenticate(request)
        return Context(database, plans)

    router = _Router(schema.build(), context_getter=context, subscription_protocols=(), tags=["GraphQL"])
    # There is nothing to subscribe to, and a socket would be a second door to guard.
    router.routes[:] = [route for route in router.routes if getattr(route, "methods", None)]
    return router


class _Router(GraphQLRouter[Context, None]):
    def decode_json(self, data: str | bytes) -> object:
        """The body, or a GET request's `variables` or `extensions`: an object. Raises InvalidInput."""
        try:
            said = orjson.loads(data)
        except orjson.JSONDecodeError as fault:
            raise InvalidInput(Fault("", f"not JSON: {fault}")) from None
        if said is not None and not isinstance(said, dict):
            raise InvalidInput(Fault("", "expected a JSON object"))
        return said or {}

    def encode_json(self, data: object) -> bytes:
        return orjson.dumps(data)

    async def parse_http_body(self, request: AsyncHTTPRequestAdapter) -> GraphQLRequestData | list[GraphQLRequestData]:
        try:
            return await super().parse_http_body(request)
        except HTTPException as fault:
            raise InvalidInput(Fault("", fault.reason)) from None

    async def execute_operation(self, *given: Any, **named: Any) -> Any:  # Any: passed on as they are
        """Raises InvalidInput where there is nothing to execute: no query, or not one operation of the name given."""
        try:
            return await super().execute_operation(*given, **named)
        except HTTPException as fault:
            raise InvalidInput(Fault("", fault.reason)) from None

    async def process_result(self, request: Request, result: ExecutionResult) -> GraphQLHTTPResponse:  # noqa: ARG002
        answer: GraphQLHTTPResponse = {"data": result.data}
        if result.errors:
            _report(result.errors)
            answer["errors"] = [_shown(error) for error in result.errors]
        return answer


def _cause(error: GraphQLError) -> Exception | None:
    """The exception behind an error; None for what graphql-core itself refuses."""
    cause: Exception | None = error
    while isinstance(cause, GraphQLError):
        cause = cause.original_error
    return cause


def _report(errors: list[GraphQLError]) -> None:
    """Log what went wrong here, each exception once: a loader's reaches every field that waited for it."""
    ours = {id(cause): (cause, error) for error in errors if (cause := _cause(error)) is not None}
    for cause, error in ours.values():
        if not isinstance(cause, AppError):
            _log.error("unexpected error in GraphQL", path=error.path, exc_info=cause)


def _shown(error: GraphQLError) -> Mapping[str, Any]:  # Any: JSON
    """As the GraphQL specification has it, with a stable `code` for programs."""
    cause = _cause(error)
    shown: dict[str, Any] = dict(error.formatted)
    if cause is None:
        shown["extensions"] = {"code": INVALID_QUERY, **(error.extensions or {})}
    elif isinstance(cause, AppError):
        shown["message"] = str(cause)
        shown["extensions"] = {"code": cause.code}
        if isinstance(cause, InvalidInput):
            faults = [{"pointer": fault.pointer, "detail": fault.detail} for fault in cause.faults]
            shown["extensions"]["faults"] = faults
    else:
        shown["message"] = "internal error"
        shown["extensions"] = {"code": INTERNAL}
    return shown
