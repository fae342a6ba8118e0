"""Calls and replies as the REST API has them, its errors, and how it writes ids, instants and dates."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any

import orjson

Json = dict[str, Any]  # Any: JSON
Row = dict[str, Any]
"""A record: field → value as JSON has it. What is null or false is left out. Never changed in place."""

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SUFFIX = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_ID = re.compile(r"[0-9A-Za-z]{15}(?:[0-9A-Za-z]{3})?")
# A calendar date, optionally with a time; the zone may lack its colon.
_INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:?\d\d)")


@dataclass(frozen=True)
class Call:
    """One call of the REST API, after its token was found good."""

    method: str
    parts: tuple[str, ...]
    """The path below `/services/data/vNN.0/`, cut at the slashes, un-escaped: `("sobjects", "Contact")`."""
    version: str
    """`62.0`."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """By name in lower case."""
    body: bytes
    user_id: str

    def url(self, *parts: str) -> str:
        """A path below this version, as replies have them: from the slash before `services` on."""
        return "/".join(("/services/data", f"v{self.version}", *parts))

    def json(self) -> Any:  # Any: JSON
        """The body. Raises Refusal if it is not JSON."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError as fault:
            raise Refusal("JSON_PARSER_ERROR", f"{fault.msg} at [line:{fault.lineno}, column:{fault.colno}]") from None

    def object(self) -> Json:
        """The body, a JSON object. Raises Refusal if it is another thing."""
        body = self.json()
        if not isinstance(body, dict):
            raise Refusal("JSON_PARSER_ERROR", "The HTTP entity body is required, but this request has no entity body.")
        return body


@dataclass(frozen=True)
class Reply:
    status: int = 200
    body: Any = None
    """JSON; bytes are sent as they are; None sends nothing."""
    headers: Mapping[str, str] = field(default_factory=dict)
    rows: int = 0
    """How many records the call was about, for the count of rows per call."""
    afterwards: Callable[[], Awaitable[None]] | None = None
    """Work that goes on while the reply is under way."""


class Refusal(Exception):
    """An error as the API tells it: of a whole call, or of one record among several."""

    def __init__(self, code: str, message: str, *, status: int = 400, fields: Sequence[str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.fields = fields

    def as_call(self) -> Reply:
        error: Json = {"message": self.message, "errorCode": self.code}
        if self.fields is not None:
            error["fields"] = list(self.fields)
        return Reply(self.status, [error])

    def as_row(self) -> Json:
        """One member of `errors`, where every record has its own."""
        return {"statusCode": self.code, "message": self.message, "fields": list(self.fields or ())}

    def as_cell(self) -> str:
        """As in the column `sf__Error` of bulk results."""
        return f"{self.code}:{self.message}:{','.join(self.fields or ())}--"


def not_found(message: str = "The requested resource does not exist") -> Refusal:
    return Refusal("NOT_FOUND", message, status=404)


def make_id(prefix: str, number: int) -> str:
    """The 18 characters of the `number`-th id of this prefix. Later ids sort after earlier ones."""
    digits = []
    for _ in range(7):
        number, digit = divmod(number, 62)
        digits.append(_BASE62[digit])
    return _with_suffix(f"{prefix}S7000{''.join(reversed(digits))}")


def long_id(value: object) -> str | None:
    """The 18 characters of an id given in 15 or 18; None if it is no id."""
    if not isinstance(value, str) or not _ID.fullmatch(value):
        return None
    return _with_suffix(value[:15])


def _with_suffix(short: str) -> str:
    return f"{short}{_cases(short[:5])}{_cases(short[5:10])}{_cases(short[10:])}"


@lru_cache(maxsize=4096)
def _cases(block: str) -> str:
    """Which of five characters are upper case, in one, so that ids hold where case is lost."""
    return _SUFFIX[sum(1 << place for place, letter in enumerate(block) if "A" <= letter <= "Z")]


def stamp(at: datetime) -> str:
    """As the API writes instants, cut to the second: `2026-10-20T10:00:00.000+0000`. These sort as text."""
    at = at.astimezone(UTC)
    return f"{at.year:04}-{at.month:02}-{at.day:02}T{at.hour:02}:{at.minute:02}:{at.second:02}.000+0000"


@lru_cache(maxsize=4096)
def instant(text: str) -> datetime | None:
    """An instant with a zone, in any of the forms that the API takes; None if it is none."""
    match = _INSTANT.fullmatch(text)
    if match is None:
        return None
    day, time, fraction, zone = match.groups()
    try:
        at = datetime.fromisoformat(f"{day}T{time}.{(fraction or '0')[:6]:0<6}{zone}")
        return at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def day(text: str) -> date | None:
    """A calendar date, `2026-10-20`; None if it is none."""
    try:
        return date.fromisoformat(text) if len(text) == 10 else None
    except ValueError:
        return None
