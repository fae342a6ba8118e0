"""Which contacts a query finds, and what it shows of them."""

from typing import Any

import pytest

from app.store.db import Database
from tests.graphql.conftest import Ask
from tests.graphql.world import Lead, leads, model

EXAMPLE = """
    query { contacts(
        first: 50,
        filter: {score: {model: "engagement", gte: 50, lte: 100}, bounceStatus: HARD, optedOut: false},
        orderBy: [{score: {model: "engagement", direction: DESC}}]
    ) {
        totalCount pageInfo { hasNextPage endCursor }
        edges { cursor node {
            id email bounced bounceStatus optedOut score(model: "engagement") { value band { name color } }
        } }
    } }
"""
FIND = "query($filter: ContactFilter) { contacts(filter: $filter, orderBy: [{createdAt: ASC}]) { nodes { email } } }"


async def test_the_hard_bounced_with_an_engagement_in_a_range_come_highest_first(database: Database, data: Ask) -> None:
    await model(database, "engagement")
    hard: dict[str, Any] = {"bounced": True, "bounce_status": "hard"}
    ids = await leads(
        database,
        Lead("low@x.co", scores={"engagement": 50}, **hard),
        Lead("high@x.co", scores={"engagement": 100}, **hard),
        Lead("above@x.co", scores={"engagement": "100.01"}, **hard),
        Lead("below@x.co", scores={"engagement": "49.99"}, **hard),
        Lead("soft@x.co", scores={"engagement": 60}, bounced=True, bounce_status="soft"),
        Lead("out@x.co", scores={"engagement": 60}, opted_out=True, **hard),
        Lead("none@x.co", **hard),
    )

    found = (await data(EXAMPLE))["contacts"]

    assert found["totalCount"] == 2
    assert found["pageInfo"] == {"hasNextPage": False, "endCursor": found["edges"][1]["cursor"]}
    shared = {"bounced": True, "bounceStatus": "HARD", "optedOut": False}
    assert [edge["node"] for edge in found["edges"]] == [
        {
            "id": ids[1],
            "email": "high@x.co",
            **shared,
            "score": {"value": 100.0, "band": {"name": "Hot", "color": "#ff0000"}},
        },
        {
            "id": ids[0],
            "email": "low@x.co",
            **shared,
            "score": {"value": 50.0, "band": {"name": "Warm", "color": "#ffff00"}},
        },
    ]


@pytest.fixture
async def four(database: Database) -> None:
    """Four contacts that differ in everything a filter asks about."""
    await model(database, "engagement")
    await model(database, "fit")
    await leads(
        database,
        Lead("ada@x.co", 0, scores={"engagement": 90, "fit": 10}, stage="Customer", tags=["VIP", "Chemicals"]),
        Lead("bob_1@y.co", 1, scores={"engagement": 40, "fit": 30}, opted_out=True, tags=["vip"]),
        Lead("cyd%2@y.co", 2, scores={"engagement": "39.99"}, bounced=True, bounce_status="hard", stage="lead"),
        Lead(None, 3, bounce_status="soft"),
    )


@pytest.mark.usefixtures("four")
@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (None, "ada bob cyd -"),
        ({}, "ada bob cyd -"),
        ({"bounced": None, "and": None}, "ada bob cyd -"),
        ({"score": {"model": "engagement", "gte": 40}}, "ada bob"),
        ({"score": {"model": "engagement", "gt": 40}}, "ada"),
        ({"score": {"model": "engagement", "lte": 40}}, "bob cyd"),
        ({"score": {"model": "engagement", "lt": 40}}, "cyd"),
        ({"score": {"model": "engagement"}}, "ada bob cyd"),
        ({"scores": [{"model": "engagement", "lt": 50}, {"model": "fit", "gt": 20}]}, "bob"),
        ({"scores": []}, "ada bob cyd -"),
        ({"band": {"model": "engagement", "name": "Cold"}}, "cyd"),
        ({"band": {"model": "engagement", "name": "Warm"}}, "bob"),
        ({"band": {"model": "engagement", "name": "Hot"}}, "ada"),
        ({"bounced": True}, "cyd"),
        ({"bounced": False}, "ada bob -"),
        ({"bounceStatus": "SOFT"}, "-"),
        ({"bounceStatus": "NONE"}, "ada bob"),
        ({"optedOut": True}, "bob"),
        ({"suppressed": True}, "bob cyd"),
        ({"suppressed": False}, "ada -"),
        ({"tag": "Vip"}, "ada bob"),
        ({"tag": "chemicals"}, "ada"),
        ({"tag": "chem"}, ""),
        ({"email": "@Y.CO"}, "bob cyd"),
        ({"email": "%"}, "cyd"),
        ({"email": "_"}, "bob"),
        ({"stage": "CUSTOMER"}, "ada"),
        ({"and": [{"tag": "vip"}, {"optedOut": False}]}, "ada"),
        ({"or": [{"bounced": True}, {"stage": "customer"}]}, "ada cyd"),
        ({"or": [{"score": {"model": "fit", "gte": 20}}, {"bounceStatus": "SOFT"}], "email": "y.co"}, "bob"),
        ({"not": {"bounced": True}}, "ada bob -"),
        ({"not": {"email": "y.co"}}, "ada -"),
        ({"not": {"stage": "lead"}}, "ada bob -"),
        ({"not": {"tag": "vip"}}, "cyd -"),
        ({"not": {"score": {"model": "engagement", "gte": 40}}}, "cyd -"),
        ({"not": {"or": [{"optedOut": True}, {"not": {"tag": "vip"}}]}}, "ada"),
        ({"not": {}}, ""),
    ],
)
@pytest.mark.parametrize("order", ["created", "score"])
async def test_a_filter_finds_whoever_matches_and_nobody_else(
    data: Ask, wanted: dict[str, Any] | None, expected: str, order: str
) -> None:
    by = {"created": {"createdAt": "ASC"}, "score": {"score": {"model": "engagement"}}}[order]
    query = (
        "query($filter: ContactFilter, $order: [ContactOrder!]) { contacts(filter: $filter, orderBy: $order) "
        "{ totalCount nodes { email } } }"
    )

    found = (await data(query, filter=wanted, order=[by]))["contacts"]

    assert expected.split() == [(node["email"] or "-")[:3] for node in found["nodes"]]
    assert len(expected.split()) == found["totalCount"]


@pytest.mark.usefixtures("four")
@pytest.mark.parametrize(
    ("wanted", "pointer", "says"),
    [
        ({"score": {"model": "nope"}}, "/filter/score/model", "there is 'engagement', 'fit'"),
        ({"scores": [{"model": "fit"}, {"model": "x"}]}, "/filter/scores/1/model", "there is 'engagement', 'fit'"),
        ({"band": {"model": "fit", "name": "hot"}}, "/filter/band/name", "it has 'Cold', 'Warm', 'Hot'"),
        ({"not": {"and": [{"tag": "a\0b"}]}}, "/filter/not/and/0/tag", "NUL"),
        ({"email": "\0"}, "/filter/email", "NUL"),
        ({"stage": "x" * 1_001}, "/filter/stage", "1,000"),
        ({"or": []}, "/filter/or", "empty"),
        ({"and": [{"bounced": True}] * 100}, "/filter/and/99", "100 parts"),
    ],
)
async def test_a_filter_that_makes_no_sense_is_refused_with_what_would(
    fault: Ask, wanted: dict[str, Any], pointer: str, says: str
) -> None:
    error = await fault(FIND, filter=wanted)

    assert error["extensions"]["code"] == "invalid_input"
    assert error["extensions"]["faults"][0]["pointer"] == pointer
    assert says in error["message"]


async def test_a_band_is_the_live_versions_not_the_drafts(database: Database, fault: Ask) -> None:
    await model(database, "engagement")

    error = await fault(FIND, filter={"band": {"model": "engagement", "name": "Drafted"}})

    assert "no band 'Drafted'" in error["message"]


async def test_a_contact_is_found_by_its_id_and_by_any_of_its_addresses(database: Database, data: Ask) -> None:
    (ada,) = await leads(database, Lead("ada@x.co"))
    async with database.batch() as db:
        await db.execute("INSERT INTO identity SELECT 'email', 'old@x.co', id FROM contact")
    query = "query($id: ID, $email: String) { contact(id: $id, email: $email) { email lastEventAt } }"

    assert {"email": "ada@x.co", "lastEventAt": None} == (await data(query, id=ada))["contact"]
    assert (await data(query, email=" ADA@X.co "))["contact"]["email"] == "ada@x.co"
    assert (await data(query, email="old@x.co"))["contact"]["email"] == "ada@x.co"
    assert (await data(query, email="nobody@x.co"))["contact"] is None
    assert (await data(query, id="00000000-0000-0000-0000-000000000000"))["contact"] is None


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "one of them"),
        ({"id": "1", "email": "a@x.co"}, "one of them"),
        ({"id": "not-a-uuid"}, "not a UUID"),
        ({"email": "nobody"}, "@"),
        ({"email": "a\0@x.co"}, "NUL"),
    ],
)
async def test_a_contact_is_asked_for_by_one_thing_that_can_be_one(
    fault: Ask, given: dict[str, str], says: str
) -> None:
    error = await fault("query($id: ID, $email: String) { contact(id: $id, email: $email) { id } }", **given)

    assert error["extensions"]["code"] == "invalid_input"
    assert says in error["message"]


async def test_every_field_of_a_contact_shows_what_is_stored(database: Database, data: Ask) -> None:
    (ada,) = await leads(database, Lead("ada@x.co", created=1, seen=2, tags=["VIP"], stage="Lead"))
    async with database.batch() as db:
        await db.execute(
            """
            UPDATE contact SET name = 'Ada', properties = '{"n": [1, null]}', opted_out = true,
                opted_out_at = '2026-02-01T00:00:00.000001Z', opted_out_reason = 'complained',
                opted_out_by = 'sendgrid',
                bounced = true, bounced_at = '2026-02-02Z', bounced_reason = 'manual', bounced_by = 'key',
                bounce_status = 'hard', soft_bounces = 3
            """
        )

    found = await data(
        """query($id: ID) { contact(id: $id) {
            id email name stage tags properties optedOut optedOutAt optedOutReason optedOutBy bounced bouncedAt
            bouncedReason bouncedBy bounceStatus softBounces suppressed lastEventAt createdAt updatedAt
            scores { value } identities { kind value } events { id }
        } }""",
        id=ada,
    )

    assert found["contact"] == {
        "id": ada,
        "email": "ada@x.co",
        "name": "Ada",
        "stage": "Lead",
        "tags": ["VIP"],
        "properties": {"n": [1, None]},
        "optedOut": True,
        "optedOutAt": "2026-02-01T00:00:00.000001+00:00",
        "optedOutReason": "complained",
        "optedOutBy": "sendgrid",
        "bounced": True,
        "bouncedAt": "2026-02-02T00:00:00+00:00",
        "bouncedReason": "manual",
        "bouncedBy": "key",
        "bounceStatus": "HARD",
        "softBounces": 3,
        "suppressed": True,
        "lastEventAt": "2026-01-01T00:02:00+00:00",
        "createdAt": "2026-01-01T00:01:00+00:00",
        "updatedAt": "2026-01-01T00:01:00+00:00",
        "scores": [],
        "identities": [{"kind": "email", "value": "ada@x.co"}],
        "events": [],
    }
