from urllib.parse import quote

import httpx
import orjson
import pytest

from app.store.keys import Scope
from tests.api.client import Api, Json, pointers, said
from tests.engine.worlds import World, profile

ADA = "ada@example.com"


async def put(api: Api, name: str, kind: Json, status: int = 201, **headers: str) -> Json:
    """Declare, without waiting for the job."""
    reply = await api.http.put(
        f"/v1/properties/{quote(name, safe='')}", json={"type": kind}, headers={"Prefer": "respond-async", **headers}
    )
    return said(reply, status)


async def declared(api: Api, **kinds: str) -> None:
    for name, kind in kinds.items():
        assert "done" == (await api.work((await put(api, name, kind))["job_id"]))["status"]


async def load(api: Api, text: str, mapping: Json = None, status: int = 200) -> Json:
    reply = await api.http.post(
        "/v1/contacts/import",
        content=text.encode(),
        params={} if mapping is None else {"mapping": orjson.dumps(mapping).decode()},
        headers={"content-type": "text/csv"},
    )
    return said(reply, status)


# --- declared, listed, withdrawn --------------------------------------------------------------------------------------


async def test_a_declaration_is_made_listed_changed_and_withdrawn(api: Api) -> None:
    made = await put(api, "vip", "text")
    again = await put(api, "vip", "boolean", 200)

    assert {"name": "vip", "type": "text", "created_at": made["created_at"]} == _without_job(made)
    assert {"name": "vip", "type": "boolean", "created_at": made["created_at"]} == _without_job(again)
    assert {"items": [_without_job(again)], "next_cursor": None} == await api.get("/v1/properties")
    await api.delete("/v1/properties/vip")
    assert [] == (await api.get("/v1/properties"))["items"]
    await api.delete("/v1/properties/vip", 404)


def _without_job(shown: Json) -> Json:
    assert ("property.retype", shown["job_id"]) == (shown["job"]["kind"], shown["job"]["id"])
    return {name: value for name, value in shown.items() if name not in ("job", "job_id")}


async def test_declaring_the_same_again_is_the_same_job_and_one_that_failed_is_tried_again(api: Api) -> None:
    first = await put(api, "vip", "boolean")

    assert first["job_id"] == (await put(api, "vip", "boolean", 200))["job_id"]
    await api.work(first["job_id"])
    assert first["job_id"] == (await put(api, "vip", "boolean", 200))["job_id"]
    await api.execute("UPDATE job SET status = 'failed'")
    assert first["job_id"] != (await put(api, "vip", "boolean", 200))["job_id"]


async def test_the_list_comes_in_pages_by_name(api: Api) -> None:
    for name in ("b", "a", "B", "é", "a.b"):
        await put(api, name, "text")

    first = await api.get("/v1/properties", limit=3)
    second = await api.get("/v1/properties", limit=3, cursor=first["next_cursor"])

    assert ["B", "a", "a.b"] == [one["name"] for one in first["items"]]
    assert (["b", "é"], None) == ([one["name"] for one in second["items"]], second["next_cursor"])
    assert ["/cursor"] == pointers(await api.get("/v1/properties", 422, cursor="x"))
    assert ["/limit"] == pointers(await api.get("/v1/properties", 422, limit=0))


@pytest.mark.parametrize("name", ["a/b", "with space", "50%", "é", "a.b", "?", "#", "contact.properties.x"])
async def test_a_name_may_be_whatever_a_property_may_be_called(api: Api, name: str) -> None:
    await declared(api, **{name: "number"})

    contact = await api.post("/v1/contacts", {"user_id": "1", "properties": {name: "7"}}, 201)

    assert {name: 7} == contact["properties"]
    await api.delete(f"/v1/properties/{quote(name, safe='')}")


@pytest.mark.parametrize(
    ("name", "body", "found"),
    [
        ("vip", {}, "/type"),
        ("vip", {"type": "integer"}, "/type"),
        ("vip", {"type": None}, "/type"),
        ("vip", {"type": "text", "unit": "cm"}, "/unit"),
        ("x" * 201, {"type": "text"}, "/name"),
        ("a\0", {"type": "text"}, "/name"),
    ],
)
async def test_a_declaration_that_makes_no_sense_is_pointed_at(api: Api, name: str, body: Json, found: str) -> None:
    reply = await api.http.put(f"/v1/properties/{quote(name)}", json=body)

    assert [found] == pointers(said(reply, 422))
    assert 0 == await api.fetchval("SELECT count(*) FROM property")


async def test_declaring_takes_a_key_that_may_write_and_listing_one_that_may_read(api: Api) -> None:
    statuses = {}
    for scope in (Scope.INGEST, Scope.READ, Scope.WRITE):
        secret = await api.key(str(scope), scope)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(api.app), base_url=api.http.base_url, auth=(secret, "")
        ) as http:
            statuses[scope] = [
                (await http.put("/v1/properties/vip", json={"type": "text"}, headers={"Prefer": "respond-async"})),
                (await http.get("/v1/properties")),
                (await http.delete("/v1/properties/vip")),
            ]

    assert [403, 403, 403] == [reply.status_code for reply in statuses[Scope.INGEST]]
    assert [403, 200, 403] == [reply.status_code for reply in statuses[Scope.READ]]
    assert [201, 204] == [statuses[Scope.WRITE][0].status_code, statuses[Scope.WRITE][2].status_code]


async def test_beside_a_worker_the_answer_says_what_was_converted(working: Api) -> None:
    await working.post("/v1/contacts", {"email": ADA, "properties": {"vip": "Yes"}}, 201)
    await working.post("/v1/contacts", {"user_id": "2", "properties": {"vip": "perhaps"}}, 201)

    reply = said(await working.http.put("/v1/properties/vip", json={"type": "boolean"}), 201)

    assert ("done", {"converted": 1, "unreadable": 1}) == (reply["job"]["status"], reply["job"]["result"])
    assert {"vip": True} == (await working.contact(ADA))["properties"]


async def test_what_uses_a_property_otherwise_is_a_conflict_that_says_who_and_how(api: Api) -> None:
    await World(api.database).publish("fit", profile("contact.properties.role", "contains", "head", 5))

    refused = await put(api, "role", "boolean", 409)

    assert ("conflict", "/type") == (refused["code"], refused["pointer"])
    assert "model 'fit', rule 'rule 0': contact.properties.role contains \"head\"" in refused["detail"]
    assert [] == (await api.get("/v1/properties"))["items"]
    await put(api, "role", "text")


# --- values, one by one -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "given", "stored"),
    [
        ("boolean", "Yes", True),
        ("boolean", 0, False),
        ("number", "7.50", 7.5),
        ("text", 7, "7"),
        ("datetime", "2026-05-01", "2026-05-01"),
        ("tags", "a, b", ["a", "b"]),
    ],
)
async def test_a_value_is_stored_as_its_declared_type_however_it_comes(
    api: Api, kind: str, given: Json, stored: Json
) -> None:
    await declared(api, x=kind)

    made = await api.post("/v1/contacts", {"email": ADA, "properties": {"x": given, "y": given}}, 201)
    assert {"x": stored, "y": given} == made["properties"]
    emptied = await api.patch(f"/v1/contacts/{made['id']}", {"properties": {"x": None}})
    assert {"y": given} == emptied["properties"]
    changed = await api.patch(f"/v1/contacts/{made['id']}", {"properties": {"x": given}})
    assert {"x": stored, "y": given} == changed["properties"]


async def test_what_cannot_be_read_is_refused_with_a_pointer_to_each_and_nothing_changes(api: Api) -> None:
    await declared(api, n="number", **{"a/b~c": "boolean", "t": "text"})
    ada = await api.post("/v1/contacts", {"email": ADA, "name": "Ada", "properties": {"n": 1}}, 201)
    wrong = {"name": "X", "properties": {"n": "many", "t": "fine", "a/b~c": "perhaps"}}

    posted = await api.post("/v1/contacts", {"email": ADA, **wrong}, 422)
    patched = await api.patch(f"/v1/contacts/{ada['id']}", wrong, 422)
    new = await api.post("/v1/contacts", {"email": "bob@example.com", **wrong}, 422)

    assert ["/properties/n", "/properties/a~1b~0c"] == pointers(posted) == pointers(patched) == pointers(new)
    assert "expected number" == posted["errors"][0]["detail"]
    assert ada == await api.get(f"/v1/contacts/{ada['id']}")
    assert 1 == await api.fetchval("SELECT count(*) FROM contact")


async def test_a_withdrawn_property_takes_anything_again(api: Api) -> None:
    await declared(api, n="number")
    await api.delete("/v1/properties/n")

    made = await api.post("/v1/contacts", {"email": ADA, "properties": {"n": "many"}}, 201)

    assert {"n": "many"} == made["properties"]


# --- values, imported -------------------------------------------------------------------------------------------------


async def test_an_import_reads_columns_as_declared_unless_the_mapping_says_it_too(api: Api) -> None:
    await declared(api, vip="boolean", code="text", likes="tags", since="datetime", n="number")
    text = f"email,vip,zip,likes,since,count\n{ADA},1,0.50,a;b,2026-05-01,1e2\n"

    report = await load(api, text, {"zip": "properties.code", "count": "properties.n:number"})

    assert (1, []) == (report["created"], report["errors"])
    assert {"vip": True, "code": "0.50", "likes": ["a", "b"], "since": "2026-05-01", "n": 100} == (
        await api.contact(ADA)
    )["properties"]


async def test_a_line_that_cannot_be_read_is_an_error_of_its_column_and_the_others_are_imported(api: Api) -> None:
    await declared(api, vip="boolean")

    report = await load(
        api,
        "email,Ticked,n\nada@example.com,yes,1\nbob@example.com,perhaps,2\ncy@example.com,,3\n",
        {"Ticked": "properties.vip"},
    )

    assert (2, 0, 1) == (report["created"], report["updated"], report["failed"])
    assert [(3, "Ticked")] == [(error["line"], error["column"]) for error in report["errors"]]
    assert "expected boolean: true or false, yes or no, 1 or 0" == report["errors"][0]["detail"]
    assert {"vip": True, "n": 1} == (await api.contact(ADA))["properties"]


async def test_a_mapping_that_contradicts_declarations_is_pointed_at(api: Api) -> None:
    await declared(api, vip="boolean", likes="tags")
    mapping = {"a/b": "properties.vip:text", "c": "properties.likes:number", "d": "properties.n:number"}

    refused = await load(api, f"email,a/b,c,d\n{ADA},1,2,3\n", mapping, 422)

    assert ["/mapping/a~1b", "/mapping/c"] == pointers(refused)
    assert "'vip' is declared as boolean" in refused["errors"][0]["detail"]
    assert 0 == await api.fetchval("SELECT count(*) FROM contact")
