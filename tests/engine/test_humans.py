"""Who opened and clicked: a table of signals, and marks that are the same whatever the order in which facts arrive."""

from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.engine import humans, marking
from app.engine.humans import UNKNOWN, Mark, Seen, judge
from app.store.db import Database
from tests.engine.worlds import NOON, World, event, per_event

CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36"
OUTLOOK = "Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.17830; Pro)"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148"


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


def seen(type_: str, after: float = 0, /, **said: Any) -> Seen:  # Any: JSON
    return humans.seen(uuid4(), type_, NOON + timedelta(seconds=after), {"message_id": "m", **said})


def mark_of(one: Seen, *beside: Seen) -> Mark:
    return judge([one, *beside])[one.id]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"machine": True}, Mark(False, "provider")),
        ({"user_agent": "Mozilla/5.0"}, Mark(False, "privacy_proxy")),
        ({"user_agent": "Mozilla/5.0 (Windows NT 5.1) (via ggpht.com GoogleImageProxy)"}, Mark(None, "proxy")),
        ({"user_agent": "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy"}, Mark(None, "proxy")),
        ({"user_agent": "Barracuda Sentinel (EE)"}, Mark(False, "user_agent")),
        ({"user_agent": "python-requests/2.32"}, Mark(False, "user_agent")),
        ({"user_agent": "Mozilla/5.0 (compatible; bingbot/2.0)"}, Mark(False, "user_agent")),
        ({"user_agent": CHROME, "ip": "64.235.150.7"}, Mark(False, "network")),
        ({"user_agent": OUTLOOK}, Mark(True, "user_agent")),
        ({"user_agent": IPHONE}, Mark(True, "user_agent")),
        ({"user_agent": CHROME, "ip": "192.0.2.1"}, UNKNOWN),
        ({"user_agent": CHROME, "ip": "nowhere"}, UNKNOWN),
        ({"user_agent": 5, "ip": None, "machine": "yes"}, UNKNOWN),
        ({}, UNKNOWN),
    ],
)  # fmt: skip
def test_an_opening_is_judged_by_who_fetched_it(said: dict[str, Any], expected: Mark) -> None:
    assert expected == mark_of(seen("email.opened", **said))


OPENED_BEFORE = seen("email.opened", -30, user_agent=OUTLOOK)
FIRST = Mark(True, "opened_first")
A, B = "https://example.com/a", "https://example.com/b"


@pytest.mark.parametrize(
    ("said", "beside", "expected"),
    [
        ({"user_agent": CHROME, "url": A}, [OPENED_BEFORE], FIRST),
        ({"user_agent": CHROME, "url": A}, [seen("email.opened", -30, machine=True)], UNKNOWN),
        ({"user_agent": CHROME, "url": A}, [seen("email.opened", -30, message_id="other")], UNKNOWN),
        ({"user_agent": CHROME, "url": A}, [seen("email.opened", 30)], UNKNOWN),
        ({"user_agent": CHROME, "url": A}, [seen("email.opened", -3601)], UNKNOWN),
        ({"user_agent": CHROME, "url": A}, [seen("email.delivered", -5)], Mark(False, "click_before_open")),
        ({"user_agent": CHROME, "url": A}, [seen("email.sent", -60)], Mark(False, "click_before_open")),
        ({"user_agent": CHROME, "url": A}, [seen("email.delivered", -61)], UNKNOWN),
        ({"user_agent": CHROME, "url": A}, [seen("email.delivered", -40), OPENED_BEFORE], FIRST),
        ({"user_agent": CHROME, "url": A}, [OPENED_BEFORE, seen("email.clicked", 1, url=B)], Mark(False, "burst")),
        ({"user_agent": CHROME, "url": A}, [OPENED_BEFORE, seen("email.clicked", 1, url=A)], FIRST),
        ({"user_agent": CHROME, "url": A}, [OPENED_BEFORE, seen("email.clicked", 2, url=B)], FIRST),
        ({"url": A, "hidden": True}, [OPENED_BEFORE], Mark(False, "hidden_link")),
        ({"url": "https://example.com/leadtally-trap/x"}, [OPENED_BEFORE], Mark(False, "hidden_link")),
        ({"url": A}, [OPENED_BEFORE, seen("email.clicked", 20, hidden=True)], Mark(False, "hidden_link")),
        ({"url": A}, [seen("email.clicked", 61, hidden=True)], UNKNOWN),
        ({"user_agent": "curl/8.5", "url": A}, [OPENED_BEFORE], Mark(False, "user_agent")),
        ({"url": "http://[leadtally-trap"}, [], UNKNOWN),
    ],
)  # fmt: skip
def test_a_click_is_judged_beside_what_happened_to_the_same_message(
    said: dict[str, Any], beside: list[Seen], expected: Mark
) -> None:
    assert expected == mark_of(seen("email.clicked", **said), *beside)


def test_only_openings_and_clicks_are_marked() -> None:
    assert {} == judge([seen("email.sent"), seen("email.delivered", machine=True)])


HUMANS = {"field": "event.human", "operator": "=", "value": True}
MACHINES = {"field": "event.human", "operator": "=", "value": "false"}
RULES = [per_event(HUMANS, 1), per_event(MACHINES, 100), per_event({**HUMANS, "operator": "null"}, 10_000)]

happenings = st.lists(
    st.tuples(
        st.sampled_from(["email.sent", "email.delivered", "email.opened", "email.clicked", "email.clicked"]),
        st.sampled_from([0, 0.5, 1, 30, 61, 1_800, 4_000]),
        st.sampled_from(["m1", "m2"]),
        st.sampled_from([A, B]),
        st.sampled_from(["", CHROME, OUTLOOK, "curl/8"]),
        st.sampled_from([False, False, False, True]),
    ),
    min_size=1,
    max_size=14,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=happenings, seed=st.integers(0, 2**32))
async def test_marks_tallies_and_scores_are_the_same_for_any_order_and_any_batches(
    world: World, said: list[tuple[Any, ...]], seed: int
) -> None:
    await world.clear()
    await world.publish("m", *RULES)
    random = Random(seed)
    events = [
        event(type_, when=later(after), message_id=message, url=url, user_agent=agent, hidden=hidden)
        for type_, after, message, url, agent, hidden in said
    ]
    arriving = random.sample(events, k=len(events))
    while arriving:
        size = random.randint(1, 4)
        await world.send(*arriving[:size])
        arriving = arriving[size:]

    await marking.remark(world.database, world.plans)

    rows = await world.rows("SELECT id, type, occurred_at, properties, human, human_by FROM event")
    expected = judge(humans.seen(*(row[name] for name in ("id", "type", "occurred_at", "properties"))) for row in rows)
    assert expected == {row["id"]: Mark(row["human"], row["human_by"]) for row in rows if row["id"] in expected}
    worth = {True: 1, False: 100, None: 10_000}
    assert sum(worth[row["human"]] for row in rows) == await world.score()


def later(seconds: float) -> datetime:
    return NOON - timedelta(hours=3) + timedelta(seconds=seconds)


async def test_a_new_edition_marks_history_anew_and_tallies_and_scores_follow(world: World) -> None:
    await world.publish("m", per_event(MACHINES, 5))
    opening = event("email.opened", user_agent="curl/8")
    await world.send(opening, event("email.opened", who="bo@example.com"))
    assert 5 == await world.score()
    async with world.database.batch() as db:  # as an edition that knew nothing of it left it
        await db.execute("UPDATE event SET human = NULL, human_by = NULL")
        await db.execute("DELETE FROM tally")
        await db.execute("UPDATE marking SET edition = $1", humans.EDITION - 1)

    async with world.database.batch() as db:
        assert await marking.note_everybody(db)
        assert not await marking.note_everybody(db)
    assert 2 == await marking.remark(world.database, world.plans)

    assert [True] == [row["is_right"] for row in await world.rows(
        "SELECT human IS FALSE AND human_by = 'user_agent' AS is_right FROM event WHERE id = $1", opening.id
    )]  # fmt: skip
    assert 5 == await world.score()
    assert 0 == await marking.remark(world.database, world.plans)


async def test_an_event_that_says_nothing_new_notes_nobody(world: World) -> None:
    await world.send(event("email.opened", when=later(0), message_id="m", user_agent=OUTLOOK))
    await world.send(event("email.clicked", when=later(9), message_id="m", url=A, user_agent=CHROME))
    await world.send(event("email.clicked", when=later(19), message_id="m", url=B, user_agent=CHROME))
    assert [] == await world.rows("SELECT * FROM remark")

    await world.send(event("email.clicked", when=later(19.5), message_id="m", url=A, user_agent=CHROME))
    assert 1 == len(await world.rows("SELECT * FROM remark"))


async def test_rules_that_do_not_ask_are_not_counted_anew(world: World) -> None:
    await world.publish("m", per_event("email.clicked", 1))
    for seconds in (0, 0.5):
        await world.send(event("email.clicked", when=later(seconds), message_id="m", url=f"{A}{seconds}"))

    await marking.remark(world.database, world.plans)

    assert [False, False] == [row["human"] for row in await world.rows("SELECT human FROM event")]
    assert 2 == await world.score()
