"""What of the schema is compiled, and into which SQL.

A field is covered only while the schema gives it the type that is expected here: one that is added or changed is left
to the resolvers until somebody writes it down. `writing.py` puts the pieces together.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from app.graphql import arguments
from app.store import answers

ROOTS = {"contact", "contacts", "scoreDistribution", "__typename"}
READERS: Mapping[str, arguments.Reader] = {
    "Query.contact": arguments.contact,
    "Query.contacts": arguments.contacts,
    "Query.scoreDistribution": arguments.distribution,
    "Contact.score": arguments.score,
    "Contact.events": arguments.events,
}
"""How the arguments of a field are read; those of any other are not."""

Fields: TypeAlias = Mapping[str, tuple[str, str]]
"""By the field's name: its type in the schema, and its SQL."""
Constants: TypeAlias = Mapping[str, tuple[str, Callable[[Any], object]]]  # Any: a band or a model
"""By the field's name: its type in the schema, and what it is of a band or a model that is known."""


def _plain(alias: str, kind: str, *names: str) -> Fields:
    return {name: (kind, f"{alias}.{_snake(name)}") for name in names}


def _instants(alias: str, kind: str, *names: str) -> Fields:
    return {name: (kind, answers.instant(f"{alias}.{_snake(name)}")) for name in names}


def _snake(name: str) -> str:
    return "".join(f"_{one.lower()}" if one.isupper() else one for one in name)


_SEEN = answers.instant("a.last_event_at")
CONTACT: Fields = {
    **_plain("p", "ID!", "id"),
    **_plain("p", "String", "email", "name", "stage", "optedOutReason", "optedOutBy", "bouncedReason", "bouncedBy"),
    **_plain("p", "[String!]!", "tags"),
    **_plain("p", "JSON!", "properties"),
    **_plain("p", "Boolean!", "optedOut", "bounced"),
    **_plain("p", "Int!", "softBounces"),
    **_plain("p", "BounceStatus!", "bounceStatus"),
    **_plain("p", "[EmailQuality!]!", "emailQuality"),
    **_instants("p", "DateTime", "optedOutAt", "bouncedAt"),
    **_instants("p", "DateTime!", "createdAt", "updatedAt"),
    "suppressed": ("Boolean!", "p.opted_out OR p.bounced"),
    "lastEventAt": (
        "DateTime",
        f"(SELECT {_SEEN} FROM activity a WHERE a.contact_id = p.id AND isfinite(a.last_event_at))",
    ),
}
EVENT: Fields = {
    **_plain("e", "ID!", "id"),
    **_plain("e", "String", "clientId", "address", "humanBy"),
    **_plain("e", "String!", "type", "source"),
    **_plain("e", "JSON!", "properties"),
    **_plain("e", "Boolean", "human"),
    **_instants("e", "DateTime!", "occurredAt", "receivedAt"),
}
SCORE: Fields = {
    "value": ("Float", answers.number("s.value")),
    **_plain("s", "Int!", "version"),
    **_plain("s", "Date", "nextChangeOn"),
    **_instants("s", "DateTime!", "computedAt"),
}
IDENTITY: Fields = _plain("i", "String!", "kind", "value")


BAND: Constants = {
    "name": ("String!", lambda band: band.name),
    "color": ("String!", lambda band: band.color),
    "min": ("Float", lambda band: None if band.min is None else float(band.min)),
}
MODEL: Constants = {
    "key": ("String!", lambda model: model.key),
    "name": ("String!", lambda model: model.name),
    "version": ("Int", lambda model: model.version),
    "publishedAt": ("DateTime", lambda model: model.published_at and model.published_at.isoformat()),
    "archived": ("Boolean!", lambda model: model.archived),
}
