"""Who is in a segment: exactly whom the judge says, found by index where one serves."""

from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event as listened
from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql

from app.engine import measures, segments
from app.engine import publish as publishing
from app.engine.conditions import ALLOWED, Operator, parse
from app.engine.fields import (
    BAND,
    MEASURE,
    SCORE,
    SEGMENTS,
    Aggregate,
    FieldType,
    ModelTerm,
    Scope,
    Vocabulary,
)
from app.engine.ingest import NewEvent
from app.engine.members import Members, definitions
from app.store import contact_counts
from app.store.columns import contact
from app.store.contact_filter import Filter, to_sql
from app.store.db import Database
from tests.engine import reference
from tests.engine.reference import Case, Measure, Sheet
from tests.engine.worlds import NOON, TODAY, World, event, is_type, per_event, profile, shown

Json = Any  # Any: JSON
DAY = timedelta(days=1)

BANDS: list[Json] = [
    {"name": "Cold", "color": "#0000ff", "min": None},
    {"name": "Warm", "color": "#ffff00", "min": 3},
    {"name": "HOT", "color": "#ff0000", "min": "7.5"},
]
MODELS = {
    "engagement": Sheet([per_event("a", "2.5", window=20), per_event("b", -1)], bands=BANDS),
    # Beyond ASCII, and nothing below nought; nobody outside of one domain has a score.
    "fit": Sheet(
        [profile("contact.stage", "=", "lead", 5), profile("contact.tags", "contains", "vip", -7)],
        audience={"field": "contact.email_domain", "operator": "=", "value": "x.example"},
        bands=[{"name": "Était", "color": "#000000", "min": 0}, {"name": "top", "color": "#ffffff", "min": 5}],
    ),
}
MEASURES = {
    "opens": Measure(is_type("a"), "count", window_days=7),
    "spent": Measure({"field": "event.type", "operator": "in", "value": "a,b"}, "sum", "event.properties.amount"),
    "kinds": Measure({"field": "event.type", "operator": "notNull"}, "distinct", "event.properties.kind", 30),
}


# --- the SQL against the judge ----------------------------------------------------------------------------------------


async def publish(world: World, key: str, sheet: Sheet) -> None:
    await world.draft(key, sheet.rules)
    said = (key, sheet.spec(), list(sheet.bands))
    await world.execute("UPDATE scoring_model SET spec = $2, bands = $3 WHERE key = $1", *said)
    await world.run(await world.begin_publish(key))


async def measure(world: World, key: str, said: Measure) -> None:
    wanted = measures.Wanted(key, key, said.condition, Aggregate(said.aggregate), said.of, said.window_days)
    async with world.database.batch() as db:
        made = await measures.create(db, wanted, world.now)
    if made.job is not None:
        await world.run(made.job)


async def populate(world: World, seed: int) -> None:
    """Some contacts of whom each differs from the others, half of their history before anything counts."""
    random = Random(seed)

    def happening() -> NewEvent:
        when = NOON - random.randint(-2, 40) * DAY
        amount, kind = random.choice([1, 2.5, -3, "7", None]), random.choice(["a", "A", 1, True, None])
        who = random.choice([f"{n}@{'xy'[n % 2]}.example" for n in range(10)])
        return event(random.choice("abc"), who, when, amount=amount, kind=kind)

    await world.send(*(happening() for _ in range(40)))
    for key, asked in MEASURES.items():
        await measure(world, key, asked)
    for key, sheet in MODELS.items():
        await publish(world, key, sheet)
    await world.send(*(happening() for _ in range(40)))
    for row in await world.rows("SELECT id FROM contact ORDER BY email"):
        said: dict[str, Json] = {
            "stage": random.choice(["Lead", "customer", None]),
            "tags": random.choice([(), ("VIP",), ("é", "partner")]),
            "opted_out": random.random() < 0.3,
            "bounced": random.random() < 0.3,
            "properties": random.choice([{}, {"n": random.randint(0, 9)}, {"n": "5", "plan": "Pro"}]),
        }
        await world.change(row["id"], **{name: value for name, value in said.items() if random.random() < 0.8})


VALUES: dict[str, tuple[FieldType, st.SearchStrategy[Json]]] = {
    "contact.email": (FieldType.TEXT, st.sampled_from(["0@X.example", "1@", "example", "5"])),
    "contact.stage": (FieldType.TEXT, st.sampled_from(["lead", "Customer", "l"])),
    "contact.tags": (FieldType.TAGS, st.sampled_from(["vip", "É", "partner", "none"])),
    "contact.opted_out": (FieldType.BOOLEAN, st.booleans()),
    "contact.bounced": (FieldType.BOOLEAN, st.booleans()),
    "contact.created_at": (FieldType.DATETIME, st.sampled_from(["2026-05-15", "2026-05-16"])),
    "contact.last_event_at": (FieldType.DATETIME, st.sampled_from(["2026-05-10", "2026-05-15T12:00:00Z"])),
    "contact.days_inactive": (FieldType.NUMBER, st.integers(0, 20)),
    "contact.properties.n": (FieldType.NUMBER, st.integers(0, 9)),
    "contact.properties.plan": (FieldType.TEXT, st.sampled_from(["pro", "free"])),
    "contact.score.engagement": (FieldType.NUMBER, st.sampled_from([-2, 0, 2.5, 3, "7.5", 10])),
    "contact.score.fit": (FieldType.NUMBER, st.sampled_from([-7, -2, 0, 5])),
    "contact.band.engagement": (FieldType.TEXT, st.sampled_from(["cold", "WARM", "hot", "none"])),
    "contact.band.fit": (FieldType.TEXT, st.sampled_from(["était", "Top", "none"])),
    "contact.measures.opens": (FieldType.NUMBER, st.integers(0, 4)),
    "contact.measures.spent": (FieldType.NUMBER, st.sampled_from([-3, 0, 2.5, 5])),
    "contact.measures.kinds": (FieldType.NUMBER, st.integers(0, 3)),
}
NUMBERS = sorted(name for name, (kind, _) in VALUES.items() if kind is FieldType.NUMBER and "properties" not in name)
MADE = [[name for name in VALUES if name.startswith(prefix)] for prefix in (SCORE, BAND, MEASURE)]
FAMILIES = [*MADE, [name for name in VALUES if not any(name in made for made in MADE)]]
USUAL = {
    FieldType.TEXT: [Operator.EQ, Operator.IN],
    FieldType.TAGS: [Operator.CONTAINS],
    FieldType.BOOLEAN: [Operator.EQ],
    FieldType.NUMBER: [Operator.GE, Operator.LT],
    FieldType.DATETIME: [Operator.GE, Operator.LT],
}


@st.composite
def comparisons(draw: st.DrawFn, known: list[str]) -> Json:
    name = draw(st.sampled_from([*FAMILIES, *([[SEGMENTS]] if known else [])]).flatmap(st.sampled_from))
    if name == SEGMENTS:
        operator = draw(st.sampled_from(["=", "!=", "contains", "in", "notIn"]))
        keys: Json = st.sampled_from(known)
        keys = st.lists(keys, min_size=1, max_size=2) if operator in ("in", "notIn") else keys
        return {"field": name, "operator": operator, "value": draw(keys)}
    kind, values = VALUES[name]
    operator = draw(st.sampled_from(USUAL[kind]) | st.sampled_from(sorted(ALLOWED[kind])))
    if name in NUMBERS and operator in ("<", ">=", "=") and draw(st.booleans()):
        other = draw(st.sampled_from(NUMBERS))
        return {"field": name, "operator": operator, "value": other, "valueSource": "field"}
    if operator in (Operator.BETWEEN, Operator.NOT_BETWEEN):
        return {"field": name, "operator": operator, "value": draw(st.lists(values, min_size=2, max_size=2))}
    if operator in (Operator.IN, Operator.NOT_IN):
        return {"field": name, "operator": operator, "value": draw(st.lists(values, max_size=3))}
    return {"field": name, "operator": operator, "value": draw(values)}


def conditions(known: list[str]) -> st.SearchStrategy[Json]:
    def group(parts: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
        return st.fixed_dictionaries(
            {"combinator": st.sampled_from(["and", "or"]), "rules": st.lists(parts, min_size=1, max_size=3)},
            optional={"not": st.booleans()},
        )

    return st.recursive(comparisons(known), group, max_leaves=5)


@st.composite
def many(draw: st.DrawFn) -> dict[str, Json]:
    """Segments, each of which may name those before it."""
    made: dict[str, Json] = {}
    for n in range(5):
        made[f"s{n}"] = draw(conditions(list(made)))
    return made


async def judged(world: World, said: dict[str, Json]) -> dict[str, set[UUID]]:
    """Whom the judge puts into each segment."""
    found: dict[str, set[UUID]] = {key: set() for key in said}
    for person in await world.rows("SELECT * FROM contact"):
        events = await world.events(person["id"])
        case = Case(shown(person), events, models=MODELS, segments=said, measures=MEASURES)
        for key in reference.segments(case, world.now.date(), world.now):
            found[key].add(person["id"])
    return found


async def members(world: World, key: str) -> Members:
    async with world.database.batch() as db:
        return (await definitions(db, world.now.date())).members(key)


@pytest.fixture(params=range(3))
async def world(request: pytest.FixtureRequest, database: Database) -> World:
    """One that all examples of a test share: only its segments and its day change."""
    made = World(database)
    await populate(made, request.param)
    return made


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(said=many(), day=st.integers(0, 30))
async def test_the_members_of_any_segments_are_exactly_whom_the_judge_says(
    world: World, said: dict[str, Json], day: int
) -> None:
    world.go_to(NOON + day * DAY)
    async with world.database.batch() as db:
        await db.execute("DELETE FROM segment")
        for key, condition in said.items():
            await segments.create(db, segments.Wanted(key, key, None, condition), world.now)
        # Days are drawn in any order, and no sweep goes back.
        job = await publishing.rescore(db, list(MODELS), world.now)
    await world.run(job)

    everybody = await world.value("SELECT count(*) FROM contact")
    for key, expected in (await judged(world, said)).items():
        found = await members(world, key)
        assert sorted(expected) == await found.page(world.database, limit=1_000, after=None)
        assert len(expected) == await found.count(world.database)
        async with world.database.read() as db:
            inside, outside = Filter(asked=(found.has(contact),)), Filter(neither=Filter(asked=(found.has(contact),)))
            assert len(expected) == (await contact_counts.count(db, inside)).number
            assert everybody - len(expected) == (await contact_counts.count(db, outside)).number


# --- what it costs ----------------------------------------------------------------------------------------------------


def a_test(field: str, operator: str, value: Json = None) -> Json:
    return {"field": field, "operator": operator, "value": value}


def all_of(*rules: Json) -> Json:
    return {"combinator": "and", "rules": list(rules)}


NOT_RARE = a_test("contact.properties.n", "notNull")
SERVED = {
    "score_value": [
        a_test("contact.score.m", ">=", 199),
        all_of(NOT_RARE, a_test("contact.score.m", "between", [20, 20])),
        all_of(a_test("contact.score.m", "in", [7, 8]), NOT_RARE),
        all_of(a_test("contact.band.m", "=", "HOT"), NOT_RARE),
        all_of({"combinator": "or", "rules": [a_test("contact.band.m", "in", "hot")]}),
        a_test("contact.segments", "=", "hot"),
    ],
    "contact_tags": [a_test("contact.tags", "contains", "Vip"), all_of(NOT_RARE, a_test("contact.tags", "in", "vip"))],
    "contact_stage": [a_test("contact.stage", "=", "Customer"), all_of(NOT_RARE, a_test("contact.stage", "in", "x,y"))],
    "contact_suppressed": [a_test("contact.opted_out", "=", True), all_of(a_test("contact.bounced", "=", True))],
    "contact_created": [all_of(a_test("contact.created_at", "<", "2026-01-02"), NOT_RARE)],
}
VOCABULARY = Vocabulary(
    Scope.CONTACT,
    models={"m": ModelTerm(1, (("Cold", None), ("Hot", Decimal(199))))},
    segments={"hot": all_of(NOT_RARE, a_test("contact.band.m", "=", "hot"))},
)


@pytest.fixture
async def crowd(database: Database) -> None:
    """Twenty thousand contacts, all with a score, few with anything else."""
    async with database.hot.acquire() as db:
        await db.execute(
            """
            INSERT INTO contact (id, opted_out, stage, tags, properties, created_at, updated_at)
            SELECT gen_random_uuid(), n % 200 = 0, CASE WHEN n % 300 = 0 THEN 'Customer' END,
                   CASE WHEN n % 500 = 0 THEN '{VIP}'::text[] ELSE '{}' END, '{"n": 1}',
                   '2026-01-01Z'::timestamptz + n * interval '10 minutes', now()
            FROM generate_series(1, 20000) n
            """
        )
        await db.execute("INSERT INTO activity SELECT id, created_at FROM contact")
        await db.execute("INSERT INTO score SELECT id, 1, floor(random() * 200), 1, NULL, now() FROM contact")
        await db.execute("VACUUM ANALYZE contact, activity, score")


@pytest.mark.usefixtures("crowd")
async def test_a_test_that_must_hold_is_served_by_the_index_there_is(database: Database) -> None:
    async with database.read() as db:
        for index, condition in ((index, condition) for index, asked in SERVED.items() for condition in asked):
            found = Members(parse(condition, VOCABULARY), VOCABULARY, TODAY)
            listed = select(func.count()).select_from(contact).where(to_sql(Filter(asked=(found.has(contact),)), {}))
            for statement in (found._select(func.count()), found._after([found._person.c.id], 101, None), listed):
                dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it so
                sql = str(statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
                plan = "\n".join(row[0] for row in await db.exec_driver_sql(f"EXPLAIN (COSTS OFF) {sql}"))
                assert index in plan, (condition, plan)
                assert "Seq Scan" not in plan, (condition, plan)


@pytest.mark.usefixtures("crowd")
async def test_members_are_counted_by_one_statement_and_exported_by_one_for_each_chunk(database: Database) -> None:
    everybody = Members(parse(NOT_RARE, VOCABULARY), VOCABULARY, TODAY)
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    listened.listen(database.engine.sync_engine, "before_cursor_execute", note)
    try:
        assert 20_000 == await everybody.count(database)
        assert 1 == len(statements)
        chunks = [len(chunk) async for chunk in everybody.export(database)]
    finally:
        listened.remove(database.engine.sync_engine, "before_cursor_execute", note)

    assert 20_000 == sum(chunks)
    assert max(chunks) <= 1_000
    assert len(statements) <= 2 + len(chunks)
