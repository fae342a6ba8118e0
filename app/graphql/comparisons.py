"""What a value is compared with, as GraphQL takes it, and in the store's words: text, numbers, instants, words.

`null` is the same as not given; `isNull` asks whether there is a value at all.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import strawberry

from app.errors import Fault, InvalidInput
from app.graphql.limits import plain_text
from app.store.columns import Column, Compared, Operator

MAX_WORDS = 200


@strawberry.input(description='All that is given must hold, in any case of the letters: `{beginsWith: "Ada"}`.')
class TextFilter:
    eq: str | None = strawberry.field(default=None, description='Is this: `"Customer"`.')
    in_: list[str] | None = strawberry.field(
        name="in", default=None, description=f'Is one of these, {MAX_WORDS} at most: `["Lead", "Customer"]`.'
    )
    contains: str | None = strawberry.field(
        default=None, description='Contains this: `"acme"`. `%` and `_` are ordinary characters.'
    )
    begins_with: str | None = strawberry.field(default=None, description='Begins with this: `"ada"`.')
    ends_with: str | None = strawberry.field(default=None, description='Ends with this: `".org"`.')
    is_null: bool | None = strawberry.field(default=None, description="Whether there is none.")


@strawberry.input(description="All that is given must hold: `{gte: 5, lt: 10}`.")
class NumberFilter:
    eq: float | None = strawberry.field(default=None, description="Is this.")
    gte: float | None = strawberry.field(default=None, description="At least this.")
    gt: float | None = strawberry.field(default=None, description="More than this.")
    lte: float | None = strawberry.field(default=None, description="At most this.")
    lt: float | None = strawberry.field(default=None, description="Less than this.")
    is_null: bool | None = strawberry.field(default=None, description="Whether there is none.")


@strawberry.input(
    description='All that is given must hold: `{gte: "2026-11-01T00:00:00Z", lt: "2026-12-01T00:00:00Z"}`. Without an '
    "offset an instant is of UTC."
)
class InstantFilter:
    gte: datetime | None = strawberry.field(default=None, description='Then or later: `"2026-11-01T00:00:00Z"`.')
    gt: datetime | None = strawberry.field(default=None, description='Later: `"2026-11-01T00:00:00Z"`.')
    lte: datetime | None = strawberry.field(default=None, description='Then or earlier: `"2026-11-01T00:00:00Z"`.')
    lt: datetime | None = strawberry.field(default=None, description='Earlier: `"2026-11-01T00:00:00Z"`.')
    is_null: bool | None = strawberry.field(default=None, description="Whether there is none.")


@strawberry.input(description='All that is given must hold, in any case of the letters: `{any: ["vip", "partner"]}`.')
class WordsFilter:
    any: list[str] | None = strawberry.field(default=None, description='At least one of these: `["vip", "partner"]`.')
    all: list[str] | None = strawberry.field(default=None, description='Every one of these: `["vip", "partner"]`.')
    none: list[str] | None = strawberry.field(default=None, description='None of these: `["former"]`.')
    is_empty: bool | None = strawberry.field(default=None, description="Whether there are none at all.")


class Comparison(NamedTuple):
    """One of what a filter says; where it says it, as a JSON pointer."""

    operator: Operator
    value: Any  # Any: text, a number, an instant, or a tuple of text
    at: str


_TEXT = {
    "eq": Operator.EQUAL,
    "contains": Operator.CONTAINS,
    "begins_with": Operator.BEGINS,
    "ends_with": Operator.ENDS,
}
_NUMBERS = {
    "eq": Operator.EQUAL,
    "gte": Operator.AT_LEAST,
    "gt": Operator.ABOVE,
    "lte": Operator.AT_MOST,
    "lt": Operator.BELOW,
}
_NAMES = {"begins_with": "beginsWith", "ends_with": "endsWith"}


def read(said: TextFilter | NumberFilter | InstantFilter, at: str) -> Iterator[Comparison]:
    """Raises InvalidInput for text that nothing can be, an excessive list, or an instant that no calendar has."""
    if said.is_null is not None:
        yield Comparison(Operator.MISSING if said.is_null else Operator.PRESENT, None, f"{at}/isNull")
    if isinstance(said, TextFilter):
        for name, operator in _TEXT.items():
            if (text := getattr(said, name)) is not None:
                place = f"{at}/{_NAMES.get(name, name)}"
                yield Comparison(operator, plain_text(text, place), place)
        if said.in_ is not None:
            yield Comparison(Operator.IN, words(said.in_, f"{at}/in"), f"{at}/in")
        return
    for name, operator in _NUMBERS.items():
        value = getattr(said, name, None)
        if isinstance(value, datetime):
            yield Comparison(operator, instant(value, f"{at}/{name}"), f"{at}/{name}")
        elif value is not None:
            yield Comparison(operator, exact(value), f"{at}/{name}")


def columns(column: Column, said: TextFilter | NumberFilter | InstantFilter | None, at: str) -> Iterator[Compared]:
    """The same of a contact's column. Raises as `read` does."""
    if said is not None:
        for one in read(said, at):
            yield Compared(column, one.operator, one.value)


def exact(number: float) -> Decimal:
    """As it was written: 0.1, and not the binary number nearest to it."""
    return Decimal(repr(number))


def words(said: list[str], at: str) -> tuple[str, ...]:
    """Raises InvalidInput for an empty or excessive list, or text that nothing can be."""
    if not said:
        raise InvalidInput(Fault(at, "must not be empty; leave it out"))
    if len(said) > MAX_WORDS:
        raise InvalidInput(Fault(at, f"at most {MAX_WORDS}"))
    return tuple(plain_text(one, f"{at}/{number}") for number, one in enumerate(said))


def instant(said: datetime, at: str) -> datetime:
    """In UTC. Raises InvalidInput for what lies beyond the calendar there."""
    try:
        return (said if said.tzinfo else said.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        raise InvalidInput(Fault(at, "expected a moment between the years 1 and 9999")) from None
