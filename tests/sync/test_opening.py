import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from cryptography.fernet import Fernet

from app import clock
from app.connectors.faults import SignInRefused, Unreachable
from app.connectors.http import Http
from app.connectors.provider import Grant
from app.errors import NotFound
from app.store.vault import Sealed, Vault
from app.sync import connections, opening
from app.sync.connections import CrmConnection
from app.sync.given import Edit, New
from app.sync.opening import KeptGrant
from app.sync.options import Options
from app.sync.shapes import Opened
from tests.engine.worlds import POLICY
from tests.sync.provider import ToyProvider
from tests.sync.worlds import VAULT, World

OLD, NEW = Grant("old", "refresh old"), Grant("new", "refresh new", "https://x.example.com", "7", {"scope": "all"})


@pytest.fixture
def crm() -> ToyProvider:
    return ToyProvider()


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    async with Http() as made:
        yield made


async def made(world: World, crm: ToyProvider, vault: Vault = VAULT, **options: Any) -> CrmConnection:
    new = New("toy", "toys", "token", {"token": "s3cret"}, options=Options(**options))
    async with world.database.batch() as db:
        return await connections.create(db, vault, new, {"toy": crm}, clock.now(), private=False)


async def kept(world: World, crm: ToyProvider, grant: Grant | None = None) -> KeptGrant:
    keeper = KeptGrant(world.database, VAULT, (await made(world, crm)).id)
    if grant is not None:
        await keeper.keep(grant)
    return keeper


async def stored(world: World) -> Any:  # Any: JSON
    return orjson.loads(VAULT.open(await world.value("SELECT sealed FROM connection_grant")))


def opened(world: World, crm: ToyProvider, http: Http, id_: UUID, vault: Vault = VAULT) -> Any:  # Any: it is opened's
    return opening.opened(world.database, vault, http, world.plans, POLICY, id_, {"toy": crm})


# --- grants -----------------------------------------------------------------------------------------------------------


async def test_a_grant_is_kept_sealed_for_whoever_comes_next(world: World, crm: ToyProvider) -> None:
    keeper = await kept(world, crm)
    assert await keeper.grant() is None

    await keeper.keep(NEW)

    assert NEW == await KeptGrant(world.database, VAULT, (await made_again(world)).id).grant()
    assert b"refresh" not in await world.value("SELECT sealed FROM connection_grant")


async def made_again(world: World) -> CrmConnection:
    async with world.database.batch() as db:
        return await connections.named(db, "toys")


async def test_many_who_find_a_grant_ended_sign_in_once(world: World, crm: ToyProvider) -> None:
    keeper = await kept(world, crm, OLD)
    seen: list[Grant | None] = []

    async def sign_in(present: Grant | None) -> Grant:
        seen.append(present)
        await asyncio.sleep(0.02)
        return NEW

    found = await asyncio.gather(*(keeper.renew(OLD, sign_in) for _ in range(20)))

    assert [NEW] * 20 == found
    assert [OLD] == seen


async def test_a_grant_that_another_process_renewed_meanwhile_is_taken(world: World, crm: ToyProvider) -> None:
    keeper = await kept(world, crm, OLD)

    async def sign_in(_: Grant | None) -> Grant:
        raise AssertionError

    async with world.database.batch() as db:
        await db.execute("SELECT FROM connection_grant FOR UPDATE")
        waiting = asyncio.create_task(keeper.renew(OLD, sign_in))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await db.execute(
            "UPDATE connection_grant SET sealed = $1", VAULT.seal(orjson.dumps({"access_token": "theirs"}))
        )

    assert "theirs" == (await waiting).access_token


async def test_a_renewed_grant_is_committed_before_anybody_has_it(world: World, crm: ToyProvider) -> None:
    keeper = await kept(world, crm, OLD)

    async def sign_in(_: Grant | None) -> Grant:
        assert "old" == (await stored(world))["access_token"]
        return NEW

    await keeper.renew(OLD, sign_in)

    assert "refresh new" == (await stored(world))["refresh_token"]


async def test_a_grant_is_kept_though_whoever_asked_for_it_gave_up(world: World, crm: ToyProvider) -> None:
    keeper = await kept(world, crm, OLD)
    asked, answered = asyncio.Event(), asyncio.Event()

    async def sign_in(_: Grant | None) -> Grant:
        asked.set()
        await answered.wait()
        return NEW

    renewing = asyncio.create_task(keeper.renew(OLD, sign_in))
    await asked.wait()
    renewing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await renewing
    answered.set()

    assert NEW == await keeper.renew(OLD, sign_in)
    assert "new" == (await stored(world))["access_token"]


async def test_a_grant_is_kept_though_the_database_went_away_meanwhile(world: World, crm: ToyProvider) -> None:
    keeper = await kept(world, crm, OLD)

    async def sign_in(_: Grant | None) -> Grant:
        ended = await world.value(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE relation = 'connection_grant'::regclass"
            " AND mode = 'RowShareLock'"
        )
        assert 1 == ended
        return NEW

    assert NEW == await keeper.renew(OLD, sign_in)
    assert "new" == (await stored(world))["access_token"]


async def test_who_cannot_sign_in_leaves_what_is_there(world: World, crm: ToyProvider) -> None:
    keeper = await kept(world, crm, OLD)

    async def sign_in(_: Grant | None) -> Grant:
        raise Unreachable("no answer")

    with pytest.raises(Unreachable):
        await keeper.renew(OLD, sign_in)

    assert OLD == await keeper.grant()
    assert NEW == await keeper.renew(OLD, give(NEW))


def give(grant: Grant) -> opening.SignIn:
    async def sign_in(_: Grant | None) -> Grant:
        return grant

    return sign_in


async def test_nothing_is_kept_for_a_connection_that_is_gone(world: World, crm: ToyProvider) -> None:
    keeper = await kept(world, crm, OLD)
    await world.execute("DELETE FROM connection; DELETE FROM connection_grant")

    with pytest.raises(NotFound):
        await keeper.renew(OLD, give(NEW))
    with pytest.raises(NotFound):
        await keeper.keep(NEW)

    assert 0 == await world.value("SELECT count(*) FROM connection_grant")


# --- keys -------------------------------------------------------------------------------------------------------------


async def test_a_new_key_in_front_of_the_old_one_takes_over(world: World, crm: ToyProvider, http: Http) -> None:
    before, after = (Fernet.generate_key().decode() for _ in range(2))
    id_ = (await made(world, crm, Vault([before]))).id
    await KeptGrant(world.database, Vault([before]), id_).keep(OLD)
    both = Vault([after, before])

    async with opened(world, crm, http, id_, both) as at_work:
        assert [] == (await at_work.connector.check()).findings
    assert {"token": "s3cret"} == crm.setups[-1].credentials
    await KeptGrant(world.database, both, id_).renew(OLD, give(NEW))
    async with world.database.batch() as db:
        await connections.change(
            db, both, id_, Edit(credentials={"token": "t"}), {"toy": crm}, clock.now(), private=False
        )
        changed = await connections.get(db, id_)

    assert {"token": "t"} == connections.credentials(Vault([after]), changed)
    with pytest.raises(Sealed):
        connections.credentials(Vault([before]), changed)


@pytest.mark.parametrize("what", ["credentials", "grant"])
async def test_what_no_key_opens_is_told_as_the_encryption_key(
    world: World, crm: ToyProvider, http: Http, what: str
) -> None:
    other = Vault([Fernet.generate_key().decode()])
    id_ = (await made(world, crm, other if what == "credentials" else VAULT)).id
    await KeptGrant(world.database, other, id_).keep(OLD)

    async def check() -> None:
        async with opened(world, crm, http, id_) as at_work:
            await at_work.connector.check()

    with pytest.raises(SignInRefused) as refused:
        await check()

    assert "encryption_key" == refused.value.code
    if what == "credentials":
        async with world.database.batch() as db:
            problem = (await connections.get(db, id_)).problem
        assert problem is not None
        assert ("encryption_key", True) == (problem["code"], "LEADTALLY_ENCRYPTION_KEY" in problem["mend"])


# --- at work ----------------------------------------------------------------------------------------------------------


async def test_a_connection_is_opened_with_all_that_it_is_made_of(world: World, crm: ToyProvider, http: Http) -> None:
    held = await made(world, crm, budget=50, reserve_percent=10, choices={"opt_out": "native"})

    async with opened(world, crm, http, held.id) as at_work:
        assert isinstance(at_work, Opened)
        assert (held.id, "toy", "toys", "crm:toys") == (at_work.id, at_work.kind, at_work.name, at_work.source)
        assert held.options == at_work.options
        assert (50, "calls") == (at_work.budget.per_day, at_work.budget.unit)
        setup = crm.setups[-1]
        assert ("token", {"token": "s3cret"}, None) == (setup.flow, setup.credentials, setup.base_url)
        assert {"opt_out": "native"} == setup.choices
        assert 0 == crm.closed

    assert 1 == crm.closed
    assert "s3cret" not in repr(held)


async def test_the_budget_is_the_crms_default_if_nobody_says_otherwise(
    world: World, crm: ToyProvider, http: Http
) -> None:
    async with opened(world, crm, http, (await made(world, crm)).id) as at_work:
        assert 1_000 == at_work.budget.per_day


async def test_what_was_spent_is_kept_in_whatever_way_the_work_ends(world: World, crm: ToyProvider, http: Http) -> None:
    id_ = (await made(world, crm)).id

    async def work() -> None:
        async with opened(world, crm, http, id_) as at_work:
            await at_work.connector.check()
            await at_work.connector.check()
            raise Unreachable("no answer")

    with pytest.raises(Unreachable):
        await work()

    async with opened(world, crm, http, id_) as at_work:
        assert 2 == at_work.budget.spent_today
    clock.shift(timedelta(days=2))
    async with opened(world, crm, http, id_) as at_work:
        assert 0 == at_work.budget.spent_today
    assert 3 == crm.closed


async def test_what_is_not_there_cannot_be_opened(world: World, crm: ToyProvider, http: Http) -> None:
    with pytest.raises(NotFound):
        async with opened(world, crm, http, uuid4()):
            raise AssertionError

    id_ = (await made(world, crm)).id
    with pytest.raises(SignInRefused) as refused:
        async with opening.opened(world.database, VAULT, http, world.plans, POLICY, id_, {}):
            raise AssertionError
    assert "unknown_kind" == refused.value.code
