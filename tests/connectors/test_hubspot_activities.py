"""What was done with people in HubSpot, and what HubSpot's own calls to us tell."""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Sequence
from datetime import timedelta

import orjson
import pytest

from app import clock
from app.connectors.hubspot import notices
from app.connectors.shapes import Activity, Call, Connector, Key
from tests.connectors.hubspot_account import CONTACT, HOOK, Account, Json, all_activities, until

URL = "https://here.example/hook/secret"


def named(activities: Sequence[Activity]) -> dict[str, Activity]:
    return {one.type: one for one in activities if one.people}


# --- activities -------------------------------------------------------------------------------------------------------
async def test_each_type_is_read_with_all_its_people(hubspot: Account) -> None:
    ann, bob = await hubspot.contact("ann@example.com"), await hubspot.contact("bob@example.org")
    both, at = [ann, bob], "2026-01-02T03:04:05.000Z"
    call = {"hs_call_title": "Hello", "hs_call_direction": "INBOUND", "hs_call_duration": "61500"}
    await hubspot.edit("create", "call", hs_call_status="COMPLETED", hs_timestamp=at, contacts=both, **call)
    await hubspot.edit("create", "meeting", hs_meeting_outcome="COMPLETED", hs_activity_type="Webinar", contacts=[bob])
    await hubspot.edit("create", "communication", hs_communication_channel_type="SMS", contacts=[ann])
    await hubspot.edit("create", "task", hs_task_status="COMPLETED", hs_task_priority="HIGH", contacts=[ann])
    await hubspot.edit("create", "email", hs_email_direction="INCOMING_EMAIL", contacts=[ann])

    found, _ = await all_activities(hubspot.connect())

    seen = named(found)
    assert {"call", "meeting", "sms", "task"} == seen.keys()
    assert {Key(CONTACT, ann), Key(CONTACT, bob)} == set(seen["call"].people)
    assert {"subject": "Hello", "direction": "inbound", "status": "completed", "duration_s": 61} == (
        seen["call"].properties
    )
    assert "2026-01-02T03:04:05+00:00" == seen["call"].at.isoformat()
    assert {"outcome": "completed", "activity_type": "Webinar"} == seen["meeting"].properties
    assert "high" == seen["task"].properties["priority"]
    assert 4 == len({one.id for one in found})


async def test_only_what_has_happened_has_people(hubspot: Account) -> None:
    ann = await hubspot.contact("ann@example.com")
    soon = (clock.now() + timedelta(days=3)).isoformat()
    for status in ("NO_ANSWER", "QUEUED", "CANCELED"):
        await hubspot.edit("create", "call", hs_call_status=status, contacts=[ann])
    for outcome in ("SCHEDULED", "NO_SHOW", "CANCELED", "RESCHEDULED"):
        await hubspot.edit("create", "meeting", hs_meeting_outcome=outcome, contacts=[ann])
    await hubspot.edit("create", "meeting", hs_timestamp=soon, contacts=[ann])
    await hubspot.edit("create", "task", hs_task_status="WAITING", contacts=[ann])
    await hubspot.edit("create", "call", hs_call_status="COMPLETED")

    found, _ = await all_activities(hubspot.connect())
    assert (10, {}) == (len(found), named(found))

    by_hand = await hubspot.edit("create", "meeting", contacts=[ann])
    due = await hubspot.edit("create", "task", hs_task_status="COMPLETED", hs_timestamp=soon, contacts=[ann])
    seen = named((await all_activities(hubspot.connect()))[0])
    assert (f"meetings:{by_hand['id']}", f"tasks:{due['id']}") == (seen["meeting"].id, seen["task"].id)
    assert seen["task"].at <= clock.now() + timedelta(seconds=1)


async def test_a_look_is_four_searches_and_people_are_asked_for_only_of_what_is_new(hubspot: Account) -> None:
    ann = await hubspot.contact("ann@example.com")
    for n in range(3):
        await hubspot.edit("create", "call", hs_call_title=str(n), hs_call_status="COMPLETED", contacts=[ann])
    connector = hubspot.connect()
    _, cursor = await all_activities(connector)
    # What was hardly over is read once more.
    hubspot.later(60)
    _, cursor = await all_activities(connector, cursor)
    hubspot.front.calls.clear()

    await all_activities(connector, cursor)

    assert (4, 0) == (len(hubspot.front.named("/search")), len(hubspot.front.named("associations")))


async def test_mail_is_read_if_somebody_chooses_so_and_only_real_mail(hubspot: Account) -> None:
    ann = await hubspot.contact("ann@example.com")
    sent = [("EMAIL", "SENT"), ("EMAIL", "SCHEDULED"), ("EMAIL", "BOUNCED")]
    for direction, status in sent:
        await hubspot.edit("create", "email", hs_email_direction=direction, hs_email_status=status, contacts=[ann])
    await hubspot.edit("create", "email", hs_email_direction="INCOMING_EMAIL", contacts=[ann])

    found, cursor = await all_activities(hubspot.connect(emails=True))
    assert ["email", "email_received"] == sorted(one.type for one in found if one.people)
    # Whoever chooses otherwise later goes on.
    assert [] == (await all_activities(hubspot.connect(), cursor))[0]


async def test_older_ways_to_ask_for_people_do_as_well(hubspot: Account) -> None:
    ann = await hubspot.contact("ann@example.com")
    call = await hubspot.edit("create", "call", hs_call_status="COMPLETED", contacts=[ann])

    def answers(path: str, _: Json) -> tuple[int, Json] | None:
        if "/v4/associations" in path:
            return 404, {"status": "error", "message": "Not Found"}
        rows = [{"from": {"id": call["id"]}, "to": [{"id": ann, "type": "call_to_contact"}]}]
        return (200, {"status": "COMPLETE", "results": rows}) if "/v3/associations" in path else None

    hubspot.front.answers = answers
    found, _ = await all_activities(hubspot.connect())

    assert [(Key(CONTACT, ann),)] == [one.people for one in found]


async def test_activities_that_may_not_be_read_are_none(hubspot: Account) -> None:
    hubspot.faults.withheld_scopes = ["crm.objects.contacts.read"]

    assert [] == (await all_activities(hubspot.connect()))[0]


# --- notices ----------------------------------------------------------------------------------------------------------
async def told(hubspot: Account, *, count: int = 1) -> list[Call]:
    """What the private app is told of a new contact and a merge, over a real socket."""
    await hubspot.edit("change", "webhooks", targetUrl=f"{hubspot.url}{HOOK}")
    for kind in ("creation", "merge"):
        await hubspot.edit("create", "subscription", eventType=f"contact.{kind}")
    await hubspot.contact("ann@example.com")
    await until(lambda: len(hubspot.front.hooked) >= count)
    return hubspot.front.hooked


def signing(hubspot: Account, **choices: Json) -> Connector:
    known = hubspot.crm.credentials(hubspot.url)
    keys = {"access_token": known["access_token"], "client_secret": known["app_client_secret"]}
    return hubspot.connect(keys=keys, **choices)


async def test_a_call_that_is_signed_is_believed_and_changed_or_stale_it_is_not(hubspot: Account) -> None:
    connector, [call] = signing(hubspot), await told(hubspot)

    assert [CONTACT] == [one.key.object for one in connector.read_notice(call).hints]
    changed = orjson.dumps([{**orjson.loads(call.body)[0], "objectId": 7}])
    for other in (
        call._replace(body=changed),
        call._replace(url=f"{call.url}?more"),
        call._replace(headers={**call.headers, "x-hubspot-request-timestamp": "1790845200301"}),
        call._replace(headers={**call.headers, "x-hubspot-request-timestamp": "soon"}),
        call._replace(headers={**call.headers, "x-hubspot-signature-v3": "ï"}),
        call._replace(headers={}),
    ):
        with pytest.raises(ValueError, match="signed"):
            connector.read_notice(other)
    hubspot.later(301)
    with pytest.raises(ValueError, match="another time"):
        connector.read_notice(call)


@pytest.mark.parametrize(
    ("switch", "is_believed"), [("wrong_signatures", False), ("stale_signatures", False), ("no_v3_signature", True)]
)
async def test_signatures_as_hubspot_may_send_them(hubspot: Account, switch: str, *, is_believed: bool) -> None:
    setattr(hubspot.faults, switch, True)
    connector, [call] = signing(hubspot), await told(hubspot)

    if is_believed:
        assert 1 == len(connector.read_notice(call).hints)
        with pytest.raises(ValueError, match="not signed"):
            connector.read_notice(call._replace(body=call.body + b" "))
    else:
        with pytest.raises(ValueError, match="signed"):
            connector.read_notice(call)


def test_the_signature_is_that_of_the_documents() -> None:
    """By hand, as HubSpot's documents have it: method, address, body and time."""
    stamp, body = str(int(clock.now().timestamp() * 1_000)), b'[{"subscriptionType":"contact.creation"}]'
    signed = b64encode(hmac.new(b"secret", f"POST{URL}".encode() + body + stamp.encode(), hashlib.sha256).digest())
    headers = {"x-hubspot-signature-v3": signed.decode(), "x-hubspot-request-timestamp": stamp}

    with pytest.raises(ValueError, match="no event"):
        notices.read(Call(URL, headers, body), "secret", None)
    with pytest.raises(ValueError, match="not signed"):
        notices.read(Call(URL, headers, body), "another", None)


def event(kind: str, **more: Json) -> Json:
    return {"subscriptionType": kind, "portalId": 62_515, **more}


def hints(hubspot: Account, *events: Json, **choices: Json) -> list[tuple[str, str | None]]:
    notice = hubspot.connect(**choices).read_notice(Call(URL, {}, orjson.dumps(events)))
    return [(one.key.id, one.successor and one.successor.id) for one in notice.hints]


async def test_events_are_hints_each_once_and_of_our_account_alone(hubspot: Account) -> None:
    some = [event("contact.propertyChange", objectId=7, propertyName="email"), event("contact.deletion", objectId=7)]
    other = {**event("contact.creation", objectId=8), "portalId": 1}

    assert [("7", None), ("8", None)] == hints(hubspot, *some, other)
    assert [("7", None)] == hints(hubspot, *some, other, portal_id=62_515)
    assert [("9", None)] == hints(hubspot, event("object.creation", objectId=9, objectTypeId="0-1"))
    assert [] == hints(hubspot, event("company.creation", objectId=9))


async def test_a_merge_says_who_became_whom(hubspot: Account) -> None:
    of_two = event("contact.merge", objectId=7, primaryObjectId=7, mergedObjectIds=[8], newObjectId=7)
    third = event("contact.merge", objectId=7, primaryObjectId=7, mergedObjectIds=[8], newObjectId=9)

    assert [("8", "7"), ("7", None)] == hints(hubspot, of_two)
    assert [("7", "9"), ("8", "9"), ("9", None)] == hints(hubspot, third)


async def test_a_call_that_was_logged_is_a_reason_to_look(hubspot: Account) -> None:
    notice = hubspot.connect().read_notice(
        Call(URL, {}, orjson.dumps([event("object.creation", objectId=9, objectTypeId="0-48")]))
    )

    assert ([], True) == (notice.hints, notice.is_activity)


@pytest.mark.parametrize(
    "body",
    [
        b"[]", b"{}", b"[1]", b'[{"subscriptionType":"contact.creation","objectId":7}]', b"[" * 3_000,
        b'[{"subscriptionType":"contact.creation","portalId":1,"objectId":"7;8"}]',
        b'[{"subscriptionType":"contact.creation","portalId":1,"objectId":true}]',
        b'[{"subscriptionType":"contact.merge","portalId":1,"newObjectId":7,"mergedObjectIds":[{}]}]',
    ],
)  # fmt: skip
async def test_what_is_no_list_of_events_is_no_notice(hubspot: Account, body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
        hubspot.connect().read_notice(Call(URL, {}, body))


async def test_how_to_be_told_is_said_for_either_kind_of_app(hubspot: Account) -> None:
    private, public = [await hubspot.connect(flow).subscribe(URL, "us", "pw") for flow in ("private_app", "oauth")]

    assert (True, True) == ("Private Apps" in str(private), "developer account" in str(public))
    assert (True, True) == (URL in str(private), "hs_email_optout" in str(public))
