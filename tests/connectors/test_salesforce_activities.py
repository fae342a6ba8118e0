"""What was done with people in Salesforce, and its calls to us."""

from datetime import UTC, datetime

import pytest

from app.connectors.salesforce import Salesforce
from app.connectors.shapes import Activity, Call, Hint, Key
from app.sandbox.salesforce.org import ORG_ID
from tests.connectors.salesforce_org import Org

BOMB = b"""<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]>
<a xmlns="http://soap.sforce.com/2005/09/outbound"><Notification>&c;</Notification></a>"""


async def look(crm: Salesforce, cursor: str | None = None) -> tuple[dict[str, Activity], str]:
    """All pages of one look; the last of an id holds."""
    found: dict[str, Activity] = {}
    while True:
        page = await crm.activities(cursor)
        found |= {one.id: one for one in page.activities}
        cursor = page.cursor
        if page.is_last:
            return found, cursor


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


async def test_tasks_count_once_they_are_closed(org: Org) -> None:
    ada, lead = org.add(), org.add("Lead")
    call = org.do("log", id=ada, fields={
        "Subject": "First call", "TaskSubtype": "Call", "Status": "Completed", "CallType": "Outbound",
        "CallDisposition": "Reached", "CallDurationInSeconds": 120,
    })  # fmt: skip
    letter = org.do("log", id=lead, fields={"Type": "Meeting", "Status": "Completed", "ActivityDate": "2026-01-02"})
    del org.crm.org.table("Task").rows[letter]["CompletedDateTime"]
    open_ = org.do("log", id=ada, fields={"Subject": "To do"})
    plain = org.do("log", id=ada, fields={"Status": "Completed"})
    account = org.do("create", object="Task", fields={"Status": "Completed"})
    found, _ = await look(org.connect())

    assert {f"Task:{one}" for one in (call, letter, open_, plain, account)} == found.keys()
    one = found[f"Task:{call}"]
    assert ("call", (Key("Contact", ada),)) == (one.type, one.people)
    assert org.crm.org.table("Task").rows[call]["CompletedDateTime"][:19] == one.at.isoformat()[:19]
    assert {
        "subject": "First call", "status": "Completed", "direction": "outbound", "outcome": "Reached",
        "duration_s": 120,
    } == one.properties  # fmt: skip
    assert ("meeting", (Key("Lead", lead),), at("2026-01-02")) == found[f"Task:{letter}"][1:4]
    assert ("task", (Key("Contact", ada),)) == found[f"Task:{plain}"][1:3]
    assert [(), ()] == [found[f"Task:{one}"].people for one in (open_, account)]


async def test_meetings_and_the_answers_to_campaigns_are_activities_too(org: Org) -> None:
    ada, lead = org.add(), org.add("Lead")
    past = org.do(
        "log", id=ada, object="Event", fields={"StartDateTime": "2026-01-02T10:00:00Z", "DurationInMinutes": 30}
    )
    future = org.do("log", id=ada, object="Event", fields={"Type": "Other", "StartDateTime": "2099-01-02T10:00:00Z"})
    campaign = org.do("create", object="Campaign", fields={"Name": "Webinar"})
    member = {"CampaignId": campaign, "Status": "Responded"}
    answer = org.do("create", object="CampaignMember", fields={**member, "ContactId": ada})
    lead_s = org.do("create", object="CampaignMember", fields={**member, "LeadId": lead})
    silent = org.do("create", object="CampaignMember", fields={"CampaignId": campaign, "LeadId": lead})
    found, _ = await look(org.connect())

    assert ("meeting", (Key("Contact", ada),), at("2026-01-02T10:00:00")) == found[f"Event:{past}"][1:4]
    assert {"subject": "Call", "duration_s": 1_800} == found[f"Event:{past}"].properties
    assert "other" == found[f"Event:{future}"].type
    assert found[f"Event:{future}"].at < at("2099-01-01")
    one = found[f"CampaignMember:{answer}"]
    assert ("campaign_response", (Key("Contact", ada),)) == (one.type, one.people)
    assert {"campaign": "Webinar", "campaign_id": campaign, "status": "Responded"} == one.properties
    assert datetime.min.time() == one.at.time()
    assert [(Key("Lead", lead),), ()] == [found[f"CampaignMember:{id_}"].people for id_ in (lead_s, silent)]


async def test_what_was_undone_deleted_or_moved_comes_again(org: Org) -> None:
    ada, twin = org.add(), org.add()
    tasks = [org.do("log", id=ada, fields={"Status": "Completed"}) for _ in range(3)]
    crm = org.connect()
    before, cursor = await look(crm)
    org.change(tasks[0], Status="Not Started")
    org.do("delete", id=tasks[1])
    org.do("merge", id=twin, losers=[ada])
    after, cursor = await look(crm, cursor)

    assert {(Key("Contact", ada),)} == {one.people for one in before.values()}
    assert [(), (), (Key("Contact", twin),)] == [after[f"Task:{one}"].people for one in tasks]
    org.later(seconds=10)
    _, cursor = await look(crm, cursor)
    assert ({}, cursor) == await look(crm, cursor)


async def test_pages_of_activities_go_on_where_they_stopped(org: Org) -> None:
    ada = org.add()
    org.crm.faults.page_rows = 2
    org.crm.clock.hold()
    for object_ in ("Task", "Event"):
        for _ in range(5):
            org.do("log", id=ada, object=object_)
    crm, seen, cursor, pages = org.connect(), list[str](), None, 0
    while True:
        # Each page by a connector that knows nothing of the others.
        page = await crm.activities(cursor)
        seen += [one.id for one in page.activities]
        cursor, pages, crm = page.cursor, pages + 1, org.connect()
        if page.is_last:
            break

    assert (10, 10, 7) == (len(seen), len(set(seen)), pages)


async def test_an_activity_that_shows_late_is_not_passed_over(org: Org) -> None:
    crm, ada = org.connect(), org.add()
    task = org.do("log", id=ada)
    org.later(minutes=30)
    _, cursor = await look(crm)
    other = org.do("log", id=ada)
    org.later(seconds=10)
    _, cursor = await look(crm, cursor)
    org.do("late", id=task, seconds=500, fields={"Status": "Completed"})
    missed, cursor = await look(crm, cursor)
    org.later(minutes=10)
    found, _ = await look(crm, cursor)

    assert {} == missed
    assert {f"Task:{task}", f"Task:{other}"} == found.keys()


async def test_objects_and_fields_that_are_hidden_are_done_without(org: Org) -> None:
    ada = org.add()
    task = org.do("log", id=ada, fields={"Status": "Completed"})
    org.crm.faults.hidden_fields = ["Task.Subject", "Task.CallType"]
    del org.crm.org.objects["event"]
    found, _ = await look(org.connect())

    assert [f"Task:{task}"] == list(found)
    assert {"status": "Completed"} == found[f"Task:{task}"].properties


# --- outbound messages ------------------------------------------------------------------------------------------------


async def test_a_message_hints_at_the_records_that_changed_and_is_acknowledged(org: Org) -> None:
    crm = org.connect()
    id_, other = org.add(), org.add("Lead")
    org.front.answer = crm.read_notice(Call("", {}, _message("Contact", id_))).reply
    org.crm.faults.outbound_url = f"{org.front.url}/hook"
    await org.tell(do="change", id=id_, fields={"Email": "ada@example.com"})
    await org.tell(do="change", id=other, fields={"Title": "Countess & more"})
    while org.crm.site.outbound.acknowledged < 2:
        await org.tell(do="create", object="Account", fields={"Name": "Acme"})
    told = [crm.read_notice(Call("", {}, body)) for body in org.front.received]

    assert [[Hint(Key("Contact", id_))], [Hint(Key("Lead", other))]] == [list(one.hints) for one in told]
    assert {"text/xml"} == {one.media_type for one in told}
    assert 0 == org.crm.site.outbound.waiting


def _message(object_: str, id_: str, organisation: str = ORG_ID) -> bytes:
    return (
        '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><e:Body>'
        f'<notifications xmlns="http://soap.sforce.com/2005/09/outbound"><OrganizationId>{organisation}</OrganizationId>'
        f'<Notification><Id>04l000000000001AAA</Id><sObject xsi:type="sf:{object_}" '
        f'xmlns:sf="urn:sobject.enterprise.soap.sforce.com"><sf:Id>{id_}</sf:Id></sObject></Notification>'
        "</notifications></e:Body></e:Envelope>"
    ).encode()


async def test_a_message_about_an_activity_says_to_look_for_them(org: Org) -> None:
    notice = org.connect().read_notice(Call("", {}, _message("Task", "00T000000000001")))

    assert ([], True) == (notice.hints, notice.is_activity)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"hello", b"<a/>", b"<a>", BOMB, BOMB.decode().replace("?>", ' encoding="UTF-16"?>').encode("utf-16"),
        _message("Contact", "' OR 1=1"), b"\xff\xfe<", b'{"id": 1}',
    ],
)  # fmt: skip
async def test_what_is_no_message_is_refused(org: Org, body: bytes) -> None:
    with pytest.raises(ValueError, match=r"message|XML"):
        org.connect().read_notice(Call("", {}, body))


async def test_a_message_of_another_org_is_refused(org: Org) -> None:
    crm = org.connect(organization_id=ORG_ID)
    ours = crm.read_notice(Call("", {}, _message("Contact", "003000000000001", ORG_ID[:15])))

    assert 1 == len(ours.hints)
    with pytest.raises(ValueError, match="another org"):
        crm.read_notice(Call("", {}, _message("Contact", "003000000000001", "00D000000000009AAA")))


async def test_how_messages_are_set_up_is_said_with_the_address_to_call(org: Org) -> None:
    said = await org.connect().subscribe("https://us.example/v1/crm/1/secret", "leadtally", "password")

    assert said is not None
    assert "https://us.example/v1/crm/1/secret\n" in said
    assert "Outbound Message" in said
