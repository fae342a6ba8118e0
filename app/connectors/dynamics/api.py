"""Calls of the Dataverse Web API: below one version, their errors read, their links followed, many of them in one.

The unit of the budget is a request as Microsoft's licences count them: a call is one, and each operation of a batch and
each row of a call for many is one too. What is limited in five minutes is told by 429.

Sources: Microsoft Learn, "Compose HTTP requests and handle errors", "Page results using OData", "Requests limits and
allocations".
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import quote

from app import clock
from app.connectors.dynamics import access, batches
from app.connectors.dynamics.access import API, Access
from app.connectors.dynamics.batches import Operation
from app.connectors.faults import Busy, Fault, Refused, Unreachable
from app.connectors.http import Http, Reply, Session
from app.connectors.provider import Setup

Row: TypeAlias = Mapping[str, Any]  # Any: JSON; a row by its columns' names

TAG = "leadtally"
"""What our writes are marked with, for plug-ins and for the notices that tell of them."""
OF_ALL = 'odata.include-annotations="*"'
_SAFE = "$,()=@/:"
_IN_PASSING = re.compile(r"SQL timeout expired|Sql Number: (1205|-2)\b|deadlock", re.IGNORECASE)


class Rows(NamedTuple):
    """A page of rows, and the links that came with it."""

    rows: list[Row]
    following: str | None = None
    """Where the next page is."""
    changes: str | None = None
    """Where, later, the changes since are."""


class Api:
    """The calls of one connection."""

    def __init__(self, http: Http, setup: Setup) -> None:
        self.access = Access(http, setup)
        self._setup = setup
        self._session = Session(http, setup, self.access)
        self._silent: Busy | None = None
        """What a part of a batch asked for."""

    async def user(self) -> str | None:
        """The id of the user that we are."""
        return (await self._session.grant()).user

    async def organization(self) -> str:
        """The id of the organisation."""
        return (await self._session.grant()).more.get("organization", "")

    async def call(
        self,
        method: str,
        path: str,
        *,
        cost: int = 1,
        again: bool | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,  # Any: JSON
        content: bytes | None = None,
    ) -> Reply:
        """A successful answer. `path`: behind our address, escaped. Raises a Fault; Refused has the API's code."""
        url = access.organisation(self._setup) + path
        if self._silent is not None and clock.now() < self._silent.until:
            raise Busy(self._silent.until, str(self._silent))
        reply = await self._session.call(
            method, url, cost=cost, again=again, headers=headers, json=json, content=content
        )
        if not reply.is_success:
            raise fault(reply)
        return reply

    async def json(self, method: str, path: str, **more: Any) -> dict[str, Any]:  # Any: as `call`; JSON
        """The object that a call answers with."""
        return _object(await self.call(method, path, **more))

    async def page(self, path: str, *prefer: str) -> Rows:
        """A page of what is listed. A link's page is asked for with the same preferences as the first one."""
        headers = {"Prefer": ",".join(prefer)} if prefer else None
        return self.rows(await self.call("GET", path, headers=headers))

    def rows(self, reply: Reply) -> Rows:
        """Raises Unreachable for what is no list of rows, or leads to another host."""
        said = _object(reply)
        rows = said.get("value")
        if not isinstance(rows, list) or not all(isinstance(one, dict) for one in rows):
            raise Unreachable("a list was answered by what holds no rows")
        following, changes = said.get("@odata.nextLink"), said.get("@odata.deltaLink")
        return Rows(
            rows,
            self._path(following) if following is not None else None,
            self._path(changes) if changes is not None else None,
        )

    async def batch(self, operations: Sequence[Operation], *, again: bool | None = None) -> list[Reply]:
        """An answer to each, whatever became of the others. One that asks for silence keeps the next call back."""
        content_type, content = batches.body(operations, access.organisation(self._setup))
        reply = await self.call(
            "POST",
            f"/{API}/$batch",
            cost=len(operations),
            again=again,
            headers={"Content-Type": content_type, "Prefer": "odata.continue-on-error"},
            content=content,
        )
        found = batches.replies(reply, len(operations))
        for silence in filter(None, map(self.access.silence, found)):
            if self._silent is None or self._silent.until < silence.until:
                self._silent = silence
        return found

    async def lists(self, paths: Sequence[str], *prefer: str) -> list[list[Row]]:
        """Whole lists by one call, or as few as there are pages. Raises a Fault if one of them is refused."""
        found: list[list[Row]] = [[] for _ in paths]
        left = dict(enumerate(paths))
        headers = {"Prefer": ",".join(prefer)} if prefer else {}
        while left:
            some = list(left.items())[: batches.MOST]
            answers = await self.batch([Operation("GET", path, headers) for _, path in some], again=True)
            for (at, _), reply in zip(some, answers, strict=True):
                page = self.rows(self.good(reply))
                found[at] += page.rows
                del left[at]
                if page.following is not None:
                    left[at] = page.following
        return found

    def good(self, reply: Reply) -> Reply:
        """A part of a batch that is a success. Raises a Fault for any other."""
        if not reply.is_success:
            raise self.access.silence(reply) or fault(reply)
        return reply

    def _path(self, link: Any) -> str:  # Any: JSON
        """What follows our own address in a link, just as it came: it is escaped already, and breaks if that is done
        anew. Raises Unreachable for one that leads elsewhere: our token is for this host."""
        own = f"{access.organisation(self._setup)}/"
        if not isinstance(link, str) or not link.lower().startswith(f"{own}api/".lower()):
            raise Unreachable("a link leads to another host")
        return link[len(own) - 1 :]


def address(path: str, **options: str) -> str:
    """A path with query options, escaped: `select="a,b"` → `?$select=a,b`."""
    query = "&".join(f"${name}={quote(value, safe=_SAFE)}" for name, value in options.items() if value)
    return f"/{API}/{path}{'?' if query else ''}{query}"


def among(column: str, values: Sequence[str]) -> str:
    """The condition that a column has one of these values; text without regard to case."""
    listed = ",".join(text(value) for value in values)
    return f"Microsoft.Dynamics.CRM.In(PropertyName='{column}',PropertyValues=[{listed}])"


def text(value: str) -> str:
    """A literal."""
    return "'" + value.replace("'", "''") + "'"


def fault(reply: Reply) -> Fault:
    """What an answer that is no success says; a deadlock or a time-out of theirs is for later."""
    found = access.refused(reply)
    if isinstance(found, Refused) and is_passing(found):
        return Unreachable(f"the environment could not do it in time ({found.code})")
    return found


def is_passing(refused: Refused) -> bool:
    return _IN_PASSING.search(refused.reason) is not None


def _object(reply: Reply) -> dict[str, Any]:  # Any: JSON
    said = reply.json()
    if not isinstance(said, dict):
        raise Unreachable("a call was answered by what is no object")
    return said
