"""Pages of contacts in an order, by keyset, both ways; and how many there are.

A page costs the same however deep it lies, as long as an index holds its order: created_at, last_event_at, or the
score in one model. For a score, two cases:

- The filter wants a score in that model: an inner join, walked along the index (model_id, value, contact_id).
- It does not: nearly everybody has a score in a live model, but whoever has none must be listed too, below all
  others. One statement for both has to join and sort every contact. So the list is walked in two parts, those with a
  score and those without, and the second statement runs only for the page that reaches the seam. The price is paid
  in ascending order, where the first page must make sure that nobody lacks a score.

Orders by several keys start from the first key's index where they can, and sort what is equal in it.

The other columns have no index, for each would be written with every change of a contact. Such an order reads all that
match and keeps the best of the page; the statement timeout bounds it, and a filter that an index serves makes it short:
the bounced by when they bounced, a stage by name.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    DateTime,
    Numeric,
    Select,
    Text,
    Uuid,
    and_,
    exists,
    func,
    literal,
    literal_column,
    not_,
    or_,
    select,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.columns import NEVER, activity, contact
from app.store.contact_filter import Filter, score, scored_in, to_sql
from app.store.graph import PERSON, Person

Value: TypeAlias = Decimal | datetime | str | None
"""Of an order key. None: no score, no event yet, not bounced; it lies below everything. No text is the empty text."""

_LOWEST: Any = literal_column("'-Infinity'::numeric", Numeric)
_LONGEST = 200
"""Of a text, so much orders: a cursor holds it."""


class By(StrEnum):
    """What an order goes by; of a column, its name."""

    SCORE = "score"
    LAST_EVENT = "last_event"
    CREATED = "created_at"
    UPDATED = "updated_at"
    BOUNCED = "bounced_at"
    OPTED_OUT = "opted_out_at"
    EMAIL = "email"
    NAME = "name"
    STAGE = "stage"


TEXTS = {By.EMAIL, By.NAME, By.STAGE}
MAYBE_NEVER = {By.LAST_EVENT, By.BOUNCED, By.OPTED_OUT}
"""Instants that a contact may lack."""


@dataclass(frozen=True)
class Key:
    """What to order by. `model` is the id of the scoring model, for a score. The contact's id breaks ties."""

    by: By
    descending: bool
    model: int | None = None


class Place(NamedTuple):
    """Where a contact stands in an order: a value for each key, and its id."""

    values: tuple[Value, ...]
    id: UUID


class Found(NamedTuple):
    person: Person
    place: Place


@dataclass(frozen=True)
class Span:
    """Between two places, both exclusive, at most `limit` contacts: the first ones, or `from_end` the last ones."""

    limit: int
    after: Place | None = None
    before: Place | None = None
    from_end: bool = False


async def page(db: AsyncConnection, wanted: Filter, order: Sequence[Key], span: Span) -> list[Found]:
    """The contacts of a span, in order (also with `from_end`). One statement, or two where the docstring above says."""
    found: list[Found] = []
    for part in _parts(wanted, order, from_end=span.from_end):
        lacking = span.limit - len(found)
        if lacking > 0 and part.may_hold(span):
            rows = await db.execute(part.statement(wanted, order, span).limit(lacking))
            found += [_read(row, order) for row in rows]
    return found[::-1] if span.from_end else found


def _read(row: Any, order: Sequence[Key]) -> Found:  # Any: a result's row
    width = len(PERSON)
    values = tuple(_value(value) for value in row[width : width + len(order)])
    person = Person(*row[:width])
    return Found(person, Place(values, person.id))


def _value(value: Any) -> Value:  # Any: of a numeric or a timestamptz
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    if isinstance(value, str):
        return value
    # asyncpg reads '-infinity' as the naive datetime.min.
    return value if isinstance(value, datetime) and value.tzinfo is not None else None


@dataclass
class _Sources:
    """What a statement reads, and for each key the expression that orders by it; none where all lie lowest."""

    tables: Any  # a join
    id: Any  # the driving table's own column, so that a row comparison can use its index
    keys: list[Any] = field(default_factory=list)
    joined: dict[Any, Any] = field(default_factory=dict)


class _Part:
    """A stretch of the list that one statement can read."""

    def may_hold(self, span: Span) -> bool:  # noqa: ARG002 - this part takes any span
        return True

    def statement(self, wanted: Filter, order: Sequence[Key], span: Span) -> Select[Any]:
        return _bounded(_sources(wanted, order), wanted, order, span)


@dataclass(frozen=True)
class _Side(_Part):
    """Of an order by one score: those who have it, or those who lack it."""

    is_scored: bool
    comes_first: bool

    def may_hold(self, span: Span) -> bool:
        """Whether the span reaches into this side."""
        if self.comes_first:
            return span.after is None or self._holds(span.after)
        return span.before is None or self._holds(span.before)

    def statement(self, wanted: Filter, order: Sequence[Key], span: Span) -> Select[Any]:
        mine = Span(
            span.limit,
            span.after if span.after is not None and self._holds(span.after) else None,
            span.before if span.before is not None and self._holds(span.before) else None,
            span.from_end,
        )
        key = order[0]
        if self.is_scored:
            made = _sources(wanted, order, inner={key.model})
            return _bounded(made, wanted, order, mine).where(made.keys[0].is_not(None))
        # Asked of the narrow table's key, so that nobody's whole row is read to find that they have a score.
        narrow, row = activity.alias(), score.alias()
        is_scored = row.c.contact_id == narrow.c.contact_id, row.c.model_id == key.model, row.c.value.is_not(None)
        lacks = not_(exists().where(*is_scored))
        made = _Sources(contact.join(narrow, narrow.c.contact_id == contact.c.id), narrow.c.contact_id)
        return _bounded(made, wanted, order, mine).where(lacks)

    def _holds(self, place: Place) -> bool:
        return (place.values[0] is not None) == self.is_scored


def _parts(wanted: Filter, order: Sequence[Key], *, from_end: bool) -> list[_Part]:
    """What to read, one after the other."""
    key = order[0]
    if len(order) > 1 or key.by is not By.SCORE or key.model in scored_in(wanted):
        return [_Part()]
    sides: list[_Part] = [_Side(key.descending, comes_first=True), _Side(not key.descending, comes_first=False)]
    return sides[::-1] if from_end else sides


def _sources(wanted: Filter, order: Sequence[Key], inner: "set[int | None] | None" = None) -> _Sources:
    scored = {*scored_in(wanted), *(inner or ())}
    made = _Sources(contact, contact.c.id)
    for position, key in enumerate(order):
        if key.by is By.LAST_EVENT:
            if "activity" not in made.joined:
                made.joined["activity"] = row = activity.alias()
                made.tables = made.tables.join(row, row.c.contact_id == contact.c.id)
            made.keys.append(made.joined["activity"].c.last_event_at)
            if position == 0:
                made.id = made.joined["activity"].c.contact_id
        elif key.by is not By.SCORE:
            made.keys.append(_column(key.by))
        elif key.model in made.joined:
            made.keys.append(_or_lowest(made.joined[key.model], key.model in scored))
        else:
            row = score.alias()
            is_row = and_(row.c.contact_id == contact.c.id, row.c.model_id == key.model)
            made.tables = made.tables.join(row, is_row, isouter=key.model not in scored)
            made.keys.append(_or_lowest(row, key.model in scored))
            made.joined[key.model or 0] = row
            if position == 0 and key.model in scored:
                made.id = row.c.contact_id
    return made


def _column(by: By) -> Any:
    """Never NULL, so that one comparison says what lies beyond a place."""
    column = contact.c[by.value]
    if by in TEXTS:
        return func.left(func.coalesce(func.lower(column), ""), _LONGEST, type_=Text).collate("C")
    return func.coalesce(column, NEVER) if by in MAYBE_NEVER else column


def _or_lowest(row: Any, is_there: bool) -> Any:
    return row.c.value if is_there else func.coalesce(row.c.value, _LOWEST)


def _bounded(made: _Sources, wanted: Filter, order: Sequence[Key], span: Span) -> Select[Any]:
    """One statement: what is wanted, between the places, in order or, from the end, against it."""
    expressions = [*made.keys, made.id]
    falling = [key.descending for key in order[: len(made.keys)]]
    falling.append(order[-1].descending)
    where = [to_sql(wanted, made.joined)]
    if span.after is not None:
        where.append(_beyond(expressions, falling, _values(span.after, order)[-len(expressions) :]))
    if span.before is not None:
        opposite = [not one for one in falling]
        where.append(_beyond(expressions, opposite, _values(span.before, order)[-len(expressions) :]))
    directed = [
        one.desc() if is_falling != span.from_end else one.asc()
        for one, is_falling in zip(expressions, falling, strict=True)
    ]
    return select(*PERSON, *(made.keys or [_LOWEST])).select_from(made.tables).where(*where).order_by(*directed)


def _values(place: Place, order: Sequence[Key]) -> list[Any]:
    values: list[Any] = []
    for key, value in zip(order, place.values, strict=True):
        if key.by in TEXTS:
            values.append(literal(value, Text))
            continue
        kind = Numeric() if key.by is By.SCORE else DateTime(timezone=True)
        lowest = _LOWEST if key.by is By.SCORE else NEVER
        values.append(lowest if value is None else literal(value, kind))
    return [*values, literal(place.id, Uuid)]


def _beyond(expressions: list[Any], falling: list[bool], values: list[Any]) -> ColumnElement[bool]:
    """Past the place in the direction of reading. A row comparison where all keys run one way: an index serves it."""
    if all(falling) or not any(falling):
        rows = tuple_(*expressions), tuple_(*values)
        return rows[0] < rows[1] if falling[0] else rows[0] > rows[1]
    steps = []
    for place, (one, value, is_falling) in enumerate(zip(expressions, values, falling, strict=True)):
        equal = [left == right for left, right in zip(expressions[:place], values[:place], strict=True)]
        steps.append(and_(*equal, one < value if is_falling else one > value))
    # Implied by the rest, and what lets the first key's index begin at the place.
    leading = expressions[0] <= values[0] if falling[0] else expressions[0] >= values[0]
    return and_(leading, or_(*steps))
