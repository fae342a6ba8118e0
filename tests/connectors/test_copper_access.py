"""Signing in to Copper, its pace and its silence, what a check finds, and webhooks: against the stand-in, over HTTP."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qsl, urlsplit

import orjson
import pytest

from app import clock
from app.connectors.copper import PROVIDER
from app.connectors.faults import Busy, SignInRefused, Unreachable
from app.connectors.pacing import EvenPace
from app.connectors.provider import Grant
from app.connectors.shapes import Call, Connector, Finding, Hint, Key, Level, Write
from tests.connectors.copper_account import HOOK, LEAD, PERSON, Account, Json, fetched, look

_CALLBACK = "https://here.example/callback"


# --- signing in -------------------------------------------------------------------------------------------------------


async def test_a_key_goes_in_three_headers_and_no_other(copper: Account) -> None:
    await copper.connect().check()

    known = copper.crm.credentials("")
    sent = copper.front.headers[0]
    assert (known["api_key"], "developer_api", known["user_email"]) == (
        sent["x-pw-accesstoken"],
        sent["x-pw-application"],
        sent["x-pw-useremail"],
    )
    assert "authorization" not in sent


async def test_a_token_goes_alone(copper: Account) -> None:
    await copper.connect("oauth").check()

    sent = copper.front.headers[0]
    assert f"Bearer {copper.shelf.kept[0].access_token}" == sent["authorization"]
    assert [] == [name for name in sent if name.startswith("x-pw")]


@pytest.mark.parametrize("base_url", [None, "https://api.copper.com", "https://api.copper.com/developer_api/v1/"])
async def test_somebody_is_sent_to_copper_to_sign_in(copper: Account, base_url: str | None) -> None:
    setup = replace(copper.setup("oauth"), base_url=base_url)

    url = urlsplit(PROVIDER.authorize_url(setup, _CALLBACK, "state 1", "no challenge"))

    assert ("https", "app.copper.com", "/oauth/authorize") == (url.scheme, url.netloc, url.path)
    assert {
        "response_type": "code",
        "client_id": setup.credentials["client_id"],
        "redirect_uri": _CALLBACK,
        "scope": "developer/v1/all",
        "state": "state 1",
    } == dict(parse_qsl(url.query))


async def test_the_path_of_the_api_may_be_said_too(copper: Account) -> None:
    checked = await copper.connect(base_url=f"{copper.url}/developer_api/v1/").check()

    assert checked.account is not None
    assert ("Acme", "159258", "Integration") == tuple(checked.account)


async def test_a_code_is_exchanged_once_and_a_lost_answer_is_for_later(copper: Account) -> None:
    setup = copper.setup("oauth", keys={"client_id": copper.crm.access.client_id, "client_secret": "wrong"})
    for refused in (setup, copper.setup("oauth")):
        with pytest.raises(SignInRefused) as fault:
            await PROVIDER.exchange(refused, copper.http, "wrong", _CALLBACK, "")
        assert "wrong" not in str(fault.value)
    with pytest.raises(Unreachable):
        await PROVIDER.exchange(copper.setup("oauth", base_url="http://127.0.0.1:1"), copper.http, "c", _CALLBACK, "")


async def test_a_token_that_was_revoked_is_replaced_by_whoever_signs_in_again(copper: Account) -> None:
    connector = copper.connect("oauth")
    await connector.describe(PERSON)
    await copper.edit("revoke", "key", copper.shelf.kept[-1].access_token)

    with pytest.raises(SignInRefused, match="sign in with a browser again"):
        await fetched(connector, "1")
    copper.shelf.kept.append(Grant(copper.crm.access.grant()))

    assert (await fetched(connector, "1")).is_gone


# --- pace and silence -------------------------------------------------------------------------------------------------


async def test_calls_go_out_evenly_after_some_at_once() -> None:
    pace, loop = EvenPace(100, at_once=5), asyncio.get_running_loop()
    began = loop.time()
    for _ in range(5):
        await pace.turn()
    at_once = loop.time() - began
    await asyncio.gather(*(pace.turn() for _ in range(20)))

    assert at_once < 0.1
    assert 0.19 < loop.time() - began < 1


async def test_bulk_calls_stay_below_three_a_second(copper: Account) -> None:
    copper.faults.bulk_per_second = 3
    ids = [await copper.person(f"{n}@example.com") for n in range(40)]
    note = await copper.field("Note", "String")

    outcomes = await copper.connect(requests_per_minute=170).write(
        [Write(Key(PERSON, id_), {note: "new"}) for id_ in ids]
    )

    assert ["done"] * 40 == [one.end for one in outcomes]
    assert 4 == len(copper.front.bodies("POST /people/bulk_update"))


async def test_a_429_without_a_word_is_a_minute_of_silence(copper: Account) -> None:
    connector = copper.connect()
    copper.faults.busy_next = 1
    with pytest.raises(Busy) as busy:
        await connector.changes(PERSON, None, [])

    assert timedelta(seconds=59) < busy.value.until - clock.now() < timedelta(seconds=76)
    asked = copper.requests
    with pytest.raises(Busy):
        await connector.changes(PERSON, None, [])
    assert asked == copper.requests
    copper.later(76)
    await connector.changes(PERSON, None, [])


async def test_should_copper_say_until_when_it_is_believed(copper: Account) -> None:
    copper.faults.busy_next, copper.faults.retry_after_s = 1, 7
    with pytest.raises(Busy) as busy:
        await copper.connect().changes(PERSON, None, [])

    assert timedelta(seconds=5) < busy.value.until - clock.now() < timedelta(seconds=8)


# --- checking ---------------------------------------------------------------------------------------------------------


def codes(findings: Sequence[Finding]) -> dict[str, Level]:
    return {one.code: one.level for one in findings}


async def test_a_check_of_a_sound_account_finds_nothing(copper: Account) -> None:
    assert [] == list((await copper.connect().check()).findings)


async def test_a_check_says_that_a_field_has_to_be_made_filterable_by_hand(copper: Account) -> None:
    copper.faults.unfilterable_fields = True
    await copper.field("Lead score: Fit", "Float")
    await copper.field("Remarks", "String")
    await copper.field("Deals", "Float", on=["opportunity"])

    [found] = (await copper.connect().check()).findings

    assert (Level.NOTE, "not_filterable") == (found.level, found.code)
    assert ("Lead score: Fit" in found.what, "Remarks" in found.what, "Deals" in found.what) == (True, False, False)
    assert "Settings, Customize Copper, Manage Fields" in found.mend


async def test_a_check_says_that_a_key_does_not_see_everybody(copper: Account) -> None:
    known = copper.crm.credentials("")
    keys = {
        "api_key": known["api_key_of_a_restricted_user"],
        "user_email": known["user_email_of_a_restricted_user"],
    }

    checked = await copper.connect(keys=keys).check()

    assert {"not_admin": Level.WARNING} == codes(checked.findings)
    assert "hidden" in checked.findings[0].what


async def test_a_check_says_what_may_not_be_read(copper: Account) -> None:
    copper.front.answers = lambda call, _: (403, {"message": "Forbidden"}) if call == "POST /leads/search" else None
    checked = await copper.connect().check()
    assert {"http_403": Level.ERROR} == codes(checked.findings)
    assert '"objects": ["person"]' in checked.findings[0].what

    without = copper.connect(objects=[PERSON])
    assert (PERSON,) == tuple(without.objects)
    assert [] == list((await without.check()).findings)


async def test_a_check_with_the_wrong_key_says_so(copper: Account) -> None:
    checked = await copper.connect(keys={"api_key": "wrong", "user_email": "integration@example.com"}).check()

    assert (None, ["unauthorized"]) == (checked.account, [one.code for one in checked.findings])


# --- webhooks ---------------------------------------------------------------------------------------------------------


async def heard(copper: Account, count: int) -> list[Json]:
    for _ in range(1_000):
        if len(copper.front.hooked) >= count:
            return [orjson.loads(one) for one in copper.front.hooked]
        await asyncio.sleep(0.005)
    raise AssertionError("no webhook called")


def read(connector: Connector, copper: Account, said: Json) -> Sequence[Hint]:
    return connector.read_notice(Call(f"{copper.url}{HOOK}", {}, orjson.dumps(said))).hints


async def test_nine_webhooks_are_made_with_a_secret_that_comes_back(copper: Account) -> None:
    connector = copper.connect()
    assert None is await connector.subscribe(f"{copper.url}{HOOK}", "us", "pass-word")

    id_ = await copper.person("ann@example.com")
    [said] = await heard(copper, 1)

    hooks = copper.crm.account.hooks.values()
    events = [(type_, event) for type_ in (PERSON, LEAD, "activity_log") for event in ("new", "update", "delete")]
    assert events == [(one.type, one.event) for one in hooks]
    assert [Hint(Key(PERSON, id_))] == list(read(connector, copper, said))
    with pytest.raises(ValueError, match="another secret"):
        read(connector, copper, {**said, "secret": "guessed"})
    with pytest.raises(ValueError, match="another secret"):
        read(connector, copper, {**said, "secret": {"é": 1}})
    del said["secret"], said["key"]  # as of one that was made by hand
    assert [Hint(Key(PERSON, id_))] == list(read(connector, copper, said))


async def test_thirty_records_in_a_call_are_thirty_hints(copper: Account) -> None:
    said = {"ids": list(range(30)), "type": LEAD, "event": "delete", "subscription_id": 1}

    assert [Hint(Key(LEAD, str(n))) for n in range(30)] == list(read(copper.connect(), copper, said))


async def test_an_activity_is_no_hint_at_a_record(copper: Account) -> None:
    said = {"ids": [7], "type": "activity_log", "event": "new", "subscription_id": 1}
    notice = copper.connect().read_notice(Call(copper.url, {}, orjson.dumps(said)))

    assert ([], True) == (list(notice.hints), notice.is_activity)
    assert [] == list(read(copper.connect(), copper, {**said, "type": "company"}))


async def test_another_key_makes_its_webhooks_anew(copper: Account) -> None:
    url = f"{copper.url}{HOOK}"
    await copper.connect().subscribe(url, "us", "pass-word")
    before = [one.id for one in copper.crm.account.hooks.values()]
    for hook in copper.crm.account.hooks.values():
        hook.secret = {"secret": "of the key before", "key": "leadtally"}

    assert None is await copper.connect().subscribe(url, "us", "pass-word")

    after = copper.crm.account.hooks
    assert (9, set()) == (len(after), set(before) & after.keys())


async def test_copper_may_tell_of_new_activities_alone(copper: Account) -> None:
    def no_such_event(call: str, said: Json) -> tuple[int, Json] | None:
        is_old = call == "POST /webhooks" and said["type"] == "activity_log" and said["event"] != "new"
        return (422, {"success": False, "status": 422, "message": "Event: is not included"}) if is_old else None

    copper.front.answers = no_such_event

    assert None is await copper.connect().subscribe(f"{copper.url}{HOOK}", "us", "pass-word")
    assert 7 == len(copper.crm.account.hooks)


async def test_where_copper_takes_no_address_somebody_is_told(copper: Account) -> None:
    copper.faults.secure_hooks_only = True
    url = f"{copper.url}{HOOK}"

    recipe = await copper.connect().subscribe(url, "us", "pass-word")

    assert recipe is not None
    assert (True, True) == ("https://" in recipe, url in recipe)


async def test_a_lost_webhook_loses_no_change(copper: Account) -> None:
    connector = copper.connect()
    await connector.subscribe(f"{copper.url}{HOOK}", "us", "pass-word")
    _, cursor = await look(connector, None)
    copper.faults.lose_webhooks = True
    copper.later(60)
    id_ = await copper.person("ann@example.com")

    found, _ = await look(connector, cursor)

    assert ([id_], []) == ([one.key.id for one in found], copper.front.hooked)


@pytest.mark.parametrize(
    "choices",
    [{"objects": []}, {"objects": "person"}, {"objects": ["company"]}, {"flags": "tag"}, {"page_size": 201},
     {"page_size": True}, {"requests_per_minute": 0}, {"leads": False}],
)  # fmt: skip
def test_a_choice_that_there_is_not_is_refused(copper: Account, choices: Json) -> None:
    with pytest.raises(ValueError, match=next(iter(choices))):
        copper.connect(**choices)
