"""Salesforce's fields: what is described, what is suggested, what is made, and what a check finds."""

from collections.abc import Sequence

from app.connectors.salesforce import Salesforce
from app.connectors.salesforce.making import api_name
from app.connectors.shapes import CrmField, Finding, Kind, Level, WantedField
from app.sandbox.salesforce.org import INTEGRATION
from tests.connectors.salesforce_org import Org

SCORE = WantedField("Contact", "score_fit", "Score: Fit", Kind.NUMBER, "How well they fit", places=2)
WANTED = (
    SCORE,
    WantedField("Lead", "score_fit", "Score: Fit", Kind.NUMBER, "How well they fit", places=2),
    WantedField("Contact", "band_fit", "Band: Fit", Kind.TEXT, "Cold, warm or hot", max_length=40),
    WantedField("Contact", "email_bounced", "Email Bounced", Kind.BOOLEAN, "Whether mail fails"),
    WantedField("Contact", "email_bounced_on", "Email Bounced On", Kind.INSTANT, "Since when"),
    WantedField("Contact", "next_look", "Next Look", Kind.DAY, "When to look again"),
    WantedField("Contact", "grade", "Grade", Kind.CHOICE, "A to C", options=("A", "B")),
)


async def described(org: Org, object_: str = "Contact") -> dict[str, CrmField]:
    return {one.name: one for one in await org.connect().describe(object_)}


# --- described --------------------------------------------------------------------------------------------------------


async def test_fields_are_described_by_what_they_hold(org: Org) -> None:
    org.do("field", object="Contact", name="Score__c", fields={"type": "Number", "precision": 18, "scale": 2})
    org.do("field", object="Contact", name="pi__score__c", fields={"type": "Number", "precision": 18, "scale": 0})
    org.crm.faults.read_only_fields = ["Contact.Title"]
    known = await described(org)

    assert CrmField("Score__c", "Score", Kind.NUMBER, True, True, places=2) == known["Score__c"]
    assert CrmField("Email", "Email", Kind.TEXT, True, max_length=80) == known["Email"]
    assert (Kind.CHOICE, "Web") == (known["LeadSource"].kind, known["LeadSource"].options[0])
    assert [Kind.BOOLEAN, Kind.INSTANT, Kind.DAY, Kind.OTHER, Kind.OTHER] == [
        known[name].kind for name in ("HasOptedOutOfEmail", "EmailBouncedDate", "Birthdate", "AccountId", "Id")
    ]
    assert not any(known[name].is_writable for name in ("Name", "SystemModstamp", "Title", "pi__score__c"))


async def test_a_describe_is_remembered_for_a_quarter_of_an_hour(org: Org) -> None:
    crm = org.connect()
    for minutes in (0, 14, 2):
        org.later(minutes=minutes)
        await crm.describe("Contact")

    assert 2 == org.front.count("/describe")


# --- suggested --------------------------------------------------------------------------------------------------------


async def test_what_is_mapped_by_default(org: Org) -> None:
    crm = org.connect()
    contact = [(one.here, one.there, one.way) for one in crm.defaults("Contact", await crm.describe("Contact"))]
    lead = [(one.here, one.there, one.way) for one in crm.defaults("Lead", await crm.describe("Lead"))]

    assert [
        ("email", "Email", "in"), ("name", "Name", "in"), ("opted_out", "HasOptedOutOfEmail", "both"),
        ("bounced_at", "EmailBouncedDate", "both"), ("bounced_reason", "EmailBouncedReason", "out"),
    ] == contact  # fmt: skip
    assert [*contact, ("stage", "Status", "in")] == lead


async def test_hidden_fields_are_not_mapped_and_read_only_flags_flow_in(org: Org) -> None:
    org.crm.faults.hidden_fields = ["Contact.EmailBouncedDate"]
    org.crm.faults.read_only_fields = ["Contact.HasOptedOutOfEmail", "Contact.EmailBouncedReason"]
    crm = org.connect()
    found = {one.here: one.way for one in crm.defaults("Contact", await crm.describe("Contact"))}

    assert {"email": "in", "name": "in", "opted_out": "in"} == found


async def test_bounces_may_have_fields_of_their_own(org: Org) -> None:
    crm = org.connect(bounce_fields="custom")
    pairs = crm.defaults("Contact", await crm.describe("Contact"))
    own = {one.here: (one.there, one.way) for one in pairs if isinstance(one.there, WantedField)}
    made = await crm.ensure([there for there, _ in own.values()])

    assert {"bounced": "both", "bounced_at": "out", "bounced_reason": "out"} == {
        here: way for here, (_, way) in own.items()
    }
    assert [Kind.BOOLEAN, Kind.INSTANT, Kind.TEXT] == [one.field.kind for one in made if one.field]
    assert "EmailBouncedDate" not in {one.there for one in pairs}


# --- made -------------------------------------------------------------------------------------------------------------


async def test_fields_are_made_opened_to_us_and_found_again(org: Org) -> None:
    org.crm.faults.describe_lag = 1
    first = await org.connect().ensure(WANTED)
    org.crm.faults.describe_lag = 0
    crm = org.connect()
    again = await crm.ensure(WANTED)
    calls = org.front.count("POST /services/data")
    id_ = org.add()
    [record] = await crm.fetch("Contact", [id_], ["Leadtally_score_fit__c"])

    assert [None] * len(WANTED) == [one.recipe for one in first]
    assert [one.field for one in first] == [one.field for one in again]
    assert {False} == {one.was_there for one in first}
    assert {True} == {one.was_there for one in again}
    assert [Kind.NUMBER, Kind.NUMBER, Kind.TEXT, Kind.BOOLEAN, Kind.INSTANT, Kind.DAY, Kind.CHOICE] == [
        one.field.kind for one in first if one.field is not None and one.field.is_writable
    ]
    assert CrmField("Leadtally_score_fit__c", "Score: Fit", Kind.NUMBER, True, True, places=2) == first[0].field
    assert {"Leadtally_score_fit__c": None} == record.values
    assert [1, 1, 7] == [
        len(org.crm.org.table(name).rows) for name in ("PermissionSet", "PermissionSetAssignment", "FieldPermissions")
    ]
    assert 2 * len(WANTED) + 2 == calls


async def test_a_field_that_is_there_and_hidden_is_opened(org: Org) -> None:
    await org.connect().ensure([SCORE])
    for name in ("FieldPermissions", "PermissionSetAssignment"):
        [row] = org.crm.org.live(name)
        org.do("delete", id=row["Id"])
    assert "Leadtally_score_fit__c" not in await described(org)
    [made] = await org.connect().ensure([SCORE])

    assert made.was_there
    assert made.field is not None
    assert made.field.is_writable


async def test_a_field_that_we_may_only_read_is_opened_for_writing(org: Org) -> None:
    await org.connect().ensure([SCORE])
    [row] = org.crm.org.live("FieldPermissions")
    org.do("change", id=row["Id"], fields={"PermissionsEdit": False})
    [made] = await org.connect().ensure([SCORE])

    assert made.field is not None
    assert made.field.is_writable


async def test_who_may_not_make_fields_is_told_how_an_administrator_does(org: Org) -> None:
    org.crm.faults.no_customize = True
    there, missing = await org.connect().ensure([SCORE._replace(name="x"), SCORE])
    org.do("field", object="Contact", name="Leadtally_x__c", fields={"type": "Number", "precision": 18, "scale": 2})
    there, missing = await org.connect().ensure([SCORE._replace(name="x"), SCORE])

    assert (True, None) == (there.was_there, there.recipe)
    assert missing.field is None
    assert missing.recipe is not None
    for said in ("INSUFFICIENT_ACCESS", "Object Manager > Contact", "Number, length 16, decimal places 2",
                 "Field name: Leadtally_score_fit ", "Permission Sets"):  # fmt: skip
        assert said in missing.recipe


async def test_an_object_that_is_hidden_keeps_no_other_from_its_fields(org: Org) -> None:
    del org.crm.org.objects["lead"]
    lead, contact = await org.connect().ensure([SCORE._replace(object="Lead"), SCORE])

    assert (None, None) == (lead.field, contact.recipe)
    assert "Object Manager > Lead" in str(lead.recipe)


async def test_a_field_that_does_not_appear_in_time_is_asked_for_later(org: Org) -> None:
    org.crm.faults.describe_lag = 100
    [made] = await Salesforce(org.setup(), org.http, describe_patience_s=0.1).ensure([SCORE])

    assert made.field is None
    assert "ask again" in str(made.recipe)


def test_every_name_of_ours_is_one_that_salesforce_takes_and_different_ones_stay_different() -> None:
    names = ["score_fit", "a" * 60, "a" * 61, "a__b", "a_b", "a_b_", "_a_b", "9"]
    made = [api_name(name) for name in names]

    assert "Leadtally_score_fit__c" == made[0]
    assert len(names) == len(set(made))
    for name in made:
        plain = name.removesuffix("__c")
        assert len(plain) <= 40
        assert "__" not in plain
        assert not plain.endswith("_")


# --- checked ----------------------------------------------------------------------------------------------------------


def codes(findings: Sequence[Finding]) -> set[tuple[Level, str]]:
    return {(one.level, one.code) for one in findings}


async def test_a_good_connection_has_nothing_to_mend(org: Org) -> None:
    org.add()
    checked = await org.connect().check()

    assert checked.account is not None
    assert (INTEGRATION, "Integration User") == (checked.account.user, checked.account.user_name)
    assert [] == checked.findings
    assert 0 == org.front.count("PATCH")
    assert {} == org.crm.org.writes


async def test_a_check_tells_why_nobody_can_sign_in(org: Org) -> None:
    org.crm.faults.login = "no client credentials user enabled"
    checked = await org.connect().check()

    assert checked.account is None
    assert {(Level.ERROR, "invalid_grant")} == codes(checked.findings)
    assert "Run-As" in checked.findings[0].mend


async def test_a_check_finds_that_the_api_is_not_for_us(org: Org) -> None:
    org.crm.faults.fail_next = ["no_rest"]
    checked = await org.connect().check()

    assert {(Level.ERROR, "no_rest_access")} == codes(checked.findings)


async def test_a_check_finds_what_is_hidden_read_only_or_somebody_elses(org: Org) -> None:
    org.crm.faults.hidden_fields = ["Contact.HasOptedOutOfEmail", "Lead.EmailBouncedDate"]
    org.crm.faults.read_only_fields = ["Lead.HasOptedOutOfEmail"]
    org.crm.faults.no_customize = True
    org.do("field", object="Lead", name="pi__score__c", fields={"type": "Number", "precision": 18, "scale": 0})
    del org.crm.org.objects["task"]
    native, custom = await org.connect().check(), await org.connect(bounce_fields="custom").check()
    said = " ".join(one.what for one in native.findings)

    assert {
        (Level.WARNING, "field_hidden"), (Level.WARNING, "field_read_only"), (Level.WARNING, "other_tool"),
        (Level.WARNING, "sees_nobody"), (Level.WARNING, "object_hidden"), (Level.NOTE, "no_customize"),
    } == codes(native.findings)  # fmt: skip
    for name in ("Contact.HasOptedOutOfEmail", "Lead.EmailBouncedDate", "Lead.HasOptedOutOfEmail", "Task"):
        assert name in said
    assert "Lead.EmailBouncedDate" not in " ".join(one.what for one in custom.findings)
    assert all(one.mend for one in native.findings if one.level is not Level.NOTE)


async def test_a_check_finds_that_neither_object_is_there(org: Org) -> None:
    del org.crm.org.objects["contact"]
    one = await org.connect().check()
    del org.crm.org.objects["lead"]
    none = await org.connect().check()

    assert (Level.WARNING, "object_hidden") in codes(one.findings)
    assert {(Level.ERROR, "sees_nothing")} == codes(none.findings)
