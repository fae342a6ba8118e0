"""How fast HubSpot may be called, and what it says where that was too fast, or enough for the day.

An app has so many calls in ten seconds, 190 or by plan 100, and the account five searches in a second. Private apps
have a number of calls a day, which ends at midnight of the account's zone. Source: HubSpot's usage guidelines as others
quote them, October 2026. Not in them, but met in answers: headers that tell the limits of all calls but searches; we
believe them. `choices` may say `calls_in_10_s` and `searches_in_1_s`, which then hold.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import orjson

from app import clock
from app.connectors.faults import Busy
from app.connectors.http import Reply, asked_to_wait
from app.connectors.pacing import Pace

_BURST, _BURST_OF_PRIVATE_APPS = 170, 90
_WINDOW_S, _SEARCH_WINDOW_S = 10.2, 1.1
"""HubSpot's are 10 s and 1 s; what is sent evenly may arrive unevenly."""
_SEARCHES = 5
_OURS_PERCENT = 90
_DAILY = "DAILY"
_SECONDLY = "SECONDLY"
_MOVING = 477
"""The account moves to another data centre, which may take a day."""


class Daily(NamedTuple):
    """The calls of a day, of all private apps of the account."""

    limit: int
    remaining: int


class Limits:
    """Of one app in one account."""

    def __init__(self, *, is_private: bool, choices: Mapping[str, Any]) -> None:  # Any: JSON
        self._is_chosen = "calls_in_10_s" in choices
        burst = _BURST_OF_PRIVATE_APPS if is_private else _BURST
        self._calls = Pace(int(choices.get("calls_in_10_s", burst)), _WINDOW_S)
        self._searches = Pace(int(choices.get("searches_in_1_s", _SEARCHES)), _SEARCH_WINDOW_S)
        self.daily: Daily | None = None
        """As an answer said it last."""

    async def turn(self, *, is_search: bool) -> None:
        """Waits until a call may go out."""
        if is_search:
            await self._searches.turn()
        await self._calls.turn()

    def hear(self, reply: Reply) -> Daily | None:
        """What an answer says of the burst, and of the day."""
        burst, window_ms = _number(reply, "max"), _number(reply, "interval-milliseconds")
        if burst and window_ms == 10_000 and not self._is_chosen:
            self._calls.most = max(burst * _OURS_PERCENT // 100, 1)
        limit, remaining = _number(reply, "daily"), _number(reply, "daily-remaining")
        if limit is None or remaining is None:
            return None
        self.daily = Daily(limit, min(remaining, limit))
        return self.daily


def silence(reply: Reply) -> Busy | None:
    """Whether, and until when, no call may go out: a second, ten, or the rest of the day.

    Of the day, no `Retry-After` is given, nor do we know the account's zone; but midnight comes at a full hour, or half
    an hour after, so it is tried again every full hour.
    """
    if reply.status == _MOVING:
        return Busy(clock.now() + timedelta(minutes=5), "the account moves to another data centre")
    policy = _policy(reply) if reply.status == 429 else None
    if policy == _DAILY:
        asked = asked_to_wait(reply, _full_hour() - clock.now())
        return None if asked is None else Busy(asked.until, "the account's calls of the day are spent")
    return asked_to_wait(reply, timedelta(seconds=1 if policy == _SECONDLY else 10))


def _policy(reply: Reply) -> str | None:
    try:
        said = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        return None
    policy = said.get("policyName") if isinstance(said, dict) else None
    return policy if isinstance(policy, str) else None


def _full_hour() -> datetime:
    return clock.now().replace(minute=0, second=5, microsecond=0) + timedelta(hours=1)


def _number(reply: Reply, name: str) -> int | None:
    said = reply.headers.get(f"x-hubspot-ratelimit-{name}", "").strip()
    return int(said) if said.isascii() and said.isdigit() and len(said) < 16 else None
