"""What counts right now: counters and live models, compiled, and the lock that keeps every process on the same one.

Whoever ingests or scores holds the plan's lock shared until commit; whoever changes what counts holds it alone, and
counts the epoch up. So no batch is ever tallied by a plan that a committed change has made old.
"""

from dataclasses import dataclass
from functools import cached_property

from app.engine.conditions import Condition, parse
from app.engine.fields import Scope, Vocabulary
from app.engine.rules import LiveModel, LiveRule, Rule, RuleKind
from app.engine.scoring import Scorer
from app.engine.tally import Intake
from app.store.db import Connection

_PLAN_LOCK = 7_300_002  # any number that nobody else uses; hold_plan() takes the same


@dataclass(frozen=True)
class Plan:
    epoch: int
    counters: dict[int, Condition]
    """Every counter that ingest adds to, those still being filled among them."""
    models: tuple[LiveModel, ...]
    """The live version of every model that is not archived."""

    @cached_property
    def intake(self) -> Intake:
        return Intake(self.counters)

    @cached_property
    def scorer(self) -> Scorer:
        """Of all live models: for whoever changed, or is new."""
        return Scorer(self.models)

    @cached_property
    def event_scorer(self) -> Scorer:
        """Of the models that an event alone can move: for whoever has new events and is else as before."""
        return Scorer([model for model in self.models if model.is_moved_by_events])


class Plans:
    """One process' copy of the plan, loaded again when its epoch has passed."""

    def __init__(self) -> None:
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


async def load(db: Connection, epoch: int) -> Plan:
    counters = await db.fetch("SELECT id, condition FROM counter WHERE retired_by IS NULL ORDER BY id")
    versions = await db.fetch(
        """
        SELECT m.id, m.key, v.version, v.rules
        FROM scoring_model m JOIN model_version v ON v.model_id = m.id AND v.version = m.live_version
        WHERE m.archived_at IS NULL
        ORDER BY m.id
        """
    )
    models: list[LiveModel] = []
    for row in versions:
        first = sum(len(model.rules) for model in models)
        models.append(live_model(row["id"], row["key"], row["version"], row["rules"], first))
    events = Vocabulary.of(Scope.EVENT)
    return Plan(epoch, {row["id"]: parse(row["condition"], events) for row in counters}, tuple(models))


def live_model(model_id: int, key: str, version: int, rules: list[dict[str, object]], first: int = 0) -> LiveModel:
    """A published version, parsed. `rules` are as `ModelVersion` keeps them; they are numbered from `first`."""
    live = []
    for number, said in enumerate(rules, first):
        rule = Rule.from_json(said)
        counter = said["counter_id"] if rule.kind is RuleKind.EVENT else None
        live.append(LiveRule(number, rule, rule.tree(), counter if isinstance(counter, int) else None))
    return LiveModel(model_id, key, version, tuple(live))
