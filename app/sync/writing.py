"""What to write to one record, and what is known of it afterwards. Pure.

A field that the CRM refuses keeps no other from being told: the rest is told without it, and what was refused together
is tried one by one. Flags go first.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple, assert_never

from app.connectors.shapes import End, Outcome, Values, Write
from app.sync import holding
from app.sync.links import Link, State
from app.sync.mapping import BOUNCED, BOUNCED_AT, FLAGS, OPTED_OUT, Pair
from app.sync.reconcile import Ours, to_tell

_RANK = {OPTED_OUT: 0, BOUNCED: 1, BOUNCED_AT: 2}
"""The flags, the one that matters most first."""


class Told(NamedTuple):
    """A write that was answered, and what we said of the contact then. Instants are by our clock."""

    write: Write
    outcome: Outcome
    ours: Ours
    began_at: datetime
    answered_at: datetime


def compose(pairs: Sequence[Pair], link: Link, ours: Ours, now: datetime) -> Write | None:
    """What to write now; None if there is nothing, or all of it is held."""
    if link.state is not State.LIVE:
        return None
    told = to_tell(pairs, link.shadow, ours)
    free = [name for name in told if holding.is_free(link.held, name, now)]
    sure = [name for name in free if not holding.is_in_doubt(link.held, name)]
    # What was refused might take others with it, so it goes alone, when nothing else is to be told.
    chosen = sure or _by_rank(pairs, free)[:1]
    return Write(link.key, {name: told[name] for name in chosen}) if chosen else None


def rest(pairs: Sequence[Pair], link: Link, ours: Ours) -> list[str]:
    """The fields that the record has yet to be told, held ones among them."""
    return list(to_tell(pairs, link.shadow, ours)) if link.state is State.LIVE else []


def has_flag(pairs: Sequence[Pair], values: Values) -> bool:
    return bool(values.keys() & _flags(pairs))


def learn(pairs: Sequence[Pair], link: Link, told: Told) -> None:
    """Change the link by what became of a write. Nothing, if the record is gone: it is to be read."""
    values, outcome = told.write.values, told.outcome
    match outcome.end:
        case End.DONE:
            _take(pairs, link, told)
        case End.AGAIN:
            link.held = holding.refuse(link.held, values, outcome, values, told.answered_at)
        case End.REFUSED:
            link.held = holding.refuse(link.held, _refused(pairs, values, outcome), outcome, values, told.answered_at)
        case End.GONE:
            pass
        case _:
            assert_never(outcome.end)


def _take(pairs: Sequence[Pair], link: Link, told: Told) -> None:
    values, outcome = told.write.values, told.outcome
    kept = {name: value for name, value in (outcome.kept or {}).items() if name in values}
    link.shadow = {**link.shadow, **values, **kept}
    otherwise = {name: values[name] for name in to_tell(pairs, link.shadow, told.ours) if name in values}
    link.held = holding.otherwise(link.held, otherwise, told.answered_at)
    link.held = holding.settle(link.held, values.keys() - otherwise.keys(), told.answered_at)
    link.modified_at = max((at for at in (link.modified_at, outcome.modified_at) if at is not None), default=None)
    if has_flag(pairs, values):
        link.flags_at = told.began_at


def _refused(pairs: Sequence[Pair], values: Values, outcome: Outcome) -> Collection[str]:
    """Which fields to hold: those that the CRM names; else all but flags, which are tried without them; else the least
    of the flags, so that the others are tried without it."""
    named = values.keys() & set(outcome.fields)
    return named or values.keys() - _flags(pairs) or _by_rank(pairs, values)[-1:]


def _flags(pairs: Sequence[Pair]) -> dict[str, str]:
    """Their fields there, and what they are here."""
    return {pair.there: pair.here for pair in pairs if pair.here in FLAGS}


def _by_rank(pairs: Sequence[Pair], names: Collection[str]) -> list[str]:
    flags = _flags(pairs)
    return sorted(names, key=lambda name: (_RANK.get(flags.get(name, ""), len(_RANK)), name))
