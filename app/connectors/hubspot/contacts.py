"""Reading contacts.

Search knows of a change late, and of an opt-out perhaps without a new time; so it only tells who changed, and what they
are is read from the object. Lists and searches show nobody who was deleted: whoever is asked for by id and not there is
gone. The id of one that was merged into another answers as that other, or is unknown by now (which of the two is
nowhere said); the other tells who became it. Source: models of HubSpot's clients, October 2026.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from app import clock
from app.connectors.faults import CursorLost, Refused
from app.connectors.hubspot import authors, walking
from app.connectors.hubspot.api import CONTACTS, MISSING_SCOPE, MOST, Api, Json, parts
from app.connectors.hubspot.fields import (
    CONTACT,
    EMAIL,
    MERGED,
    MODIFIED,
    MORE_EMAILS,
    OPT_OUT,
    Fields,
    Listing,
    addresses,
    read,
    wire_names,
)
from app.connectors.hubspot.values import instant_of, millis_of
from app.connectors.hubspot.walking import Place
from app.connectors.pacing import side_by_side
from app.connectors.shapes import Key, Page, Record

_TOLD = (EMAIL, MORE_EMAILS, MODIFIED, MERGED)
_TYPE = "contacts"
_LONGEST_QUERY = 4_000
"""Characters of properties' names that a list is asked for by its address."""
_LONGEST_SEARCH = 2_500
"""Characters of addresses or ids in a search, of which a body may hold 3,000."""
_ALL, _AFTER, _DONE = "all", "after", "done"


class Contacts:
    def __init__(self, api: Api, fields: Fields) -> None:
        self._api = api
        self._fields = fields

    async def changes(self, cursor: str | None, names: Sequence[str]) -> Page:
        """First everybody, by the list; from then on by `walking`."""
        said = {_ALL: millis_of(clock.now())} if cursor is None else walking.from_text(cursor)
        if isinstance(said, dict) and _ALL in said:
            return await self._first(said, names)
        place = Place.read(said)
        rows, place = await walking.next_page(self._api, _TYPE, MODIFIED, (), place)
        ids = [row["id"] for row in rows]
        there = await self._rows(ids, names)
        became = _became(there)
        left = dict.fromkeys([*ids, *became]).keys() - {row["id"] for row in there}
        records = [*await self._records(there, names), *(_gone(one, became) for one in left)]
        return Page(records, walking.to_text(place.to_json()), place.is_at_end)

    async def _first(self, said: Json, names: Sequence[str]) -> Page:
        began, after = said.get(_ALL), said.get(_AFTER)
        if type(began) is not int or not isinstance(after, str | None):
            raise CursorLost("the cursor is none of this version's")
        records, following = await self._listed(after, names)
        if following is None:
            return Page(records, walking.to_text(Place.since(began).to_json()), is_last=True)
        return Page(records, walking.to_text({_ALL: began, _AFTER: following}), is_last=False)

    async def everybody(self, cursor: str | None, names: Sequence[str]) -> Page:
        """By HubSpot's list, which is in the order of ids. Raises CursorLost if its cursor has ended."""
        said = {} if cursor is None else walking.from_text(cursor)
        after = said.get(_AFTER) if isinstance(said, dict) else None
        if not isinstance(said, dict) or not isinstance(after, str | None) or said.keys() - {_AFTER, _DONE}:
            raise CursorLost("the cursor is none of this version's")
        if _DONE in said:
            return Page([], str(cursor), is_last=True)
        records, following = await self._listed(after, names)
        here = {_DONE: True} if following is None else {_AFTER: following}
        return Page(records, walking.to_text(here), following is None)

    async def fetch(self, ids: Sequence[str], names: Sequence[str]) -> list[Record]:
        wanted = list(dict.fromkeys(ids))
        known = [one for one in wanted if _is_id(one)]
        rows = await self._rows(known, names)
        # Merged ones, whose id answers as another's.
        became = _became(rows)
        found = {one.key.id: one for one in await self._records(rows, names)}
        missing = [one for one in known if one not in found and one not in became]
        became |= await self._sought(missing)
        return [found.get(one) or _gone(one, became) for one in wanted]

    async def find(self, addresses_: Sequence[str], names: Sequence[str]) -> list[Record]:
        """By the address itself, which is never late; whom that does not find, by search among the further addresses.

        Whether the address itself also finds whose further one it is, is nowhere said.
        """
        wanted = list(dict.fromkeys(one.strip().lower() for one in addresses_ if one.strip()))
        told = {"idProperty": EMAIL}
        rows = {row["id"]: row for row in await self._rows(wanted, names, **told)}
        missing = sorted({*wanted} - {one.lower() for row in rows.values() for one in addresses(row)})
        ids = [id_ for some in _pieces(missing) for id_ in await self._holding(some)]
        rows |= {row["id"]: row for row in await self._rows(ids, names)}
        kept = [row for row in rows.values() if {*wanted} & {one.lower() for one in addresses(row)}]
        records = await self._records(kept, names)
        return sorted(records, key=lambda one: one.addresses[0].lower() not in wanted)

    # --- parts --------------------------------------------------------------------------------------------------------

    async def _listed(self, after: str | None, names: Sequence[str]) -> tuple[list[Record], str | None]:
        asked = ",".join(_asked(names))
        params: dict[str, str | int] = {"limit": MOST} if after is None else {"limit": MOST, "after": after}
        try:
            if len(asked) <= _LONGEST_QUERY:
                rows, following = await self._api.page({**params, "properties": asked})
                return await self._records(rows, names), following
            rows, following = await self._api.page(params)
        except Refused as fault:
            if after is None or fault.code == MISSING_SCOPE:
                raise
            raise CursorLost("HubSpot's cursor has ended") from None
        return await self._read([row["id"] for row in rows], names), following

    async def _read(self, ids: Sequence[str], names: Sequence[str]) -> list[Record]:
        return await self._records(await self._rows(ids, names), names)

    async def _rows(self, ids: Sequence[str], names: Sequence[str], **more: str) -> list[Json]:
        """Those of them that are there, be they asked for by their id or by another name."""

        most, said = (authors.MOST, {**more, **authors.ASKED}) if OPT_OUT in names else (MOST, more)

        async def one(some: Sequence[str]) -> list[Json]:
            inputs = [{"id": id_} for id_ in some]
            return (await self._api.batch(f"{CONTACTS}/batch/read", inputs, properties=_asked(names), **said)).rows

        return [row for rows in await side_by_side(one, parts(ids, most)) for row in rows]

    async def _records(self, rows: Sequence[Json], names: Sequence[str]) -> list[Record]:
        distinct = {row["id"]: row for row in rows}
        listing = await self._fields.knowing(names)
        by_us = await authors.by_us(self._api, list(distinct.values())) if OPT_OUT in names else {}
        return [_record(row, names, listing, by_us.get(id_)) for id_, row in distinct.items()]

    async def _sought(self, ids: Sequence[str]) -> dict[str, str]:
        """Into whom those were merged whose ids are unknown, as far as search tells."""
        found: dict[str, str] = {}
        for some in _pieces(ids):
            found |= _became(await self._with(MERGED, some))
        return found

    async def _holding(self, some: Sequence[str]) -> list[str]:
        return [row["id"] for row in await self._with(MORE_EMAILS, some)]

    async def _with(self, name: str, some: Sequence[str]) -> list[Json]:
        """Contacts that have one of these among several values. None, where search cannot look there."""
        filters = [{"propertyName": name, "operator": "IN", "values": list(some)}]
        asked = {"filterGroups": [{"filters": filters}], "properties": [name], "limit": walking.PAGE}
        try:
            rows, _ = await self._api.search(_TYPE, asked)
        except Refused as fault:
            if fault.code == MISSING_SCOPE:
                raise
            return []
        return rows


def _asked(names: Iterable[str]) -> list[str]:
    return sorted({*wire_names(names), *_TOLD})


def _record(row: Json, names: Iterable[str], listing: Listing, by_us: bool | None) -> Record:
    return Record(Key(CONTACT, row["id"]), read(row, names, listing), addresses(row), modified_at(row), by_us)


def _gone(id_: str, became: dict[str, str]) -> Record:
    into = became.get(id_)
    return Record(Key(CONTACT, id_), is_gone=True, successor=None if into is None else Key(CONTACT, into))


def _became(rows: Iterable[Json]) -> dict[str, str]:
    """Who was merged into these, and into whom."""
    return {
        one: row["id"]
        for row in rows
        for one in str(row["properties"].get(MERGED) or "").split(";")
        if _is_id(one) and one != row["id"]
    }


def modified_at(row: Json) -> datetime | None:
    return instant_of(row["properties"].get(MODIFIED)) or instant_of(row.get("updatedAt"))


def _pieces(words: Sequence[str]) -> list[list[str]]:
    """As many as a search may name."""
    pieces: list[list[str]] = [[]]
    for word in words:
        if sum(len(one) + 3 for one in pieces[-1]) + len(word) > _LONGEST_SEARCH:
            pieces.append([])
        pieces[-1].append(word)
    return [some for some in pieces if some]


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20
