"""Reading people and leads.

Search may be some minutes late, while a record that is read by its id is as it is. No list tells of those who were
deleted or merged away: whoever is asked for by id and not known is gone. A lead that became a person stays readable,
says what it became, and is told of as gone; so does the person say which lead it was. Nobody says who changed what.
Source: "People" and "Leads" of Copper's developer documentation, August 2026.
"""

from collections.abc import Sequence
from functools import partial

from app import clock
from app.connectors.copper import values, walking, windows
from app.connectors.copper.calls import REACH, Api, Endpoint, Json, Rows, is_id, record_of, refused
from app.connectors.copper.fields import Fields
from app.connectors.copper.listed import BUILT_IN, CHOICES, LEAD, PERSON, Listing, custom
from app.connectors.copper.walking import instant
from app.connectors.copper.windows import Order, Stretch
from app.connectors.faults import Refused, Unreachable
from app.connectors.http import Reply
from app.connectors.pacing import side_by_side
from app.connectors.shapes import Key, Page, Record

PLURALS = {PERSON: "people", LEAD: "leads"}
SEARCHES = {object_: Endpoint("POST", f"/{plural}/search") for object_, plural in PLURALS.items()}
_RECORDS = {object_: Endpoint("GET", f"/{plural}") for object_, plural in PLURALS.items()}
BY_EMAIL = Endpoint("POST", "/people/fetch_by_email")

_FEW = 3
"""So many are read one by one: they are as they are, and it costs no more than to search."""
_FEW_ADDRESSES = 10
_ADDRESSES_AT_ONCE = 25
_DONE = "done"


class People:
    """Of one account."""

    def __init__(self, api: Api, fields: Fields) -> None:
        self._api = api
        self._fields = fields

    async def changes(self, object_: str, cursor: str | None, names: Sequence[str]) -> Page:
        """By `walking`."""
        rows, place = await walking.walk(partial(self._search, object_), cursor, self._api.page_size)
        records = await self.records(object_, rows, names)
        if object_ == PERSON and place.sure is not None:
            # Where leads that were converted are not shown, nothing else says what they became.
            records += [one for row in rows for one in _leads_of(row)]
        return Page(records, windows.written(place), place.stretch is None)

    async def everybody(self, object_: str, cursor: str | None, names: Sequence[str]) -> Page:
        """By when they were made. Leads that became people are not among them."""
        if cursor == _DONE:
            return Page([], _DONE, is_last=True)
        stretch = Stretch() if cursor is None else windows.parsed(Stretch, windows.loaded(cursor))
        search = partial(self._search, object_, with_converted=False)
        rows, following = await windows.read(search, Order.CREATED, stretch, self._api.page_size)
        here = _DONE if following is None else windows.written(following)
        return Page(await self.records(object_, rows, names), here, following is None)

    async def fetch(self, object_: str, ids: Sequence[str], names: Sequence[str]) -> list[Record]:
        wanted = list(dict.fromkeys(ids))
        known = [one for one in wanted if one.isascii() and one.isdigit()]
        found: dict[str, Json] = {}
        if len(known) > _FEW:
            size = self._api.page_size
            chunks = [known[at : at + size] for at in range(0, len(known), size)]
            for rows in await side_by_side(partial(self._listed, object_), chunks):
                found |= {str(row.get("id")): row for row in rows}
        # Search may not show yet who is there: who is not known even by its id is gone.
        missing = [one for one in known if one not in found]
        for row in await side_by_side(partial(self.record, object_), missing):
            found |= {} if row is None else {str(row["id"]): row}
        records = {one.key.id: one for one in await self.records(object_, list(found.values()), names)}
        return [records.get(one) or Record(Key(object_, one), is_gone=True) for one in wanted]

    async def _listed(self, object_: str, ids: Sequence[str]) -> list[Json]:
        asked = {**_BY_CREATION, "ids": [int(one) for one in ids], "page_number": 1, "page_size": self._api.page_size}
        try:
            return (await self._search(object_, asked)).rows
        except Refused:
            if object_ != LEAD:
                raise
            return []  # whether leads can be searched for by their ids is not documented

    async def record(self, object_: str, id_: str) -> Json | None:
        """A record as it is now; None if there is none. Raises Refused, SignInRefused, Later."""
        row = _found(await self._api.call(_RECORDS[object_].at(id_)))
        if row is not None and str(row["id"]) != id_:
            raise Unreachable("an answer was about another record")
        return row

    async def find(self, object_: str, addresses: Sequence[str], names: Sequence[str]) -> list[Record]:
        """By search; a few people whom it does not show (yet) also one by one, which need not be late. Whose first
        address it is comes first."""
        wanted = sorted({one.strip().casefold() for one in addresses if one.strip()})
        size = 1 if object_ == LEAD else _ADDRESSES_AT_ONCE
        chunks = [wanted[at : at + size] for at in range(0, len(wanted), size)]
        hits = await side_by_side(partial(self._having, object_), chunks)
        found = {row.get("id"): row for rows in hits for row in rows}
        met = {one.casefold() for row in found.values() for one in values.addresses(row)}
        missing = [one for one in wanted if one not in met]
        if object_ == PERSON and len(missing) <= _FEW_ADDRESSES:
            rows = await side_by_side(self.by_email, missing)
            found |= {row["id"]: row for row in rows if row is not None}
        records = [
            one
            for one in await self.records(object_, list(found.values()), names)
            if not one.is_gone and any(address.casefold() in wanted for address in one.addresses)
        ]
        return sorted(records, key=lambda one: one.addresses[0].casefold() not in wanted)

    async def _having(self, object_: str, addresses: Sequence[str]) -> list[Json]:
        """Everybody who has one of these; a search for leads takes one at a time."""
        rows: list[Json] = []
        size = self._api.page_size
        for page in range(1, REACH // size + 1):
            asked: Json = {**_BY_CREATION, "page_number": page, "page_size": size}
            asked["emails"] = addresses[0] if object_ == LEAD else list(addresses)
            found = (await self._search(object_, asked, with_converted=False)).rows
            rows += found
            if len(found) < size:
                break
        return rows

    async def by_email(self, address: str) -> Json | None:
        """The person who has this address. Raises SignInRefused, Later."""
        reply = await self._api.call(BY_EMAIL, {"email": address})
        try:
            return _found(reply)
        except Refused:
            return None  # what cannot be looked for is nobody's

    async def _search(self, object_: str, asked: Json, *, with_converted: bool = True) -> Rows:
        more = {"include_converted_leads": True} if object_ == LEAD and with_converted else {}
        return await self._api.search(SEARCHES[object_], {**asked, **more})

    # --- as records ---------------------------------------------------------------------------------------------------

    async def records(self, object_: str, rows: Sequence[Json], names: Sequence[str]) -> list[Record]:
        """As they were shown just now.

        Whether somebody has no value in a field, or there is no such field (any more), may look alike. It must not be
        mistaken: else whoever deletes the field for opting out would opt everybody in. So where nobody at all shows a
        field, the fields are listed again.
        """
        read_at = clock.now()
        own = set(custom(names))
        shown = {name for row in rows for name in values.held(row).keys() & own}
        listing = await self._listing(object_, rows, names)
        hidden = own - shown
        if hidden and rows:
            known = await self._fields.listing_since(read_at)
            shown |= {name for name in hidden if name in known and object_ in known[name].objects}
        return [
            record(object_, row)._replace(values=values.read(row, object_, names, listing, shown))
            if is_there(row)
            else record(object_, row)
            for row in rows
        ]

    async def _listing(self, object_: str, rows: Sequence[Json], names: Sequence[str]) -> Listing:
        """One that knows what these records hold, as far as there is one."""
        telling = [name for name in names if name in CHOICES or name not in BUILT_IN[object_]]
        holding = [row for row in rows if values.is_unknown(row, object_, telling, {})]
        if not holding:
            return {}
        listing = await self._fields.listing()
        if any(values.is_unknown(row, object_, telling, listing) for row in holding):
            listing = await self._fields.listing_since(clock.now())
        return listing


_BY_CREATION = {"sort_by": Order.CREATED.attribute, "sort_direction": "asc"}


def record(object_: str, row: Json) -> Record:
    """Without values."""
    key, modified_at = Key(object_, str(row.get("id"))), instant(row, Order.MODIFIED.attribute)
    if is_there(row):
        return Record(key, {}, values.addresses(row), modified_at)
    became = row.get("converted_contact_id")
    return Record(
        key, modified_at=modified_at, is_gone=True, successor=Key(PERSON, str(became)) if is_id(became) else None
    )


def is_there(row: Json) -> bool:
    """Whether it was neither deleted nor converted."""
    converted = row.get("converted_contact_id"), row.get("converted_opportunity_id"), row.get("converted_at")
    return row.get("is_deleted") is not True and all(one is None for one in converted)


def _leads_of(row: Json) -> list[Record]:
    """What a person once was, as the person says."""
    said = row.get("leads_converted_from")
    # What an entry looks like is not documented: an id, or an object that has one.
    ids = [one.get("id") if isinstance(one, dict) else one for one in said] if isinstance(said, list) else []
    became = Key(PERSON, str(row.get("id")))
    return [Record(Key(LEAD, str(one)), is_gone=True, successor=became) for one in ids if is_id(one)]


def _found(reply: Reply) -> Json | None:
    """The record that a call answers; None if it says that there is none."""
    if reply.is_success:
        return record_of(reply)
    fault = refused(reply)
    if reply.status != 404:
        raise fault
    return None
