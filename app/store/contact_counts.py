"""How many contacts match: exact as far as that is cheap, and beyond it what Postgres expects.

To count a million rows costs a hundred times what a page of them does, and nobody reads the last digits.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ClauseElement, Executable, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles

from app.store.columns import contact
from app.store.contact_filter import Filter, to_sql

EXACT = 10_000
"""Up to so many are counted one by one."""
_ROWS = re.compile(r"rows=(\d+)")


class Count(NamedTuple):
    number: int
    is_exact: bool
    """Else there are more than `EXACT`, and the number is the planner's."""


async def count(db: AsyncConnection, wanted: Filter) -> Count:
    """How many contacts match, by one statement; a second one asks for the plan where there are more than `EXACT`."""
    return await counted(db, select(literal_column("1")).select_from(contact).where(to_sql(wanted, {})))


async def counted(db: AsyncConnection, rows: Any) -> Count:  # Any: a select
    """How many rows a select gives; it reads `EXACT` of them and one, whatever it would give."""
    return (await counted_each(db, [rows]))[0]


async def counted_each(db: AsyncConnection, selects: Sequence[Any]) -> list[Count]:  # Any: as above
    """How many rows each gives: one statement, and one more for the plan of each that gives more than `EXACT`."""
    if not selects:
        return []
    bounded = [one.limit(EXACT + 1).subquery() for one in selects]
    numbers = select(*(select(func.count()).select_from(one).scalar_subquery() for one in bounded))
    found = []
    for number, rows in zip((await db.execute(numbers)).one(), selects, strict=True):
        is_exact = number <= EXACT
        found.append(Count(number if is_exact else max(number, await _expected(db, rows)), is_exact))
    return found


async def _expected(db: AsyncConnection, rows: Any) -> int:  # Any: as above
    """The planner's estimate, from the statistics that ANALYZE keeps."""
    top = str((await db.execute(_Explain(rows))).scalars().first())
    found = _ROWS.search(top)
    return 0 if found is None else int(found[1])


class _Explain(Executable, ClauseElement):
    """EXPLAIN, which plans a statement and does not run it."""

    inherit_cache = False

    def __init__(self, statement: Any) -> None:  # Any: as above
        self.statement = statement


@compiles(_Explain)
def _explained(made: _Explain, compiler: Any, **options: Any) -> str:  # Any: SQLAlchemy's, which it does not name
    return f"EXPLAIN {compiler.process(made.statement, **options)}"
