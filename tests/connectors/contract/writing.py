"""Values of every kind, bad records among good ones, very many, and people who are new."""

from collections.abc import Sequence

from app.connectors.shapes import End, Key, Kind, NewPerson, Value, Write
from tests.connectors.contract.place import ANN, BOB, EVE, Feed, Place, fetched, scenario
from tests.connectors.contract.props import VALUES, fields_of


@scenario
async def values_of_every_kind_go_there_and_come_back(place: Place) -> None:
    crm = place.crm
    fields = await fields_of(crm)
    connector, key = place.connector(), place.key(await crm.add(ANN))
    assert {Kind.TEXT, Kind.NUMBER, Kind.CHOICE, Kind.DAY} <= fields.keys()

    for at in range(max(map(len, VALUES.values()))):
        values = {name: VALUES[kind][at % len(VALUES[kind])] for kind, name in fields.items()}
        [outcome] = await connector.write([Write(key, values)])

        assert (End.DONE, key.id) == (outcome.end, outcome.id), outcome
        assert values == {name: crm.sees(key.id, name) for name in values}
        assert values == (await fetched(connector, key, list(values))).values
        assert outcome.kept is None or values == outcome.kept


@scenario
async def a_bad_record_is_refused_alone(place: Place) -> None:
    crm, connector = place.crm, place.connector()
    ids = [await crm.add(f"{n}@example.com", note="old") for n in range(9)]
    await crm.delete(ids[3])
    writes = [Write(place.key(id_), {crm.note: f"new {n}"}) for n, id_ in enumerate(ids)]
    writes[1] = Write(place.key(ids[1]), {crm.note: f"{ANN} " + "x" * 70_000})
    writes[5] = Write(place.key(crm.unknown), {crm.note: "nobody"})
    expected = [End.DONE] * len(ids)
    expected[1], expected[3], expected[5] = End.REFUSED, End.GONE, End.GONE
    if crm.refuse(ids[6]):
        expected[6] = End.REFUSED
    if crm.hold_row(ids[7]):
        expected[7] = End.AGAIN

    outcomes = await connector.write(writes)

    assert expected == [one.end for one in outcomes], outcomes
    assert [one.key.id for one in writes] == [one.id for one in outcomes]
    for n, one in enumerate(outcomes):
        if one.end is End.DONE:
            assert f"new {n}" == crm.sees(ids[n], crm.note)
        elif one.end is End.REFUSED:
            assert (True, True) == (bool(one.code), bool(one.reason))
            assert "old" == crm.sees(ids[n], crm.note)
            assert [] == [said for said in (ANN, "xxxx") if said in f"{one.code} {one.reason}"]
    assert [crm.note] == list(outcomes[1].fields) or () == outcomes[1].fields


@scenario
async def a_value_of_another_kind_is_refused_alone(place: Place) -> None:
    crm = place.crm
    fields = await fields_of(crm, Kind.NUMBER, Kind.DAY, Kind.CHOICE, Kind.BOOLEAN)
    connector, ids = place.connector(), [await crm.add(f"{n}@example.com") for n in range(len(fields) + 2)]
    wrong = {Kind.NUMBER: "many", Kind.DAY: "someday", Kind.CHOICE: "Lukewarm", Kind.BOOLEAN: "perhaps"}
    writes = [
        Write(place.key(id_), {name: wrong[kind]}) for id_, (kind, name) in zip(ids, fields.items(), strict=False)
    ]
    writes += [Write(place.key(ids[-2]), {"no_such_field": 1}), Write(place.key(ids[-1]), {crm.note: "right"})]

    outcomes = await connector.write(writes)

    assert [End.REFUSED] * (len(ids) - 1) + [End.DONE] == [one.end for one in outcomes], outcomes
    assert "right" == crm.sees(ids[-1], crm.note)


@scenario
async def writes_set_what_they_name_and_nothing_else(place: Place) -> None:
    crm = place.crm
    fields = await fields_of(crm, Kind.TEXT, Kind.NUMBER)
    text, number = fields[Kind.TEXT], fields[Kind.NUMBER]
    connector, ids = place.connector(), [await crm.add(f"{n}@example.com", note="note") for n in range(4)]
    await connector.write([Write(place.key(id_), {text: "old", number: 1}) for id_ in ids])

    writes = [
        Write(place.key(ids[0]), {text: "new", number: 2}),
        Write(place.key(ids[1]), {number: 3, text: "new"}),
        Write(place.key(ids[2]), {number: None}),
        Write(place.key(ids[3]), {text: None}),
    ]
    for _ in range(2):  # twice is harmless
        assert [End.DONE] * 4 == [one.end for one in await connector.write(writes)]
        assert [("new", 2), ("new", 3), ("old", None), (None, 1)] == [
            (crm.sees(id_, text), crm.sees(id_, number)) for id_ in ids
        ]
    assert ["note"] * 4 == [crm.sees(id_, crm.note) for id_ in ids]
    assert [] == list(await connector.write([]))


@scenario
async def records_of_several_objects_are_written_at_once(place: Place) -> None:
    crm, connector = place.crm, place.connector()
    keys = [
        Key(object_, await crm.add(f"{n}.{object_}@example.com".lower(), of=object_))
        for n in range(3)
        for object_ in connector.objects
    ]

    outcomes = await connector.write([Write(key, {crm.note: f"new {n}"}) for n, key in enumerate(keys)])

    assert [(End.DONE, key.id) for key in keys] == [(one.end, one.id) for one in outcomes]
    assert [f"new {n}" for n in range(len(keys))] == [crm.sees(key.id, crm.note) for key in keys]


@scenario
async def very_many_are_written_in_few_calls(place: Place) -> None:
    crm = place.crm
    fields = await fields_of(crm, Kind.TEXT, Kind.NUMBER, Kind.BOOLEAN)
    connector = place.connector()
    ids = crm.crowd(crm.many)
    texts = [value for value in VALUES[Kind.TEXT] if value != "#N/A"]
    cycles: dict[str, Sequence[Value]] = {fields[Kind.TEXT]: texts, fields[Kind.NUMBER]: VALUES[Kind.NUMBER]}
    if Kind.BOOLEAN in fields:
        cycles[fields[Kind.BOOLEAN]] = VALUES[Kind.BOOLEAN]
    writes = [
        Write(place.key(id_), {name: values[n % len(values)] for name, values in cycles.items()})
        for n, id_ in enumerate(ids)
    ]
    long = writes[3]
    writes[3] = Write(long.key, {**long.values, fields[Kind.TEXT]: "x" * 70_000})
    await crm.delete(ids[4])
    await connector.describe(crm.object)
    before = crm.spent()

    outcomes = await connector.write(writes)

    assert len(writes) <= connector.bulk
    assert crm.spent() - before <= crm.least(len(writes))
    assert ids == [one.id for one in outcomes]
    ends = [End.DONE] * len(ids)
    ends[3], ends[4] = End.REFUSED, End.GONE
    assert ends == [one.end for one in outcomes]
    for write, end in zip(writes, ends, strict=True):
        if end is End.DONE:
            assert write.values == {name: crm.sees(write.key.id, name) for name in write.values}


@scenario
async def writes_cost_the_least_there_is(place: Place) -> None:
    crm, connector = place.crm, place.connector()
    assert 1 <= connector.batch <= connector.bulk
    await connector.write([Write(place.key(await crm.add(ANN)), {crm.note: "described"})])
    for count in {1, min(connector.batch, 200), min(connector.bulk, 2 * min(connector.batch, 200) + 1)}:
        writes = [Write(place.key(id_), {crm.note: f"{count}"}) for id_ in crm.crowd(count)]
        spent, counted = crm.spent(), place.purse.spent

        outcomes = await connector.write(writes)

        assert {End.DONE} == {one.end for one in outcomes}
        cost = connector.cost(count)
        assert (cost, cost) == (crm.spent() - spent, place.purse.spent - counted), count
        assert cost <= crm.least(count)


@scenario
async def what_was_written_says_itself(place: Place) -> None:
    """An outcome says when, as the change that comes back does; so that an echo is known."""
    crm, connector, feed = place.crm, place.connector(), Feed(place)
    key = place.key(await crm.add(ANN, note="old"))
    crm.later(60)

    [outcome] = await connector.write([Write(key, {crm.note: "new"})])
    crm.later(60)
    await feed.look(connector)

    echo = feed.last[key.id]
    assert "new" == echo.values[crm.note]
    assert outcome.kept in (None, {crm.note: "new"})
    assert outcome.modified_at in (None, echo.modified_at)


@scenario
async def people_are_created(place: Place) -> None:
    crm, connector = place.crm, place.connector()
    for object_ in connector.objects:
        people = [
            NewPerson(object_, f"ann.{object_}@example.com".lower(), "Ann Lee", {crm.note: "first"}),
            NewPerson(object_, f"nameless.{object_}@example.com".lower(), None, {}),
            NewPerson(object_, f"bob.{object_}@example.com".lower(), "Bob", {crm.note: "third"}),
        ]

        outcomes = await connector.create(people)

        assert [End.DONE] * 3 == [one.end for one in outcomes], outcomes
        crm.later(60)
        ids = [one.id for one in outcomes if one.id is not None]
        found = {one.key.id: one for one in await connector.fetch(object_, ids, [crm.note, crm.called])}
        assert [(one.email,) for one in people] == [found[id_].addresses for id_ in ids]
        assert ["first", None, "third"] == [found[id_].values[crm.note] for id_ in ids]
        assert ["Ann Lee", "Bob"] == [found[id_].values[crm.called] for id_ in (ids[0], ids[2])]
        assert [ids[1]] == [one.key.id for one in await connector.find(object_, [people[1].email], [])]


@scenario
async def somebody_who_cannot_be_created_is_refused_alone(place: Place) -> None:
    crm, connector = place.crm, place.connector()
    bad = NewPerson(crm.object, BOB, "Bob", {crm.note: f"{BOB} " + "x" * 70_000})
    people = [NewPerson(crm.object, ANN, "Ann", {}), bad, NewPerson(crm.object, EVE, "Eve", {})]

    outcomes = await connector.create(people)

    assert [End.DONE, End.REFUSED, End.DONE] == [one.end for one in outcomes], outcomes
    assert None is outcomes[1].id
    assert [] == [said for said in (BOB, "xxxx") if said in f"{outcomes[1].code} {outcomes[1].reason}"]
    assert 2 == crm.count("people")
