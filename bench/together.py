"""All stand-in CRMs connected at once: how fast all are told at the same time, how soon a flag is seen there while the
whole service is under load, and what connections cost ingest.
"""

import asyncio
import contextlib
import os
import random
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any, NamedTuple
from uuid import UUID

import httpx
import orjson
from rich.console import Console

from app import clock
from app.api.events import _new, read
from app.engine import ingest
from app.engine.hygiene import SoftPolicy
from app.engine.identity import record_kind
from app.engine.ingest import NewEvent
from app.engine.transactions import committed
from app.sandbox.people import people as made_up
from app.store.db import Connection
from app.sync import pull, push
from app.sync.mapping import BOUNCED, BOUNCED_AT
from app.sync.shapes import Counts
from bench import crms, world
from bench.client import Load
from bench.crms import CRMS, Crm
from bench.sync import Side, measured, side, watched
from bench.tables import table

_MOST = 20_000
"""People of these parts: what is measured does not grow with them."""
_KEY = "lt_bench_key_of_the_sync_alone"
_PULL_EVERY_S = 30
_LOOK_S = 0.05
_POLLED = 100
"""People of one poll."""
_A_SECOND, _CALLS_A_SECOND = 200, 10
_PATIENCE_S = 120.0
_ROUNDS, _BATCH, _LANES = 5, 1_000, 2
_EVENTS_EACH = 2
"""Of a round, for each person; in all no more than there are people of these parts at most."""


class _Load(NamedTuple):
    seconds: int
    bounces: int


_LOAD, _SMALL_LOAD = _Load(60, 200), _Load(15, 50)


@dataclass
class _Connected:
    """A CRM and the connection to it."""

    crm: Crm
    id: UUID
    shows: str
    """Where the CRM shows that somebody bounced."""
    told: dict[str, float] = field(default_factory=dict)
    """Records whose bounces we acknowledged, and when, until they are seen there."""
    lags: list[float] = field(default_factory=list)
    """Seconds."""
    longest: int = 0
    """Contacts that waited for it at once."""


async def together(url: str, people: int, console: Console) -> None:
    """On the empty database at `url`."""
    people = min(people, _MOST)
    async with side(url) as ours, crms.stand_ins(people) as reached, crms.bare() as http:
        connected = [await _connected(ours, CRMS[kind](http, reached[kind]), people) for kind in CRMS]
        await world.models(ours.database)
        ours.wire.lifts_pace = True
        await _at_once(ours, connected, people, console)
        await ours.rest()
        everybody = [one.email for one in made_up(people)]
        load = _LOAD if people == _MOST else _SMALL_LOAD
        await _flags(ours, url, connected, everybody, load, console)
        await _cost(ours, everybody, console)


async def _connected(ours: Side, crm: Crm, people: int) -> _Connected:
    """With everybody pulled."""
    id_ = await ours.connect(crm, pull_every_s=_PULL_EVERY_S)
    await measured(ours, id_, pull.pull, f"{crm.kind}: all are pulled", people, lambda counts: counts.seen)
    async with ours.opened(id_) as opened:
        flags = [
            pair for pair in opened.options.pairs if pair.object == crm.object and pair.here in (BOUNCED, BOUNCED_AT)
        ]
    return _Connected(crm, id_, min(flags, key=lambda pair: pair.here).there)


# --- all at once ------------------------------------------------------------------------------------------------------


async def _at_once(ours: Side, connected: Sequence[_Connected], people: int, console: Console) -> None:
    """Changed scores of everybody are told: to one CRM after the other, and then to all at the same time."""
    alone = {}
    for one in connected:
        title = f"{one.crm.kind}: all are told"
        alone[one.id] = await measured(ours, one.id, push.drain, title, people, lambda counts: counts.written)
    await ours.publish(people)
    await ours.rest()
    took: dict[UUID, float] = {}
    counts = {one.id: Counts() for one in connected}
    began = time.perf_counter()

    async def drain(one: _Connected) -> None:
        async with ours.opened(one.id) as opened:
            await push.drain(opened, counts[one.id], asyncio.Event())
        took[one.id] = time.perf_counter() - began

    waiting = people * len(connected)
    async with watched("all are told at once", waiting, lambda: sum(one.written for one in counts.values())):
        await asyncio.gather(*(drain(one) for one in connected))
    table(
        console,
        f"{people:,} changed scores told to each of {len(connected)} CRMs: to one after the other, and to all at once "
        "(no rate limits)",
        ("CRM", "alone s", "at once s", "records told"),
        *(
            (one.crm.kind, f"{alone[one.id].seconds:.1f}", f"{took[one.id]:.1f}", f"{counts[one.id].written:,}")
            for one in connected
        ),
        ("all", f"{sum(one.seconds for one in alone.values()):.1f}", f"{max(took.values()):.1f}", ""),
    )


# --- flags under load -------------------------------------------------------------------------------------------------


async def _flags(
    ours: Side, url: str, connected: Sequence[_Connected], everybody: Sequence[str], load: _Load, console: Console
) -> None:
    """Hard bounces at random moments, while the whole service scores events and tells of the scores."""
    records = await _records(ours, connected, load.bounces)
    others = [email for email in everybody if email not in records]
    written = await _written(ours, connected)
    over = asyncio.Event()
    async with _serving(ours, url) as api, watched("flags under load", load.bounces * 2, lambda: _seen(connected)):
        await _be_idle(ours)
        watching = [asyncio.create_task(_watch(one, over)) for one in connected]
        watching += [asyncio.create_task(_measure_backlog(ours, one, over)) for one in connected]
        try:
            latencies, _ = await asyncio.gather(_send(api, others, load), _bounce(api, records, connected, load))
            over.set()
            await asyncio.wait_for(asyncio.gather(*watching), _PATIENCE_S)
        except TimeoutError:
            pass  # whoever was not seen is missing in the table
        finally:
            for task in watching:
                task.cancel()
            await asyncio.wait(watching)
    scored = Load(len(latencies), load.seconds, sorted(latencies))
    after = await _written(ours, connected)
    table(
        console,
        f"From an acknowledged hard bounce to the flag in the CRM, at {len(everybody):,} people, "
        f"{scored.rate * _A_SECOND / _CALLS_A_SECOND:.0f} scored events a second for {load.seconds} s (calls: p99 "
        f"{scored.percentile(0.99) * 1000:.0f} ms), a look for changes each {_PULL_EVERY_S} s",
        ("CRM", "p50 s", "p99 s", "max s", "seen", "records told meanwhile", "longest outbox"),
        *(
            (
                one.crm.kind,
                *(f"{_percentile(one.lags, share):.2f}" for share in (0.5, 0.99, 1)),
                f"{len(one.lags)} of {load.bounces}",
                f"{after[one.id] - written[one.id]:,}",
                f"{one.longest:,}",
            )
            for one in connected
        ),
    )


async def _records(ours: Side, connected: Sequence[_Connected], count: int) -> dict[str, list[str]]:
    """Addresses of people whom all CRMs know, and their records in each."""
    async with ours.database.hot.acquire() as db:
        rows = await db.fetch(
            """
            SELECT c.email, array_agg(i.value ORDER BY array_position($1, i.kind)) AS records
            FROM identity i JOIN contact c ON c.id = i.contact_id
            WHERE i.kind = ANY($1) AND NOT c.bounced
            GROUP BY c.id HAVING count(*) = cardinality($1) ORDER BY md5(c.email) LIMIT $2
            """,
            [record_kind(one.id, one.crm.object) for one in connected],
            count,
        )
    assert len(rows) == count, "too few people whom all CRMs know"
    return {row["email"]: row["records"] for row in rows}


@asynccontextmanager
async def _serving(ours: Side, url: str) -> AsyncIterator[httpx.AsyncClient]:
    """The whole service in a process of its own, its worker inside."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    settings = {"LEADTALLY_PRIVATE_CRMS": "1", "LEADTALLY_ENCRYPTION_KEY": ours.key}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.serving", url, str(port), _KEY, env={**os.environ, **settings}
    )
    try:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            headers={"Authorization": f"Bearer {_KEY}"},
            trust_env=False,
            timeout=60,
        ) as api:
            for _ in range(200):
                await asyncio.sleep(0.1)
                with contextlib.suppress(httpx.TransportError):
                    if (await api.get("/readyz")).is_success:
                        break
            yield api
    finally:
        await crms.ended(process)


async def _be_idle(ours: Side) -> None:
    """Wait until the service has looked for changes in each CRM, and told what there was."""
    undone = "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM connection WHERE pull_at IS NULL)"
    async with asyncio.timeout(_PATIENCE_S):
        while await ours.value(undone):  # noqa: ASYNC110 - what is asked is the database
            await asyncio.sleep(0.1)


async def _send(api: httpx.AsyncClient, emails: Sequence[str], load: _Load) -> list[float]:
    """Events of known people, evenly; returns for how long each call waited."""
    latencies: list[float] = []
    dice = random.Random(1)
    many = list(world.events(load.seconds * _A_SECOND, len(emails), 1))
    size, began = _A_SECOND // _CALLS_A_SECOND, time.perf_counter()
    for number in range(load.seconds * _CALLS_A_SECOND):
        await asyncio.sleep(max(began + number / _CALLS_A_SECOND - time.perf_counter(), 0))
        some = [{**one, "contact": {"email": dice.choice(emails)}} for one in many[number * size : (number + 1) * size]]
        sent = time.perf_counter()
        (await api.post("/v1/events", content=orjson.dumps({"events": some}))).raise_for_status()
        latencies.append(time.perf_counter() - sent)
    return latencies


async def _bounce(
    api: httpx.AsyncClient, records: dict[str, list[str]], connected: Sequence[_Connected], load: _Load
) -> None:
    dice = random.Random(2)
    began = time.perf_counter()
    for at, (email, ids) in zip(sorted(dice.uniform(0, load.seconds) for _ in records), records.items(), strict=True):
        await asyncio.sleep(max(began + at - time.perf_counter(), 0))
        bounce = {
            "type": "email.bounced",
            "source": "bench",
            "contact": {"email": email},
            "properties": {"bounce": "hard"},
        }
        said = (await api.post("/v1/events", content=orjson.dumps(bounce))).raise_for_status().json()
        assert said["accepted"] == 1
        acknowledged = time.perf_counter()
        for one, id_ in zip(connected, ids, strict=True):
            one.told[id_] = acknowledged


async def _watch(one: _Connected, over: asyncio.Event) -> None:
    """Look in the CRM for those whose bounces were acknowledged, until no more come and all were seen."""
    while one.told or not over.is_set():
        began = time.perf_counter()
        waiting = list(one.told)
        for first in range(0, len(waiting), _POLLED):
            seen = await one.crm.bounced(waiting[first : first + _POLLED], one.shows)
            now = time.perf_counter()
            one.lags += (now - one.told.pop(id_) for id_ in seen)
        await asyncio.sleep(max(began + _LOOK_S - time.perf_counter(), 0))


async def _measure_backlog(ours: Side, one: _Connected, over: asyncio.Event) -> None:
    while not over.is_set():
        waiting = await ours.value("SELECT count(*) FROM outbox WHERE connection_id = $1", one.id)
        one.longest = max(one.longest, waiting)
        await asyncio.sleep(0.5)


async def _written(ours: Side, connected: Sequence[_Connected]) -> dict[UUID, int]:
    """Records that the service told of, by its runs."""
    query = "SELECT coalesce(sum((counts ->> 'written')::int), 0) FROM sync_run WHERE connection_id = $1"
    return {one.id: await ours.value(query, one.id) for one in connected}


def _seen(connected: Sequence[_Connected]) -> int:
    return sum(len(one.lags) for one in connected)


def _percentile(found: list[float], share: float) -> float:
    return sorted(found)[min(int(share * len(found)), len(found) - 1)] if found else float("nan")


# --- what connections cost --------------------------------------------------------------------------------------------


async def _cost(ours: Side, everybody: Sequence[str], console: Console) -> None:
    """Scored ingest with all connections, of people whom all know; and in turn without any connection."""
    rows = []
    with_all = await ours.value("SELECT count(*) FROM connection")
    async with ours.database.hot.acquire() as db:
        await db.execute("CREATE TABLE aside AS TABLE connection")
    await _ingested(ours, everybody, 100)  # what is cached and prepared is so for both
    async with watched("what connections cost ingest"):
        for number in range(_ROUNDS):
            linked = await _ingested(ours, everybody, 2 * number)
            waiting = await ours.value("SELECT count(*) FROM outbox")
            async with ours.database.batch() as db:
                await db.execute("TRUNCATE outbox; DELETE FROM connection")
            alone = await _ingested(ours, everybody, 2 * number + 1)
            async with ours.database.batch() as db:
                await db.execute("INSERT INTO connection TABLE aside")
            rows.append((linked, alone, waiting))
    table(
        console,
        f"Scored ingest by {_LANES} lanes in batches of {_BATCH:,}, of {len(everybody):,} people whom {with_all} "
        "connections know; floor: the same without a connection",
        ("events/s", "floor events/s", "ratio", "outbox after it"),
        *((f"{a:,.0f}", f"{b:,.0f}", f"{a / b:.2f}", f"{n:,}") for a, b, n in rows),
        ("median", "", f"{median(a / b for a, b, _ in rows):.2f}", ""),
    )


async def _ingested(ours: Side, everybody: Sequence[str], seed: int) -> float:
    """Events a second."""
    made = list(_batches(everybody, seed))
    batches = iter(made)
    policy = SoftPolicy()

    async def accept(batch: Sequence[NewEvent], db: Connection) -> set[UUID]:
        return await ingest.accept(db, ours.plans, batch, clock.now(), policy)

    async def lane() -> None:
        for batch in batches:
            stored = await committed(ours.database, partial(accept, batch))
            assert len(stored) == len(batch)

    async with ours.database.hot.acquire() as db:
        await db.execute("CHECKPOINT", timeout=900)
    began = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(_LANES)))
    return sum(map(len, made)) / (time.perf_counter() - began)


def _batches(everybody: Sequence[str], seed: int) -> Iterator[list[NewEvent]]:
    dice, now = random.Random(seed), clock.now()
    count = min(_EVENTS_EACH * len(everybody), _MOST)
    many: list[dict[str, Any]] = [  # Any: JSON
        {**one, "source": "cost", "contact": {"email": dice.choice(everybody)}}
        for one in world.events(count, len(everybody), seed)
    ]
    for first in range(0, count, _BATCH):
        given, _ = read(orjson.dumps({"events": many[first : first + _BATCH]}))
        yield [_new(event, now) for _, event in given]
