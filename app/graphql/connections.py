"""Connections to CRMs as GraphQL shows them: how they are, what was done, what waits; and a contact's records there."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from app import clock, connectors
from app.errors import Fault, InvalidInput
from app.graphql.context import Info
from app.graphql.fields import choices, resolved
from app.graphql.limits import MAX_PAGE
from app.graphql.nodes import Node
from app.graphql.relay import Edge, PageInfo, forwards
from app.graphql.relay import connection as connection_of
from app.store import pages
from app.store.connections import BacklogRow, LinkRow, RunRow
from app.sync.connections import CrmConnection


@choices(
    "How a connection does.",
    NEW="Nobody has signed in yet: test it.",
    ACTIVE="It works, or waits for something to do.",
    PAUSED="Somebody stopped it.",
    FAILING="Something is wrong; `problem` says what, and how to mend it.",
    SILENT="The CRM asked for silence, or the budget is spent.",
)
class ConnectionStatus(StrEnum):
    NEW = "new"
    ACTIVE = "active"
    PAUSED = "paused"
    FAILING = "failing"
    SILENT = "silent"


@choices(
    "What a run of the sync did.",
    PULL="Read what changed in the CRM.",
    PUSH="Told the CRM what changed here.",
    RECONCILE="Compared everybody on both sides.",
)
class SyncRunKind(StrEnum):
    PULL = "pull"
    PUSH = "push"
    RECONCILE = "reconcile"


@choices(
    "What became of a record.",
    LIVE="It is there, and kept in step.",
    GONE="It was deleted, merged or converted in the CRM.",
    ERASED="Its contact was erased here; the record is left alone.",
)
class CrmLinkState(StrEnum):
    LIVE = "live"
    GONE = "gone"
    ERASED = "erased"


@strawberry.type(description="What is wrong with a connection.")
class ConnectionProblem:
    code: str = strawberry.field(description="Stable, for programs, for example `unauthorized`.")
    what: str = strawberry.field(description="What is wrong, in a sentence.")
    mend: str = strawberry.field(description="What somebody can do about it.")
    since: datetime = strawberry.field(description="When it was first noticed.")


@strawberry.type(description="One pull, push or reconcile that did something; pushes of one minute are one.")
class SyncRun:
    id: strawberry.ID = strawberry.field(description="A UUID, by time.")
    kind: SyncRunKind = strawberry.field(description="What it did.")
    began_at: datetime = strawberry.field(description="When it began.")
    ended_at: datetime | None = strawberry.field(description="When it ended. Null: it goes on.")
    counts: JSON = strawberry.field(
        description="What it came to, without what is nought: `seen`, `changed`, `created`, `echoes`, `conflicts`, "
        "`reversals`, `gone`, `activities`, `written`, `refused` and `spent`."
    )
    error: str | None = strawberry.field(description="Why it ended before its time, in words. Null: it did not.")

    @classmethod
    def of(cls, row: RunRow) -> "SyncRun":
        return cls(
            id=strawberry.ID(str(row.id)),
            kind=SyncRunKind(row.kind),
            began_at=row.began_at,
            ended_at=row.ended_at,
            counts=JSON(row.counts),
            error=row.error,
        )


@strawberry.type(description="A page of runs, the newest first.")
class SyncRunPage:
    nodes: list[SyncRun] = strawberry.field(description="The runs.")
    edges: list[Edge[SyncRun]] = strawberry.field(description="The runs, with their cursors.")
    page_info: PageInfo = strawberry.field(description="Where the page lies in the list.")
    has_next_page: bool = strawberry.field(
        description="Whether older ones follow.", deprecation_reason="Ask `pageInfo { hasNextPage }`."
    )
    end_cursor: str | None = strawberry.field(
        description="Of the last run: give it as `after` to go on.", deprecation_reason="Ask `pageInfo { endCursor }`."
    )


@strawberry.type(description="What a connection has yet to be told. Nothing is counted beyond 10,001.")
class Backlog:
    waiting: int = strawberry.field(description="Contacts, also those that are tried again later.")
    flags: int = strawberry.field(description="Of these, contacts whose opt-out or bounce is to be told.")
    oldest: datetime | None = strawberry.field(description="Since when the first of them has waited. Null: none waits.")
    parked: int = strawberry.field(description="Records with a field that is tried no more, until somebody says so.")

    @classmethod
    def of(cls, row: BacklogRow) -> "Backlog":
        return cls(waiting=row.waiting, flags=row.flags, oldest=row.oldest, parked=row.parked)


@strawberry.type(description="What a connection may spend of the CRM's API in 24 hours.")
class SyncBudget:
    per_day: int = strawberry.field(description="What may be spent in any 24 hours.")
    spent_today: int = strawberry.field(description="What was spent in the last 24 hours.")
    unit: str = strawberry.field(description="What is counted, for example `requests`.")


@strawberry.type(name="CrmConnection", description="An account of a CRM that is kept in step with us.")
class Connection(Node):
    held: strawberry.Private[CrmConnection]

    id: strawberry.ID = strawberry.field(description="A UUID.")
    name: str = strawberry.field(description="For ever: what came from it says so by this name.")
    kind: str = strawberry.field(description="Which CRM, for example `salesforce`.")
    status: ConnectionStatus = strawberry.field(description="How it does.")
    problem: ConnectionProblem | None = strawberry.field(description="What is wrong with it. Null: nothing.")
    silent_until: datetime | None = strawberry.field(description="Until when it is silent, if it is.")
    next_pull_at: datetime | None = strawberry.field(description="When it looks for changes next. Null: at once.")
    next_reconcile_at: datetime | None = strawberry.field(
        description="When it compares everybody next. Null: not before everybody was read once."
    )

    @classmethod
    def of(cls, held: CrmConnection, now: datetime) -> "Connection":
        problem = held.problem
        is_silent = held.silent_until is not None and held.silent_until > now
        return cls(
            held=held,
            id=strawberry.ID(str(held.id)),
            name=held.name,
            kind=held.kind,
            status=ConnectionStatus(held.status(now)),
            problem=None
            if problem is None
            else ConnectionProblem(
                code=problem["code"],
                what=problem["what"],
                mend=problem["mend"],
                since=datetime.fromisoformat(problem["since"]),
            ),
            silent_until=held.silent_until if is_silent else None,
            next_pull_at=held.pull_at,
            next_reconcile_at=held.reconcile_at,
        )

    @resolved("The run that began last. Null: none yet, or none in 30 days.")
    async def last_run(self, info: Info) -> SyncRun | None:
        row = await info.context.load.last_runs.load(self.held.id)
        return None if row is None else SyncRun.of(row)

    @resolved("What it has yet to be told.")
    async def backlog(self, info: Info) -> Backlog:
        return Backlog.of(await info.context.load.backlogs.load(self.held.id))

    @resolved("What it may spend, and has. Null: this version knows no such CRM.")
    async def budget(self, info: Info) -> SyncBudget | None:
        provider = connectors.providers().get(self.held.kind)
        if provider is None:
            return None
        spent = await info.context.load.spent.load(self.held.id)
        per_day = self.held.options.budget or provider.budget
        return SyncBudget(per_day=per_day, spent_today=spent, unit=provider.unit)


@strawberry.type(description="A field that the CRM does not take as we say it.")
class HeldField:
    field: str = strawberry.field(description="By the CRM's name.")
    code: str = strawberry.field(description="The CRM's own code, `kept_otherwise` or `changed_back`.")
    reason: str = strawberry.field(description="Why, in words.")
    until: datetime | None = strawberry.field(
        description="When it is tried again. Null: not before somebody says so, the record moves there, or the mapping "
        "changes."
    )


@strawberry.type(description="A record in a CRM that is this contact.")
class CrmLink:
    connection: str = strawberry.field(description="The connection's name.")
    connection_id: strawberry.ID = strawberry.field(description="The connection's id, a UUID.")
    object: str = strawberry.field(description="As the CRM calls it: `Contact`, `Lead`, `person`.")
    record: str = strawberry.field(description="The record's id in the CRM.")
    state: CrmLinkState = strawberry.field(description="What became of it.")
    synced_at: datetime = strawberry.field(description="When it was last read or written.")
    held: list[HeldField] = strawberry.field(description="What the CRM does not take as we say it.")

    @classmethod
    def of(cls, row: LinkRow) -> "CrmLink":
        return cls(
            connection=row.connection,
            connection_id=strawberry.ID(str(row.connection_id)),
            object=row.object,
            record=row.record,
            state=CrmLinkState(row.state),
            synced_at=row.synced_at,
            held=[_held(name, entry) for name, entry in sorted(row.held.items())],
        )


ConnectionId = Annotated[strawberry.ID, strawberry.argument(description="The connection's id, a UUID.")]
First = Annotated[int, strawberry.argument(description=f"How many, at most {MAX_PAGE}.")]
After = Annotated[str | None, strawberry.argument(description="A cursor: only runs that are older.")]


async def connections(info: Info) -> list[Connection]:
    found = await info.context.load.connections()
    info.context.budget.spend(len(found))
    return [Connection.of(one, clock.now()) for one in found]


async def sync_runs(info: Info, connection: ConnectionId, first: First = 20, after: After = None) -> SyncRunPage:
    """Raises InvalidInput for ids, sizes and cursors that make no sense."""
    window = forwards(first, after)
    which = _uuid(connection, Fault("/connection", "not a UUID"))
    found = await info.context.load.runs(which, window.limit + 1, None if after is None else _before(after))
    info.context.budget.spend(len(found))
    page = connection_of(found, window, lambda row: pages.encode(str(row.id)), SyncRun.of)
    return SyncRunPage(
        nodes=page.nodes,
        edges=page.edges,
        page_info=page.page_info,
        has_next_page=page.page_info.has_next_page,
        end_cursor=page.page_info.end_cursor,
    )


def _held(name: str, entry: dict[str, Any]) -> HeldField:  # Any: JSON
    until = entry["until"]
    return HeldField(
        field=name,
        code=entry["code"],
        reason=entry["reason"],
        until=None if until is None else datetime.fromisoformat(until),
    )


def _before(cursor: str) -> UUID:
    try:
        [said] = pages.decode(cursor, 1)
    except InvalidInput:
        said = None
    return _uuid(str(said), Fault("/after", pages.bad_cursor().detail))


def _uuid(said: str, fault: Fault) -> UUID:
    try:
        return UUID(said)
    except ValueError:
        raise InvalidInput(fault) from None
