"""The list of events."""

from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import select, tuple_

from app.errors import InvalidInput
from app.store import pages
from app.store.db import Database
from app.store.tables import Contact, Event, core

_event = core(Event)
_contact = core(Contact)


class Listed(NamedTuple):
    """An event beside the address of the contact it is of."""

    id: UUID
    client_id: str | None
    type: str
    occurred_at: datetime
    received_at: datetime
    source: str
    contact_id: UUID
    email: str | None
    properties: dict[str, Any]
    human: bool | None
    human_by: str | None


async def page(
    database: Database,
    *,
    contact_id: UUID | None,
    type_: str | None,
    source: str | None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int,
    cursor: str | None,
) -> tuple[list[Listed], str | None]:
    """Events that match, the latest to occur first, and the cursor of the page after. `until` is not included."""
    columns = [_event.c[name] for name in Listed._fields if name != "email"]
    columns.insert(7, _contact.c.email)
    query = select(*columns).outerjoin(_contact, _contact.c.id == _event.c.contact_id)
    for column, wanted in ((_event.c.contact_id, contact_id), (_event.c.type, type_), (_event.c.source, source)):
        if wanted is not None:
            query = query.where(column == wanted)
    if since is not None:
        query = query.where(_event.c.occurred_at >= since)
    # The upper bound is said once: of two, an index may be walked from the wrong one.
    place = None if cursor is None else _place(cursor)
    if place is not None and (until is None or place[0] < until):
        query = query.where(tuple_(_event.c.occurred_at, _event.c.id) < tuple_(*place))
    elif until is not None:
        query = query.where(_event.c.occurred_at < until)
    query = query.order_by(_event.c.occurred_at.desc(), _event.c.id.desc()).limit(limit + 1)
    async with database.read() as connection:
        rows = [Listed(*row) for row in await connection.execute(query)]
    if len(rows) <= limit:
        return rows, None
    last = rows[limit - 1]
    return rows[:limit], pages.encode(last.occurred_at.isoformat(), str(last.id))


def _place(cursor: str) -> tuple[datetime, UUID]:
    occurred_at, event = pages.decode(cursor, 2)
    try:
        return datetime.fromisoformat(occurred_at).astimezone(UTC), UUID(event)
    except (ValueError, TypeError, AttributeError, OverflowError):
        raise InvalidInput(pages.bad_cursor()) from None
