"""What scenarios of several kinds need: fields of each kind and values for them, default pairs, notices."""

import asyncio
from collections.abc import Mapping, Sequence

from app.connectors.shapes import Connector, DefaultPair, Key, Kind, Notice, Value, WantedField
from app.sync.mapping import Pair, Policy, Way
from tests.connectors.contract.place import Place
from tests.connectors.crms.crm import Crm
from tests.connectors.stage import Received

PATIENCE_S = 10.0

_TEXT = '“quoted” "twice", it\'s; 100 % — żółć, 名前, 🙂 \\ / <b>&amp;</b> #N/A'
VALUES: Mapping[Kind, Sequence[Value]] = {
    Kind.TEXT: ["plain", _TEXT, "x" * 255, "=1+1", "0042", "true", "#N/A", None],
    Kind.NUMBER: [-1000, 0, 42, 7.25, -0.5, 1_234_567_890_123, None],
    Kind.BOOLEAN: [True, False, True],
    Kind.INSTANT: ["2026-02-28T23:59:59Z", "1999-12-31T00:00:00Z", None],
    Kind.DAY: ["2024-02-29", "1970-01-01", None],
    Kind.CHOICE: ["Warm", "Hot, very", None],
    Kind.CHOICES: [["Hot, very"], ["Cold", "Warm"], None],
}
OPTIONS = ("Cold", "Warm", "Hot, very")


async def fields_of(crm: Crm, *kinds: Kind) -> dict[Kind, str]:
    """A field of each kind that there is."""
    named = {kind: await crm.field(kind, name=f"A_{kind}", options=OPTIONS) for kind in kinds or VALUES}
    return {kind: name for kind, name in named.items() if name}


async def default_pairs(connector: Connector, object_: str) -> dict[str, Pair]:
    """What the connector suggests, made where it is missing, as the sync maps it; by the field here."""
    suggested = connector.defaults(object_, await connector.describe(object_))
    wanted = [one.there for one in suggested if isinstance(one.there, WantedField)]
    made = {one.wanted: one.field for one in await connector.ensure(wanted)}
    known = {one.name: one for one in await connector.describe(object_)}

    def pair(one: DefaultPair) -> Pair:
        there = known[one.there] if isinstance(one.there, str) else made[one.there]
        assert there is not None
        return Pair(
            object_, one.here, there.name, Way(one.way), Policy.NEWEST, there.kind, there.places, there.max_length,
            one.yes, one.no,
        )  # fmt: skip

    assert {object_} == {one.object for one in suggested}
    return {one.here: pair(one) for one in suggested}


async def subscribed(place: Place, connector: Connector) -> list[Notice]:
    """Has the CRM call; gives what its calls say, as they come."""
    crm, notices = place.crm, list[Notice]()

    def answer(received: Received) -> tuple[bytes, str]:
        notice = connector.read_notice(received.call(crm.stage.url))
        notices.append(notice)
        return notice.reply, notice.media_type

    crm.stage.answer = answer
    recipe = await connector.subscribe(crm.hook, "us", "pass-word")
    if recipe is not None:
        crm.hook_by_hand()
    return notices


async def heard(notices: list[Notice], key: Key) -> list[Notice]:
    """Waits until a notice hints at a record."""
    async with asyncio.timeout(PATIENCE_S):
        # What brings them runs in the stand-in's thread.
        while not any(hint.key == key for notice in notices for hint in notice.hints):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return notices
