"""Bursts, searches in a second and the calls of a day, and the headers that tell of them.

Source: the documentation of usage guidelines, and answers that people met. Calls of OAuth apps have no daily limit;
answers of search have no headers of limits. `Retry-After` comes with the short windows. What counts the day ends at
midnight of the account's zone.
"""

from collections import defaultdict, deque

from app.sandbox.hubspot.portal import Portal
from app.sandbox.hubspot.wire import Caller, Refused

_TEN_SECONDS_MS = 10_000
_SECOND_MS = 1_000
_DAY_MS = 86_400_000
ZONE_OFFSET_MS = -5 * 3_600_000
"""Of the account."""
_UNLIMITED_DAY = 1_000_000


class Limits:
    """Counts of one account."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._bursts: defaultdict[int, deque[int]] = defaultdict(deque)
        """Of each app."""
        self._searches: deque[int] = deque()
        self._day = 0
        self._spent = 0

    @property
    def daily_limit(self) -> int:
        return self._portal.faults.daily_limit or _UNLIMITED_DAY

    @property
    def spent(self) -> int:
        """Calls of private apps, today."""
        self._turn_day()
        return self._spent

    @property
    def resets_at(self) -> int:
        """When the day ends, in milliseconds."""
        return (self._today() + 1) * _DAY_MS - ZONE_OFFSET_MS

    def charge(self, caller: Caller, *, is_search: bool) -> dict[str, str]:
        """Let a call pass and give the headers of its answer. Raises Refused (429)."""
        faults, now = self._portal.faults, self._portal.millis()
        self._turn_day()
        if faults.daily_exhausted or (caller.is_private and faults.daily_limit and self._spent >= faults.daily_limit):
            raise self._over("DAILY", None)
        if faults.busy_next > 0:
            faults.busy_next -= 1
            raise self._over(faults.busy_policy, faults.busy_retry_after_s)
        burst = self._bursts[caller.app_id]
        if is_search:
            self._pass(self._searches, faults.search_limit, _SECOND_MS, "SECONDLY", now)
        self._pass(burst, faults.burst_limit, _TEN_SECONDS_MS, "TEN_SECONDLY_ROLLING", now)
        burst.append(now)
        if is_search:
            self._searches.append(now)
        if caller.is_private:
            self._spent += 1
        return {} if is_search else self._headers(caller, burst)

    def _pass(self, window: deque[int], most: int, span_ms: int, policy: str, now: int) -> None:
        while window and window[0] <= now - span_ms:
            window.popleft()
        if most and len(window) >= most:
            raise self._over(policy, max(-(-(window[0] + span_ms - now) // 1_000), 1))

    def _headers(self, caller: Caller, burst: deque[int]) -> dict[str, str]:
        most = self._portal.faults.burst_limit or 190
        told = {
            "X-HubSpot-RateLimit-Max": str(most),
            "X-HubSpot-RateLimit-Remaining": str(max(most - len(burst), 0)),
            "X-HubSpot-RateLimit-Interval-Milliseconds": str(_TEN_SECONDS_MS),
        }
        if caller.is_private:
            told["X-HubSpot-RateLimit-Daily"] = str(self.daily_limit)
            told["X-HubSpot-RateLimit-Daily-Remaining"] = str(max(self.daily_limit - self._spent, 0))
        return told

    def _over(self, policy: str, retry_after_s: int | None) -> Refused:
        portal = self._portal
        words = policy.lower()
        request = portal.uuid(f"request {portal.next_id('request')}")
        more = {"errorType": "RATE_LIMIT", "policyName": policy, "requestId": request}
        fault = Refused(429, f"You have reached your {words} limit.", None, **more)
        if policy != "DAILY" and retry_after_s is not None and not portal.faults.no_retry_after:
            fault.headers["Retry-After"] = str(retry_after_s)
        return fault

    def _today(self) -> int:
        return (self._portal.millis() + ZONE_OFFSET_MS) // _DAY_MS

    def _turn_day(self) -> None:
        if self._today() != self._day:
            self._day, self._spent = self._today(), 0
