"""Field definitions of persons and of deals, whose custom fields leads share."""

from collections.abc import Sequence
from typing import Any

from app.sandbox.pipedrive import values
from app.sandbox.pipedrive.company import Company
from app.sandbox.pipedrive.paging import offset_cursor, offset_of
from app.sandbox.pipedrive.records import Field
from app.sandbox.pipedrive.wire import Call, Json, Refused, Reply, done, invalid, not_found, offset_page, paged, plain

_LOOK = ("ui_visibility", "important_fields", "required_fields")
_STATUSES: dict[int | str, str] = {
    "no_consent": "No consent", "unsubscribed": "Unsubscribed", "subscribed": "Subscribed", "archived": "Archived"
}  # fmt: skip
_VISIBLE: dict[int | str, str] = {"1": "Owner", "3": "All users", "5": "Owner's group", "7": "Owner's group and below"}
_BUILT_IN: dict[str, list[tuple[str, str, str, dict[int | str, str] | None]]] = {
    "person": [
        ("id", "ID", "int", None),
        ("name", "Name", "varchar", None),
        ("first_name", "First name", "varchar", None),
        ("last_name", "Last name", "varchar", None),
        ("emails", "Email", "varchar", None),
        ("phones", "Phone", "phone", None),
        ("label_ids", "Labels", "set", {"1": "Label 1", "2": "Label 2"}),
        ("org_id", "Organization", "org", None),
        ("owner_id", "Owner", "user", None),
        ("visible_to", "Visible to", "visible_to", _VISIBLE),
        ("add_time", "Person created", "date", None),
        ("update_time", "Update time", "date", None),
    ],
    "deal": [
        ("id", "ID", "int", None),
        ("title", "Title", "varchar", None),
        ("value", "Value", "monetary", None),
        ("person_id", "Contact person", "people", None),
        ("org_id", "Organization", "org", None),
        ("owner_id", "Owner", "user", None),
        ("add_time", "Deal created", "date", None),
        ("update_time", "Update time", "date", None),
    ],
    # These can be read only.
    "activity": [("id", "ID", "int", None), ("subject", "Subject", "varchar", None), ("type", "Type", "varchar", None),
                 ("due_date", "Due date", "date", None), ("done", "Done", "varchar", None)],
    "organization": [("id", "ID", "int", None), ("name", "Name", "varchar", None)],
    "product": [("id", "ID", "int", None), ("name", "Name", "varchar", None)],
    "note": [("id", "ID", "int", None), ("content", "Content", "text", None)],
}  # fmt: skip
_FIRST_VERSION_KEYS = {"emails": "email", "phones": "phone", "label_ids": "label"}


def built_in(company: Company) -> None:
    """Make the fields that every company has."""
    for entity, known in _BUILT_IN.items():
        for code, name, kind, options in known:
            _keep(company, entity, Field(0, name, code, kind, False, 0, 0, options))
    status = Field(0, "Marketing status", "marketing_status", "enum", False, 0, 0, dict(_STATUSES), is_optional=True)
    _keep(company, "person", status)


def _keep(company: Company, entity: str, field: Field) -> Field:
    field.id = company.next_id("field")
    field.added = field.updated = company.now()
    company.fields[entity][field.code] = field
    return field


def make(company: Company, entity: str, name: object, kind: object, options: object) -> Field:
    """A new custom field. Names need not differ. Raises Refused (400, 403)."""
    if not isinstance(name, str) or not 1 <= len(name) <= 255:
        raise invalid("field_name", "should be a string of 1 to 255 characters")
    if not isinstance(kind, str) or kind not in values.TYPES:
        raise invalid("field_type", f"should be one of {', '.join(values.TYPES)}")
    labels = _labels(options, "options") if kind in ("enum", "set") else None
    cap = company.faults.custom_field_cap
    if cap and sum(field.is_custom for fields in company.fields.values() for field in fields.values()) >= cap:
        raise Refused(403, "The limit of custom fields is reached", code="feature_capping_custom_fields_limit")
    code = company.secret(f"field {company.next_id('code')}")
    field = Field(0, name, code, kind, True, 0, 0)
    if labels is not None:
        field.options = {company.next_id("option"): label for label in labels}
    return _keep(company, entity, field)


def _labels(given: object, path: str) -> list[str]:
    if not isinstance(given, list) or not given:
        raise invalid(path, "should be a list of objects with a label, not empty")
    for at, one in enumerate(given):
        label = one.get("label") if isinstance(one, dict) else None
        if not isinstance(label, str) or not label.strip():
            raise invalid(f"{path}[{at}].label", "should be a string, not empty")
    return [one["label"] for one in given]


def shown(field: Field, look: Sequence[str] = ()) -> Json:
    """The second version's, and what of its look `include_fields` asks for."""
    options = None if field.options is None else [{"id": at, "label": label} for at, label in field.options.items()]
    return {
        "field_name": field.name,
        "field_code": field.code,
        "field_type": field.type,
        "options": options,
        "subfields": None,
        "is_custom_field": field.is_custom,
        "is_optional_response_field": field.is_optional,
        **{name: field.look.get(name) for name in look},
    }


def first_version(field: Field, order: int) -> Json:
    options = None if field.options is None else [{"id": at, "label": label} for at, label in field.options.items()]
    return {
        "id": field.id,
        "key": _FIRST_VERSION_KEYS.get(field.code, field.code),
        "name": field.name,
        "order_nr": order,
        "field_type": field.type,
        "json_column_flag": False,
        "add_time": plain(field.added),
        "update_time": plain(field.updated),
        "last_updated_by_user_id": None,
        "edit_flag": field.is_custom,
        "details_visible_flag": True,
        "add_visible_flag": False,
        "important_flag": False,
        "bulk_edit_allowed": True,
        "searchable_flag": field.type in values.SEARCHABLE,
        "filtering_allowed": True,
        "sortable_flag": True,
        "mandatory_flag": False,
        "active_flag": True,
        **({} if options is None else {"options": options}),
    }


class Fields:
    """The calls on the fields of one kind of record."""

    def __init__(self, entity: str) -> None:
        self.entity = entity

    def _custom(self, company: Company, call: Call) -> Field:
        field = self._any(company, call)
        if not field.is_custom:
            raise Refused(403, "This field cannot be changed")
        return field

    def _any(self, company: Company, call: Call) -> Field:
        field = company.fields[self.entity].get(call.path["code"])
        if field is None:
            raise not_found()
        return field

    def _choice(self, company: Company, call: Call) -> tuple[Field, dict[int | str, str], list[Any]]:  # Any: JSON
        """A field with options, these, and the body."""
        field = self._custom(company, call)
        if field.options is None:
            raise invalid("field_code", f"{field.code} has no options")
        if not isinstance(call.body, list) or not call.body or not all(isinstance(one, dict) for one in call.body):
            raise invalid("body", "should be a list of objects, not empty")
        return field, field.options, call.body

    def index(self, company: Company, call: Call) -> Reply:
        start, limit = offset_of(call.query), call.query.limit()
        known = list(company.fields[self.entity].values())
        if company.faults.without_campaigns:
            known = [field for field in known if field.code != "marketing_status"]
        more = start + limit < len(known)
        look = _asked_look(call)
        rows = [shown(field, look) for field in known[start : start + limit]]
        return paged(rows, offset_cursor(start + limit) if more else None)

    def get(self, company: Company, call: Call) -> Reply:
        return done(shown(self._any(company, call), _asked_look(call)))

    def add(self, company: Company, call: Call) -> Reply:
        body = call.object(("field_name", "field_type", "options", *_LOOK))
        look = _look(body)
        field = make(company, self.entity, body.get("field_name"), body.get("field_type"), body.get("options"))
        field.look = look
        return done(shown(field))

    def change(self, company: Company, call: Call) -> Reply:
        field = self._custom(company, call)
        body = call.object(("field_name", *_LOOK))
        name = body.get("field_name", field.name)
        if not body or not isinstance(name, str) or not 1 <= len(name) <= 255:
            raise invalid("body", "should name at least one of field_name, ui_visibility and what is important")
        field.look |= _look(body)
        field.name, field.updated = name, company.now()
        return done(shown(field))

    def delete(self, company: Company, call: Call) -> Reply:
        """Its values go with it, for good: a key is never given again."""
        field = self._custom(company, call)
        del company.fields[self.entity][field.code]
        return done(shown(field))

    def add_options(self, company: Company, call: Call) -> Reply:
        _, options, body = self._choice(company, call)
        labels = _labels(body, "body")
        made: dict[int | str, str] = {company.next_id("option"): label for label in labels}
        options.update(made)
        return done([{"id": number, "label": label} for number, label in made.items()])

    def change_options(self, company: Company, call: Call) -> Reply:
        _, options, body = self._choice(company, call)
        labels = _labels(body, "body")
        numbers = [self._option(options, one, at) for at, one in enumerate(body)]
        options.update(zip(numbers, labels, strict=True))
        return done([{"id": number, "label": options[number]} for number in numbers])

    def delete_options(self, company: Company, call: Call) -> Reply:
        _, options, body = self._choice(company, call)
        numbers = dict.fromkeys(self._option(options, one, at) for at, one in enumerate(body))
        return done([{"id": number, "label": options.pop(number)} for number in numbers])

    def _option(self, options: dict[int | str, str], one: Json, at: int) -> int:
        number = one.get("id")
        if not isinstance(number, int) or isinstance(number, bool) or number not in options:
            raise invalid(f"body[{at}].id", "is not an option of this field")
        return number

    def first_index(self, company: Company, call: Call) -> Reply:
        start, limit = call.query.offset()
        known = list(company.fields[self.entity].values())
        rows = [first_version(field, start + at) for at, field in enumerate(known[start : start + limit + 1])]
        return offset_page(rows, start, limit)

    def first_add(self, company: Company, call: Call) -> Reply:
        body = call.object()
        field = make(company, self.entity, body.get("name"), body.get("field_type"), body.get("options"))
        return done(first_version(field, len(company.fields[self.entity])))


def _asked_look(call: Call) -> list[str]:
    asked = call.query.listed("include_fields", len(_LOOK))
    if set(asked) - set(_LOOK):
        raise invalid("include_fields", f"should be of {', '.join(_LOOK)}")
    return asked


def _look(body: Json) -> Json:
    look = {name: body[name] for name in _LOOK if name in body}
    for name, value in look.items():
        if not isinstance(value, dict):
            raise invalid(name, "should be an object")
    return look
