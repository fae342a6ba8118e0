"""What an id names, and rows by their ids: one statement for any number of them."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, any_, bindparam, literal, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.graph import EventRow
from app.store.tables import Event, core

CONTACT, EVENT, CONNECTION, JOB = "contact", "event", "connection", "job"

_event = core(Event)
_KINDS = text(
    f"""
    SELECT wanted.id, found.kind FROM unnest(:ids) AS wanted(id) CROSS JOIN LATERAL (
        {
        " UNION ALL ".join(
            f"(SELECT '{table}' AS kind FROM {table} WHERE id = wanted.id OFFSET 0)"
            for table in (CONTACT, EVENT, CONNECTION, JOB)
        )
    }
    ) found
    """
).bindparams(bindparam("ids", type_=ARRAY(Uuid)))


async def kinds(db: AsyncConnection, ids: Collection[UUID]) -> dict[UUID, str]:
    """Which table each id is of: four look-ups by primary key each. Those that are of none are left out."""
    return {row[0]: row[1] for row in await db.execute(_KINDS, {"ids": list(ids)})}


async def events(db: AsyncConnection, ids: Collection[UUID]) -> dict[UUID, EventRow]:
    columns = [_event.c[name] for name in EventRow._fields]
    rows = await db.execute(select(*columns).where(_event.c.id == any_(literal(list(ids), ARRAY(Uuid)))))
    return {row.id: EventRow(*row) for row in rows}
