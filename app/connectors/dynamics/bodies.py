"""What is sent to set columns, or to make somebody; and which values need not be sent, for they do not fit. Pure."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from app.connectors.dynamics import values
from app.connectors.dynamics.columns import EMAIL, LEAD, Column, Table
from app.connectors.dynamics.values import Unfit
from app.connectors.shapes import Kind, NewPerson, Value, Values

Json: TypeAlias = dict[str, Any]  # Any: JSON

_LONGEST_NAME, _LONGEST_TOPIC = 50, 300


def misfits(table: Table, written: Values) -> list[str]:
    """The fields that there are not, that cannot be written, or that do not take these values."""
    return [name for name, value in written.items() if not _fits(table.mappable(name), value)]


def has_news(table: Table, written: Values) -> bool:
    """Whether it names a column or an option that is not known: one that was made since, maybe."""
    for name, value in written.items():
        column = table.mappable(name)
        if column is None or not column.shown.is_writable:
            return True
        if column.shown.kind in (Kind.CHOICE, Kind.CHOICES) and not _fits(column, value):
            return True
    return False


def body(table: Table, written: Values) -> Json:
    """By column. Raises Unfit."""
    found: Json = {}
    for name, value in written.items():
        column = table.mappable(name)
        if column is None:
            raise Unfit
        for part in column.selects:
            found[part] = _told(column, value)
    return found


def new(table: Table, person: NewPerson) -> Json:
    """With a last name, and of a lead a topic: what lists of people show. Raises Unfit."""
    first, _, last = " ".join((person.name or "").split()).rpartition(" ")
    local = person.email.partition("@")[0]
    made: Json = {"lastname": (last or local or person.email)[:_LONGEST_NAME]}
    if first:
        made["firstname"] = first[:_LONGEST_NAME]
    if table.object == LEAD:
        made["subject"] = (person.name or person.email)[:_LONGEST_TOPIC]
    return made | {EMAIL: person.email} | body(table, person.values)


def _fits(column: Column | None, value: Value) -> bool:
    if column is None or not column.shown.is_writable:
        return False
    try:
        told = _told(column, value)
    except Unfit:
        return False
    longest = column.shown.max_length
    return longest is None or not isinstance(told, str) or _units(told) <= longest


def _told(column: Column, value: Value) -> Any:  # Any: JSON
    options: Mapping[int, str] = column.options
    return values.tell(column.shown.kind, value, options, is_whole=column.is_whole)


def _units(text: str) -> int:
    """As .NET counts characters: those beyond the basic plane are two."""
    return len(text.encode("utf-16-le")) // 2
