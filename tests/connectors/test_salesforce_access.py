"""Signing in to Salesforce, staying signed in, and what its limits and gateways do."""

import asyncio
import hashlib
from base64 import urlsafe_b64encode
from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest

from app import clock
from app.connectors import providers
from app.connectors.faults import Busy, SignInRefused, Unreachable
from app.connectors.provider import Setup
from app.connectors.salesforce import PROVIDER, Salesforce
from app.connectors.salesforce.access import Access
from app.sandbox.salesforce.org import INTEGRATION, ORG_ID
from tests.connectors.salesforce_org import MOVED, Org

BACK = "https://leadtally.test/back"
VERIFIER = "a" * 43
CHALLENGE = urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")


async def code(org: Org, setup: Setup) -> str:
    """What the browser brings."""
    address = PROVIDER.authorize_url(setup, BACK, "state", CHALLENGE)
    async with httpx.AsyncClient(trust_env=False) as browser:
        answer = await browser.get(address)
    said = parse_qs(urlsplit(answer.headers["location"]).query)
    assert ["state"] == said["state"]
    return said["code"][0]


async def test_salesforce_is_one_of_the_providers() -> None:
    provider = providers()["salesforce"]

    assert ("Salesforce", "requests") == (provider.title, provider.unit)
    assert ["client_credentials", "jwt_bearer", "web_server"] == [one.name for one in provider.flows]
    assert [False, False, True] == [one.is_interactive for one in provider.flows]


@pytest.mark.parametrize("flow", ["client_credentials", "jwt_bearer"])
async def test_a_grant_says_who_we_are_and_where_the_api_is(org: Org, flow: str) -> None:
    org.crm.faults.instance_url = org.front.url + MOVED + "/"
    await org.connect(flow).describe("Contact")
    [grant] = org.shelf.kept

    assert INTEGRATION == grant.user
    assert {"organization": ORG_ID} == grant.more
    assert org.front.url + MOVED == grant.base_url
    assert ["POST /services/oauth2/token", f"GET {MOVED}/services/data/v62.0/sobjects/Contact/describe"] == (
        org.front.calls
    )


async def test_a_private_key_may_have_its_line_breaks_written_out(org: Org) -> None:
    pem = org.setup("jwt_bearer").credentials["private_key"]
    setup = org.with_credentials("jwt_bearer", private_key=pem.replace("\n", "\\n"))

    assert INTEGRATION == (await Access(org.http, setup).sign_in(None)).user


async def test_an_assertion_is_for_the_login_host_of_its_kind_of_org(org: Org) -> None:
    hosts = {
        "https://acme.my.salesforce.com": "https://login.salesforce.com",
        "https://acme--uat.sandbox.my.salesforce.com": "https://test.salesforce.com",
        "https://test.salesforce.com": "https://test.salesforce.com",
    }
    for host, audience in hosts.items():
        signed = Access(org.http, replace(org.setup("jwt_bearer"), base_url=host))._assertion()
        assert audience == jwt.decode(signed, options={"verify_signature": False})["aud"]


@pytest.mark.parametrize("key", ["", "no key", "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----"])
async def test_what_is_no_private_key_is_said_to_be_none(org: Org, key: str) -> None:
    with pytest.raises(SignInRefused, match="private key cannot be read") as refused:
        await Access(org.http, org.with_credentials("jwt_bearer", private_key=key)).sign_in(None)

    assert "bad_key" == refused.value.code


async def test_a_browser_signs_in_and_each_refresh_token_is_kept_before_its_access_token_is_used(org: Org) -> None:
    org.crm.faults.rotate_refresh_tokens = True
    setup = org.setup("web_server")
    org.shelf.kept.append(await PROVIDER.exchange(setup, org.http, await code(org, setup), BACK, VERIFIER))
    crm = Salesforce(setup, org.http)
    for _ in range(3):
        await crm.find("Contact", ["ada@example.com"], ["Email"])
        org.crm.login.expire()
    await crm.find("Contact", ["ada@example.com"], ["Email"])

    assert 4 == len(org.shelf.kept) == len({one.refresh_token for one in org.shelf.kept})
    assert None not in {one.refresh_token for one in org.shelf.kept}


async def test_a_refresh_token_that_is_not_rotated_is_kept(org: Org) -> None:
    setup = org.setup("web_server")
    org.shelf.kept.append(await PROVIDER.exchange(setup, org.http, await code(org, setup), BACK, VERIFIER))
    org.crm.login.expire()
    await Salesforce(setup, org.http).describe("Contact")
    first, second = org.shelf.kept

    assert first.refresh_token == second.refresh_token
    assert first.access_token != second.access_token


async def test_whoever_has_not_signed_in_with_a_browser_is_asked_to(org: Org) -> None:
    with pytest.raises(SignInRefused, match="connect with a browser"):
        await org.connect("web_server").describe("Contact")


async def test_client_credentials_need_the_orgs_own_address(org: Org) -> None:
    with pytest.raises(SignInRefused, match="My Domain"):
        await Access(org.http, replace(org.setup(), base_url=None)).sign_in(None)


@pytest.mark.parametrize(
    ("described", "code", "mend"),
    [
        ("no client credentials user enabled", "invalid_grant", "Run-As"),
        ("request not supported on this domain", "invalid_grant", "My Domain"),
        ("user hasn't approved this consumer", "invalid_grant", "pre-authorise"),
        ("expired access/refresh token", "invalid_grant", "connect again"),
        ("client identifier invalid", "invalid_client_id", "consumer key"),
        ("invalid client credentials", "invalid_client", "consumer key"),
        ("user is not admin approved to access this app", "invalid_app_access", "permission set"),
        ("grant type not supported", "unsupported_grant_type", "enable the flow"),
        ("authentication failure", "invalid_grant", "Login History"),
    ],
)
async def test_a_refused_sign_in_says_what_to_mend(org: Org, described: str, code: str, mend: str) -> None:
    org.crm.faults.login = described
    with pytest.raises(SignInRefused, match=mend) as refused:
        await org.connect().describe("Contact")

    assert code == refused.value.code
    assert org.setup().credentials["client_secret"] not in str(refused.value)


async def test_a_token_that_ended_is_renewed_once_for_all_calls_that_notice(org: Org) -> None:
    crm = org.connect()
    await crm.describe("Contact")
    org.crm.login.expire()
    await asyncio.gather(*(crm.find("Contact", [f"{n}@example.com"], ["Email"]) for n in range(8)))

    assert 2 == len(org.shelf.kept) == org.front.count("oauth2/token")


async def test_a_session_that_may_not_use_rest_is_not_renewed(org: Org) -> None:
    org.crm.faults.fail_next = ["no_rest"]
    with pytest.raises(SignInRefused) as refused:
        await org.connect().describe("Contact")

    assert "no_rest_access" == refused.value.code
    assert 1 == org.front.count("oauth2/token")


async def test_the_day_is_waited_for_by_quarters_of_an_hour_and_a_crowd_for_seconds(org: Org) -> None:
    crm = org.connect()
    org.crm.faults.fail_next = ["busy"]
    with pytest.raises(Busy) as crowded:
        await crm.describe("Contact")
    await org.connect().describe("Contact")
    org.crm.faults.daily_limit = 1
    with pytest.raises(Busy) as spent:
        await org.connect().describe("Contact")

    assert timedelta() < crowded.value.until - clock.now() <= timedelta(seconds=5)
    assert timedelta(minutes=14) < spent.value.until - clock.now() <= timedelta(minutes=15)


async def test_what_salesforce_says_of_its_limit_is_reported(org: Org) -> None:
    org.crm.faults.daily_limit = 100
    crm = org.connect()
    await crm.describe("Contact")
    org.crm.faults.hide_limit_info = True
    await crm.describe("Lead")

    assert [(100, 99)] == org.purse.reported
    assert 2 == org.purse.spent


async def test_a_gateways_page_is_no_answer_and_reads_are_repeated(org: Org) -> None:
    crm = org.connect()
    org.crm.faults.fail_next = ["html_502"]
    fields = await crm.describe("Contact")

    assert "Email" in {one.name for one in fields}


async def test_a_login_page_in_place_of_a_token_is_no_answer(org: Org) -> None:
    async def page(scope: object, receive: object, send: object) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator] # ASGI's
        await send({"type": "http.response.body", "body": b"<html>Log in</html>"})  # type: ignore[operator] # ASGI's

    org.front.app = page
    with pytest.raises(Unreachable, match="not JSON"):
        await Access(org.http, org.setup()).sign_in(None)
