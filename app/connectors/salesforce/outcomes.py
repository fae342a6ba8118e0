"""What became of one record among several, by the codes that Salesforce gives it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.connectors.faults import Refused, Unreachable
from app.connectors.salesforce.values import without_data
from app.connectors.shapes import End, Outcome, Value

_AGAIN = {
    "API_CURRENTLY_DISABLED", "QUERY_TIMEOUT", "REQUEST_LIMIT_EXCEEDED", "REQUEST_RUNNING_TOO_LONG",
    "SERVER_UNAVAILABLE", "UNABLE_TO_LOCK_ROW", "UNKNOWN_EXCEPTION",
}  # fmt: skip
_GONE = {
    "CANNOT_UPDATE_CONVERTED_LEAD", "ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY", "MALFORMED_ID", "NOT_FOUND",
}  # fmt: skip
# A field that there is not, or that we may not write, is named by the message alone in some of the replies.
_COLUMN = re.compile(r"No such column '(\w+)'|Field name not found : (\w+)")
_COLUMNS = re.compile(r"Unable to create/update fields: ([\w, ]+)\.")
# A cell of bulk results: CODE:message:fields--, where the message may hold colons.
_CELL = re.compile(r"([A-Za-z_]+):(.*?)(?::([\w, ]*))?(?:--)?", re.DOTALL)


def of_result(said: Any, id_: str | None, values: Mapping[str, Value]) -> Outcome:  # Any: JSON
    """Of one member of a collections call's reply; a refused one need not name its record. Raises Unreachable."""
    if not isinstance(said, dict) or "success" not in said:
        raise Unreachable("a record's result makes no sense")
    if said["success"]:
        return Outcome(End.DONE, said.get("id") or id_)
    found = [one for one in said.get("errors") or () if isinstance(one, dict)]
    errors = [
        (str(one.get("statusCode", "")), str(one.get("message", "")), one.get("fields") or ()) for one in found
    ] or [("UNKNOWN_EXCEPTION", "", ())]
    return _worst([_of_error(code, message, fields, id_, values) for code, message, fields in errors])


def of_cell(cell: str, id_: str, values: Mapping[str, Value]) -> Outcome:
    """Of `sf__Error` in the results of a bulk job."""
    match = _CELL.fullmatch(cell)
    if match is None:
        return Outcome(End.REFUSED, id_, code="UNKNOWN", reason="")
    code, message, names = match.groups()
    return _of_error(code, message, [one.strip() for one in (names or "").split(",") if one.strip()], id_, values)


def refused(fault: Refused, id_: str | None, fields: Sequence[str] = ()) -> Outcome:
    return Outcome(End.REFUSED, id_, code=fault.code, reason=fault.reason, fields=tuple(fields))


def fields_named(message: str) -> tuple[str, ...]:
    """The fields that a message says there are not, or may not be written."""
    if match := _COLUMN.search(message):
        return (match[1] or match[2],)
    if match := _COLUMNS.search(message):
        return tuple(one.strip() for one in match[1].split(","))
    return ()


def _of_error(
    code: str, message: str, fields: Iterable[object], id_: str | None, values: Mapping[str, Value]
) -> Outcome:
    named = tuple(str(one) for one in fields) or fields_named(message)
    end = End.REFUSED
    if code in _AGAIN:
        end = End.AGAIN
    elif code in _GONE and set(named) <= {"Id"}:
        # With another field's name it is that field's reference which leads nowhere.
        end = End.GONE
    texts = [one for value in values.values() for one in (value if isinstance(value, list) else [value])]
    return Outcome(end, id_, code=code, reason=without_data(code, message, texts), fields=named)


def _worst(outcomes: Sequence[Outcome]) -> Outcome:
    """Of several errors of one record: a record that is gone first, then what never works as it is."""
    for end in (End.GONE, End.REFUSED):
        those = [one for one in outcomes if one.end is end]
        if those:
            return those[0]._replace(fields=tuple(dict.fromkeys(name for one in those for name in one.fields)))
    return outcomes[0]
