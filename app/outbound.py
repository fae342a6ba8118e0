"""Calls to addresses that somebody else named, and nothing of our own network.

The name is looked up here, every address that it has is checked, and the connection goes to the one that was checked:
a name that answers otherwise the second time changes nothing. Redirects are not followed, proxies not used.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable
from functools import cache

import httpx
from cachetools import TTLCache

_TIMEOUT_S = 5.0
"""For all of it. Amazon's SNS, on whose behalf we fetch while it waits, gives up after 15 s."""
MAX_BYTES = 1_000_000
_KEPT_FOR_S = 86_400
# Addresses that are public by number, and lead to what they wrap: NAT64 (RFC 6052, 8215), 6to4, Teredo.
_WRAPPING = [ipaddress.ip_network(one) for one in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")]


class Refused(OSError):
    """The address is not one that may be fetched."""


class Unreachable(OSError):
    """Nothing usable came back: no connection, no success, too much, too late."""


class Outbound:
    """Fetches by https, from public addresses. `loopback` lets it reach this machine too, by http: for tests."""

    def __init__(self, *, loopback: bool = False) -> None:
        self._loopback = loopback

    async def fetch(self, url: str) -> bytes:
        """The body of a successful answer, at most 1 MB. Raises Refused and Unreachable, which are OSErrors."""
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                return await self._get(url)
        except TimeoutError:
            raise Unreachable(f"no answer within {_TIMEOUT_S:g} seconds") from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as fault:
            raise Unreachable(f"no answer: {type(fault).__name__}") from None

    async def _get(self, url: str) -> bytes:
        target = _parsed(url)
        if target.scheme != "https" and not (self._loopback and target.scheme == "http"):
            raise Refused("only https addresses are fetched")
        address = await self._address(target.host, target.port or (443 if target.scheme == "https" else 80))
        request = httpx.Request(
            "GET",
            target.copy_with(host=address),
            headers={"Host": target.netloc.decode("ascii"), "User-Agent": "leadtally", "Accept-Encoding": "identity"},
            # The certificate must be the name's, though we connect to a number.
            extensions={"sni_hostname": target.raw_host.decode("ascii")},
        )
        async with httpx.AsyncClient(verify=_trust(), trust_env=False, timeout=_TIMEOUT_S) as http:
            answer = await http.send(request, stream=True)
            try:
                return await _body(answer)
            finally:
                await answer.aclose()

    async def _address(self, host: str, port: int) -> str:
        """An address of the host to connect to; all that it has must be public."""
        addresses = await _looked_up(host, port)
        for address in addresses:
            if not is_public(address) and not (self._loopback and ipaddress.ip_address(address).is_loopback):
                raise Refused("the address is not public")
        return addresses[0]


class Guarded(httpx.AsyncBaseTransport):
    """The way out for clients that make many calls: their connections stay open.

    By https to public addresses alone; with `private` also by http, and to this machine and its network. Raises
    Refused.
    """

    def __init__(self, *, private: bool = False) -> None:
        self._private = private
        # One for each name: a connection proves whose it is once, and several names may live at one address.
        self._transports: dict[str, httpx.AsyncHTTPTransport] = {}
        self._known: TTLCache[tuple[str, int], str] = TTLCache(maxsize=256, ttl=60)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        target = _parsed(str(request.url))
        if target.scheme != "https" and not (self._private and target.scheme == "http"):
            raise Refused("only https addresses are called")
        place = target.host, target.port or (443 if target.scheme == "https" else 80)
        if place not in self._known:
            addresses = await _looked_up(*place)
            if not self._private and not all(is_public(address) for address in addresses):
                raise Refused("the address is not public")
            self._known[place] = addresses[0]
        sent = httpx.Request(
            request.method,
            target.copy_with(host=self._known[place]),
            headers=request.headers,  # with the Host that was named
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": target.raw_host.decode("ascii")},
        )
        if target.host not in self._transports:
            self._transports[target.host] = httpx.AsyncHTTPTransport(
                verify=_trust(), trust_env=False, limits=httpx.Limits(max_connections=64, keepalive_expiry=30)
            )
        return await self._transports[target.host].handle_async_request(sent)

    async def aclose(self) -> None:
        for transport in self._transports.values():
            await transport.aclose()


async def _looked_up(host: str, port: int) -> list[str]:
    """All addresses of a host. Raises Unreachable."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Unreachable("the name cannot be looked up") from None
    return [str(one[4][0]) for one in found]


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet, and of no one network that we may be in."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif any(ip in network for network in _WRAPPING):
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


def cached(fetch: Callable[[str], Awaitable[bytes]]) -> Callable[[str], Awaitable[bytes]]:
    """Remembers for a day what it fetched: for certificates, whose address changes when they do."""
    known: TTLCache[str, bytes] = TTLCache(maxsize=64, ttl=_KEPT_FOR_S)

    async def look(url: str) -> bytes:
        if url not in known:
            known[url] = await fetch(url)
        return known[url]

    return look


def _parsed(url: str) -> httpx.URL:
    try:
        target = httpx.URL(url)
    except (httpx.InvalidURL, ValueError, TypeError):
        raise Refused("this is no address") from None
    if not target.host or target.userinfo or not 0 < (target.port or 443) < 65_536:
        raise Refused("this is no address that can be fetched")
    return target


async def _body(answer: httpx.Response) -> bytes:
    if not answer.is_success:
        raise Unreachable(f"the answer was {answer.status_code}")
    body = bytearray()
    async for piece in answer.aiter_raw():
        body += piece
        if len(body) > MAX_BYTES:
            raise Unreachable("the answer is over 1 MB")
    return bytes(body)


@cache
def _trust() -> ssl.SSLContext:
    # Reading the authorities takes tens of milliseconds: once is enough.
    return httpx.create_ssl_context(trust_env=False)
