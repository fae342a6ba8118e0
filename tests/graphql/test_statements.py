"""What a query costs the database: how many statements, and by which plans."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from app.engine.plan import Plans
from app.store import contact_pages
from app.store.contact_filter import Filter, ScoreRange
from app.store.contact_pages import By, Key, Span
from app.store.db import Database
from tests.graphql.conftest import Ask
from tests.graphql.world import happened, live, model, rule, where

EVERYTHING = """
    query($first: Int!) { contacts(first: $first, orderBy: [{score: {model: "engagement", direction: DESC}}]) {
        totalCount
        nodes {
            score(model: "engagement") { value band { name } contributions { rule { name } points } }
            scores { value model { key rules { name } } contributions { points } }
            events(first: 3) { id } opened: events(types: ["email.opened"]) { id }
            identities { kind value } lastEventAt
        }
    } }
"""


@contextmanager
def reads(database: Database) -> Iterator[list[str]]:
    """The statements that the engine's pool runs in the block."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    event.listen(database.engine.sync_engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(database.engine.sync_engine, "before_cursor_execute", note)


@asynccontextmanager
async def hot(database: Database) -> AsyncIterator[list[str]]:
    """The statements that the hot pool runs in the block."""
    seen: list[str] = []

    def note(record: Any) -> None:
        seen.append(record.query)

    async def on_each(act: Callable[[Any], None]) -> None:
        async with AsyncExitStack() as stack:
            for _ in range(database.hot.get_max_size()):
                act(await stack.enter_async_context(database.hot.acquire()))

    await on_each(lambda connection: connection.add_query_logger(note))
    seen.clear()
    try:
        yield seen
    finally:
        await on_each(lambda connection: connection.remove_query_logger(note))


@pytest.fixture
async def hundred(database: Database, plans: Plans) -> None:
    """A hundred and one contacts with events and scores in two models."""
    for key in ("engagement", "fit"):
        await model(database, key, published=False)
        await rule(database, key, "Opened", "2", where("event.type", "=", "email.opened"))
        await rule(database, key, "Example", "5", where("contact.email", "endsWith", "@x.co"))
        await live(database, key)
    await happened(database, plans, *((f"p{n}@x.co", "email.opened", n % 5) for n in range(101)))


@pytest.mark.usefixtures("hundred")
async def test_the_number_of_statements_does_not_depend_on_the_length_of_the_page(
    database: Database, data: Ask
) -> None:
    await data(EVERYTHING, first=1)
    counts = []
    for length in (1, 100):
        with reads(database) as read:
            async with hot(database) as explained:
                found = (await data(EVERYTHING, first=length))["contacts"]
                counts.append((len(read), sum("is_total" in one for one in explained), len(explained)))
        assert len(found["nodes"]) == length
        assert all(node["score"]["contributions"] and node["events"] for node in found["nodes"])

    # Models, page, count, scores, events twice, identities, rules; on the hot pool the plan's lock and its epoch, and
    # one explanation in a transaction.
    assert counts[0] == counts[1]
    assert (8, 1) == counts[0][:2]


@pytest.mark.usefixtures("hundred")
async def test_contacts_are_counted_only_if_that_is_asked(database: Database, data: Ask) -> None:
    with reads(database) as read:
        await data("{ contacts { nodes { id } } }")
        assert not any("count(" in one for one in read)
        await data("{ contacts { totalCount } }")
    assert sum("count(" in one for one in read) == 1


@pytest.mark.usefixtures("hundred")
async def test_several_single_contacts_are_read_by_one_statement(database: Database, data: Ask) -> None:
    query = " ".join(f'c{n}: contact(email: "p{n}@x.co") {{ email }}' for n in range(50))

    with reads(database) as read:
        found = await data(f"{{ {query} }}")

    assert len(read) == 1
    assert [f"p{n}@x.co" for n in range(50)] == [one["email"] for one in found.values()]


@pytest.fixture
async def many(database: Database) -> int:
    """Fifty thousand contacts, all with a score; the model's id. One in twenty has bounced hard."""
    model_id = await model(database, "engagement")
    async with database.hot.acquire() as db:
        await db.execute(
            """
            INSERT INTO contact (id, bounced, bounce_status, tags, created_at, updated_at)
            SELECT gen_random_uuid(), n % 20 = 0, CASE WHEN n % 20 = 0 THEN 'hard' ELSE 'none' END,
                   CASE WHEN n % 500 = 0 THEN '{VIP}'::text[] ELSE '{}' END,
                   '2026-01-01Z'::timestamptz + n * interval '1 minute', now()
            FROM generate_series(1, 50000) n
            """
        )
        await db.execute("INSERT INTO activity SELECT id, created_at + random() * interval '9 days' FROM contact")
        await db.execute(
            "INSERT INTO score SELECT id, $1, floor(random() * 200), 1, NULL, now() FROM contact", model_id
        )
        await db.execute("VACUUM ANALYZE contact, activity, score")
    return model_id


async def test_pages_are_read_along_the_index_of_their_order(database: Database, many: int) -> None:
    hot_leads = Filter(
        scores=(ScoreRange(many, gte=Decimal(50), lte=Decimal(100)),),
        bounce_status="hard",
        opted_out=False,
    )
    cases = [
        (hot_leads, By.SCORE, "score_value"),
        (Filter(), By.SCORE, "score_value"),
        (Filter(), By.LAST_EVENT, "activity_last_event"),
        (Filter(opted_out=False), By.CREATED, "contact_created"),
    ]
    async with database.read() as db:
        for wanted, by, index in cases:
            for falling in (True, False):
                order = [Key(by, falling, many if by is By.SCORE else None)]
                (*_, middle) = await contact_pages.page(db, wanted, order, Span(100))
                for span in (Span(51), Span(51, middle.place), Span(51, None, middle.place, from_end=True)):
                    plan = await explained(db, wanted, order, span)
                    assert index in plan
                    assert "Seq Scan" not in plan
                    assert "Sort" not in plan
                    assert most_rows(plan) < 5_000


async def test_a_rare_tag_is_found_by_its_index(database: Database, many: int) -> None:
    wanted = Filter(tag="vip", scores=(ScoreRange(many),))
    async with database.read() as db:
        plan = await explained(db, wanted, [Key(By.SCORE, descending=True, model=many)], Span(51))

    assert "contact_tags" in plan
    assert "Seq Scan" not in plan


async def explained(db: AsyncConnection, wanted: Filter, order: list[Key], span: Span) -> str:
    """The plan of the page's statement that holds the scored (or all) contacts, as it ran."""
    part = next(
        part
        for part in contact_pages._parts(wanted, order, from_end=span.from_end)
        if getattr(part, "is_scored", True) and part.may_hold(span)
    )
    statement = part.statement(wanted, order, span).limit(span.limit)
    sql = str(statement.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True}))  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it so
    rows = await db.exec_driver_sql(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) {sql}")
    return "\n".join(row[0] for row in rows)


def most_rows(plan: str) -> int:
    """Of all nodes, the most rows that one gave."""
    given = [line.partition("actual rows=")[2].split()[0] for line in plan.splitlines() if "actual rows=" in line]
    return max(int(float(one)) for one in given)


async def test_reads_are_planned_for_the_values_they_have(database: Database) -> None:
    async with database.read() as db:
        assert "force_custom_plan" == (await db.exec_driver_sql("SHOW plan_cache_mode")).scalar_one()
