"""Delivering what apps are told: batches, attempts.

Source: the documentation of webhooks and summaries of others: at most a hundred events to a request, five seconds of
patience, any 2xx is success, ten more attempts within 24 hours. How the attempts are spread is not documented.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass

import httpx
import orjson

from app.sandbox.hubspot import webhooks
from app.sandbox.hubspot.portal import Portal
from app.sandbox.hubspot.records import App, Event
from app.sandbox.hubspot.wire import Json

_PATIENCE_S = 5.0
_MINUTE_MS = 60_000
_RETRIES_MS = tuple(minutes * _MINUTE_MS for minutes in (1, 5, 15, 30, 60, 120, 180, 240, 360, 360))
_BATCH = 100
_LOOK_AGAIN_S = 0.05
"""How soon it is seen that somebody moved the stand-in's clock."""
_MOST_WAITING = 100_000


@dataclass
class _Attempt:
    app: App
    message: Json
    due_ms: int
    number: int = 0


class Delivery:
    """Runs in the event loop that serves the stand-in, as long as something waits."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._waiting: list[_Attempt] = []
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._busy: set[int] = set()
        """Apps that are being told."""
        self.delivered = 0
        self.failed = 0
        """Events, each time that they were sent."""

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def offer(self, event: Event) -> None:
        """Told outside an event loop, it waits for the next that is told inside one."""
        faults = self._portal.faults
        for app in self._portal.apps.values():
            for subscription in webhooks.wanted(event, app) if app.target_url is not None else ():
                message = webhooks.message(self._portal, app, subscription, event)
                if faults.lose_webhooks or len(self._waiting) >= _MOST_WAITING:
                    continue
                for _ in range(2 if faults.duplicate_webhooks else 1):
                    self._waiting.append(_Attempt(app, message, self._portal.millis()))
        self._start()

    def _start(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        if self._waiting and (self._task is None or self._task.done() or self._task.get_loop() is not loop):
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
        """What is to be sent now, taken from what waits, by app. An app that is being told waits."""
        due: dict[int, list[_Attempt]] = {}
        if self._portal.faults.hold_webhooks:
            return due
        now = self._portal.millis()
        waiting: list[_Attempt] = []
        for attempt in self._waiting:
            if attempt.due_ms <= now and attempt.app.id not in self._busy:
                due.setdefault(attempt.app.id, []).append(attempt)
            else:
                waiting.append(attempt)
        self._waiting = waiting
        for attempts in due.values():
            attempts.sort(key=lambda attempt: attempt.due_ms)
            if self._portal.faults.reverse_webhooks:
                attempts.reverse()
        self._busy |= due.keys()
        return due

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_AGAIN_S):
                await self._wake.wait()
        self._wake.clear()

    async def _deliver(self, http: httpx.AsyncClient, attempts: list[_Attempt]) -> None:
        app = attempts[0].app
        for first in range(0, len(attempts), _BATCH):
            batch = attempts[first : first + _BATCH]
            if app.target_url is not None:
                body = orjson.dumps([{**one.message, "attemptNumber": one.number} for one in batch])
                headers = webhooks.headers(self._portal, app, body)
                self._settle(batch, is_done=await _send(http, app.target_url, headers, body))
        self._busy.discard(app.id)
        self._wake.set()

    def _settle(self, batch: list[_Attempt], *, is_done: bool) -> None:
        if is_done:
            self.delivered += len(batch)
            return
        self.failed += len(batch)
        now = self._portal.millis()
        self._waiting += [
            _Attempt(one.app, one.message, now + _RETRIES_MS[one.number], one.number + 1)
            for one in batch
            if one.number < len(_RETRIES_MS)
        ]


async def _send(http: httpx.AsyncClient, url: str, headers: dict[str, str], body: bytes) -> bool:
    """Whether it was taken."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            # What is answered is not read: nothing but its status counts.
            request = http.build_request("POST", url, content=body, headers=headers)
            answer = await http.send(request, stream=True)
            await answer.aclose()
    except (TimeoutError, httpx.HTTPError, httpx.InvalidURL, ValueError):
        return False
    return answer.is_success
