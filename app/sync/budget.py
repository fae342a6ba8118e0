"""What a connection spends, by the hour, and when it has spent enough of it.

A budget holds for any 24 hours on end: a CRM's own day may begin at any hour. Flags may spend all of it; anything else
leaves a reserve to them. What other users of the account spend, the CRM says: its own remainder is kept to the same
reserve.
"""

from collections import Counter
from datetime import datetime, timedelta
from uuid import UUID

from app import clock
from app.connectors.faults import BudgetSpent
from app.store.db import Connection, Database

_DAY = timedelta(hours=24)
_HOUR = timedelta(hours=1)
_KEPT = timedelta(days=32)


def forecast(per_day: int, spent_today: int, cost: int) -> timedelta | None:
    """How long a budget takes for so much more, in whole days: none, if it is left today. None: for ever."""
    over = cost - max(per_day - spent_today, 0)
    if over <= 0:
        return timedelta()
    return _DAY * -(-over // per_day) if per_day > 0 else None


class Budget:
    """A connection's meter. `load` it before the first call, `save` it now and then; what is not saved is counted by
    this process all the same."""

    def __init__(self, connection: UUID, per_day: int, reserve_percent: int, unit: str) -> None:
        self.connection = connection
        self.per_day = per_day
        self.unit = unit
        self.is_urgent = False
        """Whether what is spent now may be of the reserve. Whoever sets it, sets it back."""
        self.spent = 0
        """By this process, ever: for a run's counts."""
        self._reserve = reserve_percent
        self._hours: Counter[datetime] = Counter()
        self._unsaved: Counter[datetime] = Counter()
        self._allowance: tuple[int, int, datetime] | None = None
        self._is_told = True

    def allow(self, cost: int) -> None:
        limit = self.per_day if self.is_urgent else self.for_all
        if self.spent_today + cost > limit:
            raise BudgetSpent(self._free_at(limit - cost), f"the budget of {limit:,} {self.unit} a day is spent")
        if self._allowance is not None and not self.is_urgent:
            most, remaining, at = self._allowance
            if remaining < most * self._reserve // 100 and clock.now() - at < _HOUR:
                raise BudgetSpent(at + _HOUR, f"the CRM leaves {remaining:,} of {most:,} {self.unit}")

    def spend(self, cost: int) -> None:
        hour = clock.now().replace(minute=0, second=0, microsecond=0)
        self._hours[hour] += cost
        self._unsaved[hour] += cost
        self.spent += cost

    def report(self, limit: int, remaining: int) -> None:
        self._allowance = (limit, remaining, clock.now())
        self._is_told = False

    @property
    def for_all(self) -> int:
        """What may be spent in 24 hours on what is no flag."""
        return self.per_day * (100 - self._reserve) // 100

    @property
    def spent_today(self) -> int:
        """In the last 24 hours, and what came before in the first of them: only whole hours are known."""
        return sum(self._hours[hour] for hour in self._today())

    def _today(self) -> list[datetime]:
        """The hours whose end lies within the last 24 hours, the earliest first."""
        since = clock.now() - _DAY - _HOUR
        return sorted(hour for hour in self._hours if hour > since)

    def _free_at(self, room: int) -> datetime:
        """When no more than `room` was spent in 24 hours; in a day at the latest, where that is never."""
        left = self.spent_today
        for hour in self._today():
            left -= self._hours[hour]
            if left <= room:
                return hour + _HOUR + _DAY
        return clock.now() + _DAY

    async def load(self, db: Connection) -> None:
        """Read what was spent by whoever held the connection before."""
        rows = await db.fetch(
            "SELECT hour, spent FROM sync_spend WHERE connection_id = $1 AND hour > $2",
            self.connection,
            clock.now() - _DAY - _HOUR,
        )
        self._hours = Counter({row["hour"]: row["spent"] for row in rows}) + self._unsaved
        row = await db.fetchrow("SELECT allowance FROM connection WHERE id = $1", self.connection)
        said = row["allowance"] if row is not None else None
        if said is not None and self._allowance is None:
            self._allowance = (said["limit"], said["remaining"], datetime.fromisoformat(said["at"]))

    async def save(self, database: Database) -> None:
        """Add what was spent since to what is kept."""
        unsaved, self._unsaved = self._unsaved, Counter()
        was_told, self._is_told = self._is_told, True
        if not unsaved and was_told:
            return
        try:
            async with database.batch() as db:
                await db.execute(
                    """
                    INSERT INTO sync_spend (connection_id, hour, spent)
                    SELECT $1, * FROM unnest($2::timestamptz[], $3::bigint[])
                    ON CONFLICT (connection_id, hour) DO UPDATE SET spent = sync_spend.spent + excluded.spent
                    """,
                    self.connection,
                    list(unsaved),
                    list(unsaved.values()),
                )
                await db.execute(
                    "DELETE FROM sync_spend WHERE connection_id = $1 AND hour < $2",
                    self.connection,
                    clock.now() - _KEPT,
                )
                if self._allowance is not None and not was_told:
                    limit, remaining, at = self._allowance
                    said = {"limit": limit, "remaining": remaining, "at": at.isoformat()}
                    await db.execute("UPDATE connection SET allowance = $2 WHERE id = $1", self.connection, said)
        except BaseException:
            self._unsaved += unsaved
            self._is_told &= was_told
            raise
