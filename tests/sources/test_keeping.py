import asyncio

import pytest

from app import clock
from app.errors import TooBusy
from app.esp.shapes import Request
from app.sources import keeping
from app.store.db import Database
from tests.sources.senders import keep, request, rows, source

POISON = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON delivery FOR EACH ROW WHEN (NEW.body = 'poison') EXECUTE FUNCTION refuse();
"""


async def test_calls_at_once_are_all_kept_as_they_came(database: Database) -> None:
    mail = await source(database)
    bodies = [bytes([n]) * n for n in range(60)]

    kept = await asyncio.gather(*(keeping.keep(database, mail, request(body), limit=1_000) for body in bodies))

    stored = dict(await rows(database, "SELECT id, body FROM delivery"))
    assert bodies == [stored[one] for one in kept]


async def test_a_call_that_cannot_be_kept_says_so_alone(database: Database) -> None:
    mail = await source(database)
    async with database.hot.acquire() as db:
        await db.execute(POISON)
    try:
        bodies = [b"a", b"b", b"poison", b"c"]
        came = await asyncio.gather(
            *(keeping.keep(database, mail, request(body), limit=1_000) for body in bodies), return_exceptions=True
        )
    finally:
        async with database.hot.acquire() as db:
            await db.execute("DROP TRIGGER refuse ON delivery; DROP FUNCTION refuse()")

    assert [False, False, True, False] == [isinstance(one, BaseException) for one in came]
    assert [(b"a",), (b"b",), (b"c",)] == await rows(database, "SELECT body FROM delivery ORDER BY body")


async def test_who_goes_away_while_it_is_stored_takes_nobody_along(database: Database) -> None:
    mail = await source(database)
    first, second = (asyncio.create_task(keeping.keep(database, mail, request(b), limit=1_000)) for b in (b"1", b"2"))
    await asyncio.sleep(0)
    first.cancel()

    kept = await second
    with pytest.raises(asyncio.CancelledError):
        await first
    assert [(b"2",)] == await rows(database, "SELECT body FROM delivery WHERE id = $1", kept)


async def test_of_the_headers_only_what_says_something_of_the_body_is_kept(database: Database) -> None:
    mail = await source(database)
    headers = {
        "authorization": "Basic c2VjcmV0",
        "cookie": "a=b",
        "x-api-key": "secret",
        "svix-signature": "v1,x",
        "svix-id": "msg_1",
        "ce-type": "com.example\0",
        "content-type": "text/plain",
    }
    call = Request("https://leads.example.com/\0", headers, b"", clock.now())
    await keeping.keep(database, mail, call, limit=1_000)

    kept = {"svix-id": "msg_1", "ce-type": "com.example", "content-type": "text/plain"}
    assert [(kept, "https://leads.example.com/")] == await rows(database, "SELECT headers, url FROM delivery")


async def test_the_inbox_is_full_by_number_or_by_bytes(database: Database) -> None:
    mail = await source(database)
    async with Database(database.url.render_as_string(hide_password=False), 4) as another:
        await keep(another, mail, b"1", b"2")
        for body, limit in ((b"3", 2), (b" " * 40_001, 4)):
            with pytest.raises(TooBusy):
                await keeping.keep(another, mail, request(body), limit=limit)
        await keeping.keep(another, mail, request(b" " * 39_000), limit=4)
