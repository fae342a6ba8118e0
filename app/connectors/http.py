"""The one HTTP client below all connectors: signed in, counted, patient, and silent when a CRM asks for silence.

A grant that ended is renewed once, by one caller, and the call repeated once. What a CRM answers to a record is the
connector's to read; here is only what is the same everywhere.
"""

import asyncio
import logging
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

import httpx
import orjson
import stamina

from app import clock, outbound
from app.connectors.faults import Busy, Refused, SignInRefused, Unreachable
from app.connectors.provider import Grant, Setup

AGENT = "Leadtally/0.1"
_MAX_BYTES = 200_000_000
_CONNECT_S, _READ_S = 10.0, 120.0
_LONGEST_SILENCE = timedelta(days=1)
_ATTEMPTS = 3
_BUSY, _UNAVAILABLE = 429, 503
_BROKEN = range(500, 600)
_HEADER = re.compile(r"[!-~]([ -~]*[!-~])?")

# It tells each call with its whole address, and a query may hold a person's.
logging.getLogger("httpx").disabled = True


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
    network, by http, which the sandbox needs. A CRM that says nothing for `read_s` seconds is unreachable.
    """

    def __init__(self, *, private: bool = False, read_s: float = _READ_S) -> None:
        self._client = httpx.AsyncClient(
            transport=outbound.Guarded(private=private),
            timeout=httpx.Timeout(read_s, connect=_CONNECT_S),
            headers={"User-Agent": AGENT, "Accept": "application/json"},
            # None is kept: connections of several accounts of one CRM share the client.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
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
        """One call, once. Raises Unreachable, and Refused for what cannot be sent, with no word of what was sent."""
        said = dict(headers or {})
        try:
            if json is not None:
                content = orjson.dumps(json)
                said.setdefault("Content-Type", "application/json")
            request = self._client.build_request(method, url, params=params, headers=said, content=content, data=form)
        except (orjson.JSONEncodeError, httpx.InvalidURL, UnicodeError):
            raise Refused("unsendable", "a number, a text or an address in it cannot be sent") from None
        try:
            answer = await self._client.send(request, stream=True)
            try:
                return Reply(answer.status_code, answer.headers, await _body(answer))
            finally:
                await answer.aclose()
        except outbound.Refused as fault:
            raise Unreachable(f"the address may not be called: {fault}") from None
        except (httpx.HTTPError, httpx.StreamError, OSError) as fault:
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
        """Whether, and until when, the CRM wants to be left alone; `asked_to_wait` reads what most say. May raise
        Refused for an answer that looks like a fault of theirs and is none, so that the call is not made again."""


class _Call(NamedTuple):
    """What is to be sent, but for who we are."""

    method: str
    url: str
    cost: int
    params: Mapping[str, str | int] | None
    headers: Mapping[str, str] | None
    json: Any  # Any: JSON
    content: bytes | None


class Session:
    """The calls of one connection."""

    def __init__(self, http: Http, setup: Setup, authority: Authority) -> None:
        self._http = http
        self._setup = setup
        self._authority = authority
        self._grant: Grant | None = None
        self._one_at_a_time = asyncio.Lock()
        self._silent: Busy | None = None
        self._refusal: SignInRefused | None = None

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
        call = _Call(method, url, cost, params, headers, json, content)
        async for attempt in stamina.retry_context(
            on=Unreachable, attempts=_ATTEMPTS if repeats else 1, wait_initial=0.3, wait_max=5, timeout=None
        ):
            with attempt:
                reply = await self._signed(call)
                if reply.status in _BROKEN:
                    raise Unreachable(f"the CRM answered {reply.status}")
        return reply

    async def _signed(self, call: _Call) -> Reply:
        grant = await self.grant()
        reply = await self._metered(grant, call)
        # Twice at most: what another process was granted since may have ended too.
        for _ in range(2):
            if not self._authority.is_stale(reply):
                return reply
            stale, grant = grant, await self._renewed(grant)
            if grant == stale:
                break
            reply = await self._metered(grant, call)
        if self._authority.is_stale(reply):
            raise SignInRefused(
                "unauthorized", "the CRM refuses what it just granted", "sign in again, and see the app's rights"
            )
        return reply

    async def _metered(self, grant: Grant, call: _Call) -> Reply:
        self._check_silence()
        signed = self._authority.headers(grant)
        if not all(_HEADER.fullmatch(value) for value in signed.values()):
            raise SignInRefused("unreadable", "a credential holds what no call can carry", "enter it anew")
        self._setup.meter.allow(call.cost)
        base = (self._setup.base_url or grant.base_url or "").rstrip("/")
        url = call.url if "://" in call.url else f"{base}/{call.url.lstrip('/')}"
        self._setup.meter.spend(call.cost)
        reply = await self._http.send(
            call.method,
            url,
            params=call.params,
            headers={**signed, **(call.headers or {})},
            json=call.json,
            content=call.content,
        )
        if (silence := self._authority.silence(reply)) is not None:
            self._keep_silent(silence)
            raise silence
        return reply

    async def _renewed(self, stale: Grant | None) -> Grant:
        before = self._refusal
        async with self._one_at_a_time:
            # What was refused while this one waited would be refused again.
            if self._refusal is not None and self._refusal is not before:
                raise self._refusal
            if self._grant is stale or self._grant is None:
                self._check_silence()
                try:
                    self._grant = await self._setup.keeper.renew(stale, self._authority.sign_in)
                except Busy as silence:
                    self._keep_silent(silence)
                    raise
                except SignInRefused as refusal:
                    self._refusal = refusal
                    raise
            return self._grant

    def _check_silence(self) -> None:
        """Raises Busy while the CRM wants to be left alone."""
        if self._silent is not None and clock.now() < self._silent.until:
            raise Busy(self._silent.until, str(self._silent))

    def _keep_silent(self, silence: Busy) -> None:
        # Of two calls at once the one that is told the shorter silence may be answered last.
        if self._silent is None or self._silent.until < silence.until:
            self._silent = silence


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
        return max((at if at.tzinfo else at.replace(tzinfo=UTC)) - clock.now(), timedelta())
    except (ValueError, TypeError, OverflowError, IndexError):
        return default


async def _body(answer: httpx.Response) -> bytes:
    body = bytearray()
    async for piece in answer.aiter_bytes():
        body += piece
        if len(body) > _MAX_BYTES:
            raise Unreachable(f"the answer is over {_MAX_BYTES:,} bytes")
    return bytes(body)
