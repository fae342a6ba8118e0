"""Where a walk through the changes of an object is, so that it may stop anywhere and passes nothing over.

Records are walked in the order of (SystemModstamp, Id): what follows the last one that was read is asked for by value,
never by an offset or by Salesforce's own cursors. So neither a second that many records share nor an edit under way is
passed over: an edited record has a new stamp and is met again further on.

A stamp is of the time inside its transaction, and seen only when that is committed: up to ten minutes later, when the
walk may be past it. So what appears from some instant on has no stamp older than ten minutes before that; the feed
keeps this bound as `unsure_from`. A look for changes that begins ten minutes or more after the last one that looked
back begins at that bound again, and moves the bound to ten minutes before its own beginning. Between the two,

    whatever was not handed out yet is after the walk's place, or has a stamp of `unsure_from` or later

holds at any time. Only a walk that has come to its end looks back: one that is behind would else never get on.

Stamps have whole seconds. A walk that comes to its end while the last record's second is hardly over begins the next
time with that second again, so that what is done in the rest of it need not wait for a look back. All in all a record
is read three times, or four.

What the time is in Salesforce is taken from our clock, or from the latest stamp that was read, if that is later.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

import orjson

from app import clock
from app.connectors.faults import CursorLost
from app.connectors.salesforce import queries
from app.connectors.salesforce.api import Api, Row, Rows
from app.connectors.salesforce.values import instant, is_id, stamp

_LATE = timedelta(minutes=10)
"""So old may a stamp be when it is first seen."""
_EVERY = timedelta(minutes=10)
_HARDLY_OVER = timedelta(seconds=5)
_ORDER = "SystemModstamp, Id"


@dataclass(frozen=True)
class Place:
    """Instants are texts as SOQL takes them, which sort as such."""

    at: str | None
    """The stamp of the last record that was read; None before the first."""
    id: str
    """Its id; empty where the walk begins with all records of that stamp."""
    unsure_from: str
    looked_at: str
    """By our clock, when the last look that went back began."""
    is_at_end: bool
    """Nothing followed when it was last asked for."""

    @classmethod
    def beginning(cls) -> "Place":
        """Before all records."""
        now = clock.now()
        return cls(None, "", _bound(now), stamp(now), False)

    @classmethod
    def read(cls, said: object) -> "Place":
        """Raises CursorLost for what `to_json` did not give."""
        try:
            place = cls(**said)  # type: ignore[arg-type] # what it is not, it says by raising
            is_ours = all(map(instant, (place.at or place.looked_at, place.unsure_from, place.looked_at)))
        except (TypeError, ValueError):
            is_ours = False
        if not is_ours or (place.id and not is_id(place.id)):
            raise CursorLost("the cursor is not one of Salesforce's feeds")
        return place

    def to_json(self) -> dict[str, str | bool | None]:
        return asdict(self)

    def at_next_look(self) -> "Place":
        """The place to ask on from: further back, if that is due."""
        now = clock.now()
        # A clock that was put back is no reason to wait.
        if not self.is_at_end or timedelta() <= now - instant(self.looked_at) < _EVERY:
            return self
        unsure_from = _bound(now if self.at is None else max(now, instant(self.at)))
        if self.at is None or self.at < self.unsure_from:
            return replace(self, unsure_from=unsure_from, looked_at=stamp(now))
        return Place(self.unsure_from, "", unsure_from, stamp(now), False)

    def condition(self) -> str | None:
        """What holds for all records that follow."""
        if self.at is None:
            return None
        if not self.id:
            return f"SystemModstamp >= {self.at}"
        return f"((SystemModstamp = {self.at} AND Id > '{self.id}') OR SystemModstamp > {self.at})"

    def after(self, found: Rows, asked_at: datetime) -> "Place":
        """The place after the rows that were asked for at this instant."""
        if not found.rows:
            return replace(self, is_at_end=found.is_all)
        last = found.rows[-1]
        is_over = not found.is_all or asked_at - modified_at(last) >= _HARDLY_OVER
        return replace(self, at=stamp(modified_at(last)), id=last["Id"] if is_over else "", is_at_end=found.is_all)


def _bound(now: datetime) -> str:
    """No stamp that shows from now on is older. Stamps have whole seconds."""
    return stamp((now - _LATE).replace(microsecond=0))


async def next_page(api: Api, object_: str, columns: Sequence[str], place: Place) -> tuple[list[Row], Place]:
    """Records that changed after the place, deleted ones among them, and the place after these."""
    place, asked_at = place.at_next_look(), clock.now()
    found = await api.page(
        lambda most: queries.select(columns, object_, [place.condition()], _ORDER, most), with_deleted=True
    )
    return found.rows, place.after(found, asked_at)


def from_text(cursor: str) -> object:
    """Raises CursorLost."""
    try:
        return orjson.loads(cursor)
    except orjson.JSONDecodeError:
        raise CursorLost("the cursor is not JSON") from None


def to_text(said: object) -> str:
    return orjson.dumps(said).decode()


def modified_at(row: Row) -> datetime:
    return instant(row["SystemModstamp"])
