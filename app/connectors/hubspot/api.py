"""Calls of HubSpot's API: paced, patient with short bursts, and their answers read as far as all have in common.

Newer documents name versions by their date, as `/crm/objects/2026-03/contacts`; the paths here are those that HubSpot's
own clients speak. A call costs one request, whatever it holds; what tells of tokens costs none.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from app import clock
from app.connectors.faults import Busy, Refused, Unreachable
from app.connectors.http import Http, Reply, Session
from app.connectors.hubspot import access
from app.connectors.hubspot.access import Who
from app.connectors.provider import Setup

Json = dict[str, Any]  # Any: whatever JSON can say
Item = TypeVar("Item")

OBJECTS = "crm/v3/objects"
CONTACTS = f"{OBJECTS}/contacts"
PROPERTIES = "crm/v3/properties/contacts"
PREFERENCES = "communication-preferences"

MISSING_SCOPE = "missing_scope"
LOCKED = 423
_IN_PASSING = (408, 425, LOCKED)
MOST = 100
"""Records in a batch, or on a page of a list."""
_SHORT_S = 5.0
_MARGIN_S = 0.01
"""A sleep may end a little before the clock says so."""
_WAITS = 3

# What a message quotes may be somebody's; so may be all that follows a colon.
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|\S*@\S*")
_LONGEST_REASON = 160


class Problem(NamedTuple):
    """What an answer says is wrong, or one of the errors of a batch."""

    code: str
    reason: str
    """Without what the message quotes."""
    fields: tuple[str, ...] = ()
    """The properties that it names."""

    @property
    def fault(self) -> Refused:
        return Refused(self.code, self.reason)


class Errors(NamedTuple):
    """An error of a batch, and the ids that it is about."""

    ids: tuple[str, ...]
    problem: Problem


class Batch(NamedTuple):
    """What a call for many records brought."""

    rows: list[Json]
    errors: list[Errors]


class Api:
    """One account's API, as one app."""

    def __init__(self, http: Http, setup: Setup) -> None:
        self._authority = access.authority(setup, http)
        self._session = Session(http, setup, self._authority)
        # What is kept of a token's account may be older than what was given.
        self._origin = access.origin(setup)
        self.limits = self._authority.limits

    async def who(self) -> Who:
        return access.who(await self._session.grant())

    async def call(
        self,
        method: str,
        path: str,
        *,
        again: bool = False,
        is_search: bool = False,
        takes_locks: bool = False,
        params: Mapping[str, str | int] | None = None,
        json: Json | None = None,
    ) -> Reply:
        """The answer: a success, or a refusal that is the caller's to read. `again`: repeating it changes nothing.
        `takes_locks`: that something is locked is the caller's to read, too.

        Raises Refused where a scope is missing, SignInRefused, Later. A short burst is waited for, up to three times.
        """
        for waits in range(_WAITS + 1):
            await self.limits.turn(is_search=is_search)
            try:
                reply = await self._session.call(
                    method, f"{self._origin}/{path}", again=again or method == "GET", params=params, json=json
                )
                break
            except Busy as fault:
                left_s = (fault.until - clock.now()).total_seconds()
                if left_s > _SHORT_S or waits == _WAITS:
                    raise
                await asyncio.sleep(max(left_s, 0) + _MARGIN_S)
        if reply.status == 401:
            raise access.unauthorized()
        if reply.status == 403:
            raise _forbidden(reply)
        if reply.status in _IN_PASSING and not (takes_locks and reply.status == LOCKED):
            raise Unreachable(f"HubSpot answered {reply.status}")
        return reply

    async def json(self, method: str, path: str, **more: Any) -> Json:  # Any: as `call`
        """The object of a success. Raises Refused, SignInRefused, Later."""
        reply = await self.call(method, path, **more)
        if not reply.is_success:
            raise problem(reply).fault
        return as_object(reply)

    async def batch(self, path: str, inputs: Sequence[Json], **more: Any) -> Batch:  # Any: JSON
        """What a call for many brings that changes nothing. Raises as `json` does."""
        reply = await self.call("POST", path, again=True, json={"inputs": list(inputs), **more})
        if not reply.is_success:
            raise problem(reply).fault
        return batch_of(reply)

    async def search(self, type_: str, said: Json) -> tuple[list[Json], bool]:
        """The first page of what is found, and whether there is more. Raises as `json` does."""
        found = await self.json("POST", f"{OBJECTS}/{type_}/search", again=True, is_search=True, json=said)
        total = found.get("total")
        if not isinstance(total, int):
            raise Unreachable("a search did not say how many there are")
        rows = rows_of(found)
        return rows, total > len(rows)

    async def page(self, params: Mapping[str, str | int]) -> tuple[list[Json], str | None]:
        """A page of the list of all contacts, and where the next one begins. Raises as `json` does."""
        found = await self.json("GET", CONTACTS, params=params)
        paging = found.get("paging")
        following = paging.get("next") if isinstance(paging, dict) else None
        after = following.get("after") if isinstance(following, dict) else None
        return rows_of(found), None if after is None else str(after)


def as_object(reply: Reply) -> Json:
    said = reply.json()
    if not isinstance(said, dict):
        raise Unreachable(f"an answer with status {reply.status} was no object")
    return said


def rows_of(said: Json) -> list[Json]:
    """Records, each with its id and its properties. Raises Unreachable."""
    rows = said.get("results")
    if not isinstance(rows, list) or not all(_is_record(row) for row in rows):
        raise Unreachable("an answer held no records")
    return rows


def _is_record(row: object) -> bool:
    return isinstance(row, dict) and isinstance(row.get("id"), str) and isinstance(row.get("properties"), dict)


def batch_of(reply: Reply) -> Batch:
    """Of a success. Raises Unreachable."""
    said = as_object(reply)
    if said.get("status") != "COMPLETE":
        raise Unreachable("a call for many did not come to its end")
    return Batch(rows_of(said), errors_of(said))


def errors_of(said: Json) -> list[Errors]:
    """Those of a batch of which a part failed."""
    given = said.get("errors")
    found = []
    for one in given if isinstance(given, list) else ():
        context = one.get("context") if isinstance(one, dict) else None
        ids = context.get("ids") if isinstance(context, dict) else None
        found.append(Errors(tuple(map(str, ids)) if isinstance(ids, list) else (), _problem(one, "unsaid")))
    return found


def problem(reply: Reply) -> Problem:
    """Why a call was refused. Raises Unreachable for an answer that is not of the API."""
    return _problem(as_object(reply), f"http_{reply.status}")


def _problem(said: Any, default: str) -> Problem:  # Any: JSON
    """The first of its errors tells the code; all of them, which properties are meant."""
    said = said if isinstance(said, dict) else {}
    given = said.get("errors")
    errors = [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
    codes = [str(one["code"]) for one in errors if one.get("code")]
    names = dict.fromkeys(name for one in (said, *errors) for name in _named(one))
    code = next(iter(codes), None) or said.get("category") or said.get("errorType") or default
    words = _QUOTED.sub("…", str(said.get("message") or "unsaid").partition(":")[0])
    return Problem(str(code)[:80], words[:_LONGEST_REASON], tuple(names))


def _named(said: Json) -> list[str]:
    context = said.get("context")
    names = context.get("propertyName") if isinstance(context, dict) else None
    return [str(one) for one in names] if isinstance(names, list) else []


def _forbidden(reply: Reply) -> Refused:
    """Which scope, if HubSpot says it. Raises Unreachable for a gateway's page."""
    said, scopes = as_object(reply), list[str]()
    for one in said.get("errors") or ():
        context = one.get("context") if isinstance(one, dict) else None
        named = context.get("requiredGranularScopes") if isinstance(context, dict) else None
        scopes += [str(scope) for scope in named] if isinstance(named, list) else []
    which = f" {' or '.join(scopes)}" if scopes else ""
    return Refused(MISSING_SCOPE, f"the app lacks the scope{which}; add it to the app in HubSpot")


def parts(many: Sequence[Item], size: int = MOST) -> list[Sequence[Item]]:
    return [many[at : at + size] for at in range(0, len(many), size)]
