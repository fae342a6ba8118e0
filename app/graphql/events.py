"""Events as GraphQL shows them."""

from datetime import datetime

import strawberry
from strawberry.scalars import JSON

from app.graphql.nodes import Node
from app.store.graph import EventRow


@strawberry.type(description="Something a contact did, or that happened to them.")
class Event(Node):
    id: strawberry.ID = strawberry.field(description="A UUID, made of the source and the sender's own id.")
    client_id: str | None = strawberry.field(description="The sender's own id of it.")
    type: str = strawberry.field(description="For example `email.opened` or `page.viewed`.")
    occurred_at: datetime = strawberry.field(description="When it happened, by the sender.")
    received_at: datetime = strawberry.field(description="When it was stored here.")
    source: str = strawberry.field(description="Who sent it, for example `website`.")
    address: str | None = strawberry.field(
        description="The address that an `email.*` event was about, which need not be the contact's address today."
    )
    properties: JSON = strawberry.field(description='What else the sender said, for example `{"url": "/pricing"}`.')
    human: bool | None = strawberry.field(
        description="Of an opening or a click: whether a human did it, rather than a scanner or a proxy; null: unknown."
    )
    human_by: str | None = strawberry.field(description="The signal that said so, for example `burst`.")

    @classmethod
    def of(cls, row: EventRow) -> "Event":
        return cls(
            id=strawberry.ID(str(row.id)),
            client_id=row.client_id,
            type=row.type,
            occurred_at=row.occurred_at,
            received_at=row.received_at,
            source=row.source,
            address=row.address,
            properties=JSON(row.properties),
            human=row.human,
            human_by=row.human_by,
        )
