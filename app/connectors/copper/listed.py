"""Which fields there are: those that every account has, and custom ones as Copper lists them.

Custom fields are named by the ids of their definitions, `cf_705402`, for names may change and need not be unique; the
others have names of ours. Source: "People", "Leads" and "Custom Fields" of Copper's Postman collection, August 2026.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from app.connectors.copper.calls import Json
from app.connectors.shapes import Kind

PERSON, LEAD = "person", "lead"
NAME, EMAIL, PHONE, TAGS = "name", "email", "phone", "tags"
CONTACT_TYPE, STATUS, SOURCE = "contact_type", "status", "customer_source"
CUSTOM = "cf_"


class BuiltIn(NamedTuple):
    """A field that every account has."""

    label: str
    kind: Kind
    wire: str
    """Copper's name of it; `address.city` is in an object."""
    is_writable: bool = True


_BOTH: Mapping[str, BuiltIn] = {
    NAME: BuiltIn("Name", Kind.TEXT, NAME),
    "first_name": BuiltIn("First name", Kind.TEXT, "first_name", is_writable=False),
    "last_name": BuiltIn("Last name", Kind.TEXT, "last_name", is_writable=False),
    EMAIL: BuiltIn("Email", Kind.TEXT, EMAIL, is_writable=False),
    PHONE: BuiltIn("Phone", Kind.TEXT, "phone_numbers", is_writable=False),
    "title": BuiltIn("Title", Kind.TEXT, "title"),
    TAGS: BuiltIn("Tags", Kind.CHOICES, TAGS),
    "details": BuiltIn("Description", Kind.TEXT, "details"),
    "street": BuiltIn("Street", Kind.TEXT, "address.street", is_writable=False),
    "city": BuiltIn("City", Kind.TEXT, "address.city", is_writable=False),
    "state": BuiltIn("State", Kind.TEXT, "address.state", is_writable=False),
    "postal_code": BuiltIn("Postal code", Kind.TEXT, "address.postal_code", is_writable=False),
    "country": BuiltIn("Country", Kind.TEXT, "address.country", is_writable=False),
    "interaction_count": BuiltIn("Interactions", Kind.NUMBER, "interaction_count", is_writable=False),
    "date_last_contacted": BuiltIn("Last contacted", Kind.INSTANT, "date_last_contacted", is_writable=False),
    "date_created": BuiltIn("Created", Kind.INSTANT, "date_created", is_writable=False),
}
BUILT_IN: Mapping[str, Mapping[str, BuiltIn]] = {
    PERSON: {
        **_BOTH,
        "company_name": BuiltIn("Company", Kind.TEXT, "company_name", is_writable=False),
        CONTACT_TYPE: BuiltIn("Contact type", Kind.CHOICE, "contact_type_id"),
    },
    LEAD: {
        **_BOTH,
        "company_name": BuiltIn("Company", Kind.TEXT, "company_name"),
        STATUS: BuiltIn("Status", Kind.CHOICE, "status_id"),
        SOURCE: BuiltIn("Source", Kind.CHOICE, "customer_source_id"),
        "monetary_value": BuiltIn("Value", Kind.NUMBER, "monetary_value"),
    },
}
"""By object and name. Of addresses and phones the first. The parts of an address are written together or not at all."""

CHOICES: Mapping[str, str] = {CONTACT_TYPE: PERSON, STATUS: LEAD, SOURCE: LEAD}
"""Fields that every account has and whose options differ, and of which object they are."""

_KINDS = {
    "String": Kind.TEXT,
    "Text": Kind.TEXT,
    "URL": Kind.TEXT,
    "Float": Kind.NUMBER,
    "Percentage": Kind.NUMBER,
    "Currency": Kind.NUMBER,
    "Checkbox": Kind.BOOLEAN,
    "Dropdown": Kind.CHOICE,
    "MultiSelect": Kind.CHOICES,
    "Date": Kind.DAY,
}
_LONGEST_STRING = 255


class Listed(NamedTuple):
    """A field as Copper lists it."""

    name: str
    label: str
    type: str
    objects: tuple[str, ...]
    """`person`, `lead` and others, such as `company`."""
    options: Mapping[str, str] = {}
    """The label of each option by its id as text."""
    is_filterable: bool | None = None
    """None where Copper does not say."""

    @property
    def id(self) -> int:
        return int(self.name.removeprefix(CUSTOM))

    @property
    def is_custom(self) -> bool:
        return self.name.startswith(CUSTOM)

    @property
    def kind(self) -> Kind:
        return _KINDS.get(self.type, Kind.OTHER)

    @property
    def max_length(self) -> int | None:
        """Copper does not say how long a line may be: as long as elsewhere."""
        return _LONGEST_STRING if self.type == "String" else None

    @property
    def places(self) -> int | None:
        return 0 if self.type == "Percentage" else None

    @classmethod
    def of(cls, row: Json) -> "Listed":
        objects, is_filterable = row.get("available_on"), row.get("is_filterable")
        return cls(
            f"{CUSTOM}{row.get('id')}",
            str(row.get("name")),
            str(row.get("data_type")),
            tuple(map(str, objects)) if isinstance(objects, list) else (),
            options_of(row.get("options")),
            is_filterable if isinstance(is_filterable, bool) else None,
        )


Listing = Mapping[str, Listed]
"""By name: all custom fields, and those of `CHOICES`."""


def options_of(rows: object) -> dict[str, str]:
    """The label of each option by its id as text, in their order."""
    given = rows if isinstance(rows, list) else []
    return {
        str(one["id"]): str(one["name"])
        for one in given
        if isinstance(one, dict) and one.get("id") is not None and one.get("name") is not None
    }


def custom(names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(CUSTOM)]
