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
        "contact.score.fit",
        "contact.score.engagement",
        "contact.band.fit",
        "contact.segments",
        "contact.measures.x",
        "x",
    ]
)
_KEY = st.one_of(st.sampled_from(["fit", "engagement", "nobody"]), st.text("ab_1", max_size=4))
_DAYS = st.one_of(st.none(), st.integers(1, 100), _ODD_NUMBER)
_COUNT = st.one_of(st.none(), st.integers(1, 5), _ODD_NUMBER)
_POINTS = st.one_of(
    st.integers(-100, 100),
    st.decimals(-9, 9, places=2).map(str),
    _ODD_NUMBER,
    st.sampled_from(["1e99999999", "1e-999"]),
)
_DATE = st.one_of(st.none(), st.dates().map(str), _ODD_TEXT)
_INSTANT = st.one_of(st.none(), st.datetimes().map(lambda at: f"{at.isoformat()}Z"), _ODD_TEXT)
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
_BAND = _shape({"name": _TEXT, "color": st.just("#d64545"), "min": _POINTS})
_GROUP = _shape({"name": st.sampled_from(["g", "h"]), "max_points": _POINTS})
_PART = _shape({"model": _KEY, "weight": _POINTS})
_COMBINE = st.one_of(
    st.none(),
    _shape({"sum": st.lists(_PART, max_size=3)}),
    _shape({"grid": _shape({"rows": _KEY, "columns": _KEY})}),
)
_MODEL = _shape(
    {
        "key": st.text("ab_1", max_size=4),
        "name": _TEXT,
        "description": _TEXT,
        "objective": _TEXT,
        "owner": _TEXT,
        "audience": st.one_of(st.none(), _CONDITION),
        "min": st.one_of(st.none(), _POINTS),
        "max": st.one_of(st.none(), _POINTS),
        "window_days": _DAYS,
        "groups": st.lists(_GROUP, max_size=3),
        "combine": _COMBINE,
        "bands": st.lists(_BAND, max_size=3),
    }
)
_DECAY = st.one_of(
    st.none(),
    _shape({"steps": st.lists(_shape({"after_days": _DAYS, "percent": _POINTS}), max_size=3)}),
    _shape({"half_life_days": _DAYS, "every_days": _DAYS}),
)
_RULE = _shape(
    {
        "name": _TEXT,
        "kind": st.sampled_from(["event", "absence", "profile"]),
        "condition": st.one_of(st.none(), _CONDITION),
        "points": _POINTS,
        "window_days": st.one_of(_DAYS, st.just("unlimited")),
        "distinct_by": st.one_of(st.none(), _FIELD, _TEXT),
        "max_per_day": _COUNT,
        "max_count": _COUNT,
        "at_least": _COUNT,
        "decay": _DECAY,
        "max_points": st.one_of(st.none(), _POINTS),
        "audience": st.one_of(st.none(), _CONDITION),
        "group": st.one_of(st.none(), st.sampled_from(["g", "h"])),
        "after_days": _DAYS,
        "max_times": _COUNT,
        "per_unit_of": st.one_of(
            st.none(),
            _shape({"field": _FIELD, "min": st.one_of(st.none(), _POINTS), "max": st.one_of(st.none(), _POINTS)}),
        ),
    }
)


def _rule(kind: str, **fields: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    """Such a rule with nearly everything as it should be, so that most of them are accepted and count."""
    test = {"field": "event.type", "operator": "=", "value": "page.viewed"}
    always = {"name": st.just("A rule"), "kind": st.just(kind), "condition": st.just(test), "points": _POINTS}
    return st.fixed_dictionaries(always | {"condition": st.none()} if kind == "profile" else always, optional=fields)


_GOOD_RULE = st.one_of(
    _rule(
        "event",
        window_days=st.sampled_from([None, 1, 30, 36_500, "unlimited"]),
        distinct_by=st.sampled_from(["event.properties.x", "event.source"]),
        max_per_day=_COUNT,
        max_count=_COUNT,
        at_least=_COUNT,
        decay=_DECAY,
        audience=st.one_of(st.none(), _CONDITION),
    ),
    _rule("absence", after_days=st.sampled_from([1, 30, 36_500]), max_times=_COUNT),
    _rule("profile", per_unit_of=st.fixed_dictionaries({"field": _FIELD}, optional={"min": _POINTS, "max": _POINTS})),
)
_ADJUSTMENT = _shape(
    {
        "kind": st.sampled_from(["points", "override", "reset"]),
        "model": _KEY,
        "points": _POINTS,
        "reason": _TEXT,
        "from_day": _DATE,
        "ends_on": _DATE,
    }
)
_TRY = _shape(
    {
        "contact": _shape(
            {
                "email": _TEXT,
                "stage": _TEXT,
                "tags": st.lists(_TEXT, max_size=3),
                "properties": st.dictionaries(_TEXT, ANY, max_size=3),
                "bounce_status": st.sampled_from(["none", "soft", "hard"]),
                "created_at": _INSTANT,
                "last_event_at": _INSTANT,
            }
        ),
        "events": st.lists(
            _shape({"type": st.just("page.viewed"), "occurred_at": _INSTANT, "properties": st.just({"x": 1})}),
            max_size=3,
        ),
        "scores": st.dictionaries(_KEY, _POINTS, max_size=2),
        "at": _INSTANT,
        "live": st.booleans(),
    }
)
_PUBLISH = _shape({"side_effects": st.booleans(), "settle_seconds": _COUNT})
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
_ASKED = st.fixed_dictionaries(
    {},
    optional={
        "as_of": st.one_of(_DATE, _INSTANT).map(str).filter(str.isprintable),
        "rules": st.sampled_from(["then", "now", "never"]),
        "threshold": _POINTS.map(str),
        "direction": st.sampled_from(["up", "down", "sideways"]),
        "limit": st.sampled_from(["1", "0", "x"]),
        "cursor": st.one_of(
            st.builds(pages.encode, _POINTS.map(str)),
            st.builds(pages.encode, st.one_of(_POINTS.map(str), st.sampled_from(["NaN", "sNaN", "Infinity"])), _PLACES),
        ),
    },
)
_GRAPHQL = _shape({"query": st.one_of(_TEXT, st.just("{ scoringModels { key } }")), "variables": ANY})

_NOBODIES = ["00000000-0000-0000-0000-000000000000", "{contact}", "me"]

_CALLS: dict[str, tuple[str, str, st.SearchStrategy[Json]]] = {
    "events": ("POST", "/v1/events", st.one_of(_EVENT, _shape({"events": st.lists(_EVENT, max_size=4)}))),
    "contacts": ("POST", "/v1/contacts", _CONTACT),
    "a contact": ("PATCH", "/v1/contacts/{contact}", _CONTACT),
    "models": ("POST", "/v1/models", _MODEL),
    "a model": ("PATCH", "/v1/models/engagement", _MODEL),
    "rules": ("POST", "/v1/models/engagement/rules", _RULE),
    "good rules": ("POST", "/v1/models/engagement/rules", _GOOD_RULE),
    "a rule": ("PATCH", "/v1/rules/{rule}", _RULE),
    "publishing": ("POST", "/v1/models/engagement/publish", _PUBLISH),
    "an old version": ("POST", "/v1/models/engagement/versions/1/publish", _PUBLISH),
    "a try": ("POST", "/v1/models/engagement/try", _TRY),
    "adjustments": ("POST", "/v1/contacts/{contact}/adjustments", _ADJUSTMENT),
    "a merge": ("POST", "/v1/contacts/{contact}/merge", _shape({"other": st.sampled_from(_NOBODIES)})),
    "taking apart": ("POST", "/v1/contacts/{contact}/unmerge", _shape({"contact": st.sampled_from(_NOBODIES)})),
    "a trial": ("POST", "/v1/conditions/test", _TRIAL),
    "GraphQL": ("POST", "/graphql", _GRAPHQL),
}

_DRAFTING = {"models", "a model", "rules", "good rules", "a rule"}

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

_FUZZ = settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


async def _world(api: Api) -> dict[str, str]:
    """Published models, a rule, a preview and a contact to try things on; asking again finds the same."""
    if not await api.fetchval("SELECT true FROM scoring_model WHERE key = 'engagement'"):
        await api.model("fit", profile_rule("contact.properties.x", ">", 0, 5))
        await api.model("engagement", event_rule("page.viewed", 1), profile_rule("contact.bounced", "=", True, -1))
        await api.patch("/v1/models/engagement", {"groups": [{"name": "g", "max_points": 10}]})
        await api.http.post("/v1/contacts", json={"user_id": "the one", "properties": {"x": 7}})
        await api.send({"type": "page.viewed", "contact": {"user_id": "the one"}, "properties": {"x": 1}})
        await api.work((await api.post("/v1/models/fit/preview", status=202))["job_id"])
    rule = "SELECT min(r.id::text) FROM rule r JOIN scoring_model m ON m.id = r.model_id WHERE m.key = 'engagement'"
    preview = "SELECT id FROM job WHERE kind = 'model.preview'"
    return {
        "contact": str(await api.id_of("the one", "user_id")),
        "rule": await api.fetchval(rule),
        "preview": str(await api.fetchval(preview)),
    }


@_FUZZ
@given(data=st.data())
@pytest.mark.parametrize("call", _CALLS)
async def test_no_body_brings_a_call_down(api: Api, call: str, data: st.DataObject) -> None:
    method, path, bodies = _CALLS[call]
    world = await _world(api)
    body = json.dumps(data.draw(bodies)).replace("{contact}", world["contact"]).encode()

    headers = {"content-type": "application/json", "Prefer": "respond-async"}
    reply = await api.http.request(method, path.format(**world), content=body, headers=headers)

    assert reply.status_code < 500, (body, reply.text)
    if call in _DRAFTING and reply.status_code < 400:
        await _count(api, body)


async def _count(api: Api, body: bytes) -> None:
    """What was accepted can be previewed, published unless that is refused with a reason, and read."""
    for path in ("/v1/models/engagement/preview", "/v1/models/engagement/publish"):
        asked = await api.http.post(path, headers={"Prefer": "respond-async"})
        assert asked.status_code < 500, (body, asked.text)
        if asked.status_code == 202:
            assert "done" == (await api.work(asked.json()["job_id"]))["status"], body
    contact = await api.id_of("the one", "user_id")
    await api.get(f"/v1/contacts/{contact}/scores")
    for read in ("explanation", "forecast"):
        await api.get(f"/v1/contacts/{contact}/scores/engagement/{read}")
    for listed in ("rules", "versions"):
        await api.get(f"/v1/models/engagement/{listed}")


_LISTS = ["/v1/events", "/v1/models", "/v1/models/engagement/rules", "/v1/models/engagement/versions", "/v1/jobs"]


@_FUZZ
@given(query=_QUERY)
@pytest.mark.parametrize("path", _LISTS)
async def test_no_query_brings_a_list_down(api: Api, path: str, query: dict[str, str]) -> None:
    await _world(api)

    reply = await api.http.get(path, params=query)

    assert reply.status_code < 500, (query, reply.text)


_OF_A_CONTACT = ["scores/engagement/explanation", "scores/engagement/forecast", "scores/engagement/history"]


@_FUZZ
@given(query=_ASKED)
@pytest.mark.parametrize(
    "path",
    [
        *(f"/v1/contacts/{{contact}}/{path}" for path in (*_OF_A_CONTACT, "adjustments")),
        "/v1/models/fit/preview/{preview}/contacts",
    ],
)
async def test_no_query_brings_down_what_is_said_of_a_score(api: Api, path: str, query: dict[str, str]) -> None:
    at = path.format(**await _world(api))

    reply = await api.http.get(at, params=query)

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
