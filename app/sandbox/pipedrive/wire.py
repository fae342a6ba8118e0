"""What a call brings and what it is answered: envelopes, errors, the parameters of a query, cursors."""

import base64
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

Json = dict[str, Any]  # Any: JSON

MAX_PAGE = 500
_SEE = "Please check developers.pipedrive.com"
_NUMBER = re.compile(r"-?[0-9]{1,18}")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)", re.ASCII)


class Refused(Exception):
    """The call is answered with an error. `extra` is added to the envelope: `code`, `errorCode`."""

    def __init__(self, status: int, error: str, info: str = _SEE, **extra: object) -> None:
        super().__init__(error)
        self.status = status
        self.body = {"success": False, "error": error, "error_info": info, "data": None, "additional_data": None}
        self.body.update(extra)


def invalid(path: str, what: str) -> Refused:
    """A parameter or a field of the body is not as the schema has it."""
    return Refused(400, f"Validation failed: {path}: {what}", code="ERR_SCHEMA_VALIDATION_FAILED")


def not_found() -> Refused:
    return Refused(404, "Entity was not found", "Object was not found.")


class Caller(NamedTuple):
    """Who calls: a user with an API token, or an app on a user's behalf."""

    user_id: int
    token: str
    client_id: str | None = None
    """Of an app; None: it is the user's own API token."""
    scopes: frozenset[str] = frozenset()


class Author(NamedTuple):
    """Who changed something, as change logs and webhooks tell it."""

    user_id: int
    source: str
    """`api` or `app`, which is what Pipedrive calls its own user interface."""
    agent: str | None = None
    """The User-Agent of an API's caller."""


class Query:
    """The parameters of a query. All of its methods raise Refused (400) for a value that is not as asked."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = given

    def text(self, name: str) -> str | None:
        return self._given.get(name) or None

    def integer(self, name: str, default: int | None = None) -> int | None:
        value = self.text(name)
        if value is None:
            return default
        if not _NUMBER.fullmatch(value):
            raise invalid(name, f"'{value[:50]}' is not a valid integer")
        return int(value)

    def flag(self, name: str) -> bool | None:
        value = self.text(name)
        if value in (None, "true", "1"):
            return None if value is None else True
        if value in ("false", "0"):
            return False
        raise invalid(name, "should be a boolean")

    def choice(self, name: str, known: Iterable[str], default: str) -> str:
        value = self.text(name) or default
        if value not in known:
            raise invalid(name, f"should be one of {', '.join(known)}")
        return value

    def listed(self, name: str, most: int) -> list[str]:
        """The parts of a list with commas; none if it is not given."""
        parts = [part.strip() for part in (self.text(name) or "").split(",") if part.strip()]
        if len(parts) > most:
            raise invalid(name, f"has more than {most} items")
        return parts

    def ids(self, name: str) -> list[int] | None:
        parts = self.listed(name, 100)
        if not all(_NUMBER.fullmatch(part) for part in parts):
            raise invalid(name, "should be a list of integers")
        return [int(part) for part in parts] if self.text(name) is not None else None

    def second(self, name: str) -> int | None:
        """An instant as Unix time. Fractions of a second are refused, as the real API refuses them."""
        value = self.text(name)
        if value is None:
            return None
        try:
            second = int(datetime.fromisoformat(value).timestamp()) if _INSTANT.fullmatch(value) else -1
            if second >= 0:
                return second
        except (ValueError, OverflowError):
            pass
        raise invalid(name, f"'{value[:50]}' is not a valid datetime")

    def limit(self) -> int:
        """How many rows a page of the second version holds."""
        value = self.integer("limit", 100)
        assert value is not None
        if not 1 <= value <= MAX_PAGE:
            raise invalid("limit", f"should be from 1 to {MAX_PAGE}")
        return value

    def offset(self) -> tuple[int, int]:
        """(start, limit) of the first version, which cuts what is too much."""
        start, limit = self.integer("start", 0), self.integer("limit", 100)
        assert start is not None
        assert limit is not None
        if start < 0 or limit < 1:
            raise Refused(400, "Bad pagination parameters")
        return start, min(limit, MAX_PAGE)


class Call(NamedTuple):
    """One call whose caller is known."""

    caller: Caller
    query: Query
    path: Mapping[str, str]
    body: Any  # Any: JSON; None if there is none
    agent: str | None
    base_url: str
    """Where the stand-in is served, without a last `/`."""

    @property
    def author(self) -> Author:
        return Author(self.caller.user_id, "api", self.agent)

    def number(self, name: str = "id") -> int:
        """An id in the path."""
        value = self.path[name]
        if not _NUMBER.fullmatch(value):
            raise invalid(name, f"'{value[:50]}' is not a valid integer")
        return int(value)

    def object(self, known: Iterable[str] = ()) -> Json:
        """The body as an object. With `known`, a key that is not among them is refused."""
        if not isinstance(self.body, dict):
            raise invalid("body", "should be a JSON object")
        if known:
            refuse_unknown(self.body, known)
        return self.body


def refuse_unknown(body: Json, known: Iterable[str], inside: str = "") -> None:
    unknown = sorted(body.keys() - set(known))
    if unknown:
        raise invalid(f"{inside}{unknown[0][:60]}", "is not allowed")


class Reply(NamedTuple):
    body: Json
    status: int = 200


def done(data: object, status: int = 200, **extra: object) -> Reply:
    return Reply({"success": True, "data": data, **extra}, status)


def paged(rows: list[Json], next_cursor: str | None) -> Reply:
    """A page of the second version."""
    return done(rows, additional_data={"next_cursor": next_cursor})


def offset_page(rows: list[Json], start: int, limit: int, **extra: object) -> Reply:
    """A page of the first version. `rows` begin at `start`; one more than `limit` says that there are more."""
    pagination: Json = {"start": start, "limit": limit, "more_items_in_collection": len(rows) > limit}
    if len(rows) > limit:
        pagination["next_start"] = start + limit
    return done(rows[:limit], additional_data={**extra, "pagination": pagination})


def cursor_of(parts: Json) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(parts)).rstrip(b"=").decode()


def parts_of(cursor: str) -> Json:
    """What a cursor says. Raises Refused (400) if it is none of ours."""
    try:
        parts = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError:
        parts = None
    if not isinstance(parts, dict):
        raise invalid("cursor", "is not valid")
    return parts


@lru_cache(maxsize=65_536)
def iso(second: int) -> str:
    """Unix time as the second version tells it."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def plain(second: int) -> str:
    """Unix time as the first version tells it: UTC, with no zone."""
    return iso(second)[:-1].replace("T", " ")


def fine(millis: int) -> str:
    """Unix time in milliseconds, as leads and webhooks tell it."""
    return f"{iso(millis // 1_000)[:-1]}.{millis % 1_000:03}Z"
