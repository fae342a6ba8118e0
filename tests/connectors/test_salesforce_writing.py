"""Records written to Salesforce: in calls of two hundred, in bulk jobs, and what becomes of each."""

from dataclasses import replace
from typing import Any

import pytest

from app.connectors.faults import BudgetSpent, Unreachable
from app.connectors.salesforce import Salesforce
from app.connectors.shapes import End, Key, NewPerson, Outcome, Write
from app.sandbox.people import people
from tests.connectors.given import Purse
from tests.connectors.salesforce_org import Org

COLLECTIONS = "/composite/sobjects"


def write(id_: str, of: str = "Contact", **values: Any) -> Write:  # Any: values of all kinds
    return Write(Key(of, id_), values or {"Title": "Told"})


def filled(org: Org, count: int) -> list[str]:
    """The ids of so many contacts."""
    org.crm.fill(people(count * 4 // 3 + 3))
    return list(org.crm.org.table("Contact").rows)[:count]


async def test_each_of_many_writes_has_an_outcome_of_its_own_in_their_order(org: Org) -> None:
    good, locked, refused, deleted, winner, loser = (org.add() for _ in range(6))
    lead, converted = org.add("Lead"), org.add("Lead")
    org.do("delete", id=deleted)
    org.do("merge", id=winner, losers=[loser])
    org.do("convert", id=converted)
    org.crm.faults.locked_ids, org.crm.faults.refused_ids = [locked], [refused]
    known = await org.connect().write(
        [
            write(lead, "Lead"), write(good, Title="Countess", HasOptedOutOfEmail=True, Department=None),
            write(locked), write(converted, "Lead"), write(refused), write(deleted), write(loser),
            write("003S7000009zzzzIAA"), write("nonsense"), write(good, Title="x" * 129), write(good, Nothing__c="?"),
            write(good, LeadSource=7), write(good, LeadSource=True), write(winner, MasterRecordId=good),
        ]
    )  # fmt: skip

    assert [
        End.DONE, End.DONE, End.AGAIN, End.GONE, End.REFUSED, End.GONE, End.GONE, End.GONE, End.GONE, End.REFUSED,
        End.REFUSED, End.REFUSED, End.REFUSED, End.REFUSED,
    ] == [one.end for one in known]  # fmt: skip
    assert [
        None, None, "UNABLE_TO_LOCK_ROW", "CANNOT_UPDATE_CONVERTED_LEAD", "FIELD_CUSTOM_VALIDATION_EXCEPTION",
        "ENTITY_IS_DELETED", "ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY", "MALFORMED_ID", "STRING_TOO_LONG",
        "INVALID_FIELD", "WRONG_KIND", "WRONG_KIND", "INVALID_FIELD_FOR_INSERT_UPDATE",
    ] == [one.code for one in known]  # fmt: skip
    assert [("Title",), ("Nothing__c",), ("LeadSource",), ("LeadSource",), ("MasterRecordId",)] == [
        one.fields for one in known[-5:]
    ]
    assert ("Countess", True) == (org.row(good)["Title"], org.row(good)["HasOptedOutOfEmail"])
    assert 1 == org.front.count(COLLECTIONS)


async def test_what_salesforce_says_of_a_refusal_holds_nobodys_data(org: Org) -> None:
    id_ = org.add(Email="ada@example.com")
    org.do("field", object="Contact", name="Small__c", fields={"type": "Number", "precision": 2, "scale": 0})
    known = await org.connect().write(
        [write(id_, Title="Secret" * 30), write(id_, Email="ada at example"), write(id_, Small__c=4_711)]
    )
    reasons = " ".join(str(one.reason) for one in known)

    assert [End.REFUSED] * 3 == [one.end for one in known]
    assert not any(secret in reasons for secret in ("Secret", "ada", "4711"))
    assert "max length=128" in reasons


async def test_a_value_that_clears_a_field_and_a_list_are_told_as_salesforce_has_them(org: Org) -> None:
    id_ = org.add(Title="Countess", EmailBouncedDate="2026-10-20T10:00:00Z")
    org.do("field", object="Contact", name="Topics__c", fields={"type": "Text", "length": 255})
    crm = org.connect()
    known = await crm.write([write(id_, Title=None, EmailBouncedDate=None), write(id_, Topics__c="Art;Sales")])

    assert [End.DONE, End.DONE] == [one.end for one in known]
    assert {"Title", "EmailBouncedDate"}.isdisjoint(org.row(id_))
    assert "Art;Sales" == org.row(id_)["Topics__c"]


async def test_an_answer_that_was_lost_is_asked_for_again(org: Org) -> None:
    id_ = org.add()
    crm = org.connect()
    await crm.describe("Contact")
    org.crm.faults.fail_next = ["lost_reply"]

    assert [Outcome(End.DONE, id_)] == await crm.write([write(id_)])


async def test_a_call_that_one_record_spoils_is_made_again_without_it(org: Org) -> None:
    good = [org.add() for _ in range(5)]
    org.do("field", object="Contact", name="Later__c", fields={"type": "Number", "precision": 6, "scale": 0})
    crm = org.connect()
    await crm.describe("Contact")
    # What was described as a text is a checkbox by now.
    of = org.crm.org.objects["contact"]
    of.fields["department"] = replace(of.fields["department"], type="boolean")
    writes = [write(id_) for id_ in good]
    writes[2:2] = [write(org.add(), Department="Sales")]
    known = await crm.write(writes)

    assert [End.DONE, End.DONE, End.REFUSED, End.DONE, End.DONE, End.DONE] == [one.end for one in known]
    assert "JSON_PARSER_ERROR" == known[2].code


async def test_what_was_done_before_a_call_failed_is_known(org: Org) -> None:
    ids = filled(org, 500)
    org.purse = Purse(most=3)
    crm = org.connect()
    known = await crm.write([write(id_) for id_ in ids])

    assert [End.DONE] * 400 + [End.AGAIN] * 100 == [one.end for one in known]
    with pytest.raises(BudgetSpent):
        await crm.write([write(ids[0])])


async def test_what_writes_cost_is_known_before(org: Org) -> None:
    crm = org.connect()

    assert (200, 10_000) == (crm.batch, crm.bulk)
    assert [1, 1, 2, 10, 8, 8, 16] == [crm.cost(count) for count in (1, 200, 201, 1_999, 2_000, 10_000, 20_000)]


# --- in bulk ----------------------------------------------------------------------------------------------------------


async def test_thousands_of_one_shape_are_one_job_which_leaves_nothing_behind(org: Org) -> None:
    ids = filled(org, 60)
    rest = org.add()
    org.do("delete", id=ids[3])
    org.crm.faults.locked_ids, org.crm.faults.refused_ids = [ids[1]], [ids[2]]
    crm = org.connect(bulk_from=50)
    values: dict[str, Any] = {
        "Title": 'Countess, "of"\nLovelace',
        "Department": None,
        "HasOptedOutOfEmail": False,
        "DoNotCall": True,
    }
    known = await crm.write([write(rest), *(write(id_, **values) for id_ in ids)])

    assert [End.DONE, End.DONE, End.AGAIN, End.REFUSED, End.GONE] == [one.end for one in known[:5]]
    assert {End.DONE} == {one.end for one in known[5:]}
    assert ["UNABLE_TO_LOCK_ROW", "FIELD_CUSTOM_VALIDATION_EXCEPTION", "ENTITY_IS_DELETED"] == [
        one.code for one in known[2:5]
    ]
    assert [rest, *ids] == [one.id for one in known]
    assert values["Title"] == org.row(ids[9])["Title"]
    assert "Department" not in org.row(ids[9])
    assert (1, 1) == (org.front.count(COLLECTIONS), org.front.count("PUT /services/data/v62.0/jobs/ingest"))
    assert 1 == org.front.count("DELETE /services/data/v62.0/jobs/ingest")


async def test_a_job_that_fails_half_way_leaves_the_rest_to_be_done_again(org: Org) -> None:
    ids = filled(org, 60)
    org.crm.faults.bulk_fails_after = 20
    known = await org.connect(bulk_from=50).write([write(id_) for id_ in ids])

    assert [End.DONE] * 20 + [End.AGAIN] * 40 == [one.end for one in known]
    assert {"UNPROCESSED"} == {one.code for one in known[20:]}


async def test_a_job_that_does_not_begin_is_ended(org: Org) -> None:
    ids = filled(org, 10)
    org.crm.faults.bulk_stalls = True
    crm = Salesforce(org.setup(bulk_from=10), org.http, bulk_patience_s=0.1)
    known = await crm.write([write(id_) for id_ in ids])

    assert {End.AGAIN} == {one.end for one in known}
    assert 1 == org.front.count("DELETE")


async def test_a_field_that_has_gone_is_named_by_the_job(org: Org) -> None:
    ids = filled(org, 10)
    org.do("field", object="Contact", name="Gone__c", fields={"type": "Text", "length": 9})
    crm = org.connect(bulk_from=10)
    await crm.describe("Contact")
    del org.crm.org.objects["contact"].fields["gone__c"]
    known = await crm.write([write(id_, Gone__c="x") for id_ in ids])

    assert {(End.REFUSED, ("Gone__c",))} == {(one.end, one.fields) for one in known}


async def test_an_answer_about_a_job_that_was_lost_is_asked_for_again(org: Org) -> None:
    ids = filled(org, 10)
    crm = org.connect(bulk_from=10)
    await crm.describe("Contact")
    # Made and filled; then the answer to its closing is lost.
    org.crm.faults.fail_next = ["", "", "lost_reply"]

    assert {End.DONE} == {one.end for one in await crm.write([write(id_) for id_ in ids])}


async def test_a_text_that_means_nothing_in_a_job_is_told_as_it_is(org: Org) -> None:
    ids = filled(org, 11)
    crm = org.connect(bulk_from=10)
    known = await crm.write([write(ids[0], Title="#N/A"), *(write(id_) for id_ in ids[1:])])

    assert {End.DONE} == {one.end for one in known}
    assert "#N/A" == org.row(ids[0])["Title"]


# --- new people -------------------------------------------------------------------------------------------------------


async def test_new_people_have_what_salesforce_demands(org: Org) -> None:
    org.crm.faults.duplicate_rule = True
    org.add(Email="ada@example.com")
    known = await org.connect().create(
        [
            NewPerson("Lead", "ada@example.com", "Ada  King Lovelace", {"HasOptedOutOfEmail": True}),
            NewPerson("Contact", "grace@example.org", None, {"Title": "Admiral"}),
            NewPerson("Lead", "x@example.net", "Plato", {"Company": "Academy"}),
            NewPerson("Contact", "not an address", "No One", {}),
        ]
    )
    rows = [org.row(one.id) for one in known if one.id is not None]

    assert [End.DONE, End.DONE, End.DONE, End.REFUSED] == [one.end for one in known]
    assert (None, "INVALID_EMAIL_ADDRESS", ("Email",)) == (known[3].id, known[3].code, known[3].fields)
    assert [("Ada King", "Lovelace"), (None, "grace"), (None, "Plato")] == [
        (one.get("FirstName"), one["LastName"]) for one in rows
    ]
    assert ["example.com", None, "Academy"] == [one.get("Company") for one in rows]
    assert [True, "Admiral"] == [rows[0]["HasOptedOutOfEmail"], rows[1]["Title"]]


async def test_people_are_never_created_twice_by_themselves(org: Org) -> None:
    crm = org.connect()
    org.crm.faults.fail_next = ["lost_reply"]
    with pytest.raises(Unreachable):
        await crm.create([NewPerson("Contact", "ada@example.com", None, {})])

    assert 1 == len(org.crm.org.table("Contact").rows)
