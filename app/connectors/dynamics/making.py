"""Columns made where they are not. Their names begin with a publisher's prefix, and so differ from one environment to
another.

Metadata is written slowly, and not by two at once. A column that was just made can be written at once; forms and views
show it once an administrator puts it there. Source: Microsoft Learn, "Create and update column definitions using the
Web API".
"""

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from app.connectors.dynamics.api import Api, address, text
from app.connectors.dynamics.columns import Column, Described, Table
from app.connectors.faults import Refused
from app.connectors.shapes import Kind, MadeField, WantedField

OURS = "leadtally"
PREFIX, LANGUAGE = "new", 1033
"""Of the default publisher, and English: where the environment does not say."""
_DEFAULT_SOLUTION = "Default"
_LONGEST_NAME, _LONGEST_LABEL, _LONGEST_TEXT, _LONGEST_DESCRIPTION = 50, 50, 4_000, 500
_LOWEST, _HIGHEST = -2_147_483_648, 2_147_483_647
_FURTHEST = 100_000_000_000
_FIRST_OPTION = 100_000_000
_CRM = "Microsoft.Dynamics.CRM."
_NOT_YET = "Dynamics has made the column and does not show it yet: ask again in some minutes."
# The type that is made for each kind, and what the maker portal calls it.
_TYPES = {
    Kind.NUMBER: ("Integer", "Number > Whole number"),
    Kind.BOOLEAN: ("Boolean", "Choice > Yes/No"),
    Kind.INSTANT: ("DateTime", "Date and time, time zone adjustment: User local"),
    Kind.DAY: ("DateTime", "Date only, time zone adjustment: Date only"),
    Kind.CHOICE: ("Picklist", "Choice"),
    Kind.TEXT: ("String", "Single line of text"),
}


class Making:
    """`prefix`, `solution`: as the connection chose them; without them the default solution's publisher's."""

    def __init__(self, api: Api, described: Described, prefix: str | None, solution: str | None) -> None:
        self._api = api
        self._described = described
        self._chosen = prefix
        self._solution = solution
        self._prefix: str | None = prefix
        self._language: int | None = None

    async def ensure(self, wanted: Sequence[WantedField]) -> list[MadeField]:
        tables: dict[str, Table | None] = {}
        for object_ in dict.fromkeys(one.object for one in wanted):
            tables[object_] = await self._described.table(object_, is_whole=True, is_strong=True)
        refused: dict[WantedField, Refused] = {}
        was_there: set[WantedField] = set()
        for one in wanted:
            table = tables[one.object]
            try:
                if (table is not None and await self.name(one) in table.columns) or not await self._make(one):
                    was_there.add(one)
            except Refused as fault:
                refused[one] = fault
        for object_ in {one.object for one in wanted if one not in refused}:
            if any(one.object == object_ and one not in was_there for one in wanted):
                tables[object_] = await self._described.table(object_, is_whole=True, is_strong=True)
        return [await self._made(one, tables[one.object], one in was_there, refused.get(one)) for one in wanted]

    async def name(self, wanted: WantedField) -> str:
        """`score_engagement` → `new_leadtally_score_engagement`."""
        return column_name(await self.prefix(), wanted.name)

    async def prefix(self) -> str:
        """The one that was chosen, or that of the solution's publisher. A name without one is taken by nobody."""
        if self._prefix is None:
            solution = self._solution or _DEFAULT_SOLUTION
            path = address(
                "solutions",
                select="uniquename",
                filter=f"uniquename eq {text(solution)}",
                expand="publisherid($select=customizationprefix)",
            )
            row = await self._first(path)
            publisher = row.get("publisherid")
            said = publisher.get("customizationprefix") if isinstance(publisher, dict) else None
            self._prefix = str(said) if said else PREFIX
        return self._prefix

    async def _language_code(self) -> int:
        """The base language, in which every column has to have a label."""
        if self._language is None:
            said = (await self._first(address("organizations", select="languagecode"))).get("languagecode")
            self._language = said if isinstance(said, int) else LANGUAGE
        return self._language

    async def _first(self, path: str) -> dict[str, Any]:  # Any: JSON
        try:
            rows = (await self._api.page(path)).rows
        except Refused:
            return {}
        return dict(rows[0]) if rows else {}

    async def _make(self, wanted: WantedField) -> bool:
        """Whether it was not there, as somebody else may have made it meanwhile. Raises Refused."""
        if wanted.kind not in _TYPES:
            raise Refused("no_such_type", f"no column is made for {wanted.kind}")
        body = definition(await self.name(wanted), wanted, await self._language_code())
        headers = {"MSCRM.SolutionUniqueName": self._solution} if self._solution else {}
        try:
            of = f"EntityDefinitions(LogicalName='{wanted.object}')/Attributes"
            await self._api.call("POST", address(of), headers=headers, json=body)
        except Refused:
            table = await self._described.table(wanted.object, is_whole=True, is_strong=True)
            if table is None or await self.name(wanted) not in table.columns:
                raise
            return False
        return True

    async def _made(
        self, wanted: WantedField, table: Table | None, was_there: bool, fault: Refused | None
    ) -> MadeField:
        name = await self.name(wanted)
        column = None if table is None else table.columns.get(name)
        if column is None and fault is None:
            return MadeField(wanted, None, was_there, _NOT_YET)
        if column is not None and _does(column, wanted):
            return MadeField(wanted, column.shown, was_there)
        return MadeField(wanted, None, was_there, recipe(name, wanted, column, fault))


def column_name(prefix: str, name: str) -> str:
    """As logical names are: of a-z, 0-9 and _, at most fifty characters. What is cut or changed is made good for by
    digits of the whole, so that different fields keep different names."""
    plain = f"{prefix}_{OURS}_{name}".lower()
    cleaned = re.sub(r"[^a-z0-9_]", "_", plain)
    if cleaned != plain or len(plain) > _LONGEST_NAME:
        digits = hashlib.sha256(name.encode()).hexdigest()[:8]
        cleaned = f"{cleaned[: _LONGEST_NAME - len(digits) - 1]}_{digits}"
    return cleaned


def definition(name: str, wanted: WantedField, language: int) -> dict[str, Any]:  # Any: JSON
    """A column as metadata describes it."""
    type_ = _type(wanted)
    said: dict[str, Any] = {  # Any: as above
        "@odata.type": f"{_CRM}{type_}AttributeMetadata",
        "SchemaName": name,
        "AttributeType": type_,
        "AttributeTypeName": {"Value": f"{type_}Type"},
        "RequiredLevel": {
            "Value": "None",
            "CanBeChanged": True,
            "ManagedPropertyLogicalName": "canmodifyrequirementlevelsettings",
        },
        "DisplayName": _label(wanted.label[:_LONGEST_LABEL], language),
        "Description": _label(wanted.description[:_LONGEST_DESCRIPTION], language),
    }
    match type_:
        case "Integer":
            said |= {"Format": "None", "MinValue": _LOWEST, "MaxValue": _HIGHEST}
        case "Decimal":
            said |= {"Precision": min(wanted.places or 2, 10), "MinValue": -_FURTHEST, "MaxValue": _FURTHEST}
        case "Boolean":
            options = {"OptionSetType": "Boolean", "TrueOption": _option(1, "Yes", language)}
            said |= {"DefaultValue": False, "OptionSet": options | {"FalseOption": _option(0, "No", language)}}
        case "DateTime":
            is_day = wanted.kind is Kind.DAY
            said |= {"Format": "DateOnly" if is_day else "DateAndTime"}
            said |= {"DateTimeBehavior": {"Value": "DateOnly" if is_day else "UserLocal"}}
        case "Picklist":
            listed = [_option(_FIRST_OPTION + at, one, language) for at, one in enumerate(wanted.options)]
            kind = {"@odata.type": f"{_CRM}OptionSetMetadata", "IsGlobal": False, "OptionSetType": "Picklist"}
            said |= {"OptionSet": kind | {"Options": listed}}
        case _:
            said |= {"MaxLength": _length(wanted), "FormatName": {"Value": "Text"}}
    return said


def recipe(name: str, wanted: WantedField, column: Column | None, fault: Refused | None) -> str:
    """How an administrator makes the column by hand, or mends the one that is there."""
    table = wanted.object.capitalize()
    if column is not None:
        wrong = "is under column security" if column.is_secured else "is of another type, or cannot be written"
        return (
            f"The column {name} of {table}, for {wanted.label}, {wrong}. As an administrator: let our user read and "
            "update it and choose `secured`, or delete it if nobody needs it, and test the connection again."
        )
    shape = _TYPES[wanted.kind][1] if wanted.kind in _TYPES else str(wanted.kind)
    more = {
        "Decimal": "Number > Decimal, with as many decimal places as are wanted",
        "Integer": f"{shape}, minimum value {_LOWEST} (scores may be negative)",
        "String": f"{shape}, at most {_length(wanted)} characters",
        "Picklist": f"{shape}, of its own, with the choices {', '.join(wanted.options)}",
    }.get(_type(wanted), shape)
    prefix, _, rest = name.partition("_")
    why = f"Dynamics does not let our user make this column ({fault.code if fault else 'refused'})."
    return "\n".join(
        (
            f"{why} As an administrator:",
            f"1. make.powerapps.com > the environment > Tables > {table} > Columns > New column.",
            f"2. Display name: {wanted.label[:_LONGEST_LABEL]}. Data type: {more}. Required: Optional.",
            f"3. Advanced options > Schema name: {rest}, behind the prefix {prefix}_ (in all {name}).",
            "4. Save, and test the connection again. To show it to people, add it to forms and views, and publish.",
        )
    )


def _does(column: Column, wanted: WantedField) -> bool:
    """Whether the column that is there is the one that was meant."""
    return column.shown.kind is wanted.kind and column.shown.is_writable and not column.is_secured


def _type(wanted: WantedField) -> str:
    if wanted.kind is Kind.NUMBER and wanted.places != 0:
        return "Decimal"
    return _TYPES[wanted.kind][0] if wanted.kind in _TYPES else "String"


def _length(wanted: WantedField) -> int:
    return min(wanted.max_length or 255, _LONGEST_TEXT)


def _option(value: int, label: str, language: int) -> dict[str, Any]:  # Any: JSON
    return {"Value": value, "Label": _label(label, language)}


def _label(label: str, language: int) -> dict[str, Any]:  # Any: JSON
    own = {"@odata.type": f"{_CRM}LocalizedLabel", "Label": label, "LanguageCode": language}
    return {"@odata.type": f"{_CRM}Label", "LocalizedLabels": [own]}
