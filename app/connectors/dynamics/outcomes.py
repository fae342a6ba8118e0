"""What became of one row among several: by the status and the error of its part of a batch."""

import re
from collections.abc import Iterable, Mapping

from app.connectors.dynamics import access, values
from app.connectors.dynamics.api import is_passing
from app.connectors.faults import Fault, Refused
from app.connectors.http import Reply
from app.connectors.shapes import End, Outcome, Value

NOT_REACHED = Outcome(End.AGAIN, code="not_reached", reason="a call before it failed")
_PASSING = {408, 409, 423, 425, 429, 500, 502, 503, 504}
_NO_SUCH_ROW, _NOT_FOUND = "0x80040217", 404


def of_part(reply: Reply, id_: str | None, written: Mapping[str, Value]) -> Outcome:
    """Of a part that is no success. Raises a Fault for what is about all of them."""
    fault = access.refused(reply)
    if reply.status in _PASSING:
        code = fault.code if isinstance(fault, Refused) else f"http_{reply.status}"
        return Outcome(End.AGAIN, id_, code=code, reason="not this time, says the environment")
    if not isinstance(fault, Refused):
        raise fault
    found = of_fault(fault, id_, written)
    # The words differ from language to language.
    is_gone = id_ is not None and (reply.status == _NOT_FOUND or fault.code == _NO_SUCH_ROW)
    return found._replace(end=End.GONE) if is_gone else found


def of_fault(fault: Refused, id_: str | None, written: Mapping[str, Value]) -> Outcome:
    """The fields that are refused may be named, and what was written must not be."""
    reason = values.without_data(fault.reason, _texts(written.values()))
    end = End.AGAIN if is_passing(fault) else End.REFUSED
    named = tuple(name for name in written if re.search(rf"\b{re.escape(name)}\b", fault.reason))
    return Outcome(end, id_, code=fault.code, reason=reason, fields=named)


def unfit(id_: str | None, names: Iterable[str]) -> Outcome:
    reason = "there is no such column, it cannot be written, or it does not take this value"
    return Outcome(End.REFUSED, id_, code="unfit", reason=reason, fields=tuple(names))


def first_of(faults: Iterable[BaseException | None]) -> Fault | None:
    """What stopped the rest. Raises whatever is no Fault."""
    found: Fault | None = None
    for one in faults:
        if one is not None and not isinstance(one, Fault):
            raise one
        found = found or one
    return found


def _texts(written: Iterable[Value]) -> Iterable[str]:
    for value in written:
        yield from (str(one) for one in (value if isinstance(value, list) else [value]))
