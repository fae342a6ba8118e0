"""The fields of people and leads: what there is, what to map, and making what is missing.

One definition serves both objects: a score that a lead has is still there when the lead has become a person. A value
of a choice goes with the option's id, and to change a definition's options gives all of them new ids: so that is left
to somebody who knows who holds them. Source: "Custom Fields" of Copper's Postman collection, August 2026.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from app import clock
from app.connectors.copper.calls import Api, Endpoint
from app.connectors.copper.listed import (
    BUILT_IN,
    CHOICES,
    CONTACT_TYPE,
    EMAIL,
    LEAD,
    NAME,
    PERSON,
    SOURCE,
    STATUS,
    TAGS,
    Listed,
    Listing,
    options_of,
)
from app.connectors.faults import Refused
from app.connectors.shapes import CrmField, DefaultPair, Kind, MadeField, WantedField

LIST = Endpoint("GET", "/custom_field_definitions")
_MAKE = Endpoint("POST", "/custom_field_definitions", is_read=False)
_CHANGE = Endpoint("PUT", "/custom_field_definitions")
_OPTIONS = {
    CONTACT_TYPE: Endpoint("GET", "/contact_types"),
    STATUS: Endpoint("GET", "/lead_statuses"),
    SOURCE: Endpoint("GET", "/customer_sources"),
}

DESCRIBED_FOR = timedelta(minutes=5)
READ_FOR = timedelta(hours=1)
"""How old a list may be by which values are read, if it knows them all."""

_IN = ((EMAIL, EMAIL), (NAME, NAME), (TAGS, TAGS), ("stage", STATUS))
_YES_NO = ("Yes", "No")
_LONGEST_LABEL = 255
# The type that is made for each kind, and what Copper calls it to its users.
_MADE: dict[Kind, tuple[str, str]] = {
    Kind.TEXT: ("String", "Text Field"),
    Kind.NUMBER: ("Float", "Number Field"),
    Kind.BOOLEAN: ("Checkbox", "Checkbox"),
    Kind.CHOICE: ("Dropdown", "Dropdown"),
    Kind.CHOICES: ("MultiSelect", "Multi-Select Dropdown"),
    Kind.DAY: ("Date", "Date"),
    Kind.INSTANT: ("Date", "Date"),
}
_LONG_TEXT = ("Text", "Text Area")


class Fields:
    """The fields of one account's people and leads, as they were listed last."""

    def __init__(self, api: Api, objects: Sequence[str], choices: Mapping[str, Any]) -> None:  # Any: JSON
        self._api = api
        self._objects = objects
        self._choices = choices
        self._listing: Listing = {}
        self._listed_at: datetime | None = None
        self._one_at_a_time = asyncio.Lock()

    async def listing(self, max_age: timedelta = READ_FOR) -> Listing:
        """As it was listed at most so long ago; with no age at all, as it is listed from now on."""
        return await self._listed(lambda at: clock.now() - at < max_age)

    async def listing_since(self, instant: datetime) -> Listing:
        """As it was listed after an instant."""
        return await self._listed(lambda at: at >= instant)

    async def _listed(self, is_fresh: Callable[[datetime], bool]) -> Listing:
        async with self._one_at_a_time:
            if self._listed_at is None or not is_fresh(self._listed_at):
                began = clock.now()
                found = {one.name: one for one in map(Listed.of, await self._api.every(LIST))}
                for name, object_ in CHOICES.items():
                    if object_ in self._objects:
                        found[name] = await self._choice(name, object_)
                self._listing, self._listed_at = found, began
            return self._listing

    async def _choice(self, name: str, object_: str) -> Listed:
        """Without options, where Copper does not say them: then their ids stand for them."""
        try:
            options = options_of(await self._api.every(_OPTIONS[name]))
        except Refused:
            options = {}
        return Listed(name, BUILT_IN[object_][name].label, "Dropdown", (object_,), options)

    def forget(self) -> None:
        """Copper says that something is otherwise."""
        self._listed_at = None

    # --- what there is ------------------------------------------------------------------------------------------------

    async def describe(self, object_: str) -> list[CrmField]:
        listing = await self.listing(DESCRIBED_FOR)
        built_in = [
            CrmField(name, one.label, one.kind, one.is_writable, False, _labels(listing.get(name)))
            for name, one in BUILT_IN[object_].items()
        ]
        return [*built_in, *(_shown(one) for one in listing.values() if one.is_custom and object_ in one.objects)]

    def defaults(self, object_: str, fields: Sequence[CrmField]) -> list[DefaultPair]:
        """Copper has no field for opting out or bouncing: they get fields of their own. `choices` may say `flags`:
        `checkbox`, or `dropdown` with Yes and No, for tools that read no checkboxes."""
        names = {one.name for one in fields}
        kind, options = (Kind.CHOICE, _YES_NO) if self._choices.get("flags") == "dropdown" else (Kind.BOOLEAN, ())

        def flag(name: str, label: str, description: str) -> WantedField:
            return WantedField(object_, name, label, kind, description, options)

        opted_out = flag("email_opt_out", "Email opt-out", "Whether the person wants no mail.")
        bounced = flag("email_bounced", "Email bounced", "Whether mail to the address comes back.")
        on = WantedField(object_, "email_bounced_on", "Email bounced on", Kind.DAY, "Since when, in UTC.")
        reason = WantedField(
            object_,
            "email_bounced_reason",
            "Email bounced reason",
            Kind.TEXT,
            "What came back with the mail.",
            max_length=255,
        )
        pairs: list[tuple[str, str | WantedField, str]] = [
            *((here, there, "in") for here, there in _IN if there in names),
            ("opted_out", opted_out, "both"),
            ("bounced", bounced, "both"),
            ("bounced_at", on, "out"),
            ("bounced_reason", reason, "out"),
        ]
        return [DefaultPair(object_, here, there, way) for here, there, way in pairs]

    # --- making -------------------------------------------------------------------------------------------------------

    async def ensure(self, wanted: Sequence[WantedField]) -> list[MadeField]:
        """Never repeated by itself. What Copper refuses comes out with how to make it by hand."""
        if not wanted:
            return []
        before = await self.listing(timedelta())
        listing = dict(before)
        made: list[tuple[WantedField, str | Refused]] = []
        for one in wanted:
            there = _same(one, listing.values())
            try:
                field = await self._make(one) if there is None else await self._fitted(one, there)
                listing[field.name] = field
                made.append((one, field.name))
            except Refused as fault:
                made.append((one, fault))
        # An answer need not tell the ids of options.
        as_it_is = {**listing, **await self.listing(timedelta())}
        return [
            MadeField(one, None, recipe=_recipe(one, _same(one, listing.values()), field))
            if isinstance(field, Refused)
            else MadeField(one, _shown(as_it_is[field]), field in before and one.object in before[field].objects)
            for one, field in made
        ]

    async def _make(self, wanted: WantedField) -> Listed:
        if wanted.kind not in _MADE:
            raise Refused("no_such_type", f"Copper has no type of field for {wanted.kind}")
        said: dict[str, Any] = {  # Any: JSON
            "name": _label(wanted),
            "data_type": _type(wanted)[0],
            "available_on": list(dict.fromkeys([wanted.object, *self._objects])),
        }
        if options := _options(wanted):
            said["options"] = [{"name": label} for label in options]
        return Listed.of(await self._api.one(_MAKE, said))

    async def _fitted(self, wanted: WantedField, there: Listed) -> Listed:
        """The field of that name, with what is wanted of it."""
        if missing := [one for one in _options(wanted) if one not in there.options.values()]:
            raise Refused("options_missing", f"the field is there without the options {', '.join(missing)}")
        if wanted.object in there.objects:
            return there
        objects = [*there.objects, wanted.object]
        changed = Listed.of(await self._api.one(_CHANGE.at(there.id), {"available_on": objects}))
        if wanted.object not in changed.objects:
            raise Refused("not_available", f"Copper leaves the field where it is, and not on {wanted.object}s")
        return changed


def _shown(one: Listed) -> CrmField:
    is_writable = one.kind is not Kind.OTHER
    return CrmField(one.name, one.label, one.kind, is_writable, True, _labels(one), one.max_length, one.places)


def _labels(one: Listed | None) -> tuple[str, ...]:
    return () if one is None else tuple(one.options.values())


def _same(wanted: WantedField, listed: Iterable[Listed]) -> Listed | None:
    """The field that was meant, if somebody made it: of its name and kind; of several one that the object has, else the
    first that the other object has."""
    if wanted.kind not in _MADE:
        return None
    kind = Listed("", "", _type(wanted)[0], ()).kind
    found = [
        one
        for one in listed
        if one.is_custom and one.kind is kind and one.label == _label(wanted) and {PERSON, LEAD} & set(one.objects)
    ]
    return next((one for one in found if wanted.object in one.objects), found[0] if found else None)


def _label(wanted: WantedField) -> str:
    return wanted.label[:_LONGEST_LABEL]


def _type(wanted: WantedField) -> tuple[str, str]:
    is_long = wanted.kind is Kind.TEXT and (wanted.max_length or 0) > 255
    return _LONG_TEXT if is_long else _MADE[wanted.kind]


def _options(wanted: WantedField) -> tuple[str, ...]:
    return wanted.options if wanted.kind in (Kind.CHOICE, Kind.CHOICES) else ()


def _recipe(wanted: WantedField, there: Listed | None, fault: Refused) -> str:
    if wanted.kind not in _MADE:
        return fault.reason
    options = _options(wanted)
    has = f" with the options {', '.join(options)}" if options else ""
    is_one = f'a field "{_label(wanted)}" of the type "{_type(wanted)[1]}"{has}, for people and for leads'
    what = f"Add {is_one}" if there is None else f"Change the one that is there: there has to be {is_one}"
    return (
        f"Copper refused it ({fault}). In Copper, as an administrator: 1. open Settings, Customize Copper, Manage "
        f"Fields. 2. {what}. 3. Come back and look again: it is found by its name and type."
    )
