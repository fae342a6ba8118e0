"""All that happened to a contact, in one order."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from app import clock
from app.engine import contacts, flags
from app.engine.contacts import Change
from app.engine.hygiene import SoftPolicy
from app.engine.plan import Plans
from app.store.db import Database
from tests.graphql.conftest import Ask
from tests.graphql.test_paging import walk
from tests.graphql.test_statements import reads
from tests.graphql.world import happened, live, model, rule, where

TIMELINE = """
    query($kinds: [TimelineKind!], $first: Int, $after: String, $last: Int, $before: String) {
        contact(email: "ada@x.co") {
            contacts: timeline(kinds: $kinds, first: $first, after: $after, last: $last, before: $before) {
                pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
                nodes {
                    id: __typename at kind
                    ... on TimelineEvent { event { type source occurredAt properties address human } }
                    ... on TimelineScore { change { at model { key } was value cause bandWas { name } band { name } } }
                    ... on TimelineFlag { flag value happenedAt reason by }
                    ... on TimelineSync { connection connectionId object record field code reason }
                }
            }
        }
    }
"""


async def linked(database: Database, email: str, record: str) -> str:
    """A record of a CRM, one field of which is held."""
    made = uuid4()
    held = {"Score__c": {"code": "STRING_TOO_LONG", "reason": "too long", "since": clock.now().isoformat(),
                         "until": None}}  # fmt: skip
    async with database.batch() as db:
        await db.execute(
            """
            INSERT INTO connection (id, kind, name, flow, credentials, hook_secret, options, created_at, updated_at)
            VALUES ($1, 'salesforce', $2, 'none', '', '', '{}', now(), now())
            """,
            made,
            f"Sales {record}",
        )
        await db.execute(
            "INSERT INTO identity SELECT $2, $3, contact_id FROM identity WHERE kind = 'email' AND value = $1",
            email,
            f"crm:{made}:Lead",
            record,
        )
        await db.execute(
            """
            INSERT INTO link (connection_id, object, record, held, seen_at, created_at)
            VALUES ($1, 'Lead', $2, $3, $4, $4)
            """,
            made,
            record,
            held,
            clock.now() - timedelta(days=1),
        )
    return str(made)


async def lived(database: Database, plans: Plans) -> UUID:
    """Ada: events, a score that moves, both flags up and one down again."""
    await model(database, "engagement", published=False)
    await rule(database, "engagement", "Opened", "10", where("event.type", "=", "email.opened"))
    await rule(database, "engagement", "Out", "-100", where("contact.opted_out", "=", True))
    await live(database, "engagement")
    kinds = [("email.opened", 9), ("email.opened", 8), ("email.unsubscribed", 7), ("email.resubscribed", 6)]
    for at, (kind, days) in enumerate(kinds):
        clock.shift(timedelta(seconds=at))
        await happened(database, plans, ("ada@x.co", kind, days))
    async with database.batch() as db:
        ada: UUID = await db.fetchval("SELECT contact_id FROM identity WHERE value = 'ada@x.co'")
    for at, change in enumerate(
        (Change(frozenset({"bounced"}), bounced=True), Change(frozenset({"email"}), email="ada@y.co"))
    ):
        clock.shift(timedelta(seconds=10 + at))
        async with database.batch() as db:
            await contacts.change(db, plans, ada, change, "sales", clock.now(), SoftPolicy())
    return ada


async def nodes(data: Ask, **asked: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await data(TIMELINE, **asked))["contact"]["contacts"]["nodes"]
    return found


async def test_a_timeline_holds_all_that_happened_the_newest_first(database: Database, plans: Plans, data: Ask) -> None:
    ada = await lived(database, plans)
    sales = await linked(database, "ada@x.co", "00Q1")

    found = await nodes(data)

    assert sorted((one["at"] for one in found), reverse=True) == [one["at"] for one in found]
    by_kind = {kind: [one for one in found if one["kind"] == kind] for kind in ("EVENT", "SCORE", "FLAG", "SYNC")}
    assert ["email.resubscribed", "email.unsubscribed", "email.opened", "email.opened"] == [
        one["event"]["type"] for one in by_kind["EVENT"]
    ]
    assert all(one["at"] == one["event"]["occurredAt"] for one in by_kind["EVENT"])
    async with database.hot.acquire() as db:
        known = await flags.history(db, ada)
    assert [(one.flag.upper(), one.value, one.reason, one.by) for one in known[::-1]] == [
        (one["flag"], one["value"], one["reason"], one["by"]) for one in by_kind["FLAG"]
    ]
    assert [one.changed_at.isoformat() for one in known[::-1]] == [one["at"] for one in by_kind["FLAG"]]
    assert ["new_address", "manual", "resubscribed", "unsubscribed"] == [one["reason"] for one in by_kind["FLAG"]]
    assert [(-80.0, 20.0), (20.0, -80.0), (10.0, 20.0), (None, 10.0)] == [
        (one["change"]["was"], one["change"]["value"]) for one in by_kind["SCORE"]
    ]
    note, known_since = by_kind["SYNC"]
    shared = {"connection": "Sales 00Q1", "connectionId": sales, "object": "Lead", "record": "00Q1"}
    assert {**shared, "field": "Score__c", "code": "STRING_TOO_LONG", "reason": "too long"}.items() <= note.items()
    assert {**shared, "field": None, "code": None, "reason": None}.items() <= known_since.items()


async def test_a_timeline_is_paged_both_ways_and_kept_by_kind(database: Database, plans: Plans, data: Ask) -> None:
    await lived(database, plans)
    await linked(database, "ada@x.co", "00Q1")
    async with database.batch() as db:
        # Many things of one instant, of every kind.
        await db.execute("UPDATE event SET occurred_at = '2026-01-01Z' WHERE type <> 'email.opened'")
        await db.execute("UPDATE score_change SET at = '2026-01-01Z'")
        await db.execute("UPDATE contact_past SET until = '2026-01-01Z' WHERE id % 2 = 0")

    async def page(_: str, **asked: Any) -> dict[str, Any]:
        found: dict[str, Any] = (await data(TIMELINE, **asked))["contact"]
        for node in found["contacts"]["nodes"]:
            node["id"] = str(sorted(node.items(), key=str))
        return found

    for kinds in (None, ["SCORE", "FLAG"], ["EVENT"], ["SYNC", "EVENT"], []):
        expected = [node["id"] for node in (await page("", kinds=kinds, first=200))["contacts"]["nodes"]]
        assert len(set(expected)) == len(expected)
        assert (len(expected) == 0) is (kinds == [])
        for size in (1, 3):
            assert expected == await walk(page, "first", "after", size, {"kinds": kinds})
            assert expected == await walk(page, "last", "before", size, {"kinds": kinds})


@pytest.mark.parametrize("cursor", ["x", "WzEsMiwzXQ", "WyIyMDI2LTAxLTAxIiw5LCJhIl0"])
async def test_a_forged_cursor_is_refused(database: Database, plans: Plans, fault: Ask, cursor: str) -> None:
    await happened(database, plans, ("ada@x.co", "email.opened", 0))

    error = await fault(TIMELINE, after=cursor)

    assert "/after" == error["extensions"]["faults"][0]["pointer"]


async def test_the_timelines_of_a_page_are_read_by_one_statement(database: Database, plans: Plans, data: Ask) -> None:
    await happened(database, plans, *((f"p{n}@x.co", "email.opened", at) for n in range(100) for at in range(3)))
    query = "query($n: Int!) { contacts(first: $n) { nodes { timeline(first: 2) { nodes { at kind } } } } }"

    for first in (1, 100):
        with reads(database) as read:
            found = (await data(query, n=first))["contacts"]["nodes"]
        assert [2] * first == [len(node["timeline"]["nodes"]) for node in found]
        # Models, page, timelines.
        assert 3 == len(read)
