"""Answers that Postgres itself writes as JSON: pieces of SQL text, put together by `graphql/compiling.py`.

Every piece is an expression of type json, or a column of one. What is read must come out as the resolvers say it: the
numbers of scores as floats, instants as Python writes them, enums by their names. A value that has no name there makes
the statement fail, and the resolvers say what is wrong. Names of aliases: `p` a contact, `s` a score, `e` an event,
`i` an identity.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
import structlog

from app.errors import Unavailable
from app.store.db import FAULTS, Database, Statement, is_away, sqlstate
from app.store.graph import Person

Column = tuple[str, str]
"""What something is called in the answer, and its SQL."""
PERSON = Person._fields
"""The first columns of a page's source; those of the order follow, `k0`, `k1`, …"""
_PLACEHOLDER = re.compile(r"\$(\d+)")
_log = structlog.get_logger()


def constant(value: Any) -> str:  # Any: JSON
    said = orjson.dumps(value).decode().replace("'", "''")
    return f"'{said}'::json"


def record(columns: Iterable[Column]) -> str:
    """A JSON object, its keys in this order."""
    said = ", ".join(f'{sql} AS "{key}"' for key, sql in columns)
    return f"(SELECT row_to_json(o) FROM (SELECT {said}) o)"


def number(column: str) -> str:
    """A NUMERIC as JSON has a float: with a point."""
    return f"CASE WHEN {column} = trunc({column}) THEN round({column}, 1) ELSE trim_scale({column}) END"


def instant(column: str) -> str:
    """As `datetime.isoformat` has it: six digits of a second's fraction, or none. The session's time zone is UTC."""
    whole, parts = (f"""to_char({column}, 'YYYY-MM-DD"T"HH24:MI:SS{digits}"+00:00"')""" for digits in ("", ".US"))
    return f"CASE WHEN date_trunc('second', {column}) = {column} THEN {whole} ELSE {parts} END"


def choice(column: str, names: Mapping[str, str]) -> str:
    """An enum's name by its value in the database."""
    cases = " ".join(f"WHEN '{value}' THEN '{name}'" for value, name in names.items())
    # Not a constant, which the planner would work out and fail by.
    return f"CASE {column} {cases} ELSE ('no name: ' || {column})::int::text END"


def choices(column: str, names: Mapping[str, str]) -> str:
    """The names of an array of values."""
    one = choice("v.value", names)
    each = f"(SELECT array_agg({one} ORDER BY v.at) FROM unnest({column}) WITH ORDINALITY v(value, at))"
    return f"CASE WHEN cardinality({column}) = 0 THEN '{{}}' ELSE {each} END"


def by_model(cases: Mapping[int, str]) -> str:
    """What differs from model to model, for a score of any of them."""
    if len(cases) == 1:
        return next(iter(cases.values()))
    said = " ".join(f"WHEN {model} THEN {sql}" for model, sql in cases.items())
    return f"CASE s.model_id {said} END"


def band(levels: Sequence[tuple[str | None, str]]) -> str:
    """What belongs to the band of a score: (least value, JSON) of each band, the highest first."""
    if not levels:
        return "NULL::json"
    cases = " ".join(f"WHEN {'true' if least is None else f's.value >= {least}'} THEN {sql}" for least, sql in levels)
    return f"CASE WHEN s.value IS NULL THEN NULL {cases} END"


def score(model: int, columns: Iterable[Column]) -> str:
    return f"(SELECT {record(columns)} FROM score s WHERE s.contact_id = p.id AND s.model_id = {model})"


def score_at_hand(column: str, columns: Iterable[Column]) -> str:
    """Of a score whose value was read already, with columns that need nothing else of it."""
    return f"(SELECT {record(columns)} FROM (SELECT {column} AS value) s)"


def scores(models: Sequence[int], columns: Iterable[Column]) -> str:
    """In the order of `models`; scores in others are passed over."""
    if not models:
        return constant([])
    ids = ", ".join(map(str, models))
    listed = f"json_agg({record(columns)} ORDER BY array_position(ARRAY[{ids}]::smallint[], s.model_id))"
    where = f"s.contact_id = p.id AND s.model_id IN ({ids})"
    return f"(SELECT coalesce({listed}, '[]'::json) FROM score s WHERE {where})"


def events(first: int, types: str | None, columns: Iterable[Column]) -> str:
    """The newest. `types` is the placeholder of a text array."""
    any_case = f" AND lower(e.type) = ANY (ARRAY(SELECT lower(t) FROM unnest({types}::text[]) t))" if types else ""
    newest = (
        f"SELECT * FROM event e WHERE e.contact_id = p.id{any_case} "
        f"ORDER BY e.occurred_at DESC, e.id DESC LIMIT {first}"
    )
    order = "ORDER BY e.occurred_at DESC, e.id DESC"
    return f"(SELECT coalesce(json_agg({record(columns)} {order}), '[]'::json) FROM ({newest}) e)"


def identities(columns: Iterable[Column]) -> str:
    listed = f"json_agg({record(columns)} ORDER BY i.kind, i.value)"
    return f"(SELECT coalesce({listed}, '[]'::json) FROM identity i WHERE i.contact_id = p.id)"


def by_id(placeholder: str, columns: Iterable[Column]) -> str:
    return f"(SELECT {record(columns)} FROM contact p WHERE p.id = {placeholder}::uuid)"


def by_email(placeholder: str, columns: Iterable[Column]) -> str:
    """Whoever the address points at."""
    held = f"JOIN identity h ON h.contact_id = p.id WHERE h.kind = 'email' AND h.value = {placeholder}::text"
    return f"(SELECT {record(columns)} FROM contact p {held})"


class Captured(NamedTuple):
    """Statements one after the other, each of which gives as many rows as the page lacks: here, as one."""

    sql: str
    width: int
    """Columns."""
    values: list[Any]  # Any: of any type that a column has


def captured(statements: Sequence[Any], limit: int) -> Captured:  # Any: selects, whose name stays below the edge
    width = len(statements[0].selected_columns)
    made = [Statement(one) for one in statements]
    values: list[Any] = []
    parts = []
    for one in made:
        first = len(values)
        parts.append(filled(one.sql, lambda at, first=first: f"${first + at + 1}"))  # type: ignore[misc]
        values += one.arguments()
    # An Append reads its second part only if the first has not filled the page.
    sql = parts[0] if len(parts) == 1 else " UNION ALL ".join(f"({one})" for one in parts) + f" LIMIT {limit}"
    return Captured(sql, width, values)


def filled(sql: str, fill: Callable[[int], str]) -> str:
    """With something else for each of its placeholders, which are counted from nought."""
    return _PLACEHOLDER.sub(lambda found: fill(int(found[1]) - 1), sql)


class Page(NamedTuple):
    """A page of contacts: what of it is wanted, each by its key."""

    source: str
    """A select of the columns of a Person, and those of the order."""
    keys: int
    limit: int
    """The source gives one more, where there are more."""
    from_end: bool

    def all_of(self, sql: str) -> str:
        """For every contact `p` of the page, in the page's order."""
        order = "n DESC" if self.from_end else "n"
        return f"coalesce(json_agg({sql} ORDER BY {order}) FILTER (WHERE n <= {self.limit}), '[]'::json)"

    def one_of(self, sql: str, *, is_first: bool) -> str:
        """For the contact at one end of the page; null if the page is empty."""
        place = "1" if is_first is not self.from_end else f"least(m, {self.limit})"
        return f"max({sql}) FILTER (WHERE n = {place} AND n <= {self.limit})"

    def read(self, gathered: Mapping[str, str], columns: Iterable[Column]) -> str:
        """What is `gathered` by the two above is `g.<name>` for the columns, and `g.total` how many were read.

        `n` counts the contacts in the order in which they are read, `m` is how many were read.
        """
        names = ", ".join([*PERSON, *(f"k{at}" for at in range(self.keys))])
        read = "".join(f", {sql} AS {name}" for name, sql in gathered.items())
        grouped = (
            f"SELECT count(*) AS total{read} FROM (SELECT p.*, row_number() OVER () AS n, count(*) OVER () AS m "
            f"FROM ({self.source}) p({names})) p"
        )
        return f"(SELECT {record(columns)} FROM ({grouped}) g)"


def cursor(order: str, kinds: Sequence[str]) -> str:
    """As `orders.cursor` makes it, of the order's name and its keys: each a `number`, an `instant` or a `text`."""
    values = ", ".join(_said(f"p.k{at}", kind) for at, kind in enumerate(kinds))
    name = orjson.dumps(order).decode().replace("'", "''")
    said = f"""'[{name},' || array_to_json(ARRAY[{values}])::text || ',"' || p.id || '"]'"""
    return rf"translate(encode(convert_to({said}, 'UTF8'), 'base64'), E'+/=\n', '-_')"


def _said(column: str, kind: str) -> str:
    """Nothing for what lies below all values."""
    match kind:
        case "number":
            return f"CASE WHEN {column} > '-Infinity' THEN {column}::text END"
        case "instant":
            return f"CASE WHEN isfinite({column}) THEN {instant(column)} END"
    return column


def listed(items: Sequence[str]) -> str:
    return f"array_to_json(ARRAY[{', '.join(items)}])"


def counted(source: str, width: int, columns: Iterable[Column]) -> str:
    """Of a source of one row, which is `d`, its columns `c0`, `c1`, …; `d.total` is all of them but the last."""
    names = [f"c{at}" for at in range(width)]
    total = " + ".join(names[:-1])
    # OFFSET keeps the planner from writing each count in wherever it is named, to count again.
    once = f"SELECT *, {total} AS total FROM (SELECT * FROM ({source}) e({', '.join(names)}) OFFSET 0) e OFFSET 0"
    return f"(SELECT {record(columns)} FROM ({once}) d)"


def share(count: str) -> str:
    """Of the total, as a float; of nothing: nought."""
    cases = f"WHEN {count} = 0 THEN '0.0'::json WHEN {count} = d.total THEN '1.0'::json"
    return f"CASE {cases} ELSE to_json({count}::float8 / d.total) END"


def answer(roots: Sequence[Column]) -> str:
    """The whole statement: the plan's epoch, and the data as text."""
    return f"SELECT (SELECT epoch FROM plan_epoch), {record(roots)}::text"


async def read(database: Database, sql: str, values: Sequence[object], *, is_steady: bool) -> tuple[int, str] | None:
    """The epoch and the data that `answer` asks for. None if the statement fails: the resolvers say why.

    `is_steady` if the same plan is right for all values. Raises Unavailable if it takes too long.
    """
    try:
        if is_steady:
            async with database.answers.acquire() as db:
                row = await db.fetchrow(sql, *values)
        else:
            async with database.planning() as db:
                row = await db.fetchrow(sql, *values)
    except FAULTS as fault:
        if sqlstate(fault) == "57014":  # query_canceled, by statement_timeout
            raise Unavailable("this takes too long to read; narrow the filter") from fault
        if not is_away(fault):
            # Not its text, which may hold what somebody is called.
            _log.warning("a compiled statement failed", fault=type(fault).__name__)
        return None
    assert row is not None
    return row[0], row[1]
