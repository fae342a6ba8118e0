"""Properties of contacts whose type somebody declared.

Once declared, a property's values are read as that type wherever a contact is changed, in the words that conditions
know, so that `1`, `"1"`, `"true"` and `"Yes"` are stored as one value. A job converts what was stored before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from re import ASCII
from re import compile as pattern
from typing import Any, NamedTuple, assert_never
from uuid import UUID

import orjson

from app import clock
from app.engine import plan as plans
from app.engine import publish, rollout, usage
from app.engine.conditions import READERS, Json, as_list, parse
from app.engine.fields import FieldType, Scope, Vocabulary
from app.engine.plan import Plan
from app.engine.rollout import Chunk
from app.engine.rules import SCOPES, Rule
from app.engine.scoring import Cause, Scorer
from app.engine.usage import Sheet
from app.errors import Conflict, InvalidInput, NotFound
from app.store import jobs
from app.store.db import Connection, Database
from app.store.tables import Property

RETYPE = "property.retype"
_FIELD = "contact.properties."
_USES_TOLD = 5

_EXPECTED = {
    FieldType.TEXT: "expected text, a number or a boolean",
    FieldType.NUMBER: "expected number",
    FieldType.BOOLEAN: "expected boolean: true or false, yes or no, 1 or 0",
    FieldType.DATETIME: "expected datetime: an RFC 3339 instant or a date",
    FieldType.TAGS: "expected tags: a list of text, or comma-separated text",
}
_INT = 2**63
# What as_instant() in the database reads, for a value that is taken must count there: zones up to 15:59 from UTC.
_INSTANT = pattern(r"\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+-](0\d|1[0-5])(:?\d\d)?)?)?", ASCII)


def read(value: Any, kind: FieldType) -> Any:  # Any: JSON, in and out
    """A value as JSON of its declared type; reading that again changes nothing.

    Text becomes a whole number exactly, up to 64 bits, else a double; an instant stays the text that was given.
    Raises ValueError with a sentence that says what would be taken.
    """
    typed: Any
    match kind:
        case FieldType.TEXT:
            typed = _text(value)
        case FieldType.NUMBER:
            typed = _number(value)
        case FieldType.BOOLEAN:
            typed = READERS[kind](value)
        case FieldType.DATETIME:
            said = value.strip() if isinstance(value, str) else ""
            typed = said if _INSTANT.fullmatch(said) and READERS[kind](said) is not None else None
        case FieldType.TAGS:
            tags = as_list(value) if isinstance(value, str) else value
            typed = tags if isinstance(tags, list) and all(isinstance(tag, str) for tag in tags) else None
        case _:
            assert_never(kind)
    if typed is None:
        raise ValueError(_EXPECTED[kind])
    return typed


def _text(value: Any) -> str | None:  # Any: JSON
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        # As Postgres writes it, without an exponent: text that it was compared with before is what it equals now.
        return f"{Decimal(str(value)):f}"
    return value if isinstance(value, str) else None


def _number(value: Any) -> int | float | None:  # Any: JSON
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    number = READERS[FieldType.NUMBER](value)
    if not isinstance(number, Decimal):
        return None
    return int(number) if -_INT <= number < _INT and number == int(number) else float(number)


class Typed(NamedTuple):
    """Properties in which each declared one is of its type, and what is wrong with each that cannot be read so."""

    properties: dict[str, Any]  # Any: JSON
    wrong: dict[str, str]


def read_all(properties: Mapping[str, Any], contacts: Vocabulary) -> Typed:  # Any: JSON
    """Read the declared ones among these top-level properties; null, which removes one, and all others stay."""
    typed, wrong = dict(properties), {}
    for name, value in properties.items():
        kind = type_of(name, contacts)
        if kind is not None and value is not None:
            try:
                typed[name] = read(value, kind)
            except ValueError as fault:
                wrong[name] = str(fault)
    return Typed(typed, wrong)


def type_of(name: str, contacts: Vocabulary) -> FieldType | None:
    """The type declared for a property; None if nobody declared any."""
    return contacts.declared.get(_FIELD + name)


class Declared(NamedTuple):
    """A declaration as it stands, and the job that converts what was stored before it."""

    name: str
    type: FieldType
    created_at: datetime
    is_new: bool
    job: UUID


async def declare(db: Connection, name: str, kind: FieldType, now: datetime) -> Declared:
    """Let property `name` be of this type from the commit on, for everybody; enqueue the conversion of what is stored.

    Declaring the same again changes nothing and names the same job, unless that failed: then another one tries.
    Raises Conflict if a model that counts, a draft or a segment uses the property as the type allows not.
    """
    same = await db.fetchrow(
        """
        SELECT p.created_at, j.id, j.status FROM property p LEFT JOIN LATERAL (
            SELECT id, status FROM job WHERE kind = $3 AND payload ->> 'name' = p.name ORDER BY id DESC LIMIT 1
        ) j ON true
        WHERE p.name = $1 AND p.type = $2
        """,
        name,
        kind,
        RETYPE,
    )
    if same is not None and same["status"] not in (None, jobs.FAILED):
        return Declared(name, kind, same["created_at"], is_new=False, job=same["id"])
    await plans.change(db)
    is_new = await db.fetchval("SELECT 1 FROM property WHERE name = $1", name) is None
    await _refuse_breaking(db, name, kind)
    created_at = await db.fetchval(
        """
        INSERT INTO property (name, type, created_at) VALUES ($1, $2, $3)
        ON CONFLICT (name) DO UPDATE SET type = excluded.type RETURNING created_at
        """,
        name,
        kind,
        now,
    )
    job = await jobs.enqueue(db, RETYPE, {"name": name, "type": str(kind)}, now)
    return Declared(name, kind, created_at, is_new, job)


async def withdraw(db: Connection, name: str, now: datetime) -> UUID | None:
    """Let property `name` be read again as the type of what it is compared with. Its values stay as they are.

    Returns the job that scores everybody anew; None if no model that counts looks at the property.
    Raises NotFound; Conflict if a model that counts, a draft or a segment says what only the declaration allows.
    """
    await plans.change(db)
    if await db.fetchval("SELECT 1 FROM property WHERE name = $1", name) is None:
        raise NotFound(f"property {name!r} is not declared")
    await _refuse_breaking(db, name, None)
    await db.execute("DELETE FROM property WHERE name = $1", name)
    keys = _looking(await plans.load(db), name)
    return await publish.rescore(db, sorted(keys), now) if keys else None


async def page(db: Connection, *, limit: int, after: str | None) -> list[Property]:
    """Declarations in the order of their names."""
    rows = await db.fetch(
        "SELECT * FROM property WHERE $1::text IS NULL OR name > $1 ORDER BY name LIMIT $2", after, limit
    )
    return [Property(**dict(row)) for row in rows]


def _looking(plan: Plan, name: str) -> set[str]:
    """The models that count and look at the property themselves."""
    return {model.key for model in plan.models if _FIELD + name in model.names}


# --- what a declaration would break -----------------------------------------------------------------------------------


class _Use(NamedTuple):
    """One place that may name a property: a condition on the contact, or the numeric field that points are given by."""

    where: str
    condition: Json = None
    unit: str | None = None

    def fault(self, contacts: Vocabulary) -> str | None:
        """What is said there and what is wrong with that; None if nothing is."""
        if self.unit is not None:
            field = contacts.find(self.unit)
            is_number = field is not None and field.type in (None, FieldType.NUMBER)
            return None if is_number else f"points for each unit of {self.unit}: expected number"
        try:
            parse(self.condition, contacts)
        except InvalidInput as fault:
            first = fault.faults[0]
            return f"{_said(self.condition, first.pointer)}: {first.detail}"
        return None


def _said(condition: Json, pointer: str) -> str:
    """The test of a condition that a pointer leads into, as somebody would say it."""
    part = condition
    for step in pointer.split("/")[1:]:
        if isinstance(part, dict) and "field" not in part:
            part = part.get(step)
        elif isinstance(part, list):
            part = part[int(step)]
    test = part if isinstance(part, dict) else {}
    return f"{test.get('field')} {test.get('operator')} {orjson.dumps(test.get('value')).decode():.80}"


async def _refuse_breaking(db: Connection, name: str, kind: FieldType | None) -> None:
    """Raises Conflict if something that may be said now could no longer be, were the property of this type, or none."""
    before = await plans.vocabulary(db)
    others = {field: type_ for field, type_ in before.declared.items() if field != _FIELD + name}
    after = replace(before, declared=others if kind is None else {**others, _FIELD + name: kind})
    uses = [use for sheet in await usage.sheets(db) for use in _uses(sheet)]
    uses += [_Use(f"segment {key!r}", said) for key, said in before.segments.items()]
    # What cannot be read now, for whatever reason, this change does not break.
    broken = [f"{use.where}: {fault}" for use in uses if (fault := use.fault(after)) and not use.fault(before)]
    if broken:
        more = f"; and {len(broken) - _USES_TOLD} more" if len(broken) > _USES_TOLD else ""
        what = f"property {name!r} as {kind}" if kind is not None else f"property {name!r} undeclared"
        told = "; ".join(broken[:_USES_TOLD]) + more
        raise Conflict(f"{what} could not be used as it is; change this first: {told}", "/type" if kind else "")


def _uses(sheet: Sheet) -> list[_Use]:
    """All that a model asks of a contact."""
    uses = [_Use(f"{sheet.name}, audience", sheet.spec.get("audience"))]
    for rule in map(Rule.from_json, sheet.rules):
        at = f"{sheet.name}, rule {rule.name!r}"
        uses.append(_Use(f"{at}, audience", rule.audience))
        if SCOPES[rule.kind] is Scope.CONTACT:
            uses.append(_Use(at, rule.condition))
        if rule.per_unit_of is not None:
            uses.append(_Use(at, unit=rule.per_unit_of.field))
    return [use for use in uses if use.condition is not None or use.unit is not None]


# --- converting what is stored ----------------------------------------------------------------------------------------


class _Superseded(Exception):
    """The property was withdrawn or declared otherwise since: whoever did that has enqueued what remains to be done."""


async def run_retype(database: Database, job_id: UUID) -> None:
    """Rewrite what is stored of a property as its declared type, and score everybody anew who may count otherwise.

    The job's result counts what was `converted`, and what is `unreadable`: that stays as it is, and is missing to
    conditions, which ask for the type. What was of the type already is in neither.
    """
    async with database.batch() as db:
        job = await jobs.start(db, job_id, clock.now())
        if job is None:
            return
        if job["phase"] is None:
            await jobs.enter(db, job_id, "converting", await rollout.count_contacts(db))
            await _count(db, job_id, _Counts(0, 0))
    name, kind = job["payload"]["name"], FieldType(job["payload"]["type"])
    held = plans.Plans()
    scorers: dict[int, Scorer] = {}

    async def convert(db: Connection, chunk: Chunk) -> None:
        plan = await held.hold(db)
        if type_of(name, plan.contacts) is not kind:
            raise _Superseded
        now = clock.now()
        counts = await _convert(db, chunk.contacts, name, kind, now)
        if plan.epoch not in scorers:
            scorers.clear()
            scorers[plan.epoch] = Scorer(plan.dependent_on(_looking(plan, name)), plan.contacts)
        await scorers[plan.epoch].score(db, chunk.contacts, now, Cause.DEFINITION)
        await _count(db, job_id, counts)

    is_superseded = False
    try:
        await rollout.each_chunk(database, job_id, "converting", convert)
    except _Superseded:
        is_superseded = True
    async with database.batch() as db:
        result = await db.fetchval("SELECT result FROM job WHERE id = $1", job_id)
        await jobs.finish(db, job_id, clock.now(), result={**result, **({"superseded": True} if is_superseded else {})})


class _Counts(NamedTuple):
    converted: int
    unreadable: int


async def _convert(db: Connection, contacts: Sequence[UUID], name: str, kind: FieldType, now: datetime) -> _Counts:
    """Of these contacts, which the transaction has locked."""
    rows = await db.fetch(
        "SELECT id, properties -> $2::text AS value FROM contact WHERE id = ANY($1) AND properties ? $2", contacts, name
    )
    converted: dict[UUID, str] = {}
    unreadable = 0
    for contact, value in rows:
        if value is None:
            continue
        try:
            text = orjson.dumps(read(value, kind))
        except ValueError:
            unreadable += 1
            continue
        if text != orjson.dumps(value):
            converted[contact] = text.decode()
    if converted:
        await db.execute(
            """
            UPDATE contact c SET properties = c.properties || jsonb_build_object($3::text, new.value::jsonb),
                   updated_at = $4
            FROM unnest($1::uuid[], $2::text[]) AS new(id, value) WHERE c.id = ANY($1) AND c.id = new.id
            """,
            list(converted),
            list(converted.values()),
            name,
            now,
        )
    return _Counts(len(converted), unreadable)


async def _count(db: Connection, job_id: UUID, counts: _Counts) -> None:
    """Add to the counts in the transaction that they are of, so that a chunk done again is not counted twice."""
    await db.execute(
        """
        UPDATE job SET result = jsonb_build_object(
            'converted', coalesce((result ->> 'converted')::bigint, 0) + $2::bigint,
            'unreadable', coalesce((result ->> 'unreadable')::bigint, 0) + $3::bigint
        ) WHERE id = $1
        """,
        job_id,
        counts.converted,
        counts.unreadable,
    )
