"""Reading Copper's people and leads: whatever is beyond reach, late, converted or hidden; against the stand-in."""

import random
from collections import Counter
from collections.abc import Sequence

import pytest

from app.connectors.faults import Refused, Unreachable
from app.connectors.shapes import Key, Record, Value
from tests.connectors.copper_account import LEAD, PERSON, Account, Json, everybody, fetched, item, look, values

_LATE_S = 300


def ids(records: Sequence[Record]) -> list[str]:
    return sorted((one.key.id for one in records if not one.is_gone), key=int)


async def crowd(copper: Account, count: int, *, created: int | None = None, modified: int | None = None) -> list[str]:
    """So many people, one made each second, or all in one."""
    found = [await copper.person(f"{n}.{count}@example.com") for n in range(count)]
    now = copper.crm.account.now()
    for n, id_ in enumerate(found):
        at = now - count + n
        copper.put(id_, date_created=created or at, date_modified=modified or at)
    return found


# --- walks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beyond", [False, True])
@pytest.mark.parametrize("total_over", [0, 1, 30])
async def test_more_people_are_read_than_a_search_can_reach(copper: Account, total_over: int, beyond: bool) -> None:
    people = await crowd(copper, 43)
    copper.faults.reachable_rows, copper.faults.refuse_beyond, copper.faults.total_over = 12, beyond, total_over
    connector = copper.connect(page_size=3)

    assert people == sorted({*ids((await look(connector, None))[0])}, key=int)
    assert people == sorted({*ids(await everybody(connector))}, key=int)


async def test_more_people_are_read_than_can_be_reached_of_one_second(copper: Account) -> None:
    now = copper.crm.account.now()
    people = await crowd(copper, 40, modified=now - 50)
    copper.faults.reachable_rows = 12
    connector = copper.connect(page_size=3)
    found, cursor = await look(connector, None)
    assert people == sorted({*ids(found)}, key=int)
    assert people == sorted({*ids(await everybody(connector))}, key=int)

    others = await crowd(copper, 41, created=now - 3_000)
    assert [*people, *others] == sorted({*ids(await everybody(connector))}, key=int)
    copper.later(_LATE_S)
    assert {*others} <= {*ids((await look(connector, cursor))[0])}


async def test_where_nothing_moves_everybody_is_read_once(copper: Account) -> None:
    people = await crowd(copper, 20)
    connector = copper.connect(page_size=5)
    before = copper.requests

    found, _ = await look(connector, None)

    assert dict.fromkeys(people, 1) == Counter(one.key.id for one in found)
    assert 1 + 4 == copper.requests - before


@pytest.mark.parametrize("seed", range(4))
async def test_nobody_is_passed_over_however_late_search_is(copper: Account, seed: int) -> None:
    """Pages are walked while people are edited, and search shows it some minutes later."""
    chance = random.Random(seed)
    note = await copper.field("Note", "String")
    copper.faults.search_lag_s, copper.faults.total_over = chance.choice([5.0, 60.0, 250.0]), chance.choice([0, 4])
    copper.faults.reachable_rows = chance.choice([9, 100_000])
    truth = dict.fromkeys([await copper.person(f"{n}@example.com") for n in range(15)], "old")
    for n, id_ in enumerate(truth):
        copper.put(id_, date_created=copper.crm.account.now() - n)
    connector, seen, cursor = copper.connect(page_size=3), dict[str, Value](), None
    for turn in range(80):
        page = await connector.changes(PERSON, cursor, [note])
        cursor = page.cursor
        seen |= {one.key.id: one.values.get(note) for one in page.records}
        copper.later(chance.choice([0, 0, 1, 30, 120]))
        who = chance.choice(sorted(truth))
        truth[who] = str(turn)
        await copper.change(who, custom_fields=[item(note, truth[who])])
    for _ in range(2):
        copper.later(_LATE_S)
        found, cursor = await look(connector, cursor, note)
        seen |= {one.key.id: one.values.get(note) for one in found}

    assert truth == {id_: value for id_, value in seen.items() if id_ in truth}


async def test_a_crowd_of_one_second_does_not_come_for_ever(copper: Account) -> None:
    people = await crowd(copper, 20, modified=copper.crm.account.now() - 7_200)
    connector = copper.connect(page_size=5)
    found, cursor = await look(connector, None)
    assert people == ids(found)

    for _ in range(2):
        copper.later(_LATE_S)
        found, cursor = await look(connector, cursor)
    assert [] == found


async def test_what_shows_later_than_it_was_done_is_seen(copper: Account) -> None:
    ann, bob = await copper.person("ann@example.com"), await copper.person("bob@example.com")
    connector = copper.connect()
    copper.later(1_000)
    await copper.change(bob, title="CTO")
    _, cursor = await look(connector, None)
    copper.put(ann, title="CEO", date_modified=copper.crm.account.now() - 200)
    copper.later(_LATE_S)

    found, _ = await look(connector, cursor, "title")

    assert {"title": "CEO"} == values(found)[Key(PERSON, ann)]


async def test_a_search_that_says_no_total_is_walked_all_the_same(copper: Account) -> None:
    rows = [{"id": n, "date_created": n, "date_modified": n} for n in range(1, 38)]

    def without_header(call: str, said: Json) -> tuple[int, Json] | None:
        start = (said or {}).get("minimum_created_date", 0)
        found = [row for row in rows if row["date_created"] >= start]
        at = (said or {}).get("page_number", 1) * 5
        return (200, found[at - 5 : at]) if call == "POST /people/search" else None

    copper.front.answers = without_header

    found = await everybody(copper.connect(page_size=5))

    assert [str(row["id"]) for row in rows] == ids(found)
    assert len(copper.front.calls) < 40


async def test_pages_of_another_size_are_counted_anew(copper: Account) -> None:
    people = await crowd(copper, 20)
    page = await copper.connect(page_size=3).everybody(PERSON, None, [])
    seen = {*ids(page.records)}
    connector = copper.connect(page_size=7)
    while not page.is_last:
        page = await connector.everybody(PERSON, page.cursor, [])
        seen |= {*ids(page.records)}

    assert people == sorted(seen, key=int)


async def test_a_refusal_in_the_middle_of_a_walk_is_not_taken_for_its_end(copper: Account) -> None:
    await crowd(copper, 20)
    connector = copper.connect(page_size=5)
    page = await connector.everybody(PERSON, None, [])
    copper.faults.forbidden_next = 1
    with pytest.raises(Refused):
        await connector.everybody(PERSON, page.cursor, [])


# --- leads ------------------------------------------------------------------------------------------------------------


async def test_a_person_and_a_lead_of_one_id_are_two(copper: Account) -> None:
    person, lead = await copper.person("ann@example.com"), await copper.lead("ann@example.com")
    connector = copper.connect()

    assert person == lead == "1"
    assert [Key(PERSON, "1")] == [one.key for one in (await look(connector, None))[0]]
    assert [Key(LEAD, "1")] == [one.key for one in (await look(connector, None, of=LEAD))[0]]
    assert ["Ann Lee", "Bob Roe"] == [
        (await fetched(connector, "1", "name", of=object_)).values["name"] for object_ in (PERSON, LEAD)
    ]


async def converted(copper: Account, **more: Json) -> tuple[str, Key]:
    lead = await copper.lead("bob@example.com", **more)
    made = await copper.edit("convert", LEAD, lead)
    return lead, Key(PERSON, str(made["person"]["id"]))


async def test_a_lead_that_was_converted_is_told_by_its_change_and_by_its_id(copper: Account) -> None:
    await copper.person("ann@example.com")
    connector = copper.connect()
    lead, person = await converted(copper)

    for record in ((await look(connector, None, of=LEAD))[0][-1], await fetched(connector, lead, of=LEAD)):
        assert (Key(LEAD, lead), True, person) == (record.key, record.is_gone, record.successor)
    assert [] == await everybody(connector, of=LEAD)


async def test_where_converted_leads_are_gone_their_people_say_what_they_were(copper: Account) -> None:
    copper.faults.converted_leads_gone = True
    await copper.person("ann@example.com")
    connector = copper.connect()
    _, cursor = await look(connector, None)
    copper.later(60)
    lead, person = await converted(copper)

    found, _ = await look(connector, cursor)

    assert (Key(LEAD, lead), True, person) in [(one.key, one.is_gone, one.successor) for one in found]
    gone = await fetched(connector, lead, of=LEAD)
    assert (True, None) == (gone.is_gone, gone.successor)


async def test_leads_that_cannot_be_searched_for_by_their_ids_are_read_one_by_one(copper: Account) -> None:
    copper.faults.without_lead_ids = True
    leads = [await copper.lead(f"{n}@example.com") for n in range(6)]
    await copper.edit("delete", LEAD, leads[2])

    found = await copper.connect().fetch(LEAD, leads, [])

    assert ([leads[2]], leads) == ([one.key.id for one in found if one.is_gone], [one.key.id for one in found])


# --- some of them -----------------------------------------------------------------------------------------------------


async def test_whom_search_does_not_show_yet_is_not_taken_for_gone(copper: Account) -> None:
    copper.faults.search_lag_s = 120.0
    people = [await copper.person(f"{n}@example.com") for n in range(8)]
    connector = copper.connect()

    assert people == ids(await connector.fetch(PERSON, people, []))
    assert [] == (await look(connector, None))[0]
    assert people[3:4] == ids(await connector.find(PERSON, ["3@example.com"], []))


async def test_a_person_who_is_read_alone_is_as_they_are(copper: Account) -> None:
    copper.faults.search_lag_s = 120.0
    id_ = await copper.person("ann@example.com")
    copper.later(200)
    await copper.change(id_, title="CTO")

    assert "CTO" == (await fetched(copper.connect(), id_, "title")).values["title"]


async def test_a_merged_person_is_gone_and_found_by_their_address(copper: Account) -> None:
    loser, winner = await copper.person("ann@example.com"), await copper.person("bob@example.com")
    await copper.edit("merge", PERSON, loser, into=int(winner))
    connector = copper.connect()

    gone = await fetched(connector, loser)
    assert (True, None) == (gone.is_gone, gone.successor)
    [found] = await connector.find(PERSON, ["ann@example.com"], [])
    assert (winner, ("bob@example.com", "ann@example.com")) == (found.key.id, found.addresses)


async def test_many_addresses_cost_few_calls_for_people_and_one_each_for_leads(copper: Account) -> None:
    await copper.person("0@example.com")
    lead = await copper.lead("0@example.com")
    twin = await copper.lead("0@Example.com")
    addresses = [f"{n}@example.com" for n in range(40)]
    connector = copper.connect()

    assert ["1"] == ids(await connector.find(PERSON, addresses, []))
    assert 2 == copper.requests
    assert [lead, twin] == ids(await connector.find(LEAD, addresses, []))
    assert 2 + 40 == copper.requests


async def test_an_answer_about_somebody_else_is_none(copper: Account) -> None:
    copper.front.answers = lambda call, _: (200, {"id": 8, "emails": []}) if call == "GET /people/7" else None
    with pytest.raises(Unreachable):
        await fetched(copper.connect(), "7")


async def test_a_restricted_key_does_not_see_everybody(copper: Account) -> None:
    account = copper.crm.account
    hidden = await copper.person("ann@example.com", assignee_id=next(iter(account.users)))
    known = copper.crm.credentials("")
    keys = {"api_key": known["api_key_of_a_restricted_user"], "user_email": known["user_email_of_a_restricted_user"]}
    connector = copper.connect(keys=keys)

    assert [] == (await look(connector, None))[0]
    assert (await fetched(connector, hidden)).is_gone


# --- values -----------------------------------------------------------------------------------------------------------


async def test_what_every_account_has_is_read(copper: Account) -> None:
    address = {"street": "1 Main St", "city": "Tartu", "state": None, "postal_code": "51003", "country": "EE"}
    id_ = await copper.person(
        "ann@example.com", "ann@example.org", title="CTO", tags=["webinar", "a"], contact_type_id=451_490,
        address=address, phone_numbers=[{"number": "+1 202 555 0143", "category": "work"}], details="Met in Tartu",
    )  # fmt: skip
    copper.put(id_, company_name="Acme", date_created=1_761_955_200)
    connector = copper.connect()
    names = [one.name for one in await connector.describe(PERSON)]

    record = await fetched(connector, id_, *names)

    assert ("ann@example.com", "ann@example.org") == record.addresses
    assert {
        "name": "Ann Lee", "first_name": "Ann", "last_name": "Lee", "email": "ann@example.com", "title": "CTO",
        "phone": "+1 202 555 0143", "tags": ["a", "webinar"], "contact_type": "Potential Customer",
        "street": "1 Main St", "city": "Tartu", "state": None, "postal_code": "51003", "country": "EE",
        "details": "Met in Tartu", "company_name": "Acme", "date_created": "2025-11-01T00:00:00Z",
        "date_last_contacted": None, "interaction_count": 0,
    } == record.values  # fmt: skip


async def test_what_every_lead_has_is_read(copper: Account) -> None:
    id_ = await copper.lead(
        "bob@example.com", status="Contacted", customer_source_id=331_242, monetary_value=2_500, company_name="Initech"
    )
    names = ("email", "status", "customer_source", "monetary_value", "company_name", "tags")

    assert {
        "email": "bob@example.com", "status": "Contacted", "customer_source": "Advertising", "monetary_value": 2_500,
        "company_name": "Initech", "tags": None,
    } == (await fetched(copper.connect(), id_, *names, of=LEAD)).values  # fmt: skip


@pytest.mark.parametrize("hours", [-11, -7, 0, 2, 12])
async def test_a_day_is_the_same_day_wherever_the_account_is(copper: Account, hours: int) -> None:
    copper.faults.zone_offset_h = hours
    day = await copper.field("Since", "Date")
    id_ = await copper.person("ann@example.com", custom_fields=[item(day, "02/28/2026")])

    assert {day: "2026-02-28"} == (await fetched(copper.connect(), id_, day)).values


async def test_an_unset_checkbox_is_not_a_no(copper: Account) -> None:
    box = await copper.field("Email opt-out", "Checkbox")
    people = [
        await copper.person("ann@example.com"),
        await copper.person("bob@example.com", custom_fields=[item(box, value=False)]),
        await copper.person("eve@example.com", custom_fields=[item(box, value=True)]),
    ]

    found = await copper.connect().fetch(PERSON, people, [box])

    assert [None, False, True] == [one.values[box] for one in found]


@pytest.mark.parametrize("empty", [False, True])
async def test_choices_are_known_by_their_labels_though_their_ids_change(copper: Account, empty: bool) -> None:
    copper.faults.empty_lists = empty
    one, some = (
        await copper.field("Mood", "Dropdown", "Cold", "Hot"),
        await copper.field("Likes", "MultiSelect", "A", "B"),
    )
    custom = [item(one, copper.option(one, "Hot")), item(some, [copper.option(some, "B"), copper.option(some, "A")])]
    id_, bare = await copper.person("ann@example.com", custom_fields=custom), await copper.person("bob@example.com")
    connector = copper.connect()
    assert {one: "Hot", some: ["A", "B"]} == (await fetched(connector, id_, one, some)).values
    assert {one: None, some: None} == (await fetched(connector, bare, one, some)).values

    await copper.edit("change", "field", int(one[3:]), options=[{"name": "Hot"}, {"name": "Warm"}])
    await copper.change(id_, custom_fields=[item(one, copper.option(one, "Warm"))])

    assert {one: "Warm", some: ["A", "B"]} == (await fetched(connector, id_, one, some)).values


async def test_a_field_that_a_person_does_not_show_is_unset_if_there_is_one(copper: Account) -> None:
    box = await copper.field("Email opt-out", "Checkbox")
    copper.front.answers = lambda call, _: (200, {"id": 7, "custom_fields": []}) if call == "GET /people/7" else None

    assert {box: None} == (await fetched(copper.connect(), "7", box, "cf_1")).values


async def test_a_field_that_was_deleted_is_not_taken_for_unset(copper: Account) -> None:
    box = await copper.field("Email opt-out", "Checkbox")
    id_ = await copper.person("ann@example.com", custom_fields=[item(box, value=True)])
    connector = copper.connect()
    assert {box: True} == (await fetched(connector, id_, box)).values

    await copper.edit("delete", "field", int(box[3:]))

    assert {Key(PERSON, id_): {}} == values((await look(connector, None, box))[0])
