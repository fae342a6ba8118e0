"""Silence that is asked for, budgets, and what calls cost."""

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import pytest

from app import clock
from app.connectors.faults import BudgetSpent, Busy
from app.connectors.shapes import End, Kind, NewPerson, WantedField, Write
from tests.connectors.contract.place import ANN, BOB, PAGE, Feed, Place, everybody, fetched, scenario
from tests.connectors.contract.props import subscribed
from tests.connectors.stage import RETRY_AFTER_S, Line


@scenario
async def a_crm_that_asks_for_silence_is_not_called(place: Place) -> None:
    crm, connector = place.crm, place.connector()
    id_ = await crm.add(ANN)
    await fetched(connector, place.key(id_), [])

    crm.stage.line = Line.BUSY
    with pytest.raises(Busy) as busy:
        await fetched(connector, place.key(id_), [])
    crm.stage.line, calls = None, place.calls
    assert abs(busy.value.until - clock.now() - timedelta(seconds=RETRY_AFTER_S)) < timedelta(seconds=5)
    for wait in (0, 10, 10):
        crm.later(wait)
        with pytest.raises(Busy):
            await fetched(connector, place.key(id_), [])
        with pytest.raises(Busy):
            await connector.write([Write(place.key(id_), {crm.note: "now"})])
    assert calls == place.calls

    crm.later(11)
    assert not (await fetched(connector, place.key(id_), [])).is_gone


@scenario
async def a_crm_says_in_its_own_way_that_it_is_busy(place: Place) -> None:
    crm, connector = place.crm, place.connector()
    id_ = await crm.add(ANN)
    await fetched(connector, place.key(id_), [])

    crm.be_busy()
    with pytest.raises((Busy, BudgetSpent)) as busy:
        await fetched(connector, place.key(id_), [])
    assert isinstance(busy.value, Busy | BudgetSpent)
    calls = place.calls
    with pytest.raises((Busy, BudgetSpent)):
        await fetched(connector, place.key(id_), [])
    assert calls == place.calls

    crm.be_free()
    crm.later((busy.value.until - clock.now()).total_seconds() + 1)
    assert not (await fetched(connector, place.key(id_), [])).is_gone


@scenario
async def what_it_costs_is_what_the_crm_counts(place: Place) -> None:
    crm, connector = place.crm, place.connector()
    crm.small_pages(PAGE)
    await subscribed(place, connector)
    ids = [await crm.add(f"{n}@example.com") for n in range(2 * PAGE)]
    await crm.call(ids[0])
    steps: dict[str, Callable[[], Awaitable[object]]] = {
        "check": connector.check,
        "describe": lambda: connector.describe(crm.object),
        "ensure": lambda: connector.ensure([WantedField(crm.object, "a_score", "A score", Kind.NUMBER, "Ours.")]),
        "changes": lambda: Feed(place).look(connector),
        "everybody": lambda: everybody(connector, crm.object, [crm.note]),
        "fetch": lambda: connector.fetch(crm.object, ids, [crm.note]),
        "find": lambda: connector.find(crm.object, [ANN, "1@example.com"], []),
        "write": lambda: connector.write([Write(place.key(id_), {crm.note: "new"}) for id_ in ids]),
        "create": lambda: connector.create([NewPerson(crm.object, ANN, "Ann", {})]),
        "activities": lambda: connector.activities(None),
        "subscribe": lambda: connector.subscribe(crm.hook, "us", "pass-word"),
    }
    for name, step in steps.items():
        spent, counted = crm.spent(), place.purse.spent
        await step()
        assert crm.spent() - spent == place.purse.spent - counted, name
    assert place.purse.spent > 0
    assert all(0 <= remaining <= limit for limit, remaining in place.purse.reported)


@scenario
async def what_the_budget_does_not_allow_is_not_called(place: Place) -> None:
    crm, connector = place.crm, place.connector()
    key = place.key(await crm.add(ANN, note="old"))
    await connector.write([Write(key, {crm.note: "described"})])
    place.purse.most = place.purse.spent
    calls = place.calls

    steps: Sequence[Callable[[], Awaitable[object]]] = (
        lambda: connector.changes(crm.object, None, [crm.note]),
        lambda: connector.everybody(crm.object, None, [crm.note]),
        lambda: connector.fetch(crm.object, [key.id], [crm.note]),
        lambda: connector.find(crm.object, [ANN], [crm.note]),
        lambda: connector.write([Write(key, {crm.note: "new"})]),
        lambda: connector.create([NewPerson(crm.object, BOB, None, {})]),
        lambda: connector.activities(None),
    )
    for step in steps:
        with pytest.raises(BudgetSpent):
            await step()

    assert (calls, "described", 1) == (place.calls, crm.sees(key.id, crm.note), crm.count("people"))


@scenario
async def a_budget_that_ends_midway_tells_no_lies(place: Place) -> None:
    crm, connector = place.crm, place.connector()
    ids = crm.crowd(2 * connector.batch + 50)
    await connector.write([Write(place.key(ids[0]), {crm.note: "described"})])
    place.purse.most = place.purse.spent + connector.cost(len(ids)) // 2

    with contextlib.suppress(BudgetSpent):
        outcomes = await connector.write([Write(place.key(id_), {crm.note: "new"}) for id_ in ids])
        assert {End.DONE, End.AGAIN} >= {one.end for one in outcomes}
        assert {"new"} == {
            crm.sees(id_, crm.note) for id_, one in zip(ids, outcomes, strict=True) if one.end is End.DONE
        }
        assert ids == [one.id for one in outcomes]
