"""Every way to sign in; a token that ended, a refresh token that rotates, a sign-in that is refused."""

import asyncio
from dataclasses import replace

import pytest

from app.connectors.faults import SignInRefused
from app.connectors.shapes import Level
from tests.connectors.contract.place import ANN, Place, fetched, scenario
from tests.connectors.contract.telling import untold
from tests.connectors.given import Shelf

# Of RFC 7636, appendix B.
_VERIFIER, _CHALLENGE = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
_CALLBACK = "https://here.example/callback"


@scenario
async def every_way_to_sign_in_works(place: Place) -> None:
    crm = place.crm
    assert set(crm.flows) <= {one.name for one in place.provider.flows}
    for flow in place.provider.flows:
        assert (flow.name in crm.flows, flow.is_interactive) != (False, False), flow
    id_ = await crm.add(ANN)
    for name in crm.flows:
        place.shelf = Shelf()
        connector = place.connector(place.setup(name))
        assert not (await fetched(connector, place.key(id_), [])).is_gone
        await place.connector(replace(place.setup(name), base_url=f"{crm.stage.url}/")).describe(crm.object)
        checked = await connector.check()
        assert checked.account is not None
        assert (True, True) == (bool(checked.account.organisation), bool(checked.account.user))
        assert [] == [one for one in checked.findings if one.level is Level.ERROR]


@scenario
async def somebody_signs_in_with_a_browser(place: Place) -> None:
    crm, provider = place.crm, place.provider
    interactive = [one.name for one in provider.flows if one.is_interactive]
    if not interactive:
        pytest.skip("nobody signs in with a browser there")
    for name in interactive:
        place.shelf = Shelf()
        setup = replace(place.setup(name), keeper=place.shelf)
        place.shelf.kept.clear()
        # Of RFC 7636, appendix B.
        verifier, challenge = (
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        )
        brought = await crm.browse(provider.authorize_url(setup, "https://here.example/callback", "state 1", challenge))
        assert "state 1" == brought["state"]

        grant = await provider.exchange(setup, place.http, brought["code"], "https://here.example/callback", verifier)
        place.shelf.kept.append(grant)
        id_ = await crm.add(ANN)
        assert not (await fetched(place.connector(setup), place.key(id_), [])).is_gone
        await crm.expire_tokens()
        assert not (await fetched(place.connector(setup), place.key(id_), [])).is_gone

        with pytest.raises(SignInRefused):
            await provider.exchange(setup, place.http, "wrong", _CALLBACK, _VERIFIER)


@scenario
async def a_token_that_ended_is_renewed_once(place: Place) -> None:
    crm, connector = place.crm, place.connector()
    if not crm.tokens_end:
        pytest.skip("tokens are for ever there")
    ids = [await crm.add(f"{n}@example.com") for n in range(12)]
    await fetched(connector, place.key(ids[0]), [])
    before = crm.stage.sign_ins
    await crm.expire_tokens()

    other = place.connector()  # another process
    both = [(one, id_) for id_ in ids for one in (connector, other)]
    found = await asyncio.gather(*(fetched(one, place.key(id_), [crm.note]) for one, id_ in both))

    assert (False, before + 1) == (any(one.is_gone for one in found), crm.stage.sign_ins)


@scenario
async def a_rotated_refresh_token_is_kept(place: Place) -> None:
    crm, provider = place.crm, place.provider
    if not crm.rotate():
        pytest.skip("refresh tokens are for ever there")
    name = next(one.name for one in provider.flows if one.is_interactive)
    setup = place.setup(name)
    place.shelf.kept.clear()
    brought = await crm.browse(provider.authorize_url(setup, _CALLBACK, "state 1", _CHALLENGE))
    place.shelf.kept.append(await provider.exchange(setup, place.http, brought["code"], _CALLBACK, _VERIFIER))
    id_ = await crm.add(ANN)

    for _ in range(3):  # by another process each time
        await crm.expire_tokens()
        connector = place.connector(setup)
        await asyncio.gather(*(fetched(connector, place.key(id_), []) for _ in range(5)))

    assert 4 == len({one.refresh_token for one in place.shelf.kept})
    assert 4 == len({one.access_token for one in place.shelf.kept})


@scenario
async def a_refused_sign_in_says_what_to_do_and_no_secret(place: Place) -> None:
    crm = place.crm
    for flow in crm.flows:
        place.shelf = Shelf()
        setup = crm.wrong(place.setup(flow))
        before = crm.stage.sign_ins
        for _ in range(2):
            with pytest.raises(SignInRefused) as refused:
                await place.connector(setup).changes(crm.object, None, [])
            assert (True, True, True) == tuple(map(bool, (refused.value.code, refused.value.what, refused.value.mend)))
            assert [] == untold(place, setup, str(refused.value), repr(refused.value))
        assert crm.stage.sign_ins - before <= 2
        checked = await place.connector(setup).check()
        assert None is checked.account
        assert [Level.ERROR] == list({one.level for one in checked.findings})
        assert all(one.code and one.what and one.mend for one in checked.findings)
        assert [] == untold(place, setup, repr(checked))
