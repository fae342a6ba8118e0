"""Records written to Dynamics: many at once, each in a batch, and what becomes of each."""

import contextlib
from datetime import UTC
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.connectors.dynamics.values import Unfit, read, stamp, tell
from app.connectors.dynamics.writing import FEW, MANY
from app.connectors.faults import BudgetSpent
from app.connectors.shapes import End, Key, Kind, NewPerson, Value, Write
from app.sandbox.people import people
from tests.connectors.dynamics_world import World
from tests.connectors.given import Purse

MULTIPLE = "UpdateMultiple"
NOBODY = "00000000-0000-4000-8000-000000000000"


def write(id_: str, of: str = "contact", /, **values: Any) -> Write:  # Any: values of all kinds
    return Write(Key(of, id_), values or {"jobtitle": "Told"})


def filled(dynamics: World, count: int, of: str = "contact") -> list[str]:
    """The ids of so many people."""
    dynamics.crm.fill(people(count * 4 + 4))
    return list(dynamics.crm.org.rows(of).by_id)[:count]


def count(dynamics: World, of: str) -> int:
    return sum(calls for name, calls in dynamics.crm.site.api.calls.items() if of in name)


async def test_each_of_some_writes_has_an_outcome_of_its_own_in_their_order(dynamics: World) -> None:
    good, locked, refused, deleted, winner, loser = (dynamics.add() for _ in range(6))
    qualified, lost = dynamics.add("lead"), dynamics.add("lead")
    dynamics.do("delete", id=deleted)
    dynamics.do("merge", object="contact", id=winner, loser=loser)
    dynamics.do("qualify", id=qualified)
    dynamics.change(lost, statecode=2, statuscode=4)
    dynamics.crm.faults.locked_ids, dynamics.crm.faults.refused_ids = [locked], [refused]
    known = await dynamics.connect().write(
        [
            write(good, jobtitle="Countess", donotbulkemail=True, department=None), write(locked), write(refused),
            write(deleted), write(loser), write(qualified, "lead"), write(lost, "lead"), write(NOBODY),
            write("nonsense"), write(good, jobtitle="x" * 101), write(good, nothing="?"), write(good, jobtitle=7),
            write(good, donotemail="perhaps"), write(good, fullname="Ada"), write(good, statecode="Inactive"),
        ]
    )  # fmt: skip

    assert [
        End.DONE, End.AGAIN, End.REFUSED, End.GONE, End.GONE, End.GONE, End.REFUSED, End.GONE, End.GONE, End.REFUSED,
        End.REFUSED, End.REFUSED, End.REFUSED, End.REFUSED, End.REFUSED,
    ] == [one.end for one in known]  # fmt: skip
    assert [("jobtitle",), ("nothing",), ("jobtitle",), ("donotemail",), ("fullname",), ("statecode",)] == [
        one.fields for one in known[-6:]
    ]
    assert {"jobtitle": "Countess", "donotbulkemail": True, "department": None} == known[0].kept
    assert ("Countess", True) == (dynamics.row(good)["jobtitle"], dynamics.row(good)["donotbulkemail"])
    assert 0 == count(dynamics, MULTIPLE)


async def test_an_update_never_makes_anybody(dynamics: World) -> None:
    crm, before = dynamics.connect(), dynamics.people()
    for writes in ([write(NOBODY)], [write(NOBODY[:-2] + f"{n:02}") for n in range(FEW + 1)]):
        assert {End.GONE} == {one.end for one in await crm.write(writes)}
    assert before == dynamics.people()


async def test_very_many_are_one_call_for_each_some_hundred(dynamics: World) -> None:
    ids = filled(dynamics, MANY + 3)
    crm = dynamics.connect()
    outcomes = await crm.write([write(id_, jobtitle=f"Told {n}") for n, id_ in enumerate(ids)])

    assert [f"Told {n}" for n in range(len(ids))] == [dynamics.row(id_)["jobtitle"] for id_ in ids]
    assert [{"jobtitle": f"Told {n}"} for n in range(len(ids))] == [one.kept for one in outcomes]
    assert (1, 3) == (count(dynamics, MULTIPLE), count(dynamics, "PATCH contacts"))
    assert all(one.modified_at is not None for one in outcomes)


async def test_a_row_that_spoils_a_call_for_many_is_found(dynamics: World) -> None:
    ids = filled(dynamics, MANY)
    dynamics.crm.faults.refused_ids = [ids[250]]
    dynamics.do("delete", id=ids[251])
    outcomes = await dynamics.connect().write([write(id_) for id_ in ids])

    assert {250: End.REFUSED, 251: End.GONE} == {
        at: one.end for at, one in enumerate(outcomes) if one.end is not End.DONE
    }
    # All at once, in five parts, and that of the two each by itself.
    assert (6, 100) == (count(dynamics, MULTIPLE), count(dynamics, "PATCH contacts"))


async def test_who_was_merged_meanwhile_is_gone_though_it_can_be_written(dynamics: World) -> None:
    ids = filled(dynamics, FEW + 5)
    dynamics.do("merge", object="contact", id=ids[0], loser=ids[1])
    outcomes = await dynamics.connect().write([write(id_) for id_ in ids])

    assert {1: End.GONE} == {at: one.end for at, one in enumerate(outcomes) if one.end is not End.DONE}
    assert 1 == count(dynamics, MULTIPLE)


async def test_rows_that_somebody_else_holds_are_for_later(dynamics: World) -> None:
    ids = filled(dynamics, 40)
    dynamics.crm.faults.locked_ids = ids[3:5]
    outcomes = await dynamics.connect().write([write(id_) for id_ in ids])

    assert {3: End.AGAIN, 4: End.AGAIN} == {at: one.end for at, one in enumerate(outcomes) if one.end is not End.DONE}


async def test_a_table_without_a_call_for_many_is_written_in_batches_from_then_on(dynamics: World) -> None:
    dynamics.crm.faults.no_multiple = ["lead"]
    ids = filled(dynamics, 130, "lead")
    crm = dynamics.connect()
    for _ in range(2):
        assert {End.DONE} == {one.end for one in await crm.write([write(id_, "lead") for id_ in ids])}
    # At once and its first part; then it is known.
    assert 2 == count(dynamics, MULTIPLE)


async def test_two_writes_of_one_record_are_not_made_at_once(dynamics: World) -> None:
    ids = filled(dynamics, FEW + 1)
    writes = [*(write(id_, jobtitle="First") for id_ in ids), *(write(id_, jobtitle="Second") for id_ in ids)]
    outcomes = await dynamics.connect().write(writes)

    assert {End.DONE} == {one.end for one in outcomes}
    assert {"Second"} == {dynamics.row(id_)["jobtitle"] for id_ in ids}


async def test_what_a_plugin_makes_of_a_write_is_said(dynamics: World) -> None:
    dynamics.crm.faults.plugin_sets = {"jobtitle": "Checked"}
    ids = filled(dynamics, FEW + 1)
    outcomes = await dynamics.connect().write([write(id_) for id_ in ids])

    assert [{"jobtitle": "Checked"}] * len(ids) == [one.kept for one in outcomes]


async def test_closed_leads_are_written_where_they_can_be(dynamics: World) -> None:
    dynamics.crm.faults.closed_leads_writable = True
    qualified, lost = dynamics.add("lead"), dynamics.add("lead")
    dynamics.do("qualify", id=qualified)
    dynamics.change(lost, statecode=2, statuscode=4)
    outcomes = await dynamics.connect().write([write(qualified, "lead"), write(lost, "lead")])

    assert [End.GONE, End.DONE] == [one.end for one in outcomes]


async def test_a_choice_is_told_by_its_number_also_one_that_is_new(dynamics: World) -> None:
    name = dynamics.column("new_Mood", "Picklist", options=["Good", "Bad"])
    crm, id_ = dynamics.connect(), dynamics.add()
    for value, number in (("Bad", 100_000_001), (None, None)):
        [outcome] = await crm.write([write(id_, **{name: value})])
        assert (End.DONE, {name: value}) == (outcome.end, outcome.kept)
        assert number == dynamics.row(id_).get(name)

    later = dynamics.column("new_Weather", "Picklist", options=["Rain"])
    assert [End.DONE, End.REFUSED] == [
        one.end for one in await crm.write([write(id_, **{later: "Rain"}), write(id_, **{later: "Snow"})])
    ]


async def test_both_columns_of_the_opt_out_are_written(dynamics: World) -> None:
    crm, id_ = dynamics.connect(opt_out="both"), dynamics.add()
    for is_out in (True, False):
        [outcome] = await crm.write([write(id_, **{"donotbulkemail+donotemail": is_out})])
        row = dynamics.row(id_)
        assert ({"donotbulkemail+donotemail": is_out}, is_out, is_out) == (
            outcome.kept, row["donotbulkemail"], row["donotemail"],
        )  # fmt: skip


async def test_writes_say_that_they_are_ours_and_set_off_what_an_administrator_lets_them(dynamics: World) -> None:
    id_ = dynamics.add()
    await dynamics.connect().write([write(id_)])
    await dynamics.connect(bypass_plugins=True, bypass_flows=True).write([write(id_)])
    plain, quiet = (one.body.decode().lower() for one in dynamics.front.calls if b"PATCH" in one.body)

    assert (True, True) == ("tag=leadtally" in plain, "if-match: *" in plain)
    assert "mscrm." not in plain
    assert "mscrm.bypassbusinesslogicexecution: customsync,customasync" in quiet
    assert "mscrm.suppresscallbackregistrationexpanderjob: true" in quiet


async def test_what_was_done_before_the_budget_was_spent_is_known(dynamics: World) -> None:
    ids = filled(dynamics, 2 * MANY)
    dynamics.purse = Purse(most=MANY + 20)
    crm = dynamics.connect()
    outcomes = await crm.write([write(id_) for id_ in ids])

    assert {End.DONE, End.AGAIN} == {one.end for one in outcomes}
    assert {"Told"} == {
        dynamics.row(id_)["jobtitle"] for id_, one in zip(ids, outcomes, strict=True) if one.end is End.DONE
    }
    with pytest.raises(BudgetSpent):
        await crm.write([write(id_) for id_ in ids])


async def test_people_are_made_with_what_lists_of_them_show(dynamics: World) -> None:
    crm = dynamics.connect()
    outcomes = await crm.create(
        [
            NewPerson("contact", "ada@example.com", "Ada King Lovelace", {"donotbulkemail": True}),
            NewPerson("lead", "bob@example.com", None, {"jobtitle": "Baker"}),
            NewPerson("contact", "eve@example.com", "Eve", {"nothing": 1}),
        ]
    )
    [ada, bob, eve] = outcomes
    assert [End.DONE, End.DONE, End.REFUSED] == [one.end for one in outcomes]
    assert ada.id is not None
    assert bob.id is not None
    contact, lead = dynamics.row(ada.id), dynamics.row(bob.id, "lead")

    assert ("Ada King", "Lovelace", True) == (contact["firstname"], contact["lastname"], contact["donotbulkemail"])
    assert ("bob", "bob@example.com", "Baker") == (lead["lastname"], lead["subject"], lead["jobtitle"])
    assert (("nothing",), {"donotbulkemail": True}) == (eve.fields, ada.kept)


async def test_a_duplicate_rule_stops_nobody(dynamics: World) -> None:
    dynamics.crm.faults.duplicate_rule = True
    dynamics.add(emailaddress1="ada@example.com")

    [outcome] = await dynamics.connect().create([NewPerson("contact", "ada@example.com", None, {})])
    assert End.DONE is outcome.end


async def test_where_there_are_no_leads_none_is_made_or_written(dynamics: World) -> None:
    dynamics.crm.faults.no_leads = True
    crm = dynamics.connect()

    assert [End.REFUSED] == [one.end for one in await crm.create([NewPerson("lead", "a@example.com", None, {})])]
    assert [End.GONE] == [one.end for one in await crm.write([write(NOBODY, "lead")])]


async def test_what_a_refusal_says_holds_nobodys_data(dynamics: World) -> None:
    id_ = dynamics.add()
    name = dynamics.column("new_Small", "Integer", fields={"MinValue": 0, "MaxValue": 10})
    outcomes = await dynamics.connect().write([write(id_, jobtitle="Secret" * 30), write(id_, **{name: 4_711})])
    said = orjson.dumps([[one.code, one.reason] for one in outcomes]).decode()

    assert [(End.REFUSED, ("jobtitle",)), (End.REFUSED, (name,))] == [(one.end, one.fields) for one in outcomes]
    assert [] == [secret for secret in ("Secret", "4711") if secret in said]
    assert "outside the valid range" in said


OPTIONS = {100_000_000: "Cold", 100_000_001: "Warm", 7: "Hot, very"}
VALUES: dict[Kind, st.SearchStrategy[Value]] = {
    Kind.TEXT: st.text(min_size=1),
    Kind.NUMBER: st.integers(-(2**31), 2**31) | st.floats(allow_nan=False, allow_infinity=False),
    Kind.BOOLEAN: st.booleans(),
    Kind.INSTANT: st.datetimes(timezones=st.just(UTC)).map(stamp),
    Kind.DAY: st.dates().map(str),
    Kind.CHOICE: st.sampled_from([*OPTIONS.values()]),
    Kind.CHOICES: st.lists(st.sampled_from([*OPTIONS.values()]), unique=True, min_size=1).map(sorted),
}


@given(st.data(), st.sampled_from([*VALUES]))
@settings(deadline=None, max_examples=200, derandomize=True, database=None)
def test_what_is_told_and_read_again_is_the_same(data: st.DataObject, kind: Kind) -> None:
    value = data.draw(VALUES[kind] | st.none())
    raw = orjson.loads(orjson.dumps(tell(kind, value, OPTIONS)))

    assert value == read(kind, raw, OPTIONS)


@given(
    st.sampled_from([*VALUES]),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text()),
)
@settings(deadline=None, max_examples=200, derandomize=True, database=None)
@example(Kind.NUMBER, 1e300)
def test_a_value_that_does_not_fit_is_unfit_and_nothing_worse(kind: Kind, value: Value) -> None:
    with contextlib.suppress(Unfit):
        orjson.dumps(tell(kind, value, OPTIONS, is_whole=True), option=orjson.OPT_PASSTHROUGH_DATETIME)
