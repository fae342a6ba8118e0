"""Every column, tag, identity, record and property that a filter may ask about; and rules' conditions beside them."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.dialects import postgresql

from app import clock
from app.engine import measures
from app.engine.fields import Aggregate
from app.store.columns import Column, Compared, Operator, contact
from app.store.contact_filter import Among, Filter, Held, to_sql
from app.store.db import Database
from tests.graphql.conftest import Ask
from tests.graphql.world import EPOCH, Lead, leads, model, where

FIND = """
    query($filter: ContactFilter) {
        contacts(filter: $filter, orderBy: [{createdAt: ASC}]) { totalCount nodes { email } }
    }
"""
SALES, STAGING = UUID(int=1), UUID(int=2)


@pytest.fixture
async def four(database: Database) -> list[str]:
    """Four contacts that differ in everything a filter asks about; their ids."""
    await model(database, "engagement")
    ids = await leads(
        database,
        Lead("ada@x.co", 0, seen=5, scores={"engagement": 90}, stage="Customer", tags=["VIP", "Chem_%"]),
        Lead("bob@mail.y.co", 10, seen=9, scores={"engagement": 40}, opted_out=True, tags=["vip"], stage="Lead"),
        Lead("cyd@y.co", 20, scores={"engagement": 5}, bounced=True, bounce_status="hard"),
        Lead(None, 30),
    )
    ada, bob, cyd, _ = ids
    async with database.batch() as db:
        await db.execute("INSERT INTO property VALUES ('visits', 'number', now()), ('likes', 'tags', now())")
        await db.execute("UPDATE plan_epoch SET epoch = epoch + 1")
        for contact, sets, *values in [
            (ada, "name = 'Ada Lovelace', properties = $2, email_quality = '{role}'", {
                "visits": 12, "likes": ["Books", "Tea"], "industry": "Chemicals", "since": "2026-01-05", "paid": True,
                "address": {"country": "UK"}, "plan": "12"}),
            (bob, "name = 'bob o''hara', properties = $2, opted_out_reason = 'complained', opted_out_by = 'mailgun'", {
                "visits": 3, "likes": [], "industry": "chem", "since": "2026-03-05T10:00:00+02:00", "paid": False}),
            (cyd, "properties = $2, bounced_at = '2026-02-02Z', bounced_reason = 'hard_bounce'", {
                "visits": "many", "industry": 7, "since": "soon", "paid": "yes", "plan": None}),
        ]:  # fmt: skip
            await db.execute(f"UPDATE contact SET {sets} WHERE id = $1", UUID(contact), *values)
        await db.execute("UPDATE contact SET bounced_by = 'sendgrid' WHERE bounced")
        await db.execute("UPDATE contact SET opted_out_at = '2026-02-01Z', soft_bounces = 3 WHERE opted_out")
        await db.execute("""
            UPDATE contact SET email_quality = '{role,disposable}', updated_at = '2026-06-01Z' WHERE bounced
        """)
        for kind, value, contact in [
            ("user_id", "42", ada),
            ("anonymous_id", "42", bob),
            (f"crm:{SALES}:Lead", "00Q1", ada),
            (f"crm:{SALES}:Contact", "003", bob),
            (f"crm:{STAGING}:Lead", "00Q1", bob),
        ]:
            await db.execute("INSERT INTO identity VALUES ($1, $2, $3)", kind, value, UUID(contact))
        for connection, kind, record, state in [
            (SALES, "Lead", "00Q1", "live"), (SALES, "Contact", "003", "gone"), (STAGING, "Lead", "00Q1", "live"),
        ]:  # fmt: skip
            await db.execute(
                "INSERT INTO link (connection_id, object, record, state, seen_at, created_at) "
                "VALUES ($1, $2, $3, $4, now(), now())",
                connection, kind, record, state,
            )  # fmt: skip
    return ids


def at(minutes: int) -> str:
    return (EPOCH + timedelta(minutes=minutes)).isoformat()


def prop(name: str, **said: Any) -> dict[str, Any]:
    return {"properties": [{"name": name, **said}]}


CASES: list[tuple[dict[str, Any], str]] = [
    ({"emailAddress": {"eq": " ADA@x.co".strip()}}, "ada"),
    ({"emailAddress": {"beginsWith": "ADA@"}}, "ada"),
    ({"emailAddress": {"beginsWith": "_"}}, ""),
    ({"emailAddress": {"beginsWith": "%"}}, ""),
    ({"emailAddress": {"endsWith": "Y.co"}}, "bob cyd"),
    ({"emailAddress": {"in": ["CYD@y.co", "nobody@x.co"]}}, "cyd"),
    ({"emailAddress": {"isNull": True}}, "-"),
    ({"emailAddress": {"isNull": False, "contains": "y.co"}}, "bob cyd"),
    ({"emailDomain": {"eq": "y.co"}}, "cyd"),
    ({"emailDomain": {"isNull": True}}, "-"),
    ({"name": {"eq": "ADA lovelace"}}, "ada"),
    ({"name": {"contains": "'"}}, "bob"),
    ({"name": {"contains": "a", "endsWith": "a"}}, "bob"),
    ({"name": {"isNull": True}}, "cyd -"),
    ({"stageName": {"in": ["lead", "customer"]}}, "ada bob"),
    ({"not": {"stageName": {"eq": "lead"}}}, "ada cyd -"),
    ({"tags": {"any": ["vip", "x"]}}, "ada bob"),
    ({"tags": {"all": ["vip", "chem_%"]}}, "ada"),
    ({"tags": {"none": ["chem_%"]}}, "bob cyd -"),
    ({"tags": {"isEmpty": True}}, "cyd -"),
    ({"tags": {"any": ["vip"], "none": ["CHEM_%"]}}, "bob"),
    ({"emailQuality": {"any": ["ROLE"]}}, "ada cyd"),
    ({"emailQuality": {"all": ["ROLE", "DISPOSABLE"]}}, "cyd"),
    ({"emailQuality": {"none": ["DISPOSABLE"]}}, "ada bob -"),
    ({"emailQuality": {"isEmpty": True}}, "bob -"),
    ({"softBounces": {"gte": 1}}, "bob"),
    ({"softBounces": {"eq": 0}}, "ada cyd -"),
    ({"softBounces": {"gt": 2.5, "lte": 3, "lt": 4}}, "bob"),
    ({"createdAt": {"gte": at(10)}}, "bob cyd -"),
    ({"createdAt": {"gt": at(10), "lt": at(30)}}, "cyd"),
    ({"createdAt": {"lte": "2026-01-01T00:10:00"}}, "ada bob"),
    ({"updatedAt": {"gte": "2026-06-01T02:00:00+02:00"}}, "cyd"),
    ({"lastEventAt": {"gte": at(9)}}, "bob"),
    ({"lastEventAt": {"lt": at(9)}}, "ada"),
    ({"lastEventAt": {"lte": at(9), "gt": at(5)}}, "bob"),
    ({"lastEventAt": {"isNull": True}}, "cyd -"),
    ({"lastEventAt": {"isNull": False}}, "ada bob"),
    ({"not": {"lastEventAt": {"lt": at(9)}}}, "bob cyd -"),
    ({"bouncedAt": {"gte": "2026-02-02T00:00:00Z"}}, "cyd"),
    ({"bouncedReason": {"eq": "hard_bounce"}, "bouncedBy": {"in": ["sendgrid"]}}, "cyd"),
    ({"optedOutAt": {"lt": "2026-02-02T00:00:00Z"}}, "bob"),
    ({"optedOutReason": {"isNull": False}, "optedOutBy": {"eq": "Mailgun"}}, "bob"),
    ({"not": {"optedOutReason": {"eq": "complained"}}}, "ada cyd -"),
    ({"identity": {"kind": "user_id"}}, "ada"),
    ({"identity": {"kind": "anonymous_id", "value": "42"}}, "bob"),
    ({"identity": {"kind": "user_id", "value": "43"}}, ""),
    ({"not": {"identity": {"kind": "email"}}}, "-"),
    ({"crmLink": {}}, "ada bob"),
    ({"not": {"crmLink": {}}}, "cyd -"),
    ({"crmLink": {"connection": str(STAGING)}}, "bob"),
    ({"crmLink": {"connection": str(SALES), "object": "Lead"}}, "ada"),
    ({"crmLink": {"object": "Lead"}}, "ada bob"),
    ({"crmLink": {"object": "Lead", "record": "00Q1", "connection": str(SALES)}}, "ada"),
    ({"crmLink": {"state": "GONE"}}, "bob"),
    ({"crmLink": {"state": "GONE", "object": "Lead"}}, ""),
    ({"crmLink": {"state": "LIVE", "connection": str(SALES)}}, "ada"),
    ({"bands": [{"model": "engagement", "name": "Hot"}, {"model": "engagement", "name": "Cold"}]}, "ada cyd"),
    (prop("visits", number={"gte": 10}), "ada"),
    (prop("visits", number={"lt": 10}), "bob"),
    (prop("visits", isNull=True), "cyd -"),
    (prop("likes", tags={"any": ["books"]}), "ada"),
    (prop("likes", tags={"all": ["books", "tea"]}), "ada"),
    (prop("likes", tags={"none": ["tea"]}), "bob cyd -"),
    (prop("likes", tags={"isEmpty": True}), "bob cyd -"),
    (prop("industry", text={"beginsWith": "CHEM"}), "ada bob"),
    (prop("industry", text={"eq": "7"}), "cyd"),
    (prop("industry", number={"eq": 7}), "cyd"),
    (prop("industry", text={"in": ["chem", "chemicals"]}), "ada bob"),
    (prop("since", instant={"gte": "2026-02-01T00:00:00Z"}), "bob"),
    (prop("since", instant={"lte": "2026-03-05T08:00:00Z"}), "ada bob"),
    (prop("paid", boolean=True), "ada"),
    (prop("paid", boolean=False), "bob"),
    (prop("address.country", text={"eq": "uk"}), "ada"),
    (prop("plan", text={"isNull": False}), "ada"),
    (prop("plan", isNull=True), "bob cyd -"),
    ({"not": prop("visits", number={"gte": 10})}, "bob cyd -"),
    ({"properties": [{"name": "visits", "number": {"gt": 1}}, {"name": "paid", "boolean": False}]}, "bob"),
    ({"where": where("contact.stage", "=", "customer")}, "ada"),
    ({"where": {"field": "contact.score.engagement", "operator": ">=", "value": 40}, "optedOut": False}, "ada"),
    ({"not": {"where": where("contact.score.engagement", ">=", 40)}}, "cyd -"),
    ({"where": where("contact.band.engagement", "=", "warm")}, "bob"),
    ({"where": where("contact.last_event_at", "null", None)}, "cyd -"),
    ({"scores": [{"model": "engagement", "gte": 40}], "tags": {"any": ["vip"]}, "lastEventAt": {"gt": at(5)}}, "bob"),
]  # fmt: skip


@pytest.mark.usefixtures("four")
async def test_a_filter_finds_whoever_matches_and_its_opposite_everybody_else(data: Ask) -> None:
    everybody = ["ada", "bob", "cyd", "-"]
    for wanted, expected in CASES:
        found = (await data(FIND, filter=wanted))["contacts"]
        others = (await data(FIND, filter={"not": wanted}))["contacts"]

        names = [(node["email"] or "-")[:3].rstrip("@") for node in found["nodes"]]
        assert expected.split() == names, wanted
        assert len(names) == found["totalCount"], wanted
        rest = [(node["email"] or "-")[:3].rstrip("@") for node in others["nodes"]]
        assert [one for one in everybody if one not in names] == rest, wanted


async def test_contacts_are_kept_by_their_ids(four: list[str], data: Ask) -> None:
    found = await data(FIND, filter={"ids": [four[2], four[0], str(UUID(int=9))]})

    assert ["ada@x.co", "cyd@y.co"] == [node["email"] for node in found["contacts"]["nodes"]]


@pytest.mark.usefixtures("four")
@pytest.mark.parametrize("direction", ["ASC", "DESC"])
async def test_a_range_of_the_last_event_holds_in_that_order_too(data: Ask, direction: str) -> None:
    query = "query($f: ContactFilter, $o: [ContactOrder!]) { contacts(filter: $f, orderBy: $o) { nodes { email } } }"

    found = await data(query, f={"lastEventAt": {"gte": at(5)}}, o=[{"lastEventAt": direction}])

    expected = ["ada@x.co", "bob@mail.y.co"][:: 1 if direction == "ASC" else -1]
    assert expected == [node["email"] for node in found["contacts"]["nodes"]]


@pytest.mark.usefixtures("four")
@pytest.mark.parametrize(
    ("wanted", "pointer", "says"),
    [
        ({"ids": []}, "/filter/ids", "between 1 and 200"),
        ({"ids": ["x"]}, "/filter/ids/0", "not a UUID"),
        ({"emailAddress": {"beginsWith": "a\0"}}, "/filter/emailAddress/beginsWith", "NUL"),
        ({"name": {"in": []}}, "/filter/name/in", "empty"),
        ({"name": {"in": ["x"] * 201}}, "/filter/name/in", "at most 200"),
        ({"tags": {"any": []}}, "/filter/tags/any", "empty"),
        ({"and": [{"tags": {"none": ["a", "b\0"]}}]}, "/filter/and/0/tags/none/1", "NUL"),
        ({"identity": {"kind": "a\0"}}, "/filter/identity/kind", "NUL"),
        ({"crmLink": {"connection": "sales"}}, "/filter/crmLink/connection", "not a UUID"),
        ({"bands": []}, "/filter/bands", "between 1 and 20"),
        ({"bands": [{"model": "engagement", "name": "Tepid"}]}, "/filter/bands/0/name", "no band 'Tepid'"),
        ({"createdAt": {"gte": "0001-01-01T00:00:00+10:00"}}, "/filter/createdAt/gte", "years 1 and 9999"),
        (prop("visits", text={"contains": "1"}), "/filter/properties/0/text", "declared as number, not as text"),
        (prop("industry", tags={"any": ["x"]}), "/filter/properties/0/tags", "declared as nothing, not as tags"),
        (prop("", text={"eq": "1"}), "/filter/properties/0/name", "name of a property"),
        (prop("a\0", isNull=True), "/filter/properties/0/name", "name of a property"),
        ({"properties": [{"name": "x", "isNull": True}] * 51}, "/filter/properties/50", "at most 50 properties"),
        ({"where": where("contact.age", "=", 1)}, "/filter/where/rules/0/field", "unknown field"),
        ({"where": where("contact.visits", "~", 1)}, "/filter/where/rules/0/field", "unknown field"),
        ({"where": where("contact.email", "~", "x")}, "/filter/where/rules/0/operator", "unknown operator"),
        ({"where": {}}, "/filter/where/field", "unknown field"),
        ({"where": "contact.email = 1"}, "/filter/where", "expected an object"),
        ({"where": []}, "/filter/where", "expected an object"),
        ({"or": [{"where": where("contact.segments", "=", "vips")}]}, "/filter/or/0/where/rules/0/value", "segment"),
        ({"and": [{"where": where("contact.name", "=", "x")}] * 21}, "/filter/and/20/where", "at most 20"),
    ],
)
async def test_a_filter_that_makes_no_sense_is_refused_with_its_place(
    fault: Ask, wanted: dict[str, Any], pointer: str, says: str
) -> None:
    error = await fault(FIND, filter=wanted)

    assert "invalid_input" == error["extensions"]["code"]
    assert pointer == error["extensions"]["faults"][0]["pointer"]
    assert says in error["message"]


async def test_a_condition_on_a_measure_that_is_not_ready_is_not_answered(database: Database, fault: Ask) -> None:
    wanted = measures.Wanted("opens", "Opens", where("event.type", "=", "email.opened"), Aggregate.COUNT)
    async with database.batch() as db:
        await measures.create(db, wanted, clock.now())

    error = await fault(FIND, filter={"where": where("contact.measures.opens", ">", 0)})

    assert "conflict" == error["extensions"]["code"]
    assert "the condition looks at measure 'opens'" in error["message"]


PLAIN = st.sampled_from(["", "a", "A", "12", "x.co", "Ada", "%", "_", "\\", "é", "É"])
NUMBERS = st.sampled_from([-1, 0, 3, 12, 12.5, 1e300])
VALUES = st.one_of(st.none(), st.booleans(), NUMBERS, PLAIN, st.lists(PLAIN, max_size=2), st.just("2026-01-05"))
OPERATORS = {"eq": "=", "contains": "contains", "beginsWith": "beginsWith", "endsWith": "endsWith"}
ORDERED = {"eq": "=", "gte": ">=", "gt": ">", "lte": "<=", "lt": "<"}
ASKED = st.one_of(
    st.tuples(st.just("text"), st.sampled_from(list(OPERATORS.items())), PLAIN.filter(bool)),
    st.tuples(st.just("number"), st.sampled_from(list(ORDERED.items())), NUMBERS),
    st.tuples(st.just("boolean"), st.just((None, "=")), st.booleans()),
)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(values=st.lists(VALUES, min_size=1, max_size=8), asked=st.lists(ASKED, min_size=1, max_size=6))
async def test_a_filter_on_a_property_or_column_agrees_with_the_condition_that_says_the_same(
    database: Database, client: Any, values: list[Any], asked: list[Any]
) -> None:
    """As a rule's condition has it, whatever the property holds; of the name, where it can hold the same."""
    async with database.batch() as db:
        await db.execute("DELETE FROM contact")
        await db.execute(
            """
            INSERT INTO contact (id, name, stage, properties, created_at, updated_at)
            SELECT gen_random_uuid(), CASE WHEN jsonb_typeof(v) = 'string' THEN v #>> '{}' END,
                   CASE WHEN jsonb_typeof(v) = 'string' THEN v #>> '{}' END, jsonb_build_object('p', v), now(), now()
            FROM jsonb_array_elements($1) v
            """,
            values,
        )
    parts: list[str] = []
    variables: dict[str, Any] = {}
    for number, (kind, (name, operator), value) in enumerate(asked):
        said: Any = value if name is None else {name: value}
        pairs = [(prop("p", **{kind: said}), where("contact.properties.p", operator, value))]
        if kind == "text":
            pairs.append(({"name": said}, where("contact.name", operator, value)))
            pairs.append(({"stageName": said}, where("contact.stage", operator, value)))
        for place, (wanted, condition) in enumerate(pairs):
            one, other = f"a{number}_{place}", f"b{number}_{place}"
            parts += [f"{it}: contacts(filter: ${it}) {{ nodes {{ id }} }}" for it in (one, other)]
            variables |= {one: wanted, other: {"where": condition}}
    declared = ", ".join(f"${name}: ContactFilter" for name in variables)

    reply = await client.post(
        "/graphql", json={"query": f"query({declared}) {{ {' '.join(parts)} }}", "variables": variables}
    )

    found = reply.json()["data"]
    for name in (one for one in variables if one.startswith("a")):
        assert found[name] == found[f"b{name[1:]}"], variables[name]


_SOME_PEOPLE = (
    """
    INSERT INTO contact (id, email, created_at, updated_at)
    SELECT md5(n::text)::uuid, n || '@x.co', now(), now() FROM generate_series(1, 2000) n
    """,
    """
    INSERT INTO identity (kind, value, contact_id)
    SELECT 'user_id', n::text, md5(n::text)::uuid FROM generate_series(1, 2000) n
    """,
    "ANALYZE contact, identity",
)
"""So many that the planner has something to choose by; gone with the transaction."""


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (Filter(compared=(Compared(Column.EMAIL, Operator.EQUAL, "Ada@x.co"),)), "contact_email"),
        (Filter(compared=(Compared(Column.EMAIL, Operator.IN, ("ada@x.co", "b@x.co")),)), "contact_email"),
        (Filter(compared=(Compared(Column.EMAIL, Operator.BEGINS, "a_a"),)), "contact_email"),
        (Filter(compared=(Compared(Column.STAGE, Operator.EQUAL, "Lead"),)), "contact_stage"),
        (Filter(stage="Lead"), "contact_stage"),
        (Filter(tags=Among(any=("vip",))), "contact_tags"),
        (Filter(identity=Held("user_id", "42")), "identity_pkey"),
        (Filter(bounced=True, compared=(Compared(Column.BOUNCED_AT, Operator.ABOVE, EPOCH),)), "contact_suppressed"),
    ],
)
async def test_an_index_serves_a_filter_that_has_one(database: Database, wanted: Filter, index: str) -> None:
    statement = select(contact.c.id).where(to_sql(wanted, {}))
    sql = str(statement.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True}))  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it so
    async with database.read() as db:
        for one in _SOME_PEOPLE:
            await db.exec_driver_sql(one)
        await db.exec_driver_sql("SET LOCAL enable_seqscan = off")
        plan = "\n".join(row[0] for row in await db.exec_driver_sql(f"EXPLAIN {sql.replace('%%', '%')}"))

    assert index in plan
