"""The stand-in CRMs, each in a process of its own: what goes over the wire to them, and the same again by bare httpx.

What our side sends is counted and kept in a file, so that the floor is measured with the very same calls. Of whoever
works in a CRM there is what changes people there, and what sees that somebody bounced.
"""

import asyncio
import contextlib
import re
import sys
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
import orjson

from app.connectors.http import Http, Reply
from app.connectors.shapes import Key, Kind
from app.sync.given import New
from app.sync.mapping import Pair, Policy, Way
from app.sync.options import Options

Reached = Mapping[str, Any]  # Any: JSON; how to sign in, as the command `sandbox` prints it

_VERSION = re.compile(r"/v\d+(?:\.\d+)?/")
_ID = re.compile(r"(?<=/)(?:\d+|(?=[^/]*\d)[0-9A-Za-z]{15,})(?=/|$)")
_PATIENCE_S = 10.0
_NO_PACE = "20000"
_EVERY_TENTH = 10


# --- the process ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def stand_ins(people: int) -> AsyncIterator[dict[str, Reached]]:
    """`leadtally sandbox` in a process of its own, which ends with the block; how to reach each CRM, by its name."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app", "sandbox", "--port", "0", "--people", str(people),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        try:
            said = await process.stdout.readuntil(b"\n}\n")
        except asyncio.IncompleteReadError:
            raise RuntimeError("the sandbox ended at once; `leadtally sandbox` says why") from None
        yield orjson.loads(said)
    finally:
        await ended(process)


async def ended(process: asyncio.subprocess.Process) -> None:
    """Ask a process to end, and see to it."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _PATIENCE_S)
    except TimeoutError:
        process.kill()
        await process.wait()


# --- the wire ---------------------------------------------------------------------------------------------------------


class Call(NamedTuple):
    """A call as it was sent."""

    method: str
    url: str
    params: dict[str, str | int] | None
    headers: dict[str, str]
    content: str | None


class Sent:
    """Calls that were sent: counted by what they ask for, and kept in a file."""

    def __init__(self, path: Path) -> None:
        self.counts: Counter[str] = Counter()
        self._path = path
        self._file = path.open("wb")

    def add(self, call: Call) -> None:
        self.counts[f"{call.method} {_ID.sub('…', _VERSION.split(urlsplit(call.url).path, 1)[-1])}"] += 1
        self._file.write(orjson.dumps(list(call)) + b"\n")

    def calls(self) -> Iterator[Call]:
        self._file.flush()
        with self._path.open("rb") as lines:
            for line in lines:
                yield Call(*orjson.loads(line))

    def close(self) -> None:
        self._file.close()


class Wire(Http):
    """The client of our side."""

    def __init__(self, folder: Path) -> None:
        super().__init__(private=True)
        self._path = folder / "sent"
        self._sent = Sent(self._path)
        self.lifts_pace = False
        """Whether Pipedrive is made to say that it may be called as fast as we like."""

    def begin(self) -> Sent:
        """What is sent from now on."""
        self._sent.close()
        self._sent = Sent(self._path)
        return self._sent

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await super().__aexit__(kind, fault, trace)
        self._sent.close()

    async def send(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,  # Any: JSON
        form: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> Reply:
        said = dict(headers or {})
        if json is not None:
            content = orjson.dumps(json)
            said.setdefault("Content-Type", "application/json")
        text = None if content is None else content.decode()
        self._sent.add(Call(method, url, dict(params) if params else None, said, text))
        reply = await super().send(method, url, params=params, headers=said, form=form, content=content)
        if self.lifts_pace and "x-ratelimit-limit" in reply.headers:
            reply = reply._replace(headers=httpx.Headers({**reply.headers, "x-ratelimit-limit": _NO_PACE}))
        return reply


# --- the CRMs ---------------------------------------------------------------------------------------------------------


class Crm(ABC):
    """One of them, as the bench speaks to it: by bare httpx."""

    kind: str
    calls_in_2_s: int | None = None
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
                reply = await self.http.request(call.method, call.url, params=call.params, headers=call.headers)
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


class Salesforce(Crm):
    kind = "salesforce"
    _PAGE, _COLLECTION, _JOB = 2_000, 200, 10_000
    _JOB_CALLS = 7
    """Made, filled, closed, polled, two results, deleted."""

    def __init__(self, http: httpx.AsyncClient, reached: Reached) -> None:
        super().__init__(http, reached, reached["instance_url"])
        self._data = f"services/data/v{reached['api_version']}"
        self._headers: dict[str, str] = {}

    async def prepare(self) -> None:
        """Everybody has a title there."""

    def connection(self, options: Options) -> New:
        credentials = {name: self.reached[name] for name in ("client_id", "client_secret")}
        return New(self.kind, self.kind, "client_credentials", credentials, self.base, options)

    def words(self) -> list[Pair]:
        return [_property(object_, "Title") for object_ in ("Contact", "Lead")]

    def least_reads(self, records: Mapping[str, int]) -> int:
        return sum(-(-count // self._PAGE) for count in records.values())

    def least_writes(self, records: Mapping[str, int]) -> int:
        """By collections, whose calls hold several objects, or by jobs of one object each."""
        by_job = self._JOB_CALLS * sum(-(-count // self._JOB) for count in records.values())
        return min(-(-sum(records.values()) // self._COLLECTION), by_job)

    def is_page(self, call: Call) -> bool:
        soql = str((call.params or {}).get("q", ""))
        return any(f" FROM {object_} " in soql for object_ in ("Contact", "Lead"))

    async def rewrite(self, sent: Sent, told: Sequence[Pair]) -> float:
        for pair in told:
            kind = {"type": "Number", "precision": 18, "scale": 0}
            if pair.kind is not Kind.NUMBER:
                kind = {"type": "Text", "length": 255}
            await self.edit(do="field", object=pair.object, name=pair.there, fields=kind)
        headers = await self._signed()
        about = b""
        began = time.perf_counter()
        for call in sent.calls():
            content = (call.content or "").encode()
            match call.method, call.url.rpartition("/")[2]:
                case "POST", "ingest":
                    about = content
                case "PUT", "batches":
                    await self._job(about, content, headers)
                case "PATCH", "sobjects":
                    path = f"{self._data}/composite/sobjects"
                    done = await self.json("PATCH", path, content=content, headers=_as_json(headers))
                    assert all(one["success"] for one in done), "a write of the floor was refused"
        return time.perf_counter() - began

    async def _job(self, about: bytes, csv: bytes, headers: dict[str, str]) -> None:
        made = await self.json("POST", f"{self._data}/jobs/ingest", content=about, headers=_as_json(headers))
        path = f"{self._data}/jobs/ingest/{made['id']}"
        as_csv = {**headers, "Content-Type": "text/csv; charset=UTF-8"}
        await self.http.put(f"{self.base}/{path}/batches", content=csv, headers=as_csv)
        state = (await self.json("PATCH", path, json={"state": "UploadComplete"}, headers=headers))["state"]
        while state not in ("JobComplete", "Failed"):
            await asyncio.sleep(0.01)
            job = await self.json("GET", path, headers=headers)
            state = job["state"]
        assert not job["numberRecordsFailed"], "a write of the floor was refused"
        for file in ("successfulResults", "failedResults"):
            await self.http.get(f"{self.base}/{path}/{file}", headers=headers)
        await self.http.delete(f"{self.base}/{path}", headers=headers)

    async def change(self, number: int, key: Key) -> None:
        fields: dict[str, str | bool] = {"Title": f"Title {number % 50}"}
        if number % _EVERY_TENTH == 0:
            fields["HasOptedOutOfEmail"] = True
        await self.edit(do="change", id=key.id, fields=fields)

    async def bounced(self, ids: Sequence[str], field: str) -> set[str]:
        headers = self._headers = self._headers or await self._signed()
        among = ",".join(f"'{one}'" for one in ids)
        soql = f"SELECT Id FROM Contact WHERE Id IN ({among}) AND {field} != null"
        found = await self.json("GET", f"{self._data}/query", params={"q": soql}, headers=headers)
        return {row["Id"] for row in found["records"]}

    async def _signed(self) -> dict[str, str]:
        names = ("client_id", "client_secret")
        form = {"grant_type": "client_credentials", **{name: self.reached[name] for name in names}}
        said = orjson.loads((await self.http.post(self.reached["token_url"], data=form)).raise_for_status().content)
        return {"Authorization": f"Bearer {said['access_token']}"}


class Pipedrive(Crm):
    kind = "pipedrive"
    calls_in_2_s = 480
    _PAGE = 500
    _WIDTH = 8
    """So many writes at once has the connector under way."""

    def __init__(self, http: httpx.AsyncClient, reached: Reached) -> None:
        super().__init__(http, reached, reached["base_url"])
        # Of another user: limits are counted by the token.
        self._headers = {"x-api-token": reached["api_token_of_another_user"]}
        self._industry = ""

    async def prepare(self) -> None:
        self._industry = await self._made("Industry", "varchar")

    def connection(self, options: Options) -> New:
        credentials = {name: self.reached[name] for name in ("client_id", "client_secret", "refresh_token")}
        return New(self.kind, self.kind, "oauth", credentials, self.base, options)

    def words(self) -> list[Pair]:
        return [_property("person", self._industry)]

    def least_reads(self, records: Mapping[str, int]) -> int:
        return -(-sum(records.values()) // self._PAGE)

    def least_writes(self, records: Mapping[str, int]) -> int:
        return sum(records.values())

    def is_page(self, call: Call) -> bool:
        return call.method == "GET" and call.url.endswith("/persons")

    async def rewrite(self, sent: Sent, told: Sequence[Pair]) -> float:
        kinds = {pair.there: "double" if pair.kind is Kind.NUMBER else "varchar" for pair in told}
        codes = {there: await self._made(f"Field {there}", kind) for there, kind in kinds.items()}
        begun = iter(call for call in sent.calls() if call.method == "PATCH")

        async def lane() -> None:
            for call in begun:
                content = call.content or ""
                for there, here in codes.items():
                    content = content.replace(there, here)
                path = f"api/v2/persons/{call.url.rpartition('/')[2]}"
                await self.json("PATCH", path, content=content, headers=_as_json(self._headers))

        began = time.perf_counter()
        await asyncio.gather(*(lane() for _ in range(self._WIDTH)))
        return time.perf_counter() - began

    async def change(self, number: int, key: Key) -> None:
        values: dict[str, Any] = {"custom_fields": {self._industry: f"Industry {number % 50}"}}  # Any: JSON
        if number % _EVERY_TENTH == 0:
            values["marketing_status"] = "unsubscribed"
        await self.edit(do="change", object="person", id=int(key.id), values=values)

    async def bounced(self, ids: Sequence[str], field: str) -> set[str]:
        asked: dict[str, str | int] = {"ids": ",".join(ids), "custom_fields": field, "limit": len(ids)}
        found = await self.json("GET", "api/v2/persons", params=asked, headers=self._headers)
        return {str(row["id"]) for row in found["data"] if row["custom_fields"].get(field) is not None}

    async def _made(self, name: str, kind: str) -> str:
        values = {"field_name": name, "field_type": kind}
        return str((await self.edit(do="create", object="field", values=values))["field_code"])


CRMS: dict[str, type[Salesforce] | type[Pipedrive]] = {one.kind: one for one in (Salesforce, Pipedrive)}


def bare() -> httpx.AsyncClient:
    """What floors are measured with."""
    return httpx.AsyncClient(trust_env=False, timeout=120)


def _property(object_: str, there: str) -> Pair:
    return Pair(object_, "properties.trade", there, Way.IN, Policy.NEWEST, Kind.TEXT)


def _as_json(headers: Mapping[str, str]) -> dict[str, str]:
    return {**headers, "Content-Type": "application/json"}
