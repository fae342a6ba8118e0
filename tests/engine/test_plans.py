"""What a batch costs must not grow with the tables: each is met by key, whatever the planner knows of its size."""

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import uuid4

import orjson
import pytest

from app.engine import ingest
from app.engine.identity import Ref
from app.engine.plan import load
from app.store.db import Connection, Database, Statement
from tests.engine import reference
from tests.engine.worlds import NOON, POLICY, World, event, is_type, per_event, profile

Node = dict[str, Any]  # Any: a plan is JSON


MAIL = ["email.sent", "email.delivered", "email.opened", "email.clicked"]
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


async def test_what_a_batch_of_all_that_can_happen_reads_does_not_grow_with_the_tables(database: Database) -> None:
    world = World(database)
    human = {"field": "event.human", "operator": "=", "value": True}
    await world.publish("m", per_event(human, 5, window=30), profile("contact.bounced", "=", True, -100))
    await _fill(world, 0, 100)
    few = await _read_by_a_batch(world, "few")

    await _fill(world, 100, 3_000)
    many = await _read_by_a_batch(world, "many")

    grown = {name: (few.get(name, 0), read) for name, read in many.items() if read > 1.5 * few.get(name, 0) + 50}
    assert {} == grown
    assert {"identity", "contact", "event", "activity"} <= many.keys()


async def _fill(world: World, first: int, last: int) -> None:
    """People with some mail each, and visitors who are nobody yet."""
    people = range(first, last)
    await world.send(*(event(MAIL[n % 4], f"{n}@example.com", message_id=f"m{n}") for n in people))
    await world.send(*(event("page.viewed", Ref(anonymous_id=f"a{n}")) for n in people))
    await world.execute("ANALYZE")


async def _read_by_a_batch(world: World, name: str) -> dict[str, int]:
    """Rows of each table that one batch of mail, words, joins and strangers reads."""
    events = []
    for n in range(20):
        who, message = f"{n}@example.com", f"{name}{n}"
        events += [event(type_, who, message_id=message, url=f"https://example.com/{n}") for type_ in MAIL]
        events += [event("email.bounced", who, bounce="soft", message_id=message), event("email.unsubscribed", who)]
        events += [event("contact.updated", who, traits={"plan": name}), event("contact.tag_added", who, tag=name)]
        events += [event("page.viewed", Ref(email=who, anonymous_id=f"a{n if name == 'few' else n + 50}"))]
        events += [event("email.opened", f"{name}{n}@example.com")]
    async with world.database.batch() as db:
        before = await _read_so_far(db)
        await ingest.accept(db, world.plans, events, world.now, POLICY)
        return {table: count for table, count in (await _read_so_far(db) - before).items() if count}


async def _read_so_far(db: Connection) -> Counter[str]:
    """Rows of each table that this connection has read lately: Postgres counts what it has not yet reported on too."""
    rows = await db.fetch("SELECT relname, seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables")
    return Counter(dict(map(tuple, rows)))


async def _explained(database: Database, statement: Statement | None, given: dict[str, object]) -> list[Node]:
    assert statement is not None
    async with database.hot.acquire() as db:
        text = await db.fetchval(f"EXPLAIN (FORMAT JSON) {statement.sql}", *statement.arguments(**given))
    return list(_nodes(orjson.loads(text)[0]["Plan"]))


def _nodes(plan: Node) -> Iterator[Node]:
    yield plan
    for below in plan.get("Plans", []):
        yield from _nodes(below)
