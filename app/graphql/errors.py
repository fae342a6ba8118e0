"""How errors look to clients, and which of them are ours to log."""

from collections.abc import Sequence
from typing import Any

import orjson
import structlog
from graphql import GraphQLError

from app.errors import AppError, InvalidInput

INVALID_QUERY = "invalid_query"
INTERNAL = "internal_error"
_log = structlog.get_logger()


class Refused(Exception):
    """A request that is not executed. `status` is told to clients to whom statuses are told."""

    def __init__(self, errors: Sequence[GraphQLError], status: int = 400) -> None:
        super().__init__(errors)
        self.errors = errors
        self.status = status


def refused(sentence: str, code: str = InvalidInput.code, status: int = 400) -> Refused:
    return Refused([GraphQLError(sentence, extensions={"code": code})], status)


def shown(error: GraphQLError) -> dict[str, Any]:  # Any: JSON
    """As the GraphQL specification has it, with a stable `code` for programs."""
    cause = _cause(error)
    said: dict[str, Any] = dict(error.formatted)
    if cause is None:
        said["extensions"] = {"code": INVALID_QUERY, **(error.extensions or {})}
    elif isinstance(cause, AppError):
        said["message"] = str(cause)
        said["extensions"] = {"code": cause.code}
        if isinstance(cause, InvalidInput):
            faults = [{"pointer": fault.pointer, "detail": fault.detail} for fault in cause.faults]
            said["extensions"]["faults"] = faults
    else:
        said["message"] = "internal error"
        said["extensions"] = {"code": INTERNAL}
    return said


def body(data: object, errors: Sequence[GraphQLError] = ()) -> bytes:
    """An answer, as JSON; what went wrong here is logged."""
    answer: dict[str, object] = {"data": data}
    if errors:
        report(errors)
        answer["errors"] = [shown(one) for one in errors]
    return orjson.dumps(answer)


def report(errors: Sequence[GraphQLError]) -> None:
    """Log what went wrong here, each exception once: a loader's reaches every field that waited for it."""
    ours = {id(cause): (cause, error) for error in errors if (cause := _cause(error)) is not None}
    for cause, error in ours.values():
        if not isinstance(cause, AppError):
            _log.error("unexpected error in GraphQL", path=error.path, exc_info=cause)


def _cause(error: GraphQLError) -> Exception | None:
    """The exception behind an error; None for what graphql-core itself refuses."""
    cause: Exception | None = error
    while isinstance(cause, GraphQLError):
        cause = cause.original_error
    return cause
