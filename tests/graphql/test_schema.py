"""The schema as it is committed, and what may become of it."""

import re
from pathlib import Path

from graphql import GraphQLSchema, build_schema
from graphql.utilities import find_breaking_changes

from app.graphql import export, schema

ROOT = Path(__file__).parents[2]
ANNOUNCED = ROOT / "docs" / "graphql-breaking.md"


def unannounced(before: GraphQLSchema, after: GraphQLSchema, announced: str) -> list[str]:
    """What breaks, less what is said in so many words."""
    return [
        change.description for change in find_breaking_changes(before, after) if change.description not in announced
    ]


def test_the_committed_schema_is_that_of_the_code() -> None:
    committed = (ROOT / "schema.graphql").read_text(encoding="utf-8")

    assert export.text() == committed, "run `make schema`, and look at what has changed"


def test_no_change_since_the_last_release_breaks_a_client_unannounced() -> None:
    released = build_schema((Path(__file__).parent / "released.graphql").read_text(encoding="utf-8"))

    assert [] == unannounced(released, build_schema(export.text()), ANNOUNCED.read_text(encoding="utf-8"))


def test_a_breaking_change_is_found_unless_it_is_announced() -> None:
    before = build_schema("type Query { a: Int b: Int }")
    after = build_schema("type Query { a: Int }")

    assert ["Field Query.b was removed."] == unannounced(before, after, "")
    assert [] == unannounced(before, after, "- Field Query.b was removed.\n  Ask `a`.")


def test_every_described_value_has_an_example_where_its_form_is_not_obvious() -> None:
    """Arguments and inputs that are text: a name, a key, an address, a cursor has a form."""
    known = schema.build()._schema
    bare = []
    for name, kind in known.type_map.items():
        if name.startswith("__"):
            continue
        for field_name, field in getattr(kind, "fields", {}).items():
            given = {f"{name}.{field_name}({key})": arg for key, arg in getattr(field, "args", {}).items()}
            if not hasattr(field, "args"):
                given = {f"{name}.{field_name}": field}
            for place, one in given.items():
                is_text = re.sub(r"[\[\]!]", "", str(one.type)) in {"String", "DateTime", "JSON"}
                said = one.description or ""
                if is_text and "`" not in said and "cursor" not in said and "record's id" not in said:
                    bare.append(place)

    assert [] == bare
