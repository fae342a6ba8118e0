"""Fields for scores and bands: made when somebody has one, mended when they vanish, asked for where only people can."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from app.connectors.faults import Refused
from app.connectors.shapes import CrmField, End, Kind, MadeField, Outcome, WantedField, Write
from app.sync import fields, pull, push
from app.sync.mapping import Pair, Policy, Way
from app.sync.options import Options
from app.sync.shapes import Counts, Opened
from tests.engine import reference
from tests.engine.worlds import NOON, event, per_event, profile
from tests.sync.toy import PERSON, Toy
from tests.sync.worlds import PAIRS, World, opened, pair

ADA, BOB = "ada@example.com", "bob@example.com"
BANDS: list[dict[str, Any]] = [{"name": "cold", "min": None}, {"name": "hot", "min": 10}]  # Any: JSON


@dataclass
class Strict(Toy):
    """A CRM that refuses writes of fields that it has not."""

    asked: list[str] = field(default_factory=list)
    refuses_calls: bool = False
    """Whole calls, not only the writes."""
    hides: set[str] = field(default_factory=set)
    """Fields that it describes and does not take."""

    async def ensure(self, wanted: Sequence[WantedField]) -> Sequence[MadeField]:
        self.asked += [one.name for one in wanted]
        return await super().ensure(wanted)

    async def write(self, writes: Sequence[Write]) -> Sequence[Outcome]:
        unknown = [{*one.values} - ({*self.fields} - self.hides) for one in writes]
        if any(unknown) and self.refuses_calls:
            self.calls += 1
            raise Refused("INVALID_FIELD", "no such field")
        known = iter(await super().write([one for one, less in zip(writes, unknown, strict=True) if not less]))
        return [
            Outcome(End.REFUSED, one.key.id, code="INVALID_FIELD", reason="no such field") if less else next(known)
            for one, less in zip(writes, unknown, strict=True)
        ]


@pytest.fixture
def toy() -> Strict:
    return Strict()


async def listen(at_work: Opened) -> None:
    await pull.pull(at_work, Counts(), asyncio.Event())


async def tell(at_work: Opened) -> None:
    await push.drain(at_work, Counts(), asyncio.Event())


async def again(world: World, at_work: Opened) -> Opened:
    """The connection as whoever opens it next finds it."""
    kept = await world.value("SELECT options FROM connection WHERE id = $1", at_work.id)
    return at_work._replace(options=Options.from_json(kept))


async def recipes(world: World) -> list[dict[str, Any]]:  # Any: JSON
    found: list[dict[str, Any]] = await world.value("SELECT recipes FROM connection")
    return found


def made(options: Options) -> dict[str, str]:
    """What is mapped beside the usual."""
    return {one.here: one.there for one in options.pairs if one not in PAIRS}


# --- made -------------------------------------------------------------------------------------------------------------


async def test_a_score_gets_a_field_once_somebody_who_is_known_there_has_one(world: World, toy: Strict) -> None:
    await world.publish("m", profile("contact.name", "notNull", None, 5))
    vip = {"field": "contact.tags", "operator": "contains", "value": "vip"}
    await world.publish_sheet("vips", reference.Sheet([per_event("a", 5)], audience=vip))
    at_work = await opened(world, toy, bands=False)
    await world.send(event("a", BOB))
    assert {} == made(await fields.ensure(at_work))

    toy.add(ADA, full_name="Ada")
    await listen(at_work)
    options = await fields.ensure(at_work)

    assert {"score.m": "score_m"} == made(options)
    assert Pair(PERSON, "score.m", "score_m", Way.OUT, Policy.HERE, Kind.NUMBER, 0) == options.pairs[-1]
    assert ("Lead Score: m", Kind.NUMBER, 0) == (*toy.fields["score_m"][1:3], toy.fields["score_m"].places)
    assert options == (await again(world, at_work)).options == await fields.ensure(at_work)
    assert ["score_m"] == toy.asked

    await world.change(await world.contact(ADA), tags=("vip",))
    assert {"score.m": "score_m", "score.vips": "score_vips"} == made(await fields.ensure(at_work))


async def test_a_drain_makes_the_fields_and_tells_everybody_who_has_a_score(world: World, toy: Strict) -> None:
    toy.add(ADA)
    toy.add(BOB)
    at_work = await opened(world, toy, bands=False)
    await listen(at_work)
    await tell(at_work)
    assert [] == toy.written
    await world.publish("m", per_event("a", 5))
    await world.execute("DELETE FROM outbox")

    await world.send(event("a", ADA))
    await tell(at_work)

    assert {"1": {"score_m": 5}, "2": {"score_m": 0}} == {one.key.id: one.values for one in toy.written}
    assert {} == await world.outbox()


async def test_a_band_gets_a_field_where_a_model_has_bands_and_it_is_wanted(world: World, toy: Strict) -> None:
    await world.publish_sheet("m", reference.Sheet([per_event("a", 15)], bands=BANDS))
    await world.publish("n", per_event("a", 1))
    toy.add(ADA)
    at_work = await opened(world, toy, scores=("m",), bands=False)
    await listen(at_work)
    assert {"score.m": "score_m"} == made(await fields.ensure(at_work))

    at_work = await opened(world, toy, bands=True)
    assert {"score.m": "score_m", "band.m": "band_m", "score.n": "score_n"} == made(await fields.ensure(at_work))
    assert ("Lead Band: m", Kind.TEXT, 40) == (*toy.fields["band_m"][1:3], toy.fields["band_m"].max_length)
    await world.send(event("a", ADA))
    await tell(await again(world, at_work))

    assert {"score_m": 15, "band_m": "hot", "score_n": 1} == toy.written[-1].values


async def test_a_score_that_somebody_mapped_by_hand_gets_no_field(world: World, toy: Strict) -> None:
    await world.publish("m", per_event("a", 5))
    toy.add(ADA)
    toy.fields["rank"] = CrmField("rank", "Rank", Kind.NUMBER, True)
    at_work = await opened(world, toy, pairs=(*PAIRS, pair("score.m", "rank", "out", kind=Kind.NUMBER)), bands=False)
    await listen(at_work)

    assert {"score.m": "rank"} == made(await fields.ensure(at_work))
    assert [] == toy.asked


async def test_what_somebody_else_changed_meanwhile_stays(world: World, toy: Strict) -> None:
    await world.publish("m", per_event("a", 5))
    toy.add(ADA)
    at_work = await opened(world, toy, bands=False)
    await listen(at_work)
    await opened(world, toy, pairs=PAIRS[:3], bands=False, budget=77)

    options = await fields.ensure(at_work)

    assert (77, (*PAIRS[:3], options.pairs[-1])) == (options.budget, options.pairs)
    assert "score_m" == options.pairs[-1].there
    assert options == (await again(world, at_work)).options


async def test_a_score_that_is_rare_is_found_by_the_contact_that_has_it(world: World, toy: Strict) -> None:
    assert {(PERSON, "score.m")} == fields.lacking(
        Options(pairs=PAIRS), PERSON, {"score.m": 5, "score.n": None, "email": ADA}
    )
    assert set() == fields.lacking(Options(pairs=PAIRS, scores=("n",)), PERSON, {"score.m": 5})
    assert set() == fields.lacking(Options(pairs=(pair("score.m", "rank", "out"),)), PERSON, {"score.m": 5})


# --- by hand ----------------------------------------------------------------------------------------------------------


async def test_a_field_that_only_people_can_make_is_asked_for_hourly_and_then_told(world: World, toy: Strict) -> None:
    await world.publish("m", per_event("a", 5))
    toy.add(ADA)
    toy.may_make_fields = False
    at_work = await opened(world, toy, bands=False)
    await listen(at_work)

    for minutes in (0, 1, 59, 61):
        world.go_to(NOON + timedelta(minutes=minutes))
        assert {} == made(await fields.ensure(at_work))
    assert ["score_m", "score_m"] == toy.asked
    [recipe] = await recipes(world)
    assert (PERSON, "Lead Score: m", "make a field 'Lead Score: m'") == (
        recipe["object"],
        recipe["label"],
        recipe["recipe"],
    )
    assert NOON == datetime.fromisoformat(recipe["since"]).replace(microsecond=0)

    toy.fields["score_m"] = CrmField("score_m", "Lead Score: m", Kind.NUMBER, True)
    toy.people["1"].values["score_m"] = None
    world.go_to(NOON + timedelta(minutes=122))
    await world.send(event("a", ADA))
    await tell(at_work)

    assert ([], {"score_m": 5}) == (await recipes(world), toy.written[-1].values)


async def test_a_field_of_that_name_that_holds_something_else_is_not_used(world: World, toy: Strict) -> None:
    await world.publish("m", per_event("a", 5))
    toy.add(ADA)
    toy.fields["score_m"] = CrmField("score_m", "Mine", Kind.TEXT, True)
    at_work = await opened(world, toy, bands=False)
    await listen(at_work)

    assert {} == made(await fields.ensure(at_work))
    [recipe] = await recipes(world)
    assert "'score_m' holds text" in recipe["recipe"]


# --- broken -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refuses_calls", [False, True])
async def test_a_score_whose_field_vanished_gets_another_and_everybody_is_told_anew(
    world: World, toy: Strict, refuses_calls: bool
) -> None:
    await world.publish("m", per_event("a", 5))
    toy.add(ADA)
    toy.add(BOB)
    at_work = await opened(world, toy, bands=False)
    await listen(at_work)
    await world.send(event("a", ADA), event("a", BOB))
    await tell(at_work)
    del toy.fields["score_m"]
    for one in toy.people.values():
        del one.values["score_m"]
    toy.refuses_calls = refuses_calls
    toy.written.clear()

    await world.send(event("a", ADA))
    await tell(at_work)

    assert ["score_m", "score_m"] == toy.asked
    assert {"1": {"score_m": 10}, "2": {"score_m": 5}} == {one.key.id: one.values for one in toy.written}
    assert ({}, {}) == ((await world.link("1"))["held"], await world.outbox())


@pytest.mark.parametrize("refuses_calls", [False, True])
async def test_another_field_that_vanished_is_told_no_more_until_it_is_there_again(
    world: World, toy: Strict, refuses_calls: bool
) -> None:
    toy.add(ADA)
    at_work = await opened(world, toy)
    await listen(at_work)
    await tell(at_work)
    gone = toy.fields.pop("stage")
    toy.refuses_calls = refuses_calls
    contact = await world.contact(ADA)

    await world.change(contact, stage="customer", opted_out=True)
    await tell(at_work)

    assert [{"out": True}] == [one.values for one in toy.written]
    [recipe] = await recipes(world)
    assert (PERSON, "stage", "stage") == (recipe["object"], recipe["here"], recipe["label"])
    assert "has no field 'stage'" in recipe["recipe"]
    assert at_work.options == (await again(world, at_work)).options

    toy.fields["stage"] = gone
    world.go_to(NOON + timedelta(hours=2))
    await world.change(contact, name="Ada")
    await tell(at_work)

    assert [] == await recipes(world)
    assert {"stage": "customer"} == toy.written[-1].values


async def test_a_refusal_for_another_reason_breaks_nothing(world: World, toy: Strict) -> None:
    toy.add(ADA)
    at_work = await opened(world, toy)
    await listen(at_work)
    toy.refuses["1"] = ("stage",)

    await world.change(await world.contact(ADA), stage="customer")
    await tell(at_work)

    assert [] == await recipes(world)
    assert at_work.options == (await again(world, at_work)).options


async def test_a_call_that_is_refused_though_all_fields_are_there_is_a_fault(world: World, toy: Strict) -> None:
    toy.add(ADA)
    at_work = await opened(world, toy)
    await listen(at_work)
    toy.hides, toy.refuses_calls = {"stage"}, True
    await world.change(await world.contact(ADA), stage="customer")

    with pytest.raises(Refused, match="no such field"):
        await tell(at_work)

    assert [] == await recipes(world)
