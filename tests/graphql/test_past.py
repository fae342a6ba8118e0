"""Scores as they were, why they are what they are, and what they will be; and what that costs the database."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from app import clock
from app.engine import adjustments, publish
from app.engine.adjustments import AdjustmentKind, Wanted
from app.engine.plan import Plans
from app.graphql import limits
from app.store.db import Database
from tests.graphql.conftest import Ask
from tests.graphql.test_paging import walk
from tests.graphql.test_statements import hot, reads
from tests.graphql.world import Lead, happened, leads, live, model, rule, where

EXPLAIN = """
    query($model: String!, $asOf: DateTime, $rules: RulesOf! = THEN) { contact(email: "ada@x.co") {
        explanation(model: $model, asOf: $asOf, rules: $rules) {
            model { key } version asOf value computed override overrideId band { name } nextChangeOn
            contributions { rule { name } adjustmentId count points raw inAudience silentSince units
                            days { day events counted worth leavesOn } }
            cuts { by points } adjustments { id kind model points reason madeBy endsOn }
        }
    } }
"""


async def sheet(database: Database, key: str) -> None:
    await model(database, key, published=False)
    await rule(database, key, "Opened", "10", where("event.type", "=", "email.opened"), max_per_day=2, window_days=30)
    await rule(database, key, "Old", "-1000", where("contact.bounced", "=", True))
    await live(database, key)


async def adjust(database: Database, plans: Plans, kind: AdjustmentKind, points: int, **more: Any) -> None:
    async with database.batch() as db:
        contact = await db.fetchval("SELECT id FROM contact WHERE email = 'ada@x.co'")
        wanted = Wanted(kind=kind, model="engagement", points=Decimal(points), reason="met at the fair", **more)
        await adjustments.make(db, plans, contact, wanted, "sales", clock.now())


@pytest.fixture
async def ada(database: Database, plans: Plans) -> None:
    """Three openings of one day, five days ago; one of today."""
    await sheet(database, "engagement")
    await happened(database, plans, *[("ada@x.co", "email.opened", 5)] * 3, ("ada@x.co", "email.opened", 0))


@pytest.mark.usefixtures("ada")
async def test_an_explanation_adds_up_day_by_day_and_with_what_was_done_by_hand(
    database: Database, plans: Plans, data: Ask
) -> None:
    await adjust(database, plans, AdjustmentKind.POINTS, 25)

    found = (await data(EXPLAIN, model="engagement"))["contact"]["explanation"]

    today = clock.now().date()
    opened, by_hand = sorted(found["contributions"], key=lambda one: one["rule"] is None)
    assert {"rule": {"name": "Opened"}, "count": 3, "points": 30.0, "inAudience": True}.items() <= opened.items()
    assert [(0, 1, 1), (5, 3, 2)] == [
        ((today - date.fromisoformat(day["day"])).days, day["events"], day["counted"]) for day in opened["days"]
    ]
    assert (today + timedelta(days=30)).isoformat() == opened["days"][0]["leavesOn"]
    assert (by_hand["points"], by_hand["days"]) == (25.0, None)
    (adjustment,) = found["adjustments"]
    assert by_hand["adjustmentId"] == adjustment.pop("id")
    assert adjustment == {
        "kind": "POINTS", "model": "engagement", "points": 25.0, "reason": "met at the fair", "madeBy": "sales",
        "endsOn": None,
    }  # fmt: skip
    assert (55.0, 55.0, None, 1, []) == tuple(
        found[name] for name in ("value", "computed", "override", "version", "cuts")
    )
    assert (today + timedelta(days=25)).isoformat() == found["nextChangeOn"]


@pytest.mark.usefixtures("ada")
async def test_an_override_stands_in_for_what_the_rules_say(database: Database, plans: Plans, data: Ask) -> None:
    await adjust(database, plans, AdjustmentKind.OVERRIDE, 99)

    found = (await data(EXPLAIN, model="engagement"))["contact"]["explanation"]

    assert (99.0, 30.0, 99.0) == (found["value"], found["computed"], found["override"])
    assert [found["overrideId"]] == [one["id"] for one in found["adjustments"]]


@pytest.mark.usefixtures("ada")
async def test_a_past_moment_is_told_by_the_rules_of_then_or_of_now(database: Database, data: Ask) -> None:
    then = clock.now().isoformat()
    clock.shift(timedelta(days=40))
    await rule(database, "engagement", "Made", "7", where("contact.email", "endsWith", "@x.co"))
    await live(database, "engagement")
    query = """query($at: DateTime) { contact(email: "ada@x.co") { now: score(model: "engagement") { value }
        then: score(model: "engagement", asOf: $at) { value version computedAt contributions { rule { name } points } }
        before: score(model: "engagement", asOf: "2020-01-01T00:00:00Z") { value } } }"""

    found = (await data(query, at=then))["contact"]

    assert found["now"] == {"value": 7.0}
    assert found["before"] is None
    assert found["then"] == {
        "value": 30.0, "version": 1, "computedAt": then, "contributions": [{"rule": {"name": "Opened"}, "points": 30.0}]
    }  # fmt: skip
    by_rules = {
        rules: (await data(EXPLAIN, model="engagement", asOf=then, rules=rules))["contact"]["explanation"]["value"]
        for rules in ("THEN", "NOW")
    }
    assert {"THEN": 30.0, "NOW": 37.0} == by_rules


@pytest.mark.usefixtures("ada")
async def test_a_model_that_does_not_count_explains_and_forecasts_nothing(database: Database, data: Ask) -> None:
    await model(database, "draft", published=False)
    async with database.batch() as db:
        await publish.archive(db, "engagement", clock.now())

    for key in ("draft", "engagement"):
        assert {"explanation": None} == (await data(EXPLAIN, model=key))["contact"]
        query = f'{{ contact(email: "ada@x.co") {{ forecast(model: "{key}") {{ value }} }} }}'
        assert {"forecast": None} == (await data(query))["contact"]


@pytest.mark.usefixtures("ada")
@pytest.mark.parametrize(
    ("field", "pointer"),
    [
        ('explanation(model: "nope") { value }', "/model"),
        ('score(model: "engagement", asOf: "2999-01-01T00:00:00Z") { value }', "/asOf"),
        ('score(model: "engagement", asOf: "0001-01-01T00:00:00+10:00") { value }', "/asOf"),
        ('forecast(model: "engagement", first: 51) { value }', "/first"),
        ('history(model: "engagement", first: 1, last: 1) { nodes { at } }', "/last"),
        ('history(model: "engagement", after: "WzBd") { nodes { at } }', "/after"),
        ('history(model: "engagement", before: "x") { nodes { at } }', "/before"),
    ],
)
async def test_what_cannot_be_asked_of_a_score_is_refused(fault: Ask, field: str, pointer: str) -> None:
    error = await fault(f'{{ contact(email: "ada@x.co") {{ {field} }} }}')

    assert pointer == error["extensions"]["faults"][0]["pointer"]


@pytest.mark.usefixtures("ada")
async def test_a_forecast_says_when_events_leave(data: Ask) -> None:
    today = clock.now().date()

    found = await data(
        '{ contact(email: "ada@x.co") { all: forecast(model: "engagement") { value changes { on value } }'
        ' one: forecast(model: "engagement", first: 1) { changes { on } } } }'
    )

    changes = [
        {"on": (today + timedelta(days=25)).isoformat(), "value": 10.0},
        {"on": (today + timedelta(days=30)).isoformat(), "value": 0.0},
    ]
    assert {"value": 30.0, "changes": changes} == found["contact"]["all"]
    assert [{"on": changes[0]["on"]}] == found["contact"]["one"]["changes"]


async def test_the_history_is_paged_both_ways(database: Database, plans: Plans, data: Ask) -> None:
    await sheet(database, "engagement")
    for day in range(7):
        clock.shift(timedelta(days=day))
        await happened(database, plans, ("ada@x.co", "email.opened", 0))
    query = """query($first: Int, $after: String, $last: Int, $before: String) { contact(email: "ada@x.co") {
        contacts: history(model: "engagement", first: $first, after: $after, last: $last, before: $before) {
            pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
            nodes { id: value was cause version bandWas { name } band { name } model { key } } } } }"""

    async def page(_: str, **asked: Any) -> dict[str, Any]:
        found: dict[str, Any] = (await data(query, **asked))["contact"]
        return found

    expected = await walk(page, "first", "after", 3, {})
    assert expected == sorted(expected, reverse=True)
    assert 7 == len(set(expected)) == len(expected)
    assert expected == await walk(page, "last", "before", 2, {})
    nodes = (await page("", first=50))["contacts"]["nodes"]
    assert nodes[-1] == {
        "id": nodes[-1]["id"], "was": None, "cause": "EVENT", "version": 1, "bandWas": None,
        "band": {"name": "Drafted"}, "model": {"key": "engagement"},
    }  # fmt: skip


@pytest.mark.parametrize("key", ["engagement", "both"])
async def test_the_number_of_statements_does_not_depend_on_how_many_contacts_are_explained(
    database: Database, plans: Plans, data: Ask, key: str
) -> None:
    """Also of a model that looks at the score of another one."""
    await sheet(database, "engagement")
    await model(database, "both", published=False)
    await rule(database, "both", "Engaged", "3", where("contact.score.engagement", ">=", 10))
    await live(database, "both")
    await happened(database, plans, *((f"p{n}@x.co", "email.opened", n % 3) for n in range(100)))
    at = (clock.now() - timedelta(hours=12)).isoformat()
    async with database.batch() as db:
        await db.execute("UPDATE contact SET created_at = created_at - interval '20 days'")
        await db.execute("UPDATE model_version SET live_from = live_from - interval '20 days'")
    query = """query($first: Int!, $key: String!, $at: DateTime) { contacts(first: $first) { nodes {
        explanation(model: $key) { value contributions { points } adjustments { id } }
        was: explanation(model: $key, asOf: $at) { value contributions { points } adjustments { id } }
        score(model: $key, asOf: $at) { value contributions { points } }
        forecast(model: $key, first: 3) { value changes { on } }
        history(model: $key) { nodes { cause } }
    } } }"""
    await data(query, first=1, key=key, at=at)

    counts = []
    for first in (1, 100):
        with reads(database) as read:
            async with hot(database) as explained:
                found = (await data(query, first=first, key=key, at=at))["contacts"]["nodes"]
                counts.append((len(read), len(explained)))
        assert len(found) == first
        value = {"engagement": 10.0, "both": 3.0}[key]
        assert {value} == {node["explanation"]["value"] for node in found}
        assert {value} == {node["forecast"]["value"] for node in found}
        assert all(node["was"]["value"] == node["score"]["value"] for node in found)
        assert {True} == {bool(node["history"]["nodes"]) for node in found}

    # Models, page, history; a forecast of a hundred meets more days than one of a single contact, at most sixty.
    assert 3 == counts[0][0] == counts[1][0]
    assert counts[1][1] <= counts[0][1] + 2 * 4


async def test_forecasts_of_too_many_contacts_are_refused(
    database: Database, data: Ask, fault: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_OBJECTS", 150)
    await sheet(database, "engagement")
    await leads(database, Lead("ada@x.co", id=UUID(int=1)), Lead("bob@x.co", id=UUID(int=2)))
    query = '{ contacts(first: %d) { nodes { forecast(model: "engagement") { value } } } }'

    await data(query % 1)
    answer = await fault(query % 2)
    assert "too_large" == answer["extensions"]["code"]
