"""Walks through what changed, in the order of `update_time`, so that nothing is passed over and looking costs little.

Pipedrive's times are whole seconds, its `updated_since` is inclusive, and its own cursor goes on after (time, id). What
is edited while the pages are walked moves to their end. So a walk misses only what is committed later than it says,
and each minute at most one walk begins a minute earlier than the last one saw: the others begin at the newest time
that was seen. What an earlier walk gave comes again, and is no change.
"""

from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta

import orjson

from app import clock
from app.connectors.faults import CursorLost, Refused
from app.connectors.pipedrive.calls import PAGE, Api, Endpoint, Json, Params, Rows

_LATE = timedelta(seconds=60)
"""How much later than it says something may be committed; also how seldom that is looked for."""
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Place:
    """Where a feed stands, between walks or in one. Instants are Pipedrive's, but for two."""

    sure: datetime | None = None
    """Nothing before it can still come; None: nothing is sure yet."""
    seen: datetime | None = None
    """The newest that was seen."""
    looked: datetime | None = None
    """By our clock, when the last walk began that looked for what came late."""
    since: datetime | None = None
    """Where the present walk began."""
    reached: datetime | None = None
    """How far it is."""
    began: datetime | None = None
    """By our clock, when it began, if it looks for what came late."""
    following: str | None = None
    """Pipedrive's cursor in it; None: no walk is under way."""

    @classmethod
    def of(cls, cursor: str | None) -> "Place":
        """Raises CursorLost."""
        if cursor is None:
            return cls()
        try:
            said = orjson.loads(cursor)
            following = said.pop("following", None)
            return cls(**{name: datetime.fromisoformat(value) for name, value in said.items()}, following=following)
        except (ValueError, TypeError, AttributeError):
            raise CursorLost("the cursor is none of this version's") from None

    def __str__(self) -> str:
        return orjson.dumps({name: value for name, value in asdict(self).items() if value is not None}).decode()


async def walk(api: Api, endpoint: Endpoint, params: Params, cursor: str | None) -> tuple[list[Json], str, bool]:
    """A page of rows, the cursor to go on with, and whether there is nothing more for now.

    Pipedrive's own cursor may end; then the walk goes on from the time that it reached. Raises CursorLost if `cursor`
    is none of ours, Refused, SignInRefused, Later.
    """
    place = Place.of(cursor)
    if place.following is None:
        place = _begun(place, clock.now())
    try:
        page = await _page(api, endpoint, params, place)
    except Refused:
        if place.following is None:
            raise
        place = replace(place, since=place.reached, following=None)
        page = await _page(api, endpoint, params, place)
    is_first = place.following is None
    times = [at for row in page.rows if (at := time_of(row, "update_time")) is not None]
    place = replace(
        place,
        seen=max([*times, *_known(place.seen)], default=None),
        reached=max([*times, *_known(place.reached)], default=None),
        following=page.following,
    )
    if page.following is not None:
        return page.rows, str(place), False
    return page.rows, str(_ended(place, is_one_page=is_first)), True


def _begun(place: Place, now: datetime) -> Place:
    if place.looked is None or not timedelta() <= now - place.looked < _LATE:
        return replace(place, since=place.sure, reached=place.sure, began=now)
    since = max([*_known(place.sure), *_known(place.seen)], default=None)
    return replace(place, since=since, reached=since, began=None)


def _ended(place: Place, *, is_one_page: bool) -> Place:
    if place.began is None or place.seen is None:
        return Place(place.sure, place.seen, place.began or place.looked)
    settled = (place.began - _LATE).replace(microsecond=0)
    sure = max([min(settled, place.seen), *_known(place.sure)])
    if not is_one_page and place.since == sure == place.seen < settled:
        # Many share the last second, as after an import: they would all be read again each time.
        sure += _SECOND
    return Place(sure, place.seen, place.began)


def _known(at: datetime | None) -> list[datetime]:
    return [] if at is None else [at]


async def _page(api: Api, endpoint: Endpoint, params: Params, place: Place) -> Rows:
    asked: dict[str, str | int] = {**params, "sort_by": "update_time", "sort_direction": "asc", "limit": PAGE}
    if place.since is not None:
        asked["updated_since"] = text_of(place.since)
    if place.following is not None:
        asked["cursor"] = place.following
    return await api.rows(endpoint, asked)


def time_of(row: Json, name: str) -> datetime | None:
    """An instant of a row, to the second."""
    said = row.get(name)
    try:
        at = datetime.fromisoformat(said) if isinstance(said, str) else None
    except ValueError:
        return None
    return None if at is None else (at if at.tzinfo else at.replace(tzinfo=UTC)).replace(microsecond=0)


def text_of(at: datetime) -> str:
    """An instant as Pipedrive takes it: a fraction of a second is refused."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
