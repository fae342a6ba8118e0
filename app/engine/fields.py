"""The fields a condition may name, and the type of each.

Three scopes: an event condition sees one event, a contact condition what the contact is now, a record condition a
flat record whose fields the caller declares. `event.properties.<name>` and `contact.properties.<name>` are open: a
property that nobody declared takes the type of what it is compared with. What a deployment has made itself (models,
measures, segments) is a contact's, too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any


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
    "event.human": FieldType.BOOLEAN,
}
_CONTACT = {
    "contact.email": FieldType.TEXT,
    "contact.email_domain": FieldType.TEXT,
    "contact.email_quality": FieldType.TAGS,
    "contact.name": FieldType.TEXT,
    "contact.stage": FieldType.TEXT,
    "contact.tags": FieldType.TAGS,
    "contact.opted_out": FieldType.BOOLEAN,
    "contact.bounced": FieldType.BOOLEAN,
    "contact.bounce_status": FieldType.TEXT,
    "contact.created_at": FieldType.DATETIME,
    "contact.last_event_at": FieldType.DATETIME,
    "contact.days_inactive": FieldType.NUMBER,
    "contact.segments": FieldType.TAGS,
}
HUMAN = "event.human"
SEGMENTS = "contact.segments"
SCORE, BAND, MEASURE = "contact.score.", "contact.band.", "contact.measures."
MOVED_BY_EVENTS = {"contact.last_event_at", "contact.days_inactive"}
"""What any event changes, without anybody changing the contact; measures, too."""
FIXED: dict[Scope, dict[str, FieldType]] = {Scope.EVENT: _EVENT, Scope.CONTACT: _CONTACT, Scope.RECORD: {}}


@dataclass(frozen=True)
class ModelTerm:
    """A model whose scores conditions may name, with its bands as they count, from lowest to highest."""

    id: int
    bands: tuple[tuple[str, Decimal | None], ...] = ()


class Aggregate(StrEnum):
    COUNT = "count"
    SUM = "sum"
    DISTINCT = "distinct"


@dataclass(frozen=True)
class MeasureTerm:
    """A named count or sum of a contact's events: from the tallies of a counter, inside a window of UTC days."""

    counter_id: int
    aggregate: Aggregate
    window_days: int | None = None


@dataclass(frozen=True)
class Vocabulary:
    """The fields of one scope: the fixed ones, the types declared for others, and what the deployment has made."""

    scope: Scope
    declared: Mapping[str, FieldType] = field(default_factory=dict)
    models: Mapping[str, ModelTerm] = field(default_factory=dict)
    measures: Mapping[str, MeasureTerm] = field(default_factory=dict)
    segments: Mapping[str, Any] = field(default_factory=dict)  # Any: each one's condition, as JSON

    @classmethod
    def of(cls, scope: Scope, declared: Mapping[str, FieldType] | None = None) -> "Vocabulary":
        """One that knows nothing of any deployment."""
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
        return self._made(name) if self.scope is Scope.CONTACT else None

    def _made(self, name: str) -> Field | None:
        if name.startswith(SCORE) and name.removeprefix(SCORE) in self.models:
            return Field(name, FieldType.NUMBER)
        if name.startswith(BAND) and name.removeprefix(BAND) in self.models:
            return Field(name, FieldType.TEXT)
        if name.startswith(MEASURE) and name.removeprefix(MEASURE) in self.measures:
            return Field(name, FieldType.NUMBER)
        return None

    def names(self) -> list[str]:
        """What to suggest when a name is unknown."""
        if self.scope is Scope.RECORD:
            return sorted(self.declared)
        made = [f"{prefix}{key}" for prefix in (SCORE, BAND) for key in sorted(self.models)]
        made += [f"{MEASURE}{key}" for key in sorted(self.measures)]
        return [*FIXED[self.scope], f"{self.scope}.properties.<name>", *(made if self.scope is Scope.CONTACT else ())]
