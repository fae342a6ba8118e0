"""Calls of Copper's API: paced, and their answers read as far as all have in common.

Lists are searches by POST, answered with a bare array; how many rows there are stands in a header. Everything that is
no answer of the API, such as a gateway's page, is none. Source: Copper's developer documentation, August 2026, and
errors that others recorded of the live API.
"""

import re
from typing import Any, NamedTuple, TypeGuard

from app.connectors.copper import access, limits
from app.connectors.copper.limits import Limits
from app.connectors.faults import Refused, SignInRefused, Unreachable
from app.connectors.http import Http, Reply, Session
from app.connectors.provider import Setup

Json = dict[str, Any]  # Any: whatever JSON can say

PAGE = 200
"""Rows on a page, at most."""
REACH = 100_000
"""Rows of a search that can be read, on whatever pages."""
_LONGEST_REASON = 200
_LONGEST_NUMBER = 16

# What a message quotes may be somebody's.
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|\S*@\S*|\+?\d[\d ()./-]{5,}")
_PREFIX = re.compile(r"^\s*(invalid input:)?\s*(validation errors:)?\s*", re.IGNORECASE)


class Endpoint(NamedTuple):
    """What can be called."""

    method: str
    path: str
    is_read: bool = True
    """Whether it may be repeated although it is a POST: it changes nothing, or says the same again."""
    is_bulk: bool = False

    def at(self, id_: str | int) -> "Endpoint":
        return self._replace(path=f"{self.path}/{id_}")


class Rows(NamedTuple):
    """A page of a search."""

    rows: list[Json]
    total: int
    """How many there are on all pages, at most; where that is not said, as many as can be read."""


class Api:
    """One account's API, as one user."""

    def __init__(self, http: Http, setup: Setup) -> None:
        self._session = Session(http, setup, access.authority(setup))
        self._base = access.api(setup)
        self._limits = Limits(setup.choices)
        self._choices = setup.choices

    @property
    def page_size(self) -> int:
        """Rows to ask for at once: 200, or fewer where the connection's choices say so."""
        said: int = self._choices.get("page_size", PAGE)
        return said

    async def call(self, endpoint: Endpoint, json: Json | None = None) -> Reply:
        """The answer: a success, or a refusal that is the caller's to read. Raises SignInRefused, Later."""
        await self._limits.turn(is_bulk=endpoint.is_bulk)
        again = None if endpoint.method != "POST" else endpoint.is_read
        reply = await self._session.call(endpoint.method, f"{self._base}{endpoint.path}", again=again, json=json)
        if limits.is_page(reply):
            raise Unreachable(f"a gateway answered {reply.status} in place of Copper")
        if reply.status == 401:
            raise SignInRefused(
                "unauthorized",
                "Copper refuses the API key",
                "see that the key and the address of the user who made it are right: Settings, Integrations, API keys",
            )
        return reply

    async def one(self, endpoint: Endpoint, json: Json | None = None) -> Json:
        """What a call answers that gives one object. Raises Refused, SignInRefused, Later."""
        said = _success(await self.call(endpoint, json))
        if not isinstance(said, dict):
            raise Unreachable("an answer was no object")
        return said

    async def every(self, endpoint: Endpoint) -> list[Json]:
        """What a call answers that gives a list without pages. Raises as `one` does."""
        return rows_of(_success(await self.call(endpoint)))

    async def search(self, endpoint: Endpoint, asked: Json) -> Rows:
        """A page. Raises as `one` does."""
        reply = await self.call(endpoint, asked)
        rows, total = rows_of(_success(reply)), reply.headers.get("x-pw-total", "").strip()
        is_said = total.isascii() and total.isdigit() and len(total) < _LONGEST_NUMBER
        return Rows(rows, int(total) if is_said else REACH)


def _success(reply: Reply) -> Any:  # Any: JSON
    if not reply.is_success:
        raise refused(reply)
    return reply.json()


def rows_of(said: Any) -> list[Json]:  # Any: JSON
    """Raises Unreachable if it is no list of objects."""
    if not isinstance(said, list) or not all(isinstance(row, dict) for row in said):
        raise Unreachable("a list was none")
    return said


def record_of(reply: Reply) -> Json:
    """Of a call that was a success. Raises Unreachable."""
    said = reply.json()
    if not isinstance(said, dict) or not is_id(said.get("id")):
        raise Unreachable("an answer held no record")
    return said


def is_id(said: object) -> TypeGuard[int]:
    return isinstance(said, int) and not isinstance(said, bool)


def refused(reply: Reply) -> Refused:
    """Why, without what the message quotes. Raises Unreachable for an answer that is not of the API."""
    said = reply.json()
    if not isinstance(said, dict):
        raise Unreachable(f"an answer with status {reply.status} was no object")
    return Refused(f"http_{reply.status}", reason(said.get("message") or said.get("error")))


def reason(message: object) -> str:
    """What Copper says is wrong: of each line the attribute and the complaint, for what follows is what was sent."""
    if isinstance(message, dict):
        short = [f"{name}: {_complaint(said)}" for name, said in message.items()]
    else:
        short = [": ".join(line.split(": ")[:2]) for line in _PREFIX.sub("", str(message or "unsaid")).splitlines()]
    return _QUOTED.sub("…", "; ".join(short))[:_LONGEST_REASON]


def _complaint(said: object) -> str:
    first = said[0] if isinstance(said, list) and said else said
    return str(first.get("error")) if isinstance(first, dict) else str(first)


def attributes(message: object) -> set[str]:
    """The attributes that a message complains of, as calls name them: `emails`, `contact_type_id`. A bulk call has an
    object of them, any other lines of text."""
    if isinstance(message, dict):
        return {str(name) for name in message}
    lines = _PREFIX.sub("", str(message or "")).splitlines()
    return {line.split(":")[0].strip().lower().replace(" ", "_") for line in lines if ":" in line}
