import hashlib
import hmac
from typing import Any

import pytest

from app.esp.mailchimp import PROVIDER
from app.esp.shapes import Notice, Request, Unread
from tests.esp.calls import AT, EPOCH, NOW, call, ids, in_form, refusal, without_ids

WHO = {
    "data[id]": "8a25ff1d98",
    "data[list_id]": "a6b5",
    "data[email]": "Ana@example.com",
    "data[merges][FNAME]": "Ana",
    "data[merges][ADDRESS][city]": "Graz",
}
FIELDS = {"FNAME": "Ana", "ADDRESS": {"city": "Graz"}}


def posted(name: str, **data: str) -> Request:
    return in_form(
        {"type": name, "fired_at": "2024-05-06 07:08:09", **WHO, **{f"data[{k}]": v for k, v in data.items()}}
    )


@pytest.mark.parametrize(
    ("name", "data", "type_", "said"),
    [
        ("subscribe", {}, "email.subscribed", {"custom": FIELDS}),
        (
            "unsubscribe",
            {"action": "unsub", "reason": "manual", "campaign_id": "4fjk"},
            "email.unsubscribed",
            {"reason": "manual", "campaign": "4fjk", "custom": FIELDS},
        ),
        ("unsubscribe", {"action": "delete"}, "email.unsubscribed", {"reason": "delete", "custom": FIELDS}),
        (
            "unsubscribe",
            {"action": "unsub", "reason": "abuse"},
            "email.complained",
            {"reason": "abuse", "custom": FIELDS},
        ),
        ("cleaned", {"reason": "hard"}, "email.bounced", {"bounce": "hard", "reason": "hard", "custom": FIELDS}),
        ("cleaned", {"reason": "abuse"}, "email.complained", {"reason": "abuse", "custom": FIELDS}),
        ("profile", {}, "contact.updated", {"traits": FIELDS}),
    ],
)
def test_every_event_has_its_type(name: str, data: dict[str, str], type_: str, said: dict[str, Any]) -> None:
    expected = Notice(type_, "Ana@example.com", AT, None, {"list": "a6b5", **said})

    assert [expected] == without_ids(PROVIDER.read(posted(name, **data)))


def test_a_change_of_address_is_told_of_the_old_one() -> None:
    request = in_form(
        {
            "type": "upemail",
            "fired_at": "2024-05-06 07:08:09",
            "data[list_id]": "a6b5",
            "data[new_id]": "51da8c3259",
            "data[new_email]": "new@example.com",
            "data[old_email]": "old@example.com",
        }
    )

    changed = {"old_email": "old@example.com", "new_email": "new@example.com", "list": "a6b5"}
    assert [Notice("contact.email_changed", "old@example.com", AT, None, changed)] == without_ids(
        PROVIDER.read(request)
    )


def test_a_campaign_says_nothing_of_a_person() -> None:
    assert [] == PROVIDER.read(in_form({"type": "campaign", "data[status]": "sent", "data[subject]": "Spring"}))


@pytest.mark.parametrize(
    ("fields", "unread"),
    [
        ({"type": "sneeze"}, Unread("/type", "an event that is not known: 'sneeze'")),
        ({"data[email]": "ana@example.com"}, Unread("/type", "the event's name is missing")),
        ({"type": "cleaned", "data[reason]": "hard"}, Unread("/data/email", "the address is missing")),
        ({"type": "cleaned", "data": "x"}, Unread("/data/email", "the address is missing")),
    ],
)
def test_what_cannot_be_read_says_why(fields: dict[str, str], unread: Unread) -> None:
    assert [unread] == PROVIDER.read(in_form(fields))


def test_an_id_is_of_type_person_list_and_time() -> None:
    calls = [
        posted("subscribe"),
        posted("profile"),
        posted("subscribe", list_id="other"),
        posted("subscribe", email="bob@example.com"),
        posted("subscribe"),
    ]

    known = [ids(PROVIDER.read(one))[0] for one in calls]
    assert 4 == len(set(known))
    assert known[0] == known[-1]


BODY = b"type=profile&data%5Bemail%5D=ana%40example.com"
SIGNED_AT = int(NOW.timestamp())


def mac(key: str, at: object, body: bytes = BODY) -> str:
    return hmac.new(key.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()


def signed(header: str | None) -> Request:
    return call(BODY, {} if header is None else {"X-Mailchimp-Signature": header})


async def test_a_signature_holds_under_any_of_the_secrets_and_any_of_two_signatures() -> None:
    one = signed(f"t={SIGNED_AT},v1={mac('new', SIGNED_AT)}")
    two = signed(f"t={SIGNED_AT}, v1={mac('other', SIGNED_AT)}, v1={mac('new', SIGNED_AT)}")

    assert [None, None] == [await refusal(PROVIDER, request, "old", "new") for request in (one, two)]


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (None, "the header X-Mailchimp-Signature is missing"),
        (f"t={SIGNED_AT}", "X-Mailchimp-Signature fits none of the source's secrets"),
        (f"v1={mac('key', SIGNED_AT)}", "the time in X-Mailchimp-Signature is not a time"),
        ("t=soon,v1=00", "the time in X-Mailchimp-Signature is not a time"),
        (f"t={SIGNED_AT},v1=xyz", "X-Mailchimp-Signature fits none of the source's secrets"),
        (f"t={SIGNED_AT},v1={mac('wrong', SIGNED_AT)}", "X-Mailchimp-Signature fits none of the source's secrets"),
        (f"t={SIGNED_AT},v1={mac('key', SIGNED_AT, b'')}", "X-Mailchimp-Signature fits none of the source's secrets"),
        (f"t={SIGNED_AT - 1},v1={mac('key', SIGNED_AT)}", "X-Mailchimp-Signature fits none of the source's secrets"),
        (f"t={SIGNED_AT - 301},v1={mac('key', SIGNED_AT - 301)}", "the time in X-Mailchimp-Signature is too old"),
        (f"t={EPOCH},v1={mac('key', EPOCH)}", "the time in X-Mailchimp-Signature is too old"),
    ],
)
async def test_what_mailchimp_did_not_sign_just_now_is_refused(header: str | None, why: str) -> None:
    assert why == await refusal(PROVIDER, signed(header), "key")


async def test_a_webhook_of_before_signatures_has_no_secret_and_needs_none() -> None:
    assert await refusal(PROVIDER, signed(None)) is None
