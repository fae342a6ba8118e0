"""What becomes of CloudEvents in their three modes."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.sources import cloudevents
from app.sources.reading import found
from app.sources.shapes import Item, Request, Unread

NOW = datetime(2024, 5, 6, 7, 8, 10, tzinfo=UTC)
JSON_EVENT, JSON_BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
EVENT = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "/forms/demo",
    "type": "com.example.form.submitted",
    "subject": "ana@example.com",
    "time": "2024-05-06T07:08:09Z",
    "data": {"form": "demo"},
}
Json = Any  # Any: JSON


def sent(body: Json, type_: str = JSON_EVENT, **headers: str) -> Request:
    named = {"content-type": type_} | {name.replace("_", "-"): value for name, value in headers.items()}
    return Request("/v1/cloudevents", named, body if isinstance(body, bytes) else json.dumps(body).encode(), NOW)


def item(request: Request) -> Item:
    [only] = cloudevents.read(request)
    assert isinstance(only, Item), only
    return only


def fault(request: Request) -> Unread:
    [only] = cloudevents.read(request)
    assert isinstance(only, Unread), only
    return only


EXPECTED = Item(
    "com.example.form.submitted",
    "/forms/demo e-1",
    datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC),
    {
        "form": "demo",
        "cloudevent": {"source": "/forms/demo", "type": "com.example.form.submitted", "subject": "ana@example.com"},
    },
    email="ana@example.com",
)


@pytest.mark.parametrize(
    "request_",
    [
        sent(EVENT),
        sent(EVENT, "Application/CloudEvents+JSON; charset=utf-8"),
        sent(
            {"form": "demo"},
            "application/json",
            ce_specversion="1.0",
            ce_id="e-1",
            ce_source="/forms/demo",
            ce_type='"com.example.form.submitted"',
            ce_subject="ana%40example.com",
            ce_time="2024-05-06T07:08:09Z",
        ),
    ],
    ids=["structured", "structured, spelt otherwise", "binary"],
)
def test_an_event_is_the_same_in_every_mode(request_: Request) -> None:
    assert EXPECTED == item(request_)


def test_a_batch_has_its_events_with_their_places_and_one_wrong_costs_no_other() -> None:
    read = cloudevents.read(sent([EVENT, {**EVENT, "id": ""}, 5, {**EVENT, "id": "e-2"}], JSON_BATCH))

    assert ["/0", "/1/id", "/2", "/3"] == [one.pointer for one in read if isinstance(one, Item | Unread)]
    assert ["/forms/demo e-1", "/forms/demo e-2"] == [one.id for one in read if isinstance(one, Item)]
    assert [] == cloudevents.read(sent([], JSON_BATCH))


@pytest.mark.parametrize(
    ("subject", "contact", "who"),
    [
        ("Ana@Example.com", None, {"email": "Ana@Example.com"}),
        ("mailto:ana@example.com", None, {"email": "ana@example.com"}),
        ("user:7", None, {"user_id": "7"}),
        ("Anonymous: a-9", None, {"anonymous_id": "a-9"}),
        (None, {"user_id": 7}, {"user_id": "7"}),
        # The contact says more; the subject fills what it leaves open.
        ("user:7", {"email": "ana@example.com"}, {"email": "ana@example.com", "user_id": "7"}),
        ("user:7", {"user_id": "8"}, {"user_id": "8"}),
        ("invoices/12", {"user_id": "8"}, {"user_id": "8"}),
    ],
)
def test_whom_it_is_about_is_said_by_the_subject_or_the_contact(subject: Json, contact: Json, who: Json) -> None:
    read = item(sent({**EVENT, "subject": subject, "data": {"contact": contact, "x": 1}}))

    named = {"email": read.email, "user_id": read.user_id, "anonymous_id": read.anonymous_id}
    assert who == {name: value for name, value in named.items() if value is not None}
    assert {"x", "cloudevent"} == read.properties.keys()


@pytest.mark.parametrize(
    ("type_", "ours"),
    [("email.bounced", "email.bounced"), ("com.Example.thing_1", "com.Example.thing_1"), ("Signup", "track.signup")],
)
def test_a_dotted_type_stays_as_it_is(type_: str, ours: str) -> None:
    assert ours == item(sent({**EVENT, "type": type_})).type


@pytest.mark.parametrize(
    ("more", "properties"),
    [
        ({"data": None}, {}),
        ({"data": "text"}, {"data": "text"}),
        ({"data": [1, 2]}, {"data": [1, 2]}),
        ({"data_base64": base64.b64encode(b'{"x": 1}').decode()}, {"x": 1}),
        ({"data_base64": "AAE=", "datacontenttype": "image/png"}, {"data_base64": "AAE="}),
        ({"dataschema": "s", "traceparent": "t"}, {"form": "demo", "dataschema": "s", "traceparent": "t"}),
    ],
)
def test_data_of_any_kind_is_kept(more: Json, properties: Json) -> None:
    read = item(sent({**EVENT, **more})).properties

    meta = read.pop("cloudevent")
    assert properties == read | {name: meta[name] for name in ("dataschema", "traceparent") if name in meta}


@pytest.mark.parametrize(
    ("body", "type_", "properties"),
    [
        (b"", "application/json", {}),
        (b'{"x": 1}', "", {"x": 1}),
        (b"words", "text/plain; charset=utf-8", {"data": "words"}),
        (b"\x00\x01", "application/octet-stream", {"data_base64": "AAE="}),
        (b'{"x": 1}', "application/vnd.example+json", {"x": 1}),
    ],
)
def test_data_of_any_kind_is_kept_in_binary_mode(body: bytes, type_: str, properties: Json) -> None:
    headers = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "s", "ce-type": "a.b", "ce-subject": "user:%C3%A9"}

    read = item(Request("/v1/cloudevents", headers | ({"content-type": type_} if type_ else {}), body, NOW))

    assert "\u00e9" == read.user_id
    assert properties == {name: value for name, value in read.properties.items() if name != "cloudevent"}


@pytest.mark.parametrize(
    ("more", "pointer"),
    [
        ({"specversion": "0.3"}, "/specversion"),
        ({"id": None}, "/id"),
        ({"source": " "}, "/source"),
        ({"source": "two words"}, "/source"),
        ({"type": 5}, "/type"),
        ({"time": "2024-05-06"}, "/time"),
        ({"time": "2024-05-06T07:08:09"}, "/time"),
        ({"time": "2024-13-06T07:08:09Z"}, "/time"),
        ({"time": 5}, "/time"),
        ({"subject": "invoices/12"}, "/subject"),
        ({"subject": "user: "}, "/subject"),
        ({"data_base64": "?"}, "/data_base64"),
        ({"data_base64": 5}, "/data_base64"),
        ({"data_base64": "AAE="}, "/data_base64"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(more: Json, pointer: str) -> None:
    assert pointer == fault(sent({**EVENT, **more})).pointer


def test_source_and_id_are_the_identity() -> None:
    def id_of(**more: Json) -> object:
        [id_] = found(cloudevents.read, "s", sent({**EVENT, **more})).events
        return id_

    assert id_of() == id_of(type="a.b", time=None, subject="user:1")
    assert 3 == len({id_of(), id_of(id="e-2"), id_of(source="/other")})
    assert id_of(source="a", id="b c") != id_of(source="a", id="b  c")
    assert id_of(id="x" * 400) != id_of(id="x" * 401)


_ATTRIBUTES = st.dictionaries(
    st.sampled_from([*EVENT, "data_base64", "datacontenttype", "x"]),
    st.one_of(
        st.sampled_from(["1.0", "a.b", "user:1", "2024-05-06T07:08:09Z", "9999-12-31T23:59:59-23:59", "AAE="]),
        st.text(max_size=5),
        st.none(),
        st.integers(),
        st.lists(st.booleans(), max_size=2),
        st.dictionaries(st.just("contact"), st.dictionaries(st.just("email"), st.text(max_size=3))),
    ),
)


@settings(max_examples=150)
@given(
    body=st.one_of(st.binary(), _ATTRIBUTES.map(json.dumps), st.lists(_ATTRIBUTES).map(json.dumps)),
    type_=st.sampled_from([JSON_EVENT, JSON_BATCH, "application/json", "", "text/x", "application/cloudevents+xml"]),
    header=st.text(max_size=5),
)
def test_no_request_brings_the_reader_down(body: bytes | str, type_: str, header: str) -> None:
    content = body.encode() if isinstance(body, str) else body
    headers = {"ce-specversion": "1.0", "ce-type": "a.b", "ce-id": header, "ce-source": header, "ce-subject": header}

    for request in (sent(content, type_), Request("/", headers | {"content-type": type_}, content, NOW)):
        assert not [one for one in cloudevents.read(request) if not isinstance(one, Item | Unread)]
