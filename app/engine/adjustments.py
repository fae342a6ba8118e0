"""Points by hand, overrides and resets: made and revoked, never changed, so that the past can be explained."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

import uuid_utils.compat as uuids

from app.engine import contacts
from app.engine.plan import Plan, Plans
from app.engine.rules import MAX_POINTS
from app.engine.scoring import Cause
from app.errors import Fault, InvalidInput, NotFound
from app.store.db import Connection

_WITH_KEY = "SELECT a.*, m.key AS model FROM adjustment a LEFT JOIN scoring_model m ON m.id = a.model_id"


class AdjustmentKind(StrEnum):
    POINTS = "points"
    OVERRIDE = "override"
    RESET = "reset"


@dataclass(frozen=True)
class Wanted:
    """What somebody asks for; docs/scoring.md says what each kind does. `model` None: a reset of all models."""

    kind: AdjustmentKind
    model: str | None
    points: Decimal | None
    reason: str
    from_day: date | None = None
    ends_on: date | None = None


async def make(
    db: Connection, plans: Plans, contact: UUID, wanted: Wanted, by: str, now: datetime
) -> dict[str, Any]:  # Any: the table's columns
    """Keep the adjustment and score the contact by it. A new override ends the one before.

    Runs in the caller's transaction. Raises NotFound, or InvalidInput with a pointer to each fault.
    """
    plan = await plans.hold(db)
    if faults := [*await _faults_of_model(db, plan, wanted), *_faults(wanted, now)]:
        raise InvalidInput(*faults)
    model_id = None if wanted.model is None else plan.contacts.models[wanted.model].id
    await contacts.lock_existing(db, contact)
    if wanted.kind is AdjustmentKind.OVERRIDE:
        await db.execute(
            """
            UPDATE adjustment SET revoked_at = $3, revoked_by = $4
            WHERE contact_id = $1 AND model_id = $2 AND kind = 'override' AND revoked_at IS NULL
            """,
            contact,
            model_id,
            now,
            by,
        )
    made = await db.fetchrow(
        """
        INSERT INTO adjustment
            (contact_id, id, model_id, kind, points, from_day, reason, made_by, created_at, ends_on)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING *
        """,
        contact,
        uuids.uuid7(),
        model_id,
        str(wanted.kind),
        wanted.points,
        _from_day(wanted, now),
        wanted.reason,
        by,
        now,
        wanted.ends_on,
    )
    assert made is not None
    await plan.scorer.score(db, [contact], now, Cause.ADJUSTMENT)
    return {**dict(made), "model": wanted.model}


async def revoke(db: Connection, plans: Plans, contact: UUID, adjustment: UUID, by: str, now: datetime) -> None:
    """End an adjustment now: as if it had never been, from here on. Raises NotFound if none is there to revoke."""
    plan = await plans.hold(db)
    await contacts.lock_existing(db, contact)
    revoked = await db.fetchval(
        """
        UPDATE adjustment SET revoked_at = $3, revoked_by = $4
        WHERE contact_id = $1 AND id = $2 AND revoked_at IS NULL RETURNING id
        """,
        contact,
        adjustment,
        now,
        by,
    )
    if revoked is None:
        raise NotFound("the contact has no such adjustment, or it is revoked already")
    await plan.scorer.score(db, [contact], now, Cause.ADJUSTMENT)


async def page(
    db: Connection, contact: UUID, *, limit: int, before: UUID | None
) -> list[dict[str, Any]]:  # Any: the table's columns
    """A contact's adjustments, the newest first, those that have ended among them; `model` is the model's key."""
    rows = await db.fetch(
        f"""
        {_WITH_KEY}
        WHERE a.contact_id = $1 AND ($2::uuid IS NULL OR a.id < $2) ORDER BY a.id DESC LIMIT $3
        """,
        contact,
        before,
        limit,
    )
    return [dict(row) for row in rows]


async def get(db: Connection, contact: UUID, adjustment: UUID) -> dict[str, Any]:  # Any: the table's columns
    """One of a contact's adjustments, as `page` has it. Raises NotFound."""
    row = await db.fetchrow(f"{_WITH_KEY} WHERE a.contact_id = $1 AND a.id = $2", contact, adjustment)
    if row is None:
        raise NotFound("the contact has no such adjustment")
    return dict(row)


async def in_force(
    db: Connection, contact: UUID, model: int, at: datetime
) -> list[dict[str, Any]]:  # Any: the table's columns
    """Those of a contact that hold for a model at an instant, the newest first, as `page` has them."""
    return (await in_force_each(db, [contact], model, at))[contact]


async def in_force_each(
    db: Connection, people: Sequence[UUID], model: int, at: datetime
) -> dict[UUID, list[dict[str, Any]]]:  # Any: the table's columns
    """The same of each of several contacts."""
    rows = await db.fetch(
        f"""
        {_WITH_KEY}
        WHERE a.contact_id = ANY($1) AND (a.model_id = $2 OR a.model_id IS NULL) AND a.created_at <= $3
          AND (a.revoked_at IS NULL OR a.revoked_at > $3) AND (a.ends_on IS NULL OR a.ends_on > $4)
        ORDER BY a.id DESC
        """,
        list(people),
        model,
        at,
        at.date(),
    )
    grouped: dict[UUID, list[dict[str, Any]]] = {contact: [] for contact in people}  # Any: as above
    for row in rows:
        grouped[row["contact_id"]].append(dict(row))
    return grouped


async def _faults_of_model(db: Connection, plan: Plan, wanted: Wanted) -> list[Fault]:
    if wanted.model is None:
        is_of_all = wanted.kind is AdjustmentKind.RESET
        return [] if is_of_all else [Fault("/model", "expected a scoring model's key; only a reset may be of all")]
    term = plan.contacts.models.get(wanted.model)
    if term is None:
        return [Fault("/model", f"there is no scoring model {wanted.model!r}")]
    if await db.fetchval("SELECT archived_at IS NOT NULL FROM scoring_model WHERE id = $1", term.id):
        return [Fault("/model", f"scoring model {wanted.model!r} is archived; its scores stay as they are")]
    return []


def _faults(wanted: Wanted, now: datetime) -> list[Fault]:
    faults = []
    if wanted.kind is AdjustmentKind.RESET and wanted.points is not None:
        faults.append(Fault("/points", "a reset has none"))
    if wanted.kind is not AdjustmentKind.RESET:
        if wanted.points is None:
            needs = "a points adjustment" if wanted.kind is AdjustmentKind.POINTS else "an override"
            faults.append(Fault("/points", f"{needs} needs them"))
        elif abs(wanted.points) > MAX_POINTS or wanted.points != wanted.points.quantize(Decimal("0.01")):
            faults.append(Fault("/points", f"expected at most {MAX_POINTS} with two decimals"))
        if wanted.from_day is not None:
            faults.append(Fault("/from_day", "only a reset has one"))
    if wanted.ends_on is not None and wanted.ends_on <= now.date():
        faults.append(Fault("/ends_on", "expected a day after today (UTC)"))
    return faults


def _from_day(wanted: Wanted, now: datetime) -> date | None:
    if wanted.kind is not AdjustmentKind.RESET:
        return None
    return wanted.from_day or now.date() + timedelta(days=1)
