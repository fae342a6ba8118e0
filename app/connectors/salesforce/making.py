"""Custom fields made where they are not, and opened to our user: by the Tooling API and a permission set of our own.

A field that was just made is visible to nobody. Source: Salesforce's Tooling API pages, and those on PermissionSet,
FieldPermissions and PermissionSetAssignment.
"""

import asyncio
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from app.connectors.faults import Refused
from app.connectors.salesforce import queries
from app.connectors.salesforce.api import WRITING, Api
from app.connectors.salesforce.fields import Described
from app.connectors.shapes import CrmField, Kind, MadeField, WantedField

PERMISSION_SET = "Leadtally"
_SUFFIX = "__c"
_LONGEST_NAME, _LONGEST_LABEL, _LONGEST_TEXT, _LONGEST_DESCRIPTION = 40, 40, 255, 1_000
_DIGITS = 18
"""In all, of which some follow the point: the most that there can be."""
_FIRST_WAIT_S = 0.2
_IS_THERE = {"DUPLICATE_DEVELOPER_NAME", "DUPLICATE_VALUE"}
_NOT_YET = "Salesforce has made the field and does not show it yet: ask again in some minutes."


class Making:
    """`patience_s`: so long it is waited at most for new fields to be described."""

    def __init__(self, api: Api, described: Described, patience_s: float) -> None:
        self._api = api
        self._described = described
        self._patience_s = patience_s

    async def ensure(self, wanted: Sequence[WantedField]) -> list[MadeField]:
        refused: dict[WantedField, Refused] = {}
        was_there: set[WantedField] = set()
        hidden: list[WantedField] = []
        for one in wanted:
            try:
                known = await self._known(one)
                is_new = known is None and await self._make(one)
                if not is_new:
                    was_there.add(one)
                if known is None or not known.is_writable:
                    hidden.append(one)
            except Refused as fault:
                refused[one] = fault
        if hidden:
            try:
                await self._open(hidden)
            except Refused as fault:
                refused.update(dict.fromkeys(hidden, fault))
            for object_ in {one.object for one in hidden}:
                self._described.forget(object_)
            await self._wait_for([one for one in hidden if one not in refused])
        return [await self._made(one, one in was_there, refused.get(one)) for one in wanted]

    async def _known(self, wanted: WantedField) -> CrmField | None:
        """The field as it is described. Raises Refused where its object is hidden."""
        return (await self._described.fields(wanted.object)).get(api_name(wanted.name))

    async def _made(self, wanted: WantedField, was_there: bool, fault: Refused | None) -> MadeField:
        try:
            field = await self._known(wanted)
        except Refused:
            field = None
        if field is not None and (field.is_writable or fault is None):
            return MadeField(wanted, field, was_there)
        return MadeField(wanted, None, was_there, recipe(wanted, fault) if fault is not None else _NOT_YET)

    async def _make(self, wanted: WantedField) -> bool:
        """Whether it was not there: describe is silent on fields that are hidden from us. Raises Refused."""
        name = api_name(wanted.name)
        try:
            conditions = [f"TableEnumOrId = {queries.text(wanted.object)}"]
            conditions.append(f"DeveloperName = {queries.text(name.removesuffix(_SUFFIX))}")
            soql = queries.select(["Id", "DeveloperName"], "CustomField", conditions, "Id", 1)
            if (await self._api.query(soql, tooling=True)).rows:
                return False
            said = {"FullName": f"{wanted.object}.{name}", "Metadata": metadata(wanted)}
            await self._api.json("POST", "tooling/sobjects/CustomField/", headers=WRITING, json=said)
        except Refused as fault:
            if fault.code not in _IS_THERE:
                raise
            return False
        return True

    async def _open(self, wanted: Sequence[WantedField]) -> None:
        """Let our user read and edit these fields, by the permission set. Raises Refused."""
        set_ = await self._the("PermissionSet", {"Name": PERMISSION_SET}, {"Label": PERMISSION_SET})
        names = {f"{one.object}.{api_name(one.name)}": one for one in wanted}
        for name, one in names.items():
            access: dict[str, Any] = {"PermissionsRead": True, "PermissionsEdit": True}  # Any: JSON
            named = {"ParentId": set_, "Field": name}
            id_ = await self._the("FieldPermissions", named, access | {"SobjectType": one.object})
            if not await self._found("FieldPermissions", {"Id": id_}, "PermissionsEdit = true"):
                await self._api.call("PATCH", f"sobjects/FieldPermissions/{id_}", headers=WRITING, json=access)
        user = await self._api.user()
        if user is not None:
            await self._the("PermissionSetAssignment", {"AssigneeId": user, "PermissionSetId": set_}, {})

    async def _the(self, object_: str, named: Mapping[str, str], more: Mapping[str, Any]) -> str:  # Any: JSON
        """The id of the record with these values, which is made if it is not there."""
        if found := await self._found(object_, named):
            return found
        try:
            made = await self._api.json("POST", f"sobjects/{object_}", headers=WRITING, json={**named, **more})
            return str(made.get("id"))
        except Refused as fault:
            # Somebody else made it meanwhile.
            if fault.code in _IS_THERE and (found := await self._found(object_, named)):
                return found
            raise

    async def _found(self, object_: str, named: Mapping[str, str], *more: str) -> str | None:
        conditions = [*(f"{name} = {queries.text(value)}" for name, value in named.items()), *more]
        rows = (await self._api.query(queries.select(["Id"], object_, conditions, "Id", 1))).rows
        return str(rows[0]["Id"]) if rows else None

    async def _wait_for(self, wanted: Sequence[WantedField]) -> None:
        """Until they are described, or long enough: what is new is not known everywhere at once."""
        wait, waited = _FIRST_WAIT_S, 0.0
        while absent := {one.object for one in wanted if not await self._is_open(one)}:
            for object_ in absent:
                self._described.forget(object_)
            if waited >= self._patience_s:
                return
            await asyncio.sleep(wait)
            wait, waited = 2 * wait, waited + wait

    async def _is_open(self, wanted: WantedField) -> bool:
        field = await self._known(wanted)
        return field is not None and field.is_writable


def api_name(name: str) -> str:
    """`score_engagement` → `Leadtally_score_engagement__c`.

    What Salesforce takes in no name (two underscores, one at the end, more than forty characters) is cut, and made
    good for by digits of the whole, so that different fields keep different names.
    """
    plain = f"{PERMISSION_SET}_{name}"
    cleaned = re.sub(r"_+", "_", re.sub(r"[^A-Za-z0-9_]", "_", plain)).rstrip("_")
    if cleaned != plain or len(plain) > _LONGEST_NAME:
        digits = hashlib.sha256(name.encode()).hexdigest()[:8]
        cleaned = f"{cleaned[: _LONGEST_NAME - len(digits) - 1].rstrip('_')}_{digits}"
    return cleaned + _SUFFIX


def metadata(wanted: WantedField) -> dict[str, Any]:  # Any: JSON
    """As the Metadata API describes a field."""
    said = {
        "label": wanted.label[:_LONGEST_LABEL],
        "description": wanted.description[:_LONGEST_DESCRIPTION],
        "required": False,
        "externalId": False,
        "trackHistory": False,
    }
    match wanted.kind:
        case Kind.NUMBER:
            return said | {"type": "Number", "precision": _DIGITS, "scale": wanted.places or 0, "unique": False}
        case Kind.BOOLEAN:
            return said | {"type": "Checkbox", "defaultValue": False}
        case Kind.INSTANT:
            return said | {"type": "DateTime"}
        case Kind.DAY:
            return said | {"type": "Date"}
        case Kind.CHOICE if wanted.options:
            # Not restricted: a new word of ours needs no administrator.
            values = [{"fullName": one, "label": one, "default": False} for one in wanted.options]
            definition = {"sorted": False, "value": values}
            return said | {"type": "Picklist", "valueSet": {"restricted": False, "valueSetDefinition": definition}}
    return said | {"type": "Text", "length": min(wanted.max_length or _LONGEST_TEXT, _LONGEST_TEXT), "unique": False}


def recipe(wanted: WantedField, fault: Refused) -> str:
    """How an administrator makes the field by hand, and opens it to our user."""
    said = metadata(wanted)
    shape = {
        "Number": f"Number, length {_DIGITS - (wanted.places or 0)}, decimal places {wanted.places or 0}",
        "Text": f"Text, length {said.get('length')}",
        "Checkbox": "Checkbox, unchecked by default",
        "DateTime": "Date/Time",
        "Picklist": f"Picklist, not restricted, with the values {', '.join(wanted.options)}",
    }.get(said["type"], said["type"])
    name = api_name(wanted.name).removesuffix(_SUFFIX)
    opened = (
        f"4. Setup > Permission Sets > New, label {PERMISSION_SET} (unless it is there) > Object Settings > "
        f"{wanted.object} > Edit: tick Read and Edit access for the field. Under Manage Assignments add our user."
    )
    return "\n".join(
        (
            f"Salesforce does not let our user make this field ({fault.code}). As an administrator:",
            f"1. Setup > Object Manager > {wanted.object} > Fields & Relationships > New (unless the field is there).",
            f"2. Data type: {shape}.",
            f"3. Field label: {said['label']}. Field name: {name} (the API name becomes {name}{_SUFFIX}).",
            opened,
            "5. Check the connection again.",
        )
    )
