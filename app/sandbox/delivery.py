"""Telling the receivers of webhooks what happened, in the background: what waits, when it is sent, and how.

What is told, to whom, and what follows from an answer is each CRM's own.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, Protocol, TypeVar

import httpx

from app.sandbox.shapes import Clock

MOST_WAITING = 100_000
_LOOK_AGAIN_S = 0.05
"""How soon it is seen that somebody moved the stand-in's clock, or let go of what was held."""

Waiting = TypeVar("Waiting")


class Background(ABC, Generic[Waiting]):
    """Runs in the event loop that serves the stand-in, as long as something waits."""

    def __init__(self, patience_s: float) -> None:
        """`patience_s` is how long an answer may take."""
        self._patience_s = patience_s
        self._waiting: list[Waiting] = []
        self._under_way: list[list[Waiting]] = []
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self.delivered = 0
        self.failed = 0

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @abstractmethod
    def due(self) -> Iterable[list[Waiting]]:
        """What is to be sent now, taken from what waits. Each of these lists is delivered beside the others."""

    @abstractmethod
    async def deliver(self, http: httpx.AsyncClient, chosen: list[Waiting]) -> None:
        """Send what was due, one after another, and count it as delivered or failed."""

    def start(self) -> None:
        """See to what waits. Called outside an event loop, it waits for the next call inside one."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        if not self._waiting:
            return
        if self._task is None or self._task.done() or self._task.get_loop() is not loop:
            self._wake, self._under_way = asyncio.Event(), []
            self._task = loop.create_task(self._run())
        self._wake.set()

    async def post(self, http: httpx.AsyncClient, url: str, body: bytes, headers: dict[str, str]) -> int | None:
        """The status that came back; None if nothing did in time."""
        try:
            async with asyncio.timeout(self._patience_s):
                # What is answered is not read: nothing but its status counts.
                request = http.build_request("POST", url, content=body, headers=headers)
                answer = await http.send(request, stream=True)
                await answer.aclose()
        except (TimeoutError, httpx.HTTPError, httpx.InvalidURL, ValueError):
            return None
        return answer.status_code

    async def _run(self) -> None:
        # Again, for something may be added while the client is closed.
        while self._waiting:
            async with (
                httpx.AsyncClient(timeout=self._patience_s, trust_env=False) as http,
                asyncio.TaskGroup() as group,
            ):
                while self._waiting or self._under_way:
                    for chosen in self.due():
                        self._under_way.append(chosen)
                        group.create_task(self._see_to(http, chosen))
                    await self._pause()

    async def _see_to(self, http: httpx.AsyncClient, chosen: list[Waiting]) -> None:
        await self.deliver(http, chosen)
        self._under_way.remove(chosen)
        self._wake.set()

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_AGAIN_S):
                await self._wake.wait()
        self._wake.clear()


def is_success(status: int | None) -> bool:
    return status is not None and 200 <= status < 300


# --- One receiver after another, and tries ----------------------------------------------------------------------------


class Known(Protocol):
    @property
    def id(self) -> object:
        """What tells one receiver from another."""


Receiver = TypeVar("Receiver", bound=Known)


class Switches(Protocol):
    """Faults of each stand-in that tells by `Delivery`."""

    lose_webhooks: bool
    duplicate_webhooks: bool
    hold_webhooks: bool
    reverse_webhooks: bool


@dataclass(frozen=True)
class Attempt(Generic[Receiver]):
    receiver: Receiver
    message: Any
    """As the CRM has it."""
    due_at: datetime
    number: int = 0
    """How often it was tried before."""


class Delivery(Background[Attempt[Receiver]]):
    """Tells each receiver of one thing after another, and all of them at the same time."""

    def __init__(self, clock: Clock, faults: Switches, patience_s: float) -> None:
        super().__init__(patience_s)
        self._clock = clock
        self._faults = faults

    def add(self, receiver: Receiver, message: object) -> None:
        """Tell this as soon as it can be, unless a switch says otherwise."""
        if self._faults.lose_webhooks or len(self._waiting) >= MOST_WAITING:
            return
        for _ in range(2 if self._faults.duplicate_webhooks else 1):
            self._waiting.append(Attempt(receiver, message, self._clock()))

    def try_again(self, attempt: Attempt[Receiver], waits: Sequence[timedelta]) -> bool:
        """Whether it is tried again: `waits` are the times from one attempt to the next."""
        if attempt.number >= len(waits):
            return False
        due_at = self._clock() + waits[attempt.number]
        self._waiting.append(Attempt(attempt.receiver, attempt.message, due_at, attempt.number + 1))
        return True

    def due(self) -> Iterable[list[Attempt[Receiver]]]:
        """By receiver. One that is being told of something waits."""
        if self._faults.hold_webhooks:
            return ()
        now = self._clock()
        busy = {chosen[0].receiver.id for chosen in self._under_way}
        due: dict[object, list[Attempt[Receiver]]] = {}
        left: list[Attempt[Receiver]] = []
        for attempt in self._waiting:
            if attempt.due_at <= now and attempt.receiver.id not in busy:
                due.setdefault(attempt.receiver.id, []).append(attempt)
            else:
                left.append(attempt)
        self._waiting = left
        for attempts in due.values():
            attempts.sort(key=lambda attempt: attempt.due_at)
            if self._faults.reverse_webhooks:
                attempts.reverse()
        return due.values()
