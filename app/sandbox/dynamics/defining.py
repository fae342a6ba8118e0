"""How the standard columns are written down."""

from typing import Any

from app.sandbox.dynamics.columns import Column, Option

ACTIVE = (Option(0, "Active"), Option(1, "Inactive"))
ACTIVE_REASONS = (Option(1, "Active", 0), Option(2, "Inactive", 1))
_SCHEMA_NAMES = {
    "contactid": "ContactId", "leadid": "LeadId", "accountid": "AccountId", "activityid": "ActivityId",
    "firstname": "FirstName", "lastname": "LastName", "jobtitle": "JobTitle", "emailaddress1": "EMailAddress1",
    "emailaddress2": "EMailAddress2", "emailaddress3": "EMailAddress3", "mobilephone": "MobilePhone",
    "donotemail": "DoNotEMail", "donotbulkemail": "DoNotBulkEMail", "donotphone": "DoNotPhone", "donotfax": "DoNotFax",
    "donotpostalmail": "DoNotPostalMail", "donotsendmm": "DoNotSendMM", "followemail": "FollowEmail",
    "donotbulkpostalmail": "DoNotBulkPostalMail", "statecode": "StateCode", "statuscode": "StatusCode",
    "createdon": "CreatedOn", "modifiedon": "ModifiedOn", "createdby": "CreatedBy", "modifiedby": "ModifiedBy",
    "modifiedonbehalfby": "ModifiedOnBehalfBy", "versionnumber": "VersionNumber", "ownerid": "OwnerId",
    "companyname": "CompanyName", "parentcustomerid": "ParentCustomerId", "originatingleadid": "OriginatingLeadId",
    "masterid": "MasterId", "overriddencreatedon": "OverriddenCreatedOn", "birthdate": "BirthDate",
    "leadsourcecode": "LeadSourceCode", "leadqualitycode": "LeadQualityCode",
    "regardingobjectid": "RegardingObjectId", "scheduledend": "ScheduledEnd", "actualend": "ActualEnd",
}  # fmt: skip
"""Where it is more than the logical name with a capital."""


def make(name: str, type_: str, label: str = "", **more: Any) -> Column:  # Any: a column's own attributes
    """A standard column; a Boolean shows its default where a row holds nothing."""
    if type_ == "Boolean":
        more.setdefault("default", False)
        more["absent"] = more["default"]
        more.setdefault("options", (Option(0, "No"), Option(1, "Yes")))
    if type_ == "Integer":
        more.setdefault("lowest", 0)
        more.setdefault("highest", 1_000_000_000)
    return Column(name, type_, label or name, schema_name(name), **more)


def lookup(
    name: str,
    *targets: str,
    type_: str = "Lookup",
    navigation: dict[str, str] | None = None,
    **more: Any,  # Any: as above
) -> Column:
    """A lookup: of several targets each has a navigation property of its own."""
    if navigation is None:
        navigation = {name: targets[0]} if len(targets) == 1 else {f"{name}_{one}": one for one in targets}
    return Column(name, type_, name, schema_name(name), targets=targets, navigation=navigation, indexed=True, **more)


def text(name: str, length: int, label: str = "", **more: Any) -> Column:  # Any: as above
    more.setdefault("format", "Text")
    return make(name, "String", label, length=length, **more)


def fixed(name: str, type_: str, label: str = "", **more: Any) -> Column:  # Any: as above
    return make(name, type_, label, may_create=False, may_update=False, **more)


def choice(name: str, *labels: str, label: str = "", **more: Any) -> Column:  # Any: as above
    options = tuple(Option(number, one) for number, one in enumerate(labels, start=1))
    return make(name, "Picklist", label, options=options, **more)


def numbered(name: str, label: str, options: dict[int, str], **more: Any) -> Column:  # Any: as above
    """A choice whose values are given."""
    made = tuple(Option(value, one) for value, one in options.items())
    return make(name, "Picklist", label, options=made, **more)


def state(options: tuple[Option, ...], reasons: tuple[Option, ...]) -> tuple[Column, Column]:
    return (
        make("statecode", "State", "Status", options=options, default=0, absent=0, required="SystemRequired"),
        make("statuscode", "Status", "Status Reason", options=reasons),
    )


def do_not(name: str, label: str) -> Column:
    # The label of true is the one that forbids.
    return make(name, "Boolean", label, options=(Option(0, "Allow"), Option(1, "Do Not Allow")))


def schema_name(name: str) -> str:
    return _SCHEMA_NAMES.get(name, name[:1].upper() + name[1:])
