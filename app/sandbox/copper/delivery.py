"""Delivering what webhooks are told: at most once, whatever is answered, up to thirty ids at a time.

Source: "Webhooks": 600 notifications a minute and 1,800 in ten minutes; what is beyond is lost here, which is not said.
"""

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

import httpx
import orjson

from app.sandbox.copper import webhooks
from app.sandbox.copper.account import Account
from app.sandbox.copper.records import Event, Hook
from app.sandbox.delivery import MOST_WAITING, Background, is_success

_PATIENCE_S = 10.0
_MOST_IDS = 30
_MINUTE_MS = 60_000
_MOST_IN_TEN_MINUTES = 1_800


class _Waiting(NamedTuple):
    hook: Hook
    event: Event


class Delivery(Background[_Waiting]):
    """`delivered` and `failed` count notifications, and `lost` events."""

    def __init__(self, account: Account) -> None:
        super().__init__(_PATIENCE_S)
        self._account = account
        self._sent: deque[int] = deque()
        self.lost = 0

    def offer(self, event: Event) -> None:
        for hook in webhooks.listening(self._account, event):
            if self._account.faults.lose_webhooks or len(self._waiting) >= MOST_WAITING:
                self.lost += 1
            else:
                self._waiting.append(_Waiting(hook, event))
        self.start()

    def due(self) -> Iterable[list[_Waiting]]:
        """Events of one webhook together, as many as one notification takes."""
        faults, now = self._account.faults, self._account.millis()
        if faults.hold_webhooks:
            return []
        by_hook: dict[int, list[_Waiting]] = {}
        left: list[_Waiting] = []
        for one in self._waiting:
            is_due = one.event.at_ms + faults.webhook_delay_s * 1_000 <= now
            if is_due and one.hook.id in self._account.hooks:
                by_hook.setdefault(one.hook.id, []).append(one)
            elif not is_due:
                left.append(one)
        self._waiting = left
        chosen: list[list[_Waiting]] = []
        for part in (part for waiting in by_hook.values() for part in _parts(waiting)):
            if self._may_send(now):
                chosen.append(part)
            else:
                self.lost += len(part)
        return chosen

    async def deliver(self, http: httpx.AsyncClient, chosen: list[_Waiting]) -> None:
        """Once: nothing follows from what is answered."""
        hook = chosen[0].hook
        body = orjson.dumps(webhooks.message(hook, [one.event for one in chosen]))
        headers = {"Content-Type": "application/json", **(hook.headers or {})}
        if is_success(await self.post(http, hook.target, body, headers)):
            self.delivered += 1
        else:
            self.failed += 1

    def _may_send(self, now: int) -> bool:
        while self._sent and self._sent[0] <= now - 10 * _MINUTE_MS:
            self._sent.popleft()
        most = self._account.faults.notifications_per_minute
        is_minute_full = len(self._sent) >= most and self._sent[-most] > now - _MINUTE_MS
        if is_minute_full or len(self._sent) >= _MOST_IN_TEN_MINUTES:
            return False
        self._sent.append(now)
        return True


def _parts(waiting: list[_Waiting]) -> list[list[_Waiting]]:
    """Each of no more ids than one notification takes."""
    parts: list[list[_Waiting]] = [[]]
    ids: set[int] = set()
    for one in waiting:
        if len(ids | {one.event.id}) > _MOST_IDS:
            parts.append([])
            ids = set()
        parts[-1].append(one)
        ids.add(one.event.id)
    return parts
