import codecs

import orjson
import pytest

from tests.api.client import Api, Json, pointers, profile_rule, said


async def load(api: Api, text: str | bytes, mapping: Json = None, status: int = 200) -> Json:
    content = text.encode() if isinstance(text, str) else text
    query = {} if mapping is None else {"mapping": orjson.dumps(mapping).decode()}
    reply = await api.http.post(
        "/v1/contacts/import", content=content, params=query, headers={"content-type": "text/csv"}
    )
    return said(reply, status)


def imported(created: int, updated: int = 0) -> Json:
    return {"created": created, "updated": updated, "failed": 0, "errors": []}


async def test_headings_say_where_columns_go_and_cells_what_type_they_are(api: Api) -> None:
    text = (
        "E-Mail,Name,Stage,Tags,Do Not Email,visits,rate,vip,zip,note,empty\n"
        'Ada@Example.com,"Lovelace, Ada",lead,"a;B, c",Yes,7,-0.5,true,01234,1e5,\n'
    )

    assert imported(1) == await load(api, text)
    ada = await api.contact("ada@example.com")
    assert ("Lovelace, Ada", "lead", ["a", "B", "c"]) == (ada["name"], ada["stage"], ada["tags"])
    assert (True, "manual", "tests") == (ada["opted_out"], ada["opted_out_reason"], ada["opted_out_by"])
    assert {"visits": 7, "rate": -0.5, "vip": True, "zip": "01234", "note": "1e5"} == ada["properties"]


async def test_a_mapping_names_targets_and_types_and_leaves_columns_out(api: Api) -> None:
    text = "id,mail,visits,code,joined,ok,secret\n7,ada@example.com,007,007,2026-05-01,1,x\n"
    mapping = {
        "id": "user_id",
        "mail": "email",
        "visits": "properties.visits:number",
        "code": "properties.code:text",
        "joined": "properties.joined at:datetime",
        "ok": "properties.ok:boolean",
        "secret": None,
    }

    assert imported(1) == await load(api, text, mapping)
    ada = await api.contact("ada@example.com")
    assert ada["id"] == str(await api.id_of("7", "user_id"))
    assert {"visits": 7, "code": "007", "joined at": "2026-05-01", "ok": True} == ada["properties"]


async def test_a_form_with_a_file_and_a_mapping_is_taken_too(api: Api) -> None:
    reply = await api.http.post(
        "/v1/contacts/import",
        files={"file": ("people.csv", b"who,visits\nada@example.com,7\n", "text/csv")},
        data={"mapping": '{"who": "email"}'},
    )

    assert imported(1) == said(reply, 200)
    assert {"visits": 7} == (await api.contact("ada@example.com"))["properties"]


async def test_a_large_form_is_taken_too(api: Api) -> None:
    lines = "".join(f"user{number},{'x' * 500}\n" for number in range(4_000))
    reply = await api.http.post("/v1/contacts/import", files={"file": ("a.csv", f"user_id,note\n{lines}".encode())})

    assert imported(4_000) == said(reply, 200)


async def test_a_form_without_a_file_is_refused(api: Api) -> None:
    for form in ({"files": {"other": b"x"}}, {"data": {"file": "x"}, "files": {"other": b"x"}}):
        reply = await api.http.post("/v1/contacts/import", **form)
        assert ["/file"] == pointers(said(reply, 422))


async def test_a_form_that_is_none_is_refused(api: Api) -> None:
    for kind in ("multipart/form-data", "multipart/form-data; boundary=x"):
        reply = await api.http.post("/v1/contacts/import", content=b"email\nx", headers={"content-type": kind})
        assert reply.status_code in (400, 422)


async def test_errors_are_listed_by_line_and_the_other_lines_imported_whole(api: Api) -> None:
    text = (
        "email,name,visits\n"
        "ada@example.com,Ada,1\n"
        "nobody,Nobody,1\n"
        ",No one,1\n"
        "\n"
        "bob@example.com,Bob,many\n"
        'cy@example.com,"Cy\nof two lines",3\n'
        "di@example.com,Di\n"
        "ed@example.com,E\0,4\n"
        f"fy@example.com,{'x' * 201},4\n"
        "gus@example.com,Gus,5\n"
    )

    report = await load(api, text, {"visits": "properties.visits:number"})

    assert (3, 0, 6) == (report["created"], report["updated"], report["failed"])
    assert [(3, "email"), (4, None), (6, "visits"), (9, None), (10, "name"), (11, "name")] == [
        (error["line"], error["column"]) for error in report["errors"]
    ]
    assert "expected number" == report["errors"][2]["detail"]
    assert "expected 3 cells, found 2" == report["errors"][3]["detail"]
    assert "Cy\nof two lines" == (await api.contact("cy@example.com"))["name"]
    assert 3 == await api.fetchval("SELECT count(*) FROM contact")


async def test_a_byte_order_mark_and_windows_line_ends_are_no_part_of_the_data(api: Api) -> None:
    text = codecs.BOM_UTF8 + b'email,name\r\nada@example.com,"A\r\nda"\r\nbob@example.com,Bob'

    assert imported(2) == await load(api, text)
    assert "A\r\nda" == (await api.contact("ada@example.com"))["name"]


async def test_bytes_that_are_not_utf_8_are_an_error_of_their_line(api: Api) -> None:
    text = "email,name\nada@example.com,J\xfcrgen\nbob@example.com,Bob\n".encode("latin-1")

    report = await load(api, text)

    assert (1, 1, [(2, "name")]) == (
        report["created"],
        report["failed"],
        [(error["line"], error["column"]) for error in report["errors"]],
    )


@pytest.mark.parametrize(
    "heading",
    ["email,gr\xf6\xdfe".encode("latin-1"), b"email,a\0b", "email,größe".encode("utf-16"), b"email," + b"x" * 5_000],
)
async def test_a_heading_that_no_property_could_be_named_by_is_refused(api: Api, heading: bytes) -> None:
    assert [""] == pointers(await load(api, heading + b"\nada@example.com,7\n", status=422))


async def test_a_huge_cell_is_an_error_of_its_line(api: Api) -> None:
    text = f"email,note\nada@example.com,{'x' * 5_000}\nbob@example.com,{'y' * 1_000_000}\ncy@example.com,ok\n"

    report = await load(api, text)

    assert (1, 2) == (report["created"], report["failed"])
    assert [2, 3] == [error["line"] for error in report["errors"]]


async def test_properties_too_many_to_keep_are_an_error_of_their_line(api: Api) -> None:
    wide = ",".join(f"column{number}" for number in range(30))
    cells = ",".join(["x" * 3_000] * 30)

    report = await load(api, f"email,{wide}\nada@example.com,{cells}\nbob@example.com{',' * 30}\n")

    assert (1, [2]) == (report["created"], [error["line"] for error in report["errors"]])


@pytest.mark.parametrize("text", ["", "\n", "\n\n\n", codecs.BOM_UTF8.decode()])
async def test_a_file_without_a_heading_is_refused(api: Api, text: str) -> None:
    assert [""] == pointers(await load(api, text, status=422))


async def test_a_heading_alone_imports_nobody(api: Api) -> None:
    assert imported(0) == await load(api, "email,name\n")


async def test_an_unclosed_quote_is_no_crash(api: Api) -> None:
    report = await load(api, 'email,name\nada@example.com,"Ada\nbob@example.com,Bob\n')

    assert 1 == report["created"] + report["failed"]


@pytest.mark.parametrize(
    ("mapping", "found"),
    [
        ({"nowhere": "email"}, ["/mapping/nowhere"]),
        ({"a/b~c": "email"}, ["/mapping/a~1b~0c"]),
        ({"email": "phone", "name": 7}, ["/mapping/email", "/mapping/name"]),
        ({"name": "properties."}, ["/mapping/name"]),
        ({"name": "properties.x:integer"}, ["/mapping/name"]),
        ({"name": "properties.x:tags"}, ["/mapping/name"]),
        ({"name": "name:text"}, ["/mapping/name"]),
        (["email"], ["/mapping"]),
        ("email", ["/mapping"]),
        ({"email": "email", "name": "email"}, ["/mapping/name"]),
        ({"name": "properties.a\0"}, ["/mapping/name"]),
    ],
)
async def test_a_mapping_that_makes_no_sense_is_pointed_at(api: Api, mapping: Json, found: list[str]) -> None:
    assert found == pointers(await load(api, "email,name\nada@example.com,Ada\n", mapping, 422))
    assert 0 == await api.fetchval("SELECT count(*) FROM contact")


@pytest.mark.parametrize("mapping", ["{", "\0", "nothing"])
async def test_a_mapping_that_is_not_json_is_refused(api: Api, mapping: str) -> None:
    reply = await api.http.post("/v1/contacts/import", content=b"email\na@b.de\n", params={"mapping": mapping})

    assert ["/mapping"] == pointers(said(reply, 422))


async def test_importing_the_same_file_again_changes_nothing(api: Api) -> None:
    text = (
        "email,user_id,name,tags,opted_out,bounced,visits\n"
        "ada@example.com,1,Ada,a;b,yes,no,1\n"
        "bob@example.com,2,Bob,,no,yes,2\n"
    )
    assert imported(2) == await load(api, text)
    before = await _everything(api)

    assert imported(0, 2) == await load(api, text)

    assert before == await _everything(api)


async def _everything(api: Api) -> list[str]:
    async with api.database.hot.acquire() as db:
        contacts = await db.fetch("SELECT (to_jsonb(c) - 'updated_at' - 'said_at')::text FROM contact c ORDER BY id")
        others = await db.fetch("SELECT i::text FROM identity i ORDER BY kind, value")
    return [row[0] for row in [*contacts, *others]]


async def test_one_person_on_several_lines_is_one_contact_and_the_last_line_stands(api: Api) -> None:
    text = "email,name,tags\nada@example.com,A,x\nADA@example.com,B,y\nada@example.com,,\n"

    assert imported(1, 2) == await load(api, text)
    ada = await api.contact("ada@example.com")
    assert ("B", ["x", "y"]) == (ada["name"], ada["tags"])


async def test_an_address_of_somebody_else_is_an_error_of_its_line(api: Api) -> None:
    await api.post("/v1/contacts", {"email": "bob@example.com", "user_id": "2"}, 201)

    report = await load(api, "user_id,email\n1,ada@example.com\n1,bob@example.com\n3,cy@example.com\n")

    assert (2, 1) == (report["created"], report["failed"])
    assert [(3, "email")] == [(error["line"], error["column"]) for error in report["errors"]]
    assert "bob@example.com" == (await api.contact("bob@example.com"))["email"]


async def test_what_is_imported_is_scored(api: Api) -> None:
    await api.model("fit", profile_rule("contact.properties.visits", ">", 3, 10))

    await load(api, "email,visits\nada@example.com,4\nbob@example.com,3\n")

    assert (10, 0) == (await api.score("ada@example.com", "fit"), await api.score("bob@example.com", "fit"))


async def test_more_lines_than_a_chunk_and_more_bytes_than_another_body_may_have_are_taken(api: Api) -> None:
    lines = "".join(f"user{number},{'x' * 2_000}\n" for number in range(3_001))

    assert imported(3_001) == await load(api, f"user_id,note\n{lines}")
    assert len(lines) > 5_000_000


async def test_an_old_file_opts_nobody_in_and_forgives_no_bounce(api: Api) -> None:
    await load(api, "email,opted_out,bounced\nada@example.com,yes,yes\n")

    assert imported(0, 1) == await load(api, "email,opted_out,bounced\nada@example.com,no,no\n")

    ada = await api.contact("ada@example.com")
    assert (True, True) == (ada["opted_out"], ada["bounced"])
