"""Delivering what webhooks are told: attempts, bans, hooks that are removed.

Source: the documentation of webhooks v2: any 2xx within ten seconds is success; three more attempts after 3, 30 and
150 seconds; ten events whose first attempt failed ban the hook for half an hour; three days without success remove it.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass

import httpx
import orjson

from app.sandbox.pipedrive import webhooks
from app.sandbox.pipedrive.company import Company
from app.sandbox.pipedrive.records import Event, Hook
from app.sandbox.pipedrive.wire import Json

_PATIENCE_S = 10.0
_RETRIES_MS = (3_000, 30_000, 150_000)
_FAILURES = 10
_BAN_MS = 30 * 60_000
_REMOVED_AFTER_MS = 3 * 86_400_000
_LOOK_AGAIN_S = 0.05
"""How soon it is seen that somebody moved the stand-in's clock."""
_MOST_WAITING = 100_000


@dataclass
class _Attempt:
    hook: Hook
    message: Json
    due_ms: int
    number: int = 1


class Delivery:
    """Runs in the event loop that serves the stand-in, as long as something waits."""

    def __init__(self, company: Company) -> None:
        self._company = company
        self._waiting: list[_Attempt] = []
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._busy: set[int] = set()
        """Hooks that are being told."""
        self.delivered = 0
        self.failed = 0
        """Attempts, not events."""

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def offer(self, event: Event) -> None:
        """Told outside an event loop, it waits for the next that is told inside one."""
        faults = self._company.faults
        for hook in webhooks.listening(self._company, event):
            message = webhooks.message(self._company, hook, event)
            if faults.lose_webhooks or len(self._waiting) >= _MOST_WAITING:
                continue
            for _ in range(2 if faults.duplicate_webhooks else 1):
                self._waiting.append(_Attempt(hook, message, self._company.millis()))
        self._start()

    def _start(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        if self._task is None or self._task.done() or self._task.get_loop() is not loop:
            self._wake, self._busy = asyncio.Event(), set()
            self._task = loop.create_task(self._run())
        self._wake.set()

    async def _run(self) -> None:
        # Again, for something may be offered while the client is closed.
        while self._waiting or self._busy:
            async with httpx.AsyncClient(timeout=_PATIENCE_S, trust_env=False) as http, asyncio.TaskGroup() as group:
                while self._waiting or self._busy:
                    for attempts in self._due().values():
                        group.create_task(self._deliver(http, attempts))
                    await self._pause()

    def _due(self) -> dict[int, list[_Attempt]]:
        """What is to be sent now, taken from what waits, by hook. A hook that is being told of something waits."""
        due: dict[int, list[_Attempt]] = {}
        if self._company.faults.hold_webhooks:
            return due
        now = self._company.millis()
        waiting: list[_Attempt] = []
        for attempt in self._waiting:
            if attempt.due_ms <= now and attempt.hook.id not in self._busy:
                due.setdefault(attempt.hook.id, []).append(attempt)
            else:
                waiting.append(attempt)
        self._waiting = waiting
        for attempts in due.values():
            attempts.sort(key=lambda attempt: attempt.due_ms)
            if self._company.faults.reverse_webhooks:
                attempts.reverse()
        self._busy |= due.keys()
        return due

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_AGAIN_S):
                await self._wake.wait()
        self._wake.clear()

    async def _deliver(self, http: httpx.AsyncClient, attempts: list[_Attempt]) -> None:
        for attempt in attempts:
            if attempt.hook.id in self._company.hooks:
                self._settle(attempt, await _send(http, attempt))
        self._busy.discard(attempts[0].hook.id)
        self._wake.set()

    def _settle(self, attempt: _Attempt, status: int | None) -> None:
        hook, now = attempt.hook, self._company.millis()
        hook.last_delivery_ms, hook.last_status = now, status
        if status is not None and 200 <= status < 300:
            hook.last_success_ms = now
            self.delivered += 1
            return
        self.failed += 1
        if attempt.number == 1:
            hook.failures += 1
            if hook.failures >= _FAILURES:
                hook.failures, hook.banned_until_ms = 0, now + _BAN_MS
        if now - max(hook.last_success_ms, hook.added_ms) > _REMOVED_AFTER_MS:
            self._company.hooks.pop(hook.id, None)
        elif attempt.number <= len(_RETRIES_MS):
            due_ms = now + _RETRIES_MS[attempt.number - 1]
            self._waiting.append(_Attempt(hook, attempt.message, due_ms, attempt.number + 1))


async def _send(http: httpx.AsyncClient, attempt: _Attempt) -> int | None:
    """The status that came back; None if nothing did."""
    message = {**attempt.message, "meta": {**attempt.message["meta"], "attempt": attempt.number}}
    hook = attempt.hook
    auth = None if hook.user is None else httpx.BasicAuth(hook.user, hook.password or "")
    headers = {"Content-Type": "application/json", "User-Agent": "Pipedrive Webhooks"}
    try:
        async with asyncio.timeout(_PATIENCE_S):
            # What is answered is not read: nothing but its status counts.
            request = http.build_request("POST", hook.url, content=orjson.dumps(message), headers=headers)
            answer = await http.send(request, auth=auth, stream=True)
            await answer.aclose()
    except (TimeoutError, httpx.HTTPError, httpx.InvalidURL, ValueError):
        return None
    return answer.status_code
