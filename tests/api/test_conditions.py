import pytest

from app.engine.conditions import Operator
from tests.api.client import Api, Json, pointers, said, when


async def matches(api: Api, scope: str, condition: Json, records: list[Json], fields: Json = None) -> list[bool]:
    body = {"scope": scope, "condition": condition, "records": records}
    answer = await api.post("/v1/conditions/test", body if fields is None else {**body, "fields": fields})
    found: list[bool] = answer["matches"]
    return found


async def test_records_are_asked_by_the_fields_declared(api: Api) -> None:
    records = [
        {"country": "DE", "employees": 40, "vip": True, "since": "2026-05-01"},
        {"country": "de", "employees": 39.99, "vip": False, "since": "2026-05-02T00:00:00+02:00"},
        {"country": None, "employees": "40", "vip": "true", "since": "soon"},
        {},
    ]
    fields = {"country": "text", "employees": "number", "vip": "boolean", "since": "datetime"}

    async def of(*test: Json) -> list[bool]:
        return await matches(api, "record", when(*test), records, fields)

    assert [True, True, False, False] == await of("country", "=", "De")
    assert [False, False, True, True] == await of("country", "!=", "DE")
    assert [True, False, False, False] == await of("employees", ">=", 40)
    assert [False, True, False, False] == await of("employees", "<", "40")
    assert [True, False, False, False] == await of("vip", "=", True)
    assert [True, True, False, False] == await of("since", "between", "2026-05-01,2026-05-02")
    assert [False, False, True, True] == await of("employees", "null")


async def test_events_are_asked_as_they_are_posted(api: Api) -> None:
    records = [
        {"type": "page.viewed", "source": "web", "properties": {"path": "/Pricing/eu", "n": 3}},
        {"type": "page.viewed", "properties": {"path": "/100%", "n": "3"}},
        {"type": "email.opened", "occurred_at": "2026-05-01T12:00:00Z"},
    ]

    assert [True, True, False] == await matches(api, "event", when("event.type", "beginsWith", "PAGE."), records)
    assert [True, False, False] == await matches(
        api, "event", when("event.properties.path", "beginsWith", "/pricing"), records
    )
    assert [False, True, False] == await matches(api, "event", when("event.properties.path", "contains", "%"), records)
    assert [True, False, False] == await matches(api, "event", when("event.properties.n", "=", 3), records)
    assert [False, False, True] == await matches(api, "event", when("event.occurred_at", "<", "2026-05-02"), records)


async def test_contacts_are_asked_as_the_api_shows_them(api: Api) -> None:
    ada = await api.post(
        "/v1/contacts",
        {"email": "ada@example.com", "tags": ["Webinar"], "stage": "lead", "properties": {"industry": "software"}},
        201,
    )
    records = [ada, {"email": "bob@other.example", "bounced": True, "last_event_at": "2020-01-01T00:00:00Z"}]

    assert [True, False] == await matches(api, "contact", when("contact.email_domain", "=", "example.com"), records)
    assert [True, False] == await matches(api, "contact", when("contact.tags", "contains", "webinar"), records)
    assert [False, True] == await matches(api, "contact", when("contact.bounced", "=", True), records)
    assert [False, True] == await matches(api, "contact", when("contact.days_inactive", ">", 365), records)
    assert [True, False] == await matches(api, "contact", when("contact.properties.industry", "=", "Software"), records)


async def test_groups_join_and_negate(api: Api) -> None:
    is_de = {"field": "country", "operator": "=", "value": "DE"}
    is_large = {"field": "employees", "operator": ">", "value": 10}
    records = [{"country": "DE", "employees": 11}, {"country": "DE"}, {"employees": 11}, {}]
    fields = {"country": "text", "employees": "number"}
    for condition, expected in [
        ({"combinator": "and", "rules": [is_de, is_large]}, [True, False, False, False]),
        ({"combinator": "or", "rules": [is_de, is_large]}, [True, True, True, False]),
        ({"combinator": "and", "not": True, "rules": [is_de, is_large]}, [False, True, True, True]),
        ({"combinator": "or", "not": True, "rules": [is_de, is_large]}, [False, False, False, True]),
    ]:
        assert expected == await matches(api, "record", condition, records, fields)


async def test_every_operator_of_the_editor_is_known(api: Api) -> None:
    values = {Operator.BETWEEN: "a,b", Operator.NOT_BETWEEN: ["a", "b"], Operator.IN: "a, b", Operator.NOT_IN: ["a"]}

    for operator in Operator:
        found = await matches(api, "record", when("x", operator, values.get(operator, "a")), [{}], {"x": "text"})
        # A missing value: a positive operator is false, its negation true; and it is null.
        assert [operator.startswith(("!", "not", "does", "null")) and operator != "notNull"] == found, operator


async def test_no_record_is_no_answer(api: Api) -> None:
    assert [] == await matches(api, "record", when("x", "=", "a"), [], {"x": "text"})


async def test_nothing_in_a_record_is_an_error(api: Api) -> None:
    odd = [
        '{"x": "\\u0000"}',
        '{"x": 1e999}',
        '{"x": NaN}',
        f'{{"x": {"9" * 4_000}}}',
        f'{{"x": {"[" * 150}{"]" * 150}}}',
        '{"x": {"y": []}, "\\u0000": 1}',
        '{"x": "' + "x" * 100_000 + '"}',
    ]
    condition = '{"combinator": "or", "rules": [{"field": "x", "operator": "notNull"}]}'
    body = f'{{"scope": "record", "fields": {{"x": "number"}}, "condition": {condition}, "records": [{",".join(odd)}]}}'

    reply = await api.http.post(
        "/v1/conditions/test", content=body.encode(), headers={"content-type": "application/json"}
    )

    assert len(odd) == len(said(reply, 200)["matches"])


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({}, ["/scope", "/condition", "/records"]),
        ({"scope": "lead"}, ["/scope"]),
        ({"records": {}}, ["/records"]),
        ({"records": [1]}, ["/records/0"]),
        ({"records": [{}] * 5_001}, ["/records"]),
        ({"fields": {"x": "integer"}}, ["/fields/x"]),
        ({"fields": {"x": "tags"}}, ["/fields"]),
        ({"fields": {"\0": "text"}}, ["/fields/\0"]),
        ({"fields": None}, ["/condition/rules/0/field"]),
        ({"condition": when("y", "=", "a")}, ["/condition/rules/0/field"]),
        ({"condition": when("x", "=", None)}, ["/condition/rules/0/value"]),
        ({"condition": when("x", "contains", "a", valueSource="else")}, ["/condition/rules/0/valueSource"]),
        ({"more": 1}, ["/more"]),
    ],
)
async def test_what_is_wrong_with_a_trial_is_pointed_at(api: Api, body: Json, found: list[str]) -> None:
    good = {"scope": "record", "condition": when("x", "=", "a"), "records": [{}], "fields": {"x": "text"}}

    assert found == pointers(await api.post("/v1/conditions/test", {**good, **body} if body else {}, 422))


async def test_each_scope_says_what_it_knows_when_a_field_is_unknown(api: Api) -> None:
    for scope, knows in [("event", "event.properties.<name>"), ("contact", "contact.bounce_status"), ("record", "x")]:
        problem = await api.post(
            "/v1/conditions/test",
            {"scope": scope, "condition": when("nothing", "=", 1), "records": [], "fields": {"x": "text"}},
            422,
        )
        assert knows in problem["errors"][0]["detail"]
