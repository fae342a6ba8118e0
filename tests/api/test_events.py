import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import uuid4

import pytest

from app.api.vocabulary import TYPES
from app.engine.properties import MAX_BYTES, MAX_DEPTH
from app.store import pages
from tests.api.client import Api, Json, event_rule, pointers, said

ADA = {"email": "ada@example.com"}
BOB = {"email": "bob@example.com"}
SEEN = {"type": "page.viewed", "contact": ADA}
HARD = {"type": "email.bounced", "properties": {"bounce": "hard"}}
THEN = "2026-05-01T12:00:00Z"


def receipt(accepted: int, duplicates: int = 0) -> Json:
    return {"accepted": accepted, "duplicates": duplicates, "rejected": []}


async def stored(api: Api) -> int:
    count: int = await api.fetchval("SELECT count(*) FROM event")
    return count


# --- what comes in ----------------------------------------------------------------------------------------------------


async def test_one_event_is_stored_with_all_that_was_said(api: Api) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)  # noqa: TID251 - the machine's clock is the judge here
    event = {
        "id": "m-1",
        "type": "email.clicked",
        "occurred_at": "2026-05-01T14:00:00.25+02:00",
        "source": "newsletter",
        "contact": {"email": "ada@example.com", "user_id": "u-1", "anonymous_id": "a-1"},
        "properties": {"url": "https://example.com/ä", "n": 1, "f": 1.5, "t": True, "o": {"l": [None, "x"]}},
    }

    assert receipt(1) == await api.post("/v1/events", event)
    [shown] = (await api.get("/v1/events"))["items"]
    contact = await api.id_of("u-1", "user_id")
    assert contact == await api.id_of("ada@example.com")
    assert contact == await api.id_of("a-1", "anonymous_id")
    assert before < datetime.fromisoformat(shown.pop("received_at"))
    assert shown.pop("id")
    assert {
        "client_id": "m-1",
        "type": "email.clicked",
        "occurred_at": "2026-05-01T12:00:00.250000Z",
        "source": "newsletter",
        "contact": {"id": str(contact), "email": "ada@example.com"},
        "properties": event["properties"],
        "human": None,
        "human_by": None,
    } == shown


async def test_a_bad_event_is_named_with_place_and_pointer_and_spoils_no_other(api: Api) -> None:
    batch = [
        {"id": "1", **SEEN},
        {"type": "page.viewed", "contact": {"email": "nobody"}},
        {"id": "1", **SEEN},
        {"type": "page.viewed", "contact": {}},
        {"id": "2", **SEEN},
    ]

    reply = await api.post("/v1/events", {"events": batch})

    assert (2, 1) == (reply["accepted"], reply["duplicates"])
    assert [(1, "/contact/email"), (3, "/contact")] == [(one["index"], one["pointer"]) for one in reply["rejected"]]
    assert "@" in reply["rejected"][0]["detail"]
    assert "expected email, user_id or anonymous_id" == reply["rejected"][1]["detail"]
    assert 2 == await stored(api)


async def test_an_empty_batch_is_fine(api: Api) -> None:
    assert receipt(0) == await api.post("/v1/events", {"events": []})


WRONG: dict[str, tuple[str, str]] = {
    "no contact": ('{"type": "a.b"}', "/contact"),
    "no type": ('{"contact": {"user_id": "1"}}', "/type"),
    "a type without a dot": ('{"type": "opened", "contact": {"user_id": "1"}}', "/type"),
    "a type with a space": ('{"type": "a.b c", "contact": {"user_id": "1"}}', "/type"),
    "a type that ends in a line feed": ('{"type": "a.b\\n", "contact": {"user_id": "1"}}', "/type"),
    "a type that is a number": ('{"type": 7, "contact": {"user_id": "1"}}', "/type"),
    "an unknown name": ('{"type": "a.b", "contact": {"user_id": "1"}, "colour": 1}', "/colour"),
    "an unknown name, with a slash": ('{"type": "a.b", "contact": {"user_id": "1"}, "a/b~": 1}', "/a~1b~0"),
    "an unknown identity": ('{"type": "a.b", "contact": {"phone": "1"}}', "/contact/phone"),
    "an empty identity": ('{"type": "a.b", "contact": {"user_id": ""}}', "/contact/user_id"),
    "an identity that is a number": ('{"type": "a.b", "contact": {"user_id": 7}}', "/contact/user_id"),
    "an identity too long": (f'{{"type": "a.b", "contact": {{"user_id": "{"x" * 201}"}}}}', "/contact/user_id"),
    "a NUL in an identity": ('{"type": "a.b", "contact": {"user_id": "a\\u0000"}}', "/contact/user_id"),
    "a NUL in an address": ('{"type": "a.b", "contact": {"email": "a\\u0000@b.de"}}', "/contact/email"),
    "a NUL in the id": ('{"id": "\\u0000", "type": "a.b", "contact": {"user_id": "1"}}', "/id"),
    "a NUL in the source": ('{"source": "\\u0000", "type": "a.b", "contact": {"user_id": "1"}}', "/source"),
    "a NUL in a property": (
        '{"type": "a.b", "contact": {"user_id": "1"}, "properties": {"x": "\\u0000"}}',
        "/properties",
    ),
    "a NUL in a property's name": (
        '{"type": "a.b", "contact": {"user_id": "1"}, "properties": {"a\\u0000": 1}}',
        "/properties",
    ),
    "a NUL deep in a property": (
        '{"type": "a.b", "contact": {"user_id": "1"}, "properties": {"x": [{"y": ["\\u0000"]}]}}',
        "/properties",
    ),
    "half of a surrogate pair": ('{"type": "a.b", "contact": {"user_id": "\\ud800"}}', ""),
    "half of a surrogate pair in a property": (
        '{"type": "a.b", "contact": {"user_id": "1"}, "properties": {"x": "\\udc00!"}}',
        "",
    ),
    "half of a surrogate pair in a property's name": (
        '{"type": "a.b", "contact": {"user_id": "1"}, "properties": {"\\udc00": "!"}}',
        "",
    ),
    "infinity": ('{"type": "a.b", "contact": {"user_id": "1"}, "properties": {"x": 1e999}}', "/properties"),
    "minus infinity": ('{"type": "a.b", "contact": {"user_id": "1"}, "properties": {"x": [-1e999]}}', "/properties"),
    "no number": ('{"type": "a.b", "contact": {"user_id": "1"}, "properties": {"x": NaN}}', "/properties"),
    "65 bits": (
        f'{{"type": "a.b", "contact": {{"user_id": "1"}}, "properties": {{"x": {2**64}}}}}',
        "/properties",
    ),
    "nested too deep": (
        f'{{"type": "a.b", "contact": {{"user_id": "1"}}, "properties": {{"x": {"[" * MAX_DEPTH}{"]" * MAX_DEPTH}}}}}',
        "/properties",
    ),
    "properties too large": (
        f'{{"type": "a.b", "contact": {{"user_id": "1"}}, "properties": {{"x": "{"x" * MAX_BYTES}"}}}}',
        "/properties",
    ),
    "properties that are a list": ('{"type": "a.b", "contact": {"user_id": "1"}, "properties": []}', "/properties"),
    "no zone": ('{"type": "a.b", "contact": {"user_id": "1"}, "occurred_at": "2026-05-01T12:00:00"}', "/occurred_at"),
    "a day": ('{"type": "a.b", "contact": {"user_id": "1"}, "occurred_at": "2026-05-01"}', "/occurred_at"),
    "a Unix time": ('{"type": "a.b", "contact": {"user_id": "1"}, "occurred_at": 1777636800}', "/occurred_at"),
    "a month 13": (
        '{"type": "a.b", "contact": {"user_id": "1"}, "occurred_at": "2026-13-01T12:00:00Z"}',
        "/occurred_at",
    ),
    "before 1900": (
        '{"type": "a.b", "contact": {"user_id": "1"}, "occurred_at": "0001-01-01T00:00:00+23:59"}',
        "/occurred_at",
    ),
    "after 2999": (
        '{"type": "a.b", "contact": {"user_id": "1"}, "occurred_at": "9999-12-31T23:59:59-23:59"}',
        "/occurred_at",
    ),
    "a bounce of no kind": ('{"type": "email.bounced", "contact": {"user_id": "1"}}', "/properties/bounce"),
    "a bounce of another kind": (
        '{"type": "email.bounced", "contact": {"user_id": "1"}, "properties": {"bounce": "Hard"}}',
        "/properties/bounce",
    ),
    "a list": ("[]", ""),
    "nothing": ("null", ""),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_what_is_wrong_is_pointed_at_and_the_events_beside_it_are_stored(api: Api, wrong: str) -> None:
    text, pointer = WRONG[wrong]
    good = '{"id": "g%d", "type": "a.b", "contact": {"user_id": "1"}}'
    body = '{"events": [' + ", ".join([good % 1, text, good % 2]) + "]}"

    reply = said(await api.http.post("/v1/events", content=body.encode()), 200)

    assert (2, 0) == (reply["accepted"], reply["duplicates"])
    assert [(1, pointer)] == [(one["index"], one["pointer"]) for one in reply["rejected"]]
    assert reply["rejected"][0]["detail"]
    assert 2 == await stored(api)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"events": [',
        b"\xff\xfe\x00",
        b'{"type": "a.b", "contact": {"user_id": "\xff"}}',
        b"[]",
        b"null",
        b"1",
        b'"x"',
        b"x=1&y=2",
        b'{"events": 3}',
        b'{"events": null}',
        b'{"events": {"0": {}}}',
        b'{"events": [], "more": 1}',
        b'{"type": "a.b", "contact": {"user_id": "1"}, "properties": {"x": ' + b"9" * 10_000 + b"}}",
        b"[" * 100_000,
        b'{"events": [' + b"[" * 5_000 + b"]" * 5_000 + b"]}",
    ],
)
async def test_what_is_neither_an_event_nor_a_batch_is_refused_whole(api: Api, body: bytes) -> None:
    reply = await api.http.post("/v1/events", content=body)

    assert reply.status_code in (400, 422)
    assert 0 == await stored(api)


async def test_a_single_wrong_event_is_answered_as_a_batch_of_one(api: Api) -> None:
    reply = await api.post("/v1/events", {"type": "a.b", "contact": {"email": "x"}})

    assert (0, 0, ["/contact/email"]) == (
        reply["accepted"],
        reply["duplicates"],
        [one["pointer"] for one in reply["rejected"]],
    )


async def test_what_lies_just_inside_the_limits_is_taken(api: Api) -> None:
    deepest: Json = "bottom"
    for _ in range(MAX_DEPTH - 1):
        deepest = [deepest]
    properties = {
        "deep": deepest,
        "least": -(2**63),
        "most": 2**63 - 1,
        "tiny": 5e-324,
        "huge": 1.7976931348623157e308,
        "odd": "'; DROP TABLE event; -- \U0001f600 \u200b %_\\ \n",
        "": "no name",
        "x" * 200: None,
    }
    await api.send({**SEEN, "properties": properties}, {**SEEN, "properties": {"x": "x" * (MAX_BYTES - 8)}})

    listed = (await api.get("/v1/events"))["items"]
    assert properties in [one["properties"] for one in listed]


# --- once for ever ----------------------------------------------------------------------------------------------------


async def test_an_id_counts_once_for_ever_from_one_source(api: Api) -> None:
    await api.model("engagement", event_rule("page.viewed", 10))
    first = {**SEEN, "id": "e-1", "occurred_at": THEN}
    replays = [
        first,
        {**first, "occurred_at": "2026-05-09T12:00:00Z"},
        {**first, "contact": BOB},
        {**first, "type": "form.submitted"},
        {**first, "properties": {"other": 1}},
    ]

    assert receipt(1) == await api.send(first)
    for replay in replays:
        assert receipt(0, 1) == await api.send(replay)
    assert receipt(0, 5) == await api.send(*replays)
    assert receipt(1) == await api.send({**first, "source": "another"})
    assert 2 == await stored(api)
    assert 20 == await api.score("ada@example.com", "engagement")


async def test_an_id_counts_once_within_a_batch_and_the_first_stands(api: Api) -> None:
    first = {**SEEN, "id": "e-1"}

    assert receipt(1, 2) == await api.send(first, {**first, "contact": BOB}, {**first, "type": "a.b"})
    [shown] = (await api.get("/v1/events"))["items"]
    assert ("ada@example.com", "page.viewed") == (shown["contact"]["email"], shown["type"])


async def test_without_an_id_the_same_content_at_the_same_time_counts_once(api: Api) -> None:
    event = {**SEEN, "occurred_at": THEN, "properties": {"path": "/", "n": 1}}
    same = [
        {**event, "occurred_at": "2026-05-01T14:00:00+02:00"},
        {**event, "properties": {"n": 1, "path": "/"}},
        {**event, "contact": {"email": "Ada@Example.com"}},
        {**event, "source": "api"},
    ]
    others = [
        {**event, "occurred_at": "2026-05-01T12:00:00.000001Z"},
        {**event, "properties": {"path": "/", "n": 2}},
        {**event, "type": "page.left"},
        {**event, "source": "web"},
        {**event, "contact": BOB},
    ]

    assert receipt(1) == await api.send(event)
    assert receipt(0, 4) == await api.send(*same)
    assert receipt(5) == await api.send(*others)


async def test_with_neither_id_nor_time_an_event_is_a_new_one(api: Api) -> None:
    assert receipt(3) == await api.send(SEEN, SEEN, SEEN)
    assert receipt(1) == await api.send(SEEN)


async def test_many_small_requests_at_once_lose_and_double_nothing(api: Api) -> None:
    await api.model("engagement", event_rule("page.viewed", 1))
    events = [{**SEEN, "id": str(number)} for number in range(100)]

    replies = await asyncio.gather(*(api.send(event) for event in events + events))

    assert (100, 100) == (sum(one["accepted"] for one in replies), sum(one["duplicates"] for one in replies))
    assert 100 == await api.score("ada@example.com", "engagement")


# --- limits -----------------------------------------------------------------------------------------------------------


async def test_five_thousand_events_are_taken_and_one_more_is_too_large(api: Api) -> None:
    event = {"type": "a.b", "contact": {"user_id": "1"}}

    assert receipt(5_000) == await api.send(*[event] * 5_000)
    problem = await api.post("/v1/events", {"events": [event] * 5_001}, 413)
    assert "too_large" == problem["code"]
    assert 5_000 == await stored(api)


async def test_a_body_of_nearly_five_megabytes_is_taken(api: Api) -> None:
    event = {**SEEN, "properties": {"x": "x" * 60_000}}

    assert receipt(82) == await api.send(*[event] * 82)


async def test_a_body_over_five_megabytes_is_too_large(api: Api) -> None:
    event = {**SEEN, "properties": {"x": "x" * 60_000}}

    problem = await api.post("/v1/events", {"events": [event] * 84}, 413)

    assert "too_large" == problem["code"]
    assert 0 == await stored(api)


@pytest.mark.parametrize("path", ["/v1/events", "/v1/contacts", "/v1/models", "/v1/conditions/test"])
async def test_a_body_that_does_not_announce_its_length_is_bounded_too(api: Api, path: str) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 50_000_000:
            sent += 100_000
            yield b" " * 100_000

    reply = await api.http.post(path, content=endless(), headers={"content-type": "application/json"})

    assert "too_large" == said(reply, 413)["code"]
    assert sent < 6_000_000


# --- what events say of people ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", TYPES)
async def test_every_type_of_the_vocabulary_is_taken_and_listed(api: Api, type_: str) -> None:
    properties = {"bounce": "soft"} if type_ == "email.bounced" else {}

    await api.send({"type": type_, "contact": ADA, "properties": properties})

    [shown] = (await api.get("/v1/events", type=type_))["items"]
    assert (type_, properties) == (shown["type"], shown["properties"])


async def test_an_address_is_the_same_however_it_is_written(api: Api) -> None:
    spellings = ["ada@example.com", " ADA@Example.COM ", "Ada@example.com", "ada@EXAMPLE.com\t"]
    umlauts = ["jürgen@müller.example", "JU\u0308RGEN@MÜLLER.example", "jürgen@xn--mller-kva.example"]

    await api.send(*({"type": "a.b", "contact": {"email": email}} for email in spellings + umlauts))

    assert 2 == await api.fetchval("SELECT count(*) FROM contact")
    assert 4 == await api.fetchval(
        "SELECT count(*) FROM event WHERE contact_id = $1", await api.id_of("ada@example.com")
    )


async def test_bounces_and_opt_outs_set_their_flags_with_when_why_and_who(api: Api) -> None:
    await api.send(
        {**HARD, "occurred_at": THEN, "contact": ADA, "source": "esp"},
        {"type": "email.unsubscribed", "occurred_at": THEN, "contact": BOB, "source": "esp"},
        {"type": "email.complained", "occurred_at": THEN, "contact": {"email": "cy@example.com"}},
        {"type": "email.bounced", "contact": {"email": "di@example.com"}, "properties": {"bounce": "soft"}},
    )

    ada, bob = await api.contact("ada@example.com"), await api.contact("bob@example.com")
    cy, di = await api.contact("cy@example.com"), await api.contact("di@example.com")
    flag = ["bounced", "bounced_at", "bounced_reason", "bounced_by", "bounce_status"]
    assert [True, THEN, "hard_bounce", "esp", "hard"] == [ada[name] for name in flag]
    assert [False, None, None, None, "none"] == [bob[name] for name in flag]
    assert [False, None, None, None, "soft"] == [di[name] for name in flag]
    flag = ["opted_out", "opted_out_at", "opted_out_reason", "opted_out_by"]
    assert [True, THEN, "unsubscribed", "esp"] == [bob[name] for name in flag]
    assert [True, THEN, "complained", "api"] == [cy[name] for name in flag]
    assert [False, None, None, None] == [ada[name] for name in flag]


async def test_opting_in_again_clears_the_opt_out_and_not_the_bounce(api: Api) -> None:
    await api.send(
        {**HARD, "occurred_at": THEN, "contact": ADA},
        {"type": "email.unsubscribed", "occurred_at": "2026-05-02T12:00:00Z", "contact": ADA},
        {"type": "email.resubscribed", "occurred_at": "2026-05-03T12:00:00Z", "contact": ADA},
    )

    ada = await api.contact("ada@example.com")
    assert (False, True) == (ada["opted_out"], ada["bounced"])


async def test_five_soft_bounces_with_nothing_delivered_between_are_a_bounce(api: Api) -> None:
    bounce = {"type": "email.bounced", "properties": {"bounce": "soft"}}
    await api.send(*[{**bounce, "contact": ADA}] * 5)
    await api.send(*[{**bounce, "contact": BOB}] * 4)
    await api.send({"type": "email.delivered", "contact": BOB}, {**bounce, "contact": BOB})

    ada, bob = await api.contact("ada@example.com"), await api.contact("bob@example.com")
    assert (True, "soft", 5, "soft_bounces") == (
        ada["bounced"],
        ada["bounce_status"],
        ada["soft_bounces"],
        ada["bounced_reason"],
    )
    assert (False, "soft", 1) == (bob["bounced"], bob["bounce_status"], bob["soft_bounces"])


# --- the list ---------------------------------------------------------------------------------------------------------


async def walk(api: Api, path: str, **query: Json) -> list[list[Json]]:
    """Every page of a list."""
    found = []
    while True:
        page = await api.get(path, **query)
        assert {"items", "next_cursor"} == page.keys()
        found.append(page["items"])
        if page["next_cursor"] is None:
            return found
        query["cursor"] = page["next_cursor"]


async def test_walking_the_pages_gives_each_event_once_ties_included(api: Api) -> None:
    moments = [THEN, "2026-05-01T12:00:00.000001Z", "2026-05-02T12:00:00Z"]
    await api.send(*({**SEEN, "id": str(number), "occurred_at": moments[number % 3]} for number in range(31)))

    for limit in (1, 7, 31, 1000):
        found = await walk(api, "/v1/events", limit=limit)
        assert all(len(page) == limit for page in found[:-1])
        events = [one for page in found for one in page]
        assert {str(number) for number in range(31)} == {one["client_id"] for one in events}
        assert 31 == len(events)
        instants = [datetime.fromisoformat(one["occurred_at"]) for one in events]
        assert all(one >= after for one, after in pairwise(instants))


async def test_an_event_that_comes_in_while_somebody_walks_moves_no_page(api: Api) -> None:
    await api.send(*({**SEEN, "id": str(number), "occurred_at": THEN} for number in range(6)))

    first = await api.get("/v1/events", limit=3)
    await api.send({**SEEN, "id": "late", "occurred_at": "2026-06-01T12:00:00Z"})
    second = await api.get("/v1/events", limit=3, cursor=first["next_cursor"])

    assert set("012345") == {one["client_id"] for one in first["items"] + second["items"]}


async def test_the_list_is_filtered_by_contact_type_and_source(api: Api) -> None:
    await api.send(
        {"id": "1", "type": "a.b", "contact": ADA},
        {"id": "2", "type": "a.c", "contact": ADA, "source": "web"},
        {"id": "3", "type": "a.b", "contact": BOB, "source": "web"},
        {"id": "4", "type": "a.b", "contact": {"anonymous_id": "x"}, "source": "web"},
    )
    ada = str(await api.id_of("ada@example.com"))

    async def ids(**query: Json) -> set[str]:
        return {one["client_id"] for page in await walk(api, "/v1/events", limit=1, **query) for one in page}

    assert set("1234") == await ids()
    assert set("12") == await ids(contact_id=ada)
    assert set("134") == await ids(type="a.b")
    assert set("234") == await ids(source="web")
    assert set("34") == await ids(type="a.b", source="web")
    assert {"2"} == await ids(type="a.c", source="web", contact_id=ada)
    assert set() == await ids(contact_id=str(uuid4()))


NOWHERE = [
    "x",
    "!!!!",
    "é",
    "bnVsbA",
    pages.encode(1),
    pages.encode(1, 2),
    pages.encode(None, None),
    pages.encode("2026-05-01T12:00:00+00:00", "x"),
    pages.encode("yesterday", str(uuid4())),
    pages.encode("\0"),
    pages.encode("0001-01-01T00:00:00+23:00", str(uuid4())),
    pages.encode("9999-12-31T23:59:59-23:00", str(uuid4())),
    pages.encode("2026-05-01T12:00:00+00:00", str(uuid4()), 3),
    pages.encode({"a": 1}, [2]),
]


@pytest.mark.parametrize("path", ["/v1/events", "/v1/jobs", "/v1/models", "/v1/models/m/rules"])
async def test_a_cursor_of_no_list_is_refused(api: Api, path: str) -> None:
    await api.post("/v1/models", {"key": "m", "name": "M"}, 201)

    for cursor in NOWHERE:
        assert ["/cursor"] == pointers(await api.get(path, 422, cursor=cursor)), cursor


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"limit": 0}, "/limit"),
        ({"limit": 1001}, "/limit"),
        ({"limit": "ten"}, "/limit"),
        ({"limit": 10**30}, "/limit"),
        ({"contact_id": "ada"}, "/contact_id"),
        ({"type": "\x00"}, "/type"),
        ({"source": ""}, "/source"),
        ({"cursor": "\x00"}, "/cursor"),
    ],
)
async def test_a_query_that_makes_no_sense_is_pointed_at(api: Api, query: Json, pointer: str) -> None:
    assert [pointer] == pointers(await api.get("/v1/events", 422, **query))
