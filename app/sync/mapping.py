"""Which field here is which field there, which way it flows, and what its values mean on the other side. Pure.

A field here is named as conditions name it, without `contact.`: `email`, `name`, `stage`, `tags`, `opted_out`,
`bounced`, `bounced_at`, `bounced_reason`, `bounce_status`, `score.<model>`, `band.<model>`, `properties.<name>`.
`bounced_at` is the flag `bounced` to a CRM that has only a date for it: None is "not bounced".

Two values are equal if they mean the same: a CRM may round a number, cut a text, or have two words for "no".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from enum import StrEnum
from math import isfinite
from typing import Any

from app.connectors.shapes import CrmField, Kind, Value

EMAIL, NAME, STAGE, TAGS = "email", "name", "stage", "tags"
OPTED_OUT, BOUNCED, BOUNCED_AT = "opted_out", "bounced", "bounced_at"
BOUNCED_REASON, BOUNCE_STATUS = "bounced_reason", "bounce_status"
SCORE, BAND, PROPERTY = "score.", "band.", "properties."

FLAGS = {OPTED_OUT, BOUNCED, BOUNCED_AT}
"""What a contact may not be mailed for: the restrictive side wins, and it is told first."""
OURS = {BOUNCED_REASON, BOUNCE_STATUS}
"""What we alone say, beside scores and bands."""

_YES, _NO = ("yes", "true", "1"), ("no", "false", "0")
_BITS = 2**63


class Way(StrEnum):
    IN = "in"
    """From the CRM to us."""
    OUT = "out"
    BOTH = "both"


class Policy(StrEnum):
    """Who is right if a field moved on both sides."""

    RESTRICTIVE = "restrictive"
    """Whoever says that the contact may not be mailed. For flags alone."""
    HERE = "here"
    THERE = "there"
    NEWEST = "newest"


@dataclass(frozen=True)
class Pair:
    """One field on both sides."""

    object: str
    here: str
    there: str
    way: Way
    policy: Policy
    kind: Kind
    """Of the field there."""
    places: int | None = None
    """Digits after the decimal point that are told; scores are told whole unless this says more."""
    max_length: int | None = None
    yes: tuple[str, ...] = ()
    """Words there that mean true; the first is written. Empty: Yes."""
    no: tuple[str, ...] = ()

    @property
    def goes_out(self) -> bool:
        return self.way is not Way.IN

    @property
    def comes_in(self) -> bool:
        return self.way is not Way.OUT

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        return {
            "object": self.object,
            "here": self.here,
            "there": self.there,
            "way": self.way.value,
            "policy": self.policy.value,
            "kind": self.kind.value,
            "places": self.places,
            "max_length": self.max_length,
            "yes": list(self.yes),
            "no": list(self.no),
        }

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> "Pair":  # Any: JSON
        return cls(
            said["object"],
            said["here"],
            said["there"],
            Way(said["way"]),
            Policy(said["policy"]),
            Kind(said["kind"]),
            said.get("places"),
            said.get("max_length"),
            tuple(said.get("yes") or ()),
            tuple(said.get("no") or ()),
        )


def default_policy(here: str) -> Policy:
    """Flags are told restrictively, an address is the CRM's, scores are ours, and of anything else the later word."""
    if here in FLAGS:
        return Policy.RESTRICTIVE
    if here in OURS or here.startswith((SCORE, BAND)):
        return Policy.HERE
    return Policy.THERE if here == EMAIL else Policy.NEWEST


def fault_of(pair: Pair, field: CrmField | None) -> str | None:
    """Why these two cannot be mapped so; None if they can. `field` is what the CRM describes, None if nothing."""
    if field is None:
        return f"{pair.object} has no field {pair.there!r}, or it is hidden from our user"
    if pair.goes_out and not field.is_writable:
        return f"{pair.there!r} cannot be written by our user; let it flow in, or map another field"
    if pair.comes_in and (pair.here in OURS or pair.here.startswith((SCORE, BAND))):
        return f"{pair.here!r} is said here alone: it flows out"
    if pair.goes_out and pair.here in (EMAIL, NAME):
        return f"{pair.here!r} is the CRM's to say: it flows in"
    if pair.policy is Policy.RESTRICTIVE and pair.here not in FLAGS:
        return "only a flag can be restrictive"
    return _misfit(pair, field)


def _misfit(pair: Pair, field: CrmField) -> str | None:
    wants = _KINDS.get(pair.here) or next((_KINDS[p] for p in (SCORE, BAND) if pair.here.startswith(p)), None)
    if field.kind is Kind.OTHER or (wants is not None and field.kind not in wants):
        return f"{pair.there!r} holds {field.kind}; {pair.here!r} needs {' or '.join(wants or ())}"
    if pair.goes_out and pair.here in (OPTED_OUT, BOUNCED) and field.kind is Kind.CHOICE:
        missing = [one for one in (_word(pair.yes, "Yes"), _word(pair.no, "No")) if one not in field.options]
        if missing:
            return f"{pair.there!r} has no option {missing[0]!r}; it has {', '.join(field.options)}"
    return None


_TEXTS = (Kind.TEXT, Kind.CHOICE)
_KINDS: dict[str, tuple[Kind, ...]] = {
    OPTED_OUT: (Kind.BOOLEAN, Kind.CHOICE),
    BOUNCED: (Kind.BOOLEAN, Kind.CHOICE),
    BOUNCED_AT: (Kind.INSTANT, Kind.DAY),
    BOUNCED_REASON: _TEXTS,
    BOUNCE_STATUS: _TEXTS,
    EMAIL: (Kind.TEXT,),
    NAME: (Kind.TEXT,),
    STAGE: _TEXTS,
    TAGS: (Kind.CHOICES, Kind.TEXT),
    SCORE: (Kind.NUMBER,),
    BAND: _TEXTS,
}


# --- values -----------------------------------------------------------------------------------------------------------


def fits(pair: Pair, value: Any) -> bool:  # Any: a contact's value, as `sync/ours.py` reads it
    """Whether the field can hold a value of ours at all: no word in a field of numbers, no object anywhere."""
    if value is None or _is_unsaid(pair, value):
        return True
    match pair.kind:
        case Kind.BOOLEAN:
            return _truth(pair, value) is not None
        case Kind.NUMBER:
            return _number(pair, value) is not None
        case Kind.INSTANT | Kind.DAY:
            return _moment(value) is not None
    return isinstance(value, str | bool | int | float | Decimal | datetime | list | tuple)


def to_there(pair: Pair, value: Any) -> Value:  # Any: as above
    """What is written for a value of ours; None for one that does not fit."""
    if value is None or _is_unsaid(pair, value) or not fits(pair, value):
        return None
    match pair.kind:
        case Kind.BOOLEAN:
            return _truth(pair, value)
        case Kind.NUMBER:
            return _number(pair, value)
        case Kind.INSTANT:
            moment = _moment(value)
            return None if moment is None else instant(moment)
        case Kind.DAY:
            moment = _moment(value)
            return None if moment is None else moment.date().isoformat()
        case Kind.CHOICES:
            return sorted(map(_text, value)) if isinstance(value, list | tuple) else [_text(value)]
    if isinstance(value, bool):
        return _word(pair.yes, "Yes") if value else _word(pair.no, "No")
    text = ", ".join(sorted(map(_text, value))) if isinstance(value, list | tuple) else _text(value)
    # No CRM keeps blanks at either end.
    return text.strip()[: pair.max_length].strip() or None


def to_here(pair: Pair, value: Value) -> Any:  # Any: as above
    """What a value of the CRM's means to us: a boolean for a flag, instants aware, absent and empty alike None."""
    if pair.here == BOUNCED_AT:
        return None if value in (None, "") else _moment(value)
    if pair.here in FLAGS:
        return _flag(pair, value)
    if isinstance(value, str):
        value = value.strip()
    if value in ("", []) or value is None:
        return [] if pair.here == TAGS else None
    if pair.here == TAGS:
        return sorted(value) if isinstance(value, list) else sorted(filter(None, map(str.strip, str(value).split(","))))
    if pair.here == EMAIL:
        return str(value).lower()
    return sorted(value) if isinstance(value, list) else value


def same(pair: Pair, ours: Any, theirs: Value) -> bool:  # Any: as above
    """Whether both sides say the same; of a bounce that has a date, whether both say that there is one."""
    if pair.here == BOUNCED_AT:
        return (ours is None) == (theirs in (None, ""))
    if isinstance(ours, bool) and isinstance(theirs, str):
        return ours is (_flag(pair, theirs) if pair.here in FLAGS else _truth(pair, theirs))
    return fits(pair, ours) and bool(to_here(pair, to_there(pair, ours)) == to_here(pair, theirs))


def instant(value: datetime) -> str:
    """As connectors say it: in UTC, to the second."""
    return value.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def _is_unsaid(pair: Pair, value: Any) -> bool:  # Any: as above
    """Whether it is a flag that is down, in a field that says so by being empty."""
    return pair.here in FLAGS and not value and pair.kind not in (Kind.BOOLEAN, Kind.CHOICE)


def _flag(pair: Pair, value: Value) -> bool:
    """Of a choice, a word that is neither yes nor no means that the contact may not be mailed."""
    if value is None or isinstance(value, bool):
        return bool(value)
    truth = _truth(pair, value)
    return bool(str(value).strip()) if truth is None else truth


def _truth(pair: Pair, value: Any) -> bool | None:  # Any: as above
    """A yes or a no, also in words, or as 1 and 0; None for anything else."""
    if isinstance(value, bool):
        return value
    word = _text(value).strip().lower()
    if word in (*(one.lower() for one in pair.yes), *_YES):
        return True
    return False if word in (*(one.lower() for one in pair.no), *_NO) else None


def _number(pair: Pair, value: Any) -> int | float | None:  # Any: as above
    """None for what is no finite number."""
    places = pair.places if pair.places is not None else (0 if pair.here.startswith(SCORE) else None)
    try:
        exact = Decimal(str(value).strip())
        if places is not None and exact.is_finite():
            exact = exact.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN)
    except InvalidOperation:
        return None
    if not exact.is_finite() or not isfinite(float(exact)):
        return None
    return int(exact) if exact == exact.to_integral_value() and abs(exact) < _BITS else float(exact)


def _moment(value: Any) -> datetime | None:  # Any: as above
    """An instant, from text too; one without a zone is UTC's. None for anything else."""
    try:
        found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value).strip())
        return (found.replace(tzinfo=UTC) if found.tzinfo is None else found).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _text(value: Any) -> str:  # Any: as above
    return instant(value) if isinstance(value, datetime) else str(value)


def _word(words: tuple[str, ...], default: str) -> str:
    return words[0] if words else default
