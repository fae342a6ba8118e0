"""Whether it was us who took an opt-out back; or nobody at all.

HubSpot tells of each value who set it, but in calls for fifty records at most; so of a list it is asked of those alone
who do not opt out and changed within the last day, which is when it matters. What our app wrote is known by its id.

An opt-out hangs on the address: when somebody gives a contact another, the flag is down, though nobody ever said that
this person may be mailed. That counts as our own doing, too, so that the sync puts the flag up again, for the new
address. It is known by a flag that is not set and was up before. Source: models of HubSpot's clients, October 2026;
what a history shows after a new address is nowhere said.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from app import clock
from app.connectors.hubspot.api import CONTACTS, Api, Json, parts
from app.connectors.hubspot.fields import BOUNCED, MODIFIED, OPT_OUT
from app.connectors.hubspot.values import instant_of
from app.connectors.pacing import side_by_side

_FLAGS = (OPT_OUT, BOUNCED)
_HISTORY = "propertiesWithHistory"
ASKED = {_HISTORY: list(_FLAGS)}
"""What a call asks beside that tells who set the flags."""
MOST = 50
"""Records in such a call."""
_RECENTLY = timedelta(days=1)
_OF_APPS = "INTEGRATION"
_UP = "true"


async def by_us(api: Api, rows: Sequence[Json]) -> dict[str, bool | None]:
    """Of those of whom it matters, by id. Whoever was read without the histories is asked for. Raises what calls
    raise."""
    since = clock.now() - _RECENTLY
    down = [row for row in rows if row["properties"].get(OPT_OUT) != _UP and _is_since(row, since)]
    if not down:
        return {}
    app = (await api.who()).app
    asked = [row["id"] for row in down if _HISTORY not in row]

    async def one(some: Sequence[str]) -> list[Json]:
        inputs = [{"id": id_} for id_ in some]
        return (await api.batch(f"{CONTACTS}/batch/read", inputs, properties=[OPT_OUT], **ASKED)).rows

    found = [row for read in await side_by_side(one, parts(asked, MOST)) for row in read]
    return {row["id"]: _judged(row, app, since) for row in (*down, *found) if _HISTORY in row}


def _is_since(row: Json, since: datetime) -> bool:
    at = instant_of(row["properties"].get(MODIFIED))
    return at is None or at >= since


def _judged(row: Json, app: str | None, since: datetime) -> bool | None:
    given = row.get(_HISTORY)
    history = {name: _entries(given, name) for name in _FLAGS}
    ups = [one for one in history[OPT_OUT] if one.get("value") == _UP]
    newest = _newest(history[OPT_OUT])
    if row["properties"].get(OPT_OUT) in (None, "") and ups and newest is not None and _at(newest) >= since:
        return True
    last = _newest([one for entries in history.values() for one in entries])
    if last is None:
        return None
    return None if app is None else last.get("sourceType") == _OF_APPS and str(last.get("sourceId")) == app


def _entries(given: Any, name: str) -> list[Mapping[str, Any]]:  # Any: JSON
    entries = given.get(name) if isinstance(given, dict) else None
    return [one for one in entries if isinstance(one, dict)] if isinstance(entries, list) else []


def _newest(entries: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:  # Any: JSON
    return max(entries, key=_at, default=None)


def _at(entry: Mapping[str, Any]) -> datetime:  # Any: JSON
    return instant_of(entry.get("timestamp")) or datetime.min.replace(tzinfo=clock.now().tzinfo)
