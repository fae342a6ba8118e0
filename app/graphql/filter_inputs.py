"""Which contacts a query asks for: the filter as GraphQL takes it. `filters.py` reads it."""

from typing import Annotated

import strawberry
from strawberry.scalars import JSON

from app.graphql.comparisons import InstantFilter, NumberFilter, TextFilter, WordsFilter
from app.graphql.connections import CrmLinkState
from app.graphql.types import BounceStatus, EmailQuality


@strawberry.input(
    description=(
        "Has a score in the model, within the bounds that are given: "
        '`{model: "engagement", gte: 50, lt: 100}`. Without bounds: has a score at all.'
    )
)
class ScoreFilter:
    model: str = strawberry.field(description='The key of a scoring model: `"engagement"`.')
    gte: float | None = strawberry.field(default=None, description="At least this.")
    gt: float | None = strawberry.field(default=None, description="More than this.")
    lte: float | None = strawberry.field(default=None, description="At most this.")
    lt: float | None = strawberry.field(default=None, description="Less than this.")


@strawberry.input(description='Has a score in a band of the model: `{model: "engagement", name: "Hot"}`.')
class BandFilter:
    model: str = strawberry.field(description='The key of a scoring model: `"engagement"`.')
    name: str = strawberry.field(description='The name of one of its bands, as it is written: `"Hot"`.')


@strawberry.input(description='Something points at the contact: `{kind: "user_id", value: "42"}`.')
class IdentityFilter:
    kind: str = strawberry.field(description="`email`, `user_id`, `anonymous_id` or `crm:<connection>:<object>`.")
    value: str | None = strawberry.field(
        default=None, description='Exactly this; addresses are kept in lower case. Null: any: `"42"`.'
    )


@strawberry.input(description='Has a record in a CRM: `{object: "Lead", state: LIVE}`. Empty: in any CRM.')
class CrmLinkFilter:
    connection: strawberry.ID | None = strawberry.field(
        default=None, description="The connection's id, a UUID. Null: of any."
    )
    object: str | None = strawberry.field(
        default=None, description="As the CRM calls it: `Contact`, `Lead`, `person`. Null: of any."
    )
    record: str | None = strawberry.field(default=None, description="The record's id in the CRM. Null: any.")
    state: CrmLinkState | None = strawberry.field(default=None, description="What became of it. Null: whatever.")


@strawberry.input(description="What an address shows by itself: `{none: [ROLE, DISPOSABLE]}`.")
class EmailQualityFilter:
    any: list[EmailQuality] | None = strawberry.field(default=None, description="At least one of these.")
    all: list[EmailQuality] | None = strawberry.field(default=None, description="All of these.")
    none: list[EmailQuality] | None = strawberry.field(default=None, description="None of these.")
    is_empty: bool | None = strawberry.field(default=None, description="Whether it shows nothing.")


@strawberry.input(
    description=(
        "A property of the contact, as conditions read it: by the type that was declared for it, and a property that "
        "nobody declared as what it is compared with. One that is missing, or of another type, matches nothing but "
        '`isNull`: `{name: "visits", number: {gte: 5}}`.'
    )
)
class PropertyFilter:
    name: str = strawberry.field(description='Its name; dots lead into objects: `"industry"`, `"address.country"`.')
    text: TextFilter | None = strawberry.field(default=None, description='As text: `{eq: "Chemicals"}`.')
    number: NumberFilter | None = strawberry.field(default=None, description="As a number: `{gte: 5}`.")
    instant: InstantFilter | None = strawberry.field(
        default=None, description='As an instant: `{lt: "2026-12-01T00:00:00Z"}`.'
    )
    boolean: bool | None = strawberry.field(default=None, description="As a boolean: `true`.")
    tags: WordsFilter | None = strawberry.field(
        default=None, description='As a list of tags, which must be declared so: `{any: ["books"]}`.'
    )
    is_null: bool | None = strawberry.field(default=None, description="Whether it is missing, or null.")


@strawberry.input(
    description=(
        "Everything that is given must hold; null is the same as not given. A contact that lacks what is asked about "
        "(no score in the model, no address, no stage) does not match, and so does match the same inside `not`: "
        '`not: {score: {model: "engagement", gte: 50}}` finds those below 50 and those without a score.'
    )
)
class ContactFilter:
    ids: list[strawberry.ID] | None = strawberry.field(
        default=None, description="One of these contacts, 200 at most: UUIDs."
    )
    score: ScoreFilter | None = strawberry.field(default=None, description="A range of scores in one model.")
    scores: list[ScoreFilter] | None = strawberry.field(
        default=None, description="Ranges of scores in several models, all of which must hold."
    )
    band: BandFilter | None = strawberry.field(default=None, description="A band of one model, as it is live.")
    bands: list[BandFilter] | None = strawberry.field(
        default=None, description='At least one of these bands: `[{model: "engagement", name: "Warm"}]`. Not empty.'
    )
    bounced: bool | None = strawberry.field(default=None, description="Whether the address takes no mail.")
    bounce_status: BounceStatus | None = strawberry.field(default=None, description="The kind of bounce.")
    opted_out: bool | None = strawberry.field(default=None, description="Whether the person does not want mail.")
    bounced_at: InstantFilter | None = strawberry.field(
        default=None, description="When the bounce that counts happened."
    )
    bounced_reason: TextFilter | None = strawberry.field(
        default=None, description='Why: `{eq: "hard_bounce"}`; also `soft_bounces`, `manual`, `suppressed`.'
    )
    bounced_by: TextFilter | None = strawberry.field(
        default=None, description="Who said so, an event's source or an API key's name: `{eq: \"sendgrid\"}`."
    )
    soft_bounces: NumberFilter | None = strawberry.field(
        default=None, description="How many soft bounces since something was last delivered: `{gte: 3}`."
    )
    opted_out_at: InstantFilter | None = strawberry.field(
        default=None, description="When consent was last given or withdrawn."
    )
    opted_out_reason: TextFilter | None = strawberry.field(
        default=None,
        description='Why: `{in: ["unsubscribed", "complained"]}`; also `resubscribed`, `manual`.',
    )
    opted_out_by: TextFilter | None = strawberry.field(
        default=None, description="Who said so, an event's source or an API key's name: `{eq: \"mailgun\"}`."
    )
    suppressed: bool | None = strawberry.field(default=None, description="Opted out or bounced.")
    tag: str | None = strawberry.field(default=None, description='Has this tag, in any case: `"vip"`.')
    email: str | None = strawberry.field(
        default=None,
        description='The address contains this, in any case: `"@example.com"`. `%` and `_` are ordinary characters.',
    )
    email_address: TextFilter | None = strawberry.field(
        default=None, description='The address in use now: `{eq: "ada@example.com"}`.'
    )
    email_domain: TextFilter | None = strawberry.field(
        default=None, description='What follows the address\'s `@`: `{in: ["example.com", "example.org"]}`.'
    )
    email_quality: EmailQualityFilter | None = strawberry.field(
        default=None, description="What the address shows by itself: `{none: [ROLE]}`."
    )
    name: TextFilter | None = strawberry.field(default=None, description='The name: `{contains: "lovelace"}`.')
    tags: WordsFilter | None = strawberry.field(
        default=None, description='The tags: `{all: ["vip"], none: ["former"]}`.'
    )
    stage_name: TextFilter | None = strawberry.field(
        default=None, description='The stage: `{in: ["Lead", "Opportunity"]}`.'
    )
    created_at: InstantFilter | None = strawberry.field(
        default=None, description='When the contact was made here: `{gte: "2026-11-01T00:00:00Z"}`.'
    )
    updated_at: InstantFilter | None = strawberry.field(
        default=None, description="When something of the contact, not its events, last changed."
    )
    last_event_at: InstantFilter | None = strawberry.field(
        default=None, description="When the newest event happened. `{isNull: true}`: no event yet."
    )
    identity: IdentityFilter | None = strawberry.field(
        default=None, description='Something points at the contact: `{kind: "user_id"}`.'
    )
    crm_link: CrmLinkFilter | None = strawberry.field(
        default=None, description="Has a record in a CRM; none: `not: {crmLink: {}}`."
    )
    properties: list[PropertyFilter] | None = strawberry.field(
        default=None, description='Properties, all of which must hold: `[{name: "visits", number: {gte: 5}}]`.'
    )
    stage: str | None = strawberry.field(default=None, description='Is at this stage, in any case: `"customer"`.')
    segment: str | None = strawberry.field(
        default=None, description='Is in this segment now; by its key: `"hot_leads"`.'
    )
    where: JSON | None = strawberry.field(
        default=None,
        description=(
            "A condition on contacts as rules and segments have it, react-querybuilder's JSON: "
            '`{combinator: "and", rules: [{field: "contact.days_inactive", operator: "<=", value: 30}]}`.'
        ),
    )
    and_: "list[ContactFilter] | None" = strawberry.field(
        name="and", default=None, description="All of these hold, too. Not empty."
    )
    or_: "list[ContactFilter] | None" = strawberry.field(
        name="or", default=None, description="At least one of these holds, too. Not empty."
    )
    not_: "ContactFilter | None" = strawberry.field(name="not", default=None, description="This does not hold.")


FilterArgument = Annotated[ContactFilter | None, strawberry.argument(description="Which contacts. Null: all.")]
