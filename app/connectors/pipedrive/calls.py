"""Calls of Pipedrive's API: paced, patient with short bursts, and their answers read as far as all have in common.

Costs are in tokens, by Pipedrive's table as of August 2026.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

from app import clock
from app.connectors.faults import Busy, Refused, SignInRefused, Unreachable
from app.connectors.http import Http, Reply, Session
from app.connectors.pipedrive import access
from app.connectors.provider import Setup

Json = dict[str, Any]  # Any: whatever JSON can say
Params = Mapping[str, str | int]

PAGE = 500
MISSING_SCOPE = "missing_scope"
_SHORT_S = 5.0
_MARGIN_S = 0.01
"""A sleep may end a little before the clock says so."""
_WAITS = 3
_MOST_PAGES = 1_000
_LONGEST_REASON = 200

# What a message quotes may be somebody's.
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|\S+@\S+")


class Endpoint(NamedTuple):
    """What can be called, what it costs, and the scope that an app needs for it."""

    method: str
    path: str
    cost: int
    scope: str
    is_search: bool = False

    def at(self, id_: str | int) -> "Endpoint":
        return self._replace(path=f"{self.path}/{id_}")


class Rows(NamedTuple):
    """A page of a list, and the cursor of the next one; None on the last."""

    rows: list[Json]
    following: str | None


class Api:
    """One company's API, as one user or app."""

    def __init__(self, http: Http, setup: Setup) -> None:
        self._authority = access.authority(setup, http)
        self._session = Session(http, setup, self._authority)
        # What is kept of a token's user may be older than what was given.
        self._origin = access.origin(setup) or ""
        self.limits = self._authority.limits

    async def scopes(self) -> frozenset[str]:
        """What the app may do, as it was told when somebody signed in; none with an API token."""
        said = (await self._session.grant()).more.get("scope", "")
        return frozenset(part for part in re.split(r"[,\s]+", said) if part)

    async def call(
        self, endpoint: Endpoint, *, params: Params | None = None, json: Json | list[Json] | None = None
    ) -> Reply:
        """The answer: a success, or a refusal that is the caller's to read.

        Raises Refused where a scope is missing, SignInRefused, Later. A short burst is waited for, up to three times.
        """
        for waits in range(_WAITS + 1):
            await self.limits.turn(is_search=endpoint.is_search)
            try:
                reply = await self._session.call(
                    endpoint.method, f"{self._origin}{endpoint.path}", cost=endpoint.cost, params=params, json=json
                )
                break
            except Busy as fault:
                left_s = (fault.until - clock.now()).total_seconds()
                if left_s > _SHORT_S or waits == _WAITS:
                    raise
                await asyncio.sleep(max(left_s, 0) + _MARGIN_S)
        if not endpoint.is_search:
            self.limits.hear_burst(reply)
        _refuse_caller(reply, endpoint)
        return reply

    async def data(
        self, endpoint: Endpoint, *, params: Params | None = None, json: Json | list[Json] | None = None
    ) -> Json:
        """What a call answers that gives one object. Raises Refused, SignInRefused, Later."""
        data = _body(await self.call(endpoint, params=params, json=json)).get("data")
        if not isinstance(data, dict):
            raise Unreachable("an answer held no data")
        return data

    async def rows(self, endpoint: Endpoint, params: Params) -> Rows:
        """A page of a list of the second version. Raises Refused, SignInRefused, Later."""
        return rows_of(_body(await self.call(endpoint, params=params)))

    async def every(self, endpoint: Endpoint, params: Params) -> AsyncIterator[Json]:
        """All rows of a list of the second version. Raises as `rows` does."""
        page = await self.rows(endpoint, params)
        for _ in range(_MOST_PAGES):
            for row in page.rows:
                yield row
            if page.following is None:
                return
            page = await self.rows(endpoint, {**params, "cursor": page.following})
        raise Unreachable(f"a list has no end: {endpoint.path}")


def _refuse_caller(reply: Reply, endpoint: Endpoint) -> None:
    """Where it is not about this call alone, but about who calls."""
    if reply.status == 401:
        raise SignInRefused(
            "unauthorized",
            "Pipedrive refuses the API token",
            "copy it anew from Pipedrive: Personal preferences, API; a permission set may have switched API use off",
        )
    if reply.status == 402:
        raise SignInRefused("account_closed", "the company's account is closed or not paid", "see to it in Pipedrive")
    if reply.status == 403 and "scope" in str(_json(reply).get("error")).lower():
        raise Refused(MISSING_SCOPE, f"the app needs the scope {endpoint.scope}, in Pipedrive's Developer Hub")


def _json(reply: Reply) -> Json:
    said = reply.json()
    if not isinstance(said, dict):
        raise Unreachable(f"an answer with status {reply.status} was no object")
    return said


def _body(reply: Reply) -> Json:
    """Of a success. Raises Refused, Unreachable."""
    said = _json(reply)
    if not reply.is_success:
        raise refused(reply)
    if said.get("success") is not True:
        raise Unreachable("an answer said neither success nor failure")
    return said


def rows_of(body: Json) -> Rows:
    data, additional = body.get("data"), body.get("additional_data")
    # A search holds its rows one level deeper; an empty list may be null.
    rows = data.get("items") if isinstance(data, dict) else data
    if not isinstance(rows, list | None):
        raise Unreachable("a list was none")
    following = additional.get("next_cursor") if isinstance(additional, dict) else None
    return Rows([row for row in rows or () if isinstance(row, dict)], following if isinstance(following, str) else None)


def person_of(reply: Reply) -> Json:
    """Of a call that was a success. Raises Unreachable."""
    data = _json(reply).get("data")
    if not isinstance(data, dict) or "id" not in data:
        raise Unreachable("an answer held no person")
    return data


def refused(reply: Reply) -> Refused:
    """Why, without what the message quotes. Raises Unreachable for an answer that is not of the API."""
    said = _json(reply)
    code = said.get("code") or said.get("errorCode")
    return Refused(str(code or f"http_{reply.status}")[:80], _QUOTED.sub("…", message(said))[:_LONGEST_REASON])


def message(said: Json) -> str:
    """What Pipedrive says is wrong, which may quote what was sent."""
    return next((str(said[name]) for name in ("error", "message", "errors", "error_info") if said.get(name)), "unsaid")
