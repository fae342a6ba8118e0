"""Signing in to HubSpot, what it tells of a token, how fast it may be called, and what a check finds."""

import asyncio
import time
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from app import clock
from app.connectors import providers
from app.connectors.faults import Busy, Refused, SignInRefused, Unreachable
from app.connectors.hubspot import PROVIDER
from app.connectors.hubspot.limits import Limits
from app.connectors.shapes import Checked, Level
from app.sandbox.hubspot.portal import PORTAL_ID, PRIVATE_APP, PUBLIC_APP
from tests.connectors.hubspot_account import CONTACT, CONTACTS, READ, SEARCH, Account, Json, fetched

BACK = "https://leadtally.test/back"


def found(checked: Checked) -> dict[str, Level]:
    return {one.code: one.level for one in checked.findings}


def test_hubspot_is_one_of_the_providers() -> None:
    provider = providers()["hubspot"]

    assert ("HubSpot", "requests") == (provider.title, provider.unit)
    assert [("private_app", False), ("oauth", True)] == [(one.name, one.is_interactive) for one in provider.flows]


# --- who we are -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("flow", "app"), [("private_app", PRIVATE_APP), ("oauth", PUBLIC_APP)])
async def test_a_grant_says_which_account_it_is_of_and_which_app_we_are(hubspot: Account, flow: str, app: int) -> None:
    await hubspot.connect(flow).describe(CONTACT)

    told = hubspot.shelf.kept[-1].more
    assert (str(PORTAL_ID), str(app)) == (told["portal"], told["app"])
    assert "crm.objects.contacts.write" in told["scopes"].split()


async def test_a_browser_is_asked_for_all_that_is_needed(hubspot: Account) -> None:
    asked = parse_qs(urlsplit(PROVIDER.authorize_url(hubspot.setup("oauth"), BACK, "state", "")).query)

    assert (["state"], [BACK]) == (asked["state"], asked["redirect_uri"])
    assert {"crm.schemas.contacts.write", "communication_preferences.read_write"} <= set(asked["scope"][0].split())


async def test_what_is_known_of_an_account_is_not_asked_again_with_each_renewal(hubspot: Account) -> None:
    connector = hubspot.connect("oauth")
    for _ in range(3):
        await connector.everybody(CONTACT, None, [])
        await hubspot.edit("expire", "tokens")

    assert (4, 1) == (len(hubspot.shelf.kept), len(hubspot.front.named("access-tokens")))


async def test_a_refresh_token_that_was_rotated_is_kept_though_nothing_is_told_of_the_new_one(hubspot: Account) -> None:
    hubspot.faults.rotate_refresh_tokens = True
    hubspot.front.answers = lambda call, _: (502, {}) if "access-tokens" in call else None
    await hubspot.connect("oauth").everybody(CONTACT, None, [])
    await hubspot.edit("expire", "tokens")
    hubspot.front.answers = lambda _, __: None

    await hubspot.connect("oauth").everybody(CONTACT, None, [])

    assert 3 == len({one.refresh_token for one in hubspot.shelf.kept})
    assert str(PORTAL_ID) == hubspot.shelf.kept[-1].more["portal"]


async def test_a_private_apps_token_that_was_rotated_is_refused_in_words(hubspot: Account) -> None:
    await hubspot.connect().everybody(CONTACT, None, [])
    setup = hubspot.setup(keys={"access_token": "pat-na1-of-old"})

    with pytest.raises(SignInRefused) as refused:
        await PROVIDER.connect(setup, hubspot.http).everybody(CONTACT, None, [])

    assert "Private Apps" in refused.value.mend
    assert "pat-na1" not in str(refused.value)


async def test_an_app_that_was_uninstalled_has_to_be_signed_in_again(hubspot: Account) -> None:
    connector = hubspot.connect("oauth")
    await connector.everybody(CONTACT, None, [])
    await hubspot.edit("uninstall", "app")

    with pytest.raises(SignInRefused) as refused:
        await connector.everybody(CONTACT, None, [])
    assert "BAD_REFRESH_TOKEN" == refused.value.code


# --- limits -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("policy", "wait_s"), [("TEN_SECONDLY_ROLLING", 10), ("DAILY", None)])
@pytest.mark.parametrize("tells", [True, False])
async def test_silence_lasts_as_long_as_the_policy_has_it(
    hubspot: Account, policy: str, wait_s: int | None, *, tells: bool
) -> None:
    hubspot.faults.busy_next, hubspot.faults.busy_policy, hubspot.faults.no_retry_after = 1, policy, not tells
    connector = hubspot.connect()
    with pytest.raises(Busy) as busy:
        await connector.everybody(CONTACT, None, [])

    left = busy.value.until - clock.now()
    if wait_s is None:
        # Midnight, wherever the account is, comes with a full hour.
        assert (0, timedelta()) == (busy.value.until.minute, max(left - timedelta(hours=1, seconds=6), timedelta()))
    else:
        assert abs(left - timedelta(seconds=wait_s)) < timedelta(seconds=2)
    calls = len(hubspot.front.named(CONTACTS))
    with pytest.raises(Busy):
        await connector.everybody(CONTACT, None, [])
    assert calls == len(hubspot.front.named(CONTACTS))


async def test_a_second_is_waited_for(hubspot: Account) -> None:
    connector = hubspot.connect()
    await connector.everybody(CONTACT, None, [])
    hubspot.faults.busy_next, hubspot.faults.busy_policy, hubspot.faults.busy_retry_after_s = 1, "SECONDLY", 1

    began = time.monotonic()
    await connector.everybody(CONTACT, None, [])
    assert 0.9 < time.monotonic() - began < 3


async def test_an_account_that_is_moved_is_left_alone(hubspot: Account) -> None:
    hubspot.faults.fail_next = ["migrating"]

    with pytest.raises(Busy, match="data centre"):
        await hubspot.connect().everybody(CONTACT, None, [])


async def test_what_is_locked_in_passing_is_for_later(hubspot: Account) -> None:
    connector = hubspot.connect()
    await connector.describe(CONTACT)
    hubspot.faults.fail_next = ["locked"] * 3

    with pytest.raises(Unreachable):
        await connector.everybody(CONTACT, None, [])


async def test_searches_stay_below_five_a_second(hubspot: Account) -> None:
    hubspot.faults.search_limit = 5
    connector = hubspot.connect(calls_in_10_s=None, searches_in_1_s=None)
    page = await connector.changes(CONTACT, None, [])

    began = time.monotonic()
    await asyncio.gather(*(connector.changes(CONTACT, page.cursor, []) for _ in range(8)))

    assert time.monotonic() - began > 1
    assert 8 == len(hubspot.front.bodies(SEARCH))  # none was refused and made again


async def test_what_an_answer_says_of_the_limit_is_believed_but_for_a_choice(hubspot: Account) -> None:
    hubspot.faults.burst_limit, hubspot.faults.daily_limit = 1_000, 5_000
    limits = Limits(is_private=True, choices={})
    reply = await hubspot.http.send(
        "GET",
        f"{hubspot.url}{CONTACTS}",
        headers={"Authorization": f"Bearer {hubspot.setup().credentials['access_token']}"},
    )

    assert 90 == limits._calls.most
    assert (5_000, 4_999) == limits.hear(reply)
    assert 900 == limits._calls.most
    chosen = Limits(is_private=True, choices={"calls_in_10_s": 50})
    chosen.hear(reply)
    assert 50 == chosen._calls.most


async def test_what_is_left_of_the_day_is_reported(hubspot: Account) -> None:
    hubspot.faults.daily_limit = 100
    connector = hubspot.connect()
    for _ in range(3):
        await connector.everybody(CONTACT, None, [])
    assert (100, 96) == hubspot.purse.reported[-1]  # with the list of properties

    hubspot.faults.daily_limit = 4
    with pytest.raises(Busy):
        await connector.everybody(CONTACT, None, [])


# --- checking ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("flow", ["private_app", "oauth"])
async def test_a_check_of_what_is_well_finds_nothing_wrong(hubspot: Account, flow: str) -> None:
    checked = await hubspot.connect(flow).check()

    assert checked.account is not None
    assert checked.account.user == str(PRIVATE_APP if flow == "private_app" else PUBLIC_APP)
    assert ({"no_signature": Level.NOTE} if flow == "private_app" else {}) == found(checked)


@pytest.mark.parametrize(
    ("scope", "level"),
    [
        ("crm.objects.contacts.write", Level.ERROR), ("crm.schemas.contacts.write", Level.WARNING),
        ("crm.objects.contacts.read", Level.ERROR), ("communication_preferences.read_write", Level.WARNING),
    ],
)  # fmt: skip
async def test_a_scope_that_is_missing_is_named(hubspot: Account, scope: str, level: Level) -> None:
    hubspot.faults.withheld_scopes = [scope, "communication_preferences.read", "crm.schemas.contacts.read"]
    if not scope.startswith("communication"):
        hubspot.faults.withheld_scopes = [scope]

    checked = await hubspot.connect().check()

    named = [one for one in checked.findings if scope in one.mend]
    assert ({"missing_scope"}, True) == ({one.code for one in named}, level in {one.level for one in named})


async def test_what_is_refused_is_told_without_what_was_sent(hubspot: Account) -> None:
    def refuses(call: str, _: Json) -> tuple[int, Json] | None:
        said = {"status": "error", "message": "'ann@example.com' is wrong: ann@example.com", "category": "ODD"}
        return (400, said) if call == READ else None

    hubspot.front.answers = refuses
    with pytest.raises(Refused, match=r"^ODD: … is wrong$"):
        await fetched(hubspot.connect(), await hubspot.contact("ann@example.com"))
