"""Signing in to Pipedrive, and what it says of whoever calls too much: against the stand-in, over HTTP."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest
import stamina

from app import clock
from app.connectors.faults import BudgetSpent, Busy, Refused, SignInRefused, Unreachable
from app.connectors.http import Reply
from app.connectors.pacing import Pace
from app.connectors.pipedrive import PROVIDER, access, limits
from app.connectors.provider import Grant, Setup
from app.connectors.shapes import Key, Write
from tests.connectors.given import Purse, Shelf
from tests.connectors.pipedrive_world import PERSON, Company

DAILY = {"x-daily-ratelimit-token-limit": "30000", "x-daily-ratelimit-token-remaining": "0"}
REDIRECT = "https://leadtally.example.org/signed-in"


# --- API tokens -------------------------------------------------------------------------------------------------------
async def test_a_token_signs_in_by_its_header_alone(acme: Company) -> None:
    id_ = await acme.person("ann@example.com")

    [ann] = await acme.connect().fetch(PERSON, [id_], ["email"])

    assert {"email": "ann@example.com"} == ann.values
    assert all("api_token" not in query for _, query in acme.front.queries)
    assert Grant(acme.crm.credentials("")["api_token"], base_url=acme.url) == acme.shelf.kept[-1]


async def test_a_token_that_pipedrive_does_not_know_is_told_how_to_mend(acme: Company) -> None:
    connector = acme.connect(keys={"api_token": "0" * 40})

    with pytest.raises(SignInRefused, match="API") as fault:
        await connector.describe(PERSON)

    assert "unauthorized" == fault.value.code
    assert "0" * 40 not in str(fault.value)


async def test_a_new_token_counts_though_another_is_kept(acme: Company) -> None:
    acme.shelf.kept.append(Grant("0" * 40, base_url=acme.url))

    assert await acme.connect().describe(PERSON)


async def test_without_an_address_the_api_of_all_companies_is_called() -> None:
    setup = Setup("api_token", {"api_token": "t"}, Shelf(), Purse())

    assert "https://api.pipedrive.com" == (await access.ByToken(setup).sign_in(None)).base_url


async def test_an_account_that_is_closed_stops_the_connection(acme: Company) -> None:
    acme.faults.closed = True

    with pytest.raises(SignInRefused, match="closed"):
        await acme.connect().describe(PERSON)


# --- OAuth ------------------------------------------------------------------------------------------------------------
async def test_a_browser_brings_a_code_that_is_exchanged(acme: Company) -> None:
    setup = acme.setup("oauth")
    asked = PROVIDER.authorize_url(setup, REDIRECT, "state & more", "challenge")
    sent_on = await acme.http.send("GET", asked)
    brought = dict(parse_qsl(urlsplit(sent_on.headers["location"]).query))

    grant = await PROVIDER.exchange(setup, acme.http, brought["code"], REDIRECT, "verifier")

    assert "state & more" == brought["state"]
    assert (acme.url, True) == (grant.base_url, grant.refresh_token is not None)
    assert "contacts:full" in grant.more["scope"]
    acme.shelf.kept.append(grant)
    # From then on it is where the answer said.
    connector = PROVIDER.connect(Setup("oauth", setup.credentials, acme.shelf, acme.purse), acme.http)
    assert await connector.describe(PERSON)
    with pytest.raises(SignInRefused, match="the code"):
        await PROVIDER.exchange(setup, acme.http, brought["code"], REDIRECT, "verifier")


@pytest.mark.parametrize("base_url", [None, "https://acme.pipedrive.com/"])
def test_a_companys_own_address_is_not_where_one_signs_in(base_url: str | None) -> None:
    setup = Setup("oauth", {"client_id": "c", "client_secret": "s"}, Shelf(), Purse(), base_url)

    assert PROVIDER.authorize_url(setup, REDIRECT, "s", "c").startswith("https://oauth.pipedrive.com/oauth/authorize?")


@pytest.mark.parametrize("rotates", [False, True])
async def test_an_access_token_that_ended_is_renewed_once_by_whoever_comes_first(acme: Company, rotates: bool) -> None:
    acme.faults.rotate_refresh_tokens = rotates
    id_ = await acme.person("ann@example.com")
    connectors = [acme.connect("oauth") for _ in range(3)]
    for connector in connectors:
        await connector.fetch(PERSON, [id_], [])
    first = acme.shelf.kept[-1]
    acme.later(3_700)

    found = await asyncio.gather(*(one.fetch(PERSON, [id_], ["email"]) for one in connectors for _ in range(8)))

    assert {"ann@example.com"} == {record.values["email"] for [record] in found}
    assert 2 == acme.calls("POST /oauth/token") == len(acme.shelf.kept)
    assert rotates == (first.refresh_token != acme.shelf.kept[-1].refresh_token)
    # The refresh token that came is the one that counts.
    acme.later(3_700)
    await connectors[0].fetch(PERSON, [id_], [])
    assert 3 == len(acme.shelf.kept)


async def test_a_token_that_is_refused_though_it_was_just_granted_is_refused(acme: Company) -> None:
    connector = acme.connect("oauth")
    await connector.describe(PERSON)
    acme.faults.unauthorized_next = 9

    with pytest.raises(SignInRefused, match="granted"):
        await connector.fetch(PERSON, ["1"], [])


@pytest.mark.parametrize(
    ("wrong", "code"),
    [({"refresh_token": "1:1:x"}, "invalid_grant"), ({"client_secret": "x"}, "invalid_client"),
     ({"refresh_token": None}, "not_signed_in")],
)  # fmt: skip
async def test_what_oauth_refuses_says_what_to_do(acme: Company, wrong: dict[str, str | None], code: str) -> None:
    keys = {**acme.setup("oauth").credentials, **wrong}

    with pytest.raises(SignInRefused) as fault:
        await acme.connect("oauth", keys={name: one for name, one in keys.items() if one is not None}).describe(PERSON)

    assert code == fault.value.code
    assert acme.crm.access.client_secret not in str(fault.value)


async def test_a_missing_scope_is_named(acme: Company) -> None:
    acme.faults.withheld_scopes = ["activities:full", "activities:read"]

    with pytest.raises(Refused, match="activities:read") as fault:
        await acme.connect("oauth").activities(None)

    assert "missing_scope" == fault.value.code


# --- limits -----------------------------------------------------------------------------------------------------------
async def test_a_burst_is_waited_for(acme: Company) -> None:
    acme.faults.busy_next, acme.faults.busy_reset_s = 1, 1
    began = time.monotonic()

    assert await acme.connect().describe(PERSON)

    assert time.monotonic() - began >= 0.9


@pytest.mark.parametrize(("times", "passes"), [(3, True), (4, False)])
async def test_a_burst_that_does_not_end_is_left_alone(acme: Company, times: int, passes: bool) -> None:
    acme.faults.busy_next, acme.faults.busy_reset_s = times, 0
    connector = acme.connect()

    if passes:
        assert await connector.describe(PERSON)
    else:
        with pytest.raises(Busy):
            await connector.describe(PERSON)


async def test_the_end_of_the_days_tokens_is_silence_until_pipedrive_says(acme: Company) -> None:
    acme.faults.daily_exhausted = True
    connector = acme.connect()

    for _ in range(3):
        with pytest.raises(Busy, match="tokens of the day") as fault:
            await connector.activities(None)

    assert 3_900 < (fault.value.until - clock.now()).total_seconds() <= 3_939
    assert 1 == acme.calls("GET /api/v2/activities")
    assert 0 == acme.purse.reported[-1][1]


def test_without_a_word_the_day_ends_at_midnight() -> None:
    now = clock.now()
    midnight = datetime(now.year, now.month, now.day, tzinfo=UTC) + timedelta(days=1)

    for reply in (Reply(429, DAILY, b"{}"), Reply(429, {}, b'{"error":"daily request budget exceeded"}')):
        busy = limits.silence(reply)
        assert busy is not None
        assert abs(busy.until - midnight) < timedelta(seconds=5)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({}, 2), ({"x-ratelimit-reset": "1"}, 1), ({"x-ratelimit-reset": "1999"}, 5), ({"x-ratelimit-reset": "-"}, 2),
     ({"retry-after": "3", "x-ratelimit-reset": "1"}, 3)],
)  # fmt: skip
def test_a_burst_ends_within_seconds(headers: dict[str, str], seconds: int) -> None:
    busy = limits.silence(Reply(429, headers, b'{"error":"request over limit"}'))

    assert busy is not None
    assert abs((busy.until - clock.now()).total_seconds() - seconds) < 0.5


async def test_a_gateway_that_shuts_us_out_is_left_alone_for_ten_minutes(acme: Company) -> None:
    acme.faults.blocked = True
    connector = acme.connect()

    for _ in range(3):
        with pytest.raises(Busy, match="gateway") as fault:
            await connector.activities(None)

    assert abs(fault.value.until - clock.now() - timedelta(minutes=10)) < timedelta(seconds=10)
    assert 1 == acme.calls("GET /api/v2/activities")
    acme.faults.blocked = False
    acme.later(601)
    assert (await connector.activities(None)).is_last


async def test_maintenance_is_borne_once_and_no_longer(acme: Company) -> None:
    with stamina.set_testing(True, attempts=3):
        acme.faults.unavailable_next = 2
        assert await acme.connect().describe(PERSON)

        acme.faults.unavailable_next = 3
        with pytest.raises(Unreachable):
            await acme.connect().activities(None)


async def test_what_the_headers_say_of_the_days_tokens_is_reported(acme: Company) -> None:
    acme.faults.plan, acme.faults.seats = "lite", 2

    await acme.connect().activities(None)

    assert [(60_000, 59_990)] == acme.purse.reported


async def test_every_call_costs_what_pipedrive_charges(acme: Company) -> None:
    score = await acme.field("Score", "double")
    id_ = await acme.person("ann@example.com")
    connector = acme.connect()

    await connector.describe(PERSON)
    await connector.changes(PERSON, None, [score])
    await connector.everybody(PERSON, None, [score])
    await connector.activities(None)
    await connector.find(PERSON, ["ann@example.com"], [])
    await connector.write([Write(Key(PERSON, id_), {score: 5})])
    await connector.subscribe(f"{acme.url}/hook", "user", "password")
    await connector.check()

    assert acme.tokens == acme.purse.spent


async def test_our_own_budget_ends_before_a_call(acme: Company) -> None:
    acme.purse.most = 5

    with pytest.raises(BudgetSpent):
        await acme.connect().activities(None)

    assert 0 == acme.tokens


async def test_no_more_calls_go_out_than_the_plan_allows(acme: Company) -> None:
    score = await acme.field("Score", "double")
    people = [await acme.person() for _ in range(26)]
    acme.faults.plan = "lite"

    outcomes = await acme.connect().write([Write(Key(PERSON, one), {score: 5}) for one in people])

    assert {"done"} == {one.end for one in outcomes}
    assert 26 == acme.calls("PATCH /api/v2/persons/{id}")


async def test_a_pace_lets_pass_so_many_in_a_window() -> None:
    pace = Pace(5, window_s=0.1)
    began = time.monotonic()

    await asyncio.gather(*(pace.turn() for _ in range(12)))

    assert time.monotonic() - began >= 0.2
