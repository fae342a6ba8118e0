import base64
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import quote

import pytest

from app.esp.mandrill import PROVIDER
from app.esp.shapes import Notice, Request, Unread
from tests.esp.calls import AT, EPOCH, URL, call, ids, in_form, refusal, without_ids

MESSAGE = {
    "_id": "m1",
    "ts": EPOCH - 89,
    "email": "Ana@example.com",
    "subject": "Spring",
    "metadata": {"lead_id": "77"},
    "tags": ["north"],
}
ALWAYS = {"message_id": "m1", "subject": "Spring", "tags": ["north"], "custom": {"lead_id": "77"}}


def event(name: str, message: dict[str, Any] | None = None, **more: object) -> dict[str, Any]:
    return {"event": name, "ts": EPOCH, "_id": "m1", "msg": MESSAGE | (message or {}), **more}


def posted(*events: object) -> Request:
    return in_form({"mandrill_events": json.dumps(events)})


@pytest.mark.parametrize(
    ("name", "message", "type_", "said"),
    [
        ("send", {}, "email.sent", {}),
        ("delivered", {"diag": "250 OK"}, "email.delivered", {"diagnostic": "250 OK", "code": 250}),
        ("deferral", {}, "email.deferred", {}),
        (
            "hard_bounce",
            {"bounce_description": "bad_mailbox", "diag": "smtp;550 5.1.1 nobody here"},
            "email.bounced",
            {
                "bounce": "hard",
                "reason": "bad_mailbox",
                "diagnostic": "smtp;550 5.1.1 nobody here",
                "code": 550,
                "status": "5.1.1",
            },
        ),
        # Mandrill's word counts for more than the server's.
        (
            "soft_bounce",
            {"bounce_description": "mailbox_full", "diag": "5.1.1 user unknown"},
            "email.bounced",
            {"bounce": "soft", "reason": "mailbox_full", "diagnostic": "5.1.1 user unknown", "status": "5.1.1"},
        ),
        ("reject", {}, "email.blocked", {"suppressed": True}),
        ("spam", {}, "email.complained", {}),
        ("unsub", {}, "email.unsubscribed", {}),
    ],
)
def test_every_event_has_its_type(name: str, message: dict[str, Any], type_: str, said: dict[str, Any]) -> None:
    expected = Notice(type_, "Ana@example.com", AT, None, {**ALWAYS, **said})

    assert [expected] == without_ids(PROVIDER.read(posted(event(name, message))))


def test_openings_and_clicks_say_by_what_and_whether_a_robot_did_it() -> None:
    agent: dict[str, Any] = {"user_agent": "Mozilla/5.0", "ip": "192.0.2.1", "user_agent_parsed": {"type": "Browser"}}
    robot = agent | {"user_agent_parsed": {"type": "robot"}, "url": "https://example.com/a?b=c"}

    used = {**ALWAYS, "user_agent": "Mozilla/5.0", "ip": "192.0.2.1"}
    clicked = {**used, "machine": True, "url": "https://example.com/a?b=c"}
    assert [
        Notice("email.opened", "Ana@example.com", AT, None, used),
        Notice("email.clicked", "Ana@example.com", AT, None, clicked),
    ] == without_ids(PROVIDER.read(posted(event("open", **agent), event("click", **robot))))


def test_lists_and_mail_that_came_in_are_left_out() -> None:
    listed = {"type": "blacklist", "action": "add", "reject": {"email": "ana@example.com", "reason": "hard-bounce"}}
    allowed = {"type": "whitelist", "action": "remove", "entry": {"email": "ana@example.com"}}

    assert [] == PROVIDER.read(posted(listed, allowed, event("inbound")))


def test_what_cannot_be_read_spoils_nothing_beside_it() -> None:
    said = PROVIDER.read(posted(event("dreamt"), event("open", {"email": None}), {"event": "open"}, 7, event("open")))

    assert [
        Unread("/0/event", "an event that is not known: 'dreamt'"),
        Unread("/1/msg/email", "the address is missing"),
        Unread("/2/msg/email", "the address is missing"),
        Unread("/3", "expected an object"),
    ] == said[:-1]
    assert isinstance(said[-1], Notice)


def test_a_form_without_the_field_says_so() -> None:
    assert [Unread("", "the form has no field mandrill_events")] == PROVIDER.read(in_form({"events": "[]"}))


def test_an_id_is_of_the_event_not_of_its_message() -> None:
    first = event("click", url="https://example.com/a")
    others = [event("open"), event("click", url="https://example.com/b"), event("click", ts=EPOCH + 1), event("send")]

    known = ids(PROVIDER.read(posted(first, *others)))
    assert 5 == len(set(known))
    assert known[:1] == ids(PROVIDER.read(posted(first)))


def signed(body: bytes, fields: dict[str, str], key: str, url: str = URL) -> Request:
    """Mandrill's way: the address, then each name and value, sorted by name, under HMAC-SHA1."""
    text = url + "".join(name + fields[name] for name in sorted(fields))
    mac = base64.b64encode(hmac.new(key.encode(), text.encode(), hashlib.sha1).digest()).decode()
    return call(body, {"X-Mandrill-Signature": mac})


EVENTS = '[{"event":"open","msg":{"email":"ana+1@example.com","subject":"Grüße & mehr"}}]'
BODY = f"mandrill_events={quote(EVENTS)}&extra=1+2".encode()
FIELDS = {"mandrill_events": EVENTS, "extra": "1 2"}


async def test_a_signature_holds_under_any_of_the_keys() -> None:
    request = signed(BODY, FIELDS, "new key")

    assert await refusal(PROVIDER, request, "old key", "new key") is None
    assert "X-Mandrill-Signature fits none of the source's secrets" == await refusal(PROVIDER, request, "old key")


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (call(BODY), "the header X-Mandrill-Signature is missing"),
        (call(BODY, {"X-Mandrill-Signature": "not base64"}), "X-Mandrill-Signature fits none of the source's secrets"),
        (signed(BODY + b"&more=1", FIELDS, "key"), "X-Mandrill-Signature fits none of the source's secrets"),
        (signed(BODY, FIELDS, "key", URL + "/"), "X-Mandrill-Signature fits none of the source's secrets"),
    ],
)
async def test_what_mandrill_did_not_sign_is_refused(request_: Request, why: str) -> None:
    assert why == await refusal(PROVIDER, request_, "key")


async def test_the_probe_of_a_new_address_needs_no_key() -> None:
    probe = signed(b"mandrill_events=%5B%5D", {"mandrill_events": "[]"}, "test-webhook")

    assert await refusal(PROVIDER, probe) is None
    assert await refusal(PROVIDER, probe, "key") is None
    assert [] == PROVIDER.read(probe)


async def test_the_probes_key_signs_nothing_else() -> None:
    request = signed(BODY, FIELDS, "test-webhook")

    assert "X-Mandrill-Signature fits none of the source's secrets" == await refusal(PROVIDER, request, "key")


async def test_a_form_that_is_not_utf_8_is_signed_as_its_bytes() -> None:
    text = URL.encode() + b"mandrill_events[\xff]"
    mac = base64.b64encode(hmac.new(b"key", text, hashlib.sha1).digest()).decode()

    assert await refusal(PROVIDER, call(b"mandrill_events=[%FF]", {"X-Mandrill-Signature": mac}), "key") is None
