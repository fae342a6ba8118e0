"""The Tooling API, as far as custom fields are made and found by it. Source: Salesforce's Tooling API pages."""

import re
from typing import Any

from app.sandbox.salesforce import checks
from app.sandbox.salesforce.fields import Field, Object
from app.sandbox.salesforce.org import Org
from app.sandbox.salesforce.wire import Call, Json, Refusal, Reply, long_id, not_found

_NAME = re.compile(r"[A-Za-z](?:_?[A-Za-z0-9])*__c")
_LONGEST_NAME = 40
_PACKAGED = re.compile(r"[A-Za-z][A-Za-z0-9]{0,14}__[A-Za-z](?:_?[A-Za-z0-9])*__c")
# The Metadata API's word for a type → describe's.
_TYPES = {
    "Number": "double", "Percent": "percent", "Currency": "currency", "Text": "string", "TextArea": "textarea",
    "LongTextArea": "textarea", "Checkbox": "boolean", "Date": "date", "DateTime": "datetime", "Email": "email",
    "Phone": "phone", "Url": "url", "Picklist": "picklist",
}  # fmt: skip
_LENGTHS = {"TextArea": 255, "Email": 80, "Phone": 40, "Url": 255, "Picklist": 255}
_CHECKBOX = "Checkbox"


class Tooling:
    def __init__(self, org: Org) -> None:
        self._org = org

    def create(self, call: Call) -> Reply:
        body = call.object()
        name, metadata = body.get("FullName"), body.get("Metadata")
        if self._org.faults.no_customize:
            message = "insufficient access rights on cross-reference id"
            raise Refusal("INSUFFICIENT_ACCESS", message, status=403)
        if not isinstance(name, str) or not isinstance(metadata, dict):
            raise checks.missing(["FullName", "Metadata"])
        object_name, _, field_name = name.partition(".")
        id_ = make_field(self._org, object_name, field_name, metadata, granted=False, by=call.user_id)
        return Reply(201, {"id": id_, "success": True, "errors": [], "warnings": [], "infos": []})

    def read(self, call: Call) -> Reply:
        row = self._org.table("CustomField").rows.get(long_id(call.parts[3]) or "")
        if row is None:
            raise not_found()
        url = call.url("tooling", "sobjects", "CustomField", row["Id"])
        return Reply(body={"attributes": {"type": "CustomField", "url": url}, **row})


def make_field(org: Org, object_name: str, name: str, metadata: Json, *, granted: bool, by: str) -> str:
    """Make a custom field as the Metadata API describes it; its id. Raises Refusal."""
    of = org.object(object_name)
    if of is None:
        raise Refusal("INVALID_FIELD", f"no such object: {object_name}", fields=["FullName"])
    local = name.removesuffix("__c")
    is_named = _NAME.fullmatch(name) and len(local) <= _LONGEST_NAME
    if not is_named and not (granted and _PACKAGED.fullmatch(name)):
        message = (
            "The name can only contain alphanumeric characters, must begin with a letter, cannot end with an "
            "underscore or contain two consecutive underscore characters"
        )
        raise Refusal("INVALID_FIELD", f"Field Name: {message}: {name}", fields=["FullName"])
    if name.lower() in of.fields:
        message = f"There is already a field named {local} on {of.label}."
        raise Refusal("DUPLICATE_DEVELOPER_NAME", message, fields=["FullName"])
    return org.add_field(of, _field(of, name, metadata), granted=granted, by=by)


def _field(of: Object, name: str, metadata: Json) -> Field:
    type_, label = metadata.get("type"), metadata.get("label")
    if not isinstance(type_, str) or type_ not in _TYPES:
        raise Refusal("INVALID_FIELD", f"type is one of {', '.join(_TYPES)}", fields=["Metadata"])
    if not isinstance(label, str) or not 1 <= len(label) <= _LONGEST_NAME:
        message = f"label is a text of 1 to {_LONGEST_NAME} characters"
        raise Refusal("REQUIRED_FIELD_MISSING", message, fields=["Metadata"])
    if type_ == _CHECKBOX and not isinstance(_false(metadata.get("defaultValue")), bool):
        raise Refusal("FIELD_INTEGRITY_EXCEPTION", "Can not specify 'defaultValue' for this field", fields=["Metadata"])
    is_number = type_ in ("Number", "Percent", "Currency")
    precision = _whole(metadata, "precision", 1, 18) if is_number else 0
    scale = _whole(metadata, "scale", 0, precision) if is_number else 0
    length = _LENGTHS.get(type_, 0)
    if type_ == "Text":
        length = _whole(metadata, "length", 1, 255)
    elif type_ == "LongTextArea":
        length = _whole(metadata, "length", 256, 131_072)
    is_external = metadata.get("externalId") is True
    is_unique = metadata.get("unique") is True
    if (is_external or is_unique) and type_ not in ("Number", "Text", "Email"):
        raise Refusal("INVALID_FIELD", f"a field of type {type_} is no external id of {of.label}", fields=["Metadata"])
    help_ = metadata.get("inlineHelpText")
    return Field(
        name, label, _TYPES[type_], length, precision, scale,
        required=metadata.get("required") is True,
        default=True if _false(metadata.get("defaultValue")) is True else None,
        values=_values(metadata.get("valueSet")),
        restricted=_is_restricted(metadata.get("valueSet")),
        external_id=is_external, unique=is_unique,
        case_sensitive=metadata.get("caseSensitive") is True, indexed=is_external or is_unique,
        help=help_ if isinstance(help_, str) else None,
    )  # fmt: skip


def _false(value: object) -> object:
    """A checkbox' default may be written as text."""
    return {"true": True, "false": False, None: False}.get(value, value) if isinstance(value, str | None) else value


def _whole(metadata: Json, name: str, least: int, most: int) -> int:
    value = metadata.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise Refusal("FIELD_INTEGRITY_EXCEPTION", f"{name} is from {least} to {most}", fields=["Metadata"])
    return value


def _values(value_set: Any) -> tuple[str, ...]:  # Any: JSON
    definition = value_set.get("valueSetDefinition") if isinstance(value_set, dict) else None
    listed = definition.get("value") if isinstance(definition, dict) else None
    if not isinstance(listed, list):
        return ()
    return tuple(str(one.get("fullName")) for one in listed if isinstance(one, dict))


def _is_restricted(value_set: Any) -> bool:  # Any: JSON
    return isinstance(value_set, dict) and value_set.get("restricted") is True
