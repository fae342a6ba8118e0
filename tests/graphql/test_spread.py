"""How scores are spread, and who moved."""

from collections import Counter
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import event as listened

from app import clock
from app.store.db import Database
from tests.graphql.conftest import Ask
from tests.graphql.test_statements import reads
from tests.graphql.world import Lead, leads, model

SPREAD = """
    query($buckets: BucketsInput, $filter: ContactFilter) {
        scoreDistribution(model: "engagement", buckets: $buckets, filter: $filter) {
            model { key } contacts outside parts { band { name } from to contacts share }
        }
    }
"""


@pytest.fixture
async def crowd(database: Database) -> list[float]:
    """Scores in a model, of contacts of which every third is tagged; two more contacts have none."""
    values = [-5, 0, 39.99, 40, 40, 79.99, 80, 80, 200, 1000]
    await model(database, "engagement")
    await model(database, "fit")
    await leads(
        database,
        *(
            Lead(scores={"engagement": value, "fit": 1}, tags=["t"] if n % 3 == 0 else [])
            for n, value in enumerate(values)
        ),
        Lead(),
        gone := Lead(scores={"engagement": 1}, tags=["t"]),
    )
    async with database.batch() as db:
        await db.execute("UPDATE score SET value = NULL WHERE contact_id = $1", gone.id)
    return [float(value) for value in values]


@pytest.mark.parametrize("kept", [None, {"tags": {"any": ["t"]}}])
async def test_a_distribution_by_bands_holds_everybody_with_a_score(
    crowd: list[float], data: Ask, kept: dict[str, Any] | None
) -> None:
    values = crowd[::3] if kept else crowd

    found = (await data(SPREAD, filter=kept))["scoreDistribution"]

    parts = [("Cold", None, 40.0), ("Warm", 40.0, 80.0), ("Hot", 80.0, None)]
    assert parts == [(one["band"]["name"], one["from"], one["to"]) for one in found["parts"]]
    counts = [sum(v < 40 for v in values), sum(40 <= v < 80 for v in values), sum(80 <= v for v in values)]
    assert counts == [one["contacts"] for one in found["parts"]]
    assert (len(values), 1) == (found["contacts"], found["outside"])
    assert [count / len(values) for count in counts] == [one["share"] for one in found["parts"]]


async def test_buckets_are_open_on_either_side(crowd: list[float], data: Ask) -> None:
    found = (await data(SPREAD, buckets={"from": 0.1, "width": 39.9, "count": 2}))["scoreDistribution"]

    assert [(None, 0.1), (0.1, 40.0), (40.0, 79.9), (79.9, None)] == [(p["from"], p["to"]) for p in found["parts"]]
    assert [2, 1, 2, 5] == [part["contacts"] for part in found["parts"]]
    assert {None} == {part["band"] for part in found["parts"]}


async def test_what_lies_below_the_lowest_band_has_a_part_without_a_band(database: Database, data: Ask) -> None:
    await model(database, "engagement")
    await leads(database, Lead(scores={"engagement": 3}), Lead(scores={"engagement": 50}))
    for bands, expected in [
        ([{"name": "Any", "color": "#000000", "min": "5"}], [(None, 1), ("Any", 1)]),
        ([], [(None, 2)]),
    ]:
        async with database.batch() as db:
            await db.execute("UPDATE model_version SET bands = $1", bands)

        parts = (await data(SPREAD))["scoreDistribution"]["parts"]
        assert expected == [(part["band"] and part["band"]["name"], part["contacts"]) for part in parts]


async def test_a_distribution_of_nobody_divides_by_nothing(database: Database, data: Ask) -> None:
    await model(database, "engagement")

    assert [(0, 0.0)] * 3 == [
        (part["contacts"], part["share"]) for part in (await data(SPREAD))["scoreDistribution"]["parts"]
    ]


@pytest.mark.parametrize(
    ("asked", "pointer"),
    [
        ({"buckets": {"from": 0, "width": 0, "count": 1}}, "/buckets/width"),
        ({"buckets": {"from": 1e300, "width": 1e-300, "count": 5}}, "/buckets/width"),
        ({"buckets": {"from": 0, "width": 1, "count": 201}}, "/buckets/count"),
        ({"filter": {"tag": "\0"}}, "/filter/tag"),
    ],
)
async def test_a_distribution_that_makes_no_sense_is_refused(
    database: Database, fault: Ask, asked: dict[str, Any], pointer: str
) -> None:
    await model(database, "engagement")

    error = await fault(SPREAD, **asked)

    assert pointer == error["extensions"]["faults"][0]["pointer"]


async def test_a_distribution_by_bands_reads_an_index_alone(database: Database, data: Ask) -> None:
    model_id = await model(database, "engagement")
    async with database.hot.acquire() as db:
        await db.execute(
            """
            INSERT INTO score SELECT gen_random_uuid(), $1 + m, n % 200, 1, NULL, now()
            FROM generate_series(1, 10000) n, generate_series(0, 4) m
            """,
            model_id,
        )
        await db.execute("VACUUM ANALYZE score")
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        seen.append((statement, parameters))

    listened.listen(database.engine.sync_engine, "before_cursor_execute", note)
    try:
        await data(SPREAD)
    finally:
        listened.remove(database.engine.sync_engine, "before_cursor_execute", note)
    (statement, values) = seen[-1]
    async with database.engine.connect() as connection:
        plan = "\n".join(row[0] for row in await connection.exec_driver_sql(f"EXPLAIN {statement}", values))

    assert 2 == len(seen)
    assert 4 == plan.count("Index Only Scan using score_value")
    assert "Seq Scan" not in plan


MOVES = """
    query($since: DateTime!, $until: DateTime, $first: Int = 20, $after: String, $way: MoveDirection! = ROSE,
          $from: String, $to: String) {
        scoreMoves(model: "engagement", since: $since, until: $until) {
            rose fell unchanged entered left bandMoves { was { name } now { name } contacts }
            days { day rose fell toHigherBand toLowerBand }
            contacts(direction: $way, first: $first, after: $after, bandWas: $from, band: $to) {
                pageInfo { hasNextPage endCursor }
                nodes { contact { email } was value by bandWas { name } band { name } changes }
            }
        }
    }
"""


async def changes(database: Database, *given: tuple[str, int, float | None, float | None]) -> None:
    """Changes of a score as (name, days ago, was, value)."""
    async with database.batch() as db:
        for name, ago, was, value in given:
            await db.execute(
                """
                INSERT INTO score_change (contact_id, model_id, at, was, value, version, cause)
                SELECT c.id, m.id, $2, $3, $4, 1, 'event' FROM contact c, scoring_model m
                WHERE c.email = $1 AND m.key = 'engagement'
                """,
                f"{name}@x.co",
                clock.now() - timedelta(days=ago),
                *(None if one is None else Decimal(str(one)) for one in (was, value)),
            )


@pytest.fixture
async def movers(database: Database) -> None:
    await model(database, "engagement")
    await leads(database, *(Lead(f"{name}@x.co") for name in ("ada", "bob", "cyd", "dan", "eve", "fay", "old")))
    await changes(
        database,
        ("old", 20, 0, 100),
        ("ada", 20, 0, 10),
        ("ada", 6, 10, 50),
        ("ada", 2, 50, 90.5),
        ("bob", 6, 90, 30),
        ("cyd", 6, 10, 20),
        ("cyd", 5, 20, 10),
        ("dan", 3, None, 85),
        ("eve", 3, 45, None),
        ("fay", 1, 10, 30),
    )


def ago(days: int) -> str:
    return (clock.now() - timedelta(days=days)).isoformat()


@pytest.mark.usefixtures("movers")
async def test_moves_are_from_what_was_when_the_window_began_to_what_is_when_it_ends(data: Ask) -> None:
    found = (await data(MOVES, since=ago(7)))["scoreMoves"]

    assert (2, 1, 1, 1, 1) == tuple(found[name] for name in ("rose", "fell", "unchanged", "entered", "left"))
    moved = Counter({(m["was"] and m["was"]["name"], m["now"] and m["now"]["name"]): m["contacts"]
                     for m in found["bandMoves"]})  # fmt: skip
    assert moved == {("Cold", "Hot"): 1, ("Hot", "Cold"): 1, (None, "Hot"): 1, ("Warm", None): 1}
    first, *_, last = found["days"]
    assert {"rose": 2, "fell": 1, "toHigherBand": 1, "toLowerBand": 1} == {k: first[k] for k in first if k != "day"}
    assert (clock.now() - timedelta(days=1)).date().isoformat() == last["day"]
    assert found["contacts"]["nodes"] == [
        {"contact": {"email": "ada@x.co"}, "was": 10.0, "value": 90.5, "by": 80.5, "bandWas": {"name": "Cold"},
         "band": {"name": "Hot"}, "changes": 2},
        {"contact": {"email": "fay@x.co"}, "was": 10.0, "value": 30.0, "by": 20.0, "bandWas": {"name": "Cold"},
         "band": {"name": "Cold"}, "changes": 1},
    ]  # fmt: skip


@pytest.mark.usefixtures("movers")
async def test_movers_are_paged_and_kept_by_way_and_band(data: Ask) -> None:
    async def names(**asked: Any) -> list[str]:
        nodes = (await data(MOVES, since=ago(7), **asked))["scoreMoves"]["contacts"]["nodes"]
        return [node["contact"]["email"][:3] for node in nodes]

    page = (await data(MOVES, since=ago(7), first=1))["scoreMoves"]["contacts"]
    assert page["pageInfo"]["hasNextPage"]
    assert ["fay"] == await names(first=5, after=page["pageInfo"]["endCursor"])
    assert ["bob"] == await names(way="FELL")
    assert ["ada"] == await names(to="Hot")
    assert [] == await names(**{"from": "Warm"})
    assert ["bob"] == await names(way="FELL", **{"from": "Hot", "to": "Cold"})
    assert ["ada", "fay"] == await names(**{"from": "Cold"})
    assert ["ada"] == await names(until=ago(4))


@pytest.mark.usefixtures("movers")
@pytest.mark.parametrize(
    ("asked", "pointer"),
    [
        ({"since": "2020-01-01T00:00:00Z"}, "/since"),
        ({"since": "2999-01-01T00:00:00Z"}, "/since"),
        ({"since": "0001-01-01T00:00:00+10:00"}, "/since"),
        ({"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}, "/since"),
        ({"to": "Tepid"}, "/band"),
        ({"from": "Tepid"}, "/bandWas"),
        ({"after": "x"}, "/after"),
        ({"after": "WyJOYU4iLCAiMSJd"}, "/after"),
    ],
)
async def test_moves_that_make_no_sense_are_refused(fault: Ask, asked: dict[str, Any], pointer: str) -> None:
    error = await fault(MOVES, **{"since": ago(7), **asked})

    assert pointer == error["extensions"]["faults"][0]["pointer"]


async def test_a_model_without_bands_has_moves_too(database: Database, data: Ask) -> None:
    await model(database, "engagement")
    async with database.batch() as db:
        await db.execute("UPDATE model_version SET bands = '[]'")
    await leads(database, Lead("ada@x.co"))
    await changes(database, ("ada", 1, 1, 2))

    found = (await data(MOVES, since=ago(7)))["scoreMoves"]

    assert (1, []) == (found["rose"], found["bandMoves"])


async def test_moves_cost_the_same_number_of_statements_for_any_number_of_movers(database: Database, data: Ask) -> None:
    await model(database, "engagement")
    await leads(database, *(Lead(f"p{n}@x.co") for n in range(100)))
    await changes(database, *((f"p{n}", 1, 1, n + 2) for n in range(100)))

    for first in (1, 100):
        with reads(database) as read:
            found = (await data(MOVES, since=ago(7), first=first))["scoreMoves"]
        assert first == len(found["contacts"]["nodes"])
        # Models, bands, days, movers, and who they are.
        assert 5 == len(read)


async def test_moves_read_the_changes_of_their_window_alone(database: Database) -> None:
    async with database.hot.acquire() as db:
        await db.execute(
            """
            INSERT INTO score_change (contact_id, model_id, at, was, value, version, cause)
            SELECT gen_random_uuid(), 1, now() - n * interval '1 minute', 1, 2, 1, 'event'
            FROM generate_series(100000, 1, -1) n
            """
        )
        await db.execute("VACUUM ANALYZE score_change")
        rows = await db.fetch(
            "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) SELECT count(*) FROM score_change "
            "WHERE model_id = 1 AND at >= now() - interval '2 hours' AND at < now()"
        )
    plan = "\n".join(row[0] for row in rows)

    assert "Bitmap Index Scan on score_change_at" in plan
    assert "Seq Scan" not in plan
