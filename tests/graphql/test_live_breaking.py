"""Subscriptions while things go wrong: late commits, lost connections, clients that are slow, deaf or gone."""

import asyncio
import base64
import contextlib
import os
from collections.abc import AsyncIterator
from uuid import UUID

import orjson
import pytest

from app.engine.plan import Plans
from app.graphql.live import Bounds
from app.store.db import Database, plain_url
from app.store.pages import encode
from tests.graphql.listening import Client, Listened, deaf, eventually, listened
from tests.graphql.test_live import SCORES, edited, scored
from tests.graphql.world import Lead, leads, model

CURSORS = "{ changeCursors { scores flags } }"
LONG = SCORES.replace("cursor", "cursor named: contact { a: name b: name c: name d: name e: name }")
"""With the name of `ada` 50 kB for each change: the kernel holds some thousands of the others."""
INSERT = """
    INSERT INTO score_change (contact_id, model_id, at, was, value, version, cause)
    SELECT $1, $2, now(), 0, n, 1, 'event' FROM generate_series($3::int, $4::int) n
"""


@pytest.fixture
async def live(migrated: Database, plans: Plans, database: Database) -> AsyncIterator[Listened]:
    async with listened(migrated, plans) as made:
        yield made


@pytest.fixture
async def engagement(database: Database) -> int:
    return await model(database, "engagement")


@pytest.fixture
async def ada(database: Database) -> str:
    [made] = await leads(database, Lead("ada@example.com"))
    await edited(database, made, "name = repeat('ada ', 2500)")
    return made


async def values(client: Client, number: int, name: str = "1") -> list[float]:
    return [(await client.next(name))["change"]["value"] for _ in range(number)]


async def cursor(client: Client) -> str:
    """Where the changes of scores stand."""
    await client.say("subscribe", id="now", payload={"query": CURSORS})
    told: str = (await client.next("now"))["scores"]
    assert "complete" == (await client.message("now"))["type"]
    return told


async def until(live: Listened, following: int) -> None:
    await eventually(lambda: live.endpoint.live.following == following)


# --- Commits that come late -------------------------------------------------------------------------------------------


async def test_who_commits_late_is_told_once_and_cursors_taken_meanwhile_miss_nothing(
    live: Listened, database: Database, engagement: int, ada: str
) -> None:
    async with live.socket() as client:
        async with database.hot.acquire() as before:
            transaction = before.transaction()
            await transaction.start()
            await before.execute(INSERT, UUID(ada), engagement, 1, 2)
            begun = await cursor(client)
            await client.subscribe(SCORES)  # while one of those that it is to hear of has its ids already
            async with database.batch() as late:
                await late.execute(INSERT, UUID(ada), engagement, 3, 4)
                await scored(database, ada, engagement, 0, 5)
                early = await client.next()
                assert 5 == early["change"]["value"]
                assert await client.is_silent(0.3)
            assert [3, 4] == await values(client, 2)
            await transaction.commit()
        assert [1, 2] == await values(client, 2)
        assert await client.is_silent(0.3)

        await client.subscribe(SCORES, "again", after=early["cursor"])
        assert {1, 2, 3, 4} == set(await values(client, 4, "again"))
        await client.subscribe(SCORES, "from the start", after=begun)
        assert {1, 2, 3, 4, 5} == set(await values(client, 5, "from the start"))
        await scored(database, ada, engagement, 0, 6)
        for name in ("1", "again", "from the start"):
            assert [6] == await values(client, 1, name)


async def test_ids_that_are_rolled_back_hold_nobody_up(
    live: Listened, database: Database, engagement: int, ada: str
) -> None:
    async with live.socket() as client:
        await client.subscribe(SCORES)
        for number in range(12):
            with contextlib.suppress(ZeroDivisionError):
                async with database.batch() as db:
                    await db.execute(INSERT, UUID(ada), engagement, 100, 103)
                    raise ZeroDivisionError
            await scored(database, ada, engagement, 0, number)
        assert list(range(12)) == await values(client, 12)
        await asyncio.sleep(0.3)
        await scored(database, ada, engagement, 0, 12)
        said = (await client.next())["cursor"]

    # Nobody can fill those gaps any more, so a cursor does not name them.
    [_, numbers] = orjson.loads(base64.urlsafe_b64decode(said + "=" * (-len(said) % 4)))
    assert 1 == len(numbers)


async def test_what_was_missed_is_told_page_by_page_and_then_what_comes(
    live: Listened, database: Database, engagement: int, ada: str
) -> None:
    async with live.socket() as client:
        begun = await cursor(client)
        async with database.batch() as db:
            await db.execute(INSERT, UUID(ada), engagement, 1, 900)
        await client.say("subscribe", id="1", payload={"query": SCORES, "variables": {"after": begun}})
        writing = asyncio.create_task(_write(database, ada, engagement, 901, 950))

        assert list(range(1, 951)) == await values(client, 950)
        await writing
        assert await client.is_silent(0.3)


async def _write(database: Database, who: str, model_id: int, first: int, last: int) -> None:
    for number in range(first, last + 1):
        await scored(database, who, model_id, 0, number)


async def test_a_cursor_that_is_too_old_or_of_another_database_is_refused(
    live: Listened, database: Database, engagement: int, ada: str
) -> None:
    async with database.batch() as db:
        await db.execute("SELECT setval('score_change_id_seq', 3000000 + nextval('score_change_id_seq'))")
    await scored(database, ada, engagement, 0, 1)
    async with live.socket() as client:
        await client.subscribe(SCORES, "old", after=encode("s", [5]))
        [error] = (await client.message("old"))["payload"]
        assert "cursor_too_old" == error["extensions"]["code"]
        await client.subscribe(SCORES, "new", after=encode("s", [2**62]))
        [error] = (await client.message("new"))["payload"]
        assert "invalid_input" == error["extensions"]["code"]
        assert 0 == live.endpoint.live.following


# --- The connection to Postgres ---------------------------------------------------------------------------------------


async def test_a_reader_whose_connection_is_killed_goes_on_without_a_loss(
    live: Listened, database: Database, engagement: int, ada: str
) -> None:
    async with live.socket() as client:
        await client.subscribe(SCORES)
        await scored(database, ada, engagement, 0, 1)
        assert [1] == await values(client, 1)
        for number in range(2, 8):
            if number % 2:
                await eventually(lambda: _reads(database))
            async with database.batch() as db:
                killed = await db.fetchval(
                    """
                    SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
                    WHERE application_name = 'leadtally live' AND datname = current_database()
                    """
                )
                await db.execute(INSERT, UUID(ada), engagement, number, number)
            if number % 2:
                assert killed
                assert [number - 1, number] == await values(client, 2)


async def test_a_reader_sleeps_when_nothing_comes_is_woken_at_once_and_leaves_nothing(
    migrated: Database, plans: Plans, database: Database, engagement: int, ada: str
) -> None:
    async with listened(migrated, plans) as live, live.socket() as client:
        assert not await _reads(database)
        await client.subscribe(SCORES)
        await eventually(lambda: _sleeps(database, is_so=True))
        await asyncio.sleep(0.3)

        told = asyncio.get_running_loop().time()
        await scored(database, ada, engagement, 0, 1)
        assert [1] == await values(client, 1)
        assert asyncio.get_running_loop().time() - told < 1
        # Awake it reads by itself: those who write need not tell it.
        await eventually(lambda: _sleeps(database, is_so=False))
        await eventually(lambda: _sleeps(database, is_so=True))
    assert await _sleeps(database, is_so=False)
    assert not await _reads(database)


async def _sleeps(database: Database, *, is_so: bool) -> bool:
    """Whether it is so that a reader waits to be woken."""
    async with database.batch() as db:
        waiting = await db.fetchval("SELECT EXISTS (SELECT FROM waiting_reader WHERE until > clock_timestamp())")
    return bool(waiting == is_so)


async def _reads(database: Database) -> bool:
    async with database.batch() as db:
        found = await db.fetchval(
            """
            SELECT EXISTS (SELECT FROM pg_stat_activity
                           WHERE application_name = 'leadtally live' AND datname = current_database())
            """
        )
    return bool(found)


# --- Clients ----------------------------------------------------------------------------------------------------------


async def test_who_is_too_slow_is_let_go_with_a_cursor_that_loses_nothing_and_others_are_told_on(
    migrated: Database, plans: Plans, database: Database, engagement: int, ada: str
) -> None:
    bounds = Bounds(waiting_bytes=200_000, send_s=60)
    async with listened(migrated, plans, bounds) as live, live.socket() as quick, _slow(live) as slow:
        await quick.subscribe(SCORES)
        await slow.subscribe(LONG)
        written = 0
        heard: list[float] = []
        while live.endpoint.live.following == 2:
            async with database.batch() as db:
                await db.execute(INSERT, UUID(ada), engagement, written + 1, written + 50)
            written += 50
            heard += await values(quick, 50)
            assert written < 5_000
        told: list[float] = []
        while (said := await slow.message())["type"] == "next":
            told.append(said["payload"]["data"]["scoreChanged"]["change"]["value"])
        [error] = said["payload"]
        assert ("error", "too_slow") == (said["type"], error["extensions"]["code"])

        await slow.subscribe(LONG, "again", after=error["extensions"]["cursor"])
        told += await values(slow, written - len(told), "again")

    assert list(range(1, written + 1)) == heard == told


@contextlib.asynccontextmanager
async def _slow(live: Listened) -> AsyncIterator[Client]:
    """A client for which the kernel keeps little."""
    connected = await asyncio.to_thread(deaf, live.port)
    async with live.socket(sock=connected, max_queue=1) as client:
        yield client


async def test_who_never_reads_is_let_go_and_holds_nothing(
    migrated: Database, plans: Plans, database: Database, engagement: int, ada: str
) -> None:
    bounds = Bounds(waiting_bytes=200_000, send_s=0.3, alive_s=0.1)
    async with listened(migrated, plans, bounds) as live, live.socket() as client:
        await client.subscribe(SCORES)
        body = orjson.dumps({"query": LONG})
        request = (
            "POST /graphql HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\nAccept: text/event-stream\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        stream = await asyncio.to_thread(deaf, live.port)
        stream.sendall(request.encode() + body)
        key = base64.b64encode(os.urandom(16)).decode()
        upgrade = (
            f"GET /graphql HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: {key}"
            "\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\n"
            "Authorization: Bearer good\r\n\r\n"
        )
        raw = await asyncio.to_thread(deaf, live.port)
        raw.sendall(upgrade.encode())
        assert b"101" in await asyncio.get_running_loop().sock_recv(raw, 1_000)
        raw.sendall(_frame({"type": "connection_init"}))
        raw.sendall(_frame({"type": "subscribe", "id": "1", "payload": {"query": LONG}}))
        await until(live, 3)
        written = 0
        while live.endpoint.live.following > 1:
            async with database.batch() as db:
                await db.execute(INSERT, UUID(ada), engagement, written + 1, written + 50)
            written += 50
            assert 50 == len(await values(client, 50))
            assert written < 5_000
        await eventually(lambda: len(live.server.server_state.tasks) == 1)
        stream.close()
        raw.close()


def _frame(said: object) -> bytes:
    """A client's text frame (RFC 6455, section 5.2), masked by nothing."""
    body = orjson.dumps(said)
    length = bytes([0x80 | len(body)]) if len(body) < 126 else bytes([0x80 | 126]) + len(body).to_bytes(2)
    return b"\x81" + length + bytes(4) + body


async def test_two_hundred_subscribers_are_told_alike(
    live: Listened, database: Database, engagement: int, ada: str
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(live.socket()) for _ in range(20)]
        for client in clients:
            for number in range(10):
                await client.subscribe(SCORES, str(number))
        assert 200 == live.endpoint.live.following
        async with database.batch() as db:
            await db.execute(INSERT, UUID(ada), engagement, 1, 20)

        for client in clients:
            for number in range(10):
                assert list(range(1, 21)) == await values(client, 20, str(number))
    await until(live, 0)


async def test_two_processes_tell_the_same(
    live: Listened, migrated: Database, plans: Plans, database: Database, engagement: int, ada: str
) -> None:
    async with (
        Database(plain_url(migrated.url)) as second,
        listened(second, Plans()) as other,
        live.socket() as here,
        other.socket() as there,
    ):
        await here.subscribe(SCORES)
        await there.subscribe(SCORES)
        await scored(database, ada, engagement, 0, 1)
        told = await here.next()
        assert told["change"] == (await there.next())["change"]

        await scored(database, ada, engagement, 1, 2)
        await there.subscribe(SCORES, "resumed", after=told["cursor"])
        assert [2] == await values(there, 1, "resumed")


async def test_a_server_that_ends_lets_its_listeners_know_that_they_should_come_again(
    migrated: Database, plans: Plans, database: Database
) -> None:
    async with listened(migrated, plans) as live, live.socket() as client, live.events(SCORES) as events:
        await client.subscribe(SCORES)
        began = asyncio.get_running_loop().time()
        live.server.should_exit = True

        with pytest.raises(ConnectionError):  # the stream ends, and is not complete
            await events.event()
        await client.raw.wait_closed()
        assert 1012 == client.raw.close_code
        await eventually(lambda: not live.server.server_state.tasks)
        assert asyncio.get_running_loop().time() - began < 3
