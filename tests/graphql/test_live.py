"""Subscriptions: what is told, to whom, and by which rules of the protocols."""

from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from uuid import UUID

import httpx
import orjson
import pytest
from httpx import AsyncClient
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from app import clock
from app.engine.plan import Plans
from app.graphql.live import Bounds
from app.store import jobs
from app.store.db import Database
from tests.graphql.conftest import Ask
from tests.graphql.listening import GOOD, PROTOCOL, Client, Listened, eventually, listened
from tests.graphql.test_statements import reads
from tests.graphql.world import Lead, happened, leads, model, rule, where
from tests.graphql.world import live as publish

SCORES = """
    subscription ($f: ContactFilter, $m: String, $after: String) {
        scoreChanged(filter: $f, model: $m, after: $after) {
            cursor contactId contact { email }
            change { was value cause model { key } bandWas { name } band { name } }
        }
    }
"""
BANDS = """
    subscription ($d: BandDirection) {
        bandCrossed(model: "engagement", direction: $d) { direction contact { email } change { value band { name } } }
    }
"""
FLAGS = """
    subscription ($flag: Flag, $f: ContactFilter, $after: String) {
        flagChanged(flag: $flag, filter: $f, after: $after) {
            cursor contact { email } change { flag value reason by }
        }
    }
"""
JOB = "subscription ($id: ID!) { jobProgress(id: $id) { id status phase done total error } }"


@pytest.fixture
async def live(migrated: Database, plans: Plans, database: Database) -> AsyncIterator[Listened]:
    async with listened(migrated, plans) as made:
        yield made


@pytest.fixture
async def engagement(database: Database) -> int:
    return await model(database, "engagement")


async def scored(database: Database, who: str, model_id: int, *values: float | None) -> None:
    """Changes of one contact's score, from each value to the next, in one transaction."""
    async with database.batch() as db:
        for was, value in pairwise(values):
            await db.execute(
                """
                INSERT INTO score_change (contact_id, model_id, at, was, value, version, cause)
                VALUES ($1, $2, now(), $3, $4, 1, 'event')
                """,
                UUID(who),
                model_id,
                None if was is None else Decimal(was),
                None if value is None else Decimal(value),
            )


async def edited(database: Database, who: str, changes: str) -> None:
    async with database.batch() as db:
        await db.execute(f"UPDATE contact SET {changes}, updated_at = now() WHERE id = $1", UUID(who))


async def closed(client: Client) -> tuple[int, str]:
    """With which code and words the server closes a socket."""
    with suppress(ConnectionClosed):
        while True:
            await client.hear()
    return client.raw.close_code or 0, client.raw.close_reason or ""


# --- What is told -----------------------------------------------------------------------------------------------------


async def test_what_ingest_scores_is_told_with_the_contact_and_the_cause(
    live: Listened, database: Database, plans: Plans
) -> None:
    await model(database, "engagement", published=False)
    await rule(database, "engagement", "Opened", "50", where("event.type", "=", "email.opened"))
    await publish(database, "engagement")
    async with live.socket() as client:
        await client.subscribe(SCORES)
        await happened(database, plans, ("ada@example.com", "email.opened", 0))

        told = await client.next()

    assert {"email": "ada@example.com"} == told["contact"]
    assert (None, 50, "EVENT") == tuple(told["change"][name] for name in ("was", "value", "cause"))


async def test_only_contacts_that_match_when_it_is_told_are_told_of(
    live: Listened, database: Database, engagement: int
) -> None:
    ada, bob = await leads(database, Lead("ada@example.com", tags=["vip"]), Lead("bob@example.com"))
    async with live.socket() as client:
        await client.subscribe(SCORES, "vips", f={"tag": "vip"})
        await client.subscribe(SCORES, "others", f={"not": {"tag": "vip"}})
        await scored(database, ada, engagement, 1, 2)
        await scored(database, bob, engagement, 3, 4)

        assert ada == (await client.next("vips"))["contactId"]
        assert bob == (await client.next("others"))["contactId"]
        await edited(database, bob, "tags = '{vip}'")
        await scored(database, bob, engagement, 4, 5)
        assert bob == (await client.next("vips"))["contactId"]


async def test_a_segment_that_is_defined_otherwise_means_others_from_then_on(
    live: Listened, database: Database, engagement: int
) -> None:
    ada, bob = await leads(database, Lead("ada@example.com"), Lead("bob@example.com"))
    async with database.batch() as db:
        await db.execute(
            "INSERT INTO segment (key, name, condition, created_at, updated_at) VALUES ('chosen', 'C', $1, $2, $2)",
            where("contact.email", "=", "ada@example.com"),
            clock.now(),
        )
        await db.execute("UPDATE plan_epoch SET epoch = epoch + 1")
    async with live.socket() as client:
        await client.subscribe(SCORES, f={"segment": "chosen"})
        await scored(database, bob, engagement, 1, 2)
        await scored(database, ada, engagement, 1, 2)
        assert ada == (await client.next())["contactId"]

        async with database.batch() as db:
            await db.execute("UPDATE segment SET condition = $1", where("contact.email", "=", "bob@example.com"))
            await db.execute("UPDATE plan_epoch SET epoch = epoch + 1")
        await scored(database, ada, engagement, 2, 3)
        await scored(database, bob, engagement, 2, 3)
        assert bob == (await client.next())["contactId"]

        async with database.batch() as db:
            await db.execute("DELETE FROM segment")
            await db.execute("UPDATE plan_epoch SET epoch = epoch + 1")
        await scored(database, bob, engagement, 3, 4)
        ended = await client.message()
        assert ("error", "invalid_input") == (ended["type"], ended["payload"][0]["extensions"]["code"])
        assert 0 == live.endpoint.live.following


async def test_changes_of_one_model_are_told_alone_where_one_is_named(
    live: Listened, database: Database, engagement: int
) -> None:
    fit = await model(database, "fit")
    [ada] = await leads(database, Lead("ada@example.com"))
    async with live.socket() as client:
        await client.subscribe(SCORES, m="fit")
        await scored(database, ada, engagement, 1, 2)
        await scored(database, ada, fit, 5, 6)

        assert "fit" == (await client.next())["change"]["model"]["key"]
        assert await client.is_silent()


async def test_a_band_is_crossed_upwards_or_downwards_and_no_score_is_as_low_as_the_lowest(
    live: Listened, database: Database, engagement: int
) -> None:
    [ada] = await leads(database, Lead("ada@example.com"))
    async with live.socket() as client:
        for name, direction in (("both", None), ("up", "UP"), ("down", "DOWN")):
            await client.subscribe(BANDS, name, d=direction)
        # No score, Cold, Cold, Warm, Warm, Hot, Warm, no score, Hot.
        await scored(database, ada, engagement, None, 0, 39, 40, 79, 80, 40, None, 90)
        crossed = [await client.next("both") for _ in range(5)]
        upwards = [await client.next("up") for _ in range(3)]
        downwards = [await client.next("down") for _ in range(2)]

    assert [("UP", 40), ("UP", 80), ("DOWN", 40), ("DOWN", None), ("UP", 90)] == [
        (one["direction"], one["change"]["value"]) for one in crossed
    ]
    assert ["Warm", "Hot", None, "Hot"] == [(one["change"]["band"] or {}).get("name") for one in crossed[0:2]] + [
        (one["change"]["band"] or {}).get("name") for one in crossed[3:]
    ]
    assert [40, 80, 90] == [one["change"]["value"] for one in upwards]
    assert [40, None] == [one["change"]["value"] for one in downwards]


async def test_flags_are_told_and_nothing_else_that_changes_in_a_contact(live: Listened, database: Database) -> None:
    [ada] = await leads(database, Lead("ada@example.com"))
    async with live.socket() as client:
        await client.subscribe(FLAGS, "all")
        await client.subscribe(FLAGS, "bounces", flag="BOUNCED")
        await edited(database, ada, "tags = '{vip}'")
        await edited(
            database,
            ada,
            """bounced = true, bounced_at = now(), bounced_reason = 'hard_bounce', bounced_by = 'sendgrid',
               opted_out = true, opted_out_at = now(), opted_out_reason = 'unsubscribed'""",
        )
        await edited(database, ada, "bounced = false, bounced_at = NULL, bounced_reason = NULL, bounced_by = NULL")
        told = [(await client.next("all"))["change"] for _ in range(3)]
        bounces = [(await client.next("bounces"))["change"] for _ in range(2)]

    assert [("BOUNCED", True, "hard_bounce"), ("OPTED_OUT", True, "unsubscribed"), ("BOUNCED", False, "delivered")] == [
        (one["flag"], one["value"], one["reason"]) for one in told
    ]
    assert "sendgrid" == told[0]["by"]
    assert [True, False] == [one["value"] for one in bounces]


async def test_a_job_is_told_as_it_is_and_whenever_it_gets_on_until_it_ends(live: Listened, database: Database) -> None:
    now = clock.now()
    async with database.batch() as db:
        job = await jobs.enqueue(db, "model.publish", {}, now)
    async with live.socket() as client, live.events(JOB, last="of another", id=str(job)) as events:
        await client.subscribe(JOB, id=str(job))
        assert "QUEUED" == (await client.next())["status"]
        assert "QUEUED" == (await events.next())["status"]
        async with database.batch() as db:
            await jobs.start(db, job, now)
            await jobs.enter(db, job, "scoring", 10)
        told = await client.next()
        assert ("RUNNING", "scoring", 10) == (told["status"], told["phase"], told["total"])
        async with database.batch() as db:
            await jobs.advance(db, job, "scoring", 4, "x")
        assert 4 == (await client.next())["done"]
        async with database.batch() as db:
            await jobs.finish(db, job, now, "it went wrong")
        last = await client.next()
        assert ("FAILED", "it went wrong") == (last["status"], last["error"])
        assert {"id": "1", "type": "complete"} == await client.message()
        assert ["next"] * 3 + ["complete"] == [(await events.event()).event for _ in range(4)]

        await client.subscribe(JOB, "over", id=str(job))
        assert "FAILED" == (await client.next("over"))["status"]
        assert "complete" == (await client.message("over"))["type"]
        await client.subscribe(JOB, "unknown", id="00000000-0000-0000-0000-000000000000")
        assert "not_found" == (await client.message("unknown"))["payload"][0]["extensions"]["code"]


async def test_a_job_that_is_gone_is_complete(live: Listened, database: Database) -> None:
    async with database.batch() as db:
        job = await jobs.enqueue(db, "model.preview", {}, clock.now(), starts_at=clock.now() + timedelta(hours=1))
    async with live.socket() as client:
        await client.subscribe(JOB, id=str(job))
        assert "QUEUED" == (await client.next())["status"]
        async with database.batch() as db:
            await db.execute("DELETE FROM job")
        assert "complete" == (await client.message())["type"]


# --- What it costs ----------------------------------------------------------------------------------------------------


async def test_many_who_ask_alike_cost_the_statements_of_one(
    live: Listened, database: Database, engagement: int
) -> None:
    people = await leads(database, *(Lead(f"p{n}@example.com", tags=["vip"]) for n in range(60)))

    async def statements(client: Client, listeners: int) -> int:
        for n in range(listeners):
            await client.subscribe(SCORES, f"{listeners}/{n}", f={"tag": "vip"})
        with reads(database) as seen:
            async with database.batch() as db:
                await db.executemany(
                    """
                    INSERT INTO score_change (contact_id, model_id, at, was, value, version, cause)
                    VALUES ($1, $2, now(), 1, 2, 1, 'event')
                    """,
                    [(UUID(one), engagement) for one in people],
                )
            for n in range(listeners):
                assert set(people) == {(await client.next(f"{listeners}/{n}"))["contactId"] for _ in people}
        return len([one for one in seen if "contact" in one])

    async with live.socket() as client:
        await client.subscribe(SCORES, "first", f={"tag": "vip"})
        one = await statements(client, 1)
        many = await statements(client, 40)

    # One that matches and one that reads the contacts, for each batch that is read.
    assert one <= 2
    assert many <= 2


async def test_limits_of_depth_cost_and_lists_hold_for_subscriptions(
    live: Listened, migrated: Database, plans: Plans, tmp_path: Any
) -> None:
    async with live.socket() as client:
        lists = " ".join(f"a{n}: timeline(first: 200) {{ nodes {{ at }} }}" for n in range(6))
        await client.subscribe(f"subscription {{ flagChanged {{ contact {{ {lists} }} }} }}", "costly")
        refused = (await client.message("costly"))["payload"][0]
        assert ("too_large", 1_000) == (refused["extensions"]["code"], refused["extensions"]["limit"])
        aliases = " ".join(f"a{n}: email" for n in range(61))
        await client.subscribe(f"subscription {{ flagChanged {{ contact {{ {aliases} }} }} }}", "aliases")
        assert "too_large" == (await client.message("aliases"))["payload"][0]["extensions"]["code"]
        await client.subscribe("subscription { flagChanged { cursor } scoreChanged { cursor } }", "two")
        assert "invalid_query" == (await client.message("two"))["payload"][0]["extensions"]["code"]
    allowed = {"flags": "subscription { flagChanged { cursor } }"}
    async with listened(migrated, plans, allowed=allowed) as strict, strict.socket() as client:
        await client.subscribe(SCORES, "unlisted")
        assert "QUERY_NOT_IN_SAFELIST" == (await client.message("unlisted"))["payload"][0]["extensions"]["code"]
        persisted = {"persistedQuery": {"version": 1, "sha256Hash": "flags"}}
        await client.say("subscribe", id="by id", payload={"extensions": persisted})
        assert await client.is_silent(0.1)
        assert 1 == strict.endpoint.live.following


async def test_a_process_a_key_and_a_filter_have_their_share(
    migrated: Database, plans: Plans, database: Database
) -> None:
    bounds = Bounds(subscriptions=4, of_key=3, filters=1)
    async with listened(migrated, plans, bounds) as live, live.socket() as client:
        await client.subscribe(SCORES, "1", f={"tag": "a"})
        await client.subscribe(SCORES, "2", f={"tag": "b"})
        assert "filters" in (await client.message("2"))["payload"][0]["message"]
        await client.subscribe(SCORES, "3", f={"tag": "a"})
        await client.subscribe(SCORES, "4")
        await client.subscribe(SCORES, "5")
        refused = (await client.message("5"))["payload"][0]
        assert ("too_busy", True) == (refused["extensions"]["code"], "key" in refused["message"])
        async with live.socket({"Authorization": "Bearer other"}) as other:
            await other.subscribe(SCORES, "1")
            await other.subscribe(SCORES, "2")
            assert "server" in (await other.message("2"))["payload"][0]["message"]
        await client.say("complete", id="4")
        await client.say("ping")
        assert {"type": "pong"} == await client.hear()
        await client.subscribe(SCORES, "6")
        assert await client.is_silent(0.05)


# --- graphql-transport-ws ---------------------------------------------------------------------------------------------


async def test_queries_and_their_errors_go_over_the_socket_too(live: Listened, database: Database) -> None:
    async with live.socket() as client:
        await client.say("subscribe", id="1", payload={"query": "{ scoringModels { key } }"})
        assert [] == await client.next()
        assert "complete" == (await client.message())["type"]
        await client.say("subscribe", id="1", payload={"query": '{ contact(id: "x") { id } }'})
        assert "invalid_input" == (await client.message())["payload"]["errors"][0]["extensions"]["code"]
        assert "complete" == (await client.message())["type"]
        for payload in ({"query": "{ nope }"}, {"query": "{"}, {}, {"query": 1}, {"query": "{ a }", "variables": []}):
            await client.say("subscribe", id="1", payload=payload)
            assert "error" == (await client.message())["type"], payload
        await client.say("ping", payload={})
        assert {"type": "pong"} == await client.hear()
        await client.say("pong")
        await client.say("complete", id="none")


async def test_a_filter_or_a_cursor_that_makes_no_sense_is_refused_at_once(
    live: Listened, database: Database, engagement: int
) -> None:
    [ada] = await leads(database, Lead("ada@example.com"))
    async with live.socket() as client:
        await client.subscribe(FLAGS, "flags")
        await edited(database, ada, "opted_out = true")
        foreign = (await client.next("flags"))["cursor"]
        asked: list[tuple[dict[str, Any], str]] = [
            ({"m": "nope"}, "/model"),
            ({"f": {"segment": "nope"}}, "/filter/segment"),
            ({"f": {"or": []}}, "/filter/or"),
            *(({"after": after}, "/after") for after in ("", "x", "W10", "WyJzIl0", foreign, foreign[:-2], "é")),
        ]
        for number, (variables, pointer) in enumerate(asked):
            await client.subscribe(SCORES, str(number), **variables)
            [error] = (await client.message(str(number)))["payload"]
            assert "invalid_input" == error["extensions"]["code"], variables
            assert [pointer] == [fault["pointer"] for fault in error["extensions"]["faults"]]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("[]", 4400),
        ("{", 4400),
        ('{"type": "subscribe", "id": "1"}', 4400),
        ('{"type": "subscribe", "id": 1, "payload": {}}', 4400),
        ('{"type": {}}', 4400),
        ('{"type": "connection_init", "payload": 1}', 4400),
        ('{"type": "start"}', 4400),
        (b"{}", 4400),
        ('{"type": "subscribe", "id": "1", "payload": {"query": "{ a }"}}', 4401),
        ('{"type": "connection_init"}', 4403),
        ('{"type": "connection_init", "payload": {"authorization": "Bearer bad"}}', 4403),
        ('{"type": "connection_init", "payload": {"authorization": "Bearer weak"}}', 4403),
        (" " * 200_001, 4400),
    ],
    ids=str,
)
async def test_who_breaks_the_protocol_or_has_no_key_is_shown_out(live: Listened, said: str | bytes, code: int) -> None:
    async with connect(live.url.replace("http", "ws", 1), subprotocols=[PROTOCOL]) as raw:
        await raw.send(said)
        assert code == (await closed(Client(live, raw)))[0]


async def test_a_socket_begins_once_and_each_operation_has_an_id_of_its_own(live: Listened) -> None:
    async with live.socket() as client:
        await client.say("connection_init")
        assert 4429 == (await closed(client))[0]
    async with live.socket() as client:
        await client.subscribe(FLAGS, "same")
        await client.say("subscribe", id="same", payload={"query": FLAGS})
        assert (4409, "Subscriber for same already exists") == await closed(client)
    async with connect(live.url.replace("http", "ws", 1)) as raw:
        assert 4406 == (await closed(Client(live, raw)))[0]


async def test_a_key_may_come_in_the_header_if_no_browser_can_have_put_it_there(live: Listened) -> None:
    async with live.socket(None, additional_headers={"Authorization": "Bearer good"}) as client:
        await client.subscribe(FLAGS)
        assert 1 == live.endpoint.live.following
    address = live.url.replace("http", "ws", 1)
    async with connect(address, subprotocols=[PROTOCOL], additional_headers={"Authorization": "Basic Z29vZDo="}) as raw:
        await raw.send('{"type": "connection_init"}')
        assert 4403 == (await closed(Client(live, raw)))[0]


async def test_who_does_not_say_who_they_are_is_shown_out(migrated: Database, plans: Plans) -> None:
    async with (
        listened(migrated, plans, Bounds(init_s=0.05)) as live,
        connect(live.url.replace("http", "ws", 1), subprotocols=[PROTOCOL]) as raw,
    ):
        assert 4408 == (await closed(Client(live, raw)))[0]


async def test_a_revoked_key_ends_sockets_and_streams(migrated: Database, plans: Plans, database: Database) -> None:
    async with (
        listened(migrated, plans, Bounds(key_s=0.1)) as live,
        live.socket() as client,
        live.events(FLAGS) as events,
        live.socket({"authorization": "Bearer other"}) as other,
    ):
        await client.subscribe(FLAGS)
        await other.subscribe(FLAGS)
        live.keys.discard("good")

        assert 4403 == (await closed(client))[0]
        failure = await events.event()
        assert "not_authenticated" == failure.data["errors"][0]["extensions"]["code"]
        assert "complete" == (await events.event()).event
        assert await other.is_silent(0.3)
        assert 1 == live.endpoint.live.following


# --- Server-sent events -----------------------------------------------------------------------------------------------


async def test_a_stream_has_the_cursor_as_the_events_id_and_goes_on_after_it(
    live: Listened, database: Database, engagement: int
) -> None:
    [ada] = await leads(database, Lead("ada@example.com"))
    async with live.events(SCORES) as events:
        await scored(database, ada, engagement, 1, 2, 3)
        first = await events.event()
        assert first.id == first.data["data"]["scoreChanged"]["cursor"]
    await scored(database, ada, engagement, 3, 4)

    async with live.events(SCORES, last=first.id) as events:
        missed = [await events.next() for _ in range(2)]
        await scored(database, ada, engagement, 4, 5)
        missed.append(await events.next())

    assert [3, 4, 5] == [one["change"]["value"] for one in missed]


async def test_a_stream_answers_queries_and_mistakes_and_shows_that_it_lives(
    migrated: Database, plans: Plans, database: Database
) -> None:
    async with listened(migrated, plans, Bounds(alive_s=0.02)) as live:
        async with live.events(FLAGS) as quiet:
            assert ["", ":", "", ":"] == [await anext(quiet.lines) for _ in range(4)]
        async with httpx.AsyncClient(headers={**GOOD, "accept": "text/event-stream"}) as client:
            answer = await client.get(live.url, params={"query": "{ scoringModels { key } }"})
            assert 'event: next\ndata: {"data":{"scoringModels":[]}}\n\nevent: complete\ndata:\n\n' == answer.text
            wrong = await client.post(live.url, json={"query": "{ nope }"})
            assert 200 == wrong.status_code
            assert "errors" in orjson.loads(wrong.text.split("data: ")[1].split("\n")[0])
            assert wrong.text.endswith("event: complete\ndata:\n\n")
            assert 401 == (await client.post(live.url, json={}, headers={"authorization": "Bearer bad"})).status_code
            subscription = {"query": FLAGS}
            async with client.stream("GET", live.url, params=subscription) as stream:
                assert 200 == stream.status_code


async def test_a_stream_that_is_left_is_forgotten(live: Listened) -> None:
    async with live.events(FLAGS):
        assert 1 == live.endpoint.live.following
    await eventually(lambda: not live.endpoint.live.following)


async def test_subscriptions_are_refused_where_one_answer_is_sent(client: AsyncClient, fault: Ask) -> None:
    error = (await client.post("/graphql", json={"query": FLAGS})).json()["errors"][0]

    assert "invalid_input" == error["extensions"]["code"]
    assert "text/event-stream" in error["message"]
    accepting = {"accept": "application/graphql-response+json"}
    assert 406 == (await client.post("/graphql", json={"query": FLAGS}, headers=accepting)).status_code
