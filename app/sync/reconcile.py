"""Who is right about a field: by what it was when both sides last agreed, what it is here, and what it is there. Pure.

A field that moved on one side flows to the other. One that moved on both goes by its pair's policy. What we wrote is
in the shadow, so that its echo is no move.

The shadow is what the CRM holds, to our knowledge. So after each look at a record the shadow becomes what was seen,
and whatever we say otherwise, if it may go out, is what the CRM has yet to be told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from app.connectors.shapes import Kind, Value, Values
from app.sync.mapping import FLAGS, Pair, Policy, fits, same, to_here, to_there

_MISSING = object()


class Side(StrEnum):
    AGREED = "agreed"
    HERE = "here"
    THERE = "there"


class Verdict(NamedTuple):
    pair: Pair
    side: Side
    """Who is right."""
    is_conflict: bool = False
    """Both moved, each to something else."""
    is_reversal: bool = False
    """The CRM left what both agreed on, and is to be told it again."""


@dataclass(frozen=True)
class Ours:
    """A contact as the sync sees it."""

    values: Mapping[str, Any]  # Any: a value by the name that a pair gives it
    said_at: Mapping[str, datetime] = field(default_factory=dict)
    """When each was said, where that is known; of `opted_out` and the bounce only while they are down, and only where
    somebody put them down."""


class Theirs(NamedTuple):
    """A record as it was read just now."""

    values: Values
    modified_at: datetime | None = None
    by_us: bool | None = None


def judge(pairs: Sequence[Pair], shadow: Mapping[str, Value], ours: Ours, theirs: Theirs) -> list[Verdict]:
    """A verdict for each pair whose field the CRM shows."""
    return [_judge(pair, shadow, ours, theirs) for pair in pairs if pair.there in theirs.values]


def to_tell(pairs: Sequence[Pair], shadow: Mapping[str, Value], ours: Ours) -> dict[str, Value]:
    """What a record has yet to be told: fields that may go out and say something else here than the CRM holds.

    Of a field that nobody has seen yet (absent from the shadow) is told what is ours alone to say, such as the score in
    a field that was just made; before anything else the record is read.
    """
    return {
        pair.there: to_there(pair, ours.values[pair.here])
        for pair in pairs
        if pair.goes_out
        and pair.here in ours.values
        and (pair.there in shadow or not pair.comes_in)
        and fits(pair, ours.values[pair.here])
        and not same(pair, ours.values[pair.here], shadow.get(pair.there))
    }


def _judge(pair: Pair, shadow: Mapping[str, Value], ours: Ours, theirs: Theirs) -> Verdict:
    value, there = ours.values.get(pair.here), theirs.values[pair.there]
    known: Any = shadow.get(pair.there, _MISSING)  # Any: a value, or none
    if same(pair, value, there):
        return Verdict(pair, Side.AGREED)
    if not pair.comes_in:
        moved = known is not _MISSING and to_here(pair, known) != to_here(pair, there)
        return Verdict(pair, Side.HERE, is_reversal=moved and same(pair, value, known))
    if known is not _MISSING and to_here(pair, known) == to_here(pair, there):
        return Verdict(pair, Side.HERE)
    if not pair.goes_out:
        return Verdict(pair, Side.HERE if known is _MISSING and _is_empty(pair, there) else Side.THERE)
    if known is not _MISSING and same(pair, value, known):
        side = _moved_there(pair, value, theirs)
        return Verdict(pair, side, is_reversal=side is Side.HERE)
    return Verdict(pair, _by_policy(pair, known, value, ours, theirs), is_conflict=known is not _MISSING)


def _moved_there(pair: Pair, value: Any, theirs: Theirs) -> Side:  # Any: ours
    """The CRM's move counts; but what runs there under our own name takes no flag down."""
    if pair.here in FLAGS and value and _is_empty(pair, theirs.values[pair.there]) and theirs.by_us:
        return Side.HERE
    return Side.THERE


def _by_policy(pair: Pair, known: object, value: Any, ours: Ours, theirs: Theirs) -> Side:  # Any: ours
    there = theirs.values[pair.there]
    here_at = ours.said_at.get(pair.here)
    is_later = here_at is not None and theirs.modified_at is not None and here_at > theirs.modified_at
    if pair.policy is Policy.RESTRICTIVE:
        if value:
            return Side.HERE
        # Somebody took it down after whatever the CRM says was said.
        return Side.HERE if is_later else Side.THERE
    is_theirs_empty = _is_empty(pair, there) or (pair.kind is Kind.BOOLEAN and not there)
    if known is _MISSING and is_theirs_empty != _is_empty(pair, to_there(pair, value)):
        return Side.HERE if is_theirs_empty else Side.THERE
    if pair.policy is Policy.NEWEST:
        return Side.HERE if is_later else Side.THERE
    return Side.HERE if pair.policy is Policy.HERE else Side.THERE


def _is_empty(pair: Pair, value: Value) -> bool:
    """Whether it says nothing. A flag that is down says nothing; of a property, no and 0 are words."""
    said = to_here(pair, value)
    return said is None or said == [] or (pair.here in FLAGS and not said)
