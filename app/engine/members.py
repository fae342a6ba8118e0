"""Who is in a segment, found out when somebody asks: counted, paged, exported, or asked of a contact."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Date, Uuid, and_, exists, func, literal, null, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import False_
from sqlalchemy.sql.functions import FunctionElement

from app.engine import plan as plans
from app.engine import segments
from app.engine.compile import Row, contact_row, to_sql
from app.engine.conditions import Condition, Group, Json, Operator, Test, parse
from app.engine.facts import made, measured
from app.engine.fields import BAND, MEASURE, SCORE, Field, FieldType, ModelTerm, Vocabulary
from app.engine.rules import named
from app.engine.sheets import depends_on
from app.errors import Conflict, Unavailable
from app.store.db import FAULTS, Connection, Database, sqlstate
from app.store.tables import Activity, Contact, Score, Tally, core

_CHUNK = 1_000


@dataclass(frozen=True)
class Definitions:
    """What segments mean at one moment."""

    contacts: Vocabulary
    as_of: date
    """The UTC day that silences and windows are asked of."""
    waiting: frozenset[str]
    """Measures whose history is still being counted."""

    def members(self, key: str) -> "Members":
        """Raises NotFound; Conflict if the segment looks at a measure that is not ready: nobody could trust it."""
        if key not in self.contacts.segments:
            raise segments.unknown(key)
        return self._members(parse(self.contacts.segments[key], self.contacts), f"segment {key!r}")

    def matching(self, condition: Json, pointer: str) -> "Members":
        """Whoever matches a condition that nobody has saved.

        Raises InvalidInput with a pointer to each fault, under `pointer`; Conflict as `members` does.
        """
        return self._members(parse(condition, self.contacts, pointer), "the condition")

    def holds(self, test: Test, contact: Any) -> Any:  # Any: as in Members.has
        """That a test of one of the contact's own columns or properties holds; never NULL, and no join."""
        return to_sql(test, contact_row(contact, null(), literal(self.as_of, Date)))

    def _members(self, tree: Condition, who: str) -> "Members":
        waiting = sorted(one for one in self.waiting if f"{MEASURE}{one}" in named(tree))
        if waiting:
            names = ", ".join(map(repr, waiting))
            raise Conflict(f"{who} looks at measure {names}, whose history is still being counted")
        return Members(tree, self.contacts, self.as_of)


async def definitions(db: Connection, as_of: date) -> Definitions:
    """As they are now; in a transaction, so that none of them changes while they are read one after the other."""
    await plans.share(db)
    waiting = await db.fetch("SELECT key FROM measure WHERE NOT ready")
    return Definitions(await plans.vocabulary(db), as_of, frozenset(row["key"] for row in waiting))


class Exported(NamedTuple):
    """A member, as a file has it."""

    id: UUID
    email: str | None
    name: str | None
    stage: str | None
    tags: list[str]
    opted_out: bool
    bounced: bool
    bounce_status: str
    properties: dict[str, Any]  # Any: JSON


class Members:
    """Whoever matches a condition on contacts, as SQL.

    Scores are outer joins. Where a test of a score must hold, Postgres makes an inner join of it by itself, and begins
    with the index of scores if that leaves few; so it does with any other index that serves a test.
    """

    def __init__(self, tree: Condition, contacts: Vocabulary, as_of: date) -> None:
        tree = _by_score(tree, contacts.models)
        self._person: Any = core(Contact).alias()
        seen, scores, day = core(Activity).alias(), {}, literal(as_of, Date)
        self._tables = self._person.outerjoin(seen, seen.c.contact_id == self._person.c.id)
        for key in sorted(depends_on(named(tree))):
            scores[key] = core(Score).alias()
            is_its = and_(
                scores[key].c.contact_id == self._person.c.id, scores[key].c.model_id == contacts.models[key].id
            )
            self._tables = self._tables.outerjoin(scores[key], is_its)

        def measure(key: str) -> Any:
            tallies = core(Tally).alias()
            value, counter, inside = measured(contacts.measures[key], tallies, day)
            own = select(value).where(tallies.c.contact_id == self._person.c.id, counter, inside)
            return own.correlate(self._person).scalar_subquery()

        columns = made(named(tree), contacts, lambda key: scores[key].c.value, measure)
        row = contact_row(self._person, seen.c.last_event_at, day, columns)
        self._holds = _where(tree, row)

    def has(self, contact: Any) -> Any:  # Any: a table or alias with the contact table's columns; an expression
        """That it has the contact; never NULL."""
        return exists(self._select(literal(1)).where(self._person.c.id == contact.c.id).correlate(contact))

    def rows(self) -> Any:  # Any: a select
        """A row for each member, to be counted."""
        return self._select(literal(1))

    async def count(self, database: Database) -> int:
        """How many there are: one statement. Raises Unavailable if that takes too long."""
        async with _reading(database) as db:
            return int((await db.execute(self._select(func.count()))).scalar_one())

    async def page(self, database: Database, *, limit: int, after: UUID | None) -> list[UUID]:
        """Ids in their order, those after `after`. Raises Unavailable as `count` does."""
        async with _reading(database) as db:
            return list((await db.execute(self._after([self._person.c.id], limit, after))).scalars())

    async def export(self, database: Database) -> AsyncIterator[list[Exported]]:
        """All members in the order of their ids, a chunk at a time, each as it is when its chunk is read.

        No connection is held between two chunks, however slowly they are taken. Raises Unavailable as `count` does.
        """
        columns, last = [self._person.c[name] for name in Exported._fields], None
        while True:
            async with _reading(database) as db:
                rows = [Exported(*row) for row in await db.execute(self._after(columns, _CHUNK, last))]
            if rows:
                yield rows
            if len(rows) < _CHUNK:
                return
            last = rows[-1].id

    def _select(self, *columns: Any) -> Any:
        return select(*columns).select_from(self._tables).where(self._holds)

    def _after(self, columns: list[Any], limit: int, after: UUID | None) -> Any:
        found = self._select(*columns).order_by(self._person.c.id).limit(limit)
        return found if after is None else found.where(self._person.c.id > literal(after, Uuid))


@asynccontextmanager
async def _reading(database: Database) -> AsyncIterator[AsyncConnection]:
    try:
        async with database.read() as db:
            yield db
    except FAULTS as fault:
        if sqlstate(fault) == "57014":  # query_canceled, by statement_timeout
            raise Unavailable("this takes too long to read; narrow the condition") from fault
        raise


def _where(tree: Condition, row: Row) -> Any:
    """The condition as WHERE takes it, where NULL is as good as false: no index serves a test inside coalesce()."""
    if isinstance(tree, Group) and tree.parts and not tree.negated:
        parts = [_where(part, row) for part in tree.parts]
        return (or_ if tree.combinator == "or" else and_)(*parts).self_group()
    told: Any = to_sql(tree, row)
    if isinstance(told, FunctionElement) and told.name == "coalesce":
        value, *others = told.clauses
        return value if len(others) == 1 and isinstance(others[0], False_) else told
    return told


def _by_score(tree: Condition, models: Mapping[str, ModelTerm]) -> Condition:
    """The same condition, where being in a band is a range of the score, which its index serves.

    Only for names in ASCII: beyond it, which of them are the same in lower case is for Postgres to say.
    """
    if isinstance(tree, Group):
        return replace(tree, parts=tuple(_by_score(part, models) for part in tree.parts))
    is_named = tree.operator in (Operator.EQ, Operator.IN) and tree.other is None
    if not is_named or not tree.field.name.startswith(BAND):
        return tree
    key = tree.field.name.removeprefix(BAND)
    names = [name for name, _ in models[key].bands]
    if not all(name.isascii() for name in [*names, *map(str, tree.values)]):
        return tree
    wanted = {str(value).lower() for value in tree.values}
    ranges = [_range(key, at, models[key]) for at, name in enumerate(names) if name.lower() in wanted]
    return Group("or", tree.negated, tuple(ranges)) if ranges else tree


def _range(key: str, at: int, model: ModelTerm) -> Group:
    """That the score lies in the band at this place, the lowest being 0."""
    score = Field(f"{SCORE}{key}", FieldType.NUMBER)
    bounds = [(Operator.GE, model.bands[at][1])]
    bounds += [(Operator.LT, least) for _, least in model.bands[at + 1 : at + 2]]
    tests = [
        Test(score, operator, False, FieldType.NUMBER, (value,)) for operator, value in bounds if value is not None
    ]
    return Group("and", False, tuple(tests or [Test(score, Operator.NULL, True, FieldType.NUMBER)]))
