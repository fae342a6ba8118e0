"""How a command ends on Ctrl-C or SIGTERM: where it waits, or between two steps, never in the middle of one."""

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Self, TypeVar

T = TypeVar("T")

_PATIENCE = 3
"""Signals; the last of them ends the process wherever it is."""


class Ending:
    """Notes the signals that come while it is entered, to be obeyed at the next point that can stand it.

    An exception raised wherever Python happens to be would leave a Postgres half started, tear a callback of the event
    loop in two (it then waits for ever), or be lost while a weak reference is cleared (all of which happened).
    """

    def __init__(self) -> None:
        self._came: list[int] = []
        self._obey: Callable[[], object] = lambda: None
        self._before: dict[signal.Signals, Any] = {}  # Any: what signal.signal returns

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """End here if a signal came."""
        if self._came:
            sys.exit(128 + self._came[0])

    def obeyed_by(self, obey: Callable[[], object]) -> None:
        """From now on a signal calls this."""
        self._obey = obey
        if self._came:
            obey()

    def run(self, work: Coroutine[Any, Any, T]) -> T:  # Any: a coroutine's send and yield types
        """Run to the end, or until a signal comes: then what runs is cancelled where it waits, and the process ends."""

        async def go() -> T:
            task = asyncio.current_task()
            assert task is not None
            self.obeyed_by(lambda: task.get_loop().call_soon_threadsafe(task.cancel))
            return await work

        if self._came:
            work.close()
            self.check()
        try:
            return asyncio.run(go())
        except asyncio.CancelledError:
            self.check()
            raise
        finally:
            self._obey = lambda: None

    def _note(self, number: int, _: object) -> None:
        self._came.append(number)
        if len(self._came) >= _PATIENCE:
            raise KeyboardInterrupt
        self._obey()
