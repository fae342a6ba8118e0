"""Many rows at once: queries and their pages, change tracking, calls for many, batches, activities, webhooks."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import unquote

import orjson
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.sandbox.dynamics_world import API, CRM, NOBODY, STAMP, Json, World, label, world
from tests.sandbox.loopback import served

ONE = "odata.maxpagesize=1"


@pytest.fixture
async def org() -> AsyncIterator[World]:
    async with world() as made:
        yield made


# --- queries ----------------------------------------------------------------------------------------------------------

ROWS: list[dict[str, Json]] = [
    {"lastname": "Adams", "emailaddress1": "ada+x@example.com", "numberofchildren": 1, "birthdate": "1990-01-01"},
    {"lastname": "baker", "donotbulkemail": True, "numberofchildren": 30},
    {"lastname": "Clark", "emailaddress2": "Cy@example.org", "jobtitle": "It's 100%", "leadsourcecode": 1},
    {"lastname": "Dale", "jobtitle": "Boss", "numberofchildren": 5},
]


@pytest.fixture(scope="module")
async def four() -> AsyncIterator[World]:
    """Four contacts, a minute apart; the first and the last are of Acme."""
    async with world() as made:
        acme = await made.create("accounts", name="Acme")
        for row in ROWS:
            of = {"parentcustomerid_account@odata.bind": f"/accounts({acme})"} if row["lastname"] in "AdamsDale" else {}
            await made.create(**row, **of)
            await made.later(60)
        yield made


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("lastname eq 'ADAMS'", "A"),
        ("lastname ne 'adams'", "bCD"),
        ("emailaddress1 eq null", "bCD"),
        ("emailaddress1 ne null", "A"),
        ("emailaddress1 eq 'ADA+x@example.com'", "A"),
        ("emailaddress1 eq 'cy@example.org' or emailaddress2 eq 'cy@example.org'", "C"),
        ("Microsoft.Dynamics.CRM.In(PropertyName='emailaddress2',PropertyValues=['x','CY@example.org'])", "C"),
        ("Microsoft.Dynamics.CRM.In(PropertyName='numberofchildren',PropertyValues=['1','5'])", "AD"),
        ("contains(jobtitle,'100%')", "C"),
        ("jobtitle eq 'It''s 100%'", "C"),
        ("startswith(lastname,'B')", "b"),
        ("endswith(lastname,'S') or endswith(lastname,'r')", "Ab"),
        ("donotbulkemail eq true", "b"),
        ("donotbulkemail ne true", "ACD"),
        ("followemail eq true", "AbCD"),
        ("numberofchildren gt 1", "bD"),
        ("numberofchildren le 1", "A"),
        ("numberofchildren ne 30", "ACD"),
        ("not numberofchildren gt 1", "AC"),
        ("numberofchildren gt 1 and (jobtitle eq null or jobtitle eq 'x')", "b"),
        ("not (lastname eq 'Adams' or lastname eq 'Dale')", "bC"),
        ("parentcustomerid_account/name eq 'acme'", "AD"),
        ("_parentcustomerid_value eq null", "bC"),
        ("leadsourcecode eq 1", "C"),
        ("birthdate ge 1990-01-01", "A"),
        ("modifiedon gt 2026-10-20T10:01:00Z", "CD"),
        ("modifiedon le 2026-10-20T10:01:00Z", "Ab"),
        ("modifiedon ge 2026-10-20T12:01:00+02:00 and modifiedon lt 2026-10-20T10:03:00Z", "bC"),
        ("createdon eq 2026-10-20T10:01:00Z or createdon eq 2026-10-20T10:03:00Z", "bD"),
        ("modifiedon ge 2026-10-20 and statecode eq 0", "AbCD"),
        ("lastname lt 'c'", "Ab"),
        ("lastname eq @n&@n='dale'", "D"),
    ],
)
async def test_a_filter_finds(four: World, where: str, names: str) -> None:
    where = where.replace("%", "%25").replace("+", "%2B")
    condition, alias, more = where.partition("&")
    for text in (condition, f"not (not ({condition}))"):
        found = await four.names(f"&$filter={text}{alias}{more}&$orderby=createdon")
        assert names == "".join(one[0] for one in found)


@pytest.mark.parametrize(
    ("rest", "names"),
    [
        ("&$orderby=lastname desc", "DCbA"),
        ("&$orderby=numberofchildren", "CADb"),
        ("&$orderby=numberofchildren desc,lastname", "bDAC"),
        ("&$orderby=parentcustomerid_account/name desc,lastname desc", "DACb"),
        ("&$orderby=modifiedon asc,contactid asc", "AbCD"),
        ("&$orderby=modifiedon desc&$top=3", "DCb"),
        ("&$top=2", "Ab"),
        ("&%24top=1", "A"),
    ],
)
async def test_rows_come_in_the_order_asked_for(four: World, rest: str, names: str) -> None:
    assert names == "".join(one[0] for one in await four.names(rest))


@pytest.mark.parametrize(
    "query",
    [
        "$filter=lastname = 'x'",
        "$filter=lastname eq 'x",
        "$filter=lastname eq 5",
        "$filter=lastname",
        "$filter=numberofchildren eq 'x'",
        "$filter=numberofchildren eq 1.5",
        "$filter=donotbulkemail eq 1",
        "$filter=donotbulkemail gt false",
        "$filter=modifiedon ge '2026-10-20T10:00:00Z'",
        f"$filter=contactid eq '{NOBODY}'",
        f"$filter=contactid gt {NOBODY}",
        "$filter=parentcustomerid eq null",
        "$filter=Nothing eq null",
        "$filter=fullname in ('x')",
        "$filter=length(fullname) eq 1",
        "$filter=lastname eq @absent",
        "$filter=Microsoft.Dynamics.CRM.In(PropertyName='contactid',PropertyValues=['x'])",
        f"$filter={'(' * 60}lastname eq 'x'{')' * 60}",
        f"$filter={'not ' * 100}lastname eq 'x'",
        "$select=LastName",
        "$select=lastname,nothing",
        "$orderby=lastname up",
        "$orderby=nothing",
        "$expand=nothing",
        "$expand=parentcustomerid_account($filter=name eq 'x')",
        "$top=0",
        "$top=x",
        "$skip=1",
        "$apply=x",
        "$skiptoken=x",
        "$deltatoken=x",
    ],
)
async def test_a_query_that_makes_no_sense_is_refused(four: World, query: str) -> None:
    assert (400, "0x80060888") == await four.refused("GET", f"contacts?{query}")


async def test_pages_are_linked_and_rows_are_counted(four: World) -> None:
    page = await four.get("contacts?$select=lastname&$count=true&$orderby=lastname", Prefer="odata.maxpagesize=3")

    assert 4 == page["@odata.count"]
    assert ["Adams", "baker", "Clark"] == [one["lastname"] for one in page["value"]]
    rest = await four.get(page["@odata.nextLink"], Prefer="odata.maxpagesize=3")
    assert ["Dale"] == [one["lastname"] for one in rest["value"]]
    assert "@odata.nextLink" not in rest
    assert "4" == (await four.call("GET", "contacts/$count", status=200)).text
    assert "1" == (await four.call("GET", "contacts/$count?$filter=donotbulkemail eq true", status=200)).text
    assert "@odata.nextLink" not in await four.get("contacts?$top=2", Prefer=ONE)


@pytest.mark.parametrize("order", ["", "&$orderby=modifiedon,contactid", "&$orderby=fullname desc,contactid desc"])
async def test_pages_bring_everybody_once(org: World, order: str) -> None:
    ids = {await org.create(lastname=f"Doe {n % 3}") for n in range(8)}
    org.crm.faults.page_rows = 3

    found: list[str] = []
    link = f"contacts?$select=fullname{order}"
    while link:
        page = await org.get(link, Prefer="odata.maxpagesize=100")
        found += [one["contactid"] for one in page["value"]]
        link = page.get("@odata.nextLink", "")

    assert (8, ids) == (len(found), set(found))


async def test_rows_of_one_value_are_lost_between_pages_if_no_id_is_in_the_order(org: World) -> None:
    for _ in range(4):
        await org.create()

    page = await org.get("contacts?$orderby=modifiedon", Prefer="odata.maxpagesize=2")

    assert [] == (await org.get(page["@odata.nextLink"], Prefer="odata.maxpagesize=2"))["value"]


async def test_a_link_that_is_encoded_anew_breaks(org: World) -> None:
    for _ in range(2):
        await org.create()
    link = (await org.get("contacts?$select=lastname", Prefer=ONE))["@odata.nextLink"]
    assert link.startswith(f"{API}/contacts?$select=lastname&$skiptoken=%3Ccookie%20pagenumber=%222%22%20pagingcookie=")

    await org.get(link)
    for broken in (unquote(link), link.replace("%", "%25"), link.replace("%20", "+"), link.replace("%3C", "%3c")):
        assert (400, "0x80060888") == await org.refused("GET", broken)
    assert 400 == (await org.refused("GET", f"{link}&$orderby=lastname"))[0]
    org.crm.faults.lose_cookies = True
    assert 400 == (await org.refused("GET", link))[0]


# --- change tracking --------------------------------------------------------------------------------------------------


async def test_changes_come_first_and_deletions_last(org: World) -> None:
    kept, gone, still = [await org.create(lastname=name) for name in ("Kept", "Gone", "Still")]
    everybody, link = await org.tracked()
    assert [kept, gone, still] == [one["contactid"] for one in everybody]
    assert [] == (await org.get(link))["value"]

    await org.call("DELETE", f"contacts({gone})")
    passing = await org.create()
    await org.call("DELETE", f"contacts({passing})")
    await org.call("PATCH", f"contacts({kept})", {"lastname": "Changed"})
    new = await org.create(lastname="New")
    count = await org.call("GET", f"contacts/$count?{link.partition('&')[2]}", status=200)
    first = await org.get(link, Prefer="odata.maxpagesize=3")
    second = await org.get(first["@odata.nextLink"], Prefer="odata.maxpagesize=3")

    assert first["@odata.context"].endswith("#contacts/$delta")
    assert [kept, new, gone] == [one.get("contactid", one.get("id")) for one in first["value"]]
    assert [(passing, "deleted")] == [(one["id"], one["reason"]) for one in second["value"]]
    assert second["value"][0]["@odata.context"].endswith("#contacts/$deletedEntity")
    assert "4" == count.text
    assert [] == (await org.get(second["@odata.deltaLink"]))["value"]


async def test_a_merge_arrives_as_an_ordinary_change(org: World) -> None:
    winner, loser = await org.create(), await org.create()
    _, link = await org.tracked("statecode,merged,_masterid_value")

    await org.edit(do="merge", id=winner, loser=loser)

    [row] = (await org.get(link))["value"]
    assert (loser, 1, True, winner) == (row["contactid"], row["statecode"], row["merged"], row["_masterid_value"])


async def test_what_changes_while_the_pages_are_read_is_told_with_the_first_changes(org: World) -> None:
    first, second = await org.create(lastname="1"), await org.create(lastname="2")
    page = await org.get("contacts?$select=lastname", Prefer=f"odata.track-changes,{ONE}")

    await org.call("PATCH", f"contacts({first})", {"lastname": "changed"})
    rest = await org.get(page["@odata.nextLink"], Prefer=ONE)

    assert [second] == [one["contactid"] for one in rest["value"]]
    assert [first] == [one["contactid"] for one in (await org.get(rest["@odata.deltaLink"]))["value"]]


async def _edit(org: World, chance: random.Random) -> None:
    """Somebody is made, changed or deleted."""
    there = sorted(org.crm.org.rows("contact").by_id)
    match chance.choice(["create", "change", "delete"]):
        case "change" if there:
            await org.call("PATCH", f"contacts({chance.choice(there)})", {"lastname": str(chance.random())})
        case "delete" if there:
            await org.call("DELETE", f"contacts({chance.choice(there)})")
        case _:
            await org.create(lastname=str(chance.random()))


@pytest.mark.parametrize("seed", range(5))
async def test_whoever_follows_the_changes_knows_everybody(org: World, seed: int) -> None:
    chance = random.Random(seed)
    known: dict[str, str] = {}
    link = "contacts?$select=lastname"

    async def look(rows: int) -> bool:
        """Whether something came."""
        nonlocal link
        page = await org.get(link, Prefer=f"odata.track-changes,odata.maxpagesize={rows}")
        link = page.get("@odata.nextLink") or page["@odata.deltaLink"]
        for one in page["value"]:
            if "reason" in one:
                known.pop(one["id"], None)
            else:
                known[one["contactid"]] = one["lastname"]
        return bool(page["value"])

    for _ in range(40):
        for _ in range(chance.randrange(4)):
            await _edit(org, chance)
        await look(chance.randrange(1, 4))
    # What came on the way may have been the end of a list.
    while await look(100) or await look(100):
        pass

    assert {id_: row["lastname"] for id_, row in org.crm.org.rows("contact").by_id.items()} == known


async def test_a_link_to_changes_expires(org: World) -> None:
    _, link = await org.tracked()
    faults = org.crm.faults
    expired = (400, "0x80044352")

    await org.add_column("new_Fit")
    await org.get(link)
    faults.columns_end_deltas = True
    assert expired == await org.refused("GET", link)
    _, link = await org.tracked()
    await org.get(link)
    await org.later(7 * 86_400 + 1)
    await org.sign_in()
    faults.expired_status = 410
    assert (410, "0x80044352") == await org.refused("GET", link)
    faults.tracking_days = 30.0
    await org.get(link)
    assert [30] == [one["expirechangetrackingindays"] for one in await org.rows("organizations")]
    faults.lose_deltas = True
    assert (410, "0x80044352") == await org.refused("GET", link)


async def test_changes_are_tracked_of_whole_tables_alone(org: World) -> None:
    track = {"Prefer": "odata.track-changes"}
    for option in ("$filter=statecode eq 0", "$orderby=lastname", "$top=5", "$expand=ownerid"):
        said = await org.get(f"contacts?{option}", 400, **track)
        assert f'The "{option.partition("=")[0]}" query parameter isn\'t supported' in said["error"]["message"]
    assert (400, "0x80060888") == await org.refused("GET", "tasks", **track)
    org.crm.faults.own_rows_only = True
    assert (403, "0x80040220") == await org.refused("GET", "contacts", **track)
    org.crm.faults.untracked = ["contact"]
    assert (400, "0x80060888") == await org.refused("GET", "contacts", **track)
    shown = await org.get("EntityDefinitions(LogicalName='contact')?$select=ChangeTrackingEnabled")
    assert shown["ChangeTrackingEnabled"] is False


async def test_what_was_committed_late_is_tracked_and_stamped_in_the_past(org: World) -> None:
    id_ = await org.create()
    _, link = await org.tracked("modifiedon")

    await org.edit(do="late", id=id_, seconds=240, fields={"jobtitle": "Late"})

    assert ["2026-10-20T09:56:00Z"] == [one["modifiedon"] for one in (await org.get(link))["value"]]
    assert [] == await org.rows(f"contacts?$filter=modifiedon ge {STAMP}")


# --- many rows in one call --------------------------------------------------------------------------------------------


async def test_many_rows_are_made_and_changed_in_one_call(org: World) -> None:
    made = (await org.many("CreateMultiple", {"lastname": "A"}, {"lastname": "B"}, status=200)).json()["Ids"]

    await org.many("UpdateMultiple", *({"contactid": id_, "jobtitle": "x"} for id_ in made))
    await org.many(
        "UpsertMultiple", {"contactid": made[0], "lastname": "C"}, {"@odata.id": f"contacts({NOBODY})", "lastname": "D"}
    )

    assert [("B", "x"), ("C", "x"), ("D", None)] == [
        (one["lastname"], one["jobtitle"]) for one in await org.rows("contacts?$orderby=lastname")
    ]


@pytest.mark.parametrize(
    ("bad", "status"),
    [
        ({"contactid": NOBODY, "jobtitle": "x"}, 404),
        ({"contactid": "same", "jobtitle": "x"}, 400),
        ({"contactid": "other", "jobtitle": "x" * 101}, 400),
        ({"contactid": "other", "nothing": 1}, 400),
        ({"jobtitle": "x"}, 400),
        ({"contactid": "other", "jobtitle": "x", "@odata.type": f"{CRM}lead"}, 400),
    ],
)
async def test_one_bad_row_takes_back_all_of_an_update(org: World, bad: Json, status: int) -> None:
    ids = {"same": await org.create(), "other": await org.create()}
    _, link = await org.tracked()
    if bad.get("contactid") in ids:
        bad = bad | {"contactid": ids[bad["contactid"]]}

    await org.many("UpdateMultiple", {"contactid": ids["same"], "jobtitle": "x"}, bad, status=status)

    assert [None, None] == [one["jobtitle"] for one in await org.rows("contacts")]
    assert [] == (await org.get(link))["value"]


async def test_what_was_taken_back_leaves_no_trace(org: World) -> None:
    id_ = await org.create(emailaddress1="ada@example.com")
    _, link = await org.tracked()

    await org.many("CreateMultiple", {"lastname": "A"}, {"nothing": 1}, status=400)
    parts = [f"DELETE contacts({id_})", 'POST contacts\n{"lastname": "B"}', f"DELETE contacts({NOBODY})"]
    assert [404] == [one.status for one in await org.send_batch(_change_set(*parts), 404)]

    assert [id_] == [one["contactid"] for one in await org.rows("contacts?$filter=emailaddress1 eq 'ada@example.com'")]
    assert [] == (await org.get(link))["value"]


async def test_not_every_table_takes_many(org: World) -> None:
    filters = (
        "sdkmessagefilters?$select=sdkmessagefilterid&$filter=sdkmessageid/name eq @m and primaryobjecttypecode eq @t"
    )
    asked = f"{filters}&@m='UpdateMultiple'&@t='lead'"
    assert 1 == len(await org.rows(asked))

    org.crm.faults.no_multiple = ["lead"]

    assert [] == await org.rows(asked)
    await org.many("UpdateMultiple", {"leadid": NOBODY}, of="lead", status=400)


# --- batches ----------------------------------------------------------------------------------------------------------


async def test_a_batch_stops_at_the_first_error_unless_it_is_to_go_on(org: World) -> None:
    id_ = await org.create(lastname="Ada")
    operations = (
        f'PATCH /api/data/v9.2/contacts({id_})\n{{"jobtitle": "x"}}',
        f'PATCH {API}/contacts({NOBODY})\n{{"jobtitle": "x"}}',
        f"GET contacts({id_})?$select=jobtitle",
    )

    stopped = await org.batch(*operations, status=404)
    went_on = await org.batch(*operations, Prefer="odata.continue-on-error")

    assert [204, 404] == [one.status for one in stopped]
    assert [204, 404, 200] == [one.status for one in went_on]
    assert f"OData-EntityId: {API}/contacts({id_})" in went_on[0].body
    assert "Does Not Exist" in went_on[1].body
    assert '"jobtitle":"x"' in went_on[2].body


def _change_set(*operations: str) -> str:
    parts = []
    for number, one in enumerate(operations, start=1):
        line, _, body = one.partition("\n")
        head = f"Content-Type: application/http\nContent-Transfer-Encoding: binary\nContent-ID: {number}"
        parts.append(f"--c\n{head}\n\n{line} HTTP/1.1\nContent-Type: application/json; type=entry\n\n{body}\n")
    return f"--b\nContent-Type: multipart/mixed;boundary=c\n\n{''.join(parts)}--c--\n--b--"


async def test_a_change_set_is_done_wholly_and_may_use_what_it_made(org: World) -> None:
    task = '{"subject": "Call", "regardingobjectid_contact_task@odata.bind": "$1"}'

    done = await org.send_batch(
        _change_set('POST contacts\n{"lastname": "Ada"}', f"POST tasks\n{task}", 'PATCH $1\n{"jobtitle": "x"}')
    )

    assert [204, 204, 204] == [one.status for one in done]
    [contact] = await org.rows("contacts?$select=jobtitle")
    assert "x" == contact["jobtitle"]
    assert [contact["contactid"]] == [one["_regardingobjectid_value"] for one in await org.rows("tasks")]
    [failed] = await org.send_batch(_change_set('PATCH $1\n{"jobtitle": "y"}'), 400)
    assert "Content-ID Reference: '$1' does not exist in the batch context." in failed.body
    [failed] = await org.send_batch(_change_set("GET contacts"), 400)
    assert 400 == failed.status


async def test_a_batch_that_cannot_be_read_is_refused_as_a_whole(org: World) -> None:
    head = "--b\r\nContent-Type: application/http\r\n\r\n"
    for content, kind in (
        ("", "multipart/mixed; boundary=b"),
        (f"{head}GET contacts HTTP/1.1\r\n\r\n", "multipart/mixed; boundary=b"),
        (f"{head}GET contacts HTTP/1.1\r\n\r\n--b--", "application/json"),
        (f"{head}contacts\r\n\r\n--b--", "multipart/mixed; boundary=b"),
        (f"{head}POST $batch HTTP/1.1\r\n\r\n--b--", "multipart/mixed; boundary=b"),
        (f"{head}GET WhoAmI HTTP/1.1\r\n\r\n" * 1_001 + "--b--", "multipart/mixed; boundary=b"),
    ):
        reply = await org.http.post(f"{API}/$batch", content=content, headers={"Content-Type": kind})
        assert (400, "application/json; odata.metadata=minimal") == (reply.status_code, reply.headers["content-type"])


async def test_a_part_of_a_batch_may_be_told_to_wait(org: World) -> None:
    org.crm.faults.fail_parts = ["fine", "throttled", "deadlock"]

    done = await org.batch(*["GET WhoAmI"] * 4, Prefer="odata.continue-on-error")

    assert [200, 429, 500, 200] == [one.status for one in done]
    assert "Retry-After: 12" in done[1].body


# --- activities -------------------------------------------------------------------------------------------------------


async def test_activities_are_listed_together_and_have_parties(org: World) -> None:
    ada, bob = await org.create(emailaddress1="ada@example.com"), await org.create("leads")
    me = org.crm.credentials(API)["user_id"]
    parties = [
        {"partyid_contact@odata.bind": f"/contacts({ada})", "participationtypemask": 5},
        {"addressused": "unknown@example.com", "participationtypemask": 6},
    ]
    regarding = {"regardingobjectid_lead_appointment@odata.bind": f"/leads({bob})"}
    id_ = await org.create("appointments", subject="Demo", appointment_activity_parties=parties, **regarding)
    await org.later(60)
    await org.create("tasks", subject="Later")

    rows = await org.get(
        "activitypointers?$select=activitytypecode,subject,_regardingobjectid_value&$orderby=modifiedon,activityid"
        f"&$filter=modifiedon ge {STAMP}",
        Prefer='odata.include-annotations="*"',
    )
    assert [("appointment", "Demo"), ("task", "Later")] == [
        (one["activitytypecode"], one["subject"]) for one in rows["value"]
    ]
    assert "lead" == rows["value"][0]["_regardingobjectid_value@Microsoft.Dynamics.CRM.lookuplogicalname"]
    expand = "appointment_activity_parties($select=_partyid_value,participationtypemask,addressused)"
    found = await org.get(f"appointments({id_})?$select=subject&$expand={expand}")
    assert [(ada, 5, "ada@example.com"), (None, 6, "unknown@example.com"), (bob, 8, None), (me, 9, None)] == [
        (one["_partyid_value"], one["participationtypemask"], one["addressused"])
        for one in found["appointment_activity_parties"]
    ]
    assert 400 == (await org.refused("GET", f"activitypointers?$expand={expand}"))[0]
    await org.call("DELETE", f"appointments({id_})")
    assert ["Later"] == [one["subject"] for one in await org.rows("activitypointers")]
    assert [9] == [one["participationtypemask"] for one in await org.rows("activityparties")]


async def test_an_activity_is_completed(org: World) -> None:
    id_ = await org.create("phonecalls", subject="Call")
    assert [(0, 1)] == [(one["statecode"], one["statuscode"]) for one in await org.rows("phonecalls")]
    await org.later(60)

    await org.call("PATCH", f"phonecalls({id_})", {"statecode": 1, "statuscode": 2})

    assert ["2026-10-20T10:01:00Z"] == [one["actualend"] for one in await org.rows("activitypointers")]
    assert (400, "0x80040800") == await org.refused("POST", "activitypointers", {"subject": "x"})


async def test_somebody_logs_a_call_with_two_people(org: World) -> None:
    ada, bob = await org.create(), await org.create()

    id_ = (await org.edit(do="log", ids=[ada, bob], fields={"subject": "Intro"}))["id"]

    found = await org.get(f"phonecalls({id_})?$expand=phonecall_activity_parties")
    masks = [(one["_partyid_value"], one["participationtypemask"]) for one in found["phonecall_activity_parties"]]
    assert ("Intro", 1, 2, STAMP) == tuple(found[one] for one in ("subject", "statecode", "statuscode", "actualend"))
    assert [(ada, 2), (bob, 2), (ada, 8)] == masks[:3]


# --- webhooks ---------------------------------------------------------------------------------------------------------


class Hook:
    """What a webhook was told; `answers` are the next statuses, then 200."""

    def __init__(self) -> None:
        self.told: list[tuple[dict[str, str], str, Any]] = []
        self.answers: list[int] = []
        self.app = Starlette(routes=[Route("/hook", self._take, methods=["POST"])])

    async def _take(self, request: Request) -> Response:
        body = await request.body()
        self.told.append((dict(request.headers), request.url.query, orjson.loads(body)))
        assert b"/" not in body.replace(rb"\/", b"")
        return Response(None, self.answers.pop(0) if self.answers else 200)

    async def wait(self, until: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not until():  # noqa: ASYNC110 - what is waited for is in the stand-in
                await asyncio.sleep(0.01)

    @property
    def targets(self) -> list[Any]:
        return [body["InputParameters"][0]["value"] for _, _, body in self.told]


async def _subscribe(org: World, url: str, message: str = "Update", of: str = "contact", **endpoint: Json) -> None:
    about = {"name": "leadtally", "contract": 8, "url": url, "authtype": 4, "messageformat": 2, "authvalue": "k"}
    made = await org.create("serviceendpoints", **about | endpoint)
    [known] = await org.rows(f"sdkmessages?$filter=name eq '{message}'")
    where = f"_sdkmessageid_value eq {known['sdkmessageid']} and primaryobjecttypecode eq '{of}'"
    [filter_] = await org.rows(f"sdkmessagefilters?$filter={where}")
    step = {
        "name": "leadtally", "stage": 40, "mode": 1, "rank": 1, "supporteddeployment": 0, "asyncautodelete": True,
        "filteringattributes": "donotbulkemail,emailaddress1",
        "eventhandler_serviceendpoint@odata.bind": f"/serviceendpoints({made})",
        "sdkmessageid@odata.bind": f"/sdkmessages({known['sdkmessageid']})",
        "sdkmessagefilterid@odata.bind": f"/sdkmessagefilters({filter_['sdkmessagefilterid']})",
    }  # fmt: skip
    await org.create("sdkmessageprocessingsteps", **step)


@pytest.fixture
def hook() -> Hook:
    return Hook()


async def test_a_webhook_is_told_what_was_written(org: World, hook: Hook) -> None:
    me = org.crm.credentials(API)["user_id"]
    id_ = await org.create()
    with served(hook.app) as url:
        await _subscribe(org, f"{url}/hook")
        await org.call("PATCH", f"contacts({id_})", {"jobtitle": "not told"})
        await org.call("PATCH", f"contacts({id_})?tag=ours", {"donotbulkemail": True, "statecode": 1})
        await hook.wait(lambda: len(hook.told) == 1)

    [(headers, query, body)] = hook.told
    assert ("contact", "Update", "code=k") == (
        headers["x-ms-dynamics-entity-name"], headers["x-ms-dynamics-request-name"], query,
    )  # fmt: skip
    assert ("Update", id_, me, 1, "/Date(1792490400000+0000)/") == (
        body["MessageName"], body["PrimaryEntityId"], body["InitiatingUserId"], body["Depth"],
        body["OperationCreatedOn"],
    )  # fmt: skip
    assert [{"key": "tag", "value": "ours"}] == body["SharedVariables"]
    attributes = {one["key"]: one["value"] for one in hook.targets[0]["Attributes"]}
    assert (True, 1, "/Date(1792490400000)/") == (
        attributes["donotbulkemail"], attributes["statecode"]["Value"], attributes["modifiedon"],
    )  # fmt: skip
    assert "authvalue" not in (await org.rows("serviceendpoints"))[0]


async def test_a_webhook_may_be_told_twice_backwards_or_too_much(org: World, hook: Hook) -> None:
    setting = '<settings><setting name="X-Key" value="secret" /></settings>'
    faults = org.crm.faults
    with served(hook.app) as url:
        await _subscribe(org, f"{url}/hook", "Delete", authtype=5, authvalue=setting)
        first, second, third = [await org.create() for _ in range(3)]
        faults.hold_webhooks = faults.reverse_webhooks = True
        await org.call("DELETE", f"contacts({first})")
        faults.duplicate_webhooks = True
        await org.call("DELETE", f"contacts({second})")
        faults.lose_webhooks = True
        await org.call("DELETE", f"contacts({third})")
        faults.hold_webhooks = False
        await hook.wait(lambda: len(hook.told) == 3)
        faults.lose_webhooks = faults.duplicate_webhooks = False
        faults.oversized_webhooks = True
        last = await org.create()
        await org.call("DELETE", f"contacts({last})")
        await hook.wait(lambda: len(hook.told) == 4)

    assert [second, second, first, last] == [body["PrimaryEntityId"] for _, _, body in hook.told]
    assert "secret" == hook.told[0][0]["x-key"]
    assert "EntityReference" in hook.told[0][2]["InputParameters"][0]["value"]["__type"]
    assert "x-ms-dynamics-msg-size-exceeded" in hook.told[3][0]
    assert "InputParameters" not in hook.told[3][2]


async def test_a_webhook_is_tried_again_once_and_only_if_the_gateway_failed(org: World, hook: Hook) -> None:
    hook.answers = [500, 503, 503]
    with served(hook.app) as url:
        await _subscribe(org, f"{url}/hook", "Create", "lead")
        await org.create("leads")
        await hook.wait(lambda: org.crm.site.delivery.failed == 1)
        await org.create("leads")
        await hook.wait(lambda: len(hook.told) == 2)
        await org.later(30)
        await hook.wait(lambda: org.crm.site.delivery.failed == 2)

    assert 3 == len(hook.told)
    jobs = await org.rows("asyncoperations?$select=statuscode,message")
    assert [31, 31] == [one["statuscode"] for one in jobs]
    assert 0 == org.crm.site.delivery.waiting


async def test_a_column_that_an_admin_made_by_hand_is_there(org: World) -> None:
    made = await org.edit(do="column", name="new_Level", type="Picklist", options=["Low", "High"], label="Level")

    [shown] = await org.rows(
        f"EntityDefinitions(LogicalName='contact')/Attributes/{CRM}PicklistAttributeMetadata"
        f"?$select=LogicalName,DisplayName&$expand=OptionSet($select=Options)&$filter=LogicalName eq '{made['name']}'"
    )
    labels = [one["Label"]["UserLocalizedLabel"]["Label"] for one in shown["OptionSet"]["Options"]]
    assert (["Low", "High"], "Level") == (labels, shown["DisplayName"]["UserLocalizedLabel"]["Label"])
    assert label("Level")["LocalizedLabels"][0].items() <= shown["DisplayName"]["LocalizedLabels"][0].items()
    await org.edit(do="remove_column", name="new_level")
    assert 400 == (await org.refused("GET", "contacts?$select=new_level"))[0]
