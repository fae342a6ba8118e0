"""The sync with the stand-in CRMs: how fast people come in and what is said of them goes out, at how many calls and how
much memory; how soon a flag is seen there under load; and what connections cost ingest.

Our side runs in this process, on the hot path's pool, as a worker drives it; each CRM runs in a process of its own.
"""

import asyncio
import contextlib
import gc
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID

import psutil
from cryptography.fernet import Fernet
from rich.console import Console
from rich.progress import Progress

from app import clock, connectors, demo
from app.connectors.shapes import Key
from app.engine import drafts, publish, rollout
from app.engine.hygiene import SoftPolicy
from app.engine.plan import Plans
from app.engine.rules import RuleKind
from app.store import schema
from app.store.db import Database
from app.store.vault import Vault
from app.sync import checking, connections, opening, pull, push, setting_up
from app.sync.mapping import BAND, SCORE
from app.sync.options import Options
from app.sync.shapes import Counts, Opened
from bench import crms
from bench.crms import CRMS, Crm, Sent, Wire
from bench.tables import table

PEOPLE = 100_000

Work: TypeAlias = Callable[[Opened, Counts, asyncio.Event], Awaitable[object]]

_POLICY = SoftPolicy()
_BUDGET = 10**9
_MODEL = "engagement"
_HEADING = ("what", "seconds", "a second", "our CPU s", "floor s", "ratio", "calls", "least", "grown by MB")
_EDITS_AT_ONCE = 8
_IDS = 1_000


# --- our side ---------------------------------------------------------------------------------------------------------


@dataclass
class Side:
    """Our side."""

    database: Database
    wire: Wire
    key: str
    vault: Vault
    plans: Plans

    def opened(self, connection: UUID) -> AbstractAsyncContextManager[Opened]:
        return opening.opened(self.database, self.vault, self.wire, self.plans, _POLICY, connection)

    async def connect(self, crm: Crm, **options: Any) -> UUID:  # Any: as in Options
        """A tested connection that maps the defaults and a property. Nobody is read yet."""
        await crm.prepare()
        new = crm.connection(Options(budget=_BUDGET, reserve_percent=0, **options))
        async with self.database.batch() as db:
            made = await connections.create(db, self.vault, new, connectors.providers(), clock.now(), private=True)
        tested = await checking.test(self.database, lambda: self.opened(made.id), made.id, private=True, hook=None)
        assert tested.is_ok, tested.findings
        async with self.opened(made.id) as opened:
            await setting_up.save(opened, [*opened.options.pairs, *crm.words()], clock.now())
        return made.id

    async def publish(self, points: int) -> None:
        """Publish a model by which everybody who has an address has so many points, and do its job."""
        async with self.database.hot.acquire() as db:
            is_there = await db.fetchval("SELECT count(*) FROM scoring_model WHERE key = $1", _MODEL)
        if not is_there:
            await drafts.create_model(self.database, _MODEL, {"name": "Engagement", "bands": demo.BANDS})
        rule = {
            "kind": RuleKind.PROFILE,
            "name": f"{points} more",
            "condition": {"field": "contact.email", "operator": "contains", "value": "@"},
            "points": Decimal(points),
        }
        await drafts.create_rule(self.database, _MODEL, rule)
        async with self.database.batch() as db:
            job = (await publish.publish(db, _MODEL, "bench", clock.now())).job
        await rollout.run_publish(self.database, job)

    async def rest(self) -> None:
        """Do what autovacuum does sooner or later, so that it does not do it in the middle of what is measured."""
        async with self.database.hot.acquire() as db:
            await db.execute(
                "VACUUM (ANALYZE) contact, activity, identity, score, score_change, link, outbox", timeout=900
            )
            await db.execute("CHECKPOINT", timeout=900)

    async def value(self, query: str, *values: object) -> int:
        async with self.database.hot.acquire() as db:
            found: int = await db.fetchval(query, *values, timeout=900)
        return found


@asynccontextmanager
async def side(url: str) -> AsyncIterator[Side]:
    """Our side on the empty database at `url`; also ends in good order when this process is told to."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    key = Fernet.generate_key().decode()
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="leadtally-bench-"))
        database = await stack.enter_async_context(Database(url, 6))
        await schema.migrate(database.engine)
        wire = await stack.enter_async_context(Wire(Path(folder)))
        vault = Vault([key])
        yield Side(database, wire, key, vault, Plans(vault))


# --- measuring --------------------------------------------------------------------------------------------------------


@dataclass
class Taken:
    """What a part of the work took."""

    sent: Sent
    counts: Counts = field(default_factory=Counts)
    seconds: float = 0
    cpu_s: float = 0
    grown_mb: float = 0
    """The most memory that this process had in the meantime, over what it had before."""

    def row(self, what: str, people: int, floor: float | None = None, least: int | None = None) -> tuple[str, ...]:
        beside = ("", "") if floor is None else (f"{floor:.2f}", f"{self.seconds / floor:.1f}")
        return (
            what,
            f"{self.seconds:.2f}",
            f"{people / self.seconds:,.0f}",
            f"{self.cpu_s:.2f}",
            *beside,
            f"{self.sent.counts.total():,}",
            "" if least is None else f"{least:,}",
            f"{self.grown_mb:.0f}",
        )


async def measured(
    side: Side, connection: UUID, work: Work, title: str, total: int, done: Callable[[Counts], int]
) -> Taken:
    """Open a connection, let it work, and close it."""
    taken = Taken(side.wire.begin())
    gc.collect()
    async with watched(title, total, lambda: done(taken.counts)):
        with _growth() as grown:
            cpu, began = time.process_time(), time.perf_counter()
            async with side.opened(connection) as opened:
                await work(opened, taken.counts, asyncio.Event())
            taken.seconds, taken.cpu_s = time.perf_counter() - began, time.process_time() - cpu
    taken.grown_mb = max(grown) - grown[0]
    return taken


@contextmanager
def _growth() -> Iterator[list[float]]:
    """This process' memory in MB, every 20 ms while the block runs."""
    process, is_over = psutil.Process(), threading.Event()

    def look() -> float:
        return float(process.memory_info().rss) / 1e6

    def watch() -> None:
        while not is_over.wait(0.02):
            found.append(look())

    found = [look()]
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        is_over.set()
        thread.join()
        found.append(look())


@asynccontextmanager
async def watched(title: str, total: int | None = None, done: Callable[[], int] = int) -> AsyncIterator[None]:
    """A progress bar on stderr while the block runs; without a total one that only shows that something goes on."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, refresh_per_second=2, disable=not console.is_terminal) as progress:
        bar = progress.add_task(title, total=total)

        async def tell() -> None:
            while True:
                progress.update(bar, completed=done())
                await asyncio.sleep(0.5)

        telling = asyncio.create_task(tell())
        try:
            yield
        finally:
            telling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await telling


def shown(console: Console, title: str, *rows: tuple[str, ...], calls: Mapping[str, Counter[str]]) -> None:
    table(console, title, _HEADING, *rows)
    for what, counts in calls.items():
        console.print(f"  {what}: " + (", ".join(f"{n:,} {call}" for call, n in counts.most_common()) or "no call"))
    console.print()


# --- one CRM ----------------------------------------------------------------------------------------------------------


async def alone(url: str, kind: str, people: int, console: Console) -> None:
    """One CRM, on the empty database at `url`."""
    async with side(url) as ours, crms.stand_ins(people) as reached, crms.bare() as http:
        crm = CRMS[kind](http, reached[kind])
        bench = _Alone(ours, crm, await ours.connect(crm), people, console)
        await bench.first_pull()
        await bench.push()
        await bench.echo()
        await bench.changes()


@dataclass
class _Alone:
    side: Side
    crm: Crm
    connection: UUID
    people: int
    console: Console
    records: dict[str, int] = field(default_factory=dict)
    """How many of each object there are."""

    async def first_pull(self) -> None:
        taken = await self._pulled("first pull")
        floor = await self.crm.reread(taken.sent)
        await self._expect("contact", self.people)
        calls = {"the pull": taken.sent.counts.copy()}
        async with self.side.database.hot.acquire() as db:
            rows = await db.fetch("SELECT object, count(*) FROM link GROUP BY 1")
        self.records = {row[0]: row[1] for row in rows}
        pulled = taken.row("pull; floor: the pages", self.people, floor, self.crm.least_reads(self.records))
        await self.side.rest()
        idle = await self._drained("drain of nothing new", _no_count)
        await self._expect("outbox", 0)
        shown(
            self.console,
            f"{self.crm.kind}: the first pull of {self.people:,} people into an empty base; floor: the same pages by "
            "bare httpx, parsed by orjson",
            pulled,
            idle.row("the outbox after it, with nothing to tell", self.people),
            calls=calls,
        )

    async def push(self) -> None:
        least = self.crm.least_writes
        told = await self._told(10)
        pace = self.crm.calls_in_2_s
        limit = None if pace is None else told.sent.counts.total() * 2 / pace
        rows, calls = [], {"the drain": told.sent.counts.copy()}
        if limit is not None:
            rows.append(told.row("drain; floor: what its rate limit takes", self.people, limit, least(self.records)))
            self.side.wire.lifts_pace = True
            told = await self._told(20)
            self.side.wire.lifts_pace = False
            calls["the drain without a rate limit"] = told.sent.counts.copy()
        async with self.side.opened(self.connection) as opened:
            fields = [pair for pair in opened.options.pairs if pair.here.startswith((SCORE, BAND))]
        async with crms.stand_ins(self.people) as reached, crms.bare() as http:
            other = CRMS[self.crm.kind](http, reached[self.crm.kind])
            async with watched(f"{self.crm.kind}: floor of the push"):
                floor = await other.rewrite(told.sent, fields)
        what = "drain; floor: the bodies" if limit is None else "without a rate limit; floor: the bodies, 8 at once"
        rows.append(told.row(what, self.people, floor, least(self.records)))
        shown(
            self.console,
            f"{self.crm.kind}: {self.people:,} changed scores and bands told; floor: the same bodies by bare httpx, to "
            "another stand-in like this one",
            *rows,
            calls=calls,
        )

    async def echo(self) -> None:
        before = await self.side.value("SELECT pg_current_xact_id()::text::bigint")
        taken = await self._pulled("echo")
        floor = await self.crm.reread(taken.sent)
        touched = {
            name: await self.side.value(f"SELECT count(*) FROM {name} WHERE xmin::text::bigint > $1", before)
            for name in ("contact", "score", "score_change", "outbox")
        }
        shown(
            self.console,
            f"{self.crm.kind}: the look for changes after it, at {taken.counts.seen:,} records that we changed "
            "ourselves; floor: the same pages",
            taken.row("echo", taken.counts.seen, floor, self.crm.least_reads(self.records)),
            calls={"the pull": taken.sent.counts},
        )
        self.console.print(
            f"  found: {taken.counts.to_json()}; rows written: "
            + ", ".join(f"{name} {count:,}" for name, count in touched.items()), "\n"
        )  # fmt: skip

    async def changes(self) -> None:
        await self._edit()
        await self.side.rest()
        taken = await self._pulled("changes")
        floor = await self.crm.reread(taken.sent)
        shown(
            self.console,
            f"{self.crm.kind}: the look for changes after people there changed everybody, one of ten to want no mail; "
            "floor: the same pages",
            taken.row("pull; floor: the pages", taken.counts.seen, floor, self.crm.least_reads(self.records)),
            calls={"the pull": taken.sent.counts},
        )
        self.console.print(f"  found: {taken.counts.to_json()}\n")

    # --- steps --------------------------------------------------------------------------------------------------------

    async def _pulled(self, title: str) -> Taken:
        return await measured(
            self.side, self.connection, pull.pull, f"{self.crm.kind}: {title}", self.people, lambda counts: counts.seen
        )

    async def _drained(self, title: str, done: Callable[[Counts], int]) -> Taken:
        title = f"{self.crm.kind}: {title}"
        return await measured(self.side, self.connection, push.drain, title, self.people, done)

    async def _told(self, points: int) -> Taken:
        """Give everybody so many points, and tell it."""
        await self.side.publish(points)
        await self._expect("outbox", self.people)
        await self.side.rest()
        taken = await self._drained("push", lambda counts: counts.written)
        await self._expect("outbox", 0)
        return taken

    async def _edit(self) -> None:
        """Let people in the CRM change everybody."""
        done = 0

        async def lane(queue: "asyncio.Queue[tuple[int, Key]]") -> None:
            nonlocal done
            while not queue.empty():
                await self.crm.change(*queue.get_nowait())
                done += 1

        async with watched(f"{self.crm.kind}: people at work", self.people, lambda: done):
            after = Key("", "")
            while keys := await self._keys(after):
                queue = asyncio.Queue[tuple[int, Key]]()
                for numbered in enumerate(keys, start=done + 1):
                    queue.put_nowait(numbered)
                await asyncio.gather(*(lane(queue) for _ in range(_EDITS_AT_ONCE)))
                after = keys[-1]

    async def _keys(self, after: Key) -> list[Key]:
        async with self.side.database.hot.acquire() as db:
            rows = await db.fetch(
                """
                SELECT object, record FROM link WHERE connection_id = $1 AND (object, record) > ($2, $3)
                ORDER BY object, record LIMIT $4
                """,
                self.connection,
                *after,
                _IDS,
            )
        return [Key(*row) for row in rows]

    async def _expect(self, name: str, count: int) -> None:
        """Raises RuntimeError if what is measured is not what this bench says."""
        found = await self.side.value(f"SELECT count(*) FROM {name}")
        if found != count:
            raise RuntimeError(f"{name} holds {found:,}, not {count:,}")


def _no_count(_: Counts) -> int:
    return 0
