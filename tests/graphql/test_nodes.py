"""Things found again by their global ids; many contacts at once; segments, versions, jobs and typed properties."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from app import clock
from app.engine import measures, segments
from app.engine.fields import Aggregate
from app.engine.plan import Plans
from app.store import contact_counts, jobs
from app.store.db import Database
from tests.graphql.conftest import Ask
from tests.graphql.test_statements import reads
from tests.graphql.world import Lead, happened, leads, live, model, rule, where

NOBODY = str(UUID(int=9))


async def connection(database: Database) -> str:
    made = uuid4()
    async with database.batch() as db:
        await db.execute(
            """
            INSERT INTO connection (id, kind, name, flow, credentials, hook_secret, options, created_at, updated_at)
            VALUES ($1, 'salesforce', 'Sales', 'none', '', '', '{}', now(), now())
            """,
            made,
        )
    return str(made)


async def segment(database: Database, key: str, condition: dict[str, Any]) -> None:
    async with database.batch() as db:
        await segments.create(db, segments.Wanted(key, key.title(), "What for", condition), clock.now())


async def test_every_node_is_found_again_by_its_id(database: Database, plans: Plans, data: Ask) -> None:
    await model(database, "engagement")
    await segment(database, "vips", where("contact.tags", "=", "vip"))
    await happened(database, plans, ("ada@x.co", "email.opened", 0))
    async with database.batch() as db:
        job = await jobs.enqueue(db, "model.preview", {}, clock.now())
    sales = await connection(database)
    there = await data(
        """{ contacts { nodes { __typename id events { __typename id } } } scoringModels { __typename id }
             segments { nodes { __typename id } } jobs(kinds: ["model.preview"]) { nodes { __typename id } } }"""
    )
    (ada,) = there["contacts"]["nodes"]
    nodes = [ada, *ada.pop("events"), *there["scoringModels"], *there["segments"]["nodes"], *there["jobs"]["nodes"]]
    nodes.append({"__typename": "CrmConnection", "id": sales})

    assert ["model:engagement", "segment:vips", str(job), sales] == [one["id"] for one in nodes[2:]]
    for one in nodes:
        assert one == (await data("query($id: ID!) { node(id: $id) { __typename id } }", id=one["id"]))["node"]
    ids = [one["id"] for one in nodes]
    asked = [ids[0], NOBODY, *ids[::-1], "model:nope", "segment:n\0pe"]
    with reads(database) as read:
        found = (await data("query($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }", ids=asked))["nodes"]
    assert [nodes[0], None, *nodes[::-1], None, None] == found
    # What each is, contacts, events, jobs, segments, models; the connections are read by the other pool.
    assert 6 == len(read)


async def test_a_node_shows_what_its_type_has(database: Database, data: Ask) -> None:
    (ada,) = await leads(database, Lead("ada@x.co"))

    found = await data("query($id: ID!) { node(id: $id) { id ... on Contact { email } } }", id=ada)

    assert {"id": ada, "email": "ada@x.co"} == found["node"]


async def test_contacts_by_ids_and_by_addresses_keep_their_order(database: Database, data: Ask) -> None:
    ids = await leads(database, *(Lead(f"p{n}@x.co") for n in range(100)))
    async with database.batch() as db:
        await db.execute("INSERT INTO identity SELECT 'email', 'old@x.co', id FROM contact WHERE email = 'p7@x.co'")
    by_ids = "query($them: [ID!]!) { found: contactsByIds(ids: $them) { id } }"
    by_emails = "query($them: [String!]!) { found: contactsByEmails(emails: $them) { id } }"

    assert (await data(by_ids, them=[ids[1], NOBODY, ids[0], ids[1]]))["found"] == [
        {"id": ids[1]}, None, {"id": ids[0]}, {"id": ids[1]}
    ]  # fmt: skip
    assert (await data(by_emails, them=["P3@x.co", "old@x.co", "no@x.co"]))["found"] == [
        {"id": ids[3]}, {"id": ids[7]}, None
    ]  # fmt: skip
    for query, them in ((by_ids, ids), (by_emails, [f"p{n}@x.co" for n in range(100)])):
        for asked in (them[:1], them):
            with reads(database) as read:
                assert [{"id": one} for one in ids[: len(asked)]] == (await data(query, them=asked))["found"]
            assert 1 == len(read)


@pytest.mark.parametrize(
    ("query", "pointer", "says"),
    [
        ('{ node(id: "nope") { id } }', "/id", "expected a UUID"),
        ('{ node(id: "contact:1") { id } }', "/id", "expected a UUID"),
        ('{ nodes(ids: ["model:a", "1"]) { id } }', "/ids/1", "expected a UUID"),
        ('{ contactsByIds(ids: ["model:a"]) { id } }', "/ids/0", "not a UUID"),
        ('{ contactsByEmails(emails: ["ada"]) { id } }', "/emails/0", "@"),
        (f"{{ contactsByIds(ids: [{', '.join(['1'] * 201)}]) {{ id }} }}", "/ids", "at most 200"),
        ('{ segments(after: "x") { nodes { id } } }', "/after", "not a cursor"),
        ("{ segments(first: 201) { nodes { id } } }", "/first", "between 0 and 200"),
        ('{ jobs(after: "WyJhIl0") { nodes { id } } }', "/after", "not a cursor"),
        ('{ jobs(kinds: ["\\u0000"]) { nodes { id } } }', "/kinds/0", "NUL"),
    ],
)
async def test_what_cannot_be_is_refused_with_its_place(fault: Ask, query: str, pointer: str, says: str) -> None:
    error = await fault(query)

    assert pointer == error["extensions"]["faults"][0]["pointer"]
    assert says in error["message"]


SEGMENTS = """
    query($first: Int!, $after: String) { segments(first: $first, after: $after) {
        pageInfo { hasNextPage endCursor } edges { cursor } nodes { key name count { number isExact } }
    } }
"""


async def test_segments_are_counted_together_up_to_a_bound(
    database: Database, data: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contact_counts, "EXACT", 3)
    await leads(database, *(Lead(tags=[f"t{n}"], created=n) for n in range(3)), Lead(tags=["t0"]), Lead(tags=["t0"]))
    async with database.batch() as db:
        for n in range(100):
            wanted = segments.Wanted(f"s{n:03}", f"S{n}", None, where("contact.tags", "=", f"t{n}"))
            await segments.create(db, wanted, clock.now())
        everybody = segments.Wanted("s999", "All", None, where("contact.tags", "!=", "x"))
        await segments.create(db, everybody, clock.now())
    async with database.hot.acquire() as db:
        await db.execute("ANALYZE contact")

    for first in (1, 100):
        with reads(database) as read:
            found = (await data(SEGMENTS, first=first, after=None))["segments"]
        # The segments, and how many are in them.
        assert 2 == len(read)
        assert {"number": 3, "isExact": True} == found["nodes"][0]["count"]
    assert {"number": 1, "isExact": True} == found["nodes"][2]["count"]
    assert found["pageInfo"] == {"hasNextPage": True, "endCursor": found["edges"][-1]["cursor"]}
    (rest,) = (await data(SEGMENTS, first=100, after=found["pageInfo"]["endCursor"]))["segments"]["nodes"]
    assert ("s999", False) == (rest["key"], rest["count"]["isExact"])
    assert 4 <= rest["count"]["number"] <= 5


async def test_a_segment_that_cannot_be_counted_yet_fails_alone(database: Database, ask: Ask) -> None:
    wanted = measures.Wanted("opens", "Opens", where("event.type", "=", "email.opened"), Aggregate.COUNT)
    async with database.batch() as db:
        await measures.create(db, wanted, clock.now())
    await segment(database, "openers", where("contact.measures.opens", ">", 0))
    await segment(database, "vips", where("contact.tags", "=", "vip"))

    answer = await ask('{ a: segment(key: "vips") { count { number } } segment(key: "openers") { count { number } } }')

    assert [["segment", "count"]] == [error["path"] for error in answer["errors"]]
    assert "conflict" == answer["errors"][0]["extensions"]["code"]


async def test_a_segment_shows_what_it_says(database: Database, data: Ask) -> None:
    condition = where("contact.tags", "=", "vip")
    await segment(database, "vips", condition)

    found = await data(
        """{ segment(key: "vips") { id key name description condition createdAt updatedAt }
             nobody: segment(key: "nope") { id } }"""
    )

    assert found["nobody"] is None
    assert condition == found["segment"].pop("condition")
    assert found["segment"].pop("createdAt") == found["segment"].pop("updatedAt")
    assert {"id": "segment:vips", "key": "vips", "name": "Vips", "description": "What for"} == found["segment"]


async def test_versions_keep_what_a_model_said(database: Database, data: Ask) -> None:
    for key in ("engagement", "fit"):
        await model(database, key, published=False)
        await rule(database, key, "Opened", "2", where("event.type", "=", "email.opened"), max_per_day=2)
        await live(database, key)
        await rule(database, key, "Viewed", "3", where("event.type", "=", "page.viewed"), group=None, at_least=4)
        await live(database, key)
    query = """{ scoringModels { key versions(first: 2) {
        version isLive publishedBy sideEffects name bands { name } rules { name points maxPerDay atLeast model { key } }
    } } }"""

    with reads(database) as read:
        found = (await data(query))["scoringModels"]

    assert 2 == len(read)
    for one in found:
        newest, first = one["versions"]
        assert [(2, True), (1, False)] == [(it["version"], it["isLive"]) for it in (newest, first)]
        assert ["Opened", "Viewed"] == [it["name"] for it in newest["rules"]]
        ref = {"key": one["key"]}
        assert [{"name": "Opened", "points": 2.0, "maxPerDay": 2, "atLeast": None, "model": ref}] == first["rules"]
        assert ("test", True, [{"name": "Drafted"}]) == (first["publishedBy"], first["sideEffects"], first["bands"])


async def test_jobs_come_the_newest_first_page_by_page(database: Database, data: Ask) -> None:
    async with database.batch() as db:
        made = [await jobs.enqueue(db, kind, {}, clock.now()) for kind in ("a.b", "c.d", "a.b")]
        await jobs.finish(db, made[0], clock.now(), None, {"converted": 1})
        await jobs.finish(db, made[1], clock.now(), "it went wrong")
    query = """query($after: String, $kinds: [String!]) { jobs(first: 2, after: $after, kinds: $kinds) {
        pageInfo { hasNextPage hasPreviousPage endCursor } nodes { id status error result done total phase }
    } }"""

    first = (await data(query))["jobs"]
    second = (await data(query, after=first["pageInfo"]["endCursor"]))["jobs"]

    nodes = [*first["nodes"], *second["nodes"]]
    assert [str(one) for one in made[::-1]] == [one["id"] for one in nodes]
    assert ["QUEUED", "FAILED", "DONE"] == [one["status"] for one in nodes]
    assert (None, "it went wrong", {"converted": 1}) == (nodes[0]["error"], nodes[1]["error"], nodes[2]["result"])
    assert (True, False) == (first["pageInfo"]["hasNextPage"], second["pageInfo"]["hasNextPage"])
    only = (await data(query, kinds=["a.b"]))["jobs"]["nodes"]
    assert [str(made[2]), str(made[0])] == [one["id"] for one in only]


async def test_properties_are_read_by_their_declared_types(database: Database, data: Ask) -> None:
    await leads(database, *(Lead(created=n) for n in range(100)))
    said = {"visits": 12, "likes": ["tea", 1], "since": "2026-01-05", "paid": True, "odd": "5", "in": {"side": 1.5}}
    async with database.batch() as db:
        await db.execute("UPDATE contact SET properties = $1", said)
        await db.execute(
            """INSERT INTO property VALUES ('visits', 'number', now()), ('likes', 'tags', now()),
               ('since', 'datetime', now()), ('odd', 'number', now())"""
        )
    query = """query($first: Int!) { contacts(first: $first) { nodes {
        typedProperties { name type value text number boolean instant tags }
        side: property(name: "in.side") { name type number text } none: property(name: "in.no") { name }
    } } }"""

    for first in (1, 100):
        with reads(database) as read:
            found = (await data(query, first=first))["contacts"]["nodes"]
        # Models, page, declared types.
        assert 3 == len(read)

    assert found[0]["none"] is None
    assert {"name": "in.side", "type": None, "number": 1.5, "text": "1.5"} == found[0]["side"]
    empty = dict.fromkeys(("type", "text", "number", "boolean", "instant", "tags"))
    assert found[0]["typedProperties"] == [
        {**empty, "name": "in", "value": {"side": 1.5}},
        {**empty, "name": "likes", "type": "TAGS", "value": ["tea", 1], "tags": ["tea"]},
        {**empty, "name": "odd", "type": "NUMBER", "value": "5"},
        {**empty, "name": "paid", "value": True, "text": "true", "boolean": True},
        {**empty, "name": "since", "type": "DATETIME", "value": "2026-01-05", "instant": "2026-01-05T00:00:00+00:00"},
        {**empty, "name": "visits", "type": "NUMBER", "value": 12, "number": 12.0},
    ]
