"""What a batch costs must not grow with the tables: each is met by key, whatever the planner knows of its size."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import orjson
import pytest

from app.engine.plan import load
from app.store.db import Database, Statement
from tests.engine.worlds import NOON, World, event, per_event, profile

Node = dict[str, Any]  # Any: a plan is JSON


@pytest.mark.parametrize("people", [0, 5, 50, 1_000])
async def test_every_table_is_read_by_key_even_with_a_plan_made_while_it_was_empty(
    database: Database, people: int
) -> None:
    world = World(database)
    await world.publish("m", per_event("a", 1, window=30), profile("contact.days_inactive", ">", 3, -5))
    if people:
        await world.send(*(event("a", f"{n}@example.com") for n in range(people)))
        await world.execute("ANALYZE contact, activity, identity, event, tally, score")
    async with database.batch() as db:
        plan = await load(db, 0)
    columns = ("id", "contact_id", "type", "source", "client_id", "occurred_at", "address", "properties")
    one = dict(zip(columns, (uuid4(), uuid4(), "a", "test", None, NOON, None, "{}"), strict=True))
    batch: dict[str, object] = {name: [value] for name, value in one.items()}
    scoring = {"contacts": [uuid4()], "as_of": NOON.date(), "now": NOON}

    met = [
        node
        for statement, given in (
            (plan.intake._statement, {**batch, "now": NOON}),
            (plan.scorer._store, scoring),
            (plan.event_scorer._store, scoring),
            (plan.scorer._explain, scoring),
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
