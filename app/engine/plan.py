"""What counts right now: counters and live models, compiled, and the lock that keeps every process on the same one.

Whoever ingests or scores holds the plan's lock shared until commit; whoever changes what counts holds it alone, and
counts the epoch up. So no batch is ever tallied by a plan that a committed change has made old.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

from app.engine.conditions import tests
from app.engine.explain import Explainer
from app.engine.fields import HUMAN, Aggregate, FieldType, MeasureTerm, ModelTerm, Scope, Vocabulary
from app.engine.rules import Band, read_bands
from app.engine.scoring import Scorer
from app.engine.sheets import LiveModel, live_model
from app.engine.tally import Counter, Intake
from app.store.db import Connection
from app.store.vault import Vault

_PLAN_LOCK = 7_300_002  # any number that nobody else uses; hold_plan() takes the same


@dataclass(frozen=True)
class Plan:
    epoch: int
    counters: dict[int, Counter]
    """Every counter that ingest adds to, those still being filled among them."""
    models: tuple[LiveModel, ...]
    """The live version of every model that is not archived."""
    contacts: Vocabulary
    """What conditions on a contact may name."""
    filling: frozenset[int] = frozenset()
    """The counters whose history is not all tallied yet, or was not when the plan was loaded."""

    @cached_property
    def intake(self) -> Intake:
        return Intake(self.counters)

    @cached_property
    def scorer(self) -> Scorer:
        """Of all live models: for whoever changed, or is new."""
        return Scorer(self.models, self.contacts)

    @cached_property
    def event_scorer(self) -> Scorer:
        """Of the models that an event alone can move: for whoever has new events and is else as before."""
        moved = {model.key for model in self.models if model.is_moved_by_events}
        return Scorer(self.dependent_on(moved), self.contacts)

    @cached_property
    def explainer(self) -> Explainer:
        """Of all live models, by what is stored."""
        return Explainer(self.models, self.contacts)

    @cached_property
    def replays(self) -> dict[str, list[Explainer]]:
        """What `replay` has compiled, by the model's key."""
        return {}

    @cached_property
    def asks_for_humans(self) -> bool:
        """Whether anything that ingest counts depends on an event's mark."""
        return any(
            (counter.keyed_by is not None and counter.keyed_by.name == HUMAN)
            or any(HUMAN in (test.field.name, test.other and test.other.name) for test in tests(counter.condition))
            for counter in self.counters.values()
        )

    def dependent_on(self, keys: set[str]) -> list[LiveModel]:
        """The live models of these keys, and all that depend on them by whatever way."""
        reached = set(keys)
        while more := {model.key for model in self.models if model.depends_on & reached} - reached:
            reached |= more
        return [model for model in self.models if model.key in reached]


class Plans:
    """One process' copy of the plan, loaded again when its epoch has passed."""

    def __init__(self, vault: Vault | None = None) -> None:
        """`vault` opens the secret by which somebody who was erased is known again; without it nobody is."""
        self.vault = vault
        self._plan: Plan | None = None

    async def hold(self, db: Connection) -> Plan:
        """The current plan, which stays current until the transaction ends. Before any contact is locked."""
        epoch = await share(db)
        if self._plan is None or self._plan.epoch != epoch:
            self._plan = await load(db, epoch)
        return self._plan


async def share(db: Connection) -> int:
    """Keep what counts from changing until the transaction ends; returns its epoch."""
    epoch: int = await db.fetchval("SELECT hold_plan()")
    return epoch


async def change(db: Connection) -> None:
    """Wait until nobody holds the plan, and make everybody load it anew once this transaction has committed."""
    await db.execute(f"SELECT pg_advisory_xact_lock({_PLAN_LOCK})")
    await db.execute("UPDATE plan_epoch SET epoch = epoch + 1")


async def alone(db: Connection) -> None:
    """Wait until nobody holds the plan, and let nobody, until the transaction ends. It stays as it is."""
    await db.execute(f"SELECT pg_advisory_xact_lock({_PLAN_LOCK})")


async def load(db: Connection, epoch: int = 0) -> Plan:
    """The plan as the transaction sees it; only while it holds the plan's lock does it stay so."""
    counters = await db.fetch("SELECT * FROM counter WHERE retired_by IS NULL ORDER BY id")
    versions = await db.fetch(
        """
        SELECT m.id, m.key, v.version, v.spec, v.rules, v.bands
        FROM scoring_model m JOIN model_version v ON v.model_id = m.id AND v.version = m.live_version
        WHERE m.archived_at IS NULL
        ORDER BY m.id
        """
    )
    contacts = await vocabulary(db)
    models: list[LiveModel] = []
    for row in versions:
        first = sum(len(model.rules) for model in models)
        models.append(live_model(row["id"], row["key"], row["version"], dict(row), contacts, first))
    filling = frozenset(row["id"] for row in counters if not row["filled"])
    return Plan(epoch, {row["id"]: Counter.of(dict(row)) for row in counters}, tuple(models), contacts, filling)


async def vocabulary(db: Connection) -> Vocabulary:
    """What conditions on a contact may name: every model (with the bands that count), measure, segment, property.

    A model that has never been published has no scores, and its draft's bands.
    """
    models = await db.fetch(
        """
        SELECT m.id, m.key, coalesce(v.bands, m.bands) AS bands
        FROM scoring_model m LEFT JOIN model_version v ON v.model_id = m.id AND v.version = m.live_version
        """
    )
    measures = await db.fetch("SELECT key, counter_id, aggregate, window_days FROM measure")
    segments = await db.fetch("SELECT key, condition FROM segment")
    properties = await db.fetch("SELECT name, type FROM property")
    return Vocabulary(
        Scope.CONTACT,
        declared={f"contact.properties.{row['name']}": FieldType(row["type"]) for row in properties},
        models={row["key"]: ModelTerm(row["id"], terms(read_bands(row["bands"]))) for row in models},
        measures={
            row["key"]: MeasureTerm(row["counter_id"], Aggregate(row["aggregate"]), row["window_days"])
            for row in measures
        },
        segments={row["key"]: row["condition"] for row in segments},
    )


def terms(bands: Sequence[Band]) -> tuple[tuple[str, Decimal | None], ...]:
    """Bands as conditions know them."""
    return tuple((band.name, band.min) for band in bands)
