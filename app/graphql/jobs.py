"""Background jobs as GraphQL shows them."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from app.errors import Fault, InvalidInput
from app.graphql.context import Info
from app.graphql.fields import choices
from app.graphql.limits import plain_text
from app.graphql.loaders import Loaders
from app.graphql.nodes import Node, uuid
from app.graphql.relay import After, Connection, FirstOf, connection, forwards
from app.store import jobs as stored
from app.store import pages
from app.store.jobs import JobRow

_MAX_KINDS = 20


@choices(
    "How far a job is.",
    QUEUED="It waits, for a worker or for its time.",
    RUNNING="It is being done.",
    DONE="It has ended well.",
    FAILED="It has ended; `error` says why.",
)
class JobStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@strawberry.type(description="Work in the background: publishing a model, a preview, the conversion of a property.")
class Job(Node):
    id: strawberry.ID = strawberry.field(description="A UUID, by time.")
    kind: str = strawberry.field(description="What it does, for example `model.publish`.")
    status: JobStatus = strawberry.field(description="How far it is.")
    phase: str | None = strawberry.field(
        description="What it does just now: `counting`, `filling`, `scoring`, `converting` or `tidying`."
    )
    done: int = strawberry.field(description="Contacts done in this phase.")
    total: int = strawberry.field(description="Contacts of this phase; about, on a large base.")
    error: str | None = strawberry.field(description="Why it failed. Null: it did not.")
    result: JSON | None = strawberry.field(
        description='What came of it, where there is more to say than that it ended: `{"converted": 12}`.'
    )
    created_at: datetime = strawberry.field(description="When it was asked for.")
    starts_at: datetime | None = strawberry.field(description="Not before. Null: at once.")
    started_at: datetime | None = strawberry.field(description="When a worker began.")
    finished_at: datetime | None = strawberry.field(description="When it ended.")

    @classmethod
    def of(cls, row: JobRow) -> "Job":
        return cls(
            id=strawberry.ID(str(row.id)),
            kind=row.kind,
            status=JobStatus(row.status),
            phase=row.phase,
            done=row.done,
            total=row.total,
            error=row.error,
            result=None if row.result is None else JSON(row.result),
            created_at=row.created_at,
            starts_at=row.starts_at,
            started_at=row.started_at,
            finished_at=row.finished_at,
        )


Kinds = Annotated[
    list[str] | None,
    strawberry.argument(description='Only of these kinds: `["model.publish"]`. Null: of all.'),
]


async def jobs(info: Info, first: FirstOf = 20, after: After = None, kinds: Kinds = None) -> Connection[Job]:
    """Raises InvalidInput for sizes and cursors that make no sense."""
    window = forwards(first, after)
    if kinds is not None and len(kinds) > _MAX_KINDS:
        raise InvalidInput(Fault("/kinds", f"at most {_MAX_KINDS} kinds"))
    only = None if kinds is None else [plain_text(one, f"/kinds/{at}") for at, one in enumerate(kinds)]
    async with info.context.load.reading() as db:
        found = await stored.newest(db, window.limit + 1, None if after is None else _before(after), only)
    info.context.budget.spend(len(found))
    return connection(found, window, lambda row: pages.encode(str(row.id)), Job.of)


async def load_jobs(load: Loaders, ids: Sequence[UUID]) -> list[JobRow | None]:
    async with load.reading() as db:
        found = await stored.by_id(db, ids)
    return [found.get(one) for one in ids]


def _before(cursor: str) -> UUID:
    malformed = Fault("/after", "not a cursor; take one from 'pageInfo' or 'edges', unchanged")
    try:
        [said] = pages.decode(cursor, 1)
    except InvalidInput:
        said = None
    return uuid(str(said), malformed)
