"""The one HTTP client below all connectors: signed in once, counted, patient, and silent when it is asked to be."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime
from typing import NamedTuple

import pytest
import stamina
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app import clock
from app.connectors.faults import BudgetSpent, Busy, Fault, Refused, SignInRefused, Unreachable
from app.connectors.http import Http, Reply, Session, asked_to_wait
from app.connectors.provider import Grant, Setup
from tests.connectors.given import Purse, Shelf
from tests.test_outbound import reply

SECRET = "sesame-4711"
ADDRESS = "ann@example.com"
MINUTE = timedelta(minutes=1)


class Asked(NamedTuple):
    line: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def token(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ")


Answer = Callable[[Asked], Awaitable[bytes]]


@dataclass
class Crm:
    """A server that lets in who has a token that is alive, and answers as it is told; else `{}`."""

    alive: set[str] = field(default_factory=set)
    asked: list[Asked] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)
    """For the next calls that are let in."""
    wait_s: float = 0.0
    url: str = ""

    async def answer(self, asked: Asked) -> bytes:
        self.asked.append(asked)
        await asyncio.sleep(self.wait_s)
        if asked.token not in self.alive:
            return reply("401 Unauthorized", b"[]")
        return self.answers.pop(0) if self.answers else reply("200 OK", b"{}")


@asynccontextmanager
async def serving(crm: Crm) -> AsyncIterator[Crm]:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in head[1:] if one)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        writer.write(await crm.answer(Asked(head[0], headers, body)))
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    crm.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield crm


@dataclass
class Desk:
    """Gives tokens: `token 1`, `token 2`, … which the CRM knows, but for those of a `refused` desk."""

    crm: Crm
    shelf: Shelf
    given: int = 0
    takes_s: float = 0.0
    asked: int = 0
    refused: bool = False
    busy_s: int = 0
    """It asks for so long a silence."""
    forgets: bool = False
    """The CRM does not know the tokens that it gives."""

    async def sign_in(self, present: Grant | None) -> Grant:
        assert present == (self.shelf.kept[-1] if self.shelf.kept else None)
        self.asked += 1
        await asyncio.sleep(self.takes_s)
        if self.busy_s:
            raise Busy(clock.now() + timedelta(seconds=self.busy_s), "too many sign in")
        if self.refused:
            raise SignInRefused("invalid_grant", "the refresh token is spent", "connect again")
        self.given += 1
        if not self.forgets:
            self.crm.alive.add(f"token-{self.given}")
        return Grant(f"token-{self.given}", f"refresh-{self.given}", self.crm.url)

    def headers(self, grant: Grant) -> Mapping[str, str]:
        # What is called with must be kept by then: a crash would lose it otherwise.
        assert grant in self.shelf.kept
        return {"Authorization": f"Bearer {grant.access_token}"}

    def is_stale(self, reply: Reply) -> bool:
        return reply.status == 401

    def silence(self, reply: Reply) -> Busy | None:
        return asked_to_wait(reply, MINUTE)


class Place(NamedTuple):
    crm: Crm
    desk: Desk
    shelf: Shelf
    purse: Purse
    http: Http

    def session(self, base_url: str | None = None) -> Session:
        setup = Setup("any", {"client_secret": SECRET}, self.shelf, self.purse, base_url)
        return Session(self.http, setup, self.desk)


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    crm, shelf = Crm(), Shelf()
    async with serving(crm), Http(private=True, read_s=0.2) as http:
        yield Place(crm, Desk(crm, shelf), shelf, Purse(), http)
    clock.shift(timedelta())


@pytest.fixture(autouse=True)
def _at_once() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3, cap=True):
        yield


# --- signing in -------------------------------------------------------------------------------------------------------


async def test_the_first_call_signs_in_and_the_next_ones_do_not(place: Place) -> None:
    session = place.session()

    for _ in range(3):
        assert (await session.call("GET", "/persons")).is_success

    assert (1, ["token-1"] * 3) == (place.desk.given, [one.token for one in place.crm.asked])


async def test_a_grant_that_is_kept_is_used(place: Place) -> None:
    await place.session().call("GET", "/")
    await place.session().call("GET", "/")

    assert 1 == place.desk.given


async def test_many_calls_with_a_token_that_ended_sign_in_once(place: Place) -> None:
    session = place.session()
    await session.call("GET", "/")
    place.crm.alive.clear()
    place.crm.wait_s = place.desk.takes_s = 0.02

    replies = await asyncio.gather(*(session.call("POST", "/", json={"n": n}) for n in range(20)))

    assert (True, 2) == (all(one.is_success for one in replies), place.desk.given)


async def test_many_calls_at_the_beginning_sign_in_once(place: Place) -> None:
    session, place.desk.takes_s = place.session(), 0.02

    await asyncio.gather(*(session.call("GET", "/") for _ in range(20)))

    assert 1 == place.desk.given


async def test_two_processes_with_a_token_that_ended_sign_in_once(place: Place) -> None:
    sessions = [place.session(), place.session()]
    for session in sessions:
        await session.call("GET", "/")
    place.crm.alive.clear()

    await asyncio.gather(*(session.call("GET", "/") for session in sessions * 5))

    assert 2 == place.desk.given


async def test_what_another_process_was_granted_may_have_ended_too(place: Place) -> None:
    session = place.session()
    await session.call("GET", "/")
    place.crm.alive.clear()
    await place.session().call("GET", "/")  # the other process has token 2
    place.crm.alive.clear()

    assert (await session.call("GET", "/")).is_success
    assert ["token-1", "token-2", "token-3"] == [one.token for one in place.crm.asked[-3:]]


async def test_a_body_is_sent_again_with_the_new_token(place: Place) -> None:
    session = place.session()
    await session.call("GET", "/")
    place.crm.alive.clear()

    await session.call("POST", "/persons", json={"name": "Ann"})

    assert [b'{"name":"Ann"}'] * 2 == [one.body for one in place.crm.asked[-2:]]


async def test_a_crm_that_refuses_what_it_grants_is_not_asked_for_ever(place: Place) -> None:
    place.desk.forgets = True

    with pytest.raises(SignInRefused):
        await place.session().call("GET", "/")

    assert (3, 3) == (place.desk.given, len(place.crm.asked))


async def test_a_token_that_cannot_be_renewed_is_tried_once(place: Place) -> None:
    place.shelf.kept.append(Grant("typed-in", base_url=place.crm.url))

    async def the_same(present: Grant | None) -> Grant:
        return Grant("typed-in", base_url=place.crm.url)

    place.desk.sign_in = the_same  # type: ignore[method-assign]  # a desk that only hands over what was typed in
    with pytest.raises(SignInRefused):
        await place.session().call("GET", "/")

    assert 1 == len(place.crm.asked)


async def test_a_refused_sign_in_is_not_tried_again_and_calls_nothing(place: Place) -> None:
    session, place.desk.refused, place.desk.takes_s = place.session(), True, 0.02

    for calls in (1, 20):  # many that wait for the same are refused with it
        place.desk.asked = 0
        said = await asyncio.gather(*(session.call("GET", "/") for _ in range(calls)), return_exceptions=True)
        assert ({SignInRefused}, 1) == (set(map(type, said)), place.desk.asked)

    place.desk.refused = False
    assert (await session.call("GET", "/")).is_success
    assert 1 == len(place.crm.asked)


async def test_where_one_signs_in_may_ask_for_silence_too(place: Place) -> None:
    session, place.desk.busy_s = place.session(), 30

    for _ in range(3):
        with pytest.raises(Busy):
            await session.call("GET", "/")
    assert (1, []) == (place.desk.asked, place.crm.asked)

    place.desk.busy_s = 0
    clock.shift(timedelta(seconds=31))
    assert (await session.call("GET", "/")).is_success


@pytest.mark.parametrize("token", ["sésame", "two\nlines", " blank before", "blank after ", "", "nul\0"])
async def test_a_token_that_no_call_can_carry_is_refused_without_being_shown(place: Place, token: str) -> None:
    place.shelf.kept.append(Grant(token, base_url=place.crm.url))
    place.desk.headers = lambda grant: {"x-api-token": grant.access_token}  # type: ignore[method-assign]

    with pytest.raises(SignInRefused) as refused:
        await place.session().call("GET", "/")

    assert (False, []) == (bool(token.strip()) and token in str(refused.value), place.crm.asked)


# --- patience ---------------------------------------------------------------------------------------------------------


BROKEN = {
    "a gateway's page": reply("502 Bad Gateway", b"<html><title>502 Bad Gateway</title></html>"),
    "a fault of theirs": reply("500 Internal Server Error", b"[]"),
    "a torn answer": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
    "no answer": b"",
    "nonsense": b"220 mail.example.com ESMTP\r\n\r\n",
    "what is not zipped as it says": reply("200 OK", b"{}", b"Content-Encoding: gzip"),
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN.keys())
async def test_what_is_broken_is_tried_three_times(place: Place, answer: bytes) -> None:
    place.crm.answers = [answer] * 2

    assert (await place.session().call("GET", "/")).is_success

    place.crm.asked.clear()
    place.crm.answers = [answer] * 9
    with pytest.raises(Unreachable):
        await place.session().call("PATCH", "/")
    assert 3 == len(place.crm.asked)


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN.keys())
async def test_a_post_is_not_repeated_unless_it_may_be(place: Place, answer: bytes) -> None:
    place.crm.answers = [answer]
    with pytest.raises(Unreachable):
        await place.session().call("POST", "/")
    assert 1 == len(place.crm.asked)

    place.crm.answers = [answer]
    assert (await place.session().call("POST", "/", again=True)).is_success
    assert 3 == len(place.crm.asked)


async def test_who_says_nothing_for_too_long_is_unreachable(place: Place) -> None:
    place.crm.wait_s = 0.5

    with pytest.raises(Unreachable):
        await place.session().call("POST", "/")


async def test_nobody_there_is_unreachable(place: Place) -> None:
    place.shelf.kept.append(Grant("token", base_url="http://127.0.0.1:9"))

    with pytest.raises(Unreachable):
        await place.session().call("GET", "/")


async def test_what_is_no_json_is_unreachable_and_what_is_refused_is_an_answer(place: Place) -> None:
    place.crm.answers = [reply("200 OK", b"<html>"), reply("404 Not Found", b'{"error": "gone"}')]
    session = place.session()

    with pytest.raises(Unreachable):
        (await session.call("GET", "/")).json()
    missing = await session.call("GET", "/")
    assert (404, {"error": "gone"}) == (missing.status, missing.json())


@pytest.mark.parametrize("unsendable", [{"score": 10**30}, {"name": "\ud800"}])
async def test_what_cannot_be_said_in_json_is_refused_and_not_sent(place: Place, unsendable: object) -> None:
    with pytest.raises(Refused):
        await place.session().call("POST", "/", json=unsendable)

    assert [] == place.crm.asked


# --- silence ----------------------------------------------------------------------------------------------------------


async def test_a_connection_is_silent_until_it_may_speak_again(place: Place) -> None:
    session = place.session()
    place.crm.answers = [reply("429 Too Many Requests", b"", b"Retry-After: 30")]

    with pytest.raises(Busy) as first:
        await session.call("GET", "/")
    clock.shift(timedelta(seconds=29))
    with pytest.raises(Busy) as second:
        await session.call("GET", "/")
    assert (1, first.value.until) == (len(place.crm.asked), second.value.until)

    clock.shift(timedelta(seconds=31))
    assert (await session.call("GET", "/")).is_success
    assert (2, 2) == (len(place.crm.asked), place.purse.spent)


async def test_of_two_silences_the_longer_one_is_kept(place: Place) -> None:
    session = place.session()
    await session.call("GET", "/")
    place.crm.wait_s = 0.02
    place.crm.answers = [reply("429 Too Many", b"", b"Retry-After: 60"), reply("429 Too Many", b"", b"Retry-After: 1")]

    said = await asyncio.gather(session.call("GET", "/"), session.call("GET", "/"), return_exceptions=True)
    clock.shift(timedelta(seconds=30))

    assert [True, True] == [isinstance(one, Busy) for one in said]
    with pytest.raises(Busy):
        await session.call("GET", "/")


@pytest.mark.parametrize(
    ("status", "said", "seconds"),
    [
        (429, "30", 30), (429, "0", 0), (429, "-5", 0), (429, "1.5", 1.5), (429, None, 60), (429, "soon", 60),
        (429, "", 60), (429, "nan", 60), (429, "inf", 60), (429, "1e400", 60), (429, "9" * 400, 60),
        (429, "31536000", 86_400), (503, "5", 5), (429, "Thu, 01 Jan 1970 00:00:00 GMT", 0),
        (429, "Fri, 31 Dec 9999 23:59:59 GMT", 86_400), (429, "Fri, 31 Dec 9999 23:59:59 -0000", 86_400),
    ],
)  # fmt: skip
def test_how_long_a_crm_asks_to_wait(status: int, said: str | None, seconds: float) -> None:
    before = clock.now()
    asked = asked_to_wait(Reply(status, {} if said is None else {"retry-after": said}, b""), MINUTE)

    assert asked is not None
    assert timedelta(seconds=seconds) <= asked.until - before <= timedelta(seconds=seconds + 1)


def test_a_date_to_wait_for_is_read() -> None:
    at = (clock.now() + timedelta(minutes=10)).replace(microsecond=0)
    asked = asked_to_wait(Reply(429, {"retry-after": format_datetime(at, usegmt=True)}, b""), MINUTE)

    assert asked is not None
    assert abs(asked.until - at) < timedelta(seconds=1)


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 500, 502, 503])
def test_nobody_else_asks_to_wait(status: int) -> None:
    assert asked_to_wait(Reply(status, {}, b""), MINUTE) is None


@given(st.text() | st.from_regex(r"\A[A-Z][a-z]{2}, \d{1,3} [A-Z][a-z]{2} \d{1,12} \d\d:\d\d(:\d\d)? [-+]?\w{0,9}\Z"))
@example("Thu, 01 Jan 99999999999 00:00:00 GMT")
@example("Mon, 01 Jan 0001 00:00:00 +2359")
@settings(deadline=None, max_examples=200)
def test_whatever_is_said_the_wait_is_at_most_a_day(said: str) -> None:
    now = clock.now()
    asked = asked_to_wait(Reply(429, {"retry-after": said}, b""), MINUTE)

    assert asked is not None
    assert now <= asked.until <= clock.now() + timedelta(days=1)


# --- what it costs ----------------------------------------------------------------------------------------------------


async def test_every_call_is_paid_whatever_comes_of_it(place: Place) -> None:
    session = place.session()
    place.crm.answers = [reply("502 Bad Gateway"), reply("200 OK", b"{}"), reply("404 Not Found", b"{}")]

    await session.call("GET", "/", cost=10)
    await session.call("GET", "/", cost=5)

    assert 10 + 10 + 5 == place.purse.spent


async def test_a_call_that_would_cost_too_much_is_not_made(place: Place) -> None:
    place.purse.most, session = 9, place.session()
    await session.call("GET", "/", cost=5)

    with pytest.raises(BudgetSpent):
        await session.call("GET", "/", cost=5)

    assert (1, 5) == (len(place.crm.asked), place.purse.spent)


# --- what it sends, and does not say ----------------------------------------------------------------------------------


async def test_a_path_is_below_the_address_that_was_set_up_or_else_granted(place: Place) -> None:
    await place.session().call("GET", "persons?limit=1")
    await place.session(f"{place.crm.url}/sandbox/").call("GET", "/persons")
    await place.session("http://127.0.0.1:9").call("GET", f"{place.crm.url}/elsewhere")

    lines = [one.line.split(" ")[1] for one in place.crm.asked]
    assert ["/persons?limit=1", "/sandbox/persons", "/elsewhere"] == lines


async def test_a_redirect_is_an_answer_and_takes_no_token_elsewhere(place: Place) -> None:
    place.crm.answers = [reply("302 Found", b"", b"Location: " + place.crm.url.encode() + b"/elsewhere")]

    assert 302 == (await place.session().call("GET", "/")).status
    assert 1 == len(place.crm.asked)


async def test_cookies_of_one_connection_are_not_sent_by_another(place: Place) -> None:
    place.crm.answers = [reply("200 OK", b"{}", b"Set-Cookie: session=of-ann; Path=/")]

    for _ in range(2):
        await place.session().call("GET", "/")

    assert [False, False] == ["cookie" in one.headers for one in place.crm.asked]


async def test_a_client_that_is_not_private_calls_nothing_here(place: Place) -> None:
    async with Http() as http:
        for url in (place.crm.url, "https://127.0.0.1/", "https://localhost/"):
            with pytest.raises(Unreachable):
                await http.send("GET", url)

    assert [] == place.crm.asked


async def test_nothing_of_a_credential_or_an_address_is_said_or_logged(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    faults: list[Fault] = []
    with caplog.at_level(logging.DEBUG):
        for name in ("httpx", "httpcore", "stamina"):
            caplog.set_level(logging.DEBUG, name)
        for answer in [*BROKEN.values(), reply("429 Too Many", b"")]:
            place.crm.answers = [answer] * 3
            place.shelf.kept = [Grant(SECRET, SECRET, place.crm.url)]
            place.crm.alive.add(SECRET)
            with pytest.raises(Fault) as fault:
                await place.session().call("GET", f"/{SECRET}", params={"term": ADDRESS}, json={"email": ADDRESS})
            faults.append(fault.value)

    told = "\n".join([caplog.text, *(repr(one) + str(one) + repr(one.__cause__) for one in faults)])
    assert [] == [one for one in (SECRET, ADDRESS, "ann%40") if one in told]
