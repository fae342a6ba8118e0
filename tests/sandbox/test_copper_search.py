"""The searches of the stand-in Copper: filters, sorts, pages, totals, and what moves while pages are walked."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.sandbox.people import people
from tests.sandbox.copper_account import SECOND, Json, World, value


@pytest.fixture
async def acme() -> AsyncIterator[World]:
    world = World()
    yield world
    await world.http.aclose()


async def test_a_page_is_a_bare_array_with_the_total_in_a_header(acme: World) -> None:
    acme.crm.fill(people(45))

    reply = await acme.call("POST", "/people/search", {"page_number": "2", "page_size": 20})

    assert ("45", 20) == (reply.headers["x-pw-total"], len(reply.json()))
    assert 20 == len(await acme.found())
    assert 5 == len(await acme.found(page_number=3))
    assert [] == await acme.found(page_number=4)
    acme.crm.faults.total_over = 3
    assert "48" == (await acme.call("POST", "/people/search")).headers["x-pw-total"]


async def test_paging_is_heard_in_the_query_unless_the_account_is_deaf_to_it(acme: World) -> None:
    acme.crm.fill(people(45))

    heard = await acme.call("POST", "/people/search?page_size=30&page_number=2")
    beside = await acme.call("POST", "/people/search?page_size=30", {"page_size": 10})

    assert (15, 10) == (len(heard.json()), len(beside.json()))
    acme.crm.faults.deaf_query = True
    assert 20 == len((await acme.call("POST", "/people/search?page_size=30&page_number=2")).json())


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"pageSize": 5}, "Base: Unrecognized attributes specified: pageSize"),
        ({"page_size": 201}, "Page Size: must be from 1 to 200"),
        ({"page_number": 0, "page_size": "x"}, "Page Size: must be an integer\nPage Number: must be greater than"),
        ({"sort_by": "id"}, "Sort By: is not included in the list"),
        ({"sort_direction": "up"}, "Sort Direction: is not included in the list"),
        ({"ids": ["x"]}, "Ids: IDs must be positive integers: x"),
        ({"emails": "a@example.com"}, "Emails: must be an array of strings"),
        ({"minimum_modified_date": "2026-10-01"}, "Minimum Modified Date: must be an integer"),
        ({"custom_fields": [{"custom_field_definition_id": 5}]}, "Custom Fields: there is no custom field 5"),
        ({"status_ids": [1]}, "Base: Unrecognized attributes specified: status_ids"),
    ],
)
async def test_a_search_that_is_not_right_is_refused(acme: World, body: Json, said: str) -> None:
    status, message = await acme.refused("POST", "/people/search", body)

    assert (422, said) == (status, message[: len(said)])


async def test_what_is_not_json_is_refused_and_no_body_is_an_empty_one(acme: World) -> None:
    broken = await acme.http.post("/developer_api/v1/people/search", content=b"{", headers=acme.ours)

    assert (400, 400) == (broken.status_code, broken.json()["status"])
    assert 400 == (await acme.call("POST", "/people/search", [])).status_code
    assert [] == await acme.done("POST", "/people/search")


async def test_filters_are_all_to_hold(acme: World) -> None:
    company = acme.crm.account.company("Acme")
    address = {"street": None, "city": "Tartu", "state": "T", "postal_code": "51003", "country": "EE"}
    ann = await acme.person(
        "Ann Lee", "ann@example.com", title="CTO", tags=["a", "b"], address=address, assignee_id=137658,
        contact_type_id=451490, company_id=company, phone_numbers=[{"number": "+372 55-555", "category": "mobile"}],
        socials=[{"url": "https://social.example/ann", "category": "other"}],
    )  # fmt: skip
    acme.later(60)
    bob = await acme.person("Bob Roe", "bob@example.com", "b@example.com")
    await acme.note("person", bob, type={"category": "user", "id": 190711})

    cases: list[tuple[Json, list[int]]] = [
        ({"ids": [bob, 99, ann]}, [ann, bob]), ({"name": "ann lee"}, [ann]), ({"title": "cto"}, [ann]),
        ({"emails": ["B@example.com", "no@example.com"]}, [bob]), ({"tags": ["b", "c"]}, [ann]),
        ({"city": "tartu", "country": "EE", "state": "T", "postal_code": "51003"}, [ann]), ({"city": "Tallinn"}, []),
        ({"assignee_ids": [137658]}, [ann]), ({"assignee_ids": [-2]}, [bob]), ({"contact_type_ids": [451490]}, [ann]),
        ({"company_ids": [company]}, [ann]), ({"phone_number": "37255555"}, [ann]),
        ({"socials": ["https://social.example/ann"]}, [ann]), ({"followed": 1}, []), ({"followed": 2}, [ann, bob]),
        ({"age": 30}, [bob]), ({"minimum_interaction_count": 1}, [bob]), ({"maximum_interaction_count": 0}, [ann]),
        ({"minimum_interaction_date": SECOND}, [bob]), ({"minimum_created_date": SECOND + 60}, [bob]),
        ({"maximum_created_date": SECOND}, [ann]), ({"minimum_modified_date": SECOND + 60}, [bob]),
        ({"minimum_modified_date": str(SECOND), "maximum_modified_date": SECOND}, [ann]),
        ({"name": "Ann Lee", "tags": ["c"]}, []), ({"name": None}, [ann, bob]),
    ]  # fmt: skip
    for body, expected in cases:
        assert expected == await acme.found(**body), body


async def test_leads_are_filtered_in_their_own_words(acme: World) -> None:
    one = await acme.lead("One", "shared@example.com", monetary_value=10, customer_source_id=331240)
    other = await acme.lead("Other", "shared@example.com", status_id=208233)

    cases: list[tuple[Json, list[int]]] = [
        ({"emails": "SHARED@example.com"}, [one, other]), ({"status_ids": [208233]}, [other]),
        ({"customer_source_ids": [-2]}, [other]), ({"minimum_monetary_value": 9.5}, [one]), ({"ids": [other]}, [other]),
        ({"sort_by": "value", "sort_direction": "desc"}, [one, other]), ({"include_converted_leads": False}, [1, 2]),
    ]  # fmt: skip
    for body, expected in cases:
        assert expected == await acme.found("leads", **body), body
    assert 422 == (await acme.call("POST", "/leads/search", {"emails": ["a@example.com"]})).status_code
    assert 422 == (await acme.call("POST", "/leads/search", {"include_converted_leads": "x"})).status_code
    acme.crm.faults.without_lead_ids = True
    assert (422, "Base: Unrecognized attributes specified: ids") == await acme.refused(
        "POST", "/leads/search", {"ids": [1]}
    )


async def test_custom_fields_are_searched_by_value_and_range_but_texts_are_not(acme: World) -> None:
    status, score = await acme.field("Status", "Dropdown", "OK", "Hard"), (await acme.field("Score", "Float"))["id"]
    note = (await acme.field("Note", "String"))["id"]
    ok, hard = [one["id"] for one in status["options"]]
    ann = await acme.person("Ann", custom_fields=[*value(status["id"], hard), *value(score, 7)])
    bob = await acme.person("Bob", custom_fields=value(score, 9.5))

    async def found(number: int, **item: Json) -> list[int]:
        return await acme.found(custom_fields=[{"custom_field_definition_id": number, **item}])

    assert [ann] == await found(status["id"], value=[hard])
    assert [ann, bob] == await found(status["id"], value=[hard], allow_empty=True)
    assert [] == await found(status["id"], value=[ok])
    assert [bob] == await found(score, minimum_value=7.5)
    assert [ann] == await found(score, minimum_value=7, maximum_value=7)
    assert (
        422
        == (
            await acme.call(
                "POST", "/people/search", {"custom_fields": [{"custom_field_definition_id": note, "value": 1}]}
            )
        ).status_code
    )
    await acme.done("PUT", f"/custom_field_definitions/{status['id']}", {"options": [{"name": "OK"}, {"name": "Hard"}]})
    assert [] == await found(status["id"], value=[hard])


async def test_every_sort_goes_both_ways(acme: World) -> None:
    acme.crm.fill(people(30))
    rows = await acme.done("POST", "/people/search", {"page_size": 200})

    for sort_by, attribute in (
        ("name", "name"), ("first_name", "first_name"), ("last_name", "last_name"), ("title", "title"),
        ("date_created", "date_created"), ("date_modified", "date_modified"),
    ):  # fmt: skip
        wanted = sorted(rows, key=lambda one: (str(one[attribute]).lower(), one["id"]))
        ids = [one["id"] for one in wanted]
        assert ids == await acme.found(sort_by=sort_by, page_size=200), sort_by
        down = [await acme.found(sort_by=sort_by, sort_direction="desc", page_size=8, page_number=n) for n in (1, 2, 4)]
        assert [ids[::-1][0:8], ids[::-1][8:16], ids[::-1][24:32]] == down, sort_by
    for sort_by in ("email", "phone", "city", "state", "country", "zip"):
        assert 30 == len(await acme.found(sort_by=sort_by, page_size=200))
    assert [one["id"] for one in rows] == await acme.found(sort_by="first_name", page_size=200)


async def test_only_the_named_fields_are_shown(acme: World) -> None:
    number = await acme.person("Ann", title="CTO")

    assert [{"id": number, "title": "CTO"}] == await acme.done("POST", "/people/search", {"fields": ["title"]})


async def test_rows_beyond_the_end_cannot_be_reached(acme: World) -> None:
    acme.crm.fill(people(30))
    acme.crm.faults.reachable_rows = 25

    assert [20, 5, 0] == [len(await acme.found(page_number=page)) for page in (1, 2, 3)]
    assert "30" == (await acme.call("POST", "/people/search")).headers["x-pw-total"]
    acme.crm.faults.refuse_beyond = True
    assert 422 == (await acme.call("POST", "/people/search", {"page_number": 3})).status_code


async def test_search_may_lag_behind_what_a_read_by_id_shows(acme: World) -> None:
    ann = await acme.person("Ann", "ann@example.com", title="CTO")
    acme.crm.faults.search_lag_s = 30
    await acme.done("PUT", f"/people/{ann}", {"title": "CEO", "emails": [{"email": "new@example.com"}]})
    bob = await acme.person("Bob", "bob@example.com")

    assert "CEO" == (await acme.done("GET", f"/people/{ann}"))["title"]
    assert ["CTO"] == [one["title"] for one in await acme.done("POST", "/people/search")]
    assert [[ann], []] == [await acme.found(emails=[f"{name}@example.com"]) for name in ("ann", "new")]
    assert bob == (await acme.done("POST", "/people/fetch_by_email", {"email": "bob@example.com"}))["id"]
    acme.crm.faults.fetch_by_email_lags = True
    assert 404 == (await acme.call("POST", "/people/fetch_by_email", {"email": "bob@example.com"})).status_code
    acme.later(30)
    assert ["CEO", None] == [one["title"] for one in await acme.done("POST", "/people/search")]
    assert [[], [ann]] == [await acme.found(emails=[f"{name}@example.com"]) for name in ("ann", "new")]
    await acme.done("DELETE", f"/people/{ann}")
    assert [ann, bob] == await acme.found()
    acme.crm.faults.search_lag_s = 0
    assert [bob] == await acme.found()


async def test_a_row_that_is_changed_between_two_pages_shifts_the_next(acme: World) -> None:
    acme.crm.fill(people(4))
    body = {"sort_by": "date_modified", "page_size": 2}

    first = await acme.found(**body, page_number=1)
    await acme.edit("change", "person", first[0], title="Moved")
    second = await acme.found(**body, page_number=2)

    assert ([1, 2], [4, 1]) == (first, second)


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(st.tuples(st.sampled_from(["edit", "delete", "wait", "add"]), st.integers(1, 30)), max_size=40),
    size=st.integers(1, 9),
    low=st.integers(0, 20),
)
def test_pages_of_a_time_window_are_what_a_look_at_everybody_finds(
    steps: list[tuple[str, int]], size: int, low: int
) -> None:
    async def walk() -> None:
        acme = World()
        acme.crm.fill(people(20))
        rows = acme.crm.account.people.rows
        for do, number in steps:
            if do == "wait":
                acme.later(number)
            elif do == "add":
                await acme.person(f"Person {number}")
            elif number in rows:
                await acme.edit("change" if do == "edit" else "delete", "person", number, details=str(len(rows)))
        since = SECOND + low - 5
        wanted = sorted((one.date_modified, one.id) for one in rows.values() if one.date_modified >= since)
        asked = {"minimum_modified_date": since, "sort_by": "date_modified", "page_size": size}
        for direction, ids in (("asc", [row[1] for row in wanted]), ("desc", [row[1] for row in wanted[::-1]])):
            pages = [
                await acme.found(**asked, page_number=page, sort_direction=direction)
                for page in range(1, len(wanted) // size + 2)
            ]
            assert ids == [number for page in pages for number in page]
        await acme.http.aclose()

    asyncio.run(walk())
