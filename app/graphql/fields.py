"""Strawberry's decorators, with the types and descriptions that they leave out."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar, cast

import strawberry

_Resolver = TypeVar("_Resolver", bound=Callable[..., Any])  # Any: a resolver of any field
_Enum = TypeVar("_Enum", bound=type[StrEnum])


def resolved(description: str) -> Callable[[_Resolver], _Resolver]:
    """A field that the method decorated resolves. Strawberry's own decorator would leave the method untyped."""
    return cast("Callable[[_Resolver], _Resolver]", strawberry.field(description=description))


def choices(description: str, **values: str) -> Callable[[_Enum], _Enum]:
    """A GraphQL enum with a description of each value, which `strawberry.enum` cannot give to those of a StrEnum."""

    def decorate(enum: _Enum) -> _Enum:
        made = strawberry.enum(enum, description=description)
        for value in cast("Any", made).__strawberry_definition__.values:  # Any: Strawberry sets it
            value.description = values[value.name]
        return made

    return decorate
