"""What a model's draft says, in its one written form: fields in a fixed order, defaults left out, rules by their names.

A draft read from a file and one read from the database come to the same document exactly if they say the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias
from uuid import UUID

from pydantic import ValidationError

from app.api.models import ModelIn
from app.api.problems import faults_of
from app.api.problems import pointer as place
from app.api.rules import RuleIn
from app.engine.drafts import MAX_RULES
from app.engine.rules import Rule, RuleKind
from app.engine.sheets import Sheet
from app.errors import Fault, InvalidInput
from app.files.notation import Entry, Rows, Said, whole, write

Document: TypeAlias = dict[str, Said]

CONDITIONS = ("condition", "audience")
_RULE = (
    "name", "kind", "points", "per_unit_of", "condition", "after_days", "max_times", "window_days", "distinct_by",
    "max_per_day", "max_count", "at_least", "decay", "max_points", "audience", "group",
)  # fmt: skip
_BAND = ("name", "color", "min")
_WITHIN = (
    "combinator", "not", "rules", "field", "operator", "valueSource", "value",
    "model", "weight", "rows", "columns", "after_days", "percent", "half_life_days", "every_days", "min", "max",
)  # fmt: skip
"""The order of names further inside; Postgres keeps none."""
_UNSAID = {"not": False, "muted": False, "valueSource": "value"}
_EDITORS_OWN = {"id", "path", "disabled"}
"""What react-querybuilder puts into a condition for itself."""
_EXACT = 2**63


class ModelFile(ModelIn):
    """A document as a file has it."""

    rules: list[RuleIn] = []


@dataclass(frozen=True)
class Draft:
    """What a model's draft says, as the engine reads it. From a file, the ids of its rules mean nothing."""

    key: str
    name: str
    description: str | None
    bands: list[dict[str, Any]]  # Any: JSON
    sheet: Sheet
    rules: list[Rule]

    @property
    def document(self) -> Document:
        sheet = {**self.sheet.to_json(), "min": self.sheet.min, "max": self.sheet.max}
        said: dict[str, Said] = {"key": self.key, "name": self.name, "description": self.description}
        for field in ("objective", "owner", "audience", "min", "max", "window_days", "combine"):
            said[field] = _said(field, sheet[field])
        said["groups"] = Rows({"name": name, "max_points": whole(most)} for name, most in self.sheet.groups.items())
        said["bands"] = Rows({field: _said(field, band[field]) for field in _BAND} for band in self.bands)
        names = distinct([rule.name for rule in self.rules])
        said["rules"] = Rows(_rule(rule, name) for rule, name in zip(self.rules, names, strict=True))
        return {name: value for name, value in said.items() if value not in (None, [])}


def distinct(names: Sequence[str]) -> list[str]:
    """The same names, those that came before with a number after them: in a file a rule is known by its name."""
    found: list[str] = []
    for name in names:
        tries = (name, *(f"{name} ({number})" for number in range(2, len(names) + 2)))
        found.append(next(one for one in tries if one not in found and (one == name or one not in names)))
    return found


def text(drafts: Iterable[Draft]) -> str:
    """A YAML document for each draft."""
    return "---\n".join(_text(draft.document) for draft in drafts)


def _text(document: Document) -> str:
    head = Entry({name: value for name, value in document.items() if name != "rules"})
    rules = document.get("rules")
    if not isinstance(rules, list):
        return write(head)
    return write(head) + "rules:\n" + "\n".join(write(Rows([rule]), indent=2) for rule in rules)


def _rule(rule: Rule, name: str) -> Entry:
    per = rule.per_unit_of
    said = {
        **rule.to_json(),
        "name": name,
        "points": rule.points,
        "max_points": rule.max_points,
        "per_unit_of": per and {"field": per.field, **_given({"min": per.min, "max": per.max})},
    }
    found = _given({field: _said(field, said[field]) for field in _RULE})
    if rule.kind is RuleKind.ABSENCE:
        # Once is what a file means that says nothing; without end has to be said.
        found["max_times"] = rule.max_times
        if rule.max_times == 1:
            del found["max_times"]
    return Entry({field: found[field] for field in _RULE if field in found})


def _given(fields: Mapping[str, Said]) -> dict[str, Said]:
    return {name: value for name, value in fields.items() if value is not None}


def _said(field: str, value: Any) -> Said:  # Any: JSON, with decimals
    value = _condition(value) if field in CONDITIONS else value
    if isinstance(value, dict):
        return {name: _said("", value[name]) for name in _ordered(value.keys())}
    if isinstance(value, list):
        return [_said("", one) for one in value]
    if isinstance(value, float | Decimal):
        return whole(Decimal(str(value)))
    if field == "min" and isinstance(value, str):
        return whole(Decimal(value))
    found: Said = value
    return found


def _condition(value: Any) -> Any:  # Any: JSON
    """The same condition, without what goes without saying and what is the editor's own."""
    if isinstance(value, list):
        return [_condition(one) for one in value]
    if not isinstance(value, dict):
        return value
    kept = {
        name: one
        for name, one in value.items()
        if name not in _EDITORS_OWN and not (name in _UNSAID and one == _UNSAID[name])
    }
    return {name: _condition(one) if name == "rules" else one for name, one in kept.items()}


def _ordered(names: AbstractSet[str]) -> list[str]:
    return [*(name for name in _WITHIN if name in names), *sorted(names - set(_WITHIN))]


def draft(document: Said) -> Draft:
    """A document of a file, as the engine reads it. Raises InvalidInput with a pointer to each fault of its shape."""
    if not isinstance(document, dict):
        raise InvalidInput(Fault("", "expected a model: its 'key', its 'name', and the rest"))
    faults: list[Fault] = []
    given = _with_json(document, faults)
    try:
        said = ModelFile.model_validate(given)
    except ValidationError as fault:
        found = [{**one, "loc": ("body", *one["loc"])} for one in fault.errors(include_url=False)]
        raise InvalidInput(*faults, *faults_of(found, skip=1, document=given)) from None
    names = [rule.name for rule in said.rules]
    twice = [index for index, name in enumerate(names) if name in names[:index]]
    faults += [Fault(f"/rules/{index}/name", "two rules of this model have this name") for index in twice]
    if len(names) > MAX_RULES:
        faults.append(Fault("/rules", f"a model has at most {MAX_RULES} rules"))
    try:
        fields = said.fields(set(ModelIn.model_fields) - {"key"})
    except InvalidInput as fault:
        raise InvalidInput(*faults, *fault.faults) from None
    if faults:
        raise InvalidInput(*faults)
    rules = [Rule.from_json({**rule.fields(), "decay": _decay(rule), "id": UUID(int=0)}) for rule in said.rules]
    return Draft(said.key, said.name, said.description, fields["bands"], Sheet.from_json(fields), rules)


def _decay(rule: RuleIn) -> Any:  # Any: JSON
    return None if rule.decay is None else rule.decay.model_dump(mode="json")


def _with_json(document: Document, faults: list[Fault]) -> Document:
    """The document with its conditions' numbers as JSON has them; what that cannot hold is a fault."""
    found = dict(document)
    if "audience" in found:
        found["audience"] = _json(found["audience"], "/audience", faults)
    rules = found.get("rules")
    if isinstance(rules, list):
        found["rules"] = [
            {
                name: _json(value, f"/rules/{index}/{name}", faults) if name in CONDITIONS else value
                for name, value in rule.items()
            }
            if isinstance(rule, dict)
            else rule
            for index, rule in enumerate(rules)
        ]
    return found


def _json(value: Any, pointer: str, faults: list[Fault]) -> Any:  # Any: as read; JSON
    if isinstance(value, dict):
        return {name: _json(one, pointer + place((name,)), faults) for name, one in value.items()}
    if isinstance(value, list):
        return [_json(one, f"{pointer}/{index}", faults) for index, one in enumerate(value)]
    if (
        isinstance(value, bool)
        or not isinstance(value, int | Decimal)
        or (isinstance(value, int) and -_EXACT <= value < _EXACT)
    ):
        return value
    try:
        near = float(value)
    except OverflowError:
        near = 0.0
    if Decimal(repr(near)) != value:
        faults.append(Fault(pointer, "more digits than a number of JSON holds; write it as text, in quotes"))
    return near
