"""The columns of people, of their companies and of users. Source: Microsoft's table references."""

from app.sandbox.dynamics.columns import Column, Option
from app.sandbox.dynamics.defining import ACTIVE, ACTIVE_REASONS, choice, do_not, lookup, make, state, text
from app.sandbox.dynamics.wire import Row


def _whole_name(row: Row) -> str | None:
    return " ".join(part for part in (row.get("firstname"), row.get("lastname")) if part) or None


_PERSON = (
    text("firstname", 50, "First Name"),
    text("lastname", 50, "Last Name", required="ApplicationRequired"),
    Column(
        "fullname", "String", "Full Name", "FullName", length=160, format="Text", may_create=False, may_update=False,
        derived=_whole_name,
    ),
    text("salutation", 100),
    text("jobtitle", 100, "Job Title"),
    *(
        text(f"emailaddress{n}", 100, label, format="Email", indexed=True)
        for n, label in ((1, "Email"), (2, "Email Address 2"), (3, "Email Address 3"))
    ),
    text("telephone1", 50, "Business Phone"),
    text("mobilephone", 50, "Mobile Phone"),
    text("websiteurl", 200, "Website"),
    text("address1_city", 80, "Address 1: City"),
    text("address1_country", 80, "Address 1: Country/Region"),
    make("description", "Memo", "Description", length=2_000),
    make("birthdate", "DateTime", "Birthday", format="DateOnly"),
    make("lastusedincampaign", "DateTime", "Last Date Included in Campaign", format="DateAndTime", may_create=False),
    do_not("donotemail", "Do not allow Emails"),
    do_not("donotbulkemail", "Do not allow Bulk Emails"),
    do_not("donotphone", "Do not allow Phone Calls"),
    do_not("donotfax", "Do not allow Faxes"),
    do_not("donotpostalmail", "Do not allow Mails"),
    do_not("donotsendmm", "Send Marketing Materials"),
    make(
        "followemail", "Boolean", "Follow Email Activity", default=True,
        options=(Option(0, "Do Not Allow"), Option(1, "Allow")),
    ),
)  # fmt: skip
PEOPLE_COLUMNS: dict[str, tuple[Column, ...]] = {
    "contact": (
        *_PERSON,
        do_not("donotbulkpostalmail", "Do not allow Bulk Mails"),
        lookup("parentcustomerid", "account", "contact", type_="Customer"),
        lookup("originatingleadid", "lead"),
        text("department", 100),
        choice("leadsourcecode", "Default Value", label="Lead Source"),
        choice("preferredcontactmethodcode", "Any", "Email", "Phone", "Fax", "Mail", label="Preferred Contact Method"),
        make("numberofchildren", "Integer", "No. of Children"),
        make("creditlimit", "Money", "Credit Limit", lowest=0, highest=100_000_000_000_000, precision=2),
        *state(ACTIVE, ACTIVE_REASONS),
    ),
    "lead": (
        *_PERSON,
        text("subject", 300, "Topic", required="ApplicationRequired"),
        text("companyname", 100, "Company Name"),
        choice("leadqualitycode", "Hot", "Warm", "Cold", label="Rating"),
        choice(
            "leadsourcecode", "Advertisement", "Employee Referral", "External Referral", "Partner", "Public Relations",
            "Seminar", "Trade Show", "Web", "Word of Mouth", "Other", label="Lead Source",
        ),
        make("estimatedvalue", "Integer", "Est. Value (deprecated)"),
        make("msdyn_leadscore", "Integer", "Lead Score"),
        make(
            "msdyn_leadgrade", "Picklist", "Lead Grade",
            options=tuple(Option(number, letter) for number, letter in enumerate("ABCD")),
        ),
        lookup("parentcontactid", "contact"),
        lookup("parentaccountid", "account"),
        *state(
            (Option(0, "Open"), Option(1, "Qualified"), Option(2, "Disqualified")),
            (
                Option(1, "New", 0), Option(2, "Contacted", 0), Option(3, "Qualified", 1), Option(4, "Lost", 2),
                Option(5, "Cannot Contact", 2), Option(6, "No Longer Interested", 2), Option(7, "Canceled", 2),
            ),
        ),
    ),
    "account": (
        text("name", 160, "Account Name", required="ApplicationRequired", indexed=True),
        text("accountnumber", 20, "Account Number"),
        text("emailaddress1", 100, "Email", format="Email"),
        text("telephone1", 50, "Main Phone"),
        text("websiteurl", 200, "Website"),
        make("numberofemployees", "Integer", "Number of Employees"),
        do_not("donotemail", "Do not allow Emails"),
        do_not("donotbulkemail", "Do not allow Bulk Emails"),
        lookup("primarycontactid", "contact"),
        *state(ACTIVE, ACTIVE_REASONS),
    ),
    "opportunity": (
        text("name", 300, "Topic"),
        lookup("customerid", "account", "contact", type_="Customer"),
        lookup("originatingleadid", "lead"),
        *state(
            (Option(0, "Open"), Option(1, "Won"), Option(2, "Lost")),
            (Option(1, "In Progress", 0), Option(3, "Won", 1), Option(4, "Canceled", 2)),
        ),
    ),
    "systemuser": (
        text("firstname", 256, "First Name"),
        text("lastname", 256, "Last Name"),
        text("fullname", 200, "Full Name"),
        text("internalemailaddress", 100, "Primary Email", format="Email"),
        text("domainname", 1_024, "User Name"),
        make("applicationid", "Uniqueidentifier", "Application ID"),
        make("isdisabled", "Boolean", "Status"),
    ),
}  # fmt: skip
