"""The tables that a sync of people and what they did asks for. Source: Microsoft's table references."""

from collections.abc import Iterable
from dataclasses import replace
from uuid import NAMESPACE_URL, uuid5

from app.sandbox.dynamics.activity_columns import ACTIVITIES, ACTIVITY_COLUMNS, PARTIES
from app.sandbox.dynamics.columns import Collection, Column, Table
from app.sandbox.dynamics.defining import fixed, lookup, make
from app.sandbox.dynamics.people_columns import PEOPLE_COLUMNS
from app.sandbox.dynamics.platform_columns import CONSENT, PLATFORM_COLUMNS

PEOPLE = ("contact", "lead")
_COLUMNS = {**PEOPLE_COLUMNS, **ACTIVITY_COLUMNS, **PLATFORM_COLUMNS}


def metadata_id(*parts: str) -> str:
    """The same for the same names."""
    return str(uuid5(NAMESPACE_URL, "/".join(("https://metadata.example", *parts))))


def standard() -> dict[str, Table]:
    """New ones, by logical name."""
    made = [
        Table("contact", "Contact", "Contact", "contacts", "Contacts", 2, "contactid", "fullname"),
        Table("lead", "Lead", "Lead", "leads", "Leads", 4, "leadid", "fullname"),
        Table("account", "Account", "Account", "accounts", "Accounts", 1, "accountid", "name"),
        Table(
            "opportunity", "Opportunity", "Opportunity", "opportunities", "Opportunities", 3, "opportunityid", "name",
        ),
        Table("systemuser", "User", "SystemUser", "systemusers", "Users", 8, "systemuserid", "fullname"),
        Table(
            "activitypointer", "Activity", "ActivityPointer", "activitypointers", "Activities", 4200, "activityid",
            "subject",
        ),
        *(
            Table(name, label, schema, f"{name}s", f"{label}s", code, "activityid", "subject", is_activity=True)
            for name, label, schema, code in (
                ("task", "Task", "Task", 4212),
                ("phonecall", "Phone Call", "PhoneCall", 4210),
                ("appointment", "Appointment", "Appointment", 4201),
                ("email", "Email", "Email", 4202),
            )
        ),
        Table(
            PARTIES, "Activity Party", "ActivityParty", "activityparties", "Activity Parties", 135, "activitypartyid",
            "partyid",
        ),
        Table(
            CONSENT, "Contact Point Consent", CONSENT, f"{CONSENT}s", "Contact Point Consents", 10_201, f"{CONSENT}id",
            "msdynmkt_name",
        ),
        Table(
            "msdynmkt_purpose", "Purpose", "msdynmkt_purpose", "msdynmkt_purposes", "Purposes", 10_202,
            "msdynmkt_purposeid", "msdynmkt_name",
        ),
        _plain("organization", "Organization", 1_019, "name"),
        _plain("publisher", "Publisher", 7_101, "friendlyname"),
        _plain("solution", "Solution", 7_100, "friendlyname"),
        _plain("sdkmessage", "SdkMessage", 4_606, "name", is_fixed=True),
        _plain("sdkmessagefilter", "SdkMessageFilter", 4_607, "name", is_fixed=True),
        _plain("sdkmessageprocessingstep", "SdkMessageProcessingStep", 4_608, "name"),
        _plain("serviceendpoint", "ServiceEndpoint", 4_618, "name"),
        _plain("asyncoperation", "AsyncOperation", 4_700, "name", is_fixed=True),
    ]  # fmt: skip
    for one in made:
        one.add(_id(one.name, one.primary_id))
        for column in (*_COLUMNS[one.name], *_audit(one.name)):
            one.add(column)
    by_name = {one.name: one for one in made}
    for name in (*PEOPLE, "account"):
        by_name[name].is_person = name in PEOPLE
        by_name[name].may_track = by_name[name].takes_many = True
    for name in ("activitypointer", PARTIES):
        by_name[name].is_fixed = True
    for name in ACTIVITIES:
        by_name[name].collections[f"{name}_activity_parties"] = Collection(PARTIES, "activityid")
    by_name["account"].collections["contact_customer_accounts"] = Collection("contact", "parentcustomerid")
    by_name["contact"].collections["contact_customer_contacts"] = Collection("contact", "parentcustomerid")
    for name in (*PEOPLE, "account"):
        schema = by_name[name].schema_name
        for activity in ACTIVITIES:
            by_name[name].collections[f"{schema}_{by_name[activity].schema_name}s"] = Collection(
                activity, "regardingobjectid"
            )
    return by_name


def _plain(name: str, schema: str, code: int, primary_name: str, *, is_fixed: bool = False) -> Table:
    return Table(name, schema, schema, f"{name}s", f"{schema}s", code, f"{name}id", primary_name, is_fixed=is_fixed)


def _id(table: str, name: str) -> Column:
    return make(name, "Uniqueidentifier", table.capitalize(), may_update=False, required="SystemRequired")


def _audit(table: str) -> Iterable[Column]:
    """The columns that nobody writes."""
    yield fixed("createdon", "DateTime", "Created On", format="DateAndTime")
    yield fixed("modifiedon", "DateTime", "Modified On", format="DateAndTime")
    for name in ("createdby", "modifiedby", "modifiedonbehalfby"):
        yield replace(_nobodys(lookup(name, "systemuser")), indexed=False)
    yield fixed("versionnumber", "BigInt", "Version Number")
    if table in (*PEOPLE, "account", "opportunity", *ACTIVITIES, "activitypointer"):
        yield Column(
            "ownerid", "Owner", "Owner", "OwnerId", targets=("systemuser", "team"), navigation={"ownerid": "systemuser"}
        )
    if table in (*PEOPLE, "account", "opportunity"):
        yield make("overriddencreatedon", "DateTime", "Record Created On", format="DateOnly", may_update=False)
    if table in (*PEOPLE, "account"):
        yield fixed("merged", "Boolean", "Merged")
        yield _nobodys(lookup("masterid", table))


def _nobodys(column: Column) -> Column:
    return replace(column, may_create=False, may_update=False)
