import json
from uuid import uuid4

import pytest

from app.store import keys
from app.store.keys import Scope
from tests.api.client import Api, Json, event_rule, pointers, profile_rule

ADA = {"email": "ada@example.com"}
THEN = "2026-05-01T12:00:00Z"
OPT_OUT = ["opted_out", "opted_out_reason", "opted_out_by"]
BOUNCE = ["bounced", "bounced_reason", "bounced_by", "bounce_status"]


async def made(api: Api, **said: Json) -> Json:
    return await api.post("/v1/contacts", said or ADA, 201)


def of(contact: Json, names: list[str]) -> list[Json]:
    return [contact[name] for name in names]


# --- made, read, changed ----------------------------------------------------------------------------------------------


async def test_a_contact_is_made_with_all_that_was_said_and_read_again(api: Api) -> None:
    given = {
        "email": "Ada@Example.com",
        "user_id": "u-1",
        "name": "Ada Ä",
        "stage": "lead",
        "tags": ["webinar", "Partner"],
        "properties": {"visits": 7, "since": "2026-01-01", "vip": True, "rate": 0.5, "none": {"x": [1]}},
    }

    contact = await made(api, **given)

    assert contact == await api.get(f"/v1/contacts/{contact['id']}")
    assert contact["created_at"] == contact["updated_at"]
    assert {
        "id": str(await api.id_of("u-1", "user_id")),
        "email": "ada@example.com",
        "email_quality": [],
        "name": "Ada Ä",
        "stage": "lead",
        "tags": ["webinar", "Partner"],
        "properties": given["properties"],
        "opted_out": False,
        "opted_out_at": None,
        "opted_out_reason": None,
        "opted_out_by": None,
        "bounced": False,
        "bounced_at": None,
        "bounced_reason": None,
        "bounced_by": None,
        "bounce_status": "none",
        "soft_bounces": 0,
        "merged": [],
    } == {name: value for name, value in contact.items() if name not in ("created_at", "updated_at")}


@pytest.mark.parametrize("identity", [{"email": "ada@example.com"}, {"user_id": "u-1"}, {"anonymous_id": "a-1"}])
async def test_a_contact_is_found_again_by_each_identity(api: Api, identity: Json) -> None:
    first = await made(api, email="ada@example.com", user_id="u-1", anonymous_id="a-1", name="Ada")

    second = await api.post("/v1/contacts", {**identity, "stage": "customer"}, 200)

    assert first["id"] == second["id"]
    assert ("Ada", "customer") == (second["name"], second["stage"])


async def test_an_identity_that_is_new_is_attached_to_who_is_found(api: Api) -> None:
    first = await made(api, email="ada@example.com")

    await api.post("/v1/contacts", {"email": "ada@example.com", "user_id": "u-1"}, 200)

    assert first["id"] == str(await api.id_of("u-1", "user_id"))


async def test_an_address_of_somebody_else_is_a_conflict_and_changes_nothing(api: Api) -> None:
    await made(api, email="bob@example.com")
    ada = await made(api, email="ada@example.com", user_id="u-1", name="Ada")

    upserted = await api.post("/v1/contacts", {"user_id": "u-1", "email": "bob@example.com", "name": "X"}, 409)
    patched = await api.patch(f"/v1/contacts/{ada['id']}", {"email": "bob@example.com", "name": "X"}, 409)

    assert ("conflict", "/email") == (upserted["code"], upserted["pointer"])
    assert ("conflict", "/email") == (patched["code"], patched["pointer"])
    assert ada == await api.get(f"/v1/contacts/{ada['id']}")


async def test_what_is_left_out_of_a_change_stays(api: Api) -> None:
    ada = await made(api, email="ada@example.com", name="Ada", stage="lead", tags=["a"], properties={"x": 1})

    changed = await api.patch(f"/v1/contacts/{ada['id']}", {"stage": "customer"})

    assert {**ada, "stage": "customer"} == {**changed, "updated_at": ada["updated_at"]}
    assert changed["updated_at"] > ada["updated_at"]
    assert changed == await api.get(f"/v1/contacts/{ada['id']}")


async def test_null_takes_a_name_a_stage_and_an_address_away(api: Api) -> None:
    ada = await made(api, email="ada@example.com", user_id="u-1", name="Ada", stage="lead")

    changed = await api.patch(f"/v1/contacts/{ada['id']}", {"name": None, "stage": None, "email": None})

    assert [None, None, None] == of(changed, ["name", "stage", "email"])


async def test_properties_merge_and_null_removes_one(api: Api) -> None:
    """The cases are of RFC 7396, appendix A, as far as they are objects."""
    cases = [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": 0}, {"a": 1}, {"e": 0, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ]
    for number, (before, patch, after) in enumerate(cases):
        contact = await made(api, user_id=str(number), properties=before)
        changed = await api.patch(f"/v1/contacts/{contact['id']}", {"properties": patch})
        assert after == changed["properties"]


async def test_tags_are_replaced_and_case_makes_no_second_one(api: Api) -> None:
    ada = await made(api, email="ada@example.com", tags=["a", "b"])

    changed = await api.patch(f"/v1/contacts/{ada['id']}", {"tags": ["Web", "web", "WEB", "c"]})

    assert ["Web", "c"] == changed["tags"]


@pytest.mark.parametrize(
    ("said", "pointer"),
    [
        ({}, ""),
        ({"name": "Ada"}, ""),
        ({"email": "nobody"}, "/email"),
        ({"email": "a\u0000@b.de"}, "/email"),
        ({"email": 7}, "/email"),
        ({"user_id": ""}, "/user_id"),
        ({"user_id": "1", "name": "x" * 201}, "/name"),
        ({"user_id": "1", "name": "\u0000"}, "/name"),
        ({"user_id": "1", "name": "\ud800"}, "/name"),
        ({"user_id": "1", "tags": "webinar"}, "/tags"),
        ({"user_id": "1", "tags": ["a", "\u0000"]}, "/tags/1"),
        ({"user_id": "1", "tags": ["a"] * 201}, "/tags"),
        ({"user_id": "1", "properties": []}, "/properties"),
        ({"user_id": "1", "properties": {"a": "\u0000"}}, "/properties"),
        ({"user_id": "1", "properties": {"a": "\ud800"}}, "/properties"),
        ({"user_id": "1", "properties": {"\ud800": "a"}}, "/properties"),
        ({"user_id": "1", "properties": {"a": 2**64}}, "/properties"),
        ({"user_id": "1", "properties": {"a": "x" * 70_000}}, "/properties"),
        ({"user_id": "1", "opted_out": "perhaps"}, "/opted_out"),
        ({"user_id": "1", "opted_out": None}, "/opted_out"),
        ({"user_id": "1", "bounce_status": "hard"}, "/bounce_status"),
        ({"user_id": "1", "id": str(uuid4())}, "/id"),
    ],
)
async def test_what_is_wrong_with_a_contact_is_pointed_at(api: Api, said: Json, pointer: str) -> None:
    reply = await api.http.post("/v1/contacts", content=json.dumps(said), headers={"content-type": "application/json"})

    assert 422 == reply.status_code, reply.text
    assert [pointer] == pointers(reply.json())
    assert 0 == await api.fetchval("SELECT count(*) FROM contact")


async def test_who_is_not_there_is_not_found(api: Api) -> None:
    path = f"/v1/contacts/{uuid4()}"

    assert "not_found" == (await api.get(path, 404))["code"]
    assert "not_found" == (await api.patch(path, {"name": "X"}, 404))["code"]
    assert "not_found" == (await api.patch(path, {"email": "x@example.com"}, 404))["code"]
    assert "not_found" == (await api.delete(path, 404))["code"]
    assert ["/contact_id"] == pointers(await api.get("/v1/contacts/ada", 422))


# --- flags ------------------------------------------------------------------------------------------------------------


async def test_each_flag_says_when_why_and_who_and_leaves_the_other_alone(api: Api) -> None:
    ada = await made(api)
    path = f"/v1/contacts/{ada['id']}"

    out = await api.patch(path, {"opted_out": True})
    both = await api.patch(path, {"bounced": True})
    bounced = await api.patch(path, {"opted_out": False})
    neither = await api.patch(path, {"bounced": False})

    assert [True, "manual", "tests"] == of(out, OPT_OUT)
    assert [False, None, None, "none"] == of(out, BOUNCE)
    assert out["updated_at"] == out["opted_out_at"]
    assert [True, "manual", "tests", "hard"] == of(both, BOUNCE)
    assert of(out, [*OPT_OUT, "opted_out_at"]) == of(both, [*OPT_OUT, "opted_out_at"])
    assert [False, "manual", "tests"] == of(bounced, OPT_OUT)
    assert of(both, [*BOUNCE, "bounced_at"]) == of(bounced, [*BOUNCE, "bounced_at"])
    assert [False, "manual", "tests", "none"] == of(neither, BOUNCE)


async def test_saying_what_is_so_already_changes_neither_when_nor_who(api: Api) -> None:
    await api.send({"type": "email.unsubscribed", "occurred_at": THEN, "contact": ADA, "source": "esp"})
    ada = await api.contact("ada@example.com")

    again = await api.patch(f"/v1/contacts/{ada['id']}", {"opted_out": True, "bounced": False})

    assert [True, "unsubscribed", "esp", THEN] == of(again, [*OPT_OUT, "opted_out_at"])
    assert [False, None, None, "none"] == of(again, BOUNCE)


async def test_a_new_address_clears_the_bounce_and_keeps_the_opt_out(api: Api) -> None:
    await api.model("fit", profile_rule("contact.bounced", "=", True, -1000), event_rule("page.viewed", 5))
    await api.send(
        {"type": "page.viewed", "contact": ADA},
        {"type": "email.bounced", "contact": ADA, "properties": {"bounce": "hard"}},
        {"type": "email.unsubscribed", "contact": ADA},
    )
    ada = await api.contact("ada@example.com")
    assert (True, True, -995) == (ada["bounced"], ada["opted_out"], await api.score("ada@example.com", "fit"))

    changed = await api.patch(f"/v1/contacts/{ada['id']}", {"email": "Lovelace@example.com"})

    assert "lovelace@example.com" == changed["email"]
    assert [False, None, None, "none"] == of(changed, BOUNCE)
    assert [True, "unsubscribed"] == of(changed, ["opted_out", "opted_out_reason"])
    assert 5 == await api.score("lovelace@example.com", "fit")


async def test_mail_to_the_old_address_still_finds_the_person(api: Api) -> None:
    ada = await made(api)
    await api.patch(f"/v1/contacts/{ada['id']}", {"email": "lovelace@example.com"})

    await api.send({"type": "email.bounced", "contact": ADA, "properties": {"bounce": "hard"}})

    assert ada["id"] == str(await api.id_of("ada@example.com"))
    assert not (await api.contact("lovelace@example.com"))["bounced"]


async def test_the_key_that_changed_a_flag_is_named(api: Api) -> None:
    ada = await made(api)
    secret = await api.key("the crm", Scope.WRITE)

    reply = await api.http.patch(
        f"/v1/contacts/{ada['id']}", json={"opted_out": True}, headers={"Authorization": f"Bearer {secret}"}
    )

    assert "the crm" == reply.json()["opted_out_by"]
    assert secret.startswith(keys.PREFIX)


async def test_a_change_is_scored_at_once(api: Api) -> None:
    await api.model("fit", profile_rule("contact.properties.employees", ">=", 50, 30))
    ada = await made(api, email="ada@example.com", properties={"employees": 10})
    assert 0 == await api.score("ada@example.com", "fit")

    await api.patch(f"/v1/contacts/{ada['id']}", {"properties": {"employees": 50}})

    assert 30 == await api.score("ada@example.com", "fit")


# --- erased -----------------------------------------------------------------------------------------------------------


async def test_an_erased_contact_leaves_nothing_in_any_table(api: Api) -> None:
    await api.model("engagement", event_rule("page.viewed", 5))
    await made(api, email="ada@erase.example", user_id="erase-1", name="Erase Me", tags=["erase-tag"])
    await made(api, email="bob@example.com")
    await api.send(
        {"id": "1", "type": "page.viewed", "contact": {"email": "ada@erase.example"}, "properties": {"a": "erase"}},
        {"id": "2", "type": "page.viewed", "contact": {"email": "bob@example.com"}},
    )
    ada = await api.contact("ada@erase.example")
    await api.patch(f"/v1/contacts/{ada['id']}", {"email": "new@erase.example"})

    await api.delete(f"/v1/contacts/{ada['id']}")

    await api.get(f"/v1/contacts/{ada['id']}", 404)
    async with api.database.hot.acquire() as db:
        tables = [row[0] for row in await db.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        assert {"contact", "activity", "identity", "event", "tally", "score"} <= set(tables)
        for table in tables:
            kept = await db.fetchval(
                f"SELECT count(*) FROM {table} t WHERE to_jsonb(t)::text ILIKE ANY($1)", ["%erase%", f"%{ada['id']}%"]
            )
            assert 0 == kept, table
    assert 5 == await api.score("bob@example.com", "engagement")


async def test_who_was_erased_may_come_back_as_somebody_new(api: Api) -> None:
    ada = await made(api)
    await api.delete(f"/v1/contacts/{ada['id']}")

    assert ada["id"] != (await made(api))["id"]
