"""Writing persons: one call each, for there is no call for many; several at once.

A field that is not known fails the whole call, and a marketing status that may not be is passed over in silence: what
the answer shows is what was kept. Source: OpenAPI document of the second version, August 2026.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from app.connectors.faults import Fault, Refused, Unreachable
from app.connectors.http import Reply
from app.connectors.pacing import side_by_side
from app.connectors.pipedrive import values
from app.connectors.pipedrive.calls import MISSING_SCOPE, Api, Endpoint, Json, person_of, refused
from app.connectors.pipedrive.fields import Fields
from app.connectors.pipedrive.persons import LIST
from app.connectors.pipedrive.values import BUILT_IN, LABELS, MARKETING_STATUS, NAME, Listing, Unfit
from app.connectors.pipedrive.walking import time_of
from app.connectors.shapes import End, NewPerson, Outcome, Values, Write

COST = 5
_SCOPE = "contacts:full"
_ONE = Endpoint("GET", "/api/v2/persons", 1, _SCOPE)
_CHANGE = Endpoint("PATCH", "/api/v2/persons", COST, _SCOPE)
_CREATE = Endpoint("POST", "/api/v2/persons", COST, _SCOPE)
_UNSUBSCRIBED = "unsubscribed"
_LOST = 3
"""After so many lost answers the rest are left for later: one may be the record's fault, several are not."""
_IN_PASSING = (408, 409, 423, 425)
_NEWEST = 500
_LONGEST_NAME = 255


class Writing:
    def __init__(self, api: Api, fields: Fields) -> None:
        self._api = api
        self._fields = fields

    async def write(self, writes: Sequence[Write]) -> list[Outcome]:
        """One outcome for each, whatever becomes of the others: where no more calls may go out, the rest is for later.
        Raises Refused for a missing scope, SignInRefused and Later, where not one of them was decided."""
        listing = await self._listing([one.values for one in writes])
        attempt = _Attempt()

        async def one(write: Write) -> Outcome:
            return await attempt.of(write.key.id, lambda: self._change(write, listing))

        outcomes = await side_by_side(one, writes)
        attempt.check()
        return outcomes

    async def create(self, people: Sequence[NewPerson]) -> list[Outcome]:
        """As `write`. One whose answer is lost is looked for among the newest, for a search may be late; and if it is
        not there, it is for later."""
        listing = await self._listing([one.values for one in people])
        attempt = _Attempt()

        async def one(person: NewPerson) -> Outcome:
            return await attempt.of(None, lambda: self._create(person, listing))

        outcomes = await side_by_side(one, people)
        attempt.check()
        return outcomes

    # --- one of them --------------------------------------------------------------------------------------------------

    async def _change(self, write: Write, listing: Listing) -> Outcome:
        if not (write.key.id.isascii() and write.key.id.isdigit()):
            return Outcome(End.GONE, write.key.id, code="no_id", reason="persons have numbers")
        try:
            told = values.body(write.values, listing)
        except Unfit as fault:
            return _unfit(fault, write.key.id)
        if not told:
            return Outcome(End.DONE, write.key.id, {})
        reply = await self._api.call(_CHANGE.at(write.key.id), json=told)
        if not reply.is_success:
            return self._refused(reply, write.values, write.key.id)
        return await self._done(person_of(reply), write.values, listing)

    async def _create(self, person: NewPerson, listing: Listing) -> Outcome:
        try:
            told = values.body({**person.values, NAME: _name(person)}, listing)
        except Unfit as fault:
            return _unfit(fault, None)
        told["emails"] = [{"value": person.email, "primary": True}]
        if told.get(MARKETING_STATUS) != _UNSUBSCRIBED:
            # That somebody is made here is no consent of theirs: nobody is subscribed by it.
            told.pop(MARKETING_STATUS, None)
        try:
            reply = await self._api.call(_CREATE, json=told)
            if not reply.is_success:
                return self._refused(reply, person.values, None)
            made = person_of(reply)
        except Unreachable:
            found = await self._newest(person.email)
            if found is None:
                raise
            made = found
        return await self._done(made, person.values, listing)

    async def _newest(self, email: str) -> Json | None:
        asked: dict[str, str | int] = {"sort_by": "add_time", "sort_direction": "desc", "limit": _NEWEST}
        page = await self._api.rows(LIST, asked)
        return next(
            (row for row in page.rows if email.casefold() in (one.casefold() for one in values.addresses(row))), None
        )

    async def _done(self, row: Json, written: Values, listing: Listing) -> Outcome:
        """A marketing status that the answer does not show is read; one that is not shown even then was not kept."""
        id_ = str(row["id"])
        if MARKETING_STATUS in written and MARKETING_STATUS not in row:
            reply = await self._api.call(_ONE.at(id_), params={"include_fields": MARKETING_STATUS})
            row = {MARKETING_STATUS: None, **(person_of(reply) if reply.is_success else row)}
        kept = values.read(row, written, listing, values.custom(written))
        return Outcome(End.DONE, id_, kept, time_of(row, "update_time"))

    def _refused(self, reply: Reply, written: Values, id_: str | None) -> Outcome:
        if reply.status in _IN_PASSING:
            return Outcome(End.AGAIN, id_, code=f"http_{reply.status}", reason="not this time, says Pipedrive")
        fault = refused(reply)
        if reply.status == 404 and id_ is not None:
            return Outcome(End.GONE, id_, code=fault.code, reason=fault.reason)
        # Fields may be otherwise than they were listed.
        self._fields.forget()
        return Outcome(End.REFUSED, id_, code=fault.code, reason=fault.reason, fields=_named(reply, written))

    async def _listing(self, written: Sequence[Values]) -> Listing:
        """One that knows all that is written, as far as there is one."""
        names = {name for one in written for name in one if name not in BUILT_IN or name == LABELS}
        if not names:
            return {}
        listing = await self._fields.listing()
        if any(_is_unfit(one, listing) for one in written):
            listing = await self._fields.listing(timedelta())
        return listing


class _Attempt:
    """At several at once: what stops one of them stops those that have not begun."""

    def __init__(self) -> None:
        self._fault: Fault | None = None
        self._is_over = False
        self._lost = 0
        self._decided = 0

    async def of(self, id_: str | None, work: Callable[[], Awaitable[Outcome]]) -> Outcome:
        if not self._is_over:
            try:
                outcome = await work()
                self._decided += 1
                return outcome
            except Refused as fault:
                if fault.code != MISSING_SCOPE:
                    self._decided += 1
                    return Outcome(End.REFUSED, id_, code=fault.code, reason=fault.reason)
                self._fault, self._is_over = fault, True
            except Unreachable as fault:
                self._lost += 1
                self._fault = self._fault or fault
                if self._lost >= _LOST:
                    self._is_over = True
            except Fault as fault:
                self._fault, self._is_over = fault, True
        return Outcome(End.AGAIN, id_, code="not_answered", reason=str(self._fault))

    def check(self) -> None:
        """Raises what stopped them all, if nothing is known of any. One lost answer may be its own record's fault."""
        if self._fault is not None and not self._decided and (self._is_over or self._lost > 1):
            raise self._fault


def _name(person: NewPerson) -> str:
    """Pipedrive demands one."""
    return ((person.name or "").strip() or person.email)[:_LONGEST_NAME]


def _unfit(fault: Unfit, id_: str | None) -> Outcome:
    reason = "there is no such field, it cannot be written, or it does not take this value"
    return Outcome(End.REFUSED, id_, code="unfit", reason=reason, fields=(fault.code,))


def _is_unfit(written: Values, listing: Listing) -> bool:
    try:
        values.body(written, listing)
    except Unfit:
        return True
    return False


def _named(reply: Reply, written: Values) -> tuple[str, ...]:
    """The written fields that a refusal names."""
    said = reply.body.decode(errors="replace")
    return tuple(name for name in written if re.search(rf"\b{re.escape(name)}\b", said))
