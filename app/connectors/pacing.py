"""How many calls at once, and how fast: below a CRM's limit, for to be told to be silent costs more."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Found = TypeVar("Found")

_WIDTH = 8


async def side_by_side(
    work: Callable[[Item], Awaitable[Found]], items: Sequence[Item], width: int = _WIDTH
) -> list[Found]:
    """What `work` makes of each, in their order, several at once. The first fault ends them all, and is raised."""
    gate = asyncio.Semaphore(width)

    async def one(item: Item) -> Found:
        async with gate:
            return await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(item)) for item in items]
    except ExceptionGroup as faults:
        raise faults.exceptions[0] from None
    return [task.result() for task in tasks]


class Pace:
    """Lets so many calls pass in a window, in the order in which they came."""

    def __init__(self, most: int, window_s: float) -> None:
        self.most = most
        self._window_s = window_s
        self._passed: deque[float] = deque()
        self._turn = asyncio.Lock()

    async def turn(self) -> None:
        loop = asyncio.get_running_loop()
        async with self._turn:
            while len(self._passed) >= self.most:
                await asyncio.sleep(max(self._passed[0] + self._window_s - loop.time(), 0))
                self._passed.popleft()
            self._passed.append(loop.time())


class EvenPace:
    """Lets so many calls pass in a second, evenly, in the order in which they came; some at once after some quiet."""

    def __init__(self, a_second: float, at_once: int = 1) -> None:
        self._gap_s = 1 / a_second
        self._ahead_s = (at_once - 1) * self._gap_s
        self._next = 0.0

    async def turn(self) -> None:
        now = asyncio.get_running_loop().time()
        mine = max(self._next, now)
        self._next = mine + self._gap_s
        # Also where there is nothing to wait for, so that others get their turn.
        await asyncio.sleep(max(mine - self._ahead_s - now, 0))
