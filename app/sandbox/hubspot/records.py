"""What an account keeps. Times are Unix time in milliseconds; values are text, as HubSpot has them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Author(NamedTuple):
    """Who changed something, as histories and webhooks tell it."""

    source: str
    """`CRM_UI`, `INTEGRATION`, `IMPORT`, `MERGE_OBJECTS`."""
    source_id: str
    """The id of the app; `userId:7` for who works in HubSpot."""
    user_id: int | None = None
    label: str | None = None


class Entry(NamedTuple):
    """A value that a property got. Empty: it was cleared."""

    at: int
    value: str
    author: Author


class Record(NamedTuple):
    """An object of any type. It is replaced, never changed in place: an index may hold an older one."""

    id: int
    created: int
    updated: int
    values: Mapping[str, str]
    """What is set. What is computed from the rest is not here."""
    creator: Author
    history: Mapping[str, tuple[Entry, ...]] = {}
    """Of properties that changed since the record was made, oldest first."""
    archived: int | None = None
    survivor: int | None = None
    """Into which it was merged."""

    def entries(self, name: str) -> tuple[Entry, ...]:
        """What a property was, oldest first."""
        known = self.history.get(name)
        if known is not None:
            return known
        value = self.values.get(name)
        return () if value is None else (Entry(self.created, value, self.creator),)


class Choice(NamedTuple):
    value: str
    label: str
    is_hidden: bool = False


@dataclass(slots=True)
class Property:
    name: str
    label: str
    type: str
    """string, number, date, datetime, enumeration, bool, phone_number."""
    field_type: str
    group: str
    options: tuple[Choice, ...] = ()
    description: str = ""
    is_read_only: bool = False
    is_custom: bool = False
    is_unique: bool = False
    is_hidden: bool = False
    is_form_field: bool = False
    is_archived: bool = False
    display_order: int = -1
    made_at: int = 0
    changed_at: int = 0
    made_by: int | None = None
    unseen: int = 0
    """So many writes do not know it yet."""


@dataclass(slots=True)
class Group:
    name: str
    label: str
    display_order: int = -1


@dataclass(slots=True)
class Topic:
    """A subscription type: what an address may opt out of."""

    id: int
    name: str
    description: str
    purpose: str
    made_at: int
    is_active: bool = True


class Standing(NamedTuple):
    """What an address said of one subscription type, or of all."""

    is_out: bool
    at: int
    source: str
    legal_basis: str | None = None
    explanation: str | None = None


@dataclass(slots=True)
class Consent:
    """Of an address, whether a contact has it or not."""

    of_all: Standing | None = None
    by_topic: dict[int, Standing] = field(default_factory=dict)


class Event(NamedTuple):
    """What webhooks are told."""

    object_type: str
    """`contacts`"""
    kind: str
    """creation, deletion, privacyDeletion, propertyChange, merge, restore, associationChange."""
    object_id: int
    author: Author
    at: int
    more: Mapping[str, Any]  # Any: JSON; what only this kind has
    name: str | None = None
    """Of the property that changed."""


@dataclass(slots=True)
class Subscription:
    id: int
    event_type: str
    name: str | None
    """Of a property."""
    object_type_id: str | None
    is_active: bool
    made_at: int
    changed_at: int


@dataclass(slots=True)
class App:
    """An app, and what it wants to be told, in all accounts that installed it."""

    id: int
    name: str
    client_id: str
    client_secret: str
    is_private: bool
    target_url: str | None = None
    most_at_once: int = 10
    settings_at: int = 0
    subscriptions: dict[int, Subscription] = field(default_factory=dict)


class User(NamedTuple):
    id: int
    """Of the user; as an owner somebody has another."""
    owner_id: int
    email: str
    first_name: str
    last_name: str
