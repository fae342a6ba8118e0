import asyncio
import contextlib
import io
from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.engine import contacts, declared, importing, trial
from app.engine.conditions import parse
from app.engine.contacts import Change, Refused
from app.engine.fields import FieldType, Scope, Vocabulary
from app.engine.identity import Ref
from app.engine.plan import Plan, Plans
from app.errors import Conflict, InvalidInput, NotFound
from app.store.db import Connection, Database
from tests.engine import reference
from tests.engine.worlds import NOON, POLICY, TODAY, World, per_event, profile

Json = Any  # Any: JSON
FIELD = "contact.properties.x"
TYPES = {str(kind): kind for kind in FieldType}


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


async def declare(world: World, kind: str, name: str = "x") -> UUID:
    """Declare the property, and leave its job to be run; returns it."""
    async with world.database.batch() as db:
        return (await declared.declare(db, name, TYPES[kind], world.now)).job


async def retype(world: World, kind: str, name: str = "x") -> dict[str, Json]:
    """Declare the property and convert what is stored; returns the job's result."""
    return await ended(world, await declare(world, kind, name))


async def ended(world: World, job: UUID) -> dict[str, Json]:
    await world.run(job)
    [row] = await world.rows("SELECT * FROM job WHERE id = $1", job)
    assert ("done", None) == (row["status"], row["error"])
    result: dict[str, Json] = row["result"]
    return result


async def withdraw(world: World, name: str = "x") -> UUID | None:
    async with world.database.batch() as db:
        return await declared.withdraw(db, name, world.now)


async def put(world: World, *values: Json) -> None:
    """A contact for each value of the property: 0@example.com, 1@example.com, …"""
    people = [
        (Ref(email=f"{n}@example.com"), Change(frozenset({"properties"}), properties={"x": value}))
        for n, value in enumerate(values)
    ]
    async with world.database.batch() as db:
        results = await contacts.upsert(db, world.plans, people, "test", world.now, POLICY)
    assert not any(isinstance(result, Refused) for result in results)


async def load(world: World, text: str, mapping: importing.Mapping | None = None) -> importing.Report:
    return await importing.run(world.database, world.plans, io.BytesIO(text.encode()), mapping or {}, "test", POLICY)


async def stored(world: World, name: str = "x") -> list[Json]:
    """The values of the property, in the order of the addresses; None where there is none."""
    rows = await world.rows("SELECT properties -> $1::text AS value FROM contact ORDER BY length(email), email", name)
    return [row["value"] for row in rows]


async def points(world: World, count: int) -> list[Decimal | None]:
    return [await world.score(f"{n}@example.com") for n in range(count)]


def same(expected: Json, found: Json) -> bool:
    """Whether two values are the same in JSON, where 1 is not true and 1.0 is not 1."""
    return orjson.dumps(expected) == orjson.dumps(found)


# --- one value, one type ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "value", "typed"),
    [
        *[("boolean", value, True) for value in (True, 1, "1", "true", "True", "YES", " yes ")],
        *[("boolean", value, False) for value in (False, 0, "0", "false", "FALSE", "No")],
        ("number", 7, 7),
        ("number", -0.5, -0.5),
        ("number", "7", 7),
        ("number", " 7.0 ", 7),
        ("number", "1e3", 1_000),
        ("number", "-0.25", -0.25),
        ("number", "9007199254740993", 9007199254740993),
        ("number", "1e300", 1e300),
        ("number", 5e-324, 5e-324),
        ("text", "007", "007"),
        ("text", "", ""),
        ("text", 7, "7"),
        ("text", 1.5, "1.5"),
        ("text", 1e22, "1" + "0" * 22),
        ("text", True, "true"),
        ("text", False, "false"),
        ("datetime", "2026-05-01", "2026-05-01"),
        ("datetime", "2026-05-01T12:00:00.5+02:00", "2026-05-01T12:00:00.5+02:00"),
        ("datetime", " 2026-05-01t12:00:00z ", "2026-05-01t12:00:00z"),
        ("tags", ["a", "B"], ["a", "B"]),
        ("tags", [], []),
        ("tags", "a, B,,c d", ["a", "B", "c d"]),
    ],
)
def test_a_value_is_read_as_its_declared_type(kind: str, value: Json, typed: Json) -> None:
    read = declared.read(value, TYPES[kind])

    assert same(typed, read)
    assert same(read, declared.read(read, TYPES[kind]))


NOTHING_OF: dict[str, list[Json]] = {
    "boolean": [2, 1.0, "", "maybe", "on", [True], {}],
    "number": [True, "", "many", "1,5", "NaN", "Infinity", "1e999", [1], {}],
    "text": [["a"], {"a": 1}],
    "datetime": [20260501, True, "", "2026-02-30", "May 1st", "2026-W18-5", "20260501T12", "2026-05-01T12:00+16:00"],
    "tags": [1, True, ["a", 1], ["a", None], {}],
}


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in NOTHING_OF.items() for value in values])
def test_what_is_nothing_of_the_type_is_refused_in_words(kind: str, value: Json) -> None:
    with pytest.raises(ValueError, match=f"expected {kind}"):
        declared.read(value, TYPES[kind])


_NUMERIC = st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False))
_DATE = st.datetimes().map(lambda moment: moment.isoformat())
_WRITTEN = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12),
    st.text("0123456789eE+-._ ", max_size=12),
    st.text("0123456789-:TtZz +.,W", min_size=10, max_size=26),
    _NUMERIC.map(str),
    _DATE,
    _DATE.map(lambda text: text + "Z"),
    st.builds(lambda text, zone: f"{text[:16]}{zone:+03d}:30", _DATE, st.integers(-24, 24)),
    st.sampled_from(["true", "no", "1", "a,b", "2026-05-01", "2026-05-01T23:59:60Z", "0001-01-01", "2026-05-01T24:00"]),
)
_VALUE: st.SearchStrategy[Json] = st.one_of(
    st.booleans(), _NUMERIC, _WRITTEN, st.lists(_WRITTEN, max_size=3), st.dictionaries(_WRITTEN, _NUMERIC, max_size=2)
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(FieldType), values=st.lists(_VALUE, min_size=1, max_size=40))
async def test_what_is_taken_is_there_for_conditions_and_reading_it_again_changes_nothing(
    world: World, kind: FieldType, values: list[Json]
) -> None:
    taken = []
    for value in values:
        try:
            taken.append(declared.read(value, kind))
        except ValueError:
            continue
    known = Vocabulary.of(Scope.CONTACT, {FIELD: kind})
    is_there = parse({"field": FIELD, "operator": "notNull"}, known)
    people = [{"properties": {"x": value}} for value in taken if value != []]  # no tags are as none at all

    async with world.database.hot.acquire() as db:
        found = await trial.matches(db, is_there, known, people, TODAY)

    assert [] == [person for person, is_found in zip(people, found, strict=True) if not is_found]
    assert all(same(value, declared.read(value, kind)) for value in taken)


# --- at the border ----------------------------------------------------------------------------------------------------


def _in_any_case(word: str) -> st.SearchStrategy[str]:
    upper = st.lists(st.booleans(), min_size=len(word), max_size=len(word))
    return upper.map(lambda flags: "".join(c.upper() if up else c for c, up in zip(word, flags, strict=True)))


_TRUE: st.SearchStrategy[Json] = st.one_of(st.sampled_from([True, 1, "1"]), _in_any_case("true"), _in_any_case("yes"))
_FALSE: st.SearchStrategy[Json] = st.one_of(st.sampled_from([False, 0, "0"]), _in_any_case("false"), _in_any_case("no"))
_PAIRS = st.lists(st.one_of(st.tuples(_TRUE, st.just(True)), st.tuples(_FALSE, st.just(False))), min_size=1, max_size=8)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pairs=_PAIRS, way=st.sampled_from(["written", "changed", "imported", "there before"]), asked=_TRUE)
async def test_the_encodings_of_one_boolean_mean_the_same_to_a_profile_rule(
    world: World, pairs: list[tuple[Json, bool]], way: str, asked: Json
) -> None:
    await world.clear()
    values = [value for value, _ in pairs]
    if way == "there before":
        await put(world, *values)
    await retype(world, "boolean")
    await world.publish("m", profile(FIELD, "=", asked, 10), profile(FIELD, "!=", asked, 1))
    if way == "written":
        await put(world, *values)
    elif way == "changed":
        await put(world, *([None] * len(values)))
        for n, value in enumerate(values):
            await world.change(await world.contact(f"{n}@example.com"), properties={"x": value})
    elif way == "imported":
        report = await load(world, "email,x\n" + "".join(f"{n}@example.com,{v}\n" for n, v in enumerate(values)))
        assert (len(values), []) == (report.created, report.errors)

    assert [meant for _, meant in pairs] == await stored(world)
    assert [Decimal(10 if meant else 1) for _, meant in pairs] == await points(world, len(pairs))


async def test_of_a_batch_only_the_change_that_cannot_be_read_is_left_out_and_makes_no_contact(world: World) -> None:
    await retype(world, "number")
    people = [
        (Ref(email="0@example.com"), Change(frozenset({"properties"}), properties={"x": "1"})),
        (Ref(email="1@example.com"), Change(frozenset({"properties"}), properties={"x": "one", "y": "z"})),
        (Ref(email="2@example.com"), Change(frozenset({"properties"}), properties={"x": None, "y": "z"})),
    ]

    async with world.database.batch() as db:
        results = await contacts.upsert(db, world.plans, people, "test", NOON, POLICY)

    assert Refused({"x": "expected number"}) == results[1]
    assert ["0@example.com", "2@example.com"] == [
        row["email"] for row in await world.rows("SELECT email FROM contact ORDER BY email")
    ]
    assert [1, None] == await stored(world)


async def test_a_change_that_cannot_be_read_is_pointed_at_and_changes_nothing(world: World) -> None:
    await put(world, "as it was")
    await retype(world, "number", "a/b~c")
    await retype(world, "tags", "d.e")

    with pytest.raises(InvalidInput) as refused:
        await world.change(
            await world.contact("0@example.com"), name="N", properties={"a/b~c": "one", "d.e": 7, "x": "new"}
        )

    assert ["/properties/a~1b~0c", "/properties/d.e"] == [fault.pointer for fault in refused.value.faults]
    row = await world.row("0@example.com")
    assert (None, {"x": "as it was"}) == (row["name"], row["properties"])


async def test_a_declaration_is_of_the_key_at_the_top_that_is_spelled_so(world: World) -> None:
    await retype(world, "boolean", "a.b")
    await put(world, None)

    person = await world.change(
        await world.contact("0@example.com"), properties={"a.b": "Yes", "a": {"b": "Yes"}, "A.b": "Yes"}
    )

    assert {"a.b": True, "a": {"b": "Yes"}, "A.b": "Yes"} == person.properties


async def test_without_declarations_a_column_goes_by_its_look_and_with_one_by_that(world: World) -> None:
    await retype(world, "text", "code")
    await retype(world, "tags", "likes")
    await retype(world, "number", "n")

    report = await load(world, 'email,code,likes,n,look\n0@example.com,1.50,"a;b, c",1.50,1.50\n')

    assert (1, []) == (report.created, report.errors)
    [row] = await world.rows("SELECT properties FROM contact")
    assert {"code": "1.50", "likes": ["a", "b", "c"], "n": 1.5, "look": 1.5} == row["properties"]


class _Meanwhile(Plans):
    """Between the first time that the plan is held and the second, somebody does something."""

    def __init__(self, work: Callable[[], Awaitable[object]]) -> None:
        super().__init__()
        self._work = work
        self._held = 0

    async def hold(self, db: Connection) -> Plan:
        self._held += 1
        if self._held == 2:
            await self._work()
        return await super().hold(db)


async def test_a_property_declared_while_a_file_is_imported_spoils_only_the_lines_that_cannot_be_read(
    world: World,
) -> None:
    text = b"email,Ticked,X\n0@example.com,yes,a\n1@example.com,perhaps,b\n2@example.com,1,c\n"
    mapping: importing.Mapping = {"Ticked": importing.Target("properties.x"), "X": importing.Target("properties.y")}

    world.plans = _Meanwhile(lambda: declare(world, "boolean"))
    report = await importing.run(world.database, world.plans, io.BytesIO(text), mapping, "test", POLICY)

    assert (2, 0, 1) == (report.created, report.updated, report.failed)
    assert [(3, "Ticked")] == [(error.line, error.column) for error in report.errors]
    assert [True, True] == await stored(world)


# --- what is stored already -------------------------------------------------------------------------------------------


async def test_declaring_converts_what_can_be_read_and_leaves_the_rest(world: World) -> None:
    await put(world, "Yes", 1, True, "perhaps", [1], None, "0", {"a": 1})

    assert {"converted": 3, "unreadable": 3} == await retype(world, "boolean")

    assert [True, True, True, "perhaps", [1], None, False, {"a": 1}] == await stored(world)


@pytest.mark.parametrize(
    ("kind", "before", "after", "result"),
    [
        ("text", [7, 1.5, False, "x", ["x"]], ["7", "1.5", "false", "x", ["x"]], (3, 1)),
        ("number", ["7", 7.5, "x", True], [7, 7.5, "x", True], (1, 2)),
        ("datetime", ["2026-05-01", "soon", 7], ["2026-05-01", "soon", 7], (0, 2)),
        ("tags", ["a, b", ["c"], 7], [["a", "b"], ["c"], 7], (1, 1)),
    ],
)
async def test_every_type_converts_what_is_stored(
    world: World, kind: str, before: list[Json], after: list[Json], result: tuple[int, int]
) -> None:
    await put(world, *before)

    done = await retype(world, kind)

    assert result == (done["converted"], done["unreadable"])
    assert same(after, await stored(world))


async def test_everybody_is_scored_by_the_declared_type_and_the_change_says_why(world: World) -> None:
    await put(world, "9", 30, "many")
    await world.publish("m", profile(FIELD, ">", 10, 5), profile(FIELD, "notNull", None, 1))
    await world.publish("apart", profile("contact.properties.y", "notNull", None, 1))
    await world.publish("above", profile("contact.score.m", ">=", 6, 100))
    assert [1, 6, 1] == await points(world, 3)

    await retype(world, "number")

    assert [1, 6, 0] == await points(world, 3)
    assert ["definition"] == [
        row["cause"]
        for row in await world.rows(
            "SELECT cause FROM score_change WHERE contact_id = $1 AND value < was", await world.contact("2@example.com")
        )
    ]


async def test_what_a_contact_was_before_the_conversion_is_kept(world: World) -> None:
    await put(world, "Yes", True)
    world.go_to(NOON + timedelta(hours=1))

    await retype(world, "boolean")

    assert [("Yes", world.now)] == [
        (row["said"]["properties"]["x"], row["until"].replace(microsecond=0))
        for row in await world.rows("SELECT said, until FROM contact_past WHERE said -> 'properties' ? 'x'")
    ]


async def test_a_conversion_that_was_broken_off_goes_on_and_counts_nothing_twice(world: World) -> None:
    await put(world, *(["yes", "perhaps"] * 1_001))
    job = await declare(world, "boolean")
    last = await world.value("SELECT max(contact_id::text)::uuid FROM activity")
    async with world.database.batch() as other:
        await other.execute("SELECT FROM activity WHERE contact_id = $1 FOR UPDATE", last)
        working = asyncio.create_task(world.run(job))
        while await world.value("SELECT done FROM job WHERE id = $1", job) < 2_000:  # noqa: ASYNC110 - as seen in Postgres
            await asyncio.sleep(0.01)
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working

    assert {"converted": 1_001, "unreadable": 1_001} == await ended(world, job)
    assert 1_001 == (await stored(world)).count(True)


async def test_a_job_whose_declaration_was_replaced_leaves_the_work_to_the_next(world: World) -> None:
    await put(world, "1")
    first = await declare(world, "boolean")
    second = await declare(world, "number")

    assert {"converted": 0, "unreadable": 0, "superseded": True} == await ended(world, first)
    assert {"converted": 1, "unreadable": 0} == await ended(world, second)
    assert same([1], await stored(world))


async def test_a_conversion_in_a_workspace_without_contacts_ends(world: World) -> None:
    assert {"converted": 0, "unreadable": 0} == await retype(world, "tags")


# --- withdrawn --------------------------------------------------------------------------------------------------------


async def test_withdrawing_leaves_the_values_and_scores_by_what_they_are_compared_with(world: World) -> None:
    await put(world, "yes", "no")
    await retype(world, "boolean")
    await world.publish("m", profile(FIELD, "=", "yes", 10))
    assert [10, 0] == await points(world, 2)

    job = await withdraw(world)

    assert job is not None
    await world.run(job)
    assert [True, False] == await stored(world)
    assert [0, 0] == await points(world, 2)
    await world.change(await world.contact("0@example.com"), properties={"x": "yes"})
    assert [10, 0] == await points(world, 2)


async def test_withdrawing_what_no_model_looks_at_needs_no_work(world: World) -> None:
    await retype(world, "boolean")
    await world.publish("m", per_event("a", 1))

    assert await withdraw(world) is None


async def test_what_is_not_declared_cannot_be_withdrawn(world: World) -> None:
    with pytest.raises(NotFound):
        await withdraw(world)


# --- what is live is not broken ---------------------------------------------------------------------------------------


async def refusal(world: World, kind: str | None) -> str:
    """Why the property cannot be of this type, or undeclared; and nothing has come of it."""
    before = await world.rows("SELECT * FROM property"), await world.rows("SELECT id FROM job")
    with pytest.raises(Conflict) as refused:
        await (withdraw(world) if kind is None else declare(world, kind))
    assert before == (await world.rows("SELECT * FROM property"), await world.rows("SELECT id FROM job"))
    assert "/type" == refused.value.pointer or kind is None
    return str(refused.value)


_CONTAINS = {"field": FIELD, "operator": "contains", "value": "v"}
_EITHER = {"combinator": "or", "rules": [{"field": "contact.bounced", "operator": "=", "value": True}, _CONTAINS]}


async def segment(world: World, key: str, condition: Json) -> None:
    await world.execute(
        "INSERT INTO segment (key, name, condition, created_at, updated_at) VALUES ($1, $1, $2, $3, $3)",
        key,
        condition,
        NOON,
    )


async def test_a_type_that_a_model_which_counts_could_not_use_is_refused_and_says_where(world: World) -> None:
    await world.publish("m", profile("contact.name", "=", "a", 1), reference.Rule("profile", _EITHER, Decimal(1)))
    await world.draft("m", [])

    said = await refusal(world, "boolean")

    assert ": model 'm', rule 'rule 1': contact.properties.x contains \"v\"" in said
    assert "a boolean field has no operator 'contains'" in said
    assert "draft" not in said


async def test_a_type_that_a_draft_could_not_use_is_refused(world: World) -> None:
    await world.draft(
        "m",
        [
            reference.Rule(
                "event", {"field": "event.type", "operator": "=", "value": "a"}, Decimal(1), audience=_CONTAINS
            )
        ],
    )

    assert "the draft of model 'm', rule 'rule 0', audience: " in await refusal(world, "number")


async def test_a_type_that_a_version_about_to_count_could_not_use_is_refused(world: World) -> None:
    job = await world.begin_publish("m", [profile(FIELD, "beginsWith", "v", 1)])
    await world.draft("m", [])

    assert ": model 'm', rule 'rule 0': " in await refusal(world, "tags")
    await world.run(job)
    await world.publish("m", profile("contact.name", "=", "a", 1))
    assert {"converted": 0, "unreadable": 0} == await retype(world, "tags")


async def test_a_type_that_a_segment_could_not_use_is_refused(world: World) -> None:
    await segment(world, "vips", _CONTAINS)
    await segment(world, "others", {"field": "contact.segments", "operator": "!=", "value": "vips"})

    said = await refusal(world, "datetime")

    assert "segment 'vips': contact.properties.x contains \"v\"" in said
    assert "segment 'others': contact.segments != \"vips\": segment 'vips': a datetime field" in said


async def test_a_type_that_points_cannot_be_given_by_is_refused(world: World) -> None:
    rule = reference.Rule("profile", None, Decimal(1), per_unit_of={"field": FIELD, "min": None, "max": None})
    await world.publish("m", rule)

    for kind in ("text", "boolean", "datetime", "tags"):
        assert f"points for each unit of {FIELD}" in await refusal(world, kind)
    await retype(world, "number")


async def test_a_value_that_the_type_has_not_is_refused(world: World) -> None:
    await world.publish("m", profile(FIELD, "in", ["1", "many"], 1))

    assert 'in ["1","many"]: expected number' in await refusal(world, "number")


async def test_what_only_the_declaration_allows_keeps_it_from_being_withdrawn(world: World) -> None:
    await retype(world, "number")
    await world.publish("m", profile(FIELD, "in", ["1", 2], 1))

    assert "undeclared" in await refusal(world, None)


async def test_uses_beyond_the_first_few_are_counted(world: World) -> None:
    await world.draft("m", [reference.Rule("profile", _CONTAINS, Decimal(1))] * 8)

    said = await refusal(world, "boolean")

    assert said.endswith("; and 3 more")
    assert 5 == said.count("the draft of model")


async def test_an_archived_model_and_what_is_broken_anyway_stand_in_nobodys_way(world: World) -> None:
    await world.publish("m", reference.Rule("profile", _CONTAINS, Decimal(1)))
    await world.execute("UPDATE scoring_model SET archived_at = now()")
    await segment(world, "lost", {"combinator": "and", "rules": [_CONTAINS, {"field": "contact.phone"}]})

    await retype(world, "boolean")
