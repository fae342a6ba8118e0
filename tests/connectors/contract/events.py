"""Activities, and notices that the CRM sends."""

import contextlib
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app import clock
from app.connectors.shapes import Activity, Call, Connector
from tests.connectors.contract.place import AFTER_ALL_S, ANN, BOB, ENDLESS, PAGE, Place, fetched, scenario
from tests.connectors.contract.props import heard, subscribed


@dataclass
class Calls:
    """Activities as the sync takes them in."""

    cursor: str | None = None
    last: dict[str, Activity] = field(default_factory=dict)

    async def look(self, connector: Connector) -> None:
        for _ in range(ENDLESS):
            page = await connector.activities(self.cursor)
            self.cursor = str(page.cursor)
            self.last |= {one.id: one for one in page.activities}
            if page.is_last:
                return
        raise AssertionError("a look has no end")

    def about(self, *ids: str) -> list[Activity]:
        return [one for one in self.last.values() if set(ids) <= {key.id for key in one.people}]


@scenario
async def activities_are_read_edited_and_undone(place: Place) -> None:
    crm, calls = place.crm, Calls()
    crm.small_pages(PAGE)
    ids = [await crm.add(f"{n}@example.com") for n in range(2 * PAGE + 1)]
    await calls.look(place.connector())
    made = {id_: await crm.call(id_) for id_ in ids}
    await calls.look(place.connector())

    for id_ in ids:
        [one] = calls.about(id_)
        assert ((place.key(id_),), "call") == (one.people, one.type)
        assert abs(one.at - clock.now()) < timedelta(days=1)
        assert "First call" in one.properties.values()
    known = {id_: calls.about(id_)[0].id for id_ in ids}

    crm.later(60)
    await crm.rename_call(made[ids[0]], "Second call")
    await crm.undo_call(made[ids[1]])
    crm.later(60)
    await calls.look(place.connector())
    assert [known[ids[0]]] == [one.id for one in calls.about(ids[0])]
    assert "Second call" in calls.last[known[ids[0]]].properties.values()
    assert () == calls.last[known[ids[1]]].people
    assert set(known.values()) == set(calls.last)


@scenario
async def an_activity_that_was_deleted_is_known_to_be(place: Place) -> None:
    crm, calls, connector = place.crm, Calls(), place.connector()
    if not crm.says_deleted_calls:
        pytest.skip("activities that were deleted are told of by no list there")
    ids = [await crm.add(ANN), await crm.add(BOB)]
    made = [await crm.call(id_) for id_ in ids]
    await calls.look(connector)

    crm.later(60)
    await crm.delete_call(made[0])
    crm.later(60)
    await calls.look(connector)

    assert ([], 1) == (calls.about(ids[0]), len(calls.about(ids[1])))


@scenario
async def activities_of_one_instant_and_late_ones_are_all_seen(place: Place) -> None:
    crm, calls, connector = place.crm, Calls(), place.connector()
    crm.small_pages(PAGE)
    who = await crm.add(ANN)
    crm.hold()
    made = [await crm.call(who) for _ in range(2 * PAGE + 1)]
    await calls.look(connector)
    assert len(made) == len(calls.about(who))

    made += [await crm.call(who) for _ in range(2 * PAGE + 1)]
    for one in made[::3]:
        await crm.rename_call(one, "Again")
    crm.release()
    crm.later(AFTER_ALL_S)
    await calls.look(connector)

    assert len(made) == len(calls.about(who))
    assert len(made[::3]) == len([one for one in calls.last.values() if "Again" in one.properties.values()])


# --- notices ----------------------------------------------------------------------------------------------------------


@scenario
async def a_notice_of_the_crm_is_a_hint(place: Place) -> None:
    crm, connector = place.crm, place.connector()
    notices = await subscribed(place, connector)

    id_ = await crm.add(ANN, note="old")
    await heard(notices, place.key(id_))
    notices.clear()
    await crm.write(id_, "new")
    await heard(notices, place.key(id_))

    assert "new" == (await fetched(connector, place.key(id_), [crm.note])).values[crm.note]
    if crm.says_who_hooks:
        assert {"Basic dXM6cGFzcy13b3Jk"} == {one.headers.get("authorization") for one in crm.stage.received}


@scenario
async def nonsense_is_no_notice(place: Place) -> None:
    crm, connector = place.crm, place.connector()
    notices = await subscribed(place, connector)
    id_ = await crm.add(ANN)
    await heard(notices, place.key(id_))
    real = crm.stage.received[0]

    @given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode), st.data())
    @settings(deadline=None, max_examples=150, derandomize=True, database=None)
    def nothing_else_is_raised(nonsense: bytes, data: st.DataObject) -> None:
        cut = data.draw(st.integers(0, len(real.body)))
        end = data.draw(st.integers(cut, len(real.body)))
        for body in (nonsense, real.body[:cut] + nonsense, real.body[:cut] + nonsense + real.body[end:]):
            with contextlib.suppress(ValueError):
                notice = connector.read_notice(real.call(crm.stage.url)._replace(body=body))
                assert all(isinstance(hint.key.id, str) for hint in notice.hints)

    nothing_else_is_raised()
    for body in (b"", b"nonsense", b"null", b"[]", b"{}", b"<a/>", b"\xff\xfe", b"[" * 5_000, b"<a>" * 5_000):
        with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
            connector.read_notice(Call(crm.hook, {}, body))


@scenario
async def to_subscribe_twice_is_to_subscribe_once(place: Place) -> None:
    crm, connector = place.crm, place.connector()
    first = await connector.subscribe(crm.hook, "us", "pass-word")
    hooks = crm.count("hooks")
    assert hooks > 0 or (first is not None and crm.hook.partition("://")[2] in first)

    for again in (connector, place.connector()):
        assert first == await again.subscribe(crm.hook, "us", "pass-word")
    assert hooks == crm.count("hooks")
