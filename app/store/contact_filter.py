"""Which contacts are meant: a condition over their columns and scores, as a value and as SQL.

Two-valued throughout: a contact without an address, a stage or a score does not match a condition on it, and matches
that condition's negation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Numeric, Text, and_, exists, false, func, literal, not_, or_, true
from sqlalchemy.dialects.postgresql import array

from app.store.tables import Contact, Score, core

contact = core(Contact)
score = core(Score)


@dataclass(frozen=True)
class ScoreRange:
    """Has a score in the model (by its id), within every bound that is given."""

    model: int
    gte: Decimal | None = None
    gt: Decimal | None = None
    lte: Decimal | None = None
    lt: Decimal | None = None


@dataclass(frozen=True)
class Filter:
    """Everything that is given must hold; nothing given is true of everybody.

    `every`, `either` and `neither` are its `and`, `or` and `not`. An empty `either` is no condition.
    """

    scores: tuple[ScoreRange, ...] = ()
    bounced: bool | None = None
    bounce_status: str | None = None
    opted_out: bool | None = None
    suppressed: bool | None = None
    tag: str | None = None
    email: str | None = None
    stage: str | None = None
    segment: Any = field(default=None, compare=False)
    """That somebody is in a segment: a two-valued expression over `contact`."""
    every: "tuple[Filter, ...]" = ()
    either: "tuple[Filter, ...]" = ()
    neither: "Filter | None" = None


def scored_in(wanted: Filter) -> frozenset[int]:
    """The models in which whoever matches must have a score."""
    models = {one.model for one in wanted.scores}
    for part in wanted.every:
        models |= scored_in(part)
    if wanted.either:
        models |= frozenset.intersection(*(scored_in(part) for part in wanted.either))
    return frozenset(models)


def to_sql(wanted: Filter, joined: Mapping[int, Any]) -> ColumnElement[bool]:  # Any: an alias of the score table
    """The condition over `contact`. `joined` are the models whose score rows the query has joined already."""
    parts = [_in_range(one, joined.get(one.model)) for one in wanted.scores]
    if wanted.bounced is not None:
        parts.append(_is(contact.c.bounced, wanted.bounced))
    if wanted.bounce_status is not None:
        parts.append(contact.c.bounce_status == wanted.bounce_status)
    if wanted.opted_out is not None:
        parts.append(_is(contact.c.opted_out, wanted.opted_out))
    if wanted.suppressed is not None:
        # Spelled as the partial index is.
        parts.append(_is(or_(contact.c.opted_out, contact.c.bounced).self_group(), wanted.suppressed))
    if wanted.tag is not None:
        tags = func.fold_tags(contact.c.tags, type_=ARRAY(Text))
        parts.append(tags.op("@>", is_comparison=True)(array([func.lower(literal(wanted.tag, Text))])))
    if wanted.email is not None:
        part = func.lower(literal(wanted.email, Text))
        parts.append(func.coalesce(func.strpos(func.lower(contact.c.email), part) > 0, false()))
    if wanted.stage is not None:
        same = func.lower(contact.c.stage) == func.lower(literal(wanted.stage, Text))
        parts.append(func.coalesce(same, false()))
    if wanted.segment is not None:
        parts.append(wanted.segment)
    parts += [to_sql(part, joined) for part in wanted.every]
    if wanted.either:
        parts.append(or_(*(to_sql(part, joined) for part in wanted.either)).self_group())
    if wanted.neither is not None:
        parts.append(not_(to_sql(wanted.neither, joined).self_group()))
    return and_(true(), *parts).self_group()


def _is(flag: ColumnElement[bool], wanted: bool) -> ColumnElement[bool]:
    return flag if wanted else not_(flag)


def _in_range(wanted: ScoreRange, joined: Any) -> ColumnElement[bool]:  # Any: as above
    """On the row that is joined, where NULL means no score; else on a row that is there."""
    row = score.alias() if joined is None else joined
    bounds = [
        row.c.value.is_not(None),
        *([] if wanted.gte is None else [row.c.value >= literal(wanted.gte, Numeric)]),
        *([] if wanted.gt is None else [row.c.value > literal(wanted.gt, Numeric)]),
        *([] if wanted.lte is None else [row.c.value <= literal(wanted.lte, Numeric)]),
        *([] if wanted.lt is None else [row.c.value < literal(wanted.lt, Numeric)]),
    ]
    if joined is not None:
        return and_(*bounds).self_group()
    return exists().where(row.c.contact_id == contact.c.id, row.c.model_id == wanted.model, *bounds)
