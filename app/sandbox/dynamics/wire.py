"""Calls and replies as the Web API has them, its errors, and how it writes ids and instants.

Source: Microsoft Learn, "Compose HTTP requests and handle errors".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl

import orjson

if TYPE_CHECKING:
    from app.sandbox.dynamics.writing import Transaction

Json = dict[str, Any]  # Any: JSON
Row = dict[str, Any]
"""A row: logical name → value as JSON has it, lookups as Ref. What is null is left out. Never changed in place."""

QUERY_FAULT = "0x80060888"
"""A query or an address that cannot be understood. More than one thing is told by this code."""
PAYLOAD_FAULT = "0x80048d19"
INVALID = "0x80044331"
NO_PRIVILEGE = "0x80040220"
NO_SUCH_ROW = "0x80040217"
_GUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)(:\d\d)?(?:\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)


class Ref(NamedTuple):
    """A lookup's value."""

    table: str
    """Its logical name."""
    id: str


@dataclass(frozen=True)
class Call:
    """One call of the Web API, after its token was found good."""

    method: str
    path: str
    """Below the service root, still escaped: `contacts(49b0be2e-…)`."""
    raw_query: str
    headers: Mapping[str, str]
    """By name in lower case."""
    body: bytes
    root: str
    """The service root, with a last slash: `https://acme.crm4.dynamics.com/api/data/v9.2/`."""
    user_id: str
    transaction: "Transaction | None" = None
    """Of the change set that the call is part of."""

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.raw_query, keep_blank_values=True))

    def prefers(self, name: str) -> str | None:
        """The value of a preference, `""` if it has none; None if it is not stated."""
        for one in _preferences(self.headers.get("prefer", "")):
            own, _, value = one.partition("=")
            if own.strip().lower() == name:
                return value.strip().strip('"')
        return None

    def object(self) -> Json:
        """The body, a JSON object. Raises Refusal if it is another thing."""
        try:
            body = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            raise payload_fault("A valid JSON object was expected.") from None
        if not isinstance(body, dict):
            raise payload_fault("A valid JSON object was expected.")
        return body

    def within(self, transaction: "Transaction") -> "Call":
        return replace(self, transaction=transaction)


@dataclass(frozen=True)
class Reply:
    status: int = 200
    body: Any = None
    """JSON; bytes are sent as they are; None sends nothing."""
    headers: Mapping[str, str] = field(default_factory=dict)
    rows: int = 0
    """How many rows the call was about."""


class Refusal(Exception):
    """An error as the API tells it."""

    def __init__(self, code: str, message: str, status: int = 400, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.headers = headers or {}

    def reply(self, *, is_detailed: bool = False) -> Reply:
        """With `is_detailed`, what a client gets that asked for all annotations."""
        error: Json = {"code": self.code, "message": self.message}
        if is_detailed:
            error["@Microsoft.PowerApps.CDS.ErrorDetails.OperationStatus"] = "0"
            error["@Microsoft.PowerApps.CDS.HelpLink"] = (
                f"http://go.microsoft.com/fwlink/?LinkID=398563&error={self.code}"
            )
            error["@Microsoft.PowerApps.CDS.TraceText"] = ""
            error["@Microsoft.PowerApps.CDS.InnerError.Message"] = self.message
        return Reply(self.status, {"error": error}, self.headers)


def query_fault(message: str, status: int = 400) -> Refusal:
    return Refusal(QUERY_FAULT, message, status)


def payload_fault(what: str) -> Refusal:
    return Refusal(PAYLOAD_FAULT, f"Error identified in Payload provided by the user ----> InnerException : {what}")


def no_segment(name: str) -> Refusal:
    return query_fault(f"Resource not found for the segment '{name}'.", 404)


def no_property(name: str, type_: str) -> Refusal:
    return query_fault(f"Could not find a property named '{name}' on type 'Microsoft.Dynamics.CRM.{type_}'.")


def no_row(table: str, id_: str, code: str = NO_SUCH_ROW) -> Refusal:
    return Refusal(code, f"{table} With Id = {id_} Does Not Exist", 404)


def no_privilege(user_id: str, privilege: str, table: str) -> Refusal:
    return Refusal(
        NO_PRIVILEGE,
        f"Principal user (Id={user_id}, type=8, roleCount=1, privilegeCount=42) is missing {privilege} privilege on "
        f"OTC=2 for entity '{table}'.",
        403,
    )


def guid(value: object) -> str | None:
    """A bare id in lower case; None if it is none."""
    if not isinstance(value, str) or not _GUID.fullmatch(value.lower()):
        return None
    return value.lower()


def make_id(number: int, kind: int) -> str:
    """The `number`-th id of a table; later ids sort after earlier ones."""
    return f"{number * 0x97 + 0x60C4E274 & 0xFFFFFFFF:08x}-{kind & 0xFFFF:04x}-f011-8c4e-000d3a{0x57_24_21 + kind:06x}"


def stamp(at: datetime) -> str:
    """As the API writes instants, cut to the second: `2026-10-20T10:00:00Z`. These sort as text."""
    at = at.astimezone(UTC)
    return f"{at.year:04}-{at.month:02}-{at.day:02}T{at.hour:02}:{at.minute:02}:{at.second:02}Z"


@lru_cache(maxsize=4096)
def instant(text: str) -> str | None:
    """An instant with a zone as `stamp` writes it; None if it is none."""
    match = _INSTANT.fullmatch(text)
    if match is None:
        return None
    day_, minute, second, zone = match.groups()
    try:
        return stamp(datetime.fromisoformat(f"{day_}T{minute}{second or ':00'}{zone.replace('Z', '+00:00')}"))
    except (ValueError, OverflowError):
        return None


def day(text: str) -> str | None:
    """A calendar date, `2026-10-20`; None if it is none."""
    try:
        return date.fromisoformat(text).isoformat() if len(text) == 10 else None
    except ValueError:
        return None


def _preferences(text: str) -> list[str]:
    """What is between the commas, but for commas inside of quotes."""
    return re.findall(r'(?:[^,"]|"[^"]*")+', text)
