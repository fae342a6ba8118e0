"""A walk through what changed in the order of `modifiedon`: for activities, and for tables that track no changes.

Stamps have whole seconds, and a row shows when its transaction is committed, which may be minutes after its stamp. So
each walk begins five minutes before the last one began. Within a walk the CRM's links go on after the last row by its
values, and what is edited meanwhile moves to the end, where it is met again. Rows come more than once; deleted ones
never come. What the time is there is taken from our clock, or from the newest stamp that was seen, if that is later.

Source: Microsoft Learn, "Page results using OData".
"""

from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any

from app import clock
from app.connectors.dynamics.api import Api, Row, Rows, address
from app.connectors.dynamics.values import instant, stamp
from app.connectors.faults import CursorLost, Refused

PAGE = 2_000
"""Rows; Dataverse gives 5,000 at most. The sync takes in a page at once."""
SIZE = f"odata.maxpagesize={PAGE}"
_LATE = timedelta(minutes=5)
"""How much later than it says something may be committed."""


@dataclass(frozen=True)
class Walk:
    """Where a walk is, or where the next one begins. Instants are texts, which sort as such."""

    since: str | None = None
    """Where the present or the next walk begins; None: with the oldest row."""
    began: str | None = None
    """By our clock, when the present walk began; None between two."""
    newest: str | None = None
    """The newest stamp that earlier walks saw."""
    reached: str | None = None
    """The newest that the present one saw."""
    link: str | None = None
    """The next page of the present one."""

    @classmethod
    def read(cls, said: Any) -> "Walk":  # Any: JSON
        """Raises CursorLost for what `to_json` did not give."""
        try:
            walk = cls(**said)
        except TypeError:
            raise CursorLost("the cursor is no walk") from None
        stamps = (walk.since, walk.began, walk.newest, walk.reached)
        if any(one is not None and instant(one) is None for one in stamps) or not is_path(walk.link):
            raise CursorLost("the cursor is no walk")
        return walk

    def to_json(self) -> dict[str, str | None]:
        return asdict(self)

    @property
    def is_under_way(self) -> bool:
        return self.link is not None

    async def page(self, api: Api, set_: str, id_: str, columns: str, *prefer: str) -> tuple[list[Row], "Walk"]:
        """A page of rows, and the walk behind it. Raises Refused, SignInRefused, Later."""
        walk = self if self.is_under_way else replace(self, began=stamp(clock.now()), reached=None)
        try:
            found = await walk._next(api, set_, id_, columns, prefer)
        except Refused:
            if not walk.is_under_way:
                raise
            # The CRM knows its link no more; what follows it is known by its stamps.
            walk = replace(walk, since=walk.reached or walk.since, link=None)
            found = await walk._next(api, set_, id_, columns, prefer)
        return found.rows, walk._after(found)

    async def _next(self, api: Api, set_: str, id_: str, columns: str, prefer: tuple[str, ...]) -> Rows:
        if self.link is not None:
            return await api.page(self.link, SIZE, *prefer)
        where = f"modifiedon ge {self.since}" if self.since else ""
        order = f"modifiedon asc,{id_} asc"
        return await api.page(address(set_, select=columns, filter=where, orderby=order), SIZE, *prefer)

    def _after(self, found: Rows) -> "Walk":
        stamps = [stamp(at) for row in found.rows if (at := instant(row.get("modifiedon"))) is not None]
        reached = max([*stamps, *([self.reached] if self.reached else [])], default=None)
        if found.following is not None:
            return replace(self, reached=reached, link=found.following)
        assert self.began is not None
        # Not by what this walk saw: that may be newer than when it began, and what came late be older.
        begun = max(self.began, self.newest or "")
        at = instant(begun)
        assert at is not None
        since = max(stamp(at - _LATE), self.since or "")
        return Walk(
            since, None, max([*([reached] if reached else []), *([self.newest] if self.newest else [])], default=None)
        )


def is_path(link: object) -> bool:
    """Whether a link that was kept may be followed: below our own host."""
    return link is None or (isinstance(link, str) and link.startswith("/") and not link.startswith("//"))
