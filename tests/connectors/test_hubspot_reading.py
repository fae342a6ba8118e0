"""Reading HubSpot's contacts: who changed, who they are, what became of them, and who took an opt-out back."""

import pytest

from app.connectors.shapes import Key, Write
from app.sandbox.people import people
from tests.connectors.hubspot_account import CONTACT, CONTACTS, OPT_OUT, READ, SEARCH, Account, Feed, fetched, ids

NAME = "firstname+lastname"


# --- who changed ------------------------------------------------------------------------------------------------------
async def test_everybody_is_read_first_and_then_only_who_changed(hubspot: Account) -> None:
    hubspot.crm.fill(people(230))
    feed = Feed(hubspot.connect(), "email")
    await feed.look()
    assert 230 == len(feed.last)
    assert (3, 0) == (hubspot.front.named(f"GET {CONTACTS}").__len__(), len(hubspot.front.bodies(SEARCH)))

    new = await hubspot.contact("ann@example.com")
    assert [new] == ids(await feed.look())
    assert (1, 1) == (len(hubspot.front.bodies(SEARCH)), len(hubspot.front.bodies(READ)))


async def test_more_changes_than_a_page_are_read_soon_after_a_look(hubspot: Account) -> None:
    hubspot.crm.fill(people(450))
    feed = Feed(hubspot.connect())
    await feed.look()
    await feed.look()
    everybody = list(feed.last)
    for id_ in everybody:
        await hubspot.edit("change", CONTACT, id_, firstname="Anew")

    assert set(everybody) == set(ids(await feed.look()))


async def test_an_import_of_one_instant_that_is_longer_than_a_page_is_walked_by_ids(hubspot: Account) -> None:
    feed = Feed(hubspot.connect())
    await feed.look()
    hubspot.crm.clock.hold()
    made = {await hubspot.contact(f"{n}@example.com") for n in range(437)}
    hubspot.faults.shuffle_ties = True

    assert made == set(ids(await feed.look()))


async def test_no_search_goes_beyond_the_wall_of_10_000_rows(hubspot: Account) -> None:
    hubspot.faults.search_window = 200
    feed = Feed(hubspot.connect())
    await feed.look()
    made = {await hubspot.contact(f"{n}@example.com") for n in range(650)}

    assert made == set(ids(await feed.look()))
    assert {None} == {one.get("after") for one in hubspot.front.bodies(SEARCH)}


async def test_what_search_learns_late_is_seen_and_is_read_as_it_is(hubspot: Account) -> None:
    id_ = await hubspot.contact("ann@example.com", firstname="Ann", lastname="Lee")
    feed = Feed(hubspot.connect(), NAME, OPT_OUT)
    await feed.look()
    hubspot.later(3_600)
    await feed.look()
    hubspot.faults.search_lag_s = 200.0
    await hubspot.edit("change", CONTACT, id_, lastname="Old")
    for _ in range(3):
        hubspot.later(100)
        await feed.look()
    assert "Ann Old" == feed.last[id_].values[NAME]

    # The index knows of a change, and not yet of the opt-out after it.
    await hubspot.edit("change", CONTACT, id_, lastname="New")
    hubspot.later(190)
    hubspot.faults.quiet_opt_out = True
    await hubspot.edit("opt_out", CONTACT, id_)
    hubspot.later(20)
    await feed.look()
    assert {NAME: "Ann New", OPT_OUT: True} == feed.last[id_].values


async def test_what_has_not_changed_for_long_is_read_no_more(hubspot: Account) -> None:
    feed = Feed(hubspot.connect())
    await feed.look()
    await hubspot.contact("ann@example.com")
    for wait, count in ((0, 1), (1, 1), (10, 1), (10, 0), (300, 1), (400, 0), (400, 0)):
        hubspot.later(wait)
        assert count == len(await feed.look()), wait


async def test_many_fields_are_asked_for_by_a_call_that_has_room_for_them(hubspot: Account) -> None:
    names = [await hubspot.field(f"a_rather_long_name_of_a_property_{n}") for n in range(150)]
    id_ = await hubspot.contact("ann@example.com", **{names[149]: "here"})

    page = await hubspot.connect().everybody(CONTACT, None, names)

    assert [(id_, "here", 150)] == [(one.key.id, one.values[names[149]], len(one.values)) for one in page.records]


# --- who is gone ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("switch", [None, "forget_merged", "merged_are_archived", "refuse_merged_writes"])
async def test_who_was_merged_is_gone_into_the_other(hubspot: Account, switch: str | None) -> None:
    if switch is not None:
        setattr(hubspot.faults, switch, True)
    loser, winner = await hubspot.contact("ann@example.com"), await hubspot.contact("bob@example.org")
    feed = Feed(hubspot.connect())
    await feed.look()
    await hubspot.edit("merge", CONTACT, loser, into=winner)

    into = Key(CONTACT, winner)
    assert (True, into) == ((gone := await fetched(hubspot.connect(), loser)).is_gone, gone.successor)
    await feed.look()
    assert (True, into) == (feed.last[loser].is_gone, feed.last[loser].successor)
    assert ("bob@example.org", "ann@example.com") == feed.last[winner].addresses
    [both] = await hubspot.connect().find(CONTACT, ["ann@example.com", "bob@example.org"], [])
    assert winner == both.key.id


async def test_since_2025_a_merge_makes_a_third_of_two(hubspot: Account) -> None:
    hubspot.faults.merge_makes_new_record = True
    both = [await hubspot.contact("ann@example.com"), await hubspot.contact("bob@example.org")]
    feed = Feed(hubspot.connect())
    await feed.look()
    third = (await hubspot.edit("merge", CONTACT, both[0], into=both[1]))["id"]

    found = await hubspot.connect().fetch(CONTACT, [*both, third], [])
    assert [(True, third), (True, third), (False, None)] == [
        (one.is_gone, one.successor and one.successor.id) for one in found
    ]
    await feed.look()
    assert {third} == {one.successor.id for one in feed.last.values() if one.successor is not None}


async def test_who_is_archived_is_gone_and_comes_back_when_restored(hubspot: Account) -> None:
    id_ = await hubspot.contact("ann@example.com")
    feed = Feed(hubspot.connect())
    await feed.look()
    await hubspot.edit("delete", CONTACT, id_)
    assert (await fetched(hubspot.connect(), id_)).is_gone
    assert [] == (await hubspot.connect().everybody(CONTACT, None, [])).records

    await hubspot.edit("restore", CONTACT, id_)
    assert [False] == [one.is_gone for one in await feed.look()]


async def test_ids_that_are_none_cost_nothing(hubspot: Account) -> None:
    found = await hubspot.connect().fetch(CONTACT, ["ann", "-1", "9" * 30, "１２"], [])

    assert ([True] * 4, 0) == ([one.is_gone for one in found], len(hubspot.front.bodies(READ)))


# --- whose address it is ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("primary_only", [False, True])
async def test_somebody_is_found_by_a_further_address(hubspot: Account, *, primary_only: bool) -> None:
    hubspot.faults.id_property_primary_only = primary_only
    id_ = await hubspot.contact("ann@example.com", hs_additional_emails="ann@example.org;a.lee@example.net")

    [found] = await hubspot.connect().find(CONTACT, ["A.Lee@example.net", "nobody@example.com"], ["email"])

    assert (id_, ("ann@example.com", "ann@example.org", "a.lee@example.net")) == (found.key.id, found.addresses)


async def test_who_was_just_made_is_found_though_search_is_late(hubspot: Account) -> None:
    hubspot.faults.search_lag_s = 300.0
    id_ = await hubspot.contact("ann@example.com")

    assert [id_] == ids(await hubspot.connect().find(CONTACT, ["ann@example.com"], []))


async def test_very_many_long_addresses_are_looked_for_in_calls_that_hold_them(hubspot: Account) -> None:
    id_ = await hubspot.contact("ann@example.com")
    long = [f"{'x' * 200}{n}@example.com" for n in range(130)]

    assert [id_] == ids(await hubspot.connect().find(CONTACT, [*long, "ann@example.com"], []))


# --- who did it -------------------------------------------------------------------------------------------------------
async def test_it_is_known_whether_an_opt_out_was_taken_back_by_us(hubspot: Account) -> None:
    hubspot.faults.resubscribe_allowed = True
    connector, id_ = hubspot.connect(), await hubspot.contact("ann@example.com")

    async def by_us() -> bool | None:
        return (await fetched(connector, id_, OPT_OUT)).by_us

    await hubspot.edit("opt_out", CONTACT, id_)
    assert None is await by_us()  # who opts out is believed, whoever they are
    hubspot.later(1)
    await hubspot.edit("opt_in", CONTACT, id_)
    assert False is await by_us()
    hubspot.later(1)
    for is_out in (True, False):
        hubspot.later(1)
        await connector.write([Write(Key(CONTACT, id_), {OPT_OUT: is_out})])
    assert True is await by_us()
    hubspot.later(86_500)
    assert None is await by_us()


async def test_an_opt_out_that_went_with_an_address_was_taken_back_by_nobody(hubspot: Account) -> None:
    id_ = await hubspot.contact("ann@example.com")
    feed = Feed(hubspot.connect(), OPT_OUT)
    await feed.look()
    hubspot.later(60)
    await hubspot.edit("opt_out", CONTACT, id_)
    hubspot.later(60)
    await hubspot.edit("change", CONTACT, id_, email="lee@example.com")

    await feed.look()

    assert (None, True) == (feed.last[id_].values[OPT_OUT], feed.last[id_].by_us)


async def test_who_did_it_is_asked_only_where_it_matters(hubspot: Account) -> None:
    hubspot.crm.fill(people(30))
    connector = hubspot.connect()

    await connector.everybody(CONTACT, None, ["email", OPT_OUT])
    assert 0 == len(hubspot.front.bodies(READ))  # they were imported a month ago
    await connector.everybody(CONTACT, None, ["email"])
    assert 0 == len(hubspot.front.bodies(READ))
