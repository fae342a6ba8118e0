"""Whoever works in a stand-in CRM: what they do there, what they see, and what goes wrong; in one vocabulary."""

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, TypeAlias

import httpx
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from app.connectors.shapes import Key

Json: TypeAlias = Any  # Any: JSON

_LOCKS = ("UNABLE_TO_LOCK_ROW", "Sql Number: 1205")
"""What those who work there are told too, and try again."""


class Seen(NamedTuple):
    """A person's record as somebody in the CRM sees it."""

    addresses: tuple[str, ...]
    is_out: bool
    is_bounced: bool
    by_us: bool
    """Whether our user made it."""


class Door:
    """Stands before a stand-in. While it is shut, whoever is not at work inside is told to come again."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.is_shut = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_inside = scope["type"] != "http" or scope["path"].startswith("/_sandbox")
        if self.is_shut and not is_inside:
            await PlainTextResponse("down for some hours", 503)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


class Humans(ABC):
    """People in one stand-in."""

    kind: ClassVar[str]
    objects: ClassVar[tuple[str, ...]]
    """Of whom they make records."""
    converts: ClassVar[str | None] = None
    """The object whose records they turn into others."""
    flow: ClassVar[str]
    signs_in_with: ClassVar[tuple[str, ...]]
    """Of the stand-in's credentials."""
    refresh_token: ClassVar[str | None] = None
    """The name of the credential that is a grant's, where somebody signed in with a browser long ago."""
    choices: ClassVar[Mapping[str, Json]] = {}
    """Of the connection."""
    creates: ClassVar[bool] = False
    """Whether we make records there of contacts whom the CRM does not know."""
    calm: ClassVar[Mapping[str, Json]]
    """The switches by which nothing goes wrong any more."""
    crm: Any  # Any: each stand-in has its own inside

    def at(self, url: str) -> None:
        """Where the stand-in is served."""
        self._http = httpx.AsyncClient(base_url=url, timeout=30)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def edit(self, **body: Json) -> Json:
        while True:
            reply = await self._http.post("/_sandbox/edit", json=body)
            if not any(lock in reply.text for lock in _LOCKS):
                assert 200 == reply.status_code, reply.text
                return reply.json()

    async def fault(self, **switches: Json) -> None:
        reply = await self._http.put("/_sandbox/faults", json=switches)
        assert 200 == reply.status_code, reply.text

    @abstractmethod
    def mishap(self, dice: random.Random) -> dict[str, Json]:
        """Switches by which something goes wrong with the next calls, or from now on. A token must last for more calls
        than go side by side, or those that wait never get theirs."""

    @abstractmethod
    async def create(self, object_: str, address: str, *, is_out: bool) -> None: ...

    @abstractmethod
    async def opt(self, key: Key, *, out: bool) -> None: ...

    @abstractmethod
    async def forgive(self, key: Key) -> None:
        """Somebody takes down that the address bounced."""

    @abstractmethod
    async def readdress(self, key: Key, address: str) -> None: ...

    @abstractmethod
    async def delete(self, key: Key) -> None: ...

    @abstractmethod
    async def merge(self, winner: Key, loser: Key) -> None: ...

    async def convert(self, key: Key) -> None:  # noqa: B027 - not every CRM has this
        """Turn a record of `converts` into another one."""

    @abstractmethod
    async def log(self, key: Key) -> None:
        """A call was made."""

    @abstractmethod
    def live(self) -> dict[Key, Seen]: ...

    @abstractmethod
    def writes(self) -> int:
        """Of people's records, so far, by whomever."""
