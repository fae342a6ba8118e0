"""Delivering what webhooks are told: at most once, whatever is answered, up to thirty ids at a time.

Source: "Webhooks": 600 notifications a minute and 1,800 in ten minutes; what is beyond is lost here, which is not said.
"""

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass

import httpx
import orjson

from app.sandbox.copper import webhooks
from app.sandbox.copper.account import Account
from app.sandbox.copper.records import Event, Hook
from app.sandbox.copper.wire import Json

_PATIENCE_S = 10.0
_MOST_IDS = 30
_MINUTE_MS = 60_000
_MOST_IN_TEN_MINUTES = 1_800
_LOOK_AGAIN_S = 0.05
"""How soon it is seen that somebody moved the stand-in's clock."""
_MOST_WAITING = 100_000


@dataclass
class _Waiting:
    hook: Hook
    event: Event


class Delivery:
    """Runs in the event loop that serves the stand-in, as long as something waits."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._waiting: list[_Waiting] = []
        self._sent: deque[int] = deque()
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self.delivered = 0
        self.failed = 0
        self.lost = 0
        """Events; the two above are notifications."""

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def offer(self, event: Event) -> None:
        """Told outside an event loop, it waits for the next that is told inside one."""
        for hook in webhooks.listening(self._account, event):
            if self._account.faults.lose_webhooks or len(self._waiting) >= _MOST_WAITING:
                self.lost += 1
            else:
                self._waiting.append(_Waiting(hook, event))
        if self._waiting:
            self._start()

    def _start(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        if self._task is None or self._task.done() or self._task.get_loop() is not loop:
            self._wake = asyncio.Event()
            self._task = loop.create_task(self._run())
        self._wake.set()

    async def _run(self) -> None:
        # Again, for something may be offered while the client is closed.
        while self._waiting:
            async with httpx.AsyncClient(timeout=_PATIENCE_S, trust_env=False) as http, asyncio.TaskGroup() as group:
                while self._waiting:
                    for hook, events in self._due():
                        group.create_task(self._deliver(http, hook, events))
                    await self._pause()

    def _due(self) -> list[tuple[Hook, list[Event]]]:
        """What is to be sent now, taken from what waits: events of one webhook together."""
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
        sent: list[tuple[Hook, list[Event]]] = []
        for waiting in by_hook.values():
            for events in _parts([one.event for one in waiting]):
                if self._may_send(now):
                    sent.append((waiting[0].hook, events))
                else:
                    self.lost += len(events)
        return sent

    def _may_send(self, now: int) -> bool:
        while self._sent and self._sent[0] <= now - 10 * _MINUTE_MS:
            self._sent.popleft()
        most = self._account.faults.notifications_per_minute
        is_minute_full = len(self._sent) >= most and self._sent[-most] > now - _MINUTE_MS
        if is_minute_full or len(self._sent) >= _MOST_IN_TEN_MINUTES:
            return False
        self._sent.append(now)
        return True

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_AGAIN_S):
                await self._wake.wait()
        self._wake.clear()

    async def _deliver(self, http: httpx.AsyncClient, hook: Hook, events: list[Event]) -> None:
        if await _send(http, hook, webhooks.message(hook, events)):
            self.delivered += 1
        else:
            self.failed += 1


def _parts(events: list[Event]) -> list[list[Event]]:
    """Each of no more ids than one notification takes."""
    parts: list[list[Event]] = [[]]
    ids: set[int] = set()
    for event in events:
        if len(ids | {event.id}) > _MOST_IDS:
            parts.append([])
            ids = set()
        parts[-1].append(event)
        ids.add(event.id)
    return parts


async def _send(http: httpx.AsyncClient, hook: Hook, body: Json) -> bool:
    """Whether it was taken; nothing follows from that."""
    headers = {"Content-Type": "application/json", **(hook.headers or {})}
    try:
        async with asyncio.timeout(_PATIENCE_S):
            # What is answered is not read.
            request = http.build_request("POST", hook.target, content=orjson.dumps(body), headers=headers)
            answer = await http.send(request, stream=True)
            await answer.aclose()
    except (TimeoutError, httpx.HTTPError, httpx.InvalidURL, ValueError):
        return False
    return answer.is_success
