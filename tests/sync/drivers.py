"""The toy as a CRM that can be connected: metered, slow, down or silent as a test wants it, and driven."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from app.connectors.http import Http
from app.connectors.provider import Flow, Setup
from app.connectors.shapes import Connector
from app.store.db import Database
from app.sync.driving import Driver
from app.sync.turns import Pace
from tests.engine.worlds import POLICY
from tests.sync.toy import Toy
from tests.sync.worlds import VAULT, World, opened

PACE = Pace(look=0.02, slice=0.05, share=0.1, first_wait=0.02, longest_wait=0.05, grace=0.5)
_CALLS = ("ensure", "changes", "everybody", "fetch", "find", "write", "create", "activities")


class Wired:
    """The toy behind a wire: calls are counted, may be kept waiting, and may fail."""

    def __init__(self, toy: Toy, setup: Setup, provider: "WiredToy") -> None:
        self._toy = toy
        self._setup = setup
        self._provider = provider

    def __getattr__(self, name: str) -> Any:  # Any: whatever the toy has
        found = getattr(self._toy, name)
        return self._call(name, found) if name in _CALLS else found

    def _call(self, name: str, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def made(*arguments: Any) -> Any:
            provider = self._provider
            self._setup.meter.allow(1)
            self._setup.meter.spend(1)
            provider.at_once += 1
            try:
                provider.called.append(name)
                await provider.gate.wait()
                if provider.slow_s:
                    await asyncio.sleep(provider.slow_s)
                if provider.faults:
                    raise provider.faults.pop(0)
                if provider.fault is not None:
                    raise provider.fault
                provider.most_at_once = max(provider.most_at_once, provider.at_once)
                return await call(*arguments)
            finally:
                provider.at_once -= 1

        return made


@dataclass
class WiredToy:
    toy: Toy
    kind: str = "toy"
    title: str = "Toy"
    flows: Sequence[Flow] = (Flow("none", ()),)
    unit: str = "calls"
    budget: int = 1_000_000
    fault: Exception | None = None
    """What every call ends in."""
    faults: list[Exception] = field(default_factory=list)
    """What the next calls end in."""
    slow_s: float = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    """While it is not set, calls wait."""
    called: list[str] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    connected: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    def connect(self, setup: Setup, client: Any) -> Connector:  # noqa: ARG002 # Any: as in the protocol
        self.connected += 1
        connector: Any = Wired(self.toy, setup, self)  # Any: it has what the toy has
        found: Connector = connector
        return found

    def authorize_url(self, setup: Setup, redirect_uri: str, state: str, challenge: str) -> str:
        raise NotImplementedError

    async def exchange(
        self, setup: Setup, client: Any, code: str, redirect_uri: str, verifier: str
    ) -> Any:  # Any: as above
        raise NotImplementedError


async def connected(world: World, toy: Toy, *, name: str = "toys", kind: str = "toy", **options: Any) -> UUID:
    """A connection that a driver can open."""
    made = await opened(world, toy, name=name, **options)
    await world.execute(
        "UPDATE connection SET credentials = $2, kind = $3 WHERE id = $1", made.id, VAULT.seal(b"{}"), kind
    )
    return made.id


class Drive:
    """A driver at work."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.stop = asyncio.Event()
        self.task = asyncio.create_task(driver.run(self.stop))

    async def end(self) -> None:
        self.stop.set()
        await asyncio.wait_for(self.task, 8)

    async def kill(self) -> None:
        """As a process dies: wherever it is."""
        self.task.cancel()
        await asyncio.wait([self.task])


@asynccontextmanager
async def driving(
    world: World, *providers: WiredToy, pace: Pace = PACE, database: Database | None = None
) -> AsyncIterator[Drive]:
    async with Http(private=True) as http:
        by_kind: Any = {one.kind: one for one in providers}  # Any: a mapping of providers
        driver = Driver(database or world.database, world.plans, POLICY, VAULT, http, providers=by_kind, pace=pace)
        drive = Drive(driver)
        try:
            yield drive
        finally:
            await drive.kill() if drive.task.cancelled() else await drive.end()


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something is so; fails after a while."""
    async with asyncio.timeout(8):
        while not await is_so():  # noqa: ASYNC110 - what is asked is the database
            await asyncio.sleep(0.01)
