"""Writing people and leads: ten to a call where Copper takes them so, else one by one.

A PUT changes what it names and nothing else. The call for several (a beta, says Copper) answers for each of them; who
failed there without saying why is tried alone, for a record that is gone then says so. Source: "Update a Person" and
"Bulk Update People" of Copper's developer documentation, August 2026.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from app import clock
from app.connectors.copper import outcomes, values
from app.connectors.copper.calls import Api, Endpoint, Json, reason, record_of, refused, rows_of
from app.connectors.copper.fields import Fields
from app.connectors.copper.listed import CHOICES, LEAD, Listing
from app.connectors.copper.outcomes import IN_PASSING, Attempt, Complaint
from app.connectors.copper.people import PLURALS, People, is_there
from app.connectors.copper.values import Unfit
from app.connectors.faults import Unreachable
from app.connectors.pacing import side_by_side
from app.connectors.shapes import End, Key, Kind, Outcome, Values, Write

AT_ONCE = 10
"""Records in a call, at most."""
_CHANGE = {object_: Endpoint("PUT", f"/{plural}") for object_, plural in PLURALS.items()}
_CHANGE_MANY = {
    object_: Endpoint("POST", f"/{plural}/bulk_update", is_bulk=True) for object_, plural in PLURALS.items()
}
_WITHOUT_BULK_FOR = timedelta(hours=1)


class _Change(NamedTuple):
    """A write that can be sent."""

    at: int
    """Among all writes."""
    object: str
    id: str
    values: Values
    body: Json


class BulkUse:
    """Whether several may be sent in one call: a beta may be refused, and is tried again after a while."""

    def __init__(self) -> None:
        self._refused_at: datetime | None = None

    @property
    def is_refused(self) -> bool:
        return self._refused_at is not None and clock.now() - self._refused_at < _WITHOUT_BULK_FOR

    def refuse(self) -> None:
        self._refused_at = clock.now()


class Writing:
    def __init__(self, api: Api, fields: Fields, people: People, bulk: BulkUse) -> None:
        self._api = api
        self._fields = fields
        self._people = people
        self._bulk = bulk

    async def write(self, writes: Sequence[Write]) -> list[Outcome]:
        """One outcome for each, whatever becomes of the others: where no more calls may go out, the rest is for later.
        Raises SignInRefused and Later, where not one of them was decided."""
        listing = await self._listing(writes)
        found: dict[int, Outcome] = {}
        changes: dict[str, list[_Change]] = {}
        for at, write in enumerate(writes):
            prepared = _prepared(at, write, listing)
            if isinstance(prepared, Outcome):
                found[at] = prepared
            else:
                changes.setdefault(write.key.object, []).append(prepared)
        calls = [some[at : at + AT_ONCE] for some in changes.values() for at in range(0, len(some), AT_ONCE)]
        attempt = Attempt()

        async def one(call: Sequence[_Change]) -> list[Outcome]:
            return await attempt.of([change.id for change in call], lambda: self._tell(call, listing))

        for call, came in zip(calls, await side_by_side(one, calls), strict=True):
            found |= {change.at: outcome for change, outcome in zip(call, came, strict=True)}
        if not found.keys() - {change.at for call in calls for change in call}:
            attempt.check()
        return [found[at] for at in range(len(writes))]

    async def _listing(self, writes: Sequence[Write]) -> Listing:
        """One that knows all that is written, as far as there is one."""
        written = [(one.key.object, one.values) for one in writes]
        if not any(outcomes.needs_listing(told, object_) for object_, told in written):
            return {}
        listing = await self._fields.listing()
        return listing if outcomes.fitting(written, listing) else await self._fields.listing(timedelta())

    # --- several ------------------------------------------------------------------------------------------------------

    async def _tell(self, call: Sequence[_Change], listing: Listing) -> list[Outcome]:
        if len(call) > 1 and not self._bulk.is_refused:
            object_ = call[0].object
            told = [{"id": int(change.id), **change.body} for change in call]
            reply = await self._api.call(_CHANGE_MANY[object_], {PLURALS[object_]: told})
            if reply.status in IN_PASSING:
                return [outcomes.again(reply.status, change.id) for change in call]
            if reply.is_success:
                return await self._heard(call, rows_of(reply.json()), listing)
            refused(reply)  # no answer of Copper's says nothing about bulk calls
            self._bulk.refuse()
        attempt = Attempt()
        found = await self._each(call, listing, attempt)
        attempt.check()
        return found

    async def _heard(self, call: Sequence[_Change], items: Sequence[Json], listing: Listing) -> list[Outcome]:
        """What became of each, by the items of an answer, which come in the same order."""
        if len(items) != len(call):
            raise Unreachable("an answer was about other records than were sent")
        found = [self._said(item, change, listing) for item, change in zip(items, call, strict=True)]
        unclear = [change for change, outcome in zip(call, found, strict=True) if outcome is None]
        later = iter(await self._each(unclear, listing, Attempt()))
        return [next(later) if outcome is None else outcome for outcome in found]

    def _said(self, item: Json, change: _Change, listing: Listing) -> Outcome | None:
        """None if it has to be tried alone."""
        if item.get("success") is False:
            complaint = Complaint.of(422, item)
            if complaint.is_of_record:
                return Outcome(End.GONE, change.id, code="http_422", reason=reason(complaint.message))
            if complaint.is_vague or change.object == LEAD or _has_choices(change.values, listing):
                return None
            self._fields.forget()
            return complaint.outcome(change.id, change.values, change.object, listing)
        if str(item.get("id")) != change.id:
            raise Unreachable("an answer was about another record")
        return outcomes.done(item, change.object, change.values, listing)

    async def _each(self, changes: Sequence[_Change], listing: Listing, attempt: Attempt) -> list[Outcome]:
        found: list[Outcome] = []
        for change in changes:
            found += await attempt.of([change.id], partial(self._alone, change, listing))
        return found

    # --- one ----------------------------------------------------------------------------------------------------------

    async def _alone(self, change: _Change, listing: Listing) -> list[Outcome]:
        reply = await self._api.call(_CHANGE[change.object].at(change.id), change.body)
        if reply.is_success:
            row = record_of(reply)
            if str(row["id"]) != change.id:
                raise Unreachable("an answer was about another record")
            return [outcomes.done(row, change.object, change.values, listing)]
        if reply.status in IN_PASSING:
            return [outcomes.again(reply.status, change.id)]
        complaint = Complaint.of(reply.status, reply.json())
        if reply.status == 404:
            return [Outcome(End.GONE, change.id, code="http_404", reason=reason(complaint.message))]
        self._fields.forget()
        if _has_choices(change.values, listing):
            # Whoever edits the options of a field gives all of them new ids.
            listing = await self._fields.listing()
            prepared = _prepared(change.at, Write(Key(change.object, change.id), change.values), listing)
            if isinstance(prepared, Outcome):
                return [prepared]
            if prepared.body != change.body:
                return await self._alone(prepared, listing)
        if change.object == LEAD:
            row_now = await self._people.record(LEAD, change.id)
            if row_now is None or not is_there(row_now):
                return [Outcome(End.GONE, change.id, code="converted", reason="it was converted or deleted")]
        return [complaint.outcome(change.id, change.values, change.object, listing)]


def _prepared(at: int, write: Write, listing: Listing) -> _Change | Outcome:
    object_, id_ = write.key
    if not (id_.isascii() and id_.isdigit()):
        return Outcome(End.GONE, id_, code="no_id", reason="people and leads have numbers")
    try:
        body = values.body(write.values, object_, listing)
    except Unfit as fault:
        return outcomes.unfit(fault, id_)
    return _Change(at, object_, id_, write.values, body) if body else Outcome(End.DONE, id_, {})


def _has_choices(written: Values, listing: Listing) -> bool:
    kinds = (Kind.CHOICE, Kind.CHOICES)
    return any(name in CHOICES or (name in listing and listing[name].kind in kinds) for name in written)
