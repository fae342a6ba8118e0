"""The search of the stand-in HubSpot: what it finds, in which order, in what pages, and how late."""

from collections.abc import AsyncIterator

import pytest

from tests.sandbox.hubspot_account import CONTACTS, Account, Json, ids, where

T0 = 1_790_846_100_301
"""When the account's time stands still, in epoch milliseconds."""


@pytest.fixture
async def acme() -> AsyncIterator[Account]:
    """Ann, Bob, Cid and Dan, made a second apart; their ids are 101 to 104."""
    account = Account()
    await account.field("score")
    for name, more in (
        ("ann", {"score": "73", "city": "Tartu"}), ("bob", {"score": "-5", "city": "New Town"}),
        ("cid", {"score": "100", "lifecyclestage": "lead"}), ("dan", {}),
    ):  # fmt: skip
        await account.contact(f"{name}@example.com", firstname=name.capitalize(), **more)
        account.later(1)
    yield account
    await account.http.aclose()


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ([], "abcd"), ([where("score", "EQ", "73.0")], "a"), ([where("score", "NEQ", "73")], "bc"),
        ([where("score", "LT", "73")], "b"), ([where("score", "LTE", "73")], "ab"), ([where("score", "GT", "73")], "c"),
        ([where("score", "GTE", "73")], "ac"), ([where("score", "BETWEEN", "-5", highValue="73")], "ab"),
        ([where("score", "IN", ["73", "100"])], "ac"), ([where("score", "NOT_IN", ["73"])], "bc"),
        ([where("score", "HAS_PROPERTY")], "abc"), ([where("score", "NOT_HAS_PROPERTY")], "d"),
        ([where("firstname", "EQ", "ANN")], "a"), ([where("firstname", "NEQ", "ann")], "bcd"),
        ([where("firstname", "IN", ["ann", "bob"])], "ab"), ([where("firstname", "IN", ["Ann"])], ""),
        ([where("firstname", "GT", "bob")], "cd"), ([where("firstname", "BETWEEN", "b", highValue="cz")], "bc"),
        ([where("city", "CONTAINS_TOKEN", "town")], "b"), ([where("city", "CONTAINS_TOKEN", "tow")], ""),
        ([where("city", "CONTAINS_TOKEN", "t*")], "ab"), ([where("city", "NOT_CONTAINS_TOKEN", "town")], "a"),
        ([where("email", "CONTAINS_TOKEN", "*@example.com")], "abcd"), ([where("email", "EQ", "BOB@example.com")], "b"),
        ([where("email", "IN", ["bob@example.com", "ann@example.com", "x@example.com"])], "ab"),
        ([where("email", "NOT_IN", ["bob@example.com"])], "acd"),
        ([where("lifecyclestage", "IN", ["LEAD"])], "c"), ([where("lifecyclestage", "EQ", "lead")], "c"),
        ([where("lifecyclestage", "NEQ", "customer")], "c"), ([where("hs_object_id", "GT", "102")], "cd"),
        ([where("hs_object_id", "IN", ["101", "104", "999"])], "ad"), ([where("hs_object_id", "EQ", "102")], "b"),
        ([where("createdate", "GTE", str(T0 + 1_000))], "bcd"), ([where("createdate", "GT", str(T0 + 1_000))], "cd"),
        ([where("createdate", "LT", str(T0 + 1_000))], "a"),
        ([where("createdate", "LTE", "2026-10-01T09:15:01.301Z")], "ab"),
        ([where("lastmodifieddate", "BETWEEN", str(T0), highValue="2026-10-01T12:15:02.301+03:00")], "abc"),
        ([where("createdate", "EQ", str(T0))], "a"), ([where("createdate", "NEQ", str(T0))], "bcd"),
        ([where("score", "GT", "0"), where("hs_object_id", "LT", "103")], "a"),
        ([where("email", "EQ", "ann@example.com"), where("score", "LT", "0")], ""),
    ],
)  # fmt: skip
async def test_operators_compare_by_the_type_of_the_property(acme: Account, filters: list[Json], found: str) -> None:
    body = await acme.search(*filters)

    assert (len(found), [str(101 + "abcd".index(one)) for one in found]) == (body["total"], ids(body))


async def test_groups_add_up_and_words_are_looked_for(acme: Account) -> None:
    either = [{"filters": [where("score", "LT", "0")]}, {"filters": [where("email", "EQ", "dan@example.com")]}]

    groups = await acme.data("POST", f"{CONTACTS}/search", {"filterGroups": either})
    words = await acme.search(query="CID@")
    both = await acme.search(where("score", "GT", "0"), query="example", properties=["score"])

    assert (["102", "104"], ["103"], ["101", "103"]) == (ids(groups), ids(words), ids(both))
    assert ["73", "100"] == [row["properties"]["score"] for row in both["results"]]


@pytest.mark.parametrize(
    ("sort", "found"),
    [
        ({"propertyName": "score", "direction": "ASCENDING"}, [102, 101, 103, 104]),
        ({"propertyName": "score", "direction": "DESCENDING"}, [103, 101, 102, 104]),
        ("-createdate", [104, 103, 102, 101]), ("firstname", [101, 102, 103, 104]),
        ({"propertyName": "hs_object_id"}, [101, 102, 103, 104]), ("-hs_object_id", [104, 103, 102, 101]),
    ],
)  # fmt: skip
async def test_one_property_sorts(acme: Account, sort: Json, found: list[int]) -> None:
    pages = [await acme.search(sorts=[sort], limit=3, after=after) for after in (0, "3")]

    assert [str(one) for one in found] == [id_ for page in pages for id_ in ids(page)]
    assert ({"next": {"after": "3"}}, None) == (pages[0]["paging"], pages[1].get("paging"))


async def test_a_page_counts_from_the_first_row_as_things_are_now(acme: Account) -> None:
    changed = [where("lastmodifieddate", "GTE", str(T0))]
    first = await acme.search(*changed, sorts=["lastmodifieddate"], limit=2)
    await acme.data("PATCH", f"{CONTACTS}/101", {"properties": {"city": "Narva"}})

    second = await acme.search(*changed, sorts=["lastmodifieddate"], limit=2, after=2)

    # Ann went to the end, so that Cid moved over the border between the pages.
    assert (["101", "102"], ["104", "101"]) == (ids(first), ids(second))


async def test_rows_of_one_instant_are_sorted_by_id_or_by_chance(acme: Account) -> None:
    for number in range(20):
        await acme.contact(f"p{number}@example.com")
    same = [where("createdate", "GTE", str(T0 + 4_000))]

    steady = [ids(await acme.search(*same, sorts=["lastmodifieddate"], limit=20)) for _ in range(2)]
    acme.crm.faults.shuffle_ties = True
    shuffled = [ids(await acme.search(*same, sorts=["lastmodifieddate"], limit=20)) for _ in range(2)]
    by_id = ids(await acme.search(*same, sorts=["hs_object_id"], limit=20))

    assert steady[0] == steady[1] == sorted(shuffled[0]) == by_id
    assert shuffled[0] != shuffled[1]


async def test_nobody_pages_beyond_the_wall(acme: Account) -> None:
    acme.crm.faults.search_window = 3
    first = await acme.search(limit=3)
    acme.crm.faults.page_rows = 2
    smaller = await acme.search(limit=3)

    beyond = await acme.fault("POST", f"{CONTACTS}/search", {"limit": 3, "after": "3"})
    over = await acme.fault("POST", f"{CONTACTS}/search", {"limit": 2, "after": 2})

    assert (4, {"next": {"after": "3"}}, 2) == (first["total"], first["paging"], len(smaller["results"]))
    assert "VALIDATION_ERROR" == beyond["category"] == over["category"]
    assert 10_000 == type(acme.crm.faults)().search_window


async def test_search_knows_of_a_change_later_but_the_object_is_fresh(acme: Account) -> None:
    acme.crm.faults.search_lag_s = 5
    new = await acme.contact("eve@example.com")
    await acme.data("PATCH", f"{CONTACTS}/101", {"properties": {"email": "ann2@example.com"}})
    await acme.data("DELETE", f"{CONTACTS}/102", status=204)

    assert ["101", "102", "103", "104"] == ids(await acme.search())
    assert ["101"] == ids(await acme.search(where("email", "EQ", "ann@example.com")))
    assert [] == ids(await acme.search(where("email", "EQ", "ann2@example.com")))
    assert "ann2@example.com" == (await acme.properties("101", "email"))["email"]
    acme.later(3)
    await acme.data("PATCH", f"{CONTACTS}/101", {"properties": {"email": "ann3@example.com"}})
    acme.later(2)
    stale = await acme.search(where("email", "EQ", "ann2@example.com"))
    assert ["ann2@example.com"] == [row["properties"]["email"] for row in stale["results"]]
    assert ["101", "103", "104", new] == ids(await acme.search())
    acme.later(3)
    assert ["101"] == ids(await acme.search(where("email", "EQ", "ann3@example.com")))
    assert "ann3@example.com" == (await acme.properties("101", "email"))["email"]


async def test_additional_addresses_are_found_apart(acme: Account) -> None:
    await acme.edit("change", "contact", 101, hs_additional_emails="annie@example.com;a.lee@example.com")

    assert [] == ids(await acme.search(where("email", "EQ", "annie@example.com")))
    for operator in ("EQ", "CONTAINS_TOKEN"):
        assert ["101"] == ids(await acme.search(where("hs_additional_emails", operator, "a.lee@example.com")))
    assert ["101"] == ids(await acme.search(where("hs_additional_emails", "IN", ["annie@example.com"])))
    assert ["101"] == ids(await acme.search(where("hs_additional_emails", "HAS_PROPERTY")))


@pytest.mark.parametrize(
    "body",
    [
        {"filterGroups": [{"filters": [where("nothing", "EQ", "1")]}]}, {"limit": 201}, {"limit": 0}, {"limit": "x"},
        {"filterGroups": [{"filters": [where("score", "LIKE", "1")]}]}, {"after": "x"}, {"limit": True},
        {"filterGroups": [{"filters": [where("score", "EQ")]}]}, {"sorts": ["score", "email"]}, {"sorts": ["nothing"]},
        {"filterGroups": [{"filters": [where("score", "EQ", "many")]}]}, {"sorts": "score"}, {"query": 5},
        {"filterGroups": [{"filters": [where("score", "IN", [])]}]}, {"colour": "red"}, {"properties": "email"},
        {"filterGroups": [{"filters": [where("score", "BETWEEN", "1")]}]}, {"filterGroups": "x"},
        {"filterGroups": [{"filters": [where("score", "CONTAINS_TOKEN", "1")]}]}, {"filterGroups": [{"filters": "x"}]},
        {"filterGroups": [{"filters": []}] * 6}, {"filterGroups": [{"filters": [where("score", "EQ", "1")] * 7}]},
        {"filterGroups": [{"filters": [where("score", "EQ", "1")] * 5}] * 4}, {"sorts": [{"direction": "UP"}]},
        {"query": "x" * 3_000},
    ],
)  # fmt: skip
async def test_a_search_that_cannot_be_is_refused(acme: Account, body: Json) -> None:
    assert "VALIDATION_ERROR" == (await acme.fault("POST", f"{CONTACTS}/search", body))["category"]
