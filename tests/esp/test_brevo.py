from typing import Any

import pytest

from app.esp.brevo import PROVIDER
from app.esp.shapes import (
    BLOCKED,
    BOUNCED,
    CLICKED,
    COMPLAINED,
    DEFERRED,
    DELIVERED,
    FAILED,
    HARD,
    OPENED,
    SENT,
    SOFT,
    SUBSCRIBED,
    UNSUBSCRIBED,
    UPDATED,
    Notice,
    Unread,
)
from tests.esp.calls import AT, EPOCH, in_json, refusal

BOUNCE = {
    "event": "hard_bounce",
    "email": "Ana@example.com",
    "id": 26224,
    "date": "2024-05-06 09:08:09",
    "message-id": "<1@relay>",
    "subject": "Spring",
    "ts": EPOCH + 7200,
    "ts_event": EPOCH + 7200,
    "ts_epoch": EPOCH * 1000,
    "reason": "550 5.1.1 no such user",
    "tags": ["spring"],
    "tag": '["spring"]',
    "X-Mailin-custom": '{"lead_id": "77"}',
}
MARKETING = {
    "event": "unsubscribe",
    "email": "Ana@example.com",
    "id": 26224,
    "camp_id": 8,
    "campaign name": "May",
    "list_id": [3],
    "ts_event": EPOCH,
    "ts": EPOCH,
}


def notice(event: dict[str, Any]) -> Notice:
    [one] = PROVIDER.read(in_json(event))
    assert isinstance(one, Notice)
    return one


@pytest.mark.parametrize("body", [[BOUNCE], BOUNCE], ids=["batched", "bare"])
def test_an_event_is_read_with_all_it_says(body: object) -> None:
    [one] = PROVIDER.read(in_json(body))

    assert isinstance(one, Notice)
    assert (BOUNCED, "Ana@example.com", AT) == (one.type, one.email, one.occurred_at)
    assert {
        "bounce": HARD,
        "status": "5.1.1",
        "code": 550,
        "diagnostic": "550 5.1.1 no such user",
        "message_id": "<1@relay>",
        "subject": "Spring",
        "tags": ["spring"],
        "custom": {"lead_id": "77"},
    } == one.properties


@pytest.mark.parametrize(
    ("changes", "type_", "told"),
    [
        ({"event": "request"}, SENT, {}),
        ({"event": "delivered"}, DELIVERED, {}),
        ({"event": "deferred"}, DEFERRED, {}),
        ({"event": "soft_bounce"}, BOUNCED, {"bounce": SOFT}),
        ({"event": "softBounce"}, BOUNCED, {"bounce": SOFT}),
        ({"event": "hardBounce"}, BOUNCED, {"bounce": HARD}),
        ({"event": "invalid_email"}, BOUNCED, {"bounce": HARD}),
        ({"event": "blocked"}, BLOCKED, {"suppressed": True}),
        ({"event": "error"}, FAILED, {}),
        ({"event": "opened"}, OPENED, {"machine": None}),
        ({"event": "unique_opened"}, OPENED, {"machine": None}),
        ({"event": "proxy_open"}, OPENED, {"machine": True}),
        ({"event": "uniqueProxyOpen"}, OPENED, {"machine": True}),
        ({"event": "click", "link": "https://example.com/a"}, CLICKED, {"url": "https://example.com/a"}),
        ({"event": "spam"}, COMPLAINED, {}),
        ({"event": "complaint"}, COMPLAINED, {}),
        ({"event": "unsubscribed"}, UNSUBSCRIBED, {}),
        ({"tags": None, "tag": '["a", "b"]'}, BOUNCED, {"tags": ["a", "b"]}),
        ({"tags": None, "tag": "[a"}, BOUNCED, {"tags": ["[a"]}),
        ({"tags": None, "tag": "a", "X-Mailin-custom": "b"}, BOUNCED, {"tags": ["a"], "custom": "b"}),
    ],
    ids=str,
)
def test_each_event_says_what_it_is(changes: dict[str, Any], type_: str, told: dict[str, Any]) -> None:
    one = notice({**BOUNCE, **changes})

    assert type_ == one.type
    assert told == {name: one.properties.get(name) for name in told}
    assert ("bounce" in one.properties) is (type_ == BOUNCED)


def test_marketing_events_name_their_campaign_and_lists() -> None:
    one = notice(MARKETING)

    assert (UNSUBSCRIBED, "Ana@example.com", AT) == (one.type, one.email, one.occurred_at)
    assert {"campaign": "May", "list": "3"} == one.properties
    assert {"campaign": "8", "list": ["3", "4"]} == notice(
        {**MARKETING, "campaign name": "", "list_id": [3, 4]}
    ).properties


def test_several_contacts_that_are_added_to_a_list_are_several_notices() -> None:
    told = PROVIDER.read(in_json({**MARKETING, "event": "list_addition", "email": ["a@example.com", "b@example.com"]}))

    assert [(SUBSCRIBED, "a@example.com"), (SUBSCRIBED, "b@example.com")] == [
        (one.type, one.email) for one in told if isinstance(one, Notice)
    ]


def test_a_contact_that_changed_says_what_it_is_now() -> None:
    content = [{"FIRSTNAME": "Ana"}, {"WORK_PHONE": "1"}]

    one = notice({"event": "contact_updated", "email": "Ana@example.com", "ts": EPOCH, "content": content})

    assert (UPDATED, AT) == (one.type, one.occurred_at)
    assert {"traits": {"FIRSTNAME": "Ana", "WORK_PHONE": "1"}} == one.properties


@pytest.mark.parametrize(
    ("changes", "at"),
    [
        ({"ts_epoch": EPOCH}, AT),  # seconds, as some of its documentation has it
        ({"ts_epoch": None, "ts_event": EPOCH}, AT),
        ({"ts_epoch": None, "ts_event": None, "ts": EPOCH}, AT),
        ({"ts_epoch": None, "ts_event": None, "ts": None}, None),  # local time alone is no time
    ],
)
def test_only_times_that_are_utc_are_read(changes: dict[str, Any], at: object) -> None:
    assert at == notice({**BOUNCE, **changes}).occurred_at


@pytest.mark.parametrize(
    ("event", "unread"),
    [
        ({"event": "contact_deleted", "email": "a@example.com"}, []),
        ({"items": [{"From": {}}]}, []),
        ({"event": "melt"}, [Unread("/event", "an event that is not known: 'melt'")]),
        ({"event": "opened", "email": []}, [Unread("/email", "the address is missing")]),
    ],
)
def test_what_cannot_be_read_says_why(event: dict[str, Any], unread: list[Unread]) -> None:
    assert unread == PROVIDER.read(in_json(event))


def test_a_redelivery_has_the_same_id_and_no_other_event_has() -> None:
    opened = {**BOUNCE, "event": "opened"}
    variants = [
        BOUNCE,
        {**BOUNCE, "message-id": "<2@relay>"},
        {**BOUNCE, "ts_epoch": EPOCH * 1000 + 1},
        {**BOUNCE, "email": "bob@example.com"},
        opened,
        {**BOUNCE, "event": "click", "link": "https://example.com/a"},
        MARKETING,
        {**MARKETING, "campaign name": "June"},
    ]

    assert len(variants) == len({notice(one).id for one in variants})
    # A first opening is told twice.
    assert notice(opened).id == notice({**opened, "event": "unique_opened"}).id


async def test_nothing_is_signed() -> None:
    assert PROVIDER.secret is None
    assert await refusal(PROVIDER, in_json(BOUNCE)) is None
