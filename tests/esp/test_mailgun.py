import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from app.esp.mailgun import PROVIDER
from app.esp.shapes import (
    BLOCKED,
    BOUNCED,
    CLICKED,
    COMPLAINED,
    DEFERRED,
    DELIVERED,
    HARD,
    OPENED,
    SENT,
    SOFT,
    UNSUBSCRIBED,
    Notice,
    Request,
    Unread,
)
from tests.esp.calls import AT, EPOCH, NOW, call, in_json, refusal

TOKEN = "c" * 50
FAILED_FOR_GOOD = {
    "event": "failed",
    "severity": "permanent",
    "reason": "bounce",
    "id": "xyz",
    "timestamp": EPOCH + 0.5,
    "recipient": "Ana@example.com",
    "delivery-status": {
        "attempt-no": 1,
        "code": 550,
        "message": "5.1.1 no such account",
        "description": None,
        "enhanced-code": "5.1.1",
        "bounce-type": "hard",
    },
    "message": {"headers": {"message-id": "1@mg.example.com", "subject": "Spring", "to": "Ana <Ana@example.com>"}},
    "user-variables": {"lead_id": "77"},
    "tags": ["spring"],
    "campaigns": [],
}


def notice(event: dict[str, Any], token: str = TOKEN) -> Notice:
    [one] = PROVIDER.read(in_json({"signature": {"token": token}, "event-data": event}))
    assert isinstance(one, Notice)
    return one


def test_an_event_is_read_with_all_it_says() -> None:
    one = notice(FAILED_FOR_GOOD)

    assert (BOUNCED, "Ana@example.com", AT.replace(microsecond=500_000)) == (one.type, one.email, one.occurred_at)
    assert {
        "bounce": HARD,
        "status": "5.1.1",
        "code": 550,
        "reason": "bounce",
        "diagnostic": "5.1.1 no such account",
        "message_id": "1@mg.example.com",
        "subject": "Spring",
        "tags": ["spring"],
        "custom": {"lead_id": "77"},
    } == one.properties


def delivery(code: int, message: str = "", **more: str) -> dict[str, Any]:
    return {"delivery-status": {"code": code, "message": message, **more}}


@pytest.mark.parametrize(
    ("changes", "type_", "told"),
    [
        ({"event": "accepted"}, SENT, {}),
        ({"event": "delivered", "delivery-status": None}, DELIVERED, {}),
        ({"event": "opened", "client-info": {"user-agent": "Mail", "bot": None}}, OPENED, {"machine": None}),
        ({"event": "opened", "ip": "192.0.2.1", "client-info": {"bot": "apple"}}, OPENED, {"machine": True}),
        ({"event": "clicked", "url": "https://example.com/a"}, CLICKED, {"url": "https://example.com/a"}),
        ({"event": "unsubscribed", "user-variables": []}, UNSUBSCRIBED, {"custom": None}),
        (
            {"event": "unsubscribed", "mailing-list": {"address": "l@example.com"}},
            UNSUBSCRIBED,
            {"list": "l@example.com"},
        ),
        ({"event": "complained"}, COMPLAINED, {}),
        (
            {"event": "rejected", "recipient": None, "reason": None, "reject": {"reason": "virus"}},
            BLOCKED,
            {"reason": "virus", "suppressed": None},
        ),
        ({"severity": "temporary"}, DEFERRED, {}),
        # Mailgun's own word for hard and soft, then its codes and reasons, then the server's words
        (delivery(550, **{"bounce-type": "soft"}), BOUNCED, {"bounce": SOFT}),
        (delivery(498, "No MX for example.com"), BOUNCED, {"bounce": HARD}),
        (delivery(499), BOUNCED, {"bounce": SOFT}),
        (delivery(550, "rejected"), BOUNCED, {"bounce": HARD}),
        ({"reason": "old", **delivery(421, "too old")}, BOUNCED, {"bounce": SOFT}),
        ({"reason": "espblock", **delivery(550)}, BLOCKED, {"suppressed": None}),
        ({"reason": "generic", **delivery(550, "5.1.1 user unknown")}, BOUNCED, {"bounce": HARD}),
        ({"reason": "generic", **delivery(552, "5.2.2 mailbox full")}, BOUNCED, {"bounce": SOFT}),
        # not even tried
        (delivery(605, "Not delivering to previously bounced address"), BLOCKED, {"suppressed": True, "bounce": None}),
        (delivery(606), BLOCKED, {"suppressed": True}),
        (delivery(607), BLOCKED, {"suppressed": True}),
        ({"reason": "suppress-complaint", **delivery(550)}, BLOCKED, {"suppressed": True}),
    ],
    ids=str,
)
def test_each_event_says_what_it_is(changes: dict[str, Any], type_: str, told: dict[str, Any]) -> None:
    one = notice({**FAILED_FOR_GOOD, **changes})

    assert (type_, "Ana@example.com") == (one.type, one.email)
    assert told == {name: one.properties.get(name) for name in told}
    assert ("bounce" in one.properties) is (type_ == BOUNCED)


@pytest.mark.parametrize(
    ("body", "unread"),
    [
        ({"event-data": {"event": "stored"}}, []),
        ({"signature": {}}, [Unread("/event-data", "expected an object")]),
        ({"event-data": {"event": "melted"}}, [Unread("/event-data/event", "an event that is not known: 'melted'")]),
        ({"event-data": {"event": "opened"}}, [Unread("/event-data/recipient", "the address is missing")]),
        ([{"event-data": {}}], [Unread("/0/event-data/event", "the event's name is missing")]),
    ],
)
def test_what_cannot_be_read_says_why(body: object, unread: list[Unread]) -> None:
    assert unread == PROVIDER.read(in_json(body))


def test_an_id_is_of_the_event_whichever_hook_tells_it() -> None:
    one, no_id = FAILED_FOR_GOOD, {**FAILED_FOR_GOOD, "id": None}
    others = [{**one, "event": "opened"}, {**one, "recipient": "bob@example.com"}, {**one, "timestamp": EPOCH + 86_400}]

    assert notice(one).id == notice(one, "another").id
    assert 5 == len({notice(event).id for event in (one, *others, no_id)})
    assert notice(no_id).id != notice(no_id, "another").id


# --- hooks from before 2018 -------------------------------------------------------------------------------------------

OLD = [
    ("event", "bounced"),
    ("recipient", "Ana@example.com"),
    ("code", "550"),
    ("error", "5.1.1 no such user"),
    ("Message-Id", "<1@mg.example.com>"),
    ("message-headers", json.dumps([["To", "a"], ["X-Mailgun-Variables", '{"lead_id": "77"}']])),
    ("tag", "spring"),
    ("tag", "north"),
    ("event", "the sender's own"),
    ("timestamp", "the sender's own"),
    ("timestamp", str(EPOCH)),
]


def multipart(fields: list[tuple[str, str]]) -> bytes:
    parts = (f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields)
    return "".join(parts).encode() + b"--x--\r\n"


@pytest.mark.parametrize("body", [urlencode(OLD).encode(), multipart(OLD)], ids=["urlencoded", "multipart"])
def test_an_old_hooks_form_says_the_same(body: bytes) -> None:
    [one] = PROVIDER.read(call(body))

    assert isinstance(one, Notice)
    assert (BOUNCED, "Ana@example.com", AT) == (one.type, one.email, one.occurred_at)
    assert {
        "bounce": HARD,
        "status": "5.1.1",
        "code": 550,
        "diagnostic": "5.1.1 no such user",
        "message_id": "<1@mg.example.com>",
        "tags": ["spring", "north"],
        "custom": {"lead_id": "77"},
    } == one.properties


@pytest.mark.parametrize(
    ("fields", "type_", "told"),
    [
        ({"event": "dropped", "code": "605", "reason": "hardfail"}, BLOCKED, {"suppressed": True}),
        ({"event": "dropped", "code": "450", "reason": "old"}, BOUNCED, {"bounce": SOFT}),
        ({"event": "bounced", "code": "5.2.2", "error": "full"}, BOUNCED, {"bounce": SOFT, "status": "5.2.2"}),
        ({"event": "clicked", "url": "https://example.com/a", "ip": "192.0.2.1"}, CLICKED, {"ip": "192.0.2.1"}),
        ({"event": "unsubscribed"}, UNSUBSCRIBED, {}),
    ],
    ids=str,
)
def test_an_old_event_is_what_it_would_be_today(fields: dict[str, str], type_: str, told: dict[str, Any]) -> None:
    [one] = PROVIDER.read(call(urlencode({"recipient": "ana@example.com", **fields}).encode()))

    assert isinstance(one, Notice)
    assert type_ == one.type
    assert told == {name: one.properties.get(name) for name in told}


# --- signatures -------------------------------------------------------------------------------------------------------


def signature(key: str, age: timedelta = timedelta()) -> dict[str, str]:
    stamp = str(int((NOW - age).timestamp()))
    mac = hmac.new(key.encode(), f"{stamp}{TOKEN}".encode(), hashlib.sha256).hexdigest()
    return {"timestamp": stamp, "token": TOKEN, "signature": mac}


def signed(key: str, age: timedelta = timedelta(), **changes: str) -> Request:
    return in_json({"signature": signature(key, age) | changes, "event-data": {}})


@pytest.mark.parametrize(
    "request_",
    [
        signed("key"),
        signed("key", timedelta(hours=8)),
        call(urlencode(signature("key")).encode()),
        call(urlencode([("token", "the sender's"), *signature("key").items()]).encode()),
        call(multipart(list(signature("key").items()))),
    ],
)
async def test_a_genuine_call_is_let_in_by_any_of_the_secrets(request_: Request) -> None:
    assert await refusal(PROVIDER, request_, "old", "key") is None


@pytest.mark.parametrize(
    ("request_", "secrets", "why"),
    [
        (signed("key"), ["other"], "the body's signature fits none of the source's secrets"),
        (signed("key", token="d" * 50), ["key"], "the body's signature fits none of the source's secrets"),
        (signed("key", signature="nothing hex, ä"), ["key"], "the body's signature fits none"),
        (signed("key", timedelta(hours=10)), ["key"], "the signature's timestamp is too old"),
        (signed("key", -timedelta(hours=10)), ["key"], "the signature's timestamp lies in the future"),
        (signed("key", timestamp="soon"), ["key"], "the signature's timestamp is not a time"),
        (in_json({"event-data": {}}), ["key"], "the body has no timestamp, token and signature"),
        (in_json([]), ["key"], "the body has no timestamp, token and signature"),
        (call(b"event=opened"), ["key"], "the body has no timestamp, token and signature"),
        (call(b"{"), ["key"], "the body is not JSON"),
        (signed("key"), [], "the source has no secret"),
    ],
    ids=str,
)
async def test_a_forged_call_is_refused_with_the_reason(request_: Request, secrets: list[str], why: str) -> None:
    assert why in str(await refusal(PROVIDER, request_, *secrets))
