"""How many calls there may be: in a rolling minute, and of bulk endpoints in a second beside.

Source: "Requests" and "Bulk Create". Whether a key or an account is counted is not documented: here, the account.
"""

from collections import deque

from app.sandbox.copper.account import Account
from app.sandbox.copper.wire import Refused

_MINUTE_MS = 60_000
_SECOND_MS = 1_000


class Busy(Refused):
    """429. No header tells how long, unless a switch says so."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(429, "Rate limit exceeded")
        self.headers = {"retry-after": str(retry_after_s)} if retry_after_s else {}


class Limits:
    def __init__(self, account: Account) -> None:
        self._account = account
        self._calls: deque[int] = deque()
        self._bulk: deque[int] = deque()

    def charge(self, *, is_bulk: bool) -> None:
        """Let a call pass. What is refused does not count. Raises Busy."""
        faults, now = self._account.faults, self._account.millis()
        if faults.busy_next > 0:
            faults.busy_next -= 1
            raise Busy(faults.retry_after_s)
        windows = [(self._calls, faults.limit_per_minute, _MINUTE_MS)]
        if is_bulk:
            windows.append((self._bulk, faults.bulk_per_second, _SECOND_MS))
        for window, most, length_ms in windows:
            while window and window[0] <= now - length_ms:
                window.popleft()
            if most and len(window) >= most:
                raise Busy(faults.retry_after_s)
        for window, _, __ in windows:
            window.append(now)
