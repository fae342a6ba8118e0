"""Segments: saved conditions on contacts. Who is in one is found out when somebody asks, so it is always current.

A segment that rules name becomes part of their conditions: when it is defined otherwise, the models that count by it
are scored anew.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from app.engine import checks, publish, usage
from app.engine import plan as plans
from app.engine.conditions import Condition, parse
from app.engine.fields import SEGMENTS, Vocabulary
from app.engine.rules import named
from app.engine.sheets import depends_on, live_model
from app.engine.usage import Sheet
from app.errors import Conflict, Fault, InvalidInput, NotFound
from app.store.db import Connection
from app.store.tables import Segment

_ANYBODY = {"field": "contact.email", "operator": "null", "muted": True}


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
        raise unknown(key)
    job = None if tree is None else await _settle(db, key, tree, now)
    return Changed(Segment(**dict(row)), job)


async def delete(db: Connection, key: str) -> None:
    """Raises NotFound, or Conflict that names who uses it."""
    await get(db, key)
    await plans.change(db)
    if used := await usage.users(db, f"{SEGMENTS}.{key}"):
        raise Conflict(f"segment {key!r} is used by {', '.join(used)}; change that first")
    await db.execute("DELETE FROM segment WHERE key = $1", key)


async def get(db: Connection, key: str) -> Segment:
    """Raises NotFound."""
    row = await db.fetchrow("SELECT * FROM segment WHERE key = $1", key)
    if row is None:
        raise unknown(key)
    return Segment(**dict(row))


def unknown(key: str) -> NotFound:
    """What to raise for a segment that is not there."""
    return NotFound(f"there is no segment {key!r}")


async def page(db: Connection, *, limit: int, after: str | None) -> list[Segment]:
    """Segments in the order of their keys."""
    rows = await db.fetch("SELECT * FROM segment WHERE key > $1 ORDER BY key LIMIT $2", after or "", limit)
    return [Segment(**dict(row)) for row in rows]


def check(key: str, condition: dict[str, Any], contacts: Vocabulary) -> Condition:  # Any: JSON
    """The tree of what segment `key` is to say. Raises InvalidInput with a pointer to each fault of it."""
    if faults := checks.unholdable(condition, "/condition"):
        raise InvalidInput(*faults)
    above = {f"{SEGMENTS}.{one}" for one in _naming(key, contacts.segments)}
    circles = [
        Fault(pointer, f"segment {key!r} would contain itself")
        for name, pointer in usage.mentions(condition, "/condition")
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
    named_by = {one: usage.named(condition) for one, condition in segments.items()}
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
    sheets = await usage.sheets(db)
    using = [sheet for sheet in sheets if fields & usage.named([sheet.spec, sheet.rules])]
    faults = _circles(depends_on(named(tree)), sheets, using, contacts)
    faults += _unreadable(above - {key}, [sheet for sheet in using if not sheet.is_draft], contacts)
    if faults:
        raise InvalidInput(*faults)
    counting = {sheet.model for sheet in using if not sheet.is_draft}
    if not counting:
        return None
    if waiting := await usage.not_ready(db, named(tree)):
        raise Conflict(
            f"{_listed(counting)} counts by it, and measure {_listed(waiting)} is not ready yet", "/condition"
        )
    plan = await plans.load(db)
    if missing := depends_on(named(tree)) - {model.key for model in plan.models}:
        raise Conflict(
            f"{_listed(counting)} counts by it, and nobody computes the scores of {_listed(missing)}", "/condition"
        )
    usage.refuse_too_much(plan)
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
