"""Making properties of contacts, in a group of our own; each is found again by its name, which we choose."""

from collections.abc import Sequence
from datetime import timedelta

from app.connectors.faults import Refused
from app.connectors.hubspot.api import PROPERTIES, Api, Json, as_object, problem
from app.connectors.hubspot.fields import OURS, Fields, Listing, is_writable, shown
from app.connectors.hubspot.values import Property
from app.connectors.shapes import Kind, MadeField, WantedField

_GROUP = "leadtally"
_LONGEST_LABEL = 255
# The type that is made for each kind, its form, and what HubSpot calls it to its users.
_MADE: dict[Kind, tuple[str, str, str]] = {
    Kind.TEXT: ("string", "text", "Single-line text"),
    Kind.NUMBER: ("number", "number", "Number"),
    Kind.BOOLEAN: ("bool", "booleancheckbox", "Single checkbox"),
    Kind.DAY: ("date", "date", "Date picker"),
    Kind.INSTANT: ("datetime", "date", "Date and time picker"),
    Kind.CHOICE: ("enumeration", "select", "Dropdown select"),
    Kind.CHOICES: ("enumeration", "checkbox", "Multiple checkboxes"),
}
_NO_SUCH_TYPE = "no_such_type"


async def ensure(api: Api, fields: Fields, wanted: Sequence[WantedField]) -> list[MadeField]:
    """What HubSpot refuses, for a scope or its plan's limit, comes out with how to make it by hand."""
    if not wanted:
        return []
    listing = await fields.listing(timedelta())
    making = _Making(api, fields)
    made = []
    for one in wanted:
        try:
            made.append(await making.one(one, listing))
        except Refused as fault:
            made.append(MadeField(one, None, recipe=_recipe(one, fault)))
    if making.has_made:
        # So that it is known from now on, to those who describe and to those who write.
        await fields.listing(timedelta())
    return made


class _Making:
    def __init__(self, api: Api, fields: Fields) -> None:
        self._api = api
        self._fields = fields
        self._has_group = False
        self.has_made = False

    async def one(self, wanted: WantedField, listing: Listing) -> MadeField:
        """Raises Refused."""
        if wanted.kind not in _MADE:
            raise Refused(_NO_SUCH_TYPE, f"HubSpot has no property for {wanted.kind}")
        there = listing.get(_name(wanted))
        if there is None:
            made = await self._make(wanted)
            if made is not None:
                return MadeField(wanted, shown(made))
            # Somebody else was faster.
            there = (await self._fields.listing(timedelta())).get(_name(wanted))
            if there is None:
                raise Refused("archived", "HubSpot has a property of this name that it does not list: restore it")
        if there.kind is not wanted.kind or not is_writable(there):
            raise Refused("other_type", f"there is a property {there.name} of another type, or read only: delete it")
        return MadeField(wanted, shown(await self._with_options(wanted, there)), was_there=True)

    async def _make(self, wanted: WantedField) -> Property | None:
        """None if there is one by now."""
        await self._make_group()
        type_, field_type, _ = _MADE[wanted.kind]
        said: Json = {
            "name": _name(wanted),
            "label": wanted.label[:_LONGEST_LABEL],
            "type": type_,
            "fieldType": field_type,
            "groupName": _GROUP,
            "description": wanted.description,
        }
        if options := _options(wanted):
            said["options"] = _as_options(options)
        reply = await self._api.call("POST", PROPERTIES, json=said)
        if reply.status == 409:
            return None
        if not reply.is_success:
            raise problem(reply).fault
        self.has_made = True
        return Property.of(as_object(reply))

    async def _make_group(self) -> None:
        if self._has_group:
            return
        said = {"name": _GROUP, "label": "Leadtally"}
        reply = await self._api.call("POST", f"{PROPERTIES}/groups", json=said)
        if not reply.is_success and reply.status != 409:
            raise problem(reply).fault
        self._has_group = True

    async def _with_options(self, wanted: WantedField, there: Property) -> Property:
        missing = {value: label for value, label in _options(wanted).items() if label not in there.options.values()}
        if not missing or there.kind is Kind.BOOLEAN:
            return there
        said = {"options": _as_options({**there.options, **missing})}
        reply = await self._api.call("PATCH", f"{PROPERTIES}/{there.name}", again=True, json=said)
        if not reply.is_success:
            raise problem(reply).fault
        self.has_made = True
        return Property.of(as_object(reply))


def _name(wanted: WantedField) -> str:
    return f"{OURS}{wanted.name}"[:100]


def _options(wanted: WantedField) -> dict[str, str]:
    """Labels by value. A semicolon would part one value of several from the next."""
    if wanted.kind is Kind.BOOLEAN:
        return {"true": "Yes", "false": "No"}
    if wanted.kind not in (Kind.CHOICE, Kind.CHOICES):
        return {}
    return {label.replace(";", ","): label for label in wanted.options}


def _as_options(options: dict[str, str]) -> list[Json]:
    return [
        {"label": label, "value": value, "displayOrder": at, "hidden": False}
        for at, (value, label) in enumerate(options.items())
    ]


def _recipe(wanted: WantedField, fault: Refused) -> str:
    if fault.code == _NO_SUCH_TYPE:
        return fault.reason
    options = list(_options(wanted).values())
    has = f" with the options {', '.join(options)}" if options else ""
    return (
        f"HubSpot refused it ({fault}). In HubSpot, as an administrator: 1. open Settings, Properties, Contact "
        f'properties, Create property. 2. Label: "{wanted.label[:_LONGEST_LABEL]}"; the group is yours to choose. '
        f"3. Open the code sign beside the label, and enter the internal name {_name(wanted)}. "
        f'4. Field type: "{_MADE[wanted.kind][2]}"{has}. 5. Come back and look again: it is found by its internal name.'
    )
