"""HubSpot's properties: their values both ways, what is described, and making what is missing."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.connectors.hubspot.values import Property, Unfit, read, told
from app.connectors.shapes import CrmField, Kind, MadeField, Value, WantedField
from tests.connectors.hubspot_account import CONTACT, Account, Json, fetched, write

OPTIONS = {"a": "Cold", "b": "Warm", "c": "Hot; very"}
TYPES = {
    Kind.TEXT: ("string", "textarea"), Kind.NUMBER: ("number", "number"), Kind.BOOLEAN: ("bool", "booleancheckbox"),
    Kind.DAY: ("date", "date"), Kind.INSTANT: ("datetime", "date"), Kind.CHOICE: ("enumeration", "radio"),
    Kind.CHOICES: ("enumeration", "checkbox"),
}  # fmt: skip
WANTED = WantedField(CONTACT, "score_fit", "Lead Score: Fit", Kind.NUMBER, "Written by Leadtally.")


def field_of(kind: Kind) -> Property:
    return Property("one", "One", *TYPES[kind], is_custom=True, is_read_only=False, options=OPTIONS)


VALUES = {
    Kind.TEXT: st.text(min_size=1),
    Kind.NUMBER: st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False),
    Kind.BOOLEAN: st.booleans(),
    Kind.DAY: st.dates().map(str),
    Kind.INSTANT: st.datetimes().map(lambda at: at.replace(microsecond=0).isoformat() + "Z"),
    Kind.CHOICE: st.sampled_from(sorted(OPTIONS.values())),
    Kind.CHOICES: st.sets(st.sampled_from(sorted(OPTIONS.values())), min_size=1).map(sorted),
}


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_what_is_written_and_read_again_is_equal(data: st.DataObject) -> None:
    for kind, values in VALUES.items():
        value: Value = data.draw(st.none() | values)
        assert value == read(field_of(kind), told(field_of(kind), value)), kind
        assert type(told(field_of(kind), value)) is str


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Kind.NUMBER, "5"), (Kind.NUMBER, True), (Kind.NUMBER, float("nan")), (Kind.BOOLEAN, "true"), (Kind.BOOLEAN, 1),
        (Kind.DAY, "2026-02-30"), (Kind.DAY, "20260228"), (Kind.INSTANT, "soon"), (Kind.CHOICE, "Lukewarm"),
        (Kind.CHOICES, ["Cold", "Lukewarm"]), (Kind.CHOICES, "Cold"), (Kind.TEXT, 5), (Kind.TEXT, "x" * 65_537),
    ],
)  # fmt: skip
def test_a_value_of_another_kind_is_unfit(kind: Kind, value: Value) -> None:
    with pytest.raises(Unfit, match=r"^one$"):
        told(field_of(kind), value)


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        (Kind.DAY, "1790812800000", "2026-10-01"), (Kind.DAY, "2026-10-01", "2026-10-01"),
        (Kind.INSTANT, "1790845200301", "2026-10-01T09:00:00Z"), (Kind.NUMBER, "73.0", 73), (Kind.NUMBER, "1e3", 1000),
        (Kind.INSTANT, "2026-10-01T09:15:00.301Z", "2026-10-01T09:15:00Z"), (Kind.CHOICES, "b;a", ["Cold", "Warm"]),
        (Kind.CHOICE, "gone", "gone"), (Kind.NUMBER, "many", None), (Kind.DAY, "someday", None), (Kind.TEXT, "", None),
    ],
)  # fmt: skip
def test_values_are_read_in_all_their_forms(kind: Kind, raw: str, value: Value) -> None:
    assert value == read(field_of(kind), raw)


# --- describing -------------------------------------------------------------------------------------------------------
async def test_an_old_single_checkbox_is_yes_or_no_and_a_users_list_is_nothing_to_map(hubspot: Account) -> None:
    listed = [{"label": "Ja", "value": "true"}, {"label": "Nein", "value": "false"}]
    old = await hubspot.field("old", "enumeration", "booleancheckbox", options=listed)
    known = {one.name: one for one in await hubspot.connect().describe(CONTACT)}

    assert (Kind.BOOLEAN, ()) == (known[old].kind, known[old].options)
    assert (Kind.OTHER, False) == (known["hubspot_owner_id"].kind, known["hubspot_owner_id"].is_writable)
    assert (True, False) == (known["hs_email_optout"].is_writable, known["hs_email_optout_1"].is_writable)
    assert (False, True) == (known["lastmodifieddate"].is_writable, known["email"].is_writable)


async def test_a_name_is_of_two_parts(hubspot: Account) -> None:
    name, connector = "firstname+lastname", hubspot.connect()
    people = [{"firstname": " Ann Maria ", "lastname": "Lee"}, {"lastname": "Lee"}, {"phone": "1"}]
    made = [await hubspot.contact(**values) for values in people]

    assert ["Ann Maria Lee", "Lee", None] == [(await fetched(connector, one, name)).values[name] for one in made]


async def test_a_property_that_is_no_more_is_left_out_and_not_taken_for_unset(hubspot: Account) -> None:
    kept, lost = await hubspot.field("kept"), await hubspot.field("lost")
    connector, id_ = hubspot.connect(), await hubspot.contact("ann@example.com", lost="here")
    assert {kept: None, lost: "here"} == (await fetched(connector, id_, kept, lost)).values

    await hubspot.edit("delete", "property", lost)
    assert {kept: None} == (await fetched(connector, id_, kept, lost)).values


# --- making -----------------------------------------------------------------------------------------------------------
async def made_of(account: Account, *wanted: WantedField) -> list[MadeField]:
    return list(await account.connect().ensure(wanted))


async def test_properties_are_made_in_a_group_of_our_own_under_a_name_of_ours(hubspot: Account) -> None:
    [made] = await made_of(hubspot, WANTED)

    there = hubspot.crm.portal.properties["contacts"]["leadtally_score_fit"]
    assert CrmField("leadtally_score_fit", WANTED.label, Kind.NUMBER, True, True) == made.field
    assert ("leadtally", WANTED.description, WANTED.label) == (there.group, there.description, there.label)
    assert "Leadtally" == hubspot.crm.portal.groups["contacts"]["leadtally"].label


async def test_a_property_that_somebody_renamed_is_found_again(hubspot: Account) -> None:
    await made_of(hubspot, WANTED)
    hubspot.crm.portal.properties["contacts"]["leadtally_score_fit"].label = "Fitness"

    [again] = await made_of(hubspot, WANTED)

    assert (True, "Fitness") == (again.was_there, again.field and again.field.label)


async def test_a_property_that_is_made_twice_at_once_is_one(hubspot: Account) -> None:
    both = await asyncio.gather(made_of(hubspot, WANTED), made_of(hubspot, WANTED))

    assert both[0][0].field == both[1][0].field
    assert 1 == hubspot.crm.state()["records"]["custom_properties"]


async def test_options_that_are_missing_are_added_to_those_that_are_there(hubspot: Account) -> None:
    wanted = WANTED._replace(name="band", kind=Kind.CHOICE, options=("Cold", "Hot; very"))
    await made_of(hubspot, wanted)
    more = wanted._replace(options=("Warm", "Cold"))
    connector, id_ = hubspot.connect(), await hubspot.contact("ann@example.com")

    [made] = await connector.ensure([more])

    assert made.field is not None
    assert ("Cold", "Hot; very", "Warm") == made.field.options
    for label in made.field.options:
        assert {made.field.name: label} == (await write(connector, id_, **{made.field.name: label})).kept


async def test_a_property_of_our_name_and_another_type_is_not_taken_for_ours(hubspot: Account) -> None:
    await hubspot.field("leadtally_score_fit")

    [made] = await made_of(hubspot, WANTED)

    assert None is made.field
    assert "another type" in str(made.recipe)
    assert "leadtally_score_fit" in str(made.recipe)


async def test_a_name_that_is_taken_and_not_listed_comes_with_a_recipe(hubspot: Account) -> None:
    def taken(call: str, body: Json) -> tuple[int, Json] | None:
        is_one = call == "POST /crm/v3/properties/contacts" and body["name"] == "leadtally_score_fit"
        return (409, {"status": "error", "message": "exists", "category": "OBJECT_ALREADY_EXISTS"}) if is_one else None

    hubspot.front.answers = taken
    [made] = await made_of(hubspot, WANTED)

    assert (None, True) == (made.field, "restore it" in str(made.recipe))


async def test_without_the_right_to_make_them_the_recipe_says_which(hubspot: Account) -> None:
    hubspot.faults.withheld_scopes = ["crm.schemas.contacts.write"]

    [made, other] = await made_of(hubspot, WANTED, WANTED._replace(name="ref", kind=Kind.OTHER))

    assert "crm.schemas.contacts.write" in str(made.recipe)
    assert (None, False) == (other.field, "Settings" in str(other.recipe))
