"""Segments: saved conditions on contacts. Who is in one is found out when somebody asks, so it is always current.

A segment that rules name becomes part of their conditions: when it is defined otherwise, the models that count by it
are scored anew.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Date, Uuid, and_, exists, func, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import False_
from sqlalchemy.sql.functions import FunctionElement

from app.engine import checks, measures, publish
from app.engine import plan as plans
from app.engine.compile import Row, contact_row, to_sql
from app.engine.conditions import Condition, Group, Operator, Test, parse
from app.engine.facts import made, measured
from app.engine.fields import BAND, MEASURE, SCORE, SEGMENTS, Field, FieldType, ModelTerm, Vocabulary
from app.engine.measures import Sheet
from app.engine.rules import named
from app.engine.sheets import depends_on, live_model
from app.errors import Conflict, Fault, InvalidInput, NotFound, Unavailable
from app.store.db import FAULTS, Connection, Database, sqlstate
from app.store.tables import Activity, Contact, Score, Segment, Tally, core

_CHUNK = 1_000
_ANYBODY = {"field": "contact.email", "operator": "null", "muted": True}


# --- defining ---------------------------------------------------------------------------------------------------------


class Wanted(NamedTuple):
    """What a segment is to say."""

    key: str
    name: str
    description: str | None
    condition: dict[str, Any]  # Any: JSON


class Changed(NamedTuple):
    segment: Segment
    job: UUID | None
    """What scores everybody anew in the models that count by it; None if none does."""


async def create(db: Connection, wanted: Wanted, now: datetime) -> Segment:
    """Raises InvalidInput with a pointer to each fault; Conflict for a key that is taken."""
    check(wanted.key, wanted.condition, await plans.vocabulary(db))
    # What is wrong is refused before this makes everybody wait, and looked at again when nobody changes anything.
    await plans.change(db)
    tree = check(wanted.key, wanted.condition, await plans.vocabulary(db))
    row = await db.fetchrow(
        """
        INSERT INTO segment (key, name, description, condition, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $5)
        ON CONFLICT (key) DO NOTHING RETURNING *
        """,
        *wanted,
        now,
    )
    if row is None:
        raise Conflict(f"there is a segment {wanted.key!r} already", "/key")
    await _settle(db, wanted.key, tree, now)
    return Segment(**dict(row))


async def change(db: Connection, key: str, changes: Mapping[str, Any], now: datetime) -> Changed:  # Any: JSON
    """Set those of name, description and condition that are given; score anew who counts by another condition.

    Raises NotFound; InvalidInput with a pointer to each fault; Conflict if models count by it that could not count by
    this.
    """
    await get(db, key)
    condition, tree = changes.get("condition"), None
    if condition is not None:
        check(key, condition, await plans.vocabulary(db))
        if await db.fetchval("SELECT condition = $2 FROM segment WHERE key = $1", key, condition):
            condition = None  # as it is
    if condition is not None:
        await plans.change(db)
        tree = check(key, condition, await plans.vocabulary(db))
    row = await db.fetchrow(
        """
        UPDATE segment SET name = coalesce($2, name), condition = coalesce($3, condition), updated_at = $4,
               description = CASE WHEN $5 THEN $6 ELSE description END
        WHERE key = $1 RETURNING *
        """,
        key,
        changes.get("name"),
        condition,
        now,
        "description" in changes,
        changes.get("description"),
    )
    if row is None:
        raise _unknown(key)
    job = None if tree is None else await _settle(db, key, tree, now)
    return Changed(Segment(**dict(row)), job)


async def delete(db: Connection, key: str) -> None:
    """Raises NotFound, or Conflict that names who uses it."""
    await get(db, key)
    await plans.change(db)
    if used := await measures.users(db, f"{SEGMENTS}.{key}"):
        raise Conflict(f"segment {key!r} is used by {', '.join(used)}; change that first")
    await db.execute("DELETE FROM segment WHERE key = $1", key)


async def get(db: Connection, key: str) -> Segment:
    """Raises NotFound."""
    row = await db.fetchrow("SELECT * FROM segment WHERE key = $1", key)
    if row is None:
        raise _unknown(key)
    return Segment(**dict(row))


def _unknown(key: str) -> NotFound:
    return NotFound(f"there is no segment {key!r}")


async def page(db: Connection, *, limit: int, after: str | None) -> list[Segment]:
    """Segments in the order of their keys."""
    rows = await db.fetch("SELECT * FROM segment WHERE key > $1 ORDER BY key LIMIT $2", after or "", limit)
    return [Segment(**dict(row)) for row in rows]


def check(key: str, condition: dict[str, Any], contacts: Vocabulary) -> Condition:  # Any: JSON
    """The tree of what segment `key` is to say. Raises InvalidInput with a pointer to each fault of it."""
    if faults := measures.unholdable(condition, "/condition"):
        raise InvalidInput(*faults)
    above = {f"{SEGMENTS}.{one}" for one in _naming(key, contacts.segments)}
    circles = [
        Fault(pointer, f"segment {key!r} would contain itself")
        for name, pointer in measures.mentions(condition, "/condition")
        if name in above
    ]
    try:
        # What it said so far must not be met inside; a circle has been found already.
        tree = parse(condition, replace(contacts, segments={**contacts.segments, key: _ANYBODY}), "/condition")
    except InvalidInput as fault:
        raise InvalidInput(*circles, *fault.faults) from None
    if circles:
        raise InvalidInput(*circles)
    return tree


def _naming(key: str, segments: Mapping[str, Any]) -> set[str]:  # Any: JSON
    """The segment, and all that name it by whatever way."""
    named_by = {one: measures.named(condition) for one, condition in segments.items()}
    found, more = {key}, {key}
    while more:
        fields = {f"{SEGMENTS}.{one}" for one in more}
        more = {one for one, names in named_by.items() if names & fields} - found
        found |= more
    return found


async def _settle(db: Connection, key: str, tree: Condition, now: datetime) -> UUID | None:
    """Let whatever uses the segment, which is stored already, use it as it is now; returns the job that scores anew.

    The caller has changed the plan in this transaction. Raises InvalidInput if something that uses it could no longer
    be read, or would depend on itself; Conflict if it could not be counted.
    """
    contacts = await plans.vocabulary(db)
    above = _naming(key, contacts.segments)
    fields = {f"{SEGMENTS}.{one}" for one in above}
    sheets = await measures.sheets(db)
    using = [sheet for sheet in sheets if fields & measures.named([sheet.spec, sheet.rules])]
    faults = _circles(depends_on(named(tree)), sheets, using, contacts)
    faults += _unreadable(above - {key}, [sheet for sheet in using if not sheet.is_draft], contacts)
    if faults:
        raise InvalidInput(*faults)
    counting = {sheet.model for sheet in using if not sheet.is_draft}
    if not counting:
        return None
    if waiting := await measures.not_ready(db, named(tree)):
        raise Conflict(
            f"{_listed(counting)} counts by it, and measure {_listed(waiting)} is not ready yet", "/condition"
        )
    plan = await plans.load(db)
    measures.refuse_too_much(plan)
    live = [model.key for model in plan.models if model.key in counting]
    return await publish.rescore(db, live, now) if live else None


def _circles(scores: frozenset[str], sheets: list[Sheet], using: list[Sheet], contacts: Vocabulary) -> list[Fault]:
    """The models that would depend on themselves, since they use a segment that looks at these models' scores.

    Drafts and what counts are looked at apart: of each model only one of them counts at a time.
    """
    faults = []
    for is_draft in (False, True) if scores and using else ():
        needs: dict[str, frozenset[str]] = {}
        for sheet in sheets:
            if sheet.is_draft is is_draft:
                found = checks.needs(sheet.spec, sheet.rules, contacts)
                needs[sheet.model] = needs.get(sheet.model, frozenset()) | found
        terms = checks.Terms(contacts, needs)
        faults += [
            Fault("/condition", f"it looks at the score of {one!r}, which depends on it: {sheet.name} uses the segment")
            for sheet in using
            if sheet.is_draft is is_draft
            for one in terms.circle(sheet.model, scores)
        ]
    return faults


def _unreadable(segments: set[str], sheets: list[Sheet], contacts: Vocabulary) -> list[Fault]:
    """What uses a segment and would become too much for one condition, or is wrong in any other way."""
    found = []
    for one in sorted(segments):
        try:
            parse(contacts.segments[one], contacts)
        except InvalidInput as fault:
            found.append((f"segment {one!r}", fault))
    for sheet in sheets:
        try:
            live_model(0, sheet.model, 0, {"spec": sheet.spec, "rules": sheet.rules, "bands": []}, contacts)
        except InvalidInput as fault:
            found.append((sheet.name, fault))
    return [Fault("/condition", f"{who}, which uses it: {fault.faults[0].detail}") for who, fault in found]


def _listed(keys: Any) -> str:  # Any: an iterable of text
    return ", ".join(repr(key) for key in sorted(keys))


# --- asking -----------------------------------------------------------------------------------------------------------


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
            raise _unknown(key)
        tree = parse(self.contacts.segments[key], self.contacts)
        waiting = sorted(one for one in self.waiting if f"{MEASURE}{one}" in named(tree))
        if waiting:
            raise Conflict(f"segment {key!r} looks at measure {_listed(waiting)}, whose history is still being counted")
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
