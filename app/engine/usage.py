"""Who names what: drafts, versions that count or are about to, and segments. What is used may not be removed.

Conditions are looked at as they were written, muted parts among them, for those are read as well.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from app.engine.conditions import as_list, tests
from app.engine.fields import MEASURE, SEGMENTS
from app.engine.plan import Plan
from app.engine.rules import RuleKind
from app.engine.sheets import LiveModel
from app.errors import Conflict
from app.store.db import Connection

PUBLISH = "model.publish"
MAX_TESTS_LIVE = 3_000
"""Each becomes a few parameters of the statements that tally and score; Postgres takes 65,535, asyncpg 32,767."""


class Sheet(NamedTuple):
    """What a model says: as a draft, or as a version that counts or is about to."""

    model: str
    is_draft: bool
    spec: dict[str, Any]  # Any: JSON
    rules: list[dict[str, Any]]  # Any: JSON

    @property
    def name(self) -> str:
        return f"the draft of model {self.model!r}" if self.is_draft else f"model {self.model!r}"


async def sheets(db: Connection) -> list[Sheet]:
    """All that models say, by their keys. Archived ones say nothing: they are published anew before they count."""
    rows = await db.fetch(
        """
        WITH pending AS (
            SELECT (payload ->> 'model')::int AS model_id, (payload ->> 'version')::int AS version
            FROM job WHERE kind = $1 AND status IN ('queued', 'running')
        )
        SELECT m.key, true AS is_draft, m.spec,
               coalesce((SELECT jsonb_agg(r.said ORDER BY r.id) FROM rule r WHERE r.model_id = m.id), '[]') AS rules
        FROM scoring_model m WHERE m.archived_at IS NULL
        UNION ALL
        SELECT m.key, false, v.spec, v.rules
        FROM scoring_model m JOIN model_version v ON v.model_id = m.id
        WHERE m.archived_at IS NULL AND (
            v.version = m.live_version OR (v.model_id, v.version) IN (SELECT model_id, version FROM pending)
        )
        ORDER BY 1, 2
        """,
        PUBLISH,
    )
    return [Sheet(*row) for row in rows]


async def users(db: Connection, field: str) -> list[str]:
    """Who names a field of a contact, in words: drafts, versions that count or are about to, segments."""
    found = [sheet.name for sheet in await sheets(db) if field in named([sheet.spec, sheet.rules])]
    segments = await db.fetch("SELECT key, condition FROM segment ORDER BY key")
    found += [f"segment {row['key']!r}" for row in segments if field in named(row["condition"])]
    return list(dict.fromkeys(found))


def named(said: Any) -> set[str]:  # Any: JSON
    """The fields that tests anywhere in it name, as `mentions` has them."""
    return {name for name, _ in mentions(said)}


def mentions(said: Any, pointer: str = "") -> Iterator[tuple[str, str]]:  # Any: JSON
    """(field, JSON pointer) of all that tests anywhere in it name, muted ones too, for those are read as well.

    A segment is named as `contact.segments.<key>`.
    """
    if isinstance(said, list):
        for at, part in enumerate(said):
            yield from mentions(part, f"{pointer}/{at}")
    if not isinstance(said, dict):
        return
    for name, part in said.items():
        yield from mentions(part, f"{pointer}/{name}")
    field, value = said.get("field"), said.get("value")
    if field == SEGMENTS:
        for key in as_list(value) or ():
            yield f"{SEGMENTS}.{key}", f"{pointer}/value"
    elif isinstance(field, str):
        yield field, f"{pointer}/field"
        if said.get("valueSource") == "field" and isinstance(value, str):
            yield value, f"{pointer}/value"


async def not_ready(db: Connection, names: Iterable[str]) -> list[str]:
    """The keys of those measures, among these fields of a contact, whose history is still being counted."""
    keys = [name.removeprefix(MEASURE) for name in names if name.startswith(MEASURE)]
    if not keys:
        return []
    rows = await db.fetch("SELECT key FROM measure WHERE key = ANY($1) AND NOT ready ORDER BY key", keys)
    return [row["key"] for row in rows]


def refuse_too_much(plan: Plan, mine: LiveModel | None = None) -> None:
    """Raises Conflict if all that counts, `mine` in place of its version that does, asks more than is possible."""
    models = [model for model in plan.models if mine is None or model.id != mine.id]
    rules = [] if mine is None else mine.rules
    asked = [tree for model in [*models, *([mine] if mine else [])] for tree in model.conditions]
    asked += [counter.condition for counter in plan.counters.values()]
    asked += [live.tree for live in rules if live.rule.kind is not RuleKind.PROFILE and live.tree is not None]
    count = sum(len(tests(tree)) for tree in asked)
    if count > MAX_TESTS_LIVE:
        raise Conflict(f"the conditions of all that counts would hold {count} tests; {MAX_TESTS_LIVE} are the most")
