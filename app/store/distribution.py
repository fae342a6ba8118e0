"""How many contacts have which scores in a model.

Of everybody: one count for each range along the index (model_id, value, contact_id), in one statement; nothing but the
index is read. Of those that a filter keeps: their scores are joined and counted in one pass.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import Numeric, and_, func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.columns import contact
from app.store.contact_filter import Filter, score, to_sql


class Range(NamedTuple):
    """Scores from `least` (inclusive) up to `below` (exclusive); None: no bound on that side."""

    least: Decimal | None
    below: Decimal | None


class Counts(NamedTuple):
    ranges: list[int]
    """In the order of the ranges."""
    outside: int
    """Contacts that are not in the model's audience."""


async def distribution(db: AsyncConnection, model: int, ranges: Sequence[Range], wanted: Filter) -> Counts:
    row = score.alias("scored")
    tests = [*(_within(row, one) for one in ranges), row.c.value.is_(None)]
    if wanted == Filter() and not wanted.asked:
        counts = [select(func.count()).where(row.c.model_id == model, test).scalar_subquery() for test in tests]
        statement = select(*counts)
    else:
        tables = contact.join(row, and_(row.c.contact_id == contact.c.id, row.c.model_id == model))
        kept = to_sql(wanted, {model: row})
        statement = select(*(func.count().filter(test) for test in tests)).select_from(tables).where(kept)
    *found, outside = (await db.execute(statement)).one()
    return Counts(found, outside)


def _within(row: Any, wanted: Range) -> Any:  # Any: an alias of the score table; an expression
    bounds = [
        *([] if wanted.least is None else [row.c.value >= literal(wanted.least, Numeric)]),
        *([] if wanted.below is None else [row.c.value < literal(wanted.below, Numeric)]),
    ]
    return and_(*bounds) if bounds else row.c.value.is_not(None)
