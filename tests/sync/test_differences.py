import asyncio

import pytest

from app.connectors.shapes import Kind
from app.engine import publish
from app.sync import differences, duplicates, pull, push
from app.sync.differences import Compared, Right, Why
from app.sync.options import Options
from app.sync.shapes import Counts, Opened
from tests.engine.worlds import event, per_event
from tests.sync.toy import Toy
from tests.sync.worlds import PAIRS, World, opened, pair


@pytest.fixture
async def toys(world: World, toy: Toy) -> Opened:
    """In step with a CRM of seven people."""
    for number in range(7):
        toy.add(f"p{number}@example.com", full_name=f"P {number}", industry="Toys")
    made = await opened(world, toy)
    await step(made)
    return made


async def step(at_work: Opened) -> None:
    await pull.pull(at_work, Counts(), asyncio.Event())
    await push.drain(at_work, Counts(), asyncio.Event())


async def different(at_work: Opened) -> dict[str, dict[str, tuple[Right | None, Why | None]]]:
    """By record and field there."""
    found = [one async for one in differences.all_of(at_work) if not one.is_agreed]
    return {one.key.id: {each.there: (each.right, each.why) for each in one.differing} for one in found}


async def test_where_both_sides_say_the_same_there_is_nothing_to_report(toys: Opened) -> None:
    report = await differences.page(toys)

    assert 7 == len(report.records)
    assert all(one.is_agreed for one in report.records)
    assert report.next is None
    assert (7, 7 * len(PAIRS), 0, 0) == (
        report.totals.records,
        report.totals.fields,
        report.totals.different_records,
        report.totals.different_fields,
    )


async def test_what_changed_here_waits_in_the_outbox_until_it_is_told(world: World, toys: Opened) -> None:
    await world.send(event("email.unsubscribed", "p0@example.com", world.now))

    assert {"1": {"out": (Right.HERE, Why.WAITS)}} == await different(toys)
    await step(toys)
    assert {} == await different(toys)


async def test_what_changed_there_is_right_until_it_is_pulled(toy: Toy, toys: Opened) -> None:
    toy.edit("2", industry="Games", full_name="Bob")

    expected = (Right.THERE, Why.NOT_PULLED)
    assert {"2": {"industry": expected, "full_name": expected}} == await different(toys)
    await step(toys)
    assert {} == await different(toys)


async def test_what_moved_on_both_sides_is_said_to(world: World, toy: Toy, toys: Opened) -> None:
    await world.change(await world.contact("p2@example.com"), stage="lead")
    toy.edit("3", stage="customer")

    found = await different(toys)
    assert Right.BOTH_MOVED == found["3"]["stage"][0]


async def test_what_the_crm_refuses_is_said_with_its_reason(world: World, toy: Toy, toys: Opened) -> None:
    toy.refuses["1"] = ("stage",)
    await world.change(await world.contact("p0@example.com"), stage="lead")
    await push.drain(toys, Counts(), asyncio.Event())

    [one] = [one async for one in differences.all_of(toys) if not one.is_agreed]
    [field] = one.differing
    assert ("stage", "lead", None, Right.HERE, Why.HELD) == field[1:6]
    assert "an admin's rule" in (field.detail or "")
    assert "held until" in (field.detail or "")


async def test_what_is_published_without_side_effects_is_told_with_the_next_change(
    world: World, toy: Toy, toys: Opened
) -> None:
    await world.send(event("page.viewed", "p0@example.com", world.now))
    await world.publish("m", per_event("page.viewed", 5))
    await push.drain(toys, Counts(), asyncio.Event())
    said = await world.value("SELECT options FROM connection")
    at_work = toys._replace(options=Options.from_json(said))
    assert {} == await different(at_work)

    await world.draft("m", [per_event("page.viewed", 9)])
    async with world.database.batch() as db:
        made = await publish.publish(db, "m", "test", world.now, side_effects=False)
    await world.run(made.job)

    assert {"1": {"score_m": (Right.HERE, Why.QUIET)}} == await different(at_work)


async def test_what_flows_in_only_and_was_changed_here_is_reported(world: World, toys: Opened) -> None:
    await world.change(await world.contact("p0@example.com"), name="Somebody else")

    assert {"1": {"full_name": (Right.HERE, Why.ONE_WAY)}} == await different(toys)


async def test_of_several_records_of_a_contact_those_that_differ_are_reported_as_such(
    world: World, toy: Toy, toys: Opened
) -> None:
    toy.add("p0@example.com", full_name="Another P")
    for _ in range(2):
        await step(toys)

    found = await different(toys)
    assert {Why.SEVERAL_RECORDS} == {why for fields in found.values() for _, why in fields.values()}
    async with world.database.batch() as db:
        [several] = (await duplicates.page(db, toys.id, limit=10, after=None)).contacts
    assert {"1", "8"} == {key.id for key in several.records}
    assert await world.contact("p0@example.com") == several.contact


async def test_duplicates_are_paged_without_loss(world: World, toy: Toy, toys: Opened) -> None:
    for number in range(5):
        toy.add(f"p{number}@example.com")
    await step(toys)
    found, after = [], None
    async with world.database.batch() as db:
        while True:
            page = await duplicates.page(db, toys.id, limit=2, after=after)
            found += [one.contact for one in page.contacts]
            if (after := page.next) is None:
                break

    assert {await world.contact(f"p{number}@example.com") for number in range(5)} == set(found)
    assert 5 == len(found)


async def test_a_record_that_is_gone_there_differs_in_all_it_has(toy: Toy, toys: Opened) -> None:
    toy.delete("4")

    found = await different(toys)
    assert {"4": dict.fromkeys((one.there for one in PAIRS), (Right.THERE, Why.GONE))} == found
    await step(toys)
    assert {} == await different(toys)


async def test_an_address_that_is_another_contact_s_is_the_crm_s_to_say_and_not_taken(
    world: World, toy: Toy, toys: Opened
) -> None:
    await world.send(event("page.viewed", "eve@example.com", world.now))
    toy.edit("1", mail="eve@example.com")
    await step(toys)

    [one] = [one async for one in differences.all_of(toys) if not one.is_agreed]
    [field] = one.differing
    assert ("mail", "p0@example.com", "eve@example.com", Right.THERE, Why.HELD) == field[1:6]
    assert "not taken here: another contact has this address" in (field.detail or "")


async def test_a_field_that_the_crm_hides_cannot_agree(world: World, toy: Toy, toys: Opened) -> None:
    at_work = await opened(world, toy, pairs=(*PAIRS, pair("properties.secret", "hidden")))

    found = await different(at_work)
    assert {(None, Why.HIDDEN)} == {fields["hidden"] for fields in found.values()}


async def test_what_the_field_there_cannot_hold_is_said(world: World, toy: Toy, toys: Opened) -> None:
    toy.fields["size"] = toy.fields["number"]._replace(name="size", is_writable=True)
    for person in toy.people.values():
        person.values["size"] = None
    at_work = await opened(world, toy, pairs=(*PAIRS, pair("properties.size", "size", "out", kind=Kind.NUMBER)))
    await world.change(await world.contact("p0@example.com"), properties={"size": "large"})
    await step(at_work)

    assert {"1": {"size": (Right.HERE, Why.DOES_NOT_FIT)}} == await different(at_work)


async def test_pages_go_on_where_the_one_before_ended_and_may_hold_only_what_differs(
    world: World, toys: Opened
) -> None:
    await world.send(event("email.unsubscribed", "p6@example.com", world.now))
    seen: list[Compared] = []
    records, after = 0, None
    while True:
        report = await differences.page(toys, limit=3, after=after, only_different=True)
        seen += report.records
        records += report.totals.records
        if (after := report.next) is None:
            break

    assert 7 == records
    assert [("7", ["out"])] == [(one.key.id, [field.there for field in one.fields]) for one in seen]


async def test_looking_changes_nothing_on_either_side(world: World, toy: Toy, toys: Opened) -> None:
    await world.send(event("email.unsubscribed", "p0@example.com", world.now))
    toy.edit("2", industry="Games")
    before = [await world.rows(f"SELECT * FROM {table} ORDER BY 1, 2, 3") for table in ("link", "outbox", "contact")]
    written = len(toy.written)
    await different(toys)

    after = [await world.rows(f"SELECT * FROM {table} ORDER BY 1, 2, 3") for table in ("link", "outbox", "contact")]
    assert before == after
    assert written == len(toy.written)
