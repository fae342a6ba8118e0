"""What an account keeps: people, leads, activities, fields, hooks. Times are Unix time in seconds, unless named.

Attributes are named as the API names them. People, leads and activities are replaced, never changed in place, so that
search may go on showing what they were.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Point(NamedTuple):
    """An address, a telephone number, a profile or a website."""

    value: str
    category: str


@dataclass(slots=True, kw_only=True)
class Somebody:
    """What people and leads have in common."""

    id: int
    name: str
    date_created: int
    date_modified: int
    prefix: str | None = None
    first_name: str | None = None
    middle_name: str | None = None
    last_name: str | None = None
    suffix: str | None = None
    address: dict[str, str | None] | None = None
    assignee_id: int | None = None
    company_name: str | None = None
    details: str | None = None
    phone_numbers: tuple[Point, ...] = ()
    socials: tuple[Point, ...] = ()
    websites: tuple[Point, ...] = ()
    tags: tuple[str, ...] = ()
    title: str | None = None
    custom: dict[int, Any] = field(default_factory=dict)
    """By the id of the definition; what is unset is not there. Any: as the type of the field has it."""
    date_last_contacted: int | None = None
    interaction_count: int = 0


@dataclass(slots=True, kw_only=True)
class Person(Somebody):
    company_id: int | None = None
    contact_type_id: int | None = None
    emails: tuple[Point, ...] = ()
    leads_converted_from: tuple[int, ...] = ()
    date_lead_created: int | None = None


@dataclass(slots=True, kw_only=True)
class Lead(Somebody):
    status_id: int
    customer_source_id: int | None = None
    email: Point | None = None
    monetary_unit: str | None = None
    monetary_value: float | None = None
    converted_opportunity_id: int | None = None
    converted_contact_id: int | None = None
    converted_at: int | None = None

    @property
    def emails(self) -> tuple[Point, ...]:
        return () if self.email is None else (self.email,)


class Company(NamedTuple):
    id: int
    name: str
    date_created: int


class Opportunity(NamedTuple):
    id: int
    name: str
    primary_contact_id: int | None
    company_id: int | None
    date_created: int
    monetary_value: float | None = None


class Parent(NamedTuple):
    """What an activity is about."""

    type: str
    id: int


@dataclass(slots=True, kw_only=True)
class Activity:
    id: int
    parent: Parent
    type: tuple[str, int]
    """Category and id: neither says anything without the other."""
    user_id: int
    details: str | None
    activity_date: int
    date_created: int
    date_modified: int
    old_value: Any = None  # Any: JSON
    new_value: Any = None  # Any: JSON
    is_deleted: bool = False


@dataclass(slots=True)
class ActivityType:
    id: int
    category: str
    name: str
    count_as_interaction: bool
    is_disabled: bool = False
    icon: str | None = None
    custom_id: int | None = None
    """Its id among `custom_activity_types`; None: it was there from the beginning."""


@dataclass(slots=True)
class Definition:
    """A custom field."""

    id: int
    name: str
    data_type: str
    available_on: tuple[str, ...]
    is_filterable: bool
    options: dict[int, str] | None = None
    """Of a Dropdown and a MultiSelect: id to name, in their order."""
    currency: str | None = None


@dataclass(slots=True)
class Hook:
    id: int
    target: str
    type: str
    event: str
    key: str
    """Whose it is: it ends with the key that made it."""
    created_at: int
    secret: dict[str, str] | None = None
    headers: dict[str, str] | None = None


class Event(NamedTuple):
    """What webhooks are told."""

    type: str
    event: str
    id: int
    changes: dict[str, Any] | None  # Any: the value before and after
    at_ms: int


class User(NamedTuple):
    id: int
    name: str
    email: str
    is_admin: bool
