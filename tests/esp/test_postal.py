import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.esp.postal import PROVIDER
from app.esp.shapes import Notice, Request, Unread
from tests.esp.calls import AT, EPOCH, call, ids, in_json, refusal, without_ids

MESSAGE = {
    "id": 12,
    "direction": "outgoing",
    "message_id": "5817a64332f44@mail.example.com",
    "to": "Ana@example.com",
    "from": "sales@example.com",
    "subject": "Spring",
    "tag": "north",
}
ALWAYS = {"message_id": "5817a64332f44@mail.example.com", "subject": "Spring", "tags": ["north"]}


def event(name: str, message: dict[str, Any] | None = None, **payload: object) -> dict[str, Any]:
    about = {"message": MESSAGE | (message or {})}
    return {"event": name, "timestamp": EPOCH + 0.0, "uuid": "0b1c", "payload": {**about, **payload}}


def came_back(subject: str) -> dict[str, Any]:
    payload = {
        "original_message": MESSAGE,
        "bounce": {"direction": "incoming", "to": "r@rp.example.com", "subject": subject},
    }
    return {"event": "MessageBounced", "timestamp": EPOCH + 0.0, "uuid": "0b1d", "payload": payload}


@pytest.mark.parametrize(
    ("item", "type_", "said"),
    [
        (
            event("MessageSent", status="Sent", details="Message sent", output="250 2.0.0 OK"),
            "email.delivered",
            {"reason": "Sent", "diagnostic": "250 2.0.0 OK", "code": 250, "status": "2.0.0"},
        ),
        (
            event("MessageDelayed", status="SoftFail", details="greylisted"),
            "email.deferred",
            {"reason": "SoftFail", "diagnostic": "greylisted"},
        ),
        (
            event(
                "MessageHeld",
                status="Held",
                details="Recipient (ana@example.com) is on the suppression list (reason: x)",
            ),
            "email.blocked",
            {
                "reason": "Held",
                "diagnostic": "Recipient (ana@example.com) is on the suppression list (reason: x)",
                "suppressed": True,
            },
        ),
        (
            event("MessageHeld", status="Held", details="Send limit reached"),
            "email.blocked",
            {"reason": "Held", "diagnostic": "Send limit reached"},
        ),
        (
            event("MessageLoaded", ip_address="192.0.2.1", user_agent="Mozilla/5.0"),
            "email.opened",
            {"ip": "192.0.2.1", "user_agent": "Mozilla/5.0"},
        ),
        (
            event("MessageLinkClicked", url="https://example.com/a", ip_address="192.0.2.1"),
            "email.clicked",
            {"url": "https://example.com/a", "ip": "192.0.2.1"},
        ),
        (came_back("Undelivered Mail Returned to Sender"), "email.bounced", {"bounce": "soft"}),
        (came_back("Undeliverable: user unknown"), "email.bounced", {"bounce": "hard"}),
    ],
)
def test_every_event_has_its_type(item: dict[str, Any], type_: str, said: dict[str, Any]) -> None:
    expected = Notice(type_, "Ana@example.com", AT, None, {**ALWAYS, **said})

    assert [expected] == without_ids(PROVIDER.read(in_json(item)))


@pytest.mark.parametrize(
    ("details", "output", "type_", "bounce"),
    [
        ("Permanent SMTP delivery error", "550 5.1.1 no such user", "email.bounced", "hard"),
        ("Permanent SMTP delivery error", "552 5.2.2 mailbox full", "email.bounced", "soft"),
        ("Permanent SMTP delivery error", "554 5.7.1 listed as a source of spam", "email.blocked", None),
        ("Permanent SMTP delivery error", "550 refused", "email.bounced", "soft"),
        ("Maximum number of delivery attempts (18) has been reached", "451 try again later", "email.bounced", "soft"),
        ("Maximum number of delivery attempts (18) has been reached", None, "email.bounced", "soft"),
        # Postal's own doing, whatever the words sound like.
        ("Message's domain no longer exist", None, "email.failed", None),
        ("Message is likely spam. Threshold is 5 and the message scored 8.", None, "email.blocked", None),
    ],
)
def test_what_failed_for_good_is_judged_by_the_servers_words(
    details: str, output: str | None, type_: str, bounce: str | None
) -> None:
    item = event("MessageDeliveryFailed", status="HardFail", details=details, output=output)

    (said,) = PROVIDER.read(in_json(item))

    assert isinstance(said, Notice)
    assert (type_, bounce) == (said.type, said.properties.get("bounce"))


@pytest.mark.parametrize(
    "item",
    [
        event("MessageSent", {"direction": "incoming"}),
        {"event": "DomainDNSError", "payload": {"domain": "example.com"}},
        {"event": "SendLimitExceeded", "payload": {}},
    ],
)
def test_mail_that_came_in_and_the_servers_own_affairs_are_left_out(item: dict[str, Any]) -> None:
    assert [] == PROVIDER.read(in_json(item))


def test_what_cannot_be_read_spoils_nothing_beside_it() -> None:
    items = [
        event("MessageSneezed"),
        event("MessageSent", {"to": ""}),
        {"event": "MessageSent"},
        7,
        event("MessageSent"),
    ]

    said = PROVIDER.read(in_json(items))

    assert [
        Unread("/0/event", "an event that is not known: 'MessageSneezed'"),
        Unread("/1/payload/message/to", "the address is missing"),
        Unread("/2/payload/message/to", "the address is missing"),
        Unread("/3", "expected an object"),
    ] == said[:-1]
    assert isinstance(said[-1], Notice)


def test_samples_that_share_an_id_are_several_events() -> None:
    items = [event("MessageSent"), event("MessageLoaded"), event("MessageSent", {"to": "bob@example.com"})]

    known = ids(PROVIDER.read(in_json([*items, items[0]])))
    assert 3 == len(set(known))
    assert known[0] == known[3]


# --- signatures -------------------------------------------------------------------------------------------------------

BODY = b'{"event":"DomainDNSError"}\r\n'
KEY, OTHER = (rsa.generate_private_key(65537, 2048) for _ in range(2))


def pem(key: PublicKeyTypes) -> str:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def der(key: PublicKeyTypes) -> str:
    return base64.b64encode(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def signature(digest: hashes.HashAlgorithm, body: bytes = BODY) -> str:
    return base64.b64encode(KEY.sign(body, padding.PKCS1v15(), digest)).decode()


SHA1 = hashes.SHA1()  # noqa: S303 - what older installations sign with
OLD = {"X-Postal-Signature": signature(SHA1)}
NEW = OLD | {"X-Postal-Signature-256": signature(hashes.SHA256())}


@pytest.mark.parametrize("headers", [NEW, OLD])
@pytest.mark.parametrize("secret", [pem(KEY.public_key()), der(KEY.public_key()), f"\n{der(KEY.public_key())}\n"])
async def test_a_signature_holds_under_any_of_the_keys(headers: dict[str, str], secret: str) -> None:
    assert await refusal(PROVIDER, call(BODY, headers), pem(OTHER.public_key()), secret) is None


WRONG = "X-Postal-Signature-256 fits none of the source's secrets"


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (call(BODY), "the header X-Postal-Signature-256 is missing"),
        (call(BODY + b" ", NEW), WRONG),
        (call(BODY, NEW | {"X-Postal-Signature-256": "not base64"}), WRONG),
        (call(BODY, {"X-Postal-Signature-256": signature(SHA1)}), WRONG),
        # The newer signature decides.
        (call(BODY, OLD | {"X-Postal-Signature-256": signature(hashes.SHA256(), b"")}), WRONG),
        (call(b"", OLD), "X-Postal-Signature fits none of the source's secrets"),
    ],
)
async def test_what_postal_did_not_sign_is_refused(request_: Request, why: str) -> None:
    assert why == await refusal(PROVIDER, request_, pem(KEY.public_key()))


@pytest.mark.parametrize(
    ("secret", "why"),
    [
        ("", "the source's secret is not a public key"),
        ("no key at all", "the source's secret is not a public key"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "the source's secret is not a public key"),
        (
            pem(ec.generate_private_key(ec.SECP256R1()).public_key()),
            "the source's secret is not the public key of a Postal installation",
        ),
    ],
)
async def test_a_secret_that_is_no_key_says_so(secret: str, why: str) -> None:
    assert why == await refusal(PROVIDER, call(BODY, NEW), secret)
