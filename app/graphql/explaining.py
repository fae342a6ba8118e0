"""A score taken apart, now or as of a past moment: rules, adjustments and limits, adding up exactly."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import strawberry

from app import clock
from app.engine import adjustments, replay
from app.engine.explain import Contribution as Given
from app.engine.explain import Explanation
from app.engine.rules import band_of
from app.errors import AppError, Fault, InvalidInput, NotFound
from app.graphql.catalog import Model
from app.graphql.context import Info
from app.graphql.fields import choices, resolved
from app.graphql.loaders import Loaders
from app.graphql.nodes import OfContact
from app.graphql.scoring import Band, ModelRef, Rule, ScoringModel, floated

_PAST = 100
"""Objects that a moment of the past counts as: all that happened until then is read for it."""


@choices(
    "Whose rules explain a past moment.",
    THEN="Those that counted then.",
    NOW="Those that count now.",
)
class RulesOf(StrEnum):
    THEN = "then"
    NOW = "now"


@choices(
    "What somebody did to a score by hand.",
    POINTS="Added points to it, or took some.",
    OVERRIDE="Set it, whatever the rules say.",
    RESET="Let the events before a day count no more.",
)
class AdjustmentKind(StrEnum):
    POINTS = "points"
    OVERRIDE = "override"
    RESET = "reset"


@strawberry.type(description="A UTC day with events that match a rule.")
class ContributionDay:
    day: date = strawberry.field(description="The day, in UTC.")
    events: int = strawberry.field(description="Matching events; with `distinctBy`, values that are on no newer day.")
    counted: int = strawberry.field(description="Those that count, after the rule's limits.")
    worth: float = strawberry.field(description="What `decay` leaves of each at the day's age: `0.5`; 1 without decay.")
    leaves_on: date | None = strawberry.field(description="When the day leaves the rule's window. Null: never.")


@strawberry.type(description="What one rule, or one adjustment by hand, gives; and how that came about.")
class ContributionDetail:
    rule: Rule | None = strawberry.field(description="The rule, as the version has it. Null: it is an adjustment's.")
    adjustment_id: strawberry.ID | None = strawberry.field(description="Of points by hand, as in `adjustments`.")
    count: int = strawberry.field(
        description="Events that count; times of an absence; 1 for a profile rule that holds."
    )
    points: float = strawberry.field(description="What they give together, after the rule's own limits.")
    raw: float | None = strawberry.field(description="Before the rule's `maxPoints`, where that can cut.")
    next_change_on: date | None = strawberry.field(description="The UTC day on which this may next change by itself.")
    days: list[ContributionDay] | None = strawberry.field(
        description="Of an event rule: the days with matching events in its window, the newest first."
    )
    in_audience: bool | None = strawberry.field(description="Of an event rule: whether its `audience` holds.")
    silent_since: date | None = strawberry.field(description="Of an absence rule: the day the silence began.")
    units: float | None = strawberry.field(description="Of a rule with `perUnitOf`: the number, within its bounds.")

    @classmethod
    def of(cls, given: Given, ref: ModelRef) -> "ContributionDetail":
        details = given.details
        days = None
        if "days" in details:
            days = [
                ContributionDay(
                    day=date.fromisoformat(one["day"]),
                    events=one["events"],
                    counted=one["counted"],
                    worth=float(one["worth"]),
                    leaves_on=_day(one["leaves_on"]),
                )
                for one in details["days"] or ()
            ]
        return cls(
            rule=None if given.rule is None else Rule.of(given.rule, ref),
            adjustment_id=None if given.adjustment_id is None else strawberry.ID(str(given.adjustment_id)),
            count=given.count,
            points=float(given.points),
            raw=_number(details.get("raw")),
            next_change_on=given.next_change_on,
            days=days,
            in_audience=details.get("in_audience"),
            silent_since=_day(details.get("silent_since")),
            units=_number(details.get("units")),
        )


@strawberry.type(description="What a limit takes away, or a minimum adds.")
class Cut:
    by: str = strawberry.field(description="`group <name>`, `min` or `max`: `group E-mail`.")
    points: float = strawberry.field(description="What it takes away, below zero, or adds.")


@strawberry.type(description="What somebody did to a contact's scores by hand.")
class Adjustment:
    id: strawberry.ID = strawberry.field(description="A UUID.")
    kind: AdjustmentKind = strawberry.field(description="What was done.")
    model: str | None = strawberry.field(description="The model's key. Null: a reset in all models.")
    points: float | None = strawberry.field(description="Of points and an override.")
    reason: str = strawberry.field(description='Why, in words: `"met at the fair"`.')
    from_day: date | None = strawberry.field(description="Of a reset: the first UTC day that counts.")
    ends_on: date | None = strawberry.field(description="The UTC day from which it no longer holds. Null: no end.")
    made_by: str = strawberry.field(description="The name of the API key.")
    created_at: datetime = strawberry.field(description="When it was made.")

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Adjustment":  # Any: of each column
        return cls(
            id=strawberry.ID(str(row["id"])),
            kind=AdjustmentKind(row["kind"]),
            model=row["model"],
            points=floated(row["points"]),
            reason=row["reason"],
            from_day=row["from_day"],
            ends_on=row["ends_on"],
            made_by=row["made_by"],
            created_at=row["created_at"],
        )


@strawberry.type(description="Why a score is what it is. Contributions and cuts add up to `computed`, exactly.")
class ScoreExplanation:
    found: strawberry.Private[Explanation]
    at: strawberry.Private[datetime]

    model: ScoringModel = strawberry.field(description="The scoring model, as it counts now.")
    version: int = strawberry.field(description="The version of the model whose rules these are.")
    as_of: datetime = strawberry.field(description="The moment that it is about.")
    value: float | None = strawberry.field(description="The score. Null: not in the model's audience.")
    computed: float | None = strawberry.field(description="What the rules say; null outside of the audience.")
    override: float | None = strawberry.field(description="What somebody set in place of `computed`. Null: nobody did.")
    override_id: strawberry.ID | None = strawberry.field(description="The override, as in `adjustments`.")
    band: Band | None = strawberry.field(description="The version's band that the value lies in.")
    cuts: list[Cut] = strawberry.field(description="What limits of groups and of the model take away or add.")
    next_change_on: date | None = strawberry.field(
        description="The UTC day on which the value may next change by itself. Null: not until something happens."
    )

    @classmethod
    def of(cls, found: Explanation, model: Model, at: datetime) -> "ScoreExplanation":
        band = None if found.value is None else band_of(found.value, found.model.bands)
        return cls(
            found=found,
            at=at,
            model=ScoringModel.of(model),
            version=found.model.version,
            as_of=at,
            value=floated(found.value),
            computed=floated(found.computed),
            override=floated(found.override),
            override_id=None if found.override_id is None else strawberry.ID(str(found.override_id)),
            band=None if band is None else Band.of(band),
            cuts=[Cut(by=one.by, points=float(one.points)) for one in found.cuts],
            next_change_on=found.next_change_on,
        )

    @resolved("What each rule and each adjustment gives; rules on the contact that do not hold are left out.")
    def contributions(self, info: Info) -> list[ContributionDetail]:
        info.context.budget.spend(len(self.found.contributions))
        ref = ModelRef(key=self.model.key, name=self.model.name)
        return [ContributionDetail.of(one, ref) for one in self.found.contributions]

    @resolved("What was done by hand and holds at that moment, the newest first.")
    async def adjustments(self, info: Info) -> list[Adjustment]:
        key = (self.found.contact_id, self.found.model.id, self.at)
        rows = await info.context.load.by(load_adjustments).load(key)
        info.context.budget.spend(len(rows))
        return [Adjustment.of(row) for row in rows]


class Asked(NamedTuple):
    """What is to be explained; `at` None: now."""

    contact: UUID
    model: str
    at: datetime | None
    rules_of_then: bool = True


ModelKey = Annotated[str, strawberry.argument(description='The key of a scoring model: `"engagement"`.')]
AsOf = Annotated[
    datetime | None,
    strawberry.argument(
        description='A past instant: `"2026-05-01T09:00:00Z"`. Null: now. Each contact then counts as '
        f"{_PAST} objects, for all that had happened to it is read."
    ),
]


async def explanation(
    info: Info,
    contact: strawberry.Parent[OfContact],
    model: ModelKey,
    as_of: AsOf = None,
    rules: Annotated[RulesOf, strawberry.argument(description="Whose rules, with `asOf`.")] = RulesOf.THEN,
) -> ScoreExplanation | None:
    """Raises InvalidInput for an unknown model, or a moment to come; Conflict if rules of then cannot be read now."""
    named = (await info.context.load.catalog()).named(model, "/model")
    at = moment(as_of)
    found = await explained(info, Asked(contact.key, named.key, at, rules is RulesOf.THEN))
    return None if found is None else ScoreExplanation.of(found, named, at or info.context.load.now)


async def explained(info: Info, asked: Asked) -> Explanation | None:
    """None: the contact was not there, or the model did not count. Raises TooLarge for too many past moments."""
    if asked.at is not None:
        info.context.budget.spend(_PAST)
    found: Explanation | None = await info.context.load.by(load_explanations).load(asked)
    return found


def moment(as_of: datetime | None) -> datetime | None:
    """In UTC. Raises InvalidInput for what is to come, or before there were any."""
    if as_of is None:
        return None
    said = as_of if as_of.tzinfo else as_of.replace(tzinfo=UTC)
    if not 1900 <= said.year < 3000:
        raise InvalidInput(Fault("/asOf", "expected a moment between the years 1900 and 2999"))
    if said > clock.now():
        raise InvalidInput(Fault("/asOf", "that is to come; ask for the forecast"))
    return said.astimezone(UTC)


async def load_explanations(load: Loaders, wanted: Sequence[Asked]) -> list[Any]:  # Any: Explanation, None, or a fault
    """The contacts of one model and moment together: as many statements as for one of them."""
    groups: dict[tuple[str, datetime | None, bool], list[UUID]] = defaultdict(list)
    for one in wanted:
        groups[one[1:]].append(one.contact)
    found: dict[Asked, Any] = {}
    for (model, at, rules_of_then), contacts in groups.items():
        try:
            async with load.explaining() as (db, plans):
                plan = await plans.hold(db)
                if at is None:
                    told = await replay.now_each(db, plan, contacts, model, load.now)
                else:
                    told = await replay.as_of_each(db, plan, contacts, model, at, rules_of_then=rules_of_then)
        except NotFound:  # the model did not count
            continue
        except AppError as fault:
            found |= {Asked(contact, model, at, rules_of_then): fault for contact in contacts}
            continue
        found |= {Asked(contact, model, at, rules_of_then): one for contact, one in told.items()}
    return [found.get(one) for one in wanted]


async def load_adjustments(
    load: Loaders, wanted: Sequence[tuple[UUID, int, datetime]]
) -> list[list[dict[str, Any]]]:  # Any: of each column
    """Those of one model and moment together."""
    groups: dict[tuple[int, datetime], list[UUID]] = defaultdict(list)
    for contact, model, at in wanted:
        groups[model, at].append(contact)
    found: dict[tuple[UUID, int, datetime], list[dict[str, Any]]] = {}  # Any: as above
    for (model, at), contacts in groups.items():
        async with load.explaining() as (db, _):
            grouped = await adjustments.in_force_each(db, contacts, model, at)
        found |= {(contact, model, at): rows for contact, rows in grouped.items()}
    return [found.get(one, []) for one in wanted]


def _day(said: str | None) -> date | None:
    return None if said is None else date.fromisoformat(said)


def _number(said: str | None) -> float | None:
    """Of a number that is text in the engine's details, so that no float came between."""
    return None if said is None else float(Decimal(said))
