"""What a column takes, and how it is kept. Source: "Create a table row using the Web API", the column type pages."""

from typing import Any

from app.sandbox.dynamics.columns import CHOICES, Column, Table
from app.sandbox.dynamics.org import Org
from app.sandbox.dynamics.wire import (
    INVALID,
    Call,
    Json,
    Ref,
    Refusal,
    Row,
    day,
    guid,
    instant,
    no_property,
    no_row,
    payload_fault,
)

_EDM = {
    "Integer": "Edm.Int32", "Picklist": "Edm.Int32", "State": "Edm.Int32", "Status": "Edm.Int32",
    "BigInt": "Edm.Int64", "Decimal": "Edm.Decimal", "Money": "Edm.Decimal", "Double": "Edm.Double",
    "Boolean": "Edm.Boolean", "DateTime": "Edm.DateTimeOffset", "Uniqueidentifier": "Edm.Guid",
}  # fmt: skip
_NUMERIC = ("Decimal", "Double", "Money")
_BIND = "@odata.bind"


def edm(column: Column) -> str:
    """The column's type as OData has it."""
    if column.format == "DateOnly":
        return "Edm.Date"
    return _EDM.get(column.type, "Edm.String")


def read_body(org: Org, of: Table, body: Json, root: str) -> tuple[Row, list[Json] | None]:
    """The values that a body sets, by logical name; of an activity the parties, if it names them. Raises Refusal.

    What is to be cleared is None.
    """
    values: Row = {}
    parties = None
    for name, value in body.items():
        if name.endswith(_BIND):
            column, ref = _bound(org, of, name.removesuffix(_BIND), value, root)
            values[column.name] = ref
        elif "@" in name:
            continue
        elif name == f"{of.name}_activity_parties" and of.is_activity:
            if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
                raise payload_fault(f"'{name}' is a collection.")
            parties = value
        else:
            own = of.by_property.get(name)
            if own is None or own.targets:
                raise payload_fault(
                    f"The property '{name}' does not exist on type 'Microsoft.Dynamics.CRM.{of.name}'. "
                    "Make sure to only use property names that are defined by the type."
                )
            values[name] = kept(of, own, value)
    return values, parties


def kept(of: Table, column: Column, value: Any) -> Any:  # Any: JSON
    """A value of JSON as the row keeps it. Raises Refusal."""
    if value is None:
        return None
    if column.type in CHOICES or column.type in ("Integer", "BigInt"):
        if isinstance(value, bool) or not isinstance(value, int):
            raise _unreadable(column, value)
        _check_choice_or_range(of, column, value)
        return value
    if column.type in _NUMERIC:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _unreadable(column, value)
        _check_choice_or_range(of, column, value)
        return value if column.type == "Double" else round(value, column.precision)
    if column.type == "Boolean":
        if not isinstance(value, bool):
            raise _unreadable(column, value)
        return value
    if not isinstance(value, str):
        raise _unreadable(column, value)
    return _kept_text(of, column, value)


def _kept_text(of: Table, column: Column, value: str) -> str | None:
    if column.type == "DateTime":
        found = day(value) if column.format == "DateOnly" else instant(value)
        if found is None:
            raise _unreadable(column, value)
        return found
    if column.type == "Uniqueidentifier":
        id_ = guid(value)
        if id_ is None:
            raise _unreadable(column, value)
        return id_
    if len(value) > column.length > 0:
        raise Refusal(
            INVALID,
            f"A validation error occurred.  The length of the '{column.name}' attribute of the '{of.name}' entity "
            f"exceeded the maximum allowed length of '{column.length}'.",
        )
    # An empty text and none are the same to the database.
    return value or None


def _check_choice_or_range(of: Table, column: Column, value: float) -> None:
    accepted = ""
    if column.options:
        if all(option.value != value for option in column.options):
            accepted = ",".join(str(option.value) for option in column.options)
    elif (column.lowest is not None and value < column.lowest) or (
        column.highest is not None and value > column.highest
    ):
        accepted = f"{column.lowest} to {column.highest}"
    if accepted:
        raise Refusal(
            INVALID,
            f"A validation error occurred. The value {value} of '{column.name}' on record of type '{of.name}' is "
            f"outside the valid range. Accepted Values: {accepted}",
        )


def _bound(org: Org, of: Table, name: str, value: Any, root: str) -> tuple[Column, Ref | None]:  # Any: JSON
    found = of.bindings.get(name)
    if found is None:
        raise payload_fault(
            f"An undeclared property '{name}' which only has property annotations in the payload but no property "
            "value was found in the payload."
        )
    column, target = found
    if value is None:
        return column, None
    if not isinstance(value, str):
        raise payload_fault(f"'{name}{_BIND}' is an address.")
    ref = referred(org, value, root)
    if ref.table != target:
        raise payload_fault(f"'{name}' leads to '{target}', and not to '{ref.table}'.")
    if org.row(ref) is None:
        raise no_row(ref.table, ref.id)
    return column, ref


def referred(org: Org, address: str, root: str) -> Ref:
    """The row that an address names by its id: whole, or below the service root. Raises Refusal."""
    own = address.removeprefix(root).removeprefix(f"/{root.split('/', 3)[-1]}").lstrip("/")
    set_name, bracket, rest = own.partition("(")
    id_ = guid(rest.removesuffix(")"))
    if not bracket or not rest.endswith(")") or id_ is None:
        raise payload_fault(f"'{address}' is not the address of a row.")
    return Ref(org.table(set_name).name, id_)


def target_of(org: Org, call: Call, value: object) -> tuple[Ref, Json]:
    """The row that a parameter of an action names by its type and its primary key, and what else it says."""
    if not isinstance(value, dict) or not isinstance(value.get("@odata.type"), str):
        raise payload_fault("An entity of an action needs its '@odata.type'.")
    name = value["@odata.type"].removeprefix("#").removeprefix("Microsoft.Dynamics.CRM.")
    of = org.by_name(name)
    if of is None:
        raise payload_fault(f"A resource with the name '{name}' was not found for '{call.path}'.")
    id_ = guid(value.get(of.primary_id))
    if id_ is None:
        raise no_property(of.primary_id, of.name)
    return Ref(of.name, id_), {
        key: one for key, one in value.items() if (key != of.primary_id and "@odata." not in key) or key.endswith(_BIND)
    }


def _unreadable(column: Column, value: Any) -> Refusal:  # Any: JSON
    kind = edm(column)
    what = "primitive value" if not isinstance(value, dict | list) else "value"
    return payload_fault(f"Cannot convert the {what} of property '{column.name}' to the expected type '{kind}'.")
