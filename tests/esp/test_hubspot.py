import base64
import hashlib
import hmac
from typing import Any

import pytest

from app.esp.hubspot import PROVIDER
from app.esp.shapes import Notice, Request, Unread
from tests.esp.calls import AT, EPOCH, NOW, call, ids, in_json, refusal, without_ids

SAMPLE = {
    "eventId": 381627,
    "subscriptionId": 25,
    "portalId": 33,
    "appId": 116,
    "occurredAt": EPOCH * 1000,
    "subscriptionType": "contact.propertyChange",
    "attemptNumber": 0,
    "objectId": 1246965,
    "changeSource": "CRM",
}


def change(name: str, value: object, **more: object) -> dict[str, Any]:
    return {**SAMPLE, "propertyName": name, "propertyValue": value, **more}


@pytest.mark.parametrize(
    ("name", "value", "type_", "said"),
    [
        ("hs_email_optout", "true", "email.unsubscribed", {"reason": "hs_email_optout"}),
        ("hs_email_optout", True, "email.unsubscribed", {"reason": "hs_email_optout"}),
        ("hs_email_optout", "false", "email.resubscribed", {"reason": "hs_email_optout"}),
        # Cleared is not opted in.
        ("hs_email_optout", "", "contact.updated", {"traits": {"hs_email_optout": ""}}),
        ("hs_email_optout_4550521", "OPT_OUT", "contact.updated", {"traits": {"hs_email_optout_4550521": "OPT_OUT"}}),
        (
            "hs_email_hard_bounce_reason_enum",
            "UNKNOWN_USER",
            "email.bounced",
            {"bounce": "hard", "reason": "UNKNOWN_USER"},
        ),
        (
            "hs_email_hard_bounce_reason_enum",
            "HUBSPOT_GLOBAL_BOUNCE",
            "email.blocked",
            {"suppressed": True, "reason": "HUBSPOT_GLOBAL_BOUNCE"},
        ),
        (
            "hs_email_hard_bounce_reason_enum",
            None,
            "contact.updated",
            {"traits": {"hs_email_hard_bounce_reason_enum": None}},
        ),
        ("hs_email_bad_address", "true", "email.bounced", {"bounce": "hard", "reason": "hs_email_bad_address"}),
        ("hs_email_bad_address", "false", "contact.updated", {"traits": {"hs_email_bad_address": "false"}}),
        ("hs_email_quarantined", "true", "email.blocked", {"suppressed": True, "reason": "hs_email_quarantined"}),
        ("hs_email_bounce", "3", "contact.updated", {"traits": {"hs_email_bounce": "3"}}),
        ("lifecyclestage", "lead", "contact.updated", {"traits": {"lifecyclestage": "lead"}}),
    ],
)
def test_a_property_of_a_contact_tells_what_happened(
    name: str, value: object, type_: str, said: dict[str, Any]
) -> None:
    expected = Notice(type_, None, AT, None, said, "hubspot:1246965")

    assert [expected] == without_ids(PROVIDER.read(in_json([change(name, value)])))


def test_generic_subscriptions_say_the_same() -> None:
    old = change("hs_email_optout", "true")
    new = old | {"subscriptionType": "object.propertyChange", "objectTypeId": "0-1"}

    assert PROVIDER.read(in_json(old)) == PROVIDER.read(in_json([new]))


@pytest.mark.parametrize(
    "name",
    [
        "contact.creation",
        "contact.deletion",
        "contact.privacyDeletion",
        "contact.merge",
        "contact.restore",
        "contact.associationChange",
        "company.propertyChange",
        "object.propertyChange",
        "conversation.newMessage",
    ],
)
def test_anything_but_a_contacts_property_is_left_out(name: str) -> None:
    item = change("name", "x", subscriptionType=name, objectTypeId="0-2")

    assert [] == PROVIDER.read(in_json([item]))


def test_what_cannot_be_read_spoils_nothing_beside_it() -> None:
    said = PROVIDER.read(
        in_json(
            [
                change("a", "b", subscriptionType="contact.sneeze"),
                change("a", "b", subscriptionType=None),
                change("a", "b", objectId=None),
                change("", "b"),
                [],
                change("a", "b"),
            ]
        )
    )

    assert [
        Unread("/0/subscriptionType", "an event that is not known: 'contact.sneeze'"),
        Unread("/1/subscriptionType", "the event's name is missing"),
        Unread("/2/objectId", "missing"),
        Unread("/3/propertyName", "missing"),
        Unread("/4", "expected an object"),
    ] == said[:-1]
    assert isinstance(said[-1], Notice)


def test_a_later_attempt_has_the_same_id_and_another_change_another() -> None:
    first = change("city", "Graz")
    again = first | {"attemptNumber": 3, "eventId": 7}
    others = [
        change("city", "Linz"),
        change("zip", "Graz"),
        first | {"objectId": 1},
        first | {"portalId": 1},
        first | {"occurredAt": EPOCH * 1000 + 1},
        change("hs_email_optout", "true"),
        change("hs_email_optout", "false"),
    ]

    known = ids(PROVIDER.read(in_json([first, again, *others])))
    assert known[0] == known[1]
    assert 8 == len(set(known))


# --- signatures -------------------------------------------------------------------------------------------------------

SECRET = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"
EXAMPLE_URL = "https://www.example.com/webhook_uri"
EXAMPLE_BODY = "{'example_field':'example_value'}"


def v1(secret: str, body: str) -> str:
    return hashlib.sha256(f"{secret}{body}".encode()).hexdigest()


def v2(secret: str, method: str, url: str, body: str) -> str:
    return hashlib.sha256(f"{secret}{method}{url}{body}".encode()).hexdigest()


def v3(secret: str, method: str, url: str, body: str, stamp: object) -> str:
    mac = hmac.new(secret.encode(), f"{method}{url}{body}{stamp}".encode(), hashlib.sha256)
    return base64.b64encode(mac.digest()).decode()


def test_these_signatures_are_made_as_hubspots_own_examples() -> None:
    call_ = "POST", EXAMPLE_URL, EXAMPLE_BODY

    assert "69fc6631a867edd4f9e9e627fc5c1148e3fbdd8b21837b6d2b8901c1fa57f750" == v1(SECRET, EXAMPLE_BODY)
    assert "4fe4e3a7d3cf09db53be39d0a58130e2aaba074ec123a9e355b876a689a1c383" == v2(SECRET, *call_)
    assert "eee2dddcc73c94d699f5e395f4b9d454a069a6855fbfa152e91e88823087200e" == v2(SECRET, "GET", EXAMPLE_URL, "")
    assert "HPW73RUtKmcYoEDADG0s6MmGFWUzWJKAW07r8RDgcQw=" == v3(SECRET, *call_, 15000000)


STAMP = int(NOW.timestamp() * 1000)
PUBLIC = "https://hooks.example.com/hooks/a%2Fb%20c?to=x%40y"
"""HubSpot signs this address as `.../a/b%20c?to=x@y`."""


def third(signature: str | None, stamp: object = STAMP, **more: str) -> Request:
    headers = {"X-HubSpot-Request-Timestamp": str(stamp), **more}
    if signature is not None:
        headers["X-HubSpot-Signature-v3"] = signature
    return call(EXAMPLE_BODY.encode(), headers, url=PUBLIC)


def old(version: str, signature: str) -> Request:
    headers = {"X-HubSpot-Signature": signature, "X-HubSpot-Signature-Version": version}
    return call(EXAMPLE_BODY.encode(), headers, url=EXAMPLE_URL)


def good(
    stamp: object = STAMP, secret: str = SECRET, url: str = "https://hooks.example.com/hooks/a/b%20c?to=x@y"
) -> str:
    return v3(secret, "POST", url, EXAMPLE_BODY, stamp)


@pytest.mark.parametrize(
    "request_",
    [
        third(good()),
        third(good(STAMP - 299_000), STAMP - 299_000),
        old("v1", v1(SECRET, EXAMPLE_BODY)),
        old("v2", v2(SECRET, "POST", EXAMPLE_URL, EXAMPLE_BODY)),
    ],
)
async def test_a_signature_of_any_version_holds_under_any_of_the_secrets(request_: Request) -> None:
    assert await refusal(PROVIDER, request_, "old", SECRET) is None


WRONG_V3, WRONG = (
    f"{name} fits none of the source's secrets" for name in ("X-HubSpot-Signature-v3", "X-HubSpot-Signature")
)


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (third(None), "the header X-HubSpot-Signature-v3 is missing"),
        (call(b"", {"X-HubSpot-Signature-v3": "x"}), "the header X-HubSpot-Request-Timestamp is missing"),
        (third(good(), "noon"), "X-HubSpot-Request-Timestamp is not a time"),
        (third(good(STAMP - 301_000), STAMP - 301_000), "X-HubSpot-Request-Timestamp is too old"),
        (third(good(STAMP + 301_000), STAMP + 301_000), "X-HubSpot-Request-Timestamp lies in the future"),
        (third(good(), STAMP - 1), WRONG_V3),
        (third(good(secret="wrong")), WRONG_V3),
        (third(good(url=PUBLIC)), WRONG_V3),
        (third("not base64"), WRONG_V3),
        (old("v1", v1("wrong", EXAMPLE_BODY)), WRONG),
        (old("v2", v1(SECRET, EXAMPLE_BODY)), WRONG),
        (old("v2", "not hex"), WRONG),
        (old("v9", v1(SECRET, EXAMPLE_BODY)), "X-HubSpot-Signature-Version is neither v1 nor v2"),
        (old("", v1(SECRET, EXAMPLE_BODY)), "the header X-HubSpot-Signature-Version is missing"),
    ],
)
async def test_what_hubspot_did_not_sign_just_now_is_refused(request_: Request, why: str) -> None:
    assert why == await refusal(PROVIDER, request_, SECRET)


async def test_the_newest_signature_decides() -> None:
    older = {"X-HubSpot-Signature": v1(SECRET, EXAMPLE_BODY), "X-HubSpot-Signature-Version": "v1"}

    assert WRONG_V3 == await refusal(PROVIDER, third(good(secret="wrong"), **older), SECRET)


async def test_the_method_is_signed_too() -> None:
    headers = {"X-HubSpot-Request-Timestamp": str(STAMP), "X-HubSpot-Signature-v3": good()}

    put = call(EXAMPLE_BODY.encode(), headers, url=PUBLIC, method="PUT")
    assert WRONG_V3 == await refusal(PROVIDER, put, SECRET)
