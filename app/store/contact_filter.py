"""Which contacts are meant: a condition over their columns, scores, identities and records, as a value and as SQL.

Two-valued throughout: a contact without an address, a stage or a score does not match a condition on it, and matches
that condition's negation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Numeric,
    Text,
    Uuid,
    and_,
    any_,
    case,
    cast,
    exists,
    false,
    func,
    literal,
    not_,
    or_,
    true,
)

from app.store import columns
from app.store.columns import Compared, contact
from app.store.sync_tables import Link
from app.store.tables import Identity, Score, core

score = core(Score)
_identity = core(Identity)
_link = core(Link)


@dataclass(frozen=True)
class ScoreRange:
    """Has a score in the model (by its id), within every bound that is given."""

    model: int
    gte: Decimal | None = None
    gt: Decimal | None = None
    lte: Decimal | None = None
    lt: Decimal | None = None


@dataclass(frozen=True)
class Among:
    """Of a list of words: has any of these, all of these, none of these; None: not asked. In any case."""

    any: tuple[str, ...] | None = None
    all: tuple[str, ...] | None = None
    none: tuple[str, ...] | None = None
    is_empty: bool | None = None


@dataclass(frozen=True)
class Held:
    """Has an identity of this kind; of this value, if one is given."""

    kind: str
    value: str | None = None


@dataclass(frozen=True)
class Linked:
    """Has a record in a CRM: of this connection, object, id and state, where given."""

    connection: UUID | None = None
    object: str | None = None
    record: str | None = None
    state: str | None = None


@dataclass(frozen=True)
class Filter:
    """Everything that is given must hold; nothing given is true of everybody.

    `every`, `either` and `neither` are its `and`, `or` and `not`. An empty `either` is no condition.
    """

    ids: tuple[UUID, ...] | None = None
    scores: tuple[ScoreRange, ...] = ()
    bounced: bool | None = None
    bounce_status: str | None = None
    opted_out: bool | None = None
    suppressed: bool | None = None
    tag: str | None = None
    email: str | None = None
    stage: str | None = None
    compared: tuple[Compared, ...] = ()
    tags: Among | None = None
    email_quality: Among | None = None
    identity: Held | None = None
    linked: Linked | None = None
    asked: tuple[Any, ...] = field(default=(), compare=False)
    """Conditions of the engine (a segment, a rule's condition, properties): two-valued expressions over `contact`."""
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


def to_sql(
    wanted: Filter,
    joined: Mapping[Any, Any],  # Any: a model's id, or "activity"; an alias of the table
    *,
    is_negated: bool = False,
) -> ColumnElement[bool]:
    """The condition over `contact`, as WHERE takes it: NULL is as good as false, and is nowhere negated.

    `joined` are the models whose score rows the query has joined already, and the activity table if it has.
    """
    parts = [_in_range(one, joined.get(one.model)) for one in wanted.scores]
    parts += _flags(wanted)
    if wanted.ids is not None:
        parts.append(contact.c.id == any_(literal(list(wanted.ids), ARRAY(Uuid))))
    if wanted.email is not None:
        part = func.lower(literal(wanted.email, Text))
        parts.append(_known(func.strpos(func.lower(contact.c.email), part) > 0, is_negated=is_negated))
    if wanted.stage is not None:
        same = func.lower(contact.c.stage) == func.lower(literal(wanted.stage, Text))
        parts.append(_known(same, is_negated=is_negated))
    parts += [columns.to_sql(one, joined, is_negated=is_negated) for one in wanted.compared]
    parts += _words(wanted)
    if wanted.identity is not None:
        parts.append(_held(wanted.identity))
    if wanted.linked is not None:
        parts.append(_linked(wanted.linked))
    parts += wanted.asked
    parts += [to_sql(part, joined, is_negated=is_negated) for part in wanted.every]
    if wanted.either:
        parts.append(or_(*(to_sql(part, joined, is_negated=is_negated) for part in wanted.either)).self_group())
    if wanted.neither is not None:
        parts.append(not_(to_sql(wanted.neither, joined, is_negated=True).self_group()))
    return and_(true(), *parts).self_group()


def _flags(wanted: Filter) -> list[ColumnElement[bool]]:
    parts = []
    if wanted.bounced is not None:
        parts.append(_is(contact.c.bounced, wanted.bounced))
    if wanted.bounce_status is not None:
        parts.append(contact.c.bounce_status == wanted.bounce_status)
    if wanted.opted_out is not None:
        parts.append(_is(contact.c.opted_out, wanted.opted_out))
    if wanted.suppressed is not None:
        # Spelled as the partial index is.
        parts.append(_is(or_(contact.c.opted_out, contact.c.bounced).self_group(), wanted.suppressed))
    return parts


def _is(flag: ColumnElement[bool], wanted: bool) -> ColumnElement[bool]:
    return flag if wanted else not_(flag)


def _known(test: Any, *, is_negated: bool) -> Any:  # Any: an expression
    """False rather than NULL, where that makes a difference."""
    return func.coalesce(test, false()) if is_negated else test


def _words(wanted: Filter) -> list[Any]:
    tags: Any = func.fold_tags(contact.c.tags, type_=ARRAY(Text))
    found = [] if wanted.tag is None else [tags.op("@>", is_comparison=True)(_folded((wanted.tag,)))]
    for words, among in ((tags, wanted.tags), (contact.c.email_quality, wanted.email_quality)):
        if among is None:
            continue
        if among.any is not None:
            found.append(words.op("&&", is_comparison=True)(_folded(among.any)))
        if among.all is not None:
            found.append(words.op("@>", is_comparison=True)(_folded(among.all)))
        if among.none is not None:
            found.append(not_(words.op("&&", is_comparison=True)(_folded(among.none)).self_group()))
        if among.is_empty is not None:
            found.append(_is(func.cardinality(words) == 0, among.is_empty))
    return found


def _folded(words: tuple[str, ...]) -> Any:
    return func.fold_tags(literal(list(words), ARRAY(Text)), type_=ARRAY(Text))


def _held(wanted: Held) -> ColumnElement[bool]:
    row = _identity.alias()
    tests = [row.c.contact_id == contact.c.id, row.c.kind == wanted.kind]
    if wanted.value is not None:
        tests.append(row.c.value == wanted.value)
    return exists().where(*tests)


def _linked(wanted: Linked) -> ColumnElement[bool]:
    """By the contact's identities, whose kind is `crm:<connection>:<object>`; a state, by the record that one names."""
    row, record = _identity.alias(), _link.alias()
    tests = [row.c.contact_id == contact.c.id]
    if wanted.connection is None:
        tests.append(row.c.kind.like("crm:%"))
        if wanted.object is not None:
            tests.append(func.split_part(row.c.kind, ":", 3) == wanted.object)
    elif wanted.object is None:
        tests.append(row.c.kind.like(f"crm:{wanted.connection}:%"))
    else:
        tests.append(row.c.kind == f"crm:{wanted.connection}:{wanted.object}")
    if wanted.record is not None:
        tests.append(row.c.value == wanted.record)
    if wanted.state is not None:
        # In a CASE, for the cast of another kind's text would fail, and nothing else says which test comes first.
        named = case((row.c.kind.like("crm:%"), cast(func.split_part(row.c.kind, ":", 2), Uuid)))
        tests.append(
            exists().where(
                record.c.connection_id == named,
                record.c.object == func.split_part(row.c.kind, ":", 3),
                record.c.record == row.c.value,
                record.c.state == wanted.state,
            )
        )
    return exists().where(*tests)


def _in_range(wanted: ScoreRange, joined: Any) -> ColumnElement[bool]:  # Any: an alias of the score table, or None
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
