"""Delivering what webhooks are told: attempts, bans, hooks that are removed.

Source: the documentation of webhooks v2: any 2xx within ten seconds is success; three more attempts after 3, 30 and
150 seconds; ten events whose first attempt failed ban the hook for half an hour; three days without success remove it.
"""

from base64 import b64encode
from datetime import timedelta

import httpx
import orjson

from app.sandbox import delivery
from app.sandbox.delivery import Attempt
from app.sandbox.pipedrive import webhooks
from app.sandbox.pipedrive.company import Company
from app.sandbox.pipedrive.records import Event, Hook

_PATIENCE_S = 10.0
_WAITS = tuple(timedelta(seconds=seconds) for seconds in (3, 30, 150))
_FAILURES = 10
_BAN_MS = 30 * 60_000
_REMOVED_AFTER_MS = 3 * 86_400_000


class Delivery(delivery.Delivery[Hook]):
    """`delivered` and `failed` count attempts, not events."""

    def __init__(self, company: Company) -> None:
        super().__init__(company.clock, company.faults, _PATIENCE_S)
        self._company = company

    def offer(self, event: Event) -> None:
        for hook in webhooks.listening(self._company, event):
            self.add(hook, webhooks.message(self._company, hook, event))
        self.start()

    async def deliver(self, http: httpx.AsyncClient, chosen: list[Attempt[Hook]]) -> None:
        for attempt in chosen:
            hook = attempt.receiver
            if hook.id in self._company.hooks:
                body, headers = _request(attempt)
                self._settle(attempt, await self.post(http, hook.url, body, headers))

    def _settle(self, attempt: Attempt[Hook], status: int | None) -> None:
        hook, now = attempt.receiver, self._company.millis()
        hook.last_delivery_ms, hook.last_status = now, status
        if delivery.is_success(status):
            hook.last_success_ms = now
            self.delivered += 1
            return
        self.failed += 1
        if attempt.number == 0:
            hook.failures += 1
            if hook.failures >= _FAILURES:
                hook.failures, hook.banned_until_ms = 0, now + _BAN_MS
        if now - max(hook.last_success_ms, hook.added_ms) > _REMOVED_AFTER_MS:
            self._company.hooks.pop(hook.id, None)
        else:
            self.try_again(attempt, _WAITS)


def _request(attempt: Attempt[Hook]) -> tuple[bytes, dict[str, str]]:
    message, hook = attempt.message, attempt.receiver
    body = orjson.dumps({**message, "meta": {**message["meta"], "attempt": attempt.number + 1}})
    headers = {"Content-Type": "application/json", "User-Agent": "Pipedrive Webhooks"}
    if hook.user is not None:
        pair = f"{hook.user}:{hook.password or ''}"
        headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
    return body, headers
