"""The fields of persons: what there is, what to map, and making what is missing.

Names of custom fields are not unique and may change; a field is known by its key, which differs from account to account
and is never given again. Source: OpenAPI document of the second version, August 2026. That the list holds
`marketing_status` only where the company has Campaigns is documented for the first version.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from app import clock
from app.connectors.faults import Refused
from app.connectors.pipedrive.calls import MISSING_SCOPE, Api, Endpoint, refused
from app.connectors.pipedrive.values import (
    BUILT_IN,
    EMAIL,
    LABELS,
    MARKETING_STATUS,
    NAME,
    STATUSES,
    Listed,
    Listing,
)
from app.connectors.shapes import CrmField, DefaultPair, Kind, MadeField, WantedField

PERSON = "person"
_SCOPE = "contact-fields:full"
LIST = Endpoint("GET", "/api/v2/personFields", 10, "contacts:full")
_MAKE = Endpoint("POST", "/api/v2/personFields", 5, _SCOPE)
_PROBE = Endpoint("GET", "/api/v2/persons", 10, "contacts:full")

DESCRIBED_FOR = timedelta(minutes=5)
READ_FOR = timedelta(hours=1)
"""How old a list may be by which values are read, if it knows them all: an id is never given again."""
_CAMPAIGNS_FOR = timedelta(hours=1)

_YES_NO = ("Yes", "No")
_LONGEST_LABEL = 255
# The type that is made for each kind, and what Pipedrive calls it to its users.
_MADE: dict[Kind, tuple[str, str]] = {
    Kind.TEXT: ("varchar", "Text"),
    Kind.NUMBER: ("double", "Numerical"),
    Kind.BOOLEAN: ("enum", "Single option"),
    Kind.CHOICE: ("enum", "Single option"),
    Kind.CHOICES: ("set", "Multiple options"),
    Kind.DAY: ("date", "Date"),
    Kind.INSTANT: ("date", "Date"),
}
_LARGE_TEXT = ("text", "Large text")


class Fields:
    """The fields of one company's persons, as they were listed last."""

    def __init__(self, api: Api, choices: Mapping[str, Any]) -> None:  # Any: JSON
        self._api = api
        self._choices = choices
        self._listing: Listing = {}
        self._listed_at: datetime | None = None
        self._campaigns: tuple[datetime, bool] | None = None
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
                rows = [Listed.of(row) async for row in self._api.every(LIST, {"limit": 500})]
                self._listing, self._listed_at = {one.code: one for one in rows}, began
            return self._listing

    def forget(self) -> None:
        """Pipedrive says that something is otherwise."""
        self._listed_at = None

    async def has_campaigns(self) -> bool:
        """Whether the company has the add-on without which nobody has a marketing status."""
        if MARKETING_STATUS in await self.listing(DESCRIBED_FOR):
            return True
        if self._campaigns is None or clock.now() - self._campaigns[0] > _CAMPAIGNS_FOR:
            self._campaigns = clock.now(), await self._shows_status()
        return self._campaigns[1]

    async def _shows_status(self) -> bool:
        """What is asked of a company without the add-on is not documented: it may be refused, or passed over."""
        try:
            page = await self._api.rows(_PROBE, {"limit": 1, "include_fields": MARKETING_STATUS})
        except Refused as fault:
            if fault.code == MISSING_SCOPE:
                raise
            return False
        return any(MARKETING_STATUS in row for row in page.rows)

    # --- what there is ------------------------------------------------------------------------------------------------

    async def describe(self) -> list[CrmField]:
        listing = await self.listing(DESCRIBED_FOR)
        with_status = await self.has_campaigns()
        built_in = [_built_in(name, listing) for name in BUILT_IN if name != MARKETING_STATUS or with_status]
        return [*built_in, *(_shown(one) for one in listing.values() if one.is_custom)]

    def defaults(self, fields: Iterable[CrmField]) -> list[DefaultPair]:
        """`choices` may say `opt_out`: `native`, the marketing status, which is the primary address' and of which
        Pipedrive takes some changes and passes over others; or `custom`, a field of its own. Without a word it is
        native where there is one."""
        names = {one.name for one in fields}
        pairs = [(EMAIL, EMAIL), (NAME, NAME), ("tags", LABELS)]
        found = [DefaultPair(PERSON, here, there, "in") for here, there in pairs if there in names]
        if MARKETING_STATUS in names and self._choices.get("opt_out") != "custom":
            found.append(
                DefaultPair(
                    PERSON, "opted_out", MARKETING_STATUS, "both", ("unsubscribed",), ("subscribed", "no_consent")
                )
            )
        else:
            found.append(DefaultPair(PERSON, "opted_out", _OPT_OUT, "both"))
        return [
            *found,
            DefaultPair(PERSON, "bounced", _BOUNCED, "both"),
            DefaultPair(PERSON, "bounced_at", _BOUNCED_ON, "out"),
            DefaultPair(PERSON, "bounced_reason", _BOUNCED_REASON, "out"),
        ]

    # --- making -------------------------------------------------------------------------------------------------------

    async def ensure(self, wanted: Sequence[WantedField]) -> list[MadeField]:
        """Never repeated by itself. What Pipedrive refuses, for a scope, a right or its plan's limit of fields, comes
        out with how to make it by hand."""
        if not wanted:
            return []
        listing = dict(await self.listing(timedelta()))
        made = []
        for one in wanted:
            there = _same(one, listing.values())
            try:
                field = there or await self._make(one)
                if there is not None:
                    await self._add_options(one, there)
                listing[field.code] = field
                made.append(MadeField(one, _shown(field), there is not None))
            except Refused as fault:
                made.append(MadeField(one, None, recipe=_recipe(one, there, fault)))
        # An answer does not tell the ids of options that were added.
        as_it_is = await self.listing(timedelta())
        return [
            one if one.field is None or one.field.name not in as_it_is
            else one._replace(field=_shown(as_it_is[one.field.name]))
            for one in made
        ]  # fmt: skip

    async def _make(self, wanted: WantedField) -> Listed:
        if wanted.kind not in _MADE:
            raise Refused("no_such_type", f"Pipedrive has no type of field for {wanted.kind}")
        said: dict[str, Any] = {  # Any: JSON
            "field_name": wanted.label[:_LONGEST_LABEL],
            "field_type": _type(wanted)[0],
            "ui_visibility": {"add_visible_flag": False, "details_visible_flag": True},
        }
        if options := _options(wanted):
            said["options"] = [{"label": label} for label in options]
        return Listed.of(await self._api.data(_MAKE, json=said))

    async def _add_options(self, wanted: WantedField, there: Listed) -> None:
        missing = [one for one in _options(wanted) if one not in there.options.values()]
        if missing:
            endpoint = Endpoint("POST", f"{LIST.path}/{there.code}/options", 5, _SCOPE)
            reply = await self._api.call(endpoint, json=[{"label": label} for label in missing])
            if not reply.is_success:
                raise refused(reply)


_OPT_OUT = WantedField(
    PERSON, "email_opt_out", "Email opt-out", Kind.CHOICE, "Whether the person wants no mail.", _YES_NO
)
_BOUNCED = WantedField(
    PERSON, "email_bounced", "Email bounced", Kind.CHOICE, "Whether mail to the address comes back.", _YES_NO
)
_BOUNCED_ON = WantedField(PERSON, "email_bounced_on", "Email bounced on", Kind.DAY, "Since when, in UTC.")
_BOUNCED_REASON = WantedField(
    PERSON, "email_bounced_reason", "Email bounced reason", Kind.TEXT, "What came back with the mail.", max_length=255
)


def _built_in(name: str, listing: Listing) -> CrmField:
    code, label, kind, is_writable = BUILT_IN[name]
    listed = listing.get(code)
    options: tuple[str, ...] = ()
    if name == MARKETING_STATUS:
        options = STATUSES
    elif listed is not None:
        options = tuple(listed.options.values())
    max_length = 255 if name == NAME else None
    return CrmField(name, label if listed is None else listed.label, kind, is_writable, False, options, max_length)


def _shown(one: Listed) -> CrmField:
    return CrmField(one.code, one.label, one.kind, one.is_writable, True, tuple(one.options.values()), one.max_length)


def _same(wanted: WantedField, listed: Iterable[Listed]) -> Listed | None:
    """The field that was meant, if somebody made it: of its name and kind. Of several the oldest, listed first."""
    if wanted.kind not in _MADE:
        return None
    kind = Listed("", "", _type(wanted)[0], is_custom=True).kind
    label = wanted.label[:_LONGEST_LABEL]
    return next(
        (one for one in listed if one.is_custom and one.label == label and one.kind is kind and one.is_writable), None
    )


def _type(wanted: WantedField) -> tuple[str, str]:
    is_long = wanted.kind is Kind.TEXT and (wanted.max_length or 0) > 255
    return _LARGE_TEXT if is_long else _MADE[wanted.kind]


def _options(wanted: WantedField) -> tuple[str, ...]:
    if wanted.kind is Kind.BOOLEAN:
        return wanted.options or _YES_NO
    return wanted.options if wanted.kind in (Kind.CHOICE, Kind.CHOICES) else ()


def _recipe(wanted: WantedField, there: Listed | None, fault: Refused) -> str:
    if wanted.kind not in _MADE:
        return fault.reason
    options = _options(wanted)
    has = f" with the options {', '.join(options)}" if options else ""
    what = (
        f'add a custom field "{wanted.label[:_LONGEST_LABEL]}" of the type "{_type(wanted)[1]}"{has}'
        if there is None
        else f'give the field "{there.label}" the options {", ".join(options)}'
    )
    why = (
        "delete a custom field first, or take a larger plan"
        if fault.code.startswith("feature_capping")
        else "it takes an administrator's rights"
    )
    return (
        f"Pipedrive refused it ({fault}). In Pipedrive: 1. open Settings, Company settings, Data fields, Person. "
        f"2. {what[0].upper()}{what[1:]}; {why}. 3. Come back and look again: it is found by its name and type."
    )
