import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest

from app import clock
from app.engine.batching import MAX_BATCH
from app.engine.hygiene import SoftPolicy
from app.engine.plan import Plans
from app.sources import draining, inbox, keeping, registry
from app.sources.draining import Gain, Reader
from app.sources.inbox import Choice
from app.store.db import Connection, Database
from tests.engine.worlds import World, per_event, profile
from tests.sources.senders import (
    T0,
    Visited,
    counters,
    keep,
    read_all,
    reader,
    request,
    rows,
    said,
    source,
)

NOBODY_CAN_STORE = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON event FOR EACH ROW WHEN (NEW.properties ->> 'url' = 'https://poison.test')
    EXECUTE FUNCTION refuse();
"""
EVERYBODY_CAN = "DROP TRIGGER IF EXISTS refuse ON event; DROP FUNCTION IF EXISTS refuse();"
CONFIRM = {
    "Type": "SubscriptionConfirmation",
    "TopicArn": "arn:aws:sns:eu-west-1:123456789012:mail",
    "SubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=2336412f37",
}


async def deliveries(database: Database) -> list[tuple[Any, ...]]:  # Any: of any column
    found = await rows(
        database, "SELECT read_at IS NOT NULL, accepted, duplicates, rejected, faults FROM delivery ORDER BY id"
    )
    return list(found)


async def events(database: Database) -> list[tuple[Any, ...]]:  # Any: as above
    found = await rows(
        database,
        """
        SELECT i.value, e.type, e.client_id, e.occurred_at, e.source FROM event e
        JOIN identity i ON i.contact_id = e.contact_id ORDER BY 1, 2, 3
        """,
    )
    return list(found)


async def replay(database: Database, choice: Choice, visited: Visited | None = None) -> Gain:
    gained = Gain()
    async for _, gain in reader(database, visited).replay(choice):
        gained.add(gain)
    return gained


async def test_a_call_becomes_events_of_the_person_under_the_name_of_the_source(database: Database) -> None:
    mail = await source(database, name="SendGrid, EU")
    await keep(database, mail, [said("open", "Ana@Example.com", "1"), said("click", "bob@example.com", "2", minutes=1)])

    assert 1 == await read_all(database)
    assert [
        ("ana@example.com", "email.opened", "SendGrid, EU"),
        ("bob@example.com", "email.clicked", "SendGrid, EU"),
    ] == [(email, type_, name) for email, type_, _, _, name in await events(database)]
    assert [T0, T0 + timedelta(minutes=1)] == [at for _, _, _, at, _ in await events(database)]
    assert [(True, 2, 0, 0, [])] == await deliveries(database)


async def test_what_cannot_be_read_is_kept_with_its_fault_and_spoils_nothing_beside_it(database: Database) -> None:
    mail = await source(database)
    body = [
        said("open", "ana@example.com", "1"),
        said("open", "no address", "2"),
        17,
        said("transmogrified", "ana@example.com", "3"),
        said("click", "ana@example.com", "4"),
    ]
    await keep(database, mail, body, b"\x00\xff no json at all", b"")

    await read_all(database)

    assert ["email.clicked", "email.opened"] == [type_ for _, type_, _, _, _ in await events(database)]
    [(_, accepted, _, rejected, faults), *others] = await deliveries(database)
    assert (2, 3) == (accepted, rejected)
    assert {"/2", "/3"} <= {fault["pointer"].removesuffix("/event") for fault in faults}
    assert [1, 1] == [lost for _, _, _, lost, _ in others]
    assert (3, 2, 0, 5) == await counters(database, mail)


async def test_duplicates_redeliveries_and_another_order_change_nothing(database: Database) -> None:
    random = Random(7)
    people = [f"p{n}@example.com" for n in range(4)]
    kinds = [
        ("open", {}), ("click", {"url": "https://example.com/a"}), ("delivered", {}), ("unsubscribe", {}),
        ("group_resubscribe", {}), ("bounce", {"type": "bounce", "status": "5.1.1"}),
        ("bounce", {"type": "blocked", "status": "4.2.2", "reason": "452 mailbox full"}), ("spamreport", {}),
    ]  # fmt: skip
    everything: list[dict[str, Any]] = []
    for n in range(60):
        name, more = random.choice(kinds)
        # Some have no id: they are known by their content.
        id_ = None if n % 5 == 0 else f"e{n}"
        everything.append(said(name, random.choice(people), id_, minutes=n - 60, **more))

    async def outcome(batches: list[list[dict[str, Any]]]) -> object:  # Any: JSON
        world = World(database)
        await world.clear()
        async with database.batch() as db:
            await db.execute("DELETE FROM source; DELETE FROM delivery")
        await world.publish("m", per_event("email.opened", 1), profile("contact.bounced", "=", True, -100))
        await keep(database, await source(database), *batches)
        await read_all(database)
        state = """
            SELECT c.email, c.opted_out, c.opted_out_at, c.opted_out_reason, c.bounced, c.bounced_at, c.bounce_status,
                   c.soft_bounces, s.value, (SELECT sum(n) FROM tally t WHERE t.contact_id = c.id)
            FROM contact c JOIN score s ON s.contact_id = c.id ORDER BY 1
        """
        return await events(database), await rows(database, state)

    plain = await outcome([everything])
    for _ in range(2):
        again = everything + random.sample(everything, 25)
        random.shuffle(again)
        cuts = sorted(random.sample(range(1, len(again)), 6))
        batches = [again[start:end] for start, end in zip([0, *cuts], [*cuts, len(again)], strict=True)]
        assert plain == await outcome([*batches, batches[0], batches[-1]])


async def test_what_is_said_twice_is_counted_as_a_duplicate_where_it_came_second(database: Database) -> None:
    mail = await source(database)
    once = [said("open", "ana@example.com", "1"), said("open", "ana@example.com", "2")]
    await keep(database, mail, once, [*once, said("open", "ana@example.com", "3")])
    await read_all(database)
    await keep(database, mail, [once[0], once[0], said("open", "ana@example.com", "4"), "?"])
    await read_all(database)

    assert [(2, 0, 0), (1, 2, 0), (1, 2, 1)] == [row[1:4] for row in await deliveries(database)]
    assert (3, 4, 4, 1) == await counters(database, mail)


async def test_an_event_that_cannot_be_stored_is_left_out_alone_until_it_can(database: Database) -> None:
    mail = await source(database)
    async with database.hot.acquire() as db:
        await db.execute(NOBODY_CAN_STORE)
    try:
        for n in range(9):
            poison = [said("click", "eve@example.com", "p", url="https://poison.test")] if n == 4 else []
            await keep(database, mail, [said("open", f"p{n}@example.com", f"e{n}"), *poison])
        await read_all(database)

        assert 9 == len(await events(database))
        assert (9, 9, 0, 1) == await counters(database, mail)
        [fault] = (await deliveries(database))[4][4]
        assert "cannot be stored" in fault["detail"]
    finally:
        async with database.hot.acquire() as db:
            await db.execute(EVERYBODY_CAN)

    assert Gain(1, 1, 0) == await replay(database, Choice(mail.id, only_faulty=True))
    assert (9, 10, 0, 0) == await counters(database, mail)


async def test_readers_at_once_read_each_call_once(database: Database) -> None:
    mail = await source(database)
    for n in range(40):
        await keep(database, mail, [said("open", f"p{n % 7}@example.com", f"{n}-{k}") for k in range(3)])

    read = await asyncio.gather(*(read_all(database) for _ in range(4)))

    assert 40 == sum(read)
    assert (40, 120, 0, 0) == await counters(database, mail)
    assert 120 == len(await events(database))


async def test_a_call_of_more_events_than_a_transaction_takes_is_stored_whole(database: Database) -> None:
    mail = await source(database)
    many = [said("open", f"p{n % 50}@example.com", f"e{n}") for n in range(MAX_BATCH + 40)]
    await keep(database, mail, [said("open", "first@example.com", "first")], many, [said("open", "z@example.com", "z")])

    await read_all(database)

    assert [(1, 0, 0), (MAX_BATCH + 40, 0, 0), (1, 0, 0)] == [row[1:4] for row in await deliveries(database)]
    assert (3, MAX_BATCH + 42, 0, 0) == await counters(database, mail)


class _Died(Exception):
    pass


class _Dying:
    """A database whose reader dies at the end of its transaction, before or after the commit."""

    def __init__(self, database: Database, *, is_committed: bool) -> None:
        self.hot = database.hot
        self._database = database
        self._is_committed = is_committed

    @asynccontextmanager
    async def batch(self) -> AsyncIterator[Connection]:
        async with self._database.batch() as db:
            yield db
            if not self._is_committed:
                raise _Died
        raise _Died


@pytest.mark.parametrize("is_committed", [False, True])
async def test_a_reader_that_dies_leaves_all_or_nothing_behind(database: Database, is_committed: bool) -> None:
    mail = await source(database)
    await keep(database, mail, [said("open", "ana@example.com", "1")], [said("open", "ana@example.com", "2")])
    dying = _Dying(database, is_committed=is_committed)

    with pytest.raises(_Died):
        await Reader(dying, Plans(), SoftPolicy(), Visited()).step()  # type: ignore[arg-type]  # a stand-in that dies

    assert (2 if is_committed else 0) == len(await events(database))
    assert (0 if is_committed else 2) == await read_all(database)
    assert (2, 2, 0, 0) == await counters(database, mail)


async def test_draining_goes_on_until_it_is_told_to_stop(database: Database) -> None:
    mail, stop = await source(database), asyncio.Event()
    draining = asyncio.create_task(reader(database).drain(stop))
    await keep(database, mail, [said("open", "ana@example.com", "1")])
    for _ in range(500):
        if await events(database):
            break
        await asyncio.sleep(0.01)

    stop.set()
    async with asyncio.timeout(5):
        await draining


async def test_what_asks_to_be_visited_is_visited_and_tried_again_by_a_replay(database: Database) -> None:
    ses, visited = await source(database, "ses", "ses"), Visited()
    visited.is_away = True
    await keep(database, ses, CONFIRM)
    await read_all(database, visited)
    [(is_read, *counts, faults)] = await deliveries(database)
    assert (True, [0, 0, 1]) == (is_read, counts)
    assert "nobody there" in faults[0]["detail"]

    visited.is_away = False
    assert Gain(1, 0, 0) == await replay(database, Choice(ses.id, only_faulty=True), visited)
    assert [CONFIRM["SubscribeURL"]] * 2 == visited.urls
    assert Gain(1, 0, 0) == await replay(database, Choice(ses.id), visited)
    assert 2 == len(visited.urls), "once it went well, it is not visited again"


async def test_a_replay_adds_what_could_not_be_read_and_counts_nothing_twice(database: Database) -> None:
    # As if its reader had been mended: what Postmark's cannot read, Brevo's can.
    mail = await source(database, "postmark")
    bodies = [
        {"event": "opened", "email": f"p{n}@example.com", "message-id": f"<{n}@x>", "ts_event": int(T0.timestamp())}
        for n in range(3)
    ]
    await keep(database, mail, *bodies)
    await read_all(database)
    assert (3, 0, 0, 3) == await counters(database, mail)
    async with database.hot.acquire() as db:
        await db.execute("UPDATE source SET kind = 'brevo' WHERE id = $1", mail.id)

    assert Gain(0, 0, 0) == await replay(database, Choice(since=clock.now() + timedelta(minutes=1)))
    assert Gain(3, 3, 0) == await replay(database, Choice(mail.id, only_faulty=True))
    assert Gain(0, 0, 0) == await replay(database, Choice(mail.id, only_faulty=True))
    assert Gain(3, 0, 0) == await replay(database, Choice())
    assert (3, 3, 0, 0) == await counters(database, mail)


async def test_without_a_time_or_an_id_a_call_that_is_read_again_says_the_same(database: Database) -> None:
    brevo = await source(database, "brevo")
    twice = {"event": "opened", "email": "ana@example.com", "message-id": "<1@x>"}
    [kept, _] = await keep(database, brevo, twice, twice)
    await read_all(database)
    await replay(database, Choice())

    [(_, _, _, at, _)] = await events(database)
    assert [(at,)] == await rows(database, "SELECT received_at FROM delivery WHERE id = $1", kept)
    assert (2, 1, 1, 0) == await counters(database, brevo)


async def test_nothing_happens_after_it_was_told(database: Database) -> None:
    mail = await source(database)
    late = request([said("open", "ana@example.com", "1", minutes=60)], T0)
    soon = request([said("click", "ana@example.com", "2", minutes=2)], T0)
    for one in (late, soon):
        await keeping.keep(database, mail, one, limit=10)
    await read_all(database)

    assert [T0 + timedelta(minutes=2), T0] == [at for _, _, _, at, _ in await events(database)]


async def test_what_came_from_a_source_that_was_deleted_is_removed_read_or_not(database: Database) -> None:
    mail, other = await source(database), await source(database, name="other")
    await keep(database, mail, [said("open", "ana@example.com", "1")])
    await keep(database, other, [said("open", "bob@example.com", "1")])
    await read_all(database)
    await keep(database, mail, [said("open", "eve@example.com", "2")])
    async with database.batch() as db:
        await registry.delete(db, mail.id)

    await read_all(database)
    removed = await inbox.forget(database, T0)

    assert 1 == removed
    assert [(other.id,)] == await rows(database, "SELECT source_id FROM delivery")
    assert ["ana@example.com", "bob@example.com"] == [email for email, *_ in await events(database)]


async def test_old_calls_are_forgotten_once_they_were_read(database: Database) -> None:
    mail = await source(database)
    [read] = await keep(database, mail, [said("open", "ana@example.com", "1")])
    await read_all(database)
    [unread] = await keep(database, mail, [])

    async def kept() -> set[UUID]:
        return {row[0] for row in await rows(database, "SELECT id FROM delivery")}

    await inbox.forget(database, clock.now() - timedelta(days=7))
    assert {read, unread} == await kept()
    await inbox.forget(database, clock.now() + timedelta(seconds=1))
    assert {unread} == await kept()


async def test_the_oldest_unread_calls_are_found_without_looking_at_the_others(database: Database) -> None:
    mail = await source(database)
    await keep(database, mail, *([] for _ in range(50)))
    async with database.batch() as db:
        await draining._oldest(db, 1)  # whatever it sets must not outlive it
        assert "on" == await db.fetchval("SHOW enable_bitmapscan")
        await db.execute("SET LOCAL enable_bitmapscan = off")
        plan = "\n".join(row[0] for row in await db.fetch(f"EXPLAIN {draining._OLDEST}", 500))

    assert "Index Scan using delivery_unread" in plan
    assert "Sort" not in plan
