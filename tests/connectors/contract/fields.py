"""Fields: described, hidden, read only, made once, or a recipe for making them."""

import pytest

from app.connectors.shapes import CrmField, End, Key, Kind, Value, WantedField, Write
from app.sync.mapping import Pair, Policy, Way, to_there
from tests.connectors.contract.place import ANN, Feed, Place, fetched, scenario
from tests.connectors.contract.props import OPTIONS, default_pairs, fields_of


@scenario
async def fields_are_described(place: Place) -> None:
    crm = place.crm
    own = await fields_of(crm)
    connector = place.connector()

    known = {one.name: one for one in await connector.describe(crm.object)}

    assert dict(crm.kinds) == {name: known[name].kind for name in crm.kinds}
    assert {name: (kind, True, True) for kind, name in own.items()} == {
        name: (known[name].kind, known[name].is_writable, known[name].is_custom) for name in own.values()
    }
    assert all(one.label for one in known.values())
    assert not known[crm.read_only].is_writable
    assert not known[crm.address].is_custom
    assert OPTIONS == known[own[Kind.CHOICE]].options
    assert crm.longest_text == known[own[Kind.TEXT]].max_length
    calls = place.calls
    await connector.describe(crm.object)
    assert calls == place.calls  # remembered for a while
    crm.later(3_600)
    await connector.describe(crm.object)
    assert calls < place.calls


@scenario
async def a_field_that_is_hidden_is_not_there(place: Place) -> None:
    crm = place.crm
    pairs = await default_pairs(place.connector(), crm.object)
    hidden = pairs["opted_out"].there
    id_ = await crm.add(ANN, note="note")
    if not crm.hide(hidden):
        pytest.skip("no field can be hidden there")
    for connector in (place.connector(), place.connectors[0]):
        feed = Feed(place, [crm.note, hidden])
        await feed.look(connector)
        assert {crm.note: "note"} == feed.last[id_].values
        assert {crm.note: "note"} == (await fetched(connector, place.key(id_), [crm.note, hidden])).values
    connector = place.connector()
    known = await connector.describe(crm.object)
    assert hidden not in {one.name for one in known}
    assert hidden not in {one.there for one in connector.defaults(crm.object, known)}
    checked = await connector.check()
    assert checked.account is not None


@scenario
async def a_field_that_may_not_be_written_says_so(place: Place) -> None:
    crm = place.crm
    there = (await default_pairs(place.connector(), crm.object))["opted_out"].there
    if not crm.lock(there):
        pytest.skip("no field is read only there")
    connector, key = place.connector(), place.key(await crm.add(ANN))
    known = await connector.describe(crm.object)

    assert [False] == [one.is_writable for one in known if one.name == there]
    assert ["in"] == [one.way for one in connector.defaults(crm.object, known) if one.there == there]
    for one in (connector, place.connectors[0]):
        [refused, done] = await one.write([Write(key, {there: True}), Write(key, {crm.note: "new"})])
        assert (End.REFUSED, (there,), End.DONE) == (refused.end, refused.fields, done.end)


WANTED = (
    (Kind.NUMBER, "score_engagement", "Lead Score: Engagement", -1000),
    (Kind.TEXT, "band_engagement", "Lead Band: Engagement", "hot"),
    (Kind.BOOLEAN, "email_dead", "Email Is Dead", True),
    (Kind.INSTANT, "dead_at", "Email Dead At", "2026-02-28T23:59:59Z"),
    (Kind.DAY, "dead_on", "Email Dead On", "2026-02-28"),
    (Kind.CHOICE, "temperature", "Temperature", "Warm"),
)


def wanted_fields(object_: str) -> list[WantedField]:
    return [
        WantedField(
            object_, name, label, kind, "Written by Leadtally.", OPTIONS if kind is Kind.CHOICE else (),
            40 if kind is Kind.TEXT else None, 0 if kind is Kind.NUMBER else None,
        )
        for kind, name, label, _ in WANTED
    ]  # fmt: skip


@scenario
async def fields_that_are_missing_are_made_once(place: Place) -> None:
    crm, connector = place.crm, place.connector()
    await connector.describe(crm.object)
    wanted = [one for object_ in connector.objects for one in wanted_fields(object_)]
    before = crm.count("fields")

    made = await connector.ensure(wanted)

    assert wanted == [one.wanted for one in made]
    assert [(False, None)] * len(wanted) == [(one.was_there, one.recipe) for one in made]
    assert before + len(wanted) == crm.count("fields")
    for again in (connector, place.connector()):
        same = await again.ensure(wanted)
        assert [(True, one.field) for one in made] == [(one.was_there, one.field) for one in same]
    assert before + len(wanted) == crm.count("fields")
    for object_ in connector.objects:
        key = Key(object_, await crm.add(f"{object_}@example.com".lower(), of=object_))
        fields = {one.wanted.kind: one.field for one in made if one.wanted.object == object_}
        known = {one.name: one for one in await connector.describe(object_)}
        values = {one.name: _fit(one, value) for kind, _, _, value in WANTED if (one := fields[kind]) is not None}
        assert [known[name] for name in values] == [one for one in fields.values() if one is not None]
        [outcome] = await connector.write([Write(key, values)])
        assert (End.DONE, values) == (outcome.end, (await fetched(connector, key, list(values))).values), outcome


def _fit(there: CrmField, value: Value) -> Value:
    """The value for the kind of field that the CRM has for it."""
    pair = Pair("", "properties.any", there.name, Way.OUT, Policy.HERE, there.kind, there.places, there.max_length)
    assert there.is_writable
    return to_there(pair, value)


@scenario
async def fields_that_cannot_be_made_come_with_a_recipe(place: Place) -> None:
    crm, connector = place.crm, place.connector()
    wanted = wanted_fields(crm.object)
    there = await connector.ensure(wanted[:1])
    crm.forbid_fields()
    before = crm.count("fields")

    made = await connector.ensure(wanted)

    assert ([True], there[0].field) == ([one.was_there for one in made[:1]], made[0].field)
    assert [None] * (len(wanted) - 1) == [one.field for one in made[1:]]
    assert all(one.recipe is not None and one.wanted.label in one.recipe for one in made[1:])
    assert before == crm.count("fields")
    assert [] == list(await connector.ensure([]))
