"""A call as it came, for those that keep it raw: the public address, the headers, the un-gzipped body."""

import zlib

from fastapi import Request as HttpRequest

from app import clock
from app.api.edge import MAX_BODY
from app.api.services import Services
from app.errors import Fault, InvalidInput, TooLarge
from app.esp.shapes import Request

# What zlib is told, by the name of the encoding. "deflate" is zlib's own form by RFC 9110; some send it bare.
_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
_BARE = -15


async def raw(request: HttpRequest, kit: Services) -> Request:
    """Raises InvalidInput if the body is not encoded as it says, TooLarge if it is over 5 MB, also when un-gzipped."""
    body = await request.body()
    headers = dict(request.headers)
    encoding = headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity"):
        body = decoded(body, encoding)
    return Request(url(request, kit), headers, body, clock.now(), request.method)


def url(request: HttpRequest, kit: Services) -> str:
    """The address that was called, as the caller knows it: some sign it."""
    base = kit.settings.public_url
    if base is None:
        return str(request.url)
    query = f"?{request.url.query}" if request.url.query else ""
    return f"{base.rstrip('/')}{request.url.path}{query}"


def base_url(request: HttpRequest, kit: Services) -> str:
    """Where this service is reached from outside, without a slash at the end."""
    return (kit.settings.public_url or str(request.base_url)).rstrip("/")


def decoded(body: bytes, encoding: str, limit: int = MAX_BODY) -> bytes:
    """A body freed of its Content-Encoding; never makes more than `limit` bytes of it. Raises as `raw` does."""
    window = _WINDOWS.get(encoding)
    if window is None:
        raise InvalidInput(Fault("", f"the Content-Encoding {encoding[:40]!r} is not known here; send gzip, or none"))
    if encoding == "deflate" and body[:1] and body[0] & 0x0F != 8:
        window = _BARE
    wrong = InvalidInput(Fault("", f"the body is not {encoding}, though its Content-Encoding says so"))
    out = bytearray()
    while body:
        stream = zlib.decompressobj(window)
        try:
            out += stream.decompress(body, limit + 1 - len(out))
        except zlib.error:
            raise wrong from None
        if len(out) > limit:
            raise TooLarge(f"the body is over {limit // 1_000_000} MB when un-gzipped; send smaller batches")
        if not stream.eof:
            raise wrong
        body = stream.unused_data  # a gzip file may have several members
    return bytes(out)
