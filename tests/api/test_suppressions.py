import csv
import io
from itertools import pairwise
from typing import Any

import httpx
import orjson
import pytest

from app.quality import Quality
from app.store.db import plain_url
from tests.api.client import Api, Json, pointers, profile_rule, said
from tests.processes import run

ADA, BOB = "ada@example.com", "bob@example.com"
HASH = "0" * 64


def mail(type_: str, email: str, **properties: Json) -> Json:
    return {"type": f"email.{type_}", "source": "shop", "contact": {"email": email}, "properties": properties}


async def add(api: Api, *entries: Json) -> Json:
    return await api.post("/v1/suppressions", {"entries": entries})


async def check(api: Api, *addresses: Json) -> list[Json]:
    results: list[Json] = (await api.post("/v1/suppressions/check", {"addresses": addresses}))["results"]
    return results


async def listed(api: Api, **query: Any) -> list[tuple[str, str]]:
    """Value and reason of every line, page by page."""
    found: list[tuple[str, str]] = []
    cursor: dict[str, Any] = {}
    while True:
        page = await api.get("/v1/suppressions", **query, **cursor)
        assert len(page["items"]) <= query.get("limit", 100)
        found += [(one["value"], one["reason"]) for one in page["items"]]
        if page["next_cursor"] is None:
            return found
        cursor = {"cursor": page["next_cursor"]}


async def remove(api: Api, status: int = 204, **query: str) -> Json:
    return said(await api.http.delete("/v1/suppressions", params=query), status)


async def load(api: Api, text: str | bytes, status: int = 200) -> Json:
    content = text.encode() if isinstance(text, str) else text
    reply = await api.http.post("/v1/suppressions/import", content=content, headers={"content-type": "text/csv"})
    return said(reply, status)


async def fill(api: Api) -> None:
    """Something of every kind."""
    await add(
        api,
        {"address": "m@example.com", "note": "by phone"},
        {"address": "m@example.com", "reason": "import"},
        {"domain": "blocked.example"},
    )
    await api.send(
        mail("unsubscribed", ADA),
        mail("bounced", ADA, bounce="hard"),
        mail("complained", BOB),
        mail("unsubscribed", "gone@example.com"),
    )
    await api.patch(f"/v1/contacts/{await api.id_of(BOB)}", {"email": "bob@new.example"})
    await api.delete(f"/v1/contacts/{await api.id_of('gone@example.com')}")


# --- check ------------------------------------------------------------------------------------------------------------


async def test_a_check_answers_for_each_address_in_order(api: Api) -> None:
    await fill(api)

    asked = ["M@Example.com", ADA, BOB, "x@sub.blocked.example", "gone@example.com", "new@example.com", "no address"]
    results = await check(api, *asked)

    assert asked == [one["address"] for one in results]
    assert [False, False, False, False, False, True, False] == [one["mailable"] for one in results]
    assert [
        [("manual", "tests"), ("import", "tests")],
        [("opt_out", "shop"), ("hard_bounce", "shop")],
        [("complaint", "shop")],
        [("domain", "tests")],
        [("opt_out", "shop")],
        [],
        [("invalid", None)],
    ] == [[(why["reason"], why["by"]) for why in one["reasons"]] for one in results]
    assert all(why["since"] for one in results[:-1] for why in one["reasons"])


async def test_an_odd_item_of_a_check_spoils_nothing(api: Api) -> None:
    body = rb'{"addresses": [null, 1, {"a": []}, "", "\ud800@a.example", "a\u0000@a.example", "ada@example.com"]}'
    results = said(
        await api.http.post("/v1/suppressions/check", content=body, headers={"content-type": "application/json"}), 200
    )["results"]

    assert [False] * 6 + [True] == [one["mailable"] for one in results]
    assert [None, None, None, "", None, None, ADA] == [one["address"] for one in results]


async def test_a_check_says_what_an_address_shows_by_itself(api: Api) -> None:
    asked = {
        "info@example.com": ["role"],
        "Sales+eu@example.com": ["role"],
        "leads-request@example.com": ["role"],
        "someone@mailinator.com": ["disposable"],
        "someone@sub.mailinator.com": ["disposable"],
        "abuse@mailinator.com": ["role", "disposable"],
        "information@example.com": [],
        ADA: [],
    }

    results = await check(api, *asked)

    assert list(asked.values()) == [one["quality"] for one in results]
    assert all(one["mailable"] for one in results)
    assert {"role", "disposable"} == set(Quality)


async def test_a_contact_shows_what_its_address_does_and_is_scored_by_it(api: Api) -> None:
    is_role = profile_rule("contact.email_quality", "contains", "role", -5)
    await api.model("m", is_role, profile_rule("contact.email_quality", "=", "disposable", -7))
    await api.send({"type": "page.viewed", "contact": {"email": "info@mailinator.com"}})
    await api.post("/v1/contacts", {"email": "info@example.com"}, 201)
    await api.send({"type": "page.viewed", "contact": {"anonymous_id": "a"}})
    await api.send({"type": "page.viewed", "contact": {"anonymous_id": "a", "email": "sales@example.com"}})

    assert ["role", "disposable"] == (await api.contact("info@mailinator.com"))["email_quality"]
    scores = [await api.score(one, "m") for one in ("info@mailinator.com", "info@example.com", "sales@example.com")]
    assert [-12, -5, -5] == scores
    shown = await api.post("/graphql", {"query": "{ contacts(first: 9) { nodes { email emailQuality } } }"})
    assert {
        "info@mailinator.com": ["ROLE", "DISPOSABLE"],
        "info@example.com": ["ROLE"],
        "sales@example.com": ["ROLE"],
    } == {one["email"]: one["emailQuality"] for one in shown["data"]["contacts"]["nodes"]}

    changed = await api.patch(f"/v1/contacts/{await api.id_of('info@example.com')}", {"email": ADA})
    assert [] == changed["email_quality"]
    assert 0 == await api.score(ADA, "m")


@pytest.mark.parametrize(
    "body", [{}, {"addresses": "a"}, {"addresses": [ADA] * 10_001}, {"addresses": [], "more": 1}, []]
)
async def test_a_check_that_is_none_is_refused(api: Api, body: Json) -> None:
    await api.post("/v1/suppressions/check", body, 422)


# --- the list ---------------------------------------------------------------------------------------------------------

EVERYTHING = [
    ("m@example.com", "import"),
    ("m@example.com", "manual"),
    ("blocked.example", "domain"),
    (ADA, "hard_bounce"),
    (ADA, "opt_out"),
    (BOB, "complaint"),
    ("bob@new.example", "complaint"),
]
"""But for the hash of who is gone, which comes after the domains."""


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_the_pages_of_the_list_give_each_line_once(api: Api, limit: int) -> None:
    await fill(api)

    found = await listed(api, limit=limit)

    hashed, reason = found.pop(3)
    assert (64, "opt_out") == (len(hashed), reason)
    assert EVERYTHING == found


@pytest.mark.parametrize(
    ("query", "places"),
    [
        ({"reason": "opt_out", "kind": "address"}, [4]),
        ({"reason": "manual"}, [1]),
        ({"reason": "complaint"}, [5, 6]),
        ({"kind": "domain"}, [2]),
        ({"kind": "address", "q": "BOB"}, [5, 6]),
        ({"q": "example.com", "kind": "address"}, [0, 1, 3, 4, 5]),
        ({"q": "%"}, []),
        ({"kind": "hash", "reason": "manual"}, []),
    ],
)
async def test_the_list_may_be_of_a_kind_a_reason_or_a_part(api: Api, query: Json, places: list[int]) -> None:
    await fill(api)

    assert [EVERYTHING[place] for place in places] == await listed(api, **query)
    assert [EVERYTHING[place] for place in places] == await listed(api, limit=1, **query)


async def test_a_line_says_when_why_and_who(api: Api) -> None:
    await fill(api)

    lines = (await api.get("/v1/suppressions"))["items"]

    by_hand = next(one for one in lines if one["reason"] == "manual")
    assert {"kind": "address", "by": "tests", "note": "by phone", "contact_id": None}.items() <= by_hand.items()
    flag = next(one for one in lines if one["reason"] == "hard_bounce")
    assert ("shop", None, str(await api.id_of(ADA))) == (flag["by"], flag["note"], flag["contact_id"])
    assert all(one["since"] for one in lines)


@pytest.mark.parametrize(
    ("query", "header", "media"),
    [
        ({"format": "csv"}, None, "text/csv; charset=utf-8"),
        ({}, "text/csv", "text/csv; charset=utf-8"),
        ({}, "application/x-ndjson, application/json;q=0.5", "application/x-ndjson"),
        ({"format": "ndjson"}, "text/csv", "application/x-ndjson"),
        ({"format": "json"}, "text/csv", "application/json"),
        ({}, "text/html, */*", "application/json"),
    ],
)
async def test_the_whole_list_is_streamed_in_the_order_of_its_pages(
    api: Api, query: Json, header: str | None, media: str
) -> None:
    await fill(api)

    reply = await api.http.get("/v1/suppressions", params=query, headers={} if header is None else {"Accept": header})

    assert (200, media) == (reply.status_code, reply.headers["content-type"])
    lines = _lines(reply)
    assert await listed(api) == [(one["value"], one["reason"]) for one in lines]
    assert {"kind", "value", "reason", "since", "by", "note", "contact_id"} == lines[0].keys()


async def test_a_long_list_is_streamed_whole(api: Api) -> None:
    await api.execute(
        """
        INSERT INTO suppression (kind, value, reason, at, by)
        SELECT 'address', n || '@example.com', 'import', now(), 'test' FROM generate_series(1, 1500) n
        """
    )
    await api.execute(
        """
        INSERT INTO contact (id, email, opted_out, opted_out_at, opted_out_by, created_at, updated_at)
        SELECT gen_random_uuid(), n || '@flagged.example', true, now(), 'test', now(), now()
        FROM generate_series(1, 1500) n
        """
    )
    await api.execute("INSERT INTO identity (kind, value, contact_id) SELECT 'email', email, id FROM contact")

    found = _lines(await api.http.get("/v1/suppressions", params={"format": "csv"}))

    assert (3_000, 3_000) == (len(found), len({one["value"] for one in found}))


def _lines(reply: httpx.Response) -> list[dict[str, Any]]:
    media = reply.headers["content-type"]
    if media.startswith("text/csv"):
        return list(csv.DictReader(io.StringIO(reply.text)))
    if media == "application/json":
        items: list[dict[str, Any]] = reply.json()["items"]
        return items
    return [orjson.loads(line) for line in reply.content.splitlines()]


@pytest.mark.parametrize("cursor", ["x", "W10", "WzFd", "WyJhIiwiYiIsImMiLCJkIl0", "WyJjb250YWN0IiwiYSIsImIiLCJjIl0"])
async def test_a_cursor_of_another_list_is_refused(api: Api, cursor: str) -> None:
    assert ["/cursor"] == pointers(await api.get("/v1/suppressions", 422, cursor=cursor))


# --- added, removed ---------------------------------------------------------------------------------------------------


async def test_adding_is_idempotent_and_a_wrong_entry_is_rejected_alone(api: Api) -> None:
    entries = [
        {"address": "Ada@Example.com"},
        {"address": "ada@"},
        {"address": ADA, "reason": "complaint"},
        {"address": ADA, "domain": "example.com"},
        {},
        7,
        {"domain": "Example.COM", "note": "ours"},
        {"address": BOB, "reason": "no reason"},
        {"address": ADA},
        {"domain": "localhost"},
    ]

    receipt = await add(api, *entries)

    assert (3, 1) == (receipt["added"], receipt["known"])
    rejected = {1: "/address", 3: "", 4: "", 5: "", 7: "/reason", 9: "/domain"}
    assert rejected == {one["index"]: one["pointer"] for one in receipt["rejected"]}
    assert all(one["detail"] for one in receipt["rejected"])
    assert {"added": 0, "known": 1, "rejected": []} == await api.post("/v1/suppressions", {"address": ADA})
    assert [(ADA, "complaint"), (ADA, "manual"), ("example.com", "domain")] == await listed(api)


@pytest.mark.parametrize(
    ("body", "status"),
    [({"address": "ada@"}, 422), ({}, 422), ([], 422), ({"entries": 5}, 422), ({"entries": [7] * 10_001}, 422)],
)
async def test_what_is_neither_an_entry_nor_a_list_is_refused(api: Api, body: Json, status: int) -> None:
    await api.post("/v1/suppressions", body, status)


async def test_one_reason_may_be_removed_or_all_of_them(api: Api) -> None:
    await fill(api)

    await remove(api, address="M@Example.com", reason="import")
    [left] = (await check(api, "m@example.com"))[0]["reasons"]
    assert "manual" == left["reason"]
    await remove(api, address="m@example.com")
    await remove(api, domain="blocked.example")
    await remove(api, address="gone@example.com")

    assert EVERYTHING[3:] == await listed(api)
    for query in ({"address": "m@example.com"}, {"domain": "blocked.example"}, {"hash": HASH}):
        await remove(api, 404, **query)


async def test_what_ends_by_its_own_rules_is_not_removed(api: Api) -> None:
    await fill(api)
    await add(api, {"address": "c@example.com", "reason": "complaint"}, {"address": ADA})

    for query in (
        {"address": BOB},
        {"address": ADA, "reason": "hard_bounce"},
        {"address": "c@example.com"},
    ):
        problem = await remove(api, 409, **query)
        assert "email.resubscribed" in problem["detail"]
    await remove(api, address=ADA)
    assert [why["reason"] for why in (await check(api, ADA))[0]["reasons"]] == ["opt_out", "hard_bounce"]
    await remove(api, 409, address=ADA)


async def test_a_hash_is_removed_as_it_is_shown(api: Api) -> None:
    await fill(api)
    [(hashed, _)] = await listed(api, kind="hash")

    await remove(api, hash=hashed)

    assert (await check(api, "gone@example.com"))[0]["mailable"]


@pytest.mark.parametrize(
    "query", [{}, {"address": ADA, "domain": "a.example"}, {"address": "x"}, {"domain": "com"}, {"hash": "x"}]
)
async def test_a_removal_names_one_thing(api: Api, query: Json) -> None:
    await remove(api, 422, **query)


# --- imported ---------------------------------------------------------------------------------------------------------


async def test_a_file_is_imported_and_again_changes_nothing(api: Api) -> None:
    text = (
        "\ufeffE-Mail,Name,Reason,Since,domain\r\n"
        "Ada@Example.com,Ada,opt_out,2024-05-01T10:00:00Z,\r\n"
        'bob@example.com,"B, C",,,\r\n'
        "\r\n"
        ",,Domain,2024-05-01,Blocked.example\r\n"
        "c@example.com,,HARD_BOUNCE,2999-01-01T00:00:00+02:00,\r\n"
    )

    assert {"added": 4, "known": 0, "failed": 0, "errors": []} == await load(api, text)
    assert {"added": 0, "known": 4, "failed": 0, "errors": []} == await load(api, text)
    assert [
        (ADA, "opt_out"),
        (BOB, "import"),
        ("c@example.com", "hard_bounce"),
        ("blocked.example", "domain"),
    ] == await listed(api)
    lines = (await api.get("/v1/suppressions"))["items"]
    assert "2024-05-01T10:00:00Z" == lines[0]["since"]
    assert all(later["since"] < "2999" for _, later in pairwise(lines))


async def test_wrong_lines_are_listed_and_left_out(api: Api) -> None:
    text = (
        "address,domain,kind,value,reason,at\n"
        "ada@,,,,,\n"
        ",com,,,,\n"
        "a@example.com,b.example,,,,\n"
        ",,,,manual,\n"
        f",,hash,{HASH},,\n"
        "a@example.com,,,,because,\n"
        "a@example.com,,,,,yesterday\n"
        "a@example.com\n"
        "a\0@example.com,,,,,\n"
        ",,domain,ok.example,,\n"
    )

    report = await load(api, text)

    assert (1, 9) == (report["added"], report["failed"])
    columns = ["address", "domain", None, None, "kind", "reason", "at", None, "address"]
    assert list(zip(range(2, 11), columns, strict=True)) == [(one["line"], one["column"]) for one in report["errors"]]


@pytest.mark.parametrize(
    "text", ["", "name\nada\n", "email,address\na@b.example,c@d.example\n", "kind\naddress\n", b"\xff\xfe"]
)
async def test_a_file_that_says_nothing_of_addresses_is_refused(api: Api, text: str | bytes) -> None:
    await load(api, text, 422)


async def test_a_form_is_taken_too(api: Api) -> None:
    form = {"file": ("list.csv", b"email\nada@example.com\n", "text/csv")}
    assert 1 == said(await api.http.post("/v1/suppressions/import", files=form), 200)["added"]
    form = {"other": ("list.csv", b"email\nada@example.com\n", "text/csv")}
    assert ["/file"] == pointers(said(await api.http.post("/v1/suppressions/import", files=form), 422))


async def test_what_the_command_writes_out_it_brings_in_again(api: Api, tmp_path: Any) -> None:
    await fill(api)
    url = plain_url(api.database.url)
    file = tmp_path / "list.csv"

    written = run("suppressions", "export", DATABASE_URL=url)
    assert 0 == written.returncode, written.stderr
    file.write_text(written.stdout)
    before = await listed(api, kind="address") + await listed(api, kind="domain")
    await api.execute("DELETE FROM suppression; DELETE FROM contact")
    read = run("suppressions", "import", str(file), "--source", "backup", DATABASE_URL=url)

    assert 1 == read.returncode  # a hash is not brought in
    assert "only an address or a domain" in read.stderr
    assert sorted(before) == sorted(await listed(api))
