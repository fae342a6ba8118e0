"""What an environment describes of its tables of people: columns and their kinds, and what to map of them.

A column under column security is left out unless the connection says `secured`: who may not read it reads it as empty,
which would be taken for an opt-in. Source: Microsoft Learn, "Query schema definitions" and the references of the
tables contact and lead.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from app import clock
from app.connectors.dynamics.api import Api, Row, address
from app.connectors.faults import Refused
from app.connectors.shapes import CrmField, DefaultPair, Kind, WantedField

CONTACT, LEAD = "contact", "lead"
OBJECTS = (CONTACT, LEAD)
SETS: Mapping[str, str] = {CONTACT: "contacts", LEAD: "leads"}
IDS: Mapping[str, str] = {CONTACT: "contactid", LEAD: "leadid"}
ADDRESSES = ("emailaddress1", "emailaddress2", "emailaddress3")
EMAIL, NAME = "emailaddress1", "fullname"
BULK, ANY, BOTH = "donotbulkemail", "donotemail", "both"
OPT_OUTS = (BULK, ANY, BOTH)
TOGETHER = f"{BULK}+{ANY}"
"""A field of ours over two columns: it is yes if either is, and writes both."""

_REMEMBERED = timedelta(minutes=15)
_KINDS = {
    "String": Kind.TEXT, "Memo": Kind.TEXT, "Integer": Kind.NUMBER, "BigInt": Kind.NUMBER, "Decimal": Kind.NUMBER,
    "Double": Kind.NUMBER, "Money": Kind.NUMBER, "Boolean": Kind.BOOLEAN, "DateTime": Kind.INSTANT,
    "Picklist": Kind.CHOICE, "State": Kind.CHOICE, "Status": Kind.CHOICE,
}  # fmt: skip
_LOOKUPS = {"Lookup", "Customer", "Owner"}
_SEVERAL = "MultiSelectPicklistType"
_WHOLE = {"Integer", "BigInt"}
_SETTLED = {"State", "Status"}
"""Who sets them goes through a process of the CRM's own: we only read."""
_BASICS = (
    "LogicalName,AttributeType,AttributeTypeName,AttributeOf,DisplayName,IsValidForRead,IsValidForUpdate,"
    "IsCustomAttribute,IsSecured"
)
_MORE = {
    "String": "MaxLength", "Memo": "MaxLength", "Decimal": "Precision", "Double": "Precision", "Money": "Precision",
    "DateTime": "Format,DateTimeBehavior",
}  # fmt: skip
_CHOICES = ("Picklist", "MultiSelectPicklist", "State", "Status")

_WHETHER = "Whether mail to the address failed for good, by Leadtally"
_WHEN, _WHY = "When mail to the address failed for good, by Leadtally", "Why it failed, in the words of the mail system"


@dataclass(frozen=True)
class Column:
    shown: CrmField
    key: str
    """By which a row shows it: of a lookup `_masterid_value`."""
    options: Mapping[int, str] = field(default_factory=dict)
    """Of a choice: labels by number."""
    is_whole: bool = False
    is_secured: bool = False
    parts: tuple[str, ...] = ()
    """Of a field of ours: the columns that it stands for."""

    @property
    def name(self) -> str:
        return self.shown.name

    @property
    def selects(self) -> tuple[str, ...]:
        return self.parts or (self.key,)


class Table(NamedTuple):
    """A table as our user sees it."""

    object: str
    columns: Mapping[str, Column]
    """All by name, also those that nobody can map."""
    is_whole: bool
    """Whether choices' labels, lengths and precisions are known."""

    def mappable(self, name: str) -> Column | None:
        found = self.columns.get(name)
        return None if found is None or found.shown.kind is Kind.OTHER or found.is_secured else found


class Described:
    """The tables, remembered for a quarter of an hour. What only a mapping needs is asked for when it is needed."""

    def __init__(self, api: Api, opt_out: str, *, secured: bool) -> None:
        self._api = api
        self._opt_out = opt_out
        self._secured = secured
        self._known: dict[str, tuple[datetime, Table | None]] = {}

    async def table(self, object_: str, *, is_whole: bool = False, is_strong: bool = False) -> Table | None:
        """None where there is no such table: Dynamics 365 Sales, which brings leads, is not installed. `is_strong`: as
        it is now in truth, and not as some server remembers it."""
        now = clock.now()
        asked_at, table = self._known.get(object_, (now, None))
        is_fresh = object_ in self._known and timedelta() <= now - asked_at < _REMEMBERED and not is_strong
        if is_fresh and (table is None or table.is_whole or not is_whole):
            return table
        headers = {"Consistency": "Strong"} if is_strong else {}
        table = await self._read(object_, headers, is_whole=is_whole)
        self._known[object_] = now, table
        return table

    async def tables(self, object_: str) -> Table:
        """As `table`. Raises Refused where there is none."""
        found = await self.table(object_)
        if found is None:
            raise Refused("no_table", f"there is no table {object_}")
        return found

    def forget(self, object_: str) -> None:
        self._known.pop(object_, None)

    async def _read(self, object_: str, headers: Mapping[str, str], *, is_whole: bool) -> Table | None:
        of = f"EntityDefinitions(LogicalName='{object_}')/Attributes"
        try:
            said = await self._api.call("GET", address(of, select=_BASICS), headers=headers)
        except Refused as fault:
            if object_ == LEAD and fault.code not in _HIDDEN:
                return None
            raise
        columns = {}
        for row in self._api.rows(said).rows:
            if row.get("AttributeOf") is None and isinstance(row.get("LogicalName"), str):
                columns[row["LogicalName"]] = _column(row, secured=self._secured)
        if is_whole:
            await self._enrich(columns, of)
        if self._opt_out == BOTH and {BULK, ANY} <= columns.keys():
            columns[TOGETHER] = _together(columns[BULK], columns[ANY])
        return Table(object_, columns, is_whole)

    async def _enrich(self, columns: dict[str, Column], of: str) -> None:
        """With what each type of column has of its own, by one call."""
        paths = [
            *(address(f"{of}/{_type(name)}", select=f"LogicalName,{more}") for name, more in _MORE.items()),
            *(
                address(f"{of}/{_type(name)}", select="LogicalName", expand="OptionSet($select=Options)")
                for name in _CHOICES
            ),
        ]
        for rows in await self._api.lists(paths):
            for row in rows:
                if row.get("LogicalName") in columns:
                    columns[row["LogicalName"]] = _enriched(columns[row["LogicalName"]], row)


_HIDDEN = {"0x80040220"}
"""Our user may not see it; which is no sign that it is not there."""


def defaults(object_: str, fields: Sequence[CrmField], opt_out: str) -> list[DefaultPair]:
    """What cannot be read is left out; a flag that our user may not write flows in."""
    known = {one.name: one for one in fields}
    flag = TOGETHER if opt_out == BOTH else opt_out
    way = "both" if flag in known and known[flag].is_writable else "in"
    pairs = [("email", EMAIL, "in"), ("name", NAME, "in"), ("opted_out", flag, way)]
    found = [DefaultPair(object_, here, there, way) for here, there, way in pairs if there in known]
    if not known:
        return []
    whether = WantedField(object_, "email_bounced", "Email Bounced", Kind.BOOLEAN, _WHETHER)
    when = WantedField(object_, "email_bounced_on", "Email Bounced On", Kind.INSTANT, _WHEN)
    why = WantedField(object_, "email_bounced_reason", "Email Bounced Reason", Kind.TEXT, _WHY, max_length=255)
    return [
        *found,
        DefaultPair(object_, "bounced", whether, "both"),
        DefaultPair(object_, "bounced_at", when, "out"),
        DefaultPair(object_, "bounced_reason", why, "out"),
    ]


def label(said: Any) -> str | None:  # Any: JSON
    """A label in our user's language, or in any."""
    if not isinstance(said, dict):
        return None
    own = said.get("UserLocalizedLabel") or next(iter(said.get("LocalizedLabels") or ()), None)
    return str(own["Label"]) if isinstance(own, dict) and own.get("Label") else None


def _type(name: str) -> str:
    return f"Microsoft.Dynamics.CRM.{name}AttributeMetadata"


def _column(said: Row, *, secured: bool) -> Column:
    name, type_ = said["LogicalName"], said.get("AttributeType")
    kind = _KINDS.get(str(type_), Kind.OTHER)
    if (said.get("AttributeTypeName") or {}).get("Value") == _SEVERAL:
        kind = Kind.CHOICES
    if said.get("IsValidForRead") is not True:
        kind = Kind.OTHER
    is_writable = said.get("IsValidForUpdate") is True and kind is not Kind.OTHER and type_ not in _SETTLED
    shown = CrmField(
        name, label(said.get("DisplayName")) or name, kind, is_writable, said.get("IsCustomAttribute") is True,
        places=0 if type_ in _WHOLE else None,
    )  # fmt: skip
    return Column(
        shown,
        f"_{name}_value" if type_ in _LOOKUPS else name,
        is_whole=type_ in _WHOLE,
        is_secured=said.get("IsSecured") is True and not secured,
    )


def _enriched(column: Column, said: Row) -> Column:
    shown, options = column.shown, column.options
    if isinstance(said.get("MaxLength"), int):
        shown = shown._replace(max_length=said["MaxLength"])
    if isinstance(said.get("Precision"), int):
        shown = shown._replace(places=said["Precision"])
    if _is_of_days(said):
        shown = shown._replace(kind=Kind.DAY)
    if isinstance(said.get("OptionSet"), dict):
        listed = [one for one in said["OptionSet"].get("Options") or () if isinstance(one.get("Value"), int)]
        options = {one["Value"]: label(one.get("Label")) or str(one["Value"]) for one in listed}
        shown = shown._replace(options=tuple(dict.fromkeys(options.values())))
    return replace(column, shown=shown, options=options)


def _is_of_days(said: Row) -> bool:
    behaviour = (said.get("DateTimeBehavior") or {}).get("Value")
    return behaviour == "DateOnly" or (behaviour is None and said.get("Format") == "DateOnly")


def _together(one: Column, other: Column) -> Column:
    is_writable = one.shown.is_writable and other.shown.is_writable
    shown = CrmField(TOGETHER, f"{one.shown.label}, or {other.shown.label}", Kind.BOOLEAN, is_writable)
    return Column(shown, TOGETHER, is_secured=one.is_secured or other.is_secured, parts=(one.key, other.key))
