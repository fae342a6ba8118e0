"""What an operation costs, in rows, estimated before it is executed: the objects in the lists of its answer.

A list is as long as its `first` or `last` says, or as the list of keys that it is asked for; one with neither is taken
to have `_LENGTH` objects. A field that is no list, and nothing but leaves, costs nothing.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from graphql import (
    FieldNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLField,
    GraphQLNamedType,
    GraphQLSchema,
    OperationDefinitionNode,
    SelectionSetNode,
    get_named_type,
    get_nullable_type,
    is_leaf_type,
    is_list_type,
)
from graphql.execution.values import VariableValues, get_argument_values

from app.graphql.limits import DEFAULT_PAGE, MAX_COST, refusal
from app.graphql.selections import Fragments, Uncovered, is_included

_LENGTH = 10
_SIZES = ("first", "last")


def check(
    schema: GraphQLSchema,
    operation: OperationDefinitionNode,
    fragments: Fragments,
    variables: VariableValues,
    most: int = MAX_COST,
) -> None:
    """Raises a GraphQLError that says what the operation costs (a subscription: each answer), and what it may."""
    root = schema.get_root_type(operation.operation)
    assert root is not None
    cost = _Estimate(schema, fragments, variables).of(root, operation.selection_set, None)
    if cost > most:
        raise refusal(
            f"this asks for about {cost:,} rows, and may for {most:,}: ask for shorter pages, or less of each",
            cost=cost,
            limit=most,
        )


class _Estimate:
    def __init__(self, schema: GraphQLSchema, fragments: Fragments, variables: VariableValues) -> None:
        self._schema = schema
        self._fragments = fragments
        self._variables = variables
        self._known: dict[tuple[int, int | None], int] = {}
        """By the mention of a field and the page that it is in: each is looked at once, however often it is spread."""

    def of(self, kind: GraphQLNamedType, selections: SelectionSetNode | None, page: int | None) -> int:
        """Rows below one object of this type, which is a page of so many or none."""
        cost = 0
        for field, node in self._fields(kind, selections, set()):
            place = id(node), page
            if place not in self._known:
                self._known[place] = self._field(field, node, page)
            cost += self._known[place]
        return cost

    def _fields(
        self, kind: GraphQLNamedType, selections: SelectionSetNode | None, spread: set[str]
    ) -> Iterator[tuple[GraphQLField, FieldNode]]:
        """Those of its fragments, too; of each fragment once."""
        for one in selections.selections if selections is not None else ():
            if not self._is_included(one):
                continue
            if isinstance(one, FieldNode):
                field = getattr(kind, "fields", {}).get(one.name.value)
                if field is not None:
                    yield field, one
                continue
            if isinstance(one, FragmentSpreadNode):
                if one.name.value in spread:
                    continue
                spread.add(one.name.value)
            fragment: Any = self._fragments[one.name.value] if isinstance(one, FragmentSpreadNode) else one
            condition = fragment.type_condition
            named = kind if condition is None else self._schema.get_type(condition.name.value)
            yield from self._fields(named or kind, fragment.selection_set, spread)

    def _field(self, field: GraphQLField, node: FieldNode, page: int | None) -> int:
        below = get_named_type(field.type)
        if is_leaf_type(below):
            return 0
        asked = _asked(field, self._given(field, node))
        if not is_list_type(get_nullable_type(field.type)):
            return self.of(below, node.selection_set, asked)
        length = next((size for size in (asked, page) if size is not None), _LENGTH)
        return length * (1 + self.of(below, node.selection_set, None))

    def _given(self, field: GraphQLField, node: FieldNode) -> Mapping[str, Any]:  # Any: of any input type
        try:
            return get_argument_values(field, node, self._variables)
        except GraphQLError:
            return {}  # execution says what is wrong

    def _is_included(self, node: Any) -> bool:  # Any: a selection
        try:
            return is_included(node, self._variables.coerced)
        except Uncovered:
            return True


def _asked(field: GraphQLField, given: Mapping[str, Any]) -> int | None:  # Any: as above
    """How many objects the arguments ask for; None if they do not say."""
    for name in _SIZES:
        if isinstance(size := given.get(name), int):
            return max(size, 0)
    keys = [value for value in given.values() if isinstance(value, list)]
    if "first" in field.args:
        return DEFAULT_PAGE
    return len(keys[0]) if is_list_type(get_nullable_type(field.type)) and keys else None
