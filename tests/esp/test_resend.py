import base64
import hashlib
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from app.esp.resend import PROVIDER
from app.esp.shapes import Notice, Request, Unread
from tests.esp.calls import AT, NOW, call, ids, in_json, refusal, without_ids

MAIL = {
    "email_id": "5676",
    "created_at": "2024-05-06T07:00:00.000Z",
    "from": "Acme <acme@example.com>",
    "to": ["Ana <Ana@example.com>"],
    "subject": "Spring",
    "broadcast_id": "b1",
    "tags": {"lead_id": "77"},
}
ALWAYS = {"message_id": "5676", "subject": "Spring", "campaign": "b1", "custom": {"lead_id": "77"}}


def event(name: str, data: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"type": name, "created_at": "2024-05-06T07:08:09.000Z", "data": MAIL | (data or {})}


def bounce(**said: object) -> dict[str, Any]:
    return event("email.bounced", {"bounce": said})


@pytest.mark.parametrize(
    ("name", "data", "type_", "said"),
    [
        ("email.sent", {}, "email.sent", {}),
        ("email.delivered", {}, "email.delivered", {}),
        ("email.delivery_delayed", {}, "email.deferred", {}),
        ("email.complained", {}, "email.complained", {}),
        ("email.opened", {}, "email.opened", {}),
        ("email.opened", {"cc": [], "bcc": None, "to": "Ana@example.com"}, "email.opened", {}),
        (
            "email.clicked",
            {"click": {"link": "https://example.com/a", "ipAddress": "192.0.2.1", "userAgent": "Mozilla/5.0"}},
            "email.clicked",
            {"url": "https://example.com/a", "ip": "192.0.2.1", "user_agent": "Mozilla/5.0"},
        ),
        (
            "email.failed",
            {"failed": {"reason": "reached_daily_quota"}},
            "email.failed",
            {"reason": "reached_daily_quota"},
        ),
        (
            "email.suppressed",
            {"suppressed": {"type": "OnAccountSuppressionList", "message": "listed"}},
            "email.blocked",
            {"suppressed": True, "reason": "OnAccountSuppressionList", "diagnostic": "listed"},
        ),
        ("email.sent", {"tags": [{"name": "lead_id", "value": "77"}, {"name": None}, 7]}, "email.sent", {}),
    ],
)
def test_every_event_has_its_type(name: str, data: dict[str, Any], type_: str, said: dict[str, Any]) -> None:
    expected = Notice(type_, "Ana@example.com", AT, None, {**ALWAYS, **said})

    assert [expected] == without_ids(PROVIDER.read(in_json(event(name, data))))


@pytest.mark.parametrize(
    ("given", "type_", "said"),
    [
        ({"type": "Permanent", "subType": "General"}, "email.bounced", {"bounce": "hard"}),
        ({"type": "Transient", "subType": "MailboxFull"}, "email.bounced", {"bounce": "soft"}),
        ({"type": "Temporary"}, "email.bounced", {"bounce": "soft"}),
        ({"type": "Permanent", "subType": "Suppressed"}, "email.blocked", {"suppressed": True}),
        ({"type": "Permanent", "subType": "OnAccountSuppressionList"}, "email.blocked", {"suppressed": True}),
        (
            {"type": "Undetermined", "diagnosticCode": ["smtp; 550 5.1.1 user unknown"]},
            "email.bounced",
            {"bounce": "hard", "code": 550, "status": "5.1.1"},
        ),
        ({"type": "Undetermined", "message": "rejected as spam"}, "email.blocked", {}),
        ({"type": "Undetermined"}, "email.bounced", {"bounce": "soft"}),
        # Of before 2025.
        ({"message": "The email provider sent a hard bounce message."}, "email.bounced", {"bounce": "hard"}),
        ({"message": "The email provider sent a general bounce message."}, "email.bounced", {"bounce": "soft"}),
        ({"message": "Resend has suppressed sending to this address."}, "email.blocked", {"suppressed": True}),
    ],
)
def test_a_bounce_is_what_resend_calls_it_or_what_the_words_say(
    given: dict[str, Any], type_: str, said: dict[str, Any]
) -> None:
    (notice,) = PROVIDER.read(in_json(bounce(**given)))

    assert isinstance(notice, Notice)
    judged = ("bounce", "suppressed", "code", "status")
    assert (type_, said) == (
        notice.type,
        {name: notice.properties[name] for name in judged if name in notice.properties},
    )


@pytest.mark.parametrize(
    ("unsubscribed", "types"),
    [
        (False, ["contact.updated"]),
        (None, ["contact.updated"]),
        (True, ["contact.updated", "email.unsubscribed"]),
    ],
)
def test_a_contact_may_have_opted_out_but_is_never_taken_to_have_opted_in(
    unsubscribed: bool | None, types: list[str]
) -> None:
    data = {"id": "e1", "audience_id": "a1", "email": "ana@example.com", "first_name": "Ana", "last_name": ""}
    item = {"type": "contact.updated", "created_at": AT.isoformat(), "data": data | {"unsubscribed": unsubscribed}}

    updated, *more = without_ids(PROVIDER.read(in_json(item)))

    traits = {"list": "a1", "traits": {"first_name": "Ana"}}
    assert Notice("contact.updated", "ana@example.com", AT, None, traits) == updated
    assert types[1:] == [notice.type for notice in more if isinstance(notice, Notice)]


def test_a_suppressed_address_repeats_an_older_verdict() -> None:
    data = {"id": "s1", "email": "ana@example.com", "origin": "bounce"}
    item = {"type": "suppression.added", "created_at": AT.isoformat(), "data": data}

    expected = Notice("email.blocked", "ana@example.com", AT, None, {"suppressed": True, "reason": "bounce"})
    assert [expected] == without_ids(PROVIDER.read(in_json(item)))


@pytest.mark.parametrize("name", ["email.scheduled", "email.received", "domain.created", "contact.deleted"])
def test_what_says_nothing_of_a_person_is_left_out(name: str) -> None:
    assert [] == PROVIDER.read(in_json({"type": name, "data": None}))


@pytest.mark.parametrize(
    ("item", "unread"),
    [
        (event("email.sneezed"), Unread("/type", "an event that is not known: 'email.sneezed'")),
        ({"data": MAIL}, Unread("/type", "the event's name is missing")),
        (event("email.opened", {"to": []}), Unread("/data/to", "the address is missing")),
        (event("email.opened", {"to": {"a": 1}}), Unread("/data/to", "the address is missing")),
        ({"type": "contact.created", "data": []}, Unread("/data/email", "the address is missing")),
        # A hard bounce of the one must not fall on the other.
        (
            event("email.bounced", {"to": ["ana@example.com", "bob@example.com"], "bounce": {"type": "Permanent"}}),
            Unread("/data/to", "several addressees, and Resend does not say which of them this is about"),
        ),
        (
            event("email.opened", {"cc": ["bob@example.com"]}),
            Unread("/data/to", "several addressees, and Resend does not say which of them this is about"),
        ),
    ],
)
def test_what_cannot_be_read_says_why(item: dict[str, Any], unread: Unread) -> None:
    assert [unread] == PROVIDER.read(in_json(item))


def test_a_redelivery_has_the_same_id_and_another_event_another() -> None:
    calls = [
        replace(in_json(event("email.opened")), headers={"svix-id": "msg_1"}),
        replace(in_json(event("email.clicked")), headers={"svix-id": "msg_1"}),
        replace(in_json(event("email.opened")), headers={"svix-id": "msg_2"}),
        in_json(event("email.opened")),
        in_json(event("email.opened", {"email_id": "2"})),
        replace(in_json([event("email.opened")]), headers={"svix-id": "msg_1", "svix-timestamp": "1"}),
    ]

    known = [ids(PROVIDER.read(one))[0] for one in calls]
    assert 5 == len(set(known))
    assert known[0] == known[-1]


# --- signatures -------------------------------------------------------------------------------------------------------

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + base64.b64encode(b"another").decode()
BODY = json.dumps(event("email.opened")).encode()
STAMP = int(NOW.timestamp())


def mac(secret: str, id_: str, stamp: object, body: bytes = BODY) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return "v1," + base64.b64encode(hmac.new(key, f"{id_}.{stamp}.".encode() + body, hashlib.sha256).digest()).decode()


def signed(signature: str, id_: str = "msg_1", stamp: object = STAMP) -> Request:
    return call(BODY, {"svix-id": id_, "svix-timestamp": str(stamp), "svix-signature": signature})


async def test_the_specifications_own_example_holds() -> None:
    headers = {
        "svix-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "svix-timestamp": "1614265330",
        "svix-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }

    request = call(b'{"test": 2432232314}', headers)
    request = replace(request, received_at=datetime.fromtimestamp(1614265330, UTC))
    assert await refusal(PROVIDER, request, SECRET) is None


@pytest.mark.parametrize(
    "signature",
    [
        mac(SECRET, "msg_1", STAMP),
        f"v1a,AAAA {mac(OTHER, 'msg_1', STAMP)} {mac(SECRET, 'msg_1', STAMP)}",
    ],
)
@pytest.mark.parametrize("secret", [SECRET, SECRET.removeprefix("whsec_"), f" {SECRET}\n"])
async def test_any_signature_holds_under_any_of_the_secrets(signature: str, secret: str) -> None:
    assert await refusal(PROVIDER, signed(signature), "no key", OTHER.replace("Y", "Z"), secret) is None


WRONG = "svix-signature fits none of the source's secrets"


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (call(BODY), "the header svix-id is missing"),
        (call(BODY, {"svix-id": "msg_1"}), "the header svix-timestamp is missing"),
        (call(BODY, {"svix-id": "msg_1", "svix-timestamp": str(STAMP)}), "the header svix-signature is missing"),
        (signed(mac(SECRET, "msg_1", STAMP - 301), stamp=STAMP - 301), "svix-timestamp is too old"),
        (signed(mac(SECRET, "msg_1", STAMP + 301), stamp=STAMP + 301), "svix-timestamp lies in the future"),
        (signed(mac(SECRET, "msg_1", "x"), stamp="x"), "svix-timestamp is not a time"),
        (signed(mac(OTHER, "msg_1", STAMP)), WRONG),
        (signed(mac(SECRET, "msg_2", STAMP)), WRONG),
        (signed(mac(SECRET, "msg_1", STAMP, b"")), WRONG),
        (signed(mac(SECRET, "msg_1", STAMP).replace("v1,", "v2,")), WRONG),
        (signed("v1,not base64"), WRONG),
    ],
)
async def test_what_resend_did_not_sign_just_now_is_refused(request_: Request, why: str) -> None:
    assert why == await refusal(PROVIDER, request_, SECRET)


@pytest.mark.parametrize("secret", ["", "whsec_", "re_not a secret"])
async def test_a_secret_that_is_no_key_signs_nothing_and_says_so(secret: str) -> None:
    request = signed(f"v1,{base64.b64encode(hmac.new(b'', b'', hashlib.sha256).digest()).decode()}")

    assert "the source's secret is not a signing secret, whsec_ and base64" == await refusal(PROVIDER, request, secret)
