"""Columns of Dynamics described and made, what a check finds, activities, and what its webhooks tell."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import orjson
import pytest

from app.connectors.dynamics import PROVIDER, Dynamics
from app.connectors.dynamics.making import column_name
from app.connectors.provider import Setup
from app.connectors.shapes import Activity, Call, Key, Kind, Level, WantedField, Write
from app.sandbox.dynamics.columns import Column
from tests.connectors.dynamics_world import US, World

SCORE = WantedField("contact", "score_fit", "Lead Score: Fit", Kind.NUMBER, "The score.", places=0)


def made(dynamics: World, name: str, of: str = "contact") -> Column:
    return dynamics.crm.org.tables[of].columns[name]


# --- columns ----------------------------------------------------------------------------------------------------------


async def test_a_column_begins_with_the_prefix_of_the_default_publisher(dynamics: World) -> None:
    dynamics.crm.faults.prefix, dynamics.crm.faults.language = "cr5a2", 1031
    [one] = await dynamics.connect().ensure([SCORE])
    assert one.field is not None
    column = made(dynamics, "cr5a2_leadtally_score_fit")
    [call] = [call for call in dynamics.front.calls if call.method == "POST" and "Attributes" in call.target]
    labels = orjson.loads(call.body)["DisplayName"]["LocalizedLabels"]

    assert (column.name, 0, True) == (one.field.name, one.field.places, one.field.is_custom)
    assert ("Integer", -2_147_483_648) == (column.type, column.lowest)
    assert [("Lead Score: Fit", 1031)] == [(label["Label"], label["LanguageCode"]) for label in labels]


async def test_a_prefix_may_be_chosen_and_a_solution(dynamics: World) -> None:
    org = dynamics.crm.org
    org.put("publisher", {"uniquename": "acme", "friendlyname": "Acme", "customizationprefix": "acme"})
    [one] = await dynamics.connect(prefix="acme", solution="Default").ensure([SCORE])
    assert one.field is not None
    [call] = [call for call in dynamics.front.calls if call.method == "POST" and "Attributes" in call.target]

    assert ("acme_leadtally_score_fit", "Default") == (one.field.name, call.headers["mscrm.solutionuniquename"])
    [same] = await dynamics.connect(prefix="acme").ensure([SCORE])
    assert same.was_there


async def test_a_name_is_never_too_long_nor_anothers() -> None:
    names = {column_name("new", name) for name in ("a" * 60, "a" * 61, "Äpfel", "äpfel", "ÄPFEL")}

    assert 5 == len(names)
    assert all(len(one) <= 50 and one.isascii() and one == one.lower() for one in names)


async def test_a_column_that_is_of_another_type_comes_with_a_recipe(dynamics: World) -> None:
    dynamics.column("new_leadtally_score_fit", "String")
    [one] = await dynamics.connect().ensure([SCORE])

    assert (None, True) == (one.field, one.was_there)
    assert one.recipe is not None
    assert "is of another type" in one.recipe
    assert "new_leadtally_score_fit" in one.recipe


async def test_a_column_that_metadata_does_not_show_at_once_is_found(dynamics: World) -> None:
    dynamics.crm.faults.metadata_lag_s = 30
    crm, id_ = dynamics.connect(), dynamics.add()
    [one] = await crm.ensure([SCORE])
    assert one.field is not None

    [outcome] = await dynamics.connect().write([Write(Key("contact", id_), {one.field.name: -1_000})])
    assert {one.field.name: -1_000} == outcome.kept


async def test_what_may_not_be_made_comes_with_a_recipe(dynamics: World) -> None:
    dynamics.crm.faults.missing_privileges = ["prvCreateAttribute"]
    several = WantedField("lead", "topics", "Topics", Kind.CHOICES, "Several.", ("Art", "Law"))
    [one, other] = await dynamics.connect().ensure([SCORE, several])
    assert one.recipe is not None
    assert other.recipe is not None

    assert ("make.powerapps.com" in one.recipe, "Whole number" in one.recipe) == (True, True)
    assert "leadtally_score_fit, behind the prefix new_" in one.recipe
    assert "Topics" in other.recipe


async def test_bounces_have_columns_of_our_own(dynamics: World) -> None:
    crm = dynamics.connect()
    for object_ in crm.objects:
        pairs = {one.here: one for one in crm.defaults(object_, await crm.describe(object_))}
        wanted = [one.there for one in pairs.values() if isinstance(one.there, WantedField)]
        ours = await crm.ensure(wanted)

        assert ["both", "out", "out"] == [pairs[name].way for name in ("bounced", "bounced_at", "bounced_reason")]
        assert [Kind.BOOLEAN, Kind.INSTANT, Kind.TEXT] == [one.field.kind for one in ours if one.field]
        assert "Boolean" == made(dynamics, "new_leadtally_email_bounced", object_).type


@pytest.mark.parametrize(
    "choices",
    [
        {"opt_out": "followemail"},
        {"objects": ["account"]},
        {"objects": []},
        {"objects": "contact"},
        {"prefix": "mscrmx"},
        {"prefix": "1a"},
    ],
)
async def test_choices_that_there_are_not_are_refused(dynamics: World, choices: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(choices))):
        PROVIDER.connect(dynamics.setup(**choices), dynamics.http)


# --- checking ---------------------------------------------------------------------------------------------------------


async def test_a_check_finds_nothing_where_all_is_well_and_changes_nothing(dynamics: World) -> None:
    dynamics.add()
    before = dynamics.crm.state()["records"]
    checked = await dynamics.connect().check()

    assert checked.account is not None
    assert ("acme", US, "# Integration") == checked.account
    assert [] == list(checked.findings)
    assert before == dynamics.crm.state()["records"]
    assert 0 == dynamics.crm.state()["writes"]["total"]


@pytest.mark.parametrize(
    ("switches", "code", "level", "names"),
    [
        ({"missing_privileges": ["prvWriteContact"]}, "no_write", Level.WARNING, "prvWriteContact"),
        ({"missing_privileges": ["prvReadContact"]}, "no_read", Level.ERROR, "prvReadContact"),
        ({"missing_privileges": ["prvReadLead"]}, "no_read", Level.WARNING, "prvReadLead"),
        ({"missing_privileges": ["prvReadActivity"]}, "object_hidden", Level.WARNING, "activities"),
        ({"missing_privileges": ["prvCreateAttribute"]}, "no_customize", Level.NOTE, "System Customizer"),
        ({"untracked": ["lead"]}, "not_tracked", Level.WARNING, "leads"),
        ({"own_rows_only": True}, "reads_not_all", Level.WARNING, "contacts"),
        ({"no_leads": True}, "no_leads", Level.NOTE, "Dynamics 365 Sales"),
        ({"consents": True}, "other_tool", Level.WARNING, "Customer Insights"),
        ({"secured_columns": ["contact.donotbulkemail"]}, "field_hidden", Level.WARNING, "contact.donotbulkemail"),
        ({"secured_columns": ["contact.emailaddress1"]}, "field_hidden", Level.ERROR, "contact.emailaddress1"),
    ],
)
async def test_a_check_names_what_is_missing_and_how_to_mend_it(
    dynamics: World, switches: dict[str, Any], code: str, level: Level, names: str
) -> None:
    for name, value in switches.items():
        setattr(dynamics.crm.faults, name, value)
    checked = await dynamics.connect().check()
    found = [one for one in checked.findings if one.code == code]

    assert checked.account is not None
    assert {level} == {one.level for one in found}
    assert any(names in one.what for one in found)
    assert all(one.mend or one.level is Level.NOTE for one in found)


# --- activities -------------------------------------------------------------------------------------------------------


async def activities(crm: Dynamics, cursor: str | None = None) -> dict[str, Activity]:
    found: dict[str, Activity] = {}
    while True:
        page = await crm.activities(cursor)
        cursor = page.cursor
        found |= {one.id: one for one in page.activities}
        if page.is_last:
            return found


async def test_an_activity_is_about_whom_it_regards_and_its_parties_each_once(dynamics: World) -> None:
    ada, bob, eve = dynamics.add(), dynamics.add(), dynamics.add("lead")
    account = dynamics.do("create", object="account", fields={"name": "Acme"})
    regarding = {"regardingobjectid_account_appointment@odata.bind": f"/accounts({account})"}
    meeting = dynamics.do("log", object="appointment", ids=[ada, bob, ada], fields={"subject": "Demo", **regarding})
    call = dynamics.do("log", ids=[eve, ada], fields={"actualdurationminutes": 5, "directioncode": True})
    task = dynamics.do("log", object="task", ids=[bob])
    stranger = {"phonecall_activity_parties": [{"addressused": "who@example.com", "participationtypemask": 2}]}
    unknown = dynamics.do("log", ids=[ada], fields={**stranger, "directioncode": False})
    found = await activities(dynamics.connect())

    def about(id_: str) -> tuple[str, list[tuple[str, str]]]:
        return found[id_].type, sorted((key.object, key.id) for key in found[id_].people)

    assert ("meeting", sorted([("contact", ada), ("contact", bob)])) == about(meeting)
    assert ("call", sorted([("contact", ada), ("lead", eve)])) == about(call)
    assert ("task", [("contact", bob)]) == about(task)
    assert ("call", [("contact", ada)]) == about(unknown)
    assert {"subject": "Demo", "status": "Completed"} == found[meeting].properties
    assert {"subject": "Call", "status": "Made", "direction": "outbound", "duration_s": 300} == found[call].properties
    assert "inbound" == found[unknown].properties["direction"]


async def test_many_activities_take_two_calls_a_page(dynamics: World) -> None:
    ids = [dynamics.add() for _ in range(30)]
    made = {dynamics.do("log", object=("phonecall", "email", "appointment")[n % 3], ids=[id_]): id_ for n, id_ in enumerate(ids)}  # fmt: skip  # noqa: E501
    crm = dynamics.connect()
    await crm.describe("contact")
    dynamics.front.calls.clear()
    found = await activities(crm)

    assert made == {one.id: one.people[0].id for one in found.values()}
    assert 2 == len(dynamics.front.calls)


async def test_what_was_not_done_does_not_count_and_a_meeting_that_was_arranged_does(dynamics: World) -> None:
    ada = dynamics.add()
    soon = f"{(dynamics.crm.clock() + timedelta(days=3)):%Y-%m-%dT%H:%M:%SZ}"
    arranged = {"statecode": 3, "statuscode": 5, "scheduledstart": soon}
    meeting = dynamics.do("log", object="appointment", ids=[ada], fields=arranged)
    planned = dynamics.do("log", object="task", ids=[ada], fields={"statecode": 0, "statuscode": 2})
    canceled = dynamics.do("log", ids=[ada], fields={"statecode": 2, "statuscode": 3})
    found = await activities(dynamics.connect())

    assert [1, 0, 0] == [len(found[id_].people) for id_ in (meeting, planned, canceled)]
    assert found[meeting].at <= dynamics.crm.clock()


async def test_without_the_right_to_read_a_type_what_it_regards_is_known(dynamics: World) -> None:
    ada, crm = dynamics.add(), dynamics.connect(objects=["contact"])
    lead = dynamics.add("lead")
    call = dynamics.do("log", ids=[ada])
    other = dynamics.do("log", ids=[lead])
    found = await activities(crm)

    assert [(Key("contact", ada),), ()] == [found[id_].people for id_ in (call, other)]


# --- webhooks ---------------------------------------------------------------------------------------------------------


async def heard(dynamics: World, crm: Dynamics, count: int) -> list[list[tuple[str, str | None]]]:
    """What so many notices hint at."""
    async with asyncio.timeout(5):
        # What brings them runs in the stand-in's thread.
        while len(dynamics.front.received) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    notices = [crm.read_notice(Call("", {}, body)) for body in dynamics.front.received]
    dynamics.front.received.clear()
    return [[(hint.key.id, hint.successor.id if hint.successor else None) for hint in one.hints] for one in notices]


async def tell(dynamics: World, **body: Any) -> str:  # Any: JSON
    """An edit after which the environment tells what changed."""
    async with httpx.AsyncClient(base_url=dynamics.front.url, trust_env=False) as http:
        answer = await http.post("/_sandbox/edit", json=body)
    assert 200 == answer.status_code, answer.text
    return str(answer.json().get("id"))


async def test_what_others_change_is_told_and_what_we_write_is_not(dynamics: World) -> None:
    crm = dynamics.connect()
    [score] = await crm.ensure([SCORE])
    assert score.field is not None
    assert None is await crm.subscribe(f"{dynamics.front.url}/hook", "us", "pass-word")
    ada = await tell(dynamics, do="create", object="contact", fields={"lastname": "Lovelace"})
    assert [[(ada, None)]] == await heard(dynamics, crm, 1)

    # A score is no column that it is asked to tell of; of what else we write we are told, and it says nothing.
    await crm.write([Write(Key("contact", ada), {score.field.name: 5})])
    await crm.write([Write(Key("contact", ada), {"jobtitle": "Countess"})])
    await tell(dynamics, do="change", id=ada, fields={"donotbulkemail": True})
    assert [[], [(ada, None)]] == await heard(dynamics, crm, 2)

    dynamics.crm.faults.plugin_sets, dynamics.crm.faults.plugin_is_us = {"department": "Poetry"}, True
    await crm.write([Write(Key("contact", ada), {"jobtitle": "Poet"})])
    assert [[], [(ada, None)]] == await heard(dynamics, crm, 2)


async def test_a_notice_that_is_too_large_or_doubled_is_a_hint_all_the_same(dynamics: World) -> None:
    crm = dynamics.connect()
    await crm.subscribe(f"{dynamics.front.url}/hook", "us", "pass-word")
    dynamics.crm.faults.oversized_webhooks = dynamics.crm.faults.duplicate_webhooks = True
    ada = await tell(dynamics, do="create", object="lead", fields={"lastname": "Lovelace"})

    assert [[(ada, None)]] * 2 == await heard(dynamics, crm, 2)


async def test_a_webhook_is_asynchronous_and_carries_its_key(dynamics: World) -> None:
    url = f"{dynamics.front.url}/hook"
    await dynamics.connect().subscribe(url, "us", "pass-word")
    rows = dynamics.crm.org.rows("sdkmessageprocessingstep").by_id.values()
    [endpoint] = dynamics.crm.org.rows("serviceendpoint").by_id.values()
    updates = [row for row in rows if "filteringattributes" in row]

    assert {(1, 40)} == {(row["mode"], row["stage"]) for row in rows}
    assert (url, 4, "pass-word") == (endpoint["url"], endpoint["authtype"], endpoint["authvalue"])
    assert {"contact", "lead"} == {row["name"].rpartition(" ")[2] for row in rows}
    assert 2 == len(updates)
    assert all({"emailaddress1", "donotbulkemail", "statecode"} <= {*row["filteringattributes"].split(",")} for row in updates)  # fmt: skip  # noqa: E501


async def test_steps_are_told_of_columns_that_were_made_since(dynamics: World) -> None:
    crm, url = dynamics.connect(), f"{dynamics.front.url}/hook"
    await crm.subscribe(url, "us", "pass-word")
    before = dynamics.crm.state()["records"]
    dynamics.column("new_Mood", "String")
    dynamics.later(hours=1)
    await crm.subscribe(url, "us", "pass-word")
    rows = dynamics.crm.org.rows("sdkmessageprocessingstep").by_id.values()

    assert before == dynamics.crm.state()["records"]
    assert 1 == sum("new_mood" in row.get("filteringattributes", "") for row in rows)


async def test_where_we_may_not_register_there_is_a_recipe(dynamics: World) -> None:
    dynamics.crm.faults.missing_privileges = ["prvCreateServiceEndpoint", "prvCreateSdkMessageProcessingStep"]
    recipe = await dynamics.connect().subscribe("https://score.example.com/hook/7", "us", "pass-word")
    assert recipe is not None

    assert ["https://score.example.com/hook/7", "Plug-in Registration", "WebhookKey", "Asynchronous"] == [
        one
        for one in ("https://score.example.com/hook/7", "Plug-in Registration", "WebhookKey", "Asynchronous")
        if one in recipe
    ]
    assert "pass-word" not in recipe


def test_a_merge_that_is_told_names_the_winner(dynamics_front: object) -> None:
    winner, loser = "60c4e274-0d87-e711-80e5-00155db19e6d", "6D81597F-0F9F-E711-8122-000D3AA2331C"
    said = {
        "MessageName": "Merge",
        "PrimaryEntityName": "contact",
        "PrimaryEntityId": winner,
        "InputParameters": [{"key": "Target", "value": {}}, {"key": "SubordinateId", "value": loser}],
    }
    crm = PROVIDER.connect(Setup("client_credentials", {}, None, None), None)  # type: ignore[arg-type] # none is needed
    notice = crm.read_notice(Call("", {}, orjson.dumps(said)))

    assert [(winner, None), (loser.lower(), winner)] == [
        (one.key.id, one.successor.id if one.successor else None) for one in notice.hints
    ]
