"""Contacts by the segment they are in."""

from datetime import timedelta
from typing import Any

import pytest

from app import clock
from app.engine import measures, segments
from app.engine.fields import Aggregate
from app.store.db import Database
from tests.graphql.conftest import Ask
from tests.graphql.world import Lead, leads, model, where

FIND = """
    query($filter: ContactFilter, $order: [ContactOrder!], $first: Int, $after: String) {
        contacts(filter: $filter, orderBy: $order, first: $first, after: $after) {
            totalCount pageInfo { endCursor hasNextPage } nodes { email }
        }
    }
"""


async def segment(database: Database, key: str, condition: dict[str, Any]) -> None:
    async with database.batch() as db:
        await segments.create(db, segments.Wanted(key, key, None, condition), clock.now())


@pytest.fixture
async def four(database: Database) -> None:
    """Four contacts, and segments of which each looks at something else."""
    await model(database, "engagement")
    await leads(
        database,
        Lead("ada@x.co", 0, scores={"engagement": 90}, tags=["VIP"], seen=5),
        Lead("bob@x.co", 1, scores={"engagement": 40}, opted_out=True, tags=["vip"]),
        Lead("cyd@x.co", 2, scores={"engagement": "39.99"}, bounced=True, stage="lead"),
        Lead(None, 3),
    )
    await segment(database, "vips", where("contact.tags", "contains", "vip"))
    await segment(database, "warm", where("contact.score.engagement", ">=", 40))
    await segment(database, "hot", where("contact.band.engagement", "=", "Hot"))
    await segment(database, "cool", where("contact.score.engagement", "<", 80))
    await segment(database, "cold_vips", {"combinator": "and", "rules": [
        where("contact.segments", "=", "vips"), where("contact.segments", "!=", "hot"),
    ]})  # fmt: skip
    await segment(database, "seen", where("contact.days_inactive", ">=", 0))


@pytest.mark.usefixtures("four")
@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"segment": "vips"}, "ada bob"),
        ({"segment": "warm"}, "ada bob"),
        ({"segment": "hot"}, "ada"),
        ({"segment": "cool"}, "bob cyd"),
        ({"segment": "cold_vips"}, "bob"),
        ({"segment": "seen"}, "ada"),
        ({"segment": None}, "ada bob cyd -"),
        ({"segment": "vips", "optedOut": False}, "ada"),
        ({"segment": "cool", "score": {"model": "engagement", "gt": 39.99}}, "bob"),
        ({"not": {"segment": "vips"}}, "cyd -"),
        ({"not": {"segment": "cool"}}, "ada -"),
        ({"not": {"not": {"segment": "cool"}}}, "bob cyd"),
        ({"and": [{"segment": "vips"}, {"segment": "cool"}]}, "bob"),
        ({"and": [{"segment": "vips"}, {"segment": "vips"}, {"not": {"segment": "hot"}}]}, "bob"),
        ({"or": [{"segment": "hot"}, {"stage": "lead"}]}, "ada cyd"),
        ({"or": [{"segment": "hot"}, {"not": {"or": [{"segment": "warm"}, {"segment": "cool"}]}}]}, "ada -"),
    ],
)
@pytest.mark.parametrize("order", ["created", "score"])
async def test_a_segment_filters_like_anything_else(
    data: Ask, wanted: dict[str, Any], expected: str, order: str
) -> None:
    by = {"created": {"createdAt": "ASC"}, "score": {"score": {"model": "engagement"}}}[order]

    found = (await data(FIND, filter=wanted, order=[by]))["contacts"]

    assert expected.split() == [(node["email"] or "-")[:3] for node in found["nodes"]]
    assert len(expected.split()) == found["totalCount"]


@pytest.mark.usefixtures("four")
async def test_a_segment_is_paged_through_to_its_end(data: Ask) -> None:
    seen, after, more = [], None, True
    while more:
        found = await data(FIND, filter={"segment": "cool"}, order=[{"createdAt": "DESC"}], first=1, after=after)
        page = found["contacts"]
        seen += [node["email"] for node in page["nodes"]]
        after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]

    assert ["cyd@x.co", "bob@x.co"] == seen


@pytest.mark.usefixtures("four")
async def test_a_segment_is_as_it_is_defined_when_it_is_asked(database: Database, data: Ask) -> None:
    query = '{ contacts(filter: {segment: "vips"}) { totalCount } }'
    assert 2 == (await data(query))["contacts"]["totalCount"]

    async with database.batch() as db:
        await segments.change(db, "vips", {"condition": where("contact.stage", "=", "lead")}, clock.now())
    assert 1 == (await data(query))["contacts"]["totalCount"]


@pytest.mark.usefixtures("four")
async def test_silences_are_of_todays_utc_day(database: Database, data: Ask) -> None:
    await segment(database, "silent", where("contact.days_inactive", ">", 10_000))
    query = '{ contacts(filter: {segment: "silent"}) { nodes { email } } }'
    assert [] == (await data(query))["contacts"]["nodes"]

    clock.shift(timedelta(days=10_001))

    assert [{"email": "ada@x.co"}] == (await data(query))["contacts"]["nodes"]


@pytest.mark.usefixtures("four")
@pytest.mark.parametrize(
    ("wanted", "pointer", "says"),
    [
        ({"segment": "nobody"}, "/filter/segment", "there is 'cold_vips', 'cool', 'hot', 'seen', 'vips', 'warm'"),
        ({"or": [{"segment": "vips"}, {"not": {"segment": "\0"}}]}, "/filter/or/1/not/segment", "there is no segment"),
        ({"and": [{"segment": "vips"}] * 21}, "/filter/and/20/segment", "at most 20 segments"),
    ],
)
async def test_an_unknown_segment_is_refused_with_those_there_are(
    fault: Ask, wanted: dict[str, Any], pointer: str, says: str
) -> None:
    error = await fault(FIND, filter=wanted)

    assert "invalid_input" == error["extensions"]["code"]
    assert pointer == error["extensions"]["faults"][0]["pointer"]
    assert says in error["message"]


async def test_where_there_is_no_segment_that_is_said(fault: Ask) -> None:
    assert "none yet" in (await fault(FIND, filter={"segment": "vips"}))["message"]


async def test_a_segment_that_waits_for_a_measure_is_not_answered_with_half_of_it(
    database: Database, fault: Ask
) -> None:
    wanted = measures.Wanted("opens", "Opens", where("event.type", "=", "email.opened"), Aggregate.COUNT)
    async with database.batch() as db:
        await measures.create(db, wanted, clock.now())
    await segment(database, "openers", where("contact.measures.opens", ">", 0))

    error = await fault(FIND, filter={"segment": "openers"})

    assert "conflict" == error["extensions"]["code"]
    assert "'opens'" in error["message"]
