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

_TOGETHER = 50
"""Contacts whose past one statement looks at: it holds the past of all of them against each, so that four times as many
take sixteen times as long."""


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
    return (await now_each(db, plan, [contact], key, at))[contact]


async def now_each(
    db: Connection, plan: Plan, contacts: Sequence[UUID], key: str, at: datetime
) -> dict[UUID, Explanation]:
    """The same of each of several contacts; those that are not there are left out."""
    found = await _evaluate(db, _stored(plan, key), contacts, at.date(), at)
    return {contact: of[key] for contact, of in found.items()}


async def forecast(
    db: Connection, plan: Plan, contact: UUID, key: str, at: datetime, most: int
) -> tuple[Explanation, list[Change]]:
    """A score now, and the next `most` dates at most on which it changes by itself, with nothing coming in."""
    return (await forecast_each(db, plan, [contact], key, at, most))[contact]


async def forecast_each(
    db: Connection, plan: Plan, contacts: Sequence[UUID], key: str, at: datetime, most: int
) -> dict[UUID, tuple[Explanation, list[Change]]]:
    """The same of each of several contacts, by the next days on which any of them may change; so of many contacts it
    sees less far. Those that are not there are left out."""
    stored = _stored(plan, key)
    found = await _evaluate(db, stored, contacts, at.date(), at)
    made = {contact: (of[key], list[Change]()) for contact, of in found.items()}
    last = {contact: of[key].value for contact, of in found.items()}
    due = {contact: _due(of) for contact, of in found.items()}
    for _ in range(_MAX_STEPS):
        ahead = {contact: day for contact, day in due.items() if day is not None and len(made[contact][1]) < most}
        if not ahead:
            break
        on = min(ahead.values())
        turning = [contact for contact, day in ahead.items() if day == on]
        for contact, of in (await _evaluate(db, stored, turning, on, at)).items():
            due[contact] = _due(of)
            if of[key].value != last[contact]:
                last[contact] = of[key].value
                made[contact][1].append(Change(on, last[contact]))
    return made


def _due(found: dict[str, Explanation]) -> date | None:
    """The first day on which any of these scores of one contact may change."""
    return min((one.next_change_on for one in found.values() if one.next_change_on is not None), default=None)


async def as_of(
    db: Connection, plan: Plan, contact: UUID, key: str, at: datetime, *, rules_of_then: bool
) -> Explanation:
    """A contact's score at a past instant, by the versions that counted then, or by those that count now.

    Raises NotFound if the contact was not there then, or the model did not count; Conflict if a version of then names
    what is gone.
    """
    found = await as_of_each(db, plan, [contact], key, at, rules_of_then=rules_of_then)
    if contact not in found:
        raise NotFound("there was no such contact at that moment")
    return found[contact]


async def as_of_each(
    db: Connection, plan: Plan, contacts: Sequence[UUID], key: str, at: datetime, *, rules_of_then: bool
) -> dict[UUID, Explanation]:
    """The same of each of several contacts; those that were not there then are left out."""
    there = await db.fetch("SELECT id FROM contact WHERE id = ANY($1) AND created_at <= $2", list(contacts), at)
    if not there:
        return {}
    terms, models = plan.contacts, list(plan.models)
    if rules_of_then:
        terms, models = await _models_then(db, terms, key, at)
    replayed = own_counters(needed(models, key), plan)
    levels = _levels(replayed.models, terms, sources.as_of(replayed.counters))
    found: dict[UUID, Explanation] = {}
    for first in range(0, len(there), _TOGETHER):
        some = [row["id"] for row in there[first : first + _TOGETHER]]
        explained = await _evaluate(db, levels, some, at.date(), at)
        found |= {contact: of[key] for contact, of in explained.items()}
    return found


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
    db: Connection, levels: Sequence[Explainer], contacts: Sequence[UUID], day: date, at: datetime
) -> dict[UUID, dict[str, Explanation]]:
    """Each model's explanation of each contact, by its key."""
    found: dict[UUID, dict[str, Explanation]] = {}
    for level in levels:
        below = [one for of in found.values() for one in of.values()]
        explained = await level.explain(
            db,
            contacts,
            day,
            at,
            owners=[one.contact_id for one in below],
            models=[one.model.id for one in below],
            values=[one.value for one in below],
        )
        for one in explained:
            found.setdefault(one.contact_id, {})[one.model.key] = one
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
        owners=[_SOMEBODY] * len(known),
        models=list(known),
        values=list(known.values()),
        said_contact=orjson.dumps(made_up.contact).decode(),
        said_events=orjson.dumps(made_up.events).decode(),
    )
    return found


_SOMEBODY = UUID(int=0)
