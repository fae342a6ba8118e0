"""What each rule gives each contact on a UTC day, and what it comes to: one SQL expression over a source.

docs/scoring.md is the definition. Each kind of rule is a branch with the same columns; all branches are summed. Parts
that no rule of the models asks for are left out of the statement.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    CTE,
    Integer,
    Numeric,
    SmallInteger,
    Text,
    any_,
    case,
    cast,
    func,
    literal,
    literal_column,
    or_,
    select,
    union_all,
)

from app.engine.compile import utc_day
from app.engine.counts import absence_rules, event_rules
from app.engine.facts import ONE, TRUE, ZERO, Facts, Owned, constants, in_force
from app.engine.fields import Vocabulary
from app.engine.rules import RuleKind
from app.engine.sheets import LiveModel
from app.engine.sources import Source


class Formula(NamedTuple):
    """`given`: a row for each rule that gives something, or may come to; `total`: one for each contact and model.

    given: contact_id, model_id, number (NULL: not a rule's), group_no, group_max, count, points, next_change_on,
    inside, override, and details (JSON) where asked for. total: contact_id, model_id, version, computed (what the
    rules come to; NULL outside the audience), override, next_change_on.
    """

    given: CTE
    total: Any  # Any: a select


def formula(models: Sequence[LiveModel], contacts: Vocabulary, source: Source, *, detailed: bool = False) -> Formula:
    """What `models` give by `source`. `contacts` explains the fields they name."""
    facts = Facts(models, contacts, source, detailed=detailed)
    branches = [_membership(facts), _adjustments(facts)]
    for kind, branch in _BRANCHES.items():
        rules = facts.of_kind(kind)
        if rules:
            branches.append(branch(facts, rules))
    given = union_all(*branches).cte("given")
    return Formula(given, _total(facts, given))


def _membership(facts: Facts) -> Any:
    """A row for each contact and model, so that whoever gets nothing has nought; and who is in the audience."""
    models = facts.models
    sheet = constants(
        "model",
        (
            ("model_id", SmallInteger, [model.id for model in models]),
            ("audience", Integer, [facts.number(model.audience) for model in models]),
        ),
    )
    base, said = facts.base, {}
    next_on = facts.reset_ends(sheet.c.model_id)
    if any(model.audience is not None for model in models):
        said["inside"] = func.coalesce(base.c.holds[sheet.c.audience], TRUE)
        next_on = func.least(next_on, base.c.flips[sheet.c.audience])
    return facts.given(base, sheet, points=ZERO, next_change_on=next_on, **said).select_from(base.join(sheet, TRUE))


def _adjustments(facts: Facts) -> Any:
    """Points by hand, and overrides."""
    base, adjustment = facts.base, facts.source.adjustment
    columns = [adjustment.c[name] for name in ("id", "model_id", "kind", "points", "created_at", "ends_on")]
    found = (
        facts.source.of(adjustment, base.c.contact_id, *columns)
        .where(
            adjustment.c.kind != literal_column("'reset'"),
            adjustment.c.model_id == any_(literal([model.id for model in facts.models], ARRAY(SmallInteger))),
            *in_force(adjustment),
        )
        .lateral("adjusted")
    )
    is_override = found.c.kind == literal_column("'override'")
    from_day = facts.reset_day(found.c.model_id)
    counts = or_(is_override, from_day.is_(None), utc_day(found.c.created_at) >= from_day)
    return facts.given(
        base,
        found,
        points=case((is_override, ZERO), else_=found.c.points),
        next_change_on=found.c.ends_on,
        override=case((is_override, found.c.points)),
        details=func.jsonb_build_object("adjustment", found.c.id),
    ).select_from(base.join(found, counts))


def _profile_rules(facts: Facts, rules: Sequence[Owned]) -> Any:
    """Points while the condition on the contact holds, or for each unit of a number then."""
    base, pers = facts.base, [live.rule.per_unit_of for _, live in rules]
    sheet = constants(
        "profile",
        (
            ("number", Integer, [live.number for _, live in rules]),
            ("model_id", SmallInteger, [model.id for model, _ in rules]),
            ("points", Numeric, [live.rule.points for _, live in rules]),
            ("asked", Integer, [facts.number(live.tree) for _, live in rules]),
            ("unit", Integer, [facts.unit(per) for per in pers]),
            ("least", Numeric, [per and per.min for per in pers]),
            ("most", Numeric, [per and per.max for per in pers]),
            ("max_points", Numeric, [live.rule.max_points for _, live in rules]),
            *facts.gates(rules),
        ),
    )
    holds = func.coalesce(base.c.holds[sheet.c.asked], TRUE)
    number = base.c.units[sheet.c.unit]
    # least() and greatest() pass NULL over: a missing number must not become a bound.
    units = case((number.is_not(None), func.greatest(func.least(number, sheet.c.most), sheet.c.least)))
    by_unit = func.round(sheet.c.points * func.coalesce(units, ZERO), 2)
    held = func.greatest(func.least(by_unit, sheet.c.max_points), -sheet.c.max_points)
    raw = case((sheet.c.unit.is_not(None), by_unit))
    next_on = func.least(base.c.flips[sheet.c.asked], base.c.unit_moves[sheet.c.unit])
    return facts.given(
        base,
        sheet,
        count=case((holds, ONE), else_=ZERO),
        points=case((~holds, ZERO), (sheet.c.unit.is_(None), sheet.c.points), else_=held),
        next_change_on=next_on,
        details=func.jsonb_strip_nulls(func.jsonb_build_object("units", cast(units, Text), "raw", cast(raw, Text))),
    ).select_from(base.join(sheet, or_(holds, next_on.is_not(None))))


_BRANCHES = {RuleKind.EVENT: event_rules, RuleKind.ABSENCE: absence_rules, RuleKind.PROFILE: _profile_rules}


def _total(facts: Facts, given: Any) -> Any:
    """Groups held within their limits, everything added up, the total within the model's bounds."""
    sheet = constants(
        "sheet",
        (
            ("model_id", SmallInteger, [model.id for model in facts.models]),
            ("version", Integer, [model.version for model in facts.models]),
            ("least", Numeric, [model.sheet.min for model in facts.models]),
            ("most", Numeric, [model.sheet.max for model in facts.models]),
        ),
    )
    if facts.has_groups:
        points = func.sum(given.c.points)
        held = func.greatest(func.least(points, given.c.group_max), -given.c.group_max)
        given = _summed(given, held, given.c.group_no, given.c.group_max).subquery("grouped")
    added = _summed(given, func.sum(given.c.points)).subquery("added")
    clamped = func.least(func.greatest(added.c.points, sheet.c.least), sheet.c.most)
    return select(
        added.c.contact_id,
        added.c.model_id,
        sheet.c.version,
        case((func.coalesce(added.c.inside, TRUE), clamped)).label("computed"),
        added.c.override,
        added.c.next_change_on,
    ).select_from(added.join(sheet, sheet.c.model_id == added.c.model_id))


def _summed(given: Any, points: Any, *also_by: Any) -> Any:
    by = [given.c.contact_id, given.c.model_id]
    return select(
        *by,
        points.label("points"),
        func.min(given.c.next_change_on).label("next_change_on"),
        func.bool_and(given.c.inside).label("inside"),
        func.max(given.c.override).label("override"),
    ).group_by(*by, *also_by)
