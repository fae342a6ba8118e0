"""A small made-up workspace, so that a first look finds something: two models, a few hundred people, two months."""

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import orjson

from app import clock
from app.engine import contacts, drafts, publish, rollout
from app.engine.batching import Batcher
from app.engine.contacts import Change
from app.engine.hygiene import SoftPolicy
from app.engine.identity import Ref
from app.engine.ingest import NewEvent
from app.engine.plan import Plans
from app.store.db import Database

PEOPLE = 300
_SOURCE = "demo"
_CHUNK = 1_000

BANDS: list[dict[str, Any]] = [
    {"name": "cold", "color": "#5b8def", "min": None},
    {"name": "warm", "color": "#e8a33d", "min": 25},
    {"name": "hot", "color": "#d64545", "min": 60},
]


def _when(*tests: tuple[str, str, Any]) -> dict[str, Any]:
    rules = [{"field": field, "operator": operator, "value": value} for field, operator, value in tests]
    return {"combinator": "and", "rules": rules}


def _event(name: str, points: int, *tests: tuple[str, str, Any], **limits: int) -> dict[str, Any]:
    return {
        "name": name,
        "kind": "event",
        "condition": _when(*tests),
        "points": Decimal(points),
        "window_days": 90,
        **limits,
    }


def _profile(name: str, points: int, *tests: tuple[str, str, Any]) -> dict[str, Any]:
    return {"name": name, "kind": "profile", "condition": _when(*tests), "points": Decimal(points)}


_TYPE = "event.type"
MODELS: dict[str, tuple[str, str, list[dict[str, Any]]]] = {
    "engagement": (
        "Engagement",
        "What they do: mail, pages, forms, meetings.",
        [
            _event("Opened an e-mail", 3, (_TYPE, "=", "email.opened"), max_per_day=2, max_points=30),
            _event("Clicked in an e-mail", 8, (_TYPE, "=", "email.clicked"), max_per_day=3),
            _event(
                "Looked at pricing",
                15,
                (_TYPE, "=", "page.viewed"),
                ("event.properties.path", "beginsWith", "/pricing"),
            ),
            _event("Sent a form", 25, (_TYPE, "=", "form.submitted")),
            _event("Met sales", 30, (_TYPE, "=", "crm.activity"), ("event.properties.activity", "=", "meeting")),
            _profile("Silent for 30 days", -10, ("contact.days_inactive", ">=", 30)),
            _profile("Opted out", -50, ("contact.opted_out", "=", True)),
            _profile("Bounced", -1000, ("contact.bounced", "=", True)),
        ],
    ),
    "fit": (
        "Fit",
        "What they are: size, trade, role.",
        [
            _profile("50 people and more", 30, ("contact.properties.employees", ">=", 50)),
            _profile("Software or finance", 20, ("contact.properties.industry", "in", "software,finance")),
            _profile("Decides", 25, ("contact.properties.role", "in", "CTO,CMO,Head of Sales")),
            _profile("Student", -20, ("contact.properties.role", "=", "Student")),
        ],
    ),
}

_FIRST = [
    "Ada",
    "Blaise",
    "Chen",
    "Dalia",
    "Emeka",
    "Fatima",
    "Goran",
    "Hana",
    "Ines",
    "Jamal",
    "Kiri",
    "Lena",
    "Mateo",
]
_LAST = [
    "Abel",
    "Berg",
    "Costa",
    "Dumas",
    "Eriksen",
    "Farkas",
    "Gupta",
    "Hall",
    "Ito",
    "Jung",
    "Kovač",
    "Lima",
    "Moreau",
]
_ROLES = ["CTO", "CMO", "Head of Sales", "Engineer", "Analyst", "Student"]
_INDUSTRIES = ["software", "finance", "retail", "health", "education"]
_HABITS: list[tuple[str, float, Callable[[random.Random], dict[str, Any]]]] = [
    ("email.delivered", 9, lambda dice: {"campaign": dice.choice(["spring", "autumn"])}),
    ("email.opened", 5, lambda dice: {"campaign": dice.choice(["spring", "autumn"])}),
    ("email.clicked", 2, lambda _: {"url": "https://example.com/pricing"}),
    ("page.viewed", 6, lambda dice: {"path": dice.choice(["/", "/blog", "/pricing", "/careers"])}),
    ("form.submitted", 0.4, lambda _: {"form": "demo request"}),
    ("crm.activity", 0.3, lambda dice: {"activity": dice.choice(["call", "meeting"])}),
]


async def is_empty(database: Database) -> bool:
    async with database.hot.acquire() as db:
        return not await db.fetchval("SELECT EXISTS (SELECT FROM contact) OR EXISTS (SELECT FROM scoring_model)")


async def fill(database: Database, on_step: Callable[[int, int], None] = lambda _done, _of: None) -> int:
    """Make the models, the people and their events in an empty workspace; returns how many events.

    `on_step` hears how many steps of how many are done. The same on every machine, but for the dates.
    """
    dice = random.Random(1815)  # noqa: S311 - repeatable on purpose
    plans, policy, now = Plans(), SoftPolicy(), clock.now()
    people = [_person(dice, number) for number in range(PEOPLE)]
    events = [event for ref, _ in people for event in _history(dice, ref, now)]
    steps = len(MODELS) + 1 + -(-len(events) // _CHUNK)
    done = 0
    for key, (name, description, rules) in MODELS.items():
        await drafts.create_model(database, key, {"name": name, "description": description, "bands": BANDS})
        for rule in rules:
            await drafts.create_rule(database, key, rule)
        async with database.batch() as db:
            job = (await publish.publish(db, key, _SOURCE, now)).job
        await rollout.run_publish(database, job)
        on_step(done := done + 1, steps)
    async with database.batch() as db:
        await contacts.upsert(db, plans, people, _SOURCE, now, policy)
    on_step(done := done + 1, steps)
    async with Batcher(database, plans, policy) as batcher:
        for start in range(0, len(events), _CHUNK):
            await batcher.submit(events[start : start + _CHUNK])
            on_step(done := done + 1, steps)
    return len(events)


def _person(dice: random.Random, number: int) -> tuple[Ref, Change]:
    first, last = dice.choice(_FIRST), dice.choice(_LAST)
    email = f"{first}.{last}.{number}@example.com".lower().replace("č", "c")
    properties = {
        "role": dice.choice(_ROLES),
        "industry": dice.choice(_INDUSTRIES),
        "employees": int(dice.lognormvariate(4, 1.2)) + 1,
    }
    change = Change(
        said=frozenset({"email", "name", "stage", "properties"}),
        email=email,
        name=f"{first} {last}",
        stage=dice.choice(["subscriber", "lead", "customer"]),
        add_tags=("webinar",) if dice.random() < 0.2 else (),
        properties=properties,
    )
    return Ref(email=email), change


def _history(dice: random.Random, ref: Ref, now: datetime) -> list[NewEvent]:
    eagerness = dice.paretovariate(1.5) - 0.8
    happened = [
        (type_, properties(dice))
        for type_, often, properties in _HABITS
        for _ in range(min(40, int(dice.expovariate(1 / (often * eagerness)))))
    ]
    fate = dice.random()
    if fate < 0.06:
        happened.append(("email.bounced", {"bounce": "hard", "code": "5.1.1", "reason": "mailbox unknown"}))
    elif fate < 0.1:
        happened.append(("email.unsubscribed", {"campaign": "spring"}))
    made = []
    for number, (type_, properties) in enumerate(happened):
        at = now - timedelta(days=60) * dice.random() ** 1.5
        id_ = uuid5(NAMESPACE_URL, f"{ref.email}/{number}")
        text = orjson.dumps(properties).decode()
        made.append(NewEvent(id_, ref, type_, _SOURCE, f"{ref.email}/{number}", at, text, properties.get("bounce")))
    return made
