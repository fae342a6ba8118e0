"""Making columns and keys.

Source: "Create and update column definitions using the Web API", "Work with alternate keys".
"""

import re
from dataclasses import replace
from typing import Any

from app.sandbox.dynamics.columns import Column, Key, Option, Table
from app.sandbox.dynamics.org import INTEGRATION, Org
from app.sandbox.dynamics.tables import metadata_id
from app.sandbox.dynamics.wire import Call, Json, Refusal, payload_fault

_NAME = re.compile(r"([A-Za-z][A-Za-z0-9]{1,7})_[A-Za-z][A-Za-z0-9_]{0,48}", re.ASCII)
_INVALID_NAME, _TAKEN, _INVALID = "0x8004f026", "0x80047013", "0x80044353"
_TYPES = ("String", "Memo", "Integer", "Decimal", "Double", "Money", "Boolean", "DateTime", "Picklist")
_LONGEST = {"String": 4_000, "Memo": 1_048_576}
_RANGES = {
    "Integer": (-2_147_483_648, 2_147_483_647),
    "Decimal": (-100_000_000_000, 100_000_000_000),
    "Double": (-100_000_000_000, 100_000_000_000),
    "Money": (-922_337_203_685_477, 922_337_203_685_477),
}
_FORMATS = {
    "String": ("Text", "TextArea", "Email", "Url", "Phone", "TickerSymbol"),
    "DateTime": ("DateAndTime", "DateOnly"),
}
_MOST_KEYS, _MOST_KEY_COLUMNS = 10, 16
_IN_KEYS = ("String", "Integer", "Decimal", "DateTime", "Lookup", "Picklist")


def make_column(org: Org, of: Table, call: Call) -> Column:
    """Raises Refusal."""
    org.check_privilege(call.user_id, "prvCreateAttribute", "attribute")
    solution = call.headers.get("mscrm.solutionuniquename")
    if solution is not None and not org.rows("solution").having("uniquename", solution):
        raise Refusal("0x80060888", f"The solution '{solution}' does not exist.", 404)
    column = read_column(org, of, call.object())
    add_column(org, of, column)
    return column


def add_column(org: Org, of: Table, column: Column) -> None:
    of.add(column)
    org.columns_made_at[of.name, column.name] = org.now()
    org.changed_columns(of)


def remove_column(org: Org, of: Table, column: Column, user: str) -> None:
    """Raises Refusal."""
    if user == INTEGRATION:
        org.check_privilege(user, "prvDeleteAttribute", "attribute")
    if not column.custom or any(column.name in key.columns for key in of.keys.values()):
        raise Refusal("0x8004f01f", f"The column '{column.name}' cannot be deleted: something needs it.")
    of.remove(column.name)
    org.changed_columns(of)


def make_key(org: Org, of: Table, call: Call) -> Key:
    """Raises Refusal."""
    org.check_privilege(call.user_id, "prvCreateEntityKey", "entitykey")
    body = call.object()
    name, columns = body.get("SchemaName"), body.get("KeyAttributes")
    if not isinstance(name, str) or not isinstance(columns, list) or not 1 <= len(columns) <= _MOST_KEY_COLUMNS:
        raise payload_fault("A key has a SchemaName and KeyAttributes.")
    _check_prefix(org, name)
    if name in of.keys or len(of.keys) >= _MOST_KEYS:
        raise Refusal("0x80060890", f"An entity key '{name}' cannot be added to '{of.name}'.")
    for one in columns:
        column = of.columns.get(one)
        if column is None or column.type not in _IN_KEYS or org.is_locked(of, column):
            raise Refusal("0x80060891", f"The column '{one}' cannot be part of a key.")
        if not org.rows(of.name).is_indexed(column.name):
            org.rows(of.name).index(column.name)
    made = Key(name, tuple(columns), _label(org, body.get("DisplayName"), name), metadata_id(of.name, "key", name))
    of.keys[name] = made
    return made


def read_column(org: Org, of: Table, body: Json) -> Column:
    """The column that a body of metadata describes. Raises Refusal."""
    type_ = str(body.get("@odata.type", "")).removeprefix("#").removeprefix("Microsoft.Dynamics.CRM.")
    type_ = type_.removesuffix("AttributeMetadata")
    if type_ not in _TYPES or body.get("AttributeType", type_) != type_:
        raise payload_fault(f"A column of type '{type_}' cannot be made.")
    schema_name = body.get("SchemaName")
    if not isinstance(schema_name, str):
        raise payload_fault("A column has a SchemaName.")
    _check_prefix(org, schema_name)
    name = schema_name.lower()
    if name in of.columns:
        message = f"Attribute {name} for entity {of.name} already exists, so it cannot be created again."
        raise Refusal(_TAKEN, message)
    if not isinstance(body.get("DisplayName"), dict):
        raise payload_fault("A column has a DisplayName.")
    required = body.get("RequiredLevel") or {}
    level = str(required.get("Value", "None")) if isinstance(required, dict) else "None"
    label = _label(org, body.get("DisplayName"), schema_name)
    id_ = metadata_id(of.name, name)
    made = Column(name, type_, label, schema_name, custom=True, metadata_id=id_, required=level)
    return _typed(org, made, body)


def _typed(org: Org, made: Column, body: Json) -> Column:
    match made.type:
        case "String" | "Memo":
            length = body.get("MaxLength", 100 if made.type == "String" else 2_000)
            if isinstance(length, bool) or not isinstance(length, int) or not 1 <= length <= _LONGEST[made.type]:
                raise Refusal(_INVALID, f"MaxLength of '{made.name}' is out of range.")
            named = body.get("FormatName") or {}
            format_ = named.get("Value") if isinstance(named, dict) else None
            return replace(
                made, length=length, format=_format(made, format_ or "Text") if made.type == "String" else ""
            )
        case "Integer" | "Decimal" | "Double" | "Money":
            lowest, highest = _RANGES[made.type]
            low, high = body.get("MinValue", lowest), body.get("MaxValue", highest)
            if any(isinstance(one, bool) or not isinstance(one, int | float) for one in (low, high)):
                raise payload_fault("MinValue and MaxValue are numbers.")
            if not lowest <= low <= high <= highest:
                raise Refusal(_INVALID, f"MinValue and MaxValue of '{made.name}' are out of range.")
            precision = body.get("Precision", 0 if made.type == "Integer" else 2)
            if isinstance(precision, bool) or not isinstance(precision, int) or not 0 <= precision <= 10:
                raise Refusal(_INVALID, f"Precision of '{made.name}' is out of range.")
            return replace(made, lowest=low, highest=high, precision=precision, format="None")
        case "Boolean":
            options = body.get("OptionSet")
            if not isinstance(options, dict) or not {"TrueOption", "FalseOption"} <= options.keys():
                raise payload_fault("A Boolean column has an OptionSet with TrueOption and FalseOption.")
            labels = tuple(
                Option(value, _label(org, (options[name] or {}).get("Label"), ("No", "Yes")[value]))
                for value, name in enumerate(("FalseOption", "TrueOption"))
            )
            # Rows that are there already hold nothing: the default is for new ones.
            return replace(made, default=body.get("DefaultValue") is True, options=labels)
        case "DateTime":
            return replace(made, format=_format(made, body.get("Format") or "DateAndTime"))
    options = body.get("OptionSet")
    listed = options.get("Options") if isinstance(options, dict) else None
    if not isinstance(listed, list) or not listed:
        raise payload_fault("A Picklist column has an OptionSet with Options.")
    return replace(made, options=tuple(_choice(org, number, one) for number, one in enumerate(listed)))


def _choice(org: Org, number: int, said: Any) -> Option:  # Any: JSON
    if not isinstance(said, dict):
        raise payload_fault("An option is an object.")
    value = said.get("Value")
    label = _label(org, said.get("Label"), "")
    # What has no value gets one that begins with the publisher's number.
    return Option(value if isinstance(value, int) and not isinstance(value, bool) else 100_000_000 + number, label)


def _format(made: Column, said: Any) -> str:  # Any: JSON
    if said not in _FORMATS[made.type]:
        raise Refusal(_INVALID, f"The format of '{made.name}' is not one of {', '.join(_FORMATS[made.type])}.")
    return str(said)


def _check_prefix(org: Org, schema_name: str) -> None:
    match = _NAME.fullmatch(schema_name)
    if match is None or match[1].lower() not in org.prefixes():
        raise Refusal(_INVALID_NAME, f"The name '{schema_name}' does not begin with the prefix of a publisher.")


def _label(org: Org, said: Any, default: str) -> str:  # Any: JSON
    """The text of a label in the base language. Raises Refusal if it has none in that."""
    labels = said.get("LocalizedLabels") if isinstance(said, dict) else None
    if not isinstance(labels, list) or not labels:
        return default
    for one in labels:
        if (
            isinstance(one, dict)
            and one.get("LanguageCode") == org.faults.language
            and isinstance(one.get("Label"), str)
        ):
            return str(one["Label"]) or default
    raise Refusal(_INVALID, f"A label has no text in the base language {org.faults.language}.")
