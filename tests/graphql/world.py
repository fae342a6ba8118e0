"""Rows to read, put in as the engine would leave them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import orjson
from uuid_utils.compat import uuid7

from app import clock
from app.engine import ingest, publish, rollout
from app.engine.hygiene import SoftPolicy
from app.engine.identity import Ref
from app.engine.ingest import NewEvent
from app.engine.plan import Plans
from app.store.db import Database

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
BANDS = [
    {"name": "Cold", "color": "#0000ff", "min": None},
    {"name": "Warm", "color": "#ffff00", "min": 40},
    {"name": "Hot", "color": "#ff0000", "min": "80"},
]


@dataclass
class Lead:
    """A contact to put in. `created` and `seen` are minutes after `EPOCH`; `seen` None: no event yet."""

    email: str | None = None
    created: int = 0
    seen: int | None = None
    scores: Mapping[str, float | str] = field(default_factory=dict)
    stage: str | None = None
    tags: Sequence[str] = ()
    opted_out: bool = False
    bounced: bool = False
    bounce_status: str = "none"
    id: UUID = field(default_factory=uuid4)


async def model(
    database: Database, key: str, *, name: str | None = None, published: bool = True, archived: bool = False
) -> int:
    """A scoring model with `BANDS` and no rules; its draft has other bands and another name."""
    async with database.batch() as db:
        model_id: int = await db.fetchval(
            """
            INSERT INTO scoring_model (key, name, description, bands, live_version, archived_at, created_at, updated_at)
            VALUES ($1, $2, 'What they do', $3, $4, $5, $6, $6) RETURNING id
            """,
            key,
            f"Draft of {key}",
            [{"name": "Drafted", "color": "#000000", "min": None}],
            1 if published else None,
            EPOCH if archived else None,
            EPOCH,
        )
        if published:
            await db.execute(
                "INSERT INTO model_version VALUES ($1, 1, $2, $3, '[]', $4, 'test')",
                model_id,
                name or key.title(),
                BANDS,
                EPOCH,
            )
        await db.execute("UPDATE plan_epoch SET epoch = epoch + 1")
    return model_id


async def leads(database: Database, *given: Lead) -> list[str]:
    """Their ids."""
    async with database.batch() as db:
        models = {row["key"]: row["id"] for row in await db.fetch("SELECT key, id FROM scoring_model")}
        for lead in given:
            await db.execute(
                """
                INSERT INTO contact (id, email, stage, tags, opted_out, bounced, bounce_status, created_at, updated_at)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)
                """,
                lead.id,
                lead.email,
                lead.stage,
                list(lead.tags),
                lead.opted_out,
                lead.bounced,
                lead.bounce_status,
                EPOCH + timedelta(minutes=lead.created),
            )
            seen = None if lead.seen is None else EPOCH + timedelta(minutes=lead.seen)
            await db.execute("INSERT INTO activity VALUES ($1, coalesce($2::timestamptz, '-infinity'))", lead.id, seen)
            if lead.email is not None:
                await db.execute("INSERT INTO identity VALUES ('email', $1, $2)", lead.email, lead.id)
            for key, value in lead.scores.items():
                await db.execute(
                    "INSERT INTO score VALUES ($1, $2, $3, 1, NULL, $4)",
                    lead.id,
                    models[key],
                    Decimal(str(value)),
                    EPOCH,
                )
    return [str(lead.id) for lead in given]


def where(name: str, operator: str, value: object) -> dict[str, Any]:
    return {"combinator": "and", "rules": [{"field": name, "operator": operator, "value": value}]}


async def rule(database: Database, key: str, name: str, points: str, condition: dict[str, Any], **limits: Any) -> None:
    """A rule of a model's draft: an event rule if its condition is on events."""
    kind = "event" if condition["rules"][0]["field"].startswith("event.") else "profile"
    made = uuid7()
    said = {"id": str(made), "name": name, "kind": kind, "condition": condition, "points": points}
    most = limits.get("max_points")
    async with database.batch() as db:
        await db.execute(
            """
            INSERT INTO rule (id, model_id, said, created_at, updated_at)
            SELECT $2, id, $3, $4, $4 FROM scoring_model WHERE key = $1
            """,
            key,
            made,
            {**said, **limits, "max_points": None if most is None else str(most)},
            clock.now(),
        )


async def live(database: Database, key: str) -> None:
    """Publish a model's draft, and wait until it counts."""
    async with database.batch() as db:
        published = await publish.publish(db, key, "test", clock.now())
    await rollout.run_publish(database, published.job)


async def happened(database: Database, plans: Plans, *events: tuple[str, str, int]) -> None:
    """Events as (address, type, days ago), through ingest."""
    now = clock.now()
    made = [
        NewEvent(uuid4(), Ref(email), kind, "test", None, now - timedelta(days=ago), orjson.dumps({"n": at}).decode())
        for at, (email, kind, ago) in enumerate(events)
    ]
    async with database.batch() as db:
        await ingest.accept(db, plans, made, now, SoftPolicy())
