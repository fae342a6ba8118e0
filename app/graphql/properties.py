"""A contact's properties one by one, each by the type that was declared for it."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

import strawberry
from strawberry.scalars import JSON

from app.engine.conditions import READERS
from app.engine.fields import FieldType
from app.graphql.fields import choices
from app.graphql.loaders import Loaders
from app.store import graph


@choices(
    "How a property is read.",
    TEXT="Text.",
    NUMBER="A number.",
    BOOLEAN="True or false.",
    DATETIME="An instant, RFC 3339, or a date.",
    TAGS="A list of text.",
)
class PropertyType(StrEnum):
    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATETIME = "datetime"
    TAGS = "tags"


@strawberry.type(
    description="A property of a contact, as conditions read it. Of `text`, `number`, `boolean`, `instant` and `tags` "
    "only those have a value as which it can be read; one that was declared, as its type alone."
)
class Property:
    name: str = strawberry.field(description='For example `"industry"`.')
    type: PropertyType | None = strawberry.field(description="The type that was declared for it. Null: nobody did.")
    value: JSON | None = strawberry.field(description='As it is stored, any JSON: `"Chemicals"`.')
    text: str | None = strawberry.field(description='As text: `"Chemicals"`; undeclared, also `"12"` and `"true"`.')
    number: float | None = strawberry.field(description="As a number: `12.5`.")
    boolean: bool | None = strawberry.field(description="As a boolean: `true`.")
    instant: datetime | None = strawberry.field(description='As an instant: `"2026-11-01T00:00:00+00:00"`.')
    tags: list[str] | None = strawberry.field(description='As a list of text: `["books", "tea"]`.')

    @classmethod
    def of(cls, name: str, value: Any, declared: FieldType | None) -> "Property":  # Any: JSON
        def of_kind(kind: FieldType) -> Any:  # Any: as that type has it
            return _typed(value, kind, declared) if declared in (None, kind) else None

        return cls(
            name=name,
            type=None if declared is None else PropertyType(declared.value),
            value=None if value is None else JSON(value),
            text=of_kind(FieldType.TEXT),
            number=of_kind(FieldType.NUMBER),
            boolean=of_kind(FieldType.BOOLEAN),
            instant=of_kind(FieldType.DATETIME),
            tags=of_kind(FieldType.TAGS),
        )


def _typed(value: Any, kind: FieldType, declared: FieldType | None) -> Any:  # Any: JSON, and what it is
    """The value as `engine/compile.py` reads it; None where it is of another type."""
    match kind:
        case FieldType.TEXT if declared is None and isinstance(value, bool):
            return str(value).lower()
        case FieldType.TEXT if declared is None and isinstance(value, int | float):
            return f"{Decimal(str(value)):f}"
        case FieldType.TEXT:
            return value if isinstance(value, str) else None
        case FieldType.NUMBER:
            return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
        case FieldType.BOOLEAN:
            return value if isinstance(value, bool) else None
        case FieldType.DATETIME:
            return READERS[kind](value) if isinstance(value, str) else None
        case FieldType.TAGS:
            return [one for one in value if isinstance(one, str)] if isinstance(value, list) else None


async def load_types(load: Loaders, keys: Sequence[None]) -> list[dict[str, FieldType]]:
    """The declared types, by the properties' names; once for a request."""
    async with load.reading() as db:
        found = {name: FieldType(said) for name, said in (await graph.declared(db)).items()}
    return [found for _ in keys]


def inside(properties: Any, name: str) -> Any:  # Any: JSON
    """A property by its name: the key that is spelled so, else the value inside of objects; None if there is none."""
    if name in properties:
        return properties[name]
    for part in name.split("."):
        properties = properties.get(part) if isinstance(properties, dict) else None
    return properties
