"""From tallies and contact to scores: stored for a list of contacts, or a span of them, by the formula.

Ingest, the recompute after publishing and the daily sweep all come through here. A model that looks at the scores of
others is computed after them, in the same transaction.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Text, bindparam, case, func, or_, select
from sqlalchemy.dialects.postgresql import insert

from app.engine.fields import Vocabulary
from app.engine.formula import formula
from app.engine.sheets import LiveModel
from app.engine.sources import AT, STORED
from app.store.db import Connection, Statement
from app.store.tables import Score, ScoreChange, core

_score, _change = core(Score), core(ScoreChange)


class Cause(StrEnum):
    """Why a score changed."""

    EVENT = "event"
    """Events came in: those received at that instant."""
    CONTACT = "contact"
    """The contact was made or changed, or a flag of it."""
    ROLLOVER = "rollover"
    """A day passed."""
    PUBLISH = "publish"
    """A version of the model, or of one it depends on, began to count."""
    ADJUSTMENT = "adjustment"
    """Points by hand, an override or a reset was made or revoked."""
    DEFINITION = "definition"
    """A segment, measure or property that the model names was defined otherwise."""
    MARK = "mark"
    """An event turned out to be a machine's, or a human's."""
    MERGE = "merge"
    """Another contact became this one, or was taken apart from it again."""


class Scorer:
    """The compiled statements of some models. Build once, use for any number of batches."""

    def __init__(self, models: Sequence[LiveModel], contacts: Vocabulary) -> None:
        self.models = tuple(models)
        self._steps = [Statement(_store(level, contacts)) for level in in_levels(self.models)]

    async def score(self, db: Connection, contacts: Sequence[UUID], now: datetime, cause: Cause) -> None:
        """Recompute and store the scores of `contacts`, which the transaction has locked, as of `now`'s UTC day.

        Only rows that change are written. Safe to repeat: equal input gives equal rows.
        """
        if contacts:
            for step in self._steps:
                await db.execute(
                    step.sql, *step.arguments(contacts=list(contacts), as_of=now.date(), at=now, cause=str(cause))
                )


def in_levels(models: Sequence[LiveModel]) -> list[list[LiveModel]]:
    """The models in an order in which each comes after those it depends on, as far as these are among them."""
    waiting = {model.key: model for model in models}
    levels: list[list[LiveModel]] = []
    while waiting:
        ready = [model for model in waiting.values() if not model.depends_on & waiting.keys() - {model.key}]
        if not ready:
            raise ValueError(f"these models depend on each other in a circle: {', '.join(waiting)}")
        levels.append(ready)
        for model in ready:
            del waiting[model.key]
    return levels


def _store(models: Sequence[LiveModel], contacts: Vocabulary) -> Any:
    """Insert or update each score that is not what is stored, and note that it changed."""
    total = formula(models, contacts, STORED).total.subquery("total")
    fresh = (
        select(
            total.c.contact_id,
            total.c.model_id,
            func.coalesce(total.c.override, total.c.computed).label("value"),
            total.c.version,
            total.c.next_change_on,
            AT.label("computed_at"),
            case((total.c.override.is_not(None), total.c.computed)).label("computed"),
        )
    ).subquery("fresh")
    kept = STORED.of(_score, fresh.c.contact_id, _score).where(_score.c.model_id == fresh.c.model_id).lateral("kept")
    # What is as stored is left out before the insert, for a conflict locks, and so writes, even a row it leaves alone.
    is_new = or_(
        kept.c.contact_id.is_(None),
        *(kept.c[name].is_distinct_from(fresh.c[name]) for name in ("value", "next_change_on", "computed")),
    )
    changed = (
        select(fresh, kept.c.value.label("was"))
        .select_from(fresh.outerjoin(kept, kept.c.model_id == fresh.c.model_id))
        .where(is_new)
        .cte("changed")
    )
    noted = insert(_change).from_select(
        ["contact_id", "model_id", "at", "was", "value", "version", "cause"],
        select(
            changed.c.contact_id,
            changed.c.model_id,
            AT,
            changed.c.was,
            changed.c.value,
            changed.c.version,
            bindparam("cause", type_=Text),
        ).where(changed.c.was.is_distinct_from(changed.c.value)),
    )
    names = ["contact_id", "model_id", "value", "version", "next_change_on", "computed_at", "computed"]
    stored = insert(_score).from_select(names, select(*(changed.c[name] for name in names)))
    stored = stored.on_conflict_do_update(
        index_elements=["contact_id", "model_id"], set_={name: stored.excluded[name] for name in names[2:]}
    )
    return stored.add_cte(noted.returning(_change.c.contact_id).cte("noted"))
