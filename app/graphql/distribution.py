"""How the scores of a model are spread: by its bands, or in buckets of one width."""

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Annotated

import strawberry

from app.engine import rules as engine
from app.errors import Fault, InvalidInput
from app.graphql import filters
from app.graphql.comparisons import exact
from app.graphql.context import Info
from app.graphql.explaining import ModelKey
from app.graphql.filter_inputs import FilterArgument
from app.graphql.scoring import Band, ModelRef, floated
from app.store import distribution
from app.store.distribution import Range

_MAX_BUCKETS = 200


@strawberry.input(
    description="Ranges of one width, and one open range on either side: `{from: 0, width: 10, count: 10}` is below 0, "
    "0 to 10, … 90 to 100, 100 and more."
)
class BucketsInput:
    from_: float = strawberry.field(name="from", description="Where the first begins: `0`.")
    width: float = strawberry.field(description="How wide each is, above nought: `10`.")
    count: int = strawberry.field(description=f"How many, between 1 and {_MAX_BUCKETS}: `10`.")


@strawberry.type(description="A range of scores, and how many contacts are in it.")
class DistributionPart:
    band: Band | None = strawberry.field(
        description="The band. Null: below the lowest band; or these are buckets, whatever bands they meet."
    )
    from_: float | None = strawberry.field(name="from", description="The least score, inclusive. Null: no bound.")
    to: float | None = strawberry.field(description="Up to this, exclusive. Null: no bound.")
    contacts: int = strawberry.field(description="How many contacts, exactly.")
    share: float = strawberry.field(description="Of all that have a score: between 0 and 1; 0 where nobody has any.")


@strawberry.type(description="How the scores of one model are spread.")
class ScoreDistribution:
    model: ModelRef = strawberry.field(description="The scoring model.")
    parts: list[DistributionPart] = strawberry.field(
        description="From the lowest range to the highest; together they hold every score."
    )
    contacts: int = strawberry.field(description="How many contacts have a score.")
    outside: int = strawberry.field(description="How many are not in the model's audience, and have none.")


async def score_distribution(
    info: Info,
    model: ModelKey,
    buckets: Annotated[
        BucketsInput | None,
        strawberry.argument(description="In buckets: `{from: 0, width: 10, count: 10}`. Null: by the live bands."),
    ] = None,
    filter: FilterArgument = None,  # noqa: A002 - its name in the schema
) -> ScoreDistribution:
    """Raises InvalidInput for an unknown model, buckets or a filter that make no sense."""
    load = info.context.load
    catalog = await load.catalog()
    named = catalog.named(model, "/model")
    definitions = await load.segments() if filters.needs_definitions(filter) else None
    wanted = filters.read(filter, catalog, definitions)
    bands: Sequence[engine.Band | None]
    if buckets is None:
        bands, ranges = _by_band(named.bands)
    else:
        ranges = _buckets(buckets)
        bands = [None] * len(ranges)
    async with load.reading() as db:
        found = await distribution.distribution(db, named.id, ranges, wanted)
    total = sum(found.ranges)
    info.context.budget.spend(len(ranges))
    return ScoreDistribution(
        model=ModelRef(key=named.key, name=named.name),
        parts=[
            DistributionPart(
                band=None if band is None else Band.of(band),
                from_=floated(one.least),
                to=floated(one.below),
                contacts=count,
                share=count / total if total else 0.0,
            )
            for band, one, count in zip(bands, ranges, found.ranges, strict=True)
        ],
        contacts=total,
        outside=found.outside,
    )


def _by_band(bands: Sequence[engine.Band]) -> tuple[list[engine.Band | None], list[Range]]:
    """The bands, and before them whatever lies below the lowest, if anything can."""
    lowest: list[engine.Band | None] = [] if bands and bands[0].min is None else [None]
    parts = [*lowest, *bands]
    mins = [None if band is None else band.min for band in parts]
    return parts, [Range(least, below) for least, below in pairwise([*mins, None])]


def _buckets(said: BucketsInput) -> list[Range]:
    if not 1 <= said.count <= _MAX_BUCKETS:
        raise InvalidInput(Fault("/buckets/count", f"expected between 1 and {_MAX_BUCKETS} buckets"))
    if said.width <= 0:
        raise InvalidInput(Fault("/buckets/width", "expected a width above nought"))
    edges: list[Decimal] = [exact(said.from_) + exact(said.width) * number for number in range(said.count + 1)]
    if len(set(edges)) < len(edges):
        raise InvalidInput(Fault("/buckets/width", "too narrow to tell one bucket from the next"))
    return [Range(least, below) for least, below in pairwise([None, *edges, None])]
