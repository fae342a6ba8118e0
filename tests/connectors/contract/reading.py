"""Everybody, all changes, whoever is gone, and some records by their ids or addresses."""

import contextlib
import random
from datetime import timedelta

import pytest

from app import clock
from app.connectors.faults import CursorLost, Later
from app.connectors.shapes import Connector, End, Key, Kind, Record, Write
from tests.connectors.contract.place import (
    AFTER_ALL_S,
    ANN,
    BOB,
    ENDLESS,
    EVE,
    PAGE,
    Feed,
    Place,
    everybody,
    fetched,
    scenario,
)
from tests.connectors.contract.props import heard, subscribed


@scenario
async def everybody_is_read_from_the_beginning(place: Place) -> None:
    crm, connector = place.crm, place.connector()
    crm.small_pages(PAGE)
    for object_ in connector.objects:
        notes = {
            await crm.add(f"{n}.{object_}@example.com".lower(), name=f"Ann Lee{n}", note=f"note {n}", of=object_): n
            for n in range(2 * PAGE + 1)
        }

        feed = Feed(place, [crm.note, crm.called], object_)
        await feed.look(connector)
        walked = await everybody(connector, object_, [crm.note, crm.called])

        for found in (feed.last.values(), walked):
            assert {id_: f"note {n}" for id_, n in notes.items()} == {one.key.id: one.values[crm.note] for one in found}
            for one in found:
                n = notes[one.key.id]
                assert (object_, f"Ann Lee{n}", False) == (one.key.object, one.values[crm.called], one.is_gone)
                assert (f"{n}.{object_}@example.com".lower(),) == one.addresses
                assert one.modified_at is None or abs(one.modified_at - clock.now()) < timedelta(minutes=1)
        assert len(walked) == len(notes)


@scenario
async def a_crowd_is_read_in_full_pages(place: Place) -> None:
    crm, connector, feed = place.crm, place.connector(), Feed(place)
    crowd = crm.crowd(2 * crm.page + 7)
    await connector.describe(crm.object)

    before = place.calls
    await feed.look(connector)
    looked = place.calls - before
    walked = await everybody(connector, crm.object, [crm.note])

    assert (sorted(crowd), sorted(crowd)) == (sorted(feed.last), sorted(one.key.id for one in walked))
    assert len(crowd) == len(feed.seen)
    assert looked <= 3 + 1
    assert place.calls - before - looked <= 3 + 1


@scenario
async def nobody_there_is_an_empty_page(place: Place) -> None:
    connector = place.connector()
    for object_ in connector.objects:
        for walk in (connector.changes, connector.everybody):
            page = await walk(object_, None, [place.crm.note])
            again = await walk(object_, page.cursor, [place.crm.note])
            assert ([], True, [], True) == (list(page.records), page.is_last, list(again.records), again.is_last)


@scenario
async def the_next_look_ends_and_brings_what_is_new(place: Place) -> None:
    crm, connector, feed = place.crm, place.connector(), Feed(place)
    crm.small_pages(PAGE)
    ids = [await crm.add(f"{n}@example.com", note="old") for n in range(2 * PAGE)]
    await feed.look(connector)
    before = dict(feed.last)
    for wait in (0, 5, 3_600, 3_600):
        crm.later(wait)
        await feed.look(connector)
        assert before == feed.last  # some may come twice, and as they were

    crm.later(60)
    await crm.write(ids[3], "new")
    new = await crm.add(EVE, note="new")
    crm.later(60)
    await feed.look(connector)

    assert {**dict.fromkeys(ids, "old"), ids[3]: "new", new: "new"} == feed.notes
    crm.later(AFTER_ALL_S)
    await feed.look(connector)
    crm.later(AFTER_ALL_S)
    assert len(await feed.look(connector)) <= PAGE  # what is long past does not come for ever


@scenario
async def more_than_a_page_that_changes_soon_after_a_look_is_all_seen(place: Place) -> None:
    crm, connector, feed = place.crm, place.connector(), Feed(place)
    crm.small_pages(PAGE)
    ids = [await crm.add(f"{n}@example.com", note="old") for n in range(2 * PAGE + 1)]
    await feed.look(connector)
    for note in ("new", "newer"):
        crm.later(3)
        for id_ in ids:
            await crm.write(id_, note)
        crm.later(3)
        await feed.look(connector)
        crm.later(AFTER_ALL_S)
        await feed.look(connector)

        assert dict.fromkeys(ids, note) == feed.notes


@scenario
async def a_crash_after_any_page_loses_nothing(place: Place) -> None:
    crm, feed, walked = place.crm, Feed(place), set[str]()
    crm.small_pages(PAGE)
    ids = {await crm.add(f"{n}@example.com", note=f"{n}") for n in range(3 * PAGE + 2)}

    # Each page is read by a process that ends before it has kept the cursor, and again by the next one.
    for n in range(ENDLESS):
        if n == 2:
            crm.later(3 * 86_400)
        with contextlib.suppress(CursorLost):
            await place.connector().changes(crm.object, feed.cursor, feed.fields)
        if await feed.page(place.connector()):
            break
    cursor: str | None = None
    for _ in range(ENDLESS):
        await place.connector().everybody(crm.object, cursor, [])
        page = await place.connector().everybody(crm.object, cursor, [])
        cursor = str(page.cursor)
        walked |= {one.key.id for one in page.records}
        if page.is_last:
            break

    assert (ids, ids) == (set(feed.last), walked)
    await crm.write(min(ids), "after all")
    crm.later(AFTER_ALL_S)
    await feed.look(place.connector())
    assert "after all" == feed.notes[min(ids)]


@scenario
async def a_cursor_that_the_crm_forgot_loses_nobody(place: Place) -> None:
    crm, connector, feed = place.crm, place.connector(), Feed(place)
    crm.small_pages(PAGE)
    ids = {await crm.add(f"{n}@example.com", note="note") for n in range(3 * PAGE)}

    for _ in range(2):
        await feed.page(connector)
    if not crm.lose_cursors():
        pytest.skip("cursors are good for ever there")
    with contextlib.suppress(Later):
        await feed.page(connector)
    crm.find_cursors()
    await feed.look(connector)

    assert ids == set(feed.last)


@scenario
async def what_is_no_cursor_is_lost(place: Place) -> None:
    connector = place.connector()
    for nonsense in ("", "nonsense", "{}", "null", "[]", '{"at": 1}', "0" * 5_000):
        with contextlib.suppress(CursorLost):
            await connector.changes(place.crm.object, nonsense, [])
        with contextlib.suppress(CursorLost):
            await connector.activities(nonsense)


@scenario
async def many_changes_of_one_instant_are_all_seen(place: Place) -> None:
    crm, connector, feed = place.crm, place.connector(), Feed(place)
    crm.small_pages(PAGE)
    crm.hold()
    ids = [await crm.add(f"{n}@example.com", note="first") for n in range(3 * PAGE + 1)]
    await feed.look(connector)
    assert dict.fromkeys(ids, "first") == feed.notes

    # The same instant still: as many again, and some of those who were seen, change at the very end of it.
    ids += [await crm.add(f"{n}@example.org", note="first") for n in range(3 * PAGE + 1)]
    for id_ in ids[::3]:
        await crm.write(id_, "second")
    crm.release()
    crm.later(AFTER_ALL_S)
    await feed.look(connector)

    assert {**dict.fromkeys(ids, "first"), **dict.fromkeys(ids[::3], "second")} == feed.notes


@scenario
async def what_is_committed_late_is_seen(place: Place) -> None:
    crm, connector, feed = place.crm, place.connector(), Feed(place)
    crm.small_pages(PAGE)
    ids = [await crm.add(f"{n}@example.com", note="old") for n in range(2 * PAGE)]
    crm.later(3_600)
    await feed.look(connector)
    for wait in (crm.late_s, 7, crm.late_s):
        crm.later(wait)
        await crm.write(ids[0], f"at {wait}")
        await feed.look(connector)

    await crm.write_late(ids[1], "late", crm.late_s)
    await feed.look(connector)
    crm.later(AFTER_ALL_S)
    await feed.look(connector)

    assert "late" == feed.notes[ids[1]]


class Disturbance:
    """People there at work, at random, while somebody reads; and what is true after each of their edits."""

    def __init__(self, place: Place, seed: int) -> None:
        self.crm = place.crm
        self.seed = seed
        self.chance = random.Random(seed)
        self.truth: dict[str, str] = {}
        self.gone: set[str] = set()

    async def add(self) -> None:
        number = len(self.truth) + len(self.gone)
        self.truth[await self.crm.add(f"{number}.of.{self.seed}@example.com", note="new")] = "new"

    async def some(self) -> None:
        for _ in range(self.chance.randrange(4)):
            self.crm.later(self.chance.choice([0, 0, 0, 1, 40, 700]))
            who, note = self.chance.choice(sorted(self.truth)), str(self.chance.random())
            match self.chance.choice(["write", "write", "write", "late", "add", "delete", "hold", "release"]):
                case "write":
                    await self.crm.write(who, note)
                    self.truth[who] = note
                case "late":
                    await self.crm.write_late(who, note, self.chance.randrange(self.crm.late_s))
                    self.truth[who] = note
                case "add":
                    await self.add()
                case "delete" if len(self.truth) > PAGE:
                    await self.crm.delete(who)
                    self.gone.add(who)
                    del self.truth[who]
                case "hold":
                    self.crm.hold()
                case "release":
                    self.crm.release()


@scenario
async def whatever_is_edited_while_pages_are_walked_is_seen(place: Place) -> None:
    """At random: what was seen last of each, after the walk and one more look, is how it is."""
    crm, connector = place.crm, place.connector()
    crm.small_pages(PAGE)
    for seed in range(6):
        feed, people = Feed(place), Disturbance(place, seed)
        for _ in range(3 * PAGE):
            await people.add()
        for _ in range(3):
            await feed.look(connector, people.some)
            await people.some()
        crm.release()
        crm.later(AFTER_ALL_S)
        await feed.look(connector)

        truth = people.truth
        assert truth == {id_: note for id_, note in feed.notes.items() if id_ in truth}, f"seed {seed}"
        walked = {one.key.id: one.values[crm.note] for one in await everybody(connector, crm.object, [crm.note])}
        assert truth == {id_: note for id_, note in walked.items() if id_ in truth}, f"seed {seed}"
        assert set() == people.gone & set(walked)


@scenario
async def clocks_that_differ_lose_nothing(place: Place) -> None:
    crm = place.crm
    for skew in (-45, 45, 600):
        crm.clock.move(timedelta(seconds=skew))
        connector, feed, truth = place.connector(), Feed(place), dict[str, str]()
        for n in range(2 * PAGE):
            truth[await crm.add(f"{n}.at{skew}@example.com", note="old")] = "old"
            await feed.look(connector)
            crm.later(13)
            for id_ in list(truth)[-3:]:
                await crm.write(id_, f"{n}")
                truth[id_] = f"{n}"
        await feed.look(connector)
        crm.later(AFTER_ALL_S)
        await feed.look(connector)
        assert truth == {id_: feed.notes[id_] for id_ in truth}, skew
        crm.clock.move(timedelta(seconds=-skew))


@scenario
async def a_walk_through_everybody_is_not_disturbed_by_edits(place: Place) -> None:
    crm, connector = place.crm, place.connector()
    crm.small_pages(PAGE)
    ids = [await crm.add(f"{n}@example.com", note="old") for n in range(4 * PAGE)]
    chance, cursor, met = random.Random(7), None, list[str]()
    for _ in range(ENDLESS):
        page = await connector.everybody(crm.object, cursor, [crm.note])
        met += [one.key.id for one in page.records]
        cursor = str(page.cursor)
        if page.is_last:
            break
        for id_ in chance.sample(ids, 3):
            await crm.write(id_, "edited")

    assert sorted(ids) == sorted(met)


@scenario
async def the_crms_quirks_change_nothing(place: Place) -> None:
    crm = place.crm
    crm.small_pages(PAGE)
    kept = [await crm.add(f"{n}@example.com", note="note") for n in range(PAGE)]
    bare, deleted = await crm.add(BOB), await crm.add(EVE, note="gone")
    await crm.delete(deleted)

    for quirk in ({}, *crm.quirks):
        before = {name: getattr(crm.faults, name) for name in quirk}
        crm.turn(**quirk)
        connector, feed = place.connector(), Feed(place)
        await feed.look(connector)
        assert {**dict.fromkeys(kept, "note"), bare: None} == feed.notes, quirk
        alive = [one.key.id for one in await everybody(connector, crm.object, [crm.note]) if not one.is_gone]
        assert sorted([*kept, bare]) == sorted(alive), quirk
        crm.turn(**before)


@scenario
async def more_fields_are_read_than_one_call_may_name(place: Place) -> None:
    crm = place.crm
    names = [await crm.field(Kind.TEXT, name=f"Field{n}") for n in range(18)]
    connector, key = place.connector(), place.key(await crm.add(ANN))
    values = {name: f"value {n}" for n, name in enumerate(names)}

    [outcome] = await connector.write([Write(key, values)])

    assert End.DONE is outcome.end
    assert values == (await fetched(connector, key, names)).values
    feed = Feed(place, names)
    await feed.look(connector)
    assert values == feed.last[key.id].values
    assert [values] == [one.values for one in await everybody(connector, crm.object, names)]


@scenario
async def an_edit_by_somebody_else_is_not_taken_for_ours(place: Place) -> None:
    crm, connector, feed = place.crm, place.connector(), Feed(place)
    key = place.key(await crm.add(ANN, note="theirs"))
    await feed.look(connector)
    assert feed.last[key.id].by_us in (False, None)

    crm.later(60)
    await connector.write([Write(key, {crm.note: "ours"})])
    crm.later(60)
    await feed.look(connector)
    assert ("ours", True) == (feed.notes[key.id], feed.last[key.id].by_us in (True, None))

    crm.later(60)
    await crm.write(key.id, "theirs again")
    crm.later(60)
    await feed.look(connector)
    assert ("theirs again", True) == (feed.notes[key.id], feed.last[key.id].by_us in (False, None))


# --- what is gone -----------------------------------------------------------------------------------------------------


async def became(place: Place, connector: Connector, feed: Feed, key: Key) -> Record:
    """A record that has gone, as the connector tells it: by a change, or by its absence and a fetch."""
    await feed.look(connector)
    said = feed.last.get(key.id)
    if said is None or not said.is_gone:
        there = {one.key.id for one in await everybody(connector, key.object, feed.fields) if not one.is_gone}
        assert key.id not in there
        said = await fetched(connector, key, feed.fields)
    assert said.is_gone
    assert (await fetched(connector, key, feed.fields)).is_gone
    return said


@scenario
async def who_was_deleted_is_gone(place: Place) -> None:
    crm, connector, feed = place.crm, place.connector(), Feed(place)
    ids = [await crm.add(f"{n}@example.com", note="note") for n in range(3)]
    await feed.look(connector)

    crm.later(60)
    await crm.delete(ids[1])

    gone = await became(place, connector, feed, place.key(ids[1]))
    assert (place.key(ids[1]), (), {}, None) == (gone.key, gone.addresses, gone.values, gone.successor)
    assert [ids[0], ids[2]] == sorted(one.key.id for one in await everybody(connector, crm.object, []))


@scenario
async def who_was_restored_is_there_again(place: Place) -> None:
    crm, connector, feed = place.crm, place.connector(), Feed(place)
    id_ = await crm.add(ANN, note="note")
    await crm.delete(id_)
    await became(place, connector, feed, place.key(id_))
    crm.later(60)
    if not await crm.restore(id_):
        pytest.skip("whoever is deleted stays so there")
    crm.later(60)
    await feed.look(connector)

    assert {id_: "note"} == feed.notes
    assert [End.DONE] == [one.end for one in await connector.write([Write(place.key(id_), {crm.note: "new"})])]


@scenario
async def who_was_merged_is_gone_and_has_a_successor(place: Place) -> None:
    crm, connector, feed = place.crm, place.connector(), Feed(place)
    notices = await subscribed(place, connector)
    loser, winner = await crm.add(ANN, note="loses"), await crm.add(BOB, note="wins")
    await feed.look(connector)

    crm.later(60)
    await crm.merge(loser, winner)

    gone = await became(place, connector, feed, place.key(loser))
    hints = [hint for notice in await heard(notices, place.key(loser)) for hint in notice.hints]
    said = {gone.successor, *(hint.successor for hint in hints if hint.key == place.key(loser))}
    assert ({place.key(winner)} if crm.says_mergers else set()) == said - {None}
    assert gone.successor == (await fetched(connector, place.key(loser), [])).successor
    assert not (await fetched(connector, place.key(winner), [])).is_gone
    assert [End.GONE] == [one.end for one in await connector.write([Write(place.key(loser), {crm.note: "late"})])]


@scenario
async def who_was_converted_is_gone_and_has_a_successor(place: Place) -> None:
    connector = place.connector()
    converted = await place.crm.convert()
    if converted is None:
        pytest.skip("nobody is converted there")
    before, after = Key(*converted[:2]), Key(*converted[2:])

    gone = await became(place, connector, Feed(place, object_=before.object), before)

    assert after == gone.successor
    assert [after.id] == [one.key.id for one in await everybody(connector, after.object, [])]
    assert [End.GONE] == [one.end for one in await connector.write([Write(before, {place.crm.note: "late"})])]


# --- some records -----------------------------------------------------------------------------------------------------


@scenario
async def records_are_fetched_by_their_ids(place: Place) -> None:
    crm, connector = place.crm, place.connector()
    ann, gone = await crm.add(ANN, note="here"), await crm.add(BOB, note="there")
    await crm.delete(gone)
    crowd = crm.crowd(230)

    for rows in (10_000, PAGE):  # a page may be smaller than it was asked for
        crm.small_pages(rows)
        found = await connector.fetch(crm.object, [gone, *crowd, ann, crm.unknown], [crm.note, crm.called])

        assert sorted([gone, *crowd, ann, crm.unknown]) == sorted(one.key.id for one in found)
        assert {gone, crm.unknown} == {one.key.id for one in found if one.is_gone}
    assert {crm.object} == {one.key.object for one in found}
    [here] = [one for one in found if one.key.id == ann]
    assert ("here", (ANN,), "Ann Lee") == (here.values[crm.note], here.addresses, here.values[crm.called])
    assert [] == list(await connector.fetch(crm.object, [], [crm.note]))


@scenario
async def records_are_found_by_their_addresses(place: Place) -> None:
    crm, connector = place.crm, place.connector()
    odd = "o'brien+news@example.com"
    ann, other = await crm.add(ANN, note="one"), await crm.add(odd)
    twins = [ann]
    if not crm.addresses_are_unique:
        twins = sorted([ann, await crm.add("Ann@Example.com", note="two")])
        await crm.delete(await crm.add(ANN))

    async def found(*addresses: str) -> list[str]:
        return sorted({one.key.id for one in await connector.find(crm.object, addresses, [crm.note])})

    crm.later(60)
    assert twins == await found(ANN)
    assert twins == await found("ANN@EXAMPLE.COM")
    assert [other] == await found(odd)
    assert ([], []) == (await found("nobody@example.com"), await found())
    if crm.has_more_addresses:
        both = await crm.add(BOB, EVE)
        assert ([both], [both]) == (await found(BOB), await found(EVE.upper()))
        [record] = await connector.find(crm.object, [EVE], [])
        assert (BOB, EVE) == record.addresses


@scenario
async def a_new_address_is_seen_and_found(place: Place) -> None:
    crm, connector, feed = place.crm, place.connector(), Feed(place)
    id_ = await crm.add(ANN, note="the same")
    await feed.look(connector)

    crm.later(60)
    await crm.move(id_, BOB)
    crm.later(60)
    await feed.look(connector)

    assert ((BOB,), "the same") == (feed.last[id_].addresses, feed.notes[id_])
    found = [await connector.find(crm.object, [one], [crm.address]) for one in (BOB, ANN)]
    assert [[id_], []] == [[one.key.id for one in some] for some in found]
    assert BOB == found[0][0].values[crm.address]


@scenario
async def many_addresses_are_looked_up(place: Place) -> None:
    crm, connector = place.crm, place.connector()
    ann, bob = await crm.add(ANN), await crm.add(BOB)
    asked = [ANN, *(f"nobody.of.this.long.name.{n}@example.com" for n in range(crm.looked_up)), BOB]

    found = await connector.find(crm.object, asked, [])

    assert sorted([ann, bob]) == sorted(one.key.id for one in found)
