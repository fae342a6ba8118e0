from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given as examples
from hypothesis import settings
from hypothesis import strategies as st

from app import clock
from app.connectors.shapes import CrmField, DefaultPair, Kind, WantedField
from app.errors import Conflict, InvalidInput, NotFound
from app.sync import connections, given, removing, setting_up, signing_in
from app.sync.connections import CrmConnection, Status
from app.sync.given import Edit, New
from app.sync.mapping import Pair, Policy, Way
from app.sync.options import Options
from tests.engine.worlds import draft
from tests.sync.provider import ToyProvider
from tests.sync.toy import FIELDS, PERSON, Toy
from tests.sync.worlds import PAIRS, VAULT, World, opened, pair

DESCRIBED = {PERSON: FIELDS}
MODELS = ("fit",)
BOUNCED = WantedField(PERSON, "bounced", "Bounced", Kind.BOOLEAN, "Whether mail to the address bounces.")


async def made(world: World, name: str = "toys", **more: Any) -> CrmConnection:  # Any: as in New
    new = New(**{"kind": "toy", "name": name, "flow": None, "credentials": {"token": "s3cret"}, **more})
    async with world.database.batch() as db:
        return await connections.create(db, VAULT, new, {"toy": ToyProvider()}, clock.now(), private=False)


async def changed(world: World, held: CrmConnection, edit: Edit) -> CrmConnection:
    async with world.database.batch() as db:
        return await connections.change(db, VAULT, held.id, edit, {"toy": ToyProvider()}, clock.now(), private=False)


# --- what there is ----------------------------------------------------------------------------------------------------


async def test_a_connection_is_made_with_the_best_flow_and_waits_for_a_test(world: World) -> None:
    held = await made(world)

    assert ("toy", "toys", "token", Status.NEW) == (held.kind, held.name, held.flow, held.status(world.now))
    assert {"token": "s3cret"} == connections.credentials(VAULT, held)
    assert len(connections.hook_secret(VAULT, held)) >= 32
    assert connections.hook_secret(VAULT, held) != connections.hook_secret(VAULT, await made(world, "others"))
    with pytest.raises(Conflict):
        await made(world)


@pytest.mark.parametrize(
    ("more", "where"),
    [
        ({"kind": "pigeon"}, ["/kind"]),
        ({"flow": "semaphore"}, ["/flow"]),
        ({"credentials": {}}, ["/credentials/token"]),
        ({"credentials": {"token": "t", "a/b~c": "t"}}, ["/credentials/a~1b~0c"]),
        ({"flow": "browser", "base_url": "http://x.com"}, [
            "/credentials/client_id", "/credentials/client_secret", "/credentials/token", "/base_url",
        ]),
        ({"options": Options(scores=("fit", "none"))}, ["/options/scores/0", "/options/scores/1"]),
        ({"options": Options(create_object="Deal")}, ["/options/create_object"]),
        ({"options": Options(choices={"opt_out": [1]})}, ["/options/choices"]),
    ],
)  # fmt: skip
async def test_all_that_is_wrong_is_said_at_once(world: World, more: dict[str, Any], where: list[str]) -> None:
    with pytest.raises(InvalidInput) as refused:
        await made(world, **more)

    assert where == [fault.pointer for fault in refused.value.faults]


@pytest.mark.parametrize(
    ("url", "private", "is_allowed"),
    [
        ("https://acme.my.salesforce.com", False, True),
        ("https://acme.example.com:8443/api/", False, True),
        ("http://acme.example.com", False, False),
        ("https://127.0.0.1", False, False),
        ("https://[::1]/x", False, False),
        ("https://10.1.2.3:8100/salesforce", False, False),
        ("https://169.254.169.254", False, False),
        ("https://[64:ff9b::a00:1]", False, False),
        ("https://2130706433", False, False),
        ("https://localhost:8100", False, False),
        ("https://crm.internal", False, False),
        ("https://crm.internal.", False, False),
        ("http://127.0.0.1:8100/salesforce", True, True),
        ("https://crm.internal", True, True),
        ("ftp://example.com", True, False),
        ("https://ada:s3cret@example.com", False, False),
        ("https://example.com/?x=1", False, False),
        ("https://example.com:99999", False, False),
        ("https:///x", False, False),
    ],
)
def test_only_what_lies_in_the_open_internet_may_be_called(url: str, private: bool, is_allowed: bool) -> None:
    fault = given.address_fault(url, private=private)

    assert is_allowed == (fault is None)
    assert "s3cret" not in (fault or "")


@settings(max_examples=100, deadline=None)
@examples(st.text() | st.from_regex(r"https?://[\[\]:0-9a-f.@%/]*"), st.booleans())
def test_any_text_is_an_address_or_is_not(url: str, private: bool) -> None:
    given.address_fault(url, private=private)


async def test_what_a_connection_does_just_now_is_one_word(world: World) -> None:
    held = replace(await made(world), problem=None)
    later, problem = world.now + timedelta(hours=1), connections.Problem(code="c", what="w", mend="m", since="s")

    assert [Status.ACTIVE, Status.SILENT, Status.ACTIVE, Status.FAILING, Status.PAUSED] == [
        held.status(world.now),
        replace(held, silent_until=later).status(world.now),
        replace(held, silent_until=later).status(later),
        replace(held, silent_until=later, problem=problem).status(world.now),
        replace(held, paused_at=world.now, problem=problem).status(world.now),
    ]


async def test_a_problem_that_lasts_keeps_its_beginning(world: World) -> None:
    held = await made(world)

    async def since(code: str, after: timedelta) -> str:
        async with world.database.batch() as db:
            await connections.note_problem(db, held.id, code, "what", "mend", world.now + after)
            problem = (await connections.get(db, held.id)).problem
        assert problem is not None
        return problem["since"]

    first = await since("a", timedelta())
    assert first == await since("a", timedelta(hours=1))
    assert first != await since("b", timedelta(hours=1))


async def test_credentials_are_sent_nowhere_else_than_they_were_given_for(world: World) -> None:
    held = await made(world)
    await world.execute("INSERT INTO connection_grant (connection_id, sealed) SELECT id, 'x' FROM connection")

    for edit in (
        Edit(base_url="https://mallory.example.com"),
        Edit(clears_base_url=True),
        Edit(flow="browser"),
    ):
        with pytest.raises(InvalidInput) as refused:
            await changed(world, held, edit)
        assert "/credentials" == refused.value.faults[0].pointer
    assert 1 == await world.value("SELECT count(*) FROM connection_grant")

    moved = await changed(world, held, Edit(credentials={"token": "t"}, base_url="https://toys.example.com"))
    assert ("https://toys.example.com", {"token": "t"}) == (moved.base_url, connections.credentials(VAULT, moved))
    assert 0 == await world.value("SELECT count(*) FROM connection_grant")


@pytest.mark.parametrize(
    ("options", "is_compared", "is_silent"),
    [
        ({"creates": True}, True, True),
        ({"imports": False}, True, True),
        ({"scores": ()}, True, True),
        ({"pull_every_s": 10}, False, True),
        ({"budget": 5_000}, False, False),
        ({"creates": False}, False, True),
    ],
)
async def test_options_change_what_is_due(
    world: World, options: dict[str, Any], is_compared: bool, is_silent: bool
) -> None:
    held = await made(world)
    await world.execute("UPDATE connection SET silent_until = '2999-01-01'")

    after = await changed(world, held, Edit(options=options))

    assert is_compared == (after.reconcile_at is not None)
    assert is_silent == (after.silent_until is not None)
    assert replace(held.options, **options) == after.options
    assert after.options.seeks == await world.value("SELECT seeks FROM connection")


# --- what is mapped ---------------------------------------------------------------------------------------------------


class Suggesting(Toy):
    """Suggests what it is told to, and not what the toy does."""

    suggestions: tuple[DefaultPair, ...] = ()

    def defaults(self, object_: str, fields: Any) -> list[DefaultPair]:  # noqa: ARG002 # Any: as in the toy
        return [*self.suggestions]


async def test_by_default_is_mapped_what_the_crm_suggests(world: World, toy: Toy) -> None:
    at_work = await opened(world, toy)
    pairs = await setting_up.defaults(at_work)

    assert ["email", "name", "opted_out", "bounced_at"] == [one.here for one in pairs]
    assert [Way.IN, Way.IN, Way.BOTH, Way.BOTH] == [one.way for one in pairs]
    assert [Policy.THERE, Policy.NEWEST, Policy.RESTRICTIVE, Policy.RESTRICTIVE] == [one.policy for one in pairs]
    assert [Kind.TEXT, Kind.TEXT, Kind.BOOLEAN, Kind.INSTANT] == [one.kind for one in pairs]
    assert [] == setting_up.check(pairs, DESCRIBED, ())


async def test_fields_are_made_only_for_whoever_asks(world: World) -> None:
    toy = Suggesting()
    toy.suggestions = (
        DefaultPair(PERSON, "bounced", BOUNCED, "both"),
        DefaultPair(PERSON, "properties.number", "number", "both"),
        DefaultPair(PERSON, "properties.none", "none", "in"),
        DefaultPair(PERSON, "bounced_reason", "number", "out"),
    )
    at_work = await opened(world, toy)

    assert [("properties.number", Way.IN)] == [(one.here, one.way) for one in await setting_up.defaults(at_work)]
    assert "bounced" not in toy.fields
    with_it = await setting_up.defaults(at_work, make=True)
    assert [("bounced", Way.BOTH), ("properties.number", Way.IN)] == [(one.here, one.way) for one in with_it]
    assert toy.fields["bounced"].label == "Bounced"


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({}, None),
        ({"object": "Deal"}, "object: there is no object 'Deal'; there is person"),
        ({"there": "nowhere"}, "there: person has no field 'nowhere', or it is hidden from our user"),
        ({"there": "number"}, "way: 'number' cannot be written by our user"),
        ({"here": "opted_out"}, "there: 'industry' holds text; 'opted_out' needs boolean or choice"),
        ({"policy": Policy.RESTRICTIVE}, "policy: only a flag can be restrictive"),
        ({"here": "shoe_size"}, "here: there is no 'shoe_size' here; there is email, name, stage, tags"),
        ({"here": "properties."}, "here: say which property"),
        ({"here": "properties.a\0b"}, "here: say which property"),
        ({"here": "score.reach", "way": Way.OUT}, "here: there is no model 'reach'; there is fit"),
        ({"here": "band.reach", "way": Way.OUT}, "here: there is no model 'reach'"),
        ({"here": "band.fit", "way": Way.OUT}, None),
        ({"here": "band.fit", "way": Way.BOTH}, "way: 'band.fit' is said here alone"),
        ({"here": "score.fit", "way": Way.OUT}, "there: 'industry' holds text; 'score.fit' needs number"),
        ({"here": "name", "there": "full_name", "way": Way.OUT}, "way: 'name' is the CRM's to say"),
    ],
)
def test_what_cannot_be_mapped_is_said_with_why(said: Mapping[str, Any], fault: str | None) -> None:
    one = replace(pair("properties.industry", "industry"), **said)

    found = [f"{one.pointer} {one.detail}" for one in setting_up.check([PAIRS[0], one], DESCRIBED, MODELS)]

    if fault is None:
        assert [] == found
    else:
        name, _, detail = fault.partition(": ")
        assert 1 == len(found)
        assert found[0].startswith(f"/pairs/1/{name} {detail}")


def test_a_field_is_mapped_once_on_either_side() -> None:
    pairs = [
        pair("bounced_at", "bad_since"),
        pair("properties.a", "industry", "in"),
        pair("properties.b", "industry", "out"),
        pair("bounced", "out", "in"),
        pair("properties.c", "stage", "out"),
        pair("properties.c", "full_name", "out"),
    ]

    faults = setting_up.check(pairs, DESCRIBED, MODELS)

    assert ["/pairs/2/there", "/pairs/3/here"] == [fault.pointer for fault in faults]
    assert "pair 1 has this field" in faults[0].detail
    assert "pair 0 says this" in faults[1].detail


@pytest.mark.parametrize(
    ("here", "places", "field", "expected"),
    [
        ("properties.x", None, {"kind": Kind.NUMBER, "places": 2}, {"places": 2}),
        ("properties.x", 4, {"kind": Kind.NUMBER, "places": 2}, {"places": 2}),
        ("properties.x", 1, {"kind": Kind.NUMBER}, {"places": 1}),
        ("score.fit", None, {"kind": Kind.NUMBER, "places": 2}, {"places": None}),
        ("score.fit", 1, {"kind": Kind.NUMBER, "places": 2}, {"places": 1}),
        ("stage", None, {"kind": Kind.TEXT, "max_length": 20}, {"max_length": 20}),
        (
            "opted_out",
            None,
            {"kind": Kind.CHOICE, "options": ("Perhaps", "YES", "no")},
            {"yes": ("YES",), "no": ("no",)},
        ),
        ("stage", None, {"kind": Kind.CHOICE, "options": ("yes", "no")}, {"yes": (), "no": ()}),
    ],
)
def test_a_pair_learns_what_the_crm_says_of_its_field(
    here: str, places: int | None, field: dict[str, Any], expected: dict[str, Any]
) -> None:
    described = CrmField(**{"name": "x", "label": "X", "is_writable": True, **field})

    filled = setting_up.filled(pair(here, "x", kind=Kind.OTHER, places=places), described)

    assert field["kind"] == filled.kind
    assert expected == {name: getattr(filled, name) for name in expected}


async def test_saving_has_everybody_compared_and_frees_what_was_held_in_what_changed(world: World, toy: Toy) -> None:
    at_work = await opened(world, toy)
    held = '{"industry": {"until": null}, "stage": {"until": null}, "out": {"until": null}}'
    await world.execute(
        f"""
        INSERT INTO link (connection_id, object, record, held, seen_at, created_at)
        SELECT id, object, n::text, '{held}', now(), now()
        FROM connection, generate_series(1, 1005) n, unnest('{{person,other}}'::text[]) object
        """
    )
    pairs = [one for one in PAIRS if one.there != "industry"]
    pairs[-1] = replace(pairs[-1], way=Way.IN)

    kept = await setting_up.save(at_work, pairs, world.now)

    assert tuple(pairs) == kept
    [row] = await world.rows("SELECT options -> 'pairs' AS pairs, reconcile_at, updated_at FROM connection")
    assert (kept, world.now, world.now) == (
        tuple(Pair.from_json(one) for one in row["pairs"]), row["reconcile_at"], row["updated_at"],
    )  # fmt: skip
    assert [("other", {"industry", "stage", "out"}, 1005), ("person", {"out"}, 1005)] == [
        (row["object"], set(row["held"]), row["count"])
        for row in await world.rows("SELECT object, held, count(*) FROM link GROUP BY 1, 2 ORDER BY 1")
    ]


async def test_what_cannot_be_mapped_is_not_saved(world: World, toy: Toy) -> None:
    at_work = await opened(world, toy)
    async with world.database.batch() as db:
        await draft(db, "fit", [], world.now)

    with pytest.raises(InvalidInput) as refused:
        await setting_up.save(at_work, [*PAIRS, pair("score.fit", "number", "out")], world.now)
    assert ["/pairs/6/there"] == [fault.pointer for fault in refused.value.faults]

    toy.fields["number"] = toy.fields["number"]._replace(is_writable=True)
    await setting_up.save(at_work, [*PAIRS, pair("score.fit", "number", "out")], world.now)


async def test_what_is_added_leaves_what_somebody_mapped(world: World, toy: Toy) -> None:
    at_work = await opened(world, toy, pairs=PAIRS[:3])
    await world.execute("UPDATE connection SET reconcile_at = '2999-01-01'")

    await setting_up.add(at_work, [pair("properties.x", "out"), pair("email", "industry", "in")], world.now)
    assert 3 == await world.value("SELECT jsonb_array_length(options -> 'pairs') FROM connection")
    await setting_up.add(at_work, PAIRS, world.now)

    [row] = await world.rows("SELECT options -> 'pairs' AS pairs, reconcile_at FROM connection")
    assert (PAIRS, world.now) == (tuple(Pair.from_json(one) for one in row["pairs"]), row["reconcile_at"])


# --- removing ---------------------------------------------------------------------------------------------------------


FILL = """
    INSERT INTO contact (id, said_at, created_at, updated_at)
        SELECT gen_random_uuid(), '{}', now(), now() FROM generate_series(1, 1200);
    INSERT INTO identity (kind, value, contact_id)
        SELECT 'crm:' || c.id || ':person', row_number() OVER (), p.id FROM contact p, connection c;
    INSERT INTO link (connection_id, object, record, seen_at, created_at)
        SELECT c.id, 'person', n::text, now(), now() FROM connection c, generate_series(1, 2001) n;
    INSERT INTO crm_hint (connection_id, object, record, at) SELECT id, 'person', '1', now() FROM connection;
    INSERT INTO crm_activity (connection_id, id, digest, events) SELECT id, '1', '', '{}' FROM connection;
    INSERT INTO stranger (connection_id, digest, object, record) SELECT id, '', 'person', '1' FROM connection;
    INSERT INTO sync_spend (connection_id, hour, spent) SELECT id, now(), 1 FROM connection;
    INSERT INTO sync_run (connection_id, id, kind, began_at) SELECT id, id, 'pull', now() FROM connection;
    INSERT INTO sync_cursor (connection_id, feed, cursor, began_at, at)
        SELECT id, 'activities', '1', now(), now() FROM connection;
    INSERT INTO connection_grant (connection_id) SELECT id FROM connection;
    INSERT INTO own_secret (name, sealed) SELECT 'sign-in:' || id, '' FROM connection;
"""
TABLES = (
    "link", "outbox", "crm_hint", "crm_activity", "stranger", "sync_spend", "sync_run", "sync_cursor",
    "connection_grant",
)  # fmt: skip


async def left(world: World) -> dict[str, int]:
    """How many rows each connection has where, by table."""
    found = {table: await world.value(f"SELECT count(*) FROM {table}") for table in TABLES}
    found["identity"] = await world.value("SELECT count(*) FROM identity WHERE kind LIKE 'crm:%'")
    found["own_secret"] = await world.value("SELECT count(*) FROM own_secret WHERE name LIKE 'sign-in:%'")
    return found


async def test_all_that_was_known_for_a_connections_sake_goes_with_it(world: World) -> None:
    mine, other = await made(world), await made(world, "others")
    await world.execute(FILL)
    before = await left(world)
    assert all(before.values())

    await removing.remove(world.database, mine.id)

    assert {name: count // 2 for name, count in before.items()} == await left(world)
    assert other.id == await world.value("SELECT DISTINCT connection_id FROM link")
    assert 1_200 == await world.value("SELECT count(*) FROM contact")
    for gone in (mine.id, uuid4()):
        with pytest.raises(NotFound):
            await removing.remove(world.database, gone)


async def test_what_a_process_left_that_ended_meanwhile_is_removed_later(world: World) -> None:
    mine, other = await made(world), await made(world, "others")
    await world.execute(FILL)
    before = await left(world)
    await world.execute(f"DELETE FROM connection WHERE id = '{other.id}'")

    await removing.forget(world.database)

    # The link to sign in by ends by itself.
    assert {**{name: count // 2 for name, count in before.items()}, "own_secret": 2} == await left(world)
    assert mine.id == await world.value("SELECT DISTINCT connection_id FROM link")


# --- signing in with a browser ----------------------------------------------------------------------------------------


async def state_of(world: World, held: CrmConnection) -> str:
    url = await signing_in.begin(
        world.database, VAULT, held.id, "https://leads.example.com/back", {"toy": ToyProvider()}
    )
    return url.rpartition(" ")[2]


async def test_a_state_holds_once_and_for_ten_minutes(world: World) -> None:
    with_browser: dict[str, Any] = {"flow": "browser", "credentials": {"client_id": "c", "client_secret": "s"}}
    held, other = await made(world, **with_browser), await made(world, "others", **with_browser)
    state = await state_of(world, held)

    asked = await signing_in.use(world.database, VAULT, state)
    assert (held.id, "https://leads.example.com/back") == (asked.connection, asked.redirect_uri)
    assert 64 == len(asked.verifier)
    assert asked.verifier not in state

    first, second, third = await state_of(world, held), await state_of(world, held), await state_of(world, other)
    for wrong in (state, first, "", "x", "é", "\ud800", second[:-4], "x" * 100_000, VAULT.seal(b"[1]").decode()):
        with pytest.raises(signing_in.StateRefused):
            await signing_in.use(world.database, VAULT, wrong)
    await signing_in.use(world.database, VAULT, second)
    clock.shift(timedelta(minutes=11))
    with pytest.raises(signing_in.StateRefused):
        await signing_in.use(world.database, VAULT, third)
