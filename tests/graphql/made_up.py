"""Operations that are made up: any selection of what is compiled, with fragments, aliases, variables and directives."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

ODD = 'Zoë "quoted" \\ \b\t\n\x1f\x7f 𝄞 </script>'


@dataclass
class Made:
    """An operation as it grows."""

    draw: Callable[..., Any]  # Any: of any strategy
    emails: list[str]
    ids: list[str]
    cursors: list[str]
    variables: dict[str, tuple[str, Any]] = field(default_factory=dict)
    """By the name: type and value."""
    fragments: list[str] = field(default_factory=list)
    number: int = 0

    def fresh(self, letter: str) -> str:
        self.number += 1
        return f"{letter}{self.number}"

    def value(self, kind: str, value: Any) -> str:
        """Written out, or as a variable."""
        if self.draw(st.booleans()) or kind.strip("[]!") in {"ContactFilter", "ContactOrder"}:
            name = self.fresh("v")
            self.variables[name] = kind, value
            return f"${name}"
        return json.dumps(value)

    def directive(self) -> str:
        choice = self.draw(st.integers(0, 9))
        if choice > 1:
            return ""
        flag = self.value("Boolean!", self.draw(st.booleans()))
        return f" @{('skip', 'include')[choice]}(if: {flag})"

    def named(self, field_: str) -> str:
        """A field that has arguments, or none; under a name of its own if it has."""
        alias = f"{self.fresh('a')}: " if "(" in field_ or self.draw(st.booleans()) else ""
        return alias + field_ + self.directive()

    def fields(self, kind: str, depth: int = 0) -> str:
        """A selection set, never empty."""
        said = [self.one(kind, depth) for _ in range(self.draw(st.integers(2, 6)))]
        return "{ " + " ".join([*said, "__typename"] if self.draw(st.booleans()) else ["__typename", *said]) + " }"

    def one(self, kind: str, depth: int) -> str:
        if depth < 3 and self.draw(st.integers(0, 9)) < 2:
            inner = self.fields(kind, depth + 1)
            match self.draw(st.integers(0, 2)):
                case 0:
                    return f"...{self.directive()} {inner}"
                case 1:
                    return f"... on {kind}{self.directive()} {inner}"
            name = self.fresh("f")
            self.fragments.append(f"fragment {name} on {kind} {inner}")
            return f"...{name}{self.directive()}"
        below: dict[str, str] = COMPOSITE.get(kind, {})
        if below and self.draw(st.booleans()):
            name = self.draw(st.sampled_from(list(below)))
            return (
                self.named(name + ARGUMENTS.get(f"{kind}.{name}", _none)(self)) + " " + self.fields(below[name], depth)
            )
        leaves = LEAVES[kind]
        if not leaves:
            return "__typename"
        return self.named(self.draw(st.sampled_from(leaves)))


def _none(_: Made) -> str:
    return ""


def _score(made: Made) -> str:
    keys = st.sampled_from(["engagement"] * 4 + ["fit", "old", "draft", "nope"])
    return f"(model: {made.value('String!', made.draw(keys))})"


def _events(made: Made) -> str:
    said = [f"first: {made.value('Int!', made.draw(st.integers(0, 5)))}"]
    if made.draw(st.booleans()):
        types = st.lists(st.sampled_from(["email.opened", "PAGE.viewed", ODD, "none"]), max_size=2)
        said.append(f"types: {made.value('[String!]', made.draw(st.none() | types))}")
    return f"({', '.join(said)})"


def _contact(made: Made) -> str:
    if made.draw(st.booleans()):
        return f"(id: {made.value('ID', made.draw(st.sampled_from([*made.ids, made.ids[0].upper(), 'x'])))})"
    return f"(email: {made.value('String', made.draw(st.sampled_from([*made.emails, ' ADA@x.co', 'x', ''])))})"


BOUNDS = st.fixed_dictionaries(
    {"model": st.sampled_from(["engagement"] * 4 + ["fit", "nope"])},
    optional={
        name: st.sampled_from([0, 40, 79.99, 80.0, 85, -3.25, 1e308, None]) for name in ("gte", "gt", "lte", "lt")
    },
)
FILTERS: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "score": BOUNDS,
            "scores": st.lists(BOUNDS, max_size=2),
            "band": st.fixed_dictionaries(
                {"model": st.just("engagement"), "name": st.sampled_from(["Hot", "Cold", "x"])}
            ),
            "bounced": st.booleans(),
            "optedOut": st.none() | st.booleans(),
            "suppressed": st.booleans(),
            "bounceStatus": st.sampled_from(["NONE", "HARD"]),
            "tag": st.sampled_from(["vip", ODD, "a\0"]),
            "email": st.sampled_from(["@X.co", "%", ""]),
            "stage": st.sampled_from(["LEAD", "x" * 1_001]),
        },
    ),
    lambda inner: st.one_of(
        inner.map(lambda one: {"not": one}),
        st.lists(inner, max_size=2).map(lambda several: {"or": several}),
        st.lists(inner, max_size=2).map(lambda several: {"and": several}),
    ),
    max_leaves=3,
)
DIRECTION = st.sampled_from(["ASC", "DESC"])
ORDER = st.one_of(
    st.fixed_dictionaries(
        {
            "score": st.fixed_dictionaries(
                {"model": st.sampled_from(["engagement", "fit"])}, optional={"direction": DIRECTION}
            )
        }
    ),
    st.fixed_dictionaries({"lastEventAt": DIRECTION}),
    st.fixed_dictionaries({"createdAt": DIRECTION}),
    st.fixed_dictionaries({"name": DIRECTION}),
)


def _contacts(made: Made) -> str:
    draw = made.draw
    said = []
    if draw(st.booleans()):
        size = draw(st.integers(0, 6) | st.sampled_from([50, 201]))
        said.append(f"{draw(st.sampled_from(['first', 'first', 'last']))}: {made.value('Int', size)}")
    if draw(st.booleans()):
        said.append(f"filter: {made.value('ContactFilter', draw(FILTERS))}")
    if draw(st.booleans()):
        said.append(f"orderBy: {made.value('[ContactOrder!]', draw(st.lists(ORDER, max_size=2)))}")
    said += [
        f"{name}: {made.value('String', draw(st.sampled_from([*made.cursors, 'nope'])))}"
        for name in ("after", "before")
        if draw(st.integers(0, 4)) == 0
    ]
    return f"({', '.join(said)})" if said else ""


def _distribution(made: Made) -> str:
    said = [f"model: {made.value('String!', made.draw(st.sampled_from(['engagement', 'fit', 'draft'])))}"]
    if made.draw(st.integers(0, 3)) == 0:
        said.append("buckets: {from: -10, width: 33.3, count: 4}")
    if made.draw(st.booleans()):
        said.append(f"filter: {made.value('ContactFilter', made.draw(FILTERS))}")
    return f"({', '.join(said)})"


LEAVES = {
    "Query": [],
    "Contact": [
        "id", "email", "emailQuality", "name", "stage", "tags", "properties", "optedOut", "optedOutAt",
        "optedOutReason", "optedOutBy", "bounced", "bouncedAt", "bouncedReason", "bouncedBy", "bounceStatus",
        "softBounces", "suppressed", "lastEventAt", "createdAt", "updatedAt",
    ],
    "Score": ["value", "version", "nextChangeOn", "computedAt"],
    "Band": ["name", "color", "min"],
    "ScoringModel": ["key", "name", "version", "publishedAt", "archived", "description"],
    "Event": [
        "id", "clientId", "type", "occurredAt", "receivedAt", "source", "address", "properties", "human", "humanBy",
    ],
    "Identity": ["kind", "value"],
    "ContactConnection": [],
    "ContactEdge": ["cursor"],
    "ScoreDistribution": ["contacts", "outside"],
    "DistributionPart": ["from", "to", "contacts", "share"],
    "ModelRef": ["key", "name"],
    "PageInfo": ["hasNextPage", "hasPreviousPage", "startCursor", "endCursor"],
}  # fmt: skip
COMPOSITE = {
    "Query": {"contact": "Contact", "contacts": "ContactConnection", "scoreDistribution": "ScoreDistribution"},
    "ScoreDistribution": {"model": "ModelRef", "parts": "DistributionPart"},
    "DistributionPart": {"band": "Band"},
    "Contact": {"score": "Score", "scores": "Score", "events": "Event", "identities": "Identity"},
    "Score": {"band": "Band", "model": "ScoringModel"},
    "ScoringModel": {"bands": "Band"},
    "ContactConnection": {"nodes": "Contact", "edges": "ContactEdge", "pageInfo": "PageInfo"},
    "ContactEdge": {"node": "Contact"},
}
ARGUMENTS: dict[str, Callable[[Made], str]] = {
    "Query.contact": _contact,
    "Query.contacts": _contacts,
    "Query.scoreDistribution": _distribution,
    "Contact.score": _score,
    "Contact.events": _events,
}
