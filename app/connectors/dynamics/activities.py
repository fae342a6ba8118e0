"""Tasks, phone calls, appointments, e-mails and activities of one's own, as what was done with people.

One list holds what all of them have. Whom an activity is about is what it regards, and its parties, who are told by the
list of its own type alone. What was deleted is not told of at all. Sources: Microsoft Learn, "Activity tables",
"ActivityParty table".
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from app import clock
from app.connectors.dynamics.api import OF_ALL, Api, Row, address, among
from app.connectors.dynamics.batches import Operation
from app.connectors.dynamics.people import ALL, IDS_AT_ONCE
from app.connectors.dynamics.values import instant
from app.connectors.dynamics.walking import Walk
from app.connectors.faults import CursorLost
from app.connectors.shapes import Activity, ActivityPage, Key

SET = "activitypointers"
_COLUMNS = (
    "activityid,activitytypecode,subject,statecode,scheduledstart,scheduledend,actualend,createdon,modifiedon,"
    "_regardingobjectid_value"
)
_TABLE = "Microsoft.Dynamics.CRM.lookuplogicalname"
_FORMATTED = "OData.Community.Display.V1.FormattedValue"
_COMPLETED, _SCHEDULED = 1, 3
_SERIES = "recurringappointmentmaster"
"""Its instances are appointments."""


class _Type(NamedTuple):
    """A table of activities whose rows are read for what the common list lacks."""

    set: str
    columns: str
    parties: str


_TYPES: Mapping[str, _Type] = {
    "phonecall": _Type("phonecalls", "directioncode,actualdurationminutes,statuscode", "phonecall_activity_parties"),
    "appointment": _Type("appointments", "scheduleddurationminutes,statuscode", "appointment_activity_parties"),
    "email": _Type("emails", "directioncode,senton,statuscode", "email_activity_parties"),
}
_CALLED = {"phonecall": "call", "appointment": "meeting"}


class Activities:
    """`objects`: who counts as a person."""

    def __init__(self, api: Api, objects: Sequence[str]) -> None:
        self._api = api
        self._objects = objects

    async def page(self, cursor: str | None) -> ActivityPage:
        """Raises CursorLost where the cursor is none of ours."""
        walk = _read_cursor(cursor)
        rows, walk = await walk.page(self._api, SET, "activityid", _COLUMNS, OF_ALL)
        rows = [row for row in rows if row.get("activitytypecode") != _SERIES]
        own = await self._own([row for row in rows if _counts(row)])
        found = [self._activity(row, own.get(row["activityid"])) for row in rows]
        return ActivityPage(found, orjson.dumps(walk.to_json()).decode(), not walk.is_under_way)

    async def _own(self, rows: Sequence[Row]) -> dict[str, Row]:
        """What each has in the list of its type, parties among it. A list that our user may not read is left out."""
        left = []
        for type_, of in _TYPES.items():
            ids = [row["activityid"] for row in rows if row.get("activitytypecode") == type_]
            expand = f"{of.parties}($select=_partyid_value,participationtypemask)"
            for begin in range(0, len(ids), IDS_AT_ONCE):
                where = among("activityid", ids[begin : begin + IDS_AT_ONCE])
                left.append(address(of.set, select=f"activityid,{of.columns}", filter=where, expand=expand))
        found: dict[str, Row] = {}
        headers = {"Prefer": f"{ALL},{OF_ALL}"}
        while left:
            answers = await self._api.batch([Operation("GET", path, headers) for path in left], again=True)
            left = []
            for reply in answers:
                if reply.status in (403, 404):
                    continue
                page = self._api.rows(self._api.good(reply))
                found |= {row["activityid"]: row for row in page.rows}
                left += [page.following] if page.following is not None else []
        return found

    def _activity(self, row: Row, own: Row | None) -> Activity:
        type_ = str(row.get("activitytypecode"))
        own = own or {}
        people = list(self._people(row, own, type_)) if _counts(row) else []
        minutes = own.get("actualdurationminutes", own.get("scheduleddurationminutes"))
        status = own.get(f"statuscode@{_FORMATTED}") or row.get(f"statecode@{_FORMATTED}")
        properties = {
            "subject": row.get("subject"),
            "status": status,
            "direction": {True: "outbound", False: "inbound"}.get(own.get("directioncode")),  # type: ignore[arg-type]
            "duration_s": minutes * 60 if isinstance(minutes, int) else None,
        }
        return Activity(
            row["activityid"],
            _CALLED.get(type_, type_),
            tuple(dict.fromkeys(people)),
            _at(row, own, type_),
            {name: value for name, value in properties.items() if value is not None},
        )

    def _people(self, row: Row, own: Row, type_: str) -> Iterable[Key]:
        regarding = (row.get(f"_regardingobjectid_value@{_TABLE}"), row.get("_regardingobjectid_value"))
        parties = own.get(_TYPES[type_].parties) if type_ in _TYPES else None
        among_them = [one for one in parties or () if isinstance(one, dict)]
        those = [(one.get(f"_partyid_value@{_TABLE}"), one.get("_partyid_value")) for one in among_them]
        for object_, id_ in (regarding, *those):
            if object_ in self._objects and isinstance(id_, str):
                yield Key(str(object_), id_)


def _counts(row: Row) -> bool:
    """Whether it was done; an appointment also if it is to come: that it was made counts."""
    done = (_COMPLETED, _SCHEDULED) if row.get("activitytypecode") == "appointment" else (_COMPLETED,)
    return row.get("statecode") in done


def _at(row: Row, own: Row, type_: str) -> datetime:
    """When it happened: nothing happens later than it is said to have."""
    told = instant(row.get("modifiedon")) or clock.now()
    made = instant(row.get("createdon")) or told
    if type_ == "appointment":
        begins = instant(row.get("scheduledstart"))
        return begins if begins is not None and begins <= clock.now() else made
    done = instant(own.get("senton")) or instant(row.get("actualend")) or instant(row.get("scheduledend"))
    return min(done or told, told)


def _read_cursor(cursor: str | None) -> Walk:
    """Raises CursorLost."""
    if cursor is None:
        return Walk()
    try:
        said: Any = orjson.loads(cursor)  # Any: JSON
    except orjson.JSONDecodeError:
        raise CursorLost("the cursor is not JSON") from None
    if not isinstance(said, dict):
        raise CursorLost("the cursor is no walk")
    return Walk.read(said)
