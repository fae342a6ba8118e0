"""A workspace of a given size: the demo's two models, and people made by SQL."""

import hashlib
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from app import clock, demo
from app.engine import drafts, publish, rollout
from app.engine.plan import Plans
from app.engine.scoring import Cause
from app.store.db import Database

_TYPES = ["email.delivered", "email.opened", "email.clicked", "page.viewed", "form.submitted", "crm.activity"]
_WEIGHTS = [30, 25, 10, 30, 3, 2]

_PEOPLE = """
    WITH made AS (
        SELECT n, md5('contact' || n)::uuid AS id FROM generate_series($1::bigint, $2::bigint) n
    ), contacts AS (
        INSERT INTO contact (id, email, name, stage, tags, properties, bounced, bounce_status, created_at, updated_at)
        SELECT id, 'p' || n || '@example.com', 'Person ' || n, (ARRAY['lead', 'customer'])[1 + n % 2], '{webinar}',
               jsonb_build_object('employees', n % 500, 'industry', (ARRAY['software', 'retail', 'health'])[1 + n % 3],
                                  'role', (ARRAY['CTO', 'Analyst', 'Student'])[1 + n % 3], 'city', 'City ' || n % 100),
               n % 50 = 0, CASE WHEN n % 50 = 0 THEN 'hard' ELSE 'none' END, $3, $3
        FROM made
    ), activities AS (
        INSERT INTO activity (contact_id) SELECT id FROM made
    )
    INSERT INTO identity (kind, value, contact_id) SELECT 'email', 'p' || n || '@example.com', id FROM made
"""
_TALLIES = """
    INSERT INTO tally (contact_id, counter_id, day, n)
    SELECT md5('contact' || n)::uuid, c.id, $3::date - ((hashint8(n) & 1023) % 60),
           1 + ((hashint8(n + c.id) & 1023) % 4)
    FROM generate_series($1::bigint, $2::bigint) n JOIN counter c ON (n + c.id) % 3 = 0
    ORDER BY 1, 2
"""
_STEP = 100_000
_CHUNK = 5_000


async def models(database: Database) -> None:
    """Both models of the demo, published."""
    for key, (name, description, rules) in demo.MODELS.items():
        await drafts.create_model(database, key, {"name": name, "description": description, "bands": demo.BANDS})
        for rule in rules:
            await drafts.create_rule(database, key, rule)
        async with database.batch() as db:
            job = (await publish.publish(db, key, "bench", clock.now())).job
        await rollout.run_publish(database, job)


async def people(database: Database, have: int, want: int) -> None:
    """Contacts number `have` to `want`, each with an address, some tallies, and scored by every model."""
    plans = Plans()
    for first in range(have, want, _STEP):
        last = min(first + _STEP, want) - 1
        async with database.batch() as db:
            await db.execute(_PEOPLE, first, last, clock.now(), timeout=600)
            await db.execute(_TALLIES, first, last, clock.now().date(), timeout=600)
        for chunk in range(first, last + 1, _CHUNK):
            ids = [_id(number) for number in range(chunk, min(chunk + _CHUNK, last + 1))]
            async with database.batch() as db:
                await (await plans.hold(db)).scorer.score(db, ids, clock.now(), Cause.CONTACT)
    async with database.hot.acquire() as db:
        await db.execute("VACUUM (ANALYZE) contact, activity, identity, score, event, tally", timeout=600)
        await db.execute("CHECKPOINT", timeout=600)


def _id(number: int) -> UUID:
    """The contact's id, as the SQL above makes it."""
    return UUID(bytes=hashlib.md5(f"contact{number}".encode(), usedforsecurity=False).digest())


def events(count: int, people: int, seed: int) -> Iterator[dict[str, Any]]:
    """Events as a client sends them, of people number 0 to `people`."""
    dice = random.Random(seed)
    now = clock.now()
    for number in range(count):
        yield {
            "id": f"{seed}-{number}",
            "type": dice.choices(_TYPES, _WEIGHTS)[0],
            "occurred_at": _recently(dice, now),
            "source": "bench",
            "contact": {"email": f"p{dice.randrange(people)}@example.com"},
            "properties": {"campaign": "spring", "path": "/pricing", "url": "https://example.com/a/page", "n": number},
        }


def _recently(dice: random.Random, now: datetime) -> str:
    return (now - timedelta(days=30) * dice.random() ** 3).isoformat()
