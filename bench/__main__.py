"""Run benches: `python -m bench [ingest] [single] [mixed] [scale] [page] [rules] [sync] [graphql]`.

On a Postgres of their own.
"""

import argparse
import asyncio
import contextlib
import os
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

import asyncpg
import orjson
from rich.console import Console

from app import clock, logs
from app.api.events import _new, read
from app.store import schema
from app.store.db import Database
from app.store.embedded import EmbeddedPostgres
from bench import client, crms, engine, graphql, sources, sync, together, world
from bench.tables import table

_KEY = "lt_bench_key_of_this_run_alone"
_BATCH = 1_000
console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)


@dataclass
class Bench:
    database: Database
    url: str
    port: int
    people: int
    seed: int = 0

    async def grow(self, want: int) -> None:
        if want > self.people:
            with console.status(f"making {want:,} contacts"):
                await world.people(self.database, self.people, want)
            self.people = want

    def bodies(self, count: int) -> list[list[dict[str, object]]]:
        """Batches of events nobody sent before."""
        self.seed += 1
        made = list(world.events(count, self.people, self.seed))
        return [made[at : at + _BATCH] for at in range(0, count, _BATCH)]


async def ingest(bench: Bench) -> None:
    """Scored ingest in batches of 1,000 through HTTP, against COPY of the same rows."""
    await bench.grow(100_000)
    await _send(bench, 20_000)  # caches and prepared statements warm, as in a server that runs
    rounds = []
    for _ in range(5):
        batches = bench.bodies(50_000)
        floor = await _copy(bench, batches)
        load = await client.send(bench.port, [client.request("/v1/events", {"events": b}, _KEY) for b in batches], 4)
        rounds.append((50_000 / load.seconds, floor, load.percentile(0.99)))
    table(
        console,
        "Scored ingest, batches of 1,000 through HTTP, 4 connections; floor: asyncpg COPY of the same rows",
        ("scored events/s", "COPY rows/s", "ratio", "p99 of a batch, ms"),
        *((f"{a:,.0f}", f"{b:,.0f}", f"{a / b:.3f}", f"{c * 1000:.0f}") for a, b, c in rounds),
        ("median", "", f"{median(a / b for a, b, _ in rounds):.3f}", ""),
    )


async def single(bench: Bench) -> None:
    """Requests of one event at 64 connections, against an endpoint that only parses the body."""
    await bench.grow(100_000)
    await _send(bench, 5_000)
    rounds = []
    for _ in range(5):
        flat = [event for batch in bench.bodies(8_000) for event in batch]
        floor = await client.send(bench.port, [client.request("/bench/parse", event, _KEY) for event in flat], 64)
        load = await client.send(bench.port, [client.request("/v1/events", event, _KEY) for event in flat], 64)
        rounds.append((load, floor))
    lone = await client.send(bench.port, [client.request("/v1/events", e, _KEY) for e in bench.bodies(300)[0]], 1)
    table(
        console,
        "Requests of one event, 64 connections; floor: an endpoint of the same app that only parses the body",
        ("requests/s", "floor requests/s", "ratio", "p50 ms", "p99 ms"),
        *(
            (
                f"{load.rate:,.0f}",
                f"{floor.rate:,.0f}",
                f"{load.rate / floor.rate:.3f}",
                f"{load.percentile(0.5) * 1000:.1f}",
                f"{load.percentile(0.99) * 1000:.1f}",
            )
            for load, floor in rounds
        ),
        ("median", "", f"{median(load.rate / floor.rate for load, floor in rounds):.3f}", "", ""),
    )
    console.print(
        f"A lone client, one request after another: p50 {lone.percentile(0.5) * 1000:.1f} ms, "
        f"p99 {lone.percentile(0.99) * 1000:.1f} ms.\n"
    )


_PAGE = """
    query Page($after: String) { contacts(
        first: 50, after: $after, filter: {score: {model: "engagement", gte: 50, lte: 100}},
        orderBy: [{score: {model: "engagement", direction: DESC}}]
    ) { pageInfo { hasNextPage endCursor } edges { cursor node {
        id email bounced bounceStatus optedOut score(model: "engagement") { value band { name color } } } } } }
"""
_SAME_SQL = """
    SELECT c.id, c.email, c.bounced, c.bounce_status, c.opted_out, s.value
    FROM score s JOIN contact c ON c.id = s.contact_id
    WHERE s.model_id = 1 AND s.value BETWEEN 50 AND 100
    ORDER BY s.value DESC, s.contact_id DESC LIMIT 51
"""


async def page(bench: Bench) -> None:
    """A page of 50 contacts by score range out of a million through GraphQL, against the same SQL by raw asyncpg."""
    await bench.grow(1_000_000)
    ask = client.request("/graphql", {"query": _PAGE}, _KEY)
    answer = orjson.loads(await client.fetch(bench.port, ask))
    assert len(answer["data"]["contacts"]["edges"]) == 50, answer
    pool = await asyncpg.create_pool(bench.url, min_size=8, max_size=8)
    rounds = []
    for _ in range(5):
        load = await client.send(bench.port, [ask] * 400, 8)
        began = time.perf_counter()
        await _repeat(lambda: pool.fetch(_SAME_SQL), 2_000, 8)
        rounds.append((load, 2_000 / (time.perf_counter() - began)))
    await pool.close()
    table(
        console,
        f"A page of 50 of {bench.people:,} contacts by score range, GraphQL, 8 clients; floor: the same SQL by asyncpg",
        ("pages/s", "floor pages/s", "ratio", "p50 ms", "p99 ms"),
        *(
            (
                f"{load.rate:,.0f}",
                f"{floor:,.0f}",
                f"{load.rate / floor:.3f}",
                f"{load.percentile(0.5) * 1000:.1f}",
                f"{load.percentile(0.99) * 1000:.1f}",
            )
            for load, floor in rounds
        ),
        ("median", "", f"{median(load.rate / floor for load, floor in rounds):.3f}", "", ""),
    )


async def scale(bench: Bench) -> None:
    """Ingest as the base grows: the cost of a batch must not grow with the tables."""
    rows = []
    for people in (10_000, 100_000, 1_000_000):
        await bench.grow(people)
        await _send(bench, 20_000)
        rates = []
        for _ in range(3):
            batches = bench.bodies(30_000)
            floor = await _copy(bench, batches)
            load = await client.send(
                bench.port, [client.request("/v1/events", {"events": b}, _KEY) for b in batches], 4
            )
            rates.append((30_000 / load.seconds, floor))
        rows.append((bench.people, median(a for a, _ in rates), median(b for _, b in rates)))
    first = rows[0][1] / rows[0][2]
    table(
        console,
        "Scored ingest as the base grows; floor: asyncpg COPY of the same rows",
        ("contacts", "scored events/s", "COPY rows/s", "ratio", "against the first"),
        *((f"{n:,}", f"{a:,.0f}", f"{b:,.0f}", f"{a / b:.3f}", f"{a / b / first:.2f}") for n, a, b in rows),
    )


async def mixed(bench: Bench) -> None:
    """Webhooks and SDK batches at once."""
    await bench.grow(100_000)
    await sources.mixed(bench.database, bench.port, _KEY, bench.people, console)


async def _send(bench: Bench, count: int) -> None:
    batches = bench.bodies(count)
    await client.send(bench.port, [client.request("/v1/events", {"events": b}, _KEY) for b in batches], 4)


_FLOOR = """
    DROP TABLE IF EXISTS floor;
    CREATE TABLE floor (
        id uuid PRIMARY KEY, contact_id uuid NOT NULL, type text NOT NULL, source text NOT NULL, client_id text,
        occurred_at timestamptz NOT NULL, received_at timestamptz NOT NULL, address text, properties jsonb NOT NULL
    );
"""


async def _copy(bench: Bench, batches: list[list[dict[str, object]]]) -> float:
    """Rows a second that asyncpg's COPY takes into a table with the event table's columns and key, batch by batch."""
    now = clock.now()
    records = []
    for batch in batches:
        given, _ = read(orjson.dumps({"events": batch}))
        new = [_new(event, now) for _, event in given]
        records.append(
            [
                (
                    e.id,
                    UUID(int=hash(e.ref) % 2**64),
                    e.type,
                    e.source,
                    e.client_id,
                    e.occurred_at,
                    now,
                    e.address,
                    e.properties,
                )
                for e in new
            ]
        )
    db = await asyncpg.connect(bench.url)
    await db.execute(_FLOOR)
    began = time.perf_counter()
    for rows in records:
        await db.copy_records_to_table("floor", records=rows)
    took = time.perf_counter() - began
    await db.execute("DROP TABLE floor")
    await db.close()
    return sum(len(rows) for rows in records) / took


async def _repeat(work: Callable[[], Awaitable[object]], times: int, lanes: int) -> None:
    todo = iter(range(times))

    async def lane() -> None:
        for _ in todo:
            await work()

    await asyncio.gather(*(lane() for _ in range(lanes)))


@contextlib.asynccontextmanager
async def _started(url: str) -> AsyncIterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "bench.serving", url, str(port), _KEY)
    try:
        for _ in range(200):
            await asyncio.sleep(0.1)
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
        yield port
    finally:
        process.terminate()
        await process.wait()


async def rules(url: str, people: int) -> None:
    """Publishing, the roll-over and explaining, on a workspace of their own: it needs no server."""
    async with Database(url, 6) as database:
        await schema.migrate(database.engine)
        await engine.seed(database, people, console)
        await engine.publishing(database, url, people, console)
        await engine.rollover(database, people, console)
        await engine.explaining(database, url, console)


BENCHES = {"ingest": ingest, "single": single, "mixed": mixed, "scale": scale, "page": page}


async def _run(url: str, chosen: list[str]) -> None:
    async with Database(url, 4) as database:
        await schema.migrate(database.engine)
        await world.models(database)
        async with _started(url) as port:
            bench = Bench(database, url, port, 0)
            for name in chosen:
                await BENCHES[name](bench)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "bench",
        nargs="*",
        choices=[*BENCHES, "rules", "sync", "graphql", []],
        default=[],
        help="which; all if left out",
    )
    parser.add_argument(
        "--people",
        type=int,
        help=f"contacts of 'rules', ten events each (1,000,000), and of 'graphql' ({graphql.PEOPLE:,}); people in each "
        f"CRM of 'sync' ({sync.PEOPLE:,})",
    )
    parser.add_argument(
        "--crm", action="append", choices=[*crms.CRMS, "all"], help="part of 'sync': one CRM, or all at once (each)"
    )
    given = parser.parse_args()
    chosen = given.bench or [*BENCHES, "rules", "sync", "graphql"]
    logs.configure("WARNING", as_json=False)
    console.print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}\n")
    served = [name for name in chosen if name in BENCHES]
    if served:
        _on_a_server_of_its_own(lambda url: _run(url, served))
    if "rules" in chosen:
        _on_a_server_of_its_own(lambda url: rules(url, given.people or 1_000_000))
    if "sync" in chosen:
        for kind in given.crm or [*crms.CRMS, "all"]:
            work = together.together if kind == "all" else partial(sync.alone, kind=kind)
            _on_a_server_of_its_own(partial(work, people=given.people or sync.PEOPLE, console=console))
    if "graphql" in chosen:
        _on_a_server_of_its_own(partial(graphql.graphql, people=given.people or graphql.PEOPLE, console=console))


def _on_a_server_of_its_own(work: Callable[[str], Coroutine[Any, Any, None]]) -> None:
    with tempfile.TemporaryDirectory(prefix="leadtally-bench-", ignore_cleanup_errors=True) as folder:
        embedded = EmbeddedPostgres(Path(folder) / "pg")
        try:
            asyncio.run(work(embedded.start()))
        finally:
            embedded.stop()


if __name__ == "__main__":
    main()
