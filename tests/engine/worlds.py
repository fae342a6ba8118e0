"""What the engine's tests share: moments, events, models that count, and what is stored of them."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import orjson
from uuid_utils.compat import uuid7

from app import clock
from app.engine import contacts, ingest, publish
from app.engine.contacts import Change
from app.engine.hygiene import SoftPolicy
from app.engine.identity import EMAIL, Ref, find
from app.engine.ingest import NewEvent
from app.engine.plan import Plans
from app.engine.sweep import sweep
from app.store.db import Connection, Database
from app.store.tables import Contact
from app.worker import JOBS
from tests.engine import reference

NOON = datetime(2026, 5, 15, 12, tzinfo=UTC)
"""The present of these tests, far from midnight."""
TODAY = NOON.date()
POLICY = SoftPolicy(limit=3, days=10)


def at(moment: str) -> datetime:
    """An instant in UTC, as "2026-05-15 23:59:59"."""
    return datetime.fromisoformat(moment).replace(tzinfo=UTC)


def set_clock(moment: datetime) -> None:
    clock.shift(timedelta())
    clock.shift(moment - clock.now())


def event(
    type_: str,
    who: str | Ref = "ada@example.com",
    when: datetime = NOON,
    *,
    id: str | None = None,  # noqa: A002 - what it is called in the API
    source: str = "test",
    **properties: Any,  # Any: JSON
) -> NewEvent:
    """An event as the API would hand it to the engine; each is a new one unless it has an `id`."""
    ref = who if isinstance(who, Ref) else Ref(email=who)
    client_id = id or str(uuid4())
    return NewEvent(
        id=ingest.event_id(source, client_id, when, ref, type_, properties),
        ref=ref,
        type=type_,
        source=source,
        client_id=client_id,
        occurred_at=when,
        properties=orjson.dumps(properties).decode(),
        bounce=properties.get("bounce"),
    )


def is_type(type_: str) -> dict[str, Any]:
    """The condition that an event is of this type."""
    return {"field": "event.type", "operator": "=", "value": type_}


def per_event(
    condition: str | dict[str, Any],
    points: str | int,
    *,
    window: int | None = None,
    max_per_day: int | None = None,
    max_points: str | int | None = None,
) -> reference.Rule:
    asked = is_type(condition) if isinstance(condition, str) else condition
    limit = None if max_points is None else Decimal(max_points)
    return reference.Rule("event", asked, Decimal(points), window, max_per_day, limit)


def profile(field: str, operator: str, value: Any, points: str | int) -> reference.Rule:  # Any: JSON
    return reference.Rule("profile", {"field": field, "operator": operator, "value": value}, Decimal(points))


class World:
    """One deployment: a database, and one process' copy of the plan."""

    def __init__(self, database: Database, now: datetime = NOON) -> None:
        self.database = database
        self.plans = Plans()
        self.go_to(now)

    def go_to(self, now: datetime) -> None:
        self.now = now
        set_clock(now)

    async def sweep(self) -> int:
        return await sweep(self.database, self.plans)

    async def send(self, *events: NewEvent) -> set[UUID]:
        """One batch, in a transaction of its own; returns the ids that were new."""
        async with self.database.batch() as db:
            return await ingest.accept(db, self.plans, events, self.now, POLICY)

    async def draft(self, key: str, rules: Iterable[reference.Rule]) -> None:
        """Make the model if it is not there, and let these be all its rules."""
        async with self.database.batch() as db:
            await draft(db, key, rules, self.now)

    async def begin_publish(self, key: str, rules: Iterable[reference.Rule] | None = None) -> UUID:
        """Publish, and leave the job to be run; returns it."""
        async with self.database.batch() as db:
            if rules is not None:
                await draft(db, key, rules, self.now)
            return (await publish.publish(db, key, "test", self.now)).job

    async def publish(self, key: str, *rules: reference.Rule) -> None:
        """Let these be the model's rules, and make them count."""
        await self.run(await self.begin_publish(key, rules))

    async def run(self, job: UUID) -> None:
        kind = await self.value("SELECT kind FROM job WHERE id = $1", job)
        await JOBS[kind](self.database, job)

    async def change(self, contact: UUID, now: datetime | None = None, **said: Any) -> Contact:  # Any: as in Change
        """What a person says of a contact."""
        async with self.database.batch() as db:
            wanted = Change(said=frozenset(said), **said)
            return await contacts.change(db, self.plans, contact, wanted, "test", now or self.now, POLICY)

    async def erase(self, contact: UUID) -> None:
        async with self.database.batch() as db:
            await contacts.erase(db, self.plans, contact)

    async def contact(self, email: str = "ada@example.com") -> UUID:
        """Whom the address points at."""
        async with self.database.hot.acquire() as db:
            found = await find(db, (EMAIL, email))
        assert found is not None
        return found

    async def row(self, email: str = "ada@example.com") -> dict[str, Any]:  # Any: of the columns
        rows = await self.rows("SELECT * FROM contact WHERE id = $1", await self.contact(email))
        return rows[0]

    async def score(self, email: str = "ada@example.com", key: str = "m") -> Decimal | None:
        """The stored score; None if there is none."""
        contact = await self.contact(email)
        value: Decimal | None = await self.value(
            """
            SELECT s.value FROM score s JOIN scoring_model m ON m.id = s.model_id
            WHERE s.contact_id = $1 AND m.key = $2
            """,
            contact,
            key,
        )
        return value

    async def scores(self, key: str = "m") -> dict[UUID, Decimal]:
        rows = await self.rows(
            "SELECT s.contact_id, s.value FROM score s JOIN scoring_model m ON m.id = s.model_id WHERE m.key = $1", key
        )
        return {row["contact_id"]: row["value"] for row in rows}

    async def judged(self, rules: Sequence[reference.Rule], as_of: date | None = None) -> dict[UUID, Decimal]:
        """What the judge says each contact is worth, from the raw events in the database."""
        as_of = as_of or self.now.date()
        people = await self.rows("SELECT * FROM contact")
        return {
            person["id"]: reference.score(rules, await self.events(person["id"]), shown(person), as_of)
            for person in people
        }

    async def events(self, contact: UUID) -> list[reference.Event]:
        rows = await self.rows(
            "SELECT type, source, occurred_at, received_at, properties FROM event WHERE contact_id = $1", contact
        )
        return [reference.Event(**row) for row in rows]

    async def rows(self, query: str, *arguments: Any) -> list[dict[str, Any]]:  # Any: of the columns
        async with self.database.hot.acquire() as db:
            return [dict(row) for row in await db.fetch(query, *arguments)]

    async def value(self, query: str, *arguments: Any) -> Any:  # Any: of the column
        async with self.database.hot.acquire() as db:
            return await db.fetchval(query, *arguments)

    async def execute(self, query: str, *arguments: Any) -> None:  # Any: of the columns
        async with self.database.hot.acquire() as db:
            await db.execute(query, *arguments)

    async def clear(self) -> None:
        """Empty, for the next example of a property test. Deleting beats truncating while there is little."""
        await self.execute(_CLEAR)
        self.plans = Plans()
        self.go_to(NOON)


_CLEAR = """
    DELETE FROM identity; DELETE FROM contact; DELETE FROM activity; DELETE FROM event; DELETE FROM tally;
    DELETE FROM score; DELETE FROM score_change; DELETE FROM contact_past; DELETE FROM adjustment;
    DELETE FROM segment; DELETE FROM measure; DELETE FROM property; DELETE FROM preview_score; DELETE FROM rule;
    DELETE FROM model_version; DELETE FROM scoring_model; DELETE FROM counter;
    DELETE FROM job; DELETE FROM pgqueuer; UPDATE plan_epoch SET epoch = epoch + 1;
"""


async def draft(db: Connection, key: str, rules: Iterable[reference.Rule], now: datetime) -> None:
    model: int = await db.fetchval(
        """
        INSERT INTO scoring_model (key, name, created_at, updated_at) VALUES ($1, $1, $2, $2)
        ON CONFLICT (key) DO UPDATE SET updated_at = $2 RETURNING id
        """,
        key,
        now,
    )
    await db.execute("DELETE FROM rule WHERE model_id = $1", model)
    for number, rule in enumerate(rules):
        made = uuid7()
        await db.execute(
            "INSERT INTO rule (id, model_id, said, created_at, updated_at) VALUES ($1, $2, $3, $4, $4)",
            made,
            model,
            rule.said(str(made), f"rule {number}"),
            now,
        )


def shown(person: dict[str, Any]) -> dict[str, Any]:  # Any: of the columns; JSON
    """A contact's row as the API shows it, which is how the judge reads it."""
    kept = ("email", "name", "stage", "tags", "opted_out", "bounced", "bounce_status", "properties")
    return {**{name: person[name] for name in kept}, "created_at": person["created_at"].isoformat()}
