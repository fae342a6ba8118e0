from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from cryptography.fernet import Fernet

from app.engine import contacts, ingest, suppressions
from app.engine.contacts import Change
from app.engine.identity import Ref
from app.engine.plan import Plans
from app.engine.suppressions import Kind, Reason
from app.errors import Conflict
from app.store import suppressions as rows
from app.store.db import Database
from app.store.suppressions import Entry
from app.store.vault import Vault
from tests.engine.worlds import NOON, POLICY, World, event, profile

ADA, BOB, OLD = "ada@example.com", "bob@example.com", "ada@old.example"
HOUR = timedelta(hours=1)
VAULT = Vault(["dGVzdHMgc2VhbCB3aXRoIHRoaXMgYW5kIG5vdGhpbmc="])


@pytest.fixture
def world(database: Database) -> World:
    """One whose vault opens what it seals."""
    world = World(database)
    world.plans = Plans(VAULT)
    return world


async def why_not(world: World, *addresses: object) -> list[list[str]]:
    """The reasons of each address."""
    async with world.database.batch() as db:
        return [[why.reason for why in answer.reasons] for answer in await suppressions.check(db, VAULT, addresses)]


async def add(world: World, *entries: tuple[str, str, str]) -> int:
    async with world.database.batch() as db:
        return await rows.add(db, [Entry(*one, NOON, "test") for one in entries])


async def upsert(world: World, *refs: Ref) -> None:
    async with world.database.batch() as db:
        changes = [(ref, Change(said=frozenset({"email"}), email=ref.email)) for ref in refs]
        await contacts.upsert(db, world.plans, changes, "test", world.now, POLICY)


async def come_back(world: World, way: str, address: str = ADA) -> None:
    match way:
        case "event":
            await world.send(event("a", address))
        case "upsert":
            await upsert(world, Ref(email=address))
        case "address":
            await world.send(event("a", Ref(user_id="new")))
            [new] = await world.rows("SELECT contact_id FROM identity WHERE kind = 'user_id'")
            await world.change(new["contact_id"], email=address)
        case "word":
            await world.send(event("a", "new@example.com"))
            old = "new@example.com"
            await world.send(event("contact.email_changed", old, old_email=old, new_email=address))


# --- check ------------------------------------------------------------------------------------------------------------


async def test_every_reason_is_said_of_the_address_that_it_holds_for(world: World) -> None:
    await world.send(
        event("email.complained", "c@example.com"),
        event("email.unsubscribed", "u@example.com"),
        event("email.bounced", "h@example.com", bounce="hard"),
        *(event("email.bounced", "s@example.com", bounce="soft") for _ in range(POLICY.limit)),
        event("email.bounced", "few@example.com", bounce="soft"),
        *(event(type_, "both@example.com", bounce="hard") for type_ in ("email.bounced", "email.complained")),
    )
    await add(
        world,
        (Kind.ADDRESS, "m@example.com", Reason.MANUAL),
        (Kind.ADDRESS, "m@example.com", Reason.IMPORT),
        (Kind.ADDRESS, "u@example.com", Reason.MANUAL),
        (Kind.DOMAIN, "blocked.example", Reason.DOMAIN),
    )

    asked = {
        "c@example.com": ["complaint"],
        "u@example.com": ["opt_out", "manual"],
        "h@example.com": ["hard_bounce"],
        "s@example.com": ["soft_limit"],
        "few@example.com": [],
        "both@example.com": ["complaint", "hard_bounce"],
        "m@example.com": ["manual", "import"],
        "x@blocked.example": ["domain"],
        "x@very.much.blocked.example": ["domain"],
        "x@notblocked.example": [],
        "nobody@example.com": [],
        " H@Example.COM ": ["hard_bounce"],
        "not an address": ["invalid"],
    }
    assert list(asked.values()) == await why_not(world, *asked)
    assert [[], ["invalid"], ["invalid"], ["invalid"], []] == await why_not(world, BOB, None, 7, "a\0@b.example", BOB)


async def test_an_address_that_a_contact_left_is_opted_out_with_it_and_bounced_by_its_own_mail(world: World) -> None:
    await world.send(event("email.bounced", OLD, NOON - HOUR, bounce="hard"))
    ada = await world.contact(OLD)
    await world.change(ada, email=ADA)
    assert [["hard_bounce"], []] == await why_not(world, OLD, ADA)

    await world.send(event("email.unsubscribed", ADA), event("email.bounced", ADA, bounce="hard"))
    assert [["opt_out", "hard_bounce"]] * 2 == await why_not(world, OLD, ADA)

    world.go_to(NOON + HOUR)
    await world.change(ada, opted_out=False, bounced=False)
    assert [[], []] == await why_not(world, OLD, ADA)


async def test_a_provider_that_did_not_try_says_nothing_of_an_address_that_was_left(world: World) -> None:
    await world.send(event("email.bounced", OLD, bounce="hard", suppressed=True))
    await world.change(await world.contact(OLD), email=ADA)

    assert [[]] == await why_not(world, OLD)


async def test_a_check_of_thousands_takes_as_many_statements_as_a_check_of_one(world: World) -> None:
    await world.send(event("email.unsubscribed", ADA))
    await world.erase(await world.contact())
    for size in (1, 3_000):
        async with world.database.batch() as db:
            met: list[Any] = []
            db.add_query_logger(met.append)
            await suppressions.check(db, VAULT, [f"{n}@example.com" for n in range(size)])
            db.remove_query_logger(met.append)
        assert 3 == len(met)


async def test_every_table_is_read_by_key(world: World) -> None:
    """Whatever the planner knows of the tables' sizes."""
    met: list[Any] = []
    await world.send(*(event("email.unsubscribed", f"{n}@example.com") for n in range(500)))
    await world.execute("ANALYZE contact, identity, suppression")
    async with world.database.batch() as db:
        db.add_query_logger(met.append)
        await suppressions.check(db, VAULT, [ADA])
        db.remove_query_logger(met.append)
        for one in met:
            arguments = [[ADA]] * one.query.count("[]") if "[]" in one.query else ["x"]
            plan = "\n".join(row[0] for row in await db.fetch(f"EXPLAIN {one.query}", *arguments))
            assert "Seq Scan" not in plan, plan


# --- beyond erasure ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["event", "upsert", "address", "word"])
@pytest.mark.parametrize(
    ("happened", "flags", "reasons"),
    [
        (["unsubscribed"], (True, "unsubscribed", False, None, "none"), ["opt_out"]),
        (["complained"], (True, "complained", False, None, "none"), ["complaint"]),
        (["hard"], (False, None, True, "suppressed", "hard"), ["hard_bounce"]),
        (["soft"] * POLICY.limit, (False, None, True, "suppressed", "soft"), ["soft_limit"]),
        (["complained", "hard"], (True, "complained", True, "suppressed", "hard"), ["complaint", "hard_bounce"]),
        (["soft"], (False, None, False, None, "none"), []),
    ],
)
async def test_who_was_erased_comes_back_as_blocked_as_they_were(
    world: World, happened: list[str], flags: tuple[Any, ...], reasons: list[str], way: str
) -> None:
    await world.publish("m", profile("contact.opted_out", "=", True, -1), profile("contact.bounced", "=", True, -10))
    for what in happened:
        is_bounce = what in ("hard", "soft")
        said = {"bounce": what} if is_bounce else {}
        await world.send(event("email.bounced" if is_bounce else f"email.{what}", ADA, NOON - HOUR, source="s", **said))
    await world.erase(await world.contact())
    assert [reasons] == await why_not(world, ADA)
    assert [] == await world.rows("SELECT FROM suppression WHERE value LIKE '%ada@%' OR kind <> 'hash'")

    await come_back(world, way)

    row = await world.row()
    names = ("opted_out", "opted_out_reason", "bounced", "bounced_reason", "bounce_status")
    assert flags == tuple(row[name] for name in names)
    assert {NOON - HOUR, None} >= {row["opted_out_at"], row["bounced_at"]}
    assert [reasons] == await why_not(world, ADA)
    assert [] == await world.rows("SELECT FROM suppression")
    assert Decimal(-row["opted_out"] - 10 * row["bounced"]) == await world.score()


async def test_what_comes_back_ends_as_its_kind_does(world: World) -> None:
    for address in (ADA, BOB):
        await world.send(*(event("email.bounced", address, NOON - HOUR, bounce="soft") for _ in range(POLICY.limit)))
        await world.send(event("email.unsubscribed", address, NOON - HOUR))
        await world.erase(await world.contact(address))
        await world.send(event("a", address))

    await world.send(event("email.bounced", ADA, bounce="soft"), event("email.delivered", BOB, NOON - 2 * HOUR))
    assert [["opt_out", "soft_limit"]] * 2 == await why_not(world, ADA, BOB)
    await world.send(event("email.opened", BOB), event("email.resubscribed", BOB))
    await world.change(await world.contact(), email="ada@new.example")
    assert [[], ["opt_out"]] == await why_not(world, BOB, "ada@new.example")


async def test_an_opt_out_is_kept_for_every_address_and_a_bounce_for_the_one_in_use(world: World) -> None:
    await world.send(event("email.unsubscribed", OLD))
    ada = await world.contact(OLD)
    await world.change(ada, email=ADA)
    await world.send(event("email.bounced", ADA, bounce="hard"))

    await world.erase(ada)

    assert [["opt_out"], ["opt_out", "hard_bounce"]] == await why_not(world, OLD, ADA)
    # A bounce waits until its address is the one in use.
    await world.send(event("a", Ref(email=BOB, user_id="u")), event("a", Ref(email=ADA, user_id="u")))
    assert (True, False) == ((await world.row(ADA))["opted_out"], (await world.row(ADA))["bounced"])
    assert [["opt_out", "hard_bounce"]] == await why_not(world, ADA)
    await world.change(await world.contact(BOB), email=ADA)
    assert (await world.row(ADA))["bounced"]


async def test_many_come_back_at_once_with_as_many_statements_as_one(world: World) -> None:
    counts = []
    for size in (1, 40):
        addresses = [f"{n}@example.com" for n in range(size)]
        await world.send(*(event("email.unsubscribed", one) for one in addresses))
        for one in addresses:
            await world.erase(await world.contact(one))
        met: list[Any] = []
        async with world.database.batch() as db:
            db.add_query_logger(met.append)
            changes = [(Ref(email=one), Change(said=frozenset())) for one in addresses]
            await contacts.upsert(db, world.plans, changes, "test", world.now, POLICY)
            db.remove_query_logger(met.append)
        counts.append(len(met))
        assert size == await world.value("SELECT count(*) FROM contact WHERE opted_out")
        for one in addresses:
            await world.erase(await world.contact(one))

    assert 1 == len(set(counts))


async def test_a_batch_that_makes_nobody_asks_nothing_more(world: World) -> None:
    await world.send(event("email.unsubscribed", BOB), event("a", ADA))
    await world.erase(await world.contact(BOB))
    met: list[Any] = []
    async with world.database.batch() as db:
        db.add_query_logger(met.append)
        await ingest.accept(db, world.plans, [event("a", ADA), event("b", ADA)], world.now, POLICY)
        db.remove_query_logger(met.append)

    assert [] == [one.query for one in met if "suppression" in one.query or "own_secret" in one.query]


async def test_merging_leaves_nothing_on_the_list(world: World) -> None:
    await world.send(event("email.unsubscribed", ADA), event("a", BOB))

    await world.merge(await world.contact(BOB), await world.contact(ADA))

    assert [] == await world.rows("SELECT FROM suppression")
    assert [["opt_out"]] == await why_not(world, ADA)


async def test_what_the_list_says_of_an_erased_address_stays_by_its_hash(world: World) -> None:
    await add(world, (Kind.ADDRESS, ADA, Reason.MANUAL), (Kind.ADDRESS, BOB, Reason.MANUAL))
    await world.send(event("a", ADA))

    await world.erase(await world.contact())

    assert [["manual"], ["manual"]] == await why_not(world, ADA, BOB)
    assert [("address", BOB)] == [
        (row["kind"], row["value"]) for row in await world.rows("SELECT * FROM suppression WHERE kind <> 'hash'")
    ]
    await world.send(event("a", ADA))
    assert not (await world.row())["opted_out"]
    assert [["manual"]] == await why_not(world, ADA)


async def test_a_secret_that_does_not_open_stops_nobody_but_who_must_know_it(world: World) -> None:
    await world.send(event("email.unsubscribed", ADA), event("email.unsubscribed", BOB))
    await world.erase(await world.contact())
    stranger = Vault([Fernet.generate_key().decode()])
    world.plans = Plans(stranger)

    await world.send(event("a", ADA))

    assert not (await world.row())["opted_out"]
    with pytest.raises(Conflict, match="another encryption key"):
        await world.erase(await world.contact(BOB))
    async with world.database.batch() as db:
        with pytest.raises(Conflict, match="another encryption key"):
            await suppressions.check(db, stranger, [BOB])


# --- the list of one's own --------------------------------------------------------------------------------------------


async def test_the_persons_own_opt_in_ends_what_the_list_keeps_of_opt_outs_before_it(world: World) -> None:
    reasons = (Reason.OPT_OUT, Reason.COMPLAINT, Reason.MANUAL)
    await add(world, *((Kind.ADDRESS, one, reason) for one in (ADA, BOB) for reason in reasons))
    async with world.database.batch() as db:
        await suppressions.opt_out(db, VAULT, ADA, NOON, "one-click")
        await suppressions.opt_out(db, VAULT, "c@example.com", NOON, "one-click")
        assert [True, True, False] == [
            await suppressions.has_opted_out(db, VAULT, one) for one in (ADA, "c@example.com", "d@example.com")
        ]

    world.go_to(NOON + HOUR)
    await world.send(event("email.resubscribed", ADA, NOON + HOUR), event("email.resubscribed", BOB, NOON))

    assert [["manual"], ["complaint", "opt_out", "manual"], ["opt_out"]] == await why_not(
        world, ADA, BOB, "c@example.com"
    )


async def test_adding_again_changes_nothing(world: World) -> None:
    one = (Kind.ADDRESS, ADA, Reason.MANUAL)
    assert 1 == await add(world, one, one)
    async with world.database.batch() as db:
        assert 0 == await rows.add(db, [Entry(*one, NOON + HOUR, "another", "note")])

    [row] = await world.rows("SELECT * FROM suppression")
    assert (NOON, "test", None) == (row["at"], row["by"], row["note"])


@pytest.mark.parametrize(
    ("said", "normal"),
    [("Example.COM", "example.com"), (" @a.example ", "a.example"), ("BÜCHER.example", "bücher.example")],
)
def test_a_domain_is_kept_in_one_spelling(said: str, normal: str) -> None:
    assert normal == suppressions.normal_domain(said)


@pytest.mark.parametrize("said", ["", "com", "a b.example", "a@b.example", "*.example.com", "-a.example", "[1.2.3.4]"])
def test_what_is_no_domain_is_refused(said: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        suppressions.normal_domain(said)
