"""Calls, meetings, messages and tasks, as what was done with people.

Each type is walked by itself; one cursor holds the places in all of them, and which is walked. With whom it was is
asked for of those that count. Search shows no deleted ones, and whoever is added to an activity later may not move its
time. `choices` may say `emails`: true, for mail that was sent or came in by HubSpot's own mailboxes: one more search
each look. Source: models of HubSpot's clients; guides of each type, October 2026.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from app import clock
from app.connectors.faults import CursorLost, Refused, Unreachable
from app.connectors.hubspot import walking
from app.connectors.hubspot.api import MISSING_SCOPE, Api, Json, as_object, parts, problem
from app.connectors.hubspot.fields import CONTACT
from app.connectors.hubspot.values import instant_of
from app.connectors.hubspot.walking import Place
from app.connectors.shapes import Activity, ActivityPage, Key

_MODIFIED, _AT = "hs_lastmodifieddate", "hs_timestamp"
_ASSOCIATIONS = ("crm/v4/associations/{}/contacts/batch/read", "crm/v3/associations/{}/contacts/batch/read")
"""Which of them there is, is nowhere said for sure."""


class _Type(NamedTuple):
    """A type of objects, and what of it is read: ours by HubSpot's."""

    name: str
    properties: dict[str, str]
    read: Callable[[Json], tuple[str, bool]]
    """What it is called, and whether it has happened."""


class Activities:
    def __init__(self, api: Api, *, with_emails: bool) -> None:
        self._api = api
        self._types = (*_TYPES, _EMAILS) if with_emails else _TYPES
        self._paths = list(_ASSOCIATIONS)

    async def page(self, cursor: str | None) -> ActivityPage:
        """A page of the type that is walked; each look begins with the first type, and ends with the last."""
        walked, places = self._read_cursor(cursor)
        of = self._types[walked]
        place = places.get(of.name) or Place.beginning()
        rows: Sequence[Json] = ()
        try:
            names = [*of.properties.values(), _AT]
            rows, place = await walking.next_page(self._api, of.name, _MODIFIED, names, place)
            people = await self._people(of.name, [row["id"] for row in rows if of.read(row["properties"])[1]])
            places[of.name] = place
            is_over = place.is_at_end
        except Refused as fault:
            # The check of the connection says so.
            if fault.code != MISSING_SCOPE:
                raise
            rows, people, is_over = (), {}, True
        if is_over:
            walked = (walked + 1) % len(self._types)
        said = {"walked": walked, "places": {name: one.to_json() for name, one in places.items()}}
        found = [_activity(of, row, people.get(row["id"], ())) for row in rows]
        return ActivityPage(found, walking.to_text(said), is_over and walked == 0)

    def _read_cursor(self, cursor: str | None) -> tuple[int, dict[str, Place]]:
        """Raises CursorLost."""
        if cursor is None:
            return 0, {}
        said = walking.from_text(cursor)
        walked = said.get("walked") if isinstance(said, dict) else None
        places = said.get("places") if isinstance(said, dict) else None
        if not isinstance(places, dict) or type(walked) is not int or walked < 0:
            raise CursorLost("the cursor is not one of HubSpot's activities")
        # Mail may have been walked before somebody chose otherwise.
        return walked % len(self._types), {str(name): Place.read(one) for name, one in places.items()}

    async def _people(self, type_: str, ids: Sequence[str]) -> dict[str, tuple[Key, ...]]:
        """The contacts with whom each was; those that have none are left out."""
        found: dict[str, tuple[Key, ...]] = {}
        for some in parts(ids):
            for row in await self._associated(type_, some):
                to = row.get("to")
                numbers = [one.get("toObjectId", one.get("id")) for one in to] if isinstance(to, list) else []
                keys = tuple(Key(CONTACT, str(one)) for one in dict.fromkeys(numbers) if one is not None)
                found[str(row["from"].get("id"))] = keys
        return found

    async def _associated(self, type_: str, ids: Sequence[str]) -> list[Json]:
        while True:
            path = self._paths[0].format(type_)
            reply = await self._api.call("POST", path, again=True, json={"inputs": [{"id": one} for one in ids]})
            if reply.status == 404 and len(self._paths) > 1:
                problem(reply)  # a gateway's page is no answer of HubSpot's
                self._paths.pop(0)
                continue
            if not reply.is_success:
                raise problem(reply).fault
            said = as_object(reply)
            rows = said.get("results")
            if said.get("status") != "COMPLETE" or not isinstance(rows, list):
                raise Unreachable("an answer held no associations")
            if not all(isinstance(row, dict) and isinstance(row.get("from"), dict) for row in rows):
                raise Unreachable("an association was none")
            return rows


def _activity(of: _Type, row: Json, people: tuple[Key, ...]) -> Activity:
    raw = row["properties"]
    name, counts = of.read(raw)
    properties: dict[str, Any] = {  # Any: JSON
        ours: raw[theirs] for ours, theirs in of.properties.items() if raw.get(theirs) not in (None, "")
    }
    for ours in ("status", "direction", "outcome", "priority"):
        if ours in properties:
            properties[ours] = _word(properties[ours])
    milliseconds = properties.pop("duration_ms", None)
    if milliseconds is not None and str(milliseconds).isdigit():
        properties["duration_s"] = int(milliseconds) // 1_000
    return Activity(f"{of.name}:{row['id']}", name, people if counts else (), _happened_at(row), properties)


def _happened_at(row: Json) -> datetime:
    """When it says; of a task that is when it was due, but it was done no later than it was changed last."""
    raw = row["properties"]
    modified = instant_of(raw.get(_MODIFIED)) or instant_of(row.get("updatedAt")) or clock.now()
    return min(instant_of(raw.get(_AT)) or modified, modified)


def _word(said: object) -> str:
    """`NO_ANSWER` → `no_answer`."""
    return "_".join(str(said).lower().split())


def _is_past(raw: Json) -> bool:
    at = instant_of(raw.get(_AT))
    return at is not None and at <= clock.now()


def _meeting(raw: Json) -> tuple[str, bool]:
    """One without an outcome was entered by hand, and counts if it is no longer to come."""
    outcome = raw.get("hs_meeting_outcome")
    return "meeting", outcome == "COMPLETED" or (outcome in (None, "") and _is_past(raw))


def _email(raw: Json) -> tuple[str, bool]:
    """What came in has no status that says so."""
    is_ours = raw.get("hs_email_direction") not in ("INCOMING_EMAIL", "FORWARDED_EMAIL")
    return ("email", raw.get("hs_email_status") == "SENT") if is_ours else ("email_received", True)


_TYPES = (
    _Type(
        "calls",
        {
            "subject": "hs_call_title", "status": "hs_call_status", "direction": "hs_call_direction",
            "outcome": "hs_call_disposition", "duration_ms": "hs_call_duration", "activity_type": "hs_activity_type",
        },
        lambda raw: ("call", raw.get("hs_call_status") == "COMPLETED"),
    ),
    _Type(
        "meetings",
        {"subject": "hs_meeting_title", "outcome": "hs_meeting_outcome", "activity_type": "hs_activity_type"},
        _meeting,
    ),
    _Type(
        "communications",
        {"channel": "hs_communication_channel_type"},
        lambda raw: (_word(raw.get("hs_communication_channel_type") or "message"), True),
    ),
    _Type(
        "tasks",
        {
            "subject": "hs_task_subject", "status": "hs_task_status", "priority": "hs_task_priority",
            "task_type": "hs_task_type",
        },
        lambda raw: ("task", raw.get("hs_task_status") == "COMPLETED"),
    ),
)  # fmt: skip
_EMAILS = _Type(
    "emails",
    {"subject": "hs_email_subject", "status": "hs_email_status", "direction": "hs_email_direction"},
    _email,
)
