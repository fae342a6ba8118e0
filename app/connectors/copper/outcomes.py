"""What became of writes: of each, whatever became of the others."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from app.connectors.copper import people, values
from app.connectors.copper.calls import Json, attributes, reason
from app.connectors.copper.listed import BUILT_IN, CHOICES, EMAIL, Listing, custom
from app.connectors.copper.values import Unfit
from app.connectors.copper.walking import instant
from app.connectors.copper.windows import Order
from app.connectors.faults import Fault, Refused, Unreachable
from app.connectors.shapes import End, Outcome, Values

IN_PASSING = (408, 409, 423, 425)
"""Statuses that say nothing against what was sent."""
_LOST = 2
"""After so many lost answers the rest are left for later: one may be its records' fault, several are not."""


class Complaint(NamedTuple):
    """What Copper says of a record that it does not take."""

    status: int
    message: Any  # Any: text, or for an item of a bulk call an object of lists

    @property
    def is_vague(self) -> bool:
        return not attributes(self.message) - {"base"}

    @property
    def is_of_record(self) -> bool:
        """Whether there is no such record."""
        return "id" in attributes(self.message)

    @property
    def is_of_address(self) -> bool:
        """Whether it is the address that is not taken, such as because it is another person's."""
        return bool(attributes(self.message) & {EMAIL, "emails"})

    @classmethod
    def of(cls, status: int, said: object) -> "Complaint":
        """Raises Unreachable for an answer that is not of the API."""
        if not isinstance(said, dict):
            raise Unreachable(f"an answer with status {status} was no object")
        message = said.get("message")
        return cls(status, said.get("error") if message is None else message)

    def outcome(self, id_: str | None, written: Values, object_: str, listing: Listing) -> Outcome:
        fields = _named(self.message, written, object_, listing)
        code = f"http_{self.status}"
        return Outcome(End.REFUSED, id_, code=code, reason=reason(self.message), fields=fields)


class Attempt:
    """At several at once: what stops some of them stops those that have not begun."""

    def __init__(self) -> None:
        self._fault: Fault | None = None
        self._is_over = False
        self._lost = 0
        self._decided = 0

    async def of(self, ids: Sequence[str | None], work: Callable[[], Awaitable[list[Outcome]]]) -> list[Outcome]:
        """What comes of one call, or that its records are for later."""
        if not self._is_over:
            try:
                outcomes = await work()
            except Unreachable as fault:
                self._fault = fault
                self._lost += 1
                if self._lost >= _LOST:
                    self._is_over = True
            except Refused as fault:
                self._decided += 1
                return [Outcome(End.REFUSED, id_, code=fault.code, reason=fault.reason) for id_ in ids]
            except Fault as fault:
                self._fault, self._is_over = fault, True
            else:
                self._decided += 1
                return outcomes
        return [Outcome(End.AGAIN, id_, code="not_answered", reason=str(self._fault)) for id_ in ids]

    def check(self) -> None:
        """Raises what stopped them, if nothing is known of any."""
        if self._fault is not None and not self._decided:
            raise self._fault


def done(row: Json, object_: str, written: Values, listing: Listing) -> Outcome:
    """Of a record as it is now. A lead that was converted takes what is written, but nobody sees it any more."""
    id_ = str(row.get("id"))
    if not people.is_there(row):
        return Outcome(End.GONE, id_, code="converted", reason="it was converted or deleted")
    kept = values.read(row, object_, written, listing, custom(written))
    return Outcome(End.DONE, id_, kept, instant(row, Order.MODIFIED.attribute))


def unfit(fault: Unfit, id_: str | None) -> Outcome:
    what = "there is no such field, it cannot be written, or it does not take this value"
    return Outcome(End.REFUSED, id_, code="unfit", reason=what, fields=(fault.name,))


def again(status: int, id_: str | None) -> Outcome:
    return Outcome(End.AGAIN, id_, code=f"http_{status}", reason="not this time, says Copper")


def fitting(written: Sequence[tuple[str, Values]], listing: Listing) -> bool:
    """Whether this listing knows all that is written, as (object, values)."""
    for object_, told in written:
        try:
            values.body(told, object_, listing)
        except Unfit as fault:
            if fault.is_unlisted:
                return False
    return True


def needs_listing(written: Values, object_: str) -> bool:
    return any(name not in BUILT_IN[object_] or name in CHOICES for name in written)


def _named(message: object, written: Values, object_: str, listing: Listing) -> tuple[str, ...]:
    """The written fields that a message names: by their attribute, their id or their label."""
    said, told = attributes(message), str(message)
    own = [name for name in written if name not in BUILT_IN[object_]]
    found = [name for name in written if name in BUILT_IN[object_] and BUILT_IN[object_][name].wire in said]
    found += [
        name for name in own if name in listing and (str(listing[name].id) in told or listing[name].label in told)
    ]
    if "custom_fields" in said and len(own) == 1 and not found:
        found = own
    return tuple(found)
