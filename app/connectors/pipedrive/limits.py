"""How fast Pipedrive may be called, and what it says where that was too fast, or enough for the day.

Source: Pipedrive's documentation of rate limiting as of September 2026. Not documented, but seen on the live API: the
headers of the daily budget, and `retry-after`.
"""

from datetime import datetime, time, timedelta
from typing import NamedTuple

from app import clock
from app.connectors.faults import Busy
from app.connectors.http import Reply, asked_to_wait
from app.connectors.pacing import Pace

_WINDOW_S = 2.1
"""Pipedrive's is 2 s; what is sent evenly may arrive unevenly."""
_SEARCHES = 10
"""In two seconds, on every plan."""
_LONGEST_BURST_S = 5.0
_BLOCKED_FOR = timedelta(minutes=10)


class Daily(NamedTuple):
    """The tokens of a day, of the whole company."""

    limit: int
    remaining: int


class Limits:
    """Of one token. Begins with what the smallest plan allows, and believes what the answers say."""

    def __init__(self, burst: int) -> None:
        self._calls = Pace(burst, _WINDOW_S)
        self._searches = Pace(_SEARCHES, _WINDOW_S)
        self.daily: Daily | None = None
        """As an answer said it last."""

    async def turn(self, *, is_search: bool) -> None:
        """Waits until a call may go out."""
        if is_search:
            await self._searches.turn()
        await self._calls.turn()

    def hear(self, reply: Reply) -> Daily | None:
        """What an answer says of the daily budget."""
        limit = _number(reply, "x-daily-ratelimit-token-limit")
        remaining = _number(reply, "x-daily-ratelimit-token-remaining")
        if limit is None or remaining is None:
            return None
        self.daily = Daily(limit, remaining)
        return self.daily

    def hear_burst(self, reply: Reply) -> None:
        """What the answer to a call that was no search says of the burst."""
        burst = _number(reply, "x-ratelimit-limit")
        if burst is not None and burst > 0:
            self._calls.most = burst


def silence(reply: Reply) -> Busy | None:
    """Whether, and until when, no call may go out: for a second or two, or for the rest of the day.

    Who goes on after many 429s is shut out by the gateway before Pipedrive: 403, and a page of HTML.
    """
    if reply.status == 403 and is_page(reply):
        return Busy(clock.now() + _BLOCKED_FOR, "the gateway before Pipedrive shuts us out, after too many calls")
    if reply.status == 429 and _is_of_the_day(reply):
        asked = asked_to_wait(reply, _midnight() - clock.now())
        return None if asked is None else Busy(asked.until, "the company's tokens of the day are spent")
    reset = _number(reply, "x-ratelimit-reset")
    return asked_to_wait(reply, timedelta(seconds=2 if reset is None else min(reset, _LONGEST_BURST_S)))


def is_page(reply: Reply) -> bool:
    """Whether the answer is a page for people, and so not of the API."""
    return reply.headers.get("content-type", "").startswith("text/html") or reply.body.lstrip().startswith(b"<")


def _is_of_the_day(reply: Reply) -> bool:
    return b"daily" in reply.body or _number(reply, "x-daily-ratelimit-token-remaining") == 0


def _midnight() -> datetime:
    """When the day's budget begins anew: at midnight by Pipedrive's servers, taken for UTC."""
    now = clock.now()
    return datetime.combine(now.date() + timedelta(days=1), time(), now.tzinfo)


def _number(reply: Reply, header: str) -> int | None:
    said = reply.headers.get(header, "").strip()
    return int(said) if said.isascii() and said.isdigit() and len(said) < 16 else None
