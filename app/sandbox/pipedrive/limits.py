"""What a call costs, the burst and the daily limit, and the headers that tell of them.

Source: the documentation of rate limiting as of September 2026. The body of a burst's 429, and the unit of the reset
header (taken for seconds), are not documented.
"""

from collections import deque
from datetime import UTC, datetime
from typing import NamedTuple

from app.sandbox.pipedrive.company import Company
from app.sandbox.pipedrive.wire import Caller, Refused

_BURST = {"lite": (20, 80), "growth": (40, 160), "premium": (100, 400), "ultimate": (120, 480)}
"""Calls in two seconds of an API token, and of an app."""
_TIMES = {"lite": 1, "growth": 2, "premium": 5, "ultimate": 7}
_A_SEAT = 30_000
_SEARCHES = 10
_WINDOW_MS = 2_000
_MOST_WINDOWS = 1_000
"""Every access token has one: those of tokens gone by are dropped with all others now and then."""
_BLOCKED_PAGE = (
    "<!DOCTYPE html>\n<html><head><title>Access denied | pipedrive.com used Cloudflare to restrict access</title>"
    "</head><body><h1>Error 1015</h1><p>You are being rate limited</p></body></html>\n"
)


class Blocked(Exception):
    """The call is answered by the gateway before Pipedrive: 403 and a page of HTML."""

    page = _BLOCKED_PAGE


class Spent(Refused):
    """429, with the headers that tell it."""

    def __init__(self, error: str, headers: dict[str, str]) -> None:
        super().__init__(429, error, errorCode=429)
        self.body = {"success": False, "error": error, "errorCode": 429}
        self.headers = headers


class Cost(NamedTuple):
    tokens: int
    is_search: bool = False


class Limits:
    """Counts of one company. The day ends at midnight in UTC."""

    def __init__(self, company: Company) -> None:
        self._company = company
        self._windows: dict[tuple[str, bool], deque[int]] = {}
        self._day = ""
        self._strikes = 0
        self.spent = 0
        """Tokens of the day."""

    def charge(self, caller: Caller, cost: Cost, method: str) -> dict[str, str]:
        """Let a call pass and give the headers of its answer. Raises Blocked, and Refused (429) as `Spent`."""
        faults = self._company.faults
        if faults.blocked:
            raise Blocked
        self._turn_day()
        if faults.daily_exhausted or self.spent + cost.tokens > self.budget:
            headers = {**self._daily(0), "retry-after": str(faults.daily_retry_after_s)}
            raise self._strike(caller, "daily request budget exceeded", headers)
        limit, taken, reset_s = self._burst(caller, is_search=cost.is_search)
        if faults.busy_next > 0:
            faults.busy_next -= 1
            raise self._strike(caller, "request over limit", _burst_headers(limit, 0, faults.busy_reset_s))
        if faults.plan and taken >= limit:
            raise self._strike(caller, "request over limit", _burst_headers(limit, 0, reset_s))
        self._windows[(caller.token, cost.is_search)].append(self._company.millis())
        self.spent += cost.tokens
        self._strikes = 0
        headers = _burst_headers(limit, max(limit - taken - 1, 0), reset_s)
        headers |= self._daily(max(self.budget - self.spent, 0))
        if caller.client_id is None and method in ("POST", "PUT"):
            headers["x-daily-requests-left"] = str(max(self.budget - self.spent, 0))
        return headers

    @property
    def budget(self) -> int:
        """Tokens a day. Without a plan it is counted, as of the greatest one, and never ends."""
        faults = self._company.faults
        if faults.daily_tokens:
            return faults.daily_tokens
        if not faults.plan:
            return self.spent + _A_SEAT * _TIMES["ultimate"]
        return _A_SEAT * _TIMES.get(faults.plan, 1) * max(faults.seats, 1)

    def _turn_day(self) -> None:
        today = datetime.fromtimestamp(self._company.now(), UTC).date().isoformat()
        if today != self._day:
            self._day, self.spent = today, 0

    def _burst(self, caller: Caller, *, is_search: bool) -> tuple[int, int, int]:
        """(limit, calls in the last two seconds, whole seconds until one of them no longer counts)."""
        of_token, of_app = _BURST.get(self._company.faults.plan, _BURST["ultimate"])
        limit = _SEARCHES if is_search else of_token if caller.client_id is None else of_app
        if len(self._windows) > _MOST_WINDOWS:
            self._windows.clear()
        window = self._windows.setdefault((caller.token, is_search), deque(maxlen=_BURST["ultimate"][1]))
        now = self._company.millis()
        while window and window[0] <= now - _WINDOW_MS:
            window.popleft()
        reset_ms = window[0] + _WINDOW_MS - now if window else _WINDOW_MS
        return limit, len(window), max(-(-reset_ms // 1_000), 1)

    def _daily(self, left: int) -> dict[str, str]:
        return {"x-daily-ratelimit-token-limit": str(self.budget), "x-daily-ratelimit-token-remaining": str(left)}

    def _strike(self, caller: Caller, error: str, headers: dict[str, str]) -> Exception:
        """Who goes on after 429s with an API token is blocked by the gateway."""
        faults = self._company.faults
        if caller.client_id is None:
            self._strikes += 1
            if faults.block_after and self._strikes > faults.block_after:
                faults.blocked = True
                return Blocked()
        return Spent(error, headers)


def _burst_headers(limit: int, left: int, reset_s: int) -> dict[str, str]:
    return {
        "x-ratelimit-limit": str(limit),
        "x-ratelimit-remaining": str(left),
        "x-ratelimit-reset": str(reset_s),
    }
