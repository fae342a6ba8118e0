"""The roll-over: scores that change by themselves today, because an event expires or a silence grows too long."""

from app import clock
from app.engine import identity
from app.engine.identity import ContactGone
from app.engine.plan import Plans
from app.engine.scoring import Cause
from app.store.db import Database

_CHUNK = 1_000


async def sweep(database: Database, plans: Plans) -> int:
    """Score anew whoever is due up to today (UTC), and nobody else; returns how many contacts that was.

    Safe to run at any time, by several workers, and after any pause: a score is as of the day it is computed.
    """
    swept = 0
    while True:
        try:
            async with database.batch() as db:
                plan = await plans.hold(db)
                now = clock.now()
                due = await db.fetch(
                    """
                    SELECT contact_id FROM score WHERE next_change_on <= $1 AND model_id = ANY($2)
                    ORDER BY next_change_on, contact_id LIMIT $3
                    """,
                    now.date(),
                    [model.id for model in plan.models],
                    _CHUNK,
                )
                contacts = sorted({row["contact_id"] for row in due})
                if not contacts:
                    return swept
                await identity.lock(db, contacts)
                await plan.scorer.score(db, contacts, now, Cause.ROLLOVER)
                swept += len(contacts)
        except ContactGone:
            continue
