"""Odd input to every endpoint: whatever comes, no answer is a 5xx, and every refusal is a problem."""

import json
from collections.abc import Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.engine.conditions import Operator
from app.store import pages
from tests.api.client import Api, Json, event_rule, profile_rule

_ODD_TEXT = st.sampled_from(
    [
        "\0",
        "a\0b",
        "\ud800",
        "",
        " ",
        "%_\\",
        "'; --",
        "x" * 5_000,
        "null",
        "NaN",
        "1e999",
        "-Infinity",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "2026-05-01",
        "2026-05-01T12:00:00Z",
        "ada@example.com",
        "ada@\u0130.example",
        "hard",
        "soft",
        "email.bounced",
        "page.viewed",
        "00000000-0000-0000-0000-000000000000",
    ]
)
_ODD_NUMBER = st.sampled_from(
    [0, -1, 1, 2**31, 2**63, -(2**63) - 1, 2**64, 10**400, 1e308, -1e-308, 0.005, float("inf"), float("nan")]
)
_SCALAR = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), _ODD_TEXT, _ODD_NUMBER)
ANY: st.SearchStrategy[Json] = st.recursive(
    _SCALAR,
    lambda part: st.one_of(
        st.lists(part, max_size=4), st.dictionaries(st.one_of(st.text(max_size=10), _ODD_TEXT), part, max_size=4)
    ),
    max_leaves=12,
)


def _shape(fields: Mapping[str, st.SearchStrategy[Json]]) -> st.SearchStrategy[Json]:
    """An object with some of these fields, most of them as meant, some of them anything."""
    loose = {name: st.one_of(wanted, wanted, wanted, ANY) for name, wanted in fields.items()}
    return st.one_of(st.fixed_dictionaries(loose), st.fixed_dictionaries({}, optional=loose), ANY)


_TEXT = st.one_of(st.text(min_size=1, max_size=20), _ODD_TEXT)
_FIELD = st.sampled_from(
    [
        "event.type",
        "event.occurred_at",
        "event.properties.x",
        "event.properties.x.y",
        "contact.email",
        "contact.tags",
        "contact.bounced",
        "contact.days_inactive",
        "contact.last_event_at",
        "contact.properties.x",
        "x",
    ]
)
_OPERATOR = st.sampled_from([str(operator) for operator in Operator])
_TEST = _shape({"field": _FIELD, "operator": _OPERATOR, "value": ANY})
_CONDITION: st.SearchStrategy[Json] = st.recursive(
    _TEST,
    lambda part: _shape(
        {"combinator": st.sampled_from(["and", "or"]), "rules": st.lists(part, max_size=3), "not": st.booleans()}
    ),
    max_leaves=6,
)
_PERSON = _shape({"email": _TEXT, "user_id": _TEXT, "anonymous_id": _TEXT})
_EVENT = _shape(
    {
        "id": _TEXT,
        "type": st.sampled_from(["email.bounced", "email.opened", "page.viewed", "a.b"]),
        "occurred_at": _TEXT,
        "source": _TEXT,
        "contact": _PERSON,
        "properties": st.dictionaries(_TEXT, ANY, max_size=3),
    }
)
_CONTACT = _shape(
    {
        "email": _TEXT,
        "user_id": _TEXT,
        "name": _TEXT,
        "stage": _TEXT,
        "tags": st.lists(_TEXT, max_size=3),
        "properties": st.dictionaries(_TEXT, ANY, max_size=3),
        "opted_out": st.booleans(),
        "bounced": st.booleans(),
    }
)
_BAND = _shape({"name": _TEXT, "color": st.just("#d64545"), "min": _ODD_NUMBER})
_MODEL = _shape(
    {"key": st.text("ab_1", max_size=4), "name": _TEXT, "description": _TEXT, "bands": st.lists(_BAND, max_size=3)}
)
_RULE = _shape(
    {
        "name": _TEXT,
        "kind": st.sampled_from(["event", "profile"]),
        "condition": _CONDITION,
        "points": st.one_of(st.integers(-100, 100), _ODD_NUMBER),
        "window_days": st.one_of(st.none(), st.integers(1, 100), _ODD_NUMBER),
        "max_per_day": st.one_of(st.none(), st.integers(1, 100), _ODD_NUMBER),
        "max_points": st.one_of(st.none(), st.integers(1, 100), _ODD_NUMBER),
    }
)
_TRIAL = _shape(
    {
        "scope": st.sampled_from(["event", "contact", "record"]),
        "condition": _CONDITION,
        "records": st.lists(st.dictionaries(_TEXT, ANY, max_size=3), max_size=3),
        "fields": st.dictionaries(
            st.one_of(_TEXT, _FIELD), st.sampled_from(["text", "number", "boolean", "datetime"]), max_size=3
        ),
    }
)
_PLACES: st.SearchStrategy[Json] = st.sampled_from([None, 1, "x", "00000000-0000-0000-0000-000000000000", [], {}])
_QUERY = st.dictionaries(
    st.sampled_from(["limit", "cursor", "contact_id", "type", "source", "archived", "mapping"]),
    st.one_of(
        _TEXT.filter(lambda text: text.isprintable()),
        st.builds(pages.encode, st.text(st.characters(codec="utf-8"), max_size=5)),
        st.builds(pages.encode, st.integers(-5, 5), _PLACES),
    ),
    max_size=3,
)
_GRAPHQL = _shape({"query": st.one_of(_TEXT, st.just("{ scoringModels { key } }")), "variables": ANY})

_CALLS: dict[str, tuple[str, str, st.SearchStrategy[Json]]] = {
    "events": ("POST", "/v1/events", st.one_of(_EVENT, _shape({"events": st.lists(_EVENT, max_size=4)}))),
    "contacts": ("POST", "/v1/contacts", _CONTACT),
    "a contact": ("PATCH", "/v1/contacts/{contact}", _CONTACT),
    "models": ("POST", "/v1/models", _MODEL),
    "a model": ("PATCH", "/v1/models/engagement", _MODEL),
    "rules": ("POST", "/v1/models/engagement/rules", _RULE),
    "a rule": ("PATCH", "/v1/rules/{rule}", _RULE),
    "a trial": ("POST", "/v1/conditions/test", _TRIAL),
    "GraphQL": ("POST", "/graphql", _GRAPHQL),
}

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

_FUZZ = settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


async def _world(api: Api) -> dict[str, str]:
    """A published model, a rule and a contact to try things on; asking again finds the same."""
    if (await api.http.get("/v1/models/engagement")).status_code == 404:
        await api.model("engagement", event_rule("page.viewed", 1), profile_rule("contact.bounced", "=", True, -1))
    contact = (await api.http.post("/v1/contacts", json={"user_id": "the one"})).json()["id"]
    rules = (await api.get("/v1/models/engagement/rules"))["items"]
    return {"contact": contact, "rule": rules[0]["id"]}


@_FUZZ
@given(data=st.data())
@pytest.mark.parametrize("call", _CALLS)
async def test_no_body_brings_a_call_down(api: Api, call: str, data: st.DataObject) -> None:
    method, path, bodies = _CALLS[call]
    at = path.format(**await _world(api))
    body = json.dumps(data.draw(bodies)).encode()

    reply = await api.http.request(method, at, content=body, headers={"content-type": "application/json"})

    assert reply.status_code < 500, (body, reply.text)
    if path.startswith(("/v1/models", "/v1/rules")) and reply.status_code < 400:
        assert "done" == (await api.publish("engagement"))["status"]


@_FUZZ
@given(query=_QUERY)
@pytest.mark.parametrize("path", ["/v1/events", "/v1/models", "/v1/models/engagement/rules", "/v1/jobs"])
async def test_no_query_brings_a_list_down(api: Api, path: str, query: dict[str, str]) -> None:
    await _world(api)

    reply = await api.http.get(path, params=query)

    assert reply.status_code < 500, (query, reply.text)


_CELL = st.one_of(_TEXT, st.sampled_from(["email", "user_id", "opted_out", "tags", '"', "a@b.example", "yes", "1"]))
_TABLE = st.lists(st.lists(_CELL, max_size=4).map(",".join), max_size=5).map("\n".join)
_TARGET = st.one_of(st.none(), st.sampled_from(["email", "user_id", "properties.x:number", "bounced"]), _TEXT, ANY)
_MAPPING = st.one_of(st.none(), ANY, st.dictionaries(_CELL, _TARGET, max_size=3))


@_FUZZ
@given(
    table=st.one_of(_TABLE.map(lambda text: text.encode(errors="surrogatepass")), st.binary()),
    has_heading=st.booleans(),
    mapping=_MAPPING,
)
async def test_no_file_brings_an_import_down(api: Api, table: bytes, has_heading: bool, mapping: Json) -> None:
    file = b"user_id,email\n" + table if has_heading else table

    reply = await api.http.post(
        "/v1/contacts/import",
        content=file,
        params={"mapping": json.dumps(mapping)} if mapping is not None else {},
        headers={"content-type": "text/csv"},
    )

    assert reply.status_code < 500, (file, mapping, reply.text)
