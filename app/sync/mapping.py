"""Which field here is which field there, which way it flows, and what its values mean on the other side. Pure.

A field here is named as conditions name it, without `contact.`: `email`, `name`, `stage`, `tags`, `opted_out`,
`bounced`, `bounced_at`, `bounced_reason`, `bounce_status`, `score.<model>`, `band.<model>`, `properties.<name>`.
`bounced_at` is the flag `bounced` to a CRM that has only a date for it: None is "not bounced".

Two values are equal if they mean the same: a CRM may round a number, cut a text, or have two words for "no".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum
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


def to_there(pair: Pair, value: Any) -> Value:  # Any: a contact's value, as `sync/ours.py` reads it
    """What is written for a value of ours."""
    if pair.here in FLAGS and not value and pair.kind not in (Kind.BOOLEAN, Kind.CHOICE):
        return None
    if value is None:
        return None
    match pair.kind:
        case Kind.BOOLEAN:
            return bool(value)
        case Kind.NUMBER:
            return _number(value, pair.places if pair.places is not None else (0 if _is_score(pair) else None))
        case Kind.INSTANT:
            return instant(value) if isinstance(value, datetime) else str(value)
        case Kind.DAY:
            return value.astimezone(UTC).date().isoformat() if isinstance(value, datetime) else str(value)[:10]
        case Kind.CHOICES:
            return sorted(value) if isinstance(value, list | tuple) else [str(value)]
    if isinstance(value, bool):
        return _word(pair.yes, "Yes") if value else _word(pair.no, "No")
    text = ", ".join(sorted(value)) if isinstance(value, list | tuple) else _text(value)
    return text if pair.max_length is None else text[: pair.max_length]


def to_here(pair: Pair, value: Value) -> Any:  # Any: as above
    """What a value of the CRM's means to us: a boolean for a flag, instants aware, absent and empty alike None."""
    if pair.here == BOUNCED_AT:
        return None if value in (None, "") else _instant(str(value))
    if pair.here in FLAGS:
        return _flag(pair, value)
    if value in (None, "", []):
        return [] if pair.here == TAGS else None
    if pair.here == TAGS:
        return sorted(value) if isinstance(value, list) else sorted(filter(None, map(str.strip, str(value).split(","))))
    return value


def same(pair: Pair, ours: Any, theirs: Value) -> bool:  # Any: as above
    """Whether both sides say the same; of a bounce that has a date, whether both say that there is one."""
    if pair.here == BOUNCED_AT:
        return (ours is None) == (to_here(pair, theirs) is None)
    return bool(to_here(pair, to_there(pair, ours)) == to_here(pair, theirs))


def instant(value: datetime) -> str:
    """As connectors say it: in UTC, to the second."""
    return value.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def _flag(pair: Pair, value: Value) -> bool:
    """Of a choice, a word that is neither yes nor no means that the contact may not be mailed."""
    if value is None or isinstance(value, bool):
        return bool(value)
    word = str(value).lower()
    if word in (*(one.lower() for one in pair.yes), *_YES):
        return True
    return word not in ("", *(one.lower() for one in pair.no), *_NO)


def _number(value: Any, places: int | None) -> int | float:  # Any: a number, or what a property holds
    exact = Decimal(str(value))
    if places is not None:
        exact = exact.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN)
    return int(exact) if exact == exact.to_integral_value() else float(exact)


def _instant(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def _text(value: Any) -> str:  # Any: as above
    return instant(value) if isinstance(value, datetime) else str(value)


def _word(words: tuple[str, ...], default: str) -> str:
    return words[0] if words else default


def _is_score(pair: Pair) -> bool:
    return pair.here.startswith(SCORE)
