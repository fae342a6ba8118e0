import json
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

import httpx
import pytest
import structlog
from cryptography.fernet import Fernet

from app import clock
from app.api.services import Services
from app.connectors import providers
from app.connectors.faults import BudgetSpent, Busy, Fault, Refused, SignInRefused, Unreachable
from app.connectors.http import Http
from app.connectors.provider import Grant
from app.connectors.shapes import DefaultPair, Finding, Kind, Level, WantedField
from app.sandbox.people import people
from app.sandbox.pipedrive import Pipedrive
from app.sandbox.salesforce import Salesforce
from app.store.keys import Scope
from app.store.vault import Vault
from app.sync.opening import KeptGrant
from tests.api.client import BASE, Api, Json, pointers, said
from tests.sandbox.loopback import served
from tests.sync.provider import ACCOUNT, ToyProvider
from tests.sync.toy import Toy

SECRET = "swordfish-s3cret"
NOWHERE = "018f0000-0000-7000-8000-000000000000"
MAPPED = ("email", "name", "opted_out", "bounced_at")


@pytest.fixture
def crm(api: Api) -> Iterator[ToyProvider]:
    """The one CRM that can be connected."""
    before: Services = api.app.state.services
    provider = ToyProvider()
    api.app.state.services = replace(before, providers={"toy": provider})
    yield provider
    api.app.state.services = before


@pytest.fixture
async def stranger(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody without a key: a CRM, or a browser."""
    transport = httpx.ASGITransport(api.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=BASE) as http:
        yield http


def change(api: Api, **settings: Any) -> None:  # Any: of each setting
    kit: Services = api.app.state.services
    api.app.state.services = replace(kit, settings=kit.settings.model_copy(update=settings))


async def made(api: Api, **more: Json) -> Json:
    body = {"kind": "toy", "name": "toys", "credentials": {"token": SECRET}, **more}
    return await api.post("/v1/connections", body, 201)


async def with_browser(api: Api) -> str:
    credentials = {"client_id": "us", "client_secret": SECRET}
    return f"/v1/connections/{(await made(api, flow='browser', credentials=credentials))['id']}"


async def active(api: Api, **more: Json) -> str:
    """The path of a connection that was tested."""
    path = f"/v1/connections/{(await made(api, **more))['id']}"
    tested = await api.post(f"{path}/test")
    assert tested["ok"], tested
    return path


def codes(tested: Json) -> dict[str, str]:
    return {one["code"]: one["level"] for one in tested["findings"]}


# --- making and changing ----------------------------------------------------------------------------------------------


async def test_the_kinds_say_what_each_needs(api: Api) -> None:
    found = {one["kind"]: one for one in await api.get("/v1/connections/kinds")}

    assert providers().keys() == found.keys()
    [flow, *_] = found["salesforce"]["flows"]
    assert ("client_credentials", ["client_id", "client_secret"], False) == (
        flow["name"], flow["needs"], flow["is_interactive"],
    )  # fmt: skip
    assert ("tokens", 20_000) == (found["pipedrive"]["unit"], found["pipedrive"]["budget"])


@pytest.mark.parametrize("kind", providers())
async def test_every_kind_can_be_connected(api: Api, kind: str) -> None:
    flow = providers()[kind].flows[0]

    made = await api.post(
        "/v1/connections",
        {"kind": kind, "name": "mine", "credentials": dict.fromkeys(flow.needs, "x")},
        201,
    )

    assert (kind, "new", flow.name) == (made["kind"], made["status"], made["flow"])


async def test_a_connection_is_shown_with_all_but_what_it_signs_in_with(api: Api, crm: ToyProvider) -> None:
    options = {"creates": True, "pull_every_s": 60, "choices": {"opt_out": "native"}}
    one = await made(api, base_url="https://toys.example.com/api", options=options)

    assert one == await api.get(f"/v1/connections/{one['id']}")
    assert ("toy", "toys", "token", "new", "new") == (
        one["kind"], one["name"], one["flow"], one["status"], one["problem"]["code"],
    )  # fmt: skip
    assert options.items() <= one["options"].items()
    assert (True, None, 86_400) == tuple(one["options"][name] for name in ("imports", "scores", "reconcile_every_s"))
    assert one["hook_url"].startswith(f"{BASE}/v1/crm/{one['id']}/")
    again = await api.patch(f"/v1/connections/{one['id']}", {"options": one["options"]})
    assert one["options"] == again["options"]


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({"kind": "pigeon"}, ["/kind"]),
        ({"flow": "semaphore", "base_url": "https://127.0.0.1:8100"}, ["/flow", "/base_url"]),
        ({"credentials": {"colour": "red"}}, ["/credentials/token", "/credentials/colour"]),
        ({"credentials": {"token": ""}}, ["/credentials/token"]),
        ({"credentials": {"token": "a\0b"}}, ["/credentials/token"]),
        ({"credentials": {"token": "\ud800"}}, ["/credentials/token"]),
        ({"base_url": "http://crm.example.com"}, ["/base_url"]),
        ({"base_url": "crm.example.com"}, ["/base_url"]),
        ({"name": ""}, ["/name"]),
        ({"options": {"pull_every_s": 1, "budget": 0}}, ["/options/pull_every_s", "/options/budget"]),
        ({"options": {"colour": 1}}, ["/options/colour"]),
        ({"options": {"pairs": []}}, ["/options/pairs"]),
        ({"options": {"scores": ["fit"]}}, ["/options/scores/0"]),
        ({"options": {"create_object": "Deal"}}, ["/options/create_object"]),
        ({"options": {"choices": {"opt_out": 1}}}, ["/options/choices"]),
        ({"options": {"choices": {"a": "\0"}}}, ["/options/choices"]),
    ],
)  # fmt: skip
async def test_what_makes_no_connection_is_answered_with_why(
    api: Api, crm: ToyProvider, given: Json, where: list[str]
) -> None:
    body = {"kind": "toy", "name": "toys", "credentials": {"token": SECRET}, **given}
    reply = await api.http.post(
        "/v1/connections", content=json.dumps(body), headers={"Content-Type": "application/json"}
    )

    assert where == pointers(said(reply, 422))
    assert SECRET not in reply.text


async def test_an_address_of_this_network_needs_a_setting(api: Api, crm: ToyProvider) -> None:
    change(api, private_crms=True)

    assert "http://127.0.0.1:8100" == (await made(api, base_url="http://127.0.0.1:8100"))["base_url"]


async def test_a_name_is_one_connection_for_ever(api: Api, crm: ToyProvider) -> None:
    one = await made(api)
    body = {"kind": "toy", "name": "toys", "credentials": {"token": "t"}}
    assert "/name" == (await api.post("/v1/connections", body, 409))["pointer"]

    await api.patch(f"/v1/connections/{one['id']}", {"name": "others"}, 422)


async def test_connections_are_listed_by_name_a_page_at_a_time(api: Api, crm: ToyProvider) -> None:
    for name in ("b", "c", "a"):
        await made(api, name=name)

    first = await api.get("/v1/connections", limit=2)
    then = await api.get("/v1/connections", limit=2, cursor=first["next_cursor"])

    assert ["a", "b", "c"] == [one["name"] for page in (first, then) for one in page["items"]]
    assert then["next_cursor"] is None
    await api.get("/v1/connections", 422, cursor="?")


async def test_the_address_for_the_crm_is_shown_to_who_may_write(api: Api, crm: ToyProvider) -> None:
    one = await made(api)

    async def shown(*scopes: Scope) -> Json:
        headers = {"Authorization": f"Bearer {await api.key(str(scopes), *scopes)}"}
        return said(await api.http.get(f"/v1/connections/{one['id']}", headers=headers), 200)["hook_url"]

    assert await shown(Scope.READ) is None
    assert one["hook_url"] == await shown(Scope.READ, Scope.WRITE)


async def test_other_credentials_end_what_was_granted(api: Api, crm: ToyProvider) -> None:
    path = await active(api)
    assert 1 == await api.fetchval("SELECT count(*) FROM connection_grant WHERE sealed IS NOT NULL")

    await api.patch(path, {"options": {"pull_every_s": 60}})
    assert 1 == await api.fetchval("SELECT count(*) FROM connection_grant")
    problem = await api.patch(path, {"base_url": "https://mallory.example.com"}, 422)
    assert ["/credentials"] == pointers(problem)
    changed = await api.patch(path, {"credentials": {"token": "t", "tenant": "x"}, "base_url": "https://x.example.com"})

    assert ("active", "https://x.example.com", 60) == (
        changed["status"], changed["base_url"], changed["options"]["pull_every_s"],
    )  # fmt: skip
    assert 0 == await api.fetchval("SELECT count(*) FROM connection_grant")
    await api.post(f"{path}/test")
    assert {"token": "t", "tenant": "x"} == crm.setups[-1].credentials
    back = await api.patch(path, {"base_url": None, "credentials": {"token": "t"}})
    assert back["base_url"] is None


async def test_a_removed_connection_is_gone_and_its_events_are_not(api: Api, crm: ToyProvider) -> None:
    path = await active(api)
    await api.send({"type": "crm.activity", "contact": {"email": "ada@example.com"}})

    await api.delete(path)

    for call in (path, f"{path}/mapping", f"{path}/fields"):
        await api.get(call, 404)
    await api.delete(path, 404)
    assert 1 == len((await api.get("/v1/events"))["items"])
    assert 0 == await api.fetchval("SELECT count(*) FROM connection_grant")


# --- testing, pausing, resuming ---------------------------------------------------------------------------------------


async def test_a_test_that_goes_well_takes_the_defaults_and_lets_it_begin(api: Api, crm: ToyProvider) -> None:
    one = await made(api)
    crm.findings = [Finding(Level.WARNING, "object_hidden", "Task is hidden", "show it")]

    tested = await api.post(f"/v1/connections/{one['id']}/test")

    assert (True, {"organisation": "Toys Ltd", "user_name": "The sync"}) == (tested["ok"], tested["account"])
    assert {"object_hidden": "warning", "no_public_url": "note"} == codes(tested)
    after = await api.get(f"/v1/connections/{one['id']}")
    assert ("active", None, tested["account"]) == (after["status"], after["problem"], after["account"])
    pairs = (await api.get(f"/v1/connections/{one['id']}/mapping"))["pairs"]
    assert MAPPED == tuple(pair["here"] for pair in pairs)
    assert 1 == crm.grants
    assert await api.fetchval("SELECT sum(spent) FROM sync_spend") == 2


@pytest.mark.parametrize(
    ("fault", "code", "is_problem"),
    [
        (SignInRefused("invalid_client", "the secret is wrong", "copy it anew"), "invalid_client", True),
        (Refused("API_DISABLED", "no API"), "API_DISABLED", True),
        (Unreachable("no answer: ConnectError"), "unreachable", False),
        (Busy(clock.now() + timedelta(hours=1), "the CRM answered 429"), "busy", False),
        (BudgetSpent(clock.now() + timedelta(hours=1), "it is spent"), "budget_spent", False),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
async def test_what_keeps_a_connection_from_working_is_said(
    api: Api, crm: ToyProvider, fault: Fault, code: str, is_problem: bool
) -> None:
    path = await active(api)
    crm.fault = fault

    tested = await api.post(f"{path}/test")

    assert (False, {code: "error"}) == (tested["ok"], codes(tested))
    assert tested["findings"][0]["mend"]
    after = await api.get(path)
    assert "failing" if is_problem else "active" == after["status"]
    assert is_problem == (after["problem"] is not None and after["problem"]["code"] == code)
    crm.fault = None
    await api.post(f"{path}/test")
    assert "active" == (await api.get(path))["status"]


async def test_what_the_crm_finds_wrong_is_the_connections_problem(api: Api, crm: ToyProvider) -> None:
    one = await made(api)
    crm.findings = [
        Finding(Level.NOTE, "slow", "it is slow", ""),
        Finding(Level.ERROR, "sees_nothing", "our user sees nothing", "show it people"),
    ]

    assert not (await api.post(f"/v1/connections/{one['id']}/test"))["ok"]

    after = await api.get(f"/v1/connections/{one['id']}")
    problem = after["problem"]
    assert ("failing", "sees_nothing", "show it people") == (after["status"], problem["code"], problem["mend"])
    assert [] == (await api.get(f"/v1/connections/{one['id']}/mapping"))["pairs"]


async def test_mapped_fields_that_changed_there_are_found(api: Api, crm: ToyProvider) -> None:
    path = await active(api)
    toy = crm.toy
    del toy.fields["bad_since"]
    toy.fields["out"] = toy.fields["out"]._replace(is_writable=False)
    toy.fields["mail"] = toy.fields["mail"]._replace(kind=Kind.OTHER)

    tested = await api.post(f"{path}/test")

    assert tested["ok"]
    assert {"no_public_url": "note"} | dict.fromkeys(
        ("field_missing", "field_read_only", "field_unfit"), "warning"
    ) == (codes(tested))
    assert MAPPED == tuple(pair["here"] for pair in (await api.get(f"{path}/mapping"))["pairs"])


class Demanding(Toy):
    """Would like a field of its own for bounces."""

    def defaults(self, object_: str, fields: Any) -> Any:  # Any: as in the toy
        wanted = WantedField(object_, "bounced", "Bounced", Kind.BOOLEAN, "Whether mail bounces")
        return [*list(super().defaults(object_, fields))[:2], DefaultPair(object_, "bounced", wanted, "both")]


async def test_a_field_that_must_be_made_by_hand_is_mapped_once_it_is_there(api: Api, crm: ToyProvider) -> None:
    crm.toy = Demanding(may_make_fields=False)
    one = await made(api)
    path = f"/v1/connections/{one['id']}"

    for _ in range(2):
        tested = await api.post(f"{path}/test")
        [recipe] = [found for found in tested["findings"] if found["code"] == "field_by_hand"]
        assert (True, "make a field 'Bounced'") == (tested["ok"], recipe["mend"])
        assert 2 == len((await api.get(f"{path}/mapping"))["pairs"])
    crm.toy.may_make_fields = True

    assert "field_by_hand" not in codes(await api.post(f"{path}/test"))
    assert ["email", "name", "bounced"] == [pair["here"] for pair in (await api.get(f"{path}/mapping"))["pairs"]]
    await api.http.put(f"{path}/mapping", json={"pairs": []})


async def test_scores_that_wait_for_a_field_are_told_with_how_to_make_it(api: Api, crm: ToyProvider) -> None:
    path = await active(api)
    recipe = {"object": "person", "here": "score.fit", "label": "Lead Score: Fit", "recipe": "open Settings, Fields"}
    now = clock.now().isoformat()
    await api.execute("UPDATE connection SET recipes = $1", [{**recipe, "since": now, "asked": now}])

    tested = await api.post(f"{path}/test")

    [found] = [one for one in tested["findings"] if one["code"] == "field_by_hand"]
    assert ("warning", "open Settings, Fields") == (found["level"], found["mend"])
    assert "score.fit" in found["what"]


async def test_another_account_than_before_is_told(api: Api, crm: ToyProvider) -> None:
    path = await active(api)
    crm.account = ACCOUNT._replace(organisation="Others Ltd")

    assert "warning" == codes(await api.post(f"{path}/test"))["another_account"]


async def test_an_address_that_may_not_be_called_any_more_is_a_problem(api: Api, crm: ToyProvider) -> None:
    change(api, private_crms=True)
    one = await made(api, base_url="http://127.0.0.1:8100")
    change(api, private_crms=False)

    tested = await api.post(f"/v1/connections/{one['id']}/test")

    assert (False, {"address_refused": "error"}) == (tested["ok"], codes(tested))
    assert 1 == len(crm.setups), "but to see whether its options are right nobody connected"


async def test_credentials_that_no_key_opens_are_a_problem_and_nothing_else_breaks(
    api: Api, crm: ToyProvider, stranger: httpx.AsyncClient
) -> None:
    path = await active(api)
    hook = (await api.get(path))["hook_url"]
    kit: Services = api.app.state.services
    api.app.state.services = replace(kit, vault=Vault([Fernet.generate_key().decode()]))

    tested = await api.post(f"{path}/test")

    assert (False, {"encryption_key": "error"}) == (tested["ok"], codes(tested))
    shown = await api.get(path)
    assert ("failing", "encryption_key", None) == (shown["status"], shown["problem"]["code"], shown["hook_url"])
    assert "sign_in_refused" == (await api.get(f"{path}/fields", 409))["code"]
    for call in (stranger.post(hook, content=b"1"), stranger.get(hook)):
        assert 503 == (await call).status_code
    await api.patch(path, {"credentials": {"token": "t"}})
    assert (await api.post(f"{path}/test"))["ok"]


async def test_the_crm_is_told_where_it_may_call_us(api: Api, crm: ToyProvider) -> None:
    change(api, public_url="https://leads.example.com/")
    path = await active(api)

    [(url, user, password)] = crm.subscribed
    assert (url, user) == ((await api.get(path))["hook_url"], "leadtally")
    assert url.startswith("https://leads.example.com/v1/crm/")
    assert url.endswith(password)
    crm.recipe = "open Settings, Webhooks"
    tested = await api.post(f"{path}/test")
    assert ("hook_by_hand", crm.recipe) == (tested["findings"][-1]["code"], tested["findings"][-1]["mend"])


async def test_a_paused_connection_stays_so_until_it_is_resumed(api: Api, crm: ToyProvider) -> None:
    path = await active(api)

    paused = await api.post(f"{path}/pause")
    again = await api.post(f"{path}/pause")
    assert ("paused", paused["paused_at"]) == (again["status"], again["paused_at"])
    assert (await api.post(f"{path}/test"))["ok"]
    assert "paused" == (await api.get(path))["status"]
    await api.execute("""UPDATE connection SET problem = '{"code": "c", "what": "w", "mend": "m", "since": "s"}'""")
    calls = len(crm.setups)
    resumed = await api.post(f"{path}/resume")

    assert ("active", None, None) == (resumed["status"], resumed["paused_at"], resumed["problem"])
    assert calls == len(crm.setups), "it is not tested again"
    await api.post(f"/v1/connections/{NOWHERE}/pause", status=404)
    await api.post(f"/v1/connections/{NOWHERE}/resume", status=404)
    await api.post(f"/v1/connections/{NOWHERE}/test", status=404)


async def test_a_new_connection_is_tested_before_it_goes_on(api: Api, crm: ToyProvider) -> None:
    path = f"/v1/connections/{(await made(api))['id']}"
    crm.fault = SignInRefused("invalid_client", "the secret is wrong", "copy it anew")
    refused = await api.post(f"{path}/resume")
    assert ("failing", "invalid_client") == (refused["status"], refused["problem"]["code"])
    crm.fault = None

    assert "active" == (await api.post(f"{path}/resume"))["status"]
    assert 4 == len((await api.get(f"{path}/mapping"))["pairs"])


async def test_silence_is_shown_until_it_ends(api: Api, crm: ToyProvider) -> None:
    path = await active(api)
    await api.execute("UPDATE connection SET silent_until = $1", clock.now() + timedelta(hours=1))

    assert "silent" == (await api.get(path))["status"]
    clock.shift(timedelta(hours=2))
    assert "active" == (await api.get(path))["status"]


# --- mapping ----------------------------------------------------------------------------------------------------------


async def test_a_mapping_is_held_against_what_the_crm_describes(api: Api, crm: ToyProvider) -> None:
    path = await active(api)
    before = await api.get(f"{path}/mapping")
    pairs = [
        *before["pairs"],
        {"object": "person", "here": "stage", "there": "nowhere", "way": "both"},
        {"object": "person", "here": "score.fit", "there": "number", "way": "out"},
        {"object": "deal", "here": "name", "there": "x", "way": "in"},
        {"object": "person", "here": "opted_out", "there": "out", "way": "in"},
    ]

    problem = said(await api.http.put(f"{path}/mapping", json={"pairs": pairs}), 422)

    assert ["/pairs/4/there", "/pairs/5/here", "/pairs/6/object", "/pairs/7/there", "/pairs/7/here"] == pointers(
        problem
    )
    assert before == await api.get(f"{path}/mapping")


async def test_a_mapping_that_is_right_is_kept_and_everybody_compared(api: Api, crm: ToyProvider) -> None:
    path = await active(api)
    pairs = (await api.get(f"{path}/mapping"))["pairs"]
    pairs.append({"object": "person", "here": "properties.industry", "there": "industry", "way": "both"})
    asked = clock.now()

    kept = said(await api.http.put(f"{path}/mapping", json={"pairs": pairs}), 200)

    assert kept == await api.get(f"{path}/mapping")
    new = kept["pairs"][-1]
    assert ("newest", "text", 20, None) == (new["policy"], new["kind"], new["max_length"], new["places"])
    assert pairs[:-1] == kept["pairs"][:-1]
    due = await api.fetchval("SELECT reconcile_at FROM connection")
    assert asked <= due <= clock.now()


@pytest.mark.parametrize(
    ("pair", "where"),
    [
        ({"way": "sideways"}, "/pairs/0/way"),
        ({"policy": "mine"}, "/pairs/0/policy"),
        ({"places": -1}, "/pairs/0/places"),
        ({"here": "a\0b"}, "/pairs/0/here"),
        ({"colour": 1}, "/pairs/0/colour"),
    ],
)
async def test_what_is_no_pair_is_refused(api: Api, crm: ToyProvider, pair: Json, where: str) -> None:
    body = {"pairs": [{"object": "person", "here": "name", "there": "full_name", "way": "in", **pair}]}

    problem = said(await api.http.put(f"/v1/connections/{NOWHERE}/mapping", json=body), 422)

    assert [where] == pointers(problem)


async def test_the_crms_fields_are_listed(api: Api, crm: ToyProvider) -> None:
    path = await active(api)

    found = await api.get(f"{path}/fields", object="person")

    assert found == await api.get(f"{path}/fields")
    assert ("person", ["person"], 7) == (found["object"], found["objects"], len(found["fields"]))
    assert {"name": "industry", "kind": "text", "max_length": 20}.items() <= found["fields"][4].items()
    assert ["/object"] == pointers(await api.get(f"{path}/fields", 422, object="deal"))


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (SignInRefused("c", "the secret is wrong", "copy it anew"), 409, "sign_in_refused"),
        (Refused("c", "no rights"), 502, "crm_refused"),
        (Unreachable("no answer"), 503, "crm_unreachable"),
        (Busy(clock.now() + timedelta(hours=1), "it was too much"), 503, "crm_busy"),
    ],
    ids=lambda one: str(one) if isinstance(one, int) else "",
)
async def test_a_crm_that_does_not_answer_is_no_fault_of_ours(
    api: Api, crm: ToyProvider, fault: Fault, status: int, code: str
) -> None:
    path = await active(api)
    crm.fault = fault

    reply = await api.http.get(f"{path}/fields")

    assert code == said(reply, status)["code"]
    if isinstance(fault, Busy):
        assert 3_000 < int(reply.headers["Retry-After"]) <= 3_600


# --- signing in with a browser ----------------------------------------------------------------------------------------


async def test_whoever_signs_in_with_a_browser_comes_back_with_a_grant(
    api: Api, crm: ToyProvider, stranger: httpx.AsyncClient
) -> None:
    path = await with_browser(api)
    id_ = UUID(path.rpartition("/")[2])

    url = (await api.post(f"{path}/authorize"))["url"]
    _, client, redirect_uri, challenge, state = url.split(" ")
    page = await stranger.get(f"/v1/oauth/callback?{urlencode({'code': 'c0de', 'state': state})}")

    assert ("us", f"{BASE}/v1/oauth/callback", 43) == (client, redirect_uri, len(challenge))
    assert (200, "text/html; charset=utf-8") == (page.status_code, page.headers["content-type"])
    assert "“toys” can work now" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    grant = await KeptGrant(api.database, api.app.state.services.vault, id_).grant()
    assert grant is not None
    assert ("access for c0de", redirect_uri) == (grant.access_token, grant.base_url)
    assert (await api.post(f"{path}/test"))["ok"]
    assert 0 == crm.grants
    for secret in ("c0de", grant.access_token, str(grant.refresh_token)):
        assert secret not in page.text
    again = await stranger.get("/v1/oauth/callback", params={"code": "c0de", "state": state})
    assert (400, True) == (again.status_code, "used already" in again.text)


async def test_where_the_browser_comes_back_to_may_be_said(api: Api, crm: ToyProvider) -> None:
    path = await with_browser(api)

    url = (await api.post(f"{path}/authorize", {"redirect_uri": "https://leads.example.com/back"}))["url"]

    assert " https://leads.example.com/back " in url
    for wrong in ("javascript:alert(1)", "", "x" * 501):
        assert ["/redirect_uri"] == pointers(await api.post(f"{path}/authorize", {"redirect_uri": wrong}, 422))
    await api.post(f"/v1/connections/{NOWHERE}/authorize", status=404)


async def test_a_flow_without_a_browser_has_no_address_to_sign_in_at(api: Api, crm: ToyProvider) -> None:
    one = await made(api)

    problem = await api.post(f"/v1/connections/{one['id']}/authorize", status=422)

    assert "those that do: browser" in problem["detail"]


async def test_who_does_not_sign_in_is_told_so(api: Api, crm: ToyProvider, stranger: httpx.AsyncClient) -> None:
    path = await with_browser(api)

    async def came_back(fault: Fault | None = None, **query: str) -> tuple[int, str]:
        state = (await api.post(f"{path}/authorize"))["url"].rpartition(" ")[2]
        crm.fault = fault
        page = await stranger.get("/v1/oauth/callback", params={"state": state, **query})
        assert "text/html" in page.headers["content-type"]
        return page.status_code, page.text

    for expected, words, coming in (
        (400, "access_denied", came_back(error="access_denied")),
        (400, "&lt;script&gt;", came_back(error="<script>")),
        (400, "sent no code", came_back()),
        (400, "is not complete", came_back(state="x", error="<b>buy</b>")),
        (
            400,
            "the code is old: sign in again",
            came_back(SignInRefused("c", "the code is old", "sign in again"), code="c"),
        ),
        (503, "no answer", came_back(Unreachable("no answer"), code="c")),
    ):
        status, text = await coming
        assert expected == status
        assert words in text
        assert "You are not signed in" in text
        assert "buy" not in text
    crm.fault = None
    state = (await api.post(f"{path}/authorize"))["url"].rpartition(" ")[2]
    await api.execute("DELETE FROM connection")
    assert 404 == (await stranger.get("/v1/oauth/callback", params={"state": state, "code": "c"})).status_code


# --- the CRM calls us -------------------------------------------------------------------------------------------------


async def test_a_call_of_the_crm_is_noted_and_answered_as_it_expects(
    api: Api, crm: ToyProvider, stranger: httpx.AsyncClient
) -> None:
    path = await active(api)
    hook = (await api.get(path))["hook_url"]
    await api.post(f"{path}/pause")
    await api.execute("UPDATE connection SET pull_at = '2999-01-01'")

    reply = await stranger.post(hook, content=b"1\n2\n1", headers={"X-Toy": "yes"})

    assert (200, b"<ok>yes</ok>", "text/xml; charset=utf-8") == (
        reply.status_code, reply.content, reply.headers["content-type"],
    )  # fmt: skip
    noted = "SELECT string_agg(record || ' ' || successor, ', ' ORDER BY record) FROM crm_hint"
    assert "1 1 junior, 2 2 junior" == await api.fetchval(noted)
    assert 2999 == (await api.fetchval("SELECT pull_at FROM connection")).year
    assert 200 == (await stranger.post(hook, content=b"done")).status_code
    assert clock.now() >= await api.fetchval("SELECT pull_at FROM connection")
    assert 200 == (await stranger.get(hook)).status_code


async def test_what_cannot_be_read_is_never_a_fault_of_ours(
    api: Api, crm: ToyProvider, stranger: httpx.AsyncClient
) -> None:
    hook = (await api.get(await active(api)))["hook_url"]

    for status, content, headers in (
        (422, b"\xff", {}),
        (422, b"1", {"Content-Encoding": "gzip"}),
        (413, b"1" * 5_000_001, {}),
        (200, b"a\0b\n7", {}),
        (200, b"", {}),
    ):
        assert status == (await stranger.post(hook, content=content, headers=headers)).status_code
    assert "7" == await api.fetchval("SELECT max(record) FROM crm_hint")


async def test_a_call_without_the_secret_finds_nothing(api: Api, crm: ToyProvider, stranger: httpx.AsyncClient) -> None:
    hook = (await api.get(await active(api)))["hook_url"]
    other = (await made(api, name="others"))["hook_url"]

    for url in (
        hook[:-1],
        f"{hook}x",
        f"{hook.rpartition('/')[0]}/{other.rpartition('/')[2]}",
        f"{hook.rpartition('/')[0]}/é",
        hook.replace(hook.split("/")[-2], str(uuid4())),
        f"{BASE}/v1/crm/nobody/{hook.rpartition('/')[2]}",
        f"{BASE}/v1/crm/%00/%00",
    ):
        for call in (stranger.get(url), stranger.post(url, content=b"1")):
            assert 404 == (await call).status_code
    assert 0 == await api.fetchval("SELECT count(*) FROM crm_hint")


# --- with the stand-ins -----------------------------------------------------------------------------------------------


@pytest.fixture(params=[Salesforce, Pipedrive])
async def stand_in(request: pytest.FixtureRequest, api: Api) -> AsyncIterator[Json]:
    """What one of them says of itself, and its kind."""
    before: Services = api.app.state.services
    served_one = request.param()
    served_one.fill(people(3, 0))
    with served(served_one.app) as address:
        async with Http(private=True) as to_crms:
            api.app.state.services = replace(before, http=to_crms)
            change(api, private_crms=True)
            yield {"kind": served_one.name, "address": address, **served_one.credentials(address)}
    api.app.state.services = before


async def test_each_crm_can_be_connected_and_mapped_as_it_suggests(api: Api, stand_in: Json) -> None:
    flow = providers()[stand_in["kind"]].flows[0]
    credentials = {name: stand_in[name] for name in flow.needs}
    one = await made(api, kind=stand_in["kind"], credentials=credentials, base_url=stand_in["address"])
    path = f"/v1/connections/{one['id']}"

    tested = await api.post(f"{path}/test")

    assert tested["ok"], tested
    assert not [found for found in tested["findings"] if found["level"] != "note"]
    mapping = await api.get(f"{path}/mapping")
    for pairs in by_object(mapping["pairs"]).values():
        assert {"email", "name", "opted_out", "bounced_reason"} <= pairs
        assert {"bounced", "bounced_at"} & pairs
    assert mapping == said(await api.http.put(f"{path}/mapping", json=mapping), 200)


def by_object(pairs: list[Json]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for pair in pairs:
        found.setdefault(pair["object"], set()).add(pair["here"])
    return found


async def test_each_crm_lets_somebody_sign_in_with_a_browser(
    api: Api, stand_in: Json, stranger: httpx.AsyncClient
) -> None:
    [flow] = [flow for flow in providers()[stand_in["kind"]].flows if flow.is_interactive]
    credentials = {name: stand_in[name] for name in ("client_id", "client_secret")}
    one = await made(api, kind=stand_in["kind"], flow=flow.name, credentials=credentials, base_url=stand_in["address"])
    path = f"/v1/connections/{one['id']}"
    assert not (await api.post(f"{path}/test"))["ok"]

    url = (await api.post(f"{path}/authorize"))["url"]
    async with httpx.AsyncClient() as browser:
        sent_back = await browser.get(url)
    assert 302 == sent_back.status_code, sent_back.text
    page = await stranger.get(sent_back.headers["location"])

    assert "You are signed in" in page.text
    assert "new" == (await api.get(path))["status"]
    assert (await api.post(f"{path}/test"))["ok"]
    assert "active" == (await api.get(path))["status"]


# --- secrets ----------------------------------------------------------------------------------------------------------


async def test_nothing_secret_is_in_an_answer_a_log_or_a_table(
    api: Api, crm: ToyProvider, stranger: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    one = await made(api)
    path, hook = f"/v1/connections/{one['id']}", one["hook_url"]
    keeper = KeptGrant(api.database, api.app.state.services.vault, UUID(one["id"]))
    await keeper.keep(Grant(f"{SECRET} access", f"{SECRET} refresh"))
    crm.fault = SignInRefused("c", "the secret is wrong", "copy it anew")
    wrong = {"kind": "toy", "name": "x", "credentials": {"token": SECRET * 9_999}}
    with structlog.testing.capture_logs() as logged:
        answers = [
            (await call).text
            for call in (
                api.http.post(f"{path}/test"),
                api.http.get(f"{path}/fields"),
                api.http.post("/v1/connections", json=wrong),
                api.http.post("/v1/connections", json={**wrong, "kind": "pigeon", "credentials": {"token": SECRET}}),
                api.http.patch(path, json={"credentials": {"token": SECRET, "other": SECRET}}),
                api.http.patch(path, json={"credentials": {"token": SECRET}}),
                api.http.get("/v1/connections"),
                stranger.post(hook, content=b"\xff"),
            )
        ]
        await keeper.keep(Grant(f"{SECRET} access", f"{SECRET} refresh"))
        # What nobody thought of is logged with the path that was called.
        await api.execute("ALTER TABLE crm_hint RENAME TO elsewhere")
        try:
            assert 500 == (await stranger.post(hook, content=b"1")).status_code
        finally:
            await api.execute("ALTER TABLE elsewhere RENAME TO crm_hint")

    assert [f"/v1/crm/{one['id']}/…"] == [entry["path"] for entry in logged if "path" in entry]
    stored = await api.fetchval(
        "SELECT to_jsonb(c)::text || to_jsonb(g)::text FROM connection c, connection_grant g WHERE g.sealed IS NOT NULL"
    )
    for text in (*answers, str(logged), caplog.text, stored):
        assert SECRET not in text
        assert SECRET.encode().hex() not in text
    for text in (str(logged), caplog.text, stored):
        assert hook.rpartition("/")[2] not in text
