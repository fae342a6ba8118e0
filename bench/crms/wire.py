"""What goes over the wire to the stand-ins: counted, and kept in a file, for floors are measured by the same calls."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
import orjson

from app.connectors.http import Http, Reply

_VERSION = re.compile(r"/v\d+(?:\.\d+)?/")
_ID = re.compile(r"(?<=/)(?:\d+|(?=[^/]*\d)[0-9A-Za-z]{15,})(?=/|$)")
_NO_PACE = "20000"


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
