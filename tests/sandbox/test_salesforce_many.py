"""Many records at once: queries and their pages, feeds, collections, composite calls, bulk jobs, outbound messages."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.sandbox.people import people
from tests.sandbox.loopback import served
from tests.sandbox.salesforce_world import NOW, Json, V, World, field, world

STAMP = "2026-10-20T10:00:00.000+0000"
UNKNOWN = "003S7000000zzzzIAA"


@pytest.fixture
async def org() -> AsyncIterator[World]:
    async with world() as made:
        yield made


# --- queries ----------------------------------------------------------------------------------------------------------

ROWS: list[dict[str, Json]] = [
    {"LastName": "Adams", "Email": "ada@example.com", "Fit__c": 1, "Birthdate": "1990-01-01", "AccountId": "acme"},
    {"LastName": "baker", "HasOptedOutOfEmail": True, "Fit__c": 30},
    {"LastName": "Clark", "Email": "Cy@example.org", "Title": "It's 100%_\\"},
    {"LastName": "Dale", "Title": "Boss", "Fit__c": -5.0, "AccountId": "acme"},
]


@pytest.fixture(scope="module")
async def four() -> AsyncIterator[World]:
    """Four contacts, a minute apart."""
    async with world() as made:
        await made.edit(**field("Fit__c"))
        acme = (await made.call("POST", "sobjects/Account", {"Name": "Acme"}, 201))["id"]
        for row in ROWS:
            await made.create(**row | ({"AccountId": acme} if "AccountId" in row else {}))
            await made.later(60)
        yield made


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("LastName = 'ADAMS'", "A"),
        ("LastName != 'adams'", "bCD"),
        ("Email = null", "bD"),
        ("Email != null", "AC"),
        ("Email IN ('cy@EXAMPLE.org', 'x')", "C"),
        ("Email NOT IN ('cy@example.org')", "AbD"),
        ("Email LIKE '%@example.___'", "AC"),
        ("Title LIKE '%100\\%\\_%'", "C"),
        ("Title = 'It\\'s 100%_\\\\'", "C"),
        ("HasOptedOutOfEmail = TRUE", "b"),
        ("HasOptedOutOfEmail = false", "ACD"),
        ("Fit__c > 0", "Ab"),
        ("Fit__c <= 1", "AD"),
        ("Fit__c = 30.0", "b"),
        ("Fit__c != 30", "ACD"),
        ("NOT Fit__c > 0", "CD"),
        ("Fit__c > 0 AND (Email = null OR Email = 'nobody')", "b"),
        ("Account.Name = 'acme'", "AD"),
        ("Account.Name = null", "bC"),
        ("Owner.Name LIKE 'integ%' AND Birthdate < 1991-01-01", "A"),
        ("Birthdate >= 1990-01-01", "A"),
        ("CreatedDate = TODAY", "AbCD"),
        ("CreatedDate < TODAY", ""),
        ("CreatedDate > LAST_N_DAYS:1", ""),
        ("CreatedDate >= YESTERDAY", "AbCD"),
        ("SystemModstamp > 2026-10-20T10:01:00Z", "CD"),
        ("SystemModstamp <= 2026-10-20T10:01:00Z", "Ab"),
        ("SystemModstamp < 2026-10-20T10:01:00Z", "A"),
        ("SystemModstamp >= 2026-10-20T12:01:00.000+02:00 AND SystemModstamp < 2026-10-20T10:03:00Z", "bC"),
        ("SystemModstamp = 2026-10-20T10:01:00Z OR SystemModstamp = 2026-10-20T10:03:00Z", "bD"),
        ("Contact.LastName < 'c'", "Ab"),
    ],
)
async def test_a_where_clause_finds(four: World, where: str, names: str) -> None:
    for condition in (where, f"NOT (NOT ({where}))"):
        soql = f"SELECT LastName FROM Contact WHERE {condition} ORDER BY CreatedDate"
        assert names == "".join(one["LastName"][0] for one in await four.query(soql))


@pytest.mark.parametrize(
    ("rest", "names"),
    [
        ("ORDER BY LastName DESC", "DCbA"),
        ("ORDER BY Fit__c", "CDAb"),
        ("ORDER BY Fit__c DESC NULLS LAST", "bADC"),
        ("ORDER BY Fit__c DESC", "CbAD"),
        ("ORDER BY Fit__c ASC NULLS LAST, Id", "DAbC"),
        ("ORDER BY Account.Name DESC NULLS LAST, LastName DESC LIMIT 3", "DAC"),
        ("ORDER BY SystemModstamp, Id LIMIT 2 OFFSET 1", "bC"),
        ("ORDER BY SystemModstamp DESC, Id DESC", "DCbA"),
    ],
)
async def test_records_come_in_the_order_asked_for(four: World, rest: str, names: str) -> None:
    assert names == "".join(one["LastName"][0] for one in await four.query(f"SELECT LastName FROM Contact {rest}"))


@pytest.mark.parametrize(
    ("soql", "code"),
    [
        ("SELECT Id FORM Contact", "MALFORMED_QUERY"),
        ("SELECT Id FROM Contact WHERE", "MALFORMED_QUERY"),
        ("SELECT Id FROM Contact WHERE Id = 'x", "MALFORMED_QUERY"),
        ("SELECT Id FROM Contact WHERE Fit__c = 1 AND Fit__c = 2 OR Fit__c = 3", "MALFORMED_QUERY"),
        ("SELECT Id FROM Contact LIMIT x", "MALFORMED_QUERY"),
        ("SELECT Id FROM Contact WHERE CreatedDate = SOMEDAY", "MALFORMED_QUERY"),
        ("SELECT Id, COUNT(Id) FROM Contact", "MALFORMED_QUERY"),
        ("SELECT Id FROM Nothing", "INVALID_TYPE"),
        ("SELECT Nothing FROM Contact", "INVALID_FIELD"),
        ("SELECT Nothing.Name FROM Contact", "INVALID_FIELD"),
        ("SELECT Id FROM Contact WHERE LastName = 1", "INVALID_FIELD"),
        ("SELECT Id FROM Contact WHERE SystemModstamp > '2026-10-20T10:00:00Z'", "INVALID_FIELD"),
        ("SELECT Id FROM Contact WHERE SystemModstamp > 2026-10-20", "INVALID_FIELD"),
        ("SELECT Id FROM Contact WHERE HasOptedOutOfEmail = 'true'", "INVALID_FIELD"),
        ("SELECT Id FROM Contact WHERE Description = 'x'", "INVALID_FIELD"),
        ("SELECT Id FROM Contact WHERE Id = 'x'", "INVALID_QUERY_FILTER_OPERATOR"),
        ("SELECT Id FROM Contact LIMIT 1 OFFSET 2001", "NUMBER_OUTSIDE_VALID_RANGE"),
        ("SELECT Id FROM Contact WHERE " + "(" * 500 + "Fit__c = 1" + ")" * 500, "MALFORMED_QUERY"),
    ],
)
async def test_a_bad_query_is_refused(four: World, soql: str, code: str) -> None:
    assert code == (await four.get("query", 400, q=soql))[0]["errorCode"]


async def test_counts_and_parents_have_shapes_of_their_own(four: World) -> None:
    assert {"totalSize": 4, "done": True, "records": []} == await four.get("query/", q="SELECT COUNT() FROM Contact")
    [row] = await four.query("SELECT COUNT(Email) mails, MAX(Fit__c) FROM Contact")
    assert {"mails": 2, "expr0": 30.0} == row
    both = await four.query("SELECT Account.Name, Account.Id FROM Contact ORDER BY CreatedDate LIMIT 2")
    assert ["Acme", "Account"] == [both[0]["Account"]["Name"], both[0]["Account"]["attributes"]["type"]]
    assert {"Account": None} == both[1]


async def test_pages_follow_a_cursor_of_their_own_moment(org: World) -> None:
    org.crm.fill(people(600))
    soql = "SELECT Id, LastName FROM Contact"
    first = (
        await org.http.get(f"{V}/query", params={"q": soql}, headers={"Sforce-Query-Options": "batchSize=200"})
    ).json()
    gone = first["records"][-1]["Id"]
    await org.edit(do="purge", id=gone)
    org.crm.faults.page_rows = 150
    second = (await org.http.get(first["nextRecordsUrl"])).json()
    third = (await org.http.get(second["nextRecordsUrl"])).json()
    seen = [one["Id"] for page in (first, second, third) for one in page["records"]]

    assert [(450, False), (450, False), (450, True)] == [
        (one["totalSize"], one["done"]) for one in (first, second, third)
    ]
    assert [200, 150, 100] == [len(one["records"]) for one in (first, second, third)]
    assert "nextRecordsUrl" not in third
    assert 450 == len(set(seen))
    org.crm.clock.move(timedelta(days=2, seconds=1))
    lost = [{"message": "invalid query locator", "errorCode": "INVALID_QUERY_LOCATOR"}]
    await org.sign_in()
    assert lost == (await org.http.get(first["nextRecordsUrl"])).json()
    org.crm.faults.lose_cursors = True
    other = (await org.http.get(f"{V}/query", params={"q": soql})).json()
    assert lost == (await org.http.get(other["nextRecordsUrl"])).json()


@settings(max_examples=15, deadline=None)
@given(
    steps=st.lists(st.tuples(st.sampled_from(["create", "change", "delete", "page"]), st.integers(0, 7)), max_size=25),
    size=st.integers(1, 4),
)
async def test_a_walk_by_time_and_id_sees_every_record_whatever_is_edited(
    steps: list[tuple[str, int]], size: int
) -> None:
    """Pages anchored on (SystemModstamp, Id), with ties, while people edit: the last state of each is seen."""
    async with world() as org:
        ids = [await org.create() for _ in range(8)]
        seen: dict[str, str] = {}
        at, last = "2026-10-20T09:00:00Z", "000000000000000AAA"

        async def page() -> int:
            nonlocal at, last
            soql = (
                "SELECT Id, SystemModstamp FROM Contact "
                f"WHERE (SystemModstamp = {at} AND Id > '{last}') OR SystemModstamp > {at} "
                f"ORDER BY SystemModstamp ASC, Id ASC LIMIT {size}"
            )
            found = await org.query(soql, "queryAll")
            for one in found:
                seen[one["Id"]] = one["SystemModstamp"]
                at, last = one["SystemModstamp"].replace("+0000", "Z"), one["Id"]
            return len(found)

        for act, number in steps:
            if act == "create":
                await org.create()
            elif act == "page":
                # Once an instant is read nothing more may be written in it.
                await page()
                await org.later(1)
            else:
                # Refused where the record is deleted already.
                await org.http.post("/_sandbox/edit", json={"do": act, "id": ids[number], "fields": {"Title": "T"}})
        while await page():
            pass

        rows = org.crm.org.table("Contact").rows
        assert {id_: row["SystemModstamp"] for id_, row in rows.items()} == seen


# --- what changed -----------------------------------------------------------------------------------------------------


async def test_the_feeds_tell_ids_up_to_the_last_whole_minute(org: World) -> None:
    kept, gone = await org.create(), await org.create()
    await org.later(60)
    await org.edit(do="delete", id=gone)
    await org.later(30)
    window: Json = {"params": {"start": "2026-10-20T10:00:00+00:00", "end": "2026-10-20T11:00:00Z"}}

    assert {"ids": [kept], "latestDateCovered": "2026-10-20T10:01:00.000+0000"} == await org.call(
        "GET", "sobjects/Contact/updated/", **window
    )
    await org.later(30)
    assert {
        "deletedRecords": [{"id": gone, "deletedDate": "2026-10-20T10:01:00.000+0000"}],
        "earliestDateAvailable": "2026-10-05T00:00:00.000+0000",
        "latestDateCovered": "2026-10-20T10:02:00.000+0000",
    } == await org.call("GET", "sobjects/Contact/deleted/", **window)


@pytest.mark.parametrize(
    ("feed", "start", "end"),
    [
        ("updated", "2026-10-20T10:00:00Z", "2026-10-20T10:00:00Z"),
        ("updated", "2026-09-19T10:00:00Z", "2026-10-20T10:00:00Z"),
        ("deleted", "2026-10-05T09:59:59Z", "2026-10-20T10:00:00Z"),
        ("deleted", "2026-10-20", "2026-10-21"),
        ("updated", "", ""),
    ],
)
async def test_a_feed_refuses_a_window_that_it_does_not_cover(org: World, feed: str, start: str, end: str) -> None:
    [fault] = await org.get(f"sobjects/Contact/{feed}", 400, start=start, end=end)
    assert "INVALID_REPLICATION_DATE" == fault["errorCode"]


async def test_a_late_commit_appears_below_the_watermark(org: World) -> None:
    id_ = await org.create()
    await org.later(3600)
    await org.edit(do="late", id=id_, seconds=30, fields={"Title": "Late"})
    org.crm.faults.late_s = 45
    other = await org.create()

    rows = await org.query("SELECT Id, SystemModstamp FROM Contact ORDER BY SystemModstamp")
    assert [(other, "2026-10-20T10:59:15.000+0000"), (id_, "2026-10-20T10:59:30.000+0000")] == [
        (one["Id"], one["SystemModstamp"]) for one in rows
    ]


# --- collections ------------------------------------------------------------------------------------------------------


async def test_a_call_full_of_faults_is_well_and_tells_each_at_its_place(org: World) -> None:
    good, locked, refused, deleted = [await org.create() for _ in range(4)]
    await org.edit(do="delete", id=deleted)
    org.crm.faults.locked_ids, org.crm.faults.refused_ids = [locked], [refused]

    results = await org.update(
        {"id": good, "Title": "T"},
        {"id": locked, "Title": "T"},
        {"id": refused, "Title": "T"},
        {"id": deleted, "Title": "T"},
        {"id": UNKNOWN, "Title": "T"},
        {"id": "x", "Title": "T"},
        {"Title": "T"},
        {"id": good, "Email": "x"},
        {"attributes": {"type": "Lead"}, "id": good, "Title": "T"},
        {"attributes": {"type": "Nothing"}, "id": good},
    )

    assert {"id": good, "success": True, "errors": []} == results[0]
    locked_out = f"unable to obtain exclusive access to this record or 1 records: {locked}"
    assert {
        "success": False, "errors": [{"statusCode": "UNABLE_TO_LOCK_ROW", "message": locked_out, "fields": []}],
    } == results[1]  # fmt: skip
    assert [
        "FIELD_CUSTOM_VALIDATION_EXCEPTION", "ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY", "MALFORMED_ID",
        "MISSING_ARGUMENT", "INVALID_EMAIL_ADDRESS", "INVALID_CROSS_REFERENCE_KEY", "INVALID_TYPE",
    ] == [one["errors"][0]["statusCode"] for one in results[2:]]  # fmt: skip


async def test_all_or_none_takes_the_innocent_back(org: World) -> None:
    one, other = await org.create(), await org.create()

    results = await org.update({"id": one, "Title": "T"}, {"id": other, "Email": "x"}, allOrNone=True)

    assert ["ALL_OR_NONE_OPERATION_ROLLED_BACK", "INVALID_EMAIL_ADDRESS"] == [
        result["errors"][0]["statusCode"] for result in results
    ]
    assert [{"Title": None}, {"Title": None}] == await org.query("SELECT Title FROM Contact")
    made = {
        "allOrNone": True,
        "records": [{"attributes": {"type": "Contact"}, "LastName": "A"}, {"attributes": {"type": "Lead"}}],
    }
    await org.call("POST", "composite/sobjects", made)
    assert 2 == (await org.get("query", q="SELECT COUNT() FROM Contact"))["totalSize"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"records": []},
        {"records": [{"id": "x"}]},
        {"records": [{"attributes": {"type": "Contact"}}] * 201},
        {"records": [{"attributes": {"type": kind}} for kind in ["Lead", "Contact"] * 6]},
        {"records": [{"attributes": {"type": "Contact"}}], "allOrNone": "no"},
        {"records": {"attributes": {"type": "Contact"}}},
        [],
    ],
)
async def test_an_ill_formed_call_is_refused_as_a_whole(org: World, body: Json) -> None:
    assert "errorCode" in (await org.call("PATCH", "composite/sobjects", body, 400))[0]


async def test_a_value_of_another_type_spoils_the_call_and_nothing_is_written(org: World) -> None:
    one, other = await org.create(), await org.create()
    records = [{"id": one, "Title": "T"}, {"id": other, "DoNotCall": "no"}]
    typed = [{"attributes": {"type": "Contact"}} | record for record in records]

    assert (
        "JSON_PARSER_ERROR" == (await org.call("PATCH", "composite/sobjects", {"records": typed}, 400))[0]["errorCode"]
    )
    assert [{"Title": None}, {"Title": None}] == await org.query("SELECT Title FROM Contact")


async def test_collections_make_upsert_read_and_delete(org: World) -> None:
    await org.edit(**field("Ext_Id__c", type="Text", length=20, externalId=True, unique=True))
    rows = [{"attributes": {"type": "Contact"}, "LastName": name, "Ext_Id__c": name} for name in "ab"]
    made = await org.call("POST", "composite/sobjects", {"records": [*rows, rows[0]]})
    ids = [one.get("id") for one in made]
    assert ["DUPLICATE_VALUE"] == [error["statusCode"] for one in made for error in one["errors"]]

    more = {"attributes": {"type": "Contact"}, "LastName": "c", "Ext_Id__c": "c"}
    upserted = await org.call("PATCH", "composite/sobjects/Contact/Ext_Id__c", {"records": [rows[0], more]})
    assert [(ids[0], False), (upserted[1]["id"], True)] == [(one["id"], one["created"]) for one in upserted]
    [taken, own] = await org.update({"id": ids[0], "Ext_Id__c": "b"}, {"id": ids[0], "Ext_Id__c": "A"})
    assert ("DUPLICATE_VALUE", True) == (taken["errors"][0]["statusCode"], own["success"])

    wanted = {"ids": [ids[1], UNKNOWN, ids[0][:15]], "fields": ["Id", "LastName"]}
    read = await org.call("POST", "composite/sobjects/Contact", wanted)
    assert ["b", None, "a"] == [one and one["LastName"] for one in read]
    assert read == await org.get("composite/sobjects/Contact", ids=",".join(wanted["ids"]), fields="Id,LastName")
    removed = await org.call("DELETE", f"composite/sobjects?ids={ids[0]},{UNKNOWN}&allOrNone=false")
    assert [True, False] == [one["success"] for one in removed]
    await org.call("POST", "composite/sobjects/Contact", wanted | {"ids": [UNKNOWN] * 2_001}, 400)


async def test_every_so_manieth_record_is_locked_once(org: World) -> None:
    ids = [await org.create() for _ in range(6)]
    org.crm.faults.lock_every, org.crm.org.attempts = 3, 0
    first = await org.update(*({"id": id_, "Title": "T"} for id_ in ids))
    again = [id_ for id_, result in zip(ids, first, strict=True) if not result["success"]]

    assert [ids[2], ids[5]] == again
    assert all(one["success"] for one in await org.update(*({"id": id_, "Title": "T"} for id_ in again)))


# --- several calls in one ---------------------------------------------------------------------------------------------


async def test_composite_calls_use_what_earlier_ones_gave(org: World) -> None:
    person = {"LastName": "Doe", "AccountId": "@{account.id}"}
    calls = [
        {"method": "POST", "url": f"{V}/sobjects/Account", "referenceId": "account", "body": {"Name": "Acme"}},
        {"method": "POST", "url": f"{V}/sobjects/Contact", "referenceId": "person", "body": person},
        {"method": "POST", "url": f"{V}/sobjects/Account", "referenceId": "bad", "body": {}},
        {"method": "GET", "url": f"{V}/sobjects/Account/@{{bad.id}}", "referenceId": "worse"},
        {"method": "GET", "url": f"{V}/sobjects/Contact/@{{person.id}}?fields=Account.Name", "referenceId": "odd"},
        {"method": "GET", "url": f"{V}/query?q=SELECT+Account.Name+FROM+Contact", "referenceId": "read"},
    ]
    done = (await org.call("POST", "composite", {"compositeRequest": calls}))["compositeResponse"]

    assert [201, 201, 400, 400, 400, 200] == [one["httpStatusCode"] for one in done]
    assert "PROCESSING_HALTED" == done[3]["body"][0]["errorCode"]
    assert "Acme" == done[5]["body"]["records"][0]["Account"]["Name"]


async def test_a_body_nested_without_end_is_refused(org: World) -> None:
    deep: Json = {}
    for _ in range(900):
        deep = {"a": deep}
    calls = [{"method": "POST", "url": f"{V}/sobjects/Contact", "referenceId": "a", "body": deep}]

    [done] = (await org.call("POST", "composite", {"compositeRequest": calls}))["compositeResponse"]
    assert 400 == done["httpStatusCode"]
    await org.call("POST", "sobjects/Contact", deep, 400)
    nested = "NOT (" * 49 + "Id = null" + ")" * 49
    assert [] == await org.query(f"SELECT Id FROM Contact WHERE {nested}")


async def test_a_graph_is_done_wholly_or_not_at_all(org: World) -> None:
    good = {"method": "POST", "url": f"{V}/sobjects/Contact", "referenceId": "a", "body": {"LastName": "Doe"}}
    bad = {"method": "POST", "url": f"{V}/sobjects/Contact", "referenceId": "b", "body": {}}
    graphs = [{"graphId": "1", "compositeRequest": [good]}, {"graphId": "2", "compositeRequest": [good, bad]}]
    done = (await org.call("POST", "composite/graph", {"graphs": graphs}))["graphs"]

    assert [("1", True), ("2", False)] == [(one["graphId"], one["isSuccessful"]) for one in done]
    assert 1 == (await org.get("query", q="SELECT COUNT() FROM Contact"))["totalSize"]
    both = {"allOrNone": True, "compositeRequest": [good, bad]}
    halted = (await org.call("POST", "composite", both))["compositeResponse"]
    assert ["PROCESSING_HALTED", "REQUIRED_FIELD_MISSING"] == [one["body"][0]["errorCode"] for one in halted]


async def test_a_batch_goes_on_after_a_failure_unless_told(org: World) -> None:
    calls = [{"method": "GET", "url": f"v62.0/sobjects/{name}/describe"} for name in ("Contact", "Nothing", "Lead")]

    done = await org.call("POST", "composite/batch", {"batchRequests": calls})
    halted = await org.call("POST", "composite/batch", {"batchRequests": calls, "haltOnError": True})

    assert (True, [200, 404, 200]) == (done["hasErrors"], [one["statusCode"] for one in done["results"]])
    assert [200, 404, 412] == [one["statusCode"] for one in halted["results"]]


# --- bulk -------------------------------------------------------------------------------------------------------------


async def ingest(org: World, operation: str, text: str, **more: str) -> dict[str, Any]:
    """A job's last state, and its three files."""
    job = await org.call("POST", "jobs/ingest", {"object": "Contact", "operation": operation} | more)
    assert ("Open", "V2Ingest", f"services/data/v62.0/jobs/ingest/{job['id']}/batches") == (
        job["state"], job["jobType"], job["contentUrl"],
    )  # fmt: skip
    path = f"{V}/jobs/ingest/{job['id']}"

    async def pieces() -> AsyncIterator[bytes]:
        # In chunks, as one of the clients sends it.
        yield text.encode()[:7]
        yield text.encode()[7:]

    uploaded = await org.http.put(f"{path}/batches", content=pieces(), headers={"Content-Type": "text/csv"})
    assert (201, b"") == (uploaded.status_code, uploaded.content)
    assert 400 == (await org.http.put(f"{path}/batches", content="x", headers={"Content-Type": "text/csv"})).status_code
    assert "UploadComplete" == (await org.http.patch(path, json={"state": "UploadComplete"})).json()["state"]
    state: dict[str, Any] = {"state": "UploadComplete"}
    while state["state"] in ("UploadComplete", "InProgress"):
        await asyncio.sleep(0)
        state = await org.get(f"jobs/ingest/{job['id']}")
    for name in ("successfulResults", "failedResults", "unprocessedrecords", "unprocessedRecords"):
        state[name] = (await org.http.get(f"{path}/{name}")).text.splitlines()
    assert 204 == (await org.http.delete(path)).status_code
    return state


async def test_a_complete_job_may_hold_failed_rows_and_leaves_empty_cells_alone(org: World) -> None:
    one, other, locked = [await org.create(Title="Old", Phone="1") for _ in range(3)]
    org.crm.faults.locked_ids = [locked]
    lines = [f'{one},"New, ""quoted""",,true', f"{other},#N/A,2,", f"{locked},x,,", f"{one[:15]},{'x' * 129},,"]
    text = "\n".join(["Id,Title,Phone,DoNotCall", *lines]) + "\n"

    job = await ingest(org, "update", text)

    assert ("JobComplete", 4, 2) == (job["state"], job["numberRecordsProcessed"], job["numberRecordsFailed"])
    assert [
        '"sf__Id","sf__Created","Id","Title","Phone","DoNotCall"',
        f'"{one}","false","{one}","New, ""quoted""","","true"',
        f'"{other}","false","{other}","#N/A","2",""',
    ] == job["successfulResults"]
    access = "unable to obtain exclusive access to this record or 1 records: "
    assert f'"{locked}","UNABLE_TO_LOCK_ROW:{access}{locked}:--","{locked}","x","",""' == job["failedResults"][1]
    assert "STRING_TOO_LONG:" in job["failedResults"][2]
    assert job["failedResults"][2].endswith('(max length=128):Title--","' + f'{one[:15]}","{"x" * 129}","",""')
    rows = await org.query("SELECT Title, Phone, DoNotCall FROM Contact ORDER BY Id LIMIT 2")
    assert [('New, "quoted"', "1", True), (None, "2", False)] == [tuple(row.values()) for row in rows]


async def test_jobs_insert_upsert_and_delete(org: World) -> None:
    await org.edit(**field("Ext_Id__c", type="Text", length=20, externalId=True))
    made = await ingest(
        org, "insert", "LastName\tExt_Id__c\r\na\t1\r\n\t2\r\n", columnDelimiter="TAB", lineEnding="CRLF"
    )
    again = await ingest(org, "upsert", "Ext_Id__c,LastName\n1,b\n2,c\n,d\n", externalIdFieldName="Ext_Id__c")
    ids = [row["Id"] for row in await org.query("SELECT Id FROM Contact ORDER BY Id")]
    gone = await ingest(org, "delete", f"Id\n{ids[0]}\nx\n")

    assert (1, 2) == (made["numberRecordsFailed"], made["numberRecordsProcessed"])
    assert made["failedResults"][1].startswith(
        '""\t"REQUIRED_FIELD_MISSING:Required fields are missing: [LastName]:LastName--"'
    )
    assert ['"false"', '"true"'] == [line.split(",")[1] for line in again["successfulResults"][1:]]
    assert 1 == again["numberRecordsFailed"]
    assert (1, "MALFORMED_ID") == (gone["numberRecordsFailed"], gone["failedResults"][1].split('"')[3].split(":")[0])


async def test_a_failed_job_leaves_the_rest_unprocessed(org: World) -> None:
    ids = [await org.create() for _ in range(5)]
    org.crm.faults.bulk_fails_after = 2
    job = await ingest(org, "update", "Id,Title\n" + "".join(f"{id_},T\n" for id_ in ids))

    assert ("Failed", 2) == (job["state"], job["numberRecordsProcessed"])
    assert "InternalServerError" in job["errorMessage"]
    assert ['"Id","Title"', *(f'"{id_}","T"' for id_ in ids[2:])] == job["unprocessedrecords"]
    assert job["unprocessedrecords"] == job["unprocessedRecords"]
    assert 2 == (await org.get("query", q="SELECT COUNT() FROM Contact WHERE Title = 'T'"))["totalSize"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Id,Nonsense__c\nx,1\n", "InvalidBatch : Field name not found : Nonsense__c"),
        ("Title\nx\n", "InvalidBatch : "),
        ("Id,Id\nx,x\n", "InvalidBatch : "),
        ('Id,Title\n"x,1\n', "InvalidBatch : Failed to parse CSV"),
        ("", "InvalidBatch : "),
    ],
)
async def test_a_file_that_cannot_be_read_fails_its_job(org: World, text: str, message: str) -> None:
    job = await ingest(org, "update", text)
    assert ("Failed", message) == (job["state"], job["errorMessage"][: len(message)])


async def test_a_job_can_be_ended_and_not_closed_twice(org: World) -> None:
    org.crm.faults.bulk_stalls = True
    job = await org.call("POST", "jobs/ingest", {"object": "Contact", "operation": "insert"})
    path = f"jobs/ingest/{job['id']}"
    await org.call("PATCH", path, {"state": "UploadComplete"}, 400)
    await org.http.put(f"{V}/{path}/batches", content="LastName\nDoe\n", headers={"Content-Type": "text/csv"})
    await org.call("PATCH", path, {"state": "UploadComplete"})
    await org.call("PATCH", path, {"state": "UploadComplete"}, 400)
    await org.call("DELETE", path, None, 400)

    assert "Aborted" == (await org.call("PATCH", path, {"state": "Aborted"}))["state"]
    org.crm.faults.bulk_stalls = False
    await asyncio.sleep(0.1)
    assert 0 == (await org.get("query", q="SELECT COUNT() FROM Contact"))["totalSize"]


async def test_a_bulk_query_gives_quoted_pages_behind_locators(org: World) -> None:
    ids = [await org.create(LastName=f'D"{number}', Title=None if number else "T") for number in range(3)]
    await org.edit(do="delete", id=ids[2])
    org.crm.faults.bulk_polls = 1
    soql = "SELECT Id, LastName, Title, DoNotCall, IsDeleted, Account.Name FROM Contact"
    headers = {"Accept": "text/csv"}
    job = await org.call("POST", "jobs/query", {"operation": "queryAll", "query": soql}, headers=headers)
    path = f"jobs/query/{job['id']}"
    await org.get(f"{path}/results", 400)
    states = [(await org.get(path))["state"] for _ in range(2)]
    first = await org.http.get(f"{V}/{path}/results", params={"maxRecords": "2"}, headers=headers)
    last = await org.http.get(
        f"{V}/{path}/results", params={"maxRecords": "2", "locator": first.headers["Sforce-Locator"]}
    )

    assert ["UploadComplete", "InProgress", "JobComplete"] == [job["state"], *states]
    assert 3 == (await org.get(path))["numberRecordsProcessed"]
    assert (
        '"Id","LastName","Title","DoNotCall","IsDeleted","Account.Name"\n'
        f'"{ids[0]}","D""0","T","false","false",""\n"{ids[1]}","D""1","","false","false",""\n'
    ) == first.text
    assert f'"{ids[2]}","D""2","","false","true",""' == last.text.splitlines()[1]
    assert ("null", "1") == (last.headers["Sforce-Locator"], last.headers["Sforce-NumberOfRecords"])
    assert "text/csv" == last.headers["content-type"]
    await org.get(f"{path}/results", 400, locator="x")
    await org.call("POST", "jobs/query", {"operation": "query", "query": "SELECT COUNT() FROM Contact"}, 400)


# --- outbound messages ------------------------------------------------------------------------------------------------


class Listener:
    """Takes outbound messages; acknowledges as told."""

    def __init__(self) -> None:
        self.bodies: list[str] = []
        self.answers: list[str] = []
        """What it says to the next ones, before `true`."""
        self.app = Starlette(routes=[Route("/secret", self._take, methods=["POST"])])

    @property
    def told(self) -> list[tuple[list[str], list[str]]]:
        """The notification ids and the record ids of each message."""
        return [
            (re.findall(r"<Notification><Id>(.*?)</Id>", body), re.findall(r"<sf:Id>(.*?)</sf:Id>", body))
            for body in self.bodies
        ]

    async def arrived(self, count: int) -> None:
        for _ in range(500):
            if len(self.bodies) >= count:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(self.bodies)

    async def _take(self, request: Request) -> Response:
        self.bodies.append((await request.body()).decode())
        assert "text/xml; charset=utf-8" == request.headers["content-type"]
        said = self.answers.pop(0) if self.answers else "true"
        return Response(
            '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>'
            '<notificationsResponse xmlns="http://soap.sforce.com/2005/09/outbound">'
            f"<Ack>{said}</Ack></notificationsResponse></soapenv:Body></soapenv:Envelope>",
            media_type="text/xml",
        )


async def test_changes_of_people_are_told_until_acknowledged(org: World) -> None:
    listener = Listener()
    with served(listener.app) as url:
        org.crm.faults.outbound_url = f"{url}/secret"
        listener.answers = ["false"]
        id_ = (await org.edit(do="create", object="Contact", fields={"LastName": "A&B", "Email": "a@example.com"}))[
            "id"
        ]
        await listener.arrived(1)
        org.crm.faults.outbound_mutes_us = True
        await org.update({"id": id_, "Title": "Ours"})
        await org.later(20)
        await listener.arrived(2)
        await org.later(60)

        assert listener.told[0] == listener.told[1]
        [(notice, person)] = listener.told[:1]
        assert ([id_], "04l") == (person, notice[0][:3])
        assert "<OrganizationId>00DS7" in listener.bodies[0]
        assert 'xsi:type="sf:Contact"' in listener.bodies[0]
        assert "<sf:HasOptedOutOfEmail>false</sf:HasOptedOutOfEmail>" in listener.bodies[0]

        org.crm.faults.outbound_mutes_us = False
        org.crm.faults.outbound_twice = org.crm.faults.outbound_backwards = True
        other = await org.create()
        await listener.arrived(4)
        await org.update({"id": id_, "Title": "T"}, {"id": other, "Title": "T"})
        await listener.arrived(8)
        assert [[other], [other], [other], [other], [id_], [id_]] == [people_ for _, people_ in listener.told[2:]]
        assert 4 == len({notices[0] for notices, _ in listener.told})


async def test_a_message_is_tried_ever_later_and_given_up_after_a_day(org: World) -> None:
    listener = Listener()
    listener.answers = ["false"] * 9
    with served(listener.app) as url:
        org.crm.faults.outbound_url = f"{url}/secret"
        await org.edit(do="create", object="Contact", fields={"LastName": "Doe"})
        # 15 seconds after the first try, 30 after the second, and not before.
        for moved, tries, waiting in [(0, 1, 1), (10, 1, 1), (6, 2, 1), (20, 2, 1), (11, 3, 1), (24 * 3_600, 4, 0)]:
            await org.later(moved)
            await listener.arrived(tries)
            outbound = {"sent": tries, "acknowledged": 0, "waiting": waiting}
            for _ in range(100):
                state = (await org.http.get("/_sandbox/state")).json()
                if state["outbound"] == outbound:
                    break
                await asyncio.sleep(0.01)
            assert outbound == state["outbound"]


# --- anything at all --------------------------------------------------------------------------------------------------

_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_NAMES = st.sampled_from(
    ["Id", "LastName", "Email", "DoNotCall", "AccountId", "Birthdate", "EmailBouncedDate", "NumberOfEmployees", "id"]
)
_RECORD = st.dictionaries(_NAMES, _JSON, max_size=4).map(lambda one: {"attributes": {"type": "Lead"}} | one)
_PATHS = st.sampled_from(
    [
        ("POST", "sobjects/Lead"), ("PATCH", "sobjects/Contact/{id}"), ("PATCH", "sobjects/Contact/Ext__c/1"),
        ("POST", "composite"), ("POST", "composite/batch"), ("POST", "composite/graph"), ("POST", "jobs/ingest"),
        ("POST", "jobs/query"), ("POST", "tooling/sobjects/CustomField"), ("POST", "composite/sobjects/Contact"),
    ]
)  # fmt: skip
_PARTS = (
    "records", "compositeRequest", "batchRequests", "graphs", "FullName", "Metadata", "operation", "object", "query",
    "ids", "fields", "columnDelimiter",
)  # fmt: skip
_BODIES = _JSON | _RECORD | st.fixed_dictionaries({}, optional=dict.fromkeys(_PARTS, _JSON))
_WORDS = """
    SELECT Id FROM Contact WHERE Email = 'a\\'' ( ) AND OR NOT NULL IN , LIKE < >= 1 -2.5 2026-10-20T10:00:00Z
    2026-99-99T99:99:99Z 2026-10-20 TODAY LAST_N_DAYS : 99999999 ORDER BY DESC LIMIT COUNT() Account.Name
    SystemModstamp Fit__c ' \\ é
"""
_SOQL = st.lists(st.sampled_from(_WORDS.split()), max_size=14).map(" ".join)


@pytest.fixture(scope="module")
async def anything() -> AsyncIterator[World]:
    """An org that may end up in any state."""
    async with world() as made:
        await made.edit(**field("Ext__c", type="Text", length=20, externalId=True))
        await made.create()
        yield made


@settings(max_examples=60, deadline=None)
@given(call=_PATHS, body=_BODIES, records=st.lists(_RECORD, max_size=3), soql=_SOQL | st.text(max_size=30))
async def test_nothing_that_a_client_sends_is_a_fault_of_ours(
    anything: World, call: tuple[str, str], body: Json, records: Json, soql: str
) -> None:
    """The transport raises what the app does not handle."""
    method, path = call
    id_ = next(iter(anything.crm.org.table("Contact").rows))
    replies = [
        await anything.http.request(method, f"{V}/{path.replace('{id}', id_)}", json=body),
        await anything.http.patch(f"{V}/composite/sobjects", json={"records": records}),
        await anything.http.post(f"{V}/composite/sobjects", json={"records": records}),
        await anything.http.get(f"{V}/query", params={"q": soql}),
        await anything.http.get(f"{V}/query", params={"q": f"SELECT Id FROM Contact WHERE {soql}"}),
        await anything.http.post("/_sandbox/edit", json=body),
        await anything.http.put("/_sandbox/faults", json={"no_such": body}),
        await anything.http.post("/services/oauth2/token", data={"grant_type": soql, "assertion": soql}),
    ]
    assert {reply.status_code for reply in replies} <= {200, 201, 204, 400, 404, 405}


async def test_thousands_in_bulk_share_few_instants_and_are_counted(org: World) -> None:
    org.crm.fill(people(400))
    ids = list(org.crm.org.table("Contact").rows)
    job = await ingest(org, "update", "Id,Title\n" + "".join(f"{id_},T\n" for id_ in ids))
    state = (await org.http.get("/_sandbox/state")).json()

    assert (300, 0) == (job["numberRecordsProcessed"], job["numberRecordsFailed"])
    assert {"records": 300, "total": 300, "most": 1} == state["writes"]
    assert (300, 100) == (state["records"]["Contact"], state["records"]["Lead"])
    assert 1 == state["calls"]["POST jobs/ingest"]
    assert NOW - timedelta(days=20) < datetime.fromisoformat(org.crm.org.table("Contact").rows[ids[0]]["CreatedDate"])
