"""GraphQL over HTTP: what a request may be, which answer it is sent, and which documents are executed at all."""

import hashlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeAlias

import orjson
import pytest
from graphql import FragmentDefinitionNode, GraphQLError, OperationDefinitionNode, get_variable_values, parse
from httpx import ASGITransport, AsyncClient, Response

from app.api.problems import answer_to, problem
from app.engine.plan import Plans
from app.graphql import cost, documents, limits, schema, serving
from app.graphql.accepting import preferred
from app.graphql.documents import Documents
from app.store.db import Database
from tests.graphql.conftest import Ask
from tests.graphql.world import Lead, leads

GRAPHQL = "application/graphql-response+json"
JSON = "application/json"
GOOD = "{ scoringModels { key } }"
BAD = "{ nope }"

Made: TypeAlias = Callable[..., AsyncClient]


@pytest.fixture
async def made(migrated: Database, plans: Plans, database: Database) -> AsyncIterator[Made]:
    """Clients of endpoints with options of their own, which ask for no key."""

    async def authenticate(_: object) -> None: ...

    clients: list[AsyncClient] = []

    def make(**options: Any) -> AsyncClient:
        endpoint = serving.Endpoint(migrated, plans, authenticate, answer_to, problem, **options)
        clients.append(AsyncClient(transport=ASGITransport(endpoint), base_url="http://test"))
        return clients[-1]

    yield make
    for one in clients:
        await one.aclose()


async def post(client: AsyncClient, accept: str = GRAPHQL, **body: Any) -> Response:
    return await client.post("/graphql", json=body, headers={"accept": accept})


def persisted(digest: str, version: int = 1) -> dict[str, Any]:
    return {"persistedQuery": {"version": version, "sha256Hash": digest}}


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def code(reply: Response) -> str:
    said: str = reply.json()["errors"][0]["extensions"]["code"]
    return said


@pytest.mark.parametrize(
    ("accept", "is_page", "kind"),
    [
        ("", False, JSON),
        ("*/*", True, JSON),
        ("application/*", False, JSON),
        (JSON, False, JSON),
        (GRAPHQL, False, GRAPHQL),
        (f"{GRAPHQL}; charset=utf-8, {JSON}; charset=utf-8", False, GRAPHQL),
        (f"{GRAPHQL};q=0.5, {JSON}", False, JSON),
        (f"{GRAPHQL}, {JSON};q=0.9, */*;q=0.1", False, GRAPHQL),
        (f"{JSON};q=0, */*", False, GRAPHQL),
        ("text/html,application/xhtml+xml,*/*;q=0.8", True, "text/html"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", False, JSON),
        ("text/html", False, None),
        ("image/png", True, None),
        (f"{JSON};q=x", False, None),
    ],
)
def test_the_answer_is_of_the_kind_that_the_client_prefers(accept: str, is_page: bool, kind: str | None) -> None:
    assert kind == preferred(accept.encode(), is_page=is_page)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"query": GOOD}, 200),
        ({"query": "{ contact { id } }"}, 200),
        ({"query": "{ contacts(first: 999) { nodes { id } } }"}, 200),
        ({"query": BAD}, 400),
        ({"query": "{"}, 400),
        ({"query": "query($a: Int!) { contacts(first: $a) { nodes { id } } }", "variables": {"a": "x"}}, 400),
        ({"query": GOOD, "operationName": "other"}, 400),
        ({"query": f"query a {GOOD} query b {GOOD}"}, 400),
        ({"query": "mutation { x }"}, 400),
    ],
)
async def test_the_status_says_what_was_not_executed_to_those_to_whom_it_is_told(
    client: AsyncClient, body: dict[str, Any], status: int
) -> None:
    told, other = await post(client, **body), await post(client, JSON, **body)

    assert (status, f"{GRAPHQL}") == (told.status_code, told.headers["content-type"])
    assert (200, JSON) == (other.status_code, other.headers["content-type"])
    assert told.json() == other.json()
    assert (status == 200) == ("data" in told.json())
    assert told.headers["vary"] == "accept"


@pytest.mark.parametrize(
    ("method", "options", "status"),
    [
        ("PUT", {"json": {"query": GOOD}}, 405),
        ("DELETE", {}, 405),
        ("POST", {"json": {"query": GOOD}, "headers": {"accept": "image/png"}}, 406),
        ("POST", {"content": GOOD, "headers": {"content-type": "application/graphql"}}, 415),
        (
            "POST",
            {"content": b'{"query": "{a}"}', "headers": {"content-type": "application/json; charset=utf-16"}},
            415,
        ),
        ("POST", {"content": b"{", "headers": {"content-type": JSON}}, 400),
        ("POST", {"json": [{"query": GOOD}]}, 400),
        ("POST", {"json": {}}, 400),
        ("POST", {"json": {"query": 5}}, 400),
        ("POST", {"json": {"query": GOOD, "variables": []}}, 400),
        ("GET", {"params": {}}, 400),
        ("GET", {"params": {"query": GOOD, "variables": "["}}, 400),
    ],
)
async def test_what_is_no_request_of_graphqls_is_answered_with_a_problem(
    client: AsyncClient, method: str, options: dict[str, Any], status: int
) -> None:
    reply = await client.request(method, "/graphql", **options)

    assert (status, "application/problem+json") == (reply.status_code, reply.headers["content-type"])
    assert (reply.headers.get("allow") == "GET, POST") == (status == 405)


async def test_utf8_may_be_said_of_a_body(client: AsyncClient) -> None:
    kind = {"content-type": 'application/json; charset="UTF-8"'}

    assert 200 == (await client.post("/graphql", content=orjson.dumps({"query": GOOD}), headers=kind)).status_code


# --- documents


async def test_a_document_is_parsed_and_validated_once(monkeypatch: pytest.MonkeyPatch, made: Made) -> None:
    parsed: list[str] = []
    read = Documents._read

    def noted(self: Documents, text: str) -> Any:
        parsed.append(text)
        return read(self, text)

    monkeypatch.setattr(Documents, "_read", noted)
    client = made()

    for query in (GOOD, GOOD, BAD, BAD):
        await post(client, query=query)

    assert [GOOD, BAD, BAD] == parsed


async def test_documents_are_kept_within_bounds(
    monkeypatch: pytest.MonkeyPatch, migrated: Database, made: Made
) -> None:
    monkeypatch.setattr(documents, "_MOST", 3)
    monkeypatch.setattr(documents, "_MOST_CHARACTERS", 100)
    client = made()
    texts = [f"{{ a{n}: scoringModels {{ key }} }}" for n in range(9)]

    for text in texts:
        await post(client, query=text, extensions=persisted(sha256(text)))
    known = [200 == (await post(client, extensions=persisted(sha256(text)))).status_code for text in texts]

    assert [False] * 6 + [True] * 3 == known


async def test_a_client_may_send_the_hash_of_a_query_that_it_has_sent_before(made: Made) -> None:
    client = made()
    digest = sha256(GOOD)

    unknown = await post(client, JSON, extensions=persisted(digest))
    first = await post(client, query=GOOD, extensions=persisted(digest))
    then = await post(client, extensions=persisted(digest))
    params = {"extensions": orjson.dumps(persisted(digest)).decode()}
    got = await client.get("/graphql", params=params, headers={"accept": GRAPHQL})

    assert ("PersistedQueryNotFound", "PERSISTED_QUERY_NOT_FOUND") == (
        unknown.json()["errors"][0]["message"],
        code(unknown),
    )
    assert {"data": {"scoringModels": []}} == first.json() == then.json() == got.json()


async def test_a_hash_must_be_that_of_its_query_and_the_query_be_valid(made: Made) -> None:
    client = made()

    wrong = await post(client, query=GOOD, extensions=persisted(sha256(BAD)))
    await post(client, query=BAD, extensions=persisted(sha256(BAD)))

    assert "invalid_input" == code(wrong)
    for text in (GOOD, BAD):
        assert "PERSISTED_QUERY_NOT_FOUND" == code(await post(client, extensions=persisted(sha256(text))))


async def test_another_version_of_the_protocol_is_not_supported(made: Made) -> None:
    reply = await post(made(), extensions=persisted(sha256(GOOD), version=2))

    assert "PERSISTED_QUERY_NOT_SUPPORTED" == code(reply)


async def test_only_the_operations_of_a_list_are_executed(made: Made) -> None:
    client = made(allowed={"models": GOOD})

    by_id, by_text = await post(client, extensions=persisted("models")), await post(client, query=GOOD)
    other_id, other_text = await post(client, extensions=persisted("x")), await post(client, query=f"{GOOD} ")
    registered = await post(client, query=BAD, extensions=persisted(sha256(BAD)))

    assert [200, 200] == [by_id.status_code, by_text.status_code]
    assert [403, 403, 403] == [one.status_code for one in (other_id, other_text, registered)]
    assert ["PERSISTED_QUERY_NOT_IN_LIST", "QUERY_NOT_IN_SAFELIST"] == [code(other_id), code(other_text)]


async def test_a_list_with_a_query_that_the_schema_does_not_allow_is_refused(made: Made) -> None:
    with pytest.raises(ValueError, match="operation 'bad' of the allow-list: Cannot query field 'nope'"):
        made(allowed={"good": GOOD, "bad": BAD})


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"a": GOOD}, {"a": GOOD}),
        (
            {
                "format": "apollo-persisted-query-manifest",
                "version": 1,
                "operations": [{"id": "a", "name": "A", "type": "query", "body": GOOD}],
            },
            {"a": GOOD},
        ),
        ([], None),
        ({"a": 5}, None),
        ({"format": "apollo-persisted-query-manifest", "version": 1}, None),
    ],
)
def test_a_manifest_is_apollos_or_an_object_of_queries(
    tmp_path: Path, said: object, expected: dict[str, str] | None
) -> None:
    path = tmp_path / "manifest.json"
    path.write_bytes(orjson.dumps(said))

    if expected is None:
        with pytest.raises(ValueError, match="neither a persisted query manifest nor"):
            documents.manifest(path)
    else:
        assert expected == documents.manifest(path)


def test_a_manifest_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(documents.ListRefused, match=r"none\.json: No such file or directory"):
        documents.manifest(tmp_path / "none.json")


async def test_introspection_can_be_switched_off(made: Made) -> None:
    client = made(introspection=False)

    reply = await post(client, query="{ __schema { types { name } } }")

    assert 400 == reply.status_code
    assert "introspection has been disabled" in reply.text
    assert 200 == (await post(client, query="{ __typename scoringModels { __typename } }")).status_code


# --- cost


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("{ contacts { nodes { id } } }", 50),
        ("{ contacts(first: 7) { edges { node { id } } nodes { id } pageInfo { endCursor } } }", 14),
        ("{ contacts(last: 3) { nodes { events(first: 4) { id } } } }", 15),
        ("query($n: Int!) { contacts(first: $n) { nodes { events { id } } } }", 2 * 11),
        ("{ contacts { nodes @skip(if: true) { id } edges @include(if: false) { cursor } } }", 0),
        ("{ contacts(first: 5) { nodes { ...a } } } fragment a on Contact { scores { value } ... { email } }", 55),
        ('{ contactsByIds(ids: ["a", "b", "c"]) { id } }', 3),
        ("{ scoringModels { rules { id } } }", 110),
        ("{ __schema { types { fields { name } } } }", 0),
    ],
)
def test_what_a_query_costs_is_known_before_it_is_executed(query: str, expected: int) -> None:
    known = schema.build()._schema
    ast = parse(query)
    operation, *_ = (one for one in ast.definitions if isinstance(one, OperationDefinitionNode))
    fragments = {one.name.value: one for one in ast.definitions if isinstance(one, FragmentDefinitionNode)}
    variables = get_variable_values(known, operation.variable_definitions or (), {"n": 2})
    assert not isinstance(variables, list)

    cost.check(known, operation, fragments, variables, expected)
    with pytest.raises(GraphQLError) as refused:
        cost.check(known, operation, fragments, variables, expected - 1)

    assert {"code": "too_large", "cost": expected, "limit": expected - 1} == refused.value.extensions


@pytest.mark.parametrize("compiled", [True, False])
async def test_a_query_that_costs_too_much_is_told_what_it_costs_and_what_it_may(made: Made, compiled: bool) -> None:
    events = " ".join(f"a{n}: events(first: 100) {{ id }}" for n in range(3))

    reply = await post(made(compiled=compiled), query=f"{{ contacts(first: 200) {{ nodes {{ {events} }} }} }}")

    assert 400 == reply.status_code
    assert {"code": "too_large", "cost": 60_200, "limit": 50_000} == reply.json()["errors"][0]["extensions"]


async def test_a_page_of_the_largest_size_with_the_most_events_may_be_asked_for(database: Database, data: Ask) -> None:
    await leads(database, Lead("a@x.co"))

    query = f"{{ contacts(first: {limits.MAX_PAGE}) {{ nodes {{ events(first: {limits.MAX_EVENTS}) {{ id }} }} }} }}"

    assert {"contacts": {"nodes": [{"events": []}]}} == await data(query)


async def test_a_chain_of_fragments_that_doubles_is_measured_at_once(client: AsyncClient) -> None:
    said = "fragment f{0} on Contact {{ id ...f{1} ...g{0} }} fragment g{0} on Contact {{ ...f{1} }} "
    chain = "".join(said.format(n, n + 1) for n in range(25)) + "fragment f25 on Contact { scores { value } }"
    query = f"{{ contacts {{ nodes {{ ...f0 events(first: 100) {{ id }} }} }} }} {chain}"

    assert 200 == (await post(client, query=query)).status_code
