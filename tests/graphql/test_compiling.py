"""Compiled statements: the same answers as the resolvers give, and never those of scoring models that are past."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias
from uuid import UUID

import orjson
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from app.api.problems import answer_to, problem
from app.engine.plan import Plans
from app.graphql import limits, serving
from app.graphql.compiling import Compiler
from app.store.db import Database
from tests.graphql.made_up import ARGUMENTS, COMPOSITE, LEAVES, ODD, Made
from tests.graphql.test_statements import reads
from tests.graphql.world import EPOCH, Lead, leads, model

Reply: TypeAlias = tuple[int, bytes]


@dataclass
class Both:
    """The same request by compiled statements and by resolvers; `statements` are those of the resolvers."""

    compiled: Callable[[dict[str, Any]], Awaitable[Reply]]
    resolved: Callable[[dict[str, Any]], Awaitable[Reply]]
    answered: list[bool]
    """Of each compiled request, whether a statement answered it."""

    async def same(self, query: str, **variables: Any) -> Any:
        """The answer of both. Fails if they differ, also in the order of keys or in 5 and 5.0."""
        asked = {"query": query, "variables": variables}
        found, expected = await self.compiled(asked), await self.resolved(asked)
        assert expected[0] == found[0]
        assert _text(expected[1]) == _text(found[1])
        return orjson.loads(found[1])

    async def by_statement(self, query: str, **variables: Any) -> Any:
        """The data, which a compiled statement has answered."""
        self.answered.clear()
        answer = await self.same(query, **variables)
        assert [True] == self.answered, answer
        return answer["data"]

    async def by_resolvers(self, query: str, **variables: Any) -> Any:
        self.answered.clear()
        answer = await self.same(query, **variables)
        assert True not in self.answered, answer
        return answer


def _text(body: bytes) -> str:
    return json.dumps(orjson.loads(body))


@pytest.fixture(scope="session")
def endpoints(migrated: Database, plans: Plans) -> tuple[serving.Endpoint, serving.Endpoint]:
    async def authenticate(_: object) -> None: ...

    return (
        serving.Endpoint(migrated, plans, authenticate, answer_to, problem),
        serving.Endpoint(migrated, plans, authenticate, answer_to, problem, compiled=False),
    )


@pytest.fixture
def both(
    database: Database, endpoints: tuple[serving.Endpoint, serving.Endpoint], monkeypatch: pytest.MonkeyPatch
) -> Both:
    answered: list[bool] = []
    answer = Compiler.answer

    async def noted(self: Compiler, *given_: Any) -> bytes | None:
        found = await answer(self, *given_)
        answered.append(found is not None)
        return found

    monkeypatch.setattr(Compiler, "answer", noted)
    return Both(_asking(endpoints[0]), _asking(endpoints[1]), answered)


def _asking(endpoint: serving.Endpoint) -> Callable[[dict[str, Any]], Awaitable[Reply]]:
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/graphql",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json"), (b"accept", b"application/graphql-response+json")],
    }

    async def ask(asked: dict[str, Any]) -> Reply:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": orjson.dumps(asked)}

        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        await endpoint(scope, receive, send)
        start, body = sent
        return start["status"], body["body"]

    return ask


async def populate(database: Database) -> None:
    """Two models that count, a draft and an archived one; a dozen contacts, some of them odd."""
    for key, options in {"engagement": {}, "fit": {"name": ODD}, "old": {"archived": True}}.items():
        await model(database, key, **options)  # type: ignore[arg-type]
    await leads(
        database,
        Lead("ada@x.co", 1, 5, {"engagement": 85, "fit": "12.5"}, "Customer", ["VIP", "b"]),
        Lead("bob@x.co", 2, 4, {"engagement": 85, "fit": "-3.25", "old": 1}, "lead", ["vip"], bounced=True),
        Lead("cee@x.co", 3, None, {"engagement": "79.99"}, opted_out=True, bounce_status="soft"),
        Lead("dot@x.co", 4, 9, {"engagement": 40}, bounced=True, bounce_status="hard"),
        Lead(None, 5, 2, {"engagement": "0", "fit": "123456789012345678901.5"}, tags=[ODD]),
        Lead("eve@x.co", 5, 2, {"fit": "0.0000001"}),
        Lead("fay@x.co", 7, 2),
        *(Lead(f"p{n}@y.co", 10 + n, n, {"engagement": n * 7}) for n in range(12)),
    )
    async with database.batch() as db:
        rows = await db.fetch("SELECT id, email FROM contact ORDER BY created_at, id")
        await db.execute(
            """
            UPDATE contact SET name = $1, properties = $2, email_quality = '{role,disposable}',
                   updated_at = created_at + '0.5 seconds', bounced_at = created_at + '0.000001 seconds',
                   bounced_reason = 'hard_bounce', bounced_by = 'sendgrid', soft_bounces = 2, opted_out_at = created_at,
                   opted_out_reason = 'manual', opted_out_by = $1
            WHERE email = 'ada@x.co'
            """,
            ODD,
            {"b": [1, 2.5, None, True, {"é": ODD}], "a": {}, "long name": 10**17, "n": -0.0},
        )
        await db.execute("UPDATE score SET value = NULL WHERE value = 40")
        await db.execute("UPDATE score SET next_change_on = '2026-12-31', version = 7 WHERE value = 85")
        await db.execute(
            "INSERT INTO identity VALUES ('user_id', $1, $2), ('email', 'old@x.co', $2)", ODD, rows[0]["id"]
        )
        await db.executemany(
            """
            INSERT INTO event (id, contact_id, type, source, client_id, occurred_at, received_at, address, properties,
                               human, human_by)
            VALUES ($1, $2, $3, 'web', $4, $5, $5, $6, $7, $8, $9)
            """,
            [
                (
                    UUID(int=at * 100 + n),
                    row["id"],
                    ("email.opened", "Page.Viewed", ODD)[n % 3],
                    None if n % 2 else ODD,
                    EPOCH + timedelta(minutes=n // 2, microseconds=n * 500_000),
                    row["email"],
                    {"n": n},
                    (None, True, False)[n % 3],
                    "burst" if n % 3 else None,
                )
                for at, row in enumerate(rows[:6])
                for n in range(at * 2)
            ],
        )


@pytest.fixture
async def peopled(database: Database, both: Both) -> tuple[list[str], list[str], list[str]]:
    """Addresses and ids of some contacts, and cursors."""
    await populate(database)
    listed = "edges { cursor node { id email } }"
    order = '[{score: {model: "engagement"}}]'
    found = (await both.same(f"{{ a: contacts {{ {listed} }} b: contacts(orderBy: {order}) {{ {listed} }} }}"))["data"]
    edges = [edge for key in ("a", "b") for edge in found[key]["edges"]]
    people = [edge["node"] for edge in edges if edge["node"]["email"]][:4]
    return [one["email"] for one in people], [one["id"] for one in people], [edge["cursor"] for edge in edges[::4]]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
async def test_a_compiled_statement_answers_as_the_resolvers_do(
    both: Both, peopled: tuple[list[str], list[str], list[str]], data: st.DataObject
) -> None:
    made = Made(data.draw, *peopled)
    name = data.draw(st.sampled_from(list(COMPOSITE["Query"])))
    root = made.named(name + ARGUMENTS[f"Query.{name}"](made)) + " " + made.fields(COMPOSITE["Query"][name])
    declared = ", ".join(f"${key}: {kind}" for key, (kind, _) in made.variables.items())
    query = f"query{f'({declared})' if declared else ''} {{ {root} }} {' '.join(made.fragments)}"
    both.answered.clear()

    await both.same(query, **{key: value for key, (_, value) in made.variables.items()})

    event("by a statement" if True in both.answered else "by resolvers")


# --- what is compiled, and when it is not


@pytest.fixture
async def ada(database: Database) -> str:
    """Her id, in a workspace of some contacts."""
    await populate(database)
    async with database.hot.acquire() as db:
        return str(await db.fetchval("SELECT id FROM contact WHERE email = 'ada@x.co'"))


async def test_what_a_dashboard_asks_for_is_one_statement_and_no_work_for_the_resolvers(
    database: Database, both: Both, ada: str
) -> None:
    with reads(database) as read:
        answers = [
            await both.compiled({"query": query, "variables": variables})
            for query, variables in (
                ("query($id: ID!) { contact(id: $id) { id email bounced } }", {"id": ada}),
                ("query($id: ID!) { contact(id: $id) { events(first: 5) { id type occurredAt } } }", {"id": ada}),
                (
                    """query($least: Float!) { contacts(first: 3, filter: {score: {model: "engagement", gte: $least}},
                        orderBy: [{score: {model: "engagement"}}]) { pageInfo { endCursor } nodes { optedOut
                        score(model: "engagement") { value band { name } } fit: score(model: "fit") { value } } } }""",
                    {"least": 40},
                ),
                ('{ scoreDistribution(model: "engagement") { parts { band { name } contacts share } } }', {}),
            )
        ]

    assert [True] * 4 == both.answered
    assert all(200 == status and b"errors" not in body for status, body in answers)
    assert not any("FROM contact" in one or "FROM score" in one for one in read)


@pytest.mark.parametrize(
    "query",
    [
        "{ contacts { totalCount } }",
        "{ contacts { nodes { scores { contributions { points } } } } }",
        "{ contacts { nodes { id } } scoringModels { key } }",
        '{ contacts(filter: {segment: "x"}) { nodes { id } } }',
        '{ contacts { nodes { score(model: "nope") { value } } } }',
        "{ contacts(first: 201) { nodes { id } } }",
        '{ contacts(after: "x") { nodes { id } } }',
        '{ contact(id: "x") { id } }',
        "{ contact { id } }",
        "{ contacts { nodes { events(first: 101) { id } } } }",
        "{ contacts { nodes { events(first: -1) { id } } } }",
        '{ contacts { nodes { events(types: ["a\\u0000"]) { id } } } }',
        "{ contacts { nodes { " + "x" * 64 + ": id } } }",
    ],
)
@pytest.mark.usefixtures("ada")
async def test_what_is_not_covered_and_what_is_wrong_is_left_to_the_resolvers(both: Both, query: str) -> None:
    await both.by_resolvers(query)


EVERYTHING = f"""
    {{ {" ".join(LEAVES["Contact"])} __typename
    identities {{ kind value }} events(first: 9) {{ {" ".join(LEAVES["Event"])} }}
    opened: events(types: ["EMAIL.opened", "none"]) {{ type }} none: events(types: []) {{ id }}
    engagement: score(model: "engagement") {{ value band {{ name min }} model {{ key name }} }}
    fit: score(model: "fit") {{ value band {{ color }} }}
    scores {{ {" ".join(LEAVES["Score"])} band {{ name color min }}
              model {{ key name version publishedAt archived bands {{ name color min }} }} }} }}
"""
LIST = "{ pageInfo { hasNextPage hasPreviousPage startCursor endCursor } edges { cursor node " + EVERYTHING + " } }"
BY_SCORE = '[{score: {model: "engagement", direction: ASC}}]'
SCORED = '{score: {model: "engagement", gte: 0}}'


@pytest.mark.parametrize(
    "asked",
    [
        "",
        "(first: 3)",
        "(last: 3)",
        f"(orderBy: {BY_SCORE})",
        f"(orderBy: {BY_SCORE}, last: 4)",
        f"(orderBy: {BY_SCORE}, first: 2, filter: {SCORED})",
        f"(orderBy: {BY_SCORE}, last: 5, filter: {SCORED})",
        "(orderBy: [{lastEventAt: DESC}, {name: ASC}], first: 9)",
        "(orderBy: [{lastEventAt: ASC}], first: 9)",
        '(filter: {tag: "VIP"}, first: 0)',
    ],
)
@pytest.mark.usefixtures("ada")
async def test_all_that_is_covered_is_the_same_on_any_page(both: Both, asked: str) -> None:
    page = (await both.by_statement(f"{{ contacts{asked} {LIST} }}"))["contacts"]

    for name, edge in (("after", 0), ("before", -1)):
        for cursor in [one["cursor"] for one in page["edges"][edge : edge + 1 or None]]:
            rest = f"({name}: {json.dumps(cursor)}{', ' + asked[1:-1] if asked else ''})"
            await both.by_statement(f"{{ contacts{rest} {LIST} }}")


@pytest.mark.parametrize("more", ["", ", filter: {bounced: true}", ", buckets: {from: -10, width: 33.3, count: 120}"])
@pytest.mark.parametrize("key", ["engagement", "fit", "old"])
@pytest.mark.usefixtures("ada")
async def test_a_distribution_is_the_same(both: Both, key: str, more: str) -> None:
    parts = "parts { band { name color min } from to contacts share } model { key name } contacts outside"

    await both.by_statement(f'{{ scoreDistribution(model: "{key}"{more}) {{ {parts} }} }}')


async def test_several_roots_are_one_statement(both: Both, ada: str) -> None:
    query = 'query($id: ID) { __typename a: contact(id: $id) { email } b: contact(email: "no@x.co") { email } '

    found = await both.by_statement(query + "contacts(last: 2) { edges { cursor node { id } } } }", id=ada)

    assert ["__typename", "a", "b", "contacts"] == list(found)
    assert ("Query", "ada@x.co", None) == (found["__typename"], found["a"]["email"], found["b"])


async def test_one_statement_serves_all_values_of_its_variables(
    both: Both, endpoints: tuple[serving.Endpoint, serving.Endpoint], ada: str
) -> None:
    query = """query($least: Float, $tag: String, $after: String) { contacts(
        first: 2, after: $after, filter: {tag: $tag, score: {model: "engagement", gte: $least}},
        orderBy: [{createdAt: ASC}]) { edges { cursor node { id } } } }"""

    for least, tag in ((1, "vip"), (86, "vip"), (0.5, "b"), (-1e300, "'; --")):
        await both.by_statement(query, least=least, tag=tag)
    first = (await both.by_statement(query, least=80, tag="vip"))["contacts"]["edges"]
    second = (await both.by_statement(query, least=80, tag="vip", after=first[0]["cursor"]))["contacts"]["edges"]

    assert ada == first[0]["node"]["id"]
    assert first[1:] == second
    plan = endpoints[0]._documents.find(query).operations[0].plan
    assert plan is not None
    assert [2] == [len(form.shapes) for form in plan.forms.values() if form is not None]


async def test_a_change_of_the_models_is_seen_by_the_next_request(database: Database, both: Both, ada: str) -> None:
    query = """query($id: ID!) { contact(id: $id) { score(model: "engagement") { value band { name color } } } }"""
    assert "Hot" == (await both.by_statement(query, id=ada))["contact"]["score"]["band"]["name"]

    async with database.batch() as db:
        await db.execute('UPDATE model_version SET bands = \'[{"name": "New", "color": "#fff", "min": 1}]\'')
        await db.execute("UPDATE plan_epoch SET epoch = epoch + 1")

    assert "New" == (await both.by_statement(query, id=ada))["contact"]["score"]["band"]["name"]


async def test_a_model_that_comes_or_goes_is_seen_by_the_next_request(database: Database, both: Both, ada: str) -> None:
    query = """query($id: ID!) { contact(id: $id) { score(model: "late") { value } } }"""
    assert "errors" in await both.by_resolvers(query, id=ada)

    number = await model(database, "late")
    async with database.batch() as db:
        await db.execute("INSERT INTO score VALUES ($1, $2, 5, 1, NULL, now())", UUID(ada), number)
    assert {"value": 5.0} == (await both.by_statement(query, id=ada))["contact"]["score"]

    async with database.batch() as db:
        await db.execute("DELETE FROM scoring_model WHERE key = 'late'")
        await db.execute("UPDATE plan_epoch SET epoch = epoch + 1")
    assert "errors" in await both.by_resolvers(query, id=ada)


async def test_an_answer_of_too_many_objects_is_refused_as_by_the_resolvers(
    both: Both, ada: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_OBJECTS", 20)

    small = await both.same("{ contacts(first: 5) { nodes { identities { kind } } } }")
    large = await both.same("{ contacts(first: 15) { nodes { identities { kind } } } }")

    assert ada == ada
    assert "errors" not in small
    assert "too_large" == large["errors"][0]["extensions"]["code"]


async def test_a_value_that_the_schema_does_not_know_is_an_error_as_by_the_resolvers(
    database: Database, both: Both, ada: str
) -> None:
    async with database.batch() as db:
        await db.execute("UPDATE contact SET bounce_status = 'secret' WHERE email = 'ada@x.co'")

    with capture_logs() as logs:
        answer = await both.by_resolvers("query($id: ID!) { contact(id: $id) { bounceStatus } }", id=ada)

    assert "internal_error" == answer["errors"][0]["extensions"]["code"]
    assert {
        "event": "a compiled statement failed",
        "log_level": "warning",
        "fault": "InvalidTextRepresentationError",
    } in logs
