"""What a scoring model's rules and bands say, as values, read from and written to JSON."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal, localcontext
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from app.engine.conditions import Condition, Json, Test, Value, tests
from app.engine.fields import Scope

MAX_POINTS = Decimal(1_000_000_000)
MAX_DAYS = 36_500


class RuleKind(StrEnum):
    EVENT = "event"
    ABSENCE = "absence"
    PROFILE = "profile"


SCOPES = {RuleKind.EVENT: Scope.EVENT, RuleKind.ABSENCE: Scope.EVENT, RuleKind.PROFILE: Scope.CONTACT}
"""What each kind's condition sees."""
UNLIMITED = "unlimited"


class PerUnit(NamedTuple):
    """Points for each unit of a numeric field of the contact, whose value is held within the bounds that are given."""

    field: str
    min: Decimal | None = None
    max: Decimal | None = None


@dataclass(frozen=True)
class Rule:
    """Condition and signed points. docs/scoring.md says what each field means; what is None is not asked for."""

    id: UUID
    name: str
    kind: RuleKind
    condition: Json
    points: Decimal
    window_days: int | str | None = None
    """Event rules: days, UNLIMITED, or None for what the model says."""
    distinct_by: str | None = None
    max_per_day: int | None = None
    max_count: int | None = None
    at_least: int | None = None
    decay: dict[str, Any] | None = None  # Any: JSON; `factors` reads it
    max_points: Decimal | None = None
    audience: Json = None
    group: str | None = None
    after_days: int | None = None
    max_times: int | None = None
    per_unit_of: PerUnit | None = None

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        """What `from_json` reads. Points are text, so that no float comes between."""
        said = {name: getattr(self, name) for name in _PLAIN}
        per = self.per_unit_of
        return {
            **said,
            "id": str(self.id),
            "kind": str(self.kind),
            "points": str(self.points),
            "max_points": _text(self.max_points),
            "per_unit_of": per and {"field": per.field, "min": _text(per.min), "max": _text(per.max)},
        }

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> "Rule":  # Any: JSON
        per = said.get("per_unit_of")
        return cls(
            **{name: said.get(name) for name in _PLAIN if name != "name"},
            name=said["name"],
            id=UUID(str(said["id"])),
            kind=RuleKind(said["kind"]),
            points=Decimal(str(said["points"])),
            max_points=_number(said.get("max_points")),
            per_unit_of=per and PerUnit(per["field"], _number(per.get("min")), _number(per.get("max"))),
        )


_PLAIN = (
    "name", "condition", "window_days", "distinct_by", "max_per_day", "max_count", "at_least", "decay", "audience",
    "group", "after_days", "max_times",
)  # fmt: skip
"""The fields that are in JSON what they are here."""


def _text(number: Decimal | None) -> str | None:
    return None if number is None else str(number)


def _number(said: Any) -> Decimal | None:  # Any: text or a number
    return None if said is None else Decimal(str(said))


MAX_STEPS = 400
_NOTHING_BELOW = Decimal("0.01")


def factors(decay: Mapping[str, Any]) -> list[tuple[int, Decimal]]:  # Any: JSON
    """(age in days from which, factor) in ascending order; younger events are worth 1. `decay` is a checked one."""
    if "steps" in decay:
        return [(step["after_days"], Decimal(str(step["percent"])) / 100) for step in decay["steps"]]
    half_life, every = decay["half_life_days"], decay["every_days"]
    found: list[tuple[int, Decimal]] = []
    with localcontext(prec=50):
        while not found or found[-1][1]:
            age = (len(found) + 1) * every
            exact = Decimal(2) ** (-Decimal(age) / Decimal(half_life))
            factor = exact.quantize(Decimal("0.0001"), ROUND_HALF_UP)
            found.append((age, factor if factor >= _NOTHING_BELOW else Decimal(0)))
    return found


@dataclass(frozen=True)
class Band:
    """A named, coloured range of scores: from `min` (inclusive; None: from below everything) to the next band's."""

    name: str
    color: str
    min: Decimal | None

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        return {"name": self.name, "color": self.color, "min": None if self.min is None else str(self.min)}


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


def digest(condition: Condition, keyed_by: str | None = None, keyed_as: str | None = None) -> bytes:
    """Equal for two counters that ask the same, however they were written: what rules share them by."""
    asked = [_canonical(condition)] if keyed_by is None else [_canonical(condition), keyed_by, keyed_as]
    return hashlib.sha256(orjson.dumps(asked[0] if len(asked) == 1 else asked)).digest()


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
