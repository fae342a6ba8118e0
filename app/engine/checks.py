"""What a model may say: every fault of a sheet or a rule, each with a JSON pointer to its place. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson

from app.engine.conditions import Condition, Json, parse
from app.engine.fields import FieldType, Scope, Vocabulary
from app.engine.rules import MAX_DAYS, MAX_POINTS, MAX_STEPS, SCOPES, UNLIMITED, Rule, RuleKind, named
from app.engine.sheets import MAX_CELLS, Sheet, depends_on
from app.errors import Fault, InvalidInput

_HIGHEST_BAND = 10**15
_MAX_INT = 2**31
_OF_KIND = {
    RuleKind.EVENT: {
        "window_days", "distinct_by", "max_per_day", "max_count", "at_least", "decay", "max_points", "audience",
    },
    RuleKind.ABSENCE: {"after_days", "max_times", "audience"},
    RuleKind.PROFILE: {"per_unit_of", "max_points"},
}  # fmt: skip
"""The fields of a rule that only some kinds have."""
_COUNTS = ("max_per_day", "max_count", "at_least", "max_times")
_DAYS = ("window_days", "after_days")


@dataclass(frozen=True)
class Terms:
    """What a draft may name, and which models each of the other drafts needs."""

    contacts: Vocabulary
    needs: Mapping[str, frozenset[str]]

    def circle(self, key: str, names: Iterable[str]) -> list[str]:
        """Of these models, those by which a model `key` that needs them would come to depend on itself."""
        return sorted(name for name in names if key in self._reached(name))

    def _reached(self, name: str) -> set[str]:
        reached, ahead = {name}, {name}
        while ahead:
            ahead = set().union(*(self.needs.get(one, frozenset()) for one in ahead)) - reached
            reached |= ahead
        return reached


def needs(spec: Mapping[str, Any], rules: Sequence[Mapping[str, Any]], contacts: Vocabulary) -> frozenset[str]:
    """The models that a draft, as it is stored, depends on. What cannot be read depends on nothing."""
    sheet = Sheet.from_json(spec)
    found = set(sheet.parts) | _named(sheet.audience, contacts)
    for rule in map(Rule.from_json, rules):
        found |= _named(rule.audience, contacts)
        if rule.kind is RuleKind.PROFILE:
            found |= _named(rule.condition, contacts)
        if rule.per_unit_of is not None:
            found |= depends_on({rule.per_unit_of.field})
    return frozenset(found)


def _named(condition: Json, contacts: Vocabulary) -> frozenset[str]:
    try:
        return frozenset() if condition is None else depends_on(named(parse(condition, contacts)))
    except InvalidInput:
        return frozenset()


def check_sheet(key: str, sheet: Sheet, bands: Sequence[Mapping[str, Any]], terms: Terms) -> None:  # Any: JSON
    """Raises InvalidInput with a pointer to each fault of what a model says beside its rules."""
    faults = [*_bands(bands), *_groups(sheet), *_combine(key, sheet, terms)]
    if sheet.audience is not None:
        faults += _condition(key, sheet.audience, "/audience", terms)
    for name, bound in (("min", sheet.min), ("max", sheet.max)):
        if bound is not None and not _is_points(bound):
            faults.append(Fault(f"/{name}", f"expected at most {MAX_POINTS} with two decimals"))
    if sheet.min is not None and sheet.max is not None and sheet.min > sheet.max:
        faults.append(Fault("/min", "greater than the maximum"))
    if sheet.window_days is not None and not 0 < sheet.window_days <= MAX_DAYS:
        faults.append(Fault("/window_days", f"expected a positive number up to {MAX_DAYS}"))
    if "grid" in (sheet.combine or {}):
        said = {"bands": bands, "min": sheet.min is not None, "max": sheet.max is not None, "groups": sheet.groups}
        faults += [Fault(f"/{name}", "a grid has none; its cells are its bands") for name, has in said.items() if has]
    if faults:
        raise InvalidInput(*faults)


def _bands(bands: Sequence[Mapping[str, Any]]) -> list[Fault]:  # Any: JSON
    """Bands must differ in name and in `min`, and only one may be open below."""
    faults = []
    for name in ("name", "min"):
        seen: set[object] = set()
        for index, band in enumerate(bands):
            value = band[name].lower() if isinstance(band[name], str) else band[name]
            if value in seen:
                detail = "two bands have this name" if name == "name" else "two bands begin here, so they overlap"
                faults.append(Fault(f"/bands/{index}/{name}", detail))
            seen.add(value)
    for index, band in enumerate(bands):
        if band["min"] is not None and abs(band["min"]) > _HIGHEST_BAND:
            faults.append(Fault(f"/bands/{index}/min", f"expected at most {_HIGHEST_BAND}"))
    return faults


def _groups(sheet: Sheet) -> list[Fault]:
    wrong = [index for index, most in enumerate(sheet.groups.values()) if not (_is_points(most) and most > 0)]
    return [
        Fault(f"/groups/{index}/max_points", f"expected more than 0, at most {MAX_POINTS}, with two decimals")
        for index in wrong
    ]


def _combine(key: str, sheet: Sheet, terms: Terms) -> list[Fault]:
    faults = []
    combine = sheet.combine or {}
    places = [("/combine/grid/rows"), ("/combine/grid/columns")]
    if "sum" in combine:
        places = [f"/combine/sum/{index}/model" for index in range(len(sheet.parts))]
    for at, (place, part) in enumerate(zip(places, sheet.parts, strict=False)):
        if part in sheet.parts[:at]:
            faults.append(Fault(place, "the same model twice"))
        elif part not in terms.contacts.models:
            faults.append(Fault(place, f"there is no scoring model {part!r:.80}"))
        elif part == key or terms.circle(key, [part]):
            faults.append(Fault(place, f"{part!r} depends on this model, so this one would depend on itself"))
        elif "grid" in combine and not 1 <= len(terms.contacts.models[part].bands) <= MAX_CELLS:
            faults.append(Fault(place, f"a grid takes models with 1 to {MAX_CELLS} bands; {part!r} has none such"))
    for at, part in enumerate(combine.get("sum", ())):
        if not _is_points(Decimal(str(part["weight"])), 4):
            faults.append(Fault(f"/combine/sum/{at}/weight", f"expected at most {MAX_POINTS} with four decimals"))
    return faults


def check_groups_used(sheet: Sheet, rules: Sequence[Rule]) -> None:
    """Raises InvalidInput if a rule is in a group that the model lacks."""
    lost = sorted({rule.group for rule in rules if rule.group is not None and rule.group not in sheet.groups})
    if lost:
        raise InvalidInput(Fault("/groups", f"rules are in {', '.join(map(repr, lost))}, which would be gone"))


def check_whole(key: str, sheet: Sheet, rules: Sequence[Rule], contacts: Vocabulary) -> None:
    """Everything again, for what a draft names may have changed since. Raises InvalidInput."""
    faults: list[Fault] = []
    terms = Terms(contacts, {})
    try:
        check_sheet(key, sheet, [], terms)
    except InvalidInput as fault:
        faults += fault.faults
    if rules and "grid" in (sheet.combine or {}):
        faults.append(Fault("/combine", "a grid has no rules of its own; remove them, or the grid"))
    for index, rule in enumerate(rules):
        try:
            check_rule(key, rule, sheet, terms)
        except InvalidInput as fault:
            faults += [one.under(f"/rules/{index}") for one in fault.faults]
    if faults:
        raise InvalidInput(*faults)


def check_rule(key: str, rule: Rule, sheet: Sheet, terms: Terms) -> None:
    """Raises InvalidInput with a pointer to each fault of a rule of the model `key`."""
    faults = _conditions(key, rule, terms)
    decimals = 4 if rule.per_unit_of is not None else 2
    if not _is_points(rule.points, decimals):
        faults.append(Fault("/points", f"expected at most {MAX_POINTS} with {decimals} decimals"))
    faults += _foreign(rule)
    own = _OF_KIND[rule.kind]
    if (
        "max_points" in own
        and rule.max_points is not None
        and not (_is_points(rule.max_points) and rule.max_points > 0)
    ):
        faults.append(Fault("/max_points", f"expected more than 0, at most {MAX_POINTS}, with two decimals"))
    for name in (*_COUNTS, *_DAYS):
        limit = getattr(rule, name)
        highest = MAX_DAYS if name in _DAYS else _MAX_INT - 1
        if name in own and isinstance(limit, int) and not 0 < limit <= highest:
            faults.append(Fault(f"/{name}", f"expected a positive number up to {highest}"))
    if rule.kind is RuleKind.ABSENCE and rule.after_days is None:
        faults.append(Fault("/after_days", "an absence rule needs it: how many days without a matching event"))
    if isinstance(rule.window_days, str) and rule.window_days != UNLIMITED:
        faults.append(Fault("/window_days", f"expected a number of days, or '{UNLIMITED}'"))
    if rule.group is not None and rule.group not in sheet.groups:
        known = ", ".join(sheet.groups) or "none yet; add it to the model's 'groups' first"
        faults.append(Fault("/group", f"the model has no such group; there is {known}"))
    faults += [*_distinct(rule), *_decay(rule), *_per_unit(key, rule, terms)]
    if faults:
        raise InvalidInput(*faults)


def _conditions(key: str, rule: Rule, terms: Terms) -> list[Fault]:
    faults: list[Fault] = []
    if SCOPES[rule.kind] is Scope.CONTACT:
        if rule.condition is not None:
            faults += _condition(key, rule.condition, "/condition", terms)
    else:
        try:
            event_tree(rule.condition)
            faults += unholdable(rule.condition, "/condition")
        except InvalidInput as fault:
            faults += [one.under("/condition") for one in fault.faults]
    if rule.audience is not None:
        faults += _condition(key, rule.audience, "/audience", terms)
    return faults


def _condition(key: str, condition: Json, pointer: str, terms: Terms) -> list[Fault]:
    """The faults of a condition on a contact."""
    try:
        tree = parse(condition, terms.contacts, pointer)
    except InvalidInput as fault:
        return list(fault.faults)
    circle = terms.circle(key, depends_on(named(tree)))
    whose = {one: "its own score" if one == key else f"the score of {one!r}, which depends on it" for one in circle}
    faults = [Fault(pointer, f"this model would look at {whose[one]}") for one in circle]
    return faults + unholdable(condition, pointer)


def unholdable(condition: Json, pointer: str) -> list[Fault]:
    """The fault of a condition whose JSON the database cannot keep; it has room for more than is read of it."""
    try:
        orjson.dumps(condition)
    except TypeError:
        beyond = "a number beyond 64 bits (write it as text), half of a surrogate pair, or too many levels"
        return [Fault(pointer, f"more than can be kept: {beyond}")]
    return [Fault(pointer, "text must not contain the NUL character")] if _has_nul(condition) else []


def _has_nul(said: Json) -> bool:
    if isinstance(said, dict):
        return any("\0" in name or _has_nul(part) for name, part in said.items())
    if isinstance(said, list):
        return any(map(_has_nul, said))
    return isinstance(said, str) and "\0" in said


def event_tree(condition: Json) -> Condition:
    """A condition on events. Raises InvalidInput."""
    return parse(condition, Vocabulary.of(Scope.EVENT))


def _foreign(rule: Rule) -> list[Fault]:
    """Fields that rules of this kind do not have."""
    every = set().union(*_OF_KIND.values())
    foreign = [name for name in sorted(every - _OF_KIND[rule.kind]) if getattr(rule, name) is not None]
    article = "a" if rule.kind is RuleKind.PROFILE else "an"
    faults = [Fault(f"/{name}", f"{article} {rule.kind} rule has no such field") for name in foreign]
    if rule.kind is RuleKind.PROFILE and rule.max_points is not None and rule.per_unit_of is None:
        faults.append(Fault("/max_points", "a profile rule has it only beside 'per_unit_of'; its points count once"))
    return faults


def _distinct(rule: Rule) -> list[Fault]:
    if rule.distinct_by is None or rule.kind is not RuleKind.EVENT:
        return []
    return event_field(rule.distinct_by, "/distinct_by")


def event_field(name: str, pointer: str) -> list[Fault]:
    """The faults of a field whose values are told apart."""
    field = Vocabulary.of(Scope.EVENT).find(name)
    if field is None or field.type is FieldType.DATETIME:
        return [Fault(pointer, "expected event.properties.<name>, event.source or event.type")]
    return []


def _decay(rule: Rule) -> list[Fault]:
    if rule.decay is None or rule.kind is not RuleKind.EVENT:
        return []
    if "steps" in rule.decay:
        return _decay_steps(rule.decay["steps"])
    faults = [
        Fault(f"/decay/{name}", f"expected 1 to {MAX_DAYS} days")
        for name in ("half_life_days", "every_days")
        if not 0 < rule.decay[name] <= MAX_DAYS
    ]
    # A factor is nothing once it is below 0.01, after not quite seven half-lives.
    if not faults and 7 * rule.decay["half_life_days"] / rule.decay["every_days"] > MAX_STEPS:
        faults.append(Fault("/decay/every_days", f"more than {MAX_STEPS} steps; take longer ones"))
    return faults


def _decay_steps(steps: Sequence[Mapping[str, Any]]) -> list[Fault]:  # Any: JSON
    if not 0 < len(steps) <= MAX_STEPS:
        return [Fault("/decay/steps", f"expected 1 to {MAX_STEPS} steps")]
    faults, before = [], 0
    for at, step in enumerate(steps):
        age, percent = step["after_days"], Decimal(str(step["percent"]))
        if not 0 < age <= MAX_DAYS:
            faults.append(Fault(f"/decay/steps/{at}/after_days", f"expected 1 to {MAX_DAYS} days"))
        elif age <= before:
            faults.append(Fault(f"/decay/steps/{at}/after_days", "expected more days than in the step before"))
        if not (0 <= percent <= 100 and _has_decimals(percent, 2)):
            faults.append(Fault(f"/decay/steps/{at}/percent", "expected 0 to 100 with two decimals at most"))
        before = age
    return faults


def _per_unit(key: str, rule: Rule, terms: Terms) -> list[Fault]:
    per = rule.per_unit_of
    if per is None or rule.kind is not RuleKind.PROFILE:
        return []
    faults = []
    field = terms.contacts.find(per.field)
    if field is None or field.type not in (None, FieldType.NUMBER):
        faults.append(Fault("/per_unit_of/field", "expected a numeric field of the contact"))
    circle = terms.circle(key, depends_on({per.field}))
    faults += [Fault("/per_unit_of/field", f"the score of {one!r} depends on this model") for one in circle]
    for name, bound in (("min", per.min), ("max", per.max)):
        if bound is not None and abs(bound) > _HIGHEST_BAND:
            faults.append(Fault(f"/per_unit_of/{name}", f"expected at most {_HIGHEST_BAND}"))
    if per.min is not None and per.max is not None and per.min > per.max:
        faults.append(Fault("/per_unit_of/min", "greater than the maximum"))
    return faults


def _is_points(points: Decimal, decimals: int = 2) -> bool:
    return abs(points) <= MAX_POINTS and _has_decimals(points, decimals)


def _has_decimals(number: Decimal, most: int) -> bool:
    return number == number.quantize(Decimal(1).scaleb(-most))
