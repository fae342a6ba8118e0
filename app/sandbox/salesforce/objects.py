"""The standard objects, as far as a sync of people and what they did asks for them. Source: the Object Reference."""

from collections.abc import Iterable
from typing import Any

from app.sandbox.salesforce.fields import Field, Object
from app.sandbox.salesforce.wire import Row

_PERSON = ("Lead", "Contact")


def standard() -> dict[str, Object]:
    """New objects, by name in lower case."""
    made = [
        Object("Lead", "Lead", "Leads", "00Q"),
        Object("Contact", "Contact", "Contacts", "003"),
        Object("Account", "Account", "Accounts", "001"),
        Object("Opportunity", "Opportunity", "Opportunities", "006"),
        Object("Task", "Task", "Tasks", "00T"),
        Object("Event", "Event", "Events", "00U"),
        Object("Campaign", "Campaign", "Campaigns", "701"),
        Object("CampaignMember", "Campaign Member", "Campaign Members", "00v"),
        Object("User", "User", "Users", "005", deletable=False),
        Object("PermissionSet", "Permission Set", "Permission Sets", "0PS"),
        Object("PermissionSetAssignment", "Permission Set Assignment", "Permission Set Assignments", "0Pa"),
        Object("FieldPermissions", "Field Permissions", "Field Permissions", "01k"),
        *(
            Object(f"{name}History", f"{name} History", f"{name} History", prefix, {}, False, False, False)
            for name, prefix in (("Lead", "03M"), ("Contact", "017"))
        ),
    ]
    for one in made:
        for field in (*_system(one.name), *_FIELDS[one.name]):
            one.add(field)
    return {one.name.lower(): one for one in made}


def custom_fields() -> Object:
    """The Tooling API's own object, of which every custom field is a record."""
    made = Object("CustomField", "Custom Field", "Custom Fields", "00N", updateable=False)
    for field in (
        *_system("CustomField"),
        _text("DeveloperName", 80),
        _text("TableEnumOrId", 80),
        _text("NamespacePrefix", 15),
        _text("FullName", 120),
        _text("ManageableState", 40),
    ):
        made.add(field)
    return made


def _system(name: str) -> Iterable[Field]:
    """The fields that nobody writes."""
    yield Field("Id", f"{name} ID", "id", 18, createable=False, updateable=False)
    yield _fixed("IsDeleted", "boolean")
    if name in (*_PERSON, "Account"):
        yield _fixed("MasterRecordId", "reference", 18, refers_to=(name,), relationship="MasterRecord")
    yield _fixed("CreatedDate", "datetime")
    yield _fixed("CreatedById", "reference", 18, refers_to=("User",), relationship="CreatedBy")
    if not name.endswith("History"):
        yield _fixed("LastModifiedDate", "datetime")
        yield _fixed("LastModifiedById", "reference", 18, refers_to=("User",), relationship="LastModifiedBy")
        yield _fixed("SystemModstamp", "datetime")


def _fixed(name: str, type_: str, length: int = 0, **more: Any) -> Field:  # Any: a field's own attributes
    return Field(name, _label(name), type_, length, createable=False, updateable=False, **more)


def _text(name: str, length: int = 255, type_: str = "string", label: str = "", **more: Any) -> Field:  # Any: as above
    return Field(name, label or _label(name), type_, length, **more)


def _plain(name: str, type_: str, label: str = "", **more: Any) -> Field:  # Any: as above
    return Field(name, label or _label(name), type_, **more)


def _link(name: str, *to: str, relationship: str | None = None, **more: Any) -> Field:  # Any: as above
    called = relationship or name.removesuffix("Id")
    return Field(name, _label(name), "reference", 18, refers_to=to, relationship=called, indexed=True, **more)


def _label(name: str) -> str:
    """`MobilePhone` → `Mobile Phone`; `AccountId` → `Account ID`."""
    spaced = "".join(f" {letter}" if letter.isupper() else letter for letter in name).strip()
    return spaced.replace(" Id", " ID") if spaced.endswith(" Id") else spaced


def _whole_name(row: Row) -> str:
    return " ".join(part for part in (row.get("FirstName"), row.get("LastName")) if part)


def _is_bounced(row: Row) -> bool:
    # Which of the two drives it is not documented.
    return "EmailBouncedDate" in row or "EmailBouncedReason" in row


def _is_closed(row: Row) -> bool:
    return row.get("Status") == "Completed"


_OWNER = _link("OwnerId", "User", relationship="Owner")
_SOURCES = ("Web", "Phone Inquiry", "Partner Referral", "Purchased List", "Other")

_OF_PEOPLE = (
    _text("FirstName", 40),
    _text("LastName", 80, required=True),
    Field("Name", "Full Name", "string", 121, createable=False, updateable=False, derived=_whole_name),
    _text("Salutation", 40, "picklist", values=("Mr.", "Ms.", "Mx.", "Dr.", "Prof.")),
    _text("Email", 80, "email", indexed=True),
    _text("Phone", 40, "phone"),
    _text("MobilePhone", 40, "phone"),
    _text("Title", 128),
    _text("Description", 32_000, "textarea"),
    _text("LeadSource", 255, "picklist", values=_SOURCES),
    _plain("HasOptedOutOfEmail", "boolean", "Email Opt Out"),
    _plain("HasOptedOutOfFax", "boolean", "Fax Opt Out"),
    _plain("DoNotCall", "boolean", "Do Not Call"),
    _text("EmailBouncedReason", 255),
    _plain("EmailBouncedDate", "datetime"),
    _OWNER,
    _fixed("LastActivityDate", "date"),
)
_OF_ACTIVITIES = (
    _link("WhoId", "Contact", "Lead", relationship="Who"),
    _link("WhatId", "Account", "Opportunity", "Campaign", relationship="What"),
    _text("Subject", 255, "combobox"),
    _text("Description", 32_000, "textarea"),
    _text("Type", 40, "picklist", values=("Call", "Email", "Meeting", "Other")),
    _plain("ActivityDate", "date"),
    _fixed("IsRecurrence", "boolean"),
    _fixed("IsArchived", "boolean"),
    _OWNER,
)
_FIELDS: dict[str, tuple[Field, ...]] = {
    "Lead": (
        *_OF_PEOPLE,
        _text("Company", 255, required=True),
        _text(
            "Status", 255, "picklist", required=True, default="Open - Not Contacted",
            values=("Open - Not Contacted", "Working - Contacted", "Closed - Converted", "Closed - Not Converted"),
        ),
        _text("Industry", 255, "picklist"),
        _text("Website", 255, "url"),
        _text("City", 40),
        _text("Country", 80),
        _plain("NumberOfEmployees", "int", "Employees"),
        _plain("AnnualRevenue", "currency", precision=18, scale=0),
        _fixed("IsConverted", "boolean"),
        _fixed("ConvertedDate", "date"),
        _fixed("ConvertedContactId", "reference", 18, refers_to=("Contact",), relationship="ConvertedContact"),
        _fixed("ConvertedAccountId", "reference", 18, refers_to=("Account",), relationship="ConvertedAccount"),
        _fixed(
            "ConvertedOpportunityId", "reference", 18, refers_to=("Opportunity",), relationship="ConvertedOpportunity",
        ),
    ),
    "Contact": (
        *_OF_PEOPLE,
        _link("AccountId", "Account"),
        _text("Department", 80),
        _text("MailingCity", 40),
        _text("MailingCountry", 80),
        _plain("Birthdate", "date"),
        Field("IsEmailBounced", "Is Email Bounced", "boolean", createable=False, updateable=False, derived=_is_bounced),
    ),
    "Account": (
        _text("Name", 255, label="Account Name", required=True, indexed=True),
        _text("Type", 255, "picklist"),
        _text("Industry", 255, "picklist"),
        _text("Website", 255, "url"),
        _text("Phone", 40, "phone"),
        _plain("NumberOfEmployees", "int", "Employees"),
        _plain("AnnualRevenue", "currency", precision=18, scale=0),
        _OWNER,
    ),
    "Opportunity": (
        _text("Name", 120, required=True),
        _link("AccountId", "Account"),
        _text("StageName", 255, "picklist", required=True, default="Prospecting"),
        _plain("CloseDate", "date", required=True),
        _OWNER,
    ),
    "Task": (
        *_OF_ACTIVITIES,
        _text("Status", 255, "picklist", required=True, default="Not Started", values=("Not Started", "Completed")),
        _text("Priority", 255, "picklist", required=True, default="Normal", values=("High", "Normal", "Low")),
        _text("TaskSubtype", 40, "picklist", default="Task", values=("Task", "Call", "Email")),
        _text("CallType", 40, "picklist", values=("Inbound", "Outbound", "Internal")),
        _text("CallDisposition", 255),
        _plain("CallDurationInSeconds", "int"),
        _fixed("CompletedDateTime", "datetime"),
        Field("IsClosed", "Closed", "boolean", createable=False, updateable=False, derived=_is_closed),
    ),
    "Event": (
        *_OF_ACTIVITIES,
        _plain("StartDateTime", "datetime"),
        _plain("EndDateTime", "datetime"),
        _plain("ActivityDateTime", "datetime"),
        _plain("IsAllDayEvent", "boolean"),
        _plain("DurationInMinutes", "int"),
        _text("EventSubtype", 40, "picklist", default="Event"),
        _fixed("IsChild", "boolean"),
    ),
    "Campaign": (_text("Name", 80, required=True), _plain("IsActive", "boolean"), _OWNER),
    "CampaignMember": (
        _link("CampaignId", "Campaign", required=True),
        _link("LeadId", "Lead"),
        _link("ContactId", "Contact"),
        _text("Status", 40, "picklist", default="Sent", values=("Sent", "Responded")),
        Field(
            "HasResponded", "Responded", "boolean", createable=False, updateable=False,
            derived=lambda row: row.get("Status") == "Responded",
        ),
        _fixed("FirstRespondedDate", "date"),
    ),
    "User": (
        _text("Username", 80, required=True),
        _text("FirstName", 40),
        _text("LastName", 80, required=True),
        Field("Name", "Full Name", "string", 121, createable=False, updateable=False, derived=_whole_name),
        _text("Email", 128, "email", required=True),
        _plain("IsActive", "boolean"),
    ),
    "PermissionSet": (
        _text("Name", 80, required=True, indexed=True),
        _text("Label", 80, required=True),
        _text("Description", 255),
    ),
    "PermissionSetAssignment": (
        _link("AssigneeId", "User", required=True, updateable=False),
        _link("PermissionSetId", "PermissionSet", required=True, updateable=False),
    ),
    "FieldPermissions": (
        _link("ParentId", "PermissionSet", required=True, updateable=False),
        _text("SobjectType", 40, "picklist", required=True, updateable=False),
        _text("Field", 255, "picklist", required=True, updateable=False, indexed=True),
        _plain("PermissionsRead", "boolean"),
        _plain("PermissionsEdit", "boolean"),
    ),
    **{
        f"{name}History": (
            _link(f"{name}Id", name, createable=False, updateable=False),
            _fixed("Field", "picklist", 255),
            _fixed("DataType", "picklist", 40),
            # Any type in truth: here as text, as the API shows them.
            _fixed("OldValue", "string", 255),
            _fixed("NewValue", "string", 255),
        )
        for name in _PERSON
    },
}  # fmt: skip
