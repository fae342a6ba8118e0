"""What a scoring model says: its rules and bands as values, read from and written to a version's JSON."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

import orjson

from app.engine.conditions import Condition, Json, Test, Value, parse, tests
from app.engine.fields import MOVED_BY_EVENTS, Scope, Vocabulary

MAX_POINTS = Decimal(1_000_000_000)
MAX_DAYS = 36_500


class RuleKind(StrEnum):
    EVENT = "event"
    PROFILE = "profile"


SCOPES = {RuleKind.EVENT: Scope.EVENT, RuleKind.PROFILE: Scope.CONTACT}


@dataclass(frozen=True)
class Rule:
    """Condition and signed points.

    An event rule gives `points` for each matching event of the last `window_days` UTC days, today being the first of
    them (None: of all time); at most `max_per_day` events a day count, and the sum stays within ±`max_points`.
    A profile rule gives `points` while its condition holds.
    """

    id: UUID
    name: str
    kind: RuleKind
    condition: Json
    points: Decimal
    window_days: int | None = None
    max_per_day: int | None = None
    max_points: Decimal | None = None

    def tree(self) -> Condition:
        return parse(self.condition, Vocabulary.of(SCOPES[self.kind]))

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        return {
            "id": str(self.id),
            "name": self.name,
            "kind": str(self.kind),
            "condition": self.condition,
            "points": str(self.points),
            "window_days": self.window_days,
            "max_per_day": self.max_per_day,
            "max_points": None if self.max_points is None else str(self.max_points),
        }

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Rule":  # Any: a draft rule's columns
        """What a row of the table of draft rules says."""
        return cls(
            id=row["id"],
            name=row["name"],
            kind=RuleKind(row["kind"]),
            condition=row["condition"],
            points=Decimal(row["points"]),
            window_days=row["window_days"],
            max_per_day=row["max_per_day"],
            max_points=None if row["max_points"] is None else Decimal(row["max_points"]),
        )

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> "Rule":
        return cls(
            id=UUID(said["id"]),
            name=said["name"],
            kind=RuleKind(said["kind"]),
            condition=said["condition"],
            points=Decimal(said["points"]),
            window_days=said["window_days"],
            max_per_day=said["max_per_day"],
            max_points=None if said["max_points"] is None else Decimal(said["max_points"]),
        )


@dataclass(frozen=True)
class Band:
    """A named, coloured range of scores: from `min` (inclusive; None: from below everything) to the next band's."""

    name: str
    color: str
    min: Decimal | None


def read_bands(said: Sequence[dict[str, Any]]) -> list[Band]:
    """Bands from lowest to highest."""
    bands = [Band(one["name"], one["color"], None if one["min"] is None else Decimal(str(one["min"]))) for one in said]
    return sorted(bands, key=lambda band: Decimal("-Infinity") if band.min is None else band.min)


def band_of(value: Decimal, bands: Sequence[Band]) -> Band | None:
    """The band a score lies in; None below the lowest. `bands` from lowest to highest."""
    reached = [band for band in bands if band.min is None or value >= band.min]
    return reached[-1] if reached else None


def band_range(name: str, bands: Sequence[Band]) -> tuple[Decimal | None, Decimal | None] | None:
    """From (inclusive) and to (exclusive) of the band of that name, None where open; None if there is no such band."""
    for index, band in enumerate(bands):
        if band.name == name:
            return band.min, bands[index + 1].min if index + 1 < len(bands) else None
    return None


def digest(condition: Condition) -> bytes:
    """Equal for two conditions that ask the same, however they were written: what rules share counters by."""
    return hashlib.sha256(orjson.dumps(_canonical(condition))).digest()


def _canonical(condition: Condition) -> list[Any]:
    if isinstance(condition, Test):
        return [
            condition.field.name,
            condition.field.type,
            condition.operator,
            condition.negated,
            condition.type,
            [_literal(value) for value in condition.values],
            condition.other.name if condition.other else None,
        ]
    return [condition.combinator, condition.negated, [_canonical(part) for part in condition.parts]]


def _literal(value: Value) -> str:
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, Decimal):
        return str(value.as_integer_ratio())  # normalize() would round to 28 digits
    if isinstance(value, datetime):
        return value.isoformat()
    # Beyond ASCII, Postgres' lower() need not agree with Python's: a second counter is better than a wrong one.
    return value.lower() if value.isascii() else value


def named(condition: Condition) -> set[str]:
    """The names of all fields that a condition looks at."""
    return {field.name for test in tests(condition) for field in (test.field, test.other) if field is not None}


@dataclass(frozen=True)
class LiveRule:
    """A rule as it counts: its tree, and for an event rule the counter it shares. `number` is its place in the plan."""

    number: int
    rule: Rule
    tree: Condition
    counter_id: int | None


@dataclass(frozen=True)
class LiveModel:
    """One version of a model, ready to score."""

    id: int
    key: str
    version: int
    rules: tuple[LiveRule, ...]

    @property
    def is_moved_by_events(self) -> bool:
        """Whether an event that changes nothing of the contact itself can change this score."""
        return any(live.rule.kind is RuleKind.EVENT or MOVED_BY_EVENTS & named(live.tree) for live in self.rules)
