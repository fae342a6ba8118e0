"""Scores of other moments and other facts, by the one formula: of the past, of days to come, made up by a caller.

Nothing here is stored. Models are computed level by level, so that one which looks at the scores of others sees those
of the same moment.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from app.engine import plan as plans
from app.engine import sources
from app.engine.explain import Explainer, Explanation
from app.engine.fields import MEASURE, ModelTerm, Vocabulary
from app.engine.plan import Plan
from app.engine.rules import RuleKind, read_bands
from app.engine.scoring import in_levels
from app.engine.sheets import LiveModel, live_model
from app.engine.sources import Source
from app.engine.tally import Counter
from app.errors import Conflict, InvalidInput, NotFound
from app.store.db import Connection

_MAX_STEPS = 60
"""Days that a forecast looks at; on most of them something changes."""


class Change(NamedTuple):
    """A score changes by itself: on this UTC day, to this value."""

    on: date
    value: Decimal | None


class Replayed(NamedTuple):
    """Models that count by counters of their own, and these counters."""

    models: list[LiveModel]
    counters: dict[int, Counter]


async def now(db: Connection, plan: Plan, contact: UUID, key: str, at: datetime) -> Explanation:
    """What a live model gives a contact, by what is stored. Raises NotFound."""
    return (await _evaluate(db, _stored(plan, key), contact, at.date(), at))[key]


async def forecast(
    db: Connection, plan: Plan, contact: UUID, key: str, at: datetime, most: int
) -> tuple[Explanation, list[Change]]:
    """A score now, and the next `most` dates at most on which it changes by itself, with nothing coming in."""
    stored = _stored(plan, key)
    found = await _evaluate(db, stored, contact, at.date(), at)
    first, last, changes = found[key], found[key].value, list[Change]()
    for _ in range(_MAX_STEPS):
        due = [one.next_change_on for one in found.values() if one.next_change_on is not None]
        if not due or len(changes) == most:
            break
        on = min(due)
        found = await _evaluate(db, stored, contact, on, at)
        if found[key].value != last:
            last = found[key].value
            changes.append(Change(on, last))
    return first, changes


async def as_of(
    db: Connection, plan: Plan, contact: UUID, key: str, at: datetime, *, rules_of_then: bool
) -> Explanation:
    """A contact's score at a past instant, by the versions that counted then, or by those that count now.

    Raises NotFound if the contact was not there then, or the model did not count; Conflict if a version of then names
    what is gone.
    """
    made = await db.fetchval("SELECT created_at FROM contact WHERE id = $1", contact)
    if made is None or made > at:
        raise NotFound("there was no such contact at that moment")
    contacts, models = plan.contacts, list(plan.models)
    if rules_of_then:
        contacts, models = await _models_then(db, contacts, key, at)
    replayed = own_counters(needed(models, key), plan)
    levels = _levels(replayed.models, contacts, sources.as_of(replayed.counters))
    return (await _evaluate(db, levels, contact, at.date(), at))[key]


async def _models_then(
    db: Connection, contacts: Vocabulary, key: str, at: datetime
) -> tuple[Vocabulary, list[LiveModel]]:
    """The versions of a model, and of all that it depends on, that counted at an instant; the vocabulary with their
    bands. No others are read: what they name may be gone, which is nothing to this one."""
    rows = await db.fetch(
        """
        SELECT m.id, m.key, v.version, v.spec, v.rules, v.bands FROM scoring_model m CROSS JOIN LATERAL (
            SELECT * FROM model_version WHERE model_id = m.id AND live_from <= $1 ORDER BY version DESC LIMIT 1
        ) v
        WHERE m.archived_at IS NULL OR m.archived_at > $1
        """,
        at,
    )
    terms = {row["key"]: ModelTerm(row["id"], plans.terms(read_bands(row["bands"]))) for row in rows}
    contacts = replace(contacts, models={**contacts.models, **terms})
    by_key, models, ahead = {row["key"]: row for row in rows}, list[LiveModel](), [key]
    while ahead:
        row = by_key.pop(ahead.pop(), None)
        if row is None:
            continue
        first = sum(len(model.rules) for model in models)
        try:
            models.append(live_model(row["id"], row["key"], row["version"], dict(row), contacts, first))
        except InvalidInput as fault:
            said = f"version {row['version']} of {row['key']!r} cannot be read any more, for what it names has changed"
            raise Conflict(f"{said}: {fault}") from None
        ahead += sorted(models[-1].depends_on)
    return contacts, models


def own_counters(models: Iterable[LiveModel], plan: Plan) -> Replayed:
    """These models with counters that nobody else has, below nought; and those of the measures they name."""
    models = list(models)
    names = {name.removeprefix(MEASURE) for model in models for name in model.names if name.startswith(MEASURE)}
    measures = [plan.contacts.measures[name].counter_id for name in sorted(names)]
    counters = {counter: plan.counters[counter] for counter in measures}
    made: list[LiveModel] = []
    for model in models:
        rules = []
        for live in model.rules:
            if live.rule.kind is RuleKind.PROFILE or live.tree is None:
                rules.append(live)
                continue
            number = -1 - sum(1 for one in counters if one < 0)
            counters[number] = Counter.asked(live.tree, live.rule.distinct_by)
            rules.append(replace(live, counter_id=number))
        made.append(replace(model, rules=tuple(rules)))
    return Replayed(made, counters)


def _stored(plan: Plan, key: str) -> list[Explainer]:
    """By what is stored; compiled once for each model of a plan."""
    if key not in plan.replays:
        plan.replays[key] = _levels(needed(plan.models, key), plan.contacts, sources.STORED)
    return plan.replays[key]


def _levels(models: Sequence[LiveModel], contacts: Vocabulary, source: Source) -> list[Explainer]:
    """One after another: each level looks at the scores of those before."""
    source = replace(source, score=sources.given_scores())
    return [Explainer(level, contacts, source) for level in in_levels(models)]


def needed(models: Sequence[LiveModel], key: str) -> list[LiveModel]:
    """The model and all that it depends on. Raises NotFound."""
    by_key = {model.key: model for model in models}
    if key not in by_key:
        raise NotFound(f"no scoring model {key!r} counts at that moment; as_of may name one at which it did")
    reached, ahead = {key}, {key}
    while ahead:
        ahead = {below for one in ahead for below in by_key[one].depends_on if below in by_key} - reached
        reached |= ahead
    return [model for model in models if model.key in reached]


async def _evaluate(
    db: Connection, levels: Sequence[Explainer], contact: UUID, day: date, at: datetime
) -> dict[str, Explanation]:
    """Each model's explanation of one contact, by its key."""
    found: dict[str, Explanation] = {}
    for level in levels:
        known, values = [one.model.id for one in found.values()], [one.value for one in found.values()]
        explained = await level.explain(db, [contact], day, at, models=known, values=values)
        found |= {one.model.key: one for one in explained}
    return found


@dataclass(frozen=True)
class MadeUp:
    """A contact and events that a caller gives, and the scores that it has in other models."""

    contact: Mapping[str, Any]  # Any: JSON, as the API shows a contact
    events: Sequence[Mapping[str, Any]]  # Any: JSON, as posted
    scores: Mapping[str, Decimal]


async def attempt(db: Connection, plan: Plan, model: LiveModel, made_up: MadeUp, at: datetime) -> Explanation:
    """What a model, live or not, would give a contact and events that are in no table, at an instant."""
    replayed = own_counters([model], plan)
    source = sources.made_up(replayed.counters)
    terms = plan.contacts.models
    known = {terms[key].id: value for key, value in made_up.scores.items() if key in terms}
    explainer = Explainer(replayed.models, plan.contacts, replace(source, score=sources.given_scores()))
    [found] = await explainer.explain(
        db,
        [_SOMEBODY],
        at.date(),
        at,
        models=list(known),
        values=list(known.values()),
        said_contact=orjson.dumps(made_up.contact).decode(),
        said_events=orjson.dumps(made_up.events).decode(),
    )
    return found


_SOMEBODY = UUID(int=0)
