"""From a checked condition to one SQL expression. The only evaluator: rules, filters and previews all run this SQL.

Every expression is two-valued. A field is read as its type or as NULL, never with a cast that can fail; a positive
operator turns NULL into false; a negation is NOT of the positive one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from math import ceil, floor
from typing import Any, TypeAlias

from sqlalchemy import (
    ARRAY,
    Boolean,
    ColumnElement,
    Date,
    DateTime,
    Numeric,
    Text,
    and_,
    any_,
    case,
    cast,
    false,
    func,
    literal,
    literal_column,
    not_,
    null,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB

from app.engine.conditions import Condition, Operator, Test, Value, tests
from app.engine.fields import HUMAN, Field, FieldType

Sql: TypeAlias = ColumnElement[Any]  # Any: an expression of whatever type

DAYS_INACTIVE = "contact.days_inactive"

_UTC: Sql = literal_column("'UTC'")
_NEVER: Sql = literal_column("'-infinity'::timestamptz", DateTime(timezone=True))
_NO_TAGS: Sql = literal_column("'{}'::text[]", ARRAY(Text))
_JSON_NULL: Sql = literal_column("'null'::jsonb", JSONB)
_WHOLE: Sql = literal_column("'{}'")
_SCALARS = ("'string'", "'number'", "'boolean'")


@dataclass(frozen=True)
class Row:
    """Where a condition's fields are read: a column for each fixed field, and the JSON that holds the properties."""

    columns: Mapping[str, Sql]
    document: Sql
    folded: frozenset[str] = frozenset()
    """Fixed fields whose columns are in lower case already, so that nobody need do it again."""


def to_sql(condition: Condition, row: Row) -> ColumnElement[bool]:
    """The condition as a boolean expression over `row`; never NULL, never an error, whatever the data."""
    if isinstance(condition, Test):
        matched = _two_valued(_test(condition, row))
        return not_(matched) if condition.negated else matched
    parts = [to_sql(part, row) for part in condition.parts]
    if condition.combinator == "or" and parts:
        joined: ColumnElement[bool] = or_(*parts)
    else:
        joined = and_(true(), *parts)
    return not_(joined.self_group()) if condition.negated else joined.self_group()


def event_row(event: Any, folded: frozenset[str] = frozenset()) -> Row:  # Any: something with an event's columns
    """The fields of scope `event` over a table, CTE or alias with the event table's columns."""
    columns = event.c if hasattr(event, "c") else event
    return Row(
        {
            "event.type": columns.type,
            "event.source": columns.source,
            "event.occurred_at": columns.occurred_at,
            HUMAN: columns.human,
        },
        columns.properties,
        folded,
    )


def contact_row(
    contact: Any,  # Any: as in event_row
    last_event_at: Sql,
    as_of: Sql,
    made: Mapping[str, Sql] | None = None,
) -> Row:
    """The fields of scope `contact` over something with the contact table's columns, on the UTC day `as_of`.

    `made` are the columns of what the deployment has made: scores, bands, measures, by their fields' names.
    """
    columns = contact.c if hasattr(contact, "c") else contact
    seen = func.nullif(last_event_at, _NEVER)
    return Row(
        {
            "contact.email": columns.email,
            "contact.email_quality": columns.email_quality,
            "contact.email_domain": func.nullif(func.split_part(columns.email, "@", 2), ""),
            "contact.name": columns.name,
            "contact.stage": columns.stage,
            "contact.tags": columns.tags,
            "contact.opted_out": columns.opted_out,
            "contact.bounced": columns.bounced,
            "contact.bounce_status": columns.bounce_status,
            "contact.created_at": columns.created_at,
            "contact.last_event_at": seen,
            DAYS_INACTIVE: as_of - utc_day(seen),
            **(made or {}),
        },
        columns.properties,
    )


def band_name(value: Sql, bands: Sequence[tuple[str, Decimal | None]]) -> Sql:
    """The name of the band that a score lies in; NULL without one. `bands` from lowest to highest."""
    if not bands:
        return cast(null(), Text)
    reached = [(value >= least if least is not None else value.is_not(None), name) for name, least in reversed(bands)]
    return case(*((is_reached, literal(name, Text)) for is_reached, name in reached))


def scalar_text(field: Field, row: Row) -> Sql:
    """A text, number or boolean as text in lower case; NULL for anything else."""
    return func.lower(_read(field, FieldType.TEXT, row), type_=Text)


def number_text(field: Field, row: Row) -> Sql:
    """A JSON number as it is written out; NULL for anything else."""
    value = row.document[field.path[0]] if len(field.path) == 1 else _nested(field, row)
    return case((_is_a(value, "'number'"), _as_text(value)))


def number_of(field: Field, row: Row) -> Sql:
    """The field's value as a number; NULL where it is none."""
    return _read(field, FieldType.NUMBER, row)


def utc_day(instant: Sql) -> Sql:
    """The UTC calendar day of an instant."""
    return cast(func.timezone(_UTC, instant), Date)


def next_flip(condition: Condition, last_event_at: Sql, as_of: Sql) -> Sql:
    """The first day after `as_of` on which the condition may turn with no event coming; NULL if on none.

    Only `contact.days_inactive` moves by itself. It is a whole number of days, so a comparison with v can turn where
    it reaches v or passes it, and nowhere else.
    """
    turns: set[int] = set()
    for test in tests(condition):
        names = {test.field.name, test.other.name if test.other else ""}
        if DAYS_INACTIVE not in names:
            continue
        if test.other is not None:
            return as_of + 1
        for value in test.values:
            if isinstance(value, Decimal) and 0 <= value < 100_000:
                turns |= {floor(value), ceil(value), floor(value) + 1}
    if not turns:
        return cast(null(), Date)
    last_day = utc_day(last_event_at)
    is_known = last_event_at > _NEVER
    return func.least(*(case((and_(is_known, last_day + turn > as_of), last_day + turn)) for turn in sorted(turns)))


def _two_valued(matched: Sql) -> ColumnElement[bool]:
    return func.coalesce(matched, false(), type_=Boolean)


def _test(test: Test, row: Row) -> Sql:
    """One positive comparison; NULL where the field has no value of its type."""
    if test.operator is Operator.NULL:
        return _read(test.field, None, row).is_(None)
    if test.type is FieldType.TAGS:
        return _tags(test, _read(test.field, test.type, row))
    left = _read(test.field, test.type, row)
    if test.type is FieldType.TEXT and test.field.name not in row.folded:
        left = func.lower(left, type_=Text)
    if test.other is not None:
        right = _read(test.other, test.type, row)
        return _OPERATIONS[test.operator](left, [func.lower(right) if test.type is FieldType.TEXT else right])
    if test.operator is Operator.IN:
        return left == any_(_constants(test))
    return _OPERATIONS[test.operator](left, [_constant(value) for value in test.values])


def _tags(test: Test, tags: Sql) -> Sql:
    """Membership: `contains` and `=` ask for one tag, `in` for any of several."""
    return func.fold_tags(tags, type_=ARRAY(Text)).op("&&")(_constants(test))


def _constant(value: Value) -> Sql:
    if isinstance(value, bool):
        return literal(value, Boolean)
    if isinstance(value, Decimal):
        return literal(value, Numeric)
    if isinstance(value, datetime):
        return literal(value, DateTime(timezone=True))
    # ASCII has the same lower case here and there; done here it is not done for every row.
    return literal(value.lower(), Text) if value.isascii() else func.lower(literal(value, Text))


def _constants(test: Test) -> Sql:
    """All values of a test as one array: a list may be longer than a statement takes parameters."""
    match test.type:
        case FieldType.NUMBER:
            return literal(list(test.values), ARRAY(Numeric))
        case FieldType.BOOLEAN:
            return literal(list(test.values), ARRAY(Boolean))
        case FieldType.DATETIME:
            return literal(list(test.values), ARRAY(DateTime(timezone=True)))
        case _:
            return func.fold_tags(literal(list(test.values), ARRAY(Text)), type_=ARRAY(Text))


def _ordered(text: Sql) -> Sql:
    """Text in the order of its code points, so that a comparison means the same in every locale."""
    return text.collate("C") if isinstance(text.type, Text) else text


_OPERATIONS: dict[Operator, Callable[[Sql, list[Sql]], Sql]] = {
    Operator.EQ: lambda left, right: left == right[0],
    Operator.LT: lambda left, right: _ordered(left) < right[0],
    Operator.GT: lambda left, right: _ordered(left) > right[0],
    Operator.LE: lambda left, right: _ordered(left) <= right[0],
    Operator.GE: lambda left, right: _ordered(left) >= right[0],
    Operator.CONTAINS: lambda left, right: func.strpos(left, right[0]) > 0,
    Operator.BEGINS: lambda left, right: func.starts_with(left, right[0]),
    Operator.ENDS: lambda left, right: func.right(left, func.length(right[0])) == right[0],
    Operator.BETWEEN: lambda left, right: and_(_ordered(left) >= right[0], _ordered(left) <= right[1]),
}


def _read(field: Field, kind: FieldType | None, row: Row) -> Sql:
    """The field's value as `kind`, NULL where it is missing or of another type. `kind` None: as declared."""
    if not field.path:
        column = row.columns[field.name]
        return func.nullif(column, _NO_TAGS) if _is_tags(field, kind) else column
    value = row.document[field.path[0]] if len(field.path) == 1 else _nested(field, row)
    wanted = field.type or kind
    if wanted is None:
        return func.nullif(value, _JSON_NULL)
    if field.type is None and wanted is FieldType.TEXT:
        return case((_is_a(value, *_SCALARS), _as_text(value)))
    return typed(value, wanted)


def typed(value: Sql, kind: FieldType) -> Sql:
    """A JSON value as `kind`; NULL where it is of another type. Of a list of tags, what is not text is left out."""
    match kind:
        case FieldType.TEXT:
            return case((_is_a(value, "'string'"), _as_text(value)))
        case FieldType.TAGS:
            element = func.jsonb_array_elements(case((_is_a(value, "'array'"), value))).column_valued("element")
            texts = select(func.array_agg(_as_text(element))).where(_is_a(element, "'string'"))
            return cast(texts.scalar_subquery(), ARRAY(Text))
        case FieldType.NUMBER:
            return case((_is_a(value, "'number'"), cast(value, Numeric)))
        case FieldType.BOOLEAN:
            return case((_is_a(value, "'boolean'"), cast(value, Boolean)))
        case FieldType.DATETIME:
            return case((_is_a(value, "'string'"), func.as_instant(_as_text(value), type_=DateTime(timezone=True))))


def _as_text(value: Sql) -> Sql:
    return value.op("#>>", return_type=Text())(_WHOLE)


def _is_a(value: Sql, *kinds: str) -> Sql:
    return or_(*(func.jsonb_typeof(value) == literal_column(kind) for kind in kinds))


def _is_tags(field: Field, kind: FieldType | None) -> bool:
    return kind is None and field.type is FieldType.TAGS


def _nested(field: Field, row: Row) -> Sql:
    """A dotted name: the key that is spelled so, else the value inside."""
    path = literal(list(field.path), ARRAY(Text))
    return func.coalesce(
        row.document[".".join(field.path)], row.document.op("#>", return_type=JSONB())(path), type_=JSONB
    )
