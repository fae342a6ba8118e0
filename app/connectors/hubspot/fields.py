"""The fields of contacts: what there is, and what to map.

A property has a name that never changes, chosen by whoever makes it: the same in all accounts. Beside those that
HubSpot lists there is `firstname+lastname`, a whole name, which it has not. Two are more than they look:

- `hs_email_optout` is read only as a property; it is written by the API for preferences (`preferences.py`).
- our own `leadtally_email_bounced` also says yes where HubSpot's own mail came back. That is HubSpot's to take back.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from app import clock
from app.connectors.faults import Unreachable
from app.connectors.hubspot import values
from app.connectors.hubspot.api import PROPERTIES, Api, Json
from app.connectors.hubspot.values import Property, Unfit
from app.connectors.shapes import CrmField, DefaultPair, Kind, Value, WantedField

CONTACT = "contact"
EMAIL, MORE_EMAILS = "email", "hs_additional_emails"
FIRST_NAME, LAST_NAME = "firstname", "lastname"
NAME = f"{FIRST_NAME}+{LAST_NAME}"
OPT_OUT = "hs_email_optout"
MODIFIED, MERGED = "lastmodifieddate", "hs_merged_object_ids"
OURS = "leadtally_"
"""What the names begin with of properties that we make."""
BOUNCED = f"{OURS}email_bounced"
_BOUNCES = ("hs_email_hard_bounce_reason_enum", "hs_email_hard_bounce_reason")
_BAD_ADDRESS = "hs_email_bad_address"

_DESCRIBED_FOR = timedelta(minutes=5)
_READ_FOR = timedelta(hours=1)
"""How old a list may be by which values are read, if it knows them all."""

Listing = Mapping[str, Property]
"""By name."""


class Fields:
    """The properties of one account's contacts, as they were listed last."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._listing: Listing = {}
        self._listed_at = clock.now() - _READ_FOR
        self._one_at_a_time = asyncio.Lock()

    async def listing(self, max_age: timedelta = _DESCRIBED_FOR) -> Listing:
        """As it was listed at most so long ago; with no age at all, as it is listed from now on."""
        async with self._one_at_a_time:
            if not self._listing or not timedelta() <= clock.now() - self._listed_at < max_age:
                began = clock.now()
                found = (await self._api.json("GET", PROPERTIES)).get("results")
                if not isinstance(found, list) or not all(isinstance(row, dict) and "name" in row for row in found):
                    raise Unreachable("the list of properties was none")
                self._listing, self._listed_at = {one.name: one for one in map(Property.of, found)}, began
            return self._listing

    async def knowing(self, names: Iterable[str]) -> Listing:
        """A listing by which these can be read and written, if there are such properties."""
        wanted = wire_names(names)
        listing = await self.listing(_READ_FOR)
        return listing if wanted <= listing.keys() else await self.listing()

    async def describe(self) -> list[CrmField]:
        listing = await self.listing()
        whole = CrmField(NAME, "Name (first and last)", Kind.TEXT, is_writable=False)
        return [whole, *(shown(one) for one in listing.values())]


def is_writable(of: Property) -> bool:
    return of.name == OPT_OUT or (not of.is_read_only and of.kind is not Kind.OTHER)


def shown(of: Property) -> CrmField:
    is_choice = of.kind in (Kind.CHOICE, Kind.CHOICES)
    options = tuple(dict.fromkeys(of.options.values())) if is_choice else ()
    return CrmField(of.name, of.label, of.kind, is_writable(of), of.is_custom, options, of.max_length)


def defaults(fields: Sequence[CrmField]) -> list[DefaultPair]:
    names = {one.name for one in fields}
    pairs = [("email", EMAIL, "in"), ("name", NAME, "in"), ("opted_out", OPT_OUT, "both")]
    return [
        *(DefaultPair(CONTACT, here, there, way) for here, there, way in pairs if there in names),
        DefaultPair(CONTACT, "bounced", _BOUNCED, "both"),
        DefaultPair(CONTACT, "bounced_at", _BOUNCED_ON, "out"),
        DefaultPair(CONTACT, "bounced_reason", _BOUNCED_REASON, "out"),
    ]


_BOUNCED = WantedField(
    CONTACT, "email_bounced", "Email bounced (Leadtally)", Kind.BOOLEAN, "Whether mail to the address comes back."
)
_BOUNCED_ON = WantedField(
    CONTACT, "email_bounced_on", "Email bounced on (Leadtally)", Kind.INSTANT, "Since when mail to it comes back."
)
_BOUNCED_REASON = WantedField(
    CONTACT, "email_bounced_reason", "Email bounced reason (Leadtally)", Kind.TEXT, "What came back with the mail."
)


# --- values of a contact ----------------------------------------------------------------------------------------------


def wire_names(names: Iterable[str]) -> set[str]:
    """The properties that make up these fields."""
    wanted = set(names)
    if NAME in wanted:
        wanted = wanted - {NAME} | {FIRST_NAME, LAST_NAME}
    return wanted | {*_BOUNCES, _BAD_ADDRESS} if BOUNCED in wanted else wanted


def read(row: Json, names: Iterable[str], listing: Listing) -> dict[str, Value]:
    """These fields of a contact; what is not shown is left out."""
    raw = row["properties"]
    found: dict[str, Value] = {}
    for name in names:
        if name == NAME and (FIRST_NAME in raw or LAST_NAME in raw):
            words = " ".join(str(raw.get(part) or "") for part in (FIRST_NAME, LAST_NAME)).split()
            found[name] = " ".join(words) or None
        elif name in raw and name in listing:
            found[name] = values.read(listing[name], raw[name])
    if found.get(BOUNCED, True) is not True and _is_bounced(raw):
        found[BOUNCED] = True
    return found


def _is_bounced(raw: Json) -> bool:
    """Whether HubSpot's own mail came back for good."""
    return any(raw.get(name) for name in _BOUNCES) or raw.get(_BAD_ADDRESS) == "true"


def addresses(row: Json) -> tuple[str, ...]:
    """All of a contact's, the primary one first."""
    raw = row["properties"]
    given = (raw.get(EMAIL), *str(raw.get(MORE_EMAILS) or "").split(";"))
    return tuple(dict.fromkeys(one for one in given if isinstance(one, str) and one))


def told(written: Mapping[str, Value], listing: Listing) -> dict[str, str]:
    """What a call says to set these fields, without the opt-out. Raises Unfit, of the first that cannot be."""
    said: dict[str, str] = {}
    for name, value in written.items():
        if name == OPT_OUT:
            if not isinstance(value, bool | None):
                raise Unfit(name)
            continue
        if name not in listing or not is_writable(listing[name]):
            raise Unfit(name)
        said[name] = values.told(listing[name], value)
    return said
