"""The columns of activities and of who takes part in them. Source: Microsoft's table references."""

from app.sandbox.dynamics.columns import Column, Option
from app.sandbox.dynamics.defining import choice, fixed, lookup, make, state, text

ACTIVITIES = ("task", "phonecall", "appointment", "email")
PARTIES = "activityparty"
_PARTY_TABLES = ("contact", "lead", "account", "systemuser")
_REGARDING = ("contact", "lead", "account", "opportunity")

_ACTIVITY = (
    text("subject", 400, "Subject"),
    make("description", "Memo", "Description", length=2_000),
    make("scheduledstart", "DateTime", "Start Date", format="DateAndTime"),
    make("scheduledend", "DateTime", "Due Date", format="DateAndTime"),
    make("actualstart", "DateTime", "Actual Start", format="DateAndTime"),
    make("actualend", "DateTime", "Actual End", format="DateAndTime"),
    make("actualdurationminutes", "Integer", "Duration", highest=2_147_483_647),
    make("scheduleddurationminutes", "Integer", "Scheduled Duration", highest=2_147_483_647),
    choice("prioritycode", "Low", "Normal", "High", label="Priority"),
    fixed("activitytypecode", "EntityName", "Activity Type"),
    make("isregularactivity", "Boolean", "Is Regular Activity", default=True, may_create=False, may_update=False),
)
_OPEN = (Option(0, "Open"), Option(1, "Completed"), Option(2, "Canceled"))
_SCHEDULED = (*_OPEN, Option(3, "Scheduled"))


def _activity(name: str, states: tuple[Option, ...], reasons: tuple[Option, ...], *more: Column) -> tuple[Column, ...]:
    suffix = "" if name == "activitypointer" else f"_{name}"
    navigation = {f"regardingobjectid_{one}{suffix}": one for one in _REGARDING}
    regarding = lookup("regardingobjectid", *_REGARDING, navigation=navigation)
    return (*_ACTIVITY, *state(states, reasons), regarding, *more)


_DIRECTION = make(
    "directioncode", "Boolean", "Direction", default=True, options=(Option(0, "Incoming"), Option(1, "Outgoing"))
)
ACTIVITY_COLUMNS: dict[str, tuple[Column, ...]] = {
    "activitypointer": _activity("activitypointer", _SCHEDULED, (Option(1, "Open", 0), Option(2, "Completed", 1))),
    "task": _activity(
        "task", _OPEN,
        (
            Option(2, "Not Started", 0), Option(3, "In Progress", 0), Option(4, "Waiting on someone else", 0),
            Option(7, "Deferred", 0), Option(5, "Completed", 1), Option(6, "Canceled", 2),
        ),
        make("percentcomplete", "Integer", "Percent Complete", highest=100),
    ),
    "phonecall": _activity(
        "phonecall", _OPEN,
        (Option(1, "Open", 0), Option(2, "Made", 1), Option(4, "Received", 1), Option(3, "Canceled", 2)),
        _DIRECTION, text("phonenumber", 200, "Phone Number"), make("leftvoicemail", "Boolean", "Left Voice Mail"),
    ),
    "appointment": _activity(
        "appointment", _SCHEDULED,
        (
            Option(1, "Free", 0), Option(2, "Tentative", 0), Option(3, "Completed", 1), Option(4, "Canceled", 2),
            Option(5, "Busy", 3), Option(6, "Out of Office", 3),
        ),
        text("location", 200, "Location"), make("isalldayevent", "Boolean", "All Day Event"),
    ),
    "email": _activity(
        "email", _OPEN,
        (
            Option(1, "Draft", 0), Option(8, "Failed", 0), Option(2, "Completed", 1), Option(3, "Sent", 1),
            Option(4, "Received", 1), Option(6, "Pending Send", 1), Option(7, "Sending", 1), Option(5, "Canceled", 2),
        ),
        _DIRECTION, make("senton", "DateTime", "Date Sent", format="DateAndTime"),
    ),
    PARTIES: (
        lookup("activityid", *ACTIVITIES),
        lookup("partyid", *_PARTY_TABLES),
        make(
            "participationtypemask", "Picklist", "Participation Type", default=0,
            options=tuple(
                Option(number, label)
                for number, label in enumerate(
                    (
                        "Sender", "To Recipient", "CC Recipient", "BCC Recipient", "Required attendee",
                        "Optional attendee", "Organizer", "Regarding", "Owner", "Resource", "Customer",
                        "Chat Participant",
                    ),
                    start=1,
                )
            ),
        ),
        text("addressused", 320, "Address"),
    ),
}  # fmt: skip
