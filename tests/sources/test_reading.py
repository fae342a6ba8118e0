import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.engine.identity import Ref
from app.engine.ingest import NewEvent
from app.sources import reading
from app.sources.kinds import kinds
from app.sources.reading import Found
from app.sources.shapes import Item, Reading, Request, Unread
from tests.sources.senders import T0, request

ANA = {"email": "Ana@Example.com"}


def read(*said: Reading, name: str = "mine", body: bytes = b"{}", at: datetime = T0) -> Found:
    """What a call comes to whose reader gives this."""

    def give(_: Request) -> Sequence[Reading]:
        return said

    return reading.found(give, name, request(body, at))


def only(found: Found) -> NewEvent:
    assert [] == found.faults
    [event] = found.events.values()
    return event


def item(type_: str = "page.viewed", id_: str | None = "1", **more: Any) -> Item:  # Any: its other fields
    return Item(type_, id_, more.pop("occurred_at", T0), **{**ANA, **more})


def test_an_item_becomes_an_event_of_the_source() -> None:
    event = only(read(item(user_id="u1", anonymous_id="a1", properties={"url": "https://x.test"})))

    assert Ref("ana@example.com", "u1", "a1") == event.ref
    assert ("page.viewed", "mine", "1", T0) == (event.type, event.source, event.client_id, event.occurred_at)
    assert '{"url":"https://x.test"}' == event.properties


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (item("viewed"), "no dotted name"),
        (item("a." + "b" * 99), "no dotted name"),
        (item("a.b\n"), "no dotted name"),
        (item(email="nobody"), "@"),
        (item(email=None), "whom it is about"),
        (item(user_id=""), "the id of its person"),
        (item(user_id="u" * 201), "the id of its person"),
        (item(anonymous_id="a\0"), "the id of its person"),
        (item(anonymous_id="\ud83d"), "the id of its person"),
        (item("email.bounced"), "'hard' or 'soft'"),
        (item("email.bounced", properties={"bounce": "medium"}), "'hard' or 'soft'"),
        (item(properties={"a": "x" * 70_000}), "64000 are the most"),
        (item(properties={"a": "\0"}), "NUL"),
        (item(properties={"a": 2**70}), "64 bits"),
        (item(properties={"a": {1: 2}}), "failed: "),
        (item(occurred_at=datetime(2026, 5, 1)), "failed: TypeError"),  # noqa: DTZ001 - without a zone, for once
        (Unread("/events/3", "not an object"), "not an object"),
    ],
)
def test_what_cannot_be_stored_is_a_fault_and_spoils_nothing_beside_it(wrong: Reading, says: str) -> None:
    found = read(item(id_="a"), wrong, item(id_="b"))

    assert ["a", "b"] == [event.client_id for event in found.events.values()]
    [fault] = found.faults
    assert says in fault.detail


def test_a_reader_that_fails_is_a_fault() -> None:
    def fail(_: Request) -> Sequence[Reading]:
        raise KeyError("ana@example.com")

    [fault] = reading.found(fail, "mine", request({})).faults
    assert "reading it failed: KeyError" == fault.detail


def test_an_id_is_known_again_whatever_else_the_event_says() -> None:
    ids = {only(read(item(properties={"n": n}), at=T0 + timedelta(n))).id for n in range(3)}
    assert 1 == len(ids)
    assert only(read(item(), name="other")).id not in ids


@pytest.mark.parametrize("id_", ["x" * 201, "a\0b", "\ud83d", ""])
def test_an_id_that_cannot_be_stored_is_kept_as_its_hash(id_: str) -> None:
    event = only(read(item(id_=id_)))

    assert event.client_id is not None
    assert 64 == len(event.client_id)
    assert event.id == only(read(item(id_=id_))).id


def test_without_an_id_the_content_and_the_time_are_known_again() -> None:
    first = only(read(item(id_=None, properties={"a": 1}))).id

    assert first == only(read(item(id_=None, properties={"a": 1}), body=b"another", at=T0 + timedelta(hours=1))).id
    assert first != only(read(item(id_=None, properties={"a": 2}))).id


def test_without_an_id_or_a_time_the_same_bytes_are_known_again() -> None:
    timeless = item(id_=None, occurred_at=None)
    twice = read(timeless, timeless)

    assert 2 == len(twice.events)
    assert twice.events.keys() == read(timeless, timeless, at=T0 + timedelta(hours=1)).events.keys()
    assert twice.events.keys().isdisjoint(read(timeless, timeless, body=b"[]").events)
    assert {T0} == {event.occurred_at for event in twice.events.values()}


@pytest.mark.parametrize(
    ("occurred_at", "kept"),
    [
        (T0 - timedelta(days=900), T0 - timedelta(days=900)),
        (T0 + timedelta(minutes=4), T0 + timedelta(minutes=4)),
        (T0 + timedelta(minutes=6), T0),
        (datetime(1700, 1, 1, tzinfo=UTC), T0),
        (None, T0),
    ],
)
def test_a_time_that_makes_no_sense_is_when_the_call_came(occurred_at: datetime | None, kept: datetime) -> None:
    assert kept == only(read(item(occurred_at=occurred_at))).occurred_at


def test_what_a_call_says_twice_is_one_event_named_twice() -> None:
    found = read(item(), item(), item(id_="2"))

    assert (2, 3) == (len(found.events), found.named)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
WORDS = st.sampled_from(["event", "email", "type", "batch", "messageId", "userId", "traits", "data", "open", "id"])
LIKELY = st.dictionaries(WORDS, JSON | WORDS | st.just("ana@example.com"), max_size=8)
BODIES = (LIKELY | st.lists(LIKELY, max_size=3) | JSON).map(lambda said: json.dumps(said).encode())


@settings(max_examples=80, deadline=None)
@given(
    kind=st.sampled_from(sorted(kinds())),
    body=st.binary(max_size=200) | BODIES,
    path=st.sampled_from(["webhooks/x", "track", "batch", "identify", "cloudevents"]),
)
def test_every_kind_reads_whatever_it_is_given_and_reads_it_the_same_again(kind: str, body: bytes, path: str) -> None:
    call = Request(f"https://leads.example.com/v1/{path}", {"content-type": "application/json"}, body, T0)

    first, again = (reading.found(kinds()[kind].read, "mine", call) for _ in range(2))

    assert first == again
    assert all(orjson.loads(event.properties) is not None for event in first.events.values())
    assert all("reading it failed" not in fault.detail for fault in first.faults)
    orjson.dumps(reading.shown(first.faults))
