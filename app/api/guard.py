"""Who calls, and what they may: API keys as a bearer token or as the user name of HTTP Basic."""

import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Annotated

from cachetools import TTLCache
from fastapi import Depends, Request

from app.api.services import services
from app.errors import NotAllowed, NotAuthenticated
from app.store import keys
from app.store.keys import Key, Scope

_KNOWN_FOR_S = 1.0
"""A key is looked up again after this long, so a revoked one stops working within a second."""

_known: TTLCache[tuple[int, str], Key] = TTLCache(maxsize=1_024, ttl=_KNOWN_FOR_S)

SCHEMES = {
    "key": {"type": "http", "scheme": "bearer", "description": "An API key, from `leadtally keys create`."},
    "key as user": {"type": "http", "scheme": "basic", "description": "The API key as the user name; no password."},
}
"""For the documentation's padlock."""


async def caller(request: Request) -> Key:
    """The key that the request carries. Raises NotAuthenticated."""
    secret = secret_in(request.headers.get("authorization", ""))
    if secret is None:
        raise NotAuthenticated("send an API key: 'Authorization: Bearer lt_…', or as the user name of HTTP Basic")
    database = (await services(request)).database
    entry = (id(database), secret)
    known = _known.get(entry)
    if known is None:
        async with database.hot.acquire() as db:
            known = await keys.find(db, secret)
        if known is None:
            raise NotAuthenticated("this API key is unknown or was revoked")
        _known[entry] = known
    return known


def needs(scope: Scope) -> Callable[[Request], Awaitable[Key]]:
    """A check that the caller's key has `scope`. Raises NotAuthenticated or NotAllowed."""

    async def check(request: Request) -> Key:
        key = await caller(request)
        if not key.may(scope):
            raise NotAllowed(f"this needs a key with the scope '{scope}'; yours has {', '.join(key.scopes)}")
        return key

    return check


Ingester = Annotated[Key, Depends(needs(Scope.INGEST))]
Reader = Annotated[Key, Depends(needs(Scope.READ))]
Writer = Annotated[Key, Depends(needs(Scope.WRITE))]


def secret_in(header: str) -> str | None:
    """What an `Authorization` carries: a bearer token, or the user name of HTTP Basic, also without the colon."""
    scheme, _, rest = header.partition(" ")
    match scheme.lower():
        case "bearer":
            return rest.strip() or None
        case "basic":
            try:
                return base64.b64decode(rest.strip(), validate=True).decode().partition(":")[0] or None
            except (binascii.Error, UnicodeDecodeError):
                return None
    return None
