"""Changes as the answers of subscriptions: matched by filter, executed together, a piece at a time.

What one batch of changes costs does not grow with the number of clients: subscriptions that ask the same are executed
once, each filter is one statement, and the contacts that are shown are read by one.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import islice
from typing import Any, TypeAlias, cast
from uuid import UUID

import orjson
from graphql import (
    DocumentNode,
    ExecutionResult,
    FieldNode,
    GraphQLSchema,
    OperationDefinitionNode,
    VariableNode,
    execute_subscription_event,
)
from graphql.execution import Executor
from strawberry.execution import optimized_is_awaitable

from app import clock
from app.engine.members import Definitions, definitions
from app.engine.plan import Plans
from app.errors import AppError, Unavailable
from app.graphql import filters, subscriptions
from app.graphql.catalog import Catalog
from app.graphql.context import Context
from app.graphql.errors import body
from app.graphql.filter_inputs import ContactFilter
from app.graphql.jobs import Job
from app.graphql.watching import Happened, Kind, Watch
from app.store import changes, graph
from app.store.db import Database, sqlstate
from app.store.jobs import JobRow

MAX_COST = 1_000
"""Rows that one answer of a subscription is expected to have at most."""
_SLICE = 16
"""Answers that are made before others have their turn: some milliseconds."""


@dataclass(frozen=True, eq=False)
class Question:
    """A subscription operation with its variables. Those with equal keys are answered alike."""

    document: DocumentNode
    name: str | None
    variables: Mapping[str, Any]  # Any: JSON
    key: bytes
    shows_contact: bool

    @classmethod
    def of(
        cls, document: DocumentNode, text: str, operation: OperationDefinitionNode, variables: Mapping[str, Any]
    ) -> "Question":
        kept = {name: value for name, value in variables.items() if name != _resuming(text, operation)}
        name = None if operation.name is None else operation.name.value
        key = orjson.dumps([text, name, kept], option=orjson.OPT_SORT_KEYS)
        return cls(document, name, variables, key, re.search(r"\bcontact\b", text) is not None)


@dataclass(frozen=True, eq=False)
class Meaning:
    """What models and segments mean at one epoch of the plan, on one day."""

    epoch: int
    day: date
    catalog: Catalog
    definitions: Definitions


_Known: TypeAlias = dict[UUID, graph.Person | None]


class Teller:
    def __init__(self, schema: GraphQLSchema, database: Database, plans: Plans) -> None:
        self._schema = schema
        self._database = database
        self._plans = plans
        self._meaning: Meaning | None = None

    async def meaning(self, epoch: int) -> Meaning:
        """Raises Unavailable."""
        day = clock.now().date()
        known = self._meaning
        if known is None or (known.epoch, known.day) != (epoch, day):
            async with graph.explaining(self._database) as db:
                segments = await definitions(db, day)
            async with graph.reading(self._database) as db:
                catalog = Catalog(await graph.models(db))
            known = self._meaning = Meaning(epoch, day, catalog, segments)
        return known

    async def matched(self, said: ContactFilter | None, contacts: set[UUID], meaning: Meaning) -> set[UUID]:
        """Which of these contacts a filter means now. Raises InvalidInput, Conflict if it means nothing any more."""
        if said is None or not contacts:
            return contacts
        wanted = filters.read(said, meaning.catalog, meaning.definitions)
        async with graph.reading(self._database) as db:
            return await changes.matching(db, wanted, contacts)

    async def chosen(
        self, watches: Sequence[Watch], happened: Sequence[Happened], meaning: Meaning
    ) -> list[list[Happened] | AppError]:
        """What each watch is told of these, or why it cannot be. Raises Unavailable if the database is out of reach."""
        picked: list[list[Happened]] = []
        asked: dict[bytes, set[UUID]] = defaultdict(set)
        for watch in watches:
            picked.append([one for one in happened if watch.picks(one)])
            asked[watch.filter_key] |= {one.contact for one in picked[-1]}
            await asyncio.sleep(0)
        said = {watch.filter_key: watch.said for watch in watches}
        meant: dict[bytes, set[UUID] | AppError] = {}
        for key, contacts in asked.items():
            try:
                meant[key] = await self.matched(said[key], contacts, meaning)
            except AppError as fault:
                if isinstance(fault, Unavailable) and not _is_slow(fault):
                    raise
                meant[key] = fault
        chosen: list[list[Happened] | AppError] = []
        for watch, found in zip(watches, picked, strict=True):
            among = meant[watch.filter_key]
            chosen.append(among if isinstance(among, AppError) else [one for one in found if one.contact in among])
        return chosen

    async def tell(self, asked: Sequence[tuple[Question, Kind, Happened | JobRow]]) -> list[bytes]:
        """The answers, in order."""
        context = await self._knowing(asked)
        told: list[bytes] = []
        waiting = iter(asked)
        while part := list(islice(waiting, _SLICE)):
            told += await self._executed(part, context)
            await asyncio.sleep(0)
        return told

    async def _knowing(self, asked: Sequence[tuple[Question, Kind, Happened | JobRow]]) -> _Known:
        """The contacts that will be asked for."""
        shown = {one.contact for question, _, one in asked if question.shows_contact and isinstance(one, Happened)}
        if not shown:
            return {}
        async with graph.reading(self._database) as db:
            people = await graph.people(db, shown)
        return {contact: people.get(contact) for contact in shown}

    async def _executed(self, part: Sequence[tuple[Question, Kind, Happened | JobRow]], known: _Known) -> list[bytes]:
        context = Context(self._database, self._plans)
        context.load.people.prime_many(known)
        executors: dict[bytes, Executor[Any]] = {}
        running: list[Any] = []  # Any: a result, or an awaitable of one
        for question, kind, one in part:
            if question.key not in executors:
                executors[question.key] = self._executor(question, context)
            source = subscriptions.shown(one, kind) if isinstance(one, Happened) else Job.of(one)
            running.append(execute_subscription_event(executors[question.key].build_per_event_executor(source)))
        slow = [one for one in running if not isinstance(one, ExecutionResult)]
        ready = iter(await asyncio.gather(*slow) if slow else ())
        results = [one if isinstance(one, ExecutionResult) else next(ready) for one in running]
        return [body(result.data, result.errors or ()) for result in results]

    def _executor(self, question: Question, context: Context) -> "Executor[Any]":  # Any: of its hooks
        made = Executor.build(
            self._schema,
            question.document,
            context_value=context,
            raw_variable_values=dict(question.variables),
            operation_name=question.name,
            is_awaitable=cast("Any", optimized_is_awaitable),  # Any: it is no TypeGuard, but decides as one
        )
        assert isinstance(made, Executor), made
        return made


def _resuming(text: str, operation: OperationDefinitionNode) -> str | None:
    """The variable that says where to resume, if it says nothing else: the answers do not depend on it."""
    for field in operation.selection_set.selections:
        for argument in (field.arguments or ()) if isinstance(field, FieldNode) else ():
            if argument.name.value == "after" and isinstance(argument.value, VariableNode):
                name = argument.value.name.value
                # Once where it is defined, once here.
                return name if len(re.findall(rf"\${name}\b", text)) == 2 else None
    return None


def _is_slow(fault: Unavailable) -> bool:
    return fault.__cause__ is not None and sqlstate(fault.__cause__) == "57014"
