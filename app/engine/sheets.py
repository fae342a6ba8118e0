"""A score sheet: what a scoring model says beside its rules, and a version of it, ready to score.

A combined model is nothing but rules: a weighted sum gives points for each unit of another model's score, a grid gives
points for the band of a row and the band of a column. So everything that counts is a rule, and is explained as one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from string import ascii_uppercase
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from app.engine.conditions import Condition, Json, parse
from app.engine.fields import BAND, MEASURE, MOVED_BY_EVENTS, SCORE, Field, Scope, Vocabulary
from app.engine.rules import SCOPES, UNLIMITED, Band, PerUnit, Rule, RuleKind, named, read_bands

MAX_CELLS = len(ascii_uppercase)


@dataclass(frozen=True)
class Sheet:
    """What a model says of all its rules together. docs/scoring.md says what each field means."""

    objective: str | None = None
    owner: str | None = None
    audience: Json = None
    min: Decimal | None = None
    max: Decimal | None = None
    window_days: int | None = None
    groups: Mapping[str, Decimal] = field(default_factory=dict)
    """Name → the points, either way, that its rules together stay within."""
    combine: dict[str, Any] | None = None  # Any: JSON

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        return {
            "objective": self.objective,
            "owner": self.owner,
            "audience": self.audience,
            "min": None if self.min is None else str(self.min),
            "max": None if self.max is None else str(self.max),
            "window_days": self.window_days,
            "groups": [{"name": name, "max_points": str(most)} for name, most in self.groups.items()],
            "combine": self.combine,
        }

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> "Sheet":  # Any: JSON
        least, most = said.get("min"), said.get("max")
        return cls(
            objective=said.get("objective"),
            owner=said.get("owner"),
            audience=said.get("audience"),
            min=None if least is None else Decimal(str(least)),
            max=None if most is None else Decimal(str(most)),
            window_days=said.get("window_days"),
            groups={one["name"]: Decimal(str(one["max_points"])) for one in said.get("groups") or ()},
            combine=said.get("combine"),
        )

    @property
    def parts(self) -> list[str]:
        """The models that this one combines."""
        combine = self.combine or {}
        if "grid" in combine:
            return [combine["grid"]["rows"], combine["grid"]["columns"]]
        return [part["model"] for part in combine.get("sum", ())]


def combined(key: str, sheet: Sheet, bands: Mapping[str, Sequence[Band]]) -> tuple[Sheet, list[Rule], list[Band]]:
    """The sheet, rules and bands that a combined model comes to; `bands` are those of its parts, as they count."""
    combine = sheet.combine or {}
    if "grid" in combine:
        return _grid(key, sheet, bands)
    rules = [
        Rule(
            id=uuid5(NAMESPACE_OID, f"leadtally:{key}:{part['model']}"),
            name=f"{part['model']} × {part['weight']}",
            kind=RuleKind.PROFILE,
            condition=None,
            points=Decimal(str(part["weight"])),
            per_unit_of=PerUnit(f"{SCORE}{part['model']}"),
        )
        for part in combine.get("sum", ())
    ]
    return sheet, rules, []


def _grid(key: str, sheet: Sheet, bands: Mapping[str, Sequence[Band]]) -> tuple[Sheet, list[Rule], list[Band]]:
    """A cell's place from the bottom: the row's rank times the number of columns, and the column's, from 1."""
    row_key, column_key = sheet.parts
    rows, columns = bands[row_key], bands[column_key]
    letters = ascii_uppercase[: len(rows)][::-1]
    rules = [
        _in_band(key, row_key, band, f"row {letters[rank]}: {row_key} is {band.name}", rank * len(columns))
        for rank, band in enumerate(rows)
    ]
    rules += [
        _in_band(key, column_key, band, f"column {len(columns) - rank}: {column_key} is {band.name}", rank + 1)
        for rank, band in enumerate(columns)
    ]
    has_both: list[Json] = [{"field": f"{BAND}{part}", "operator": "notNull"} for part in (row_key, column_key)]
    said = [sheet.audience] if sheet.audience is not None else []
    cells = [
        Band(f"{letters[row]}{len(columns) - column}", band.color, Decimal(row * len(columns) + column + 1))
        for row, band in enumerate(rows)
        for column in range(len(columns))
    ]
    audience: Json = {"combinator": "and", "rules": [*has_both, *said]}
    within = Sheet(objective=sheet.objective, owner=sheet.owner, audience=audience, combine=sheet.combine)
    return within, rules, cells


def _in_band(key: str, part: str, band: Band, name: str, points: int) -> Rule:
    return Rule(
        id=uuid5(NAMESPACE_OID, f"leadtally:{key}:{name}"),
        name=name,
        kind=RuleKind.PROFILE,
        condition={"field": f"{BAND}{part}", "operator": "=", "value": band.name},
        points=Decimal(points),
    )


@dataclass(frozen=True)
class LiveRule:
    """A rule as it counts: its conditions read, its window known. `number` is its place among all rules that count."""

    number: int
    rule: Rule
    tree: Condition | None
    """None holds always."""
    audience: Condition | None
    counter_id: int | None
    """What an event or absence rule counts by."""
    window_days: int | None
    per_unit_of: Field | None


@dataclass(frozen=True)
class LiveModel:
    """One version of a model, ready to score."""

    id: int
    key: str
    version: int
    sheet: Sheet
    audience: Condition | None
    rules: tuple[LiveRule, ...]
    bands: tuple[Band, ...] = ()

    @property
    def conditions(self) -> list[Condition]:
        """Everything that is asked of the contact."""
        asked = [live.tree for live in self.rules if live.rule.kind is RuleKind.PROFILE]
        asked += [live.audience for live in self.rules]
        return [tree for tree in (self.audience, *asked) if tree is not None]

    @property
    def names(self) -> frozenset[str]:
        """The fields of the contact that it looks at."""
        units = {live.per_unit_of.name for live in self.rules if live.per_unit_of is not None}
        return frozenset(units.union(*(named(tree) for tree in self.conditions)))

    @property
    def is_moved_by_events(self) -> bool:
        """Whether an event that changes nothing of the contact itself can change this score."""
        if any(live.counter_id is not None for live in self.rules):
            return True
        return any(name in MOVED_BY_EVENTS or name.startswith(MEASURE) for name in self.names)

    @property
    def depends_on(self) -> frozenset[str]:
        """The keys of the models whose scores it looks at."""
        return depends_on(self.names)


def depends_on(names: frozenset[str] | set[str]) -> frozenset[str]:
    """The keys of the models whose scores or bands these fields are."""
    return frozenset(name.removeprefix(prefix) for name in names for prefix in (SCORE, BAND) if name.startswith(prefix))


def live_model(
    model_id: int,
    key: str,
    version: int,
    said: Mapping[str, Any],  # Any: JSON
    contacts: Vocabulary,
    first: int = 0,
) -> LiveModel:
    """A published version, parsed: `said` has its spec, rules and bands. The rules are numbered from `first`."""
    sheet = Sheet.from_json(said["spec"])
    rules = tuple(live_rule(one, number, sheet, contacts) for number, one in enumerate(said["rules"], first))
    audience = None if sheet.audience is None else parse(sheet.audience, contacts)
    return LiveModel(model_id, key, version, sheet, audience, rules, tuple(read_bands(said["bands"])))


def live_rule(said: Mapping[str, Any], number: int, sheet: Sheet, contacts: Vocabulary) -> LiveRule:  # Any: JSON
    rule = Rule.from_json(said)
    scope = contacts if SCOPES[rule.kind] is Scope.CONTACT else Vocabulary.of(Scope.EVENT)
    counter = said.get("counter_id")
    own = rule.window_days
    window = None if own == UNLIMITED else own if isinstance(own, int) else sheet.window_days
    per = rule.per_unit_of
    return LiveRule(
        number=number,
        rule=rule,
        tree=None if rule.condition is None else parse(rule.condition, scope),
        audience=None if rule.audience is None else parse(rule.audience, contacts),
        counter_id=counter if isinstance(counter, int) else None,
        window_days=window,
        per_unit_of=None if per is None else contacts.find(per.field),
    )
