"""The naive judge: what conditions, scores and flags mean, in plain Python, one thing at a time.

It shares no code with app/engine, so that the two can disagree: it is written from docs/scoring.md. It reads the
documented JSON of a condition, raw events and raw facts; it knows nothing of tallies, counters, versions or SQL. Slow
on purpose: whatever is asked for is worked out anew, from the beginning.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation, localcontext
from math import isfinite
from string import ascii_uppercase
from typing import Any, Literal, NamedTuple

Json = Any  # Any: whatever JSON can say
Types = Mapping[str, str]
"""Field name → text, number, boolean, datetime or tags: what the caller declared."""

_EVENT = {"event.type": "text", "event.source": "text", "event.occurred_at": "datetime", "event.human": "boolean"}
_CONTACT = {
    "contact.email": "text",
    "contact.email_domain": "text",
    "contact.email_quality": "tags",
    "contact.name": "text",
    "contact.stage": "text",
    "contact.tags": "tags",
    "contact.opted_out": "boolean",
    "contact.bounced": "boolean",
    "contact.bounce_status": "text",
    "contact.created_at": "datetime",
    "contact.last_event_at": "datetime",
    "contact.days_inactive": "number",
    "contact.segments": "tags",
}
_NAMED = {
    "contact.score.": ("number", "scores"),
    "contact.band.": ("text", "bands"),
    "contact.measures.": ("number", "measures"),
}
"""What a field of a contact begins with, if a key follows → its type, and where a record holds it, by key."""
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
class _Answers:
    """What is found out when it is asked for: by key a score, band or measure, or whether a segment has the contact.

    To find out everything beforehand would never end: a segment would ask for all segments, itself among them.
    """

    ask: Callable[[str], Any]  # Any: of what is asked for; None if there is none

    def get(self, key: str, otherwise: Any) -> Any:  # Any: as above
        found = self.ask(key)
        return otherwise if found is None else found

    def __contains__(self, key: str) -> bool:
        return bool(self.ask(key))


@dataclass(frozen=True)
class _Record:
    scope: str
    said: Json
    as_of: date
    types: Types

    def type(self, name: str) -> str | None:
        fixed = {"event": _EVENT, "contact": _CONTACT, "record": {}}[self.scope]
        named = self._named(name)
        return fixed.get(name) or (named[0] if named else None) or self.types.get(name)

    def _named(self, name: str) -> tuple[str, str, str] | None:
        """Type, place and key of a field that ends in a key."""
        if self.scope == "contact":
            for prefix, (kind, place) in _NAMED.items():
                if name.startswith(prefix):
                    return kind, place, name.removeprefix(prefix)
        return None

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
        if named := self._named(name):
            _, where, key = named
            answers = self.said.get(where)
            return answers.get(key, _MISSING) if isinstance(answers, dict | _Answers) else _MISSING
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
            is_number = isinstance(found, int | float | Decimal) and not isinstance(found, bool)
            return _exact(found) if is_number and _can_be_held(found) else None
        case "boolean":
            return found if isinstance(found, bool) else None
        case "datetime":
            return instant(found) if isinstance(found, str) else None
        case "tags":
            if isinstance(found, _Answers):
                return found
            tags = found if isinstance(found, list) else []
            return [tag.lower() for tag in tags if isinstance(tag, str) and _can_be_held(tag)] or None
    raise AssertionError(kind)


def _exact(number: float | Decimal) -> Decimal:
    """The number as JSON writes it."""
    return number if isinstance(number, Decimal) else Decimal(repr(number))


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
    """A rule, as docs/scoring.md says. What its kind does not know stays as it is."""

    kind: str
    """event, absence or profile."""
    condition: Json
    points: Decimal
    window_days: int | Literal["unlimited"] | None = None
    """None: as the model says."""
    max_per_day: int | None = None
    max_points: Decimal | None = None
    distinct_by: str | None = None
    max_count: int | None = None
    at_least: int | None = None
    decay: Json = None
    audience: Json = None
    group: str | None = None
    after_days: int | None = None
    max_times: int | None = 1
    """None: without end."""
    per_unit_of: Json = None

    def said(self, id: str, name: str) -> dict[str, Json]:  # noqa: A002 - what it is called in the API
        """The rule in JSON."""
        unit = self.per_unit_of
        return {
            "id": id,
            "name": name,
            "kind": self.kind,
            "condition": self.condition,
            "points": _plain(self.points),
            "window_days": self.window_days,
            "distinct_by": self.distinct_by,
            "max_per_day": self.max_per_day,
            "max_count": self.max_count,
            "at_least": self.at_least,
            "decay": self.decay,
            "max_points": _plain(self.max_points),
            "audience": self.audience,
            "group": self.group,
            "after_days": self.after_days,
            "max_times": self.max_times if self.kind == "absence" else None,
            "per_unit_of": unit and {"field": unit["field"], "min": unit.get("min"), "max": unit.get("max")},
        }


@dataclass(frozen=True)
class Sheet:
    """A scoring model: its rules, and what else it says."""

    rules: Sequence[Rule] = ()
    audience: Json = None
    min: Decimal | None = None
    max: Decimal | None = None
    window_days: int | None = None
    groups: Sequence[Mapping[str, Json]] = ()
    """Each a name and max_points."""
    bands: Sequence[Mapping[str, Json]] = ()
    """Each a name, a colour, and the least value that lies in it (min; None: any)."""
    combine: Json = None

    def spec(self) -> dict[str, Json]:
        """What it says beside rules and bands, in JSON."""
        return {
            "audience": self.audience,
            "min": _plain(self.min),
            "max": _plain(self.max),
            "window_days": self.window_days,
            "groups": [{"name": one["name"], "max_points": _plain(_decimal(one["max_points"]))} for one in self.groups],
            "combine": self.combine,
            "objective": None,
            "owner": None,
        }


@dataclass(frozen=True)
class Measure:
    condition: Json
    aggregate: str
    """count, sum or distinct."""
    of: str | None = None
    window_days: int | None = None


@dataclass(frozen=True)
class Adjustment:
    kind: str
    """points, override or reset."""
    model: str | None
    """None: all models."""
    points: Decimal | None
    from_day: date | None
    """Of a reset; None: the day after it was made."""
    created_at: datetime
    ends_on: date | None = None
    revoked_at: datetime | None = None


class Event(NamedTuple):
    """An event as it was accepted. `received_at` matters to the silence since: nobody was seen in the future."""

    type: str
    source: str
    occurred_at: datetime
    received_at: datetime
    properties: Json


@dataclass(frozen=True)
class Case:
    """All about one contact, and what the deployment it is in says."""

    contact: Json
    """The contact as the API shows it; its last_event_at is taken from the events."""
    events: Sequence[Event] = ()
    """Each once, in any order."""
    adjustments: Sequence[Adjustment] = ()
    models: Mapping[str, Sheet] = field(default_factory=dict)
    segments: Mapping[str, Json] = field(default_factory=dict)
    """Key → condition."""
    measures: Mapping[str, Measure] = field(default_factory=dict)
    types: Types = field(default_factory=dict)
    """Of the properties that somebody declared."""


def value(case: Case, key: str, as_of: date, at: datetime | None = None) -> Decimal | None:
    """The value in the model that everybody reads, at the instant `at` of the UTC day `as_of` (its last, if not said).

    None if the contact has none there, or nobody knows such a model.
    """
    with localcontext(_EXACT):
        return _value(key, _moment(case, as_of, at))


def computed(case: Case, key: str, as_of: date, at: datetime | None = None) -> Decimal | None:
    """The same, were there no override on this model."""
    with localcontext(_EXACT):
        return _computed(key, _moment(case, as_of, at))


def contributions(case: Case, key: str, as_of: date, at: datetime | None = None) -> list[tuple[Rule, Decimal]]:
    """What each rule gives after its own limits, whatever the groups, bounds and audience of the model say."""
    with localcontext(_EXACT):
        return _contributions(key, _moment(case, as_of, at))


def band(case: Case, key: str, as_of: date, at: datetime | None = None) -> str | None:
    """The name of the band that the value lies in."""
    with localcontext(_EXACT):
        return _band(key, _moment(case, as_of, at))


def measured(case: Case, key: str, as_of: date, at: datetime | None = None) -> Decimal | None:
    """What the measure says; None if nobody knows it."""
    with localcontext(_EXACT):
        return _measured(key, _moment(case, as_of, at))


def segments(case: Case, as_of: date, at: datetime | None = None) -> set[str]:
    """The keys of the segments that have the contact."""
    with localcontext(_EXACT):
        moment = _moment(case, as_of, at)
        return {key for key in case.segments if _is_in(key, moment)}


def score(rules: Iterable[Rule], events: Sequence[Event], contact: Json, as_of: date) -> Decimal:
    """What a model of these rules and nothing else gives on the UTC day `as_of`, from every event of the contact."""
    total = value(Case(contact, events, models={"": Sheet(tuple(rules))}), "", as_of)
    assert total is not None  # it has no audience
    return total


def given(rule: Rule, events: Sequence[Event], contact: Json, as_of: date) -> Decimal:
    """What one rule gives."""
    [(_, points)] = contributions(Case(contact, events, models={"": Sheet((rule,))}), "", as_of)
    return points


# --- numbers ----------------------------------------------------------------------------------------------------------


_EXACT = Context(prec=4000)
"""So many digits that nothing is rounded but where the page says so."""


def _rounded(number: Decimal, places: str = "0.01") -> Decimal:
    """Half away from zero, which is what decimal calls half up."""
    return number.quantize(Decimal(places), ROUND_HALF_UP)


def _within(number: Decimal, least: Decimal | None, most: Decimal | None) -> Decimal:
    if least is not None:
        number = max(number, least)
    if most is not None:
        number = min(number, most)
    return number


def _decimal(said: Json) -> Decimal:
    """A number that a rule or model says, as a number or as text."""
    return Decimal(str(said))


def _plain(number: Decimal | None) -> str | None:
    return None if number is None else f"{number:f}"


# --- one contact at one moment ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Moment:
    case: Case
    day: date
    at: datetime


def _moment(case: Case, as_of: date, at: datetime | None) -> _Moment:
    return _Moment(case, as_of, at or datetime.combine(as_of, time.max, UTC))


def _day(moment: datetime) -> date:
    return moment.astimezone(UTC).date()


def _contact(moment: _Moment) -> Json:
    """What a condition sees of the contact."""
    seen = [min(event.occurred_at, event.received_at) for event in moment.case.events]
    seen = [one for one in seen if one <= moment.at]
    return {
        **moment.case.contact,
        "last_event_at": max(seen).isoformat() if seen else None,
        "scores": _Answers(lambda key: _value(key, moment)),
        "bands": _Answers(lambda key: _band(key, moment)),
        "measures": _Answers(lambda key: _measured(key, moment)),
        "segments": _Answers(lambda key: _is_in(key, moment)),
    }


def _is_one(condition: Json, moment: _Moment) -> bool:
    """Whether the contact matches; None always holds."""
    if condition is None:
        return True
    return matches(condition, "contact", _contact(moment), moment.day, moment.case.types)


def _is_in(segment: str, moment: _Moment) -> bool:
    """Tags compare without case."""
    return any(
        _is_one(condition, moment) for key, condition in moment.case.segments.items() if key.lower() == segment.lower()
    )


def _matching(
    condition: Json, moment: _Moment, *, window_days: int | None = None, from_day: date | None = None
) -> list[tuple[date, Json]]:
    """Day and record of each event that the condition holds for, of those that count at this moment."""
    found = []
    for event in moment.case.events:
        day = _day(event.occurred_at)
        if day > moment.day or (event.occurred_at > moment.at and event.received_at > moment.at):
            continue
        if window_days is not None and (moment.day - day).days >= window_days:
            continue
        if from_day is not None and day < from_day:
            continue
        record = {
            "type": event.type,
            "source": event.source,
            "occurred_at": event.occurred_at.astimezone(UTC).isoformat(),
            "properties": event.properties,
        }
        if condition is None or matches(condition, "event", record, moment.day, moment.case.types):
            found.append((day, record))
    return found


def _scalar(name: str, record: Json, moment: _Moment) -> Json:
    """A text, number or boolean that an event holds; None if it holds none there."""
    found = _Record("event", record, moment.day, {})._raw(name)
    return found if isinstance(found, str | int | float) and _can_be_held(found) else None


def _distinct(name: str, record: Json, moment: _Moment) -> str | None:
    """What tells its value from others."""
    found = _scalar(name, record, moment)
    if found is None:
        return None
    return found.lower() if isinstance(found, str) else _written(found)


def _measured(key: str, moment: _Moment) -> Decimal | None:
    if key not in moment.case.measures:
        return None
    measure = moment.case.measures[key]
    records = [record for _, record in _matching(measure.condition, moment, window_days=measure.window_days)]
    if measure.aggregate == "count":
        return Decimal(len(records))
    assert measure.of is not None
    if measure.aggregate == "distinct":
        values = {_distinct(measure.of, record, moment) for record in records}
        return Decimal(len(values - {None}))
    assert measure.aggregate == "sum"
    total = Decimal(0)
    for record in records:
        found = _scalar(measure.of, record, moment)
        is_number = isinstance(found, int | float) and not isinstance(found, bool)
        if is_number and len(_written(found)) <= 60:
            total += _exact(found)
    return total


# --- what a rule gives ------------------------------------------------------------------------------------------------


def _contributions(key: str, moment: _Moment) -> list[tuple[Rule, Decimal]]:
    sheet = moment.case.models[key]
    return [(rule, _given(rule, sheet, key, moment)) for rule in sheet.rules]


def _given(rule: Rule, sheet: Sheet, key: str, moment: _Moment) -> Decimal:
    if not _is_one(rule.audience, moment):
        return Decimal(0)
    reset = _reset(key, moment)
    match rule.kind:
        case "event":
            points = _given_for_events(rule, sheet, reset, moment)
        case "absence":
            points = rule.points * _times(rule, reset, moment)
        case "profile":
            points = rule.points * _units(rule, moment) if _is_one(rule.condition, moment) else Decimal(0)
        case _:
            raise AssertionError(rule.kind)
    points = _rounded(points)
    return points if rule.max_points is None else _within(points, -rule.max_points, rule.max_points)


def _given_for_events(rule: Rule, sheet: Sheet, reset: date | None, moment: _Moment) -> Decimal:
    days = _counted(rule, sheet, reset, moment)
    worth = [_factor(rule.decay, (moment.day - day).days) for day in days]
    if rule.at_least is None:
        return rule.points * sum(worth)
    return rule.points * worth[0] if len(days) >= rule.at_least else Decimal(0)


def _counted(rule: Rule, sheet: Sheet, reset: date | None, moment: _Moment) -> list[date]:
    """The days of the events that are counted, the newest first."""
    window: int | str | None = rule.window_days if rule.window_days is not None else sheet.window_days
    found = _matching(rule.condition, moment, window_days=window if isinstance(window, int) else None, from_day=reset)
    days = [day for day, _ in found]
    if rule.distinct_by is not None:
        newest: dict[str, date] = {}
        for day, record in found:
            told_by = _distinct(rule.distinct_by, record, moment)
            if told_by is not None:
                newest[told_by] = max(day, newest.get(told_by, day))
        days = list(newest.values())
    days.sort(reverse=True)
    if rule.max_per_day is not None:
        a_day = Counter(days)
        days = [day for day, n in a_day.items() for _ in range(min(n, rule.max_per_day))]
    return days[: rule.max_count]


def _factor(decay: Json, age: int) -> Decimal:
    """What is left of an event at this age, of 1."""
    if decay is None:
        return Decimal(1)
    if "steps" in decay:
        percent = Decimal(100)
        for step in decay["steps"]:
            if age >= step["after_days"]:
                percent = _decimal(step["percent"])
        return percent / 100
    every = decay["every_days"]
    with localcontext(prec=60):
        half_lives = Decimal(age // every * every) / _decimal(decay["half_life_days"])
        factor = _rounded(Decimal("0.5") ** half_lives, "0.0001")
    return factor if factor >= Decimal("0.01") else Decimal(0)


def _times(rule: Rule, reset: date | None, moment: _Moment) -> int:
    """How many times the silence has grown by after_days."""
    assert rule.after_days is not None
    days = [day for day, _ in _matching(rule.condition, moment, from_day=reset)]
    if days:
        begins = max(days)
    else:
        created_at = _typed(moment.case.contact["created_at"], "datetime")
        begins = _day(created_at)
    if reset is not None:
        begins = max(begins, reset)
    times = max((moment.day - begins).days // rule.after_days, 0)
    return times if rule.max_times is None else min(times, rule.max_times)


def _units(rule: Rule, moment: _Moment) -> Decimal:
    """What the points of a profile rule are multiplied by."""
    if rule.per_unit_of is None:
        return Decimal(1)
    said = rule.per_unit_of
    found = _Record("contact", _contact(moment), moment.day, moment.case.types).value(said["field"], "number")
    if found is None:
        return Decimal(0)
    least, most = said.get("min"), said.get("max")
    return _within(found, None if least is None else _decimal(least), None if most is None else _decimal(most))


# --- what a model makes of it -----------------------------------------------------------------------------------------


def _value(key: str, moment: _Moment) -> Decimal | None:
    if key not in moment.case.models:
        return None
    overrides = _made("override", key, moment)
    if overrides and _is_in_force(overrides[-1], moment):  # it ended those before it, even if it has ended itself
        return overrides[-1].points
    return _computed(key, moment)


def _computed(key: str, moment: _Moment) -> Decimal | None:
    sheet = moment.case.models.get(key)
    if sheet is None or not _is_one(sheet.audience, moment):
        return None
    total = _by_groups(key, moment) if sheet.combine is None else _combined(key, moment)
    if total is None:
        return None
    total += sum((one.points or 0 for one in _points_adjustments(key, moment)), Decimal(0))
    return _within(total, sheet.min, sheet.max)


def _by_groups(key: str, moment: _Moment) -> Decimal:
    limits = {group["name"]: _decimal(group["max_points"]) for group in moment.case.models[key].groups}
    total = Decimal(0)
    in_group = dict.fromkeys(limits, Decimal(0))
    for rule, points in _contributions(key, moment):
        if rule.group is None:
            total += points
        else:
            in_group[rule.group] += points
    for name, points in in_group.items():
        total += _within(points, -limits[name], limits[name])
    return total


def _combined(key: str, moment: _Moment) -> Decimal | None:
    """The sum of the parts, or the place of the cell; None without a cell."""
    sheet = moment.case.models[key]
    assert not sheet.rules, "a combined model is made of others"
    if "sum" in sheet.combine:
        values = [(_decimal(part["weight"]), _value(part["model"], moment)) for part in sheet.combine["sum"]]
        return sum((_rounded(weight * one) for weight, one in values if one is not None), Decimal(0))
    grid = sheet.combine["grid"]
    row, column = _band(grid["rows"], moment), _band(grid["columns"], moment)
    if row is None or column is None:
        return None
    letter = ascii_uppercase[_band_names(grid["rows"], moment).index(row)]
    number = 1 + _band_names(grid["columns"], moment).index(column)
    return dict(_bands(key, moment))[f"{letter}{number}"]


def _band(key: str, moment: _Moment) -> str | None:
    worth = _value(key, moment)
    if worth is None:
        return None
    return next((name for name, least in _bands(key, moment) if worth >= least), None)


def _bands(key: str, moment: _Moment) -> list[tuple[str, Decimal]]:
    """Name and least value of each, from the highest down. Those of a grid are its cells."""
    sheet = moment.case.models[key]
    if sheet.combine is None or "grid" not in sheet.combine:
        least = [(one["name"], Decimal("-Infinity" if one["min"] is None else str(one["min"]))) for one in sheet.bands]
        return sorted(least, key=lambda one: one[1], reverse=True)
    rows = len(_band_names(sheet.combine["grid"]["rows"], moment))
    columns = len(_band_names(sheet.combine["grid"]["columns"], moment))
    assert rows <= len(ascii_uppercase)
    cells = [f"{letter}{number}" for letter in ascii_uppercase[:rows] for number in range(1, columns + 1)]
    return [(cell, Decimal(len(cells) - n)) for n, cell in enumerate(cells)]


def _band_names(key: str, moment: _Moment) -> list[str]:
    return [name for name, _ in _bands(key, moment)]


# --- adjustments ------------------------------------------------------------------------------------------------------


def _made(kind: str, key: str, moment: _Moment) -> list[Adjustment]:
    """Those that concern the model and had been made by then, whether they still hold or not; the newest last."""
    found = [one for one in moment.case.adjustments if one.kind == kind and one.model in (None, key)]
    return sorted((one for one in found if one.created_at <= moment.at), key=lambda one: one.created_at)


def _is_in_force(one: Adjustment, moment: _Moment) -> bool:
    has_ended = one.ends_on is not None and moment.day >= one.ends_on
    is_revoked = one.revoked_at is not None and moment.at >= one.revoked_at
    return not has_ended and not is_revoked


def _reset(key: str, moment: _Moment) -> date | None:
    """The first day that counts; None if every day does."""
    resets = [one for one in _made("reset", key, moment) if _is_in_force(one, moment)]
    return max((one.from_day or _day(one.created_at) + timedelta(days=1) for one in resets), default=None)


def _points_adjustments(key: str, moment: _Moment) -> list[Adjustment]:
    reset = _reset(key, moment)
    return [
        one
        for one in _made("points", key, moment)
        if _is_in_force(one, moment) and (reset is None or _day(one.created_at) >= reset)
    ]


# --- flags ------------------------------------------------------------------------------------------------------------


class Mail(NamedTuple):
    """A mail event: `address` is the one it named, if any; `bounce` is hard or soft; `message` is what bounced."""

    type: str
    at: datetime
    address: str | None = None
    bounce: str | None = None
    message: str | None = None
    suppressed: bool = False


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
        """An act that says what is so already is no fact, nor is one that would end a complaint."""
        if isinstance(fact, Act) and fact.to == {
            "email": self.address(),
            "opted_out": self.flags().opted_out,
            "bounced": self.flags().bounced,
        }.get(fact.what):
            return
        if isinstance(fact, Act) and fact.what == "opted_out" and not fact.to and self._complaint_stands():
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
        """The latest fact holds; of two at one instant, the restrictive one. A complaint stands whatever follows, but
        for the person's own opt-in."""
        if self._complaint_stands():
            return True
        said = [(act.at, bool(act.to)) for act in self._acts("opted_out")]
        consent = {"email.unsubscribed": True, "email.complained": True, "email.resubscribed": False}
        said += [(one.at, consent[one.type]) for one in self.facts if isinstance(one, Mail) and one.type in consent]
        return max(said)[1] if said else False

    def _complaint_stands(self) -> bool:
        mail = [fact for fact in self.facts if isinstance(fact, Mail)]
        complaints = [one.at for one in mail if one.type == "email.complained"]
        opt_ins = [one.at for one in mail if one.type == "email.resubscribed"]
        return bool(complaints) and all(max(complaints) >= at for at in opt_ins)

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
            and not one.suppressed
            and (not forgiven or one.at > forgiven[-1])
            and (one.address == self.address() if one.address is not None else moved_at is None or one.at >= moved_at)
        ]
        if any(one.type == "email.bounced" and one.bounce == "hard" for one in about):
            return "hard"
        arrived = [one.at for one in about if one.type in ("email.delivered", "email.opened", "email.clicked")]
        soft = [one for one in about if one.type == "email.bounced" and (not arrived or one.at >= max(arrived))]
        for first in soft:
            end = first.at + timedelta(days=self.days)
            within = [number for number, one in enumerate(soft) if first.at <= one.at < end]
            if len({soft[number].message or number for number in within}) >= self.limit:
                return "soft-bounced"
        return "soft" if soft else "none"
