"""Writing HubSpot's contacts: batches that one spoils, opt-outs that hang on addresses, and people who are new."""

import pytest

from app.connectors.faults import Later, Refused
from app.connectors.shapes import Connector, End, NewPerson, Write
from tests.connectors.hubspot_account import CONTACT, CONTACTS, OPT_OUT, READ, UPDATE, Account, Json, of, write

ALL = "unsubscribe-all"
CREATE = f"POST {CONTACTS}/batch/create"


async def ends(connector: Connector, *writes: Write) -> list[End]:
    return [one.end for one in await connector.write(writes)]


# --- batches ----------------------------------------------------------------------------------------------------------
async def test_a_hundred_are_written_in_a_call(hubspot: Account) -> None:
    score = await hubspot.field("score", "number", "number")
    people = [await hubspot.contact(f"{n}@example.com") for n in range(205)]
    connector = hubspot.connect()
    await connector.describe(CONTACT)

    outcomes = await connector.write([of(one, **{score: n}) for n, one in enumerate(people)])

    assert {End.DONE} == {one.end for one in outcomes}
    assert [str(n) for n in range(205)] == [hubspot.row(one).values[score] for one in people]
    assert [100, 100, 5] == [len(one["inputs"]) for one in hubspot.front.bodies(UPDATE)]


async def test_one_locked_contact_keeps_no_other_waiting(hubspot: Account) -> None:
    people = [await hubspot.contact(f"{n}@example.com") for n in range(40)]
    hubspot.faults.locked_ids = [people[17]]

    found = await ends(hubspot.connect(), *(of(one, firstname="New") for one in people))

    assert [End.AGAIN if at == 17 else End.DONE for at in range(40)] == found


async def test_where_all_are_locked_they_are_not_tried_one_by_one(hubspot: Account) -> None:
    people = [await hubspot.contact(f"{n}@example.com") for n in range(100)]
    hubspot.faults.locked_ids = people

    assert {End.AGAIN} == set(await ends(hubspot.connect(), *(of(one, firstname="New") for one in people)))
    assert len(hubspot.front.bodies(UPDATE)) < 60


@pytest.mark.parametrize("partial", [False, True])
async def test_an_address_of_somebody_else_is_refused_alone(hubspot: Account, *, partial: bool) -> None:
    hubspot.faults.partial_conflicts = partial
    people = [await hubspot.contact(f"{n}@example.com") for n in range(5)]
    writes = [of(one, firstname="New") for one in people]
    writes[2] = of(people[2], email="4@example.com", firstname="New")

    outcomes = await hubspot.connect().write(writes)

    assert [End.DONE, End.DONE, End.REFUSED, End.DONE, End.DONE] == [one.end for one in outcomes]
    assert ("email",) == outcomes[2].fields
    assert "4@example.com" not in f"{outcomes[2].code} {outcomes[2].reason}"


async def test_a_property_that_somebody_deleted_is_named(hubspot: Account) -> None:
    score = await hubspot.field("score", "number", "number")
    people = [await hubspot.contact(f"{n}@example.com") for n in range(4)]
    connector = hubspot.connect()
    await connector.describe(CONTACT)
    await hubspot.edit("delete", "property", score)

    outcomes = await connector.write(
        [of(one, firstname="New", **({score: 5} if at % 2 else {})) for at, one in enumerate(people)]
    )

    assert [End.DONE, End.REFUSED, End.DONE, End.REFUSED] == [one.end for one in outcomes]
    assert ((score,), (score,)) == (outcomes[1].fields, outcomes[3].fields)


async def test_a_property_that_is_new_is_for_later(hubspot: Account) -> None:
    id_ = await hubspot.contact("ann@example.com")
    hubspot.faults.property_lag_calls = 2
    score = await hubspot.field("score", "number", "number")
    connector = hubspot.connect()

    assert [End.AGAIN, End.AGAIN, End.DONE] == [(await write(connector, id_, **{score: 1})).end for _ in range(3)]


async def test_a_contact_that_is_named_twice_gets_both(hubspot: Account) -> None:
    id_ = await hubspot.contact("ann@example.com")

    assert [End.DONE] * 2 == await ends(hubspot.connect(), of(id_, firstname="A"), of(id_, firstname="B", lastname="C"))
    assert ("B", "C") == (hubspot.row(id_).values["firstname"], hubspot.row(id_).values["lastname"])


@pytest.mark.parametrize("refused", [False, True])
async def test_who_was_merged_is_gone_also_beside_whom_they_became(hubspot: Account, *, refused: bool) -> None:
    hubspot.faults.refuse_merged_writes = refused
    loser, winner = await hubspot.contact("ann@example.com"), await hubspot.contact("bob@example.org")
    await hubspot.edit("merge", CONTACT, loser, into=winner)
    connector = hubspot.connect()

    assert [End.GONE] == await ends(connector, of(loser, firstname="A"))
    assert [End.GONE, End.DONE] == await ends(connector, of(loser, firstname="A"), of(winner, firstname="B"))
    assert [End.GONE] == await ends(connector, of(loser, **{OPT_OUT: True}))
    assert not hubspot.is_out(winner)


async def test_a_right_that_is_missing_refuses_the_whole_call(hubspot: Account) -> None:
    hubspot.faults.withheld_scopes = ["crm.objects.contacts.write"]

    with pytest.raises(Refused, match=r"crm\.objects\.contacts\.write"):
        await write(hubspot.connect(), await hubspot.contact("ann@example.com"), firstname="New")


# --- opting out, and in -----------------------------------------------------------------------------------------------
async def test_an_opt_out_is_said_for_the_address_before_anything_else(hubspot: Account) -> None:
    id_, other = await hubspot.contact("ann+x@example.com"), await hubspot.contact("bob@example.org")

    outcome, plain = await hubspot.connect().write(
        [of(id_, **{OPT_OUT: True}, firstname="New"), of(other, firstname="B")]
    )

    assert (End.DONE, {OPT_OUT: True, "firstname": "New"}) == (outcome.end, outcome.kept)
    assert (End.DONE, {"firstname": "B"}) == (plain.end, plain.kept)
    assert (True, False) == (hubspot.is_out(id_), hubspot.is_out(other))
    calls = [call for call, _ in hubspot.front.calls]
    assert calls.index(hubspot.front.named(ALL)[0]) < calls.index(UPDATE)


async def test_who_is_out_already_is_not_told_again(hubspot: Account) -> None:
    id_, other = await hubspot.contact("ann@example.com"), await hubspot.contact("bob@example.org")
    await hubspot.edit("opt_out", CONTACT, id_)

    outcomes = await hubspot.connect().write([of(id_, **{OPT_OUT: True}), of(other, **{OPT_OUT: False})])

    assert [{OPT_OUT: True}, {OPT_OUT: False}] == [one.kept for one in outcomes]
    assert [] == hubspot.front.named("communication-preferences")


async def test_without_a_call_for_all_each_type_is_unsubscribed_and_what_shows_is_said(hubspot: Account) -> None:
    id_, other = await hubspot.contact("ann@example.com"), await hubspot.contact("bob@example.org")
    hubspot.front.answers = lambda call, _: (404, {"status": "error", "message": "Not Found"}) if ALL in call else None

    outcomes = await hubspot.connect().write([of(one, **{OPT_OUT: True}) for one in (id_, other)])

    assert [(End.DONE, {OPT_OUT: False})] * 2 == [(one.end, one.kept) for one in outcomes]
    assert ["true", "true"] == [hubspot.row(id_).values[f"{OPT_OUT}_{topic}"] for topic in (1, 2)]
    assert 4 == len(hubspot.front.named("v3/unsubscribe"))


async def test_an_opt_in_that_hubspot_refuses_is_named_and_all_else_goes_on(hubspot: Account) -> None:
    id_, other = await hubspot.contact("ann@example.com"), await hubspot.contact("bob@example.org")
    await hubspot.edit("opt_out", CONTACT, id_)

    refused, done = await hubspot.connect().write(
        [of(id_, **{OPT_OUT: False}, firstname="New"), of(other, **{OPT_OUT: False}, firstname="New")]
    )

    assert (End.REFUSED, (OPT_OUT,), "VALIDATION_ERROR") == (refused.end, refused.fields, refused.code)
    assert (End.DONE, {OPT_OUT: False, "firstname": "New"}) == (done.end, done.kept)
    assert hubspot.is_out(id_)
    assert "firstname" not in hubspot.row(id_).values
    assert [End.DONE] == await ends(hubspot.connect(), of(id_, firstname="New"))


async def test_an_opt_in_that_hubspot_allows_is_done(hubspot: Account) -> None:
    hubspot.faults.resubscribe_allowed = True
    id_ = await hubspot.contact("ann@example.com")
    await hubspot.edit("opt_out", CONTACT, id_)

    assert {OPT_OUT: False} == (await write(hubspot.connect(), id_, **{OPT_OUT: False})).kept
    assert not hubspot.is_out(id_)


async def test_an_opt_out_that_does_not_show_yet_is_not_taken_for_one(hubspot: Account) -> None:
    """Else the next look would take it for an opt-in."""
    id_ = await hubspot.contact("ann@example.com")
    hubspot.front.answers = lambda call, _: (200, {"status": "COMPLETE", "results": []}) if ALL in call else None

    outcome = await write(hubspot.connect(), id_, **{OPT_OUT: True})

    assert (End.DONE, {OPT_OUT: False}) == (outcome.end, outcome.kept)


async def test_a_flag_that_cannot_be_looked_at_is_to_be_written_again(hubspot: Account) -> None:
    id_, reads = await hubspot.contact("ann@example.com"), list[str]()
    connector = hubspot.connect()
    await connector.describe(CONTACT)

    def fails(call: str, _: Json) -> tuple[int, Json] | None:
        reads.extend([call] if call == READ else [])
        return (500, {}) if len(reads) > 1 else None

    hubspot.front.answers = fails
    with pytest.raises(Later):
        await write(connector, id_, **{OPT_OUT: True}, firstname="New")
    assert hubspot.is_out(id_)


async def test_an_opt_out_without_the_right_to_say_so_is_named(hubspot: Account) -> None:
    hubspot.faults.withheld_scopes = ["communication_preferences.write", "communication_preferences.read_write"]

    outcome = await write(hubspot.connect(), await hubspot.contact("ann@example.com"), **{OPT_OUT: True})

    assert (End.REFUSED, "missing_scope", (OPT_OUT,)) == (outcome.end, outcome.code, outcome.fields)


async def test_who_has_no_address_cannot_opt_out(hubspot: Account) -> None:
    connector, id_ = hubspot.connect(), await hubspot.contact(firstname="Ann")

    out, back = await write(connector, id_, **{OPT_OUT: True}), await write(connector, id_, **{OPT_OUT: False})

    assert (End.REFUSED, (OPT_OUT,), End.DONE) == (out.end, out.fields, back.end)


# --- people who are new -----------------------------------------------------------------------------------------------
async def test_whoever_may_not_be_mailed_has_opted_out_before_they_are_made(hubspot: Account) -> None:
    people = [
        NewPerson(CONTACT, "Ann@Example.com", "Ann Maria Lee", {OPT_OUT: True}),
        NewPerson(CONTACT, "bob@example.org", "Bob", {}),
    ]

    ann, bob = await hubspot.connect().create(people)

    assert (End.DONE, {OPT_OUT: True}) == (ann.end, {OPT_OUT: (ann.kept or {})[OPT_OUT]})
    assert ("Ann Maria", "Lee", True) == (
        hubspot.row(str(ann.id)).values["firstname"], hubspot.row(str(ann.id)).values["lastname"],
        hubspot.is_out(str(ann.id)),
    )  # fmt: skip
    assert ("Bob", None) == (
        hubspot.row(str(bob.id)).values["firstname"],
        hubspot.row(str(bob.id)).values.get("lastname"),
    )
    calls = [call for call, _ in hubspot.front.calls]
    assert calls.index(hubspot.front.named(ALL)[0]) < calls.index(CREATE)


async def test_whose_address_somebody_has_is_for_later_and_the_others_are_made(hubspot: Account) -> None:
    await hubspot.contact("ann@example.com")
    addresses = ("new@example.com", "ann@example.com", "NEW@example.com", "bob@example.org", "no address")

    outcomes = await hubspot.connect().create([NewPerson(CONTACT, one, None, {}) for one in addresses])

    assert [End.DONE, End.AGAIN, End.AGAIN, End.DONE, End.REFUSED] == [one.end for one in outcomes]
    assert 3 == len(hubspot.crm.portal.tables["contacts"].live)
    assert [] == [said for one in outcomes for said in addresses if said in f"{one.code} {one.reason}"]


# --- bounces ----------------------------------------------------------------------------------------------------------
async def test_a_bounce_of_hubspots_own_mail_is_one_and_stays(hubspot: Account) -> None:
    connector, id_ = hubspot.connect(), await hubspot.contact("ann@example.com")
    pairs = [one for one in connector.defaults(CONTACT, await connector.describe(CONTACT)) if one.here == "bounced"]
    [made] = await connector.ensure([pairs[0].there])  # type: ignore[list-item] # it is one that is wanted
    assert made.field is not None
    bounced = made.field.name

    async def seen() -> Json:
        [record] = await connector.fetch(CONTACT, [id_], [bounced])
        return record.values[bounced]

    assert None is await seen()
    await hubspot.edit("bounce", CONTACT, id_)
    assert True is await seen()
    assert {bounced: True} == (await write(connector, id_, **{bounced: False})).kept
    await hubspot.edit("unbounce", CONTACT, id_)
    assert False is await seen()
    assert {bounced: False} == (await write(connector, id_, **{bounced: False})).kept
