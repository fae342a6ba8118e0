"""Writing and making Copper's people and leads, ten to a call, of which none may harm another: against the stand-in."""

import pytest

from app.connectors.faults import Unreachable
from app.connectors.shapes import Connector, End, Key, NewPerson, Outcome, Value, Values, Write
from app.sandbox import controls
from tests.connectors.copper_account import LEAD, PERSON, Account, Json, fetched, item, number

PUT, MANY = "PUT /people/1", "POST /people/bulk_update"


async def write(connector: Connector, id_: str, values: Values, of: str = PERSON) -> Outcome:
    [outcome] = await connector.write([Write(Key(of, id_), values)])
    return outcome


async def crowd(copper: Account, count: int) -> list[str]:
    return [await copper.person(f"{n}@example.com") for n in range(count)]


# --- one --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type_", "value", "raw"),
    [("Float", 42.5, 42.5), ("Float", 73, 73), ("Percentage", 12, 12), ("Currency", 2.5, 2.5), ("Checkbox", True, True),
     ("Checkbox", False, False), ("Checkbox", None, None), ("String", "warm", "warm"), ("Text", "a" * 300, "a" * 300),
     ("URL", "https://example.com", "https://example.com"), ("Date", "2026-10-01", "10/01/2026"),
     ("Dropdown", "No", ["No"]), ("Dropdown", "no", ["No"]), ("MultiSelect", ["No", "Yes"], ["No", "Yes"]),
     ("MultiSelect", [], None), ("Float", None, None), ("Dropdown", None, None)],
)  # fmt: skip
async def test_a_custom_field_is_written_by_its_type(copper: Account, type_: str, value: Value, raw: Json) -> None:
    options = ("Yes", "No") if type_ in ("Dropdown", "MultiSelect") else ()
    field, other = await copper.field("Field", type_, *options), await copper.field("Other", "Float")
    id_ = await copper.person("ann@example.com", custom_fields=[item(other, 1)], title="CTO")

    outcome = await write(copper.connect(), id_, {field: value})

    if isinstance(raw, list):
        raw = [copper.option(field, one) for one in raw] if type_ == "MultiSelect" else copper.option(field, raw[0])
    assert [{"custom_fields": [item(field, raw)]}] == copper.front.bodies(PUT)
    assert ({number(other): 1}, "CTO") == (
        {name: kept for name, kept in copper.shown(id_).custom.items() if name == number(other)},
        copper.shown(id_).title,
    )
    kept = "No" if value == "no" else None if value == [] else value
    assert (End.DONE, {field: kept}) == (outcome.end, outcome.kept)


async def test_only_what_is_written_is_sent(copper: Account) -> None:
    id_ = await copper.person("ann@example.com", tags=["old"], title="CTO")
    connector = copper.connect()

    outcome = await write(connector, id_, {"name": "Bob", "tags": ["b", "a"], "contact_type": "Current Customer"})

    assert [{"name": "Bob", "tags": ["b", "a"], "contact_type_id": 451_491}] == copper.front.bodies(PUT)
    assert {"name": "Bob", "tags": ["a", "b"], "contact_type": "Current Customer"} == outcome.kept
    assert "CTO" == copper.shown(id_).title
    await write(connector, id_, {"tags": None, "title": None})
    assert ((), None) == (copper.shown(id_).tags, copper.shown(id_).title)


@pytest.mark.parametrize(
    ("name", "value"),
    [("name", None), ("email", "bob@example.com"), ("contact_type", "Nobody"), ("cf_1", 1), ("no_such_field", 1),
     ("status", "New")],
)  # fmt: skip
async def test_what_cannot_be_written_is_refused_by_name(copper: Account, name: str, value: Value) -> None:
    id_ = await copper.person("ann@example.com")
    outcome = await write(copper.connect(), id_, {name: value})

    assert (End.REFUSED, (name,), []) == (outcome.end, outcome.fields, copper.front.named("PUT"))


async def test_a_refusal_names_its_field_and_quotes_nobody(copper: Account) -> None:
    fit = await copper.field("Fit", "Float")
    id_ = await copper.person("ann@example.com")
    said = f"Title: is bad: ann@example.com\nCustom Fields: {number(fit)}: Invalid value"
    copper.front.answers = lambda call, _: (422, {"success": False, "message": said}) if call == PUT else None

    outcome = await write(copper.connect(), id_, {"title": "a", fit: 1})

    assert (End.REFUSED, ("title", fit)) == (outcome.end, outcome.fields)
    assert "Title: is bad; Custom Fields: …" == outcome.reason


async def test_options_whose_ids_changed_are_written_by_their_labels(copper: Account) -> None:
    mood = await copper.field("Mood", "Dropdown", "Cold", "Hot")
    people = await crowd(copper, 3)
    connector = copper.connect()
    assert End.DONE is (await write(connector, people[0], {mood: "Hot"})).end
    await copper.edit("change", "field", number(mood), options=[{"name": "Warm"}, {"name": "Hot"}])

    outcomes = await connector.write([Write(Key(PERSON, id_), {mood: "Hot"}) for id_ in people])

    assert [(End.DONE, {mood: "Hot"})] * 3 == [(one.end, one.kept) for one in outcomes]


@pytest.mark.parametrize("switch", [None, "converted_leads_gone", "converted_leads_locked"])
async def test_a_lead_that_was_converted_is_gone(copper: Account, switch: str | None) -> None:
    leads = [await copper.lead(f"{n}@example.com") for n in range(3)]
    await copper.edit("convert", LEAD, leads[1])
    if switch is not None:
        controls.turn(copper.faults, {switch: True})
    connector = copper.connect()

    assert End.GONE is (await write(connector, leads[1], {"title": "CTO"}, LEAD)).end
    outcomes = await connector.write([Write(Key(LEAD, id_), {"title": "CTO"}) for id_ in leads])
    assert [End.DONE, End.GONE, End.DONE] == [one.end for one in outcomes]


# --- several ----------------------------------------------------------------------------------------------------------


async def test_ten_go_in_a_call_and_each_object_by_its_own(copper: Account) -> None:
    people = await crowd(copper, 12)
    leads = [await copper.lead(f"{n}@example.com") for n in range(2)]
    writes = [Write(Key(PERSON, id_), {"title": id_}) for id_ in people]
    writes[5:5] = [Write(Key(LEAD, id_), {"title": "lead"}) for id_ in leads]

    outcomes = await copper.connect().write(writes)

    assert [(End.DONE, one.key.id) for one in writes] == [(one.end, one.id) for one in outcomes]
    assert ({10: 1, 2: 1}, 1) == (
        {len(body["people"]): 1 for body in copper.front.bodies(MANY)},
        len(copper.front.bodies("POST /leads/bulk_update")),
    )
    assert [*people] == [copper.shown(id_).title for id_ in people]


@pytest.mark.parametrize("vague", [False, True])
async def test_of_several_each_has_its_own_outcome(copper: Account, vague: bool) -> None:
    copper.faults.vague_bulk_errors = vague
    people = await crowd(copper, 5)
    await copper.edit("delete", PERSON, people[1])
    fit = await copper.field("Fit", "Float")
    copper.crm.account.people.rows[int(people[3])].custom[number(fit)] = 5.0
    connector = copper.connect()
    await connector.describe(PERSON)
    # Somebody makes it text meanwhile, which the connector does not know yet.
    copper.crm.account.definitions[number(fit)].data_type = "String"
    writes = [Write(Key(PERSON, id_), {"title": "CTO"}) for id_ in people]
    writes[3] = Write(Key(PERSON, people[3]), {fit: 7})

    outcomes = await connector.write(writes)

    assert [End.DONE, End.GONE, End.DONE, End.REFUSED, End.DONE] == [one.end for one in outcomes]
    assert (fit,) == outcomes[3].fields


@pytest.mark.parametrize("status", [403, 404, 422])
async def test_where_bulk_calls_are_refused_each_goes_alone(copper: Account, status: int) -> None:
    people = await crowd(copper, 4)
    await copper.edit("delete", PERSON, people[1])
    copper.front.answers = lambda call, _: (status, {"error": "no beta for you"}) if "bulk" in call else None
    connector = copper.connect()
    writes = [Write(Key(PERSON, id_), {"title": "CTO"}) for id_ in people]

    for _ in range(2):
        outcomes = await connector.write(writes)
        assert [End.DONE, End.GONE, End.DONE, End.DONE] == [one.end for one in outcomes]
    assert (1, 8) == (len(copper.front.named(MANY)), len(copper.front.named("PUT")))
    copper.front.answers = lambda *_: None
    copper.later(3_700)
    await connector.write(writes)
    assert 2 == len(copper.front.named(MANY))


async def test_the_rest_is_for_later_where_copper_falls_silent(copper: Account) -> None:
    people = await crowd(copper, 40)
    writes = [Write(Key(PERSON, id_), {"title": "CTO"}) for id_ in people]
    done = 0

    def busy_after_one(call: str, _: Json) -> tuple[int, Json] | None:
        nonlocal done
        done += call == MANY
        return (429, {"success": False, "status": 429, "message": "Rate limit exceeded"}) if done > 1 else None

    copper.front.answers = busy_after_one

    outcomes = await copper.connect().write(writes)

    assert [End.DONE] * 10 + [End.AGAIN] * 30 == [one.end for one in outcomes]
    assert 10 == sum(copper.shown(id_).title == "CTO" for id_ in people)


async def test_an_answer_about_others_is_no_answer(copper: Account) -> None:
    people = await crowd(copper, 2)
    writes = [Write(Key(PERSON, id_), {"title": "CTO"}) for id_ in people]
    answers: list[Json] = [[{"id": 1}], [{"id": 2}, {"id": 1}], {"people": []}, [{"id": 1}, None]]
    for answer in answers:
        copper.front.answers = lambda call, _, answer=answer: (200, answer) if call == MANY else None  # type: ignore[misc]
        with pytest.raises(Unreachable):
            await copper.connect().write(writes)


# --- making -----------------------------------------------------------------------------------------------------------


async def test_people_and_leads_are_made_with_what_copper_demands(copper: Account) -> None:
    fit = await copper.field("Fit", "Float")
    new = [NewPerson(PERSON, "ann@example.com", " Ann ", {fit: 7}), NewPerson(LEAD, "bob@example.com", None, {fit: 8})]

    outcomes = await copper.connect().create(new)

    assert [(End.DONE, {fit: 7}), (End.DONE, {fit: 8})] == [(one.end, one.kept) for one in outcomes]
    point = {"category": "work"}
    assert [
        {"name": "Ann", "custom_fields": [item(fit, 7)], "emails": [{"email": "ann@example.com", **point}]}
    ] == copper.front.bodies("POST /people")
    assert [
        {"name": "bob@example.com", "custom_fields": [item(fit, 8)], "email": {"email": "bob@example.com", **point}}
    ] == copper.front.bodies("POST /leads")


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("vague", [False, True])
async def test_an_address_that_is_taken_is_to_be_looked_for_again(copper: Account, several: bool, vague: bool) -> None:
    copper.faults.vague_bulk_errors = vague
    there = await copper.person("ann@example.com")
    new = [NewPerson(PERSON, "ann@example.com", "Ann", {})]
    new += [NewPerson(PERSON, f"{n}@example.com", None, {}) for n in range(2)] if several else []
    connector = copper.connect()

    outcomes = await connector.create(new)

    assert [End.AGAIN, End.DONE, End.DONE][: len(new)] == [one.end for one in outcomes]
    assert ("address_in_use", None) == (outcomes[0].code, outcomes[0].id)
    assert [there] == [one.key.id for one in await connector.find(PERSON, ["ann@example.com"], [])]


async def test_an_address_of_somebody_hidden_is_refused(copper: Account) -> None:
    await copper.person("ann@example.com", assignee_id=next(iter(copper.crm.account.users)))
    known = copper.crm.credentials("")
    keys = {"api_key": known["api_key_of_a_restricted_user"], "user_email": known["user_email_of_a_restricted_user"]}

    [outcome] = await copper.connect(keys=keys).create([NewPerson(PERSON, "ann@example.com", "Ann", {})])

    assert (End.REFUSED, None) == (outcome.end, outcome.id)
    assert "ann@" not in str(outcome.reason)


async def test_leads_may_share_an_address(copper: Account) -> None:
    new = [NewPerson(LEAD, "ann@example.com", "Ann", {}) for _ in range(3)]

    outcomes = await copper.connect().create(new)

    assert [End.DONE] * 3 == [one.end for one in outcomes]
    assert 3 == copper.crm.state()["records"]["leads"]


async def test_making_goes_one_by_one_where_bulk_calls_are_refused_and_is_never_repeated(copper: Account) -> None:
    copper.front.answers = lambda call, _: (404, {"error": "not_found"}) if "bulk" in call else None
    connector = copper.connect()
    await connector.create([NewPerson(PERSON, f"{n}@example.com", None, {}) for n in range(3)])
    assert 3 == len(copper.front.bodies("POST /people"))

    copper.front.answers = lambda call, _: (502, {}) if call == "POST /people" else None
    with pytest.raises(Unreachable):
        await connector.create([NewPerson(PERSON, "ann@example.com", None, {})])
    assert 4 == len(copper.front.bodies("POST /people"))


async def test_what_was_written_is_read_back_at_once(copper: Account) -> None:
    """Search may be late; a record that is read by its id is not."""
    copper.faults.search_lag_s = 60.0
    id_ = await copper.person("ann@example.com")
    connector = copper.connect()

    outcome = await write(connector, id_, {"title": "CTO"})

    record = await fetched(connector, id_, "title")
    assert ("CTO", outcome.modified_at) == (record.values["title"], record.modified_at)
