"""What became of calls that were read: found out, marked on the call, counted for its source."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from app.engine.ingest import NewEvent
from app.errors import Fault
from app.sources import reading
from app.sources.reading import Found
from app.store.db import Connection


class Call(NamedTuple):
    """A call in the inbox that the transaction has locked, what came of it before, and what it says."""

    id: UUID
    source_id: UUID
    received_at: datetime
    was_read: bool
    accepted: int
    duplicates: int
    rejected: int
    found: Found


class Portion(NamedTuple):
    """What one transaction stores of a call: all its events, or some of a very large one's."""

    call: Call
    events: Sequence[NewEvent]
    refused: Sequence[Fault] = ()
    """What the database refused of earlier portions of the same call."""
    is_last: bool = True


class Outcome(NamedTuple):
    """What a call has come to with this transaction."""

    call: Call
    fresh: int
    accepted: int
    duplicates: int
    rejected: int
    faults: Sequence[Fault]
    lost: Sequence[Fault]
    """What the database refused now."""
    is_last: bool


def outcome(portion: Portion, stored: set[UUID], refused: Mapping[UUID, str]) -> Outcome:
    """Takes what the call brought out of `stored`, so that for another call which says the same it is a duplicate.

    What was accepted when the call was read before stays accepted: reading it again adds to that what is new.
    """
    call, found = portion.call, portion.call.found
    new = {event.id for event in portion.events} & stored
    stored -= new
    accepted = call.accepted + len(new)
    lost = [Fault(found.pointers[event.id], refused[event.id]) for event in portion.events if event.id in refused]
    if not portion.is_last:
        return Outcome(call, len(new), accepted, call.duplicates, call.rejected, (), lost, is_last=False)
    faults = [*found.faults, *portion.refused, *lost]
    duplicates = max(found.named - accepted - len(portion.refused) - len(lost), 0)
    return Outcome(call, len(new), accepted, duplicates, len(faults), faults, lost, is_last=True)


async def note(db: Connection, outcomes: Sequence[Outcome], now: datetime) -> None:
    """Mark the calls, whose locks the transaction holds, and add to the counters of their sources."""
    await db.execute(
        """
        UPDATE delivery d SET read_at = CASE WHEN came.is_last THEN $7 ELSE d.read_at END, accepted = came.accepted,
               duplicates = came.duplicates, rejected = came.rejected, faults = came.faults::jsonb
        FROM unnest($1::uuid[], $2::bool[], $3::int[], $4::int[], $5::int[], $6::text[])
          AS came(id, is_last, accepted, duplicates, rejected, faults)
        WHERE d.id = came.id AND d.id = ANY($1)
        """,
        [one.call.id for one in outcomes],
        [one.is_last for one in outcomes],
        [one.accepted for one in outcomes],
        [one.duplicates for one in outcomes],
        [one.rejected for one in outcomes],
        [orjson.dumps(reading.shown(one.faults)).decode() for one in outcomes],
        now,
    )
    sums: dict[UUID, list[Any]] = {}  # Any: counts, and an instant
    for one in outcomes:
        call = one.call
        total = sums.setdefault(call.source_id, [0, 0, 0, 0, call.received_at])
        total[0] += one.is_last and not call.was_read
        total[1] += one.accepted - call.accepted
        total[2] += one.duplicates - call.duplicates
        total[3] += one.rejected - call.rejected
        total[4] = max(total[4], call.received_at)
    # In the order of their ids, for two workers may have calls of the same sources.
    await db.execute(
        """
        WITH held AS (SELECT id FROM source WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE)
        UPDATE source s SET received = s.received + more.received, accepted = s.accepted + more.accepted,
               duplicates = s.duplicates + more.duplicates, rejected = s.rejected + more.rejected,
               last_seen_at = greatest(s.last_seen_at, more.seen_at)
        FROM held, unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::timestamptz[])
          AS more(id, received, accepted, duplicates, rejected, seen_at)
        WHERE s.id = held.id AND more.id = s.id
        """,
        list(sums),
        *([total[at] for total in sums.values()] for at in range(5)),
    )
