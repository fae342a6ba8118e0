"""Keeping below a CRM's rate limit, where the CRM says what it is: asking for silence costs it, and us, more."""

import asyncio
from collections import deque


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
