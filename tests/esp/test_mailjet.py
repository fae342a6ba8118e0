from typing import Any

import pytest

from app.esp.mailjet import PROVIDER
from app.esp.shapes import (
    BLOCKED,
    BOUNCED,
    CLICKED,
    COMPLAINED,
    DEFERRED,
    DELIVERED,
    HARD,
    OPENED,
    SOFT,
    UNSUBSCRIBED,
    Notice,
    Unread,
)
from tests.esp.calls import AT, EPOCH, in_json, refusal

BOUNCE = {
    "event": "bounce",
    "time": EPOCH,
    "MessageID": 19421777835146490,
    "Message_GUID": "1ab23cd4",
    "email": "Ana@example.com",
    "mj_campaign_id": 7257,
    "mj_contact_id": 4,
    "customcampaign": "",
    "blocked": False,
    "hard_bounce": False,
    "error_related_to": "recipient",
    "error": "quota exceeded",
    "comment": "552 5.2.2 over quota",
    "CustomID": "",
    "Payload": '{"lead_id": 77}',
}


def notice(event: dict[str, Any]) -> Notice:
    [one] = PROVIDER.read(in_json(event))
    assert isinstance(one, Notice)
    return one


@pytest.mark.parametrize("body", [[BOUNCE], BOUNCE], ids=["grouped", "bare"])
def test_an_event_is_read_with_all_it_says(body: object) -> None:
    [one] = PROVIDER.read(in_json(body))

    assert isinstance(one, Notice)
    assert (BOUNCED, "Ana@example.com", AT) == (one.type, one.email, one.occurred_at)
    assert {
        "bounce": SOFT,
        "status": "5.2.2",
        "code": 552,
        "reason": "quota exceeded",
        "diagnostic": "552 5.2.2 over quota",
        "message_id": "19421777835146490",
        "campaign": "7257",
        "custom": {"lead_id": 77},
    } == one.properties


@pytest.mark.parametrize(
    ("changes", "type_", "told"),
    [
        ({"event": "sent", "smtp_reply": "250 2.0.0 ok", "comment": None}, DELIVERED, {"code": 250}),
        ({"event": "open", "ip": "192.0.2.1", "agent": "Mail"}, OPENED, {"ip": "192.0.2.1", "user_agent": "Mail"}),
        ({"event": "click", "url": "https://example.com/a"}, CLICKED, {"url": "https://example.com/a"}),
        ({"event": "spam", "source": "JMRPP"}, COMPLAINED, {}),
        ({"event": "unsub", "mj_list_id": 1}, UNSUBSCRIBED, {"list": "1"}),
        # Mailjet's word counts for more than its error
        ({"hard_bounce": True, "error": "quota exceeded"}, BOUNCED, {"bounce": HARD}),
        ({"hard_bounce": False, "error": "user unknown"}, BOUNCED, {"bounce": SOFT}),
        ({"hard_bounce": None, "error": "user unknown"}, BOUNCED, {"bounce": HARD}),
        ({"hard_bounce": None, "error": "mailbox inactive"}, BOUNCED, {"bounce": SOFT}),
        ({"error": "greylisted"}, DEFERRED, {"bounce": None}),
        ({"error": "policy issue"}, BLOCKED, {"bounce": None, "suppressed": None}),
        # not even tried
        ({"event": "blocked", "error": "preblocked"}, BLOCKED, {"suppressed": True, "reason": "preblocked"}),
        ({"event": "blocked", "error": "duplicate in campaign"}, BLOCKED, {"suppressed": None}),
        # the sender's own values
        ({"CustomID": "c1", "Payload": "a text"}, BOUNCED, {"custom": {"Payload": "a text", "CustomID": "c1"}}),
        ({"customcampaign": "May", "Payload": ""}, BOUNCED, {"campaign": "May", "custom": None}),
    ],
    ids=str,
)
def test_each_event_says_what_it_is(changes: dict[str, Any], type_: str, told: dict[str, Any]) -> None:
    one = notice({**BOUNCE, **changes})

    assert type_ == one.type
    assert told == {name: one.properties.get(name) for name in told}
    assert ("bounce" in one.properties) is (type_ == BOUNCED)


def test_what_cannot_be_read_spoils_nothing_beside_it() -> None:
    told = PROVIDER.read(in_json([{**BOUNCE, "event": "melt"}, {**BOUNCE, "email": ""}, [], BOUNCE]))

    assert [
        Unread("/0/event", "an event that is not known: 'melt'"),
        Unread("/1/email", "the address is missing"),
        Unread("/2", "expected an object"),
        notice(BOUNCE),
    ] == told


def test_a_redelivery_has_the_same_id_and_no_other_event_has() -> None:
    click = {**BOUNCE, "event": "click", "url": "https://example.com/a"}
    variants = [
        BOUNCE,
        {**BOUNCE, "time": EPOCH + 1},
        {**BOUNCE, "MessageID": 19421777835146491},
        {**BOUNCE, "email": "bob@example.com"},
        click,
        {**click, "url": "https://example.com/b"},
    ]

    assert notice(BOUNCE).id == notice({**BOUNCE, "comment": "another"}).id
    assert len(variants) == len({notice(one).id for one in variants})


async def test_nothing_is_signed() -> None:
    assert PROVIDER.secret is None
    assert await refusal(PROVIDER, in_json(BOUNCE)) is None
