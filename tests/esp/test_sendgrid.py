import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.esp.sendgrid import PROVIDER
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
    RESUBSCRIBED,
    SENT,
    SOFT,
    UNSUBSCRIBED,
    Notice,
    Request,
    Unread,
)
from tests.esp.calls import AT, EPOCH, NOW, call, in_json, refusal

BLOCK = {
    "email": "Ana@Example.com",
    "timestamp": EPOCH,
    "event": "bounce",
    "type": "blocked",
    "status": "4.7.1",
    "reason": "421 4.7.1 slow down",
    "bounce_classification": "Reputation",
    "sg_event_id": "YWJj",
    "sg_message_id": "kq1.filter01.1.2",
    "smtp-id": "<1@example.com>",
    "category": ["spring"],
    "ip": "192.0.2.1",
    "tls": 1,
    "lead_id": "77",
}


def notice(event: dict[str, Any]) -> Notice:
    [one] = PROVIDER.read(in_json([event]))
    assert isinstance(one, Notice)
    return one


def test_an_event_is_read_with_all_it_says() -> None:
    one = notice(BLOCK)

    assert (BLOCKED, "Ana@Example.com", AT) == (one.type, one.email, one.occurred_at)
    assert {
        "status": "4.7.1",
        "code": 421,
        "reason": "Reputation",
        "diagnostic": "421 4.7.1 slow down",
        "message_id": "kq1",
        "tags": ["spring"],
        "custom": {"lead_id": "77"},
    } == one.properties


@pytest.mark.parametrize(
    ("changes", "type_", "told"),
    [
        ({"event": "processed"}, SENT, {}),
        ({"event": "deferred", "reason": None, "response": "450 4.2.1 later"}, DEFERRED, {"code": 450}),
        ({"event": "delivered"}, DELIVERED, {}),
        ({"event": "open", "sg_machine_open": True}, OPENED, {"machine": True, "ip": "192.0.2.1"}),
        ({"event": "open", "sg_machine_open": False, "useragent": "Mail"}, OPENED, {"user_agent": "Mail"}),
        ({"event": "click", "url": "https://example.com/a"}, CLICKED, {"url": "https://example.com/a"}),
        ({"event": "spamreport"}, COMPLAINED, {}),
        ({"event": "unsubscribe"}, UNSUBSCRIBED, {}),
        ({"event": "group_unsubscribe", "asm_group_id": 12}, UNSUBSCRIBED, {"list": "12"}),
        ({"event": "group_resubscribe", "asm_group_id": 12}, RESUBSCRIBED, {"list": "12"}),
        ({"category": "spring", "marketing_campaign_name": "May"}, BLOCKED, {"tags": ["spring"], "campaign": "May"}),
        ({"custom_args": {"a": 1}}, BLOCKED, {"custom": {"a": 1, "lead_id": "77"}}),
        # permanent, refused for now, given up
        ({"type": "bounce", "bounce_classification": None}, BOUNCED, {"bounce": HARD}),
        ({"type": "bounce", "bounce_classification": "Invalid Address"}, BOUNCED, {"bounce": HARD}),
        ({"type": "bounce", "bounce_classification": "Content"}, BLOCKED, {}),
        ({"type": "bounce", "bounce_classification": "technical"}, BOUNCED, {"bounce": SOFT}),
        ({"type": "blocked", "bounce_classification": "Mailbox Unavailable"}, BOUNCED, {"bounce": SOFT}),
        ({"type": "expired"}, BOUNCED, {"bounce": SOFT}),
        # before there was a type
        ({"type": None, "status": "5.1.1", "reason": "550 user unknown"}, BOUNCED, {"bounce": HARD}),
        ({"type": None, "status": "5.2.2", "reason": "552 mailbox full"}, BOUNCED, {"bounce": SOFT}),
        # not even tried
        (
            {"event": "dropped", "reason": "Bounced Address", "bounce_classification": None},
            BLOCKED,
            {"suppressed": True, "reason": "Bounced Address"},
        ),
        ({"event": "dropped", "reason": "Unsubscribed Address"}, BLOCKED, {"suppressed": True}),
        ({"event": "dropped", "reason": "Spam Content"}, BLOCKED, {"suppressed": None}),
        ({"event": "dropped", "reason": "Invalid SMTPAPI header"}, FAILED, {"suppressed": None}),
    ],
    ids=str,
)
def test_each_event_says_what_it_is(changes: dict[str, Any], type_: str, told: dict[str, Any]) -> None:
    one = notice({**BLOCK, **changes})

    assert type_ == one.type
    assert told == {name: one.properties.get(name) for name in told}
    assert ("bounce" in one.properties) is (type_ == BOUNCED)


def test_what_cannot_be_read_spoils_nothing_beside_it() -> None:
    events = [{**BLOCK, "event": "melted"}, {**BLOCK, "email": None}, BLOCK, {"timestamp": 1}]

    told = PROVIDER.read(in_json(events))

    assert [
        Unread("/0/event", "an event that is not known: 'melted'"),
        Unread("/1/email", "the address is missing"),
    ] == (told[:2])
    assert [notice(BLOCK)] == told[2:3]
    assert [Unread("/3/event", "the event's name is missing")] == told[3:]


def test_events_of_the_account_are_left_out() -> None:
    event = {"event": "account_status_change", "type": "compliance_suspend", "timestamp": 1}

    assert [] == PROVIDER.read(in_json(event))


def test_a_redelivery_has_the_same_id_and_no_other_event_has() -> None:
    without = {**BLOCK, "sg_event_id": None}
    variants = [
        BLOCK,
        {**BLOCK, "event": "delivered"},
        {**BLOCK, "email": "bob@example.com"},
        without,
        {**without, "timestamp": EPOCH + 1},
        {**without, "event": "click", "url": "https://example.com/a"},
        {**without, "event": "click", "url": "https://example.com/b"},
    ]

    assert notice(BLOCK).id == notice({**BLOCK, "tls": 0}).id
    assert len(variants) == len({notice(one).id for one in variants})


# --- signatures -------------------------------------------------------------------------------------------------------

KEY, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
SIGNATURE, TIMESTAMP = "X-Twilio-Email-Event-Webhook-Signature", "X-Twilio-Email-Event-Webhook-Timestamp"


def secret(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return base64.b64encode(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def signed(body: bytes = b"[]\r\n", age: timedelta = timedelta()) -> Request:
    stamp = str(int((NOW - age).timestamp()))
    signature = KEY.sign(stamp.encode() + body, ec.ECDSA(SHA256()))
    return call(body, {SIGNATURE: base64.b64encode(signature).decode(), TIMESTAMP: stamp})


async def test_the_vector_that_sendgrids_own_libraries_are_tested_with_is_genuine() -> None:
    key = (
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI"
        "8eNEc6wEA3F+g=="
    )
    body = (
        b'[{"email":"hello@world.com","event":"dropped","reason":"Bounced Address",'
        b'"sg_event_id":"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA",'
        b'"sg_message_id":"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0",'
        b'"smtp-id":"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>","timestamp":1600112492}]\r\n'
    )
    headers = {
        SIGNATURE: "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM=",
        TIMESTAMP: "1600112502",
    }
    at = datetime(2020, 9, 14, 19, 42, tzinfo=UTC)

    assert await refusal(PROVIDER, replace(call(body, headers), received_at=at), key) is None
    assert "fits none" in str(await refusal(PROVIDER, replace(call(body.strip(), headers), received_at=at), key))


@pytest.mark.parametrize(
    "secrets",
    [[secret(KEY)], [pem(KEY)], [secret(OTHER), secret(KEY)], ["no key", secret(KEY)]],
    ids=["der", "pem", "rotated", "beside a broken one"],
)
async def test_a_genuine_call_is_let_in_by_any_of_the_secrets(secrets: list[str]) -> None:
    assert await refusal(PROVIDER, signed(), *secrets) is None
    assert await refusal(PROVIDER, signed(age=timedelta(hours=25)), *secrets) is None


@pytest.mark.parametrize(
    ("request_", "secrets", "why"),
    [
        (signed(b"[]\r\n"), [secret(OTHER)], "fits none of the source's secrets"),
        (call(b"[]", signed(b"[]\r\n").headers), [secret(KEY)], "fits none of the source's secrets"),
        (call(b"[]", {**signed(b"[]").headers, TIMESTAMP: str(EPOCH)}), [secret(KEY)], "fits none"),
        (call(b"[]", {TIMESTAMP: str(EPOCH)}), [secret(KEY)], f"the header {SIGNATURE} is missing"),
        (call(b"[]", {SIGNATURE: "AAAA"}), [secret(KEY)], f"the header {TIMESTAMP} is missing"),
        (call(b"[]", {SIGNATURE: "ä", TIMESTAMP: str(EPOCH)}), [secret(KEY)], "fits none"),
        (call(b"[]", {SIGNATURE: "AAAA", TIMESTAMP: "now"}), [secret(KEY)], f"{TIMESTAMP} is not a time"),
        (signed(age=timedelta(hours=27)), [secret(KEY)], f"{TIMESTAMP} is too old"),
        (signed(age=-timedelta(hours=27)), [secret(KEY)], f"{TIMESTAMP} lies in the future"),
        (signed(), ["no key"], "the source's secret is not a public key"),
        (signed(), ["-----BEGIN nothing"], "the source's secret is not a public key"),
        (signed(), [secret(rsa.generate_private_key(65537, 2048))], "is not the public key of a Signed Event Webhook"),
        (signed(), [], "the source has no secret"),
    ],
)
async def test_a_forged_call_is_refused_with_the_reason(request_: Request, secrets: list[str], why: str) -> None:
    assert why in str(await refusal(PROVIDER, request_, *secrets))
