"""What a subscription waits for, and which changes are that."""

from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any, Self
from uuid import UUID

import orjson

from app.errors import Fault, InvalidInput
from app.graphql.catalog import Catalog, Model
from app.graphql.filter_inputs import ContactFilter
from app.store import pages
from app.store.changes import FlagsRow, ScoreRow, Stream
from app.store.positions import Position


class Kind(StrEnum):
    SCORE = "score"
    BAND = "band"
    FLAG = "flag"
    JOB = "job"


@dataclass
class Happened:
    """A change of one contact's score in `model`, by `row`; or of a flag, as `flag` says."""

    contact: UUID
    at: datetime
    cursor: str
    row: ScoreRow | None = None
    model: Model | None = None
    flag: dict[str, Any] | None = None  # Any: JSON
    shown: dict[Kind, object] = field(default_factory=dict)
    """As the schema's types, made when the first one asks."""

    @cached_property
    def rise(self) -> int:
        """By how many bands the score went up; below nought: down. No score is as low as the lowest band."""
        if self.row is None or self.model is None:
            return 0
        return _rank(self.row.value, self.model) - _rank(self.row.was, self.model)


@dataclass(frozen=True, eq=False)
class Watch:
    """What one subscription asks for. A resolver gives it as its stream; whoever serves it hands it to `live.Live`."""

    kind: Kind
    said: ContactFilter | None = None
    model: int | None = None
    is_up: bool | None = None
    flag: str | None = None
    job: UUID | None = None
    after: str | None = None

    @property
    def stream(self) -> Stream | None:
        """What it follows; None: nothing, for it is looked up."""
        return {Kind.SCORE: Stream.SCORES, Kind.BAND: Stream.SCORES, Kind.FLAG: Stream.FLAGS}.get(self.kind)

    @cached_property
    def filter_key(self) -> bytes:
        """Equal for filters that say the same; empty for none."""
        return b"" if self.said is None else orjson.dumps(asdict(self.said), default=str, option=orjson.OPT_SORT_KEYS)

    def picks(self, one: Happened) -> bool:
        """Whether it is meant, as far as that can be told without asking about the contact."""
        if self.model is not None and (one.row is None or one.row.model_id != self.model):
            return False
        match self.kind:
            case Kind.BAND:
                return one.rise != 0 if self.is_up is None else one.rise > 0 if self.is_up else one.rise < 0
            case Kind.FLAG:
                return one.flag is not None and self.flag in (None, one.flag["flag"])
        return True

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:  # Any: it gives nothing by itself
        raise StopAsyncIteration


def happened(row: ScoreRow | FlagsRow, catalog: Catalog, cursor: str, before: str) -> list[Happened]:
    """What a row says, of models that are there. Of several changes only the last has the cursor of the row."""
    if isinstance(row, ScoreRow):
        model = catalog.by_id.get(row.model_id)
        return [] if model is None else [Happened(row.contact_id, row.at, cursor, row=row, model=model)]
    found = [Happened(row.contact_id, row.at, before, flag=flag) for flag in row.flags]
    if found:
        found[-1].cursor = cursor
    return found


def cursor(stream: Stream, position: Position) -> str:
    return pages.encode(stream.value, position.said())


def position(said: str, stream: Stream) -> Position:
    """Where a cursor of this stream leads. Raises InvalidInput."""
    malformed = InvalidInput(Fault("/after", "not a cursor of this subscription; take 'cursor' of a change, unchanged"))
    try:
        name, numbers = pages.decode(said[:1_000], 2)
        if name != stream.value or not isinstance(numbers, list):
            raise malformed
        return Position.of(numbers)
    except (InvalidInput, ValueError):
        raise malformed from None


def _rank(value: Any, model: Model) -> int:  # Any: a Decimal or None
    return 0 if value is None else sum(band.min is not None and value >= band.min for band in model.bands)
