"""How rows look in a reply, with the annotations that were asked for. Source: "Retrieve a table row"."""

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

from app.sandbox.dynamics.columns import CHOICES, NUMBERS, Column, Table
from app.sandbox.dynamics.org import Org
from app.sandbox.dynamics.wire import Json, Ref, Row

_FORMATTED = "OData.Community.Display.V1.FormattedValue"
_TABLE = "Microsoft.Dynamics.CRM.lookuplogicalname"
_NAVIGATION = "Microsoft.Dynamics.CRM.associatednavigationproperty"
Show = Callable[[Row], Json]


def etag(row: Row) -> str:
    return f'W/"{row["versionnumber"]}"'


def shower(org: Org, of: Table, columns: list[Column] | None, annotations: str | None) -> Show:
    """Makes JSON of rows: these columns, or all, and the primary key; `annotations` as the preference names them."""
    shown = list(org.columns(of)) if columns is None else list(columns)
    primary = of.columns[of.primary_id]
    if primary not in shown:
        shown.append(primary)
    readers = [(column, column.property, bool(column.targets)) for column in shown]
    wanted = [] if annotations is None else annotations.split(",")
    notes = _notes(org, wanted) if wanted else None

    def show(row: Row) -> Json:
        made: Json = {"@odata.etag": etag(row)}
        for column, name, is_lookup in readers:
            value = org.read(of, column, row)
            if notes is not None and value is not None:
                for note, text in notes(column, value):
                    made[f"{name}@{note}"] = text
            made[name] = value.id if is_lookup and value is not None else value
        return made

    return show


def _notes(org: Org, wanted: list[str]) -> Callable[[Column, Any], list[tuple[str, Any]]]:  # Any: JSON
    names = [
        name for name in (_FORMATTED, _TABLE, _NAVIGATION) if any(fnmatchcase(name, one.strip()) for one in wanted)
    ]

    def notes(column: Column, value: Any) -> list[tuple[str, Any]]:  # Any: as above
        made = []
        for name in names:
            if name == _FORMATTED:
                text = formatted(org, column, value)
                if text is not None:
                    made.append((name, text))
            elif isinstance(value, Ref):
                navigation = next((key for key, target in column.navigation.items() if target == value.table), None)
                made.append((name, value.table if name == _TABLE else str(navigation)))
        return made

    return notes


def formatted(org: Org, column: Column, value: Any) -> str | None:  # Any: JSON, or a Ref
    """As people see it; None where that is the value itself."""
    if isinstance(value, Ref):
        found = org.row(value)
        of = org.tables.get(value.table)
        if found is None or of is None:
            return None
        name = of.columns[of.primary_name].read(found)
        return name if isinstance(name, str) else None
    if column.type in CHOICES or column.type == "Boolean":
        return next((one.label for one in column.options if one.value == int(value)), None)
    if column.type == "DateTime":
        year, month, day = value[:10].split("-")
        date = f"{int(month)}/{int(day)}/{year}"
        if column.format == "DateOnly":
            return date
        hour = int(value[11:13])
        return f"{date} {(hour - 1) % 12 + 1}:{value[14:16]} {'AM' if hour < 12 else 'PM'}"
    if column.type in NUMBERS:
        return f"{value:,}"
    return None
