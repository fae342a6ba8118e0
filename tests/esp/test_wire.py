from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from app.esp import wire
from app.esp.shapes import BLOCKED, BOUNCED, HARD, SOFT, Unread

AT = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
NO_TIMES: list[object] = [None, True, "", "yesterday", "nan", "inf", "-1", 10**400, [1714979289], {}]


@pytest.mark.parametrize(
    ("value", "at"),
    [
        (1714979289, AT),
        ("1714979289", AT),
        (1714979289.25, AT.replace(microsecond=250_000)),
        (1714979289372, AT.replace(microsecond=372_000)),
        ("2024-05-06T07:08:09Z", AT),
        ("2024-05-06T02:08:09-05:00", AT),
        ("2024-05-06T07:08:09.9070259Z", AT.replace(microsecond=907_025)),
        ("2024-05-06 07:08:09", AT),
        (631151999, None),
        (7289654400, None),
        ("2201-01-01", None),
        ("1989-12-31T23:59:59Z", None),
        ("0001-01-01T00:00:00+14:00", None),
        *((odd, None) for odd in NO_TIMES),
    ],
    ids=str,
)
def test_a_time_is_read_in_every_form_that_providers_write(value: object, at: datetime | None) -> None:
    assert at == wire.instant(value)


@pytest.mark.parametrize(
    ("value", "email"),
    [
        (" Ana@Example.com ", "Ana@Example.com"),
        ("Ana <Ana@Example.com>", "Ana@Example.com"),
        ('"Lee, Ana" < ana@example.com >', "ana@example.com"),
        ("nobody at all", "nobody at all"),
        ("a\x00\ud800@example.com", "a\ufffd\ufffd@example.com"),
        ("<>", None),
        ("", None),
        (["ana@example.com"], None),
    ],
)
def test_an_address_is_freed_of_the_name_around_it(value: object, email: str | None) -> None:
    assert email == wire.address(value)


@pytest.mark.parametrize(
    ("form", "fields"),
    [
        (b"a=1&b=x+y%21&c=", {"a": "1", "b": "x y!", "c": ""}),
        (
            b"type=upemail&data%5Bmerges%5D%5BFNAME%5D=Ana&data[id]=7",
            {"type": "upemail", "data": {"merges": {"FNAME": "Ana"}, "id": "7"}},
        ),
        (b"tags[]=a&tags[]=b", {"tags": {"0": "a", "1": "b"}}),
        (b"a=1&a=2", {"a": "2"}),
        (b"a=1&a[b]=2&c[d]=3&c=4", {"a": "1", "c": {"d": "3"}}),
        (b"a[b=1&]=2&[]=3&=4", {"a": "1", "]": "2", "": {"0": "3"}}),
        (b"a" + b"[b]" * 8 + b"=1", {}),
        (b"%ff=%ff&\xff=1", {"\ufffd": "1"}),
        (b"&".join([b"a=1"] * 10_001), {}),
        (b"", {}),
    ],
)
def test_bracketed_names_of_a_form_become_objects(form: bytes, fields: dict[str, Any]) -> None:
    assert fields == wire.form(form)


def test_a_multipart_form_gives_its_fields_and_no_files() -> None:
    body = (
        b'--x--y\r\nContent-Disposition: form-data; name="event"\r\n\r\nbounced\r\n'
        b'--x--y\r\ncontent-disposition: form-data; name="tag"\r\nContent-Type: text/plain\r\n\r\na\r\nb\r\n'
        b'--x--y\r\nContent-Disposition: form-data; name="attachment-1"; filename="m.eml"\r\n\r\nx\r\n'
        b"--x--y--\r\n"
    )

    assert [("event", "bounced"), ("tag", "a\r\nb")] == wire.pairs(body)
    assert [("event", "bounced")] == wire.pairs(body[:110])
    assert [] == wire.pairs(b"--\xff\r\nno header\r\n\r\n")


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"\xef\xbb\xbf [1]", [1]),
        (b'["\xff"]', ["\ufffd"]),
        (b"[NaN, -Infinity, 1e999, 12345678901234567890]", [None, None, "1e999", "12345678901234567890"]),
        (b'["a\nb"]', ["a\nb"]),
    ],
)
def test_json_is_read_however_badly_it_is_written(body: bytes, value: object) -> None:
    assert value == wire.json_of(body)


@pytest.mark.parametrize(
    ("body", "wrong"),
    [(b" ", "the body is empty"), (b"[" * 100_000, "the body is nested too deeply"), (b"{]", "the body is not JSON: ")],
)
def test_what_is_not_json_is_said_to_be_none(body: bytes, wrong: str) -> None:
    [unread] = wire.each(body, lambda _item, _pointer: [])

    assert isinstance(unread, Unread)
    assert unread.detail.startswith(wrong)


def test_one_wrong_item_of_a_list_spoils_no_other() -> None:
    read = wire.each(b'[{"a": 1}, 5, {"a": 2}]', lambda item, pointer: [Unread(pointer, str(item["a"]))])

    assert [Unread("/0", "1"), Unread("/1", "expected an object"), Unread("/2", "2")] == read
    assert [Unread("", "expected an object, or a list of them")] == wire.each(b"5", lambda _item, _pointer: [])


def test_properties_hold_only_what_was_said_and_can_be_stored() -> None:
    nested: dict[str, Any] = {"a": {}}
    for _ in range(400):
        nested = {"a": nested}

    kept = wire.properties(
        status=None, tags=[], url="", code=550, machine=True, diagnostic="\ud800" + "x" * 5_000, custom=nested
    )

    assert {"code", "machine", "diagnostic", "custom"} == set(kept)
    assert "\ufffd" + "x" * (wire.LONGEST - 1) == kept["diagnostic"]
    assert 8 == orjson.dumps(kept["custom"]).count(b"{")


def test_a_large_value_is_left_out_and_costs_no_other() -> None:
    kept = wire.properties(bounce="hard", tags=["x" * 4_000] * 11, custom={"a": "x" * 4_000})

    assert {"bounce", "tags"} == set(kept)
    assert len(orjson.dumps(kept)) <= wire.MOST_BYTES


@pytest.mark.parametrize(
    ("words", "codes"),
    [
        ("550 5.1.1 no such user", (550, "5.1.1")),
        ("smtp; 452-4.2.2 full", (452, "4.2.2")),
        ("5.7.1: blocked, see 5.4.3.2", (None, "5.7.1")),
        ("connection from 5.4.3.2 lost after 550 seconds", (None, None)),
        (None, (None, None)),
    ],
)
def test_codes_are_found_in_a_servers_words(words: str | None, codes: tuple[int | None, str | None]) -> None:
    assert codes == wire.codes(words)


@pytest.mark.parametrize(
    ("words", "outcome"),
    [
        ("550 5.1.1 user unknown", (BOUNCED, HARD)),
        ("552 5.2.2 mailbox full", (BOUNCED, SOFT)),
        ("554 5.7.1 blocked, listed as spam source", (BLOCKED, None)),
        (None, (BOUNCED, SOFT)),
    ],
)
def test_a_refusal_that_nobody_judged_is_judged_by_its_words(words: str | None, outcome: wire.Outcome) -> None:
    assert outcome == wire.judged(None, None, words)


@pytest.mark.parametrize(
    ("value", "number"), [(5, 5), ("550", 550), (2.0, 2), ("5.1", None), (True, None), ("٣", None)]
)
def test_a_number_may_be_text(value: object, number: int | None) -> None:
    assert number == wire.number(value)


def test_an_id_is_the_same_for_a_redelivery_and_for_nothing_else() -> None:
    one = ("e1", "open", "ana@example.com", AT, "m1", None)
    others = [
        ("e2", *one[1:]),
        ("e1", "click", *one[2:]),
        ("e1", "open", "bob@example.com", *one[3:]),
        (None, *one[1:]),
        (None, *one[1:3], AT, "m1", "https://example.com"),
        (None, *one[1:3], AT, None, "m1"),
    ]

    assert wire.event_id(*one) == wire.event_id(*one)
    assert 1 + len(others) == len({wire.event_id(*given) for given in (one, *others)})
    assert wire.event_id(None, "open", "ana@example.com", None, None) is None
