from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from strawberry.printer import print_schema
from uuid_utils.compat import uuid7

from app import clock
from app.graphql import schema
from app.store.db import Database
from app.sync.connections import Status
from app.sync.links import State
from app.sync.runs import Kind
from tests.graphql.conftest import Ask
from tests.graphql.test_statements import hot, reads
from tests.graphql.world import Lead, leads

EVERYTHING = """
    query($first: Int!) {
        connections {
            id name kind status silentUntil problem { code what mend since }
            lastRun { kind beganAt endedAt counts error }
            backlog { waiting flags oldest parked } budget { perDay spentToday unit }
        }
        contacts(first: $first) { nodes { crmLinks {
            connection connectionId object record state syncedAt held { field code reason until }
        } } }
    }
"""
PROBLEM = {"code": "revoked", "what": "it was revoked", "mend": "sign in", "since": "2026-05-01T10:00:00+00:00"}


async def connection(database: Database, name: str, **columns: Any) -> UUID:
    """A connection to a CRM of a kind that there is."""
    made: UUID = uuid7()
    given = {"options": {"budget": 500}, **columns}
    async with database.batch() as db:
        await db.execute(
            """
            INSERT INTO connection (id, kind, name, flow, credentials, hook_secret, options, created_at, updated_at)
            VALUES ($1, 'salesforce', $2, 'none', '', '', $3, $4, $4)
            """,
            made,
            name,
            given.pop("options"),
            clock.now(),
        )
        for column, value in given.items():
            await db.execute(f"UPDATE connection SET {column} = $2 WHERE id = $1", made, value)
    return made


async def run(database: Database, of: UUID, minutes_ago: int, error: str | None = None, **counts: int) -> None:
    began = clock.now() - timedelta(minutes=minutes_ago)
    async with database.batch() as db:
        await db.execute(
            "INSERT INTO sync_run VALUES ($1, $2, 'push', $3, $4, $5, $6)",
            of,
            uuid7(),
            began,
            began + timedelta(seconds=5),
            counts,
            error,
        )


async def record(database: Database, of: UUID, contact: str, id_: str, **held: Any) -> None:
    """A contact's record."""
    async with database.batch() as db:
        await db.execute("INSERT INTO identity VALUES ($1, $2, $3)", f"crm:{of}:Contact", id_, UUID(contact))
        await db.execute(
            """
            INSERT INTO link (connection_id, object, record, held, seen_at, created_at)
            VALUES ($1, 'Contact', $2, $3, $4, $4)
            """,
            of,
            id_,
            held,
            clock.now(),
        )
    async with database.batch() as db:  # where the commit has put them
        await db.execute("DELETE FROM outbox")


async def waits(database: Database, of: UUID, priority: int) -> None:
    async with database.batch() as db:
        await db.execute(
            "INSERT INTO outbox (connection_id, contact_id, priority, since) VALUES ($1, $2, $3, $4)",
            of,
            uuid4(),
            priority,
            clock.now() - timedelta(hours=priority),
        )


def parked(reason: str) -> dict[str, Any]:
    said = {"code": "RULE", "reason": reason, "tries": 5, "since": "2026-05-01T10:00:00+00:00", "value": 1}
    return {"why": "refused", **said, "until": None}


async def test_a_connection_shows_how_it_is_what_was_done_and_what_waits(database: Database, data: Ask) -> None:
    [ada] = await leads(database, Lead("ada@example.com"))
    one = await connection(database, "acme")
    await run(database, one, 9, changed=4)
    await run(database, one, 5, "no answer", written=2)
    await record(database, one, ada, "003A", Score__c=parked("too long"))
    for priority in (0, 0, 1):
        await waits(database, one, priority)
    async with database.batch() as db:
        await db.execute("INSERT INTO sync_spend VALUES ($1, $2, 70)", one, clock.now() - timedelta(hours=3))
        await db.execute("INSERT INTO sync_spend VALUES ($1, $2, 900)", one, clock.now() - timedelta(hours=30))

    found = await data(EVERYTHING, first=1)
    [acme] = found["connections"]
    assert ("acme", "salesforce", "ACTIVE", None) == tuple(acme[one] for one in ("name", "kind", "status", "problem"))
    last = acme["lastRun"]
    assert ("PUSH", {"written": 2}, "no answer") == (last["kind"], last["counts"], last["error"])
    assert {"waiting": 3, "flags": 2, "parked": 1} == {k: v for k, v in acme["backlog"].items() if k != "oldest"}
    assert acme["backlog"]["oldest"] is not None
    [[link]] = [node["crmLinks"] for node in found["contacts"]["nodes"]]
    assert ("acme", str(one), "Contact", "003A", "LIVE") == tuple(
        link[name] for name in ("connection", "connectionId", "object", "record", "state")
    )
    assert [{"field": "Score__c", "code": "RULE", "reason": "too long", "until": None}] == link["held"]


async def test_the_budget_is_the_connection_s_own_or_its_crm_s(database: Database, data: Ask) -> None:
    one = await connection(database, "acme")
    await connection(database, "bare", options={})
    await connection(database, "unknown", kind="nobody's")
    async with database.batch() as db:
        await db.execute("INSERT INTO sync_spend VALUES ($1, $2, 70)", one, clock.now() - timedelta(hours=3))

    budgets = {one["name"]: one["budget"] for one in (await data(EVERYTHING, first=1))["connections"]}
    assert budgets["unknown"] is None
    assert (500, 70) == (budgets["acme"]["perDay"], budgets["acme"]["spentToday"])
    assert 0 == budgets["bare"]["spentToday"]
    assert budgets["bare"]["perDay"] > 0
    assert budgets["bare"]["unit"] == budgets["acme"]["unit"]


async def test_each_status_is_shown(database: Database, data: Ask) -> None:
    soon = clock.now() + timedelta(hours=1)
    await connection(database, "active", silent_until=clock.now() - timedelta(hours=1))
    await connection(database, "failing", problem=PROBLEM)
    await connection(database, "new", problem={**PROBLEM, "code": "new"})
    await connection(database, "paused", paused_at=clock.now())
    await connection(database, "silent", silent_until=soon)

    found = (await data(EVERYTHING, first=1))["connections"]
    assert [one["name"].upper() for one in found] == [one["status"] for one in found]
    by_name = {one["name"]: one for one in found}
    assert "revoked" == by_name["failing"]["problem"]["code"]
    assert (None, True) == (by_name["active"]["silentUntil"], by_name["silent"]["silentUntil"] is not None)
    assert all(one["lastRun"] is None and one["backlog"]["waiting"] == 0 for one in found)


async def test_the_number_of_statements_depends_neither_on_connections_nor_on_contacts(
    database: Database, data: Ask
) -> None:
    people = await leads(database, *(Lead(f"p{number}@example.com", number) for number in range(100)))
    first = await connection(database, "c0")
    for number, person in enumerate(people):
        await record(database, first, person, f"r{number}")
    counts = []
    for length in (1, 100):
        if length > 1:
            for number in range(1, 100):
                other = await connection(database, f"c{number}")
                await run(database, other, 5, changed=1)
                await record(database, other, people[number], f"r{number}")
        await data(EVERYTHING, first=length)
        with reads(database) as read:
            async with hot(database) as asked:
                found = await data(EVERYTHING, first=length)
                counts.append((len(read), sum("connection" in one for one in asked)))
        assert length == len(found["connections"])
        assert all(node["crmLinks"] for node in found["contacts"]["nodes"])

    # Models, page, links; last runs, backlogs, what was spent. The connections themselves are read on the hot pool.
    assert counts[0] == counts[1] == (6, 1)


async def test_runs_are_paged_newest_first(database: Database, data: Ask) -> None:
    one = await connection(database, "acme")
    for number in range(5):
        await run(database, one, 60 - number, changed=number)
    query = """
        query($of: ID!, $after: String) { syncRuns(connection: $of, first: 2, after: $after) {
            nodes { id kind counts } hasNextPage endCursor
        } }
    """
    seen: list[int] = []
    after, goes_on = None, True
    while goes_on:
        page = (await data(query, of=str(one), after=after))["syncRuns"]
        seen += [node["counts"].get("changed") for node in page["nodes"]]
        after, goes_on = page["endCursor"], page["hasNextPage"]

    assert [4, 3, 2, 1, 0] == seen
    assert (
        []
        == (await data("query($of: ID!) { syncRuns(connection: $of) { nodes { id } } }", of=str(uuid4())))["syncRuns"][
            "nodes"
        ]
    )


@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        ('connection: "x"', "/connection"),
        (f'connection: "{uuid4()}", first: 201', "/first"),
        (f'connection: "{uuid4()}", after: "x"', "/after"),
    ],
    ids=["connection", "first", "after"],
)
async def test_what_makes_no_sense_is_refused_with_its_place(fault: Ask, given: str, pointer: str) -> None:
    said = await fault(f"{{ syncRuns({given}) {{ nodes {{ id }} }} }}")

    assert pointer in str(said["extensions"])


def test_the_schema_s_choices_are_the_sync_s() -> None:
    printed = print_schema(schema.build())

    for choices in (Status, Kind, State):
        for one in choices:
            assert f"  {one.name}\n" in printed
