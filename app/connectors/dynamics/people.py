"""Contacts and leads, read: everybody, some by their ids, some by their addresses; what a row says of somebody.

A record that was deactivated stays one: it may be mailed by whoever overlooks it, so its flags matter. Merging
deactivates the loser and names the winner; qualifying a lead closes it and makes a contact that names it. Both are
gone here, with what they became.

Sources: Microsoft Learn, "Merge table rows using the Web API", the references of contact and lead.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import orjson

from app.connectors.dynamics import values
from app.connectors.dynamics.api import Api, Row, address, among
from app.connectors.dynamics.columns import ADDRESSES, CONTACT, IDS, LEAD, SETS, Column, Described, Table
from app.connectors.dynamics.walking import SIZE, is_path
from app.connectors.faults import CursorLost, Refused
from app.connectors.shapes import Key, Kind, Page, Record, Value

ALL = "odata.maxpagesize=5000"
_TOLD = ("modifiedon", "modifiedby", "statecode", "merged", "masterid", *ADDRESSES)
_OF_LEADS = ("parentcontactid",)
_QUALIFIED = 1
IDS_AT_ONCE, _ADDRESSES_AT_ONCE = 200, 50
"""In one list of a batch, where an address may have 64 kB."""

Found = TypeVar("Found")


class People:
    def __init__(self, api: Api, described: Described) -> None:
        self._api = api
        self._described = described

    async def everybody(self, object_: str, cursor: str | None, fields: Sequence[str]) -> Page:
        """Those who are there, in the order of their ids. The cursor is the CRM's link to the next page, which goes on
        after an id. Raises CursorLost where it is none, or other fields are asked for than it was made with."""
        table = await self._described.table(object_)
        place = _read_place(cursor)
        if table is None or (place is not None and place["link"] is None):
            return Page([], cursor or _place(None, ""), True)

        async def look(table: Table) -> Page:
            columns = ",".join(self.columns(table, fields))
            if place is None:
                path = address(SETS[object_], select=columns, orderby=f"{IDS[object_]} asc")
            elif place["columns"] == columns:
                path = str(place["link"])
            else:
                raise CursorLost("other fields are asked for")
            found = await self._api.page(path, SIZE)
            there = [one for one in await self.records(table, found.rows, fields, heirs=False) if not one.is_gone]
            return Page(there, _place(found.following, columns), found.following is None)

        try:
            return await self.seen(object_, fields, look)
        except Refused:
            if place is None:
                raise
            raise CursorLost("the CRM knows its link no more") from None

    async def fetch(
        self, object_: str, ids: Sequence[str], fields: Sequence[str], *, heirs: bool = True
    ) -> list[Record]:
        """One for each id, in their order. Whoever is not found was deleted."""
        asked = {one: values.guid(one) for one in dict.fromkeys(ids)}
        known = list(dict.fromkeys(one for one in asked.values() if one is not None))
        rows = await self._among(object_, [IDS[object_]], known, fields, IDS_AT_ONCE, heirs=heirs)
        found = {one.key.id: one for one in rows}
        gone = {one: Record(Key(object_, one), is_gone=True) for one in asked}
        return [
            record._replace(key=Key(object_, one)) if id_ and (record := found.get(id_)) else gone[one]
            for one, id_ in asked.items()
        ]

    async def find(self, object_: str, addresses: Sequence[str], fields: Sequence[str]) -> list[Record]:
        """Those who are there with one of these as any of their three addresses, without regard to case."""
        table = await self._described.table(object_)
        by = [] if table is None else [one for one in ADDRESSES if table.mappable(one)]
        asked = list(dict.fromkeys(addresses))
        rows = await self._among(object_, by, asked, fields, _ADDRESSES_AT_ONCE, heirs=False)
        return [one for one in rows if not one.is_gone]

    # --- rows ---------------------------------------------------------------------------------------------------------

    async def seen(self, object_: str, fields: Sequence[str], look: Callable[[Table], Awaitable[Found]]) -> Found:
        """What `look` finds, given the table as it is described; this is read anew once, if a column has gone since.
        Raises Refused where there is no such table."""
        table = await self._fitting(object_, fields)
        try:
            return await look(table)
        except Refused:
            self._described.forget(object_)
            anew = await self._fitting(object_, fields)
            if self.columns(anew, fields) == self.columns(table, fields):
                raise
            return await look(anew)

    async def _fitting(self, object_: str, fields: Iterable[str]) -> Table:
        """With the labels of choices, if one of them is asked for."""
        table = await self._described.tables(object_)
        kinds = {column.shown.kind for name in fields if (column := table.mappable(name)) is not None}
        if kinds & {Kind.CHOICE, Kind.CHOICES}:
            table = await self._described.table(object_, is_whole=True) or table
        return table

    def columns(self, table: Table, fields: Iterable[str]) -> list[str]:
        """What is selected to read these fields: as rows show it."""
        more = _OF_LEADS if table.object == LEAD else ()
        told = [table.columns[name].key for name in (*_TOLD, *more) if name in table.columns]
        asked = [name for one in fields if (column := table.mappable(one)) is not None for name in column.selects]
        return sorted({IDS[table.object], *told, *asked})

    async def records(
        self, table: Table, rows: Sequence[Row], fields: Sequence[str], *, heirs: bool = True
    ) -> list[Record]:
        """With `heirs`, for a lead that was qualified its contact is looked up."""
        us = await self._api.user()
        asked = [column for name in fields if (column := table.mappable(name)) is not None]
        closed = [str(row[IDS[LEAD]]) for row in rows if table.object == LEAD and _is_qualified(row)]
        became = await self._contacts_of(closed) if heirs and closed else {}
        return [_record(table, row, asked, us, became) for row in rows]

    async def _among(
        self,
        object_: str,
        by: Sequence[str],
        asked: Sequence[str],
        fields: Sequence[str],
        size: int,
        *,
        heirs: bool = True,
    ) -> list[Record]:
        """In a batch: a list of addresses does not fit into one, nor does it belong into the logs on the way."""
        if not asked or not by or await self._described.table(object_) is None:
            return []

        async def look(table: Table) -> list[Record]:
            columns = ",".join(self.columns(table, fields))
            paths = [
                address(SETS[object_], select=columns, filter=" or ".join(among(one, some) for one in by))
                for some in _pieces(asked, size)
            ]
            rows = {str(row[IDS[object_]]): row for found in await self._api.lists(paths, ALL) for row in found}
            return await self.records(table, list(rows.values()), fields, heirs=heirs)

        return await self.seen(object_, fields, look)

    async def _contacts_of(self, leads: Sequence[str]) -> dict[str, str]:
        """Which contact was made of each; of several the first."""
        select, order = "contactid,_originatingleadid_value", "createdon asc,contactid asc"
        paths = [
            address(SETS[CONTACT], select=select, filter=among("originatingleadid", some), orderby=order)
            for some in _pieces(leads, IDS_AT_ONCE)
        ]
        found: dict[str, str] = {}
        for rows in await self._api.lists(paths, ALL):
            for row in rows:
                found.setdefault(str(row.get("_originatingleadid_value")), str(row["contactid"]))
        return found


def is_deletion(row: Row) -> bool:
    """Whether a list of changes says that somebody is not there any more."""
    return "reason" in row and str(row.get("@odata.context", "")).endswith("$deletedEntity")


def _record(table: Table, row: Row, fields: Sequence[Column], us: str | None, became: Mapping[str, str]) -> Record:
    if is_deletion(row):
        return Record(Key(table.object, str(row.get("id"))), is_gone=True)
    key = Key(table.object, str(row[IDS[table.object]]))
    is_qualified = table.object == LEAD and _is_qualified(row)
    is_gone = row.get("merged") is True or is_qualified
    changed_by = row.get("_modifiedby_value")
    successor = None
    if row.get("merged") is True and row.get("_masterid_value"):
        successor = Key(table.object, row["_masterid_value"])
    elif is_qualified:
        contact = became.get(key.id) or row.get("_parentcontactid_value")
        successor = Key(CONTACT, contact) if contact else None
    return Record(
        key,
        {} if is_gone else {one.name: _value(one, row) for one in fields if _is_shown(one, row)},
        () if is_gone else tuple(dict.fromkeys(row[one] for one in ADDRESSES if row.get(one))),
        values.instant(row.get("modifiedon")),
        None if us is None or changed_by is None else changed_by == us,
        is_gone,
        successor,
    )


def _value(column: Column, row: Row) -> Value:
    if column.parts:
        return any(row[one] is True for one in column.parts)
    return values.read(column.shown.kind, row[column.key], column.options)


def _is_shown(column: Column, row: Row) -> bool:
    """A flag of the CRM's own is yes or no: one that is neither has come under column security, and says nothing. One
    that somebody made later is neither for whoever was there before."""
    said = [row.get(one) for one in column.selects]
    is_silent = None in said and True not in said
    is_flag_of_theirs = column.shown.kind is Kind.BOOLEAN and not column.shown.is_custom
    return set(column.selects) <= row.keys() and not (is_flag_of_theirs and is_silent)


def _is_qualified(row: Row) -> bool:
    return row.get("statecode") == _QUALIFIED


def _pieces(many: Sequence[str], size: int) -> list[Sequence[str]]:
    return [many[begin : begin + size] for begin in range(0, len(many), size)]


def _place(link: str | None, columns: str) -> str:
    return orjson.dumps({"link": link, "columns": columns}).decode()


def _read_place(cursor: str | None) -> dict[str, object] | None:
    """Raises CursorLost."""
    if cursor is None:
        return None
    try:
        said = orjson.loads(cursor)
    except orjson.JSONDecodeError:
        raise CursorLost("the cursor is not JSON") from None
    if not isinstance(said, dict) or said.keys() != {"link", "columns"} or not is_path(said["link"]):
        raise CursorLost("the cursor is no place in everybody")
    return said
