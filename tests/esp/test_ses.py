import base64
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from app.esp.ses import PROVIDER
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
    Forged,
    Notice,
    Request,
    Unread,
    Visit,
)
from tests.esp.calls import AT, NOW, call, in_json

TOPIC = "arn:aws:sns:eu-west-1:1:ses"
MAIL = {
    "messageId": "m1",
    "timestamp": "2024-05-06T07:00:00.000Z",
    "destination": ["Ana@example.com"],
    "tags": {"lead_id": ["77"], "team": ["a", "b"], "ses:configuration-set": ["main"]},
    "commonHeaders": {"subject": "Spring"},
}
WHO = {
    "emailAddress": "Ana@example.com",
    "status": "5.2.2",
    "action": "failed",
    "diagnosticCode": "smtp; 552 5.2.2 full",
}
BOUNCE = {
    "bounceType": "Transient",
    "bounceSubType": "MailboxFull",
    "bouncedRecipients": [WHO],
    "timestamp": "2024-05-06T07:08:09.000Z",
    "feedbackId": "f1",
}


def event(name: str, **details: object) -> dict[str, Any]:
    return {"eventType": name, "mail": MAIL, **details}


def enveloped(message: object, id_: str = "e1") -> dict[str, Any]:
    """An envelope without its signature."""
    return {
        "Type": "Notification",
        "MessageId": id_,
        "TopicArn": TOPIC,
        "Message": message if isinstance(message, str) else json.dumps(message),
        "Timestamp": "2024-05-06T07:08:10.000Z",
    }


def notices(message: object, id_: str = "e1") -> list[Notice]:
    told = PROVIDER.read(in_json(enveloped(message, id_)))
    assert all(isinstance(one, Notice) for one in told), told
    return [one for one in told if isinstance(one, Notice)]


@pytest.mark.parametrize("dialect", ["eventType", "notificationType"])
def test_a_bounce_is_read_with_all_it_says(dialect: str) -> None:
    [one] = notices({dialect: "Bounce", "mail": MAIL, "bounce": BOUNCE})

    assert (BOUNCED, "Ana@example.com", AT) == (one.type, one.email, one.occurred_at)
    assert {
        "bounce": SOFT,
        "status": "5.2.2",
        "code": 552,
        "reason": "MailboxFull",
        "diagnostic": "smtp; 552 5.2.2 full",
        "message_id": "m1",
        "subject": "Spring",
        "custom": {"lead_id": "77", "team": ["a", "b"]},
    } == one.properties


OUT, IN = {"unsubscribeAll": True, "topicSubscriptionStatus": []}, {"unsubscribeAll": False}


def topics(**said: str) -> dict[str, Any]:
    pairs = [{"topicName": name, "subscriptionStatus": word} for name, word in said.items()]
    return {"unsubscribeAll": False, "topicSubscriptionStatus": pairs}


def preferences(new: object, old: object) -> dict[str, Any]:
    said = {"contactList": "news", "newTopicPreferences": new, "oldTopicPreferences": old}
    return event("Subscription", subscription=said)


@pytest.mark.parametrize(
    ("message", "type_", "told"),
    [
        (event("Send", send={}), SENT, {}),
        (
            event("Delivery", delivery={"recipients": ["Ana@example.com"], "smtpResponse": "250 ok"}),
            DELIVERED,
            {"code": 250},
        ),
        (event("Open", open={"ipAddress": "192.0.2.1", "userAgent": "Mail"}), OPENED, {"ip": "192.0.2.1"}),
        (event("Click", click={"link": "https://example.com/a"}), CLICKED, {"url": "https://example.com/a"}),
        (
            event("DeliveryDelay", deliveryDelay={"delayType": "MailboxFull", "delayedRecipients": [WHO]}),
            DEFERRED,
            {"reason": "MailboxFull", "status": "5.2.2"},
        ),
        (event("Reject", reject={"reason": "Bad content"}), BLOCKED, {"reason": "Bad content", "suppressed": None}),
        (event("Rendering Failure", failure={"errorMessage": "no name"}), FAILED, {"diagnostic": "no name"}),
        (
            event("Complaint", complaint={"complainedRecipients": [WHO], "complaintFeedbackType": "abuse"}),
            COMPLAINED,
            {},
        ),
        (
            event(
                "Complaint", complaint={"complainedRecipients": [WHO], "complaintSubType": "OnAccountSuppressionList"}
            ),
            BLOCKED,
            {"suppressed": True},
        ),
        (preferences(OUT, IN), UNSUBSCRIBED, {"list": "news"}),
        (preferences(topics(a="OptOut", b="OptIn"), topics(a="OptIn", b="OptOut")), UNSUBSCRIBED, {}),
        (preferences(topics(a="OPT_IN"), topics(a="OPT_OUT")), RESUBSCRIBED, {}),
        (preferences(IN, OUT), RESUBSCRIBED, {}),
    ],
    ids=str,
)
def test_each_event_says_what_it_is(message: dict[str, Any], type_: str, told: dict[str, Any]) -> None:
    [one] = notices(message)

    # None of these has a time of its own: it is the envelope's.
    assert (type_, "Ana@example.com", AT + timedelta(seconds=1)) == (one.type, one.email, one.occurred_at)
    assert told == {name: one.properties.get(name) for name in told}


@pytest.mark.parametrize(
    ("bounce", "type_", "told"),
    [
        ({"bounceType": "Permanent", "bounceSubType": "General"}, BOUNCED, {"bounce": HARD}),
        ({"bounceType": "Permanent", "bounceSubType": "NoEmail"}, BOUNCED, {"bounce": HARD}),
        ({"bounceType": "Permanent", "bounceSubType": "Suppressed"}, BLOCKED, {"suppressed": True, "bounce": None}),
        ({"bounceType": "Permanent", "bounceSubType": "OnAccountSuppressionList"}, BLOCKED, {"suppressed": True}),
        ({"bounceType": "Transient", "bounceSubType": "General"}, BOUNCED, {"bounce": SOFT}),
        ({"bounceType": "Transient", "bounceSubType": "ContentRejected"}, BLOCKED, {"suppressed": None}),
        ({"bounceType": "Undetermined", "bounceSubType": "Undetermined"}, BOUNCED, {"bounce": SOFT}),
        ({"bounceType": None, "bounceSubType": ["odd"]}, BOUNCED, {"bounce": SOFT}),
    ],
    ids=str,
)
def test_each_bounce_says_how_hard_it_is(bounce: dict[str, Any], type_: str, told: dict[str, Any]) -> None:
    [one] = notices(event("Bounce", bounce={**BOUNCE, **bounce}))

    assert type_ == one.type
    assert told == {name: one.properties.get(name) for name in told}


def test_each_recipient_of_one_bounce_has_a_fate_of_their_own() -> None:
    actions = ["failed", "delayed", "delivered", "relayed", "Failed"]
    who = [{"emailAddress": f"{place}@example.com", "action": action} for place, action in enumerate(actions)]

    told = notices(event("Bounce", bounce={**BOUNCE, "bouncedRecipients": who}))

    assert [("0@example.com", BOUNCED), ("1@example.com", DEFERRED), ("4@example.com", BOUNCED)] == [
        (one.email, one.type) for one in told
    ]


@pytest.mark.parametrize(
    "body",
    [
        enveloped(event("Complaint", complaint={"complainedRecipients": [WHO], "complaintFeedbackType": "not-spam"})),
        enveloped(preferences(topics(a="OptOut"), topics(a="OptOut"))),
        enveloped({"notificationType": "AmazonSnsSubscriptionSucceeded", "message": "..."}),
        enveloped({"notificationType": "Received", "mail": MAIL}),
        enveloped("Successfully validated SNS topic for Amazon SES event publishing."),
        {"Type": "UnsubscribeConfirmation", "SubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Action=x"},
    ],
)
def test_what_counts_for_nothing_is_left_out(body: dict[str, Any]) -> None:
    assert [] == PROVIDER.read(in_json(body))


@pytest.mark.parametrize(
    ("body", "pointer", "why"),
    [
        ({"Type": "Melted"}, "/Type", "not known"),
        ({}, "/Type", "name is missing"),
        (enveloped("good morning"), "/Message", "not JSON"),
        (enveloped("[]"), "/Message", "expected an object"),
        (enveloped(event("Melted")), "/Message/eventType", "not known"),
        (enveloped(event("Bounce")), "/Message/bounce/bouncedRecipients", "the address is missing"),
        (
            enveloped(event("Delivery", delivery={"recipients": [None]})),
            "/Message/delivery/recipients/0",
            "the address is missing",
        ),
        (
            enveloped({**event("Open"), "mail": {"destination": ["a@example.com", "b@example.com"]}}),
            "/Message/mail/destination",
            "which of 2 addressees",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_read_says_why(body: dict[str, Any], pointer: str, why: str) -> None:
    [unread] = PROVIDER.read(in_json(body))

    assert isinstance(unread, Unread)
    assert pointer == unread.pointer
    assert why in unread.detail


def test_a_redelivery_has_the_same_id_and_no_other_event_has() -> None:
    bounce, click = event("Bounce", bounce=BOUNCE), event("Click", click={"link": "https://example.com/a"})
    variants = [
        (bounce, "e1"),
        (event("Bounce", bounce={**BOUNCE, "feedbackId": "f2"}), "e1"),
        (event("Bounce", bounce={**BOUNCE, "bouncedRecipients": [{"emailAddress": "bob@example.com"}]}), "e1"),
        (click, "e1"),
        (click, "e2"),
        (event("Open"), "e1"),
    ]

    assert len(variants) == len({notices(message, id_)[0].id for message, id_ in variants})
    # Both dialects may come to one topic: a bounce is then told in two messages.
    assert notices(bounce, "e1")[0].id == notices(bounce, "e2")[0].id


def test_an_event_without_its_envelope_is_read_as_well() -> None:
    [one] = PROVIDER.read(call(json.dumps(event("Send")).encode(), {"x-amz-sns-message-id": "e1"}))

    assert isinstance(one, Notice)
    assert notices(event("Send"))[0].id == one.id
    assert AT.replace(minute=0, second=0) == one.occurred_at


CONFIRM = (
    "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:eu-west-1:1:ses&Token=23"
)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (CONFIRM, Visit(CONFIRM)),
        (CONFIRM.replace(".com/", ".com.cn/"), Visit(CONFIRM.replace(".com/", ".com.cn/"))),
        *(
            (odd, Unread("/SubscribeURL", "not an address of SNS"))
            for odd in (
                None,
                CONFIRM.replace("https", "http"),
                CONFIRM.replace("sns.eu", "sns.evil.eu"),
                CONFIRM.replace("amazonaws.com", "amazonaws.com.example.com"),
                CONFIRM.replace("amazonaws.com", "amazonaws.com@example.com"),
                CONFIRM.replace("eu-west-1", "s3-us-west-2"),
                CONFIRM.replace("ConfirmSubscription", "Unsubscribe"),
                CONFIRM + "\nHost: example.com",
            )
        ),
    ],
)
def test_a_subscription_is_confirmed_at_snss_own_address_only(url: str | None, told: object) -> None:
    assert [told] == PROVIDER.read(in_json({"Type": "SubscriptionConfirmation", "SubscribeURL": url}))


# --- signatures -------------------------------------------------------------------------------------------------------

KEY = rsa.generate_private_key(65537, 2048)
CERTIFICATE_URL = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0a1b.pem"


def certificate(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey = KEY, days: int = 300) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    until = NOW + timedelta(days=days)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    dated = made.not_valid_before(until - timedelta(days=400)).not_valid_after(until)
    return dated.sign(key, SHA256()).public_bytes(Encoding.PEM)


CERTIFICATE = certificate()


def signed(
    fields: Mapping[str, str | None] | None = None, *, version: str = "2", age: timedelta = timedelta()
) -> dict[str, Any]:
    """SNS' way: the names in their order, each on a line, its value on the next; no subject where there is none."""
    stamp = (NOW - age).isoformat().replace("+00:00", ".000Z")
    given = {"Timestamp": stamp, "SignatureVersion": version, "SigningCertURL": CERTIFICATE_URL}
    said = {**enveloped("{}"), **given, **(fields or {})}
    if said["Type"] == "Notification":
        names = ["Message", "MessageId", *(["Subject"] if "Subject" in said else []), "Timestamp", "TopicArn", "Type"]
    else:
        names = ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    text = "".join(f"{name}\n{said.get(name)}\n" for name in names).encode()
    made = KEY.sign(text, padding.PKCS1v15(), SHA1() if version == "1" else SHA256())  # noqa: S303 - what SNS does
    return {**said, "Signature": base64.b64encode(made).decode()}


async def refused(request: Request, *secrets: str, pem: bytes = CERTIFICATE) -> str | None:
    """Why a provider that has no certificate yet refuses a call; None if it does not."""

    async def fetch(url: str) -> bytes:
        assert CERTIFICATE_URL == url
        return pem

    try:
        await type(PROVIDER)().verify(request, secrets, fetch)
    except Forged as forged:
        return str(forged)
    return None


CONFIRMATION = {"Type": "SubscriptionConfirmation", "Token": "23", "SubscribeURL": CONFIRM}


@pytest.mark.parametrize(
    "body",
    [
        signed(),
        signed(version="1"),
        signed({"Subject": "Amazon SES"}),
        signed({"Message": '{"a": "\U0001f600\\n"}\n'}),
        {**signed(), "Subject": None},
        signed(age=timedelta(hours=1)),
        signed(CONFIRMATION),
        signed({**CONFIRMATION, "Type": "UnsubscribeConfirmation"}),
    ],
)
async def test_what_sns_signed_is_let_in(body: dict[str, Any]) -> None:
    assert await refused(in_json(body)) is None
    assert await refused(in_json(body), f"arn:aws:sns:eu-west-1:1:other {TOPIC}") is None
    assert await refused(in_json(body), "arn:aws:sns:eu-west-1:1:other", TOPIC) is None


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({**signed(), "Message": "{ }"}, "Signature is wrong"),
        ({**signed(), "Subject": "more"}, "Signature is wrong"),
        ({**signed(), "SignatureVersion": "1"}, "Signature is wrong"),
        ({**signed(), "SignatureVersion": "3"}, "SignatureVersion is neither 1 nor 2"),
        ({**signed(), "Signature": ""}, "Signature is missing"),
        ({**signed(), "MessageId": 5}, "MessageId is missing"),
        ({**signed(), "Type": "Melted"}, "Type is none of SNS"),
        (signed(age=timedelta(hours=3)), "Timestamp is too old"),
        (signed(age=-timedelta(hours=3)), "Timestamp lies in the future"),
        (signed({"Timestamp": "now"}), "Timestamp is not a time"),
        *(
            (signed({"SigningCertURL": url}), "SigningCertURL is not an address of SNS")
            for url in (
                None,
                CERTIFICATE_URL.replace("https", "http"),
                CERTIFICATE_URL.replace("amazonaws.com", "amazonaws.com.example.com"),
                CERTIFICATE_URL.replace("https://sns", "https://example.com/sns"),
                CERTIFICATE_URL.replace("sns.eu-west-1", "sns.s3-us-west-2"),
                CERTIFICATE_URL.replace("0a1b", "../0a1b"),
                CERTIFICATE_URL + "?x",
                CERTIFICATE_URL + "\n",
            )
        ),
        ([], "the body is not a message of SNS"),
    ],
)
async def test_what_sns_did_not_sign_is_refused_with_the_reason(body: object, why: str) -> None:
    assert why in str(await refused(in_json(body)))


@pytest.mark.parametrize(
    ("pem", "why"),
    [
        (b"no certificate", "the signing certificate cannot be read"),
        (certificate(rsa.generate_private_key(65537, 2048)), "Signature is wrong"),
        (certificate(ec.generate_private_key(ec.SECP256R1())), "the signing certificate has no RSA key"),
        (certificate(days=-1), "the signing certificate is not valid at this time"),
    ],
    ids=["no certificate", "another key", "another kind of key", "expired"],
)
async def test_a_certificate_that_does_not_fit_is_refused(pem: bytes, why: str) -> None:
    assert why == await refused(in_json(signed()), pem=pem)


async def test_another_topic_is_refused_where_the_source_names_its_own() -> None:
    assert "TopicArn is none of the source's topics" == await refused(in_json(signed()), TOPIC + "2")
    assert "the source's secret is not a list of topic ARNs" == await refused(in_json(signed()), "ses events")


async def test_raw_delivery_is_refused_since_nothing_signs_it() -> None:
    raw = call(json.dumps(event("Send")).encode(), {"x-amz-sns-rawdelivery": "true"})

    assert "raw message delivery is on" in str(await refused(raw))


async def test_a_certificate_is_fetched_once_and_none_before_all_else_is_right() -> None:
    fetched = []

    async def fetch(url: str) -> bytes:
        fetched.append(url)
        return CERTIFICATE

    provider = type(PROVIDER)()
    with pytest.raises(Forged):
        await provider.verify(in_json(signed(age=timedelta(hours=3))), (), fetch)
    assert [] == fetched

    await provider.verify(in_json(signed()), (), fetch)
    await provider.verify(in_json(signed({"MessageId": "e2"})), (), fetch)
    assert [CERTIFICATE_URL] == fetched


async def test_a_certificate_that_cannot_be_fetched_says_nothing_of_the_message() -> None:
    async def fetch(_url: str) -> bytes:
        raise OSError("unreachable")

    with pytest.raises(OSError, match="unreachable"):
        await type(PROVIDER)().verify(in_json(signed()), (), fetch)
