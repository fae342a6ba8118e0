"""Lines that break: for later, never a lie."""

import contextlib
import random
from collections.abc import Awaitable, Callable, Sequence

import pytest

from app.connectors.faults import Later
from app.connectors.http import Http
from app.connectors.shapes import End, NewPerson, Outcome, Write
from tests.connectors.contract.place import AFTER_ALL_S, ANN, PAGE, Feed, Place, fetched, scenario
from tests.connectors.stage import Line


async def is_put_off(writing: Awaitable[Sequence[Outcome]]) -> bool:
    """Whether it is said that all of it may be done or not, and can be done again."""
    try:
        return {End.AGAIN} == {one.end for one in await writing}
    except Later:
        return True


@scenario
async def a_broken_line_is_no_answer(place: Place) -> None:
    """Whatever breaks, it is said to be for later, or what is said is true; and all is well when the line is whole."""
    crm, patient = place.crm, place.connector()
    crm.stage.slow_s = 0.6
    key = place.key(await crm.add(ANN, note="old"))
    await fetched(patient, key, [crm.note])
    async with Http(private=True, read_s=0.25) as impatient:
        for n, line in enumerate(one for one in Line if one is not Line.BUSY):
            connector = place.connector(http=impatient if line is Line.SILENT else None)
            reads: Sequence[Callable[[], Awaitable[object]]] = (
                lambda connector=connector: connector.changes(crm.object, None, [crm.note]),  # type: ignore[misc]
                lambda connector=connector: connector.fetch(crm.object, [key.id], [crm.note]),  # type: ignore[misc]
                lambda connector=connector: connector.find(crm.object, [ANN], [crm.note]),  # type: ignore[misc]
                lambda connector=connector: connector.describe(crm.object),  # type: ignore[misc]
                lambda connector=connector: connector.activities(None),  # type: ignore[misc]
            )
            crm.stage.line = line
            for read in reads if line is not Line.SILENT else reads[:1]:
                with pytest.raises(Later):
                    await read()
            crm.stage.line = None
            crm.later(AFTER_ALL_S)  # who was shut out waits for a while
            await connector.describe(crm.object)
            crm.stage.line = line
            assert await is_put_off(connector.write([Write(key, {crm.note: f"new {n}"})]))
            crm.stage.line = None
            crm.later(AFTER_ALL_S)

            assert crm.sees(key.id, crm.note) == (await fetched(patient, key, [crm.note])).values[crm.note]
            assert [End.DONE] == [one.end for one in await patient.write([Write(key, {crm.note: f"new {n}"})])]
            assert f"new {n}" == crm.sees(key.id, crm.note)


@scenario
async def a_line_that_breaks_now_and_then_tells_no_lies(place: Place) -> None:
    crm, connector, feed = place.crm, place.connector(), Feed(place)
    crm.small_pages(PAGE)
    ids = [await crm.add(f"{n}@example.com", note="old") for n in range(2 * PAGE)]
    await connector.describe(crm.object)
    chance = random.Random(11)
    broken = [one for one in Line if one not in (Line.BUSY, Line.SILENT, Line.SHUT_OUT)]
    crm.stage.lines = lambda: chance.choice([*broken, *[None] * 2 * len(broken)])
    for n in range(15):
        writes = [Write(place.key(id_), {crm.note: f"new {n}"}) for id_ in ids]
        with contextlib.suppress(Later):
            for id_, outcome in zip(ids, await connector.write(writes), strict=True):
                assert outcome.end in (End.DONE, End.AGAIN), outcome
                assert outcome.end is End.AGAIN or f"new {n}" == crm.sees(id_, crm.note)
        with contextlib.suppress(Later):
            found = await connector.fetch(crm.object, ids, [crm.note])
            assert [crm.sees(id_, crm.note) for id_ in ids] == [
                one.values[crm.note] for one in sorted(found, key=lambda one: ids.index(one.key.id))
            ]
        with contextlib.suppress(Later):
            await feed.look(connector)
    crm.stage.lines = lambda: None
    crm.later(AFTER_ALL_S)
    await feed.look(connector)

    assert {id_: crm.sees(id_, crm.note) for id_ in ids} == feed.notes


@scenario
async def a_creation_whose_answer_is_lost_is_not_repeated(place: Place) -> None:
    crm, connector = place.crm, place.connector()
    await connector.describe(crm.object)
    for n, line in enumerate((Line.LOST_REPLY, Line.TORN, Line.NOT_JSON, Line.NONSENSE, Line.EMPTY)):
        crm.stage.line, before = line, crm.count("people")
        assert await is_put_off(connector.create([NewPerson(crm.object, f"{n}@example.com", "Ann Lee", {})]))
        crm.stage.line = None
        assert before + 1 == crm.count("people")


@scenario
async def signing_in_over_a_broken_line_is_for_later(place: Place) -> None:
    crm = place.crm
    if not crm.tokens_end:
        pytest.skip("tokens are for ever there")
    crm.stage.strikes = lambda call: "oauth" in call
    for line in Line:
        if line is Line.SILENT:
            continue
        crm.stage.line, connector, before = line, place.connector(), crm.stage.sign_ins
        for _ in range(3):
            with pytest.raises(Later):
                await connector.changes(crm.object, None, [])
        assert line is not Line.BUSY or before + 1 == crm.stage.sign_ins
        crm.stage.line = None
    await place.connector().changes(crm.object, None, [])
