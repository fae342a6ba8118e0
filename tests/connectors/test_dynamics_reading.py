"""Contacts and leads read from Dynamics: tracked changes and what comes when they are lost, merges, closed leads."""

from urllib.parse import unquote

import pytest

from app.connectors.dynamics.walking import Walk
from app.connectors.faults import CursorLost
from app.connectors.shapes import Key, Record, Write
from app.sandbox.people import people
from tests.connectors.dynamics_world import World, look

TRACK = "odata.track-changes"


def by_id(records: list[Record]) -> dict[str, Record]:
    return {one.key.id: one for one in records}


async def test_changes_come_by_the_crms_own_tracking_and_deletions_with_them(dynamics: World) -> None:
    crm, ids = dynamics.connect(), [dynamics.add() for _ in range(3)]
    _, cursor = await look(crm, "contact", None, ["jobtitle"])
    dynamics.change(ids[0], jobtitle="Countess")
    dynamics.do("delete", id=ids[1])
    dynamics.do("delete", id=dynamics.add())  # made and deleted between two looks
    dynamics.front.calls.clear()
    records, cursor = await look(crm, "contact", cursor, ["jobtitle"])

    assert {"jobtitle": "Countess"} == by_id(records)[ids[0]].values
    assert [Key("contact", ids[1])] == [one.key for one in records if one.is_gone][:1]
    assert 3 == len(records)
    assert 1 == len(dynamics.front.calls)
    assert ([], True) == ((await look(crm, "contact", cursor, ["jobtitle"]))[0], "filter" not in cursor)


async def test_links_are_followed_just_as_they_came(dynamics: World) -> None:
    for _ in range(5):
        dynamics.add()
    dynamics.crm.faults.page_rows = 2
    crm = dynamics.connect()
    page = await crm.changes("contact", None, ["emailaddress1"])
    await crm.changes("contact", page.cursor, ["emailaddress1"])
    call = dynamics.front.calls[-1]

    # Escaped twice on the inside: what is escaped anew is refused.
    assert "%253ccookie%2520page" in call.target
    assert "istracking=%22True%22" in call.target
    assert "odata.maxpagesize=2000" == call.headers["prefer"]
    assert "$filter" not in unquote(call.target)


@pytest.mark.parametrize("status", [400, 404, 410, 412, 500])
async def test_a_link_that_has_expired_is_lost_whatever_its_status(dynamics: World, status: int) -> None:
    crm, id_ = dynamics.connect(), dynamics.add()
    _, cursor = await look(crm, "contact", None)
    dynamics.crm.faults.expired_status = status
    dynamics.later(days=8)
    with pytest.raises(CursorLost):
        await crm.changes("contact", cursor, ["emailaddress1"])

    records, cursor = await look(crm, "contact", None)
    assert [id_] == [one.key.id for one in records]
    assert [] == (await look(crm, "contact", cursor))[0]


async def test_another_column_is_read_of_everybody(dynamics: World) -> None:
    crm, ids = dynamics.connect(), [dynamics.add(jobtitle="Countess") for _ in range(2)]
    _, cursor = await look(crm, "contact", None)
    records, cursor = await look(crm, "contact", cursor, ["emailaddress1", "jobtitle"])
    assert dict.fromkeys(ids, "Countess") == {one.key.id: one.values["jobtitle"] for one in records}

    # Fewer are read by the same link.
    dynamics.change(ids[0], jobtitle="Duchess")
    records, _ = await look(crm, "contact", cursor, ["jobtitle"])
    assert [{"jobtitle": "Duchess"}] == [one.values for one in records]


async def test_a_new_column_may_end_the_link(dynamics: World) -> None:
    dynamics.crm.faults.columns_end_deltas = True
    crm, _ = dynamics.connect(), dynamics.add()
    _, cursor = await look(crm, "contact", None)
    dynamics.column("new_Other", "Integer")
    with pytest.raises(CursorLost):
        await crm.changes("contact", cursor, ["emailaddress1"])


async def test_a_column_that_has_gone_is_left_out(dynamics: World) -> None:
    name = dynamics.column("new_Topic", "String")
    crm, id_ = dynamics.connect(), dynamics.add(jobtitle="Countess", **{name: "Art"})
    _, cursor = await look(crm, "contact", None, ["jobtitle", name])
    dynamics.do("remove_column", object="contact", name=name)

    [record] = await crm.fetch("contact", [id_], ["jobtitle", name])
    assert {"jobtitle": "Countess"} == record.values
    assert [{"jobtitle": "Countess"}] == [
        one.values for one in (await crm.everybody("contact", None, ["jobtitle", name])).records
    ]
    with pytest.raises(CursorLost):
        await crm.changes("contact", cursor, ["jobtitle", name])


# --- without tracking -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("switch", [{"untracked": ["contact"]}, {"own_rows_only": True}])
async def test_a_table_that_is_not_tracked_is_walked_by_time(dynamics: World, switch: dict[str, object]) -> None:
    for name, value in switch.items():
        setattr(dynamics.crm.faults, name, value)
    crm, ids = dynamics.connect(), [dynamics.add() for _ in range(2)]
    dynamics.later(hours=1)
    _, cursor = await look(crm, "contact", None, ["jobtitle"])
    dynamics.later(hours=1)
    dynamics.do("late", id=ids[0], fields={"jobtitle": "Late"}, seconds=200)
    records, cursor = await look(crm, "contact", cursor, ["jobtitle"])
    assert {ids[0]: "Late"} == {one.key.id: one.values["jobtitle"] for one in records}

    dynamics.later(hours=1)
    tracked = sum(TRACK in one.headers.get("prefer", "") for one in dynamics.front.calls)
    records, cursor = await look(crm, "contact", cursor, ["jobtitle"])
    assert (1, []) == (tracked, [one for one in records if one.key.id != ids[0]])


async def test_tracking_that_was_turned_on_is_found_within_a_day(dynamics: World) -> None:
    dynamics.crm.faults.untracked = ["contact"]
    crm, id_ = dynamics.connect(), dynamics.add()
    _, cursor = await look(crm, "contact", None)
    dynamics.crm.faults.untracked = []
    dynamics.later(hours=22)
    _, cursor = await look(crm, "contact", cursor)
    dynamics.later(hours=1)
    assert [] == (await look(crm, "contact", cursor))[0]
    dynamics.later(hours=2)
    records, cursor = await look(crm, "contact", cursor)
    assert [id_] == [one.key.id for one in records]

    dynamics.do("delete", id=id_)
    assert [True] == [one.is_gone for one in (await look(crm, "contact", cursor))[0]]


async def test_a_walk_whose_link_is_lost_goes_on_by_time(dynamics: World) -> None:
    dynamics.crm.faults.untracked, dynamics.crm.faults.page_rows = ["contact"], 2
    ids = []
    for _ in range(6):
        ids.append(dynamics.add())
        dynamics.crm.clock.move(dynamics.passed + (dynamics.passed.resolution * 2_000_000))
    crm = dynamics.connect()
    page = await crm.changes("contact", None, [])
    dynamics.crm.faults.lose_cookies = True
    again = await crm.changes("contact", page.cursor, [])
    dynamics.crm.faults.lose_cookies = False
    records, _ = await look(crm, "contact", again.cursor, [])

    met = [one.key.id for one in (*page.records, *again.records, *records)]
    assert ids == sorted(set(met), key=ids.index)
    assert len(met) <= len(ids) + 2


def test_a_place_that_is_none_is_lost() -> None:
    for nonsense in (
        {"at": 1},
        {"since": "yesterday"},
        {"link": "https://evil.example"},
        {"link": "//evil"},
        {"link": 7},
    ):
        with pytest.raises(CursorLost):
            Walk.read(nonsense)


# --- what became of somebody ------------------------------------------------------------------------------------------


async def test_whoever_was_deactivated_is_still_there(dynamics: World) -> None:
    crm, id_ = dynamics.connect(), dynamics.add(donotbulkemail=True)
    dynamics.change(id_, statecode=1, statuscode=2)
    [record] = await crm.fetch("contact", [id_], ["donotbulkemail"])

    assert (False, {"donotbulkemail": True}) == (record.is_gone, record.values)
    assert [id_] == [one.key.id for one in (await crm.everybody("contact", None, [])).records]


async def test_a_merge_is_a_change_that_names_the_winner(dynamics: World) -> None:
    for of in ("contact", "lead"):
        crm, (loser, winner) = dynamics.connect(), (dynamics.add(of, emailaddress1="ada@example.com") for _ in range(2))
        _, cursor = await look(crm, of, None)
        dynamics.do("merge", object=of, id=winner, loser=loser)
        records = by_id((await look(crm, of, cursor))[0])

        assert (True, Key(of, winner), (), {}) == (
            records[loser].is_gone, records[loser].successor, records[loser].addresses, records[loser].values,
        )  # fmt: skip
        assert [winner] == [one.key.id for one in (await crm.everybody(of, None, [])).records]
        assert [winner] == [one.key.id for one in await crm.find(of, ["ADA@example.com"], [])]


async def test_a_qualified_lead_is_gone_and_its_contact_takes_its_place(dynamics: World) -> None:
    crm = dynamics.connect()
    leads = [dynamics.add("lead", emailaddress1=f"{n}@example.com") for n in range(3)]
    _, cursor = await look(crm, "lead", None)
    contact = dynamics.do("qualify", id=leads[0])
    other = dynamics.add()
    # Qualified to somebody who was there already, and given up.
    dynamics.change(leads[1], **{"parentcontactid@odata.bind": f"/contacts({other})"}, statecode=1, statuscode=3)
    dynamics.change(leads[2], statecode=2, statuscode=4)
    records = by_id((await look(crm, "lead", cursor))[0])

    assert [(True, Key("contact", contact)), (True, Key("contact", other)), (False, None)] == [
        (records[id_].is_gone, records[id_].successor) for id_ in leads
    ]
    assert [leads[2]] == [one.key.id for one in (await crm.everybody("lead", None, [])).records]
    assert Key("contact", contact) == (await crm.fetch("lead", [leads[0]], []))[0].successor


async def test_without_sales_there_are_no_leads_and_no_faults(dynamics: World) -> None:
    dynamics.crm.faults.no_leads = True
    crm, id_ = dynamics.connect(), dynamics.add()
    assert ("contact", "lead") == tuple(crm.objects)
    page = await crm.changes("lead", None, ["emailaddress1"])
    again = await crm.changes("lead", page.cursor, ["emailaddress1"])
    everybody = await crm.everybody("lead", None, [])

    assert [([], True)] * 3 == [(list(one.records), one.is_last) for one in (page, again, everybody)]
    assert [] == [*await crm.describe("lead"), *await crm.find("lead", ["a@example.com"], [])]
    assert [] == list(crm.defaults("lead", []))
    assert [True] == [one.is_gone for one in await crm.fetch("lead", [id_], [])]
    assert {"no_leads"} == {one.code for one in (await crm.check()).findings}
    assert ("contact",) == tuple(dynamics.connect(objects=["contact"]).objects)


# --- what is read -----------------------------------------------------------------------------------------------------


async def test_out_is_who_may_not_be_mailed_in_either_way(dynamics: World) -> None:
    crm, together = dynamics.connect(opt_out="both"), "donotbulkemail+donotemail"
    ids = [
        dynamics.add(donotbulkemail=bulk, donotemail=any_, followemail=False)
        for bulk, any_ in ((False, False), (True, False), (False, True), (True, True))
    ]
    [pair] = [one for one in crm.defaults("contact", await crm.describe("contact")) if one.here == "opted_out"]
    records = by_id((await look(crm, "contact", None, [together]))[0])

    assert (together, "both") == (pair.there, pair.way)
    assert [False, True, True, True] == [records[id_].values[together] for id_ in ids]


@pytest.mark.parametrize("chosen", ["donotbulkemail", "donotemail"])
async def test_the_opt_out_is_the_column_that_was_chosen(dynamics: World, chosen: str) -> None:
    crm = dynamics.connect(opt_out=chosen)
    pairs = {one.here: one.there for one in crm.defaults("lead", await crm.describe("lead"))}

    assert chosen == pairs["opted_out"]


async def test_choices_go_by_their_labels(dynamics: World) -> None:
    crm, id_ = dynamics.connect(), dynamics.add("lead", leadqualitycode=2, leadsourcecode=8)
    [record] = await crm.fetch("lead", [id_], ["leadqualitycode", "leadsourcecode", "statuscode", "jobtitle"])
    known = {one.name: one for one in await crm.describe("lead")}

    assert {"leadqualitycode": "Warm", "leadsourcecode": "Web", "statuscode": "New", "jobtitle": None} == record.values
    assert ("Hot", "Warm", "Cold") == known["leadqualitycode"].options
    assert (True, False) == (known["leadqualitycode"].is_writable, known["statuscode"].is_writable)


async def test_a_plugin_that_runs_as_another_is_not_us(dynamics: World) -> None:
    crm, id_ = dynamics.connect(), dynamics.add()
    _, cursor = await look(crm, "contact", None, ["jobtitle", "department"])
    for is_us in (True, False):
        dynamics.crm.faults.plugin_sets = {"department": f"By {is_us}"}
        dynamics.crm.faults.plugin_is_us = is_us
        await crm.write([Write(Key("contact", id_), {"jobtitle": f"Told {is_us}"})])
        records, cursor = await look(crm, "contact", cursor, ["jobtitle", "department"])
        assert [(is_us, f"By {is_us}")] == [(one.by_us, one.values["department"]) for one in records]


async def test_a_column_under_security_is_no_column_unless_we_may(dynamics: World) -> None:
    dynamics.crm.faults.secured_columns = ["contact.donotemail"]
    crm = dynamics.connect(opt_out="both")
    found = {one.code for one in (await crm.check()).findings}
    names = {one.name for one in await crm.describe("contact")}

    assert (True, True, False) == ("field_hidden" in found, "donotbulkemail" in names, "donotemail" in names)
    assert "opted_out" not in {one.here for one in crm.defaults("contact", await crm.describe("contact"))}
    assert "donotemail" in {one.name for one in await dynamics.connect(secured=True).describe("contact")}


async def test_nobodys_address_is_in_an_address_and_many_are_asked_for_at_once(dynamics: World) -> None:
    ada = dynamics.add(emailaddress1="x@example.com", emailaddress3="o'brien+news@example.com")
    crm = dynamics.connect()
    await crm.describe("contact")
    dynamics.front.calls.clear()
    asked = [f"nobody.{n}@example.com" for n in range(500)]
    found = await crm.find("contact", [*asked, "O'Brien+news@example.com"], [])
    fetched = await crm.fetch("contact", [ada, *(f"00000000-0000-4000-8000-{n:012}" for n in range(999))], [])

    assert [ada] == [one.key.id for one in found]
    assert (1_000, 1) == (len(fetched), sum(not one.is_gone for one in fetched))
    assert 2 == len(dynamics.front.calls)
    assert not any("example" in one.target for one in dynamics.front.calls)


async def test_a_crowd_of_both_kinds_is_read(dynamics: World) -> None:
    dynamics.crm.fill(people(400))
    crm = dynamics.connect()
    found = [await look(crm, object_, None) for object_ in crm.objects]

    assert [300, 100] == [len(records) for records, _ in found]
