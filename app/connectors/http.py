"""The one HTTP client below all connectors: signed in, counted, patient, and silent when a CRM asks for silence.

A grant that ended is renewed once, by one caller, and the call repeated once. What a CRM answers to a record is the
connector's to read; here is only what is the same everywhere.
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

import httpx
import orjson
import stamina

from app import clock
from app.connectors.faults import Busy, SignInRefused, Unreachable
from app.connectors.shapes import Grant, Setup
from app.outbound import Guarded, Refused

AGENT = "Leadtally/0.1"
_MAX_BYTES = 200_000_000
_CONNECT_S, _READ_S = 10.0, 120.0
_LONGEST_SILENCE = timedelta(days=1)
_ATTEMPTS = 3
_BUSY, _UNAVAILABLE = 429, 503
_BROKEN = range(500, 600)


class Reply(NamedTuple):
    """What a CRM answered."""

    status: int
    headers: Mapping[str, str]
    """Their names in any case."""
    body: bytes

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> Any:  # Any: JSON
        """Raises Unreachable where the body is no JSON: a gateway's page, a torn answer."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            raise Unreachable(f"an answer with status {self.status} was not JSON") from None


class Http:
    """Connections to CRMs, for a whole process. Use as an async context manager.

    Without `private` only https, and only addresses of the open internet; with it also those of this machine and
    network, by http, which the sandbox needs.
    """

    def __init__(self, *, private: bool = False) -> None:
        self._client = httpx.AsyncClient(
            transport=Guarded(private=private),
            timeout=httpx.Timeout(_READ_S, connect=_CONNECT_S),
            headers={"User-Agent": AGENT, "Accept": "application/json"},
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

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
        """One call, once. Raises Unreachable, with no word of what was sent."""
        said = dict(headers or {})
        if json is not None:
            content = orjson.dumps(json)
            said.setdefault("Content-Type", "application/json")
        try:
            request = self._client.build_request(method, url, params=params, headers=said, content=content, data=form)
            answer = await self._client.send(request, stream=True)
            try:
                return Reply(answer.status_code, answer.headers, await _body(answer))
            finally:
                await answer.aclose()
        except Refused as fault:
            raise Unreachable(f"the address may not be called: {fault}") from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError) as fault:
            raise Unreachable(f"no answer: {type(fault).__name__}") from None


class Authority(Protocol):
    """How a CRM knows us. Each connector has one."""

    async def sign_in(self, present: Grant | None) -> Grant:
        """A new grant, by the credentials or by `present`'s refresh token. Raises SignInRefused."""

    def headers(self, grant: Grant) -> Mapping[str, str]:
        """What a call carries."""

    def is_stale(self, reply: Reply) -> bool:
        """Whether the grant has ended, so that a new one helps."""

    def silence(self, reply: Reply) -> Busy | None:
        """Whether, and until when, the CRM wants to be left alone; `asked_to_wait` reads what most say."""


class Session:
    """The calls of one connection."""

    def __init__(self, http: Http, setup: Setup, authority: Authority) -> None:
        self._http = http
        self._setup = setup
        self._authority = authority
        self._grant: Grant | None = None
        self._one_at_a_time = asyncio.Lock()
        self._silent: Busy | None = None

    async def grant(self) -> Grant:
        """The present grant; signs in if there is none. Raises SignInRefused, Later."""
        if self._grant is None:
            self._grant = await self._setup.keeper.grant() or await self._renewed(None)
        return self._grant

    async def call(
        self,
        method: str,
        url: str,
        *,
        cost: int = 1,
        again: bool | None = None,
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,  # Any: JSON
        content: bytes | None = None,
    ) -> Reply:
        """What the CRM answers, whatever its status; `url` is whole, or a path below the grant's base URL.

        A call that is lost, or ends in a fault of theirs, is made up to three times if `again`; by default those that
        change nothing if they are repeated: all but POST. Raises Busy, BudgetSpent, Unreachable, SignInRefused.
        """
        repeats = method != "POST" if again is None else again
        async for attempt in stamina.retry_context(
            on=Unreachable, attempts=_ATTEMPTS if repeats else 1, wait_initial=0.3, wait_max=5, timeout=None
        ):
            with attempt:
                reply = await self._signed(method, url, cost, params, headers, json, content)
                if reply.status in _BROKEN:
                    raise Unreachable(f"the CRM answered {reply.status}")
        return reply

    async def _signed(
        self,
        method: str,
        url: str,
        cost: int,
        params: Mapping[str, str | int] | None,
        headers: Mapping[str, str] | None,
        json: Any,  # Any: JSON
        content: bytes | None,
    ) -> Reply:
        grant = await self.grant()
        reply = await self._metered(grant, method, url, cost, params, headers, json, content)
        if self._authority.is_stale(reply):
            grant = await self._renewed(grant)
            reply = await self._metered(grant, method, url, cost, params, headers, json, content)
            if self._authority.is_stale(reply):
                raise SignInRefused(
                    "unauthorized", "the CRM refuses what it just granted", "sign in again, and see the app's rights"
                )
        return reply

    async def _metered(
        self,
        grant: Grant,
        method: str,
        url: str,
        cost: int,
        params: Mapping[str, str | int] | None,
        headers: Mapping[str, str] | None,
        json: Any,  # Any: JSON
        content: bytes | None,
    ) -> Reply:
        if self._silent is not None and clock.now() < self._silent.until:
            raise Busy(self._silent.until, str(self._silent))
        self._silent = None
        self._setup.meter.allow(cost)
        whole = (
            url if "://" in url else f"{(self._setup.base_url or grant.base_url or '').rstrip('/')}/{url.lstrip('/')}"
        )
        said = {**self._authority.headers(grant), **(headers or {})}
        self._setup.meter.spend(cost)
        reply = await self._http.send(method, whole, params=params, headers=said, json=json, content=content)
        if (silence := self._authority.silence(reply)) is not None:
            self._silent = silence
            raise silence
        return reply

    async def _renewed(self, stale: Grant | None) -> Grant:
        async with self._one_at_a_time:
            if self._grant is stale or self._grant is None:
                self._grant = await self._setup.keeper.renew(stale, self._authority.sign_in)
            return self._grant


def asked_to_wait(reply: Reply, default: timedelta) -> Busy | None:
    """What 429, and 503 with a Retry-After, ask for: until when (RFC 9110, 10.2.3), at most for a day."""
    said = reply.headers.get("retry-after")
    if reply.status != _BUSY and not (reply.status == _UNAVAILABLE and said is not None):
        return None
    return Busy(clock.now() + min(_wait(said, default), _LONGEST_SILENCE), f"the CRM answered {reply.status}")


def _wait(said: str | None, default: timedelta) -> timedelta:
    if said is None:
        return default
    try:
        return timedelta(seconds=max(float(said), 0))
    except (ValueError, OverflowError):
        pass
    try:
        at: datetime = parsedate_to_datetime(said)
        return max(at - clock.now(), timedelta())
    except (ValueError, TypeError):
        return default


async def _body(answer: httpx.Response) -> bytes:
    body = bytearray()
    async for piece in answer.aiter_bytes():
        body += piece
        if len(body) > _MAX_BYTES:
            raise Unreachable(f"the answer is over {_MAX_BYTES:,} bytes")
    return bytes(body)
