"""What the stand-in Pipedrive tells by webhook, over HTTP to a server here, and how it tries again and gives up."""

import asyncio
import base64
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.sandbox.pipedrive_company import Company, Json
from tests.sandbox.receiver import Receiver, receiving, until


@pytest.fixture
async def acme() -> AsyncIterator[Company]:
    company = Company()
    yield company
    # Nothing is left to deliver, so that its task ends.
    company.crm.company.hooks.clear()
    company.crm.faults.hold_webhooks = False
    company.later(1_000)
    await until(lambda: waiting(company) == 0)
    await company.http.aclose()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


def waiting(acme: Company) -> int:
    return int(acme.crm.state()["webhooks"]["waiting"])


async def failed(acme: Company, attempts: int) -> None:
    """Waits until so many attempts were, and the stand-in has seen that they failed."""
    await until(lambda: acme.crm.state()["webhooks"]["failed"] == attempts)


async def subscribe(acme: Company, receiver: Receiver, entity: str = "person", action: str = "*", **more: Json) -> Json:
    body = {"subscription_url": receiver.url, "event_action": action, "event_object": entity, "name": "scoring", **more}
    return await acme.data("POST", "/api/v1/webhooks", body, 201)


async def test_a_person_is_told_of_with_typed_fields_and_what_they_were(acme: Company, receiver: Receiver) -> None:
    hook = await subscribe(acme, receiver, http_auth_user="pd", http_auth_password="s3cret")
    score = (await acme.field("Score", "double"))["field_code"]
    bounced = (await acme.field("Bounced", "enum", "Yes", "No"))["field_code"]
    number = await acme.person("Ann Lee", "ann@example.com")
    await acme.data("PATCH", f"/api/v2/persons/{number}", {"custom_fields": {score: 73, bounced: 1}})
    await acme.edit("delete", "person", number)
    await until(lambda: len(receiver.got) == 3)

    created, changed, deleted = receiver.got

    assert {
        "action": "change", "entity": "person", "company_id": "22122", "entity_id": "1", "is_bulk_edit": False,
        "timestamp": "2026-10-01T09:15:00.000Z", "type": "general", "user_id": "9", "version": "2.0",
        "webhook_id": str(hook["id"]), "webhook_owner_id": "9", "change_source": "api", "attempt": 1,
        "host": "acme-sales.pipedrive.com", "permitted_user_ids": ["7", "9"],
    } == {key: value for key, value in changed["meta"].items() if key not in ("id", "correlation_id")}  # fmt: skip
    assert 3 == len({message["meta"]["id"] for message in receiver.got})
    assert {score: {"type": "double", "value": 73}, bounced: {"type": "enum", "id": 1}} == changed["data"][
        "custom_fields"
    ]
    assert {"custom_fields": {score: None, bounced: None}} == changed["previous"]
    assert ("3", [{"value": "ann@example.com", "primary": True, "label": "work"}]) == (
        changed["data"]["visible_to"], changed["data"]["emails"]
    )  # fmt: skip
    assert ("create", None) == (created["meta"]["action"], created["previous"])
    assert ("delete", "app", "7", None) == (
        deleted["meta"]["action"], deleted["meta"]["change_source"], deleted["meta"]["user_id"], deleted["data"]
    )  # fmt: skip
    assert {"type": "double", "value": 73} == deleted["previous"]["custom_fields"][score]
    assert f"Basic {base64.b64encode(b'pd:s3cret').decode()}" == receiver.heads[0]["Authorization"]


async def test_a_merge_is_told_as_a_pair(acme: Company, receiver: Receiver) -> None:
    ann, bob = await acme.person("Ann"), await acme.person("Bob")
    await subscribe(acme, receiver)

    await acme.data("PUT", f"/api/v1/persons/{ann}/merge", {"merge_with_id": bob})
    await until(lambda: len(receiver.got) == 2)

    assert [("delete", "1", "2", None), ("change", "2", None, "1")] == [
        (meta["action"], meta["entity_id"], meta.get("merged_to_id"), meta.get("merged_from_id"))
        for meta in (message["meta"] for message in receiver.got)
    ]


async def test_one_write_is_told_once_and_one_that_changes_nothing_never(acme: Company, receiver: Receiver) -> None:
    score = (await acme.field("Score", "double"))["field_code"]
    number = await acme.person("Ann", "ann@example.com")
    await subscribe(acme, receiver, action="change")
    body = {"custom_fields": {score: 1}, "marketing_status": "unsubscribed"}

    for _ in range(2):
        await acme.data("PATCH", f"/api/v2/persons/{number}", body)
    acme.crm.faults.quiet_marketing_status = True
    await acme.edit("change", "person", number, marketing_status="subscribed")
    await acme.edit("change", "person", number, name="Last")
    await until(lambda: waiting(acme) == 0 and len(receiver.got) >= 2)

    assert [
        {"custom_fields": {score: None}, "marketing_status": "no_consent"},
        {"name": "Ann", "first_name": "Ann"},
    ] == [message["previous"] for message in receiver.got]


async def test_activities_and_leads_are_told_in_shapes_of_their_own(acme: Company, receiver: Receiver) -> None:
    await subscribe(acme, receiver, "*", "create")
    number = await acme.person("Ann")
    body = {"participants": [{"person_id": number}], "due_time": "15:00:00", "busy": True}
    await acme.data("POST", "/api/v2/activities", body)
    await acme.data("POST", "/api/v1/leads", {"title": "A", "person_id": number}, 201)
    await until(lambda: len(receiver.got) == 3)

    _, activity, lead = receiver.got

    assert ("activity", True, {"value": "15:00:00", "timezone_id": None}) == (
        activity["meta"]["entity"], activity["data"]["busy_flag"], activity["data"]["due_time"]
    )  # fmt: skip
    assert "participants" not in activity["data"]
    assert ("lead", number, {}) == (
        lead["meta"]["entity"], lead["data"]["person_id"], lead["data"]["custom_fields"]
    )  # fmt: skip


async def test_a_delivery_that_fails_is_tried_again_after_3_30_and_150_seconds(
    acme: Company, receiver: Receiver
) -> None:
    receiver.statuses = [500, 302, 404, 500]
    await subscribe(acme, receiver)
    await acme.person()

    for seconds, attempts in ((0, 1), (2.9, 1), (0.2, 2), (29.9, 2), (0.2, 3), (149.9, 3), (0.2, 4), (1_000, 4)):
        acme.later(seconds)
        # It is looked again 20 times a second: long enough to see that nothing comes.
        await asyncio.sleep(0.06)
        await failed(acme, attempts)
        assert list(range(1, attempts + 1)) == [message["meta"]["attempt"] for message in receiver.got]

    assert 1 == len({message["meta"]["id"] for message in receiver.got})
    assert {"waiting": 0, "delivered": 0, "failed": 4} == acme.crm.state()["webhooks"]


async def test_ten_events_that_fail_at_first_ban_a_hook_and_what_happens_meanwhile_is_lost(
    acme: Company, receiver: Receiver
) -> None:
    receiver.statuses = [503] * 10
    hook = await subscribe(acme, receiver)
    for at in range(10):
        await acme.person(f"Person {at}")
    await failed(acme, 10)

    await acme.person("Lost")
    acme.later(3)
    await until(lambda: waiting(acme) == 0)
    acme.later(30 * 60)
    await acme.person("Told again")
    await until(lambda: receiver.got[-1]["data"]["name"] == "Told again")

    assert "Lost" not in [message["data"]["name"] for message in receiver.got]
    [shown] = (await acme.call("GET", "/v1/webhooks")).json()["data"]
    assert (hook["id"], 200) == (shown["id"], shown["last_http_status"])


async def test_an_event_counts_once_towards_a_ban_however_often_it_fails(acme: Company, receiver: Receiver) -> None:
    receiver.statuses = [500] * 12
    await subscribe(acme, receiver)
    for at in range(3):
        await acme.person(f"Person {at}")
    for seconds, deliveries in ((0, 3), (3, 6), (30, 9), (150, 12)):
        acme.later(seconds)
        await failed(acme, deliveries)

    await acme.person("Told")

    await until(lambda: len(receiver.got) == 13)


async def test_a_hook_is_removed_after_three_days_without_success(acme: Company, receiver: Receiver) -> None:
    await subscribe(acme, receiver)
    receiver.statuses = [500] * 20
    acme.later(3 * 86_400 + 1)
    await acme.person()

    await until(lambda: not acme.crm.company.hooks)

    assert [] == (await acme.call("GET", "/v1/webhooks")).json()["data"]


async def test_deliveries_may_be_lost_twice_or_out_of_order(acme: Company, receiver: Receiver) -> None:
    await subscribe(acme, receiver)
    faults = acme.crm.faults
    faults.lose_webhooks = True
    await acme.person("Lost")
    faults.lose_webhooks, faults.hold_webhooks, faults.reverse_webhooks = False, True, True
    await acme.person("First")
    faults.duplicate_webhooks = True
    await acme.person("Second")
    assert 3 == waiting(acme)

    faults.hold_webhooks = False
    await until(lambda: len(receiver.got) == 3)

    assert ["Second", "Second", "First"] == [message["data"]["name"] for message in receiver.got]
    assert receiver.got[0]["meta"]["id"] == receiver.got[1]["meta"]["id"]


async def test_a_hook_at_which_nobody_listens_holds_up_no_other(acme: Company, receiver: Receiver) -> None:
    async with receiving() as gone:
        pass
    await subscribe(acme, gone)
    await subscribe(acme, receiver)

    await acme.person()
    await until(lambda: len(receiver.got) == 1)

    assert 1 == acme.crm.state()["webhooks"]["delivered"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"subscription_url": "ftp://example.com"}, "subscription_url"),
        ({"subscription_url": "x"}, "subscription_url"), ({"subscription_url": "http://[::1"}, "subscription_url"),
        ({"event_action": "added"}, "event_action"),
        ({"event_object": None}, "event_object"), ({"name": " "}, "name"), ({"version": "1.0"}, "version"),
        ({"user_id": 99}, "user_id"), ({"user_id": []}, "user_id"), ({"http_auth_user": 5}, "http_auth_user"),
    ],
)  # fmt: skip
async def test_a_webhook_that_cannot_be_is_refused(acme: Company, change: Json, named: str) -> None:
    body = {"subscription_url": "http://127.0.0.1:9/", "event_action": "*", "event_object": "person", "name": "A"}

    reply = await acme.call("POST", "/api/v1/webhooks", {**body, **change})

    assert (400, [named]) == (reply.status_code, list(reply.json()["errors"]))


async def test_webhooks_are_forty_to_a_user_and_an_app_sees_its_own(acme: Company, receiver: Receiver) -> None:
    made = [await subscribe(acme, receiver) for _ in range(40)]
    over = {"subscription_url": receiver.url, "event_action": "*", "event_object": "*", "name": "A"}
    access = (await acme.refresh())["access_token"]
    path = f"/v1/webhooks/{made[0]['id']}"

    assert 422 == (await acme.call("POST", "/v1/webhooks", over)).status_code
    assert [] == (await acme.as_app(access, "/v1/webhooks")).json()["data"]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(acme.crm.app), base_url="http://p.test") as http:
        reply = await http.delete(path, headers={"Authorization": f"Bearer {access}"})
        ours = {**over, "user_id": 7}
        own = (await http.post("/v1/webhooks", json=ours, headers={"Authorization": f"Bearer {access}"})).json()["data"]
    assert (403, {"success": False, "message": "Forbidden"}) == (reply.status_code, reply.json())
    assert [own] == (await acme.as_app(access, "/v1/webhooks")).json()["data"]
    assert ("application", 41) == (own["type"], len((await acme.call("GET", "/v1/webhooks")).json()["data"]))
    assert {"status": "ok", "success": True} == (await acme.call("DELETE", path)).json()
    gone = await acme.call("DELETE", path)
    assert (404, {"id": ["not found"]}) == (gone.status_code, gone.json()["errors"])
