"""Contacts of the stand-in HubSpot: one by one, in batches, their history, their addresses, and merges."""

from collections.abc import AsyncIterator

import pytest

from tests.sandbox.hubspot_account import CONTACTS, Account, Json, ids, where


@pytest.fixture
async def acme() -> AsyncIterator[Account]:
    account = Account()
    yield account
    await account.http.aclose()


async def test_all_values_are_text_and_only_what_is_asked_for_is_shown(acme: Account) -> None:
    await acme.field("lead_score_fit")
    made = await acme.data(
        "POST", CONTACTS, {"properties": {"email": "Ann@Acme.Test", "lead_score_fit": 73, "firstname": " Ann "}}, 201
    )

    asked = await acme.properties(made["id"], "lead_score_fit", "city", "nothing")
    unasked = await acme.data("GET", f"{CONTACTS}/{made['id']}")

    assert {
        "id": "101", "createdAt": "2026-10-01T09:15:00.301Z", "updatedAt": "2026-10-01T09:15:00.301Z",
        "archived": False,
    } == {key: value for key, value in made.items() if key != "properties"}  # fmt: skip
    assert ("73", "ann@acme.test", "Ann") == tuple(
        made["properties"][name] for name in ("lead_score_fit", "email", "firstname")
    )
    assert {
        "lead_score_fit": "73", "city": None, "hs_object_id": "101", "createdate": "2026-10-01T09:15:00.301Z",
        "lastmodifieddate": "2026-10-01T09:15:00.301Z",
    } == asked  # fmt: skip
    assert {"createdate", "email", "firstname", "hs_object_id", "lastmodifieddate", "lastname"} == unasked[
        "properties"
    ].keys()
    assert unasked["properties"]["lastname"] is None
    source = await acme.properties(made["id"], "hs_object_source", "hs_object_source_id")
    assert ("INTEGRATION", str(acme.keys["app_id"])) == (source["hs_object_source"], source["hs_object_source_id"])


async def test_a_change_moves_the_time_of_the_last_change_and_an_idle_one_does_not(acme: Account) -> None:
    id_ = await acme.contact("ann@example.com", city="Tartu")
    acme.later(60)

    idle = await acme.data("PATCH", f"{CONTACTS}/{id_}", {"properties": {"city": "Tartu"}})
    acme.crm.faults.late_s = 30
    cleared = await acme.data("PATCH", f"{CONTACTS}/ann@example.com?idProperty=email", {"properties": {"city": ""}})
    acme.crm.faults.idle_writes_move_time = True
    acme.later(60)
    moved = await acme.data("PATCH", f"{CONTACTS}/{id_}", {"properties": {"city": ""}})

    assert "2026-10-01T09:15:00.301Z" == idle["updatedAt"]
    assert ("2026-10-01T09:15:30.301Z", None) == (cleared["updatedAt"], cleared["properties"]["city"])
    assert "2026-10-01T09:16:30.301Z" == moved["updatedAt"]


async def test_histories_say_who_set_each_value(acme: Account) -> None:
    id_ = str((await acme.edit("create", "contact", email="ann@example.com", city="Tartu"))["id"])
    acme.later(1)
    await acme.data("PATCH", f"{CONTACTS}/{id_}", {"properties": {"city": "Narva"}})

    body = await acme.data("GET", f"{CONTACTS}/{id_}?propertiesWithHistory=city,email&properties=city")

    assert [("Narva", "INTEGRATION", "54321"), ("Tartu", "CRM_UI", "userId:7")] == [
        (one["value"], one["sourceType"], one["sourceId"]) for one in body["propertiesWithHistory"]["city"]
    ]
    assert [7] == [one["updatedByUserId"] for one in body["propertiesWithHistory"]["email"]]
    assert "2026-10-01T09:15:01.301Z" == body["propertiesWithHistory"]["city"][0]["timestamp"]
    await acme.fault("GET", f"{CONTACTS}?limit=51&propertiesWithHistory=city")


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("lead_score", "1", "PROPERTY_DOESNT_EXIST"), ("hs_email_optout", "true", "READ_ONLY_VALUE"),
        ("hs_email_optout_1", "true", "READ_ONLY_VALUE"), ("hs_additional_emails", "a@b.test", "READ_ONLY_VALUE"),
        ("hs_email_hard_bounce_reason", "no", "READ_ONLY_VALUE"), ("hs_object_id", "5", "READ_ONLY_VALUE"),
        ("email", "ann", "INVALID_EMAIL"), ("lifecyclestage", "dead", "INVALID_OPTION"),
        ("closedate", "soon", "INVALID_LONG"), ("score", "many", "INVALID_INTEGER"),
        ("score", "nan", "INVALID_INTEGER"), ("score", "1_0", "INVALID_INTEGER"),
        ("day", "2026-02-30", "INVALID_DATE"), ("day", "1790845200301", "INVALID_DATE"),
        ("yes", "maybe", "INVALID_OPTION"), ("tags", "a;c", "INVALID_OPTION"), ("city", None, "INVALID_VALUE"),
        ("city", ["x"], "INVALID_VALUE"), ("city", "x" * 65_537, "PROPERTY_VALUE_TOO_LONG"),
    ],
)  # fmt: skip
async def test_a_value_that_cannot_be_is_refused_by_name(acme: Account, name: str, value: Json, code: str) -> None:
    await acme.field("score")
    await acme.field("day", "date", "date")
    await acme.field("yes", "bool", "booleancheckbox")
    options = [{"label": one, "value": one} for one in ("a", "b")]
    await acme.field("tags", "enumeration", "checkbox", options=options)

    fault = await acme.fault("POST", CONTACTS, {"properties": {"firstname": "Ann", name: value}})

    assert "VALIDATION_ERROR" == fault["category"]
    assert [(code, {"propertyName": [name]})] == [(one["code"], one["context"]) for one in fault["errors"]]
    assert fault["message"].startswith("Property values were not valid: [")
    assert [] == ids(await acme.data("GET", CONTACTS))


async def test_values_are_kept_in_the_form_of_their_type(acme: Account) -> None:
    await acme.field("day", "date", "date")
    await acme.field("yes", "bool", "booleancheckbox")

    id_ = await acme.contact(day="1790812800000", closedate="2026-10-01T12:00:00+03:00", yes=True)

    told = await acme.properties(id_, "day", "closedate", "yes")
    assert ("2026-10-01", "2026-10-01T09:00:00.000Z", "true") == (told["day"], told["closedate"], told["yes"])


async def test_an_address_belongs_to_one_contact(acme: Account) -> None:
    ann, bob = await acme.contact("ann@example.com"), await acme.contact("bob@example.com")
    await acme.edit("change", "contact", ann, hs_additional_emails="annie@example.com")

    again = await acme.fault("POST", CONTACTS, {"properties": {"email": "ANN@example.com"}}, 409)
    other = await acme.fault("PATCH", f"{CONTACTS}/{bob}", {"properties": {"email": "annie@example.com"}}, 409)

    assert ("CONFLICT", f"Contact already exists. Existing ID: {ann}") == (again["category"], again["message"])
    assert f"Contact already exists. Existing ID: {ann}" == other["message"]
    assert ann == (await acme.data("GET", f"{CONTACTS}/annie@example.com?idProperty=email"))["id"]
    acme.crm.faults.id_property_primary_only = True
    await acme.fault("GET", f"{CONTACTS}/annie@example.com?idProperty=email", status=404)
    await acme.data("PATCH", f"{CONTACTS}/{ann}", {"properties": {"email": "annie@example.com"}})
    assert (await acme.properties(ann, "hs_additional_emails"))["hs_additional_emails"] is None
    await acme.contact("ann@example.com")
    await acme.fault("GET", f"{CONTACTS}/x?idProperty=phone")


async def test_lists_go_on_after_the_last_id_whatever_was_changed(acme: Account) -> None:
    made = [await acme.contact(f"p{number}@example.com") for number in range(5)]

    first = await acme.data("GET", f"{CONTACTS}?limit=2&properties=email")
    await acme.data("DELETE", f"{CONTACTS}/{made[1]}", status=204)
    await acme.data("PATCH", f"{CONTACTS}/{made[0]}", {"properties": {"city": "Tartu"}})
    link = first["paging"]["next"]["link"]
    second = await acme.data("GET", link.removeprefix("http://hubspot.test"))
    acme.crm.faults.page_rows = 1
    third = await acme.data("GET", f"{CONTACTS}?limit=2&after={made[3]}")

    assert (made[:2], made[2:4], made[4:]) == (ids(first), ids(second), ids(third))
    assert second["results"][0]["properties"]["email"] == "p2@example.com"
    assert "paging" not in third
    assert made[:1] == ids(await acme.data("GET", f"{CONTACTS}?limit=2"))


async def test_who_is_archived_is_listed_apart_and_can_be_brought_back(acme: Account) -> None:
    id_ = await acme.contact("ann@example.com", city="Tartu")
    acme.later(1)

    await acme.data("DELETE", f"{CONTACTS}/{id_}", status=204)
    await acme.data("DELETE", f"{CONTACTS}/{id_}", status=204)

    assert "OBJECT_NOT_FOUND" == (await acme.fault("GET", f"{CONTACTS}/{id_}", status=404))["category"]
    await acme.fault("PATCH", f"{CONTACTS}/{id_}", {"properties": {"city": "Narva"}}, 404)
    assert [] == ids(await acme.data("GET", CONTACTS))
    [gone] = (await acme.data("GET", f"{CONTACTS}?archived=true"))["results"]
    assert (True, "2026-10-01T09:15:01.301Z") == (gone["archived"], gone["archivedAt"])
    assert gone == await acme.data("GET", f"{CONTACTS}/{id_}?archived=true")
    read = {"inputs": [{"id": id_}], "properties": []}
    assert 200 == (await acme.call("POST", f"{CONTACTS}/batch/read?archived=true", read)).status_code
    assert 0 == (await acme.search())["total"]
    await acme.contact("ann@example.com")
    refused = await acme.call("POST", "/_sandbox/edit", {"do": "restore", "object": "contact", "id": id_})
    assert 400 == refused.status_code
    await acme.edit("change", "contact", int(id_) + 1, email="other@example.com")
    await acme.edit("restore", "contact", id_)
    assert "Tartu" == (await acme.properties(id_, "city"))["city"]
    assert [] == ids(await acme.data("GET", f"{CONTACTS}?archived=true"))


async def test_who_is_forgotten_for_good_is_nowhere(acme: Account) -> None:
    ann, bob = await acme.contact("ann@example.com"), await acme.contact("bob@example.com")
    await acme.data("DELETE", f"{CONTACTS}/{bob}", status=204)

    await acme.data("POST", f"{CONTACTS}/gdpr-delete", {"objectId": "ANN@example.com", "idProperty": "email"}, 204)
    await acme.data("POST", f"{CONTACTS}/gdpr-delete", {"objectId": bob}, 204)

    for path in (CONTACTS, f"{CONTACTS}?archived=true"):
        assert [] == ids(await acme.data("GET", path))
    await acme.fault("POST", f"{CONTACTS}/gdpr-delete", {"objectId": ann}, 404)
    await acme.data("POST", f"{CONTACTS}/gdpr-delete", {"objectId": "no@example.com", "idProperty": "email"}, 204)
    assert ann != await acme.contact("ann@example.com")


# --- Batches ----------------------------------------------------------------------------------------------------------


async def test_a_batch_tells_which_ids_are_unknown_and_writes_the_others(acme: Account) -> None:
    ann, bob = await acme.contact("ann@example.com"), await acme.contact("bob@example.com")
    rows = [{"id": one, "properties": {"city": "Tartu"}} for one in (ann, "999", bob, "x")]

    written = await acme.data("POST", f"{CONTACTS}/batch/update", {"inputs": rows}, 207)
    whole = await acme.data("POST", f"{CONTACTS}/batch/update", {"inputs": rows[:1]})

    assert ([ann, bob], 1, "COMPLETE") == (ids(written), written["numErrors"], written["status"])
    assert {"category": "OBJECT_NOT_FOUND", "context": {"ids": ["999", "x"]}, "status": "error"} == {
        key: written["errors"][0][key] for key in ("category", "context", "status")
    }
    assert {"status", "results", "startedAt", "completedAt"} == whole.keys()
    read = {"inputs": [{"id": one} for one in (bob, "999", ann)], "properties": ["city"], "propertiesWithHistory": []}
    told = await acme.data("POST", f"{CONTACTS}/batch/read", read, 207)
    assert [(bob, "Tartu"), (ann, "Tartu")] == [(row["id"], row["properties"]["city"]) for row in told["results"]]
    assert {"ids": ["999"]} == told["errors"][0]["context"]
    by_address = {"inputs": [{"id": "BOB@example.com"}], "properties": [], "idProperty": "email"}
    assert [bob] == ids(await acme.data("POST", f"{CONTACTS}/batch/read", by_address))


async def test_one_unknown_property_fails_the_whole_batch(acme: Account) -> None:
    ann, bob = await acme.contact("ann@example.com"), await acme.contact("bob@example.com")
    rows = [{"id": ann, "properties": {"city": "Tartu"}}, {"id": bob, "properties": {"x": "1"}}]

    fault = await acme.fault("POST", f"{CONTACTS}/batch/update", {"inputs": rows})

    assert "PROPERTY_DOESNT_EXIST" == fault["errors"][0]["code"]
    assert (await acme.properties(ann, "city"))["city"] is None


@pytest.mark.parametrize("call", ["read", "update", "create", "upsert", "archive"])
async def test_a_batch_holds_a_hundred(acme: Account, call: str) -> None:
    row = {"id": "1", "properties": {}}

    over = await acme.fault("POST", f"{CONTACTS}/batch/{call}", {"inputs": [row] * 101})
    none = await acme.fault("POST", f"{CONTACTS}/batch/{call}", {})

    assert ("100" in over["message"], "inputs" in none["message"]) == (True, True)


async def test_a_batch_names_each_contact_once_and_by_its_id(acme: Account) -> None:
    ann = await acme.contact("ann@example.com")
    row = {"id": ann, "properties": {"city": "Tartu"}}

    twice = await acme.fault("POST", f"{CONTACTS}/batch/update", {"inputs": [row, row]})
    by_address = {"id": "ann@example.com", "idProperty": "email", "properties": {}}

    assert f"[{ann}]" in twice["message"]
    await acme.fault("POST", f"{CONTACTS}/batch/update", {"inputs": [by_address]})


async def test_a_batch_with_an_address_of_another_fails_or_tells(acme: Account) -> None:
    ann, bob = await acme.contact("ann@example.com"), await acme.contact("bob@example.com")
    rows = [
        {"id": ann, "properties": {"email": "bob@example.com"}}, {"id": bob, "properties": {"city": "Tartu"}},
    ]  # fmt: skip
    same = [{"id": one, "properties": {"email": "new@example.com"}} for one in (ann, bob)]

    whole = await acme.fault("POST", f"{CONTACTS}/batch/update", {"inputs": rows}, 409)
    await acme.fault("POST", f"{CONTACTS}/batch/update", {"inputs": same}, 409)
    acme.crm.faults.partial_conflicts = True
    partly = await acme.data("POST", f"{CONTACTS}/batch/update", {"inputs": rows}, 207)

    assert "CONFLICT" == whole["category"]
    assert ([bob], "CONFLICT", {"ids": [ann]}) == (
        ids(partly), partly["errors"][0]["category"], partly["errors"][0]["context"]
    )  # fmt: skip


async def test_a_batch_of_new_ones_is_made_whole_or_row_by_row_with_traces(acme: Account) -> None:
    await acme.contact("ann@example.com")
    rows: list[Json] = [{"properties": {"email": f"{name}@example.com"}} for name in ("bob", "ann", "cid")]

    whole = await acme.fault("POST", f"{CONTACTS}/batch/create", {"inputs": rows}, 409)
    nobody = await acme.search()
    for number, row in enumerate(rows):
        row["objectWriteTraceId"] = f"row {number}"
    partly = await acme.data("POST", f"{CONTACTS}/batch/create", {"inputs": rows}, 207)
    both = [{"properties": {"email": "dan@example.com"}}] * 2
    await acme.fault("POST", f"{CONTACTS}/batch/create", {"inputs": both}, 409)
    new = await acme.data("POST", f"{CONTACTS}/batch/create", {"inputs": both[:1]}, 201)

    assert ("CONFLICT", 1) == (whole["category"], nobody["total"])
    assert ["row 0", "row 2"] == [row["objectWriteTraceId"] for row in partly["results"]]
    assert [{"objectWriteTraceId": ["row 1"]}] == [one["context"] for one in partly["errors"]]
    assert ["dan@example.com"] == [row["properties"]["email"] for row in new["results"]]


async def test_an_upsert_changes_whom_it_finds_and_makes_the_others(acme: Account) -> None:
    ann = await acme.contact("ann@example.com")
    await acme.edit("change", "contact", ann, hs_additional_emails="annie@example.com")
    rows = [
        {"id": f"{name}@example.com", "idProperty": "email", "properties": {"city": "Tartu"}}
        for name in ("Annie", "bob")
    ]

    told = await acme.data("POST", f"{CONTACTS}/batch/upsert", {"inputs": rows})

    assert [(ann, False), (str(int(ann) + 1), True)] == [(row["id"], row["new"]) for row in told["results"]]
    assert "ann@example.com" == (await acme.properties(ann, "email"))["email"]
    assert "bob@example.com" == (await acme.properties(told["results"][1]["id"], "email"))["email"]
    await acme.fault("POST", f"{CONTACTS}/batch/upsert", {"inputs": [{"id": ann, "properties": {}}]})


async def test_a_batch_archives_whom_there_is(acme: Account) -> None:
    ann = await acme.contact("ann@example.com")

    await acme.data("POST", f"{CONTACTS}/batch/archive", {"inputs": [{"id": ann}, {"id": ann}, {"id": "999"}]}, 204)

    assert 0 == (await acme.search())["total"]


async def test_a_locked_contact_locks_its_batch(acme: Account) -> None:
    ann, bob = await acme.contact("ann@example.com"), await acme.contact("bob@example.com")
    acme.crm.faults.locked_ids = [ann]
    rows = [{"id": one, "properties": {"city": "Tartu"}} for one in (bob, ann)]

    fault = await acme.fault("POST", f"{CONTACTS}/batch/update", {"inputs": rows}, 423)
    await acme.fault("PATCH", f"{CONTACTS}/{ann}", {"properties": {}}, 423)

    assert "LOCKED" == fault["category"]
    assert (await acme.properties(bob, "city"))["city"] is None


# --- Merges -----------------------------------------------------------------------------------------------------------


async def merged(acme: Account) -> tuple[str, str, Json]:
    """(the loser, the primary one, the answer)"""
    ann = await acme.contact("ann@example.com", city="Tartu", firstname="Ann")
    bob = await acme.contact("bob@example.com", city="Narva", company="Acme")
    acme.later(1)
    body = {"primaryObjectId": ann, "objectIdToMerge": bob}
    return bob, ann, await acme.data("POST", f"{CONTACTS}/merge", body)


async def test_a_merged_contact_answers_as_the_one_that_survives(acme: Account) -> None:
    bob, ann, told = await merged(acme)

    assert (ann, "2026-10-01T09:15:01.301Z") == (told["id"], told["updatedAt"])
    kept = await acme.properties(bob, "city", "company", "hs_additional_emails", "hs_merged_object_ids", "email")
    assert ("Tartu", "Acme", "bob@example.com", bob, "ann@example.com", ann) == tuple(
        kept[name]
        for name in ("city", "company", "hs_additional_emails", "hs_merged_object_ids", "email", "hs_object_id")
    )
    rows = {"inputs": [{"id": bob, "properties": {"city": "Valga"}}]}
    assert [ann] == ids(await acme.data("POST", f"{CONTACTS}/batch/update", rows))
    read = {"inputs": [{"id": bob}, {"id": ann}], "properties": ["city"]}
    assert [ann] == ids(await acme.data("POST", f"{CONTACTS}/batch/read", read))
    assert [ann] == ids(await acme.data("GET", CONTACTS)) == ids(await acme.search())
    assert [] == ids(await acme.data("GET", f"{CONTACTS}?archived=true"))
    assert ann == (await acme.data("GET", f"{CONTACTS}/bob@example.com?idProperty=email"))["id"]
    await acme.fault("POST", f"{CONTACTS}/merge", {"primaryObjectId": ann, "objectIdToMerge": ann})
    await acme.fault("POST", f"{CONTACTS}/merge", {"primaryObjectId": ann, "objectIdToMerge": "999"}, 404)


async def test_what_becomes_of_a_merged_contact_can_be_switched(acme: Account) -> None:
    bob, ann, _ = await merged(acme)
    faults = acme.crm.faults

    faults.merged_are_archived = True
    assert [bob] == ids(await acme.data("GET", f"{CONTACTS}?archived=true"))
    assert bob == (await acme.data("GET", f"{CONTACTS}/{bob}?archived=true"))["id"]
    faults.refuse_merged_writes = True
    rows = {"inputs": [{"id": one, "properties": {"city": "Valga"}} for one in (bob, ann)]}
    partly = await acme.data("POST", f"{CONTACTS}/batch/update", rows, 207)
    assert ([ann], {"ids": [bob]}) == (ids(partly), partly["errors"][0]["context"])
    assert ann == (await acme.data("GET", f"{CONTACTS}/{bob}"))["id"]
    faults.forget_merged = True
    await acme.fault("GET", f"{CONTACTS}/{bob}", status=404)
    read = await acme.data("POST", f"{CONTACTS}/batch/read", {"inputs": [{"id": bob}], "properties": []}, 207)
    assert {"ids": [bob]} == read["errors"][0]["context"]


async def test_what_was_said_of_mail_stays_with_the_address_in_a_merge(acme: Account) -> None:
    ann, bob = await acme.contact("ann@example.com"), await acme.contact("bob@example.com")
    await acme.edit("opt_out", "contact", bob)

    await acme.edit("merge", "contact", bob, into=ann)

    assert (await acme.properties(ann, "hs_email_optout"))["hs_email_optout"] is None
    await acme.data("PATCH", f"{CONTACTS}/{ann}", {"properties": {"email": "bob@example.com"}})
    assert "true" == (await acme.properties(ann, "hs_email_optout"))["hs_email_optout"]
    await acme.data("POST", f"{CONTACTS}/gdpr-delete", {"objectId": bob}, 204)
    await acme.fault("GET", f"{CONTACTS}/{ann}", status=404)


async def test_a_merge_can_make_a_third_contact_of_two(acme: Account) -> None:
    acme.crm.faults.merge_makes_new_record = True

    bob, ann, told = await merged(acme)

    assert told["id"] not in (ann, bob)
    assert [told["id"]] * 2 == [(await acme.data("GET", f"{CONTACTS}/{one}"))["id"] for one in (ann, bob)]
    kept = await acme.properties(told["id"], "city", "hs_merged_object_ids", "email", "hs_additional_emails")
    assert ("Tartu", f"{ann};{bob}", "ann@example.com", "bob@example.com") == tuple(
        kept[name] for name in ("city", "hs_merged_object_ids", "email", "hs_additional_emails")
    )
    assert [told["id"]] == ids(await acme.search(where("email", "EQ", "ann@example.com")))
    again = await acme.contact("cid@example.com")
    into = await acme.edit("merge", "contact", ann, into=again)
    assert into["id"] == (await acme.data("GET", f"{CONTACTS}/{bob}"))["id"]
