"""Making people and leads: ten to a call where Copper takes them so, else one by one. Never repeated by itself.

An address belongs to one person at most; leads may share theirs. So where somebody has the address whom search did not
show yet, Copper refuses, and whoever wanted the record has to look for it again. Source: "Create a Person" and "Bulk
Create People" of Copper's developer documentation, August 2026.
"""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import NamedTuple

from app.connectors.copper import outcomes, values
from app.connectors.copper.calls import Api, Endpoint, Json, record_of, refused, rows_of
from app.connectors.copper.fields import Fields
from app.connectors.copper.listed import LEAD, NAME, PERSON, Listing
from app.connectors.copper.outcomes import IN_PASSING, Attempt, Complaint
from app.connectors.copper.people import PLURALS, People
from app.connectors.copper.values import Unfit
from app.connectors.copper.writing import AT_ONCE, BulkUse
from app.connectors.faults import Unreachable
from app.connectors.pacing import side_by_side
from app.connectors.shapes import End, NewPerson, Outcome, Values

_CREATE = {object_: Endpoint("POST", f"/{plural}", is_read=False) for object_, plural in PLURALS.items()}
_CREATE_MANY = {
    object_: Endpoint("POST", f"/{plural}/bulk_create", is_read=False, is_bulk=True)
    for object_, plural in PLURALS.items()
}
_LONGEST_NAME = 255


class _New(NamedTuple):
    """Somebody who can be sent."""

    at: int
    """Among all."""
    object: str
    email: str
    values: Values
    body: Json


class Creating:
    def __init__(self, api: Api, fields: Fields, people: People, bulk: BulkUse) -> None:
        self._api = api
        self._fields = fields
        self._people = people
        self._bulk = bulk

    async def create(self, people: Sequence[NewPerson]) -> list[Outcome]:
        """One outcome for each. Whose answer is lost is for later. Raises SignInRefused and Later, where not one of
        them was decided."""
        listing = await self._listing(people)
        found: dict[int, Outcome] = {}
        new: dict[str, list[_New]] = {}
        for at, person in enumerate(people):
            prepared = _prepared(at, person, listing)
            if isinstance(prepared, Outcome):
                found[at] = prepared
            else:
                new.setdefault(person.object, []).append(prepared)
        calls = [some[at : at + AT_ONCE] for some in new.values() for at in range(0, len(some), AT_ONCE)]
        attempt = Attempt()

        async def one(call: Sequence[_New]) -> list[Outcome]:
            return await attempt.of([None] * len(call), lambda: self._make(call, listing))

        is_known = bool(found)
        for call, came in zip(calls, await side_by_side(one, calls), strict=True):
            found |= {person.at: outcome for person, outcome in zip(call, came, strict=True)}
        if not is_known:
            attempt.check()
        return [found[at] for at in range(len(people))]

    async def _listing(self, people: Sequence[NewPerson]) -> Listing:
        written = [(one.object, one.values) for one in people]
        if not any(outcomes.needs_listing(told, object_) for object_, told in written):
            return {}
        listing = await self._fields.listing()
        return listing if outcomes.fitting(written, listing) else await self._fields.listing(timedelta())

    async def _make(self, call: Sequence[_New], listing: Listing) -> list[Outcome]:
        if len(call) > 1 and not self._bulk.is_refused:
            object_ = call[0].object
            reply = await self._api.call(_CREATE_MANY[object_], {PLURALS[object_]: [one.body for one in call]})
            if reply.status in IN_PASSING:
                return [outcomes.again(reply.status, None)] * len(call)
            if reply.is_success:
                return await self._heard(call, rows_of(reply.json()), listing)
            refused(reply)  # no answer of Copper's says nothing about bulk calls
            self._bulk.refuse()
        attempt = Attempt()
        found = await self._each(call, listing, attempt)
        attempt.check()
        return found

    async def _heard(self, call: Sequence[_New], items: Sequence[Json], listing: Listing) -> list[Outcome]:
        if len(items) != len(call):
            raise Unreachable("an answer was about other records than were sent")
        attempt, found = Attempt(), []
        for item, one in zip(items, call, strict=True):
            if item.get("success") is not False:
                found.append(_made(item, one, listing))
            elif (complaint := Complaint.of(422, item)).is_vague:
                # It was not made, so it can be tried alone, to hear why.
                found += await attempt.of([None], partial(self._alone, one, listing))
            else:
                found += await attempt.of([None], partial(self._refused, complaint, one, listing))
        return found

    async def _each(self, call: Sequence[_New], listing: Listing, attempt: Attempt) -> list[Outcome]:
        found: list[Outcome] = []
        for one in call:
            found += await attempt.of([None], partial(self._alone, one, listing))
        return found

    async def _alone(self, one: _New, listing: Listing) -> list[Outcome]:
        reply = await self._api.call(_CREATE[one.object], one.body)
        if reply.is_success:
            return [_made(record_of(reply), one, listing)]
        if reply.status in IN_PASSING:
            return [outcomes.again(reply.status, None)]
        return await self._refused(Complaint.of(reply.status, reply.json()), one, listing)

    async def _refused(self, complaint: Complaint, one: _New, listing: Listing) -> list[Outcome]:
        """Where it is for the address, somebody may have it; a person whom our user may not see has it for good."""
        self._fields.forget()
        refusal = complaint.outcome(None, one.values, one.object, listing)
        if one.object == PERSON and complaint.is_of_address and await self._people.by_email(one.email) is not None:
            return [Outcome(End.AGAIN, None, code="address_in_use", reason="a person with this address is there")]
        return [refusal]


def _prepared(at: int, person: NewPerson, listing: Listing) -> _New | Outcome:
    name = ((person.name or "").strip() or person.email)[:_LONGEST_NAME]
    try:
        body = values.body({**person.values, NAME: name}, person.object, listing)
    except Unfit as fault:
        return outcomes.unfit(fault, None)
    address = {"email": person.email, "category": "work"}
    told = {"email": address} if person.object == LEAD else {"emails": [address]}
    return _New(at, person.object, person.email, person.values, {**body, **told})


def _made(row: Json, one: _New, listing: Listing) -> Outcome:
    # That an answer holds the record is what says that it was made.
    if not isinstance(row.get("id"), int):
        raise Unreachable("an answer held no record")
    return outcomes.done(row, one.object, one.values, listing)
