"""Calls of Salesforce's REST API: below one version, their errors read, and what they tell of the org's own limit."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

from app.connectors.faults import Fault, Refused, SignInRefused, Unreachable
from app.connectors.http import Http, Reply, Session
from app.connectors.provider import Setup
from app.connectors.salesforce.access import Access, errors
from app.connectors.salesforce.values import without_data

VERSION = "62.0"
_BASE = f"services/data/v{VERSION}"
Row: TypeAlias = Mapping[str, Any]  # Any: JSON; a record by its fields' names

WRITING = {
    # Shown by change events, so that others know who wrote.
    "Sforce-Call-Options": "client=Leadtally",
    "Sforce-Auto-Assign": "FALSE",
    "Sforce-Duplicate-Rule-Header": "allowSave=true",
}
"""What calls that write carry: no lead is assigned anew for a score, and no duplicate alert stands in the way."""

_MOST_ROWS, _LEAST_ROWS = 2_000, 100
_USAGE = re.compile(r"(?<![\w-])api-usage=(\d+)/(\d+)")
_LATER = {
    "API_CURRENTLY_DISABLED", "QUERY_TIMEOUT", "REQUEST_RUNNING_TOO_LONG", "SERVER_UNAVAILABLE", "UNABLE_TO_LOCK_ROW",
    "UNKNOWN_EXCEPTION",
}  # fmt: skip
_ENABLE_API = (
    "give our user the permission API Enabled, and the app the scope `api`; Professional Edition needs an add-on"
)
_TOO_MANY_PEOPLE = "our user's sharing is too costly to look up; give it the permission View All Data"


class Rows(NamedTuple):
    """What a query found, as far as it was given at once."""

    rows: list[Row]
    is_all: bool
    """Nothing more is there for the query's conditions."""


class TimedOut(Unreachable):
    """A query took too long: one for fewer rows may not."""


class Api:
    """The calls of one connection."""

    def __init__(self, http: Http, setup: Setup) -> None:
        self.access = Access(http, setup)
        self._meter = setup.meter
        # Signing in happens at the setup's address, the API is where the grant says: it moves when an org does.
        self._session = Session(http, replace(setup, base_url=None), self.access)

    async def user(self) -> str | None:
        """The id of the user that we are."""
        return (await self._session.grant()).user

    async def organization(self) -> str | None:
        """The id of the org."""
        return (await self._session.grant()).more.get("organization")

    async def call(
        self,
        method: str,
        path: str,
        *,
        again: bool | None = None,
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,  # Any: JSON
        content: bytes | None = None,
    ) -> Reply:
        """A successful answer. Raises a Fault; Refused has the code of the first error."""
        reply = await self._session.call(
            method, f"{_BASE}/{path}", again=again, params=params, headers=headers, json=json, content=content
        )
        if (usage := _USAGE.search(reply.headers.get("sforce-limit-info", ""))) is not None:
            used, limit = int(usage[1]), int(usage[2])
            self._meter.report(limit, max(limit - used, 0))
        if not reply.is_success:
            raise _fault(reply)
        return reply

    async def json(self, method: str, path: str, **more: Any) -> dict[str, Any]:  # Any: as `call`; JSON
        """The object that a call answers with."""
        said = (await self.call(method, path, **more)).json()
        if not isinstance(said, dict):
            raise Unreachable(f"{method} {path.partition('/')[0]} was answered by what is no object")
        return said

    async def query(self, soql: str, *, with_deleted: bool = False, tooling: bool = False) -> Rows:
        """The first page of what SOQL finds. Its cursors are never used: who wants more asks on from the last row."""
        path = "tooling/query/" if tooling else "queryAll" if with_deleted else "query"
        said = await self.json("GET", path, params={"q": soql})
        rows, is_done = said.get("records"), said.get("done")
        are_records = isinstance(rows, list) and all(isinstance(one, dict) for one in rows)
        if not isinstance(rows, list) or not are_records or not isinstance(is_done, bool):
            raise Unreachable("a query was answered by what holds no records")
        if not rows and not is_done:
            raise Unreachable("a query was answered by an empty page that is not the last")
        return Rows(rows, is_done)

    async def page(self, soql: Callable[[int], str], *, with_deleted: bool = False) -> Rows:
        """A page of a walk: of what `soql` asks for when it is told how many rows at most.

        A page may hold fewer rows than were asked for, and not be the last: two long texts suffice for that. One that
        takes Salesforce too long is asked for again with fewer.
        """
        most = _MOST_ROWS
        while True:
            try:
                found = await self.query(soql(most), with_deleted=with_deleted)
                return Rows(found.rows, found.is_all and len(found.rows) < most)
            except TimedOut:
                if most <= _LEAST_ROWS:
                    raise
                most //= 4


def _fault(reply: Reply) -> Fault:
    found = errors(reply)
    if not found:
        return Unreachable(f"an answer with status {reply.status} was not Salesforce's API's")
    code, message = found[0]
    if code == "INVALID_SESSION_ID":
        return SignInRefused("no_rest_access", "our session may not use the REST API", _ENABLE_API)
    if code in ("API_DISABLED_FOR_ORG", "API_DISABLED"):
        return SignInRefused("api_disabled", "the org or our user may not use the API", _ENABLE_API)
    if code == "QUERY_TIMEOUT":
        return TimedOut("a query took Salesforce too long")
    if code in _LATER:
        return Unreachable(f"Salesforce answered {code}")
    if code == "OPERATION_TOO_LARGE":
        return Refused(code, _TOO_MANY_PEOPLE)
    return Refused(code, without_data(code, message))
