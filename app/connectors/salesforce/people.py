"""Contacts and leads, read: what changed, everybody, some by their ids, some by their addresses."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from app.connectors.faults import CursorLost, Refused
from app.connectors.salesforce import feeds, queries, values
from app.connectors.salesforce.api import Api, Row
from app.connectors.salesforce.feeds import Place
from app.connectors.salesforce.fields import EMAIL, Described
from app.connectors.shapes import CrmField, Key, Page, Record

CONTACT, LEAD = "Contact", "Lead"
OBJECTS = (CONTACT, LEAD)
_TOLD = ("Id", "SystemModstamp", "IsDeleted", "MasterRecordId", "LastModifiedById", EMAIL)
_OF_LEADS = ("IsConverted", "ConvertedContactId")

Found = TypeVar("Found")


class People:
    def __init__(self, api: Api, described: Described) -> None:
        self._api = api
        self._described = described

    async def changes(self, object_: str, cursor: str | None, fields: Sequence[str]) -> Page:
        begin = Place.beginning() if cursor is None else Place.read(feeds.from_text(cursor))

        async def look(columns: Sequence[str]) -> tuple[list[Row], Place]:
            return await feeds.next_page(self._api, object_, columns, begin)

        rows, place = await self._seen(object_, fields, look)
        return Page(await self._records(object_, rows, fields), feeds.to_text(place.to_json()), place.is_at_end)

    async def everybody(self, object_: str, cursor: str | None, fields: Sequence[str]) -> Page:
        """Those who are neither deleted nor converted, in the order of their ids; the cursor is the last one's."""
        if cursor and not values.is_id(cursor):
            raise CursorLost("the cursor is no id")

        async def look(columns: Sequence[str]) -> tuple[list[Row], bool]:
            return await self._page_by_id(object_, columns, [_not_converted(object_)], cursor or "")

        rows, is_all = await self._seen(object_, fields, look)
        last = rows[-1]["Id"] if rows else cursor or ""
        return Page(await self._records(object_, rows, fields), last, is_all)

    async def fetch(self, object_: str, ids: Sequence[str], fields: Sequence[str]) -> list[Record]:
        """With deleted, merged and converted ones; whoever is not found was deleted for good, or is hidden from us.

        Collections' own reading of ids knows no deleted records, and so not what became of one.
        """
        asked = list(dict.fromkeys(ids))
        rows = await self._among(object_, "Id", [one for one in asked if values.is_id(one)], fields, with_deleted=True)
        found = {one.key.id[:15]: one for one in await self._records(object_, rows, fields)}
        return [found.get(one[:15]) or Record(Key(object_, one), is_gone=True) for one in asked]

    async def find(self, object_: str, addresses: Sequence[str], fields: Sequence[str]) -> list[Record]:
        """SOQL compares without regard to case."""
        asked = list(dict.fromkeys(addresses))
        rows = await self._among(object_, EMAIL, asked, fields, with_deleted=False)
        return await self._records(object_, rows, fields)

    # --- parts --------------------------------------------------------------------------------------------------------

    async def _among(
        self, object_: str, by: str, asked: Sequence[str], fields: Sequence[str], *, with_deleted: bool
    ) -> list[Row]:
        async def look(columns: Sequence[str]) -> list[Row]:
            def soql(some: Sequence[str]) -> str:
                return queries.select(columns, object_, [queries.among(by, some)], "Id", 1)

            conditions = [] if with_deleted else [_not_converted(object_)]
            rows: list[Row] = []
            for some in queries.pieces(asked, soql):
                where, last, is_all = [queries.among(by, some), *conditions], "", False
                while not is_all:
                    page, is_all = await self._page_by_id(object_, columns, where, last, with_deleted=with_deleted)
                    rows += page
                    last = page[-1]["Id"] if page else last
            return rows

        return await self._seen(object_, fields, look) if asked else []

    async def _page_by_id(
        self,
        object_: str,
        columns: Sequence[str],
        where: Sequence[str | None],
        last: str,
        *,
        with_deleted: bool = False,
    ) -> tuple[list[Row], bool]:
        on = [*where, f"Id > '{last}'" if last else None]
        found = await self._api.page(
            lambda most: queries.select(columns, object_, on, "Id", most), with_deleted=with_deleted
        )
        return found.rows, found.is_all

    async def _seen(
        self, object_: str, fields: Sequence[str], look: Callable[[Sequence[str]], Awaitable[Found]]
    ) -> Found:
        """What `look` finds, given the columns that are described; these are read anew once if one has gone since."""
        try:
            return await look(_columns(object_, await self._described.fields(object_), fields))
        except Refused as fault:
            if fault.code != "INVALID_FIELD":
                raise
        self._described.forget(object_)
        return await look(_columns(object_, await self._described.fields(object_), fields))

    async def _records(self, object_: str, rows: Sequence[Row], fields: Sequence[str]) -> list[Record]:
        known = await self._described.fields(object_)
        us = await self._api.user()
        return [_record(object_, row, [known[name] for name in fields if name in known], us) for row in rows]


def _record(object_: str, row: Row, fields: Sequence[CrmField], us: str | None) -> Record:
    is_gone = bool(row.get("IsDeleted") or row.get("IsConverted"))
    address = row.get(EMAIL)
    changed_by = row.get("LastModifiedById")
    return Record(
        Key(object_, row["Id"]),
        {} if is_gone else {one.name: values.read(one, row[one.name]) for one in fields if one.name in row},
        (address,) if address and not is_gone else (),
        feeds.modified_at(row),
        None if us is None or changed_by is None else values.same_id(changed_by, us),
        is_gone,
        _successor(object_, row),
    )


def _successor(object_: str, row: Row) -> Key | None:
    if row.get("IsDeleted"):
        return Key(object_, row["MasterRecordId"]) if row.get("MasterRecordId") else None
    became = row.get("ConvertedContactId") if row.get("IsConverted") else None
    return Key(CONTACT, became) if became else None


def _columns(object_: str, known: Mapping[str, CrmField], fields: Sequence[str]) -> list[str]:
    wanted = (*_TOLD, *(_OF_LEADS if object_ == LEAD else ()), *fields)
    return [one for one in dict.fromkeys(wanted) if one in known]


def _not_converted(object_: str) -> str | None:
    return "IsConverted = false" if object_ == LEAD else None
