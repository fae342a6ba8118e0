"""Scores and what they are made of; models, bands and rules as they count; events."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from app import clock
from app.engine import publish
from app.engine.plan import Plans
from app.store.db import Database
from tests.graphql.conftest import Ask
from tests.graphql.world import Lead, happened, leads, live, model, rule, where

SCORES = """
    { contacts(orderBy: [{createdAt: ASC}]) { nodes {
        email score(model: "engagement") { value contributions { rule { name kind points } count points } }
        scores { value version model { key } contributions { points } }
    } } }
"""


async def sheet(database: Database, key: str) -> None:
    """An unpublished model with some rules, one of them negative, one limited, one that never matches."""
    await model(database, key, published=False)
    await rule(database, key, "Opened", "2.1", where("event.type", "=", "email.opened"), max_per_day=2)
    await rule(database, key, "Viewed", "30", where("event.type", "=", "page.viewed"), max_points=Decimal(50))
    await rule(database, key, "Old", "7", where("event.type", "=", "page.viewed"), window_days=3)
    await rule(database, key, "Opted out", "-1000", where("contact.opted_out", "=", True))
    await rule(database, key, "Example", "5.25", where("contact.email", "endsWith", "@x.co"))


async def test_contributions_add_up_to_the_score_the_largest_first(database: Database, plans: Plans, data: Ask) -> None:
    for key in ("engagement", "fit"):
        await sheet(database, key)
        await live(database, key)
    await happened(
        database,
        plans,
        *[("ada@x.co", "email.opened", 0)] * 3,
        ("ada@x.co", "email.opened", 40),
        *[("ada@x.co", "page.viewed", ago) for ago in (1, 2, 10)],
        ("bob@y.co", "email.unsubscribed", 0),
    )

    ada, bob = (await data(SCORES))["contacts"]["nodes"]

    assert ada["score"] == {
        "value": 75.55,
        "contributions": [
            {"rule": {"name": "Viewed", "kind": "EVENT", "points": 30.0}, "count": 3, "points": 50.0},
            {"rule": {"name": "Old", "kind": "EVENT", "points": 7.0}, "count": 2, "points": 14.0},
            {"rule": {"name": "Opened", "kind": "EVENT", "points": 2.1}, "count": 3, "points": 6.3},
            {"rule": {"name": "Example", "kind": "PROFILE", "points": 5.25}, "count": 1, "points": 5.25},
        ],
    }
    assert [-1000.0] == [one["points"] for one in bob["score"]["contributions"]]
    for contact in (ada, bob):
        assert ["engagement", "fit"] == [one["model"]["key"] for one in contact["scores"]]
        for one in contact["scores"]:
            parts = [Decimal(str(part["points"])) for part in one["contributions"]]
            assert Decimal(str(one["value"])) == sum(parts)


async def test_contributions_are_those_of_today(database: Database, plans: Plans, data: Ask) -> None:
    await sheet(database, "engagement")
    await live(database, "engagement")
    await happened(database, plans, ("ada@x.co", "page.viewed", 0))

    clock.shift(timedelta(days=3))

    (ada,) = (await data(SCORES))["contacts"]["nodes"]
    assert ["Viewed", "Example"] == [one["rule"]["name"] for one in ada["score"]["contributions"]]


async def test_an_archived_model_keeps_its_scores_without_contributions(
    database: Database, plans: Plans, data: Ask
) -> None:
    await sheet(database, "engagement")
    await live(database, "engagement")
    await happened(database, plans, ("ada@x.co", "page.viewed", 0))
    async with database.batch() as db:
        await publish.archive(db, "engagement", clock.now())

    (ada,) = (await data(SCORES))["contacts"]["nodes"]

    assert ada["score"] == {"value": 42.25, "contributions": []}
    assert [{"value": 42.25, "version": 1, "model": {"key": "engagement"}, "contributions": []}] == ada["scores"]
    found = await data('{ contacts(filter: {score: {model: "engagement", gte: 42.25}}) { totalCount } }')
    assert found["contacts"]["totalCount"] == 1


async def test_a_contact_without_a_score_in_a_model_has_none(database: Database, data: Ask) -> None:
    await model(database, "engagement")
    await leads(database, Lead("ada@x.co"))

    (ada,) = (await data(SCORES))["contacts"]["nodes"]

    assert ada == {"email": "ada@x.co", "score": None, "scores": []}


@pytest.mark.parametrize(("value", "band"), [("39.99", "Cold"), (40, "Warm"), ("79.9", "Warm"), (80, "Hot")])
async def test_a_band_begins_at_its_least_score(database: Database, data: Ask, value: float, band: str) -> None:
    await model(database, "engagement")
    await leads(database, Lead(scores={"engagement": value}))

    found = await data(
        '{ contacts { nodes { score(model: "engagement") { band { name } computedAt nextChangeOn } } } }'
    )

    assert found["contacts"]["nodes"] == [
        {"score": {"band": {"name": band}, "computedAt": "2026-01-01T00:00:00+00:00", "nextChangeOn": None}}
    ]


async def test_an_unknown_model_is_an_error_that_says_which_there_are(database: Database, fault: Ask) -> None:
    await model(database, "engagement")
    await leads(database, Lead())

    error = await fault('{ contacts { nodes { score(model: "nope") { value } } } }')

    assert error["message"] == "/model: there is no scoring model 'nope'; there is 'engagement'"
    assert error["extensions"]["code"] == "invalid_input"


MODELS = """
    query($all: Boolean!) { scoringModels(includeArchived: $all) {
        key name description version publishedAt archived bands { name color min } rules { name }
    } }
"""


async def test_models_are_shown_as_they_are_live(database: Database, data: Ask) -> None:
    await model(database, "b-live", name="Live")
    await model(database, "a-draft", published=False)
    await model(database, "c-gone", archived=True)
    await rule(database, "a-draft", "Drafted", "1", where("event.type", "=", "x"))
    await rule(database, "b-live", "Not live yet", "1", where("event.type", "=", "x"))

    assert ["a-draft", "b-live"] == [one["key"] for one in (await data(MODELS, all=False))["scoringModels"]]
    draft, published, gone = (await data(MODELS, all=True))["scoringModels"]
    shared = {"description": "What they do"}
    assert draft == {
        "key": "a-draft",
        "name": "Draft of a-draft",
        "version": None,
        "publishedAt": None,
        "archived": False,
        "bands": [{"name": "Drafted", "color": "#000000", "min": None}],
        "rules": [{"name": "Drafted"}],
        **shared,
    }
    assert published == {
        "key": "b-live",
        "name": "Live",
        "version": 1,
        "publishedAt": "2026-01-01T00:00:00+00:00",
        "archived": False,
        "bands": [
            {"name": "Cold", "color": "#0000ff", "min": None},
            {"name": "Warm", "color": "#ffff00", "min": 40.0},
            {"name": "Hot", "color": "#ff0000", "min": 80.0},
        ],
        "rules": [],
        **shared,
    }
    assert gone["archived"]


async def test_one_model_is_found_by_its_key(database: Database, data: Ask) -> None:
    await model(database, "gone", archived=True)

    query = "query($key: String!) { scoringModel(key: $key) { key archived } }"

    assert (await data(query, key="gone"))["scoringModel"] == {"key": "gone", "archived": True}
    assert (await data(query, key="n\0pe"))["scoringModel"] is None


async def test_rules_are_shown_with_all_they_say(database: Database, data: Ask) -> None:
    for key in ("fit", "engagement"):
        await model(database, key, published=False)
        condition = where("event.type", "=", "x")
        await rule(database, key, "Kept", "-2.5", condition, window_days=3, max_per_day=2, max_points=Decimal("9.5"))
        await live(database, key)
        await rule(database, key, "Not live yet", "1", condition)
    query = """query($model: String) { rules(model: $model) {
        name kind condition points windowDays maxPerDay maxPoints model { key name } } }"""

    (found,) = (await data(query, model="fit"))["rules"]

    assert found == {
        "name": "Kept",
        "kind": "EVENT",
        "condition": where("event.type", "=", "x"),
        "points": -2.5,
        "windowDays": 3,
        "maxPerDay": 2,
        "maxPoints": 9.5,
        "model": {"key": "fit", "name": "Draft of fit"},
    }
    assert ["engagement", "fit"] == [one["model"]["key"] for one in (await data(query))["rules"]]


async def test_a_rule_keeps_its_id_when_it_is_published(database: Database, data: Ask) -> None:
    await model(database, "fit", published=False)
    await rule(database, "fit", "Kept", "1", where("event.type", "=", "x"))
    draft = (await data("{ rules { id } }"))["rules"]

    await live(database, "fit")

    assert draft == (await data("{ rules { id } }"))["rules"]


EVENTS = """
    query($first: Int!, $types: [String!]) { contacts(orderBy: [{createdAt: ASC}]) { nodes {
        events(first: $first, types: $types) { id clientId type occurredAt receivedAt source address properties }
    } } }
"""


async def test_events_come_newest_first_and_no_more_than_asked(database: Database, plans: Plans, data: Ask) -> None:
    await happened(
        database,
        plans,
        ("ada@x.co", "page.viewed", 5),
        ("ada@x.co", "Email.Opened", 1),
        ("ada@x.co", "email.opened", 3),
        ("bob@x.co", "page.viewed", 2),
    )

    async def seen(**given: Any) -> list[list[int]]:
        nodes = (await data(EVENTS, **{"first": 10, **given}))["contacts"]["nodes"]
        return sorted([[event["properties"]["n"] for event in node["events"]] for node in nodes], key=len, reverse=True)

    assert await seen() == [[1, 2, 0], [3]]
    assert await seen(first=2) == [[1, 2], [3]]
    assert await seen(first=0) == [[], []]
    assert await seen(types=["email.OPENED"]) == [[1, 2], []]
    assert await seen(types=["page.viewed", "email.opened"]) == [[1, 2, 0], [3]]
    assert await seen(types=[]) == [[], []]


async def test_an_event_shows_all_that_is_stored(database: Database, plans: Plans, data: Ask) -> None:
    await happened(database, plans, ("ada@x.co", "email.opened", 0))

    ((event,),) = [node["events"] for node in (await data(EVENTS, first=1))["contacts"]["nodes"]]

    assert event["occurredAt"] == event["receivedAt"]
    assert {"clientId": None, "source": "test", "address": "ada@x.co", "properties": {"n": 0}}.items() <= event.items()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("first: 101", "between 0 and 100"),
        ("first: -1", "between 0 and 100"),
        (r'types: ["a\u0000b"]', "NUL"),
        (f"types: {['a'] * 51}".replace("'", '"'), "at most 50"),
    ],
)
async def test_events_are_refused_beyond_their_limits(
    database: Database, fault: Ask, arguments: str, says: str
) -> None:
    await leads(database, Lead())

    error = await fault(f"{{ contacts {{ nodes {{ events({arguments}) {{ id }} }} }} }}")

    assert error["extensions"]["code"] == "invalid_input"
    assert says in error["message"]
