"""A stand-in CRM as the bench speaks to it, by bare httpx: the floors, and whoever works there."""

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

import httpx
import orjson

from app.connectors.shapes import Key, Kind
from app.sync.given import New
from app.sync.mapping import Pair, Policy, Way
from app.sync.options import Options
from bench.crms.wire import Call, Sent

Reached: TypeAlias = Mapping[str, Any]  # Any: JSON; how to sign in, as the command `sandbox` prints it

EVERY_TENTH = 10


class Crm(ABC):
    """One of them, as the bench speaks to it: by bare httpx."""

    kind: ClassVar[str]
    object: ClassVar[str]
    """Of whom flags are watched."""
    calls_in_2_s: ClassVar[int | None] = None
    """So many of our calls it allows in two seconds; None: as many as we like."""

    def __init__(self, http: httpx.AsyncClient, reached: Reached, base: str) -> None:
        self.http = http
        self.reached = reached
        self.base = base

    @abstractmethod
    async def prepare(self) -> None:
        """Make what is there to be mapped."""

    @abstractmethod
    def connection(self, options: Options) -> New: ...

    @abstractmethod
    def words(self) -> list[Pair]:
        """What is mapped beside the defaults: a property."""

    @abstractmethod
    def least_reads(self, records: Mapping[str, int]) -> int:
        """The calls that so many records of each object take at least."""

    @abstractmethod
    def least_writes(self, records: Mapping[str, int]) -> int: ...

    @abstractmethod
    def is_page(self, call: Call) -> bool:
        """Whether it reads a page of people."""

    async def reread(self, sent: Sent) -> float:
        """Seconds that the pages of people which were read take bare httpx, and orjson to parse."""
        began = time.perf_counter()
        for call in sent.calls():
            if self.is_page(call):
                reply = await self.http.request(
                    call.method, call.url, params=call.params, headers=call.headers, content=call.content
                )
                orjson.loads(reply.raise_for_status().content)
        return time.perf_counter() - began

    @abstractmethod
    async def rewrite(self, sent: Sent, told: Sequence[Pair]) -> float:
        """Seconds that the writes which were sent to another take here; first the fields for `told` are made."""

    @abstractmethod
    async def change(self, number: int, key: Key) -> None:
        """What somebody who works there does to a record: another property; and of ten the tenth wants no mail."""

    @abstractmethod
    async def bounced(self, ids: Sequence[str], field: str) -> set[str]:
        """Those of these people who are seen to have bounced."""

    async def json(self, method: str, path: str, **more: Any) -> Any:  # Any: httpx's arguments; JSON
        reply = await self.http.request(method, f"{self.base}/{path}", **more)
        reply.raise_for_status()
        return orjson.loads(reply.content) if reply.content else None

    async def edit(self, **body: Any) -> Any:  # Any: JSON
        return await self.json("POST", "_sandbox/edit", content=orjson.dumps(body))


def words_of(object_: str, there: str) -> Pair:
    return Pair(object_, "properties.trade", there, Way.IN, Policy.NEWEST, Kind.TEXT)


def as_json(headers: Mapping[str, str]) -> dict[str, str]:
    return {**headers, "Content-Type": "application/json"}
