"""The types of objects, and the properties that each has from the beginning.

Source: the documentation of each object's API, and n8n's list of contact properties; a part of what HubSpot defines.
"""

from typing import NamedTuple

from app.sandbox.hubspot.records import Choice, Property


class ObjectType(NamedTuple):
    name: str
    """As in paths: `contacts`."""
    singular: str
    id: str
    """`0-1`"""
    to_contact: int = 0
    """The type of its association with a contact; the other way round it is `from_contact`."""
    from_contact: int = 0

    @property
    def is_contact(self) -> bool:
        return self.name == "contacts"

    @property
    def created(self) -> str:
        """The property that tells when a record was made."""
        return "createdate" if self.is_contact else "hs_createdate"

    @property
    def modified(self) -> str:
        return "lastmodifieddate" if self.is_contact else "hs_lastmodifieddate"

    @property
    def shown(self) -> tuple[str, ...]:
        """What is shown if no property is asked for."""
        if self.is_contact:
            return ("createdate", "email", "firstname", "hs_object_id", "lastmodifieddate", "lastname")
        return self.always

    @property
    def always(self) -> tuple[str, ...]:
        """What is shown whatever is asked for."""
        return (self.created, "hs_object_id", self.modified)


TYPES = (
    ObjectType("contacts", "contact", "0-1"),
    ObjectType("calls", "call", "0-48", 194, 193),
    ObjectType("meetings", "meeting_event", "0-47", 200, 199),
    ObjectType("emails", "email", "0-49", 198, 197),
    ObjectType("notes", "note", "0-46", 202, 201),
    ObjectType("tasks", "task", "0-27", 204, 203),
    ObjectType("communications", "communication", "0-18", 81, 82),
    ObjectType("postal_mail", "postal_mail", "0-116", 453, 454),
)
BY_NAME = {name: one for one in TYPES for name in (one.name, one.singular, one.id)} | {"meeting": TYPES[2]}
BOUNCES = (
    "hs_email_hard_bounce_reason", "hs_email_hard_bounce_reason_enum", "hs_email_bounce", "hs_email_bad_address",
    "hs_email_quarantined", "hs_email_quarantined_reason",
)  # fmt: skip
"""What HubSpot's own mail finds out: nobody else can set it."""

_Told = tuple[str, str, str, str]
"""A property: its name, label, type and field type."""
_STAMPS: tuple[_Told, ...] = (
    ("hs_object_id", "Record ID", "number", "number"),
    ("hs_object_source", "Record creation source", "string", "text"),
    ("hs_object_source_id", "Record creation source ID", "string", "text"),
    ("hs_object_source_label", "Record source", "string", "text"),
    ("hs_merged_object_ids", "Merged record IDs", "enumeration", "checkbox"),
)
_CONTACT: tuple[_Told, ...] = (
    ("email", "Email", "string", "text"),
    ("firstname", "First Name", "string", "text"),
    ("lastname", "Last Name", "string", "text"),
    ("phone", "Phone Number", "string", "phonenumber"),
    ("mobilephone", "Mobile Phone Number", "string", "phonenumber"),
    ("company", "Company Name", "string", "text"),
    ("jobtitle", "Job Title", "string", "text"),
    ("website", "Website URL", "string", "text"),
    ("address", "Street Address", "string", "text"),
    ("city", "City", "string", "text"),
    ("state", "State/Region", "string", "text"),
    ("zip", "Postal Code", "string", "text"),
    ("country", "Country/Region", "string", "text"),
    ("message", "Message", "string", "textarea"),
    ("date_of_birth", "Date of birth", "string", "text"),
    ("closedate", "Close Date", "datetime", "date"),
    ("hs_language", "Preferred language", "enumeration", "select"),
    ("lifecyclestage", "Lifecycle Stage", "enumeration", "radio"),
    ("hs_lead_status", "Lead Status", "enumeration", "radio"),
    ("hubspot_owner_id", "Contact owner", "enumeration", "select"),
)
_CONTACT_READ_ONLY: tuple[_Told, ...] = (
    *_STAMPS,
    ("createdate", "Create Date", "datetime", "date"),
    ("lastmodifieddate", "Last Modified Date", "datetime", "date"),
    ("hs_additional_emails", "Additional email addresses", "enumeration", "checkbox"),
    ("hs_email_optout", "Unsubscribed from all email", "bool", "booleancheckbox"),
    ("hs_email_hard_bounce_reason", "Email hard bounce reason", "string", "text"),
    ("hs_email_hard_bounce_reason_enum", "Email hard bounce reason", "enumeration", "select"),
    ("hs_email_bounce", "Marketing emails bounced", "number", "number"),
    ("hs_email_bad_address", "Invalid email address", "bool", "booleancheckbox"),
    ("hs_email_quarantined", "Email address quarantined", "bool", "booleancheckbox"),
    ("hs_email_quarantined_reason", "Email address quarantine reason", "enumeration", "select"),
)
_ACTIVITY: tuple[_Told, ...] = (
    ("hs_timestamp", "Activity date", "datetime", "date"),
    ("hubspot_owner_id", "Activity assigned to", "enumeration", "select"),
    ("hs_activity_type", "Type", "enumeration", "select"),
)
_ACTIVITY_READ_ONLY: tuple[_Told, ...] = (
    *_STAMPS,
    ("hs_createdate", "Create date", "datetime", "date"),
    ("hs_lastmodifieddate", "Last modified date", "datetime", "date"),
)
_OF_TYPE: dict[str, tuple[_Told, ...]] = {
    "calls": (
        ("hs_call_title", "Call Title", "string", "text"),
        ("hs_call_body", "Call notes", "string", "textarea"),
        ("hs_call_direction", "Call direction", "enumeration", "select"),
        ("hs_call_status", "Call status", "enumeration", "select"),
        ("hs_call_disposition", "Call outcome", "enumeration", "select"),
        ("hs_call_duration", "Call duration", "number", "number"),
        ("hs_call_to_number", "To number", "string", "text"),
        ("hs_call_from_number", "From number", "string", "text"),
    ),
    "meetings": (
        ("hs_meeting_title", "Meeting name", "string", "text"),
        ("hs_meeting_body", "Meeting description", "string", "textarea"),
        ("hs_meeting_outcome", "Meeting outcome", "enumeration", "select"),
        ("hs_meeting_start_time", "Meeting start time", "datetime", "date"),
        ("hs_meeting_end_time", "Meeting end time", "datetime", "date"),
        ("hs_meeting_location", "Meeting location", "string", "text"),
    ),
    "emails": (
        ("hs_email_subject", "Email subject", "string", "text"),
        ("hs_email_text", "Text body", "string", "textarea"),
        ("hs_email_direction", "Email direction", "enumeration", "select"),
        ("hs_email_status", "Email send status", "enumeration", "select"),
    ),
    "notes": (("hs_note_body", "Note body", "string", "textarea"),),
    "tasks": (
        ("hs_task_subject", "Task Title", "string", "text"),
        ("hs_task_body", "Task Notes", "string", "textarea"),
        ("hs_task_status", "Task Status", "enumeration", "select"),
        ("hs_task_priority", "Priority", "enumeration", "select"),
        ("hs_task_type", "Task Type", "enumeration", "select"),
    ),
    "communications": (
        ("hs_communication_body", "Communication Body", "string", "textarea"),
        ("hs_communication_channel_type", "Channel type", "enumeration", "select"),
        ("hs_communication_logged_from", "Logged from", "enumeration", "select"),
    ),
    "postal_mail": (("hs_postal_mail_body", "Postal mail body", "string", "textarea"),),
}
_YES_NO = ("true", "false")
_OPTIONS = {
    "lifecyclestage": ("subscriber", "lead", "marketingqualifiedlead", "salesqualifiedlead", "opportunity", "customer",
                       "evangelist", "other"),
    "hs_lead_status": ("NEW", "OPEN", "IN_PROGRESS", "OPEN_DEAL", "UNQUALIFIED", "ATTEMPTED_TO_CONTACT", "CONNECTED",
                       "BAD_TIMING"),
    "hs_language": ("de", "en", "es", "et", "fr"),
    "hs_email_hard_bounce_reason_enum": ("BLOCKED_DOMAIN", "CONTENT", "FILTERED", "INVALID_EMAIL_ADDRESS",
                                         "MAILBOX_FULL", "OTHER", "PERMANENT_FAILURE", "SPAM", "UNKNOWN_USER"),
    "hs_email_quarantined_reason": ("PERMANENT_SUSPENSION", "SUSPENDED", "CANCELLED_SUBSCRIPTION"),
    "hs_call_direction": ("INBOUND", "OUTBOUND"),
    "hs_call_status": ("BUSY", "CALLING_CRM_USER", "CANCELED", "COMPLETED", "CONNECTING", "FAILED", "IN_PROGRESS",
                       "MISSED", "NO_ANSWER", "QUEUED", "RINGING"),
    "hs_meeting_outcome": ("SCHEDULED", "COMPLETED", "RESCHEDULED", "NO_SHOW", "CANCELED"),
    "hs_email_direction": ("EMAIL", "INCOMING_EMAIL", "FORWARDED_EMAIL"),
    "hs_email_status": ("BOUNCED", "FAILED", "SCHEDULED", "SENDING", "SENT"),
    "hs_task_status": ("COMPLETED", "DEFERRED", "IN_PROGRESS", "NOT_STARTED", "WAITING"),
    "hs_task_priority": ("HIGH", "LOW", "MEDIUM", "NONE"),
    "hs_task_type": ("CALL", "EMAIL", "LINKED_IN_MESSAGE", "TODO"),
    "hs_communication_channel_type": ("LINKEDIN_MESSAGE", "SMS", "WHATS_APP"),
    "hs_communication_logged_from": ("CRM",),
}  # fmt: skip
"""Of enumerations. One that is not here takes any value."""
OPEN = frozenset(("hubspot_owner_id", "hs_activity_type", "hs_call_disposition", "hs_additional_emails",
                  "hs_merged_object_ids"))  # fmt: skip


def opted_out_of(topic_id: int) -> str:
    """The property that tells whether a contact opted out of one subscription type."""
    return f"hs_email_optout_{topic_id}"


def built_in(of: ObjectType, at: int) -> dict[str, Property]:
    """The properties of a type of objects, by name."""
    if of.is_contact:
        written, read_only, group = _CONTACT, _CONTACT_READ_ONLY, "contactinformation"
    else:
        written, read_only, group = (*_ACTIVITY, *_OF_TYPE[of.name]), _ACTIVITY_READ_ONLY, f"{of.singular}information"
    made: dict[str, Property] = {}
    for told in (*written, *read_only):
        name, label, type_, field_type = told
        made[name] = Property(
            name, label, type_, field_type, group, _choices(name, type_), is_read_only=told in read_only,
            is_form_field=of.is_contact and told not in read_only, made_at=at, changed_at=at,
            is_unique=of.is_contact and name == "email",
        )  # fmt: skip
    return made


def _choices(name: str, type_: str) -> tuple[Choice, ...]:
    values = _YES_NO if type_ == "bool" else _OPTIONS.get(name, ())
    return tuple(Choice(value, value.replace("_", " ").capitalize()) for value in values)
