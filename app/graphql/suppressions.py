"""Who must not be mailed, and why: the list, and the contacts with a flag."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import strawberry

from app.engine.conditions import is_clean
from app.errors import Fault, InvalidInput
from app.graphql.context import Info
from app.graphql.fields import choices, resolved
from app.graphql.limits import plain_text
from app.graphql.relay import After, Connection, FirstOf, connection, forwards
from app.graphql.types import Contact
from app.store import pages
from app.store import suppressions as stored
from app.store.suppressions import Listed, Place, Wanted


@choices(
    "What must not be mailed.",
    ADDRESS="One address.",
    DOMAIN="A domain, and all below it.",
    HASH="An address of somebody who was erased, or is nobody's; known by its hash alone.",
)
class SuppressionKind(StrEnum):
    ADDRESS = "address"
    DOMAIN = "domain"
    HASH = "hash"


@choices(
    "Why it must not be mailed.",
    COMPLAINT="The person called it spam.",
    OPT_OUT="The person does not want mail.",
    HARD_BOUNCE="The address does not exist, or takes no mail.",
    SOFT_LIMIT="There were too many soft bounces.",
    MANUAL="Somebody said so.",
    DOMAIN="Somebody said so of the domain.",
    IMPORT="It was in a list that was imported.",
)
class SuppressionReason(StrEnum):
    COMPLAINT = "complaint"
    OPT_OUT = "opt_out"
    HARD_BOUNCE = "hard_bounce"
    SOFT_LIMIT = "soft_limit"
    MANUAL = "manual"
    DOMAIN = "domain"
    IMPORT = "import"


@strawberry.type(description="That something must not be mailed, for one reason.")
class Suppression:
    contact_key: strawberry.Private[UUID | None]

    kind: SuppressionKind = strawberry.field(description="What it is.")
    value: str = strawberry.field(description='The address, domain or hash: `"ada@example.com"`.')
    reason: SuppressionReason = strawberry.field(description="Why.")
    since: datetime | None = strawberry.field(description="Since when.")
    by: str | None = strawberry.field(description="The source of the event, or the API key, that said so.")
    note: str | None = strawberry.field(description="What somebody noted.")

    @classmethod
    def of(cls, row: Listed) -> "Suppression":
        return cls(
            contact_key=row.contact_id,
            kind=SuppressionKind(row.kind),
            value=row.value,
            reason=SuppressionReason(row.reason),
            since=row.since,
            by=row.by,
            note=row.note,
        )

    @resolved("The contact whose flag it is. Null: an entry of the list.")
    async def contact(self, info: Info) -> Contact | None:
        if self.contact_key is None:
            return None
        person = await info.context.load.people.load(self.contact_key)
        return None if person is None else Contact.of(person)


async def suppressions(
    info: Info,
    kind: Annotated[SuppressionKind | None, strawberry.argument(description="Only of this kind. Null: of all.")] = None,
    reason: Annotated[
        SuppressionReason | None, strawberry.argument(description="Only for this reason. Null: for any.")
    ] = None,
    search: Annotated[
        str | None,
        strawberry.argument(description='Only what contains this, in any case: `"@x.org"`. Reads the whole list.'),
    ] = None,
    first: FirstOf = 50,
    after: After = None,
) -> Connection[Suppression]:
    """Raises InvalidInput for sizes, cursors and text that make no sense."""
    window = forwards(first, after)
    wanted = Wanted(
        None if kind is None else kind.value,
        None if reason is None else reason.value,
        None if search is None else plain_text(search, "/search").lower(),
    )
    place = None if after is None else _place(after)
    async with info.context.load.explaining() as (db, _):
        found = await stored.page(db, wanted, limit=window.limit + 1, after=place)
    info.context.budget.spend(len(found))
    return connection(found, window, lambda row: pages.encode(*stored.place(row)), Suppression.of)


def _place(cursor: str) -> Place:
    malformed = InvalidInput(Fault("/after", "not a cursor; take one from 'pageInfo' or 'edges', unchanged"))
    try:
        list_, key, value, reason = pages.decode(cursor, 4)
        if list_ == "contact":
            UUID(key)
    except (InvalidInput, ValueError, AttributeError, TypeError):
        raise malformed from None
    texts = (key, value, reason)
    if list_ not in ("entry", "contact") or not all(isinstance(one, str) and is_clean(one) for one in texts):
        raise malformed
    return list_, key, value, reason
