"""Contacts and leads read from Salesforce: nothing that changed is passed over, and each value means the same here."""

import random
from collections import Counter
from datetime import datetime, timedelta

import pytest

from app import clock
from app.connectors.faults import CursorLost, Refused
from app.connectors.salesforce.values import instant
from app.connectors.shapes import Key, Record, Write
from app.sandbox.people import people
from tests.connectors.salesforce_org import Org, look


def ids(records: list[Record]) -> list[str]:
    return [one.key.id for one in records]


# --- values -----------------------------------------------------------------------------------------------------------


async def test_a_record_is_read_as_the_sync_has_values(org: Org) -> None:
    org.do("field", object="Contact", name="Score__c", fields={"type": "Number", "precision": 18, "scale": 2})
    org.do("field", object="Contact", name="Topics__c", fields={"type": "Text", "length": 255})
    topics = org.crm.org.objects["contact"].fields["topics__c"]
    org.crm.org.objects["contact"].fields["topics__c"] = type(topics)(topics.name, topics.label, "multipicklist", 4_099)
    account = org.do("create", object="Account", fields={"Name": "Acme"})
    id_ = org.add(
        FirstName="Ada", LastName="Lovelace", Email="Ada@Example.com", HasOptedOutOfEmail=True, Score__c=72,
        Topics__c="Sales;Art", Birthdate="1815-12-10", EmailBouncedDate="2026-10-20T10:00:00Z", LeadSource="Web",
        AccountId=account,
    )  # fmt: skip
    asked = [
        "Email", "HasOptedOutOfEmail", "Score__c", "Topics__c", "Birthdate", "EmailBouncedDate", "LeadSource", "Title",
        "AccountId", "Nothing__c",
    ]  # fmt: skip
    [record] = await org.connect().fetch("Contact", [id_], asked)
    [name] = (await org.connect().fetch("Contact", [id_], ["Name"]))[0].values.values()

    assert {
        "Email": "Ada@Example.com", "HasOptedOutOfEmail": True, "Score__c": 72, "Topics__c": ["Art", "Sales"],
        "Birthdate": "1815-12-10", "EmailBouncedDate": "2026-10-20T10:00:00Z", "LeadSource": "Web", "Title": None,
        "AccountId": account,
    } == record.values  # fmt: skip
    assert isinstance(record.values["Score__c"], int)
    assert ("Ada Lovelace", ("Ada@Example.com",), Key("Contact", id_)) == (name, record.addresses, record.key)
    assert instant(org.row(id_)["SystemModstamp"]) == record.modified_at
    assert (False, False, None) == (record.by_us, record.is_gone, record.successor)


async def test_a_hidden_field_is_absent_also_if_it_was_hidden_since_it_was_described(org: Org) -> None:
    crm = org.connect()
    id_ = org.add(Title="Countess")
    [seen] = await crm.fetch("Contact", [id_], ["Title", "Department"])
    org.crm.faults.hidden_fields = ["Contact.Title"]
    [hidden] = await crm.fetch("Contact", [id_], ["Title", "Department"])

    assert {"Title": "Countess", "Department": None} == seen.values
    assert {"Department": None} == hidden.values


async def test_an_address_that_is_hidden_finds_nobody_and_says_so(org: Org) -> None:
    org.crm.faults.hidden_fields = ["Contact.Email"]
    with pytest.raises(Refused, match="No such column 'Email'"):
        await org.connect().find("Contact", ["ada@example.com"], [])


# --- by id and by address ---------------------------------------------------------------------------------------------


async def test_what_became_of_records_is_told_when_they_are_fetched(org: Org) -> None:
    there, deleted, purged, winner, loser = (org.add() for _ in range(5))
    lead, closed = org.add("Lead"), org.add("Lead")
    org.do("delete", id=deleted)
    org.do("purge", id=purged)
    org.do("merge", id=winner, losers=[loser])
    contact = org.do("convert", id=lead)
    crm = org.connect()
    found = {
        one.key.id: (one.is_gone, one.successor)
        for one in [
            *await crm.fetch("Contact", [there, deleted, purged, loser, "nonsense", "' OR Id != '"], ["Email"]),
            *await crm.fetch("Lead", [lead, closed], ["Email"]),
        ]
    }

    assert {
        there: (False, None), deleted: (True, None), purged: (True, None), loser: (True, Key("Contact", winner)),
        "nonsense": (True, None), "' OR Id != '": (True, None), lead: (True, Key("Contact", contact)),
        closed: (False, None),
    } == found  # fmt: skip


async def test_many_are_fetched_in_queries_that_fit_into_an_address(org: Org) -> None:
    org.crm.fill(people(800))
    org.crm.faults.page_rows = 90
    wanted = list(org.crm.org.table("Contact").rows)
    found = await org.connect().fetch("Contact", wanted, ["Email"])

    assert wanted == ids(list(found))
    assert not any(one.is_gone for one in found)


async def test_people_are_found_by_their_addresses_in_any_case_but_not_those_who_are_gone(org: Org) -> None:
    addresses = [f"{'x' * 60}.{n}@example.com" for n in range(250)]
    wanted = [org.add(Email=one) for one in addresses]
    twin, quoted = org.add(Email=addresses[0]), org.add(Email="o'hara\\@example.com")
    org.add("Lead", Email=addresses[1])
    org.do("delete", id=org.add(Email=addresses[2]))
    lead = org.add("Lead", Email="lead@example.com")
    org.do("convert", id=org.add("Lead", Email="lead@example.com"))
    org.crm.faults.page_rows = 40
    crm = org.connect()
    found = await crm.find("Contact", [*(one.upper() for one in addresses), "o'hara\\@example.com"], ["Email"])

    assert sorted([*wanted, twin, quoted]) == sorted(ids(list(found)))
    assert [lead] == ids(list(await crm.find("Lead", ["Lead@example.com"], ["Email"])))
    assert [] == await crm.find("Lead", [], ["Email"])


async def test_everybody_comes_in_an_order_that_edits_do_not_disturb(org: Org) -> None:
    org.crm.fill(people(40))
    org.do("delete", id=org.add("Lead"))
    org.do("convert", id=org.add("Lead"))
    org.crm.faults.page_rows = 3
    crm, seen, cursor, is_last = org.connect(), list[str](), None, False
    while not is_last:
        page = await crm.everybody("Lead", cursor, ["Email"])
        seen += [one.key.id for one in page.records]
        cursor, is_last = page.cursor, page.is_last
        if page.records:
            org.change(page.records[0].key.id, Title="Edited")

    assert sorted(id_ for id_, row in org.crm.org.table("Lead").rows.items() if row.keys().isdisjoint(
        {"IsDeleted", "IsConverted"})) == seen  # fmt: skip


# --- changes ----------------------------------------------------------------------------------------------------------


async def test_what_changed_comes_with_who_did_it_and_what_became_of_it(org: Org) -> None:
    crm = org.connect()
    _, cursor = await look(crm, "Contact", None)
    _, leads = await look(crm, "Lead", None)
    winner, loser, ours = org.add(Email="w@example.com"), org.add(), org.add()
    lead = org.add("Lead")
    org.do("merge", id=winner, losers=[loser])
    contact = org.do("convert", id=lead)
    await crm.write([_title(ours)])
    org.later(seconds=10)
    found, cursor = await look(crm, "Contact", cursor)
    [converted], _ = await look(crm, "Lead", leads)
    by_id = {one.key.id: one for one in found}

    assert {winner, loser, ours, contact} == by_id.keys()
    assert (True, Key("Contact", winner)) == (by_id[loser].is_gone, by_id[loser].successor)
    assert (True, Key("Contact", contact)) == (converted.is_gone, converted.successor)
    assert [True, False] == [by_id[ours].by_us, by_id[winner].by_us]
    assert ([], cursor) == await look(crm, "Contact", cursor)


def _title(id_: str) -> Write:
    return Write(Key("Contact", id_), {"Title": "Told"})


async def test_a_second_that_many_share_is_walked_over_the_borders_of_pages(org: Org) -> None:
    crm = org.connect()
    _, cursor = await look(crm, "Contact", None)
    org.crm.clock.hold()
    org.crm.faults.page_rows = 4
    made = [org.add() for _ in range(10)]
    page = await crm.changes("Contact", cursor, ["Email"])
    made += [org.add() for _ in range(5)]
    clock.shift(timedelta(seconds=10))
    rest, cursor = await look(crm, "Contact", page.cursor)

    assert not page.is_last
    assert sorted(made) == ids([*page.records, *rest])
    assert ([], cursor) == await look(crm, "Contact", cursor)


async def test_what_is_edited_in_the_second_that_was_just_read_is_seen_by_the_next_look(org: Org) -> None:
    crm = org.connect()
    first, _ = org.add(Title="Before"), org.add()
    org.crm.clock.hold()
    org.change(first)
    _, cursor = await look(crm, "Contact", None, ["Title"])
    org.change(first, Title="After")
    found, cursor = await look(crm, "Contact", cursor, ["Title"])

    assert "After" in {one.values["Title"] for one in found}


async def test_who_is_edited_while_the_pages_are_walked_is_met_again(org: Org) -> None:
    crm = org.connect()
    made = [org.add() for _ in range(6)]
    org.crm.faults.page_rows = 4
    page = await crm.changes("Contact", None, ["Title"])
    org.later(seconds=2)
    org.change(made[0], Title="Behind")
    org.change(made[5], Title="Ahead")
    rest, _ = await look(crm, "Contact", page.cursor, ["Title"])

    assert {"Behind", "Ahead"} <= {one.values.get("Title") for one in rest}
    assert set(made) == set(ids([*page.records, *rest]))


async def test_a_change_that_shows_ten_minutes_late_is_not_passed_over(org: Org) -> None:
    crm = org.connect()
    late, other = org.add(), org.add()
    org.later(minutes=30)
    _, cursor = await look(crm, "Contact", None)
    org.change(other)
    org.later(seconds=10)
    _, cursor = await look(crm, "Contact", cursor)
    org.do("late", id=late, seconds=600, fields={"Title": "Late"})
    missed, cursor = await look(crm, "Contact", cursor, ["Title"])
    org.later(minutes=10)
    found, cursor = await look(crm, "Contact", cursor, ["Title"])

    assert [] == missed
    assert {late: "Late", other: None} == {one.key.id: one.values["Title"] for one in found}


async def test_a_record_is_read_three_times_at_most_and_then_left_alone(org: Org) -> None:
    crm = org.connect()
    _, cursor = await look(crm, "Contact", None)
    times: Counter[str] = Counter()
    for minute in range(60):
        if minute < 30:
            org.add()
        org.later(seconds=10)
        records, cursor = await look(crm, "Contact", cursor)
        times.update(ids(records))
        org.later(seconds=50)

    assert 30 == len(times)
    assert max(times.values()) <= 3
    assert [] == (await look(crm, "Contact", cursor))[0]


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_happens_in_which_order_every_change_is_read(org: Org, seed: int) -> None:
    chance = random.Random(seed)
    crm, cursor, made = org.connect(), None, [org.add(Title="0")]
    seen: dict[str, str] = {}
    org.crm.faults.page_rows = 3
    for step in range(60):
        match chance.randrange(7):
            case 0:
                made += [org.add(Title=str(step)) for _ in range(chance.randrange(1, 5))]
            case 1:
                org.change(chance.choice(made), Title=str(step))
            case 2:
                # What is committed late: not with a stamp before the record's last one, which its lock would not allow.
                id_ = chance.choice(made)
                since = clock.now() - _stamp(org, id_)
                late = chance.randrange(0, 601)
                org.do("late", id=id_, seconds=min(late, int(since.total_seconds())), fields={"Title": str(step)})
            case 3:
                org.later(seconds=chance.choice([1, 1, 30, 400, 1_000]))
            case _:
                page = await crm.changes("Contact", cursor, ["Title"])
                seen |= {one.key.id: str(one.values["Title"]) for one in page.records}
                # A page that is not kept comes again.
                cursor = page.cursor if chance.random() < 0.8 else cursor
    for _ in range(2):
        records, cursor = await look(crm, "Contact", cursor, ["Title"])
        seen |= {one.key.id: str(one.values["Title"]) for one in records}
        org.later(minutes=10)

    assert {id_: org.row(id_)["Title"] for id_ in made} == seen


def _stamp(org: Org, id_: str) -> datetime:
    return instant(org.row(id_)["SystemModstamp"])


async def test_a_query_that_takes_too_long_is_asked_for_fewer(org: Org) -> None:
    org.crm.fill(people(4))
    crm = org.connect()
    await crm.describe("Contact")
    org.crm.faults.fail_next = ["query_timeout", "query_timeout"]

    assert 3 == len((await crm.changes("Contact", None, ["Email"])).records)


@pytest.mark.parametrize("cursor", ["", "7", "{}", '{"at":null}', '{"at":1,"id":"","unsure_from":"","looked_at":""}'])
async def test_what_is_no_cursor_is_lost(org: Org, cursor: str) -> None:
    crm = org.connect()
    with pytest.raises(CursorLost):
        await crm.changes("Contact", cursor, ["Email"])
    with pytest.raises(CursorLost):
        await crm.activities(cursor)
