"""What a batch costs must not grow with the tables: each is met by key, whatever the planner knows of its size."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import uuid4

import orjson
import pytest

from app.engine.plan import load
from app.store.db import Database, Statement
from tests.engine import reference
from tests.engine.worlds import NOON, World, event, is_type, per_event, profile

Node = dict[str, Any]  # Any: a plan is JSON


LEAD = {"field": "contact.stage", "operator": "=", "value": "lead"}
EVERY_KIND = [
    reference.Rule("event", is_type("a"), Decimal(5), distinct_by="event.properties.campaign", max_count=3),
    reference.Rule("event", is_type("b"), Decimal(5), audience=LEAD, decay={"half_life_days": 7, "every_days": 1}),
    reference.Rule("event", is_type("b"), Decimal(5), at_least=2, max_points=Decimal(5)),
    reference.Rule("absence", is_type("c"), Decimal(-10), after_days=30, max_times=None, audience=LEAD),
    reference.Rule("profile", None, Decimal(2), per_unit_of={"field": "contact.score.m"}),
    profile("contact.score.m", ">=", 10, 5),
]


@pytest.mark.parametrize("people", [0, 5, 50, 1_000])
async def test_every_table_is_read_by_key_even_with_a_plan_made_while_it_was_empty(
    database: Database, people: int
) -> None:
    world = World(database)
    await world.publish("m", per_event("a", 1, window=30), profile("contact.days_inactive", ">", 3, -5))
    await world.publish("all", *EVERY_KIND)
    if people:
        await world.send(*(event("a", f"{n}@example.com") for n in range(people)))
        await world.execute("ANALYZE contact, activity, identity, event, tally, score")
    async with database.batch() as db:
        plan = await load(db, 0)
    columns = ("id", "contact_id", "type", "source", "client_id", "occurred_at", "address", "properties")
    one = dict(zip(columns, (uuid4(), uuid4(), "a", "test", None, NOON, None, "{}"), strict=True))
    batch: dict[str, object] = {name: [value] for name, value in one.items()}
    scoring = {"contacts": [uuid4()], "as_of": NOON.date(), "at": NOON, "cause": "event"}

    met = [
        node
        for statement, given in (
            (plan.intake._statement, {**batch, "now": NOON}),
            *((step, scoring) for step in plan.scorer._steps),
            *((step, scoring) for step in plan.event_scorer._steps),
            (plan.explainer._statement, scoring),
        )
        for node in await _explained(database, statement, given)
        if "Relation Name" in node and node["Node Type"] != "ModifyTable"
    ]

    assert {"activity", "contact", "score", "tally"} <= {node["Relation Name"] for node in met}
    assert [] == [node for node in met if "Index Cond" not in node and node["Node Type"] != "Bitmap Heap Scan"]


async def _explained(database: Database, statement: Statement | None, given: dict[str, object]) -> list[Node]:
    assert statement is not None
    async with database.hot.acquire() as db:
        text = await db.fetchval(f"EXPLAIN (FORMAT JSON) {statement.sql}", *statement.arguments(**given))
    return list(_nodes(orjson.loads(text)[0]["Plan"]))


def _nodes(plan: Node) -> Iterator[Node]:
    yield plan
    for below in plan.get("Plans", []):
        yield from _nodes(below)
