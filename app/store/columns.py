"""Comparisons of a contact's columns, as values and as SQL. Text compares without case, as conditions do.

A comparison is NULL where the column is: as good as false wherever nothing negates it, and there `is_negated` says that
somebody does. Outside of negations nothing is wrapped, so that an index serves what it can.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    DateTime,
    Numeric,
    Text,
    any_,
    exists,
    false,
    func,
    literal,
    literal_column,
    not_,
)

from app.store.tables import Activity, Contact, core

contact = core(Contact)
activity = core(Activity)
NEVER: Any = literal_column("'-infinity'::timestamptz", DateTime(timezone=True))


class Column(StrEnum):
    """What may be compared, by its name in the table; the domain is that of the address."""

    EMAIL = "email"
    EMAIL_DOMAIN = "email_domain"
    NAME = "name"
    STAGE = "stage"
    OPTED_OUT_AT = "opted_out_at"
    OPTED_OUT_REASON = "opted_out_reason"
    OPTED_OUT_BY = "opted_out_by"
    BOUNCED_AT = "bounced_at"
    BOUNCED_REASON = "bounced_reason"
    BOUNCED_BY = "bounced_by"
    SOFT_BOUNCES = "soft_bounces"
    LAST_EVENT_AT = "last_event_at"
    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"


class Operator(StrEnum):
    EQUAL = "="
    AT_LEAST = ">="
    ABOVE = ">"
    AT_MOST = "<="
    BELOW = "<"
    IN = "in"
    CONTAINS = "contains"
    BEGINS = "beginsWith"
    ENDS = "endsWith"
    MISSING = "null"
    PRESENT = "notNull"


@dataclass(frozen=True)
class Compared:
    """One comparison. The value is text, a number or an instant as the column is; a tuple of text for IN; else None."""

    column: Column
    operator: Operator
    value: Any = None  # Any: as above


def to_sql(wanted: Compared, joined: Mapping[Any, Any], *, is_negated: bool) -> ColumnElement[bool]:
    """Over `contact`. `joined["activity"]` is the activity table, if the query has joined it."""
    if wanted.column is Column.LAST_EVENT_AT:
        return _seen(wanted, joined.get("activity"))
    column = _EXPRESSIONS.get(wanted.column)
    if column is None:
        column = contact.c[wanted.column.value]
    if wanted.operator in (Operator.MISSING, Operator.PRESENT):
        is_missing: ColumnElement[bool] = column.is_(None)
        return is_missing if wanted.operator is Operator.MISSING else not_(is_missing)
    test = _text(wanted, column) if isinstance(column.type, Text) else _ordered(wanted, column)
    return func.coalesce(test, false()) if is_negated else test


_EXPRESSIONS: dict[Column, Any] = {
    Column.EMAIL_DOMAIN: func.nullif(func.split_part(contact.c.email, "@", 2), "", type_=Text)
}
_IN_LOWER_CASE = {Column.EMAIL, Column.EMAIL_DOMAIN}
"""They are kept so, and an index holds the addresses as they are."""


def _seen(wanted: Compared, joined: Any) -> ColumnElement[bool]:  # Any: an alias of the activity table, or None
    """Never NULL: no event yet lies before all events in the table, and is neither early nor late here."""
    row = activity.alias() if joined is None else joined
    has_one = row.c.last_event_at > NEVER
    match wanted.operator:
        case Operator.MISSING:
            test = not_(has_one)
        case Operator.PRESENT | Operator.AT_LEAST | Operator.ABOVE | Operator.EQUAL:
            test = has_one if wanted.operator is Operator.PRESENT else _ordered(wanted, row.c.last_event_at)
        case _:
            test = has_one & _ordered(wanted, row.c.last_event_at)
    return test if joined is not None else exists().where(row.c.contact_id == contact.c.id, test)


def _ordered(wanted: Compared, column: Any) -> Any:
    value = literal(wanted.value, DateTime(timezone=True) if isinstance(wanted.value, datetime) else Numeric)
    match wanted.operator:
        case Operator.AT_LEAST:
            return column >= value
        case Operator.ABOVE:
            return column > value
        case Operator.AT_MOST:
            return column <= value
        case Operator.BELOW:
            return column < value
        case _:
            return column == value


def _text(wanted: Compared, column: Any) -> Any:
    left = column if wanted.column in _IN_LOWER_CASE else func.lower(column, type_=Text)
    if wanted.operator is Operator.IN:
        return left == any_(func.fold_tags(literal(list(wanted.value), ARRAY(Text)), type_=ARRAY(Text)))
    right = func.lower(literal(wanted.value, Text))
    match wanted.operator:
        case Operator.CONTAINS:
            return func.strpos(left, right) > 0
        case Operator.BEGINS:
            # As a pattern, which the index on addresses serves.
            return left.like(_escaped(right).concat("%"), escape="\\")
        case Operator.ENDS:
            return func.right(left, func.length(right)) == right
        case _:
            return left == right


def _escaped(text: Any) -> Any:
    r"""With what is special in a pattern made ordinary; the backslash first."""
    for special in ("\\", "%", "_"):
        text = func.replace(text, special, "\\" + special, type_=Text)
    return text
