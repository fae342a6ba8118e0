"""Orders by columns that have no index, alone and together with scores; and how many contacts there are."""

import random
from typing import Any
from uuid import UUID

import pytest

from app.store import contact_counts, pages
from app.store.db import Database
from tests.graphql.conftest import Ask
from tests.graphql.test_paging import PAGE, walk
from tests.graphql.test_statements import reads
from tests.graphql.world import Lead, leads, model

NAMES = [None, "", "ada", "Ada", "Bob", "é", "Zoé", "ä" * 250, "%", "a\\"]
TIMES = [None, "2026-01-05T00:00:00+00:00", "2026-02-01T00:00:00.000001+00:00", "2026-02-01T00:00:00.000002+00:00"]
COLUMNS = ["email", "name", "stage", "bouncedAt", "optedOutAt", "updatedAt", "createdAt", "lastEventAt"]


@pytest.fixture
async def crowd(database: Database) -> list[dict[str, Any]]:
    """Thirty contacts with many ties; what each has in each column, and its id."""
    chance = random.Random(11)
    await model(database, "engagement")
    given = [Lead(created=chance.randrange(3), seen=chance.choice([None, 1, 2])) for _ in range(30)]
    rows = [
        {
            "id": lead.id,
            "email": chance.choice([None, "a@x.co", "b@x.co"]),
            "name": chance.choice(NAMES),
            "stage": chance.choice(["Lead", "lead", None]),
            "bouncedAt": chance.choice(TIMES),
            "optedOutAt": chance.choice(TIMES),
            "updatedAt": chance.choice(TIMES[1:]),
            "createdAt": lead.created,
            "lastEventAt": -1 if lead.seen is None else lead.seen,
        }
        for lead in given
    ]
    await leads(database, *given)
    async with database.batch() as db:
        for row in rows:
            await db.execute(
                """
                UPDATE contact SET email = $2, name = $3, stage = $4, bounced_at = $5::text::timestamptz,
                    opted_out_at = $6::text::timestamptz, updated_at = $7::text::timestamptz WHERE id = $1
                """,
                *list(row.values())[:7],
            )
    return rows


def value_of(row: dict[str, Any], column: str) -> Any:
    if column in ("email", "name", "stage"):
        return (row[column] or "").lower()[:200]
    return row[column] or "" if column in ("bouncedAt", "optedOutAt") else row[column]


def in_order(rows: list[dict[str, Any]], keys: list[tuple[str, str]]) -> list[str]:
    """The plain way: by the last key first; the id goes the way of the last one."""
    rows = list(rows)
    for column, direction in reversed([*keys, ("id", keys[-1][1])]):
        rows.sort(key=lambda row, by=column: value_of(row, by), reverse=direction == "DESC")  # type: ignore[misc]  # a default
    return [str(row["id"]) for row in rows]


async def test_every_order_is_whole_by_pages_forwards_and_backwards(crowd: list[dict[str, Any]], data: Ask) -> None:
    chance = random.Random(5)
    wanted = [[(column, direction)] for column in COLUMNS for direction in ("ASC", "DESC")]
    wanted += [[(column, chance.choice(["ASC", "DESC"])) for column in chance.sample(COLUMNS, 3)] for _ in range(8)]
    for keys in wanted:
        asked = {"orderBy": [{column: direction} for column, direction in keys]}

        assert in_order(crowd, keys) == await walk(data, "first", "after", 7, asked), keys
        assert in_order(crowd, keys) == await walk(data, "last", "before", 13, asked), keys


async def test_a_cursor_of_five_long_texts_is_taken_back(database: Database, data: Ask) -> None:
    ids = await leads(database, Lead(created=0), Lead(created=1))
    async with database.batch() as db:
        await db.execute("UPDATE contact SET name = repeat('Ä', 300), stage = repeat('\U0001f600', 300)")
    asked = {"orderBy": [{"name": "ASC"}, {"stage": "ASC"}, {"name": "DESC"}, {"stage": "DESC"}, {"createdAt": "ASC"}]}

    assert ids == await walk(data, "first", "after", 1, asked)


async def test_a_forged_cursor_of_text_is_refused(fault: Ask, database: Database, data: Ask) -> None:
    for values in (["a\0"], [None], [5]):
        cursor = pages.encode("name:asc", values, str(UUID(int=1)))
        error = await fault(PAGE, after=cursor, orderBy=[{"name": "ASC"}])
        assert "/after" == error["extensions"]["faults"][0]["pointer"]


@pytest.mark.parametrize(("bound", "says"), [(4, (5, False)), (5, (5, True)), (6, (5, True))])
async def test_contacts_are_counted_up_to_a_bound_and_estimated_beyond(
    database: Database, data: Ask, monkeypatch: pytest.MonkeyPatch, bound: int, says: tuple[int, bool]
) -> None:
    monkeypatch.setattr(contact_counts, "EXACT", bound)
    await leads(database, *(Lead() for _ in range(5)))
    async with database.hot.acquire() as db:
        await db.execute("ANALYZE contact")

    with reads(database) as read:
        found = (await data("{ contacts(first: 1) { totalCount totalCountIsExact } }"))["contacts"]

    assert {"totalCount": says[0], "totalCountIsExact": says[1]} == found
    # Models, page, count; where there are too many, the plan. Once for both fields.
    assert (3 if says[1] else 4) == len(read)


async def test_an_estimate_is_never_below_what_was_counted(
    database: Database, data: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contact_counts, "EXACT", 2)
    await leads(database, *(Lead(tags=["vip"]) for _ in range(9)))

    # Nothing was analysed for a filter as odd as this.
    wanted = '{tags: {all: ["vip"]}, name: {isNull: true}, emailAddress: {isNull: true}}'
    assert 3 <= (await data(f"{{ contacts(filter: {wanted}) {{ totalCount }} }}"))["contacts"]["totalCount"] <= 9
