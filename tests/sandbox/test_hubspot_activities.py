"""Calls, meetings and the like in the stand-in HubSpot, and with whom they were."""

from collections.abc import AsyncIterator

import pytest

from tests.sandbox.hubspot_account import Account, Json, ids, where

OBJECTS = "/crm/v3/objects"
CALL = {"hs_timestamp": "2026-10-01T08:00:00Z", "hs_call_direction": "OUTBOUND", "hs_call_status": "COMPLETED"}


@pytest.fixture
async def acme() -> AsyncIterator[Account]:
    account = Account()
    yield account
    await account.http.aclose()


def linked(id_: str, type_id: int) -> Json:
    types = [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": type_id}]
    return [{"to": {"id": id_}, "types": types}]


async def people_of(acme: Account, of: str, *numbers: str, status: int = 200) -> Json:
    body = {"inputs": [{"id": number} for number in numbers]}
    return await acme.data("POST", f"/crm/v4/associations/{of}/contacts/batch/read", body, status)


async def test_a_call_is_made_with_people_and_found_by_its_last_change(acme: Account) -> None:
    ann = await acme.contact("ann@example.com")
    body = {"properties": CALL, "associations": linked(ann, 194)}
    call = (await acme.data("POST", f"{OBJECTS}/calls", body, 201))["id"]
    acme.later(1)
    since = [where("hs_lastmodifieddate", "GTE", "1790846101301")]
    nothing = await acme.search(*since, of="calls")

    await acme.data("PATCH", f"{OBJECTS}/calls/{call}", {"properties": {"hs_call_title": "Demo"}})
    changed = await acme.search(
        *since, of="calls", properties=["hs_timestamp", "hs_call_title"], sorts=["hs_lastmodifieddate"]
    )

    assert (0, [call]) == (nothing["total"], ids(changed))
    assert {
        "hs_timestamp": "2026-10-01T08:00:00.000Z", "hs_call_title": "Demo", "hs_object_id": call,
        "hs_createdate": "2026-10-01T09:15:00.301Z", "hs_lastmodifieddate": "2026-10-01T09:15:01.301Z",
    } == changed["results"][0]["properties"]  # fmt: skip
    told = await people_of(acme, "calls", call)
    kind = {"category": "HUBSPOT_DEFINED", "typeId": 194, "label": None}
    assert [{"from": {"id": call}, "to": [{"toObjectId": int(ann), "associationTypes": [kind]}]}] == told["results"]
    one = await acme.data("GET", f"{OBJECTS}/calls/{call}?associations=contacts")
    assert {"contacts": {"results": [{"id": ann, "type": "call_to_contact"}]}} == one["associations"]
    back = await acme.data("GET", f"/crm/v4/objects/contacts/{ann}/associations/calls")
    assert [(int(call), 193)] == [(row["toObjectId"], row["associationTypes"][0]["typeId"]) for row in back["results"]]


@pytest.mark.parametrize(
    ("kind", "of", "properties"),
    [
        ("call", "calls", {"hs_call_status": "NO_ANSWER"}),
        ("meeting", "meetings", {"hs_meeting_outcome": "COMPLETED"}),
        ("email", "emails", {"hs_email_direction": "INCOMING_EMAIL"}), ("note", "notes", {"hs_note_body": "Hello"}),
        ("task", "tasks", {"hs_task_status": "COMPLETED"}),
        ("communication", "communications", {"hs_communication_channel_type": "SMS"}),
        ("postal_mail", "postal_mail", {"hs_postal_mail_body": "Dear Ann"}),
    ],
)  # fmt: skip
async def test_people_there_log_change_and_delete_all_kinds(
    acme: Account, kind: str, of: str, properties: Json
) -> None:
    ann, bob = await acme.contact("ann@example.com"), await acme.contact("bob@example.com")
    made = await acme.edit("create", kind, None, contacts=[ann], **properties)
    acme.later(1)

    await acme.edit("change", kind, made["id"], contacts=[bob], hs_timestamp="2026-09-30T08:00:00Z")

    assert "2026-10-01T09:15:00.301Z" == made["properties"]["hs_timestamp"]
    [row] = (await acme.search(of=of, properties=["hs_timestamp", *properties]))["results"]
    assert ("2026-10-01T09:15:01.301Z", {**properties, "hs_timestamp": "2026-09-30T08:00:00.000Z"}) == (
        row["updatedAt"], {name: row["properties"][name] for name in (*properties, "hs_timestamp")}
    )  # fmt: skip
    told = await people_of(acme, of, made["id"])
    assert [int(bob)] == [one["toObjectId"] for one in told["results"][0]["to"]]
    await acme.edit("delete", kind, made["id"])
    assert ([], [made["id"]]) == (
        ids(await acme.data("GET", f"{OBJECTS}/{of}")), ids(await acme.data("GET", f"{OBJECTS}/{of}?archived=true"))
    )  # fmt: skip
    assert 0 == (await acme.search(of=of))["total"]
    await people_of(acme, of, made["id"], status=207)
    await acme.edit("restore", kind, made["id"])
    assert [made["id"]] == ids(await acme.search(of=of))


async def test_what_is_associated_with_nobody_is_told_as_an_error(acme: Account) -> None:
    ann = await acme.contact("ann@example.com")
    with_ann = await acme.edit("create", "call", contacts=[ann])
    alone = await acme.edit("create", "call")

    told = await people_of(acme, "calls", alone["id"], with_ann["id"], "999", status=207)

    assert [with_ann["id"]] == [row["from"]["id"] for row in told["results"]]
    assert (2, [[alone["id"]], ["999"]]) == (
        told["numErrors"], [one["context"]["fromObjectId"] for one in told["errors"]]
    )  # fmt: skip
    assert {"crm.associations.NO_ASSOCIATIONS_FOUND"} == {one["subCategory"] for one in told["errors"]}


async def test_associations_are_made_and_taken_back(acme: Account) -> None:
    ann = await acme.contact("ann@example.com")
    call = (await acme.edit("create", "call"))["id"]
    path = f"/crm/v4/objects/calls/{call}/associations"

    made = await acme.data("PUT", f"{path}/default/contacts/{ann}")

    assert 194 == made["results"][0]["associationSpec"]["associationTypeId"]
    assert [int(ann)] == [one["toObjectId"] for one in (await acme.data("GET", f"{path}/contacts"))["results"]]
    await acme.data("DELETE", f"{path}/contacts/{ann}", status=204)
    assert [] == (await acme.data("GET", f"{path}/contacts"))["results"]
    await acme.fault("PUT", f"{path}/default/contacts/999", status=404)
    await acme.fault("PUT", f"{path}/default/notes/999", status=404)


async def test_the_activities_of_a_merged_contact_are_those_of_the_survivor(acme: Account) -> None:
    ann, bob = await acme.contact("ann@example.com"), await acme.contact("bob@example.com")
    call = (await acme.edit("create", "call", contacts=[ann, bob]))["id"]

    await acme.edit("merge", "contact", bob, into=ann)

    told = await people_of(acme, "calls", call)
    assert [int(ann)] == [one["toObjectId"] for one in told["results"][0]["to"]]
    late = await acme.data("POST", f"{OBJECTS}/calls", {"properties": CALL, "associations": linked(bob, 194)}, 201)
    assert [int(ann)] == [one["toObjectId"] for one in (await people_of(acme, "calls", late["id"]))["results"][0]["to"]]
    await acme.data("POST", f"{OBJECTS}/contacts/gdpr-delete", {"objectId": ann}, 204)
    await people_of(acme, "calls", call, status=207)


@pytest.mark.parametrize(
    ("of", "body"),
    [
        ("calls", {"properties": {"hs_call_status": "COMPLETED"}}),
        ("calls", {"properties": {**CALL, "hs_call_status": "DONE"}}),
        ("calls", {"properties": CALL, "associations": [{"to": {"id": "999"}, "types": []}]}),
        ("calls", {"properties": CALL, "associations": [{"to": {"id": "999"}, "types": [{"associationTypeId": 194}]}]}),
        ("notes", {"properties": CALL}), ("calls", {"properties": CALL, "associations": 5}),
    ],
)  # fmt: skip
async def test_an_activity_that_cannot_be_is_refused(acme: Account, of: str, body: Json) -> None:
    await acme.fault("POST", f"{OBJECTS}/{of}", body)

    assert [] == ids(await acme.data("GET", f"{OBJECTS}/{of}"))


async def test_activities_come_in_batches_too(acme: Account) -> None:
    rows = {"inputs": [{"properties": CALL}, {"properties": CALL}]}
    made = ids(await acme.data("POST", f"{OBJECTS}/calls/batch/create", rows, 201))
    await acme.fault("POST", f"{OBJECTS}/calls/batch/create", {"inputs": [{"properties": {}}]})

    read = {"inputs": [{"id": made[0]}, {"id": "999"}], "properties": ["hs_call_status"]}
    told = await acme.data("POST", f"{OBJECTS}/calls/batch/read", read, 207)

    assert (["COMPLETED"], {"ids": ["999"]}) == (
        [row["properties"]["hs_call_status"] for row in told["results"]], told["errors"][0]["context"]
    )  # fmt: skip
    await acme.fault("POST", f"{OBJECTS}/calls/merge", {"primaryObjectId": made[0], "objectIdToMerge": made[1]})
    await acme.fault("POST", f"{OBJECTS}/calls/gdpr-delete", {"objectId": made[0]}, 404)
    await acme.fault("POST", f"{OBJECTS}/calls/batch/upsert", {"inputs": [{"id": "x", "properties": {}}]})
