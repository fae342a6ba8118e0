"""Service protection: how many calls are taken, and how long a client has to be silent after too many.

Source: "Service protection API limits". One web server is all there is.
"""

from collections import deque
from datetime import datetime, timedelta

from app.sandbox.dynamics.org import Org
from app.sandbox.dynamics.wire import Refusal

_WINDOW = timedelta(seconds=300)
_LONGEST = timedelta(seconds=300)
# What a call and a row take is not told; these make a few hundred rows a second.
_CALL_MS, _ROW_MS = 20.0, 4.0


class Limits:
    def __init__(self, org: Org) -> None:
        self._org = org
        self._calls: deque[tuple[datetime, float]] = deque()
        self._time_ms = 0.0
        self._silence: tuple[datetime, timedelta] | None = None
        """Until when, and how long that was when it was told."""
        self.running = 0
        """Calls that are being answered."""
        self.refused = 0

    def check(self) -> None:
        """Before a call, which is one of those that run. Raises Refusal: 429."""
        faults, now = self._org.faults, self._org.now()
        while self._calls and now - self._calls[0][0] >= _WINDOW:
            self._time_ms -= self._calls.popleft()[1]
        if 0 < faults.limit_concurrent < self.running:
            raise self._busy(
                "0x80072326", f"Number of concurrent requests exceeded the limit of {faults.limit_concurrent}.",
                timedelta(seconds=2),
            )  # fmt: skip
        if faults.throttle_next > 0:
            faults.throttle_next -= 1
            raise self.throttled()
        if 0 < faults.limit_requests <= len(self._calls):
            raise self._silenced("0x80072322", _TOO_MANY.format(faults.limit_requests))
        if 0 < faults.limit_time_s * 1_000 <= self._time_ms:
            raise self._silenced("0x80072321", _TOO_LONG.format(faults.limit_time_s * 1_000))
        self._silence = None

    def throttled(self) -> Refusal:
        """What a switch asks for; it comes to twice the wait for whoever does not wait."""
        return self._silenced("0x80072322", _TOO_MANY.format(6_000), timedelta(seconds=self._org.faults.throttle_s))

    def spend(self, rows: int) -> None:
        """After a call."""
        taken = _CALL_MS + rows * _ROW_MS
        self._calls.append((self._org.now(), taken))
        self._time_ms += taken

    @property
    def calls(self) -> int:
        """In the last five minutes."""
        return len(self._calls)

    @property
    def time_left_ms(self) -> int:
        return int(1_200_000 - self._time_ms)

    def _silenced(self, code: str, message: str, first: timedelta | None = None) -> Refusal:
        now = self._org.now()
        if self._silence is not None and now < self._silence[0]:
            wait = min(2 * self._silence[1], _LONGEST)
        elif first is not None:
            wait = first
        else:
            wait = max(self._calls[0][0] + _WINDOW - now, timedelta(seconds=1))
        self._silence = (now + wait, wait)
        return self._busy(code, message, wait)

    def _busy(self, code: str, message: str, wait: timedelta) -> Refusal:
        self.refused += 1
        return Refusal(code, message, 429, {"Retry-After": str(max(1, round(wait.total_seconds())))})


_TOO_MANY = "Number of requests exceeded the limit of {} over time window of 300 seconds."
_TOO_LONG = (
    "Combined execution time of incoming requests exceeded limit of {:,} milliseconds over time window of 300 seconds. "
    "Decrease number of concurrent requests or reduce the duration of requests and try again later."
)
