from typing import Any

import pytest

from app.esp.activecampaign import PROVIDER
from app.esp.shapes import Notice, Request, Unread
from tests.esp.calls import AT, call, ids, in_form, refusal, without_ids

WHO = {
    "contact[id]": "31",
    "contact[email]": "Ana@example.com",
    "contact[first_name]": "Ana",
    "contact[tags]": "vip, north",
    "contact[fields][3]": "||Rust||Go||",
    "contact[fields][4]": "9",
}


def posted(name: str, more: dict[str, str] | None = None) -> Request:
    always = {"type": name, "date_time": "2024-05-06T02:08:09-05:00", "initiated_from": "system", "list": "2"}
    return in_form(always | WHO | (more or {}))


@pytest.mark.parametrize(
    ("name", "more", "type_", "said"),
    [
        (
            "open",
            {"campaign[id]": "12", "campaign[message][subject]": "Spring", "User-Agent": "Mozilla/5.0"},
            "email.opened",
            {"campaign": "12", "subject": "Spring", "user_agent": "Mozilla/5.0"},
        ),
        (
            "click",
            {"campaign[id]": "12", "campaign[name]": "Spring", "link[id]": "5", "link[url]": "https://example.com/a"},
            "email.clicked",
            {"campaign": "Spring", "url": "https://example.com/a"},
        ),
        ("subscribe", {}, "email.subscribed", {}),
        ("unsubscribe", {"unsubscribe[reason]": "too many"}, "email.unsubscribed", {"reason": "too many"}),
        ("contact_tag_added", {"tag": "vip"}, "contact.tag_added", {"tag": "vip"}),
        ("contact_tag_removed", {"tag": "vip"}, "contact.tag_removed", {"tag": "vip"}),
        (
            "update",
            {},
            "contact.updated",
            {"traits": {"first_name": "Ana", "fields": {"3": ["Rust", "Go"], "4": "9"}, "tags": ["vip", "north"]}},
        ),
    ],
)
def test_every_event_has_its_type(name: str, more: dict[str, str], type_: str, said: dict[str, Any]) -> None:
    expected = Notice(type_, "Ana@example.com", AT, None, {"list": "2", **said})

    assert [expected] == without_ids(PROVIDER.read(posted(name, more)))


@pytest.mark.parametrize(
    ("refusal_", "type_", "said"),
    [
        ({"type": "hard", "code": "9.1.1"}, "email.bounced", {"bounce": "hard"}),
        ({"type": "Soft", "code": "5.1.1"}, "email.bounced", {"bounce": "soft", "status": "5.1.1"}),
        ({"code": "5.1.1"}, "email.bounced", {"bounce": "hard", "status": "5.1.1"}),
        ({"code": "5.2.2"}, "email.bounced", {"bounce": "soft", "status": "5.2.2"}),
        ({"code": "550"}, "email.bounced", {"bounce": "soft", "code": 550}),
        (
            {"code": "550", "description": "No such user here"},
            "email.bounced",
            {"bounce": "hard", "code": 550, "diagnostic": "No such user here"},
        ),
        ({"code": "5.7.1"}, "email.blocked", {"status": "5.7.1"}),
        ({}, "email.bounced", {"bounce": "soft"}),
    ],
)
def test_a_bounce_is_what_it_is_called_or_what_its_code_and_words_say(
    refusal_: dict[str, str], type_: str, said: dict[str, Any]
) -> None:
    request = posted("bounce", {f"bounce[{name}]": value for name, value in refusal_.items()})

    assert [Notice(type_, "Ana@example.com", AT, None, {"list": "2", **said})] == without_ids(PROVIDER.read(request))


@pytest.mark.parametrize("name", ["sent", "reply", "forward", "share", "deal_update", "sms_reply", "account_add"])
def test_what_says_nothing_of_a_contact_is_left_out(name: str) -> None:
    assert [] == PROVIDER.read(in_form({"type": name}))


@pytest.mark.parametrize(
    ("fields", "unread"),
    [
        ({"type": "sneeze"}, Unread("/type", "an event that is not known: 'sneeze'")),
        ({}, Unread("/type", "the event's name is missing")),
        ({"type": "open", "contact[id]": "31"}, Unread("/contact/email", "the address is missing")),
        ({"type": "open", "contact": "ana"}, Unread("/contact/email", "the address is missing")),
    ],
)
def test_what_cannot_be_read_says_why(fields: dict[str, str], unread: Unread) -> None:
    assert [unread] == PROVIDER.read(in_form(fields))


def test_an_id_is_of_what_was_said() -> None:
    calls = [
        posted("contact_tag_added", {"tag": "a"}),
        posted("contact_tag_added", {"tag": "b"}),
        posted("contact_tag_removed", {"tag": "a"}),
        posted("click", {"link[url]": "https://example.com/a"}),
        posted("click", {"link[url]": "https://example.com/b"}),
        posted("contact_tag_added", {"tag": "a"}),
    ]

    known = [ids(PROVIDER.read(one))[0] for one in calls]
    assert 5 == len(set(known))
    assert known[0] == known[-1]


async def test_nothing_is_signed() -> None:
    assert await refusal(PROVIDER, call(b"")) is None
