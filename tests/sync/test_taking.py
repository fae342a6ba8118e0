"""Records come in: who they are, what is heard of them, and what is to be told to them."""

import asyncio
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.connectors.shapes import Key, Kind, Record, Value
from app.engine import contacts, plan
from app.engine.hygiene import BOUNCED, COMPLAINED, RESUBSCRIBED, UNSUBSCRIBED
from app.engine.identity import Ref
from app.sync import strangers, taking
from app.sync.links import State
from app.sync.mapping import Pair, Policy
from app.sync.shapes import Counts, Opened
from tests.engine.worlds import NOON, event, per_event, profile
from tests.sync.toy import PERSON, Toy
from tests.sync.worlds import PAIRS, VAULT, World, opened, pair, pulled, statements

HOUR = timedelta(hours=1)
ADA, BOB = "ada@example.com", "bob@example.com"
DATE = "2026-05-10T00:00:00Z"


@pytest.fixture
async def toys(world: World, toy: Toy) -> Opened:
    return await opened(world, toy)


async def taken(one: Opened, *records: Record) -> Counts:
    counts = Counts()
    await taking.take(one, records, counts)
    return counts


def record(id_: str, *addresses: str, at: datetime | None = NOON - HOUR, **values: Value) -> Record:
    return Record(Key(PERSON, id_), values, addresses, modified_at=at)


async def said_of(world: World, *names: str) -> tuple[Any, ...]:  # Any: of the columns
    """Ada, as she is stored."""
    row = await world.row()
    return tuple(row[name] for name in names)


# --- who it is --------------------------------------------------------------------------------------------------------


async def test_somebody_new_arrives_with_all_that_the_crm_knows(world: World, toy: Toy, toys: Opened) -> None:
    await world.publish("m", profile("contact.opted_out", "=", True, -100), profile("contact.stage", "=", "lead", 7))
    id_ = toy.add("Ada@Example.com", full_name="Ada", out=True, bad_since=DATE, industry="steel", stage="lead")

    assert Counts(seen=1, created=1) == await pulled(toys)

    ada = await world.row()
    assert (ADA, "Ada", "lead", {"industry": "steel"}) == tuple(
        ada[k] for k in ("email", "name", "stage", "properties")
    )
    assert (True, "crm:toys", toy.people[id_].modified_at) == (
        ada["opted_out"], ada["opted_out_by"], ada["opted_out_at"]
    )  # fmt: skip
    assert (True, datetime.fromisoformat(DATE), "crm:toys") == (ada["bounced"], ada["bounced_at"], ada["bounced_by"])
    assert Decimal(-93) == await world.score()
    assert ada["id"] == await world.of_record(toys, id_)
    link = await world.link(id_)
    assert ("live", toy.people[id_].modified_at) == (link["state"], link["modified_at"])
    assert {"out": True, "industry": "steel", "@addresses": ["Ada@Example.com"]}.items() <= link["shadow"].items()
    # Their scores are to be told.
    assert ada["id"] in await world.outbox()


async def test_a_record_without_any_valid_address_is_somebody_too(world: World, toys: Opened) -> None:
    assert Counts(seen=2, created=2) == await taken(
        toys, record("1", full_name="Nobody's address"), record("2", "not an address", mail="not an address")
    )

    assert [None, None] == [row["email"] for row in await world.rows("SELECT email FROM contact")]
    assert Counts(seen=1, changed=1) == await taken(toys, record("1", full_name="Named", at=NOON))


async def test_a_contact_is_found_by_any_address_of_the_record(world: World, toys: Opened) -> None:
    await world.send(event("page.viewed", ADA), event("page.viewed", BOB))
    ada, bob = await world.contact(ADA), await world.contact(BOB)

    counts = await taken(toys, record("1", "a.lovelace@example.com", ADA.upper()), record("2", BOB))

    assert (0, [ada, bob]) == (counts.created, [await world.of_record(toys, id_) for id_ in ("1", "2")])
    assert ada == await world.contact("a.lovelace@example.com")


async def test_a_record_that_is_known_stays_its_contacts_whatever_its_addresses(world: World, toys: Opened) -> None:
    await taken(toys, record("1", ADA))
    ada = await world.contact(ADA)
    await world.send(event("page.viewed", BOB))

    await taken(toys, record("1", BOB, at=NOON))

    assert ada == await world.of_record(toys, "1")
    assert ada != await world.contact(BOB)


async def test_several_records_of_one_person_on_one_page_are_one_contact(world: World, toys: Opened) -> None:
    counts = await taken(
        toys,
        record("1", ADA, mail=ADA, industry="steel", at=NOON - 2 * HOUR),
        record("2", "ada@example.org", ADA, mail=ADA, industry="wood", at=NOON - HOUR),
    )

    ada = await world.row()
    assert (1, {"industry": "wood"}) == (counts.created, ada["properties"])
    assert ada["id"] == await world.of_record(toys, "1") == await world.of_record(toys, "2")
    assert ada["id"] in await world.outbox()  # for the first record has the older word


async def test_a_page_has_each_record_once_as_it_was_last(world: World, toys: Opened) -> None:
    await taken(toys, record("1", ADA, industry="wood", at=NOON), record("1", ADA, industry="steel"))

    assert {"industry": "wood"} == (await world.row())["properties"]


async def test_text_that_postgres_cannot_hold_does_not_stop_the_sync(world: World, toys: Opened) -> None:
    dirty = record("1", ADA, "a\x00da@example.org", full_name="A\x00da \ud800", industry="steel", stage="\x00")

    await taken(toys, dirty)
    counts = await taken(toys, dirty)

    assert ("Ada ?", 1) == ((await world.row())["name"], counts.echoes)


# --- what costs nothing -----------------------------------------------------------------------------------------------


async def test_what_holds_what_we_know_locks_nobody_and_scores_nobody(world: World, toys: Opened) -> None:
    await world.publish("m", profile("contact.stage", "=", "lead", 7))
    same = [record(str(n), f"p{n}@example.com", stage="lead") for n in range(5)]
    await taken(toys, *same)
    seen = (await world.link("3"))["seen_at"]
    ids = await world.rows("SELECT contact_id FROM activity")

    async with world.database.hot.acquire() as db, db.transaction():
        await db.fetch("SELECT FROM activity WHERE contact_id = ANY($1) FOR UPDATE", [row["contact_id"] for row in ids])
        counts = await asyncio.wait_for(taken(toys, *same), 5)
    async with statements(world.database) as run:
        await taken(toys, *same)

    assert Counts(seen=5, echoes=5) == counts
    assert not [one for one in run if "activity" in one or "score" in one]
    assert seen < (await world.link("3"))["seen_at"]


async def test_an_echo_of_what_we_wrote_says_nothing_even_if_its_answer_was_lost(
    world: World, toy: Toy, toys: Opened
) -> None:
    id_ = toy.add(ADA, industry="steel")
    await pulled(toys)
    await world.change(await world.contact(), properties={"industry": "wood"})
    toy.edit(id_, by_us=True, industry="wood")

    assert Counts(seen=1) == await pulled(toys)
    assert "wood" == (await world.link(id_))["shadow"]["industry"]


async def test_a_late_answer_is_passed_over(world: World, toys: Opened) -> None:
    await taken(toys, record("1", ADA, industry="wood", at=NOON))

    assert Counts(seen=2) == await taken(
        toys, record("1", ADA, industry="steel"), Record(Key(PERSON, "1"), modified_at=NOON - HOUR, is_gone=True)
    )

    assert {"industry": "wood"} == (await world.row())["properties"]


async def test_a_page_takes_as_many_statements_as_a_record(world: World, toys: Opened) -> None:
    await world.publish("m", profile("contact.stage", "=", "lead", 7))
    await taken(toys, record("the plan is loaded", ADA))
    run: list[int] = []
    for start, size in ((0, 1), (100, 50)):
        ids = [str(start + n) for n in range(size)]
        for said in ({"stage": "lead"}, {"stage": "lead", "out": True}, {"stage": None, "out": False}, {"out": False}):
            page = [record(id_, f"p{id_}@example.com", **said) for id_ in ids]
            async with statements(world.database) as seen:
                await taken(toys, *page)
            run.append(len(seen))
        async with statements(world.database) as seen:
            await taken(toys, *(Record(Key(PERSON, id_), is_gone=True) for id_ in ids))
        run.append(len(seen))

    assert run[:5] == run[5:]
    assert 25 > max(run)


async def test_a_page_that_was_applied_and_not_noted_is_applied_again_without_effect(
    world: World, toy: Toy, toys: Opened
) -> None:
    await world.publish("m", profile("contact.stage", "=", "lead", 7))
    page = [record("1", ADA, out=True, stage="lead", bad_since=DATE), record("2", BOB), record("3", ADA, industry="a")]
    tables = ("contact", "identity", "score", "score_change", "merge_edit")

    async def everything() -> list[Any]:  # Any: rows
        return [await world.rows(f"SELECT * FROM {name} ORDER BY 1, 2") for name in tables]

    async def crash(_: object) -> None:
        raise KeyError

    with pytest.raises(KeyError):
        await taking.take(toys, page, Counts(), crash)
    assert [[]] * 5 == await everything()
    await taken(toys, *page)
    before = await everything()
    await world.execute("UPDATE link SET shadow = '{}', modified_at = NULL")  # as if nothing had been noted
    await taken(toys, *page)

    after = await everything()
    for row in (*before[0], *after[0]):
        del row["updated_at"], row["said_at"]
    assert before == after


# --- who is right -----------------------------------------------------------------------------------------------------


async def test_a_field_that_moved_there_flows_in_with_its_instant(world: World, toy: Toy, toys: Opened) -> None:
    id_ = toy.add(ADA, industry="steel")
    await pulled(toys)
    toy.edit(id_, industry="wood", stage="customer", full_name="Ada L.")

    assert Counts(seen=1, changed=1) == await pulled(toys)

    ada = await world.row()
    assert ({"industry": "wood"}, "customer", "Ada L.") == (ada["properties"], ada["stage"], ada["name"])
    at = toy.people[id_].modified_at
    assert at == datetime.fromtimestamp(ada["said_at"]["properties"]["industry"] / 1e6, at.tzinfo)


async def test_a_field_that_moved_here_is_told_and_what_moved_there_beside_it_comes_in(
    world: World, toy: Toy, toys: Opened
) -> None:
    id_ = toy.add(ADA, industry="steel")
    await pulled(toys)
    ada = await world.contact()
    await world.change(ada, properties={"industry": "wood"})
    await world.execute("DELETE FROM outbox")
    toy.edit(id_, stage="customer")

    await pulled(toys)

    row = await world.row()
    assert ({"industry": "wood"}, "customer") == (row["properties"], row["stage"])
    assert {ada: 1} == await world.outbox()
    assert "steel" == (await world.link(id_))["shadow"]["industry"]


async def test_a_property_that_was_removed_here_is_removed_there(world: World, toy: Toy) -> None:
    one = await opened(world, toy, pairs=(pair("properties.industry", "industry"), pair("score.none", "number", "out")))
    await taken(one, record("1", ADA, industry="steel", number=1))
    ada = await world.contact()
    await world.change(ada, properties={"industry": None})
    await world.execute("DELETE FROM outbox")

    await taken(one, record("1", ADA, industry="steel", number=2, at=NOON))

    assert {} == (await world.row())["properties"]
    assert {ada: 1} == await world.outbox()


@pytest.mark.parametrize(
    ("policy", "changed_here", "becomes", "is_told"),
    [
        (Policy.HERE, NOON - 2 * HOUR, "here", True),
        (Policy.THERE, NOON + HOUR, "there", False),
        (Policy.NEWEST, NOON + HOUR, "here", True),
        (Policy.NEWEST, NOON - 2 * HOUR, "there", False),
    ],
)
async def test_of_what_moved_on_both_sides_the_policy_decides(
    world: World, toy: Toy, policy: Policy, changed_here: datetime, becomes: str, is_told: bool
) -> None:
    one = await opened(world, toy, pairs=(pair("properties.industry", "industry", policy=policy),))
    await taken(one, record("1", ADA, industry="before", at=NOON - 3 * HOUR))
    ada = await world.contact()
    await world.change(ada, changed_here, properties={"industry": "here"})
    await world.execute("DELETE FROM outbox")

    counts = await taken(one, record("1", ADA, industry="there", at=NOON - HOUR))

    assert (1, {"industry": becomes}) == (counts.conflicts, (await world.row())["properties"])
    # Who changed is told by a trigger; the record itself needs it only where we were right.
    assert is_told == (becomes != (await world.link("1"))["shadow"]["industry"])
    assert ada in await world.outbox()


@pytest.mark.parametrize("policy", list(Policy))
async def test_a_flag_that_is_down_in_a_record_that_was_just_linked_says_nothing(
    world: World, toy: Toy, policy: Policy
) -> None:
    one = await opened(world, toy, pairs=(pair("opted_out", "word", policy=policy, kind=Kind.CHOICE, no=("In",)),))
    await world.send(event(UNSUBSCRIBED, ADA, NOON - 5 * HOUR))

    await taken(one, record("1", ADA, word="In", at=NOON - HOUR))

    assert True is (await world.row())["opted_out"]
    assert {await world.contact(): 0} == await world.outbox()


@pytest.mark.parametrize(
    ("policy", "is_out"),
    [(Policy.RESTRICTIVE, True), (Policy.THERE, True), (Policy.NEWEST, False), (Policy.HERE, True)],
)
async def test_an_opt_out_there_flows_in_unless_a_later_word_here_counts(
    world: World, toy: Toy, policy: Policy, is_out: bool
) -> None:
    one = await opened(world, toy, pairs=(pair("opted_out", "out", policy=policy),))
    opt_in = NOON if policy is Policy.NEWEST else NOON - 5 * HOUR
    await world.send(event(RESUBSCRIBED, ADA, opt_in))

    await taken(one, record("1", ADA, out=True, at=NOON - HOUR))

    assert is_out == (await world.row())["opted_out"]
    assert is_out or 0 in (await world.outbox()).values()


async def test_properties_are_read_as_their_declared_types_and_what_cannot_be_is_left_there(
    world: World, toy: Toy
) -> None:
    await world.declare("staff", "number")
    one = await opened(world, toy, pairs=(pair("properties.staff", "industry"), pair("name", "full_name", "in")))
    await taken(one, record("1", ADA, industry="12", full_name="Ada"))
    assert {"staff": 12} == (await world.row())["properties"]
    await world.execute("DELETE FROM outbox")

    await taken(one, record("1", ADA, industry="a dozen", full_name="Ada L.", at=NOON))

    assert ({"staff": 12}, "Ada L.") == await said_of(world, *("properties", "name"))
    held = (await world.link("1"))["held"]["industry"]
    assert ("wrong_type", "expected number", None) == (held["code"], held["reason"], held["until"])

    await taken(one, record("1", ADA, industry="13", full_name="Ada L.", at=NOON + HOUR))

    assert {"staff": 13} == (await world.row())["properties"]
    assert {} == (await world.link("1"))["held"]

    await world.execute("DELETE FROM outbox")
    await taken(one, record("1", ADA, industry="many", full_name="Ada L.", at=NOON + 2 * HOUR))

    assert {} == await world.outbox()  # what is not taken here is not told over there


async def test_what_is_too_long_or_too_much_is_left_there(world: World, toys: Opened) -> None:
    await taken(toys, record("1", ADA, stage="x" * 201, industry="y" * 70_000, full_name="Ada"))

    ada = await world.row()
    assert ("Ada", None, {}) == (ada["name"], ada["stage"], ada["properties"])
    assert {"stage", "industry"} == (await world.link("1"))["held"].keys()


async def test_tags_are_the_crms_as_a_whole(world: World, toy: Toy) -> None:
    one = await opened(world, toy, pairs=(pair("tags", "labels", kind=Kind.CHOICES),))
    await taken(one, record("1", ADA, labels=["a", "b"]))
    assert ["a", "b"] == (await world.row())["tags"]

    await taken(one, record("1", ADA, labels=["b", "c"], at=NOON))

    assert ["b", "c"] == (await world.row())["tags"]


async def test_what_somebody_was_worth_to_both_flows_out_alone(world: World, toy: Toy) -> None:
    await world.publish("m", per_event("page.viewed", 5))
    await world.send(event("page.viewed", ADA))
    one = await opened(world, toy, pairs=(pair("score.m", "number", "out"),))

    await taken(one, record("1", ADA, number=99))

    assert {await world.contact(): 1} == await world.outbox()
    assert (Decimal(5), 99) == (await world.score(), (await world.link("1"))["shadow"]["number"])

    await world.execute("UPDATE link SET shadow = shadow || '{\"number\": 5}'")  # told
    counts = await taken(one, record("1", ADA, number=0, at=NOON))

    assert 1 == counts.reversals
    assert "changed_back" == (await world.link("1"))["held"]["number"]["code"]


# --- opting out and in ------------------------------------------------------------------------------------------------


async def linked_out(world: World, one: Opened, said_at: datetime, flags_at: datetime) -> None:
    """Ada, who opted out here, which the CRM was told and knows."""
    await taken(one, record("1", ADA, out=False, at=NOON - 9 * HOUR))
    await world.send(event(UNSUBSCRIBED, ADA, said_at))
    await taken(one, record("1", ADA, out=True, at=flags_at))
    await world.execute("UPDATE link SET flags_at = $1", flags_at)
    await world.execute("DELETE FROM outbox")


async def test_an_opt_in_there_counts_from_when_we_last_knew_better(world: World, toys: Opened) -> None:
    await linked_out(world, toys, NOON - 5 * HOUR, NOON - 4 * HOUR)

    await taken(toys, record("1", ADA, out=False, at=NOON - HOUR))

    ada, after = await world.row(), timedelta(microseconds=1)
    assert (False, NOON - 4 * HOUR + after, "crm:toys") == (ada["opted_out"], ada["opted_out_at"], ada["opted_out_by"])


async def test_an_opt_in_there_ends_the_opt_out_that_was_read_there(world: World, toys: Opened) -> None:
    await taken(toys, record("1", ADA, out=True, at=NOON - 2 * HOUR))
    assert (await world.row())["opted_out"]

    counts = await taken(toys, record("1", ADA, out=False, at=NOON - HOUR))

    assert (False, 0) == ((await world.row())["opted_out"], counts.reversals)


async def test_an_opt_out_here_since_then_stands_and_is_told_again(world: World, toys: Opened) -> None:
    await linked_out(world, toys, NOON - 5 * HOUR, NOON - 4 * HOUR)
    await world.send(event(UNSUBSCRIBED, ADA, NOON - 3 * HOUR))

    counts = await taken(toys, record("1", ADA, out=False, at=NOON - HOUR))

    assert (True, 1) == ((await world.row())["opted_out"], counts.reversals)
    assert {await world.contact(): 0} == await world.outbox()
    assert False is (await world.link("1"))["shadow"]["out"]


async def test_a_complaint_stands_against_the_crm(world: World, toys: Opened) -> None:
    await linked_out(world, toys, NOON - 5 * HOUR, NOON - 4 * HOUR)
    await world.send(event(COMPLAINED, ADA, NOON - 6 * HOUR))

    await taken(toys, record("1", ADA, out=False, at=NOON - HOUR))

    assert (True, "complained") == await said_of(world, *("opted_out", "opted_out_reason"))
    assert {await world.contact(): 0} == await world.outbox()


async def test_an_opt_out_there_is_of_when_the_record_was_modified_and_a_later_opt_in_here_stands(
    world: World, toys: Opened
) -> None:
    await taken(toys, record("1", ADA, out=False, at=NOON - 9 * HOUR))
    await world.send(event(RESUBSCRIBED, ADA, NOON - 2 * HOUR))
    await taken(toys, record("1", ADA, out=True, at=NOON - 3 * HOUR))
    assert False is (await world.row())["opted_out"]
    assert 0 in (await world.outbox()).values()

    await taken(toys, record("1", ADA, out=True, at=NOON - HOUR, full_name="moved again"))
    await taken(toys, record("1", ADA, out=False, at=NOON - HOUR))
    await taken(toys, record("1", ADA, out=True, at=NOON - HOUR))

    ada = await world.row()
    assert (True, NOON - HOUR) == (ada["opted_out"], ada["opted_out_at"])


async def test_what_runs_under_our_own_name_takes_no_flag_down(world: World, toy: Toy, toys: Opened) -> None:
    id_ = toy.add(ADA, out=True, bad_since=DATE)
    await pulled(toys)
    toy.edit(id_, by_us=True, out=False, bad_since=None)

    counts = await pulled(toys)

    ada = await world.row()
    assert (True, True, 2) == (ada["opted_out"], ada["bounced"], counts.reversals)
    assert {"out", "bad_since"} == (await world.link(id_))["held"].keys()
    assert {ada["id"]: 0} == await world.outbox()


async def test_a_record_linked_later_neither_takes_an_opt_out_down_nor_lacks_it_long(
    world: World, toys: Opened
) -> None:
    await world.send(event(UNSUBSCRIBED, ADA), event(BOUNCED, ADA, bounce="hard"))

    await taken(toys, record("1", ADA, out=False, bad_since=None, at=NOON))

    ada = await world.row()
    assert (True, True) == (ada["opted_out"], ada["bounced"])
    assert {ada["id"]: 0} == await world.outbox()


# --- bounces and addresses --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mapped", "down", "up"),
    [
        (pair("bounced_at", "bad_since"), None, DATE),
        (pair("bounced", "word", kind=Kind.BOOLEAN), False, True),
        (pair("bounced", "word", kind=Kind.CHOICE), "No", "Yes"),
    ],
)
async def test_a_bounce_comes_in_by_whatever_field_and_is_forgiven_by_it(
    world: World, toy: Toy, mapped: Pair, down: Value, up: Value
) -> None:
    one = await opened(world, toy, pairs=(mapped,))
    await taken(one, record("1", ADA, at=NOON - 2 * HOUR, **{mapped.there: down}))
    assert False is (await world.row())["bounced"]

    await taken(one, record("1", ADA, at=NOON - HOUR, **{mapped.there: up}))

    ada = await world.row()
    since = datetime.fromisoformat(DATE) if up == DATE else NOON - HOUR
    assert (True, since, "manual", "crm:toys") == (
        ada["bounced"], ada["bounced_at"], ada["bounced_reason"], ada["bounced_by"]
    )  # fmt: skip

    await taken(one, record("1", ADA, at=NOON, **{mapped.there: down}))
    await world.send(event(BOUNCED, ADA, NOON - HOUR, bounce="hard"))

    ada = await world.row()
    assert (False, "none") == (ada["bounced"], ada["bounce_status"])  # an older bounce is forgiven with it


async def test_another_address_there_is_another_address_here_and_starts_clean(world: World, toys: Opened) -> None:
    await taken(toys, record("1", ADA, mail=ADA, bad_since=None))
    await world.send(event(BOUNCED, ADA, bounce="hard"), event(UNSUBSCRIBED, ADA))
    await world.execute('UPDATE link SET shadow = shadow || \'{"bad_since": "2026-05-15T12:00:00Z", "out": true}\'')
    await world.execute("DELETE FROM outbox")

    await taken(
        toys,
        record("1", "new@example.com", mail="New@Example.com", bad_since="2026-05-15T12:00:00Z", out=True, at=NOON),
    )

    ada = await world.row("new@example.com")
    assert ("new@example.com", False, True) == (ada["email"], ada["bounced"], ada["opted_out"])
    assert ada["id"] == await world.contact(ADA)
    # The record still says that it bounced.
    assert {ada["id"]: 0} == await world.outbox()


async def test_an_address_that_is_another_contacts_is_left_and_shown(world: World, toys: Opened) -> None:
    await world.send(event("page.viewed", BOB))
    await taken(toys, record("1", ADA, mail=ADA))

    counts = await taken(toys, record("1", BOB, mail=BOB, full_name="Ada", at=NOON))

    ada = await world.row()
    assert (1, 1, ADA, "Ada") == (counts.conflicts, counts.changed, ada["email"], ada["name"])
    assert "address_taken" == (await world.link("1"))["held"]["mail"]["code"]

    await taken(toys, record("1", "a@example.com", mail="a@example.com", full_name="Ada", at=NOON + HOUR))

    assert "a@example.com" == (await world.row())["email"]
    assert {} == (await world.link("1"))["held"]


async def test_an_address_that_is_none_is_left_out_and_one_that_was_removed_is_removed(
    world: World, toys: Opened
) -> None:
    await taken(toys, record("1", ADA, mail=ADA))
    await taken(toys, record("1", "ada at example", mail="ada at example", full_name="Ada", at=NOON))
    assert (ADA, "Ada") == await said_of(world, *("email", "name"))

    await taken(toys, record("1", mail=None, full_name="Ada", at=NOON + HOUR))

    assert None is (await world.row())["email"]


# --- strangers and the erased -----------------------------------------------------------------------------------------


async def strangers_of(world: World, one: Opened, *addresses: str) -> dict[str, list[Key]]:
    async with world.database.batch() as db:
        return await strangers.of(db, VAULT, one.id, addresses)


async def test_where_nobody_is_imported_strangers_are_known_by_a_hash_alone(world: World, toy: Toy) -> None:
    one = await opened(world, toy, imports=False)
    await world.send(event("page.viewed", BOB))

    counts = await taken(one, record("1", "Ada@Example.com", "a@example.com"), record("2", "b@example.com", BOB))

    assert Counts(seen=2) == Counts(seen=counts.seen, created=counts.created)
    assert await world.contact(BOB) == await world.of_record(one, "2")
    key = Key(PERSON, "1")
    assert {ADA: [key], "a@example.com": [key]} == await strangers_of(world, one, ADA, "a@example.com", BOB)
    assert "ada" not in str(await world.rows("SELECT * FROM stranger")).lower()

    await taken(one, record("1", "a@example.com", at=NOON))
    assert {"a@example.com": [key]} == await strangers_of(world, one, ADA, "a@example.com")

    # Once they are a contact, their record is theirs with its next look.
    await world.send(event("page.viewed", "a@example.com"))
    await taken(one, record("1", "a@example.com", at=NOON))
    assert await world.contact("a@example.com") == await world.of_record(one, "1")
    assert [] == await world.rows("SELECT * FROM stranger")


async def test_a_stranger_that_is_gone_is_forgotten(world: World, toy: Toy) -> None:
    one = await opened(world, toy, imports=False)
    await taken(one, record("1", ADA))
    assert 1 == len(await world.rows("SELECT * FROM stranger"))

    await taken(one, Record(Key(PERSON, "1"), is_gone=True))

    assert [] == await world.rows("SELECT * FROM stranger")


async def test_whoever_was_erased_is_left_alone_and_never_comes_back(world: World, toy: Toy, toys: Opened) -> None:
    id_ = toy.add(ADA)
    await pulled(toys)
    await world.erase(await world.contact())
    toy.edit(id_, industry="steel")

    await pulled(toys)
    await world.execute("DELETE FROM sync_cursor")
    await pulled(toys)

    assert [] == await world.rows("SELECT * FROM contact")
    link = await world.link(id_)
    assert ("erased", {}) == (link["state"], link["shadow"])


async def test_somebody_new_at_the_address_of_one_who_was_erased_starts_as_blocked(world: World, toys: Opened) -> None:
    await world.send(event(UNSUBSCRIBED, ADA))
    await world.erase(await world.contact())

    await taken(toys, record("1", ADA, out=False))

    ada = await world.row()
    assert (True, "unsubscribed") == (ada["opted_out"], ada["opted_out_reason"])
    assert {ada["id"]: 0} == await world.outbox()


async def until_it_waits(world: World) -> None:
    """Until some session of this database waits for another."""
    waits = """
        SELECT EXISTS (
            SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
        )
    """
    async with asyncio.timeout(10):
        while not await world.value(waits):  # noqa: ASYNC110 - nobody else can say so
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("is_gone", [False, True])
async def test_a_look_that_waits_for_an_erasure_does_not_undo_it(world: World, toys: Opened, is_gone: bool) -> None:
    await taken(toys, record("1", ADA))
    ada = await world.contact()
    async with world.database.batch() as db:
        await contacts.erase(db, world.plans, ada)
        look = asyncio.create_task(taken(toys, record("1", ADA, out=True, at=NOON)._replace(is_gone=is_gone)))
        await until_it_waits(world)
    await look

    assert [] == await world.rows("SELECT * FROM contact")
    assert "erased" == (await world.link("1"))["state"]


async def test_an_erasure_between_a_look_at_links_and_one_at_contacts_makes_nobody(world: World, toys: Opened) -> None:
    await taken(toys, record("1", ADA))
    ada = await world.contact()
    async with world.database.batch() as db:
        await plan.alone(db)  # which a look waits for, once it knows the links
        look = asyncio.create_task(taken(toys, record("1", ADA, out=True, at=NOON)))
        await until_it_waits(world)
        await contacts.erase(db, world.plans, ada)
    await look

    assert [] == await world.rows("SELECT * FROM contact")
    assert "erased" == (await world.link("1"))["state"]


# --- gone, and what became of it --------------------------------------------------------------------------------------


async def test_a_record_that_was_deleted_leaves_its_contact_with_all_it_knows(
    world: World, toy: Toy, toys: Opened
) -> None:
    id_ = toy.add(ADA, industry="steel", out=True)
    await pulled(toys)
    before = await world.row()
    toy.delete(id_)

    assert Counts(seen=1, gone=1) == await pulled(toys)

    assert before == await world.row()
    link = await world.link(id_)
    assert (State.GONE, {}) == (link["state"], link["shadow"])
    assert Counts(seen=1) == await taken(toys, Record(Key(PERSON, id_), is_gone=True))


async def test_a_record_that_was_restored_is_live_again(world: World, toy: Toy, toys: Opened) -> None:
    id_ = toy.add(ADA, industry="steel")
    await pulled(toys)
    toy.delete(id_)
    await pulled(toys)
    ada = await world.contact()
    await world.change(ada, opted_out=True)
    await world.execute("DELETE FROM outbox")
    toy.people[id_].is_gone = False
    toy.edit(id_, industry="wood")

    await pulled(toys)

    assert "live" == (await world.link(id_))["state"]
    assert {"industry": "wood"} == (await world.row())["properties"]
    assert {ada: 0} == await world.outbox()


async def test_two_contacts_whose_records_were_merged_there_are_merged_here(
    world: World, toy: Toy, toys: Opened
) -> None:
    await world.publish("m", per_event("page.viewed", 5))
    loser, winner = toy.add(ADA, out=True), toy.add(BOB)
    await pulled(toys)
    await world.send(event("page.viewed", ADA), event("page.viewed", BOB))
    bob = await world.contact(BOB)
    toy.delete(loser, winner)
    toy.edit(winner, industry="steel")

    counts = await pulled(toys)

    row = await world.row(ADA)
    assert (bob, True, {"industry": "steel"}) == (row["id"], row["opted_out"], row["properties"])
    assert (1, 1) == (counts.gone, counts.changed)
    assert Decimal(10) == await world.score(BOB)
    assert 0 == (await world.verified()).count
    assert [("crm:toys", "manual")] == [(m["by"], m["kind"]) for m in await world.rows("SELECT * FROM merge")]
    assert ["gone", "live"] == [(await world.link(id_))["state"] for id_ in (loser, winner)]
    assert {bob: 0} == await world.outbox()


async def test_who_was_taken_apart_by_hand_stays_apart(world: World, toy: Toy, toys: Opened) -> None:
    loser, winner = toy.add(ADA), toy.add(BOB)
    await pulled(toys)
    ada, bob = await world.contact(ADA), await world.contact(BOB)
    toy.delete(loser, winner)
    await pulled(toys)
    await world.unmerge(bob, ada)

    await world.execute("DELETE FROM sync_cursor")
    await pulled(toys)

    assert ada == await world.contact(ADA)


@pytest.mark.parametrize("is_on_the_page", [True, False])
async def test_what_a_lead_was_converted_to_is_its_contacts(
    world: World, toy: Toy, toys: Opened, is_on_the_page: bool
) -> None:
    await world.publish("m", per_event("page.viewed", 5))
    lead = toy.add(ADA)
    await pulled(toys)
    await world.send(event("page.viewed", ADA), event("page.viewed", BOB))
    ada, before = await world.contact(), toy.now
    new = toy.add(BOB, industry="steel")  # with an address that is another contact's: the conversion says who it is
    if not is_on_the_page:
        toy.people[new].modified_at = before - HOUR
    toy.delete(lead, new)

    counts = await pulled(toys)

    assert ada == await world.of_record(toys, new)
    assert (0, {"industry": "steel"}) == (counts.created, (await world.row())["properties"])
    assert "live" == (await world.link(new))["state"]
    assert ada in await world.outbox()
    assert ada != await world.contact(BOB)


async def test_a_chain_of_successors_is_followed_to_its_end(world: World, toy: Toy, toys: Opened) -> None:
    a = toy.add(ADA)
    await pulled(toys)
    ada = await world.contact()
    b = toy.add("b@example.com")
    c = toy.add("c@example.com")
    toy.delete(b, c)
    toy.delete(a, b)
    for id_ in (b, c):
        toy.people[id_].modified_at -= HOUR  # whatever the feed says of them, it said before

    counts = await pulled(toys)

    assert (ada, 0) == (await world.of_record(toys, c), counts.created)
    assert Counts(seen=1) == await taken(toys, Record(Key(PERSON, a), is_gone=True, successor=Key(PERSON, b)))


async def test_a_chain_of_contacts_becomes_one(world: World, toy: Toy, toys: Opened) -> None:
    a, b, c = (toy.add(f"{name}@example.com") for name in "abc")
    await pulled(toys)
    last = await world.contact("c@example.com")
    toy.delete(a, b)
    toy.delete(b, c)

    counts = await pulled(toys)

    assert (2, {last}) == (counts.gone, {await world.contact(f"{name}@example.com") for name in "abc"})


async def test_a_circle_of_successors_and_one_that_is_gone_change_nobody(world: World, toy: Toy, toys: Opened) -> None:
    a, b, c = (toy.add(f"{name}@example.com") for name in "abc")
    await pulled(toys)
    toy.delete(a, b)
    toy.delete(b, a)
    toy.delete(c, "4711")

    assert 3 == (await pulled(toys)).gone
    assert 2 <= len({await world.contact(f"{name}@example.com") for name in "abc"})
    assert "gone" == (await world.link(c))["state"]


async def test_of_two_that_became_one_new_record_both_are_one(world: World, toy: Toy, toys: Opened) -> None:
    a, b = toy.add(ADA), toy.add(BOB)
    await pulled(toys)
    new = toy.add("c@example.com")
    toy.delete(a, new)
    toy.delete(b, new)

    await pulled(toys)

    assert 1 == len({await world.contact(ADA), await world.contact(BOB), await world.of_record(toys, new)})


async def test_what_an_erased_ones_record_became_is_left_alone_too(world: World, toy: Toy, toys: Opened) -> None:
    lead = toy.add(ADA)
    await pulled(toys)
    await world.erase(await world.contact())
    new = toy.add(ADA)
    toy.delete(lead, new)

    await pulled(toys)

    assert [] == await world.rows("SELECT * FROM contact")
    assert "erased" == (await world.link(new))["state"]


async def test_a_stranger_who_became_a_contacts_record_is_theirs(world: World, toy: Toy) -> None:
    one = await opened(world, toy, imports=False)
    await world.send(event("page.viewed", ADA))
    lead, stranger = toy.add(ADA), toy.add("else@example.com")
    await pulled(one)
    toy.delete(lead, stranger)

    await pulled(one)

    assert await world.contact(ADA) == await world.of_record(one, stranger)
    assert [] == await world.rows("SELECT * FROM stranger")


async def test_a_merged_contact_that_an_operator_made_keeps_both_records_in_step(
    world: World, toy: Toy, toys: Opened
) -> None:
    first, second = toy.add(ADA, industry="steel"), toy.add(BOB)
    await pulled(toys)
    ada = await world.contact(ADA)
    await world.merge(ada, await world.contact(BOB))
    await world.execute("DELETE FROM outbox")
    toy.edit(second, out=True)

    await pulled(toys)

    assert (ada, True) == (await world.of_record(toys, second), (await world.row())["opted_out"])
    assert {ada: 0} == await world.outbox()  # for the first record does not know
    assert False is (await world.link(first))["shadow"]["out"]


async def test_a_link_that_was_lost_is_made_again(world: World, toys: Opened) -> None:
    await taken(toys, record("1", ADA))
    ada = await world.contact()
    await world.execute("DELETE FROM link")

    assert 0 == (await taken(toys, record("1", "else@example.com"))).created
    assert (ada, "live") == (await world.of_record(toys, "1"), (await world.link("1"))["state"])


async def test_two_connections_know_the_same_contact_by_records_of_their_own(world: World, toys: Opened) -> None:
    other = await opened(world, Toy(), name="other", pairs=PAIRS)
    await taken(toys, record("1", ADA, industry="steel"))
    await world.execute("DELETE FROM outbox")

    await taken(other, record("1", ADA, industry="wood", at=NOON))

    ada = await world.contact()
    assert ada == await world.of_record(other, "1") == await world.of_record(toys, "1")
    assert {toys.id, other.id} == {row["connection_id"] for row in await world.rows("SELECT * FROM outbox")}


async def test_an_anonymous_visitor_who_says_their_address_is_the_records_contact(world: World, toys: Opened) -> None:
    await taken(toys, record("1", ADA))
    await world.send(event("page.viewed", Ref(email=ADA, anonymous_id="visitor")))

    assert await world.contact() == await world.of_record(toys, "1")
