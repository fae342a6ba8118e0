"""What is yet to be told, what that costs of a budget, and how long it takes: of a backlog, and of a draft.

Costs are the connector's, at best: what CRMs refuse and what is read again comes on top.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeAlias
from uuid import UUID

from app.connectors.faults import SignInRefused
from app.engine.rules import Band, read_bands
from app.errors import NotFound
from app.store.db import Connection
from app.sync import budget, hints, mapping, outbox
from app.sync.options import Options
from app.sync.shapes import Opened

COUNTED = outbox.COUNTED
"""So far records are counted: this many mean more than 10,000."""


@dataclass(frozen=True)
class Spending:
    """A connection's budget, in its unit."""

    unit: str
    per_day: int
    reserve: int
    """The part of it that only flags may spend."""
    spent_today: int
    """In the last 24 hours."""
    remaining: int | None = None
    """What the CRM last said is left of its own budget, which others use too; None: it does not say."""

    def takes_s(self, cost: int) -> int | None:
        """Seconds, in whole days, until so much may have been spent on what is no flag; 0: at once; None: never."""
        takes = budget.forecast(self.per_day - self.reserve, self.spent_today, cost)
        return None if takes is None else int(takes.total_seconds())


@dataclass(frozen=True)
class Backlog:
    """What waits in one connection. Counts end at `COUNTED`."""

    waiting: int
    """Contacts that it has yet to be told of, those delayed among them."""
    flags: int
    delayed: int
    oldest: datetime | None
    hints: int
    """Records that the CRM told us may have changed, and that have yet to be read."""
    parked: int
    """Records with fields that are tried no more."""
    budget: Spending
    cost: int
    """Of all that waits."""
    drains_in_s: int | None
    """By the budget alone, if nothing more came; None: never."""


@dataclass(frozen=True)
class Writes:
    """What publishing a draft would have a connection told."""

    connection: UUID
    name: str
    contacts: int
    records: int
    unit: str | None = None
    cost: int | None = None
    """None: nobody can say, such as of a connection that cannot be opened."""
    takes_s: int | None = None
    """By the budget alone."""


Plan: TypeAlias = Callable[[UUID, int], Awaitable[tuple[Spending, int] | None]]
"""A connection's budget, and what so many writes cost of it."""


async def backlog(opened: Opened) -> Backlog:
    """Nothing goes over the wire."""
    async with opened.database.batch() as db:
        waits = await outbox.backlog(db, opened.id)
        noted = await hints.waiting(db, opened.id)
        parked: int = await db.fetchval(
            """
            SELECT count(*) FROM (
                SELECT FROM link WHERE connection_id = $1 AND held @? '$.*.until ? (@ == null)' LIMIT $2
            ) counted
            """,
            opened.id,
            COUNTED,
        )
        allowed = await spending(db, opened)
    cost = opened.connector.cost(waits.waiting) if waits.waiting else 0
    return Backlog(*waits, noted, parked, allowed, cost, allowed.takes_s(cost))


async def spending(db: Connection, opened: Opened) -> Spending:
    said = await db.fetchval("SELECT allowance FROM connection WHERE id = $1", opened.id)
    spent = opened.budget
    remaining = None if said is None else said["remaining"]
    return Spending(spent.unit, spent.per_day, spent.per_day - spent.for_all, spent.spent_today, remaining)


# --- a draft that is tried --------------------------------------------------------------------------------------------


Opening: TypeAlias = Callable[[UUID], AbstractAsyncContextManager[Opened]]


def by_connector(opening: Opening) -> Plan:
    """As the connectors say that `opening` makes."""

    async def plan(connection: UUID, writes: int) -> tuple[Spending, int] | None:
        try:
            async with opening(connection) as opened, opened.database.batch() as db:
                return await spending(db, opened), opened.connector.cost(writes) if writes else 0
        except (SignInRefused, NotFound):
            return None

    return plan


# As numbers are told: to so many places, halves to the even neighbour.
_TOLD = """
    CASE WHEN abs({0} * {1} - trunc({0} * {1})) = 0.5 THEN 2 * round({0} * {1} / 2) ELSE round({0} * {1}) END
"""
_WRITES = f"""
    SELECT count(*) AS contacts, coalesce(sum(known.records), 0) AS records
    FROM preview_score p CROSS JOIN LATERAL (
        SELECT count(*) AS records FROM identity
        WHERE contact_id = p.contact_id AND kind LIKE 'crm:' || $2 || ':%' OFFSET 0
    ) known
    WHERE p.job_id = $1 AND known.records > 0 AND (
        ($3 AND {_TOLD.format("p.was", "$4::numeric")} IS DISTINCT FROM {_TOLD.format("p.becomes", "$4::numeric")})
        OR ($5 AND ($6::text[])[width_bucket(p.was, $7::numeric[]) + 1]
            IS DISTINCT FROM ($8::text[])[width_bucket(p.becomes, $9::numeric[]) + 1])
    )
"""


async def of_preview(db: Connection, job: UUID, plan: Plan | None = None) -> list[dict[str, Any]]:  # Any: JSON
    """Of a preview that is worked out: for each connection that is told this model's score or band, whose would change
    as they are told, which are fewer than those whose score would."""
    row = await db.fetchrow(
        """
        SELECT j.payload ->> 'model' AS key, j.payload -> 'draft' -> 'bands' AS becoming, v.bands AS present
        FROM job j LEFT JOIN scoring_model m ON m.key = j.payload ->> 'model'
        LEFT JOIN model_version v ON v.model_id = m.id AND v.version = m.live_version WHERE j.id = $1
        """,
        job,
    )
    if row is None:
        return []
    becoming = read_bands(row["becoming"])
    present = becoming if row["present"] is None else read_bands(row["present"])
    found = []
    for one in await db.fetch("SELECT id, name, options FROM connection ORDER BY name"):
        places, has_band = _told(Options.from_json(one["options"]), row["key"])
        if places is None and not has_band:
            continue
        counted = await db.fetchrow(
            _WRITES,
            job,
            str(one["id"]),
            places is not None,
            Decimal(10) ** (places or 0),
            has_band,
            *_as_told(present),
            *_as_told(becoming),
        )
        assert counted is not None
        writes = Writes(one["id"], one["name"], counted["contacts"], int(counted["records"]))
        found.append(await _priced(writes, plan))
    return [{**asdict(one), "connection": str(one.connection)} for one in found]


async def _priced(writes: Writes, plan: Plan | None) -> Writes:
    priced = None if plan is None else await plan(writes.connection, writes.records)
    if priced is None:
        return writes
    allowed, cost = priced
    return replace(writes, unit=allowed.unit, cost=cost, takes_s=allowed.takes_s(cost))


def _told(options: Options, key: str) -> tuple[int | None, bool]:
    """To how many places this model's score is told, None if not; and whether its band is."""
    going = [pair for pair in options.pairs if pair.goes_out]
    scores = [pair.places or 0 for pair in going if pair.here == f"{mapping.SCORE}{key}"]
    is_chosen = options.scores is None or key in options.scores
    has_band = any(pair.here == f"{mapping.BAND}{key}" for pair in going) or (is_chosen and options.bands)
    return max(scores, default=0 if is_chosen else None), has_band


def _as_told(bands: Sequence[Band]) -> tuple[list[str | None], list[Decimal]]:
    """Names by the bucket that `width_bucket` gives, and the edges that it wants: 0 lies below the first edge."""
    edged = [band for band in bands if band.min is not None]
    below = next((band.name for band in bands if band.min is None), None)
    return [below, *(band.name for band in edged)], [band.min for band in edged if band.min is not None]
