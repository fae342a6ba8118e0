"""Contacts, their identities and events, as GraphQL shows them."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, cast
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from app.errors import Fault, InvalidInput
from app.graphql.bounces import Bounce, BouncePenalty, bounce_penalties, bounces
from app.graphql.changes import FORECAST, Forecast, ScoreChange, forecast, history
from app.graphql.connections import CrmLink
from app.graphql.context import Info
from app.graphql.events import Event
from app.graphql.explaining import Asked, AsOf, ModelKey, ScoreExplanation, explained, explanation, moment
from app.graphql.fields import choices, resolved
from app.graphql.limits import MAX_EVENTS, plain_text
from app.graphql.loaders import Newest
from app.graphql.nodes import Node
from app.graphql.properties import Property, inside, load_types
from app.graphql.relay import Connection
from app.graphql.scoring import Score
from app.graphql.timeline import TimelineItem, timeline
from app.store.graph import Person

_MAX_TYPES = 50


@choices(
    "What is known of the address's bounces.",
    NONE="No bounce since something was last delivered.",
    SOFT="Soft bounces, such as a full mailbox. `bounced` says whether there were too many.",
    HARD="The address does not exist, or takes no mail.",
)
class BounceStatus(StrEnum):
    NONE = "none"
    SOFT = "soft"
    HARD = "hard"


@choices(
    "What an address shows by itself.",
    ROLE="Read by whoever holds a post, such as `info@`.",
    DISPOSABLE="Of a service that lends addresses for minutes.",
)
class EmailQuality(StrEnum):
    ROLE = "role"
    DISPOSABLE = "disposable"


@strawberry.type(description="Something that points at a contact.")
class Identity:
    kind: str = strawberry.field(description="`email`, `user_id`, `anonymous_id` or `crm:<connection>:<object>`.")
    value: str = strawberry.field(description='For example `"ada@example.com"`.')


@strawberry.type(description="A person: one, however many systems know them.")
class Contact(Node):
    key: strawberry.Private[UUID]

    id: strawberry.ID = strawberry.field(description="A UUID.")
    email: str | None = strawberry.field(
        description="The address in use now, in lower case. Others are in `identities`."
    )
    email_quality: list[EmailQuality] = strawberry.field(description="What the address shows by itself.")
    name: str | None = strawberry.field(description='For example `"Ada Lovelace"`.')
    stage: str | None = strawberry.field(description='How far the sale is, for example `"Customer"`.')
    tags: list[str] = strawberry.field(description="Labels. Their case means nothing.")
    properties: JSON = strawberry.field(description='What else is known, for example `{"industry": "Chemicals"}`.')
    opted_out: bool = strawberry.field(description="The person does not want mail. Survives a new address.")
    opted_out_at: datetime | None = strawberry.field(
        description="When consent was last given or withdrawn; `optedOut` says which."
    )
    opted_out_reason: str | None = strawberry.field(
        description="`unsubscribed`, `complained`, `resubscribed` or `manual`."
    )
    opted_out_by: str | None = strawberry.field(description="Who said so: an event's source, or an API key's name.")
    bounced: bool = strawberry.field(description="The address takes no mail. A new address clears it.")
    bounced_at: datetime | None = strawberry.field(description="When the bounce that counts happened.")
    bounced_reason: str | None = strawberry.field(
        description="`hard_bounce`, `soft_bounces`, `manual`, or `suppressed`: before the contact was erased once."
    )
    bounced_by: str | None = strawberry.field(description="Who said so: an event's source, or an API key's name.")
    bounce_status: BounceStatus = strawberry.field(description="The kind of bounce, if any.")
    soft_bounces: int = strawberry.field(description="How many soft bounces since something was last delivered.")
    suppressed: bool = strawberry.field(
        description="Must not be mailed by its flags: opted out, or bounced, or both. The list of its own is asked by "
        "`POST /v1/suppressions/check`."
    )
    last_event_at: datetime | None = strawberry.field(description="When the newest event happened. Null: none yet.")
    created_at: datetime = strawberry.field(description="When the contact was made here.")
    updated_at: datetime = strawberry.field(description="When something of the contact, not its events, last changed.")

    @classmethod
    def of(cls, person: Person) -> "Contact":
        return cls(
            key=person.id,
            id=strawberry.ID(str(person.id)),
            email=person.email,
            email_quality=[EmailQuality(one) for one in person.email_quality],
            name=person.name,
            stage=person.stage,
            tags=person.tags,
            properties=JSON(person.properties),
            opted_out=person.opted_out,
            opted_out_at=person.opted_out_at,
            opted_out_reason=person.opted_out_reason,
            opted_out_by=person.opted_out_by,
            bounced=person.bounced,
            bounced_at=person.bounced_at,
            bounced_reason=person.bounced_reason,
            bounced_by=person.bounced_by,
            bounce_status=BounceStatus(person.bounce_status),
            soft_bounces=person.soft_bounces,
            suppressed=person.opted_out or person.bounced,
            last_event_at=person.last_event_at,
            created_at=person.created_at,
            updated_at=person.updated_at,
        )

    @resolved(
        "The score in one model. Null: the contact has none in it; with `asOf`: it was not there then, or the model "
        "did not count."
    )
    async def score(self, info: Info, model: ModelKey, as_of: AsOf = None) -> Score | None:
        named = (await info.context.load.catalog()).named(model, "/model")
        if (at := moment(as_of)) is not None:
            found = await explained(info, Asked(self.key, named.key, at))
            return None if found is None else Score.then(found, named, at)
        for row in await info.context.load.scores.load(self.key):
            if row.model_id == named.id:
                return Score.of(row, named)
        return None

    @resolved("The score in every model that has one, archived models too, by the models' keys.")
    async def scores(self, info: Info) -> list[Score]:
        catalog = await info.context.load.catalog()
        rows = await info.context.load.scores.load(self.key)
        # A model that was deleted leaves its scores to a job, which may not have come to them yet.
        found = [(row, catalog.by_id[row.model_id]) for row in rows if row.model_id in catalog.by_id]
        info.context.budget.spend(len(found))
        return [Score.of(row, model) for row, model in sorted(found, key=lambda pair: pair[1].key)]

    explanation: ScoreExplanation | None = strawberry.field(
        resolver=explanation,
        description="Why the score in one model is what it is, now or as of a past moment: what each rule gives, day "
        "by day, what was done by hand, what limits cut. Null: the model does not, or did not, count; or the contact "
        "was not there then.",
    )
    forecast: Forecast | None = strawberry.field(
        resolver=forecast,
        description="What the score in one model will be, and when, with nothing coming in. Null: the model does not "
        f"count. Each contact counts as {FORECAST} objects.",
    )
    history: Connection[ScoreChange] = strawberry.field(
        resolver=history, description="Every change of the score in one model, the newest first, with its cause."
    )

    bounces: list[Bounce] = strawberry.field(
        resolver=bounces,
        description="Bounces that were told of the contact, the latest first, with evidence, and which of them count.",
    )
    bounce_penalties: list[BouncePenalty] = strawberry.field(
        resolver=bounce_penalties,
        description="What the bounce takes from the contact's scores, by rules that look at it and give less than 0.",
    )
    timeline: Connection[TimelineItem] = strawberry.field(
        resolver=timeline,
        description="Events, changes of scores and flags, and notes of the sync, the newest first: `timeline(first: 5) "
        "{ nodes { at kind ... on TimelineEvent { event { type } } ... on TimelineScore { change { was value } } } }`.",
    )

    @resolved("The newest events, the newest first.")
    async def events(
        self,
        info: Info,
        first: Annotated[int, strawberry.argument(description=f"How many, at most {MAX_EVENTS}.")] = 10,
        types: Annotated[
            list[str] | None,
            strawberry.argument(description='Only of these types, in any case: `["email.opened"]`. Null: of all.'),
        ] = None,
    ) -> list[Event]:
        if types is not None and len(types) > _MAX_TYPES:
            raise InvalidInput(Fault("/types", f"at most {_MAX_TYPES} types"))
        only = None if types is None else tuple(plain_text(one, f"/types/{at}") for at, one in enumerate(types))
        if not 0 <= first <= MAX_EVENTS:
            raise InvalidInput(Fault("/first", f"'first' of events must be between 0 and {MAX_EVENTS}"))
        if only == ():
            return []
        rows = await info.context.load.events.load(Newest(self.key, first, only))
        return [Event.of(row) for row in rows]

    @resolved("Everything that points at the contact, by kind and value.")
    async def identities(self, info: Info) -> list[Identity]:
        found = await info.context.load.identities.load(self.key)
        info.context.budget.spend(len(found))
        return [Identity(kind=kind, value=value) for kind, value in found]

    @resolved("The records in CRMs that are this contact, by connection, object and id.")
    async def crm_links(self, info: Info) -> list[CrmLink]:
        found = await info.context.load.crm_links.load(self.key)
        info.context.budget.spend(len(found))
        return [CrmLink.of(row) for row in found]

    @resolved("One property, by the type that was declared for it. Null: the contact has none of that name.")
    async def property(
        self,
        info: Info,
        name: Annotated[
            str, strawberry.argument(description='Dots lead into objects: `"industry"`, `"address.country"`.')
        ],
    ) -> Property | None:
        value = inside(self.properties, name)
        if value is None:
            return None
        types = await info.context.load.by(load_types).load(None)
        return Property.of(name, value, types.get(name))

    @resolved("The properties one by one, by their names, each by the type that was declared for it.")
    async def typed_properties(self, info: Info) -> list[Property]:
        said = dict(sorted(cast("dict[str, Any]", self.properties).items()))  # Any: JSON
        info.context.budget.spend(len(said))
        types = await info.context.load.by(load_types).load(None)
        return [Property.of(name, value, types.get(name)) for name, value in said.items()]
