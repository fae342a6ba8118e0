"""What an operation selects: its fields by type, with fragments merged in and directives done."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from graphql import (
    DirectiveNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    get_named_type,
    is_leaf_type,
)
from graphql.language import BooleanValueNode

Fragments = Mapping[str, FragmentDefinitionNode]
Flags = Mapping[str, object]
"""What `@skip` and `@include` ask for: variables by their names."""


class Uncovered(Exception):
    """This is not compiled; the resolvers answer it."""


class Unknown(Exception):
    """This is not compiled as the scoring models are now."""


@dataclass(frozen=True, eq=False)
class Selected:
    """A field that is asked for."""

    key: str
    """What it is called in the answer."""
    parent: GraphQLObjectType
    field: GraphQLField | None
    """None for `__typename`."""
    node: FieldNode
    """Its first mention; all have the same arguments."""
    below: tuple["Selected", ...]

    @property
    def name(self) -> str:
        return self.node.name.value


class _Scope(NamedTuple):
    schema: GraphQLSchema
    fragments: Fragments
    flags: Flags


def select(
    schema: GraphQLSchema, operation: OperationDefinitionNode, fragments: Fragments, flags: Flags
) -> tuple[Selected, ...]:
    """Raises Uncovered where a field's type is abstract, and for what the schema answers about itself."""
    root = schema.get_root_type(operation.operation)
    assert root is not None
    return _fields(_Scope(schema, fragments, flags), root, [operation.selection_set])


def flags_in(operation: OperationDefinitionNode, fragments: Fragments) -> tuple[str, ...]:
    """The variables that say which fields there are."""
    found: set[str] = set()
    waiting: list[SelectionSetNode | None] = [
        operation.selection_set,
        *(one.selection_set for one in fragments.values()),
    ]
    while waiting:
        for one in (waiting.pop() or _NOTHING).selections:
            found.update(name for name in map(_flag, _ifs(one)) if name is not None)
            if isinstance(one, FieldNode | InlineFragmentNode):
                waiting.append(one.selection_set)
    return tuple(sorted(found))


def is_included(node: SelectionNode, flags: Flags) -> bool:
    """Raises Uncovered for a flag that is null, which execution refuses."""
    for directive in node.directives or ():
        for value in _ifs_of(directive):
            is_true = value.value if isinstance(value, BooleanValueNode) else flags.get(_flag(value) or "")
            if not isinstance(is_true, bool):
                raise Uncovered
            if is_true is (directive.name.value == "skip"):
                return False
    return True


def applies(schema: GraphQLSchema, condition: str, kind: GraphQLObjectType) -> bool:
    """Whether a fragment on the type `condition` is about objects of this type."""
    if condition == kind.name:
        return True
    named = schema.get_type(condition)
    return named is not None and schema.is_sub_type(named, kind)  # type: ignore[arg-type]  # abstract, if it is another


_NOTHING = SelectionSetNode(selections=())


def _ifs(node: SelectionNode) -> Iterator[ValueNode]:
    for directive in node.directives or ():
        yield from _ifs_of(directive)


def _ifs_of(directive: DirectiveNode) -> Iterator[ValueNode]:
    if directive.name.value in {"skip", "include"}:
        yield from (one.value for one in directive.arguments or ())


def _flag(value: ValueNode) -> str | None:
    return value.name.value if isinstance(value, VariableNode) else None


def _fields(scope: _Scope, kind: GraphQLObjectType, sets: list[SelectionSetNode]) -> tuple[Selected, ...]:
    mentions: dict[str, list[FieldNode]] = {}
    spread: set[str] = set()
    for one in sets:
        _collect(scope, kind, one, mentions, spread)
    return tuple(_selected(scope, kind, key, nodes) for key, nodes in mentions.items())


def _collect(
    scope: _Scope,
    kind: GraphQLObjectType,
    one: SelectionSetNode,
    mentions: dict[str, list[FieldNode]],
    spread: set[str],
) -> None:
    for node in one.selections:
        if not is_included(node, scope.flags):
            continue
        if isinstance(node, FieldNode):
            mentions.setdefault((node.alias or node.name).value, []).append(node)
            continue
        if isinstance(node, FragmentSpreadNode):
            if node.name.value in spread:
                continue
            spread.add(node.name.value)
            fragment: FragmentDefinitionNode | InlineFragmentNode = scope.fragments[node.name.value]
        else:
            assert isinstance(node, InlineFragmentNode)
            fragment = node
        condition = fragment.type_condition
        if condition is None or applies(scope.schema, condition.name.value, kind):
            _collect(scope, kind, fragment.selection_set, mentions, spread)


def _selected(scope: _Scope, kind: GraphQLObjectType, key: str, nodes: list[FieldNode]) -> Selected:
    name = nodes[0].name.value
    if name == "__typename":
        return Selected(key, kind, None, nodes[0], ())
    field = kind.fields.get(name)
    if field is None:
        raise Uncovered
    below = get_named_type(field.type)
    if is_leaf_type(below):
        return Selected(key, kind, field, nodes[0], ())
    if not isinstance(below, GraphQLObjectType):
        raise Uncovered
    sets = [one.selection_set for one in nodes if one.selection_set is not None]
    return Selected(key, kind, field, nodes[0], _fields(scope, below, sets))
