"""Tasks, events and campaigns' responses, as what was done with people.

Each object is a feed of its own; one cursor holds the places in all of them, and which of them is walked. Source:
Salesforce's Object Reference on Task, Event and CampaignMember.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from app import clock
from app.connectors.faults import CursorLost, Refused
from app.connectors.salesforce import feeds
from app.connectors.salesforce.api import Api, Row
from app.connectors.salesforce.feeds import Place
from app.connectors.salesforce.fields import Described
from app.connectors.salesforce.people import CONTACT, LEAD
from app.connectors.salesforce.values import instant
from app.connectors.shapes import Activity, ActivityPage, Key

_PREFIXES = {"003": CONTACT, "00Q": LEAD}
_CAMPAIGN = "Campaign.Name"
_COMMON = ("Id", "SystemModstamp", "CreatedDate", "IsDeleted")
# The object, or a field of it, is hidden from our user: the check of the connection says so.
_HIDDEN = {"INVALID_FIELD", "INVALID_TYPE", "NOT_FOUND"}


@dataclass(frozen=True)
class _Feed:
    object: str
    columns: tuple[str, ...]
    read: Callable[[Row], Activity]


class Activities:
    def __init__(self, api: Api, described: Described) -> None:
        self._api = api
        self._described = described

    async def page(self, cursor: str | None) -> ActivityPage:
        """A page of the feed that is walked; each look for news begins with the first, and ends with the last."""
        walked, places = _read_cursor(cursor)
        feed = _FEEDS[walked]
        place = places.get(feed.object) or Place.beginning()
        rows: list[Row] = []
        try:
            known = await self._described.fields(feed.object)
            columns = [one for one in feed.columns if one in known or (one == _CAMPAIGN and "CampaignId" in known)]
            rows, place = await feeds.next_page(self._api, feed.object, columns, place)
            places[feed.object] = place
            is_over = place.is_at_end
        except Refused as fault:
            if fault.code not in _HIDDEN:
                raise
            self._described.forget(feed.object)
            is_over = True
        if is_over:
            walked = (walked + 1) % len(_FEEDS)
        said = {"walked": walked, "places": {name: one.to_json() for name, one in places.items()}}
        return ActivityPage([feed.read(row) for row in rows], feeds.to_text(said), is_over and walked == 0)


def _read_cursor(cursor: str | None) -> tuple[int, dict[str, Place]]:
    """Raises CursorLost."""
    if cursor is None:
        return 0, {}
    said = feeds.from_text(cursor)
    walked = said.get("walked") if isinstance(said, dict) else None
    places = said.get("places") if isinstance(said, dict) else None
    if not isinstance(places, dict) or not isinstance(walked, int) or not 0 <= walked < len(_FEEDS):
        raise CursorLost("the cursor is not one of Salesforce's activities")
    return walked, {str(name): Place.read(one) for name, one in places.items()}


def _task(row: Row) -> Activity:
    """A to-do, a logged call or e-mail; it counts once it is closed."""
    counts = row.get("IsClosed") and not row.get("IsRecurrence")
    subtype = row.get("TaskSubtype")
    # What was logged as a call is one; of a plain task its type says more, if somebody chose it.
    type_ = subtype if subtype not in (None, "Task") else row.get("Type") or "Task"
    # A day alone is its midnight, and of a task may be the one on which it was due.
    on = min(_instant(row.get("ActivityDate")) or _created(row), feeds.modified_at(row))
    properties = {
        "subject": row.get("Subject"),
        "status": row.get("Status"),
        "direction": _word(row.get("CallType")),
        "outcome": row.get("CallDisposition"),
        "duration_s": row.get("CallDurationInSeconds"),
    }
    who = row.get("WhoId") if counts else None
    return _activity("Task", type_, row, who, _instant(row.get("CompletedDateTime")) or on, properties)


def _event(row: Row) -> Activity:
    """A meeting; one that is to come counts as having been arranged."""
    counts = not row.get("IsChild") and not row.get("IsRecurrence")
    begins = _instant(row.get("StartDateTime"))
    at = begins if begins is not None and begins <= clock.now() else _created(row)
    minutes = row.get("DurationInMinutes")
    properties = {"subject": row.get("Subject"), "duration_s": minutes * 60 if isinstance(minutes, int) else None}
    return _activity("Event", row.get("Type") or "Meeting", row, row.get("WhoId") if counts else None, at, properties)


def _response(row: Row) -> Activity:
    """Somebody answered a campaign; of a lead that was converted it is the contact's."""
    campaign = row.get("Campaign")
    properties = {
        "campaign": campaign.get("Name") if isinstance(campaign, dict) else None,
        "campaign_id": row.get("CampaignId"),
        "status": row.get("Status"),
    }
    who = row.get("ContactId") or row.get("LeadId") if row.get("HasResponded") else None
    at = _instant(row.get("FirstRespondedDate")) or _created(row)
    return _activity("CampaignMember", "Campaign Response", row, who, at, properties)


_OF_BOTH = ("WhoId", "Subject", "Type", "IsRecurrence")
_FEEDS = (
    _Feed(
        "Task",
        (
            *_COMMON, *_OF_BOTH, "Status", "IsClosed", "TaskSubtype", "ActivityDate", "CompletedDateTime", "CallType",
            "CallDisposition", "CallDurationInSeconds",
        ),
        _task,
    ),
    _Feed("Event", (*_COMMON, *_OF_BOTH, "IsChild", "StartDateTime", "DurationInMinutes"), _event),
    _Feed(
        "CampaignMember",
        (
            *_COMMON, "LeadId", "ContactId", "CampaignId", _CAMPAIGN, "Status", "HasResponded",
            "FirstRespondedDate",
        ),
        _response,
    ),
)  # fmt: skip


def _activity(
    object_: str, type_: str, row: Row, who: object, at: datetime, properties: Mapping[str, Any]  # Any: JSON
) -> Activity:  # fmt: skip
    person = None if row.get("IsDeleted") or not isinstance(who, str) else _PREFIXES.get(who[:3])
    return Activity(
        f"{object_}:{row['Id']}",
        _word(type_) or "",
        () if person is None else (Key(person, str(who)),),
        at,
        {name: value for name, value in properties.items() if value is not None},
    )


def _created(row: Row) -> datetime:
    return _instant(row.get("CreatedDate")) or feeds.modified_at(row)


def _instant(said: object) -> datetime | None:
    """An instant, or the midnight in UTC with which a day begins."""
    if not isinstance(said, str):
        return None
    return instant(said) if "T" in said else datetime.fromisoformat(said).replace(tzinfo=UTC)


def _word(said: object) -> str | None:
    """`Send Letter` → `send_letter`."""
    return "_".join(said.lower().split()) if isinstance(said, str) else None
