"""Changing a model's draft. What is wrong is refused whole, with a pointer to each fault; nothing counts before it is
published."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
import uuid_utils.compat as uuids

from app import clock
from app.engine import checks
from app.engine import plan as plans
from app.engine.conditions import Json
from app.engine.fields import Vocabulary
from app.engine.rules import Rule as Said
from app.engine.rules import RuleKind
from app.engine.sheets import Sheet
from app.errors import Conflict
from app.store import models
from app.store.db import Database
from app.store.tables import ModelVersion, Rule, ScoringModel

MAX_RULES = 500
_COLUMNS = {"name", "description", "bands"}
"""What a draft has a column for; all else that may be changed is in its spec."""


@dataclass(frozen=True)
class Drafted:
    """A model's draft beside what is live of it."""

    model: ScoringModel
    is_changed: bool
    """Whether publishing would change anything."""

    @property
    def sheet(self) -> Sheet:
        return Sheet.from_json(self.model.spec)


async def create_model(database: Database, key: str, fields: Mapping[str, Any]) -> Drafted:  # Any: JSON
    """A draft with these fields of a model; `name` is one of them. Raises InvalidInput, or Conflict for a taken key."""
    now = clock.now()
    model = ScoringModel(key=key, name=fields["name"], bands=[], created_at=now, updated_at=now)
    _set(model, fields)
    checks.check_sheet(key, Sheet.from_json(model.spec), model.bands, await _terms(database, key))
    async with database.session() as session:
        await models.add(session, model)
    return Drafted(model, is_changed=True)


async def change_model(database: Database, key: str, changes: Mapping[str, Any]) -> Drafted:  # Any: JSON
    """Set the named fields of the draft. Raises NotFound, or InvalidInput with a pointer to each fault."""
    contacts = await _terms(database, key)
    async with database.session() as session:
        model = await models.get(session, key)
        _set(model, changes)
        sheet = Sheet.from_json(model.spec)
        checks.check_sheet(key, sheet, model.bands, contacts)
        assert model.id is not None
        said = [Said.from_json(rule.said) for rule in await models.rules(session, model.id)]
        checks.check_groups_used(sheet, said)
        model.updated_at = clock.now()
        session.add(model)
    return await read_model(database, key)


def _set(model: ScoringModel, fields: Mapping[str, Any]) -> None:  # Any: JSON
    for name in _COLUMNS & fields.keys():
        setattr(model, name, fields[name])
    said = {name: value for name, value in fields.items() if name not in _COLUMNS}
    model.spec = Sheet.from_json({**model.spec, **said}).to_json()


async def read_model(database: Database, key: str) -> Drafted:
    async with database.session() as session:
        model = await models.get(session, key)
        live = await models.versions(session, [model])
        assert model.id is not None
        return Drafted(model, _differs(model, await models.rules(session, model.id), live.get(model.id)))


async def list_models(database: Database, *, archived: bool, limit: int, after: str | None) -> list[Drafted]:
    async with database.session() as session:
        found = await models.page(session, archived=archived, limit=limit, after=after)
        live = await models.versions(session, found)
        drafts = await models.rules_of(session, [model.id for model in found if model.id is not None])
        return [
            Drafted(model, _differs(model, drafts.get(model.id or 0, []), live.get(model.id or 0))) for model in found
        ]


def _differs(model: ScoringModel, drafted: Sequence[Rule], live: ModelVersion | None) -> bool:
    if live is None:
        return True
    said = [Said.from_json(rule.said) for rule in drafted]
    then = live.spec.get("drafted")
    if then is None:  # published before versions kept it; their rules are the draft's
        then = digest(live.name, live.bands, Sheet(), [Said.from_json(one) for one in live.rules])
    return then != digest(model.name, model.bands, Sheet.from_json(model.spec), said)


def digest(name: str, bands: Sequence[Json], sheet: Sheet, said: Sequence[Said]) -> str:
    """Equal for drafts that say the same."""
    whole = [name, list(bands), sheet.to_json(), [rule.to_json() for rule in said]]
    return hashlib.sha256(orjson.dumps(whole, option=orjson.OPT_SORT_KEYS)).hexdigest()


async def create_rule(database: Database, key: str, fields: Mapping[str, Any]) -> tuple[Rule, str]:  # Any: JSON
    """Add a rule to the draft. Raises NotFound, Conflict for too many, InvalidInput with a pointer to each fault."""
    now = clock.now()
    contacts = await _terms(database, key)
    async with database.session() as session:
        model = await models.get(session, key)
        assert model.id is not None
        if len(await models.rules(session, model.id)) >= MAX_RULES:
            raise Conflict(f"a model has at most {MAX_RULES} rules")
        made = uuids.uuid7()
        said = _checked({**fields, "id": made}, model, contacts)
        rule = Rule(id=made, model_id=model.id, said=said, created_at=now, updated_at=now)
        session.add(rule)
    return rule, key


async def change_rule(database: Database, rule_id: UUID, changes: Mapping[str, Any]) -> tuple[Rule, str]:  # Any: JSON
    async with database.session() as session:
        _, model = await models.rule(session, rule_id)
    contacts = await _terms(database, model.key)
    async with database.session() as session:
        rule, model = await models.rule(session, rule_id)
        if changes.get("kind") == RuleKind.ABSENCE != rule.said["kind"]:
            changes = {"max_times": 1, **changes}  # as of an absence rule that is made so
        rule.said = _checked({**rule.said, **changes, "id": rule.id}, model, contacts)
        rule.updated_at = clock.now()
        session.add(rule)
        return rule, model.key


def _checked(fields: Mapping[str, Any], model: ScoringModel, contacts: checks.Terms) -> dict[str, Any]:  # Any: JSON
    said = Said.from_json(fields)
    checks.check_rule(model.key, said, Sheet.from_json(model.spec), contacts)
    return said.to_json()


async def delete_rule(database: Database, rule_id: UUID) -> None:
    async with database.session() as session:
        rule, _ = await models.rule(session, rule_id)
        await session.delete(rule)


async def _terms(database: Database, key: str) -> checks.Terms:
    """What a draft of model `key` may name, and what the other drafts depend on."""
    async with database.hot.acquire() as db:
        contacts: Vocabulary = await plans.vocabulary(db)
        rows = await db.fetch(
            """
            SELECT m.key, m.spec, coalesce(jsonb_agg(r.said) FILTER (WHERE r.id IS NOT NULL), '[]') AS rules
            FROM scoring_model m LEFT JOIN rule r ON r.model_id = m.id
            WHERE m.key <> $1 GROUP BY m.id
            """,
            key,
        )
    return checks.Terms(contacts, {row["key"]: checks.needs(row["spec"], row["rules"], contacts) for row in rows})
