"""Records as answers show them."""

from app.sandbox.copper import values
from app.sandbox.copper.account import LEAD_STATUSES, Account
from app.sandbox.copper.records import Activity, Definition, Lead, Person, Point, Somebody
from app.sandbox.copper.wire import Json


class Showing:
    """People and leads, with what is the same for all rows of an answer looked up once."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._fields = {kind: account.definitions_of(kind) for kind in ("person", "lead")}

    def row(self, one: Person | Lead) -> Json:
        return self.person(one) if isinstance(one, Person) else self.lead(one)

    def person(self, one: Person) -> Json:
        return {
            **_name(one),
            "address": one.address,
            "assignee_id": one.assignee_id,
            "company_id": one.company_id,
            "company_name": one.company_name,
            "contact_type_id": one.contact_type_id,
            "details": one.details,
            "emails": [{"email": point.value, "category": point.category} for point in one.emails],
            "phone_numbers": _numbers(one),
            "socials": _urls(one.socials),
            "tags": one.tags,
            "title": one.title,
            "websites": _urls(one.websites),
            "custom_fields": self._custom(self._fields["person"], one),
            "date_created": one.date_created,
            "date_modified": one.date_modified,
            "date_last_contacted": one.date_last_contacted,
            "interaction_count": one.interaction_count,
            "leads_converted_from": one.leads_converted_from,
            "date_lead_created": one.date_lead_created,
        }

    def lead(self, one: Lead) -> Json:
        email = None if one.email is None else {"email": one.email.value, "category": one.email.category}
        return {
            **_name(one),
            "address": one.address,
            "assignee_id": one.assignee_id,
            "company_name": one.company_name,
            "customer_source_id": one.customer_source_id,
            "details": one.details,
            "email": email,
            "interaction_count": one.interaction_count,
            "monetary_unit": one.monetary_unit,
            "monetary_value": one.monetary_value,
            "socials": _urls(one.socials),
            "status": LEAD_STATUSES[one.status_id],
            "status_id": one.status_id,
            "tags": one.tags,
            "title": one.title,
            "websites": _urls(one.websites),
            "phone_numbers": _numbers(one),
            "custom_fields": self._custom(self._fields["lead"], one),
            "date_created": one.date_created,
            "date_modified": one.date_modified,
            "date_last_contacted": one.date_last_contacted,
            "converted_opportunity_id": one.converted_opportunity_id,
            "converted_contact_id": one.converted_contact_id,
            "converted_at": one.converted_at,
        }

    def _custom(self, fields: list[Definition], one: Somebody) -> list[Json]:
        """All fields that there are; null is one that is unset."""
        faults = self._account.faults
        return [
            {"custom_field_definition_id": field.id, "value": values.shown(field, one.custom.get(field.id), faults)}
            for field in fields
        ]


def row(account: Account, one: Person | Lead) -> Json:
    return Showing(account).row(one)


def activity(one: Activity) -> Json:
    if one.is_deleted:
        return {"id": one.id, "is_deleted": True}
    category, type_id = one.type
    return {
        "id": one.id,
        "parent": {"id": one.parent.id, "type": one.parent.type},
        "type": {"id": type_id, "category": category},
        "user_id": one.user_id,
        "details": one.details,
        "activity_date": one.activity_date,
        "old_value": one.old_value,
        "new_value": one.new_value,
        "date_created": one.date_created,
        "date_modified": one.date_modified,
    }


def _name(one: Somebody) -> Json:
    return {
        "id": one.id,
        "name": one.name,
        "prefix": one.prefix,
        "first_name": one.first_name,
        "middle_name": one.middle_name,
        "last_name": one.last_name,
        "suffix": one.suffix,
    }


def _numbers(one: Somebody) -> list[Json]:
    return [{"number": point.value, "category": point.category} for point in one.phone_numbers]


def _urls(points: tuple[Point, ...]) -> list[Json]:
    return [{"url": point.value, "category": point.category} for point in points]
