"""Reading Pipedrive's persons and activities, none of whose changes may be missed: against the stand-in, over HTTP."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app import clock
from app.connectors.faults import CursorLost
from app.connectors.http import Http
from app.connectors.shapes import Connector, Key, Record, Value
from app.sandbox.people import people
from tests.connectors.pipedrive_world import (
    PERSON,
    Company,
    Front,
    Json,
    all_activities,
    all_changes,
    ids,
    records,
)

LIST = "GET /api/v2/persons"


async def the_one(connector: Connector, id_: str, *fields: str) -> Record:
    [record] = await connector.fetch(PERSON, [id_], fields)
    return record


# --- values -----------------------------------------------------------------------------------------------------------
async def test_a_person_is_read_with_all_addresses_the_primary_one_first(acme: Company) -> None:
    emails = [{"value": "a@example.com"}, {"value": "Ann@Example.com", "primary": True}, {"value": ""}]
    id_ = str((await acme.edit("create", PERSON, name="Ann Lee", emails=emails))["id"])

    ann = await the_one(acme.connect(), id_, "email", "phone", "name", "first_name", "last_name")

    assert (Key(PERSON, id_), ("Ann@Example.com", "a@example.com"), "Ann Lee") == (
        ann.key,
        ann.addresses,
        ann.values["name"],
    )
    assert ("Ann@Example.com", None, "Ann Lee", "Ann", "Lee") == tuple(ann.values.values())
    assert datetime.fromtimestamp(acme.shown(id_).updated, UTC) == ann.modified_at
    assert (None, False, None) == (ann.by_us, ann.is_gone, ann.successor)


@pytest.mark.parametrize(
    ("type_", "raw", "value"),
    [("double", 42.5, 42.5), ("double", 0, 0), ("varchar", "a b", "a b"), ("text", "long", "long"),
     ("date", "2026-10-01", "2026-10-01"), ("phone", "+1 202 555 0143", "+1 202 555 0143"),
     ("monetary", {"value": 5, "currency": "EUR"}, 5), ("enum", "Yes", "Yes"), ("set", ["Yes", "No"], ["No", "Yes"])],
)  # fmt: skip
async def test_a_custom_field_is_read_by_its_type(acme: Company, type_: str, raw: Json, value: Json) -> None:
    options = ("Yes", "No") if type_ in ("enum", "set") else ()
    field = await acme.field("Field", type_, *options)
    if type_ == "enum":
        raw = acme.option(field, raw)
    elif type_ == "set":
        raw = [acme.option(field, one) for one in raw]
    id_ = await acme.person(custom_fields={field: raw})

    assert {field: value} == (await the_one(acme.connect(), id_, field)).values


@pytest.mark.parametrize("omits", [False, True])
async def test_a_field_that_is_unset_is_none_whether_it_is_shown_or_not(acme: Company, omits: bool) -> None:
    fields = [await acme.field("A", "double"), await acme.field("B", "enum", "Yes"), await acme.field("C", "set", "x")]
    id_ = await acme.person()
    acme.faults.omit_unset_fields = omits

    assert dict.fromkeys(fields) == (await the_one(acme.connect(), id_, *fields)).values


@pytest.mark.parametrize("omits", [False, True])
async def test_a_field_that_was_deleted_is_no_field_that_is_unset(acme: Company, omits: bool) -> None:
    acme.faults.omit_unset_fields = omits
    out, kept = await acme.field("Opt-out", "enum", "Yes", "No"), await acme.field("Kept", "double")
    id_ = await acme.person("ann@example.com", custom_fields={out: acme.option(out, "Yes")})
    connector = acme.connect()
    assert {out: "Yes", kept: None} == (await the_one(connector, id_, out, kept)).values

    await acme.edit("delete", "field", out)

    assert {kept: None} == (await the_one(connector, id_, out, kept)).values
    assert [{kept: None}] == [one.values for one in records(await all_changes(connector, [out, kept]))]
    assert [{kept: None}] == [one.values for one in (await connector.everybody(PERSON, None, [out, kept])).records]
    assert [{kept: None}] == [one.values for one in await connector.find(PERSON, ["ann@example.com"], [out, kept])]


async def test_an_option_that_was_just_made_is_read_by_its_label(acme: Company) -> None:
    field = await acme.field("Industry", "enum", "Shoes")
    id_ = await acme.person(custom_fields={field: acme.option(field, "Shoes")})
    connector = acme.connect()
    assert {field: "Shoes"} == (await the_one(connector, id_, field)).values

    options = acme.crm.company.fields[PERSON][field].options
    assert options is not None
    options[acme.crm.company.next_id("option")] = "Hats"
    await acme.change(id_, custom_fields={field: acme.option(field, "Hats")})

    assert {field: "Hats"} == (await the_one(connector, id_, field)).values


async def test_labels_are_read_by_their_names(acme: Company) -> None:
    id_ = await acme.person(label_ids=[2, 1])

    assert {"label_ids": ["Label 1", "Label 2"]} == (await the_one(acme.connect(), id_, "label_ids")).values


async def test_the_marketing_status_is_read_where_there_is_one_and_only_if_it_is_mapped(acme: Company) -> None:
    id_ = await acme.person("ann@example.com", marketing_status="bounced")
    connector = acme.connect()

    assert {"marketing_status": "bounced"} == (await the_one(connector, id_, "marketing_status")).values
    acme.faults.without_campaigns = True
    assert {} == (await the_one(connector, id_, "marketing_status")).values
    await connector.fetch(PERSON, [id_], ["email"])
    assert [True, True, False] == ["include_fields" in asked for path, asked in acme.front.queries if "persons" in path]


@pytest.mark.parametrize("count", [15, 16])
async def test_more_fields_than_can_be_named_come_all_the_same(acme: Company, count: int) -> None:
    fields = [await acme.field(f"Score {at}", "double") for at in range(count)]
    id_ = await acme.person(custom_fields={field: at for at, field in enumerate(fields)})

    assert list(range(count)) == list((await the_one(acme.connect(), id_, *fields)).values.values())
    [asked] = [query for path, query in acme.front.queries if path == "/api/v2/persons"]
    assert (count <= 15) == ("custom_fields" in asked)


# --- changes ----------------------------------------------------------------------------------------------------------
async def test_the_first_walk_sees_everybody_and_an_idle_look_is_one_call(acme: Company) -> None:
    acme.crm.fill(people(1_203))
    connector = acme.connect()

    pages = await all_changes(connector, ["email"])

    assert [500, 500, 203] == [len(page.records) for page in pages]
    assert 1_203 == len(set(ids(pages)))
    cursor = pages[-1].cursor
    for seconds in (1, 30, 61, 300):
        acme.later(seconds)
        before = acme.calls(LIST)
        page = await connector.changes(PERSON, cursor, ["email"])
        assert (True, 1) == (page.is_last, acme.calls(LIST) - before)
        cursor = page.cursor


async def test_many_who_share_one_second_are_all_seen_and_then_no_more(acme: Company) -> None:
    acme.crm.clock.hold()
    acme.crm.fill(people(1_201))
    for person in acme.crm.company.persons.values():
        person.updated = acme.crm.company.now()
        acme.crm.company.keep(person, person.emails)
    connector = acme.connect()

    pages = await all_changes(connector)
    assert 1_201 == len(set(ids(pages)))

    # Somebody is changed in the same second.
    await acme.change("7", name="Renamed")
    assert "7" in ids(await all_changes(connector, cursor=pages[-1].cursor))
    acme.crm.clock.release()
    cursor = pages[-1].cursor
    for _ in range(4):
        acme.later(61)
        pages = await all_changes(connector, cursor=cursor)
        cursor = pages[-1].cursor
    assert [0] == [len(page.records) for page in pages]
    await acme.change("8", name="Renamed")
    assert ["8"] == ids(await all_changes(connector, cursor=cursor))


async def test_who_is_changed_while_the_pages_are_walked_is_seen_as_they_are_then(acme: Company) -> None:
    acme.front.most_rows = 2
    people_ = [await acme.person() for _ in range(7)]
    connector = acme.connect()

    page = await connector.changes(PERSON, None, ["name"])
    seen = {one.key.id: one.values["name"] for one in page.records}
    while not page.is_last:
        if len(seen) < 7:
            acme.later(1)
            for id_ in (people_[0], people_[-1]):
                await acme.change(id_, name=f"Name {len(seen)}")
        page = await connector.changes(PERSON, page.cursor, ["name"])
        seen |= {one.key.id: one.values["name"] for one in page.records}

    assert {id_: acme.shown(id_).name for id_ in people_} == seen


async def test_what_shows_late_is_seen_a_minute_later(acme: Company) -> None:
    late, other = await acme.person(), await acme.person()
    acme.later(600)
    connector = acme.connect()
    cursor = (await all_changes(connector))[-1].cursor
    await acme.change(other, name="Newest")
    cursor = (await all_changes(connector, cursor=cursor))[-1].cursor

    # It was done before the newest change that was seen.
    await acme.change(late, name="Late")
    acme.backdate(late, 50)
    acme.later(20)
    cursor = (await all_changes(connector, cursor=cursor))[-1].cursor
    acme.later(45)

    assert late in ids(await all_changes(connector, cursor=cursor))


async def test_a_walk_goes_on_from_any_page_in_another_process(acme: Company) -> None:
    acme.front.most_rows = 2
    for _ in range(7):
        await acme.person()
        acme.later(1)
    cursor = None
    seen = []
    for _ in range(4):
        page = await acme.connect().changes(PERSON, cursor, [])
        again = await acme.connect().changes(PERSON, cursor, [])
        assert ids([page]) == ids([again])
        seen += ids([page])
        cursor = page.cursor

    assert [str(at) for at in range(1, 8)] == seen
    assert page.is_last


async def test_a_cursor_of_pipedrives_that_ended_loses_nothing(acme: Company) -> None:
    acme.front.most_rows = 2
    for _ in range(9):
        await acme.person()
        acme.later(1)
    connector = acme.connect()
    acme.faults.cursor_lifetime_s = 30
    first = await connector.changes(PERSON, None, [])
    second = await connector.changes(PERSON, first.cursor, [])
    acme.later(60)

    rest = await all_changes(connector, cursor=second.cursor)

    assert {str(at) for at in range(1, 10)} == {*ids([first, second]), *ids(rest)}
    # It began where it was, not where the walk had begun.
    assert "1" not in ids(rest)


async def test_what_shows_late_is_seen_though_the_cursor_of_that_walk_ends(acme: Company) -> None:
    acme.front.most_rows = 2
    people_ = [await acme.person()]
    for _ in range(7):
        acme.later(5)
        people_.append(await acme.person())
    connector = acme.connect()
    cursor = (await all_changes(connector))[-1].cursor
    await acme.change(people_[-2], name="Late")
    acme.backdate(people_[-2], 12)
    acme.later(61)
    acme.faults.cursor_lifetime_s = 30
    page = await connector.changes(PERSON, cursor, [])
    acme.later(40)

    assert people_[-2] in ids([page, *await all_changes(connector, cursor=page.cursor)])


@pytest.mark.parametrize("cursor", ["", "{}x", "[]", '{"since": 5}', '{"other": "2026-10-01T09:15:00+00:00"}', "7"])
async def test_a_cursor_of_another_kind_is_lost(acme: Company, cursor: str) -> None:
    for look in (acme.connect().changes, acme.connect().everybody):
        with pytest.raises(CursorLost):
            await look(PERSON, cursor, [])


@pytest.mark.parametrize("shows", [False, True])
async def test_who_was_deleted_is_gone_if_lists_show_them_at_all(acme: Company, shows: bool) -> None:
    acme.faults.list_deleted = shows
    id_ = await acme.person("ann@example.com")
    connector = acme.connect()
    cursor = (await all_changes(connector))[-1].cursor
    await acme.edit("delete", PERSON, id_)

    changes = records(await all_changes(connector, ["email"], cursor))

    assert ([Record(Key(PERSON, id_), modified_at=changes[0].modified_at, is_gone=True)] if shows else []) == changes
    assert (await the_one(connector, id_, "email")).is_gone


class Walk:
    """Six persons, whoever edits them, and whoever walks through what changed, two on a page."""

    def __init__(self, acme: Company) -> None:
        acme.front.most_rows = 2
        self.acme = acme
        self.people: list[str] = []
        self.seen: dict[str, Value] = {}
        self._connector = acme.connect()
        self._cursors: list[str | None] = [None]
        self._edits = 0

    async def edit(self, at: int, late_s: int = 0) -> None:
        self._edits += 1
        await self.acme.change(self.people[at], name=f"Name {self._edits}")
        self.acme.backdate(self.people[at], late_s)

    async def wait(self, seconds: int) -> None:
        self.acme.later(seconds)

    async def look(self, pages: int = 1) -> bool:
        for _ in range(pages):
            page = await self._connector.changes(PERSON, self._cursors[-1], ["name"])
            self.seen.update({one.key.id: one.values["name"] for one in page.records})
            self._cursors.append(page.cursor)
        return page.is_last

    async def crash(self, pages: int) -> None:
        """What was not kept is done again."""
        self._cursors = self._cursors[: max(len(self._cursors) - pages, 1)]

    async def lose_cursor(self) -> None:
        self.acme.faults.cursor_lifetime_s = 0.001
        self.acme.later(2)
        await self.look()
        self.acme.faults.cursor_lifetime_s = 0.0

    async def to_the_end(self) -> None:
        for _ in range(2):
            self.acme.later(61)
            while not await self.look():
                pass


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("edit"), st.integers(0, 5), st.sampled_from([0, 0, 1, 20, 55])),
        st.tuples(st.just("wait"), st.sampled_from([0, 1, 2, 30, 61, 400])),
        st.tuples(st.just("look"), st.integers(1, 4)),
        st.tuples(st.just("crash"), st.integers(0, 3)),
        st.tuples(st.just("lose_cursor")),
    ),
    max_size=25,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
async def test_no_change_is_ever_passed_over(before: Front, steps: list[tuple[Json, ...]]) -> None:
    async with Http(private=True) as http:
        walk = Walk(Company(before, http))
        walk.people = [await walk.acme.person() for _ in range(6)]

        for step, *how in steps:
            await getattr(walk, step)(*how)
        await walk.to_the_end()

        assert {id_: walk.acme.shown(id_).name for id_ in walk.people} == walk.seen
    clock.shift(timedelta())


# --- everybody, and those who are asked for ---------------------------------------------------------------------------
async def test_everybody_is_walked_once_whatever_is_edited_meanwhile(acme: Company) -> None:
    acme.front.most_rows = 2
    people_ = [await acme.person() for _ in range(7)]
    page = await acme.connect().everybody(PERSON, None, [])
    seen = ids([page])
    while not page.is_last:
        await acme.change(people_[0], name=f"Name {len(seen)}")
        page = await acme.connect().everybody(PERSON, page.cursor, [])
        seen += ids([page])

    assert people_ == seen
    calls = acme.calls(LIST)
    assert ([], True) == (await acme.connect().everybody(PERSON, page.cursor, []))[::2]
    assert calls == acme.calls(LIST)


async def test_a_walk_through_everybody_whose_cursor_ended_begins_again(acme: Company) -> None:
    acme.front.most_rows = 1
    await acme.person()
    await acme.person()
    acme.faults.cursor_lifetime_s = 30
    page = await acme.connect().everybody(PERSON, None, [])
    acme.later(60)

    with pytest.raises(CursorLost):
        await acme.connect().everybody(PERSON, page.cursor, [])


@pytest.mark.parametrize(("most_rows", "calls"), [(None, 3), (40, 7)])
async def test_who_is_asked_for_and_not_there_is_gone(acme: Company, most_rows: int | None, calls: int) -> None:
    acme.front.most_rows = most_rows
    acme.crm.fill(people(230))
    await acme.edit("delete", PERSON, 5)
    asked = [*(str(at) for at in range(1, 231)), "999", "no number", "7", "-1"]

    found = await acme.connect().fetch(PERSON, asked, ["email"])

    assert list(dict.fromkeys(asked)) == [one.key.id for one in found]
    assert {"5", "999", "no number", "-1"} == {one.key.id for one in found if one.is_gone}
    assert calls == acme.calls(LIST)
    assert [] == await acme.connect().fetch(PERSON, [], ["email"])


async def test_who_has_an_address_is_found_with_whole_values_whose_primary_it_is_first(acme: Company) -> None:
    score = await acme.field("Score", "double")
    second = await acme.person("bob@example.com", "ann@example.com", custom_fields={score: 1})
    first = await acme.person("Ann@Example.com", custom_fields={score: 2})
    duplicate = await acme.person("ann@example.com", custom_fields={score: 3})
    await acme.person("joann@example.com")
    await acme.person("ann@example.com.au")

    found = await acme.connect().find(PERSON, ["ANN@example.com", "", "nobody@example.com"], [score])

    assert [(first, 2), (duplicate, 3), (second, 1)] == [(one.key.id, one.values[score]) for one in found]
    assert 2 == acme.calls("GET /api/v2/persons/search")


async def test_who_moved_to_another_address_is_not_found_by_the_old_one(acme: Company) -> None:
    id_ = await acme.person("ann@example.com")
    connector = acme.connect()
    assert 1 == len(await connector.find(PERSON, ["ann@example.com"], []))
    await acme.change(id_, emails=[{"value": "ann@example.org"}])

    assert [] == await connector.find(PERSON, ["ann@example.com"], [])
    assert [] == await connector.find(PERSON, ["\ud800@example.com", "x"], [])


# --- activities -------------------------------------------------------------------------------------------------------
async def test_an_activity_that_is_done_is_all_its_participants(acme: Company) -> None:
    ann, bob = await acme.person(), await acme.person()
    made = await acme.edit(
        "create", "activity", subject="Pricing", type="call", done=True, duration="00:30", due_date="2026-10-01",
        participants=[{"person_id": int(bob)}, {"person_id": int(ann), "primary": True}],
    )  # fmt: skip

    [page] = await all_activities(acme.connect())

    [call] = page.activities
    assert (str(made["id"]), "call") == (call.id, call.type)
    assert (Key(PERSON, ann), Key(PERSON, bob)) == call.people
    assert datetime.fromisoformat(made["marked_as_done_time"]) == call.at
    assert {"subject": "Pricing", "status": "done", "duration_s": 1_800, "due_on": "2026-10-01"} == call.properties


async def test_an_activity_that_is_undone_retyped_or_deleted_says_so(acme: Company) -> None:
    ann = await acme.person()
    with_ann = [{"person_id": int(ann)}]
    made = await acme.edit(
        "create", "activity", type="call", done=True, due_date="2026-10-01", due_time="15:00:30", participants=with_ann
    )
    connector = acme.connect()
    pages = await all_activities(connector)

    async def now() -> tuple[str, tuple[Key, ...], datetime]:
        acme.later(61)
        [found] = [one for page in await all_activities(connector, pages[-1].cursor) for one in page.activities]
        return found.type, found.people, found.at

    await acme.edit("change", "activity", made["id"], type="meeting")
    assert ("meeting", (Key(PERSON, ann),)) == (await now())[:2]
    await acme.edit("change", "activity", made["id"], done=False)
    assert ("meeting", (), datetime(2026, 10, 1, 15, 0, 30, tzinfo=UTC)) == await now()
    await acme.edit("change", "activity", made["id"], done=True)
    assert ("meeting", (Key(PERSON, ann),)) == (await now())[:2]
    acme.faults.list_deleted = True
    await acme.edit("delete", "activity", made["id"])
    assert ("meeting", ()) == (await now())[:2]


async def test_activities_are_walked_as_persons_are(acme: Company) -> None:
    acme.front.most_rows = 3
    for _ in range(8):
        await acme.edit("create", "activity", type="task", done=True)

    pages = await all_activities(acme.connect())

    assert [str(at) for at in range(1, 9)] == [one.id for page in pages for one in page.activities]
    assert [False, False, True] == [page.is_last for page in pages]
