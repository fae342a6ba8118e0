"""Conditions: from react-querybuilder's JSON to a checked tree.

The shape is that editor's `RuleGroupType` (https://react-querybuilder.js.org/docs/typescript): groups with
`combinator`, `not` and `rules`; tests with `field`, `operator` and `value`. Lists may be arrays or, as the editor's
inputs write them, comma-separated text; numbers may be text too. `muted` parts are left out, as in its exports;
`id`, `path` and `disabled` are the editor's own and mean nothing here.

Truth is two-valued. A missing value, or one of another type than the field's, makes a positive operator false and its
negation true: `score < 10` is false for who has no score, `country != "DE"` is true for who has no country.

A test on `contact.segments` becomes the conditions of the segments it names, here and now.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from math import isfinite
from typing import TypeAlias

from app.engine.fields import SEGMENTS, Field, FieldType, Vocabulary
from app.errors import Fault, InvalidInput

MAX_DEPTH = 12
MAX_TESTS = 500
MAX_TEXT = 4000

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Value: TypeAlias = str | Decimal | bool | datetime


class Operator(StrEnum):
    """react-querybuilder's default operators, by their names there."""

    EQ = "="
    NE = "!="
    LT = "<"
    GT = ">"
    LE = "<="
    GE = ">="
    CONTAINS = "contains"
    BEGINS = "beginsWith"
    ENDS = "endsWith"
    NOT_CONTAINS = "doesNotContain"
    NOT_BEGINS = "doesNotBeginWith"
    NOT_ENDS = "doesNotEndWith"
    NULL = "null"
    NOT_NULL = "notNull"
    IN = "in"
    NOT_IN = "notIn"
    BETWEEN = "between"
    NOT_BETWEEN = "notBetween"


NEGATIONS = {
    Operator.NE: Operator.EQ,
    Operator.NOT_CONTAINS: Operator.CONTAINS,
    Operator.NOT_BEGINS: Operator.BEGINS,
    Operator.NOT_ENDS: Operator.ENDS,
    Operator.NOT_NULL: Operator.NULL,
    Operator.NOT_IN: Operator.IN,
    Operator.NOT_BETWEEN: Operator.BETWEEN,
}
"""Each negation and the positive operator whose exact opposite it is."""

_PRESENCE = {Operator.NULL, Operator.NOT_NULL}
_LISTS = {Operator.IN, Operator.NOT_IN}
_RANGES = {Operator.BETWEEN, Operator.NOT_BETWEEN}
_EQUALITY = {Operator.EQ, Operator.NE} | _LISTS
_ORDER = {Operator.LT, Operator.GT, Operator.LE, Operator.GE} | _RANGES
_PARTS = {Operator.CONTAINS, Operator.NOT_CONTAINS}
_ENDS = {Operator.BEGINS, Operator.ENDS, Operator.NOT_BEGINS, Operator.NOT_ENDS}

ALLOWED: dict[FieldType, set[Operator]] = {
    FieldType.TEXT: _PRESENCE | _EQUALITY | _ORDER | _PARTS | _ENDS,
    FieldType.NUMBER: _PRESENCE | _EQUALITY | _ORDER,
    FieldType.BOOLEAN: _PRESENCE | _EQUALITY,
    FieldType.DATETIME: _PRESENCE | _EQUALITY | _ORDER,
    FieldType.TAGS: _PRESENCE | _EQUALITY | _PARTS,
}


@dataclass(frozen=True)
class Test:
    """One comparison. `operator` is a positive one; `negated` says whether its opposite was asked.

    `values` holds none for `null`, two for `between`, any number for `in`, else one. `other` is the field on the
    right-hand side when the test compares two fields; then `values` is empty. `type` is what both sides are read as.
    """

    __test__ = False

    field: Field
    operator: Operator
    negated: bool
    type: FieldType | None
    values: tuple[Value, ...] = ()
    other: Field | None = None


@dataclass(frozen=True)
class Group:
    """All (`and`) or any (`or`) of its parts, or the opposite of that.

    A condition of which everything is muted is an empty `and`, which is true.
    """

    combinator: str
    negated: bool
    parts: "tuple[Group | Test, ...]"


Condition = Group | Test


def parse(condition: Json, vocabulary: Vocabulary, pointer: str = "") -> Condition:
    """The checked tree of a condition.

    Raises InvalidInput with one fault for each thing wrong, each with a JSON pointer that starts with `pointer`.
    """
    reader = _Reader(vocabulary)
    tree = reader.part(condition, pointer, depth=1)
    if reader.faults:
        raise InvalidInput(*reader.faults)
    return tree if tree is not None else Group("and", negated=False, parts=())


def tests(condition: Condition) -> "list[Test]":
    """Every test of the tree, in order."""
    if isinstance(condition, Test):
        return [condition]
    return [test for part in condition.parts for test in tests(part)]


class _Reader:
    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.faults: list[Fault] = []
        self.count = 0
        self.inside: tuple[str, ...] = ()
        """The segments whose conditions are being read, from outermost to innermost."""

    def fault(self, pointer: str, detail: str) -> None:
        self.faults.append(Fault(pointer, detail))

    def part(self, part: Json, pointer: str, depth: int) -> Condition | None:
        """A group or a test; None if it is muted or wrong."""
        if self.count > MAX_TESTS:
            return None  # said once; reading on would cost without end
        if not isinstance(part, dict):
            self.fault(pointer, "expected an object: a group with 'combinator' and 'rules', or a test with 'field'")
            return None
        is_group = "rules" in part or "combinator" in part
        if is_group:
            tree: Condition | None = self.group(part, pointer, depth)
        else:
            tree = self.test(part, pointer)
        return None if part.get("muted") is True else tree

    def group(self, group: dict[str, Json], pointer: str, depth: int) -> Group | None:
        before = len(self.faults)
        combinator, negated, rules = group.get("combinator"), group.get("not", False), group.get("rules")
        if not isinstance(combinator, str) or combinator.lower() not in ("and", "or"):
            self.fault(f"{pointer}/combinator", "expected 'and' or 'or'")
        if not isinstance(negated, bool):
            self.fault(f"{pointer}/not", "expected true or false")
        if not isinstance(rules, list) or not rules:
            self.fault(f"{pointer}/rules", "expected at least one rule or group; an empty group says nothing")
            return None
        if depth > MAX_DEPTH:
            self.fault(pointer, f"groups are nested deeper than {MAX_DEPTH}")
            return None
        parts = [self.part(part, f"{pointer}/rules/{index}", depth + 1) for index, part in enumerate(rules)]
        if len(self.faults) > before:
            return None
        kept = tuple(part for part in parts if part is not None)
        return Group(str(combinator).lower(), negated is True, kept) if kept else None

    def test(self, test: dict[str, Json], pointer: str) -> Condition | None:
        self.count += 1
        if self.count == MAX_TESTS + 1:
            self.fault(pointer, f"more than {MAX_TESTS} tests in one condition")
        before = len(self.faults)
        field = self.field(test.get("field"), f"{pointer}/field")
        operator = self.operator(test.get("operator"), f"{pointer}/operator")
        if "match" in test:
            self.fault(f"{pointer}/match", "matching inside lists is not supported")
        if field is None or operator is None or len(self.faults) > before:
            return None
        if field.name == SEGMENTS:
            return self.segments(operator, test.get("value"), pointer)
        source = test.get("valueSource", "value")
        if source not in ("value", "field"):
            self.fault(f"{pointer}/valueSource", "expected 'value' or 'field'")
            return None
        positive = NEGATIONS.get(operator, operator)
        kind = field.type or inferred(operator, test.get("value"))
        if kind is not None and operator not in ALLOWED[kind]:
            allowed = ", ".join(sorted(f"'{one}'" for one in ALLOWED[kind]))
            self.fault(f"{pointer}/operator", f"a {kind} field has no operator '{operator}'; it has {allowed}")
            return None
        if positive is Operator.NULL:
            return Test(field, positive, operator is not positive, field.type)
        if source == "field":
            return self.comparison(test, field, operator, pointer)
        assert kind is not None
        values = self.values(operator, kind, test.get("value"), f"{pointer}/value")
        return None if values is None else Test(field, positive, operator is not positive, kind, values)

    def segments(self, operator: Operator, given: Json, pointer: str) -> Group | None:
        """Membership in any of the segments named: their conditions."""
        positive = NEGATIONS.get(operator, operator)
        if positive not in (Operator.EQ, Operator.IN, Operator.CONTAINS):
            self.fault(f"{pointer}/operator", "membership takes '=', 'in', 'contains' and their opposites")
            return None
        keys = as_list(given) if positive is Operator.IN else [given]
        if not keys:
            self.fault(f"{pointer}/value", "expected a segment's key")
            return None
        parts = [self.segment(key, f"{pointer}/value") for key in keys]
        if any(part is None for part in parts):
            return None
        return Group("or", operator is not positive, tuple(part for part in parts if part is not None))

    def segment(self, key: Json, pointer: str) -> Condition | None:
        if not isinstance(key, str) or key not in self.vocabulary.segments:
            known = ", ".join(sorted(self.vocabulary.segments)) or "none yet"
            self.fault(pointer, f"there is no such segment; there is {known}")
            return None
        if key in self.inside:
            self.fault(pointer, f"segment {key!r} would contain itself")
            return None
        outside, before = self.inside, len(self.faults)
        self.inside = (*outside, key)
        tree = self.part(self.vocabulary.segments[key], pointer, len(self.inside) + 1)
        self.inside = outside
        if len(self.faults) > before:
            # What is wrong inside has no place in this condition: all that is said here is which segment it is.
            self.faults[before:] = [Fault(pointer, f"segment {key!r}: {self.faults[before].detail}")]
            return None
        return tree if tree is not None else Group("and", negated=False, parts=())

    def comparison(self, test: dict[str, Json], field: Field, operator: Operator, pointer: str) -> Test | None:
        """A test whose right-hand side is another field, read as the same type."""
        if operator in _LISTS | _RANGES:
            self.fault(f"{pointer}/operator", f"'{operator}' takes values, not a field")
            return None
        other = self.field(test.get("value"), f"{pointer}/value")
        if other is None:
            return None
        kind = field.type or other.type or FieldType.TEXT
        if other.name == SEGMENTS:
            self.fault(f"{pointer}/value", "membership is compared with keys, not with a field")
            return None
        if (other.type or kind) is not kind or kind is FieldType.TAGS:
            self.fault(f"{pointer}/value", f"cannot compare {field.name} ({kind}) with {other.name} ({other.type})")
            return None
        if operator not in ALLOWED[kind]:
            self.fault(f"{pointer}/operator", f"a {kind} field has no operator '{operator}'")
            return None
        positive = NEGATIONS.get(operator, operator)
        return Test(field, positive, operator is not positive, kind, other=other)

    def field(self, name: Json, pointer: str) -> Field | None:
        found = self.vocabulary.find(name) if isinstance(name, str) and is_clean(name) else None
        if found is None:
            known = ", ".join(self.vocabulary.names()) or "none: declare them in 'fields'"
            self.fault(pointer, f"unknown field; a condition on one {self.vocabulary.scope} knows {known}")
        return found

    def operator(self, name: Json, pointer: str) -> Operator | None:
        try:
            return Operator(str(name))
        except ValueError:
            self.fault(pointer, f"unknown operator; there are {', '.join(Operator)}")
            return None

    def values(self, operator: Operator, kind: FieldType, given: Json, pointer: str) -> tuple[Value, ...] | None:
        """The literals of a test, typed; None if one is wrong."""
        before = len(self.faults)
        if operator in _LISTS | _RANGES:
            listed = as_list(given)
            if listed is None:
                self.fault(pointer, "expected a list, or comma-separated text")
                return None
            if operator in _RANGES and len(listed) != 2:
                self.fault(pointer, "expected two values: the lowest and the highest that match")
                return None
            many = isinstance(given, list)
            typed = [
                self.value(kind, one, f"{pointer}/{index}" if many else pointer) for index, one in enumerate(listed)
            ]
        else:
            typed = [self.value(kind, given, pointer)]
        return None if len(self.faults) > before else tuple(one for one in typed if one is not None)

    def value(self, kind: FieldType, given: Json, pointer: str) -> Value | None:
        typed = READERS[kind](given)
        if typed is None:
            expected = {FieldType.DATETIME: "an RFC 3339 instant or a date", FieldType.TAGS: "a tag"}.get(kind, kind)
            self.fault(pointer, f"expected {expected}")
        return typed


def inferred(operator: Operator, value: Json) -> FieldType | None:
    """The type in which a property that nobody declared is read: that of what it is compared with.

    Text that looks like a number or an instant means one only beside an ordering operator, since `"12" < "9"` as text
    is never what was meant, while `plan = "12"` may be. None for `null` and `notNull`, which any type answers.
    """
    if operator in _PRESENCE:
        return None
    sample = value if not isinstance(value, list) else (value[0] if value else None)
    if isinstance(sample, bool):
        return FieldType.BOOLEAN
    if isinstance(sample, int | float):
        return FieldType.NUMBER
    if operator in _ORDER:
        listed = as_list(value) if operator in _RANGES else [value]
        for kind in (FieldType.NUMBER, FieldType.DATETIME):
            if listed and all(READERS[kind](one) is not None for one in listed):
                return kind
    return FieldType.TEXT


def as_list(given: Json) -> list[Json] | None:
    """The values of `in` and `between`: an array, or text split at its commas, blanks left out."""
    if isinstance(given, list):
        return given
    if isinstance(given, str):
        return [part.strip() for part in given.split(",") if part.strip()]
    if isinstance(given, int | float) and not isinstance(given, bool):
        return [given]
    return None


def is_clean(text: str) -> bool:
    """Whether Postgres can hold this text: no NUL, no half of a surrogate pair, not too long."""
    if "\x00" in text or len(text) > MAX_TEXT:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _text(given: Json) -> str | None:
    return given if isinstance(given, str) and is_clean(given) else None


def _number(given: Json) -> Decimal | None:
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        return None
    if isinstance(given, float) and not isfinite(given):
        return None
    try:
        number = Decimal(str(given).strip())
    except (InvalidOperation, ValueError):
        return None
    if not number.is_finite() or abs(number.adjusted()) > 300 or len(number.as_tuple().digits) > 1_000:
        return None
    return number


_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def _boolean(given: Json) -> bool | None:
    if isinstance(given, bool):
        return given
    if isinstance(given, int | str):
        return _WORDS.get(str(given).strip().lower())
    return None


def _instant(given: Json) -> datetime | None:
    """RFC 3339, or a date (its first instant); without a zone it is UTC."""
    if not isinstance(given, str) or len(given) < 10 or not given[:4].isdigit():
        return None
    try:
        instant = datetime.fromisoformat(given.strip().upper())  # RFC 3339 allows a small t and z
        instant = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
        return instant.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


READERS: dict[FieldType, Callable[[Json], Value | None]] = {
    FieldType.TEXT: _text,
    FieldType.NUMBER: _number,
    FieldType.BOOLEAN: _boolean,
    FieldType.DATETIME: _instant,
    FieldType.TAGS: _text,
}
