"""Fields of Copper's people and leads: described, suggested, made once for both, or by a recipe; and what is done with
people there. Against the stand-in, over HTTP."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from app.connectors.faults import CursorLost
from app.connectors.shapes import CrmField, Key, Kind, MadeField, WantedField
from tests.connectors.copper_account import LEAD, PERSON, Account, activities, number

MAKE = "POST /custom_field_definitions"
SCORE = WantedField(PERSON, "score_fit", "Lead score: Fit", Kind.NUMBER, "Written by us.", places=0)


def both(wanted: WantedField) -> list[WantedField]:
    return [wanted, wanted._replace(object=LEAD)]


def names(made: Sequence[MadeField]) -> list[str | None]:
    return [None if one.field is None else one.field.name for one in made]


# --- describing -------------------------------------------------------------------------------------------------------


async def test_custom_fields_are_named_by_their_ids(copper: Account) -> None:
    fit = await copper.field("Fit", "Float", on=[PERSON])
    mood = await copper.field("Mood", "Dropdown", "Cold", "Hot", on=[LEAD, "company"])
    await copper.field("Deal", "Float", on=["opportunity"])
    connector = copper.connect()

    [on_people] = [one for one in await connector.describe(PERSON) if one.is_custom]
    [on_leads] = [one for one in await connector.describe(LEAD) if one.is_custom]

    assert CrmField(fit, "Fit", Kind.NUMBER, is_writable=True, is_custom=True) == on_people
    assert CrmField(mood, "Mood", Kind.CHOICE, is_writable=True, is_custom=True, options=("Cold", "Hot")) == on_leads
    await copper.edit("change", "field", number(fit), name="Fitness")
    copper.later(400)
    assert [(fit, "Fitness")] == [(one.name, one.label) for one in await connector.describe(PERSON) if one.is_custom]


async def test_a_reference_can_be_neither_written_nor_mapped(copper: Account) -> None:
    other = await copper.field("Partner", "Float")
    copper.crm.account.definitions[number(other)].data_type = "Connect"

    [described] = [one for one in await copper.connect().describe(PERSON) if one.is_custom]

    assert (Kind.OTHER, False) == (described.kind, described.is_writable)


async def test_choices_that_every_account_has_are_described_with_their_labels(copper: Account) -> None:
    connector = copper.connect()
    found = {one.name: one.options for of in (PERSON, LEAD) for one in await connector.describe(of) if one.options}

    assert {"contact_type", "status", "customer_source"} == found.keys()
    assert ("New", "Unqualified", "Contacted", "Qualified") == found["status"]


async def test_where_the_account_has_no_leads_nothing_of_theirs_is_asked(copper: Account) -> None:
    await copper.connect(objects=[PERSON]).describe(PERSON)

    assert ["GET /custom_field_definitions", "GET /contact_types"] == [call for call, _ in copper.front.calls]


async def test_flags_are_checkboxes_unless_somebody_wants_dropdowns(copper: Account) -> None:
    for choices, kind, options in (({}, Kind.BOOLEAN, ()), ({"flags": "dropdown"}, Kind.CHOICE, ("Yes", "No"))):
        connector = copper.connect(**choices)
        for object_ in connector.objects:
            pairs = {one.here: one for one in connector.defaults(object_, await connector.describe(object_))}
            for flag in ("opted_out", "bounced"):
                wanted = pairs[flag].there
                assert isinstance(wanted, WantedField)
                assert ("both", object_, kind, options) == (
                    pairs[flag].way,
                    wanted.object,
                    wanted.kind,
                    wanted.options,
                )
            stage = {"stage": "status"} if object_ == LEAD else {}
            assert {"email": "email", "name": "name", "tags": "tags", **stage} == {
                one.here: one.there for one in pairs.values() if one.way == "in"
            }


# --- making -----------------------------------------------------------------------------------------------------------


async def test_one_definition_serves_people_and_leads(copper: Account) -> None:
    connector = copper.connect()
    made = await connector.ensure(both(SCORE))

    [definition] = copper.crm.account.definitions.values()
    assert ("Lead score: Fit", "Float", ("person", "lead")) == (
        definition.name,
        definition.data_type,
        definition.available_on,
    )
    assert [f"cf_{definition.id}"] * 2 == names(made)
    assert ([False, False], [True, True]) == (
        [one.was_there for one in made],
        [one.was_there for one in await copper.connect().ensure(both(SCORE))],
    )
    assert (1, []) == (len(copper.front.bodies(MAKE)), copper.front.named("PUT"))


async def test_a_field_that_was_made_for_people_alone_is_given_to_leads_too(copper: Account) -> None:
    there = await copper.field("Lead score: Fit", "Float", on=[PERSON, "company"])

    made = await copper.connect().ensure(both(SCORE))

    assert ([there, there], [True, False]) == (names(made), [one.was_there for one in made])
    assert ("person", "company", "lead") == copper.crm.account.definitions[number(there)].available_on


async def test_where_a_field_stays_where_it_is_a_recipe_says_what_to_do(copper: Account) -> None:
    there = await copper.field("Lead score: Fit", "Float", on=[PERSON])
    copper.front.answers = lambda call, _: (422, {"message": "Base: no"}) if call.startswith("PUT /custom") else None

    made = await copper.connect().ensure(both(SCORE))

    assert [there, None] == names(made)
    assert made[1].recipe is not None
    assert ("Lead score: Fit" in made[1].recipe, "for people and for leads" in made[1].recipe) == (True, True)


async def test_a_field_of_another_kind_is_not_the_one_that_is_meant(copper: Account) -> None:
    other = await copper.field("Lead score: Fit", "String")
    [made] = await copper.connect().ensure([SCORE])
    assert [other] != names([made])

    copper.faults.unique_field_names = True
    await copper.field("Lead score: Mood", "String")
    [made] = await copper.connect().ensure([SCORE._replace(label="Lead score: Mood")])
    assert made.recipe is not None


async def test_options_that_are_missing_are_left_to_somebody(copper: Account) -> None:
    """To add one gives all of them new ids, and takes the old ones from everybody."""
    mood = WantedField(PERSON, "mood", "Mood", Kind.CHOICE, "Ours.", ("Cold", "Hot"))
    await copper.field("Mood", "Dropdown", "Cold")

    [made] = await copper.connect().ensure([mood])

    assert (None, True) == (made.field, made.recipe is not None and "Cold, Hot" in made.recipe)
    assert [] == copper.front.named("PUT")


async def test_long_text_is_made_as_such(copper: Account) -> None:
    notes = WantedField(PERSON, "notes", "Notes", Kind.TEXT, "Ours.", max_length=2_000)
    await copper.connect().ensure([notes, notes._replace(label="Short", max_length=40)])

    assert ["Text", "String"] == [one.data_type for one in copper.crm.account.definitions.values()]


# --- activities -------------------------------------------------------------------------------------------------------


async def test_activities_of_any_type_are_named_as_people_know_them(copper: Account) -> None:
    copper.faults.property_activities = True
    ann, bob = await copper.person("ann@example.com"), await copper.lead("bob@example.com")
    await copper.edit("create", "activity_type", name="Webinar attended")
    made = {
        await copper.log("Phone Call", PERSON, ann, "Talked"): ("phone_call", Key(PERSON, ann)),
        await copper.log("Webinar attended", LEAD, bob): ("webinar_attended", Key(LEAD, bob)),
        await copper.log("Note", PERSON, ann): ("note", Key(PERSON, ann)),
    }
    await copper.change(ann, title="CTO")  # Copper logs that by itself

    found, _ = await activities(copper.connect(), None)

    assert {id_: (type_, (key,)) for id_, (type_, key) in made.items()} == {
        id_: (one.type, one.people) for id_, one in found.items()
    }
    assert [{"details": "Talked"}, {}, {}] == [found[id_].properties for id_ in made]


async def test_an_activity_of_a_company_or_an_opportunity_is_about_nobody(copper: Account) -> None:
    ann = await copper.person("ann@example.com")
    deal = await copper.edit("create", "opportunity", primary_contact_id=int(ann))
    of = [("opportunity", deal["id"]), ("company", copper.crm.account.company("Acme")), (PERSON, ann)]
    for kind, id_ in of:
        await copper.log("Meeting", kind, id_)

    found, _ = await activities(copper.connect(), None)

    assert [(), (), (Key(PERSON, ann),)] == [one.people for one in sorted(found.values(), key=lambda one: int(one.id))]


async def test_what_is_entered_later_or_edited_is_seen(copper: Account) -> None:
    """Within minutes if it happened in the last hours, within a quarter of an hour if in the last day, else daily."""
    ann = await copper.person("ann@example.com")
    connector = copper.connect()
    now = copper.crm.account.now()
    old = await copper.log("Meeting", PERSON, ann, "old", activity_date=now - 20 * 86_400)
    _, cursor = await activities(connector, None)
    copper.later(60)
    just = await copper.log("Meeting", PERSON, ann, activity_date=now - 3_600)
    today = await copper.log("Meeting", PERSON, ann, activity_date=now - 12 * 3_600)
    await copper.edit("change", "activity", old, details="new")

    found, cursor = await activities(connector, cursor)
    assert {just} == found.keys()
    copper.later(900)
    found, cursor = await activities(connector, cursor)
    assert {just, today} == found.keys()
    copper.later(86_400)
    found, cursor = await activities(connector, cursor)
    assert {just, today, old} == found.keys()
    assert "new" == found[old].properties["details"]
    copper.later(300)
    found, cursor = await activities(connector, cursor)
    assert {} == found  # what is long past does not come each time


async def test_however_long_nobody_looked_nothing_is_passed_over(copper: Account) -> None:
    ann = await copper.person("ann@example.com")
    connector = copper.connect()
    _, cursor = await activities(connector, None)
    copper.later(60 * 86_400)
    at = copper.crm.account.now() - 50 * 86_400
    meeting = await copper.log("Meeting", PERSON, ann, activity_date=at)

    found, _ = await activities(connector, cursor)

    assert datetime.fromtimestamp(at, UTC) == found[meeting].at


async def test_a_deleted_activity_that_is_still_listed_is_about_nobody(copper: Account) -> None:
    ann = await copper.person("ann@example.com")
    connector = copper.connect()
    meeting = await copper.log("Meeting", PERSON, ann)
    _, cursor = await activities(connector, None)
    copper.faults.list_deleted_activities = True
    copper.later(60)
    await copper.edit("delete", "activity", meeting)

    found, _ = await activities(connector, cursor)

    assert () == found[meeting].people


async def test_more_activities_than_can_be_reached_are_read_by_parts_of_time(copper: Account) -> None:
    ann = await copper.person("ann@example.com")
    now = copper.crm.account.now()
    made = {await copper.log("Meeting", PERSON, ann, activity_date=now - n * 50_000) for n in range(23)}
    copper.faults.total_over, copper.faults.reachable_rows = 100_000, 10

    found, _ = await activities(copper.connect(page_size=5), None)

    assert made == found.keys()


async def test_an_activity_that_is_deleted_meanwhile_hides_no_other(copper: Account) -> None:
    ann = await copper.person("ann@example.com")
    long_ago = copper.crm.account.now() - 40 * 86_400
    made = [await copper.log("Meeting", PERSON, ann, activity_date=long_ago - n) for n in range(20)]
    connector = copper.connect(page_size=5)
    page, seen = await connector.activities(None), set[str]()
    for gone in made[:3]:
        seen |= {one.id for one in page.activities}
        await copper.edit("delete", "activity", gone)
        page = await connector.activities(page.cursor)
    seen |= {one.id for one in page.activities}
    found, _ = await activities(connector, page.cursor)

    assert {*made} == seen | found.keys()


async def test_a_cursor_of_another_kind_is_lost(copper: Account) -> None:
    for cursor in ("[]", '{"began": "now"}', '{"page": [1]}', '{"other": 1}'):
        with pytest.raises(CursorLost):
            await copper.connect().activities(cursor)
        with pytest.raises(CursorLost):
            await copper.connect().everybody(PERSON, cursor, [])
