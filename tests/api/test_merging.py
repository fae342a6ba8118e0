"""Contacts merged, taken apart again, and found to look like one person."""

import re
from uuid import uuid4

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.store import duplicates, pages
from app.store.db import Database
from tests.api.client import Api, Json, event_rule, pointers

ADA, BOB = {"email": "ada@example.com"}, {"email": "bob@example.com"}


async def made(api: Api, **said: Json) -> str:
    return str((await api.post("/v1/contacts", said, 201))["id"])


async def test_a_merged_contact_says_what_it_is_made_of_and_is_taken_apart_again(api: Api) -> None:
    await api.model("m", event_rule("page.viewed", 5))
    ada, bob = await made(api, **ADA, name="Ada"), await made(api, **BOB, stage="lead")
    await api.send({"type": "page.viewed", "contact": ADA}, {"type": "page.viewed", "contact": BOB})
    before = [await api.get(f"/v1/contacts/{one}") for one in (ada, bob)]

    merged = await api.post(f"/v1/contacts/{ada}/merge", {"other": bob})

    [part] = merged["merged"]
    assert (bob, ada, "manual", "tests") == tuple(part[name] for name in ("contact", "into", "kind", "by"))
    assert (
        merged
        == await api.get(f"/v1/contacts/{ada}")
        == await api.patch(f"/v1/contacts/{ada}", {}) | {"updated_at": merged["updated_at"]}
    )
    assert ("Ada", "lead") == (merged["name"], merged["stage"])
    assert 10 == await api.score("bob@example.com", "m")
    assert ada in (await api.get(f"/v1/contacts/{bob}", 404))["detail"]
    await api.send({"type": "page.viewed", "contact": BOB})

    apart = await api.post(f"/v1/contacts/{ada}/unmerge", {"contact": bob})

    after = [apart["contact"], apart["restored"]]
    assert after == [await api.get(f"/v1/contacts/{one}") for one in (ada, bob)]
    assert before == [{**now, "updated_at": then["updated_at"]} for now, then in zip(after, before, strict=True)]
    assert (5, 10) == (await api.score("ada@example.com", "m"), await api.score("bob@example.com", "m"))


async def test_a_visitor_who_says_who_they_are_is_told_among_what_the_person_is_made_of(api: Api) -> None:
    ada = await made(api, **ADA, user_id="u-1")
    await api.send({"type": "page.viewed", "contact": {"anonymous_id": "a-1"}})

    await api.send(
        {
            "type": "contact.updated",
            "source": "web",
            "contact": {"user_id": "u-1", "anonymous_id": "a-1"},
            "properties": {"traits": {"plan": "pro"}},
        }
    )

    found = await api.get(f"/v1/contacts/{ada}")
    assert [("automatic", "web")] == [(one["kind"], one["by"]) for one in found["merged"]]
    assert {"plan": "pro"} == found["properties"]
    assert 2 == len((await api.get("/v1/events", contact_id=ada))["items"])


async def test_what_cannot_be_taken_apart_is_refused(api: Api) -> None:
    ada, bob = await made(api, **ADA), await made(api, **BOB)
    path = f"/v1/contacts/{ada}/unmerge"

    assert ["/contact"] == pointers(await api.post(path, {"contact": bob}, 422))
    assert ["/contact"] == pointers(await api.post(path, {"contact": ada}, 422))
    assert ["/contact"] == pointers(await api.post(path, {}, 422))
    assert "not_found" == (await api.post(f"/v1/contacts/{uuid4()}/unmerge", {"contact": bob}, 404))["code"]


# --- duplicates -------------------------------------------------------------------------------------------------------


async def found(api: Api, limit: int = 100) -> list[tuple[str, str, list[str]]]:
    """All pages: reason, address, and the addresses of the contacts."""
    items, cursor = [], None
    while True:
        page = await api.get("/v1/contacts/duplicates", limit=limit, **({"cursor": cursor} if cursor else {}))
        assert len(page["items"]) <= limit
        items += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return [
                (one["reason"], one["address"], sorted(person["email"] for person in one["contacts"])) for one in items
            ]


@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_contacts_that_look_like_one_person_are_listed_page_by_page(api: Api, limit: int) -> None:
    alike = [
        ["ada@example.com", "ada+news@example.com", "ada+shop@example.com"],
        ["b.o.b@gmail.com", "bob@googlemail.com", "bob+x@gmail.com"],
        ["eve+1@example.org", "eve+2@example.org"],
    ]
    others = ["d.an@example.com", "dan@example.com", "fay+x@example.com", "+@example.com", "ada@example.org"]
    for address in [*(one for group in alike for one in group), *others]:
        await made(api, email=address)
    await api.send(
        {"type": "contact.email_changed", "contact": ADA, "properties": {"new_email": " Dan@example.com "}},
        {"type": "contact.email_changed", "contact": ADA, "properties": {"new_email": "free@example.com"}},
        {"type": "contact.email_changed", "contact": ADA, "properties": {"new_email": 7}},
    )

    assert [
        ("same_address", "ada@example.com", ["ada+news@example.com", "ada+shop@example.com"]),
        ("same_address", "bob@gmail.com", sorted(alike[1])),
        ("same_address", "eve@example.org", alike[2]),
        ("email_changed", "dan@example.com", ["dan@example.com", "free@example.com"]),
    ] == await found(api, limit)


async def test_a_duplicate_that_was_merged_is_none(api: Api) -> None:
    ada, other = await made(api, **ADA), await made(api, email="ada+x@example.com")
    await api.send({"type": "contact.email_changed", "contact": ADA, "properties": {"new_email": "ada+x@example.com"}})
    assert 2 == len(await found(api))

    await api.post(f"/v1/contacts/{ada}/merge", {"other": other})

    assert [] == await found(api)


async def test_of_a_thousand_alike_the_first_are_told(api: Api) -> None:
    await api.execute(
        """
        INSERT INTO contact (id, email, created_at, updated_at)
        SELECT gen_random_uuid(), 'qa+' || n || '@example.com', now(), now() FROM generate_series(1, 1000) AS n
        """
    )

    [(_, address, addresses)] = await found(api)

    assert ("qa@example.com", duplicates.MOST_ALIKE) == (address, len(addresses))


async def test_a_page_reads_two_small_indexes_and_no_table(api: Api) -> None:
    await api.execute(
        """
        INSERT INTO contact (id, email, created_at, updated_at)
        SELECT gen_random_uuid(), n || '@example.com', now(), now() FROM generate_series(1, 3000) AS n;
        ANALYZE contact
        """
    )
    sent: list[tuple[str, tuple[Json, ...]]] = []
    async with api.database.hot.acquire() as db:
        with db.query_logger(lambda record: sent.append((record.query, record.args))):
            await duplicates.page(db, limit=100, cursor=None)
            await duplicates.page(db, limit=100, cursor=pages.encode("email_changed", ""))
        for query, arguments in sent:
            plan = await db.fetchval(f"EXPLAIN (FORMAT JSON) {query}", *arguments)
            assert not re.search(r'"Seq Scan"', plan)
            assert {"contact_folded", "contact_email", "event_email_changed"} & set(
                re.findall(r'"Index Name": "(\w+)"', plan)
            )


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.lists(st.one_of(st.text(), st.none(), st.integers(), st.sampled_from(list(duplicates.Reason)))))
async def test_a_cursor_of_anything_else_is_refused(api: Api, place: list[Json]) -> None:
    try:
        cursor = pages.encode(*place)
    except orjson.JSONEncodeError:
        return
    reply = await api.http.get("/v1/contacts/duplicates", params={"cursor": cursor})

    assert reply.status_code in (200, 422), reply.text


@pytest.mark.parametrize(
    ("address", "plain"),
    [
        ("ada@example.com", "ada@example.com"),
        ("ada+@example.com", "ada@example.com"),
        ("ada+a+b@example.com", "ada@example.com"),
        ("a.da+x@gmail.com", "ada@gmail.com"),
        ("a.da@googlemail.com", "ada@gmail.com"),
        ("a.da@example.com", "a.da@example.com"),
        ("a.da@notgmail.com", "a.da@notgmail.com"),
        ("+x@example.com", "+x@example.com"),
        ('"a+b"@example.com', '"a+b"@example.com'),
        ("é+x@bücher.example", "é@bücher.example"),
        (None, None),
    ],
)
async def test_the_plain_form_of_an_address(database: Database, address: str | None, plain: str | None) -> None:
    async with database.hot.acquire() as db:
        assert plain == await db.fetchval("SELECT fold_email($1)", address)
        assert plain == await db.fetchval("SELECT fold_email(fold_email($1))", address)
