"""What the engine's tests share: moments, events, models that count, and what is stored of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import orjson
from uuid_utils.compat import uuid7

from app import clock
from app.engine import adjustments, contacts, declared, identity, ingest, measures, merging, publish, replay, segments
from app.engine.contacts import Change
from app.engine.explain import Explanation
from app.engine.fields import Aggregate, FieldType
from app.engine.hygiene import SoftPolicy
from app.engine.identity import EMAIL, Ref, find
from app.engine.ingest import NewEvent
from app.engine.plan import Plans
from app.engine.scoring import Cause
from app.engine.sweep import sweep
from app.engine.tally import Fill
from app.engine.verify import Report, verify
from app.errors import NotFound
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


@dataclass
class Deployment:
    """What a deployment says beside its contacts: all else that the judge must know of it."""

    models: dict[str, reference.Sheet] = field(default_factory=dict)
    """Those that count."""
    segments: dict[str, Any] = field(default_factory=dict)  # Any: a condition in JSON
    measures: dict[str, reference.Measure] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)


class Worth(NamedTuple):
    """A score as it is stored: `computed` is what the rules say while an override stands in for it."""

    value: Decimal | None
    computed: Decimal | None


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

    async def draft(self, key: str, rules: "Drafted") -> None:
        """Make the model if it is not there, and let these be all its rules."""
        async with self.database.batch() as db:
            await draft(db, key, rules, self.now)

    async def begin_publish(
        self,
        key: str,
        rules: "Drafted | None" = None,
        *,
        version: int | None = None,
        starts_at: datetime | None = None,
    ) -> UUID:
        """Publish, and leave the job to be run; returns it."""
        async with self.database.batch() as db:
            if rules is not None:
                await draft(db, key, rules, self.now)
            made = await publish.publish(db, key, "test", self.now, version=version, starts_at=starts_at)
            return made.job

    async def publish(self, key: str, *rules: reference.Rule) -> None:
        """Let these be the model's rules, and make them count."""
        await self.run(await self.begin_publish(key, rules))

    async def publish_sheet(self, key: str, sheet: reference.Sheet) -> None:
        """Let this be all that the model says, and make it count; grids that it is a part of follow."""
        await self.begin_publish(key, sheet)
        await self.work()

    async def run(self, job: UUID, database: Any = None) -> None:  # Any: a database, or what acts as one
        kind = await self.value("SELECT kind FROM job WHERE id = $1", job)
        await _WORK[kind](database or self.database, job)

    async def work(self) -> None:
        """Run all jobs that wait, the oldest first."""
        for row in await self.rows("SELECT id FROM job WHERE status IN ('queued', 'running') ORDER BY id"):
            await self.run(row["id"])

    async def declare(self, name: str, kind: str) -> None:
        """Let a property of contacts be of a type, and convert what is stored."""
        async with self.database.batch() as db:
            await declared.declare(db, name, FieldType(kind), self.now)
        await self.work()

    async def begin_measure(self, key: str, said: reference.Measure) -> None:
        """Make a measure, and leave the job to be run."""
        wanted = measures.Wanted(key, key, said.condition, Aggregate(said.aggregate), said.of, said.window_days)
        async with self.database.batch() as db:
            await measures.create(db, wanted, self.now)

    async def measure(self, key: str, said: reference.Measure) -> None:
        """Make a measure, and count its history."""
        await self.begin_measure(key, said)
        await self.work()

    async def segment(self, key: str, condition: Any) -> None:  # Any: JSON
        """Make a segment, or let it say something else; whoever counts by it is scored anew."""
        async with self.database.batch() as db:
            if await db.fetchval("SELECT true FROM segment WHERE key = $1", key):
                await segments.change(db, key, {"condition": condition}, self.now)
            else:
                await segments.create(db, segments.Wanted(key, key, None, condition), self.now)
        await self.work()

    async def change(self, contact: UUID, now: datetime | None = None, **said: Any) -> Contact:  # Any: as in Change
        """What a person says of a contact."""
        async with self.database.batch() as db:
            wanted = Change(said=frozenset(said), **said)
            return await contacts.change(db, self.plans, contact, wanted, "test", now or self.now, POLICY)

    async def erase(self, contact: UUID) -> None:
        async with self.database.batch() as db:
            await contacts.erase(db, self.plans, contact)

    async def merge(self, survivor: UUID, other: UUID) -> None:
        async with self.database.batch() as db:
            await merging.merge(db, self.plans, survivor, other, self.now, POLICY, by="test")

    async def unmerge(self, contact: UUID, part: UUID) -> None:
        async with self.database.batch() as db:
            await merging.unmerge(db, self.plans, contact, part, self.now, POLICY, by="test")

    async def adjust(
        self,
        contact: UUID,
        kind: str,
        model: str | None = "m",
        points: str | int | Decimal | None = None,
        *,
        from_day: date | None = None,
        ends_on: date | None = None,
    ) -> UUID:
        """Make an adjustment; returns its id."""
        worth = None if points is None else Decimal(points)
        wanted = adjustments.Wanted(adjustments.AdjustmentKind(kind), model, worth, "a test", from_day, ends_on)
        async with self.database.batch() as db:
            made: UUID = (await adjustments.make(db, self.plans, contact, wanted, "test", self.now))["id"]
            return made

    async def revoke(self, contact: UUID, adjustment: UUID) -> None:
        async with self.database.batch() as db:
            await adjustments.revoke(db, self.plans, contact, adjustment, "test", self.now)

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

    async def scores(self, key: str = "m") -> dict[UUID, Decimal | None]:
        rows = await self.rows(
            "SELECT s.contact_id, s.value FROM score s JOIN scoring_model m ON m.id = s.model_id WHERE m.key = $1", key
        )
        return {row["contact_id"]: row["value"] for row in rows}

    async def worths(self) -> dict[tuple[UUID, str], Worth]:
        """What is stored, in all models that count, by contact and model."""
        rows = await self.rows(
            """
            SELECT s.contact_id, m.key, s.value, s.computed FROM score s JOIN scoring_model m ON m.id = s.model_id
            WHERE m.archived_at IS NULL AND m.live_version IS NOT NULL
            """
        )
        return {(row["contact_id"], row["key"]): Worth(row["value"], row["computed"]) for row in rows}

    async def cases(self, deployment: Deployment) -> dict[UUID, reference.Case]:
        """All about each contact, as the judge takes it, from the raw rows of the database."""
        return {
            person["id"]: reference.Case(
                contact=shown(person),
                events=await self.events(person["id"]),
                adjustments=await self.adjustments(person["id"]),
                models=deployment.models,
                segments=deployment.segments,
                measures=deployment.measures,
                types=deployment.types,
            )
            for person in await self.rows("SELECT * FROM contact ORDER BY id")
        }

    async def adjustments(self, contact: UUID) -> list[reference.Adjustment]:
        rows = await self.rows(
            """
            SELECT a.kind, m.key AS model, a.points, a.from_day, a.created_at, a.ends_on, a.revoked_at
            FROM adjustment a LEFT JOIN scoring_model m ON m.id = a.model_id WHERE a.contact_id = $1 ORDER BY a.id
            """,
            contact,
        )
        return [reference.Adjustment(**row) for row in rows]

    async def explained(self, contact: UUID, key: str = "m") -> Explanation:
        """By what is stored just now."""
        async with self.database.batch() as db:
            return await replay.now(db, await self.plans.hold(db), contact, key, self.now)

    async def agree(self, deployment: Deployment) -> None:
        """Everything that is stored of the models that count is what the judge says."""
        stored, said, expected = await self.worths(), await self.cases(deployment), {}
        for contact, case in said.items():
            for key in deployment.models:
                expected[contact, key] = judged(case, key, self.now)
        wrong = [pair for pair in stored.keys() | expected.keys() if stored.get(pair) != expected.get(pair)]
        if wrong:
            told = [
                f"{key} of {contact} at {self.now}: stored {stored.get((contact, key))}, judged"
                f" {expected.get((contact, key))}\n{await self.dispute(said.get(contact), contact, key)}"
                for contact, key in sorted(wrong, key=str)
            ]
            raise AssertionError("\n".join(told))

    async def dispute(self, case: reference.Case | None, contact: UUID, key: str) -> str:
        """What product and judge say of each rule, for whoever has to find the one at fault."""
        if case is None or key not in case.models:
            return "  the judge knows no such contact or model"
        try:
            found = await self.explained(contact, key)
        except NotFound as fault:
            return f"  the product says: {fault}"
        given = points_of_rules(found)
        lines = [f"  computed anew now: {found.computed}, override {found.override}, cuts {found.cuts}"]
        for number, (rule, points) in enumerate(reference.contributions(case, key, self.now.date(), self.now)):
            mark = "  " if given.get(number, 0) == points else "! "
            lines.append(f"  {mark}rule {number}: given {given.get(number, 0)}, judged {points}; {rule}")
        lines += [f"  by hand: {one}" for one in case.adjustments]
        lines += [f"  happened: {one}" for one in sorted(case.events, key=lambda one: one.occurred_at)]
        return "\n".join([*lines, f"  contact: {case.contact}", f"  sheet: {case.models[key]}"])

    async def verified(self) -> Report:
        """The product's own proof, whole."""
        report = Report()
        async for one in verify(self.database):
            report = one
        return report

    async def broken_histories(self) -> list[Any]:  # Any: rows
        """Changes of scores that do not begin where the one before ended, or do not end in what is stored."""
        return await self.rows(
            """
            SELECT h.*, s.value AS stored FROM (
                SELECT contact_id, model_id, at, was, value, cause,
                       lag(value) OVER turn AS before, row_number() OVER turn AS number, lead(id) OVER turn AS next
                FROM score_change WINDOW turn AS (PARTITION BY contact_id, model_id ORDER BY id)
            ) h LEFT JOIN score s USING (contact_id, model_id)
            WHERE h.was IS DISTINCT FROM h.before OR h.was IS NOT DISTINCT FROM h.value
               OR (h.next IS NULL AND h.value IS DISTINCT FROM s.value)
            """
        )

    async def kept(self) -> list[Any]:  # Any: rows
        """Tallies and the scores of models that count, all that follows from the facts."""
        async with self.database.hot.acquire() as db:
            return await _kept(db)

    async def from_nothing(self) -> list[Any]:  # Any: rows
        """The same, forgotten and made again from the facts alone; nothing of that stays."""
        async with self.database.hot.acquire() as db:
            attempt = db.transaction()
            await attempt.start()
            try:
                plan = await self.plans.hold(db)
                await db.execute("DELETE FROM tally; DELETE FROM score")
                everybody = [row["contact_id"] for row in await db.fetch("SELECT contact_id FROM activity")]
                await identity.lock(db, everybody)
                await Fill(plan.counters).set(db, everybody)
                await plan.scorer.score(db, everybody, self.now, Cause.PUBLISH)
                return await _kept(db)
            finally:
                await attempt.rollback()

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
    DELETE FROM staged_tally; DELETE FROM merge; DELETE FROM merge_part; DELETE FROM merge_edit;
    DELETE FROM score; DELETE FROM score_change; DELETE FROM contact_past; DELETE FROM adjustment;
    DELETE FROM segment; DELETE FROM measure; DELETE FROM property; DELETE FROM preview_score; DELETE FROM rule;
    DELETE FROM model_version; DELETE FROM scoring_model; DELETE FROM counter;
    DELETE FROM job; DELETE FROM pgqueuer; UPDATE plan_epoch SET epoch = epoch + 1;
"""


Drafted = Iterable[reference.Rule] | reference.Sheet
"""A model's rules, or all that it says."""

_WORK = {**JOBS, measures.FILL: measures.run_fill}


async def _kept(db: Connection) -> list[Any]:  # Any: rows
    tallies = await db.fetch("SELECT * FROM tally ORDER BY contact_id, counter_id, day, key")
    scores = await db.fetch(
        """
        SELECT s.contact_id, s.model_id, s.value, s.computed, s.next_change_on
        FROM score s JOIN scoring_model m ON m.id = s.model_id
        WHERE m.archived_at IS NULL AND m.live_version IS NOT NULL ORDER BY s.contact_id, s.model_id
        """
    )
    return [tuple(row) for row in [*tallies, *scores]]


def points_of_rules(explanation: Explanation) -> dict[int, Decimal]:
    """What each rule of a model drafted here gave, by its place among the rules; those that gave nothing may lack."""
    return {
        int(one.rule.name.removeprefix("rule ")): one.points
        for one in explanation.contributions
        if one.rule is not None and one.rule.name.startswith("rule ")
    }


def judged(case: reference.Case, key: str, at: datetime) -> Worth:
    """What must be stored at an instant."""
    made = [one for one in case.adjustments if (one.kind, one.model) == ("override", key) and one.created_at <= at]
    stands = [
        (one.ends_on is None or one.ends_on > at.date()) and (one.revoked_at is None or one.revoked_at > at)
        for one in sorted(made, key=lambda one: one.created_at)[-1:]
    ]
    computed = reference.computed(case, key, at.date(), at) if any(stands) else None
    return Worth(reference.value(case, key, at.date(), at), computed)


async def draft(db: Connection, key: str, rules: Drafted, now: datetime) -> None:
    model: int = await db.fetchval(
        """
        INSERT INTO scoring_model (key, name, created_at, updated_at) VALUES ($1, $1, $2, $2)
        ON CONFLICT (key) DO UPDATE SET updated_at = $2 RETURNING id
        """,
        key,
        now,
    )
    await db.execute("DELETE FROM rule WHERE model_id = $1", model)
    if isinstance(rules, reference.Sheet):
        bands = [
            {"name": one["name"], "color": "#000000", "min": None if one["min"] is None else str(one["min"])}
            for one in rules.bands
        ]
        await db.execute("UPDATE scoring_model SET spec = $2, bands = $3 WHERE id = $1", model, rules.spec(), bands)
        rules = rules.rules
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
    kept = ("email", "email_quality", "name", "stage", "tags", "opted_out", "bounced", "bounce_status", "properties")
    return {**{name: person[name] for name in kept}, "created_at": person["created_at"].isoformat()}
