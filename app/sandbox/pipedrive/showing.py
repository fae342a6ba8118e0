"""Persons as they are shown: by the second version, by the first, to webhooks, and in search."""

from collections.abc import Sequence
from typing import NamedTuple

from app.sandbox.pipedrive import consents, values
from app.sandbox.pipedrive.company import COMPANY_ID, Company
from app.sandbox.pipedrive.records import Field, Person, Point
from app.sandbox.pipedrive.wire import Json, Query, invalid, iso, plain

_COUNTS = ("open_deals_count", "related_open_deals_count", "closed_deals_count", "related_closed_deals_count",
           "participant_open_deals_count", "participant_closed_deals_count", "email_messages_count", "activities_count",
           "done_activities_count", "undone_activities_count", "files_count", "notes_count", "followers_count",
           "won_deals_count", "related_won_deals_count", "lost_deals_count", "related_lost_deals_count")  # fmt: skip
_CONSENT = ("marketing_status", "doi_status")
ON_REQUEST = ("next_activity_id", "last_activity_id", *_COUNTS, "last_incoming_mail_time", "last_outgoing_mail_time",
              *_CONSENT, "smart_bcc_email")  # fmt: skip
_MOST_KEYS = 15


class View(NamedTuple):
    """What of a person a caller asked for."""

    fields: Sequence[Field]
    """Custom ones."""
    extra: Sequence[str] = ()
    with_option_labels: bool = False
    with_labels: bool = False


def view(company: Company, query: Query) -> View:
    """From `include_fields`, `custom_fields` (at most 15 keys), `include_option_labels` and `include_labels`."""
    extra = query.listed("include_fields", len(ON_REQUEST))
    for name in extra:
        if name not in ON_REQUEST:
            raise invalid("include_fields", f"'{name[:50]}' is not known")
    keys = query.listed("custom_fields", _MOST_KEYS)
    fields = custom_fields(company)
    if keys:
        fields = [field for field in fields if field.code in keys]
    return View(fields, extra, query.flag("include_option_labels") is True, query.flag("include_labels") is True)


def custom_fields(company: Company, entity: str = "person") -> list[Field]:
    return [field for field in company.fields[entity].values() if field.is_custom]


def person(company: Company, one: Person, asked: View) -> Json:
    """The second version's."""
    first, last = one.first_and_last
    omit = company.faults.omit_unset_fields
    shown: Json = {
        "id": one.id,
        "name": one.name,
        "first_name": first,
        "last_name": last,
        "owner_id": one.owner_id,
        "org_id": one.org_id,
        "add_time": iso(one.added),
        "update_time": iso(one.updated),
        "emails": points(one.emails),
        "phones": points(one.phones),
        "is_deleted": one.is_deleted,
        "visible_to": one.visible_to,
        "label_ids": one.label_ids,
        "picture_id": None,
        "custom_fields": {
            field.code: values.labelled(field, one.custom.get(field.code)) if asked.with_option_labels
            else one.custom.get(field.code)
            for field in asked.fields
            if not omit or one.custom.get(field.code) is not None
        },
    }  # fmt: skip
    if company.faults.contact_sync:
        shown |= {"job_title": one.job_title, "im": [], "postal_address": None, "notes": None, "birthday": None}
    if asked.with_labels:
        shown["labels"] = [{"id": label, "label": f"Label {label}"} for label in one.label_ids]
    for name in asked.extra:
        if name not in _CONSENT or not company.faults.without_campaigns:
            shown[name] = _on_request(company, one, name)
    return shown


def _on_request(company: Company, one: Person, name: str) -> object:
    if name == "marketing_status":
        return consents.status(company, one)
    if name == "smart_bcc_email":
        return f"{company.name}@pipedrivemail.com"
    activities = [company.activities[number] for number in company.activities_of.get(one.id, ())]
    done = [activity for activity in activities if activity.done and not activity.is_deleted]
    due = [activity for activity in activities if not activity.done and not activity.is_deleted]
    match name:
        case "activities_count":
            return len(done) + len(due)
        case "done_activities_count":
            return len(done)
        case "undone_activities_count":
            return len(due)
        case "next_activity_id":
            return min(due, key=lambda activity: activity.due_date or "9").id if due else None
        case "last_activity_id":
            return max(done, key=lambda activity: activity.done_at or 0).id if done else None
    return 0 if name in _COUNTS else None


def points(given: Sequence[Point]) -> list[Json]:
    return [{"value": point.value, "primary": point.primary, "label": point.label} for point in given]


def first_version(company: Company, one: Person) -> Json:
    first, last = one.first_and_last
    done = _on_request(company, one, "done_activities_count")
    shown: Json = {
        "id": one.id,
        "company_id": COMPANY_ID,
        "owner_id": one.owner_id,
        "org_id": one.org_id,
        "name": one.name,
        "first_name": first,
        "last_name": last,
        "active_flag": not one.is_deleted,
        # Without any, the first version shows an empty one.
        "email": points(one.emails) or [{"value": "", "primary": True}],
        "phone": points(one.phones) or [{"value": "", "primary": True}],
        "visible_to": str(one.visible_to),
        "label": one.label_ids[0] if one.label_ids else None,
        "label_ids": one.label_ids,
        "picture_id": None,
        "add_time": plain(one.added),
        "update_time": plain(one.updated),
        "org_name": None if one.org_id is None else company.orgs.get(one.org_id),
        "owner_name": company.users[one.owner_id].name,
        "cc_email": f"{company.name}@pipedrivemail.com",
        "activities_count": _on_request(company, one, "activities_count"),
        "done_activities_count": done,
        "email_messages_count": 0,
    }
    for field in custom_fields(company):
        shown.update(values.flat(field, one.custom.get(field.code)))
    return shown


def told(company: Company, one: Person) -> Json:
    """What a webhook tells of a person: custom fields are typed objects, `visible_to` is text."""
    first, last = one.first_and_last
    shown: Json = {
        "id": one.id,
        "name": one.name,
        "first_name": first,
        "last_name": last,
        "owner_id": one.owner_id,
        "org_id": one.org_id,
        "add_time": iso(one.added),
        "update_time": iso(one.updated),
        "emails": points(one.emails),
        "phones": points(one.phones),
        "label": one.label_ids[0] if one.label_ids else None,
        "label_ids": one.label_ids,
        "visible_to": str(one.visible_to),
        "custom_fields": {
            field.code: values.typed(field, one.custom.get(field.code)) for field in custom_fields(company)
        },
    }
    if company.faults.contact_sync:
        shown["job_title"] = one.job_title
    return shown


def hit(company: Company, one: Person, score: float) -> Json:
    """What search tells of a person: addresses and custom fields are text."""
    owner = company.users[one.owner_id]
    searched = [
        str(values.flat(field, one.custom[field.code])[field.code])
        for field in custom_fields(company)
        if field.type in values.SEARCHABLE and one.custom.get(field.code) is not None
    ]
    item: Json = {
        "id": one.id,
        "type": "person",
        "name": one.name,
        "phones": [point.value for point in one.phones],
        "emails": [point.value for point in one.emails],
        "primary_email": one.email,
        "visible_to": one.visible_to,
        "owner": {"id": owner.id},
        "organization": None,
        "custom_fields": searched,
        "notes": [],
        "update_time": iso(one.updated),
    }
    if one.org_id is not None:
        item["organization"] = {"id": one.org_id, "name": company.orgs.get(one.org_id), "address": None}
    return {"result_score": score, "item": item}
