"""Definitions of properties, and their groups."""

import re
from collections.abc import Callable

from app.sandbox.hubspot.batch_calls import answer, fault
from app.sandbox.hubspot.object_calls import type_named
from app.sandbox.hubspot.portal import ADMIN, Portal
from app.sandbox.hubspot.records import Choice, Group, Property
from app.sandbox.hubspot.showing import property_
from app.sandbox.hubspot.table import Table
from app.sandbox.hubspot.wire import Call, Json, Refused, Reply, as_object, invalid, not_found, not_json, text_of

_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")
_FIELD_TYPES = {
    "string": ("text", "textarea", "file", "html", "phonenumber"),
    "number": ("number",),
    "date": ("date",),
    "datetime": ("date",),
    "enumeration": ("select", "radio", "checkbox", "booleancheckbox"),
    "bool": ("booleancheckbox", "select", "radio"),
}
_KEYS = ("name", "label", "type", "fieldType", "groupName", "description", "options", "displayOrder", "hasUniqueValue",
         "hidden", "formField", "externalOptions", "referencedObjectType", "calculationFormula", "dataSensitivity",
         "numberDisplayHint", "showCurrencySymbol", "currencyPropertyName")  # fmt: skip
_FIXED = ("name", "hasUniqueValue", "externalOptions", "referencedObjectType", "dataSensitivity")


def index(portal: Portal, call: Call) -> Reply:
    archived = call.query.flag("archived")
    rows = [property_(one) for one in _known(portal, call).values() if one.is_archived == archived]
    return Reply({"results": rows}, rows=len(rows))


def get(portal: Portal, call: Call) -> Reply:
    one = _known(portal, call).get(call.path["name"])
    if one is None or one.is_archived != call.query.flag("archived"):
        raise not_found()
    return Reply(property_(one), rows=1)


def create(portal: Portal, call: Call) -> Reply:
    return Reply(property_(make(portal, call.path["type"], call.body)), 201, 1)


def change(portal: Portal, call: Call) -> Reply:
    one = _custom(portal, call)
    body = call.object([key for key in _KEYS if key not in _FIXED])
    type_, field_type = str(body.get("type", one.type)), str(body.get("fieldType", one.field_type))
    _check_type(type_, field_type)
    options = _options(body, type_) if "options" in body or type_ != one.type else one.options
    one.group = _group(portal, call.path["type"], body.get("groupName", one.group))
    one.type, one.field_type, one.options = type_, field_type, options
    one.label, one.description = str(body.get("label", one.label)), str(body.get("description", one.description))
    one.is_hidden, one.is_form_field = bool(body.get("hidden")), bool(body.get("formField", one.is_form_field))
    one.changed_at = portal.millis()
    return Reply(property_(one), rows=1)


def archive(portal: Portal, call: Call) -> Reply:
    """Nobody sees any more what records have of it."""
    one = _custom(portal, call)
    one.is_archived, one.changed_at = True, portal.millis()
    return Reply(None, 204)


def create_many(portal: Portal, call: Call) -> Reply:
    """What is there already is told; the others are made."""
    return _each(portal, call, lambda given: property_(make(portal, call.path["type"], given)), 201)


def read_many(portal: Portal, call: Call) -> Reply:
    known = _known(portal, call)

    def read(given: object) -> Json:
        one = known.get(text_of(as_object(given, ("name",)), "name"))
        if one is None or one.is_archived:
            raise not_found()
        return property_(one)

    return _each(portal, call, read, 200, ("inputs", "archived", "dataSensitivity"))


def archive_many(portal: Portal, call: Call) -> Reply:
    known = _known(portal, call)
    for given in call.inputs():
        one = known.get(text_of(as_object(given, ("name",)), "name"))
        if one is not None and one.is_custom:
            one.is_archived = True
    return Reply(None, 204)


def make(portal: Portal, type_name: str, given: object) -> Property:
    """A new custom property. Raises Refused (400, 409)."""
    of, body = type_named(type_name), as_object(given, _KEYS)
    known = portal.properties[of.name]
    name, label, type_, field_type = (text_of(body, key) for key in ("name", "label", "type", "fieldType"))
    if not _NAME.fullmatch(name):
        raise invalid(f"Property name '{name[:60]}' is invalid: lower-case letters, digits and _ are possible")
    if name in known and not known[name].is_archived:
        raise Refused(409, f"A property named '{name}' already exists.", "OBJECT_ALREADY_EXISTS")
    _check_type(type_, field_type)
    cap, custom = portal.faults.property_cap, sum(one.is_custom and not one.is_archived for one in known.values())
    if cap and custom >= cap:
        detail = {"message": f"The limit of {cap} custom properties is reached", "code": "PROPERTY_LIMIT_REACHED"}
        raise invalid(f"You have reached the limit of {cap} custom properties.", errors=[detail])
    at = portal.millis()
    made = Property(
        name, label, type_, field_type, _group(portal, type_name, body.get("groupName")), _options(body, type_),
        str(body.get("description") or ""), is_custom=True, is_unique=bool(body.get("hasUniqueValue")),
        is_hidden=bool(body.get("hidden")), is_form_field=bool(body.get("formField")), made_at=at, changed_at=at,
        made_by=ADMIN, display_order=_order(body, -1), unseen=portal.faults.property_lag_calls,
    )  # fmt: skip
    if known.pop(name, None) is not None:
        _forget(portal.tables[of.name], name)
    known[name] = made
    return made


def _forget(table: Table, name: str) -> None:
    """What records had of an archived property is not of the new one."""
    for record in [one for one in table.live.values() if name in one.values or name in one.history]:
        values = {key: value for key, value in record.values.items() if key != name}
        history = {key: entries for key, entries in record.history.items() if key != name}
        table.put(record._replace(values=values, history=history))


def groups(portal: Portal, call: Call) -> Reply:
    return Reply({"results": [_shown(one) for one in _groups(portal, call).values()]})


def get_group(portal: Portal, call: Call) -> Reply:
    one = _groups(portal, call).get(call.path["name"])
    if one is None:
        raise not_found()
    return Reply(_shown(one))


def create_group(portal: Portal, call: Call) -> Reply:
    return Reply(_shown(make_group(portal, call.path["type"], call.body)), 201)


def change_group(portal: Portal, call: Call) -> Reply:
    one = _groups(portal, call).get(call.path["name"])
    if one is None:
        raise not_found()
    body = call.object(("label", "displayOrder"))
    one.label, one.display_order = str(body.get("label", one.label)), _order(body, one.display_order)
    return Reply(_shown(one))


def archive_group(portal: Portal, call: Call) -> Reply:
    if any(one.group == call.path["name"] and not one.is_archived for one in _known(portal, call).values()):
        raise invalid("The group has properties")
    _groups(portal, call).pop(call.path["name"], None)
    return Reply(None, 204)


def make_group(portal: Portal, type_name: str, given: object) -> Group:
    """Raises Refused (400, 409)."""
    body = as_object(given, ("name", "label", "displayOrder"))
    name, label = text_of(body, "name"), text_of(body, "label")
    known = portal.groups[type_named(type_name).name]
    if not _NAME.fullmatch(name):
        raise invalid(f"Property group name '{name[:60]}' is invalid")
    if name in known:
        raise Refused(409, f"A property group named '{name}' already exists.", "OBJECT_ALREADY_EXISTS")
    known[name] = Group(name, label, _order(body, -1))
    return known[name]


def _each(
    portal: Portal,
    call: Call,
    act: Callable[[object], Json],
    status: int,
    known: tuple[str, ...] = ("inputs",),
) -> Reply:
    rows, errors = [], []
    for given in call.inputs(known=known):
        try:
            rows.append(act(given))
        except Refused as refused:
            if refused.status == 400:
                raise
            name = str(as_object(given).get("name"))
            errors.append(fault(refused.category or "", refused.message, {"name": [name]}))
    return answer(portal, rows, errors, status)


def _known(portal: Portal, call: Call) -> dict[str, Property]:
    return portal.properties[type_named(call.path["type"]).name]


def _groups(portal: Portal, call: Call) -> dict[str, Group]:
    return portal.groups[type_named(call.path["type"]).name]


def _custom(portal: Portal, call: Call) -> Property:
    """One that may be edited. Raises Refused (400, 404)."""
    one = _known(portal, call).get(call.path["name"])
    if one is None or one.is_archived:
        raise not_found()
    if not one.is_custom:
        raise invalid(f"{one.name} is defined by HubSpot and cannot be edited")
    return one


def _group(portal: Portal, type_name: str, given: object) -> str:
    if not isinstance(given, str) or not given:
        raise not_json("some of required attributes are not set [groupName]")
    if given not in portal.groups[type_named(type_name).name]:
        raise invalid(f"Property group '{given[:60]}' does not exist")
    return given


def _order(body: Json, default: int) -> int:
    given = body.get("displayOrder", default)
    if not isinstance(given, int) or isinstance(given, bool):
        raise not_json("Cannot deserialize value of 'displayOrder'")
    return given


def _check_type(type_: str, field_type: str) -> None:
    if type_ not in _FIELD_TYPES:
        raise not_json(f"Cannot deserialize value of type from '{type_[:60]}'")
    if field_type not in _FIELD_TYPES[type_]:
        raise invalid(f"fieldType '{field_type[:60]}' is invalid for type '{type_}'")


def _options(body: Json, type_: str) -> tuple[Choice, ...]:
    given = body.get("options") or []
    if not isinstance(given, list):
        raise not_json("Cannot deserialize value of 'options'")
    made = []
    for one in given:
        option = as_object(one, ("label", "value", "hidden", "displayOrder", "description"))
        made.append(Choice(text_of(option, "value"), text_of(option, "label"), bool(option.get("hidden"))))
    if len({one.value for one in made}) < len(made) or len({one.label for one in made}) < len(made):
        raise invalid("Option values and labels must be unique")
    if type_ == "bool":
        if made and {one.value for one in made} != {"true", "false"}:
            raise invalid("Boolean properties must have exactly two options: true and false")
        return tuple(made) or (Choice("true", "Yes"), Choice("false", "No"))
    return tuple(made)


def _shown(one: Group) -> Json:
    return {"name": one.name, "label": one.label, "displayOrder": one.display_order, "archived": False}
