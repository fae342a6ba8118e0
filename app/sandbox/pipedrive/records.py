"""What a company keeps: persons, activities, leads, fields, hooks. Times are Unix time, in seconds unless named."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from app.sandbox.pipedrive.wire import Author


class Point(NamedTuple):
    """An address or a number of a person."""

    value: str
    primary: bool
    label: str


@dataclass(slots=True)
class Person:
    id: int
    name: str
    owner_id: int
    added: int
    updated: int
    org_id: int | None = None
    emails: tuple[Point, ...] = ()
    phones: tuple[Point, ...] = ()
    visible_to: int = 3
    label_ids: tuple[int, ...] = ()
    job_title: str | None = None
    is_deleted: bool = False
    custom: dict[str, Any] = field(default_factory=dict)  # Any: as the type of the field has it
    found_from_ms: int = 0
    """When search began to find it at these addresses, in milliseconds; without the lag."""
    writes: int = 0
    """How often the API wrote it."""

    @property
    def first_and_last(self) -> tuple[str, str | None]:
        first, _, last = self.name.rpartition(" ")
        return (first, last) if first else (last, None)

    @property
    def email(self) -> str | None:
        """The primary one, if it looks like an address at all."""
        return next((point.value for point in self.emails if point.primary and "@" in point.value), None)


@dataclass(slots=True)
class Activity:
    id: int
    subject: str
    type: str
    owner_id: int
    added: int
    updated: int
    due_date: str | None = None
    due_time: str | None = None
    duration: str | None = None
    busy: bool = False
    done: bool = False
    done_at: int | None = None
    deal_id: int | None = None
    lead_id: str | None = None
    org_id: int | None = None
    project_id: int | None = None
    location: str | None = None
    participants: tuple[int, ...] = ()
    """Persons; the first is the primary one."""
    attendees: tuple[dict[str, Any], ...] = ()  # Any: JSON as it came
    public_description: str | None = None
    priority: int | None = None
    note: str | None = None
    is_deleted: bool = False
    writes: int = 0

    @property
    def person_id(self) -> int | None:
        return self.participants[0] if self.participants else None


@dataclass(slots=True)
class Kind:
    """A type of activity."""

    id: int
    name: str
    key: str
    icon: str
    is_custom: bool
    added: int
    updated: int
    color: str | None = None
    is_active: bool = True


@dataclass(slots=True)
class Lead:
    number: int
    id: str
    title: str
    owner_id: int
    creator_id: int
    added_ms: int
    updated_ms: int
    person_id: int | None = None
    organization_id: int | None = None
    label_ids: list[str] = field(default_factory=list)
    value: dict[str, Any] | None = None  # Any: an amount and a currency
    expected_close_date: str | None = None
    visible_to: str = "3"
    was_seen: bool = False
    is_archived: bool = False
    origin: str = "API"
    origin_id: str | None = None
    channel: int | None = None
    channel_id: str | None = None
    custom: dict[str, Any] = field(default_factory=dict)  # Any: as the type of the field has it
    writes: int = 0


@dataclass(slots=True)
class Field:
    """A field of persons, or of deals and leads."""

    id: int
    name: str
    code: str
    type: str
    is_custom: bool
    added: int
    updated: int
    options: dict[int | str, str] | None = None
    """Id to label; numbers for custom fields, text for built-in ones."""
    is_optional: bool = False
    """It is in an answer only where `include_fields` asks."""
    look: dict[str, Any] = field(default_factory=dict)  # Any: `ui_visibility` and its like, JSON as it came


@dataclass(slots=True)
class Consent:
    """The marketing status of an address, and the changes from one status to another that it has used up."""

    status: str
    spent: set[tuple[str, str]] = field(default_factory=set)


@dataclass(slots=True)
class Hook:
    id: int
    url: str
    action: str
    entity: str
    name: str
    version: str
    user_id: int
    added_ms: int
    client_id: str | None = None
    """The app that made it; None: a user's API token did."""
    user: str | None = None
    password: str | None = None
    failures: int = 0
    """Events whose first attempt failed since the counter was reset."""
    banned_until_ms: int = 0
    last_success_ms: int = 0
    last_delivery_ms: int | None = None
    last_status: int | None = None


class Entry(NamedTuple):
    """One field of a person that changed."""

    second: int
    key: str
    old: str | None
    new: str | None
    author: Author


class Event(NamedTuple):
    """What webhooks are told."""

    action: str
    entity: str
    id: int | str
    data: dict[str, Any] | None  # Any: JSON
    previous: dict[str, Any] | None  # Any: JSON
    author: Author
    at_ms: int
    meta: dict[str, str]
    """More of it, of a merge."""


class User(NamedTuple):
    id: int
    name: str
    email: str
    is_admin: bool
