"""The fields a condition may name, and the type of each.

Three scopes: an event condition sees one event, a contact condition what the contact is now, a record condition a
flat record whose fields the caller declares. `event.properties.<name>` and `contact.properties.<name>` are open: a
property that nobody declared takes the type of what it is compared with.
"""

from dataclasses import dataclass
from enum import StrEnum


class FieldType(StrEnum):
    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATETIME = "datetime"
    TAGS = "tags"


class Scope(StrEnum):
    EVENT = "event"
    CONTACT = "contact"
    RECORD = "record"


@dataclass(frozen=True)
class Field:
    """A name of a scope. `type` is None for a property that nobody declared.

    `path` is where a property lies in the JSON: first the whole name, so that a key with a dot in it is found, then
    its parts.
    """

    name: str
    type: FieldType | None
    path: tuple[str, ...] = ()


_EVENT = {
    "event.type": FieldType.TEXT,
    "event.source": FieldType.TEXT,
    "event.occurred_at": FieldType.DATETIME,
}
_CONTACT = {
    "contact.email": FieldType.TEXT,
    "contact.email_domain": FieldType.TEXT,
    "contact.name": FieldType.TEXT,
    "contact.stage": FieldType.TEXT,
    "contact.tags": FieldType.TAGS,
    "contact.opted_out": FieldType.BOOLEAN,
    "contact.bounced": FieldType.BOOLEAN,
    "contact.bounce_status": FieldType.TEXT,
    "contact.created_at": FieldType.DATETIME,
    "contact.last_event_at": FieldType.DATETIME,
    "contact.days_inactive": FieldType.NUMBER,
}
MOVED_BY_EVENTS = {"contact.last_event_at", "contact.days_inactive"}
"""What any event changes, without anybody changing the contact."""
FIXED: dict[Scope, dict[str, FieldType]] = {Scope.EVENT: _EVENT, Scope.CONTACT: _CONTACT, Scope.RECORD: {}}


@dataclass(frozen=True)
class Vocabulary:
    """The fields of one scope: the fixed ones, and the types that the caller declared for others."""

    scope: Scope
    declared: dict[str, FieldType]

    @classmethod
    def of(cls, scope: Scope, declared: dict[str, FieldType] | None = None) -> "Vocabulary":
        return cls(scope, declared or {})

    def find(self, name: str) -> Field | None:
        """The field of that name, or None if the scope has none."""
        if self.scope is Scope.RECORD:
            return Field(name, self.declared[name], (name,)) if name in self.declared else None
        if name in FIXED[self.scope]:
            return Field(name, FIXED[self.scope][name])
        prefix = f"{self.scope}.properties."
        if name.startswith(prefix) and len(name) > len(prefix):
            return Field(name, self.declared.get(name), tuple(name.removeprefix(prefix).split(".")))
        return None

    def names(self) -> list[str]:
        """What to suggest when a name is unknown."""
        if self.scope is Scope.RECORD:
            return sorted(self.declared)
        return [*FIXED[self.scope], f"{self.scope}.properties.<name>"]
