"""Scoring models, their rules and bands, and a contact's scores, as GraphQL shows them."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from app.engine import rules as engine
from app.engine.explain import Contribution as Given
from app.engine.explain import Explanation
from app.engine.rules import band_of
from app.graphql.catalog import Model
from app.graphql.context import Info
from app.graphql.fields import choices, resolved
from app.graphql.limits import bounded
from app.graphql.loaders import Loaders
from app.graphql.nodes import Named, Node, id_of
from app.store import graph
from app.store.graph import ScoreRow, VersionRow

_MAX_VERSIONS = 100


def floated(number: Decimal | None) -> float | None:
    return None if number is None else float(number)


@choices(
    "What a rule looks at.",
    EVENT="Counts the events that match its condition.",
    ABSENCE="Looks for a silence: no matching event for so many days.",
    PROFILE="Looks at what the contact is now.",
)
class RuleKind(StrEnum):
    EVENT = "event"
    ABSENCE = "absence"
    PROFILE = "profile"


@strawberry.type(description="A named, coloured range of scores: from `min` up to the next band's.")
class Band:
    name: str = strawberry.field(description='Unique in its model, for example `"Hot"`.')
    color: str = strawberry.field(description='For a badge, as `#rrggbb`: `"#ff0000"`.')
    min: float | None = strawberry.field(
        description="The least score of this band, inclusive. Null: it has no lower end."
    )

    @classmethod
    def of(cls, band: engine.Band) -> "Band":
        return cls(name=band.name, color=band.color, min=floated(band.min))


@strawberry.type(description="Which scoring model something belongs to.")
class ModelRef:
    key: str = strawberry.field(description='What the model is named by in queries, for example `"engagement"`.')
    name: str = strawberry.field(description='For people to read, for example `"Engagement"`.')


@strawberry.type(description="A number of the contact, for each unit of which a rule gives its points.")
class PerUnit:
    field: str = strawberry.field(description="For example `contact.properties.visits`.")
    min: float | None = strawberry.field(description="It is held above this. Null: no bound.")
    max: float | None = strawberry.field(description="It is held below this. Null: no bound.")


@strawberry.type(
    description=(
        "A condition and signed points. These are the rules that count: those of the model's live version. "
        "While a model was never published, they are its draft's."
    )
)
class Rule:
    id: strawberry.ID = strawberry.field(description="A UUID; a rule keeps it from version to version.")
    name: str = strawberry.field(description='For example `"Clicked a link"`.')
    kind: RuleKind = strawberry.field(description="Whether it counts events or looks at the contact.")
    condition: JSON | None = strawberry.field(
        description="When it counts, as react-querybuilder's JSON: `combinator`, `rules`, `field`, `operator`, "
        "`value`. Null: always."
    )
    points: float = strawberry.field(description="For each event that counts, or while the profile matches.")
    window_days: int | None = strawberry.field(
        description="An event counts for this many UTC days, the day it happened being the first. Null: for ever."
    )
    max_per_day: int | None = strawberry.field(description="How many events of one UTC day count. Null: all.")
    max_points: float | None = strawberry.field(
        description="The rule never gives more than this, nor less than its negative. Null: no limit."
    )
    distinct_by: str | None = strawberry.field(
        description="A field of the event, each value of which counts once: `event.properties.campaign`. Null: each "
        "event counts."
    )
    max_count: int | None = strawberry.field(description="How many events count in all. Null: any number.")
    at_least: int | None = strawberry.field(description="So many must have come for the points, once. Null: each.")
    decay: JSON | None = strawberry.field(
        description="How events lose worth with age: `{steps: [{after_days, percent}]}`, or a half-life: "
        "`{half_life_days, every_days}`. Null: they do not."
    )
    audience: JSON | None = strawberry.field(
        description="The condition on contacts to whom it applies, as JSON. Null: to all."
    )
    group: str | None = strawberry.field(description="The group of rules that share a limit, if any.")
    after_days: int | None = strawberry.field(description="Of an absence rule: how long the silence is.")
    max_times: int | None = strawberry.field(description="Of an absence rule: how often it counts. Null: ever again.")
    per_unit_of: "PerUnit | None" = strawberry.field(
        description="Of a profile rule: points for each unit of a number. Null: once."
    )
    model: ModelRef = strawberry.field(description="The scoring model it belongs to.")

    @classmethod
    def of(cls, rule: engine.Rule, model: ModelRef) -> "Rule":
        per = rule.per_unit_of
        return cls(
            id=strawberry.ID(str(rule.id)),
            name=rule.name,
            kind=RuleKind(rule.kind),
            condition=None if rule.condition is None else JSON(rule.condition),
            points=float(rule.points),
            window_days=rule.window_days if isinstance(rule.window_days, int) else None,
            max_per_day=rule.max_per_day,
            max_points=floated(rule.max_points),
            distinct_by=rule.distinct_by,
            max_count=rule.max_count,
            at_least=rule.at_least,
            decay=None if rule.decay is None else JSON(rule.decay),
            audience=None if rule.audience is None else JSON(rule.audience),
            group=rule.group,
            after_days=rule.after_days,
            max_times=rule.max_times,
            per_unit_of=None if per is None else PerUnit(field=per.field, min=floated(per.min), max=floated(per.max)),
            model=model,
        )


@strawberry.type(
    description=(
        "A score sheet: each contact has one score in it. Name, bands and rules are those that count, of the live "
        "version; while the model was never published, they are its draft's."
    )
)
class ScoringModel(Node):
    model: strawberry.Private[Model]

    id: strawberry.ID = strawberry.field(description='`model:` and its key, for example `"model:engagement"`.')
    key: str = strawberry.field(description='What the model is named by in queries, for example `"engagement"`.')
    name: str = strawberry.field(description='For people to read, for example `"Engagement"`.')
    description: str | None = strawberry.field(description="What it is for. The draft's: versions do not keep it.")
    bands: list[Band] = strawberry.field(description="From the lowest to the highest.")
    version: int | None = strawberry.field(
        description="The live version. Null: never published, so nobody has a score."
    )
    published_at: datetime | None = strawberry.field(description="When the live version was published.")
    archived: bool = strawberry.field(description="Its scores stay as they were, and are computed no more.")

    @classmethod
    def of(cls, model: Model) -> "ScoringModel":
        return cls(
            model=model,
            id=id_of(Named.MODEL, model.key),
            key=model.key,
            name=model.name,
            description=model.description,
            bands=[Band.of(band) for band in model.bands],
            version=model.version,
            published_at=model.published_at,
            archived=model.archived,
        )

    @resolved("The rules that count, in the order in which they were written.")
    async def rules(self, info: Info) -> list[Rule]:
        return await rules_of(self.model, info)

    @resolved("What it said each time that it was published, the newest first.")
    async def versions(
        self,
        info: Info,
        first: Annotated[int, strawberry.argument(description=f"How many, at most {_MAX_VERSIONS}.")] = 20,
    ) -> list["ModelVersion"]:
        limit = bounded(first, _MAX_VERSIONS, "first")
        rows = await info.context.load.by(load_versions).load((self.model.id, limit))
        info.context.budget.spend(len(rows))
        return [ModelVersion.of(row, self.model) for row in rows]


@strawberry.type(description="What a model said when it was published. It never changes.")
class ModelVersion:
    row: strawberry.Private[VersionRow]
    model: strawberry.Private[Model]

    version: int = strawberry.field(description="Its number, from 1.")
    name: str = strawberry.field(description='For people to read, for example `"Engagement"`.')
    bands: list[Band] = strawberry.field(description="From the lowest to the highest.")
    is_live: bool = strawberry.field(description="Whether it counts now.")
    live_from: datetime | None = strawberry.field(
        description="Since when it counted, until the next one did. Null: not yet, or never."
    )
    side_effects: bool = strawberry.field(
        description="Whether the scores that it changed were told to anybody, such as a CRM."
    )
    published_at: datetime = strawberry.field(description="When it was published.")
    published_by: str = strawberry.field(description="The name of the API key that published it.")

    @classmethod
    def of(cls, row: VersionRow, model: Model) -> "ModelVersion":
        return cls(
            row=row,
            model=model,
            version=row.version,
            name=row.name,
            bands=[Band.of(band) for band in engine.read_bands(row.bands)],
            is_live=row.version == model.version,
            live_from=row.live_from,
            side_effects=row.side_effects,
            published_at=row.published_at,
            published_by=row.published_by,
        )

    @resolved("Its rules, in the order in which they were written.")
    def rules(self, info: Info) -> list[Rule]:
        info.context.budget.spend(len(self.row.rules))
        ref = ModelRef(key=self.model.key, name=self.row.name)
        return [Rule.of(engine.Rule.from_json(said), ref) for said in self.row.rules]


async def load_versions(load: Loaders, wanted: Sequence[tuple[int, int]]) -> list[list[VersionRow]]:
    """Of models by their ids, so many each: a statement for each number that is asked for."""
    found: dict[tuple[int, int], list[VersionRow]] = {}
    for first in {first for _, first in wanted}:
        async with load.reading() as db:
            grouped = await graph.versions(db, [model for model, most in wanted if most == first], first)
        found |= {(model, first): rows for model, rows in grouped.items()}
    return [found.get(one, []) for one in wanted]


async def rules_of(model: Model, info: Info) -> list[Rule]:
    """Raises TooLarge if the request has had too many objects."""
    found = await info.context.load.rules.load(model.id)
    info.context.budget.spend(len(found))
    ref = ModelRef(key=model.key, name=model.name)
    return [Rule.of(rule, ref) for rule in found]


@strawberry.type(description="What one rule gives one contact today, after its limits.")
class Contribution:
    rule: Rule = strawberry.field(description="The rule, as the live version has it.")
    count: int = strawberry.field(
        description="How many events count; 1 for a profile rule. Of one day at most `maxPerDay`."
    )
    points: float = strawberry.field(description="What they give together, within `maxPoints`.")


@strawberry.type(description="What a contact is worth in one scoring model.")
class Score:
    contact: strawberry.Private[UUID]
    model_id: strawberry.Private[int]
    explained: strawberry.Private[Explanation | None]
    """Of a past moment."""

    model: ScoringModel = strawberry.field(description="The scoring model.")
    value: float | None = strawberry.field(
        description="The points; may be below zero. Null: the contact is not in the model's audience."
    )
    band: Band | None = strawberry.field(
        description="The band of the live version that the value lies in. Null: below the lowest, or there are none."
    )
    version: int = strawberry.field(description="The version of the model by which it was computed.")
    next_change_on: date | None = strawberry.field(
        description=(
            "The UTC day on which the value next changes by itself, because an event grows too old or a silence too "
            "long. Null: not until something happens."
        )
    )
    computed_at: datetime = strawberry.field(description="When the value last changed; with `asOf`, that moment.")

    @classmethod
    def of(cls, row: ScoreRow, model: Model) -> "Score":
        band = None if row.value is None else band_of(row.value, model.bands)
        return cls(
            contact=row.contact_id,
            model_id=row.model_id,
            explained=None,
            model=ScoringModel.of(model),
            value=floated(row.value),
            band=None if band is None else Band.of(band),
            version=row.version,
            next_change_on=row.next_change_on,
            computed_at=row.computed_at,
        )

    @classmethod
    def then(cls, found: Explanation, model: Model, at: datetime) -> "Score":
        """As of a past moment."""
        band = None if found.value is None else band_of(found.value, found.model.bands)
        return cls(
            contact=found.contact_id,
            model_id=found.model.id,
            explained=found,
            model=ScoringModel.of(model),
            value=floated(found.value),
            band=None if band is None else Band.of(band),
            version=found.model.version,
            next_change_on=found.next_change_on,
            computed_at=at,
        )

    @resolved(
        "What the value is made of: what each rule of the live version gives today, the largest first, rules that "
        "give nothing left out. They add up to `value`, except in the minutes between midnight UTC and the daily "
        "sweep, or between publishing and the end of the rescoring. Empty for an archived model."
    )
    async def contributions(self, info: Info) -> list[Contribution]:
        if self.explained is None:
            given = await info.context.load.contributions.load(self.contact)
        else:
            given = [one for one in self.explained.contributions if one.rule and one.count]
        mine = [one for one in given if one.model.id == self.model_id]
        info.context.budget.spend(len(mine))
        ref = ModelRef(key=self.model.key, name=self.model.name)
        return [
            Contribution(rule=Rule.of(one.rule, ref), count=one.count, points=float(one.points))
            for one in sorted(mine, key=_largest_first)
            if one.rule is not None
        ]


def _largest_first(given: Given) -> tuple[Decimal, str, str]:
    name, id_ = (given.rule.name, str(given.rule.id)) if given.rule else ("", "")
    return -abs(given.points), name, id_
