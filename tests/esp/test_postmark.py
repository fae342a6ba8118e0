from typing import Any

import pytest

from app.esp.postmark import PROVIDER
from app.esp.shapes import (
    AUTO_REPLIED,
    BLOCKED,
    BOUNCED,
    CLICKED,
    COMPLAINED,
    DELIVERED,
    FAILED,
    HARD,
    OPENED,
    RESUBSCRIBED,
    SOFT,
    UNSUBSCRIBED,
    Notice,
    Unread,
)
from tests.esp.calls import AT, in_json, refusal

BOUNCE = {
    "RecordType": "Bounce",
    "Type": "SoftBounce",
    "TypeCode": 4096,
    "ID": 4323372036854775807,
    "MessageID": "883953f4",
    "Email": "Ana@example.com",
    "BouncedAt": "2024-05-06T02:08:09.0000000-05:00",
    "Details": "smtp;452 4.2.2 mailbox full",
    "Inactive": False,
    "Subject": "Spring",
    "Tag": "spring",
    "Metadata": {"lead_id": "77"},
    "MessageStream": "broadcast",
}
OPEN = {
    "RecordType": "Open",
    "MessageID": "883953f4",
    "Recipient": "Ana@example.com",
    "ReceivedAt": "2024-05-06T07:08:09Z",
    "FirstOpen": True,
    "UserAgent": "Mail",
    "Geo": {"IP": "192.0.2.1"},
}
CHANGE = {
    "RecordType": "SubscriptionChange",
    "MessageID": "883953f4",
    "Recipient": "Ana@example.com",
    "ChangedAt": "2024-05-06T07:08:09Z",
    "Origin": "Recipient",
    "SuppressSending": True,
    "SuppressionReason": "ManualSuppression",
    "MessageStream": "broadcast",
}


def notice(event: dict[str, Any]) -> Notice:
    [one] = PROVIDER.read(in_json(event))
    assert isinstance(one, Notice)
    return one


def test_a_bounce_is_read_with_all_it_says() -> None:
    one = notice(BOUNCE)

    assert (BOUNCED, "Ana@example.com", AT) == (one.type, one.email, one.occurred_at)
    assert {
        "bounce": SOFT,
        "status": "4.2.2",
        "code": 452,
        "reason": "SoftBounce",
        "diagnostic": "smtp;452 4.2.2 mailbox full",
        "message_id": "883953f4",
        "subject": "Spring",
        "tags": ["spring"],
        "custom": {"lead_id": "77"},
    } == one.properties


@pytest.mark.parametrize(
    ("word", "type_", "told"),
    [
        ("HardBounce", BOUNCED, {"bounce": HARD}),
        ("BadEmailAddress", BOUNCED, {"bounce": HARD}),
        ("Transient", BOUNCED, {"bounce": SOFT}),
        ("DnsError", BOUNCED, {"bounce": SOFT}),
        ("Blocked", BLOCKED, {"suppressed": None}),
        ("DMARCPolicy", BLOCKED, {}),
        ("SpamNotification", BLOCKED, {}),
        ("VirusNotification", BLOCKED, {}),
        ("ManuallyDeactivated", BLOCKED, {"suppressed": True}),
        ("SpamComplaint", COMPLAINED, {}),
        ("Unsubscribe", UNSUBSCRIBED, {}),
        ("Subscribe", RESUBSCRIBED, {}),
        ("AutoResponder", AUTO_REPLIED, {}),
        ("AddressChange", AUTO_REPLIED, {}),
        ("ChallengeVerification", AUTO_REPLIED, {}),
        ("SMTPApiError", FAILED, {}),
        ("TemplateRenderingFailed", FAILED, {}),
        # nobody has judged: the server's words do
        ("Unknown", BOUNCED, {"bounce": SOFT}),
    ],
)
def test_each_bounce_type_says_what_it_is(word: str, type_: str, told: dict[str, Any]) -> None:
    one = notice({**BOUNCE, "Type": word})

    assert type_ == one.type
    assert told == {name: one.properties.get(name) for name in told}
    assert ("bounce" in one.properties) is (type_ == BOUNCED)


@pytest.mark.parametrize(
    ("event", "type_", "told"),
    [
        (OPEN, OPENED, {"user_agent": "Mail", "ip": "192.0.2.1", "list": None}),
        (
            {**OPEN, "RecordType": "Click", "OriginalLink": "https://example.com/a"},
            CLICKED,
            {"url": "https://example.com/a"},
        ),
        ({**OPEN, "RecordType": "Delivery", "ReceivedAt": None, "DeliveredAt": OPEN["ReceivedAt"]}, DELIVERED, {}),
        ({**BOUNCE, "RecordType": "SpamComplaint", "Type": "SpamComplaint"}, COMPLAINED, {}),
        ({**BOUNCE, "RecordType": "SpamComplaint", "Type": None}, COMPLAINED, {}),
        (CHANGE, UNSUBSCRIBED, {"list": "broadcast", "reason": "ManualSuppression"}),
        ({**CHANGE, "SuppressSending": False, "SuppressionReason": None}, RESUBSCRIBED, {}),
        ({**CHANGE, "SuppressionReason": "HardBounce"}, BOUNCED, {"bounce": HARD}),
        ({**CHANGE, "SuppressionReason": "SpamComplaint"}, COMPLAINED, {}),
    ],
    ids=str,
)
def test_each_record_type_says_what_it_is(event: dict[str, Any], type_: str, told: dict[str, Any]) -> None:
    one = notice(event)

    assert (type_, "Ana@example.com", AT) == (one.type, one.email, one.occurred_at)
    assert told == {name: one.properties.get(name) for name in told}


@pytest.mark.parametrize(
    "event",
    [
        {"RecordType": "Inbound", "From": "a@example.com"},
        {"FromFull": {"Email": "a@example.com"}, "To": "b@example.com"},
        {**BOUNCE, "Type": "OpenRelayTest"},
        {**BOUNCE, "Type": "InboundError"},
    ],
)
def test_what_is_not_about_our_mail_is_left_out(event: dict[str, Any]) -> None:
    assert [] == PROVIDER.read(in_json(event))


@pytest.mark.parametrize(
    ("event", "unread"),
    [
        ({"RecordType": "Melt"}, Unread("/RecordType", "an event that is not known: 'Melt'")),
        ({}, Unread("/RecordType", "the event's name is missing")),
        ({**BOUNCE, "Type": "Unsubscribe", "Email": ""}, Unread("/Email", "the address is missing")),
        ({**OPEN, "Recipient": None}, Unread("/Recipient", "the address is missing")),
    ],
)
def test_what_cannot_be_read_says_why(event: dict[str, Any], unread: Unread) -> None:
    assert [unread] == PROVIDER.read(in_json(event))


def test_a_redelivery_has_the_same_id_and_no_other_event_has() -> None:
    variants = [
        BOUNCE,
        {**BOUNCE, "ID": 1},
        {**BOUNCE, "Type": "HardBounce"},
        {**BOUNCE, "Email": "bob@example.com"},
        OPEN,
        {**OPEN, "ReceivedAt": "2024-05-06T07:08:10Z"},
        {**OPEN, "RecordType": "Click", "OriginalLink": "https://example.com/a"},
        {**OPEN, "RecordType": "Click", "OriginalLink": "https://example.com/b"},
        CHANGE,
    ]

    assert notice(OPEN).id == notice({**OPEN, "UserAgent": "Other"}).id
    assert len(variants) == len({notice(one).id for one in variants})


async def test_nothing_is_signed() -> None:
    assert PROVIDER.secret is None
    assert await refusal(PROVIDER, in_json(BOUNCE)) is None
