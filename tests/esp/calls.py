"""Calls as providers make them, and what comes of them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import urlencode

from app.esp.shapes import Forged, Notice, Provider, Request, Said

AT = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
EPOCH = 1714979289
"""`AT` in seconds."""
NOW = datetime(2024, 5, 6, 8, 0, tzinfo=UTC)
"""When calls are received."""
URL = "https://leads.example.com/v1/webhooks/abc?key=1"


def call(body: bytes, headers: Mapping[str, str] | None = None, *, url: str = URL, method: str = "POST") -> Request:
    """A call with these bytes; the names of its headers as the provider writes them."""
    return Request(url, {name.lower(): value for name, value in (headers or {}).items()}, body, NOW, method)


def in_json(said: object) -> Request:
    return call(json.dumps(said).encode())


def in_form(fields: Mapping[str, str]) -> Request:
    return call(urlencode(fields).encode())


def ids(said: Sequence[Said]) -> list[str | None]:
    """The ids of the notices."""
    return [one.id for one in said if isinstance(one, Notice)]


def without_ids(said: Sequence[Said]) -> list[Said]:
    """The same, but that no notice has an id."""
    return [replace(one, id=None) if isinstance(one, Notice) else one for one in said]


async def refusal(provider: Provider, request: Request, *secrets: str) -> str | None:
    """Why the provider refuses a call; None if it does not."""

    async def fetch(url: str) -> bytes:
        raise AssertionError(f"{url} was fetched")

    try:
        await provider.verify(request, secrets, fetch)
    except Forged as forged:
        return str(forged)
    return None
