"""What the stand-in Copper tells by webhook, over HTTP to a server here: at most once, late, or never."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.sandbox.copper_account import SECOND, Json, World, value
from tests.sandbox.receiver import Receiver, receiving, until


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


@pytest.fixture
async def acme() -> AsyncIterator[World]:
    world = World()
    yield world
    # Nothing is left to deliver, so that its task ends.
    world.crm.account.hooks.clear()
    world.crm.faults.hold_webhooks = False
    world.later(3_600)
    await until(lambda: told(world)["waiting"] == 0)
    await world.http.aclose()


def told(acme: World) -> dict[str, int]:
    counts: dict[str, int] = acme.crm.state()["webhooks"]
    return counts


async def subscribe(acme: World, receiver: Receiver, type_: str = "person", event: str = "update", **more: Json) -> int:
    body = {"target": receiver.url, "type": type_, "event": event, **more}
    return int((await acme.done("POST", "/webhooks", body))["id"])


async def test_a_webhook_is_made_listed_and_deleted_by_its_key_alone(acme: World) -> None:
    secret = {"secret": "Zk3", "key": "lead_scoring"}
    body = {"target": "https://score.test/hook", "type": "person", "event": "update", "secret": secret}

    made = await acme.done("POST", "/webhooks", body)

    assert {"id": 17065, **body, "created_at": SECOND} == made
    assert [made] == await acme.done("GET", "/webhooks")
    assert made == await acme.done("GET", "/webhooks/17065")
    assert [] == (await acme.call("GET", "/webhooks", headers=acme.restricted)).json()
    assert 404 == (await acme.call("DELETE", "/webhooks/17065", headers=acme.restricted)).status_code
    assert {"id": 17065} == await acme.done("DELETE", "/webhooks/17065")
    assert 404 == (await acme.call("GET", "/webhooks/17065")).status_code


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"url": "x", "type": None}, "Base: Unrecognized attributes specified: url\nType: can't be blank"),
        ({"type": "note"}, "Type: is not included in the list"),
        ({"event": "create"}, "Event: is not included in the list"),
        ({"target": "score.test"}, "Target: must be an https:// URL"),
        ({"target": "http://score.test:x/"}, "Target: must be an https:// URL"),
        ({"secret": "Zk3"}, "Secret: must be a hash of strings"),
        ({"headers": {"a": 1}}, "Headers: must be a hash of strings"),
    ],
)
async def test_a_webhook_that_is_not_right_is_refused(acme: World, change: Json, said: str) -> None:
    body = {"target": "http://score.test/hook", "type": "person", "event": "update", **change}

    assert (422, said) == await acme.refused("POST", "/webhooks", body)


async def test_an_account_has_a_hundred_webhooks_and_may_insist_on_https(acme: World) -> None:
    body = {"target": "http://score.test/hook", "type": "person", "event": "update"}
    statuses = [(await acme.call("POST", "/webhooks", body)).status_code for _ in range(101)]

    assert [200] * 100 + [422] == statuses
    acme.crm.account.hooks.clear()
    acme.crm.faults.secure_hooks_only = True
    assert 422 == (await acme.call("POST", "/webhooks", body)).status_code


async def test_a_notification_has_the_secret_at_its_top_and_what_was_and_is(acme: World, receiver: Receiver) -> None:
    score = (await acme.field("Score", "Float"))["id"]
    person = await acme.person("Ann", "ann@example.com", title="CTO")
    hook = await subscribe(acme, receiver, secret={"secret": "Zk3", "key": "lead_scoring"}, headers={"X-Token": "t0k"})

    await acme.done("PUT", f"/people/{person}", {"title": "CEO", "custom_fields": value(score, 73)})
    await until(lambda: len(receiver.got) == 1)

    assert {
        "ids": [person], "type": "person", "event": "update", "subscription_id": hook, "secret": "Zk3",
        "key": "lead_scoring",
        "updated_attributes": {"title": ["CTO", "CEO"], "custom_fields": [value(score, None), value(score, 73.0)]},
    } == receiver.got[0]  # fmt: skip
    assert "t0k" == receiver.heads[0]["x-token"]


async def test_an_event_is_told_to_who_asked_for_it_and_to_nobody_else(acme: World, receiver: Receiver) -> None:
    for type_ in ("person", "lead", "activity_log"):
        for event in ("new", "update", "delete"):
            await subscribe(acme, receiver, type_, event)
    person, lead = await acme.person("Ann"), await acme.lead("Bob")
    call = await acme.note("person", person)
    await acme.done("PUT", f"/people/{person}", {"name": "Ann"})
    await acme.done("PUT", f"/leads/{lead}", {"name": "Robert"})
    await acme.done("PUT", f"/activities/{call}", {"details": "x"})
    acme.crm.faults.hooks_of_new_activities_only = True
    await acme.done("PUT", f"/activities/{call}", {"details": "y"})
    await acme.done("DELETE", f"/leads/{lead}")
    await until(lambda: len(receiver.got) == 6)

    seen = {(one["type"], one["event"], *one["ids"], "updated_attributes" in one) for one in receiver.got}
    assert {
        ("person", "new", person, False), ("lead", "new", lead, False), ("activity_log", "new", call, False),
        ("lead", "update", lead, True), ("activity_log", "update", call, True), ("lead", "delete", lead, False),
    } == seen  # fmt: skip


async def test_thirty_ids_go_into_one_notification_with_one_map_for_all(acme: World, receiver: Receiver) -> None:
    await subscribe(acme, receiver)
    numbers = [await acme.person(f"Person {at}") for at in range(33)]
    acme.crm.faults.hold_webhooks = True
    for at, number in enumerate((*numbers, numbers[0])):
        await acme.done("PUT", f"/people/{number}", {"title": f"Title {at}"})
    assert (34, []) == (told(acme)["waiting"], receiver.got)

    acme.crm.faults.hold_webhooks = False
    await until(lambda: len(receiver.got) == 2)

    many, few = sorted(receiver.got, key=lambda one: -len(one["ids"]))
    assert (numbers[:30], [*numbers[30:], numbers[0]]) == (many["ids"], few["ids"])
    assert ({"title": [None, "Title 29"]}, {"title": ["Title 0", "Title 33"]}) == (
        many["updated_attributes"], few["updated_attributes"]
    )  # fmt: skip


async def test_a_notification_may_be_a_quarter_of_an_hour_late(acme: World, receiver: Receiver) -> None:
    acme.crm.faults.webhook_delay_s = 900
    await subscribe(acme, receiver, event="new")
    await acme.person()
    acme.later(899)
    await asyncio.sleep(0.1)
    assert [] == receiver.got

    acme.later(1)
    await until(lambda: len(receiver.got) == 1)


async def test_what_is_not_taken_or_too_much_is_lost_for_good(acme: World, receiver: Receiver) -> None:
    receiver.statuses = [503]
    await subscribe(acme, receiver, event="new")
    await acme.person()
    await until(lambda: told(acme)["failed"] == 1)
    acme.later(3_600)
    await asyncio.sleep(0.1)
    assert (1, 0) == (len(receiver.got), told(acme)["waiting"])

    acme.crm.faults.lose_webhooks = True
    await acme.person()
    assert {"waiting": 0, "delivered": 0, "failed": 1, "lost": 1} == told(acme)


async def test_a_minute_has_room_for_so_many_notifications_and_loses_the_rest(acme: World, receiver: Receiver) -> None:
    acme.crm.faults.notifications_per_minute = 2
    acme.crm.faults.hold_webhooks = True
    for _ in range(3):
        await subscribe(acme, receiver, event="new")
    await acme.person()

    acme.crm.faults.hold_webhooks = False
    await until(lambda: told(acme)["waiting"] == 0 and told(acme)["delivered"] == 2)

    assert 1 == told(acme)["lost"]
    acme.later(60)
    await acme.person()
    await until(lambda: told(acme)["delivered"] == 4)
    assert 2 == told(acme)["lost"]
