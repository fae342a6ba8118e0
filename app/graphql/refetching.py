"""Things by their ids and addresses: one, or many at once in the order in which they were asked for."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

import strawberry

from app import clock
from app.engine.identity import normal_email
from app.errors import Fault, InvalidInput
from app.graphql.connections import Connection
from app.graphql.context import Info
from app.graphql.events import Event
from app.graphql.jobs import Job, load_jobs
from app.graphql.limits import MAX_PAGE, plain_text
from app.graphql.loaders import Loaders
from app.graphql.nodes import Named, Node, NodeKey, read, uuid
from app.graphql.scoring import ScoringModel
from app.graphql.segments import Segment, load_segments
from app.graphql.types import Contact
from app.store import refetching
from app.store.graph import EventRow

Id = Annotated[strawberry.ID, strawberry.argument(description='A UUID, `"model:engagement"` or `"segment:hot_leads"`.')]
Ids = Annotated[
    list[strawberry.ID],
    strawberry.argument(description=f'At most {MAX_PAGE}: UUIDs, `"model:engagement"`, `"segment:hot_leads"`.'),
]
ContactIds = Annotated[list[strawberry.ID], strawberry.argument(description=f"UUIDs, at most {MAX_PAGE}.")]
Emails = Annotated[
    list[str],
    strawberry.argument(
        description=f'In any case, also former addresses, at most {MAX_PAGE}: `["ada@example.com", "bob@example.com"]`.'
    ),
]


async def node(info: Info, id: Id) -> Node | None:  # noqa: A002 - Relay's name
    return (await _found(info, [read(id, "/id")]))[0]


async def nodes(info: Info, ids: Ids) -> list[Node | None]:
    """Raises InvalidInput for ids that are none, or too many."""
    _few(ids, "/ids")
    return await _found(info, [read(one, f"/ids/{at}") for at, one in enumerate(ids)])


async def contacts_by_ids(info: Info, ids: ContactIds) -> list[Contact | None]:
    """Raises InvalidInput for ids that are none, or too many."""
    _few(ids, "/ids")
    wanted = [uuid(one, Fault(f"/ids/{at}", "not a UUID")) for at, one in enumerate(ids)]
    info.context.budget.spend(len(wanted))
    found = await info.context.load.people.load_many(wanted)
    return [None if person is None else Contact.of(person) for person in found]


async def contacts_by_emails(info: Info, emails: Emails) -> list[Contact | None]:
    """Raises InvalidInput for what is no address, or too many."""
    _few(emails, "/emails")
    wanted = [address(one, f"/emails/{at}") for at, one in enumerate(emails)]
    info.context.budget.spend(len(wanted))
    found = await info.context.load.holders.load_many(wanted)
    return [None if person is None else Contact.of(person) for person in found]


def address(said: str, at: str) -> str:
    """Raises InvalidInput for what is none."""
    try:
        return normal_email(plain_text(said, at))
    except ValueError as fault:
        raise InvalidInput(Fault(at, str(fault))) from None


async def _found(info: Info, wanted: Sequence[UUID | NodeKey]) -> list[Node | None]:
    """What kind each is, and then each kind by one statement."""
    info.context.budget.spend(len(wanted))
    load = info.context.load
    ids = list({one for one in wanted if isinstance(one, UUID)})
    kinds = dict(zip(ids, await load.by(load_kinds).load_many(ids), strict=True))
    of = {kind: [one for one in ids if kinds[one] == kind] for kind in set(kinds.values())}
    made: dict[UUID | NodeKey, Node] = {}
    for person in await load.people.load_many(of.get(refetching.CONTACT, [])):
        made |= {} if person is None else {person.id: Contact.of(person)}
    for event in await load.by(load_events).load_many(of.get(refetching.EVENT, [])):
        made |= {} if event is None else {event.id: Event.of(event)}
    for job in await load.by(load_jobs).load_many(of.get(refetching.JOB, [])):
        made |= {} if job is None else {job.id: Job.of(job)}
    if refetching.CONNECTION in of:
        made |= {one.id: Connection.of(one, clock.now()) for one in await load.connections()}
    named = [one for one in wanted if isinstance(one, NodeKey)]
    for row in await load.by(load_segments).load_many([one.key for one in named if one.kind is Named.SEGMENT]):
        made |= {} if row is None else {NodeKey(Named.SEGMENT, row.key): Segment.of(row)}
    for one in named:
        if one.kind is Named.MODEL and (model := (await load.catalog()).find(one.key)) is not None:
            made[one] = ScoringModel.of(model)
    return [made.get(one) for one in wanted]


async def load_kinds(load: Loaders, ids: Sequence[UUID]) -> list[str | None]:
    async with load.reading() as db:
        found = await refetching.kinds(db, ids)
    return [found.get(one) for one in ids]


async def load_events(load: Loaders, ids: Sequence[UUID]) -> list[EventRow | None]:
    async with load.reading() as db:
        found = await refetching.events(db, ids)
    return [found.get(one) for one in ids]


def _few(said: Sequence[str], at: str) -> None:
    if len(said) > MAX_PAGE:
        raise InvalidInput(Fault(at, f"at most {MAX_PAGE} at once"))
