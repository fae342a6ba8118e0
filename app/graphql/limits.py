"""What one request may ask for. Everything here is refused with a sentence that names the limit.

Strawberry's own limiters expand fragments again at each use, so a document of a few hundred tokens that spreads them
in a doubling chain keeps them busy for ever; these count each fragment once.
"""

from typing import NamedTuple

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
)

from app.errors import Fault, InvalidInput, TooLarge

MAX_DEPTH = 12
"""Fields inside fields, the innermost counted too. Introspection has a limit of its own, in graphql-core."""
MAX_ALIASES = 60
MAX_TOKENS = 2_000
MAX_PAGE = 200
DEFAULT_PAGE = 50
MAX_EVENTS = 100
"""Of one contact."""
MAX_OBJECTS = 50_000
"""In the lists of one answer: 200 contacts with 100 events each are 20,200."""
MAX_COST = 50_000
"""Rows that one answer is expected to have at most: `cost.py`."""
MAX_NESTING = 24
"""Lists and objects inside each other, in the variables."""


class Budget:
    """What is left of `MAX_OBJECTS` for one request."""

    def __init__(self) -> None:
        self._left = MAX_OBJECTS

    def spend(self, objects: int) -> None:
        """Raises TooLarge once the answer has more than its share."""
        self._left -= objects
        if self._left < 0:
            raise TooLarge(
                f"this asks for more than {MAX_OBJECTS:,} objects at once; ask for fewer contacts, or less of each"
            )


class Size(NamedTuple):
    """How many contacts a page has, and whether they are the last ones."""

    limit: int
    from_end: bool


def page_size(first: int | None, last: int | None) -> Size:
    """Raises InvalidInput if both are given, or one is not between 0 and `MAX_PAGE`."""
    if first is not None and last is not None:
        raise InvalidInput(Fault("/last", "give 'first' or 'last', not both"))
    if last is not None:
        return Size(bounded(last, MAX_PAGE, "last"), from_end=True)
    return Size(DEFAULT_PAGE if first is None else bounded(first, MAX_PAGE, "first"), from_end=False)


def bounded(number: int, most: int, name: str) -> int:
    """Raises InvalidInput outside of 0 to `most`."""
    if not 0 <= number <= most:
        raise InvalidInput(Fault(f"/{name}", f"{name!r} must be between 0 and {most}; page with cursors for more"))
    return number


def plain_text(text: str, pointer: str) -> str:
    """Raises InvalidInput for a NUL character, which PostgreSQL cannot hold, or too long a text."""
    if "\0" in text:
        raise InvalidInput(Fault(pointer, "text must not contain the NUL character"))
    if len(text) > 1_000:
        raise InvalidInput(Fault(pointer, "text must not be longer than 1,000 characters"))
    return text


def measure(document: DocumentNode) -> None:
    """Raises a GraphQLError for an operation that is too deep, or has too many aliases."""
    measured = _Measure(document)
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            measured.check(definition)


def refusal(sentence: str, **more: object) -> GraphQLError:
    return GraphQLError(sentence, extensions={"code": TooLarge.code, **more})


def is_shallow(value: object, levels: int) -> bool:
    """Whether lists and objects lie at most `levels` deep in each other."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return not inner or (levels > 0 and all(is_shallow(one, levels - 1) for one in inner))


class _Extent(NamedTuple):
    depth: int
    aliases: int


class _Measure:
    """Depth and aliases of selections, fragments included; each fragment is measured once."""

    def __init__(self, document: DocumentNode) -> None:
        self._fragments = {
            one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)
        }
        self._measured: dict[str, _Extent] = {}

    def check(self, operation: OperationDefinitionNode) -> None:
        extent = self._of(operation.selection_set)
        if extent.depth > MAX_DEPTH:
            raise refusal(f"the query is {extent.depth} fields deep; at most {MAX_DEPTH} are allowed")
        if extent.aliases > MAX_ALIASES:
            raise refusal(f"the query has more than {MAX_ALIASES} aliases, counting those in fragments at each use")

    def _of(self, selections: SelectionSetNode | None) -> _Extent:
        depth = aliases = 0
        for one in selections.selections if selections is not None else ():
            if isinstance(one, FieldNode):
                below = self._of(one.selection_set)
                is_introspection = one.name.value.startswith("__")
                extent = _Extent(0 if is_introspection else below.depth + 1, below.aliases + bool(one.alias))
            elif isinstance(one, InlineFragmentNode):
                extent = self._of(one.selection_set)
            else:
                extent = self._spread(one) if isinstance(one, FragmentSpreadNode) else _Extent(0, 0)
            depth, aliases = max(depth, extent.depth), aliases + extent.aliases
        return _Extent(depth, aliases)

    def _spread(self, spread: FragmentSpreadNode) -> _Extent:
        name = spread.name.value
        if name not in self._measured:
            # Holds while the fragment is measured: one that spreads itself ends here, and is refused by validation.
            self._measured[name] = _Extent(0, 0)
            fragment = self._fragments.get(name)
            self._measured[name] = self._of(fragment.selection_set if fragment else None)
        return self._measured[name]
