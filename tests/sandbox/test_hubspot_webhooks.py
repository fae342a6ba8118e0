"""What the stand-in HubSpot tells by webhook, over HTTP to a server here, how it signs it and tries again."""

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator

import orjson
import pytest

from tests.sandbox.hubspot_account import CONTACTS, Account, Json
from tests.sandbox.receiver import Receiver, receiving, until


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving("/hook?crm=1") as made:
        yield made


@pytest.fixture
async def acme(receiver: Receiver) -> AsyncIterator[Account]:
    """Its private app is told what happens to contacts, and which of their cities change."""
    account = Account()
    await account.edit("change", "webhooks", targetUrl=receiver.url)
    for kind in ("creation", "deletion", "privacyDeletion", "merge", "restore"):
        await account.edit("create", "subscription", eventType=f"contact.{kind}")
    for name in ("city", "hs_email_optout"):
        await account.edit("create", "subscription", eventType="contact.propertyChange", propertyName=name)
    yield account
    # Nothing is left to deliver, so that its task ends.
    for app in account.crm.portal.apps.values():
        app.target_url = None
    account.crm.faults.hold_webhooks = False
    account.later(10 * 86_400)
    await until(lambda: waiting(account) == 0)
    await account.http.aclose()


def waiting(acme: Account) -> int:
    return int(acme.crm.state()["webhooks"]["waiting"])


def events(receiver: Receiver) -> list[Json]:
    """Of all deliveries."""
    return [event for body in receiver.got for event in body]


async def told(receiver: Receiver, count: int) -> list[Json]:
    await until(lambda: len(events(receiver)) >= count)
    assert count == len(events(receiver))
    return events(receiver)


async def failed(acme: Account, count: int) -> None:
    await until(lambda: acme.crm.state()["webhooks"]["failed"] == count)


async def test_changes_are_told_as_arrays_with_who_made_them(acme: Account, receiver: Receiver) -> None:
    ann = await acme.contact("ann@example.com")
    await acme.edit("change", "contact", ann, city="Tartu", firstname="Ann")
    await acme.edit("opt_out", "contact", ann)

    created, changed, opted_out = await told(receiver, 3)

    assert {
        "eventId": 101, "subscriptionId": 6, "portalId": 62_515, "appId": 54_321, "occurredAt": 1_790_846_100_301,
        "subscriptionType": "contact.propertyChange", "attemptNumber": 0, "objectId": int(ann),
        "propertyName": "city", "propertyValue": "Tartu", "changeSource": "CRM_UI", "sourceId": "userId:7",
    } == changed  # fmt: skip
    assert ("contact.creation", "CREATED", "INTEGRATION", "54321") == tuple(
        created[name] for name in ("subscriptionType", "changeFlag", "changeSource", "sourceId")
    )
    assert ("hs_email_optout", "true") == (opted_out["propertyName"], opted_out["propertyValue"])
    assert all(isinstance(orjson.loads(body), list) for body in receiver.bodies)


async def test_what_ends_a_contact_is_told(acme: Account, receiver: Receiver) -> None:
    ann, bob, cid = [await acme.contact(f"{name}@example.com") for name in ("ann", "bob", "cid")]
    await acme.edit("merge", "contact", bob, into=ann)
    await acme.edit("delete", "contact", cid)
    await acme.edit("restore", "contact", cid)
    await acme.edit("purge", "contact", cid)

    merged, deleted, restored, purged = (await told(receiver, 7))[3:]

    assert {
        "primaryObjectId": int(ann), "mergedObjectIds": [int(bob)], "newObjectId": int(ann),
        "numberOfPropertiesMoved": 0, "subscriptionType": "contact.merge", "objectId": int(ann),
    } == {name: merged[name] for name in (
        "primaryObjectId", "mergedObjectIds", "newObjectId", "numberOfPropertiesMoved", "subscriptionType", "objectId"
    )}  # fmt: skip
    assert ["contact.deletion", "contact.restore", "contact.privacyDeletion"] == [
        one["subscriptionType"] for one in (deleted, restored, purged)
    ]
    assert {int(cid)} == {one["objectId"] for one in (deleted, restored, purged)}


def signed(acme: Account, receiver: Receiver, at: int = -1) -> tuple[str, str]:
    """What the headers should say: of the older version, and of the third."""
    secret, body = acme.keys["app_client_secret"].encode(), receiver.bodies[at]
    stamp = receiver.heads[at]["X-HubSpot-Request-Timestamp"].encode()
    whole = b"POST" + receiver.url.encode() + body + stamp
    return hashlib.sha256(secret + body).hexdigest(), base64.b64encode(hmac.digest(secret, whole, "sha256")).decode()


async def test_deliveries_are_signed_rightly_wrongly_or_long_ago(acme: Account, receiver: Receiver) -> None:
    await acme.contact("ann@example.com")
    await told(receiver, 1)
    head = receiver.heads[0]
    assert signed(acme, receiver) == (head["X-HubSpot-Signature"], head["X-HubSpot-Signature-v3"])
    assert "1790846100301" == head["X-HubSpot-Request-Timestamp"]

    acme.crm.faults.wrong_signatures = True
    await acme.contact("bob@example.com")
    await told(receiver, 2)
    assert signed(acme, receiver)[1] != receiver.heads[1]["X-HubSpot-Signature-v3"]

    acme.crm.faults.wrong_signatures, acme.crm.faults.stale_signatures = False, True
    await acme.contact("cid@example.com")
    await told(receiver, 3)
    head = receiver.heads[2]
    assert (signed(acme, receiver)[1], "1790845500301") == (
        head["X-HubSpot-Signature-v3"], head["X-HubSpot-Request-Timestamp"]
    )  # fmt: skip

    acme.crm.faults.no_v3_signature = True
    await acme.contact("dan@example.com")
    await told(receiver, 4)
    assert "X-HubSpot-Signature-v3" not in receiver.heads[3]


async def test_a_delivery_that_fails_is_tried_again_for_a_day(acme: Account, receiver: Receiver) -> None:
    receiver.statuses = [500, 404] + [503] * 9
    await acme.contact("ann@example.com")

    for attempt in range(11):
        await failed(acme, attempt + 1)
        acme.later(360 * 60)
    await until(lambda: waiting(acme) == 0)

    assert list(range(11)) == [event["attemptNumber"] for event in events(receiver)]
    assert {100} == {event["eventId"] for event in events(receiver)}


async def test_events_come_twice_late_in_another_order_or_never(acme: Account, receiver: Receiver) -> None:
    faults = acme.crm.faults
    faults.duplicate_webhooks = faults.hold_webhooks = faults.reverse_webhooks = True
    ann = await acme.contact("ann@example.com")
    await acme.edit("change", "contact", ann, city="Tartu")
    assert 4 == waiting(acme)

    faults.hold_webhooks = False
    events = await told(receiver, 4)

    assert [101, 101, 100, 100] == [event["eventId"] for event in events]
    assert 1 == len(receiver.bodies)
    faults.lose_webhooks = True
    await acme.contact("bob@example.com")
    assert 0 == waiting(acme)


async def test_a_public_app_subscribes_with_the_key_of_its_developer(acme: Account, receiver: Receiver) -> None:
    app, key = f"/webhooks/v3/{acme.keys['oauth_app_id']}", f"?hapikey={acme.keys['developer_key']}"
    throttling = {"maxConcurrentRequests": 5}
    await acme.fault("GET", f"{app}/settings{key}", status=404)
    await acme.fault("GET", f"{app}/settings", status=401)
    await acme.fault("GET", f"/webhooks/v3/{acme.keys['app_id']}/settings{key}", status=404)

    settings = await acme.data("PUT", f"{app}/settings{key}", {"targetUrl": receiver.url, "throttling": throttling})
    body = {"eventType": "object.propertyChange", "objectTypeId": "0-48", "propertyName": "hs_call_status"}
    made = await acme.data("POST", f"{app}/subscriptions{key}", body, 201)
    path = f"{app}/subscriptions/{made['id']}{key}"

    assert (receiver.url, 5) == (settings["targetUrl"], settings["throttling"]["maxConcurrentRequests"])
    assert settings == await acme.data("GET", f"{app}/settings{key}")
    assert (False, "hs_call_status") == (made["active"], made["propertyName"])
    await acme.fault("POST", f"{app}/subscriptions{key}", body)
    assert (await acme.data("PATCH", path, {"active": True}))["active"]
    await acme.edit("create", "call", hs_call_status="COMPLETED")
    [event] = await told(receiver, 1)
    assert (19_083_857, "0-48", "object.propertyChange") == (
        event["appId"], event["objectTypeId"], event["subscriptionType"]
    )  # fmt: skip
    assert [made["id"]] == [one["id"] for one in (await acme.data("GET", f"{app}/subscriptions{key}"))["results"]]
    await acme.data("DELETE", path, status=204)
    await acme.fault("GET", path, status=404)
    await acme.data("DELETE", f"{app}/settings{key}", status=204)
    await acme.edit("delete", "subscription", 1)


@pytest.mark.parametrize(
    "body",
    [
        {"eventType": "contact.change"}, {"eventType": "contact.propertyChange"}, {},
        {"eventType": "contact.creation", "propertyName": "city"}, {"eventType": "object.creation"},
        {"eventType": "contact.creation", "objectTypeId": "0-1"}, {"eventType": "contact.merge", "colour": "red"},
    ],
)  # fmt: skip
async def test_a_subscription_that_cannot_be_is_refused(acme: Account, body: Json) -> None:
    path = f"/webhooks/v3/{acme.keys['oauth_app_id']}/subscriptions?hapikey={acme.keys['developer_key']}"

    await acme.fault("POST", path, body)


async def test_many_events_go_out_a_hundred_at_a_time(acme: Account, receiver: Receiver) -> None:
    acme.crm.faults.hold_webhooks = True
    rows = [{"properties": {"email": f"p{number}@example.com"}} for number in range(100)]
    for first in (0, 60):
        await acme.data("POST", f"{CONTACTS}/batch/create", {"inputs": rows[first : first + 60]}, 201)
    await acme.contact("last@example.com")

    acme.crm.faults.hold_webhooks = False
    await told(receiver, 101)

    assert [100, 1] == [len(orjson.loads(body)) for body in receiver.bodies]
