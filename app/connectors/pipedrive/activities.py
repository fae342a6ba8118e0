"""Activities: calls, meetings, tasks and whatever else a company has types for. E-mails are none in Pipedrive.

Read whether done or not, so that one that was undone, re-typed or given to others is seen; lists do not show deleted
ones, of which webhooks tell. Source: OpenAPI document of the second version, August 2026.
"""

import re
from datetime import UTC, datetime
from typing import Any

from app.connectors.pipedrive.calls import Api, Endpoint, Json
from app.connectors.pipedrive.fields import PERSON
from app.connectors.pipedrive.walking import time_of, walk
from app.connectors.shapes import Activity, ActivityPage, Key

LIST = Endpoint("GET", "/api/v2/activities", 10, "activities:read")

_CLOCK = re.compile(r"(\d{1,3}):([0-5]\d)(?::([0-5]\d))?", re.ASCII)


async def activities(api: Api, cursor: str | None) -> ActivityPage:
    """A page by `walking`."""
    rows, following, is_last = await walk(api, LIST, {}, cursor)
    return ActivityPage([one for row in rows if (one := _activity(row)) is not None], following, is_last)


def _activity(row: Json) -> Activity | None:
    """None if it has no time at all."""
    at = time_of(row, "marked_as_done_time") or _due(row) or time_of(row, "add_time")
    if at is None:
        return None
    counts = row.get("done") is True and row.get("is_deleted") is not True
    properties: dict[str, Any] = {  # Any: JSON
        "subject": row.get("subject"),
        "status": "done" if row.get("done") is True else "open",
        "duration_s": _seconds(row.get("duration")),
        "due_on": row.get("due_date"),
        "priority": row.get("priority"),
    }
    return Activity(
        str(row.get("id")),
        str(row.get("type") or "unknown").lower(),
        _people(row) if counts else (),
        at,
        {name: value for name, value in properties.items() if value is not None},
    )


def _people(row: Json) -> tuple[Key, ...]:
    """All who took part; `person_id` is the primary one's alone."""
    given = row.get("participants")
    parts = [one.get("person_id") for one in given if isinstance(one, dict)] if isinstance(given, list) else []
    numbers = [one for one in parts or [row.get("person_id")] if isinstance(one, int)]
    return tuple(Key(PERSON, str(one)) for one in dict.fromkeys(numbers))


def _due(row: Json) -> datetime | None:
    """Its time of day is in UTC; without one, the day's beginning."""
    day = row.get("due_date")
    seconds = _seconds(row.get("due_time")) or 0
    try:
        at = datetime.fromisoformat(f"{day}T{seconds // 3_600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}")
    except ValueError:
        return None
    return at.replace(tzinfo=UTC)


def _seconds(said: object) -> int | None:
    """Of `15:00`, `01:00:00`."""
    found = _CLOCK.fullmatch(said) if isinstance(said, str) else None
    if found is None:
        return None
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return hours * 3_600 + minutes * 60 + seconds
