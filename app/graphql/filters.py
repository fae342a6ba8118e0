"""The filter of a query, checked and put into the store's words; properties and conditions, into the engine's."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, cast
from uuid import UUID

import strawberry

from app.engine.conditions import Json, Operator, Test, is_clean
from app.engine.fields import FieldType
from app.engine.members import Definitions
from app.engine.rules import band_range
from app.errors import Fault, InvalidInput
from app.graphql import comparisons
from app.graphql.catalog import Catalog, listed
from app.graphql.comparisons import WordsFilter, exact, words
from app.graphql.filter_inputs import (
    BandFilter,
    ContactFilter,
    CrmLinkFilter,
    EmailQualityFilter,
    FilterArgument,
    IdentityFilter,
    PropertyFilter,
    ScoreFilter,
)
from app.graphql.limits import MAX_PAGE, plain_text
from app.store.columns import Column, Compared, contact
from app.store.contact_filter import Among, Filter, Held, Linked, ScoreRange

__all__ = ["FilterArgument", "needs_definitions", "read"]

_MAX_GROUPS = 100
_MAX_SCORES = 20
_MAX_SEGMENTS = 20
_MAX_PROPERTIES = 50
_PREFIX = "contact.properties."

_COLUMNS = {
    "email_address": (Column.EMAIL, "emailAddress"),
    "email_domain": (Column.EMAIL_DOMAIN, "emailDomain"),
    "name": (Column.NAME, "name"),
    "stage_name": (Column.STAGE, "stageName"),
    "opted_out_at": (Column.OPTED_OUT_AT, "optedOutAt"),
    "opted_out_reason": (Column.OPTED_OUT_REASON, "optedOutReason"),
    "opted_out_by": (Column.OPTED_OUT_BY, "optedOutBy"),
    "bounced_at": (Column.BOUNCED_AT, "bouncedAt"),
    "bounced_reason": (Column.BOUNCED_REASON, "bouncedReason"),
    "bounced_by": (Column.BOUNCED_BY, "bouncedBy"),
    "soft_bounces": (Column.SOFT_BOUNCES, "softBounces"),
    "created_at": (Column.CREATED_AT, "createdAt"),
    "updated_at": (Column.UPDATED_AT, "updatedAt"),
    "last_event_at": (Column.LAST_EVENT_AT, "lastEventAt"),
}
"""The parts of a filter that compare a column, and what they are called in GraphQL."""


def read(said: ContactFilter | None, catalog: Catalog, definitions: Definitions | None) -> Filter:
    """The filter in the store's words. `definitions` are needed if `needs_definitions` says so.

    Raises InvalidInput for an unknown model, band or segment, which says which there are; for text that no contact can
    have; for a condition that cannot be read; for an empty or an excessive group. Raises Conflict for what looks at a
    measure that is not ready.
    """
    return Filter() if said is None else _Reader(catalog, definitions).read(said, "/filter")


def needs_definitions(said: ContactFilter | None) -> bool:
    """Whether it says anything that only the engine can read: a segment, a condition, a property."""
    waiting = [said]
    while waiting:
        one = waiting.pop()
        if one is not None:
            if one.segment is not None or one.where is not None or one.properties:
                return True
            waiting += [*(one.and_ or ()), *(one.or_ or ()), one.not_]
    return False


class _Reader:
    def __init__(self, catalog: Catalog, definitions: Definitions | None) -> None:
        self._catalog = catalog
        self._definitions = definitions
        self._groups = 0
        self._conditions = 0
        self._properties = 0

    def read(self, said: ContactFilter, at: str) -> Filter:
        self._groups += 1
        if self._groups > _MAX_GROUPS:
            raise InvalidInput(Fault(at, f"a filter may have at most {_MAX_GROUPS} parts in and, or and not"))
        return Filter(
            ids=None if said.ids is None else _ids(said.ids, f"{at}/ids"),
            scores=self._scores(said, at),
            bounced=said.bounced,
            bounce_status=None if said.bounce_status is None else said.bounce_status.value,
            opted_out=said.opted_out,
            suppressed=said.suppressed,
            tag=_text(said.tag, f"{at}/tag"),
            email=_text(said.email, f"{at}/email"),
            stage=_text(said.stage, f"{at}/stage"),
            compared=tuple(self._compared(said, at)),
            tags=None if said.tags is None else _among(said.tags, f"{at}/tags"),
            email_quality=None if said.email_quality is None else _among(said.email_quality, f"{at}/emailQuality"),
            identity=None if said.identity is None else _held(said.identity, f"{at}/identity"),
            linked=None if said.crm_link is None else _linked(said.crm_link, f"{at}/crmLink"),
            asked=tuple(self._asked(said, at)),
            every=(*self._group(said.and_, f"{at}/and"), *self._bands(said.bands, f"{at}/bands")),
            either=self._group(said.or_, f"{at}/or"),
            neither=None if said.not_ is None else self.read(said.not_, f"{at}/not"),
        )

    def _group(self, said: list[ContactFilter] | None, at: str) -> tuple[Filter, ...]:
        if said is None:
            return ()
        if not said:
            raise InvalidInput(Fault(at, "must not be empty; leave it out"))
        return tuple(self.read(one, f"{at}/{number}") for number, one in enumerate(said))

    def _compared(self, said: ContactFilter, at: str) -> Iterator[Compared]:
        for name, (column, shown) in _COLUMNS.items():
            yield from comparisons.columns(column, getattr(said, name), f"{at}/{shown}")

    def _scores(self, said: ContactFilter, at: str) -> tuple[ScoreRange, ...]:
        if said.scores is not None and len(said.scores) > _MAX_SCORES:
            raise InvalidInput(Fault(f"{at}/scores", f"at most {_MAX_SCORES} ranges"))
        ranges = [] if said.score is None else [self._range(said.score, f"{at}/score")]
        ranges += [self._range(one, f"{at}/scores/{number}") for number, one in enumerate(said.scores or ())]
        if said.band is not None:
            ranges.append(self._band(said.band, f"{at}/band"))
        return tuple(ranges)

    def _range(self, said: ScoreFilter, at: str) -> ScoreRange:
        model = self._catalog.named(said.model, f"{at}/model")
        bounds = [None if one is None else exact(one) for one in (said.gte, said.gt, said.lte, said.lt)]
        return ScoreRange(model.id, *bounds)

    def _band(self, said: BandFilter, at: str) -> ScoreRange:
        model = self._catalog.named(said.model, f"{at}/model")
        limits = band_range(said.name, model.bands)
        if limits is None:
            there = ", ".join(repr(band.name) for band in model.bands) or "none"
            raise InvalidInput(Fault(f"{at}/name", f"{model.key!r} has no band {said.name!r:.80}; it has {there}"))
        return ScoreRange(model.id, gte=limits[0], lt=limits[1])

    def _bands(self, said: list[BandFilter] | None, at: str) -> tuple[Filter, ...]:
        """One part, of which any band will do."""
        if said is None:
            return ()
        if not 0 < len(said) <= _MAX_SCORES:
            raise InvalidInput(Fault(at, f"between 1 and {_MAX_SCORES} bands"))
        ranges = [self._band(one, f"{at}/{number}") for number, one in enumerate(said)]
        return (Filter(either=tuple(Filter(scores=(one,)) for one in ranges)),)

    def _asked(self, said: ContactFilter, at: str) -> Iterator[Any]:  # Any: expressions, which stay below the edge
        if said.segment is not None:
            yield self._segment(said.segment, f"{at}/segment")
        if said.where is not None:
            self._count(f"{at}/where")
            yield self._known.matching(cast("Json", said.where), f"{at}/where").has(contact)
        for number, one in enumerate(said.properties or ()):
            self._properties += 1
            place = f"{at}/properties/{number}"
            if self._properties > _MAX_PROPERTIES:
                raise InvalidInput(Fault(place, f"a filter may name at most {_MAX_PROPERTIES} properties"))
            for test in self._tests(one, place):
                yield self._known.holds(test, contact)

    @property
    def _known(self) -> Definitions:
        assert self._definitions is not None
        return self._definitions

    def _count(self, at: str) -> None:
        self._conditions += 1
        if self._conditions > _MAX_SEGMENTS:
            raise InvalidInput(
                Fault(at, f"a filter may name at most {_MAX_SEGMENTS} segments and conditions; make one of them")
            )

    def _segment(self, key: str, at: str) -> Any:  # Any: an expression
        self._count(at)
        there = self._known.contacts.segments
        if key not in there:
            raise InvalidInput(Fault(at, f"there is no segment {key!r:.80}; there is {listed(sorted(there))}"))
        return self._known.members(key).has(contact)

    def _tests(self, said: PropertyFilter, at: str) -> Iterator[Test]:
        """What it says of a property, as tests of the engine's. Raises InvalidInput where another type is declared."""
        found = self._known.contacts.find(_PREFIX + said.name) if is_clean(said.name) else None
        if found is None:
            raise InvalidInput(Fault(f"{at}/name", "expected the name of a property"))
        for kind, name in _KINDS.items():
            if getattr(said, name) is not None and found.type is not kind and (found.type or kind is FieldType.TAGS):
                fault = f"property {said.name!r:.80} is declared as {found.type or 'nothing'}, not as {kind}"
                raise InvalidInput(Fault(f"{at}/{name}", fault))
        if said.is_null is not None:
            yield Test(found, Operator.NULL, not said.is_null, found.type)
        if said.boolean is not None:
            yield Test(found, Operator.EQ, False, FieldType.BOOLEAN, (said.boolean,))
        for kind, name in _KINDS.items():
            given = getattr(said, name)
            if isinstance(given, WordsFilter):
                among = _among(given, f"{at}/{name}")
                yield from ([] if among.any is None else [Test(found, Operator.IN, False, kind, among.any)])
                yield from (Test(found, Operator.IN, False, kind, (one,)) for one in among.all or ())
                yield from ([] if among.none is None else [Test(found, Operator.IN, True, kind, among.none)])
                if among.is_empty is not None:
                    yield Test(found, Operator.NULL, not among.is_empty, kind)
            elif given is not None and kind is not FieldType.BOOLEAN:
                for one in comparisons.read(given, f"{at}/{name}"):
                    if one.value is None:
                        yield Test(found, Operator.NULL, one.operator.value != Operator.NULL.value, found.type)
                    else:
                        values = one.value if isinstance(one.value, tuple) else (one.value,)
                        yield Test(found, Operator(one.operator.value), False, kind, values)


_KINDS = {
    FieldType.TEXT: "text",
    FieldType.NUMBER: "number",
    FieldType.DATETIME: "instant",
    FieldType.BOOLEAN: "boolean",
    FieldType.TAGS: "tags",
}


def _ids(said: list[strawberry.ID], at: str) -> tuple[UUID, ...]:
    if not 0 < len(said) <= MAX_PAGE:
        raise InvalidInput(Fault(at, f"between 1 and {MAX_PAGE} ids"))
    return tuple(_uuid(one, f"{at}/{number}") for number, one in enumerate(said))


def _uuid(said: str, at: str) -> UUID:
    try:
        return UUID(said)
    except ValueError:
        raise InvalidInput(Fault(at, "not a UUID")) from None


def _text(said: str | None, at: str) -> str | None:
    return None if said is None else plain_text(said, at)


def _among(said: WordsFilter | EmailQualityFilter, at: str) -> Among:
    def of(name: str) -> tuple[str, ...] | None:
        given = getattr(said, name)
        texts = None if given is None else [one.value if isinstance(one, StrEnum) else one for one in given]
        return None if texts is None else words(texts, f"{at}/{name}")

    return Among(any=of("any"), all=of("all"), none=of("none"), is_empty=said.is_empty)


def _held(said: IdentityFilter, at: str) -> Held:
    return Held(plain_text(said.kind, f"{at}/kind"), _text(said.value, f"{at}/value"))


def _linked(said: CrmLinkFilter, at: str) -> Linked:
    return Linked(
        connection=None if said.connection is None else _uuid(said.connection, f"{at}/connection"),
        object=_text(said.object, f"{at}/object"),
        record=_text(said.record, f"{at}/record"),
        state=None if said.state is None else said.state.value,
    )
