"""Who may ask, how much, and what comes of mistakes: the client's and ours."""

from typing import Any

import pytest
from fastapi import Request
from graphql import GraphQLObjectType, GraphQLSchema, get_introspection_query
from httpx import ASGITransport, AsyncClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import create_async_engine
from structlog.testing import capture_logs

from app.api.problems import answer_to, problem
from app.engine.plan import Plans
from app.graphql import limits, schema, serving
from app.store.db import Database
from tests.graphql.conftest import Ask
from tests.graphql.test_paging import PAGE
from tests.graphql.world import Lead, leads, model

HTML = {"accept": "text/html,*/*;q=0.8"}
JSON = {"accept": "application/json"}


@pytest.mark.parametrize(("key", "status", "code"), [("bad", 401, "not_authenticated"), ("weak", 403, "not_allowed")])
async def test_nothing_is_parsed_or_executed_without_a_key_that_may(
    client: AsyncClient, key: str, status: int, code: str
) -> None:
    client.headers["authorization"] = f"Bearer {key}"

    for reply in (
        await client.post("/graphql", json={"query": "{ rules { id } }"}),
        await client.post("/graphql", content=b"not json"),
        await client.get("/graphql", params={"query": "{ rules { id } }"}, headers=HTML),
        await client.get("/graphql", params={"query": "{ __schema { types { name } } }"}),
        await client.get("/graphql", headers=JSON),
    ):
        assert (status, code) == (reply.status_code, reply.json()["code"])


async def test_the_graphiql_page_is_served_without_a_key(client: AsyncClient) -> None:
    del client.headers["authorization"]

    reply = await client.get("/graphql", headers=HTML)

    assert (200, "text/html; charset=utf-8") == (reply.status_code, reply.headers["content-type"])
    assert "GraphiQL" in reply.text


async def test_a_query_may_come_by_get(client: AsyncClient) -> None:
    params = {"query": "query($k: String!) { scoringModel(key: $k) { key } }", "variables": '{"k": "x"}'}

    reply = await client.get("/graphql", params=params, headers=JSON)

    assert reply.json() == {"data": {"scoringModel": None}}


async def test_introspection_is_answered_for_a_key(data: Ask) -> None:
    found = await data(get_introspection_query())

    assert found["__schema"]["queryType"]["name"] == "Query"


def test_every_type_field_argument_and_value_is_described() -> None:
    known: GraphQLSchema = schema.build()._schema
    bare = []
    for name, kind in known.type_map.items():
        if name.startswith("__"):
            continue
        if not kind.description:
            bare.append(name)
        for field_name, field in getattr(kind, "fields", {}).items():
            bare += [] if field.description else [f"{name}.{field_name}"]
            if isinstance(kind, GraphQLObjectType):
                bare += [f"{name}.{field_name}({key})" for key, arg in field.args.items() if not arg.description]
        bare += [f"{name}.{key}" for key, value in getattr(kind, "values", {}).items() if not value.description]

    assert bare == []


def nested(levels: int) -> str:
    """A query that is `levels` fields deep, by a chain of fragments."""
    chain = "".join(f"fragment f{n} on Query {{ ...f{n + 1} }} " for n in range(20))
    return f"{{ ...f0 }} {chain} fragment f20 on Query {'{ x ' * levels}{'}' * levels}"


DOUBLING = "{ ...f0 } " + "".join(
    f"fragment f{n} on Query {{ a{n}: contacts {{ nodes {{ id }} }} ...f{n + 1} ...g{n} }} "
    f"fragment g{n} on Query {{ b{n}: contacts {{ nodes {{ id }} }} ...f{n + 1} }} "
    for n in range(30)
)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        (nested(13), "13 fields deep; at most 12"),
        ("{ " + " ".join(f"a{n}: rules {{ id }}" for n in range(61)) + " }", "more than 60 aliases"),
        (DOUBLING + "fragment f30 on Query { rules { id } }", "more than 60 aliases"),
        ("{ " + "rules " * 2_000 + "}", "more than 2000 tokens"),
        ("{" + "a{" * 900 + "a" + "}" * 901, "nested too deeply"),
        ("{ contacts(filter: " + "{not:" * 300 + "{}" + "}" * 300 + ") { totalCount } }", ""),
    ],
)
async def test_a_query_over_a_limit_is_refused_with_the_limit(fault: Ask, query: str, says: str) -> None:
    error = await fault(query)

    assert says in error["message"]
    assert error["extensions"]["code"] in {"too_large", "invalid_query", "invalid_input"}


async def test_a_query_at_the_limits_is_answered(data: Ask) -> None:
    await data("{ " + " ".join(f"a{n}: rules {{ id }}" for n in range(60)) + " }")
    await data("{ contacts { edges { node { scores { model { rules { model { key } } } } } } } }")


async def test_variables_nested_too_deeply_are_refused(fault: Ask) -> None:
    wanted: dict[str, Any] = {}
    for _ in range(300):
        wanted = {"not": wanted}

    error = await fault(PAGE, filter=wanted)

    assert error["message"] == "variables may be nested at most 24 deep"
    assert error["extensions"]["code"] == "too_large"


async def test_an_answer_of_too_many_objects_is_refused(
    database: Database, fault: Ask, data: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_OBJECTS", 20)
    await leads(database, *(Lead(f"p{n}@x.co") for n in range(10)))

    await data("{ contacts { nodes { identities { kind } } } }")
    error = await fault(
        "{ contacts { nodes { id } } b: contacts { nodes { id } } c: contacts(first: 1) { nodes { id } } }"
    )

    assert error["extensions"]["code"] == "too_large"
    assert "more than 20 objects" in error["message"]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("{ nope }", "Cannot query field 'nope'"),
        ("{ contacts(first: x) { totalCount } }", "Int cannot represent"),
        ("{ ", "Syntax Error"),
        ("{ ...unknown }", "Unknown fragment"),
        ("{ ...a } fragment a on Query { ...a }", "Cannot spread fragment"),
        ("query($a: Int!) { contacts(first: $a) { totalCount } }", "'$a'"),
    ],
)
async def test_a_mistake_in_a_query_keeps_its_text_and_is_not_logged(ask: Ask, query: str, says: str) -> None:
    with capture_logs() as logs:
        errors = (await ask(query))["errors"]

    assert says in errors[0]["message"]
    assert errors[0]["extensions"]["code"] == "invalid_query"
    assert logs == []


async def test_an_unexpected_error_is_masked_and_logged_once(database: Database, ask: Ask) -> None:
    await leads(database, Lead(), Lead())
    async with database.batch() as db:
        await db.execute("UPDATE contact SET bounce_status = 'secret'")

    with capture_logs() as logs:
        answer = await ask("{ contacts { nodes { id } } }")

    (error,) = answer["errors"]
    assert error["message"] == "internal error"
    assert error["extensions"] == {"code": "internal_error"}
    assert error["path"] == ["contacts"]
    assert "secret" not in str(answer)
    (entry,) = logs
    assert entry["event"] == "unexpected error in GraphQL"
    assert "secret" in str(entry["exc_info"])


async def test_a_loaders_error_is_logged_once_however_many_fields_waited_for_it(database: Database, ask: Ask) -> None:
    await model(database, "engagement")
    await leads(database, Lead("a@x.co", scores={"engagement": 1}), Lead("b@x.co", scores={"engagement": 1}))
    async with database.batch() as db:
        await db.execute("""UPDATE model_version SET rules = '[{"id": "secret"}]'""")

    with capture_logs() as logs:
        fields = "{ scores { model { rules { id } } } }"
        answer = await ask(f'{{ a: contact(email: "a@x.co") {fields} b: contact(email: "b@x.co") {fields} }}')

    assert [{"code": "internal_error"}] * 2 == [error["extensions"] for error in answer["errors"]]
    assert len(logs) == 1


async def test_a_database_out_of_reach_is_said_to_be_so(plans: Plans) -> None:
    async def authenticate(_: Request) -> None: ...

    gone = Database("postgresql://nobody@/nothing?host=/nowhere")
    gone.engine = create_async_engine(gone.url.set(drivername="postgresql+asyncpg"))
    endpoint = serving.Endpoint(gone, plans, authenticate, answer_to, problem)
    async with AsyncClient(transport=ASGITransport(endpoint), base_url="http://test") as client:
        reply = await client.post("/graphql", json={"query": "{ rules { id } }"})

    (error,) = reply.json()["errors"]
    assert error["extensions"]["code"] == "unavailable"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"5",
        b'"query"',
        b"[]",
        b'[{"query": "{ rules { id } }"}]',
        b"{",
        b"\xff\xfe",
        b"{}",
        b'{"query": null}',
        b'{"query": ""}',
        b'{"query": 5}',
        b'{"query": "{ rules { id } }", "variables": []}',
        b'{"query": "{ rules { id } }", "variables": "x"}',
        b'{"query": "{ rules { id } }", "extensions": 5}',
        b'{"query": "{ rules { id } }", "operationName": "other"}',
        b'{"query": "{ rules { id } }", "operationName": {"a": []}}',
        b'{"query": "query a { rules { id } } query b { rules { id } }"}',
        b'{"query": "mutation { x }"}',
        b'{"query": "subscription { x }"}',
        b'{"query": "fragment a on Query { rules { id } }"}',
        b'{"query": "\\ud800"}',
        b'{"query": "{ rules { id } }", "variables": {"x": NaN}}',
        b'{"query": "{ rules { id } }", "variables": {"x": ' + b"9" * 5_000 + b"}}",
        b'{"query": "{ rules { id } }", "variables": {"x": ' + b"[" * 50_000 + b"]" * 50_000 + b"}}",
    ],
)
@pytest.mark.parametrize(
    "kind", ["application/json", "text/plain", "multipart/form-data", "application/json; charset*=x''%"]
)
async def test_no_body_gives_an_error_of_ours(client: AsyncClient, body: bytes, kind: str) -> None:
    with capture_logs() as logs:
        reply = await client.post("/graphql", content=body, headers={"content-type": kind})

    assert reply.status_code in {200, 400, 415}
    assert logs == []
    if reply.status_code == 200:
        assert "internal error" not in reply.text


ODD: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**30), 10**30),
        st.sampled_from([2**31, -(2**31) - 1, 2**63, 10**400, 1e308, 5e-324, -0.0]),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
        st.sampled_from(["\0", "a\0b", "engagement", "Hot", "HARD", "DESC", "%", "'", "0-0-0-0-00g"]),
    ),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["score", "scores", "band", "model", "name", "gte", "lt", "tag", "email", "stage", "and", "or", "not",
             "bounced", "bounceStatus", "direction", "createdAt", "lastEventAt"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip
FUZZED = {
    "page": (PAGE, ["first", "after", "last", "before", "filter", "orderBy"]),
    "contact": ("query($id: ID, $email: String) { contact(id: $id, email: $email) { id } }", ["id", "email"]),
    "model": ("query($key: String!) { scoringModel(key: $key) { key } }", ["key"]),
    "rules": ("query($model: String) { rules(model: $model) { id } }", ["model"]),
    "events": (
        "query($n: Int!, $types: [String!]) { contacts { nodes { events(first: $n, types: $types) { id } } } }",
        ["n", "types"],
    ),
    "score": ("query($model: String!) { contacts { nodes { score(model: $model) { value } } } }", ["model"]),
}


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=st.sampled_from(list(FUZZED)), data_=st.data())
async def test_no_variables_give_an_error_of_ours(client: AsyncClient, case: str, data_: st.DataObject) -> None:
    query, names = FUZZED[case]
    variables = data_.draw(st.fixed_dictionaries({}, optional=dict.fromkeys(names, ODD)))

    with capture_logs() as logs:
        reply = await client.post("/graphql", json={"query": query, "variables": variables})

    assert reply.status_code in {200, 400}
    assert logs == []
    assert "internal error" not in reply.text


NUMBER: st.SearchStrategy[float] = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
BOUNDS = st.dictionaries(st.sampled_from(["gte", "gt", "lte", "lt"]), NUMBER)
ONE: st.SearchStrategy[dict[str, Any]] = st.one_of(
    BOUNDS.map(lambda bounds: {"score": {"model": "engagement", **bounds}}),
    st.tuples(st.sampled_from(["tag", "email", "stage"]), TEXT).map(lambda pair: dict([pair])),
    st.tuples(st.sampled_from(["suppressed", "bounced", "optedOut"]), st.booleans()).map(lambda pair: dict([pair])),
)
WELL_FORMED: st.SearchStrategy[dict[str, Any]] = st.recursive(
    ONE,
    lambda inner: st.one_of(
        inner.map(lambda one: {"not": one}),
        st.lists(inner, min_size=1, max_size=3).map(lambda several: {"or": several}),
        st.lists(inner, min_size=1, max_size=3).map(lambda several: {"and": several}),
    ),
    max_leaves=5,
)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(wanted=WELL_FORMED)
async def test_a_filter_and_its_opposite_share_everybody_between_them(
    database: Database, client: AsyncClient, wanted: dict[str, Any]
) -> None:
    async with database.hot.acquire() as db:
        if not await db.fetchval("SELECT count(*) FROM contact"):
            await model(database, "engagement")
            await leads(database, Lead(), Lead("a@x.co", scores={"engagement": 5}, tags=["a"], stage="b", bounced=True))
    query = """query($wanted: ContactFilter!) {
        yes: contacts(filter: $wanted) { totalCount } no: contacts(filter: {not: $wanted}) { totalCount } }"""

    reply = (await client.post("/graphql", json={"query": query, "variables": {"wanted": wanted}})).json()

    assert 2 == reply["data"]["yes"]["totalCount"] + reply["data"]["no"]["totalCount"]
