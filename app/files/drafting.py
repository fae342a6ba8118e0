"""Files against the drafts in the database: what they say wrong, what they would change, and changing it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property, partial
from typing import Any

import uuid_utils.compat as uuids

from app import clock
from app.engine import checks
from app.engine import plan as plans
from app.engine.checks import Terms
from app.engine.fields import ModelTerm, Vocabulary
from app.engine.rules import Rule, read_bands
from app.engine.sheets import Sheet
from app.errors import Conflict, Fault, InvalidInput, NotFound
from app.files.changes import Change, compare
from app.files.documents import Draft, distinct
from app.files.sources import Reading, Wrong
from app.store import models, tables
from app.store.db import Database
from app.store.tables import ScoringModel

_ALL = 100_000
"""More models than there can be: their ids are small integers."""
_SOME_BANDS = (("any", None),)


@dataclass(frozen=True)
class Base:
    """The models of a database, and what their conditions may name."""

    models: Mapping[str, ScoringModel]
    drafts: Mapping[str, Draft]
    contacts: Vocabulary

    @property
    def live(self) -> set[str]:
        """The models that count."""
        return {key for key, model in self.models.items() if model.live_version and model.archived_at is None}


async def load(database: Database) -> Base:
    async with database.hot.acquire() as db:
        contacts = await plans.vocabulary(db)
    async with database.session() as session:
        found = await models.page(session, archived=True, limit=_ALL, after=None)
        rules = await models.rules_of(session, [model.id for model in found if model.id is not None])
    drafts = {model.key: _drafted(model, rules.get(model.id or 0, [])) for model in found}
    return Base({model.key: model for model in found}, drafts, contacts)


def _drafted(model: ScoringModel, rules: Sequence[tables.Rule]) -> Draft:
    said = [Rule.from_json(rule.said) for rule in rules]
    return Draft(model.key, model.name, model.description, model.bands, Sheet.from_json(model.spec), said)


async def drafted(database: Database, keys: Sequence[str]) -> list[Draft]:
    """The drafts of these models; without any, of all that are not archived. Raises NotFound."""
    base = await load(database)
    if missing := [key for key in keys if key not in base.models]:
        raise NotFound(f"there is no scoring model {', '.join(map(repr, missing))}")
    wanted = keys or [key for key, model in base.models.items() if model.archived_at is None]
    return [base.drafts[key] for key in dict.fromkeys(wanted)]


@dataclass(frozen=True)
class Against:
    """What was read, against what is there."""

    reading: Reading
    base: Base
    to_publish: bool

    @cached_property
    def wanted(self) -> dict[str, Draft]:
        return {placed.draft.key: placed.draft for placed in self.reading.drafts}

    @cached_property
    def changes(self) -> list[Change]:
        """What the files would change, in their order."""
        return _changes(self.base.drafts, list(self.wanted.values()))

    @cached_property
    def needs(self) -> dict[str, frozenset[str]]:
        """The models that each draft would depend on."""
        said = {**self.base.drafts, **self.wanted}.values()
        return {one.key: checks.needs(one.sheet.to_json(), _said(one.rules), self._contacts) for one in said}

    @cached_property
    def _contacts(self) -> Vocabulary:
        """What conditions may name once the files are applied."""
        known = dict(self.base.contacts.models)
        for key in self.reading.keys - self.wanted.keys() - known.keys():
            known[key] = ModelTerm(0, _SOME_BANDS)  # it is said wrongly; that it is not there is not the fault
        for key, draft in self.wanted.items():
            if key not in known or "grid" not in (draft.sheet.combine or {}):
                known[key] = ModelTerm(0, plans.terms(read_bands(draft.bands)))
        return replace(self.base.contacts, models=known)

    @cached_property
    def faults(self) -> list[Wrong]:
        """Everything wrong in the files, and with publishing what they say where that is asked for; in their order."""
        found = list(self.reading.faults)
        for source, draft in self.reading.drafts:
            said = self._faults(draft)
            if self.to_publish:
                said += self._obstacles(draft.key)
            found += [Wrong(source, fault) for fault in said]
        return sorted(found, key=lambda wrong: self.reading.sources.index(wrong.source))

    def _faults(self, draft: Draft) -> list[Fault]:
        key, sheet = draft.key, draft.sheet
        terms = Terms(self._contacts, {other: needs for other, needs in self.needs.items() if other != key})
        found = _raised(partial(checks.check_sheet, key, sheet, draft.bands, terms))
        for index, rule in enumerate(draft.rules):
            found += _raised(partial(checks.check_rule, key, rule, sheet, terms), f"/rules/{index}")
        found += _raised(partial(checks.check_whole, key, sheet, draft.rules, self._contacts))
        return list(dict.fromkeys(found))

    def _obstacles(self, key: str) -> list[Fault]:
        found = []
        if key in self.base.models and self.base.models[key].archived_at is not None:
            found.append(Fault("/key", "the model is archived; make it active again before it is published"))
        missing = sorted(self.needs[key] - self.reading.keys - self.base.live)
        if missing:
            found.append(Fault("", f"it needs scores that nobody computes; publish {', '.join(missing)} too"))
        return found


def _raised(check: Callable[[], None], under: str = "") -> list[Fault]:
    try:
        check()
    except InvalidInput as fault:
        return [one.under(under) for one in fault.faults]
    return []


def _said(rules: Sequence[Rule]) -> list[dict[str, Any]]:  # Any: JSON
    return [rule.to_json() for rule in rules]


def _changes(drafts: Mapping[str, Draft], wanted: Sequence[Draft]) -> list[Change]:
    found = []
    for draft in wanted:
        was = drafts.get(draft.key)
        found.append(compare(was.document if was else None, draft.document))
    return [change for change in found if change is not None]


async def look(database: Database, reading: Reading, *, to_publish: bool) -> Against:
    return Against(reading, await load(database), to_publish)


async def apply(database: Database, against: Against) -> None:
    """Let the drafts say what the files say, all in one transaction; rules keep their ids by their names.

    Raises Conflict, and changes nothing, if that would change anything else by now than it did when it was looked at.
    """
    now = clock.now()
    wanted, shown = list(against.wanted.values()), against.changes
    async with database.session() as session:
        found = await models.page(session, archived=True, limit=_ALL, after=None)
        known = {one.key: one for one in found}
        held = [known[draft.key] for draft in wanted if draft.key in known]
        for one in sorted(held, key=lambda one: one.key):
            await session.refresh(one, with_for_update=True)
        rules = await models.rules_of(session, [one.id for one in held if one.id is not None])
        was = {one.key: _drafted(one, rules.get(one.id or 0, [])) for one in held}
        if _changes(was, wanted) != shown:
            raise Conflict("the drafts have changed meanwhile; nothing is applied, so look again")
        changed = {change.key: change for change in shown}
        # By their keys, as they were locked: two who make the same models at once would else wait in a circle.
        for draft in sorted((draft for draft in wanted if draft.key in changed), key=lambda one: one.key):
            model = known.get(draft.key)
            if model is None:
                model = ScoringModel(key=draft.key, name=draft.name, bands=[], created_at=now, updated_at=now)
            _set(model, draft, now)
            if model.id is None:
                await models.add(session, model)
            assert model.id is not None
            kept, gone = _rules(model.id, rules.get(model.id, []), draft, changed[draft.key], now)
            session.add_all(kept)
            for rule in gone:
                await session.delete(rule)


def _set(model: ScoringModel, draft: Draft, now: datetime) -> None:
    model.name, model.description, model.bands = draft.name, draft.description, draft.bands
    model.spec = draft.sheet.to_json()
    model.updated_at = now


def _rules(
    model_id: int, known: Sequence[tables.Rule], draft: Draft, change: Change, now: datetime
) -> tuple[list[tables.Rule], list[tables.Rule]]:
    """The rules to write and those to remove."""
    names = distinct([str(rule.said["name"]) for rule in known])
    by_name = dict(zip(names, known, strict=True))
    touched = {part.name for part in change.parts if part.noun == "rule"}
    wanted = {rule.name: rule for rule in draft.rules}
    written = []
    for name in (name for name in wanted if name in touched):
        rule = by_name.get(name)
        if rule is None:
            rule = tables.Rule(id=uuids.uuid7(), model_id=model_id, said={}, created_at=now, updated_at=now)
        rule.said = replace(wanted[name], id=rule.id).to_json()
        rule.updated_at = now
        written.append(rule)
    return written, [rule for name, rule in by_name.items() if name not in wanted]
