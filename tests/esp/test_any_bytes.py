"""Whatever a call holds, a provider says something that can be stored, and raises nothing."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.engine import properties
from app.esp import providers, shapes
from app.esp.shapes import BOUNCED, HARD, SOFT, Forged, Notice, Said, Unread, Visit
from tests.esp.calls import AT, EPOCH, call

VOCABULARY = {
    value for value in vars(shapes).values() if isinstance(value, str) and value.startswith(("email.", "contact."))
}
EMAIL = "Ana@example.com"
SES_BOUNCE = {
    "eventType": "Bounce",
    "bounce": {
        "bounceType": "Permanent",
        "bounceSubType": "General",
        "bouncedRecipients": [{"emailAddress": EMAIL, "status": "5.1.1", "action": "failed", "diagnosticCode": "550"}],
        "timestamp": "2024-05-06T07:08:09Z",
        "feedbackId": "f1",
    },
    "mail": {"messageId": "m1", "destination": [EMAIL], "tags": {"a": ["b"]}, "commonHeaders": {"subject": "s"}},
}
SES_PREFERENCE = {
    "eventType": "Subscription",
    "subscription": {
        "newTopicPreferences": {"unsubscribeAll": True, "topicSubscriptionStatus": [{"subscriptionStatus": "OptIn"}]},
        "oldTopicPreferences": {"topicSubscriptionStatus": [{"topicName": "a", "subscriptionStatus": "OptOut"}]},
    },
    "mail": {"destination": [EMAIL]},
}
MANDRILL = [
    {
        "event": "click",
        "ts": EPOCH,
        "_id": "m1",
        "msg": {"_id": "m1", "email": EMAIL, "tags": ["a"], "metadata": {"a": "b"}, "diag": "550 5.1.1 no"},
        "url": "https://example.com",
        "user_agent_parsed": {"type": "robot"},
    }
]
SAMPLES: dict[str, list[Any]] = {  # Any: JSON, or the fields of a form
    "sendgrid": [
        [{"email": EMAIL, "timestamp": EPOCH, "event": "bounce", "type": "", "reason": "550 5.1.1", "category": ["a"]}],
        [{"email": EMAIL, "timestamp": EPOCH, "event": "open", "sg_event_id": "e", "unique_args": {"a": 1}, "b": 2}],
    ],
    "mailgun": [
        {
            "signature": {"timestamp": str(EPOCH), "token": "t", "signature": "00"},
            "event-data": {
                "event": "failed",
                "severity": "permanent",
                "reason": "generic",
                "id": "e",
                "timestamp": EPOCH + 0.5,
                "recipient": EMAIL,
                "delivery-status": {"code": 550, "message": "no such user", "bounce-type": "x"},
                "message": {"headers": {"message-id": "m"}},
                "client-info": {"bot": "x"},
                "campaigns": [{"name": "May"}],
                "tags": ["a"],
                "user-variables": {"a": "b"},
            },
        },
        [("event", "bounced"), ("recipient", EMAIL), ("code", "550"), ("message-headers", "[[]]"), ("timestamp", "1")],
    ],
    "postmark": [
        {
            "RecordType": "Bounce",
            "Type": "Unknown",
            "ID": 1,
            "Email": EMAIL,
            "BouncedAt": "2024-05-06",
            "Details": "550",
        },
        {"RecordType": "SubscriptionChange", "Recipient": EMAIL, "SuppressSending": True, "SuppressionReason": "x"},
        {"RecordType": "Open", "Recipient": EMAIL, "Geo": {"IP": "192.0.2.1"}, "Metadata": {"a": "b"}, "Tag": "a"},
    ],
    "ses": [
        SES_BOUNCE,
        SES_PREFERENCE,
        {
            "Type": "Notification",
            "MessageId": "e",
            "Timestamp": "2024-05-06T07:08:09Z",
            "Message": json.dumps(SES_BOUNCE),
        },
        {
            "Type": "SubscriptionConfirmation",
            "SubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=2",
        },
    ],
    "brevo": [
        {"event": "hard_bounce", "email": EMAIL, "ts_epoch": EPOCH * 1000, "reason": "550 5.1.1", "tag": '["a"]'},
        {"event": "list_addition", "email": [EMAIL, "b@example.com"], "list_id": [1, 2], "ts": EPOCH},
        {"event": "contact_updated", "email": EMAIL, "content": [{"a": "b"}], "X-Mailin-custom": '{"a": 1}'},
    ],
    "mailjet": [
        [{"event": "bounce", "time": EPOCH, "MessageID": 1, "email": EMAIL, "error": "x", "Payload": "{}"}],
        {"event": "unsub", "time": EPOCH, "email": EMAIL, "mj_list_id": 1, "CustomID": "c"},
    ],
    "mailchimp": [
        [("type", "cleaned"), ("fired_at", "2024-05-06 07:08:09"), ("data[reason]", "hard"), ("data[email]", EMAIL)],
        [
            ("type", "upemail"),
            ("data[old_email]", EMAIL),
            ("data[new_email]", "b@example.com"),
            ("data[merges][A]", "b"),
        ],
    ],
    "mandrill": [[("mandrill_events", json.dumps(MANDRILL))]],
    "activecampaign": [
        [("type", "bounce"), ("date_time", AT.isoformat()), ("contact[email]", EMAIL), ("bounce[code]", "5.1.1")],
        [("type", "update"), ("contact[email]", EMAIL), ("contact[fields][1]", "||a||b||"), ("contact[tags]", "a, b")],
    ],
    "hubspot": [
        [
            {
                "eventId": 1,
                "subscriptionId": 2,
                "occurredAt": EPOCH * 1000,
                "subscriptionType": "contact.propertyChange",
                "objectId": 1246965,
                "propertyName": "hs_email_optout",
                "propertyValue": "true",
            }
        ],
    ],
    "resend": [
        {
            "type": "email.bounced",
            "created_at": "2024-05-06T07:08:09Z",
            "data": {
                "email_id": "m",
                "to": [EMAIL],
                "tags": {"a": "b"},
                "bounce": {"type": "Permanent", "subType": "General", "message": "full"},
                "click": {"link": "https://example.com", "timestamp": "2024-05-06T07:08:09Z"},
            },
        },
    ],
    "sparkpost": [
        [
            {
                "msys": {
                    "message_event": {
                        "type": "bounce",
                        "bounce_class": "1",
                        "event_id": "e",
                        "timestamp": str(EPOCH),
                        "raw_rcpt_to": EMAIL,
                        "rcpt_meta": {"a": "b"},
                        "raw_reason": "550 no such user",
                    }
                }
            }
        ],
    ],
    "postal": [
        {
            "event": "MessageDeliveryFailed",
            "timestamp": EPOCH + 0.5,
            "uuid": "u",
            "payload": {
                "status": "HardFail",
                "output": "550",
                "message": {"id": 1, "to": EMAIL, "direction": "outgoing"},
            },
        },
    ],
}

DEEP = json.loads("[" * 300 + "]" * 300)
BEYOND = "a number beyond all floats"
"""Stands for 1e999, which JSON can say and Python cannot write."""
ODD: list[Any] = [
    *(None, True, -1, 0, 10**30, 1e300, float("nan"), float("inf"), BEYOND),
    *("", " ", "\ud800", "a\x00b", "x" * 70_000, "<>", "{", "[1", '{"a": NaN}'),
    *("0001-01-01T00:00:00+14:00", "9999-12-31"),
    *([], {}, [[]], [{}], [EMAIL], {"a": {"b": [None]}}, {"a": "\ud800"}, DEEP, ["x" * 4_000] * 20),
]
BODIES = [b"", b" ", b"\xff\xfe", b"\xef\xbb\xbf{}", b"null", b"5", b"[" * 100_000, b'{"a":' * 100_000, b"--\r\n\r\n"]
JUNK: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from(ODD) | st.text(max_size=5) | st.integers() | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def is_form(sample: object) -> bool:
    return isinstance(sample, list) and bool(sample) and all(isinstance(field, tuple) for field in sample)


def in_bytes(said: Any) -> bytes:
    """A form from fields, JSON from anything else."""
    if is_form(said):
        return urlencode(said, errors="replace").encode()
    return json.dumps(said).replace(json.dumps(BEYOND), "1e999").encode()


def variants(said: Any) -> Iterator[Any]:
    """What comes of putting each odd value at each place, also inside texts that hold JSON again, or nothing there."""
    yield from ODD
    if isinstance(said, str) and said.startswith(("{", "[")):
        yield from (json.dumps(one) for one in variants(json.loads(said)))
    elif isinstance(said, tuple):
        yield from ((said[0], one) for one in variants(said[1]))
    elif isinstance(said, dict | list):
        for place in list(said) if isinstance(said, dict) else range(len(said)):
            rest: Any = said.copy()
            del rest[place]
            yield rest
            for one in variants(said[place]):
                changed_: Any = said.copy()
                changed_[place] = one
                yield changed_


def changed(said: Any, draw: Callable[[st.SearchStrategy[Any]], Any]) -> Any:  # Any: JSON
    """JSON with something odd at one place, which may be inside a text that holds JSON again."""
    if isinstance(said, str) and said.startswith(("{", "[")) and draw(st.booleans()):
        try:
            return json.dumps(changed(json.loads(said), draw))
        except ValueError:
            return draw(JUNK)
    if isinstance(said, dict | list) and said and draw(st.integers(0, 9)):
        out: Any = said.copy()
        place = draw(st.sampled_from(list(said) if isinstance(said, dict) else range(len(said))))
        if isinstance(said, dict) and not draw(st.integers(0, 9)):
            del out[place]
        else:
            out[place] = changed(said[place], draw)
        return out
    return draw(JUNK)


@st.composite
def bodies(draw: Callable[[st.SearchStrategy[Any]], Any], kind: str) -> bytes:
    """Nonsense, or a body that the provider may send with up to three things wrong in it, and perhaps bytes missing."""
    if not draw(st.integers(0, 7)):
        return bytes(draw(st.binary(max_size=50) | JUNK.map(in_bytes)))
    sample = draw(st.sampled_from(SAMPLES[kind]))
    said: Any = dict(sample) if is_form(sample) else sample
    for _ in range(draw(st.integers(0, 3))):
        said = changed(said, draw)
    body = in_bytes(list(said.items()) if is_form(sample) and isinstance(said, dict) and said else said)
    if not draw(st.integers(0, 7)):
        cut = draw(st.integers(0, len(body)))
        body = body[:cut] + draw(st.binary(max_size=3)) + body[cut + 1 :]
    return body


def check(one: Said) -> None:
    match one:
        case Unread(pointer, detail):
            assert pointer == "" or pointer.startswith("/")
            assert detail
        case Visit(url):
            assert url.startswith("https://")
        case Notice():
            assert one.type in VOCABULARY
            assert one.email or one.user_id
            assert one.occurred_at is None or (
                one.occurred_at.tzinfo is not None and 1990 <= one.occurred_at.year <= 2200
            )
            assert one.id is None or 1 <= len(one.id) <= 200
            assert (one.type == BOUNCED) is (one.properties.get("bounce") in (HARD, SOFT))
            properties.to_text(one.properties)
            for said in (one.email, one.user_id, one.id):
                assert said is None or ("\0" not in said and said.encode())


def test_every_provider_has_samples_that_it_reads() -> None:
    assert set(providers()) == set(SAMPLES)
    for kind, samples in SAMPLES.items():
        for sample in samples:
            said = providers()[kind].read(call(in_bytes(sample)))
            assert said, kind
            assert not any(isinstance(one, Unread) for one in said), (kind, said)


@pytest.mark.parametrize("kind", list(SAMPLES))
def test_no_value_at_any_place_makes_a_provider_raise_or_say_what_cannot_be_stored(kind: str) -> None:
    read = providers()[kind].read
    every = [in_bytes(one) for sample in SAMPLES[kind] for one in variants(sample)]

    for body in [*BODIES, *every]:
        for one in read(call(body)):
            check(one)


@pytest.mark.parametrize("kind", list(SAMPLES))
def test_no_body_makes_a_provider_raise_or_say_what_cannot_be_stored(kind: str) -> None:
    provider = providers()[kind]

    @settings(max_examples=40, deadline=None)
    @given(body=bodies(kind))
    def holds(body: bytes) -> None:
        said = provider.read(call(body))

        assert said == provider.read(call(body))
        for one in said:
            check(one)

    holds()


HEADERS = [
    "X-Twilio-Email-Event-Webhook-Signature", "X-Twilio-Email-Event-Webhook-Timestamp", "X-Mailchimp-Signature",
    "X-Mandrill-Signature", "X-HubSpot-Signature", "X-HubSpot-Signature-v3", "X-HubSpot-Signature-Version",
    "X-HubSpot-Request-Timestamp", "svix-id", "svix-timestamp", "svix-signature", "X-Postal-Signature",
    "X-Postal-Signature-256", "x-amz-sns-rawdelivery",
]  # fmt: skip
VALUES = st.sampled_from([str(EPOCH), str(EPOCH * 1000), "v1", "v3", "AAAA", "t=1,v1=00", "v1,AAAA", "ä"]) | st.text(
    max_size=9
)


@pytest.mark.parametrize("kind", list(SAMPLES))
def test_whatever_is_signed_is_let_in_or_forged(kind: str) -> None:
    provider = providers()[kind]

    @settings(max_examples=25, deadline=None)
    @given(
        body=bodies(kind),
        headers=st.dictionaries(st.sampled_from(HEADERS), VALUES),
        secrets=st.lists(VALUES | st.sampled_from(["whsec_AAAA", "-----BEGIN", "MFkw"]), max_size=2),
        fetched=st.binary(max_size=9),
    )
    def holds(body: bytes, headers: dict[str, str], secrets: list[str], fetched: bytes) -> None:
        async def fetch(_url: str) -> bytes:
            return fetched

        with suppress(Forged):
            asyncio.run(provider.verify(call(body, headers), secrets, fetch))

    holds()
