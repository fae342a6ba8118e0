"""What a call brings and what it is answered: errors, the parameters of a query, instants."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from starlette.datastructures import QueryParams

Json = dict[str, Any]  # Any: JSON

MAX_PAGE = 100
MAX_SEARCH_PAGE = 200
MAX_BATCH = 100
_NUMBER = re.compile(r"[0-9]{1,18}")


class Refused(Exception):
    """The call is answered with an error. `correlationId` is added where it is answered."""

    def __init__(self, status: int, message: str, category: str | None = "VALIDATION_ERROR", **more: Any) -> None:
        """`more` is added to the body as it is: `errors`, `context`, `links`, `subCategory`. Any: JSON."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.category = category
        self.more = more
        self.headers: dict[str, str] = {}

    def body(self, correlation_id: str) -> Json:
        said = {"status": "error", "message": self.message, "correlationId": correlation_id, **self.more}
        return said if self.category is None else {**said, "category": self.category}


def invalid(message: str, **more: Any) -> Refused:  # Any: JSON
    return Refused(400, message, **more)


def not_json(what: str) -> Refused:
    """The body is not as the schema has it."""
    return invalid(f"Invalid input JSON on line 1, column 1: {what}")


def not_found() -> Refused:
    return Refused(404, "resource not found", "OBJECT_NOT_FOUND")


class Caller(NamedTuple):
    """An app that calls."""

    app_id: int
    token: str
    scopes: frozenset[str]
    is_private: bool


class Query:
    """The parameters of a query. All of its methods raise Refused (400) for a value that is not as asked."""

    def __init__(self, given: QueryParams) -> None:
        self._given = given

    def text(self, name: str) -> str | None:
        return self._given.get(name) or None

    def listed(self, name: str) -> list[str]:
        """What is given several times, or with commas, as the two official clients do."""
        return [part.strip() for value in self._given.getlist(name) for part in value.split(",") if part.strip()]

    def integer(self, name: str, default: int) -> int:
        value = self.text(name)
        if value is None:
            return default
        if not _NUMBER.fullmatch(value):
            raise invalid(f"Unable to parse value for {name}: it is not a number", context={name: [value[:50]]})
        return int(value)

    def flag(self, name: str) -> bool:
        value = self.text(name)
        if value not in (None, "true", "false"):
            raise invalid(f"Unable to parse value for {name}: it is not a boolean")
        return value == "true"

    def limit(self, default: int, most: int) -> int:
        value = self.integer("limit", default)
        if not 1 <= value <= most:
            raise invalid(f"limit must be between 1 and {most}")
        return value


class Call(NamedTuple):
    """One call whose caller is known."""

    caller: Caller
    query: Query
    path: Mapping[str, str]
    body: Any  # Any: JSON; None if there is none
    length: int
    """Of the body, in characters."""
    base_url: str
    """Where the stand-in is served, without a last `/`."""
    url_path: str

    def object(self, known: Iterable[str] = ()) -> Json:
        """The body as an object. With `known`, a key that is not among them is refused."""
        return as_object(self.body, known)

    def inputs(self, most: int = MAX_BATCH, known: Iterable[str] = ("inputs",)) -> list[Any]:  # Any: JSON
        """What a batch holds."""
        given = self.object(known).get("inputs")
        if not isinstance(given, list):
            raise not_json("some of required attributes are not set [inputs]")
        if len(given) > most:
            raise invalid(f"The maximum number of inputs supported in a batch request is {most}")
        return given


class Reply(NamedTuple):
    body: Json | None
    status: int = 200
    rows: int = 0
    """How many records it holds."""


def as_object(value: object, known: Iterable[str] = ()) -> Json:
    if not isinstance(value, dict):
        raise not_json("Cannot deserialize value of an object")
    unknown = sorted(value.keys() - set(known)) if known else []
    if unknown:
        raise not_json(f"Unrecognized field '{unknown[0][:60]}'")
    return value


def text_of(body: Json, name: str) -> str:
    """A text that must be there."""
    value = body.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value:
        raise not_json(f"some of required attributes are not set [{name}]")
    return value


def texts_of(body: Json, name: str) -> list[str]:
    """A list of texts that may be left out."""
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise not_json(f"Cannot deserialize value of '{name}'")
    return value


def number_of(text: object) -> int | None:
    """An id as a number; None if it cannot be one."""
    return int(text) if isinstance(text, str) and _NUMBER.fullmatch(text) else None


@lru_cache(maxsize=65_536)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def iso(millis: int) -> str:
    """Unix time in milliseconds, as answers tell it."""
    return f"{_second(millis // 1_000)}.{millis % 1_000:03}Z"


def millis_of(text: str) -> int | None:
    """An instant, in epoch milliseconds or ISO 8601; a day is its midnight in UTC. None if it is neither."""
    if re.fullmatch(r"-?[0-9]{1,15}", text):
        return int(text)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    # Not by timestamp(), whose fraction may fall a millisecond short.
    since = at.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return since.days * 86_400_000 + since.seconds * 1_000 + since.microseconds // 1_000
