"""How scores changed: of contacts, by key; and of everybody, in a window of time."""

from collections import defaultdict
from collections.abc import Collection
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, BindParameter, Boolean, DateTime, Integer, Numeric, Uuid, bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection


class ChangeRow(NamedTuple):
    id: int
    at: datetime
    was: Decimal | None
    value: Decimal | None
    version: int
    cause: str


class Stretch(NamedTuple):
    """At most `limit` changes between two ids, both exclusive: the newest, or `from_end` the oldest of them."""

    limit: int
    older_than: int | None = None
    newer_than: int | None = None
    from_end: bool = False


def _history(direction: str) -> str:
    return f"""
        SELECT who.id, c.* FROM unnest(:contacts) AS who(id) CROSS JOIN LATERAL (
            SELECT id, at, was, value, version, cause FROM score_change
            WHERE contact_id = who.id AND model_id = :model AND id < :older_than AND id > :newer_than
            ORDER BY id {direction} LIMIT :limit
        ) c
    """


_PARAMETERS: list[BindParameter[Any]] = [  # Any: of each type
    bindparam("contacts", type_=ARRAY(Uuid)),
    bindparam("older_than", type_=BigInteger),
    bindparam("newer_than", type_=BigInteger),
]
_NEWEST, _OLDEST = (text(_history(direction)).bindparams(*_PARAMETERS) for direction in ("DESC", "ASC"))


async def history(
    db: AsyncConnection, contacts: Collection[UUID], model: int, wanted: Stretch
) -> dict[UUID, list[ChangeRow]]:
    """The changes of each contact's score in a model, the newest first; by the primary key."""
    rows = await db.execute(
        _OLDEST if wanted.from_end else _NEWEST,
        {
            "contacts": list(contacts),
            "model": model,
            "older_than": 2**63 - 1 if wanted.older_than is None else wanted.older_than,
            "newer_than": 0 if wanted.newer_than is None else wanted.newer_than,
            "limit": wanted.limit,
        },
    )
    grouped: dict[UUID, list[ChangeRow]] = defaultdict(list)
    for row in rows:
        grouped[row[0]].append(ChangeRow(*row[1:]))
    return {contact: found[::-1] if wanted.from_end else found for contact, found in grouped.items()}


class Moves(NamedTuple):
    """Whose changes: of one model, in a window of time. `mins` are where its bands begin, ascending."""

    model: int
    since: datetime
    until: datetime
    mins: tuple[Decimal, ...]


class BandMove(NamedTuple):
    """Contacts by the bands in which they were and are. 0: below the first of `mins`; None: no score."""

    was: int | None
    now: int | None
    contacts: int
    rose: int
    fell: int


class DayMoves(NamedTuple):
    day: date
    rose: int
    fell: int
    up: int
    """Changes to a higher band."""
    down: int


class Mover(NamedTuple):
    contact_id: UUID
    was: Decimal | None
    value: Decimal | None
    moved: Decimal
    changes: int


class MoverPage(NamedTuple):
    """Movers with the largest move first, after one of them; upwards or downwards, between bands where given."""

    limit: int
    is_up: bool
    after: tuple[Decimal, UUID] | None = None
    band_was: int | None = None
    band: int | None = None


# The first change in the window says what it was, the last what it came to. Found by the BRIN index on `at`, which
# costs nothing to keep, for changes are written in the order of time.
_NET = """
    SELECT contact_id, (array_agg(was ORDER BY id))[1] AS was, (array_agg(value ORDER BY id DESC))[1] AS value,
           count(*) AS changes
    FROM score_change WHERE model_id = :model AND at >= :since AND at < :until GROUP BY contact_id
"""
_BAND_MOVES = f"""
    SELECT width_bucket(was, :mins), width_bucket(value, :mins), count(*), count(*) FILTER (WHERE value > was),
           count(*) FILTER (WHERE value < was)
    FROM ({_NET}) net GROUP BY 1, 2
"""
_DAYS = """
    SELECT (at AT TIME ZONE 'UTC')::date, count(*) FILTER (WHERE value > was), count(*) FILTER (WHERE value < was),
           count(*) FILTER (WHERE width_bucket(value, :mins) > width_bucket(was, :mins)),
           count(*) FILTER (WHERE width_bucket(value, :mins) < width_bucket(was, :mins))
    FROM score_change WHERE model_id = :model AND at >= :since AND at < :until GROUP BY 1 ORDER BY 1
"""
_MOVERS = f"""
    SELECT contact_id, was, value, value - was, changes FROM ({_NET}) net
    WHERE CASE WHEN :is_up THEN value > was ELSE value < was END
      AND (CAST(:band_was AS int) IS NULL OR width_bucket(was, :mins) = :band_was)
      AND (CAST(:band AS int) IS NULL OR width_bucket(value, :mins) = :band)
      AND (CAST(:moved AS numeric) IS NULL OR (abs(value - was), contact_id) < (abs(CAST(:moved AS numeric)), :contact))
    ORDER BY abs(value - was) DESC, contact_id DESC LIMIT :limit
"""
_WINDOW: list[BindParameter[Any]] = [  # Any: of each type
    bindparam("since", type_=DateTime(timezone=True)),
    bindparam("until", type_=DateTime(timezone=True)),
    bindparam("mins", type_=ARRAY(Numeric)),
]
_BAND_MOVES_SQL, _DAYS_SQL = (text(said).bindparams(*_WINDOW) for said in (_BAND_MOVES, _DAYS))
_MOVERS_SQL = text(_MOVERS).bindparams(
    *_WINDOW,
    bindparam("is_up", type_=Boolean),
    bindparam("band_was", type_=Integer),
    bindparam("band", type_=Integer),
    bindparam("moved", type_=Numeric),
    bindparam("contact", type_=Uuid),
)


async def band_moves(db: AsyncConnection, wanted: Moves) -> list[BandMove]:
    """Everybody whose score changed in the window, by what became of it in all."""
    return [BandMove(*row) for row in await db.execute(_BAND_MOVES_SQL, _said(wanted))]


async def day_moves(db: AsyncConnection, wanted: Moves) -> list[DayMoves]:
    """Changes by the UTC day on which they came, the earliest first; days without any are left out."""
    return [DayMoves(*row) for row in await db.execute(_DAYS_SQL, _said(wanted))]


async def movers(db: AsyncConnection, wanted: Moves, page: MoverPage) -> list[Mover]:
    moved, contact = page.after or (None, None)
    rows = await db.execute(
        _MOVERS_SQL,
        {
            **_said(wanted),
            "is_up": page.is_up,
            "band_was": page.band_was,
            "band": page.band,
            "moved": moved,
            "contact": contact,
            "limit": page.limit,
        },
    )
    return [Mover(*row) for row in rows]


def _said(wanted: Moves) -> dict[str, Any]:  # Any: of each type
    return {"model": wanted.model, "since": wanted.since, "until": wanted.until, "mins": list(wanted.mins)}
