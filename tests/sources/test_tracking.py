"""What becomes of tracking calls: docs/tracking.md, held."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.sources import rudderstack, tracking
from app.sources.names import event_type
from app.sources.reading import found
from app.sources.shapes import Item, Request, Unread

NOW = datetime(2024, 5, 6, 7, 8, 10, tzinfo=UTC)
Json = Any  # Any: JSON


def posted(path: str, body: Json, **headers: str) -> Request:
    return Request(path, headers, body if isinstance(body, bytes) else json.dumps(body).encode(), NOW)


def items(path: str, body: Json, **headers: str) -> list[Item]:
    """The events of a request without a fault."""
    said = tracking.read(posted(path, body, **headers))
    assert all(isinstance(one, Item) for one in said), said
    return [one for one in said if isinstance(one, Item)]


def item(path: str, body: Json, **headers: str) -> Item:
    [only] = items(path, body, **headers)
    return only


def faults(path: str, body: Json) -> list[tuple[str, str]]:
    """Where a request is wrong, and of what the sentence there speaks."""
    return [(one.pointer, one.detail) for one in tracking.read(posted(path, body)) if isinstance(one, Unread)]


def track(event: Json, **more: Json) -> Item:
    return item("/v1/track", {"userId": "u-7", "event": event, **more})


# --- types ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "type_"),
    [
        ("Form Submitted", "form.submitted"),
        ("Order Completed", "order.completed"),
        ("Product List Viewed", "product.list.viewed"),
        ("form_submit", "form.submit"),
        ("  Trial   started! ", "trial.started"),
        ("Signup", "track.signup"),
        ("trial.started", "trial.started"),
        ("Trial.Started", "trial.started"),
        ("Größe gewählt", "groe.gewahlt"),
        ("サインアップ", "track.event"),
        (42, "track.42"),
        ("x" * 300, "track." + "x" * 94),
        # What means something to the engine is not to be had by a name.
        ("Contact Updated", "track.contact_updated"),
        ("contact.aliased", "track.contact_aliased"),
        ("email.resubscribed", "track.email_resubscribed"),
        ("Email Converted", "track.email_converted"),
    ],
)
def test_a_track_call_has_its_words_as_its_type_and_keeps_its_name(event: Json, type_: str) -> None:
    read = track(event)

    assert (type_, {"event": str(event).strip()}) == (read.type, read.properties)


@given(st.text())
def test_any_name_makes_a_type_that_can_be_stored(name: str) -> None:
    read = found(tracking.read, "s", posted("/v1/t", {"userId": "u", "event": name + "x"}))

    assert (1, []) == (len(read.events), read.faults)
    assert event_type(name) == event_type(event_type(name))


@pytest.mark.parametrize(
    ("event", "type_"),
    [
        ("Email Sent", "email.sent"),
        ("Email Delivered", "email.delivered"),
        ("Email Opened", "email.opened"),
        ("email  opened", "email.opened"),
        ("Email Link Clicked", "email.clicked"),
        ("Email Marked as Spam", "email.complained"),
        ("Unsubscribed", "email.unsubscribed"),
    ],
)
def test_what_e_mail_tools_write_back_are_e_mail_events_of_an_address(event: str, type_: str) -> None:
    call = {
        "anonymousId": "made-up-for-this-call",
        "event": event,
        "context": {"traits": {"email": "Ana <Ana@Example.com>"}, "ip": "8.8.8.8", "userAgent": "Mozilla/5.0 X"},
        "properties": {
            "email_id": "m-1",
            "email_subject": "Spring",
            "campaign_id": "c-1",
            "campaign_name": "Sale",
            "link_url": "https://example.com/a",
        },
    }

    read = item("/v1/track", call)

    assert (type_, "ana@example.com", None, None) == (read.type, read.email, read.user_id, read.anonymous_id)
    # What rules on e-mail events ask for, and what judges whether a human did it.
    expected = {
        "message_id": "m-1",
        "campaign": "Sale",
        "subject": "Spring",
        "url": "https://example.com/a",
        "user_agent": "Mozilla/5.0 X",
        "ip": "8.8.8.8",
    }
    assert expected.items() <= read.properties.items()


@pytest.mark.parametrize(
    ("properties", "bounce"),
    [
        ({}, "soft"),
        ({"bounce_type": "Hard"}, "hard"),
        ({"bounceType": "Permanent"}, "hard"),
        ({"type": "transient"}, "soft"),
        ({"bounce": "soft", "reason": "550 5.1.1 user unknown"}, "soft"),
        ({"reason": "550 5.1.1 user unknown"}, "hard"),
        ({"status": "5.1.1"}, "hard"),
        ({"bounce": 7}, "soft"),
    ],
)
def test_a_bounce_is_hard_where_something_says_so(properties: Json, bounce: str) -> None:
    read = track("Email Bounced", properties={"email": "ana@example.com", **properties})

    assert ("email.bounced", "ana@example.com", bounce) == (read.type, read.email, read.properties["bounce"])


def test_an_address_among_the_properties_is_the_person_only_in_e_mail_calls() -> None:
    assert track("Friend Invited", properties={"email": "friend@example.com"}).email is None


# --- the other calls --------------------------------------------------------------------------------------------------


def test_a_page_has_its_place_and_what_the_page_says_of_itself() -> None:
    page = {"url": "https://example.com/p?q=1", "path": "/p", "title": "P", "referrer": "r", "search": "?q=1", "x": 1}
    call = {"anonymousId": "a", "name": "Home", "category": "Docs", "context": {"page": page, "locale": "de"}}

    read = item("/v1/page", {**call, "properties": {"title": "Mine", "plan": "pro"}})

    assert ("page.viewed", "a") == (read.type, read.anonymous_id)
    expected = {key: value for key, value in page.items() if key != "x"}
    expected |= {"title": "Mine", "plan": "pro", "name": "Home", "category": "Docs", "context": {"locale": "de"}}
    assert expected == read.properties


def test_a_screen_is_seen() -> None:
    read = item("/v1/screen", {"anonymousId": "a", "name": "Welcome", "properties": {"step": 2}})

    assert ("screen.viewed", {"name": "Welcome", "step": 2}) == (read.type, read.properties)


@pytest.mark.parametrize("place", ["traits", "context"])  # RudderStack's JavaScript SDK sends the second
def test_an_identify_ties_ids_and_address_and_tells_the_traits(place: str) -> None:
    traits = {"email": " Ana@Example.com", "company": {"name": "Acme"}}
    more: dict[str, Json] = {"traits": traits} if place == "traits" else {"context": {"traits": traits}}

    read = item("/v1/identify", {"userId": 7, "anonymousId": " a-9 ", **more})

    assert ("contact.updated", {"traits": traits}) == (read.type, read.properties)
    assert ("ana@example.com", "7", "a-9") == (read.email, read.user_id, read.anonymous_id)


def test_traits_of_the_user_name_them_on_any_call() -> None:
    read = item("/v1/track", {"anonymousId": "a", "event": "A b", "context": {"traits": {"email": "ana@example.com"}}})

    assert ("ana@example.com", "a") == (read.email, read.anonymous_id)


def test_a_group_is_joined_and_is_the_company() -> None:
    body: dict[str, Json] = {
        "userId": "u",
        "messageId": "m",
        "groupId": 12,
        "traits": {"name": "Acme", "email": "info@acme.example"},
    }

    joined, updated = items("/v1/group", body)

    assert ("group.joined", {"group_id": "12", "traits": body["traits"]}) == (joined.type, joined.properties)
    assert updated.type == "contact.updated"
    assert {"traits": {"company": {"id": "12", **body["traits"]}}} == updated.properties
    assert joined.id != updated.id
    assert [None, None] == [joined.email, updated.email]  # the group's address, not the person's


def test_an_alias_names_the_id_that_held_before() -> None:
    read = item("/v1/alias", {"userId": "u", "previousId": "a", "anonymousId": "x"})

    assert ("contact.aliased", "u", None) == (read.type, read.user_id, read.anonymous_id)
    assert {"previous_id": "a"} == read.properties


def test_a_merge_ties_the_ids_that_are_known_here() -> None:
    pairs = [{"type": "email", "value": "Ana@example.com"}, {"type": "anonymous_id", "value": "a"}]

    read = item("/v1/merge", {"type": "merge", "mergeProperties": pairs})

    assert ("contact.updated", "ana@example.com", "a") == (read.type, read.email, read.anonymous_id)


def test_the_context_is_kept_where_rules_can_ask_for_it_and_nothing_else_of_it() -> None:
    context = {
        "page": {"path": "/p"},
        "campaign": {"source": "news"},
        "userAgent": "Mozilla/5.0",
        "ip": "8.8.8.8",
        "locale": "de",
        "timezone": "UTC",
        "groupId": "g",
        "library": {"name": "l", "version": "1"},
        "screen": {"width": 5},
        "traits": {},
        "active": True,
    }

    read = track("A b", context=context, integrations={"All": False}, properties={"x": 1})

    expected = {
        "page": {"path": "/p"},
        "campaign": {"source": "news"},
        "user_agent": "Mozilla/5.0",
        "ip": "8.8.8.8",
        "locale": "de",
        "timezone": "UTC",
        "group_id": "g",
        "library": {"name": "l", "version": "1"},
    }
    assert {"x": 1, "event": "A b", "context": expected} == read.properties


@pytest.mark.parametrize(
    ("agent", "kept"), [("Mozilla/5.0 (X)", {"user_agent": "Mozilla/5.0 (X)"}), ("analytics-python/2.4", None)]
)
def test_a_browser_that_calls_is_the_visitors_and_a_servers_sdk_is_not(agent: str, kept: Json) -> None:
    read = item("/v1/track", {"userId": "u", "event": "A b"}, **{"user-agent": agent})

    assert kept == read.properties.get("context")


# --- ids --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "nobody", ["", " ", None, "undefined", "NULL", "NaN", "[object Object]", "0", "anonymous", {}, [], True, False]
)
def test_an_id_that_faulty_pages_send_for_everybody_is_none(nobody: Json) -> None:
    call = {"userId": nobody, "anonymousId": "a", "event": "A b"}

    assert (None, "a") == (item("/v1/t", call).user_id, item("/v1/t", call).anonymous_id)
    assert "nobody is named" in faults("/v1/t", {**call, "anonymousId": nobody})[0][1]


def test_an_address_that_is_none_is_left_out_where_somebody_is_named() -> None:
    read = item("/v1/identify", {"userId": "u", "traits": {"email": "no address"}})

    assert (None, "u") == (read.email, read.user_id)


def test_the_same_call_is_the_same_event_however_often_it_comes() -> None:
    call = {"userId": "u", "event": "A b", "timestamp": "2024-05-06T07:08:09Z"}
    again = {**call, "sentAt": "2024-05-06T07:08:11Z", "writeKey": "k"}

    assert item("/v1/track", call).id == item("/v1/t", again).id is not None
    assert item("/v1/track", call).id != item("/v1/track", {**call, "event": "B c"}).id
    assert "m" == item("/v1/track", {**call, "messageId": " m "}).id
    assert item("/v1/track", {"userId": "u", "event": "A b"}).id is None


# --- the clock --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "seconds_ago"),
    [
        ({}, None),
        ({"timestamp": "2024-05-06T07:08:00Z"}, 10),
        ({"timestamp": "2024-05-06T07:08:00"}, 10),
        ({"timestamp": "2024-05-06T09:08:00.000+02:00"}, 10),
        # The client's clock is an hour late, and ten seconds passed until it sent.
        ({"timestamp": "2024-05-06T06:08:00Z", "sentAt": "2024-05-06T06:08:10Z"}, 10),
        ({"timestamp": "2024-05-06T06:08:00Z", "sentAt": "nonsense"}, 3_610),
        # RudderStack's name for it holds where there are both.
        ({"originalTimestamp": "2024-05-06T06:08:00Z", "timestamp": "2024-05-06T07:00:00Z"}, 3_610),
        ({"timestamp": "1999-05-06T07:08:10Z", "sentAt": "2024-05-06T07:08:10Z"}, 9_132 * 86_400),
    ],
)
def test_an_event_happened_as_long_ago_as_the_client_says_by_its_own_clock(
    said: Json, seconds_ago: float | None
) -> None:
    expected = None if seconds_ago is None else NOW - timedelta(seconds=seconds_ago)

    assert expected == track("A b", **said).occurred_at


def test_a_batch_says_once_when_it_was_sent_and_what_its_calls_share() -> None:
    call = {"type": "track", "userId": "u", "event": "A b", "timestamp": "2024-05-06T06:08:00Z"}
    other = {**call, "sentAt": "2024-05-06T06:08:05Z", "context": {"locale": "fr"}}
    body = {"sentAt": "2024-05-06T06:08:10Z", "context": {"locale": "de", "ip": "::1"}, "batch": [call, other]}

    first, second = items("/v1/batch", body)

    assert [10, 5] == [(NOW - one.occurred_at).seconds for one in (first, second) if one.occurred_at]
    assert {"locale": "de", "ip": "::1"} == first.properties["context"]
    assert {"locale": "fr", "ip": "::1"} == second.properties["context"]


# --- what is wrong ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "pointer", "detail"),
    [
        ("/v1/track", b"{", "", "not JSON"),
        ("/v1/track", b"", "", "empty"),
        ("/v1/track", [], "", "expected an object"),
        ("/v1/track", {"userId": "u"}, "/event", "name of the event"),
        ("/v1/track", {"event": "A b"}, "", "nobody is named"),
        ("/v1/track", {"userId": "x" * 201, "event": "A b"}, "/userId", "at most 200"),
        ("/v1/track", {"userId": "u", "event": "A b", "timestamp": "yesterday"}, "/timestamp", "ISO 8601"),
        ("/v1/track", {"userId": "u", "event": "x" * 33_000}, "", "32768 are the most"),
        ("/v1/group", {"userId": "u"}, "/groupId", "id of the group"),
        ("/v1/alias", {"previousId": "a"}, "/userId", "from now on"),
        ("/v1/alias", {"userId": "u"}, "/previousId", "before"),
        ("/v1/merge", {"mergeProperties": [{"type": "phone", "value": "1"}]}, "/mergeProperties", "expected two"),
        ("/v1/batch", {}, "/batch", "list of calls"),
        ("/v1/batch", {"batch": {"type": "track"}}, "/batch", "list of calls"),
        ("/v1/batch", {"batch": ["x"]}, "/batch/0", "expected an object"),
        ("/v1/batch", {"batch": [{"userId": "u"}]}, "/batch/0/type", "expected one of"),
        ("/v1/batch", {"batch": [{"type": "delete", "userId": "u"}]}, "/batch/0/type", "expected one of"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(path: str, body: Json, pointer: str, detail: str) -> None:
    [(where, why)] = faults(path, body)

    assert pointer == where
    assert detail in why


def test_one_wrong_call_costs_no_other() -> None:
    good = {"type": "track", "userId": "u", "event": "A b"}

    read = tracking.read(posted("/v1/batch", {"batch": [good, {"type": "track"}, 5, good]}))

    assert [Item, Unread, Unread, Item] == [type(one) for one in read]


@pytest.mark.parametrize(("reader", "most"), [(tracking.read, 2_500), (rudderstack.read, 5_000)])
def test_a_batch_ends_at_its_limit_and_says_so(reader: Any, most: int) -> None:
    call = {"type": "track", "userId": "u", "event": "A b"}

    read = reader(posted("/v1/batch", {"batch": [call] * (most + 2)}))

    assert most + 1 == len(read)
    assert f"/batch/{most}" == read[-1].pointer


def test_rudderstack_takes_a_call_that_segment_does_not() -> None:
    call = posted("/v1/track", {"userId": "u", "event": "A b", "properties": {"x": "y" * 33_000}})

    assert ([Unread], [Item]) == ([type(one) for one in tracking.read(call)], [type(o) for o in rudderstack.read(call)])


@pytest.mark.parametrize(
    ("body", "title"),
    [
        (rb'{"userId":"u","properties":{"title":"cut \ud83d"}}', "cut ?"),  # half of an emoji
        (rb'{"userId":"u","properties":{"title":"a\u0000b"}}', "a\ufffdb"),
        (rb'{"userId":"u","properties":{"title":"a","x":NaN}}', "a"),
        (b'{"userId":"u","properties":{"title":"a\xff"}}', "a\ufffd"),
    ],
)
def test_text_that_no_database_holds_is_mended(body: bytes, title: str) -> None:
    read = found(tracking.read, "s", posted("/v1/page", body))

    assert [] == read.faults
    [event] = read.events.values()
    assert title == orjson.loads(event.properties)["title"]


_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just("1e999")),
    lambda part: st.one_of(st.lists(part, max_size=3), st.dictionaries(st.text(max_size=5), part, max_size=3)),
    max_leaves=6,
)
_MEMBERS = ["type", "userId", "anonymousId", "messageId", "event", "properties", "traits", "context", "timestamp"]
_MEMBERS += ["sentAt", "groupId", "previousId", "mergeProperties", "name", "writeKey"]
_CALL = st.dictionaries(st.sampled_from(_MEMBERS), st.one_of(_JSON, st.sampled_from(["track", "u", "Email Bounced"])))
_BODY = st.one_of(st.binary(), _JSON.map(json.dumps), st.fixed_dictionaries({"batch": st.lists(_CALL)}).map(json.dumps))


@settings(max_examples=150)
@given(
    path=st.sampled_from(["/v1/batch", "/v1/t", "/v1/identify", "/v1/p", "/v1/group", "/v1/a", "/v1/merge", "//["]),
    body=st.one_of(_BODY, _CALL.map(json.dumps)),
)
def test_no_body_brings_the_reader_down(path: str, body: str | bytes) -> None:
    request = posted(path, body.encode() if isinstance(body, str) else body)

    assert not [one for one in tracking.read(request) if not isinstance(one, Item | Unread)]
