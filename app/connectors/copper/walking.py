"""The feed of changes: one walk after another through what was modified, so that nothing is passed over.

Search shows a change only some time after it was made, and says when it was made. So every few minutes a walk begins
again at what could still have been missing when the last such walk began; the walks between begin at the newest that
was seen. What an earlier walk gave comes again, and is no change.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from app import clock
from app.connectors.copper import windows
from app.connectors.copper.calls import Json
from app.connectors.copper.windows import Order, Search, Stretch

LATE_S = 300
"""How much later than it was made a change may show, by both clocks; also how seldom that is looked for."""


@dataclass(frozen=True)
class Place:
    """Where a feed stands, between walks or in one. In Unix seconds: of Copper's clock, but for two."""

    sure: int | None = None
    """Nothing before it can still come; None: nothing is sure yet."""
    seen: int | None = None
    """The newest that was seen."""
    looked: int | None = None
    """By our clock, when the last walk began that looked for what came late."""
    since: int | None = None
    """Where the present walk began."""
    began: int | None = None
    """By our clock, when it began, if it looks for what came late."""
    stretch: Stretch | None = None
    """Where it is; None: no walk is under way."""

    @classmethod
    def of(cls, cursor: str | None) -> "Place":
        """Raises CursorLost."""
        if cursor is None:
            return cls()
        said = windows.loaded(cursor)
        walk = said.pop("stretch", None)
        place = windows.parsed(cls, said)
        return place if walk is None else replace(place, stretch=windows.parsed(Stretch, walk))


async def walk(search: Search, cursor: str | None, size: int) -> tuple[list[Json], Place]:
    """A page of rows, and the place to go on from; there is nothing more for now if it has no stretch.

    Raises CursorLost if `cursor` is none of ours, and what `search` raises.
    """
    place = Place.of(cursor)
    if place.stretch is None:
        place = _begun(place, int(clock.now().timestamp()))
    stretch = place.stretch or Stretch()
    is_first = stretch == Stretch(since=place.since)
    rows, following = await windows.read(search, Order.MODIFIED, stretch, size)
    times = [at for row in rows if isinstance(at := row.get(Order.MODIFIED.attribute), int)]
    place = replace(place, seen=_latest(place.seen, *times), stretch=following)
    if following is None:
        place = _ended(place, is_one_page=is_first)
    return rows, place


def _begun(place: Place, now: int) -> Place:
    if place.looked is None or not 0 <= now - place.looked < LATE_S:
        return replace(place, since=place.sure, began=now, stretch=Stretch(since=place.sure))
    since = _latest(place.sure, place.seen)
    return replace(place, since=since, began=None, stretch=Stretch(since=since))


def _ended(place: Place, *, is_one_page: bool) -> Place:
    if place.began is None or place.seen is None:
        return Place(place.sure, place.seen, place.began or place.looked)
    settled = place.began - LATE_S
    sure = _latest(place.sure, min(settled, place.seen))
    if not is_one_page and place.since == sure == place.seen and place.seen + 2 <= settled:
        # Many share the last second, as after an import: they would all be read again each time.
        sure = place.seen + 2
    return Place(sure, place.seen, place.began)


def _latest(*times: int | None) -> int | None:
    return max((at for at in times if at is not None), default=None)


def instant(row: Json, name: str) -> datetime | None:
    """An instant of a row; None where it has none that there is."""
    said = row.get(name)
    if not isinstance(said, int) or isinstance(said, bool):
        return None
    try:
        return datetime.fromtimestamp(said, UTC)
    except (ValueError, OverflowError, OSError):
        return None
