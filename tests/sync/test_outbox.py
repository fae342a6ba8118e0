"""Who waits to be told: put there by triggers in the transaction that changed them, taken in the order that matters."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

from app import clock
from app.connectors.shapes import Key
from app.engine import ingest, publish
from app.engine.identity import Ref, record_kind
from app.store.db import Connection
from app.sync import outbox, parked
from app.sync.outbox import FLAGS, NEWS, NOTHING_NEW, Backlog, Row
from app.sync.shapes import Opened
from tests.engine import reference
from tests.engine.worlds import NOON, POLICY, draft, event, per_event, profile
from tests.sync.toy import PERSON, Toy
from tests.sync.worlds import World, opened

ADA, BOB = "ada@example.com", "bob@example.com"


async def known(world: World, at_work: Opened, email: str = ADA, record: str = "1") -> UUID:
    """A contact whose record the connection knows, and who was told everything."""
    await world.send(event("seen", email))
    contact = await world.contact(email)
    await world.execute(
        "INSERT INTO identity (kind, value, contact_id, since) VALUES ($1, $2, $3, $4)",
        record_kind(at_work.id, PERSON),
        record,
        contact,
        world.now,
    )
    await world.execute(
        "INSERT INTO link (connection_id, object, record, seen_at, created_at) VALUES ($1, $2, $3, $4, $4)",
        at_work.id,
        PERSON,
        record,
        world.now,
    )
    await world.execute("DELETE FROM outbox")
    return contact


async def row(world: World) -> dict[str, Any]:  # Any: of the columns
    [one] = await world.rows("SELECT * FROM outbox")
    return one


# --- triggers ---------------------------------------------------------------------------------------------------------


async def by_event(world: World, _: UUID) -> None:
    await world.send(event("a"))


async def by_adjustment(world: World, contact: UUID) -> None:
    await world.adjust(contact, "points", points=3)


async def by_a_day_that_passes(world: World, _: UUID) -> None:
    world.go_to(NOON + timedelta(days=40))
    await world.sweep()


async def by_a_publication(world: World, _: UUID) -> None:
    await world.publish("m", per_event("old", 7))


async def by_a_definition(world: World, _: UUID) -> None:
    await world.segment("s", {"field": "contact.name", "operator": "null"})


@pytest.mark.parametrize("change", [by_event, by_adjustment, by_a_day_that_passes, by_a_publication, by_a_definition])
async def test_a_score_that_changes_for_whatever_reason_is_to_be_told(
    world: World, toy: Toy, change: Callable[[World, UUID], Awaitable[None]]
) -> None:
    await world.segment("s", {"field": "contact.name", "operator": "=", "value": "Ada"})
    vip = profile("contact.segments", "contains", "s", 1)
    await world.publish("m", per_event("a", 5), per_event("old", 10, window=30), vip)
    contact = await known(world, await opened(world, toy))
    await world.send(event("old"))
    await world.execute("DELETE FROM outbox")

    await change(world, contact)

    assert {contact: NEWS} == await world.outbox()


async def test_an_event_that_changes_no_score_is_not_to_be_told(world: World, toy: Toy) -> None:
    await world.publish("m", per_event("a", 5, max_points=5))
    await known(world, await opened(world, toy))

    await world.send(event("a"))
    await world.execute("DELETE FROM outbox")
    await world.send(event("a"), event("b"))

    assert {} == await world.outbox()


async def test_how_far_the_furthest_score_moved_counts(world: World, toy: Toy) -> None:
    await world.publish("m", per_event("a", 5), per_event("b", -40))
    await world.publish("n", per_event("a", 6))
    await known(world, await opened(world, toy))

    await world.send(event("a"))
    first = await row(world)
    assert (1, Decimal(6), NOON) == (first["version"], first["moved"], first["since"])
    await world.send(event("b"))
    then = await row(world)
    assert (2, Decimal(40)) == (then["version"], then["moved"])
    await world.send(event("a"))
    assert Decimal(40) == (await row(world))["moved"]


@pytest.mark.parametrize("side_effects", [True, False])
async def test_what_a_publication_without_side_effects_changes_is_not_told_nor_what_depends_on_it(
    world: World, toy: Toy, side_effects: bool
) -> None:
    await world.publish("m", per_event("a", 5))
    await world.publish("sum", reference.Rule("profile", None, Decimal(2), per_unit_of={"field": "contact.score.m"}))
    contact = await known(world, await opened(world, toy))
    await world.send(event("a"))
    await world.execute("DELETE FROM outbox")

    async with world.database.batch() as db:
        await draft(db, "m", [per_event("a", 9)], world.now)
        made = await publish.publish(db, "m", "test", world.now, side_effects=side_effects)
    await world.run(made.job)

    assert (Decimal(9), Decimal(18)) == (await world.score(), await world.score(key="sum"))
    assert ({contact: NEWS} if side_effects else {}) == await world.outbox()
    await world.send(event("a"))
    assert {contact: NEWS} == await world.outbox()


@pytest.mark.parametrize(("least", "side_effects"), [(1, True), (1, False), (100, True)])
async def test_bands_that_reach_elsewhere_are_told_though_no_score_changes(
    world: World, toy: Toy, least: int, side_effects: bool
) -> None:
    def bands(hot: int) -> list[dict[str, Any]]:  # Any: JSON
        return [{"name": "cold", "color": "#00f", "min": None}, {"name": "hot", "color": "#f00", "min": hot}]

    await world.publish("m", per_event("a", 5))
    await world.execute("UPDATE scoring_model SET bands = $1", bands(100))
    await world.publish("m", per_event("a", 5))
    contact = await known(world, await opened(world, toy))
    await world.send(event("a"))
    await world.execute("DELETE FROM outbox")

    await world.execute("UPDATE scoring_model SET bands = $1", bands(least))
    async with world.database.batch() as db:
        made = await publish.publish(db, "m", "test", world.now, side_effects=side_effects)
    await world.run(made.job)

    assert ({contact: NEWS} if side_effects and least == 1 else {}) == await world.outbox()


@pytest.mark.parametrize(
    ("said", "priority"),
    [
        ({"name": "Ada"}, NEWS),
        ({"stage": "customer"}, NEWS),
        ({"tags": ("vip",)}, NEWS),
        ({"add_tags": ("vip",)}, NEWS),
        ({"properties": {"industry": "mining"}}, NEWS),
        ({"email": "countess@example.com"}, NEWS),
        ({"opted_out": True}, FLAGS),
        ({"bounced": True}, FLAGS),
        ({"name": "Ada", "opted_out": True}, FLAGS),
    ],
)
async def test_a_word_by_hand_is_to_be_told_and_a_flag_first(
    world: World, toy: Toy, said: dict[str, Any], priority: int
) -> None:
    contact = await known(world, await opened(world, toy))

    await world.change(contact, **said)
    assert {contact: priority} == await world.outbox()

    await world.execute("DELETE FROM outbox")
    await world.change(contact, **said)
    assert {} == await world.outbox()


@pytest.mark.parametrize(
    ("type_", "properties", "priority"),
    [
        ("email.unsubscribed", {}, FLAGS),
        ("email.complained", {}, FLAGS),
        ("email.bounced", {"bounce": "hard"}, FLAGS),
        ("email.bounced", {"bounce": "soft"}, NEWS),
        ("contact.updated", {"traits": {"plan": "gold"}}, NEWS),
        ("contact.tag_added", {"tag": "vip"}, NEWS),
    ],
)
async def test_a_word_by_an_event_is_to_be_told_and_a_flag_first(
    world: World, toy: Toy, type_: str, properties: dict[str, Any], priority: int
) -> None:
    contact = await known(world, await opened(world, toy))

    await world.send(event(type_, **properties))

    assert {contact: priority} == await world.outbox()


async def test_a_flag_that_ends_is_told_first_too(world: World, toy: Toy) -> None:
    contact = await known(world, await opened(world, toy))
    await world.send(event("email.unsubscribed"), event("email.bounced", bounce="hard"))
    await world.execute("DELETE FROM outbox")

    world.go_to(NOON + timedelta(hours=1))
    await world.change(contact, opted_out=False)
    assert {contact: FLAGS} == await world.outbox()
    await world.execute("DELETE FROM outbox")
    await world.change(contact, email="countess@example.com")
    assert {contact: FLAGS} == await world.outbox()


async def test_a_record_that_becomes_somebodys_is_to_be_told_in_its_turn(world: World, toy: Toy) -> None:
    at_work = await opened(world, toy)
    contact = await known(world, at_work)

    await world.execute(
        "INSERT INTO identity (kind, value, contact_id, since) VALUES ($1, '2', $2, $3)",
        record_kind(at_work.id, PERSON),
        contact,
        NOON,
    )

    assert ({contact: NOTHING_NEW}, NOON) == (await world.outbox(), (await row(world))["since"])


async def test_a_record_that_becomes_a_suppressed_contacts_is_told_first(world: World, toy: Toy) -> None:
    at_work = await opened(world, toy)
    ada, bob = await known(world, at_work), await known(world, at_work, BOB, "2")
    await world.change(ada, opted_out=True)
    await world.execute("DELETE FROM outbox")

    await world.merge(ada, bob)

    assert {ada: FLAGS} == await world.outbox()


async def test_a_merge_and_its_undoing_are_told_to_both_records(world: World, toy: Toy) -> None:
    at_work = await opened(world, toy)
    ada, bob = await known(world, at_work), await known(world, at_work, BOB, "2")

    await world.merge(ada, bob)
    assert {ada: NOTHING_NEW} == await world.outbox()
    await world.execute("DELETE FROM outbox")
    await world.unmerge(ada, bob)
    assert {bob: NOTHING_NEW} == await world.outbox()


async def test_a_connection_is_told_of_those_alone_whom_it_knows(world: World, toy: Toy) -> None:
    at_work, other = await opened(world, toy), await opened(world, toy, name="others")
    contact = await known(world, at_work)
    stranger = (await world.send(event("a", BOB)), await world.contact(BOB))[1]

    await world.change(contact, name="Ada")
    await world.change(stranger, opted_out=True)

    assert [(at_work.id, contact)] == [
        (one["connection_id"], one["contact_id"]) for one in await world.rows("SELECT * FROM outbox")
    ]
    assert at_work.id != other.id


async def test_a_connection_that_seeks_is_told_of_addresses(world: World, toy: Toy) -> None:
    await opened(world, toy, creates=True)

    await world.send(event("a", Ref(user_id="u1")))
    assert {} == await world.outbox()
    await world.send(event("a", ADA))
    contact = await world.contact()
    assert {contact: NOTHING_NEW} == await world.outbox()
    await world.execute("DELETE FROM outbox")
    await world.change(contact, name="Ada")
    assert {} == await world.outbox()
    await world.change(contact, email="countess@example.com")
    assert {contact: NEWS} == await world.outbox()


async def test_a_connection_that_is_gone_is_told_nothing_by_what_it_left(world: World, toy: Toy) -> None:
    await opened(world, toy, name="others")
    contact = await known(world, await opened(world, toy))
    await world.execute("DELETE FROM connection WHERE name = 'toys'")

    await world.change(contact, name="Ada", opted_out=True)
    await world.execute("UPDATE identity SET since = since")

    assert {} == await world.outbox()


async def test_where_there_is_no_connection_nothing_waits(world: World) -> None:
    await world.publish("m", per_event("a", 5))
    await world.send(event("a"))
    contact = await world.contact()
    await world.execute("INSERT INTO identity (kind, value, contact_id) VALUES ('crm:x:person', '1', $1)", contact)

    await world.change(contact, opted_out=True)
    await world.send(event("a"))

    assert {} == await world.outbox()


async def test_what_is_not_committed_is_not_to_be_told(world: World, toy: Toy) -> None:
    at_work = await opened(world, toy)
    contact = await known(world, at_work)

    async def fail() -> None:
        async with world.database.batch() as db:
            await db.execute("UPDATE contact SET name = 'Ada' WHERE id = $1", contact)
            assert 1 == await db.fetchval("SELECT count(*) FROM outbox")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()

    assert {} == await world.outbox()


async def test_who_claims_an_address_and_who_scores_its_contact_do_not_wait_for_each_other(
    world: World, toy: Toy
) -> None:
    await opened(world, toy, creates=True)
    await world.publish("m", per_event("seen", 1))
    await world.send(event("seen", ADA))
    claiming = event("seen", Ref(email=ADA, user_id="u1", new_email=BOB))
    async with world.database.batch() as db:
        await db.execute("SELECT FROM activity FOR UPDATE")
        other = asyncio.create_task(world.send(claiming))
        await asyncio.sleep(0.3)
        await ingest.accept(db, world.plans, [event("seen", ADA)], world.now, POLICY)
    await other

    assert Decimal(3) == await world.score()
    assert {await world.contact(): NOTHING_NEW} == await world.outbox()


async def test_whoever_is_erased_waits_no_more(world: World, toy: Toy) -> None:
    contact = await known(world, await opened(world, toy))
    await world.change(contact, name="Ada")

    await world.erase(contact)

    assert {} == await world.outbox()


async def test_whatever_changes_lets_a_row_be_looked_at_again(world: World, toy: Toy) -> None:
    await world.publish("m", per_event("a", 5))
    at_work = await opened(world, toy)
    contact = await known(world, at_work)

    async def by_a_record() -> None:
        await world.execute("UPDATE identity SET origin = NULL WHERE kind LIKE 'crm:%'")

    for change in (lambda: world.send(event("a")), lambda: world.change(contact, name=str(uuid4())), by_a_record):
        await world.execute("DELETE FROM outbox")
        async with world.database.batch() as db:
            await outbox.note(db, at_work.id, [contact], NEWS, NOON)
            [waiting] = await outbox.due(db, at_work.id, 5, NOON)
            await outbox.settle(db, at_work.id, [], {waiting: NOON + timedelta(hours=6)})
            assert [] == await outbox.due(db, at_work.id, 5, NOON)
        await change()
        found = await row(world)
        assert (2, None, 1) == (found["version"], found["not_before"], found["tries"])


async def test_a_batch_of_many_is_not_joined_by_a_plan_for_one(world: World) -> None:
    """It took six seconds for 3,000 contacts."""
    assert ["enable_nestloop=off"] == await world.value(
        "SELECT proconfig FROM pg_proc WHERE proname = 'tell_of_contacts'"
    )


# --- turns ------------------------------------------------------------------------------------------------------------


async def put(world: World, at_work: Opened, contact: UUID, **columns: Any) -> None:  # Any: of the columns
    given = {"connection_id": at_work.id, "contact_id": contact, "priority": NEWS, "since": NOON, **columns}
    places = ", ".join(f"${place}" for place in range(1, len(given) + 1))
    await world.execute(f"INSERT INTO outbox ({', '.join(given)}) VALUES ({places})", *given.values())


async def due(world: World, at_work: Opened, most: int = 100) -> list[Row]:
    async with world.database.batch() as db:
        return await outbox.due(db, at_work.id, most, clock.now())


async def test_flags_come_first_then_who_moved_furthest_then_who_waits_longest(world: World, toy: Toy) -> None:
    at_work, other = await opened(world, toy), await opened(world, toy, name="others")
    people = [uuid4() for _ in range(7)]
    await put(world, at_work, people[0], priority=FLAGS, since=NOON)
    await put(world, at_work, people[1], priority=NEWS, moved=Decimal(90))
    await put(world, at_work, people[2], priority=NEWS, moved=Decimal(2), since=NOON - timedelta(hours=2))
    await put(world, at_work, people[3], priority=NEWS, moved=Decimal(2), since=NOON - timedelta(hours=1))
    await put(world, at_work, people[4], priority=NEWS, moved=Decimal(2), since=NOON, not_before=NOON)
    await put(world, at_work, people[5], priority=NOTHING_NEW, moved=Decimal(99))
    await put(world, at_work, uuid4(), priority=FLAGS, not_before=NOON + timedelta(seconds=5))
    await put(world, other, people[6], priority=FLAGS)

    assert people[:6] == [one.contact for one in await due(world, at_work)]
    assert people[:2] == [one.contact for one in await due(world, at_work, 2)]


async def test_those_told_leave_but_not_who_changed_since_they_were_read(world: World, toy: Toy) -> None:
    at_work = await opened(world, toy)
    told, moved, later = uuid4(), uuid4(), uuid4()
    for contact in (told, moved, later):
        await put(world, at_work, contact)
    rows = {one.contact: one for one in await due(world, at_work)}
    async with world.database.batch() as db:
        await outbox.note(db, at_work.id, [moved], FLAGS, NOON)

        at = NOON + timedelta(minutes=1)
        assert 2 == await outbox.settle(db, at_work.id, [rows[told], rows[moved]], {rows[later]: at})

    assert {moved: FLAGS, later: NEWS} == await world.outbox()
    assert [moved] == [one.contact for one in await due(world, at_work)]
    world.go_to(at)
    assert {moved: 0, later: 1} == {one.contact: one.tries for one in await due(world, at_work)}


async def test_settling_waits_for_nobody_who_changes_a_contact_just_now(world: World, toy: Toy) -> None:
    at_work = await opened(world, toy)
    contact = await known(world, at_work)
    await put(world, at_work, contact)
    rows = await due(world, at_work)

    async with world.database.batch() as db:
        await db.execute("UPDATE contact SET name = 'Ada' WHERE id = $1", contact)
        async with asyncio.timeout(5), world.database.batch() as meanwhile:
            assert 0 == await outbox.settle(meanwhile, at_work.id, rows)
            assert 0 == await outbox.demote(meanwhile, at_work.id, [rows[0]._replace(priority=FLAGS)])

    assert {contact: NEWS} == await world.outbox()


async def test_who_has_no_flag_to_be_told_is_demoted_unless_one_came_meanwhile(world: World, toy: Toy) -> None:
    at_work = await opened(world, toy)
    plain, again = uuid4(), uuid4()
    for contact in (plain, again):
        await put(world, at_work, contact, priority=FLAGS)
    rows = await due(world, at_work)
    async with world.database.batch() as db:
        await outbox.note(db, at_work.id, [again], FLAGS, NOON)

        assert 1 == await outbox.demote(db, at_work.id, rows)

    assert {plain: NEWS, again: FLAGS} == await world.outbox()


async def test_a_backlog_says_how_many_wait_how_many_of_them_for_a_flag_and_since_when(world: World, toy: Toy) -> None:
    at_work = await opened(world, toy)
    before = NOON - timedelta(days=1)
    await put(world, at_work, uuid4(), priority=FLAGS)
    await put(world, at_work, uuid4(), priority=FLAGS, not_before=NOON + timedelta(hours=1))
    await put(world, at_work, uuid4(), since=before, not_before=outbox.PARKED)
    await put(world, at_work, uuid4(), not_before=before)

    async with world.database.batch() as db:
        assert Backlog(4, 2, 2, before) == await outbox.backlog(db, at_work.id)
        assert Backlog(0, 0, 0, None) == await outbox.backlog(db, uuid4())


# --- what it costs ----------------------------------------------------------------------------------------------------


async def test_of_a_long_outbox_only_those_are_read_whose_turn_it_is(world: World, toy: Toy) -> None:
    at_work = await opened(world, toy)
    many = """
        INSERT INTO outbox (connection_id, contact_id, priority, moved, since, not_before)
        SELECT $1, gen_random_uuid(), 1 + n % 2, n % 100, $2, CASE WHEN n % 3 = 0 THEN $3::timestamptz END
        FROM generate_series(1, 12000) n
    """
    await world.execute("ANALYZE outbox")
    await world.execute(many, at_work.id, NOON, NOON + timedelta(hours=1))
    for _ in range(2):  # by what the planner knows of an empty table, and of this one
        async with world.database.batch() as db:
            before = await _read_so_far(db)
            assert 50 == len(await outbox.due(db, at_work.id, 50, NOON))
            assert await _read_so_far(db) - before <= 120
            assert await outbox.is_longer(db, at_work.id, 7_000)
            assert not await outbox.is_longer(db, at_work.id, 9_000)
            for query, given in (
                (outbox.NEXT, (at_work.id, 50, NOON)),
                (outbox.BACKLOG, (at_work.id, outbox.COUNTED, NOON)),
            ):
                met = await _indexes(db, query, *given)
                assert {"outbox_turn", "outbox_later"} == met
            counted = await outbox.backlog(db, at_work.id)
            assert (outbox.COUNTED, 0, 4_000) == counted[:3]
        await world.execute("ANALYZE outbox")


async def _read_so_far(db: Connection) -> int:
    """Rows of the outbox that this connection has read lately."""
    count: int = await db.fetchval(
        "SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables WHERE relname = 'outbox'"
    )
    return count


async def _indexes(db: Connection, query: str, *arguments: Any) -> set[str]:  # Any: of the columns
    plan = orjson.loads(await db.fetchval(f"EXPLAIN (FORMAT JSON) {query}", *arguments))[0]["Plan"]
    nodes = list(_nodes(plan))
    assert [] == [one for one in nodes if one.get("Relation Name") == "outbox" and "Index Name" not in one]
    return {one["Index Name"] for one in nodes if "Index Name" in one}


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:  # Any: JSON
    return [plan, *(node for below in plan.get("Plans", []) for node in _nodes(below))]


# --- parked -----------------------------------------------------------------------------------------------------------


async def hold(world: World, record: str, **untils: datetime | None) -> None:
    """Hold fields of a record until then; None: they are parked."""
    held = {
        name: {
            "why": "refused",
            "code": "RULE",
            "reason": "an admin's rule",
            "tries": 5,
            "value": 1,
            "since": NOON.isoformat(),
            "until": None if until is None else until.isoformat(),
        }
        for name, until in untils.items()
    }
    await world.execute("UPDATE link SET held = $2 WHERE record = $1", record, held)


async def test_parked_records_are_shown_page_by_page(world: World, toy: Toy) -> None:
    at_work = await opened(world, toy)
    people = {n: await known(world, at_work, f"{n}@example.com", str(n)) for n in range(1, 5)}
    for n in (1, 2, 4):
        await hold(world, str(n), stage=None, out=NOON)
    await hold(world, "3", stage=NOON)

    async with world.database.batch() as db:
        first = await parked.page(db, at_work.id, 2, None)
        then = await parked.page(db, at_work.id, 2, first[-1].key)
        assert {"link_parked"} <= await _indexes(db, parked.PAGE, str(at_work.id), "", "", 2)

    assert [(Key(PERSON, str(n)), people[n]) for n in (1, 2)] == [one[:2] for one in first]
    assert [Key(PERSON, "4")] == [one.key for one in then]
    assert [("stage", "RULE", "an admin's rule", 5, NOON)] == [tuple(one) for one in first[0].fields]


async def test_a_retry_frees_one_record_or_all_and_has_them_told(world: World, toy: Toy) -> None:
    at_work = await opened(world, toy)
    people = [await known(world, at_work, f"{n}@example.com", str(n)) for n in range(4)]
    for n in range(3):
        await hold(world, str(n), stage=None, out=NOON + timedelta(hours=1))
    await put(world, at_work, people[3], not_before=outbox.PARKED, tries=5)

    async with world.database.batch() as db:
        assert 1 == await parked.retry(db, at_work.id, Key(PERSON, "1"), NOON)
    assert {} == (await world.link("1"))["held"]
    assert [people[1]] == [one.contact for one in await due(world, at_work)]

    async with world.database.batch() as db:
        assert 2 == await parked.retry(db, at_work.id, None, NOON)
        assert [] == await parked.page(db, at_work.id, 9, None)
    assert dict.fromkeys(people, 0) == {one.contact: one.tries for one in await due(world, at_work)}
