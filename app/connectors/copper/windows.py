"""Walks through a search by its pages, to the end of it, however many rows there are and whatever is edited meanwhile.

Pages have numbers, so a row that leaves its place moves all behind it forward. Sorted by a time that only grows, what
is edited moves to the end: pages that are read from the last to the first then lose nobody, for what moves, moves to
where is still to be read. Of a search only the first 100,000 rows can be read: where there are more, the next search
begins at the time at which these ended. Where so many share one second, that second is walked by the other time.

Whether Copper's bounds are inclusive is not documented: one second more is asked for than is needed. Source: "List
People (Search)" and "Pagination" of Copper's developer documentation, August 2026.
"""

from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, TypeVar

import orjson

from app.connectors.copper.calls import REACH, Json, Rows
from app.connectors.faults import CursorLost, Refused, Unreachable

_MARGIN_S = 1

Search = Callable[[Json], Awaitable[Rows]]
Kept = TypeVar("Kept")


class Order(StrEnum):
    """By which time rows are sorted, from the oldest on."""

    MODIFIED = "modified"
    CREATED = "created"

    @property
    def attribute(self) -> str:
        return f"date_{self}"

    @property
    def other(self) -> "Order":
        return Order.CREATED if self is Order.MODIFIED else Order.MODIFIED

    def asked(self, since: int | None, until: int | None = None) -> Json:
        """The filter for rows from `since` to `until`, in Unix seconds, whatever the bounds mean."""
        asked: Json = {}
        if since is not None:
            asked[f"minimum_{self}_date"] = max(since - _MARGIN_S, 0)
        if until is not None:
            asked[f"maximum_{self}_date"] = until + _MARGIN_S
        return asked


@dataclass(frozen=True)
class Stretch:
    """Where a walk is. Times are Copper's, in Unix seconds."""

    since: int | None = None
    """Where the present search begins; None: with the oldest."""
    page: int | None = None
    """To be read next; None: it is not known yet how many there are."""
    size: int | None = None
    """Rows on a page, by which pages are counted."""
    low: int = 1
    """While the last page is looked for, one that has rows."""
    high: int = 0
    """And one that has none."""
    empty: int = 0
    """How many had none."""
    top: int | None = None
    """The last page, once it is found: from here they are read down to the first."""
    after: int | None = None
    """Where the next search begins, for this one ends before all are read."""
    second: int | None = None
    """Of the walk's own order; this search goes through it by the other."""


async def read(search: Search, order: Order, stretch: Stretch, size: int) -> tuple[list[Json], Stretch | None]:
    """The rows of a page of `size`, and where the walk is then; None: at its end. Raises what `search` raises."""
    rows: list[Json] = []
    is_other = stretch.page is not None and stretch.size != size
    here: Stretch | None = Stretch(stretch.since, second=stretch.second) if is_other else stretch
    while here is not None and not rows:
        if here.page is None:
            rows, here = await _first(search, order, here, size)
        elif here.top is None:
            rows, here = await _probed(search, order, here, size)
        else:
            rows, here = await _fallen(search, order, here, size)
    return rows, here


async def _first(search: Search, order: Order, here: Stretch, size: int) -> tuple[list[Json], Stretch | None]:
    rows, total = await search(_asked(order, here, 1, size))
    if len(rows) < size or total <= size:
        return rows, _next(here)
    # These rows come again, with the first page, which is read last.
    last = min(-(-total // size), REACH // size)
    return [], replace(here, page=last, size=size, high=last + 1)


async def _probed(search: Search, order: Order, here: Stretch, size: int) -> tuple[list[Json], Stretch | None]:
    """A step in finding the last page: the total is an upper bound, and nobody says how far it is from the truth."""
    page = here.page or 1
    try:
        found = await search(_asked(order, here, page, size))
    except Refused:
        found = Rows([], 0)  # beyond what can be reached
    here = replace(here, low=page) if found.rows else replace(here, high=page, empty=here.empty + 1)
    if found.rows and (len(found.rows) < size or here.low + 1 == here.high):
        return _taken(found, order, replace(here, top=page), size)
    if here.low + 1 == here.high:
        return [], replace(here, page=here.low, top=here.low)
    return [], replace(here, page=max(here.high - 2**here.empty, (here.low + here.high) // 2))


async def _fallen(search: Search, order: Order, here: Stretch, size: int) -> tuple[list[Json], Stretch | None]:
    return _taken(await search(_asked(order, here, here.page or 1, size)), order, here, size)


def _taken(found: Rows, order: Order, here: Stretch, size: int) -> tuple[list[Json], Stretch | None]:
    page = here.page or 1
    if page == here.top and len(found.rows) == size and found.total > page * size:
        here = replace(here, after=_last(found.rows, _present(order, here)))
    return found.rows, _next(here) if page == 1 else replace(here, page=page - 1)


def _asked(order: Order, here: Stretch, page: int, size: int) -> Json:
    present = _present(order, here)
    return {
        **({} if here.second is None else order.asked(here.second, here.second + _MARGIN_S)),
        **present.asked(here.since),
        "sort_by": present.attribute,
        "sort_direction": "asc",
        "page_number": page,
        "page_size": size,
    }


def _present(order: Order, here: Stretch) -> Order:
    return order if here.second is None else order.other


def _next(here: Stretch) -> Stretch | None:
    """Where to go on after the first page, which is the last one to be read."""
    if here.after is None:
        # The bounds' margin on both sides of the second is walked with it.
        return None if here.second is None else Stretch(since=here.second + 2 * _MARGIN_S)
    if here.since is None or here.after > here.since:
        return Stretch(since=here.after, second=here.second)
    if here.second is None:
        return Stretch(second=here.since)
    # More than can be reached were made in one second and modified in one second: no search shows the rest.
    return Stretch(since=here.since + 2 * _MARGIN_S, second=here.second)


def _last(rows: list[Json], order: Order) -> int:
    times = [at for row in rows if isinstance(at := row.get(order.attribute), int)]
    if not times:
        raise Unreachable("records did not say when they were made or modified")
    return max(times)


# --- as text ----------------------------------------------------------------------------------------------------------


def written(place: Any) -> str:  # Any: a dataclass of numbers, and of such dataclasses
    return orjson.dumps(_known(asdict(place))).decode()


def _known(said: dict[str, Any]) -> dict[str, Any]:  # Any: as above
    return {
        name: _known(value) if isinstance(value, dict) else value for name, value in said.items() if value is not None
    }


def parsed(kind: type[Kept], said: object) -> Kept:
    """A dataclass of numbers as it was written. Raises CursorLost if it is none of this version's."""
    if not isinstance(said, dict) or not all(isinstance(value, int) for value in said.values()):
        raise CursorLost("the cursor is none of this version's")
    try:
        return kind(**said)
    except TypeError:
        raise CursorLost("the cursor is none of this version's") from None


def loaded(cursor: str) -> dict[str, Any]:  # Any: JSON
    """Raises CursorLost."""
    try:
        said = orjson.loads(cursor)
    except orjson.JSONDecodeError:
        said = None
    if not isinstance(said, dict):
        raise CursorLost("the cursor is none of this version's")
    return said
