"""Signing in to Dynamics, staying signed in, and being silent when it asks for silence."""

import hashlib
from base64 import urlsafe_b64encode
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest

from app import clock
from app.connectors import providers
from app.connectors.dynamics import PROVIDER, Dynamics
from app.connectors.dynamics.access import LOGIN, Access
from app.connectors.faults import Busy, SignInRefused, Unreachable
from app.connectors.http import Reply
from app.connectors.provider import Setup
from app.connectors.shapes import End, Key, Level, Write
from app.sandbox.dynamics.org import ORGANIZATION
from tests.connectors.dynamics_world import US, World, look

BACK = "https://leadtally.test/back"
VERIFIER = "a" * 43
CHALLENGE = urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")


async def code(setup: Setup) -> str:
    """What the browser brings."""
    async with httpx.AsyncClient(trust_env=False) as browser:
        answer = await browser.get(PROVIDER.authorize_url(setup, BACK, "state", CHALLENGE))
    return parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]


async def test_dynamics_is_one_of_the_providers() -> None:
    provider = providers()["dynamics"]

    assert ("Microsoft Dynamics 365", "requests") == (provider.title, provider.unit)
    assert ["client_credentials", "certificate", "authorization_code"] == [one.name for one in provider.flows]
    assert [False, False, True] == [one.is_interactive for one in provider.flows]


@pytest.mark.parametrize("flow", ["client_credentials", "certificate"])
async def test_a_grant_is_for_the_environment_and_says_who_we_are(dynamics: World, flow: str) -> None:
    await dynamics.connect(flow).describe("contact")
    [grant] = dynamics.shelf.kept
    form = parse_qs(dynamics.front.calls[0].body.decode())

    assert (US, {"organization": ORGANIZATION}) == (grant.user, grant.more)
    assert [f"{dynamics.front.url}/.default"] == form["scope"]
    assert ("client_secret" in form) is (flow == "client_credentials")
    assert ["GET /api/data/v9.2/WhoAmI"] == [f"{one.method} {one.target}" for one in dynamics.front.calls[1:2]]


async def test_an_assertion_names_its_certificate_and_ends_soon(dynamics: World) -> None:
    setup = dynamics.setup("certificate")
    escaped = {name: setup.credentials[name].replace("\n", "\\n") for name in ("certificate", "private_key")}
    crm = PROVIDER.connect(dynamics.with_credentials("certificate", **escaped), dynamics.http)
    await crm.describe("contact")
    [assertion] = parse_qs(dynamics.front.calls[0].body.decode())["client_assertion"]
    claims = jwt.decode(assertion, options={"verify_signature": False, "verify_exp": False})

    assert dynamics.crm.login.certificate.thumbprint == jwt.get_unverified_header(assertion)["x5t"]
    assert f"{dynamics.front.url}/{dynamics.crm.login.tenant_id}/oauth2/v2.0/token" == claims["aud"]
    assert claims["exp"] - clock.now().timestamp() <= 300


async def test_somebody_signs_in_for_this_environment_at_the_tenants_own_login(dynamics: World) -> None:
    setup = dynamics.setup("authorization_code")
    keys = {name: value for name, value in setup.credentials.items() if name != "authority"}
    plain = Setup(setup.flow, keys, setup.keeper, setup.meter, "https://ACME.crm4.dynamics.com/")
    address = urlsplit(PROVIDER.authorize_url(plain, BACK, "state", CHALLENGE))
    asked = parse_qs(address.query)

    assert f"{LOGIN}/{keys['tenant_id']}/oauth2/v2.0/authorize" == f"https://{address.netloc}{address.path}"
    assert ["https://acme.crm4.dynamics.com/user_impersonation offline_access"] == asked["scope"]


async def test_each_refresh_token_takes_the_place_of_the_one_before(dynamics: World) -> None:
    dynamics.crm.faults.rotate_refresh_tokens = True
    setup = dynamics.setup("authorization_code")
    dynamics.shelf.kept.append(await PROVIDER.exchange(setup, dynamics.http, await code(setup), BACK, VERIFIER))
    crm = PROVIDER.connect(setup, dynamics.http)
    for _ in range(2):
        dynamics.crm.login.expire()
        await crm.fetch("contact", [dynamics.add()], [])

    assert 3 == len({one.refresh_token for one in dynamics.shelf.kept})
    dynamics.shelf.kept.clear()
    with pytest.raises(SignInRefused, match="connect with a browser"):
        await PROVIDER.connect(setup, dynamics.http).describe("contact")


@pytest.mark.parametrize(
    ("changed", "code", "says"),
    [
        ({"client_secret": "wrong"}, "AADSTS7000215", "not its id"),
        ({"client_id": "00000000-0000-4000-8000-000000000000"}, "AADSTS700016", "client_id"),
        ({"tenant_id": "nowhere"}, "AADSTS90002", "tenant_id"),
    ],
)
async def test_a_refused_sign_in_says_what_to_mend(
    dynamics: World, changed: dict[str, str], code: str, says: str
) -> None:
    crm = PROVIDER.connect(dynamics.with_credentials(**changed), dynamics.http)
    with pytest.raises(SignInRefused) as refused:
        await crm.describe("contact")

    assert code == refused.value.code
    assert says in refused.value.mend


async def test_a_secret_that_has_expired_is_named_as_such(dynamics: World) -> None:
    dynamics.crm.faults.secret_expired = True
    checked = await dynamics.connect().check()
    [found] = checked.findings

    assert (None, Level.ERROR, "AADSTS7000222") == (checked.account, found.level, found.code)
    assert "make a new one" in found.mend


async def test_a_certificate_that_the_app_does_not_know_is_named_as_such(dynamics: World) -> None:
    other = World(dynamics.front, dynamics.http).crm.login.certificate
    dynamics.front.app = dynamics.crm.app
    keys = {"certificate": other.pem, "private_key": other.private_pem}
    with pytest.raises(SignInRefused, match="upload the certificate"):
        await PROVIDER.connect(dynamics.with_credentials("certificate", **keys), dynamics.http).describe("contact")
    wrong = dynamics.with_credentials("certificate", private_key="nonsense")
    with pytest.raises(SignInRefused, match="in PEM"):
        await PROVIDER.connect(wrong, dynamics.http).describe("contact")


async def test_an_address_of_another_environment_is_named_as_such(dynamics: World) -> None:
    setup = dynamics.setup()
    elsewhere = Setup(setup.flow, setup.credentials, setup.keeper, setup.meter, "http://127.0.0.1:9")
    for wrong, code in ((elsewhere, "AADSTS500011"), (Setup(*[*elsewhere.__dict__.values()][:4]), "address_missing")):
        with pytest.raises(SignInRefused) as refused:
            await PROVIDER.connect(wrong, dynamics.http).describe("contact")
        assert code == refused.value.code
        assert "https://acme.crm4.dynamics.com" in refused.value.mend


async def test_an_app_that_is_no_application_user_is_named_as_such(dynamics: World) -> None:
    known = dynamics.connect()
    await known.describe("contact")
    dynamics.crm.faults.not_a_member = True
    with pytest.raises(SignInRefused, match="Application users") as refused:
        await known.fetch("contact", [dynamics.add()], [])
    assert "no_application_user" == refused.value.code

    dynamics.shelf.kept.clear()
    [found] = (await dynamics.connect().check()).findings
    assert ("no_application_user", True) == (found.code, "Application users" in found.mend)
    assert [] == dynamics.shelf.kept


async def test_a_token_that_ends_between_pages_is_renewed(dynamics: World) -> None:
    ids = {dynamics.add() for _ in range(20)}
    dynamics.crm.faults.page_rows, dynamics.crm.faults.token_calls = 3, 3
    records, _ = await look(dynamics.connect(), "contact", None)

    assert ids == {one.key.id for one in records}
    assert len(dynamics.shelf.kept) > 2


# --- silence ----------------------------------------------------------------------------------------------------------


async def test_silence_is_just_as_long_as_it_is_asked_for(dynamics: World) -> None:
    crm, id_ = dynamics.connect(), dynamics.add()
    await crm.fetch("contact", [id_], [])
    dynamics.crm.faults.throttle_next, dynamics.crm.faults.throttle_s = 1, 12
    with pytest.raises(Busy) as busy:
        await crm.fetch("contact", [id_], [])

    assert abs(busy.value.until - clock.now() - timedelta(seconds=12)) < timedelta(seconds=2)
    calls = len(dynamics.front.calls)
    for _ in range(3):
        dynamics.later(seconds=3.5)
        with pytest.raises(Busy):
            await crm.fetch("contact", [id_], [])
    assert calls == len(dynamics.front.calls)
    dynamics.later(seconds=2)
    assert 1 == len(await crm.fetch("contact", [id_], []))
    assert 1 == dynamics.crm.state()["throttled"]


async def test_a_part_of_a_batch_that_asks_for_silence_gets_it_and_loses_no_other(dynamics: World) -> None:
    crm, ids = dynamics.connect(), [dynamics.add() for _ in range(3)]
    await crm.describe("contact")
    dynamics.crm.faults.fail_parts = ["", "throttled"]
    writes = [Write(Key("contact", id_), {"jobtitle": "Told"}) for id_ in ids]

    assert [End.DONE, End.AGAIN, End.DONE] == [one.end for one in await crm.write(writes)]
    calls = len(dynamics.front.calls)
    with pytest.raises(Busy):
        await crm.write(writes)
    assert calls == len(dynamics.front.calls)
    dynamics.later(seconds=13)
    assert [End.DONE] * 3 == [one.end for one in await crm.write(writes)]


async def test_a_reading_batch_that_is_told_to_wait_in_a_part_is_told_to_wait(dynamics: World) -> None:
    crm, id_ = dynamics.connect(), dynamics.add()
    await crm.describe("contact")
    dynamics.crm.faults.fail_parts = ["throttled"]
    for _ in range(2):
        with pytest.raises(Busy):
            await crm.fetch("contact", [id_], [])
    assert 1 == dynamics.crm.state()["throttled"]


async def test_who_is_not_told_how_long_waits_longer_each_time(dynamics: World) -> None:
    access, said = Access(dynamics.http, dynamics.setup()), Reply(429, {}, b"{}")
    waits = [(busy.until - clock.now()).total_seconds() for _ in range(3) if (busy := access.silence(said))]

    assert [2, 4, 8] == [round(one) for one in waits]
    assert None is access.silence(Reply(200, {}, b"{}"))
    again = access.silence(said)
    assert again is not None
    assert 2 == round((again.until - clock.now()).total_seconds())


async def test_a_link_to_another_host_is_not_followed(dynamics: World) -> None:
    crm: Dynamics = dynamics.connect()
    for elsewhere in ("https://evil.example/api/data/v9.2/contacts?$skiptoken=x", "//evil.example/api/", 7):
        body = b'{"value": [], "@odata.nextLink": %b}' % (
            f'"{elsewhere}"'.encode() if isinstance(elsewhere, str) else str(elsewhere).encode()
        )
        with pytest.raises(Unreachable, match="another host"):
            crm._api.rows(Reply(200, {}, body))
