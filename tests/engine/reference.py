"""The naive judge: what conditions, scores and flags mean, in plain Python, one thing at a time.

It shares no code with app/engine, so that the two can disagree. It reads the documented JSON of a condition, raw
events and raw facts; it knows nothing of tallies, counters, versions or SQL. Slow on purpose.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Any, NamedTuple

Json = Any  # Any: whatever JSON can say
Types = Mapping[str, str]
"""Field name → text, number, boolean, datetime or tags: what the caller declared."""

_EVENT = {"event.type": "text", "event.source": "text", "event.occurred_at": "datetime"}
_CONTACT = {
    "contact.email": "text",
    "contact.email_domain": "text",
    "contact.name": "text",
    "contact.stage": "text",
    "contact.tags": "tags",
    "contact.opted_out": "boolean",
    "contact.bounced": "boolean",
    "contact.bounce_status": "text",
    "contact.created_at": "datetime",
    "contact.last_event_at": "datetime",
    "contact.days_inactive": "number",
}
_OPPOSITES = {
    "!=": "=",
    "doesNotContain": "contains",
    "doesNotBeginWith": "beginsWith",
    "doesNotEndWith": "endsWith",
    "notNull": "null",
    "notIn": "in",
    "notBetween": "between",
}
_ORDERING = ("<", ">", "<=", ">=", "between", "notBetween")


# --- conditions -------------------------------------------------------------------------------------------------------


def matches(condition: Json, scope: str, record: Json, as_of: date, types: Types | None = None) -> bool:
    """Whether a valid condition holds for a record of the scope: record, event or contact."""
    verdict = _judge(condition, _Record(scope, record, as_of, types or {}))
    return True if verdict is None else verdict


def _judge(part: Json, record: "_Record") -> bool | None:
    """None for what is muted, and for a group in which everything is."""
    if part.get("muted") is True:
        return None
    if "rules" not in part:
        operator = part["operator"]
        if operator in _OPPOSITES:
            return not _holds(part, _OPPOSITES[operator], record)
        return _holds(part, operator, record)
    verdicts = [verdict for one in part["rules"] if (verdict := _judge(one, record)) is not None]
    if not verdicts:
        return None
    verdict = all(verdicts) if part["combinator"].lower() == "and" else any(verdicts)
    return not verdict if part.get("not") else verdict


def _holds(test: Json, operator: str, record: "_Record") -> bool:
    """A positive comparison: false where a value is missing or of another type."""
    name, said = test["field"], test.get("value")
    if operator == "null":
        return record.value(name, record.type(name)) is None
    if test.get("valueSource") == "field":
        kind = record.type(name) or record.type(said) or "text"
        left, right = record.value(name, kind), record.value(said, kind)
        return left is not None and right is not None and _compare(operator, left, [right])
    kind = record.type(name) or type_meant(test["operator"], said)
    left = record.value(name, kind)
    if left is None:
        return False
    wanted = [_constant(kind, one) for one in (_listed(said) if operator in ("in", "between") else [said])]
    if kind == "tags":
        return any(one in left for one in wanted)
    return _compare(operator, left, wanted)


def _compare(operator: str, left: Any, right: list[Any]) -> bool:  # Any: two of one comparable type
    match operator:
        case "=":
            return bool(left == right[0])
        case "<":
            return bool(left < right[0])
        case ">":
            return bool(left > right[0])
        case "<=":
            return bool(left <= right[0])
        case ">=":
            return bool(left >= right[0])
        case "contains":
            return right[0] in left
        case "beginsWith":
            return bool(left.startswith(right[0]))
        case "endsWith":
            return bool(left.endswith(right[0]))
        case "in":
            return left in right
        case "between":
            return bool(right[0] <= left <= right[1])
    raise AssertionError(operator)


def type_meant(operator: str, said: Json) -> str:
    """What a property that nobody declared is read as: the type of what it is compared with.

    Text beside an ordering operator is a number or an instant if all of it looks like one.
    """
    first = said[0] if isinstance(said, list) and said else said
    if isinstance(first, bool):
        return "boolean"
    if isinstance(first, int | float):
        return "number"
    if operator in _ORDERING:
        values = _listed(said) if operator.lower().endswith("between") else [said]
        for kind in ("number", "datetime"):
            if values and all(_constant(kind, one) is not None for one in values):
                return kind
    return "text"


def _listed(said: Json) -> list[Json]:
    if isinstance(said, str):
        return [part.strip() for part in said.split(",") if part.strip()]
    return said if isinstance(said, list) else [said]


def _constant(kind: str, said: Json) -> Any:  # Any: of the kind; None if it is not of it
    """A value as a condition writes it: numbers and booleans may be text there."""
    if kind in ("text", "tags"):
        return said.lower() if isinstance(said, str) else None
    if kind == "datetime":
        return instant(said) if isinstance(said, str) else None
    word = str(said).strip()
    if kind == "boolean":
        return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}.get(word.lower())
    try:
        number = None if isinstance(said, bool) else Decimal(word)
    except InvalidOperation:
        return None
    return number if number is not None and number.is_finite() else None


_INSTANT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?(?:([Zz])|([+-])(\d\d):(\d\d))?)?", re.ASCII
)


def instant(said: str) -> datetime | None:
    """RFC 3339, or a date: its first instant. Without a zone it is UTC."""
    found = _INSTANT.fullmatch(said)
    if found is None:
        return None
    year, month, day, hour, minute, second, part, _, sign, zone_hours, zone_minutes = found.groups()
    try:
        local = datetime(
            int(year),
            int(month),
            int(day),
            int(hour or 0),
            int(minute or 0),
            int(second or 0),
            int((part or "0").ljust(6, "0")),
            tzinfo=UTC,
        )
        ahead = timedelta(hours=int(zone_hours or 0), minutes=int(zone_minutes or 0))
        return local + ahead if sign == "-" else local - ahead
    except (ValueError, OverflowError):
        return None


class _Missing:
    pass


_MISSING = _Missing()


@dataclass(frozen=True)
class _Record:
    scope: str
    said: Json
    as_of: date
    types: Types

    def type(self, name: str) -> str | None:
        fixed = {"event": _EVENT, "contact": _CONTACT, "record": {}}[self.scope]
        return fixed.get(name) or self.types.get(name)

    def value(self, name: str, kind: str | None) -> Any:  # Any: of the kind; None if missing or of another type
        found = self._derived(name) if name in ("contact.email_domain", "contact.days_inactive") else self._raw(name)
        if isinstance(found, _Missing) or not _can_be_held(found):
            return None
        if kind is None:
            return found
        if kind == "text" and self.type(name) is None and isinstance(found, int | float):
            return _written(found)
        return _typed(found, kind)

    def _raw(self, name: str) -> Any:  # Any: JSON, or _MISSING
        if self.scope == "record":
            return self.said.get(name, _MISSING)
        path = name.removeprefix(f"{self.scope}.")
        if not path.startswith("properties."):
            return self.said.get(path, _MISSING)
        path = path.removeprefix("properties.")
        place = self.said.get("properties")
        if not isinstance(place, dict):
            return _MISSING
        if path in place:
            return place[path]
        for step in path.split("."):
            if not isinstance(place, dict) or step not in place:
                return _MISSING
            place = place[step]
        return place

    def _derived(self, name: str) -> Any:  # Any: JSON, or _MISSING
        if name == "contact.days_inactive":
            seen = _typed(self.said.get("last_event_at"), "datetime")
            return _MISSING if seen is None else (self.as_of - seen.date()).days
        email = _typed(self.said.get("email"), "text")
        return email.partition("@")[2] or _MISSING if email is not None else _MISSING


def _typed(found: Json, kind: str) -> Any:  # Any: of the kind, None if `found` is not
    """A value of a record, which is of its type or of none."""
    match kind:
        case "text":
            return found.lower() if isinstance(found, str) and _can_be_held(found) else None
        case "number":
            is_number = isinstance(found, int | float) and not isinstance(found, bool)
            return _exact(found) if is_number and _can_be_held(found) else None
        case "boolean":
            return found if isinstance(found, bool) else None
        case "datetime":
            return instant(found) if isinstance(found, str) else None
        case "tags":
            tags = found if isinstance(found, list) else []
            return [tag.lower() for tag in tags if isinstance(tag, str) and _can_be_held(tag)] or None
    raise AssertionError(kind)


def _exact(number: float) -> Decimal:
    """The number as JSON writes it."""
    return Decimal(repr(number))


def _written(found: float | bool) -> str:
    """A number or boolean beside text: as it is written out, without an exponent."""
    if isinstance(found, bool):
        return str(found).lower()
    exact = _exact(found)
    return f"{abs(exact) if exact == 0 else exact:f}"


def _can_be_held(found: Json) -> bool:
    """Not null, no text with a NUL or half of a surrogate pair in it, no number that JSON cannot say."""
    if isinstance(found, str):
        return "\0" not in found and all(not 0xD800 <= ord(char) < 0xE000 for char in found)
    return found is not None and not (isinstance(found, float) and not isfinite(found))


# --- scores -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rule:
    """As app/engine/rules.py documents it."""

    kind: str
    condition: Json
    points: Decimal
    window_days: int | None = None
    max_per_day: int | None = None
    max_points: Decimal | None = None


class Event(NamedTuple):
    """An event as it was accepted. `received_at` matters to the silence since: nobody was seen in the future."""

    type: str
    source: str
    occurred_at: datetime
    received_at: datetime
    properties: Json


def score(rules: Iterable[Rule], events: Sequence[Event], contact: Json, as_of: date) -> Decimal:
    """What the rules give on the UTC day `as_of`, from every event of the contact, each once.

    `contact` is the contact as the API shows it; its last_event_at is taken from the events.
    """
    return sum((given(rule, events, contact, as_of) for rule in rules), Decimal(0))


def given(rule: Rule, events: Sequence[Event], contact: Json, as_of: date) -> Decimal:
    """What one rule gives."""
    if rule.kind == "profile":
        seen = [min(event.occurred_at, event.received_at) for event in events]
        now = {**contact, "last_event_at": max(seen).isoformat() if seen else None}
        return rule.points if matches(rule.condition, "contact", now, as_of) else Decimal(0)
    a_day: Counter[date] = Counter()
    for event in events:
        day = event.occurred_at.astimezone(UTC).date()
        age = (as_of - day).days
        if age < 0 or (rule.window_days is not None and age >= rule.window_days):
            continue
        record = {
            "type": event.type,
            "source": event.source,
            "occurred_at": event.occurred_at.astimezone(UTC).isoformat(),
            "properties": event.properties,
        }
        if matches(rule.condition, "event", record, as_of):
            a_day[day] += 1
    points = Decimal(0)
    for n in a_day.values():
        points += rule.points * (n if rule.max_per_day is None else min(n, rule.max_per_day))
    if rule.max_points is not None:
        points = min(max(points, -rule.max_points), rule.max_points)
    return points


# --- flags ------------------------------------------------------------------------------------------------------------


class Mail(NamedTuple):
    """A mail event: `address` is the one it named, if any; `bounce` is hard or soft."""

    type: str
    at: datetime
    address: str | None = None
    bounce: str | None = None


class Act(NamedTuple):
    """What a person said of a contact: `what` is email, opted_out or bounced; `to` its new value."""

    what: str
    to: Any  # Any: text, a boolean or None
    at: datetime


class Flags(NamedTuple):
    opted_out: bool
    bounced: bool
    bounce_status: str


@dataclass
class History:
    """A contact's facts, as they came in."""

    email: str | None
    limit: int
    days: int
    facts: list[Mail | Act] = field(default_factory=list)

    def tell(self, fact: Mail | Act) -> None:
        """An act that says what is so already is no fact."""
        if isinstance(fact, Act) and fact.to == {
            "email": self.address(),
            "opted_out": self.flags().opted_out,
            "bounced": self.flags().bounced,
        }.get(fact.what):
            return
        self.facts.append(fact)

    def address(self) -> str | None:
        moves = [act.to for act in self._acts("email")]
        return moves[-1] if moves else self.email

    def flags(self) -> Flags:
        """The flags that follow from all facts, whatever order they came in."""
        status = self._bounce_status()
        return Flags(self._is_opted_out(), status in ("hard", "soft-bounced"), status.removesuffix("-bounced"))

    def _acts(self, what: str) -> list[Act]:
        return sorted((fact for fact in self.facts if isinstance(fact, Act) and fact.what == what), key=lambda a: a.at)

    def _is_opted_out(self) -> bool:
        """The latest fact holds; of two at one instant, the restrictive one."""
        said = [(act.at, bool(act.to)) for act in self._acts("opted_out")]
        consent = {"email.unsubscribed": True, "email.complained": True, "email.resubscribed": False}
        said += [(one.at, consent[one.type]) for one in self.facts if isinstance(one, Mail) and one.type in consent]
        return max(said)[1] if said else False

    def _bounce_status(self) -> str:
        moves, said = self._acts("email"), self._acts("bounced")
        moved_at = moves[-1].at if moves else None
        by_hand = [act for act in said if moved_at is None or act.at > moved_at]
        if by_hand and by_hand[-1].to:
            return "hard"
        forgiven = [act.at for act in said if not act.to]
        about = [
            one
            for one in self.facts
            if isinstance(one, Mail)
            and (not forgiven or one.at > forgiven[-1])
            and (one.address == self.address() if one.address is not None else moved_at is None or one.at >= moved_at)
        ]
        if any(one.type == "email.bounced" and one.bounce == "hard" for one in about):
            return "hard"
        arrived = [one.at for one in about if one.type in ("email.delivered", "email.opened", "email.clicked")]
        soft = sorted(
            one.at for one in about if one.type == "email.bounced" and (not arrived or one.at >= max(arrived))
        )
        for first, last in zip(soft, soft[self.limit - 1 :], strict=False):
            if last - first < timedelta(days=self.days):
                return "soft-bounced"
        return "soft" if soft else "none"
