"""How fast a change of the rules reaches everybody: publishing, re-tallying, the roll-over, explaining.

Everything runs in this process, as a worker's jobs do, on contacts and events made by SQL. Each figure stands beside a
floor that plain asyncpg measures on the same tables in the same run.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from statistics import median
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
from rich.console import Console

from app import clock, worker
from app.engine import drafts, ingest, publish, replay
from app.engine.hygiene import SoftPolicy
from app.engine.identity import Ref
from app.engine.ingest import NewEvent
from app.engine.plan import Plans
from app.engine.rules import RuleKind
from app.engine.sweep import sweep
from app.store.db import Database
from bench.tables import table

_EACH = 10
"""Events of a contact, on average."""
_INDEXES = {
    "event_contact": "event (contact_id, occurred_at, id)",
    "event_occurred": "event (occurred_at, id)",
    "event_type": "event (type, occurred_at, id)",
    "event_source": "event (source, occurred_at, id)",
}
_CONTACTS = """
    INSERT INTO contact (id, email, name, stage, properties, created_at, updated_at)
    SELECT md5('engine' || n)::uuid, 'e' || n || '@example.com', 'Person ' || n,
           (ARRAY['lead', 'customer'])[1 + n % 2], jsonb_build_object('employees', n % 500), $3, $3
    FROM generate_series($1::bigint, $2::bigint) n
"""
_ACTIVITIES = """
    INSERT INTO activity (contact_id, last_event_at)
    SELECT md5('engine' || n)::uuid, $3::timestamptz - interval '1 day' * (n % 30)
    FROM generate_series($1::bigint, $2::bigint) n
"""
_EVENTS = """
    INSERT INTO event (id, contact_id, type, source, client_id, occurred_at, received_at, properties)
    SELECT md5('event' || e)::uuid, md5('engine' || (e * 7919) % $3)::uuid,
           (ARRAY['email.delivered', 'email.opened', 'email.opened', 'page.viewed', 'page.viewed', 'email.clicked',
                  'form.submitted', 'email.delivered', 'crm.activity', 'page.viewed'])[1 + abs(hashint8(e)) % 10],
           'bench', e::text, $4::timestamptz - interval '1 minute' * (abs(hashint8(e + 1)) % 172800), $4,
           jsonb_build_object('path', (ARRAY['/', '/pricing', '/blog'])[1 + abs(hashint8(e + 2)) % 3],
                              'campaign', 'c' || abs(hashint8(e + 3)) % 20)
    FROM generate_series($1::bigint, $2::bigint) e
"""
_STEP = 500_000
_MINUTE = timedelta(minutes=1)


async def seed(database: Database, people: int, console: Console) -> None:
    """`people` contacts with ten events each, over the last 120 days; no model yet."""
    now = clock.now()
    with console.status(f"making {people:,} contacts and {people * _EACH:,} events"):
        async with database.hot.acquire() as db:
            for name in _INDEXES:
                await db.execute(f"DROP INDEX {name}")
            for first in range(0, people, _STEP):
                last = min(first + _STEP, people) - 1
                await db.execute(_CONTACTS, first, last, now, timeout=900)
                await db.execute(_ACTIVITIES, first, last, now, timeout=900)
            for first in range(0, people * _EACH, _STEP):
                last = min(first + _STEP, people * _EACH) - 1
                await db.execute(_EVENTS, first, last, people, now, timeout=900)
            await db.execute("SET statement_timeout = 0")
            for name, columns in _INDEXES.items():
                await db.execute(f"CREATE INDEX {name} ON {columns}", timeout=900)
            await db.execute("VACUUM (ANALYZE) contact, activity, event", timeout=900)
            await db.execute("CHECKPOINT", timeout=900)


def _is(field: str, value: str) -> dict[str, Any]:
    return {"field": field, "operator": "=", "value": value}


def _both(*tests: dict[str, Any]) -> dict[str, Any]:
    return {"combinator": "and", "rules": list(tests)}


_PRICING = _both(_is("event.type", "page.viewed"), _is("event.properties.path", "/pricing"))
_RULES: list[dict[str, Any]] = [
    {"name": "opened", "condition": _is("event.type", "email.opened"), "points": 10, "max_per_day": 2},
    {"name": "clicked", "condition": _is("event.type", "email.clicked"), "points": 20},
    {"name": "pricing", "condition": _PRICING, "points": 30, "max_points": 90},
    {"name": "form", "condition": _is("event.type", "form.submitted"), "points": 50},
]


async def publishing(database: Database, url: str, people: int, console: Console) -> None:
    """The first version, then a change of points, then a changed condition with ingest going on."""
    await drafts.create_model(database, "engagement", {"name": "Engagement", "window_days": 90})
    made = []
    for rule in _RULES:
        row, _ = await drafts.create_rule(
            database, "engagement", {"kind": RuleKind.EVENT, **rule, "points": Decimal(rule["points"])}
        )
        made.append(row.id)
    bounced = {
        "kind": RuleKind.PROFILE,
        "name": "bounced",
        "condition": _is("contact.bounced", "true"),
        "points": -1000,
    }
    await drafts.create_rule(database, "engagement", bounced)
    first = await _publish(database, "engagement")
    async with database.hot.acquire() as db:
        await db.execute("VACUUM (ANALYZE) tally, score", timeout=900)
        await db.execute("CHECKPOINT", timeout=900)
        tallies = await db.fetchval("SELECT count(*) FROM tally")
    rows = [_row("first version: its counters filled", first.fill, people)]
    rows.append(_row("first version: everybody scored", first.score, people))

    sums = "SELECT contact_id, sum(n) FROM tally GROUP BY 1"
    rounds = []
    for points in (11, 12, 13):
        await drafts.change_rule(database, made[0], {"points": Decimal(points)})
        floor = await _floor(url, sums)
        rounds.append(((await _publish(database, "engagement")).score, floor))
    took, floor = sorted(rounds, key=lambda one: one[0] / one[1])[1]
    rows.append(_row("changed points; floor: sum(n) over tally", took, people, floor))
    rows.append(_row("the same; floor: one statement that writes as much", took, people, await _writing(url)))

    aggregate = """
        SELECT contact_id, (occurred_at AT TIME ZONE 'UTC')::date, count(*) FROM event
        WHERE lower(type) = 'page.viewed' AND lower(properties ->> 'path') = '/blog' GROUP BY 1, 2
    """
    blog = _both(_is("event.type", "page.viewed"), _is("event.properties.path", "/blog"))
    await drafts.change_rule(database, made[2], {"condition": blog})
    floor = await _floor(url, aggregate)
    async with _beside(database, people) as accepted:
        changed = await _publish(database, "engagement")
    rows.append(_row("changed condition, its counter filled; floor: one aggregate", changed.fill, people, floor))
    rows.append(_row("changed condition, everybody scored", changed.score, people))
    table(
        console,
        f"Publishing at {people:,} contacts, {people * _EACH:,} events, {tallies:,} tallies; {accepted[0]:,} events"
        " ingested while the condition changed",
        ("what", "seconds", "floor s", "ratio", "µs a contact"),
        *rows,
    )


def _row(what: str, took: float, people: int, floor: float | None = None) -> tuple[str, ...]:
    beside = ("", "") if floor is None else (f"{floor:.1f}", f"{took / floor:.1f}")
    return (what, f"{took:.1f}", *beside, f"{took / people * 1e6:.1f}")


async def rollover(database: Database, people: int, console: Console) -> None:
    """The daily sweep with 0.1, 1 and 10 % of the scores due."""
    rows = []
    for share in (0.001, 0.01, 0.1):
        async with database.hot.acquire() as db:
            await db.execute(
                """
                UPDATE score SET next_change_on = current_date - 1
                WHERE abs(hashtext(contact_id::text)) % 1000 < $1
                """,
                round(share * 1000),
                timeout=900,
            )
            due = await db.fetchval("SELECT count(*) FROM score WHERE next_change_on < current_date")
            await db.execute("CHECKPOINT", timeout=900)
        began = time.perf_counter()
        swept = await sweep(database, Plans())
        took = time.perf_counter() - began
        assert swept == due
        rows.append((f"{share:.1%}", f"{due:,}", f"{took:.2f}", f"{took / due * 1e6:.0f}"))
    table(
        console,
        f"The daily roll-over at {people:,} contacts: the cost follows what is due",
        ("due", "scores", "seconds", "µs a score"),
        *rows,
    )


async def explaining(database: Database, url: str, console: Console) -> None:
    """One score explained, of a contact with 10 events and of one with 10,000; floor: reading its tallies."""
    rows = []
    plans = Plans()
    for count in (10, 10_000):
        who = await _busy(database, plans, count)
        raw = await asyncpg.connect(url)
        query = "SELECT counter_id, day, n FROM tally WHERE contact_id = $1"
        floor = await _median(lambda: raw.fetch(query, who))  # noqa: B023 - awaited before it changes
        took = await _median(lambda: _explain(database, plans, who))  # noqa: B023
        await raw.close()
        rows.append((f"{count:,}", f"{took * 1000:.2f}", f"{floor * 1000:.2f}", f"{took / floor:.1f}"))
    table(
        console,
        "Explaining one score, every day of it; floor: its tallies by plain asyncpg",
        ("events of the contact", "ms", "floor ms", "ratio"),
        *rows,
    )


async def _explain(database: Database, plans: Plans, who: UUID) -> None:
    async with database.batch() as db:
        plan = await plans.hold(db)
        await replay.now(db, plan, who, "engagement", clock.now())


async def _median(work: Callable[[], Awaitable[object]]) -> float:
    times = []
    for _ in range(50):
        began = time.perf_counter()
        await work()
        times.append(time.perf_counter() - began)
    return median(times)


async def _busy(database: Database, plans: Plans, count: int) -> UUID:
    """A contact with so many events."""
    email = f"busy{count}@example.com"
    for first in range(0, count, 1_000):
        events = [_event(email, f"{email}/{n}", n) for n in range(first, min(first + 1_000, count))]
        async with database.batch() as db:
            await ingest.accept(db, plans, events, clock.now(), SoftPolicy())
    async with database.hot.acquire() as db:
        who: UUID = await db.fetchval("SELECT contact_id FROM identity WHERE kind = 'email' AND value = $1", email)
    return who


def _event(email: str, client_id: str, number: int) -> NewEvent:
    now = clock.now()
    ref = Ref(email=email)
    at = now - _MINUTE * ((number * 7919) % 172_800)
    id_ = ingest.event_id("bench", client_id, at, ref, "email.opened", {})
    return NewEvent(id_, ref, "email.opened", "bench", client_id, at, "{}")


class Took(NamedTuple):
    """Seconds of a publishing: until the version counted, and from then until everybody was scored."""

    fill: float
    score: float


async def _publish(database: Database, key: str) -> Took:
    """Publish the draft and do its job."""
    async with database.batch() as db:
        job = (await publish.publish(db, key, "bench", clock.now())).job
    await worker.JOBS[publish.PUBLISH](database, job)
    async with database.hot.acquire() as db:
        done = await db.fetchrow(
            """
            SELECT j.status, v.live_from - j.started_at AS fill, j.finished_at - v.live_from AS score
            FROM job j JOIN model_version v
            ON v.model_id = (j.payload ->> 'model')::int AND v.version = (j.payload ->> 'version')::int WHERE j.id = $1
            """,
            job,
        )
        assert done is not None
        assert done["status"] == "done"
        await db.execute("CHECKPOINT", timeout=900)
    return Took(done["fill"].total_seconds(), done["score"].total_seconds())


async def _writing(url: str) -> float:
    """Seconds that one statement takes to change every score and note each change, computing nothing; taken back."""
    raw = await asyncpg.connect(url)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(raw.close)
        change = raw.transaction()
        await change.start()
        began = time.perf_counter()
        await raw.execute(
            """
            WITH changed AS (
                UPDATE score SET value = value + 1, version = version + 1, computed_at = now() RETURNING *
            )
            INSERT INTO score_change (contact_id, model_id, at, was, value, version, cause)
            SELECT contact_id, model_id, now(), value - 1, value, version, 'publish' FROM changed
            """,
            timeout=900,
        )
        took = time.perf_counter() - began
        await change.rollback()
        await raw.execute("VACUUM score, score_change", timeout=900)
    return took


async def _floor(url: str, query: str) -> float:
    """Seconds that Postgres takes for the query as it stands, with its own choice of a plan; the best of three."""
    raw = await asyncpg.connect(url)
    times = []
    for _ in range(3):
        began = time.perf_counter()
        await raw.execute(f"SELECT count(*) FROM ({query}) q", timeout=900)
        times.append(time.perf_counter() - began)
    await raw.close()
    return min(times)


@contextlib.asynccontextmanager
async def _beside(database: Database, people: int) -> Any:
    """Ingest going on meanwhile, 500 events at a time; yields a list that says how many."""
    plans, stop, accepted = Plans(), asyncio.Event(), [0]

    async def run() -> None:
        number = 0
        while not stop.is_set():
            emails = [f"new{(number * 500 + n) % people}@example.com" for n in range(500)]
            events = [_event(email, f"beside/{number}/{n}", n) for n, email in enumerate(emails)]
            async with database.batch() as db:
                accepted[0] += len(await ingest.accept(db, plans, events, clock.now(), SoftPolicy()))
            number += 1
            await asyncio.sleep(0.2)

    task = asyncio.create_task(run())
    yield accepted
    stop.set()
    await task
