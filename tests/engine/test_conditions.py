from datetime import date
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from app.engine import compile as compiling
from app.engine import trial
from app.engine.conditions import (
    ALLOWED,
    MAX_DEPTH,
    MAX_TESTS,
    Group,
    Operator,
    parse,
)
from app.engine.conditions import (
    Test as Comparison,
)
from app.engine.conditions import (
    tests as leaves,
)
from app.engine.fields import (
    FIXED,
    SEGMENTS,
    Aggregate,
    FieldType,
    MeasureTerm,
    ModelTerm,
    Scope,
    Vocabulary,
)
from app.engine.rules import digest
from app.engine.tally import Counter, Intake
from app.errors import InvalidInput
from app.store.db import Database, Statement
from app.store.tables import Event, core
from tests.engine import reference

Json = Any  # Any: JSON
TODAY = date(2026, 5, 15)
DECLARED = {
    "text": FieldType.TEXT,
    "number": FieldType.NUMBER,
    "flag": FieldType.BOOLEAN,
    "when": FieldType.DATETIME,
    "tags": FieldType.TAGS,
    "dotted.name": FieldType.TEXT,
}
RECORD = Vocabulary.of(Scope.RECORD, DECLARED)
EVENT = Vocabulary.of(Scope.EVENT)
CONTACT = Vocabulary.of(Scope.CONTACT)


def a_test(field: str, operator: str, value: Json = None, **more: Json) -> dict[str, Json]:
    return {"field": field, "operator": operator, "value": value, **more}


def all_of(*rules: Json, **more: Json) -> dict[str, Json]:
    return {"combinator": "and", "rules": list(rules), **more}


def faults(condition: Json, vocabulary: Vocabulary = RECORD, pointer: str = "") -> dict[str, str]:
    """Pointer → detail of everything that is wrong."""
    with pytest.raises(InvalidInput) as refused:
        parse(condition, vocabulary, pointer)
    assert len(refused.value.faults) == len({fault.pointer for fault in refused.value.faults})
    return {fault.pointer: fault.detail for fault in refused.value.faults}


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "pointer", "word"),
    [
        ("text = 1", "", "expected an object"),
        (None, "", "expected an object"),
        (a_test("colour", "=", "red"), "/field", "unknown field"),
        (a_test("event.type", "=", "red"), "/field", "unknown field"),
        ({"operator": "=", "value": 1}, "/field", "unknown field"),
        (a_test("text\0", "=", "red"), "/field", "unknown field"),
        (a_test("text", "~", "red"), "/operator", "unknown operator"),
        ({"field": "text", "value": "red"}, "/operator", "unknown operator"),
        (a_test("number", "contains", "1"), "/operator", "a number field has no operator 'contains'"),
        (a_test("flag", "<", True), "/operator", "a boolean field has no operator '<'"),
        (a_test("tags", "beginsWith", "a"), "/operator", "a tags field has no operator 'beginsWith'"),
        (a_test("when", "endsWith", "a"), "/operator", "a datetime field has no operator"),
        (a_test("number", "=", "many"), "/value", "expected number"),
        (a_test("number", "=", True), "/value", "expected number"),
        (a_test("number", "=", "NaN"), "/value", "expected number"),
        (a_test("number", "=", "1e999"), "/value", "expected number"),
        (a_test("number", "="), "/value", "expected number"),
        (a_test("flag", "=", "maybe"), "/value", "expected boolean"),
        (a_test("flag", "=", 2), "/value", "expected boolean"),
        (a_test("when", "<", "yesterday"), "/value", "expected an RFC 3339 instant or a date"),
        (a_test("when", "<", "2026-02-30"), "/value", "expected an RFC 3339 instant or a date"),
        (a_test("when", "<", 20260230), "/value", "expected an RFC 3339 instant or a date"),
        (a_test("text", "=", 5), "/value", "expected text"),
        (a_test("text", "=", ["a"]), "/value", "expected text"),
        (a_test("text", "=", "a\0b"), "/value", "expected text"),
        (a_test("text", "=", "\ud800"), "/value", "expected text"),
        (a_test("text", "=", "a" * 4001), "/value", "expected text"),
        (a_test("tags", "=", 5), "/value", "expected a tag"),
        (a_test("text", "in", None), "/value", "expected a list"),
        (a_test("text", "in", ["a", 5, "c"]), "/value/1", "expected text"),
        (a_test("number", "in", "1, two"), "/value", "expected number"),
        (a_test("number", "between", [1]), "/value", "expected two values"),
        (a_test("number", "between", [1, 2, 3]), "/value", "expected two values"),
        (a_test("number", "notBetween", "1"), "/value", "expected two values"),
        (a_test("number", "between", 1), "/value", "expected two values"),
        (a_test("number", "between", ["low", 2]), "/value/0", "expected number"),
        (a_test("text", "=", "number", valueSource="field"), "/value", "cannot compare"),
        (a_test("tags", "=", "tags", valueSource="field"), "/value", "cannot compare"),
        (a_test("text", "=", "colour", valueSource="field"), "/value", "unknown field"),
        (a_test("text", "in", "text", valueSource="field"), "/operator", "takes values, not a field"),
        (a_test("text", "=", "a", valueSource="elsewhere"), "/valueSource", "expected 'value' or 'field'"),
        (a_test("text", "=", "a", match={"mode": "all"}), "/match", "not supported"),
        ({"combinator": "and", "rules": []}, "/rules", "an empty group says nothing"),
        ({"combinator": "and"}, "/rules", "an empty group says nothing"),
        ({"rules": [a_test("text", "=", "a")]}, "/combinator", "expected 'and' or 'or'"),
        (all_of(a_test("text", "=", "a")) | {"combinator": "xor"}, "/combinator", "expected 'and' or 'or'"),
        (all_of(a_test("text", "=", "a"), **{"not": "yes"}), "/not", "expected true or false"),
        (all_of(all_of(a_test("text", "=", 5))), "/rules/0/rules/0/value", "expected text"),
        (all_of(a_test("text", "=", 5, muted=True)), "/rules/0/value", "expected text"),
    ],
)
def test_a_wrong_condition_is_refused_with_a_pointer_to_the_fault(condition: Json, pointer: str, word: str) -> None:
    found = faults(condition)

    assert [pointer] == list(found)
    assert word in found[pointer]


def test_all_faults_are_told_at_once_each_with_its_place() -> None:
    condition = all_of(
        a_test("colour", "~", 1),
        a_test("text", "=", "fine"),
        all_of(a_test("number", "between", ["low", "high"]), "not a test"),
        {"combinator": "and", "rules": []},
    )

    expected = [
        "/condition/rules/0/field",
        "/condition/rules/0/operator",
        "/condition/rules/2/rules/0/value/0",
        "/condition/rules/2/rules/0/value/1",
        "/condition/rules/2/rules/1",
        "/condition/rules/3/rules",
    ]
    assert expected == list(faults(condition, pointer="/condition"))


def test_groups_nest_as_deep_as_is_said_and_no_deeper() -> None:
    deepest: Json = a_test("text", "=", "a")
    for _ in range(MAX_DEPTH):
        deepest = all_of(deepest)

    assert 1 == len(leaves(parse(deepest, RECORD)))
    assert ["/rules/0" * MAX_DEPTH] == list(faults(all_of(deepest)))


def test_a_condition_holds_as_many_tests_as_is_said_and_no_more() -> None:
    most = [a_test("text", "=", "a") for _ in range(MAX_TESTS)]

    assert MAX_TESTS == len(leaves(parse(all_of(*most), RECORD)))
    assert [f"/rules/{MAX_TESTS}"] == list(faults(all_of(*most, *most)))


def test_an_unknown_field_is_answered_with_the_known_ones() -> None:
    assert "event.type" in faults(a_test("contact.email", "=", "a"), EVENT)["/field"]
    assert "contact.properties.<name>" in faults(a_test("contact.mail", "=", "a"), CONTACT)["/field"]
    assert "none: declare them" in faults(a_test("x", "=", "a"), Vocabulary.of(Scope.RECORD))["/field"]
    assert ["/field"] == list(faults(a_test("event.properties.", "=", "a"), EVENT))


# --- what is read -----------------------------------------------------------------------------------------------------


def values(field: str, operator: str, value: Json, vocabulary: Vocabulary = RECORD) -> tuple[object, ...]:
    tree = parse(a_test(field, operator, value), vocabulary)
    assert isinstance(tree, Comparison)
    return tree.values


def test_lists_may_be_arrays_or_comma_separated_text() -> None:
    assert ("a", "b c") == values("text", "in", ["a", "b c"])
    assert ("a", "b c") == values("text", "in", " a, b c,,")
    assert (Decimal(1), Decimal("2.5")) == values("number", "between", "1, 2.5")
    assert (Decimal(7),) == values("number", "in", 7)
    assert () == values("text", "notIn", "")


def test_numbers_and_booleans_may_be_text_in_a_condition() -> None:
    assert (Decimal("1.50"),) == values("number", "=", " 1.50 ")
    assert [True, True, True, True] == [values("flag", "=", said)[0] for said in (True, "Yes", "1", 1)]
    assert [False, False, False, False] == [values("flag", "=", said)[0] for said in (False, "NO", "0", 0)]


def test_an_instant_without_a_zone_is_utc_and_a_date_is_its_first_instant() -> None:
    expected = values("when", "=", "2026-05-01T00:00:00Z")

    assert expected == values("when", "=", "2026-05-01")
    assert expected == values("when", "=", "2026-05-01 00:00")
    assert expected == values("when", "=", "2026-05-01T02:00:00+02:00")


@pytest.mark.parametrize(
    ("operator", "value", "kind"),
    [
        ("=", "12", FieldType.TEXT),
        ("in", "1,2", FieldType.TEXT),
        ("=", 12, FieldType.NUMBER),
        ("in", [1, 2], FieldType.NUMBER),
        ("=", False, FieldType.BOOLEAN),
        ("<", "12", FieldType.NUMBER),
        ("between", "1,2", FieldType.NUMBER),
        ("<", "2026-05-01", FieldType.DATETIME),
        ("between", ["2026-05-01", "12"], FieldType.TEXT),
        ("<", "m", FieldType.TEXT),
    ],
)
def test_a_property_that_nobody_declared_takes_the_type_of_what_it_is_compared_with(
    operator: str, value: Json, kind: FieldType
) -> None:
    tree = parse(a_test("event.properties.x", operator, value), EVENT)

    assert isinstance(tree, Comparison)
    assert kind is tree.type


def test_muted_parts_are_left_out_and_a_condition_of_nothing_else_is_true() -> None:
    muted = a_test("text", "=", "a", muted=True)

    assert parse(a_test("number", "=", 1), RECORD) in parse(all_of(muted, a_test("number", "=", 1)), RECORD).parts  # type: ignore[union-attr]  # it is a group
    assert Group("and", negated=False, parts=()) == parse(muted, RECORD)
    assert Group("and", negated=False, parts=()) == parse(all_of(all_of(muted), **{"not": True}), RECORD)


# --- which conditions share a counter ---------------------------------------------------------------------------------


def asked(field: str, value: Json, operator: str = "=") -> bytes:
    return digest(parse(a_test(field, operator, value), EVENT))


def test_conditions_that_ask_the_same_share_a_counter_however_they_are_written() -> None:
    assert asked("event.type", "Page") == asked("event.type", "page")
    assert asked("event.properties.n", 1, "<") == asked("event.properties.n", "1.0", "<")
    assert asked("event.type", "a, b", "in") == asked("event.type", ["a", "b"], "in")


def test_conditions_that_ask_otherwise_never_share_a_counter() -> None:
    long = "1." + "0" * 40 + "1"

    assert asked("event.properties.n", 1) != asked("event.properties.n", "1")
    assert asked("event.properties.n", True) != asked("event.properties.n", "true")
    assert asked("event.properties.n", long, "<") != asked("event.properties.n", "1", "<")
    # Postgres' lower() leaves this letter alone where Python's makes two of it.
    assert asked("event.type", "İ") != asked("event.type", "i̇")


# --- the SQL against the judge ----------------------------------------------------------------------------------------

# Characters on which str.lower and Postgres' lower() under C.UTF-8 agree. They differ on "İ", which Python makes two
# of, and on a "Σ" that ends a word, which Python makes another letter.
LETTERS = "abzABZ019 %_'\"\\.,:;@-+$éÉßẞñÑжЖωΩǅ日🙂\u0301\u200d\t\n"
WORDS = [
    "",
    "a",
    "A",
    "ab",
    "aB",
    "ÉB",
    "éb",
    "%",
    "a_b",
    "50%",
    "\\",
    "'",
    '"',
    "ß",
    "ẞ",
    "true",
    "1",
    "12",
    "1.0",
    "Ω",
]
NUMBERS: list[float] = [0, 1, -1, 2, 3, 12, 1.0, 1.5, -0.0, 1e-300, 1e300, 10**30, 2**63, 0.1, 100, 1e16, 1e22]
INSTANTS = [
    "2026-05-01",
    "2026-05-01T00:00:00Z",
    "2026-05-01T02:00:00+02:00",
    "2026-05-01t00:00:00.5z",
    "2026-05-01 00:00",
    "2026-04-30T23:59:59.999999-00:00",
    "1969-12-31T23:00",
    "0001-01-02",
    "9999-12-30T00:00:00-01:00",
]
ODD_INSTANTS = [
    "2026-02-30",
    "2026-13-01",
    "26-05-01",
    "2026-5-1",
    "20260501",
    "2026-05-01T25:00",
    "now",
    "infinity",
    "epoch",
    "2026-05-01T",
    "2026-W18-5",
    "2026-05-01T00:00+2",
    " 2026-05-01",
    "2026-05-01\n",
]
WILD_INSTANTS = [
    "2026-01-01T24:00",
    "2026-01-01T00:00:60Z",
    "0000-01-01",
    "2026-01-01T00:00:00,5",
    "2026-01-01T00:00+99",
]
"""Of which Postgres knows some that RFC 3339 does not."""
UNHOLDABLE = ["\0", "a\0b", "\ud800", "a\udfff"]
TAGS = [[], ["a"], ["A", "b"], ["50%", "ÉB"], ["a", 1, None, ["b"], "12"], ["a\0", "ab"], [None]]

text = st.sampled_from(WORDS) | st.text(LETTERS, max_size=4)
number = (
    st.sampled_from(NUMBERS)
    | st.integers(-20, 20)
    | st.floats(-1e9, 1e9, allow_subnormal=False).filter(lambda x: x == 0 or abs(x) > 1e-200)
)
instant = st.sampled_from(INSTANTS)
constants = {
    FieldType.TEXT: text,
    FieldType.NUMBER: number | number.map(repr),
    FieldType.BOOLEAN: st.booleans() | st.sampled_from(["yes", "NO", "1", 0]),
    FieldType.DATETIME: instant,
    FieldType.TAGS: text,
}

PROPERTIES = ["x", "y", "a.b", "deep.a", "deep.deeper.b"]
BANDS = (("Cold", None), ("warm", Decimal(0)), ("HOT", Decimal("12.5")))
SAVED: dict[str, Json] = {
    "vips": a_test("contact.tags", "contains", "A"),
    "warm": a_test("contact.band.m", "in", "Warm, hot"),
    "both": all_of(a_test(SEGMENTS, "=", "vips"), a_test(SEGMENTS, "doesNotContain", "warm")),
}
"""Each may name those before it."""
MADE: dict[str, FieldType | None] = {
    "contact.score.m": FieldType.NUMBER,
    "contact.score.other": FieldType.NUMBER,
    "contact.band.m": FieldType.TEXT,
    "contact.measures.k": FieldType.NUMBER,
}


def known_in(scope: Scope) -> Vocabulary:
    return Vocabulary(
        scope,
        declared_for(scope),
        models={"m": ModelTerm(1, BANDS), "other": ModelTerm(2)},
        measures={"k": MeasureTerm(1, Aggregate.SUM)},
        segments=SAVED,
    )


def fields_of(scope: Scope) -> dict[str, FieldType | None]:
    declared = declared_for(scope)
    names = [] if scope is Scope.RECORD else [f"{scope}.properties.{name}" for name in PROPERTIES]
    made = MADE if scope is Scope.CONTACT else {}
    return {**FIXED[scope], **made, **declared, **{name: declared.get(name) for name in names}}


def declared_for(scope: Scope) -> dict[str, FieldType]:
    """Of events and contacts some properties are declared, and others not."""
    if scope is Scope.RECORD:
        return DECLARED
    return {f"{scope}.properties.y": FieldType.NUMBER, f"{scope}.properties.deep.deeper.b": FieldType.TEXT}


def memberships() -> st.SearchStrategy[Json]:
    """Tests of `contact.segments`."""
    key = st.sampled_from(sorted(SAVED))
    one = st.builds(a_test, st.just(SEGMENTS), st.sampled_from(["=", "!=", "contains", "doesNotContain"]), key)
    keys = st.lists(key, min_size=1, max_size=3)
    return one | st.builds(a_test, st.just(SEGMENTS), st.sampled_from(["in", "notIn"]), keys | keys.map(", ".join))


@st.composite
def comparisons(draw: st.DrawFn, scope: Scope) -> Json:
    known = fields_of(scope)
    name = draw(st.sampled_from(sorted(known)))
    declared = known[name]
    kind = declared or draw(st.sampled_from([kind for kind in FieldType if kind is not FieldType.TAGS]))
    operator = draw(st.sampled_from(sorted(ALLOWED[kind])))
    muted = {"muted": True} if draw(st.integers(0, 9)) == 0 else {}
    if name == SEGMENTS:
        return {**draw(memberships()), **muted}
    if operator in (Operator.NULL, Operator.NOT_NULL):
        return {"field": name, "operator": operator, **muted}
    value = constants[kind]
    if declared is None and kind is not FieldType.TEXT:
        # As text it would mean text, unless it stands beside an ordering operator.
        value = {FieldType.NUMBER: number, FieldType.BOOLEAN: st.booleans()}.get(kind, value)
    if operator in (Operator.BETWEEN, Operator.NOT_BETWEEN):
        return {"field": name, "operator": operator, "value": draw(st.lists(value, min_size=2, max_size=2)), **muted}
    if operator in (Operator.IN, Operator.NOT_IN):
        listed: Json = draw(st.lists(value, max_size=4))
        as_text = kind in (FieldType.TEXT, FieldType.TAGS) and draw(st.booleans())
        return {
            "field": name,
            "operator": operator,
            "value": ", ".join(map(str, listed)) if as_text else listed,
            **muted,
        }
    others = [
        other
        for other, theirs in known.items()
        if (declared is None or theirs in (None, declared)) and theirs is not FieldType.TAGS
        if operator in ALLOWED[declared or theirs or FieldType.TEXT]
    ]
    if kind is not FieldType.TAGS and others and draw(st.integers(0, 3)) == 0:
        other = draw(st.sampled_from(others))
        return {"field": name, "operator": operator, "value": other, "valueSource": "field", **muted}
    return {"field": name, "operator": operator, "value": draw(value), **muted}


def conditions(scope: Scope) -> st.SearchStrategy[Json]:
    def group(parts: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
        return st.fixed_dictionaries(
            {"combinator": st.sampled_from(["and", "or", "AND"]), "rules": st.lists(parts, min_size=1, max_size=4)},
            optional={"not": st.booleans(), "muted": st.just(False) | st.booleans(), "id": st.just("g-1")},
        )

    return st.recursive(comparisons(scope), group, max_leaves=6)


class Dirt:
    """Records of a seed: far quicker than Hypothesis' own drawing, so that many are judged in one statement."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def record(self, scope: Scope) -> Json:
        if scope is Scope.RECORD:
            return self.some({name: self.usual(kind) for name, kind in DECLARED.items()})
        said = {name.removeprefix(f"{scope}."): self.usual(kind) for name, kind in FIXED[scope].items()}
        if scope is Scope.CONTACT:
            # Which part is the domain of what has two "@", and so is no address, nobody has said.
            said["email"] = self.pick(["Ada@Example.com", "ada@", "@example.com", "ada", "éÉ@ÉB", None, 5, *UNHOLDABLE])
            said["scores"] = self.some({"m": self.usual(FieldType.NUMBER), "other": self.anything(), "nobody": 1})
            said["measures"] = self.pick([self.anything(), {"k": self.usual(FieldType.NUMBER)}])
        return self.some({**said, "properties": self.properties()})

    def properties(self) -> Json:
        deeper = self.some({"b": self.anything(), "c": 1}) if self.chance(0.9) else self.anything()
        deep = self.some({"a": self.anything(), "deeper": deeper}) if self.chance(0.9) else self.anything()
        a = self.some({"b": self.anything()}) if self.chance(0.9) else self.anything()
        values = {"x": self.anything(), "y": self.anything(), "a.b": self.anything(), "deep.a": self.anything()}
        return self.some({**values, "a": a, "deep": deep, "\0": 1}) if self.chance(0.97) else self.anything()

    def usual(self, kind: FieldType) -> Json:
        if self.chance(0.2):
            return self.anything()
        match kind:
            case FieldType.TEXT:
                return self.text()
            case FieldType.NUMBER:
                return self.number()
            case FieldType.BOOLEAN:
                return self.chance(0.5)
            case FieldType.DATETIME:
                return self.pick(INSTANTS)
            case FieldType.TAGS:
                return self.pick(TAGS)

    def anything(self, depth: int = 0) -> Json:
        odd: list[Json] = [None, *UNHOLDABLE, *ODD_INSTANTS, float("nan"), float("-inf"), {}, []]
        plain = [
            self.text(),
            self.text(),
            self.number(),
            self.number(),
            True,
            False,
            self.pick(INSTANTS),
            self.pick(odd),
        ]
        if depth < 2 and self.chance(0.15):
            parts = [self.anything(depth + 1) for _ in range(self.random.randrange(3))]
            return self.pick([parts, dict(zip("ab", parts, strict=False)), self.pick(TAGS)])
        return self.pick(plain)

    def text(self) -> str:
        if self.chance(0.7):
            return self.random.choice(WORDS)
        return "".join(self.random.choices(LETTERS, k=self.random.randrange(5)))

    def number(self) -> float:
        extremes = [5e-324, 1.7e308, 10**400]
        usual = [self.random.choice(NUMBERS), self.random.randint(-20, 20), self.random.uniform(-1e9, 1e9)]
        return self.random.choice(extremes if self.chance(0.1) else usual)

    def some(self, fields: dict[str, Json]) -> dict[str, Json]:
        return {name: value for name, value in fields.items() if self.chance(0.85)}

    def pick(self, choices: list[Json]) -> Json:
        return self.random.choice(choices)

    def chance(self, likely: float) -> bool:
        return self.random.random() < likely


@pytest.mark.parametrize("scope", Scope)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_the_sql_means_what_the_judge_says_for_any_condition_and_any_dirty_records(
    scope: Scope, database: Database, data: st.DataObject
) -> None:
    condition, seed = data.draw(conditions(scope)), data.draw(st.integers(0, 2**32))
    dirt = Dirt(seed)
    given = [dirt.record(scope) for _ in range(60)]
    known = known_in(scope)

    async with database.hot.acquire() as db:
        matched = await trial.matches(db, parse(condition, known), known, given, TODAY)

    for record, is_matched in zip(given, matched, strict=True):
        told = judged(record) if scope is Scope.CONTACT else record
        assert reference.matches(condition, scope, told, TODAY, known.declared) is is_matched, record


def judged(record: Json) -> Json:
    """A contact beside the bands and segments that follow from what it holds, which the judge is told."""
    scores = record.get("scores")
    score = reference._typed(scores.get("m") if isinstance(scores, dict) else None, "number")
    told = {**record, "segments": [], "bands": {}}
    if score is not None:
        told["bands"]["m"] = [name for name, least in BANDS if least is None or score >= least][-1]
    for key, condition in SAVED.items():
        if reference.matches(condition, "contact", told, TODAY, declared_for(Scope.CONTACT)):
            told["segments"].append(key)
    return told


async def tried(database: Database, condition: Json, *records: Json, scope: Scope = Scope.RECORD) -> list[bool]:
    known = Vocabulary.of(scope, DECLARED if scope is Scope.RECORD else {})
    async with database.hot.acquire() as db:
        return await trial.matches(db, parse(condition, known), known, records, TODAY)


async def test_a_list_may_hold_more_values_than_a_statement_takes_parameters(database: Database) -> None:
    words = [f"Word {n}" for n in range(40_000)]
    numbers = list(range(40_000))

    assert [True, False] == await tried(database, a_test("text", "in", words), {"text": "word 39999"}, {"text": "word"})
    assert [True, False] == await tried(database, a_test("tags", "in", words), {"tags": ["word 7"]}, {"tags": ["word"]})
    assert [True, False] == await tried(database, a_test("number", "in", numbers), {"number": 39_999}, {"number": -1})


async def test_a_number_is_compared_to_its_last_digit_or_refused(database: Database) -> None:
    long = "1." + "0" * 299 + "1"

    assert [False] == await tried(database, a_test("number", ">=", long), {"number": 1})
    assert ["/value"] == list(faults(a_test("number", ">=", "1." + "0" * 20_000 + "1")))


@pytest.mark.parametrize("operator", ["<", ">", "<=", ">=", "between"])
def test_text_is_ordered_by_code_points_whatever_the_locale_of_the_database(operator: str) -> None:
    """By the text of the SQL: the embedded Postgres knows no locale in which the order would be another."""
    value, times = (["a", "b"], 2) if operator == "between" else ("a", 1)

    for field in ("event.type", "event.properties.x"):
        tree = parse(a_test(field, operator, value), EVENT)
        sql = Statement(select(compiling.to_sql(tree, compiling.event_row(core(Event))))).sql
        assert times == sql.count('COLLATE "C"')
        assert times == Intake({1: Counter(tree)})._statement.sql.count('COLLATE "C"')


@pytest.mark.parametrize("scope", Scope)
async def test_no_record_raises_however_deep_or_odd_it_is(scope: Scope, database: Database) -> None:
    deep: Json = 1
    for _ in range(900):
        deep = {"a": [deep]}
    odd: list[Json] = [{}, {"properties": deep}, {"text": deep, "type": deep, "email": deep}, {"\0": 1, "\ud800": 2}]
    odd += [{"when": said, "occurred_at": said, "created_at": said} for said in WILD_INSTANTS]
    field = {Scope.RECORD: "when", Scope.EVENT: "event.occurred_at", Scope.CONTACT: "contact.created_at"}[scope]

    assert len(odd) == len(await tried(database, a_test(field, ">", "2026-01-01"), *odd, scope=scope))
    assert [] == await tried(database, a_test(field, ">", "2026-01-01"), scope=scope)


async def test_the_day_before_midnight_utc_is_the_day_a_contact_was_last_seen(database: Database) -> None:
    seen = ["2026-05-14T23:59:59.999999Z", "2026-05-15T00:00:00Z", "2026-05-15T01:00:00+02:00", None]
    records = [{"last_event_at": said} for said in seen]

    quiet = a_test("contact.days_inactive", "=", 1)
    assert [True, False, True, False] == await tried(database, quiet, *records, scope=Scope.CONTACT)
    unknown = a_test("contact.days_inactive", "null")
    assert [False, False, False, True] == await tried(database, unknown, *records, scope=Scope.CONTACT)
