"""Models as files: what is written is what is read, what is wrong is pointed at, and drafts come to say it."""

import asyncio
import os
import pty
import subprocess
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from app import clock
from app.api.models import ModelIn
from app.api.rules import RuleIn
from app.engine import drafts, publish
from app.engine.conditions import Json
from app.engine.rules import PerUnit, Rule, RuleKind
from app.engine.sheets import Sheet
from app.errors import Conflict, InvalidInput, NotFound
from app.files import documents, drafting, notation, publishing, sources
from app.files.changes import compare, lines
from app.files.documents import Draft
from app.files.drafting import Against
from app.files.notation import Entry, Rows, Said
from app.store import workers
from app.store.db import Database
from app.worker import JOBS
from tests.processes import LEADTALLY, environment
from tests.test_cli import Here
from tests.test_cli import here as in_this_process

here = in_this_process  # a fixture

OPENED: Json = {"field": "event.type", "operator": "=", "value": "email.opened"}
BASE = """\
key: mail
name: Mail
bands:
  - {name: cold, color: '#5b8def', min: null}
  - {name: hot, color: '#d64545', min: 50}
rules:
  - name: Opened
    kind: event
    points: 0.1
    condition: {field: event.type, operator: '=', value: email.opened}
"""
GRID = "key: both\nname: Both\ncombine: {grid: {rows: mail, columns: fit}}\n"
FIT = BASE.replace("key: mail", "key: fit").replace("Opened", "Read")


def read_one(text: str) -> Said:
    [(found, faults)] = notation.read(text)
    assert [] == faults
    return found


def file(folder: Path, text: str, name: str = "models.yaml") -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def pointers(folder: Path, text: str) -> list[str]:
    """Where what can be said without a database is wrong."""
    return [wrong.fault.pointer for wrong in sources.read([file(folder, text)]).faults]


# --- YAML -------------------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40) | st.sampled_from(
    ["yes", "no", "on", "off", "Null", "~", "", "=", "<<", "!=", ">=", "1e3", "0o7", "0x1F", "1:30", "2026-01-01", "-0",
     "1_000", ".inf", "- a", "a: b", "#", " x", "x ", "a\nb", "\n", "a\n\n", "a\n\n b\n", "a\x85b", "a\u2028b",
     "\ufeff", "\r\n", "%", "@a", "`", "'", '"', "|", "long words " * 30 + "end", "x" * 300, "a  b " * 60, "\t",
     "...", "---", "?"]
)  # fmt: skip
NUMBERS = st.integers(-(10**20), 10**20) | st.decimals(-(10**9), 10**9, places=4).map(notation.whole)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.dictionaries(TEXT, VALUES | st.lists(VALUES, min_size=1, max_size=3).map(Rows), min_size=1, max_size=4))
def test_what_is_read_is_what_was_written(value: dict[str, Said]) -> None:
    assert value == read_one(notation.write(Entry(value)))


@settings(deadline=None)
@given(TEXT)
def test_an_older_reader_of_yaml_takes_text_for_the_same_text(text: str) -> None:
    assert {"a": text, "b": {"c": [text]}} == yaml.safe_load(notation.write(Entry(a=text, b={"c": [text]})))


@pytest.mark.parametrize("word", ["yes", "No", "on", "OFF", "y", "True", "Null", "=", "2026-01-01", "007", "1:30"])
def test_words_that_old_yaml_took_for_something_else_are_text(word: str) -> None:
    assert {"value": word} == read_one(f"value: {word}\n")


def test_numbers_are_read_exactly() -> None:
    found = read_one("[0.1, 10, 5.0, -1e3, 12345678901234567890.12345678901234567890]")

    assert [Decimal("0.1"), 10, 5, -1000, Decimal("12345678901234567890.1234567890123456789")] == found


@pytest.mark.parametrize(
    ("text", "pointer", "detail"),
    [
        ("a: 1\na: 2\n", "/a", "line 2: this name stands here twice"),
        ("a: [{b: 1, b: 1}]\n", "/a/0/b", "twice"),
        ("a/b: {c~d: !!python/object:os.system x}\n", "/a~1b/c~0d", "is not read here"),
        ('a: "\\0"\n', "/a", "a character that text cannot hold"),
        ('a: "\\ud800"\n', "/a", "a character that text cannot hold"),
        ("a: !!set {x}\n", "/a", "is not read here"),
        ("a: !!int x\n", "/a", "is not read here"),
        ("a: 1e999999999\n", "/a", "beyond all measure"),
        ("? [a]\n: 1\n", "", "a name is a single word or text"),
    ],
)
def test_what_json_has_not_is_pointed_at(text: str, pointer: str, detail: str) -> None:
    [(_, [fault])] = notation.read(text)

    assert pointer == fault.pointer
    assert detail in fault.detail


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("a: [1\n", "line 2, column 1: "),
        ("a: &x 1\nb: *x\n", "line 2, column 4: an alias"),
        ("\x01", "special characters"),
        ("[" * 3_000, "nested too deeply"),
    ],
)
def test_what_is_no_yaml_is_a_sentence(text: str, detail: str) -> None:
    with pytest.raises(InvalidInput, match=detail):
        list(notation.read(text))


# --- documents --------------------------------------------------------------------------------------------------------

POINTS = st.decimals(-(10**9), 10**9, places=2)
LIMITS = st.decimals(Decimal("0.01"), 10**9, places=2)
COUNTS = st.integers(1, 10_000)
NAMES = TEXT.map(lambda text: (text or "x")[:200])
TESTS = st.fixed_dictionaries(
    {"field": st.sampled_from(["event.type", "event.properties.x"]), "operator": st.sampled_from(["=", "in", "<"])},
    optional={
        "value": TEXT | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
        | st.booleans() | st.lists(TEXT, max_size=3),
        "muted": st.booleans(),
        "id": TEXT,
    },
)  # fmt: skip
CONDITIONS: st.SearchStrategy[Any] = st.recursive(
    TESTS,
    lambda inner: st.fixed_dictionaries(
        {"combinator": st.sampled_from(["and", "or"]), "rules": st.lists(inner, min_size=1, max_size=4)},
        optional={"not": st.booleans()},
    ),
    max_leaves=6,
)
DECAYS = st.just({"half_life_days": 30, "every_days": 7}) | st.lists(
    st.fixed_dictionaries({"after_days": COUNTS, "percent": st.sampled_from([0, 12.5, 50])}), min_size=1, max_size=3
).map(lambda steps: {"steps": steps})


@st.composite
def rules(draw: st.DrawFn, name: str) -> Rule:
    kind = draw(st.sampled_from(RuleKind))
    rule = Rule(UUID(int=0), name, kind, draw(CONDITIONS), draw(POINTS), max_points=draw(st.none() | LIMITS))
    if kind is RuleKind.ABSENCE:
        return replace(rule, after_days=draw(COUNTS), max_times=draw(st.none() | COUNTS))
    if kind is RuleKind.PROFILE:
        return replace(rule, per_unit_of=draw(st.none() | st.just(PerUnit("contact.properties.x", Decimal("0.5")))))
    return replace(
        rule,
        window_days=draw(st.none() | COUNTS | st.just("unlimited")),
        distinct_by=draw(st.none() | NAMES),
        max_per_day=draw(st.none() | COUNTS),
        at_least=draw(st.none() | COUNTS),
        decay=draw(st.none() | DECAYS),
        audience=draw(st.none() | CONDITIONS),
        group=draw(st.none() | NAMES),
    )


@st.composite
def models(draw: st.DrawFn) -> Draft:
    sheet = Sheet(
        objective=draw(st.none() | TEXT),
        owner=draw(st.none() | NAMES),
        audience=draw(st.none() | CONDITIONS),
        min=draw(st.none() | POINTS),
        max=draw(st.none() | POINTS),
        window_days=draw(st.none() | COUNTS),
        groups=draw(st.dictionaries(NAMES, LIMITS, max_size=3)),
        combine=draw(st.none() | st.just({"sum": [{"model": "fit", "weight": 0.4}]})),
    )
    bands = st.lists(st.tuples(NAMES, st.none() | POINTS.map(float)), max_size=3, unique_by=lambda band: band[0])
    return Draft(
        "some_key",
        draw(NAMES),
        draw(st.none() | TEXT),
        [{"name": name, "color": "#00fFaA", "min": least} for name, least in draw(bands)],
        sheet,
        [draw(rules(name)) for name in draw(st.lists(NAMES, max_size=3, unique=True))],
    )


def stored(draft: Draft) -> Draft:
    """The same as the database gives it back: every JSON with its names in another order."""

    def kept(value: Any) -> Any:  # Any: JSON
        return orjson.loads(orjson.dumps(value, option=orjson.OPT_SORT_KEYS))

    return replace(
        draft,
        bands=kept(draft.bands),
        sheet=Sheet.from_json(kept(draft.sheet.to_json())),
        rules=[Rule.from_json(kept(rule.to_json())) for rule in draft.rules],
    )


@settings(deadline=None)
@given(models())
def test_an_exported_model_is_read_as_it_was(model: Draft) -> None:
    [(document, faults)] = notation.read(documents.text([stored(model)]))
    again = documents.draft(document)

    assert [] == faults
    assert document == model.document == again.document
    assert compare(model.document, stored(again).document) is None


def test_a_file_can_say_all_that_the_api_can() -> None:
    every = Draft(
        "a", "A", "d", [{"name": "x", "color": "#000000", "min": 1}],
        Sheet("o", "o", OPENED, Decimal(1), Decimal(2), 3, {"g": Decimal(1)}, {"sum": [{"model": "b", "weight": 1}]}),
        [Rule(uuid4(), "r", RuleKind.EVENT, OPENED, Decimal(1), 1, "e", 1, 1, 1, {"half_life_days": 1}, Decimal(1),
              OPENED, "g", 1, 1, PerUnit("c"))],
    ).document  # fmt: skip

    assert set(ModelIn.model_fields) == every.keys() - {"rules"}
    [rule] = every["rules"] if isinstance(every["rules"], list) else []
    assert isinstance(rule, dict)
    assert set(RuleIn.model_fields) == rule.keys()


def test_what_goes_without_saying_is_left_out_and_the_rest_is_in_order() -> None:
    rule = Rule(
        uuid4(), "Silent", RuleKind.ABSENCE, {"rules": [OPENED], "not": False, "id": "x", "combinator": "and"},
        Decimal("-10.00"), after_days=30, max_times=1,
    )  # fmt: skip
    other = replace(rule, name="For ever", max_times=None)

    text = documents.text([Draft("quiet", "on", None, [], Sheet(), [rule, other])])

    condition = "{combinator: and, rules: [{field: event.type, operator: '=', value: email.opened}]}"
    said = f"    kind: absence\n    points: -10\n    condition: {condition}\n    after_days: 30\n"
    expected = (
        f"key: quiet\nname: 'on'\nrules:\n  - name: Silent\n{said}\n  - name: For ever\n{said}    max_times: null\n"
    )
    assert expected == text


def test_rules_of_one_name_are_told_apart() -> None:
    assert ["a", "a (3)", "a (2)", "b", "a (4)"] == documents.distinct(["a", "a", "a (2)", "b", "a"])


@pytest.mark.parametrize(
    ("was", "becomes", "found"),
    [
        ("key: mail", "key: Mail!", ["/key"]),
        ("name: Mail\n", "", ["/name"]),
        ("name: Mail", "name: yes\ncolour: red\nminimum: 3", ["/colour", "/minimum"]),
        ("name: Mail", "name: true", ["/name"]),
        ("color: '#d64545', min: 50", "color: red, min: many", ["/bands/1/color", "/bands/1/min"]),
        ("min: 50", "min: 1e999", ["/bands/1/min"]),
        ("name: Opened\n", "name: Opened\n    id: 7\n", ["/rules/0/id"]),
        ("    points: 0.1\n", "", ["/rules/0/points"]),
        ("points: 0.1", "points: 0.1\n    points: 0.2", ["/rules/0/points"]),
        ("points: 0.1", "points: ten\n    window_days: 2.5\n    kind: x", ["/rules/0/kind", "/rules/0/points",
                                                                       "/rules/0/window_days"]),
        ("points: 0.1", "points: 1\n    decay: {half_life_days: 0.5}", ["/rules/0/decay/half_life_days"]),
        ("name: Mail", "name: Mail\ncombine: {sum: [{model: fit}]}", ["/combine/sum/0/weight"]),
        ("name: Mail", "name: Mail\ngroups: [{name: a, max_points: 1}, {name: a, max_points: 2}]", ["/groups/1/name"]),
        ("value: email.opened", "value: 0.12345678901234567890", ["/rules/0/condition/value"]),
        ("value: email.opened", f"value: [{'9' * 30}]", ["/rules/0/condition/value/0"]),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_pointed_at(tmp_path: Path, was: str, becomes: str, found: list[str]) -> None:
    assert was in BASE

    assert sorted(found) == sorted(pointers(tmp_path, BASE.replace(was, becomes, 1)))


def test_every_fault_of_every_document_is_told_with_its_place(tmp_path: Path) -> None:
    both = file(tmp_path, f"{BASE}---\n- no model\n---\n{BASE}---\n{FIT.replace('0.1', 'ten')}")
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"name: caf\xe9")
    empty = file(tmp_path, "# nothing\n---\n", "empty.yaml")

    found = sources.read([both, str(latin), empty, str(tmp_path), "nowhere.yaml", "library:nothing"]).faults

    assert [
        f"{both}#2:  expected a model: its 'key', its 'name', and the rest",
        f"{both}#3:/key  another document is about 'mail', too",
        f"{both}#4:/rules/0/points  input should be a valid decimal",
        f"{latin}:  not UTF-8, from byte 9 on",
        f"{empty}:  there is no model in it",
        f"{tmp_path}:  is a directory",
        "nowhere.yaml:  no such file or directory",
        f"library:nothing:  there is no such ready-made model; there is {', '.join(sources.library())}",
    ] == [str(wrong) for wrong in found]


def test_rules_of_one_name_and_more_rules_than_a_model_may_have_are_refused(tmp_path: Path) -> None:
    rule = BASE.partition("rules:\n")[2]

    assert ["/rules/1/name"] == pointers(tmp_path, BASE + rule)
    many = BASE + "".join(rule.replace("Opened", f"Opened {number}") for number in range(500))
    assert ["/rules"] == pointers(tmp_path, many)


# --- what would change ------------------------------------------------------------------------------------------------


BOTH = "{combinator: and, rules: [{field: a, operator: =, value: 2}, {field: b, operator: =, value: x}]}"


def said(text: str) -> Draft:
    return documents.draft(read_one(text))


def difference(was: str, becomes: str) -> list[str]:
    change = compare(said(was).document, said(becomes).document)
    return [] if change is None else [f"{sign:1} {words}" for sign, words in lines(change)]


def test_a_change_is_told_by_what_was_and_what_becomes() -> None:
    becomes = (
        BASE.replace("name: Mail\n", "name: Mail\nwindow_days: 30\n")
        .replace("min: 50", "min: 60")
        .replace("- {name: cold", "- {name: cool")
        .replace("points: 0.1\n", "points: 0.10\n    max_per_day: 2\n")
    )
    becomes += "  - {name: Clicked, kind: event, points: 5, condition: {field: event.type, operator: '=', value: x}}\n"

    assert [
        "~ model mail",
        "    window_days: unset → 30",
        "+   band cool (color: '#5b8def'; min: null)",
        "~   band hot",
        "      min: 50 → 60",
        "-   band cold (color: '#5b8def'; min: null)",
        "~   rule Opened",
        "      max_per_day: unset → 2",
        "+   rule Clicked (kind: event; points: 5; condition: event.type = x)",
    ] == difference(BASE, becomes)


def test_the_order_of_bands_and_rules_and_what_an_editor_notes_change_nothing() -> None:
    two = BASE + BASE.partition("rules:\n")[2].replace("Opened", "Again")
    head, _, rules_of = two.partition("rules:\n")
    first, _, second = rules_of.partition("  - name: Again")
    cold, hot = BASE.splitlines()[3:5]
    turned = head.replace(cold, "x").replace(hot, cold).replace("x", hot) + f"rules:\n  - name: Again{second}{first}"
    noted = turned.replace("{field: event.type", "{not: false, id: 7, path: [0], field: event.type")

    assert turned != two
    assert [] == difference(two, turned)
    assert [] == difference(two, noted)


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("{field: event.type, operator: in, value: [a, b]}", "event.type in [a, b]"),
        ("{field: event.type, operator: 'null'}", "event.type null"),
        ("{field: event.type, operator: '=', value: 'true'}", "event.type = 'true'"),
        ("{field: event.type, operator: '=', value: true, muted: true}", "[muted: event.type = true]"),
        (
            f"{{combinator: or, not: true, rules: [{{field: c, operator: <, value: 1}}, {BOTH}]}}",
            "not (c < 1 or (a = 2 and b = x))",
        ),
    ],
)
def test_a_condition_is_told_in_words(condition: str, words: str) -> None:
    becomes = BASE.replace("{field: event.type, operator: '=', value: email.opened}", condition)

    assert f"      condition: event.type = email.opened → {words}" == difference(BASE, becomes)[-1]


def test_values_that_read_alike_are_told_exactly() -> None:
    was = BASE.replace("value: email.opened", "value: email.opened, valueSource: field")

    assert "valueSource: field" in difference(was, BASE)[-2]


def test_long_values_have_a_line_each_and_odd_names_are_quoted() -> None:
    rule = BASE.replace("name: Opened", 'name: "\\e[31mOpened"')
    long = BASE.replace("name: Mail\n", f"name: Mail\ndescription: {'words ' * 30}\n")

    assert ["    description: unset", "               → " + ("words " * 30).strip()] == difference(BASE, long)[1:]
    assert '+   rule "\\e[31mOpened" (' in "".join(difference(BASE, rule))


# --- in a database ----------------------------------------------------------------------------------------------------


async def look(database: Database, *names: str, to_publish: bool = False) -> Against:
    return await drafting.look(database, sources.read(names), to_publish=to_publish)


async def apply(database: Database, *names: str, to_publish: bool = False) -> list[str]:
    """As the command does; returns what was published."""
    against = await look(database, *names, to_publish=to_publish)
    assert [] == [str(wrong) for wrong in against.faults]
    pending = await publishing.pending(database, against) if to_publish else []
    await drafting.apply(database, against)
    for key in pending:
        await publishing.run(database, key, lambda _done, _of, _note: None)
    return pending


async def wrong_in(database: Database, *names: str, to_publish: bool = False) -> list[str]:
    """The faults, without the folder of their files."""
    faults = (await look(database, *names, to_publish=to_publish)).faults
    return [str(wrong).rpartition("/models.yaml")[2] for wrong in faults]


async def rows(database: Database, query: str) -> list[dict[str, Any]]:  # Any: of the columns
    async with database.hot.acquire() as db:
        return [dict(row) for row in await db.fetch(query)]


RULES = "SELECT id, said ->> 'name' AS name, said ->> 'points' AS points, updated_at FROM rule ORDER BY id"
LIVE = "SELECT key, live_version AS version FROM scoring_model ORDER BY key"


async def test_what_comes_with_the_product_can_be_applied_and_published_as_it_is(database: Database) -> None:
    names = [f"library:{key}" for key in sources.library()]

    published = await apply(database, *names, to_publish=True)

    assert {"fit", "hygiene", "inactivity", "priority", "reference", "starter"} == set(published)
    assert "priority" == [key for key in published if key in ("fit", "starter", "priority")][-1]
    assert {1} == {row["version"] for row in await rows(database, LIVE)}
    assert {"done"} == {row["status"] for row in await rows(database, "SELECT status FROM job")}
    [grid] = await rows(
        database, "SELECT v.bands FROM model_version v JOIN scoring_model m ON m.id = model_id WHERE key = 'priority'"
    )
    assert ["A1", "A2", "A3", "B1", "B2", "B3", "C1", "C2", "C3"] == sorted(band["name"] for band in grid["bands"])
    for draft in await drafting.drafted(database, []):
        assert draft.key == "priority" or (draft.bands and draft.rules)
        assert draft.description
        assert draft.sheet.objective
        assert draft.sheet.owner


async def test_what_was_applied_is_exported_and_applying_that_changes_nothing(
    database: Database, tmp_path: Path
) -> None:
    names = [f"library:{key}" for key in sources.library()]
    await apply(database, *names, to_publish=True)
    exported = file(tmp_path, documents.text(await drafting.drafted(database, [])))
    before = await rows(database, RULES)

    for again in (names, [exported]):
        against = await look(database, *again, to_publish=True)
        assert ([], []) == (against.faults, against.changes)
        assert [] == await apply(database, *again, to_publish=True)
    assert before == await rows(database, RULES)


async def test_a_rule_keeps_its_id_as_long_as_it_keeps_its_name(database: Database, tmp_path: Path) -> None:
    two = BASE + BASE.partition("rules:\n")[2].replace("Opened", "Clicked")
    await apply(database, file(tmp_path, two))
    opened, clicked = await rows(database, RULES)
    becomes = two.replace("0.1", "2.50", 1).replace("Clicked", "Clicked again")

    await apply(database, file(tmp_path, becomes))

    changed, added = await rows(database, RULES)
    assert (opened["id"], "2.50") == (changed["id"], changed["points"])
    assert changed["updated_at"] > opened["updated_at"]
    assert "Clicked again" == added["name"]
    assert clicked["id"] != added["id"]
    assert [2.5, 0.1] == [float(rule.points) for rule in (await drafting.drafted(database, ["mail"]))[0].rules]


async def test_rules_that_share_a_name_keep_their_ids_too(database: Database, tmp_path: Path) -> None:
    rule = {"name": "Opened", "kind": "event", "condition": OPENED, "points": 1}
    await drafts.create_model(database, "mail", {"name": "Mail"})
    for points in (1, 2):
        await drafts.create_rule(database, "mail", {**rule, "points": points})
    before = await rows(database, RULES)
    exported = documents.text(await drafting.drafted(database, ["mail"]))
    assert "name: Opened (2)" in exported
    assert [] == (await look(database, file(tmp_path, exported))).changes

    await apply(database, file(tmp_path, exported.replace("points: 2", "points: 3")))

    after = await rows(database, RULES)
    assert [row["id"] for row in before] == [row["id"] for row in after]
    assert [("Opened", "1"), ("Opened (2)", "3")] == [(row["name"], row["points"]) for row in after]


async def test_only_models_that_are_named_or_not_archived_are_exported(database: Database, tmp_path: Path) -> None:
    await apply(database, file(tmp_path, f"{BASE}---\n{FIT}"))
    async with database.batch() as db:
        await publish.archive(db, "fit", clock.now())

    assert ["mail"] == [draft.key for draft in await drafting.drafted(database, [])]
    assert ["fit", "mail"] == [draft.key for draft in await drafting.drafted(database, ["fit", "mail", "fit"])]
    with pytest.raises(NotFound, match="'nobody'"):
        await drafting.drafted(database, ["mail", "nobody"])


async def test_a_draft_that_changed_after_it_was_looked_at_is_left_alone_with_all_others(
    database: Database, tmp_path: Path
) -> None:
    await apply(database, file(tmp_path, FIT))
    against = await look(database, file(tmp_path, f"{BASE}---\n{FIT.replace('0.1', '5')}"))
    await drafts.change_model(database, "fit", {"name": "Mine"})

    with pytest.raises(Conflict, match="look again"):
        await drafting.apply(database, against)

    [left] = await drafting.drafted(database, [])
    assert ("fit", "Mine", Decimal("0.1")) == (left.key, left.name, left.rules[0].points)


@pytest.mark.parametrize("there", [FIT, BASE.replace("0.1", "7").replace("Opened", "Sent")])
async def test_of_two_who_apply_the_same_at_once_one_does(database: Database, tmp_path: Path, there: str) -> None:
    await apply(database, file(tmp_path, there))
    against = await look(database, file(tmp_path, BASE))

    ended = await asyncio.gather(*(drafting.apply(database, against) for _ in range(2)), return_exceptions=True)

    assert {type(None), Conflict} == set(map(type, ended))
    [mail] = await drafting.drafted(database, ["mail"])
    assert ["Opened"] == [rule.name for rule in mail.rules]


async def test_what_the_engine_refuses_is_pointed_at_in_every_document(database: Database, tmp_path: Path) -> None:
    text = f"""
{BASE.replace("event.type", "event.kind").replace("points: 0.1", "points: 0.125")}
    group: E-mail
---
{FIT.replace("name: hot", "name: Cold").replace("min: 50", "min: null")}
    after_days: 3
---
{GRID}rules:
  - {{name: Always, kind: profile, points: 1}}
---
key: total
name: Total
combine: {{sum: [{{model: nobody, weight: 1}}, {{model: mail, weight: 1}}]}}
audience: {{field: contact.bounced, operator: '>', value: 1}}
"""

    found = [line.partition("  ")[0] for line in await wrong_in(database, file(tmp_path, text))]

    assert [
        "#1:/rules/0/condition/field", "#1:/rules/0/points", "#1:/rules/0/group",
        "#2:/bands/1/name", "#2:/bands/1/min", "#2:/rules/0/after_days",
        "#3:/combine",
        "#4:/combine/sum/0/model", "#4:/audience/operator",
    ] == found  # fmt: skip
    assert [] == await rows(database, LIVE)


async def test_models_that_come_together_may_need_each_other_but_in_no_circle(
    database: Database, tmp_path: Path
) -> None:
    together = f"{GRID}---\n{FIT}---\n{BASE}"
    asked = "{field: event.type, operator: '=', value: email.opened}"
    circle = together.replace("kind: event", "kind: profile").replace(
        asked, "{field: contact.band.both, operator: '=', value: A1}"
    )

    assert [
        "#1:/combine/grid/rows",
        "#1:/combine/grid/columns",
        "#2:/rules/0/condition",
        "#3:/rules/0/condition",
    ] == [line.partition("  ")[0] for line in await wrong_in(database, file(tmp_path, circle))]
    assert ["fit", "mail", "both"] == await apply(database, file(tmp_path, together), to_publish=True)


async def test_a_model_said_wrongly_is_not_missed_by_those_that_need_it(database: Database, tmp_path: Path) -> None:
    text = f"{GRID}---\n{FIT.replace('0.1', 'ten')}---\n{BASE.replace('min: 50', 'min: null')}"

    assert ["#2:/rules/0/points", "#3:/bands/1/min"] == [
        line.partition("  ")[0] for line in await wrong_in(database, file(tmp_path, text))
    ]


async def test_what_could_not_be_published_is_told_before_anything_is_changed(
    database: Database, tmp_path: Path
) -> None:
    await apply(database, file(tmp_path, f"{FIT}---\n{BASE}"))
    async with database.batch() as db:
        await publish.archive(db, "mail", clock.now())
    grid, mail = file(tmp_path, GRID), file(tmp_path, BASE.replace("0.1", "2"), "mail.yaml")

    assert [":  it needs scores that nobody computes; publish fit, mail too"] == await wrong_in(
        database, grid, to_publish=True
    )
    [archived] = (await look(database, mail, to_publish=True)).faults
    assert "/key  the model is archived" in str(archived)
    assert [] == (await look(database, grid, mail)).faults


# --- publishing -------------------------------------------------------------------------------------------------------


async def test_what_was_applied_before_is_published_later_and_once(database: Database, tmp_path: Path) -> None:
    models = file(tmp_path, f"{FIT}---\n{BASE}")
    await apply(database, models)

    assert ["fit", "mail"] == await apply(database, models, to_publish=True)
    assert [] == await apply(database, models, to_publish=True)
    assert [{"key": "fit", "version": 1}, {"key": "mail", "version": 1}] == await rows(database, LIVE)


async def test_a_grid_that_follows_new_bands_is_finished_too(database: Database, tmp_path: Path) -> None:
    await apply(database, file(tmp_path, f"{GRID}---\n{FIT}---\n{BASE}"), to_publish=True)

    published = await apply(database, file(tmp_path, BASE.replace("name: hot", "name: glowing")), to_publish=True)

    assert ["mail"] == published
    assert [2, 1, 2] == [row["version"] for row in await rows(database, LIVE)]
    assert {"done"} == {row["status"] for row in await rows(database, "SELECT status FROM job")}


async def test_a_worker_that_lives_is_waited_for(database: Database, tmp_path: Path) -> None:
    await apply(database, file(tmp_path, BASE))
    await workers.beat(database, uuid4(), clock.now())
    steps: list[int] = []
    waiting = asyncio.create_task(publishing.run(database, "mail", lambda done, _of, _note: steps.append(done)))
    await asyncio.sleep(0.5)
    [job] = await rows(database, "SELECT id, kind, status FROM job")
    assert "queued" == job["status"]

    await JOBS[job["kind"]](database, job["id"])

    await waiting
    assert (0, 1_000) == (steps[0], steps[-1])


async def test_a_job_that_failed_is_told(database: Database, tmp_path: Path) -> None:
    await apply(database, file(tmp_path, BASE))
    await workers.beat(database, uuid4(), clock.now())
    waiting = asyncio.create_task(publishing.run(database, "mail", lambda _done, _of, _note: None))
    await asyncio.sleep(0.5)
    async with database.batch() as db:
        await db.execute("UPDATE job SET status = 'failed', error = 'the disk is full'")

    with pytest.raises(Conflict, match="the disk is full"):
        await waiting


# --- the commands -----------------------------------------------------------------------------------------------------


def test_the_commands_export_compare_and_apply(here: Here, blank: str, tmp_path: Path) -> None:
    mail = file(tmp_path, BASE)

    compared = here("models", "diff", mail, DATABASE_URL=blank)
    assert (1, "") == (compared.returncode, compared.stderr)
    assert "+ model mail\n    name: Mail\n" in compared.stdout
    assert "Models: 1 new. Rules: 1 added.\n" in compared.stdout
    asked = here("models", "apply", mail, DATABASE_URL=blank)
    assert (1, "error: there is nobody to ask here; say --yes\n") == (asked.returncode, asked.stderr)
    applied = here("models", "apply", mail, "--yes", "--publish", DATABASE_URL=blank)
    assert (0, True) == (applied.returncode, "Publishing mail: 100 %" in applied.stderr)
    assert "To be published: mail." in applied.stdout

    exported = here("models", "export", DATABASE_URL=blank)
    assert (0, BASE) == (exported.returncode, exported.stdout)
    folder = here("models", "export", "mail", "--to", str(tmp_path / "models"), DATABASE_URL=blank)
    assert (0, BASE) == (folder.returncode, (tmp_path / "models" / "mail.yaml").read_text(encoding="utf-8"))

    same = here("models", "diff", str(tmp_path / "models" / "mail.yaml"), DATABASE_URL=blank)
    assert (0, "The drafts say what the files say.\n") == (same.returncode, same.stdout)


def test_faults_are_lines_on_standard_error_and_nothing_is_changed(here: Here, blank: str, tmp_path: Path) -> None:
    wrong = file(tmp_path, BASE.replace("0.1", "0.125").replace("event.type", "event.kind"))

    ended = here("models", "apply", "library:fit", wrong, "--yes", DATABASE_URL=blank)

    assert (2, "") == (ended.returncode, ended.stdout)
    first, second = ended.stderr.splitlines()
    assert first.startswith(f"{wrong}:/rules/0/condition/field  unknown field; ")
    assert f"{wrong}:/rules/0/points  expected at most 1000000000 with 2 decimals" == second
    assert (0, "") == (here("models", "export", DATABASE_URL=blank).returncode, "")


def test_what_keeps_a_command_from_its_work_is_no_difference(here: Here, blank: str, tmp_path: Path) -> None:
    nowhere = blank.replace("leadtally_test_", "leadtally_none_")

    assert 2 == here("models", "diff", "library:fit", DATABASE_URL=nowhere).returncode
    assert 1 == here("models", "export", DATABASE_URL=nowhere).returncode
    beside = here("models", "export", "--to", file(tmp_path, BASE), DATABASE_URL=blank)
    assert (1, True) == (beside.returncode, "cannot write to" in beside.stderr)


def test_the_ready_made_models_are_listed_and_shown(here: Here) -> None:
    listed, shown, none = (here("models", "library", *more) for more in ([], ["show", "priority"], ["show", "x"]))

    assert (0, 0, 1) == (listed.returncode, shown.returncode, none.returncode)
    assert all(key in listed.stdout for key in sources.library())
    assert sources.library()["priority"] == shown.stdout
    assert "there is no ready-made model 'x'" in none.stderr


@pytest.mark.parametrize(("answer", "code", "is_applied"), [(b"n\n", 1, False), (b"y\n", 0, True)])
def test_on_a_terminal_it_asks(
    here: Here, blank: str, tmp_path: Path, answer: bytes, code: int, is_applied: bool
) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [LEADTALLY, "models", "apply", file(tmp_path, BASE)],
        env=environment(DATABASE_URL=blank),
        stdin=theirs,
        stdout=subprocess.PIPE,
    )
    os.write(ours, answer)

    output, _ = process.communicate(timeout=60)

    os.close(ours)
    os.close(theirs)
    assert (code, True) == (process.returncode, b"Apply this? [y/N]: " in output)
    assert (BASE if is_applied else "") == here("models", "export", DATABASE_URL=blank).stdout
