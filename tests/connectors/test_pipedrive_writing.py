"""Writing Pipedrive's persons, one call each, of which none may harm another: against the stand-in, over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import orjson
import pytest
import stamina

from app import clock
from app.connectors.faults import BudgetSpent, Busy, Refused, SignInRefused, Unreachable
from app.connectors.http import Http
from app.connectors.shapes import Connector, End, Key, NewPerson, Outcome, Value, Values, Write
from tests.connectors.pipedrive_world import PERSON, Company, Front, Json, front

PATCH = "PATCH /api/v2/persons/{id}"
POST = "POST /api/v2/persons"


@pytest.fixture(scope="module")
def before() -> Iterator[Front]:
    with front() as made:
        yield made


@pytest.fixture
async def acme(before: Front) -> AsyncIterator[Company]:
    with stamina.set_testing(True, attempts=3, cap=True):
        async with Http(private=True) as http:
            yield Company(before, http)
    clock.shift(timedelta())


def of(id_: str, values: Values) -> Write:
    return Write(Key(PERSON, id_), values)


async def write(connector: Connector, id_: str, values: Values) -> Outcome:
    [outcome] = await connector.write([of(id_, values)])
    return outcome


async def ends(connector: Connector, writes: list[Write]) -> list[End]:
    return [one.end for one in await connector.write(writes)]


# --- one person -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("type_", "value", "raw"),
    [("double", 42.5, 42.5), ("double", 73, 73), ("varchar", "warm", "warm"), ("text", "a" * 300, "a" * 300),
     ("date", "2026-10-01", "2026-10-01"), ("enum", "No", ["No"]), ("enum", "no", ["No"]),
     ("set", ["No", "Yes"], ["No", "Yes"]), ("double", None, None), ("varchar", None, None), ("enum", None, None),
     ("set", [], None), ("set", None, None), ("date", None, None)],
)  # fmt: skip
async def test_a_custom_field_is_written_by_its_type(acme: Company, type_: str, value: Value, raw: Json) -> None:
    options = ("Yes", "No") if type_ in ("enum", "set") else ()
    field = await acme.field("Field", type_, *options)
    other = await acme.field("Other", "double")
    id_ = await acme.person("ann@example.com", custom_fields={other: 1})

    outcome = await write(acme.connect(), id_, {field: value})

    if isinstance(raw, list):
        raw = [acme.option(field, one) for one in raw] if type_ == "set" else acme.option(field, raw[0])
    assert {field: raw, other: 1} == acme.shown(id_).custom
    kept = "No" if value == "no" else value or (0 if value == 0 else None)
    at = datetime.fromtimestamp(acme.shown(id_).updated, UTC)
    assert Outcome(End.DONE, id_, {field: kept}, at) == outcome
    assert acme.tokens == acme.purse.spent == 5 + 10


async def test_what_is_no_custom_field_is_written_too(acme: Company) -> None:
    id_ = await acme.person("ann@example.com", label_ids=[1])
    connector = acme.connect()

    outcome = await write(connector, id_, {"name": "Bob", "label_ids": ["Label 2"], "marketing_status": "subscribed"})

    assert {"name": "Bob", "label_ids": ["Label 2"], "marketing_status": "subscribed"} == outcome.kept
    assert ("Bob", (2,)) == (acme.shown(id_).name, acme.shown(id_).label_ids)
    assert {"label_ids": None} == (await write(connector, id_, {"label_ids": None})).kept


async def test_a_marketing_status_that_is_passed_over_in_silence_shows(acme: Company) -> None:
    id_ = await acme.person("ann@example.com")
    connector = acme.connect()

    assert {"marketing_status": "unsubscribed"} == (
        await write(connector, id_, {"marketing_status": "unsubscribed"})
    ).kept
    back = await write(connector, id_, {"marketing_status": "subscribed"})
    assert (End.DONE, {"marketing_status": "unsubscribed"}) == (back.end, back.kept)


async def test_without_campaigns_a_marketing_status_is_not_kept(acme: Company) -> None:
    acme.faults.without_campaigns = True
    id_ = await acme.person("ann@example.com")

    outcome = await write(acme.connect(), id_, {"marketing_status": "unsubscribed", "name": "Bob"})

    assert (End.DONE, {"marketing_status": None, "name": "Bob"}) == (outcome.end, outcome.kept)


async def test_who_was_deleted_meanwhile_is_gone_and_harms_nobody(acme: Company) -> None:
    score = await acme.field("Score", "double")
    people = [await acme.person() for _ in range(3)]
    await acme.edit("delete", PERSON, people[1])

    writes = [of(one, {score: 5}) for one in [*people, "no number"]]

    assert [End.DONE, End.GONE, End.DONE, End.GONE] == await ends(acme.connect(), writes)


async def test_nothing_to_write_is_no_call(acme: Company) -> None:
    assert Outcome(End.DONE, "1", {}) == await write(acme.connect(), "1", {})
    assert [] == await acme.connect().write([])
    assert 0 == acme.purse.spent


# --- what is refused --------------------------------------------------------------------------------------------------
async def test_a_value_that_cannot_be_names_its_field_and_costs_no_write(acme: Company) -> None:
    choice, score = await acme.field("Choice", "enum", "Yes"), await acme.field("Score", "double")
    money, gone = await acme.field("Money", "monetary"), "0" * 40
    id_ = await acme.person()
    wrong: list[dict[str, Value]] = [
        {choice: "Perhaps"}, {score: "high"}, {score: True}, {money: 5}, {gone: 1}, {"email": "b@example.com"},
        {"name": None}, {"label_ids": ["Label 9"]},
    ]  # fmt: skip

    outcomes = await acme.connect().write([*(of(id_, one) for one in wrong), of(id_, {score: 7})])

    assert [*((End.REFUSED, tuple(one)) for one in wrong), (End.DONE, ())] == [
        (one.end, one.fields) for one in outcomes
    ]
    assert 1 == acme.calls(PATCH)
    assert {score: 7} == acme.shown(id_).custom


async def test_what_pipedrive_refuses_is_told_in_its_words_without_what_was_sent(acme: Company) -> None:
    band, name = await acme.field("Band", "varchar"), await acme.field("Name", "text")
    id_ = await acme.person()
    too_long = "ann@example.com " * 20

    outcome = await write(acme.connect(), id_, {band: too_long, name: "fine"})

    assert (End.REFUSED, "ERR_SCHEMA_VALIDATION_FAILED", (band,)) == (outcome.end, outcome.code, outcome.fields)
    assert "should be a string of at most 255" in (outcome.reason or "")
    assert "ann@" not in str(outcome)


async def test_a_field_that_was_deleted_since_it_was_listed_is_named_and_then_known_to_be_gone(acme: Company) -> None:
    score, band = await acme.field("Score", "double"), await acme.field("Band", "varchar")
    id_ = await acme.person()
    connector = acme.connect()
    await write(connector, id_, {score: 1})
    await acme.edit("delete", "field", score)

    first = await write(connector, id_, {score: 2, band: "warm"})
    second = await write(connector, id_, {score: 2, band: "warm"})

    assert [(End.REFUSED, (score,))] * 2 == [(one.end, one.fields) for one in (first, second)]
    assert 2 == acme.calls(PATCH)
    assert End.DONE is (await write(connector, id_, {band: "warm"})).end


async def test_a_missing_scope_is_no_refusal_of_one_person(acme: Company) -> None:
    people = [await acme.person() for _ in range(3)]
    acme.faults.withheld_scopes = ["contacts:full"]

    with pytest.raises(Refused, match="contacts:full"):
        await acme.connect("oauth").write([of(one, {"name": "Bob"}) for one in people])


# --- what is lost or too much -----------------------------------------------------------------------------------------
async def test_an_answer_that_is_lost_is_asked_for_again(acme: Company) -> None:
    people = [await acme.person() for _ in range(4)]
    lost = {f"PATCH /api/v2/persons/{one}": 2 for one in people[1:3]}

    def loses(call: str, _: bytes) -> bool:
        lost[call] = lost.get(call, 0) - 1
        return lost[call] >= 0

    acme.front.loses = loses

    assert [End.DONE] * 4 == await ends(acme.connect(), [of(one, {"name": "Bob"}) for one in people])
    assert {"1": 1, "2": 3, "3": 3, "4": 1} == acme.writes


async def test_who_cannot_be_written_at_all_stops_nobody_else(acme: Company) -> None:
    people = [await acme.person() for _ in range(12)]
    acme.front.loses = lambda call, _: call.endswith(f"/{people[0]}")
    connector = acme.connect()

    outcomes = await connector.write([of(one, {"name": "Bob"}) for one in people])
    alone = await connector.write([of(people[0], {"name": "Bob"})])

    assert [End.AGAIN, *[End.DONE] * 11] == [one.end for one in outcomes]
    assert [End.AGAIN] == [one.end for one in alone]


async def test_a_pipedrive_that_answers_nothing_is_not_asked_for_long(acme: Company) -> None:
    people = [await acme.person() for _ in range(40)]
    acme.front.loses = lambda call, _: call.startswith("PATCH")

    with pytest.raises(Unreachable):
        await acme.connect().write([of(one, {"name": "Bob"}) for one in people])

    assert acme.calls(PATCH) < 40


async def test_when_the_days_tokens_end_what_was_done_is_told_and_the_rest_is_for_later(acme: Company) -> None:
    people = [await acme.person() for _ in range(30)]
    acme.faults.daily_tokens = 60
    connector = acme.connect()
    writes = [of(one, {"name": "Bob"}) for one in people]

    outcomes = await ends(connector, writes)

    done = [one for one, end in zip(people, outcomes, strict=True) if end is End.DONE]
    assert (12, 18) == (outcomes.count(End.DONE), outcomes.count(End.AGAIN))
    assert set(done) == set(acme.writes)
    assert acme.calls(PATCH) < 30
    with pytest.raises(Busy, match="tokens of the day"):
        await connector.write(writes)


async def test_when_our_own_budget_ends_it_is_the_same(acme: Company) -> None:
    people = [await acme.person() for _ in range(20)]
    acme.purse.most = 50
    connector = acme.connect()
    writes = [of(one, {"name": "Bob"}) for one in people]

    outcomes = await ends(connector, writes)

    assert (10, 10) == (outcomes.count(End.DONE), outcomes.count(End.AGAIN))
    with pytest.raises(BudgetSpent):
        await connector.write(writes)


async def test_a_short_burst_in_the_midst_of_many_is_waited_for(acme: Company) -> None:
    people = [await acme.person() for _ in range(20)]
    acme.faults.busy_next, acme.faults.busy_reset_s = 5, 0

    assert [End.DONE] * 20 == await ends(acme.connect(), [of(one, {"name": "Bob"}) for one in people])


async def test_a_token_that_dies_stops_all(acme: Company) -> None:
    people = [await acme.person() for _ in range(3)]

    with pytest.raises(SignInRefused):
        await acme.connect(keys={"api_token": "0" * 40}).write([of(one, {"name": "Bob"}) for one in people])


async def test_a_write_that_is_cut_off_leaves_no_calls_behind(acme: Company) -> None:
    people = [await acme.person() for _ in range(30)]
    acme.faults.delay_s = 0.05
    task = asyncio.create_task(acme.connect().write([of(one, {"name": "Bob"}) for one in people]))
    await asyncio.sleep(0.08)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.1)
    before = acme.calls(PATCH)
    await asyncio.sleep(0.1)

    assert before == acme.calls(PATCH) < 30


def test_a_person_costs_five_tokens(before: Front) -> None:
    connector = Company(before, Http()).connect()

    assert (0, 5, 250) == (connector.cost(0), connector.cost(1), connector.cost(connector.batch))


# --- creating ---------------------------------------------------------------------------------------------------------
def new(email: str, name: str | None = None, **values: Value) -> NewPerson:
    return NewPerson(PERSON, email, name, values)


async def test_who_is_made_has_a_name_an_address_and_what_is_known_of_them(acme: Company) -> None:
    score = await acme.field("Score", "double")
    people = [new("ann@example.com", "Ann Lee", **{score: 5}), new("bob@example.com")]

    made = await acme.connect().create(people)

    assert [End.DONE] * 2 == [one.end for one in made]
    ann, bob = (acme.shown(one.id or "") for one in made)
    assert ("Ann Lee", "ann@example.com", {score: 5}) == (ann.name, ann.email, ann.custom)
    assert ("bob@example.com", "bob@example.com") == (bob.name, bob.email)
    assert {score: 5} == made[0].kept


@pytest.mark.parametrize(("said", "kept"), [("subscribed", "no_consent"), ("unsubscribed", "unsubscribed")])
async def test_nobody_is_subscribed_by_being_made(acme: Company, said: str, kept: str) -> None:
    [made] = await acme.connect().create([new("ann@example.com", marketing_status=said)])

    assert (End.DONE, {"marketing_status": kept}) == (made.end, made.kept)


async def test_who_was_made_though_the_answer_was_lost_is_known_all_the_same(acme: Company) -> None:
    await acme.person("old@example.com")
    acme.faults.search_lag_s = 60
    acme.front.loses = lambda call, body: call == POST and b"Bob@" in body

    made = await acme.connect().create([new("ann@example.com"), new("Bob@example.com"), new("cid@example.com")])

    assert [End.DONE] * 3 == [one.end for one in made]
    assert ["ann@example.com", "Bob@example.com", "cid@example.com"] == [acme.shown(one.id or "").email for one in made]
    assert 4 == acme.crm.state()["records"]["persons"]
    assert 3 == acme.calls(POST)


async def test_who_was_not_made_is_for_later(acme: Company) -> None:
    acme.faults.unavailable_next = 1
    connector = acme.connect()

    assert [End.AGAIN] == [one.end for one in await connector.create([new("ann@example.com")])]
    assert 0 == acme.crm.state()["records"]["persons"]
    acme.faults.daily_exhausted = True
    with pytest.raises(Busy):
        await connector.create([new("ann@example.com")])


async def test_who_cannot_be_made_names_the_field(acme: Company) -> None:
    band = await acme.field("Band", "varchar")
    choice = await acme.field("Choice", "enum", "Yes")
    people = [new("ann@example.com", **{band: "a" * 300}), new("bob@example.com", **{choice: "No"}),
              new("cid@example.com", "Cid")]  # fmt: skip

    made = await acme.connect().create(people)

    assert [(End.REFUSED, (band,)), (End.REFUSED, (choice,)), (End.DONE, ())] == [(one.end, one.fields) for one in made]
    assert 1 == acme.crm.state()["records"]["persons"]


async def test_what_is_sent_is_only_what_is_meant(acme: Company) -> None:
    score = await acme.field("Score", "double")
    id_ = await acme.person("ann@example.com")
    sent: list[Json] = []

    def look(call: str, body: bytes) -> bool:
        if call.startswith("PATCH"):
            sent.append(orjson.loads(body))
        return False

    acme.front.loses = look
    await write(acme.connect(), id_, {score: 5, "marketing_status": "unsubscribed"})

    assert [{"marketing_status": "unsubscribed", "custom_fields": {score: 5}}] == sent
