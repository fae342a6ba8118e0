"""Events by number, bounces with their evidence, the clean-up list, and who must not be mailed."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from app import clock
from app.engine import bounces, ingest
from app.engine.hygiene import SoftPolicy
from app.engine.identity import Ref
from app.engine.ingest import NewEvent
from app.engine.plan import Plans
from app.store import event_counts, suppressions
from app.store.db import Database
from app.store.suppressions import Entry
from tests.graphql.conftest import Ask
from tests.graphql.test_paging import walk
from tests.graphql.test_statements import hot, reads
from tests.graphql.world import Lead, happened, leads, live, model, rule, where

COUNTS = """
    query($by: [EventDimension!]!, $filter: EventCountFilter) {
        eventCounts(groupBy: $by, filter: $filter) { type source day count }
    }
"""


@pytest.fixture
async def sent(database: Database) -> dict[str, str]:
    """Events of two contacts, two types and two sources on three days; ids by name."""
    ada, bob = await leads(database, Lead("ada@x.co"), Lead("bob@x.co"))
    noon = clock.now().replace(hour=12)
    async with database.batch() as db:
        for contact, kind, source, ago, human in [
            (ada, "email.opened", "esp", 0, True), (ada, "email.opened", "esp", 1, False),
            (bob, "email.opened", "esp", 1, None), (bob, "page.viewed", "web", 1, None),
            (bob, "email.opened", "web", 2, True), (bob, "page.viewed", "web", 50, None),
        ]:  # fmt: skip
            await db.execute(
                """
                INSERT INTO event (id, contact_id, type, source, occurred_at, received_at, properties, human)
                VALUES ($1, $2, $3, $4, $5, $5, '{}', $6)
                """,
                uuid4(), UUID(contact), kind, source, noon - timedelta(days=ago, hours=0 if ago else 13), human,
            )  # fmt: skip
    return {"ada": ada, "bob": bob}


async def test_events_are_counted_by_type_source_and_day(data: Ask, sent: dict[str, str]) -> None:
    async def count(*by: str, **said: Any) -> list[tuple[Any, ...]]:
        found = (await data(COUNTS, by=list(by), filter=said or None))["eventCounts"]
        return [(*(one[name.lower()] for name in by), one["count"]) for one in found]

    assert [("email.opened", 4), ("page.viewed", 1)] == await count("TYPE")
    assert [("esp", 3), ("web", 2)] == await count("SOURCE")
    days = await count("DAY")
    assert sorted(days) == days
    assert [1, 3, 1] == [number for _, number in days] or [1, 4] == [number for _, number in days]
    assert [(5,)] == await count()
    assert [("esp", "email.opened", 3), ("web", "email.opened", 1), ("web", "page.viewed", 1)] == await count(
        "SOURCE", "TYPE"
    )
    assert [("email.opened", 2)] == await count("TYPE", contact=sent["ada"])
    assert [("email.opened", 2)] == await count("TYPE", human=True)
    assert [("esp", 1)] == await count("SOURCE", human=False)
    assert [("web", 1)] == await count("SOURCE", types=["page.viewed"])
    assert [("email.opened", 1), ("page.viewed", 1)] == await count("TYPE", sources=["web"])
    since = (clock.now() - timedelta(days=60)).isoformat()
    assert [("email.opened", 4), ("page.viewed", 2)] == await count("TYPE", since=since)
    assert [] == await count("TYPE", since=since, until=(clock.now() - timedelta(days=55)).isoformat())
    assert [] == await count(until=(clock.now() - timedelta(days=55)).isoformat())


@pytest.mark.parametrize(
    ("said", "pointer"),
    [
        ({"since": "2020-01-01T00:00:00Z"}, "/filter/since"),
        ({"until": "0001-01-01T00:00:00Z"}, "/filter/until"),
        ({"since": "9999-12-31T00:00:00Z", "until": "9999-12-31T10:00:00Z"}, "/filter/since"),
        ({"types": []}, "/filter/types"),
        ({"sources": ["\0"]}, "/filter/sources/0"),
        ({"contact": "ada"}, "/filter/contact"),
    ],
)
async def test_events_that_cannot_be_counted_are_refused(fault: Ask, said: dict[str, Any], pointer: str) -> None:
    error = await fault(COUNTS, by=["TYPE"], filter=said)

    assert pointer == error["extensions"]["faults"][0]["pointer"]


@pytest.mark.usefixtures("sent")
async def test_too_many_groups_are_refused(data: Ask, fault: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (event_counts, __import__("app.graphql.event_counts", fromlist=["MOST"])):
        monkeypatch.setattr(module, "MOST", 2)

    assert 2 == len((await data(COUNTS, by=["TYPE"]))["eventCounts"])
    assert "too_large" == (await fault(COUNTS, by=["TYPE", "SOURCE"]))["extensions"]["code"]


async def test_one_dimension_is_counted_along_an_index_alone(database: Database) -> None:
    async with database.hot.acquire() as db:
        await db.execute(
            """
            INSERT INTO event (id, contact_id, type, source, occurred_at, received_at, properties)
            SELECT gen_random_uuid(), gen_random_uuid(), 't' || n % 5, 's' || n % 3,
                   now() - n * interval '1 hour', now(), '{}'
            FROM generate_series(1, 20000) n
            """
        )
        await db.execute("VACUUM ANALYZE event")
    now = clock.now()
    wanted = event_counts.EventFilter(now - timedelta(days=30), now)
    for by in event_counts.Dimension:
        statement = event_counts._each(by, wanted) if by != "day" else event_counts._grouped(wanted, (by,))
        async with database.read() as db:
            sql = str(statement.compile(db.engine.sync_engine, compile_kwargs={"literal_binds": True}))
            plan = "\n".join(row[0] for row in await db.exec_driver_sql(f"EXPLAIN {sql}"))
            assert "Index Only Scan" in plan, plan
            assert " Seq Scan" not in plan, plan
            counted = await event_counts.counts(db, wanted, (by,))
        assert sum(one.number for one in counted) in (719, 720)


BOUNCES = """
    query($first: Int!) { contacts(first: $first, orderBy: [{createdAt: ASC}]) { nodes {
        bounces { id source address bounce status code reason diagnostic messageId campaign counts aside }
        bouncePenalties { model { key } points rules value valueWithout }
    } } }
"""


def bounce(email: str, ago: int, said: bytes) -> NewEvent:
    at = clock.now() - timedelta(days=ago)
    return NewEvent(uuid4(), Ref(email), "email.bounced", "sendgrid", None, at, said.decode())


async def bounced(database: Database, plans: Plans, *events: NewEvent) -> None:
    async with database.batch() as db:
        await ingest.accept(db, plans, list(events), clock.now(), SoftPolicy())


async def penalised(database: Database) -> None:
    await model(database, "engagement", published=False)
    await rule(database, "engagement", "Opened", "10", where("event.type", "=", "email.opened"))
    await rule(database, "engagement", "Bounced", "-1000", where("contact.bounced", "=", True))
    await rule(database, "engagement", "Hard", "-0.5", where("contact.bounce_status", "=", "hard"))
    await rule(database, "engagement", "Nameless", "-1", where("contact.name", "null", None))
    await live(database, "engagement")


async def test_bounces_are_shown_with_their_evidence_and_what_they_cost(
    database: Database, plans: Plans, data: Ask
) -> None:
    await penalised(database)
    await happened(database, plans, ("ada@x.co", "email.opened", 9))
    hard = b'{"bounce": "hard", "status": "5.1.1", "code": 550, "reason": "invalid", "message_id": "m1"}'
    await bounced(
        database, plans, bounce("ada@x.co", 3, b'{"bounce": "soft", "campaign": 7}'), bounce("ada@x.co", 2, hard),
        bounce("ada@x.co", 1, b'{"bounce": "soft", "diagnostic": ["odd"]}'),
    )  # fmt: skip

    (ada,) = (await data(BOUNCES, first=1))["contacts"]["nodes"]

    async with database.hot.acquire() as db:
        contact = await db.fetchval("SELECT id FROM contact")
        told = await bounces.evidence(db, contact, SoftPolicy(), limit=10)
    assert [(str(one.id), one.aside and one.aside.value.upper()) for one in told] == [
        (one["id"], one["aside"]) for one in ada["bounces"]
    ]
    last, middle, first = ada["bounces"]
    assert ("AFTER_HARD_BOUNCE", False, "['odd']") == (last["aside"], last["counts"], last["diagnostic"])
    assert {"bounce": "hard", "status": "5.1.1", "code": "550", "reason": "invalid", "campaign": None}.items() <= (
        middle.items()
    )
    assert {"messageId": "m1", "counts": True, "aside": None, "source": "sendgrid"}.items() <= middle.items()
    assert "7" == first["campaign"]
    assert ada["bouncePenalties"] == [
        {"model": {"key": "engagement"}, "points": -1000.5, "rules": ["Bounced", "Hard"], "value": -991.5,
         "valueWithout": 9.0}
    ]  # fmt: skip


REVIEW = """
    query($first: Int, $after: String, $last: Int, $before: String, $filter: ContactFilter) {
        contacts: bounceReview(first: $first, after: $after, last: $last, before: $before, filter: $filter) {
            pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
            nodes { id: email bouncedAt bounces(first: 1) { bounce } bouncePenalties { points } crmLinks { record } }
        }
    }
"""


async def test_the_clean_up_list_holds_the_hard_bounced_the_latest_first(
    database: Database, plans: Plans, data: Ask
) -> None:
    await penalised(database)
    hard = b'{"bounce": "hard"}'
    await bounced(
        database, plans, *(bounce(f"p{n}@x.co", 9 - n, hard) for n in range(5)),
        *(bounce("soft@x.co", n, b'{"bounce": "soft"}') for n in range(6)),
    )  # fmt: skip
    await leads(database, Lead("well@x.co"))
    expected = [f"p{n}@x.co" for n in (4, 3, 2, 1, 0)]

    assert expected == await walk_review(data, "first", "after", 2)
    assert expected == await walk_review(data, "last", "before", 2)
    kept = (await data(REVIEW, filter={"emailAddress": {"beginsWith": "p3"}}))["contacts"]["nodes"]
    assert ["p3@x.co"] == [node["id"] for node in kept]
    assert ({"bounce": "hard"}, -1000.5) == (kept[0]["bounces"][0], kept[0]["bouncePenalties"][0]["points"])


async def walk_review(data: Ask, count: str, cursor: str, size: int) -> list[str]:
    async def page(_: str, **asked: Any) -> dict[str, Any]:
        return await data(REVIEW, **asked)

    return await walk(page, count, cursor, size, {})


async def test_the_clean_up_list_costs_the_same_number_of_statements_for_any_length(
    database: Database, plans: Plans, data: Ask
) -> None:
    await penalised(database)
    await bounced(database, plans, *(bounce(f"p{n}@x.co", 1, b'{"bounce": "hard"}') for n in range(100)))
    await data(REVIEW, first=1)

    counts = []
    for first in (1, 100):
        with reads(database) as read:
            async with hot(database) as asked:
                found = (await data(REVIEW, first=first))["contacts"]["nodes"]
                counts.append((len(read), len(asked)))
        assert first == len(found)
    assert counts[0] == counts[1]


LIST = """
    query($kind: SuppressionKind, $reason: SuppressionReason, $search: String, $first: Int! = 50, $after: String) {
        suppressions(kind: $kind, reason: $reason, search: $search, first: $first, after: $after) {
            pageInfo { hasNextPage endCursor } nodes { kind value reason since by note contact { email } }
        }
    }
"""


@pytest.fixture
async def listed(database: Database) -> None:
    now = clock.now()
    async with database.batch() as db:
        await suppressions.add(db, [
            Entry("address", "old@x.co", "manual", now, "ops", "asked by phone"),
            Entry("domain", "example.org", "domain", now, "ops"),
        ])  # fmt: skip
    await leads(
        database,
        Lead("ada@x.co", opted_out=True, id=UUID(int=1)),
        Lead("bob@y.co", bounced=True, bounce_status="hard", id=UUID(int=2)),
        Lead("well@x.co"),
    )


@pytest.mark.usefixtures("listed")
async def test_the_suppression_list_is_paged_and_kept_by_what_it_says(data: Ask) -> None:
    async def values(**asked: Any) -> list[str]:
        seen, after, more = [], None, True
        while more:
            found = (await data(LIST, first=1, after=after, **asked))["suppressions"]
            seen += [node["value"] for node in found["nodes"]]
            after, more = found["pageInfo"]["endCursor"], found["pageInfo"]["hasNextPage"]
        return seen

    assert ["old@x.co", "example.org", "ada@x.co", "bob@y.co"] == await values()
    assert ["example.org"] == await values(kind="DOMAIN")
    assert ["bob@y.co"] == await values(reason="HARD_BOUNCE")
    assert ["old@x.co", "ada@x.co"] == await values(search="@X.co")
    entry, *_, flag = (await data(LIST))["suppressions"]["nodes"]
    assert {"kind": "ADDRESS", "reason": "MANUAL", "by": "ops", "note": "asked by phone", "contact": None}.items() <= (
        entry.items()
    )
    assert ("HARD_BOUNCE", {"email": "bob@y.co"}) == (flag["reason"], flag["contact"])


async def test_the_contacts_of_the_suppression_list_are_read_by_one_statement(database: Database, data: Ask) -> None:
    await leads(database, *(Lead(f"p{n}@x.co", opted_out=True) for n in range(100)))

    for first in (1, 100):
        with reads(database) as read:
            found = (await data(LIST, first=first))["suppressions"]["nodes"]
        assert first == len(found)
        assert 1 == len(read)


@pytest.mark.parametrize("cursor", ["x", "WyJlbnRyeSIsMSwyLDNd", "WyJjb250YWN0IiwieCIsIiIsIiJd", "WyJvIiwiIiwiIiwiIl0"])
async def test_a_forged_cursor_of_the_list_is_refused(fault: Ask, cursor: str) -> None:
    error = await fault(LIST, after=cursor)

    assert "/after" == error["extensions"]["faults"][0]["pointer"]
