"""A score taken apart: what each rule and adjustment gives, what limits cut, and what it comes to, exactly."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Integer, Numeric, cast, literal_column, null, select, union_all
from sqlalchemy.dialects.postgresql import JSONB

from app.engine.fields import Vocabulary
from app.engine.formula import formula
from app.engine.rules import Rule
from app.engine.sheets import LiveModel
from app.engine.sources import STORED, Source
from app.store.db import Connection, Statement


@dataclass(frozen=True)
class Contribution:
    """What one rule, or one adjustment, gives a contact."""

    contact_id: UUID
    model: LiveModel
    rule: Rule | None
    adjustment_id: UUID | None
    count: int
    """Events that count; times of an absence; 1 for a profile rule that holds."""
    points: Decimal
    next_change_on: date | None
    details: dict[str, Any]  # Any: JSON
    """Of an event rule: days (newest first), raw points before its limit, in_audience. Of an absence rule:
    silent_since. Of a profile rule: units."""


class Cut(NamedTuple):
    """What a limit takes away, or a minimum adds."""

    by: str
    """`group <name>`, `min` or `max`."""
    points: Decimal


@dataclass(frozen=True)
class Explanation:
    """Of one score: contributions and cuts add up to `computed`; `value` is that, or the override that stands in."""

    contact_id: UUID
    model: LiveModel
    contributions: list[Contribution]
    cuts: list[Cut]
    computed: Decimal | None
    """None outside the model's audience."""
    override: Decimal | None
    override_id: UUID | None
    next_change_on: date | None

    @property
    def value(self) -> Decimal | None:
        return self.computed if self.override is None else self.override


class Explainer:
    """The compiled statement that explains some models by a source. Build once, use for any number of batches."""

    def __init__(self, models: Sequence[LiveModel], contacts: Vocabulary, source: Source = STORED) -> None:
        self._models = {model.id: model for model in models}
        self._rules = {live.number: live.rule for model in models for live in model.rules}
        self._statement = Statement(_rows(models, contacts, source)) if models else None

    async def explain(
        self,
        db: Connection,
        contacts: Sequence[UUID],
        as_of: date,
        at: datetime,
        **parameters: Any,  # Any: what the source leaves open
    ) -> list[Explanation]:
        """Of each contact and model, as of the UTC day `as_of` and with the adjustments made up to `at`."""
        if self._statement is None or not contacts:
            return []
        arguments = self._statement.arguments(contacts=list(contacts), as_of=as_of, at=at, **parameters)
        return list(self._read(await db.fetch(self._statement.sql, *arguments)))

    def _read(self, rows: Sequence[Any]) -> Iterator[Explanation]:  # Any: records
        given: dict[tuple[UUID, int], list[Any]] = defaultdict(list)
        for row in rows:
            if not row["is_total"]:
                given[row["contact_id"], row["model_id"]].append(row)
        for row in rows:
            if row["is_total"]:
                parts = given[row["contact_id"], row["model_id"]]
                yield self._explanation(row, parts)

    def _explanation(self, total: Any, parts: Sequence[Any]) -> Explanation:  # Any: records
        model = self._models[total["model_id"]]
        contributions, override_id = [], None
        for row in parts:
            details = row["details"] or {}
            adjustment = UUID(details["adjustment"]) if "adjustment" in details else None
            if row["override"] is not None:
                override_id = adjustment
                continue
            rule = None if row["number"] is None else self._rules[row["number"]]
            contributions.append(
                Contribution(
                    total["contact_id"],
                    model,
                    rule,
                    adjustment,
                    row["count"],
                    row["points"],
                    row["next_change_on"],
                    details,
                )
            )
        return Explanation(
            contact_id=total["contact_id"],
            model=model,
            contributions=contributions,
            cuts=list(_cuts(model, contributions, total["points"])),
            computed=total["points"],
            override=total["override"],
            override_id=override_id,
            next_change_on=total["next_change_on"],
        )


def _cuts(model: LiveModel, contributions: Sequence[Contribution], computed: Decimal | None) -> Iterator[Cut]:
    """What groups cut, and then the model's own bounds: whatever is left between the sum and what it comes to."""
    total = sum((one.points for one in contributions), Decimal(0))
    for name, most in model.sheet.groups.items():
        of_group = [one.points for one in contributions if one.rule is not None and one.rule.group == name]
        added = sum(of_group, Decimal(0))
        held = min(max(added, -most), most)
        if held != added:
            yield Cut(f"group {name}", held - added)
            total += held - added
    if computed is not None and computed != total:
        yield Cut("min" if computed > total else "max", computed - total)


def _rows(models: Sequence[LiveModel], contacts: Vocabulary, source: Source) -> Any:
    """Every branch's rows that are a rule's or an adjustment's, and a row of total for each contact and model."""
    made = formula(models, contacts, source, detailed=True)
    given, total = made.given, made.total.subquery("total")
    parts = select(
        given.c.contact_id,
        given.c.model_id,
        literal_column("false").label("is_total"),
        given.c.number,
        given.c.count,
        given.c.points,
        given.c.override,
        given.c.next_change_on,
        given.c.details,
    ).where(given.c.inside.is_(None), given.c.number.is_not(None) | given.c.details.is_not(None))
    whole = select(
        total.c.contact_id,
        total.c.model_id,
        literal_column("true"),
        cast(null(), Integer),
        literal_column("0"),
        cast(total.c.computed, Numeric),
        total.c.override,
        total.c.next_change_on,
        cast(null(), JSONB),
    )
    return union_all(parts, whole).order_by(literal_column("model_id"), literal_column("number").nulls_last())
