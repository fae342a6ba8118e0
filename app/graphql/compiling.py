"""Operations as one statement each, whose answer is sent as Postgres wrote it.

A document that is known is compiled once for each shape of its arguments (`arguments.py`), so that a request costs
some look-ups, one prepared statement, and the sending of its bytes. What is not covered (`covered.py`), and all that is
wrong with a request, is left to the resolvers: they give the same answers, and the errors.

What is compiled into a statement of the scoring models is that of one epoch of the plan (`engine/plan.py`). The
statement reads the epoch beside the data: an answer by an older one is thrown away, and the statement made anew.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    FieldNode,
    GraphQLError,
    GraphQLSchema,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    OperationType,
    ValueNode,
    VariableNode,
)
from graphql.execution.values import VariableValues, get_argument_values
from strawberry import Schema
from strawberry.types.arguments import convert_arguments

from app.errors import AppError
from app.graphql import arguments, cost, limits, orders
from app.graphql.arguments import Given, Marks, Take, Values
from app.graphql.catalog import Catalog
from app.graphql.covered import READERS, ROOTS
from app.graphql.orders import Order
from app.graphql.selections import Fragments, Selected, Uncovered, Unknown, flags_in, select
from app.graphql.writing import Writer, Written
from app.store import answers, graph
from app.store.db import Database

_SHAPES = 50
"""Statements that are kept for one operation."""
_FORMS = 64
"""By `@skip` and `@include`, of one operation."""
_FOR_EVER = -2
"""In place of an epoch, where no scoring model makes a difference."""
_SHORTEST = 7
"""Bytes of an object in a list: `{"a":0}`."""
_NONE = VariableValues({}, {})


@dataclass
class Known:
    """The scoring models as of an epoch."""

    epoch: int
    catalog: Catalog
    orders: dict[str, Order] = field(default_factory=dict)


@dataclass(frozen=True)
class _Call:
    """A field with arguments."""

    one: Selected
    fixed: Given | None
    """Its arguments, if no variable is among them."""

    def given(self, variables: VariableValues) -> Given:
        if self.fixed is not None:
            return self.fixed
        assert self.one.field is not None
        return get_argument_values(self.one.field, self.one.node, variables)

    def read(self, variables: VariableValues, take: Take, order_of: arguments.OrderOf) -> Given:
        reader = READERS.get(f"{self.one.parent.name}.{self.one.name}", arguments.nothing)
        return reader(self.given(variables), take, order_of)


@dataclass
class _Form:
    """An operation with its `@skip` and `@include` decided."""

    plan: "Plan"
    roots: tuple[Selected, ...]
    calls: list[_Call]
    shapes: "OrderedDict[str, tuple[int, Written | None]]" = field(default_factory=OrderedDict)
    """By the shape of the arguments: the epoch, and the statement, or that it cannot be compiled."""


@dataclass
class Plan:
    """An operation, as far as it was compiled."""

    operation: OperationDefinitionNode
    fragments: Fragments
    flags: tuple[str, ...]
    forms: dict[tuple[object, ...], _Form | None] = field(default_factory=dict)


class Compiler:
    def __init__(self, schema: Schema, database: Database) -> None:
        self._strawberry = schema
        self._schema: GraphQLSchema = schema._schema
        self._database = database
        self._known: Known | None = None

    def plan(self, operation: OperationDefinitionNode, fragments: Fragments) -> Plan | None:
        """None if no request for this operation can be compiled."""
        if operation.operation is not OperationType.QUERY:
            return None
        roots = {one.name.value for one in operation.selection_set.selections if isinstance(one, FieldNode)}
        if not roots <= ROOTS:
            return None
        return Plan(operation, fragments, flags_in(operation, fragments))

    async def answer(self, plan: Plan, variables: VariableValues = _NONE) -> bytes | None:
        """The body of the answer; None where the resolvers are to answer. Raises Unavailable if it takes too long."""
        form = self._form(plan, variables)
        if form is None:
            return None
        known = self._known or await self._learn()
        for _ in range(2):
            try:
                read = await self._read(form, variables, known)
            except (AppError, Unknown):
                latest = await self._learn()
                if latest is known:
                    return None
                known = latest
                continue
            if read is None:
                return None
            written, values = read
            given = written.arguments(values)
            found = await answers.read(self._database, written.sql, given, is_steady=written.is_steady)
            if found is None:
                return None
            epoch, said = found
            if epoch == known.epoch:
                is_within = written.most <= limits.MAX_OBJECTS or len(said) <= _SHORTEST * limits.MAX_OBJECTS
                return f'{{"data":{said}}}'.encode() if is_within else None
            known = await self._learn()
        return None

    def _form(self, plan: Plan, variables: VariableValues) -> _Form | None:
        flags = tuple(variables.coerced.get(name) for name in plan.flags)
        if flags not in plan.forms:
            if len(plan.forms) == _FORMS:
                plan.forms.clear()
            try:
                roots = select(self._schema, plan.operation, plan.fragments, variables.coerced)
                plan.forms[flags] = _Form(plan, roots, [_call(one) for one in _with_arguments(roots)])
            except Uncovered:
                plan.forms[flags] = None
        return plan.forms[flags]

    async def _read(self, form: _Form, variables: VariableValues, known: Known) -> tuple[Written, list[object]] | None:
        """The statement and its values. None if the resolvers are to answer.

        Raises AppError or Unknown for what may be right by other scoring models than those that are known.
        """
        take = Values()
        order_of = self._order_of(known)
        try:
            shape = repr([call.read(variables, take, order_of) for call in form.calls])
        except (Uncovered, ValueError):
            return None
        epoch, written = form.shapes.get(shape, (-1, None))
        if epoch not in (known.epoch, _FOR_EVER):
            epoch, written = known.epoch, None
            try:
                written = await self._write(form, variables, known)
            except Uncovered:
                epoch = _FOR_EVER
            form.shapes[shape] = epoch, written
            if len(form.shapes) > _SHAPES:
                form.shapes.popitem(last=False)
        return None if written is None else (written, take.taken)

    async def _write(self, form: _Form, variables: VariableValues, known: Known) -> Written:
        """Raises Uncovered, and what `_read` does."""
        try:
            cost.check(self._schema, form.plan.operation, form.plan.fragments, variables)
        except GraphQLError:
            raise Uncovered from None  # said where the resolvers would begin
        marks = Marks()
        order_of = self._order_of(known)
        given = {call.one: call.read(variables, marks, order_of) for call in form.calls}
        return await Writer(known.catalog, given, marks, self._converted, order_of).write(form.roots)

    def _order_of(self, known: Known) -> arguments.OrderOf:
        def order_of(said: Any) -> Order:  # Any: an `orderBy`
            name = repr(said)
            if name not in known.orders:
                root = self._schema.query_type
                assert root is not None
                made = self._arguments(root.fields["contacts"], {"orderBy": said})
                known.orders[name] = orders.read(made["order_by"], known.catalog)
            return known.orders[name]

        return order_of

    def _converted(self, one: Selected, given: Given) -> dict[str, Any]:  # Any: of any input type
        return self._arguments(one.field, given)

    def _arguments(self, of: Any, given: Mapping[str, Any]) -> dict[str, Any]:  # Any: a field of the schema's
        return convert_arguments(
            dict(given),
            of.extensions["strawberry-definition"].arguments,
            self._strawberry.schema_converter.scalar_registry,
            self._strawberry.config,
        )

    async def _learn(self) -> Known:
        """The scoring models as they are: read anew if the epoch is another. Raises Unavailable."""
        async with graph.explaining(self._database) as db:
            epoch = int(await db.fetchval("SELECT epoch FROM plan_epoch"))
        if self._known is None or self._known.epoch != epoch:
            # After the epoch: what changes between the two makes a statement that is thrown away, not a wrong answer.
            async with graph.reading(self._database) as db:
                self._known = Known(epoch, Catalog(await graph.models(db)))
        return self._known


def _with_arguments(below: tuple[Selected, ...]) -> list[Selected]:
    """Those whose arguments are to be read, in the order of the answer."""
    found: list[Selected] = []
    for one in below:
        if one.field is not None and one.field.args:
            found.append(one)
        found += _with_arguments(one.below)
    return found


def _call(one: Selected) -> _Call:
    assert one.field is not None
    is_varying = any(_has_variable(argument.value) for argument in one.node.arguments or ())
    return _Call(one, None if is_varying else get_argument_values(one.field, one.node, _NONE))


def _has_variable(value: ValueNode) -> bool:
    if isinstance(value, ListValueNode):
        return any(map(_has_variable, value.values))
    if isinstance(value, ObjectValueNode):
        return any(_has_variable(one.value) for one in value.fields)
    return isinstance(value, VariableNode)
