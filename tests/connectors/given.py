"""What a connector is given, in memory: where its grant is kept, and what its calls cost."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta

from app import clock
from app.connectors.faults import BudgetSpent
from app.connectors.provider import Grant


@dataclass
class Shelf:
    """Keeps one grant, as for all processes: several connectors may share it."""

    kept: list[Grant] = field(default_factory=list)
    """One after another; the last is the present one."""
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def grant(self) -> Grant | None:
        return self.kept[-1] if self.kept else None

    async def renew(self, stale: Grant | None, sign_in: Callable[[Grant | None], Awaitable[Grant]]) -> Grant:
        async with self._one_at_a_time:
            present = await self.grant()
            if present is None or present == stale:
                self.kept.append(await sign_in(present))
            return self.kept[-1]


@dataclass
class Purse:
    """Counts what calls cost; `most` is where it ends."""

    most: int = 1_000_000
    spent: int = 0
    reported: list[tuple[int, int]] = field(default_factory=list)

    def allow(self, cost: int) -> None:
        if self.spent + cost > self.most:
            raise BudgetSpent(clock.now() + timedelta(hours=1), "the budget is spent")

    def spend(self, cost: int) -> None:
        self.spent += cost

    def report(self, limit: int, remaining: int) -> None:
        self.reported.append((limit, remaining))
