"""Reading persons.

Lists show nobody who was deleted: whoever is asked for by id and not shown is gone. Nor do they say who changed a
person. Source: OpenAPI document of the second version, August 2026.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from app import clock
from app.connectors.faults import CursorLost, Refused
from app.connectors.pacing import side_by_side
from app.connectors.pipedrive import values
from app.connectors.pipedrive.calls import MISSING_SCOPE, PAGE, Api, Endpoint, Json
from app.connectors.pipedrive.fields import PERSON, Fields
from app.connectors.pipedrive.values import LABELS, MARKETING_STATUS
from app.connectors.pipedrive.walking import time_of, walk
from app.connectors.shapes import Key, Page, Record, Values

LIST = Endpoint("GET", "/api/v2/persons", 10, "contacts:full")
SEARCH = Endpoint("GET", "/api/v2/persons/search", 20, "search:read", is_search=True)

_MOST_IDS = 100
_MOST_KEYS = 15
"""Custom fields that a list can be limited to."""
_NO_TERM = ("unsendable", "ERR_SCHEMA_VALIDATION_FAILED")
"""How it is said of what cannot be searched for, and so is nobody's address."""
_DONE = "done"


class Persons:
    def __init__(self, api: Api, fields: Fields) -> None:
        self._api = api
        self._fields = fields

    async def changes(self, cursor: str | None, names: Sequence[str]) -> Page:
        """By `walking`. A changed marketing status may move no time: `everybody` finds it."""
        rows, following, is_last = await walk(self._api, LIST, _asked(names), cursor)
        return Page(await self.records(rows, names), following, is_last)

    async def everybody(self, cursor: str | None, names: Sequence[str]) -> Page:
        """By id. Raises CursorLost if Pipedrive's cursor has ended, for there is no other way into the middle."""
        asked = {**_asked(names), "limit": PAGE, "sort_by": "id", "sort_direction": "asc"}
        if cursor is not None:
            following = _following(cursor)
            if following is None:
                return Page([], cursor, is_last=True)
            asked["cursor"] = following
        try:
            page = await self._api.rows(LIST, asked)
        except Refused as fault:
            if cursor is None or fault.code == MISSING_SCOPE:
                raise
            raise CursorLost("Pipedrive's cursor has ended") from None
        is_last = page.following is None
        here = _DONE if is_last else orjson.dumps({"following": page.following}).decode()
        return Page(await self.records(page.rows, names), here, is_last)

    async def fetch(self, ids: Sequence[str], names: Sequence[str]) -> list[Record]:
        wanted = list(dict.fromkeys(ids))
        known = [one for one in wanted if one.isascii() and one.isdigit()]
        chunks = [known[at : at + _MOST_IDS] for at in range(0, len(known), _MOST_IDS)]
        found: dict[str, Record] = {}
        for records in await side_by_side(lambda chunk: self._fetch(chunk, names), chunks):
            found |= {one.key.id: one for one in records}
        return [found.get(one) or Record(Key(PERSON, one), is_gone=True) for one in wanted]

    async def _fetch(self, ids: Sequence[str], names: Sequence[str]) -> list[Record]:
        # To the last page: who is on none of them is gone.
        asked = {**_asked(names), "limit": _MOST_IDS, "ids": ",".join(ids)}
        return await self.records([row async for row in self._api.every(LIST, asked)], names)

    async def find(self, addresses: Sequence[str], names: Sequence[str]) -> list[Record]:
        """By search, which may be some seconds late; then as they are now. Whose primary address it is comes first,
        then who was there first."""
        wanted = {one.strip().casefold() for one in addresses if one.strip()}
        hits = {id_ for ids in await side_by_side(self._hits, sorted(wanted)) for id_ in ids}
        records = [
            one
            for one in await self.fetch(sorted(hits, key=int), names)
            if not one.is_gone and wanted & {address.casefold() for address in one.addresses}
        ]
        return sorted(records, key=lambda one: one.addresses[0].casefold() not in wanted)

    async def _hits(self, address: str) -> list[str]:
        asked: dict[str, str | int] = {"term": address, "fields": "email", "exact_match": "true", "limit": PAGE}
        try:
            items = [hit.get("item") async for hit in self._api.every(SEARCH, asked)]
        except Refused as fault:
            if fault.code not in _NO_TERM:
                raise
            return []
        ids = [str(item.get("id")) for item in items if isinstance(item, dict)]
        return [one for one in ids if one.isascii() and one.isdigit()]

    async def records(self, rows: Sequence[Json], names: Sequence[str]) -> list[Record]:
        """As they were shown just now.

        Whether a person has no value in a field, or there is no such field (any more), may look alike. It must not be
        mistaken: else whoever deletes the field for opting out would opt everybody in. So where no person at all shows
        a field, the fields are listed again.
        """
        read_at = clock.now()
        custom = values.custom(names)
        shown = {name for row in rows for name in _custom_of(row).keys() & set(custom)}
        of_options = [*custom, LABELS] if LABELS in names else custom
        listing = await self._listing(rows, of_options)
        hidden = set(custom) - shown
        if hidden and any(row.get("is_deleted") is not True for row in rows):
            shown |= hidden & (await self._fields.listing_since(read_at)).keys()
        return [_record(row, values.read(row, names, listing, shown)) for row in rows]

    async def _listing(self, rows: Iterable[Json], names: Sequence[str]) -> values.Listing:
        """One that knows what these persons hold, as far as there is one."""
        holding = [row for row in rows if values.is_unknown(row, names, {})]
        if not holding:
            return {}
        listing = await self._fields.listing()
        if any(values.is_unknown(row, names, listing) for row in holding):
            listing = await self._fields.listing_since(clock.now())
        return listing


def _asked(names: Sequence[str]) -> dict[str, str | int]:
    """What of a person is to be shown. More custom fields than can be named come all."""
    asked: dict[str, str | int] = {}
    custom = values.custom(names)
    if 0 < len(custom) <= _MOST_KEYS:
        asked["custom_fields"] = ",".join(custom)
    if MARKETING_STATUS in names:
        asked["include_fields"] = MARKETING_STATUS
    return asked


def _record(row: Json, shown: Values) -> Record:
    key, modified_at = Key(PERSON, str(row.get("id"))), time_of(row, "update_time")
    if row.get("is_deleted") is True:
        return Record(key, modified_at=modified_at, is_gone=True)
    return Record(key, shown, values.addresses(row), modified_at)


def _custom_of(row: Json) -> dict[str, Any]:  # Any: JSON
    given = row.get("custom_fields")
    return given if isinstance(given, dict) else {}


def _following(cursor: str) -> str | None:
    if cursor == _DONE:
        return None
    try:
        following = orjson.loads(cursor)["following"]
    except (ValueError, TypeError, KeyError):
        following = None
    if not isinstance(following, str):
        raise CursorLost("the cursor is none of this version's")
    return following
