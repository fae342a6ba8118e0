"""Orders, and pages in them: every contact exactly once, whichever way one reads."""

import base64
import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import orjson
import pytest

from app.store.db import Database
from tests.graphql.conftest import Ask
from tests.graphql.world import Lead, leads, model

PAGE = """
    query($first: Int, $after: String, $last: Int, $before: String, $filter: ContactFilter, $orderBy: [ContactOrder!]) {
        contacts(first: $first, after: $after, last: $last, before: $before, filter: $filter, orderBy: $orderBy) {
            pageInfo { hasNextPage hasPreviousPage startCursor endCursor } nodes { id }
        }
    }
"""


def score(name: str, direction: str) -> dict[str, Any]:
    return {"score": {"model": name, "direction": direction}}


ORDERS: dict[str, list[dict[str, Any]] | None] = {
    "default": None,
    "empty": [],
    "oldest": [{"createdAt": "ASC"}],
    "newest": [{"createdAt": "DESC"}],
    "silent first": [{"lastEventAt": "ASC"}],
    "active first": [{"lastEventAt": "DESC"}],
    "highest": [score("engagement", "DESC")],
    "lowest": [score("engagement", "ASC")],
    "two scores": [score("engagement", "DESC"), score("fit", "DESC")],
    "two scores, mixed": [score("engagement", "DESC"), score("fit", "ASC")],
    "score, then silence": [score("engagement", "ASC"), {"lastEventAt": "ASC"}],
    "silence, then score": [{"lastEventAt": "DESC"}, score("engagement", "ASC")],
    "the same twice": [score("engagement", "DESC"), score("engagement", "ASC"), {"createdAt": "ASC"}],
}
FILTERS: dict[str, tuple[dict[str, Any] | None, Callable[[Lead], bool]]] = {
    "all": (None, lambda _: True),
    "scored": (
        {"score": {"model": "engagement", "gte": 10}},
        lambda lead: float(lead.scores.get("engagement", -1)) >= 10,
    ),
    "unscored": ({"not": {"score": {"model": "engagement"}}}, lambda lead: "engagement" not in lead.scores),
    "not low": (
        {"not": {"score": {"model": "engagement", "lt": 10}}},
        lambda lead: not float(lead.scores.get("engagement", 99)) < 10,
    ),
}


def expected_order(given: list[Lead], keys: list[dict[str, Any]] | None) -> list[str]:
    """The plain way: sort by the last key first. What is missing lies below everything."""
    rows = list(given)
    directions = [*(keys or [{"createdAt": "DESC"}])]
    for key in reversed([*directions, {"id": next(iter(directions[-1].values()))}]):
        ((name, said),) = key.items()
        direction = said["direction"] if isinstance(said, dict) else said

        def value(lead: Lead, name: str = name, said: Any = said) -> Any:
            if name == "score":
                return Decimal(lead.scores.get(said["model"], "-Infinity"))
            return {"id": lead.id, "createdAt": lead.created, "lastEventAt": -1 if lead.seen is None else lead.seen}[
                name
            ]

        rows.sort(key=value, reverse=direction == "DESC")
    return [str(lead.id) for lead in rows]


@pytest.fixture
async def crowd(database: Database) -> list[Lead]:
    """Forty contacts with many ties, and some without a score or an event."""
    chance = random.Random(7)
    await model(database, "engagement")
    await model(database, "fit")
    made = []
    for _ in range(40):
        scores = {"engagement": chance.choice([-5, 0, 10, 20])} if chance.random() < 0.7 else {}
        if chance.random() < 0.7:
            scores["fit"] = chance.choice([1, 2])
        seen = chance.choice([None, 0, 1, 2])
        made.append(Lead(created=chance.randrange(3), seen=seen, scores=scores))
    await leads(database, *made)
    return made


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kept", FILTERS)
@pytest.mark.parametrize("size", [3, 40])
async def test_all_pages_forwards_and_backwards_are_the_whole_order(
    crowd: list[Lead], data: Ask, order: str, kept: str, size: int
) -> None:
    wanted, is_kept = FILTERS[kept]
    expected = expected_order([lead for lead in crowd if is_kept(lead)], ORDERS[order])
    asked = {"filter": wanted, "orderBy": ORDERS[order]}

    assert expected == await walk(data, "first", "after", size, asked)
    assert expected == await walk(data, "last", "before", size, asked)


async def walk(data: Ask, count: str, cursor: str, size: int, asked: dict[str, Any]) -> list[str]:
    """All ids, by pages in one direction."""
    ids: list[str] = []
    place = None
    while True:
        page = (await data(PAGE, **asked, **{count: size, cursor: place}))["contacts"]
        found = [node["id"] for node in page["nodes"]]
        ids = ids + found if count == "first" else found + ids
        info = page["pageInfo"]
        if not info["hasNextPage" if count == "first" else "hasPreviousPage"]:
            return ids
        assert len(found) == size
        place = info["endCursor" if count == "first" else "startCursor"]


async def test_between_two_cursors_lies_what_is_between_them(crowd: list[Lead], data: Ask) -> None:
    order = [score("engagement", "DESC")]
    expected = expected_order(crowd, order)
    query = """query($orderBy: [ContactOrder!], $after: String, $before: String) {
        contacts(orderBy: $orderBy, after: $after, before: $before) { edges { cursor node { id } } } }"""
    cursors = [edge["cursor"] for edge in (await data(query, orderBy=order))["contacts"]["edges"]]

    for low, high in [(0, 39), (5, 20), (20, 38), (30, 39), (10, 11), (30, 10)]:
        found = (await data(query, orderBy=order, after=cursors[low], before=cursors[high]))["contacts"]["edges"]
        assert expected[low + 1 : high] == [edge["node"]["id"] for edge in found]


async def test_the_first_none_still_say_whether_there_are_some(crowd: list[Lead], data: Ask) -> None:
    found = await data("{ contacts(first: 0) { totalCount nodes { id } pageInfo { hasNextPage endCursor } } }")

    assert found["contacts"] == {
        "totalCount": len(crowd),
        "nodes": [],
        "pageInfo": {"hasNextPage": True, "endCursor": None},
    }


async def test_a_page_has_fifty_contacts_unless_it_is_said_otherwise(database: Database, data: Ask) -> None:
    await leads(database, *(Lead() for _ in range(51)))

    assert len((await data("{ contacts { nodes { id } } }"))["contacts"]["nodes"]) == 50


async def test_cursors_keep_scores_and_instants_exactly(database: Database, data: Ask) -> None:
    await model(database, "engagement")
    exact = ["0.1", "0.10000000000000000001", "12345678901234567890.12", "-0.000001"]
    ids = await leads(database, *(Lead(scores={"engagement": value}) for value in exact))
    async with database.batch() as db:
        await db.execute("UPDATE activity SET last_event_at = '2026-01-01T00:00:00.000001Z'")
        await db.execute(
            "UPDATE activity SET last_event_at = '2026-01-01T00:00:00.000002Z' WHERE contact_id = ANY($1)", ids[:2]
        )

    assert [ids[3], ids[0], ids[1], ids[2]] == await walk(
        data, "first", "after", 1, {"orderBy": [score("engagement", "ASC")]}
    )
    newest = await walk(data, "first", "after", 1, {"orderBy": [{"lastEventAt": "DESC"}]})
    assert sorted(ids[:2], reverse=True) + sorted(ids[2:], reverse=True) == newest


def forged(*place: Any) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(place)).decode().rstrip("=")


SOMEBODY = "0197a5a0-0000-7000-8000-000000000000"
HIGHEST = "score.engagement:desc"


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "nonsense",
        "ÿ\0",
        "%%%",
        forged("x"),
        forged(None, None, None),
        forged(HIGHEST, [], SOMEBODY),
        forged(HIGHEST, ["1", "2"], SOMEBODY),
        forged(HIGHEST, [1], SOMEBODY),
        forged(HIGHEST, ["NaN"], SOMEBODY),
        forged(HIGHEST, ["1e999999999"], SOMEBODY),
        forged(HIGHEST, ["9" * 100], SOMEBODY),
        forged(HIGHEST, ["1"], "nobody"),
        forged(HIGHEST, ["1"], 5),
        forged(HIGHEST, [{}], SOMEBODY),
        "A" * 5_000,
    ],
)
@pytest.mark.parametrize("name", ["after", "before"])
async def test_a_malformed_cursor_is_refused(database: Database, fault: Ask, cursor: str, name: str) -> None:
    await model(database, "engagement")

    error = await fault(PAGE, orderBy=[score("engagement", "DESC")], **{name: cursor})

    assert error["extensions"]["code"] == "invalid_input"
    assert f"/{name}: not a cursor" in error["message"]


@pytest.mark.parametrize("instant", ["x", "2026-01-01", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", None])
async def test_a_cursor_with_an_instant_that_cannot_be_is_refused(fault: Ask, instant: str | None) -> None:
    error = await fault(PAGE, after=forged("createdAt:desc", [instant], SOMEBODY))

    assert "not a cursor" in error["message"]


async def test_a_cursor_of_another_order_is_refused(crowd: list[Lead], data: Ask, fault: Ask) -> None:
    place = (await data(PAGE, first=1, orderBy=[score("engagement", "DESC")]))["contacts"]["pageInfo"]["endCursor"]

    for other in ([score("engagement", "ASC")], [score("fit", "DESC")], [{"createdAt": "DESC"}]):
        error = await fault(PAGE, after=place, orderBy=other)
        assert error["extensions"]["code"] == "invalid_input"
        assert "this cursor is of the order 'score.engagement:desc'" in error["message"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"first": 201}, "'first' must be between 0 and 200"),
        ({"last": 201}, "'last' must be between 0 and 200"),
        ({"first": -1}, "'first' must be between 0 and 200"),
        ({"first": 1, "last": 1}, "not both"),
        ({"orderBy": [score("nope", "DESC")]}, "there is no scoring model 'nope'; there is none yet"),
        ({"orderBy": [{"createdAt": "ASC"}] * 6}, "at most 5 keys"),
    ],
)
async def test_a_page_that_makes_no_sense_is_refused(fault: Ask, given: dict[str, Any], says: str) -> None:
    error = await fault(PAGE, **given)

    assert error["extensions"]["code"] == "invalid_input"
    assert says in error["message"]


@pytest.mark.parametrize(
    "element",
    [{}, {"createdAt": "ASC", "lastEventAt": "ASC"}, {"createdAt": None}, {"createdAt": "ASC", "score": None}],
)
async def test_an_order_has_exactly_one_key_in_each_element(fault: Ask, element: dict[str, Any]) -> None:
    error = await fault(PAGE, orderBy=[element])

    assert error["extensions"]["code"] in {"invalid_query", "invalid_input"}
    assert "exactly one" in error["message"] or "non-null" in error["message"]


@pytest.mark.parametrize("element", ["{}", "{createdAt: ASC, lastEventAt: ASC}", "{createdAt: null}"])
async def test_so_it_has_where_it_is_written_in_the_query(fault: Ask, element: str) -> None:
    error = await fault(f"{{ contacts(orderBy: [{element}]) {{ nodes {{ id }} }} }}")

    assert error["extensions"]["code"] == "invalid_query"
    assert "exactly one" in error["message"] or "non-null" in error["message"]
