"""GraphQL over HTTP: who may ask, what a request may be, and how its answer is sent.

By the GraphQL-over-HTTP document (https://graphql.github.io/graphql-over-http/draft/, read 2026-11-22): queries by GET
and POST; to clients that accept `application/graphql-response+json` the status says whether the request was executed,
to others, who accept `application/json`, it is 200 for every request that is well-formed. Subscriptions come by
WebSocket (`sockets.py`) or as server-sent events (`streaming.py`), and are executed by `live.py`.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from http import HTTPStatus
from typing import Any, Protocol, cast
from urllib.parse import parse_qsl

import orjson
from graphql import ExecutionResult, GraphQLError, OperationType, execute, get_variable_values
from graphql import create_source_event_stream as source_of
from graphql.execution import Executor
from graphql.execution.values import VariableValues
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send
from strawberry.execution import optimized_is_awaitable
from strawberry.http.ides import get_graphql_ide_html

from app.engine.plan import Plans
from app.errors import AppError, Unavailable
from app.graphql import cost, limits, schema, streaming
from app.graphql.accepting import EVENTS, GRAPHQL, HTML, JSON, preferred
from app.graphql.compiling import Compiler
from app.graphql.context import Context
from app.graphql.documents import Document, Documents, Operation
from app.graphql.errors import Refused, body, refused, shown
from app.graphql.limits import MAX_NESTING, is_shallow, refusal
from app.graphql.live import Bounds, Live, Subscriber
from app.graphql.sockets import Socket
from app.graphql.telling import MAX_COST, Question
from app.graphql.watching import Watch
from app.store.db import FAULTS, Database, is_away

_METHODS = ("GET", "POST")
_TYPES = ("http", "websocket")
_MAX_VARIABLE_FAULTS = 50


@dataclass(frozen=True)
class Asked:
    """A request, as its parameters say."""

    query: str | None
    variables: dict[str, Any]  # Any: JSON
    operation: str | None
    persisted: object
    after: str | None = None
    """The cursor with which a subscriber comes again."""


class Malformed(Exception):
    """What was sent is no request of GraphQL's, whose errors it has not: it is answered with a problem."""

    def __init__(self, detail: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(detail)
        self.status = status


class Problems(Protocol):
    """How the service answers what is wrong."""

    def __call__(self, status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None) -> ASGIApp: ...


class Endpoint:
    """An ASGI app. `database` may be opened later, before the first request.

    `authenticate` is awaited before a request is read, and raises NotAuthenticated or NotAllowed; `refuse` makes the
    answer to those, `problem` to what is no request. The GraphiQL page, which asks for a key itself, is served to
    anybody. `allowed` are the documents of an allow-list by their ids. Unless `compiled`, the resolvers answer
    everything. Raises ListRefused for a document of the list that the schema does not allow.
    """

    def __init__(
        self,
        database: Database,
        plans: Plans,
        authenticate: Callable[[Request], Awaitable[object]],
        refuse: Callable[[AppError], ASGIApp],
        problem: Problems,
        *,
        introspection: bool = True,
        allowed: Mapping[str, str] | None = None,
        compiled: bool = True,
        bounds: Bounds | None = None,
    ) -> None:
        self._database = database
        self._plans = plans
        self._authenticate = authenticate
        self._refuse = refuse
        self._problem = problem
        made = schema.build()
        self._schema = made._schema
        self._compiler = Compiler(made, database)
        plan = self._compiler.plan if compiled else _no_plan
        self._documents = Documents(self._schema, plan, introspection=introspection, allowed=allowed)
        self.bounds = bounds or Bounds()
        self.live = Live(self._schema, database, plans, self.bounds)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await Socket(self, scope, receive, send).serve()
            return
        method = scope["method"]
        accepted = b""
        for name, value in scope["headers"]:
            if name == b"accept":
                accepted = value
        kind = preferred(accepted, is_page=method == "GET" and b"query" not in scope["query_string"])
        try:
            _check(method, kind)
            assert kind is not None
            if kind == HTML:
                await _send(send, 200, f"{HTML}; charset=utf-8", _page())
                return
            key = await self._authenticate(Request(scope))
            is_get = method == "GET"
            asked = _by_get(scope) if is_get else await _by_post(scope, receive)
            if kind == EVENTS:
                await streaming.Stream(self, scope, receive, send).serve(asked, _name(key))
                return
            status, content = await self._answer(asked, is_get=is_get)
        except AppError as fault:
            await self._refuse(fault)(scope, receive, send)
        except Malformed as fault:
            headers = {"Allow": ", ".join(_METHODS)} if fault.status is HTTPStatus.METHOD_NOT_ALLOWED else None
            await self._problem(fault.status, fault.status.name.lower(), str(fault), headers=headers)(
                scope, receive, send
            )
        else:
            await _send(send, status if kind == GRAPHQL else 200, kind, content)

    async def enter(self, scope: Scope, authorization: str) -> object:
        """As `sockets.Serving` has it."""
        headers = [(b"authorization", authorization.encode("latin-1", "replace"))]
        try:
            return _name(await self._authenticate(Request({**scope, "type": "http", "headers": headers})))
        except FAULTS as fault:
            if is_away(fault):
                raise Unavailable("the database cannot be reached just now; try again") from fault
            raise

    async def open(self, asked: Any, key: object) -> Subscriber | bytes:  # Any: JSON, or Asked
        """As `sockets.Serving` has it."""
        try:
            if not isinstance(asked, Asked):
                asked = _of_object(asked)
            document, operation, variables = self._meant(asked)
            if operation.node.operation is not OperationType.SUBSCRIPTION:
                return await self._executed(asked, is_get=False)
            self._check_cost(document, operation, variables, MAX_COST)
            return await self._subscribed(asked, document, operation, key)
        except Malformed as fault:
            raise refused(str(fault)) from None
        except AppError as fault:
            raise Refused([GraphQLError(str(fault), original_error=fault)]) from None
        except GraphQLError as fault:
            raise Refused([fault]) from None

    async def _subscribed(self, asked: Asked, document: Document, operation: Operation, key: object) -> Subscriber:
        """Raises Refused, AppError, GraphQLError."""
        executor = Executor.build(
            self._schema,
            document.ast,
            context_value=Context(self._database, self._plans),
            raw_variable_values=asked.variables,
            operation_name=asked.operation,
        )
        assert isinstance(executor, Executor)
        found = source_of(executor)
        watch = found if isinstance(found, ExecutionResult | Watch) else await cast("Any", found)  # Any: of either
        if isinstance(watch, ExecutionResult):
            raise Refused(watch.errors or [])
        assert isinstance(watch, Watch)
        if asked.after is not None and watch.stream is not None:
            watch = replace(watch, after=asked.after)
        question = Question.of(document.ast, document.text, operation.node, asked.variables)
        return await self.live.subscribe(question, watch, key)

    async def _answer(self, asked: Asked, *, is_get: bool) -> tuple[int, bytes]:
        """The status for those to whom it is told, and the body."""
        try:
            return 200, await self._executed(asked, is_get=is_get)
        except Refused as fault:
            return fault.status, orjson.dumps({"errors": [shown(one) for one in fault.errors]})

    async def _executed(self, asked: Asked, *, is_get: bool) -> bytes:
        """The body of the answer. Raises Refused for what is not executed, Malformed for what could not be."""
        document, operation, variables = self._meant(asked)
        if operation.node.operation is OperationType.SUBSCRIPTION:
            raise refused("subscriptions are sent by WebSocket, or to 'Accept: text/event-stream'", status=406)
        if is_get and operation.node.operation is not OperationType.QUERY:
            raise Malformed("GET is for queries; send this by POST", HTTPStatus.METHOD_NOT_ALLOWED)
        if operation.plan is not None:
            try:
                ready = await self._compiler.answer(operation.plan, variables)
            except AppError as fault:
                return body(None, [_at_root(operation, fault)])
            if ready is not None:
                return ready
        self._check_cost(document, operation, variables)
        result = execute(
            self._schema,
            document.ast,
            context_value=Context(self._database, self._plans),
            variable_values=asked.variables,
            operation_name=asked.operation,
            is_awaitable=cast("Any", optimized_is_awaitable),  # Any: it is no TypeGuard, but decides as one
        )
        if not isinstance(result, ExecutionResult):
            result = await result
        return body(result.data, result.errors or ())

    def _meant(self, asked: Asked) -> tuple[Document, Operation, VariableValues]:
        """Raises Refused, Malformed."""
        if asked.query is None and asked.persisted is None:
            raise Malformed("'query' is missing")
        if not is_shallow(asked.variables, MAX_NESTING):
            raise Refused([refusal(f"variables may be nested at most {MAX_NESTING} deep")])
        document = self._documents.find(asked.query, asked.persisted)
        operation = document.operation(asked.operation)
        return document, operation, self._variables(operation, asked)

    def _check_cost(
        self, document: Document, operation: Operation, variables: VariableValues, most: int = limits.MAX_COST
    ) -> None:
        """Raises Refused."""
        try:
            cost.check(self._schema, operation.node, document.fragments, variables, most)
        except GraphQLError as fault:
            raise Refused([fault]) from None

    def _variables(self, operation: Operation, asked: Asked) -> VariableValues:
        """Raises Refused for values that are not of their types."""
        if not operation.node.variable_definitions:
            return VariableValues({}, {})
        found = get_variable_values(
            self._schema, operation.node.variable_definitions, asked.variables, max_errors=_MAX_VARIABLE_FAULTS
        )
        if isinstance(found, list):
            raise Refused(found)
        return found


def _check(method: str, kind: str | None) -> None:
    """Raises Malformed."""
    if method not in _METHODS:
        raise Malformed(f"send {' or '.join(_METHODS)}", HTTPStatus.METHOD_NOT_ALLOWED)
    if kind is None:
        raise Malformed(f"answers are {GRAPHQL} or {JSON}", HTTPStatus.NOT_ACCEPTABLE)


class Mounted:
    """ASGI middleware: requests to `path` go to `endpoint`, past the routes of the app, and all others to the app."""

    def __init__(self, app: ASGIApp, path: str, endpoint: Endpoint) -> None:
        self._app = app
        self._paths = {path, f"{path}/"}
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_ours = scope["type"] in _TYPES and scope["path"].removeprefix(scope.get("root_path", "")) in self._paths
        await (self._endpoint if is_ours else self._app)(scope, receive, send)


async def _by_post(scope: Scope, receive: Receive) -> Asked:
    """Raises Malformed for a body that is not a request."""
    kind = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    if kind != b"application/json" and not _is_json(kind):
        raise Malformed("send 'Content-Type: application/json'", HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    message = await receive()
    content = message.get("body", b"")
    while message.get("more_body", False):
        message = await receive()
        content += message.get("body", b"")
    asked = _of_object(_read(content, "the body"))
    return replace(asked, after=streaming.resuming(scope))


def _by_get(scope: Scope) -> Asked:
    """Raises Malformed for parameters that are not a request."""
    said: dict[str, Any] = dict(parse_qsl(scope["query_string"].decode(errors="replace"), keep_blank_values=True))
    variables, extensions = (
        _read(said[name].encode(errors="replace"), f"'{name}'") if said.get(name) else {}
        for name in ("variables", "extensions")
    )
    return Asked(
        _text(said, "query"),
        variables,
        said.get("operationName") or None,
        extensions.get("persistedQuery"),
        streaming.resuming(scope),
    )


def _of_object(said: Mapping[str, Any]) -> Asked:  # Any: JSON
    """Raises Malformed."""
    extensions = _object(said, "extensions")
    return Asked(
        _text(said, "query"), _object(said, "variables"), _text(said, "operationName"), extensions.get("persistedQuery")
    )


@lru_cache(64)
def _is_json(kind: bytes) -> bool:
    """Whether a content type is JSON in UTF-8."""
    name, _, parameters = kind.decode("latin-1").lower().partition(";")
    given = [one.strip().partition("=") for one in parameters.split(";")]
    charsets = {value.strip('"') for key, _, value in given if key.startswith("charset")}
    return name.strip() == JSON and charsets <= {"utf-8", "utf8"}


def _name(key: object) -> object:
    """What tells keys apart."""
    return getattr(key, "id", None)


def _read(content: bytes, what: str) -> dict[str, Any]:  # Any: JSON
    try:
        said = orjson.loads(content)
    except orjson.JSONDecodeError as fault:
        raise Malformed(f"{what} is not JSON: {fault}") from None
    if not isinstance(said, dict):
        raise Malformed(f"{what} must be a JSON object, of one operation")
    return said


def _text(said: Mapping[str, Any], name: str) -> str | None:  # Any: JSON
    """Nothing for an empty one."""
    value = said.get(name)
    if value is not None and not isinstance(value, str):
        raise Malformed(f"'{name}' must be a string")
    return value or None


def _object(said: Mapping[str, Any], name: str) -> dict[str, Any]:  # Any: JSON
    value = said.get(name)
    if value is not None and not isinstance(value, dict):
        raise Malformed(f"'{name}' must be an object")
    return value or {}


@cache
def _page() -> bytes:
    return get_graphql_ide_html("graphiql").encode()


def _no_plan(*_: object) -> None:
    """Nothing is compiled."""


def _at_root(operation: Operation, fault: AppError) -> GraphQLError:
    """What kept the whole answer from being read, as an error of its first field."""
    node = operation.node.selection_set.selections[0]
    key = getattr(node, "alias", None) or getattr(node, "name", None)
    return GraphQLError(str(fault), [node], path=None if key is None else [key.value], original_error=fault)


async def _send(send: Send, status: int, kind: str, content: bytes) -> None:
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(content)).encode()), (b"vary", b"accept")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
