"""Changing a model's draft. What is wrong is refused whole, with a pointer to each fault; nothing counts before it is
published."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

import uuid_utils.compat as uuids

from app import clock
from app.engine.conditions import Json, parse
from app.engine.fields import Vocabulary
from app.engine.rules import MAX_DAYS, MAX_POINTS, SCOPES, RuleKind
from app.engine.rules import Rule as Said
from app.errors import Conflict, Fault, InvalidInput
from app.store import models
from app.store.db import Database
from app.store.tables import ModelVersion, Rule, ScoringModel

MAX_RULES = 500
_HIGHEST_BAND = 10**15


@dataclass(frozen=True)
class Drafted:
    """A model's draft beside what is live of it."""

    model: ScoringModel
    is_changed: bool
    """Whether publishing would change anything."""


def check_bands(bands: Sequence[dict[str, Any]]) -> None:  # Any: JSON
    """Bands must differ in name and in `min`, and only one may be open below. Raises InvalidInput."""
    faults = []
    for name in ("name", "min"):
        seen: set[object] = set()
        for index, band in enumerate(bands):
            value = band[name].lower() if isinstance(band[name], str) else band[name]
            if value in seen:
                detail = "two bands have this name" if name == "name" else "two bands begin here, so they overlap"
                faults.append(Fault(f"/bands/{index}/{name}", detail))
            seen.add(value)
    for index, band in enumerate(bands):
        if band["min"] is not None and abs(band["min"]) > _HIGHEST_BAND:
            faults.append(Fault(f"/bands/{index}/min", f"expected at most {_HIGHEST_BAND}"))
    if faults:
        raise InvalidInput(*faults)


def check_rule(rule: Said) -> None:
    """Raises InvalidInput with a pointer to each fault."""
    faults: list[Fault] = []
    try:
        parse(rule.condition, Vocabulary.of(SCOPES[rule.kind]), "/condition")
    except InvalidInput as fault:
        faults.extend(fault.faults)
    for name, points in (("points", rule.points), ("max_points", rule.max_points)):
        if points is not None and (abs(points) > MAX_POINTS or points != points.quantize(Decimal("0.01"))):
            faults.append(Fault(f"/{name}", f"expected at most {MAX_POINTS} with two decimals"))
    limits = {"window_days": rule.window_days, "max_per_day": rule.max_per_day, "max_points": rule.max_points}
    for name, limit in limits.items():
        if limit is None or any(fault.pointer == f"/{name}" for fault in faults):
            continue
        if rule.kind is RuleKind.PROFILE:
            faults.append(Fault(f"/{name}", "a profile rule has no window and no limit; its points count once"))
        elif limit <= 0 or (name == "window_days" and limit > MAX_DAYS) or limit > MAX_POINTS:
            faults.append(Fault(f"/{name}", "expected a positive number" + (f" up to {MAX_DAYS}" * (name[0] == "w"))))
    if faults:
        raise InvalidInput(*faults)


async def create_model(
    database: Database, key: str, name: str, description: str | None, bands: list[dict[str, Any]]
) -> Drafted:
    check_bands(bands)
    now = clock.now()
    model = ScoringModel(key=key, name=name, description=description, bands=bands, created_at=now, updated_at=now)
    async with database.session() as session:
        await models.add(session, model)
    return Drafted(model, is_changed=True)


async def change_model(database: Database, key: str, changes: dict[str, Any]) -> Drafted:
    """Set the named columns of the draft: name, description, bands."""
    if "bands" in changes:
        check_bands(changes["bands"])
    async with database.session() as session:
        model = await models.get(session, key)
        for name, value in changes.items():
            setattr(model, name, value)
        model.updated_at = clock.now()
        session.add(model)
    return await read_model(database, key)


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
    frozen = [{name: value for name, value in rule.items() if name != "counter_id"} for rule in live.rules]
    said = [Said.of(dict(rule)).to_json() for rule in drafted]
    return model.name != live.name or model.bands != live.bands or said != frozen


async def create_rule(database: Database, key: str, fields: dict[str, Any]) -> tuple[Rule, str]:
    now = clock.now()
    async with database.session() as session:
        model = await models.get(session, key)
        assert model.id is not None
        if len(await models.rules(session, model.id)) >= MAX_RULES:
            raise Conflict(f"a model has at most {MAX_RULES} rules")
        rule = Rule(id=uuids.uuid7(), model_id=model.id, created_at=now, updated_at=now, **fields)
        check_rule(Said.of(dict(rule)))
        session.add(rule)
    return rule, key


async def change_rule(database: Database, rule_id: UUID, changes: dict[str, Json]) -> tuple[Rule, str]:
    async with database.session() as session:
        rule, model = await models.rule(session, rule_id)
        for name, value in changes.items():
            setattr(rule, name, value)
        check_rule(Said.of(dict(rule)))
        rule.updated_at = clock.now()
        session.add(rule)
        return rule, model.key


async def delete_rule(database: Database, rule_id: UUID) -> None:
    async with database.session() as session:
        rule, _ = await models.rule(session, rule_id)
        await session.delete(rule)
