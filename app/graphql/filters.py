"""Which contacts a query asks for: the filter as GraphQL takes it, checked and put into the store's words."""

from decimal import Decimal
from typing import Annotated, Any

import strawberry

from app.engine.members import Definitions
from app.engine.rules import band_range
from app.errors import Fault, InvalidInput
from app.graphql.catalog import Catalog, listed
from app.graphql.limits import plain_text
from app.graphql.types import BounceStatus
from app.store.contact_filter import Filter, ScoreRange, contact

_MAX_GROUPS = 100
_MAX_SCORES = 20
_MAX_SEGMENTS = 20


@strawberry.input(
    description=(
        "Has a score in the model, within the bounds that are given: "
        '`{model: "engagement", gte: 50, lt: 100}`. Without bounds: has a score at all.'
    )
)
class ScoreFilter:
    model: str = strawberry.field(description='The key of a scoring model: `"engagement"`.')
    gte: float | None = strawberry.field(default=None, description="At least this.")
    gt: float | None = strawberry.field(default=None, description="More than this.")
    lte: float | None = strawberry.field(default=None, description="At most this.")
    lt: float | None = strawberry.field(default=None, description="Less than this.")


@strawberry.input(description='Has a score in a band of the model: `{model: "engagement", name: "Hot"}`.')
class BandFilter:
    model: str = strawberry.field(description='The key of a scoring model: `"engagement"`.')
    name: str = strawberry.field(description='The name of one of its bands, as it is written: `"Hot"`.')


@strawberry.input(
    description=(
        "Everything that is given must hold; null is the same as not given. A contact that lacks what is asked about "
        "(no score in the model, no address, no stage) does not match, and so does match the same inside `not`: "
        '`not: {score: {model: "engagement", gte: 50}}` finds those below 50 and those without a score.'
    )
)
class ContactFilter:
    score: ScoreFilter | None = strawberry.field(default=None, description="A range of scores in one model.")
    scores: list[ScoreFilter] | None = strawberry.field(
        default=None, description="Ranges of scores in several models, all of which must hold."
    )
    band: BandFilter | None = strawberry.field(default=None, description="A band of one model, as it is live.")
    bounced: bool | None = strawberry.field(default=None, description="Whether the address takes no mail.")
    bounce_status: BounceStatus | None = strawberry.field(default=None, description="The kind of bounce.")
    opted_out: bool | None = strawberry.field(default=None, description="Whether the person does not want mail.")
    suppressed: bool | None = strawberry.field(default=None, description="Opted out or bounced.")
    tag: str | None = strawberry.field(default=None, description='Has this tag, in any case: `"vip"`.')
    email: str | None = strawberry.field(
        default=None,
        description='The address contains this, in any case: `"@example.com"`. `%` and `_` are ordinary characters.',
    )
    stage: str | None = strawberry.field(default=None, description='Is at this stage, in any case: `"customer"`.')
    segment: str | None = strawberry.field(
        default=None, description='Is in this segment now; by its key: `"hot_leads"`.'
    )
    and_: "list[ContactFilter] | None" = strawberry.field(
        name="and", default=None, description="All of these hold, too. Not empty."
    )
    or_: "list[ContactFilter] | None" = strawberry.field(
        name="or", default=None, description="At least one of these holds, too. Not empty."
    )
    not_: "ContactFilter | None" = strawberry.field(name="not", default=None, description="This does not hold.")


FilterArgument = Annotated[ContactFilter | None, strawberry.argument(description="Which contacts. Null: all.")]


def read(said: ContactFilter | None, catalog: Catalog, segments: Definitions | None) -> Filter:
    """The filter in the store's words. `segments` are needed if it names one.

    Raises InvalidInput for an unknown model, band or segment, which says which there are; for text that no contact can
    have; for an empty or an excessive group. Raises Conflict for a segment that cannot be asked yet.
    """
    return Filter() if said is None else _Reader(catalog, segments).read(said, "/filter")


def names_segment(said: ContactFilter | None) -> bool:
    """Whether it names any."""
    waiting = [said]
    while waiting:
        one = waiting.pop()
        if one is not None:
            if one.segment is not None:
                return True
            waiting += [*(one.and_ or ()), *(one.or_ or ()), one.not_]
    return False


class _Reader:
    def __init__(self, catalog: Catalog, segments: Definitions | None) -> None:
        self._catalog = catalog
        self._segments = segments
        self._groups = 0
        self._named = 0

    def read(self, said: ContactFilter, at: str) -> Filter:
        self._groups += 1
        if self._groups > _MAX_GROUPS:
            raise InvalidInput(Fault(at, f"a filter may have at most {_MAX_GROUPS} parts in and, or and not"))
        return Filter(
            scores=self._scores(said, at),
            bounced=said.bounced,
            bounce_status=None if said.bounce_status is None else said.bounce_status.value,
            opted_out=said.opted_out,
            suppressed=said.suppressed,
            tag=_text(said.tag, f"{at}/tag"),
            email=_text(said.email, f"{at}/email"),
            stage=_text(said.stage, f"{at}/stage"),
            segment=None if said.segment is None else self._segment(said.segment, f"{at}/segment"),
            every=self._group(said.and_, f"{at}/and"),
            either=self._group(said.or_, f"{at}/or"),
            neither=None if said.not_ is None else self.read(said.not_, f"{at}/not"),
        )

    def _group(self, said: list[ContactFilter] | None, at: str) -> tuple[Filter, ...]:
        if said is None:
            return ()
        if not said:
            raise InvalidInput(Fault(at, "must not be empty; leave it out"))
        return tuple(self.read(one, f"{at}/{number}") for number, one in enumerate(said))

    def _scores(self, said: ContactFilter, at: str) -> tuple[ScoreRange, ...]:
        if said.scores is not None and len(said.scores) > _MAX_SCORES:
            raise InvalidInput(Fault(f"{at}/scores", f"at most {_MAX_SCORES} ranges"))
        ranges = [] if said.score is None else [self._range(said.score, f"{at}/score")]
        ranges += [self._range(one, f"{at}/scores/{number}") for number, one in enumerate(said.scores or ())]
        if said.band is not None:
            ranges.append(self._band(said.band, f"{at}/band"))
        return tuple(ranges)

    def _segment(self, key: str, at: str) -> Any:  # Any: an expression, which stays below the edge
        assert self._segments is not None
        self._named += 1
        if self._named > _MAX_SEGMENTS:
            raise InvalidInput(Fault(at, f"a filter may name at most {_MAX_SEGMENTS} segments; make one of them"))
        there = self._segments.contacts.segments
        if key not in there:
            raise InvalidInput(Fault(at, f"there is no segment {key!r:.80}; there is {listed(sorted(there))}"))
        return self._segments.members(key).has(contact)

    def _range(self, said: ScoreFilter, at: str) -> ScoreRange:
        model = self._catalog.named(said.model, f"{at}/model")
        return ScoreRange(model.id, _exact(said.gte), _exact(said.gt), _exact(said.lte), _exact(said.lt))

    def _band(self, said: BandFilter, at: str) -> ScoreRange:
        model = self._catalog.named(said.model, f"{at}/model")
        limits = band_range(said.name, model.bands)
        if limits is None:
            there = ", ".join(repr(band.name) for band in model.bands) or "none"
            raise InvalidInput(Fault(f"{at}/name", f"{model.key!r} has no band {said.name!r:.80}; it has {there}"))
        return ScoreRange(model.id, gte=limits[0], lt=limits[1])


def _exact(bound: float | None) -> Decimal | None:
    """As it was written: 0.1, and not the binary number nearest to it."""
    return None if bound is None else Decimal(repr(bound))


def _text(said: str | None, at: str) -> str | None:
    return None if said is None else plain_text(said, at)
