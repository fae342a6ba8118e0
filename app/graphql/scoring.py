"""Scoring models, their rules and bands, and a contact's scores, as GraphQL shows them."""

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from app.engine import rules as engine
from app.engine.explain import Contribution as Given
from app.engine.rules import band_of
from app.graphql.catalog import Model
from app.graphql.context import Info
from app.graphql.fields import choices, resolved
from app.store.graph import ScoreRow


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
    model: ModelRef = strawberry.field(description="The scoring model it belongs to.")

    @classmethod
    def of(cls, rule: engine.Rule, model: ModelRef) -> "Rule":
        return cls(
            id=strawberry.ID(str(rule.id)),
            name=rule.name,
            kind=RuleKind(rule.kind),
            condition=None if rule.condition is None else JSON(rule.condition),
            points=float(rule.points),
            window_days=rule.window_days if isinstance(rule.window_days, int) else None,
            max_per_day=rule.max_per_day,
            max_points=floated(rule.max_points),
            model=model,
        )


@strawberry.type(
    description=(
        "A score sheet: each contact has one score in it. Name, bands and rules are those that count, of the live "
        "version; while the model was never published, they are its draft's."
    )
)
class ScoringModel:
    model: strawberry.Private[Model]

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
    computed_at: datetime = strawberry.field(description="When the value last changed.")

    @classmethod
    def of(cls, row: ScoreRow, model: Model) -> "Score":
        band = None if row.value is None else band_of(row.value, model.bands)
        return cls(
            contact=row.contact_id,
            model_id=row.model_id,
            model=ScoringModel.of(model),
            value=floated(row.value),
            band=None if band is None else Band.of(band),
            version=row.version,
            next_change_on=row.next_change_on,
            computed_at=row.computed_at,
        )

    @resolved(
        "What the value is made of: what each rule of the live version gives today, the largest first, rules that "
        "give nothing left out. They add up to `value`, except in the minutes between midnight UTC and the daily "
        "sweep, or between publishing and the end of the rescoring. Empty for an archived model."
    )
    async def contributions(self, info: Info) -> list[Contribution]:
        given = await info.context.load.contributions.load(self.contact)
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
